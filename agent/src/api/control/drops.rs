//! `agentctl drops`: counters of both walls, last offenders, and drops as they happen.

use std::collections::BTreeMap;

use agent_api::control::v1 as pb;
use ebpf::abi::{Counters, Offence, Reason};
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

use super::convert::{moment, of_endpoint, reason};
use super::select::Chosen;
use super::{Context, Outlet};
use crate::clock::KernelClock;
use crate::dataplane::flows::DumpScope;
use crate::model::Intent;
use crate::plan::flows::{Block, Cookie};

/// Frames that OpenFlow rules matched, by slot and kind of their cookie.
#[derive(Debug, Default)]
pub(super) struct OpenFlowCounts(BTreeMap<(u32, u8), u64>);

impl OpenFlowCounts {
    /// Reads the blocks of all bridges in use. A bridge that is away counts as nothing.
    pub(super) async fn read(context: &Context) -> Self {
        let block = Block::new(context.config.ovs.table_base);
        let bridges: Vec<String> = context.switches.watch().borrow().keys().cloned().collect();
        let mut counts = Self::default();
        for bridge in bridges {
            let Ok(dump) = context.switches.dump(&bridge, DumpScope::Owned(block)).await else { continue };
            for entry in dump.flows {
                if let Some(cookie) = Cookie::parse(entry.flow.cookie) {
                    *counts.0.entry((cookie.slot, cookie.kind)).or_default() +=
                        entry.packet_count.unwrap_or_default();
                }
            }
        }
        counts
    }

    fn of(&self, slot: u32, kind: u8) -> u64 {
        self.0.get(&(slot, kind)).copied().unwrap_or_default()
    }

    /// Frames that came in through the hook and were not dropped.
    pub(super) fn passed(&self, slot: u32) -> u64 {
        let dropped: u64 =
            Reason::ALL.iter().filter(|r| **r != Reason::Allow).map(|r| self.of(slot, *r as u8)).sum();
        self.of(slot, 0).saturating_sub(dropped)
    }
}

/// The reasons that occurred at either wall.
pub(super) fn reasons(counters: &Counters, slot: u32, openflow: &OpenFlowCounts) -> Vec<pb::ReasonCount> {
    let all = Reason::ALL.iter().filter(|r| **r != Reason::Allow).map(|r| pb::ReasonCount {
        reason: reason(*r as u8).into(),
        ebpf: counters.dropped(*r),
        openflow: openflow.of(slot, *r as u8),
    });
    all.filter(|count| count.ebpf + count.openflow > 0).collect()
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
    let mut slots: Vec<_> = entries.map(|e| (e.slot.index, Some(of_endpoint(&e.endpoint)))).collect();
    if chosen.is_all() {
        slots.push((0, None));
    }
    for (slot, endpoint) in slots {
        let counters = context.bpf.counters(slot).map_err(|e| Status::internal(crate::report::chain(&e)))?;
        let last = context.bpf.last(slot).ok().flatten();
        let reasons = reasons(&counters, slot, &counts);
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

fn owner<'a>(intent: &'a Intent, offence: &Offence) -> Option<&'a crate::model::Entry> {
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
