//! What is written: messages of OpenFlow 1.5 appended to a buffer, and the words for what the switch refuses.
//!
//! Must not know any conversation; transaction ids come from the caller.

use bytes::{Bytes, BytesMut};
use openflow::message::bundle::{BundleAdd, BundleControl, BundleFlags, BundleOp};
use openflow::message::error_msg::ErrorMsg;
use openflow::message::flow_mod::FlowMod;
use openflow::message::hello::Hello;
use openflow::message::multipart::MultipartRequest;
use openflow::message::packet::PacketOut;
use openflow::{Action, Actions, EmptyMessage, EncodeError, OfPort, Version};

/// The version of every connection, see `channel.rs`.
pub(super) const VERSION: Version = Version::V15;

/// All or nothing, in the order given: a removal must not overtake an add. Every message of a bundle says the same,
/// else OVS throws the bundle away (OFPBFC_BAD_FLAGS, measured).
const BUNDLE_FLAGS: BundleFlags = BundleFlags::ATOMIC.union(BundleFlags::ORDERED);

/// Bytes on their way to the switch.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) bytes: BytesMut,
}

impl Outbox {
    pub(super) fn hello(&mut self, xid: u32) {
        Hello::offering(&[VERSION]).encode(xid, &mut self.bytes).expect(FIXED_SIZE);
    }

    pub(super) fn empty(&mut self, xid: u32, message: EmptyMessage) {
        openflow::encode_empty(message, VERSION, xid, &mut self.bytes).expect(FIXED_SIZE);
    }

    pub(super) fn echo_request(&mut self, xid: u32) {
        openflow::encode_echo_request(&[], VERSION, xid, &mut self.bytes).expect(FIXED_SIZE);
    }

    pub(super) fn echo_reply(&mut self, xid: u32, data: &[u8]) {
        let written = openflow::encode_echo_reply(data, VERSION, xid, &mut self.bytes);
        written.expect("an answer is as long as its request, which was a message");
    }

    /// For requests whose match is empty.
    pub(super) fn multipart(&mut self, xid: u32, request: &MultipartRequest<'_>) {
        request.encode(VERSION, xid, &mut self.bytes).expect(FIXED_SIZE);
    }

    pub(super) fn bundle(&mut self, xid: u32, bundle: u32, op: BundleOp) {
        let control = BundleControl { bundle, op, flags: BUNDLE_FLAGS, properties: &[] };
        control.encode(VERSION, xid, &mut self.bytes).expect(FIXED_SIZE);
    }

    /// A change for a bundle. The message inside bears the transaction id of its envelope, or OVS refuses it.
    pub(super) fn bundle_add(&mut self, xid: u32, bundle: u32, change: &FlowMod) -> Result<(), EncodeError> {
        BundleAdd::encode_with(bundle, BUNDLE_FLAGS, VERSION, xid, &mut self.bytes, |version, xid, bytes| {
            change.encode(version, xid, bytes)
        })
    }

    pub(super) fn packet_out(&mut self, xid: u32, in_port: OfPort, frame: &Bytes) -> Result<(), EncodeError> {
        let actions = Actions::new([Action::output(OfPort::NORMAL)])?;
        PacketOut::new(in_port, &actions, frame).encode(VERSION, xid, &mut self.bytes)
    }
}

/// OVS' own name for a refusal, else its numbers.
pub(super) fn reason(error: &ErrorMsg<'_>) -> String {
    let wire = error.wire;
    match error.code {
        Some(code) => code.name().to_owned(),
        None => format!("error of vendor {:#x}, type {}, code {}", wire.vendor, wire.kind, wire.code),
    }
}

/// Why encoding cannot fail: the only errors are lengths above 64 KiB and fields that 1.5 lacks.
const FIXED_SIZE: &str = "a message of at most 100 bytes that every version has";
