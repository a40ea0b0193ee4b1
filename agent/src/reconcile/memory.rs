//! What the reconciler remembers of an endpoint between passes, beyond what can be observed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Hold;
use crate::dataplane::bpf::Attached;
use crate::dataplane::netns::Netns;
use crate::dataplane::ports::NewPort;
use crate::limits::{RETRY_FIRST, RETRY_LAST};
use crate::model::{EndpointId, Entry, Generation, Phase, Stage, StageError, State};

/// One endpoint's memory. It begins anew when the endpoint is replaced.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) created: Generation,
    pub(super) netns: Option<Netns>,
    pub(super) ifindex: Option<u32>,
    /// The revision whose settings the pod's end has.
    pub(super) prepared: Option<Generation>,
    pub(super) attached: Option<Attached>,
    /// The interface that the programs were last ordered for, until the outcome is there.
    pub(super) hooks_asked: Option<u32>,
    /// When the programs were last looked at, on the boot clock.
    pub(super) inspected: Duration,
    /// The bridge was last seen on the userspace datapath.
    pub(super) userspace: bool,
    /// The port that was last asked for, and when, on the boot clock.
    pub(super) port_asked: Option<(NewPort, Duration)>,
    /// The host end was asked to be up since it was last set down here: what the kernel tells of it may be older.
    pub(super) raised: bool,
    pub(super) open: bool,
    /// When the gate was opened, for the gateway's deadline.
    pub(super) opened_at: Option<Duration>,
    pub(super) fault: Option<Fault>,
    pub(super) state: Option<(State, Duration)>,
}

/// The last failure, until a stage succeeds again.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) stage: Stage,
    pub(super) error: StageError,
    pub(super) attempts: u32,
    pub(super) retry_at: Duration,
}

impl Memory {
    fn new(entry: &Entry) -> Self {
        // The gate of a live endpoint is open and stays open, whoever opened it.
        Self { created: entry.created, open: entry.phase == Phase::Live, ..Self::default() }
    }

    pub(super) fn fail(&mut self, stage: Stage, error: StageError, now: Duration) {
        self.fault = Some(Fault::again(self.fault.as_ref(), stage, error, now));
    }

    pub(super) fn succeed(&mut self, stage: Stage) {
        if self.fault.as_ref().is_some_and(|f| f.stage == stage) {
            self.fault = None;
        }
    }

    /// Whether a failed stage must not be tried yet.
    pub(super) fn backs_off(&self, stage: Stage, now: Duration) -> bool {
        self.fault.as_ref().is_some_and(|f| f.stage == stage && now < f.retry_at)
    }
}

impl Fault {
    /// The next failure after `before`: the wait doubles until the stage that failed last succeeds, for two stages may
    /// fail in turns.
    pub(super) fn again(before: Option<&Self>, stage: Stage, error: StageError, now: Duration) -> Self {
        let attempts = before.map_or(0, |f| f.attempts).saturating_add(1);
        let wait = RETRY_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(RETRY_LAST);
        Self { stage, error, attempts, retry_at: now + wait }
    }
}

/// The memories of all endpoints, and namespaces that arrived before their endpoint was seen.
#[derive(Debug, Default)]
pub(super) struct Memories {
    by_id: BTreeMap<EndpointId, Memory>,
    early: Vec<Hold>,
}

impl Memories {
    pub(super) fn hold(&mut self, hold: Hold) {
        self.early.push(hold);
    }

    /// Forgets endpoints that are gone or replaced, greets new ones, and hands namespaces out.
    pub(super) fn follow<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a Entry> + Clone,
        generation: Generation,
    ) {
        let current: BTreeMap<_, _> = entries.map(|e| (&e.endpoint.id, e)).collect();
        self.by_id.retain(|id, memory| current.get(id).is_some_and(|e| e.created == memory.created));
        for (id, entry) in &current {
            let memory = self.by_id.entry((*id).clone()).or_insert_with(|| Memory::new(entry));
            if entry.phase == Phase::Live {
                // A descriptor kept would keep the namespace alive.
                memory.netns = None;
            }
        }
        let by_id = &mut self.by_id;
        self.early.retain_mut(|(id, created, netns)| match by_id.get_mut(id) {
            Some(memory) if memory.created == *created => {
                memory.netns = Some(netns.clone());
                false
            }
            // Not seen yet, if it is newer than this snapshot of the intent; else it is gone already.
            _ => *created > generation,
        });
    }

    pub(super) fn get(&self, id: &EndpointId) -> Option<&Memory> {
        self.by_id.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &EndpointId) -> &mut Memory {
        self.by_id.entry(id.clone()).or_default()
    }
}
