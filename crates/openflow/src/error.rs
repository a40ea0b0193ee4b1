//! The three errors of the codec: reading bytes, writing bytes, reading text.
//!
//! Owns the mapping from "what is wrong with these bytes" to the error name that Open vSwitch would send
//! for them. Must not allocate: a decode error is small and `Copy`, because hostile input produces many.

use std::ops::Range;

use crate::error_code::ErrorCode;

/// Why bytes were refused, where, and in which structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why} at byte {at}")]
pub struct DecodeError {
    /// Offset from the start of the message (or of the slice that was decoded), in bytes.
    pub at: u32,
    /// The structure that was being read.
    pub what: &'static str,
    /// What was wrong with it.
    pub why: Malformed,
}

impl DecodeError {
    /// The error that Open vSwitch answers such a message with.
    pub fn ofp_error(self) -> ErrorCode {
        self.why.ofp_error()
    }
}

/// The ways in which bytes can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The structure ends before its fields do.
    #[error("needs {need} bytes where {have} remain")]
    Truncated {
        /// Bytes that the next field takes.
        need: u32,
        /// Bytes that are left.
        have: u32,
    },
    /// A length field that contradicts the structure it measures.
    #[error("length {0} is not possible")]
    BadLength(u32),
    /// Bytes after the end of what the structure may hold.
    #[error("{0} bytes follow the end")]
    Trailing(u32),
    /// A message of a length that its kind never has.
    #[error("no message of this kind is {0} bytes long")]
    Shape(u32),
    /// A version this codec does not speak.
    #[error("version {0:#x} is not supported")]
    Version(u8),
    /// A value outside the set that the protocol defines.
    #[error("value {0:#x} is not allowed")]
    BadValue(u64),
    /// A refusal for which Open vSwitch has a name of its own.
    #[error("{0}")]
    Refused(ErrorCode),
    /// Actions nested deeper than [`crate::limits::MAX_NESTING`].
    #[error("nested deeper than {0} levels")]
    TooDeep(u8),
}

impl Malformed {
    /// The error that Open vSwitch answers such bytes with.
    pub fn ofp_error(self) -> ErrorCode {
        match self {
            Self::Truncated { .. } | Self::BadLength(_) | Self::Trailing(_) | Self::Shape(_) => {
                ErrorCode::OFPBRC_BAD_LEN
            }
            Self::Version(_) => ErrorCode::OFPBRC_BAD_VERSION,
            Self::BadValue(_) => ErrorCode::OFPBRC_BAD_TYPE,
            Self::Refused(code) => code,
            Self::TooDeep(_) => ErrorCode::OFPBAC_TOO_MANY,
        }
    }
}

/// Why a value could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A structure that outgrew its 16-bit length field.
    #[error("{what} of {len} bytes does not fit a 16-bit length")]
    TooLong {
        /// The structure.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// Something that the negotiated version has no bytes for.
    #[error("{what} cannot be expressed in OpenFlow {version}")]
    Version {
        /// The thing.
        what: &'static str,
        /// The version that lacks it.
        version: crate::Version,
    },
    /// A value that its field has no room for.
    #[error("{what} does not hold the value {value:#x}")]
    BadValue {
        /// The field.
        what: &'static str,
        /// The value.
        value: u64,
    },
    /// An entry of a reply that is written again but never was sound.
    #[error("an entry of the reply cannot be read")]
    Entry(#[source] DecodeError),
}

/// Why a text was refused, with the span of the mistake in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} in \"{excerpt}\"")]
pub struct ParseError {
    /// What is wrong, as a lowercase phrase.
    pub reason: String,
    /// The part of the text that is wrong.
    pub excerpt: String,
    /// Where that part stands in the text, in bytes.
    pub span: Range<usize>,
}

/// The longest excerpt of a text that a [`ParseError`] repeats, in characters.
const MAX_EXCERPT: usize = 80;

impl ParseError {
    /// An error about `part`, which must be a piece of `whole` for the span to be meaningful.
    pub(crate) fn new(whole: &str, part: &str, reason: impl Into<String>) -> Self {
        // Address arithmetic instead of offsets threaded through every parser: `part` is a sub-slice.
        let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr()).min(whole.len());
        let end = start.saturating_add(part.len()).min(whole.len());
        Self { reason: reason.into(), excerpt: part.chars().take(MAX_EXCERPT).collect(), span: start..end }
    }
}
