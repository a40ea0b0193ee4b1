//! A dump of everything, on a connection of its own and at its reader's pace.
//!
//! vswitchd makes the whole reply before it sends the first byte, and its replies come in order: on the bridge's main
//! connection a slow reader of 100,000 flows (21.6 MB) would hold up every confirmation behind them. Here the switch's
//! copy of the reply waits for the reader, in the switch, for at most [`LIFE`].

use std::path::Path;
use std::time::Duration;

use openflow::message::multipart::{FlowQuery, MultipartBody, MultipartReply, MultipartRequest};
use openflow::{DecodeError, FlowEntry, Message};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::channel::Channel;
use super::wire::{Outbox, reason};
use super::{ConnectError, DUMP_DEADLINE, SwitchError};

/// How long a reader may take altogether: 100,000 flows are read in half a second, a terminal on a slow line in ten.
const LIFE: Duration = Duration::from_mins(1);

const XID: u32 = 1;

/// All flows of a bridge, part by part (about 64 KB on the wire each). Dropping it ends the dump.
#[derive(Debug)]
pub struct FlowStream {
    bridge: String,
    channel: Channel,
    end: Instant,
    done: bool,
    _permit: OwnedSemaphorePermit,
}

impl FlowStream {
    pub(super) async fn open(
        bridge: &str,
        path: &Path,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, SwitchError> {
        let end = Instant::now() + LIFE;
        let (mut channel, _) = Channel::open(bridge, path).await.map_err(|error| down(bridge, error))?;
        let mut out = Outbox::default();
        out.multipart(XID, &MultipartRequest::Flow(FlowQuery::default()));
        // A request of some 60 bytes fits the empty buffer of a new socket.
        channel.send(&mut out).await.map_err(|error| down(bridge, error))?;
        Ok(Self { bridge: bridge.to_owned(), channel, end, done: false, _permit: permit })
    }

    /// The next part; `None` at the end, and after an error. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Vec<FlowEntry>, SwitchError>> {
        if self.done {
            return None;
        }
        let deadline = self.end.min(Instant::now() + DUMP_DEADLINE);
        let part = match timeout_at(deadline, self.part()).await {
            Ok(part) => part,
            Err(_elapsed) => Err(SwitchError::TimedOut { bridge: self.bridge.clone() }),
        };
        self.done |= part.is_err();
        Some(part)
    }

    async fn part(&mut self) -> Result<Vec<FlowEntry>, SwitchError> {
        loop {
            let frame = self.channel.frame().await.map_err(|error| down(&self.bridge, error))?;
            let (header, message) = Message::decode(&frame).map_err(|source| self.malformed(source))?;
            match message {
                Message::MultipartReply(MultipartReply {
                    more, body: MultipartBody::Flow(flows), ..
                }) if header.xid == XID => {
                    let entries: Result<Vec<_>, _> =
                        flows.map(|flow| flow.map(|flow| flow.to_entry())).collect();
                    self.done = !more;
                    return entries.map_err(|source| self.malformed(source));
                }
                Message::Error(error) if header.xid == XID => {
                    let (bridge, name) = (self.bridge.clone(), reason(&error));
                    return Err(SwitchError::Refused { bridge, what: "a dump of flows", name });
                }
                // OVS asks a service connection for an echo after 60 s of silence (measured, 3.1): the dump is over by
                // then, see LIFE.
                _ => {}
            }
        }
    }

    fn malformed(&self, source: DecodeError) -> SwitchError {
        SwitchError::Malformed { bridge: self.bridge.clone(), source }
    }
}

fn down(bridge: &str, error: ConnectError) -> SwitchError {
    SwitchError::Down { bridge: bridge.to_owned(), error: error.into() }
}
