//! `agentctl endpoints`: every interface of every pod, whole.

use agent_api::control::v1 as pb;
use ebpf::abi::Counter;
use tonic::Status;

use super::Context;
use super::convert::{guard_mode, hook, moment, obstacle, of_endpoint, reference, stage, vlan};
use super::drops::{OpenFlowCounts, Walls, reasons};
use super::select;
use crate::model::{EndpointId, EndpointStatus, Entry, Removal, State};

pub(super) async fn reply(
    context: &Context,
    request: &pb::EndpointsRequest,
) -> Result<pb::EndpointsReply, Status> {
    let chosen = select::endpoints_and_removals(context, &request.endpoint)?;
    select::bridge(context, &request.bridge)?;
    let intent = context.store.intent();
    let status = context.reconcile.status();
    let counts = OpenFlowCounts::read(context).await;
    let is_wanted = |id: &EndpointId, bridge: &str| {
        (request.bridge.is_empty() || bridge == request.bridge) && chosen.contains(id)
    };
    let wanted = intent.endpoints.values().filter(|e| is_wanted(&e.endpoint.id, &e.endpoint.bridge));
    let mut endpoints: Vec<_> = wanted
        .map(|entry| describe(context, entry, status.endpoints.get(&entry.endpoint.id), &counts))
        .collect();
    let leaving = intent.removals.values().filter(|r| !intent.endpoints.contains_key(&r.id));
    let leaving = leaving.filter(|r| is_wanted(&r.id, r.bridge.as_deref().unwrap_or_default()));
    endpoints.extend(leaving.map(|removal| pb::Endpoint {
        r#ref: Some(reference(&intent, &removal.id)),
        state: status.endpoints.get(&removal.id).map(state),
        ..what_is_left(removal)
    }));
    endpoints.sort_by(|a, b| a.r#ref.as_ref().map(|r| &r.id).cmp(&b.r#ref.as_ref().map(|r| &r.id)));
    Ok(pb::EndpointsReply { endpoints })
}

/// What is known of an endpoint that the runtime deleted.
fn what_is_left(removal: &Removal) -> pb::Endpoint {
    pb::Endpoint {
        bridge: removal.bridge.clone().unwrap_or_default(),
        host_ifname: removal.id.host_ifname(),
        slot: removal.slot.map(|slot| slot.index).unwrap_or_default(),
        ..pb::Endpoint::default()
    }
}

fn describe(
    context: &Context,
    entry: &Entry,
    status: Option<&EndpointStatus>,
    counts: &OpenFlowCounts,
) -> pb::Endpoint {
    let endpoint = &entry.endpoint;
    let slot = entry.slot.index;
    let counters = context.bpf.counters(slot).unwrap_or_default();
    let guard = endpoint.guard;
    let walls = Walls::of(context, endpoint);
    let drops = reasons(&counters, slot, counts, walls);
    pb::Endpoint {
        r#ref: Some(of_endpoint(endpoint)),
        bridge: endpoint.bridge.clone(),
        vlan: Some(vlan(&endpoint.vlan)),
        mac: endpoint.mac.to_string(),
        addresses: endpoint.addresses.iter().map(ToString::to_string).collect(),
        gateways: endpoint.gateways.iter().map(ToString::to_string).collect(),
        ofport: status.and_then(|s| s.ofport).unwrap_or_default(),
        host_ifname: endpoint.host_ifname(),
        slot,
        guard: Some(pb::Guard {
            mode: guard_mode(guard.mode).into(),
            ebpf: hook(status.and_then(|s| s.attached)).into(),
            openflow: status.is_some_and(|s| s.flowed),
            dhcp: guard.dhcp,
            slaac: guard.slaac,
            vm: guard.vm,
        }),
        state: status.map(state),
        accel: Some(accel(context, slot, status)),
        dropped: walls.total(&drops),
        drops,
        passed: counters.passed(),
        passed_openflow: counts.passed(slot),
        added_unix_ns: moment(Some(entry.asked_at).filter(|at| !at.is_zero())),
        generation: entry.revision.0,
        mtu: endpoint.mtu,
        cni_type: if endpoint.ovs_cni { "ovs" } else { "underpass" }.to_owned(),
        network: endpoint.network.clone(),
        conditions: conditions(entry, status),
        netns: endpoint.netns.clone(),
    }
}

/// What a person should know of an endpoint that works all the same.
fn conditions(entry: &Entry, status: Option<&EndpointStatus>) -> Vec<String> {
    let before = status
        .filter(|s| s.foreign_before)
        .map(|_| format!("a foreign program on {} runs before the guard's", entry.endpoint.host_ifname()));
    let rebuilt = entry.rebuilt.iter().flat_map(|lacking| {
        let first = "the ledger had lost it: rebuilt from its port and its programs".to_owned();
        std::iter::once(first).chain(lacking.iter().cloned())
    });
    before.into_iter().chain(rebuilt).collect()
}

fn state(status: &EndpointStatus) -> pb::EndpointState {
    use pb::endpoint_state as to;
    let since_unix_ns = moment(Some(status.since));
    let state = match &status.state {
        State::Ready => to::State::Ready(to::Ready { since_unix_ns }),
        State::Pending { stage: which, .. } => {
            to::State::Pending(to::Pending { stage: stage(*which).into(), since_unix_ns })
        }
        State::Removing { why } => to::State::Removing(to::Removing { since_unix_ns, why: why.clone() }),
        State::Failed { stage: which, error, retry_at } => to::State::Failed(to::Failed {
            stage: stage(*which).into(),
            error: error.to_string(),
            retry_at_unix_ns: moment(Some(*retry_at)),
        }),
    };
    pb::EndpointState { state: Some(state) }
}

pub(super) fn accel(context: &Context, slot: u32, status: Option<&EndpointStatus>) -> pb::EndpointAccel {
    let counters = context.bpf.counters(slot).unwrap_or_default();
    let reasons: Vec<_> =
        status.map(|s| s.not_accelerated.iter().copied().map(obstacle).collect()).unwrap_or_default();
    pb::EndpointAccel {
        on: reasons.is_empty() && status.is_some_and(|s| s.state == State::Ready),
        reasons,
        tx_packets: counters.of(Counter::AccelTxPackets),
        tx_bytes: counters.of(Counter::AccelTxBytes),
        rx_packets: counters.of(Counter::AccelRxPackets),
        rx_bytes: counters.of(Counter::AccelRxBytes),
    }
}
