//! What a pod pretends dies at the wall where it should, is counted there, and reaches nobody.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use e2e::control::Reason;
use e2e::frames::{Hostile, Identity, hostile, udp};
use e2e::{Datapath, Host, Lab, Pod, Wire};
use serde_json::json;

/// vswitchd pushes the statistics of a flow about twice a second.
const COUNTED_WITHIN_SECONDS: u64 = 5;

/// How long a frame may take from one pod to another.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// The source port of the honest datagram that closes a volley.
const MARKER_PORT: u16 = 4711;

/// What may pass can still be lost on a busy machine; what is stopped is stopped each time.
const VOLLEYS: usize = 3;

/// Frames dropped by the wall that decides on this datapath, by reason.
fn counted(lab: &Lab, pod: &Pod<'_>) -> BTreeMap<i32, u64> {
    let all = lab.agent().drops().expect("drops");
    let ours = all.into_iter().filter(|one| pod.is_in(one.endpoint.as_ref()));
    let reasons = ours.flat_map(|one| one.reasons);
    let wall = |count: e2e::control::ReasonCount| match lab.datapath() {
        Datapath::Userspace => (count.reason, count.openflow),
        Datapath::Kernel => (count.reason, count.ebpf),
    };
    reasons.map(wall).filter(|(_, frames)| *frames > 0).collect()
}

/// Sends the frames and then an honest marker; what of the frames arrived at one of the wires.
fn fire(attacker: &Pod<'_>, victim: &Pod<'_>, frames: &[Hostile], wires: &[Wire]) -> Vec<String> {
    let out = attacker.wire();
    for hostile in frames {
        out.send(&hostile.frame).unwrap_or_else(|error| panic!("{}: {error:#}", hostile.pretends));
    }
    let (from, to) = (Identity::of(attacker), Identity::of(victim));
    // To everyone, so that every wire sees where the volley ends.
    let everyone = Identity { mac: e2e::Mac([0xff; 6]), v4: Ipv4Addr::BROADCAST, ..to };
    let marker = udp(from, everyone, (MARKER_PORT, 9));
    out.send(&marker).expect("a marker");
    let arrived = wires.iter().flat_map(|wire| wire.all_about(ARRIVES_WITHIN, &marker).expect("the marker"));
    let hostile = arrived.filter_map(|got| frames.iter().find(|one| one.frame == got));
    hostile.map(|one| one.pretends.to_owned()).collect()
}

fn gateway(lab: &Lab) -> Ipv4Addr {
    match lab.gateway_ips()[0] {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => panic!("the lab draws IPv4 first, not {v6}"),
    }
}

#[test]
fn every_spoof_is_stopped_and_counted_under_its_reason() {
    let lab = Lab::usual();
    let (attacker, victim) = (lab.pod("attacker").up(), lab.pod("victim").up());
    attacker.assert_reaches(victim.v4());
    let frames = hostile(Identity::of(&attacker), Identity::of(&victim), gateway(&lab));
    let before = counted(&lab, &attacker);
    let wires = [victim.wire(), lab.gateway().wire()];
    let arrived = fire(&attacker, &victim, &frames, &wires);
    assert!(arrived.is_empty(), "these got through: {arrived:?}");

    let mut due: BTreeMap<i32, u64> = BTreeMap::new();
    for hostile in &frames {
        *due.entry(hostile.reason as i32).or_default() += 1;
    }
    lab.eventually(COUNTED_WITHIN_SECONDS, "every frame is counted under its reason", || {
        let now = counted(&lab, &attacker);
        let more = |reason: &i32| now.get(reason).unwrap_or(&0) - before.get(reason).unwrap_or(&0);
        let wrong: Vec<String> = due
            .iter()
            .filter(|(reason, frames)| more(reason) != **frames)
            .map(|(reason, frames)| {
                format!("{:?}: {} instead of {frames}", Reason::try_from(*reason), more(reason))
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
    });
    let innocent = counted(&lab, &victim);
    // Its own kernel speaks up while the gate is still closed.
    assert!(
        innocent.keys().all(|reason| *reason == Reason::Closed as i32),
        "the victim did nothing: {innocent:?}"
    );
    attacker.assert_reaches(victim.v6());
    lab.finish();
}

#[test]
fn the_last_offender_is_kept_with_its_first_bytes() {
    let lab = Lab::usual();
    let (attacker, victim) = (lab.pod("attacker").up(), lab.pod("victim").up());
    let liar = Identity { v4: Ipv4Addr::new(10, 0, 0, 250), ..Identity::of(&attacker) };
    let lie = udp(liar, Identity::of(&victim), (7, 7));
    attacker.send_raw(&lie);
    lab.eventually(COUNTED_WITHIN_SECONDS, "the lie is the last offender", || {
        let all = lab.agent().drops().map_err(|error| format!("{error:#}"))?;
        let last =
            all.iter().find(|one| attacker.is_in(one.endpoint.as_ref())).and_then(|one| one.last.clone());
        let last = last.ok_or_else(|| format!("{all:?}"))?;
        let is_it = last.reason() == Reason::Ipv4 && lie.starts_with(&last.head) && !last.head.is_empty();
        if is_it { Ok(()) } else { Err(format!("{last:?}")) }
    });
    lab.finish();
}

#[test]
fn the_walls_stand_while_the_agent_is_dead() {
    let lab = Lab::usual();
    let (attacker, victim) = (lab.pod("attacker").up(), lab.pod("victim").up());
    let frames = hostile(Identity::of(&attacker), Identity::of(&victim), gateway(&lab));
    attacker.assert_reaches(victim.v4());
    lab.agent().kill9().expect("killing the agent");
    let arrived = fire(&attacker, &victim, &frames, &[victim.wire(), lab.gateway().wire()]);
    assert!(arrived.is_empty(), "these got through: {arrived:?}");
    attacker.assert_reaches(victim.v4());
    lab.agent().start().expect("starting the agent");
    lab.finish();
}

#[test]
fn a_pod_cannot_take_another_ones_address_by_setting_it() {
    let lab = Lab::usual();
    let (thief, owner) = (lab.pod("thief").up(), lab.pod("owner").up());
    let owners = owner.v4();
    owner.assert_reaches(lab.gateway_ips()[0]);
    thief.ip(&format!("address add {owners}/32 dev eth0"));
    thief.ip("neighbour flush all");
    let gateway: &Host = lab.gateway();
    gateway.ip("neighbour flush all");
    gateway.assert_reaches(owners);
    let heard = gateway.ip(&format!("neighbour show {owners}"));
    assert!(heard.contains(&owner.mac().to_string()), "{heard}");
    lab.finish();
}

/// Which of the hostile frames pass in a mode, by what they pretend.
fn passing(guard: serde_json::Value) -> Vec<String> {
    let lab = Lab::usual();
    let attacker = lab.pod("attacker").key("guard", guard).up();
    let victim = lab.pod("victim").up();
    attacker.assert_reaches(victim.v4());
    let frames = hostile(Identity::of(&attacker), Identity::of(&victim), gateway(&lab));
    // A bridge forwards nothing to 01:80:c2:00:00:00 itself, and NORMAL takes no tag on an access port.
    let mut passable: Vec<Hostile> =
        frames.into_iter().filter(|one| !matches!(one.reason, Reason::Linklocal | Reason::Vlan)).collect();
    // The bridge believes whose MAC it is and sends the victim's frames back from then on: last.
    passable.sort_by_key(|one| one.reason == Reason::Mac);
    let mut arrived = Vec::new();
    for _ in 0..VOLLEYS {
        arrived.extend(fire(&attacker, &victim, &passable, &[victim.wire()]));
    }
    arrived.sort();
    arrived.dedup();
    lab.finish();
    arrived
}

#[test]
fn mode_mac_stops_other_macs_and_ethertypes_alone() {
    let arrived = passing(json!({ "mode": "mac" }));
    assert!(!arrived.contains(&"another MAC".to_owned()), "{arrived:?}");
    assert!(arrived.contains(&"another IPv4 address".to_owned()), "{arrived:?}");
    assert!(arrived.contains(&"to be the gateway, by ARP".to_owned()), "{arrived:?}");
}

#[test]
fn modes_observe_and_off_stop_nothing() {
    for mode in ["observe", "off"] {
        let arrived = passing(json!({ "mode": mode }));
        assert_eq!(arrived.len(), 10, "mode {mode}: {arrived:?}");
    }
}

#[test]
fn a_dhcp_client_may_ask_where_the_attachment_says_so() {
    for (allowed, guard) in
        [(true, json!({ "mode": "full", "dhcp": true })), (false, json!({ "mode": "full" }))]
    {
        let lab = Lab::usual();
        let pod = lab.pod("a").key("guard", guard).up();
        let server = lab.gateway().wire();
        let client = Identity { v4: Ipv4Addr::UNSPECIFIED, ..Identity::of(&pod) };
        let everyone = Identity { mac: e2e::Mac([0xff; 6]), v4: Ipv4Addr::BROADCAST, ..client };
        let discover = udp(client, everyone, (68, 67));
        pod.send_raw(&discover);
        let marker = udp(Identity::of(&pod), everyone, (MARKER_PORT, 9));
        pod.send_raw(&marker);
        let seen = server.all_about(ARRIVES_WITHIN, &marker).expect("the marker");
        assert_eq!(seen.contains(&discover), allowed, "dhcp: {allowed}");
        lab.finish();
    }
}

#[test]
fn a_pod_that_keeps_pretending_is_one_event() {
    let lab = Lab::usual();
    let (attacker, victim) = (lab.pod("attacker").up(), lab.pod("victim").up());
    let frames = hostile(Identity::of(&attacker), Identity::of(&victim), gateway(&lab));
    let arrived = fire(&attacker, &victim, &frames, &[victim.wire()]);
    assert!(arrived.is_empty(), "these got through: {arrived:?}");
    lab.eventually(COUNTED_WITHIN_SECONDS, "the offender is told of", || {
        let events = lab.agent().agentctl(&["events"]).map_err(|error| format!("{error:#}"))?.stdout;
        match events.lines().filter(|line| line.contains("GuardDrops")).count() {
            1 => Ok(()),
            told => Err(format!("{told} times in\n{events}")),
        }
    });
    lab.finish();
}
