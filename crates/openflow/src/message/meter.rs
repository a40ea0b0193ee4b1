//! Meters: changing them, their configuration, what they count and what the switch can do with them.
//!
//! Meter-mod: command u16, flags u16, meter u32, bands. Configuration: length u16, flags u16, meter u32, bands. Band:
//! type u16, length u16 (16), rate u32, burst u32, then for DSCP remarking precedence levels u8, pad 3, else pad 4.
//! Statistics: meter u32, length u16, pad 6, flows u32, packets u64, bytes u64, duration s u32, ns u32, then packets
//! u64 and bytes u64 of each band. Features: greatest meter u32, types of bands u32, capabilities u32, bands u8,
//! colours u8, pad 2; Open vSwitch keeps 1.3's form in 1.5.

use std::time::Duration;

use bytes::BytesMut;

use super::entries::{Entry, measured};
use super::{METER_MOD, write_message};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError, Malformed};
use crate::error_code::ErrorCode;
use crate::flow::{read_duration, write_duration};
use crate::types::Version;
use crate::writer::{Pad, Writer};

bitflags::bitflags! {
    /// How a meter measures.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct MeterFlags: u16 {
        /// Rates are kilobits a second.
        const KBPS = 1;
        /// Rates are packets a second.
        const PKTPS = 2;
        /// Bursts are given.
        const BURST = 4;
        /// It counts.
        const STATS = 8;
        // Other bits survive a round trip.
        const _ = !0;
    }
}

/// What happens to packets above a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BandKind {
    /// They are dropped.
    Drop,
    /// Their drop precedence in the DSCP field is raised by so many levels.
    DscpRemark(u8),
}

/// One rate of a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// What happens above it.
    pub kind: BandKind,
    /// The rate, in the meter's unit.
    pub rate: u32,
    /// How much may come at once: kilobits or packets.
    pub burst: u32,
}

/// A meter as somebody wants it or the switch describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    /// Its number.
    pub id: u32,
    /// How it measures.
    pub flags: MeterFlags,
    /// Its rates.
    pub bands: Vec<Band>,
}

/// What to do with a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeterCommand {
    /// Make it.
    Add,
    /// Change it.
    Modify,
    /// Delete it.
    Delete,
}

/// Changes a meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterMod {
    /// What to do.
    pub command: MeterCommand,
    /// The meter; a delete looks at its number only.
    pub meter: Meter,
}

impl Band {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = *r;
        let kind = r.u16()?;
        let len = r.u16()?;
        if len < 16 || len % 8 != 0 {
            return Err(at.fail(Malformed::BadLength(u32::from(len))));
        }
        let mut body = r.sub(usize::from(len).saturating_sub(4), "meter band")?;
        let (rate, burst) = (body.u32()?, body.u32()?);
        let kind = match kind {
            1 => BandKind::Drop,
            2 => BandKind::DscpRemark(body.u8()?),
            _ => return Err(at.refuse(ErrorCode::OFPMMFC_BAD_BAND)),
        };
        Ok(Self { kind, rate, burst })
    }

    fn write(self, w: &mut Writer<'_>) {
        let (kind, level) = match self.kind {
            BandKind::Drop => (1, 0),
            BandKind::DscpRemark(level) => (2, level),
        };
        w.u16(kind);
        w.u16(16);
        w.u32(self.rate);
        w.u32(self.burst);
        w.u8(level);
        w.zeros(3);
    }
}

impl Meter {
    fn read_bands(r: &mut Reader<'_>) -> Result<Vec<Band>, DecodeError> {
        let mut bands = Vec::new();
        while !r.is_empty() {
            bands.push(Band::read(r)?);
        }
        Ok(bands)
    }
}

impl MeterMod {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let command = match r.u16()? {
            0 => MeterCommand::Add,
            1 => MeterCommand::Modify,
            2 => MeterCommand::Delete,
            _ => return Err(r.refuse(ErrorCode::OFPMMFC_BAD_COMMAND)),
        };
        let flags = MeterFlags::from_bits_retain(r.u16()?);
        let id = r.u32()?;
        if command == MeterCommand::Delete {
            // Open vSwitch looks at nothing else.
            r.rest();
            return Ok(Self { command, meter: Meter { id, flags: MeterFlags::empty(), bands: Vec::new() } });
        }
        let units = flags & (MeterFlags::KBPS | MeterFlags::PKTPS);
        if units.bits().count_ones() == 2 {
            return Err(r.refuse(ErrorCode::OFPMMFC_BAD_FLAGS));
        }
        Ok(Self { command, meter: Meter { id, flags, bands: Meter::read_bands(r)? } })
    }

    /// Appends the message.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, METER_MOD, xid, |w| {
            w.u16(match self.command {
                MeterCommand::Add => 0,
                MeterCommand::Modify => 1,
                MeterCommand::Delete => 2,
            });
            w.u16(self.meter.flags.bits());
            w.u32(self.meter.id);
            for band in &self.meter.bands {
                band.write(w);
            }
            Ok(())
        })
    }
}

impl<'a> Entry<'a> for Meter {
    const NAME: &'static str = "meter configuration";

    fn read(reader: &mut Reader<'a>, _version: Version) -> Result<Self, DecodeError> {
        let mut r = measured(reader, Self::NAME)?;
        let flags = MeterFlags::from_bits_retain(r.u16()?);
        let id = r.u32()?;
        Ok(Self { id, flags, bands: Self::read_bands(&mut r)? })
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let start = w.position();
        w.sized(Self::NAME, start, Pad::None, |w| {
            w.u16(self.flags.bits());
            w.u32(self.id);
            for band in &self.bands {
                band.write(w);
            }
            Ok(())
        })
    }
}

/// What a meter has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterStats {
    /// The meter.
    pub id: u32,
    /// Flows that use it.
    pub flow_count: u32,
    /// Packets that came in.
    pub packet_in_count: u64,
    /// Bytes that came in.
    pub byte_in_count: u64,
    /// How long it has been there.
    pub duration: Duration,
    /// Packets and bytes above each rate.
    pub bands: Vec<[u64; 2]>,
}

impl<'a> Entry<'a> for MeterStats {
    const NAME: &'static str = "meter stats";

    fn read(reader: &mut Reader<'a>, _version: Version) -> Result<Self, DecodeError> {
        let start = *reader;
        let id = reader.u32()?;
        let len = reader.u16()?;
        let body = usize::from(len).checked_sub(6);
        let body = body.ok_or_else(|| start.fail(Malformed::BadLength(u32::from(len))))?;
        let mut r = reader.sub(body, Self::NAME)?;
        r.skip(6)?;
        let flow_count = r.u32()?;
        let (packet_in_count, byte_in_count) = (r.u64()?, r.u64()?);
        let duration = read_duration(&mut r)?;
        let mut bands = Vec::new();
        while !r.is_empty() {
            bands.push([r.u64()?, r.u64()?]);
        }
        Ok(Self { id, flow_count, packet_in_count, byte_in_count, duration, bands })
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let start = w.position();
        w.u32(self.id);
        w.sized(Self::NAME, start, Pad::None, |w| {
            w.zeros(6);
            w.u32(self.flow_count);
            w.u64(self.packet_in_count);
            w.u64(self.byte_in_count);
            write_duration(w, self.duration);
            for count in self.bands.iter().flatten() {
                w.u64(*count);
            }
            Ok(())
        })
    }
}

/// What the switch can do with meters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MeterFeatures {
    /// The greatest number of meters.
    pub max_meters: u32,
    /// Types of bands, as bits: 1 drop, 2 DSCP remark.
    pub band_types: u32,
    /// Flags that it takes, as bits.
    pub capabilities: u32,
    /// Bands of one meter.
    pub max_bands: u8,
    /// The greatest colour.
    pub max_color: u8,
}

impl MeterFeatures {
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let features = Self {
            max_meters: r.u32()?,
            band_types: r.u32()?,
            capabilities: r.u32()?,
            max_bands: r.u8()?,
            max_color: r.u8()?,
        };
        r.skip(2)?;
        Ok(features)
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.max_meters);
        w.u32(self.band_types);
        w.u32(self.capabilities);
        w.u8(self.max_bands);
        w.u8(self.max_color);
        w.zeros(2);
    }
}

/// All meters, in requests and deletes.
pub const ALL_METERS: u32 = 0xffff_ffff;
/// The meter of packets for the controller.
pub const CONTROLLER_METER: u32 = 0xffff_fffe;
/// The meter of packets that the kernel passes up.
pub const SLOWPATH_METER: u32 = 0xffff_fffd;
