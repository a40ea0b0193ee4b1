//! Printing whole messages as `ovs-ofctl ofp-print` does: the name, the version, the xid, and what it says.
//!
//! Owns the names of messages and the shape of what cannot be read. Each family has its own file below.

use std::fmt::{self, Write};

use crate::error::{DecodeError, Malformed};
use crate::error_code::ErrorCode;
use crate::message::multipart::MultipartRequest;
use crate::message::nicira::Nicira;
use crate::message::packet::PacketInFormat;
use crate::message::{Header, Message};
use crate::text::out::Out;
use crate::text::{Named, digits, flow_out};
use crate::types::{OfPort, Version};

mod group;
mod meter;
mod names;
mod nicira;
mod packet;
mod payload;
mod port;
mod session;
mod stats;
mod table;

/// One message as `ovs-ofctl ofp-print` prints it, whatever the bytes are.
///
/// What Open vSwitch refuses prints with the name of its error and in hexadecimal. The headers of packets inside packet-ins and
/// packet-outs have a line of their own. The text ends with a newline.
#[derive(Debug, Clone, Copy)]
pub struct FrameText<'a>(pub &'a [u8]);

impl fmt::Display for FrameText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Out::show(f, |out| write_frame(out, self.0, 0))
    }
}

impl fmt::Display for Named<'_, FrameText<'_>> {
    /// The message with the names of ports.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Out::show_named(f, Some(self.1), |out| write_frame(out, self.0.0, 0))
    }
}

/// Why Open vSwitch would refuse this frame: what strict decoding says, and entries and messages inside messages.
pub fn frame_error(frame: &[u8]) -> Option<ErrorCode> {
    match Message::decode_strict(frame) {
        Err(error) => Some(error.ofp_error()),
        Ok((header, message)) => refusal(header, &message),
    }
}

/// What Open vSwitch has against a message that decodes here.
fn refusal(header: Header, message: &Message<'_>) -> Option<ErrorCode> {
    match message {
        Message::MultipartReply(reply) => match names::of(header, message) {
            None => names::unknown(message),
            Some(_) => reply.body.check().err().map(DecodeError::ofp_error),
        },
        Message::MultipartRequest { request: MultipartRequest::TableFeatures(entries), .. } => {
            entries.check().err().map(DecodeError::ofp_error)
        }
        Message::BundleAdd(add) => match Message::decode_strict(add.message) {
            Ok((_, inner)) if !is_bundled(&inner) => Some(ErrorCode::OFPBFC_MSG_UNSUP),
            _ => None,
        },
        Message::RequestForward(inner) => match Message::decode_strict(inner) {
            Ok((_, Message::GroupMod(_) | Message::MeterMod(_))) => None,
            Ok(_) => Some(ErrorCode::OFPBFC_MSG_UNSUP),
            Err(error) => Some(error.ofp_error()),
        },
        Message::Error(error) if error.code.is_none() => Some(ErrorCode::OFPBRC_BAD_LEN),
        Message::Nicira(Nicira::SetPacketInFormat(3..)) => Some(ErrorCode::OFPBRC_EPERM),
        _ if names::of(header, message).is_none() => names::unknown(message),
        _ => None,
    }
}

/// What Open vSwitch takes in a bundle.
fn is_bundled(message: &Message<'_>) -> bool {
    matches!(
        message,
        Message::FlowMod(_) | Message::GroupMod(_) | Message::PortMod(_) | Message::PacketOut(_)
    )
}

/// Messages inside messages: a bundle's, a forwarded request's.
const MAX_DEPTH: u8 = 4;

fn write_frame(out: &mut Out<'_>, frame: &[u8], depth: u8) -> fmt::Result {
    if let Some(stated) = frame.get(2..4).and_then(|len| len.first_chunk::<2>()).filter(|_| frame.len() >= 8)
    {
        let stated = usize::from(u16::from_be_bytes(*stated));
        if stated != frame.len() {
            return write_cut(out, frame, stated);
        }
    } else {
        writeln!(out, "OpenFlow packet too short (only {} bytes):", frame.len())?;
        return write_dump(out, frame);
    }
    let (header, message) = match Message::decode_strict(frame) {
        Ok(decoded) => decoded,
        Err(error) => return write_undecodable(out, frame, error),
    };
    let Some(name) = names::of(header, &message) else {
        return write_refused(out, frame, names::unknown(&message).unwrap_or(ErrorCode::OFPBRC_BAD_TYPE));
    };
    write_head(out, name, header.version, header.xid)?;
    if let Some(code) = refusal(header, &message) {
        out.write_char(' ')?;
        return write_refused(out, frame, code);
    }
    write_body(out, frame, header, &message, depth)?;
    // Messages of one line have no newline of their own.
    if out.is_at_line_start() { Ok(()) } else { out.write_char('\n') }
}

/// `OFPT_HELLO (OF1.5) (xid=0x1):`
fn write_head(out: &mut Out<'_>, name: names::Name, version: Version, xid: u32) -> fmt::Result {
    write!(out, "{name} (OF{version}) (xid={xid:#x}):")
}

/// A frame whose header is sound has a name all the same, if the codec knows it.
fn write_undecodable(out: &mut Out<'_>, frame: &[u8], error: DecodeError) -> fmt::Result {
    // What is longer or shorter than its kind allows has no name either.
    let misshapen = matches!(error.why, Malformed::Shape(_));
    if let (Some(name), Some((version, xid)), false) = (names::of_frame(frame), head_of(frame), misshapen) {
        write_head(out, name, version, xid)?;
        out.write_char(' ')?;
    }
    if let Malformed::Version(_) = error.why {
        return write_refused(out, frame, ErrorCode::OFPBRC_BAD_VERSION);
    }
    write_refused(out, frame, error.ofp_error())
}

/// A frame that is not as long as it says: a quoted request, for example.
fn write_cut(out: &mut Out<'_>, frame: &[u8], stated: usize) -> fmt::Result {
    if stated < frame.len() {
        writeln!(out, "(***only uses {stated} bytes out of {}***)", frame.len())?;
    } else {
        if let (Some(name), Some((version, xid))) = (names::of_frame(frame), head_of(frame)) {
            write_head(out, name, version, xid)?;
            out.write_char('\n')?;
        }
        writeln!(out, "(***truncated to {} bytes from {stated}***)", frame.len())?;
    }
    write_dump(out, frame)
}

/// The version and xid of a frame.
fn head_of(frame: &[u8]) -> Option<(Version, u32)> {
    let [version, _, _, _, a, b, c, d] = *frame.first_chunk::<8>()?;
    Some((Version::from_wire(version)?, u32::from_be_bytes([a, b, c, d])))
}

fn write_refused(out: &mut Out<'_>, frame: &[u8], code: ErrorCode) -> fmt::Result {
    writeln!(out, "***decode error: {code}***")?;
    write_dump(out, frame)
}

/// Sixteen bytes a line, in hexadecimal and as characters.
fn write_dump(out: &mut Out<'_>, bytes: &[u8]) -> fmt::Result {
    for (row, line) in bytes.chunks(16).enumerate() {
        write!(out, "{:08x}  ", row.saturating_mul(16))?;
        for at in 0..16 {
            match line.get(at) {
                Some(byte) => write!(out, "{byte:02x}{}", if at == 7 { '-' } else { ' ' })?,
                None => out.write_str("   ")?,
            }
        }
        out.write_char('|')?;
        for at in 0..16 {
            let shown = line
                .get(at)
                .map_or(' ', |byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' });
            out.write_char(shown)?;
        }
        out.write_str("|\n")?;
    }
    Ok(())
}

fn write_body(
    out: &mut Out<'_>,
    frame: &[u8],
    header: Header,
    message: &Message<'_>,
    depth: u8,
) -> fmt::Result {
    match message {
        Message::Hello(hello) => session::write_hello(out, *hello, frame),
        Message::Error(error) => session::write_error(out, error, depth),
        Message::EchoRequest(data) | Message::EchoReply(data) => {
            writeln!(out, " {} bytes of payload", data.len())?;
            write_dump(out, data)
        }
        Message::FeaturesRequest
        | Message::GetConfigRequest
        | Message::BarrierRequest
        | Message::BarrierReply
        | Message::GetAsyncRequest
        | Message::MonitorPaused
        | Message::MonitorResumed
        | Message::Nicira(Nicira::TlvTableRequest)
        | Message::Unknown { .. } => Ok(()),
        Message::FeaturesReply(features) => session::write_features(out, features),
        Message::GetConfigReply(config) | Message::SetConfig(config) => session::write_config(out, *config),
        Message::PacketIn(packet) => packet::write_in(out, packet),
        Message::FlowRemoved(removed) => packet::write_removed(out, removed),
        Message::PortStatus(status) => port::write_status(out, status),
        Message::PacketOut(packet) => packet::write_out(out, packet),
        Message::FlowMod(change) => {
            out.write_char(' ')?;
            flow_out::write_flow_mod(out, change)
        }
        Message::GroupMod(change) => group::write_mod(out, change, header.version),
        Message::PortMod(change) => port::write_mod(out, change),
        Message::TableMod(change) => table::write_mod(out, change, header.version),
        Message::MeterMod(change) => meter::write_mod(out, change),
        Message::QueueConfigRequest(port) => port_item(out, " port=", *port),
        Message::QueueConfigReply(config) => stats::write_queue_config(out, config),
        Message::MultipartRequest { request, .. } => {
            write_multipart_flags(out, frame)?;
            stats::write_request(out, request)
        }
        Message::MultipartReply(reply) => {
            write_multipart_flags(out, frame)?;
            stats::write_reply(out, &reply.body, header.version)
        }
        Message::RoleRequest(role) => session::write_role(out, *role, true),
        Message::RoleReply(role) => session::write_role(out, *role, false),
        Message::GetAsyncReply(config) | Message::SetAsync(config) => {
            session::write_async(out, config, header.version)
        }
        Message::RoleStatus(status) => session::write_role_status(out, *status),
        Message::TableStatus(status) => table::write_status(out, *status),
        Message::RequestForward(inner) => {
            out.write_str(" reason=")?;
            match Message::decode_strict(inner) {
                Ok((_, Message::GroupMod(change))) => {
                    out.write_str("group_mod")?;
                    group::write_mod(out, &change, header.version)
                }
                Ok((_, Message::MeterMod(change))) => {
                    out.write_str("meter_mod")?;
                    meter::write_mod(out, &change)
                }
                _ => out.write_str("unknown"),
            }
        }
        Message::BundleControl(control) => session::write_bundle_control(out, *control),
        Message::BundleAdd(add) => {
            session::write_bundle_head(out, add.bundle, add.flags)?;
            out.write_char('\n')?;
            if depth < MAX_DEPTH { write_frame(out, add.message, depth.saturating_add(1)) } else { Ok(()) }
        }
        Message::Nicira(message) => nicira::write(out, message, header.version),
        Message::MonitorCancel(id) => write!(out, " id={id}"),
    }
}

/// Whether more follows, and bits that mean nothing.
fn write_multipart_flags(out: &mut Out<'_>, frame: &[u8]) -> fmt::Result {
    let field = frame.get(10..).and_then(|rest| rest.first_chunk::<2>());
    let flags = field.map_or(0, |bytes| u16::from_be_bytes(*bytes));
    if flags == 0 {
        return Ok(());
    }
    out.write_str(" flags=")?;
    if flags & 1 != 0 {
        out.write_str("[more]")?;
    }
    match flags & !1 {
        0 => Ok(()),
        unknown => write!(out, "[***unknown flags 0x{unknown:04x}***]"),
    }
}

/// Names of bits, separated by `separator`; what has no name in hexadecimal, nothing as `0`.
fn write_bits(out: &mut Out<'_>, bits: u32, names: &[(u32, &str)], separator: char) -> fmt::Result {
    if bits == 0 {
        return out.write_char('0');
    }
    let mut rest = bits;
    for (bit, name) in names {
        if bits & bit != 0 {
            if rest != bits {
                out.write_char(separator)?;
            }
            out.write_str(name)?;
            rest &= !bit;
        }
    }
    if rest == 0 {
        return Ok(());
    }
    if rest != bits {
        out.write_char(separator)?;
    }
    digits::hex0x(out, u128::from(rest))
}

/// Nicira's forms of the packet-in have names of their own.
fn packet_in_name(format: PacketInFormat) -> &'static str {
    match format {
        PacketInFormat::Standard => "OFPT_PACKET_IN",
        PacketInFormat::Nicira => "NXT_PACKET_IN",
        PacketInFormat::Nicira2 => "NXT_PACKET_IN2",
    }
}

/// A word and the port that it is about.
fn port_item(out: &mut Out<'_>, word: &str, port: OfPort) -> fmt::Result {
    out.write_str(word)?;
    out.port(port)
}
