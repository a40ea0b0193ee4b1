//! The adapter to OVSDB: what the database says, and ports added to and removed from bridges.
//!
//! ```text
//!  PortsHandle ──calls, each a transaction──> ovsdb::Client ──> ovsdb-server
//!    ^    ^                                        ^
//!    │    └── watch<Option<Client>> ──┐            │ owns, connects again
//!    └─────── watch<Arc<Ovs>> ────── Ports::run ───┘
//! ```
//!
//! [`ports`] gives a cloneable handle and the task behind it. [`Ports::run`] owns the connection: it monitors
//! the database, takes the lock that keeps a second agent from writing, publishes an [`Ovs`] whenever it
//! changed, and connects again after a loss with a growing, jittered pause. The handle's calls run in their
//! callers' tasks, so they overlap freely: one transaction per port, pipelined, which ovs-vswitchd merges by
//! itself (measured on 3.1: as fast as one merged transaction, and a bad port voids only its own).
//!
//! A transaction that succeeded says that the database wants the port, not that the port works: `ofport` and
//! `error` follow in the published value. This module decides nothing about that, never retries a request
//! whose outcome is unknown, and touches no port that is neither ours nor ovs-cni's.

mod ovs;
mod read;
mod request;
mod session;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ovsdb::{Client, Endpoint, LockName, OpResult};
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::ovs::{
    Bridge, Feature, Interface, LinkState, Lock, OWNER_KEY, OWNER_OVS_CNI, OWNER_UNDERPASS, Ovs, Owner,
    Policing, Port, State, VlanMode,
};
pub use self::request::{NewPort, Outage, PortError, PortVlan};
pub use self::session::Ports;

use self::request::{Failure, Known, Transaction, lookup};

/// Where the database is and how to share it.
#[derive(Clone, Debug)]
pub struct PortsConfig {
    /// The database's socket.
    pub endpoint: Endpoint,
    /// The lock that two agents of one bridge must have in common.
    pub lock: LockName,
    /// Bounds of the connection.
    pub limits: ovsdb::Limits,
}

impl PortsConfig {
    /// The database at `endpoint`, with usual bounds.
    pub fn new(endpoint: Endpoint, lock: LockName) -> Self {
        Self { endpoint, lock, limits: ovsdb::Limits::default() }
    }
}

/// The handle and the task behind it.
pub fn ports(config: PortsConfig) -> (PortsHandle, Ports) {
    let unknown = Ovs::unknown(Instant::now().into_std());
    let (ovs_in, ovs) = watch::channel(Arc::new(unknown));
    let (client_in, client) = watch::channel(None);
    let handle = PortsHandle { ovs, client, lock: config.lock.clone() };
    (handle, Ports::new(config, ovs_in, client_in))
}

/// A cloneable door to the database.
#[derive(Clone, Debug)]
pub struct PortsHandle {
    ovs: watch::Receiver<Arc<Ovs>>,
    client: watch::Receiver<Option<Client>>,
    lock: LockName,
}

impl PortsHandle {
    /// What the database says; changes when that does.
    pub fn watch(&self) -> watch::Receiver<Arc<Ovs>> {
        self.ovs.clone()
    }

    /// Puts a port on a bridge, in one transaction. A port of that name that is ours or ovs-cni's is changed
    /// in place, or moved if it is on another bridge; any other is an error. Where the published picture was
    /// behind, the database is asked and a second transaction made: three calls at most, each with a deadline.
    pub async fn add_port(&self, port: NewPort) -> Result<(), PortError> {
        let client = self.client()?;
        let pictured = self.pictured(&port.name);
        let outcome = match self.add(&client, &port, pictured.as_ref()).await {
            Err(Failure::Stale(_)) => {
                let known = self.known(&client, &port.name).await?;
                self.add(&client, &port, known.as_ref()).await
            }
            outcome => outcome,
        };
        outcome.map_err(Failure::into_error)
    }

    /// Takes a port off its bridge. A port that is not there is a success; one that is neither ours nor
    /// ovs-cni's is an error.
    pub async fn remove_port(&self, name: &str) -> Result<(), PortError> {
        let client = self.client()?;
        // The picture may be behind, so only the database may say that there is nothing to remove.
        if let Some(pictured) = self.pictured(name) {
            match self.remove(&client, name, &pictured).await {
                Err(Failure::Stale(_)) => {}
                outcome => return outcome.map_err(Failure::into_error),
            }
        }
        match self.known(&client, name).await? {
            Some(known) => self.remove(&client, name, &known).await.map_err(Failure::into_error),
            None => Ok(()),
        }
    }

    async fn add(&self, client: &Client, port: &NewPort, known: Option<&Known>) -> Result<(), Failure> {
        let transaction = match known {
            Some(known) => {
                known.check_owner(&port.name).map_err(Failure::Other)?;
                Transaction::update(&self.lock, port, known)
            }
            None => Transaction::insert(&self.lock, port),
        };
        self.transact(client, transaction).await
    }

    async fn remove(&self, client: &Client, name: &str, known: &Known) -> Result<(), Failure> {
        known.check_owner(name).map_err(Failure::Other)?;
        self.transact(client, Transaction::remove(&self.lock, name, known)).await
    }

    /// The port as last published.
    fn pictured(&self, name: &str) -> Option<Known> {
        self.ovs.borrow().ports.get(name).map(Known::of_port)
    }

    /// The port as the database has it.
    async fn known(&self, client: &Client, name: &str) -> Result<Option<Known>, PortError> {
        let results = client.transact(vec![lookup(name)]).await;
        match results.map_err(|error| Failure::new(&[], error, Vec::new()).into_error())?.first() {
            Some(OpResult::Rows(rows)) => Ok(rows.first().and_then(Known::of_row)),
            _ => Ok(None),
        }
    }

    fn client(&self) -> Result<Client, PortError> {
        let ovs = self.ovs.borrow();
        match (self.client.borrow().as_ref(), &ovs.state) {
            (_, State::Down { error }) => Err(PortError::Unreachable(Outage(error.clone()))),
            // The door opens just after the first picture; between the two is the end of a connection.
            (None, State::Connected) => {
                Err(PortError::Unreachable(Outage("the connection just ended".to_owned())))
            }
            (Some(_), State::Connected) if ovs.lock == Lock::Waiting => Err(PortError::NotHeld),
            (Some(client), State::Connected) => Ok(client.with_deadline(WRITE_DEADLINE)),
        }
    }

    async fn transact(&self, client: &Client, transaction: Transaction) -> Result<(), Failure> {
        let Transaction { operations, guards } = transaction;
        client.transact(operations).await.map(drop).map_err(|error| {
            let bridges = self.ovs.borrow().bridges.keys().cloned().collect();
            Failure::new(&guards, error, bridges)
        })
    }
}

/// How long one call may take. A commit takes 0.3 to 0.6 ms (3.1, up to 1,000 ports); the server's own
/// compaction of its file holds it up for some 100 ms. After this, the outcome counts as unknown.
const WRITE_DEADLINE: Duration = Duration::from_secs(2);
