//! The reconciler: the only writer of the data plane.
//!
//! Level-triggered: a trigger only says "look again". A pass reads the intent and the facts, computes what should
//! be there, writes the difference and publishes a [`Status`]. A restart and steady state run the same code.
//!
//! ```text
//! links → bpf → ports → flows → gate          (an endpoint takes part in a stage when its inputs are known)
//! removal: gate and map entries → flows → port → programs → veth
//! ```
//!
//! A stage sends and confirms delivery; it never waits for a fact. Port numbers, link states and probe outcomes
//! arrive as facts and trigger the next pass. Errors belong to endpoints, each with a back-off of its own; a lost
//! connection leaves endpoints pending. A failing stage never closes an open gate.

mod adopt;
mod bpf;
mod database;
mod flows;
mod gate;
mod leave;
mod links;
mod maps;
mod members;
mod memory;
mod pass;
mod ports;
mod removal;
mod report;
#[cfg(test)]
mod tests;
mod uplinks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::dataplane::bpf::Bpf;
use crate::dataplane::flows::Switches;
use crate::dataplane::hooks::{Hooks, Outcome};
use crate::dataplane::links::{HostVeths, Links};
use crate::dataplane::netns::Netns;
use crate::dataplane::ports::{Ovs, PortsHandle};
use crate::limits::{HEARTBEAT, HOLD_QUEUE};
use crate::model::{EndpointId, Generation, Intent, Outcomes, Stations, Status};
use crate::store::StoreHandle;

use memory::Memories;

pub(crate) use database::uplinks;

/// A namespace handed over for an attachment.
type Hold = (EndpointId, Generation, Netns);

/// A request to leave for good; what went wrong is answered.
type Leave = oneshot::Sender<Vec<String>>;

/// The door to the reconciler.
#[derive(Clone)]
pub struct ReconcileHandle {
    holds: mpsc::Sender<Hold>,
    leaves: mpsc::Sender<Leave>,
    status: watch::Receiver<Arc<Status>>,
}

impl ReconcileHandle {
    /// Gives the reconciler the namespace in which an attachment's interface is to be made.
    pub async fn hold(&self, id: EndpointId, created: Generation, netns: Netns) {
        if self.holds.send((id, created, netns)).await.is_err() {
            tracing::debug!("the reconciler has ended");
        }
    }

    /// Takes the guard off for good: flows first, then programs; pods stay connected. No pass follows. Gives what went
    /// wrong.
    pub async fn leave(&self) -> Vec<String> {
        let (done, left) = oneshot::channel();
        let gone = || vec!["the reconciler has ended".to_owned()];
        if self.leaves.send(done).await.is_err() {
            return gone();
        }
        left.await.unwrap_or_else(|_| gone())
    }

    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    pub fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }
}

/// Everything that the reconciler reads and writes.
pub struct Parts {
    pub config: Arc<Config>,
    pub boot_id: String,
    pub store: StoreHandle,
    pub links: Links,
    pub veths: watch::Receiver<Arc<HostVeths>>,
    pub bpf: Arc<Bpf>,
    pub hooks: Hooks,
    pub ports: PortsHandle,
    pub switches: Switches,
    pub outcomes: watch::Receiver<Arc<Outcomes>>,
    pub stations: watch::Sender<Arc<Stations>>,
    /// CLOCK_BOOTTIME.
    pub clock: fn() -> Duration,
}

/// The task's state: its doors, and what it remembers from pass to pass.
pub struct Reconciler {
    parts: Parts,
    holds: mpsc::Receiver<Hold>,
    leaves: mpsc::Receiver<Leave>,
    publish: watch::Sender<Arc<Status>>,
    intent: watch::Receiver<Arc<Intent>>,
    ovs: watch::Receiver<Arc<Ovs>>,
    memories: Memories,
    maps: bpf::Maps,
    tables: flows::Tables,
    uplinks: uplinks::Uplinks,
    /// What came of orders to hang programs, for the next pass.
    hung: Vec<Outcome>,
    /// When programs were last hung for good.
    settled_at: Duration,
    /// Removals that failed, and when they are tried again.
    leaving: BTreeMap<EndpointId, memory::Fault>,
    swept: bool,
    /// Interfaces on which programs were hung although their endpoint had left: the next sweep looks for their pins.
    strays: BTreeSet<u32>,
    /// What the ledger had lost was looked for.
    adopted: bool,
    /// The OVSDB lock was held when the database was last in reach.
    is_ours: bool,
}

impl Reconciler {
    pub fn new(parts: Parts) -> (Self, ReconcileHandle) {
        let (holds, held) = mpsc::channel(HOLD_QUEUE);
        // Asked once, at the end.
        let (leaves, leaving) = mpsc::channel(1);
        let (publish, status) = watch::channel(Arc::default());
        let reconciler = Self {
            holds: held,
            leaves: leaving,
            publish,
            intent: parts.store.watch(),
            ovs: parts.ports.watch(),
            memories: Memories::default(),
            maps: bpf::Maps::default(),
            tables: flows::Tables::new(parts.config.ovs.table_base),
            uplinks: uplinks::Uplinks::default(),
            hung: Vec::new(),
            settled_at: Duration::ZERO,
            leaving: BTreeMap::new(),
            swept: false,
            strays: BTreeSet::new(),
            adopted: false,
            is_ours: false,
            parts,
        };
        (reconciler, ReconcileHandle { holds, leaves, status })
    }

    /// Passes until `stop`. Every arm of the `select!` is cancel-safe: nothing is taken from a channel and then lost.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut connections = self.parts.switches.watch();
        let mut disturbed = self.parts.switches.disturbed();
        let mut lease = tokio::time::interval(self.parts.config.accel.renew);
        let mut asked_to_leave: Option<Leave> = None;
        loop {
            self.take();
            if let Some(done) = asked_to_leave.take() {
                // Who asked may have lost patience.
                done.send(self.leave().await).ok();
                return stop.cancelled().await;
            }
            let next = self.pass().await;
            let wake = Instant::now() + next.unwrap_or(HEARTBEAT).min(HEARTBEAT);
            tokio::select! {
                () = stop.cancelled() => return,
                _ = self.intent.changed() => {}
                _ = self.ovs.changed() => {}
                _ = self.parts.veths.changed() => {}
                _ = self.parts.outcomes.changed() => {}
                _ = connections.changed() => {}
                _ = disturbed.changed() => self.tables.doubt_all(),
                Some(hold) = self.holds.recv() => self.memories.hold(hold),
                Some(outcome) = self.parts.hooks.outcomes.recv() => self.hung.push(outcome),
                Some(done) = self.leaves.recv() => asked_to_leave = Some(done),
                _ = lease.tick() => {}
                () = sleep_until(wake) => {}
            }
            // Whatever else has arrived goes into the same pass.
            tokio::task::yield_now().await;
        }
    }

    /// What has arrived since the last pass.
    fn take(&mut self) {
        while let Ok(hold) = self.holds.try_recv() {
            self.memories.hold(hold);
        }
        while let Ok(outcome) = self.parts.hooks.outcomes.try_recv() {
            self.hung.push(outcome);
        }
    }
}
