//! IPv6: walking the extension headers, and the rows from `ipv6` to `nd`.

use aya_ebpf::programs::TcContext;
use ebpf_abi::{Port, PortFlags, Reason};

use crate::{
    headers::{
        ETH_LEN, Head, ICMP6, Ip6, Ipv6, L4, Mac, ND_HOP_LIMIT, NEIGHBOUR_ADVERTISEMENT,
        NEIGHBOUR_SOLICITATION, SCTP, SOURCE_LINK_LAYER, TARGET_LINK_LAYER, TCP, UDP, UNSPECIFIED6,
        load_into,
    },
    source,
};

/// Where the payload begins, from which `payload_len` counts.
const PAYLOAD_AT: u32 = ETH_LEN + 40;
/// Extension headers that are walked; no honest packet has more.
const MAX_EXTENSIONS: u32 = 6;
/// A header that begins behind these bytes is not looked for.
const MAX_OFFSET: u32 = 512;
/// Options of a neighbour discovery message; real ones have one or two.
const MAX_OPTIONS: u32 = 4;
/// Header and target address of a solicitation or advertisement.
const ND_LEN: u32 = 24;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

pub(crate) const ECHO: u8 = 128;
pub(crate) const ECHO_REPLY: u8 = 129;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const REDIRECT: u8 = 137;
const ROUTER_RENUMBERING: u8 = 138;
const MULTICAST_ROUTER_ADVERTISEMENT: u8 = 151;
const MLD2_REPORT: u8 = 143;
pub(crate) const DHCP_SERVER: u16 = 547;

/// What the policy reads behind the network header.
#[derive(Default)]
pub(crate) struct Transport {
    /// Behind the extension headers.
    protocol: u8,
    part: Part,
    /// Where the transport header begins.
    at: u32,
    /// The begin of a transport header of a whole packet, else zeroes.
    l4: L4,
}

/// Which part of a packet a frame carries. A fragment header that says "first and last" (RFC 6946) is a
/// whole packet, as OVS has it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Whole,
    FirstFragment,
    LaterFragment,
    /// The headers were not walked to their end.
    Unknown,
}

/// May go past the bridge.
#[inline(always)]
pub(crate) fn is_plain(transport: &Transport) -> bool {
    transport.part == Part::Whole
        && match transport.protocol {
            TCP | UDP | SCTP => true,
            ICMP6 => matches!(transport.l4[0], ECHO | ECHO_REPLY),
            _ => false,
        }
}

/// Reads a packet into defaults as far as the policy looks; `false` if the frame ends inside a header. As
/// in IPv4, not an `Option`.
#[inline(always)]
pub(crate) fn read(ctx: &TcContext, head: &Head, transport: &mut Transport) -> bool {
    if ctx.len() < PAYLOAD_AT {
        return false;
    }
    transport.protocol = head.network::<Ipv6>().next;
    transport.at = PAYLOAD_AT;
    if !walk(ctx, transport) {
        return false;
    }
    if transport.part != Part::Whole || !matches!(transport.protocol, UDP | ICMP6) {
        return true;
    }
    if transport.at + size_of::<L4>() as u32 > ctx.len() {
        return false;
    }
    if transport.at == PAYLOAD_AT {
        transport.l4 = head.transport::<{ PAYLOAD_AT as usize }>();
        return true;
    }
    load_into(ctx, transport.at, &mut transport.l4)
}

/// Steps over the extension headers; `false` if the frame ends inside one.
#[inline(always)]
fn walk(ctx: &TcContext, transport: &mut Transport) -> bool {
    let mut header: L4 = [0; 8];
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(transport.protocol) || transport.at > MAX_OFFSET {
            break;
        }
        if !load_into(ctx, transport.at, &mut header) {
            return false;
        }
        match transport.protocol {
            FRAGMENT => {
                let field = u16::from_be_bytes([header[2], header[3]]);
                if field & !7 != 0 {
                    transport.part = Part::LaterFragment;
                    return true;
                }
                if field & 1 != 0 {
                    transport.part = Part::FirstFragment;
                }
                transport.at += 8;
            }
            AUTHENTICATION => transport.at += (u32::from(header[1]) + 2) * 4,
            _ => transport.at += (u32::from(header[1]) + 1) * 8,
        }
        if transport.at > ctx.len() {
            return false;
        }
        transport.protocol = header[0];
    }
    if is_extension(transport.protocol) || transport.at > MAX_OFFSET {
        transport.part = Part::Unknown;
    }
    true
}

#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// The rows of IPv6.
#[inline(always)]
pub(crate) fn check(ctx: &TcContext, port: &Port, head: &Head, transport: &Transport) -> Result<(), Reason> {
    let ip: &Ipv6 = head.network();
    if port.flags.contains(PortFlags::IP4_ONLY) || ip.version_class_flow[0] >> 4 != 6 {
        return Err(Reason::Ipv6);
    }
    let may_speak = if ip.src == UNSPECIFIED6 {
        transport.part == Part::Whole
            && transport.protocol == ICMP6
            && matches!(transport.l4[0], NEIGHBOUR_SOLICITATION | MLD2_REPORT)
    } else {
        source::is_own6(port, &ip.src)
    };
    if !may_speak {
        return Err(Reason::Ipv6);
    }
    match transport.part {
        Part::Unknown => Err(Reason::Ext),
        Part::FirstFragment if transport.protocol == ICMP6 => Err(Reason::Icmp6Frag),
        Part::FirstFragment | Part::LaterFragment => Ok(()),
        Part::Whole => check_transport(ctx, port, head, transport),
    }
}

#[inline(always)]
fn check_transport(ctx: &TcContext, port: &Port, head: &Head, transport: &Transport) -> Result<(), Reason> {
    if transport.protocol == UDP && u16::from_be_bytes([transport.l4[0], transport.l4[1]]) == DHCP_SERVER {
        return Err(Reason::Dhcp6Server);
    }
    if transport.protocol != ICMP6 {
        return Ok(());
    }
    match transport.l4[0] {
        ROUTER_ADVERTISEMENT | REDIRECT | ROUTER_RENUMBERING | MULTICAST_ROUTER_ADVERTISEMENT => {
            Err(Reason::Router)
        }
        ROUTER_SOLICITATION if !port.flags.contains(PortFlags::SLAAC) => Err(Reason::Router),
        NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT if !is_honest_nd(ctx, port, head, transport) => {
            Err(Reason::Nd)
        }
        _ => Ok(()),
    }
}

/// Row `nd`: a solicitation or advertisement that speaks for nobody else.
#[inline(always)]
fn is_honest_nd(ctx: &TcContext, port: &Port, head: &Head, transport: &Transport) -> bool {
    let ip: &Ipv6 = head.network();
    let mut target: Ip6 = UNSPECIFIED6;
    if !load_into(ctx, transport.at + 8, &mut target) {
        return false;
    }
    if ip.hop_limit != ND_HOP_LIMIT || transport.l4[1] != 0 {
        return false;
    }
    let duplicate_detection = ip.src == UNSPECIFIED6;
    let target_fits = if transport.l4[0] == NEIGHBOUR_SOLICITATION && !duplicate_detection {
        target != UNSPECIFIED6
    } else {
        source::is_own6(port, &target)
    };
    if !target_fits {
        return false;
    }
    let end = PAYLOAD_AT + u32::from(u16::from_be_bytes(ip.payload_len));
    // Duplicate address detection must not name a MAC: none fits there.
    let mac = (!duplicate_detection).then_some(&head.ethernet().src);
    end <= ctx.len() && are_honest_options(ctx, transport.at + ND_LEN, end, mac)
}

/// Walks the options from `at` to the end of the payload: each well formed, each MAC the one given.
#[inline(always)]
fn are_honest_options(ctx: &TcContext, begin: u32, end: u32, mac: Option<&Mac>) -> bool {
    let mut at = begin;
    let mut option: L4 = [0; 8];
    for _ in 0..MAX_OPTIONS {
        if at + 8 > end {
            break;
        }
        if !load_into(ctx, at, &mut option) {
            return false;
        }
        let [kind, len, named @ ..] = option;
        if len == 0 {
            return false;
        }
        let names_mac = matches!(kind, SOURCE_LINK_LAYER | TARGET_LINK_LAYER);
        if names_mac && (len != 1 || mac != Some(&named)) {
            return false;
        }
        at += u32::from(len) * 8;
    }
    at == end
}
