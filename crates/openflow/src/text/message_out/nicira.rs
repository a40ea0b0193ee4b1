//! Printing Nicira's messages.

use std::fmt::{self, Write};

use super::{packet, session};
use crate::message::nicira::{CtFlush, CtTuple, Nicira, TlvCommand, TlvMap};
use crate::text::out::Out;
use crate::types::Version;

pub(super) fn write(out: &mut Out<'_>, message: &Nicira<'_>, version: Version) -> fmt::Result {
    match message {
        Nicira::FlowModTableId(on) => write!(out, " {}", if *on { "enable" } else { "disable" }),
        Nicira::SetPacketInFormat(format) => match format {
            0 => out.write_str(" format=standard"),
            1 => out.write_str(" format=nxt_packet_in"),
            2 => out.write_str(" format=nxt_packet_in2"),
            _ => write!(out, " format={format}"),
        },
        Nicira::SetAsync(config) => session::write_async(out, config, version),
        Nicira::SetControllerId(id) => write!(out, " id={id}"),
        Nicira::TlvTableMod(change) => {
            out.write_str("\n ")?;
            match change.command {
                TlvCommand::Add => out.write_str("ADD")?,
                TlvCommand::Delete => out.write_str("DEL")?,
                TlvCommand::Clear => return out.write_str("CLEAR"),
            }
            write_maps(out, &change.maps)
        }
        Nicira::TlvTableRequest => Ok(()),
        Nicira::TlvTableReply(table) => {
            write!(out, "\n max option space={} max fields={}\n", table.max_space, table.max_fields)?;
            let allocated: u32 = table.maps.iter().map(|map| u32::from(map.len)).sum();
            write!(out, " allocated option space={allocated}\n\n")?;
            write_maps(out, &table.maps)
        }
        Nicira::Resume(packet) => packet::write_in(out, packet),
        Nicira::CtFlushZone(zone) => write!(out, " zone_id={zone}"),
        Nicira::CtFlush(flush) => write_flush(out, flush),
    }
}

fn write_maps(out: &mut Out<'_>, maps: &[TlvMap]) -> fmt::Result {
    out.write_str(" mapping table:\n")?;
    out.write_str("  class  type  length  match field\n ------  ----  ------  --------------")?;
    for map in maps {
        write!(out, "\n {:#6x}  {:#4x}  {:6}  tun_metadata{}", map.class, map.kind, map.len, map.index)?;
    }
    Ok(())
}

fn write_flush(out: &mut Out<'_>, flush: &CtFlush) -> fmt::Result {
    write!(out, " zone={} '", flush.zone.unwrap_or_default())?;
    write_tuple(out, &flush.original.unwrap_or_default(), flush)?;
    write!(out, ",ct_nw_proto={}' '", flush.protocol)?;
    write_tuple(out, &flush.reply.unwrap_or_default(), flush)?;
    out.write_char('\'')
}

fn write_tuple(out: &mut Out<'_>, tuple: &CtTuple, flush: &CtFlush) -> fmt::Result {
    let is_ipv4 = tuple.src.to_ipv4_mapped().is_some() || tuple.dst.to_ipv4_mapped().is_some();
    for (name, address) in [("src", tuple.src), ("dst", tuple.dst)] {
        let prefix = if is_ipv4 { "ct_nw_" } else { "ct_ipv6_" };
        write!(out, "{prefix}{name}=")?;
        match address.to_ipv4_mapped() {
            Some(address) => write!(out, "{address},")?,
            None => write!(out, "{},", crate::text::Ipv6Text(address.to_bits()))?,
        }
    }
    if flush.is_icmp() {
        let [kind, code] = tuple.icmp.map(Option::unwrap_or_default);
        return write!(out, "icmp_id={},icmp_type={kind},icmp_code={code}", tuple.src_port);
    }
    write!(out, "ct_tp_src={},ct_tp_dst={}", tuple.src_port, tuple.dst_port)
}
