//! The flow monitor: the switch tells when somebody else changes what the guard depends on.
//!
//! OpenFlow 1.5's own monitor (7.3.5.18), which OVS has since 2.16. Changes of this very connection come as a bare
//! transaction id (`ABBREV`) and count as nothing; everything else in the block, and in table 0 what bears our mark or
//! stands at the hook's priority or above, is a disturbance. Other flows of table 0 are other people's business, which
//! only acceleration has to know of: news of them can wait and be told together.
//!
//! Must not keep or interpret the flows: a disturbance says "read back", and a switch that pauses the monitor because
//! the agent reads too slowly says the same.

use openflow::message::monitor::{FlowUpdate, FlowUpdates, MonitorFlags, MonitorRequest};
use openflow::message::multipart::MultipartRequest;
use openflow::{DecodeError, TableId};

use super::wire::Outbox;
use crate::plan::flows::{Block, Cookie};

/// What somebody else changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum News {
    /// Nothing of interest.
    None,
    /// Flows of their own in table 0.
    Foreign,
    /// What the guard depends on.
    Guard,
}

/// A flow monitor under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Monitor {
    first_xid: u32,
    xids: u32,
    block: Block,
}

impl Monitor {
    /// Asks the switch to tell of changes in table 0 and every table of the block.
    pub(super) fn begin(first_xid: u32, block: Block, out: &mut Outbox) -> Self {
        let mut xids = 0;
        for table in std::iter::once(Block::HOOK).chain(block.tables()) {
            // Neither what is there already nor instructions: whoever is told reads back anyway.
            let flags = MonitorFlags::ADD | MonitorFlags::REMOVED | MonitorFlags::MODIFY;
            let request = MonitorRequest { flags, ..MonitorRequest::watch(xids, table) };
            out.multipart(first_xid + xids, &MultipartRequest::FlowMonitor(request));
            xids += 1;
        }
        Self { first_xid, xids, block }
    }

    /// How many transaction ids its requests took.
    pub(super) fn xids(self) -> u32 {
        self.xids
    }

    /// Whether a transaction id is one of its requests'.
    pub(super) fn has_xid(self, xid: u32) -> bool {
        (self.first_xid..self.first_xid + self.xids).contains(&xid)
    }

    /// What updates concern: the most urgent of them.
    pub(super) fn news(self, updates: FlowUpdates<'_>) -> Result<News, DecodeError> {
        updates.map(|update| Ok(self.one(update?))).try_fold(News::None, |most, one| Ok(most.max(one?)))
    }

    fn one(self, update: FlowUpdate<'_>) -> News {
        match update {
            FlowUpdate::Full(flow) => self.concern(flow.table, flow.priority, flow.cookie),
            FlowUpdate::Abbrev { .. } => News::None,
            FlowUpdate::Paused | FlowUpdate::Resumed => News::Guard,
        }
    }

    fn concern(self, table: TableId, priority: u16, cookie: u64) -> News {
        let at_the_hook = priority >= Block::HOOK_PRIORITY || Cookie::parse(cookie).is_some();
        match table {
            Block::HOOK if !at_the_hook => News::Foreign,
            Block::HOOK => News::Guard,
            table if self.block.contains(table) => News::Guard,
            _ => News::None,
        }
    }
}
