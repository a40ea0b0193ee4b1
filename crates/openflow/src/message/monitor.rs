//! Watching flows: requests to be told of changes, and what the switch then tells.
//!
//! Request (1.4 and later, multipart 16): monitor u32, out port u32, out group u32, flags u16, table u8,
//! command u8, match. Update: length u16, event u16, then for changes: table u8, reason u8, idle u16, hard
//! u16, priority u16, zeros 4, cookie u64, match, instructions; for our own changes: xid u32.

use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError, Malformed};
use crate::error_code::ErrorCode;
use crate::flow::FlowKeyRef;
use crate::instruction::{InstructionsCow, InstructionsRef};
use crate::matching::{Match, MatchCow, read_match};
use crate::types::{OfPort, TableId, Version};
use crate::writer::Writer;

use super::flow_mod::ANY_GROUP;

bitflags::bitflags! {
    /// What a monitor tells.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct MonitorFlags: u16 {
        /// What is there at the beginning.
        const INITIAL = 1;
        /// What is added.
        const ADD = 2;
        /// What goes.
        const REMOVED = 4;
        /// What changes.
        const MODIFY = 8;
        /// With instructions.
        const INSTRUCTIONS = 16;
        /// Our own changes by xid only.
        const NO_ABBREV = 32;
        /// Not our own changes at all.
        const ONLY_OWN = 64;
        // Other bits survive a round trip.
        const _ = !0;
    }
}

/// What to do with a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MonitorCommand {
    /// Begin.
    Add,
    /// Change.
    Modify,
    /// End.
    Delete,
}

/// A request to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorRequest {
    /// The client's number for it.
    pub id: u32,
    /// Only flows that send here; [`OfPort::ANY`] for all.
    pub out_port: OfPort,
    /// Only flows that use this group.
    pub out_group: u32,
    /// What to tell.
    pub flags: MonitorFlags,
    /// Of which table, [`TableId::ALL`] for all.
    pub table: TableId,
    /// What to do.
    pub command: MonitorCommand,
    /// Only flows that this covers.
    pub matching: Match,
}

impl MonitorRequest {
    /// Watches a table: what is there now, then every change, with instructions.
    pub fn watch(id: u32, table: TableId) -> Self {
        let flags = MonitorFlags::INITIAL
            | MonitorFlags::ADD
            | MonitorFlags::REMOVED
            | MonitorFlags::MODIFY
            | MonitorFlags::INSTRUCTIONS;
        Self {
            id,
            out_port: OfPort::ANY,
            out_group: ANY_GROUP,
            flags,
            table,
            command: MonitorCommand::Add,
            matching: Match::new(),
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: r.u32()?,
            out_port: OfPort(r.u32()?),
            out_group: r.u32()?,
            flags: MonitorFlags::from_bits_retain(r.u16()?),
            table: TableId(r.u8()?),
            command: match r.u8()? {
                0 => MonitorCommand::Add,
                1 => MonitorCommand::Modify,
                2 => MonitorCommand::Delete,
                _ => return Err(r.refuse(ErrorCode::OFPMOFC_BAD_COMMAND)),
            },
            matching: read_match(r)?.into_owned(),
        })
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.u32(self.id);
        w.u32(self.out_port.0);
        w.u32(self.out_group);
        w.u16(self.flags.bits());
        let TableId(table) = self.table;
        w.u8(table);
        w.u8(match self.command {
            MonitorCommand::Add => 0,
            MonitorCommand::Modify => 1,
            MonitorCommand::Delete => 2,
        });
        self.matching.as_ref().write(w)
    }
}

/// What happened to a flow. Open vSwitch says `Added` for an add that replaced a flow, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowEvent {
    /// It was there at the beginning.
    Initial,
    /// It came.
    Added,
    /// It went.
    Removed,
    /// Its instructions changed.
    Modified,
}

/// One thing that a monitor tells.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "lives for one step of a loop; boxing would allocate per flow")]
pub enum FlowUpdate<'a> {
    /// A flow and what happened to it.
    Full(FullUpdate<'a>),
    /// Our own request did what it asked for.
    Abbrev {
        /// The request.
        xid: u32,
    },
    /// Too much happened: nothing more is told until `Resumed`.
    Paused,
    /// What happened meanwhile has been told.
    Resumed,
}

/// A flow and what happened to it.
#[derive(Debug, Clone)]
pub struct FullUpdate<'a> {
    /// What happened.
    pub event: FlowEvent,
    /// Why it went; counts for `Removed`.
    pub reason: u8,
    /// Its table.
    pub table: TableId,
    /// Its priority.
    pub priority: u16,
    /// Its idle timeout in seconds.
    pub idle_timeout: u16,
    /// Its hard timeout in seconds.
    pub hard_timeout: u16,
    /// Its cookie.
    pub cookie: u64,
    /// Its match.
    pub matching: MatchCow<'a>,
    /// Its instructions, if asked for.
    pub instructions: InstructionsCow<'a>,
}

impl FullUpdate<'_> {
    /// The identity of the flow.
    pub fn key(&self) -> FlowKeyRef<'_> {
        FlowKeyRef { table: self.table, priority: self.priority, matching: self.matching.as_ref() }
    }
}

/// The updates of one message; stops after an error.
#[derive(Debug, Clone)]
pub struct FlowUpdates<'a> {
    reader: Reader<'a>,
    version: Version,
}

impl<'a> FlowUpdates<'a> {
    pub(crate) fn new(reader: Reader<'a>, version: Version) -> Self {
        Self { reader: reader.named("flow update"), version }
    }

    fn read(&mut self) -> Result<FlowUpdate<'a>, DecodeError> {
        let start = self.reader;
        let len = usize::from(self.reader.u16()?);
        let body = len.checked_sub(2).ok_or_else(|| start.fail(Malformed::BadLength(0)))?;
        let mut r = self.reader.sub(body, "flow update")?;
        let event = match r.u16()? {
            0 => FlowEvent::Initial,
            1 => FlowEvent::Added,
            2 => FlowEvent::Removed,
            3 => FlowEvent::Modified,
            4 => return Ok(FlowUpdate::Abbrev { xid: r.u32()? }),
            5 => return Ok(FlowUpdate::Paused),
            6 => return Ok(FlowUpdate::Resumed),
            _ => return Err(r.refuse(ErrorCode::NXBRC_FM_BAD_EVENT)),
        };
        let table = TableId(r.u8()?);
        let reason = r.u8()?;
        let idle_timeout = r.u16()?;
        let hard_timeout = r.u16()?;
        let priority = r.u16()?;
        r.skip(4)?;
        let cookie = r.u64()?;
        let matching = read_match(&mut r)?;
        let instructions = InstructionsRef::read(r, self.version)?;
        Ok(FlowUpdate::Full(FullUpdate {
            event,
            reason,
            table,
            priority,
            idle_timeout,
            hard_timeout,
            cookie,
            matching,
            instructions,
        }))
    }
}

impl<'a> Iterator for FlowUpdates<'a> {
    type Item = Result<FlowUpdate<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let update = self.read();
        if update.is_err() {
            self.reader.rest();
        }
        Some(update)
    }
}
