//! What a person sees: agentctl's words, its JSON and its exit status.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use e2e::frames::{Identity, hostile};
use e2e::{Datapath, Lab, Output, Pod};
use serde_json::Value;

/// What the agent notices by itself it tells within this time.
const TOLD_WITHIN_SECONDS: u64 = 15;

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

/// What agentctl says, whether all is well with it or not: nobody is the gateway of the lab's other VLANs, which shows
/// after some seconds.
#[track_caller]
fn answered(lab: &Lab, line: &str) -> String {
    let output = ask(lab, line);
    assert!(matches!(output.status.code(), Some(0 | FOUND_SOMETHING)), "agentctl {line}: {output:#?}");
    output.stdout
}

/// Waits until a command line says this with this exit status.
#[track_caller]
fn tells(lab: &Lab, line: &str, status: i32, what: &str) -> String {
    lab.eventually(TOLD_WITHIN_SECONDS, &format!("agentctl {line}: {what}"), || {
        let output = ask(lab, line);
        let told = output.status.code() == Some(status) && output.stdout.contains(what);
        if told { Ok(output.stdout) } else { Err(format!("{output:#?}")) }
    })
}

/// What both walls stopped of a pod, each frame once, as the table of endpoints has it.
fn stopped(lab: &Lab, pod: &Pod<'_>) -> u64 {
    let endpoints = lab.agent().endpoints().expect("endpoints");
    let ours = endpoints.into_iter().find(|one| pod.is_in(one.r#ref.as_ref()));
    ours.expect("the pod's endpoint").dropped
}

#[test]
fn every_answer_fits_a_terminal_and_parses_as_json() {
    let lab = Lab::usual();
    let _pods = [lab.pod("cart").up(), lab.pod("shop").vlan(7).up()];
    for verb in ["status", "endpoints", "flows dump", "drops", "conflicts", "gateways", "accel"] {
        let text = answered(&lab, verb);
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(
            verb == "flows dump" || wide.is_empty(),
            "agentctl {verb} is wider than 80 columns: {wide:#?}"
        );
        let json = answered(&lab, &format!("{verb} -o json"));
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
    assert_eq!(ask(&lab, "endpoints --bridge nobr").status.code(), Some(NO_SUCH));
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
fn status_and_events_tell_what_went_and_that_it_came_back() {
    let lab = Lab::usual();
    let _pod = lab.pod("cart").up();
    tells(&lab, "status", 0, "in order");
    lab.switch().stop_vswitchd().expect("stopping vswitchd");
    tells(&lab, "status", FOUND_SOMETHING, "ovs-vswitchd");
    tells(&lab, "events", 0, "SwitchLost");
    let diff = ask(&lab, "flows dump --diff");
    assert_eq!(diff.status.code(), Some(OUT_OF_REACH), "{diff:#?}");
    assert!(diff.stdout.contains("nothing is known"), "{diff:#?}");
    lab.switch().start_vswitchd().expect("starting vswitchd");
    tells(&lab, "events", 0, "SwitchBack");
    tells(&lab, "status", 0, "in order");
    lab.switch().stop_database().expect("stopping ovsdb-server");
    tells(&lab, "status", FOUND_SOMETHING, "OVSDB");
    tells(&lab, "events", 0, "OvsdbLost");
    lab.switch().start_database().expect("starting ovsdb-server");
    tells(&lab, "events", 0, "OvsdbBack");
    lab.switch().vsctl(&["del-br", "br1"]).expect("deleting the bridge");
    tells(&lab, "status", FOUND_SOMETHING, "does not exist");
    tells(&lab, "events", 0, "BridgeGone");
    lab.add_bridge("br1").expect("making the bridge again");
    lab.switch().vsctl(&["add-port", "br1", lab.gateway().port()]).expect("the gateway's port");
    tells(&lab, "events", 0, "BridgeBack");
    tells(&lab, "status", 0, "in order");
    lab.finish();
}

#[test]
fn events_tell_of_ports_and_flows_that_somebody_took_away() {
    let lab = Lab::usual();
    let pod = lab.pod("cart").up();
    tells(&lab, "status", 0, "in order");
    lab.switch().ofctl("del-flows", "br1", &["table=221"]).expect("deleting flows");
    tells(&lab, "events", 0, "FlowsMended");
    assert!(lab.agent().status().expect("status").bridges[0].drift_mended > 0);
    lab.switch().vsctl(&["del-port", &pod.port()]).expect("deleting the port");
    tells(&lab, "events lab/cart", 0, "PortBack");
    tells(&lab, "status", 0, "in order");
    lab.finish();
}

#[test]
fn a_stopped_frame_is_counted_once_and_its_count_outlives_its_rule() {
    let lab = Lab::usual();
    let (attacker, victim) = (lab.pod("attacker").up(), lab.pod("victim").up());
    let arp_of_the_gateway =
        hostile(Identity::of(&attacker), Identity::of(&victim), Ipv4Addr::new(10, 0, 0, 1));
    let lie = arp_of_the_gateway.iter().find(|one| one.reason == e2e::control::Reason::Arp).expect("a lie");
    let before = stopped(&lab, &attacker);
    for _ in 0..10 {
        attacker.send_raw(&lie.frame);
    }
    let counted = |what: &str| {
        lab.eventually(TOLD_WITHIN_SECONDS, what, || {
            let drops = lab.agent().drops().map_err(|error| format!("{error:#}"))?;
            let ours = drops.into_iter().find(|one| attacker.is_in(one.endpoint.as_ref()));
            let count = ours.and_then(|one| one.reasons.into_iter().find(|c| c.reason == lie.reason as i32));
            let count = count.ok_or("nothing is counted")?;
            let wall = match lab.datapath() {
                Datapath::Userspace => count.openflow,
                Datapath::Kernel => count.ebpf,
            };
            if wall == 10 && count.frames == 10 { Ok(()) } else { Err(format!("{count:?}")) }
        });
    };
    counted("ten frames are ten frames");
    assert_eq!(stopped(&lab, &attacker) - before, 10);
    lab.switch().ofctl("del-flows", "br1", &[]).expect("deleting all flows");
    tells(&lab, "flows dump --diff", 0, "no difference");
    counted("the rules are new, and the count is not");
    let told = tells(&lab, "drops lab/attacker", 0, "claims");
    assert!(told.contains("ARP that speaks for another"), "{told}");
    lab.finish();
}

#[test]
fn a_removal_that_waits_is_shown_with_what_it_waits_for() {
    let lab = Lab::usual();
    let pod = lab.pod("cart").up();
    lab.switch().stop_database().expect("stopping ovsdb-server");
    tells(&lab, "status", FOUND_SOMETHING, "OVSDB");
    pod.del().succeeded();
    tells(&lab, "endpoints", FOUND_SOMETHING, "not gone yet");
    tells(&lab, "doctor", FOUND_SOMETHING, "removals");
    lab.switch().start_database().expect("starting ovsdb-server");
    tells(&lab, "endpoints", 0, "no endpoints");
    tells(&lab, "doctor", 0, "none waits");
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

#[test]
fn a_benchmark_between_two_pods_says_how_long_and_by_which_path() {
    let lab = Lab::usual();
    let pods = [lab.pod("cart").up(), lab.pod("shop").up()];
    pods[0].assert_reaches(pods[1].v4());
    let text = told(&lab, "bench latency lab/cart lab/shop --seconds 1");
    assert!(text.contains("UDP") && text.contains("TCP") && text.contains("p99"), "{text}");
    let json = told(&lab, "bench latency lab/cart lab/shop:eth0 --seconds 1 --size 1024 -o json");
    let measured: Value = serde_json::from_str(&json).expect("JSON");
    for load in measured["loads"].as_array().expect("loads") {
        let at = |key: &str| load[key].as_u64().unwrap_or_else(|| panic!("{key} in {load}"));
        assert!(at("trips") > 0 && load["microseconds"][0].as_f64().is_some_and(|p50| p50 > 0.0), "{load}");
        // What the pods' kernels send of their own accord counts too.
        let past = at("past_bridge") >= at("sent");
        assert_eq!(past, lab.datapath() == Datapath::Kernel, "{load}");
    }
    let obstacles = measured["obstacles"].as_array().expect("obstacles");
    assert_eq!(obstacles.is_empty(), lab.datapath() == Datapath::Kernel, "{obstacles:?}");
    assert_eq!(ask(&lab, "bench latency lab/cart lab/nobody").status.code(), Some(NO_SUCH));
    assert_eq!(ask(&lab, "bench latency lab/cart lab/shop --size 7").status.code(), Some(USAGE));
    lab.finish();
}

/// What the agent answers over HTTP, its head included.
fn fetched(lab: &Lab, path: &str) -> Result<String, String> {
    let ask = || {
        let mut stream = TcpStream::connect("127.0.0.1:9476")?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        Ok(io::read_to_string(stream)?)
    };
    lab.node().enter(ask).map_err(|error| format!("{error:#}"))
}

#[test]
fn metrics_tell_of_pods_drops_and_calls() {
    let lab = Lab::usual();
    let (liar, victim) = (lab.pod("liar").up(), lab.pod("victim").up());
    let (me, other) = (Identity::of(&liar), Identity::of(&victim));
    let lie = &hostile(me, other, Ipv4Addr::new(10, 0, 0, 1))[1];
    liar.send_raw(&lie.frame);
    let expected = [
        "underpass_ready 1",
        "underpass_endpoints{state=\"ready\"} 2",
        "underpass_bridge_up{bridge=\"br1\"} 1",
        "underpass_dropped_frames_total{namespace=\"lab\",pod=\"liar\",interface=\"eth0\",reason=\"ipv4\"} 1",
        "underpass_cni_call_seconds_count{verb=\"ADD\",code=\"0\"} 2",
        "# EOF",
    ];
    lab.eventually(TOLD_WITHIN_SECONDS, "the metrics say it", || {
        let page = fetched(&lab, "/metrics")?;
        match expected.iter().find(|line| !page.lines().any(|there| there == **line)) {
            Some(line) => Err(format!("{line} is not in\n{page}")),
            None => Ok(()),
        }
    });
    for path in ["/healthz", "/readyz"] {
        let answer = fetched(&lab, path).expect("an answer");
        assert!(answer.starts_with("HTTP/1.0 200"), "{path}: {answer}");
    }
    assert!(fetched(&lab, "/nothing").expect("an answer").starts_with("HTTP/1.0 404"));
    lab.finish();
}
