//! Stage 2: the map entries are written, with the gate still closed, and the programs are attached.
//!
//! A new endpoint's programs are ordered when its port has a number: while the kernel hangs them it holds the RTNL lock,
//! which Open vSwitch needs to take the port in. Until both walls stand the host end is down, whatever comes first.
//!
//! The maps have one writer, this stage, so what was written last is known to be there. They are read once at the
//! start, when a former agent's entries are in them, and after errors (`maps.rs`).
//!
//! Programs on uplinks are ordered too (`members.rs`): no pod's guard depends on one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::maps::{self, Owner, Refused, Write};
use super::members::Members;
use super::memory::Memories;
use super::pass::{Pass, Work};
use super::{Reconciler, database};
use crate::dataplane::bpf::{Bpf, Haste};
use crate::dataplane::hooks::{Order, Outcome, PodOrder};
use crate::dataplane::links::HostVeths;
use crate::limits::{INSPECT, SETTLE_AFTER, SETTLE_PAUSE};
use crate::model::{EndpointId, Mac, Obstacle, Phase, Site, Stage, StageError};
use crate::plan::accel;
use crate::plan::bpf::{self as plan, Gateway, Tables};
use crate::report::chain;

/// What is known of the maps.
#[derive(Debug, Default)]
pub(super) struct Maps {
    /// `None`: unknown, to be read back.
    actual: Option<Tables>,
    /// The numbers that stand for bridges; never given to another bridge while the agent lives.
    indices: BTreeMap<String, u16>,
    /// Entries that the kernel refused.
    refused: Refused,
    members: Members,
}

impl Maps {
    /// The number of a bridge; a new one if it has none yet.
    pub(super) fn index(&mut self, bridge: &str) -> u16 {
        if let Some(index) = self.indices.get(bridge) {
            return *index;
        }
        let used: Vec<u16> = self.indices.values().copied().collect();
        let free = (0..=u16::MAX).find(|i| !used.contains(i)).unwrap_or(u16::MAX);
        self.indices.insert(bridge.to_owned(), free);
        free
    }

    /// Whether a program may hang there as on an uplink: also where one was ordered and its outcome is not booked yet.
    /// While the maps are unknown any interface may be one.
    pub(super) fn may_be_uplink(&self, ifindex: u32) -> bool {
        self.actual.as_ref().is_none_or(|tables| tables.uplinks.contains_key(&ifindex))
            || self.members.is_ordered(ifindex)
    }

    /// The name of an uplink that has a program.
    pub(super) fn uplink(&self, ifindex: u32) -> Option<&str> {
        self.members.name(ifindex)
    }

    /// Keeps the numbers that a former agent gave: the entries of live endpoints need no rewriting then.
    pub(super) fn adopt(&mut self, actual: &Tables, works: &BTreeMap<EndpointId, Work>) {
        for work in works.values() {
            let entry =
                work.ifindex.and_then(|i| actual.ports.get(&i)).filter(|p| p.slot == work.entry.slot.index);
            if let Some(port) = entry
                && !self.indices.values().any(|i| *i == port.bridge)
            {
                self.indices.entry(work.entry.endpoint.bridge.clone()).or_insert(port.bridge);
            }
        }
    }
}

impl Reconciler {
    /// Orders the programs for every host end. At the first pass after a start this swaps them in their links; later it
    /// has them looked at now and then: whether they still hang there, and what else does.
    pub(super) fn attach(&mut self, pass: &mut Pass) {
        let in_doubt = self.maps.actual.is_none();
        for id in pass.works.keys().cloned().collect::<Vec<_>>() {
            self.recall(pass, &id, Stage::Bpf);
            let Some(work) = pass.works.get_mut(&id) else { continue };
            let Some(ifindex) = work.ifindex else { continue };
            let memory = self.memories.get_mut(&id);
            let known = memory.attached.as_ref().is_some_and(|a| a.ifindex == ifindex);
            if !known {
                memory.attached = None;
                work.wait(Stage::Bpf, "the programs are being attached");
            }
            let early = match work.entry.phase {
                // Programs of another layout bring maps which have to know the living before they count.
                Phase::Live => in_doubt && !known,
                _ => work.ofport.is_none(),
            };
            let looked_at = known && pass.now < memory.inspected + INSPECT;
            let asked = memory.hooks_asked == Some(ifindex);
            if !(early || looked_at || asked || memory.backs_off(Stage::Bpf, pass.now)) {
                self.order(pass, &id, ifindex, known, Haste::AtOnce);
            }
        }
        self.settle_programs(pass);
    }

    /// In a quiet moment, one endpoint after the other: programs that were hung in haste are hung for good.
    fn settle_programs(&mut self, pass: &mut Pass) {
        let Some((id, ifindex)) = hasty(&pass.works, &self.memories, pass.now) else { return };
        pass.unsettled = true;
        let adding = pass.works.values().any(|w| w.entry.phase != Phase::Live);
        let asked =
            pass.works.keys().any(|id| self.memories.get(id).is_some_and(|m| m.hooks_asked.is_some()));
        let paused = pass.now < self.settled_at + SETTLE_PAUSE;
        if !(adding || asked || paused || !pass.intent.removals.is_empty()) {
            self.settled_at = pass.now;
            self.order(pass, &id, ifindex, true, Haste::ForGood);
        }
    }

    fn order(&mut self, pass: &Pass, id: &EndpointId, ifindex: u32, known: bool, haste: Haste) {
        let ifname = id.host_ifname();
        let policed = database::port_blockers(&pass.ovs, &ifname).contains(&Obstacle::Policing);
        if self.parts.hooks.ask(Order::Pod(PodOrder { ifindex, ifname, known, haste, policed })) {
            self.memories.get_mut(id).hooks_asked = Some(ifindex);
        }
    }

    /// Books what came of the orders since the last pass.
    pub(super) fn attached(&mut self, pass: &mut Pass) {
        for outcome in std::mem::take(&mut self.hung) {
            let (ifindex, attached) = match outcome {
                Outcome::Pod { ifindex, attached } => (ifindex, attached),
                Outcome::Uplink { order, done } => {
                    let uplinks = self.maps.actual.as_mut().map(|tables| &mut tables.uplinks);
                    self.maps.members.book(uplinks, order, done, pass.now);
                    continue;
                }
            };
            let Some(id) = asked_for(&pass.works, &self.memories, ifindex) else {
                // The endpoint left meanwhile. If its interface is still there, its removal is yet to come, and until
                // then the programs drop; taking them off one by one would hold RTNL for a second each on 5.10.
                self.strays.insert(ifindex);
                continue;
            };
            let memory = self.memories.get_mut(&id);
            memory.hooks_asked = None;
            memory.inspected = pass.now;
            match attached {
                Ok(attached) => {
                    memory.succeed(Stage::Bpf);
                    memory.attached = Some(attached);
                }
                // The interface is gone, and the links stage says so.
                Err(_) if memory.ifindex != Some(ifindex) => {}
                Err(text) => self.fail(pass, &id, Stage::Bpf, StageError::Guard(text)),
            }
        }
    }

    /// Makes the maps say what the intent and the gates say. Called again in a pass that opens gates.
    pub(super) fn write_maps(&mut self, pass: &mut Pass) {
        // Before the database was read, no bridge means nothing: the entries of a former agent stay as they are.
        if !pass.ovs.is_synced {
            return;
        }
        let bpf = Arc::clone(&self.parts.bpf);
        let actual = match self.maps.actual.take() {
            Some(actual) => actual,
            None => match take_over(&bpf, &pass.veths, &pass.works) {
                Ok(actual) => actual,
                Err(error) => {
                    let text = chain(&error);
                    for work in pass.works.values_mut() {
                        work.wait(Stage::Bpf, format!("the maps cannot be read: {text}"));
                    }
                    pass.faults.insert(Site::Bpf, text);
                    return;
                }
            },
        };
        self.maps.adopt(&actual, &pass.works);
        let mut desired = self.desired_maps(pass);
        let Maps { refused, members, .. } = &mut self.maps;
        let hooks = &self.parts.hooks;
        members
            .order(&mut desired.uplinks, &actual.uplinks, pass.now, |order| hooks.ask(Order::Uplink(order)));
        let was_refused = !refused.is_empty();
        maps::write(&mut desired, &actual, refused, pass.now, |write| carry_out(&bpf, write));
        // Half of what was refused may have been carried out.
        let in_doubt = was_refused && refused.is_empty();
        self.maps.actual = (!in_doubt).then_some(desired);
        self.show_refused(pass);
    }

    /// Shows what the kernel refuses, each with whom it concerns, the rest together.
    fn show_refused(&self, pass: &mut Pass) {
        let mut others = self.maps.members.faults();
        for (owner, fault) in self.maps.refused.iter() {
            let work = pass.works.values_mut().find(|work| match owner {
                Owner::Interface(ifindex) => work.ifindex == Some(*ifindex),
                Owner::Slot(slot) => work.entry.slot.index == *slot,
                Owner::Nobody => false,
            });
            match work {
                Some(work) => work.recall(fault.clone(), Stage::Bpf),
                None => others.push(fault.error.to_string()),
            }
        }
        if let Some(first) = others.first() {
            let more =
                if others.len() > 1 { format!("; and {} more", others.len() - 1) } else { String::new() };
            pass.faults.insert(Site::Bpf, format!("{first}{more}"));
        }
    }

    fn desired_maps(&mut self, pass: &mut Pass) -> Tables {
        let mut bridges = BTreeMap::new();
        for (name, bridge) in &pass.ovs.bridges {
            let in_use = pass.works.values().any(|w| w.entry.endpoint.bridge == *name);
            if in_use {
                let accel_ok = self.parts.config.accel.enabled && pass.ovs.accel_blockers(name).is_empty();
                let userspace = bridge.is_userspace();
                bridges.insert(name.clone(), (self.maps.index(name), accel_ok, userspace));
            }
        }
        let uplinks = self.uplinks(pass, &bridges);
        let numbers = uplinks.iter().map(|(ifindex, (_, index))| (*ifindex, *index)).collect();
        self.maps.members.learn(uplinks.into_iter().map(|(ifindex, (name, _))| (ifindex, name)));
        let gateways = self.gateways(pass);
        self.note_blockers(pass);
        let mut attached = Vec::new();
        for work in pass.works.values() {
            // A bridge that is away for a moment keeps the datapath that it was last seen with.
            if let Some((.., userspace)) = bridges.get(&work.entry.endpoint.bridge) {
                self.memories.get_mut(work.id()).userspace = *userspace;
            }
        }
        let mut works: Vec<_> = pass.works.values().collect();
        works.sort_by_key(|w| w.entry.created);
        for work in works {
            let Some(memory) = self.memories.get(&work.entry.endpoint.id) else { continue };
            let Some(ifindex) = work.ifindex else { continue };
            let endpoint = &work.entry.endpoint;
            let bridge = bridges.get(&endpoint.bridge);
            attached.push(plan::Attached {
                slot: work.entry.slot,
                ifindex,
                bridge: bridge.map_or_else(|| self.maps.index(&endpoint.bridge), |b| b.0),
                // Nothing is known of a bridge that is away: what its ports were told last is kept.
                userspace_datapath: bridge.map_or(memory.userspace, |b| b.2),
                open: memory.open,
                accelerated: work.blockers.is_empty(),
                endpoint: &work.entry.endpoint,
            });
        }
        let numbered: Vec<_> = bridges
            .values()
            .map(|(index, accel_ok, _)| plan::Bridge { index: *index, accel_ok: *accel_ok })
            .collect();
        plan::desired(&attached, &numbered, &numbers, &gateways)
    }

    /// Writes down what keeps each endpoint from going past OVS.
    fn note_blockers(&self, pass: &mut Pass) {
        let (ovs, veths) = (Arc::clone(&pass.ovs), Arc::clone(&pass.veths));
        let connections = self.parts.switches.watch().borrow().clone();
        for work in pass.works.values_mut() {
            let hook = self.memories.get(&work.entry.endpoint.id).and_then(|m| m.attached.as_ref());
            let endpoint = &work.entry.endpoint;
            let name = endpoint.host_ifname();
            work.blockers = accel::blockers(&accel::Facts {
                enabled: self.parts.config.accel.enabled,
                endpoint,
                bridge: &ovs.accel_blockers(&endpoint.bridge),
                port: &database::port_blockers(&ovs, &name),
                foreign_flow: self.tables.is_steered(
                    &endpoint.bridge,
                    connections.get(&endpoint.bridge),
                    database::number(&ovs, &name).ok().flatten(),
                ),
                foreign_program: hook.is_some_and(|h| h.foreign),
                qdisc: veths.get(&name).map_or("", |v| v.qdisc.as_str()),
            });
        }
    }

    /// The physical members of the bridges in use, by interface index.
    fn uplinks(
        &self,
        pass: &Pass,
        bridges: &BTreeMap<String, (u16, bool, bool)>,
    ) -> BTreeMap<u32, (String, u16)> {
        let mut uplinks = BTreeMap::new();
        for (name, (index, ..)) in bridges {
            for uplink in database::uplinks(&pass.ovs, &self.parts.config, name) {
                if let Some(ifindex) = uplink.ifindex {
                    uplinks.insert(ifindex, (uplink.name.clone(), *index));
                }
            }
        }
        uplinks
    }

    fn gateways(&self, pass: &Pass) -> BTreeMap<Gateway, Option<Mac>> {
        let known = pass.outcomes.gateways.iter().filter_map(|(key, view)| {
            let bridge = *self.maps.indices.get(&key.bridge)?;
            Some((Gateway { bridge, vlan: key.vlan, address: key.address }, view.mac))
        });
        known.collect()
    }
}

/// The first endpoint whose programs were hung in haste, are due to be hung for good and did not just fail to be.
pub(super) fn hasty(
    works: &BTreeMap<EndpointId, Work>,
    memories: &Memories,
    now: Duration,
) -> Option<(EndpointId, u32)> {
    works.iter().find_map(|(id, work)| {
        let memory = memories.get(id)?;
        let attached = memory.attached.as_ref().filter(|a| !a.for_good && work.ifindex == Some(a.ifindex))?;
        let is_due = memory.opened_at.is_none_or(|at| now >= at + SETTLE_AFTER);
        (is_due && !memory.backs_off(Stage::Bpf, now)).then(|| (id.clone(), attached.ifindex))
    })
}

/// The endpoint for which programs were ordered on an interface. It may have lost the interface meanwhile: that ends the
/// order all the same, and what hangs there stays until a removal, for an interface that lost its name still is the pod's.
pub(super) fn asked_for(
    works: &BTreeMap<EndpointId, Work>,
    memories: &Memories,
    ifindex: u32,
) -> Option<EndpointId> {
    let is_asked = |id: &&EndpointId| memories.get(id).is_some_and(|m| m.hooks_asked == Some(ifindex));
    works.keys().find(is_asked).cloned()
}

/// Reads the maps. Pins of interfaces that are gone are forgotten. What programs hang on uplinks, and of which version,
/// no entry tells: they are to be hung there anew.
fn take_over(
    bpf: &Bpf,
    veths: &HostVeths,
    works: &BTreeMap<EndpointId, Work>,
) -> Result<Tables, ebpf::Error> {
    // In this order: an uplink's entry is written before its program is hung.
    let pinned = bpf.attached()?;
    let mut actual = bpf.read()?;
    for ifindex in without_interface(pinned, &actual, veths, works) {
        bpf.detach(ifindex)?;
    }
    Members::doubt(&mut actual.uplinks);
    Ok(actual)
}

/// The pins whose interface is gone. A veth of this very pass is not among the observed ones yet.
pub(super) fn without_interface(
    pinned: Vec<u32>,
    actual: &Tables,
    veths: &HostVeths,
    works: &BTreeMap<EndpointId, Work>,
) -> Vec<u32> {
    let is_link =
        |i: u32| veths.values().any(|v| v.index.0 == i) || works.values().any(|w| w.ifindex == Some(i));
    pinned.into_iter().filter(|i| !is_link(*i) && !actual.uplinks.contains_key(i)).collect()
}

/// Carries one write out. The counters of a new owner begin at zero.
fn carry_out(bpf: &Bpf, write: &Write) -> Result<(), ebpf::Error> {
    match write {
        Write::Local(key, Some(local)) => bpf.set_local(key, local),
        Write::Local(key, None) => bpf.remove_local(key),
        Write::Port { ifindex, port: Some(port), new_owner } => {
            if *new_owner {
                bpf.zero(port.slot)?;
            }
            bpf.set_port(*ifindex, port)
        }
        Write::Port { ifindex, port: None, .. } => bpf.remove_port(*ifindex),
        Write::Watch(key, Some(holder)) => bpf.set_watch(key, holder),
        Write::Watch(key, None) => bpf.remove_watch(key),
        Write::Source(key, Some(value)) => bpf.set_source(key, value),
        Write::Source(key, None) => bpf.remove_source(key),
        Write::Vlan(key, true) => bpf.set_vlan(key),
        Write::Vlan(key, false) => bpf.remove_vlan(key),
        Write::Bridge(index, flags) => bpf.set_bridge(*index, *flags),
    }
}

#[cfg(test)]
mod tests {
    use ebpf_abi::Uplink;

    use super::*;

    #[test]
    fn an_interface_may_be_an_uplink_while_the_maps_are_unknown_or_its_program_is_ordered() {
        let mut maps = Maps::default();
        assert!(maps.may_be_uplink(2), "nothing is known");
        let mut desired = Tables { uplinks: [(2, Uplink::new(0))].into(), ..Tables::default() };
        maps.members.order(&mut desired.uplinks, &BTreeMap::new(), Duration::ZERO, |_| true);
        maps.actual = Some(desired);
        assert!(maps.may_be_uplink(2), "a program may hang there that nobody has booked yet");
        assert!(!maps.may_be_uplink(3));
    }
}
