//! Readiness, the lock of the single agent, and systemd's notification socket.

use std::fs::File;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::watch;

/// Where the agent stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Starting,
    Ready,
    Stopping,
}

/// Told by the boot story, read by the health service and by CNI calls.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<Life>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::channel(Life::Starting).0))
    }
}

impl Readiness {
    pub fn set_ready(&self) {
        self.0.send_replace(Life::Ready);
    }

    pub fn set_stopping(&self) {
        self.0.send_replace(Life::Stopping);
    }

    pub fn life(&self) -> Life {
        *self.0.borrow()
    }

    pub fn watch(&self) -> watch::Receiver<Life> {
        self.0.subscribe()
    }
}

/// Takes the lock of `run_dir`, waiting for another agent to end. Nothing was read or written before.
pub async fn lock(run_dir: &Path) -> anyhow::Result<Flock<File>> {
    let path = run_dir.join("agent.lock");
    let mut file = File::options().create(true).append(true).open(&path).context("opening the lock file")?;
    let mut told = false;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, nix::errno::Errno::EWOULDBLOCK)) => file = back,
            Err((_, errno)) => return Err(errno).with_context(|| format!("locking {}", path.display())),
        }
        if !told {
            tracing::warn!(lock = %path.display(), "another agent runs here, waiting for it to end");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Tells systemd (sd_notify(3)); does nothing without one.
pub fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent =
        UnixDatagram::unbound().and_then(|socket| match path.to_str().and_then(|p| p.strip_prefix('@')) {
            Some(name) => {
                use std::os::linux::net::SocketAddrExt as _;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                socket.send_to_addr(state.as_bytes(), &address)
            }
            None => socket.send_to(state.as_bytes(), &path),
        });
    if let Err(error) = sent {
        tracing::warn!(%error, "telling the service manager failed");
    }
}
