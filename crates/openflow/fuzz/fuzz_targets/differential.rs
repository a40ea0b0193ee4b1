//! Any bytes as a flow-mod, judged and printed as the installed `ovs-ofctl` does. Slow: one process an input.
#![no_main]

use std::process::Command;

use libfuzzer_sys::fuzz_target;
use openflow::{FrameText, frame_error};

fuzz_target!(|data: &[u8]| {
    let Ok(len) = u16::try_from(data.len().saturating_add(8)) else { return };
    let [high, low] = len.to_be_bytes();
    let frame = [&[6, 14, high, low, 0, 0, 0, 1][..], data].concat();
    let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    let args = ["--no-names", "-vconsole:off", "ofp-print", &hex];
    let output = Command::new("ovs-ofctl").args(args).output().expect("ovs-ofctl must be installed");
    let theirs = String::from_utf8_lossy(&output.stdout).into_owned();
    let ours = FrameText(&frame).to_string();
    // What is unknown is kept here and refused there.
    let kept = [
        "BAD_FIELD",
        "BAD_TYPE",
        "BAD_VENDOR",
        "UNKNOWN_INST",
        "UNSUP_INST",
        "BAD_EXPERIMENTER",
    ];
    if ours.contains("unknown_") || kept.iter().any(|name| theirs.contains(name)) {
        return;
    }
    assert_eq!(theirs.contains("***decode error"), frame_error(&frame).is_some(), "{theirs}{ours}");
    if !theirs.contains("***") {
        assert_eq!(theirs, ours);
    }
});
