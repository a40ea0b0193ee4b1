//! Printing messages about the connection and the switch.

use std::fmt::{self, Write};

use super::{write_bits, write_dump, write_frame};
use crate::error_code::ErrorCode;
use crate::message::bundle::{BundleControl, BundleFlags, BundleOp};
use crate::message::error_msg::ErrorMsg;
use crate::message::hello::Hello;
use crate::message::session::{
    AsyncConfig, Config, Features, KNOWN_FLOW_REMOVED, KNOWN_PACKET_IN, KNOWN_PORT_STATUS,
    KNOWN_REQUEST_FORWARD, KNOWN_ROLE_STATUS, KNOWN_TABLE_STATUS, Role, RoleKind, RoleStatus,
};
use crate::text::Hex;
use crate::text::out::Out;
use crate::types::Version;

pub(super) fn write_hello(out: &mut Out<'_>, hello: Hello<'_>, frame: &[u8]) -> fmt::Result {
    out.write_str("\n version bitmap: ")?;
    let mut first = true;
    for version in 0..32_u32 {
        if hello.versions & 1_u32.checked_shl(version).unwrap_or_default() == 0 || version == 0 {
            continue;
        }
        write!(out, "{}0x{version:02x}", if first { "" } else { ", " })?;
        first = false;
    }
    if !hello.has_unknown {
        return Ok(());
    }
    out.write_str("\n unknown data in hello:\n")?;
    write_dump(out, frame)
}

pub(super) fn write_error(out: &mut Out<'_>, error: &ErrorMsg<'_>, depth: u8) -> fmt::Result {
    // An error without a name is refused before.
    let Some(code) = error.code else { return Ok(()) };
    writeln!(out, " {code}")?;
    if matches!(code, ErrorCode::OFPHFC_INCOMPATIBLE | ErrorCode::OFPHFC_EPERM) {
        for byte in error.data {
            match byte {
                0x20..0x7f => out.write_char(char::from(*byte))?,
                _ => write!(out, "\\{byte:03o}")?,
            }
        }
        return out.write_char('\n');
    }
    if depth == 0 { write_frame(out, error.data, 1) } else { Ok(()) }
}

pub(super) fn write_features(out: &mut Out<'_>, features: &Features) -> fmt::Result {
    write!(
        out,
        " dpid:{:016x}\nn_tables:{}, n_buffers:{}",
        features.datapath_id, features.tables, features.buffers
    )?;
    if features.auxiliary_id != 0 {
        write!(out, ", auxiliary_id:{}", features.auxiliary_id)?;
    }
    out.write_str("\ncapabilities: ")?;
    let known = CAPABILITIES.iter().fold(0, |bits, (bit, _)| bits | bit);
    write_bits(out, features.capabilities & known, &CAPABILITIES, ' ')?;
    out.write_char('\n')
}

const CAPABILITIES: [(u32, &str); 9] = [
    (1, "FLOW_STATS"),
    (1 << 1, "TABLE_STATS"),
    (1 << 2, "PORT_STATS"),
    (1 << 3, "GROUP_STATS"),
    (1 << 5, "IP_REASM"),
    (1 << 6, "QUEUE_STATS"),
    (1 << 8, "PORT_BLOCKED"),
    (1 << 9, "BUNDLES"),
    (1 << 10, "FLOW_MONITORING"),
];

pub(super) fn write_config(out: &mut Out<'_>, config: Config) -> fmt::Result {
    let frags = match config.flags & 3 {
        0 => "normal",
        1 => "drop",
        2 => "reassemble",
        _ => "nx-match",
    };
    write!(out, " frags={frags} miss_send_len={}", config.miss_send_len)
}

fn role(kind: RoleKind) -> &'static str {
    match kind {
        RoleKind::NoChange => "nochange",
        RoleKind::Equal => "equal",
        RoleKind::Primary => "primary",
        RoleKind::Secondary => "secondary",
    }
}

pub(super) fn write_role(out: &mut Out<'_>, wanted: Role, is_request: bool) -> fmt::Result {
    write!(out, " role={}", role(wanted.kind))?;
    // A request that changes nothing is in no generation.
    let is_in_one = !is_request || wanted.kind != RoleKind::NoChange;
    if wanted.generation != u64::MAX && is_in_one {
        write!(out, " generation_id={}", wanted.generation)?;
    }
    Ok(())
}

pub(super) fn write_role_status(out: &mut Out<'_>, status: RoleStatus) -> fmt::Result {
    write!(out, " role={}", role(status.kind))?;
    if status.generation != u64::MAX {
        write!(out, " generation_id={}", status.generation)?;
    }
    match status.reason {
        0 => out.write_str(" reason=primary_request"),
        1 => out.write_str(" reason=configuration_changed"),
        2 => out.write_str(" reason=experimenter_data_changed"),
        _ => out.write_str(" reason=(unknown)"),
    }
}

pub(super) fn write_async(out: &mut Out<'_>, config: &AsyncConfig, version: Version) -> fmt::Result {
    let late = version > Version::V13;
    let packet_in = if late { KNOWN_PACKET_IN } else { 7 };
    let kinds: [(&str, [u32; 2], u32, &[&str]); 6] = [
        ("PACKET_IN", config.packet_in, packet_in, &PACKET_IN_REASONS),
        ("PORT_STATUS", config.port_status, KNOWN_PORT_STATUS, &["add", "delete", "modify"]),
        ("FLOW_REMOVED", config.flow_removed, KNOWN_FLOW_REMOVED, &REMOVED_REASONS),
        ("ROLE_STATUS", config.role_status.unwrap_or_default(), KNOWN_ROLE_STATUS, &ROLE_REASONS),
        ("TABLE_STATUS", config.table_status.unwrap_or_default(), KNOWN_TABLE_STATUS, &TABLE_REASONS),
        ("REQUESTFORWARD", config.request_forward.unwrap_or_default(), KNOWN_REQUEST_FORWARD, &FORWARDED),
    ];
    for (side, title) in ["\n primary:\n", "\n secondary:\n"].iter().enumerate() {
        out.write_str(title)?;
        for (name, masks, known, reasons) in kinds {
            write!(out, "{name:>16}:")?;
            let mask = masks.get(side).copied().unwrap_or_default() & known;
            for (bit, reason) in reasons.iter().enumerate() {
                let bit = u32::try_from(bit).ok().and_then(|bit| 1_u32.checked_shl(bit)).unwrap_or_default();
                if mask & bit != 0 {
                    write!(out, " {reason}")?;
                }
            }
            out.write_str(if mask == 0 { " (off)\n" } else { "\n" })?;
        }
    }
    Ok(())
}

const TABLE_REASONS: [&str; 5] = ["", "", "", "vacancy_down", "vacancy_up"];
const FORWARDED: [&str; 2] = ["group_mod_request", "meter_mod_request"];

/// Why packets come to the controller, by number.
pub(super) const PACKET_IN_REASONS: [&str; 8] = [
    "no_match",
    "action",
    "invalid_ttl",
    "action_set",
    "group",
    "packet_out",
    "explicit_miss",
    "implicit_miss",
];
/// Why flows go, by number.
pub(super) const REMOVED_REASONS: [&str; 6] =
    ["idle", "hard", "delete", "group_delete", "meter_delete", "eviction"];
const ROLE_REASONS: [&str; 3] = ["primary_request", "configuration_changed", "experimenter_data_changed"];

pub(super) fn write_bundle_head(out: &mut Out<'_>, bundle: u32, flags: BundleFlags) -> fmt::Result {
    write!(out, "\n bundle_id={} flags=", Hex(bundle.into()))?;
    write_bundle_flags(out, flags)
}

fn write_bundle_flags(out: &mut Out<'_>, flags: BundleFlags) -> fmt::Result {
    write_bits(out, u32::from(flags.bits()), &[(1, "atomic"), (2, "ordered")], ' ')
}

pub(super) fn write_bundle_control(out: &mut Out<'_>, control: BundleControl<'_>) -> fmt::Result {
    let op = match control.op {
        BundleOp::OpenRequest => "OPEN_REQUEST",
        BundleOp::OpenReply => "OPEN_REPLY",
        BundleOp::CloseRequest => "CLOSE_REQUEST",
        BundleOp::CloseReply => "CLOSE_REPLY",
        BundleOp::CommitRequest => "COMMIT_REQUEST",
        BundleOp::CommitReply => "COMMIT_REPLY",
        BundleOp::DiscardRequest => "DISCARD_REQUEST",
        BundleOp::DiscardReply => "DISCARD_REPLY",
        BundleOp::Unknown(_) => "",
    };
    write!(out, "\n bundle_id={} type={op} flags=", Hex(control.bundle.into()))?;
    write_bundle_flags(out, control.flags)
}
