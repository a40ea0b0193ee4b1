//! What is looked at: the facts of OVSDB, of the switches and of the reconciler, as far as they make events.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::Uuid;
use tokio::sync::watch;

use crate::dataplane::flows::{Connection, Connections};
use crate::dataplane::ports::Ovs;
use crate::model::{EndpointId, Phase, Status};
use crate::report::chain;
use crate::store::StoreHandle;

/// Where it is seen.
#[derive(Clone)]
pub struct Sources {
    pub ovs: watch::Receiver<Arc<Ovs>>,
    pub switches: watch::Receiver<Connections>,
    pub status: watch::Receiver<Arc<Status>>,
    pub store: StoreHandle,
}

/// One look.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) database: Result<(), String>,
    /// Whether each bridge that endpoints live on exists.
    pub(super) bridges: BTreeMap<String, bool>,
    /// The connection to each bridge in use: its number, or why there is none.
    pub(super) switches: BTreeMap<String, Result<u64, String>>,
    /// Of each endpoint that the runtime has been told of.
    pub(super) ports: BTreeMap<EndpointId, Station>,
    /// Flows that were mended on each bridge, ever.
    pub(super) mended: BTreeMap<String, u64>,
}

/// An endpoint and its port.
#[derive(Clone, Debug)]
pub(super) struct Station {
    pub(super) title: String,
    pub(super) bridge: String,
    pub(super) port: String,
    /// Its row in OVSDB, while it has one.
    pub(super) row: Option<Uuid>,
}

impl Sources {
    /// Waits until there is something new to see; `false` at the end of the agent.
    pub(super) async fn changed(&mut self) -> bool {
        let changed = tokio::select! {
            changed = self.ovs.changed() => changed,
            changed = self.switches.changed() => changed,
            changed = self.status.changed() => changed,
        };
        changed.is_ok()
    }

    pub(super) fn sight(&mut self) -> Sight {
        let ovs = Arc::clone(&self.ovs.borrow_and_update());
        let status = Arc::clone(&self.status.borrow_and_update());
        let switches = Arc::clone(&self.switches.borrow_and_update());
        let mut ports = BTreeMap::new();
        let mut bridges = BTreeMap::new();
        // Before the first picture of the database the absence of a port says nothing.
        let intent = self.store.intent();
        let known = intent.endpoints.iter().filter(|(_, e)| ovs.is_synced && e.phase == Phase::Live);
        for (id, entry) in known {
            let endpoint = &entry.endpoint;
            let port = endpoint.host_ifname();
            let row = ovs.ports.get(&port).map(|port| port.uuid);
            let station = Station { title: endpoint.title(), bridge: endpoint.bridge.clone(), port, row };
            ports.insert(id.clone(), station);
            bridges.insert(endpoint.bridge.clone(), ovs.bridges.contains_key(&endpoint.bridge));
        }
        let in_use = switches.iter().filter(|(bridge, _)| ovs.bridges.contains_key(*bridge));
        let connection = |connection: &Connection| match connection {
            Connection::Connected { epoch, .. } => Ok(*epoch),
            Connection::Down { error, .. } => Err(chain(error)),
        };
        Sight {
            database: ovs.outage().map_or(Ok(()), |why| Err(why.to_owned())),
            switches: in_use.map(|(bridge, state)| (bridge.clone(), connection(state))).collect(),
            mended: status.flows.iter().map(|(bridge, table)| (bridge.clone(), table.mended)).collect(),
            bridges,
            ports,
        }
    }
}
