//! One connection after its handshake: what was asked, what is unanswered, what is to be written.
//!
//! [`Session`] has no socket and no clock; every step is synchronous and takes the time as an argument. [`run`] joins
//! it to the socket. Nothing in it waits for a caller: answers go into oneshots, and a caller that went away is
//! noticed there.
//!
//! Every message of a conversation has a transaction id of its own, out of one range for each conversation; replies
//! and errors find their conversation by it. Replies to nobody (a conversation that was given up) are dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use openflow::message::error_msg::ErrorMsg;
use openflow::message::monitor::FlowUpdates;
use openflow::message::multipart::{MultipartBody, MultipartReply};
use openflow::{DecodeError, EmptyMessage, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::bundle::Bundle;
use super::channel::{Channel, READ_BYTES};
use super::collect::{Collect, FlowFilter, PortFilter};
use super::counts::Counts;
use super::monitor::{Monitor, News};
use super::request::{Request, Work};
use super::wire::{Outbox, reason};
use super::{ConnectError, DumpScope, SwitchError};
use crate::limits;
use crate::plan::flows::Block;

/// Conversations under way on one connection. Their replies are read as fast as they come; the bound is on what a
/// dead switch can make the agent keep.
const FLIGHTS: usize = limits::SWITCH_QUEUE;

/// Bytes waiting to be written above which no new request is taken: a full bundle of 2,000 flows is some 600 KB.
const UNSENT_ENOUGH: usize = 1 << 20;

/// Bytes waiting to be written above which the connection is given up. Above [`UNSENT_ENOUGH`] only one more bundle
/// and answers to the switch's own echo requests can get there.
const UNSENT_LIMIT: usize = 16 << 20;

/// How long the switch may take to answer an echo request.
const ECHO_PATIENCE: Duration = limits::ECHO_DEADLINE.saturating_sub(limits::ECHO_AFTER);

/// Whether a conversation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Open,
    Done,
}

/// Serves one connection until it ends; `disturbed` is called when somebody else changed what the guard depends on.
pub(super) async fn run(
    mut session: Session,
    channel: Channel,
    mut requests: mpsc::Receiver<Request>,
    disturbed: impl Fn(),
) -> ConnectError {
    let Channel { mut stream, mut received } = channel;
    let (mut reader, mut writer) = stream.split();
    loop {
        if let Err(error) = session.received(&mut received, Instant::now()) {
            return error;
        }
        if session.take_disturbance() {
            disturbed();
        }
        received.reserve(READ_BYTES);
        let due = session.due();
        // Each arm is cancel-safe: a read or write that has not finished has moved no bytes, and a request stays in
        // its queue. No body awaits.
        let step = tokio::select! {
            request = requests.recv(), if session.has_room() => match request {
                Some(request) => {
                    session.start(request, Instant::now());
                    Ok(())
                }
                None => Err(ConnectError::Closed),
            },
            read = reader.read_buf(&mut received) => match read {
                Ok(0) => Err(ConnectError::Closed),
                Ok(_) => Ok(()),
                Err(error) => Err(ConnectError::Io(error)),
            },
            written = writer.write(session.unsent()), if !session.unsent().is_empty() => match written {
                Ok(count) => {
                    session.written(count);
                    Ok(())
                }
                Err(error) => Err(ConnectError::Io(error)),
            },
            () = sleep_until(due) => session.tick(Instant::now()),
        };
        if let Err(error) = step {
            return error;
        }
    }
}

/// The state of a connection.
#[derive(Debug)]
pub(super) struct Session {
    bridge: Arc<str>,
    /// Told of every dump in the order of the switch's replies; who asked for one may wake later than who asked next.
    counts: Counts,
    /// The flow monitor. It is asked for ahead of the first read of the guard's flows, so no change can
    /// fall between the two.
    monitor: Option<Monitor>,
    out: Outbox,
    /// By the first transaction id of each.
    flights: BTreeMap<u32, Flight>,
    next_xid: u32,
    heard: Instant,
    /// When a silent switch was asked for an echo. Its answer's deadline counts from here and not from when it was
    /// heard: an agent that was stopped for a while must not take its own sleep for the switch's silence.
    asked: Option<Instant>,
    /// Somebody else changed what the guard depends on, and nobody was told yet.
    is_disturbed: bool,
    /// When somebody is told of foreign flows that changed.
    foreign_due: Option<Instant>,
}

/// A conversation under way.
#[derive(Debug)]
struct Flight {
    /// How many transaction ids it has.
    count: u32,
    deadline: Instant,
    talk: Talk,
}

#[derive(Debug)]
enum Talk {
    Bundle(Bundle),
    Flows(Collect<FlowFilter>),
    Ports(Collect<PortFilter>),
    /// Taken by the answer.
    Barrier(Option<oneshot::Sender<Result<(), SwitchError>>>),
}

impl Session {
    /// A connection whose handshake is over.
    pub(super) fn new(bridge: Arc<str>, counts: Counts, now: Instant) -> Self {
        Self {
            bridge,
            counts,
            monitor: None,
            out: Outbox::default(),
            flights: BTreeMap::new(),
            next_xid: 1,
            heard: now,
            asked: None,
            is_disturbed: false,
            foreign_due: None,
        }
    }

    /// Whether another request may be taken from the queue; the rest waits there, and its deadlines run.
    pub(super) fn has_room(&self) -> bool {
        self.flights.len() < FLIGHTS && self.out.bytes.len() < UNSENT_ENOUGH
    }

    pub(super) fn unsent(&self) -> &[u8] {
        &self.out.bytes
    }

    pub(super) fn written(&mut self, count: usize) {
        self.out.bytes.advance(count);
        if self.out.bytes.is_empty() {
            // Do not keep the memory of the largest bundle ever sent.
            self.out.bytes = BytesMut::new();
        }
    }

    /// Begins the conversation that a request asks for.
    pub(super) fn start(&mut self, Request { deadline, work }: Request, now: Instant) {
        if now >= deadline {
            return work.refuse(SwitchError::Busy { bridge: self.bridge.to_string() });
        }
        if let Work::Dump { scope: DumpScope::Guard(block) | DumpScope::Owned(block), .. } = &work {
            self.watch(*block);
        }
        let xid = self.next_xid;
        let (count, talk) = match work {
            Work::PacketOut { in_port, frame, reply } => {
                self.next_xid = after(xid, 1);
                let written = self.out.packet_out(xid, in_port, &frame);
                let answer = written.map_err(|source| SwitchError::Encode {
                    bridge: self.bridge.to_string(),
                    what: "a frame",
                    source,
                });
                // An error only says that the caller went away.
                drop(reply.send(answer));
                return;
            }
            // A caller that gave up while queued has no use for the effect either.
            work if work.is_abandoned() => return,
            Work::Bundle { changes, reply } => {
                match Bundle::open(self.bridge.clone(), xid, changes, reply, &mut self.out) {
                    Some(bundle) => (bundle.xids(), Talk::Bundle(bundle)),
                    None => return,
                }
            }
            Work::Dump { scope, reply } => {
                let filter = FlowFilter { scope, counts: self.counts.clone() };
                let (count, dump) = Collect::flows(self.bridge.clone(), xid, filter, reply, &mut self.out);
                (count, Talk::Flows(dump))
            }
            Work::Ports { reply } => {
                let (count, list) = Collect::ports(self.bridge.clone(), xid, reply, &mut self.out);
                (count, Talk::Ports(list))
            }
            Work::Barrier { reply } => {
                self.out.empty(xid, EmptyMessage::BarrierRequest);
                (1, Talk::Barrier(Some(reply)))
            }
        };
        self.next_xid = after(xid, count);
        self.flights.insert(xid, Flight { count, deadline, talk });
    }

    /// Takes every whole message out of `received`.
    pub(super) fn received(&mut self, received: &mut BytesMut, now: Instant) -> Result<(), ConnectError> {
        while let Some(frame) = openflow::next_frame(received).map_err(ConnectError::Malformed)? {
            self.heard = now;
            self.asked = None;
            self.take(&frame);
        }
        if self.out.bytes.len() > UNSENT_LIMIT { Err(ConnectError::Backlog(UNSENT_LIMIT)) } else { Ok(()) }
    }

    /// Whether somebody else changed flows since the last call.
    pub(super) fn take_disturbance(&mut self) -> bool {
        std::mem::take(&mut self.is_disturbed)
    }

    /// When [`Session::tick`] is to be called next.
    pub(super) fn due(&self) -> Instant {
        let echo = self.asked.map_or(self.heard + limits::ECHO_AFTER, |asked| asked + ECHO_PATIENCE);
        let deadlines = self.flights.values().map(|flight| flight.deadline);
        deadlines.chain(self.foreign_due).fold(echo, Instant::min)
    }

    /// Gives up what is overdue, asks a silent switch whether it lives.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), ConnectError> {
        if self.foreign_due.is_some_and(|due| due <= now) {
            self.foreign_due = None;
            self.is_disturbed = true;
        }
        let silence = now.saturating_duration_since(self.heard);
        for (_, flight) in self.flights.extract_if(.., |_, flight| flight.deadline <= now) {
            let bridge = self.bridge.to_string();
            flight.talk.give_up(SwitchError::TimedOut { bridge }, &mut self.out);
        }
        match self.asked {
            Some(asked) if now >= asked + ECHO_PATIENCE => Err(ConnectError::Silent(round(silence))),
            None if silence >= limits::ECHO_AFTER => {
                self.asked = Some(now);
                self.out.echo_request(self.next_xid);
                self.next_xid = after(self.next_xid, 1);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, frame: &[u8]) {
        match Message::decode(frame) {
            Ok((header, Message::EchoRequest(data))) => self.out.echo_reply(header.xid, data),
            Ok((
                _,
                Message::MultipartReply(MultipartReply { body: MultipartBody::FlowMonitor(updates), .. }),
            )) => {
                self.updated(updates);
            }
            Ok((header, message)) => self.deliver(header.xid, &message),
            Err(error) => self.garbled(frame, error),
        }
    }

    /// Hands a message to the conversation that it belongs to.
    fn deliver(&mut self, xid: u32, message: &Message<'_>) {
        let first = self.flight(xid);
        let Some((first, flight)) = first.and_then(|first| Some((first, self.flights.get_mut(&first)?)))
        else {
            if let Message::Error(error) = message {
                self.refused(xid, error);
            }
            return;
        };
        let progress = match &mut flight.talk {
            Talk::Bundle(bundle) => bundle.take(xid - first, message, &mut self.out),
            Talk::Flows(collect) => collect.take(message),
            Talk::Ports(collect) => collect.take(message),
            // Whatever the switch answers, it has come to the barrier. An error of a send says that the caller went.
            Talk::Barrier(reply) => {
                drop(reply.take().map(|reply| reply.send(Ok(()))));
                Progress::Done
            }
        };
        if progress == Progress::Done {
            self.flights.remove(&first);
        }
    }

    /// A message that cannot be read costs the conversation that it belongs to.
    fn garbled(&mut self, frame: &[u8], source: DecodeError) {
        tracing::warn!(bridge = %self.bridge, error = %source, "unreadable message");
        let Some(bytes) = frame.get(4..8).and_then(|xid| xid.first_chunk()) else { return };
        let flight = self.flight(u32::from_be_bytes(*bytes)).and_then(|first| self.flights.remove(&first));
        if let Some(flight) = flight {
            let bridge = self.bridge.to_string();
            flight.talk.give_up(SwitchError::Malformed { bridge, source }, &mut self.out);
        }
    }

    /// The conversation that a transaction id belongs to.
    fn flight(&self, xid: u32) -> Option<u32> {
        let (first, flight) = self.flights.range(..=xid).next_back()?;
        (xid - first < flight.count).then_some(*first)
    }

    /// Asks for the flow monitor, once for each connection.
    fn watch(&mut self, block: Block) {
        if self.monitor.is_none() {
            let monitor = Monitor::begin(self.next_xid, block, &mut self.out);
            self.next_xid = after(self.next_xid, monitor.xids());
            self.monitor = Some(monitor);
        }
    }

    fn updated(&mut self, updates: FlowUpdates<'_>) {
        let Some(monitor) = self.monitor else { return };
        match monitor.news(updates) {
            Ok(News::None) => {}
            Ok(News::Foreign) => {
                self.foreign_due.get_or_insert(self.heard + limits::FOREIGN_FLOWS);
            }
            Ok(News::Guard) => self.is_disturbed = true,
            Err(error) => {
                // What cannot be read may be anything.
                tracing::warn!(bridge = %self.bridge, error = &error as &dyn std::error::Error, "unreadable flow update");
                self.is_disturbed = true;
            }
        }
    }

    /// The switch refused something that nobody waits for: a frame, a monitor, what was given up.
    fn refused(&self, xid: u32, error: &ErrorMsg<'_>) {
        let (bridge, error) = (&self.bridge, reason(error));
        if self.monitor.is_some_and(|monitor| monitor.has_xid(xid)) {
            // The read-back at intervals (limits::READ_BACK) still finds every change.
            tracing::warn!(%bridge, error, "no flow monitor on this bridge");
        } else {
            tracing::debug!(%bridge, error, "message refused, nobody waits for it");
        }
    }
}

impl Talk {
    /// Ends the conversation from our side. A bundle knows better than `error` how far it came.
    fn give_up(self, error: SwitchError, out: &mut Outbox) {
        match self {
            Self::Bundle(bundle) => bundle.give_up(out),
            Self::Flows(collect) => collect.fail(error),
            Self::Ports(collect) => collect.fail(error),
            Self::Barrier(reply) => drop(reply.map(|reply| reply.send(Err(error)))),
        }
    }
}

/// The transaction id `count` after `xid`. It starts again before it could wrap within a range; by then four billion
/// messages were sent and the conversations of the first are long over.
fn after(xid: u32, count: u32) -> u32 {
    let next = xid.saturating_add(count);
    if next > u32::MAX / 2 { 1 } else { next }
}

/// Sub-second digits of a silence tell nobody anything.
fn round(silence: Duration) -> Duration {
    Duration::from_secs(silence.as_secs())
}
