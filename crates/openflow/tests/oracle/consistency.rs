//! Whether actions fit a match, and each other: every pair of two lists gets Open vSwitch's own verdict, by name.

use openflow::message::flow_mod::FlowMod;
use openflow::{FlowText, Version, frame_error};

use crate::{hex, lines, ovs};

#[test]
fn what_does_not_fit_is_refused_as_open_vswitch_refuses_it() {
    let text = include_str!("consistency.txt");
    let (matches, actions) = text.split_once("---").unwrap();
    let actions = lines(actions);
    let mut frames = Vec::new();
    for version in [Version::V13, Version::V15] {
        for (matching, actions) in lines(matches).iter().flat_map(|m| actions.iter().map(move |a| (m, a))) {
            let text = format!("{},actions={actions}", matching.replace('*', "table=0"));
            let flow = FlowText::parse(&text, version).unwrap_or_else(|error| panic!("{text}: {error}")).flow;
            let mut bytes = bytes::BytesMut::new();
            // Some actions exist in 1.5 only.
            if FlowMod::add(flow).encode(version, 1, &mut bytes).is_ok() {
                frames.push((text, bytes.to_vec()));
            }
        }
    }
    let (texts, frames): (Vec<String>, Vec<Vec<u8>>) = frames.into_iter().unzip();
    for ((text, frame), theirs) in texts.iter().zip(&frames).zip(ovs::print_whole(&frames)) {
        let refused =
            theirs.split_once("***decode error: ").map(|(_, rest)| rest.split_once("***").unwrap().0);
        assert_eq!(frame_error(frame).map(openflow::ErrorCode::name), refused, "{text}: {}", hex(frame));
    }
}
