//! `underpass-agent`: arguments, logging, runtime, exit status. The story is told in [`underpass_agent::app`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use underpass_agent::app;
use underpass_agent::args::{Args, Command};

fn main() -> ExitCode {
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
