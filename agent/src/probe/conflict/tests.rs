//! The probe of addresses: what is asked when, and what counts as a conflict.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use super::super::{Said, Sighting, frames};
use super::{ConflictProbe, Verdict};
use crate::model::{Mac, ProbeTiming};

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
const TIMING: ProbeTiming =
    ProbeTiming { count: 3, interval: Duration::from_millis(100), wait: Duration::from_millis(100) };

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn addresses() -> Vec<IpAddr> {
    vec!["10.1.2.3".parse().unwrap(), "2001:db8::3".parse().unwrap()]
}

fn start() -> ConflictProbe {
    ConflictProbe::start(OWN, addresses(), TIMING, ms(1000))
}

fn sighting(address: &str, mac: Mac, said: Said, at: Duration) -> Sighting {
    Sighting { address: address.parse().unwrap(), mac, said, at, ifindex: 7 }
}

#[test]
fn three_rounds_of_both_families_then_a_wait() {
    let mut probe = start();
    let round: Vec<_> = addresses().iter().map(|address| frames::probe(OWN, *address)).collect();
    for at in [1000, 1100, 1200] {
        assert_eq!(probe.deadline(), Some(ms(at)));
        assert_eq!(probe.tick(ms(at)), round);
        assert!(probe.tick(ms(at)).is_empty(), "a second tick at the same time sends nothing");
    }
    assert_eq!((probe.deadline(), probe.verdict()), (Some(ms(1300)), None));
    assert!(probe.tick(ms(1299)).is_empty());
    assert_eq!(probe.verdict(), None);
    assert!(probe.tick(ms(1300)).is_empty());
    assert_eq!((probe.deadline(), probe.verdict()), (None, Some(Verdict::Clear)));
}

#[test]
fn a_claim_ends_the_probe_at_once() {
    for address in ["10.1.2.3", "2001:db8::3"] {
        let mut probe = start();
        probe.tick(ms(1000));
        probe.see(&sighting(address, OTHER, Said::Claims, ms(1001)));
        let conflict = Verdict::Conflict { address: address.parse().unwrap(), mac: OTHER };
        assert_eq!((probe.verdict(), probe.deadline()), (Some(conflict), None));
        assert!(probe.tick(ms(1100)).is_empty());
    }
}

#[test]
fn another_host_probing_at_the_same_time_is_a_conflict() {
    let mut probe = start();
    probe.see(&sighting("10.1.2.3", OTHER, Said::Probes, ms(1250)));
    assert!(matches!(probe.verdict(), Some(Verdict::Conflict { .. })));
}

#[test]
fn our_own_frames_and_other_addresses_mean_nothing() {
    let mut probe = start();
    probe.see(&sighting("10.1.2.3", OWN, Said::Probes, ms(1001)));
    probe.see(&sighting("10.1.2.4", OTHER, Said::Claims, ms(1001)));
    assert_eq!(probe.verdict(), None);
}

#[test]
fn what_was_seen_before_the_start_does_not_count() {
    let mut probe = start();
    assert!(!probe.see(&sighting("10.1.2.3", OTHER, Said::Claims, ms(999))));
    assert_eq!(probe.verdict(), None);
    assert!(probe.see(&sighting("10.1.2.3", OTHER, Said::Claims, ms(1000))));
    assert!(probe.verdict().is_some());
}

#[test]
fn a_verdict_is_final() {
    let mut probe = start();
    for at in [1000, 1100, 1200, 1300] {
        probe.tick(ms(at));
    }
    probe.see(&sighting("10.1.2.3", OTHER, Said::Claims, ms(1301)));
    assert_eq!(probe.verdict(), Some(Verdict::Clear));
}

#[test]
fn a_stalled_driver_sends_each_round_apart_and_still_waits() {
    let mut probe = start();
    assert_eq!(probe.tick(ms(5000)).len(), 2);
    assert_eq!(probe.deadline(), Some(ms(5100)));
    probe.tick(ms(5100));
    probe.tick(ms(5200));
    assert_eq!(probe.deadline(), Some(ms(5300)));
}

#[test]
fn nothing_to_probe_is_clear_from_the_start() {
    let none = ConflictProbe::start(OWN, Vec::new(), TIMING, ms(0));
    assert_eq!((none.verdict(), none.deadline()), (Some(Verdict::Clear), None));
    let off = ConflictProbe::start(OWN, addresses(), ProbeTiming { count: 0, ..TIMING }, ms(0));
    assert_eq!(off.verdict(), Some(Verdict::Clear));
}

proptest! {
    #[test]
    fn driven_by_its_deadlines_it_sends_count_rounds_and_ends(
        count in 1_u32..10,
        interval in 0_u64..500,
        wait in 0_u64..500,
        lag in 0_u64..50,
    ) {
        let timing = ProbeTiming { count, interval: ms(interval), wait: ms(wait) };
        let mut probe = ConflictProbe::start(OWN, addresses(), timing, ms(0));
        let mut sent = 0;
        for _ in 0..=count {
            let Some(deadline) = probe.deadline() else { break };
            sent += probe.tick(deadline + ms(lag)).len();
        }
        prop_assert_eq!(sent, usize::try_from(count).unwrap() * 2);
        prop_assert!(probe.verdict() == Some(Verdict::Clear));
    }
}
