//! `agentctl flows dump --switch`: the real binary beside a switch that knows two ports and two flows, without an agent.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use bytes::BytesMut;
use openflow::message::hello::Hello;
use openflow::message::multipart::{self, MultipartReply, MultipartRequest};
use openflow::message::port::{EthernetPort, Port, PortConfig, PortState};
use openflow::{Flow, FlowEntry, Mac, Message, OfPort, Version, encode_echo_request, next_frame};

/// Serves one connection. The flows come in two parts with an echo between them.
fn serve(mut stream: UnixStream) -> Option<()> {
    let mut received = BytesMut::new();
    let mut out = BytesMut::new();
    Hello::offering(&Version::ALL).encode(1, &mut out).ok()?;
    stream.write_all(&out).ok()?;
    loop {
        let Some(frame) = next_frame(&mut received).ok()? else {
            let mut chunk = [0; 4096];
            let n = stream.read(&mut chunk).ok().filter(|n| *n > 0)?;
            received.extend_from_slice(&chunk[..n]);
            continue;
        };
        out.clear();
        match Message::decode(&frame).ok()? {
            (header, Message::MultipartRequest { request: MultipartRequest::PortDesc(_), .. }) => {
                answer_ports(header.xid, &mut out);
            }
            (header, Message::MultipartRequest { request: MultipartRequest::Flow(_), .. }) => {
                answer_flow("cookie=0x7,table=1,in_port=1 actions=output:2", true, header.xid, &mut out);
                encode_echo_request(b"alive?", Version::V15, 77, &mut out).ok()?;
                answer_flow("table=2 actions=drop", false, header.xid, &mut out);
            }
            _ => {}
        }
        stream.write_all(&out).ok()?;
    }
}

fn answer_ports(xid: u32, out: &mut BytesMut) {
    let port = |number, name| Port {
        number: OfPort(number),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        name,
        config: PortConfig::default(),
        state: PortState::default(),
        ethernet: EthernetPort::default(),
        properties: &[],
    };
    MultipartReply::encode_with(multipart::PORT_DESC, false, Version::V15, xid, out, |w| {
        use openflow::message::entries::Entry as _;
        port(1, b"veth-a").write(w)?;
        port(2, b"p2").write(w)
    })
    .unwrap();
}

fn answer_flow(text: &str, more: bool, xid: u32, out: &mut BytesMut) {
    let entry = FlowEntry {
        flow: text.parse::<Flow>().unwrap(),
        packet_count: Some(3),
        byte_count: Some(300),
        duration: Duration::from_millis(1500),
        idle_age: None,
    };
    MultipartReply::encode_with(multipart::FLOW, more, Version::V15, xid, out, |w| entry.as_stats().write(w))
        .unwrap();
}

fn dump(socket: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentctl"));
    command.args(["flows", "dump", "--switch"]).arg(socket).args(more);
    command.env("UNDERPASS_SOCKET", "/nonexistent").output().unwrap()
}

#[track_caller]
fn check(more: &[&str], expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("br0.mgmt");
    let listener = UnixListener::bind(&socket).unwrap();
    let switch = thread::spawn(move || serve(listener.accept().unwrap().0));
    let output = dump(&socket, more);
    drop(switch.join());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{output:?}", output = output.stderr);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn flows_of_a_switch_print_as_ovs_ofctl_prints_them() {
    check(
        &[],
        " cookie=0x7, duration=1.500s, table=1, n_packets=3, n_bytes=300, in_port=1 actions=output:2\n \
         cookie=0x0, duration=1.500s, table=2, n_packets=3, n_bytes=300, actions=drop\n",
    );
}

#[test]
fn ports_have_their_names_if_asked_for() {
    check(
        &["--names"],
        " cookie=0x7, duration=1.500s, table=1, n_packets=3, n_bytes=300, in_port=\"veth-a\" actions=output:p2\n \
         cookie=0x0, duration=1.500s, table=2, n_packets=3, n_bytes=300, actions=drop\n",
    );
}

#[test]
fn no_switch_is_told_as_such() {
    let output = dump(Path::new("/nonexistent/br0.mgmt"), &[]);
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.starts_with("error: /nonexistent/br0.mgmt: the switch is out of reach: No such file"),
        "{told}"
    );
    assert!(told.contains("hint: does ovs-vswitchd run"), "{told}");
    assert_eq!(dump(Path::new("/nonexistent"), &["--table", "guard"]).status.code(), Some(2));
}

#[test]
fn json_is_refused_where_there_is_none() {
    let output = dump(Path::new("/nonexistent"), &["-o", "json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("-o json"));
}
