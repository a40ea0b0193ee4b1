//! One bridge for as long as it is wanted: connect, serve, wait, again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::board::Board;
use super::channel::Channel;
use super::session::{self, Session};
use crate::limits;

/// Where OVS listens for a bridge's service connections. They get no packet-in, port status or flow-removed unless
/// they ask (`ofconn_receives_async_msg()`: a service connection whose `miss_send_len` is 0), and the bridge's
/// controllers and fail mode are not touched by them.
pub(super) fn socket(run_dir: &Path, bridge: &str) -> PathBuf {
    run_dir.join(format!("{bridge}.mgmt"))
}

/// Never ends; dropped when the bridge is wanted no longer.
pub(super) async fn serve(bridge: String, path: PathBuf, board: Arc<Board>) {
    let bridge: Arc<str> = bridge.into();
    let mut wait = limits::RECONNECT_FIRST;
    loop {
        let tried = SocketFile::look(&path);
        let error = match Channel::open(&bridge, &path).await {
            Ok((channel, features)) => {
                let born = Instant::now();
                let requests = board.up(&bridge, &features);
                tracing::info!(%bridge, datapath_id = %format_args!("{:016x}", features.datapath_id), "connected to bridge");
                let session = Session::new(bridge.clone(), board.counts(), born);
                let error = session::run(session, channel, requests, || board.disturb(&bridge)).await;
                tracing::warn!(%bridge, error = &error as &dyn std::error::Error, "lost connection to bridge");
                if born.elapsed() > limits::RECONNECT_LAST {
                    // It worked: what comes now is a new fault, with a back-off of its own.
                    wait = limits::RECONNECT_FIRST;
                }
                error
            }
            Err(error) => error,
        };
        board.down(&bridge, error);
        wait = rest(&path, tried, wait).await;
    }
}

/// Waits before the next attempt, less if the socket file changes; says how long to wait the next time.
async fn rest(path: &Path, tried: Option<SocketFile>, wait: Duration) -> Duration {
    let end = Instant::now() + wait;
    loop {
        sleep(limits::RECONNECT_FIRST).await;
        if SocketFile::look(path) != tried {
            // vswitchd was started, or the bridge made. It may not listen yet: the patience starts small again.
            return limits::RECONNECT_FIRST;
        }
        if Instant::now() >= end {
            return (wait * 2).min(limits::RECONNECT_LAST);
        }
    }
}

/// Which file lies at a path. A look costs some microseconds (run directories are in memory), so it is taken every
/// [`limits::RECONNECT_FIRST`] instead of watching the directory.
#[derive(Debug, PartialEq, Eq)]
struct SocketFile {
    device: u64,
    inode: u64,
    /// Inode numbers are reused at once.
    changed: (i64, i64),
}

impl SocketFile {
    fn look(path: &Path) -> Option<Self> {
        let meta = std::fs::symlink_metadata(path).ok()?;
        Some(Self { device: meta.dev(), inode: meta.ino(), changed: (meta.ctime(), meta.ctime_nsec()) })
    }
}
