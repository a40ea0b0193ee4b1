//! One pass, top to bottom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Reconciler;
use super::memory::Fault;
use crate::dataplane::links::HostVeths;
use crate::dataplane::ports::{Lock, Ovs, State as Contact};
use crate::model::{EndpointId, Entry, Intent, Obstacle, OfPort, Outcomes, Site, Stage, StageError, State};

/// What a pass looks at: snapshots that do not change under it, and how far each endpoint has come.
pub(super) struct Pass {
    pub(super) now: Duration,
    pub(super) intent: Arc<Intent>,
    pub(super) ovs: Arc<Ovs>,
    pub(super) veths: Arc<HostVeths>,
    pub(super) outcomes: Arc<Outcomes>,
    pub(super) works: BTreeMap<EndpointId, Work>,
    /// Stages and bridges with something wrong that is nobody's in particular.
    pub(super) faults: BTreeMap<Site, String>,
    /// Bridges whose flows could be neither read nor written in this pass.
    pub(super) unanswered: BTreeSet<String>,
    /// Something came to light that an earlier stage has to know.
    pub(super) again: bool,
    /// Programs hang somewhere that wait for a quiet moment to be hung for good.
    pub(super) unsettled: bool,
}

/// One endpoint in this pass.
pub(super) struct Work {
    pub(super) entry: Arc<Entry>,
    pub(super) ifindex: Option<u32>,
    pub(super) ofport: Option<OfPort>,
    /// The flows of this endpoint are on the switch.
    pub(super) flowed: bool,
    /// Why it is not accelerated.
    pub(super) blockers: Vec<Obstacle>,
    /// The first stage that could not be completed, and why.
    pub(super) held_up: Option<State>,
}

impl Work {
    pub(super) fn new(entry: Arc<Entry>) -> Self {
        Self { entry, ifindex: None, ofport: None, flowed: false, blockers: Vec::new(), held_up: None }
    }

    pub(super) fn id(&self) -> &EndpointId {
        &self.entry.endpoint.id
    }

    /// Shows the failure that it is backing off from, unless an earlier stage holds it up.
    pub(super) fn recall(&mut self, fault: Fault, stage: Stage) {
        let open = match &self.held_up {
            None => true,
            Some(State::Pending { stage: pending, .. }) => *pending == stage,
            Some(_) => false,
        };
        if open && fault.stage == stage {
            self.held_up = Some(State::Failed { stage, error: fault.error, retry_at: fault.retry_at });
        }
    }

    pub(super) fn wait(&mut self, stage: Stage, why: impl Into<String>) {
        if self.held_up.is_none() {
            self.held_up = Some(State::Pending { stage, why: why.into() });
        }
    }
}

impl Pass {
    fn new(reconciler: &mut Reconciler) -> Self {
        let parts = &mut reconciler.parts;
        let intent = Arc::clone(&reconciler.intent.borrow_and_update());
        let works = intent.endpoints.iter().map(|(id, entry)| (id.clone(), Work::new(Arc::clone(entry))));
        Self {
            now: (parts.clock)(),
            works: works.collect(),
            ovs: Arc::clone(&reconciler.ovs.borrow_and_update()),
            veths: Arc::clone(&parts.veths.borrow_and_update()),
            outcomes: Arc::clone(&parts.outcomes.borrow_and_update()),
            faults: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            again: false,
            unsettled: false,
            intent,
        }
    }
}

impl Reconciler {
    /// Brings the data plane closer to the intent; tells after how long to look again without a trigger.
    pub(super) async fn pass(&mut self) -> Option<Duration> {
        let mut pass = Pass::new(self);
        if matches!(pass.ovs.state, Contact::Connected) {
            self.is_ours = pass.ovs.lock == Lock::Held;
        }
        if !self.is_ours {
            return self.stand_by(pass);
        }
        if self.adopt(&pass).await {
            pass = Pass::new(self);
        }
        let intent = Arc::clone(&pass.intent);
        self.memories.follow(intent.endpoints.values().map(AsRef::as_ref), intent.generation);
        self.close(&mut pass).await;
        self.links(&mut pass).await;
        self.attached(&mut pass);
        self.write_maps(&mut pass);
        self.ports(&mut pass).await;
        self.prepare(&mut pass).await;
        self.attach(&mut pass);
        self.flows(&mut pass).await;
        self.gate(&mut pass).await;
        self.removals(&mut pass).await;
        let again = pass.again.then_some(Duration::ZERO);
        let next = self.report(pass);
        again.or(next)
    }

    /// Two agents on one Open vSwitch would undo each other's work: one that never had the lock, or lost it to another,
    /// touches nothing. While the database is away it stays with who had it.
    fn stand_by(&mut self, mut pass: Pass) -> Option<Duration> {
        let why = pass.ovs.outage().unwrap_or_default().to_owned();
        for work in pass.works.values_mut() {
            work.wait(Stage::Links, why.clone());
        }
        pass.faults.insert(Site::Ovsdb, why);
        self.report(pass)
    }

    /// Books a failure on an endpoint: it is tried again later, the others go on.
    pub(super) fn fail(&mut self, pass: &mut Pass, id: &EndpointId, stage: Stage, error: StageError) {
        tracing::warn!(endpoint = %id, %stage, %error, "endpoint failed");
        self.memories.get_mut(id).fail(stage, error, pass.now);
        self.recall(pass, id, stage);
    }

    /// Shows the failure that an endpoint is backing off from.
    pub(super) fn recall(&self, pass: &mut Pass, id: &EndpointId, stage: Stage) {
        let fault = self.memories.get(id).and_then(|m| m.fault.clone());
        if let (Some(work), Some(fault)) = (pass.works.get_mut(id), fault) {
            work.recall(fault, stage);
        }
    }
}
