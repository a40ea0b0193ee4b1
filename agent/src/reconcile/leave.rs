//! Leaving the node for good: the guard comes off, pods stay connected.
//!
//! Flows go first: without them frames take `NORMAL`, as on any bridge, and the programs still judge what they judged.
//! A program without its map entry drops, so the programs go before the maps, and none is hung any more by then. Veths,
//! ports and the ledger stay: they are the pods', and an agent that is installed again guards them again.

use super::{Reconciler, flows};
use crate::dataplane::flows::{DumpScope, FlowChanges};
use crate::report::chain;

impl Reconciler {
    /// Gives what went wrong; whatever could be removed is.
    pub(super) async fn leave(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.is_ours {
            return vec!["without the OVSDB lock nothing is touched".to_owned()];
        }
        let is_quiet = self.parts.hooks.end().await;
        let bridges: Vec<String> = self.parts.switches.watch().borrow().keys().cloned().collect();
        for bridge in bridges {
            match self.remove_flows(&bridge).await {
                Ok(removed) => tracing::info!(%bridge, removed, "guard's flows removed for good"),
                Err(why) => faults.push(format!("flows of bridge {bridge}: {why}")),
            }
        }
        match (faults.is_empty(), is_quiet) {
            (true, true) => faults.extend(self.remove_programs()),
            (true, false) => faults.push("programs stay, since some are still being hung".to_owned()),
            (false, _) => faults.push("programs stay, since flows do".to_owned()),
        }
        faults
    }

    async fn remove_flows(&self, bridge: &str) -> Result<usize, String> {
        let block = self.tables.block;
        let (switches, scope) = (&self.parts.switches, DumpScope::Guard(block));
        let dump = switches.dump(bridge, scope).await.map_err(|e| chain(&e))?;
        let ours = dump.flows.into_iter().filter(|e| block.owns(&e.flow.key(), e.flow.cookie));
        let mut remove: Vec<_> = ours.map(|e| e.flow.key()).collect();
        // The hooks in table 0 first: a frame that enters a block with half its rules gone would be dropped.
        remove.sort_by_key(|key| key.table);
        let changes = FlowChanges { add: Vec::new(), remove };
        let applied = switches.apply(bridge, dump.epoch, changes).await.map_err(|e| chain(&e))?;
        match applied.refused.first() {
            Some((key, error)) => {
                Err(format!("the switch refused to remove {}: {error}", flows::in_words(key)))
            }
            None => Ok(applied.written),
        }
    }

    fn remove_programs(&self) -> Vec<String> {
        let bpf = &self.parts.bpf;
        let veths = self.parts.veths.borrow().clone();
        let attached = match bpf.attached() {
            Ok(attached) => attached,
            Err(error) => return vec![chain(&error)],
        };
        let mut faults = Vec::new();
        for ifindex in attached {
            let veth = veths.iter().find(|(_, veth)| veth.index.0 == ifindex).map(|(name, _)| name.as_str());
            let name = veth.or_else(|| self.maps.uplink(ifindex)).unwrap_or_default();
            if let Err(error) = bpf.detach(ifindex) {
                faults.push(format!("programs of {name} ({ifindex}): {}", chain(&error)));
            }
        }
        if faults.is_empty()
            && let Err(error) = bpf.remove_pins()
        {
            faults.push(chain(&error));
        }
        faults
    }
}
