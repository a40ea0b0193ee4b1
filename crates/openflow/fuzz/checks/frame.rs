//! What holds for any frame: fuzzing, the replay of its corpus and the property tests ask the same.

use bytes::BytesMut;
use openflow::{FrameText, Message};

/// Prints a frame, and writes it again if it can be read.
pub(crate) fn walk(frame: &[u8]) {
    let text = FrameText(frame).to_string();
    // Output is in proportion to input: a byte becomes at most a few words of text.
    assert!(text.len() < 1000 + frame.len() * 200, "{} bytes became {}", frame.len(), text.len());
    let Ok((header, message)) = Message::decode(frame) else { return };
    let mut once = BytesMut::new();
    if message.encode(&header, &mut once).is_err() {
        return;
    }
    // What was written is in normal form.
    let (header, message) = Message::decode(&once).expect("our own bytes");
    let mut twice = BytesMut::new();
    message.encode(&header, &mut twice).expect("written before");
    assert_eq!(once, twice);
}
