//! `agentctl doctor`: checks of everything the agent stands on, from the kernel upward, each with its remedy.

use std::collections::BTreeMap;

use agent_api::control::v1 as pb;
use ebpf::abi::{Counter, Reason};

use super::Context;
use crate::dataplane::flows::Connection;
use crate::dataplane::ports::{Lock, Ovs};
use crate::model::{Phase, State};
use crate::report::chain;

pub(super) async fn reply(context: &Context) -> pb::DoctorReply {
    let mut checks = vec![maps(context), programs(context), database(context)];
    checks.extend(switches(context));
    checks.push(endpoints(context));
    checks.push(ledger(context));
    checks.push(orphans(context).await);
    checks.push(conflicts(context));
    checks.push(gateways(context));
    checks.push(debts(context));
    pb::DoctorReply { checks }
}

fn ok(name: &str, what: impl Into<String>) -> pb::Check {
    pb::Check {
        name: name.to_owned(),
        outcome: pb::Outcome::Ok.into(),
        what: what.into(),
        mend: String::new(),
    }
}

fn bad(name: &str, outcome: pb::Outcome, what: impl Into<String>, mend: impl Into<String>) -> pb::Check {
    pb::Check { name: name.to_owned(), outcome: outcome.into(), what: what.into(), mend: mend.into() }
}

fn maps(context: &Context) -> pb::Check {
    let name = "eBPF maps";
    let dir = context.config.bpf_dir.display();
    match context.bpf.counters(0) {
        Err(error) => {
            bad(name, pb::Outcome::Fail, chain(&error), format!("look at {dir} and restart the agent"))
        }
        Ok(counters) => {
            let lost = counters.of(Counter::FactsLost);
            let unbound = counters.dropped(Reason::Unbound);
            match (lost, unbound) {
                (0, 0) => ok(name, format!("pinned in {dir}/{}", context.bpf.layout())),
                (0, n) => bad(
                    name,
                    pb::Outcome::Warn,
                    format!("{n} frames came from ports without an entry"),
                    "a pod's first frames may beat its entry; if the number grows, see agentctl endpoints",
                ),
                (n, _) => bad(
                    name,
                    pb::Outcome::Warn,
                    format!("{n} sightings of foreign claims were lost: the ring was full"),
                    "look for a station that floods ARP or ND: agentctl conflicts",
                ),
            }
        }
    }
}

fn programs(context: &Context) -> pb::Check {
    let name = "eBPF programs";
    let status = context.reconcile.status();
    let without: Vec<_> = status
        .endpoints
        .iter()
        .filter(|(_, s)| s.ifindex.is_some() && s.attached.is_none())
        .map(|(id, _)| id.to_string())
        .collect();
    if let Some(fault) = status.faults.get("bpf") {
        return bad(name, pb::Outcome::Fail, fault, "see the agent's log");
    }
    let after: Vec<_> = status
        .endpoints
        .iter()
        .filter(|(_, s)| s.foreign_before)
        .map(|(id, _)| format!("{} ({id})", id.host_ifname()))
        .collect();
    if without.is_empty() && !after.is_empty() {
        let what = format!("foreign programs run before the guard's on {}", after.join(", "));
        let mend =
            "what they pass on is judged, what they change is not seen: look at bpftool net and tc filter";
        return bad(name, pb::Outcome::Warn, what, mend);
    }
    if without.is_empty() {
        let kind = status.endpoints.values().find_map(|s| s.attached).unwrap_or("no endpoint yet");
        return ok(name, format!("on every host veth ({kind})"));
    }
    bad(
        name,
        pb::Outcome::Fail,
        format!("missing on {}", without.join(", ")),
        "see agentctl endpoints for the error",
    )
}

fn database(context: &Context) -> pb::Check {
    let name = "OVSDB";
    let ovs = context.ports.watch().borrow().clone();
    match &ovs.state {
        crate::dataplane::ports::State::Down { error, .. } => bad(
            name,
            pb::Outcome::Fail,
            error,
            format!(
                "is ovsdb-server running, and is {} its socket (ovs.db)?",
                context.config.ovs.db.display()
            ),
        ),
        crate::dataplane::ports::State::Connected if ovs.lock == Lock::Waiting => bad(
            name,
            pb::Outcome::Fail,
            "another agent holds the OVSDB lock `underpass`",
            "only one agent may work on a database: stop the other",
        ),
        crate::dataplane::ports::State::Connected if ovs.next_cfg > ovs.cur_cfg => bad(
            name,
            pb::Outcome::Warn,
            format!("ovs-vswitchd has carried out configuration {} of {}", ovs.cur_cfg, ovs.next_cfg),
            "if this stays, ovs-vswitchd is stopped or stuck: look at its log",
        ),
        crate::dataplane::ports::State::Connected => {
            ok(name, format!("connected, Open vSwitch {}", ovs.version))
        }
    }
}

fn switches(context: &Context) -> Vec<pb::Check> {
    let status = context.reconcile.status();
    let connections = context.switches.watch().borrow().clone();
    let ovs = context.ports.watch().borrow().clone();
    let check = |(bridge, connection): (&String, &Connection)| {
        let name = format!("bridge {bridge}");
        if let Some(known) = ovs.bridges.get(bridge).filter(|b| !b.speaks_our_version()) {
            let allowed = known.protocols.iter().cloned().collect::<Vec<_>>().join(", ");
            let what = format!("its protocols forbid OpenFlow 1.5, which the agent speaks: {allowed}");
            return bad(
                &name,
                pb::Outcome::Fail,
                what,
                format!("ovs-vsctl add bridge {bridge} protocols OpenFlow15"),
            );
        }
        if let Connection::Down { error, .. } = connection {
            return bad(&name, pb::Outcome::Fail, chain(error), "is ovs-vswitchd running?");
        }
        match status.faults.get(&name) {
            Some(fault) => bad(&name, pb::Outcome::Fail, fault, "see agentctl flows dump"),
            None => ok(&name, "flows are as they should be"),
        }
    };
    let mut checks: Vec<_> = connections.iter().map(check).collect();
    checks.extend(missing_bridges(context, &ovs));
    checks
}

/// Bridges that pods live on and that are not there any more.
fn missing_bridges(context: &Context, ovs: &Ovs) -> Vec<pb::Check> {
    let mut missing = BTreeMap::<String, usize>::new();
    for entry in context.store.intent().endpoints.values() {
        let bridge = &entry.endpoint.bridge;
        if ovs.is_synced && !ovs.bridges.contains_key(bridge) {
            *missing.entry(bridge.clone()).or_default() += 1;
        }
    }
    let check = |(bridge, count): (String, usize)| {
        let what = format!("it does not exist, and {count} endpoints live on it");
        let mend = format!(
            "ovs-vsctl add-br {bridge}: the agent never makes one, the ports come back by themselves"
        );
        bad(&format!("bridge {bridge}"), pb::Outcome::Fail, what, mend)
    };
    missing.into_iter().map(check).collect()
}

fn endpoints(context: &Context) -> pb::Check {
    let name = "endpoints";
    let status = context.reconcile.status();
    let intent = context.store.intent();
    let is_live = |id| intent.endpoints.get(id).is_some_and(|entry| entry.phase == Phase::Live);
    let failed: Vec<_> = status
        .endpoints
        .iter()
        .filter_map(|(id, s)| match &s.state {
            State::Failed { stage, error, .. } => Some(format!("{id} at {stage}: {error}")),
            // What an ADD waits for is the ADD's to tell.
            State::Pending { stage, why } if is_live(id) => Some(format!("{id} waits at {stage}: {why}")),
            _ => None,
        })
        .collect();
    if failed.is_empty() {
        return ok(name, format!("{} of at most {}", status.endpoints.len(), context.config.max_endpoints));
    }
    bad(name, pb::Outcome::Fail, failed.join("; "), "see agentctl endpoints")
}

/// What the ledger has lost, as far as it shows.
fn ledger(context: &Context) -> pb::Check {
    let name = "ledger";
    let intent = context.store.intent();
    let dir = context.config.run_dir.join("ledger");
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
    let active: Vec<_> = context
        .outcomes
        .borrow()
        .conflicts
        .iter()
        .filter(|c| c.active)
        .map(|c| format!("{} of {} is claimed by {}", c.address, c.endpoint, c.mac))
        .collect();
    if active.is_empty() {
        return ok("address conflicts", "none");
    }
    bad("address conflicts", pb::Outcome::Fail, active.join("; "), "see agentctl conflicts")
}

fn gateways(context: &Context) -> pb::Check {
    use crate::model::GatewayState::{Duplicate, Lost};
    let outcomes = context.outcomes.borrow().clone();
    let bad_ones: Vec<_> = outcomes
        .gateways
        .iter()
        .filter(|(_, view)| matches!(view.state, Lost | Duplicate))
        .map(|(key, view)| format!("{} on {} vlan {} is {:?}", key.address, key.bridge, key.vlan, view.state))
        .collect();
    if bad_ones.is_empty() {
        return ok("gateways", format!("{} watched", outcomes.gateways.len()));
    }
    bad("gateways", pb::Outcome::Fail, bad_ones.join("; "), "see agentctl gateways")
}

fn debts(context: &Context) -> pb::Check {
    let debts: Vec<_> =
        context.store.intent().debts.iter().map(|(id, ipam)| format!("{id} ({})", ipam.plugin)).collect();
    if debts.is_empty() {
        return ok("IPAM", "nothing is owed");
    }
    let mend = "is the plugin still in CNI_PATH? the agent's log says why it failed";
    bad("IPAM", pb::Outcome::Warn, format!("addresses not given back yet: {}", debts.join(", ")), mend)
}
