//! The structures inside actions.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::ActionsRef;
use crate::field::Field;
use crate::types::{OfPort, TableId};

/// Some bits of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subfield {
    /// The field.
    pub field: Field,
    /// The lowest bit.
    pub offset: u16,
    /// How many bits, at least one.
    pub bits: u16,
}

impl Subfield {
    /// All bits of a field.
    pub fn whole(field: Field) -> Self {
        Self { field, offset: 0, bits: field.bits() }
    }

    /// One bit.
    pub const fn bit(field: Field, offset: u16) -> Self {
        Self { field, offset, bits: 1 }
    }

    /// The 16 bits of offset and length that Nicira's actions use: 10 bits and 6 bits.
    pub(crate) fn packed(self) -> u16 {
        (self.offset << 6) | (self.bits.saturating_sub(1) & 0x3f)
    }

    /// The reverse.
    pub(crate) fn unpack(field: Field, packed: u16) -> Self {
        Self { field, offset: packed >> 6, bits: (packed & 0x3f).saturating_add(1) }
    }

    /// Whether it lies within the field.
    pub(crate) fn fits(self) -> bool {
        self.bits > 0 && self.offset.checked_add(self.bits).is_some_and(|end| end <= self.field.bits())
    }
}

/// A message to a controller: what `controller(…)` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Controller<'a> {
    /// Bytes of the packet that it gets.
    pub max_len: u16,
    /// Which controller; 0 is the default.
    pub id: u16,
    /// The reason it is told: 0 no_match, 1 action, 2 invalid_ttl, 3 action_set, 4 group, 5 packet_out.
    pub reason: u8,
    /// Bytes that come back in the packet-in.
    pub userdata: &'a [u8],
    /// Whether the controller is to resume the packet's journey.
    pub pause: bool,
    /// A meter to apply first; 0 is none.
    pub meter: u32,
    /// Whether it stands in the newer wire form even if the older could say it.
    pub extended: bool,
}

/// A lookup in another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resubmit {
    /// The input port to pretend; `IN_PORT` keeps the real one.
    pub port: OfPort,
    /// The table; `TableId::ALL` is the current one.
    pub table: TableId,
    /// Whether fields of the connection's original direction are looked up.
    pub ct: bool,
}

/// The zone of a `ct` action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtZone {
    /// A number.
    Number(u16),
    /// The number in a field.
    Field(Subfield),
}

/// A pass through the connection tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ct<'a> {
    /// Bit 0 commit, bit 1 force.
    pub flags: u16,
    /// The zone.
    pub zone: CtZone,
    /// Where the packet goes on; `TableId::ALL` means nowhere.
    pub table: TableId,
    /// The port number of the helper: 21 ftp, 69 tftp.
    pub alg: u16,
    /// Nat, and what `exec` does.
    pub actions: ActionsRef<'a>,
}

impl Ct<'_> {
    /// The flag that commits the connection.
    pub const COMMIT: u16 = 1;
    /// The flag that turns a connection around.
    pub const FORCE: u16 = 2;
}

/// What kind of translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatKind {
    /// As the connection says.
    Any,
    /// The source.
    Src,
    /// The destination.
    Dst,
}

/// The addresses to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatRange {
    /// None given.
    None,
    /// IPv4, from and perhaps to.
    V4(Ipv4Addr, Option<Ipv4Addr>),
    /// IPv6, from and perhaps to.
    V6(Ipv6Addr, Option<Ipv6Addr>),
}

/// Address translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat {
    /// Source, destination or neither.
    pub kind: NatKind,
    /// Bit 2 persistent, bit 3 hash, bit 4 random.
    pub flags: u16,
    /// The addresses.
    pub range: NatRange,
    /// The lowest port, if ports are given.
    pub port_min: Option<u16>,
    /// The highest port, if given.
    pub port_max: Option<u16>,
}

impl Nat {
    /// The same addresses after a restart.
    pub const PERSISTENT: u16 = 1 << 2;
    /// Ports by hash.
    pub const HASH: u16 = 1 << 3;
    /// Ports at random.
    pub const RANDOM: u16 = 1 << 4;
}

/// Which direction of a port is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleDirection {
    /// Decided by the switch.
    Default,
    /// What comes in.
    Ingress,
    /// What goes out.
    Egress,
}

/// A sample for IPFIX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Of 65535.
    pub probability: u16,
    /// The set of collectors.
    pub collector_set: u32,
    /// The observation domain.
    pub domain: u32,
    /// The observation point.
    pub point: u32,
    /// The sampling port, if it is said.
    pub port: Option<OfPort>,
    /// The direction.
    pub direction: SampleDirection,
}
