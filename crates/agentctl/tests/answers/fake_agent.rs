//! An agent that answers what `node` says, on a thread of its own.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use agent_api::control::v1::control_server::{Control, ControlServer};
use agent_api::control::v1::{
    AccelReply, AccelRequest, BridgeDump, ConflictsReply, ConflictsRequest, DoctorReply, DoctorRequest,
    DropsReply, DropsRequest, EndpointsReply, EndpointsRequest, EventsReply, EventsRequest, FlowStatus,
    FlowsReply, FlowsRequest, GatewaysReply, GatewaysRequest, StatusReply, StatusRequest, drops_reply,
    events_reply,
};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::node;

/// A running agent; ends when it is dropped.
pub(crate) struct FakeAgent {
    dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeAgent {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.sock");
        let (stop, stopped) = oneshot::channel();
        let (ready, bound) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = UnixListener::bind(socket).unwrap();
                ready.send(()).unwrap();
                let service = Server::builder().add_service(ControlServer::new(Written));
                tokio::select! {
                    result = service.serve_with_incoming(UnixListenerStream::new(listener)) => result.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        bound.recv().unwrap();
        Self { dir, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn socket(&self) -> &Path {
        // Leaked once a test: a path that outlives the call is all the test needs.
        Box::leak(PathBuf::from(self.dir.path()).join("agent.sock").into_boxed_path())
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

struct Written;

type Parts<T> = tokio_stream::Iter<std::vec::IntoIter<Result<T, Status>>>;

fn parts<T>(items: Vec<T>) -> Response<Parts<T>> {
    Response::new(tokio_stream::iter(items.into_iter().map(Ok).collect::<Vec<_>>()))
}

#[tonic::async_trait]
impl Control for Written {
    type FlowsStream = Parts<FlowsReply>;
    type DropsStream = Parts<DropsReply>;
    type EventsStream = Parts<EventsReply>;

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        Ok(Response::new(node::status()))
    }

    async fn endpoints(
        &self,
        request: Request<EndpointsRequest>,
    ) -> Result<Response<EndpointsReply>, Status> {
        let EndpointsRequest { endpoint: asked, bridge } = request.into_inner();
        if bridge == "nobr" {
            return Err(Status::not_found("no bridge `nobr`"));
        }
        let mut endpoints = node::endpoints();
        endpoints
            .retain(|endpoint| endpoint.r#ref.as_ref().is_some_and(|found| found.id.starts_with(&asked)));
        if endpoints.is_empty() {
            return Err(Status::not_found(format!("no endpoint {asked} on this node")));
        }
        Ok(Response::new(EndpointsReply { endpoints }))
    }

    async fn flows(&self, request: Request<FlowsRequest>) -> Result<Response<Self::FlowsStream>, Status> {
        let request = request.into_inner();
        if request.bridge == "gone" {
            return Err(Status::unavailable("bridge gone does not answer"));
        }
        let mut flows = node::flows();
        flows.retain(|flow| request.table.is_empty() || flow.table.to_string() == request.table);
        if request.diff {
            flows.retain(|flow| matches!(flow.status(), FlowStatus::Missing | FlowStatus::Drift));
        }
        // Two batches, to show that they are put together.
        let rest = flows.split_off(flows.len() / 2);
        let end = |bridge: &str, ours, error: &str| {
            let end = BridgeDump { bridge: bridge.to_owned(), error: error.to_owned(), ours };
            FlowsReply { flows: Vec::new(), end: Some(end) }
        };
        if request.bridge == "empty" {
            return Ok(parts(vec![end("empty", 0, "")]));
        }
        let mut replies = vec![FlowsReply { flows, end: None }, FlowsReply { flows: rest, end: None }];
        replies.push(end("br1", 6, ""));
        if request.bridge == "half" {
            replies.push(end("half", 0, "it does not answer"));
        }
        if request.bridge == "down" {
            replies = vec![end("down", 0, "it does not answer")];
        }
        Ok(parts(replies))
    }

    async fn drops(&self, request: Request<DropsRequest>) -> Result<Response<Self::DropsStream>, Status> {
        let mut items: Vec<_> = node::drops().into_iter().map(drops_reply::Item::Counters).collect();
        if request.into_inner().watch {
            items.push(drops_reply::Item::Event(node::drop_event(1_000_000_000)));
            items.push(drops_reply::Item::Lost(3));
        }
        Ok(parts(items.into_iter().map(|item| DropsReply { item: Some(item) }).collect()))
    }

    async fn conflicts(&self, _: Request<ConflictsRequest>) -> Result<Response<ConflictsReply>, Status> {
        Ok(Response::new(ConflictsReply { conflicts: node::conflicts() }))
    }

    async fn gateways(&self, _: Request<GatewaysRequest>) -> Result<Response<GatewaysReply>, Status> {
        Ok(Response::new(GatewaysReply { gateways: node::gateways() }))
    }

    async fn accel(&self, request: Request<AccelRequest>) -> Result<Response<AccelReply>, Status> {
        let reply = request.into_inner().explain.map_or_else(node::accel, |_| node::accel_pair());
        Ok(Response::new(reply))
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let mut items: Vec<_> = node::events().into_iter().map(events_reply::Item::Event).collect();
        if request.into_inner().follow {
            items = vec![events_reply::Item::Event(node::event(1_500_000_000)), events_reply::Item::Lost(7)];
        }
        Ok(parts(items.into_iter().map(|item| EventsReply { item: Some(item) }).collect()))
    }

    async fn doctor(&self, _: Request<DoctorRequest>) -> Result<Response<DoctorReply>, Status> {
        Ok(Response::new(DoctorReply { checks: node::checks() }))
    }
}
