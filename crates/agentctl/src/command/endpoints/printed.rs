//! An endpoint as JSON.

use agent_api::control::v1::endpoint_state::State;
use agent_api::control::v1::vlan::Mode;
use agent_api::control::v1::{Endpoint, EndpointState, Guard, Vlan};
use serde::Serialize;

use super::super::accel::PrintedAccel;
use super::super::drops::PrintedCount;
use crate::{names, time};

#[derive(Serialize)]
pub(super) struct Printed {
    endpoint: String,
    container_id: String,
    ifname: String,
    netns: String,
    pod: Option<PrintedPod>,
    network: String,
    cni_type: String,
    bridge: String,
    vlan: PrintedVlan,
    mac: String,
    mtu: u32,
    addresses: Vec<String>,
    gateways: Vec<String>,
    ofport: u32,
    host_ifname: String,
    slot: u32,
    guard: PrintedGuard,
    state: PrintedState,
    conditions: Vec<String>,
    accel: PrintedAccel,
    dropped: u64,
    drops: Vec<PrintedCount>,
    passed_ebpf: u64,
    passed_openflow: u64,
    added: Option<String>,
    generation: u64,
}

#[derive(Serialize)]
struct PrintedPod {
    namespace: String,
    name: String,
    uid: String,
}

#[derive(Serialize)]
struct PrintedVlan {
    mode: &'static str,
    tag: Option<u32>,
    trunks: Vec<u32>,
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the keys of the printed object")]
struct PrintedGuard {
    mode: String,
    ebpf: String,
    openflow: bool,
    dhcp: bool,
    slaac: bool,
    vm: bool,
}

#[derive(Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum PrintedState {
    Ready { since: Option<String> },
    Pending { stage: String, since: Option<String> },
    Failed { stage: String, error: String, retry_at: Option<String> },
    Removing { since: Option<String>, why: String },
    Unknown,
}

impl From<Endpoint> for Printed {
    fn from(endpoint: Endpoint) -> Self {
        let reference = endpoint.r#ref.unwrap_or_default();
        let pod =
            reference.pod.map(|pod| PrintedPod { namespace: pod.namespace, name: pod.name, uid: pod.uid });
        Self {
            endpoint: reference.id,
            container_id: reference.container_id,
            ifname: reference.ifname,
            netns: endpoint.netns,
            pod,
            network: endpoint.network,
            cni_type: endpoint.cni_type,
            bridge: endpoint.bridge,
            vlan: endpoint.vlan.unwrap_or_default().into(),
            mac: endpoint.mac,
            mtu: endpoint.mtu,
            addresses: endpoint.addresses,
            gateways: endpoint.gateways,
            ofport: endpoint.ofport,
            host_ifname: endpoint.host_ifname,
            slot: endpoint.slot,
            guard: endpoint.guard.unwrap_or_default().into(),
            state: endpoint.state.unwrap_or_default().into(),
            conditions: endpoint.conditions,
            accel: endpoint.accel.unwrap_or_default().into(),
            dropped: endpoint.dropped,
            drops: endpoint.drops.into_iter().map(PrintedCount::from).collect(),
            passed_ebpf: endpoint.passed,
            passed_openflow: endpoint.passed_openflow,
            added: time::stamp(endpoint.added_unix_ns),
            generation: endpoint.generation,
        }
    }
}

impl From<Vlan> for PrintedVlan {
    fn from(vlan: Vlan) -> Self {
        let mode = match vlan.mode() {
            Mode::Access => "access",
            Mode::Trunk => "trunk",
            Mode::Unset => "unset",
            Mode::Unspecified => "unknown",
        };
        Self { mode, tag: vlan.tag, trunks: vlan.trunks }
    }
}

impl From<Guard> for PrintedGuard {
    fn from(guard: Guard) -> Self {
        Self {
            mode: names::guard_mode(guard.mode),
            ebpf: names::hook(guard.ebpf),
            openflow: guard.openflow,
            dhcp: guard.dhcp,
            slaac: guard.slaac,
            vm: guard.vm,
        }
    }
}

impl From<EndpointState> for PrintedState {
    fn from(state: EndpointState) -> Self {
        match state.state {
            Some(State::Ready(ready)) => Self::Ready { since: time::stamp(ready.since_unix_ns) },
            Some(State::Pending(pending)) => Self::Pending {
                stage: names::stage(pending.stage),
                since: time::stamp(pending.since_unix_ns),
            },
            Some(State::Failed(failed)) => Self::Failed {
                stage: names::stage(failed.stage),
                error: failed.error,
                retry_at: time::stamp(failed.retry_at_unix_ns),
            },
            Some(State::Removing(removing)) => {
                Self::Removing { since: time::stamp(removing.since_unix_ns), why: removing.why }
            }
            None => Self::Unknown,
        }
    }
}
