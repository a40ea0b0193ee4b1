//! The spool: DEL and GC calls that came while no agent was there, worked off before the agent says that it is ready.

use std::path::PathBuf;

use agent_api::cni::v1::{Start, Verb};
use prost::Message as _;

use super::{Context, cni};
use crate::cni::Code;
use crate::limits::SPOOL_LOOK;

/// Works the spool off in the order of the calls. What cannot be written down now is tried again; a file that makes no
/// sense is reported and removed, since it would fail again at every start.
pub async fn drain(context: &Context) {
    let mut calls = read(context);
    calls.sort_by_key(|(_, start)| start.boottime_ns);
    for (path, start) in calls {
        let outcome = match start.verb() {
            Verb::Del => cni::spooled_del(context, &start).await,
            Verb::Gc => cni::spooled_gc(context, &start).await,
            other => {
                tracing::warn!(path = %path.display(), verb = ?other, "this verb does not belong in the spool");
                Ok(())
            }
        };
        if let Err(error) = outcome {
            tracing::error!(path = %path.display(), msg = %error.msg, details = %error.details, "spooled call failed");
            if error.code == Code::IO_FAILURE {
                continue;
            }
        }
        remove(&path);
    }
}

/// Looks again now and then: a shim that found no socket just before it was bound leaves its call here, and so does
/// one that a busy agent did not accept in time.
pub async fn watch(context: Context) {
    loop {
        tokio::time::sleep(SPOOL_LOOK).await;
        drain(&context).await;
    }
}

fn read(context: &Context) -> Vec<(PathBuf, Start)> {
    let dir = agent_api::spool_dir(&context.config.socket());
    let Ok(entries) = std::fs::read_dir(&dir) else { return Vec::new() };
    let mut calls = Vec::new();
    for path in entries.flatten().map(|e| e.path()) {
        let named = path.file_name().and_then(|n| n.to_str()).is_some_and(agent_api::is_spool_file);
        if !named {
            continue;
        }
        match std::fs::read(&path).map(|bytes| Start::decode(&bytes[..])) {
            Ok(Ok(start)) => calls.push((path, start)),
            broken => {
                tracing::error!(path = %path.display(), ?broken, "spool file cannot be read and is removed");
                remove(&path);
            }
        }
    }
    calls
}

fn remove(path: &std::path::Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::error!(path = %path.display(), %error, "spool file stays");
    }
}
