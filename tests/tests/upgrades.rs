//! Another version of the agent takes over: its maps have another layout, and the pods that live do not notice.
//!
//! Another `limits.max_endpoints` stands in for another version: it changes the fingerprint of the layout as well.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use e2e::frames::{Identity, hostile};
use e2e::{Datapath, Lab, Pod};

/// The length of a stream of pings that is compared with another one.
const STREAM: Duration = Duration::from_secs(2);

/// Between two volleys of lies.
const VOLLEY: Duration = Duration::from_millis(5);

/// How long a lie may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_millis(500);

/// The directories of maps, as a person would list them.
fn layouts(lab: &Lab) -> BTreeSet<String> {
    let entries = lab.room_path("bpf/underpass").read_dir().expect("the agent's bpf_dir");
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with('v')).collect()
}

/// Frames of a pod that the programs dropped since its counters began.
fn dropped_by_programs(lab: &Lab, pod: &Pod<'_>) -> u64 {
    let all = lab.agent().drops().expect("drops");
    let ours = all.iter().filter(|one| pod.is_in(one.endpoint.as_ref()));
    ours.flat_map(|one| &one.reasons).map(|count| count.ebpf).sum()
}

fn gateway(lab: &Lab) -> Ipv4Addr {
    match lab.gateway_ips()[0] {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => panic!("the lab draws IPv4 first, not {v6}"),
    }
}

/// Restarts the agent as another version, under a ping of honest pods and a hail of lies.
#[track_caller]
fn assert_nobody_notices(lab: &Lab, [a, b, liar]: [&Pod<'_>; 3], version: &str) {
    let interval = match lab.datapath() {
        Datapath::Userspace => Duration::from_millis(1),
        Datapath::Kernel => Duration::from_millis(10),
    };
    let lies = hostile(Identity::of(liar), Identity::of(b), gateway(lab));
    let (mouth, wires, over) = (liar.wire(), [b.wire(), lab.gateway().wire()], AtomicBool::new(false));
    let (untouched, upgraded) = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for lie in &lies {
                    mouth.send(&lie.frame).expect("a lie");
                }
                thread::sleep(VOLLEY);
            }
        });
        let stream = a.ping_stream(b.v4(), interval);
        thread::sleep(STREAM);
        let untouched = stream.stop().expect("a stream");
        let stream = a.ping_stream(b.v4(), interval);
        thread::sleep(STREAM / 4);
        lab.agent().reconfigure(version).expect("another configuration");
        lab.agent().restart().expect("the other version");
        thread::sleep(STREAM / 2);
        let upgraded = stream.stop().expect("a stream");
        over.store(true, Ordering::Relaxed);
        (untouched, upgraded)
    });
    e2e::note(&format!("without the upgrade {untouched:?}, with it {upgraded:?}"));
    assert!(upgraded.lost() <= untouched.lost(), "{untouched:?}, but with the upgrade {upgraded:?}");
    for wire in &wires {
        let arrived = wire.all_until_silence(ARRIVES_WITHIN).expect("what arrived");
        let told = lies.iter().find(|lie| arrived.contains(&lie.frame));
        assert!(told.is_none(), "this got through: {}", told.expect("it is there").pretends);
    }
}

#[test]
fn a_new_layout_of_the_maps_and_the_old_one_again_lose_no_ping_and_pass_no_lie() {
    let lab = Lab::usual();
    let (a, b, liar) = (lab.pod("a").up(), lab.pod("b").up(), lab.pod("liar").up());
    let penitent = lab.pod("penitent").up();
    a.assert_reaches(b.v4());
    let first = layouts(&lab);
    let lies = hostile(Identity::of(&penitent), Identity::of(&b), gateway(&lab));
    for lie in &lies {
        penitent.send_raw(&lie.frame);
    }
    lab.eventually(5, "its lies are counted", || match dropped_by_programs(&lab, &penitent) {
        count if count >= lies.len() as u64 => Ok(()),
        count => Err(format!("{count} of {}", lies.len())),
    });

    assert_nobody_notices(&lab, [&a, &b, &liar], "[limits]\nmax_endpoints = 64");
    let second = layouts(&lab);
    assert!(second.len() == 1 && second != first, "{first:?}, then {second:?}");
    assert_eq!(dropped_by_programs(&lab, &penitent), 0, "new maps count from the beginning");
    a.assert_reaches(lab.gateway_ips()[1]);

    assert_nobody_notices(&lab, [&a, &b, &liar], "");
    assert_eq!(layouts(&lab), first);
    lab.pod("c").up().assert_reaches(a.v4());
    lab.finish();
}
