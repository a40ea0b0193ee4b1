//! What flows count, in OpenFlow 1.5's own form: multipart 17, answered on request or sent by a trigger with no more than
//! what has changed.
//!
//! Open vSwitch 3.1 does not speak it: its dumps are multipart 1, and it refuses this type with `OFPBRC_BAD_STAT`.
//!
//! Entry: length u16, pad 2, table u8, reason u8, priority u16, match, statistics (see [`Oxs`]).

use super::entries::{Entry, measured};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::flow::{FlowKeyRef, Oxs};
use crate::matching::{MatchCow, read_match};
use crate::types::{TableId, Version};
use crate::writer::{Pad, Writer};

/// The counters of one flow.
#[derive(Debug, Clone)]
pub struct FlowCounts<'a> {
    /// Its table.
    pub table: TableId,
    /// Why this is told: 0 it was asked for, 1 a trigger.
    pub reason: u8,
    /// Its priority.
    pub priority: u16,
    /// Its match.
    pub matching: MatchCow<'a>,
    /// The statistics as they came, header included: unknown ones, their order and their absence mean something.
    statistics: &'a [u8],
}

impl FlowCounts<'_> {
    /// Whose counters these are.
    pub fn key(&self) -> FlowKeyRef<'_> {
        FlowKeyRef { table: self.table, priority: self.priority, matching: self.matching.as_ref() }
    }

    /// The statistics that are known; a trigger sends only some.
    pub fn statistics(&self) -> Oxs {
        // Read once before, so an error cannot occur.
        Oxs::read(&mut Reader::new(self.statistics, "flow statistics")).unwrap_or_default()
    }
}

impl<'a> Entry<'a> for FlowCounts<'a> {
    const NAME: &'static str = "flow counters";

    fn read(reader: &mut Reader<'a>, _version: Version) -> Result<Self, DecodeError> {
        let mut r = measured(reader, Self::NAME)?;
        r.skip(2)?;
        let (table, reason, priority) = (TableId(r.u8()?), r.u8()?, r.u16()?);
        let matching = read_match(&mut r)?;
        let statistics = r.peek();
        Oxs::read(&mut r)?;
        r.finish()?;
        Ok(Self { table, reason, priority, matching, statistics })
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let start = w.position();
        w.sized(Self::NAME, start, Pad::None, |w| {
            w.zeros(2);
            let TableId(table) = self.table;
            w.u8(table);
            w.u8(self.reason);
            w.u16(self.priority);
            self.matching.as_ref().write(w)?;
            w.bytes(self.statistics);
            Ok(())
        })
    }
}
