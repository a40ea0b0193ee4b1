//! Past the bridge where the kernel allows it, through it where it does not, and never with another meaning.

use std::net::IpAddr;

use e2e::{Datapath, Lab, Pod, control};

/// Echo requests that are compared with counters.
const PINGS: u16 = 50;

/// The watch on OVSDB, a pass and the next lease.
const TOLD_WITHIN_SECONDS: u64 = 10;

fn accel(lab: &Lab, pod: &Pod<'_>) -> control::EndpointAccel {
    let all = lab.agent().accel().expect("accel").endpoints;
    let ours = all.into_iter().find(|one| pod.is_in(one.endpoint.as_ref()));
    ours.and_then(|one| one.accel).expect("the pod among the accelerated")
}

#[track_caller]
fn becomes(lab: &Lab, pod: &Pod<'_>, on: bool, why: &str) {
    lab.eventually(TOLD_WITHIN_SECONDS, &format!("acceleration of {} is {on}", pod.name()), || {
        let now = accel(lab, pod);
        let told = now.reasons.iter().any(|reason| reason.code == why);
        if now.on == on && (on || told) { Ok(()) } else { Err(format!("{now:?}, due: {why}")) }
    });
}

/// Frames that reached `pod`'s port through the switch.
fn through_ovs(lab: &Lab, pod: &Pod<'_>) -> u64 {
    let text =
        lab.switch().vsctl(&["get", "Interface", &pod.port(), "statistics:tx_packets"]).expect("statistics");
    text.trim().parse().expect("a counter")
}

#[track_caller]
fn ping_many(from: &Pod<'_>, to: IpAddr) {
    let answered = from.pings(to, PINGS).expect("pings").len();
    assert_eq!(answered, usize::from(PINGS), "{} to {to}", from.name());
}

#[test]
fn on_the_kernel_datapath_neighbours_talk_past_the_bridge_and_elsewhere_through_it() {
    let lab = Lab::usual();
    let (a, b) = (lab.pod("a").up(), lab.pod("b").up());
    a.assert_reaches(b.v4());
    if lab.datapath() == Datapath::Userspace {
        becomes(&lab, &a, false, "userspace_datapath");
        ping_many(&a, b.v4());
        let now = accel(&lab, &a);
        assert_eq!((now.tx_packets, now.rx_packets), (0, 0), "{now:?}");
        return lab.finish();
    }
    becomes(&lab, &a, true, "");
    becomes(&lab, &b, true, "");
    for to in b.both() {
        let before = accel(&lab, &a);
        ping_many(&a, to);
        let after = accel(&lab, &a);
        assert!(after.tx_packets >= before.tx_packets + u64::from(PINGS), "{before:?} {after:?}");
        assert!(after.rx_packets >= before.rx_packets + u64::from(PINGS), "{before:?} {after:?}");
    }
    lab.finish();
}

#[test]
fn a_mirror_takes_the_pods_back_to_the_bridge_and_its_end_lets_them_go() {
    let lab = Lab::usual();
    let (a, b) = (lab.pod("a").up(), lab.pod("b").up());
    a.assert_reaches(b.v4());
    let _tap = lab.foreign_host("tap", &[]);
    if lab.datapath() == Datapath::Kernel {
        becomes(&lab, &a, true, "");
    }
    let mirror = "-- --id=@p get Port x-tap -- --id=@m create Mirror name=m select_all=true output_port=@p \
                  -- set Bridge br1 mirrors=@m";
    let words: Vec<&str> = mirror.split_whitespace().collect();
    lab.switch().vsctl(&words).expect("a mirror");
    becomes(&lab, &a, false, "mirror");
    let before = accel(&lab, &a);
    ping_many(&a, b.v4());
    assert_eq!(accel(&lab, &a).tx_packets, before.tx_packets, "the mirror sees every frame");
    lab.switch().vsctl(&["clear", "Bridge", "br1", "mirrors"]).expect("no mirror");
    if lab.datapath() == Datapath::Kernel {
        becomes(&lab, &a, true, "");
    }
    lab.finish();
}

#[test]
fn pods_of_two_vlans_are_not_joined_by_acceleration() {
    let lab = Lab::usual();
    let a = lab.pod("a").vlan(10).address("10.0.0.11/24").up();
    let b = lab.pod("b").vlan(20).address("10.0.0.12/24").up();
    // The sender is told the MAC, so that only the bridge can stand between them.
    a.ip(&format!("neighbour replace {} lladdr {} dev eth0", b.v4(), b.mac()));
    b.ip(&format!("neighbour replace {} lladdr {} dev eth0", a.v4(), a.mac()));
    a.assert_cannot_reach(b.v4());
    lab.finish();
}

#[test]
fn switched_off_by_configuration_every_frame_goes_through_the_bridge() {
    let lab = Lab::with_config("[accel]\nenabled = false");
    let (a, b) = (lab.pod("a").up(), lab.pod("b").up());
    a.assert_reaches(b.v4());
    let before = through_ovs(&lab, &b);
    ping_many(&a, b.v4());
    lab.eventually(TOLD_WITHIN_SECONDS, "the switch counted every request", || {
        let counted = through_ovs(&lab, &b) - before;
        if counted >= u64::from(PINGS) { Ok(()) } else { Err(format!("{counted} of {PINGS}")) }
    });
    assert!(!accel(&lab, &a).on);
    lab.finish();
}
