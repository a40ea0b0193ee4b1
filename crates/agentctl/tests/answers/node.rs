//! A node with one of everything. Times are relative to now and far enough from the next unit to read the same each run.

use std::time::{SystemTime, UNIX_EPOCH};

use agent_api::control::v1::endpoint_state::{Failed, Pending, Ready, Removing, State};
use agent_api::control::v1::vlan::Mode;
use agent_api::control::v1::{
    AccelCondition, AccelEndpoint, AccelPair, AccelReason, AccelReply, AccelSummary, Bpf, BpfHook, Bridge,
    Check, Conflict, Connection, Cookie, DropEvent, Endpoint, EndpointAccel, EndpointDrops, EndpointRef,
    EndpointState, EndpointTally, Event, Flow, FlowStatus, Gateway, GatewayState, Guard, GuardMode, Outcome,
    Pod, Reason, ReasonCount, Severity, Stage, StageStatus, StatusReply, Vlan,
};

/// Unix nanoseconds of a moment so many seconds ago.
fn ago(seconds: i64) -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is what the wall clock is for")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_nanos()).unwrap() - seconds * 1_000_000_000
}

const HOURS_3: i64 = 3 * 3600 + 12 * 60 + 30;
const DAYS_2: i64 = 2 * 86_400 + 4 * 3600 + 1800;

fn reference(name: &str) -> EndpointRef {
    EndpointRef {
        id: format!("shop/{name}:eth0"),
        container_id: format!("{name}-0123456789abcdef0123456789abcdef"),
        ifname: "eth0".into(),
        pod: Some(Pod { namespace: "shop".into(), name: name.into(), uid: "0b5c6d1e-uid".into() }),
    }
}

fn up(target: &str) -> Connection {
    Connection { up: true, target: target.into(), since_unix_ns: ago(DAYS_2), error: String::new() }
}

pub(crate) fn status() -> StatusReply {
    let stage = |stage: Stage, failed, error: &str| StageStatus {
        stage: stage.into(),
        error: error.into(),
        failed,
        waiting: u32::from(stage == Stage::Links),
    };
    StatusReply {
        version: "0.1.0".into(),
        pid: 4711,
        started_unix_ns: ago(DAYS_2),
        node: "worker-1".into(),
        kernel: "6.12.0-amd64".into(),
        ovs_version: "3.1.0".into(),
        ready: false,
        not_ready: vec!["bridge br2 refuses OpenFlow 1.5".into()],
        generation: 42,
        applied_generation: 41,
        endpoints: Some(EndpointTally { ready: 1, pending: 1, failed: 1, removing: 1 }),
        bridges: vec![
            Bridge {
                name: "br1".into(),
                datapath_type: "system".into(),
                datapath_id: 0x0000_1234_5678_9abc,
                openflow: Some(up("unix:/var/run/openvswitch/br1.mgmt")),
                uplinks: vec!["eth1".into(), "eth2".into()],
                trouble: String::new(),
                endpoints: 3,
                flows_expected: 57,
                flows_present: 56,
                drift_mended: 2,
                table_base: 220,
            },
            Bridge {
                name: "br2".into(),
                datapath_type: "system".into(),
                openflow: Some(up("unix:/var/run/openvswitch/br2.mgmt")),
                trouble: "it belongs to OVN (external_ids:ovn-bridge-mappings)".into(),
                table_base: 220,
                ..Bridge::default()
            },
        ],
        stages: vec![
            stage(Stage::Links, 0, ""),
            stage(Stage::Bpf, 0, ""),
            stage(Stage::Ports, 1, "OVSDB is out of reach: connection refused"),
        ],
        bpf: Some(Bpf {
            hook: BpfHook::Tcx.into(),
            pin_dir: "/sys/fs/bpf/underpass".into(),
            layout: "v1-5e1f".into(),
            error: String::new(),
        }),
        accel: Some(summary()),
        ovsdb: Some(up("unix:/var/run/openvswitch/db.sock")),
        ipam_debts: 1,
        spooled: 0,
        max_endpoints: 512,
        out_of_order: checks().into_iter().filter(|check| check.outcome() != Outcome::Ok).collect(),
    }
}

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![cart(), pending(), failed(), removing()]
}

fn removing() -> Endpoint {
    let state =
        Removing { since_unix_ns: ago(HOURS_3), why: "OVSDB is out of reach: connection refused".into() };
    Endpoint {
        r#ref: Some(EndpointRef { id: "deadbeef0123:eth0".into(), ..EndpointRef::default() }),
        bridge: "br1".into(),
        host_ifname: "veth0a1b2c3d4e6".into(),
        state: Some(EndpointState { state: Some(State::Removing(state)) }),
        ..Endpoint::default()
    }
}

fn cart() -> Endpoint {
    Endpoint {
        r#ref: Some(reference("cart")),
        bridge: "br1".into(),
        vlan: Some(Vlan { mode: Mode::Access.into(), tag: Some(100), trunks: Vec::new() }),
        mac: "02:00:5e:00:53:01".into(),
        addresses: vec!["192.0.2.10/24".into(), "2001:db8::10/64".into()],
        gateways: vec!["192.0.2.1".into(), "2001:db8::1".into()],
        ofport: 7,
        host_ifname: "veth0a1b2c3d4e5".into(),
        slot: 3,
        guard: Some(Guard {
            mode: GuardMode::Full.into(),
            ebpf: BpfHook::Tcx.into(),
            openflow: true,
            dhcp: true,
            slaac: false,
            vm: true,
        }),
        state: Some(EndpointState { state: Some(State::Ready(Ready { since_unix_ns: ago(HOURS_3) })) }),
        accel: Some(EndpointAccel {
            on: true,
            reasons: Vec::new(),
            tx_packets: 123_456,
            tx_bytes: 98_765_432,
            rx_packets: 654_321,
            rx_bytes: 1_234_567,
        }),
        drops: vec![count(Reason::Arp, 4, 0), count(Reason::Ipv4, 17, 1)],
        dropped: 22,
        passed: 1_000_000,
        passed_openflow: 876_543,
        added_unix_ns: ago(HOURS_3),
        generation: 40,
        mtu: 1500,
        netns: "/run/netns/cart".into(),
        cni_type: "underpass".into(),
        network: "underlay".into(),
        conditions: vec!["a foreign program runs before the guard's".into()],
    }
}

fn pending() -> Endpoint {
    let waits = Pending { stage: Stage::Ports.into(), since_unix_ns: ago(HOURS_3) };
    Endpoint {
        r#ref: Some(EndpointRef { id: "c0ffee012345:net1".into(), ..EndpointRef::default() }),
        bridge: "br1".into(),
        vlan: Some(Vlan { mode: Mode::Trunk.into(), tag: Some(5), trunks: vec![10, 20, 21, 22] }),
        guard: Some(Guard { mode: GuardMode::Mac.into(), ..Guard::default() }),
        state: Some(EndpointState { state: Some(State::Pending(waits)) }),
        ..Endpoint::default()
    }
}

fn failed() -> Endpoint {
    let state = Failed {
        stage: Stage::Ports.into(),
        error: "constraint violation: 5000 is not in the valid range 0 to 4095".into(),
        retry_at_unix_ns: ago(-HOURS_3),
    };
    Endpoint {
        r#ref: Some(reference("till-with-a-rather-long-name-7d9c5b8f6d-x2x4z")),
        bridge: "br1".into(),
        vlan: Some(Vlan { mode: Mode::Unset.into(), ..Vlan::default() }),
        addresses: vec!["192.0.2.11/24".into()],
        guard: Some(Guard { mode: GuardMode::Observe.into(), ..Guard::default() }),
        state: Some(EndpointState { state: Some(State::Failed(state)) }),
        drops: vec![count(Reason::Unspecified, 1, 0)],
        dropped: 1,
        ..Endpoint::default()
    }
}

fn count(reason: Reason, ebpf: u64, openflow: u64) -> ReasonCount {
    ReasonCount { reason: reason.into(), ebpf, openflow, frames: ebpf + openflow }
}

pub(crate) fn flows() -> Vec<Flow> {
    let flow = |table: (u32, &str), priority, kind, matches: &str, actions: &str, status: FlowStatus| Flow {
        bridge: "br1".into(),
        table: table.0,
        table_name: table.1.into(),
        priority,
        cookie: 0x5550_0100_0000_0003 | u64::from(kind) << 32,
        decoded: Some(Cookie {
            abi: 1,
            kind,
            reason: i32::try_from(kind).unwrap(),
            slot: if kind == 0 { 0 } else { 3 },
        }),
        endpoint: (kind != 0).then(|| reference("cart")),
        r#match: matches.into(),
        actions: actions.into(),
        packets: if status == FlowStatus::Missing { 0 } else { 1234 },
        bytes: if status == FlowStatus::Missing { 0 } else { 98_765 },
        duration_ms: 3_723_000,
        status: status.into(),
    };
    let foreign = Flow {
        cookie: 0xdead,
        decoded: None,
        endpoint: None,
        ..flow((0, "hook"), 100, 0, "tcp,tp_dst=25", "drop", FlowStatus::NotOurs)
    };
    vec![
        flow((0, "hook"), 65_520, 16, "in_port=7,reg15=0/0x80000000", "goto_table:220", FlowStatus::Present),
        foreign,
        flow((220, "l2"), 10, 4, "in_port=7", "drop", FlowStatus::Missing),
        flow((221, "arp"), 10, 5, "in_port=7", "NORMAL", FlowStatus::Drift),
        flow((229, "accept"), 0, 0, "", "load:0x1->NXM_NX_REG15[31],resubmit(,0)", FlowStatus::Present),
    ]
}

pub(crate) fn drops() -> Vec<EndpointDrops> {
    vec![
        EndpointDrops {
            endpoint: Some(reference("cart")),
            reasons: vec![count(Reason::Arp, 4, 0), count(Reason::Ipv4, 17, 1)],
            last: Some(drop_event(ago(HOURS_3))),
            slot: 3,
        },
        EndpointDrops { endpoint: None, reasons: vec![count(Reason::Unbound, 2, 0)], last: None, slot: 0 },
    ]
}

pub(crate) fn drop_event(at_unix_ns: i64) -> DropEvent {
    DropEvent {
        endpoint: Some(reference("cart")),
        reason: Reason::Ipv4.into(),
        at_unix_ns,
        vlan: Some(0x2064),
        length: 98,
        head: [
            &[2, 0, 0x5e, 0, 0x53, 2, 2, 0, 0x5e, 0, 0x53, 1, 8, 0, 0x45, 0, 0, 84, 0, 0, 0, 0, 64, 1, 0, 0]
                [..],
            &[192, 0, 2, 99, 192, 0, 2, 1, 8, 0],
        ]
        .concat(),
    }
}

pub(crate) fn conflicts() -> Vec<Conflict> {
    let conflict = |address: &str, at_add, active| Conflict {
        endpoint: Some(reference("cart")),
        address: address.into(),
        foreign_mac: "02:00:5e:00:53:99".into(),
        seen_on: "eth1".into(),
        first_seen_unix_ns: ago(DAYS_2),
        last_seen_unix_ns: ago(HOURS_3),
        count: 27,
        at_add,
        active,
        bridge: "br1".into(),
        vlan: 100,
    };
    vec![conflict("192.0.2.10", false, true), conflict("2001:db8::10", true, false)]
}

pub(crate) fn gateways() -> Vec<Gateway> {
    let gateway = |vlan, address: &str, state: GatewayState, macs: &[&str]| Gateway {
        bridge: "br1".into(),
        vlan,
        address: address.into(),
        state: state.into(),
        macs: macs.iter().map(|mac| (*mac).to_owned()).collect(),
        last_seen_unix_ns: ago(HOURS_3),
        since_unix_ns: ago(DAYS_2),
        watcher: Some(reference("cart")),
        used_by: 2,
    };
    vec![
        gateway(0, "10.0.0.1", GatewayState::Lost, &[]),
        gateway(100, "192.0.2.1", GatewayState::Duplicate, &["02:00:5e:00:53:fe", "02:00:5e:00:53:fd"]),
        gateway(100, "2001:db8::1", GatewayState::Reachable, &["02:00:5e:00:53:fe"]),
    ]
}

fn summary() -> AccelSummary {
    AccelSummary { enabled: true, leased: true, lease_left_ms: 27_500, on: 1, off: 1 }
}

pub(crate) fn accel() -> AccelReply {
    let mirrored = AccelReason {
        code: "mirror".into(),
        text: "bridge br1 has mirror span0, which would miss accelerated frames".into(),
    };
    let endpoint = |name: &str, accel| AccelEndpoint {
        endpoint: Some(reference(name)),
        bridge: "br1".into(),
        accel: Some(accel),
    };
    AccelReply {
        summary: Some(summary()),
        endpoints: vec![
            endpoint("cart", cart().accel.unwrap()),
            endpoint("till", EndpointAccel { reasons: vec![mirrored], ..EndpointAccel::default() }),
        ],
        pairs: Vec::new(),
    }
}

pub(crate) fn accel_pair() -> AccelReply {
    let condition = |code: &str, text: &str, met| AccelCondition {
        reason: Some(AccelReason { code: code.into(), text: text.into() }),
        met,
    };
    AccelReply {
        summary: Some(summary()),
        endpoints: Vec::new(),
        pairs: vec![AccelPair {
            from: Some(reference("cart")),
            to: Some(reference("till")),
            on: false,
            conditions: vec![
                condition("same_bridge", "both are on br1, VLAN 100", true),
                condition("mirror", "bridge br1 has mirror span0", false),
            ],
        }],
    }
}

pub(crate) fn events() -> Vec<Event> {
    let node = Event {
        at_unix_ns: ago(HOURS_3),
        severity: Severity::Info.into(),
        kind: "Started".into(),
        text: "the agent started".into(),
        endpoint: None,
    };
    vec![node, event(ago(HOURS_3))]
}

pub(crate) fn event(at_unix_ns: i64) -> Event {
    Event {
        at_unix_ns,
        severity: Severity::Error.into(),
        kind: "AddressConflict".into(),
        text: "192.0.2.10 is also used by 02:00:5e:00:53:99, seen on eth1".into(),
        endpoint: Some(reference("cart")),
    }
}

pub(crate) fn checks() -> Vec<Check> {
    let check = |name: &str, outcome: Outcome, what: &str, mend: &str| Check {
        since_unix_ns: if outcome == Outcome::Fail { ago(HOURS_3) } else { 0 },
        name: name.into(),
        outcome: outcome.into(),
        what: what.into(),
        mend: mend.into(),
    };
    vec![
        check("kernel", Outcome::Ok, "6.12.0 has TCX", ""),
        check("ovsdb", Outcome::Warn, "the database lock is held by pid 12", "stop the other agent"),
        check(
            "bridge br2",
            Outcome::Fail,
            "its protocols forbid OpenFlow 1.5, which the agent needs to read back what it wrote",
            "ovs-vsctl add bridge br2 protocols OpenFlow15",
        ),
    ]
}
