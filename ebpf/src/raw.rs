//! The one bridge between the shared types and aya: their bytes.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What may cross the border: no padding, and every bit pattern is a value. zerocopy's derives prove it.
pub(crate) trait Plain: FromBytes + IntoBytes + Immutable + Copy + 'static {}

impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> Plain for T {}

/// A shared type as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Raw<T>(pub(crate) T);

// SAFETY: `Pod` asks that a value may be turned into bytes and back. `Plain` is implemented only for types
// of which zerocopy has proved exactly that, and `Raw` is transparent.
#[expect(unsafe_code, reason = "aya's Pod is an unsafe trait; the proof is zerocopy's")]
unsafe impl<T: Plain> aya::Pod for Raw<T> {}
