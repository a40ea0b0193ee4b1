//! Examples of values for the tests of this adapter, and what each question about them answers.

use super::*;

pub(in super::super) fn bridge() -> Bridge {
    Bridge {
        uuid: Uuid(1),
        name: "br1".to_owned(),
        datapath_id: Some(1),
        datapath_type: "system".to_owned(),
        fail_mode: None,
        protocols: BTreeSet::new(),
        controllers: 0,
        external_ids: BTreeMap::new(),
        other_config: BTreeMap::new(),
        ports: BTreeSet::new(),
        flood_vlans: BTreeSet::new(),
        features: BTreeSet::new(),
        local_mtu: None,
        local_mac: None,
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

fn blockers(change: impl FnOnce(&mut Ovs, &mut Bridge)) -> Vec<String> {
    let mut ovs = Ovs::unknown(Instant::now());
    let mut bridge = bridge();
    change(&mut ovs, &mut bridge);
    ovs.bridges.insert(bridge.name.clone(), bridge);
    ovs.accel_blockers("br1")
}

#[test]
fn a_plain_access_port_of_a_plain_bridge_may_be_accelerated() {
    assert_eq!(blockers(|_, _| ()), Vec::<String>::new());
    assert_eq!(port().accel_blockers(), Vec::<String>::new());
}

#[test]
fn each_condition_of_a_bridge_stops_acceleration_by_name() {
    type Change = fn(&mut Ovs, &mut Bridge);
    let conditions: [(Change, &str); 10] = [
        (|_, bridge| bridge.datapath_type = "netdev".to_owned(), "the bridge runs on the userspace datapath"),
        (|_, bridge| bridge.features = [Feature::Mirror].into(), "the bridge has a mirror"),
        (|_, bridge| bridge.features = [Feature::SFlow].into(), "the bridge exports sFlow"),
        (|_, bridge| bridge.features = [Feature::Ipfix].into(), "the bridge exports IPFIX"),
        (|_, bridge| bridge.features = [Feature::NetFlow].into(), "the bridge exports NetFlow"),
        (
            |_, bridge| bridge.features = [Feature::Sampling].into(),
            "a Flow_Sample_Collector_Set samples the bridge",
        ),
        (|_, bridge| bridge.features = [Feature::Stp].into(), "the bridge runs STP"),
        (|_, bridge| bridge.features = [Feature::Rstp].into(), "the bridge runs RSTP"),
        (|_, bridge| bridge.flood_vlans = BTreeSet::from([5]), "the bridge has flood_vlans"),
        (|ovs, _| ovs.hw_offload = true, "hardware offload is on (Open_vSwitch other_config:hw-offload)"),
    ];
    for (change, expected) in conditions {
        assert_eq!(blockers(change), [expected]);
    }
    assert_eq!(Ovs::unknown(Instant::now()).accel_blockers("br9"), ["bridge br9 does not exist"]);
}

#[test]
fn each_condition_of_a_port_stops_acceleration_by_name() {
    let check = |change: fn(&mut Port), expected: &[&str]| {
        let mut port = port();
        change(&mut port);
        assert_eq!(port.accel_blockers(), expected);
    };
    check(|port| port.is_protected = true, &["the port is protected"]);
    check(|port| port.has_qos = true, &["the port has a QoS record"]);
    check(|port| interface(port).policing.rate_kbps = 1, &["the port is policed"]);
    check(|port| interface(port).policing.rate_kpps = 1, &["the port is policed"]);
    check(|port| port.vlan_mode = Some(VlanMode::NativeUntagged), &["the port is a trunk"]);
    check(|port| (port.vlan_mode, port.tag) = (None, None), &["the port is a trunk"]);
    check(
        |port| port.interfaces = [port.interfaces.clone(), port.interfaces.clone()].concat().into(),
        &["the port is a bond"],
    );
    check(
        |port| (port.is_protected, port.has_qos) = (true, true),
        &["the port is protected", "the port has a QoS record"],
    );
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
