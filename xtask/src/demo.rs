//! `cargo xtask demo`: sets up, builds and hands over to the demo program of crate `e2e`.
//!
//! xtask becomes the demo (exec), so that Ctrl-C reaches it alone and it cleans up itself.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xshell::Shell;

use crate::build::{self, BUILD_DEADLINE, Profile, cargo};
use crate::cluster;
use crate::places;
use crate::process;
use crate::progress::Work;
use crate::setup::{self, Scope, kernels};
use crate::test::{BIN_DIR_VARIABLE, DATAPATH_VARIABLE, KERNEL_DATAPATH, USERSPACE_DATAPATH, require_root};
use crate::vm::{Guest, Outcome};

/// The demo takes 20 s on a machine.
const GUEST_DEADLINE: Duration = Duration::from_mins(5);

/// Shows Underpass at work, in network namespaces or on a Kubernetes cluster
///
/// Pods talk, spoof, collide and lose their gateway; the exit status says whether all went as it
/// should. Needs root; leaves nothing behind.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave it running, with commands to try
    #[arg(long, conflicts_with = "vm")]
    keep: bool,
    /// On the kernel datapath, in a virtual machine
    #[arg(long)]
    vm: bool,
    /// On a Kubernetes cluster of real parts, which are built from Go modules (1.26 or newer) the first time
    #[arg(long, conflicts_with = "vm")]
    cluster: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    require_root("demo")?;
    setup::ensure(if args.vm { Scope::Vm } else { Scope::Lab })?;
    if args.cluster {
        return on_cluster(args.keep);
    }
    let work = Work::begin("build");
    let binaries = build::product(&work, Profile::Debug, &["-p", "e2e", "--bin", "demo"])?;
    work.done();
    if args.vm { in_guest(&binaries) } else { here(&binaries, args.keep) }
}

fn here(binaries: &Path, keep: bool) -> Result<ExitCode> {
    let demo = binaries.join("demo");
    let failed = Command::new(&demo)
        .args(keep.then_some("--keep"))
        .current_dir(places::root())
        .env(BIN_DIR_VARIABLE, binaries)
        .env(DATAPATH_VARIABLE, USERSPACE_DATAPATH)
        .exec();
    Err(failed).with_context(|| format!("cannot start {}", demo.display()))
}

fn on_cluster(keep: bool) -> Result<ExitCode> {
    let work = Work::begin("parts of Kubernetes, image, demo");
    let parts = cluster::build_parts(&work)?;
    let image = cluster::make_image(&work)?;
    let shell = Shell::new()?;
    let build = cargo(&shell, &["build", "-p", "e2e", "--bin", "demo"]);
    process::output_seen(build, BUILD_DEADLINE, |line| work.note(line))?;
    work.done();
    let demo = places::target()?.join("debug/demo");
    let failed = Command::new(&demo)
        .arg("--cluster")
        .args(keep.then_some("--keep"))
        .current_dir(places::root())
        .env(cluster::PARTS_VARIABLE, parts)
        .env(cluster::IMAGE_VARIABLE, image)
        .exec();
    Err(failed).with_context(|| format!("cannot start {}", demo.display()))
}

fn in_guest(binaries: &Path) -> Result<ExitCode> {
    let binaries = binaries.to_str().context("the target directory's path is not UTF-8")?;
    let guest = Guest {
        timeout: GUEST_DEADLINE,
        directory: places::root(),
        environment: vec![
            (BIN_DIR_VARIABLE.to_owned(), binaries.to_owned()),
            (DATAPATH_VARIABLE.to_owned(), KERNEL_DATAPATH.to_owned()),
        ],
        ..Guest::new(kernels::TCX)?
    };
    match guest.run(&[format!("{binaries}/demo")], |line| println!("{line}"))? {
        Outcome::Exited(status) => Ok(ExitCode::from(status)),
        Outcome::TimedOut => bail!("the guest was not done after {GUEST_DEADLINE:?}"),
        Outcome::Died(log) => bail!("the guest died; the end of its kernel log:\n{log}"),
    }
}
