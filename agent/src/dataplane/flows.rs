//! The switch's tables: OpenFlow 1.5 over the management socket of every wanted bridge.
//!
//! Owns: one connection for each bridge, made again whenever it ends, and the rules by which writes are confirmed.
//! [`run`] is the task; [`Switches`] is the door to it, cloneable and cancel-safe: a caller that goes away leaves the
//! stream in order, because what it asked for lives in the session (`session.rs`) and not in the caller's future.
//!
//! ```text
//!  Switches ── mpsc of requests, one queue for each connection ──> session ──> <run_dir>/<bridge>.mgmt
//!     ^  ^                                                            │
//!     │  └── watch: Connected | Down, for each wanted bridge <────────┤
//!     └───── oneshot: what the switch said <──────────────────────────┘
//! ```
//!
//! Must not: decide what should be in the tables, keep a copy of them, or write to a bridge whose connection is not
//! the one that the caller read from (the epoch).
//!
//! **In doubt or not.** A switch answers a connection's messages in their order. So a bundle that was not committed
//! when its deadline passed is discarded, and every later read shows the tables without it
//! ([`SwitchError::TimedOut`]); one whose commit had been sent is in doubt ([`SwitchError::Unknown`]), and the next
//! dump on the same connection settles it. OVS commits even an atomic bundle when one of its messages was refused
//! while it was filled (measured, 3.1): hence the barrier before the commit.
//!
//! | file | |
//! | --- | --- |
//! | `flows/bridge.rs` | one bridge: connect, serve, wait, again |
//! | `flows/channel.rs` | the socket up to the end of the handshake |
//! | `flows/session.rs` | the state of one connection, without its socket |
//! | `flows/request.rs` | what callers ask a session for, and how they wait |
//! | `flows/bundle.rs`, `collect.rs` | the conversations: a confirmed write, a reply of many parts |
//! | `flows/counts.rs` | what the guard's flows have counted, over their lives |
//! | `flows/stream.rs` | a dump of everything, on a connection of its own |
//! | `flows/monitor.rs` | changes by others |
//! | `flows/wire.rs` | the messages that are written |

mod board;
mod bridge;
mod bundle;
mod channel;
mod collect;
mod counts;
mod error;
mod monitor;
mod request;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::AbortHandle;
use futures::stream::FuturesUnordered;
use openflow::message::flow_mod::FlowMod;
use openflow::{Flow, FlowKey, OfPort, Version};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::limits;
use crate::plan::flows::Block;

use board::{Board, Door, Doors};
use channel::Channel;
use counts::Counts;
use request::{Work, ask};

pub use collect::{PortEntry, in_port, is_foreign};
pub use counts::Totals;
pub use error::{ConnectError, SwitchError};
pub use openflow::FlowEntry;
pub use stream::FlowStream;

/// How long a dump for the reconciler may take: vswitchd builds the whole reply before it sends the first byte, and
/// somebody else's dump of 100,000 flows stalls it for 150 ms (measured); a machine under load is ten times slower.
/// Below [`limits::ECHO_DEADLINE`], so that a read times out before the connection is given up.
const DUMP_DEADLINE: Duration = Duration::from_secs(5);

/// Dumps of everything under way at once, over all bridges: each makes vswitchd hold a copy of all flows.
const STREAMS: usize = 4;

/// Where the switch is found.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Holds `<bridge>.mgmt`, OVS' management sockets.
    pub run_dir: PathBuf,
}

/// How one wanted bridge stands.
#[derive(Clone, Debug)]
pub enum Connection {
    Connected {
        /// Raised at every new connection of any bridge: what was known under another epoch is void.
        epoch: u64,
        version: Version,
        /// OVS gives a bridge that was deleted and made again a new one, unless its configuration fixes it.
        datapath_id: u64,
        /// When the connection was made.
        since: Instant,
    },
    Down {
        /// When the last connection ended, or the bridge became wanted.
        since: Instant,
        /// Why the last attempt failed.
        error: Arc<ConnectError>,
    },
}

/// The wanted bridges by name.
pub type Connections = Arc<BTreeMap<String, Connection>>;

/// For each bridge how often others changed what the guard depends on; a raised number says "read back".
pub type Disturbances = Arc<BTreeMap<String, u64>>;

/// Which flows a dump brings back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpScope {
    /// What the reconciler looks at: every flow of the block; of table 0 those with our cookie's mark, foreign ones
    /// above the hook's priority, for which a bridge is refused, and of the other foreign ones that do more than
    /// `NORMAL` one for each `in_port`, for which acceleration is.
    Guard(Block),
    /// The same without the foreign flows of table 0, which the switch then need not send.
    Owned(Block),
}

/// What a dump brought back.
#[derive(Clone, Debug)]
pub struct Dump {
    /// The connection that was read: [`Switches::apply`] writes only to the same one.
    pub epoch: u64,
    pub flows: Vec<FlowEntry>,
}

/// What is to be changed. Removals go first, so that an added flow never falls to a removal of the same call.
#[derive(Clone, Debug, Default)]
pub struct FlowChanges {
    /// An add replaces a flow of the same identity, whoever it belongs to.
    pub add: Vec<Flow>,
    /// Removes exactly these (OFPFC_DELETE_STRICT), with any cookie; one that is not there is no fault.
    pub remove: Vec<FlowKey>,
}

/// What became of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Flows that the switch refused, each with OVS' name for the reason. Nothing of their bundle was committed, and
    /// no later bundle of the call was sent.
    pub refused: Vec<(FlowKey, String)>,
    /// How many changes were committed: the first so many, counting removals before adds, each in the given order.
    pub written: usize,
}

/// The door to all bridges. Every call has a deadline and may be abandoned at any time.
#[derive(Clone, Debug)]
pub struct Switches {
    run_dir: Arc<Path>,
    wanted: watch::Sender<BTreeSet<String>>,
    states: watch::Receiver<Connections>,
    doors: watch::Receiver<Doors>,
    disturbances: watch::Receiver<Disturbances>,
    streams: Arc<Semaphore>,
    counts: Counts,
}

/// The task behind the door; see [`run`].
#[derive(Debug)]
pub struct Runner {
    run_dir: Arc<Path>,
    wanted: watch::Receiver<BTreeSet<String>>,
    board: Arc<Board>,
}

/// A door and its task. Nothing happens before the task is polled.
pub fn new(settings: Settings) -> (Switches, Runner) {
    let run_dir: Arc<Path> = settings.run_dir.into();
    let (wanted, wanted_here) = watch::channel(BTreeSet::new());
    let board = Board::new();
    let switches = Switches {
        run_dir: run_dir.clone(),
        wanted,
        states: board.states(),
        doors: board.doors(),
        disturbances: board.disturbances(),
        streams: Arc::new(Semaphore::new(STREAMS)),
        counts: board.counts(),
    };
    (switches, Runner { run_dir, wanted: wanted_here, board: Arc::new(board) })
}

/// Keeps the connections to the wanted bridges; ends when every [`Switches`] is gone.
pub async fn run(runner: Runner) {
    let Runner { run_dir, mut wanted, board } = runner;
    let mut running: BTreeMap<String, AbortHandle> = BTreeMap::new();
    let mut bridges = FuturesUnordered::new();
    loop {
        let now_wanted = wanted.borrow_and_update().clone();
        running.retain(|bridge, handle| {
            let keep = now_wanted.contains(bridge);
            if !keep {
                handle.abort();
                board.forget(bridge);
            }
            keep
        });
        for bridge in now_wanted {
            running.entry(bridge).or_insert_with_key(|bridge| {
                board.begin(bridge);
                let serve = bridge::serve(bridge.clone(), bridge::socket(&run_dir, bridge), board.clone());
                let (serve, handle) = futures::future::abortable(serve);
                bridges.push(serve);
                handle
            });
        }
        // Both arms are cancel-safe: a change that was not seen is seen at the next turn, and a future that was not
        // polled to its end stays in the set.
        let alive = tokio::select! {
            changed = wanted.changed() => changed.is_ok(),
            _aborted = bridges.next(), if !bridges.is_empty() => true,
        };
        if !alive {
            return;
        }
    }
}

impl Switches {
    /// Says which bridges to be connected to; others are let go. Level-triggered.
    pub fn want(&self, bridges: BTreeSet<String>) {
        self.wanted.send_if_modified(|wanted| {
            let differs = *wanted != bridges;
            *wanted = bridges;
            differs
        });
    }

    /// How each wanted bridge stands.
    pub fn watch(&self) -> watch::Receiver<Connections> {
        self.states.clone()
    }

    /// Whether a bridge answers that may not be wanted, asked on a connection of its own.
    pub async fn greet(&self, bridge: &str) -> Result<(), ConnectError> {
        Channel::open(bridge, &bridge::socket(&self.run_dir, bridge)).await.map(drop)
    }

    /// Changes by others in the block and in table 0. Changes of this agent never show here.
    /// Told from the first dump of [`DumpScope::Guard`] or [`DumpScope::Owned`] on; a new connection is told by its epoch, not here.
    pub fn disturbed(&self) -> watch::Receiver<Disturbances> {
        self.disturbances.clone()
    }

    /// Reads flows back from the switch.
    pub async fn dump(&self, bridge: &str, what: DumpScope) -> Result<Dump, SwitchError> {
        let door = self.door(bridge)?;
        let (reply, answer) = oneshot::channel();
        let flows = ask(&door, DUMP_DEADLINE, Work::Dump { scope: what, reply }, answer).await?;
        Ok(Dump { epoch: door.epoch, flows })
    }

    /// What the guard's flows have counted as of the last dumps, those included that are gone since.
    pub fn counted(&self) -> Totals {
        self.counts.totals()
    }

    /// Says whose slots they are, by the generation of each: what a former owner's flows counted is forgotten.
    pub fn count_for(&self, owners: BTreeMap<u32, u32>) {
        self.counts.keep(owners);
    }

    /// Changes flows, in bundles of at most [`limits::BUNDLE_FLOWS`], each confirmed before the next.
    ///
    /// `epoch` is that of the dump which the changes were computed from; on any other connection nothing is written.
    pub async fn apply(
        &self,
        bridge: &str,
        epoch: u64,
        changes: FlowChanges,
    ) -> Result<Applied, SwitchError> {
        let door = self.door(bridge)?;
        if door.epoch != epoch {
            return Err(SwitchError::Stale { bridge: bridge.to_owned(), asked: epoch, current: door.epoch });
        }
        let removals = changes.remove.into_iter().map(removal);
        let mut changes = removals.chain(changes.add.into_iter().map(FlowMod::add)).peekable();
        let mut applied = Applied::default();
        while changes.peek().is_some() {
            let changes: Vec<_> = changes.by_ref().take(limits::BUNDLE_FLOWS).collect();
            let count = changes.len();
            let (reply, answer) = oneshot::channel();
            let work = Work::Bundle { changes, reply };
            applied.refused = ask(&door, limits::BARRIER_DEADLINE, work, answer).await?;
            if !applied.refused.is_empty() {
                break;
            }
            applied.written += count;
        }
        Ok(applied)
    }

    /// Sends a frame as if it had come in on `in_port`, with `actions=NORMAL`.
    ///
    /// `Ok` means that it is on its way behind everything sent before. The switch says nothing about a success, and
    /// a refusal is logged: a lost probe is what its sender counts with anyway.
    pub async fn packet_out(&self, bridge: &str, in_port: OfPort, frame: Bytes) -> Result<(), SwitchError> {
        let door = self.door(bridge)?;
        let (reply, answer) = oneshot::channel();
        ask(&door, limits::BARRIER_DEADLINE, Work::PacketOut { in_port, frame, reply }, answer).await
    }

    /// Waits until the switch has done everything that was sent before.
    pub async fn barrier(&self, bridge: &str) -> Result<(), SwitchError> {
        let door = self.door(bridge)?;
        let (reply, answer) = oneshot::channel();
        ask(&door, limits::BARRIER_DEADLINE, Work::Barrier { reply }, answer).await
    }

    /// The bridge's ports with their configuration and state bits.
    pub async fn port_desc(&self, bridge: &str) -> Result<Vec<PortEntry>, SwitchError> {
        let door = self.door(bridge)?;
        let (reply, answer) = oneshot::channel();
        ask(&door, DUMP_DEADLINE, Work::Ports { reply }, answer).await
    }

    /// All flows of all tables, part by part, whatever their number.
    ///
    /// The stream has a connection of its own, so a slow reader holds up nobody else's replies; see [`FlowStream`].
    pub async fn dump_all(&self, bridge: &str) -> Result<FlowStream, SwitchError> {
        let deadline = Instant::now() + DUMP_DEADLINE;
        let permit = timeout_at(deadline, self.streams.clone().acquire_owned()).await;
        // The semaphore is never closed, so an error inside is as good as a deadline.
        let Ok(Ok(permit)) = permit else {
            return Err(SwitchError::Busy { bridge: bridge.to_owned() });
        };
        FlowStream::open(bridge, &bridge::socket(&self.run_dir, bridge), permit).await
    }

    fn door(&self, bridge: &str) -> Result<Door, SwitchError> {
        let door = self.doors.borrow().get(bridge).cloned();
        door.ok_or_else(|| {
            let error = match self.states.borrow().get(bridge) {
                Some(Connection::Down { error, .. }) => error.clone(),
                // Between the two boards: the connection is being announced, or the bridge is not wanted.
                _ => Arc::new(ConnectError::NotTried),
            };
            SwitchError::Down { bridge: bridge.to_owned(), error }
        })
    }
}

fn removal(key: FlowKey) -> FlowMod {
    FlowMod::delete_strict(Flow::new(key.table).priority(key.priority).matching(key.matching))
}
