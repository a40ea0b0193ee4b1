//! Whether what a flow does fits the packets that it matches, as Open vSwitch judges it when a flow is sent.
//!
//! Owns what actions ask of a packet and how they change it for those behind them. Must not judge anything that can be
//! told from an action alone: that is known since it was read.

use crate::action::{Action, ActionsRef, Ct, CtZone, Learn, LearnSource, LearnTarget, Nat, NatRange, OldSet};
use crate::error_code::ErrorCode;
use crate::field::{Field, Prereq, ones};
use crate::instruction::{Instruction, InstructionsRef};
use crate::matching::{Context, MatchRef};

/// Open vSwitch's error for the first action that cannot be meant for these packets.
pub(crate) fn check(matching: MatchRef<'_>, instructions: InstructionsRef<'_>) -> Result<(), ErrorCode> {
    let mut packets = Packets { context: Context::of(matching), ..Packets::default() };
    packets.ct_invalid = matching.value(Field::CtState).is_some_and(|(value, _)| value & CT_INVALID != 0);
    for instruction in instructions {
        match instruction {
            Instruction::Apply(actions) => packets.list(actions)?,
            Instruction::Meter(id) => is_meter(id)?,
            // In which order these are done nobody knows, so only what is never right is wrong.
            Instruction::Write(actions) => packets.nested(actions).map(|_| ())?,
            _ => {}
        }
    }
    if packets.doubtful { Err(ErrorCode::OFPBAC_MATCH_INCONSISTENT) } else { Ok(()) }
}

/// Numbers of meters begin with 1, and the last ones are reserved.
fn is_meter(id: u32) -> Verdict {
    if (1..=LAST_METER).contains(&id) { Ok(()) } else { Err(ErrorCode::OFPMMFC_INVALID_METER) }
}

type Verdict = Result<(), ErrorCode>;

/// What is known about the packets when an action gets them.
#[derive(Debug, Clone, Copy, Default)]
struct Packets {
    context: Context,
    inner_tag: bool,
    ct_invalid: bool,
    /// An action did not fit in a way that OpenFlow 1.0 allowed; an error of the whole list, not of an action.
    doubtful: bool,
}

impl Packets {
    fn list(&mut self, actions: ActionsRef<'_>) -> Verdict {
        actions.iter().try_for_each(|action| self.action(&action))
    }

    /// A list inside an action, whose changes are gone behind it.
    fn nested(self, actions: ActionsRef<'_>) -> Result<Self, ErrorCode> {
        let mut inner = self;
        inner.list(actions)?;
        Ok(inner)
    }

    /// What must hold.
    fn needs(&self, prereq: Prereq) -> Verdict {
        if self.context.allows(prereq) { Ok(()) } else { Err(ErrorCode::OFPBAC_MATCH_INCONSISTENT) }
    }

    fn needs_field(&self, field: Field) -> Verdict {
        self.needs(field.prereq())
    }

    /// What should hold.
    fn expects(&mut self, holds: bool) {
        self.doubtful |= !holds;
    }

    fn expects_that(&mut self, prereq: Prereq) {
        self.expects(self.context.allows(prereq));
    }

    fn action(&mut self, action: &Action<'_>) -> Verdict {
        match *action {
            Action::SetField { field, value, .. } => self.set_field(field, value),
            Action::Load { dst, value } => {
                let shift = u32::from(dst.offset);
                self.set_field(dst.field, u128::from(value).checked_shl(shift).unwrap_or(0))
            }
            Action::Move { src, dst } => {
                self.needs_field(src.field)?;
                self.needs_field(dst.field)
            }
            Action::OutputReg { source: sub, .. } | Action::StackPush(sub) | Action::StackPop(sub) => {
                self.needs_field(sub.field)
            }
            Action::Multipath(multipath) => self.needs_field(multipath.dst.field),
            Action::Bundle(bundle) => bundle.dst.map_or(Ok(()), |dst| self.needs_field(dst.field)),
            Action::Resubmit(resubmit) if resubmit.ct => self.needs(Prereq::Ct),
            Action::Ct(ct) => self.ct(&ct),
            Action::Nat(nat) => self.nat(&nat),
            Action::Clone(actions) => self.nested(actions).map(|inner| self.doubtful |= inner.doubtful),
            Action::Learn(learn) => self.learn(&learn),
            Action::Meter(id) => is_meter(id),
            _ => self.change(action),
        }
    }

    /// Actions that should fit, and those that change which headers there are.
    fn change(&mut self, action: &Action<'_>) -> Verdict {
        match *action {
            Action::SetNwTtl(_) | Action::DecTtl | Action::DecTtlIds(_) => self.expects_that(Prereq::Ip),
            Action::SetMplsTtl(_) | Action::DecMplsTtl => self.expects_that(Prereq::Mpls),
            Action::DecNshTtl => self.expects_that(Prereq::Nsh),
            Action::FinTimeout { .. } => self.expects(self.context.ip_proto == Some(TCP)),
            Action::OldSet(old) => self.old_set(old),
            Action::PushVlan(_) if self.inner_tag => return Err(ErrorCode::OFPBAC_BAD_TAG),
            Action::PushVlan(_) => {
                self.inner_tag = self.context.vlan_tagged;
                self.context.vlan_tagged = true;
            }
            Action::PopVlan => {
                self.expects(self.context.vlan_tagged);
                self.context.vlan_tagged = std::mem::take(&mut self.inner_tag);
            }
            Action::PushMpls(eth_type) => {
                self.expects(self.context.other_packet_type.is_none());
                self.context.eth_type = Some(u32::from(eth_type));
                // What is inside is opaque from here on.
                self.context.ip_proto = None;
            }
            Action::PopMpls(eth_type) => {
                let is_ethernet = self.context.other_packet_type.is_none();
                self.expects(is_ethernet && self.context.allows(Prereq::Mpls));
                self.context.eth_type = Some(u32::from(eth_type));
            }
            Action::Encap(encap) => self.encap(encap.packet_type),
            Action::Decap(_) => self.decap(),
            _ => {}
        }
        Ok(())
    }

    fn set_field(&mut self, field: Field, value: u128) -> Verdict {
        self.needs_field(field)?;
        match field {
            Field::VlanVid if !self.context.vlan_tagged => Err(ErrorCode::OFPBAC_MATCH_INCONSISTENT),
            Field::VlanTci => {
                self.context.vlan_tagged = value & 0x1000 != 0;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn old_set(&mut self, old: OldSet) {
        match old {
            OldSet::Field(Field::VlanVid | Field::VlanPcp, _) => {
                self.expects(self.context.vlan_tagged);
                self.context.vlan_tagged = true;
            }
            OldSet::Field(Field::IpDscp | Field::IpEcn, _) => self.expects_that(Prereq::Ip),
            OldSet::Field(field, _) => self.expects_that(field.prereq()),
            OldSet::SourcePort(_) | OldSet::DestinationPort(_) => {
                let transports = [Prereq::Tcp, Prereq::Udp, Prereq::Sctp];
                self.expects(transports.into_iter().any(|prereq| self.context.allows(prereq)));
            }
        }
    }

    fn encap(&mut self, packet_type: u32) {
        self.context.other_packet_type = (packet_type != ETHERNET).then_some(packet_type);
        if packet_type >> 16 == NAMESPACE_ETHERTYPE {
            self.context.eth_type = Some(packet_type & 0xffff);
        }
        if !self.context.allows(Prereq::Ip) {
            self.context.ip_proto = None;
        }
    }

    fn decap(&mut self) {
        let was_ethernet = self.context.other_packet_type.is_none();
        let inside = NAMESPACE_ETHERTYPE << 16 | self.context.eth_type.unwrap_or(0);
        self.context.other_packet_type = Some(if was_ethernet { inside } else { UNKNOWN_PACKET_TYPE });
    }

    fn ct(&mut self, ct: &Ct<'_>) -> Verdict {
        self.needs(Prereq::Ip)?;
        let commits_invalid = self.ct_invalid && ct.flags & Ct::COMMIT != 0;
        let wants = match ct.alg {
            FTP_PORT => Some(TCP),
            TFTP_PORT => Some(UDP),
            _ => None,
        };
        if commits_invalid || wants.is_some_and(|proto| self.context.ip_proto != Some(proto)) {
            return Err(ErrorCode::OFPBAC_MATCH_INCONSISTENT);
        }
        if let CtZone::Field(sub) = ct.zone {
            return self.needs_field(sub.field);
        }
        self.nested(ct.actions).map(|inner| self.doubtful |= inner.doubtful)
    }

    fn nat(&self, nat: &Nat) -> Verdict {
        self.needs(match nat.range {
            NatRange::None => Prereq::Ip,
            NatRange::V4(..) => Prereq::Ipv4,
            NatRange::V6(..) => Prereq::Ipv6,
        })
    }

    /// Sources are this packet's; targets are of a flow that is made as the specifications are read.
    fn learn(&self, learn: &Learn<'_>) -> Verdict {
        let mut learnt = Self::default();
        for spec in learn.specs {
            if let LearnSource::Field(source) = spec.source {
                self.needs_field(source.field)?;
            }
            match (spec.target, spec.source) {
                (LearnTarget::Match(target), LearnSource::Value(value)) => {
                    learnt.needs_field(target.field)?;
                    let shift = u32::from(target.offset).min(127);
                    let mask = ones(u32::from(spec.bits)) << shift;
                    learnt.context.remember(target.field, crate::oxm::number(value) << shift, mask);
                }
                (LearnTarget::Match(target) | LearnTarget::Load(target), _) => {
                    learnt.needs_field(target.field)?;
                }
                (LearnTarget::Output, _) => {}
            }
        }
        Ok(())
    }
}

/// The bit of an invalid connection.
const CT_INVALID: u128 = 0x10;
/// The packet type of Ethernet.
const ETHERNET: u32 = 0;
/// The namespace of packet types that are Ethernet types.
const NAMESPACE_ETHERTYPE: u32 = 1;
/// What a packet is that came out of another one.
const UNKNOWN_PACKET_TYPE: u32 = 0xffff;
/// The last number of a meter that is not reserved.
const LAST_METER: u32 = 0xffff_0000;
const TCP: u32 = 6;
const UDP: u32 = 17;
const FTP_PORT: u16 = 21;
const TFTP_PORT: u16 = 69;
