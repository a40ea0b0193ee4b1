//! The private directory of a lab, and the sweeping of rooms whose owner died.
//!
//! ```text
//! $TMPDIR/underpass-lab-XXXXXX/
//!   owner.lock   flock held by the test process: who can take it may sweep the room
//!   pids         one line "pid starttime" for every daemon started here
//!   ovs/         database, sockets and logs of this lab's Open vSwitch
//!   run/         the agent's run_dir
//!   bpf/         a bpffs of this lab's own
//!   netns/       one bind mount for every namespace
//!   ipam/        host-local's reservations
//!   log/         the agent's log, the shim's calls
//! ```

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::unbind;

/// How every room is called.
const PREFIX: &str = "underpass-lab-";

/// Room for `/ovs/<bridge>.mgmt` below the path in a Unix socket address of 108 bytes.
const MAX_PATH: usize = 70;

/// The directory, alive as long as the lab.
#[derive(Debug)]
pub(crate) struct Room {
    path: PathBuf,
    /// Held, never read: its lock says that the owner lives.
    _owner: File,
}

impl Room {
    /// Makes a room, after sweeping those whose owners have died.
    pub(crate) fn open() -> Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let dir =
            tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent).context("making the lab's room")?;
        let path = dir.keep();
        ensure!(path.as_os_str().len() <= MAX_PATH, "TMPDIR={}: too long for Unix sockets", parent.display());
        // Locked before it gets its name, or another lab might take it for a dead owner's.
        let owner = File::create_new(path.join("owner.new")).context("creating the owner's lock")?;
        owner.try_lock().context("taking the owner's lock")?;
        fs::rename(path.join("owner.new"), path.join("owner.lock")).context("naming the owner's lock")?;
        for name in ["ovs", "run", "bpf", "netns", "ipam", "log"] {
            fs::create_dir(path.join(name)).with_context(|| format!("making {name} in the lab's room"))?;
        }
        let none: Option<&str> = None;
        mount(Some("bpf"), &path.join("bpf"), Some("bpf"), MsFlags::empty(), none)
            .context("mounting a bpffs")?;
        Ok(Self { path, _owner: owner })
    }

    /// A file or directory of the room.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The room itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes a daemon, so that a later lab can end it should this process be killed.
    pub(crate) fn note_pid(&self, pid: u32) -> Result<()> {
        let started = start_time(pid).with_context(|| format!("process {pid} ended at once"))?;
        let mut pids =
            File::options().create(true).append(true).open(self.join("pids")).context("opening pids")?;
        writeln!(pids, "{pid} {started}").context("noting a pid")
    }

    /// Takes the room away with the namespaces bound in it; every process must have been ended before.
    pub(crate) fn close(&self) -> Result<()> {
        for netns in fs::read_dir(self.join("netns")).context("listing the lab's namespaces")? {
            unbind(&netns.context("listing the lab's namespaces")?.path())?;
        }
        umount2(&self.join("bpf"), MntFlags::MNT_DETACH).context("unmounting the lab's bpffs")?;
        fs::remove_dir_all(&self.path).with_context(|| format!("removing {}", self.path.display()))
    }
}

/// Best effort: a room that cannot be swept now is met again by the next lab.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for room in entries.flatten().map(|entry| entry.path()) {
        let is_room = room.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        // No lock file yet: the room of a lab that is just being made.
        let Ok(owner) = File::open(room.join("owner.lock")) else { continue };
        if is_room && owner.try_lock().is_ok() {
            sweep_room(&room);
        }
    }
}

fn sweep_room(room: &Path) {
    for line in fs::read_to_string(room.join("pids")).unwrap_or_default().lines() {
        let Some((pid, started)) = line.split_once(' ') else { continue };
        let Ok(pid) = pid.parse::<u32>() else { continue };
        // The start time tells our daemon from a stranger who was given its pid.
        if start_time(pid).is_some_and(|now| now == started)
            && let Ok(pid) = i32::try_from(pid)
        {
            let _: Result<(), _> = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    for netns in fs::read_dir(room.join("netns")).into_iter().flatten().flatten() {
        drop(unbind(&netns.path()));
    }
    let _: Result<(), _> = umount2(&room.join("bpf"), MntFlags::MNT_DETACH);
    drop(fs::remove_dir_all(room));
}

/// Field 22 of `/proc/<pid>/stat`, in clock ticks since boot: with the pid it names a process for ever.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets and may hold blanks: count from behind it.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(19).map(str::to_owned)
}
