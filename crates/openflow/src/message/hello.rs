//! Hello: which versions each side speaks, and which one the connection will.
//!
//! Open vSwitch puts its highest version into the header even where the bridge's `protocols` forbid the
//! negotiated one, so the bitmap decides whenever there is one.

use bytes::BytesMut;

use super::{HELLO, write_message};
use crate::cursor::Reader;
use crate::error::EncodeError;
use crate::types::Version;
use crate::writer::Pad;

/// A hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The version in the header, as its wire number: the highest that the sender speaks.
    pub highest: u8,
    /// Bit n set: the sender speaks wire version n. Without a bitmap: every version up to `highest`, 0 included.
    pub versions: u32,
    /// Some of it is no element that Open vSwitch knows, and it says so.
    pub has_unknown: bool,
    /// All that follows the header, if it is not just what `versions` says: it is written again as it came, in the place
    /// of a bitmap. Else empty.
    pub raw: &'a [u8],
}

impl<'a> Hello<'a> {
    /// A hello that offers these versions.
    pub fn offering(versions: &[Version]) -> Self {
        let bitmap = versions.iter().fold(0, |bits, version| bits | bit(version.wire()));
        let highest = versions.iter().max().map_or(0, |version| version.wire());
        Self { highest, versions: bitmap, has_unknown: false, raw: &[] }
    }

    pub(crate) fn read(highest: u8, mut r: Reader<'a>) -> Self {
        let all = r.peek();
        let mut versions = all_up_to(highest);
        let mut has_unknown = false;
        // Elements of other types, and anything that is no element, are ignored as the specification asks.
        while !r.is_empty() {
            let is_padded = r.len().is_multiple_of(8);
            let Ok((kind, mut body)) = r.tlv("hello element") else {
                has_unknown = true;
                break;
            };
            let is_cut = r.is_empty() && !is_padded;
            // Only the first word of a bitmap says something, and version 0 is none.
            let bitmap = body.u32().unwrap_or_default() & !1;
            if kind == VERSION_BITMAP && bitmap != 0 && !is_cut {
                versions = bitmap;
            } else {
                has_unknown = true;
            }
        }
        let bitmap = [[0, 1, 0, 8], versions.to_be_bytes()];
        let is_plain = all.is_empty() || all == bitmap.as_flattened();
        Self { highest, versions, has_unknown, raw: if is_plain { &[] } else { all } }
    }

    /// Appends the message.
    pub fn encode(&self, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        let start = buf.len();
        write_message(buf, Version::V15, HELLO, xid, |w| {
            if !self.raw.is_empty() {
                w.bytes(self.raw);
                return Ok(());
            }
            // Without a bitmap a hello offers all up to its own version, 0 included; with one never 0.
            if self.versions == all_up_to(self.highest) {
                return Ok(());
            }
            w.tlv("hello element", VERSION_BITMAP, Pad::Outside, |w| {
                w.u32(self.versions);
                Ok(())
            })
        })?;
        // A hello may name a version that no other message has.
        if let Some(version) = buf.get_mut(start) {
            *version = self.highest;
        }
        Ok(())
    }

    /// The version that a connection between the two speaks: the highest that both do.
    pub fn negotiate(&self, ours: &[Version]) -> Option<Version> {
        ours.iter().copied().filter(|version| self.versions & bit(version.wire()) != 0).max()
    }
}

fn all_up_to(highest: u8) -> u32 {
    u32::MAX.checked_shr(31_u32.saturating_sub(u32::from(highest))).unwrap_or(u32::MAX)
}

fn bit(wire: u8) -> u32 {
    1_u32.checked_shl(u32::from(wire)).unwrap_or(0)
}

const VERSION_BITMAP: u16 = 1;
