//! Under construction: see the commits that follow.
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
    Action, ActionIter, Actions, ActionsRef, Controller, Ct, CtZone, Nat, NatKind, NatRange, Resubmit,
    Sample, SampleDirection, Subfield,
};
pub use cursor::Reader;
pub use error::{DecodeError, EncodeError, Malformed, ParseError};
pub use error_code::{ErrorCode, UnknownErrorName, WireError};
pub use field::{Field, Format, Header as FieldHeader, Prereq};
pub use flow::{DEFAULT_PRIORITY, Flow, FlowEntry, FlowFlags, FlowKey, FlowKeyRef, FlowStats, FlowStatsIter};
pub use instruction::{Instruction, InstructionIter, Instructions, InstructionsCow, InstructionsRef};
pub use matching::{Ipv4Match, Ipv6Match, Match, MatchCow, MatchRef, Tlvs};
pub use message::{
    EmptyMessage, Header, Message, encode_echo_reply, encode_echo_request, encode_empty, encode_raw,
    next_frame,
};
pub use oxm::Tlv;
pub use text::FlowText;
pub use types::{BadMac, BadPort, Mac, OfPort, TableId, Version};
pub use writer::{Pad, Writer};
