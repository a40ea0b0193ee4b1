//! What fuzzing found once is answered: every file of `fuzz/corpus` goes through what its target checks.

use std::path::Path;

use bytes::BytesMut;
use openflow::message::group::{GroupCommand, GroupMod};
use openflow::message::meter::{MeterCommand, MeterMod};
use openflow::{Actions, Flow, FrameText, Match, Message, Version, frame_error};

/// Calls `check` with the content of each file of a target's corpus.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        check(&std::fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0, "the corpus of {target} is empty");
}

#[test]
fn messages_of_the_corpus_have_one_normal_form() {
    replay("messages", |data| {
        let mut frame = data.to_vec();
        let len = u16::try_from(frame.len()).unwrap();
        if let Some(field) = frame.get_mut(2..4) {
            field.copy_from_slice(&len.to_be_bytes());
        }
        drop(FrameText(&frame).to_string());
        let Ok((header, message)) = Message::decode(&frame) else {
            assert!(frame_error(&frame).is_some());
            return;
        };
        let mut once = BytesMut::new();
        if message.encode(&header, &mut once).is_ok() {
            let (header, message) = Message::decode(&once).unwrap();
            let mut twice = BytesMut::new();
            message.encode(&header, &mut twice).unwrap();
            assert_eq!(once, twice);
        }
    });
}

#[test]
fn texts_of_the_corpus_print_as_they_parse() {
    replay("text", |data| {
        let text = String::from_utf8_lossy(data);
        if let Ok(flow) = text.parse::<Flow>() {
            // What is printed settles, and Open vSwitch does not take back all that it prints either.
            let printed = |text: &str| text.parse::<Flow>().map(|flow| flow.to_string());
            match printed(&flow.to_string()) {
                Ok(once) => assert_eq!(printed(&once), Ok(once), "{text}"),
                Err(error) => assert!(error.reason.contains("cannot be masked"), "{text}: {error}"),
            }
        }
        drop(text.parse::<Match>());
        for version in Version::ALL {
            drop(Actions::parse(&text, version));
            drop(GroupMod::parse(&text, GroupCommand::Add, version));
        }
        drop(MeterMod::parse(&text, MeterCommand::Add));
    });
}
