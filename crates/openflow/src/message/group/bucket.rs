//! Buckets of groups, and the property that says how `select` chooses.
//!
//! Bucket, 1.3 and 1.4: length u16, weight u16, watched port u32, watched group u32, pad 4, actions. 1.5: length u16,
//! length of the actions u16, bucket u32, actions, properties: weight (0, u16, pad 2), watched port (1, u32), watched
//! group (2, u32). Selection: property `0xffff` of Netronome (`0x154d`), type 1, pad 4, name 16, parameter u64, fields
//! as OXM whose values are masks.

use super::{GroupCommand, GroupType, MAX_BUCKET};
use crate::action::{Actions, ActionsRef};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::message::flow_mod::ANY_GROUP;
use crate::oxm::Tlv;
use crate::types::{OfPort, Version};
use crate::writer::{Pad, Writer};

/// One way that a group may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its number: on the wire in 1.5, its position before.
    pub id: u32,
    /// Its share in `select`.
    pub weight: u16,
    /// Alive while this port is; [`OfPort::ANY`] watches none.
    pub watch_port: OfPort,
    /// Alive while this group has a bucket that is; [`ANY_GROUP`] watches none.
    pub watch_group: u32,
    /// What happens to the packet.
    pub actions: Actions,
}

impl Bucket {
    /// Whether its life depends on something.
    pub fn is_watched(&self) -> bool {
        self.watch_port != OfPort::ANY || self.watch_group != ANY_GROUP
    }

    fn read_old(r: &mut Reader<'_>, id: u32, version: Version) -> Result<Self, DecodeError> {
        let weight = r.u16()?;
        let watch_port = port(r)?;
        let watch_group = r.u32()?;
        r.skip(4)?;
        Ok(Self { id, weight, watch_port, watch_group, actions: actions(r, version)? })
    }

    fn read_15(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = usize::from(r.u16()?);
        let id = r.u32()?;
        if id > MAX_BUCKET {
            return Err(r.refuse(ErrorCode::OFPGMFC_BAD_BUCKET));
        }
        let bad = r.refuse(ErrorCode::OFPGMFC_BAD_BUCKET);
        let mut list = r.sub(len, "actions").map_err(|_| bad)?;
        let actions = actions(&mut list, Version::V15)?;
        let mut bucket = Self { id, weight: 0, watch_port: OfPort::ANY, watch_group: ANY_GROUP, actions };
        while !r.is_empty() {
            let (kind, mut body) = r.tlv("bucket property")?;
            match kind {
                WEIGHT => bucket.weight = body.u16()?,
                WATCH_PORT => bucket.watch_port = port(&mut body)?,
                WATCH_GROUP => bucket.watch_group = body.u32()?,
                0xffff => return Err(body.refuse(ErrorCode::OFPBPC_BAD_EXPERIMENTER)),
                _ => return Err(body.refuse(ErrorCode::OFPBPC_BAD_TYPE)),
            }
        }
        Ok(bucket)
    }

    pub(super) fn write(&self, w: &mut Writer<'_>, kind: GroupType) -> Result<(), EncodeError> {
        let start = w.position();
        if w.version() != Version::V15 {
            return w.sized("bucket", start, Pad::None, |w| {
                w.u16(self.weight);
                w.u32(self.watch_port.0);
                w.u32(self.watch_group);
                w.zeros(4);
                self.actions.as_ref().write(w)
            });
        }
        w.sized("bucket", start, Pad::None, |w| {
            let len_at = w.position();
            w.zeros(2);
            w.u32(self.id);
            let actions = w.position();
            self.actions.as_ref().write(w)?;
            w.patch_u16("actions", len_at, w.position().saturating_sub(actions))?;
            if kind == GroupType::Select {
                property(w, WEIGHT, |w| {
                    w.u16(self.weight);
                    w.zeros(2);
                })?;
            }
            if self.watch_port != OfPort::ANY {
                property(w, WATCH_PORT, |w| w.u32(self.watch_port.0))?;
            }
            if self.watch_group != ANY_GROUP {
                property(w, WATCH_GROUP, |w| w.u32(self.watch_group))?;
            }
            Ok(())
        })
    }
}

fn property(w: &mut Writer<'_>, kind: u16, body: impl FnOnce(&mut Writer<'_>)) -> Result<(), EncodeError> {
    w.tlv("bucket property", kind, Pad::Outside, |w| {
        body(w);
        Ok(())
    })
}

fn port(r: &mut Reader<'_>) -> Result<OfPort, DecodeError> {
    let port = OfPort(r.u32()?);
    if port.is_valid() { Ok(port) } else { Err(r.refuse(ErrorCode::OFPGMFC_BAD_WATCH)) }
}

/// All that is left, as actions of `version`.
fn actions(r: &mut Reader<'_>, version: Version) -> Result<Actions, DecodeError> {
    let at = *r;
    Actions::from_wire(r.rest(), version).map_err(|e| DecodeError { why: e.why, ..at.fail(e.why) })
}

/// All buckets that are left.
pub(super) fn buckets(mut r: Reader<'_>, version: Version) -> Result<Vec<Bucket>, DecodeError> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut next = 0_u32;
    while !r.is_empty() {
        let bad = r.refuse(ErrorCode::OFPGMFC_BAD_BUCKET);
        let len = usize::from(r.u16().map_err(|_| bad)?);
        let head = if version == Version::V15 { 8 } else { 16 };
        let body = len.checked_sub(2).filter(|_| len >= head && len % 8 == 0).ok_or(bad)?;
        let mut one = r.sub(body, "bucket").map_err(|_| bad)?;
        let bucket = if version == Version::V15 {
            Bucket::read_15(&mut one)?
        } else {
            Bucket::read_old(&mut one, next, version)?
        };
        next = next.saturating_add(1);
        buckets.push(bucket);
    }
    // Sorted, so that many buckets cost no more than their number says.
    let mut ids: Vec<u32> = buckets.iter().map(|bucket| bucket.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err(r.refuse(ErrorCode::OFPGMFC_BAD_BUCKET));
    }
    Ok(buckets)
}

/// How a group of type `select` chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// `hash` or `dp_hash`.
    pub method: String,
    /// For `hash` the basis, for `dp_hash` the algorithm and the basis.
    pub parameter: u64,
    /// What is hashed: OXM fields one after another, whose values are masks.
    pub fields: Vec<u8>,
}

impl Selection {
    /// The fields that are hashed; the value of each is its mask.
    pub fn fields(&self) -> impl Iterator<Item = Tlv<'_>> {
        let mut reader = Reader::new(&self.fields, "selection fields");
        std::iter::from_fn(move || if reader.is_empty() { None } else { Tlv::read(&mut reader).ok() })
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.skip(4)?;
        let bad = r.refuse(ErrorCode::OFPBPC_BAD_VALUE);
        let name = r.take(METHOD_LEN)?;
        let end = name.iter().position(|byte| *byte == 0).ok_or(bad)?;
        let method = name.get(..end).and_then(|name| std::str::from_utf8(name).ok()).ok_or(bad)?;
        if !METHODS.contains(&method) {
            return Err(bad);
        }
        let parameter = r.u64()?;
        let mut fields = *r;
        while !fields.is_empty() {
            let field = Tlv::read(&mut fields)?;
            if field.field.is_none() {
                return Err(fields.refuse(ErrorCode::OFPBMC_BAD_FIELD));
            }
        }
        Ok(Self { method: method.to_owned(), parameter, fields: r.rest().to_vec() })
    }
}

/// The selection among a group's properties; `command` is that of a group-mod.
pub(super) fn read_properties(
    r: &mut Reader<'_>,
    kind: Option<GroupType>,
    command: Option<GroupCommand>,
) -> Result<Option<Selection>, DecodeError> {
    let mut selection = None;
    while !r.is_empty() {
        let (number, mut body) = r.tlv("group property")?;
        if number != 0xffff {
            return Err(body.refuse(ErrorCode::OFPBPC_BAD_TYPE));
        }
        if body.u32()? != NETRONOME {
            return Err(body.refuse(ErrorCode::OFPBPC_BAD_EXP_TYPE));
        }
        if body.u32()? != SELECTION_METHOD {
            return Err(body.refuse(ErrorCode::OFPBPC_BAD_EXP_TYPE));
        }
        let out_of_place = matches!(
            command,
            Some(GroupCommand::Delete | GroupCommand::InsertBucket | GroupCommand::RemoveBucket)
        );
        if kind != Some(GroupType::Select) || out_of_place {
            return Err(body.refuse(ErrorCode::OFPBPC_BAD_VALUE));
        }
        selection = Some(Selection::read(&mut body)?);
    }
    Ok(selection)
}

pub(super) fn write_properties(w: &mut Writer<'_>, selection: &Selection) -> Result<(), EncodeError> {
    w.tlv("group property", 0xffff, Pad::Outside, |w| {
        w.u32(NETRONOME);
        w.u32(SELECTION_METHOD);
        w.zeros(4);
        w.text(&selection.method, METHOD_LEN);
        w.u64(selection.parameter);
        w.bytes(&selection.fields);
        Ok(())
    })
}

/// The empty list of actions of a bucket that drops.
impl Default for Bucket {
    fn default() -> Self {
        Self {
            id: 0,
            weight: 0,
            watch_port: OfPort::ANY,
            watch_group: ANY_GROUP,
            actions: Actions::default(),
        }
    }
}

impl Bucket {
    /// Its actions.
    pub fn actions(&self) -> ActionsRef<'_> {
        self.actions.as_ref()
    }
}

/// The methods that Open vSwitch knows.
pub(crate) const METHODS: [&str; 2] = ["hash", "dp_hash"];

const WEIGHT: u16 = 0;
const WATCH_PORT: u16 = 1;
const WATCH_GROUP: u16 = 2;
const NETRONOME: u32 = 0x154d;
const SELECTION_METHOD: u32 = 1;
/// Bytes of a method's name with its final zero.
const METHOD_LEN: usize = 16;
