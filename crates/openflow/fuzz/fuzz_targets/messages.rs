//! Any bytes as a message: no panic, output in proportion, and what was written once is in normal form.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/frame.rs"]
mod frame;

fuzz_target!(|data: &[u8]| {
    let mut frame = data.to_vec();
    // A true length, so that every input gets past the header.
    let Ok(len) = u16::try_from(frame.len()) else { return };
    if let Some(field) = frame.get_mut(2..4) {
        field.copy_from_slice(&len.to_be_bytes());
    }
    frame::walk(&frame);
});
