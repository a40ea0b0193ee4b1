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

/// Takes the locks of `run_dir` and `bpf_dir`, waiting for another agent to end. Nothing was read or written before.
///
/// The second one is for an agent that was given another `run_dir` and the usual pins: each would take the other's maps
/// for drift, or for those of an old version. A bpffs takes no files, so the directory itself is locked.
pub async fn lock(run_dir: &Path, bpf_dir: &Path) -> anyhow::Result<[Flock<File>; 2]> {
    let path = run_dir.join("agent.lock");
    let file = File::options().create(true).append(true).open(&path);
    let first = wait_for(file.with_context(|| format!("opening {}", path.display()))?, &path).await?;
    let pins = File::open(bpf_dir).with_context(|| format!("opening {}", bpf_dir.display()))?;
    Ok([first, wait_for(pins, bpf_dir).await?])
}

async fn wait_for(mut file: File, path: &Path) -> anyhow::Result<Flock<File>> {
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
