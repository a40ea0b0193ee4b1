//! Reading actions from the wire: one pass that validates and notices padding that is not zero.
//!
//! Owns OpenFlow's own actions and the walk over a list. Nicira's actions stand in `nicira.rs`.

use super::{Action, OldSet, nicira};
use crate::Version;
use crate::cursor::Reader;
use crate::error::{DecodeError, Malformed};
use crate::error_code::ErrorCode;
use crate::field::{Field, ones};
use crate::limits::MAX_NESTING;
use crate::oxm::{FullHeader, Tlv};
use crate::types::OfPort;

use super::Subfield;

/// What a walk over actions found out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    /// All padding was zero: the bytes are what an encoder would write.
    pub(crate) clean: bool,
    /// No action inside another one needs another form in `version`.
    pub(crate) nested_normal: bool,
    /// The version whose normal form is asked about.
    pub(crate) version: Version,
    /// Levels of nesting above this list.
    pub(crate) depth: u8,
    /// What the list is for.
    pub(crate) place: Place,
    /// It holds clauses of conjunctive matches, which stand alone.
    pub(crate) conjunctive: bool,
}

/// Where a list of actions stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a message or a bucket.
    Elsewhere,
    /// It is what a flow writes into the action set, which takes a few actions only.
    Written,
    /// Inside `ct`, where its fields can be written.
    Tracked,
    /// It is what a flow applies: its last action may be an instruction in disguise.
    Applied,
    /// The last action was one, which nothing may follow.
    Ended,
}

impl Default for Scan {
    fn default() -> Self {
        Self::new(Version::V15)
    }
}

impl Scan {
    pub(crate) fn new(version: Version) -> Self {
        Self {
            clean: true,
            nested_normal: true,
            version,
            depth: 0,
            place: Place::Elsewhere,
            conjunctive: false,
        }
    }

    /// Skips padding and remembers whether it was zero.
    pub(crate) fn pad(&mut self, r: &mut Reader<'_>, n: usize) -> Result<(), DecodeError> {
        self.clean &= r.take(n)?.iter().all(|b| *b == 0);
        Ok(())
    }

    /// Skips all that is left as padding.
    pub(crate) fn pad_rest(&mut self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.pad(r, r.len())
    }
}

/// Validates a list of actions, itself `scan.depth` levels deep, and adds up what it finds.
pub(crate) fn scan(mut reader: Reader<'_>, scan: &mut Scan) -> Result<(), DecodeError> {
    if scan.depth > MAX_NESTING {
        return Err(reader.fail(Malformed::TooDeep(MAX_NESTING)));
    }
    let mut all_normal = true;
    let mut has_others = false;
    while !reader.is_empty() {
        let at = reader;
        if scan.place == Place::Ended {
            return Err(at.refuse(ErrorCode::OFPBAC_UNSUPPORTED_ORDER));
        }
        let (action, normal) = action(&mut reader, scan)?;
        match action {
            Action::Conjunction { .. } => scan.conjunctive |= scan.depth == 0,
            Action::Note(_) => {}
            _ => has_others = true,
        }
        match action {
            // Translation means something inside `ct` only.
            Action::Nat(_) if scan.depth == 0 && scan.place != Place::Written => {
                return Err(at.refuse(ErrorCode::OFPBAC_BAD_SET_ARGUMENT));
            }
            Action::WriteMetadata { .. } if scan.depth == 0 && scan.place == Place::Applied => {
                scan.place = Place::Ended;
            }
            _ => misplaced(&action, scan.place).map_or(Ok(()), |code| Err(at.refuse(code)))?,
        }
        all_normal &= normal;
    }
    if scan.depth == 0 && scan.conjunctive && has_others {
        return Err(reader.refuse(ErrorCode::NXBAC_BAD_CONJUNCTION));
    }
    scan.nested_normal &= all_normal;
    Ok(())
}

/// Why an action cannot stand in such a place.
fn misplaced(action: &Action<'_>, place: Place) -> Option<ErrorCode> {
    match *action {
        _ if place == Place::Written => (!action.is_settable()).then_some(ErrorCode::OFPBAC_BAD_TYPE),
        Action::WriteMetadata { .. } => Some(ErrorCode::OFPBIC_UNSUP_INST),
        Action::SetField { field, .. }
        | Action::Load { dst: Subfield { field, .. }, .. }
        | Action::Move { dst: Subfield { field, .. }, .. }
            if place != Place::Tracked && matches!(field, Field::CtMark | Field::CtLabel) =>
        {
            Some(ErrorCode::OFPBAC_BAD_SET_ARGUMENT)
        }
        _ => None,
    }
}

/// Whether valid actions are certainly in 1.5's normal form; a quick look at their types only.
pub(crate) fn is_plain_in_15(mut bytes: &[u8]) -> bool {
    while let Some(head) = bytes.first_chunk::<10>() {
        let [kind_high, kind_low, len_high, len_low, .., sub_high, sub_low] = *head;
        let kind = u16::from_be_bytes([kind_high, kind_low]);
        let subtype = u16::from_be_bytes([sub_high, sub_low]);
        if kind == EXPERIMENTER && !nicira::is_plain_in_15(subtype) {
            return false;
        }
        let len = usize::from(u16::from_be_bytes([len_high, len_low]));
        bytes = bytes.get(len.max(8)..).unwrap_or_default();
    }
    // What is left is empty, or one action too short to be anything but OpenFlow's own.
    true
}

/// Reads one action; the flag says whether its bytes are the normal form of the scan's version.
pub(super) fn action<'a>(
    reader: &mut Reader<'a>,
    scan: &mut Scan,
) -> Result<(Action<'a>, bool), DecodeError> {
    let start = reader.named("action");
    let mut r = start;
    let kind = r.u16()?;
    let len = usize::from(r.u16()?);
    let bad_len = || start.refuse(ErrorCode::OFPBAC_BAD_LEN);
    if len < 8 || len % 8 != 0 {
        return Err(bad_len());
    }
    let mut whole = *reader;
    let raw = whole.take(len).map_err(|_| bad_len())?;
    *reader = whole;
    let mut body = r.sub(len.saturating_sub(4), "action")?;
    let read = if kind == EXPERIMENTER {
        nicira::read(&mut body, raw, scan)
    } else {
        standard(kind, &mut body, raw, scan)
    };
    let (action, normal) = read.map_err(|error| match error.why {
        Malformed::Truncated { .. } => bad_len(),
        _ => error,
    })?;
    if !matches!(action, Action::Unknown(_)) {
        scan.pad_rest(&mut body)?;
    }
    Ok((action, normal && scan.nested_normal))
}

fn standard<'a>(
    kind: u16,
    r: &mut Reader<'a>,
    raw: &'a [u8],
    scan: &mut Scan,
) -> Result<(Action<'a>, bool), DecodeError> {
    let v15 = scan.version == Version::V15;
    Ok(match kind {
        OUTPUT => {
            let action = Action::Output { port: OfPort(r.u32()?), max_len: r.u16()? };
            if matches!(action, Action::Output { port, .. } if !port.is_output()) {
                return Err(r.refuse(ErrorCode::OFPBAC_BAD_OUT_PORT));
            }
            (exactly(action, raw, 16, r)?, true)
        }
        SET_MPLS_TTL => (exactly(Action::SetMplsTtl(r.u8()?), raw, 8, r)?, true),
        DEC_MPLS_TTL => (exactly(Action::DecMplsTtl, raw, 8, r)?, true),
        PUSH_VLAN => (exactly(Action::PushVlan(vlan_type(r)?), raw, 8, r)?, true),
        POP_VLAN => (exactly(Action::PopVlan, raw, 8, r)?, true),
        PUSH_MPLS => (exactly(Action::PushMpls(mpls_type(r)?), raw, 8, r)?, true),
        POP_MPLS => (exactly(Action::PopMpls(r.u16()?), raw, 8, r)?, true),
        SET_QUEUE => (exactly(Action::SetQueue(r.u32()?), raw, 8, r)?, true),
        GROUP => (exactly(Action::Group(r.u32()?), raw, 8, r)?, true),
        SET_NW_TTL => (exactly(Action::SetNwTtl(r.u8()?), raw, 8, r)?, true),
        DEC_NW_TTL => (exactly(Action::DecTtl, raw, 8, r)?, true),
        SET_FIELD => {
            let action = set_field(r)?;
            if matches!(action, Action::SetField { field: Field::VlanVid, value, .. } if value & 0x1000 == 0)
            {
                return Err(r.refuse(ErrorCode::OFPBAC_BAD_SET_ARGUMENT));
            }
            r.zeros(r.len(), ErrorCode::OFPBAC_BAD_SET_ARGUMENT)?;
            let masked = match action {
                Action::SetField { field, mask, .. } => !is_exact(field, mask),
                Action::SetMetadataField { mask, .. } => mask.is_some(),
                _ => false,
            };
            if masked && !v15 && r.is_strict() {
                return Err(r.refuse(ErrorCode::OFPBAC_BAD_SET_MASK));
            }
            (action, v15 || !masked)
        }
        COPY_FIELD | METER if !v15 && r.is_strict() => return Err(r.refuse(ErrorCode::OFPBAC_BAD_TYPE)),
        COPY_FIELD if v15 => (copy_field(r, scan)?, true),
        METER if v15 => (exactly(Action::Meter(r.u32()?), raw, 8, r)?, true),
        COPY_FIELD => (copy_field(r, scan)?, false),
        METER => (exactly(Action::Meter(r.u32()?), raw, 8, r)?, false),
        _ => match OldSet::read(kind, r, raw)? {
            Some(old) => old,
            None => (unknown(raw, r, ErrorCode::OFPBAC_BAD_TYPE)?, true),
        },
    })
}

/// An action that nobody knows, which Open vSwitch refuses with `code`.
pub(super) fn unknown<'a>(raw: &'a [u8], r: &Reader<'_>, code: ErrorCode) -> Result<Action<'a>, DecodeError> {
    if r.is_strict() { Err(r.refuse(code)) } else { Ok(Action::Unknown(raw)) }
}

/// Passes the action through if its length is the only one that it may have.
fn exactly<'a>(
    action: Action<'a>,
    raw: &[u8],
    len: usize,
    r: &Reader<'_>,
) -> Result<Action<'a>, DecodeError> {
    if raw.len() == len { Ok(action) } else { Err(r.refuse(ErrorCode::OFPBAC_BAD_LEN)) }
}

fn vlan_type(r: &mut Reader<'_>) -> Result<u16, DecodeError> {
    match r.u16()? {
        eth @ (0x8100 | 0x88a8) => Ok(eth),
        _ => Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT)),
    }
}

pub(super) fn mpls_type(r: &mut Reader<'_>) -> Result<u16, DecodeError> {
    match r.u16()? {
        eth @ (0x8847 | 0x8848) => Ok(eth),
        _ => Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT)),
    }
}

/// The field, value and mask of `set_field` and Nicira's `reg_load2`.
pub(super) fn set_field<'a>(r: &mut Reader<'a>) -> Result<Action<'a>, DecodeError> {
    let at = *r;
    let tlv = Tlv::read(r).map_err(|error| match FullHeader::read(&mut { at }) {
        Ok(head) if head.has_wrong_length() => at.refuse(ErrorCode::OFPBAC_BAD_SET_LEN),
        _ => error,
    })?;
    let Some(field) = tlv.field else {
        return Err(at.refuse(ErrorCode::OFPBMC_BAD_FIELD));
    };
    if !field.is_writable() {
        return Err(at.refuse(ErrorCode::OFPBAC_BAD_SET_ARGUMENT));
    }
    if field.is_variable() {
        return Ok(Action::SetMetadataField { field, value: tlv.value, mask: tlv.mask });
    }
    // Open vSwitch 3.1 writes the 32-bit input port on request but refuses to read it.
    if field == Field::InPort || !field.allows(tlv.number()) {
        return Err(at.refuse(ErrorCode::OFPBAC_BAD_SET_ARGUMENT));
    }
    let mask = if tlv.mask.is_some() { tlv.mask_number() } else { u128::MAX };
    Ok(Action::SetField { field, value: tlv.number(), mask })
}

/// The body of OpenFlow 1.5's `copy_field`.
pub(super) fn copy_field<'a>(r: &mut Reader<'a>, scan: &mut Scan) -> Result<Action<'a>, DecodeError> {
    let bits = r.u16()?;
    let src_offset = r.u16()?;
    let dst_offset = r.u16()?;
    scan.pad(r, 2)?;
    let src = Subfield { field: field_header(r)?, offset: src_offset, bits };
    let dst = Subfield { field: field_header(r)?, offset: dst_offset, bits };
    check_move(src, dst, r)?;
    r.zeros(r.len(), ErrorCode::NXBRC_MUST_BE_ZERO)?;
    Ok(Action::Move { src, dst })
}

/// Whether a mask covers all of a field's bytes: in actions even bits without meaning count.
pub(crate) fn is_exact(field: Field, mask: u128) -> bool {
    let all = ones(u32::try_from(field.bytes()).unwrap_or(16).saturating_mul(8));
    mask & all == all
}

/// Whether Nicira's register load can name a field: its header has 4 bytes.
pub(super) fn is_loadable(field: Field) -> bool {
    field.header(Version::V13).is_some_and(|header| header.experimenter == 0)
}

/// Refuses copies out of bounds or into fields that cannot be written.
pub(super) fn check_move(src: Subfield, dst: Subfield, r: &Reader<'_>) -> Result<(), DecodeError> {
    readable(src, r)?;
    writable(dst, r).map(|_| ())
}

/// Refuses bits that the field does not have.
pub(super) fn readable(sub: Subfield, r: &Reader<'_>) -> Result<Subfield, DecodeError> {
    if sub.fits() { Ok(sub) } else { Err(r.refuse(ErrorCode::OFPBAC_BAD_SET_LEN)) }
}

/// Refuses also fields that no action writes.
pub(super) fn writable(sub: Subfield, r: &Reader<'_>) -> Result<Subfield, DecodeError> {
    let sub = readable(sub, r)?;
    if sub.field.is_writable() { Ok(sub) } else { Err(r.refuse(ErrorCode::OFPBAC_BAD_SET_ARGUMENT)) }
}

/// A header alone, without value or mask, of a field that the table knows.
pub(super) fn field_header(r: &mut Reader<'_>) -> Result<Field, DecodeError> {
    let at = *r;
    let head = FullHeader::read(r)?;
    if head.has_wrong_length() {
        return Err(at.refuse(ErrorCode::OFPBAC_BAD_SET_LEN));
    }
    let field = Field::from_header(head.header).ok_or_else(|| at.refuse(ErrorCode::OFPBMC_BAD_FIELD))?;
    if head.masked { Err(at.refuse(ErrorCode::OFPBAC_BAD_SET_MASK)) } else { Ok(field) }
}

pub(super) const OUTPUT: u16 = 0;
pub(super) const SET_TP_SRC: u16 = 9;
pub(super) const SET_TP_DST: u16 = 10;
pub(super) const SET_MPLS_TTL: u16 = 15;
pub(super) const DEC_MPLS_TTL: u16 = 16;
pub(super) const PUSH_VLAN: u16 = 17;
pub(super) const POP_VLAN: u16 = 18;
pub(super) const PUSH_MPLS: u16 = 19;
pub(super) const POP_MPLS: u16 = 20;
pub(super) const SET_QUEUE: u16 = 21;
pub(super) const GROUP: u16 = 22;
pub(super) const SET_NW_TTL: u16 = 23;
pub(super) const DEC_NW_TTL: u16 = 24;
pub(super) const SET_FIELD: u16 = 25;
pub(super) const COPY_FIELD: u16 = 28;
pub(super) const METER: u16 = 29;
pub(super) const EXPERIMENTER: u16 = 0xffff;
