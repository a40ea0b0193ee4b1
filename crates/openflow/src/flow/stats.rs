//! The entries of a flow dump: OpenFlow 1.3 and 1.4 in their fixed layout, 1.5 with its list of statistics.
//!
//! Open vSwitch 3.1 sends the 1.5 form as multipart type 1 and refuses 1.5's own type 17 [captured].
//!
//! 1.3/1.4, after `length u16`: table u8, pad 1, duration s u32, ns u32, priority u16, idle u16, hard u16,
//! flags u16, importance u16 (pad in 1.3), pad 2, cookie u64, packets u64, bytes u64, match, instructions.
//! 1.5, after `length u16`: pad 2, table u8, pad 1, priority u16, idle u16, hard u16, flags u16,
//! importance u16, cookie u64, match, statistics, instructions.

use std::time::Duration;

use super::{FlowFlags, FlowStats};
use crate::Version;
use crate::cursor::{Reader, pad8};
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::instruction::InstructionsRef;
use crate::matching::read_match;
use crate::message::entries::{Entries, Entry, measured};
use crate::types::TableId;
use crate::writer::{Pad, Writer};

/// The flows of one reply.
pub type FlowStatsIter<'a> = Entries<'a, FlowStats<'a>>;

impl<'a> Entry<'a> for FlowStats<'a> {
    const NAME: &'static str = "flow stats";

    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let r = measured(reader, Self::NAME)?;
        if version == Version::V15 { Self::read_15(r) } else { Self::read_old(r, version) }
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        FlowStats::write(self, w)
    }
}

impl<'a> FlowStats<'a> {
    fn read_old(mut r: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let table = TableId(r.u8()?);
        r.skip(1)?;
        let duration = read_duration(&mut r)?;
        let priority = r.u16()?;
        let idle_timeout = r.u16()?;
        let hard_timeout = r.u16()?;
        let flags = FlowFlags::from_bits_retain(r.u16()?);
        let importance = r.u16()?;
        r.skip(2)?;
        let cookie = r.u64()?;
        let packet_count = counter(r.u64()?);
        let byte_count = counter(r.u64()?);
        Ok(Self {
            table,
            priority,
            cookie,
            idle_timeout,
            hard_timeout,
            importance: if version == Version::V13 { 0 } else { importance },
            flags,
            matching: read_match(&mut r)?,
            instructions: InstructionsRef::read(r, version)?,
            packet_count,
            byte_count,
            duration,
            idle_age: None,
        })
    }

    fn read_15(mut r: Reader<'a>) -> Result<Self, DecodeError> {
        r.skip(2)?;
        let table = TableId(r.u8()?);
        r.skip(1)?;
        let priority = r.u16()?;
        let idle_timeout = r.u16()?;
        let hard_timeout = r.u16()?;
        let flags = FlowFlags::from_bits_retain(r.u16()?);
        let importance = r.u16()?;
        let cookie = r.u64()?;
        let matching = read_match(&mut r)?;
        let stats = Oxs::read(&mut r)?;
        Ok(Self {
            table,
            priority,
            cookie,
            idle_timeout,
            hard_timeout,
            importance,
            flags,
            matching,
            instructions: InstructionsRef::read(r, Version::V15)?,
            packet_count: stats.packets,
            byte_count: stats.bytes,
            duration: stats.duration.unwrap_or_default(),
            idle_age: stats.idle,
        })
    }

    /// Appends the entry in the layout of the writer's version, as a switch does.
    pub fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let start = w.position();
        let v15 = w.version() == Version::V15;
        w.sized("flow stats", start, Pad::None, |w| {
            if v15 {
                w.zeros(2);
            }
            let TableId(table) = self.table;
            w.u8(table);
            w.zeros(1);
            if !v15 {
                write_duration(w, self.duration);
            }
            w.u16(self.priority);
            w.u16(self.idle_timeout);
            w.u16(self.hard_timeout);
            w.u16(self.flags.bits());
            w.u16(if w.version() == Version::V13 { 0 } else { self.importance });
            if !v15 {
                w.zeros(2);
            }
            w.u64(self.cookie);
            if !v15 {
                w.u64(self.packet_count.unwrap_or(u64::MAX));
                w.u64(self.byte_count.unwrap_or(u64::MAX));
            }
            self.matching.as_ref().write(w)?;
            if v15 {
                let stats = Oxs {
                    duration: Some(self.duration),
                    idle: self.idle_age,
                    flows: None,
                    packets: self.packet_count,
                    bytes: self.byte_count,
                };
                stats.write(w)?;
            }
            self.instructions().write(w)
        })
    }
}

/// OpenFlow 1.5's statistics: a TLV list of class `0x8002`, 8-byte header fields as in OXM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Oxs {
    /// How long the flow has been there.
    pub duration: Option<Duration>,
    /// How long since its last packet.
    pub idle: Option<Duration>,
    /// How many flows are counted together.
    pub flows: Option<u32>,
    /// Packets.
    pub packets: Option<u64>,
    /// Bytes.
    pub bytes: Option<u64>,
}

impl Oxs {
    /// Reads `reserved u16, length u16`, the fields and the padding. Unknown fields are skipped.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bad_len = reader.named("flow statistics").refuse(ErrorCode::OFPBMC_BAD_LEN);
        reader.skip(2)?;
        let len = usize::from(reader.u16()?);
        let body = len.checked_sub(4).ok_or(bad_len)?;
        let mut r = reader.sub(body, "flow statistics").map_err(|_| bad_len)?;
        reader.skip(pad8(len)).map_err(|_| bad_len)?;
        let mut stats = Self::default();
        while !r.is_empty() {
            let class = r.u16()?;
            let field = r.u8()? >> 1;
            let len = usize::from(r.u8()?);
            let mut value = r.sub(len, "flow statistic")?;
            if class != CLASS_OXS {
                continue;
            }
            match field {
                DURATION => stats.duration = Some(read_duration(&mut value)?),
                IDLE => stats.idle = Some(read_duration(&mut value)?),
                FLOWS => stats.flows = Some(value.u32()?),
                PACKETS => stats.packets = counter(value.u64()?),
                BYTES => stats.bytes = counter(value.u64()?),
                _ => {
                    value.rest();
                }
            }
            value.finish()?;
        }
        Ok(stats)
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.tlv("flow statistics", 0, Pad::Outside, |w| {
            let field = |w: &mut Writer<'_>, number: u8, len: u8| {
                w.u16(CLASS_OXS);
                w.u8(number << 1);
                w.u8(len);
            };
            for (number, time) in [(DURATION, self.duration), (IDLE, self.idle)] {
                if let Some(time) = time {
                    field(w, number, 8);
                    write_duration(w, time);
                }
            }
            for (number, count) in [(PACKETS, self.packets), (BYTES, self.bytes)] {
                if let Some(count) = count {
                    field(w, number, 8);
                    w.u64(count);
                }
            }
            // Last, as Open vSwitch has it.
            if let Some(flows) = self.flows {
                field(w, FLOWS, 4);
                w.u32(flows);
            }
            Ok(())
        })
    }
}

/// Seconds and nanoseconds; a switch that says 10⁹ nanoseconds means one second.
pub(crate) fn read_duration(r: &mut Reader<'_>) -> Result<Duration, DecodeError> {
    let seconds = Duration::from_secs(u64::from(r.u32()?));
    Ok(seconds.saturating_add(Duration::from_nanos(u64::from(r.u32()?))))
}

pub(crate) fn write_duration(w: &mut Writer<'_>, time: Duration) {
    w.u32(u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
    w.u32(time.subsec_nanos());
}

/// All ones mean "not counted".
fn counter(value: u64) -> Option<u64> {
    (value != u64::MAX).then_some(value)
}

const CLASS_OXS: u16 = 0x8002;
const DURATION: u8 = 0;
const IDLE: u8 = 1;
const FLOWS: u8 = 3;
const PACKETS: u8 = 4;
const BYTES: u8 = 5;
