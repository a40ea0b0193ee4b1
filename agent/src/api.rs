//! The gRPC socket: CNI calls, the control service, health; and the port for metrics.
//!
//! Translation only: a call is converted, a handle is asked, the answer is converted. No state but the calls under
//! way. tonic stays in this room.

mod calls;
mod cni;
mod control;
mod health;
mod metrics;
mod shim;
mod spool;

use std::path::Path;
use std::sync::Arc;

use agent_api::cni::v1::cni_server::CniServer;
use agent_api::control::v1::control_server::ControlServer;
use anyhow::Context as _;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::config::Config;
use crate::dataplane::bpf::Bpf;
use crate::dataplane::flows::Switches;
use crate::dataplane::links::Links;
use crate::dataplane::netns::ProcRoot;
use crate::dataplane::ports::PortsHandle;
use crate::events::Events;
use crate::health::{Life, Readiness};
use crate::metrics::CallTimes;
use crate::model::Outcomes;
use crate::observe::drops::Drops;
use crate::reconcile::ReconcileHandle;
use crate::store::StoreHandle;

pub use calls::{CallRunner, Calls};
pub use cni::{PluginVersions, pay_debts};
pub use health::ask as ask_health;
pub use metrics::serve as serve_metrics;
pub use spool::{drain as drain_spool, watch as watch_spool};

/// Every handle that a call may need.
#[derive(Clone)]
pub struct Context {
    pub config: Arc<Config>,
    pub store: StoreHandle,
    pub reconcile: ReconcileHandle,
    pub ports: PortsHandle,
    pub links: Links,
    pub proc_root: ProcRoot,
    pub bpf: Arc<Bpf>,
    pub switches: Switches,
    pub outcomes: watch::Receiver<Arc<Outcomes>>,
    pub events: Events,
    pub readiness: Readiness,
    pub calls: Calls,
    /// Streams of the control service under way: they do not hold up a drain.
    pub questions: Calls,
    pub drops: Drops,
    pub plugins: PluginVersions,
    pub call_times: CallTimes,
    /// When the agent started, on the boot clock.
    pub started: std::time::Duration,
}

impl Context {
    /// Whether CNI calls are served.
    fn is_ready(&self) -> bool {
        self.readiness.life() == Life::Ready && self.ports.watch().borrow().stands_by().is_none()
    }

    /// The physical members of a bridge, by name.
    fn uplinks(&self, bridge: &str) -> Vec<String> {
        let ovs = self.ports.watch().borrow().clone();
        crate::reconcile::uplinks(&ovs, &self.config, bridge).into_iter().map(|i| i.name.clone()).collect()
    }
}

/// Binds the socket under a temporary name and renames it: whoever connects meets a listener.
pub fn bind(socket: &Path) -> anyhow::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    let temporary = socket.with_extension("new");
    match std::fs::remove_file(&temporary) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(e).context("removing a half-made socket");
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(&temporary).with_context(|| format!("binding {}", temporary.display()))?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))
        .context("setting its mode")?;
    std::fs::rename(&temporary, socket).with_context(|| format!("renaming it to {}", socket.display()))?;
    Ok(listener)
}

/// Serves until `stop`.
pub async fn serve(listener: UnixListener, context: Context, stop: CancellationToken) {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let (life, ovs) = (context.readiness.watch(), context.ports.watch());
    let cni = CniServer::new(cni::Service::new(context.clone()))
        .max_decoding_message_size(agent_api::MAX_MESSAGE)
        .max_encoding_message_size(agent_api::MAX_MESSAGE);
    let control = ControlServer::new(control::Service::new(context));
    let server = Server::builder()
        .add_service(health_service)
        .add_service(cni)
        .add_service(control)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.clone().cancelled_owned());
    tokio::select! {
        outcome = server => if let Err(error) = outcome {
            tracing::error!(error = crate::report::chain(&error), "the socket failed");
        },
        () = health::report(reporter, life, ovs) => {}
    }
}
