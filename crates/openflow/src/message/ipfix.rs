//! What IPFIX exporters have counted: Nicira's multiparts 3 (the bridge's) and 4 (those of flows).
//!
//! Both: flows u64, current flows u64, packets u64, IPv4 packets u64, IPv6 packets u64, errors u64, IPv4 errors u64, IPv6
//! errors u64, packets sent u64, errors while sending u64, exporter u32, pad 4.

use super::entries::Entry;
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::types::Version;
use crate::writer::Writer;

/// The counters of one exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IpfixStats {
    /// Flows in all.
    pub flows: u64,
    /// Flows now.
    pub current_flows: u64,
    /// Packets sampled.
    pub packets: u64,
    /// Those of IPv4.
    pub ipv4_packets: u64,
    /// Those of IPv6.
    pub ipv6_packets: u64,
    /// Packets that could not be sampled.
    pub errors: u64,
    /// Those of IPv4.
    pub ipv4_errors: u64,
    /// Those of IPv6.
    pub ipv6_errors: u64,
    /// Packets sent to the collector.
    pub sent: u64,
    /// Packets that could not be sent.
    pub send_errors: u64,
    /// The set of collectors.
    pub collector_set: u32,
}

impl IpfixStats {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let stats = Self {
            flows: r.u64()?,
            current_flows: r.u64()?,
            packets: r.u64()?,
            ipv4_packets: r.u64()?,
            ipv6_packets: r.u64()?,
            errors: r.u64()?,
            ipv4_errors: r.u64()?,
            ipv6_errors: r.u64()?,
            sent: r.u64()?,
            send_errors: r.u64()?,
            collector_set: r.u32()?,
        };
        r.skip(4)?;
        Ok(stats)
    }

    fn write(&self, w: &mut Writer<'_>) {
        let counts = [
            self.flows,
            self.current_flows,
            self.packets,
            self.ipv4_packets,
            self.ipv6_packets,
            self.errors,
            self.ipv4_errors,
            self.ipv6_errors,
            self.sent,
            self.send_errors,
        ];
        for count in counts {
            w.u64(count);
        }
        w.u32(self.collector_set);
        w.zeros(4);
    }
}

/// The bridge's exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IpfixBridge(pub IpfixStats);

/// The exporter of a set of collectors that flows name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IpfixFlow(pub IpfixStats);

impl<'a> Entry<'a> for IpfixBridge {
    const NAME: &'static str = "IPFIX stats of the bridge";

    fn read(reader: &mut Reader<'a>, _version: Version) -> Result<Self, DecodeError> {
        IpfixStats::read(reader).map(Self)
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.0.write(w);
        Ok(())
    }
}

impl<'a> Entry<'a> for IpfixFlow {
    const NAME: &'static str = "IPFIX stats of flows";

    fn read(reader: &mut Reader<'a>, _version: Version) -> Result<Self, DecodeError> {
        IpfixStats::read(reader).map(Self)
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.0.write(w);
        Ok(())
    }
}
