//! What a flow does with its packets: instructions, kept as validated bytes.
//!
//! Owns Open vSwitch's order of instructions (meter, apply, clear, write, metadata, goto), into which decoding
//! brings them, and the rule that empty lists are dropped. Must not know flows.

use std::fmt;

use bytes::BytesMut;
use smallvec::SmallVec;

use crate::Version;
use crate::action::{Action, ActionsRef, Place, Scan, WRITE_METADATA_LEN, is_plain_in_15, scan};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError, Malformed};
use crate::error_code::ErrorCode;
use crate::limits::INLINE_INSTRUCTIONS;
use crate::text::action_out;
use crate::text::out::Out;
use crate::types::TableId;
use crate::writer::{Pad, Writer};

/// One instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction<'a> {
    /// Apply a meter (1.3 and 1.4; an action in 1.5).
    Meter(u32),
    /// Do these now.
    Apply(ActionsRef<'a>),
    /// Empty the action set.
    Clear,
    /// Put these into the action set.
    Write(ActionsRef<'a>),
    /// Change the metadata.
    Metadata {
        /// The new bits.
        value: u64,
        /// The bits that change.
        mask: u64,
    },
    /// Go on in a later table.
    Goto(TableId),
    /// One that the codec does not know, whole.
    Unknown(&'a [u8]),
}

/// Owned instructions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instructions {
    bytes: SmallVec<[u8; INLINE_INSTRUCTIONS]>,
}

/// Instructions in a buffer, known to be well-formed and in normal order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InstructionsRef<'a> {
    bytes: &'a [u8],
}

/// What decoding gives: borrowed where the bytes were in normal form already.
#[derive(Debug, Clone)]
pub enum InstructionsCow<'a> {
    /// The bytes of the message.
    Borrowed(InstructionsRef<'a>),
    /// Another form of bytes that were not.
    Owned(Instructions),
}

impl Instructions {
    /// No instructions: the packet is dropped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes instructions in OpenFlow 1.5's form, in normal order.
    pub fn from_list<'a>(list: impl IntoIterator<Item = Instruction<'a>>) -> Result<Self, EncodeError> {
        Self::for_version(Version::V15, list)
    }

    /// Writes instructions in the form that Open vSwitch uses in `version`, in normal order.
    pub fn for_version<'a>(
        version: Version,
        list: impl IntoIterator<Item = Instruction<'a>>,
    ) -> Result<Self, EncodeError> {
        let mut list: SmallVec<[Instruction<'a>; 6]> = list.into_iter().collect();
        let disguised = list.iter_mut().find_map(Instruction::take_metadata);
        list.extend(disguised);
        list.sort_by_key(Instruction::rank);
        let mut buf = BytesMut::new();
        let mut w = Writer::new(&mut buf, version);
        list.iter().try_for_each(|instruction| instruction.write(&mut w))?;
        Ok(Self { bytes: SmallVec::from_slice(&buf) })
    }

    /// Reads wire bytes of any supported version.
    pub fn from_wire(bytes: &[u8], version: Version) -> Result<Self, DecodeError> {
        InstructionsRef::read(Reader::new(bytes, "instructions"), version).map(InstructionsCow::into_owned)
    }

    /// Reads what `ovs-ofctl` takes after `actions=` into the form of a version.
    pub fn parse(text: &str, version: Version) -> Result<Self, crate::ParseError> {
        let nothing = crate::matching::Match::new();
        crate::text::action_in::instructions(
            crate::text::value_in::Source::new(text),
            text,
            &nothing,
            version,
        )
    }

    /// The wire bytes in the form of a version.
    pub fn to_wire(&self, version: Version) -> Result<Vec<u8>, EncodeError> {
        let mut buf = BytesMut::new();
        self.as_ref().write(&mut Writer::new(&mut buf, version))?;
        Ok(buf.to_vec())
    }

    /// Borrows them.
    pub fn as_ref(&self) -> InstructionsRef<'_> {
        InstructionsRef { bytes: &self.bytes }
    }

    /// The wire bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The instructions in normal order.
    pub fn iter(&self) -> InstructionIter<'_> {
        self.as_ref().iter()
    }

    /// Replaces the instructions of `rank`; what cannot be encoded is left out by the callers' proof.
    pub(crate) fn replace(&mut self, instruction: Instruction<'_>) -> Result<(), EncodeError> {
        let others = self.iter().filter(|old| old.rank() != instruction.rank());
        *self = Self::from_list(others.chain([instruction]))?;
        Ok(())
    }
}

impl<'a> InstructionsRef<'a> {
    /// The wire bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The instructions in normal order.
    pub fn iter(self) -> InstructionIter<'a> {
        InstructionIter { reader: Reader::new(self.bytes, "instructions") }
    }

    /// An owned copy.
    pub fn to_owned(self) -> Instructions {
        Instructions { bytes: SmallVec::from_slice(self.bytes) }
    }

    /// Reads all of `reader` as instructions.
    pub(crate) fn read(reader: Reader<'a>, version: Version) -> Result<InstructionsCow<'a>, DecodeError> {
        let mut r = reader;
        let mut normal = true;
        let mut seen = 0_u8;
        let (mut disguised, mut conjunctive) = (false, false);
        while !r.is_empty() {
            let at = r;
            let mut found = Scan::new(version);
            let instruction = Instruction::read(&mut r, &mut found)?;
            let bit = 1_u8 << instruction.rank().min(7);
            if seen & bit != 0 && instruction.rank() < UNKNOWN_RANK {
                return Err(at.refuse(ErrorCode::OFPBIC_DUP_INST));
            }
            normal &= found.clean && seen < bit && !instruction.is_empty() && found.place != Place::Ended;
            seen |= bit;
            disguised |= found.place == Place::Ended;
            conjunctive |= found.conjunctive;
        }
        if disguised && seen & BETWEEN_APPLY_AND_GOTO != 0 {
            return Err(reader.refuse(ErrorCode::OFPBAC_UNSUPPORTED_ORDER));
        }
        if conjunctive && seen & !APPLY_ALONE != 0 {
            return Err(reader.refuse(ErrorCode::NXBAC_BAD_CONJUNCTION));
        }
        let borrowed = Self { bytes: reader.peek() };
        if normal {
            return Ok(InstructionsCow::Borrowed(borrowed));
        }
        let owned = Instructions::for_version(version, borrowed.iter());
        owned.map(InstructionsCow::Owned).map_err(|_| reader.fail(Malformed::BadLength(0)))
    }

    /// Appends them in the form of the writer's version.
    pub(crate) fn write(self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        if w.version() == Version::V15 && self.is_plain_in_15() {
            w.bytes(self.bytes);
            return Ok(());
        }
        let mut meter = None;
        for instruction in self {
            match instruction {
                Instruction::Apply(actions) if w.version() < Version::V15 => apply_before_15(w, actions)?,
                Instruction::Meter(id) if w.version() == Version::V15 => meter = Some(id),
                Instruction::Apply(actions) => apply_after_meter(w, meter.take(), actions)?,
                other => {
                    // A meter without actions stands where actions would.
                    apply_after_meter(w, meter.take(), ActionsRef::default())?;
                    other.write(w)?;
                }
            }
        }
        apply_after_meter(w, meter, ActionsRef::default())
    }
}

impl InstructionsRef<'_> {
    /// Whether a quick look at the types says that 1.5 writes the bytes as they are.
    fn is_plain_in_15(self) -> bool {
        let mut rest = self.bytes;
        while let Some((head, body)) = rest.split_first_chunk::<8>() {
            let [kind_high, kind_low, len_high, len_low, ..] = *head;
            let len = usize::from(u16::from_be_bytes([len_high, len_low])).saturating_sub(8);
            let Some((inner, after)) = body.split_at_checked(len) else { return false };
            let plain = match u16::from_be_bytes([kind_high, kind_low]) {
                METER => false,
                APPLY | WRITE => is_plain_in_15(inner),
                _ => true,
            };
            if !plain {
                return false;
            }
            rest = after;
        }
        true
    }
}

/// In 1.5 a meter is the first action.
fn apply_after_meter(
    w: &mut Writer<'_>,
    meter: Option<u32>,
    actions: ActionsRef<'_>,
) -> Result<(), EncodeError> {
    if meter.is_none() && actions.is_empty() {
        return Ok(());
    }
    w.tlv("instruction", APPLY, Pad::Inside, |w| {
        w.zeros(4);
        meter.map_or(Ok(()), |id| Action::Meter(id).write(w))?;
        actions.write(w)
    })
}

/// Before 1.5 a meter is an instruction of its own, before all others.
fn apply_before_15(w: &mut Writer<'_>, actions: ActionsRef<'_>) -> Result<(), EncodeError> {
    let mut rest = actions;
    if let Some(Action::Meter(id)) = actions.iter().next() {
        Instruction::Meter(id).write(w)?;
        rest = ActionsRef::trusted(actions.as_bytes().get(8..).unwrap_or_default());
    }
    if rest.iter().any(|action| matches!(action, Action::Meter(_))) {
        return Err(EncodeError::Version { what: "meter after other actions", version: w.version() });
    }
    Instruction::Apply(rest).write(w)
}

impl<'a> Instruction<'a> {
    fn read(reader: &mut Reader<'a>, found: &mut Scan) -> Result<Self, DecodeError> {
        let start = reader.named("instruction");
        let mut r = start;
        let kind = r.u16()?;
        let len = usize::from(r.u16()?);
        let bad_len = || start.refuse(ErrorCode::OFPBIC_BAD_LEN);
        if len < 8 || len % 8 != 0 {
            return Err(bad_len());
        }
        let raw = reader.take(len).map_err(|_| bad_len())?;
        let mut body = r.sub(len.saturating_sub(4), "instruction")?;
        let exactly = |n: usize| if len == n { Ok(()) } else { Err(bad_len()) };
        let instruction = match kind {
            GOTO => {
                exactly(8)?;
                Self::Goto(TableId(body.u8()?))
            }
            METADATA => {
                exactly(24)?;
                found.pad(&mut body, 4)?;
                Self::Metadata { value: body.u64()?, mask: body.u64()? }
            }
            WRITE | APPLY => {
                found.pad(&mut body, 4)?;
                found.place = if kind == APPLY { Place::Applied } else { Place::Written };
                scan(body, found)?;
                let actions = ActionsRef::trusted(body.rest());
                if kind == WRITE { Self::Write(actions) } else { Self::Apply(actions) }
            }
            CLEAR => {
                exactly(8)?;
                Self::Clear
            }
            METER => {
                exactly(8)?;
                Self::Meter(body.u32()?)
            }
            _ if start.is_strict() => return Err(start.refuse(unknown_code(kind))),
            _ => return Ok(Self::Unknown(raw)),
        };
        found.pad_rest(&mut body)?;
        Ok(instruction)
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let tlv =
            |w: &mut Writer<'_>, kind: u16, body: &dyn Fn(&mut Writer<'_>) -> Result<(), EncodeError>| {
                w.tlv("instruction", kind, Pad::Inside, body)
            };
        match *self {
            Self::Apply(actions) | Self::Write(actions) if actions.is_empty() => Ok(()),
            Self::Apply(actions) => tlv(w, APPLY, &|w| {
                w.zeros(4);
                actions.write(w)
            }),
            Self::Write(actions) => tlv(w, WRITE, &|w| {
                w.zeros(4);
                actions.write(w)
            }),
            Self::Meter(id) => tlv(w, METER, &|w| {
                w.u32(id);
                Ok(())
            }),
            Self::Clear => tlv(w, CLEAR, &|w| {
                w.zeros(4);
                Ok(())
            }),
            Self::Metadata { value, mask } => tlv(w, METADATA, &|w| {
                w.zeros(4);
                w.u64(value);
                w.u64(mask);
                Ok(())
            }),
            Self::Goto(TableId(table)) => tlv(w, GOTO, &|w| {
                w.u8(table);
                Ok(())
            }),
            Self::Unknown(raw) => {
                w.bytes(raw);
                Ok(())
            }
        }
    }

    /// The place in Open vSwitch's order.
    fn rank(&self) -> u8 {
        match self {
            Self::Meter(_) => 0,
            Self::Apply(_) => 1,
            Self::Clear => 2,
            Self::Write(_) => 3,
            Self::Metadata { .. } => 4,
            Self::Goto(_) => 5,
            Self::Unknown(_) => UNKNOWN_RANK,
        }
    }

    /// Takes the action that is an instruction in disguise from the end of what is applied.
    fn take_metadata(&mut self) -> Option<Self> {
        let Self::Apply(actions) = self else { return None };
        let Some(Action::WriteMetadata { value, mask }) = actions.iter().last() else { return None };
        let len = actions.as_bytes().len().saturating_sub(WRITE_METADATA_LEN);
        *actions = ActionsRef::trusted(actions.as_bytes().get(..len).unwrap_or_default());
        Some(Self::Metadata { value, mask })
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Apply(actions) | Self::Write(actions) if actions.is_empty())
    }
}

impl InstructionsCow<'_> {
    /// Borrows them.
    pub fn as_ref(&self) -> InstructionsRef<'_> {
        match self {
            Self::Borrowed(borrowed) => *borrowed,
            Self::Owned(owned) => owned.as_ref(),
        }
    }

    /// Owns them.
    pub fn into_owned(self) -> Instructions {
        match self {
            Self::Borrowed(borrowed) => borrowed.to_owned(),
            Self::Owned(owned) => owned,
        }
    }
}

/// The instructions of a list.
#[derive(Debug, Clone)]
pub struct InstructionIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for InstructionIter<'a> {
    type Item = Instruction<'a>;

    fn next(&mut self) -> Option<Instruction<'a>> {
        if self.reader.is_empty() {
            return None;
        }
        // Lists are validated when they are made, so an error cannot occur; it would end the walk.
        Instruction::read(&mut self.reader, &mut Scan::default()).ok()
    }
}

impl<'a> IntoIterator for &'a Instructions {
    type Item = Instruction<'a>;
    type IntoIter = InstructionIter<'a>;

    fn into_iter(self) -> InstructionIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for InstructionsRef<'a> {
    type Item = Instruction<'a>;
    type IntoIter = InstructionIter<'a>;

    fn into_iter(self) -> InstructionIter<'a> {
        self.iter()
    }
}

impl fmt::Display for InstructionsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Out::show(f, |out| action_out::write_instructions(out, *self))
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Debug for InstructionsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instructions({self})")
    }
}

impl fmt::Debug for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// How Open vSwitch refuses an instruction that it does not know.
fn unknown_code(kind: u16) -> ErrorCode {
    if kind == EXPERIMENTER { ErrorCode::OFPBIC_BAD_EXPERIMENTER } else { ErrorCode::OFPBIC_UNKNOWN_INST }
}

const UNKNOWN_RANK: u8 = 6;

/// The bit of apply among those of the instructions seen.
const APPLY_ALONE: u8 = 0b10;
/// The bits of clear, write and metadata among those of the instructions seen.
const BETWEEN_APPLY_AND_GOTO: u8 = 0b1_1100;

const GOTO: u16 = 1;
const METADATA: u16 = 2;
const WRITE: u16 = 3;
const APPLY: u16 = 4;
const CLEAR: u16 = 5;
const METER: u16 = 6;
const EXPERIMENTER: u16 = 0xffff;
