//! Every bound of the codec, with its reason.

/// Levels of actions inside actions (`clone`, `ct(exec(…))`, `write_actions`).
///
/// Open vSwitch itself nests to a depth of 64 in translation but no flow in use exceeds three.
pub const MAX_NESTING: u8 = 16;

/// Bytes of a header of a message, the smallest value its length field may have.
pub const HEADER_LEN: usize = 8;

/// Bytes of the largest value of a field (`tun_metadata0`: 124).
pub const MAX_FIELD_LEN: usize = 124;

/// Bytes of a match that a [`crate::Match`] holds without allocating; our pipelines stay below.
pub const INLINE_MATCH: usize = 64;

/// Bytes of instructions that [`crate::Instructions`] hold without allocating.
pub const INLINE_INSTRUCTIONS: usize = 96;
