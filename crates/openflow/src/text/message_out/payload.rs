//! What Open vSwitch finds in a packet: the fields of its headers, as far as they are there and sound.
//!
//! Owns taking packets apart for the line that `ovs-ofctl` prints below a packet-in or packet-out; the line itself is
//! written in `payload/line.rs`. Must not judge: what is cut off or broken stays zero, as it does in Open vSwitch.

use std::fmt;

use super::packet::PACKET_TYPE_ETHERNET;
use crate::cursor::Reader;
use crate::text::out::Out;
use crate::types::Mac;

mod line;
mod transport;

/// Prints the headers of a packet of this type (`namespace << 16 | type`) as one line.
pub(super) fn write(out: &mut Out<'_>, packet: &[u8], packet_type: u32) -> fmt::Result {
    line::write(out, &Payload::of(packet, packet_type))
}

/// The fields of a packet's headers; zero where there is nothing.
#[derive(Debug, Default)]
struct Payload {
    packet_type: u32,
    eth_src: Mac,
    eth_dst: Mac,
    /// The tags, outer first; a tag that is there has bit 12 set.
    vlan_tci: [u16; 2],
    eth_type: u16,
    /// Labels of MPLS, outer first.
    labels: [u32; 3],
    nsh: Nsh,
    /// The addresses of IP or ARP.
    src: u128,
    dst: u128,
    flow_label: u32,
    /// The protocol of IP or the operation of ARP.
    proto: u8,
    tos: u8,
    ttl: u8,
    fragment: Fragment,
    /// The hardware addresses of ARP, or the options of neighbour discovery.
    sender_mac: Mac,
    target_mac: Mac,
    /// Ports, or type and code.
    ports: [u16; 2],
    tcp_flags: u16,
    /// What neighbour discovery asks for.
    nd_target: u128,
    checksum: Option<(&'static str, u32)>,
}

/// The network service header.
#[derive(Debug, Default)]
struct Nsh {
    flags: u8,
    ttl: u8,
    mdtype: u8,
    next: u8,
    path: u32,
    index: u8,
    context: [u32; 4],
}

/// Which part of an IP packet it is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Fragment {
    #[default]
    No,
    First,
    Later,
}

impl Payload {
    /// Takes a packet apart as far as it can be.
    fn of(packet: &[u8], packet_type: u32) -> Self {
        let mut found = Self { packet_type, ..Self::default() };
        let mut r = Reader::new(packet, "packet");
        // A header that is not sound ends the walk, and what was found before it stays.
        let _ended = found.read(&mut r);
        found
    }

    fn read(&mut self, r: &mut Reader<'_>) -> Option<()> {
        match (self.packet_type >> 16, u16::try_from(self.packet_type & 0xffff)) {
            _ if self.packet_type == PACKET_TYPE_ETHERNET => self.ethernet(r)?,
            (NAMESPACE_ETHERTYPE, Ok(eth_type)) => self.eth_type = eth_type,
            _ => return None,
        }
        match self.eth_type {
            IPV4 => self.ipv4(r),
            IPV6 => self.ipv6(r),
            ARP | RARP => self.arp(r),
            MPLS | MPLS_MULTICAST => self.mpls(r),
            NSH => self.network_service(r),
            _ => None,
        }
    }

    fn ethernet(&mut self, r: &mut Reader<'_>) -> Option<()> {
        if r.len() < 14 {
            return None;
        }
        self.eth_dst = Mac(r.array().ok()?);
        self.eth_src = Mac(r.array().ok()?);
        for tci in &mut self.vlan_tci {
            // A tag counts where the type behind it is there, too.
            let Some([0x81, 0x00, high, low, _, _] | [0x88, 0xa8, high, low, _, _]) = r.peek().first_chunk()
            else {
                break;
            };
            *tci = u16::from_be_bytes([*high, *low]) | TAG_PRESENT;
            r.skip(4).ok()?;
        }
        self.eth_type = ether_type(r);
        Some(())
    }

    fn mpls(&mut self, r: &mut Reader<'_>) -> Option<()> {
        for label in &mut self.labels {
            *label = r.u32().ok()?;
            if *label & BOTTOM_OF_STACK != 0 {
                break;
            }
        }
        Some(())
    }

    fn network_service(&mut self, r: &mut Reader<'_>) -> Option<()> {
        let size = r.len();
        let head = r.u16().ok()?;
        let [mdtype, next] = r.array().ok()?;
        let [a, b, c, index] = r.array().ok()?;
        let len = usize::from(head & 0x3f).saturating_mul(4);
        let mut context = [0; 4];
        match mdtype {
            _ if head >> 14 != 0 || len > size => return None,
            1 if len != 24 => return None,
            2 if len < 8 => return None,
            1 => {
                for word in &mut context {
                    *word = r.u32().ok()?;
                }
            }
            _ => {}
        }
        self.nsh = Nsh {
            flags: u8::try_from((head >> 12) & 3).ok()?,
            ttl: u8::try_from((head >> 6) & 0x3f).ok()?,
            mdtype,
            next,
            path: u32::from_be_bytes([0, a, b, c]),
            index,
            context,
        };
        Some(())
    }

    fn arp(&mut self, r: &mut Reader<'_>) -> Option<()> {
        if r.len() < 28 {
            return None;
        }
        // Ethernet and IPv4 only, with addresses of 6 and 4 bytes.
        if r.array().ok()? != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        // Operations beyond a byte count as none.
        self.proto = u8::try_from(r.u16().ok()?).unwrap_or(0);
        self.sender_mac = Mac(r.array().ok()?);
        self.src = u128::from(r.u32().ok()?);
        self.target_mac = Mac(r.array().ok()?);
        self.dst = u128::from(r.u32().ok()?);
        Some(())
    }

    fn ipv4(&mut self, r: &mut Reader<'_>) -> Option<()> {
        let size = r.len();
        let [version_len, tos] = r.array().ok()?;
        let total = usize::from(r.u16().ok()?);
        r.skip(2).ok()?;
        let offset = r.u16().ok()?;
        let [ttl, proto] = r.array().ok()?;
        r.skip(2).ok()?;
        let (src, dst) = (r.u32().ok()?, r.u32().ok()?);
        let head = usize::from(version_len & 0xf).saturating_mul(4);
        if head < 20 || head > total || total > size {
            return None;
        }
        (self.src, self.dst) = (u128::from(src), u128::from(dst));
        (self.tos, self.ttl, self.proto) = (tos, ttl, proto);
        self.fragment = match offset & 0x3fff {
            0 => Fragment::No,
            0x2000 => Fragment::First,
            _ => Fragment::Later,
        };
        r.skip(head.checked_sub(20)?).ok()?;
        let body = r.sub(total.checked_sub(head)?, "packet").ok()?;
        self.transport(body)
    }

    fn ipv6(&mut self, r: &mut Reader<'_>) -> Option<()> {
        let version_flow = r.u32().ok()?;
        let len = usize::from(r.u16().ok()?);
        let [mut proto, ttl] = r.array().ok()?;
        let (src, dst) = (r.array().ok()?, r.array().ok()?);
        let mut body = r.sub(len, "packet").ok()?;
        (self.src, self.dst) = (u128::from_be_bytes(src), u128::from_be_bytes(dst));
        let fragment = extension_headers(&mut body, &mut proto)?;
        (self.ttl, self.proto, self.fragment) = (ttl, proto, fragment);
        self.tos = u8::try_from((version_flow >> 20) & 0xff).ok()?;
        self.flow_label = version_flow & 0xf_ffff;
        self.transport(body)
    }
}

/// The type behind the addresses and tags, or the one inside of a SNAP header.
fn ether_type(r: &mut Reader<'_>) -> u16 {
    let Ok(kind) = r.u16() else { return NO_TYPE };
    if kind >= FIRST_TYPE {
        return kind;
    }
    let Some([0xaa, 0xaa, 3, 0, 0, 0, high, low]) = r.peek().first_chunk() else { return NO_TYPE };
    let inner = u16::from_be_bytes([*high, *low]);
    if inner < FIRST_TYPE || r.skip(8).is_err() { NO_TYPE } else { inner }
}

/// Passes over IPv6's headers up to the transport's or a later fragment, whose number is left in `proto`.
fn extension_headers(r: &mut Reader<'_>, proto: &mut u8) -> Option<Fragment> {
    let mut fragment = Fragment::No;
    while matches!(*proto, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
        let [next, len, high, low, ..] = *r.peek().first_chunk::<8>()?;
        let len = usize::from(len);
        let size = match *proto {
            FRAGMENT => {
                let offset = u16::from_be_bytes([high, low]);
                if offset & 0xfff8 != 0 {
                    return Some(Fragment::Later);
                }
                if offset != 0 {
                    fragment = Fragment::First;
                }
                8
            }
            AUTHENTICATION => len.saturating_add(2).saturating_mul(4),
            _ => len.saturating_add(1).saturating_mul(8),
        };
        r.skip(size).ok()?;
        *proto = next;
    }
    Some(fragment)
}

/// The namespace of packet types that are Ethernet types.
const NAMESPACE_ETHERTYPE: u32 = 1;
/// The bit by which Open vSwitch says that there is a tag.
const TAG_PRESENT: u16 = 0x1000;
/// The bit of the last label.
const BOTTOM_OF_STACK: u32 = 0x100;
/// Numbers below are lengths.
const FIRST_TYPE: u16 = 0x600;
/// What Open vSwitch calls the type of a packet that has none.
const NO_TYPE: u16 = 0x5ff;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const IPV6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const NSH: u16 = 0x894f;

const HOP_BY_HOP: u8 = 0;
const ICMP: u8 = 1;
const IGMP: u8 = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const ICMPV6: u8 = 58;
const DESTINATION: u8 = 60;
const SCTP: u8 = 132;
