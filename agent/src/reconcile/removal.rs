//! Taking endpoints away, in reverse order: by the time this runs in a pass, the map entries and flows are gone.
//!
//! A removal needs nothing but the id: it works after the pod's namespace, the bridge or the ledger is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;

use super::memory::Fault;
use super::pass::Pass;
use super::{Reconciler, database};
use crate::limits::LINK_CONCURRENCY;
use crate::model::{EndpointId, Removal, Site, Stage, StageError};
use crate::report::chain;

impl Reconciler {
    /// The first thing of all: host ends of endpoints on their way out go down, and so do those that bear our mark and
    /// that nobody remembers. On the userspace datapath the flows are the only wall, and they are about to go.
    pub(super) async fn close(&mut self, pass: &mut Pass) {
        let forgotten = |alias: &str| {
            EndpointId::from_alias(alias).is_some_and(|id| !pass.intent.endpoints.contains_key(&id))
        };
        let up = pass.veths.iter().filter(|(_, v)| v.is_up && v.alias.as_deref().is_some_and(forgotten));
        for name in up.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            if let Err(error) = self.parts.links.set_host_up(&name, false).await {
                pass.faults.insert(Site::HostVeth(name.clone()), chain(&error));
            }
        }
    }

    pub(super) async fn removals(&mut self, pass: &mut Pass) {
        let removals: Vec<_> = pass.intent.removals.values().cloned().collect();
        self.leaving.retain(|id, _| pass.intent.removals.contains_key(id));
        let (unplugged, plugged): (Vec<_>, Vec<_>) = removals.into_iter().partition(|r| r.is_unplugged);
        for removal in unplugged {
            self.finish(pass, removal).await;
        }
        let due = due(plugged, &self.leaving, pass.now);
        let strays = std::mem::take(&mut self.strays);
        if due.is_empty() && strays.is_empty() {
            return;
        }
        let this = &*self;
        let snapshot = &*pass;
        let done: Vec<_> = futures::stream::iter(due)
            .map(|removal| async move { (this.remove(snapshot, &removal).await, removal) })
            .buffer_unordered(LINK_CONCURRENCY)
            .collect()
            .await;
        self.sweep_programs(pass).await;
        for (outcome, removal) in done {
            match outcome {
                Ok(()) => {
                    self.leaving.remove(&removal.id);
                    self.finish(pass, removal).await;
                }
                Err(why) => self.stays(pass, removal.id, why),
            }
        }
    }

    /// Closes a removal whose port and veth are gone. While its flows may still be on the switch, the ledger remembers
    /// where: if it was the last endpoint of the bridge, nothing else would send a restarted agent there.
    async fn finish(&self, pass: &Pass, removal: Removal) {
        let Removal { id, bridge, slot, revision, is_unplugged } = removal;
        let left = bridge.filter(|bridge| {
            let is_there = pass.ovs.bridges.contains_key(bridge) && pass.unanswered.contains(bridge);
            is_there && slot.is_some_and(|slot| self.tables.may_hold(bridge, slot.index))
        });
        let Some(bridge) = left else {
            tracing::info!(endpoint = %id, "endpoint removed");
            return self.parts.store.gone(id, revision).await;
        };
        if !is_unplugged {
            tracing::warn!(endpoint = %id, %bridge, "removed but for its flows: the switch does not answer");
            self.parts.store.unplugged(id, revision).await;
        }
    }

    /// Books a removal that failed: it is tried again later, ever less often.
    fn stays(&mut self, pass: &Pass, id: EndpointId, why: String) {
        let before = self.leaving.get(&id);
        if before.is_none_or(|f| f.error.to_string() != why) {
            tracing::warn!(endpoint = %id, %why, "endpoint not removed yet");
        }
        let fault = Fault::again(before, Stage::Links, StageError::Other(why), pass.now);
        self.leaving.insert(id, fault);
    }

    /// Forgets the pins of programs whose interface is gone; a program on one that is still there stays and drops.
    async fn sweep_programs(&self, pass: &mut Pass) {
        let (attached, veths) = match (self.parts.bpf.attached(), self.parts.links.observe().await) {
            (Ok(attached), Ok(veths)) => (attached, veths),
            (Err(error), _) => return drop(pass.faults.insert(Site::Bpf, chain(&error))),
            (_, Err(error)) => return drop(pass.faults.insert(Site::Links, chain(&error))),
        };
        let here = |i: u32| veths.values().any(|v| v.index.0 == i) || self.maps.may_be_uplink(i);
        for ifindex in attached.into_iter().filter(|i| !here(*i)) {
            if let Err(error) = self.parts.bpf.detach(ifindex) {
                pass.faults.insert(Site::Bpf, chain(&error));
            }
        }
    }

    /// Removes port and veth; both are tried, and what failed is told together.
    async fn remove(&self, pass: &Pass, removal: &Removal) -> Result<(), String> {
        let name = removal.id.host_ifname();
        let mut failures = Vec::new();
        let mut names = database::of_attachment(&pass.ovs, &removal.id.container, &removal.id.ifname);
        if !names.contains(&name) {
            names.push(name.clone());
        }
        for port in names {
            if let Err(error) = self.parts.ports.remove_port(&port).await {
                failures.push(chain(&error));
            }
        }
        if let Err(error) = self.parts.links.delete_veth(&name, &removal.id.alias()).await {
            failures.push(chain(&error));
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    }
}

/// Those that never failed, or whose wait is over.
pub(super) fn due(
    removals: Vec<Removal>,
    leaving: &BTreeMap<EndpointId, Fault>,
    now: Duration,
) -> Vec<Removal> {
    removals.into_iter().filter(|r| leaving.get(&r.id).is_none_or(|f| now >= f.retry_at)).collect()
}
