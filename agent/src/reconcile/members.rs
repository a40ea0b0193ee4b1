//! Programs on the physical members of bridges: ordered from the hooks' thread, booked when it has done its part.
//!
//! The kernel may hold such an order up for long (`dataplane/hooks.rs`). No pod's guard depends on one, so a pass waits for
//! none; what failed is tried again ever more seldom, and shown until it is well.

use std::collections::BTreeMap;
use std::time::Duration;

use ebpf_abi::Uplink;

use super::maps::restore;
use super::memory::Fault;
use crate::dataplane::hooks::UplinkOrder;
use crate::model::{Stage, StageError};
use crate::plan::diff::diff;

/// What is known of the members, by interface index, beside what the maps say.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Names, also of those that were let go: a few for each node.
    names: BTreeMap<u32, String>,
    ordered: BTreeMap<u32, UplinkOrder>,
    faults: BTreeMap<u32, Fault>,
}

/// Stands for a bridge in the entry of a member whose program may not hang as it should.
const IN_DOUBT: u16 = u16::MAX;

impl Members {
    /// All programs are to be hung anew.
    pub(super) fn doubt(actual: &mut BTreeMap<u32, Uplink>) {
        for uplink in actual.values_mut() {
            uplink.bridge = IN_DOUBT;
        }
    }

    pub(super) fn learn(&mut self, names: impl Iterator<Item = (u32, String)>) {
        self.names.extend(names);
    }

    pub(super) fn name(&self, ifindex: u32) -> Option<&str> {
        self.names.get(&ifindex).map(String::as_str)
    }

    /// Whether an order is under way, or carried out and not booked yet.
    pub(super) fn is_ordered(&self, ifindex: u32) -> bool {
        self.ordered.contains_key(&ifindex)
    }

    /// What is wrong, for the status.
    pub(super) fn faults(&self) -> Vec<String> {
        let say = |(ifindex, fault): (&u32, &Fault)| {
            format!("uplink {}: {}", self.name(*ifindex).unwrap_or_default(), fault.error)
        };
        self.faults.iter().map(say).collect()
    }

    /// Orders what is missing, unless it is ordered already or waits after a failure. Until an order is carried out,
    /// `desired` says what `actual` does.
    pub(super) fn order(
        &mut self,
        desired: &mut BTreeMap<u32, Uplink>,
        actual: &BTreeMap<u32, Uplink>,
        now: Duration,
        ask: impl Fn(UplinkOrder) -> bool,
    ) {
        let changes = diff(desired, actual);
        let removed = changes.to_remove.into_iter().map(|ifindex| (ifindex, None));
        let set = changes.to_set.into_iter().map(|(ifindex, uplink)| (ifindex, Some(uplink)));
        let changes: Vec<_> = removed.chain(set).collect();
        self.faults.retain(|ifindex, _| changes.iter().any(|(changed, _)| changed == ifindex));
        for (ifindex, uplink) in changes {
            restore(desired, actual, ifindex);
            let waits = self.faults.get(&ifindex).is_some_and(|fault| now < fault.retry_at);
            let order =
                UplinkOrder { ifindex, ifname: self.name(ifindex).unwrap_or_default().to_owned(), uplink };
            if !waits && !self.ordered.contains_key(&ifindex) && ask(order.clone()) {
                self.ordered.insert(ifindex, order);
            }
        }
    }

    /// Books what came of an order. Maps that are read anew put every program in doubt, this one too.
    pub(super) fn book(
        &mut self,
        actual: Option<&mut BTreeMap<u32, Uplink>>,
        order: UplinkOrder,
        done: Result<(), String>,
        now: Duration,
    ) {
        let UplinkOrder { ifindex, ifname, uplink } = order;
        self.ordered.remove(&ifindex);
        let stands = match (done, uplink) {
            (Ok(()), uplink) => {
                self.faults.remove(&ifindex);
                uplink
            }
            (Err(text), uplink) => {
                let before = self.faults.get(&ifindex);
                if before.is_none_or(|fault| fault.error.to_string() != text) {
                    tracing::warn!(
                        link = ifname,
                        error = text,
                        "the program of an uplink is not as it should be, trying again"
                    );
                }
                let fault = Fault::again(before, Stage::Bpf, StageError::Guard(text), now);
                self.faults.insert(ifindex, fault);
                // Its entry may be there without its program, or the other way round.
                Some(Uplink { bridge: IN_DOUBT, ..uplink.unwrap_or(Uplink::new(IN_DOUBT)) })
            }
        };
        match (actual, stands) {
            (Some(actual), Some(uplink)) => drop(actual.insert(ifindex, uplink)),
            (Some(actual), None) => drop(actual.remove(&ifindex)),
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::limits::RETRY_FIRST;

    const T0: Duration = Duration::from_secs(1_000);

    /// A pass over the members; the interfaces for which something was ordered.
    fn pass(
        members: &mut Members,
        wanted: &[(u32, u16)],
        actual: &mut BTreeMap<u32, Uplink>,
        now: Duration,
    ) -> Vec<UplinkOrder> {
        let mut desired = wanted.iter().map(|(ifindex, bridge)| (*ifindex, Uplink::new(*bridge))).collect();
        let orders = RefCell::new(Vec::new());
        members.order(&mut desired, actual, now, |order| {
            orders.borrow_mut().push(order);
            true
        });
        *actual = desired;
        orders.into_inner()
    }

    fn indices(orders: &[UplinkOrder]) -> Vec<u32> {
        orders.iter().map(|order| order.ifindex).collect()
    }

    #[test]
    fn each_program_is_ordered_once_and_known_when_it_hangs() {
        let (mut members, mut actual) = (Members::default(), BTreeMap::from([(1, Uplink::new(0))]));
        members.learn([(2, "eth2".to_owned())].into_iter());
        let orders = pass(&mut members, &[(2, 5)], &mut actual, T0);
        assert_eq!(indices(&orders), [1, 2]);
        assert_eq!((orders[1].ifname.as_str(), orders[1].uplink), ("eth2", Some(Uplink::new(5))));
        assert_eq!(actual, BTreeMap::from([(1, Uplink::new(0))]), "nothing is done yet");
        assert!(pass(&mut members, &[(2, 5)], &mut actual, T0).is_empty());
        for order in orders {
            members.book(Some(&mut actual), order, Ok(()), T0);
        }
        assert_eq!(actual, BTreeMap::from([(2, Uplink::new(5))]));
        assert!(pass(&mut members, &[(2, 5)], &mut actual, T0).is_empty());
    }

    #[test]
    fn one_that_refuses_a_program_is_shown_waits_and_is_tried_again() {
        let (mut members, mut actual) = (Members::default(), BTreeMap::new());
        members.learn([(2, "eth2".to_owned())].into_iter());
        let fail = |members: &mut Members, actual: &mut BTreeMap<u32, Uplink>, now| {
            let order =
                pass(members, &[(2, 5), (3, 5)], actual, now).into_iter().find(|o| o.ifindex == 2).unwrap();
            members.book(Some(actual), order, Err("busy".to_owned()), now);
        };
        fail(&mut members, &mut actual, T0);
        assert_eq!(members.faults(), ["uplink eth2: busy"]);
        assert!(pass(&mut members, &[(2, 5), (3, 5)], &mut actual, T0).is_empty(), "it waits");
        fail(&mut members, &mut actual, T0 + RETRY_FIRST);
        let later = T0 + RETRY_FIRST * 3;
        let order = pass(&mut members, &[(2, 5), (3, 5)], &mut actual, later).remove(0);
        members.book(Some(&mut actual), order, Ok(()), later);
        assert!(members.faults().is_empty());
        assert_eq!(actual, BTreeMap::from([(2, Uplink::new(5))]));
    }

    #[test]
    fn one_that_is_let_go_after_a_failure_leaves_no_entry() {
        let (mut members, mut actual) = (Members::default(), BTreeMap::new());
        let order = pass(&mut members, &[(2, 5)], &mut actual, T0).remove(0);
        members.book(Some(&mut actual), order, Err("no such device".to_owned()), T0);
        let later = T0 + RETRY_FIRST;
        let order = pass(&mut members, &[], &mut actual, later).remove(0);
        assert_eq!((order.ifindex, order.uplink), (2, None));
        members.book(Some(&mut actual), order, Ok(()), later);
        assert!(actual.is_empty() && pass(&mut members, &[], &mut actual, later).is_empty());
    }
}
