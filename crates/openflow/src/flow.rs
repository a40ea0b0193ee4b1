//! Flows: what a table holds, how one is identified, and what the switch reports about it.
//!
//! Owns the typed flow and the entries of a flow dump in the layouts of all three versions. Flow-mods stand in
//! `crate::flow_mod`.

use std::fmt;
use std::time::Duration;

use crate::action::{Action, Actions};
use crate::error::EncodeError;
use crate::instruction::{Instruction, Instructions, InstructionsCow, InstructionsRef};
use crate::matching::{Match, MatchCow, MatchRef};
use crate::text::Named;
use crate::text::flow_out;
use crate::text::out::Out;
use crate::types::TableId;

pub(crate) mod consistency;
mod stats;

pub use stats::FlowStatsIter;
pub use stats::Oxs;
pub(crate) use stats::{read_duration, write_duration};

bitflags::bitflags! {
    /// What a flow-mod asks for beside the flow itself.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    pub struct FlowFlags: u16 {
        /// Tell when the flow goes.
        const SEND_FLOW_REM = 1;
        /// Refuse a flow that overlaps another one of its priority.
        const CHECK_OVERLAP = 2;
        /// Start counting anew.
        const RESET_COUNTS = 4;
        /// Packets need not be counted.
        const NO_PACKET_COUNTS = 8;
        /// Bytes need not be counted.
        const NO_BYTE_COUNTS = 16;
        // Other bits survive a round trip.
        const _ = !0;
    }
}

/// The priority of a flow that names none.
pub const DEFAULT_PRIORITY: u16 = 0x8000;

/// A flow as we want it or as the switch has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Its table.
    pub table: TableId,
    /// Higher wins.
    pub priority: u16,
    /// Whatever its owner likes.
    pub cookie: u64,
    /// Seconds without packets until it goes; 0 is never.
    pub idle_timeout: u16,
    /// Seconds until it goes; 0 is never.
    pub hard_timeout: u16,
    /// What goes last when the table is full (1.4 and later).
    pub importance: u16,
    /// Flags.
    pub flags: FlowFlags,
    /// Which packets.
    pub matching: Match,
    /// What happens to them; nothing means drop.
    pub instructions: Instructions,
}

/// The identity of a flow: two flows with one key cannot stand in a switch together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// Its table.
    pub table: TableId,
    /// Its priority.
    pub priority: u16,
    /// Its match.
    pub matching: Match,
}

/// A borrowed [`FlowKey`]; orders and compares as the owned one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKeyRef<'a> {
    /// Its table.
    pub table: TableId,
    /// Its priority.
    pub priority: u16,
    /// Its match.
    pub matching: MatchRef<'a>,
}

/// One flow of a dump, borrowed from the message.
#[derive(Debug, Clone)]
pub struct FlowStats<'a> {
    /// Its table.
    pub table: TableId,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: u64,
    /// Seconds without packets until it goes.
    pub idle_timeout: u16,
    /// Seconds until it goes.
    pub hard_timeout: u16,
    /// Its importance; 0 in 1.3.
    pub importance: u16,
    /// Its flags.
    pub flags: FlowFlags,
    /// Which packets.
    pub matching: MatchCow<'a>,
    /// What happens to them.
    pub instructions: InstructionsCow<'a>,
    /// Packets seen, if they are counted.
    pub packet_count: Option<u64>,
    /// Bytes seen, if they are counted.
    pub byte_count: Option<u64>,
    /// How long it has been there.
    pub duration: Duration,
    /// How long since its last packet; only 1.5 says.
    pub idle_age: Option<Duration>,
}

/// One flow of a dump, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowEntry {
    /// The flow.
    pub flow: Flow,
    /// Packets seen, if they are counted.
    pub packet_count: Option<u64>,
    /// Bytes seen, if they are counted.
    pub byte_count: Option<u64>,
    /// How long it has been there.
    pub duration: Duration,
    /// How long since its last packet; only 1.5 says.
    pub idle_age: Option<Duration>,
}

impl Flow {
    /// A flow that drops every packet, at the default priority.
    pub fn new(table: TableId) -> Self {
        Self {
            table,
            priority: DEFAULT_PRIORITY,
            cookie: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: FlowFlags::empty(),
            matching: Match::new(),
            instructions: Instructions::new(),
        }
    }

    /// Sets the priority.
    #[must_use]
    pub fn priority(self, priority: u16) -> Self {
        Self { priority, ..self }
    }

    /// Sets the cookie.
    #[must_use]
    pub fn cookie(self, cookie: u64) -> Self {
        Self { cookie, ..self }
    }

    /// Sets the flags.
    #[must_use]
    pub fn flags(self, flags: FlowFlags) -> Self {
        Self { flags, ..self }
    }

    /// Sets the match.
    #[must_use]
    pub fn matching(self, matching: impl Into<Match>) -> Self {
        Self { matching: matching.into(), ..self }
    }

    /// Sets the actions to apply. Actions that do not fit (64 KiB, ports above 16 bits in Nicira's actions)
    /// leave the flow without any; use [`Flow::try_apply`] for actions that come from outside.
    #[must_use]
    pub fn apply<'a>(self, actions: impl IntoIterator<Item = Action<'a>>) -> Self {
        let bare = Self { instructions: Instructions::new(), ..self.clone() };
        self.try_apply(actions).unwrap_or(bare)
    }

    /// Sets the actions to apply.
    pub fn try_apply<'a>(
        mut self,
        actions: impl IntoIterator<Item = Action<'a>>,
    ) -> Result<Self, EncodeError> {
        let actions = Actions::new(actions)?;
        self.instructions.replace(Instruction::Apply(actions.as_ref()))?;
        Ok(self)
    }

    /// Goes on in a later table.
    #[must_use]
    pub fn goto(mut self, table: TableId) -> Self {
        let added = self.instructions.replace(Instruction::Goto(table));
        debug_assert!(added.is_ok(), "eight more bytes fit unless the actions fill 64 KiB");
        self
    }

    /// Its identity, owned.
    pub fn key(&self) -> FlowKey {
        FlowKey { table: self.table, priority: self.priority, matching: self.matching.clone() }
    }

    /// Its identity, borrowed.
    pub fn key_ref(&self) -> FlowKeyRef<'_> {
        FlowKeyRef { table: self.table, priority: self.priority, matching: self.matching.as_ref() }
    }
}

impl FlowKey {
    /// Borrows it.
    pub fn as_ref(&self) -> FlowKeyRef<'_> {
        FlowKeyRef { table: self.table, priority: self.priority, matching: self.matching.as_ref() }
    }
}

impl FlowStats<'_> {
    /// Its identity.
    pub fn key(&self) -> FlowKeyRef<'_> {
        FlowKeyRef { table: self.table, priority: self.priority, matching: self.matching.as_ref() }
    }

    /// What happens to its packets.
    pub fn instructions(&self) -> InstructionsRef<'_> {
        self.instructions.as_ref()
    }

    /// Whether the switch has exactly this flow; counters do not count, neither does a flag that only asks
    /// for a check on the way in.
    pub fn is(&self, flow: &Flow) -> bool {
        self.key() == flow.key_ref()
            && self.cookie == flow.cookie
            && self.instructions() == flow.instructions.as_ref()
            && self.idle_timeout == flow.idle_timeout
            && self.hard_timeout == flow.hard_timeout
            && self.importance == flow.importance
            && self.flags.difference(ON_THE_WAY_IN) == flow.flags.difference(ON_THE_WAY_IN)
    }

    /// An owned copy.
    pub fn to_entry(&self) -> FlowEntry {
        FlowEntry {
            flow: Flow {
                table: self.table,
                priority: self.priority,
                cookie: self.cookie,
                idle_timeout: self.idle_timeout,
                hard_timeout: self.hard_timeout,
                importance: self.importance,
                flags: self.flags,
                matching: self.matching.as_ref().to_owned(),
                instructions: self.instructions().to_owned(),
            },
            packet_count: self.packet_count,
            byte_count: self.byte_count,
            duration: self.duration,
            idle_age: self.idle_age,
        }
    }
}

impl FlowEntry {
    /// Its identity.
    pub fn key(&self) -> FlowKey {
        self.flow.key()
    }

    /// The same, borrowed from itself.
    pub fn as_stats(&self) -> FlowStats<'_> {
        FlowStats {
            table: self.flow.table,
            priority: self.flow.priority,
            cookie: self.flow.cookie,
            idle_timeout: self.flow.idle_timeout,
            hard_timeout: self.flow.hard_timeout,
            importance: self.flow.importance,
            flags: self.flow.flags,
            matching: MatchCow::Borrowed(self.flow.matching.as_ref()),
            instructions: InstructionsCow::Borrowed(self.flow.instructions.as_ref()),
            packet_count: self.packet_count,
            byte_count: self.byte_count,
            duration: self.duration,
            idle_age: self.idle_age,
        }
    }
}

/// Flags that say how a flow-mod is to be treated, not how the flow is.
const ON_THE_WAY_IN: FlowFlags = FlowFlags::CHECK_OVERLAP.union(FlowFlags::RESET_COUNTS);

impl fmt::Display for Flow {
    /// The flow as `ovs-ofctl add-flow` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Out::show(f, |out| flow_out::write_flow(out, self))
    }
}

impl fmt::Display for FlowStats<'_> {
    /// The line that `ovs-ofctl --no-names dump-flows` prints, without its leading blank.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Out::show(f, |out| flow_out::write_stats(out, self))
    }
}

impl fmt::Display for Named<'_, Flow> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Out::show_named(f, Some(self.1), |out| flow_out::write_flow(out, self.0))
    }
}

impl fmt::Display for Named<'_, FlowStats<'_>> {
    /// The line that `ovs-ofctl --names dump-flows` prints, without its leading blank.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Out::show_named(f, Some(self.1), |out| flow_out::write_stats(out, self.0))
    }
}

impl fmt::Display for FlowEntry {
    /// The line that `ovs-ofctl --no-names dump-flows` prints, without its leading blank.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_stats().fmt(f)
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Display for FlowKeyRef<'_> {
    /// `table=10,priority=200,arp,in_port=4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Out::show(f, |out| flow_out::write_key(out, *self))
    }
}
