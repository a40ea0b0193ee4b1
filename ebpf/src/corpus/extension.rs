//! IPv6 extension headers and fragments.

use super::{
    Case, Identity,
    Verdict::{Drop, Pass},
    build::{
        ALL_NODES, ALL_NODES_MAC, UNSPECIFIED6, authentication, ethernet, extension, fragment6, icmp6_summed,
        ipv6, neighbour, solicited, udp,
    },
    drop, pass, short,
};
use crate::abi::Reason;

const HOP_BY_HOP: u8 = 0;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const ICMP6: u8 = 58;
const DESTINATION: u8 = 60;
const MORE: u16 = 1;

pub(super) fn cases(me: &Identity) -> Vec<Case> {
    [chains(me), offsets(me), cut(me), fragments(me)].concat()
}

fn frame(me: &Identity, src: [u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(me.other_mac, me.mac, 0x86dd, &ipv6(src, me.other_ip6, next, 255, payload))
}

/// `count` destination options headers of eight bytes before the payload.
fn chain(count: usize, next: u8, payload: &[u8]) -> (u8, Vec<u8>) {
    (0..count)
        .fold((next, payload.to_vec()), |(next, payload), _| (DESTINATION, extension(next, 1, &payload)))
}

fn advertisement(me: &Identity) -> Vec<u8> {
    icmp6_summed(me.ip6, me.other_ip6, &[&[134, 0, 0, 0][..], &[0; 12]].concat())
}

fn echo(me: &Identity) -> Vec<u8> {
    icmp6_summed(me.ip6, me.other_ip6, &[128, 0, 0, 0, 0, 1, 0, 1])
}

fn chains(me: &Identity) -> Vec<Case> {
    let datagram = udp(4000, 4001, &[0; 8]);
    let chained = |src, count, next, payload: &[u8]| {
        let (next, payload) = chain(count, next, payload);
        frame(me, src, next, &payload)
    };
    let own = |count| chained(me.ip6, count, UDP, &datagram);
    let routed = extension(UDP, 1, &datagram);
    let secured = authentication(UDP, &datagram);
    let no_limit = "OVS walks extension headers without a limit";
    vec![
        pass("1 extension header", own(1)),
        pass("2 extension headers", own(2)),
        pass("3 extension headers", own(3)),
        pass("4 extension headers", own(4)),
        pass("5 extension headers", own(5)),
        pass("6 extension headers", own(6)),
        drop("7 extension headers", own(7), Reason::Ext).but_openflow(Pass, no_limit),
        drop("12 extension headers", own(12), Reason::Ext).but_openflow(Pass, no_limit),
        drop(
            "7 extension headers, foreign source first",
            chained(me.other_ip6, 7, UDP, &datagram),
            Reason::Ipv6,
        ),
        drop(
            "router advertisement behind 1 header",
            chained(me.ip6, 1, ICMP6, &advertisement(me)),
            Reason::Router,
        ),
        drop(
            "router advertisement behind 6 headers",
            chained(me.ip6, 6, ICMP6, &advertisement(me)),
            Reason::Router,
        ),
        drop(
            "router advertisement behind 7 headers",
            chained(me.ip6, 7, ICMP6, &advertisement(me)),
            Reason::Ext,
        )
        .but_openflow(Drop(Reason::Router), no_limit),
        drop(
            "DHCPv6 server behind 3 headers",
            chained(me.ip6, 3, UDP, &udp(547, 546, &[])),
            Reason::Dhcp6Server,
        ),
        drop("foreign source behind a header", chained(me.other_ip6, 1, UDP, &datagram), Reason::Ipv6),
        pass("hop-by-hop header", frame(me, me.ip6, HOP_BY_HOP, &extension(UDP, 1, &datagram))),
        pass("routing header", frame(me, me.ip6, ROUTING, &routed)),
        pass("authentication header", frame(me, me.ip6, AUTHENTICATION, &secured)),
        drop(
            "router advertisement behind an authentication header",
            frame(me, me.ip6, AUTHENTICATION, &authentication(ICMP6, &advertisement(me))),
            Reason::Router,
        ),
        drop(
            "router advertisement behind hop-by-hop and routing headers",
            frame(me, me.ip6, HOP_BY_HOP, &extension(ROUTING, 2, &extension(ICMP6, 1, &advertisement(me)))),
            Reason::Router,
        ),
        pass("extension header and nothing behind", frame(me, me.ip6, DESTINATION, &extension(59, 1, &[]))),
    ]
}

fn offsets(me: &Identity) -> Vec<Case> {
    let datagram = udp(4000, 4001, &[0; 8]);
    // The first byte behind Ethernet and IPv6 is 54: 57 units end at 510, 58 at 518.
    let behind = |first, second, payload: &[u8], next| {
        frame(me, me.ip6, HOP_BY_HOP, &extension(DESTINATION, first, &extension(next, second, payload)))
    };
    let unlimited = "OVS has no limit for where headers begin";
    vec![
        pass("UDP at byte 510", behind(32, 25, &datagram, UDP)),
        drop("UDP at byte 518", behind(32, 26, &datagram, UDP), Reason::Ext).but_openflow(Pass, unlimited),
        drop("router advertisement at byte 566", behind(32, 32, &advertisement(me), ICMP6), Reason::Ext)
            .but_openflow(Drop(Reason::Router), unlimited),
        drop("router advertisement at byte 510", behind(32, 25, &advertisement(me), ICMP6), Reason::Router),
        pass("one long header", frame(me, me.ip6, DESTINATION, &extension(UDP, 50, &datagram))),
    ]
}

fn cut(me: &Identity) -> Vec<Case> {
    let whole = |units, payload: &[u8]| frame(me, me.ip6, DESTINATION, &extension(UDP, units, payload));
    let before_fragment = frame(me, me.ip6, FRAGMENT, &[ICMP6, 0, 0]);
    let unread = Drop(Reason::Ipv6);
    vec![
        short("extension header cut after two bytes", whole(1, &[]), 56, unread),
        short("extension header cut in its options", whole(4, &[]), 70, unread),
        short("extension header that ends one byte behind the frame", whole(2, &[]), 69, unread),
        short("fragment header cut", before_fragment, 57, unread),
        short("UDP cut behind an extension header", whole(1, &udp(547, 546, &[])[..4]), 66, Pass),
    ]
}

fn fragments(me: &Identity) -> Vec<Case> {
    let part = |src, next, field, payload: &[u8]| frame(me, src, FRAGMENT, &fragment6(next, field, payload));
    let behind_options = fragment6(DESTINATION, MORE, &extension(ICMP6, 1, &echo(me)));
    let before_options = extension(FRAGMENT, 1, &fragment6(ICMP6, MORE, &echo(me)));
    let (group, group_mac) = solicited(me.ip6);
    let detection = icmp6_summed(UNSPECIFIED6, group, &neighbour(135, 0, me.ip6, &[]));
    let atomic_detection = ipv6(UNSPECIFIED6, group, FRAGMENT, 255, &fragment6(ICMP6, 0, &detection));
    let nobody = ipv6(UNSPECIFIED6, ALL_NODES, FRAGMENT, 255, &fragment6(ICMP6, MORE, &detection));
    vec![
        drop("first fragment of ICMPv6", part(me.ip6, ICMP6, MORE, &echo(me)), Reason::Icmp6Frag),
        drop(
            "router advertisement in a first fragment",
            part(me.ip6, ICMP6, MORE, &advertisement(me)),
            Reason::Icmp6Frag,
        ),
        drop(
            "first fragment, options, ICMPv6",
            frame(me, me.ip6, FRAGMENT, &behind_options),
            Reason::Icmp6Frag,
        ),
        drop(
            "options, first fragment of ICMPv6",
            frame(me, me.ip6, DESTINATION, &before_options),
            Reason::Icmp6Frag,
        ),
        drop(
            "first fragment of ICMPv6, foreign source first",
            part(me.other_ip6, ICMP6, MORE, &echo(me)),
            Reason::Ipv6,
        ),
        drop("first fragment from ::", ethernet(ALL_NODES_MAC, me.mac, 0x86dd, &nobody), Reason::Ipv6),
        pass("later fragment of ICMPv6", part(me.ip6, ICMP6, 185 << 3, &[1])),
        pass("middle fragment of ICMPv6", part(me.ip6, ICMP6, (185 << 3) | MORE, &[134; 16])),
        pass("first fragment of UDP", part(me.ip6, UDP, MORE, &udp(4000, 4001, &[0; 8]))),
        pass(
            "first fragment from UDP port 547: by source only",
            part(me.ip6, UDP, MORE, &udp(547, 546, &[0; 8])),
        ),
        pass("last fragment of UDP over IPv6, four bytes", part(me.ip6, UDP, 16 << 3, &[2, 35, 2, 34])),
        drop("later fragment of the neighbour's", part(me.other_ip6, UDP, 16 << 3, &[0; 8]), Reason::Ipv6),
        pass("atomic fragment of an echo request", part(me.ip6, ICMP6, 0, &echo(me))),
        pass("atomic fragment with reserved bits", part(me.ip6, UDP, 6, &udp(4000, 4001, &[]))),
        drop(
            "router advertisement in an atomic fragment",
            part(me.ip6, ICMP6, 0, &advertisement(me)),
            Reason::Router,
        ),
        drop(
            "DHCPv6 server in an atomic fragment",
            part(me.ip6, UDP, 0, &udp(547, 546, &[])),
            Reason::Dhcp6Server,
        ),
        pass(
            "duplicate detection in an atomic fragment",
            ethernet(group_mac, me.mac, 0x86dd, &atomic_detection),
        ),
    ]
}
