//! Packets between switch and controller.
//!
//! Packet-in of 1.3 to 1.5: buffer u32, total length u16, reason u8, table u8, cookie u64, match, pad 2,
//! packet. Nicira's packet-in 2, which Open vSwitch sends on request and for `controller(userdata=…)`: a list
//! of properties. Packet-out: buffer u32, (1.5: actions length u16, pad 2, match with the input port; before:
//! input port u32, actions length u16, pad 6,) actions, packet.

use bytes::BytesMut;

use super::flow_mod::NO_BUFFER;
use super::{EXPERIMENTER, NICIRA, NXT_PACKET_IN, NXT_PACKET_IN2, PACKET_IN, PACKET_OUT, write_message};
use crate::action::{Actions, ActionsRef, Scan, scan};
use crate::cursor::{Reader, pad8};
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::field::Field;
use crate::matching::{Match, MatchCow, read_match};
use crate::types::{OfPort, TableId, Version};
use crate::writer::{Pad, Writer};

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
    /// The message that it came in.
    pub format: PacketInFormat,
}

/// The forms of a packet-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketInFormat {
    /// The version's own.
    Standard,
    /// Nicira's first.
    Nicira,
    /// Nicira's second, with properties.
    Nicira2,
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
            format: PacketInFormat::Standard,
        })
    }

    /// Nicira's first form: buffer u32, total length u16, reason u8, table u8, cookie u64, length of the match u16, pad
    /// 6, fields, padding to 8 bytes, pad 2, packet.
    pub(crate) fn read_nx(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let buffer = r.u32()?;
        let total_len = u32::from(r.u16()?);
        let reason = r.u8()?;
        let table = TableId(r.u8()?);
        let cookie = r.u64()?;
        let len = usize::from(r.u16()?);
        r.skip(6)?;
        let metadata = crate::matching::read_fields(r.sub(len, "match")?)?;
        r.skip(pad8(len))?;
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
            format: PacketInFormat::Nicira,
        })
    }

    pub(crate) fn read_nx2(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut packet_in = Self {
            packet: &[],
            total_len: 0,
            buffer_id: None,
            table: TableId(0),
            // Open vSwitch leaves the cookie out where there is none.
            cookie: u64::MAX,
            reason: 0,
            metadata: MatchCow::Owned(Match::new()),
            userdata: &[],
            continuation: &[],
            format: PacketInFormat::Nicira2,
        };
        let start = *r;
        let mut has_packet = false;
        while !r.is_empty() {
            let (kind, mut body) = r.tlv("packet-in property")?;
            match kind {
                0 => {
                    packet_in.packet = body.rest();
                    has_packet = true;
                }
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
        if !has_packet {
            return Err(start.refuse(ErrorCode::OFPBRC_BAD_LEN));
        }
        if packet_in.total_len == 0 {
            packet_in.total_len = u32::try_from(packet_in.packet.len()).unwrap_or(u32::MAX);
        }
        Ok(packet_in)
    }

    /// Appends the message, as a switch does.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        if self.format != PacketInFormat::Standard {
            return write_message(buf, version, EXPERIMENTER, xid, |w| {
                w.u32(NICIRA);
                if self.format == PacketInFormat::Nicira2 {
                    w.u32(NXT_PACKET_IN2);
                    return self.write_nx2(w);
                }
                w.u32(NXT_PACKET_IN);
                self.write_head(w)?;
                let len_at = w.position();
                w.zeros(8);
                let start = w.position();
                self.metadata.as_ref().write_fields(w)?;
                w.patch_u16("match", len_at, w.position().saturating_sub(start))?;
                w.pad_from(start);
                w.zeros(2);
                w.bytes(self.packet);
                Ok(())
            });
        }
        write_message(buf, version, PACKET_IN, xid, |w| {
            self.write_head(w)?;
            self.metadata.as_ref().write(w)?;
            w.zeros(2);
            w.bytes(self.packet);
            Ok(())
        })
    }

    /// What both forms without properties begin with.
    fn write_head(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.u32(self.buffer_id.unwrap_or(NO_BUFFER));
        let len = self.total_len;
        w.u16(
            u16::try_from(len)
                .map_err(|_| EncodeError::BadValue { what: "packet length", value: len.into() })?,
        );
        w.u8(self.reason);
        let TableId(table) = self.table;
        w.u8(table);
        w.u64(self.cookie);
        Ok(())
    }

    /// The properties of Nicira's second form, in Open vSwitch's order and alignment.
    pub(crate) fn write_nx2(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let property = |w: &mut Writer<'_>, kind: u16, body: &dyn Fn(&mut Writer<'_>)| {
            w.tlv("packet-in property", kind, Pad::Outside, |w| {
                body(w);
                Ok(())
            })
        };
        property(w, 0, &|w| w.bytes(self.packet))?;
        if u32::try_from(self.packet.len()) != Ok(self.total_len) {
            property(w, 1, &|w| w.u32(self.total_len))?;
        }
        if let Some(buffer) = self.buffer_id {
            property(w, 2, &|w| w.u32(buffer))?;
        }
        let TableId(table) = self.table;
        property(w, 3, &|w| w.u8(table))?;
        if self.cookie != u64::MAX {
            property(w, 4, &|w| {
                w.zeros(4);
                w.u64(self.cookie);
            })?;
        }
        property(w, 5, &|w| w.u8(self.reason))?;
        w.tlv("packet-in property", 6, Pad::Outside, |w| self.metadata.as_ref().write_fields(w))?;
        for (kind, bytes) in [(7, self.userdata), (8, self.continuation)] {
            if !bytes.is_empty() {
                property(w, kind, &|w| w.bytes(bytes))?;
            }
        }
        Ok(())
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
            let port = r.port()?;
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
