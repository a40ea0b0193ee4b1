//! The way to the agent: one HTTP/2 connection over its Unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// How long [`connect`] waits for the socket to accept. A listening socket accepts in microseconds; only a full backlog
/// or a stopped agent takes longer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Why the agent is out of reach.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("agent socket {} does not answer", path.display())]
    Unreachable {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Someone listens, but does not accept or speak HTTP/2 in time.
    #[error("agent socket {} did not accept within {timeout_ms} ms", path.display())]
    Timeout {
        /// Where.
        path: PathBuf,
        /// The limit in milliseconds.
        timeout_ms: u128,
    },
    /// The connection stands, but HTTP/2 could not be set up on it.
    #[error("agent socket {} does not speak HTTP/2", path.display())]
    Handshake {
        /// Where.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: tonic::transport::Error,
    },
}

/// Connects to the agent that listens at `path`, within [`CONNECT_TIMEOUT`]. The channel does not connect again by
/// itself: when the agent goes away, calls fail.
pub async fn connect(path: &Path) -> Result<Channel, ConnectError> {
    let late = || ConnectError::Timeout { path: path.to_owned(), timeout_ms: CONNECT_TIMEOUT.as_millis() };
    time::timeout(CONNECT_TIMEOUT, handshake(path)).await.map_err(|_elapsed| late())?
}

async fn handshake(path: &Path) -> Result<Channel, ConnectError> {
    let stream = UnixStream::connect(path)
        .await
        .map_err(|source| ConnectError::Unreachable { path: path.to_owned(), source })?;
    let mut stream = Some(TokioIo::new(stream));
    // The URI only fills the `:authority` of requests; nobody resolves it.
    Endpoint::from_static("http://underpass.invalid")
        .connect_with_connector(service_fn(move |_uri| {
            let once = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
            async move { once }
        }))
        .await
        .map_err(|source| ConnectError::Handshake { path: path.to_owned(), source })
}
