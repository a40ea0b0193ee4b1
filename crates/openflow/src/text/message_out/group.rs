//! Printing groups.

use std::fmt::{self, Write};

use super::port_item;
use crate::message::flow_mod::ANY_GROUP;
use crate::message::group::{
    ALL_GROUPS, BUCKET_ALL, BUCKET_FIRST, BUCKET_LAST, Bucket, Group, GroupCommand, GroupFeatures, GroupMod,
    GroupStats, GroupType, Selection,
};
use crate::text::Hex;
use crate::text::action_out;
use crate::text::flow_out::write_duration;
use crate::text::match_out::{Separator, write_formatted};
use crate::text::out::Out;
use crate::types::{OfPort, Version};

/// The word for a type.
pub(crate) fn word(kind: GroupType) -> &'static str {
    match kind {
        GroupType::All => "all",
        GroupType::Select => "select",
        GroupType::Indirect => "indirect",
        GroupType::FastFailover => "ff",
    }
}

/// A group's number in requests.
pub(super) fn write_id(out: &mut Out<'_>, id: u32) -> fmt::Result {
    if id == ALL_GROUPS { out.write_str("ALL") } else { write!(out, "{id}") }
}

pub(super) fn write_mod(out: &mut Out<'_>, change: &GroupMod, version: Version) -> fmt::Result {
    let is_bucket = change.command.is_about_buckets();
    out.write_str("\n ")?;
    out.write_str(match change.command {
        GroupCommand::Add => "ADD",
        GroupCommand::Modify => "MOD",
        GroupCommand::AddOrModify => "ADD_OR_MOD",
        GroupCommand::Delete => "DEL",
        GroupCommand::InsertBucket => "INSERT_BUCKET",
        GroupCommand::RemoveBucket => "REMOVE_BUCKET",
    })?;
    out.write_char(' ')?;
    if is_bucket && version == Version::V15 {
        out.write_str("command_bucket_id:")?;
        match change.command_bucket {
            BUCKET_FIRST => out.write_str("first,")?,
            BUCKET_LAST => out.write_str("last,")?,
            BUCKET_ALL => out.write_str("all,")?,
            id => write!(out, "{id},")?,
        }
    }
    write_group(out, &change.group, version, !is_bucket)
}

pub(super) fn write_group(
    out: &mut Out<'_>,
    group: &Group,
    version: Version,
    with_type: bool,
) -> fmt::Result {
    write!(out, "group_id={}", group.id)?;
    if with_type {
        write!(out, ",type={}", word(group.kind))?;
    }
    if let Some(selection) = &group.selection {
        write_selection(out, selection)?;
    }
    for bucket in &group.buckets {
        write_bucket(out, bucket, group.kind, version)?;
    }
    Ok(())
}

fn write_selection(out: &mut Out<'_>, selection: &Selection) -> fmt::Result {
    write!(out, ",selection_method={}", selection.method)?;
    if selection.parameter != 0 {
        write!(out, ",selection_method_param={}", selection.parameter)?;
    }
    let several = match selection.fields().count() {
        0 => return Ok(()),
        1 => false,
        _ => true,
    };
    out.write_str(if several { ",fields(" } else { ",fields=" })?;
    let mut sep = Separator::default();
    for tlv in selection.fields() {
        let Some(field) = tlv.field else { continue };
        sep.next(out)?;
        out.write_str(field.name())?;
        if tlv.value.iter().any(|byte| *byte != 0xff) && tlv.number() != field.exact_mask() {
            out.write_char('=')?;
            write_formatted(out, field.format(), tlv.number(), None)?;
        }
    }
    if several { out.write_char(')') } else { Ok(()) }
}

fn write_bucket(out: &mut Out<'_>, bucket: &Bucket, kind: GroupType, version: Version) -> fmt::Result {
    out.write_str(",bucket=")?;
    if version == Version::V15 {
        write!(out, "bucket_id:{},", bucket.id)?;
    }
    if kind == GroupType::Select || bucket.weight != 0 {
        write!(out, "weight:{},", bucket.weight)?;
    }
    if bucket.watch_port != OfPort::ANY {
        port_item(out, "watch_port:", bucket.watch_port)?;
        out.write_char(',')?;
    }
    if bucket.watch_group != ANY_GROUP {
        write!(out, "watch_group:{},", bucket.watch_group)?;
    }
    let actions = bucket.actions();
    if actions.is_empty() {
        out.write_str("actions=drop")
    } else {
        out.write_str("actions=")?;
        action_out::write_list(out, actions, &mut Separator::default())
    }
}

pub(super) fn write_stats(out: &mut Out<'_>, stats: &GroupStats) -> fmt::Result {
    write!(out, " group_id={},duration=", stats.id)?;
    write_duration(out, stats.duration)?;
    write!(out, ",ref_count={}", stats.references)?;
    let count = |count: Option<u64>| count.unwrap_or(u64::MAX);
    write!(out, ",packet_count={},byte_count={}", count(stats.packet_count), count(stats.byte_count))?;
    for (number, [packets, bytes]) in stats.buckets.iter().enumerate() {
        if packets.is_some() || bytes.is_some() {
            write!(out, ",bucket{number}:packet_count={},byte_count={}", count(*packets), count(*bytes))?;
        }
    }
    out.write_char('\n')
}

pub(super) fn write_features(out: &mut Out<'_>, features: &GroupFeatures) -> fmt::Result {
    write!(
        out,
        "\n Group table:\n    Types:  {:#x}\n    Capabilities:  {:#x}\n",
        features.types, features.capabilities
    )?;
    let names = ["all", "select", "indirect", "fast failover"];
    for (number, (name, (max, actions))) in
        names.iter().zip(features.max_groups.iter().zip(features.actions)).enumerate()
    {
        let bit = u32::try_from(number).ok().and_then(|n| 1_u32.checked_shl(n)).unwrap_or_default();
        if features.types & bit == 0 {
            continue;
        }
        write!(out, "    {name} group:\n       max_groups={}\n       actions: ", Hex((*max).into()))?;
        super::table::write_actions(out, actions)?;
        out.write_char('\n')?;
    }
    Ok(())
}
