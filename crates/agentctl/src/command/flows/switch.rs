//! `flows dump --switch`: the flows of a bridge from its own socket, without an agent, a line each as `ovs-ofctl` prints them.
//!
//! Flows go out as they come in: memory does not grow with their number. Pods have no names here, for only the agent knows
//! them; ports do if asked for.

use std::io::{self, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use openflow::message::hello::Hello;
use openflow::message::multipart::{FlowQuery, MultipartBody, MultipartRequest};
use openflow::{
    EncodeError, Message, Named, OfPort, PortNames, TableId, Version, encode_echo_reply, next_frame,
};

use crate::failure::{Failure, Found};

/// How long the switch may be silent: it builds a whole dump before it sends the first byte, 100,000 flows in 150 ms.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that are read at once: one full part of a dump.
const CHUNK: usize = 64 * 1024;

const HELLO_XID: u32 = 1;
const PORTS_XID: u32 = 2;
const FLOWS_XID: u32 = 3;

/// Prints the flows of one table, or of all.
pub(crate) fn run(socket: &Path, table: Option<u8>, has_names: bool) -> Result<Found, Failure> {
    dump(socket, table, has_names).map_err(|failure| match failure {
        // A reader that went away has nothing to do with the switch.
        Failure::Output(_) => failure,
        _ => Failure::At { socket: socket.to_owned(), source: Box::new(failure) },
    })
}

fn dump(socket: &Path, table: Option<u8>, has_names: bool) -> Result<Found, Failure> {
    let mut switch = Switch::connect(socket)?;
    let ports = if has_names { switch.port_names()? } else { PortNames::default() };
    let mut out = BufWriter::with_capacity(CHUNK, io::stdout().lock());
    let query = FlowQuery { table: table.map_or(TableId::ALL, TableId), ..FlowQuery::default() };
    switch.ask(&MultipartRequest::Flow(query), FLOWS_XID, |body| {
        let MultipartBody::Flow(flows) = body else { return Err(unexpected()) };
        for flow in flows {
            writeln!(out, " {}", Named(&flow.map_err(Failure::BadSwitch)?, &ports))?;
        }
        Ok(())
    })?;
    out.flush()?;
    Ok(Found::Nothing)
}

/// A connection that has agreed on OpenFlow 1.5.
struct Switch {
    stream: UnixStream,
    received: BytesMut,
    chunk: Box<[u8]>,
}

impl Switch {
    fn connect(path: &Path) -> Result<Self, Failure> {
        let connected = UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        });
        let stream = connected.map_err(Failure::NoSwitch)?;
        let mut switch = Self { stream, received: BytesMut::new(), chunk: vec![0; CHUNK].into() };
        switch.send(|buf| Hello::offering(&[Version::V15]).encode(HELLO_XID, buf))?;
        let frame = switch.frame()?;
        match Message::decode(&frame).map_err(Failure::BadSwitch)?.1 {
            Message::Hello(hello) if hello.negotiate(&[Version::V15]).is_some() => Ok(switch),
            Message::Hello(_) => Err(refused("the bridge's protocols forbid OpenFlow 1.5")),
            _ => Err(unexpected()),
        }
    }

    fn port_names(&mut self) -> Result<PortNames, Failure> {
        let mut names = PortNames::default();
        self.ask(&MultipartRequest::PortDesc(OfPort::ANY), PORTS_XID, |body| {
            let MultipartBody::PortDesc(ports) = body else { return Err(unexpected()) };
            for port in ports {
                let port = port.map_err(Failure::BadSwitch)?;
                if let Some(name) = port.name_str() {
                    names.insert(port.number, name);
                }
            }
            Ok(())
        })?;
        Ok(names)
    }

    /// Asks, and hands each part of the answer to `each`.
    fn ask(
        &mut self,
        request: &MultipartRequest<'_>,
        xid: u32,
        mut each: impl FnMut(MultipartBody<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.send(|buf| request.encode(Version::V15, xid, buf))?;
        loop {
            let frame = self.frame()?;
            match Message::decode(&frame).map_err(Failure::BadSwitch)? {
                (header, Message::EchoRequest(data)) => {
                    self.send(|buf| encode_echo_reply(data, header.version, header.xid, buf))?;
                }
                (header, Message::Error(error)) if header.xid == xid => {
                    return Err(refused(error.code.map_or("an unknown error", openflow::ErrorCode::name)));
                }
                (header, Message::MultipartReply(reply)) if header.xid == xid => {
                    each(reply.body)?;
                    if !reply.more {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, write: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>) -> Result<(), Failure> {
        let mut buf = BytesMut::new();
        write(&mut buf).map_err(|error| refused(&error.to_string()))?;
        self.stream.write_all(&buf).map_err(Failure::NoSwitch)
    }

    /// The next message.
    fn frame(&mut self) -> Result<Bytes, Failure> {
        loop {
            if let Some(frame) = next_frame(&mut self.received).map_err(Failure::BadSwitch)? {
                return Ok(frame);
            }
            match self.stream.read(&mut self.chunk).map_err(Failure::NoSwitch)? {
                0 => return Err(Failure::NoSwitch(io::ErrorKind::UnexpectedEof.into())),
                n => self.received.extend_from_slice(self.chunk.get(..n).unwrap_or_default()),
            }
        }
    }
}

fn refused(reason: &str) -> Failure {
    Failure::SwitchRefused(reason.to_owned())
}

fn unexpected() -> Failure {
    refused("an answer to another question")
}
