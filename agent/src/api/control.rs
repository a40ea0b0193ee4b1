//! The control service: what `agentctl` asks. Every call only reads.

mod accel;
mod convert;
mod doctor;
mod drops;
mod endpoints;
mod flows;
mod now;
mod select;
mod status;
mod views;

use std::pin::Pin;

use agent_api::control::v1 as pb;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Context;

pub(super) use now::now;

/// A streamed answer.
type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Messages of a stream that may wait for a slow reader; then its producer waits.
const STREAM_QUEUE: usize = 16;

pub(super) struct Service {
    context: Context,
}

impl Service {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Runs a producer as a task of its own, and gives its messages back as a stream.
    fn stream<T, F, W>(&self, produce: F) -> Result<Response<Replies<T>>, Status>
    where
        T: Send + 'static,
        F: FnOnce(Context, Outlet<T>) -> W,
        W: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let (sender, receiver) = tokio::sync::mpsc::channel(STREAM_QUEUE);
        let end = sender.clone();
        let work = produce(self.context.clone(), Outlet(sender));
        let submitted = self.context.questions.submit(async move {
            if let Err(status) = work.await {
                end.send(Err(status)).await.ok();
            }
        });
        if !submitted {
            return Err(Status::resource_exhausted("too many questions at once"));
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Where a producer puts its messages.
struct Outlet<T>(tokio::sync::mpsc::Sender<Result<T, Status>>);

impl<T> Outlet<T> {
    /// An error means that nobody listens any more.
    async fn send(&self, message: T) -> Result<(), Status> {
        self.0.send(Ok(message)).await.map_err(|_| Status::cancelled("the reader went away"))
    }

    /// Ends when nobody listens any more.
    async fn closed(&self) {
        self.0.closed().await;
    }
}

#[tonic::async_trait]
impl pb::control_server::Control for Service {
    type FlowsStream = Replies<pb::FlowsReply>;
    type DropsStream = Replies<pb::DropsReply>;
    type EventsStream = Replies<pb::EventsReply>;

    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusReply>, Status> {
        Ok(Response::new(status::reply(&self.context).await))
    }

    async fn endpoints(
        &self,
        request: Request<pb::EndpointsRequest>,
    ) -> Result<Response<pb::EndpointsReply>, Status> {
        endpoints::reply(&self.context, &request.into_inner()).await.map(Response::new)
    }

    async fn flows(&self, request: Request<pb::FlowsRequest>) -> Result<Response<Self::FlowsStream>, Status> {
        let request = flows::Wanted::new(&self.context, request.into_inner())?;
        self.stream(|context, out| flows::produce(context, request, out))
    }

    async fn drops(&self, request: Request<pb::DropsRequest>) -> Result<Response<Self::DropsStream>, Status> {
        let request = request.into_inner();
        let chosen = select::endpoints(&self.context, &request.endpoint)?;
        self.stream(|context, out| drops::produce(context, chosen, request.watch, out))
    }

    async fn conflicts(
        &self,
        request: Request<pb::ConflictsRequest>,
    ) -> Result<Response<pb::ConflictsReply>, Status> {
        views::conflicts(&self.context, &request.into_inner()).await.map(Response::new)
    }

    async fn gateways(
        &self,
        request: Request<pb::GatewaysRequest>,
    ) -> Result<Response<pb::GatewaysReply>, Status> {
        views::gateways(&self.context, &request.into_inner()).map(Response::new)
    }

    async fn accel(&self, request: Request<pb::AccelRequest>) -> Result<Response<pb::AccelReply>, Status> {
        accel::reply(&self.context, request.into_inner()).map(Response::new)
    }

    async fn events(
        &self,
        request: Request<pb::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        let request = request.into_inner();
        let chosen = select::endpoints(&self.context, &request.endpoint)?;
        self.stream(|context, out| views::events(context, chosen, request.follow, out))
    }

    async fn doctor(&self, _: Request<pb::DoctorRequest>) -> Result<Response<pb::DoctorReply>, Status> {
        Ok(Response::new(doctor::reply(&self.context).await))
    }
}
