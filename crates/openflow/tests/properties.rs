//! Whatever the bytes and the text, the codec answers; and what it made itself it understands.

use bytes::BytesMut;
use openflow::message::flow_mod::FlowMod;
use openflow::{Action, Actions, Field, Flow, Mac, Match, Message, OfPort, TableId, Version, next_frame};
use proptest::prelude::*;

#[path = "../fuzz/checks/frame.rs"]
mod checks;

use checks::walk;

/// A frame with a true header around any body.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    (4..7_u8, 0..36_u8, proptest::collection::vec(any::<u8>(), 0..300)).prop_map(|(version, kind, body)| {
        let len = u16::try_from(body.len() + 8).unwrap();
        [&[version, kind][..], &len.to_be_bytes(), &[0, 0, 0, 1], &body].concat()
    })
}

/// A multipart whose beginning is sound, so that the deeper readers are reached.
fn deep_frame() -> impl Strategy<Value = Vec<u8>> {
    let sides = prop_oneof![Just(18_u8), Just(19)];
    (4..7_u8, sides, 0..18_u16, proptest::collection::vec(any::<u8>(), 0..300)).prop_map(
        |(version, side, kind, body)| {
            let len = u16::try_from(body.len() + 16).unwrap();
            let head =
                [&[version, side][..], &len.to_be_bytes(), &[0, 0, 0, 1], &kind.to_be_bytes(), &[0; 6]]
                    .concat();
            [head, body].concat()
        },
    )
}

/// A message that Open vSwitch made, with some bytes changed and its end cut off.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let corpus = include_str!("oracle/messages.txt").lines().filter(|line| !line.starts_with('#'));
    let frames: Vec<Vec<u8>> = corpus.map(unhex).filter(|frame| frame.len() > 8).collect();
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (prop::sample::select(frames), changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut frame, changes, end, is_cut)| {
            for (at, byte) in changes {
                let at = 4 + at.index(frame.len() - 4);
                frame[at] = byte;
            }
            if is_cut {
                frame.truncate(8 + end.index(frame.len() - 7));
            }
            let len = u16::try_from(frame.len()).unwrap().to_be_bytes();
            frame[2..4].copy_from_slice(&len);
            frame
        },
    )
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(|at| digit(at).expect("hexadecimal")).collect()
}

fn flow() -> impl Strategy<Value = Flow> {
    let parts = (any::<u8>(), any::<u16>(), any::<u64>(), any::<[u8; 6]>(), any::<u32>(), any::<u32>());
    (parts, 0..16_u8, 1..60000_u32).prop_map(|((table, priority, cookie, mac, value, mask), reg, port)| {
        // Table 255 is all of them, where no flow can be added.
        Flow::new(TableId(table.min(254)))
            .priority(priority)
            .cookie(cookie)
            .matching(
                Match::new()
                    .udp()
                    .in_port(OfPort(port))
                    .dl_src(Mac(mac))
                    .reg(reg, value, mask)
                    .tp_src(value_16(value)),
            )
            .apply([
                Action::SetField {
                    field: Field::Metadata,
                    value: u128::from(cookie),
                    mask: u128::from(mask),
                },
                Action::load_reg(reg, 0, 15, value),
                Action::output(OfPort(port)),
            ])
            .goto(TableId(table))
    })
}

fn value_16(value: u32) -> u16 {
    u16::try_from(value & 0xffff).unwrap()
}

proptest! {
    #[test]
    fn any_frame_is_answered(frame in frame()) {
        walk(&frame);
    }

    #[test]
    fn any_reply_is_answered(frame in deep_frame()) {
        walk(&frame);
    }

    #[test]
    fn any_damaged_message_is_answered(frame in mutated()) {
        walk(&frame);
    }

    #[test]
    fn any_stream_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut stream = BytesMut::from(&bytes[..]);
        while let Ok(Some(frame)) = next_frame(&mut stream) {
            walk(&frame);
        }
    }

    #[test]
    fn any_text_is_answered(text in "[a-z_]{0,9}[=:(]?[0-9a-fx:./()>,\\[\\]-]{0,20}[, ]?(actions=)?[a-z_]{0,9}[:(=]?[0-9a-zA-Z_:.,()>\\[\\]-]{0,30}") {
        if let Ok(flow) = text.parse::<Flow>() {
            prop_assert_eq!(flow.to_string().parse::<Flow>(), Ok(flow));
        }
        drop(text.parse::<Match>());
        drop(Actions::parse(&text, Version::V13));
    }

    #[test]
    fn print_and_parse_are_inverse(flow in flow()) {
        prop_assert_eq!(flow.to_string().parse::<Flow>(), Ok(flow));
    }

    #[test]
    fn encode_and_decode_are_inverse(flow in flow(), xid: u32) {
        let mut buf = BytesMut::new();
        let change = FlowMod::add(flow);
        change.encode(Version::V15, xid, &mut buf).unwrap();
        let (header, message) = Message::decode(&buf).unwrap();
        prop_assert_eq!(header.xid, xid);
        let Message::FlowMod(decoded) = message else { panic!("{message:?}") };
        prop_assert_eq!(decoded, change);
    }

    #[test]
    fn the_order_of_building_does_not_matter(a: u32, b: u32, mask: u32, port in 1..60000_u32) {
        let fields = [
            (Field::Reg3, u128::from(a), u128::from(mask)),
            (Field::Reg2, u128::from(b), u128::MAX),
            (Field::InPort, u128::from(port), u128::MAX),
            (Field::EthType, 0x0800, u128::MAX),
            (Field::Ipv4Dst, u128::from(a), u128::from(mask)),
        ];
        let build = |list: &mut dyn Iterator<Item = (Field, u128, u128)>| {
            list.fold(Match::new(), |m, (field, value, mask)| m.with(field, value, mask))
        };
        let forward = build(&mut fields.into_iter());
        prop_assert_eq!(&forward, &build(&mut fields.into_iter().rev()));
        prop_assert_eq!(Match::from_oxm(forward.as_bytes()), Ok(forward));
    }
}
