//! What callers ask a session for, and how they wait for the answer.
//!
//! A request that was queued belongs to the session: its caller may go away at any time.

use std::time::Duration;

use bytes::Bytes;
use openflow::message::flow_mod::FlowMod;
use openflow::{FlowEntry, FlowKey, OfPort};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::board::Door;
use super::{DumpScope, PortEntry, SwitchError};

/// What a caller wants, and until when.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) deadline: Instant,
    pub(super) work: Work,
}

type Reply<T> = oneshot::Sender<Result<T, SwitchError>>;

#[derive(Debug)]
pub(super) enum Work {
    /// Answered with the refused changes; an empty list means that all were committed.
    Bundle {
        changes: Vec<FlowMod>,
        reply: Reply<Vec<(FlowKey, String)>>,
    },
    Dump {
        scope: DumpScope,
        reply: Reply<Vec<FlowEntry>>,
    },
    Ports {
        reply: Reply<Vec<PortEntry>>,
    },
    /// Answered once the switch has done everything before it.
    Barrier {
        reply: Reply<()>,
    },
    PacketOut {
        in_port: OfPort,
        frame: Bytes,
        reply: Reply<()>,
    },
}

/// Queues a request and waits for its answer, no longer than `patience` altogether.
pub(super) async fn ask<T>(
    door: &Door,
    patience: Duration,
    work: Work,
    answer: oneshot::Receiver<Result<T, SwitchError>>,
) -> Result<T, SwitchError> {
    let deadline = Instant::now() + patience;
    let changes_tables = matches!(work, Work::Bundle { .. });
    let bridge = || door.bridge.to_string();
    match door.requests.send_timeout(Request { deadline, work }, patience).await {
        Ok(()) => {}
        Err(mpsc::error::SendTimeoutError::Timeout(_)) => return Err(SwitchError::Busy { bridge: bridge() }),
        Err(mpsc::error::SendTimeoutError::Closed(_)) => return Err(SwitchError::Lost { bridge: bridge() }),
    }
    // The session keeps the deadline and answers at it, since it alone knows how far the request came. The grace is
    // for a session that is not polled, which would be a fault of ours.
    match timeout_at(deadline + GRACE, answer).await {
        Ok(Ok(answer)) => answer,
        _ if changes_tables => Err(SwitchError::Unknown { bridge: bridge() }),
        _ => Err(SwitchError::Lost { bridge: bridge() }),
    }
}

impl Work {
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Bundle { reply, .. } => reply.is_closed(),
            Self::Dump { reply, .. } => reply.is_closed(),
            Self::Ports { reply } => reply.is_closed(),
            Self::Barrier { reply } | Self::PacketOut { reply, .. } => reply.is_closed(),
        }
    }

    /// Answers without having sent anything.
    pub(super) fn refuse(self, error: SwitchError) {
        // An error of a send only says that the caller went away.
        match self {
            Self::Bundle { reply, .. } => drop(reply.send(Err(error))),
            Self::Dump { reply, .. } => drop(reply.send(Err(error))),
            Self::Ports { reply } => drop(reply.send(Err(error))),
            Self::Barrier { reply } | Self::PacketOut { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// How much later than the session a caller gives up.
const GRACE: Duration = Duration::from_secs(1);
