//! What is known of a bridge's tables, and what follows from not knowing.

use openflow::{Match, TableId};
use tokio::time::Instant;

use super::*;
use crate::dataplane::flows::ConnectError;

const BRIDGE: &str = "br1";

fn flow(slot: u32) -> Flow {
    let cookie = Cookie { kind: 1, slot }.encode();
    Flow::new(TableId(220)).priority(10).cookie(cookie).matching(Match::new().in_port(OfPort(slot)))
}

fn known(slots: &[u32], foreign: &[Option<OfPort>]) -> Tables {
    let actual: FlowSet = slots.iter().map(|slot| (flow(*slot).key(), flow(*slot))).collect();
    let table = Table {
        epoch: 7,
        actual: Some(actual),
        foreign: Foreign(foreign.iter().copied().collect()),
        ..Table::default()
    };
    let mut tables = Tables::new(220);
    tables.bridges.insert(BRIDGE.to_owned(), table);
    tables
}

fn connected(epoch: u64) -> Connection {
    Connection::Connected { epoch, version: openflow::Version::V15, datapath_id: 1, since: Instant::now() }
}

#[test]
fn a_slot_is_off_a_bridge_only_when_that_was_seen() {
    let mut tables = known(&[1, 2], &[]);
    assert!(tables.may_hold(BRIDGE, 2) && !tables.may_hold(BRIDGE, 3));
    tables.doubt(BRIDGE);
    assert!(tables.may_hold(BRIDGE, 3), "what is in doubt may be there");
    assert!(tables.may_hold("br9", 3), "a bridge that was never read may hold anything");
}

#[test]
fn a_bridge_that_could_not_be_read_stays_in_sight_and_what_was_known_of_it_too() {
    let mut tables = known(&[1], &[]);
    tables.remember(BRIDGE);
    tables.remember("br9");
    assert_eq!(tables.counts()[BRIDGE].present, 1);
    assert_eq!(tables.counts()["br9"].present, 0);
    tables.doubt_all();
    assert_eq!(tables.counts()[BRIDGE].present, 0);
}

#[test]
fn what_others_changed_is_counted_and_what_a_new_connection_lacks_is_not() {
    let left = |mut tables: Tables| {
        tables.doubt_all();
        tables.doubt_all();
        tables.bridges.remove(BRIDGE).unwrap()
    };
    let found = |slots: &[u32]| known(slots, &[]).bridges[BRIDGE].actual.clone().unwrap();
    let table = left(known(&[1, 2], &[]));
    assert_eq!(table.disturbed(7, &found(&[1, 2])), 0);
    assert_eq!(table.disturbed(7, &found(&[2, 3, 4])), 3, "one is gone, two have joined");
    assert_eq!(table.disturbed(8, &found(&[])), 0, "vswitchd was started anew");
    let mut tables = known(&[1], &[]);
    tables.doubt(BRIDGE);
    assert_eq!(left(tables).disturbed(7, &found(&[])), 0, "a write in doubt is nobody else's doing");
}

#[test]
fn frames_are_taken_for_steered_unless_the_tables_say_otherwise_on_this_very_connection() {
    let port = Some(OfPort(5));
    let free = known(&[], &[]);
    assert!(!free.is_steered(BRIDGE, Some(&connected(7)), port));
    let down = Connection::Down { since: Instant::now(), error: ConnectError::NotTried.into() };
    for (at, number) in
        [(Some(connected(8)), port), (Some(down), port), (None, port), (Some(connected(7)), None)]
    {
        assert!(free.is_steered(BRIDGE, at.as_ref(), number), "{at:?} {number:?}");
    }
    assert!(free.is_steered("br9", Some(&connected(7)), port));
}

#[test]
fn a_foreign_flow_concerns_the_port_it_names_or_all() {
    let one = known(&[], &[Some(OfPort(5))]);
    assert!(one.is_steered(BRIDGE, Some(&connected(7)), Some(OfPort(5))));
    assert!(!one.is_steered(BRIDGE, Some(&connected(7)), Some(OfPort(6))));
    let all = known(&[], &[None]);
    assert!(all.is_steered(BRIDGE, Some(&connected(7)), Some(OfPort(6))));
}
