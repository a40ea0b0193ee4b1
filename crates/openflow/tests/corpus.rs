//! What fuzzing found once is answered: every file of `fuzz/corpus` goes through what its target checks.

use std::path::Path;

use openflow::{Message, frame_error};

#[path = "../fuzz/checks/frame.rs"]
mod frame;
#[path = "../fuzz/checks/text.rs"]
mod text;

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
        if Message::decode(&frame).is_err() {
            assert!(frame_error(&frame).is_some());
        }
        frame::walk(&frame);
    });
}

#[test]
fn texts_of_the_corpus_print_as_they_parse() {
    replay("text", |data| text::walk(&String::from_utf8_lossy(data)));
}
