//! A match: which packets a flow is about, kept as canonical bytes.
//!
//! Owns the canonical form: the fields in Open vSwitch's order with OpenFlow 1.5's headers, registers paired
//! into the 64-bit packet registers, exact where the mask is full, absent where it is empty. Two matches are
//! equal exactly when their bytes are. Text stands in `crate::text`.

use std::fmt;

use smallvec::SmallVec;

use crate::Version;
use crate::error::{DecodeError, EncodeError};
use crate::field::Field;
use crate::limits::INLINE_MATCH;
use crate::oxm::{Tlv, write_field};
use crate::text::match_out;
use crate::text::out::Out;
use crate::writer::{Pad, Writer};

mod build;
mod canon;
mod decode;

pub use build::{Ipv4Match, Ipv6Match};
pub(crate) use decode::{Context, fields as read_fields, read_match};

/// An owned match.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Match {
    bytes: SmallVec<[u8; INLINE_MATCH]>,
}

/// A match somewhere in a buffer, known to be canonical.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MatchRef<'a> {
    bytes: &'a [u8],
}

/// What decoding gives: borrowed where the bytes were canonical already, as Open vSwitch sends them in 1.5.
#[derive(Debug, Clone)]
pub enum MatchCow<'a> {
    /// The bytes of the message.
    Borrowed(MatchRef<'a>),
    /// The canonical form of bytes that were not.
    Owned(Match),
}

impl Match {
    /// A match on every packet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Borrows it.
    pub fn as_ref(&self) -> MatchRef<'_> {
        MatchRef { bytes: &self.bytes }
    }

    /// The canonical bytes: OXM fields without the match header and padding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether every packet matches.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The fields in canonical order.
    pub fn iter(&self) -> Tlvs<'_> {
        self.as_ref().iter()
    }

    /// The value and mask of a field of at most 16 bytes; registers are found inside their pair.
    pub fn value(&self, field: Field) -> Option<(u128, u128)> {
        self.as_ref().value(field)
    }

    /// Whether Open vSwitch would accept it: prerequisites present, masks and values allowed.
    pub fn check(&self) -> Result<(), DecodeError> {
        decode::check(&self.bytes)
    }

    /// The fields in the form of `version`, without the match header.
    pub fn to_oxm(&self, version: Version) -> Result<Vec<u8>, EncodeError> {
        let mut buf = bytes::BytesMut::new();
        self.as_ref().write_fields(&mut Writer::new(&mut buf, version))?;
        Ok(buf.to_vec())
    }

    /// Reads OXM or NXM fields (no match header) in any order and brings them into canonical form.
    pub fn from_oxm(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode::fields(crate::cursor::Reader::new(bytes, "match")).map(MatchCow::into_owned)
    }
}

impl<'a> MatchRef<'a> {
    /// The canonical bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The fields in canonical order.
    pub fn iter(self) -> Tlvs<'a> {
        Tlvs { reader: crate::cursor::Reader::new(self.bytes, "match") }
    }

    /// An owned copy.
    pub fn to_owned(self) -> Match {
        Match { bytes: SmallVec::from_slice(self.bytes) }
    }

    /// The value and mask of a field of at most 16 bytes; registers are found inside their pair.
    pub fn value(self, field: Field) -> Option<(u128, u128)> {
        if let Some((xreg, shift)) = canon::register_half(field) {
            let tlv = self.iter().find(|tlv| tlv.field == Some(xreg))?;
            let half = |n: u128| (n >> shift) & 0xffff_ffff;
            let mask = half(tlv.mask_number());
            return (mask != 0).then_some((half(tlv.number()), mask));
        }
        let tlv = self.iter().find(|tlv| tlv.field == Some(field))?;
        Some((tlv.number(), tlv.mask_number()))
    }

    /// Writes the fields alone, in the form of the writer's version.
    pub(crate) fn write_fields(self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        if w.version() == Version::V15 {
            w.bytes(self.bytes);
            return Ok(());
        }
        for tlv in self {
            canon::write_old(w, &tlv)?;
        }
        Ok(())
    }

    /// Writes an `OFPMT_OXM` match: type 1, length, fields, padding to 8 bytes.
    pub(crate) fn write(self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.tlv("match", OFPMT_OXM, Pad::Outside, |w| self.write_fields(w))
    }
}

impl MatchCow<'_> {
    /// Borrows it.
    pub fn as_ref(&self) -> MatchRef<'_> {
        match self {
            Self::Borrowed(borrowed) => *borrowed,
            Self::Owned(owned) => owned.as_ref(),
        }
    }

    /// Owns it.
    pub fn into_owned(self) -> Match {
        match self {
            Self::Borrowed(borrowed) => borrowed.to_owned(),
            Self::Owned(owned) => owned,
        }
    }
}

/// The fields of a match.
#[derive(Debug, Clone)]
pub struct Tlvs<'a> {
    reader: crate::cursor::Reader<'a>,
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        // The bytes were validated when the match was made, so an error cannot occur; it would end the walk.
        if self.reader.is_empty() { None } else { Tlv::read(&mut self.reader).ok() }
    }
}

impl<'a> IntoIterator for &'a Match {
    type Item = Tlv<'a>;
    type IntoIter = Tlvs<'a>;

    fn into_iter(self) -> Tlvs<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for MatchRef<'a> {
    type Item = Tlv<'a>;
    type IntoIter = Tlvs<'a>;

    fn into_iter(self) -> Tlvs<'a> {
        self.iter()
    }
}

impl From<MatchRef<'_>> for Match {
    fn from(borrowed: MatchRef<'_>) -> Self {
        borrowed.to_owned()
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Display for MatchRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Out::show(f, |out| match_out::write(out, *self, &mut match_out::Separator::default()))
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Match({self})")
    }
}

impl fmt::Debug for MatchRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MatchRef({self})")
    }
}

/// The only match type that these versions have.
pub(crate) const OFPMT_OXM: u16 = 1;

/// Writes one field with its mask into `bytes`, in OpenFlow 1.5's form.
fn field_bytes(field: Field, value: u128, mask: u128) -> SmallVec<[u8; INLINE_MATCH]> {
    let mask = (mask != field.exact_mask()).then_some(mask);
    let mut buf = bytes::BytesMut::new();
    // A field of the table always has a header in 1.5; without one it has no place in a match.
    match write_field(&mut Writer::new(&mut buf, Version::V15), field, value, mask) {
        Ok(()) => SmallVec::from_slice(&buf),
        Err(_) => SmallVec::new(),
    }
}
