//! Tables: changing them, their descriptions, their features, and news about them.
//!
//! Table-mod: table u8, pad 3, configuration u32, (from 1.4 on: properties). Description: length u16, table u8, pad 1,
//! configuration u32, properties. Properties: eviction (2): flags u32; vacancy (3): down u8, up u8, now u8, pad 1, in
//! percent. Features, 1.3: length u16, table u8, pad 5, name 32, metadata that matches u64, metadata that is written u64,
//! configuration u32, entries u32, properties; 1.4: capabilities in the place of the configuration; 1.5: table u8, command
//! u8, features u32, and the rest. Status: reason u8, pad 7, description.

use bytes::BytesMut;

use super::entries::{Entry, measured};
use super::{TABLE_MOD, TABLE_STATUS, write_message};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::types::{TableId, Version};
use crate::writer::{Pad, Writer};

/// When a switch tells that a table fills or empties, in percent of free entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vacancy {
    /// Tells when fewer are free.
    pub down: u8,
    /// Tells when more are free.
    pub up: u8,
    /// So many are free now; 0 in a table-mod.
    pub now: u8,
}

/// What properties say about a table (from 1.4 on).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableProperties {
    /// What decides which flow is evicted, as bits: other, importance, lifetime.
    pub eviction: Option<u32>,
    /// When to tell about free entries.
    pub vacancy: Option<Vacancy>,
}

impl TableProperties {
    fn read(r: &mut Reader<'_>, is_mod: bool) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        while !r.is_empty() {
            let (kind, mut body) = r.tlv("table property")?;
            match kind {
                EVICTION => properties.eviction = Some(body.u32()?),
                VACANCY => {
                    let vacancy = Vacancy { down: body.u8()?, up: body.u8()?, now: body.u8()? };
                    if is_mod && (vacancy.now != 0 || vacancy.down > vacancy.up) {
                        return Err(body.refuse(ErrorCode::OFPBPC_BAD_VALUE));
                    }
                    body.skip(1)?;
                    properties.vacancy = Some(vacancy);
                }
                _ => return Err(body.refuse(ErrorCode::OFPBRC_BAD_TYPE)),
            }
        }
        Ok(properties)
    }

    fn write(self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        if let Some(flags) = self.eviction {
            w.tlv("table property", EVICTION, Pad::Outside, |w| {
                w.u32(flags);
                Ok(())
            })?;
        }
        if let Some(vacancy) = self.vacancy {
            w.tlv("table property", VACANCY, Pad::Outside, |w| {
                w.u8(vacancy.down);
                w.u8(vacancy.up);
                w.u8(vacancy.now);
                w.zeros(1);
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Changes a table, or describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// The table, [`TableId::ALL`] for all.
    pub table: TableId,
    /// [`Table::EVICTS`] and [`Table::TELLS_VACANCY`]; other bits have no meaning from 1.3 on.
    pub config: u32,
    /// What properties say.
    pub properties: TableProperties,
}

impl Table {
    /// Flows are evicted when the table is full.
    pub const EVICTS: u32 = 4;
    /// The switch tells when entries become scarce or plentiful.
    pub const TELLS_VACANCY: u32 = 8;

    pub(crate) fn read_mod(r: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let table = TableId(r.u8()?);
        r.skip(3)?;
        let config = r.u32()?;
        let properties = if version == Version::V13 {
            TableProperties::default()
        } else {
            TableProperties::read(r, true)?
        };
        Ok(Self { table, config, properties })
    }

    /// Appends a message that changes the table so.
    pub fn encode_mod(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, TABLE_MOD, xid, |w| {
            let TableId(table) = self.table;
            w.u8(table);
            w.zeros(3);
            w.u32(self.config);
            if version == Version::V13 { Ok(()) } else { self.properties.write(w) }
        })
    }
}

impl<'a> Entry<'a> for Table {
    const NAME: &'static str = "table description";

    fn read(reader: &mut Reader<'a>, _version: Version) -> Result<Self, DecodeError> {
        let mut r = measured(reader, Self::NAME)?;
        let table = TableId(r.u8()?);
        r.skip(1)?;
        let config = r.u32()?;
        Ok(Self { table, config, properties: TableProperties::read(&mut r, false)? })
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let start = w.position();
        w.sized(Self::NAME, start, Pad::None, |w| {
            let TableId(table) = self.table;
            w.u8(table);
            w.zeros(1);
            w.u32(self.config);
            self.properties.write(w)
        })
    }
}

/// A table filled or emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableStatus {
    /// True: fewer entries are free than asked for; false: enough are again.
    pub is_scarce: bool,
    /// The table.
    pub table: Table,
}

impl TableStatus {
    pub(crate) fn read(r: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let is_scarce = match r.u8()? {
            3 => true,
            4 => false,
            _ => return Err(r.refuse(ErrorCode::OFPBPC_BAD_VALUE)),
        };
        r.skip(7)?;
        Ok(Self { is_scarce, table: Table::read(r, version)? })
    }

    /// Appends the message, as a switch does.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, TABLE_STATUS, xid, |w| {
            w.u8(if self.is_scarce { 3 } else { 4 });
            w.zeros(7);
            self.table.write(w)
        })
    }
}

/// What a table can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableFeatures<'a> {
    /// The table.
    pub table: TableId,
    /// What a request asks to do (1.5).
    pub command: u8,
    /// Which features those are (1.5).
    pub features: u32,
    /// Its name, at most 31 bytes.
    pub name: &'a [u8],
    /// Bits of the metadata that it can match.
    pub metadata_match: u64,
    /// Bits of the metadata that it can write.
    pub metadata_write: u64,
    /// Its configuration (1.3) or capabilities.
    pub capabilities: u32,
    /// Entries that it can hold.
    pub max_entries: u32,
    /// What it can do in detail: TLVs, see [`TableFeatures::properties`].
    pub properties: &'a [u8],
}

impl<'a> TableFeatures<'a> {
    /// Type and body of each property.
    pub fn properties(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.properties, "table features property");
        std::iter::from_fn(move || {
            let (kind, mut body) = if reader.is_empty() { None } else { reader.tlv("property").ok() }?;
            Some((kind, body.rest()))
        })
    }
}

impl<'a> Entry<'a> for TableFeatures<'a> {
    const NAME: &'static str = "table features";

    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut r = measured(reader, Self::NAME)?;
        let table = TableId(r.u8()?);
        let (command, features) = if version == Version::V15 {
            (r.u8()?, r.u32()?)
        } else {
            r.skip(5)?;
            (0, 0)
        };
        let field = r.take(NAME_LEN)?;
        let name = field.split(|byte| *byte == 0).next().unwrap_or_default();
        let (metadata_match, metadata_write) = (r.u64()?, r.u64()?);
        let (capabilities, max_entries) = (r.u32()?, r.u32()?);
        let mut walk = r;
        while !walk.is_empty() {
            walk.tlv("table features property")?;
        }
        Ok(Self {
            table,
            command,
            features,
            name,
            metadata_match,
            metadata_write,
            capabilities,
            max_entries,
            properties: r.rest(),
        })
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let start = w.position();
        w.sized(Self::NAME, start, Pad::None, |w| {
            let TableId(table) = self.table;
            w.u8(table);
            if w.version() == Version::V15 {
                w.u8(self.command);
                w.u32(self.features);
            } else {
                w.zeros(5);
            }
            let name = self.name.get(..NAME_LEN).unwrap_or(self.name);
            w.bytes(name);
            w.zeros(NAME_LEN.saturating_sub(name.len()));
            w.u64(self.metadata_match);
            w.u64(self.metadata_write);
            w.u32(self.capabilities);
            w.u32(self.max_entries);
            w.bytes(self.properties);
            Ok(())
        })
    }
}

const EVICTION: u16 = 2;
const VACANCY: u16 = 3;
/// Bytes of a table's name with its final zero.
const NAME_LEN: usize = 32;
