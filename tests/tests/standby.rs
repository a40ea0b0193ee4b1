//! Two agents on one Open vSwitch: the one without the lock of OVSDB touches nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use e2e::{Agent, Flow, Lab, Verb};

/// CNI: try again later.
const TRY_AGAIN: u64 = 11;

fn meanings(flows: &[Flow]) -> BTreeSet<String> {
    flows.iter().map(Flow::meaning).collect()
}

/// What is in a directory.
fn names(dir: &Path) -> BTreeSet<OsString> {
    dir.read_dir().expect("a directory").flatten().map(|entry| entry.file_name()).collect()
}

#[track_caller]
fn assert_stands_by(lab: &Lab, agent: &Agent) {
    lab.eventually(15, "the agent says that another one holds the lock", || {
        let status = agent.status().map_err(|error| format!("{error:#}"))?;
        let told = !status.ready && status.not_ready.iter().any(|why| why.contains("lock"));
        if told { Ok(()) } else { Err(format!("ready: {}, {:?}", status.ready, status.not_ready)) }
    });
}

#[test]
fn the_second_agent_writes_nothing_and_takes_over_when_the_first_one_ends() {
    let lab = Lab::usual();
    let (a, b) = (lab.pod("a").up(), lab.pod("b").vlan(7).up());
    let c = lab.pod("c").place();
    let (flows, ports, links, at) = (lab.our_flows(), lab.ports("br1"), lab.node_links(), Instant::now());
    let second = lab.second_agent();
    second.spawn().expect("a second agent");
    assert_stands_by(&lab, &second);

    let complaint = lab.cni_through(&second, Verb::Add, c.attachment()).failed_with(TRY_AGAIN);
    assert!(complaint.contains("another agent holds the OVSDB lock"), "{complaint}");
    a.assert_reaches(lab.gateway_ips()[0]);
    let after = lab.our_flows();
    assert_eq!((meanings(&after), lab.ports("br1"), lab.node_links()), (meanings(&flows), ports, links));
    assert!(after.iter().all(|flow| flow.age >= at.elapsed()), "one was written again: {after:#?}");

    for pod in [a, b] {
        pod.del().succeeded();
    }
    lab.agent().stop().expect("stopping the first agent");
    second.wait_ready().expect("the second agent takes over");
    lab.cni_through(&second, Verb::Add, c.attachment()).succeeded();
    c.assert_reaches(lab.gateway_ips()[1]);
    lab.cni_through(&second, Verb::Del, c.attachment()).succeeded();
    second.stop().expect("stopping the second agent");
    lab.agent().start().expect("the first agent is back");
    lab.finish();
}

#[test]
fn an_agent_that_was_given_the_pins_of_another_one_waits_until_it_ends() {
    let lab = Lab::usual();
    let (a, second) = (lab.pod("a").up(), lab.second_agent());
    let pins = lab.room_path("bpf/underpass");
    let before = names(&pins);
    // Another layout: it would take the first one's maps for those of an old version.
    second.configure_with(&pins, "[limits]\nmax_endpoints = 64").expect("a configuration");
    second.spawn().expect("a second agent");
    lab.eventually(15, "it says what it waits for", || {
        if second.log().contains("another agent runs here") { Ok(()) } else { Err(second.log()) }
    });
    assert_eq!(names(&pins), before);
    a.assert_reaches(lab.gateway_ips()[0]);
    a.del().succeeded();
    lab.agent().stop().expect("stopping the first agent");
    second.wait_ready().expect("the second agent takes over");
    second.stop().expect("stopping the second agent");
    lab.agent().start().expect("the first agent is back");
    lab.finish();
}

#[test]
fn an_agent_whose_lock_is_stolen_writes_nothing_until_it_has_it_back() {
    let lab = Lab::usual();
    let (a, b) = (lab.pod("a").up(), lab.pod("b").place());
    let expected = meanings(&lab.our_flows());
    lab.switch().steal_lock().expect("stealing the lock");
    assert_stands_by(&lab, lab.agent());
    b.add().failed_with(TRY_AGAIN);
    a.assert_reaches(lab.gateway_ips()[0]);
    assert_eq!(meanings(&lab.our_flows()), expected);

    lab.switch().ofctl("del-flows", "br1", &["table=221"]).expect("deleting flows");
    b.add().failed_with(TRY_AGAIN);
    assert!(lab.our_flows().iter().all(|flow| flow.table != 221), "it wrote without the lock");
    lab.switch().give_lock_back().expect("giving the lock back");
    lab.agent().wait_ready().expect("the agent has its lock back");
    lab.eventually(10, "every flow of ours is there again", || {
        let now = meanings(&lab.try_our_flows()?);
        if now == expected { Ok(()) } else { Err(format!("{:#?}", now.symmetric_difference(&expected))) }
    });
    b.add().succeeded();
    b.assert_reaches(a.v4());
    lab.finish();
}
