//! The TC programs of Underpass: the guard, the watch on addresses, and the way past the bridge.
//!
//! | program | hook | does |
//! | --- | --- | --- |
//! | `up_from_pod` | host veth ingress, first | [`ordinary`], else [`guard`]; then [`accel`] |
//! | `up_to_pod` | host veth egress, last | [`watch`]: ARP and neighbour discovery only |
//! | `up_uplink` | ingress of each physical member | the same |
//!
//! One object, loaded once and attached to many devices: what differs stands in [`maps`], keyed by
//! `skb->ifindex`. Answers are -1 (go on with the next program), SHOT and REDIRECT, nothing else:
//! `TC_ACT_OK` would skip later programs and the policing of OVS.
//!
//! The programs verify on 5.10: no loops without a constant bound, no `bpf_loop`, no coarse clock.
//! The head of a frame is copied once, and only there are packet pointers used; all else is read with
//! `bpf_skb_load_bytes`, which sees paged data too. A reachable panic would make an object that no verifier
//! takes, and so would stack that was never written before 6.3: no indexing by variables, no checked
//! arithmetic, no division by a variable, no options around what LLVM keeps on the stack.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod accel;
mod account;
mod guard;
mod headers;
mod ipv4;
mod ipv6;
mod maps;
mod ordinary;
mod source;
mod watch;
mod words;

use core::mem::MaybeUninit;

use accel::Sender;
use account::Book;
use aya_ebpf::{bindings::TC_ACT_SHOT, macros::classifier, programs::TcContext};
use ebpf_abi::{Counter, Mode, OffenceFlags, Place, Port, PortFlags, Reason, Stage, mac_word, segment};

/// `TCX_NEXT` and `TC_ACT_UNSPEC`: the next program or filter decides.
const NEXT: i32 = -1;
const SHOT: i32 = TC_ACT_SHOT;

/// What an endpoint sends, as it comes out of its host veth.
#[classifier]
pub fn up_from_pod(ctx: TcContext) -> i32 {
    // SAFETY: the kernel hands a valid `__sk_buff`; its fields are checked by the verifier.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    if let Some(verdict) = ordinary::verdict(&ctx, ifindex) {
        return verdict;
    }
    // SAFETY: the entry may change while it is read, never in size; each field is used on its own.
    let Some(port) = (unsafe { maps::PORTS.get(ifindex) }) else {
        account::offence(&ctx, 0, 0, Reason::Unbound, OffenceFlags::NONE);
        return SHOT;
    };
    let verdict = from_port(&ctx, ifindex, port);
    // The bridge has a copy of the frame already (a packet socket reads before TC). The original would go
    // up the host's own stack, which answers ARP with the host veth's MAC.
    if port.flags.contains(PortFlags::USERSPACE_DP) { SHOT } else { verdict }
}

#[inline(always)]
fn from_port(ctx: &TcContext, ifindex: u32, port: &Port) -> i32 {
    if port.mode == Mode::OFF {
        Book::open(port.slot).add(Counter::Passed as u32, 1);
        return NEXT;
    }
    if port.stage != Stage::OPEN {
        account::offence(ctx, port.slot, port.generation, Reason::Closed, OffenceFlags::NONE);
        return SHOT;
    }
    match guard::check(ctx, port) {
        Ok(accepted) if accepted.plain => {
            let (slot, mtu, flags) = (port.slot, port.mtu, port.flags);
            let sender = Sender { ifindex, slot, segment: segment(port.bridge, port.vlan), mtu, flags };
            accel::forward(ctx, &sender, mac_word(accepted.dst))
        }
        Ok(_) => {
            Book::open(port.slot).add(Counter::Passed as u32, 1);
            NEXT
        }
        Err(reason) if port.mode == Mode::OBSERVE => {
            account::offence(ctx, port.slot, port.generation, reason, OffenceFlags::PASSED);
            NEXT
        }
        Err(reason) => {
            account::offence(ctx, port.slot, port.generation, reason, OffenceFlags::NONE);
            SHOT
        }
    }
}

/// What an endpoint is about to receive.
#[classifier]
pub fn up_to_pod(ctx: TcContext) -> i32 {
    let mut room = MaybeUninit::uninit();
    if let Some(frame) = watch::candidate(&ctx, &mut room) {
        // SAFETY: as in `up_from_pod`.
        let ifindex = unsafe { (*ctx.skb.skb).ifindex };
        // SAFETY: as in `up_from_pod`.
        if let Some(port) = unsafe { maps::PORTS.get(ifindex) } {
            let vlan = if port.vlan == ebpf_abi::TRUNK { frame.vlan } else { port.vlan };
            watch::look(&ctx, &frame, port.bridge, vlan, Place::TO_POD);
        }
    }
    NEXT
}

/// What comes in from the physical network.
#[classifier]
pub fn up_uplink(ctx: TcContext) -> i32 {
    let mut room = MaybeUninit::uninit();
    if let Some(frame) = watch::candidate(&ctx, &mut room) {
        // SAFETY: as in `up_from_pod`.
        let ifindex = unsafe { (*ctx.skb.skb).ifindex };
        // SAFETY: as in `up_from_pod`.
        if let Some(uplink) = unsafe { maps::UPLINKS.get(ifindex) } {
            watch::look(&ctx, &frame, uplink.bridge, frame.vlan, Place::UPLINK);
        }
    }
    NEXT
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Every helper used here is open to programs of any licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 11] = *b"Apache-2.0\0";
