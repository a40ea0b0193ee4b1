//! Choosing by hash: `multipath`, `bundle`, `bundle_load`.
//!
//! Multipath: fields u16, basis u16, pad 2, algorithm u16, links - 1 u16, argument u32, pad 2, bits u16, target
//! u32. Bundle: algorithm u16, fields u16, basis u16, member type u32, members u16, bits u16, target u32, zeros 4,
//! then members of 2 bytes.

use super::Subfield;
use super::nicira as nx;
use super::read::{Scan, field_header, writable};
use super::write::{nicira, nxm_header};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::field::Field;
use crate::writer::Writer;

/// What is hashed, by number.
pub(crate) const HASH_FIELDS: [&str; 7] =
    ["eth_src", "symmetric_l4", "symmetric_l3l4", "symmetric_l3l4+udp", "nw_src", "nw_dst", "symmetric_l3"];
/// How multipath chooses a link, by number.
pub(crate) const MULTIPATH_ALGORITHMS: [&str; 4] = ["modulo_n", "hash_threshold", "hrw", "iter_hash"];
/// How a bundle chooses a member, by number.
pub(crate) const BUNDLE_ALGORITHMS: [&str; 2] = ["active_backup", "hrw"];

/// Writes the number of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multipath {
    /// What is hashed: an index into Open vSwitch's list, `eth_src` first.
    pub fields: u16,
    /// Varies the hash.
    pub basis: u16,
    /// How a link is chosen: `modulo_n`, `hash_threshold`, `hrw`, `iter_hash`.
    pub algorithm: u16,
    /// The number of links less one.
    pub max_link: u16,
    /// What `iter_hash` needs.
    pub argument: u32,
    /// Where the number goes.
    pub dst: Subfield,
}

/// Sends to a member, or writes its port number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberBundle<'a> {
    /// How a member is chosen: `active_backup`, `hrw`.
    pub algorithm: u16,
    /// What is hashed: an index into Open vSwitch's list, `eth_src` first.
    pub fields: u16,
    /// Varies the hash.
    pub basis: u16,
    /// Where the port number goes; `None` sends the packet there.
    pub dst: Option<Subfield>,
    /// Port numbers of 2 bytes.
    pub members: &'a [u8],
}

fn known(number: u16, names: &[&str], r: &Reader<'_>) -> Result<u16, DecodeError> {
    if usize::from(number) < names.len() { Ok(number) } else { Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT)) }
}

pub(super) fn read_multipath(r: &mut Reader<'_>, scan: &mut Scan) -> Result<Multipath, DecodeError> {
    let fields = known(r.u16()?, &HASH_FIELDS, r)?;
    let basis = r.u16()?;
    scan.pad(r, 2)?;
    let algorithm = known(r.u16()?, &MULTIPATH_ALGORITHMS, r)?;
    let max_link = r.u16()?;
    let argument = r.u32()?;
    scan.pad(r, 2)?;
    let packed = r.u16()?;
    let dst = writable(Subfield::unpack(field_header(r)?, packed), r)?;
    let room = if dst.bits < 16 { (1_u32 << dst.bits).wrapping_sub(1) } else { u32::from(u16::MAX) };
    if u32::from(max_link) > room {
        return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT));
    }
    Ok(Multipath { fields, basis, algorithm, max_link, argument, dst })
}

pub(super) fn write_multipath(w: &mut Writer<'_>, m: &Multipath) -> Result<(), EncodeError> {
    nicira(w, nx::MULTIPATH, |w| {
        w.u16(m.fields);
        w.u16(m.basis);
        w.zeros(2);
        w.u16(m.algorithm);
        w.u16(m.max_link);
        w.u32(m.argument);
        w.zeros(2);
        w.u16(m.dst.packed());
        nxm_header(w, m.dst.field)
    })
}

pub(super) fn read_bundle<'a>(r: &mut Reader<'a>, load: bool) -> Result<MemberBundle<'a>, DecodeError> {
    let algorithm = known(r.u16()?, &BUNDLE_ALGORITHMS, r)?;
    let fields = known(r.u16()?, &HASH_FIELDS, r)?;
    let basis = r.u16()?;
    if field_header(r)? != Field::InPort16 {
        return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT));
    }
    let count = usize::from(r.u16()?);
    let packed = r.u16()?;
    let dst = if load {
        Some(writable(Subfield::unpack(field_header(r)?, packed), r)?)
    } else if packed != 0 || r.u32()? != 0 {
        return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT));
    } else {
        None
    };
    if load {
        r.skip(4)?;
    } else {
        r.zeros(4, ErrorCode::OFPBAC_BAD_ARGUMENT)?;
    }
    let members = r.take(count.saturating_mul(2)).map_err(|_| r.refuse(ErrorCode::OFPBAC_BAD_LEN))?;
    Ok(MemberBundle { algorithm, fields, basis, dst, members })
}

pub(super) fn write_bundle(w: &mut Writer<'_>, b: &MemberBundle<'_>) -> Result<(), EncodeError> {
    nicira(w, if b.dst.is_some() { nx::BUNDLE_LOAD } else { nx::BUNDLE }, |w| {
        w.u16(b.algorithm);
        w.u16(b.fields);
        w.u16(b.basis);
        nxm_header(w, Field::InPort16)?;
        w.u16(u16::try_from(b.members.len() / 2).unwrap_or(u16::MAX));
        match b.dst {
            Some(dst) => {
                w.u16(dst.packed());
                nxm_header(w, dst.field)?;
            }
            None => w.zeros(6),
        }
        w.zeros(4);
        w.bytes(b.members);
        Ok(())
    })
}
