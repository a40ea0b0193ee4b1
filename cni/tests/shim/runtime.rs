//! The container runtime's side: starts the shim with an environment and an input, and collects what it says.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A call in preparation.
pub(crate) struct Runtime {
    command: Command,
    stdin: Vec<u8>,
}

/// What a call gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Outcome {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

impl Runtime {
    pub(crate) fn new(verb: &str, socket: &Path, cni_path: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_underpass-cni"));
        command
            .env("UNDERPASS_SOCKET", socket)
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", "c0ffee")
            .env("CNI_NETNS", "/run/netns/x")
            .env("CNI_IFNAME", "net1")
            .env("CNI_PATH", cni_path);
        Self { command, stdin: Vec::new() }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = text.as_bytes().to_vec();
        self
    }

    pub(crate) fn run(mut self) -> Outcome {
        self.command.stdout(Stdio::piped());
        self.collect()
    }

    /// Standard output is a pipe whose reader is gone.
    pub(crate) fn run_with_closed_stdout(mut self) -> Outcome {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        self.command.stdout(writer);
        self.collect()
    }

    pub(crate) fn spawn(mut self) -> Running {
        self.command.stdout(Stdio::piped());
        Running { child: self.start() }
    }

    fn collect(mut self) -> Outcome {
        let started = Instant::now();
        let output = self.start().wait_with_output().unwrap();
        Outcome {
            exit: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
            took: started.elapsed(),
        }
    }

    fn start(&mut self) -> Child {
        let mut child = self.command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A shim that refuses its input early closes the pipe: no fault of the runtime.
        drop(child.stdin.take().unwrap().write_all(&self.stdin));
        child
    }
}

/// A shim at work.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// SIGTERM, as a runtime sends it when it loses patience.
    pub(crate) fn terminate(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
