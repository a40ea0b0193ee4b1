//! Printing actions and instructions as `ovs-ofctl` does.
//!
//! Owns the words of actions. Must not judge: whatever is in the bytes is printed, unknown actions in hex.

use std::fmt::{self, Write};
use std::net::Ipv6Addr;

use crate::action::{
    Action, ActionsRef, Controller, Ct, CtZone, Nat, NatKind, NatRange, OldSet, Resubmit, Sample,
    SampleDirection, Subfield, is_exact,
};
use crate::field::{Field, Format};
use crate::instruction::{Instruction, InstructionsRef};
use crate::text::match_out::{Separator, write_formatted, write_number};
use crate::text::out::Out;
use crate::text::{Hex, HexBytes, digits};
use crate::types::{OfPort, TableId};

mod more;

/// Writes actions, each after the separator.
pub(crate) fn write_list(out: &mut Out<'_>, actions: ActionsRef<'_>, sep: &mut Separator) -> fmt::Result {
    for action in actions {
        sep.next(out)?;
        write_action(out, &action)?;
    }
    Ok(())
}

/// Writes instructions; none at all mean `drop`.
pub(crate) fn write_instructions(out: &mut Out<'_>, instructions: InstructionsRef<'_>) -> fmt::Result {
    let mut sep = Separator::default();
    instructions.iter().try_for_each(|instruction| write_instruction(out, &instruction, &mut sep))?;
    if sep.is_started() { Ok(()) } else { out.write_str("drop") }
}

/// Writes an instruction after the separator; applied actions have no word of their own.
pub(crate) fn write_instruction(
    out: &mut Out<'_>,
    instruction: &Instruction<'_>,
    sep: &mut Separator,
) -> fmt::Result {
    if let Instruction::Apply(actions) = instruction {
        return write_list(out, *actions, sep);
    }
    sep.next(out)?;
    match *instruction {
        Instruction::Meter(id) => write!(out, "meter:{id}"),
        Instruction::Clear => out.write_str("clear_actions"),
        Instruction::Write(actions) => {
            out.write_str("write_actions(")?;
            write_list(out, actions, &mut Separator::default())?;
            out.write_char(')')
        }
        Instruction::Metadata { value, mask } => write_metadata(out, value, mask),
        Instruction::Goto(TableId(table)) => {
            out.write_str("goto_table:")?;
            digits::dec(out, u128::from(table))
        }
        Instruction::Unknown(raw) => write!(out, "unknown_instruction(0x{})", HexBytes(raw)),
        Instruction::Apply(_) => Ok(()),
    }
}

fn write_action(out: &mut Out<'_>, action: &Action<'_>) -> fmt::Result {
    match *action {
        Action::Output { port, max_len } => write_output(out, port, max_len),
        Action::OutputReg { source, .. } => write!(out, "output:{source}"),
        Action::OutputTrunc { port, max_len } => {
            out.write_str("output(port=")?;
            out.port(port)?;
            write!(out, ",max_len={max_len})")
        }
        Action::Controller(controller) => write_controller(out, &controller),
        Action::Group(id) => write!(out, "group:{id}"),
        Action::SetQueue(id) => write!(out, "set_queue:{id}"),
        Action::PopQueue => out.write_str("pop_queue"),
        Action::Meter(id) => write!(out, "meter:{id}"),
        Action::SetField { field, value, mask } => write_set_field(out, field, value, mask),
        Action::SetMetadataField { field, value, mask } => {
            out.write_str("set_field:")?;
            write_number(out, value)?;
            if let Some(mask) = mask {
                out.write_char('/')?;
                write_number(out, mask)?;
            }
            write!(out, "->{}", field.name())
        }
        Action::Load { dst, value } => write!(out, "load:{}->{dst}", Hex(u128::from(value))),
        Action::Move { src, dst } => write!(out, "move:{src}->{dst}"),
        Action::StackPush(sub) => write!(out, "push:{sub}"),
        Action::StackPop(sub) => write!(out, "pop:{sub}"),
        Action::DeleteField(field) => write!(out, "delete_field:{}", field.name()),
        Action::PushVlan(eth) => write!(out, "push_vlan:0x{eth:04x}"),
        Action::PopVlan => out.write_str("pop_vlan"),
        Action::PushMpls(eth) => write!(out, "push_mpls:0x{eth:04x}"),
        Action::PopMpls(eth) => write!(out, "pop_mpls:0x{eth:04x}"),
        Action::SetMplsTtl(ttl) => write!(out, "set_mpls_ttl({ttl})"),
        Action::DecMplsTtl => out.write_str("dec_mpls_ttl"),
        Action::SetNwTtl(ttl) => write!(out, "mod_nw_ttl:{ttl}"),
        Action::DecTtl => out.write_str("dec_ttl"),
        Action::DecTtlIds(ids) => write_dec_ttl(out, ids),
        Action::DecNshTtl => out.write_str("dec_nsh_ttl"),
        Action::OldSet(old) => write_old_set(out, old),
        Action::SetTunnel(id) => write!(out, "set_tunnel:{id:#x}"),
        Action::SetTunnel64(id) => write!(out, "set_tunnel64:{id:#x}"),
        Action::Resubmit(resubmit) => write_resubmit(out, resubmit),
        Action::Ct(ct) => write_ct(out, &ct),
        Action::Nat(nat) => write_nat(out, &nat),
        Action::CtClear => out.write_str("ct_clear"),
        Action::Clone(actions) => {
            out.write_str("clone(")?;
            if actions.is_empty() {
                out.write_str("drop")?;
            }
            write_list(out, actions, &mut Separator::default())?;
            out.write_char(')')
        }
        Action::Conjunction { id, clause, clauses } => {
            write!(out, "conjunction({id},{}/{clauses})", u16::from(clause).saturating_add(1))
        }
        Action::Sample(sample) => write_sample(out, &sample),
        Action::Note(bytes) => write_dotted(out, "note:", bytes),
        Action::Exit => out.write_str("exit"),
        Action::FinTimeout { idle, hard } => write_fin_timeout(out, idle, hard),
        Action::CheckPktLarger { len, dst } => write!(out, "check_pkt_larger({len})->{dst}"),
        Action::Learn(learn) => more::learn(out, &learn),
        Action::Multipath(multipath) => more::multipath(out, &multipath),
        Action::Bundle(bundle) => more::bundle(out, &bundle),
        Action::Encap(encap) => more::encap(out, &encap),
        Action::Decap(packet_type) => more::decap(out, packet_type),
        Action::WriteMetadata { value, mask } => write_metadata(out, value, mask),
        Action::Unknown(raw) => write!(out, "unknown_action(0x{})", HexBytes(raw)),
    }
}

fn write_metadata(out: &mut Out<'_>, value: u64, mask: u64) -> fmt::Result {
    write!(out, "write_metadata:{}", Hex(u128::from(value)))?;
    if mask == u64::MAX { Ok(()) } else { write!(out, "/{}", Hex(u128::from(mask))) }
}

/// The words of OpenFlow 1.0 and 1.1.
fn write_old_set(out: &mut Out<'_>, old: OldSet) -> fmt::Result {
    match old {
        OldSet::Field(Field::VlanVid, vid) => write!(out, "set_vlan_vid:{}", vid & 0xfff),
        OldSet::Field(Field::VlanPcp, priority) => write!(out, "set_vlan_pcp:{priority}"),
        OldSet::Field(Field::IpDscp, dscp) => write!(out, "mod_nw_tos:{}", dscp << 2),
        OldSet::Field(Field::IpEcn, ecn) => write!(out, "mod_nw_ecn:{ecn}"),
        OldSet::Field(Field::MplsLabel, label) => write!(out, "set_mpls_label({label})"),
        OldSet::Field(Field::MplsTc, class) => write!(out, "set_mpls_tc({class})"),
        OldSet::Field(field, value) => {
            out.write_str(match field {
                Field::EthSrc => "mod_dl_src:",
                Field::EthDst => "mod_dl_dst:",
                Field::Ipv4Src => "mod_nw_src:",
                _ => "mod_nw_dst:",
            })?;
            write_formatted(out, field.format(), value, None)
        }
        OldSet::SourcePort(port) => write!(out, "mod_tp_src:{port}"),
        OldSet::DestinationPort(port) => write!(out, "mod_tp_dst:{port}"),
    }
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Out::show(f, |out| write_action(out, self))
    }
}

impl fmt::Display for Subfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.wire_name())?;
        if self.offset == 0 && self.bits == self.field.bits() {
            return f.write_str("[]");
        }
        let last = self.offset.saturating_add(self.bits).saturating_sub(1);
        if self.bits == 1 { write!(f, "[{last}]") } else { write!(f, "[{}..{last}]", self.offset) }
    }
}

fn write_output(out: &mut Out<'_>, port: OfPort, max_len: u16) -> fmt::Result {
    match port {
        OfPort::CONTROLLER => write!(out, "CONTROLLER:{max_len}"),
        _ if port.reserved_name().is_some() => out.port(port),
        _ => {
            out.write_str("output:")?;
            out.port(port)
        }
    }
}

fn write_controller(out: &mut Out<'_>, c: &Controller<'_>) -> fmt::Result {
    let plain = c.reason == REASON_ACTION && c.id == 0 && c.userdata.is_empty() && !c.pause && c.meter == 0;
    if plain {
        return write!(out, "CONTROLLER:{}", c.max_len);
    }
    out.write_str("controller(")?;
    let mut sep = Separator::default();
    if c.reason != REASON_ACTION {
        sep.next(out)?;
        match REASONS.get(usize::from(c.reason)) {
            Some(reason) => write!(out, "reason={reason}")?,
            // A reason that Open vSwitch uses inside has an empty name.
            None if c.reason == REASON_IMPLICIT_MISS => out.write_str("reason=")?,
            None => write!(out, "reason={}", c.reason)?,
        }
    }
    if c.max_len != u16::MAX {
        sep.next(out)?;
        write!(out, "max_len={}", c.max_len)?;
    }
    if c.id != 0 {
        sep.next(out)?;
        write!(out, "id={}", c.id)?;
    }
    if !c.userdata.is_empty() {
        sep.next(out)?;
        write_dotted(out, "userdata=", c.userdata)?;
    }
    if c.pause {
        sep.next(out)?;
        out.write_str("pause")?;
    }
    if c.meter != 0 {
        sep.next(out)?;
        write!(out, "meter_id={}", c.meter)?;
    }
    out.write_char(')')
}

/// Bytes as `prefix01.02.03`.
pub(crate) fn write_dotted(out: &mut Out<'_>, prefix: &str, bytes: &[u8]) -> fmt::Result {
    out.write_str(prefix)?;
    let mut first = true;
    for byte in bytes {
        if !std::mem::take(&mut first) {
            out.write_char('.')?;
        }
        write!(out, "{byte:02x}")?;
    }
    Ok(())
}

fn write_set_field(out: &mut Out<'_>, field: Field, value: u128, mask: u128) -> fmt::Result {
    out.write_str("set_field:")?;
    write_field_value(out, field, value, mask)?;
    write!(out, "->{}", field.name())
}

/// A value as actions print it: unlike in a match, a decimal value stays decimal beside its mask.
pub(crate) fn write_field_value(out: &mut Out<'_>, field: Field, value: u128, mask: u128) -> fmt::Result {
    if is_exact(field, mask) {
        return write_formatted(out, field.format(), value, None);
    }
    match field.format() {
        Format::Dec => write!(out, "{value}/{mask:#x}"),
        format => write_formatted(out, format, value, Some(mask)),
    }
}

fn write_dec_ttl(out: &mut Out<'_>, ids: &[u8]) -> fmt::Result {
    out.write_str("dec_ttl(")?;
    let mut sep = Separator::default();
    for pair in ids.as_chunks::<2>().0 {
        sep.next(out)?;
        write!(out, "{}", u16::from_be_bytes(*pair))?;
    }
    out.write_char(')')
}

fn write_resubmit(out: &mut Out<'_>, r: Resubmit) -> fmt::Result {
    if r.port != OfPort::IN_PORT && r.table == TableId::ALL && !r.ct {
        out.write_str("resubmit:")?;
        return out.port(r.port);
    }
    out.write_str("resubmit(")?;
    if r.port != OfPort::IN_PORT {
        out.port(r.port)?;
    }
    out.write_char(',')?;
    if r.table != TableId::ALL {
        write!(out, "{}", r.table)?;
    }
    out.write_str(if r.ct { ",ct)" } else { ")" })
}

fn write_ct(out: &mut Out<'_>, ct: &Ct<'_>) -> fmt::Result {
    out.write_str("ct(")?;
    let mut sep = Separator::default();
    for (flag, word) in [(Ct::COMMIT, "commit"), (Ct::FORCE, "force")] {
        if ct.flags & flag != 0 {
            sep.next(out)?;
            out.write_str(word)?;
        }
    }
    if ct.table != TableId::ALL {
        sep.next(out)?;
        write!(out, "table={}", ct.table)?;
    }
    match ct.zone {
        CtZone::Number(0) => {}
        CtZone::Number(zone) => {
            sep.next(out)?;
            write!(out, "zone={zone}")?;
        }
        CtZone::Field(sub) => {
            sep.next(out)?;
            write!(out, "zone={sub}")?;
        }
    }
    write_ct_actions(out, ct.actions, &mut sep)?;
    match ct.alg {
        0 => {}
        21 => {
            sep.next(out)?;
            out.write_str("alg=ftp")?;
        }
        69 => {
            sep.next(out)?;
            out.write_str("alg=tftp")?;
        }
        alg => {
            sep.next(out)?;
            write!(out, "alg={alg}")?;
        }
    }
    out.write_char(')')
}

/// A `nat` in front stands beside `exec`, everything else inside it.
fn write_ct_actions(out: &mut Out<'_>, actions: ActionsRef<'_>, sep: &mut Separator) -> fmt::Result {
    let mut rest = actions.iter().peekable();
    if let Some(Action::Nat(nat)) = rest.peek() {
        sep.next(out)?;
        write_nat(out, nat)?;
        rest.next();
    }
    if rest.peek().is_none() {
        return Ok(());
    }
    sep.next(out)?;
    out.write_str("exec(")?;
    let mut inner = Separator::default();
    for action in rest {
        inner.next(out)?;
        write_action(out, &action)?;
    }
    out.write_char(')')
}

fn write_nat(out: &mut Out<'_>, nat: &Nat) -> fmt::Result {
    out.write_str("nat")?;
    let kind = match nat.kind {
        NatKind::Any => return Ok(()),
        NatKind::Src => "src",
        NatKind::Dst => "dst",
    };
    write!(out, "({kind}")?;
    if nat.range != NatRange::None || nat.port_min.is_some() {
        out.write_char('=')?;
    }
    match nat.range {
        NatRange::None => {}
        NatRange::V4(min, max) => {
            write!(out, "{min}")?;
            max.map_or(Ok(()), |max| write!(out, "-{max}"))?;
        }
        NatRange::V6(min, max) => write_nat6(out, nat, min.to_bits(), max.map(Ipv6Addr::to_bits))?,
    }
    if let Some(port) = nat.port_min {
        write!(out, ":{port}")?;
        nat.port_max.map_or(Ok(()), |max| write!(out, "-{max}"))?;
    }
    for (flag, word) in [(Nat::PERSISTENT, "persistent"), (Nat::HASH, "hash"), (Nat::RANDOM, "random")] {
        if nat.flags & flag != 0 {
            write!(out, ",{word}")?;
        }
    }
    out.write_char(')')
}

/// Brackets only where a port follows.
fn write_nat6(out: &mut Out<'_>, nat: &Nat, min: u128, max: Option<u128>) -> fmt::Result {
    let bracketed = |out: &mut Out<'_>, bits: u128| {
        let text = crate::text::Ipv6Text(bits);
        if nat.port_min.is_some() { write!(out, "[{text}]") } else { write!(out, "{text}") }
    };
    bracketed(out, min)?;
    match max {
        Some(max) => {
            out.write_char('-')?;
            bracketed(out, max)
        }
        None => Ok(()),
    }
}

fn write_sample(out: &mut Out<'_>, sample: &Sample) -> fmt::Result {
    write!(
        out,
        "sample(probability={},collector_set_id={},obs_domain_id={},obs_point_id={}",
        sample.probability, sample.collector_set, sample.domain, sample.point
    )?;
    if let Some(port) = sample.port.filter(|port| *port != OfPort::ANY) {
        out.write_str(",sampling_port=")?;
        out.port(port)?;
    }
    out.write_str(match sample.direction {
        SampleDirection::Default => ")",
        SampleDirection::Ingress => ",ingress)",
        SampleDirection::Egress => ",egress)",
    })
}

fn write_fin_timeout(out: &mut Out<'_>, idle: u16, hard: u16) -> fmt::Result {
    out.write_str("fin_timeout(")?;
    let mut sep = Separator::default();
    for (name, value) in [("idle_timeout", idle), ("hard_timeout", hard)] {
        if value != 0 {
            sep.next(out)?;
            write!(out, "{name}={value}")?;
        }
    }
    out.write_char(')')
}

/// `OFPR_ACTION`, the reason that goes without saying.
const REASON_ACTION: u8 = 1;

/// A table miss that no flow asked for.
const REASON_IMPLICIT_MISS: u8 = 6;

/// Reasons of a packet-in by number.
pub(crate) const REASONS: [&str; 6] =
    ["no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"];
