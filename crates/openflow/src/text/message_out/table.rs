//! Printing tables: changes, descriptions, features.

use std::fmt::{self, Write};

use super::write_bits;
use crate::message::table::{Table, TableStatus};
use crate::text::out::Out;
use crate::types::{TableId, Version};

pub(super) fn write_mod(out: &mut Out<'_>, change: &Table, version: Version) -> fmt::Result {
    if change.table == TableId::ALL {
        out.write_str(" table_id: ALL_TABLES")?;
    } else {
        write!(out, " table_id={}", change.table)?;
    }
    if version == Version::V13 {
        return Ok(());
    }
    let on = |bit: u32| if change.config & bit != 0 { "on" } else { "off" };
    let eviction = if change.properties.eviction.is_some() { "***error***" } else { on(Table::EVICTS) };
    write!(out, ", eviction={eviction}, vacancy={}", on(Table::TELLS_VACANCY))?;
    if change.config & Table::TELLS_VACANCY != 0 {
        let vacancy = change.properties.vacancy.unwrap_or_default();
        write!(out, " vacancy:{},{}", vacancy.down, vacancy.up)?;
    }
    Ok(())
}

pub(super) fn write_desc(out: &mut Out<'_>, table: &Table) -> fmt::Result {
    write!(out, "\n  table {}:\n   eviction=", table.table)?;
    let on = |bit: u32| if table.config & bit != 0 { "on" } else { "off" };
    write!(out, "{} eviction_flags=", on(Table::EVICTS))?;
    match table.properties.eviction {
        None => out.write_str("(default)")?,
        Some(flags) => write_bits(out, flags, &[(1, "OTHER"), (2, "IMPORTANCE"), (4, "LIFETIME")], '|')?,
    }
    write!(out, "\n   vacancy={}", on(Table::TELLS_VACANCY))?;
    if table.config & Table::TELLS_VACANCY != 0 {
        let vacancy = table.properties.vacancy.unwrap_or_default();
        write!(out, " vacancy_down={}% vacancy_up={}% vacancy={}%", vacancy.down, vacancy.up, vacancy.now)?;
    }
    out.write_char('\n')
}

pub(super) fn write_status(out: &mut Out<'_>, status: TableStatus) -> fmt::Result {
    write!(out, " reason={}", if status.is_scarce { "VACANCY_DOWN" } else { "VACANCY_UP" })?;
    out.write_str("\ntable_desc:-")?;
    write_desc(out, &status.table)
}

/// Actions by the bits of their numbers, in Open vSwitch's order.
pub(super) fn write_actions(out: &mut Out<'_>, bits: u32) -> fmt::Result {
    let mut first = true;
    for (bit, name) in ACTIONS {
        if bits & 1_u32.checked_shl(bit).unwrap_or_default() == 0 {
            continue;
        }
        write!(out, "{}{name}", if first { "" } else { " " })?;
        first = false;
    }
    if first { out.write_str("<none>") } else { Ok(()) }
}

const ACTIONS: [(u32, &str); 12] = [
    (0, "output"),
    (22, "group"),
    (25, "set_field"),
    (18, "strip_vlan"),
    (17, "push_vlan"),
    (23, "mod_nw_ttl"),
    (24, "dec_ttl"),
    (15, "set_mpls_ttl"),
    (16, "dec_mpls_ttl"),
    (19, "push_mpls"),
    (20, "pop_mpls"),
    (21, "set_queue"),
];
