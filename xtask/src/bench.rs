//! `cargo xtask bench`: builds for release and hands over to the benchmarks of crate `e2e`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::build::{self, Profile};
use crate::places;
use crate::process;
use crate::progress::Work;
use crate::setup::{self, Scope, kernels};
use crate::test::{BIN_DIR_VARIABLE, DATAPATH_VARIABLE, KERNEL_DATAPATH, USERSPACE_DATAPATH, require_root};
use crate::vm::{Accel, Guest, Outcome};

const DEADLINE: Duration = Duration::from_mins(10);
const GUEST_DEADLINE: Duration = Duration::from_mins(30);

/// Measures latency, ADD, the agent, the programs, the watch and the codec, each beside its floor in the same run
///
/// Prints one table each and writes the samples to target/bench. Needs root and a machine with nothing else to do.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure; everything if not given
    what: Option<What>,
    /// On the kernel datapath, in a virtual machine
    #[arg(long)]
    vm: bool,
    /// In a virtual machine whose clock counts instructions: one µs is 1000 of them, whatever else the host does
    #[arg(long, requires = "vm")]
    icount: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// UDP round trips: bare veth, OVS, guarded, accelerated
    Latency,
    /// ADD and DEL at 0 and 100 ports, beside the floor
    Add,
    /// Memory and idle processor time of the agent
    Agent,
    /// Nanoseconds a frame on every path through the TC programs
    Guard,
    /// How soon a conflict is told of
    Notice,
    /// The codec on 100,000 flows: needs neither root nor set-up
    Openflow,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Add => "add",
            Self::Agent => "agent",
            Self::Guard => "guard",
            Self::Notice => "notice",
            Self::Openflow => "openflow",
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if matches!(args.what, Some(What::Openflow)) {
        return codec().map(|()| ExitCode::SUCCESS);
    }
    require_root("bench")?;
    setup::ensure(if args.vm { Scope::Vm } else { Scope::Lab })?;
    let work = Work::begin("build");
    let binaries = build::product(&work, Profile::Release, &["-p", "e2e", "--bin", "bench"])?;
    work.done();
    let results = places::target()?.join("bench");
    fs::create_dir_all(&results).with_context(|| format!("cannot make {}", results.display()))?;
    let all = args.what.map_or_else(|| What::value_variants().to_vec(), |one| vec![one]);
    for what in all {
        if matches!(what, What::Openflow) {
            codec()?;
        } else if args.vm {
            in_guest(&binaries, what, args.icount, &results)?;
        } else {
            here(&binaries, what, &results)?;
        }
    }
    println!("\nThe samples are in {}", results.display());
    Ok(ExitCode::SUCCESS)
}

/// The codec's own benchmark, a part of its crate: no switch, no kernel, so that it stands alone.
fn codec() -> Result<()> {
    let shell = xshell::Shell::new()?;
    let command = build::cargo(&shell, &["bench", "-p", "openflow", "--bench", "codec"]);
    process::output_seen(command, build::BUILD_DEADLINE, |line| println!("{line}")).map(drop)
}

fn here(binaries: &Path, what: What, results: &Path) -> Result<()> {
    let file = results.join(format!("{}-userspace.json", what.name()));
    let shell = xshell::Shell::new()?;
    let bench = binaries.join("bench");
    let command = xshell::cmd!(shell, "{bench}")
        .args([what.name(), "--json", text(&file)?])
        .env(BIN_DIR_VARIABLE, binaries)
        .env(DATAPATH_VARIABLE, USERSPACE_DATAPATH);
    process::output_seen(command, DEADLINE, |line| println!("{line}")).map(drop)
}

fn in_guest(binaries: &Path, what: What, icount: bool, results: &Path) -> Result<()> {
    let guest = Guest {
        timeout: GUEST_DEADLINE,
        directory: places::root(),
        environment: vec![
            (BIN_DIR_VARIABLE.to_owned(), text(binaries)?.to_owned()),
            (DATAPATH_VARIABLE.to_owned(), KERNEL_DATAPATH.to_owned()),
        ],
        out: Some(results.to_path_buf()),
        ..Guest::new(kernels::TCX)?
    };
    // An instruction clock knows one processor only.
    let guest = if icount { Guest { accel: Accel::Icount, smp: 1, ..guest } } else { guest };
    let clock = if icount { "icount" } else { "kernel" };
    let file = PathBuf::from("/run/vm/out").join(format!("{}-{clock}.json", what.name()));
    let command =
        [&format!("{}/bench", text(binaries)?), what.name(), "--json", text(&file)?].map(str::to_owned);
    match guest.run(&command, |line| println!("{line}"))? {
        Outcome::Exited(0) => Ok(()),
        Outcome::Exited(status) => bail!("bench {} ended with status {status}", what.name()),
        Outcome::TimedOut => bail!("the guest was not done after {GUEST_DEADLINE:?}"),
        Outcome::Died(log) => bail!("the guest died; the end of its kernel log:\n{log}"),
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
