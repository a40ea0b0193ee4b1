//! Messages about the connection and the switch as a whole: features, configuration, role, async configuration.

use bytes::BytesMut;

use super::{
    FEATURES_REPLY, GET_ASYNC_REPLY, GET_CONFIG_REPLY, ROLE_REPLY, ROLE_REQUEST, ROLE_STATUS, SET_ASYNC,
    SET_CONFIG, write_message,
};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::types::Version;
use crate::writer::{Pad, Writer};

/// The switch's identity: datapath u64, buffers u32, tables u8, auxiliary u8, pad 2, capabilities u32,
/// reserved u32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// The datapath's number, usually a MAC address in its low 48 bits.
    pub datapath_id: u64,
    /// Packets that it can keep.
    pub buffers: u32,
    /// Tables that it has.
    pub tables: u8,
    /// 0 on a main connection.
    pub auxiliary_id: u8,
    /// What it can do, as bits.
    pub capabilities: u32,
}

impl Features {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let datapath_id = r.u64()?;
        let buffers = r.u32()?;
        let tables = r.u8()?;
        let auxiliary_id = r.u8()?;
        r.skip(2)?;
        let capabilities = r.u32()?;
        r.skip(4)?;
        Ok(Self { datapath_id, buffers, tables, auxiliary_id, capabilities })
    }

    /// Appends the reply, as a switch does.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, FEATURES_REPLY, xid, |w| {
            w.u64(self.datapath_id);
            w.u32(self.buffers);
            w.u8(self.tables);
            w.u8(self.auxiliary_id);
            w.zeros(2);
            w.u32(self.capabilities);
            w.zeros(4);
            Ok(())
        })
    }
}

/// The switch's configuration: flags u16, miss length u16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// 0 fragments as they are, 1 drop, 2 reassemble, 3 Nicira's own treatment.
    pub flags: u16,
    /// Bytes of a packet that a table miss sends to the controller.
    pub miss_send_len: u16,
}

impl Config {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (flags, miss_send_len) = (r.u16()?, r.u16()?);
        Ok(Self { flags, miss_send_len })
    }

    pub(crate) fn read_set(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let config = Self::read(r)?;
        if config.flags > 3 { Err(r.refuse(ErrorCode::OFPSCFC_BAD_FLAGS)) } else { Ok(config) }
    }

    /// Appends a request to be configured so.
    pub fn encode_set(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        self.encode(SET_CONFIG, version, xid, buf)
    }

    /// Appends the reply to a question, as a switch does.
    pub fn encode_reply(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        self.encode(GET_CONFIG_REPLY, version, xid, buf)
    }

    fn encode(self, kind: u8, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, kind, xid, |w| {
            w.u16(self.flags);
            w.u16(self.miss_send_len);
            Ok(())
        })
    }
}

/// What a controller may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleKind {
    /// Ask, do not change.
    NoChange,
    /// As everybody.
    Equal,
    /// The only one that changes things.
    Primary,
    /// Reads only.
    Secondary,
}

impl RoleKind {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match r.u32()? {
            0 => Self::NoChange,
            1 => Self::Equal,
            2 => Self::Primary,
            3 => Self::Secondary,
            _ => return Err(r.refuse(ErrorCode::OFPRRFC_BAD_ROLE)),
        })
    }

    fn number(self) -> u32 {
        match self {
            Self::NoChange => 0,
            Self::Equal => 1,
            Self::Primary => 2,
            Self::Secondary => 3,
        }
    }
}

/// A role asked for or given: role u32, pad 4, generation u64 (1.5: short id u16 in the padding).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// The role.
    pub kind: RoleKind,
    /// Orders the elections of a primary.
    pub generation: u64,
}

impl Role {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = RoleKind::read(r)?;
        r.skip(4)?;
        Ok(Self { kind, generation: r.u64()? })
    }

    /// Appends the request.
    pub fn encode_request(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        self.encode(ROLE_REQUEST, version, xid, buf)
    }

    /// Appends the reply, as a switch does.
    pub fn encode_reply(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        self.encode(ROLE_REPLY, version, xid, buf)
    }

    fn encode(&self, kind: u8, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, kind, xid, |w| {
            w.u32(self.kind.number());
            w.zeros(4);
            w.u64(self.generation);
            Ok(())
        })
    }
}

/// The switch changed our role: role u32, reason u8, pad 3, generation u64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleStatus {
    /// The role that we have now.
    pub kind: RoleKind,
    /// Why: 0 another one asked to be primary, 1 the switch's configuration, 2 an experimenter's data.
    pub reason: u8,
    /// The generation of the election.
    pub generation: u64,
}

impl RoleStatus {
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = RoleKind::read(r)?;
        let reason = r.u8()?;
        r.skip(3)?;
        Ok(Self { kind, reason, generation: r.u64()? })
    }

    /// Appends the message, as a switch does.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, ROLE_STATUS, xid, |w| {
            w.u32(self.kind.number());
            w.u8(self.reason);
            w.zeros(3);
            w.u64(self.generation);
            Ok(())
        })
    }
}

/// Which messages a switch sends on its own account, as bits by reason.
///
/// Pairs are for a controller that is primary or equal, and for a secondary one. 1.3: six masks u32. From 1.4 on:
/// properties of type u16, length u16 (8), mask u32, even types for the secondary, odd ones for the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AsyncConfig {
    /// Reasons of packet-ins.
    pub packet_in: [u32; 2],
    /// Reasons of port-status messages.
    pub port_status: [u32; 2],
    /// Reasons of flow-removed messages.
    pub flow_removed: [u32; 2],
    /// Reasons of role-status messages; from 1.4 on, like those below.
    pub role_status: Option<[u32; 2]>,
    /// Reasons of table-status messages.
    pub table_status: Option<[u32; 2]>,
    /// Kinds of changes by other controllers that are passed on.
    pub request_forward: Option<[u32; 2]>,
}

impl AsyncConfig {
    pub(crate) fn read(r: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        Self::read_masks(r, version, false)
    }

    fn read_masks(r: &mut Reader<'_>, version: Version, is_set: bool) -> Result<Self, DecodeError> {
        let mut config = Self::default();
        if version == Version::V13 {
            for kind in [&mut config.packet_in, &mut config.port_status, &mut config.flow_removed] {
                *kind = [r.u32()?, r.u32()?];
            }
            return Ok(config);
        }
        while !r.is_empty() {
            let (kind, mut body) = r.tlv("async property")?;
            let (masks, known) = match kind / 2 {
                0 => (&mut config.packet_in, KNOWN_PACKET_IN),
                1 => (&mut config.port_status, KNOWN_PORT_STATUS),
                2 => (&mut config.flow_removed, KNOWN_FLOW_REMOVED),
                3 => (config.role_status.get_or_insert_default(), KNOWN_ROLE_STATUS),
                4 => (config.table_status.get_or_insert_default(), KNOWN_TABLE_STATUS),
                5 => (config.request_forward.get_or_insert_default(), KNOWN_REQUEST_FORWARD),
                _ => return Err(body.refuse(ErrorCode::OFPACFC_UNSUPPORTED)),
            };
            if body.len() != 4 {
                return Err(body.refuse(ErrorCode::OFPBPC_BAD_LEN));
            }
            let mask = body.u32()?;
            if is_set && mask & !known != 0 {
                return Err(body.refuse(ErrorCode::OFPACFC_INVALID));
            }
            let [primary, secondary] = masks;
            *if kind.is_multiple_of(2) { secondary } else { primary } = mask;
        }
        Ok(config)
    }

    /// Reads a request, whose reasons Open vSwitch checks from 1.4 on.
    pub(crate) fn read_set(r: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        Self::read_masks(r, version, true)
    }

    /// Appends a request to send these.
    pub fn encode_set(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, SET_ASYNC, xid, |w| self.write(w))
    }

    /// Appends the reply to a question, as a switch does.
    pub fn encode_reply(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, GET_ASYNC_REPLY, xid, |w| self.write(w))
    }

    /// The form of 1.3, which Nicira's message has in all versions.
    pub(super) fn write_old(&self, w: &mut Writer<'_>) {
        let masks = [self.packet_in, self.port_status, self.flow_removed];
        for mask in masks.as_flattened() {
            w.u32(*mask);
        }
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        if w.version() == Version::V13 {
            self.write_old(w);
            return Ok(());
        }
        let first = [self.packet_in, self.port_status, self.flow_removed].map(Some);
        let masks = first.into_iter().chain([self.role_status, self.table_status, self.request_forward]);
        for (kind, masks) in (0_u16..).step_by(2).zip(masks) {
            let Some([primary, secondary]) = masks else { continue };
            for (kind, mask) in [(kind, secondary), (kind.saturating_add(1), primary)] {
                w.tlv("async property", kind, Pad::Outside, |w| {
                    w.u32(mask);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }
}

/// Reasons that Open vSwitch knows, from 1.4 on.
pub(crate) const KNOWN_PACKET_IN: u32 = 0x3f;
pub(crate) const KNOWN_PORT_STATUS: u32 = 7;
pub(crate) const KNOWN_FLOW_REMOVED: u32 = 0x3f;
pub(crate) const KNOWN_ROLE_STATUS: u32 = 7;
pub(crate) const KNOWN_TABLE_STATUS: u32 = 0x18;
pub(crate) const KNOWN_REQUEST_FORWARD: u32 = 3;
