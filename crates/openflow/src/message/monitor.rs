//! Watching flows: requests to be told of changes, and what the switch then tells.
//!
//! Request (1.4 and later, multipart 16): monitor u32, out port u32, out group u32, flags u16, table u8,
//! command u8, match. Update: length u16, event u16, then for changes: table u8, reason u8, idle u16, hard
//! u16, priority u16, zeros 4, cookie u64, match, instructions; for our own changes: xid u32. In 1.3 Open vSwitch
//! takes the request as the ONF's multipart 1870: monitor u32, flags u16, length of the match u16, out port u32,
//! table u8, zeros 3, match; there bit 5 of the flags has the meaning that bit 6 has in 1.4.

use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::flow::FlowKeyRef;
use crate::instruction::{InstructionsCow, InstructionsRef};
use crate::matching::{Match, MatchCow, OFPMT_OXM, read_match};
use crate::types::{OfPort, TableId, Version};
use crate::writer::{Pad, Writer};

use super::entries::{Entries, Entry, measured};
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
            out_port: r.port()?,
            out_group: r.u32()?,
            flags: flags(r)?,
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

    /// Reads the ONF's form of 1.3.
    pub(super) fn read_onf(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = r.u32()?;
        let wire = r.u16()?;
        if wire & !(ONF_KEPT | ONF_OWN) != 0 || wire & CHANGES == 0 {
            return Err(r.refuse(ErrorCode::OFPMOFC_BAD_FLAGS));
        }
        let mut flags = MonitorFlags::from_bits_retain(wire & ONF_KEPT);
        flags.set(MonitorFlags::ONLY_OWN, wire & ONF_OWN != 0);
        r.skip(2)?;
        let out_port = r.port()?;
        let table = TableId(r.u8()?);
        r.zeros(3, ErrorCode::NXBRC_MUST_BE_ZERO)?;
        let matching = read_match(r)?.into_owned();
        Ok(Self { id, out_port, out_group: ANY_GROUP, flags, table, command: MonitorCommand::Add, matching })
    }

    /// Appends the ONF's form of 1.3, which knows no groups and no commands.
    pub(super) fn write_onf(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.u32(self.id);
        let own = if self.flags.contains(MonitorFlags::ONLY_OWN) { ONF_OWN } else { 0 };
        w.u16((self.flags.bits() & ONF_KEPT) | own);
        let len_at = w.position();
        w.zeros(2);
        w.u32(self.out_port.0);
        let TableId(table) = self.table;
        w.u8(table);
        w.zeros(3);
        let start = w.position();
        w.tlv("match", OFPMT_OXM, Pad::None, |w| self.matching.as_ref().write_fields(w))?;
        w.patch_u16("match", len_at, w.position().saturating_sub(start))?;
        w.pad_from(start);
        Ok(())
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

/// Flags of 1.4 and later, as Open vSwitch takes them: with some change and without what it does not do.
fn flags(r: &mut Reader<'_>) -> Result<MonitorFlags, DecodeError> {
    let wire = r.u16()?;
    if wire & !(ONF_KEPT | MonitorFlags::ONLY_OWN.bits()) != 0 || wire & CHANGES == 0 {
        return Err(r.refuse(ErrorCode::OFPMOFC_BAD_FLAGS));
    }
    Ok(MonitorFlags::from_bits_retain(wire))
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

/// The updates of one message.
pub type FlowUpdates<'a> = Entries<'a, FlowUpdate<'a>>;

impl<'a> Entry<'a> for FlowUpdate<'a> {
    const NAME: &'static str = "flow update";

    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut r = measured(reader, Self::NAME)?;
        let event = match r.u16()? {
            0 => FlowEvent::Initial,
            1 => FlowEvent::Added,
            2 => FlowEvent::Removed,
            3 => FlowEvent::Modified,
            4 => return Ok(Self::Abbrev { xid: r.u32()? }),
            5 => return Ok(Self::Paused),
            6 => return Ok(Self::Resumed),
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
        let instructions = InstructionsRef::read(r, version)?;
        Ok(Self::Full(FullUpdate {
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

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let start = w.position();
        w.sized(Self::NAME, start, Pad::None, |w| match self {
            Self::Abbrev { xid } => {
                w.u16(4);
                w.u32(*xid);
                Ok(())
            }
            Self::Paused => {
                w.u16(5);
                w.zeros(4);
                Ok(())
            }
            Self::Resumed => {
                w.u16(6);
                w.zeros(4);
                Ok(())
            }
            Self::Full(update) => update.write(w),
        })
    }
}

impl FullUpdate<'_> {
    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.u16(match self.event {
            FlowEvent::Initial => 0,
            FlowEvent::Added => 1,
            FlowEvent::Removed => 2,
            FlowEvent::Modified => 3,
        });
        let TableId(table) = self.table;
        w.u8(table);
        w.u8(self.reason);
        w.u16(self.idle_timeout);
        w.u16(self.hard_timeout);
        w.u16(self.priority);
        w.zeros(4);
        w.u64(self.cookie);
        self.matching.as_ref().write(w)?;
        self.instructions.as_ref().write(w)
    }
}

/// Flags that mean the same in the ONF's form.
const ONF_KEPT: u16 = 31;
/// Additions, removals, modifications: one of them is needed.
const CHANGES: u16 = 14;
/// The ONF's flag for our own changes.
const ONF_OWN: u16 = 32;
