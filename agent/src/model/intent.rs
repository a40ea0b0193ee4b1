//! The intent: what should be there. The store is its only writer; everybody else reads snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Endpoint, EndpointId};

/// Counts changes of the intent. A status that carries a generation has seen everything up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Generation(pub u64);

impl Generation {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A small number that stands for an endpoint in flow cookies and eBPF maps; 0 belongs to the shared flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    pub index: u32,
    /// Tells two owners of one index apart.
    pub generation: u32,
}

/// How far the call that asked for an endpoint has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// IPAM has not answered yet: the port is plumbed, the pod gets no address and the gate stays closed.
    Plumbing,
    /// Addresses are known: probe, address, open the gate.
    Adding,
    /// The runtime has its result. The agent never closes this gate by itself.
    Live,
}

/// One endpoint that should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub endpoint: Endpoint,
    pub slot: Slot,
    pub phase: Phase,
    /// The generation that made this entry: names one attachment, while the id may be used again.
    pub created: Generation,
    /// The generation that last changed this entry.
    pub revision: Generation,
    pub ipam: Option<Ipam>,
    /// Digest of the request, to tell a repeated ADD from a changed one.
    pub request: u64,
    /// When the ADD was asked for, on the boot clock: an older DEL does not mean this entry. Zero if that is not known.
    pub asked_at: Duration,
    /// The ledger had lost this entry, and it was put together again: what could not be found, one phrase each.
    pub rebuilt: Option<Vec<String>>,
}

/// A living endpoint that the ledger has lost, put together again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    pub endpoint: Endpoint,
    /// The slot that its flows and counters have.
    pub slot: Option<Slot>,
    /// What could not be found again, one phrase each.
    pub lacking: Vec<String>,
}

/// What the agent must remember of the IPAM plugin to give an address back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipam {
    pub plugin: String,
    /// `CNI_PATH` of the call.
    pub path: String,
    /// `CNI_ARGS` of the call.
    pub args: String,
    /// The configuration that the plugin was given.
    pub stdin: String,
    /// What the plugin answered to ADD, as a CNI result; `None` before.
    pub result: Option<String>,
    pub state: IpamState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpamState {
    /// The plugin was asked or has answered: an address may be reserved. Among the debts: its ADD is still under way,
    /// and settles it when it ends.
    Held,
    /// The pod is gone and nobody has told the plugin: the agent has to.
    Owed,
}

/// One endpoint that should be gone, until the reconciler has seen that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    pub id: EndpointId,
    /// The bridge where it was, when that is known.
    pub bridge: Option<String>,
    pub slot: Option<Slot>,
    pub revision: Generation,
    /// Port and veth are gone. What is left are flows on a switch that does not answer.
    pub is_unplugged: bool,
}

/// A snapshot of everything that should, and should no longer, be there.
#[derive(Clone, Debug, Default)]
pub struct Intent {
    pub generation: Generation,
    pub endpoints: BTreeMap<EndpointId, Arc<Entry>>,
    pub removals: BTreeMap<EndpointId, Removal>,
    /// Addresses that the agent itself has to give back, or may have to.
    pub debts: BTreeMap<EndpointId, Ipam>,
    /// Debts that could not be paid the last time, and why. While one is here nobody is paying it, and a new ADD of its
    /// attachment ends it.
    pub unpaid: BTreeMap<EndpointId, String>,
    /// Files of the ledger that cannot be read, by name.
    pub unreadable: BTreeSet<String>,
}

impl Intent {
    /// Whether a new attachment can have this name: nothing is left of a former one, and nobody is about to give an
    /// address back in its name.
    pub fn is_free(&self, id: &EndpointId) -> bool {
        let pays = self.debts.contains_key(id) && !self.unpaid.contains_key(id);
        !self.removals.contains_key(id) && !pays
    }
}
