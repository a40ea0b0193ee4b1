//! IPv6: sources, what may come from the unspecified address, DHCPv6, what only routers send.

use super::{
    Case, Identity, Kind,
    Verdict::{Drop, Pass},
    build::{
        ALL_NODES, ALL_NODES_MAC, UNSPECIFIED6, ethernet, extension, icmp6, icmp6_summed, ipv6, neighbour,
        solicited, tcp, udp, with_byte,
    },
    drop, pass, short,
};
use crate::abi::Reason;

pub(super) fn cases(me: &Identity) -> Vec<Case> {
    [sources(me), protocols(me), unspecified(me), malformed(me), dhcp(me), router(me), others(me)].concat()
}

fn frame(me: &Identity, packet: &[u8]) -> Vec<u8> {
    ethernet(me.other_mac, me.mac, 0x86dd, packet)
}

fn from(me: &Identity, src: [u8; 16]) -> Vec<u8> {
    frame(me, &ipv6(src, me.other_ip6, 17, 64, &udp(4000, 4001, &[0; 8])))
}

fn message(me: &Identity, src: [u8; 16], kind: u8, body: &[u8]) -> Vec<u8> {
    let text = [&[kind, 0, 0, 0], body].concat();
    ethernet(ALL_NODES_MAC, me.mac, 0x86dd, &icmp6(src, ALL_NODES, 255, &text))
}

fn sources(me: &Identity) -> Vec<Case> {
    let [.., a, b, c, d] = me.ip4;
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d];
    let mut loopback = UNSPECIFIED6;
    loopback[15] = 1;
    let flip = |at: usize, bit: u8| {
        let mut addr = me.ip6;
        addr[at] ^= bit;
        addr
    };
    vec![
        pass("IPv6 of its own", from(me, me.ip6)),
        pass("IPv6 from the own link-local address", from(me, me.ll6)),
        drop("IPv6 of the neighbour", from(me, me.other_ip6), Reason::Ipv6),
        drop("link-local address of the neighbour", from(me, me.other_ll6), Reason::Ipv6),
        drop("IPv6 one bit off at the end", from(me, flip(15, 0x80)), Reason::Ipv6),
        drop("IPv6 one bit off in the middle", from(me, flip(8, 1)), Reason::Ipv6),
        drop("IPv6 one bit off at the beginning", from(me, flip(0, 2)), Reason::Ipv6),
        drop("IPv6 loopback", from(me, loopback), Reason::Ipv6),
        drop("IPv6 multicast as source", from(me, ALL_NODES), Reason::Ipv6),
        drop("the own IPv4 address mapped", from(me, mapped), Reason::Ipv6),
        pass("listed IPv6 prefix", from(me, [0x20, 1, 0xd, 0xb8, 0, 7, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]))
            .on(Kind::Listed),
        drop(
            "just outside the listed IPv6 prefix",
            from(me, [0x20, 1, 0xd, 0xb8, 0, 6, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]),
            Reason::Ipv6,
        )
        .on(Kind::Listed),
    ]
}

fn protocols(me: &Identity) -> Vec<Case> {
    let own = |next, payload: &[u8]| frame(me, &ipv6(me.ip6, me.other_ip6, next, 64, payload));
    let echo = |src, kind| frame(me, &icmp6(src, me.other_ip6, 64, &[kind, 0, 0, 0, 0, 1, 0, 1]));
    let quoted = ipv6(me.other_ip6, me.ip6, 17, 64, &udp(1, 2, &[]));
    vec![
        pass("TCP over IPv6", own(6, &tcp(4000, 80, b"hello"))),
        pass("SCTP over IPv6", own(132, &[0; 12])),
        pass("echo request over IPv6", echo(me.ip6, 128)),
        pass("echo reply over IPv6", echo(me.ll6, 129)),
        pass(
            "ICMPv6 error quoting another's packet",
            message(me, me.ip6, 3, &[&[0; 4], &quoted[..]].concat()),
        ),
        pass("IPv6 in IPv6", own(41, &quoted)),
        pass("IPv4 in IPv6", own(4, &[0x45; 20])),
        pass("ESP over IPv6", own(50, &[9; 16])),
        pass("no next header", own(59, &[])),
        pass("node information query", message(me, me.ip6, 139, &[0; 12])),
        pass("multicast listener query", message(me, me.ll6, 130, &[0; 20])),
        pass("multicast listener report", message(me, me.ll6, 131, &[0; 20])),
        pass("multicast listener report version 2", message(me, me.ll6, 143, &[0, 0, 0, 0])),
    ]
}

fn unspecified(me: &Identity) -> Vec<Case> {
    let report = icmp6_summed(UNSPECIFIED6, ALL_NODES, &[143, 0, 0, 0, 0, 0, 0, 0]);
    let alerted = extension(58, 1, &report);
    let router_alert =
        ethernet(ALL_NODES_MAC, me.mac, 0x86dd, &ipv6(UNSPECIFIED6, ALL_NODES, 0, 1, &alerted));
    vec![
        pass("multicast listener report version 2 from ::", message(me, UNSPECIFIED6, 143, &[0, 0, 0, 0])),
        pass("the same behind a hop-by-hop header", router_alert),
        drop(
            "multicast listener report version 1 from ::",
            message(me, UNSPECIFIED6, 131, &[0; 20]),
            Reason::Ipv6,
        ),
        drop("echo request from ::", message(me, UNSPECIFIED6, 128, &[0, 1, 0, 1]), Reason::Ipv6),
        drop("neighbour advertisement from ::", advertisement_from_nobody(me), Reason::Ipv6),
        drop("UDP from ::", from(me, UNSPECIFIED6), Reason::Ipv6),
    ]
}

fn advertisement_from_nobody(me: &Identity) -> Vec<u8> {
    ethernet(
        ALL_NODES_MAC,
        me.mac,
        0x86dd,
        &icmp6(UNSPECIFIED6, ALL_NODES, 255, &neighbour(136, 0, me.ip6, &[])),
    )
}

fn malformed(me: &Identity) -> Vec<Case> {
    let honest = from(me, me.ip6);
    let cut = |next, payload: &[u8]| frame(me, &ipv6(me.ip6, me.other_ip6, next, 64, payload));
    let ipv6_too = Drop(Reason::Ipv6);
    vec![
        drop("version 4 under the ethertype of IPv6", with_byte(honest.clone(), 14, 0x45), Reason::Ipv6)
            .but_openflow(Pass, "OVS does not look at the version of an IPv6 packet"),
        drop("version 0 under the ethertype of IPv6", with_byte(honest.clone(), 14, 0), Reason::Ipv6)
            .but_openflow(Pass, "OVS does not look at the version of an IPv6 packet"),
        short("IPv6 header one byte short", honest.clone(), 53, ipv6_too),
        short("IPv6 header cut in its source", honest.clone(), 30, ipv6_too),
        short("IPv6 without a packet", honest, 14, ipv6_too),
        short("UDP over IPv6 one byte short", cut(17, &udp(1, 2, &[])[..7]), 61, Pass),
        short("ICMPv6 cut after four bytes", cut(58, &[134, 0, 0, 0]), 58, Pass),
        short("ICMPv6 missing", cut(58, &[]), 54, Pass),
        pass("UDP over IPv6 just whole", cut(17, &udp(1, 2, &[]))),
        pass("TCP over IPv6 cut: it is not read", cut(6, &[0, 1, 0, 2])),
    ]
}

fn dhcp(me: &Identity) -> Vec<Case> {
    let exchange = |src, from, to| frame(me, &ipv6(src, me.other_ll6, 17, 64, &udp(from, to, &[2; 8])));
    vec![
        drop("DHCPv6 server", exchange(me.ll6, 547, 546), Reason::Dhcp6Server),
        drop("DHCPv6 server from the own address", exchange(me.ip6, 547, 546), Reason::Dhcp6Server),
        drop("DHCPv6 relay", exchange(me.ip6, 547, 547), Reason::Dhcp6Server),
        drop(
            "DHCPv6 server from a foreign address: the source is first",
            exchange(me.other_ll6, 547, 546),
            Reason::Ipv6,
        ),
        pass("DHCPv6 client", exchange(me.ll6, 546, 547)),
        pass("UDP over IPv6 from port 67", exchange(me.ip6, 67, 68)),
    ]
}

fn router(me: &Identity) -> Vec<Case> {
    let sent = |kind| message(me, me.ll6, kind, &[0; 36]);
    vec![
        drop("router advertisement", sent(134), Reason::Router),
        drop("ICMPv6 redirect", sent(137), Reason::Router),
        drop("router renumbering", sent(138), Reason::Router),
        drop("multicast router advertisement", sent(151), Reason::Router),
        drop("router solicitation", sent(133), Reason::Router),
        drop(
            "router advertisement from a foreign address",
            message(me, me.other_ll6, 134, &[0; 12]),
            Reason::Ipv6,
        ),
        drop("router advertisement with slaac", sent(134), Reason::Router).on(Kind::Slaac),
        pass("router solicitation with slaac", sent(133)).on(Kind::Slaac),
        drop("router solicitation from :: with slaac", message(me, UNSPECIFIED6, 133, &[0; 4]), Reason::Ipv6)
            .on(Kind::Slaac),
    ]
}

fn others(me: &Identity) -> Vec<Case> {
    let (group, group_mac) = solicited(me.ll6);
    let detection = icmp6(UNSPECIFIED6, group, 255, &neighbour(135, 0, me.ll6, &[]));
    vec![
        drop("IPv4 only: IPv6", from(me, me.ip6), Reason::Ipv6),
        drop("IPv4 only: link-local address", from(me, me.ll6), Reason::Ipv6),
        drop("IPv4 only: duplicate detection", ethernet(group_mac, me.mac, 0x86dd, &detection), Reason::Ipv6),
        drop(
            "IPv4 only: multicast listener report",
            message(me, UNSPECIFIED6, 143, &[0, 0, 0, 0]),
            Reason::Ipv6,
        ),
        drop("IPv4 only: router advertisement", message(me, me.ll6, 134, &[0; 12]), Reason::Ipv6),
    ]
    .into_iter()
    .map(|case| case.on(Kind::Ip4Only))
    .collect()
}
