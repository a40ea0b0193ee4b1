//! A reading position in a byte string that cannot panic.
//!
//! Owns bounds checks and the offsets that errors report. Must not know any message: it deals in integers,
//! slices and sub-readers.

use crate::error::{DecodeError, Malformed};
use crate::error_code::ErrorCode;

/// Reads big-endian integers from the front of a slice and knows how far it came.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Where the slice ends, counted from the start of the message. Reading moves only `rest`.
    end: u32,
    strict: bool,
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader over `bytes`; `what` names the structure in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, end: clamp(bytes.len()), strict: false, what }
    }

    /// A reader that refuses what Open vSwitch does not know, where others keep it raw.
    pub fn strict(bytes: &'a [u8], what: &'static str) -> Self {
        Self { strict: true, ..Self::new(bytes, what) }
    }

    /// Whether unknown things are refused.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// The same position under another name.
    #[must_use]
    pub fn named(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    /// Bytes left.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left, without moving.
    pub fn peek(&self) -> &'a [u8] {
        self.rest
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let Some((head, tail)) = self.rest.split_at_checked(n) else {
            return Err(self.fail(Malformed::Truncated { need: clamp(n), have: clamp(self.rest.len()) }));
        };
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((head, tail)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.fail(Malformed::Truncated { need: clamp(N), have: clamp(self.rest.len()) }));
        };
        self.rest = tail;
        Ok(*head)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Skips `n` bytes of padding, whatever they hold.
    pub fn skip(&mut self, n: usize) -> Result<(), DecodeError> {
        self.take(n).map(|_| ())
    }

    /// Skips `n` bytes that Open vSwitch insists on being zero; `code` is its answer if they are not.
    pub fn zeros(&mut self, n: usize, code: ErrorCode) -> Result<(), DecodeError> {
        if self.take(n)?.iter().any(|b| *b != 0) {
            return Err(self.fail(Malformed::Refused(code)));
        }
        Ok(())
    }

    /// A reader over the next `n` bytes, which this one skips.
    pub fn sub(&mut self, n: usize, what: &'static str) -> Result<Self, DecodeError> {
        let rest = self.take(n)?;
        let end = self.end.saturating_sub(clamp(self.rest.len()));
        Ok(Self { rest, end, what, ..*self })
    }

    /// One TLV whose length field covers its 4-byte header: the type and a reader over the body.
    ///
    /// The body is followed by padding up to a multiple of 8 bytes, which is skipped where it exists.
    pub fn tlv(&mut self, what: &'static str) -> Result<(u16, Self), DecodeError> {
        let bad_len = self.named(what).refuse(ErrorCode::OFPBPC_BAD_LEN);
        let mut head = *self;
        let kind = head.u16().map_err(|_| bad_len)?;
        let len = head.u16().map_err(|_| bad_len)?;
        let body = usize::from(len).checked_sub(4).ok_or(bad_len)?;
        self.skip(4)?;
        let body = self.sub(body, what).map_err(|_| bad_len)?;
        self.skip(pad8(usize::from(len)).min(self.len()))?;
        Ok((kind, body))
    }

    /// A port that Open vSwitch can name.
    pub(crate) fn port(&mut self) -> Result<crate::OfPort, DecodeError> {
        let port = crate::OfPort(self.u32()?);
        if port.is_valid() { Ok(port) } else { Err(self.refuse(ErrorCode::OFPBAC_BAD_OUT_PORT)) }
    }

    /// Refuses anything left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.fail(Malformed::Trailing(clamp(self.rest.len()))))
        }
    }

    /// An error at this position.
    pub fn fail(&self, why: Malformed) -> DecodeError {
        let at = self.end.saturating_sub(clamp(self.rest.len()));
        DecodeError { at, what: self.what, why }
    }

    /// A refusal by an Open vSwitch error name at this position.
    pub fn refuse(&self, code: ErrorCode) -> DecodeError {
        self.fail(Malformed::Refused(code))
    }
}

/// The bytes that bring `len` to a multiple of 8.
pub(crate) fn pad8(len: usize) -> usize {
    len.wrapping_neg() % 8
}

fn clamp(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
