//! The small values of the domain: MAC addresses, ports, tables, versions.
//!
//! Owns their text forms. Must not know any message.

use std::fmt;
use std::str::FromStr;

/// A version of OpenFlow that this codec speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// OpenFlow 1.3, wire version 4.
    V13,
    /// OpenFlow 1.4, wire version 5.
    V14,
    /// OpenFlow 1.5, wire version 6.
    V15,
}

impl Version {
    /// All, oldest first.
    pub const ALL: [Self; 3] = [Self::V13, Self::V14, Self::V15];

    /// The number in a message's first byte.
    pub const fn wire(self) -> u8 {
        match self {
            Self::V13 => 4,
            Self::V14 => 5,
            Self::V15 => 6,
        }
    }

    /// The version with this number; `None` for 1.0 to 1.2, which this codec refuses, and for the future.
    pub const fn from_wire(wire: u8) -> Option<Self> {
        match wire {
            4 => Some(Self::V13),
            5 => Some(Self::V14),
            6 => Some(Self::V15),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V13 => "1.3",
            Self::V14 => "1.4",
            Self::V15 => "1.5",
        })
    }
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// `00:00:00:00:00:00`.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether the group bit is set; true for broadcast too.
    pub const fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }

    /// The address in the low 48 bits.
    pub(crate) fn bits(self) -> u128 {
        self.0.iter().fold(0, |bits, byte| (bits << 8) | u128::from(*byte))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::out::Out::show(f, |out| crate::text::digits::mac(out, self.bits()))
    }
}

/// A text that is no Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an Ethernet address")]
pub struct BadMac(pub String);

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let bad = || BadMac(text.to_owned());
        let mut parts = text.split(':');
        let mut bytes = [0_u8; 6];
        for byte in &mut bytes {
            let part = parts.next().filter(|p| (1..=2).contains(&p.len())).ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(bytes)) }
    }
}

/// An OpenFlow port number of 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfPort(pub u32);

impl OfPort {
    /// The largest number of a port that is not reserved.
    pub const MAX: Self = Self(0xffff_ff00);
    /// "Not set", in an OpenFlow 1.5 match on the action set's output.
    pub const UNSET: Self = Self(0xffff_fff7);
    /// Back to where the packet came from.
    pub const IN_PORT: Self = Self(0xffff_fff8);
    /// Through the flow tables (packet-out only).
    pub const TABLE: Self = Self(0xffff_fff9);
    /// As a learning switch would.
    pub const NORMAL: Self = Self(0xffff_fffa);
    /// Everywhere that takes part in flooding, except the input.
    pub const FLOOD: Self = Self(0xffff_fffb);
    /// Everywhere except the input.
    pub const ALL: Self = Self(0xffff_fffc);
    /// To the controller.
    pub const CONTROLLER: Self = Self(0xffff_fffd);
    /// The bridge's own port.
    pub const LOCAL: Self = Self(0xffff_fffe);
    /// Any port in a request; no port elsewhere.
    pub const ANY: Self = Self(0xffff_ffff);

    /// Whether Open vSwitch, whose ports have 16 bits inside, can name the port.
    pub const fn is_valid(self) -> bool {
        self.0 < FIRST_RESERVED_16 || self.0 >= Self::MAX.0
    }

    /// The reserved name as `ovs-ofctl` prints it.
    pub const fn reserved_name(self) -> Option<&'static str> {
        Some(match self {
            Self::UNSET => "UNSET",
            Self::IN_PORT => "IN_PORT",
            Self::TABLE => "TABLE",
            Self::NORMAL => "NORMAL",
            Self::FLOOD => "FLOOD",
            Self::ALL => "ALL",
            Self::CONTROLLER => "CONTROLLER",
            Self::LOCAL => "LOCAL",
            Self::ANY => "ANY",
            _ => return None,
        })
    }

    /// The number that stands for the port in text: Open vSwitch shows reserved ports in 16 bits.
    pub(crate) const fn shown(self) -> u32 {
        if self.0 >= Self::MAX.0 { self.0 & 0xffff } else { self.0 }
    }

    /// Whether packets can be sent there.
    pub const fn is_output(self) -> bool {
        match self {
            Self::IN_PORT
            | Self::TABLE
            | Self::NORMAL
            | Self::FLOOD
            | Self::ALL
            | Self::CONTROLLER
            | Self::LOCAL => true,
            _ => self.0 < FIRST_RESERVED_16,
        }
    }

    /// The port that 16 bits of the Nicira extensions mean: reserved numbers move to the top of 32 bits.
    pub fn from_u16(port: u16) -> Self {
        let port = u32::from(port);
        Self(if port >= FIRST_RESERVED_16 { port | 0xffff_0000 } else { port })
    }

    /// The 16 bits that the Nicira extensions write for this port, if they can.
    pub fn to_u16(self) -> Option<u16> {
        let reserved = self.0 >= 0xffff_0000 && self.0 & 0xffff >= FIRST_RESERVED_16;
        if reserved || self.0 < FIRST_RESERVED_16 { u16::try_from(self.0 & 0xffff).ok() } else { None }
    }
}

/// The first reserved port of the 16-bit numbering of OpenFlow 1.0.
const FIRST_RESERVED_16: u32 = 0xff00;

impl fmt::Display for OfPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reserved_name() {
            Some(name) => f.write_str(name),
            None => self.shown().fmt(f),
        }
    }
}

impl FromStr for OfPort {
    type Err = BadPort;

    fn from_str(text: &str) -> Result<Self, BadPort> {
        let name = text.to_ascii_uppercase();
        if let Some(port) = RESERVED.iter().find(|port| port.reserved_name() == Some(name.as_str())) {
            return Ok(*port);
        }
        if name == "NONE" {
            return Ok(Self::ANY);
        }
        let number = crate::text::number(text).and_then(|n| u32::try_from(n).ok());
        let port = number.ok_or_else(|| BadPort(text.to_owned()))?;
        // ovs-ofctl reads the reserved numbers of OpenFlow 1.0 as today's.
        Ok(u16::try_from(port).map_or(Self(port), Self::from_u16))
    }
}

/// A text that is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an OpenFlow port")]
pub struct BadPort(pub String);

const RESERVED: [OfPort; 9] = [
    OfPort::UNSET,
    OfPort::IN_PORT,
    OfPort::TABLE,
    OfPort::NORMAL,
    OfPort::FLOOD,
    OfPort::ALL,
    OfPort::CONTROLLER,
    OfPort::LOCAL,
    OfPort::ANY,
];

/// The number of a flow table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TableId(pub u8);

impl TableId {
    /// All tables, in requests.
    pub const ALL: Self = Self(0xff);
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
