//! What the metrics say of this moment, from the answers that agentctl gets.

use std::collections::BTreeMap;

use agent_api::control::v1 as pb;

use super::{Context, endpoints, status};
use crate::metrics::{Bridge, Drops, Now};
use crate::model::{GatewayState, Outcomes};

/// What is so now.
pub(in crate::api) async fn now(context: &Context) -> Now {
    let glance = status::glance(context);
    let tally = glance.endpoints.unwrap_or_default();
    let accel = glance.accel.unwrap_or_default();
    let outcomes = context.outcomes.borrow().clone();
    let active = outcomes.conflicts.iter().filter(|conflict| conflict.active).count();
    Now {
        version: glance.version,
        ready: glance.ready,
        ovsdb_up: glance.ovsdb.is_some_and(|ovsdb| ovsdb.up),
        endpoints: vec![
            ("ready", tally.ready),
            ("pending", tally.pending),
            ("failed", tally.failed),
            ("removing", tally.removing),
        ],
        accelerated: [accel.on, accel.off],
        bridges: glance.bridges.into_iter().map(bridge).collect(),
        gateways: gateways(&outcomes),
        conflicts: u32::try_from(active).unwrap_or(u32::MAX),
        drops: drops(context).await,
        ipam_debts: glance.ipam_debts,
        spooled: glance.spooled,
    }
}

fn bridge(bridge: pb::Bridge) -> Bridge {
    Bridge {
        is_up: bridge.openflow.is_some_and(|openflow| openflow.up),
        name: bridge.name,
        endpoints: bridge.endpoints,
        flows_expected: bridge.flows_expected,
        flows_present: bridge.flows_present,
        flows_mended: bridge.drift_mended,
    }
}

/// How many are in each state, those without any included: a series that ends tells nobody that all is well.
fn gateways(outcomes: &Outcomes) -> Vec<(&'static str, u32)> {
    let mut counts =
        BTreeMap::from(["unknown", "reachable", "lost", "mac_changed", "duplicate"].map(|state| (state, 0)));
    for gateway in outcomes.gateways.values() {
        let state = match gateway.state {
            GatewayState::Unknown => "unknown",
            GatewayState::Reachable => "reachable",
            GatewayState::Lost => "lost",
            GatewayState::MacChanged => "mac_changed",
            GatewayState::Duplicate => "duplicate",
        };
        *counts.entry(state).or_default() += 1;
    }
    counts.into_iter().collect()
}

async fn drops(context: &Context) -> Vec<Drops> {
    let all = endpoints::reply(context, &pb::EndpointsRequest::default()).await;
    let all = all.map(|reply| reply.endpoints).unwrap_or_default();
    let of_endpoint = |endpoint: pb::Endpoint| {
        let reference = endpoint.r#ref.unwrap_or_default();
        // Without a pod, the container is all that is known.
        let (namespace, pod) = match reference.pod {
            Some(pod) => (pod.namespace, pod.name),
            None => (String::new(), reference.container_id),
        };
        let interface = reference.ifname;
        endpoint.drops.into_iter().map(move |count| Drops {
            namespace: namespace.clone(),
            pod: pod.clone(),
            interface: interface.clone(),
            reason: word(count.reason()),
            frames: count.frames,
        })
    };
    all.into_iter().flat_map(of_endpoint).collect()
}

/// `REASON_DHCP4_SERVER` as `dhcp4_server`.
fn word(reason: pb::Reason) -> String {
    reason.as_str_name().trim_start_matches("REASON_").to_ascii_lowercase()
}
