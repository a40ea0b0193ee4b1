//! The line below a packet-in or packet-out: what Open vSwitch finds in the packet's headers, sound and broken ones.

use openflow::message::packet::PacketOut;
use openflow::{Actions, FrameText, Match, Version};

use crate::messages::unhex;
use crate::random::Random;
use crate::{hex, lines, ovs};

/// How many broken packets are compared.
const BROKEN: usize = 6_000;
/// Bytes that mean something in many places: protocols, the first bytes of types, lengths.
const TELLING: [u8; 16] = [0, 1, 2, 6, 17, 43, 44, 51, 58, 60, 132, 0x45, 0x81, 0x86, 0x88, 0xff];

/// A packet-out of 1.5 with this packet, whose type the match says.
fn frame(packet: &[u8], packet_type: &str) -> Vec<u8> {
    let actions = Actions::default();
    let metadata: Match = format!("{packet_type}in_port=1").parse().unwrap();
    let message = PacketOut {
        metadata: openflow::MatchCow::Owned(metadata),
        ..PacketOut::new(openflow::OfPort(1), &actions, packet)
    };
    let mut bytes = bytes::BytesMut::new();
    message.encode(Version::V15, 1, &mut bytes).unwrap();
    bytes.to_vec()
}

/// Flips bits, sets bytes, cuts the end off, and puts bytes in; mostly near the front.
fn break_some(packet: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        if packet.is_empty() {
            return;
        }
        let at = if random.below(2) == 0 { random.below(packet.len()) } else { 12 + random.below(12) };
        let at = at.min(packet.len() - 1);
        match random.below(5) {
            0 | 1 => packet[at] ^= 1 << random.below(8),
            2 => packet[at] = TELLING[random.below(TELLING.len())],
            3 => packet.truncate(at),
            _ => {
                let byte = TELLING[random.below(TELLING.len())];
                packet.splice(at..at, vec![byte; 1 + random.below(8)]);
            }
        }
    }
}

/// Prints all as Open vSwitch does.
fn check(seed: u64, frames: &[Vec<u8>]) {
    let theirs = ovs::print_whole(frames);
    for (frame, theirs) in frames.iter().zip(theirs) {
        assert_eq!(FrameText(frame).to_string(), theirs, "seed {seed}: {}", hex(frame));
    }
}

#[test]
fn packets_print_as_open_vswitch_prints_them() {
    let packets: Vec<Vec<u8>> = lines(include_str!("packets.txt")).iter().map(|text| unhex(text)).collect();
    let mut frames: Vec<Vec<u8>> = packets.iter().map(|packet| frame(packet, "")).collect();
    for packet_type in
        ["(1,0x800)", "(1,0x86dd)", "(1,0x806)", "(1,0x8847)", "(1,0x894f)", "(1,0x1234)", "(0,1)"]
    {
        let start = |packet: &Vec<u8>| packet.get(14..).unwrap_or_default().to_vec();
        let typed = format!("packet_type={packet_type},");
        frames.extend(packets.iter().map(|packet| frame(&start(packet), &typed)));
    }
    check(0, &frames);
}

#[test]
fn broken_packets_print_as_open_vswitch_prints_them() {
    let seed = std::env::var("OPENFLOW_SEED").map_or(0x00c0_ffee, |seed| seed.parse().expect("a number"));
    let mut random = Random::new(seed);
    let packets: Vec<Vec<u8>> = lines(include_str!("packets.txt")).iter().map(|text| unhex(text)).collect();
    let frames: Vec<Vec<u8>> = (0..BROKEN)
        .map(|_| {
            let mut packet = packets[random.below(packets.len())].clone();
            break_some(&mut packet, &mut random);
            frame(&packet, "")
        })
        .collect();
    check(seed, &frames);
}
