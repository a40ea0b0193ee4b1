//! Messages about the connection and the switch as a whole: features, configuration, role, async configuration.

use bytes::BytesMut;

use super::{
    FEATURES_REPLY, GET_CONFIG_REPLY, ROLE_REPLY, ROLE_REQUEST, SET_ASYNC, SET_CONFIG, write_message,
};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::types::Version;
use crate::writer::Pad;

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
        Ok(Self { flags: r.u16()?, miss_send_len: r.u16()? })
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
        let kind = match r.u32()? {
            0 => RoleKind::NoChange,
            1 => RoleKind::Equal,
            2 => RoleKind::Primary,
            3 => RoleKind::Secondary,
            _ => return Err(r.refuse(ErrorCode::OFPRRFC_BAD_ROLE)),
        };
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
            w.u32(match self.kind {
                RoleKind::NoChange => 0,
                RoleKind::Equal => 1,
                RoleKind::Primary => 2,
                RoleKind::Secondary => 3,
            });
            w.zeros(4);
            w.u64(self.generation);
            Ok(())
        })
    }
}

/// Which messages a switch sends on its own account, as bits by reason.
///
/// Pairs are for a controller that is primary or equal, and for a secondary one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AsyncConfig {
    /// Reasons of packet-ins.
    pub packet_in: [u32; 2],
    /// Reasons of port-status messages.
    pub port_status: [u32; 2],
    /// Reasons of flow-removed messages.
    pub flow_removed: [u32; 2],
}

impl AsyncConfig {
    pub(crate) fn read(r: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let mut config = Self::default();
        if version == Version::V13 {
            for kind in [&mut config.packet_in, &mut config.port_status, &mut config.flow_removed] {
                *kind = [r.u32()?, r.u32()?];
            }
            return Ok(config);
        }
        // Properties: even numbers for secondary, odd for primary; others are about messages not kept here.
        while !r.is_empty() {
            let (kind, mut body) = r.tlv("async property")?;
            let [primary, secondary] = match kind {
                0 | 1 => &mut config.packet_in,
                2 | 3 => &mut config.port_status,
                4 | 5 => &mut config.flow_removed,
                _ => continue,
            };
            *if kind % 2 == 0 { secondary } else { primary } = body.u32()?;
        }
        Ok(config)
    }

    /// Appends a request to send these.
    pub fn encode_set(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, SET_ASYNC, xid, |w| {
            let mut kind = 0_u16;
            for [primary, secondary] in [self.packet_in, self.port_status, self.flow_removed] {
                if version == Version::V13 {
                    w.u32(primary);
                    w.u32(secondary);
                    continue;
                }
                for mask in [secondary, primary] {
                    w.tlv("async property", kind, Pad::Outside, |w| {
                        w.u32(mask);
                        Ok(())
                    })?;
                    kind = kind.saturating_add(1);
                }
            }
            Ok(())
        })
    }
}
