//! Groups: changing them, their descriptions, what they count and what the switch can do with them.
//!
//! Group-mod, 1.3 and 1.4: command u16, type u8, pad 1, group u32, buckets. 1.5: command u16, type u8, pad 1, group
//! u32, length of the buckets u16, pad 2, command bucket u32, buckets, properties. Description: length u16, type
//! u8, pad 1, group u32, (1.5: length of the buckets u16, pad 6,) buckets, (1.5: properties). Statistics: length
//! u16, pad 2, group u32, references u32, pad 4, packets u64, bytes u64, duration s u32, ns u32, then packets u64
//! and bytes u64 of each bucket. Features: types u32, capabilities u32, the greatest number of groups u32 and the
//! actions u32 of each of the four types. Buckets and properties stand in `group/bucket.rs`.

use std::time::Duration;

use bytes::BytesMut;

use super::entries::{Entry, measured};
use super::{GROUP_MOD, write_message};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::flow::{read_duration, write_duration};
use crate::types::Version;
use crate::writer::{Pad, Writer};

mod bucket;

pub(crate) use bucket::METHODS;
pub use bucket::{Bucket, Selection};
use bucket::{buckets, read_properties, write_properties};

/// How a group chooses among its buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupType {
    /// All of them.
    All,
    /// One, by hash.
    Select,
    /// The only one.
    Indirect,
    /// The first that is alive.
    FastFailover,
}

impl GroupType {
    /// All, by number.
    pub const ALL: [Self; 4] = [Self::All, Self::Select, Self::Indirect, Self::FastFailover];

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = r.u8()?;
        Self::ALL.get(usize::from(number)).copied().ok_or_else(|| r.refuse(ErrorCode::OFPGMFC_BAD_TYPE))
    }

    fn number(self) -> u8 {
        match self {
            Self::All => 0,
            Self::Select => 1,
            Self::Indirect => 2,
            Self::FastFailover => 3,
        }
    }
}

/// A group as somebody wants it or the switch describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub id: u32,
    /// How it chooses.
    pub kind: GroupType,
    /// What it chooses from.
    pub buckets: Vec<Bucket>,
    /// How `select` chooses, if something is said about that (1.5).
    pub selection: Option<Selection>,
}

/// What to do with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupCommand {
    /// Make it.
    Add,
    /// Change it.
    Modify,
    /// Make or change it: Open vSwitch's own.
    AddOrModify,
    /// Delete it.
    Delete,
    /// Add buckets (1.5).
    InsertBucket,
    /// Remove buckets (1.5).
    RemoveBucket,
}

const COMMANDS: [(GroupCommand, u16); 6] = [
    (GroupCommand::Add, 0),
    (GroupCommand::Modify, 1),
    (GroupCommand::Delete, 2),
    (GroupCommand::InsertBucket, 3),
    (GroupCommand::RemoveBucket, 5),
    (GroupCommand::AddOrModify, 0x8000),
];

impl GroupCommand {
    /// Whether the command is about buckets of a group that exists.
    pub fn is_about_buckets(self) -> bool {
        matches!(self, Self::InsertBucket | Self::RemoveBucket)
    }
}

/// Changes a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMod {
    /// What to do.
    pub command: GroupCommand,
    /// Behind which bucket to insert, or which to remove: its number, [`BUCKET_FIRST`], [`BUCKET_LAST`] or
    /// [`BUCKET_ALL`].
    pub command_bucket: u32,
    /// The group.
    pub group: Group,
}

impl GroupMod {
    pub(crate) fn read(r: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let number = r.u16()?;
        let command = COMMANDS.iter().find(|(_, n)| *n == number).map(|(command, _)| *command);
        // Open vSwitch looks at the buckets first.
        let kind = GroupType::read(r);
        r.skip(1)?;
        let id = r.u32()?;
        let (buckets, command_bucket, selection) = if version == Version::V15 {
            let len = usize::from(r.u16()?);
            r.skip(2)?;
            let command_bucket = r.u32()?;
            check_command_bucket(r, command, command_bucket)?;
            let list = r.sub(len, "bucket")?;
            (buckets(list, version)?, command_bucket, read_properties(r, kind.ok(), command)?)
        } else {
            let mut list = *r;
            r.rest();
            list = list.named("bucket");
            (buckets(list, version)?, BUCKET_ALL, None)
        };
        let group = Group { id, kind: kind?, buckets, selection };
        let command = command.ok_or_else(|| r.refuse(ErrorCode::OFPGMFC_BAD_COMMAND));
        let known = command.unwrap_or(GroupCommand::Add);
        let this = Self { command: known, command_bucket, group };
        this.check(r)?;
        command?;
        Ok(this)
    }

    /// What Open vSwitch asks of a group-mod as a whole.
    fn check(&self, r: &Reader<'_>) -> Result<(), DecodeError> {
        let group = &self.group;
        let makes = !matches!(self.command, GroupCommand::Delete) && !self.command.is_about_buckets();
        if makes && group.kind == GroupType::Indirect && group.buckets.len() != 1 {
            return Err(r.refuse(ErrorCode::OFPGMFC_INVALID_GROUP));
        }
        if self.command == GroupCommand::RemoveBucket && !group.buckets.is_empty() {
            return Err(r.refuse(ErrorCode::OFPGMFC_BAD_BUCKET));
        }
        for bucket in &group.buckets {
            if bucket.weight != 0 && group.kind != GroupType::Select {
                return Err(r.refuse(ErrorCode::OFPGMFC_INVALID_GROUP));
            }
            match group.kind {
                GroupType::All | GroupType::Indirect if bucket.is_watched() => {
                    return Err(r.refuse(ErrorCode::OFPGMFC_WATCH_UNSUPPORTED));
                }
                GroupType::FastFailover if !bucket.is_watched() => {
                    return Err(r.refuse(ErrorCode::OFPGMFC_INVALID_GROUP));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Appends the message.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, GROUP_MOD, xid, |w| self.write(w))
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let group = &self.group;
        w.u16(COMMANDS.iter().find(|(command, _)| *command == self.command).map_or(0, |(_, n)| *n));
        w.u8(group.kind.number());
        w.zeros(1);
        w.u32(group.id);
        if w.version() != Version::V15 {
            return group.buckets.iter().try_for_each(|bucket| bucket.write(w, group.kind));
        }
        let len_at = w.position();
        w.zeros(4);
        w.u32(self.command_bucket);
        group.write_buckets(w, len_at)
    }
}

/// Which commands take which of the reserved buckets.
fn check_command_bucket(
    r: &Reader<'_>,
    command: Option<GroupCommand>,
    bucket: u32,
) -> Result<(), DecodeError> {
    let allowed = match command {
        Some(GroupCommand::RemoveBucket) => bucket <= MAX_BUCKET || bucket >= BUCKET_FIRST,
        Some(GroupCommand::InsertBucket) => {
            bucket <= MAX_BUCKET || bucket == BUCKET_FIRST || bucket == BUCKET_LAST
        }
        _ => bucket == BUCKET_ALL,
    };
    if allowed { Ok(()) } else { Err(r.refuse(ErrorCode::OFPGMFC_BAD_BUCKET)) }
}

impl Group {
    /// Appends buckets and properties of 1.5 and patches the length of the former.
    fn write_buckets(&self, w: &mut Writer<'_>, len_at: usize) -> Result<(), EncodeError> {
        let start = w.position();
        self.buckets.iter().try_for_each(|bucket| bucket.write(w, self.kind))?;
        w.patch_u16("buckets", len_at, w.position().saturating_sub(start))?;
        self.selection.as_ref().map_or(Ok(()), |selection| write_properties(w, selection))
    }
}

impl<'a> Entry<'a> for Group {
    const NAME: &'static str = "group description";

    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut r = measured(reader, Self::NAME)?;
        let kind = GroupType::read(&mut r)?;
        r.skip(1)?;
        let id = r.u32()?;
        if version != Version::V15 {
            return Ok(Self { id, kind, buckets: buckets(r.named("bucket"), version)?, selection: None });
        }
        let len = usize::from(r.u16()?);
        r.skip(6)?;
        let list = r.sub(len, "bucket")?;
        let buckets = buckets(list, version)?;
        Ok(Self { id, kind, buckets, selection: read_properties(&mut r, Some(kind), None)? })
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let start = w.position();
        w.sized(Self::NAME, start, Pad::None, |w| {
            w.u8(self.kind.number());
            w.zeros(1);
            w.u32(self.id);
            if w.version() != Version::V15 {
                return self.buckets.iter().try_for_each(|bucket| bucket.write(w, self.kind));
            }
            let len_at = w.position();
            w.zeros(8);
            self.write_buckets(w, len_at)
        })
    }
}

/// What a group has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStats {
    /// The group.
    pub id: u32,
    /// Flows and groups that send to it.
    pub references: u32,
    /// Packets, if they are counted.
    pub packet_count: Option<u64>,
    /// Bytes, if they are counted.
    pub byte_count: Option<u64>,
    /// How long it has been there.
    pub duration: Duration,
    /// Packets and bytes of each bucket.
    pub buckets: Vec<[Option<u64>; 2]>,
}

pub(super) fn read_counter(r: &mut Reader<'_>) -> Result<Option<u64>, DecodeError> {
    r.u64().map(|count| (count != u64::MAX).then_some(count))
}

pub(super) fn write_counter(w: &mut Writer<'_>, count: Option<u64>) {
    w.u64(count.unwrap_or(u64::MAX));
}

impl<'a> Entry<'a> for GroupStats {
    const NAME: &'static str = "group stats";

    fn read(reader: &mut Reader<'a>, _version: Version) -> Result<Self, DecodeError> {
        let mut r = measured(reader, Self::NAME)?;
        r.skip(2)?;
        let (id, references) = (r.u32()?, r.u32()?);
        r.skip(4)?;
        let (packet_count, byte_count) = (read_counter(&mut r)?, read_counter(&mut r)?);
        let duration = read_duration(&mut r)?;
        let mut buckets = Vec::new();
        while !r.is_empty() {
            buckets.push([read_counter(&mut r)?, read_counter(&mut r)?]);
        }
        Ok(Self { id, references, packet_count, byte_count, duration, buckets })
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let start = w.position();
        w.sized(Self::NAME, start, Pad::None, |w| {
            w.zeros(2);
            w.u32(self.id);
            w.u32(self.references);
            w.zeros(4);
            write_counter(w, self.packet_count);
            write_counter(w, self.byte_count);
            write_duration(w, self.duration);
            for count in self.buckets.iter().flatten() {
                write_counter(w, *count);
            }
            Ok(())
        })
    }
}

/// What the switch can do with groups; arrays are by type, see [`GroupType::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupFeatures {
    /// Types that it has, as bits.
    pub types: u32,
    /// Weights, liveness, chaining, chaining checks, as bits.
    pub capabilities: u32,
    /// The greatest number of groups.
    pub max_groups: [u32; 4],
    /// Actions that buckets take, as bits.
    pub actions: [u32; 4],
}

impl GroupFeatures {
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut features = Self { types: r.u32()?, capabilities: r.u32()?, ..Self::default() };
        for number in features.max_groups.iter_mut().chain(&mut features.actions) {
            *number = r.u32()?;
        }
        Ok(features)
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.types);
        w.u32(self.capabilities);
        for number in self.max_groups.iter().chain(&self.actions) {
            w.u32(*number);
        }
    }
}

/// The greatest number of a group.
pub const MAX_GROUP: u32 = 0xffff_ff00;
/// All groups, in requests and deletes.
pub const ALL_GROUPS: u32 = 0xffff_fffc;
/// The greatest number of a bucket.
pub const MAX_BUCKET: u32 = 0xffff_ff00;
/// The first bucket of a group.
pub const BUCKET_FIRST: u32 = 0xffff_fffd;
/// The last bucket of a group.
pub const BUCKET_LAST: u32 = 0xffff_fffe;
/// All buckets of a group.
pub const BUCKET_ALL: u32 = 0xffff_ffff;
