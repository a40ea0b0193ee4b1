//! The decisions of a pass that need no data plane: what is remembered, what is shown, what is tried again and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ebpf_abi::{Port, Uplink};

use super::bpf::{Maps, asked_for, hasty, without_interface};
use super::memory::{Fault, Memories, Memory};
use super::pass::Work;
use super::removal::due;
use crate::dataplane::bpf::Attached;
use crate::dataplane::links::{HostVeth, HostVeths, IfIndex};
use crate::dataplane::netns::Netns;
use crate::limits::{RETRY_FIRST, RETRY_LAST, SETTLE_AFTER};
use crate::model::{
    ConflictPolicy, Endpoint, EndpointId, Entry, GatewayPolicy, Generation, Guard, GuardMode, Mac, Phase,
    PortVlan, ProbeTiming, Removal, Slot, Stage, StageError, State,
};
use crate::plan::bpf::Tables;

const T0: Duration = Duration::from_secs(1_000);

fn entry(name: &str, phase: Phase, created: u64, slot: u32) -> Arc<Entry> {
    let id = EndpointId::new(name, "eth0");
    let endpoint = Endpoint {
        mac: id.derived_mac(),
        id,
        pod: None,
        netns: String::new(),
        network: "net".to_owned(),
        ovs_cni: false,
        bridge: "br1".to_owned(),
        vlan: PortVlan::Access(0),
        mtu: 1500,
        addresses: Vec::new(),
        gateways: Vec::new(),
        routes: Vec::new(),
        guard: Guard { mode: GuardMode::Full, dhcp: false, slaac: false, vm: false },
        conflict: ConflictPolicy::Fail,
        conflict_timing: ProbeTiming { count: 3, interval: Duration::ZERO, wait: Duration::ZERO },
        gateway: GatewayPolicy::Warn,
        accelerate: true,
        ofport_request: None,
    };
    Arc::new(Entry {
        endpoint,
        slot: Slot { index: slot, generation: 1 },
        phase,
        created: Generation(created),
        revision: Generation(created),
        ipam: None,
        request: 0,
        asked_at: Duration::ZERO,
        rebuilt: None,
    })
}

fn work(name: &str, slot: u32, ifindex: u32) -> (EndpointId, Work) {
    let mut work = Work::new(entry(name, Phase::Live, 1, slot));
    work.ifindex = Some(ifindex);
    (work.id().clone(), work)
}

fn broken() -> StageError {
    StageError::Other("broken".to_owned())
}

fn failed(stage: Stage) -> Fault {
    Fault::again(None, stage, broken(), T0)
}

fn shows(work: &Work) -> (Stage, bool) {
    match work.held_up.as_ref().expect("it is held up") {
        State::Pending { stage, .. } => (*stage, false),
        State::Failed { stage, .. } => (*stage, true),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_wait_doubles_up_to_a_bound_though_stages_fail_in_turns_and_begins_anew_after_a_success() {
    let (mut memory, mut waits) = (Memory::default(), Vec::new());
    for stage in [Stage::Ports, Stage::Flows].into_iter().cycle().take(40) {
        memory.fail(stage, broken(), T0);
        waits.push(memory.fault.as_ref().unwrap().retry_at.saturating_sub(T0));
    }
    assert_eq!(waits[..4], [1, 2, 4, 8].map(|times| RETRY_FIRST * times));
    assert!(waits.is_sorted() && waits[39] == RETRY_LAST, "{waits:?}");
    memory.succeed(Stage::Flows);
    memory.fail(Stage::Flows, broken(), T0);
    assert_eq!(memory.fault.as_ref().unwrap().retry_at, T0 + RETRY_FIRST);
}

#[test]
fn a_back_off_is_the_failed_stages_alone_and_ends_on_time() {
    let mut memory = Memory::default();
    memory.fail(Stage::Ports, broken(), T0);
    assert!(memory.backs_off(Stage::Ports, T0) && !memory.backs_off(Stage::Flows, T0));
    assert!(!memory.backs_off(Stage::Ports, T0 + RETRY_FIRST));
    memory.succeed(Stage::Flows);
    assert!(memory.fault.is_some(), "another stage's success mends nothing");
    memory.succeed(Stage::Ports);
    assert!(memory.fault.is_none());
}

#[test]
fn the_first_stage_that_waits_is_shown_and_its_own_failure_instead() {
    let mut work = Work::new(entry("a", Phase::Adding, 1, 1));
    work.wait(Stage::Ports, "no number yet");
    work.wait(Stage::Flows, "no port yet");
    work.recall(failed(Stage::Flows), Stage::Flows);
    assert_eq!(shows(&work), (Stage::Ports, false), "what comes after waits for it");
    work.recall(failed(Stage::Ports), Stage::Flows);
    assert_eq!(shows(&work), (Stage::Ports, false), "only the stage that asks shows its failure");
    work.recall(failed(Stage::Ports), Stage::Ports);
    assert_eq!(shows(&work), (Stage::Ports, true));
    work.recall(failed(Stage::Gate), Stage::Gate);
    work.wait(Stage::Gate, "late");
    assert_eq!(shows(&work), (Stage::Ports, true), "the first failure stays");
}

#[test]
fn a_replaced_endpoint_is_remembered_anew_and_one_that_is_gone_not_at_all() {
    let mut memories = Memories::default();
    let (old, other) = (entry("a", Phase::Live, 1, 1), entry("b", Phase::Adding, 2, 2));
    memories.follow([&*old, &*other].into_iter(), Generation(2));
    let id = &old.endpoint.id;
    assert!(memories.get(id).unwrap().open, "whoever opened it, the gate of a living endpoint is open");
    assert!(!memories.get(&other.endpoint.id).unwrap().open);
    memories.get_mut(id).ifindex = Some(7);
    memories.follow([&*old].into_iter(), Generation(3));
    assert_eq!(memories.get(id).unwrap().ifindex, Some(7));
    assert!(memories.get(&other.endpoint.id).is_none());
    let new = entry("a", Phase::Plumbing, 4, 3);
    memories.follow([&*new].into_iter(), Generation(4));
    let memory = memories.get(id).unwrap();
    assert_eq!((memory.ifindex, memory.open), (None, false));
}

#[test]
fn a_namespace_waits_for_its_attachment_goes_to_no_other_and_is_let_go_in_the_end() {
    let (mut memories, netns) = (Memories::default(), Netns::current().unwrap());
    let id = EndpointId::new("a", "eth0");
    memories.hold((id.clone(), Generation(5), netns.clone()));
    let before = entry("a", Phase::Plumbing, 3, 1);
    memories.follow([&*before].into_iter(), Generation(4));
    assert!(memories.get(&id).unwrap().netns.is_none(), "it is of an attachment that is still to come");
    let mine = entry("a", Phase::Plumbing, 5, 1);
    memories.follow([&*mine].into_iter(), Generation(5));
    assert!(memories.get(&id).unwrap().netns.is_some());
    let live = entry("a", Phase::Live, 5, 1);
    memories.follow([&*live].into_iter(), Generation(6));
    assert!(memories.get(&id).unwrap().netns.is_none(), "a descriptor kept would keep the namespace");

    // One that came too late is not kept for ever.
    memories.hold((id.clone(), Generation(2), netns));
    memories.follow([&*live].into_iter(), Generation(7));
    let again = entry("a", Phase::Plumbing, 2, 1);
    memories.follow([&*again].into_iter(), Generation(8));
    assert!(memories.get(&id).unwrap().netns.is_none());
}

#[test]
fn removals_that_failed_wait_each_for_itself_and_others_do_not() {
    let removal = |name: &str| Removal {
        id: EndpointId::new(name, "eth0"),
        bridge: None,
        slot: None,
        revision: Generation(1),
        is_unplugged: false,
    };
    let (stuck, fresh) = (removal("stuck"), removal("fresh"));
    let twice = Fault::again(Some(&failed(Stage::Links)), Stage::Links, broken(), T0);
    let leaving = BTreeMap::from([(stuck.id.clone(), twice)]);
    let due_after = |wait| -> Vec<_> {
        let due = due(vec![stuck.clone(), fresh.clone()], &leaving, T0 + wait);
        due.into_iter().map(|removal| removal.id.container).collect()
    };
    assert_eq!(due_after(RETRY_FIRST), ["fresh"]);
    assert_eq!(due_after(RETRY_FIRST * 2), ["stuck", "fresh"]);
}

#[test]
fn pins_are_forgotten_only_where_no_interface_of_ours_is() {
    let veth = HostVeth {
        index: IfIndex(10),
        alias: None,
        is_up: true,
        mtu: 1500,
        mac: Mac([0; 6]),
        peer: IfIndex(2),
        qdisc: "noqueue".to_owned(),
        master: None,
    };
    let veths = HostVeths::from([("veth0123456789a".to_owned(), veth)]);
    // Made in this very pass: the monitor has not told of it.
    let works = BTreeMap::from([work("new", 1, 11)]);
    let uplinks = BTreeMap::from([(12, Uplink::new(0))]);
    let actual = Tables { uplinks, ..Tables::default() };
    assert_eq!(without_interface(vec![10, 11, 12, 13], &actual, &veths, &works), [13]);
}

fn in_haste(ifindex: u32) -> Attached {
    Attached { ifindex, kind: "clsact", for_good: false, foreign_before: false, foreign: false }
}

#[test]
fn neither_a_lost_interface_nor_a_failure_keeps_the_programs_of_others_from_being_hung_for_good() {
    let mut works = BTreeMap::from([work("failed", 1, 10), work("lost", 2, 11), work("young", 3, 12)]);
    let [failed, lost, young] = ["failed", "lost", "young"].map(|name| EndpointId::new(name, "eth0"));
    let mut memories = Memories::default();
    for (id, ifindex) in [(&failed, 10), (&lost, 11), (&young, 12)] {
        memories.get_mut(id).attached = Some(in_haste(ifindex));
    }
    assert_eq!(hasty(&works, &memories, T0), Some((failed.clone(), 10)));
    memories.get_mut(&failed).fail(Stage::Bpf, broken(), T0);
    assert_eq!(hasty(&works, &memories, T0), Some((lost.clone(), 11)));
    works.get_mut(&lost).unwrap().ifindex = None;
    memories.get_mut(&young).opened_at = Some(T0);
    assert_eq!(hasty(&works, &memories, T0), None);
    memories.get_mut(&failed).fail(Stage::Bpf, broken(), T0 + SETTLE_AFTER);
    assert_eq!(hasty(&works, &memories, T0 + SETTLE_AFTER), Some((young, 12)));
}

#[test]
fn an_order_ends_with_its_outcome_though_the_endpoint_lost_the_interface_meanwhile() {
    let mut works = BTreeMap::from([work("a", 1, 10), work("b", 2, 11)]);
    let id = EndpointId::new("a", "eth0");
    let mut memories = Memories::default();
    memories.get_mut(&id).hooks_asked = Some(10);
    works.get_mut(&id).unwrap().ifindex = None;
    assert_eq!(asked_for(&works, &memories, 10), Some(id.clone()));
    assert_eq!(asked_for(&works, &memories, 11), None, "nobody asked");
    works.remove(&id);
    assert_eq!(asked_for(&works, &memories, 10), None, "it left");
}

#[test]
fn the_numbers_of_bridges_survive_a_restart_and_are_never_given_twice() {
    let of = |slot: u32, bridge: u16| Port { slot, bridge, ..no_port() };
    let works = BTreeMap::from([work("a", 3, 10), work("b", 4, 11)]);
    // The second entry is of a slot that is another's by now.
    let actual = Tables { ports: BTreeMap::from([(10, of(3, 1)), (11, of(9, 5))]), ..Tables::default() };
    let mut maps = Maps::default();
    maps.adopt(&actual, &works);
    assert_eq!((maps.index("br1"), maps.index("br2"), maps.index("br3")), (1, 0, 2));
    maps.adopt(&actual, &works);
    assert_eq!((maps.index("br1"), maps.index("br4")), (1, 3));
}

fn no_port() -> Port {
    Port {
        slot: 0,
        generation: 1,
        bridge: 0,
        vlan: 0,
        mac: [0; 6],
        mode: ebpf_abi::Mode::FULL,
        stage: ebpf_abi::Stage::OPEN,
        flags: ebpf_abi::PortFlags::default(),
        mtu: 1500,
        ip4: [0; 4],
        ip6: [0; 16],
        ll6: [0; 16],
    }
}
