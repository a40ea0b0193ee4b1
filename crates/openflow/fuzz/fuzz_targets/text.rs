//! Any text as a flow, a match, actions, a group, a meter: no panic, and what prints parses into itself.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/text.rs"]
mod text;

fuzz_target!(|data: &str| text::walk(data));
