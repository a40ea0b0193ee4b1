//! The task that owns the connection: connect, lock, monitor, publish; on a loss say so and start over.
//!
//! Connection and everything that reads from it live in one `select!`, so the end of either ends both, and
//! nothing of an old connection can reach a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use ovsdb::{Cache, CacheError, CallError, Client, CloseReason, ConnectError, Event, Events, MonitorId};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::PortsConfig;
use super::ovs::{Lock, Ovs, State};
use super::read::{read, spec};
use crate::report::chain;

/// The task behind a [`PortsHandle`](super::PortsHandle).
#[derive(Debug)]
pub struct Ports {
    config: PortsConfig,
    ovs: watch::Sender<Arc<Ovs>>,
    client: watch::Sender<Option<Client>>,
}

impl Ports {
    pub(super) fn new(
        config: PortsConfig,
        ovs: watch::Sender<Arc<Ovs>>,
        client: watch::Sender<Option<Client>>,
    ) -> Self {
        Self { config, ovs, client }
    }

    /// Works until it is dropped.
    pub async fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            let loss = self.connection(&mut backoff).await;
            self.client.send_replace(None);
            self.publish_down(&loss);
            sleep(backoff.pause()).await;
        }
    }

    /// One connection from its beginning to its end.
    async fn connection(&self, backoff: &mut Backoff) -> Loss {
        let limits = self.config.limits.clone();
        let (client, events, driver) = match ovsdb::connect(&self.config.endpoint, limits).await {
            Ok(parts) => parts,
            Err(error) => return Loss::Connect(error),
        };
        // Whichever ends first, the other is dropped with the connection; neither is used again.
        tokio::select! {
            reason = driver.run() => Loss::Closed(reason),
            loss = self.session(client, events, backoff) => loss,
        }
    }

    async fn session(&self, client: Client, mut events: Events, backoff: &mut Backoff) -> Loss {
        let (mut cache, mut lock) = match self.open(&client).await {
            Ok(opened) => opened,
            Err(loss) => return loss,
        };
        // Nothing read on an earlier connection is taken over: rows may have changed unseen.
        self.publish(read(&cache, lock, &Ovs::unknown(Instant::now().into_std()), &BTreeSet::new()));
        self.client.send_replace(Some(client));
        *backoff = Backoff::default();
        info!(endpoint = %self.config.endpoint, lock = ?lock, "OVSDB connected");
        loop {
            let Some(event) = events.recv().await else { return Loss::Closed(CloseReason::Eof) };
            // A burst of updates is one new picture.
            let (mut next, mut touched) = (Some(event), BTreeSet::new());
            while let Some(event) = next {
                if let Event::Update { updates, .. } = &event {
                    touched.extend(updates.tables.values().flat_map(BTreeMap::keys));
                }
                if let Err(loss) = self.take(event, &mut cache, &mut lock) {
                    return loss;
                }
                next = events.try_recv();
            }
            let before = Arc::clone(&self.ovs.borrow());
            self.publish(read(&cache, lock, &before, &touched));
        }
    }

    async fn open(&self, client: &Client) -> Result<(Cache, Lock), Loss> {
        let schema = Arc::new(client.schema().await?);
        let lock = if client.lock(&self.config.lock).await? { Lock::Held } else { Lock::Waiting };
        let spec = spec().known_to(&schema);
        let mut cache = Cache::new(schema, spec.clone());
        // A server that is not clustered keeps no history to resume from, so each connection starts afresh.
        cache.start(client.monitor(MONITOR, &spec, None).await?)?;
        Ok((cache, lock))
    }

    fn take(&self, event: Event, cache: &mut Cache, lock: &mut Lock) -> Result<(), Loss> {
        match event {
            Event::Update { updates, .. } => cache.apply(updates)?,
            Event::Locked(name) if name == self.config.lock.as_str() => {
                info!(lock = name, "OVSDB lock is held now");
                *lock = Lock::Held;
            }
            // The server keeps our place in the queue and says when the lock is ours again.
            Event::Stolen(name) if name == self.config.lock.as_str() => {
                warn!(lock = name, "OVSDB lock was taken by another client");
                *lock = Lock::Waiting;
            }
            Event::Locked(_) | Event::Stolen(_) => {}
            Event::Closed(reason) => return Err(Loss::Closed(reason)),
        }
        Ok(())
    }

    fn publish(&self, ovs: Ovs) {
        self.ovs.send_if_modified(|current| {
            let is_new = **current != ovs;
            if is_new {
                *current = Arc::new(ovs);
            }
            is_new
        });
    }

    /// Keeps what was last known, marked stale.
    fn publish_down(&self, loss: &Loss) {
        let last = Arc::clone(&self.ovs.borrow());
        let error = chain(loss);
        let since = match last.state {
            State::Connected => {
                warn!(endpoint = %self.config.endpoint, error, "OVSDB connection lost");
                Instant::now().into_std()
            }
            State::Down { .. } => {
                debug!(endpoint = %self.config.endpoint, error, "OVSDB still out of reach");
                last.since
            }
        };
        self.publish(Ovs { state: State::Down { error }, since, lock: Lock::Waiting, ..Ovs::clone(&last) });
    }
}

/// The only monitor of a connection.
const MONITOR: MonitorId = MonitorId(1);

/// Why a connection is over.
#[derive(Debug, Error)]
enum Loss {
    #[error(transparent)]
    Connect(ConnectError),
    #[error(transparent)]
    Closed(CloseReason),
    #[error("reading the database failed")]
    Call(#[from] CallError),
    #[error("the updates of the database do not fit")]
    Cache(#[from] CacheError),
}

/// The pause before the next attempt: doubles from [`Backoff::FIRST`] to [`Backoff::LAST`].
#[derive(Debug)]
struct Backoff {
    next: Duration,
}

impl Backoff {
    /// A restart of ovsdb-server takes about as long.
    const FIRST: Duration = Duration::from_millis(100);
    /// Pods wait for this after a long outage.
    const LAST: Duration = Duration::from_secs(5);

    /// Between half of the pause and all of it, so that the agents of a fleet do not move in step.
    fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LAST);
        // A fresh RandomState is the randomness that std has; the remainder is below 1024.
        let random = RandomState::new().build_hasher().finish() % 1024;
        let share = u32::try_from(random).unwrap_or(0);
        pause / 2 + pause / 2 * share / 1024
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: Self::FIRST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_keep_within_half_of_it() {
        let mut backoff = Backoff::default();
        for milliseconds in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let (pause, full) = (backoff.pause(), Duration::from_millis(milliseconds));
            assert!(pause >= full / 2 && pause <= full, "{pause:?} of {full:?}");
        }
    }
}
