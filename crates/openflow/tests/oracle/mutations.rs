//! Thousands of broken messages of every kind: the verdict, and mostly the text, are those of Open vSwitch.

use openflow::message::flow_mod::FlowModCommand;
use openflow::{FlowText, FrameText, Version, frame_error};

use crate::messages::unhex;
use crate::random::Random;
use crate::{hex, lines, ovs};

/// How many messages are broken and judged.
const BROKEN: usize = 10_000;
/// How many of them may get another verdict than Open vSwitch's, and how many another text. Known to differ: entries
/// behind the first that cannot be read, unknown properties, and which of several mistakes
/// is named.
const OTHER_VERDICT: usize = BROKEN / 100;
const OTHER_TEXT: usize = BROKEN * 4 / 100;

/// Whole messages of every kind, and flow-mods with every field and action.
fn sound() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = lines(include_str!("messages.txt")).iter().map(|text| unhex(text)).collect();
    all.retain(|message| message.len() > 8 && message[0] >= 4);
    let flows = [include_str!("actions.txt"), include_str!("fields.txt"), include_str!("guard.txt")];
    for (version, text) in
        Version::ALL.into_iter().flat_map(|v| flows.map(lines).concat().into_iter().map(move |t| (v, t)))
    {
        let Ok(flow) = FlowText::parse(&text, version) else { continue };
        let mut bytes = bytes::BytesMut::new();
        if flow.into_mod(FlowModCommand::Add).encode(version, 1, &mut bytes).is_ok() {
            all.push(bytes.to_vec());
        }
    }
    all
}

/// Flips a bit, sets a byte, cuts the end off or changes a length; the header's length stays true.
fn break_one(message: &mut Vec<u8>, random: &mut Random) {
    let at = 8 + random.below(message.len() - 8);
    match random.below(5) {
        0 | 1 => message[at] ^= 1 << random.below(8),
        2 => message[at] = [0, 1, 2, 4, 8, 16, 24, 127, 128, 255][random.below(10)],
        3 => message.truncate(at),
        _ => {
            let even = at & !1;
            let by = [1_u16, 4, 8, 16, 0xfff8, 0xffff][random.below(6)];
            if let Some(field) = message.get_mut(even..even + 2) {
                let old = u16::from_be_bytes([field[0], field[1]]);
                field.copy_from_slice(&old.wrapping_add(by).to_be_bytes());
            }
        }
    }
    let len = u16::try_from(message.len()).unwrap().to_be_bytes();
    message[2..4].copy_from_slice(&len);
}

#[test]
fn broken_messages_are_judged_as_open_vswitch_judges_them() {
    let seed = std::env::var("OPENFLOW_SEED").map_or(0x00c0_ffee, |seed| seed.parse().expect("a number"));
    let mut random = Random::new(seed);
    let sound = sound();
    let broken: Vec<Vec<u8>> = (0..BROKEN)
        .map(|_| {
            let mut message = sound[random.below(sound.len())].clone();
            break_one(&mut message, &mut random);
            message
        })
        .collect();
    let (mut verdicts, mut texts) = (Vec::new(), 0);
    for (message, theirs) in broken.iter().zip(ovs::print_whole(&broken)) {
        let ours = FrameText(message).to_string();
        if frame_error(message).is_some() != theirs.contains("***decode error") {
            verdicts.push(format!("{}\n  theirs: {theirs}  ours: {ours}", hex(message)));
        } else if ours != theirs {
            texts += 1;
        }
    }
    let shown = verdicts.len().min(12);
    assert!(
        verdicts.len() <= OTHER_VERDICT,
        "seed {seed}: {}\n{}",
        verdicts.len(),
        verdicts[..shown].join("\n")
    );
    assert!(texts <= OTHER_TEXT, "seed {seed}: {texts} of {BROKEN} texts differ");
}
