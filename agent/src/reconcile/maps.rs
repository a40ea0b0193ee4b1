//! What has to be written to the eBPF maps, entry by entry, and which entries wait after the kernel refused them.
//!
//! The kernel carries a write out or leaves the map as it was, so an entry that it refused says nothing about any other:
//! the rest is written, the refused one stays known as it was and is tried again ever more seldom. Only when the last
//! of them has found its end are the maps read back, once: half of a refused write may have been carried out.

use std::collections::BTreeMap;
use std::time::Duration;

use ebpf_abi::{AddrKey, BridgeFlags, L2Key, Local, Port, SrcKey, SrcVal, VlanKey};

use super::memory::Fault;
use crate::model::{Stage, StageError};
use crate::plan::bpf::{Holder, Tables};
use crate::plan::diff::diff;
use crate::report::chain;

/// One write; without a value the entry is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Local(L2Key, Option<Local>),
    Port { ifindex: u32, port: Option<Port>, new_owner: bool },
    Watch(AddrKey, Option<Holder>),
    Source(SrcKey, Option<SrcVal>),
    Vlan(VlanKey, bool),
    Bridge(u32, BridgeFlags),
}

/// The entry that a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Local(L2Key),
    Port(u32),
    Watch(AddrKey),
    Source(SrcKey),
    Vlan(VlanKey),
    Bridge(u32),
}

/// Whom a refused write concerns, as far as the entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Interface(u32),
    Slot(u32),
    Nobody,
}

/// Entries that the kernel refused.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<Place, (Owner, Fault)>);

impl Refused {
    /// Everyone that a refused write concerns, and what is wrong.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Owner, Fault)> {
        self.0.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn waits(&self, place: Place, now: Duration) -> bool {
        self.0.get(&place).is_some_and(|(_, fault)| now < fault.retry_at)
    }

    fn note(&mut self, place: Place, owner: Owner, text: String, now: Duration) {
        let before = self.0.get(&place).map(|(_, fault)| fault);
        if before.is_none_or(|fault| fault.error.to_string() != text) {
            tracing::warn!(?place, error = text, "the kernel refused a map entry, trying again");
        }
        let fault = Fault::again(before, Stage::Bpf, StageError::Guard(text), now);
        self.0.insert(place, (owner, fault));
    }
}

/// Writes the difference, uplinks apart, but for what was refused and waits. What is not written is in `desired` as it is
/// in `actual` afterwards.
pub(super) fn write<E: std::error::Error>(
    desired: &mut Tables,
    actual: &Tables,
    refused: &mut Refused,
    now: Duration,
    mut carry_out: impl FnMut(&Write) -> Result<(), E>,
) {
    let writes = writes(desired, actual);
    refused.0.retain(|place, _| writes.iter().any(|write| write.place() == *place));
    for write in writes {
        let place = write.place();
        if refused.waits(place, now) {
            keep(desired, actual, place);
            continue;
        }
        match carry_out(&write) {
            Ok(()) => drop(refused.0.remove(&place)),
            Err(error) => {
                refused.note(place, write.owner(), chain(&error), now);
                keep(desired, actual, place);
            }
        }
    }
}

/// The difference in the order in which it has to be written: what lets a pod send comes after what limits it, and goes
/// before it.
fn writes(desired: &Tables, actual: &Tables) -> Vec<Write> {
    let locals = diff(&desired.locals, &actual.locals);
    let watches = diff(&desired.watches, &actual.watches);
    let ports = diff(&desired.ports, &actual.ports);
    let sources = diff(&desired.sources, &actual.sources);
    let bridges = diff(&desired.bridges, &actual.bridges);
    let removed_port = |ifindex| Write::Port { ifindex, port: None, new_owner: false };
    let set_port = |(ifindex, port): (u32, Port)| {
        let new_owner = actual.ports.get(&ifindex).is_none_or(|old| old.generation != port.generation);
        Write::Port { ifindex, port: Some(port), new_owner }
    };
    let mut writes = Vec::new();
    writes.extend(locals.to_remove.into_iter().map(|key| Write::Local(key, None)));
    writes.extend(ports.to_remove.into_iter().map(removed_port));
    writes.extend(watches.to_remove.into_iter().map(|key| Write::Watch(key, None)));
    writes.extend(sources.to_remove.into_iter().map(|key| Write::Source(key, None)));
    writes.extend(actual.vlans.difference(&desired.vlans).map(|key| Write::Vlan(*key, false)));

    writes.extend(bridges.to_set.into_iter().map(|(index, flags)| Write::Bridge(index, flags)));
    writes.extend(bridges.to_remove.into_iter().map(|index| Write::Bridge(index, BridgeFlags::NONE)));
    writes.extend(sources.to_set.into_iter().map(|(key, value)| Write::Source(key, Some(value))));
    writes.extend(desired.vlans.difference(&actual.vlans).map(|key| Write::Vlan(*key, true)));
    writes.extend(ports.to_set.into_iter().map(set_port));
    writes.extend(watches.to_set.into_iter().map(|(key, holder)| Write::Watch(key, Some(holder))));
    writes.extend(locals.to_set.into_iter().map(|(key, local)| Write::Local(key, Some(local))));
    writes
}

impl Write {
    fn place(&self) -> Place {
        match self {
            Self::Local(key, _) => Place::Local(*key),
            Self::Port { ifindex, .. } => Place::Port(*ifindex),
            Self::Watch(key, _) => Place::Watch(*key),
            Self::Source(key, _) => Place::Source(*key),
            Self::Vlan(key, _) => Place::Vlan(*key),
            Self::Bridge(index, _) => Place::Bridge(*index),
        }
    }

    fn owner(&self) -> Owner {
        match self {
            Self::Port { ifindex, .. } => Owner::Interface(*ifindex),
            Self::Watch(_, Some(holder)) => Owner::Slot(holder.slot),
            Self::Source(key, Some(_)) => Owner::Slot(key.body.slot),
            Self::Vlan(key, true) => Owner::Slot(key.slot),
            // Without the first a pod is as well as with it, only slower; what is removed need not be of those who have the
            // slot now.
            Self::Local(..) | Self::Watch(..) | Self::Source(..) | Self::Vlan(..) | Self::Bridge(..) => {
                Owner::Nobody
            }
        }
    }
}

/// Puts one entry of `desired` back to what it is in `actual`.
fn keep(desired: &mut Tables, actual: &Tables, place: Place) {
    match place {
        Place::Local(key) => restore(&mut desired.locals, &actual.locals, key),
        Place::Port(key) => restore(&mut desired.ports, &actual.ports, key),
        Place::Watch(key) => restore(&mut desired.watches, &actual.watches, key),
        Place::Source(key) => restore(&mut desired.sources, &actual.sources, key),
        Place::Bridge(key) => restore(&mut desired.bridges, &actual.bridges, key),
        Place::Vlan(key) if actual.vlans.contains(&key) => drop(desired.vlans.insert(key)),
        Place::Vlan(key) => drop(desired.vlans.remove(&key)),
    }
}

/// Puts one entry back.
pub(super) fn restore<K: Ord, V: Clone>(desired: &mut BTreeMap<K, V>, actual: &BTreeMap<K, V>, key: K) {
    match actual.get(&key) {
        Some(value) => drop(desired.insert(key, value.clone())),
        None => drop(desired.remove(&key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{RETRY_FIRST, RETRY_LAST};

    const T0: Duration = Duration::from_secs(1_000);

    fn source(slot: u32) -> SrcKey {
        SrcKey::v4(slot, [10, 0, 0, 1], 32)
    }

    fn with_sources(slots: &[u32]) -> Tables {
        let sources = slots.iter().map(|slot| (source(*slot), SrcVal::FOREVER)).collect();
        Tables { sources, vlans: [VlanKey::new(1, 7)].into(), ..Tables::default() }
    }

    /// A kernel that has no room for these slots; what it was asked for.
    fn write_without(
        full: &[u32],
        wanted: &Tables,
        actual: &mut Tables,
        refused: &mut Refused,
        now: Duration,
    ) -> usize {
        let mut desired = wanted.clone();
        let mut asked = 0;
        write(&mut desired, actual, refused, now, |write| {
            asked += 1;
            match write {
                Write::Source(key, _) if full.contains(&key.body.slot) => {
                    Err(std::io::Error::other("no room"))
                }
                _ => Ok(()),
            }
        });
        *actual = desired;
        asked
    }

    #[test]
    fn an_entry_that_is_refused_holds_up_no_other_and_waits_ever_longer() {
        let (mut actual, mut refused) = (Tables::default(), Refused::default());
        let wanted = with_sources(&[1, 2, 3]);
        assert_eq!(write_without(&[2], &wanted, &mut actual, &mut refused, T0), 4);
        assert_eq!(actual, with_sources(&[1, 3]));
        assert_eq!(refused.iter().map(|(owner, _)| *owner).collect::<Vec<_>>(), [Owner::Slot(2)]);
        let (mut now, mut asked) = (T0, 0);
        while now < T0 + RETRY_LAST * 10 {
            asked += write_without(&[2], &wanted, &mut actual, &mut refused, now);
            now += RETRY_FIRST / 2;
        }
        assert!((10..30).contains(&asked), "asked {asked} times");
        assert_eq!(write_without(&[], &wanted, &mut actual, &mut refused, now + RETRY_LAST), 1);
        assert!(refused.is_empty());
        assert_eq!(actual, wanted);
    }

    #[test]
    fn one_that_cannot_be_removed_stays_known_and_one_that_is_wanted_no_more_is_forgotten() {
        let (mut actual, mut refused) = (with_sources(&[1, 2]), Refused::default());
        write_without(&[1], &with_sources(&[2]), &mut actual, &mut refused, T0);
        assert_eq!(actual, with_sources(&[1, 2]), "it is still there");
        assert_eq!(refused.iter().map(|(owner, _)| *owner).collect::<Vec<_>>(), [Owner::Nobody]);
        assert_eq!(write_without(&[1], &with_sources(&[1, 2]), &mut actual, &mut refused, T0), 0);
        assert!(refused.is_empty(), "nothing is to be written any more");
    }

    #[test]
    fn what_limits_a_pod_is_written_before_what_lets_it_send_and_goes_after_it() {
        let key = L2Key::new(0, 0, [2, 0, 0, 0, 0, 1]);
        let local = Local { ifindex: 5, slot: 1, mtu: 1500, flags: ebpf_abi::LocalFlags::default() };
        let all = Tables { locals: BTreeMap::from([(key, local)]), ..with_sources(&[1]) };
        let none = Tables { vlans: [].into(), ..Tables::default() };
        let places = |writes: Vec<Write>| writes.iter().map(Write::place).collect::<Vec<_>>();
        let (of_local, of_source, of_vlan) =
            (Place::Local(key), Place::Source(source(1)), Place::Vlan(VlanKey::new(1, 7)));
        assert_eq!(places(writes(&all, &none)), [of_source, of_vlan, of_local]);
        assert_eq!(places(writes(&none, &all)), [of_local, of_source, of_vlan]);
    }
}
