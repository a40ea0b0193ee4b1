//! Writing any decoded message again.

use bytes::BytesMut;

use super::queue::QueueConfig;
use super::{
    ECHO_REPLY, ECHO_REQUEST, EXPERIMENTER, EmptyMessage, Header, Message, ONF, ONF_MONITOR_CANCEL,
    ONF_MONITOR_PAUSED, ONF_MONITOR_RESUMED, REQUEST_FORWARD, encode_empty, encode_raw, write_message,
};
use crate::error::EncodeError;

impl Message<'_> {
    /// Appends the message with the version and xid of `header`, whose type counts for unknown messages only.
    ///
    /// What Open vSwitch sent comes out as the same bytes; what somebody else sent comes out in its normal form.
    pub fn encode(&self, header: &Header, buf: &mut BytesMut) -> Result<(), EncodeError> {
        let (v, xid) = (header.version, header.xid);
        let onf = |buf: &mut BytesMut, kind: u32, number: Option<u32>| {
            write_message(buf, v, EXPERIMENTER, xid, |w| {
                w.u32(ONF);
                w.u32(kind);
                if let Some(number) = number {
                    w.u32(number);
                }
                Ok(())
            })
        };
        match self {
            Self::Hello(hello) => hello.encode(xid, buf),
            Self::Error(error) => error.encode(v, xid, buf),
            Self::EchoRequest(data) => encode_raw(ECHO_REQUEST, data, v, xid, buf),
            Self::EchoReply(data) => encode_raw(ECHO_REPLY, data, v, xid, buf),
            Self::FeaturesRequest => encode_empty(EmptyMessage::FeaturesRequest, v, xid, buf),
            Self::FeaturesReply(features) => features.encode(v, xid, buf),
            Self::GetConfigRequest => encode_empty(EmptyMessage::GetConfigRequest, v, xid, buf),
            Self::GetConfigReply(config) => config.encode_reply(v, xid, buf),
            Self::SetConfig(config) => config.encode_set(v, xid, buf),
            Self::PacketIn(packet) => packet.encode(v, xid, buf),
            Self::FlowRemoved(removed) => removed.encode(v, xid, buf),
            Self::PortStatus(status) => status.encode(v, xid, buf),
            Self::PacketOut(packet) => packet.encode(v, xid, buf),
            Self::FlowMod(change) => change.encode(v, xid, buf),
            Self::GroupMod(change) => change.encode(v, xid, buf),
            Self::PortMod(change) => change.encode(v, xid, buf),
            Self::TableMod(change) => change.encode_mod(v, xid, buf),
            Self::MeterMod(change) => change.encode(v, xid, buf),
            Self::QueueConfigRequest(port) => QueueConfig::encode_request(*port, v, xid, buf),
            Self::QueueConfigReply(config) => config.encode(v, xid, buf),
            Self::MultipartRequest { request, flags } => request.encode_with(*flags, v, xid, buf),
            Self::MultipartReply(reply) => reply.encode(v, xid, buf),
            Self::BarrierRequest => encode_empty(EmptyMessage::BarrierRequest, v, xid, buf),
            Self::BarrierReply => encode_empty(EmptyMessage::BarrierReply, v, xid, buf),
            Self::RoleRequest(role) => role.encode_request(v, xid, buf),
            Self::RoleReply(role) => role.encode_reply(v, xid, buf),
            Self::GetAsyncRequest => encode_empty(EmptyMessage::GetAsyncRequest, v, xid, buf),
            Self::GetAsyncReply(config) => config.encode_reply(v, xid, buf),
            Self::SetAsync(config) => config.encode_set(v, xid, buf),
            Self::RoleStatus(status) => status.encode(v, xid, buf),
            Self::TableStatus(status) => status.encode(v, xid, buf),
            Self::RequestForward(message) => encode_raw(REQUEST_FORWARD, message, v, xid, buf),
            Self::BundleControl(control) => control.encode(v, xid, buf),
            Self::BundleAdd(add) => add.encode(v, xid, buf),
            Self::Nicira(nicira) => nicira.encode(v, xid, buf),
            Self::MonitorCancel(id) => onf(buf, ONF_MONITOR_CANCEL, Some(*id)),
            Self::MonitorPaused => onf(buf, ONF_MONITOR_PAUSED, None),
            Self::MonitorResumed => onf(buf, ONF_MONITOR_RESUMED, None),
            Self::Unknown { experimenter: Some((experimenter, kind)), body } => {
                write_message(buf, v, EXPERIMENTER, xid, |w| {
                    w.u32(*experimenter);
                    w.u32(*kind);
                    w.bytes(body);
                    Ok(())
                })
            }
            Self::Unknown { experimenter: None, body } => encode_raw(header.kind, body, v, xid, buf),
        }
    }
}
