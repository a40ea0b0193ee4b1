//! The doctor's checks of endpoints and of what is kept about them.

use std::time::Duration;

use agent_api::control::v1 as pb;

use super::{bad, ok, since};
use crate::api::Context;
use crate::dataplane::ports::Lock;
use crate::model::{GatewayState, Phase, State};

/// Findings of one check that are told; the verbs that it names tell all.
const FEW: usize = 5;

pub(super) async fn checks(context: &Context) -> Vec<pb::Check> {
    vec![
        endpoints(context),
        removals(context),
        ledger(context),
        orphans(context).await,
        conflicts(context),
        gateways(context),
        debts(context),
    ]
}

fn endpoints(context: &Context) -> pb::Check {
    let name = "endpoints";
    let status = context.reconcile.status();
    let intent = context.store.intent();
    let (mut failed, mut first) = (Vec::new(), None::<Duration>);
    for (id, endpoint) in &status.endpoints {
        let Some(entry) = intent.endpoints.get(id) else { continue };
        let title = entry.endpoint.title();
        let text = match &endpoint.state {
            State::Failed { stage, error, .. } => format!("{title} at {stage}: {error}"),
            // What an ADD waits for is the ADD's to tell.
            State::Pending { stage, why } if entry.phase == Phase::Live => {
                format!("{title} waits at {stage}: {why}")
            }
            _ => continue,
        };
        failed.push(text);
        first = Some(first.map_or(endpoint.since, |first| first.min(endpoint.since)));
    }
    if failed.is_empty() {
        return ok(name, format!("{} of at most {}", intent.endpoints.len(), context.config.max_endpoints));
    }
    since(first, bad(name, pb::Outcome::Fail, shortened(&failed), "see agentctl endpoints"))
}

/// What the runtime deleted and is still there. One that is under way is nothing to tell of.
fn removals(context: &Context) -> pb::Check {
    let name = "removals";
    let status = context.reconcile.status();
    let waiting = status.endpoints.iter().filter_map(|(id, endpoint)| match &endpoint.state {
        State::Removing { why } if !why.is_empty() => Some((format!("{id}: {why}"), endpoint.since)),
        _ => None,
    });
    let (texts, begun): (Vec<_>, Vec<_>) = waiting.unzip();
    if texts.is_empty() {
        return ok(name, "none waits");
    }
    let mend = "they go on by themselves once what they wait for is there";
    since(begun.into_iter().min(), bad(name, pb::Outcome::Warn, shortened(&texts), mend))
}

/// The first few of what may be as many as there are endpoints.
fn shortened(texts: &[String]) -> String {
    let first = texts.iter().take(FEW).map(String::as_str).collect::<Vec<_>>().join("; ");
    match texts.len().checked_sub(FEW) {
        None | Some(0) => first,
        Some(more) => format!("{first}; and {more} more"),
    }
}

/// What the ledger has lost, as far as it shows.
fn ledger(context: &Context) -> pb::Check {
    let name = "ledger";
    let intent = context.store.intent();
    let dir = context.config.run_dir.join("ledger");
    // Says "read-only" also to root. The first ADD or DEL would fail.
    if let Err(error) = nix::unistd::access(&dir, nix::unistd::AccessFlags::W_OK) {
        let mend =
            "no ADD or DEL can be recorded: mend the directory or its file system, and free space there";
        return bad(
            name,
            pb::Outcome::Fail,
            format!("{} cannot be written: {}", dir.display(), error.desc()),
            mend,
        );
    }
    let mut found: Vec<String> = Vec::new();
    if !intent.unreadable.is_empty() {
        let files = intent.unreadable.iter().cloned().collect::<Vec<_>>().join(", ");
        found.push(format!("files in {} that cannot be read: {files}", dir.display()));
    }
    for entry in intent.endpoints.values() {
        let Some(lacking) = entry.rebuilt.as_ref().filter(|lacking| !lacking.is_empty()) else { continue };
        found.push(format!("{} was rebuilt: {}", entry.endpoint.title(), lacking.join("; ")));
    }
    if found.is_empty() {
        let rebuilt = intent.endpoints.values().filter(|e| e.rebuilt.is_some()).count();
        let rebuilt = if rebuilt == 0 { String::new() } else { format!(", {rebuilt} rebuilt whole") };
        return ok(name, format!("{} endpoints in {}{rebuilt}", intent.endpoints.len(), dir.display()));
    }
    let mend = "a DEL settles a file and an endpoint alike; remove a file by hand only when its pod is gone";
    bad(name, pb::Outcome::Warn, found.join("; "), mend)
}

/// Host veths that bear our mark and that nobody could say anything of: down until a DEL names them.
async fn orphans(context: &Context) -> pb::Check {
    let name = "orphans";
    let intent = context.store.intent();
    let mut found = Vec::new();
    if context.ports.watch().borrow().lock == Lock::Waiting {
        return ok(name, "not looked for: veths may be those of the agent that holds the OVSDB lock");
    }
    if let Ok(veths) = context.links.observe().await {
        for (ifname, veth) in &veths {
            let id = veth.alias.as_deref().and_then(crate::model::EndpointId::from_alias);
            if id.is_some_and(|id| !intent.endpoints.contains_key(&id) && !intent.removals.contains_key(&id))
            {
                found.push(ifname.clone());
            }
        }
    }
    if found.is_empty() {
        return ok(name, "no veth of ours without an endpoint");
    }
    let first = found[0].clone();
    bad(
        name,
        pb::Outcome::Warn,
        format!("veths of ours that nobody knows anything of, set down: {}", found.join(", ")),
        format!("ledger, port and programs are lost; once their pods are gone: ip link del {first}"),
    )
}

fn conflicts(context: &Context) -> pb::Check {
    let name = "address conflicts";
    let outcomes = context.outcomes.borrow().clone();
    let intent = context.store.intent();
    let title = |id| intent.endpoints.get(id).map_or_else(|| id.to_string(), |e| e.endpoint.title());
    let active = outcomes.conflicts.iter().filter(|c| c.active);
    let texts: Vec<_> = active
        .clone()
        .map(|c| format!("{} of {} is claimed by {}", c.address, title(&c.endpoint), c.mac))
        .collect();
    if texts.is_empty() {
        return ok(name, "none");
    }
    let first = active.map(|c| c.first_seen).min();
    since(first, bad(name, pb::Outcome::Fail, shortened(&texts), "see agentctl conflicts"))
}

fn gateways(context: &Context) -> pb::Check {
    let name = "gateways";
    let outcomes = context.outcomes.borrow().clone();
    let sick = outcomes.gateways.iter().filter_map(|(key, view)| {
        let how = match view.state {
            GatewayState::Lost if view.last_seen.is_none() => "has never answered",
            GatewayState::Lost => "does not answer any more",
            GatewayState::Duplicate => "is claimed by two MACs",
            GatewayState::Unknown | GatewayState::Reachable | GatewayState::MacChanged => return None,
        };
        let place = if key.vlan == 0 { String::new() } else { format!(", VLAN {}", key.vlan) };
        Some((format!("{} on {}{place} {how}", key.address, key.bridge), view.since))
    });
    let (texts, begun): (Vec<_>, Vec<_>) = sick.unzip();
    if texts.is_empty() {
        return ok(name, format!("{} watched", outcomes.gateways.len()));
    }
    since(begun.into_iter().min(), bad(name, pb::Outcome::Fail, shortened(&texts), "see agentctl gateways"))
}

fn debts(context: &Context) -> pb::Check {
    let intent = context.store.intent();
    let debts: Vec<_> = intent
        .debts
        .iter()
        .map(|(id, ipam)| match intent.unpaid.get(id) {
            Some(why) => format!("{id} ({}: {why})", ipam.plugin),
            None => format!("{id} ({})", ipam.plugin),
        })
        .collect();
    if debts.is_empty() {
        return ok("IPAM", "nothing is owed");
    }
    let mend = "the agent asks the plugin again, at least every 5 minutes; mend what it complains of. An ADD of the same \
                attachment is not held up, and ends the debt";
    bad("IPAM", pb::Outcome::Warn, format!("addresses not given back yet: {}", shortened(&debts)), mend)
}
