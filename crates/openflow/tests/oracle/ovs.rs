//! Open vSwitch as an oracle, without a switch: `ovs-ofctl` prints our bytes, and a fake switch on a Unix socket
//! records the bytes that `ovs-ofctl` makes of text. A machine without `ovs-ofctl` fails these tests.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use openflow::Version;

/// The name that `ovs-ofctl -O` has for a version.
pub(crate) fn name(version: Version) -> &'static str {
    match version {
        Version::V13 => "OpenFlow13",
        Version::V14 => "OpenFlow14",
        Version::V15 => "OpenFlow15",
    }
}

/// What `ovs-ofctl add-flows` sends for these flows, one flow-mod each.
pub(crate) fn flow_mods(version: Version, flows: &[String]) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("switch.sock");
    let file = dir.path().join("flows.txt");
    std::fs::write(&file, flows.join("\n")).expect("the flows");
    let recorded = fake_switch(&socket);
    let target = format!("unix:{}", socket.display());
    let args = ["--no-names", "-vconsole:off", "-O", name(version), "add-flows", &target];
    let run = Command::new("ovs-ofctl").args(args).arg(&file).output().expect("ovs-ofctl must be installed");
    assert!(run.status.success(), "ovs-ofctl refused: {}", String::from_utf8_lossy(&run.stderr));
    let messages: Vec<_> = recorded.iter().collect();
    assert_eq!(messages.len(), flows.len(), "one flow-mod for each flow");
    messages
}

/// What `ovs-ofctl` prints for actions in hexadecimal; `None` if it refuses them.
pub(crate) fn parse_actions(version: Version, hex: &str) -> Option<String> {
    let args = ["-vconsole:off", "parse-actions", name(version)];
    let mut command = Command::new("ovs-ofctl");
    let mut child =
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ovs-ofctl");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(format!("{hex}\n").as_bytes()).expect("a short line");
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    String::from_utf8(output.stdout).ok()?.lines().next()?.strip_prefix("actions=").map(str::to_owned)
}

/// The group-mod or meter-mod that a command of `ovs-ofctl` sends.
pub(crate) fn sent(version: Version, command: &str, text: &str) -> Result<Vec<u8>, String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("switch.sock");
    let recorded = fake_switch(&socket);
    let target = format!("unix:{}", socket.display());
    let mut args = vec!["--no-names", "-vconsole:off", "-O", name(version), command, &target];
    args.extend((!text.is_empty()).then_some(text));
    let run = Command::new("ovs-ofctl").args(args).output().expect("ovs-ofctl must be installed");
    if !run.status.success() {
        return Err(String::from_utf8_lossy(&run.stderr).into_owned());
    }
    recorded.iter().next().ok_or_else(|| format!("{command} sent nothing"))
}

/// What `ovs-ofctl` prints for each of the messages, without the message's name and xid.
pub(crate) fn print(messages: &[Vec<u8>]) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("stream");
    std::fs::write(&file, messages.concat()).expect("the stream");
    let run = Command::new("ovs-ofctl")
        .args(["--no-names", "-vconsole:off", "ofp-parse"])
        .arg(&file)
        .output()
        .expect("ovs-ofctl must be installed");
    let text = String::from_utf8(run.stdout).expect("text");
    let lines: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with("OFPT_") || line.starts_with("NXT_"))
        .map(|line| line.split_once("): ").map_or(line, |(_, rest)| rest))
        .map(|line| line.split_once("): ").map_or(line, |(_, rest)| rest).to_owned())
        .collect();
    assert_eq!(lines.len(), messages.len(), "one line for each message");
    lines
}

/// What `ovs-ofctl` prints for each of the messages, whole: a barrier follows each one to tell where its text ends.
pub(crate) fn print_whole(messages: &[Vec<u8>]) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("stream");
    let stream: Vec<u8> = (FIRST_MARK..)
        .zip(messages)
        .flat_map(|(xid, message)| [message, &[4, 20, 0, 8][..], &xid.to_be_bytes()].concat())
        .collect();
    std::fs::write(&file, stream).expect("the stream");
    let args = ["--no-names", "-vconsole:off", "ofp-parse"];
    let run = Command::new("ovs-ofctl").args(args).arg(&file).output().expect("ovs-ofctl must be installed");
    let text = String::from_utf8_lossy(&run.stdout);
    let mut rest = &text[..];
    let marks = (FIRST_MARK..).take(messages.len());
    let pieces = marks.map(|xid| {
        let mark = format!("OFPT_BARRIER_REQUEST (OF1.3) (xid={xid:#x}):\n");
        let (piece, after) = rest.split_once(&mark).expect("a barrier after each message");
        rest = after;
        piece.to_owned()
    });
    pieces.collect()
}

/// The xid of the first barrier between messages; no message of the corpus has it.
const FIRST_MARK: u32 = 0xbb00_0000;

/// What `ovs-ofctl` prints for one message in hexadecimal.
pub(crate) fn ofp_print(hex: &str) -> String {
    let args = ["--no-names", "-vconsole:off", "ofp-print", hex];
    let run = Command::new("ovs-ofctl").args(args).output().expect("ovs-ofctl must be installed");
    String::from_utf8_lossy(&run.stdout).into_owned()
}

/// Accepts one connection, answers what a client waits for, and passes on the flow-mods.
fn fake_switch(socket: &Path) -> Receiver<Vec<u8>> {
    let listener = UnixListener::bind(socket).expect("a socket");
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        if let Ok((stream, _)) = listener.accept() {
            // The client closes when it is done; what it sent until then has been passed on.
            drop(serve(stream, &sender));
        }
    });
    receiver
}

fn serve(mut stream: UnixStream, sender: &Sender<Vec<u8>>) -> std::io::Result<()> {
    // Versions 1.0 to 1.5 in the bitmap; the client chooses.
    stream.write_all(&[6, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x72])?;
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let mut body = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]])) - 8];
        stream.read_exact(&mut body)?;
        match head[1] {
            2 => stream.write_all(&[&[head[0], 3], &head[2..], &body].concat())?,
            20 => stream.write_all(&[&[head[0], 21], &head[2..]].concat())?,
            14 | 15 | 29 => drop(sender.send([&head[..], &body].concat())),
            _ => {}
        }
    }
}
