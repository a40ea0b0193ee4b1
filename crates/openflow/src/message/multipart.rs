//! Multipart messages: questions about state, and answers that may come in parts.
//!
//! Layout: type u16, flags u16 (bit 0: more follows), pad 4, body. Parts carry whole entries, so each part is
//! decoded on its own and nothing is put together here; the caller bounds how many it takes.

use std::time::Duration;

use bytes::BytesMut;

use super::counters::{PortStatsIter, TableStatsIter};
use super::monitor::{FlowUpdates, MonitorRequest};
use super::port::PortIter;
use super::{MULTIPART_REPLY, MULTIPART_REQUEST, write_message};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::flow::{FlowStatsIter, Oxs};
use crate::matching::{Match, read_match};
use crate::types::{OfPort, TableId, Version};
use crate::writer::Writer;

use super::flow_mod::ANY_GROUP;

/// Which flows a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowQuery {
    /// The table, [`TableId::ALL`] for all.
    pub table: TableId,
    /// Only flows that send here; [`OfPort::ANY`] for all.
    pub out_port: OfPort,
    /// Only flows that use this group.
    pub out_group: u32,
    /// Only flows whose cookie agrees with this one in the bits of the mask.
    pub cookie: u64,
    /// The bits of the cookie that count.
    pub cookie_mask: u64,
    /// Only flows that this covers.
    pub matching: Match,
}

impl Default for FlowQuery {
    /// All flows.
    fn default() -> Self {
        Self {
            table: TableId::ALL,
            out_port: OfPort::ANY,
            out_group: ANY_GROUP,
            cookie: 0,
            cookie_mask: 0,
            matching: Match::new(),
        }
    }
}

impl FlowQuery {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = TableId(r.u8()?);
        r.skip(3)?;
        let out_port = OfPort(r.u32()?);
        let out_group = r.u32()?;
        r.skip(4)?;
        let cookie = r.u64()?;
        let cookie_mask = r.u64()?;
        Ok(Self { table, out_port, out_group, cookie, cookie_mask, matching: read_match(r)?.into_owned() })
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let TableId(table) = self.table;
        w.u8(table);
        w.zeros(3);
        w.u32(self.out_port.0);
        w.u32(self.out_group);
        w.zeros(4);
        w.u64(self.cookie);
        w.u64(self.cookie_mask);
        self.matching.as_ref().write(w)
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultipartRequest<'a> {
    /// Who made this switch?
    Desc,
    /// Which flows are there?
    Flow(FlowQuery),
    /// How much do they count together?
    Aggregate(FlowQuery),
    /// What do tables count?
    Table,
    /// What does a port count, or all with [`OfPort::ANY`]?
    PortStats(OfPort),
    /// Which ports are there? Only 1.5 can ask about one.
    PortDesc(OfPort),
    /// Tell me about flows from now on.
    FlowMonitor(MonitorRequest),
    /// Anything else.
    Unknown {
        /// The multipart type.
        kind: u16,
        /// Its body.
        body: &'a [u8],
    },
}

impl<'a> MultipartRequest<'a> {
    pub(crate) fn read(r: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let kind = r.u16()?;
        r.skip(6)?;
        Ok(match kind {
            DESC => Self::Desc,
            FLOW => Self::Flow(FlowQuery::read(r)?),
            AGGREGATE => Self::Aggregate(FlowQuery::read(r)?),
            TABLE => Self::Table,
            PORT_STATS => {
                let port = OfPort(r.u32()?);
                r.skip(4)?;
                Self::PortStats(port)
            }
            PORT_DESC if version == Version::V15 => {
                let port = OfPort(r.u32()?);
                r.skip(4)?;
                Self::PortDesc(port)
            }
            PORT_DESC => Self::PortDesc(OfPort::ANY),
            FLOW_MONITOR => Self::FlowMonitor(MonitorRequest::read(r)?),
            _ => Self::Unknown { kind, body: r.rest() },
        })
    }

    /// Appends the message.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, MULTIPART_REQUEST, xid, |w| {
            w.u16(self.kind());
            w.zeros(6);
            match self {
                Self::Desc | Self::Table => Ok(()),
                Self::Flow(query) | Self::Aggregate(query) => query.write(w),
                Self::PortStats(port) => {
                    w.u32(port.0);
                    w.zeros(4);
                    Ok(())
                }
                Self::PortDesc(port) => {
                    if version == Version::V15 {
                        w.u32(port.0);
                        w.zeros(4);
                    }
                    Ok(())
                }
                Self::FlowMonitor(_) if version == Version::V13 => {
                    Err(EncodeError::Version { what: "flow monitor", version })
                }
                Self::FlowMonitor(request) => request.write(w),
                Self::Unknown { body, .. } => {
                    w.bytes(body);
                    Ok(())
                }
            }
        })
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Desc => DESC,
            Self::Flow(_) => FLOW,
            Self::Aggregate(_) => AGGREGATE,
            Self::Table => TABLE,
            Self::PortStats(_) => PORT_STATS,
            Self::PortDesc(_) => PORT_DESC,
            Self::FlowMonitor(_) => FLOW_MONITOR,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}

/// An answer, or one part of it.
#[derive(Debug, Clone)]
pub struct MultipartReply<'a> {
    /// Whether more parts follow under the same xid.
    pub more: bool,
    /// What this part says.
    pub body: MultipartBody<'a>,
}

/// The body of an answer. Entries are decoded as they are asked for.
#[derive(Debug, Clone)]
pub enum MultipartBody<'a> {
    /// Who made the switch.
    Desc(SwitchDesc<'a>),
    /// Flows.
    Flow(FlowStatsIter<'a>),
    /// What flows count together.
    Aggregate(AggregateStats),
    /// What tables have counted.
    Table(TableStatsIter<'a>),
    /// What ports have counted.
    PortStats(PortStatsIter<'a>),
    /// Ports.
    PortDesc(PortIter<'a>),
    /// What happened to flows; unsolicited ones have xid 0.
    FlowMonitor(FlowUpdates<'a>),
    /// Anything else.
    Unknown {
        /// The multipart type.
        kind: u16,
        /// Its body.
        body: &'a [u8],
    },
}

impl<'a> MultipartReply<'a> {
    pub(crate) fn read(r: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let kind = r.u16()?;
        let more = r.u16()? & 1 != 0;
        r.skip(4)?;
        let body = match kind {
            DESC => MultipartBody::Desc(SwitchDesc::read(r)?),
            FLOW => MultipartBody::Flow(FlowStatsIter::new(all(r), version)),
            AGGREGATE => MultipartBody::Aggregate(AggregateStats::read(r, version)?),
            TABLE => MultipartBody::Table(TableStatsIter::new(all(r))),
            PORT_STATS => MultipartBody::PortStats(PortStatsIter::new(all(r), version)),
            PORT_DESC => MultipartBody::PortDesc(PortIter::new(all(r), version)),
            FLOW_MONITOR if version > Version::V13 => {
                MultipartBody::FlowMonitor(FlowUpdates::new(all(r), version))
            }
            _ => MultipartBody::Unknown { kind, body: r.rest() },
        };
        Ok(Self { more, body })
    }

    /// Appends an answer whose entries `body` writes, as a switch does.
    pub fn encode_with(
        kind: u16,
        more: bool,
        version: Version,
        xid: u32,
        buf: &mut BytesMut,
        body: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        write_message(buf, version, MULTIPART_REPLY, xid, |w| {
            w.u16(kind);
            w.u16(u16::from(more));
            w.zeros(4);
            body(w)
        })
    }
}

/// Moves what is left into a reader of its own, which keeps the offsets of errors.
fn all<'a>(r: &mut Reader<'a>) -> Reader<'a> {
    let entries = *r;
    r.rest();
    entries
}

/// Who made the switch: four texts of 256, 256, 256 and 32 bytes and one of 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchDesc<'a> {
    /// The maker.
    pub manufacturer: &'a [u8],
    /// The hardware.
    pub hardware: &'a [u8],
    /// The software's version.
    pub software: &'a [u8],
    /// The serial number.
    pub serial: &'a [u8],
    /// What somebody called it.
    pub datapath: &'a [u8],
}

impl<'a> SwitchDesc<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut text = |len: usize| {
            let field = r.take(len)?;
            Ok(field.split(|b| *b == 0).next().unwrap_or_default())
        };
        Ok(Self {
            manufacturer: text(256)?,
            hardware: text(256)?,
            software: text(256)?,
            serial: text(32)?,
            datapath: text(256)?,
        })
    }
}

/// What flows count together: packets u64, bytes u64, flows u32, pad 4; in 1.5 a list of statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AggregateStats {
    /// Packets.
    pub packet_count: u64,
    /// Bytes.
    pub byte_count: u64,
    /// Flows.
    pub flow_count: u32,
    /// How long the oldest has been there, if the switch says so (1.5).
    pub duration: Option<Duration>,
}

impl AggregateStats {
    fn read(r: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        if version == Version::V15 {
            let stats = Oxs::read(r)?;
            return Ok(Self {
                packet_count: stats.packets.unwrap_or_default(),
                byte_count: stats.bytes.unwrap_or_default(),
                flow_count: stats.flows.unwrap_or_default(),
                duration: stats.duration,
            });
        }
        let (packet_count, byte_count, flow_count) = (r.u64()?, r.u64()?, r.u32()?);
        r.skip(4)?;
        Ok(Self { packet_count, byte_count, flow_count, duration: None })
    }
}

/// The description of the switch.
pub const DESC: u16 = 0;
/// Flows.
pub const FLOW: u16 = 1;
/// Aggregated flows.
pub const AGGREGATE: u16 = 2;
/// Tables.
pub const TABLE: u16 = 3;
/// Counters of ports.
pub const PORT_STATS: u16 = 4;
/// Ports.
pub const PORT_DESC: u16 = 13;
/// Flow monitors (1.4 and later).
pub const FLOW_MONITOR: u16 = 16;
