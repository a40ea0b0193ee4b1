//! The CNI verbs: from a shim's call to handles of the store and the reconciler, and back to bytes.
//!
//! Every verb ends in bytes for the runtime: a result, nothing, or one error object. A call runs as a task of its
//! own and cleans up after itself, so a shim that is killed leaves nothing behind.

mod add;
mod check;
mod debts;
mod del;
mod gc;
mod ipam;
mod outage;
mod request;
mod status;

use std::pin::Pin;

use agent_api::cni::v1::{FromShim, Start, ToShim, Verb};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status, Streaming};

use super::Context;
use super::shim::Shim;
use crate::cni::{CniError, Code, Head, Version};
use crate::health::Life;

pub use debts::pay_debts;
pub use ipam::PluginVersions;
pub(super) use {del::spooled as spooled_del, gc::spooled as spooled_gc};

/// Messages on their way to a shim: it reads one before it does anything else.
const TO_SHIM: usize = 4;

/// What a verb ends in: stdout for success, or the error.
type Outcome = Result<Vec<u8>, CniError>;

pub(super) struct Service {
    context: Context,
}

impl Service {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }
}

#[tonic::async_trait]
impl agent_api::cni::v1::cni_server::Cni for Service {
    type RunStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<ToShim, Status>> + Send>>;

    async fn run(&self, request: Request<Streaming<FromShim>>) -> Result<Response<Self::RunStream>, Status> {
        let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        let pid = peer.and_then(|credentials| credentials.pid());
        let pid = pid.ok_or_else(|| Status::permission_denied("the kernel does not say who is calling"))?;
        let (outbound, stream) = mpsc::channel(TO_SHIM);
        // Who says nothing takes no call's place: until then this is only one more stream of its connection.
        let (start, shim) =
            Shim::begin(request.into_inner(), outbound, self.context.call_times.clone()).await?;
        if !self.context.calls.submit(serve(self.context.clone(), pid, start, shim)) {
            return Err(Status::resource_exhausted("too many calls at once"));
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// One call from after its `Start` to `Ack`.
async fn serve(context: Context, pid: i32, start: Start, mut shim: Shim) {
    if shim.accept().await.is_err() {
        return;
    }
    let version = Head::version_of(&start.stdin);
    let verb = start.verb();
    tracing::debug!(?verb, container = %start.container_id, ifname = %start.ifname, "CNI call");
    let outcome = match (context.readiness.life(), verb) {
        (Life::Ready, Verb::Add) => return add::run(&context, pid, &start, shim, version).await,
        // What only takes away is served as long as anything is.
        (_, Verb::Del) => del::run(&context, &start, &mut shim).await,
        (_, Verb::Gc) => gc::run(&context, &start, &mut shim).await,
        (Life::Ready, Verb::Check) => check::run(&context, pid, &start, &mut shim).await,
        (Life::Ready, Verb::Status) => status::run(&context, &start, &mut shim).await,
        (Life::Ready, Verb::Unspecified | Verb::Version) => {
            Err(CniError::new(Code::INVALID_ENVIRONMENT, "CNI_COMMAND is not a verb that the agent serves"))
        }
        (_, Verb::Status) => Err(CniError::new(Code::NOT_AVAILABLE, "the agent is not ready")),
        (Life::Starting | Life::Stopping, _) => Err(CniError::new(Code::TRY_AGAIN, "the agent is not ready")),
    };
    finish(&mut shim, outcome, version).await;
}

/// Sends the outcome; tells whether the runtime has it.
async fn finish(shim: &mut Shim, outcome: Outcome, version: Version) -> bool {
    match outcome {
        Ok(stdout) => shim.finish(0, stdout).await,
        Err(error) => {
            tracing::info!(code = error.code.0, msg = %error.msg, details = %error.details, "CNI call failed");
            shim.finish(error.code.0, error.to_json(version)).await
        }
    }
}

/// The time of the shim's start.
fn asked_at(start: &Start) -> std::time::Duration {
    std::time::Duration::from_nanos(start.boottime_ns)
}
