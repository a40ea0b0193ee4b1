//! The end of a pass: what was reached becomes the status, and when to look again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Reconciler;
use super::pass::{Pass, Work};
use crate::limits::SETTLE_PAUSE;
use crate::model::{Disorder, EndpointStatus, Phase, Removal, Site, Stage, State, Status};

impl Reconciler {
    /// Publishes the status, if anything changed, and tells when a back-off or a deadline ends.
    pub(super) fn report(&mut self, mut pass: Pass) -> Option<Duration> {
        self.renew_lease(&mut pass);
        let mut status = Status {
            generation: pass.intent.generation,
            faults: self.dated(std::mem::take(&mut pass.faults), pass.now),
            flows: self.tables.counts(),
            ..Status::default()
        };
        self.parts.switches.count_for(owners(&pass));
        let mut next = pass.unsettled.then_some(SETTLE_PAUSE);
        for (id, work) in &pass.works {
            let endpoint = self.endpoint_status(&pass, work);
            let wake = match &endpoint.state {
                State::Failed { retry_at, .. } => Some(retry_at.saturating_sub(pass.now).max(POLL)),
                // What an ADD waits for may be a deadline; everything else has a trigger.
                State::Pending { .. } if work.entry.phase != Phase::Live => Some(POLL),
                _ => None,
            };
            next = [next, wake].into_iter().flatten().min();
            status.endpoints.insert(id.clone(), endpoint);
        }
        for (id, removal) in &pass.intent.removals {
            status.endpoints.insert(id.clone(), self.removal_status(removal, pass.now));
            // The switch's coming back is a trigger.
            if removal.is_unplugged {
                continue;
            }
            let retry = self.leaving.get(id).map_or(POLL, |f| f.retry_at.saturating_sub(pass.now).max(POLL));
            next = Some(next.map_or(retry, |n| n.min(retry)));
        }
        self.publish.send_if_modified(|current| {
            let changed = **current != status;
            if changed {
                *current = Arc::new(status);
            }
            changed
        });
        next
    }

    /// Says of each fault when it began.
    fn dated(&self, faults: BTreeMap<Site, String>, now: Duration) -> BTreeMap<Site, Disorder> {
        let before = self.publish.borrow();
        let dated = |(site, why)| {
            let since = before.faults.get(&site).map_or(now, |known| known.since);
            (site, Disorder { why, since })
        };
        faults.into_iter().map(dated).collect()
    }

    fn removal_status(&self, removal: &Removal, now: Duration) -> EndpointStatus {
        let why = match (&removal.bridge, self.leaving.get(&removal.id)) {
            (_, Some(fault)) => fault.error.to_string(),
            (Some(bridge), None) if removal.is_unplugged => format!("its flows are still on bridge {bridge}"),
            _ => String::new(),
        };
        let before = self.publish.borrow();
        let known = before.endpoints.get(&removal.id);
        let known = known.filter(|was| matches!(was.state, State::Removing { .. }));
        EndpointStatus {
            revision: removal.revision,
            state: State::Removing { why },
            since: known.map_or(now, |was| was.since),
            ifindex: None,
            ofport: None,
            flowed: false,
            attached: None,
            foreign_before: false,
            not_accelerated: Vec::new(),
        }
    }

    fn endpoint_status(&mut self, pass: &Pass, work: &Work) -> EndpointStatus {
        let memory = self.memories.get_mut(work.id());
        let state = match &work.held_up {
            Some(state) => state.clone(),
            None if memory.open && work.flowed => State::Ready,
            None => {
                State::Pending { stage: Stage::Flows, why: "the flows are not on the switch yet".to_owned() }
            }
        };
        let since = match &memory.state {
            Some((before, since)) if *before == state => *since,
            _ => pass.now,
        };
        memory.state = Some((state.clone(), since));
        EndpointStatus {
            revision: work.entry.revision,
            state,
            since,
            ifindex: work.ifindex,
            ofport: work.ofport.map(|p| p.0),
            flowed: work.flowed,
            attached: memory.attached.as_ref().map(|a| a.kind),
            foreign_before: memory.attached.as_ref().is_some_and(|a| a.foreign_before),
            not_accelerated: work.blockers.clone(),
        }
    }

    /// The programs go past OVS only while the agent can still see what would forbid it.
    fn renew_lease(&self, pass: &mut Pass) {
        let accel = &self.parts.config.accel;
        if !accel.enabled || pass.ovs.outage().is_some() {
            return;
        }
        if let Err(error) = self.parts.bpf.extend_lease(accel.lease) {
            pass.faults.insert(Site::Lease, crate::report::chain(&error));
        }
    }
}

/// Whose slots they are: what their flows counted is theirs.
fn owners(pass: &Pass) -> BTreeMap<u32, u32> {
    let endpoints = pass.intent.endpoints.values().map(|entry| entry.slot);
    let leaving = pass.intent.removals.values().filter_map(|removal| removal.slot);
    endpoints.chain(leaving).map(|slot| (slot.index, slot.generation)).collect()
}

/// Facts that have no trigger of their own (deadlines, back-offs) are looked at no more often than this.
const POLL: Duration = Duration::from_millis(100);
