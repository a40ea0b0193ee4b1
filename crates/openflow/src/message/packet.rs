//! Packets between switch and controller.
//!
//! Packet-in of 1.3 to 1.5: buffer u32, total length u16, reason u8, table u8, cookie u64, match, pad 2,
//! packet. Nicira's packet-in 2, which Open vSwitch sends on request and for `controller(userdata=…)`: a list
//! of properties. Packet-out: buffer u32, (1.5: actions length u16, pad 2, match with the input port; before:
//! input port u32, actions length u16, pad 6,) actions, packet.

use bytes::BytesMut;

use super::flow_mod::NO_BUFFER;
use super::{PACKET_OUT, write_message};
use crate::action::{Actions, ActionsRef, Scan, scan};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::field::Field;
use crate::matching::{Match, MatchCow, read_match};
use crate::types::{OfPort, TableId, Version};

/// A packet for the controller.
#[derive(Debug, Clone)]
pub struct PacketIn<'a> {
    /// The packet, perhaps cut.
    pub packet: &'a [u8],
    /// Its whole length in bytes.
    pub total_len: u32,
    /// Where the switch keeps it, if it does.
    pub buffer_id: Option<u32>,
    /// The table whose flow sent it.
    pub table: TableId,
    /// That flow's cookie.
    pub cookie: u64,
    /// Why: 0 no_match, 1 action, 2 invalid_ttl, 3 action_set, 4 group, 5 packet_out.
    pub reason: u8,
    /// Input port, metadata, registers.
    pub metadata: MatchCow<'a>,
    /// What `controller(userdata=…)` said.
    pub userdata: &'a [u8],
    /// What resumes the packet's journey, opaque.
    pub continuation: &'a [u8],
}

impl<'a> PacketIn<'a> {
    /// The port it came in by.
    pub fn in_port(&self) -> Option<OfPort> {
        let (port, _) = self.metadata.as_ref().value(Field::InPort)?;
        u32::try_from(port).ok().map(OfPort)
    }

    pub(crate) fn read_plain(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let buffer = r.u32()?;
        let total_len = u32::from(r.u16()?);
        let reason = r.u8()?;
        let table = TableId(r.u8()?);
        let cookie = r.u64()?;
        let metadata = read_match(r)?;
        r.skip(2)?;
        Ok(Self {
            packet: r.rest(),
            total_len,
            buffer_id: (buffer != NO_BUFFER).then_some(buffer),
            table,
            cookie,
            reason,
            metadata,
            userdata: &[],
            continuation: &[],
        })
    }

    pub(crate) fn read_nx2(r: &mut Reader<'a>, _version: Version) -> Result<Self, DecodeError> {
        let mut packet_in = Self {
            packet: &[],
            total_len: 0,
            buffer_id: None,
            table: TableId(0),
            cookie: 0,
            reason: 0,
            metadata: MatchCow::Owned(Match::new()),
            userdata: &[],
            continuation: &[],
        };
        while !r.is_empty() {
            let (kind, mut body) = r.tlv("packet-in property")?;
            match kind {
                0 => packet_in.packet = body.rest(),
                1 => packet_in.total_len = body.u32()?,
                2 => packet_in.buffer_id = Some(body.u32()?),
                3 => packet_in.table = TableId(body.u8()?),
                4 => {
                    // The 64-bit number is aligned to 8 bytes, so 4 bytes of padding precede it.
                    body.skip(body.len().saturating_sub(8))?;
                    packet_in.cookie = body.u64()?;
                }
                5 => packet_in.reason = body.u8()?,
                6 => packet_in.metadata = crate::matching::read_fields(body)?,
                7 => packet_in.userdata = body.rest(),
                8 => packet_in.continuation = body.rest(),
                _ => return Err(body.refuse(ErrorCode::OFPBPC_BAD_TYPE)),
            }
        }
        if packet_in.total_len == 0 {
            packet_in.total_len = u32::try_from(packet_in.packet.len()).unwrap_or(u32::MAX);
        }
        Ok(packet_in)
    }
}

/// A packet for the switch to treat.
#[derive(Debug, Clone)]
pub struct PacketOut<'a> {
    /// A packet that the switch keeps, or [`NO_BUFFER`].
    pub buffer_id: u32,
    /// The port it pretends to come from, and in 1.5 other metadata.
    pub metadata: MatchCow<'a>,
    /// What to do.
    pub actions: ActionsRef<'a>,
    /// The packet, unless the switch keeps it.
    pub packet: &'a [u8],
}

impl<'a> PacketOut<'a> {
    /// A packet that comes in by `in_port` and meets `actions`.
    pub fn new(in_port: OfPort, actions: &'a Actions, packet: &'a [u8]) -> Self {
        let metadata = MatchCow::Owned(Match::new().in_port(in_port));
        Self { buffer_id: NO_BUFFER, metadata, actions: actions.as_ref(), packet }
    }

    pub(crate) fn read(r: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let buffer_id = r.u32()?;
        let (metadata, len) = if version == Version::V15 {
            let len = r.u16()?;
            r.skip(2)?;
            (read_match(r)?, len)
        } else {
            let port = OfPort(r.u32()?);
            let len = r.u16()?;
            r.skip(6)?;
            (MatchCow::Owned(Match::new().in_port(port)), len)
        };
        let mut body = r.sub(usize::from(len), "actions")?;
        scan(body, &mut Scan::new(version))?;
        Ok(Self { buffer_id, metadata, actions: ActionsRef::trusted(body.rest()), packet: r.rest() })
    }

    /// Appends the message.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, PACKET_OUT, xid, |w| {
            w.u32(self.buffer_id);
            if version != Version::V15 {
                let (port, _) = self.metadata.as_ref().value(Field::InPort).unwrap_or_default();
                w.u32(u32::try_from(port).unwrap_or_default());
            }
            let len_at = w.position();
            w.u16(0);
            if version == Version::V15 {
                w.zeros(2);
                self.metadata.as_ref().write(w)?;
            } else {
                w.zeros(6);
            }
            let start = w.position();
            self.actions.write(w)?;
            let len = w.position().saturating_sub(start);
            w.patch_u16("actions", len_at, len)?;
            w.bytes(self.packet);
            Ok(())
        })
    }
}
