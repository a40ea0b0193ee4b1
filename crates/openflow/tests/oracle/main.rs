//! The codec against Open vSwitch itself, both ways: the same bytes for the same text, the same text for the
//! same bytes.

#![expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests may panic")]

mod consistency;
mod groups;
mod messages;
mod mutations;
mod ovs;
mod packets;
mod random;

use std::fmt::Write as _;

use bytes::BytesMut;
use openflow::message::flow_mod::FlowMod;
use openflow::{Actions, Flow, Message, Version};

/// Text and bytes agree with Open vSwitch for every flow.
fn check(version: Version, flows: &[String]) {
    check_seeded(0, version, flows);
}

fn check_seeded(seed: u64, version: Version, flows: &[String]) {
    let theirs = ovs::flow_mods(version, flows);
    let printed = ovs::print(&theirs);
    let mut wrong = Vec::new();
    for ((text, bytes), printed) in flows.iter().zip(&theirs).zip(&printed) {
        if let Err(difference) = check_one(version, text, bytes, printed) {
            wrong.push(format!("{text}\n  ofctl: {printed}\n  {difference}"));
        }
    }
    let shown = wrong.len().min(12);
    assert!(
        wrong.is_empty(),
        "seed {seed}, OpenFlow {version}: {} of {} differ:\n{}",
        wrong.len(),
        flows.len(),
        wrong[..shown].join("\n")
    );
}

fn check_one(version: Version, text: &str, bytes: &[u8], printed: &str) -> Result<(), String> {
    if let Some(name) = printed.strip_prefix("***decode error: ").and_then(|rest| rest.strip_suffix("***")) {
        // Some bytes that ovs-ofctl sends Open vSwitch itself refuses. So do we, by the same name.
        return match Message::decode(bytes) {
            Err(error) if error.ofp_error().name() == name => Ok(()),
            Err(error) => Err(format!("refused with {}", error.ofp_error())),
            Ok(_) => Err(format!("accepted {}", hex(bytes))),
        };
    }
    let decoded = match Message::decode(bytes) {
        Ok((_, Message::FlowMod(decoded))) => decoded,
        Ok((_, other)) => return Err(format!("decoded as {other:?}")),
        Err(error) => return Err(format!("not decoded: {error} {}", hex(bytes))),
    };
    if decoded.to_string() != printed {
        return Err(format!("printed {decoded}"));
    }
    let xid = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    let encode = |m: &FlowMod| {
        let mut buf = BytesMut::new();
        m.encode(version, xid, &mut buf).map(|()| buf.to_vec()).map_err(|e| format!("not encoded: {e}"))
    };
    let again = encode(&decoded)?;
    if again != bytes {
        return Err(format!("re-encoded\n    {} not\n    {}", hex(&again), hex(bytes)));
    }
    let parsed = Flow::parse(text, version).map_err(|e| format!("not parsed: {e}"))?;
    let ours = encode(&FlowMod::add(parsed))?;
    if ours != bytes {
        return Err(format!("parsed into\n    {} not\n    {}", hex(&ours), hex(bytes)));
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn lines(text: &str) -> Vec<String> {
    let content = text.lines().map(|line| line.split_once(" #").map_or(line, |(flow, _)| flow).trim());
    content.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn the_guards_pipeline_is_the_same_both_ways() {
    check(Version::V15, &lines(include_str!("guard.txt")));
}

#[test]
fn every_match_field_is_the_same_both_ways() {
    for version in Version::ALL {
        check(version, &lines(include_str!("fields.txt")));
    }
}

#[test]
fn every_action_is_the_same_both_ways_in_1_5() {
    check(Version::V15, &lines(include_str!("actions.txt")));
}

#[test]
fn every_action_is_the_same_both_ways_in_1_3_and_1_4() {
    check(Version::V13, &lines(include_str!("actions.txt")));
    check(Version::V14, &lines(include_str!("actions.txt")));
}

#[test]
fn actions_of_openflow_1_1_are_read_and_leave_as_set_field() {
    let old = [
        "0001000800050000",
        "0002000803000000",
        "00030010010203040506000000000000",
        "00040010010203040506000000000000",
        "0005000801020304",
        "0006000801020304",
        "0007000804000000",
        "0008000801000000",
        "0009000800500000",
        "000a000800500000",
        "000d00080000000a",
        "000e000803000000",
        "0001000810000000",
        "0002000808000000",
        "0007000805000000",
        "0008000804000000",
        "000d000800100000",
        "000e000808000000",
        "0003000801020304",
        "000b000800000000",
    ];
    for (version, text) in Version::ALL.into_iter().flat_map(|version| old.map(|text| (version, text))) {
        let theirs = ovs::parse_actions(version, text);
        let bytes = messages::unhex(text);
        match Actions::from_wire(&bytes, version) {
            Ok(actions) if theirs.is_none() => {
                assert!(actions.as_ref().to_string().contains("unknown_action"), "{version} {text}");
            }
            Ok(actions) => {
                let written = Actions::for_version(version, actions.as_ref().iter()).unwrap();
                // The ports mean a field only beside a match.
                let kind = if matches!(bytes[1], 9 | 10) { bytes[1] } else { 25 };
                assert_eq!(written.as_ref().as_bytes()[1], kind, "{text}");
                assert_eq!(Some(actions.as_ref().to_string()), theirs, "{version} {text}");
            }
            Err(error) => assert_eq!(theirs, None, "{version} {text}: {error}"),
        }
    }
}

/// How many random flows each version gets; together more than 20,000.
const RANDOM_FLOWS: usize = 8_000;

#[test]
fn random_flows_are_the_same_both_ways() {
    // Another seed: OPENFLOW_SEED=… cargo test. The seed stands in the message of a failure.
    let seed = std::env::var("OPENFLOW_SEED").map_or(0x00c0_ffee, |seed| seed.parse().expect("a number"));
    for version in Version::ALL {
        let mut random = random::Random::new(seed ^ u64::from(version.wire()));
        let flows: Vec<String> = (0..RANDOM_FLOWS).map(|_| random.flow()).collect();
        check_seeded(seed, version, &flows);
    }
}

/// How many flow-mods with one flipped bit are judged.
const FLIPPED: usize = 6_000;

#[test]
fn one_flipped_bit_is_judged_as_open_vswitch_judges_it() {
    let seed = std::env::var("OPENFLOW_SEED").map_or(0x00c0_ffee, |seed| seed.parse().expect("a number"));
    let mut random = random::Random::new(seed);
    let flows: Vec<String> = (0..FLIPPED).map(|_| random.flow()).collect();
    let mut messages = ovs::flow_mods(Version::V15, &flows);
    for message in &mut messages {
        // Not in the header: that would desynchronise the stream of messages, not test one.
        let at = 8 + random.below(message.len() - 8);
        message[at] ^= 1 << random.below(8);
    }
    let mut wrong = Vec::new();
    for (bytes, printed) in messages.iter().zip(ovs::print(&messages)) {
        if let Err(difference) = judge(bytes, &printed) {
            wrong.push(format!("{difference}\n  ofctl: {printed}\n  {}", hex(bytes)));
        }
    }
    let shown = wrong.len().min(12);
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} of {FLIPPED} differ:\n{}",
        wrong.len(),
        wrong[..shown].join("\n")
    );
}

fn judge(bytes: &[u8], printed: &str) -> Result<(), String> {
    let ours = Message::decode_strict(bytes);
    let theirs = printed.strip_prefix("***decode error: ").and_then(|rest| rest.strip_suffix("***"));
    match (ours, theirs) {
        (Err(_), Some(_)) => Ok(()),
        (Ok(_), Some(_)) => Err("accepted what Open vSwitch refuses".to_owned()),
        (Err(error), None) => Err(format!("refused: {error}")),
        (Ok((_, Message::FlowMod(change))), None) if change.to_string() == printed => Ok(()),
        (Ok((_, other)), None) => Err(format!("printed {other:?}")),
    }
}
