//! Messages: the 8-byte header, framing, and one type per message, borrowed from the frame.
//!
//! Owns the list of message types and what is unknown about a frame. Each family of messages has its own file
//! below. Frames come from a byte stream through [`next_frame`]; nothing here reads sockets.
//!
//! Header: version u8, type u8, length u16 (with the header), xid u32.

use bytes::{Bytes, BytesMut};

use crate::cursor::Reader;
use crate::error::{DecodeError, EncodeError, Malformed};
use crate::limits::HEADER_LEN;
use crate::types::Version;
use crate::writer::{Pad, Writer};

pub mod bundle;
pub mod counters;
pub mod counts;
mod encode;
pub mod entries;
pub mod error_msg;
pub mod flow_mod;
pub mod flow_removed;
pub mod group;
pub mod hello;
pub mod ipfix;
pub mod meter;
pub mod monitor;
pub mod multipart;
pub mod nicira;
pub mod packet;
pub mod port;
pub mod queue;
pub mod session;
mod shape;
pub mod table;

use bundle::{BundleAdd, BundleControl};
use error_msg::ErrorMsg;
use flow_mod::FlowMod;
use flow_removed::FlowRemoved;
use group::GroupMod;
use hello::Hello;
use meter::MeterMod;
use multipart::{MultipartReply, MultipartRequest};
use nicira::Nicira;
use packet::{PacketIn, PacketOut};
use port::{PortMod, PortStatus};
use queue::QueueConfig;
use session::{AsyncConfig, Config, Features, Role, RoleStatus};
use table::{Table, TableStatus};

/// What every message begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The version of the connection; a hello's may be one that this codec does not speak, see [`Hello`].
    pub version: Version,
    /// The message type.
    pub kind: u8,
    /// Length of the whole message in bytes.
    pub length: u16,
    /// Pairs a reply with its request.
    pub xid: u32,
}

/// A decoded message. What the codec does not know is [`Message::Unknown`], never an error.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    /// Versions offered.
    Hello(Hello<'a>),
    /// A request was refused.
    Error(ErrorMsg<'a>),
    /// Asks for its data back.
    EchoRequest(&'a [u8]),
    /// Data given back.
    EchoReply(&'a [u8]),
    /// Who are you?
    FeaturesRequest,
    /// The switch's identity.
    FeaturesReply(Features),
    /// What is your configuration?
    GetConfigRequest,
    /// The switch's configuration.
    GetConfigReply(Config),
    /// Be configured so.
    SetConfig(Config),
    /// A packet for the controller, in any of its forms.
    PacketIn(PacketIn<'a>),
    /// A flow has gone.
    FlowRemoved(FlowRemoved<'a>),
    /// A port came, went or changed.
    PortStatus(PortStatus<'a>),
    /// Send this packet.
    PacketOut(PacketOut<'a>),
    /// Change flows.
    FlowMod(FlowMod),
    /// Change a group.
    GroupMod(GroupMod),
    /// Change a port.
    PortMod(PortMod<'a>),
    /// Change a table.
    TableMod(Table),
    /// Change a meter.
    MeterMod(MeterMod),
    /// Which queues has this port (1.3)?
    QueueConfigRequest(crate::OfPort),
    /// The queues of a port (1.3).
    QueueConfigReply(QueueConfig<'a>),
    /// Ask for state.
    MultipartRequest {
        /// The question.
        request: MultipartRequest<'a>,
        /// Flags; bit 0: more of the question follows.
        flags: u16,
    },
    /// State, or a part of it.
    MultipartReply(MultipartReply<'a>),
    /// Tell me when you are done with everything before.
    BarrierRequest,
    /// Done.
    BarrierReply,
    /// May I be master?
    RoleRequest(Role),
    /// You are.
    RoleReply(Role),
    /// Which messages do I get?
    GetAsyncRequest,
    /// These.
    GetAsyncReply(AsyncConfig),
    /// Send me these.
    SetAsync(AsyncConfig),
    /// Your role has changed.
    RoleStatus(RoleStatus),
    /// A table fills or empties.
    TableStatus(TableStatus),
    /// Another controller changed a group or a meter: its message with a header of its own.
    RequestForward(&'a [u8]),
    /// Open, close, commit or discard a bundle, and the answer.
    BundleControl(BundleControl<'a>),
    /// A message for a bundle.
    BundleAdd(BundleAdd<'a>),
    /// Nicira's own.
    Nicira(Nicira<'a>),
    /// Give up the flow monitor of this number (1.3, the ONF's; later versions use a request).
    MonitorCancel(u32),
    /// Too much happened: flow monitors tell nothing more for now (1.3, the ONF's).
    MonitorPaused,
    /// Flow monitors go on (1.3, the ONF's).
    MonitorResumed,
    /// Anything else: the type is in the header.
    Unknown {
        /// The experimenter and its own type, of experimenter messages.
        experimenter: Option<(u32, u32)>,
        /// What follows the header.
        body: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// Decodes one frame. Fields, actions, instructions and messages that nobody knows are kept raw.
    pub fn decode(frame: &'a [u8]) -> Result<(Header, Self), DecodeError> {
        Self::read(Reader::new(frame, "message"))
    }

    /// Decodes one frame as Open vSwitch does, which refuses what it does not know.
    pub fn decode_strict(frame: &'a [u8]) -> Result<(Header, Self), DecodeError> {
        Self::read(Reader::strict(frame, "message"))
    }

    fn read(mut r: Reader<'a>) -> Result<(Header, Self), DecodeError> {
        let start = r;
        let frame = r.peek();
        let wire_version = r.u8()?;
        let kind = r.u8()?;
        let length = r.u16()?;
        let xid = r.u32()?;
        if usize::from(length) != frame.len() {
            return Err(start.fail(Malformed::BadLength(u32::from(length))));
        }
        if kind == HELLO {
            let hello = Hello::read(wire_version, r);
            // A hello says in its header only the highest version; its bitmap may offer lower ones.
            let version = Version::from_wire(wire_version).unwrap_or(Version::V15);
            return Ok((Header { version, kind, length, xid }, Self::Hello(hello)));
        }
        let version =
            Version::from_wire(wire_version).ok_or_else(|| start.fail(Malformed::Version(wire_version)))?;
        let header = Header { version, kind, length, xid };
        if !shape::is_possible(version, kind, r.peek()) {
            return Err(start.fail(Malformed::Shape(u32::from(length))));
        }
        Ok((header, Self::body(header, r)?))
    }

    fn body(header: Header, mut r: Reader<'a>) -> Result<Self, DecodeError> {
        let version = header.version;
        let message = match header.kind {
            ERROR => Self::Error(ErrorMsg::read(&mut r, version)?),
            ECHO_REQUEST => Self::EchoRequest(r.rest()),
            ECHO_REPLY => Self::EchoReply(r.rest()),
            FEATURES_REQUEST => Self::FeaturesRequest,
            FEATURES_REPLY => Self::FeaturesReply(Features::read(&mut r)?),
            GET_CONFIG_REQUEST => Self::GetConfigRequest,
            GET_CONFIG_REPLY => Self::GetConfigReply(Config::read(&mut r)?),
            SET_CONFIG => Self::SetConfig(Config::read_set(&mut r)?),
            PACKET_IN => Self::PacketIn(PacketIn::read_plain(&mut r)?),
            FLOW_REMOVED => Self::FlowRemoved(FlowRemoved::read(&mut r, version)?),
            PORT_STATUS => Self::PortStatus(PortStatus::read(&mut r, version)?),
            PACKET_OUT => Self::PacketOut(PacketOut::read(&mut r, version)?),
            FLOW_MOD => Self::FlowMod(FlowMod::read(&mut r, version)?),
            GROUP_MOD => Self::GroupMod(GroupMod::read(&mut r, version)?),
            PORT_MOD => Self::PortMod(PortMod::read(&mut r, version)?),
            TABLE_MOD => Self::TableMod(Table::read_mod(&mut r, version)?),
            METER_MOD => Self::MeterMod(MeterMod::read(&mut r)?),
            QUEUE_GET_CONFIG_REQUEST if version == Version::V13 => {
                Self::QueueConfigRequest(QueueConfig::read_request(&mut r)?)
            }
            QUEUE_GET_CONFIG_REPLY if version == Version::V13 => {
                Self::QueueConfigReply(QueueConfig::read(&mut r)?)
            }
            ROLE_STATUS if version > Version::V13 => Self::RoleStatus(RoleStatus::read(&mut r)?),
            TABLE_STATUS if version > Version::V13 => Self::TableStatus(TableStatus::read(&mut r, version)?),
            REQUEST_FORWARD if version > Version::V13 => Self::RequestForward(bundle::inner(&mut r)?),
            MULTIPART_REQUEST => {
                let (request, flags) = MultipartRequest::read(&mut r, version)?;
                Self::MultipartRequest { request, flags }
            }
            MULTIPART_REPLY => Self::MultipartReply(MultipartReply::read(&mut r, version)?),
            BARRIER_REQUEST => Self::BarrierRequest,
            BARRIER_REPLY => Self::BarrierReply,
            ROLE_REQUEST => Self::RoleRequest(Role::read(&mut r)?),
            ROLE_REPLY => Self::RoleReply(Role::read(&mut r)?),
            GET_ASYNC_REQUEST => Self::GetAsyncRequest,
            GET_ASYNC_REPLY => Self::GetAsyncReply(AsyncConfig::read(&mut r, version)?),
            SET_ASYNC => Self::SetAsync(AsyncConfig::read_set(&mut r, version)?),
            BUNDLE_CONTROL if version > Version::V13 => Self::BundleControl(BundleControl::read(&mut r)?),
            BUNDLE_ADD if version > Version::V13 => Self::BundleAdd(BundleAdd::read(&mut r)?),
            EXPERIMENTER => Self::experimenter(&mut r, version)?,
            _ => Self::Unknown { experimenter: None, body: r.rest() },
        };
        r.finish()?;
        Ok(message)
    }

    /// Messages of Nicira and of the ONF, whose bundle for 1.3 is 1.4's in another envelope.
    fn experimenter(r: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let experimenter = r.u32()?;
        let kind = r.u32()?;
        Ok(match (experimenter, kind) {
            (NICIRA, NXT_PACKET_IN) => Self::PacketIn(PacketIn::read_nx(r)?),
            (NICIRA, NXT_PACKET_IN2) => Self::PacketIn(PacketIn::read_nx2(r)?),
            (ONF, ONF_MONITOR_CANCEL) if version == Version::V13 => Self::MonitorCancel(r.u32()?),
            (ONF, ONF_MONITOR_PAUSED) if version == Version::V13 => Self::MonitorPaused,
            (ONF, ONF_MONITOR_RESUMED) if version == Version::V13 => Self::MonitorResumed,
            (ONF, ONF_BUNDLE_CONTROL) if version == Version::V13 => {
                Self::BundleControl(BundleControl::read(r)?)
            }
            (ONF, ONF_BUNDLE_ADD) if version == Version::V13 => Self::BundleAdd(BundleAdd::read(r)?),
            _ => {
                let nicira = if experimenter == NICIRA { Nicira::read(r, kind)? } else { None };
                let unknown = || Self::Unknown { experimenter: Some((experimenter, kind)), body: r.rest() };
                nicira.map_or_else(unknown, Self::Nicira)
            }
        })
    }
}

/// Takes the next whole message off the front of a stream; `None` until it is all there.
pub fn next_frame(stream: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
    let Some(head) = stream.first_chunk::<4>() else {
        return Ok(None);
    };
    let [_, _, high, low] = *head;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len < HEADER_LEN {
        let at = Reader::new(stream, "message header");
        return Err(at.fail(Malformed::BadLength(u32::from(u16::from_be_bytes([high, low])))));
    }
    if stream.len() < len {
        stream.reserve(len.saturating_sub(stream.len()));
        return Ok(None);
    }
    Ok(Some(stream.split_to(len).freeze()))
}

/// Appends a message of type `kind`.
pub(crate) fn write_message(
    buf: &mut BytesMut,
    version: Version,
    kind: u8,
    xid: u32,
    body: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = buf.len();
    let mut w = Writer::new(buf, version);
    w.u8(version.wire());
    w.u8(kind);
    let written = w.sized("message", start, Pad::None, |w| {
        w.u32(xid);
        body(w)
    });
    if written.is_err() {
        // A half-written message must not go out in front of the next one.
        w.truncate(start);
    }
    written
}

/// Appends a message that is its header alone.
pub fn encode_empty(
    kind: EmptyMessage,
    version: Version,
    xid: u32,
    buf: &mut BytesMut,
) -> Result<(), EncodeError> {
    write_message(buf, version, kind.number(), xid, |_| Ok(()))
}

/// Messages without a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyMessage {
    /// Who are you?
    FeaturesRequest,
    /// What is your configuration?
    GetConfigRequest,
    /// Tell me when you are done.
    BarrierRequest,
    /// Done.
    BarrierReply,
    /// Which messages do I get?
    GetAsyncRequest,
}

impl EmptyMessage {
    fn number(self) -> u8 {
        match self {
            Self::FeaturesRequest => FEATURES_REQUEST,
            Self::GetConfigRequest => GET_CONFIG_REQUEST,
            Self::BarrierRequest => BARRIER_REQUEST,
            Self::BarrierReply => BARRIER_REPLY,
            Self::GetAsyncRequest => GET_ASYNC_REQUEST,
        }
    }
}

/// Appends an echo request.
pub fn encode_echo_request(
    data: &[u8],
    version: Version,
    xid: u32,
    buf: &mut BytesMut,
) -> Result<(), EncodeError> {
    encode_raw(ECHO_REQUEST, data, version, xid, buf)
}

/// Appends the answer to an echo request: the same data under the same xid.
pub fn encode_echo_reply(
    data: &[u8],
    version: Version,
    xid: u32,
    buf: &mut BytesMut,
) -> Result<(), EncodeError> {
    encode_raw(ECHO_REPLY, data, version, xid, buf)
}

/// Appends a message of any type around a body that is ready.
pub fn encode_raw(
    kind: u8,
    body: &[u8],
    version: Version,
    xid: u32,
    buf: &mut BytesMut,
) -> Result<(), EncodeError> {
    write_message(buf, version, kind, xid, |w| {
        w.bytes(body);
        Ok(())
    })
}

pub(crate) const HELLO: u8 = 0;
pub(crate) const ERROR: u8 = 1;
const ECHO_REQUEST: u8 = 2;
const ECHO_REPLY: u8 = 3;
pub(crate) const EXPERIMENTER: u8 = 4;
const FEATURES_REQUEST: u8 = 5;
pub(crate) const FEATURES_REPLY: u8 = 6;
const GET_CONFIG_REQUEST: u8 = 7;
pub(crate) const GET_CONFIG_REPLY: u8 = 8;
pub(crate) const SET_CONFIG: u8 = 9;
pub(crate) const PACKET_IN: u8 = 10;
pub(crate) const FLOW_REMOVED: u8 = 11;
pub(crate) const PORT_STATUS: u8 = 12;
pub(crate) const PACKET_OUT: u8 = 13;
pub(crate) const FLOW_MOD: u8 = 14;
pub(crate) const GROUP_MOD: u8 = 15;
pub(crate) const PORT_MOD: u8 = 16;
pub(crate) const TABLE_MOD: u8 = 17;
pub(crate) const MULTIPART_REQUEST: u8 = 18;
pub(crate) const MULTIPART_REPLY: u8 = 19;
const BARRIER_REQUEST: u8 = 20;
const BARRIER_REPLY: u8 = 21;
pub(crate) const QUEUE_GET_CONFIG_REQUEST: u8 = 22;
pub(crate) const QUEUE_GET_CONFIG_REPLY: u8 = 23;
pub(crate) const ROLE_REQUEST: u8 = 24;
pub(crate) const ROLE_REPLY: u8 = 25;
const GET_ASYNC_REQUEST: u8 = 26;
pub(crate) const GET_ASYNC_REPLY: u8 = 27;
pub(crate) const SET_ASYNC: u8 = 28;
pub(crate) const METER_MOD: u8 = 29;
pub(crate) const ROLE_STATUS: u8 = 30;
pub(crate) const TABLE_STATUS: u8 = 31;
pub(crate) const REQUEST_FORWARD: u8 = 32;
pub(crate) const BUNDLE_CONTROL: u8 = 33;
pub(crate) const BUNDLE_ADD: u8 = 34;

pub(crate) const NICIRA: u32 = 0x2320;
pub(crate) const ONF: u32 = 0x4f4e_4600;
pub(crate) const NXT_PACKET_IN: u32 = 17;
pub(crate) const NXT_PACKET_IN2: u32 = 30;
const ONF_MONITOR_CANCEL: u32 = 1870;
const ONF_MONITOR_PAUSED: u32 = 1871;
const ONF_MONITOR_RESUMED: u32 = 1872;
pub(crate) const ONF_BUNDLE_CONTROL: u32 = 2300;
pub(crate) const ONF_BUNDLE_ADD: u32 = 2301;
