//! Results in all versions, both ways.

use super::*;

fn sample() -> CniResult {
    let route = Route {
        mtu: Some(1400),
        ..Route::new("0.0.0.0/0".parse().unwrap(), Some("10.0.0.1".parse().unwrap()))
    };
    CniResult {
        interfaces: vec![
            Interface { name: "br1".into(), ..Interface::default() },
            Interface {
                name: "net1".into(),
                mac: Some("02:00:00:00:00:01".into()),
                mtu: Some(1500),
                sandbox: Some("/run/netns/x".into()),
            },
        ],
        ips: vec![
            Ip {
                address: "10.0.0.7/24".parse().unwrap(),
                gateway: Some("10.0.0.1".parse().unwrap()),
                interface: Some(1),
            },
            Ip { address: "2001:db8::7/64".parse().unwrap(), gateway: None, interface: Some(1) },
        ],
        routes: vec![route],
        dns: Dns { nameservers: vec!["10.0.0.2".into()], ..Dns::default() },
    }
}

fn check(version: Version, expected: &Value) {
    let printed: Value = serde_json::from_slice(&sample().to_json(version)).unwrap();
    assert_eq!(&printed, expected, "{version}");
}

#[test]
fn version_1_1_0_has_everything() {
    check(
        Version::V1_1_0,
        &json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                { "name": "br1" },
                { "name": "net1", "mac": "02:00:00:00:00:01", "mtu": 1500, "sandbox": "/run/netns/x" }
            ],
            "ips": [
                { "address": "10.0.0.7/24", "gateway": "10.0.0.1", "interface": 1 },
                { "address": "2001:db8::7/64", "interface": 1 }
            ],
            "routes": [{ "dst": "0.0.0.0/0", "gw": "10.0.0.1", "mtu": 1400 }],
            "dns": { "nameservers": ["10.0.0.2"] }
        }),
    );
}

#[test]
fn version_1_0_0_has_no_mtu() {
    check(
        Version::V1_0_0,
        &json!({
            "cniVersion": "1.0.0",
            "interfaces": [
                { "name": "br1" },
                { "name": "net1", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/x" }
            ],
            "ips": [
                { "address": "10.0.0.7/24", "gateway": "10.0.0.1", "interface": 1 },
                { "address": "2001:db8::7/64", "interface": 1 }
            ],
            "routes": [{ "dst": "0.0.0.0/0", "gw": "10.0.0.1" }],
            "dns": { "nameservers": ["10.0.0.2"] }
        }),
    );
}

#[test]
fn versions_before_1_0_0_name_the_family_of_addresses() {
    for version in [Version::V0_3_1, Version::V0_4_0] {
        let printed = sample().to_value(version);
        assert_eq!(printed["cniVersion"], version.as_str());
        assert_eq!(printed["ips"][0]["version"], "4");
        assert_eq!(printed["ips"][1]["version"], "6");
        assert_eq!(printed["interfaces"][1].get("mtu"), None);
    }
}

#[test]
fn what_is_written_is_read_back() {
    assert_eq!(CniResult::from_json(&sample().to_json(Version::V1_1_0)).unwrap(), sample());
    for version in [Version::V0_3_1, Version::V0_4_0, Version::V1_0_0] {
        let mut expected = sample();
        expected.interfaces[1].mtu = None;
        expected.routes[0].mtu = None;
        assert_eq!(CniResult::from_json(&sample().to_json(version)).unwrap(), expected, "{version}");
    }
}

#[test]
fn results_of_real_plugins_are_read() {
    let host_local = r#"{ "cniVersion": "0.3.1", "ips": [ { "version": "4", "interface": null,
        "address": "10.9.0.5/24", "gateway": "10.9.0.1" } ], "routes": [ { "dst": "0.0.0.0/0", "gw": "" } ], "dns": {} }"#;
    let result = CniResult::from_json(host_local.as_bytes()).unwrap();
    assert_eq!(result.ips[0].address, "10.9.0.5/24".parse().unwrap());
    assert_eq!(result.routes, [Route::new("0.0.0.0/0".parse().unwrap(), None)]);
    assert_eq!(CniResult::from_json(br#"{"cniVersion":"1.0.0"}"#).unwrap(), CniResult::default());
}

#[test]
fn what_is_wrong_is_named() {
    for (text, expected) in [
        ("[]", "the result is []: expected an object"),
        (r#"{"ips":{}}"#, "ips is {}: expected a list"),
        (r#"{"ips":[{}]}"#, "ips[0].address is null: expected an address with its prefix"),
        (
            r#"{"ips":[{"address":"10.0.0.1"}]}"#,
            r#"ips[0].address is "10.0.0.1": expected an address with its prefix"#,
        ),
        (r#"{"routes":[{"dst":"0.0.0.0/0","gw":"x"}]}"#, r#"routes[0].gw is "x": expected an IP address"#),
        (r#"{"ip4":{"ip":"10.0.0.1/8"}}"#, "ip4 is from a version before 0.3.0"),
        (r#"{"dns":{"search":[1]}}"#, "dns.search is [1]: expected a list of texts"),
    ] {
        let error = CniResult::from_json(text.as_bytes()).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (Code::UNDECODABLE, expected));
    }
    assert_eq!(CniResult::from_json(b"").unwrap_err().code, Code::UNDECODABLE);
}
