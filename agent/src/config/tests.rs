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
        "conflict.interval: 100 is not a duration of at least 10ms, such as \"100ms\"",
        "limits.max_endpoint: unknown key; known here: max_endpoints",
        "bridge[0].name: a bridge needs a name",
    ] {
        assert!(report.contains(expected), "{expected}\n--- not in ---\n{report}");
    }
    assert_eq!(report.lines().count(), 7, "{report}");
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
