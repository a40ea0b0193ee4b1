//! Errors: which request was refused and why.
//!
//! OpenFlow's own: type u16, code u16, data. Experimenters': type 0xffff, their type u16, their number u32.

use bytes::BytesMut;

use super::{ERROR, write_message};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::{ErrorCode, WireError};
use crate::types::Version;

/// An error message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorMsg<'a> {
    /// The numbers.
    pub wire: WireError,
    /// The name, if there is one.
    pub code: Option<ErrorCode>,
    /// The beginning of the request that was refused (at least 64 bytes of it), or a text for hello errors.
    pub data: &'a [u8],
}

impl<'a> ErrorMsg<'a> {
    pub(crate) fn read(r: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let kind = r.u16()?;
        let code = r.u16()?;
        let mut wire = WireError { vendor: 0, kind, code };
        if kind == EXPERIMENTER_ERROR {
            let mut after = *r;
            let vendor = after.u32()?;
            // There is no experimenter 0: such an error stays what it is, with the number in its data.
            if vendor != 0 {
                wire = WireError { vendor, kind: code, code: 0 };
                *r = after;
            }
        }
        Ok(Self { wire, code: ErrorCode::from_wire(version, wire), data: r.rest() })
    }

    /// Type and xid of the refused request, if the quote is long enough.
    pub fn request(&self) -> Option<(u8, u32)> {
        let [_, kind, _, _, a, b, c, d] = *self.data.first_chunk::<8>()?;
        Some((kind, u32::from_be_bytes([a, b, c, d])))
    }

    /// Appends the message.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, ERROR, xid, |w| {
            if self.wire.vendor == 0 {
                w.u16(self.wire.kind);
                w.u16(self.wire.code);
            } else {
                w.u16(EXPERIMENTER_ERROR);
                w.u16(self.wire.kind);
                w.u32(self.wire.vendor);
            }
            w.bytes(self.data);
            Ok(())
        })
    }
}

const EXPERIMENTER_ERROR: u16 = 0xffff;
