//! The task that keeps the set of host ends current.
//!
//! In: the kernel's multicast of link changes. Out: `watch<Arc<HostVeths>>`, published only when it differs.
//!
//! An event only says "look at this link again"; what is so always comes from a question asked afterwards. So events
//! need no order and may be repeated or merged. When some were lost (the socket's buffer is finite) or many links are
//! to be looked at, the whole set is read; start, overrun and reconnect are that same path. Reading all for every
//! event was rejected: 26 µs a link (measured) would be 13 ms for each of a pod's ten events on a node with 500.

use std::collections::{BTreeMap, BTreeSet};
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
use super::{HostVeths, IfIndex, LinkError, Links, is_host_end_name};

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
    // Subscribe before the first reading: what changes after it is heard.
    let (events, driver) = request::listen(links.host()).await?;
    match select(pin!(observe_on(links, facts, events)), pin!(driver)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), _)) => Err(closed()),
    }
}

async fn observe_on(
    links: &Links,
    facts: &watch::Sender<Arc<HostVeths>>,
    mut events: Events,
) -> Result<Infallible, LinkError> {
    let mut known = links.observe().await?;
    let mut names = names_of(&known);
    loop {
        publish(facts, &known);
        let mut stale = Stale::default();
        while stale.is_nothing() {
            let (message, _) = events.next().await.ok_or_else(closed)?;
            stale.add(&message.payload, &names);
        }
        tokio::time::sleep(COALESCE).await;
        while let Ok((message, _)) = events.try_recv() {
            stale.add(&message.payload, &names);
        }
        refresh(links, &mut known, stale).await?;
        names = names_of(&known);
    }
}

async fn refresh(links: &Links, known: &mut HostVeths, stale: Stale) -> Result<(), LinkError> {
    if stale.all || stale.names.len() > ONE_BY_ONE {
        *known = links.observe().await?;
        return Ok(());
    }
    for name in stale.names {
        match links.observe_one(&name).await? {
            Some(veth) => drop(known.insert(name, veth)),
            None => drop(known.remove(&name)),
        }
    }
    Ok(())
}

fn publish(facts: &watch::Sender<Arc<HostVeths>>, known: &HostVeths) {
    facts.send_if_modified(|told| {
        let differs = **told != *known;
        if differs {
            *told = Arc::new(known.clone());
        }
        differs
    });
}

/// What is to be looked at again.
#[derive(Debug, Default)]
struct Stale {
    names: BTreeSet<String>,
    all: bool,
}

impl Stale {
    fn is_nothing(&self) -> bool {
        self.names.is_empty() && !self.all
    }

    fn add(&mut self, payload: &NetlinkPayload<RouteNetlinkMessage>, known: &BTreeMap<IfIndex, String>) {
        match payload {
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link),
            ) => {
                self.names.extend(host_end_name(link));
                // A link that was renamed is gone under its old name.
                self.names.extend(known.get(&IfIndex(link.header.index)).cloned());
            }
            // The kernel dropped messages, and nobody knows which.
            NetlinkPayload::Overrun(_) => self.all = true,
            _ => {}
        }
    }
}

fn names_of(known: &HostVeths) -> BTreeMap<IfIndex, String> {
    known.iter().map(|(name, veth)| (veth.index, name.clone())).collect()
}

fn host_end_name(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) if is_host_end_name(name) => Some(name.clone()),
        _ => None,
    })
}

fn closed() -> LinkError {
    LinkError::Closed { operation: "listen to link changes".to_owned() }
}

/// Pause after the first event of a burst: one pod makes about ten within 2 ms.
const COALESCE: Duration = Duration::from_millis(5);

/// Above so many links one reading of all is cheaper: a question about one costs about as much as six in a dump.
const ONE_BY_ONE: usize = 32;

/// Pause before a failed socket is opened again.
const RECONNECT: Duration = Duration::from_secs(1);
