//! `agentctl accel`: who goes past OVS, and why the others do not.

use std::sync::Arc;

use agent_api::control::v1 as pb;
use tonic::Status;

use super::Context;
use super::convert::of_endpoint;
use super::endpoints::accel;
use super::select::{self, Chosen};
use crate::model::{Entry, PortVlan, State};

pub(super) fn reply(context: &Context, request: pb::AccelRequest) -> Result<pb::AccelReply, Status> {
    let status = context.reconcile.status();
    let summary = Some(super::status::summary(context, &status));
    let Some(pair) = request.explain else {
        return Ok(pb::AccelReply { summary, endpoints: list(context), pairs: Vec::new() });
    };
    let mut pairs = Vec::new();
    for from in chosen(context, &pair.from)? {
        for to in chosen(context, &pair.to)? {
            pairs.push(explain(context, &from, &to));
        }
    }
    Ok(pb::AccelReply { summary, endpoints: Vec::new(), pairs })
}

fn list(context: &Context) -> Vec<pb::AccelEndpoint> {
    let status = context.reconcile.status();
    let describe = |entry: &Arc<Entry>| pb::AccelEndpoint {
        endpoint: Some(of_endpoint(&entry.endpoint)),
        bridge: entry.endpoint.bridge.clone(),
        accel: Some(accel(context, entry.slot.index, status.endpoints.get(&entry.endpoint.id))),
    };
    context.store.intent().endpoints.values().map(describe).collect()
}

fn chosen(context: &Context, text: &str) -> Result<Vec<Arc<Entry>>, Status> {
    if text.is_empty() {
        return Err(Status::invalid_argument("both endpoints of a pair must be named"));
    }
    let intent = context.store.intent();
    Ok(match select::endpoints(context, text)? {
        Chosen::All => Vec::new(),
        Chosen::Some(ids) => ids.iter().filter_map(|id| intent.endpoints.get(id).cloned()).collect(),
    })
}

/// The conditions in the order in which the program looks at them.
fn explain(context: &Context, from: &Entry, to: &Entry) -> pb::AccelPair {
    let (a, b) = (&from.endpoint, &to.endpoint);
    let status = context.reconcile.status();
    let leased = context.bpf.lease_left() > std::time::Duration::ZERO;
    let mut conditions = vec![
        condition(a.bridge == b.bridge, "same_bridge", "both are on the same bridge"),
        condition(
            a.vlan == b.vlan && matches!(a.vlan, PortVlan::Access(_)),
            "same_vlan",
            "both are in the same VLAN",
        ),
        condition(a.mtu <= b.mtu, "unequal_mtu", "the receiver's MTU is not smaller"),
        condition(leased, "lease", "the agent holds the lease"),
    ];
    for entry in [from, to] {
        let title = entry.endpoint.title();
        match status.endpoints.get(&entry.endpoint.id) {
            Some(seen) if seen.state == State::Ready => {
                let blockers = seen.not_accelerated.iter();
                conditions
                    .extend(blockers.map(|why| condition(false, why.code(), &format!("{title}: {why}"))));
            }
            _ => conditions.push(condition(false, "not_ready", &format!("{title} is not ready"))),
        }
    }
    pb::AccelPair {
        from: Some(of_endpoint(a)),
        to: Some(of_endpoint(b)),
        on: conditions.iter().all(|c| c.met),
        conditions,
    }
}

fn condition(met: bool, code: &str, text: &str) -> pb::AccelCondition {
    pb::AccelCondition { reason: Some(pb::AccelReason { code: code.to_owned(), text: text.to_owned() }), met }
}
