//! Prints the flows of a bridge as `ovs-ofctl --no-names -O OpenFlow15 dump-flows` does.
//!
//! `cargo run -p openflow --example dump_flows -- /var/run/openvswitch/br0.mgmt`

use std::error::Error;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use openflow::message::hello::Hello;
use openflow::message::multipart::{FlowQuery, MultipartBody, MultipartRequest};
use openflow::{Message, Version, encode_echo_reply, next_frame};

/// How long the switch may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("give the path of the bridge's .mgmt socket")?;
    let mut switch = Switch::connect(&path)?;
    let mut request = BytesMut::new();
    MultipartRequest::Flow(FlowQuery::default()).encode(Version::V15, 2, &mut request)?;
    switch.stream.write_all(&request)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    while print_part(&mut switch, &mut out)? {}
    out.flush()?;
    Ok(())
}

/// Prints the flows of one part; false after the last.
fn print_part(switch: &mut Switch, out: &mut impl Write) -> Result<bool, Box<dyn Error>> {
    let frame = switch.frame()?;
    match Message::decode(&frame)? {
        (header, Message::EchoRequest(data)) => {
            let mut reply = BytesMut::new();
            encode_echo_reply(data, header.version, header.xid, &mut reply)?;
            switch.stream.write_all(&reply)?;
            Ok(true)
        }
        (header, Message::Error(error)) if header.xid == 2 => {
            Err(format!("the switch refused: {:?}", error.code).into())
        }
        (header, Message::MultipartReply(reply)) if header.xid == 2 => {
            let MultipartBody::Flow(flows) = reply.body else { return Err("not the flows asked for".into()) };
            for flow in flows {
                writeln!(out, " {}", flow?)?;
            }
            Ok(reply.more)
        }
        _ => Ok(true),
    }
}

/// A connection that has agreed on OpenFlow 1.5.
struct Switch {
    stream: UnixStream,
    received: BytesMut,
}

impl Switch {
    fn connect(path: &str) -> Result<Self, Box<dyn Error>> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut switch = Self { stream, received: BytesMut::new() };
        let mut hello = BytesMut::new();
        Hello::offering(&[Version::V15]).encode(1, &mut hello)?;
        switch.stream.write_all(&hello)?;
        let frame = switch.frame()?;
        match Message::decode(&frame)?.1 {
            Message::Hello(hello) if hello.negotiate(&[Version::V15]).is_some() => Ok(switch),
            Message::Hello(_) => Err("the bridge's protocols forbid OpenFlow 1.5".into()),
            other => Err(format!("expected a hello, got {other:?}").into()),
        }
    }

    /// The next message.
    fn frame(&mut self) -> Result<Bytes, Box<dyn Error>> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some(frame) = next_frame(&mut self.received)? {
                return Ok(frame);
            }
            let n = self.stream.read(&mut chunk)?;
            let read = chunk.get(..n).filter(|read| !read.is_empty()).ok_or("the switch hung up")?;
            self.received.extend_from_slice(read);
        }
    }
}
