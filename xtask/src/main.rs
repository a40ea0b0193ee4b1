//! `cargo xtask`: the only door to setting up, building, testing and showing Underpass.
//!
//! One file per verb. The rooms below them: [`process`] runs commands under a deadline and an
//! interrupt flag, [`progress`] tells a person what is going on, [`places`] knows where things lie.
//! xtask depends on no crate of ours: it runs the product, the lab and the demo as processes.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a terminal program: results go to stdout, progress to stderr"
)]

mod bench;
mod build;
mod check;
mod cluster;
mod demo;
mod deps;
mod image;
mod places;
mod process;
mod progress;
mod setup;
mod steps;
mod stories;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sets up, builds, checks, tests and shows Underpass.
///
/// Each verb first brings what it needs (packages, the eBPF toolchain, kernels); a second run finds
/// everything there. Caches lie under ${XDG_CACHE_HOME:-~/.cache}/{ebpf-toolchain,underpass}.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Setup(setup::Args),
    Build(build::Args),
    Image(image::Args),
    Check(check::Args),
    Test(test::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    Deps(deps::Args),
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    let ended = process::heed_interrupts().and_then(|()| match verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Build(args) => build::run(&args),
        Verb::Image(args) => image::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Deps(args) => deps::run(&args),
        Verb::Vm(args) => vm::run(args),
    });
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(if process::interrupted() { process::EXIT_INTERRUPTED } else { 1 })
    })
}
