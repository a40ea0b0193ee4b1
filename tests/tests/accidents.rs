//! What happens to a living pod behind the agent's back, and a crash in the middle of an ADD.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use e2e::control::Stage;
use e2e::control::endpoint_state::State;
use e2e::frames::{Identity, hostile};
use e2e::{Answer, Datapath, Lab, Pod, meanwhile};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// CNI: try again later.
const TRY_AGAIN: u64 = 11;

/// Between two volleys of lies: some while a port is put back, and time for the agent to do that.
const VOLLEY: Duration = Duration::from_millis(5);

/// How long after an accident everything must be as before.
const MENDED_WITHIN_SECONDS: u64 = 10;

/// Moments after the call of ADD, which takes some 350 ms, most of them for probing. In an emulated guest an ADD takes
/// seconds, and so does every start of an agent.
fn moments(lab: &Lab) -> Vec<Duration> {
    match lab.datapath() {
        Datapath::Userspace => (0..12).map(|step| step * Duration::from_millis(40)).collect(),
        Datapath::Kernel => [500, 2_000, 4_000].map(Duration::from_millis).to_vec(),
    }
}

#[track_caller]
fn assert_reaches_again(lab: &Lab, from: &Pod<'_>, to: std::net::IpAddr) {
    lab.eventually(MENDED_WITHIN_SECONDS, &format!("{} reaches {to}", from.name()), || match from.ping(to) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("no answer".to_owned()),
        Err(error) => Err(format!("{error:#}")),
    });
}

#[test]
fn no_lie_gets_through_while_the_port_of_a_liar_is_deleted_and_comes_back() {
    let lab = Lab::usual();
    let (liar, victim) = (lab.pod("liar").up(), lab.pod("victim").up());
    liar.assert_reaches(victim.v4());
    let lies = hostile(Identity::of(&liar), Identity::of(&victim), std::net::Ipv4Addr::new(10, 0, 0, 1));
    let (mouth, wires, port) = (liar.wire(), [victim.wire(), lab.gateway().wire()], liar.port());
    // While the host end is down the kernel takes no frame at all.
    let volley = || lies.iter().for_each(|lie| drop(mouth.send(&lie.frame)));
    meanwhile(volley, VOLLEY, || {
        for _ in 0..3 {
            lab.switch().vsctl(&["del-port", &port]).expect("deleting the port");
            // Past the bridge neighbours may reach each other before the agent has noticed.
            lab.eventually(MENDED_WITHIN_SECONDS, "the port is put back", || match lab.ports("br1") {
                ports if ports.contains(&port) => Ok(()),
                ports => Err(format!("{ports:?}")),
            });
            assert_reaches_again(&lab, &liar, victim.v4());
        }
    });
    for wire in &wires {
        let arrived = wire.all_until_silence(Duration::from_millis(500)).expect("what arrived");
        let told = lies.iter().find(|lie| arrived.contains(&lie.frame));
        assert!(told.is_none(), "this got through: {}", told.expect("it is there").pretends);
    }
    lab.finish();
}

#[test]
fn what_someone_does_to_the_host_end_of_a_pod_is_mended() {
    let lab = Lab::usual();
    let (pod, other) = (lab.pod("a").up(), lab.pod("b").up());
    let port = pod.port();
    let state = || pod.endpoint().state.and_then(|state| state.state);
    for accident in ["alias someones", "down", "name lost"] {
        if accident.starts_with("name") {
            lab.node_ip(&format!("link set dev {port} down"));
        }
        lab.node_ip(&format!("link set dev {port} {accident}"));
        if accident.starts_with("name") {
            lab.eventually(MENDED_WITHIN_SECONDS, "the agent misses the host end", || match state() {
                Some(State::Failed(failed)) if failed.stage() == Stage::Links => Ok(()),
                other => Err(format!("{other:?}")),
            });
            lab.node_ip(&format!("link set dev lost name {port}"));
        }
        assert_reaches_again(&lab, &pod, other.v4());
        lab.eventually(MENDED_WITHIN_SECONDS, "the agent is content", || match state() {
            Some(State::Ready(_)) => Ok(()),
            other => Err(format!("{accident}: {other:?}")),
        });
    }
    lab.finish();
}

#[test]
fn a_pod_whose_namespace_is_lost_is_shown_as_failed_until_del_frees_its_address() {
    let lab = Lab::usual();
    let (lost, other) = (lab.pod("lost").address("10.0.0.5/24").up(), lab.pod("other").up());
    lost.lose_netns();
    lab.eventually(MENDED_WITHIN_SECONDS, "the agent shows what is wrong", || {
        match lost.endpoint().state.and_then(|state| state.state) {
            Some(State::Failed(failed)) if failed.stage() == Stage::Links => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    other.assert_reaches(lab.gateway_ips()[0]);
    lost.del().succeeded();
    let heir = lab.pod("heir").address("10.0.0.5/24").up();
    heir.assert_reaches(other.v4());
    lab.finish();
}

/// Kills the agent `after` the runtime called ADD, and starts it again; what the runtime was told.
#[track_caller]
fn add_under_a_crash(lab: &Lab, pod: &Pod<'_>, crash: impl FnOnce()) -> Answer {
    let answer = thread::scope(|scope| {
        let call = scope.spawn(|| pod.add());
        crash();
        lab.agent().kill9().expect("killing the agent");
        call.join().expect("an ADD")
    });
    lab.agent().start().expect("starting the agent");
    answer
}

#[track_caller]
fn assert_told_to_try_again_or_done(lab: &Lab, pod: &Pod<'_>, answer: &Answer) {
    if answer.exit != Some(0) {
        answer.failed_with(TRY_AGAIN);
        pod.add().succeeded();
    }
    pod.assert_reaches(lab.gateway_ips()[0]);
    pod.del().succeeded();
    lab.assert_nothing_left();
}

#[test]
fn the_only_add_of_a_bridge_survives_a_crash_of_the_agent_at_any_moment() {
    let lab = Lab::usual();
    let pod = lab.pod("a").place();
    for moment in moments(&lab) {
        let answer = add_under_a_crash(&lab, &pod, || thread::sleep(moment));
        e2e::note(&format!("killed after {moment:?}: {answer:?}"));
        assert_told_to_try_again_or_done(&lab, &pod, &answer);
    }
    lab.finish();
}

#[test]
fn an_add_whose_agent_dies_while_ipam_runs_is_tried_again() {
    let lab = Lab::usual();
    let (plugins, reached) = (lab.room_path("plugins"), lab.room_path("reached"));
    fs::create_dir(&plugins).expect("a directory for plugins");
    // It gives an address, and then does not end: the kernel ends it with the shim.
    let script = format!(
        "#!/bin/sh\n[ \"$CNI_COMMAND\" = ADD ] || exec /usr/lib/cni/host-local\n\
         /usr/lib/cni/host-local\n[ -e {reached} ] || {{ touch {reached}; exec sleep 60; }}\n",
        reached = reached.display()
    );
    let plugin = plugins.join("host-local");
    fs::write(&plugin, script).expect("a plugin");
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).expect("its mode");

    let pod = lab.pod("a").plugins_from(&plugins).place();
    let answer = add_under_a_crash(&lab, &pod, || {
        lab.eventually(10, "the plugin has given an address", || {
            if reached.exists() { Ok(()) } else { Err("not called yet".to_owned()) }
        });
    });
    answer.failed_with(TRY_AGAIN);
    lab.assert_nothing_left();
    assert_told_to_try_again_or_done(&lab, &pod, &answer);
    lab.finish();
}

#[test]
fn a_result_that_the_runtime_cannot_take_is_withdrawn() {
    let lab = Lab::usual();
    let pod = lab.pod("a").place();
    let unheard = pod.add_into(Path::new("/dev/full"));
    assert_ne!(unheard.exit, Some(0), "{unheard:?}");
    lab.assert_nothing_left();
    assert!(!pod.links().contains(&"eth0".to_owned()));
    pod.add().succeeded();
    pod.assert_reaches(lab.gateway_ips()[0]);
    lab.finish();
}

#[test]
fn a_result_that_the_runtime_takes_after_the_agent_crashed_holds() {
    let lab = Lab::usual();
    let pod = lab.pod("a").place();
    let (fifo, full) = (lab.room_path("result"), vec![b' '; 64 << 10]);
    mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
    // Open for both, so that neither end waits for the other; full, so that the shim waits before it acknowledges.
    let mut runtime = fs::File::options().read(true).write(true).open(&fifo).expect("the FIFO");
    runtime.write_all(&full).expect("a full FIFO");
    let told = thread::scope(|scope| {
        let call = scope.spawn(|| pod.add_into(&fifo));
        lab.eventually(MENDED_WITHIN_SECONDS, "the agent has done its part", || {
            match lab.agent().status().map_err(|error| format!("{error:#}"))?.endpoints {
                Some(tally) if tally.ready == 1 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        lab.agent().kill9().expect("killing the agent");
        let mut heard = vec![0; full.len()];
        runtime.read_exact(&mut heard).expect("reading the FIFO");
        call.join().expect("an ADD")
    });
    lab.agent().start().expect("starting the agent");
    // Between the last stage and the result there is a moment in which the runtime still loses the agent.
    if told.exit != Some(0) {
        pod.add().succeeded();
    }
    pod.assert_reaches(lab.gateway_ips()[0]);
    lab.finish();
}
