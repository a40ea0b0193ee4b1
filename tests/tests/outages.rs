//! Open vSwitch is away while pods come and go: the runtime is told in time, and what it was told leaves nothing behind.

use std::thread;
use std::time::Duration;

use e2e::{Lab, Pod, Verb};

/// CNI: try again later.
const TRY_AGAIN: u64 = 11;
/// CNI: STATUS, not available.
const NOT_AVAILABLE: u64 = 50;

/// An outage is told after 5 s; making the interface, IPAM and taking both away again come on top.
const TOLD_WITHIN_SECONDS: u64 = 9;

/// One that is known is told at once.
const KNOWN_WITHIN_SECONDS: u64 = 3;

/// Calls ADD while Open vSwitch is away; what the runtime is told.
#[track_caller]
fn refused_add(lab: &Lab, pod: &Pod<'_>, within_seconds: u64) -> String {
    let before = lab.node_links();
    let answer = pod.add();
    assert!(answer.took < lab.within_seconds(within_seconds), "it took {:?}: {answer:?}", answer.took);
    assert!(!pod.links().contains(&"eth0".to_owned()), "the pod has {:?}", pod.links());
    assert_eq!(lab.node_links(), before, "the host end went with the other");
    answer.failed_with(TRY_AGAIN)
}

#[test]
fn without_vswitchd_an_add_fails_in_time_and_leaves_nothing() {
    let lab = Lab::usual();
    let (old, new) = (lab.pod("old").up(), lab.pod("new").key("cniVersion", "1.1.0").place());
    let ports = lab.ports("br1");
    lab.switch().stop_vswitchd().expect("stopping vswitchd");
    let why = refused_add(&lab, &new, TOLD_WITHIN_SECONDS);
    assert!(why.contains("bridge br1 does not answer"), "{why}");
    refused_add(&lab, &new, KNOWN_WITHIN_SECONDS);
    assert_eq!(lab.ports("br1"), ports);
    let why = new.call(Verb::Status).failed_with(NOT_AVAILABLE);
    assert!(why.contains("bridge br1 does not answer"), "{why}");
    let gone = old.del();
    gone.succeeded();
    assert!(gone.took < lab.within_seconds(KNOWN_WITHIN_SECONDS), "{gone:?}");
    lab.switch().start_vswitchd().expect("starting vswitchd");
    lab.assert_nothing_left();
    new.add().succeeded();
    new.call(Verb::Status).succeeded();
    new.assert_reaches(lab.gateway_ips()[0]);
    lab.finish();
}

#[test]
fn an_add_waits_for_vswitchd_while_that_restarts() {
    let lab = Lab::usual();
    let pod = lab.pod("a").place();
    lab.switch().stop_vswitchd().expect("stopping vswitchd");
    thread::scope(|scope| {
        let call = scope.spawn(|| pod.add());
        thread::sleep(Duration::from_secs(1));
        lab.switch().start_vswitchd().expect("starting vswitchd");
        call.join().expect("an ADD").succeeded();
    });
    pod.assert_reaches(lab.gateway_ips()[0]);
    lab.finish();
}

#[test]
fn status_tells_of_a_vswitchd_that_died_before_the_first_pod() {
    let lab = Lab::draw().bridge("br1").gateway("10.0.0.1/24", "fd00::1/64").agent().build();
    lab.add_bridge("br2").expect("a bridge that the agent was not told of");
    let pod = lab.pod("a").bridge("br2").key("cniVersion", "1.1.0").place();
    pod.call(Verb::Status).succeeded();
    lab.switch().stop_vswitchd().expect("stopping vswitchd");
    let why = pod.call(Verb::Status).failed_with(NOT_AVAILABLE);
    assert!(why.contains("bridge br2 does not answer"), "{why}");
    lab.switch().start_vswitchd().expect("starting vswitchd");
    lab.eventually(5, "STATUS is well again", || match pod.call(Verb::Status) {
        answer if answer.exit == Some(0) => Ok(()),
        answer => Err(answer.complaint()),
    });
    lab.finish();
}

#[test]
fn without_a_database_adds_fail_and_dels_succeed_in_time() {
    let lab = Lab::usual();
    let (old, new) = (lab.pod("old").up(), lab.pod("new").place());
    let host_end = old.port();
    lab.switch().stop_database().expect("stopping ovsdb-server");
    let why = refused_add(&lab, &new, TOLD_WITHIN_SECONDS);
    assert!(why.contains("OVSDB is out of reach"), "{why}");
    let gone = old.del();
    gone.succeeded();
    assert!(gone.took < lab.within_seconds(TOLD_WITHIN_SECONDS), "{gone:?}");
    // On the userspace datapath vswitchd serves no OpenFlow without its database, and the flows are given up first.
    lab.eventually(TOLD_WITHIN_SECONDS, "the host end goes without its port", || {
        let links = lab.node_links();
        if links.contains(&host_end) { Err(format!("the node has {links:?}")) } else { Ok(()) }
    });
    lab.switch().start_database().expect("starting ovsdb-server");
    lab.assert_nothing_left();
    new.add().succeeded();
    new.assert_reaches(lab.gateway_ips()[0]);
    lab.finish();
}

#[test]
fn an_add_that_loses_its_database_on_the_way_is_told_and_taken_back() {
    let lab = Lab::usual();
    let pod = lab.pod("a").place();
    let before = lab.ports("br1").len();
    thread::scope(|scope| {
        // It waits for its port's number.
        lab.switch().freeze_vswitchd().expect("freezing vswitchd");
        let call = scope.spawn(|| pod.add());
        lab.eventually(5, "the port is asked for", || {
            let ports = lab.ports("br1");
            if ports.len() > before { Ok(()) } else { Err(format!("{ports:?}")) }
        });
        lab.switch().stop_database().expect("stopping ovsdb-server");
        let answer = call.join().expect("an ADD");
        let why = answer.failed_with(TRY_AGAIN);
        assert!(why.contains("OVSDB is out of reach"), "{why}");
        assert!(answer.took < lab.within_seconds(TOLD_WITHIN_SECONDS), "it took {:?}", answer.took);
    });
    lab.switch().thaw_vswitchd().expect("thawing vswitchd");
    lab.switch().start_database().expect("starting ovsdb-server");
    lab.assert_nothing_left();
    pod.add().succeeded();
    lab.finish();
}
