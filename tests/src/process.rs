//! Programs that the lab starts: short commands with a deadline and daemons that are ended by their own pid.
//!
//! Every process is a child of the test and is born inside a namespace of the lab. Nothing here signals a
//! process that it did not start.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine::program;
use crate::netns::Netns;

/// No command of the lab takes longer, not even in an emulated guest; CNI calls bring their own deadline.
const COMMAND_DEADLINE: Duration = Duration::from_mins(1);

/// How often a child is asked whether it has ended.
const POLL: Duration = Duration::from_millis(2);

/// How much of a daemon's log a failure shows.
const LOG_TAIL_LINES: usize = 60;

/// Whether children get process groups of their own.
static SHIELDED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C in the terminal reaches this process alone; who calls it must end the lab in order. Tests do
/// not: there Ctrl-C shall end the daemons with the test process.
pub fn shield_children_from_ctrl_c() {
    SHIELDED.store(true, Ordering::Relaxed);
}

/// What a command left behind.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
    /// From exec to exit.
    pub took: Duration,
}

/// Runs an external program inside `netns`; a failure carries its standard error.
pub(crate) fn run(netns: &Netns, name: &str, args: &[&str]) -> Result<String> {
    run_with_input(netns, name, args, "")
}

/// [`run`] with text on standard input.
pub(crate) fn run_with_input(netns: &Netns, name: &str, args: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(program(name)?);
    command.args(args);
    let output = finish(netns, &mut command, input, COMMAND_DEADLINE)?;
    let line = || format!("{name} {}", args.join(" "));
    ensure!(output.status.success(), "{}: {}: {}", line(), output.status, output.stderr.trim());
    Ok(output.stdout)
}

/// Runs a prepared command inside `netns` to its end, whatever its exit status, or kills it at the deadline.
pub(crate) fn finish(
    netns: &Netns,
    command: &mut Command,
    input: &str,
    deadline: Duration,
) -> Result<Output> {
    let began = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(netns, command)?;
    let mut stdin = child.stdin.take().expect("stdin was piped two lines above");
    let mut stdout = child.stdout.take().expect("stdout was piped three lines above");
    let mut stderr = child.stderr.take().expect("stderr was piped four lines above");
    thread::scope(|scope| {
        // A child that ends without reading its input breaks the pipe; its exit status says why.
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        let stdout = scope.spawn(move || read_text(&mut stdout));
        let stderr = scope.spawn(move || read_text(&mut stderr));
        let status = wait(&mut child, deadline);
        if status.is_err() {
            drop(child.kill());
            drop(child.wait());
        }
        let joined = |text: thread::ScopedJoinHandle<'_, Result<String>>| {
            text.join().map_err(|_| anyhow!("a thread that reads a pipe panicked"))?
        };
        let (stdout, stderr) = (joined(stdout)?, joined(stderr)?);
        let status = status.with_context(|| format!("{command:?} said: {stderr}"))?;
        Ok(Output { status, stdout, stderr, took: began.elapsed() })
    })
}

/// A program that lives until the lab ends it.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` inside `netns`, its output appended to `log`.
    pub(crate) fn start(netns: &Netns, name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let open = || File::options().create(true).append(true).open(log);
        let output = open().with_context(|| format!("opening {}", log.display()))?;
        let errors = output.try_clone().context("duplicating a log's descriptor")?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = spawn(netns, command)?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The process id, valid while this value lives.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of its log, if the daemon is not running any more.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait().with_context(|| format!("asking after {}", self.name))? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself: {status}\n{}", self.name, self.log_tail()),
        }
    }

    /// Sends a signal to the daemon.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("a pid beyond i32")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Ends the daemon as an operator would; KILL, and an error, past the deadline.
    pub(crate) fn stop(mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        wait(&mut self.child, deadline).with_context(|| format!("{} ignores SIGTERM", self.name))
    }

    /// Ends the daemon as a crash would: no handler runs.
    pub(crate) fn kill9(mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("killing {}", self.name))?;
        self.child.wait().with_context(|| format!("waiting for {}", self.name))?;
        Ok(())
    }

    /// The last lines of the log.
    pub(crate) fn log_tail(&self) -> String {
        log_tail(&self.log)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After `stop` and `kill9` the child is reaped and both calls are no-ops; after a panic they end it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The last lines of the file at `path`, or why they cannot be had.
pub(crate) fn log_tail(path: &Path) -> String {
    match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
        }
        Err(error) => format!("(no log at {}: {error})", path.display()),
    }
}

fn spawn(netns: &Netns, command: &mut Command) -> Result<Child> {
    if SHIELDED.load(Ordering::Relaxed) {
        command.process_group(0);
    }
    netns.enter(|| command.spawn().with_context(|| format!("starting {}", command.get_program().display())))
}

fn wait(child: &mut Child, deadline: Duration) -> Result<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("waiting for a child")? {
            return Ok(status);
        }
        ensure!(began.elapsed() < deadline, "still running after {deadline:?}");
        thread::sleep(POLL);
    }
}

fn read_text(pipe: &mut impl std::io::Read) -> Result<String> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).context("reading a child's output")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
