//! The frames that the agent sends in a pod's name, byte for byte.
//!
//! All are untagged Ethernet without padding or FCS: they go out as packet-out with `actions=NORMAL`, and the bridge
//! adds the tag of the pod's VLAN. What is sent must pass the guard of another node, so every field is what an honest
//! host would send (RFC 826, RFC 5227, RFC 4861, RFC 4862).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Mac;

/// Asks whether anybody uses `address`, without claiming it: an ARP probe or duplicate address detection.
pub fn probe(mac: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(mac, Ipv4Addr::UNSPECIFIED, address),
        IpAddr::V6(address) => {
            let group = solicited_node(address);
            let body = neighbour_message(NEIGHBOUR_SOLICITATION, 0, address, None);
            icmpv6(mac, multicast_mac(group), Ipv6Addr::UNSPECIFIED, group, body)
        }
    }
}

/// Asks for the MAC of `target` from the pod's own address. `None` if the two are of different families.
///
/// Always multicast, never to the MAC known so far: two stations that both hold the address both answer.
pub fn question(mac: Mac, own: IpAddr, target: IpAddr) -> Option<Vec<u8>> {
    match (own, target) {
        (IpAddr::V4(own), IpAddr::V4(target)) => Some(arp(mac, own, target)),
        (IpAddr::V6(own), IpAddr::V6(target)) => {
            let group = solicited_node(target);
            let body =
                neighbour_message(NEIGHBOUR_SOLICITATION, 0, target, Some((SOURCE_LINK_LAYER_ADDRESS, mac)));
            Some(icmpv6(mac, multicast_mac(group), own, group, body))
        }
        _ => None,
    }
}

/// Tells everybody that `address` is at `mac`: an ARP announcement, an unsolicited neighbour advertisement.
pub fn announcement(mac: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(mac, address, address),
        IpAddr::V6(address) => {
            let option = Some((TARGET_LINK_LAYER_ADDRESS, mac));
            let body = neighbour_message(NEIGHBOUR_ADVERTISEMENT, FLAG_OVERRIDE, address, option);
            icmpv6(mac, multicast_mac(ALL_NODES), address, ALL_NODES, body)
        }
    }
}

/// A frame from the pod to itself, which refreshes the bridge's table and goes nowhere (design §6).
pub fn self_frame(mac: Mac) -> Vec<u8> {
    let mut frame = ethernet(mac, mac, LOCAL_EXPERIMENTAL);
    frame.resize(SELF_FRAME_LEN, 0);
    frame
}

/// The solicited-node multicast address of `target` (RFC 4291, section 2.7.1).
pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// A broadcast ARP request. The target's hardware address is zero: RFC 5227 asks for it in probes and announcements.
fn arp(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, ETHERTYPE_ARP);
    // htype 1 (Ethernet), ptype IPv4, lengths 6 and 4, operation 1 (request).
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac.0);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// A neighbour solicitation or advertisement up to its only option, the checksum still zero (RFC 4861, 4.3 and 4.4).
fn neighbour_message(kind: u8, flags: u8, target: Ipv6Addr, option: Option<(u8, Mac)>) -> Vec<u8> {
    let mut body = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    body.extend(target.octets());
    if let Some((kind, mac)) = option {
        // Length in units of 8 bytes.
        body.extend([kind, 1]);
        body.extend(mac.0);
    }
    body
}

fn icmpv6(mac: Mac, to: Mac, source: Ipv6Addr, destination: Ipv6Addr, mut body: Vec<u8>) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("a neighbour message is 24 or 32 bytes");
    let [high, low] = checksum(source, destination, len, &body);
    body[CHECKSUM_AT] = high;
    body[CHECKSUM_AT + 1] = low;
    let mut frame = ethernet(to, mac, ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(len.to_be_bytes());
    frame.extend([ICMPV6, ND_HOP_LIMIT]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(body);
    frame
}

/// The Internet checksum over pseudo header and message (RFC 8200, section 8.1). `body` has an even length.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, len: u16, body: &[u8]) -> [u8; 2] {
    let pseudo = [&source.octets()[..], &destination.octets(), &len.to_be_bytes(), &[0, ICMPV6]].concat();
    let words = pseudo.chunks_exact(2).chain(body.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    [high, low]
}

fn ethernet(to: Mac, from: Mac, ethertype: u16) -> Vec<u8> {
    [&to.0[..], &from.0, &ethertype.to_be_bytes()].concat()
}

/// The Ethernet group of an IPv6 multicast address (RFC 2464, section 7).
fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

const BROADCAST: Mac = Mac([0xff; 6]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IEEE Std 802 local experimental ethertype 1.
const LOCAL_EXPERIMENTAL: u16 = 0x88b5;
const ICMPV6: u8 = 58;
/// RFC 4861, section 11.2: whoever receives less has a message from beyond a router.
const ND_HOP_LIMIT: u8 = 255;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Override a cached address; neither a router (R) nor an answer (S).
const FLAG_OVERRIDE: u8 = 0x20;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
/// Offset of the checksum in an ICMPv6 message.
const CHECKSUM_AT: usize = 2;
/// The least that Ethernet carries, without FCS.
const SELF_FRAME_LEN: usize = 60;

#[cfg(test)]
mod tests;
