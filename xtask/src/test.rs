//! `cargo xtask test`: everything that must be true before a change goes in. CI runs this verb.
//!
//! The lab's stories run three times: here on the userspace datapath, and on the kernel datapath in
//! virtual machines with a kernel that has TCX and one that has clsact only. Binaries are built here
//! and only run in the guests, where a compiler would crawl.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;
use nix::unistd::geteuid;
use xshell::Shell;

use crate::build::{self, BUILD_DEADLINE, Profile, cargo};
use crate::check;
use crate::places;
use crate::process;
use crate::progress::Work;
use crate::setup::{self, Scope, kernels};
use crate::steps::{Steps, Tally, Verdict};
use crate::vm::{Guest, Outcome};

/// Tells the lab where the product's binaries lie.
pub(crate) const BIN_DIR_VARIABLE: &str = "UNDERPASS_BIN_DIR";
/// Tells the lab which datapath_type its bridges have.
pub(crate) const DATAPATH_VARIABLE: &str = "LAB_DATAPATH";
pub(crate) const USERSPACE_DATAPATH: &str = "netdev";
pub(crate) const KERNEL_DATAPATH: &str = "system";

/// The stories take 2 minutes on a machine; emulation stretches what computes by 20.
const GUEST_DEADLINE: Duration = Duration::from_mins(15);

/// Runs everything: set-up, format, lints, arrows, docs, unit tests, the lab here and in machines
///
/// Ends with a table of the steps and the line `N passed, N failed`. A failing step does not stop
/// the others; an ignored test is a failure. Needs root, for the lab.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this; skips format, lints, arrows and docs
    filter: Option<String>,
    /// Only unit tests and the lab on this machine
    #[arg(long)]
    quick: bool,
    /// Everything but the virtual machines
    #[arg(long)]
    no_vm: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    require_root("test")?;
    let mut steps = Steps::default();
    let filter = args.filter.as_deref();
    steps.step("set-up", |_| Ok(setup::ensure(Scope::Lab).into()))?;
    if filter.is_none() && !args.quick {
        check::source(&mut steps)?;
        docs(&mut steps)?;
    }
    check::unit_tests(&mut steps, filter)?;
    let mut binaries = None;
    steps.step("build of the product", |work| {
        binaries = Some(build::product(work, Profile::Debug, &[])?);
        Ok(Ok(()).into())
    })?;
    if let Some(binaries) = binaries {
        lab_here(&mut steps, &binaries, filter)?;
        if !args.quick && !args.no_vm {
            lab_in_guests(&mut steps, &binaries, filter)?;
        }
    }
    let verdict = steps.finish();
    match filter {
        Some(filter) if !steps.any_test_ran() => bail!("no test ran that has {filter:?} in its name"),
        _ => Ok(verdict),
    }
}

/// Fails at once, with words, where `verb` cannot work.
pub(crate) fn require_root(verb: &str) -> Result<()> {
    if !geteuid().is_root() {
        bail!(
            "`cargo xtask {verb}` makes network namespaces and runs Open vSwitch: it needs root \
             (`cargo xtask check` does not)"
        );
    }
    Ok(())
}

fn docs(steps: &mut Steps) -> Result<()> {
    let shell = Shell::new()?;
    steps.step("docs", |work| {
        let doc = cargo(&shell, &["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        Ok(check::quiet(work, doc).into())
    })
}

fn lab_here(steps: &mut Steps, binaries: &Path, filter: Option<&str>) -> Result<()> {
    let shell = Shell::new()?;
    steps.step("lab: this kernel, userspace datapath", |work| {
        let tests = cargo(&shell, &["test", "-p", "e2e", "--no-fail-fast"])
            .args(filter)
            .env(BIN_DIR_VARIABLE, binaries)
            .env(DATAPATH_VARIABLE, USERSPACE_DATAPATH);
        check::tests(work, tests)
    })
}

fn lab_in_guests(steps: &mut Steps, binaries: &Path, filter: Option<&str>) -> Result<()> {
    steps.step("set-up of the virtual machines", |_| Ok(setup::ensure(Scope::Vm).into()))?;
    for (series, path) in [(kernels::TCX, "TCX"), (kernels::CLSACT, "clsact")] {
        let name = format!("lab: kernel {series}, kernel datapath, {path}");
        steps.step(&name, |work| lab_in_guest(work, series, binaries, filter))?;
    }
    Ok(())
}

fn lab_in_guest(work: &Work, series: &str, binaries: &Path, filter: Option<&str>) -> Result<Verdict> {
    let tests = lab_binaries(work)?;
    let guest = Guest {
        timeout: GUEST_DEADLINE,
        directory: places::root().join("tests"),
        environment: handed_on()
            .chain([
                (BIN_DIR_VARIABLE.to_owned(), text(binaries)?),
                (DATAPATH_VARIABLE.to_owned(), KERNEL_DATAPATH.to_owned()),
            ])
            .collect(),
        ..Guest::new(series)?
    };
    // $0 is the filter; each binary runs, whatever the one before came to.
    let script =
        "status=0; for test; do echo \"Running $test\"; \"$test\" $0 || status=1; done; exit $status";
    let mut command = ["bash", "-c", script, filter.unwrap_or_default()].map(str::to_owned).to_vec();
    for test in &tests {
        command.push(text(test)?);
    }
    let mut tally = Tally::default();
    let outcome = guest.run(&command, |line| {
        work.line(line);
        tally.read(line);
    })?;
    match outcome {
        Outcome::Exited(status) => Ok(tally.verdict(status == 0 && tally.summaries == tests.len())),
        Outcome::TimedOut => bail!("the guest was not done after {GUEST_DEADLINE:?}"),
        Outcome::Died(log) => bail!("the guest died; the end of its kernel log:\n{log}"),
    }
}

/// What the caller set for the lab or for libtest, as the lab on this machine sees it too.
fn handed_on() -> impl Iterator<Item = (String, String)> {
    let ours = |name: &str| name.starts_with("LAB_") || name.starts_with("RUST_");
    std::env::vars().filter(move |(name, _)| ours(name))
}

/// The lab's test binaries, built and not run.
fn lab_binaries(work: &Work) -> Result<Vec<PathBuf>> {
    let shell = Shell::new()?;
    let build = cargo(&shell, &["test", "-p", "e2e", "--no-run", "--message-format=json"]);
    let messages = process::output_seen(build, BUILD_DEADLINE, |line| {
        if !line.starts_with('{') {
            work.note(line);
        }
    })?;
    let mut binaries = Vec::new();
    for message in Message::parse_stream(messages.as_bytes()) {
        if let Message::CompilerArtifact(artifact) = message.context("a message of cargo")?
            && artifact.profile.test
            && let Some(executable) = artifact.executable
        {
            binaries.push(executable.into_std_path_buf());
        }
    }
    if binaries.is_empty() {
        bail!("cargo built no test of the lab");
    }
    Ok(binaries)
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}
