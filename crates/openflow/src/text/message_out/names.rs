//! The names of messages, as Open vSwitch has them.

use std::fmt;

use super::packet_in_name;
use crate::error_code::ErrorCode;
use crate::message::multipart::{self, MultipartBody, MultipartRequest};
use crate::message::nicira::Nicira;
use crate::message::{Header, Message, NICIRA, ONF};
use crate::types::Version;

/// A name, and for multiparts which side speaks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name(&'static str, &'static str);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)?;
        f.write_str(self.1)
    }
}

/// The name of a message; `None` if Open vSwitch has none for it in this version.
pub(super) fn of(header: Header, message: &Message<'_>) -> Option<Name> {
    let v13 = header.version == Version::V13;
    Some(Name(
        match message {
            Message::Hello(_) => "OFPT_HELLO",
            Message::Error(_) => "OFPT_ERROR",
            Message::EchoRequest(_) => "OFPT_ECHO_REQUEST",
            Message::EchoReply(_) => "OFPT_ECHO_REPLY",
            Message::FeaturesRequest => "OFPT_FEATURES_REQUEST",
            Message::FeaturesReply(_) => "OFPT_FEATURES_REPLY",
            Message::GetConfigRequest => "OFPT_GET_CONFIG_REQUEST",
            Message::GetConfigReply(_) => "OFPT_GET_CONFIG_REPLY",
            Message::SetConfig(_) => "OFPT_SET_CONFIG",
            Message::PacketIn(packet) => packet_in_name(packet.format),
            Message::FlowRemoved(_) => "OFPT_FLOW_REMOVED",
            Message::PortStatus(_) => "OFPT_PORT_STATUS",
            Message::PacketOut(_) => "OFPT_PACKET_OUT",
            Message::FlowMod(_) => "OFPT_FLOW_MOD",
            Message::GroupMod(_) => "OFPT_GROUP_MOD",
            Message::PortMod(_) => "OFPT_PORT_MOD",
            Message::TableMod(_) => "OFPT_TABLE_MOD",
            Message::MeterMod(_) => "OFPT_METER_MOD",
            Message::QueueConfigRequest(_) => "OFPT_QUEUE_GET_CONFIG_REQUEST",
            Message::QueueConfigReply(_) => "OFPT_QUEUE_GET_CONFIG_REPLY",
            Message::MultipartRequest { request, .. } => {
                return Some(Name(of_request(request, v13)?, " request"));
            }
            Message::MultipartReply(reply) => return Some(Name(of_reply(&reply.body, v13)?, " reply")),
            Message::BarrierRequest => "OFPT_BARRIER_REQUEST",
            Message::BarrierReply => "OFPT_BARRIER_REPLY",
            Message::RoleRequest(_) => "OFPT_ROLE_REQUEST",
            Message::RoleReply(_) => "OFPT_ROLE_REPLY",
            Message::GetAsyncRequest => "OFPT_GET_ASYNC_REQUEST",
            Message::GetAsyncReply(_) => "OFPT_GET_ASYNC_REPLY",
            Message::SetAsync(_) => "OFPT_SET_ASYNC",
            Message::RoleStatus(_) => "OFPT_ROLE_STATUS",
            Message::TableStatus(_) => "OFPT_TABLE_STATUS",
            Message::RequestForward(_) => "OFPT_REQUESTFORWARD",
            Message::BundleControl(_) if v13 => "ONFT_BUNDLE_CONTROL",
            Message::BundleControl(_) => "OFPT_BUNDLE_CONTROL",
            Message::BundleAdd(_) if v13 => "ONFT_BUNDLE_ADD_MESSAGE",
            Message::BundleAdd(_) => "OFPT_BUNDLE_ADD_MESSAGE",
            Message::Nicira(message) => of_nicira(message),
            Message::MonitorCancel(_) => "ONFT_FLOW_MONITOR_CANCEL",
            Message::MonitorPaused => "ONFT_FLOW_MONITOR_PAUSED",
            Message::MonitorResumed => "ONFT_FLOW_MONITOR_RESUMED",
            Message::Unknown { .. } => return None,
        },
        "",
    ))
}

/// The error that a message without a name gets.
pub(super) fn unknown(message: &Message<'_>) -> Option<ErrorCode> {
    let vendor = |number: u32| {
        if number == NICIRA || number == ONF {
            ErrorCode::OFPBRC_BAD_SUBTYPE
        } else {
            ErrorCode::OFPBRC_BAD_VENDOR
        }
    };
    let stat = |kind: u16, body: &[u8]| match body.first_chunk::<4>() {
        Some(number) if kind == multipart::EXPERIMENTER => vendor(u32::from_be_bytes(*number)),
        _ => ErrorCode::OFPBRC_BAD_STAT,
    };
    match message {
        Message::Unknown { experimenter: Some((number, _)), .. } => Some(vendor(*number)),
        Message::Unknown { .. } => Some(ErrorCode::OFPBRC_BAD_TYPE),
        Message::MultipartRequest { request: MultipartRequest::FlowCounts(_), .. } => {
            Some(ErrorCode::OFPBRC_BAD_STAT)
        }
        Message::MultipartRequest { request: MultipartRequest::Unknown { kind, body }, .. } => {
            Some(stat(*kind, body))
        }
        Message::MultipartReply(reply) => match &reply.body {
            MultipartBody::FlowCounts(_) => Some(ErrorCode::OFPBRC_BAD_STAT),
            MultipartBody::Unknown { kind, body } => Some(stat(*kind, body)),
            _ => None,
        },
        _ => None,
    }
}

fn of_request(request: &MultipartRequest<'_>, v13: bool) -> Option<&'static str> {
    Some(match request {
        MultipartRequest::Desc => "OFPST_DESC",
        MultipartRequest::Flow(_) => "OFPST_FLOW",
        MultipartRequest::Aggregate(_) => "OFPST_AGGREGATE",
        MultipartRequest::Table => "OFPST_TABLE",
        MultipartRequest::PortStats(_) => "OFPST_PORT",
        MultipartRequest::QueueStats(_) => "OFPST_QUEUE",
        MultipartRequest::GroupStats(_) => "OFPST_GROUP",
        MultipartRequest::GroupDesc(_) => "OFPST_GROUP_DESC",
        MultipartRequest::GroupFeatures => "OFPST_GROUP_FEATURES",
        MultipartRequest::MeterStats(_) => "OFPST_METER",
        MultipartRequest::MeterConfig(_) => "OFPST_METER_CONFIG",
        MultipartRequest::MeterFeatures => "OFPST_METER_FEATURES",
        MultipartRequest::TableFeatures(_) => "OFPST_TABLE_FEATURES",
        MultipartRequest::TableDesc => "OFPST_TABLE_DESC",
        MultipartRequest::PortDesc(_) => "OFPST_PORT_DESC",
        MultipartRequest::QueueDesc(_) => "OFPST_QUEUE_DESC",
        MultipartRequest::FlowMonitor(_) if v13 => "ONFST_FLOW_MONITOR",
        MultipartRequest::FlowMonitor(_) => "OFPST_FLOW_MONITOR",
        MultipartRequest::IpfixBridge => "NXST_IPFIX_BRIDGE",
        MultipartRequest::IpfixFlow => "NXST_IPFIX_FLOW",
        MultipartRequest::FlowCounts(_) | MultipartRequest::Unknown { .. } => return None,
    })
}

fn of_reply(body: &MultipartBody<'_>, v13: bool) -> Option<&'static str> {
    Some(match body {
        MultipartBody::Desc(_) => "OFPST_DESC",
        MultipartBody::Flow(_) => "OFPST_FLOW",
        MultipartBody::Aggregate(_) => "OFPST_AGGREGATE",
        MultipartBody::Table(_) => "OFPST_TABLE",
        MultipartBody::PortStats(_) => "OFPST_PORT",
        MultipartBody::QueueStats(_) => "OFPST_QUEUE",
        MultipartBody::GroupStats(_) => "OFPST_GROUP",
        MultipartBody::GroupDesc(_) => "OFPST_GROUP_DESC",
        MultipartBody::GroupFeatures(_) => "OFPST_GROUP_FEATURES",
        MultipartBody::MeterStats(_) => "OFPST_METER",
        MultipartBody::MeterConfig(_) => "OFPST_METER_CONFIG",
        MultipartBody::MeterFeatures(_) => "OFPST_METER_FEATURES",
        MultipartBody::TableFeatures(_) => "OFPST_TABLE_FEATURES",
        MultipartBody::TableDesc(_) => "OFPST_TABLE_DESC",
        MultipartBody::PortDesc(_) => "OFPST_PORT_DESC",
        MultipartBody::QueueDesc(_) => "OFPST_QUEUE_DESC",
        MultipartBody::FlowMonitor(_) if v13 => "ONFST_FLOW_MONITOR",
        MultipartBody::FlowMonitor(_) => "OFPST_FLOW_MONITOR",
        MultipartBody::IpfixBridge(_) => "NXST_IPFIX_BRIDGE",
        MultipartBody::IpfixFlow(_) => "NXST_IPFIX_FLOW",
        MultipartBody::FlowCounts(_) | MultipartBody::Unknown { .. } => return None,
    })
}

fn of_nicira(message: &Nicira<'_>) -> &'static str {
    match message {
        Nicira::FlowModTableId(_) => "NXT_FLOW_MOD_TABLE_ID",
        Nicira::SetPacketInFormat(_) => "NXT_SET_PACKET_IN_FORMAT",
        Nicira::SetAsync(_) => "NXT_SET_ASYNC_CONFIG",
        Nicira::SetControllerId(_) => "NXT_SET_CONTROLLER_ID",
        Nicira::TlvTableMod(_) => "NXT_TLV_TABLE_MOD",
        Nicira::TlvTableRequest => "NXT_TLV_TABLE_REQUEST",
        Nicira::TlvTableReply(_) => "NXT_TLV_TABLE_REPLY",
        Nicira::Resume(_) => "NXT_RESUME",
        Nicira::CtFlushZone(_) => "NXT_CT_FLUSH_ZONE",
        Nicira::CtFlush(_) => "NXT_CT_FLUSH",
    }
}

/// The name of a message whose body cannot be read, by its numbers alone.
pub(super) fn of_frame(frame: &[u8]) -> Option<Name> {
    let [version, kind, ..] = *frame.first_chunk::<8>()?;
    let version = Version::from_wire(version)?;
    let v14 = version > Version::V13;
    let number = |at: usize| Some(u32::from_be_bytes(*frame.get(at..)?.first_chunk::<4>()?));
    let name = match kind {
        0 => "OFPT_HELLO",
        1 => "OFPT_ERROR",
        2 => "OFPT_ECHO_REQUEST",
        3 => "OFPT_ECHO_REPLY",
        5 => "OFPT_FEATURES_REQUEST",
        6 => "OFPT_FEATURES_REPLY",
        7 => "OFPT_GET_CONFIG_REQUEST",
        8 => "OFPT_GET_CONFIG_REPLY",
        9 => "OFPT_SET_CONFIG",
        10 => "OFPT_PACKET_IN",
        11 => "OFPT_FLOW_REMOVED",
        12 => "OFPT_PORT_STATUS",
        13 => "OFPT_PACKET_OUT",
        14 => "OFPT_FLOW_MOD",
        15 => "OFPT_GROUP_MOD",
        16 => "OFPT_PORT_MOD",
        17 => "OFPT_TABLE_MOD",
        18 | 19 => {
            let stat = u16::from_be_bytes(*frame.get(8..)?.first_chunk::<2>()?);
            let side = if kind == 18 { " request" } else { " reply" };
            let name = match stat {
                multipart::EXPERIMENTER => match (number(16)?, number(20)?) {
                    (NICIRA, 3) => "NXST_IPFIX_BRIDGE",
                    (NICIRA, 4) => "NXST_IPFIX_FLOW",
                    (ONF, 1870) if !v14 => "ONFST_FLOW_MONITOR",
                    _ => return None,
                },
                _ => MULTIPARTS.get(usize::from(stat)).filter(|_| stat < 14 || v14)?,
            };
            return Some(Name(name, side));
        }
        20 => "OFPT_BARRIER_REQUEST",
        21 => "OFPT_BARRIER_REPLY",
        22 if !v14 => "OFPT_QUEUE_GET_CONFIG_REQUEST",
        23 if !v14 => "OFPT_QUEUE_GET_CONFIG_REPLY",
        24 => "OFPT_ROLE_REQUEST",
        25 => "OFPT_ROLE_REPLY",
        26 => "OFPT_GET_ASYNC_REQUEST",
        27 => "OFPT_GET_ASYNC_REPLY",
        28 => "OFPT_SET_ASYNC",
        29 => "OFPT_METER_MOD",
        30 if v14 => "OFPT_ROLE_STATUS",
        31 if v14 => "OFPT_TABLE_STATUS",
        32 if v14 => "OFPT_REQUESTFORWARD",
        33 if v14 => "OFPT_BUNDLE_CONTROL",
        34 if v14 => "OFPT_BUNDLE_ADD_MESSAGE",
        4 => match (number(8)?, number(12)?) {
            (NICIRA, 15) => "NXT_FLOW_MOD_TABLE_ID",
            (NICIRA, 16) => "NXT_SET_PACKET_IN_FORMAT",
            (NICIRA, 17) => "NXT_PACKET_IN",
            (NICIRA, 19) => "NXT_SET_ASYNC_CONFIG",
            (NICIRA, 20) => "NXT_SET_CONTROLLER_ID",
            (NICIRA, 24) => "NXT_TLV_TABLE_MOD",
            (NICIRA, 26) => "NXT_TLV_TABLE_REPLY",
            (NICIRA, 28) => "NXT_RESUME",
            (NICIRA, 29) => "NXT_CT_FLUSH_ZONE",
            (NICIRA, 30) => "NXT_PACKET_IN2",
            (NICIRA, 32) => "NXT_CT_FLUSH",
            (ONF, 2300) => "ONFT_BUNDLE_CONTROL",
            (ONF, 2301) => "ONFT_BUNDLE_ADD_MESSAGE",
            _ => return None,
        },
        _ => return None,
    };
    Some(Name(name, ""))
}

/// Multiparts by number.
const MULTIPARTS: [&str; 17] = [
    "OFPST_DESC",
    "OFPST_FLOW",
    "OFPST_AGGREGATE",
    "OFPST_TABLE",
    "OFPST_PORT",
    "OFPST_QUEUE",
    "OFPST_GROUP",
    "OFPST_GROUP_DESC",
    "OFPST_GROUP_FEATURES",
    "OFPST_METER",
    "OFPST_METER_CONFIG",
    "OFPST_METER_FEATURES",
    "OFPST_TABLE_FEATURES",
    "OFPST_PORT_DESC",
    "OFPST_TABLE_DESC",
    "OFPST_QUEUE_DESC",
    "OFPST_FLOW_MONITOR",
];
