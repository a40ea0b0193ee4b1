//! The other end of a CNI call: what the shim sends, and what it is asked to do.

use std::time::Duration;

use agent_api::cni::v1::{
    Accepted, Done, FromShim, IpamDone, RunIpam, Start, ToShim, Verb, from_shim, to_shim,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::clock::boottime;
use crate::limits::ACK_PATIENCE;
use crate::metrics::CallTimes;

/// The stream broke: the shim is gone, or does not keep to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the CNI plugin went away")]
pub(super) struct Gone;

/// One stream with a shim, after its `Start`.
pub(super) struct Shim {
    inbound: Streaming<FromShim>,
    outbound: mpsc::Sender<Result<ToShim, Status>>,
    next_seq: u32,
    /// A plugin was asked for and has not answered.
    plugin_runs: bool,
    verb: Verb,
    /// When the shim started, on the boot clock.
    asked_at: Duration,
    times: CallTimes,
}

impl Shim {
    /// Reads the `Start` of a new stream.
    pub(super) async fn begin(
        mut inbound: Streaming<FromShim>,
        outbound: mpsc::Sender<Result<ToShim, Status>>,
        times: CallTimes,
    ) -> Result<(Start, Self), Status> {
        let first = timeout(START_PATIENCE, inbound.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no Start came"))??;
        let first = first.and_then(|m| m.message);
        match first {
            Some(from_shim::Message::Start(start)) => {
                let (verb, asked_at) = (start.verb(), Duration::from_nanos(start.boottime_ns));
                let shim = Self { inbound, outbound, next_seq: 1, plugin_runs: false, verb, asked_at, times };
                Ok((start, shim))
            }
            _ => Err(Status::invalid_argument("the first message must be Start")),
        }
    }

    pub(super) async fn accept(&self) -> Result<(), Gone> {
        self.send(to_shim::Message::Accepted(Accepted {})).await
    }

    /// Has the shim run an IPAM plugin in the runtime's own context.
    pub(super) async fn run_ipam(
        &mut self,
        verb: Verb,
        plugin: &str,
        stdin: Vec<u8>,
    ) -> Result<IpamDone, Gone> {
        // The shim runs one at a time. If an earlier one was given up, this one cannot be asked for.
        if self.plugin_runs {
            return Err(Gone);
        }
        self.plugin_runs = true;
        let seq = self.next_seq;
        self.next_seq += 1;
        let request = RunIpam { seq, verb: verb.into(), r#type: plugin.to_owned(), stdin };
        self.send(to_shim::Message::RunIpam(request)).await?;
        match timeout(PLUGIN_PATIENCE, self.receive()).await.map_err(|_| Gone)?? {
            from_shim::Message::IpamDone(done) if done.seq == seq => {
                self.plugin_runs = false;
                Ok(done)
            }
            _ => Err(Gone),
        }
    }

    /// Ends only when the shim goes away. Nothing else is expected while the agent works.
    pub(super) async fn gone(&mut self) {
        loop {
            match self.inbound.message().await {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Sends the outcome, with the CNI specification's code, 0 for success; tells whether the shim says that the runtime
    /// has it.
    pub(super) async fn finish(&mut self, code: u32, stdout: Vec<u8>) -> bool {
        self.times.observe(word(self.verb), code, boottime().saturating_sub(self.asked_at));
        let exit = i32::from(code != 0);
        if self.send(to_shim::Message::Done(Done { exit, stdout })).await.is_err() {
            return false;
        }
        matches!(timeout(ACK_PATIENCE, self.receive()).await, Ok(Ok(from_shim::Message::Ack(_))))
    }

    async fn receive(&mut self) -> Result<from_shim::Message, Gone> {
        let message = self.inbound.message().await.map_err(|_| Gone)?;
        message.and_then(|m| m.message).ok_or(Gone)
    }

    async fn send(&self, message: to_shim::Message) -> Result<(), Gone> {
        let sent = self.outbound.send_timeout(Ok(ToShim { message: Some(message) }), SEND_PATIENCE).await;
        sent.map_err(|_| Gone)
    }
}

/// As `CNI_COMMAND` has it.
fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Add => "ADD",
        Verb::Del => "DEL",
        Verb::Check => "CHECK",
        Verb::Status => "STATUS",
        Verb::Gc => "GC",
        Verb::Version => "VERSION",
        Verb::Unspecified => "unknown",
    }
}

/// A shim says what it is about in its first message, which it sends with the call; it may be held up between the two on a
/// node that is short of everything.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A plugin that runs for longer than the runtime waits is of no use any more, and its shim may be frozen.
const PLUGIN_PATIENCE: Duration = Duration::from_mins(2);

/// A shim that does not read for this long is not there any more: it has nothing else to do.
const SEND_PATIENCE: Duration = Duration::from_secs(5);
