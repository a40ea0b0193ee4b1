//! The gateway is watched: it dies, comes back, changes its MAC; an ADD may insist on it.

use e2e::control::{Gateway, GatewayState};
use e2e::{Lab, Mac};

/// A quick watch, so that a story takes seconds: lost after three silent half seconds.
const QUICK: &str = "[gateway]\ninterval = \"200ms\"\ntimeout = \"300ms\"";

/// Several times what the quick watch needs for any change.
const TOLD_WITHIN_SECONDS: u64 = 10;

/// CNI error code of a gateway that is required and silent.
const SILENT: u64 = 101;

#[test]
fn a_gateway_that_dies_is_lost_and_one_that_returns_is_back() {
    let lab = Lab::with_config(QUICK);
    let pod = lab.pod("a").up();
    let mac = lab.gateway().mac();
    for address in lab.gateway_ips() {
        let watched = told(&lab, &address.to_string(), GatewayState::Reachable);
        assert_eq!(watched.macs, [mac.to_string()]);
        assert!(pod.is_in(watched.watcher.as_ref()), "{watched:?}");
    }
    lab.gateway().kill();
    for address in lab.gateway_ips() {
        told(&lab, &address.to_string(), GatewayState::Lost);
    }
    lab.gateway().revive();
    for address in lab.gateway_ips() {
        told(&lab, &address.to_string(), GatewayState::Reachable);
        pod.assert_reaches(address);
    }
    lab.finish();
}

#[test]
fn a_gateway_that_changes_its_mac_is_told_with_the_new_one() {
    let lab = Lab::with_config(QUICK);
    lab.pod("a").up();
    let address = lab.gateway_ips()[0].to_string();
    let old = lab.gateway().mac();
    told(&lab, &address, GatewayState::Reachable);
    let new = Mac([0x02, 0, 0x5e, 0, 0x53, 0x99]);
    lab.gateway().change_mac(new);
    lab.eventually(TOLD_WITHIN_SECONDS, &format!("{address} answers as {new}"), || {
        let watched = watched(&lab, &address)?;
        let changed = watched.macs.first() == Some(&new.to_string());
        if changed { Ok(()) } else { Err(format!("{watched:?}, it was {old}")) }
    });
    lab.finish();
}

#[test]
fn one_watch_serves_all_pods_of_a_vlan_and_outlives_its_watcher() {
    let lab = Lab::with_config(QUICK);
    let (a, b) = (lab.pod("a").up(), lab.pod("b").up());
    let address = lab.gateway_ips()[0].to_string();
    let first = told(&lab, &address, GatewayState::Reachable);
    assert_eq!(first.used_by, 2);
    let (watcher, other) = if a.is_in(first.watcher.as_ref()) { (&a, &b) } else { (&b, &a) };
    watcher.del().succeeded();
    lab.eventually(TOLD_WITHIN_SECONDS, "the other pod watches", || {
        let now = watched(&lab, &address)?;
        if other.is_in(now.watcher.as_ref()) && now.used_by == 1 { Ok(()) } else { Err(format!("{now:?}")) }
    });
    told(&lab, &address, GatewayState::Reachable);
    lab.finish();
}

#[test]
fn an_add_that_requires_its_gateway_fails_while_it_is_silent() {
    let lab = Lab::with_config("[gateway]\npolicy = \"require\"");
    lab.gateway().kill();
    let pod = lab.pod("a").place();
    let complaint = pod.add().failed_with(SILENT);
    assert!(complaint.contains("10.0.0.1") || complaint.contains("fd00::1"), "{complaint}");
    lab.assert_nothing_left();
    lab.gateway().revive();
    pod.add().succeeded();
    lab.finish();
}

fn watched(lab: &Lab, address: &str) -> Result<Gateway, String> {
    let all = lab.agent().gateways().map_err(|error| format!("{error:#}"))?;
    let found = all.iter().find(|one| one.address == address).cloned();
    found.ok_or_else(|| format!("{address} is not among {all:?}"))
}

#[track_caller]
fn told(lab: &Lab, address: &str, state: GatewayState) -> Gateway {
    lab.eventually(TOLD_WITHIN_SECONDS, &format!("{address} is {state:?}"), || {
        let watched = watched(lab, address)?;
        if watched.state() == state { Ok(watched) } else { Err(format!("{watched:?}")) }
    })
}
