//! The agent's DaemonSet: whether a stopping agent is being replaced or leaves for good, and how it is taken away.

use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::Api;
use kube::api::DeleteParams;
use tokio::time::{Instant, sleep};

use super::{Cluster, RequestError, answer};

/// All agents drain at once; the slowest has this long, its grace period included.
const UNINSTALL_DEADLINE: Duration = Duration::from_mins(2);

/// How often it is looked whether the last one is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Why the agents were not taken away.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    #[error("no DaemonSet is named: set `kubernetes.daemonset`")]
    Unnamed,
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("agents are still there after {UNINSTALL_DEADLINE:?}")]
    Late,
}

impl Cluster {
    /// True if the DaemonSet is gone or being deleted. An agent that is merely replaced gets `false`.
    pub async fn leaves_for_good(&self) -> Result<bool, RequestError> {
        let Some((namespace, name)) = &self.settings.daemonset else { return Ok(false) };
        let daemonsets: Api<DaemonSet> = Api::namespaced(self.client.clone(), namespace);
        let found = answer("reading the agent's DaemonSet", daemonsets.get_metadata_opt(name)).await?;
        Ok(found.is_none_or(|daemonset| daemonset.metadata.deletion_timestamp.is_some()))
    }

    /// Deletes the DaemonSet and waits until its last agent is gone.
    ///
    /// `helm uninstall` deletes the agents' rights right after their DaemonSet: an agent that is stopped then may not
    /// be told any more that it is for good. So this runs before.
    pub async fn uninstall(&self) -> Result<(), UninstallError> {
        let (namespace, name) = self.settings.daemonset.as_ref().ok_or(UninstallError::Unnamed)?;
        let daemonsets: Api<DaemonSet> = Api::namespaced(self.client.clone(), namespace);
        // Foreground: the DaemonSet stays, marked, until its pods are gone.
        let (parameters, what) = (DeleteParams::foreground(), "deleting the agent's DaemonSet");
        let until = Instant::now() + UNINSTALL_DEADLINE;
        match answer(what, daemonsets.delete(name, &parameters)).await {
            Err(RequestError::Refused { source: kube::Error::Api(status), .. }) if status.code == 404 => {}
            deleted => drop(deleted?),
        }
        while answer("reading the agent's DaemonSet", daemonsets.get_metadata_opt(name)).await?.is_some() {
            if Instant::now() > until {
                return Err(UninstallError::Late);
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}
