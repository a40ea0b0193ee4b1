//! The line that `ovs-ofctl` prints for a packet: a match of all its fields, and the checksum behind it.

use std::fmt::{self, Write};

use super::{
    ARP, BOTTOM_OF_STACK, Fragment, ICMP, ICMPV6, IGMP, IPV4, IPV6, MPLS, MPLS_MULTICAST,
    NAMESPACE_ETHERTYPE, NSH, Payload, RARP, SCTP, TCP, UDP,
};
use crate::field::Format;
use crate::text::digits;
use crate::text::match_out::write_formatted;
use crate::text::message_out::packet::PACKET_TYPE_ETHERNET;
use crate::text::out::Out;
use crate::text::{Hex, Ipv6Text};

pub(super) fn write(out: &mut Out<'_>, p: &Payload) -> fmt::Result {
    let is_ethernet = p.packet_type == PACKET_TYPE_ETHERNET;
    if is_ethernet {
        write_ethernet(out, p)?;
    } else {
        out.write_str("packet_type=")?;
        write_formatted(out, Format::PacketType, u128::from(p.packet_type), None)?;
    }
    if is_ethernet || p.packet_type >> 16 == NAMESPACE_ETHERTYPE {
        match p.eth_type {
            IPV4 | IPV6 => write_ip(out, p)?,
            ARP | RARP => write_arp(out, p)?,
            MPLS | MPLS_MULTICAST => write_labels(out, p)?,
            NSH => write_nsh(out, p)?,
            _ => {}
        }
    }
    if let Some((word, value)) = p.checksum {
        write!(out, " {word}:{value:x}")?;
    }
    out.write_char('\n')
}

/// A word for what is inside, tags, addresses, and the type if no word says it.
fn write_ethernet(out: &mut Out<'_>, p: &Payload) -> fmt::Result {
    let word = word(p.eth_type, p.proto);
    if let Some((word, _)) = word {
        write!(out, "{word},")?;
    }
    for (tci, suffix) in p.vlan_tci.iter().zip(["", "1"]) {
        if *tci == 0 {
            write!(out, "vlan_tci{suffix}=0x0000,")?;
            break;
        }
        write!(out, "dl_vlan{suffix}={},dl_vlan_pcp{suffix}={},", tci & 0xfff, tci >> 13)?;
    }
    out.write_str("dl_src=")?;
    digits::mac(out, p.eth_src.bits())?;
    out.write_str(",dl_dst=")?;
    digits::mac(out, p.eth_dst.bits())?;
    if word.is_none() { write!(out, ",dl_type=0x{:04x}", p.eth_type) } else { Ok(()) }
}

/// The word for a type and a protocol, and whether it says the protocol.
fn word(eth_type: u16, proto: u8) -> Option<(&'static str, bool)> {
    Some(match (eth_type, proto) {
        (IPV4, ICMP) => ("icmp", true),
        (IPV4, TCP) => ("tcp", true),
        (IPV4, UDP) => ("udp", true),
        (IPV4, SCTP) => ("sctp", true),
        (IPV4, _) => ("ip", false),
        (IPV6, ICMPV6) => ("icmp6", true),
        (IPV6, TCP) => ("tcp6", true),
        (IPV6, UDP) => ("udp6", true),
        (IPV6, SCTP) => ("sctp6", true),
        (IPV6, _) => ("ipv6", false),
        (ARP, _) => ("arp", false),
        (RARP, _) => ("rarp", false),
        (MPLS, _) => ("mpls", false),
        (MPLS_MULTICAST, _) => ("mplsm", false),
        _ => return None,
    })
}

fn write_ip(out: &mut Out<'_>, p: &Payload) -> fmt::Result {
    if p.eth_type == IPV4 {
        out.write_str(",nw_src=")?;
        digits::ipv4(out, p.src)?;
        out.write_str(",nw_dst=")?;
        digits::ipv4(out, p.dst)?;
    } else {
        write!(out, ",ipv6_src={},ipv6_dst={}", Ipv6Text(p.src), Ipv6Text(p.dst))?;
        write!(out, ",ipv6_label=0x{:05x}", p.flow_label)?;
    }
    let is_ethernet = p.packet_type == PACKET_TYPE_ETHERNET;
    let says_protocol = is_ethernet && word(p.eth_type, p.proto).is_some_and(|(_, says)| says);
    if !says_protocol {
        write!(out, ",nw_proto={}", p.proto)?;
    }
    write_service(out, p)?;
    if p.fragment == Fragment::Later { Ok(()) } else { write_transport(out, p) }
}

/// Type of service, time to live, and which fragment it is.
fn write_service(out: &mut Out<'_>, p: &Payload) -> fmt::Result {
    write!(out, ",nw_tos={},nw_ecn={},nw_ttl={},nw_frag=", p.tos & 0xfc, p.tos & 3, p.ttl)?;
    out.write_str(match p.fragment {
        Fragment::No => "no",
        Fragment::First => "first",
        Fragment::Later => "later",
    })
}

fn write_transport(out: &mut Out<'_>, p: &Payload) -> fmt::Result {
    let [src, dst] = p.ports;
    match (p.eth_type, p.proto) {
        (IPV4, ICMP) | (IPV6, ICMPV6) => write!(out, ",icmp_type={src},icmp_code={dst}")?,
        (_, ICMP | IGMP | TCP | UDP | SCTP | ICMPV6) => write!(out, ",tp_src={src},tp_dst={dst}")?,
        _ => {}
    }
    if p.proto == TCP {
        out.write_str(",tcp_flags=")?;
        write_formatted(out, Format::TcpFlags, u128::from(p.tcp_flags), None)?;
    }
    if p.eth_type == IPV6 && p.is_neighbour() {
        write!(out, ",nd_target={},nd_sll=", Ipv6Text(p.nd_target))?;
        digits::mac(out, p.sender_mac.bits())?;
        out.write_str(",nd_tll=")?;
        digits::mac(out, p.target_mac.bits())?;
    }
    Ok(())
}

fn write_arp(out: &mut Out<'_>, p: &Payload) -> fmt::Result {
    out.write_str(",arp_spa=")?;
    digits::ipv4(out, p.src)?;
    out.write_str(",arp_tpa=")?;
    digits::ipv4(out, p.dst)?;
    write!(out, ",arp_op={},arp_sha=", p.proto)?;
    digits::mac(out, p.sender_mac.bits())?;
    out.write_str(",arp_tha=")?;
    digits::mac(out, p.target_mac.bits())
}

/// The first label in parts, the others up to the last one as numbers.
fn write_labels(out: &mut Out<'_>, p: &Payload) -> fmt::Result {
    for (at, label) in p.labels.iter().enumerate() {
        if at == 0 {
            write!(out, ",mpls_label={},mpls_tc={}", label >> 12, (label >> 9) & 7)?;
            write!(out, ",mpls_ttl={},mpls_bos={}", label & 0xff, (label >> 8) & 1)?;
        } else {
            write!(out, ",mpls_lse{at}={label}")?;
        }
        if label & BOTTOM_OF_STACK != 0 {
            break;
        }
    }
    Ok(())
}

fn write_nsh(out: &mut Out<'_>, p: &Payload) -> fmt::Result {
    let nsh = &p.nsh;
    write!(out, ",nsh_flags={},nsh_ttl={},nsh_mdtype={}", nsh.flags, nsh.ttl, nsh.mdtype)?;
    write!(out, ",nsh_np={},nsh_spi=0x{:x},nsh_si={}", nsh.next, nsh.path, nsh.index)?;
    if nsh.mdtype == 1 {
        for (number, word) in (1..).zip(nsh.context) {
            write!(out, ",nsh_c{number}={}", Hex(u128::from(word)))?;
        }
    }
    write!(out, ",nw_proto={}", p.proto)?;
    write_service(out, p)
}
