//! What no ADD can do without: the database, its bridge, and the switch behind that. Each is away for a moment when it is
//! restarted, and an ADD waits for that. An outage that lasts is told, so that the runtime can try again, and STATUS
//! says the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::Context;
use crate::cni::{CniError, Code};
use crate::dataplane::flows::{Connection, Connections};
use crate::dataplane::ports::{Ovs, State};
use crate::limits::{OUTAGE_PATIENCE, OVSDB_PATIENCE};
use crate::report::chain;

/// What is known of OVSDB; right after a start of the agent or of the database it is given a moment to be reached.
pub(super) async fn database(context: &Context) -> Arc<Ovs> {
    let mut watch = context.ports.watch();
    drop(timeout(OVSDB_PATIENCE, watch.wait_for(|ovs| ovs.is_current())).await);
    let ovs = watch.borrow();
    Arc::clone(&ovs)
}

/// An outage that has lasted too long already.
pub(super) fn known(context: &Context, bridge: &str) -> Option<CniError> {
    let missing = missing(&context.ports.watch().borrow(), &context.switches.watch().borrow(), bridge)?;
    missing.since.is_some_and(|since| since.elapsed() >= OUTAGE_PATIENCE).then_some(missing.error)
}

/// Ends when something has been away for too long.
pub(super) async fn lasting(context: &Context, bridge: &str) -> CniError {
    until_lasting(context.ports.watch(), context.switches.watch(), bridge, OUTAGE_PATIENCE).await
}

async fn until_lasting(
    mut ovs: watch::Receiver<Arc<Ovs>>,
    mut switches: watch::Receiver<Connections>,
    bridge: &str,
    patience: Duration,
) -> CniError {
    // Of the whole outage: in a restart one thing comes back before the other.
    let mut away_since = None;
    loop {
        let missing = missing(&ovs.borrow_and_update(), &switches.borrow_and_update(), bridge);
        let mut deadline = None;
        if let Some(Missing { since, error }) = missing {
            let since = *away_since.get_or_insert(since.unwrap_or_else(Instant::now));
            if since.elapsed() >= patience {
                return error;
            }
            deadline = Some(since + patience);
        } else {
            away_since = None;
        }
        let over = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // Every arm is cancel-safe: each only says "look again".
        let ended = tokio::select! {
            changed = ovs.changed() => changed.is_err(),
            changed = switches.changed() => changed.is_err(),
            () = over => false,
        };
        if ended {
            // The agent is stopping, which the caller hears elsewhere.
            return std::future::pending().await;
        }
    }
}

/// Something that is away.
struct Missing {
    /// Since when, where that is known.
    since: Option<Instant>,
    /// What the runtime is told if it stays away.
    error: CniError,
}

fn missing(ovs: &Ovs, switches: &Connections, bridge: &str) -> Option<Missing> {
    if let Some(why) = ovs.outage() {
        let since = match ovs.state {
            State::Down { .. } => Some(Instant::from_std(ovs.since)),
            State::Connected => None,
        };
        return Some(Missing { since, error: again("OVSDB is out of reach".to_owned()).because(why) });
    }
    if !ovs.bridges.contains_key(bridge) {
        return Some(Missing { since: None, error: again(format!("there is no bridge {bridge}")) });
    }
    match switches.get(bridge) {
        Some(Connection::Down { since, error }) => {
            let told = again(format!("bridge {bridge} does not answer")).because(chain(error));
            Some(Missing { since: Some(*since), error: told })
        }
        // Nobody needed it until now: who does asks for it.
        Some(Connection::Connected { .. }) | None => None,
    }
}

fn again(msg: String) -> CniError {
    CniError::new(Code::TRY_AGAIN, msg)
}

#[cfg(test)]
mod tests;
