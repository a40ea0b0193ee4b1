//! Printing packet-ins, packet-outs and flow-removed messages.

use std::fmt::{self, Write};

use super::payload;
use super::session::{PACKET_IN_REASONS, REMOVED_REASONS};
use crate::field::Field;
use crate::flow::DEFAULT_PRIORITY;
use crate::matching::MatchRef;
use crate::message::flow_mod::NO_BUFFER;
use crate::message::flow_removed::FlowRemoved;
use crate::message::packet::{PacketIn, PacketOut};
use crate::text::action_out;
use crate::text::flow_out::write_duration;
use crate::text::match_out::{self, Separator};
use crate::text::out::Out;

/// A reason by name, or its number.
pub(super) fn write_reason(out: &mut Out<'_>, number: u8, names: &[&str]) -> fmt::Result {
    match names.get(usize::from(number)) {
        Some(name) => out.write_str(name),
        None => write!(out, "{number}"),
    }
}

pub(super) fn write_in(out: &mut Out<'_>, packet: &PacketIn<'_>) -> fmt::Result {
    if packet.table.0 != 0 {
        write!(out, " table_id={}", packet.table)?;
    }
    if packet.cookie != u64::MAX {
        write!(out, " cookie={:#x}", packet.cookie)?;
    }
    write!(out, " total_len={} ", packet.total_len)?;
    match_out::write(out, packet.metadata.as_ref(), &mut Separator::default())?;
    out.write_str(" (via ")?;
    write_reason(out, packet.reason, &PACKET_IN_REASONS)?;
    let len = packet.packet.len();
    write!(out, ") data_len={len}")?;
    let total = usize::try_from(packet.total_len).unwrap_or(usize::MAX);
    match packet.buffer_id {
        None => {
            out.write_str(" (unbuffered)")?;
            if total != len {
                out.write_str(" (***total_len != data_len***)")?;
            }
        }
        Some(buffer) => {
            write!(out, " buffer={buffer:#010x}")?;
            if total < len {
                out.write_str(" (***total_len < data_len***)")?;
            }
        }
    }
    out.write_char('\n')?;
    if !packet.userdata.is_empty() {
        action_out::write_dotted(out, " userdata=", packet.userdata)?;
        out.write_char('\n')?;
    }
    payload::write(out, packet.packet, packet_type(packet.metadata.as_ref()))
}

pub(super) fn write_out(out: &mut Out<'_>, packet: &PacketOut<'_>) -> fmt::Result {
    out.write_char(' ')?;
    match_out::write(out, packet.metadata.as_ref(), &mut Separator::default())?;
    let actions = packet.actions;
    if actions.is_empty() {
        out.write_str(" actions=drop")?;
    } else {
        out.write_str(" actions=")?;
        action_out::write_list(out, actions, &mut Separator::default())?;
    }
    if packet.buffer_id == NO_BUFFER {
        write!(out, " data_len={}", packet.packet.len())?;
    } else {
        write!(out, " buffer={:#010x}", packet.buffer_id)?;
    }
    out.write_char('\n')?;
    if packet.buffer_id != NO_BUFFER || packet.packet.is_empty() {
        return Ok(());
    }
    payload::write(out, packet.packet, packet_type(packet.metadata.as_ref()))
}

/// The type of a packet as the metadata beside it says.
fn packet_type(metadata: MatchRef<'_>) -> u32 {
    let said = metadata.value(Field::PacketType).and_then(|(value, _)| u32::try_from(value).ok());
    said.unwrap_or(PACKET_TYPE_ETHERNET)
}

/// The type of packets about which nothing is said.
pub(super) const PACKET_TYPE_ETHERNET: u32 = 0;

pub(super) fn write_removed(out: &mut Out<'_>, removed: &FlowRemoved<'_>) -> fmt::Result {
    out.write_char(' ')?;
    let mut sep = Separator::default();
    if removed.priority != DEFAULT_PRIORITY {
        sep.next(out)?;
        write!(out, "priority={}", removed.priority)?;
    }
    match_out::write(out, removed.matching.as_ref(), &mut sep)?;
    out.write_str(" reason=")?;
    write_reason(out, removed.reason, &REMOVED_REASONS)?;
    if removed.table.0 != 255 {
        write!(out, " table_id={}", removed.table)?;
    }
    if removed.cookie != 0 {
        write!(out, " cookie:{:#x}", removed.cookie)?;
    }
    out.write_str(" duration")?;
    write_duration(out, removed.duration)?;
    write!(out, " idle{}", removed.idle_timeout)?;
    if removed.hard_timeout != 0 {
        write!(out, " hard{}", removed.hard_timeout)?;
    }
    let count = |count: Option<u64>| count.unwrap_or(u64::MAX);
    writeln!(out, " pkts{} bytes{}", count(removed.packet_count), count(removed.byte_count))
}
