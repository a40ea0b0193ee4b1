//! Writing actions in the form that Open vSwitch itself writes in each version.

use super::OldSet;
use super::nicira as nx;
use super::read::{
    COPY_FIELD, DEC_MPLS_TTL, DEC_NW_TTL, EXPERIMENTER, GROUP, METER, OUTPUT, POP_MPLS, POP_VLAN, PUSH_MPLS,
    PUSH_VLAN, SET_FIELD, SET_MPLS_TTL, SET_NW_TTL, SET_QUEUE, SET_TP_DST, SET_TP_SRC, is_exact, is_loadable,
};
use super::{
    Action, Controller, Ct, CtZone, Nat, NatKind, NatRange, Resubmit, Sample, SampleDirection, Subfield,
};
use crate::Version;
use crate::error::EncodeError;
use crate::field::{Field, ones};
use crate::oxm::{write_field, write_header};
use crate::types::{OfPort, TableId};
use crate::writer::{Pad, Writer};

type Written = Result<(), EncodeError>;

impl Action<'_> {
    /// Appends the action.
    pub fn write(&self, w: &mut Writer<'_>) -> Written {
        match *self {
            Self::Output { port, max_len } => of(w, OUTPUT, |w| {
                w.u32(port.0);
                w.u16(max_len);
                w.zeros(6);
                Ok(())
            }),
            Self::Group(id) => of_u32(w, GROUP, id),
            Self::SetQueue(id) => of_u32(w, SET_QUEUE, id),
            Self::Meter(id) => of_u32(w, METER, id),
            Self::PushVlan(eth) => of_u16(w, PUSH_VLAN, eth),
            Self::PushMpls(eth) => of_u16(w, PUSH_MPLS, eth),
            Self::PopMpls(eth) => of_u16(w, POP_MPLS, eth),
            Self::PopVlan => of_u32(w, POP_VLAN, 0),
            Self::DecMplsTtl => of_u32(w, DEC_MPLS_TTL, 0),
            Self::DecTtl => of_u32(w, DEC_NW_TTL, 0),
            Self::SetMplsTtl(ttl) => of_u16(w, SET_MPLS_TTL, u16::from(ttl) << 8),
            Self::SetNwTtl(ttl) => of_u16(w, SET_NW_TTL, u16::from(ttl) << 8),
            Self::SetField { field, value, mask } => set_field(w, field, value & mask, mask),
            Self::SetMetadataField { field, value, mask } => {
                let body = |w: &mut Writer<'_>| {
                    write_header(w, field, mask.is_some(), value.len())?;
                    w.bytes(value);
                    w.bytes(mask.unwrap_or_default());
                    Ok(())
                };
                if mask.is_some() && w.version() != Version::V15 {
                    nicira(w, nx::REG_LOAD2, body)
                } else {
                    of(w, SET_FIELD, body)
                }
            }
            Self::Load { dst, value } => load(w, dst, value),
            Self::Move { src, dst } => copy(w, src, dst),
            Self::OldSet(OldSet::Field(field, value)) => {
                set_field(w, field, value & field.value_mask(), u128::MAX)
            }
            Self::OldSet(OldSet::SourcePort(port)) => of_u16(w, SET_TP_SRC, port),
            Self::OldSet(OldSet::DestinationPort(port)) => of_u16(w, SET_TP_DST, port),
            Self::SetTunnel(id) => set_field(w, Field::TunId, u128::from(id), u128::MAX),
            Self::SetTunnel64(id) => set_field(w, Field::TunId, u128::from(id), u128::MAX),
            Self::Unknown(raw) => {
                w.bytes(raw);
                Ok(())
            }
            _ => self.write_nicira(w),
        }
    }

    fn write_nicira(&self, w: &mut Writer<'_>) -> Written {
        match *self {
            Self::PopQueue => nicira(w, nx::POP_QUEUE, |_| Ok(())),
            Self::Exit => nicira(w, nx::EXIT, |_| Ok(())),
            Self::CtClear => nicira(w, nx::CT_CLEAR, |_| Ok(())),
            Self::DecNshTtl => nicira(w, nx::DEC_NSH_TTL, |_| Ok(())),
            Self::OutputReg { source, max_len } => output_reg(w, source, max_len),
            Self::OutputTrunc { port, max_len } => nicira(w, nx::OUTPUT_TRUNC, |w| {
                w.u16(port16(port)?);
                w.u32(max_len);
                Ok(())
            }),
            Self::Controller(controller) => controller_action(w, &controller),
            Self::StackPush(sub) => stack(w, nx::STACK_PUSH, sub),
            Self::StackPop(sub) => stack(w, nx::STACK_POP, sub),
            Self::DeleteField(field) => nicira(w, nx::DELETE_FIELD, |w| {
                write_header(w, field, false, field.bytes())?;
                // Open vSwitch's structure has room for an experimenter's header and eight bytes more.
                w.zeros(10);
                Ok(())
            }),
            Self::WriteMetadata { value, mask } => nicira(w, nx::WRITE_METADATA, |w| {
                w.zeros(6);
                w.u64(value);
                w.u64(mask);
                Ok(())
            }),
            Self::DecTtlIds(ids) => nicira(w, nx::DEC_TTL_CNT_IDS, |w| {
                w.u16(u16::try_from(ids.len() / 2).unwrap_or(u16::MAX));
                w.zeros(4);
                w.bytes(ids);
                Ok(())
            }),
            Self::Resubmit(resubmit) => write_resubmit(w, resubmit),
            Self::Ct(ct) => write_ct(w, &ct),
            Self::Nat(nat) => write_nat(w, &nat),
            Self::Clone(inner) => nicira(w, nx::CLONE, |w| {
                w.zeros(6);
                inner.write(w)
            }),
            Self::Conjunction { id, clause, clauses } => nicira(w, nx::CONJUNCTION, |w| {
                w.u8(clause);
                w.u8(clauses);
                w.u32(id);
                Ok(())
            }),
            Self::Sample(sample) => write_sample(w, &sample),
            Self::Note(bytes) => nicira(w, nx::NOTE, |w| {
                w.bytes(bytes);
                Ok(())
            }),
            Self::FinTimeout { idle, hard } => nicira(w, nx::FIN_TIMEOUT, |w| {
                w.u16(idle);
                w.u16(hard);
                Ok(())
            }),
            Self::CheckPktLarger { len, dst } => nicira(w, nx::CHECK_PKT_LARGER, |w| {
                w.u16(len);
                w.u16(dst.offset);
                write_header(w, dst.field, false, dst.field.bytes())
            }),
            Self::Learn(learn) => super::learn::write(w, &learn),
            Self::Multipath(multipath) => super::select::write_multipath(w, &multipath),
            Self::Bundle(bundle) => super::select::write_bundle(w, &bundle),
            Self::Encap(encap) => super::encap::write(w, &encap),
            Self::Decap(packet_type) => nicira(w, nx::DECAP, |w| {
                w.zeros(2);
                w.u32(packet_type);
                Ok(())
            }),
            _ => Ok(()),
        }
    }
}

/// An action of OpenFlow's own.
fn of(w: &mut Writer<'_>, kind: u16, body: impl FnOnce(&mut Writer<'_>) -> Written) -> Written {
    w.tlv("action", kind, Pad::Inside, body)
}

fn of_u32(w: &mut Writer<'_>, kind: u16, value: u32) -> Written {
    of(w, kind, |w| {
        w.u32(value);
        Ok(())
    })
}

fn of_u16(w: &mut Writer<'_>, kind: u16, value: u16) -> Written {
    of(w, kind, |w| {
        w.u16(value);
        Ok(())
    })
}

/// One of Nicira's.
pub(super) fn nicira(
    w: &mut Writer<'_>,
    subtype: u16,
    body: impl FnOnce(&mut Writer<'_>) -> Written,
) -> Written {
    of(w, EXPERIMENTER, |w| {
        w.u32(nx::NICIRA);
        w.u16(subtype);
        body(w)
    })
}

/// Ports of 16 bits in Nicira's actions.
pub(super) fn port16(port: OfPort) -> Result<u16, EncodeError> {
    port.to_u16().ok_or(EncodeError::BadValue { what: "port", value: u64::from(port.0) })
}

/// `set_field`; masked before 1.5 it is a run of register loads, one for each run of ones in the mask.
fn set_field(w: &mut Writer<'_>, field: Field, value: u128, mask: u128) -> Written {
    let exact = is_exact(field, mask);
    if exact || w.version() == Version::V15 {
        return of(w, SET_FIELD, |w| write_field(w, field, value, (!is_exact(field, mask)).then_some(mask)));
    }
    if !is_loadable(field) {
        return load2(w, field, value, mask);
    }
    let mut rest = mask & ones(u32::try_from(field.bytes()).unwrap_or(16).saturating_mul(8));
    while rest != 0 {
        let offset = rest.trailing_zeros();
        let bits = (rest >> offset).trailing_ones().min(64);
        let dst = Subfield {
            field,
            offset: u16::try_from(offset).unwrap_or_default(),
            bits: u16::try_from(bits).unwrap_or_default(),
        };
        reg_load(w, dst, u64::try_from((value >> offset) & ones(bits)).unwrap_or_default())?;
        rest &= !(ones(bits) << offset);
    }
    Ok(())
}

fn load(w: &mut Writer<'_>, dst: Subfield, value: u64) -> Written {
    let old = w.version() != Version::V15;
    if old && is_loadable(dst.field) {
        return reg_load(w, dst, value);
    }
    let shift = u32::from(dst.offset.min(127));
    let mask = ones(u32::from(dst.bits)) << shift;
    let value = (u128::from(value) << shift) & mask;
    if old { load2(w, dst.field, value, mask) } else { set_field(w, dst.field, value, mask) }
}

/// Nicira's load for fields whose header does not fit her first one.
fn load2(w: &mut Writer<'_>, field: Field, value: u128, mask: u128) -> Written {
    nicira(w, nx::REG_LOAD2, |w| write_field(w, field, value, (!is_exact(field, mask)).then_some(mask)))
}

fn reg_load(w: &mut Writer<'_>, dst: Subfield, value: u64) -> Written {
    nicira(w, nx::REG_LOAD, |w| {
        w.u16(dst.packed());
        nxm_header(w, dst.field)?;
        w.u64(value);
        Ok(())
    })
}

/// The header of a whole field; Nicira's own number where there is one, as its actions have it.
pub(super) fn nxm_header(w: &mut Writer<'_>, field: Field) -> Written {
    match field.nicira_header() {
        Some(header) => crate::oxm::FullHeader { header, masked: false, payload: field.bytes() }.write(w),
        None => write_header(w, field, false, field.bytes()),
    }
}

fn copy(w: &mut Writer<'_>, src: Subfield, dst: Subfield) -> Written {
    let body = |w: &mut Writer<'_>, pad: usize| {
        w.u16(src.bits);
        w.u16(src.offset);
        w.u16(dst.offset);
        w.zeros(pad);
    };
    if w.version() == Version::V15 {
        return of(w, COPY_FIELD, |w| {
            body(w, 2);
            write_header(w, src.field, false, src.field.bytes())?;
            write_header(w, dst.field, false, dst.field.bytes())
        });
    }
    nicira(w, nx::REG_MOVE, |w| {
        body(w, 0);
        nxm_header(w, src.field)?;
        nxm_header(w, dst.field)
    })
}

fn output_reg(w: &mut Writer<'_>, source: Subfield, max_len: u16) -> Written {
    let long = source.field.header(w.version()).is_some_and(|h| h.experimenter != 0);
    if long {
        return nicira(w, nx::OUTPUT_REG2, |w| {
            w.u16(source.packed());
            w.u16(max_len);
            nxm_header(w, source.field)
        });
    }
    nicira(w, nx::OUTPUT_REG, |w| {
        w.u16(source.packed());
        nxm_header(w, source.field)?;
        w.u16(max_len);
        w.zeros(6);
        Ok(())
    })
}

fn stack(w: &mut Writer<'_>, subtype: u16, sub: Subfield) -> Written {
    nicira(w, subtype, |w| {
        w.u16(sub.offset);
        nxm_header(w, sub.field)?;
        w.u16(sub.bits);
        Ok(())
    })
}

fn write_resubmit(w: &mut Writer<'_>, resubmit: Resubmit) -> Written {
    let subtype = if resubmit.ct { nx::RESUBMIT_TABLE_CT } else { nx::RESUBMIT_TABLE };
    nicira(w, subtype, |w| {
        w.u16(port16(resubmit.port)?);
        let TableId(table) = resubmit.table;
        w.u8(table);
        Ok(())
    })
}

fn controller_action(w: &mut Writer<'_>, c: &Controller<'_>) -> Written {
    if !(c.extended || c.pause || c.meter != 0 || !c.userdata.is_empty()) {
        return nicira(w, nx::CONTROLLER, |w| {
            w.u16(c.max_len);
            w.u16(c.id);
            w.u8(c.reason);
            Ok(())
        });
    }
    nicira(w, nx::CONTROLLER2, |w| {
        w.zeros(6);
        if c.max_len != u16::MAX {
            property16(w, 0, c.max_len)?;
        }
        if c.id != 0 {
            property16(w, 1, c.id)?;
        }
        if c.reason != nx::REASON_ACTION {
            property(w, 2, &[c.reason])?;
        }
        if !c.userdata.is_empty() {
            property(w, 3, c.userdata)?;
        }
        if c.pause {
            property(w, 4, &[])?;
        }
        if c.meter != 0 {
            property(w, 5, &c.meter.to_be_bytes())?;
        }
        Ok(())
    })
}

/// Open vSwitch counts the padding of 16-bit properties into their length.
fn property16(w: &mut Writer<'_>, kind: u16, value: u16) -> Written {
    let [high, low] = value.to_be_bytes();
    property(w, kind, &[high, low, 0, 0])
}

fn property(w: &mut Writer<'_>, kind: u16, body: &[u8]) -> Written {
    w.tlv("property", kind, Pad::Outside, |w| {
        w.bytes(body);
        Ok(())
    })
}

fn write_ct(w: &mut Writer<'_>, ct: &Ct<'_>) -> Written {
    nicira(w, nx::CT, |w| {
        w.u16(ct.flags);
        match ct.zone {
            CtZone::Number(zone) => {
                w.u32(0);
                w.u16(zone);
            }
            CtZone::Field(sub) => {
                nxm_header(w, sub.field)?;
                w.u16(sub.packed());
            }
        }
        let TableId(table) = ct.table;
        w.u8(table);
        w.zeros(3);
        w.u16(ct.alg);
        ct.actions.write(w)
    })
}

fn write_nat(w: &mut Writer<'_>, nat: &Nat) -> Written {
    let kind = match nat.kind {
        NatKind::Any => 0,
        NatKind::Src => 1,
        NatKind::Dst => 2,
    };
    let range_bits = match nat.range {
        NatRange::None => 0,
        NatRange::V4(_, None) => nx::V4_MIN,
        NatRange::V4(_, Some(_)) => nx::V4_MIN | nx::V4_MAX,
        NatRange::V6(_, None) => nx::V6_MIN,
        NatRange::V6(_, Some(_)) => nx::V6_MIN | nx::V6_MAX,
    };
    let port_bits = nat.port_min.map_or(0, |_| nx::PORT_MIN) | nat.port_max.map_or(0, |_| nx::PORT_MAX);
    nicira(w, nx::NAT, |w| {
        w.zeros(2);
        w.u16(nat.flags | kind);
        w.u16(range_bits | port_bits);
        match nat.range {
            NatRange::None => {}
            NatRange::V4(min, max) => {
                [Some(min), max].into_iter().flatten().for_each(|ip| w.bytes(&ip.octets()));
            }
            NatRange::V6(min, max) => {
                [Some(min), max].into_iter().flatten().for_each(|ip| w.bytes(&ip.octets()));
            }
        }
        [nat.port_min, nat.port_max].into_iter().flatten().for_each(|port| w.u16(port));
        Ok(())
    })
}

fn write_sample(w: &mut Writer<'_>, sample: &Sample) -> Written {
    let subtype = match (sample.direction, sample.port) {
        (SampleDirection::Default, None) => nx::SAMPLE,
        (SampleDirection::Default, Some(_)) => nx::SAMPLE2,
        _ => nx::SAMPLE3,
    };
    nicira(w, subtype, |w| {
        w.u16(sample.probability);
        w.u32(sample.collector_set);
        w.u32(sample.domain);
        w.u32(sample.point);
        if subtype != nx::SAMPLE {
            w.u16(port16(sample.port.unwrap_or(OfPort::ANY))?);
        }
        if subtype == nx::SAMPLE3 {
            w.u8(if sample.direction == SampleDirection::Ingress { 1 } else { 2 });
        }
        Ok(())
    })
}
