//! The future that owns the socket: writes requests, hands out replies, turns the rest into events.
//!
//! It answers the server's `echo` and probes a silent server with its own. Nothing in it waits for a reader:
//! when the queue of events is full it ends the connection, because a lost update makes every copy of the
//! data wrong, and waiting would stall the replies of a caller that is itself the reader of the events.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::error::{DecodeError, Refusal, SharedIoError};
use crate::frame::{FrameError, Frames};
use crate::monitor::{MonitorId, TableUpdates, TransactionId};
use crate::rpc::{self, Message};

/// Bounds of one connection; [`Limits::default`] gives the reason of each.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest message in either direction, in bytes, and most bytes waiting to be written.
    pub max_message: usize,
    /// Most calls waiting for an answer.
    pub max_in_flight: usize,
    /// Most calls waiting to be written.
    pub max_queued: usize,
    /// Most events waiting to be read; one more ends the connection.
    pub max_events: usize,
    /// How long connecting may take.
    pub connect_deadline: Duration,
    /// How long a call may take, from being queued to its answer.
    pub call_deadline: Duration,
    /// Silence of the server after which it is asked for a sign of life.
    pub probe_interval: Duration,
    /// How long it may take to give one.
    pub probe_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A first snapshot of 4,000 ports is about 4 MB; more is not a node's database.
            max_message: 32 << 20,
            // Twice the endpoints of a node, all being added at once.
            max_in_flight: 1024,
            // The driver empties this as fast as it is polled; callers wait here and their deadlines run.
            max_queued: 64,
            // ovsdb-server merges updates that a slow reader has not taken, so a burst stays far below.
            max_events: 1024,
            connect_deadline: Duration::from_secs(2),
            call_deadline: Duration::from_secs(10),
            // The intervals of ovs-vsctl's own library.
            probe_interval: Duration::from_secs(5),
            probe_deadline: Duration::from_secs(5),
        }
    }
}

/// Owns the connection. [`Driver::run`] must be polled for anything to happen.
#[derive(Debug)]
pub struct Driver {
    stream: UnixStream,
    commands: mpsc::Receiver<Command>,
    connection: Connection,
}

impl Driver {
    /// Works until the connection ends and says why; the same reason is the last of the [`Events`].
    pub async fn run(self) -> CloseReason {
        let Self { mut stream, mut commands, mut connection } = self;
        let (mut reader, mut writer) = stream.split();
        let reason = loop {
            let may_send = connection.may_send();
            let must_write = !connection.unsent.is_empty();
            let due = connection.probe.due(&connection.limits);
            // Each arm is cancel-safe: a read or write that has not finished has taken no bytes, and a
            // command stays in its queue. No body awaits.
            let step = tokio::select! {
                command = commands.recv(), if may_send => connection.send(command),
                read = reader.read_buf(connection.frames.space()) => connection.received(read),
                written = writer.write(connection.unsent.as_slices().0), if must_write => {
                    connection.written(written)
                }
                () = sleep_until(due) => connection.probe(),
            };
            if let Err(reason) = step {
                break reason;
            }
        };
        connection.events.close(reason.clone());
        reason
    }

    pub(crate) fn new(stream: UnixStream, limits: Limits) -> (Self, mpsc::Sender<Command>, Events) {
        let (commands_in, commands) = mpsc::channel(limits.max_queued);
        let (events, events_out) = event_queue(limits.max_events);
        let connection = Connection {
            frames: Frames::new(limits.max_message),
            unsent: VecDeque::new(),
            waiting: HashMap::new(),
            probe: Probe { heard: Instant::now(), asked: None },
            events,
            limits,
        };
        (Self { stream, commands, connection }, commands_in, events_out)
    }
}

/// What the server says unasked, in its order.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` after [`Event::Closed`], or when the driver was dropped. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event if it is there already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

/// One thing that the server said unasked.
#[derive(Debug)]
pub enum Event {
    /// Rows of a monitor changed.
    Update {
        /// Which monitor.
        monitor: MonitorId,
        /// The state after it, where the server names states.
        last: Option<TransactionId>,
        /// The changes.
        updates: TableUpdates,
    },
    /// A lock that was asked for and not free is held now.
    Locked(String),
    /// A lock that was held was taken by another client.
    Stolen(String),
    /// The end; nothing follows.
    Closed(CloseReason),
}

/// Why a connection ended.
#[derive(Clone, Debug, Error)]
pub enum CloseReason {
    /// The server closed it.
    #[error("the server closed the connection")]
    Eof,
    /// The socket failed.
    #[error("the connection failed")]
    Io(#[source] SharedIoError),
    /// The server sent something that is no message.
    #[error("the server sent no JSON-RPC")]
    Frame(#[source] FrameError),
    /// The server sent a message of an unknown form.
    #[error("the server sent a message that cannot be read")]
    Message(#[source] DecodeError),
    /// The server said nothing and did not answer a probe.
    #[error("the server was silent for {0:?} and did not answer a probe")]
    Silent(Duration),
    /// The server does not read.
    #[error("the server left more than {0} bytes unread")]
    Backlog(usize),
    /// The reader of the events is too slow; what it holds cannot be made exact again.
    #[error("more than {0} events were not taken")]
    EventsFull(usize),
    /// The server ended a monitor.
    #[error("the server cancelled a monitor")]
    MonitorCanceled,
    /// Every [`Client`](crate::Client) is gone.
    #[error("nobody uses the connection")]
    Unused,
}

/// One call on its way to the server.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) id: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) reply: oneshot::Sender<Result<Value, Refusal>>,
}

/// The state of a connection, without its socket: every step is synchronous.
#[derive(Debug)]
struct Connection {
    limits: Limits,
    frames: Frames,
    unsent: VecDeque<u8>,
    waiting: HashMap<u64, oneshot::Sender<Result<Value, Refusal>>>,
    probe: Probe,
    events: EventQueue,
}

impl Connection {
    /// Whether another call may be taken from the queue.
    fn may_send(&mut self) -> bool {
        if self.waiting.len() >= self.limits.max_in_flight {
            // Callers whose deadline has passed no longer wait.
            self.waiting.retain(|_, reply| !reply.is_closed());
        }
        self.waiting.len() < self.limits.max_in_flight && self.unsent.len() < self.limits.max_message
    }

    fn send(&mut self, command: Option<Command>) -> Result<(), CloseReason> {
        let command = command.ok_or(CloseReason::Unused)?;
        // A caller that gave up while queued has no use for the effect either.
        if !command.reply.is_closed() {
            self.unsent.extend(command.bytes);
            self.waiting.insert(command.id, command.reply);
        }
        Ok(())
    }

    fn received(&mut self, read: io::Result<usize>) -> Result<(), CloseReason> {
        if read.map_err(|error| CloseReason::Io(Arc::new(error)))? == 0 {
            return Err(CloseReason::Eof);
        }
        self.probe = Probe { heard: Instant::now(), asked: None };
        while let Some(message) = self.frames.next().map_err(CloseReason::Frame)? {
            self.take(Message::from_json(message).map_err(CloseReason::Message)?)?;
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), CloseReason> {
        match message {
            Message::Reply { id, result } => {
                if let Some(reply) = self.waiting.remove(&id) {
                    // An error means that the caller's deadline has passed.
                    drop(reply.send(result));
                }
                Ok(())
            }
            Message::Request { id, method, params } => {
                self.unsent.extend(rpc::reply(&id, &method, &params));
                self.bounded()
            }
            Message::Update { monitor, last, updates } => {
                self.event(Event::Update { monitor, last, updates })
            }
            Message::Locked(name) => self.event(Event::Locked(name)),
            Message::Stolen(name) => self.event(Event::Stolen(name)),
            Message::MonitorCanceled => Err(CloseReason::MonitorCanceled),
            Message::Stray | Message::Unknown => Ok(()),
        }
    }

    fn written(&mut self, written: io::Result<usize>) -> Result<(), CloseReason> {
        let count = written.map_err(|error| CloseReason::Io(Arc::new(error)))?;
        self.unsent.drain(..count);
        if self.unsent.is_empty() {
            self.unsent.shrink_to(crate::frame::READ_BYTES);
        }
        Ok(())
    }

    fn probe(&mut self) -> Result<(), CloseReason> {
        if self.probe.asked.is_some() {
            return Err(CloseReason::Silent(self.probe.heard.elapsed()));
        }
        self.probe.asked = Some(Instant::now());
        self.unsent.extend(rpc::probe());
        self.bounded()
    }

    fn bounded(&self) -> Result<(), CloseReason> {
        // One request of the largest size may be waiting beside answers to the server.
        let limit = 2 * self.limits.max_message;
        if self.unsent.len() > limit { Err(CloseReason::Backlog(limit)) } else { Ok(()) }
    }

    fn event(&mut self, event: Event) -> Result<(), CloseReason> {
        self.events.push(event).map_err(|()| CloseReason::EventsFull(self.limits.max_events))
    }
}

/// When the server was last heard and when it was asked to speak.
#[derive(Debug)]
struct Probe {
    heard: Instant,
    asked: Option<Instant>,
}

impl Probe {
    fn due(&self, limits: &Limits) -> Instant {
        match self.asked {
            None => self.heard + limits.probe_interval,
            Some(asked) => asked + limits.probe_deadline,
        }
    }
}

/// The sending side of [`Events`], with one place kept for the last event.
#[derive(Debug)]
struct EventQueue {
    sender: mpsc::Sender<Event>,
    last: Option<mpsc::OwnedPermit<Event>>,
}

impl EventQueue {
    fn push(&mut self, event: Event) -> Result<(), ()> {
        match self.sender.try_send(event) {
            // Nobody reads the events of a connection that is only used for calls.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(()),
        }
    }

    fn close(&mut self, reason: CloseReason) {
        if let Some(permit) = self.last.take() {
            drop(permit.send(Event::Closed(reason)));
        }
    }
}

fn event_queue(events: usize) -> (EventQueue, Events) {
    let (sender, receiver) = mpsc::channel(events + 1);
    // The queue is new and has a place at least, so the permit is always there.
    let last = sender.clone().try_reserve_owned().ok();
    (EventQueue { sender, last }, Events(receiver))
}
