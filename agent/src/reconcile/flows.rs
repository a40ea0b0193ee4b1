//! Stage 4: the guard's flows on every bridge.
//!
//! The tables of a bridge are known from the last read-back and what was written since; any doubt (a new
//! connection, a timeout, somebody else's change, a minute gone by) makes them unknown, and they are read first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openflow::{Flow, FlowKey, OfPort};

use super::pass::{Pass, Work};
use super::{Reconciler, database};
use crate::dataplane::flows::{
    ConnectError, Connection, DumpScope, FlowChanges, FlowEntry, in_port, is_foreign,
};
use crate::limits::READ_BACK;
use crate::model::{EndpointId, Phase, Site, Stage, StageError, TableStatus};
use crate::plan::diff::diff;
use crate::plan::flows::{Block, Bound, Cookie, FlowSet, desired};
use crate::report::chain;

/// Why a bridge as a whole could not be worked on.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// It will pass: a connection, a timeout, a setting.
    #[error("{0}")]
    NotNow(String),
    /// It will pass when a person changes a setting: who waits for an ADD need not wait for that.
    #[error("{0}")]
    Misset(String),
    /// Somebody else programs this bridge.
    #[error("{0}")]
    NotOurs(String),
}

/// What is known of the bridges' tables.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) block: Block,
    bridges: BTreeMap<String, Table>,
}

#[derive(Debug, Default)]
struct Table {
    epoch: u64,
    /// The bridge was looked over and found fit to be worked on.
    accepted: bool,
    /// `None`: unknown, to be read back.
    actual: Option<FlowSet>,
    /// What was known before somebody else changed something.
    before: Option<FlowSet>,
    /// Flows that were found not to be as they had been left.
    mended: u64,
    read_at: Duration,
    /// How many flows there should be.
    wanted: usize,
    /// Foreign flows of table 0 below the hook.
    foreign: Foreign,
    /// The highest priority of a foreign flow above the hook.
    above: Option<u16>,
}

/// Whose frames somebody else's flows of table 0 are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Foreign(BTreeSet<Option<OfPort>>);

impl Foreign {
    fn among(flows: &[FlowEntry]) -> Self {
        let theirs = flows.iter().filter(|entry| is_foreign(&entry.flow));
        Self(theirs.map(|entry| in_port(entry.flow.matching.as_ref())).collect())
    }

    fn concerns(&self, port: OfPort) -> bool {
        self.0.contains(&None) || self.0.contains(&Some(port))
    }
}

impl Tables {
    pub(super) fn new(base: u8) -> Self {
        Self { block: Block::new(base), bridges: BTreeMap::new() }
    }

    /// Somebody else changed something: read everything back.
    pub(super) fn doubt_all(&mut self) {
        for table in self.bridges.values_mut() {
            table.before = table.actual.take().or(table.before.take());
        }
    }

    /// The flows of each bridge in numbers.
    pub(super) fn counts(&self) -> BTreeMap<String, TableStatus> {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let describe = |t: &Table| TableStatus {
            wanted: count(t.wanted),
            present: count(t.actual.as_ref().map_or(0, FlowSet::len)),
            mended: t.mended,
        };
        self.bridges.iter().map(|(name, table)| (name.clone(), describe(table))).collect()
    }

    /// Whether foreign flows of table 0 may be about frames from a port; where they cannot be read, they may.
    pub(super) fn is_steered(&self, bridge: &str, at: Option<&Connection>, port: Option<OfPort>) -> bool {
        match (self.bridges.get(bridge), at, port) {
            (Some(table), Some(Connection::Connected { epoch, .. }), Some(port)) if table.epoch == *epoch => {
                table.foreign.concerns(port)
            }
            _ => true,
        }
    }

    /// Whether flows of a slot may be on a bridge, as far as is known.
    pub(super) fn may_hold(&self, bridge: &str, slot: u32) -> bool {
        let actual = self.bridges.get(bridge).and_then(|table| table.actual.as_ref());
        let of_slot = |flow: &Flow| Cookie::parse(flow.cookie).is_some_and(|c| c.slot == slot);
        actual.is_none_or(|flows| flows.values().any(of_slot))
    }

    /// Keeps a bridge in sight until it was read.
    fn remember(&mut self, bridge: &str) {
        self.bridges.entry(bridge.to_owned()).or_default();
    }

    fn doubt(&mut self, bridge: &str) {
        if let Some(table) = self.bridges.get_mut(bridge) {
            // What was sent may have been done or not: nobody else's doing, whatever is found.
            (table.actual, table.before) = (None, None);
        }
    }
}

impl Table {
    /// How many of the flows that were left here are found missing, changed, or joined by others.
    fn disturbed(&self, epoch: u64, found: &FlowSet) -> u64 {
        let left = self.actual.as_ref().or(self.before.as_ref()).filter(|_| self.epoch == epoch);
        let Some(left) = left else { return 0 };
        let changed = left.iter().filter(|(key, flow)| found.get(key) != Some(flow)).count();
        let joined = found.keys().filter(|key| !left.contains_key(key)).count();
        (changed + joined) as u64
    }
}

impl Reconciler {
    pub(super) async fn flows(&mut self, pass: &mut Pass) {
        let mut bridges: BTreeSet<String> =
            pass.works.values().map(|w| w.entry.endpoint.bridge.clone()).collect();
        // Where our flows were, they have to be taken away again.
        bridges.extend(
            self.tables
                .bridges
                .iter()
                .filter(|(_, t)| t.actual.as_ref() != Some(&FlowSet::new()))
                .map(|(n, _)| n.clone()),
        );
        bridges.extend(pass.intent.removals.values().filter_map(|r| r.bridge.clone()));
        bridges.extend(self.parts.config.bridges.iter().map(|b| b.name.clone()));
        bridges.retain(|name| {
            let is_there = pass.ovs.bridges.contains_key(name);
            if !is_there && pass.ovs.is_synced {
                pass.faults.insert(Site::Bridge(name.clone()), "it does not exist".to_owned());
            }
            is_there
        });
        self.tables.bridges.retain(|name, _| bridges.contains(name));
        self.parts.switches.want(bridges.clone());
        for bridge in bridges {
            if let Err(trouble) = self.converge(pass, &bridge).await {
                let why = trouble.to_string();
                tracing::debug!(%bridge, %why, "flows not converged");
                if matches!(trouble, Trouble::NotOurs(_) | Trouble::Misset(_)) {
                    self.refuse_endpoints(pass, &bridge, &why);
                }
                if matches!(trouble, Trouble::NotNow(_) | Trouble::Misset(_)) {
                    // There may be flows of ours, though nobody lives there any more.
                    self.tables.remember(&bridge);
                    pass.unanswered.insert(bridge.clone());
                }
                for work in pass.works.values_mut().filter(|w| w.entry.endpoint.bridge == bridge) {
                    work.wait(Stage::Flows, why.clone());
                }
                pass.faults.insert(Site::Bridge(bridge.clone()), why);
            } else if let Some(priority) = self.tables.bridges.get(&bridge).and_then(|t| t.above) {
                let why = format!(
                    "table 0 holds a foreign flow of priority {priority}: what it matches passes by the guard"
                );
                pass.faults.insert(Site::Bridge(bridge.clone()), why);
            }
        }
    }

    /// Brings one bridge's tables in line; an error is why the bridge as a whole could not be worked on.
    async fn converge(&mut self, pass: &mut Pass, bridge: &str) -> Result<(), Trouble> {
        let epoch = match self.parts.switches.watch().borrow().get(bridge) {
            Some(Connection::Connected { epoch, .. }) => *epoch,
            Some(Connection::Down { error, .. }) if matches!(**error, ConnectError::Version { .. }) => {
                return Err(Trouble::Misset(chain(error)));
            }
            Some(Connection::Down { error, .. }) => {
                return Err(Trouble::NotNow(format!("bridge {bridge} is out of reach: {}", chain(error))));
            }
            None => return Err(Trouble::NotNow(format!("bridge {bridge} is being connected to"))),
        };
        self.read_back(pass, bridge, epoch).await?;
        let waiting = self.waiting(pass, bridge);
        let mut wanted = desired(self.tables.block, &bound(pass, bridge, &waiting));
        let Some(table) = self.tables.bridges.get_mut(bridge) else { return Ok(()) };
        let Some(actual) = &table.actual else { return Ok(()) };
        // What an endpoint had before the switch refused more stays until it is tried again.
        let of_waiting = |flow: &Flow| Cookie::parse(flow.cookie).is_some_and(|c| waiting.contains(&c.slot));
        wanted
            .extend(actual.iter().filter(|(_, flow)| of_waiting(flow)).map(|(k, f)| (k.clone(), f.clone())));
        table.wanted = wanted.len();
        let changes = diff(&wanted, actual);
        if changes.is_empty() {
            flowed(pass, bridge, &waiting);
            return Ok(());
        }
        if pass.ovs.flow_restore_wait {
            let why = "other_config:flow-restore-wait is true: flows are only read";
            return Err(Trouble::NotNow(why.to_owned()));
        }
        self.write(pass, bridge, epoch, wanted, changes, waiting).await
    }

    /// The slots of endpoints whose flows were refused and are not tried again yet.
    fn waiting(&self, pass: &mut Pass, bridge: &str) -> BTreeSet<u32> {
        let here = pass.works.values().filter(|w| w.entry.endpoint.bridge == bridge);
        let backs_off =
            |w: &&Work| self.memories.get(w.id()).is_some_and(|m| m.backs_off(Stage::Flows, pass.now));
        let waiting: Vec<_> = here.filter(backs_off).map(|w| (w.id().clone(), w.entry.slot.index)).collect();
        for (id, _) in &waiting {
            self.recall(pass, id, Stage::Flows);
        }
        waiting.into_iter().map(|(_, slot)| slot).collect()
    }

    async fn write(
        &mut self,
        pass: &mut Pass,
        bridge: &str,
        epoch: u64,
        mut wanted: FlowSet,
        changes: crate::plan::diff::Diff<FlowKey, Flow>,
        waiting: BTreeSet<u32>,
    ) -> Result<(), Trouble> {
        self.count_before(pass, bridge, &changes).await;
        let mut refused_slots = BTreeSet::new();
        let mut add: Vec<_> = changes.to_set.into_iter().map(|(_, flow)| flow).collect();
        let remove = changes.to_remove;
        loop {
            let sent = FlowChanges { add: add.clone(), remove: remove.clone() };
            let applied = match self.parts.switches.apply(bridge, epoch, sent).await {
                Ok(applied) => applied,
                Err(error) => {
                    self.tables.doubt(bridge);
                    return Err(Trouble::NotNow(chain(&error)));
                }
            };
            if applied.refused.is_empty() {
                tracing::info!(%bridge, added = add.len(), removed = remove.len(), "flows written");
                break;
            }
            // The endpoints whose flows were refused fail; the rest goes again without them.
            let mut slots = BTreeSet::new();
            for (key, error) in &applied.refused {
                let slot = wanted.get(key).and_then(|f| Cookie::parse(f.cookie)).map_or(0, |c| c.slot);
                slots.insert(slot);
                self.refuse(pass, slot, format!("the switch refused {}: {error}", in_words(key)));
            }
            let mine = |cookie: u64| Cookie::parse(cookie).is_some_and(|c| slots.contains(&c.slot));
            let before = add.len();
            add.retain(|flow| !mine(flow.cookie));
            wanted.retain(|_, flow| !mine(flow.cookie));
            refused_slots.extend(slots);
            if add.len() == before {
                self.tables.doubt(bridge);
                let why = &applied.refused[0].1;
                return Err(Trouble::NotNow(format!("bridge {bridge} refuses flows: {why}")));
            }
        }
        if let Some(table) = self.tables.bridges.get_mut(bridge) {
            // What was refused may still be there in an older form.
            table.actual = refused_slots.is_empty().then_some(wanted);
        }
        refused_slots.extend(waiting);
        flowed(pass, bridge, &refused_slots);
        Ok(())
    }

    /// A flow takes its counters with it: those of endpoints that stay are read before theirs go.
    async fn count_before(
        &self,
        pass: &Pass,
        bridge: &str,
        changes: &crate::plan::diff::Diff<FlowKey, Flow>,
    ) {
        let Some(actual) = self.tables.bridges.get(bridge).and_then(|table| table.actual.as_ref()) else {
            return;
        };
        let slots: BTreeSet<u32> = pass.works.values().map(|work| work.entry.slot.index).collect();
        let mut gone = changes.to_remove.iter().chain(changes.to_set.iter().map(|(key, _)| key));
        let of_living = |key: &FlowKey| {
            let cookie = actual.get(key).and_then(|flow| Cookie::parse(flow.cookie));
            cookie.is_some_and(|cookie| slots.contains(&cookie.slot))
        };
        if gone.any(of_living) {
            // What cannot be read is not counted; the write itself will say that the switch is away.
            drop(self.parts.switches.dump(bridge, DumpScope::Owned(self.tables.block)).await);
        }
    }

    /// Endpoints that are being added to a bridge that is not ours to work on have nothing to wait for.
    fn refuse_endpoints(&mut self, pass: &mut Pass, bridge: &str, why: &str) {
        let (now, memories) = (pass.now, &self.memories);
        let tried = |w: &&Work| !memories.get(w.id()).is_some_and(|m| m.backs_off(Stage::Flows, now));
        let here = pass.works.values().filter(|w| w.entry.endpoint.bridge == bridge);
        let adding = here.filter(|w| w.entry.phase != Phase::Live).filter(tried);
        for id in adding.map(|w| w.id().clone()).collect::<Vec<_>>() {
            self.fail(pass, &id, Stage::Flows, StageError::Guard(why.to_owned()));
        }
    }

    fn refuse(&mut self, pass: &mut Pass, slot: u32, text: String) {
        let owner = pass.works.values().find(|w| w.entry.slot.index == slot).map(|w| w.id().clone());
        match owner {
            Some(id) => self.fail(pass, &id, Stage::Flows, StageError::Guard(text)),
            None => drop(pass.faults.insert(Site::Flows, text)),
        }
    }

    /// Reads the block and the hooks if they are in doubt; refuses a bridge that is not ours to work on.
    async fn read_back(&mut self, pass: &mut Pass, bridge: &str, epoch: u64) -> Result<(), Trouble> {
        let known = self.tables.bridges.get(bridge);
        let fresh = known.is_some_and(|t| {
            t.epoch == epoch && t.actual.is_some() && pass.now.saturating_sub(t.read_at) < READ_BACK
        });
        if fresh {
            return Ok(());
        }
        let (block, accepted) = (self.tables.block, known.is_some_and(|t| t.accepted));
        let dump = self.parts.switches.dump(bridge, DumpScope::Guard(block)).await;
        let dump = dump.map_err(|e| Trouble::NotNow(chain(&e)))?;
        if !accepted {
            refuse_foreign(pass, bridge, block, &dump.flows).map_err(Trouble::NotOurs)?;
        }
        let foreign = Foreign::among(&dump.flows);
        let above = above_hook(&dump.flows);
        // The maps of this pass were written before this was known.
        pass.again |= known.is_none_or(|t| t.epoch != dump.epoch || t.foreign != foreign);
        let ours = dump.flows.into_iter().filter(|e| block.owns(&e.flow.key(), e.flow.cookie));
        let actual: FlowSet = ours.map(|e| (e.flow.key(), e.flow)).collect();
        let disturbed = known.map_or(0, |table| table.disturbed(dump.epoch, &actual));
        let table = Table {
            epoch: dump.epoch,
            accepted: true,
            mended: known.map_or(0, |table| table.mended) + disturbed,
            before: None,
            actual: Some(actual),
            read_at: pass.now,
            wanted: 0,
            foreign,
            above,
        };
        self.tables.bridges.insert(bridge.to_owned(), table);
        if dump.epoch == epoch {
            Ok(())
        } else {
            Err(Trouble::NotNow("the switch has just reconnected".to_owned()))
        }
    }
}

/// A flow's identity as `ovs-ofctl` writes it.
pub(super) fn in_words(key: &FlowKey) -> String {
    let FlowKey { table, priority, matching } = key;
    let matching = matching.to_string();
    let comma = if matching.is_empty() { "" } else { "," };
    format!("table={},priority={priority}{comma}{matching}", table.0)
}

/// The highest priority of a foreign flow that sees frames before the guard's hook does.
fn above_hook(flows: &[FlowEntry]) -> Option<u16> {
    let above = flows.iter().map(|entry| &entry.flow).filter(|flow| is_above_hook(flow));
    above.map(|flow| flow.priority).max()
}

/// Whether a flow is somebody else's and sees frames before the guard's hook does.
fn is_above_hook(flow: &Flow) -> bool {
    flow.table == Block::HOOK && flow.priority > Block::HOOK_PRIORITY && Cookie::parse(flow.cookie).is_none()
}

/// At first contact: a bridge that somebody else programs, or whose tables of our block are in use, is left alone.
fn refuse_foreign(pass: &Pass, bridge: &str, block: Block, flows: &[FlowEntry]) -> Result<(), String> {
    if let Some(owner) = pass.ovs.bridges.get(bridge).and_then(database::foreign_owner) {
        return Err(format!("bridge {bridge} is programmed by {owner}: it is left alone"));
    }
    for entry in flows {
        let flow = &entry.flow;
        if Cookie::parse(flow.cookie).is_some() {
            continue;
        }
        if block.contains(flow.table) {
            let table = flow.table.0;
            return Err(format!(
                "table {table} of bridge {bridge} holds foreign flows: choose another ovs.table_base"
            ));
        }
        if is_above_hook(flow) {
            let (limit, found) = (Block::HOOK_PRIORITY, flow.priority);
            return Err(format!(
                "table 0 of bridge {bridge} holds a foreign flow of priority {found}, above {limit}"
            ));
        }
    }
    Ok(())
}

/// The endpoints of a bridge that have a port number, without those that wait.
fn bound(pass: &Pass, bridge: &str, waiting: &BTreeSet<u32>) -> Vec<Bound> {
    let works = pass.works.values().filter(|w| w.entry.endpoint.bridge == bridge);
    let works = works.filter(|w| !waiting.contains(&w.entry.slot.index));
    works
        .filter_map(|work| {
            let ofport = work.ofport.filter(|p| *p != OfPort(0))?;
            let endpoint = &work.entry.endpoint;
            Some(Bound {
                slot: work.entry.slot,
                ofport,
                vlan: endpoint.vlan.clone(),
                guard: endpoint.guard,
                sources: endpoint.sources(),
            })
        })
        .collect()
}

fn flowed(pass: &mut Pass, bridge: &str, refused: &BTreeSet<u32>) {
    let works = pass.works.values_mut().filter(|w| w.entry.endpoint.bridge == bridge && w.ofport.is_some());
    for work in works.filter(|w| !refused.contains(&w.entry.slot.index)) {
        work.flowed = true;
    }
}

impl Reconciler {
    /// Endpoints whose flows failed before and are written now are well again.
    pub(super) fn settle_flows(&mut self, pass: &Pass) {
        let well: Vec<EndpointId> =
            pass.works.values().filter(|w| w.flowed).map(|w| w.id().clone()).collect();
        for id in well {
            self.memories.get_mut(&id).succeed(Stage::Flows);
        }
    }
}

#[cfg(test)]
mod tests;
