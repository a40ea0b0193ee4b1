//! `cargo xtask deps`: the arrows between the rooms only point down.
//!
//! [`table`] is the one allow-list. [`crates`] reads the edges between crates from cargo's metadata,
//! [`modules`] those inside the agent from the paths in its sources.

mod crates;
mod modules;
mod paths;
mod table;

use std::fmt;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::places;

/// Checks the arrows between crates, and between the agent's modules, against one allow-list
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    check()?;
    println!("all arrows point down");
    Ok(ExitCode::SUCCESS)
}

/// Fails with every arrow that the table does not allow.
pub(crate) fn check() -> Result<()> {
    let root = places::root();
    let mut violations = crates::check(&root)?;
    violations.extend(modules::check(&root)?);
    if !violations.is_empty() {
        let lines: Vec<_> = violations.iter().map(ToString::to_string).collect();
        bail!(
            "{} arrows that the table in xtask/src/deps/table.rs does not allow:\n{}",
            lines.len(),
            lines.join("\n")
        );
    }
    Ok(())
}

/// One arrow that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation {
    /// Relative to the checkout.
    file: String,
    /// Counted from 1.
    line: usize,
    says: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.says)
    }
}
