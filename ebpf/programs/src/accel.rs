//! The way past the bridge: straight to the peer of another host veth on this node.
//!
//! Only what the guard let pass comes here. Nothing is decided for good: each condition is looked up for
//! each frame, and without a lease from a living agent the bridge does it all.

use aya_ebpf::{
    helpers::{
        bpf_ktime_get_ns,
        generated::{bpf_jiffies64, bpf_redirect_peer},
    },
    programs::TcContext,
};
use ebpf_abi::{Counter, L2Key, Local, LocalFlags, NearLocal, PortFlags, segment_bridge};

use crate::{
    NEXT,
    account::Book,
    maps::{CTL, LOCAL, NEAR_LOCALS},
};

const PACKET_HOST: u32 = 0;
const PACKET_OTHERHOST: u32 = 3;

/// Whose frame it is, as far as the way past the bridge depends on it.
pub(crate) struct Sender {
    pub(crate) ifindex: u32,
    pub(crate) slot: u32,
    /// See `ebpf_abi::segment`.
    pub(crate) segment: u32,
    pub(crate) mtu: u32,
    pub(crate) flags: PortFlags,
}

/// Sends a plain frame that the guard let pass to the MAC `dst` (see `mac_word`): past the bridge, else to it. Counts
/// it and gives the verdict.
#[inline(always)]
pub(crate) fn forward(ctx: &TcContext, sender: &Sender, dst: u64) -> i32 {
    let target = target(ctx, sender, dst);
    let book = Book::open(sender.slot);
    let Some(target) = target else {
        book.add(Counter::Passed as u32, 1);
        return NEXT;
    };
    let bytes = u64::from(ctx.len());
    book.add(Counter::AccelTxPackets as u32, 1);
    book.add(Counter::AccelTxBytes as u32, bytes);
    let receiver = Book::open(target.slot);
    receiver.add(Counter::AccelRxPackets as u32, 1);
    receiver.add(Counter::AccelRxBytes as u32, bytes);
    // The redirect is carried out after we return; if it fails there, the frame is lost and the kernel
    // counts it on the device.
    // SAFETY: the helper takes any index and answers SHOT for one it does not know.
    unsafe { bpf_redirect_peer(target.ifindex, 0) as i32 }
}

/// The endpoint that the frame may reach past the bridge now. The frame then counts as its own.
#[inline(always)]
fn target(ctx: &TcContext, sender: &Sender, dst: u64) -> Option<&'static Local> {
    let wanted = PortFlags::ACCEL.with(PortFlags::USERSPACE_DP);
    if sender.flags.0 & wanted.0 != PortFlags::ACCEL.0 {
        return None;
    }
    let target = find(sender.segment, dst)?;
    if target.flags.contains(LocalFlags::NO_ACCEL_IN)
        || sender.mtu > target.mtu
        || target.ifindex == sender.ifindex
        || !is_allowed(segment_bridge(sender.segment))
    {
        return None;
    }
    // Kernels before 6.15 do not make a redirected frame the receiver's own; its stack would drop it.
    // SAFETY: the kernel hands a valid `__sk_buff`.
    if unsafe { (*ctx.skb.skb).pkt_type } == PACKET_OTHERHOST && ctx.change_type(PACKET_HOST).is_err() {
        return None;
    }
    Some(target)
}

/// The endpoint with a MAC in a segment. Entries may change while they are read, never in size.
#[inline(always)]
fn find(segment: u32, mac: u64) -> Option<&'static Local> {
    let near = NEAR_LOCALS.get(NearLocal::place(mac))?;
    if near.mac == mac && near.segment == segment {
        return Some(&near.local);
    }
    // SAFETY: as said above; each field is used once.
    unsafe { LOCAL.get(L2Key::of_words(segment, mac)) }
}

/// Whether nothing on the bridge forbids it, and the agent lives.
///
/// The time may be older by one tick of the kernel (1 to 10 ms): a lease of seconds needs no more, and a look at the
/// clock costs as much as the guard. The coarse clock itself is a helper of 5.11.
#[inline(always)]
fn is_allowed(bridge: u16) -> bool {
    let Some(ctl) = CTL.get_ptr_mut(0) else { return false };
    // SAFETY: a valid value; the helpers have no preconditions. CPUs may write at once, each the same time but for a
    // tick; the time goes before its jiffies, so that no one takes an old time for the present one. `jiffies64`
    // begins five minutes below the wrap of 32 bits, so it is never the zero of an entry just written.
    unsafe {
        let jiffies = bpf_jiffies64();
        if (*ctl).clock_jiffies != jiffies {
            (&raw mut (*ctl).clock_ns).write_volatile(bpf_ktime_get_ns());
            (&raw mut (*ctl).clock_jiffies).write_volatile(jiffies);
        }
        (*ctl).accel_ok >> (bridge & 63) & 1 != 0 && (*ctl).clock_ns < (*ctl).lease_ns
    }
}
