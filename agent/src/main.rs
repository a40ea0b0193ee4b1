//! `underpass-agent`: arguments, logging, runtime, exit status. The story is told in [`underpass_agent::app`].

use std::process::ExitCode;

use clap::Parser as _;
use underpass_agent::app;
use underpass_agent::args::{Args, Command};

fn main() -> ExitCode {
    share_one_heap();
    let args = Args::parse();
    let outcome = match &args.command {
        Some(Command::Check) => app::check(&args),
        Some(Command::Health { ready }) => app::health(&args, *ready),
        Some(Command::Uninstall) => app::uninstall(&args),
        None => app::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            app::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// One heap for all threads. glibc gives threads heaps of their own and keeps what they freed; with a thread for each
/// visit to a namespace that comes to 6 MB at 100 pods (measured), and the threads seldom meet in the allocator.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "mallopt has no safe wrapper")]
fn share_one_heap() {
    // SAFETY: it sets a number of the allocator, before there is a second thread.
    unsafe { nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1) };
}

#[cfg(not(target_env = "gnu"))]
fn share_one_heap() {}
