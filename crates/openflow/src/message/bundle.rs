//! Bundles: changes that the switch makes together or not at all.
//!
//! Open vSwitch commits a bundle even when it refused one of its messages on the way in, so a client sends a
//! barrier, looks for errors, and only then commits [OVS 3.1, measured].
//!
//! Control: bundle u32, type u16, flags u16, properties. Add: bundle u32, pad 2, flags u16, message,
//! properties. OpenFlow 1.3 has the same bodies in an ONF experimenter message.

use bytes::BytesMut;

use super::{
    BUNDLE_ADD, BUNDLE_CONTROL, EXPERIMENTER, ONF, ONF_BUNDLE_ADD, ONF_BUNDLE_CONTROL, write_message,
};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::limits::HEADER_LEN;
use crate::types::Version;
use crate::writer::Writer;

bitflags::bitflags! {
    /// What a bundle promises.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct BundleFlags: u16 {
        /// All or nothing.
        const ATOMIC = 1;
        /// In the order given.
        const ORDERED = 2;
        // Other bits survive a round trip.
        const _ = !0;
    }
}

/// What to do with a bundle, or what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleOp {
    /// Begin.
    OpenRequest,
    /// Begun.
    OpenReply,
    /// No more messages.
    CloseRequest,
    /// Closed.
    CloseReply,
    /// Do it.
    CommitRequest,
    /// Done.
    CommitReply,
    /// Forget it.
    DiscardRequest,
    /// Forgotten.
    DiscardReply,
    /// A number that nobody knows.
    Unknown(u16),
}

const OPS: [BundleOp; 8] = [
    BundleOp::OpenRequest,
    BundleOp::OpenReply,
    BundleOp::CloseRequest,
    BundleOp::CloseReply,
    BundleOp::CommitRequest,
    BundleOp::CommitReply,
    BundleOp::DiscardRequest,
    BundleOp::DiscardReply,
];

/// Opens, closes, commits or discards a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleControl<'a> {
    /// The client's number for it.
    pub bundle: u32,
    /// What to do, or what was done.
    pub op: BundleOp,
    /// The same in every message of a bundle.
    pub flags: BundleFlags,
    /// Properties (a time to commit at, experimenters'), raw: Open vSwitch knows none and passes over them.
    pub properties: &'a [u8],
}

/// One message of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleAdd<'a> {
    /// The bundle.
    pub bundle: u32,
    /// Its flags.
    pub flags: BundleFlags,
    /// The message with its header, whose xid equals that of the envelope.
    pub message: &'a [u8],
    /// Padding and properties behind the message, raw as in [`BundleControl`].
    pub properties: &'a [u8],
}

impl<'a> BundleControl<'a> {
    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let bundle = r.u32()?;
        let number = r.u16()?;
        let op = OPS.get(usize::from(number)).copied().unwrap_or(BundleOp::Unknown(number));
        let flags = BundleFlags::from_bits_retain(r.u16()?);
        Ok(Self { bundle, op, flags, properties: r.rest() })
    }

    /// Appends the message.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        envelope(version, xid, buf, (BUNDLE_CONTROL, ONF_BUNDLE_CONTROL), |w| {
            w.u32(self.bundle);
            let place = OPS.iter().position(|op| *op == self.op).and_then(|n| u16::try_from(n).ok());
            w.u16(if let BundleOp::Unknown(number) = self.op { number } else { place.unwrap_or_default() });
            w.u16(self.flags.bits());
            w.bytes(self.properties);
            Ok(())
        })
    }
}

impl<'a> BundleAdd<'a> {
    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let bundle = r.u32()?;
        r.skip(2)?;
        let flags = BundleFlags::from_bits_retain(r.u16()?);
        Ok(Self { bundle, flags, message: inner(r)?, properties: r.rest() })
    }

    /// Appends an envelope around the message that `inner` writes with the xid it is given.
    pub fn encode_with(
        bundle: u32,
        flags: BundleFlags,
        version: Version,
        xid: u32,
        buf: &mut BytesMut,
        inner: impl FnOnce(Version, u32, &mut BytesMut) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        envelope(version, xid, buf, (BUNDLE_ADD, ONF_BUNDLE_ADD), |w| {
            w.u32(bundle);
            w.zeros(2);
            w.u16(flags.bits());
            inner(version, xid, w.buffer())
        })
    }

    /// Appends the message.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        Self::encode_with(self.bundle, self.flags, version, xid, buf, |_, _, buf| {
            buf.extend_from_slice(self.message);
            buf.extend_from_slice(self.properties);
            Ok(())
        })
    }
}

/// A message inside another one, as long as its own header says.
pub(super) fn inner<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let bad_len = r.refuse(ErrorCode::OFPBFC_MSG_BAD_LEN);
    let mut head = *r;
    let len = head.skip(2).and_then(|()| head.u16()).map_err(|_| bad_len)?;
    let len = Some(usize::from(len)).filter(|len| *len >= HEADER_LEN).ok_or(bad_len)?;
    r.take(len).map_err(|_| bad_len)
}

/// A message of its own from 1.4 on, an experimenter's in 1.3.
fn envelope(
    version: Version,
    xid: u32,
    buf: &mut BytesMut,
    (kind, onf): (u8, u32),
    body: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    if version > Version::V13 {
        return write_message(buf, version, kind, xid, body);
    }
    write_message(buf, version, EXPERIMENTER, xid, |w| {
        w.u32(ONF);
        w.u32(onf);
        body(w)
    })
}
