//! Good and bad configurations. The bad ones include every probe that ovs-cni got wrong when it was measured.

use serde_json::{Value, json};

use super::*;
use crate::cni::Version;

/// A configuration of that type, with `extra` laid over it.
fn config(kind: &str, extra: Value) -> Vec<u8> {
    let mut config = json!({ "cniVersion": "1.0.0", "name": "net", "type": kind, "bridge": "br1" });
    let (Value::Object(base), Value::Object(extra)) = (&mut config, extra) else { panic!("objects") };
    base.extend(extra);
    config.to_string().into_bytes()
}

fn parse(kind: &str, extra: Value) -> Result<NetConf, String> {
    NetConf::parse(&config(kind, extra), &CniArgs::default()).map_err(|error| {
        assert_eq!(error.code, Code::INVALID_CONFIG, "{error}");
        error.msg
    })
}

fn underpass(extra: Value) -> NetConf {
    parse("underpass", extra).unwrap()
}

fn ovs(extra: Value) -> NetConf {
    parse("ovs", extra).unwrap()
}

fn check_bad(extra: Value, expected: &str) {
    assert_eq!(parse("underpass", extra).unwrap_err(), expected);
}

fn check_bad_ovs(extra: Value, expected: &str) {
    assert_eq!(parse("ovs", extra).unwrap_err(), expected);
}

fn check_unsupported(extra: Value, expected: &str) {
    let error = NetConf::parse(&config("ovs", extra), &CniArgs::default()).unwrap_err();
    assert_eq!((error.code, error.msg.as_str()), (Code::UNSUPPORTED_FIELD, expected));
}

#[test]
fn a_short_configuration_leaves_everything_to_the_agent() {
    let conf = underpass(json!({}));
    assert_eq!(conf.bridge, BridgeName::Bridge("br1".into()));
    assert_eq!(conf.vlan, PortVlan::Access(0));
    assert_eq!((conf.mtu, conf.mac, conf.gateway, conf.accelerate), (None, None, None, None));
    assert_eq!(conf.guard, GuardConf::default());
    assert_eq!(conf.conflict, ConflictConf::default());
    assert_eq!((conf.head.version, conf.head.name.as_str()), (Version::V1_0_0, "net"));
    assert_eq!((conf.head.ipam, conf.prev_result, conf.warnings.len()), (None, None, 0));
}

#[test]
fn a_long_configuration_is_read_whole() {
    let conf = underpass(json!({
        "vlan": 100, "mtu": 9000, "mac": "02:00:00:00:00:01", "accelerate": false,
        "ipam": { "type": "host-local", "anything": [1] },
        "guard": { "mode": "observe", "dhcp": true, "slaac": true, "vm": true },
        "conflict": { "policy": "warn", "count": 2, "interval": "50ms", "wait": "1s" },
        "gateway": { "policy": "require" },
        "capabilities": { "mac": true }, "dns": {}, "disableCheck": true, "cni.dev/x": 1, "args": {},
        "prevResult": { "cniVersion": "1.0.0", "ips": [] }
    }));
    assert_eq!((conf.vlan, conf.mtu, conf.accelerate), (PortVlan::Access(100), Some(9000), Some(false)));
    assert_eq!(conf.head.ipam.as_deref(), Some("host-local"));
    let guard = GuardConf { mode: Some(GuardMode::Observe), dhcp: true, slaac: true, vm: true };
    assert_eq!(conf.guard, guard);
    assert_eq!(conf.conflict.policy, Some(ConflictPolicy::Warn));
    assert_eq!(conf.conflict.count, Some(2));
    assert_eq!(conf.conflict.interval, Some(Duration::from_millis(50)));
    assert_eq!(conf.conflict.wait, Some(Duration::from_secs(1)));
    assert_eq!(conf.gateway, Some(GatewayPolicy::Require));
    assert_eq!(conf.prev_result, Some(CniResult::default()));
}

#[test]
fn a_bridge_is_named_or_found_by_its_uplink() {
    let conf = underpass(json!({ "bridge": null, "uplink": "bond0" }));
    assert_eq!(conf.bridge, BridgeName::WithUplink("bond0".into()));
    check_bad(json!({ "bridge": null }), "bridge is missing: give bridge or uplink");
    check_bad(json!({ "bridge": "" }), "bridge is missing: give bridge or uplink");
    check_bad(json!({ "uplink": "x" }), "uplink is \"x\": expected nothing, because bridge is given too");
    check_bad(json!({ "bridge": "a b" }), "bridge is \"a b\": expected an interface name");
    check_bad(json!({ "bridge": ["br1"] }), "bridge is [\"br1\"]: expected a text");
}

#[test]
fn a_trunk_is_the_union_of_its_items() {
    let list = json!([{ "minID": 20, "maxID": 22 }, { "id": 10 }, { "id": 21 }, { "minID": 5, "maxID": 5 }]);
    let vlans = vec![5, 10, 20, 21, 22];
    assert_eq!(
        underpass(json!({ "trunk": list, "vlan": 7 })).vlan,
        PortVlan::Trunk { vlans: vlans.clone(), native: Some(7) }
    );
    assert_eq!(
        underpass(json!({ "trunk": list })).vlan,
        PortVlan::Trunk { vlans: vlans.clone(), native: None }
    );
    assert_eq!(ovs(json!({ "trunk": list })).vlan, PortVlan::Trunk { vlans, native: None });
}

#[test]
fn an_item_of_a_trunk_is_a_vlan_or_a_range_and_for_ovs_cni_both() {
    let both = json!({ "trunk": [{ "id": 9 }, { "id": 1, "minID": 2, "maxID": 3 }] });
    check_bad(both.clone(), "trunk[1] has id and minID: expected one VLAN or a range of them");
    assert_eq!(ovs(both).vlan, PortVlan::Trunk { vlans: vec![1, 2, 3, 9], native: None });
}

#[test]
fn bad_vlans_are_refused_before_anything_is_touched() {
    check_bad(json!({ "vlan": 5000 }), "vlan is 5000: expected a VLAN id from 0 to 4094");
    check_bad_ovs(json!({ "vlan": 5000 }), "vlan is 5000: expected a VLAN id from 0 to 4094");
    check_bad(json!({ "vlan": -1 }), "vlan is -1: expected a VLAN id from 0 to 4094");
    check_bad(json!({ "vlan": 1.5 }), "vlan is 1.5: expected a VLAN id from 0 to 4094");
    check_bad(json!({ "vlan": "100" }), "vlan is \"100\": expected a VLAN id from 0 to 4094");
    check_bad(json!({ "trunk": [] }), "trunk is []: expected at least one VLAN");
    check_bad(json!({ "trunk": [{}] }), "trunk[0] is empty: expected id, or minID and maxID");
    check_bad(json!({ "trunk": [{ "id": 0 }] }), "trunk[0].id is 0: expected a VLAN id from 1 to 4094");
    check_bad(json!({ "trunk": [{ "id": 1 }, { "minID": 5 }] }), "trunk[1].maxID is missing beside minID");
    check_bad_ovs(json!({ "trunk": [{ "maxID": 5 }] }), "trunk[0].minID is missing beside maxID");
    check_bad_ovs(
        json!({ "trunk": [{ "id": 5000 }] }),
        "trunk[0].id is 5000: expected a VLAN id from 0 to 4095",
    );
    check_bad(
        json!({ "trunk": [{ "minID": 9, "maxID": 8 }] }),
        "trunk[0].maxID is 8: expected a VLAN id not below minID 9",
    );
    check_bad(json!({ "trunk": [{ "ids": 9 }] }), "trunk[0].ids is not a known key; the nearest is id");
    check_bad(json!({ "trunk": [9] }), "trunk[0] is 9: expected an object");
}

#[test]
fn misspelt_keys_name_the_nearest_known_one() {
    check_bad(json!({ "vlann": 100 }), "vlann is not a known key; the nearest is vlan");
    check_bad(json!({ "VLAN": 100 }), "VLAN is not a known key; the nearest is vlan");
    check_bad(json!({ "deviceID": "0000:01:00.0" }), "deviceID is not a known key; the nearest is bridge");
    check_bad(json!({ "guard": { "moed": "off" } }), "guard.moed is not a known key; the nearest is mode");
    check_bad_ovs(json!({ "vlann": 100 }), "vlann is not a known key; the nearest is vlan");
    check_bad_ovs(json!({ "mtuu": 100 }), "mtuu is not a known key; the nearest is mtu");
    check_bad_ovs(
        json!({ "ofportRequest": 7 }),
        "ofportRequest is not a known key; the nearest is ofport_request",
    );
}

#[test]
fn ovs_takes_keys_that_nobody_knows_with_a_warning() {
    let conf = ovs(json!({ "isDefaultGateway": true, "k8s.io/x": 1 }));
    assert_eq!(conf.warnings, ["isDefaultGateway is not a known key and is ignored"]);
}

#[test]
fn ovs_keeps_the_meaning_of_ovs_cni() {
    assert_eq!(ovs(json!({})).vlan, PortVlan::Unset);
    assert_eq!(ovs(json!({ "trunk": [], "vlan": null })).vlan, PortVlan::Unset);
    assert_eq!(ovs(json!({ "vlan": 0 })).vlan, PortVlan::Access(0));
    let conf = ovs(json!({ "vlan": 5, "trunk": [{ "minID": 10, "maxID": 12 }] }));
    assert_eq!(conf.vlan, PortVlan::Trunk { vlans: vec![10, 11, 12], native: None });
    assert_eq!(conf.warnings, ["vlan 5 is ignored beside trunk, as ovs-cni does"]);
    let conf = ovs(json!({
        "mtu": 0, "ofport_request": 77, "interface_type": "system", "deviceID": "", "configuration_path": "",
        "socket_file": "unix:/var/run/openvswitch/db.sock",
        "link_state_check_retries": 5, "link_state_check_interval": 600, "guard": { "mode": "off" }
    }));
    assert_eq!((conf.mtu, conf.ofport_request), (None, Some(77)));
    assert_eq!(conf.guard.mode, Some(GuardMode::Off));
    assert_eq!(conf.warnings, Vec::<String>::new());
    assert_eq!(ovs(json!({ "ofport_request": 0 })).ofport_request, None);
    let conf = ovs(json!({ "socket_file": "unix:/tmp/db.sock" }));
    assert_eq!(conf.warnings, ["socket_file unix:/tmp/db.sock is ignored: the agent knows its OVSDB"]);
}

#[test]
fn ovs_refuses_by_name_what_is_not_done() {
    check_unsupported(
        json!({ "deviceID": "0000:01:00.0" }),
        "deviceID is \"0000:01:00.0\": SR-IOV and vDPA devices are not attached",
    );
    check_unsupported(
        json!({ "interface_type": "bogus" }),
        "interface_type is \"bogus\": a pod's port is always of type system",
    );
    check_unsupported(
        json!({ "runtimeConfig": { "CNIDeviceInfoFile": "/x" } }),
        "runtimeConfig.CNIDeviceInfoFile is \"/x\": SR-IOV and vDPA devices are not attached",
    );
    check_unsupported(
        json!({ "socket_file": "tcp:127.0.0.1:6640" }),
        "socket_file is \"tcp:127.0.0.1:6640\": the agent speaks to its node's OVSDB only",
    );
    check_unsupported(
        json!({ "configuration_path": "/etc/x" }),
        "configuration_path is \"/etc/x\": flat files are not read",
    );
    check_unsupported(
        json!({ "args": { "cni": { "ovnport": "p" } } }),
        "args.cni.ovnport is \"p\": ports of OVN are not made",
    );
    let args = CniArgs::parse("OvnPort=p").unwrap();
    let error = NetConf::parse(&config("ovs", json!({})), &args).unwrap_err();
    assert_eq!(
        (error.code, error.msg.as_str()),
        (Code(2), "CNI_ARGS OvnPort is \"p\": ports of OVN are not made")
    );
}

#[test]
fn numbers_have_limits() {
    check_bad(json!({ "mtu": -5 }), "mtu is -5: expected bytes from 68 to 65535");
    check_bad(json!({ "mtu": 0 }), "mtu is 0: expected bytes from 68 to 65535");
    check_bad_ovs(json!({ "mtu": -5 }), "mtu is -5: expected bytes from 0 to 65535");
    check_bad_ovs(json!({ "mtu": 100_000 }), "mtu is 100000: expected bytes from 0 to 65535");
    check_bad_ovs(json!({ "mtu": 20 }), "mtu is 20: expected 0, or bytes from 68 to 65535");
    check_bad_ovs(
        json!({ "ofport_request": 70_000 }),
        "ofport_request is 70000: expected an OpenFlow port from 0 to 65279",
    );
    check_bad_ovs(
        json!({ "link_state_check_retries": -1 }),
        "link_state_check_retries is -1: expected polls from 0 to 4294967295",
    );
    check_bad(json!({ "conflict": { "count": 0 } }), "conflict.count is 0: expected probes from 1 to 10");
    check_bad(
        json!({ "conflict": { "wait": "1h" } }),
        "conflict.wait is \"1h\": expected a time from 10ms to 2s, such as \"100ms\"",
    );
}

#[test]
fn words_are_checked() {
    check_bad(
        json!({ "guard": { "mode": "strict" } }),
        "guard.mode is \"strict\": expected one of full, mac, observe, off",
    );
    check_bad(json!({ "guard": true }), "guard is true: expected an object");
    check_bad(json!({ "guard": { "vm": 1 } }), "guard.vm is 1: expected true or false");
    check_bad(
        json!({ "gateway": { "policy": 1 } }),
        "gateway.policy is 1: expected one of require, warn, off",
    );
    check_bad(json!({ "accelerate": "no" }), "accelerate is \"no\": expected true or false");
    check_bad(json!({ "ipam": { "subnet": "10.0.0.0/8" } }), "ipam.type is missing");
    check_bad(
        json!({ "ipam": { "type": "../x" } }),
        "ipam.type is \"../x\": expected the file name of a plugin",
    );
    check_bad(
        json!({ "ipam": { "type": "underpass" } }),
        "ipam.type is \"underpass\": expected an IPAM plugin, not this one",
    );
    assert_eq!(underpass(json!({ "ipam": {} })).head.ipam, None);
}

#[test]
fn the_mac_comes_from_the_first_of_four_places() {
    let mac = |last: u8| Some(Mac([2, 0, 0, 0, 0, last]));
    let args = CniArgs::parse("MAC=02:00:00:00:00:03").unwrap();
    let read = |extra: Value, args: &CniArgs| NetConf::parse(&config("underpass", extra), args).unwrap().mac;
    let mut all = json!({
        "runtimeConfig": { "mac": "02:00:00:00:00:01" },
        "args": { "cni": { "mac": "02:00:00:00:00:02" } },
        "mac": "02:00:00:00:00:04"
    });
    assert_eq!(read(all.clone(), &args), mac(1));
    all["runtimeConfig"] = Value::Null;
    assert_eq!(read(all.clone(), &args), mac(2));
    all["args"] = Value::Null;
    assert_eq!(read(all.clone(), &args), mac(3));
    assert_eq!(read(all, &CniArgs::default()), mac(4));
    for bad in ["zz", "01:00:00:00:00:01", "00:00:00:00:00:00", "02-00-00-00-00-01"] {
        check_bad(json!({ "mac": bad }), &format!("mac is \"{bad}\": expected a unicast MAC address"));
    }
    check_bad(
        json!({ "mac": "02:00:00:00:00:01", "args": { "cni": { "mac": "x" } } }),
        "args.cni.mac is \"x\": expected a unicast MAC address",
    );
}

#[test]
fn requested_addresses_need_a_prefix_only_without_ipam() {
    let bare = json!({ "runtimeConfig": { "ips": ["10.0.0.7"] }, "ipam": { "type": "host-local" } });
    assert_eq!(underpass(bare).ips, ["10.0.0.7".parse().unwrap()]);
    let whole = json!({ "args": { "cni": { "ips": ["10.0.0.7/24", "2001:db8::7/64"] } } });
    assert_eq!(underpass(whole).ips, ["10.0.0.7/24".parse().unwrap(), "2001:db8::7/64".parse().unwrap()]);
    check_bad(
        json!({ "runtimeConfig": { "ips": ["10.0.0.7"] } }),
        "runtimeConfig.ips has 10.0.0.7: without ipam it needs its prefix",
    );
    check_bad(
        json!({ "runtimeConfig": { "ips": ["10.0.0.7/24", "10.0.0.7/33"] } }),
        "runtimeConfig.ips[1] is \"10.0.0.7/33\": expected an IP address",
    );
    check_bad(
        json!({ "runtimeConfig": { "ips": ["10.0.0.255/24"] } }),
        "runtimeConfig.ips[0] is \"10.0.0.255/24\": expected an address between the network's own and its broadcast address",
    );
    check_bad(
        json!({ "args": { "cni": { "ips": ["10.0.0.7/24", "10.0.0.7/24"] } } }),
        "args.cni.ips has 10.0.0.7 twice",
    );
    let args = CniArgs::parse("IP=10.0.0.9").unwrap();
    let error = NetConf::parse(&config("underpass", json!({})), &args).unwrap_err();
    assert_eq!(error.msg, "CNI_ARGS IP has 10.0.0.9: without ipam it needs its prefix");
}

#[test]
fn the_head_is_needed_by_every_verb() {
    let check = |stdin: &str, code: Code, expected: &str| {
        let error = Head::parse(stdin.as_bytes()).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (code, expected), "{stdin}");
    };
    let (version, wrong) = (Code::INCOMPATIBLE_VERSION, Code::INVALID_CONFIG);
    check("", Code::UNDECODABLE, "the network configuration is not a JSON object");
    check("[]", Code::UNDECODABLE, "the network configuration is not a JSON object");
    check("{}", version, "cniVersion is missing: expected one of 0.3.1, 0.4.0, 1.0.0, 1.1.0");
    check(
        r#"{"cniVersion":"4.0.0"}"#,
        version,
        "cniVersion is \"4.0.0\": expected one of 0.3.1, 0.4.0, 1.0.0, 1.1.0",
    );
    check(r#"{"cniVersion":"1.0.0"}"#, wrong, "name is missing");
    check(
        r#"{"cniVersion":"1.0.0","name":"a/b"}"#,
        wrong,
        "name is \"a/b\": expected letters, digits, '_', '.', '-', the first a letter or digit",
    );
    check(r#"{"cniVersion":"1.0.0","name":"a"}"#, wrong, "type is missing");
    check(
        r#"{"cniVersion":"1.0.0","name":"a","type":"bridge"}"#,
        wrong,
        "type is \"bridge\": expected one of underpass, ovs",
    );
    let head = Head::parse(&config("ovs", json!({ "vlan": 5000, "ipam": { "type": "static" } }))).unwrap();
    assert_eq!((head.kind, head.ipam.as_deref()), (Kind::Ovs, Some("static")), "a DEL asks no more");
}

#[test]
fn errors_are_reported_in_the_callers_version() {
    assert_eq!(Head::version_of(br#"{"cniVersion":"0.4.0","name":7}"#), Version::V0_4_0);
    assert_eq!(Head::version_of(b"nonsense"), Version::NEWEST);
}

#[test]
fn a_previous_result_that_cannot_be_read_is_an_error() {
    let bad = config("underpass", json!({ "prevResult": { "ips": 1 } }));
    let error = NetConf::parse(&bad, &CniArgs::default()).unwrap_err();
    assert_eq!(error.code, Code::UNDECODABLE);
    assert_eq!(error.msg, "prevResult cannot be read: ips is 1: expected a list");
}

#[test]
fn a_value_of_the_wrong_kind_is_an_error_that_names_its_field() {
    let whole = json!({
        "bridge": "br1", "vlan": 1, "trunk": [{ "id": 2 }], "mtu": 1500, "mac": "02:00:00:00:00:01",
        "accelerate": true, "ipam": { "type": "static" }, "guard": { "mode": "full", "dhcp": true },
        "conflict": { "policy": "fail", "count": 1, "interval": "50ms" }, "gateway": { "policy": "warn" },
        "runtimeConfig": { "mac": "02:00:00:00:00:01", "ips": ["10.0.0.1/8"] },
        "args": { "cni": { "ips": ["10.0.0.1/8"] } }
    });
    underpass(whole.clone());
    let mut paths = Vec::new();
    leaves(&whole, "", &mut paths);
    for path in paths {
        for damage in [json!([[1]]), json!({ "x": 1 }), json!(-7.5), json!("\u{0}\u{1f600}"), json!(u64::MAX)]
        {
            // What CNI hands over for everybody may hold keys of others.
            if damage.is_object() && (path.starts_with("/args") || path == "/runtimeConfig") {
                continue;
            }
            let mut damaged = whole.clone();
            *damaged.pointer_mut(&path).unwrap() = damage.clone();
            let Err(error) = NetConf::parse(&config("underpass", damaged), &CniArgs::default()) else {
                panic!("{path} may not be {damage}");
            };
            let field = path.split('/').nth(1).unwrap();
            assert!(error.msg.starts_with(field), "{path} = {damage}: {error}");
        }
    }
}

/// JSON pointers of everything inside a value, containers too.
fn leaves(value: &Value, at: &str, paths: &mut Vec<String>) {
    let items: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (key, value) in items {
        let path = format!("{at}/{key}");
        leaves(value, &path, paths);
        paths.push(path);
    }
}

#[test]
fn bandwidth_is_not_passed_over_in_silence() {
    let conf = underpass(json!({ "runtimeConfig": { "bandwidth": { "ingressRate": 1 } } }));
    assert_eq!(conf.warnings, ["runtimeConfig.bandwidth is not carried out"]);
}
