//! The agent loses what it wrote down, and no pod pays for it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::frames::{Identity, udp};
use e2e::{Flow, Host, Lab, Mac, Output, Pod, Verb};
use serde_json::Value;

/// How long after a restart everything must be as before.
const CONVERGED_WITHIN_SECONDS: u64 = 10;

/// How long a frame may take from a pod to the gateway.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// Of the pings that must be answered all the time.
const INTERVAL: Duration = Duration::from_millis(10);

/// What a busy machine may lose of them in a row.
const NOISE: usize = 5;

/// The source port of the honest datagram that follows a lie.
const MARKER_PORT: u16 = 4711;

/// The ledger's file of a pod.
#[track_caller]
fn record(lab: &Lab, pod: &Pod<'_>) -> PathBuf {
    let files = fs::read_dir(lab.room_path("run/ledger")).expect("a ledger");
    let names_it = |path: &PathBuf| {
        fs::read_to_string(path).is_ok_and(|text| text.contains(&pod.attachment().container))
    };
    files.flatten().map(|file| file.path()).find(names_it).expect("a record of the pod")
}

/// Addresses that host-local holds.
fn reserved(lab: &Lab) -> Vec<String> {
    let files = fs::read_dir(lab.room_path("ipam/lab")).expect("host-local's directory");
    let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("10.") || name.starts_with("fd")).collect()
}

/// How often the host end of a pod lost or got its carrier: twice for each time that it was taken down and up again.
#[track_caller]
fn carrier_changes(lab: &Lab, port: &str) -> Value {
    let ip = || Ok(Command::new("ip").args(["-j", "-s", "-s", "link", "show", "dev", port]).output()?);
    let shown = lab.node().enter(ip).expect("ip link show");
    let links: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    links[0]["stats64"]["tx"]["carrier_changes"].clone()
}

#[track_caller]
fn assert_lies_die(lab: &Lab, pod: &Pod<'_>) {
    let seen = lab.gateway().wire();
    let honest = Identity::of(pod);
    let everyone = Identity { mac: Mac([0xff; 6]), v4: Ipv4Addr::BROADCAST, ..honest };
    let lie = udp(Identity { v4: Ipv4Addr::new(10, 0, 0, 250), ..honest }, everyone, (7, 7));
    let stolen = udp(Identity { mac: Mac([2, 0, 0, 0, 0, 0x77]), ..honest }, everyone, (7, 7));
    let marker = udp(honest, everyone, (MARKER_PORT, 9));
    for frame in [&lie, &stolen, &marker] {
        pod.send_raw(frame);
    }
    let arrived = seen.all_about(ARRIVES_WITHIN, &marker).expect("the marker");
    assert!(!arrived.contains(&lie) && !arrived.contains(&stolen), "a lie of {} got through", pod.name());
}

#[track_caller]
fn assert_all_ready(lab: &Lab, count: u32) {
    lab.eventually(CONVERGED_WITHIN_SECONDS, "every pod is ready", || {
        let ready = lab.agent().status().map_err(|error| format!("{error:#}"))?.endpoints.unwrap_or_default();
        if ready.ready == count { Ok(()) } else { Err(format!("{ready:?}\n{}", lab.agent().log_tail())) }
    });
}

fn ask(lab: &Lab, words: &[&str]) -> Output {
    lab.agent().agentctl(words).expect("agentctl")
}

#[test]
fn a_ledger_that_is_lost_or_broken_cuts_no_living_pod_off() {
    let lab = Lab::usual();
    let pods = [lab.pod("broken").up(), lab.pod("deleted").vlan(0).up(), lab.pod("bare").up()];
    let [broken, deleted, bare] = &pods;
    let whole = lab.pod("whole").up();
    whole.assert_reaches(broken.v4());
    let flows = |lab: &Lab| lab.our_flows().iter().map(Flow::meaning).collect::<Vec<_>>();
    let before = flows(&lab);
    let (broken_file, deleted_file, bare_file) =
        (record(&lab, broken), record(&lab, deleted), record(&lab, bare));
    let ports = pods.each_ref().map(Pod::port);
    let carriers = || ports.each_ref().map(|port| carrier_changes(&lab, port));
    let carriers_before = carriers();

    let at = Instant::now();
    let streams = pods.each_ref().map(|pod| whole.ping_stream(pod.v4(), INTERVAL));
    lab.agent().kill9().expect("killing the agent");
    fs::write(&broken_file, "{ \"schema\": 1, \"boot").expect("breaking a file");
    fs::remove_file(&deleted_file).expect("deleting a file");
    fs::remove_file(&bare_file).expect("deleting a file");
    // What stays of the third is its port and what the programs were told.
    lab.switch().vsctl(&["clear", "Port", &ports[2], "external_ids"]).expect("clearing external_ids");
    lab.agent().start().expect("starting the agent");
    lab.eventually(CONVERGED_WITHIN_SECONDS, "all are known again", || {
        let known = lab.agent().endpoints().map_err(|error| format!("{error:#}"))?.len();
        if known == 4 { Ok(()) } else { Err(format!("{known}\n{}", lab.agent().log_tail())) }
    });
    std::thread::sleep(Duration::from_secs(1));
    for stream in streams {
        let loss = stream.stop().expect("a stream");
        e2e::note(&format!("{loss:?}"));
        assert!(loss.longest_gap <= NOISE, "{loss:?}\n{}", lab.agent().log_tail());
    }
    assert_eq!(carriers(), carriers_before, "no host end was taken down");
    assert_eq!(flows(&lab), before, "no flow was written: {:?} ago", at.elapsed());
    for pod in &pods {
        assert_lies_die(&lab, pod);
        pod.assert_reaches(lab.gateway_ips()[1]);
    }
    assert!(fs::read_to_string(&broken_file).is_ok_and(|text| text.contains(&broken.attachment().container)));
    let shown = ask(&lab, &["endpoints", "lab/deleted"]).stdout;
    assert!(shown.contains("rebuilt") && shown.contains("10.0.0.21/24"), "{shown}");
    let doctor = ask(&lab, &["doctor"]).stdout;
    assert!(doctor.contains("underpass-guard"), "what could not be found is told: {doctor}");

    for pod in &pods {
        pod.del().succeeded();
    }
    whole.del().succeeded();
    assert_eq!(reserved(&lab), Vec::<String>::new());
    lab.finish();
}

#[test]
fn flows_that_a_hung_vswitchd_kept_go_away_although_the_agent_was_restarted() {
    let lab = Lab::usual();
    // Not in the configuration: nobody but its pods leads the agent there.
    lab.add_bridge("br2").expect("a second bridge");
    let pod = lab.pod("last").bridge("br2").key("gateway", serde_json::json!({ "policy": "off" })).up();
    let ours = |lab: &Lab| lab.flows("br2").into_iter().filter(Flow::is_ours).count();
    assert!(ours(&lab) > 20, "the guard is on the bridge");
    lab.switch().freeze_vswitchd().expect("freezing vswitchd");
    let answer = pod.del();
    answer.succeeded();
    e2e::note(&format!("DEL with a frozen vswitchd took {:?}", answer.took));
    assert!(answer.took < lab.within_seconds(10), "{answer:?}");
    lab.agent().kill9().expect("killing the agent");
    lab.agent().start().expect("starting the agent");
    lab.switch().thaw_vswitchd().expect("thawing vswitchd");
    lab.eventually(30, "no flow of ours is left there", || match ours(&lab) {
        0 => Ok(()),
        left => Err(format!("{left} flows\n{}", lab.agent().log_tail())),
    });
    lab.assert_nothing_left();
    lab.finish();
}

#[test]
fn a_restart_after_a_loss_is_like_any_other_and_so_is_a_spooled_del() {
    let lab = Lab::usual();
    let (a, b) = (lab.pod("a").up(), lab.pod("b").up());
    lab.agent().kill9().expect("killing the agent");
    fs::remove_dir_all(lab.room_path("run/ledger")).expect("deleting the ledger");
    lab.agent().start().expect("starting the agent");
    assert_all_ready(&lab, 2);
    lab.agent().restart().expect("a restart");
    assert_all_ready(&lab, 2);
    a.assert_reaches(b.v6());

    lab.agent().kill9().expect("killing the agent");
    fs::remove_dir_all(lab.room_path("run/ledger")).expect("deleting the ledger");
    a.del().succeeded();
    lab.agent().start().expect("starting the agent");
    assert_all_ready(&lab, 1);
    lab.eventually(CONVERGED_WITHIN_SECONDS, "the address of the spooled DEL went back", || {
        let held = reserved(&lab);
        if held.len() == 2 { Ok(()) } else { Err(format!("{held:?}")) }
    });
    let gateway: &Host = lab.gateway();
    gateway.assert_reaches(b.v4());
    b.call(Verb::Del).succeeded();
    lab.finish();
}
