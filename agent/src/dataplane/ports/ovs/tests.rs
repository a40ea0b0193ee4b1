//! Examples of values for the tests of this adapter, and what each question about them answers.

use super::*;

pub(in super::super) fn bridge() -> Bridge {
    Bridge {
        uuid: Uuid(1),
        name: "br1".to_owned(),
        datapath_id: Some(1),
        datapath_type: "system".to_owned(),
        protocols: BTreeSet::new(),
        controllers: 0,
        external_ids: BTreeMap::new(),
        other_config: BTreeMap::new(),
        ports: BTreeSet::new(),
        flood_vlans: BTreeSet::new(),
        features: BTreeSet::new(),
        local_mtu: None,
    }
}

pub(in super::super) fn port() -> Port {
    let interface = Interface {
        uuid: Uuid(3),
        name: "v1".to_owned(),
        type_: String::new(),
        ofport: Some(1),
        ofport_request: None,
        error: None,
        link_state: Some(LinkState::Up),
        admin_state: Some(LinkState::Up),
        mac_in_use: None,
        mtu: Some(1500),
        ifindex: Some(7),
        policing: Policing::default(),
        external_ids: BTreeMap::new(),
        status: BTreeMap::new(),
    };
    Port {
        uuid: Uuid(2),
        name: "v1".to_owned(),
        bridge: "br1".to_owned(),
        tag: Some(0),
        vlan_mode: Some(VlanMode::Access),
        trunks: BTreeSet::new(),
        is_protected: false,
        has_qos: false,
        external_ids: Arc::new(BTreeMap::from([("owner".to_owned(), "underpass".to_owned())])),
        interfaces: Arc::new([interface]),
    }
}

pub(in super::super) fn interface(port: &mut Port) -> &mut Interface {
    &mut Arc::get_mut(&mut port.interfaces).unwrap()[0]
}

fn blockers(change: impl FnOnce(&mut Ovs, &mut Bridge)) -> Vec<Obstacle> {
    let mut ovs = Ovs::unknown(Instant::now());
    let mut bridge = bridge();
    change(&mut ovs, &mut bridge);
    ovs.bridges.insert(bridge.name.clone(), bridge);
    ovs.accel_blockers("br1")
}

#[test]
fn a_plain_access_port_of_a_plain_bridge_may_be_accelerated() {
    assert_eq!(blockers(|_, _| ()), []);
    assert_eq!(port().accel_blockers(), []);
}

#[test]
fn each_condition_of_a_bridge_stops_acceleration_by_name() {
    type Change = fn(&mut Ovs, &mut Bridge);
    let conditions: [(Change, Obstacle); 10] = [
        (|_, bridge| bridge.datapath_type = "netdev".to_owned(), Obstacle::UserspaceDatapath),
        (|_, bridge| bridge.features = [Feature::Mirror].into(), Obstacle::Mirror),
        (|_, bridge| bridge.features = [Feature::SFlow].into(), Obstacle::SFlow),
        (|_, bridge| bridge.features = [Feature::Ipfix].into(), Obstacle::Ipfix),
        (|_, bridge| bridge.features = [Feature::NetFlow].into(), Obstacle::NetFlow),
        (|_, bridge| bridge.features = [Feature::Sampling].into(), Obstacle::Sampling),
        (|_, bridge| bridge.features = [Feature::Stp].into(), Obstacle::Stp),
        (|_, bridge| bridge.features = [Feature::Rstp].into(), Obstacle::Rstp),
        (|_, bridge| bridge.flood_vlans = BTreeSet::from([5]), Obstacle::FloodVlans),
        (|ovs, _| ovs.hw_offload = true, Obstacle::HwOffload),
    ];
    for (change, expected) in conditions {
        assert_eq!(blockers(change), [expected]);
    }
    assert_eq!(Ovs::unknown(Instant::now()).accel_blockers("br9"), [Obstacle::NoBridge]);
}

#[test]
fn each_condition_of_a_port_stops_acceleration_by_name() {
    let check = |change: fn(&mut Port), expected: &[Obstacle]| {
        let mut port = port();
        change(&mut port);
        assert_eq!(port.accel_blockers(), expected);
    };
    check(|port| port.is_protected = true, &[Obstacle::Protected]);
    check(|port| port.has_qos = true, &[Obstacle::Qos]);
    check(|port| interface(port).policing.rate_kbps = 1, &[Obstacle::Policing]);
    check(|port| interface(port).policing.rate_kpps = 1, &[Obstacle::Policing]);
    check(|port| port.vlan_mode = Some(VlanMode::NativeUntagged), &[Obstacle::Trunk]);
    check(|port| (port.vlan_mode, port.tag) = (None, None), &[Obstacle::Trunk]);
    check(
        |port| port.interfaces = [port.interfaces.clone(), port.interfaces.clone()].concat().into(),
        &[Obstacle::Bond],
    );
    check(|port| (port.is_protected, port.has_qos) = (true, true), &[Obstacle::Protected, Obstacle::Qos]);
}

#[test]
fn a_port_with_a_tag_and_no_mode_is_an_access_port() {
    let mut port = port();
    (port.vlan_mode, port.tag) = (None, Some(7));
    assert_eq!(port.access_vlan(), Some(7));
    (port.vlan_mode, port.tag) = (Some(VlanMode::Access), None);
    assert_eq!(port.access_vlan(), Some(0));
}

#[test]
fn the_aging_time_is_what_vswitchd_makes_of_it() {
    let mut bridge = bridge();
    for (configured, seconds) in [("60", 60), ("3", 15), ("x", 300), ("", 300)] {
        bridge.other_config.insert("mac-aging-time".to_owned(), configured.to_owned());
        assert_eq!(bridge.mac_aging_secs(), seconds);
    }
}

#[test]
fn an_openflow_port_number_is_positive() {
    let mut interface = port().interfaces[0].clone();
    for (ofport, number) in [(None, None), (Some(-1), None), (Some(0), None), (Some(9), Some(9))] {
        interface.ofport = ofport;
        assert_eq!(interface.openflow_port(), number);
    }
}
