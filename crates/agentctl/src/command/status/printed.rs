//! The status as JSON.

use agent_api::control::v1::{Bridge, Connection, StageStatus, StatusReply};
use serde::Serialize;

use super::super::doctor::Printed as PrintedCheck;
use crate::{names, time};

#[derive(Serialize)]
pub(super) struct Printed {
    version: String,
    pid: u32,
    started: Option<String>,
    node: String,
    kernel: String,
    ovs_version: String,
    ready: bool,
    not_ready: Vec<String>,
    out_of_order: Vec<PrintedCheck>,
    generation: u64,
    applied_generation: u64,
    endpoints: PrintedTally,
    max_endpoints: u32,
    ovsdb: PrintedConnection,
    bridges: Vec<PrintedBridge>,
    stages: Vec<PrintedStage>,
    bpf: PrintedBpf,
    accel: PrintedAccel,
    ipam_debts: u32,
    spooled: u32,
}

#[derive(Serialize)]
struct PrintedTally {
    ready: u32,
    pending: u32,
    failed: u32,
    removing: u32,
}

#[derive(Serialize)]
struct PrintedConnection {
    up: bool,
    target: String,
    since: Option<String>,
    error: String,
}

#[derive(Serialize)]
struct PrintedBridge {
    name: String,
    datapath_type: String,
    datapath_id: String,
    openflow: PrintedConnection,
    uplinks: Vec<String>,
    trouble: String,
    endpoints: u32,
    flows_expected: u32,
    flows_present: u32,
    drift_mended: u64,
    table_base: u32,
}

#[derive(Serialize)]
struct PrintedStage {
    stage: String,
    waiting: u32,
    failed: u32,
    error: String,
}

#[derive(Serialize)]
struct PrintedBpf {
    hook: String,
    pin_dir: String,
    layout: String,
    error: String,
}

#[derive(Serialize)]
struct PrintedAccel {
    enabled: bool,
    leased: bool,
    lease_left_ms: u64,
    on: u32,
    off: u32,
}

impl From<StatusReply> for Printed {
    fn from(status: StatusReply) -> Self {
        let tally = status.endpoints.unwrap_or_default();
        let bpf = status.bpf.unwrap_or_default();
        let accel = status.accel.unwrap_or_default();
        Self {
            version: status.version,
            pid: status.pid,
            started: time::stamp(status.started_unix_ns),
            node: status.node,
            kernel: status.kernel,
            ovs_version: status.ovs_version,
            ready: status.ready,
            not_ready: status.not_ready,
            out_of_order: status.out_of_order.into_iter().map(PrintedCheck::from).collect(),
            generation: status.generation,
            applied_generation: status.applied_generation,
            endpoints: PrintedTally {
                ready: tally.ready,
                pending: tally.pending,
                failed: tally.failed,
                removing: tally.removing,
            },
            max_endpoints: status.max_endpoints,
            ovsdb: status.ovsdb.unwrap_or_default().into(),
            bridges: status.bridges.into_iter().map(PrintedBridge::from).collect(),
            stages: status.stages.into_iter().map(PrintedStage::from).collect(),
            bpf: PrintedBpf {
                hook: names::hook(bpf.hook),
                pin_dir: bpf.pin_dir,
                layout: bpf.layout,
                error: bpf.error,
            },
            accel: PrintedAccel {
                enabled: accel.enabled,
                leased: accel.leased,
                lease_left_ms: accel.lease_left_ms,
                on: accel.on,
                off: accel.off,
            },
            ipam_debts: status.ipam_debts,
            spooled: status.spooled,
        }
    }
}

impl From<Connection> for PrintedConnection {
    fn from(connection: Connection) -> Self {
        Self {
            up: connection.up,
            target: connection.target,
            since: time::stamp(connection.since_unix_ns),
            error: connection.error,
        }
    }
}

impl From<Bridge> for PrintedBridge {
    fn from(bridge: Bridge) -> Self {
        Self {
            name: bridge.name,
            datapath_type: bridge.datapath_type,
            datapath_id: format!("{:016x}", bridge.datapath_id),
            openflow: bridge.openflow.unwrap_or_default().into(),
            uplinks: bridge.uplinks,
            trouble: bridge.trouble,
            endpoints: bridge.endpoints,
            flows_expected: bridge.flows_expected,
            flows_present: bridge.flows_present,
            drift_mended: bridge.drift_mended,
            table_base: bridge.table_base,
        }
    }
}

impl From<StageStatus> for PrintedStage {
    fn from(stage: StageStatus) -> Self {
        Self {
            stage: names::stage(stage.stage),
            waiting: stage.waiting,
            failed: stage.failed,
            error: stage.error,
        }
    }
}
