//! What ports and tables have counted.
//!
//! Port, 1.3: port u32, pad 4, rx packets, tx packets, rx bytes, tx bytes, rx dropped, tx dropped, rx errors,
//! tx errors, frame, overrun, CRC errors, collisions (u64 each), duration s u32, ns u32. 1.4 and 1.5: length
//! u16, pad 2, port u32, duration, the eight first counters, properties; Ethernet's (0) has pad 4 and the rest.
//! Table: table u8, pad 3, active u32, lookups u64, matches u64. All ones mean "not counted".

use std::time::Duration;

use super::entries::{Entry, measured};
use super::group::{read_counter as counter, write_counter};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::flow::{read_duration, write_duration};
use crate::types::{OfPort, TableId, Version};
use crate::writer::{Pad, Writer};

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
pub struct PortStats<'a> {
    /// The port.
    pub port: OfPort,
    /// How long it has been there.
    pub duration: Duration,
    /// What it has counted.
    pub counters: PortCounters,
    /// The properties behind Ethernet's, raw (from 1.4 on); see [`PortStats::custom`].
    pub properties: &'a [u8],
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

/// Writes the counters that [`PortCounters::read_common`] reads.
fn write_common(w: &mut Writer<'_>, c: &PortCounters) {
    let counts = [
        c.rx_packets,
        c.tx_packets,
        c.rx_bytes,
        c.tx_bytes,
        c.rx_dropped,
        c.tx_dropped,
        c.rx_errors,
        c.tx_errors,
    ];
    for count in counts {
        write_counter(w, count);
    }
}

fn write_ethernet(w: &mut Writer<'_>, c: &PortCounters) {
    let counts = [c.rx_frame_errors, c.rx_over_errors, c.rx_crc_errors, c.collisions];
    for count in counts {
        write_counter(w, count);
    }
}

impl<'a> PortStats<'a> {
    /// Names and values of the counters that are the port's own (Open vSwitch's extension).
    pub fn custom(&self) -> impl Iterator<Item = (&'a [u8], u64)> + use<'a> {
        let mut reader = Reader::new(self.properties, "port stats property");
        let mut found = Reader::new(&[], "custom counters");
        while !reader.is_empty() {
            let Ok((kind, mut body)) = reader.tlv("port stats property") else { break };
            if (kind, body.u32().ok(), body.u32().ok()) == (0xffff, Some(INTEL), Some(INTEL_CUSTOM)) {
                // Behind a number of counters, which the property's length says, too.
                found = body.skip(2).map_or(found, |()| body);
            }
        }
        std::iter::from_fn(move || {
            let len = found.u8().ok()?;
            let name = found.take(usize::from(len)).ok().filter(|name| !name.is_empty())?;
            Some((name, found.u64().ok()?))
        })
    }

    /// The counters of RFC 2819, in its order (Open vSwitch's extension).
    pub fn rfc2819(&self) -> impl Iterator<Item = Option<u64>> + use<'a> {
        let mut reader = Reader::new(self.properties, "port stats property");
        let mut found = Reader::new(&[], "counters");
        while !reader.is_empty() {
            let Ok((kind, mut body)) = reader.tlv("port stats property") else { break };
            if (kind, body.u32().ok(), body.u32().ok()) == (0xffff, Some(INTEL), Some(INTEL_RFC2819)) {
                found = body.skip(4).map_or(found, |()| body);
            }
        }
        std::iter::from_fn(move || counter(&mut found).ok())
    }
}

impl<'a> Entry<'a> for PortStats<'a> {
    const NAME: &'static str = "port stats";

    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        if version == Version::V13 {
            let port = reader.port()?;
            reader.skip(4)?;
            let mut counters = PortCounters::read_common(reader)?;
            counters.read_ethernet(reader)?;
            return Ok(Self { port, duration: read_duration(reader)?, counters, properties: &[] });
        }
        let mut r = measured(reader, Self::NAME)?;
        r.skip(2)?;
        let port = r.port()?;
        let duration = read_duration(&mut r)?;
        let mut counters = PortCounters::read_common(&mut r)?;
        let mut properties = r.peek();
        let mut is_first = true;
        while !r.is_empty() {
            let (kind, mut property) = r.tlv("port stats property")?;
            if kind == ETHERNET {
                property.skip(4)?;
                counters.read_ethernet(&mut property)?;
                // Open vSwitch puts it in front; elsewhere it stays among the others, which are kept raw.
                properties = if is_first { r.peek() } else { properties };
            }
            is_first = false;
        }
        Ok(Self { port, duration, counters, properties })
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let start = w.position();
        if w.version() == Version::V13 {
            w.u32(self.port.0);
            w.zeros(4);
            write_common(w, &self.counters);
            write_ethernet(w, &self.counters);
            write_duration(w, self.duration);
            return Ok(());
        }
        w.sized(Self::NAME, start, Pad::None, |w| {
            w.zeros(2);
            w.u32(self.port.0);
            write_duration(w, self.duration);
            write_common(w, &self.counters);
            if !has_ethernet(self.properties) {
                w.tlv("port stats property", ETHERNET, Pad::None, |w| {
                    w.zeros(4);
                    write_ethernet(w, &self.counters);
                    Ok(())
                })?;
            }
            w.bytes(self.properties);
            Ok(())
        })
    }
}

/// Whether the properties that were kept have Ethernet's among them.
pub(super) fn has_ethernet(properties: &[u8]) -> bool {
    let mut reader = Reader::new(properties, "property");
    std::iter::from_fn(|| if reader.is_empty() { None } else { reader.tlv("property").ok() })
        .any(|(kind, _)| kind == ETHERNET)
}

impl<'a> Entry<'a> for TableStats {
    const NAME: &'static str = "table stats";

    fn read(r: &mut Reader<'a>, _version: Version) -> Result<Self, DecodeError> {
        let table = TableId(r.u8()?);
        r.skip(3)?;
        Ok(Self { table, active: r.u32()?, lookups: counter(r)?, matches: counter(r)? })
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let TableId(table) = self.table;
        w.u8(table);
        w.zeros(3);
        w.u32(self.active);
        write_counter(w, self.lookups);
        write_counter(w, self.matches);
        Ok(())
    }
}

/// The experimenter of Open vSwitch's further counters.
const INTEL: u32 = 0xaa01;
const INTEL_RFC2819: u32 = 1;
const INTEL_CUSTOM: u32 = 2;
/// The property with Ethernet's counters.
const ETHERNET: u16 = 0;
