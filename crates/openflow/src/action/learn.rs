//! `learn`: a flow that writes flows.
//!
//! Owns the list of specifications, each of which says where bits of the new flow come from. Layout after the
//! subtype: idle u16, hard u16, priority u16, cookie u64, flags u16, table u8, pad 1, FIN idle u16, FIN hard u16,
//! (learn 2: limit u32, result bit u16, pad 2, result header,) specifications.

use super::Subfield;
use super::nicira as nx;
use super::read::{Scan, field_header, readable, writable};
use super::write::{nicira, nxm_header};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::types::TableId;
use crate::writer::Writer;

/// What to learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learn<'a> {
    /// Idle timeout of the new flow in seconds.
    pub idle_timeout: u16,
    /// Hard timeout of the new flow in seconds.
    pub hard_timeout: u16,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: u64,
    /// [`Learn::SEND_FLOW_REM`] and [`Learn::DELETE_LEARNED`].
    pub flags: u16,
    /// Its table.
    pub table: TableId,
    /// Its idle timeout after FIN or RST.
    pub fin_idle_timeout: u16,
    /// Its hard timeout after FIN or RST.
    pub fin_hard_timeout: u16,
    /// The most flows to learn; 0 is no limit.
    pub limit: u32,
    /// A bit that tells whether the flow was learnt.
    pub result: Option<Subfield>,
    /// The specifications, as they are on the wire without their padding.
    pub specs: LearnSpecs<'a>,
}

impl Learn<'_> {
    /// Tell when the learnt flow goes.
    pub const SEND_FLOW_REM: u16 = 1;
    /// Learnt flows go with the flow that learnt them.
    pub const DELETE_LEARNED: u16 = 2;
}

/// The specifications of a `learn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LearnSpecs<'a>(pub(crate) &'a [u8]);

/// Where bits come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LearnSource<'a> {
    /// The packet.
    Field(Subfield),
    /// Here, big-endian in a whole number of 16-bit words.
    Value(&'a [u8]),
}

/// Where bits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LearnTarget {
    /// The match of the new flow.
    Match(Subfield),
    /// A load of the new flow.
    Load(Subfield),
    /// An output of the new flow.
    Output,
}

/// One specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnSpec<'a> {
    /// How many bits.
    pub bits: u16,
    /// From.
    pub source: LearnSource<'a>,
    /// To.
    pub target: LearnTarget,
}

/// Walks them.
#[derive(Debug, Clone)]
pub struct LearnSpecIter<'a>(&'a [u8]);

impl<'a> IntoIterator for LearnSpecs<'a> {
    type Item = LearnSpec<'a>;
    type IntoIter = LearnSpecIter<'a>;

    fn into_iter(self) -> LearnSpecIter<'a> {
        LearnSpecIter(self.0)
    }
}

impl<'a> Iterator for LearnSpecIter<'a> {
    type Item = LearnSpec<'a>;

    fn next(&mut self) -> Option<LearnSpec<'a>> {
        let mut r = Reader::new(self.0, "learn");
        // Validated when the action was read, so an error cannot occur; it would end the walk.
        let spec = read_spec(&mut r).ok().flatten();
        self.0 = r.rest();
        spec
    }
}

impl LearnSpec<'_> {
    /// Appends the specification.
    pub fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let (source, target) = (
            if matches!(self.source, LearnSource::Value(_)) { FROM_VALUE } else { 0 },
            match self.target {
                LearnTarget::Match(_) => TO_MATCH,
                LearnTarget::Load(_) => TO_LOAD,
                LearnTarget::Output => TO_OUTPUT,
            },
        );
        w.u16(source | target | (self.bits & MAX_BITS));
        match self.source {
            LearnSource::Value(bytes) => w.bytes(bytes),
            LearnSource::Field(sub) => field(w, sub)?,
        }
        match self.target {
            LearnTarget::Match(sub) | LearnTarget::Load(sub) => field(w, sub),
            LearnTarget::Output => Ok(()),
        }
    }
}

fn field(w: &mut Writer<'_>, sub: Subfield) -> Result<(), EncodeError> {
    nxm_header(w, sub.field)?;
    w.u16(sub.offset);
    Ok(())
}

/// `None` at the padding.
fn read_spec<'a>(r: &mut Reader<'a>) -> Result<Option<LearnSpec<'a>>, DecodeError> {
    if r.len() < 2 {
        return Ok(None);
    }
    let at = *r;
    let header = r.u16()?;
    if header == 0 {
        return Ok(None);
    }
    let bits = header & MAX_BITS;
    let subfield = |r: &mut Reader<'a>| {
        let refused = r.refuse(ErrorCode::OFPBAC_BAD_SET_TYPE);
        let field = field_header(r).map_err(|_| refused)?;
        Ok(Subfield { field, offset: r.u16()?, bits })
    };
    let source = if header & FROM_VALUE == 0 {
        LearnSource::Field(subfield(r)?)
    } else {
        LearnSource::Value(r.take(usize::from(bits.div_ceil(16)).saturating_mul(2))?)
    };
    let target = match header & (TO_OUTPUT | TO_LOAD) {
        TO_MATCH => LearnTarget::Match(subfield(r)?),
        TO_LOAD => LearnTarget::Load(subfield(r)?),
        TO_OUTPUT => LearnTarget::Output,
        _ => return Err(at.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT)),
    };
    let spec = LearnSpec { bits, source, target };
    spec.check(&at)?;
    Ok(Some(spec))
}

impl LearnSpec<'_> {
    fn check(&self, r: &Reader<'_>) -> Result<(), DecodeError> {
        let refused = || Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT));
        match (self.source, self.target) {
            (LearnSource::Value(_), _) if self.bits == 0 => return refused(),
            // OpenFlow cannot output to a number in the action itself.
            (LearnSource::Value(_), LearnTarget::Output) => return refused(),
            (LearnSource::Field(sub), _) => drop(readable(sub, r)?),
            (LearnSource::Value(_), _) => {}
        }
        self.check_target(r)
    }

    fn check_target(&self, r: &Reader<'_>) -> Result<(), DecodeError> {
        match self.target {
            LearnTarget::Match(sub) => readable(sub, r).map(|_| ()),
            LearnTarget::Load(sub) => writable(sub, r).map(|_| ()),
            LearnTarget::Output => Ok(()),
        }
    }
}

pub(super) fn read<'a>(r: &mut Reader<'a>, scan: &mut Scan, second: bool) -> Result<Learn<'a>, DecodeError> {
    let (idle_timeout, hard_timeout, priority) = (r.u16()?, r.u16()?, r.u16()?);
    let cookie = r.u64()?;
    let flags = r.u16()?;
    let table = TableId(r.u8()?);
    r.zeros(1, ErrorCode::OFPBAC_BAD_ARGUMENT)?;
    let (fin_idle_timeout, fin_hard_timeout) = (r.u16()?, r.u16()?);
    let known = if second { 7 } else { 3 };
    if flags & !known != 0 || table == TableId::ALL {
        return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT));
    }
    let (mut limit, mut result) = (0, None);
    if second {
        limit = r.u32()?;
        let offset = r.u16()?;
        scan.pad(r, 2)?;
        if flags & WRITE_RESULT != 0 {
            let bit = Subfield::bit(field_header(r)?, offset);
            result = Some(bit).filter(|bit| bit.fits() && bit.field.is_writable());
            if result.is_none() {
                return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT));
            }
        }
    }
    let start = *r;
    let mut used = 0;
    while read_spec(r)?.is_some() {
        used = start.len().saturating_sub(r.len());
    }
    if !start.peek().get(used..).unwrap_or_default().iter().all(|b| *b == 0) {
        return Err(r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT));
    }
    r.rest();
    let specs = LearnSpecs(start.peek().get(..used).unwrap_or_default());
    let learnt = Learn {
        idle_timeout,
        hard_timeout,
        priority,
        cookie,
        flags: flags & !WRITE_RESULT,
        table,
        fin_idle_timeout,
        fin_hard_timeout,
        limit,
        result,
        specs,
    };
    if second && limit == 0 && result.is_none() {
        // Open vSwitch writes this as the first form.
        scan.clean = false;
    }
    Ok(learnt)
}

pub(super) fn write(w: &mut Writer<'_>, learn: &Learn<'_>) -> Result<(), EncodeError> {
    let second = learn.limit != 0 || learn.result.is_some();
    nicira(w, if second { nx::LEARN2 } else { nx::LEARN }, |w| {
        w.u16(learn.idle_timeout);
        w.u16(learn.hard_timeout);
        w.u16(learn.priority);
        w.u64(learn.cookie);
        w.u16(learn.flags | if learn.result.is_some() { WRITE_RESULT } else { 0 });
        let TableId(table) = learn.table;
        w.u8(table);
        w.zeros(1);
        w.u16(learn.fin_idle_timeout);
        w.u16(learn.fin_hard_timeout);
        if second {
            w.u32(learn.limit);
            w.u16(learn.result.map_or(0, |bit| bit.offset));
            w.zeros(2);
            if let Some(bit) = learn.result {
                nxm_header(w, bit.field)?;
            }
        }
        w.bytes(learn.specs.0);
        Ok(())
    })
}

const FROM_VALUE: u16 = 1 << 13;
const TO_MATCH: u16 = 0;
const TO_LOAD: u16 = 1 << 11;
const TO_OUTPUT: u16 = 2 << 11;
const MAX_BITS: u16 = 0x3ff;
const WRITE_RESULT: u16 = 4;
