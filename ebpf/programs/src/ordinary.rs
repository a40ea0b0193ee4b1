//! The short way of the ordinary frame, which is nearly every frame: untagged unicast from an endpoint's own MAC and
//! first address, TCP, UDP, SCTP or an echo right behind a network header without options.
//!
//! It can only say yes. What it does not know goes row by row through [`crate::guard`], so it must know nothing that
//! a row drops; the corpus runs through both. No hash is computed and nothing is copied: a quarter of the long way.

use aya_ebpf::programs::TcContext;
use ebpf_abi::NearPort;

use crate::{
    accel::{self, Sender},
    headers::{ICMP, ICMP6, SCTP, TCP, UDP, Window, is_tagged},
    ipv4, ipv6,
    maps::NEAR_PORTS,
};

/// Ethernet, IPv4 without options, and eight bytes: UDP's header, or an echo's.
type Frame4 = Window<42>;
/// Ethernet, IPv6, and eight bytes.
type Frame6 = Window<62>;

/// The verdict on an ordinary frame; `None`: it is not one.
#[inline(always)]
pub(crate) fn verdict(ctx: &TcContext, ifindex: u32) -> Option<i32> {
    let port = NEAR_PORTS.get(NearPort::place(ifindex))?;
    let frame = Frame4::open(ctx, 0)?;
    if port.ifindex != ifindex || is_tagged(ctx) || frame.u8::<0>() & 1 != 0 {
        return None;
    }
    let from = frame.u64::<6>();
    let ordinary = (from == port.from4 && is_ordinary4(port, frame))
        || (from == port.from6 && is_ordinary6(port, Frame6::open(ctx, 0)?));
    if !ordinary {
        return None;
    }
    let dst = frame.u32::<0>() | frame.u16::<4>() << 32;
    let (slot, segment, mtu, flags) = (port.slot, port.segment, port.mtu, port.flags);
    Some(accel::forward(ctx, &Sender { ifindex, slot, segment, mtu, flags }, dst))
}

/// No row of the table drops it: see the rows `router`, `dhcp4_server` and `ipv4`.
#[inline(always)]
fn is_ordinary4(port: &NearPort, frame: Frame4) -> bool {
    let src = frame.u32::<26>();
    frame.u8::<14>() == 0x45
        && frame.u16::<20>() & wire(ipv4::FRAGMENT_MASK) == 0
        && src == u64::from(u32::from_ne_bytes(port.ip4))
        && src != 0
        && match frame.u8::<23>() as u8 {
            TCP | SCTP => true,
            UDP => frame.u16::<34>() != wire(ipv4::DHCP_SERVER),
            ICMP => matches!(frame.u8::<34>() as u8, ipv4::ECHO | ipv4::ECHO_REPLY),
            _ => false,
        }
}

/// No row of the table drops it: see the rows `ipv6`, `dhcp6_server` and `router`.
#[inline(always)]
fn is_ordinary6(port: &NearPort, frame: Frame6) -> bool {
    let src = (frame.u64::<22>(), frame.u64::<30>());
    frame.u8::<14>() >> 4 == 6
        && src == halves(port.ip6)
        && src != (0, 0)
        && match frame.u8::<20>() as u8 {
            TCP | SCTP => true,
            UDP => frame.u16::<54>() != wire(ipv6::DHCP_SERVER),
            ICMP6 => matches!(frame.u8::<54>() as u8, ipv6::ECHO | ipv6::ECHO_REPLY),
            _ => false,
        }
}

/// A number of the wire's byte order as a load gives it.
const fn wire(number: u16) -> u64 {
    number.to_be() as u64
}

#[inline(always)]
fn halves(addr: [u8; 16]) -> (u64, u64) {
    let whole = u128::from_le_bytes(addr);
    (whole as u64, (whole >> 64) as u64)
}
