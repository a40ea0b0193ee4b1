//! A connection for one call: the shim's. HTTP/2 on the socket and nothing between it and the generated client.
//!
//! A `tonic` channel could do the same, but brings a queue, a task for it, reconnection and load balancing: a tenth of
//! the shim's size, for a process that lives for one call.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioExecutor;
use tonic::body::Body;
use tonic::codegen::{Service, http};

use crate::MAX_MESSAGE;
use crate::cni::v1::cni_client::CniClient;
use crate::connect::{ConnectError, ORIGIN, stream};

/// An HTTP/2 connection to the agent.
pub struct Line {
    requests: SendRequest<Body>,
}

/// Connects to the agent that listens at `path`, for one call; the caller bounds the time. Needs a `tokio` runtime, on
/// which the connection runs until the client is dropped.
pub async fn dial(path: &Path) -> Result<CniClient<Line>, ConnectError> {
    let stream = stream(path).await?;
    let (requests, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .map_err(|source| ConnectError::handshake(path, source))?;
    #[expect(clippy::disallowed_methods, reason = "how the connection ends shows in the requests on it")]
    tokio::spawn(async { drop(connection.await) });
    let client = CniClient::with_origin(Line { requests }, http::Uri::from_static(ORIGIN));
    Ok(client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
}

impl Service<http::Request<Body>> for Line {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.requests.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}
