//! Frames that a story sends by hand, beyond ARP.

use std::net::Ipv6Addr;

use crate::traffic::checksum;
use crate::wire::Mac;

/// The hop limit that every neighbour discovery message must have (RFC 4861).
const HOP_LIMIT: u8 = 255;

/// Next header: ICMPv6.
const ICMP6: u8 = 58;

/// ff02::1, every host on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// "`address` is here": what a host sends that takes an address (RFC 4861 section 7.2.6), override flag set.
pub fn unsolicited_advertisement(sender: Mac, address: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(address.octets());
    message.extend([2, 1]);
    message.extend(sender.0);
    icmp6(sender, address, ALL_NODES, message)
}

/// An ICMPv6 message to a multicast group, its checksum filled in.
fn icmp6(sender: Mac, from: Ipv6Addr, group: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut summed = [&from.octets()[..], &group.octets(), &[0, 0], &length, &[0, 0, 0, ICMP6]].concat();
    summed.extend(&message);
    message[2..4].copy_from_slice(&checksum(&summed).to_be_bytes());

    let [.., w, x, y, z] = group.octets();
    let mut frame = vec![0x33, 0x33, w, x, y, z];
    frame.extend(sender.0);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(length);
    frame.extend([ICMP6, HOP_LIMIT]);
    frame.extend(from.octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}
