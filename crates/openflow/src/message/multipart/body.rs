//! The bodies of replies: writing them again, and the two that are no lists.

use std::time::Duration;

use super::{
    AGGREGATE, DESC, EXPERIMENTER, FLOW, FLOW_COUNTS, FLOW_MONITOR, GROUP_DESC, GROUP_FEATURES, GROUP_STATS,
    METER_CONFIG, METER_FEATURES, METER_STATS, MultipartBody, NXST_IPFIX_BRIDGE, NXST_IPFIX_FLOW,
    ONFST_FLOW_MONITOR, PORT_DESC, PORT_STATS, QUEUE_DESC, QUEUE_STATS, TABLE, TABLE_DESC, TABLE_FEATURES,
};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::flow::Oxs;
use crate::message::entries::Entries;
use crate::message::{NICIRA, ONF};
use crate::types::Version;
use crate::writer::Writer;

impl<'a> MultipartBody<'a> {
    pub(super) fn experimenter(r: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut inner = *r;
        let number = (inner.u32()?, inner.u32()?);
        let known = match number {
            (NICIRA, NXST_IPFIX_BRIDGE) => Self::IpfixBridge(Entries::take(&mut inner, version)),
            (NICIRA, NXST_IPFIX_FLOW) => Self::IpfixFlow(Entries::take(&mut inner, version)),
            (ONF, ONFST_FLOW_MONITOR) if version == Version::V13 => {
                Self::FlowMonitor(Entries::take(&mut inner, version))
            }
            _ => return Ok(Self::Unknown { kind: EXPERIMENTER, body: r.rest() }),
        };
        *r = inner;
        Ok(known)
    }

    /// The first entry that cannot be read, if there is one.
    pub fn check(&self) -> Result<(), DecodeError> {
        match self {
            Self::Flow(entries) => entries.check(),
            Self::FlowCounts(entries) => entries.check(),
            Self::Table(entries) => entries.check(),
            Self::PortStats(entries) => entries.check(),
            Self::QueueStats(entries) => entries.check(),
            Self::GroupStats(entries) => entries.check(),
            Self::GroupDesc(entries) => entries.check(),
            Self::MeterStats(entries) => entries.check(),
            Self::MeterConfig(entries) => entries.check(),
            Self::TableFeatures(entries) => entries.check(),
            Self::TableDesc(entries) => entries.check(),
            Self::PortDesc(entries) => entries.check(),
            Self::QueueDesc(entries) => entries.check(),
            Self::FlowMonitor(entries) => entries.check(),
            Self::IpfixBridge(entries) => entries.check(),
            Self::IpfixFlow(entries) => entries.check(),
            Self::Desc(_)
            | Self::Aggregate(_)
            | Self::GroupFeatures(_)
            | Self::MeterFeatures(_)
            | Self::Unknown { .. } => Ok(()),
        }
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let experimenter = |w: &mut Writer<'_>, number: (u32, u32)| {
            w.u32(number.0);
            w.u32(number.1);
        };
        match self {
            Self::Desc(desc) => desc.write(w),
            Self::Flow(entries) => entries.write(w)?,
            Self::FlowCounts(entries) => entries.write(w)?,
            Self::Aggregate(stats) => stats.write(w)?,
            Self::Table(entries) => entries.write(w)?,
            Self::PortStats(entries) => entries.write(w)?,
            Self::QueueStats(entries) => entries.write(w)?,
            Self::GroupStats(entries) => entries.write(w)?,
            Self::GroupDesc(entries) => entries.write(w)?,
            Self::GroupFeatures(features) => features.write(w),
            Self::MeterStats(entries) => entries.write(w)?,
            Self::MeterConfig(entries) => entries.write(w)?,
            Self::MeterFeatures(features) => features.write(w),
            Self::TableFeatures(entries) => entries.write(w)?,
            Self::TableDesc(entries) => entries.write(w)?,
            Self::PortDesc(entries) => entries.write(w)?,
            Self::QueueDesc(entries) => entries.write(w)?,
            Self::FlowMonitor(entries) => {
                if w.version() == Version::V13 {
                    experimenter(w, (ONF, ONFST_FLOW_MONITOR));
                }
                entries.write(w)?;
            }
            Self::IpfixBridge(entries) => {
                experimenter(w, (NICIRA, NXST_IPFIX_BRIDGE));
                entries.write(w)?;
            }
            Self::IpfixFlow(entries) => {
                experimenter(w, (NICIRA, NXST_IPFIX_FLOW));
                entries.write(w)?;
            }
            Self::Unknown { body, .. } => w.bytes(body),
        }
        Ok(())
    }

    pub(super) fn kind(&self, version: Version) -> u16 {
        match self {
            Self::Desc(_) => DESC,
            Self::Flow(_) => FLOW,
            Self::Aggregate(_) => AGGREGATE,
            Self::FlowCounts(_) => FLOW_COUNTS,
            Self::Table(_) => TABLE,
            Self::PortStats(_) => PORT_STATS,
            Self::QueueStats(_) => QUEUE_STATS,
            Self::GroupStats(_) => GROUP_STATS,
            Self::GroupDesc(_) => GROUP_DESC,
            Self::GroupFeatures(_) => GROUP_FEATURES,
            Self::MeterStats(_) => METER_STATS,
            Self::MeterConfig(_) => METER_CONFIG,
            Self::MeterFeatures(_) => METER_FEATURES,
            Self::TableFeatures(_) => TABLE_FEATURES,
            Self::TableDesc(_) => TABLE_DESC,
            Self::PortDesc(_) => PORT_DESC,
            Self::QueueDesc(_) => QUEUE_DESC,
            Self::FlowMonitor(_) if version > Version::V13 => FLOW_MONITOR,
            Self::FlowMonitor(_) | Self::IpfixBridge(_) | Self::IpfixFlow(_) => EXPERIMENTER,
            Self::Unknown { kind, .. } => *kind,
        }
    }
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
    pub(super) fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if r.len() != 1056 {
            return Err(r.refuse(ErrorCode::OFPBRC_BAD_LEN));
        }
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

    fn write(&self, w: &mut Writer<'_>) {
        let texts = [
            (self.manufacturer, 256),
            (self.hardware, 256),
            (self.software, 256),
            (self.serial, 32),
            (self.datapath, 256),
        ];
        for (text, len) in texts {
            let kept = text.get(..len).unwrap_or(text);
            w.bytes(kept);
            w.zeros(len.saturating_sub(kept.len()));
        }
    }
}

/// What flows count together: packets u64, bytes u64, flows u32, pad 4; in 1.5 a list of statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AggregateStats {
    /// Packets, if they are counted.
    pub packet_count: Option<u64>,
    /// Bytes, if they are counted.
    pub byte_count: Option<u64>,
    /// Flows.
    pub flow_count: u32,
    /// How long the oldest has been there, if the switch says so (1.5).
    pub duration: Option<Duration>,
}

impl AggregateStats {
    pub(super) fn read(r: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        if version == Version::V15 {
            let stats = Oxs::read(r)?;
            return Ok(Self {
                packet_count: stats.packets,
                byte_count: stats.bytes,
                flow_count: stats.flows.unwrap_or_default(),
                duration: stats.duration,
            });
        }
        let (packets, bytes, flow_count) = (r.u64()?, r.u64()?, r.u32()?);
        r.skip(4)?;
        let known = |count: u64| (count != u64::MAX).then_some(count);
        Ok(Self { packet_count: known(packets), byte_count: known(bytes), flow_count, duration: None })
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        if w.version() == Version::V15 {
            let stats = Oxs {
                duration: self.duration,
                idle: None,
                flows: Some(self.flow_count),
                packets: self.packet_count,
                bytes: self.byte_count,
            };
            return stats.write(w);
        }
        w.u64(self.packet_count.unwrap_or(u64::MAX));
        w.u64(self.byte_count.unwrap_or(u64::MAX));
        w.u32(self.flow_count);
        w.zeros(4);
        Ok(())
    }
}
