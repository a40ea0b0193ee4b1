//! `cargo xtask build`: the product's binaries.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use xshell::{Cmd, Shell, cmd};

use crate::places;
use crate::process;
use crate::progress::Work;
use crate::setup::{self, Scope};

/// What we ship, by package.
pub(crate) const PRODUCT: [&str; 3] = ["underpass-agent", "underpass-cni", "agentctl"];

/// The one that is started for every call, and its profile, which makes it small.
pub(crate) const SHIM: &str = "underpass-cni";
pub(crate) const SHIM_PROFILE: &str = "shim";

/// A cold build of the workspace takes 6 minutes on two cores.
pub(crate) const BUILD_DEADLINE: Duration = Duration::from_mins(25);

/// Builds the product's binaries: underpass-agent, underpass-cni, agentctl
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimised, as it is shipped
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(Scope::Build)?;
    let profile = if args.release { Profile::Release } else { Profile::Debug };
    let work = Work::begin("build");
    let directory = product(&work, profile, &[])?;
    work.done();
    for name in PRODUCT {
        println!("{}", directory.join(name).display());
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
}

/// Builds the product and `more` (cargo's words), and gives the directory of the binaries.
pub(crate) fn product(work: &Work, profile: Profile, more: &[&str]) -> Result<PathBuf> {
    let shell = Shell::new()?;
    let release = profile == Profile::Release;
    let built_here = PRODUCT.iter().filter(|name| !release || **name != SHIM);
    let packages = built_here.flat_map(|name| ["-p", name]);
    let (flag, directory) = match profile {
        Profile::Debug => (None, "debug"),
        Profile::Release => (Some("--release"), "release"),
    };
    let build = cargo(&shell, &["build"]).args(packages).args(flag);
    process::output_seen(build, BUILD_DEADLINE, |line| work.note(line))?;
    if !more.is_empty() {
        let build = cargo(&shell, &["build"]).args(flag).args(more);
        process::output_seen(build, BUILD_DEADLINE, |line| work.note(line))?;
    }
    let directory = places::target()?.join(directory);
    if release {
        let build = cargo(&shell, &["build", "--profile", SHIM_PROFILE, "-p", SHIM]);
        process::output_seen(build, BUILD_DEADLINE, |line| work.note(line))?;
        let built = places::target()?.join(SHIM_PROFILE).join(SHIM);
        fs::copy(&built, directory.join(SHIM)).with_context(|| format!("cannot copy {}", built.display()))?;
    }
    Ok(directory)
}

/// A cargo command in the checkout.
pub(crate) fn cargo<'a>(shell: &'a Shell, words: &[&str]) -> Cmd<'a> {
    shell.change_dir(places::root());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    cmd!(shell, "{cargo} {words...}")
}
