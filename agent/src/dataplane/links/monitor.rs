//! The task that keeps the set of host ends current.
//!
//! In: the kernel's multicast of link changes. Out: `watch<Arc<HostVeths>>`, published only when it differs.
//!
//! An event only says "look again": the set always comes from a whole dump, so a lost event (the socket's buffer is
//! finite) costs nothing but its delay, and start, overrun and steady state are one path. The alternative, applying
//! events to a copy, must order them against the dump that filled it, and netlink gives no such order.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{Either, select};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use tokio::sync::watch;

use super::request::{self, Events};
use super::{HostVeths, LinkError, Links, is_host_end_name};

/// Runs for ever. A failed socket is opened again after a pause, and the set is read anew.
pub async fn run(links: Links, facts: watch::Sender<Arc<HostVeths>>) -> Infallible {
    loop {
        let error = match follow(&links, &facts).await {
            Err(error) => error,
            Ok(never) => match never {},
        };
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "link monitor lost its socket, trying again"
        );
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn follow(links: &Links, facts: &watch::Sender<Arc<HostVeths>>) -> Result<Infallible, LinkError> {
    // Subscribe before the first dump: what changes after it is heard.
    let (events, driver) = request::listen(links.host()).await?;
    match select(pin!(observe_on(links, facts, events)), driver).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), _)) => Err(closed()),
    }
}

async fn observe_on(
    links: &Links,
    facts: &watch::Sender<Arc<HostVeths>>,
    mut events: Events,
) -> Result<Infallible, LinkError> {
    loop {
        let observed = Arc::new(links.observe().await?);
        facts.send_if_modified(|known| {
            let differs = *known != observed;
            *known = observed;
            differs
        });
        loop {
            let (message, _) = events.next().await.ok_or_else(closed)?;
            if is_relevant(&message.payload) {
                break;
            }
        }
        tokio::time::sleep(COALESCE).await;
        // Whatever came meanwhile is covered by the dump that follows.
        while events.try_recv().is_ok() {}
    }
}

/// Whether a message can have changed the set: a host end's name, or the kernel says that it dropped messages.
fn is_relevant(payload: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
    match payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link),
        ) => names_host_end(link),
        NetlinkPayload::Overrun(_) => true,
        _ => false,
    }
}

fn names_host_end(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|a| matches!(a, LinkAttribute::IfName(name) if is_host_end_name(name)))
}

fn closed() -> LinkError {
    LinkError::Closed { operation: "listen to link changes".to_owned() }
}

/// Pause after the first event of a burst: one pod makes about ten events within 2 ms, and a dump of 500 links costs
/// a millisecond under RTNL, which the makers of links need too.
const COALESCE: Duration = Duration::from_millis(10);

/// Pause before a failed socket is opened again.
const RECONNECT: Duration = Duration::from_secs(1);
