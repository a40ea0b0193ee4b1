//! What operators write, and what they are told.

use std::time::Duration;

use super::*;

fn faults(text: &str) -> String {
    let faults = Config::parse(text).expect_err("the text has faults");
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = Config::parse("").unwrap();
    assert_eq!(config.run_dir, Path::new("/run/underpass"));
    assert_eq!(config.ovs.run_dir, Path::new("/var/run/openvswitch"));
    assert_eq!(config.ovs.table_base, 220);
    assert_eq!(config.conflict.timing.interval, Duration::from_millis(100));
    assert_eq!(config.accel.lease, Duration::from_secs(30));
}

#[test]
fn the_bridges_sockets_lie_beside_the_database() {
    let config = Config::parse("[ovs]\ndb = \"unix:/run/x/db.sock\"").unwrap();
    assert_eq!(config.ovs.db, Path::new("/run/x/db.sock"));
    assert_eq!(config.ovs.run_dir, Path::new("/run/x"));
}

#[test]
fn all_faults_are_reported_at_once_each_with_its_path() {
    let text = r#"
        run_dir = "relative"
        colour = "blue"
        [ovs]
        table_base = 250
        [conflict]
        policy = "perhaps"
        interval = 100
        [limits]
        max_endpoint = 3
        [[bridge]]
        uplinks = ["eth0"]
    "#;
    let report = faults(text);
    for expected in [
        "run_dir: `relative` is not an absolute path",
        "colour: unknown key",
        "ovs.table_base: `250` is not a number from 1 to 245",
        "conflict.policy: `perhaps` is none of fail, warn, off",
        "conflict.interval: 100 is not a duration from 10ms to 2s, such as \"100ms\"",
        "limits.max_endpoint: unknown key; known here: max_endpoints",
        "bridge[0].name: a bridge needs a name",
    ] {
        assert!(report.contains(expected), "{expected}\n--- not in ---\n{report}");
    }
    assert_eq!(report.lines().count(), 7, "{report}");
}

#[test]
fn names_of_bridges_and_uplinks_are_names_of_interfaces() {
    let text = r#"
        [[bridge]]
        name = "a/b"
        uplinks = ["x", "x", ""]
        [[bridge]]
        name = "sixteen-bytes-16"
        [[bridge]]
        name = ".."
        uplinks = ["a b"]
    "#;
    let expected = [
        ("bridge[0].name", "\"a/b\""),
        ("bridge[0].uplinks[1]", "`x` is there twice"),
        ("bridge[0].uplinks[2]", "\"\""),
        ("bridge[1].name", "\"sixteen-bytes-16\""),
        ("bridge[2].name", "\"..\""),
        ("bridge[2].uplinks[0]", "\"a b\""),
    ];
    let rule = " is not the name of an interface: at most 15 visible characters without '/' and ':'";
    let lines: Vec<_> = expected
        .map(|(path, what)| format!("{path}: {what}{}", if what.starts_with('`') { "" } else { rule }))
        .into();
    assert_eq!(faults(text), lines.join("\n"));
    let fine =
        Config::parse("[[bridge]]\nname = \"fifteen-bytes-1\"\nuplinks = [\"eth0\", \"eth1.5\"]").unwrap();
    assert_eq!(fine.bridges[0].uplinks, ["eth0", "eth1.5"]);
}

#[test]
fn an_add_has_time_for_its_probes() {
    let slow = faults("[conflict]\ninterval = \"1h\"\nwait = \"5h\"\n[cni]\ntimeout = \"56s\"");
    for expected in [
        "cni.timeout: \"56s\" is not a duration from 1s to 55s",
        "conflict.interval: \"1h\" is not a duration from 10ms to 2s",
        "conflict.wait: \"5h\" is not a duration from 10ms to 2s",
    ] {
        assert!(slow.contains(expected), "{slow}");
    }
    let text = "[cni]\ntimeout = \"2s\"\n[conflict]\ncount = 10\ninterval = \"200ms\"";
    assert_eq!(faults(text), "cni.timeout: 2s is not longer than the probes of an ADD, 2.1s");
    let text = "[gateway]\npolicy = \"require\"\ntimeout = \"10s\"\n[cni]\ntimeout = \"30s\"";
    assert_eq!(faults(text), "cni.timeout: 30s is not longer than the probes of an ADD, 30.4s");
}

#[test]
fn broken_toml_is_one_fault_with_its_line() {
    assert!(faults("[ovs\n").contains("line 1"));
}

#[test]
fn a_lease_must_outlive_its_renewal() {
    assert!(faults("[accel]\nlease = \"2s\"\nrenew = \"5s\"").contains("accel.lease: 2s must be longer"));
}

#[test]
fn a_section_that_is_no_table_is_named() {
    assert!(faults("ovs = 3").contains("ovs: `3` is not a section"));
}
