//! A reply of many parts: put together, filtered while it comes, bounded.
//!
//! Owns the entries that were kept. What a filter refuses is read and forgotten, so a table with many foreign flows
//! costs no memory.

use std::sync::Arc;

use openflow::message::Message;
use openflow::message::multipart::{FlowQuery, MultipartBody, MultipartReply, MultipartRequest};
use openflow::message::port::{PortConfig, PortState};
use openflow::{
    Action, DecodeError, Field, Flow, FlowEntry, FlowStats, Instruction, InstructionsRef, Mac, MatchRef,
    OfPort, TableId,
};
use tokio::sync::oneshot;

use super::counts::Counts;
use super::session::Progress;
use super::wire::{Outbox, reason};
use super::{DumpScope, SwitchError};
use crate::limits;
use crate::plan::flows::{Block, Cookie};

/// A port as the switch describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortEntry {
    pub number: OfPort,
    pub mac: Mac,
    /// At most 15 bytes: the protocol cuts longer names.
    pub name: String,
    /// What `ovs-ofctl mod-port` set. `no-flood` is not among it: OpenFlow 1.5 has no bit for it, and OVS sends none.
    pub config: PortConfig,
    /// Carrier and the like.
    pub state: PortState,
}

/// Which entries of a reply are kept, and how they are read.
pub(super) trait Filter {
    type Entry;
    /// What the request is called in errors.
    const WHAT: &'static str;
    /// Appends the entries of one part that are wanted; says how many bytes of memory they take.
    fn read(&self, part: &MultipartBody<'_>, kept: &mut Vec<Self::Entry>) -> Result<usize, DecodeError>;
    /// Sees all that was kept, in the order of the replies and before who asked.
    fn complete(&self, _bridge: &str, _kept: &[Self::Entry]) {}
}

/// Replies under way to one or more requests.
#[derive(Debug)]
pub(super) struct Collect<F: Filter> {
    bridge: Arc<str>,
    filter: F,
    /// Requests whose last part has not come.
    open: u32,
    bytes: usize,
    kept: Vec<F::Entry>,
    /// Taken by the answer.
    reply: Option<Reply<F::Entry>>,
}

type Reply<T> = oneshot::Sender<Result<Vec<T>, SwitchError>>;

impl Collect<FlowFilter> {
    /// Asks for the flows of a scope; says how many transaction ids that takes.
    pub(super) fn flows(
        bridge: Arc<str>,
        xid: u32,
        filter: FlowFilter,
        reply: Reply<FlowEntry>,
        out: &mut Outbox,
    ) -> (u32, Self) {
        let mut requests = 0;
        for query in filter.scope.queries() {
            out.multipart(xid + requests, &MultipartRequest::Flow(query));
            requests += 1;
        }
        (requests, Self { bridge, filter, open: requests, bytes: 0, kept: Vec::new(), reply: Some(reply) })
    }
}

impl Collect<PortFilter> {
    /// Asks for all ports; says how many transaction ids that takes.
    pub(super) fn ports(
        bridge: Arc<str>,
        xid: u32,
        reply: Reply<PortEntry>,
        out: &mut Outbox,
    ) -> (u32, Self) {
        out.multipart(xid, &MultipartRequest::PortDesc(OfPort::ANY));
        (1, Self { bridge, filter: PortFilter, open: 1, bytes: 0, kept: Vec::new(), reply: Some(reply) })
    }
}

impl<F: Filter> Collect<F> {
    pub(super) fn take(&mut self, message: &Message<'_>) -> Progress {
        let bridge = || self.bridge.to_string();
        match message {
            Message::Error(error) => {
                let error = SwitchError::Refused { bridge: bridge(), what: F::WHAT, name: reason(error) };
                self.answer(Err(error))
            }
            Message::MultipartReply(MultipartReply { more, body, .. }) => {
                match self.filter.read(body, &mut self.kept) {
                    Ok(bytes) => self.count(bytes, *more),
                    Err(source) => {
                        let error = SwitchError::Malformed { bridge: bridge(), source };
                        self.answer(Err(error))
                    }
                }
            }
            _ => Progress::Open,
        }
    }

    pub(super) fn fail(mut self, error: SwitchError) {
        self.answer(Err(error));
    }

    fn count(&mut self, bytes: usize, has_more: bool) -> Progress {
        self.bytes += bytes;
        if self.bytes > limits::MULTIPART_BYTES {
            let bridge = self.bridge.to_string();
            return self.answer(Err(SwitchError::TooBig { bridge, limit: limits::MULTIPART_BYTES }));
        }
        if self.reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
            // Nobody waits any more; the parts that still come find no conversation and are dropped.
            return Progress::Done;
        }
        self.open -= u32::from(!has_more);
        if self.open > 0 {
            return Progress::Open;
        }
        let kept = std::mem::take(&mut self.kept);
        self.filter.complete(&self.bridge, &kept);
        self.answer(Ok(kept))
    }

    fn answer(&mut self, answer: Result<Vec<F::Entry>, SwitchError>) -> Progress {
        if let Some(reply) = self.reply.take() {
            // An error only says that the caller went away.
            drop(reply.send(answer));
        }
        Progress::Done
    }
}

impl DumpScope {
    /// What to ask for.
    fn queries(self) -> Vec<FlowQuery> {
        let all = |table| FlowQuery { table, ..FlowQuery::default() };
        match self {
            Self::Guard(block) => std::iter::once(Block::HOOK).chain(block.tables()).map(all).collect(),
            Self::Owned(block) => {
                let (cookie, cookie_mask) = (Cookie { kind: 0, slot: 0 }.encode(), COOKIE_MARK);
                let hooks = FlowQuery { cookie, cookie_mask, ..all(Block::HOOK) };
                std::iter::once(hooks).chain(block.tables().map(all)).collect()
            }
        }
    }

    /// Whether a foreign flow of table 0 tells something new: it does more than the bridge's own flow, for frames from a
    /// port that no flow which was kept is about.
    fn learns(self, flow: &FlowStats<'_>, kept: &[FlowEntry]) -> bool {
        let Self::Guard(_) = self else { return false };
        let steers = flow.table == Block::HOOK && !is_normal(flow.instructions());
        let same = |known: &FlowEntry| {
            is_foreign(&known.flow)
                && in_port(known.flow.matching.as_ref()) == in_port(flow.matching.as_ref())
        };
        steers && !kept.iter().any(same)
    }

    fn keeps(self, table: TableId, priority: u16, cookie: u64) -> bool {
        match self {
            Self::Guard(_) if table == Block::HOOK => {
                priority > Block::HOOK_PRIORITY || Cookie::parse(cookie).is_some()
            }
            Self::Owned(_) if table == Block::HOOK => Cookie::parse(cookie).is_some(),
            Self::Guard(block) | Self::Owned(block) => block.contains(table),
        }
    }
}

/// Whether a flow of table 0 is somebody else's, below the hook.
pub fn is_foreign(flow: &Flow) -> bool {
    flow.table == Block::HOOK && flow.priority <= Block::HOOK_PRIORITY && Cookie::parse(flow.cookie).is_none()
}

/// The port whose frames a match is about; `None` for all ports.
pub fn in_port(matching: MatchRef<'_>) -> Option<OfPort> {
    let (port, _) = matching.value(Field::InPort)?;
    u32::try_from(port).ok().map(OfPort)
}

/// Whether all that happens to a frame is what a switch does without flows.
fn is_normal(instructions: InstructionsRef<'_>) -> bool {
    let mut all = instructions.iter();
    let (Some(Instruction::Apply(actions)), None) = (all.next(), all.next()) else { return false };
    let mut actions = actions.iter();
    let first = actions.next();
    matches!(first, Some(Action::Output { port: OfPort::NORMAL, .. })) && actions.next().is_none()
}

/// The bits of a cookie that make it one of ours: all but kind and slot.
const COOKIE_MARK: u64 = 0xffff_ff00_0000_0000;

/// Keeps the flows of a scope, and has them counted.
#[derive(Debug)]
pub(super) struct FlowFilter {
    pub(super) scope: DumpScope,
    pub(super) counts: Counts,
}

impl Filter for FlowFilter {
    type Entry = FlowEntry;
    const WHAT: &'static str = "a dump of flows";

    fn read(&self, part: &MultipartBody<'_>, kept: &mut Vec<FlowEntry>) -> Result<usize, DecodeError> {
        let MultipartBody::Flow(flows) = part else { return Ok(0) };
        let mut bytes = 0;
        for flow in flows.clone() {
            let flow = flow?;
            if self.scope.keeps(flow.table, flow.priority, flow.cookie) || self.scope.learns(&flow, kept) {
                let (fields, instructions) = (flow.matching.as_ref(), flow.instructions());
                bytes += size_of::<FlowEntry>() + fields.as_bytes().len() + instructions.as_bytes().len();
                kept.push(flow.to_entry());
            }
        }
        Ok(bytes)
    }

    fn complete(&self, bridge: &str, kept: &[FlowEntry]) {
        self.counts.observe(bridge, kept);
    }
}

/// Keeps all ports.
#[derive(Debug)]
pub(super) struct PortFilter;

impl Filter for PortFilter {
    type Entry = PortEntry;
    const WHAT: &'static str = "a list of ports";

    fn read(&self, part: &MultipartBody<'_>, kept: &mut Vec<PortEntry>) -> Result<usize, DecodeError> {
        let MultipartBody::PortDesc(ports) = part else { return Ok(0) };
        let mut bytes = 0;
        for port in ports.clone() {
            let port = port?;
            bytes += size_of::<PortEntry>() + port.name.len();
            kept.push(PortEntry {
                number: port.number,
                mac: port.mac,
                name: String::from_utf8_lossy(port.name).into_owned(),
                config: port.config,
                state: port.state,
            });
        }
        Ok(bytes)
    }
}
