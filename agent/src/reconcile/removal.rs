//! Taking endpoints away, in reverse order: by the time this runs in a pass, the map entries and flows are gone.
//!
//! A removal needs nothing but the id: it works after the pod's namespace, the bridge or the ledger is gone.

use futures::StreamExt as _;

use super::pass::Pass;
use super::{Reconciler, database};
use crate::limits::LINK_CONCURRENCY;
use crate::model::Removal;
use crate::report::chain;

impl Reconciler {
    pub(super) async fn removals(&mut self, pass: &mut Pass) {
        let removals: Vec<_> = pass.intent.removals.values().cloned().collect();
        if removals.is_empty() {
            return;
        }
        let this = &*self;
        let snapshot = &*pass;
        let done: Vec<_> = futures::stream::iter(removals)
            .map(|removal| async move { (this.remove(snapshot, &removal).await, removal) })
            .buffer_unordered(LINK_CONCURRENCY)
            .collect()
            .await;
        self.sweep_programs(pass);
        for (outcome, removal) in done {
            match outcome {
                Ok(()) => {
                    tracing::info!(endpoint = %removal.id, "endpoint removed");
                    self.parts.store.gone(removal.id, removal.revision).await;
                }
                Err(why) => {
                    tracing::warn!(endpoint = %removal.id, %why, "endpoint not removed yet");
                    pass.faults.insert(format!("removal of {}", removal.id), why);
                }
            }
        }
    }

    /// Takes programs off interfaces that are nobody's, most of which are gone with their pods.
    fn sweep_programs(&self, pass: &mut Pass) {
        let ours = |ifindex: &u32| {
            pass.works.values().any(|w| w.ifindex == Some(*ifindex)) || self.maps.is_uplink(*ifindex)
        };
        let stale = match self.parts.bpf.attached() {
            Ok(attached) => attached.into_iter().filter(|i| !ours(i)).collect::<Vec<_>>(),
            Err(error) => {
                pass.faults.insert("bpf".to_owned(), chain(&error));
                return;
            }
        };
        for ifindex in stale {
            if let Err(error) = self.parts.bpf.detach(ifindex, "") {
                pass.faults.insert("bpf".to_owned(), chain(&error));
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
