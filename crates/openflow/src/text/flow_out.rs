//! Printing flows: the line of a dump, and the text that adds the flow.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::flow::{DEFAULT_PRIORITY, Flow, FlowFlags, FlowKeyRef, FlowStats};
use crate::instruction::InstructionsRef;
use crate::matching::MatchRef;
use crate::message::flow_mod::{ANY_GROUP, FlowMod, FlowModCommand, NO_BUFFER};
use crate::text::action_out;
use crate::text::digits;
use crate::text::match_out::{self, Separator};
use crate::text::out::Out;
use crate::types::{OfPort, TableId};

/// The line of `dump-flows`, which separates by `, ` before the match and by a blank after flags.
pub(crate) fn write_stats(out: &mut Out<'_>, s: &FlowStats<'_>) -> fmt::Result {
    out.write_str("cookie=0x")?;
    digits::hex(out, u128::from(s.cookie))?;
    out.write_str(", duration=")?;
    write_duration(out, s.duration)?;
    item(out, ", table=", u64::from(s.table.0))?;
    out.write_str(", ")?;
    let counters = [("n_packets=", s.packet_count), ("n_bytes=", s.byte_count)];
    for (name, value) in counters {
        if let Some(value) = value {
            item(out, name, value)?;
            out.write_str(", ")?;
        }
    }
    for (name, value) in [("idle_timeout=", s.idle_timeout), ("hard_timeout=", s.hard_timeout)] {
        if value != 0 {
            item(out, name, u64::from(value))?;
            out.write_str(", ")?;
        }
    }
    write_flags(out, s.flags, ' ')?;
    if s.importance != 0 {
        item(out, "importance=", u64::from(s.importance))?;
        out.write_str(", ")?;
    }
    if let Some(idle) = s.idle_age {
        item(out, "idle_age=", idle.as_secs())?;
        out.write_str(", ")?;
    }
    write_rest(out, s.priority, s.matching.as_ref(), s.instructions())
}

fn item(out: &mut Out<'_>, name: &str, value: u64) -> fmt::Result {
    out.write_str(name)?;
    digits::dec(out, u128::from(value))
}

/// `priority=…,match actions=…`, where a lone `actions` has no blank before it.
pub(crate) fn write_rest(
    out: &mut Out<'_>,
    priority: u16,
    matching: MatchRef<'_>,
    instructions: InstructionsRef<'_>,
) -> fmt::Result {
    let mut sep = Separator::default();
    write_priority(out, priority, &mut sep)?;
    match_out::write(out, matching, &mut sep)?;
    if sep.is_started() {
        out.write_char(' ')?;
    }
    out.write_str("actions=")?;
    action_out::write_instructions(out, instructions)
}

fn write_priority(out: &mut Out<'_>, priority: u16, sep: &mut Separator) -> fmt::Result {
    if priority == DEFAULT_PRIORITY {
        return Ok(());
    }
    sep.next(out)?;
    item(out, "priority=", u64::from(priority))
}

/// Flags by name, each followed by `after`.
pub(crate) fn write_flags(out: &mut Out<'_>, flags: FlowFlags, after: char) -> fmt::Result {
    for (flag, name) in FLAG_NAMES {
        if flags.contains(*flag) {
            write!(out, "{name}{after}")?;
        }
    }
    let unknown = flags.bits() & !KNOWN_FLAGS;
    if unknown == 0 { Ok(()) } else { write!(out, "unknown_flags(0x{unknown:x}){after}") }
}

/// Seconds: whole ones alone, else with milliseconds, else with nanoseconds.
pub(crate) fn write_duration(out: &mut Out<'_>, time: Duration) -> fmt::Result {
    digits::dec(out, u128::from(time.as_secs()))?;
    let nanos = time.subsec_nanos();
    if !nanos.is_multiple_of(1_000_000) {
        write!(out, ".{nanos:09}")?;
    } else if nanos != 0 {
        let millis = time.subsec_millis();
        out.write_str(match millis {
            0..10 => ".00",
            10..100 => ".0",
            _ => ".",
        })?;
        digits::dec(out, u128::from(millis))?;
    }
    out.write_char('s')
}

/// The text that adds the flow.
pub(crate) fn write_flow(out: &mut Out<'_>, flow: &Flow) -> fmt::Result {
    write!(out, "cookie={:#x},table={},", flow.cookie, flow.table)?;
    for (name, value) in [
        ("idle_timeout", flow.idle_timeout),
        ("hard_timeout", flow.hard_timeout),
        ("importance", flow.importance),
    ] {
        if value != 0 {
            write!(out, "{name}={value},")?;
        }
    }
    write_flags(out, flow.flags, ',')?;
    write_rest(out, flow.priority, flow.matching.as_ref(), flow.instructions.as_ref())
}

/// A flow-mod as `ofp-print` shows it after the message's name.
pub(crate) fn write_flow_mod(out: &mut Out<'_>, m: &FlowMod) -> fmt::Result {
    let flow = &m.flow;
    out.write_str(match m.command {
        FlowModCommand::Add => "ADD",
        FlowModCommand::Modify => "MOD",
        FlowModCommand::ModifyStrict => "MOD_STRICT",
        FlowModCommand::Delete => "DEL",
        FlowModCommand::DeleteStrict => "DEL_STRICT",
    })?;
    if flow.table != TableId(0) {
        write!(out, " table:{}", flow.table)?;
    }
    out.write_char(' ')?;
    let mut sep = Separator::default();
    write_priority(out, flow.priority, &mut sep)?;
    match_out::write(out, flow.matching.as_ref(), &mut sep)?;
    if sep.is_started() {
        out.write_char(' ')?;
    }
    // Only an add sets the cookie; in the others it restricts what they look at.
    if m.command == FlowModCommand::Add && flow.cookie != 0 && flow.cookie != u64::MAX {
        write!(out, "cookie:{:#x} ", flow.cookie)?;
    }
    if m.cookie_mask != 0 {
        write!(out, "cookie:{:#x}/{:#x} ", flow.cookie, m.cookie_mask)?;
    }
    for (name, value) in
        [("idle", flow.idle_timeout), ("hard", flow.hard_timeout), ("importance", flow.importance)]
    {
        if value != 0 {
            write!(out, "{name}:{value} ")?;
        }
    }
    if m.buffer_id != NO_BUFFER {
        write!(out, "buf:{:#x} ", m.buffer_id)?;
    }
    if m.out_port != OfPort::ANY {
        out.write_str("out_port:")?;
        out.port(m.out_port)?;
        out.write_char(' ')?;
    }
    if m.out_group != ANY_GROUP {
        write!(out, "out_group:{} ", m.out_group)?;
    }
    write_flags(out, flow.flags, ' ')?;
    out.write_str("actions=")?;
    action_out::write_instructions(out, flow.instructions.as_ref())
}

/// `table=10,priority=200,arp,in_port=4`.
pub(crate) fn write_key(out: &mut Out<'_>, key: FlowKeyRef<'_>) -> fmt::Result {
    write!(out, "table={},priority={}", key.table, key.priority)?;
    if !key.matching.as_bytes().is_empty() {
        out.write_char(',')?;
    }
    match_out::write(out, key.matching, &mut Separator::default())
}

/// The names of flags, in the order of display.
pub(crate) const FLAG_NAMES: &[(FlowFlags, &str)] = &[
    (FlowFlags::SEND_FLOW_REM, "send_flow_rem"),
    (FlowFlags::CHECK_OVERLAP, "check_overlap"),
    (FlowFlags::RESET_COUNTS, "reset_counts"),
    (FlowFlags::NO_PACKET_COUNTS, "no_packet_counts"),
    (FlowFlags::NO_BYTE_COUNTS, "no_byte_counts"),
];

/// The flags that have names.
pub(crate) const KNOWN_FLAGS: u16 = 31;
