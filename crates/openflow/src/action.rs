//! One action, decoded or to be encoded, and lists of actions kept as validated bytes.
//!
//! Owns the meaning of actions. The wire forms stand in `action/read.rs`, `action/nicira.rs` and
//! `action/write.rs`; the text in `crate::text`. Actions that the codec does not know are kept raw.

use std::fmt;

use bytes::BytesMut;

use crate::Version;
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::field::Field;
use crate::types::OfPort;
use crate::writer::Writer;

mod encap;
mod learn;
mod nicira;
mod old;
mod parts;
mod read;
mod select;
mod write;

pub use encap::{Encap, EncapProperties, EncapProperty, EncapPropertyIter};
pub(crate) use encap::{PT_ETHERNET, PT_MPLS, PT_MPLS_MC, PT_NEXT, PT_NSH};
pub use learn::{Learn, LearnSource, LearnSpec, LearnSpecIter, LearnSpecs, LearnTarget};
pub(crate) use nicira::WRITE_METADATA_LEN;
pub use old::OldSet;
pub use parts::{
    Controller, Ct, CtZone, Nat, NatKind, NatRange, Resubmit, Sample, SampleDirection, Subfield,
};
pub(crate) use read::{Place, Scan, is_exact, is_plain_in_15, scan};
pub(crate) use select::{BUNDLE_ALGORITHMS, HASH_FIELDS, MULTIPATH_ALGORITHMS};
pub use select::{MemberBundle, Multipath};

/// An action. Borrowed parts point into the message (or into bytes that the caller keeps).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Send to a port; `max_len` counts for the controller only.
    Output {
        /// Where to.
        port: OfPort,
        /// Bytes of the packet that the controller gets.
        max_len: u16,
    },
    /// Send to the port whose number a field holds.
    OutputReg {
        /// The number.
        source: Subfield,
        /// Bytes of the packet that the controller gets.
        max_len: u16,
    },
    /// Send the first bytes to a port.
    OutputTrunc {
        /// Where to.
        port: OfPort,
        /// Bytes kept.
        max_len: u32,
    },
    /// Send to a controller with more said about it.
    Controller(Controller<'a>),
    /// Run a group.
    Group(u32),
    /// Choose a queue for what follows.
    SetQueue(u32),
    /// Back to the default queue.
    PopQueue,
    /// Apply a meter (an action from 1.5 on, an instruction before).
    Meter(u32),
    /// Write a field of at most 16 bytes, masked.
    SetField {
        /// The field.
        field: Field,
        /// Its new bits.
        value: u128,
        /// The bits that change.
        mask: u128,
    },
    /// Write a `tun_metadata` field, whose length only the switch knows.
    SetMetadataField {
        /// The field.
        field: Field,
        /// Its new bytes.
        value: &'a [u8],
        /// The bits that change, if not all.
        mask: Option<&'a [u8]>,
    },
    /// Write a number into part of a field. In 1.5 this leaves as `SetField`, as Open vSwitch does it.
    Load {
        /// The part.
        dst: Subfield,
        /// The number.
        value: u64,
    },
    /// Copy bits between fields.
    Move {
        /// From.
        src: Subfield,
        /// To, as wide.
        dst: Subfield,
    },
    /// Push bits onto the stack.
    StackPush(Subfield),
    /// Pop bits from the stack.
    StackPop(Subfield),
    /// Forget a `tun_metadata` field.
    DeleteField(Field),
    /// Add a VLAN tag of this Ethernet type.
    PushVlan(u16),
    /// Remove the outer VLAN tag.
    PopVlan,
    /// Add an MPLS label of this Ethernet type.
    PushMpls(u16),
    /// Remove the outer MPLS label; the Ethernet type of what is below.
    PopMpls(u16),
    /// Set the MPLS TTL.
    SetMplsTtl(u8),
    /// Decrement the MPLS TTL.
    DecMplsTtl,
    /// Set the IP TTL or hop limit.
    SetNwTtl(u8),
    /// Decrement the IP TTL or hop limit.
    DecTtl,
    /// The same; on expiry tell these controllers, 2 bytes each.
    DecTtlIds(&'a [u8]),
    /// Decrement the NSH TTL.
    DecNshTtl,
    /// Set the tunnel key, the 32-bit way. Leaves as `SetField`.
    SetTunnel(u32),
    /// Set the tunnel key, the 64-bit way. Leaves as `SetField`.
    SetTunnel64(u64),
    /// Set a field in the way of OpenFlow 1.1.
    OldSet(OldSet),
    /// Look up another table and come back.
    Resubmit(Resubmit),
    /// Send through the connection tracker.
    Ct(Ct<'a>),
    /// Translate addresses; only inside `Ct`.
    Nat(Nat),
    /// Forget the connection state.
    CtClear,
    /// Run actions on a copy of the packet.
    Clone(ActionsRef<'a>),
    /// One clause of a conjunctive match.
    Conjunction {
        /// Its number.
        id: u32,
        /// This clause, from 0.
        clause: u8,
        /// Clauses in all.
        clauses: u8,
    },
    /// Sample for IPFIX.
    Sample(Sample),
    /// Bytes without effect.
    Note(&'a [u8]),
    /// Stop here.
    Exit,
    /// Shorter timeouts once TCP says FIN or RST, in seconds.
    FinTimeout {
        /// The new idle timeout.
        idle: u16,
        /// The new hard timeout.
        hard: u16,
    },
    /// Whether the packet is longer than so many bytes, into one bit.
    CheckPktLarger {
        /// Bytes.
        len: u16,
        /// The bit.
        dst: Subfield,
    },
    /// Write a flow.
    Learn(Learn<'a>),
    /// Choose a number by hash.
    Multipath(Multipath),
    /// Choose a port by hash.
    Bundle(MemberBundle<'a>),
    /// Add a header.
    Encap(Encap<'a>),
    /// Remove a header; the packet type that is left, or `0xfffe` for whatever is below.
    Decap(u32),
    /// Nicira's way to say [`crate::Instruction::Metadata`]: it may stand last in an [`crate::Instruction::Apply`] only,
    /// and leaves as the instruction.
    WriteMetadata {
        /// The new bits.
        value: u64,
        /// The bits that change.
        mask: u64,
    },
    /// An action this codec does not know, whole.
    Unknown(&'a [u8]),
}

impl Action<'_> {
    /// Whether Open vSwitch takes it into an action set.
    pub(crate) fn is_settable(&self) -> bool {
        !matches!(
            self,
            Self::OutputReg { .. }
                | Self::OutputTrunc { .. }
                | Self::Controller(_)
                | Self::PopQueue
                | Self::Meter(_)
                | Self::StackPush(_)
                | Self::StackPop(_)
                | Self::DeleteField(_)
                | Self::Clone(_)
                | Self::Conjunction { .. }
                | Self::Nat(_)
                | Self::Sample(_)
                | Self::Note(_)
                | Self::Exit
                | Self::FinTimeout { .. }
                | Self::CheckPktLarger { .. }
                | Self::Learn(_)
                | Self::Multipath(_)
                | Self::Bundle(_)
                | Self::WriteMetadata { .. }
        )
    }
}

impl Action<'static> {
    /// Sends to a port.
    pub const fn output(port: OfPort) -> Self {
        let max_len = if port.0 == OfPort::CONTROLLER.0 { u16::MAX } else { 0 };
        Self::Output { port, max_len }
    }

    /// Sends the packet through `table` and goes on with the next action.
    pub const fn resubmit_table(table: crate::TableId) -> Self {
        Self::Resubmit(Resubmit { port: OfPort::IN_PORT, table, ct: false })
    }

    /// Writes all bits of a field.
    pub const fn set_field(field: Field, value: u128) -> Self {
        Self::SetField { field, value, mask: u128::MAX }
    }

    /// Writes the bits `first..=last` of `reg{number}`; registers above 15 do not exist and become 15.
    pub fn load_reg(number: u8, first: u16, last: u16, value: u32) -> Self {
        let bits = u32::from(last.saturating_sub(first).saturating_add(1));
        let window = crate::field::ones(bits) & 0xffff_ffff;
        let shift = u32::from(first.min(31));
        let field = Field::reg(number).unwrap_or(Field::Reg15);
        Self::SetField { field, value: (u128::from(value) & window) << shift, mask: window << shift }
    }
}

/// Actions one after another, owned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Actions {
    bytes: Vec<u8>,
}

/// Actions one after another in a buffer, known to be well-formed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ActionsRef<'a> {
    bytes: &'a [u8],
}

impl Actions {
    /// Writes the actions in OpenFlow 1.5's form.
    pub fn new<'a>(actions: impl IntoIterator<Item = Action<'a>>) -> Result<Self, EncodeError> {
        Self::for_version(Version::V15, actions)
    }

    /// Writes the actions in the form that Open vSwitch uses in `version`.
    pub fn for_version<'a>(
        version: Version,
        actions: impl IntoIterator<Item = Action<'a>>,
    ) -> Result<Self, EncodeError> {
        let mut buf = BytesMut::new();
        let mut w = Writer::new(&mut buf, version);
        for action in actions {
            action.write(&mut w)?;
        }
        Ok(Self { bytes: buf.to_vec() })
    }

    /// Reads wire bytes of any supported version.
    pub fn from_wire(bytes: &[u8], version: Version) -> Result<Self, DecodeError> {
        let mut found = Scan::new(version);
        scan(Reader::new(bytes, "actions"), &mut found)?;
        let actions = ActionsRef { bytes };
        if found.clean {
            return Ok(Self { bytes: bytes.to_vec() });
        }
        let rewritten = Self::for_version(version, actions.iter());
        rewritten.map_err(|_| Reader::new(bytes, "actions").fail(crate::Malformed::BadLength(0)))
    }

    /// Both, one after the other; `more` was written by an encoder.
    pub(crate) fn joined(&self, more: &[u8]) -> Self {
        Self { bytes: [&self.bytes, more].concat() }
    }

    /// Reads `ovs-ofctl`'s text into the form of a version.
    pub fn parse(text: &str, version: Version) -> Result<Self, crate::ParseError> {
        let bytes = crate::text::action_in::actions(crate::text::value_in::Source::new(text), text, version)?;
        Ok(Self { bytes: bytes.to_vec() })
    }

    /// Borrows them.
    pub fn as_ref(&self) -> ActionsRef<'_> {
        ActionsRef { bytes: &self.bytes }
    }
}

impl<'a> ActionsRef<'a> {
    /// Wraps bytes that [`scan`] accepted.
    pub(crate) fn trusted(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The wire bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// The actions in order.
    pub fn iter(self) -> ActionIter<'a> {
        ActionIter { reader: Reader::new(self.bytes, "actions") }
    }

    /// Appends them in the form of the writer's version.
    pub(crate) fn write(self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let mut reader = Reader::new(self.bytes, "actions");
        while !reader.is_empty() {
            let start = reader.peek();
            let Ok((action, normal)) = read::action(&mut reader, &mut Scan::new(w.version())) else {
                break;
            };
            let len = start.len().saturating_sub(reader.len());
            match start.get(..len) {
                Some(raw) if normal => w.bytes(raw),
                _ => action.write(w)?,
            }
        }
        Ok(())
    }
}

/// The actions of a list.
#[derive(Debug, Clone)]
pub struct ActionIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for ActionIter<'a> {
    type Item = Action<'a>;

    fn next(&mut self) -> Option<Action<'a>> {
        if self.reader.is_empty() {
            return None;
        }
        // Lists are validated when they are made, so an error cannot occur; it would end the walk.
        read::action(&mut self.reader, &mut Scan::default()).ok().map(|(action, _)| action)
    }
}

impl<'a> IntoIterator for ActionsRef<'a> {
    type Item = Action<'a>;
    type IntoIter = ActionIter<'a>;

    fn into_iter(self) -> ActionIter<'a> {
        self.iter()
    }
}

impl fmt::Display for ActionsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sep = &mut crate::text::match_out::Separator::default();
        crate::text::out::Out::show(f, |out| crate::text::action_out::write_list(out, *self, sep))
    }
}

impl fmt::Debug for ActionsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Actions({self})")
    }
}
