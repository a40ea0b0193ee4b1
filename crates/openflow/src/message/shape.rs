//! How long a message of each kind can be: its fixed part, and the steps in which it grows.
//!
//! Owns these numbers for all kinds that Open vSwitch 3.1 knows. A message of another length is refused before anything
//! in it is read, so nothing else in it is named as the mistake. Lengths count what follows the 8-byte header.

#![expect(clippy::match_same_arms, reason = "a table: each kind has its line")]

use super::multipart;
use super::{
    BUNDLE_ADD, BUNDLE_CONTROL, EXPERIMENTER, FEATURES_REPLY, FLOW_MOD, FLOW_REMOVED, GET_ASYNC_REPLY,
    GET_CONFIG_REPLY, GROUP_MOD, METER_MOD, MULTIPART_REPLY, MULTIPART_REQUEST, NICIRA, NXT_PACKET_IN,
    NXT_PACKET_IN2, ONF, ONF_BUNDLE_ADD, ONF_BUNDLE_CONTROL, ONF_MONITOR_CANCEL, ONF_MONITOR_PAUSED,
    ONF_MONITOR_RESUMED, PACKET_IN, PACKET_OUT, PORT_MOD, PORT_STATUS, QUEUE_GET_CONFIG_REPLY,
    QUEUE_GET_CONFIG_REQUEST, REQUEST_FORWARD, ROLE_REPLY, ROLE_REQUEST, ROLE_STATUS, SET_ASYNC, SET_CONFIG,
    TABLE_MOD, TABLE_STATUS,
};
use crate::types::Version;

/// A length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Always this long.
    Exactly(usize),
    /// This long, or longer by a multiple of the other number.
    From(usize, usize),
}
use Shape::{Exactly, From};

/// Whether a message of this kind can have this body; kinds that Open vSwitch does not know can have any.
pub(super) fn is_possible(version: Version, kind: u8, body: &[u8]) -> bool {
    let shape = match kind {
        MULTIPART_REQUEST => of_request(version, body),
        MULTIPART_REPLY => of_reply(version, body),
        EXPERIMENTER => of_experimenter(version, body),
        _ => of_message(version, kind),
    };
    match shape {
        None => true,
        Some(Exactly(len)) => body.len() == len,
        Some(From(least, step)) => {
            body.len().checked_sub(least).is_some_and(|more| more.is_multiple_of(step))
        }
    }
}

fn of_message(version: Version, kind: u8) -> Option<Shape> {
    let v13 = version == Version::V13;
    let v15 = version == Version::V15;
    Some(match kind {
        super::ERROR => From(4, 1),
        super::FEATURES_REQUEST
        | super::GET_CONFIG_REQUEST
        | super::BARRIER_REQUEST
        | super::BARRIER_REPLY
        | super::GET_ASYNC_REQUEST => Exactly(0),
        FEATURES_REPLY => Exactly(24),
        GET_CONFIG_REPLY | SET_CONFIG => Exactly(4),
        PACKET_IN => From(16, 1),
        FLOW_REMOVED if v15 => From(16, 8),
        FLOW_REMOVED | FLOW_MOD => From(40, 8),
        PORT_STATUS if v13 => Exactly(72),
        PORT_STATUS => From(48, 8),
        PACKET_OUT if v15 => From(8, 1),
        PACKET_OUT => From(16, 1),
        GROUP_MOD if v15 => From(16, 8),
        GROUP_MOD | METER_MOD => From(8, 8),
        PORT_MOD if v13 => Exactly(32),
        PORT_MOD => From(24, 8),
        TABLE_MOD | QUEUE_GET_CONFIG_REQUEST if v13 => Exactly(8),
        TABLE_MOD => From(8, 8),
        QUEUE_GET_CONFIG_REPLY if v13 => From(8, 8),
        ROLE_REQUEST | ROLE_REPLY => Exactly(16),
        GET_ASYNC_REPLY | SET_ASYNC if v13 => Exactly(24),
        GET_ASYNC_REPLY | SET_ASYNC => From(0, 8),
        ROLE_STATUS if !v13 => From(16, 8),
        TABLE_STATUS | REQUEST_FORWARD | BUNDLE_CONTROL if !v13 => From(8, 8),
        BUNDLE_ADD if !v13 => From(8, 1),
        _ => return None,
    })
}

/// The type of a multipart, or of an experimenter's one with its numbers.
fn stat(body: &[u8]) -> Option<(u16, Option<(u32, u32)>)> {
    let kind = u16::from_be_bytes(*body.first_chunk()?);
    let word = |at: usize| Some(u32::from_be_bytes(*body.get(at..)?.first_chunk()?));
    Some((kind, word(8).zip(word(12)).filter(|_| kind == multipart::EXPERIMENTER)))
}

fn of_request(version: Version, body: &[u8]) -> Option<Shape> {
    let v13 = version == Version::V13;
    let v15 = version == Version::V15;
    // A multipart without its own header has no kind.
    Some(match stat(body).unwrap_or_default() {
        (
            multipart::EXPERIMENTER,
            Some((NICIRA, multipart::NXST_IPFIX_BRIDGE | multipart::NXST_IPFIX_FLOW)),
        ) => Exactly(16),
        (multipart::EXPERIMENTER, Some((ONF, multipart::ONFST_FLOW_MONITOR))) if v13 => From(16, 8),
        (multipart::FLOW | multipart::AGGREGATE, _) => From(40, 8),
        (multipart::TABLE_FEATURES, _) => From(8, 8),
        (multipart::FLOW_MONITOR, _) if !v13 => From(8, 8),
        (
            multipart::PORT_STATS
            | multipart::QUEUE_STATS
            | multipart::GROUP_STATS
            | multipart::METER_STATS
            | multipart::METER_CONFIG,
            _,
        ) => Exactly(16),
        (multipart::QUEUE_DESC, _) if !v13 => Exactly(16),
        (multipart::GROUP_DESC | multipart::PORT_DESC, _) if v15 => Exactly(16),
        (
            multipart::DESC
            | multipart::TABLE
            | multipart::GROUP_DESC
            | multipart::GROUP_FEATURES
            | multipart::METER_FEATURES
            | multipart::PORT_DESC,
            _,
        ) => Exactly(8),
        (multipart::TABLE_DESC, _) if !v13 => Exactly(8),
        _ => return None,
    })
}

fn of_reply(version: Version, body: &[u8]) -> Option<Shape> {
    let v13 = version == Version::V13;
    let v15 = version == Version::V15;
    Some(match stat(body).unwrap_or_default() {
        (multipart::EXPERIMENTER, Some((NICIRA, multipart::NXST_IPFIX_BRIDGE))) => Exactly(104),
        (multipart::EXPERIMENTER, Some((NICIRA, multipart::NXST_IPFIX_FLOW))) => From(16, 88),
        (multipart::EXPERIMENTER, Some((ONF, multipart::ONFST_FLOW_MONITOR))) if v13 => From(16, 8),
        (multipart::DESC, _) => Exactly(1064),
        (multipart::FLOW, _) => From(8, 1),
        (multipart::AGGREGATE, _) if v15 => From(8, 1),
        (multipart::AGGREGATE, _) => Exactly(32),
        (multipart::TABLE, _) => From(8, 24),
        (multipart::PORT_STATS, _) if v13 => From(8, 112),
        (multipart::QUEUE_STATS, _) if v13 => From(8, 40),
        (multipart::PORT_DESC, _) if v13 => From(8, 64),
        (multipart::GROUP_FEATURES, _) => Exactly(48),
        (multipart::METER_FEATURES, _) => Exactly(24),
        // Open vSwitch counts the first entry as part of these two.
        (multipart::TABLE_FEATURES, _) => From(72, 8),
        (multipart::TABLE_DESC, _) if !v13 => From(16, 8),
        (
            multipart::PORT_STATS
            | multipart::QUEUE_STATS
            | multipart::GROUP_STATS
            | multipart::GROUP_DESC
            | multipart::METER_STATS
            | multipart::METER_CONFIG
            | multipart::PORT_DESC,
            _,
        ) => From(8, 8),
        (multipart::QUEUE_DESC | multipart::FLOW_MONITOR, _) if !v13 => From(8, 8),
        _ => return None,
    })
}

fn of_experimenter(version: Version, body: &[u8]) -> Option<Shape> {
    let v13 = version == Version::V13;
    let word = |at: usize| Some(u32::from_be_bytes(*body.get(at..)?.first_chunk()?));
    Some(match (word(0)?, word(4)?) {
        (NICIRA, 16) => Exactly(12),
        (NICIRA, 15 | 20 | 29) => Exactly(16),
        (NICIRA, NXT_PACKET_IN) => From(32, 1),
        (NICIRA, 19) => Exactly(32),
        (NICIRA, 24 | 32) => From(16, 8),
        (NICIRA, 25) => Exactly(8),
        (NICIRA, 26) => From(24, 8),
        (NICIRA, 28 | NXT_PACKET_IN2) => From(8, 8),
        (ONF, ONF_MONITOR_CANCEL) if v13 => Exactly(12),
        (ONF, ONF_MONITOR_PAUSED | ONF_MONITOR_RESUMED) if v13 => Exactly(8),
        (ONF, ONF_BUNDLE_CONTROL) if v13 => From(16, 8),
        (ONF, ONF_BUNDLE_ADD) if v13 => From(16, 1),
        _ => return None,
    })
}
