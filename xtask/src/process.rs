//! Runs commands: every one with a deadline, in a process group of its own, with its output read
//! line by line, and ended when the user presses Ctrl-C.
//!
//! Signals only set a flag. Whoever waits looks at it, ends its child and returns an error, so that
//! guards (the policy of apt, temporary directories) are dropped in the ordinary way. A second
//! signal ends xtask at once.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, PipeReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit status after Ctrl-C: what shells use for SIGINT.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// How long a child may take to end after SIGTERM before it gets SIGKILL: dpkg finishes the package
/// it is unpacking, lab tests remove their namespaces.
const TERMINATION_GRACE: Duration = Duration::from_secs(10);
/// How often a waiting loop looks at the interrupt flag and the child.
const POLL: Duration = Duration::from_millis(100);
/// How long output is still read after the child ended: a daemon it left may hold the pipe open.
const DRAIN: Duration = Duration::from_secs(1);
/// Lines in flight between the reading thread and the loop; a faster child waits.
const LINES_IN_FLIGHT: usize = 1024;
/// Lines of output shown with the error of a failed command: enough for what several crates' lints say.
const LINES_IN_ERROR: usize = 300;

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Turns SIGINT, SIGTERM and SIGHUP into the flag that [`interrupted`] reads.
pub(crate) fn heed_interrupts() -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Registered first, so that it sees the flag of an earlier signal and not of this one.
        flag::register_conditional_shutdown(signal, EXIT_INTERRUPTED.into(), INTERRUPTED.clone())
            .and_then(|_| flag::register(signal, INTERRUPTED.clone()))
            .with_context(|| format!("no handler for signal {signal}"))?;
    }
    Ok(())
}

/// Whether the user asked us to stop.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Sleeps for one polling period, or fails when the user asked us to stop.
pub(crate) fn pause() -> Result<()> {
    thread::sleep(POLL);
    if interrupted() {
        bail!("interrupted");
    }
    Ok(())
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Status(ExitStatus),
    /// It ran past its deadline and was killed.
    TimedOut,
}

impl Ended {
    pub(crate) fn is_success(self) -> bool {
        matches!(self, Self::Status(status) if status.success())
    }
}

/// Runs a command without stdin and hands every line of its stdout and stderr to `on_line`.
///
/// Bytes that are not UTF-8 are replaced. An interrupt ends the command and is an error.
pub(crate) fn lines(
    command: impl Into<Command>,
    deadline: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<Ended> {
    let mut command = command.into();
    let (reader, writer) = std::io::pipe().context("no pipe for a command's output")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", words(&command)))?;
    drop(command); // It holds the writing ends of the pipe: without this there is no end of output.

    let output = read_lines(reader);
    let until = Instant::now() + deadline;
    let mut drained_at = None;
    loop {
        match output.recv_timeout(POLL) {
            Ok(line) => on_line(&line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_millis(1)),
        }
        if interrupted() {
            end(&mut child);
            bail!("interrupted");
        }
        if let Some(status) = child.try_wait()? {
            let drain = *drained_at.get_or_insert_with(|| Instant::now() + DRAIN);
            while let Ok(line) = output.recv_timeout(drain.saturating_duration_since(Instant::now())) {
                on_line(&line);
            }
            return Ok(Ended::Status(status));
        }
        if Instant::now() > until {
            end(&mut child);
            return Ok(Ended::TimedOut);
        }
    }
}

/// Runs a command that must succeed and gives its output; the error shows the last lines of it.
pub(crate) fn output(command: impl Into<Command>, deadline: Duration) -> Result<String> {
    output_seen(command, deadline, |_| {})
}

/// As [`output`], with every line shown to `on_line` as it comes.
pub(crate) fn output_seen(
    command: impl Into<Command>,
    deadline: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<String> {
    let command = command.into();
    let name = words(&command);
    let mut text = String::new();
    let ended = lines(command, deadline, |line| {
        on_line(line);
        text.push_str(line);
        text.push('\n');
    })?;
    match ended {
        Ended::Status(status) if status.success() => Ok(text),
        Ended::Status(status) => bail!("{name}: {status}\n{}", last_lines(&text, LINES_IN_ERROR)),
        Ended::TimedOut => {
            bail!("{name}: not done after {deadline:?}\n{}", last_lines(&text, LINES_IN_ERROR))
        }
    }
}

/// The last `count` lines of a text, indented, for an error message.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let mut last = VecDeque::with_capacity(count);
    for line in text.lines() {
        if last.len() == count {
            last.pop_front();
        }
        last.push_back(format!("    {line}"));
    }
    Vec::from(last).join("\n")
}

/// A command as a person would type it, without its environment.
fn words(command: &Command) -> String {
    let args = command.get_args().map(|arg| arg.to_string_lossy());
    let program = Path::new(command.get_program());
    let mut text = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for arg in args {
        text.push(' ');
        text.push_str(&arg);
    }
    text
}

fn read_lines(pipe: PipeReader) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_IN_FLIGHT);
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            let line = String::from_utf8_lossy(&bytes);
            if sender.send(line.trim_end_matches(['\r', '\n']).to_owned()).is_err() {
                return;
            }
            bytes.clear();
        }
    });
    receiver
}

/// Ends a child and everything in its process group.
fn end(child: &mut Child) {
    let group = Pid::from_raw(child.id().cast_signed());
    // ESRCH means that it is gone already, which is what we want.
    let _gone = killpg(group, Signal::SIGTERM);
    let until = Instant::now() + TERMINATION_GRACE;
    while Instant::now() < until {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        thread::sleep(POLL);
    }
    let _gone = killpg(group, Signal::SIGKILL);
    let _reaped = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_of_both_streams_is_read_to_the_end() {
        let text = output(shell("echo one; echo two >&2; printf three"), Duration::from_secs(5)).unwrap();
        assert_eq!(text, "one\ntwo\nthree\n");
    }

    #[test]
    fn a_failing_command_shows_its_name_its_status_and_its_last_lines() {
        let error = output(shell("echo reason; exit 3"), Duration::from_secs(5)).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("exit status: 3") && error.contains("    reason"));
    }

    #[test]
    fn a_command_past_its_deadline_is_ended_with_its_children() {
        let begun = Instant::now();
        let ended = lines(shell("sleep 60 & sleep 60"), Duration::from_millis(200), |_| {}).unwrap();
        assert_eq!(ended, Ended::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_open_does_not_hold_us() {
        let begun = Instant::now();
        let ended = lines(shell("sleep 7 & exit 0"), Duration::from_secs(6), |_| {}).unwrap();
        assert!(ended.is_success());
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
