//! Printing multipart requests and replies.

use std::fmt::{self, Write};

use super::{group, meter, port, port_item, table};
use crate::message::counters::{PortCounters, PortStats, TableStats};
use crate::message::flow_mod::ANY_GROUP;
use crate::message::ipfix::IpfixStats;
use crate::message::monitor::{FlowEvent, FlowUpdate, MonitorCommand, MonitorRequest};
use crate::message::multipart::{FlowQuery, MultipartBody, MultipartRequest, SwitchDesc};
use crate::message::queue::{ALL_QUEUES, QueueConfig, QueueDesc, QueueQuery, QueueStats};
use crate::text::action_out;
use crate::text::flow_out::{self, write_duration};
use crate::text::match_out::{self, Separator};
use crate::text::out::Out;
use crate::types::{OfPort, TableId, Version};

pub(super) fn write_request(out: &mut Out<'_>, request: &MultipartRequest<'_>) -> fmt::Result {
    match request {
        MultipartRequest::Flow(query) | MultipartRequest::Aggregate(query) => write_query(out, query),
        MultipartRequest::PortStats(port) => port_item(out, " port_no=", *port),
        MultipartRequest::PortDesc(port) => port_item(out, " port=", *port),
        MultipartRequest::QueueStats(QueueQuery { port, queue }) => {
            port_item(out, " port=", *port)?;
            out.write_str(" queue=")?;
            if *queue == ALL_QUEUES { out.write_str("ALL") } else { write!(out, "{queue}") }
        }
        MultipartRequest::QueueDesc(QueueQuery { port, queue }) => {
            port_item(out, " port=", *port)?;
            if *queue == ALL_QUEUES { Ok(()) } else { write!(out, " queue={queue}") }
        }
        MultipartRequest::GroupStats(id) | MultipartRequest::GroupDesc(id) => {
            out.write_str(" group_id=")?;
            group::write_id(out, *id)
        }
        MultipartRequest::MeterStats(id) | MultipartRequest::MeterConfig(id) => {
            out.write_char(' ')?;
            meter::write_id(out, *id, '=')
        }
        MultipartRequest::FlowMonitor(request) => write_monitor(out, request),
        MultipartRequest::Desc
        | MultipartRequest::Table
        | MultipartRequest::GroupFeatures
        | MultipartRequest::MeterFeatures
        | MultipartRequest::TableFeatures(_)
        | MultipartRequest::TableDesc
        | MultipartRequest::IpfixBridge
        | MultipartRequest::IpfixFlow
        | MultipartRequest::FlowCounts(_)
        | MultipartRequest::Unknown { .. } => Ok(()),
    }
}

fn write_query(out: &mut Out<'_>, query: &FlowQuery) -> fmt::Result {
    if query.table != TableId::ALL {
        write!(out, " table={}", query.table)?;
    }
    if query.out_port != OfPort::ANY {
        port_item(out, " out_port=", query.out_port)?;
    }
    if query.matching.is_empty() {
        return Ok(());
    }
    out.write_char(' ')?;
    match_out::write(out, query.matching.as_ref(), &mut Separator::default())
}

fn write_monitor(out: &mut Out<'_>, request: &MonitorRequest) -> fmt::Result {
    write!(out, "\n id={}", request.id)?;
    if request.command == MonitorCommand::Delete {
        return out.write_str(" command=delete");
    }
    out.write_str(" flags=")?;
    super::write_bits(out, u32::from(request.flags.bits()), &MONITOR_FLAGS, ',')?;
    if request.out_port != OfPort::ANY {
        port_item(out, " out_port=", request.out_port)?;
    }
    if request.out_group != ANY_GROUP {
        write!(out, " out_group={}", request.out_group)?;
    }
    if request.table != TableId::ALL {
        write!(out, " table={}", request.table)?;
    }
    if request.matching.is_empty() {
        return Ok(());
    }
    out.write_char(' ')?;
    match_out::write(out, request.matching.as_ref(), &mut Separator::default())
}

const MONITOR_FLAGS: [(u32, &str); 7] = [
    (1, "initial"),
    (2, "add"),
    (4, "delete"),
    (8, "modify"),
    (16, "actions"),
    (64, "own"),
    (32, "no_abbrev"),
];

pub(super) fn write_reply(out: &mut Out<'_>, body: &MultipartBody<'_>, version: Version) -> fmt::Result {
    match body {
        MultipartBody::Desc(desc) => write_desc(out, desc),
        MultipartBody::Flow(flows) => flows.clone().flatten().try_for_each(|flow| {
            out.write_str("\n ")?;
            flow_out::write_stats(out, &flow)
        }),
        MultipartBody::Aggregate(stats) => {
            let count = |count: Option<u64>| count.unwrap_or(u64::MAX);
            let (packets, bytes) = (count(stats.packet_count), count(stats.byte_count));
            write!(out, " packet_count={packets} byte_count={bytes} flow_count={}", stats.flow_count)
        }
        MultipartBody::Table(tables) => write_tables(out, tables.clone().flatten()),
        MultipartBody::PortStats(ports) => {
            writeln!(out, " {} ports", ports.clone().count())?;
            ports.clone().flatten().try_for_each(|stats| write_port(out, &stats))
        }
        MultipartBody::QueueStats(queues) => {
            writeln!(out, " {} queues", queues.clone().count())?;
            queues.clone().flatten().try_for_each(|stats| write_queue(out, &stats))
        }
        MultipartBody::GroupStats(groups) => {
            out.write_char('\n')?;
            groups.clone().flatten().try_for_each(|stats| group::write_stats(out, &stats))
        }
        MultipartBody::GroupDesc(groups) => {
            out.write_char('\n')?;
            groups.clone().flatten().try_for_each(|one| {
                out.write_char(' ')?;
                group::write_group(out, &one, version, true)?;
                out.write_char('\n')
            })
        }
        MultipartBody::GroupFeatures(features) => group::write_features(out, features),
        MultipartBody::MeterStats(meters) => meters.clone().flatten().try_for_each(|stats| {
            out.write_char('\n')?;
            meter::write_stats(out, &stats)
        }),
        MultipartBody::MeterConfig(meters) => meters.clone().flatten().try_for_each(|one| {
            out.write_char('\n')?;
            meter::write_meter(out, &one)
        }),
        MultipartBody::MeterFeatures(features) => meter::write_features(out, features),
        MultipartBody::TableDesc(tables) => {
            tables.clone().flatten().try_for_each(|one| table::write_desc(out, &one))
        }
        MultipartBody::PortDesc(ports) => {
            out.write_char('\n')?;
            let mut sorted: Vec<_> = ports.clone().flatten().collect();
            sorted.sort_by_key(|port| port.number);
            sorted.iter().try_for_each(|one| port::write_port(out, one))
        }
        MultipartBody::QueueDesc(queues) => write_queue_descs(out, queues.clone().flatten()),
        MultipartBody::FlowMonitor(updates) => {
            updates.clone().flatten().try_for_each(|update| write_update(out, &update))
        }
        MultipartBody::IpfixBridge(stats) => stats.clone().flatten().try_for_each(|stats| {
            out.write_str("\n  bridge ipfix: ")?;
            write_ipfix(out, &stats.0, 16)
        }),
        MultipartBody::IpfixFlow(stats) => {
            writeln!(out, " {} ids", stats.clone().count())?;
            stats.clone().flatten().try_for_each(|stats| {
                write!(out, "  id {:3}: ", stats.0.collector_set)?;
                write_ipfix(out, &stats.0, 10)
            })
        }
        MultipartBody::TableFeatures(_) | MultipartBody::FlowCounts(_) | MultipartBody::Unknown { .. } => {
            Ok(())
        }
    }
}

fn write_desc(out: &mut Out<'_>, desc: &SwitchDesc<'_>) -> fmt::Result {
    for (name, text) in [
        ("\nManufacturer: ", desc.manufacturer),
        ("\nHardware: ", desc.hardware),
        ("\nSoftware: ", desc.software),
        ("\nSerial Num: ", desc.serial),
        ("\nDP Description: ", desc.datapath),
    ] {
        write!(out, "{name}{}", String::from_utf8_lossy(text))?;
    }
    out.write_char('\n')
}

fn write_tables(out: &mut Out<'_>, tables: impl Iterator<Item = TableStats>) -> fmt::Result {
    let mut previous: Option<TableStats> = None;
    let mut same: Option<(TableId, TableId)> = None;
    for stats in tables {
        if previous.is_some_and(|old| TableStats { table: stats.table, ..old } == stats) {
            same = Some((same.map_or(stats.table, |(first, _)| first), stats.table));
            continue;
        }
        write_ditto(out, same.take())?;
        let count = |count: Option<u64>| count.unwrap_or(u64::MAX);
        write!(
            out,
            "\n  table {}:\n    active={}, lookup={}, matched={}\n",
            stats.table,
            stats.active,
            count(stats.lookups),
            count(stats.matches)
        )?;
        previous = Some(stats);
    }
    write_ditto(out, same)
}

/// Tables like the one before them.
pub(super) fn write_ditto(out: &mut Out<'_>, same: Option<(TableId, TableId)>) -> fmt::Result {
    match same {
        None => Ok(()),
        Some((first, last)) if first == last => write!(out, "\n  table {first}: ditto\n"),
        Some((first, last)) => write!(out, "\n  tables {first}...{last}: ditto\n"),
    }
}

/// A counter with its name and what follows; `?` where nothing is counted.
fn item(out: &mut Out<'_>, name: &str, count: Option<u64>, more: bool) -> fmt::Result {
    out.write_str(name)?;
    match count {
        Some(count) => write!(out, "{count}")?,
        None => out.write_char('?')?,
    }
    out.write_str(if more { ", " } else { "\n" })
}

fn write_port(out: &mut Out<'_>, stats: &PortStats<'_>) -> fmt::Result {
    match stats.port.reserved_name() {
        Some(name) => write!(out, "  port {name}: rx ")?,
        None => write!(out, "  port {:2}: rx ", stats.port.shown())?,
    }
    let c: &PortCounters = &stats.counters;
    item(out, "pkts=", c.rx_packets, true)?;
    item(out, "bytes=", c.rx_bytes, true)?;
    item(out, "drop=", c.rx_dropped, true)?;
    item(out, "errs=", c.rx_errors, true)?;
    item(out, "frame=", c.rx_frame_errors, true)?;
    item(out, "over=", c.rx_over_errors, true)?;
    item(out, "crc=", c.rx_crc_errors, false)?;
    out.write_str("           tx ")?;
    item(out, "pkts=", c.tx_packets, true)?;
    item(out, "bytes=", c.tx_bytes, true)?;
    item(out, "drop=", c.tx_dropped, true)?;
    item(out, "errs=", c.tx_errors, true)?;
    item(out, "coll=", c.collisions, false)?;
    out.write_str("           duration=")?;
    write_duration(out, stats.duration)?;
    out.write_char('\n')?;
    let mut column = 0_u8;
    for (name, value) in stats.custom() {
        if column == 0 {
            out.write_str("           CUSTOM Statistics\n                      ")?;
        } else if column.is_multiple_of(3) {
            out.write_str("\n                      ")?;
        }
        write!(out, "{}={value}, ", String::from_utf8_lossy(name))?;
        // A port has fewer counters of its own than 255; beyond, lines would only break elsewhere.
        column = column.checked_add(1).unwrap_or(1);
    }
    if column == 0 { Ok(()) } else { out.write_char('\n') }
}

fn write_queue(out: &mut Out<'_>, stats: &QueueStats) -> fmt::Result {
    port_item(out, "  port ", stats.port)?;
    write!(out, " queue {}: ", stats.queue)?;
    item(out, "bytes=", stats.bytes, true)?;
    item(out, "pkts=", stats.packets, true)?;
    item(out, "errors=", stats.errors, true)?;
    out.write_str("duration=")?;
    match stats.duration {
        Some(time) => write_duration(out, time)?,
        None => out.write_char('?')?,
    }
    out.write_char('\n')
}

fn write_rate(out: &mut Out<'_>, name: &str, rate: Option<u16>) -> fmt::Result {
    match rate {
        None | Some(u16::MAX) => Ok(()),
        Some(rate) if rate > 1000 => write!(out, " {name}:(disabled)"),
        Some(rate) => write!(out, " {name}:{}.{}%", rate / 10, rate % 10),
    }
}

fn write_queue_line(out: &mut Out<'_>, queue: &QueueDesc<'_>) -> fmt::Result {
    write!(out, "queue {}:", queue.queue)?;
    write_rate(out, "min_rate", queue.min_rate)?;
    write_rate(out, "max_rate", queue.max_rate)?;
    out.write_char('\n')
}

pub(super) fn write_queue_config(out: &mut Out<'_>, config: &QueueConfig<'_>) -> fmt::Result {
    port_item(out, " port=", config.port)?;
    out.write_char('\n')?;
    config.queues.iter().try_for_each(|queue| write_queue_line(out, queue))
}

fn write_queue_descs<'a>(out: &mut Out<'_>, queues: impl Iterator<Item = QueueDesc<'a>>) -> fmt::Result {
    let mut sorted: Vec<QueueDesc<'_>> = queues.collect();
    sorted.sort_by_key(|queue| (queue.port, queue.queue));
    let mut port = None;
    out.write_char(' ')?;
    for queue in &sorted {
        if port != Some(queue.port) {
            port_item(out, "port=", queue.port)?;
            out.write_char('\n')?;
            port = Some(queue.port);
        }
        write_queue_line(out, queue)?;
    }
    Ok(())
}

fn write_ipfix(out: &mut Out<'_>, stats: &IpfixStats, indent: usize) -> fmt::Result {
    write!(
        out,
        "flows={}, current flows={}, sampled pkts={}, ipv4 ok={}, ipv6 ok={}, tx pkts={}\n{:indent$}",
        stats.flows,
        stats.current_flows,
        stats.packets,
        stats.ipv4_packets,
        stats.ipv6_packets,
        stats.sent,
        ""
    )?;
    writeln!(
        out,
        "pkts errs={}, ipv4 errs={}, ipv6 errs={}, tx errs={}",
        stats.errors, stats.ipv4_errors, stats.ipv6_errors, stats.send_errors
    )
}

fn write_update(out: &mut Out<'_>, update: &FlowUpdate<'_>) -> fmt::Result {
    let full = match update {
        FlowUpdate::Abbrev { xid } => return write!(out, "\n event=ABBREV xid={xid:#x}"),
        FlowUpdate::Paused => return out.write_str("\n event=PAUSED"),
        FlowUpdate::Resumed => return out.write_str("\n event=RESUMED"),
        FlowUpdate::Full(full) => full,
    };
    out.write_str("\n event=")?;
    match full.event {
        FlowEvent::Initial => out.write_str("INITIAL")?,
        FlowEvent::Added => out.write_str("ADDED")?,
        FlowEvent::Modified => out.write_str("MODIFIED")?,
        FlowEvent::Removed => {
            out.write_str("DELETED reason=")?;
            super::packet::write_reason(out, full.reason, &super::session::REMOVED_REASONS)?;
        }
    }
    write!(out, " table={}", full.table)?;
    for (name, value) in [("idle_timeout", full.idle_timeout), ("hard_timeout", full.hard_timeout)] {
        if value != 0 {
            write!(out, " {name}={value}")?;
        }
    }
    write!(out, " cookie={:#x}", full.cookie)?;
    let mut sep = Separator::default();
    if full.priority != crate::flow::DEFAULT_PRIORITY {
        sep.next(out)?;
        write!(out, " priority={}", full.priority)?;
    }
    let matching = full.matching.as_ref();
    if !matching.as_bytes().is_empty() {
        out.write_str(if sep.is_started() { "" } else { " " })?;
        match_out::write(out, matching, &mut sep)?;
    }
    let instructions = full.instructions.as_ref();
    if instructions.iter().next().is_none() {
        Ok(())
    } else {
        {
            out.write_str(" actions=")?;
            action_out::write_instructions(out, instructions)
        }
    }
}
