//! What container runtimes do: verbs in any order, twice, too late, with things missing.

use std::net::IpAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use e2e::{Lab, Verb};
use serde_json::json;

/// More than the agent serves at once and lets wait together (256 each).
const SILENT_STREAMS: usize = 600;

/// CNI: the container is not known, or not there.
const NO_CONTAINER: u64 = 3;
/// CNI: an environment variable is missing or wrong.
const BAD_ENVIRONMENT: u64 = 4;
/// CNI: a key of the configuration is wrong.
const BAD_CONFIG: u64 = 7;
/// Ours: the guard could not be installed.
const NO_GUARD: u64 = 103;
/// CNI: try again later.
const TRY_AGAIN: u64 = 11;
/// CNI: STATUS, not available.
const NOT_AVAILABLE: u64 = 50;

#[test]
fn without_an_agent_version_answers_add_fails_and_del_is_spooled() {
    let lab = Lab::draw().bridge("br1").gateway("10.0.0.1/24", "fd00::1/64").build();
    let pod = lab.pod("a").place();
    let version = pod.call(Verb::Version).succeeded();
    for spoken in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let all = version["supportedVersions"].as_array().expect("versions");
        assert!(all.contains(&json!(spoken)), "{spoken} in {version}");
    }
    pod.call(Verb::Add).failed_with(TRY_AGAIN);
    pod.call(Verb::Check).failed_with(TRY_AGAIN);
    pod.call(Verb::Status).failed_with(NOT_AVAILABLE);
    pod.call(Verb::Del).succeeded();
    let spool = lab.room_path("run/spool").read_dir().expect("a spool");
    assert_eq!(spool.count(), 1);
    lab.finish();
}

#[test]
fn status_is_well_while_the_agent_and_the_switch_are() {
    let lab = Lab::usual();
    let pod = lab.pod("a").key("cniVersion", "1.1.0").place();
    pod.call(Verb::Status).succeeded();
    lab.switch().stop_database().expect("stopping ovsdb-server");
    lab.eventually(5, "STATUS says that OVSDB is away", || match pod.call(Verb::Status).code() {
        Some(NOT_AVAILABLE) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    lab.switch().start_database().expect("starting ovsdb-server");
    lab.eventually(5, "STATUS is well again", || match pod.call(Verb::Status).code() {
        None => Ok(()),
        other => Err(format!("{other:?}")),
    });
    lab.finish();
}

#[test]
fn streams_on_which_nobody_speaks_hold_up_no_call_and_are_ended() {
    let lab = Lab::usual();
    let pod = lab.pod("a").place();
    let (opened, are_open) = mpsc::channel();
    thread::scope(|scope| {
        let silent = scope.spawn(|| {
            lab.agent().hold_silent_streams(SILENT_STREAMS, || opened.send(()).expect("a listener"))
        });
        are_open.recv_timeout(Duration::from_secs(30)).expect("silent streams");
        pod.add().succeeded();
        pod.assert_reaches(lab.gateway_ips()[0]);
        pod.del().succeeded();
        silent.join().expect("no panic").expect("silent streams");
    });
    lab.finish();
}

#[test]
fn the_result_speaks_the_version_that_was_asked_for() {
    let lab = Lab::usual();
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let pod = lab.pod(&format!("v{version}")).key("cniVersion", version).place();
        let result = pod.add().succeeded();
        assert_eq!(result["cniVersion"], version, "{result}");
        pod.assert_reaches(lab.gateway_ips()[0]);
    }
    lab.finish();
}

#[test]
fn check_succeeds_while_all_is_well_and_fails_after_del() {
    let lab = Lab::usual();
    let pod = lab.pod("a").place();
    let result = pod.add().succeeded();
    pod.check(&result).succeeded();
    pod.del().succeeded();
    assert_ne!(pod.check(&result).exit, Some(0));
    lab.finish();
}

#[test]
fn gc_takes_away_what_is_not_listed() {
    let lab = Lab::usual();
    let (a, b) = (lab.pod("a").up(), lab.pod("b").up());
    let mut collector = a.attachment().clone();
    let valid = json!([{ "containerID": collector.container, "ifname": collector.ifname }]);
    collector.conf = collector.conf.key("cniVersion", "1.1.0").key("cni.dev/valid-attachments", valid);
    lab.cni(Verb::Gc, &collector).succeeded();
    lab.eventually(5, "only the listed endpoint is left", || {
        let left = lab.agent().endpoints().map_err(|error| format!("{error:#}"))?;
        let only = left.len() == 1 && a.is_in(left[0].r#ref.as_ref());
        if only { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert!(!b.links().contains(&"eth0".to_owned()));
    a.assert_reaches(lab.gateway_ips()[0]);
    lab.finish();
}

#[test]
fn a_misspelt_key_is_an_error_that_names_the_right_one() {
    let lab = Lab::usual();
    let complaint = lab.pod("a").key("vlann", 10).place().add().failed_with(BAD_CONFIG);
    assert!(complaint.contains("vlann") && complaint.contains("vlan"), "{complaint}");
    let complaint = lab.pod("b").key("vlan", 4095).place().add().failed_with(BAD_CONFIG);
    assert!(complaint.contains("vlan") && complaint.contains("4095"), "{complaint}");
    lab.finish();
}

#[test]
fn an_error_of_ipam_is_passed_on_and_leaves_nothing() {
    let lab = Lab::usual();
    // The only address of the range is the gateway's.
    let range = json!([[{ "subnet": "10.9.0.0/24", "rangeStart": "10.9.0.1", "rangeEnd": "10.9.0.1" }]]);
    let ipam = json!({ "type": "host-local", "dataDir": lab.room_path("ipam"), "ranges": range });
    let answer = lab.pod("a").without_ipam().key("ipam", ipam).place().add();
    assert_ne!(answer.exit, Some(0));
    assert!(answer.complaint().contains("no IP addresses available"), "{answer:?}");
    lab.assert_nothing_left();
    lab.finish();
}

#[test]
fn an_ipam_that_only_fails_owes_nothing_and_holds_nobody_up() {
    let lab = Lab::usual();
    // host-local without a range fails at ADD and at DEL alike.
    let broken = json!({ "type": "host-local", "dataDir": lab.room_path("ipam") });
    let bad = lab.pod("a").without_ipam().key("ipam", broken).place();
    let owed = || lab.agent().status().expect("a status").ipam_debts;
    assert_ne!(bad.add().exit, Some(0));
    assert_eq!(owed(), 0);
    bad.del().succeeded();
    assert_eq!(owed(), 0);
    assert_ne!(bad.add().exit, Some(0));
    // The same attachment with a configuration that works.
    let mut mended = bad.attachment().clone();
    let range = json!([[{ "subnet": "10.9.0.0/24" }]]);
    let ipam = json!({ "type": "host-local", "dataDir": lab.room_path("ipam"), "ranges": range });
    mended.conf = mended.conf.key("ipam", ipam);
    let answer = lab.cni(Verb::Add, &mended);
    answer.succeeded();
    assert!(answer.took < lab.within_seconds(5), "{answer:?}");
    lab.cni(Verb::Del, &mended).succeeded();
    lab.assert_nothing_left();
    lab.finish();
}

#[test]
fn del_succeeds_twice_and_for_what_was_never_added() {
    let lab = Lab::usual();
    let pod = lab.pod("a").up();
    pod.del().succeeded();
    pod.del().succeeded();
    lab.pod("never").place().del().succeeded();
    lab.finish();
}

#[test]
fn del_takes_everything_away_when_the_configuration_is_broken_since() {
    let lab = Lab::usual();
    let (broken, bare) = (lab.pod("broken").up(), lab.pod("bare").up());
    let mut since = broken.attachment().clone();
    since.conf = since.conf.key("type", 7);
    lab.cni(Verb::Del, &since).succeeded();
    // Its address is given back by the plugin of which the ledger knows.
    let mut since = bare.attachment().clone();
    since.conf = since.conf.key("ipam", json!({}));
    lab.cni(Verb::Del, &since).succeeded();
    lab.assert_nothing_left();
    lab.finish();
}

#[test]
fn a_namespace_that_is_none_or_the_nodes_own_is_refused() {
    let lab = Lab::usual();
    let pod = lab.pod("a").place();
    let (mut node, mut file) = (pod.attachment().clone(), pod.attachment().clone());
    lab.node().path().clone_into(&mut node.netns);
    file.netns = "/etc/passwd".into();
    let before = lab.node_links();
    let complaint = lab.cni(Verb::Add, &node).failed_with(BAD_ENVIRONMENT);
    assert!(complaint.contains("CNI_NETNS") && complaint.contains("netns/node"), "{complaint}");
    lab.cni(Verb::Add, &file).failed_with(NO_CONTAINER);
    assert_eq!(lab.node_links(), before);
    lab.assert_nothing_left();
    lab.finish();
}

#[test]
fn an_add_on_a_bridge_without_openflow_1_5_fails_at_once_and_says_what_to_do() {
    let lab = Lab::usual();
    let pod = lab.pod("a").place();
    lab.switch().vsctl(&["set", "Bridge", "br1", "protocols=OpenFlow10"]).expect("old protocols");
    lab.eventually(5, "the agent has noticed", || {
        let status = lab.agent().status().map_err(|error| format!("{error:#}"))?;
        let refused = status.bridges.into_iter().map(|bridge| bridge.trouble).collect::<String>();
        if refused.contains("OpenFlow 1.5") { Ok(()) } else { Err(refused) }
    });
    let answer = pod.add();
    let complaint = answer.failed_with(NO_GUARD);
    assert!(complaint.contains("protocols=OpenFlow10,OpenFlow15"), "{complaint}");
    assert!(answer.took < lab.within_seconds(5), "{answer:?}");
    lab.switch().vsctl(&["clear", "Bridge", "br1", "protocols"]).expect("all protocols");
    lab.eventually(10, "an ADD succeeds again", || {
        let again = pod.add();
        if again.exit == Some(0) { Ok(()) } else { Err(format!("{again:?}")) }
    });
    pod.assert_reaches(lab.gateway_ips()[0]);
    lab.finish();
}

#[test]
fn an_mtu_below_that_of_ipv6_is_refused_by_its_name() {
    let lab = Lab::usual();
    let complaint = lab.pod("a").key("mtu", 1279).place().add().failed_with(BAD_CONFIG);
    assert!(complaint.contains("mtu") && complaint.contains("1279"), "{complaint}");
    lab.assert_nothing_left();
    lab.pod("b").address("10.0.0.5/24").key("mtu", 1279).up().assert_reaches(lab.gateway_ips()[0]);
    lab.finish();
}

#[test]
fn del_succeeds_when_the_namespace_is_gone() {
    let lab = Lab::usual();
    let (lost, forgotten) = (lab.pod("lost").up(), lab.pod("forgotten").up());
    lost.lose_netns();
    lost.del().succeeded();
    forgotten.lose_netns();
    let mut without = forgotten.attachment().clone();
    without.netns.clear();
    lab.cni(Verb::Del, &without).succeeded();
    lab.assert_nothing_left();
    lab.finish();
}

#[test]
fn del_takes_everything_away_when_the_veth_went_with_the_namespace() {
    let lab = Lab::usual();
    let pod = lab.pod("lost").up();
    let port = pod.port();
    pod.lose_netns();
    lab.eventually(5, "the kernel has taken the veth away", || {
        let links = lab.node_links();
        if links.contains(&port) { Err(format!("{links:?}")) } else { Ok(()) }
    });
    pod.del().succeeded();
    lab.assert_nothing_left();
    lab.finish();
}

#[test]
fn a_del_that_comes_while_the_agent_is_away_is_done_when_it_is_back() {
    let lab = Lab::usual();
    let (gone, stays) = (lab.pod("gone").up(), lab.pod("stays").up());
    lab.agent().stop().expect("stopping the agent");
    stays.assert_reaches(gone.v4());
    gone.del().succeeded();
    lab.agent().start().expect("starting the agent");
    lab.eventually(5, "the spooled DEL is done", || {
        let left = lab.agent().endpoints().map_err(|error| format!("{error:#}"))?;
        let known = left.len() == 1 && stays.is_in(left[0].r#ref.as_ref());
        let link = gone.links().contains(&"eth0".to_owned());
        if known && !link { Ok(()) } else { Err(format!("link: {link}, {left:?}")) }
    });
    lab.finish();
}

#[test]
fn an_add_that_is_older_than_the_last_del_is_refused() {
    let lab = Lab::usual();
    let pod = lab.pod("a").up();
    pod.del().succeeded();
    let late = pod.add_late(Duration::from_secs(5));
    assert_ne!(late.exit, Some(0), "{late:?}");
    assert!(late.complaint().contains("DEL"), "{late:?}");
    lab.assert_nothing_left();
    pod.add().succeeded();
    lab.finish();
}

#[test]
fn a_tombstone_outlives_the_agent() {
    let lab = Lab::usual();
    let pod = lab.pod("a").up();
    pod.del().succeeded();
    lab.agent().restart().expect("a restart");
    assert_ne!(pod.add_late(Duration::from_secs(5)).exit, Some(0));
    lab.finish();
}

#[test]
fn an_add_with_vswitchd_stopped_fails_in_time_and_leaves_nothing() {
    let lab = Lab::with_config("[cni]\ntimeout = \"2s\"");
    let pod = lab.pod("a").place();
    lab.switch().stop_vswitchd().expect("stopping vswitchd");
    let answer = pod.add();
    assert_ne!(answer.exit, Some(0), "{answer:?}");
    assert!(answer.took < lab.within_seconds(5), "{answer:?}");
    assert!(!pod.links().contains(&"eth0".to_owned()));
    lab.switch().start_vswitchd().expect("starting vswitchd");
    lab.assert_nothing_left();
    lab.eventually(10, "an ADD succeeds again", || {
        let again = pod.add();
        if again.exit == Some(0) { Ok(()) } else { Err(format!("{again:?}")) }
    });
    lab.finish();
}

#[test]
fn a_second_add_with_another_configuration_replaces_the_first() {
    let lab = Lab::usual();
    let first = lab.pod("a").address("10.0.0.5/24").up();
    let mut changed = first.attachment().clone();
    let ipam = json!({ "type": "static", "addresses": [{ "address": "10.0.0.6/24" }] });
    changed.conf = changed.conf.key("ipam", ipam);
    lab.cni(Verb::Add, &changed).succeeded();
    assert_eq!(first.v4().to_string(), "10.0.0.6");
    first.assert_reaches(lab.gateway_ips()[0]);
    assert_eq!(lab.agent().endpoints().expect("endpoints").len(), 1);
    lab.finish();
}

#[test]
fn an_attachment_without_ipam_is_a_port_of_layer_2() {
    let lab = Lab::usual();
    let pod = lab.pod("a").without_ipam().up();
    assert!(pod.addresses().iter().all(IpAddr::is_ipv6), "{:?}", pod.addresses());
    pod.ip("address add 10.0.0.5/24 dev eth0");
    pod.assert_reaches(lab.gateway_ips()[0]);
    lab.finish();
}
