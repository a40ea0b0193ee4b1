//! A private Open vSwitch with dummy ports: no root, no kernel devices, gone with the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Both daemons start in well under a second; a loaded machine takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Ovs {
    dir: TempDir,
    database: Daemon,
    vswitchd: Option<Daemon>,
}

/// Killed when dropped, also by a failing test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // A daemon that died by itself is not there to be killed; the wait reaps it.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Ovs {
    /// Starts both daemons. Fails, and does not skip, where Open vSwitch is missing.
    pub(super) fn start() -> Self {
        let dir = TempDir::new().expect("a directory for Open vSwitch");
        succeed(command(dir.path(), "ovsdb-tool").arg("create").arg(dir.path().join("conf.db")).arg(SCHEMA));
        let database = spawn(
            command(dir.path(), "ovsdb-server")
                .arg(dir.path().join("conf.db"))
                .arg(format!("--remote=punix:{}", dir.path().join("db.sock").display()))
                .arg(format!("--unixctl={}", dir.path().join("ovsdb.ctl").display())),
        );
        let mut ovs = Self { dir, database, vswitchd: None };
        ovs.wait_for("db.sock");
        ovs.vsctl(&["--no-wait", "init"]);
        ovs.start_vswitchd();
        ovs
    }

    /// `br0` with the ports `p1` and `p2`, numbered so.
    pub(super) fn with_bridge() -> Self {
        let ovs = Self::start();
        ovs.add_bridge();
        ovs
    }

    pub(super) fn add_bridge(&self) {
        self.vsctl(&["add-br", "br0"]);
        for (port, number) in [("p1", "1"), ("p2", "2")] {
            let request = format!("ofport_request={number}");
            self.vsctl(&["add-port", "br0", port, "--", "set", "interface", port, "type=dummy", &request]);
        }
    }

    pub(super) fn start_vswitchd(&mut self) {
        let dir = self.run_dir();
        let daemon = spawn(
            command(&dir, "ovs-vswitchd")
                .arg(format!("unix:{}", dir.join("db.sock").display()))
                .arg(format!("--unixctl={}", dir.join("vswitchd.ctl").display()))
                .args(["--enable-dummy=override", "--disable-system"]),
        );
        self.vswitchd = Some(daemon);
        self.wait_for("vswitchd.ctl");
    }

    /// As a crash would: its sockets stay where they are.
    pub(super) fn kill_vswitchd(&mut self) {
        self.vswitchd = None;
        drop(std::fs::remove_file(self.run_dir().join("vswitchd.ctl")));
    }

    /// Stops and continues vswitchd without ending it.
    pub(super) fn signal_vswitchd(&self, signal: nix::sys::signal::Signal) {
        let pid = self.vswitchd.as_ref().expect("vswitchd runs").0.id();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid fits"));
        nix::sys::signal::kill(pid, signal).expect("vswitchd takes signals");
    }

    pub(super) fn run_dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    pub(super) fn vsctl(&self, args: &[&str]) -> String {
        let remote = format!("--db=unix:{}", self.dir.path().join("db.sock").display());
        succeed(command(self.dir.path(), "ovs-vsctl").args(["--timeout=10", &remote]).args(args))
    }

    pub(super) fn ofctl(&self, verb: &str, args: &[&str]) -> String {
        let bridge = format!("unix:{}", self.dir.path().join("br0.mgmt").display());
        let flags = ["-O", "OpenFlow15", "--no-names", "--timeout=10", "--no-stats", verb];
        succeed(command(self.dir.path(), "ovs-ofctl").args(flags).arg(bridge).args(args))
    }

    pub(super) fn appctl(&self, args: &[&str]) -> String {
        let target = self.dir.path().join("vswitchd.ctl");
        succeed(command(self.dir.path(), "ovs-appctl").args(["--timeout=10", "-t"]).arg(target).args(args))
    }

    fn wait_for(&mut self, socket: &str) {
        let path = self.dir.path().join(socket);
        let end = Instant::now() + PATIENCE;
        while !path.exists() {
            for daemon in [Some(&mut self.database), self.vswitchd.as_mut()].into_iter().flatten() {
                let ended = daemon.0.try_wait().expect("a child can be asked");
                assert!(ended.is_none(), "an Open vSwitch daemon ended: {ended:?}");
            }
            assert!(Instant::now() < end, "no {} after {PATIENCE:?}", path.display());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn command(dir: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("OVS_RUNDIR", dir).env("OVS_LOGDIR", dir).env("OVS_DBDIR", dir).current_dir(dir);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn spawn(command: &mut Command) -> Daemon {
    command.args(["-vconsole:off", "-vsyslog:off"]).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.stderr(Stdio::null()).spawn();
    Daemon(child.unwrap_or_else(|error| panic!("starting {}: {error}", name(command))))
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("running {}: {error}", name(command)));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn name(command: &Command) -> String {
    format!("{} (install openvswitch-switch)", command.get_program().to_string_lossy())
}
