//! Clearing and copying by words of eight bytes.
//!
//! LLVM turns both into calls of `memset` and `memcpy`, which on this target are loops over single bytes:
//! clearing the head of a frame took longer than judging it. Volatile accesses are left as they are.

use core::mem::MaybeUninit;

/// Clears `room` and gives it as a value.
#[inline(always)]
pub(crate) fn cleared<T: Words>(room: &mut MaybeUninit<T>) -> &mut T {
    const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8) };
    let words = room.as_mut_ptr().cast::<u64>();
    let mut i = 0;
    while i < size_of::<T>() / 8 {
        // SAFETY: `i` stays within the size of `T`, which is made of aligned words.
        unsafe { words.add(i).write_volatile(0) };
        i += 1;
    }
    // SAFETY: every byte was written, and zero is a value of every type with this trait.
    unsafe { room.assume_init_mut() }
}

/// Copies a value to a place in a map.
///
/// # Safety
/// `to` is valid for a write of `T`.
#[inline(always)]
pub(crate) unsafe fn copy<T: Words>(from: &T, to: *mut T) {
    const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8) };
    let (from, to) = (core::ptr::from_ref(from).cast::<u64>(), to.cast::<u64>());
    let mut i = 0;
    while i < size_of::<T>() / 8 {
        // SAFETY: `i` stays within the size of `T` on both sides; the caller vouches for `to`.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
        i += 1;
    }
}

/// Types made of whole words without padding, for which all zeroes are a value.
///
/// # Safety
/// As it says.
pub(crate) unsafe trait Words {}

// SAFETY: its layout is checked in `ebpf_abi`, padding included; it holds numbers and bytes only.
unsafe impl Words for ebpf_abi::Offence {}
