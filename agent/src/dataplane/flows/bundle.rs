//! A confirmed write: open, fill, barrier, look for errors, commit or discard, wait for the answer.
//!
//! Owns one bundle's transaction ids: the first opens it, one for each change follows, then the barrier, then the end
//! (commit or discard). The first is also the bundle's id, so no two bundles of a connection share one.

use std::mem;
use std::sync::Arc;

use openflow::message::Message;
use openflow::message::bundle::{BundleControl, BundleOp};
use openflow::message::error_msg::ErrorMsg;
use openflow::message::flow_mod::FlowMod;
use openflow::{EmptyMessage, FlowKey};
use tokio::sync::oneshot;

use super::SwitchError;
use super::session::Progress;
use super::wire::{Outbox, reason};

/// The refused changes with OVS' names for the reasons; empty when all were committed.
type Outcome = Result<Vec<(FlowKey, String)>, SwitchError>;

/// A bundle under way.
#[derive(Debug)]
pub(super) struct Bundle {
    bridge: Arc<str>,
    id: u32,
    changes: Vec<FlowMod>,
    phase: Phase,
    refused: Vec<(FlowKey, String)>,
    /// The switch refused the bundle itself.
    failure: Option<SwitchError>,
    /// Taken by the answer.
    reply: Option<oneshot::Sender<Outcome>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Everything up to the barrier was sent; nothing takes effect.
    Filling,
    /// The commit was sent.
    Committing,
}

impl Bundle {
    /// Writes everything up to the barrier. `None` when nothing was sent and the caller has its answer: a flow that
    /// has no bytes is refused like one that the switch does not like.
    pub(super) fn open(
        bridge: Arc<str>,
        id: u32,
        changes: Vec<FlowMod>,
        reply: oneshot::Sender<Outcome>,
        out: &mut Outbox,
    ) -> Option<Self> {
        let start = out.bytes.len();
        out.bundle(id, id, BundleOp::OpenRequest);
        let mut refused = Vec::new();
        let mut xid = id;
        for change in &changes {
            xid += 1;
            if let Err(error) = out.bundle_add(xid, id, change) {
                refused.push((change.flow.key(), error.to_string()));
            }
        }
        if !refused.is_empty() {
            out.bytes.truncate(start);
            // An error only says that the caller went away.
            drop(reply.send(Ok(refused)));
            return None;
        }
        out.empty(xid + 1, EmptyMessage::BarrierRequest);
        Some(Self { bridge, id, changes, phase: Phase::Filling, refused, failure: None, reply: Some(reply) })
    }

    /// How many transaction ids it has.
    pub(super) fn xids(&self) -> u32 {
        self.end() - self.id + 1
    }

    /// Takes a message whose transaction id lies `offset` after the first.
    pub(super) fn take(&mut self, offset: u32, message: &Message<'_>, out: &mut Outbox) -> Progress {
        match message {
            Message::Error(error) => self.note(offset, error),
            Message::BarrierReply if self.phase == Phase::Filling => return self.end_filling(out),
            Message::BundleControl(BundleControl { op: BundleOp::CommitReply, .. })
                if self.phase == Phase::Committing =>
            {
                return self.answer(Ok(Vec::new()));
            }
            // The reply to the open, or what a switch invents.
            _ => return Progress::Open,
        }
        let is_end = self.phase == Phase::Committing && self.id + offset == self.end();
        if is_end { self.answer_refusal() } else { Progress::Open }
    }

    /// Gives up, at the deadline or because an answer cannot be read. What was not committed is taken back, and it is
    /// certain that it has no effect: the discard goes out before anything else that this connection will ask.
    pub(super) fn give_up(mut self, out: &mut Outbox) {
        let bridge = self.bridge.to_string();
        let error = match self.phase {
            Phase::Filling => {
                out.bundle(self.end(), self.id, BundleOp::DiscardRequest);
                SwitchError::TimedOut { bridge }
            }
            Phase::Committing => SwitchError::Unknown { bridge },
        };
        self.answer(Err(error));
    }

    /// Remembers what the switch refused.
    fn note(&mut self, offset: u32, error: &ErrorMsg<'_>) {
        let change = usize::try_from(offset).ok().and_then(|offset| self.changes.get(offset.checked_sub(1)?));
        if let Some(change) = change {
            self.refused.push((change.flow.key(), reason(error)));
        } else {
            let (bridge, name) = (self.bridge.to_string(), reason(error));
            self.failure.get_or_insert(SwitchError::Refused { bridge, what: "a bundle", name });
        }
    }

    /// The switch has looked at every change.
    fn end_filling(&mut self, out: &mut Outbox) -> Progress {
        let clean = self.refused.is_empty() && self.failure.is_none();
        // Nobody could learn of a commit whose caller went away, so it is as if it had not asked.
        let op =
            if clean && !self.is_abandoned() { BundleOp::CommitRequest } else { BundleOp::DiscardRequest };
        out.bundle(self.end(), self.id, op);
        if op == BundleOp::CommitRequest {
            self.phase = Phase::Committing;
            return Progress::Open;
        }
        self.answer_refusal()
    }

    /// Nothing was kept: the changes at fault if there are any, else what the switch says of the bundle.
    fn answer_refusal(&mut self) -> Progress {
        let outcome = match self.failure.take() {
            Some(failure) if self.refused.is_empty() => Err(failure),
            _ => Ok(mem::take(&mut self.refused)),
        };
        self.answer(outcome)
    }

    fn answer(&mut self, outcome: Outcome) -> Progress {
        if let Some(reply) = self.reply.take() {
            // An error only says that the caller went away.
            drop(reply.send(outcome));
        }
        Progress::Done
    }

    fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// The transaction id of the last message.
    fn end(&self) -> u32 {
        last_xid(self.id, self.changes.len())
    }
}

/// The transaction id of a bundle's last message: after the open one for each change, the barrier, the end.
fn last_xid(id: u32, changes: usize) -> u32 {
    // At most limits::BUNDLE_FLOWS changes are in a bundle.
    id + u32::try_from(changes).unwrap_or(u32::MAX / 4) + 2
}
