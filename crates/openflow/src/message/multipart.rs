//! Multipart messages: questions about state, and answers that may come in parts.
//!
//! Layout: type u16, flags u16 (bit 0: more follows), pad 4, body. Parts carry whole entries, so each part is
//! decoded on its own and nothing is put together here; the caller bounds how many it takes.

use bytes::BytesMut;

mod body;

pub use body::{AggregateStats, SwitchDesc};

use super::counters::{PortStats, TableStats};
use super::counts::FlowCounts;
use super::entries::Entries;
use super::flow_mod::ANY_GROUP;
use super::group::{ALL_GROUPS, Group, GroupFeatures, GroupStats};
use super::ipfix::{IpfixBridge, IpfixFlow};
use super::meter::{Meter, MeterFeatures, MeterStats};
use super::monitor::{FlowUpdates, MonitorRequest};
use super::port::PortIter;
use super::queue::{QueueDesc, QueueQuery, QueueStats};
use super::table::{Table, TableFeatures};
use super::{MULTIPART_REPLY, MULTIPART_REQUEST, NICIRA, ONF, write_message};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::flow::FlowStatsIter;
use crate::matching::{Match, read_match};
use crate::types::{OfPort, TableId, Version};
use crate::writer::Writer;

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
        let out_port = r.port()?;
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
#[derive(Debug, Clone)]
pub enum MultipartRequest<'a> {
    /// Who made this switch?
    Desc,
    /// Which flows are there?
    Flow(FlowQuery),
    /// How much do they count together?
    Aggregate(FlowQuery),
    /// How much does each count (1.5)?
    FlowCounts(FlowQuery),
    /// What do tables count?
    Table,
    /// What does a port count, or all with [`OfPort::ANY`]?
    PortStats(OfPort),
    /// What do queues count?
    QueueStats(QueueQuery),
    /// What does a group count, or all with [`ALL_GROUPS`]?
    GroupStats(u32),
    /// Which groups are there? Only 1.5 can ask about one.
    GroupDesc(u32),
    /// What can you do with groups?
    GroupFeatures,
    /// What does a meter count, or all with [`super::meter::ALL_METERS`]?
    MeterStats(u32),
    /// How is a meter configured?
    MeterConfig(u32),
    /// What can you do with meters?
    MeterFeatures,
    /// What can tables do? With entries: do this.
    TableFeatures(Entries<'a, TableFeatures<'a>>),
    /// How are tables configured (from 1.4 on)?
    TableDesc,
    /// Which ports are there? Only 1.5 can ask about one.
    PortDesc(OfPort),
    /// How are queues configured (from 1.4 on)?
    QueueDesc(QueueQuery),
    /// Tell me about flows from now on.
    FlowMonitor(MonitorRequest),
    /// What has the bridge's IPFIX exporter counted?
    IpfixBridge,
    /// What have the exporters of flows counted?
    IpfixFlow,
    /// Anything else.
    Unknown {
        /// The multipart type.
        kind: u16,
        /// Its body.
        body: &'a [u8],
    },
}

impl<'a> MultipartRequest<'a> {
    /// A question and its flags.
    pub(crate) fn read(r: &mut Reader<'a>, version: Version) -> Result<(Self, u16), DecodeError> {
        let kind = r.u16()?;
        let flags = r.u16()?;
        r.skip(4)?;
        let number = |r: &mut Reader<'a>| {
            let number = r.u32()?;
            r.skip(4)?;
            Ok::<_, DecodeError>(number)
        };
        let port = |r: &mut Reader<'a>| {
            let port = r.port()?;
            r.skip(4)?;
            Ok::<_, DecodeError>(port)
        };
        let v14 = version > Version::V13;
        let v15 = version == Version::V15;
        let request = match kind {
            DESC => Self::Desc,
            FLOW => Self::Flow(FlowQuery::read(r)?),
            AGGREGATE => Self::Aggregate(FlowQuery::read(r)?),
            TABLE => Self::Table,
            PORT_STATS => Self::PortStats(port(r)?),
            QUEUE_STATS => Self::QueueStats(QueueQuery::read(r)?),
            GROUP_STATS => Self::GroupStats(number(r)?),
            GROUP_DESC if v15 => Self::GroupDesc(number(r)?),
            GROUP_DESC => Self::GroupDesc(ALL_GROUPS),
            GROUP_FEATURES => Self::GroupFeatures,
            METER_STATS => Self::MeterStats(number(r)?),
            METER_CONFIG => Self::MeterConfig(number(r)?),
            METER_FEATURES => Self::MeterFeatures,
            TABLE_FEATURES => Self::TableFeatures(Entries::take(r, version)),
            PORT_DESC if v15 => Self::PortDesc(port(r)?),
            PORT_DESC => Self::PortDesc(OfPort::ANY),
            TABLE_DESC if v14 => Self::TableDesc,
            QUEUE_DESC if v14 => Self::QueueDesc(QueueQuery::read(r)?),
            FLOW_MONITOR if v14 => Self::FlowMonitor(MonitorRequest::read(r)?),
            FLOW_COUNTS if v15 => Self::FlowCounts(FlowQuery::read(r)?),
            EXPERIMENTER => Self::experimenter(r, version)?,
            _ => Self::Unknown { kind, body: r.rest() },
        };
        Ok((request, flags))
    }

    fn experimenter(r: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut inner = *r;
        let number = (inner.u32()?, inner.u32()?);
        let known = match number {
            (NICIRA, NXST_IPFIX_BRIDGE) => Self::IpfixBridge,
            (NICIRA, NXST_IPFIX_FLOW) => Self::IpfixFlow,
            (ONF, ONFST_FLOW_MONITOR) if version == Version::V13 => {
                Self::FlowMonitor(MonitorRequest::read_onf(&mut inner)?)
            }
            _ => return Ok(Self::Unknown { kind: EXPERIMENTER, body: r.rest() }),
        };
        *r = inner;
        Ok(known)
    }

    /// Appends the message, which holds the whole question.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        self.encode_with(0, version, xid, buf)
    }

    pub(super) fn encode_with(
        &self,
        flags: u16,
        version: Version,
        xid: u32,
        buf: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        write_part(MULTIPART_REQUEST, self.kind(version), flags, version, xid, buf, |w| {
            let number = |w: &mut Writer<'_>, number: u32| {
                w.u32(number);
                w.zeros(4);
            };
            let v15 = version == Version::V15;
            let missing = |what| Err(EncodeError::Version { what, version });
            match self {
                Self::TableDesc if version == Version::V13 => return missing("table description"),
                Self::QueueDesc(_) if version == Version::V13 => return missing("queue description"),
                Self::FlowCounts(_) if !v15 => return missing("counters of flows"),
                Self::Flow(query) | Self::Aggregate(query) | Self::FlowCounts(query) => query.write(w)?,
                Self::PortStats(port) => number(w, port.0),
                Self::QueueStats(query) | Self::QueueDesc(query) => query.write(w),
                Self::GroupDesc(group) if v15 => number(w, *group),
                Self::PortDesc(port) if v15 => number(w, port.0),
                // Before 1.5 the last two ask for all.
                Self::Desc
                | Self::Table
                | Self::GroupFeatures
                | Self::MeterFeatures
                | Self::TableDesc
                | Self::GroupDesc(_)
                | Self::PortDesc(_) => {}
                Self::GroupStats(id) | Self::MeterStats(id) | Self::MeterConfig(id) => number(w, *id),
                Self::TableFeatures(entries) => entries.write(w)?,
                Self::FlowMonitor(request) if version == Version::V13 => {
                    w.u32(ONF);
                    w.u32(ONFST_FLOW_MONITOR);
                    request.write_onf(w)?;
                }
                Self::FlowMonitor(request) => request.write(w)?,
                Self::IpfixBridge => {
                    w.u32(NICIRA);
                    w.u32(NXST_IPFIX_BRIDGE);
                }
                Self::IpfixFlow => {
                    w.u32(NICIRA);
                    w.u32(NXST_IPFIX_FLOW);
                }
                Self::Unknown { body, .. } => w.bytes(body),
            }
            Ok(())
        })
    }

    fn kind(&self, version: Version) -> u16 {
        match self {
            Self::Desc => DESC,
            Self::Flow(_) => FLOW,
            Self::Aggregate(_) => AGGREGATE,
            Self::FlowCounts(_) => FLOW_COUNTS,
            Self::Table => TABLE,
            Self::PortStats(_) => PORT_STATS,
            Self::QueueStats(_) => QUEUE_STATS,
            Self::GroupStats(_) => GROUP_STATS,
            Self::GroupDesc(_) => GROUP_DESC,
            Self::GroupFeatures => GROUP_FEATURES,
            Self::MeterStats(_) => METER_STATS,
            Self::MeterConfig(_) => METER_CONFIG,
            Self::MeterFeatures => METER_FEATURES,
            Self::TableFeatures(_) => TABLE_FEATURES,
            Self::TableDesc => TABLE_DESC,
            Self::PortDesc(_) => PORT_DESC,
            Self::QueueDesc(_) => QUEUE_DESC,
            Self::FlowMonitor(_) if version > Version::V13 => FLOW_MONITOR,
            Self::FlowMonitor(_) | Self::IpfixBridge | Self::IpfixFlow => EXPERIMENTER,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}

/// An answer, or one part of it.
#[derive(Debug, Clone)]
pub struct MultipartReply<'a> {
    /// Whether more parts follow under the same xid.
    pub more: bool,
    /// The other bits of the flags, which mean nothing yet.
    pub other_flags: u16,
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
    /// What flows count, each by itself (1.5).
    FlowCounts(Entries<'a, FlowCounts<'a>>),
    /// What tables have counted.
    Table(Entries<'a, TableStats>),
    /// What ports have counted.
    PortStats(Entries<'a, PortStats<'a>>),
    /// What queues have counted.
    QueueStats(Entries<'a, QueueStats>),
    /// What groups have counted.
    GroupStats(Entries<'a, GroupStats>),
    /// Groups.
    GroupDesc(Entries<'a, Group>),
    /// What the switch can do with groups.
    GroupFeatures(GroupFeatures),
    /// What meters have counted.
    MeterStats(Entries<'a, MeterStats>),
    /// Meters.
    MeterConfig(Entries<'a, Meter>),
    /// What the switch can do with meters.
    MeterFeatures(MeterFeatures),
    /// What tables can do.
    TableFeatures(Entries<'a, TableFeatures<'a>>),
    /// How tables are configured.
    TableDesc(Entries<'a, Table>),
    /// Ports.
    PortDesc(PortIter<'a>),
    /// How queues are configured.
    QueueDesc(Entries<'a, QueueDesc<'a>>),
    /// What happened to flows; unsolicited ones have xid 0.
    FlowMonitor(FlowUpdates<'a>),
    /// What the bridge's IPFIX exporter has counted.
    IpfixBridge(Entries<'a, IpfixBridge>),
    /// What the exporters of flows have counted.
    IpfixFlow(Entries<'a, IpfixFlow>),
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
        let flags = r.u16()?;
        r.skip(4)?;
        let v14 = version > Version::V13;
        let body = match kind {
            DESC => MultipartBody::Desc(SwitchDesc::read(r)?),
            FLOW => MultipartBody::Flow(Entries::take(r, version)),
            AGGREGATE => MultipartBody::Aggregate(AggregateStats::read(r, version)?),
            TABLE => MultipartBody::Table(Entries::take(r, version)),
            PORT_STATS => MultipartBody::PortStats(Entries::take(r, version)),
            QUEUE_STATS => MultipartBody::QueueStats(Entries::take(r, version)),
            GROUP_STATS => MultipartBody::GroupStats(Entries::take(r, version)),
            GROUP_DESC => MultipartBody::GroupDesc(Entries::take(r, version)),
            GROUP_FEATURES => MultipartBody::GroupFeatures(GroupFeatures::read(r)?),
            METER_STATS => MultipartBody::MeterStats(Entries::take(r, version)),
            METER_CONFIG => MultipartBody::MeterConfig(Entries::take(r, version)),
            METER_FEATURES => MultipartBody::MeterFeatures(MeterFeatures::read(r)?),
            TABLE_FEATURES => MultipartBody::TableFeatures(Entries::take(r, version)),
            TABLE_DESC if v14 => MultipartBody::TableDesc(Entries::take(r, version)),
            PORT_DESC => MultipartBody::PortDesc(Entries::take(r, version)),
            QUEUE_DESC if v14 => MultipartBody::QueueDesc(Entries::take(r, version)),
            FLOW_MONITOR if v14 => MultipartBody::FlowMonitor(Entries::take(r, version)),
            FLOW_COUNTS if version == Version::V15 => MultipartBody::FlowCounts(Entries::take(r, version)),
            EXPERIMENTER => MultipartBody::experimenter(r, version)?,
            _ => MultipartBody::Unknown { kind, body: r.rest() },
        };
        Ok(Self { more: flags & MORE != 0, other_flags: flags & !MORE, body })
    }

    /// Appends the message.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        let flags = if self.more { self.other_flags | MORE } else { self.other_flags };
        write_part(MULTIPART_REPLY, self.body.kind(version), flags, version, xid, buf, |w| self.body.write(w))
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
        write_part(MULTIPART_REPLY, kind, u16::from(more), version, xid, buf, body)
    }
}

/// Appends a request or a reply of a type, with all its flags.
fn write_part(
    message: u8,
    kind: u16,
    flags: u16,
    version: Version,
    xid: u32,
    buf: &mut BytesMut,
    body: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    write_message(buf, version, message, xid, |w| {
        w.u16(kind);
        w.u16(flags);
        w.zeros(4);
        body(w)
    })
}

/// The only flag that means something: parts follow.
const MORE: u16 = 1;

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
/// Counters of queues.
pub const QUEUE_STATS: u16 = 5;
/// Counters of groups.
pub const GROUP_STATS: u16 = 6;
/// Groups.
pub const GROUP_DESC: u16 = 7;
/// What the switch can do with groups.
pub const GROUP_FEATURES: u16 = 8;
/// Counters of meters.
pub const METER_STATS: u16 = 9;
/// Meters.
pub const METER_CONFIG: u16 = 10;
/// What the switch can do with meters.
pub const METER_FEATURES: u16 = 11;
/// What tables can do.
pub const TABLE_FEATURES: u16 = 12;
/// Ports.
pub const PORT_DESC: u16 = 13;
/// How tables are configured (1.4 and later).
pub const TABLE_DESC: u16 = 14;
/// How queues are configured (1.4 and later).
pub const QUEUE_DESC: u16 = 15;
/// Flow monitors (1.4 and later).
pub const FLOW_MONITOR: u16 = 16;
/// Counters of flows (1.5).
pub const FLOW_COUNTS: u16 = 17;
/// Somebody's own: experimenter u32 and type u32 follow.
pub const EXPERIMENTER: u16 = 0xffff;

/// The bridge's IPFIX exporter, Nicira's.
pub(crate) const NXST_IPFIX_BRIDGE: u32 = 3;
/// Exporters of flows, Nicira's.
pub(crate) const NXST_IPFIX_FLOW: u32 = 4;
/// Flow monitors of 1.3, the ONF's.
pub(crate) const ONFST_FLOW_MONITOR: u32 = 1870;
