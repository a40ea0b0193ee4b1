//! Programs are swapped and moved under living pods, and the pods do not notice: another version of the agent takes over,
//! whose maps have another layout; programs that were hung in haste are hung for good.
//!
//! Another `limits.max_endpoints` stands in for another version: it changes the fingerprint of the layout as well.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use e2e::control::{BpfHook, Guard};
use e2e::frames::{Identity, hostile};
use e2e::{Datapath, Lab, Loss, Pod, meanwhile};

/// The length of a stream of pings beside what happens in it.
const STREAM: Duration = Duration::from_secs(2);

/// Ten seconds after the last ADD, then one pod a second.
const SETTLED_WITHIN_SECONDS: u64 = 30;

/// Streams without it, to know what is lost by chance: a busy machine loses a frame now and then.
const TURNS: usize = 3;

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

/// Does something under a ping of honest pods and a hail of lies; one of the streams as long without it loses as much.
#[track_caller]
fn assert_nobody_notices(lab: &Lab, pods: [&Pod<'_>; 3], what: impl FnOnce()) {
    let mut took = Duration::ZERO;
    let touched = under_fire(lab, pods, || {
        let began = Instant::now();
        what();
        took = began.elapsed();
    });
    let untouched = || {
        let untouched = under_fire(lab, pods, || thread::sleep(took));
        e2e::note(&format!("without it {untouched:?}, with it {touched:?}"));
        untouched.lost()
    };
    assert!(
        (0..TURNS).any(|_| touched.lost() <= untouched()),
        "with it {touched:?}, without it less, see above"
    );
}

/// What a ping from the first pod to the second loses meanwhile, while the third lies. No lie gets through.
#[track_caller]
fn under_fire(lab: &Lab, [a, b, liar]: [&Pod<'_>; 3], what: impl FnOnce()) -> Loss {
    let interval = match lab.datapath() {
        Datapath::Userspace => Duration::from_millis(1),
        Datapath::Kernel => Duration::from_millis(10),
    };
    let lies = hostile(Identity::of(liar), Identity::of(b), gateway(lab));
    let (mouth, wires) = (liar.wire(), [b.wire(), lab.gateway().wire()]);
    let stream = a.ping_stream(b.v4(), interval);
    let volley = || lies.iter().for_each(|lie| mouth.send(&lie.frame).expect("a lie"));
    meanwhile(volley, VOLLEY, || {
        thread::sleep(STREAM / 4);
        what();
        thread::sleep(STREAM / 2);
    });
    let loss = stream.stop().expect("a stream");
    for wire in &wires {
        let arrived = wire.all_until_silence(ARRIVES_WITHIN).expect("what arrived");
        let told = lies.iter().find(|lie| arrived.contains(&lie.frame));
        assert!(told.is_none(), "this got through: {}", told.expect("it is there").pretends);
    }
    loss
}

/// The agent ends, and another version begins.
fn upgrade(lab: &Lab, version: &str) {
    lab.agent().reconfigure(version).expect("another configuration");
    lab.agent().restart().expect("the other version");
}

/// How the programs of every pod hang.
fn hooks(lab: &Lab) -> BTreeSet<BpfHook> {
    let all = lab.agent().endpoints().expect("endpoints");
    all.iter().filter_map(|one| one.guard.as_ref()).map(Guard::ebpf).collect()
}

/// How programs hang for good here: TCX came with Linux 6.6.
fn lasting_hook() -> BpfHook {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let numbers: Vec<u32> = release.split(['.', '-']).take(2).map(|n| n.parse().expect("a number")).collect();
    if numbers >= vec![6, 6] { BpfHook::Tcx } else { BpfHook::Clsact }
}

#[test]
fn programs_that_were_hung_in_haste_are_hung_for_good_and_nobody_notices() {
    let lab = Lab::usual();
    let (a, b, liar) = (lab.pod("a").up(), lab.pod("b").up(), lab.pod("liar").up());
    // Where the machine is slow, the first pods' programs have been moved already.
    assert!(hooks(&lab).contains(&BpfHook::Clsact), "an ADD waits for no grace period");
    a.assert_reaches(b.v4());
    assert_nobody_notices(&lab, [&a, &b, &liar], || {
        lab.eventually(SETTLED_WITHIN_SECONDS, "every program hangs for good", || match hooks(&lab) {
            hooks if hooks == BTreeSet::from([lasting_hook()]) => Ok(()),
            hooks => Err(format!("{hooks:?}")),
        });
    });
    lab.finish();
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

    assert_nobody_notices(&lab, [&a, &b, &liar], || upgrade(&lab, "[limits]\nmax_endpoints = 64"));
    let second = layouts(&lab);
    assert!(second.len() == 1 && second != first, "{first:?}, then {second:?}");
    assert_eq!(dropped_by_programs(&lab, &penitent), 0, "new maps count from the beginning");
    a.assert_reaches(lab.gateway_ips()[1]);

    assert_nobody_notices(&lab, [&a, &b, &liar], || upgrade(&lab, ""));
    assert_eq!(layouts(&lab), first);
    lab.pod("c").up().assert_reaches(a.v4());
    lab.finish();
}
