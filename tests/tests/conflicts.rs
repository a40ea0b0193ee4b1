//! Someone else has the pod's address: at ADD it fails, later it is told.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use e2e::{Lab, Mac, Pod, arp, control, frames, meanwhile};

/// The specification's bound for noticing a claim in a pod's life.
const NOTICED_WITHIN_SECONDS: u64 = 10;

/// CNI error code of an address conflict.
const CONFLICT: u64 = 100;

#[track_caller]
fn assert_add_meets(pod: &Pod<'_>, foreign: Mac) {
    let complaint = pod.add().failed_with(CONFLICT);
    assert!(complaint.contains(&foreign.to_string()), "the other's MAC {foreign} in: {complaint}");
    assert!(!pod.links().contains(&"eth0".to_owned()), "a failed ADD leaves no interface");
}

#[test]
fn an_ipv4_address_in_use_fails_the_add_and_is_free_again_later() {
    let lab = Lab::usual();
    let thief = lab.foreign_host("thief", &["10.0.0.5/24"]);
    let pod = lab.pod("a").address("10.0.0.5/24").place();
    assert_add_meets(&pod, thief.mac());
    lab.assert_nothing_left();

    thief.unclaim("10.0.0.5/24");
    pod.add().succeeded();
    pod.assert_reaches(lab.gateway_ips()[0]);
    lab.finish();
}

#[test]
fn an_ipv6_address_in_use_fails_the_add() {
    let lab = Lab::usual();
    let thief = lab.foreign_host("thief", &["fd00::5/64"]);
    let pod = lab.pod("a").address("10.0.0.5/24").address("fd00::5/64").place();
    assert_add_meets(&pod, thief.mac());
    lab.assert_nothing_left();
    lab.finish();
}

#[test]
fn an_address_in_use_on_another_vlan_is_none_of_ours() {
    let lab = Lab::usual();
    let _far = lab.foreign_host_on(20, "far", &["10.0.0.5/24"]);
    lab.pod("a").vlan(10).address("10.0.0.5/24").up();
    lab.finish();
}

#[test]
fn two_hosts_that_probe_for_one_address_at_once_are_a_conflict() {
    let lab = Lab::usual();
    let rival = lab.foreign_host("rival", &[]);
    let wanted = Ipv4Addr::new(10, 0, 0, 5);
    let probe = arp(1, (rival.mac(), Ipv4Addr::UNSPECIFIED), (Mac([0; 6]), wanted), None);
    let pod = lab.pod("a").address("10.0.0.5/24").place();
    let wire = rival.wire();
    let ask = || wire.send(&probe).expect("a probe");
    let answer = meanwhile(ask, Duration::from_millis(20), || pod.add());
    assert!(answer.failed_with(CONFLICT).contains(&rival.mac().to_string()));
    lab.finish();
}

#[test]
fn a_conflict_only_warns_where_the_policy_says_so() {
    let lab = Lab::with_config("[conflict]\npolicy = \"warn\"");
    let thief = lab.foreign_host("thief", &["10.0.0.5/24"]);
    let pod = lab.pod("a").address("10.0.0.5/24").up();
    let found = noticed(&lab, &pod, "10.0.0.5", thief.mac());
    assert!(found.at_add, "{found:?}");
    lab.finish();
}

#[test]
fn a_claim_on_a_living_pods_ipv4_address_is_noticed() {
    let lab = Lab::usual();
    let pod = lab.pod("a").address("10.0.0.5/24").up();
    let thief = lab.foreign_host("thief", &["10.0.0.66/24"]);
    assert_eq!(lab.agent().conflicts().expect("conflicts"), []);

    let began = Instant::now();
    thief.claim("10.0.0.5/24");
    thief.announce(Ipv4Addr::new(10, 0, 0, 5));
    let found = noticed(&lab, &pod, "10.0.0.5", thief.mac());
    e2e::note(&format!("a foreign ARP claim was noticed after {:?}", began.elapsed()));
    assert!(!found.at_add, "{found:?}");
    assert_eq!(found.bridge, "br1");
    lab.finish();
}

#[test]
fn a_claim_on_a_living_pods_ipv6_address_is_noticed() {
    let lab = Lab::usual();
    let pod = lab.pod("a").address("10.0.0.5/24").address("fd00::5/64").up();
    let thief = lab.foreign_host("thief", &["fd00::66/64"]);
    let began = Instant::now();
    let claimed = "fd00::5".parse().expect("an address");
    thief.send_raw(&frames::unsolicited_advertisement(thief.mac(), claimed));
    noticed(&lab, &pod, "fd00::5", thief.mac());
    e2e::note(&format!("a foreign neighbour advertisement was noticed after {:?}", began.elapsed()));
    lab.finish();
}

#[track_caller]
fn noticed(lab: &Lab, pod: &Pod<'_>, address: &str, foreign: Mac) -> control::Conflict {
    lab.eventually(NOTICED_WITHIN_SECONDS, &format!("{foreign}'s claim on {address} is listed"), || {
        let all = lab.agent().conflicts().map_err(|error| format!("{error:#}"))?;
        let ours = |one: &&control::Conflict| {
            pod.is_in(one.endpoint.as_ref())
                && one.address == address
                && one.foreign_mac == foreign.to_string()
        };
        all.iter().find(ours).cloned().ok_or_else(|| format!("listed: {all:?}"))
    })
}
