//! What ports and tables have counted.
//!
//! Port, 1.3: port u32, pad 4, rx packets, tx packets, rx bytes, tx bytes, rx dropped, tx dropped, rx errors,
//! tx errors, frame, overrun, CRC errors, collisions (u64 each), duration s u32, ns u32. 1.4 and 1.5: length
//! u16, pad 2, port u32, duration, the eight first counters, properties; Ethernet's (0) has pad 4 and the rest.
//! Table: table u8, pad 3, active u32, lookups u64, matches u64. All ones mean "not counted".

use std::time::Duration;

use crate::cursor::Reader;
use crate::error::{DecodeError, Malformed};
use crate::flow::read_duration;
use crate::types::{OfPort, TableId, Version};

/// What a port has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortCounters {
    /// Packets received.
    pub rx_packets: Option<u64>,
    /// Packets sent.
    pub tx_packets: Option<u64>,
    /// Bytes received.
    pub rx_bytes: Option<u64>,
    /// Bytes sent.
    pub tx_bytes: Option<u64>,
    /// Received packets dropped.
    pub rx_dropped: Option<u64>,
    /// Packets dropped instead of sent.
    pub tx_dropped: Option<u64>,
    /// Errors while receiving.
    pub rx_errors: Option<u64>,
    /// Errors while sending.
    pub tx_errors: Option<u64>,
    /// Frame alignment errors.
    pub rx_frame_errors: Option<u64>,
    /// Overruns.
    pub rx_over_errors: Option<u64>,
    /// Checksum errors.
    pub rx_crc_errors: Option<u64>,
    /// Collisions.
    pub collisions: Option<u64>,
}

/// A port's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortStats {
    /// The port.
    pub port: OfPort,
    /// How long it has been there.
    pub duration: Duration,
    /// What it has counted.
    pub counters: PortCounters,
}

/// A table's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableStats {
    /// The table.
    pub table: TableId,
    /// Flows in it.
    pub active: u32,
    /// Packets looked up.
    pub lookups: Option<u64>,
    /// Packets that found a flow.
    pub matches: Option<u64>,
}

fn counter(r: &mut Reader<'_>) -> Result<Option<u64>, DecodeError> {
    r.u64().map(|count| (count != u64::MAX).then_some(count))
}

impl PortCounters {
    /// The eight counters that every version has in one place.
    fn read_common(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            rx_packets: counter(r)?,
            tx_packets: counter(r)?,
            rx_bytes: counter(r)?,
            tx_bytes: counter(r)?,
            rx_dropped: counter(r)?,
            tx_dropped: counter(r)?,
            rx_errors: counter(r)?,
            tx_errors: counter(r)?,
            ..Self::default()
        })
    }

    fn read_ethernet(&mut self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        for place in [
            &mut self.rx_frame_errors,
            &mut self.rx_over_errors,
            &mut self.rx_crc_errors,
            &mut self.collisions,
        ] {
            *place = counter(r)?;
        }
        Ok(())
    }
}

impl PortStats {
    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        if version == Version::V13 {
            let port = OfPort(reader.u32()?);
            reader.skip(4)?;
            let mut counters = PortCounters::read_common(reader)?;
            counters.read_ethernet(reader)?;
            return Ok(Self { port, duration: read_duration(reader)?, counters });
        }
        let start = *reader;
        let len = usize::from(reader.u16()?);
        let body = len.checked_sub(2).ok_or_else(|| start.fail(Malformed::BadLength(0)))?;
        let mut r = reader.sub(body, "port stats")?;
        r.skip(2)?;
        let port = OfPort(r.u32()?);
        let duration = read_duration(&mut r)?;
        let mut counters = PortCounters::read_common(&mut r)?;
        while !r.is_empty() {
            let (kind, mut property) = r.tlv("port stats property")?;
            if kind == ETHERNET {
                property.skip(4)?;
                counters.read_ethernet(&mut property)?;
            }
        }
        Ok(Self { port, duration, counters })
    }
}

impl TableStats {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = TableId(r.u8()?);
        r.skip(3)?;
        Ok(Self { table, active: r.u32()?, lookups: counter(r)?, matches: counter(r)? })
    }
}

/// The ports of one reply; stops after an error.
#[derive(Debug, Clone)]
pub struct PortStatsIter<'a> {
    reader: Reader<'a>,
    version: Version,
}

/// The tables of one reply; stops after an error.
#[derive(Debug, Clone)]
pub struct TableStatsIter<'a> {
    reader: Reader<'a>,
}

impl<'a> PortStatsIter<'a> {
    pub(crate) fn new(reader: Reader<'a>, version: Version) -> Self {
        Self { reader: reader.named("port stats"), version }
    }
}

impl<'a> TableStatsIter<'a> {
    pub(crate) fn new(reader: Reader<'a>) -> Self {
        Self { reader: reader.named("table stats") }
    }
}

impl Iterator for PortStatsIter<'_> {
    type Item = Result<PortStats, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let stats = PortStats::read(&mut self.reader, self.version);
        if stats.is_err() {
            self.reader.rest();
        }
        Some(stats)
    }
}

impl Iterator for TableStatsIter<'_> {
    type Item = Result<TableStats, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let stats = TableStats::read(&mut self.reader);
        if stats.is_err() {
            self.reader.rest();
        }
        Some(stats)
    }
}

/// The property with Ethernet's counters.
const ETHERNET: u16 = 0;
