//! Frames that a story sends by hand: honest markers, and what a hostile pod would try.
//!
//! Each hostile frame is well-formed but for its one lie, so it dies for that and nothing else. The full corpus, on
//! which both walls must agree, lives with the programs; this is the short list that a person understands.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{PacketBuilder, PacketBuilderStep, UdpHeader, VlanId};

use crate::control::Reason;
use crate::pod::Pod;
use crate::wire::{Mac, arp};

/// The hop limit that every neighbour discovery message must have (RFC 4861).
const HOP_LIMIT: u8 = 255;

/// ff02::1, every host on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Every host, on Ethernet.
const BROADCAST: Mac = Mac([0xff; 6]);

/// A MAC that nobody in a lab has.
const NOBODY: Mac = Mac([0x02, 0, 0x5e, 0, 0x53, 0xee]);

/// An address that nobody in a lab has.
const NOBODYS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 251);

/// What tells the frames of a story from the noise of the kernel's own.
const PAYLOAD: &[u8] = b"underpass story";

/// Who a frame says it is from, or is for.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Ethernet.
    pub mac: Mac,
    /// IPv4.
    pub v4: Ipv4Addr,
    /// IPv6.
    pub v6: Ipv6Addr,
}

impl Identity {
    /// A dual-stack pod as it is.
    #[track_caller]
    pub fn of(pod: &Pod<'_>) -> Self {
        let (IpAddr::V4(v4), IpAddr::V6(v6)) = (pod.v4(), pod.v6()) else {
            unreachable!("v4 and v6 each give their own family");
        };
        Self { mac: pod.mac(), v4, v6 }
    }
}

/// A frame that may not pass.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// What the pod pretends, as a person would say it.
    pub pretends: &'static str,
    /// Under which reason it must be counted.
    pub reason: Reason,
    /// The bytes.
    pub frame: Vec<u8>,
}

/// One frame for each thing that `attacker` might pretend towards `victim`, behind whose back `gateway` stands.
pub fn hostile(attacker: Identity, victim: Identity, gateway: Ipv4Addr) -> Vec<Hostile> {
    let entry = |pretends, reason, frame| Hostile { pretends, reason, frame };
    let lie_v6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xbad);
    vec![
        entry("another MAC", Reason::Mac, udp(Identity { mac: NOBODY, ..attacker }, victim, (7, 7))),
        entry(
            "another IPv4 address",
            Reason::Ipv4,
            udp(Identity { v4: NOBODYS, ..attacker }, victim, (7, 7)),
        ),
        entry(
            "another IPv6 address",
            Reason::Ipv6,
            udp6(Identity { v6: lie_v6, ..attacker }, victim, (7, 7)),
        ),
        entry(
            "to be the gateway, by ARP",
            Reason::Arp,
            arp(2, (attacker.mac, gateway), (victim.mac, victim.v4), None),
        ),
        entry("to be a neighbour, by ND", Reason::Nd, advertisement(attacker.mac, attacker.v6, lie_v6)),
        entry("a VLAN of its own choice", Reason::Vlan, tagged_udp(attacker, victim, VlanId::ZERO)),
        entry("to be a DHCP server", Reason::Dhcp4Server, udp(attacker, victim, (67, 68))),
        entry("to be a DHCPv6 server", Reason::Dhcp6Server, udp6(attacker, victim, (547, 546))),
        entry("to be an IPv6 router", Reason::Router, router_advertisement(attacker)),
        entry("to be an IPv4 router", Reason::Router, redirect(attacker, victim)),
        entry(
            "to be a bridge",
            Reason::Linklocal,
            ethernet(Mac([0x01, 0x80, 0xc2, 0, 0, 0]), attacker.mac, 0x0800),
        ),
        entry("an ethertype of its own", Reason::Ethertype, ethernet(BROADCAST, attacker.mac, 0x8035)),
    ]
}

/// An honest datagram.
pub fn udp(from: Identity, to: Identity, ports: (u16, u16)) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.mac.0, to.mac.0);
    written(builder.ipv4(from.v4.octets(), to.v4.octets(), 64).udp(ports.0, ports.1))
}

/// "`address` is here": what a host sends that takes an address (RFC 4861 section 7.2.6), override flag set.
pub fn unsolicited_advertisement(sender: Mac, address: Ipv6Addr) -> Vec<u8> {
    advertisement(sender, address, address)
}

fn udp6(from: Identity, to: Identity, ports: (u16, u16)) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.mac.0, to.mac.0);
    written(builder.ipv6(from.v6.octets(), to.v6.octets(), 64).udp(ports.0, ports.1))
}

fn tagged_udp(from: Identity, to: Identity, vlan: VlanId) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.mac.0, to.mac.0).single_vlan(vlan);
    written(builder.ipv4(from.v4.octets(), to.v4.octets(), 64).udp(7, 7))
}

fn advertisement(sender: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let body = [&target.octets()[..], &[2, 1], &sender.0].concat();
    icmp6(sender, source, (136, [0x20, 0, 0, 0]), &body)
}

fn router_advertisement(sender: Identity) -> Vec<u8> {
    icmp6(sender.mac, sender.v6, (134, [64, 0, 0x07, 0x08]), &[0; 8])
}

/// "Reach me by another gateway" (RFC 792), quoting a datagram of the victim's.
fn redirect(from: Identity, to: Identity) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(from.mac.0, to.mac.0).ipv4(from.v4.octets(), to.v4.octets(), 64);
    let quoted = &udp(to, from, (7, 7))[14..42];
    builder.icmpv4_raw(5, 1, from.v4.octets()).write(&mut frame, quoted).expect("a Vec takes every write");
    frame
}

/// An ICMPv6 message to every host on the link, its checksum filled in.
fn icmp6(sender: Mac, source: Ipv6Addr, head: (u8, [u8; 4]), body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(sender.0, [0x33, 0x33, 0, 0, 0, 1])
        .ipv6(source.octets(), ALL_NODES.octets(), HOP_LIMIT)
        .icmpv6_raw(head.0, 0, head.1)
        .write(&mut frame, body)
        .expect("a Vec takes every write");
    frame
}

fn ethernet(to: Mac, from: Mac, ethertype: u16) -> Vec<u8> {
    [&to.0[..], &from.0, &ethertype.to_be_bytes(), &[0x45; 46]].concat()
}

fn written(builder: PacketBuilderStep<UdpHeader>) -> Vec<u8> {
    let mut frame = Vec::new();
    builder.write(&mut frame, PAYLOAD).expect("a Vec takes every write");
    frame
}
