//! What a person sees: agentctl's words, its JSON and its exit status.

use e2e::{Datapath, Lab, Output};
use serde_json::Value;

/// Exit status of agentctl: it found a difference or a failing check.
const FOUND_SOMETHING: i32 = 1;
/// Exit status of agentctl: the words on the command line are wrong.
const USAGE: i32 = 2;
/// Exit status of agentctl: agent or switch out of reach.
const OUT_OF_REACH: i32 = 3;
/// Exit status of agentctl: no such pod, bridge, port.
const NO_SUCH: i32 = 4;

#[track_caller]
fn ask(lab: &Lab, line: &str) -> Output {
    let words: Vec<&str> = line.split(' ').collect();
    lab.agent().agentctl(&words).unwrap_or_else(|error| panic!("agentctl {line}: {error:#}"))
}

#[track_caller]
fn told(lab: &Lab, line: &str) -> String {
    let output = ask(lab, line);
    assert!(output.status.success(), "agentctl {line}: {output:#?}");
    output.stdout
}

#[test]
fn every_answer_fits_a_terminal_and_parses_as_json() {
    let lab = Lab::usual();
    let _pods = [lab.pod("cart").up(), lab.pod("shop").vlan(7).up()];
    for verb in ["status", "endpoints", "flows dump", "drops", "conflicts", "gateways", "accel"] {
        let text = told(&lab, verb);
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(
            verb == "flows dump" || wide.is_empty(),
            "agentctl {verb} is wider than 80 columns: {wide:#?}"
        );
        let json = told(&lab, &format!("{verb} -o json"));
        assert!(serde_json::from_str::<Value>(&json).is_ok(), "agentctl {verb} -o json: {json}");
    }
    lab.finish();
}

#[test]
fn a_flows_dump_shows_pod_names_beside_the_flows() {
    let lab = Lab::usual();
    let _pods = [lab.pod("cart").up(), lab.pod("shop").up()];
    let all = told(&lab, "flows dump");
    assert!(all.contains("lab/cart:eth0") && all.contains("lab/shop:eth0"), "{all}");
    let one = told(&lab, "flows dump --pod lab/cart");
    assert!(one.contains("lab/cart:eth0") && !one.contains("lab/shop"), "{one}");
    let table = told(&lab, "flows dump --pod lab/cart --table 221");
    assert!(table.contains("arp") && table.lines().count() < one.lines().count(), "{table}");
    lab.finish();
}

#[test]
fn the_exit_status_tells_a_script_what_happened() {
    let lab = Lab::usual();
    let _pod = lab.pod("cart").up();
    assert_eq!(ask(&lab, "endpoints lab/cart").status.code(), Some(0));
    assert_eq!(ask(&lab, "flows dump --pod lab/nobody").status.code(), Some(NO_SUCH));
    assert_eq!(ask(&lab, "no-such-verb").status.code(), Some(USAGE));
    lab.agent().stop().expect("stopping the agent");
    assert_eq!(ask(&lab, "status").status.code(), Some(OUT_OF_REACH));
    lab.agent().start().expect("starting the agent");
    lab.finish();
}

#[test]
fn the_doctor_is_content_with_a_healthy_node_and_not_with_a_sick_one() {
    let lab = Lab::usual();
    let _pod = lab.pod("cart").up();
    let healthy = ask(&lab, "doctor");
    assert_eq!(healthy.status.code(), Some(0), "{healthy:#?}");
    lab.switch().stop_database().expect("stopping ovsdb-server");
    lab.eventually(10, "the doctor finds what is missing", || {
        let sick = ask(&lab, "doctor");
        if sick.status.code() == Some(FOUND_SOMETHING) { Ok(()) } else { Err(format!("{sick:#?}")) }
    });
    lab.switch().start_database().expect("starting ovsdb-server");
    lab.finish();
}

#[test]
fn the_doctor_tells_of_flows_before_the_guard_and_of_a_bridge_that_is_gone() {
    let lab = Lab::usual();
    let _pod = lab.pod("cart").up();
    let tells = |what: &str| {
        lab.eventually(10, what, || {
            let told = ask(&lab, "doctor").stdout;
            if told.contains(what) { Ok(()) } else { Err(told) }
        });
    };
    tells("flows are as they should be");
    let flow = "table=0,priority=65530,arp";
    lab.switch().ofctl("add-flow", "br1", &[&format!("{flow},actions=NORMAL")]).expect("adding a flow");
    tells("of priority 65530");
    lab.switch().ofctl("del-flows", "br1", &["--strict", flow]).expect("deleting the flow");
    tells("flows are as they should be");
    lab.switch().vsctl(&["del-br", "br1"]).expect("deleting the bridge");
    tells("does not exist");
    lab.add_bridge("br1").expect("making the bridge again");
    lab.switch().vsctl(&["add-port", "br1", lab.gateway().port()]).expect("the gateway's port");
    tells("flows are as they should be");
    lab.finish();
}

#[test]
fn status_names_the_node_the_bridge_and_its_pods() {
    let lab = Lab::usual();
    let _pods = [lab.pod("a").up(), lab.pod("b").up()];
    let status = lab.agent().status().expect("status");
    assert!(status.ready, "{:?}", status.not_ready);
    let bridge = &status.bridges[0];
    let datapath = if lab.datapath() == Datapath::Kernel { "system" } else { "netdev" };
    assert_eq!((bridge.name.as_str(), bridge.datapath_type.as_str(), bridge.endpoints), ("br1", datapath, 2));
    assert_eq!(bridge.flows_present, bridge.flows_expected);
    assert_eq!(usize::try_from(bridge.flows_present).ok(), Some(lab.our_flows().len()));
    assert!(!lab.agent().log().contains('\u{1b}'), "colours in a file: {}", lab.agent().log_tail());
    lab.finish();
}
