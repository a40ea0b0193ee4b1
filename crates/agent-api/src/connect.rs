//! The way to the agent: one HTTP/2 connection over its Unix socket.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time;

/// How long it may take until the socket accepts. A listening socket accepts in microseconds; only a full backlog or a
/// stopped agent takes longer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// What requests carry as `:scheme` and `:authority`. Nobody resolves it.
pub(crate) const ORIGIN: &str = "http://underpass.invalid";

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
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ConnectError {
    pub(crate) fn handshake(path: &Path, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Handshake { path: path.to_owned(), source: Box::new(source) }
    }
}

/// Connects to the agent that listens at `path`, within [`CONNECT_TIMEOUT`]. The channel does not connect again by
/// itself: when the agent goes away, calls fail.
#[cfg(feature = "client")]
pub async fn connect(path: &Path) -> Result<tonic::transport::Channel, ConnectError> {
    in_time(path, async {
        let mut stream = Some(stream(path).await?);
        tonic::transport::Endpoint::from_static(ORIGIN)
            .connect_with_connector(tower::service_fn(move |_uri| {
                let once = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
                async move { once }
            }))
            .await
            .map_err(|source| ConnectError::handshake(path, source))
    })
    .await
}

/// A connection to the socket.
pub(crate) async fn stream(path: &Path) -> Result<TokioIo<UnixStream>, ConnectError> {
    let stream = UnixStream::connect(path).await;
    stream.map(TokioIo::new).map_err(|source| ConnectError::Unreachable { path: path.to_owned(), source })
}

/// Bounds the way to a connection.
pub(crate) async fn in_time<T>(
    path: &Path,
    way: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let late = || ConnectError::Timeout { path: path.to_owned(), timeout_ms: CONNECT_TIMEOUT.as_millis() };
    time::timeout(CONNECT_TIMEOUT, way).await.map_err(|_elapsed| late())?
}
