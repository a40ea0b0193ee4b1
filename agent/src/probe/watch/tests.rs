//! The book of conflicts: what is a claim, when it is told and when it ends.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::{prop_assert, proptest};

use super::super::{Said, Sighting};
use super::{ConflictBook, Holder, KEEP, MIGRATION, NEWS_EVERY, PAGES, PAGES_PER_ADDRESS, QUIET};
use crate::model::{EndpointId, Mac};

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn ip() -> IpAddr {
    "10.1.2.3".parse().unwrap()
}

fn claim(mac: Mac, at: Duration) -> Sighting {
    Sighting { address: ip(), mac, said: Said::Claims, at, ifindex: 7 }
}

fn mac(number: u64) -> Mac {
    let [.., a, b, c, d] = number.to_be_bytes();
    Mac([6, 0, a, b, c, d])
}

fn pod(endpoint: &EndpointId) -> Holder<'_> {
    Holder { endpoint, mac: OWN, vm: false }
}

fn vm(endpoint: &EndpointId) -> Holder<'_> {
    Holder { endpoint, mac: OWN, vm: true }
}

#[test]
fn a_claim_is_told_once_and_counted_ever_after() {
    let (id, mut book) = (EndpointId::new("c", "eth0"), ConflictBook::default());
    let began = book.note(pod(&id), &claim(OTHER, secs(100))).unwrap();
    assert_eq!((began.mac, began.address, began.at), (OTHER, ip(), secs(100)));
    assert_eq!(book.note(pod(&id), &claim(OTHER, secs(130))), None);
    let views = book.views();
    let [view] = &views[..] else { panic!("{views:?}") };
    assert_eq!((view.first_seen, view.last_seen, view.count), (secs(100), secs(130), 2));
    assert!(view.active && !view.at_add);
}

#[test]
fn silence_ends_it_and_a_new_claim_begins_it_again() {
    let (id, mut book) = (EndpointId::new("c", "eth0"), ConflictBook::default());
    book.note(pod(&id), &claim(OTHER, secs(100)));
    assert_eq!(book.deadline(), Some(secs(100) + QUIET));
    assert!(!book.expire(secs(99) + QUIET));
    assert!(book.expire(secs(100) + QUIET));
    assert!(!book.views()[0].active);
    assert!(book.note(pod(&id), &claim(OTHER, secs(200))).is_some());
    assert!(book.views()[0].active);
    assert!(book.expire(secs(200) + KEEP));
    assert_eq!((book.views(), book.deadline()), (vec![], None));
}

#[test]
fn a_probe_of_a_held_address_is_no_conflict_but_at_add_it_is() {
    let (id, mut book) = (EndpointId::new("c", "eth0"), ConflictBook::default());
    let probe = Sighting { said: Said::Probes, ..claim(OTHER, secs(1)) };
    assert_eq!(book.note(pod(&id), &probe), None);
    assert!(book.views().is_empty());
    assert!(book.note_at_add(pod(&id), &probe).is_some());
    assert!(book.views()[0].at_add);
}

#[test]
fn a_clone_of_a_pod_is_a_conflict_at_once() {
    let (id, mut book) = (EndpointId::new("c", "eth0"), ConflictBook::default());
    assert!(book.note(pod(&id), &claim(OWN, secs(1))).is_some());
}

#[test]
fn a_migrating_machine_is_tolerated_for_a_while() {
    let (id, mut book) = (EndpointId::new("c", "eth0"), ConflictBook::default());
    assert_eq!(book.note(vm(&id), &claim(OWN, secs(1))), None);
    assert_eq!(book.note(vm(&id), &claim(OWN, secs(1) + MIGRATION)), None);
    assert!(book.views().is_empty());
    assert!(book.note(vm(&id), &claim(OWN, secs(2) + MIGRATION)).is_some());
    assert!(book.views()[0].active);
}

#[test]
fn each_migration_has_its_own_time() {
    let (id, mut book) = (EndpointId::new("c", "eth0"), ConflictBook::default());
    book.note(vm(&id), &claim(OWN, secs(1)));
    assert!(book.expire(secs(1) + QUIET));
    assert_eq!(book.note(vm(&id), &claim(OWN, secs(2) + QUIET)), None);
}

#[test]
fn a_foreign_mac_is_no_migration() {
    let (id, mut book) = (EndpointId::new("c", "eth0"), ConflictBook::default());
    assert!(book.note(vm(&id), &claim(OTHER, secs(1))).is_some());
}

#[test]
fn changing_macs_fill_neither_the_book_nor_the_log() {
    let (id, mut book) = (EndpointId::new("c", "eth0"), ConflictBook::default());
    let news = (0..100).filter_map(|i| book.note(pod(&id), &claim(mac(i), Duration::from_millis(i)))).count();
    assert_eq!((news, book.views().len()), (1, PAGES_PER_ADDRESS));
    assert!(book.note(pod(&id), &claim(mac(1000), NEWS_EVERY)).is_some());
    assert!(book.views().iter().any(|view| view.mac == mac(1000)), "the newest claimant is in the book");
}

#[test]
fn endpoints_that_are_gone_leave_only_what_failed_their_add() {
    let (gone, failed) = (EndpointId::new("gone", "eth0"), EndpointId::new("failed", "eth0"));
    let mut book = ConflictBook::default();
    book.note(pod(&gone), &claim(OTHER, secs(1)));
    book.note_at_add(pod(&failed), &claim(OTHER, secs(1)));
    book.retain_endpoints(|_| false);
    let left: Vec<_> = book.views().into_iter().map(|view| view.endpoint).collect();
    assert_eq!(left, [failed]);
    assert!(!book.views()[0].active, "it is history");
}

proptest! {
    #[test]
    fn the_book_is_bounded_whatever_comes(seen: Vec<(u16, u8, bool, u16)>) {
        let mut book = ConflictBook::default();
        for (endpoint, from, at_add, at) in seen {
            let id = EndpointId::new(endpoint.to_string(), "eth0");
            let sighting = claim(mac(from.into()), secs(at.into()));
            if at_add { book.note_at_add(pod(&id), &sighting) } else { book.note(pod(&id), &sighting) };
        }
        prop_assert!(book.views().len() <= PAGES);
        book.expire(secs(u64::from(u16::MAX)) + KEEP);
        prop_assert!(book.views().is_empty() && book.deadline().is_none());
    }
}

#[test]
fn many_endpoints_share_the_book() {
    let mut book = ConflictBook::default();
    for i in 0..2 * u64::try_from(PAGES).unwrap() {
        let id = EndpointId::new(i.to_string(), "eth0");
        book.note(pod(&id), &claim(OTHER, secs(i)));
    }
    assert_eq!(book.views().len(), PAGES);
}
