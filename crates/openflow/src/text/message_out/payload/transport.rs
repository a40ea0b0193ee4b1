//! What stands behind the headers of IP: ports, types, flags, neighbour discovery, and the checksum.

use super::{Fragment, ICMP, ICMPV6, IGMP, Payload, SCTP, TCP, UDP};
use crate::cursor::Reader;
use crate::types::Mac;

impl Payload {
    pub(super) fn transport(&mut self, body: Reader<'_>) -> Option<()> {
        self.checksum = checksum(self.proto, body.peek());
        if self.fragment == Fragment::Later {
            return None;
        }
        let mut r = body;
        match self.proto {
            TCP => self.tcp(r),
            UDP if r.len() >= 8 => self.read_ports(&mut r),
            SCTP if r.len() >= 12 => self.read_ports(&mut r),
            ICMP | IGMP if r.len() >= 8 => self.read_kind(&mut r),
            ICMPV6 if r.len() >= 8 => {
                self.read_kind(&mut r)?;
                self.neighbour(r)
            }
            _ => None,
        }
    }

    fn tcp(&mut self, mut r: Reader<'_>) -> Option<()> {
        let [.., offset_flags_high, offset_flags_low] = *r.peek().first_chunk::<14>()?;
        let offset_flags = u16::from_be_bytes([offset_flags_high, offset_flags_low]);
        let head = usize::from(offset_flags >> 12).saturating_mul(4);
        if head < 20 || r.len() < head {
            return None;
        }
        self.tcp_flags = offset_flags & 0xfff;
        self.read_ports(&mut r)
    }

    fn read_ports(&mut self, r: &mut Reader<'_>) -> Option<()> {
        self.ports = [r.u16().ok()?, r.u16().ok()?];
        Some(())
    }

    /// Type and code.
    fn read_kind(&mut self, r: &mut Reader<'_>) -> Option<()> {
        let [kind, code] = r.array().ok()?;
        self.ports = [u16::from(kind), u16::from(code)];
        Some(())
    }

    /// Whether it is a neighbour solicitation or advertisement.
    pub(super) fn is_neighbour(&self) -> bool {
        self.proto == ICMPV6 && matches!(self.ports, [135 | 136, 0])
    }

    /// The target and the link-layer addresses of neighbour discovery, behind type and code.
    fn neighbour(&mut self, mut r: Reader<'_>) -> Option<()> {
        if !self.is_neighbour() {
            return None;
        }
        r.skip(6).ok()?;
        self.nd_target = u128::from_be_bytes(r.array().ok()?);
        while let Some([kind, len, mac @ ..]) = r.peek().first_chunk::<8>() {
            let size = usize::from(*len).saturating_mul(8);
            if size == 0 || size > r.len() {
                return None;
            }
            let place = match kind {
                1 if *len == 1 => Some(&mut self.sender_mac),
                2 if *len == 1 => Some(&mut self.target_mac),
                _ => None,
            };
            match place {
                Some(place) if *place == Mac::ZERO => *place = Mac(*mac),
                // One option twice: nothing of it counts.
                Some(_) => {
                    (self.nd_target, self.sender_mac, self.target_mac) = (0, Mac::ZERO, Mac::ZERO);
                    return None;
                }
                None => {}
            }
            r.skip(size).ok()?;
        }
        Some(())
    }
}

/// The checksum of a transport protocol and its word, if there is room for the whole header.
fn checksum(proto: u8, body: &[u8]) -> Option<(&'static str, u32)> {
    let (word, len, at) = match proto {
        TCP => ("tcp_csum", 20, 16),
        UDP => ("udp_csum", 8, 6),
        SCTP => ("sctp_csum", 12, 8),
        ICMP => ("icmp_csum", 8, 2),
        ICMPV6 => ("icmp6_csum", 4, 2),
        _ => return None,
    };
    if body.len() < len {
        return None;
    }
    let rest = body.get(at..)?;
    let value = if proto == SCTP {
        u32::from_be_bytes(*rest.first_chunk()?)
    } else {
        u32::from(u16::from_be_bytes(*rest.first_chunk()?))
    };
    Some((word, value))
}
