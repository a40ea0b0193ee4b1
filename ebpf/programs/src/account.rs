//! The books: counters, the last offender of each slot, and the sampled ring of drops.

use core::mem::MaybeUninit;

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::TcContext};
use ebpf_abi::{COUNTERS, Counter, Offence, OffenceFlags, Rate, Reason};

use crate::{
    headers::{load_head, outer_tag},
    maps::{COUNT, DROPS, LAST, RATE},
    words,
};

const SECOND_NS: u64 = 1_000_000_000;
/// Slot of what belongs to no endpoint.
const SHARED_SLOT: u32 = 0;

/// The counters of one slot on this CPU, looked up once.
#[derive(Clone, Copy)]
pub(crate) struct Book(Option<*mut [u64; COUNTERS]>);

impl Book {
    /// Opens the counters of a slot; of a slot beyond the map nothing is counted.
    #[inline(always)]
    pub(crate) fn open(slot: u32) -> Book {
        Book(COUNT.get_ptr_mut(slot))
    }

    /// Adds to one counter.
    #[inline(always)]
    pub(crate) fn add(self, counter: u32, by: u64) {
        if let Some(counters) = self.0 {
            // SAFETY: the map gave a valid value of COUNTERS numbers, the mask keeps the index below that
            // (a power of two), and no other program of ours runs on this CPU meanwhile.
            unsafe {
                let cell = counters.cast::<u64>().add(counter as usize & (COUNTERS - 1));
                *cell = (*cell).wrapping_add(by);
            }
        }
    }
}

/// Adds one to a counter that belongs to no endpoint.
#[inline(always)]
pub(crate) fn count_shared(counter: Counter) {
    Book::open(SHARED_SLOT).add(counter as u32, 1);
}

const _: () = assert!(COUNTERS.is_power_of_two());

/// Counts a frame under its reason, keeps its head, and tells the ring if the slot's rate allows.
///
/// A function of its own: it is far from the fast path, and its record takes a fifth of the stack.
#[inline(never)]
pub(crate) fn offence(ctx: &TcContext, slot: u32, generation: u32, reason: Reason, flags: OffenceFlags) {
    Book::open(slot).add(reason as u32, 1);
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let (vlan_proto, vlan_tci) = outer_tag(ctx).unwrap_or((0, 0));
    let mut room = MaybeUninit::uninit();
    let record: &mut Offence = words::cleared(&mut room);
    record.at_ns = now;
    // SAFETY: the kernel hands a valid `__sk_buff`.
    record.ifindex = unsafe { (*ctx.skb.skb).ifindex };
    record.slot = slot;
    record.generation = generation;
    record.len = ctx.len();
    record.vlan_tci = vlan_tci;
    record.vlan_proto = vlan_proto;
    record.reason = reason as u8;
    record.flags = flags;
    record.head_len = load_head(ctx, 0, ctx.len(), &mut record.head) as u16;
    if let Some(last) = LAST.get_ptr_mut(slot) {
        // SAFETY: a valid value of this type. Two CPUs may write at once: one of them is the last.
        unsafe { words::copy(record, last) };
    }
    if let Some(lost) = allowed(slot, now) {
        record.lost = lost;
        if DROPS.output::<Offence>(&*record, 0).is_err() {
            count_shared(Counter::DropsLost);
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
