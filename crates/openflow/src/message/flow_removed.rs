//! The switch tells that a flow has gone.
//!
//! 1.3/1.4: cookie u64, priority u16, reason u8, table u8, duration s u32, ns u32, idle u16, hard u16,
//! packets u64, bytes u64, match. 1.5: table u8, reason u8, priority u16, idle u16, hard u16, cookie u64,
//! match, statistics.

use std::time::Duration;

use bytes::BytesMut;

use super::{FLOW_REMOVED, write_message};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::flow::{FlowKeyRef, Oxs, read_duration, write_duration};
use crate::matching::{MatchCow, read_match};
use crate::types::{TableId, Version};

/// A flow has gone.
#[derive(Debug, Clone)]
pub struct FlowRemoved<'a> {
    /// Its table.
    pub table: TableId,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: u64,
    /// Why: 0 idle, 1 hard, 2 delete, 3 group_delete, 4 meter_delete, 5 eviction.
    pub reason: u8,
    /// Its idle timeout in seconds.
    pub idle_timeout: u16,
    /// Its hard timeout in seconds.
    pub hard_timeout: u16,
    /// How long it was there.
    pub duration: Duration,
    /// How long since its last packet; 1.5 only.
    pub idle_age: Option<Duration>,
    /// Packets seen, if counted.
    pub packet_count: Option<u64>,
    /// Bytes seen, if counted.
    pub byte_count: Option<u64>,
    /// Its match.
    pub matching: MatchCow<'a>,
}

impl<'a> FlowRemoved<'a> {
    /// The identity of what has gone.
    pub fn key(&self) -> FlowKeyRef<'_> {
        FlowKeyRef { table: self.table, priority: self.priority, matching: self.matching.as_ref() }
    }

    pub(crate) fn read(r: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        if version == Version::V15 { Self::read_15(r) } else { Self::read_old(r) }
    }

    fn read_15(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let table = TableId(r.u8()?);
        let reason = r.u8()?;
        let priority = r.u16()?;
        let idle_timeout = r.u16()?;
        let hard_timeout = r.u16()?;
        let cookie = r.u64()?;
        let matching = read_match(r)?;
        let stats = Oxs::read(r)?;
        Ok(Self {
            table,
            priority,
            cookie,
            reason,
            idle_timeout,
            hard_timeout,
            duration: stats.duration.unwrap_or_default(),
            idle_age: stats.idle,
            packet_count: stats.packets,
            byte_count: stats.bytes,
            matching,
        })
    }

    fn read_old(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let cookie = r.u64()?;
        let priority = r.u16()?;
        let reason = r.u8()?;
        let table = TableId(r.u8()?);
        let duration = read_duration(r)?;
        let idle_timeout = r.u16()?;
        let hard_timeout = r.u16()?;
        let packets = r.u64()?;
        let bytes = r.u64()?;
        Ok(Self {
            table,
            priority,
            cookie,
            reason,
            idle_timeout,
            hard_timeout,
            duration,
            idle_age: None,
            packet_count: (packets != u64::MAX).then_some(packets),
            byte_count: (bytes != u64::MAX).then_some(bytes),
            matching: read_match(r)?,
        })
    }

    /// Appends the message, as a switch does.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, FLOW_REMOVED, xid, |w| {
            let TableId(table) = self.table;
            if version == Version::V15 {
                w.u8(table);
                w.u8(self.reason);
                w.u16(self.priority);
                w.u16(self.idle_timeout);
                w.u16(self.hard_timeout);
                w.u64(self.cookie);
                self.matching.as_ref().write(w)?;
                let stats = Oxs {
                    duration: Some(self.duration),
                    idle: self.idle_age,
                    flows: None,
                    packets: self.packet_count,
                    bytes: self.byte_count,
                };
                return stats.write(w);
            }
            w.u64(self.cookie);
            w.u16(self.priority);
            w.u8(self.reason);
            w.u8(table);
            write_duration(w, self.duration);
            w.u16(self.idle_timeout);
            w.u16(self.hard_timeout);
            w.u64(self.packet_count.unwrap_or(u64::MAX));
            w.u64(self.byte_count.unwrap_or(u64::MAX));
            self.matching.as_ref().write(w)
        })
    }
}
