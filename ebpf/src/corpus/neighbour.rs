//! Neighbour discovery: solicitations, advertisements, duplicate detection, and their options.

use super::{
    Case, Identity,
    Verdict::Pass,
    build::{
        ALL_NODES, ALL_NODES_MAC, UNSPECIFIED6, ethernet, extension, icmp6, icmp6_summed, ipv6, link_layer,
        neighbour, solicited,
    },
    drop, pass,
};
use crate::abi::Reason;

const SOURCE: u8 = 1;
const TARGET: u8 = 2;
/// A nonce (RFC 7527), which Linux sends with duplicate detection.
const NONCE: [u8; 8] = [14, 1, 1, 2, 3, 4, 5, 6];
/// Its parser, version 3.1.
const BROKEN: &str = "OVS stops at a broken option and keeps what it has read";
/// An option that nobody knows.
const UNKNOWN: [u8; 16] = [200, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

pub(super) fn cases(me: &Identity) -> Vec<Case> {
    [solicitations(me), solicitation_options(me), detection(me), advertisements(me), shapes(me)].concat()
}

fn solicit(me: &Identity, src: [u8; 16], target: [u8; 16], hops: u8, code: u8, options: &[u8]) -> Vec<u8> {
    let (group, mac) = solicited(target);
    ethernet(mac, me.mac, 0x86dd, &icmp6(src, group, hops, &neighbour(135, code, target, options)))
}

fn advertise(me: &Identity, src: [u8; 16], target: [u8; 16], hops: u8, code: u8, options: &[u8]) -> Vec<u8> {
    let message = neighbour(136, code, target, options);
    ethernet(ALL_NODES_MAC, me.mac, 0x86dd, &icmp6(src, ALL_NODES, hops, &message))
}

fn solicitations(me: &Identity) -> Vec<Case> {
    let mine = link_layer(SOURCE, me.mac);
    let ask = |src, target| solicit(me, src, target, 255, 0, &mine);
    let tuned = |hops, code| solicit(me, me.ip6, me.other_ip6, hops, code, &mine);
    let probe = icmp6(me.ip6, me.other_ip6, 255, &neighbour(135, 0, me.other_ip6, &[]));
    vec![
        pass("solicitation", ask(me.ip6, me.other_ip6)),
        pass("solicitation from the link-local address", ask(me.ll6, me.other_ip6)),
        pass("solicitation for its own address", ask(me.ip6, me.ip6)),
        pass("solicitation without options to one host", ethernet(me.other_mac, me.mac, 0x86dd, &probe)),
        drop("solicitation from a foreign address", ask(me.other_ip6, me.ip6), Reason::Ipv6),
        drop("solicitation for ::", ask(me.ip6, UNSPECIFIED6), Reason::Nd),
        drop("solicitation with hop limit 254", tuned(254, 0), Reason::Nd),
        drop("solicitation with hop limit 64", tuned(64, 0), Reason::Nd),
        drop("solicitation with hop limit 0", tuned(0, 0), Reason::Nd),
        drop("solicitation with code 1", tuned(255, 1), Reason::Nd),
    ]
}

fn solicitation_options(me: &Identity) -> Vec<Case> {
    let with = |options: &[u8]| solicit(me, me.ip6, me.other_ip6, 255, 0, options);
    let mine = link_layer(SOURCE, me.mac);
    let theirs = link_layer(SOURCE, me.other_mac);
    let mut long = mine.clone();
    long[1] = 2;
    long.extend([0; 8]);
    let first_only = "OVS keeps one address of each kind, and reads zero as absent";
    vec![
        drop("solicitation naming the neighbour's MAC", with(&theirs), Reason::Nd),
        drop("solicitation naming MAC zero", with(&link_layer(SOURCE, [0; 6])), Reason::Nd)
            .but_openflow(Pass, first_only),
        drop(
            "solicitation naming two MACs, the own one first",
            with(&[mine.clone(), theirs.clone()].concat()),
            Reason::Nd,
        ),
        drop(
            "solicitation naming two MACs, the own one last",
            with(&[theirs, mine.clone()].concat()),
            Reason::Nd,
        ),
        drop(
            "solicitation naming the neighbour's MAC as target",
            with(&[mine.clone(), link_layer(TARGET, me.other_mac)].concat()),
            Reason::Nd,
        )
        .but_openflow(Pass, "OVS reads no target address option in a solicitation"),
        drop("MAC option of two units", with(&long), Reason::Nd)
            .but_openflow(Pass, "OVS skips an address option that is not one unit long"),
        pass("solicitation with a nonce", with(&[mine.clone(), NONCE.to_vec()].concat())),
        pass("solicitation with an unknown option", with(&[UNKNOWN.to_vec(), mine.clone()].concat())),
        pass("solicitation with four options", with(&[&UNKNOWN[..], &NONCE, &UNKNOWN, &mine].concat())),
        drop(
            "solicitation with five options",
            with(&[&UNKNOWN[..], &NONCE, &UNKNOWN, &NONCE, &mine].concat()),
            Reason::Nd,
        )
        .but_openflow(Pass, "OVS walks options without a limit"),
        drop("option of length zero", with(&[SOURCE, 0, 0, 0, 0, 0, 0, 0]), Reason::Nd)
            .but_openflow(Pass, BROKEN),
        drop(
            "option of length zero behind a good one",
            with(&[&mine[..], &[9, 0, 0, 0, 0, 0, 0, 0]].concat()),
            Reason::Nd,
        )
        .but_openflow(Pass, BROKEN),
        drop(
            "option that ends behind the packet",
            with(&[&mine[..], &[200, 3, 0, 0, 0, 0, 0, 0]].concat()),
            Reason::Nd,
        )
        .but_openflow(Pass, BROKEN),
    ]
}

fn detection(me: &Identity) -> Vec<Case> {
    let detect = |target, hops, options: &[u8]| solicit(me, UNSPECIFIED6, target, hops, 0, options);
    vec![
        pass("duplicate detection", detect(me.ip6, 255, &[])),
        pass("duplicate detection of the link-local address", detect(me.ll6, 255, &[])),
        pass("duplicate detection with a nonce", detect(me.ip6, 255, &NONCE)),
        drop("duplicate detection of the neighbour's address", detect(me.other_ip6, 255, &[]), Reason::Nd),
        drop("duplicate detection of ::", detect(UNSPECIFIED6, 255, &[]), Reason::Nd),
        drop("duplicate detection with hop limit 64", detect(me.ip6, 64, &[]), Reason::Nd),
        drop(
            "duplicate detection naming its MAC",
            detect(me.ip6, 255, &link_layer(SOURCE, me.mac)),
            Reason::Nd,
        ),
        drop(
            "duplicate detection naming a target MAC",
            detect(me.ip6, 255, &link_layer(TARGET, me.mac)),
            Reason::Nd,
        )
        .but_openflow(Pass, "OVS reads no target address option in a solicitation"),
    ]
}

fn advertisements(me: &Identity) -> Vec<Case> {
    let mine = link_layer(TARGET, me.mac);
    let tell = |src, target, options: &[u8]| advertise(me, src, target, 255, 0, options);
    let tuned = |hops, code| advertise(me, me.ip6, me.ip6, hops, code, &mine);
    vec![
        pass("advertisement", tell(me.ip6, me.ip6, &mine)),
        pass("advertisement of the link-local address", tell(me.ll6, me.ll6, &mine)),
        pass("advertisement from the link-local address", tell(me.ll6, me.ip6, &mine)),
        pass("advertisement without options", tell(me.ip6, me.ip6, &[])),
        drop("advertisement of the neighbour's address", tell(me.ip6, me.other_ip6, &mine), Reason::Nd),
        drop(
            "advertisement of the neighbour's link-local address",
            tell(me.ll6, me.other_ll6, &mine),
            Reason::Nd,
        ),
        drop("advertisement of ::", tell(me.ip6, UNSPECIFIED6, &mine), Reason::Nd),
        drop(
            "advertisement naming the neighbour's MAC",
            tell(me.ip6, me.ip6, &link_layer(TARGET, me.other_mac)),
            Reason::Nd,
        ),
        drop("advertisement naming MAC zero", tell(me.ip6, me.ip6, &link_layer(TARGET, [0; 6])), Reason::Nd)
            .but_openflow(Pass, "OVS reads the MAC zero as an absent option"),
        drop("advertisement from the neighbour's address", tell(me.other_ip6, me.ip6, &mine), Reason::Ipv6),
        drop("advertisement with hop limit 254", tuned(254, 0), Reason::Nd),
        drop("advertisement with code 1", tuned(255, 1), Reason::Nd),
        drop(
            "advertisement with an option of length zero",
            tell(me.ip6, me.ip6, &[TARGET, 0, 0, 0, 0, 0, 0, 0]),
            Reason::Nd,
        )
        .but_openflow(Pass, BROKEN),
    ]
}

fn shapes(me: &Identity) -> Vec<Case> {
    let whole = neighbour(135, 0, me.other_ip6, &link_layer(SOURCE, me.mac));
    let cut = |len: usize| {
        ethernet(
            me.other_mac,
            me.mac,
            0x86dd,
            &icmp6(me.ip6, me.other_ip6, 255, whole.get(..len).unwrap_or(&whole)),
        )
    };
    let mut trailer = ethernet(me.other_mac, me.mac, 0x86dd, &icmp6(me.ip6, me.other_ip6, 255, &whole));
    trailer.extend([0; 6]);
    let behind = |kind, target| {
        let message = icmp6_summed(me.ip6, me.other_ip6, &neighbour(kind, 0, target, &[]));
        ethernet(
            me.other_mac,
            me.mac,
            0x86dd,
            &ipv6(me.ip6, me.other_ip6, 60, 255, &extension(58, 1, &message)),
        )
    };
    vec![
        drop("solicitation that ends before its target", cut(8), Reason::Nd),
        drop("solicitation that ends in its target", cut(20), Reason::Nd),
        drop("solicitation that ends in an option", cut(28), Reason::Nd).but_openflow(Pass, BROKEN),
        pass("bytes behind the packet are nobody's", trailer),
        pass("solicitation behind an extension header", behind(135, me.other_ip6)),
        drop("foreign advertisement behind an extension header", behind(136, me.other_ip6), Reason::Nd),
        drop("solicitation with five bytes of garbage", cut_garbage(me, &whole), Reason::Nd)
            .but_openflow(Pass, BROKEN),
    ]
}

fn cut_garbage(me: &Identity, whole: &[u8]) -> Vec<u8> {
    let message = [whole, &[1, 1, 1, 1, 1]].concat();
    ethernet(me.other_mac, me.mac, 0x86dd, &icmp6(me.ip6, me.other_ip6, 255, &message))
}
