//! IPv4: sources, fragments, DHCP, what only routers send, malformed headers.

use super::{
    Case, EXPIRED_IP4, Identity, Kind,
    Verdict::{Drop, Pass},
    build::{BROADCAST, ethernet, icmp, ipv4, ipv4_with, padded, tcp, udp, with_byte},
    drop, pass, short,
};
use crate::abi::Reason;

const MORE: u16 = 0x2000;
const DONT: u16 = 0x4000;
/// A fragment that begins at byte 1480.
const AT_1480: u16 = 0xb9;

pub(super) fn cases(me: &Identity) -> Vec<Case> {
    [sources(me), protocols(me), fragments(me), malformed(me), router(me), dhcp(me), listed(me)].concat()
}

fn frame(me: &Identity, packet: &[u8]) -> Vec<u8> {
    ethernet(me.other_mac, me.mac, 0x0800, packet)
}

fn from(me: &Identity, src: [u8; 4]) -> Vec<u8> {
    frame(me, &ipv4(src, me.other_ip4, 17, &udp(4000, 4001, &[0; 18])))
}

fn sources(me: &Identity) -> Vec<Case> {
    let [a, b, c, d] = me.ip4;
    vec![
        drop("IPv4 of the neighbour", from(me, me.other_ip4), Reason::Ipv4),
        drop("IPv4 zero", from(me, [0; 4]), Reason::Ipv4),
        drop("IPv4 loopback", from(me, [127, 0, 0, 1]), Reason::Ipv4),
        drop("IPv4 broadcast as source", from(me, [255; 4]), Reason::Ipv4),
        drop("IPv4 multicast as source", from(me, [224, 0, 0, 1]), Reason::Ipv4),
        drop("IPv4 one bit off", from(me, [a, b, c, d ^ 0x80]), Reason::Ipv4),
        drop("IPv4 first byte off", from(me, [a ^ 1, b, c, d]), Reason::Ipv4),
        drop("IPv4 own address the other way round", from(me, [d, c, b, a]), Reason::Ipv4),
    ]
}

fn protocols(me: &Identity) -> Vec<Case> {
    let own = |protocol: u8, payload: &[u8]| frame(me, &ipv4(me.ip4, me.other_ip4, protocol, payload));
    let quoted = ipv4(me.other_ip4, me.ip4, 17, &udp(1, 2, &[]));
    let unreachable = icmp(3, 3, &[&[0; 4], &quoted[..]].concat());
    vec![
        pass("TCP", own(6, &tcp(4000, 80, b"hello"))),
        pass("UDP with an empty payload", own(17, &udp(4000, 53, &[]))),
        pass("UDP padded to 60 bytes", padded(own(17, &udp(4000, 53, &[])))),
        pass("SCTP", own(132, &[0; 12])),
        pass("GRE", own(47, &[0, 0, 8, 0, 0, 0, 0, 0])),
        pass("IPv4 in IPv4", own(4, &quoted)),
        pass("ESP", own(50, &[9; 16])),
        pass("VRRP", own(112, &[0x21; 20])),
        pass(
            "IGMP report",
            ethernet([1, 0, 0x5e, 0, 0, 22], me.mac, 0x0800, &ipv4(me.ip4, [224, 0, 0, 22], 2, &[0x22; 16])),
        ),
        pass("echo request", own(1, &icmp(8, 0, &[0, 1, 0, 1]))),
        pass("echo reply", own(1, &icmp(0, 0, &[0, 1, 0, 1]))),
        pass("ICMP error quoting another's packet", own(1, &unreachable)),
        pass("ICMP router solicitation", own(1, &icmp(10, 0, &[0; 4]))),
        pass("ICMP timestamp", own(1, &icmp(13, 0, &[0; 16]))),
        pass("protocol 255", own(255, &[])),
        pass("protocol 0", own(0, &[0; 8])),
        pass("IPv6 in IPv4", own(41, &[0x60; 40])),
        pass(
            "to broadcast",
            ethernet(BROADCAST, me.mac, 0x0800, &ipv4(me.ip4, [255; 4], 17, &udp(9, 9, &[]))),
        ),
        pass(
            "with router alert",
            frame(me, &ipv4_with(me.ip4, me.other_ip4, 17, DONT, &[0x94, 4, 0, 0], &udp(1, 2, &[]))),
        ),
    ]
}

fn fragments(me: &Identity) -> Vec<Case> {
    let part = |src, protocol, field, payload: &[u8]| {
        frame(me, &ipv4_with(src, me.other_ip4, protocol, field, &[], payload))
    };
    vec![
        pass("first fragment", part(me.ip4, 1, MORE, &icmp(8, 0, &[0; 28]))),
        pass("middle fragment", part(me.ip4, 1, MORE | AT_1480, &[0; 32])),
        pass("last fragment of a ping: 35 bytes", part(me.ip4, 1, 370, &[1])),
        pass("last fragment of UDP, four bytes", part(me.ip4, 17, 2, &[0, 67, 0, 68])),
        pass("first fragment of ICMP 5: by source only", part(me.ip4, 1, MORE, &icmp(5, 0, &[0; 28]))),
        pass(
            "first fragment from UDP port 67: by source only",
            part(me.ip4, 17, MORE, &udp(67, 68, &[0; 24])),
        ),
        pass("first fragment cut inside UDP", part(me.ip4, 17, MORE, &[0, 67])),
        pass("do not fragment", part(me.ip4, 17, DONT, &udp(1, 2, &[]))),
        drop(
            "first fragment of the neighbour's",
            part(me.other_ip4, 17, MORE, &udp(1, 2, &[0; 24])),
            Reason::Ipv4,
        ),
        drop("last fragment of the neighbour's", part(me.other_ip4, 17, 370, &[1]), Reason::Ipv4),
        drop("do not fragment, but a redirect", part(me.ip4, 1, DONT, &icmp(5, 0, &[0; 28])), Reason::Router),
    ]
}

fn malformed(me: &Identity) -> Vec<Case> {
    let honest = from(me, me.ip4);
    let first = |value| with_byte(honest.clone(), 14, value);
    let ping = frame(me, &ipv4(me.ip4, me.other_ip4, 1, &icmp(8, 0, &[0; 4])));
    let segment = frame(me, &ipv4(me.ip4, me.other_ip4, 6, &tcp(1, 2, &[])));
    let ipv4_too = Drop(Reason::Ipv4);
    vec![
        drop("IPv4 header length 4", first(0x44), Reason::Ipv4),
        drop("IPv4 header length 0", first(0x40), Reason::Ipv4),
        drop("IP version 5", first(0x55), Reason::Ipv4)
            .but_openflow(Pass, "OVS does not look at the version of an IPv4 packet"),
        drop("IP version 6 under the ethertype of IPv4", first(0x65), Reason::Ipv4)
            .but_openflow(Pass, "OVS does not look at the version of an IPv4 packet"),
        short("IPv4 header length 15 beyond the frame", first(0x4f), 60, ipv4_too),
        short("IPv4 header one byte short", honest.clone(), 33, ipv4_too),
        short("IPv4 header cut after one byte", honest.clone(), 15, ipv4_too),
        short("IPv4 without a packet", honest.clone(), 14, ipv4_too),
        short("UDP header one byte short", cut_payload(me, 17, &udp(4000, 53, &[]), 7), 41, Pass),
        short("UDP header missing", cut_payload(me, 17, &[], 0), 34, Pass),
        short("ICMP header one byte short", cut_payload(me, 1, &icmp(8, 0, &[0; 4]), 7), 41, Pass),
        short("ICMP header cut after its type", cut_payload(me, 1, &icmp(5, 0, &[0; 4]), 1), 35, Pass),
        pass("ICMP header just whole", ping),
        pass("TCP header cut: it is not read", segment[..38].to_vec())
            .but_openflow(Drop(Reason::Ipv4), "OVS refuses a packet whose total length exceeds the frame"),
    ]
}

/// A packet whose length field is right and whose transport header is cut.
fn cut_payload(me: &Identity, protocol: u8, payload: &[u8], len: usize) -> Vec<u8> {
    let cut = payload.get(..len).unwrap_or(payload);
    frame(me, &ipv4(me.ip4, me.other_ip4, protocol, cut))
}

fn router(me: &Identity) -> Vec<Case> {
    let message = |src, kind| frame(me, &ipv4(src, me.other_ip4, 1, &icmp(kind, 0, &[0; 12])));
    let optioned = ipv4_with(me.ip4, me.other_ip4, 1, 0, &[1, 1, 1, 0], &icmp(5, 1, &[0; 28]));
    vec![
        drop("ICMP redirect", message(me.ip4, 5), Reason::Router),
        drop("ICMP router advertisement", message(me.ip4, 9), Reason::Router),
        drop("ICMP redirect behind options", frame(me, &optioned), Reason::Router),
        drop("ICMP redirect from the gateway's address", message(me.other_ip4, 5), Reason::Router),
    ]
}

fn dhcp(me: &Identity) -> Vec<Case> {
    let exchange = |src, dst, from, to| {
        ethernet(BROADCAST, me.mac, 0x0800, &ipv4(src, dst, 17, &udp(from, to, &[1; 24])))
    };
    let discover = exchange([0; 4], [255; 4], 68, 67);
    let optioned = ipv4_with([0; 4], [255; 4], 17, 0, &[0x94, 4, 0, 0], &udp(68, 67, &[1; 24]));
    let part = ipv4_with([0; 4], [255; 4], 17, MORE, &[], &udp(68, 67, &[1; 24]));
    let icmp_zero = ethernet(BROADCAST, me.mac, 0x0800, &ipv4([0; 4], [255; 4], 1, &icmp(8, 0, &[0; 4])));
    vec![
        drop("DHCP server", exchange(me.ip4, me.other_ip4, 67, 68), Reason::Dhcp4Server),
        drop(
            "DHCP server pretending to be the gateway",
            exchange(me.other_ip4, [255; 4], 67, 68),
            Reason::Dhcp4Server,
        ),
        drop("DHCP relay", exchange(me.ip4, me.other_ip4, 67, 67), Reason::Dhcp4Server),
        drop("UDP from port 67 to anywhere", exchange(me.ip4, me.other_ip4, 67, 9999), Reason::Dhcp4Server),
        pass("to a DHCP server from the own address", exchange(me.ip4, me.other_ip4, 68, 67)),
        drop("DHCP client where none is allowed", discover.clone(), Reason::Ipv4),
        pass("DHCP client", discover).on(Kind::Dhcp),
        pass("DHCP client with an IPv4 option", ethernet(BROADCAST, me.mac, 0x0800, &optioned))
            .on(Kind::Dhcp),
        drop("DHCP client to one host", exchange([0; 4], me.other_ip4, 68, 67), Reason::Ipv4).on(Kind::Dhcp),
        drop("DHCP client from another port", exchange([0; 4], [255; 4], 1068, 67), Reason::Ipv4)
            .on(Kind::Dhcp),
        drop("DHCP client to another port", exchange([0; 4], [255; 4], 68, 69), Reason::Ipv4).on(Kind::Dhcp),
        drop("DHCP client in fragments", ethernet(BROADCAST, me.mac, 0x0800, &part), Reason::Ipv4)
            .on(Kind::Dhcp),
        drop("DHCP client of another's address", exchange(me.other_ip4, [255; 4], 68, 67), Reason::Ipv4)
            .on(Kind::Dhcp),
        drop("ICMP from zero on a DHCP client", icmp_zero, Reason::Ipv4).on(Kind::Dhcp),
        drop("DHCP server on a DHCP client", exchange(me.ip4, [255; 4], 67, 68), Reason::Dhcp4Server)
            .on(Kind::Dhcp),
    ]
}

fn listed(me: &Identity) -> Vec<Case> {
    vec![
        pass("listed prefix: first address", from(me, [192, 0, 2, 0])).on(Kind::Listed),
        pass("listed prefix: last address", from(me, [192, 0, 2, 127])).on(Kind::Listed),
        pass("own address beside a listed prefix", from(me, me.ip4)).on(Kind::Listed),
        drop("just above the listed prefix", from(me, [192, 0, 2, 128]), Reason::Ipv4).on(Kind::Listed),
        drop("just below the listed prefix", from(me, [192, 0, 1, 255]), Reason::Ipv4).on(Kind::Listed),
        drop("an exception that has run out", from(me, EXPIRED_IP4), Reason::Ipv4).on(Kind::Listed),
        drop("a prefix that is listed for others", from(me, [192, 0, 2, 1]), Reason::Ipv4),
    ]
}
