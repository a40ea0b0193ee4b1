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
use ebpf_abi::{BridgeFlags, Counter, L2Key, LocalFlags, Port, PortFlags, TRUNK};

use crate::{
    account::Book,
    guard::Accepted,
    maps::{BRIDGE, CLOCK, CTL, LOCAL},
};

const PACKET_HOST: u32 = 0;
const PACKET_OTHERHOST: u32 = 3;

/// Forwards the frame past the bridge, or `None`: the bridge does it.
#[inline(always)]
pub(crate) fn forward(
    ctx: &TcContext,
    ifindex: u32,
    port: &Port,
    frame: &Accepted,
    book: Book,
) -> Option<i32> {
    let [first, ..] = frame.dst;
    let wanted = PortFlags::ACCEL.with(PortFlags::USERSPACE_DP);
    if !frame.plain || port.flags.0 & wanted.0 != PortFlags::ACCEL.0 || port.vlan == TRUNK || first & 1 != 0 {
        return None;
    }
    // SAFETY: the entry may change while it is read, never in size; each field is used once.
    let target = unsafe { LOCAL.get(L2Key::new(port.bridge, port.vlan, frame.dst)) }?;
    if target.flags.contains(LocalFlags::NO_ACCEL_IN) || port.mtu > target.mtu || target.ifindex == ifindex {
        return None;
    }
    if !BRIDGE.get(u32::from(port.bridge))?.contains(BridgeFlags::ACCEL_OK) {
        return None;
    }
    if CTL.get(0)?.lease_ns <= coarse_ns()? {
        return None;
    }
    // Kernels before 6.15 do not make a redirected frame the receiver's own; its stack would drop it.
    // SAFETY: the kernel hands a valid `__sk_buff`.
    if unsafe { (*ctx.skb.skb).pkt_type } == PACKET_OTHERHOST && ctx.change_type(PACKET_HOST).is_err() {
        return None;
    }
    let bytes = u64::from(ctx.len());
    book.add(Counter::AccelTxPackets as u32, 1);
    book.add(Counter::AccelTxBytes as u32, bytes);
    let receiver = Book::open(target.slot);
    receiver.add(Counter::AccelRxPackets as u32, 1);
    receiver.add(Counter::AccelRxBytes as u32, bytes);
    // The redirect is carried out after we return; if it fails there, the frame is lost and the kernel
    // counts it on the device.
    // SAFETY: the helper takes any index and answers SHOT for one it does not know.
    Some(unsafe { bpf_redirect_peer(target.ifindex, 0) } as i32)
}

/// The time, not older than one tick of the kernel (1 to 10 ms): a lease of seconds needs no more, and the
/// clock is a seventh of the way. The coarse clock itself is a helper of 5.11.
#[inline(always)]
fn coarse_ns() -> Option<u64> {
    let tick = CLOCK.get_ptr_mut(0)?;
    // SAFETY: a valid value of this CPU; the helpers have no preconditions. `jiffies64` begins five minutes
    // below the wrap of 32 bits, so it is never the zero of an unused entry.
    unsafe {
        let jiffies = bpf_jiffies64();
        if (*tick).jiffies != jiffies {
            (*tick).jiffies = jiffies;
            (*tick).ns = bpf_ktime_get_ns();
        }
        Some((*tick).ns)
    }
}
