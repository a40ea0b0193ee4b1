//! One private Open vSwitch: ovsdb-server and ovs-vswitchd in the lab's node namespace, and the tools to ask it.
//!
//! The daemons run in the foreground as children of the test, so they are ended by pid and can be restarted in
//! the middle of a story. The datapath (taps, or the kernel's `ovs-system`, which is one per namespace) vanishes
//! with the namespace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::eventually::wait_for;
use crate::ground::Ground;
use crate::machine::{self, Datapath, program};
use crate::process::{Daemon, run_with_input};

/// The schema of the installed OVS.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Both daemons are up in well under a second; an emulated guest takes longer.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// The lock of OVSDB that an agent must hold before it writes anything.
const AGENTS_LOCK: &str = "underpass";

/// vswitchd answers a SIGTERM at once, unless it is amid a reconfiguration.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// Open vSwitch of one lab.
#[derive(Debug)]
pub struct Switch {
    ground: Arc<Ground>,
    dir: PathBuf,
    daemons: Mutex<Daemons>,
}

#[derive(Debug, Default)]
struct Daemons {
    database: Option<Daemon>,
    vswitchd: Option<Daemon>,
    /// `ovsdb-client` that holds the agent's lock.
    thief: Option<Daemon>,
    /// Whether vswitchd was ever stopped by the story.
    was_stopped: bool,
}

impl Switch {
    /// Makes a database and starts both daemons in the node's namespace.
    pub(crate) fn start(ground: Arc<Ground>) -> Result<Self> {
        let dir = ground.room.join("ovs");
        let switch = Self { ground, dir, daemons: Mutex::default() };
        switch.ground.run("ovsdb-tool", &["create", &switch.file("conf.db"), SCHEMA])?;
        switch.start_database()?;
        // As ovs-ctl does at boot: nobody else tells the database which version runs.
        let version = format!("ovs-version={}", switch.version()?);
        switch.vsctl(&["--no-wait", "init", "--", "set", "Open_vSwitch", ".", &version])?;
        switch.start_vswitchd()?;
        Ok(switch)
    }

    /// The version of the installed Open vSwitch.
    pub fn version(&self) -> Result<String> {
        let text = self.ground.run("ovs-vswitchd", &["--version"])?;
        let line = text.lines().next().unwrap_or_default();
        line.rsplit(' ').next().map(str::to_owned).with_context(|| format!("no version in {line:?}"))
    }

    /// Starts ovsdb-server on the lab's database.
    pub fn start_database(&self) -> Result<()> {
        let mut command = self.command("ovsdb-server")?;
        command
            .arg(self.file("conf.db"))
            .arg(format!("--remote=punix:{}", self.file("db.sock")))
            .arg(format!("--unixctl={}", self.file("ovsdb-server.ctl")));
        let daemon = self.daemon("ovsdb-server", &mut command)?;
        self.daemons().database = Some(daemon);
        self.wait_for_socket("db.sock")
    }

    /// Starts ovs-vswitchd; returns when it answers.
    pub fn start_vswitchd(&self) -> Result<()> {
        if self.ground.datapath == Datapath::Kernel {
            machine::wait_for_uptime()?;
        }
        let mut command = self.command("ovs-vswitchd")?;
        command.arg(self.database_remote()).arg(format!("--unixctl={}", self.file("ovs-vswitchd.ctl")));
        if self.ground.datapath == Datapath::Userspace {
            // Else it asks for the kernel's generic netlink family at every turn.
            command.arg("--disable-system");
        }
        let daemon = self.daemon("ovs-vswitchd", &mut command)?;
        self.daemons().vswitchd = Some(daemon);
        self.wait_for_socket("ovs-vswitchd.ctl")
    }

    /// Ends vswitchd as an operator would.
    pub fn stop_vswitchd(&self) -> Result<()> {
        self.daemons().was_stopped = true;
        let daemon = self.daemons().vswitchd.take().ok_or_else(|| anyhow!("vswitchd is not running"))?;
        daemon.stop(STOP_DEADLINE)?;
        drop(std::fs::remove_file(self.dir.join("ovs-vswitchd.ctl")));
        Ok(())
    }

    /// Stops vswitchd in its tracks: it keeps its sockets and its flows, and answers nobody.
    pub fn freeze_vswitchd(&self) -> Result<()> {
        self.signal_vswitchd(Signal::SIGSTOP)
    }

    /// Lets a frozen vswitchd go on.
    pub fn thaw_vswitchd(&self) -> Result<()> {
        self.signal_vswitchd(Signal::SIGCONT)
    }

    /// Ends ovsdb-server as an operator would.
    pub fn stop_database(&self) -> Result<()> {
        let daemon = self.daemons().database.take().ok_or_else(|| anyhow!("ovsdb-server is not running"))?;
        daemon.stop(STOP_DEADLINE)?;
        drop(std::fs::remove_file(self.dir.join("db.sock")));
        Ok(())
    }

    /// Takes the agent's lock of OVSDB from whoever holds it, until [`Self::give_lock_back`].
    pub fn steal_lock(&self) -> Result<()> {
        let mut command = self.command("ovsdb-client")?;
        command.args(["steal", &self.database_remote(), AGENTS_LOCK]);
        let daemon = self.daemon("ovsdb-client", &mut command)?;
        self.daemons().thief = Some(daemon);
        Ok(())
    }

    /// Ends the thief; whoever waits for the lock is next.
    pub fn give_lock_back(&self) -> Result<()> {
        let thief = self.daemons().thief.take().ok_or_else(|| anyhow!("nobody has stolen the lock"))?;
        thief.kill9()
    }

    /// Ends both daemons, collecting what went wrong.
    pub(crate) fn stop(&self) -> Vec<anyhow::Error> {
        let Daemons { database, vswitchd, .. } = std::mem::take(&mut *self.daemons());
        let stopped = [vswitchd, database].into_iter().flatten().map(|daemon| daemon.stop(STOP_DEADLINE));
        stopped.filter_map(Result::err).collect()
    }

    /// Fails if a daemon died without being asked to.
    pub(crate) fn check_running(&self) -> Result<()> {
        let mut daemons = self.daemons();
        let Daemons { database, vswitchd, .. } = &mut *daemons;
        for daemon in [database, vswitchd].into_iter().flatten() {
            daemon.check_running()?;
        }
        Ok(())
    }

    /// How an OVSDB client reaches the database.
    pub fn database_remote(&self) -> String {
        format!("unix:{}", self.file("db.sock"))
    }

    /// Where `<bridge>.mgmt` lies.
    pub fn run_dir(&self) -> &Path {
        &self.dir
    }

    /// `ovs-vsctl`; fails where vswitchd does not confirm within ten seconds.
    pub fn vsctl(&self, args: &[&str]) -> Result<String> {
        let remote = format!("--db={}", self.database_remote());
        self.ground.run("ovs-vsctl", &[&["--timeout=10", &remote], args].concat())
    }

    /// `ovs-vsctl --format=json`, each row as a map from column to value (scalars and OVSDB's tagged arrays).
    pub fn table(&self, args: &[&str]) -> Result<Vec<Value>> {
        let text = self.vsctl(&[&["--format=json"], args].concat())?;
        let table: Value = serde_json::from_str(&text).context("parsing ovs-vsctl's JSON")?;
        let names = table["headings"].as_array().context("a table without headings")?;
        let rows = table["data"].as_array().context("a table without data")?;
        let keyed = |row: &Value| {
            let cells = row.as_array().into_iter().flatten().cloned();
            names.iter().filter_map(Value::as_str).map(str::to_owned).zip(cells).collect()
        };
        Ok(rows.iter().map(|row| Value::Object(keyed(row))).collect())
    }

    /// `ovs-ofctl` on one bridge: `ofctl("dump-flows", "br1", &[])`.
    pub fn ofctl(&self, verb: &str, bridge: &str, args: &[&str]) -> Result<String> {
        let target = format!("unix:{}", self.file(&format!("{bridge}.mgmt")));
        self.ground.run(
            "ovs-ofctl",
            &[&["-O", "OpenFlow15", "--no-names", "--timeout=10", verb, &target], args].concat(),
        )
    }

    /// `ovs-ofctl add-flows` with one flow on each line.
    pub fn add_flows(&self, bridge: &str, flows: &str) -> Result<()> {
        let target = format!("unix:{}", self.file(&format!("{bridge}.mgmt")));
        let args = ["-O", "OpenFlow15", "--timeout=10", "add-flows", &target, "-"];
        run_with_input(&self.ground.node, "ovs-ofctl", &args, flows).map(drop)
    }

    /// `ovs-appctl` to vswitchd.
    pub fn appctl(&self, args: &[&str]) -> Result<String> {
        self.ground
            .run("ovs-appctl", &[&["--timeout=10", "-t", &self.file("ovs-vswitchd.ctl")], args].concat())
    }

    /// On the kernel datapath: no upcall was lost, or the lab was broken all along. While vswitchd is stopped, nobody
    /// reads them.
    pub fn check_upcalls(&self) -> Result<()> {
        if self.ground.datapath == Datapath::Kernel {
            let shown = self.appctl(&["dpctl/show"])?;
            let excused = self.daemons().was_stopped;
            ensure!(excused || shown.contains("lost:0"), "the kernel datapath lost upcalls:\n{shown}");
        }
        Ok(())
    }

    fn signal_vswitchd(&self, signal: Signal) -> Result<()> {
        let mut daemons = self.daemons();
        daemons.was_stopped = true;
        daemons.vswitchd.as_ref().ok_or_else(|| anyhow!("vswitchd is not running"))?.signal(signal)
    }

    fn daemon(&self, name: &str, command: &mut Command) -> Result<Daemon> {
        let daemon = Daemon::start(&self.ground.node, name, command, &self.dir.join(format!("{name}.log")))?;
        self.ground.room.note_pid(daemon.pid())?;
        Ok(daemon)
    }

    /// A story that panicked with the lock held left nothing half done: every change is one assignment.
    fn daemons(&self) -> MutexGuard<'_, Daemons> {
        self.daemons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_socket(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        wait_for(START_DEADLINE, || {
            self.check_running().map_err(|error| format!("{error:#}"))?;
            if path.exists() { Ok(()) } else { Err(format!("no socket at {}", path.display())) }
        })
        .map(drop)
        .map_err(|why| anyhow!("Open vSwitch did not start: {why}"))
    }

    fn command(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(program(name)?);
        let dir = &self.dir;
        command.env("OVS_RUNDIR", dir).env("OVS_LOGDIR", dir).env("OVS_DBDIR", dir).current_dir(dir);
        // The level of OVS' own log files, on the stream that the lab keeps.
        command.arg("-vconsole:info").arg("-vsyslog:off");
        Ok(command)
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}
