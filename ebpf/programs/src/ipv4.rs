//! IPv4: reading what the policy needs, and the rows `router`, `dhcp4_server`, `ipv4`.

use aya_ebpf::programs::TcContext;
use ebpf_abi::{Port, PortFlags, Reason};

use crate::{
    headers::{ETH_LEN, Head, ICMP, Ipv4, L4, SCTP, TCP, UDP, load},
    source,
};

/// More fragments, or an offset.
const FRAGMENT_MASK: u16 = 0x3fff;
const HEADER_LEN: u32 = 20;
/// Where a header without options ends in a frame.
const FIXED_END: u32 = ETH_LEN + HEADER_LEN;
const REDIRECT: u8 = 5;
const ROUTER_ADVERTISEMENT: u8 = 9;
const ECHO_REPLY: u8 = 0;
const ECHO: u8 = 8;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;

/// What the policy reads behind the network header.
#[derive(Default)]
pub(crate) struct Transport {
    /// 0 where there is no transport header to read: in a fragment, or behind a malformed header.
    protocol: u8,
    /// The network header is malformed.
    malformed: bool,
    /// The begin of an UDP or ICMP header, else zeroes.
    l4: L4,
}

impl Transport {
    #[inline(always)]
    fn source_port(&self) -> u16 {
        u16::from_be_bytes([self.l4[0], self.l4[1]])
    }

    #[inline(always)]
    fn destination_port(&self) -> u16 {
        u16::from_be_bytes([self.l4[2], self.l4[3]])
    }
}

/// May go past the bridge.
#[inline(always)]
pub(crate) fn is_plain(transport: &Transport) -> bool {
    match transport.protocol {
        TCP | UDP | SCTP => true,
        ICMP => matches!(transport.l4[0], ECHO | ECHO_REPLY),
        _ => false,
    }
}

/// Reads a packet; `None` if the frame ends inside a header. The total length is not looked at: it is 0 in
/// GSO packets above 64 KiB.
#[inline(always)]
pub(crate) fn read(ctx: &TcContext, head: &Head) -> Option<Transport> {
    if ctx.len() < FIXED_END {
        return None;
    }
    let ip: &Ipv4 = head.network();
    let mut transport = Transport::default();
    let header_len = u32::from(ip.version_ihl & 0x0f) * 4;
    if ip.version_ihl >> 4 != 4 || header_len < HEADER_LEN {
        transport.malformed = true;
        return Some(transport);
    }
    let l4_at = ETH_LEN + header_len;
    if l4_at > ctx.len() {
        return None;
    }
    if u16::from_be_bytes(ip.fragment) & FRAGMENT_MASK != 0 {
        return Some(transport);
    }
    transport.protocol = ip.protocol;
    if matches!(ip.protocol, UDP | ICMP) {
        if l4_at + size_of::<L4>() as u32 > ctx.len() {
            return None;
        }
        transport.l4 = if l4_at == FIXED_END {
            head.transport::<{ FIXED_END as usize }>()
        } else {
            load(ctx, l4_at).ok()?
        };
    }
    Some(transport)
}

/// The rows of IPv4.
#[inline(always)]
pub(crate) fn check(port: &Port, ip: &Ipv4, transport: &Transport) -> Result<(), Reason> {
    if transport.protocol == ICMP && matches!(transport.l4[0], REDIRECT | ROUTER_ADVERTISEMENT) {
        return Err(Reason::Router);
    }
    if transport.protocol == UDP && transport.source_port() == DHCP_SERVER {
        return Err(Reason::Dhcp4Server);
    }
    if !transport.malformed && (source::is_own4(port, ip.src) || is_dhcp_client(port, ip, transport)) {
        Ok(())
    } else {
        Err(Reason::Ipv4)
    }
}

#[inline(always)]
fn is_dhcp_client(port: &Port, ip: &Ipv4, transport: &Transport) -> bool {
    port.flags.contains(PortFlags::DHCP4)
        && transport.protocol == UDP
        && ip.src == [0; 4]
        && ip.dst == [0xff; 4]
        && transport.source_port() == DHCP_CLIENT
        && transport.destination_port() == DHCP_SERVER
}
