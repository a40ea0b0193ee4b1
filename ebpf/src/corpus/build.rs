//! Frames from parts: each function wraps a payload in one header, with lengths and checksums that a
//! receiver takes. What is to be wrong is patched in afterwards.

/// Broadcast.
pub const BROADCAST: [u8; 6] = [0xff; 6];
/// All nodes on the link, ff02::1.
pub const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The MAC of [`ALL_NODES`].
pub const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// The unspecified IPv6 address.
pub const UNSPECIFIED6: [u8; 16] = [0; 16];

/// An Ethernet frame, not padded.
pub fn ethernet(dst: [u8; 6], src: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&dst[..], &src, &ethertype.to_be_bytes(), payload].concat()
}

/// The frame padded with zeroes to the 60 bytes that a NIC sends at least.
pub fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60), 0);
    frame
}

/// The frame with one byte changed.
pub fn with_byte(mut frame: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    if let Some(byte) = frame.get_mut(at) {
        *byte = value;
    }
    frame
}

/// An ARP packet for IPv4 over Ethernet.
pub fn arp(op: u16, sha: [u8; 6], spa: [u8; 4], tha: [u8; 6], tpa: [u8; 4]) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4], &op.to_be_bytes()[..], &sha, &spa, &tha, &tpa].concat()
}

/// An IPv4 packet without options.
pub fn ipv4(src: [u8; 4], dst: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with(src, dst, protocol, 0, &[], payload)
}

/// An IPv4 packet with the 16 bits of flags and fragment offset, and options (a multiple of four bytes).
pub fn ipv4_with(
    src: [u8; 4],
    dst: [u8; 4],
    protocol: u8,
    fragment: u16,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let header_len = 20 + options.len();
    let first = 0x40 | u8::try_from(header_len / 4).unwrap_or(0x0f);
    let mut header = vec![first, 0];
    header.extend(length(header_len + payload.len()).to_be_bytes());
    header.extend([0x12, 0x34]);
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(src);
    header.extend(dst);
    header.extend(options);
    let sum = checksum(&header);
    header.splice(10..12, sum.to_be_bytes());
    [header, payload.to_vec()].concat()
}

/// An IPv6 packet.
pub fn ipv6(src: [u8; 16], dst: [u8; 16], next: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length(payload.len()).to_be_bytes());
    packet.extend([next, hop_limit]);
    packet.extend(src);
    packet.extend(dst);
    packet.extend(payload);
    packet
}

/// An extension header with padding options: `units` of eight bytes in all, at least one.
pub fn extension(next: u8, units: u8, payload: &[u8]) -> Vec<u8> {
    let body = usize::from(units.max(1)) * 8 - 4;
    // PadN as long as the header: type 1, length.
    let mut header = vec![next, units.max(1) - 1, 1, u8::try_from(body).unwrap_or(0xff)];
    header.resize(header.len() + body, 0);
    header.extend(payload);
    header
}

/// A fragment header: `field` is offset, two reserved bits and the flag "more".
pub fn fragment6(next: u8, field: u16, payload: &[u8]) -> Vec<u8> {
    [&[next, 0], &field.to_be_bytes()[..], &[0, 0, 0, 1], payload].concat()
}

/// An authentication header of 16 bytes.
pub fn authentication(next: u8, payload: &[u8]) -> Vec<u8> {
    [&[next, 2, 0, 0], &[0; 12][..], payload].concat()
}

/// UDP without a checksum.
pub fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let len = length(8 + payload.len());
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload].concat()
}

/// A TCP segment without options.
pub fn tcp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let fixed = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0];
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &fixed, payload].concat()
}

/// ICMP with its checksum.
pub fn icmp(kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], rest].concat();
    let sum = checksum(&message);
    message.splice(2..4, sum.to_be_bytes());
    message
}

/// An ICMPv6 message in an IPv6 packet, with its checksum.
pub fn icmp6(src: [u8; 16], dst: [u8; 16], hop_limit: u8, message: &[u8]) -> Vec<u8> {
    ipv6(src, dst, 58, hop_limit, &icmp6_summed(src, dst, message))
}

/// An ICMPv6 message with its checksum, without the IPv6 header.
pub fn icmp6_summed(src: [u8; 16], dst: [u8; 16], message: &[u8]) -> Vec<u8> {
    let pseudo =
        [&src[..], &dst, &[0, 0], &length(message.len()).to_be_bytes(), &[0, 0, 0, 58], message].concat();
    let mut summed = message.to_vec();
    if summed.len() >= 4 {
        summed.splice(2..4, checksum(&pseudo).to_be_bytes());
    }
    summed
}

/// A neighbour solicitation (135) or advertisement (136), checksum still zero.
pub fn neighbour(kind: u8, code: u8, target: [u8; 16], options: &[u8]) -> Vec<u8> {
    let flags = if kind == 136 { 0x60 } else { 0 };
    [&[kind, code, 0, 0, flags, 0, 0, 0], &target[..], options].concat()
}

/// An option with a MAC: 1 source, 2 target.
pub fn link_layer(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1], &mac[..]].concat()
}

/// The solicited-node multicast address of an address, and its MAC.
pub fn solicited(addr: [u8; 16]) -> ([u8; 16], [u8; 6]) {
    let [.., a, b, c] = addr;
    ([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c], [0x33, 0x33, 0xff, a, b, c])
}

fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{checksum, icmp6_summed, ipv4};

    #[test]
    fn headers_sum_to_zero() {
        let packet = ipv4([10, 0, 0, 1], [10, 0, 0, 2], 17, &[]);
        assert_eq!(checksum(&packet), 0);
    }

    #[test]
    fn a_message_of_icmp6_sums_to_zero_with_its_pseudo_header() {
        let src = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let dst = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        let message = icmp6_summed(src, dst, &[128, 0, 0, 0, 0, 1, 0, 1]);
        let pseudo = [&src[..], &dst, &[0, 0, 0, 8, 0, 0, 0, 58], &message].concat();
        assert_eq!(checksum(&pseudo), 0);
    }
}
