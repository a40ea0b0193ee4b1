//! Tags, destinations, MACs, ethertypes; and ARP.

use super::{
    Case, Identity, Kind, LISTED_MAC,
    Verdict::{Drop, Pass},
    build::{BROADCAST, arp, ethernet, icmp, ipv4, padded, udp, with_byte},
    drop, pass, short,
};
use crate::abi::Reason;

pub(super) fn cases(me: &Identity) -> Vec<Case> {
    [tags(me), trunks(me), destinations(me), macs(me), ethertypes(me), mode_mac(me)].concat()
}

fn honest(me: &Identity) -> Vec<u8> {
    from_mac(me, me.mac)
}

fn from_mac(me: &Identity, mac: [u8; 6]) -> Vec<u8> {
    ethernet(me.other_mac, mac, 0x0800, &ipv4(me.ip4, me.other_ip4, 17, &udp(4000, 4001, &[7; 18])))
}

fn tags(me: &Identity) -> Vec<Case> {
    let stolen = from_mac(me, me.other_mac);
    let inner_tag = ethernet(me.other_mac, me.mac, 0x8100, &[&[0, 20, 8, 0], &honest(me)[14..]].concat());
    let inner_ad = ethernet(me.other_mac, me.mac, 0x88a8, &[&[0, 20, 8, 0], &honest(me)[14..]].concat());
    let lldp = ethernet([1, 0x80, 0xc2, 0, 0, 0x0e], me.mac, 0x88cc, &[0; 46]);
    vec![
        pass("untagged", honest(me)),
        drop("tag on an access port", honest(me), Reason::Vlan).tagged(0x8100, 10),
        drop("priority tag, VID 0", honest(me), Reason::Vlan).tagged(0x8100, 0),
        drop("priority tag, VID 0, priority 7", honest(me), Reason::Vlan).tagged(0x8100, 0xe000),
        drop("tag with VID 4095", honest(me), Reason::Vlan).tagged(0x8100, 4095),
        drop("service tag (802.1ad)", honest(me), Reason::Vlan).tagged(0x88a8, 10),
        drop("two tags", inner_tag.clone(), Reason::Vlan).tagged(0x8100, 10),
        drop("service tag before a tag", inner_tag, Reason::Vlan).tagged(0x88a8, 10),
        drop("tag before a service tag", inner_ad, Reason::Vlan).tagged(0x8100, 10),
        drop("tag and foreign MAC: the tag is first", stolen, Reason::Vlan).tagged(0x8100, 10),
        drop("tag and link-local destination: the tag is first", lldp, Reason::Vlan).tagged(0x8100, 10),
    ]
}

fn trunks(me: &Identity) -> Vec<Case> {
    let stolen = from_mac(me, me.other_mac);
    let spoofed =
        ethernet(me.other_mac, me.mac, 0x0800, &ipv4(me.other_ip4, me.ip4, 17, &udp(1, 2, &[0; 18])));
    let inner_tag = ethernet(me.other_mac, me.mac, 0x8100, &[&[0, 20, 8, 0], &honest(me)[14..]].concat());
    vec![
        pass("trunk: a VLAN it carries", honest(me)).tagged(0x8100, 10),
        pass("trunk: its other VLAN, priority 5", honest(me)).tagged(0x8100, 0xa014),
        pass("trunk: ARP in a VLAN", ethernet(BROADCAST, me.mac, 0x0806, &own_request(me)))
            .tagged(0x8100, 10),
        drop("trunk: a VLAN it does not carry", honest(me), Reason::Vlan).tagged(0x8100, 30),
        drop("trunk: VID 0", honest(me), Reason::Vlan).tagged(0x8100, 0),
        drop("trunk: untagged without a native VLAN", honest(me), Reason::Vlan),
        drop("trunk: second tag", inner_tag, Reason::Vlan)
            .tagged(0x8100, 10)
            .but_openflow(Drop(Reason::Ethertype), "behind the outer tag OVS sees the ethertype 0x8100"),
        drop("trunk: service tag", honest(me), Reason::Vlan)
            .tagged(0x88a8, 10)
            .but_openflow(Pass, "dl_vlan does not tell 802.1ad from 802.1Q"),
        drop("trunk: foreign MAC", stolen, Reason::Mac).tagged(0x8100, 10),
        drop("trunk: foreign IPv4", spoofed, Reason::Ipv4).tagged(0x8100, 20),
    ]
    .into_iter()
    .map(|case| case.on(Kind::Trunk))
    .chain([
        pass("native trunk: untagged", honest(me)).on(Kind::TrunkNative),
        pass("native trunk: a VLAN it carries", honest(me)).tagged(0x8100, 20).on(Kind::TrunkNative),
        drop("native trunk: VID 0 is not untagged", honest(me), Reason::Vlan)
            .tagged(0x8100, 0)
            .on(Kind::TrunkNative),
    ])
    .collect()
}

fn destinations(me: &Identity) -> Vec<Case> {
    let to = |last: u8, ethertype: u16, body: &[u8]| {
        ethernet([1, 0x80, 0xc2, 0, 0, last], me.mac, ethertype, body)
    };
    let ip = &honest(me)[14..];
    vec![
        drop("spanning tree", to(0, 38, &[0x42, 0x42, 3, 0, 0, 0, 0, 0]), Reason::LinkLocal),
        drop("pause", to(1, 0x8808, &[0; 46]), Reason::LinkLocal),
        drop("LACP", to(2, 0x8809, &[1; 46]), Reason::LinkLocal),
        drop("802.1X to its group", to(3, 0x888e, &[1; 46]), Reason::LinkLocal),
        drop("LLDP to its group", to(0x0e, 0x88cc, &[2; 46]), Reason::LinkLocal),
        drop("IPv4 to a link-local group", to(0x0f, 0x0800, ip), Reason::LinkLocal),
        drop("ARP to a link-local group", to(0x08, 0x0806, &own_request(me)), Reason::LinkLocal),
        pass("the group just above the link-local ones", to(0x10, 0x0800, ip)),
        drop(
            "link-local destination and foreign MAC: the destination is first",
            ethernet([1, 0x80, 0xc2, 0, 0, 0x0e], me.other_mac, 0x88cc, &[0; 46]),
            Reason::LinkLocal,
        ),
        pass("broadcast", ethernet(BROADCAST, me.mac, 0x0800, ip)),
        pass("multicast", ethernet([1, 0, 0x5e, 0, 0, 0xfb], me.mac, 0x0800, ip)),
        pass("to itself", ethernet(me.mac, me.mac, 0x0800, ip)),
    ]
}

fn macs(me: &Identity) -> Vec<Case> {
    let off = |at: usize, bit: u8| {
        let mut mac = me.mac;
        mac[at] ^= bit;
        mac
    };
    let rarp = ethernet(BROADCAST, me.other_mac, 0x8035, &own_request(me));
    let listed = from_mac(me, LISTED_MAC);
    let listed_arp =
        ethernet(BROADCAST, LISTED_MAC, 0x0806, &arp(1, LISTED_MAC, me.ip4, [0; 6], me.other_ip4));
    vec![
        drop("the neighbour's MAC", from_mac(me, me.other_mac), Reason::Mac),
        drop("a MAC one bit off", from_mac(me, off(5, 0x80)), Reason::Mac),
        drop("the first byte off", from_mac(me, off(0, 4)), Reason::Mac),
        drop("a group MAC as source", from_mac(me, off(0, 1)), Reason::Mac),
        drop("MAC zero", from_mac(me, [0; 6]), Reason::Mac),
        drop("broadcast as source", from_mac(me, BROADCAST), Reason::Mac),
        drop(
            "foreign MAC with ARP",
            ethernet(BROADCAST, me.other_mac, 0x0806, &own_request(me)),
            Reason::Mac,
        ),
        drop("foreign MAC with an unknown ethertype: the MAC is first", rarp, Reason::Mac),
        short(
            "foreign MAC in a cut frame: the length is first",
            from_mac(me, me.other_mac),
            30,
            Drop(Reason::Mac),
        ),
        drop("a VRRP MAC that is not listed", listed.clone(), Reason::Mac),
        pass("a listed VRRP MAC", listed).on(Kind::Listed),
        pass("ARP with a listed VRRP MAC", listed_arp).on(Kind::Listed),
        drop(
            "ARP: a listed MAC in the packet, the own one on Ethernet",
            ethernet(BROADCAST, me.mac, 0x0806, &arp(1, LISTED_MAC, me.ip4, [0; 6], me.other_ip4)),
            Reason::Arp,
        )
        .on(Kind::Listed),
    ]
}

fn ethertypes(me: &Identity) -> Vec<Case> {
    let typed = |ethertype: u16| ethernet(me.other_mac, me.mac, ethertype, &[0; 46]);
    let snap = |oui: [u8; 3]| {
        let ip = &honest(me)[14..];
        let len = u16::try_from(ip.len() + 8).unwrap_or(0);
        ethernet(me.other_mac, me.mac, len, &[&[0xaa, 0xaa, 3], &oui[..], &[8, 0], ip].concat())
    };
    let types: [(&'static str, u16); 15] = [
        ("RARP", 0x8035),
        ("LLDP to a station", 0x88cc),
        ("802.1X to a station", 0x888e),
        ("PPPoE discovery", 0x8863),
        ("PPPoE session", 0x8864),
        ("MPLS", 0x8847),
        ("FCoE", 0x8906),
        ("precision time protocol", 0x88f7),
        ("loopback test", 0x9000),
        ("the old double tag 0x9100", 0x9100),
        ("the agent's own self-frame type", 0x88b5),
        ("the smallest ethertype", 0x0600),
        ("the largest ethertype", 0xffff),
        ("802.3 with LLC", 46),
        ("length zero", 0),
    ];
    let mut cases: Vec<Case> = types.map(|(name, t)| drop(name, typed(t), Reason::Ethertype)).into();
    cases.extend([
        drop("IPv4 in 802.3 SNAP", snap([0; 3]), Reason::Ethertype)
            .but_openflow(Pass, "OVS takes the ethertype out of SNAP"),
        drop("SNAP of another organisation", snap([0, 0, 0xf8]), Reason::Ethertype),
        drop("an empty frame of unknown type", ethernet(BROADCAST, me.mac, 0x88b6, &[]), Reason::Ethertype),
    ]);
    cases
}

fn mode_mac(me: &Identity) -> Vec<Case> {
    let foreign_ip =
        ethernet(me.other_mac, me.mac, 0x0800, &ipv4(me.other_ip4, me.ip4, 1, &icmp(5, 0, &[0; 4])));
    let foreign_arp =
        ethernet(BROADCAST, me.mac, 0x0806, &arp(2, me.other_mac, me.other_ip4, [0; 6], [0; 4]));
    let mut cut = foreign_ip.clone();
    cut.truncate(24);
    vec![
        pass("mode mac: foreign IPv4", foreign_ip),
        pass("mode mac: foreign ARP", foreign_arp),
        pass("mode mac: IPv6", ethernet(me.other_mac, me.mac, 0x86dd, &[0x60; 60])),
        pass("mode mac: a cut header that it does not read", cut),
        drop("mode mac: foreign MAC", from_mac(me, me.other_mac), Reason::Mac),
        drop("mode mac: RARP", ethernet(BROADCAST, me.mac, 0x8035, &own_request(me)), Reason::Ethertype),
        drop("mode mac: tag", honest(me), Reason::Vlan).tagged(0x8100, 10),
        drop(
            "mode mac: link-local destination",
            ethernet([1, 0x80, 0xc2, 0, 0, 0], me.mac, 38, &[0x42; 46]),
            Reason::LinkLocal,
        ),
    ]
    .into_iter()
    .map(|case| case.on(Kind::MacOnly))
    .collect()
}

fn own_request(me: &Identity) -> Vec<u8> {
    arp(1, me.mac, me.ip4, [0; 6], me.other_ip4)
}

pub(super) fn arp_cases(me: &Identity) -> Vec<Case> {
    let frame = |packet: Vec<u8>| ethernet(BROADCAST, me.mac, 0x0806, &packet);
    let from = |op, sha, spa, tpa| frame(arp(op, sha, spa, [0; 6], tpa));
    let request = from(1, me.mac, me.ip4, me.other_ip4);
    let patched = |at: usize, value: u8| with_byte(request.clone(), 14 + at, value);
    let arp_too = Drop(Reason::Arp);
    vec![
        pass("ARP request", request.clone()),
        pass("ARP request padded to 60 bytes", padded(request.clone())),
        pass(
            "ARP reply",
            ethernet(me.other_mac, me.mac, 0x0806, &arp(2, me.mac, me.ip4, me.other_mac, me.other_ip4)),
        ),
        pass("gratuitous ARP request", from(1, me.mac, me.ip4, me.ip4)),
        pass("gratuitous ARP reply", from(2, me.mac, me.ip4, me.ip4)),
        pass("ARP probe for the own address", from(1, me.mac, [0; 4], me.ip4)),
        drop("ARP probe for the neighbour's address", from(1, me.mac, [0; 4], me.other_ip4), Reason::Arp),
        drop("ARP reply from address zero", from(2, me.mac, [0; 4], me.ip4), Reason::Arp),
        drop("ARP reply for the neighbour's address", from(2, me.mac, me.other_ip4, me.ip4), Reason::Arp),
        drop("ARP request from the neighbour's address", from(1, me.mac, me.other_ip4, me.ip4), Reason::Arp),
        drop(
            "gratuitous ARP for the neighbour's address",
            from(1, me.mac, me.other_ip4, me.other_ip4),
            Reason::Arp,
        ),
        drop("ARP with the neighbour's MAC inside", from(1, me.other_mac, me.ip4, me.other_ip4), Reason::Arp),
        drop("ARP with MAC zero inside", from(2, [0; 6], me.ip4, me.other_ip4), Reason::Arp),
        drop("ARP probe with a foreign MAC inside", from(1, me.other_mac, [0; 4], me.ip4), Reason::Arp),
        drop("ARP from broadcast", from(1, me.mac, [255; 4], me.other_ip4), Reason::Arp),
        drop("ARP op 0", from(0, me.mac, me.ip4, me.other_ip4), Reason::Arp),
        drop("ARP op 3 (reverse request)", from(3, me.mac, me.ip4, me.other_ip4), Reason::Arp),
        drop("ARP op 8 (inverse request)", from(8, me.mac, me.ip4, me.other_ip4), Reason::Arp),
        drop("ARP op 257, whose low byte is 1", from(257, me.mac, me.ip4, me.other_ip4), Reason::Arp),
        drop("ARP hardware type 6", patched(1, 6), Reason::Arp),
        drop("ARP protocol type 0x0801", patched(3, 1), Reason::Arp),
        drop("ARP hardware length 8", patched(4, 8), Reason::Arp),
        drop("ARP protocol length 16", patched(5, 16), Reason::Arp),
        short("ARP one byte too short", request.clone(), 41, arp_too),
        short("ARP cut in its sender address", request.clone(), 30, arp_too),
        short("ARP without a packet", request, 14, arp_too),
        pass("ARP of a listed address", from(2, me.mac, [192, 0, 2, 77], me.other_ip4)).on(Kind::Listed),
        pass("ARP probe for a listed address", from(1, me.mac, [0; 4], [192, 0, 2, 1])).on(Kind::Listed),
        drop(
            "ARP just outside the listed prefix",
            from(2, me.mac, [192, 0, 2, 128], me.other_ip4),
            Reason::Arp,
        )
        .on(Kind::Listed),
    ]
}
