//! `agentctl drops`: counters of both walls, last offenders, and drops as they happen.

use std::sync::Arc;

use agent_api::control::v1 as pb;
use ebpf::abi::{Counters, Offence, Reason};
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

use super::convert::{moment, of_endpoint, reason};
use super::select::Chosen;
use super::{Context, Outlet};
use crate::clock::KernelClock;
use crate::dataplane::flows::{DumpScope, Totals};
use crate::dataplane::ports::Bridge;
use crate::model::{Endpoint, Entry, GuardMode, Intent};
use crate::plan::flows::Block;

/// Frames that OpenFlow rules matched, by slot and kind of their cookie.
#[derive(Debug, Default)]
pub(super) struct OpenFlowCounts(Totals);

impl OpenFlowCounts {
    /// Reads the blocks of all bridges in use. Of a bridge that is away the last numbers are taken.
    pub(super) async fn read(context: &Context) -> Self {
        let block = Block::new(context.config.ovs.table_base);
        let bridges: Vec<String> = context.switches.watch().borrow().keys().cloned().collect();
        for bridge in bridges {
            if let Err(error) = context.switches.dump(&bridge, DumpScope::Owned(block)).await {
                tracing::debug!(%bridge, error = crate::report::chain(&error), "counters not read");
            }
        }
        Self(context.switches.counted())
    }

    /// Frames that came in through the hook and were not dropped.
    pub(super) fn passed(&self, slot: u32) -> u64 {
        let dropped: u64 =
            Reason::ALL.iter().filter(|r| **r != Reason::Allow).map(|r| self.0.of(slot, *r as u8)).sum();
        self.0.of(slot, 0).saturating_sub(dropped)
    }
}

/// How the two walls stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walls {
    /// OpenFlow sees what eBPF let pass: a frame is counted by one of them.
    InARow,
    /// Both see every frame and count it: OVS reads a copy before the program does (userspace datapath), or the program
    /// counts and lets pass (mode observe).
    SideBySide,
}

impl Walls {
    pub(super) fn of(context: &Context, endpoint: &Endpoint) -> Self {
        let ovs = context.ports.watch().borrow().clone();
        let userspace = ovs.bridges.get(&endpoint.bridge).is_some_and(Bridge::is_userspace);
        if userspace || endpoint.guard.mode == GuardMode::Observe { Self::SideBySide } else { Self::InARow }
    }

    /// Frames, each counted once. Where both see them, a wall that was away for a while has missed some.
    fn frames(self, ebpf: u64, openflow: u64) -> u64 {
        match self {
            Self::InARow => ebpf.saturating_add(openflow),
            Self::SideBySide => ebpf.max(openflow),
        }
    }

    /// All frames of an endpoint: eBPF has reasons that OVS has not, so it is the sums that are compared.
    pub(super) fn total(self, reasons: &[pb::ReasonCount]) -> u64 {
        let sum = |of: fn(&pb::ReasonCount) -> u64| reasons.iter().map(of).fold(0, u64::saturating_add);
        self.frames(sum(|count| count.ebpf), sum(|count| count.openflow))
    }
}

/// The reasons that occurred at either wall.
pub(super) fn reasons(
    counters: &Counters,
    slot: u32,
    openflow: &OpenFlowCounts,
    walls: Walls,
) -> Vec<pb::ReasonCount> {
    let count = |r: &Reason| {
        let (ebpf, openflow) = (counters.dropped(*r), openflow.0.of(slot, *r as u8));
        pb::ReasonCount {
            reason: reason(*r as u8).into(),
            ebpf,
            openflow,
            frames: walls.frames(ebpf, openflow),
        }
    };
    let all = Reason::ALL.iter().filter(|r| **r != Reason::Allow).map(count);
    all.filter(|count| count.frames > 0).collect()
}

/// The counters of all chosen endpoints, then what happens.
pub(super) async fn produce(
    context: Context,
    chosen: Chosen,
    watch: bool,
    out: Outlet<pb::DropsReply>,
) -> Result<(), Status> {
    // Subscribed before the counters are read: nothing falls between.
    let mut live = context.drops.subscribe();
    let intent = context.store.intent();
    let counts = OpenFlowCounts::read(&context).await;
    let entries = intent.endpoints.values().filter(|e| chosen.contains(&e.endpoint.id));
    let describe =
        |e: &Arc<Entry>| (e.slot.index, Some(of_endpoint(&e.endpoint)), Walls::of(&context, &e.endpoint));
    let mut slots: Vec<_> = entries.map(describe).collect();
    if chosen.is_all() {
        slots.push((0, None, Walls::InARow));
    }
    for (slot, endpoint, walls) in slots {
        let counters = context.bpf.counters(slot).map_err(|e| Status::internal(crate::report::chain(&e)))?;
        let last = context.bpf.last(slot).ok().flatten();
        let reasons = reasons(&counters, slot, &counts, walls);
        if endpoint.is_none() && reasons.is_empty() {
            continue;
        }
        let item = pb::EndpointDrops { endpoint, reasons, last: last.map(|o| event(&intent, &o)), slot };
        out.send(pb::DropsReply { item: Some(pb::drops_reply::Item::Counters(item)) }).await?;
    }
    if !watch {
        return Ok(());
    }
    loop {
        let received = tokio::select! {
            received = live.recv() => received,
            () = out.closed() => return Ok(()),
        };
        let item = match received {
            Ok(offence) => {
                let intent = context.store.intent();
                let known = owner(&intent, &offence);
                if !known.is_some_and(|e| chosen.contains(&e.endpoint.id)) && !chosen.is_all() {
                    continue;
                }
                pb::drops_reply::Item::Event(event(&intent, &offence))
            }
            Err(RecvError::Lagged(lost)) => pb::drops_reply::Item::Lost(lost),
            Err(RecvError::Closed) => return Ok(()),
        };
        out.send(pb::DropsReply { item: Some(item) }).await?;
    }
}

fn owner<'a>(intent: &'a Intent, offence: &Offence) -> Option<&'a Entry> {
    let entries = intent.endpoints.values().map(AsRef::as_ref);
    entries.into_iter().find(|e| e.slot.index == offence.slot && e.slot.generation == offence.generation)
}

fn event(intent: &Intent, offence: &Offence) -> pb::DropEvent {
    pb::DropEvent {
        endpoint: owner(intent, offence).map(|e| of_endpoint(&e.endpoint)),
        reason: reason(offence.reason).into(),
        at_unix_ns: moment(Some(KernelClock::new().boottime(offence.at_ns))),
        vlan: (offence.vlan_proto != 0).then(|| u32::from(offence.vlan_tci)),
        length: offence.len,
        head: offence.head().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_both_walls_see_is_counted_once() {
        assert_eq!(Walls::InARow.frames(7, 3), 10);
        assert_eq!(Walls::SideBySide.frames(10, 10), 10);
        let count = |ebpf, openflow| pb::ReasonCount { ebpf, openflow, ..pb::ReasonCount::default() };
        let short_at_one_wall_is_arp_at_the_other = [count(5, 0), count(0, 5)];
        assert_eq!(Walls::SideBySide.total(&short_at_one_wall_is_arp_at_the_other), 5);
        assert_eq!(Walls::InARow.total(&[count(5, 0), count(2, 1)]), 8);
    }
}
