//! `agentctl`: what an operator asks the agent, and how its answers look.
//!
//! Every verb is one module under [`command`]: it asks one question of `control.v1` (`openflow` asks nobody), turns the answer into a printed value
//! and shows that as a table or as JSON. Nothing here changes anything on the node. Exit status: 0 fine, 1 it found
//! something that is out of order now, 2 usage, 3 agent or switch out of reach, 4 no such pod, bridge, port.
#![forbid(unsafe_code)]

mod cli;
mod command;
mod failure;
mod frame;
mod grid;
mod names;
mod screen;
mod session;
mod time;
mod trips;

use std::process::ExitCode;

use clap::Parser as _;

use cli::Cli;
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(command::run(cli)),
        Err(error) => Err(Failure::Output(error)),
    };
    match outcome {
        Ok(found) => ExitCode::from(found.exit_status()),
        Err(failure) => failure.report(),
    }
}
