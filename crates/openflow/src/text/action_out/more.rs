//! Printing the actions with a syntax of their own: `learn`, `multipath`, `bundle`, `encap`, `decap`.

use std::fmt::{self, Write};

use super::write_field_value;
use crate::action::{
    BUNDLE_ALGORITHMS, Encap, EncapProperty, HASH_FIELDS, Learn, LearnSource, LearnSpec, LearnTarget,
    MULTIPATH_ALGORITHMS, MemberBundle, Multipath, PT_ETHERNET, PT_MPLS, PT_MPLS_MC, PT_NEXT, PT_NSH,
    Subfield,
};
use crate::field::ones;
use crate::flow::DEFAULT_PRIORITY;
use crate::oxm::number;
use crate::text::Hex;
use crate::text::match_out::{Separator, write_number};
use crate::text::out::Out;
use crate::types::OfPort;

pub(super) fn learn(out: &mut Out<'_>, learn: &Learn<'_>) -> fmt::Result {
    write!(out, "learn(table={}", learn.table)?;
    for (name, value) in [
        ("idle_timeout", learn.idle_timeout),
        ("hard_timeout", learn.hard_timeout),
        ("fin_idle_timeout", learn.fin_idle_timeout),
        ("fin_hard_timeout", learn.fin_hard_timeout),
    ] {
        if value != 0 {
            write!(out, ",{name}={value}")?;
        }
    }
    if learn.priority != DEFAULT_PRIORITY {
        write!(out, ",priority={}", learn.priority)?;
    }
    for (flag, name) in [(Learn::SEND_FLOW_REM, "send_flow_rem"), (Learn::DELETE_LEARNED, "delete_learned")] {
        if learn.flags & flag != 0 {
            write!(out, ",{name}")?;
        }
    }
    if learn.cookie != 0 {
        write!(out, ",cookie={:#x}", learn.cookie)?;
    }
    if learn.limit != 0 {
        write!(out, ",limit={}", learn.limit)?;
    }
    if let Some(bit) = learn.result {
        write!(out, ",result_dst={bit}")?;
    }
    for item in learn.specs {
        out.write_char(',')?;
        spec(out, &item)?;
    }
    out.write_char(')')
}

fn spec(out: &mut Out<'_>, spec: &LearnSpec<'_>) -> fmt::Result {
    match (spec.target, spec.source) {
        (LearnTarget::Match(dst), LearnSource::Value(bytes)) if is_whole(dst) => {
            write!(out, "{}=", dst.field.name())?;
            if dst.field.is_variable() {
                return write_number(out, bytes);
            }
            write_field_value(out, dst.field, number(bytes), u128::MAX)
        }
        (LearnTarget::Match(dst), LearnSource::Value(bytes)) => {
            write!(out, "{dst}=")?;
            write_number(out, bytes)
        }
        (LearnTarget::Match(dst), LearnSource::Field(src)) if src == dst => write!(out, "{dst}"),
        (LearnTarget::Match(dst), LearnSource::Field(src)) => write!(out, "{dst}={src}"),
        (LearnTarget::Load(dst), LearnSource::Value(bytes)) => {
            out.write_str("load:")?;
            if dst.field.is_variable() {
                write_number(out, bytes)?;
            } else {
                // Bits above the target's are padding.
                write!(out, "{}", Hex(number(bytes) & ones(u32::from(spec.bits))))?;
            }
            write!(out, "->{dst}")
        }
        (LearnTarget::Load(dst), LearnSource::Field(src)) => write!(out, "load:{src}->{dst}"),
        (LearnTarget::Output, LearnSource::Field(src)) => write!(out, "output:{src}"),
        (LearnTarget::Output, LearnSource::Value(_)) => Ok(()),
    }
}

fn is_whole(sub: Subfield) -> bool {
    sub == Subfield::whole(sub.field)
}

fn name(names: &[&'static str], number: u16) -> &'static str {
    names.get(usize::from(number)).copied().unwrap_or("<unknown>")
}

pub(super) fn multipath(out: &mut Out<'_>, m: &Multipath) -> fmt::Result {
    write!(
        out,
        "multipath({},{},{},{},{},{})",
        name(&HASH_FIELDS, m.fields),
        m.basis,
        name(&MULTIPATH_ALGORITHMS, m.algorithm),
        u32::from(m.max_link).saturating_add(1),
        m.argument,
        m.dst
    )
}

pub(super) fn bundle(out: &mut Out<'_>, b: &MemberBundle<'_>) -> fmt::Result {
    out.write_str(if b.dst.is_some() { "bundle_load(" } else { "bundle(" })?;
    write!(
        out,
        "{},{},{},ofport,",
        name(&HASH_FIELDS, b.fields),
        b.basis,
        name(&BUNDLE_ALGORITHMS, b.algorithm)
    )?;
    if let Some(dst) = b.dst {
        write!(out, "{dst},")?;
    }
    out.write_str("members:")?;
    let mut sep = Separator::default();
    for member in b.members.as_chunks::<2>().0 {
        sep.next(out)?;
        out.port(OfPort::from_u16(u16::from_be_bytes(*member)))?;
    }
    out.write_char(')')
}

pub(super) fn encap(out: &mut Out<'_>, encap: &Encap<'_>) -> fmt::Result {
    out.write_str("encap(")?;
    match encap.packet_type {
        PT_ETHERNET => out.write_str("ethernet")?,
        PT_NSH => out.write_str("nsh")?,
        PT_MPLS => out.write_str("mpls")?,
        PT_MPLS_MC => out.write_str("mpls_mc")?,
        other => write!(out, "{other:#x}")?,
    }
    let mut sep = Separator::default();
    for property in encap.properties {
        if !sep.is_started() {
            out.write_char('(')?;
        }
        sep.next(out)?;
        match property {
            EncapProperty::NshMdType(md_type) => write!(out, "md_type={md_type}")?,
            EncapProperty::NshTlv { class, kind, value } => {
                write!(out, "tlv({class:#06x},{kind},")?;
                if value.iter().all(|b| *b == 0) {
                    out.write_str("0x0)")?;
                } else {
                    write_number(out, value)?;
                    out.write_char(')')?;
                }
            }
        }
    }
    out.write_str(if sep.is_started() { "))" } else { ")" })
}

pub(super) fn decap(out: &mut Out<'_>, packet_type: u32) -> fmt::Result {
    if packet_type == PT_NEXT {
        return out.write_str("decap()");
    }
    write!(out, "decap(packet_type(ns={},type={}))", packet_type >> 16, Hex(u128::from(packet_type & 0xffff)))
}
