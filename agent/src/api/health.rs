//! The standard health service, both sides: what exec probes ask, and the question itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::watch;
use tonic_health::ServingStatus::{NotServing, Serving};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_health::server::HealthReporter;

use crate::dataplane::ports::Ovs;
use crate::health::Life;

/// The name under which readiness for CNI calls is told; the empty name tells whether the agent lives.
const CNI_SERVICE: &str = "underpass.cni.v1.Cni";

/// How long the question waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Keeps the health service telling where the agent is in its life. One that stands by lives and is not ready.
pub(super) async fn report(
    reporter: HealthReporter,
    mut life: watch::Receiver<Life>,
    mut ovs: watch::Receiver<Arc<Ovs>>,
) {
    loop {
        let now = *life.borrow_and_update();
        let stands_by = ovs.borrow_and_update().stands_by().is_some();
        let ready = if now == Life::Ready && !stands_by { Serving } else { NotServing };
        let alive = if now == Life::Stopping { NotServing } else { Serving };
        reporter.set_service_status(CNI_SERVICE, ready).await;
        reporter.set_service_status("", alive).await;
        // Both are cancel-safe: what changed is read at the next turn.
        let changed = tokio::select! {
            changed = life.changed() => changed,
            changed = ovs.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Asks the agent behind `socket` whether it lives, or whether it serves CNI calls.
pub async fn ask(socket: &Path, ready: bool) -> anyhow::Result<()> {
    let channel = agent_api::connect(socket).await?;
    let service = if ready { CNI_SERVICE } else { "" }.to_owned();
    let mut client = HealthClient::new(channel);
    let question = client.check(HealthCheckRequest { service });
    let answer = tokio::time::timeout(PATIENCE, question).await.context("the agent does not answer")??;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => bail!("the agent says {}", other.as_str_name()),
    }
}
