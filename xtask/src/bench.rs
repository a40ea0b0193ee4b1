//! `cargo xtask bench`: builds for release, lets the benchmarks of crate `e2e` measure, and keeps a folder for each run.
//!
//! ```text
//! target/bench/20260102T030405Z/
//!   raw/latency-userspace.json   every sample, and where it was taken
//!   tables.md  *.svg  index.html what can be told from them
//! ```

mod compare;
mod numbers;
mod picture;
mod report;
mod results;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use xshell::{Shell, cmd};

use crate::build::{self, Profile};
use crate::places;
use crate::process;
use crate::progress::Work;
use crate::setup::{self, Scope, kernels};
use crate::test::{BIN_DIR_VARIABLE, DATAPATH_VARIABLE, KERNEL_DATAPATH, USERSPACE_DATAPATH, require_root};
use crate::vm::{Accel, Guest, Outcome};

/// The longest benchmark takes a third of it on a machine that does nothing else.
const DEADLINE: Duration = Duration::from_mins(20);
const GUEST_DEADLINE: Duration = Duration::from_mins(30);
/// A program that only says a word.
const WORDS_DEADLINE: Duration = Duration::from_secs(10);

/// By which the benchmarks learn what was built; they write it beside their results.
const COMMIT_VARIABLE: &str = "BENCH_COMMIT";

/// Where a guest may write.
const GUEST_OUT: &str = "/run/vm/out";

/// Measures latency, ADD, flows, the agent, the programs, the watch and the codec, each beside its floor in the same run
///
/// Leaves a folder with every sample, tables, pictures and an index.html. Needs root and a machine with nothing else to
/// do. With --compare it measures nothing: exit status 1 where a row became worse beyond noise.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct Args {
    /// What to measure; everything if not given
    what: Option<What>,
    /// On the kernel datapath, in a virtual machine
    #[arg(long)]
    vm: bool,
    /// In a virtual machine whose clock counts instructions: one µs is 500 of them, whatever else the host does
    #[arg(long, requires = "vm")]
    icount: bool,
    /// A few turns of everything: shows that it works, measures nothing
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Every size, number of flows and protocol
    #[arg(long)]
    full: bool,
    /// The run's folder; `target/bench/TIME` if not given
    #[arg(long)]
    out: Option<PathBuf>,
    /// Compares two runs by their folders
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with_all = ["what", "vm", "quick", "full", "out"])]
    compare: Vec<PathBuf>,
    /// Differences up to so many percent are what differs from run to run
    #[arg(long, requires = "compare", default_value_t = 10.0)]
    tolerance: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Round trips over every path: bare veth, Linux bridge, OVS, guarded, accelerated
    Latency,
    /// ADD and DEL beside the floor, one by one and many at once
    Add,
    /// What a pass and a restart cost beside many endpoints
    Flows,
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
            Self::Flows => "flows",
            Self::Agent => "agent",
            Self::Guard => "guard",
            Self::Notice => "notice",
            Self::Openflow => "openflow",
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let [old, new] = args.compare.as_slice() {
        return compare(old, new, args.tolerance);
    }
    let all = args.what.map_or_else(|| What::value_variants().to_vec(), |one| vec![one]);
    let run = Run::prepare(args, &all)?;
    let mut failed = Vec::new();
    for (at, what) in all.iter().enumerate() {
        let work = Work::begin(format!("bench {} ({} of {})", what.name(), at + 1, all.len()));
        match run.measure(*what, &work) {
            Ok(()) => work.done(),
            Err(error) if process::interrupted() => return Err(error),
            Err(error) => failed.push(format!("{}: {error:#}", what.name())),
        }
    }
    if failed.len() < all.len() {
        println!("{}", report::write(&run.folder)?);
        println!("Samples, tables, pictures: {}", run.folder.join("index.html").display());
    }
    if !failed.is_empty() {
        bail!("not measured:\n{}", failed.join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(old: &Path, new: &Path, tolerance_percent: f64) -> Result<ExitCode> {
    let [old, new] = [figures(old)?, figures(new)?];
    let comparison = compare::compare(&old, &new, tolerance_percent / 100.0);
    println!("{}", comparison.text);
    if comparison.worse > 0 {
        println!("{} rows became worse beyond noise", comparison.worse);
    }
    Ok(ExitCode::from(u8::from(comparison.worse > 0)))
}

fn figures(folder: &Path) -> Result<Vec<results::Results>> {
    let all = results::read(folder)?;
    ensure!(!all.is_empty(), "there are no figures in {}", folder.display());
    Ok(all)
}

/// One run: what was built, how it shall measure, and where the results go.
struct Run {
    binaries: PathBuf,
    folder: PathBuf,
    commit: String,
    vm: bool,
    icount: bool,
    /// Words for the benchmarks.
    effort: Option<&'static str>,
}

impl Run {
    fn prepare(args: &Args, all: &[What]) -> Result<Self> {
        let shell = Shell::new()?;
        let stamp = process::output(cmd!(shell, "date -u +%Y%m%dT%H%M%SZ"), WORDS_DEADLINE)?;
        let folder = match &args.out {
            Some(folder) => folder.clone(),
            None => places::target()?.join("bench").join(stamp.trim()),
        };
        let raw = folder.join(results::RAW);
        fs::create_dir_all(&raw).with_context(|| format!("cannot make {}", raw.display()))?;
        let root = places::root();
        let described = process::output(
            cmd!(shell, "git -C {root} describe --always --dirty --abbrev=12"),
            WORDS_DEADLINE,
        );
        let commit = described.map_or_else(|_| "not in git".to_owned(), |text| text.trim().to_owned());
        let effort = if args.quick { Some("--quick") } else { args.full.then_some("--full") };
        let mut binaries = PathBuf::new();
        if all != [What::Openflow] {
            require_root("bench")?;
            setup::ensure(if args.vm { Scope::Vm } else { Scope::Lab })?;
            let work = Work::begin("build");
            binaries = build::product(&work, Profile::Release, &["-p", "e2e", "--bin", "bench"])?;
            work.done();
        }
        Ok(Self {
            binaries,
            folder: fs::canonicalize(folder)?,
            commit,
            vm: args.vm,
            icount: args.icount,
            effort,
        })
    }

    fn measure(&self, what: What, work: &Work) -> Result<()> {
        if what == What::Openflow {
            self.codec(work)
        } else if self.vm {
            self.in_guest(what, work)
        } else {
            self.here(what, work)
        }
    }

    /// The codec's own benchmark, a part of its crate: no switch, no kernel, so that it stands alone. It prints text.
    fn codec(&self, work: &Work) -> Result<()> {
        let shell = Shell::new()?;
        let command = build::cargo(&shell, &["bench", "-p", "openflow", "--bench", "codec"]);
        let text = process::output_seen(command, build::BUILD_DEADLINE, |line| work.note(line))?;
        // What cargo says comes first.
        let text = text.find("\nguard:").map_or(text.as_str(), |at| &text[at + 1..]);
        fs::write(self.raw("openflow.txt"), text).context("cannot write openflow.txt")
    }

    fn here(&self, what: What, work: &Work) -> Result<()> {
        let file = self.raw(&format!("{}-userspace.json", what.name()));
        let shell = Shell::new()?;
        let bench = self.binaries.join("bench");
        let command = cmd!(shell, "{bench}")
            .args(self.words(what, text(&file)?))
            .env(BIN_DIR_VARIABLE, &self.binaries)
            .env(DATAPATH_VARIABLE, USERSPACE_DATAPATH)
            .env(COMMIT_VARIABLE, &self.commit);
        process::output_seen(command, DEADLINE, |line| work.note(line)).map(drop)
    }

    fn in_guest(&self, what: What, work: &Work) -> Result<()> {
        let guest = Guest {
            timeout: GUEST_DEADLINE,
            directory: places::root(),
            environment: vec![
                (BIN_DIR_VARIABLE.to_owned(), text(&self.binaries)?.to_owned()),
                (DATAPATH_VARIABLE.to_owned(), KERNEL_DATAPATH.to_owned()),
                (COMMIT_VARIABLE.to_owned(), self.commit.clone()),
            ],
            out: Some(self.raw("")),
            ..Guest::new(kernels::TCX)?
        };
        // An instruction clock knows one processor only.
        let guest = if self.icount { Guest { accel: Accel::Icount, smp: 1, ..guest } } else { guest };
        let clock = if self.icount { "icount" } else { "kernel" };
        let file = Path::new(GUEST_OUT).join(format!("{}-{clock}.json", what.name()));
        let mut command = vec![format!("{}/bench", text(&self.binaries)?)];
        command.extend(self.words(what, text(&file)?));
        let mut said = String::new();
        let outcome = guest.run(&command, |line| {
            work.note(line);
            said.push_str(line);
            said.push('\n');
        })?;
        match outcome {
            Outcome::Exited(0) => Ok(()),
            Outcome::Exited(status) => {
                bail!("ended with status {status}\n{}", process::last_lines(&said, LINES_IN_ERROR))
            }
            Outcome::TimedOut => bail!("the guest was not done after {GUEST_DEADLINE:?}"),
            Outcome::Died(log) => bail!("the guest died; the end of its kernel log:\n{log}"),
        }
    }

    fn words(&self, what: What, file: &str) -> Vec<String> {
        let words = [what.name(), "--json", file].map(str::to_owned);
        words.into_iter().chain(self.effort.map(str::to_owned)).collect()
    }

    fn raw(&self, name: &str) -> PathBuf {
        self.folder.join(results::RAW).join(name)
    }
}

/// Lines of a guest's output shown when its benchmark failed.
const LINES_IN_ERROR: usize = 30;

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
