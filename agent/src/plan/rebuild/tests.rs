//! What is rebuilt from which remains.

use ebpf_abi::{Port, SrcKey, SrcVal};

use super::*;
use crate::model::Pod;
use crate::plan::bpf::{self as maps, Attached};
use crate::plan::ports::external_ids;

const BOOT: &str = "boot-1";
const IFINDEX: u32 = 17;
const SLOT: Slot = Slot { index: 3, generation: 8 };

const DEFAULTS: Defaults = Defaults {
    conflict: ConflictPolicy::Fail,
    conflict_timing: ProbeTiming::USUAL,
    gateway: GatewayPolicy::Warn,
};

fn endpoint() -> Endpoint {
    Endpoint {
        id: EndpointId::new("0123456789abcdef", "eth0"),
        pod: Some(Pod { namespace: "shop".to_owned(), name: "cart".to_owned(), uid: String::new() }),
        netns: String::new(),
        network: "net".to_owned(),
        ovs_cni: false,
        bridge: "br1".to_owned(),
        vlan: PortVlan::Access(10),
        mtu: 1400,
        mac: Mac([2, 0, 0, 0, 0, 5]),
        addresses: ["10.0.0.5/24", "fd00::5/64", "10.0.1.5/16"].map(|a| a.parse().unwrap()).to_vec(),
        gateways: vec!["10.0.0.1".parse().unwrap()],
        routes: Vec::new(),
        guard: Guard { mode: GuardMode::Full, dhcp: true, slaac: false, vm: false },
        conflict: DEFAULTS.conflict,
        conflict_timing: DEFAULTS.conflict_timing,
        gateway: DEFAULTS.gateway,
        accelerate: false,
        ofport_request: Some(7),
    }
}

/// The maps as the agent writes them for an endpoint.
fn written(endpoint: &Endpoint, open: bool) -> Tables {
    let attached = Attached {
        endpoint,
        slot: SLOT,
        ifindex: IFINDEX,
        bridge: 0,
        userspace_datapath: false,
        open,
        accelerated: false,
    };
    maps::desired(&[attached], &[], &BTreeMap::new(), &BTreeMap::new())
}

fn remains(external_ids: &BTreeMap<String, String>, pinned: Option<Pinned>) -> Remains<'_> {
    Remains {
        id: endpoint().id,
        mtu: 1400,
        is_up: true,
        bridge: "br1",
        vlan: PortVlan::Access(10),
        ofport_request: Some(7),
        external_ids,
        pinned,
    }
}

#[test]
fn a_port_and_its_programs_say_all_that_guarding_needs() {
    let ids = external_ids(&endpoint(), BOOT);
    let found = rebuild(remains(&ids, pinned(&written(&endpoint(), true), IFINDEX)), BOOT, DEFAULTS);
    let whole = Rebuilt { endpoint: endpoint(), slot: Some(SLOT), lacking: Vec::new() };
    assert_eq!(found, Ok(whole));
}

#[test]
fn a_port_alone_says_it_too_but_for_the_slot() {
    let ids = external_ids(&endpoint(), BOOT);
    let found = rebuild(remains(&ids, None), BOOT, DEFAULTS);
    assert_eq!(found, Ok(Rebuilt { endpoint: endpoint(), slot: None, lacking: Vec::new() }));
}

#[test]
fn a_type_ovs_port_keeps_ovs_cnis_own_keys() {
    let pod = Pod { uid: "uid-1".to_owned(), ..endpoint().pod.unwrap() };
    let made = Endpoint { ovs_cni: true, netns: "/run/netns/x".to_owned(), pod: Some(pod), ..endpoint() };
    let ids = external_ids(&made, BOOT);
    assert_eq!(rebuild(remains(&ids, None), BOOT, DEFAULTS).unwrap().endpoint, made);
}

#[test]
fn programs_guard_on_where_the_port_says_nothing() {
    let found =
        rebuild(remains(&BTreeMap::new(), pinned(&written(&endpoint(), true), IFINDEX)), BOOT, DEFAULTS)
            .unwrap();
    let there = found.endpoint;
    assert_eq!((there.mac, there.guard, found.slot), (endpoint().mac, endpoint().guard, Some(SLOT)));
    let addresses: Vec<_> = there.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.5/32", "10.0.1.5/32", "fd00::5/128"]);
    assert_eq!(found.lacking.len(), 4, "{:#?}", found.lacking);
}

#[test]
fn what_was_enforced_wins_over_what_the_port_says() {
    let mut ids = external_ids(&endpoint(), BOOT);
    ids.insert(key::IPS.to_owned(), "10.0.0.5/24,10.0.0.99/24".to_owned());
    ids.insert(key::GUARD.to_owned(), "off".to_owned());
    let found = rebuild(remains(&ids, pinned(&written(&endpoint(), true), IFINDEX)), BOOT, DEFAULTS).unwrap();
    let addresses: Vec<_> = found.endpoint.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.5/24", "10.0.1.5/32", "fd00::5/128"]);
    assert_eq!(found.endpoint.guard, endpoint().guard);
    assert!(found.lacking[0].contains("10.0.1.5, fd00::5"), "{:#?}", found.lacking);
}

#[test]
fn nothing_is_guessed_of_what_a_pod_may_send() {
    let without = |key: &str| {
        let mut ids = external_ids(&endpoint(), BOOT);
        ids.remove(key);
        rebuild(remains(&ids, None), BOOT, DEFAULTS)
    };
    assert_eq!(without(key::MAC), Err(Lost::Unguarded));
    assert_eq!(without(key::GUARD), Err(Lost::Unguarded));
    let mut ids = external_ids(&endpoint(), BOOT);
    ids.insert(key::IPS.to_owned(), "10.0.0.5/24,what".to_owned());
    assert_eq!(rebuild(remains(&ids, None), BOOT, DEFAULTS), Err(Lost::Unguarded));
}

#[test]
fn ports_of_others_and_of_other_boots_are_not_taken() {
    for (key, value) in [
        (key::OWNER, "ovs-cni.network.kubevirt.io"),
        (key::BOOT_ID, "boot-0"),
        (key::CONTAINER_ID, "another"),
        (key::IFNAME, "eth1"),
    ] {
        let mut ids = external_ids(&endpoint(), BOOT);
        ids.insert(key.to_owned(), value.to_owned());
        assert_eq!(rebuild(remains(&ids, None), BOOT, DEFAULTS), Err(Lost::NotOurs), "{key}");
    }
}

#[test]
fn an_add_that_had_not_ended_is_not_a_living_pod() {
    let ids = external_ids(&endpoint(), BOOT);
    let closed = pinned(&written(&endpoint(), false), IFINDEX);
    assert_eq!(rebuild(remains(&ids, closed), BOOT, DEFAULTS), Err(Lost::NotLiving));
    let down = Remains { is_up: false, ..remains(&ids, None) };
    assert_eq!(rebuild(down, BOOT, DEFAULTS), Err(Lost::NotLiving));
}

#[test]
fn sources_of_other_slots_are_none_of_this_one() {
    let mut tables = written(&endpoint(), true);
    tables.sources.insert(SrcKey::v4(SLOT.index + 1, [10, 9, 9, 9], 32), SrcVal::FOREVER);
    tables.ports.insert(99, Port { slot: 0, ..tables.ports[&IFINDEX] });
    let all: BTreeSet<IpAddr> = endpoint().addresses.iter().map(IpNet::addr).collect();
    assert_eq!(pinned(&tables, IFINDEX).unwrap().addresses, all);
    assert_eq!((pinned(&tables, 99), pinned(&tables, 5)), (None, None));
}
