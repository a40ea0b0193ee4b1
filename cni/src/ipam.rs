//! Runs an IPAM plugin of the host on the agent's behalf, in the runtime's own context: its namespaces, its environment.
//!
//! The plugin has a process group of its own. When it is given up because the agent is gone or done it may end within
//! [`GRACE`], and gives back what it gave: one that is killed between two steps of its own (`host-local` makes a file, then
//! writes its owner into it) keeps an address for ever. Past that, or when the shim itself has to end, it is killed with all
//! that it started; where the shim is killed outright the kernel ends the plugin alone. One that ends by itself may leave
//! something running. Its output is bounded, and what it says is not read here.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{env, fs};

use agent_api::cni::v1::{IpamDone, RunIpam, Verb};
use agent_api::{MAX_PAYLOAD, MAX_STDERR};
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpid, getppid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// Runs the plugin to its end. Everything that goes wrong is an outcome too. Dropping the future kills the plugin and what it
/// started.
pub(crate) async fn run(request: RunIpam, path: &str) -> IpamDone {
    let seq = request.seq;
    match try_run(request, path).await {
        Ok(output) => IpamDone {
            seq,
            exit: exit_code(output.status),
            stdout: output.stdout,
            stderr: output.stderr,
            failure: String::new(),
        },
        Err(failure) => IpamDone { seq, exit: NOT_RUN, stdout: Vec::new(), stderr: Vec::new(), failure },
    }
}

/// Ends a plugin whose outcome nobody wants any more; what an ADD gave is given back.
pub(crate) async fn give_up(plugin: Pin<&mut impl Future<Output = IpamDone>>, request: RunIpam, path: &str) {
    let ended = timeout(GRACE, plugin).await.is_ok();
    // One that hangs would only hang again; the agent asks it later.
    if ended && request.verb() == Verb::Add {
        let back = RunIpam { verb: Verb::Del.into(), ..request };
        // If this fails too, the agent knows of the address and gives it back.
        drop(timeout(GRACE, run(back, path)).await);
    }
}

struct Output {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

async fn try_run(request: RunIpam, path: &str) -> Result<Output, String> {
    let command =
        command_word(request.verb()).ok_or("the agent asked for a verb that plugins do not know")?;
    let plugin = find(&request.r#type, path)?;
    let trouble = |what: &str, error: io::Error| format!("{what} {}: {error}", plugin.display());
    let mut child = spawn(&plugin, command).map_err(|error| trouble("cannot start", error))?;
    let mut group = Group::of(&child);
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(format!("{} was started without its pipes", plugin.display()));
    };
    let ((), stdout, stderr) = tokio::join!(
        feed(stdin, request.stdin),
        read_bounded(stdout, MAX_PAYLOAD),
        read_bounded(stderr, MAX_STDERR)
    );
    let stdout = stdout.map_err(|error| trouble("cannot read the output of", error))?;
    let stderr = stderr.map_err(|error| trouble("cannot read the errors of", error))?;
    if stdout.cut {
        // The plugin is killed when its group is dropped.
        return Err(format!("{} wrote more than {MAX_PAYLOAD} bytes", plugin.display()));
    }
    let status = child.wait().await.map_err(|error| trouble("cannot wait for", error))?;
    group.has_ended();
    Ok(Output { status, stdout: stdout.bytes, stderr: stderr.bytes })
}

/// The plugin's file: the first executable of that name in `CNI_PATH`.
fn find(name: &str, path: &str) -> Result<PathBuf, String> {
    if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(format!("'{name}' cannot be the name of an IPAM plugin"));
    }
    env::split_paths(path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| {
            fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| format!("no IPAM plugin '{name}' in CNI_PATH '{path}'"))
}

#[expect(unsafe_code, reason = "the only way to have the kernel end the plugin with the shim")]
fn spawn(plugin: &PathBuf, command: &str) -> io::Result<Child> {
    let shim = getpid();
    let mut child = Command::new(plugin);
    child
        .env("CNI_COMMAND", command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    // SAFETY: the closure runs between fork and exec of a process with one thread. It makes two system calls and
    // neither allocates nor takes a lock.
    unsafe {
        child.pre_exec(move || die_with(shim));
    }
    child.spawn()
}

/// A plugin's process group, killed when it is dropped. Its number is the plugin's, which nobody else gets before the plugin
/// was waited for.
struct Group(Option<Pid>);

impl Group {
    fn of(plugin: &Child) -> Self {
        Self(plugin.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// The plugin was waited for.
    fn has_ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody is left to kill, or nobody is left to tell.
            killpg(group, Signal::SIGKILL).ok();
        }
    }
}

/// Asks the kernel to kill this process when its parent dies, and notices a parent that died before the question.
fn die_with(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe));
    }
    Ok(())
}

/// Writes all of standard input. A plugin may end without reading it: that is no error.
async fn feed(mut stdin: ChildStdin, bytes: Vec<u8>) {
    drop(stdin.write_all(&bytes).await);
}

struct Bounded {
    bytes: Vec<u8>,
    cut: bool,
}

/// Reads to the end and keeps the first `limit` bytes; stops early at standard output's limit, which is an error to the
/// caller, and reads on past the limit of standard error, so that a talkative plugin does not block.
async fn read_bounded(mut pipe: impl AsyncRead + Unpin, limit: usize) -> io::Result<Bounded> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK];
    let mut cut = false;
    loop {
        let length = pipe.read(&mut chunk).await?;
        if length == 0 {
            return Ok(Bounded { bytes, cut });
        }
        let kept = length.min(limit - bytes.len());
        bytes.extend(chunk.get(..kept).unwrap_or_default());
        cut |= kept < length;
        if cut && limit == MAX_PAYLOAD {
            return Ok(Bounded { bytes, cut });
        }
    }
}

fn command_word(verb: Verb) -> Option<&'static str> {
    match verb {
        Verb::Unspecified => None,
        Verb::Add => Some("ADD"),
        Verb::Del => Some("DEL"),
        Verb::Check => Some("CHECK"),
        Verb::Gc => Some("GC"),
        Verb::Status => Some("STATUS"),
        Verb::Version => Some("VERSION"),
    }
}

/// As a shell would say it.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(NOT_RUN)
}

/// How long a plugin that is given up may take to end, and to take back what it gave: `host-local` waits for others of its
/// kind, a few milliseconds each.
const GRACE: Duration = Duration::from_secs(2);

/// What a shell says for a command that cannot be run.
const NOT_RUN: i32 = 127;

/// Bytes per read: what a pipe gives at once by default is 64 KiB; results are some hundred bytes.
const CHUNK: usize = 8 << 10;
