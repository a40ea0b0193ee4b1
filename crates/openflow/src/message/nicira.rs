//! Messages of Nicira, which are the same bytes in every version: an experimenter's message of number `0x2320`.
//!
//! Layouts after the type: flow-mod-table-id (15): on u8, zeros 7. Packet-in format (16): u32. Async configuration (19): as
//! 1.3's. Controller id (20): zeros 6, id u16. TLV table mod (24): command u16, pad 6, mappings of class u16, type u8, length
//! u8, index u16, pad 2. TLV table request (25): nothing. Reply (26): greatest space u32, fields u16, reserved 10, mappings.
//! Resume (28): the properties of a packet-in 2. Flush of a zone (29): zeros 6, zone u16. Flush of connections (32): see
//! [`CtFlush`].

use std::net::Ipv6Addr;

use bytes::BytesMut;

use super::packet::PacketIn;
use super::session::AsyncConfig;
use super::{EXPERIMENTER, NICIRA, write_message};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::types::Version;
use crate::writer::{Pad, Writer};

/// A message of Nicira. Its packet-in and its bundles of 1.3 have variants of [`super::Message`].
#[derive(Debug, Clone)]
pub enum Nicira<'a> {
    /// Flow-mods name their table: only 1.0 needs to be told.
    FlowModTableId(bool),
    /// Send packet-ins so: 0 as the version does, 1 as Nicira's first, 2 with properties.
    SetPacketInFormat(u32),
    /// Send me these messages, in the form of 1.3.
    SetAsync(AsyncConfig),
    /// `controller(id=…)` means me.
    SetControllerId(u16),
    /// Map tunnel options to `tun_metadata` fields.
    TlvTableMod(TlvTableMod),
    /// How are tunnel options mapped?
    TlvTableRequest,
    /// So.
    TlvTableReply(TlvTable),
    /// Go on with a packet where it was stopped.
    Resume(PacketIn<'a>),
    /// Forget the connections of a zone.
    CtFlushZone(u16),
    /// Forget connections.
    CtFlush(CtFlush),
}

/// One tunnel option and the field that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlvMap {
    /// The option's class.
    pub class: u16,
    /// The option's type.
    pub kind: u8,
    /// Bytes of its value, a multiple of 4 up to 124.
    pub len: u8,
    /// The number of the `tun_metadata` field.
    pub index: u16,
}

/// What to do with mappings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlvCommand {
    /// Add them.
    Add,
    /// Delete them.
    Delete,
    /// Delete all.
    Clear,
}

/// Changes the mapping of tunnel options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlvTableMod {
    /// What to do.
    pub command: TlvCommand,
    /// The mappings.
    pub maps: Vec<TlvMap>,
}

/// The mapping of tunnel options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlvTable {
    /// Bytes of options that there is room for.
    pub max_space: u32,
    /// Fields that there are.
    pub max_fields: u16,
    /// The mappings.
    pub maps: Vec<TlvMap>,
}

/// One direction of a connection, as far as it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CtTuple {
    /// From; IPv4 addresses are mapped.
    pub src: Ipv6Addr,
    /// To.
    pub dst: Ipv6Addr,
    /// Source port; the number of an ICMP message.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// ICMP type and code, if said.
    pub icmp: [Option<u8>; 2],
}

impl Default for CtTuple {
    fn default() -> Self {
        let any = Ipv6Addr::UNSPECIFIED;
        Self { src: any, dst: any, src_port: 0, dst_port: 0, icmp: [None; 2] }
    }
}

/// Which connections to forget.
///
/// Layout: protocol u8, zeros 7, properties: 0 the original direction, 1 the reply, each of nested properties 0 source 16, 1
/// destination 16, 2 source port u16, 3 destination port u16, 4 ICMP number u16, 5 ICMP type u8, 6 ICMP code u8; 2 the zone
/// u16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CtFlush {
    /// The protocol, 0 for any.
    pub protocol: u8,
    /// The zone, if said.
    pub zone: Option<u16>,
    /// The direction of the first packet, if said.
    pub original: Option<CtTuple>,
    /// The other direction, if said.
    pub reply: Option<CtTuple>,
}

impl<'a> Nicira<'a> {
    /// Reads the message of this type; `None` if it is none of these.
    pub(crate) fn read(r: &mut Reader<'a>, kind: u32) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match kind {
            FLOW_MOD_TABLE_ID => {
                let on = r.u8()? != 0;
                r.skip(7)?;
                Self::FlowModTableId(on)
            }
            SET_PACKET_IN_FORMAT => Self::SetPacketInFormat(r.u32()?),
            SET_ASYNC => Self::SetAsync(AsyncConfig::read(r, Version::V13)?),
            SET_CONTROLLER_ID => {
                r.skip(6)?;
                Self::SetControllerId(r.u16()?)
            }
            TLV_TABLE_MOD => Self::TlvTableMod(TlvTableMod::read(r)?),
            TLV_TABLE_REQUEST => Self::TlvTableRequest,
            TLV_TABLE_REPLY => {
                let (max_space, max_fields) = (r.u32()?, r.u16()?);
                r.skip(10)?;
                Self::TlvTableReply(TlvTable { max_space, max_fields, maps: TlvMap::read_all(r)? })
            }
            RESUME => Self::Resume(PacketIn::read_nx2(r)?),
            CT_FLUSH_ZONE => {
                r.skip(6)?;
                Self::CtFlushZone(r.u16()?)
            }
            CT_FLUSH => Self::CtFlush(CtFlush::read(r)?),
            _ => return Ok(None),
        }))
    }

    /// Appends the message.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, EXPERIMENTER, xid, |w| {
            w.u32(NICIRA);
            w.u32(self.number());
            match self {
                Self::FlowModTableId(on) => {
                    w.u8(u8::from(*on));
                    w.zeros(7);
                }
                Self::SetPacketInFormat(format) => w.u32(*format),
                Self::SetAsync(config) => config.write_old(w),
                Self::SetControllerId(number) | Self::CtFlushZone(number) => {
                    w.zeros(6);
                    w.u16(*number);
                }
                Self::TlvTableMod(change) => {
                    w.u16(match change.command {
                        TlvCommand::Add => 0,
                        TlvCommand::Delete => 1,
                        TlvCommand::Clear => 2,
                    });
                    w.zeros(6);
                    for map in &change.maps {
                        map.write(w);
                    }
                }
                Self::TlvTableRequest => {}
                Self::TlvTableReply(table) => {
                    w.u32(table.max_space);
                    w.u16(table.max_fields);
                    w.zeros(10);
                    for map in &table.maps {
                        map.write(w);
                    }
                }
                Self::Resume(packet) => packet.write_nx2(w)?,
                Self::CtFlush(flush) => flush.write(w)?,
            }
            Ok(())
        })
    }

    fn number(&self) -> u32 {
        match self {
            Self::FlowModTableId(_) => FLOW_MOD_TABLE_ID,
            Self::SetPacketInFormat(_) => SET_PACKET_IN_FORMAT,
            Self::SetAsync(_) => SET_ASYNC,
            Self::SetControllerId(_) => SET_CONTROLLER_ID,
            Self::TlvTableMod(_) => TLV_TABLE_MOD,
            Self::TlvTableRequest => TLV_TABLE_REQUEST,
            Self::TlvTableReply(_) => TLV_TABLE_REPLY,
            Self::Resume(_) => RESUME,
            Self::CtFlushZone(_) => CT_FLUSH_ZONE,
            Self::CtFlush(_) => CT_FLUSH,
        }
    }
}

impl TlvTableMod {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let command = match r.u16()? {
            0 => TlvCommand::Add,
            1 => TlvCommand::Delete,
            2 => TlvCommand::Clear,
            _ => return Err(r.refuse(ErrorCode::NXTTMFC_BAD_COMMAND)),
        };
        r.skip(6)?;
        Ok(Self { command, maps: TlvMap::read_all(r)? })
    }
}

impl TlvMap {
    fn read_all(r: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        let mut maps = Vec::new();
        while !r.is_empty() {
            let map = Self { class: r.u16()?, kind: r.u8()?, len: r.u8()?, index: r.u16()? };
            r.skip(2)?;
            if !map.len.is_multiple_of(4) || map.len > 124 {
                return Err(r.refuse(ErrorCode::NXTTMFC_BAD_OPT_LEN));
            }
            if map.index >= TLV_FIELDS {
                return Err(r.refuse(ErrorCode::NXTTMFC_BAD_FIELD_IDX));
            }
            maps.push(map);
        }
        Ok(maps)
    }

    fn write(self, w: &mut Writer<'_>) {
        w.u16(self.class);
        w.u8(self.kind);
        w.u8(self.len);
        w.u16(self.index);
        w.zeros(2);
    }
}

impl CtFlush {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut flush = Self { protocol: r.u8()?, ..Self::default() };
        r.zeros(7, ErrorCode::NXBRC_MUST_BE_ZERO)?;
        while !r.is_empty() {
            let (kind, mut body) = r.tlv("connection")?;
            match kind {
                0 => flush.original = Some(CtTuple::read(&mut body, flush.protocol)?),
                1 => flush.reply = Some(CtTuple::read(&mut body, flush.protocol)?),
                2 => flush.zone = Some(body.u16()?),
                _ => return Err(body.refuse(ErrorCode::OFPBPC_BAD_TYPE)),
            }
        }
        Ok(flush)
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.u8(self.protocol);
        w.zeros(7);
        for (kind, tuple) in [(0, &self.original), (1, &self.reply)] {
            if let Some(tuple) = tuple {
                w.tlv("connection", kind, Pad::Outside, |w| tuple.write(w, self.is_icmp()))?;
            }
        }
        if let Some(zone) = self.zone {
            property(w, 2, |w| short(w, zone))?;
        }
        Ok(())
    }

    /// Whether ports are an ICMP number.
    pub fn is_icmp(&self) -> bool {
        matches!(self.protocol, 1 | 58)
    }
}

impl CtTuple {
    fn read(r: &mut Reader<'_>, _protocol: u8) -> Result<Self, DecodeError> {
        r.skip(4)?;
        let mut tuple = Self::default();
        let [kind, code] = &mut tuple.icmp;
        while !r.is_empty() {
            let (number, mut body) = r.tlv("connection property")?;
            match number {
                0 | 1 => {
                    // The address is aligned to 8 bytes.
                    body.skip(body.len().saturating_sub(16))?;
                    let address = Ipv6Addr::from(body.array::<16>()?);
                    *(if number == 0 { &mut tuple.src } else { &mut tuple.dst }) = address;
                }
                2 | 4 => tuple.src_port = body.u16()?,
                3 => tuple.dst_port = body.u16()?,
                5 => *kind = Some(body.u8()?),
                6 => *code = Some(body.u8()?),
                _ => return Err(body.refuse(ErrorCode::OFPBPC_BAD_TYPE)),
            }
        }
        Ok(tuple)
    }

    fn write(&self, w: &mut Writer<'_>, is_icmp: bool) -> Result<(), EncodeError> {
        w.zeros(4);
        for (kind, address) in [(0, self.src), (1, self.dst)] {
            if !address.is_unspecified() {
                property(w, kind, |w| w.bytes(&address.octets()))?;
            }
        }
        if is_icmp {
            property(w, 4, |w| short(w, self.src_port))?;
            for (kind, number) in (5..).zip(self.icmp) {
                property(w, kind, |w| w.u8(number.unwrap_or_default()))?;
            }
            return Ok(());
        }
        for (kind, port) in [(2, self.src_port), (3, self.dst_port)] {
            if port != 0 {
                property(w, kind, |w| short(w, port))?;
            }
        }
        Ok(())
    }
}

fn property(w: &mut Writer<'_>, kind: u16, body: impl FnOnce(&mut Writer<'_>)) -> Result<(), EncodeError> {
    w.tlv("connection property", kind, Pad::Outside, |w| {
        body(w);
        Ok(())
    })
}

/// Properties of 16 bits count their padding.
fn short(w: &mut Writer<'_>, number: u16) {
    w.u16(number);
    w.zeros(2);
}

/// `tun_metadata` fields.
const TLV_FIELDS: u16 = 64;

const FLOW_MOD_TABLE_ID: u32 = 15;
const SET_PACKET_IN_FORMAT: u32 = 16;
const SET_ASYNC: u32 = 19;
const SET_CONTROLLER_ID: u32 = 20;
const TLV_TABLE_MOD: u32 = 24;
const TLV_TABLE_REQUEST: u32 = 25;
const TLV_TABLE_REPLY: u32 = 26;
const RESUME: u32 = 28;
const CT_FLUSH_ZONE: u32 = 29;
const CT_FLUSH: u32 = 32;
