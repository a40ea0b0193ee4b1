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
    /// Bit n set: the sender speaks wire version n. Without a bitmap: every version up to `highest`.
    pub versions: u32,
    /// All that follows the header, if something in it is no element that is known: it is written again as it came, in
    /// the place of a bitmap. Else empty.
    pub unclear: &'a [u8],
}

impl<'a> Hello<'a> {
    /// A hello that offers these versions.
    pub fn offering(versions: &[Version]) -> Self {
        let bitmap = versions.iter().fold(0, |bits, version| bits | bit(version.wire()));
        let highest = versions.iter().max().map_or(0, |version| version.wire());
        Self { highest, versions: bitmap, unclear: &[] }
    }

    pub(crate) fn read(highest: u8, mut r: Reader<'a>) -> Self {
        let all = r.peek();
        let mut versions = all_up_to(highest);
        // Elements of other types, and anything that is no element, are ignored as the specification asks.
        let mut is_clean = true;
        while r.len() >= 4 {
            let Ok((kind, mut body)) = r.tlv("hello element") else {
                is_clean = false;
                break;
            };
            match body.u32() {
                Ok(bitmap) if kind == VERSION_BITMAP => versions = bitmap,
                _ => is_clean = false,
            }
        }
        Self { highest, versions, unclear: if is_clean && r.is_empty() { &[] } else { all } }
    }

    /// Appends the message.
    pub fn encode(&self, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        let start = buf.len();
        write_message(buf, Version::V15, HELLO, xid, |w| {
            if !self.unclear.is_empty() {
                w.bytes(self.unclear);
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
