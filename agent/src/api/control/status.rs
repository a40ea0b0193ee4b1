//! `agentctl status`: the agent, its bridges and its stages at a glance, and what is out of order: the doctor's findings.

use std::time::Duration;

use agent_api::control::v1 as pb;

use super::Context;
use super::convert::{moment, stage};
use crate::clock::boottime;
use crate::dataplane::flows::Connection;
use crate::dataplane::ports::State as DatabaseState;
use crate::health::Life;
use crate::model::{Site, Stage, State, Status};
use crate::report::chain;

pub(super) async fn reply(context: &Context) -> pb::StatusReply {
    let mut out_of_order = super::doctor::reply(context).await.checks;
    out_of_order.retain(|check| check.outcome() != pb::Outcome::Ok);
    pb::StatusReply { out_of_order, ..glance(context) }
}

pub(super) fn glance(context: &Context) -> pb::StatusReply {
    let status = context.reconcile.status();
    let intent = context.store.intent();
    let ovs = context.ports.watch().borrow().clone();
    let mut tally = pb::EndpointTally::default();
    for endpoint in status.endpoints.values() {
        match endpoint.state {
            State::Ready => tally.ready += 1,
            State::Pending { .. } => tally.pending += 1,
            State::Removing { .. } => tally.removing += 1,
            State::Failed { .. } => tally.failed += 1,
        }
    }
    let life = context.readiness.life();
    let hook = status.endpoints.values().find_map(|e| e.attached);
    pb::StatusReply {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_unix_ns: moment(Some(context.started)),
        node: std::env::var("NODE_NAME").unwrap_or_default(),
        kernel: nix::sys::utsname::uname()
            .map(|u| u.release().to_string_lossy().into_owned())
            .unwrap_or_default(),
        ovs_version: ovs.version.clone(),
        ready: context.is_ready(),
        not_ready: match life {
            Life::Ready => ovs.stands_by().map(str::to_owned).into_iter().collect(),
            Life::Starting => vec!["the spool is being worked off".to_owned()],
            Life::Stopping => vec!["the agent is stopping".to_owned()],
        },
        generation: intent.generation.0,
        applied_generation: status.generation.0,
        endpoints: Some(tally),
        bridges: bridges(context),
        stages: stages(context),
        bpf: Some(pb::Bpf {
            hook: super::convert::hook(hook).into(),
            pin_dir: context.config.bpf_dir.display().to_string(),
            layout: context.bpf.layout(),
            error: status.faults.get(&Site::Bpf).map(|fault| fault.why.clone()).unwrap_or_default(),
        }),
        accel: Some(summary(context, &status)),
        ovsdb: Some(pb::Connection {
            up: ovs.is_current(),
            target: format!("unix:{}", context.config.ovs.db.display()),
            since_unix_ns: ago(ovs.since.elapsed()),
            error: match &ovs.state {
                DatabaseState::Connected => String::new(),
                DatabaseState::Down { error } => error.clone(),
            },
        }),
        ipam_debts: u32::try_from(intent.debts.len()).unwrap_or(u32::MAX),
        spooled: spooled(context),
        max_endpoints: context.config.max_endpoints,
        out_of_order: Vec::new(),
    }
}

/// The moment so long ago.
pub(super) fn ago(elapsed: Duration) -> i64 {
    moment(Some(boottime().saturating_sub(elapsed)))
}

/// Of the endpoints that are not on their way out, one that is not ready goes nowhere yet.
pub(super) fn summary(context: &Context, status: &Status) -> pb::AccelSummary {
    let staying = status.endpoints.values().filter(|e| !matches!(e.state, State::Removing { .. }));
    let (on, off): (Vec<_>, Vec<_>) =
        staying.partition(|e| e.state == State::Ready && e.not_accelerated.is_empty());
    let left = context.bpf.lease_left();
    pb::AccelSummary {
        enabled: context.config.accel.enabled,
        leased: left > Duration::ZERO,
        lease_left_ms: super::convert::millis(left),
        on: u32::try_from(on.len()).unwrap_or(u32::MAX),
        off: u32::try_from(off.len()).unwrap_or(u32::MAX),
    }
}

fn bridges(context: &Context) -> Vec<pb::Bridge> {
    let intent = context.store.intent();
    let status = context.reconcile.status();
    let ovs = context.ports.watch().borrow().clone();
    let connections = context.switches.watch().borrow().clone();
    let mut names: std::collections::BTreeSet<String> =
        intent.endpoints.values().map(|e| e.endpoint.bridge.clone()).collect();
    names.extend(context.config.bridges.iter().map(|b| b.name.clone()));
    let describe = |name: String| {
        let known = ovs.bridges.get(&name);
        let on_it = intent.endpoints.values().filter(|e| e.endpoint.bridge == name).count();
        let kind = known.map(|b| if b.is_userspace() { "netdev" } else { "system" }).unwrap_or_default();
        let uplinks = context.uplinks(&name);
        let flows = status.flows.get(&name).copied().unwrap_or_default();
        pb::Bridge {
            datapath_type: kind.to_owned(),
            datapath_id: known.and_then(|b| b.datapath_id).unwrap_or_default(),
            openflow: connections.get(&name).map(|c| connection(context, &name, c)),
            uplinks,
            trouble: status
                .faults
                .get(&Site::Bridge(name.clone()))
                .map(|f| f.why.clone())
                .unwrap_or_default(),
            endpoints: u32::try_from(on_it).unwrap_or(u32::MAX),
            flows_expected: flows.wanted,
            flows_present: flows.present,
            drift_mended: flows.mended,
            table_base: u32::from(context.config.ovs.table_base),
            name,
        }
    };
    names.into_iter().map(describe).collect()
}

fn connection(context: &Context, bridge: &str, connection: &Connection) -> pb::Connection {
    let target = format!("unix:{}/{bridge}.mgmt", context.config.ovs.run_dir.display());
    match connection {
        Connection::Connected { since, .. } => {
            pb::Connection { up: true, target, since_unix_ns: ago(since.elapsed()), error: String::new() }
        }
        Connection::Down { since, error } => {
            pb::Connection { up: false, target, since_unix_ns: ago(since.elapsed()), error: chain(error) }
        }
    }
}

fn stages(context: &Context) -> Vec<pb::StageStatus> {
    let status = context.reconcile.status();
    let describe = |which: Stage| {
        let mut told = pb::StageStatus { stage: stage(which).into(), ..pb::StageStatus::default() };
        for endpoint in status.endpoints.values() {
            match &endpoint.state {
                State::Failed { stage, error, .. } if *stage == which => {
                    if told.failed == 0 {
                        told.error = error.to_string();
                    }
                    told.failed += 1;
                }
                State::Pending { stage, .. } if *stage == which => told.waiting += 1,
                _ => {}
            }
        }
        told
    };
    [Stage::Links, Stage::Bpf, Stage::Ports, Stage::Flows, Stage::Gate].into_iter().map(describe).collect()
}

fn spooled(context: &Context) -> u32 {
    let dir = agent_api::spool_dir(&context.config.socket());
    let files = std::fs::read_dir(dir).map(|d| d.flatten().count()).unwrap_or_default();
    u32::try_from(files).unwrap_or(u32::MAX)
}
