//! `cargo xtask test`: everything that must be true before a change goes in. CI runs this verb.
//!
//! The lab's stories run three times: here on the userspace datapath, and on the kernel datapath in
//! virtual machines with a kernel that has TCX and one that has clsact only. Binaries are built here
//! and only run in the guests, where a compiler would crawl.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;
use nix::unistd::geteuid;
use xshell::{Shell, cmd};

use crate::build::{self, BUILD_DEADLINE, Profile, cargo};
use crate::check;
use crate::cluster::{self, Parts};
use crate::places;
use crate::process;
use crate::progress::{Work, seconds};
use crate::setup::{self, Scope, kernels};
use crate::steps::{Steps, Verdict};
use crate::stories::{self, Argv, RUNNING};
use crate::vm::{Guest, Outcome};

/// Tells the lab where the product's binaries lie.
pub(crate) const BIN_DIR_VARIABLE: &str = "UNDERPASS_BIN_DIR";
/// Tells the lab which datapath_type its bridges have.
pub(crate) const DATAPATH_VARIABLE: &str = "LAB_DATAPATH";
pub(crate) const USERSPACE_DATAPATH: &str = "netdev";
pub(crate) const KERNEL_DATAPATH: &str = "system";

/// The stories take 4 minutes on a machine; emulation stretches what computes by 20, and a second job on the machine
/// doubles that.
const GUEST_DEADLINE: Duration = Duration::from_mins(40);

/// One binary's stories on this machine, with other jobs beside them.
const BINARY_DEADLINE: Duration = Duration::from_mins(25);

/// Stories whose subject is no datapath: they are told on this machine only.
const HERE_ONLY: [&str; 3] = ["outages", "standby", "the_lab"];

/// Stories that depend on how the programs hang: the only ones that the older kernel is told, for the sake of time.
const HOOK_STORIES: [&str; 6] = ["acceleration", "bursts", "restarts", "spoofs", "talk", "upgrades"];

/// Runs everything: source checks, unit tests, the lab here and in virtual machines
///
/// In order: set-up, format, lints, arrows, docs, unit tests, the lab on this kernel's userspace datapath, then
/// the BPF programs and the lab's stories on two other kernels with their kernel datapath, then the stories on a
/// Kubernetes cluster, whose parts are built meanwhile. Where neither the parts are there nor Go 1.26 to build them, the
/// last line before the count says that these were not run; with `CI=true` it is a failure.
///
/// Ends with a table of the steps and the line `N passed, N failed`. A failing step does not stop
/// the others; an ignored test is a failure. Needs root, for the lab.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this; skips format, lints, arrows, docs and, without --cluster, the cluster
    filter: Option<String>,
    /// Only unit tests and the lab on this machine
    #[arg(long)]
    quick: bool,
    /// Everything but the virtual machines
    #[arg(long)]
    no_vm: bool,
    /// Only the stories on a Kubernetes cluster, whose parts are built from Go modules (1.26 or newer)
    #[arg(long, conflicts_with_all = ["quick", "no_vm"])]
    cluster: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    require_root("test")?;
    let mut steps = Steps::default();
    let filter = args.filter.as_deref();
    steps.step("set-up", |_| Ok(setup::ensure(Scope::Lab).into()))?;
    if args.cluster {
        cluster::stories(&mut steps, filter)?;
        return Ok(steps.finish());
    }
    let parts = (filter.is_none() && !args.quick).then(Parts::begin);
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
    if let Some(binaries) = &binaries {
        lab_here(&mut steps, binaries, filter)?;
    }
    if !args.quick && !args.no_vm {
        in_guests(&mut steps, binaries.as_deref(), filter)?;
    }
    if let Some(parts) = parts {
        cluster::stories_at_last(&mut steps, parts)?;
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
        bail!("`cargo xtask {verb}` makes network namespaces and loads BPF programs: run it as root");
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
    steps.step("lab: this kernel, userspace datapath", |work| {
        let here = Here {
            environment: vec![
                (BIN_DIR_VARIABLE, binaries.into()),
                (DATAPATH_VARIABLE, USERSPACE_DATAPATH.into()),
            ],
            arguments: &[],
        };
        here.tell(work, &test_binaries(work, "tests", &[])?, filter)
    })
}

/// How test binaries run on this machine, in the lab's directory.
pub(crate) struct Here<'a> {
    pub environment: Vec<(&'a str, OsString)>,
    pub arguments: &'a [&'a str],
}

impl Here<'_> {
    /// Tells the stories of `tests` whose names contain `filter`.
    pub(crate) fn tell(&self, work: &Work, tests: &[String], filter: Option<&str>) -> Result<Verdict> {
        let shell = Shell::new()?;
        shell.change_dir(places::root().join("tests"));
        Ok(stories::tell(tests, filter, |argvs, telling| {
            let mut succeeded = true;
            for argv in argvs {
                let (program, arguments) = argv.split_first().context("no program")?;
                let mut read = |line: &str| {
                    work.line(line);
                    telling.read(line);
                };
                read(&format!("{RUNNING}{program}"));
                let test = cmd!(shell, "{program} {arguments...}").args(self.arguments);
                let test = test.envs(self.environment.iter().map(|(name, value)| (*name, value)));
                succeeded &= process::lines(test, BINARY_DEADLINE, read)?.is_success();
            }
            Ok(succeeded)
        }))
    }
}

/// For each kernel: whether its verifier takes the BPF programs and their verdicts are right, then the
/// lab's stories.
fn in_guests(steps: &mut Steps, binaries: Option<&Path>, filter: Option<&str>) -> Result<()> {
    steps.step("set-up of the virtual machines", |_| Ok(setup::ensure(Scope::Vm).into()))?;
    for (series, path) in [(kernels::TCX, "TCX"), (kernels::CLSACT, "clsact")] {
        steps.step(&format!("BPF programs: kernel {series}"), |work| {
            let guest = Guest { directory: places::root().join("ebpf"), settled: false, ..guest(series)? };
            tests_in_guest(work, &guest, "ebpf", |_| true, filter)
        })?;
        let Some(binaries) = binaries else { continue };
        steps.step(&format!("lab: kernel {series}, kernel datapath, {path}"), |work| {
            let mut guest = Guest { directory: places::root().join("tests"), ..guest(series)? };
            guest.environment.extend([
                (BIN_DIR_VARIABLE.to_owned(), text(binaries)?),
                (DATAPATH_VARIABLE.to_owned(), KERNEL_DATAPATH.to_owned()),
            ]);
            let told = |name: &str| match series {
                kernels::TCX => !HERE_ONLY.contains(&name),
                _ => HOOK_STORIES.contains(&name),
            };
            tests_in_guest(work, &guest, "tests", told, filter)
        })?;
    }
    Ok(())
}

/// A guest with what the caller set for the lab or for libtest, as tests on this machine see it too.
fn guest(series: &str) -> Result<Guest> {
    let ours = |name: &str| name.starts_with("LAB_") || name.starts_with("RUST_");
    let environment = std::env::vars().filter(|(name, _)| ours(name)).collect();
    Ok(Guest { timeout: GUEST_DEADLINE, environment, ..Guest::new(series)? })
}

/// Builds a room's tests here and runs those of its test binaries that are chosen by name in one guest.
fn tests_in_guest(
    work: &Work,
    guest: &Guest,
    room: &str,
    chosen: impl Fn(&str) -> bool,
    filter: Option<&str>,
) -> Result<Verdict> {
    let mut tests = test_binaries(work, room, &[])?;
    tests.retain(|test| chosen(target_name(Path::new(test))));
    Ok(stories::tell(&tests, filter, |argvs, telling| {
        let outcome = guest.run(&in_turn(argvs), |line| {
            work.line(line);
            telling.read(line);
        })?;
        match outcome {
            Outcome::Exited(status) => Ok(status == 0),
            Outcome::TimedOut => bail!("the guest was not done after {}", seconds(guest.timeout)),
            Outcome::Died(log) => bail!("the guest died; the end of its kernel log:\n{log}"),
        }
    }))
}

/// One command that runs each of them, whatever the one before came to.
fn in_turn(argvs: &[Argv]) -> Vec<String> {
    // The arguments of one end with an empty one.
    let script = format!(
        "status=0; run=()
         for word; do
             if [ -n \"$word\" ]; then run+=(\"$word\"); continue; fi
             echo \"{RUNNING}${{run[0]}}\"; \"${{run[@]}}\" || status=1; run=()
         done
         exit $status"
    );
    let words = argvs.iter().flat_map(|argv| argv.iter().cloned().chain([String::new()]));
    ["bash".to_owned(), "-c".to_owned(), script, "in-turn".to_owned()].into_iter().chain(words).collect()
}

/// The name of the target that a test binary was built from: cargo puts a hash behind it.
fn target_name(binary: &Path) -> &str {
    let stem = binary.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.rsplit_once('-').map_or(stem, |(name, _hash)| name)
}

/// The test binaries of the package in directory `room`, built and not run.
///
/// The whole workspace is built, as for the unit tests, or what `more` (cargo's words) leaves of it: chosen alone, a package would have its dependencies compiled once
/// more with fewer features.
pub(crate) fn test_binaries(work: &Work, room: &str, more: &[&str]) -> Result<Vec<String>> {
    let shell = Shell::new()?;
    let build = cargo(&shell, &["test", "--workspace", "--no-run", "--message-format=json"]).args(more);
    let messages = process::output_seen(build, BUILD_DEADLINE, |line| {
        if !line.starts_with('{') {
            work.note(line);
        }
    })?;
    let manifest = places::root().join(room).join("Cargo.toml");
    let mut binaries = Vec::new();
    for message in Message::parse_stream(messages.as_bytes()) {
        if let Message::CompilerArtifact(artifact) = message.context("a message of cargo")?
            && artifact.profile.test
            && artifact.manifest_path == manifest
            && let Some(executable) = artifact.executable
        {
            binaries.push(executable.into_string());
        }
    }
    if binaries.is_empty() {
        bail!("cargo built no test of {room}");
    }
    binaries.sort();
    Ok(binaries)
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::{HERE_ONLY, HOOK_STORIES, in_turn, target_name};
    use crate::places;

    #[test]
    fn stories_that_are_named_exist() {
        for story in HERE_ONLY.iter().chain(&HOOK_STORIES) {
            let file = places::root().join(format!("tests/tests/{story}.rs"));
            assert!(file.is_file(), "{}", file.display());
        }
    }

    #[test]
    fn what_runs_in_turn_runs_to_the_last_and_keeps_a_failure() {
        let argvs = [vec!["false"], vec!["printf", "%s|", "a b", "c"], vec!["true"]];
        let command = in_turn(&argvs.map(|argv| argv.into_iter().map(str::to_owned).collect()));
        let ended = Command::new(&command[0]).args(&command[1..]).output().unwrap();
        assert_eq!(
            String::from_utf8(ended.stdout).unwrap(),
            "Running false\nRunning printf\na b|c|Running true\n"
        );
        assert_eq!(ended.status.code(), Some(1));
    }

    #[test]
    fn a_test_binary_is_known_by_its_target() {
        assert_eq!(target_name(Path::new("/x/deps/the_lab-1fbb6e8520d9ac0a")), "the_lab");
    }
}
