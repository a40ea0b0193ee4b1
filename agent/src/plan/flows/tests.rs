//! The flows of an endpoint, as text: what the switch should print.

use super::*;
use crate::model::{Guard, GuardMode, PortVlan, Slot};

fn bound() -> Bound {
    Bound {
        slot: Slot { index: 1, generation: 1 },
        ofport: OfPort(1),
        vlan: PortVlan::Access(10),
        guard: Guard { mode: GuardMode::Full, dhcp: false, slaac: false, vm: false },
        sources: AcceptedSources {
            mac: "02:00:00:00:00:01".parse().unwrap(),
            ipv4: vec!["10.0.0.5".parse().unwrap()],
            ipv6: Vec::new(),
        },
    }
}

fn text(endpoints: &[Bound]) -> String {
    desired(Block::new(220), endpoints).values().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn check(endpoint: &Bound, expected: &str) {
    let flows = text(std::slice::from_ref(endpoint));
    assert!(flows.lines().any(|line| line == expected), "{expected}\n--- not in ---\n{flows}");
}

#[test]
fn a_bridge_without_endpoints_has_no_flows() {
    assert_eq!(text(&[]), "");
}

#[test]
fn an_ipv4_endpoint_has_17_flows_beside_the_shared_ones() {
    let shared = 6;
    assert_eq!(text(&[bound()]).lines().count() - shared, 17);
}

#[test]
fn the_hook_takes_what_is_not_accepted_yet() {
    check(
        &bound(),
        "cookie=0x5550010000000001,table=0,priority=65520,reg15=0/0x80000000,in_port=1 actions=goto_table:220",
    );
}

#[test]
fn an_endpoint_without_ipv6_drops_it_in_the_first_table() {
    check(
        &bound(),
        "cookie=0x5550010800000001,table=220,priority=200,ipv6,in_port=1,dl_src=02:00:00:00:00:01 actions=drop",
    );
}

#[test]
fn mode_off_leaves_only_the_shared_flows() {
    let mut endpoint = bound();
    endpoint.guard.mode = GuardMode::Off;
    assert!(!text(&[endpoint]).contains("in_port"));
}

#[test]
fn observe_counts_under_the_reason_and_accepts() {
    let mut endpoint = bound();
    endpoint.guard.mode = GuardMode::Observe;
    let flows = text(&[endpoint]);
    assert!(flows.lines().filter(|l| l.contains("in_port")).all(|l| !l.contains("drop")), "{flows}");
}

#[test]
fn two_endpoints_share_no_flow() {
    let mut other = bound();
    other.slot.index = 2;
    other.ofport = OfPort(2);
    let one = desired(Block::new(220), &[bound()]).len();
    assert_eq!(desired(Block::new(220), &[bound(), other]).len(), 2 * one - 6);
}

#[test]
fn cookies_name_reason_and_slot() {
    let cookie = Cookie { kind: Reason::Arp as u8, slot: 77 };
    assert_eq!(cookie.encode(), 0x5550_0105_0000_004d);
    assert_eq!(Cookie::parse(cookie.encode()), Some(cookie));
    assert_eq!(Cookie::parse(0x1234), None);
}

#[test]
fn only_our_block_and_our_hooks_are_ours() {
    let block = Block::new(220);
    let foreign_hook = Flow::new(TableId(0)).priority(Block::HOOK_PRIORITY);
    assert!(!block.owns(&foreign_hook.key(), 0));
    assert!(block.owns(&foreign_hook.key(), Cookie { kind: 0, slot: 3 }.encode()));
    assert!(block.owns(&Flow::new(TableId(229)).key(), 0));
    assert!(!block.owns(&Flow::new(TableId(230)).key(), Cookie { kind: 0, slot: 3 }.encode()));
}
