//! Any bytes as a message: no panic, output in proportion, and what was written once is in normal form.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use openflow::{FrameText, Message};

fuzz_target!(|data: &[u8]| {
    let mut frame = data.to_vec();
    // A true length, so that every input gets past the header.
    let Ok(len) = u16::try_from(frame.len()) else { return };
    if let Some(field) = frame.get_mut(2..4) {
        field.copy_from_slice(&len.to_be_bytes());
    }
    let text = FrameText(&frame).to_string();
    assert!(text.len() < 1000 + frame.len() * 200, "{} bytes became {}", frame.len(), text.len());
    let Ok((header, message)) = Message::decode(&frame) else { return };
    let mut once = BytesMut::new();
    if message.encode(&header, &mut once).is_err() {
        return;
    }
    let (header, message) = Message::decode(&once).expect("our own bytes");
    let mut twice = BytesMut::new();
    message.encode(&header, &mut twice).expect("written before");
    assert_eq!(once, twice);
});
