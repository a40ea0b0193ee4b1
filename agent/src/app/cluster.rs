//! The two ends of the agent's life on a node of a cluster: what it sets up once it is ready, and what it takes away
//! when it is uninstalled. A restart or an upgrade is neither.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::api::Calls;
use crate::config::{Config, Install};
use crate::dataplane::ports::Ovs;
use crate::install;
use crate::kube::{Cluster, Ranges};
use crate::limits::DRAIN;
use crate::reconcile::ReconcileHandle;
use crate::report::chain;
use crate::store::StoreHandle;

/// Pauses between attempts to reach the API server or to write a file.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_mins(1);

/// Bridges come and go rarely: the node's resources follow this much later at most once.
const RESOURCES_PAUSE: Duration = Duration::from_secs(5);

/// Runs once the agent is ready, and never ends: CNI configuration, start-up taint, then bridges as resources.
pub(super) async fn arrive(config: Arc<Config>, cluster: Option<Cluster>, ovs: watch::Receiver<Arc<Ovs>>) {
    let mut patience = Patience::new("installing the CNI configuration");
    while let Err(why) = configure(&config.install, cluster.as_ref()).await {
        patience.wait(why).await;
    }
    if let Some(cluster) = cluster {
        let mut patience = Patience::new("removing the start-up taint");
        while let Err(error) = cluster.remove_startup_taint().await {
            patience.wait(chain(&error)).await;
        }
        if cluster.offers_bridges() {
            offer_bridges(&cluster, ovs).await;
        }
    }
    std::future::pending::<()>().await;
}

/// Pauses between attempts, ever longer; each new reason for a failure is logged once.
struct Patience {
    what: &'static str,
    pause: Duration,
    told: String,
}

impl Patience {
    fn new(what: &'static str) -> Self {
        Self { what, pause: RETRY_FIRST, told: String::new() }
    }

    async fn wait(&mut self, why: String) {
        if self.told != why {
            tracing::warn!(what = self.what, %why, "failed, trying again");
            self.told = why;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(RETRY_LAST);
    }
}

async fn configure(settings: &Install, cluster: Option<&Cluster>) -> Result<(), String> {
    let Some(text) = install::configuration(settings).map_err(|e| chain(&e))? else { return Ok(()) };
    let text = match (Ranges::are_needed(&text), cluster) {
        (false, _) => text,
        (true, None) => return Err("its placeholders need a cluster".to_owned()),
        (true, Some(cluster)) => {
            let ranges = cluster.ranges().await.map_err(|e| chain(&e))?;
            ranges.fill(&text).map_err(|missing| format!("the Node has no range for {missing}"))?
        }
    };
    install::put_configuration(settings, &text).map_err(|e| chain(&e))
}

/// Keeps the node's resources in line with its bridges.
async fn offer_bridges(cluster: &Cluster, mut ovs: watch::Receiver<Arc<Ovs>>) {
    let mut offered = BTreeSet::new();
    loop {
        let bridges: BTreeSet<String> = ovs.borrow_and_update().bridges.keys().cloned().collect();
        if bridges != offered {
            let mut patience = Patience::new("offering bridges as resources");
            while let Err(error) = cluster.offer_bridges(&bridges, &offered).await {
                patience.wait(chain(&error)).await;
            }
            offered = bridges;
        }
        sleep(RESOURCES_PAUSE).await;
        if ovs.changed().await.is_err() {
            return;
        }
    }
}

/// What is needed to leave.
pub(super) struct Leaving {
    pub(super) config: Arc<Config>,
    pub(super) cluster: Option<Cluster>,
    pub(super) store: StoreHandle,
    pub(super) reconcile: ReconcileHandle,
    pub(super) ovs: watch::Receiver<Arc<Ovs>>,
}

impl Leaving {
    /// Ends the calls under way; an agent that was told to stop (and did not fail) may be told so for good.
    pub(super) async fn drain(&self, calls: &Calls, was_told: bool) {
        let for_good = was_told && self.is_for_good().await;
        calls.drain(DRAIN).await;
        if for_good {
            self.leave().await;
        }
    }

    /// Asked when the agent is told to stop. Where nobody answers it is a restart: what stays can be taken away later.
    async fn is_for_good(&self) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        match cluster.leaves_for_good().await {
            Ok(for_good) => for_good,
            Err(error) => {
                tracing::warn!(error = chain(&error), "not known whether this is a restart: taken for one");
                false
            }
        }
    }

    /// No new pods first; then the guard; then what nobody needs any more. While pods of ours live, the plugin stays, or
    /// the runtime could not delete them, and so does the ledger, by which another agent would guard them again.
    async fn leave(&self) {
        tracing::info!("uninstalled: leaving this node");
        let install = &self.config.install;
        let mut faults: Vec<String> = Vec::new();
        faults.extend(install::remove_configuration(install).err().map(|e| chain(&e)));
        faults.extend(self.withdraw_resources().await.err());
        faults.extend(self.reconcile.leave().await);
        let intent = self.store.intent();
        let pods = intent.endpoints.len();
        if pods + intent.debts.len() > 0 {
            tracing::info!(pods, "pods stay connected: the plugin and the ledger stay for them");
        } else {
            faults.extend(install::remove_plugin(install).err().map(|e| chain(&e)));
            faults.extend(self.empty_run_dir());
        }
        for fault in faults {
            tracing::error!(%fault, "left behind");
        }
    }

    async fn withdraw_resources(&self) -> Result<(), String> {
        let Some(cluster) = self.cluster.as_ref().filter(|cluster| cluster.offers_bridges()) else {
            return Ok(());
        };
        let bridges: BTreeSet<String> = self.ovs.borrow().bridges.keys().cloned().collect();
        cluster.offer_bridges(&BTreeSet::new(), &bridges).await.map_err(|e| chain(&e))
    }

    /// The directory itself may be a mount point.
    fn empty_run_dir(&self) -> Vec<String> {
        let entries = match fs::read_dir(&self.config.run_dir) {
            Ok(entries) => entries,
            Err(error) => return vec![chain(&error)],
        };
        let remove = |entry: fs::DirEntry| {
            let path = entry.path();
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.err().map(|error| format!("{}: {error}", path.display()))
        };
        entries.flatten().filter_map(remove).collect()
    }
}
