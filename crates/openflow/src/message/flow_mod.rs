//! Changing flows.
//!
//! Layout: cookie u64, cookie mask u64, table u8, command u8, idle u16, hard u16, priority u16, buffer u32,
//! out port u32, out group u32, flags u16, importance u16 (pad in 1.3), match, instructions.

use std::fmt;

use bytes::BytesMut;

use super::{FLOW_MOD, write_message};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::flow::{Flow, FlowFlags, consistency};
use crate::instruction::{Instruction, InstructionsRef};
use crate::matching::read_match;
use crate::text::flow_out;
use crate::text::flow_out::KNOWN_FLAGS;
use crate::text::out::Out;
use crate::types::{OfPort, TableId, Version};
use crate::writer::Writer;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowModCommand {
    /// Add, replacing a flow of the same key.
    Add,
    /// Change the instructions of all flows that the match covers.
    Modify,
    /// Change the instructions of the flow with exactly this key.
    ModifyStrict,
    /// Delete all flows that the match covers.
    Delete,
    /// Delete the flow with exactly this key.
    DeleteStrict,
}

/// A flow-mod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowMod {
    /// What to do.
    pub command: FlowModCommand,
    /// The flow, or the part of one that the command looks at.
    pub flow: Flow,
    /// Restricts deletes and modifications to flows whose cookie agrees in these bits.
    pub cookie_mask: u64,
    /// A packet that the switch kept, [`NO_BUFFER`] for none.
    pub buffer_id: u32,
    /// Restricts deletes to flows that send here; [`OfPort::ANY`] does not.
    pub out_port: OfPort,
    /// Restricts deletes to flows that use this group; [`ANY_GROUP`] does not.
    pub out_group: u32,
}

impl FlowMod {
    /// Adds a flow.
    pub fn add(flow: Flow) -> Self {
        Self::of(FlowModCommand::Add, flow)
    }

    /// Changes the instructions of exactly this flow.
    pub fn modify_strict(flow: Flow) -> Self {
        Self::of(FlowModCommand::ModifyStrict, flow)
    }

    /// Deletes exactly this flow, whatever its cookie.
    pub fn delete_strict(flow: Flow) -> Self {
        Self::of(FlowModCommand::DeleteStrict, flow)
    }

    /// Deletes what the flow's match covers in its table (`TableId::ALL`: in all) and has these cookie bits.
    pub fn delete(flow: Flow, cookie_mask: u64) -> Self {
        Self { cookie_mask, ..Self::of(FlowModCommand::Delete, flow) }
    }

    fn of(command: FlowModCommand, flow: Flow) -> Self {
        Self {
            command,
            flow,
            cookie_mask: 0,
            buffer_id: NO_BUFFER,
            out_port: OfPort::ANY,
            out_group: ANY_GROUP,
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let cookie = r.u64()?;
        let cookie_mask = r.u64()?;
        let table = TableId(r.u8()?);
        let command = r.u8()?;
        let idle_timeout = r.u16()?;
        let hard_timeout = r.u16()?;
        let priority = r.u16()?;
        let buffer_id = r.u32()?;
        let out_port = OfPort(r.u32()?);
        let out_group = r.u32()?;
        let flags = FlowFlags::from_bits_retain(r.u16()?);
        let importance = r.u16()?;
        // In the order in which Open vSwitch looks at them, so that it names the same mistake.
        let matching = read_match(r)?.into_owned();
        if table == TableId::ALL && !matches!(command, 3 | 4) {
            return Err(r.refuse(ErrorCode::OFPFMFC_BAD_TABLE_ID));
        }
        if !out_port.is_valid() {
            return Err(r.refuse(ErrorCode::OFPBAC_BAD_OUT_PORT));
        }
        let command = match command {
            0 => FlowModCommand::Add,
            1 => FlowModCommand::Modify,
            2 => FlowModCommand::ModifyStrict,
            3 => FlowModCommand::Delete,
            4 => FlowModCommand::DeleteStrict,
            _ => return Err(r.refuse(ErrorCode::OFPFMFC_BAD_COMMAND)),
        };
        let instructions = InstructionsRef::read(*r, version)?.into_owned();
        if r.is_strict() {
            // Kept otherwise: what does not fit harms nobody but the flow's author.
            consistency::check(matching.as_ref(), instructions.as_ref()).map_err(|code| r.refuse(code))?;
        }
        if r.is_strict() && table != TableId::ALL && instructions.iter().any(|i| is_backwards(i, table)) {
            return Err(r.refuse(ErrorCode::OFPBIC_BAD_TABLE_ID));
        }
        r.rest();
        if flags.bits() & !KNOWN_FLAGS != 0 {
            return Err(r.refuse(ErrorCode::OFPFMFC_BAD_FLAGS));
        }
        let importance = if version == Version::V13 { 0 } else { importance };
        let flow = Flow {
            table,
            priority,
            cookie,
            idle_timeout,
            hard_timeout,
            importance,
            flags,
            matching,
            instructions,
        };
        if command == FlowModCommand::Add {
            // An add restricts nothing, whatever mask and group say: Open vSwitch ignores them.
            return Ok(Self { buffer_id, out_port, ..Self::add(flow) });
        }
        Ok(Self { command, flow, cookie_mask, buffer_id, out_port, out_group })
    }

    /// Appends the message.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, FLOW_MOD, xid, |w| self.write(w))
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let flow = &self.flow;
        w.u64(flow.cookie);
        w.u64(self.cookie_mask);
        let TableId(table) = flow.table;
        w.u8(table);
        w.u8(match self.command {
            FlowModCommand::Add => 0,
            FlowModCommand::Modify => 1,
            FlowModCommand::ModifyStrict => 2,
            FlowModCommand::Delete => 3,
            FlowModCommand::DeleteStrict => 4,
        });
        w.u16(flow.idle_timeout);
        w.u16(flow.hard_timeout);
        w.u16(flow.priority);
        w.u32(self.buffer_id);
        w.u32(self.out_port.0);
        w.u32(self.out_group);
        w.u16(flow.flags.bits());
        w.u16(if w.version() == Version::V13 { 0 } else { flow.importance });
        flow.matching.as_ref().write(w)?;
        flow.instructions.as_ref().write(w)
    }
}

/// Whether an instruction leads back, which only `resubmit` may.
fn is_backwards(instruction: Instruction<'_>, table: TableId) -> bool {
    matches!(instruction, Instruction::Goto(next) if next <= table)
}

impl fmt::Display for FlowMod {
    /// What `ovs-ofctl ofp-print` shows after the name of the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Out::show(f, |out| flow_out::write_flow_mod(out, self))
    }
}

/// No packet kept.
pub const NO_BUFFER: u32 = u32::MAX;
/// Any group, in requests.
pub const ANY_GROUP: u32 = u32::MAX;
