//! OpenFlow 1.3, 1.4 and 1.5 with the Nicira and Open vSwitch extensions: bytes, values and `ovs-ofctl`'s text.
//!
//! Sans-IO: bytes come in through [`next_frame`] and [`Message::decode`], and go out into a buffer of the caller.
//! There is no connection here, no clock and no runtime.
//!
//! **The wire form is the memory form.** A [`Match`] and [`Instructions`] are byte strings in Open vSwitch's normal
//! form, validated once on the way in. Encoding copies them, equality compares them, printing walks them; a dump
//! of flows is compared with the flows that should be there without allocating ([`FlowStats::is`]).
//!
//! ```
//! use bytes::BytesMut;
//! use openflow::message::flow_mod::FlowMod;
//! use openflow::{Action, Flow, Match, OfPort, TableId, Version};
//!
//! // A flow in code …
//! let flow = Flow::new(TableId(221))
//!     .priority(200)
//!     .cookie(0x5550_0110_0000_0001)
//!     .matching(Match::new().arp().in_port(OfPort(4)).arp_op(1))
//!     .apply([Action::load_reg(0, 0, 15, 7)])
//!     .goto(TableId(229));
//!
//! // … in text, both ways …
//! let text = "cookie=0x5550011000000001,table=221,priority=200,arp,in_port=4,arp_op=1 \
//!             actions=set_field:0x7/0xffff->reg0,goto_table:229";
//! assert_eq!(flow.to_string(), text);
//! assert_eq!(text.parse::<Flow>()?, flow);
//!
//! // … and in bytes: 1.5, a flow-mod of 104 bytes with xid 9.
//! let mut bytes = BytesMut::new();
//! FlowMod::add(flow).encode(Version::V15, 9, &mut bytes)?;
//! assert_eq!(bytes[..8], [6, 14, 0, 104, 0, 0, 0, 9]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Versions.** The version travels with the reader and the writer and is asked only where the wire differs.
//! OpenFlow 1.0 to 1.2 are refused ("version 0x1 is not supported"): their matches have another structure, no
//! bridge needs them, and Open vSwitch cannot even print all flows of today in them. In memory matches have 1.5's
//! form, where registers travel in pairs; actions have the form of the version they came in ([`Flow::parse`]
//! takes a version for that reason) and are translated when they leave in another.
//!
//! **Hostile input.** No function of this crate panics, whatever the bytes or the text: there is no indexing, no
//! unchecked arithmetic and no `unsafe`. Every structure's length is checked before its content is read, nesting
//! is bounded ([`limits`]), and decoding allocates only to bring bytes into normal form that are not in it.
//! [`DecodeError::ofp_error`] says which error Open vSwitch would answer.
//!
//! **Unknown things survive.** Fields, actions, instructions, properties and messages that the codec does not
//! know are kept raw and print in hexadecimal. Open vSwitch refuses most of them: [`Message::decode_strict`] does so, too,
//! and [`frame_error`] names the error that it would answer.
//!
//! **Ports have names** in text if somebody says which: [`PortNames`] for reading ([`FlowText::parse_named`],
//! [`message::group::GroupMod::parse_named`]) and for printing ([`Named`]), as `ovs-ofctl --names` does.
//!
//! **Where to add things.** A field is one row of `field/table.rs`; an error is one row of `error_code/table.rs`;
//! an action is a variant of [`Action`] with one arm each in `action/read.rs` or `action/nicira.rs`,
//! `action/write.rs`, `text/action_out.rs` and `text/action_in.rs`; a message is a file under `message/` and one under
//! `text/message_out/`; an entry of a multipart reply is a type that is a [`message::entries::Entry`].
//! How long a message can be stands in `message/shape.rs`.
#![forbid(unsafe_code)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::panic
)]

mod action;
mod cursor;
mod error;
mod error_code;
mod field;
mod flow;
mod instruction;
pub mod limits;
mod matching;
pub mod message;
mod oxm;
mod text;
mod types;
mod writer;

pub use action::{
    Action, ActionIter, Actions, ActionsRef, Controller, Ct, CtZone, Encap, EncapProperties, EncapProperty,
    EncapPropertyIter, Learn, LearnSource, LearnSpec, LearnSpecIter, LearnSpecs, LearnTarget, MemberBundle,
    Multipath, Nat, NatKind, NatRange, OldSet, Resubmit, Sample, SampleDirection, Subfield,
};
pub use cursor::Reader;
pub use error::{DecodeError, EncodeError, Malformed, ParseError};
pub use error_code::{ErrorCode, UnknownErrorName, WireError};
pub use field::{Field, Format, Header as FieldHeader, Prereq};
pub use flow::{
    DEFAULT_PRIORITY, Flow, FlowEntry, FlowFlags, FlowKey, FlowKeyRef, FlowStats, FlowStatsIter, Oxs,
};
pub use instruction::{Instruction, InstructionIter, Instructions, InstructionsCow, InstructionsRef};
pub use matching::{Ipv4Match, Ipv6Match, Match, MatchCow, MatchRef, Tlvs};
pub use message::{
    EmptyMessage, Header, Message, encode_echo_reply, encode_echo_request, encode_empty, encode_raw,
    next_frame,
};
pub use oxm::Tlv;
pub use text::{FlowText, FrameText, Named, PortNames, frame_error};
pub use types::{BadMac, BadPort, Mac, OfPort, TableId, Version};
pub use writer::{Pad, Writer};

/// The examples of the README are doctests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
