//! IPv4: reading what the policy needs, and the rows `router`, `dhcp4_server`, `ipv4`.

use aya_ebpf::programs::TcContext;
use ebpf_abi::{Port, PortFlags, Reason};

use crate::{
    headers::{ETH_LEN, Head, ICMP, Ipv4, L4, SCTP, TCP, UDP, load_into},
    source,
};

/// More fragments, or an offset.
pub(crate) const FRAGMENT_MASK: u16 = 0x3fff;
const HEADER_LEN: u32 = 20;
/// Where a header without options ends in a frame.
const FIXED_END: u32 = ETH_LEN + HEADER_LEN;
const REDIRECT: u8 = 5;
const ROUTER_ADVERTISEMENT: u8 = 9;
pub(crate) const ECHO_REPLY: u8 = 0;
pub(crate) const ECHO: u8 = 8;
pub(crate) const DHCP_SERVER: u16 = 67;
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

/// Reads a packet into defaults; `false` if the frame ends inside a header. The total length is not looked
/// at: it is 0 in GSO packets above 64 KiB.
///
/// Not an `Option`: LLVM may read the fields of a `None` before it looks whether they count, and verifiers
/// before 6.3 refuse a read of stack that was never written.
#[inline(always)]
pub(crate) fn read(ctx: &TcContext, head: &Head, transport: &mut Transport) -> bool {
    if ctx.len() < FIXED_END {
        return false;
    }
    let ip: &Ipv4 = head.network();
    let header_len = u32::from(ip.version_ihl & 0x0f) * 4;
    if ip.version_ihl >> 4 != 4 || header_len < HEADER_LEN {
        transport.malformed = true;
        return true;
    }
    let l4_at = ETH_LEN + header_len;
    if l4_at > ctx.len() {
        return false;
    }
    if u16::from_be_bytes(ip.fragment) & FRAGMENT_MASK != 0 {
        return true;
    }
    transport.protocol = ip.protocol;
    !matches!(ip.protocol, UDP | ICMP) || read_l4(ctx, head, l4_at, transport)
}

#[inline(always)]
fn read_l4(ctx: &TcContext, head: &Head, at: u32, transport: &mut Transport) -> bool {
    if at + size_of::<L4>() as u32 > ctx.len() {
        return false;
    }
    if at == FIXED_END {
        transport.l4 = head.transport::<{ FIXED_END as usize }>();
        return true;
    }
    load_into(ctx, at, &mut transport.l4)
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
