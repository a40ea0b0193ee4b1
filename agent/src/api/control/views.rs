//! `agentctl conflicts`, `gateways`, `events`: what the prober and the agent noticed.

use agent_api::control::v1 as pb;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

use super::convert::{moment, reference};
use super::select::{self, Chosen};
use super::{Context, Outlet};
use crate::clock::unix_ns;
use crate::events::Event;
use crate::model::{GatewayState, Intent, PortVlan};

pub(super) async fn conflicts(
    context: &Context,
    request: &pb::ConflictsRequest,
) -> Result<pb::ConflictsReply, Status> {
    let chosen = match select::endpoints(context, &request.endpoint) {
        Ok(chosen) => chosen,
        // A failed ADD leaves a conflict but no endpoint: its container id is all there is to ask by.
        Err(status) => return by_container(context, &request.endpoint).await.ok_or(status),
    };
    let outcomes = context.outcomes.borrow().clone();
    let wanted = outcomes.conflicts.iter().filter(|c| chosen.contains(&c.endpoint));
    Ok(reply(context, wanted.cloned().collect()).await)
}

async fn by_container(context: &Context, text: &str) -> Option<pb::ConflictsReply> {
    let outcomes = context.outcomes.borrow().clone();
    let named =
        |c: &&crate::model::ConflictView| c.endpoint.to_string() == text || c.endpoint.container == text;
    let found: Vec<_> = outcomes.conflicts.iter().filter(named).cloned().collect();
    if found.is_empty() { None } else { Some(reply(context, found).await) }
}

async fn reply(context: &Context, mut found: Vec<crate::model::ConflictView>) -> pb::ConflictsReply {
    let intent = context.store.intent();
    let names = interface_names(context).await;
    found.sort_by_key(|c| std::cmp::Reverse(c.last_seen));
    let describe = |view: crate::model::ConflictView| {
        let endpoint = intent.endpoints.get(&view.endpoint).map(|e| &e.endpoint);
        pb::Conflict {
            endpoint: Some(reference(&intent, &view.endpoint)),
            address: view.address.to_string(),
            foreign_mac: view.mac.to_string(),
            seen_on: names
                .get(&view.ifindex)
                .cloned()
                .unwrap_or_else(|| format!("interface {}", view.ifindex)),
            first_seen_unix_ns: unix_ns(view.first_seen),
            last_seen_unix_ns: unix_ns(view.last_seen),
            count: view.count,
            at_add: view.at_add,
            active: view.active,
            bridge: endpoint.map(|e| e.bridge.clone()).unwrap_or_default(),
            vlan: endpoint.map_or(0, |e| untagged(&e.vlan)),
        }
    };
    pb::ConflictsReply { conflicts: found.into_iter().map(describe).collect() }
}

/// Names of the interfaces that can have seen a claim: our host veths and every interface of OVS.
async fn interface_names(context: &Context) -> std::collections::BTreeMap<u32, String> {
    let ovs = context.ports.watch().borrow().clone();
    let interfaces = ovs.ports.values().flat_map(|p| p.interfaces.iter());
    let mut names: std::collections::BTreeMap<u32, String> =
        interfaces.filter_map(|i| Some((i.ifindex?, i.name.clone()))).collect();
    if let Ok(veths) = context.links.observe().await {
        names.extend(veths.iter().map(|(name, veth)| (veth.index.0, name.clone())));
    }
    names
}

fn untagged(vlan: &PortVlan) -> u32 {
    vlan.untagged().map_or(0, u32::from)
}

pub(super) fn gateways(
    context: &Context,
    request: &pb::GatewaysRequest,
) -> Result<pb::GatewaysReply, Status> {
    select::bridge(context, &request.bridge)?;
    let intent = context.store.intent();
    let outcomes = context.outcomes.borrow().clone();
    let wanted =
        outcomes.gateways.iter().filter(|(k, _)| request.bridge.is_empty() || k.bridge == request.bridge);
    let gateways = wanted.map(|(key, view)| pb::Gateway {
        bridge: key.bridge.clone(),
        vlan: u32::from(key.vlan),
        address: key.address.to_string(),
        state: state(view.state).into(),
        macs: view.mac.iter().chain(&view.other).map(ToString::to_string).collect(),
        last_seen_unix_ns: moment(view.last_seen),
        since_unix_ns: moment(Some(view.since)),
        watcher: view.watcher.as_ref().map(|id| reference(&intent, id)),
        used_by: view.users,
    });
    Ok(pb::GatewaysReply { gateways: gateways.collect() })
}

fn state(state: GatewayState) -> pb::GatewayState {
    match state {
        GatewayState::Unknown => pb::GatewayState::Unknown,
        GatewayState::Reachable => pb::GatewayState::Reachable,
        GatewayState::Lost => pb::GatewayState::Lost,
        GatewayState::MacChanged => pb::GatewayState::MacChanged,
        GatewayState::Duplicate => pb::GatewayState::Duplicate,
    }
}

/// The recent events, then, if asked, what follows.
pub(super) async fn events(
    context: Context,
    chosen: Chosen,
    follow: bool,
    out: Outlet<pb::EventsReply>,
) -> Result<(), Status> {
    let (recent, mut live) = context.events.subscribe();
    let wanted = |event: &Event| match event.subject.endpoint() {
        Some(id) => chosen.contains(id),
        None => chosen.is_all(),
    };
    for event in recent.iter().filter(|e| wanted(e)) {
        out.send(item(&context.store.intent(), event)).await?;
    }
    if !follow {
        return Ok(());
    }
    loop {
        let received = tokio::select! {
            received = live.recv() => received,
            () = out.closed() => return Ok(()),
        };
        match received {
            Ok(event) if wanted(&event) => out.send(item(&context.store.intent(), &event)).await?,
            Ok(_) => {}
            Err(RecvError::Lagged(lost)) => {
                out.send(pb::EventsReply { item: Some(pb::events_reply::Item::Lost(lost)) }).await?;
            }
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

fn item(intent: &Intent, event: &Event) -> pb::EventsReply {
    let severity = if event.kind.is_trouble() { pb::Severity::Warning } else { pb::Severity::Info };
    let event = pb::Event {
        at_unix_ns: unix_ns(event.at),
        severity: severity.into(),
        kind: event.kind.name().to_owned(),
        text: event.text.clone(),
        endpoint: event.subject.endpoint().map(|id| reference(intent, id)),
    };
    pb::EventsReply { item: Some(pb::events_reply::Item::Event(event)) }
}
