//! Each frame against its bytes in the RFCs, and against etherparse's reading of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{Icmpv6Header, NetHeaders, PacketHeaders, TransportHeader};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{announcement, probe, question, self_frame, solicited_node};
use crate::model::Mac;

const MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0x11]);

fn v4(text: &str) -> IpAddr {
    text.parse::<Ipv4Addr>().unwrap().into()
}

fn v6(text: &str) -> IpAddr {
    text.parse::<Ipv6Addr>().unwrap().into()
}

/// Compares a frame with hex digits; blanks separate fields.
fn check(frame: &[u8], expected: &str) {
    let digits: String = expected.split_whitespace().collect();
    let bytes: Vec<u8> =
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
    assert_eq!(frame, bytes);
}

#[test]
fn an_arp_probe_claims_nothing() {
    check(
        &probe(MAC, v4("10.1.2.3")),
        "ffffffffffff 020000000011 0806 0001 0800 06 04 0001 020000000011 00000000 000000000000 0a010203",
    );
}

#[test]
fn an_arp_question_comes_from_the_pod() {
    check(
        &question(MAC, v4("10.1.2.3"), v4("10.1.2.1")).unwrap(),
        "ffffffffffff 020000000011 0806 0001 0800 06 04 0001 020000000011 0a010203 000000000000 0a010201",
    );
}

#[test]
fn an_arp_announcement_names_the_address_twice() {
    check(
        &announcement(MAC, v4("10.1.2.3")),
        "ffffffffffff 020000000011 0806 0001 0800 06 04 0001 020000000011 0a010203 000000000000 0a010203",
    );
}

#[test]
fn dad_comes_from_nowhere_and_carries_no_option() {
    let frame = probe(MAC, v6("2001:db8::12:3456"));
    check(
        &frame[..54],
        "3333ff123456 020000000011 86dd 60000000 0018 3a ff
         00000000000000000000000000000000 ff0200000000000000000001ff123456",
    );
    check(&frame[54..56], "8700");
    check(&frame[58..], "00000000 20010db8000000000000000000123456");
}

#[test]
fn a_neighbour_question_carries_the_source_link_layer_address() {
    let frame = question(MAC, v6("2001:db8::3"), v6("2001:db8::1")).unwrap();
    check(
        &frame[..54],
        "3333ff000001 020000000011 86dd 60000000 0020 3a ff
         20010db8000000000000000000000003 ff0200000000000000000001ff000001",
    );
    check(&frame[58..], "00000000 20010db8000000000000000000000001 01 01 020000000011");
}

#[test]
fn an_unsolicited_advertisement_overrides_and_is_no_router() {
    let frame = announcement(MAC, v6("2001:db8::3"));
    check(
        &frame[..54],
        "333300000001 020000000011 86dd 60000000 0020 3a ff
         20010db8000000000000000000000003 ff020000000000000000000000000001",
    );
    check(&frame[54..56], "8800");
    check(&frame[58..], "20000000 20010db8000000000000000000000003 02 01 020000000011");
}

#[test]
fn a_self_frame_goes_from_the_pod_to_the_pod() {
    let frame = self_frame(MAC);
    check(&frame[..14], "020000000011 020000000011 88b5");
    assert_eq!(frame.len(), 60);
}

#[test]
fn families_do_not_mix() {
    assert_eq!(question(MAC, v4("10.1.2.3"), v6("2001:db8::1")), None);
    assert_eq!(question(MAC, v6("2001:db8::3"), v4("10.1.2.1")), None);
}

#[test]
fn the_solicited_node_address_keeps_24_bits() {
    let address = solicited_node("fe80::abcd:ef01:2345".parse().unwrap());
    assert_eq!(address, "ff02::1:ff01:2345".parse::<Ipv6Addr>().unwrap());
}

fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(a, b)| (a.into(), b.into())),
        any::<(Ipv6Addr, Ipv6Addr)>().prop_map(|(a, b)| (a.into(), b.into())),
    ]
}

proptest! {
    #[test]
    fn every_frame_reads_back_with_a_right_checksum(mac: [u8; 6], (own, target) in addresses()) {
        let mac = Mac(mac);
        for frame in [probe(mac, target), question(mac, own, target).unwrap(), announcement(mac, own)] {
            let read = PacketHeaders::from_ethernet_slice(&frame).unwrap();
            match read.net.unwrap() {
                NetHeaders::Arp(arp) => prop_assert_eq!(arp.sender_hw_addr(), &mac.0[..]),
                NetHeaders::Ipv6(ip, _) => {
                    prop_assert_eq!(ip.hop_limit, 255);
                    let Some(TransportHeader::Icmpv6(icmp)) = read.transport else { panic!("no ICMPv6") };
                    let payload = read.payload.slice();
                    let right = Icmpv6Header::with_checksum(icmp.icmp_type, ip.source, ip.destination, payload);
                    prop_assert_eq!(icmp.checksum, right.unwrap().checksum);
                }
                NetHeaders::Ipv4(..) => prop_assert!(false, "IPv4 is never sent"),
            }
        }
    }
}
