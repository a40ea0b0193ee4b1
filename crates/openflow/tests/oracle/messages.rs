//! Whole messages: the text that `ovs-ofctl ofp-print` gives, the name of the error where it refuses, and the same bytes when
//! they are written again.

use bytes::BytesMut;
use openflow::{FrameText, Message, frame_error};

use crate::{hex, lines, ovs};

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|c| u8::try_from(c.to_digit(16).expect("hex")).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// What resumes the journey of a packet is opaque here and not printed.
fn without_continuation(text: &str) -> String {
    let kept = |line: &&str| !line.starts_with(" continuation.");
    text.lines().filter(kept).fold(String::new(), |text, line| text + line + "\n")
}

fn check(frame: &[u8], theirs: &str) -> Result<(), String> {
    let ours = FrameText(frame).to_string();
    if ours != without_continuation(theirs) {
        return Err(format!("theirs:\n{theirs}ours:\n{ours}"));
    }
    // A message inside may be refused where the one around it is not.
    let first = theirs.lines().next().unwrap_or_default();
    let refused =
        first.split_once("***decode error: ").map(|(_, rest)| rest.split_once("***").unwrap_or_default().0);
    if frame_error(frame).map(openflow::ErrorCode::name) != refused {
        return Err(format!("error {:?} not {refused:?}", frame_error(frame)));
    }
    if let Ok((header, message)) = Message::decode(frame) {
        let mut again = BytesMut::new();
        match message.encode(&header, &mut again) {
            Ok(()) if again[..] == *frame || refused.is_some() => {}
            Ok(()) => return Err(format!("{}written again\n  {}", theirs, hex(&again))),
            Err(_) if refused.is_some() => {}
            Err(error) => return Err(format!("not written again: {error}")),
        }
    }
    Ok(())
}

#[test]
fn messages_of_every_kind_print_and_survive_as_open_vswitch_has_them() {
    let mut wrong = Vec::new();
    let all = lines(include_str!("messages.txt"));
    for text in &all {
        if let Err(difference) = check(&unhex(text), &ovs::ofp_print(text)) {
            wrong.push(format!("{text}\n{difference}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

#[test]
fn nicira_s_write_metadata_is_read_and_leaves_as_the_instruction() {
    let frames = [
        "060e007800000001000000000000000000000000000000000000000000008000ffffffffffffffffffffffff00000000\
         0001000400000000000400380000000000000010000000010000000000000000ffff0020000023200016000000000000\
         00000000000000070000000000000fff0001000805000000",
        "040e006800000001000000000000000000000000000000000000000000008000ffffffffffffffffffffffff00000000\
         000100040000000000060008000000050004002800000000ffff00200000232000160000000000000000000000000007\
         0000000000000fff",
        "060e006000000001000000000000000000000000000000000000000000008000ffffffffffffffffffffffff00000000\
         00010004000000000004002800000000ffff00200000232000160000000000000000000000000007ffffffffffffffff",
        "060e006000000001000000000000000000000000000000000000000000008000ffffffffffffffffffffffff00000000\
         00010004000000000004002800000000ffff002000002320001600000000000000000000000000000000000000000000",
    ];
    for text in frames {
        let theirs = ovs::ofp_print(text);
        let frame = unhex(text);
        assert_eq!(FrameText(&frame).to_string(), theirs);
        let (header, message) = Message::decode(&frame).unwrap();
        let mut again = BytesMut::new();
        message.encode(&header, &mut again).unwrap();
        assert_eq!(ovs::ofp_print(&hex(&again)), theirs);
        // The instruction is shorter than the action.
        assert!(again.len() < frame.len());
    }
}
