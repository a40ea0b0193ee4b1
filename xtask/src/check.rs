//! `cargo xtask check`: what a developer runs before each commit: format, lints, arrows, unit tests.
//!
//! Some unit tests speak to a real Open vSwitch or load BPF programs, so it needs the lab's packages and
//! root too. Its steps are also the first ones of `cargo xtask test`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use xshell::{Cmd, Shell};

use crate::build::{BUILD_DEADLINE, cargo};
use crate::deps;
use crate::places;
use crate::process;
use crate::progress::Work;
use crate::setup::{self, Scope, Toolchain};
use crate::steps::{Steps, Tally, Verdict};
use crate::test::require_root;

/// All unit tests, their build included.
const TESTS_DEADLINE: Duration = Duration::from_mins(25);

/// Checks format, lints, arrows and unit tests: what to run before each commit
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    require_root("check")?;
    setup::ensure(Scope::Lab)?;
    let mut steps = Steps::default();
    source(&mut steps)?;
    unit_tests(&mut steps, None)?;
    Ok(steps.finish())
}

/// What looks at the sources alone: format, lints, arrows.
pub(crate) fn source(steps: &mut Steps) -> Result<()> {
    let shell = Shell::new()?;
    steps.step("format", |work| {
        // Names the files only: `cargo fmt -p PACKAGE` shows the rest, and mends it.
        quiet(work, cargo(&shell, &["fmt", "--all", "--", "--check", "-l"]))?;
        if let Some(programs) = programs() {
            let manifest = programs.display().to_string();
            quiet(work, cargo(&shell, &["fmt", "--manifest-path", &manifest, "--", "--check", "-l"]))?;
        }
        Ok(Ok(()).into())
    })?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--keep-going", "--", "-D", "warnings"];
    steps.step("clippy", |work| Ok(quiet(work, cargo(&shell, &clippy)).into()))?;
    steps.step("clippy of the BPF programs", |work| Ok(clippy_of_programs(&shell, work).into()))?;
    steps.step("arrows between the rooms", |_| Ok(deps::check().into()))
}

/// The tests of every crate but the lab's.
pub(crate) fn unit_tests(steps: &mut Steps, filter: Option<&str>) -> Result<()> {
    let shell = Shell::new()?;
    let words = ["test", "--workspace", "--exclude", "e2e", "--no-fail-fast"];
    steps.step("unit tests", |work| tests(work, cargo(&shell, &words).args(filter)))
}

/// Runs `cargo test ...`, showing all it prints.
pub(crate) fn tests(work: &Work, command: Cmd<'_>) -> Result<Verdict> {
    let mut tally = Tally::default();
    let ended = process::lines(command, TESTS_DEADLINE, |line| {
        work.line(line);
        tally.read(line);
    })?;
    Ok(tally.verdict(ended.is_success()))
}

/// Runs a command whose output matters only when it fails.
pub(crate) fn quiet(work: &Work, command: Cmd<'_>) -> Result<()> {
    process::output_seen(command, BUILD_DEADLINE, |line| work.note(line)).map(|_| ())
}

/// The manifest of the BPF programs' own workspace.
fn programs() -> Option<PathBuf> {
    Some(places::root().join("ebpf/programs/Cargo.toml")).filter(|manifest| manifest.exists())
}

fn clippy_of_programs(shell: &Shell, work: &Work) -> Result<()> {
    let Some(manifest) = programs() else { return Ok(()) };
    let sysroot = Toolchain::locate()?.sysroot;
    let target = places::target()?.join("programs-clippy");
    let (manifest, target) = (manifest.display().to_string(), target.display().to_string());
    let command = cargo(shell, &["clippy", "--manifest-path", &manifest, "--target-dir", &target])
        .args(["--target", "bpfel-unknown-none", "--", "-D", "warnings"])
        // aya-ebpf uses one unstable feature; core for the target is our own.
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            format!("--sysroot={}\x1f--cfg=bpf_target_arch=\"x86_64\"", sysroot.display()),
        );
    quiet(work, command)
}
