//! Ports: their descriptions and the news about them.
//!
//! 1.3, 64 bytes: port u32, pad 4, MAC 6, pad 2, name 16, config u32, state u32, curr u32, advertised u32,
//! supported u32, peer u32, current speed u32, maximum speed u32 (kb/s). 1.4 and 1.5: port u32, length u16,
//! pad 2, MAC 6, pad 2, name 16, config u32, state u32, properties; Ethernet's (0) has pad 4 and the last six.

use bytes::BytesMut;

use super::counters::has_ethernet;
use super::entries::{Entries, Entry};
use super::{PORT_MOD, PORT_STATUS, write_message};
use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::types::{Mac, OfPort, Version};
use crate::writer::{Pad, Writer};

bitflags::bitflags! {
    /// What the link is like.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct PortState: u32 {
        /// No carrier.
        const LINK_DOWN = 1;
        /// Kept from forwarding.
        const BLOCKED = 2;
        /// Good for fast fail-over.
        const LIVE = 4;
        // Other bits survive a round trip.
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// What the port was told.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct PortConfig: u32 {
        /// Down by decree.
        const PORT_DOWN = 1;
        /// Drops what it receives.
        const NO_RECV = 1 << 2;
        /// Drops what it should send.
        const NO_FWD = 1 << 5;
        /// Sends no packet-ins.
        const NO_PACKET_IN = 1 << 6;
        // Other bits survive a round trip.
        const _ = !0;
    }
}

/// Rates and modes of an Ethernet port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EthernetPort {
    /// Modes in use, as bits.
    pub current: u32,
    /// Modes offered to the peer.
    pub advertised: u32,
    /// Modes there could be.
    pub supported: u32,
    /// Modes the peer offers.
    pub peer: u32,
    /// Speed in kb/s.
    pub current_speed: u32,
    /// Speed that there could be, in kb/s.
    pub max_speed: u32,
}

/// The description of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port<'a> {
    /// Its number.
    pub number: OfPort,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its name, at most 15 bytes: longer names are cut by the protocol.
    pub name: &'a [u8],
    /// What it was told.
    pub config: PortConfig,
    /// What it is like.
    pub state: PortState,
    /// What Ethernet says.
    pub ethernet: EthernetPort,
    /// The properties behind Ethernet's, raw (from 1.4 on): optical ports and experimenters.
    pub properties: &'a [u8],
}

impl<'a> Port<'a> {
    /// The name as text, if it is one.
    pub fn name_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.name).ok()
    }

    fn write_common(&self, w: &mut Writer<'_>) {
        w.bytes(&self.mac.0);
        w.zeros(2);
        let name = self.name.get(..NAME_LEN).unwrap_or(self.name);
        w.bytes(name);
        w.zeros(NAME_LEN.saturating_sub(name.len()));
        w.u32(self.config.bits());
        w.u32(self.state.bits());
    }
}

impl<'a> Entry<'a> for Port<'a> {
    const NAME: &'static str = "port";

    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let number = reader.port()?;
        let mut r = if version == Version::V13 {
            reader.skip(4)?;
            reader.sub(V13_LEN, "port")?
        } else {
            // The length counts the number before it, too.
            let mut r = *reader;
            let len = usize::from(r.u16()?);
            r.skip(2)?;
            let body = len.checked_sub(8).ok_or_else(|| reader.refuse(ErrorCode::OFPBRC_BAD_LEN))?;
            let port = r.sub(body, "port")?;
            *reader = r;
            port
        };
        let mac = Mac(r.array()?);
        r.skip(2)?;
        let field = r.take(NAME_LEN)?;
        let name = field.split(|b| *b == 0).next().unwrap_or_default();
        let config = PortConfig::from_bits_retain(r.u32()?);
        let state = PortState::from_bits_retain(r.u32()?);
        let (ethernet, properties) = if version == Version::V13 {
            (EthernetPort::read(&mut r)?, &[][..])
        } else {
            properties(&mut r)?
        };
        Ok(Self { number, mac, name, config, state, ethernet, properties })
    }

    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let start = w.position();
        w.u32(self.number.0);
        if w.version() == Version::V13 {
            w.zeros(4);
            self.write_common(w);
            self.ethernet.write(w);
            return Ok(());
        }
        w.sized("port", start, Pad::None, |w| {
            w.zeros(2);
            self.write_common(w);
            if !has_ethernet(self.properties) {
                w.tlv("port property", 0, Pad::None, |w| {
                    w.zeros(4);
                    self.ethernet.write(w);
                    Ok(())
                })?;
            }
            w.bytes(self.properties);
            Ok(())
        })
    }
}

impl EthernetPort {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            current: r.u32()?,
            advertised: r.u32()?,
            supported: r.u32()?,
            peer: r.u32()?,
            current_speed: r.u32()?,
            max_speed: r.u32()?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        let words =
            [self.current, self.advertised, self.supported, self.peer, self.current_speed, self.max_speed];
        for word in words {
            w.u32(word);
        }
    }
}

/// Ethernet's property, and the others raw.
fn properties<'a>(r: &mut Reader<'a>) -> Result<(EthernetPort, &'a [u8]), DecodeError> {
    let mut ethernet = EthernetPort::default();
    let mut others = r.peek();
    let mut is_first = true;
    while !r.is_empty() {
        let (kind, mut body) = r.tlv("port property")?;
        if kind == 0 {
            body.skip(4)?;
            ethernet = EthernetPort::read(&mut body)?;
            // Open vSwitch puts it in front; elsewhere it stays among the others.
            others = if is_first { r.peek() } else { others };
        }
        is_first = false;
    }
    Ok((ethernet, others))
}

/// What happened to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortReason {
    /// It came.
    Add,
    /// It went.
    Delete,
    /// It changed.
    Modify,
}

/// News about a port: reason u8, pad 7, description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortStatus<'a> {
    /// What happened.
    pub reason: PortReason,
    /// The port, as it is now or was last.
    pub port: Port<'a>,
}

impl<'a> PortStatus<'a> {
    pub(crate) fn read(r: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        // Open vSwitch looks at the port before the reason.
        let mut number = *r;
        number.skip(8)?;
        number.port()?;
        let reason = match r.u8()? {
            0 => PortReason::Add,
            1 => PortReason::Delete,
            2 => PortReason::Modify,
            _ => return Err(r.refuse(ErrorCode::NXBRC_BAD_REASON)),
        };
        r.skip(7)?;
        Ok(Self { reason, port: Port::read(r, version)? })
    }

    /// Appends the message, as a switch does.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, PORT_STATUS, xid, |w| {
            w.u8(match self.reason {
                PortReason::Add => 0,
                PortReason::Delete => 1,
                PortReason::Modify => 2,
            });
            w.zeros(7);
            self.port.write(w)
        })
    }
}

/// The descriptions of one reply.
pub type PortIter<'a> = Entries<'a, Port<'a>>;

/// Changes a port.
///
/// Layout: port u32, pad 4, MAC 6, pad 2, configuration u32, mask u32; then 1.3: advertised u32, pad 4; from 1.4 on:
/// properties, of which Ethernet's (0) holds the advertised modes u32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMod<'a> {
    /// The port.
    pub number: OfPort,
    /// Its address, which says that the port is meant and not its successor.
    pub mac: Mac,
    /// The configuration.
    pub config: PortConfig,
    /// The bits of it that change.
    pub mask: PortConfig,
    /// Modes to offer to the peer, as bits; 0 leaves them as they are.
    pub advertise: u32,
    /// The other properties, raw (from 1.4 on): optical ports and experimenters.
    pub properties: &'a [u8],
}

impl<'a> PortMod<'a> {
    pub(crate) fn read(r: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let number = OfPort(r.u32()?);
        if !number.is_valid() {
            return Err(r.refuse(ErrorCode::OFPBAC_BAD_OUT_PORT));
        }
        r.skip(4)?;
        let mac = Mac(r.array()?);
        r.skip(2)?;
        let config = PortConfig::from_bits_retain(r.u32()?);
        let mask = PortConfig::from_bits_retain(r.u32()?);
        let mut advertise = 0;
        let mut properties = &[][..];
        if version == Version::V13 {
            advertise = r.u32()?;
            r.skip(4)?;
        } else {
            properties = r.peek();
            let mut is_first = true;
            while !r.is_empty() {
                let (kind, mut body) = r.tlv("port-mod property")?;
                // Open vSwitch passes over the others.
                if kind == 0 {
                    advertise = body.u32().map_err(|_| body.refuse(ErrorCode::OFPBPC_BAD_LEN))?;
                    if !body.is_empty() {
                        return Err(body.refuse(ErrorCode::OFPBPC_BAD_LEN));
                    }
                    properties = if is_first && advertise != 0 { r.peek() } else { properties };
                }
                is_first = false;
            }
        }
        Ok(Self { number, mac, config, mask, advertise, properties })
    }

    /// Appends the message.
    pub fn encode(&self, version: Version, xid: u32, buf: &mut BytesMut) -> Result<(), EncodeError> {
        write_message(buf, version, PORT_MOD, xid, |w| {
            w.u32(self.number.0);
            w.zeros(4);
            w.bytes(&self.mac.0);
            w.zeros(2);
            w.u32(self.config.bits());
            w.u32(self.mask.bits());
            if version == Version::V13 {
                w.u32(self.advertise);
                w.zeros(4);
                return Ok(());
            }
            if self.advertise != 0 && !has_ethernet(self.properties) {
                w.tlv("port-mod property", 0, Pad::None, |w| {
                    w.u32(self.advertise);
                    Ok(())
                })?;
            }
            w.bytes(self.properties);
            Ok(())
        })
    }
}

/// Bytes of a name with its final zero.
const NAME_LEN: usize = 16;
/// Bytes of a 1.3 description after number and padding.
const V13_LEN: usize = 56;
