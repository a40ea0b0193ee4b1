//! Reading Nicira's actions, experimenter `0x2320`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::read::{self, Place, Scan, check_move, field_header, readable};
use super::{
    Action, ActionsRef, Controller, Ct, CtZone, Nat, NatKind, NatRange, Resubmit, Sample, SampleDirection,
    Subfield,
};
use crate::Version;
use crate::cursor::Reader;
use crate::error::{DecodeError, Malformed};
use crate::error_code::ErrorCode;
use crate::field::Field;
use crate::types::{OfPort, TableId};

/// Nicira's experimenter number.
pub(super) const NICIRA: u32 = 0x2320;
/// The Open Networking Foundation's, for actions that 1.5 made official.
const ONF: u32 = 0x4f4e_4600;
/// The ONF's `copy_field` of 1.3 and 1.4, which Open vSwitch reads and writes as Nicira's `reg_move`.
const ONF_COPY_FIELD: u16 = 3200;

/// Reads what follows type and length; unknown vendors and subtypes are kept raw.
pub(super) fn read<'a>(
    r: &mut Reader<'a>,
    raw: &'a [u8],
    scan: &mut Scan,
) -> Result<(Action<'a>, bool), DecodeError> {
    let vendor = r.u32()?;
    if vendor == ONF && scan.version != Version::V15 && r.peek().starts_with(&ONF_COPY_FIELD.to_be_bytes()) {
        r.skip(4)?;
        return read::copy_field(r, scan).map(|action| (action, false));
    }
    if vendor != NICIRA || raw.len() < 16 {
        let code = match vendor {
            NICIRA => ErrorCode::OFPBAC_BAD_LEN,
            ONF => ErrorCode::OFPBAC_BAD_VENDOR_TYPE,
            _ => ErrorCode::OFPBAC_BAD_VENDOR,
        };
        return read::unknown(raw, r, code).map(|action| (action, true));
    }
    let subtype = r.u16()?;
    if fixed_len(subtype).is_some_and(|len| len != raw.len()) {
        return Err(r.refuse(ErrorCode::OFPBAC_BAD_LEN));
    }
    let old = scan.version != Version::V15;
    if !old && r.is_strict() && matches!(subtype, REG_MOVE | REG_LOAD | REG_LOAD2) {
        // 1.5 has actions of its own for these.
        return Err(r.refuse(ErrorCode::OFPBAC_BAD_VENDOR_TYPE));
    }
    let action = match subtype {
        RESUBMIT | RESUBMIT_TABLE | RESUBMIT_TABLE_CT => Action::Resubmit(resubmit(r, subtype)?),
        // Older forms, kept as they came: their padding is nobody's business, for they leave in another form.
        SET_TUNNEL => return older(r, 2, |r| Ok(Action::SetTunnel(r.u32()?))),
        SET_TUNNEL64 => return older(r, 6, |r| Ok(Action::SetTunnel64(r.u64()?))),
        POP_QUEUE => Action::PopQueue,
        REG_MOVE => return reg_move(r).map(|action| (action, old)),
        REG_LOAD => return reg_load(r).map(|action| (action, old)),
        NOTE => Action::Note(r.rest()),
        OUTPUT_REG => output_reg(r)?,
        OUTPUT_REG2 => output_reg2(r)?,
        EXIT => Action::Exit,
        FIN_TIMEOUT => Action::FinTimeout { idle: r.u16()?, hard: r.u16()? },
        CONTROLLER => controller(r)?,
        CONTROLLER2 => Action::Controller(controller2(r, scan)?),
        DEC_TTL_CNT_IDS => dec_ttl_ids(r, scan)?,
        STACK_PUSH => Action::StackPush(stack(r)?),
        STACK_POP => Action::StackPop(stack(r)?),
        SAMPLE | SAMPLE2 | SAMPLE3 => Action::Sample(sample(r, subtype)?),
        REG_LOAD2 => return read::set_field(r).map(|action| (action, old && needs_load2(&action))),
        CONJUNCTION => conjunction(r)?,
        CT => Action::Ct(ct(r, scan)?),
        NAT => Action::Nat(nat(r, scan)?),
        OUTPUT_TRUNC => Action::OutputTrunc { port: OfPort::from_u16(r.u16()?), max_len: r.u32()? },
        CLONE => {
            scan.pad(r, 6)?;
            nested(*r, scan, Place::Elsewhere)?;
            Action::Clone(ActionsRef::trusted(r.rest()))
        }
        LEARN => Action::Learn(super::learn::read(r, scan, false)?),
        LEARN2 => Action::Learn(super::learn::read(r, scan, true)?),
        MULTIPATH => Action::Multipath(super::select::read_multipath(r, scan)?),
        BUNDLE => Action::Bundle(super::select::read_bundle(r, false)?),
        BUNDLE_LOAD => Action::Bundle(super::select::read_bundle(r, true)?),
        ENCAP => Action::Encap(super::encap::read(r, scan)?),
        DECAP => skipped(r, scan, 2, |r| Ok(Action::Decap(r.u32()?)))?,
        CT_CLEAR => Action::CtClear,
        DEC_NSH_TTL => Action::DecNshTtl,
        CHECK_PKT_LARGER => check_pkt_larger(r)?,
        DELETE_FIELD => Action::DeleteField(field_header(r)?),
        WRITE_METADATA => {
            r.zeros(6, ErrorCode::NXBRC_MUST_BE_ZERO)?;
            Action::WriteMetadata { value: r.u64()?, mask: r.u64()? }
        }
        _ => {
            return read::unknown(raw, r, ErrorCode::OFPBAC_BAD_VENDOR_TYPE).map(|action| (action, true));
        }
    };
    Ok((action, true))
}

/// The length of actions that have only one.
fn fixed_len(subtype: u16) -> Option<usize> {
    Some(match subtype {
        RESUBMIT | SET_TUNNEL | POP_QUEUE | RESUBMIT_TABLE | RESUBMIT_TABLE_CT | EXIT | FIN_TIMEOUT
        | CONTROLLER | CONJUNCTION | OUTPUT_TRUNC | CT_CLEAR | DEC_NSH_TTL | DECAP => 16,
        SET_TUNNEL64 | REG_LOAD | OUTPUT_REG | SAMPLE => 24,
        SAMPLE2 | SAMPLE3 | MULTIPATH => 32,
        WRITE_METADATA => WRITE_METADATA_LEN,
        _ => return None,
    })
}

/// An action that no version writes in this form, after `n` bytes of padding.
fn older<'a>(
    r: &mut Reader<'a>,
    n: usize,
    read: impl FnOnce(&mut Reader<'a>) -> Result<Action<'a>, DecodeError>,
) -> Result<(Action<'a>, bool), DecodeError> {
    r.skip(n)?;
    let action = read(r)?;
    r.rest();
    Ok((action, false))
}

/// Whether a subtype is written as it is in 1.5 and holds no actions, so that its bytes need no second look.
pub(super) fn is_plain_in_15(subtype: u16) -> bool {
    !matches!(subtype, SET_TUNNEL | SET_TUNNEL64 | REG_MOVE | REG_LOAD | REG_LOAD2 | RESUBMIT | CT | CLONE)
}

/// Reads past `n` bytes of padding.
fn skipped<'a, T>(
    r: &mut Reader<'a>,
    scan: &mut Scan,
    n: usize,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    scan.pad(r, n)?;
    read(r)
}

/// Validates actions inside an action.
fn nested(reader: Reader<'_>, scan: &mut Scan, place: Place) -> Result<(), DecodeError> {
    let around = (scan.depth, scan.place);
    scan.depth = scan.depth.saturating_add(1);
    scan.place = place;
    super::scan(reader, scan)?;
    (scan.depth, scan.place) = around;
    Ok(())
}

fn resubmit(r: &mut Reader<'_>, subtype: u16) -> Result<Resubmit, DecodeError> {
    let port = OfPort::from_u16(r.u16()?);
    let table = if subtype == RESUBMIT { TableId::ALL } else { TableId(r.u8()?) };
    if subtype != RESUBMIT {
        r.zeros(3, ErrorCode::OFPBAC_BAD_ARGUMENT)?;
    }
    Ok(Resubmit { port, table, ct: subtype == RESUBMIT_TABLE_CT })
}

fn reg_move<'a>(r: &mut Reader<'a>) -> Result<Action<'a>, DecodeError> {
    let bits = r.u16()?;
    let src_offset = r.u16()?;
    let dst_offset = r.u16()?;
    let src = Subfield { field: field_header(r)?, offset: src_offset, bits };
    let dst = Subfield { field: field_header(r)?, offset: dst_offset, bits };
    check_move(src, dst, r)?;
    Ok(Action::Move { src, dst })
}

fn reg_load<'a>(r: &mut Reader<'a>) -> Result<Action<'a>, DecodeError> {
    let packed = r.u16()?;
    let dst = Subfield::unpack(field_header(r)?, packed);
    let value = r.u64()?;
    let dst = read::writable(dst, r)?;
    if dst.bits < 64 && value >> dst.bits != 0 {
        return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT));
    }
    Ok(Action::Load { dst, value })
}

/// Whether versions before 1.5 have no other action that writes this.
pub(super) fn needs_load2(action: &Action<'_>) -> bool {
    match action {
        Action::SetMetadataField { mask, .. } => mask.is_some(),
        Action::SetField { field, .. } => !read::is_loadable(*field),
        _ => false,
    }
}

fn output_reg<'a>(r: &mut Reader<'a>) -> Result<Action<'a>, DecodeError> {
    let packed = r.u16()?;
    let source = readable(Subfield::unpack(field_header(r)?, packed), r)?;
    let max_len = r.u16()?;
    r.zeros(r.len(), ErrorCode::OFPBAC_BAD_ARGUMENT)?;
    Ok(Action::OutputReg { source, max_len })
}

fn output_reg2<'a>(r: &mut Reader<'a>) -> Result<Action<'a>, DecodeError> {
    let packed = r.u16()?;
    let max_len = r.u16()?;
    let source = readable(Subfield::unpack(field_header(r)?, packed), r)?;
    Ok(Action::OutputReg { source, max_len })
}

fn controller<'a>(r: &mut Reader<'a>) -> Result<Action<'a>, DecodeError> {
    let max_len = r.u16()?;
    let id = r.u16()?;
    let reason = r.u8()?;
    Ok(Action::Controller(Controller {
        max_len,
        id,
        reason,
        userdata: &[],
        pause: false,
        meter: 0,
        extended: false,
    }))
}

fn controller2<'a>(r: &mut Reader<'a>, scan: &mut Scan) -> Result<Controller<'a>, DecodeError> {
    r.zeros(6, ErrorCode::NXBRC_MUST_BE_ZERO)?;
    let mut controller = Controller {
        max_len: u16::MAX,
        id: 0,
        reason: REASON_ACTION,
        userdata: &[],
        pause: false,
        meter: 0,
        extended: true,
    };
    // Padding after the last property belongs to the action, not to a property.
    while r.len() >= 4 {
        let (kind, mut body) = r.tlv("controller property")?;
        match kind {
            0 => controller.max_len = body.u16()?,
            1 => controller.id = body.u16()?,
            2 => controller.reason = body.u8()?,
            3 => controller.userdata = body.rest(),
            4 => controller.pause = true,
            5 => controller.meter = body.u32()?,
            _ => return Err(body.refuse(ErrorCode::OFPBPC_BAD_TYPE)),
        }
        scan.pad_rest(&mut body)?;
    }
    Ok(controller)
}

fn dec_ttl_ids<'a>(r: &mut Reader<'a>, scan: &mut Scan) -> Result<Action<'a>, DecodeError> {
    let count = usize::from(r.u16()?);
    scan.pad(r, 4)?;
    let ids = r
        .take(count.saturating_mul(2))
        .map_err(|e| DecodeError { why: Malformed::Refused(ErrorCode::OFPBAC_BAD_LEN), ..e })?;
    Ok(Action::DecTtlIds(ids))
}

fn stack(r: &mut Reader<'_>) -> Result<Subfield, DecodeError> {
    let offset = r.u16()?;
    let field = field_header(r)?;
    let sub = readable(Subfield { field, offset, bits: r.u16()? }, r)?;
    r.zeros(r.len(), ErrorCode::NXBRC_MUST_BE_ZERO)?;
    Ok(sub)
}

fn sample(r: &mut Reader<'_>, subtype: u16) -> Result<Sample, DecodeError> {
    let probability = r.u16()?;
    let collector_set = r.u32()?;
    let domain = r.u32()?;
    let point = r.u32()?;
    let port = if subtype == SAMPLE { None } else { Some(OfPort::from_u16(r.u16()?)) };
    let direction = match if subtype == SAMPLE3 { r.u8()? } else { 0 } {
        0 => SampleDirection::Default,
        1 => SampleDirection::Ingress,
        2 => SampleDirection::Egress,
        _ => return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT)),
    };
    if subtype == SAMPLE3 {
        r.zeros(r.len(), ErrorCode::NXBRC_MUST_BE_ZERO)?;
    }
    if probability == 0 {
        return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT));
    }
    Ok(Sample { probability, collector_set, domain, point, port, direction })
}

fn conjunction<'a>(r: &mut Reader<'a>) -> Result<Action<'a>, DecodeError> {
    let (clause, clauses, id) = (r.u8()?, r.u8()?, r.u32()?);
    if clause >= clauses || !(2..=64).contains(&clauses) {
        return Err(r.refuse(ErrorCode::NXBAC_BAD_CONJUNCTION));
    }
    Ok(Action::Conjunction { id, clause, clauses })
}

fn ct<'a>(r: &mut Reader<'a>, scan: &mut Scan) -> Result<Ct<'a>, DecodeError> {
    let flags = r.u16()?;
    let at = *r;
    let zone_field = if r.u32()? == 0 { None } else { Some(field_header(&mut { at })?) };
    let packed = r.u16()?;
    let table = TableId(r.u8()?);
    scan.pad(r, 3)?;
    let alg = r.u16()?;
    let zone = match zone_field {
        None => CtZone::Number(packed),
        Some(field) => CtZone::Field(zone_subfield(field, packed, r)?),
    };
    if flags & (Ct::COMMIT | Ct::FORCE) == Ct::FORCE {
        return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT));
    }
    nested(*r, scan, Place::Tracked)?;
    let actions = ActionsRef::trusted(r.peek());
    // Without a commit nothing is kept that more than a translation could be written to.
    let is_kept = flags & Ct::COMMIT != 0;
    let is_plain =
        matches!(actions.iter().next(), None | Some(Action::Nat(_))) && actions.iter().nth(1).is_none();
    if !(is_kept || is_plain) || !actions.iter().all(|action| is_tracked(&action)) {
        return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT));
    }
    r.rest();
    Ok(Ct { flags, zone, table, alg, actions })
}

/// What may stand inside `ct`: translation, and changes of the connection's mark and label.
fn is_tracked(action: &Action<'_>) -> bool {
    match action {
        Action::Nat(_) | Action::Unknown(_) => true,
        Action::SetField { field, .. } => matches!(field, Field::CtMark | Field::CtLabel),
        Action::Load { dst, .. } | Action::Move { dst, .. } => {
            matches!(dst.field, Field::CtMark | Field::CtLabel)
        }
        _ => false,
    }
}

fn zone_subfield(field: Field, packed: u16, r: &Reader<'_>) -> Result<Subfield, DecodeError> {
    let sub = readable(Subfield::unpack(field, packed), r)?;
    if sub.bits == 16 { Ok(sub) } else { Err(r.refuse(ErrorCode::OFPBAC_BAD_SET_LEN)) }
}

fn nat(r: &mut Reader<'_>, scan: &mut Scan) -> Result<Nat, DecodeError> {
    scan.pad(r, 2)?;
    let flags = r.u16()?;
    let present = r.u16()?;
    let kind = match flags & 3 {
        0 => NatKind::Any,
        1 => NatKind::Src,
        2 => NatKind::Dst,
        _ => return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT)),
    };
    let v4 = |r: &mut Reader<'_>| r.array().map(Ipv4Addr::from);
    let v6 = |r: &mut Reader<'_>| r.array::<16>().map(Ipv6Addr::from);
    let has = |bit: u16| present & bit != 0;
    let range = if has(V4_MIN) {
        NatRange::V4(v4(r)?, if has(V4_MAX) { Some(v4(r)?) } else { None })
    } else if has(V6_MIN) {
        NatRange::V6(v6(r)?, if has(V6_MAX) { Some(v6(r)?) } else { None })
    } else {
        NatRange::None
    };
    let port_min = if has(PORT_MIN) { Some(r.u16()?) } else { None };
    let port_max = if has(PORT_MAX) { Some(r.u16()?) } else { None };
    let orphan =
        (has(V4_MAX) && !has(V4_MIN)) || (has(V6_MAX) && !has(V6_MIN)) || (has(PORT_MAX) && !has(PORT_MIN));
    let backwards = match range {
        NatRange::V4(min, Some(max)) => min > max,
        NatRange::V6(min, Some(max)) => min > max,
        _ => false,
    } || port_max.is_some_and(|max| port_min.is_some_and(|min| min > max));
    if orphan || backwards || (has(V4_MIN) && has(V6_MIN)) || flags & !0x1f != 0 {
        return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT));
    }
    Ok(Nat { kind, flags: flags & !3, range, port_min, port_max })
}

fn check_pkt_larger<'a>(r: &mut Reader<'a>) -> Result<Action<'a>, DecodeError> {
    let (len, offset) = (r.u16()?, r.u16()?);
    let dst = Subfield::bit(field_header(r)?, offset);
    r.zeros(r.len(), ErrorCode::NXBRC_MUST_BE_ZERO)?;
    Ok(Action::CheckPktLarger { len, dst: readable(dst, r)? })
}

/// `OFPR_ACTION`.
pub(super) const REASON_ACTION: u8 = 1;

pub(super) const V4_MIN: u16 = 1;
pub(super) const V4_MAX: u16 = 2;
pub(super) const V6_MIN: u16 = 4;
pub(super) const V6_MAX: u16 = 8;
pub(super) const PORT_MIN: u16 = 16;
pub(super) const PORT_MAX: u16 = 32;

pub(super) const MULTIPATH: u16 = 10;
pub(super) const BUNDLE: u16 = 12;
pub(super) const BUNDLE_LOAD: u16 = 13;
pub(super) const LEARN: u16 = 16;
pub(super) const LEARN2: u16 = 45;
pub(super) const ENCAP: u16 = 46;
pub(super) const DECAP: u16 = 47;
pub(super) const RESUBMIT: u16 = 1;
pub(super) const SET_TUNNEL: u16 = 2;
pub(super) const POP_QUEUE: u16 = 5;
pub(super) const REG_MOVE: u16 = 6;
pub(super) const REG_LOAD: u16 = 7;
pub(super) const NOTE: u16 = 8;
pub(super) const SET_TUNNEL64: u16 = 9;
pub(super) const RESUBMIT_TABLE: u16 = 14;
pub(super) const OUTPUT_REG: u16 = 15;
pub(super) const EXIT: u16 = 17;
pub(super) const FIN_TIMEOUT: u16 = 19;
pub(super) const CONTROLLER: u16 = 20;
pub(super) const DEC_TTL_CNT_IDS: u16 = 21;
pub(super) const WRITE_METADATA: u16 = 22;
/// The length of [`WRITE_METADATA`], the only one that it has.
pub(crate) const WRITE_METADATA_LEN: usize = 32;
pub(super) const STACK_PUSH: u16 = 27;
pub(super) const STACK_POP: u16 = 28;
pub(super) const SAMPLE: u16 = 29;
pub(super) const OUTPUT_REG2: u16 = 32;
pub(super) const REG_LOAD2: u16 = 33;
pub(super) const CONJUNCTION: u16 = 34;
pub(super) const CT: u16 = 35;
pub(super) const NAT: u16 = 36;
pub(super) const CONTROLLER2: u16 = 37;
pub(super) const SAMPLE2: u16 = 38;
pub(super) const OUTPUT_TRUNC: u16 = 39;
pub(super) const SAMPLE3: u16 = 41;
pub(super) const CLONE: u16 = 42;
pub(super) const CT_CLEAR: u16 = 43;
pub(super) const RESUBMIT_TABLE_CT: u16 = 44;
pub(super) const DEC_NSH_TTL: u16 = 48;
pub(super) const CHECK_PKT_LARGER: u16 = 49;
pub(super) const DELETE_FIELD: u16 = 50;
