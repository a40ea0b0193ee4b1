//! One field in wire form: header, value and mask, read from bytes or written to them.
//!
//! Owns the OXM/NXM TLV format, experimenter headers included. Must not know the order or the prerequisites
//! within a match.

use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError, Malformed};
use crate::error_code::ErrorCode;
use crate::field::{CLASS_EXPERIMENTER, Field, Header, ones};
use crate::limits::MAX_FIELD_LEN;
use crate::writer::Writer;

/// A field with its value, as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Header and payload together.
    pub raw: &'a [u8],
    /// Who it is.
    pub header: Header,
    /// The field, if the table knows it.
    pub field: Option<Field>,
    /// The value, big-endian.
    pub value: &'a [u8],
    /// The mask, of the value's length, if there is one.
    pub mask: Option<&'a [u8]>,
}

impl<'a> Tlv<'a> {
    /// Reads one from the front of `reader`.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let start = *reader;
        let refused = |code: ErrorCode| start.refuse(code);
        let head = FullHeader::read(reader).map_err(|_| refused(ErrorCode::OFPBMC_BAD_LEN))?;
        let payload = reader.take(head.payload).map_err(|_| refused(ErrorCode::OFPBMC_BAD_LEN))?;
        let raw_len = start.len().saturating_sub(reader.len());
        let raw = start.peek().get(..raw_len).unwrap_or_default();
        let (value, mask) = if head.masked {
            let halves = payload.split_at_checked(payload.len() / 2).filter(|(v, m)| v.len() == m.len());
            let (value, mask) = halves.ok_or_else(|| refused(ErrorCode::OFPBMC_BAD_FIELD))?;
            (value, Some(mask))
        } else {
            (payload, None)
        };
        let this = Self { raw, header: head.header, field: Field::from_header(head.header), value, mask };
        // A field of another length is another field to Open vSwitch, and one that it does not know.
        let is_known = match this.field {
            Some(field) if field.is_variable() => value.len() <= MAX_FIELD_LEN,
            Some(field) => value.len() == field.bytes(),
            None => !start.is_strict(),
        };
        if this.has_stray_bits() {
            return Err(refused(ErrorCode::OFPBMC_BAD_WILDCARDS));
        }
        if is_known { Ok(this) } else { Err(refused(ErrorCode::OFPBMC_BAD_FIELD)) }
    }

    /// The value as a number; of values longer than 16 bytes the low 128 bits.
    pub fn number(&self) -> u128 {
        number(self.value)
    }

    /// The mask as a number, all ones without a mask.
    pub fn mask_number(&self) -> u128 {
        self.mask.map_or_else(|| ones(bit_len(self.value)), number)
    }

    /// Whether some value bit lies outside the mask.
    pub fn has_stray_bits(&self) -> bool {
        self.mask.is_some_and(|mask| self.value.iter().zip(mask).any(|(v, m)| v & !m != 0))
    }
}

/// A header on the wire, which says length and whether there is a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FullHeader {
    pub(crate) header: Header,
    pub(crate) masked: bool,
    /// Bytes of value and mask.
    pub(crate) payload: usize,
}

impl FullHeader {
    /// Reads 4 bytes, or 8 of an experimenter's field.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = *reader;
        let class = reader.u16()?;
        let number = reader.u8()?;
        let len = usize::from(reader.u8()?);
        let (experimenter, payload) = if class == CLASS_EXPERIMENTER {
            let payload = len.checked_sub(4).ok_or_else(|| start.fail(Malformed::BadLength(4)))?;
            (reader.u32()?, payload)
        } else {
            (0, len)
        };
        Ok(Self {
            header: Header { class, number: number >> 1, experimenter },
            masked: number & 1 != 0,
            payload,
        })
    }

    /// Whether the field is known, but with values of another length.
    pub(crate) fn has_wrong_length(&self) -> bool {
        let value = if self.masked { self.payload / 2 } else { self.payload };
        Field::from_header(self.header).is_some_and(|field| !field.is_variable() && field.bytes() != value)
    }

    /// Writes it.
    pub(crate) fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let experimenter = self.header.class == CLASS_EXPERIMENTER;
        let len = self.payload.saturating_add(if experimenter { 4 } else { 0 });
        let len = u8::try_from(len).map_err(|_| EncodeError::TooLong { what: "field", len })?;
        w.u16(self.header.class);
        w.u8((self.header.number << 1) | u8::from(self.masked));
        w.u8(len);
        if experimenter {
            w.u32(self.header.experimenter);
        }
        Ok(())
    }
}

/// Writes a field of at most 16 bytes with a mask unless that is `None`.
pub(crate) fn write_field(
    w: &mut Writer<'_>,
    field: Field,
    value: u128,
    mask: Option<u128>,
) -> Result<(), EncodeError> {
    let masked = mask.is_some();
    let bytes = field.bytes();
    write_header(w, field, masked, bytes)?;
    w.uint(value, bytes);
    if let Some(mask) = mask {
        w.uint(mask, bytes);
    }
    Ok(())
}

/// Writes a field's header for values of `bytes` bytes.
pub(crate) fn write_header(
    w: &mut Writer<'_>,
    field: Field,
    masked: bool,
    bytes: usize,
) -> Result<(), EncodeError> {
    let version = w.version();
    let Some(header) = field.header(version) else {
        return Err(EncodeError::Version { what: field.name(), version });
    };
    let payload = if masked { bytes.saturating_mul(2) } else { bytes };
    FullHeader { header, masked, payload }.write(w)
}

/// The big-endian number in `bytes`.
pub(crate) fn number(bytes: &[u8]) -> u128 {
    // The usual widths in one step each: this runs for every field of every flow.
    let exactly = |n: usize| bytes.len() == n;
    if let (Some(word), true) = (bytes.first_chunk::<4>(), exactly(4)) {
        return u128::from(u32::from_be_bytes(*word));
    }
    if let (Some(half), true) = (bytes.first_chunk::<2>(), exactly(2)) {
        return u128::from(u16::from_be_bytes(*half));
    }
    if let (Some(wide), true) = (bytes.first_chunk::<8>(), exactly(8)) {
        return u128::from(u64::from_be_bytes(*wide));
    }
    if let (Some(wide), true) = (bytes.first_chunk::<16>(), exactly(16)) {
        return u128::from_be_bytes(*wide);
    }
    if let (Some([a, b, c, d, e, f]), true) = (bytes.first_chunk::<6>(), exactly(6)) {
        return u128::from(u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f]));
    }
    bytes.iter().fold(0, |n, byte| (n << 8) | u128::from(*byte))
}

/// Bits in `bytes`.
pub(crate) fn bit_len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_mul(8)
}

/// A field with a value and mask of its own length, in OpenFlow 1.5's form.
pub(crate) fn raw_field(
    field: Field,
    value: &[u8],
    mask: Option<&[u8]>,
) -> Result<bytes::BytesMut, EncodeError> {
    let mut buf = bytes::BytesMut::new();
    let mut w = Writer::new(&mut buf, crate::Version::V15);
    write_header(&mut w, field, mask.is_some(), value.len())?;
    w.bytes(value);
    w.bytes(mask.unwrap_or_default());
    Ok(buf)
}
