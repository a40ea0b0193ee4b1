//! Once, before the first pass does anything: living pods that the ledger has lost are taken in again.
//!
//! A host end that bears our mark, whose port is in OVSDB and that nobody has in the ledger (its file was deleted, or
//! cannot be read) is a pod that works, and stays one. What cannot be taken in is set down by the pass that follows,
//! as everything of which nobody knows what it may send.

use super::pass::Pass;
use super::{Reconciler, database};
use crate::model::{EndpointId, Rebuilt};
use crate::plan::bpf::Tables;
use crate::plan::rebuild::{Defaults, Remains, pinned, rebuild};
use crate::report::chain;

impl Reconciler {
    /// Takes in what was lost. Tells whether the intent has changed by it.
    pub(super) async fn adopt(&mut self, pass: &Pass) -> bool {
        if self.adopted || pass.ovs.outage().is_some() {
            return false;
        }
        // Only once: later a host end without an entry is one whose removal the link monitor has not told of yet.
        self.adopted = true;
        let found = self.lost(pass);
        if found.is_empty() {
            return false;
        }
        match self.parts.store.adopt(found).await {
            Ok(adopted) => !adopted.is_empty(),
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "endpoints that the ledger lost cannot be written down"
                );
                true
            }
        }
    }

    /// The living endpoints that nobody has written down.
    fn lost(&self, pass: &Pass) -> Vec<Rebuilt> {
        let marked = pass.veths.iter().filter_map(|(name, veth)| {
            let id = EndpointId::from_alias(veth.alias.as_deref()?)?;
            let known = pass.intent.endpoints.contains_key(&id) || pass.intent.removals.contains_key(&id);
            (!known && *name == id.host_ifname()).then_some((id, veth))
        });
        let marked: Vec<_> = marked.collect();
        if marked.is_empty() {
            return Vec::new();
        }
        let tables = self.parts.bpf.read().unwrap_or_else(|error| {
            tracing::warn!(
                error = chain(&error),
                "the maps cannot be read: what was lost is known from OVSDB alone"
            );
            Tables::default()
        });
        let config = &self.parts.config;
        let defaults = Defaults {
            conflict: config.conflict.policy,
            conflict_timing: config.conflict.timing,
            gateway: config.gateway.policy,
        };
        let mut found = Vec::new();
        for (id, veth) in marked {
            let name = id.host_ifname();
            let Some(port) = pass.ovs.ports.get(&name) else {
                tracing::warn!(endpoint = %id, host_ifname = name, "lost: no ledger record and no port in OVSDB");
                continue;
            };
            let remains = Remains {
                id: id.clone(),
                mtu: veth.mtu,
                is_up: veth.is_up,
                bridge: &port.bridge,
                vlan: database::vlan(port),
                ofport_request: port.interface().and_then(|i| i.ofport_request?.try_into().ok()),
                external_ids: &port.external_ids,
                pinned: pinned(&tables, veth.index.0),
            };
            match rebuild(remains, &self.parts.boot_id, defaults) {
                Ok(rebuilt) => {
                    let lacking = rebuilt.lacking.join("; ");
                    tracing::warn!(endpoint = %id, lacking, "no ledger record: rebuilt from its port and programs");
                    found.push(rebuilt);
                }
                Err(why) => {
                    tracing::error!(endpoint = %id, host_ifname = name, %why, "no ledger record, and not rebuilt");
                }
            }
        }
        found
    }
}
