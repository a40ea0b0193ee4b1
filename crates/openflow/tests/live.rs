//! A private Open vSwitch with the dummy datapath takes our bundle and gives back the flows that we sent.
//!
//! Needs no privileges and touches nothing outside a temporary directory. Fails where Open vSwitch is missing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use openflow::message::bundle::{BundleAdd, BundleControl, BundleFlags, BundleOp};
use openflow::message::flow_mod::FlowMod;
use openflow::message::hello::Hello;
use openflow::message::multipart::{FlowQuery, MultipartBody, MultipartRequest};
use openflow::{
    EmptyMessage, ErrorCode, Flow, FlowEntry, Message, TableId, Version, encode_empty, next_frame,
};

/// How long the daemons may take to come up and the switch to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The schema that Debian's package installs.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Two daemons that end with the value.
struct Switch {
    dir: tempfile::TempDir,
    daemons: Vec<Child>,
}

impl Drop for Switch {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            drop(daemon.kill());
            drop(daemon.wait());
        }
    }
}

impl Switch {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut switch = Self { dir, daemons: Vec::new() };
        let (db, socket) = (switch.path("conf.db"), switch.path("db.sock"));
        let remote = format!("unix:{}", socket.display());
        switch.run("ovsdb-tool", &["create", db.to_str().unwrap(), SCHEMA]);
        switch.daemon("ovsdb-server", &[db.to_str().unwrap(), &format!("--remote=p{remote}")]);
        wait_for(&socket);
        switch.run("ovs-vsctl", &[&format!("--db={remote}"), "--no-wait", "init"]);
        switch.daemon("ovs-vswitchd", &[&remote, "--disable-system", "--enable-dummy=override"]);
        let bridge =
            ["--", "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=secure"];
        let db_option = format!("--db={remote}");
        switch.run("ovs-vsctl", &[&["--timeout=20", db_option.as_str()][..], &bridge].concat());
        wait_for(&switch.path("br0.mgmt"));
        switch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, self.dir.path());
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, program: &str, args: &[&str]) {
        let status = self.command(program).args(args).status().expect("Open vSwitch must be installed");
        assert!(status.success(), "{program} {args:?}");
    }

    fn daemon(&mut self, program: &str, args: &[&str]) {
        let control = format!("--unixctl={}", self.path(&format!("{program}.ctl")).display());
        let child = self.command(program).args(args).arg(control).arg("-vconsole:off").spawn();
        self.daemons.push(child.expect("Open vSwitch must be installed"));
    }

    fn connect(&self) -> Connection {
        let stream = UnixStream::connect(self.path("br0.mgmt")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Connection { stream, received: BytesMut::new() };
        connection.send(|buf| Hello::offering(&[Version::V15]).encode(1, buf));
        let frame = connection.frame();
        let (_, Message::Hello(hello)) = Message::decode(&frame).unwrap() else { panic!("no hello") };
        assert_eq!(hello.negotiate(&[Version::V15]), Some(Version::V15));
        connection
    }
}

fn wait_for(socket: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while UnixStream::connect(socket).is_err() {
        assert!(Instant::now() < deadline, "{} never listened", socket.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

struct Connection {
    stream: UnixStream,
    received: BytesMut,
}

impl Connection {
    fn send(&mut self, encode: impl FnOnce(&mut BytesMut) -> Result<(), openflow::EncodeError>) {
        let mut buf = BytesMut::new();
        encode(&mut buf).unwrap();
        self.stream.write_all(&buf).unwrap();
    }

    fn frame(&mut self) -> Bytes {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some(frame) = next_frame(&mut self.received).unwrap() {
                return frame;
            }
            let n = self.stream.read(&mut chunk).unwrap();
            assert_ne!(n, 0, "the switch hung up");
            self.received.extend_from_slice(&chunk[..n]);
        }
    }

    /// The errors that arrive before the answer to a barrier.
    fn errors(&mut self, xid: u32) -> Vec<(u32, Option<ErrorCode>)> {
        self.send(|buf| encode_empty(EmptyMessage::BarrierRequest, Version::V15, xid, buf));
        let mut errors = Vec::new();
        loop {
            let frame = self.frame();
            match Message::decode(&frame).unwrap() {
                (header, Message::BarrierReply) if header.xid == xid => return errors,
                (header, Message::Error(error)) => errors.push((header.xid, error.code)),
                _ => {}
            }
        }
    }

    fn bundle(&mut self, op: BundleOp, xid: u32) {
        self.send(|buf| {
            BundleControl { bundle: 7, op, flags: FLAGS, properties: &[] }.encode(Version::V15, xid, buf)
        });
    }

    fn add(&mut self, xid: u32, change: &FlowMod) {
        self.send(|buf| {
            BundleAdd::encode_with(7, FLAGS, Version::V15, xid, buf, |v, xid, buf| change.encode(v, xid, buf))
        });
    }

    fn dump(&mut self) -> Vec<FlowEntry> {
        let request = MultipartRequest::Flow(FlowQuery::default());
        self.send(|buf| request.encode(Version::V15, 99, buf));
        let mut entries = Vec::new();
        loop {
            let frame = self.frame();
            let (_, Message::MultipartReply(reply)) = Message::decode(&frame).unwrap() else { continue };
            let more = reply.more;
            let MultipartBody::Flow(flows) = reply.body else { panic!("no flows") };
            entries.extend(flows.map(|flow| flow.unwrap().to_entry()));
            if !more {
                return entries;
            }
        }
    }
}

const FLAGS: BundleFlags = BundleFlags::ATOMIC.union(BundleFlags::ORDERED);

fn guard() -> Vec<Flow> {
    let lines = include_str!("oracle/guard.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.parse().expect(line)).collect()
}

#[test]
fn a_bundle_of_the_guards_flows_comes_back_as_it_was_sent() {
    let switch = Switch::start();
    let mut connection = switch.connect();
    let flows = guard();
    connection.bundle(BundleOp::OpenRequest, 10);
    for (xid, flow) in (100..).zip(&flows) {
        connection.add(xid, &FlowMod::add(flow.clone()));
    }
    assert_eq!(connection.errors(11), []);
    connection.bundle(BundleOp::CommitRequest, 12);
    assert_eq!(connection.errors(13), []);
    let installed = connection.dump();
    for flow in &flows {
        assert!(installed.iter().any(|entry| entry.as_stats().is(flow)), "{flow} is missing");
    }
    assert_eq!(installed.len(), flows.len());
}

#[test]
fn a_refused_flow_shows_before_the_commit_and_a_deleted_one_is_gone() {
    let switch = Switch::start();
    let mut connection = switch.connect();
    let first = guard().remove(0);
    connection.send(|buf| FlowMod::add(first.clone()).encode(Version::V15, 20, buf));
    assert_eq!(connection.errors(21), []);
    connection.bundle(BundleOp::OpenRequest, 22);
    // Table 255 does not exist.
    connection.add(23, &FlowMod::add(Flow::new(TableId::ALL)));
    assert_eq!(connection.errors(24), [(23, Some(ErrorCode::OFPFMFC_BAD_TABLE_ID))]);
    connection.bundle(BundleOp::DiscardRequest, 25);
    assert_eq!(connection.dump().len(), 1);
    connection.send(|buf| FlowMod::delete_strict(first).encode(Version::V15, 26, buf));
    assert_eq!(connection.errors(27), []);
    assert_eq!(connection.dump(), []);
}
