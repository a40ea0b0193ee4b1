//! The store: an actor that is the only writer of the intent, and the ledger that lets a restarted agent go on.
//!
//! A request is checked, written to the ledger, and only then published; whoever is told "yes" will find it there
//! after a crash. Requests are few and the files lie on a tmpfs, so the actor writes them synchronously.
//!
//! It must not look at the data plane: what is there is the reconciler's business.

mod actor;
mod ledger;
mod slots;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::model::{Endpoint, EndpointId, Entry, Generation, Intent, Ipam, Rebuilt};

pub use actor::{Store, run};
pub use ledger::{Ledger, LedgerError};

/// Why the store said no.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A DEL newer than this ADD has been seen: the runtime has given up on it.
    #[error("this ADD is older than a DEL of the same attachment")]
    LateAdd,
    #[error("endpoint {0} exists already")]
    Exists(EndpointId),
    #[error("no endpoint {0}")]
    Missing(EndpointId),
    /// `limits.max_endpoints` of the configuration.
    #[error("all {0} slots for endpoints are in use (limits.max_endpoints)")]
    Full(u32),
    #[error("the ledger could not be written")]
    Ledger(#[from] LedgerError),
    #[error("the store has ended")]
    Ended,
}

/// A new endpoint, as an ADD asks for it.
#[derive(Debug)]
pub struct NewEntry {
    pub endpoint: Endpoint,
    pub ipam: Option<Ipam>,
    /// See [`Entry::request`].
    pub request: u64,
    /// CLOCK_BOOTTIME at which the shim was started.
    pub asked_at: Duration,
}

/// How an address reservation of a removed endpoint ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// The caller tells the IPAM plugin itself.
    CallerReleases,
    /// Nobody will: the agent must.
    AgentReleases,
    /// The caller has asked, and the plugin cannot or will not: an address that it is known to have given is still owed,
    /// others never were.
    PluginRefused,
}

pub(crate) enum Request {
    Put(Box<NewEntry>, oneshot::Sender<Result<Arc<Entry>, StoreError>>),
    Adopt(Vec<Rebuilt>, oneshot::Sender<Result<Vec<EndpointId>, StoreError>>),
    SetIpam(EndpointId, Generation, Ipam, oneshot::Sender<Result<(), StoreError>>),
    SetEndpoint(Generation, Box<Endpoint>, oneshot::Sender<Result<Arc<Entry>, StoreError>>),
    Commit(EndpointId, Generation, oneshot::Sender<Result<(), StoreError>>),
    Remove(Remove, oneshot::Sender<Result<Generation, StoreError>>),
    Unplugged(EndpointId, Generation),
    Gone(EndpointId, Generation),
    Pay(EndpointId, Ipam, oneshot::Sender<bool>),
    Paid(EndpointId, Ipam),
    Unpaid(EndpointId, Ipam, String),
}

/// A wish to take an endpoint away.
#[derive(Clone, Debug)]
pub struct Remove {
    pub id: EndpointId,
    /// Only the entry that was created at this generation, `None` for whichever is there.
    pub created: Option<Generation>,
    /// CLOCK_BOOTTIME of the DEL: older ADDs are refused from now on.
    pub deleted_at: Option<Duration>,
    pub reservation: Reservation,
    /// What is owed if the agent has to release an address and the ledger knows no plugin.
    pub plugin: Option<Ipam>,
}

/// The door to the store. Every call waits for the actor, which never blocks on anything but the ledger's disk.
#[derive(Clone)]
pub struct StoreHandle {
    requests: mpsc::Sender<Request>,
    intent: watch::Receiver<Arc<Intent>>,
}

impl StoreHandle {
    /// Adds an endpoint in phase `Plumbing`; the entry's revision then names this very attachment.
    pub async fn put(&self, entry: NewEntry) -> Result<Arc<Entry>, StoreError> {
        self.ask(|reply| Request::Put(Box::new(entry), reply)).await?
    }

    /// Takes in living endpoints that the ledger has lost, and tells which: not those that it knows of by now.
    pub async fn adopt(&self, found: Vec<Rebuilt>) -> Result<Vec<EndpointId>, StoreError> {
        self.ask(|reply| Request::Adopt(found, reply)).await?
    }

    /// Records what the IPAM plugin holds, before anything is built on it.
    pub async fn set_ipam(&self, id: &EndpointId, created: Generation, ipam: Ipam) -> Result<(), StoreError> {
        let id = id.clone();
        self.ask(|reply| Request::SetIpam(id, created, ipam, reply)).await?
    }

    /// Replaces the endpoint's description and moves it to phase `Adding`.
    pub async fn set_endpoint(
        &self,
        created: Generation,
        endpoint: Endpoint,
    ) -> Result<Arc<Entry>, StoreError> {
        self.ask(|reply| Request::SetEndpoint(created, Box::new(endpoint), reply)).await?
    }

    /// The runtime has its result: the endpoint stays until it is deleted.
    pub async fn commit(&self, id: &EndpointId, created: Generation) -> Result<(), StoreError> {
        let id = id.clone();
        self.ask(|reply| Request::Commit(id, created, reply)).await?
    }

    /// Takes an endpoint away. Removing what is not there is fine: its port is looked for all the same.
    pub async fn remove(&self, remove: Remove) -> Result<Generation, StoreError> {
        self.ask(|reply| Request::Remove(remove, reply)).await?
    }

    /// The reconciler saw that a removal has nothing left but flows that cannot be removed now.
    pub async fn unplugged(&self, id: EndpointId, revision: Generation) {
        self.tell(Request::Unplugged(id, revision)).await;
    }

    /// The reconciler saw that nothing is left of a removal.
    pub async fn gone(&self, id: EndpointId, revision: Generation) {
        self.tell(Request::Gone(id, revision)).await;
    }

    /// Whether a debt is still this one; then nothing takes its place until it was reported as paid or unpaid.
    pub async fn pay(&self, id: &EndpointId, ipam: &Ipam) -> bool {
        let (id, ipam) = (id.clone(), ipam.clone());
        self.ask(|reply| Request::Pay(id, ipam, reply)).await.unwrap_or(false)
    }

    /// This reservation could not be given back now.
    pub async fn unpaid(&self, id: EndpointId, ipam: Ipam, why: String) {
        self.tell(Request::Unpaid(id, ipam, why)).await;
    }

    /// This reservation was given back.
    pub async fn paid(&self, id: EndpointId, ipam: Ipam) {
        self.tell(Request::Paid(id, ipam)).await;
    }

    pub fn intent(&self) -> Arc<Intent> {
        Arc::clone(&self.intent.borrow())
    }

    pub fn watch(&self) -> watch::Receiver<Arc<Intent>> {
        self.intent.clone()
    }

    async fn tell(&self, request: Request) {
        // A store that has ended takes the process with it; there is nobody left to tell.
        if self.requests.send(request).await.is_err() {
            tracing::debug!("the store has ended");
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| StoreError::Ended)?;
        answer.await.map_err(|_| StoreError::Ended)
    }
}
