//! The connection to the agent: every question has a deadline.

use std::path::Path;
use std::time::Duration;

use agent_api::MAX_MESSAGE;
use agent_api::control::v1::control_client::ControlClient;
use tokio::time;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::failure::Failure;

/// How long an answer, or the next part of one, may take. The longest is a dump of 100,000 flows; its parts come steadily.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection.
pub(crate) struct Session {
    pub(crate) agent: ControlClient<Channel>,
}

impl Session {
    pub(crate) async fn open(socket: &Path) -> Result<Self, Failure> {
        let channel = agent_api::connect(socket).await.map_err(Failure::NoAgent)?;
        Ok(Self { agent: ControlClient::new(channel).max_decoding_message_size(MAX_MESSAGE) })
    }
}

/// The answer to one question.
pub(crate) async fn answer<T>(
    question: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    Ok(in_time(question).await??.into_inner())
}

/// The next part of an answer that comes in parts; `None` at its end.
pub(crate) async fn next<T>(parts: &mut Streaming<T>) -> Result<Option<T>, Failure> {
    Ok(in_time(parts.message()).await??)
}

async fn in_time<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    time::timeout(PATIENCE, future).await.map_err(|_elapsed| Failure::Late { seconds: PATIENCE.as_secs() })
}
