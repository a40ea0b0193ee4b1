//! `agentctl doctor`: checks of everything the agent stands on, from the kernel upward, each with its remedy. `status` tells
//! what is not OK of the same ones.

mod pods;

use std::time::Duration;

use agent_api::control::v1 as pb;
use ebpf::abi::{Counter, Reason};

use super::Context;
use super::convert::moment;
use super::status::ago;
use crate::dataplane::flows::Connection;
use crate::dataplane::ports::{Lock, State as Contact};
use crate::model::{Disorder, Site};
use crate::report::chain;

pub(super) async fn reply(context: &Context) -> pb::DoctorReply {
    let mut checks = vec![maps(context), programs(context), database(context), vswitchd(context)];
    checks.extend(bridges(context));
    checks.extend(others(context));
    checks.extend(pods::checks(context).await);
    pb::DoctorReply { checks }
}

fn ok(name: &str, what: impl Into<String>) -> pb::Check {
    pb::Check {
        name: name.to_owned(),
        outcome: pb::Outcome::Ok.into(),
        what: what.into(),
        ..pb::Check::default()
    }
}

fn bad(name: &str, outcome: pb::Outcome, what: impl Into<String>, mend: impl Into<String>) -> pb::Check {
    pb::Check {
        name: name.to_owned(),
        outcome: outcome.into(),
        what: what.into(),
        mend: mend.into(),
        since_unix_ns: 0,
    }
}

/// A finding and when it began, on the boot clock.
fn since(at: Option<Duration>, check: pb::Check) -> pb::Check {
    pb::Check { since_unix_ns: moment(at), ..check }
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
                    format!("{n} frame{} came from ports without an entry", if n == 1 { "" } else { "s" }),
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
    if let Some(fault) = status.faults.get(&Site::Bpf) {
        return since(Some(fault.since), bad(name, pb::Outcome::Fail, &fault.why, "see the agent's log"));
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
    let since_then = |check| pb::Check { since_unix_ns: ago(ovs.since.elapsed()), ..check };
    match &ovs.state {
        Contact::Down { error } => since_then(bad(
            name,
            pb::Outcome::Fail,
            error,
            format!(
                "is ovsdb-server running, and is {} its socket (ovs.db)?",
                context.config.ovs.db.display()
            ),
        )),
        Contact::Connected if ovs.lock == Lock::Waiting => bad(
            name,
            pb::Outcome::Fail,
            "another agent holds the OVSDB lock `underpass`",
            "only one agent may work on a database: stop the other",
        ),
        Contact::Connected => ok(name, format!("connected, Open vSwitch {}", or_unknown(&ovs.version))),
    }
}

/// OVSDB knows the version where ovs-ctl started it all.
fn or_unknown(version: &str) -> &str {
    if version.is_empty() { "of unknown version" } else { version }
}

/// The daemon, as far as the database and its sockets show it.
fn vswitchd(context: &Context) -> pb::Check {
    let name = "ovs-vswitchd";
    let ovs = context.ports.watch().borrow().clone();
    let connections = context.switches.watch().borrow().clone();
    let down = connections.values().filter_map(|connection| match connection {
        Connection::Down { since, .. } => Some(*since),
        Connection::Connected { .. } => None,
    });
    let down: Vec<_> = down.collect();
    if let Some(last) = down.iter().max().filter(|_| down.len() == connections.len()) {
        let what = "no bridge of this agent answers";
        let mend = "is it running? systemctl status openvswitch-switch (or ovs-vswitchd), and its log";
        return pb::Check { since_unix_ns: ago(last.elapsed()), ..bad(name, pb::Outcome::Fail, what, mend) };
    }
    if ovs.next_cfg > ovs.cur_cfg {
        let what = format!("it has carried out configuration {} of {}", ovs.cur_cfg, ovs.next_cfg);
        return bad(name, pb::Outcome::Warn, what, "if this stays, it is stopped or stuck: look at its log");
    }
    ok(name, format!("every bridge in use answers ({})", connections.len()))
}

/// The bridges in use: those that are there, and those that should be.
fn bridges(context: &Context) -> Vec<pb::Check> {
    let status = context.reconcile.status();
    let connections = context.switches.watch().borrow().clone();
    let ovs = context.ports.watch().borrow().clone();
    let check = |(bridge, connection): (&String, &Connection)| {
        let name = format!("bridge {bridge}");
        if let Some(known) = ovs.bridges.get(bridge).filter(|b| !b.speaks_our_version()) {
            let allowed = known.protocols.iter().cloned().collect::<Vec<_>>().join(", ");
            let what = format!("its protocols forbid OpenFlow 1.5, which the agent speaks: {allowed}");
            let mend = format!("ovs-vsctl add bridge {bridge} protocols OpenFlow15");
            return bad(&name, pb::Outcome::Fail, what, mend);
        }
        if let Connection::Down { error, since } = connection {
            let check = bad(&name, pb::Outcome::Fail, chain(error), "is ovs-vswitchd running?");
            return pb::Check { since_unix_ns: ago(since.elapsed()), ..check };
        }
        match status.faults.get(&Site::Bridge(bridge.clone())) {
            Some(Disorder { why, since: at }) => {
                since(Some(*at), bad(&name, pb::Outcome::Fail, why, "see agentctl flows dump"))
            }
            None => ok(&name, "flows are as they should be"),
        }
    };
    let mut checks: Vec<_> = connections.iter().map(check).collect();
    // The reconciler lets go of a bridge that is gone, and says so.
    let lost = status.faults.iter().filter_map(|(site, fault)| match site {
        Site::Bridge(bridge) if !connections.contains_key(bridge) => {
            Some(lost_bridge(context, bridge, fault))
        }
        _ => None,
    });
    checks.extend(lost);
    checks
}

fn lost_bridge(context: &Context, bridge: &str, fault: &Disorder) -> pb::Check {
    let intent = context.store.intent();
    let count = intent.endpoints.values().filter(|entry| entry.endpoint.bridge == bridge).count();
    let what = format!("{}, and {count} endpoints live on it", fault.why);
    let mend =
        format!("ovs-vsctl add-br {bridge}: the agent never makes one, the ports come back by themselves");
    since(Some(fault.since), bad(&format!("bridge {bridge}"), pb::Outcome::Fail, what, mend))
}

/// What else went wrong in the last pass and is nobody's in particular.
fn others(context: &Context) -> Vec<pb::Check> {
    let status = context.reconcile.status();
    let check = |(site, fault): (&Site, &Disorder)| match site {
        // They have checks of their own.
        Site::Bpf | Site::Ovsdb | Site::Bridge(_) => None,
        Site::Flows | Site::HostVeth(_) | Site::Lease | Site::Links => {
            let check = bad(&site.to_string(), pb::Outcome::Warn, &fault.why, "see the agent's log");
            Some(since(Some(fault.since), check))
        }
    };
    status.faults.iter().filter_map(check).collect()
}
