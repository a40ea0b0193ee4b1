//! The socket up to the end of the handshake: connect, greet by version bitmap, ask who it is.
//!
//! The agent offers OpenFlow 1.5 alone: in it OVS gives actions back in the form in which they are compared
//! (`load` becomes `set_field` in 1.5, measured), and bundles are part of the protocol. A switch's greeting bears its
//! highest version in its header (6), so only the bitmap tells what it speaks.

use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use openflow::message::hello::Hello;
use openflow::{EmptyMessage, Message, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::ConnectError;
use super::wire::{Outbox, VERSION, reason};

/// From connect() to the end of the handshake. vswitchd answers in microseconds, unless it reconfigures: adding a
/// port beside a thousand others takes it 50 ms (measured), a burst of them a second.
const GREETING_PATIENCE: Duration = Duration::from_secs(3);

/// Room made for each read: the longest message.
pub(super) const READ_BYTES: usize = 64 << 10;

/// What the switch says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    pub(super) version: Version,
    pub(super) datapath_id: u64,
}

/// A connection, and what was read from it but not yet taken.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) stream: UnixStream,
    pub(super) received: BytesMut,
}

impl Channel {
    /// Connects and shakes hands.
    pub(super) async fn open(bridge: &str, path: &Path) -> Result<(Self, Features), ConnectError> {
        match timeout(GREETING_PATIENCE, Self::greet(bridge, path)).await {
            Ok(opened) => opened,
            Err(_elapsed) => {
                Err(ConnectError::NoGreeting { bridge: bridge.to_owned(), patience: GREETING_PATIENCE })
            }
        }
    }

    async fn greet(bridge: &str, path: &Path) -> Result<(Self, Features), ConnectError> {
        let socket = |source| ConnectError::Socket { path: path.display().to_string(), source };
        let stream = UnixStream::connect(path).await.map_err(socket)?;
        let mut channel = Self { stream, received: BytesMut::new() };
        let mut out = Outbox::default();
        out.hello(HELLO_XID);
        channel.send(&mut out).await?;
        loop {
            let frame = channel.frame().await?;
            let (header, message) = Message::decode(&frame).map_err(ConnectError::Malformed)?;
            match message {
                Message::Hello(hello) => {
                    check_version(bridge, hello)?;
                    out.empty(FEATURES_XID, EmptyMessage::FeaturesRequest);
                }
                Message::FeaturesReply(features) => {
                    let datapath_id = features.datapath_id;
                    return Ok((channel, Features { version: VERSION, datapath_id }));
                }
                Message::EchoRequest(data) => out.echo_reply(header.xid, data),
                Message::Error(error) => {
                    let (bridge, reason) = (bridge.to_owned(), reason(&error));
                    return Err(ConnectError::Refused { bridge, reason });
                }
                _ => {}
            }
            channel.send(&mut out).await?;
        }
    }

    /// Writes everything. Not cancel-safe.
    pub(super) async fn send(&mut self, out: &mut Outbox) -> Result<(), ConnectError> {
        while out.bytes.has_remaining() {
            self.stream.write_buf(&mut out.bytes).await.map_err(ConnectError::Io)?;
        }
        Ok(())
    }

    /// The next message. Cancel-safe: what was read of it stays.
    pub(super) async fn frame(&mut self) -> Result<Bytes, ConnectError> {
        loop {
            if let Some(frame) = openflow::next_frame(&mut self.received).map_err(ConnectError::Malformed)? {
                return Ok(frame);
            }
            self.received.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.received).await.map_err(ConnectError::Io)? == 0 {
                return Err(ConnectError::Closed);
            }
        }
    }
}

fn check_version(bridge: &str, hello: Hello<'_>) -> Result<(), ConnectError> {
    if hello.negotiate(&[VERSION]).is_some() {
        return Ok(());
    }
    let spoken: Vec<_> = PROTOCOLS
        .iter()
        .filter(|(wire, _)| hello.versions & (1 << wire) != 0)
        .map(|(_, protocol)| *protocol)
        .collect();
    Err(ConnectError::Version { bridge: bridge.to_owned(), spoken: spoken.join(",") })
}

/// Wire versions by the names that the column `protocols` of a bridge has for them.
const PROTOCOLS: [(u8, &str); 6] = [
    (1, "OpenFlow10"),
    (2, "OpenFlow11"),
    (3, "OpenFlow12"),
    (4, "OpenFlow13"),
    (5, "OpenFlow14"),
    (6, "OpenFlow15"),
];

/// The handshake's transaction ids may be those of later conversations: it is over before the first of them.
const HELLO_XID: u32 = 1;
const FEATURES_XID: u32 = 2;
