//! What the first bytes of a frame say, in one line: who claims or sends what. Bytes that are missing or make no sense are
//! shown as far as they go; nothing here can fail.

use std::net::{Ipv4Addr, Ipv6Addr};

/// `02:…:01 claims 10.0.0.9 by ARP, asks for 10.0.0.1`, `02:…:01 sends 10.0.0.9 > 10.0.0.1 UDP`, or what there is in hex.
pub(crate) fn describe(head: &[u8]) -> String {
    let (Some(to), Some(from)) = (head.get(..6), head.get(6..12)) else { return hex(head, "") };
    let (from, to) = (hex(from, ":"), hex(to, ":"));
    let Some((ethertype, payload)) = payload(head) else { return format!("{from} > {to}") };
    let said = match ethertype {
        ARP => arp(payload),
        IPV4 => ipv4(payload),
        IPV6 => ipv6(payload),
        _ => None,
    };
    match said {
        Some(said) => format!("{from} {said}"),
        None => format!("{from} > {to} 0x{ethertype:04x}"),
    }
}

pub(crate) fn hex(bytes: &[u8], separator: &str) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(separator)
}

/// The ethertype behind the addresses and at most two tags, and what follows it.
fn payload(head: &[u8]) -> Option<(u16, &[u8])> {
    let mut rest = head.get(12..)?;
    for _ in 0..=MOST_TAGS {
        let ethertype = u16::from_be_bytes(*rest.first_chunk()?);
        if ethertype != VLAN && ethertype != SERVICE_VLAN {
            return Some((ethertype, rest.get(2..)?));
        }
        rest = rest.get(4..)?;
    }
    None
}

/// RFC 826, for IPv4 over Ethernet.
fn arp(message: &[u8]) -> Option<String> {
    let operation = u16::from_be_bytes(*message.get(6..)?.first_chunk()?);
    let mac = hex(message.get(8..14)?, ":");
    let (sender, target) = (v4(message, 14)?, v4(message, 24)?);
    let more = match operation {
        1 if sender == target => ", announces it".to_owned(),
        1 => format!(", asks for {target}"),
        2 => format!(", tells {target}"),
        other => format!(", operation {other}"),
    };
    Some(format!("claims {sender} for {mac} by ARP{more}"))
}

/// RFC 791.
fn ipv4(packet: &[u8]) -> Option<String> {
    let (source, destination) = (v4(packet, 12)?, v4(packet, 16)?);
    let header = usize::from(packet.first()? & 0xf) * 4;
    let what = transport(*packet.get(9)?, packet.get(header..).unwrap_or_default());
    Some(format!("sends {source} > {destination} {what}"))
}

/// RFC 8200, without extension headers; neighbour discovery is RFC 4861.
fn ipv6(packet: &[u8]) -> Option<String> {
    let (source, destination) = (v6(packet, 8)?, v6(packet, 24)?);
    let (next, payload) = (*packet.get(6)?, packet.get(40..).unwrap_or_default());
    let neighbour = match (next, payload.first()) {
        (ICMPV6, Some(133)) => Some("router solicitation"),
        (ICMPV6, Some(134)) => Some("router advertisement"),
        (ICMPV6, Some(135)) => Some("neighbour solicitation"),
        (ICMPV6, Some(136)) => Some("neighbour advertisement"),
        (ICMPV6, Some(137)) => Some("redirect"),
        _ => None,
    };
    let what = match (neighbour, v6(payload, 8)) {
        (Some(name), Some(target)) => format!("{name} for {target}"),
        (Some(name), None) => name.to_owned(),
        (None, _) => transport(next, payload),
    };
    Some(format!("sends {source} > {destination} {what}"))
}

/// The protocol by name, with its ports where it has any and they are there.
fn transport(protocol: u8, payload: &[u8]) -> String {
    let name = match protocol {
        1 => "ICMP",
        6 => "TCP",
        17 => "UDP",
        ICMPV6 => "ICMPv6",
        132 => "SCTP",
        other => return format!("protocol {other}"),
    };
    match payload.first_chunk() {
        Some([a, b, c, d]) if matches!(protocol, 6 | 17 | 132) => {
            format!("{name} {} > {}", u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
        }
        _ => name.to_owned(),
    }
}

fn v4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?))
}

fn v6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?))
}

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const ICMPV6: u8 = 58;

/// A frame with more tags than this is somebody's joke.
const MOST_TAGS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: [u8; 12] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1];

    fn check(after_the_addresses: &[&[u8]], expected: &str) {
        let frame = [&ADDRESSES[..], &after_the_addresses.concat()].concat();
        assert_eq!(describe(&frame), expected);
    }

    #[test]
    fn arp_is_told_by_what_it_claims() {
        let arp = |operation: u8, target: u8| {
            [
                &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 9, 10, 0, 0, 9][..],
                &[0; 6],
                &[10, 0, 0, target],
            ]
            .concat()
        };
        let who = "02:00:00:00:00:01 claims 10.0.0.9 for 02:00:00:00:00:09 by ARP";
        check(&[&arp(1, 1)], &format!("{who}, asks for 10.0.0.1"));
        check(&[&arp(1, 9)], &format!("{who}, announces it"));
        check(&[&[0x81, 0, 0, 7], &arp(2, 1)], &format!("{who}, tells 10.0.0.1"));
    }

    #[test]
    fn packets_are_told_by_their_addresses() {
        let v4 = [8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1, 0, 67, 0, 68];
        check(&[&v4], "02:00:00:00:00:01 sends 10.0.0.9 > 10.0.0.1 UDP 67 > 68");
        let source = "2001:db8::9".parse::<Ipv6Addr>().unwrap().octets();
        let to = "ff02::1".parse::<Ipv6Addr>().unwrap().octets();
        let v6 = [&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255][..], &source, &to, &[136, 0]].concat();
        check(&[&v6], "02:00:00:00:00:01 sends 2001:db8::9 > ff02::1 neighbour advertisement");
        check(
            &[&v6, &[0; 6], &source],
            "02:00:00:00:00:01 sends 2001:db8::9 > ff02::1 neighbour advertisement for 2001:db8::9",
        );
    }

    #[test]
    fn every_beginning_of_a_frame_is_shown_as_far_as_it_goes() {
        check(&[&[0x88, 0xcc]], "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff 0x88cc");
        check(&[&[8, 6, 0, 1]], "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff 0x0806");
        check(&[], "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff");
        assert_eq!(describe(&[1, 2, 3]), "010203");
        for ethertype in [ARP, IPV4, IPV6, VLAN] {
            let frame = [&ADDRESSES[..], &ethertype.to_be_bytes(), &[0xff; 80]].concat();
            (0..frame.len()).for_each(|end| drop(describe(&frame[..end])));
        }
    }
}
