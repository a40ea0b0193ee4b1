//! The agent's part in a Kubernetes cluster: what it reads from the API server and the little it writes there.
//!
//! Owns the connection. Nothing that a pod waits for goes through here: CNI verbs work without an API server, and its
//! loss only delays what is written below. Every request has a deadline.
//!
//! | file | reads | writes |
//! | --- | --- | --- |
//! | `node` | this Node: the ranges of its pods | its start-up taint, its bridges as resources |
//! | `daemonset` | whether the agent's DaemonSet is still wanted | its deletion, by `underpass-agent uninstall` |
//!
//! Events are written by `observe::cluster`. Must not: touch the data plane or the intent.

mod daemonset;
mod node;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use crate::config::{InCluster, Kubernetes};

pub use daemonset::UninstallError;
pub use node::Ranges;

/// One request and its answer. The API server gives up after a minute itself; nobody here waits that long.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// What the API server calls us, in Events and as owner of fields.
pub const CONTROLLER: &str = "underpass-agent";

/// The connection, and who we are in the cluster. Clones share it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    node: String,
    settings: Kubernetes,
}

/// Why the agent cannot take part, though it was told to.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("the node's name is not known: set `kubernetes.node` or NODE_NAME")]
    NoNode,
    #[error("the service account cannot be used")]
    ServiceAccount(#[source] kube::config::InClusterError),
    #[error("the client for the API server cannot be set up")]
    Client(#[source] kube::Error),
}

/// Why a request failed; the next attempt may succeed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("{what}: the API server did not answer within {REQUEST_DEADLINE:?}")]
    Late { what: &'static str },
    #[error("{what} failed")]
    Refused {
        what: &'static str,
        #[source]
        source: kube::Error,
    },
}

impl Cluster {
    /// `None` outside of a cluster. Sends nothing yet: the API server may be away.
    pub fn join(settings: &Kubernetes) -> Result<Option<Self>, JoinError> {
        let in_pod =
            std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(SERVICE_ACCOUNT).exists();
        let wanted = match settings.enabled {
            InCluster::Auto => in_pod,
            InCluster::Yes => true,
            InCluster::No => false,
        };
        if !wanted {
            return Ok(None);
        }
        let node = settings.node.clone().or_else(|| std::env::var("NODE_NAME").ok());
        let node = node.filter(|name| !name.is_empty()).ok_or(JoinError::NoNode)?;
        let mut config = kube::Config::incluster().map_err(JoinError::ServiceAccount)?;
        config.connect_timeout = Some(REQUEST_DEADLINE);
        let client = Client::try_from(config).map_err(JoinError::Client)?;
        Ok(Some(Self { client, node, settings: settings.clone() }))
    }

    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Writes Events in this agent's name.
    pub fn recorder(&self) -> Recorder {
        let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: Some(self.node.clone()) };
        Recorder::new(self.client.clone(), reporter)
    }
}

/// Waits for an answer, but not for ever.
async fn answer<T>(
    what: &'static str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, RequestError> {
    match tokio::time::timeout(REQUEST_DEADLINE, request).await {
        Ok(answer) => answer.map_err(|source| RequestError::Refused { what, source }),
        Err(_) => Err(RequestError::Late { what }),
    }
}
