//! `completions`: a script that teaches a shell our words. Needs no agent.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::{Failure, Found};

pub(super) fn run(shell: Shell) -> Result<Found, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "agentctl", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Found::Nothing)
}
