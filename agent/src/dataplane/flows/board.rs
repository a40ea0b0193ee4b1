//! What the task tells the world: the state of each wanted bridge, and the queue into each live connection.
//!
//! Must not hold anything back: a state stands here before anyone can learn of it by a failing call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::channel::Features;
use super::counts::Counts;
use super::request::Request;
use super::{ConnectError, Connection, Connections, Disturbances};
use crate::limits;

/// The way into one connection. It leads nowhere else once the connection has ended.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) bridge: Arc<str>,
    pub(super) epoch: u64,
    pub(super) requests: mpsc::Sender<Request>,
}

pub(super) type Doors = Arc<BTreeMap<String, Door>>;

/// The writing side; the futures of all bridges share it.
#[derive(Debug)]
pub(super) struct Board {
    states: watch::Sender<Connections>,
    doors: watch::Sender<Doors>,
    disturbances: watch::Sender<Disturbances>,
    /// Of the last connection that was made.
    epoch: AtomicU64,
    counts: Counts,
}

impl Board {
    pub(super) fn new() -> Self {
        let (states, _) = watch::channel(Connections::default());
        let (doors, _) = watch::channel(Doors::default());
        let (disturbances, _) = watch::channel(Disturbances::default());
        Self { states, doors, disturbances, epoch: AtomicU64::new(0), counts: Counts::default() }
    }

    pub(super) fn states(&self) -> watch::Receiver<Connections> {
        self.states.subscribe()
    }

    pub(super) fn doors(&self) -> watch::Receiver<Doors> {
        self.doors.subscribe()
    }

    pub(super) fn disturbances(&self) -> watch::Receiver<Disturbances> {
        self.disturbances.subscribe()
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// A bridge has become wanted.
    pub(super) fn begin(&self, bridge: &str) {
        self.down(bridge, ConnectError::NotTried);
    }

    /// A connection was made; what it is asked comes out of the queue.
    pub(super) fn up(&self, bridge: &Arc<str>, features: &Features) -> mpsc::Receiver<Request> {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        let (requests, queue) = mpsc::channel(limits::SWITCH_QUEUE);
        let door = Door { bridge: bridge.clone(), epoch, requests };
        self.doors.send_modify(|doors| drop(Arc::make_mut(doors).insert(bridge.to_string(), door)));
        let Features { version, datapath_id } = *features;
        let state = Connection::Connected { epoch, version, datapath_id, since: Instant::now() };
        self.states.send_modify(|states| drop(Arc::make_mut(states).insert(bridge.to_string(), state)));
        queue
    }

    /// There is no connection, or none any more. The time since when is kept over repeated failures.
    pub(super) fn down(&self, bridge: &str, error: ConnectError) {
        self.doors.send_modify(|doors| drop(Arc::make_mut(doors).remove(bridge)));
        self.states.send_if_modified(|states| {
            let since = match states.get(bridge) {
                // An attempt that failed like the last one is no news.
                Some(Connection::Down { error: known, .. }) if known.says_the_same_as(&error) => {
                    return false;
                }
                Some(Connection::Down { since, .. }) => *since,
                _ => Instant::now(),
            };
            let state = Connection::Down { since, error: Arc::new(error) };
            Arc::make_mut(states).insert(bridge.to_owned(), state);
            true
        });
    }

    /// Somebody else changed flows of a bridge.
    pub(super) fn disturb(&self, bridge: &str) {
        self.disturbances.send_modify(|counts| {
            *Arc::make_mut(counts).entry(bridge.to_owned()).or_default() += 1;
        });
    }

    /// A bridge is wanted no longer.
    pub(super) fn forget(&self, bridge: &str) {
        self.disturbances.send_if_modified(|counts| Arc::make_mut(counts).remove(bridge).is_some());
        self.doors.send_modify(|doors| drop(Arc::make_mut(doors).remove(bridge)));
        self.states.send_modify(|states| drop(Arc::make_mut(states).remove(bridge)));
    }
}
