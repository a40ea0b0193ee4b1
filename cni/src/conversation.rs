//! One CNI call as one gRPC stream: Start, the IPAM runs the agent asks for, Done, Ack.
//!
//! Owns the two deadlines: the agent has to take the call within [`Call::accept_timeout`] and to finish it within
//! [`DONE_TIMEOUT`]. Whatever breaks the stream makes the agent withdraw the call; this side only reports it.

use std::io;
use std::pin::pin;
use std::time::Duration;

use agent_api::cni::v1::{Ack, Done, FromShim, RunIpam, ToShim, from_shim, to_shim};
use tokio::sync::mpsc;
use tokio::time::{self, Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::call::Call;
use crate::failure::Failure;
use crate::ipam;

/// From `Accepted` to `Done`: longer than the agent's own deadline of 55 s, so that its answer is the one the runtime
/// sees.
const DONE_TIMEOUT: Duration = Duration::from_mins(1);

/// From `Ack` to the end of the stream. The result is printed already; this only lets the Ack reach the agent.
const ACK_TIMEOUT: Duration = Duration::from_millis(500);

/// Messages of ours that may wait to be sent: Start, then one answer at a time.
const OUTBOX: usize = 2;

/// A stream whose result is not acknowledged yet.
pub(crate) struct Conversation {
    outbox: mpsc::Sender<FromShim>,
    inbox: Streaming<ToShim>,
}

/// What the agent answered.
pub(crate) struct Answer {
    pub(crate) done: Done,
    pub(crate) conversation: Conversation,
}

impl Conversation {
    /// Makes the call and waits for its outcome.
    pub(crate) async fn hold(call: &Call) -> Result<Answer, Failure> {
        let limit = call.accept_timeout;
        let accepted = time::timeout(limit, Self::open(call)).await;
        let late = |_elapsed| Failure::away("the agent did not take the call", &Late(limit));
        let mut conversation = accepted.map_err(late)??;
        let done =
            time::timeout_at(Instant::now() + DONE_TIMEOUT, conversation.finish(&call.start.path)).await;
        let late = |_elapsed| Failure::away("the agent did not finish the call", &Late(DONE_TIMEOUT));
        let done = done.map_err(late)??;
        Ok(Answer { done, conversation })
    }

    /// Tells the agent that the runtime has the result, and waits until it knows.
    pub(crate) async fn acknowledge(mut self) {
        if self.send(from_shim::Message::Ack(Ack {})).await.is_err() {
            return;
        }
        let Self { outbox, mut inbox } = self;
        drop(outbox);
        let end = async { while let Ok(Some(_)) = inbox.message().await {} };
        // Late or broken, the result stays printed; the agent decides what it makes of a missing Ack.
        let _ = time::timeout(ACK_TIMEOUT, end).await;
    }

    async fn open(call: &Call) -> Result<Self, Failure> {
        let mut client = agent_api::dial(&agent_api::socket_path())
            .await
            .map_err(|error| Failure::away("the agent is not running on this node", &error))?;
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let start = FromShim { message: Some(from_shim::Message::Start(call.start.clone())) };
        outbox.try_send(start).map_err(|error| broken(&error))?;
        let inbox = client
            .run(ReceiverStream::new(messages))
            .await
            .map_err(|status| Failure::refused("the agent refused the call", &status))?
            .into_inner();
        let mut conversation = Self { outbox, inbox };
        match conversation.receive().await? {
            to_shim::Message::Accepted(_) => Ok(conversation),
            _ => Err(out_of_turn("something before Accepted")),
        }
    }

    /// Serves the agent's requests until it is done. What it says while a plugin runs ends the plugin.
    async fn finish(&mut self, path: &str) -> Result<Done, Failure> {
        loop {
            match self.receive().await? {
                to_shim::Message::Done(done) => return Ok(done),
                to_shim::Message::Accepted(_) => return Err(out_of_turn("a second Accepted")),
                to_shim::Message::RunIpam(request) => {
                    if let Some(done) = self.delegate(request, path).await? {
                        return Ok(done);
                    }
                }
            }
        }
    }

    /// Runs a plugin and reports its outcome; an outcome of the call that comes first ends the plugin.
    async fn delegate(&mut self, request: RunIpam, path: &str) -> Result<Option<Done>, Failure> {
        let mut plugin = pin!(ipam::run(request.clone(), path));
        // Both arms are cancel-safe: `message` keeps its state in the stream, and the plugin is not dropped here.
        let heard = tokio::select! {
            outcome = &mut plugin => {
                self.send(from_shim::Message::IpamDone(outcome)).await?;
                return Ok(None);
            }
            heard = self.receive() => heard,
        };
        ipam::give_up(plugin, request, path).await;
        match heard? {
            to_shim::Message::Done(done) => Ok(Some(done)),
            to_shim::Message::RunIpam(_) => Err(out_of_turn("a second RunIpam")),
            to_shim::Message::Accepted(_) => Err(out_of_turn("a second Accepted")),
        }
    }

    async fn receive(&mut self) -> Result<to_shim::Message, Failure> {
        let message = self.inbox.message().await;
        let message = message.map_err(|status| Failure::refused(WENT_AWAY, &status))?;
        let ended = || broken(&io::Error::from(io::ErrorKind::UnexpectedEof));
        message.ok_or_else(ended)?.message.ok_or_else(|| out_of_turn("an empty message"))
    }

    async fn send(&mut self, message: from_shim::Message) -> Result<(), Failure> {
        self.outbox.send(FromShim { message: Some(message) }).await.map_err(|error| broken(&error))
    }
}

fn broken(cause: &dyn std::error::Error) -> Failure {
    Failure::away(WENT_AWAY, cause)
}

const WENT_AWAY: &str = "the agent went away during the call";

fn out_of_turn(what: &str) -> Failure {
    broken(&io::Error::new(io::ErrorKind::InvalidData, format!("the agent sent {what}")))
}

/// A deadline that passed.
#[derive(Debug)]
struct Late(Duration);

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no answer within {:?}", self.0)
    }
}

impl std::error::Error for Late {}
