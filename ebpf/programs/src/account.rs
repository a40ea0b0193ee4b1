//! The books: counters, the last offender of each slot, and the sampled ring of drops.

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::TcContext};
use ebpf_abi::{COUNTERS, Counter, HEAD_LEN, Offence, OffenceFlags, Rate, Reason};

use crate::{
    headers::{load_head, outer_tag},
    maps::{COUNT, DROPS, LAST, RATE},
};

const SECOND_NS: u64 = 1_000_000_000;
/// Slot of what belongs to no endpoint.
const SHARED_SLOT: u32 = 0;

/// Adds to one counter of a slot, on this CPU.
#[inline(always)]
pub(crate) fn count(slot: u32, counter: u32, by: u64) {
    if let Some(counters) = COUNT.get_ptr_mut(slot) {
        // SAFETY: the map gave a valid value of COUNTERS numbers, the mask keeps the index below that
        // (a power of two), and no other program of ours runs on this CPU meanwhile.
        unsafe {
            let cell = counters.cast::<u64>().add(counter as usize & (COUNTERS - 1));
            *cell = (*cell).wrapping_add(by);
        }
    }
}

const _: () = assert!(COUNTERS.is_power_of_two());

/// Counts a frame under its reason, keeps its head, and tells the ring if the slot's rate allows.
///
/// A function of its own: it is far from the fast path, and its record takes a fifth of the stack.
#[inline(never)]
pub(crate) fn offence(ctx: &TcContext, slot: u32, generation: u32, reason: Reason, flags: OffenceFlags) {
    count(slot, reason as u32, 1);
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let (vlan_proto, vlan_tci) = outer_tag(ctx).unwrap_or((0, 0));
    let mut record = Offence {
        at_ns: now,
        // SAFETY: the kernel hands a valid `__sk_buff`.
        ifindex: unsafe { (*ctx.skb.skb).ifindex },
        slot,
        generation,
        len: ctx.len(),
        vlan_tci,
        vlan_proto,
        reason: reason as u8,
        flags,
        head_len: 0,
        lost: 0,
        pad: 0,
        head: [0; HEAD_LEN],
    };
    record.head_len = load_head(ctx, 0, ctx.len(), &mut record.head) as u16;
    if let Some(last) = LAST.get_ptr_mut(slot) {
        // SAFETY: a valid value of this type. Two CPUs may write at once: one of them is the last.
        unsafe { *last = record };
    }
    if let Some(lost) = allowed(slot, now) {
        record.lost = lost;
        if DROPS.output::<Offence>(&record, 0).is_err() {
            count(SHARED_SLOT, Counter::DropsLost as u32, 1);
        }
    }
}

/// Whether the slot may send an event now: the number of those it could not send before.
#[inline(always)]
fn allowed(slot: u32, now: u64) -> Option<u32> {
    let rate = RATE.get_ptr_mut(slot)?;
    // SAFETY: a valid value of this type. Races between CPUs let an event more or less through.
    let rate = unsafe { &mut *rate };
    if now.wrapping_sub(rate.since_ns) >= SECOND_NS {
        rate.since_ns = now;
        rate.sent = 0;
    }
    if rate.sent >= Rate::PER_SECOND {
        rate.lost = rate.lost.wrapping_add(1);
        return None;
    }
    rate.sent += 1;
    let lost = rate.lost;
    rate.lost = 0;
    Some(lost)
}
