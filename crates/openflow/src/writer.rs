//! An append-only writer whose length fields are written once, after the body they measure.
//!
//! Owns overflow: a structure that does not fit its 16-bit length is an error, never a wrong length. Must not
//! know any message. There is no function that computes a length beforehand: the encoder is the formula.

use bytes::{BufMut, BytesMut};

use crate::Version;
use crate::cursor::pad8;
use crate::error::EncodeError;

/// Where the padding of a TLV to a multiple of 8 bytes goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pad {
    /// The length field counts it (actions, instructions).
    Inside,
    /// It follows what the length field counts (matches, properties).
    Outside,
    /// There is none.
    None,
}

/// Appends to a buffer in the wire format of one version.
#[derive(Debug)]
pub struct Writer<'b> {
    buf: &'b mut BytesMut,
    version: Version,
}

impl<'b> Writer<'b> {
    /// A writer at the end of `buf`.
    pub fn new(buf: &'b mut BytesMut, version: Version) -> Self {
        Self { buf, version }
    }

    /// The version whose wire format is written.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The buffer, for an encoder that appends a whole message of its own.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.buf
    }

    /// Bytes in the buffer, including those that were there before this writer.
    pub fn position(&self) -> usize {
        self.buf.len()
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.buf.put_u8(value);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.buf.put_u16(value);
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.buf.put_u32(value);
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.buf.put_u64(value);
    }

    /// The bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.buf.put_slice(bytes);
    }

    /// The low `n` bytes of `value`, most significant first.
    pub fn uint(&mut self, value: u128, n: usize) {
        let bytes = value.to_be_bytes();
        let skip = bytes.len().saturating_sub(n);
        self.buf.put_slice(bytes.get(skip..).unwrap_or(&bytes));
    }

    /// `n` zero bytes.
    pub fn zeros(&mut self, n: usize) {
        self.buf.put_bytes(0, n);
    }

    /// A text of `n` bytes, cut or filled with zeroes.
    pub fn text(&mut self, text: &str, n: usize) {
        let bytes = text.as_bytes();
        let kept = bytes.get(..n).unwrap_or(bytes);
        self.bytes(kept);
        self.zeros(n.saturating_sub(kept.len()));
    }

    /// Zeroes up to a multiple of 8 bytes counted from `start`.
    pub fn pad_from(&mut self, start: usize) {
        self.zeros(pad8(self.buf.len().saturating_sub(start)));
    }

    /// `kind`, a 16-bit length that covers this header too, and the body.
    pub fn tlv(
        &mut self,
        what: &'static str,
        kind: u16,
        pad: Pad,
        body: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = self.position();
        self.u16(kind);
        self.sized(what, start, pad, body)
    }

    /// Appends a 16-bit length of everything since `start`, then `body`, then patches the length.
    pub fn sized(
        &mut self,
        what: &'static str,
        start: usize,
        pad: Pad,
        body: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let field = self.position();
        self.u16(u16::MAX);
        body(self)?;
        if pad == Pad::Inside {
            self.pad_from(start);
        }
        let len = self.position().saturating_sub(start);
        self.patch_u16(what, field, len)?;
        if pad == Pad::Outside {
            self.pad_from(start);
        }
        Ok(())
    }

    /// Writes `value` over the two bytes at `position`, which were written before.
    pub fn patch_u16(
        &mut self,
        what: &'static str,
        position: usize,
        value: usize,
    ) -> Result<(), EncodeError> {
        let value16 = u16::try_from(value).map_err(|_| EncodeError::TooLong { what, len: value })?;
        let end = position.saturating_add(2);
        if let Some(field) = self.buf.get_mut(position..end) {
            field.copy_from_slice(&value16.to_be_bytes());
        }
        Ok(())
    }

    /// Takes back everything after `position`: for a structure that turned out to be empty.
    pub fn truncate(&mut self, position: usize) {
        self.buf.truncate(position);
    }
}
