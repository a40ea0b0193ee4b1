//! What the guard's flows have counted, over the lives of the flows: a rule that is written anew begins at zero, and so do
//! all of them when vswitchd does. Every dump is looked at; what a flow had counted before it went is kept.
//!
//! What is lost are frames between the last dump and the end of a flow that others took away: at most as long as
//! [`crate::limits::READ_BACK`]. Nothing here outlives the agent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openflow::FlowKey;

use super::FlowEntry;
use crate::plan::flows::Cookie;

/// Frames by slot and kind of the cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<(u32, u8), u64>);

impl Totals {
    pub fn of(&self, slot: u32, kind: u8) -> u64 {
        self.0.get(&(slot, kind)).copied().unwrap_or_default()
    }

    fn add(&mut self, seen: &Seen) {
        let total = self.0.entry((seen.slot, seen.kind)).or_default();
        *total = total.saturating_add(seen.packets);
    }
}

/// The books; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    // A lock, not a task: whoever holds it goes once through a list that it has already, and waits for nobody.
    books: Arc<Mutex<Books>>,
}

#[derive(Debug, Default)]
struct Books {
    /// The generation of each slot's owner.
    owners: BTreeMap<u32, u32>,
    /// What flows had counted that are gone.
    past: Totals,
    /// The flows of each bridge that had counted anything at the last dump: few, for most rules stop nothing ever.
    last: BTreeMap<String, BTreeMap<FlowKey, Seen>>,
}

/// One flow at the last dump.
#[derive(Clone, Copy, Debug)]
struct Seen {
    slot: u32,
    kind: u8,
    packets: u64,
    age: Duration,
}

impl Seen {
    fn of(entry: &FlowEntry) -> Option<Self> {
        let packets = entry.packet_count.filter(|count| *count > 0)?;
        let Cookie { slot, kind } = Cookie::parse(entry.flow.cookie).filter(|cookie| cookie.slot > 0)?;
        Some(Self { slot, kind, packets, age: entry.duration })
    }

    /// Whether `later` can be the same flow, and not one that took its place.
    fn lives_on(&self, later: &Self) -> bool {
        (self.slot, self.kind) == (later.slot, later.kind)
            && later.packets >= self.packets
            && later.age >= self.age
    }
}

impl Counts {
    /// Takes in a dump of the guard's tables of one bridge.
    pub(super) fn observe(&self, bridge: &str, flows: &[FlowEntry]) {
        let now: BTreeMap<_, _> =
            flows.iter().filter_map(|entry| Some((entry.flow.key(), Seen::of(entry)?))).collect();
        self.with(|books| {
            for (key, before) in books.last.remove(bridge).unwrap_or_default() {
                if !now.get(&key).is_some_and(|later| before.lives_on(later)) {
                    books.past.add(&before);
                }
            }
            books.last.insert(bridge.to_owned(), now);
        });
    }

    /// Forgets what was counted for owners that are gone.
    pub(super) fn keep(&self, owners: BTreeMap<u32, u32>) {
        self.with(|books| {
            if books.owners == owners {
                return;
            }
            let known = std::mem::take(&mut books.owners);
            let stays = |slot: u32| known.get(&slot).is_none_or(|was| owners.get(&slot) == Some(was));
            books.past.0.retain(|(slot, _), _| stays(*slot));
            for flows in books.last.values_mut() {
                flows.retain(|_, seen| stays(seen.slot));
            }
            books.owners = owners;
        });
    }

    pub(super) fn totals(&self) -> Totals {
        self.with(|books| {
            let mut totals = books.past.clone();
            books.last.values().flat_map(BTreeMap::values).for_each(|seen| totals.add(seen));
            totals
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        work(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use openflow::{Flow, TableId};

    use super::*;

    const ARP: u8 = 5;

    fn entry(slot: u32, priority: u16, packets: u64, age_s: u64) -> FlowEntry {
        let cookie = Cookie { kind: ARP, slot }.encode();
        FlowEntry {
            flow: Flow::new(TableId(221)).priority(priority).cookie(cookie),
            packet_count: Some(packets),
            byte_count: Some(packets * 42),
            duration: Duration::from_secs(age_s),
            idle_age: None,
        }
    }

    /// What slot 7 has stopped after each of these dumps.
    fn stopped(dumps: &[&[FlowEntry]]) -> Vec<u64> {
        let counts = Counts::default();
        let after = |dump: &&[FlowEntry]| {
            counts.observe("br1", dump);
            counts.totals().of(7, ARP)
        };
        dumps.iter().map(after).collect()
    }

    #[test]
    fn what_a_flow_counted_outlives_it() {
        let (first, none, again) = ([entry(7, 10, 4, 60)], [], [entry(7, 10, 3, 1)]);
        assert_eq!(stopped(&[&first, &none, &again, &[entry(7, 10, 5, 2)]]), [4, 4, 7, 9]);
    }

    #[test]
    fn a_flow_that_was_written_anew_is_told_by_its_age_even_if_it_counted_more() {
        assert_eq!(stopped(&[&[entry(7, 10, 4, 60)], &[entry(7, 10, 9, 1)]]), [4, 13]);
    }

    #[test]
    fn one_flow_of_several_that_goes_is_counted_once() {
        let both = [entry(7, 10, 4, 60), entry(7, 11, 6, 60)];
        assert_eq!(stopped(&[&both, &[entry(7, 11, 6, 61)], &[entry(7, 11, 7, 62)]]), [10, 10, 11]);
    }

    #[test]
    fn a_new_owner_of_a_slot_begins_at_zero() {
        let counts = Counts::default();
        counts.observe("br1", &[entry(7, 10, 4, 60)]);
        counts.keep([(7, 1), (8, 1)].into());
        assert_eq!(counts.totals().of(7, ARP), 4, "the first look at owners takes nothing away");
        counts.keep([(7, 2), (8, 1)].into());
        counts.observe("br1", &[]);
        assert_eq!(counts.totals(), Totals::default());
    }
}
