//! `underpass-cni`: the CNI plugin. A shim that hands every call of the container runtime to the agent.
//!
//! One call, top to bottom: stamp the clock, read the environment and standard input, answer VERSION, else hold one
//! gRPC stream with the agent ([`conversation`]), run the IPAM plugins it asks for ([`ipam`]) and print what it answers.
//! While the agent is away, DEL and GC are left in the spool ([`spool`]) and succeed; everything else fails with a code
//! that makes the runtime try again ([`failure`]).
//!
//! A person who calls it with `--help` or `--version` is told what it is ([`help`]).
//!
//! The shim has no JSON model, no netlink and no policy: it must stay small, because it is started for every call. On
//! SIGTERM and SIGINT it dies at once, with the IPAM plugin that runs: the stream breaks, and the agent withdraws the call.

mod call;
mod conversation;
mod failure;
mod help;
mod ipam;
mod spool;
mod version;

use std::io::{self, Write};
use std::process::ExitCode;

use call::{Call, Request};
use conversation::{Answer, Conversation};
use failure::Failure;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let boottime_ns = agent_api::boottime_ns();
    if let Some(text) = help::asked() {
        return print(text.as_bytes(), 0).unwrap_or(ExitCode::FAILURE);
    }
    match call::read(boottime_ns) {
        Ok(Request::Version { cni_version }) => print(version::reply(&cni_version).as_bytes(), 0),
        Ok(Request::Call(call)) => run(&call),
        Err(unreadable) => print(unreadable.failure.to_json(&unreadable.cni_version).as_bytes(), 1),
    }
    .unwrap_or(ExitCode::FAILURE)
}

/// Makes the call and prints its outcome. The outcome is acknowledged only after it was printed: without that the agent
/// withdraws it.
fn run(call: &Call) -> io::Result<ExitCode> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return give_up(call, Failure::io("start an event loop", &error)),
    };
    runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // What is not finished is dropped, and a running plugin with it.
        let held = tokio::select! {
            held = Conversation::hold(call) => held,
            _ = terminate.recv() => return Ok(ExitCode::from(TERMINATED)),
            _ = interrupt.recv() => return Ok(ExitCode::from(INTERRUPTED)),
        };
        match held {
            Ok(Answer { done, conversation }) => {
                let exit = print(&done.stdout, done.exit)?;
                conversation.acknowledge().await;
                Ok(exit)
            }
            Err(failure) => give_up(call, failure),
        }
    })
}

/// As a shell would say it.
const TERMINATED: u8 = 128 + 15;
const INTERRUPTED: u8 = 128 + 2;

/// The agent is away: leave the call in the spool where that is enough, else say so.
fn give_up(call: &Call, failure: Failure) -> io::Result<ExitCode> {
    let failure = if call.is_removal() {
        match spool::leave(&call.start) {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(full) => failure.and(&full),
        }
    } else {
        failure
    };
    print(failure.for_verb(call.start.verb()).to_json(&call.cni_version).as_bytes(), 1)
}

/// Writes to standard output and gives the exit status. Fails when the runtime does not listen any more.
fn print(bytes: &[u8], exit: i32) -> io::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    // For a person at a terminal; JSON does not mind.
    if bytes.last().is_some_and(|last| *last != b'\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()?;
    Ok(ExitCode::from(u8::try_from(exit).unwrap_or(1)))
}
