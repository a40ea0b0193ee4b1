//! `cargo xtask setup`: brings what building, testing and the demo need.
//!
//! Three rooms: [`apt`] (packages of the system), [`ebpf`] (core and linker for the BPF target),
//! [`kernels`] (Debian kernels for the VM tests). Each first says what is missing, which takes
//! milliseconds, and only works on that. One set-up at a time: a lock file beside the caches.

mod apt;
mod debian;
mod ebpf;
pub(crate) mod kernels;

use std::fs::{self, File, TryLockError};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

pub(crate) use ebpf::Toolchain;

use crate::places;
use crate::process;
use crate::progress::{self, seconds};

/// Brings packages, the eBPF toolchain and, with --vm, QEMU and kernels
///
/// Packages need root and Debian or Ubuntu; daemons that apt would start are kept from starting.
/// The rest goes to ${XDG_CACHE_HOME:-~/.cache}. Core's source for the BPF target is taken from
/// EBPF_CORE_SRC (a `library` directory or a tarball of one) where that is set, else rustup's
/// rust-src, else Debian's package, unpacked privately. EBPF_NO_RUSTUP=1 keeps rustup from
/// downloading; DEBIAN_MIRROR names a mirror where apt's own sources have none of Debian.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also QEMU and the kernels for the tests in virtual machines
    #[arg(long)]
    vm: bool,
    /// Change nothing: say what is missing; exit status 1 if anything is
    #[arg(long)]
    check: bool,
}

/// How much of it a verb needs; each contains the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Compiling the product: the eBPF toolchain.
    Build,
    /// The lab and the demo on this machine: Open vSwitch and network tools.
    Lab,
    /// The lab in virtual machines: QEMU and kernels.
    Vm,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let scope = if args.vm { Scope::Vm } else { Scope::Lab };
    if !args.check {
        ensure(scope)?;
        return Ok(ExitCode::SUCCESS);
    }
    let missing = missing(scope)?;
    for thing in &missing {
        println!("missing: {thing}");
    }
    if missing.is_empty() {
        println!("everything is there");
    }
    Ok(ExitCode::from(u8::from(!missing.is_empty())))
}

/// Makes sure that everything of `scope` is there.
pub(crate) fn ensure(scope: Scope) -> Result<()> {
    let begun = Instant::now();
    if missing(scope)?.is_empty() {
        eprintln!("set-up: everything is there ({})", seconds(begun.elapsed()));
        return Ok(());
    }
    let _lock = lock()?;
    if scope >= Scope::Lab {
        apt::ensure(scope)?;
    }
    ebpf::ensure()?;
    if scope >= Scope::Vm {
        kernels::ensure()?;
    }
    let missing = missing(scope)?;
    if !missing.is_empty() {
        bail!("still missing after the set-up: {}", missing.join(", "));
    }
    eprintln!("set-up: everything is there ({})", seconds(begun.elapsed()));
    Ok(())
}

fn missing(scope: Scope) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    if scope >= Scope::Lab {
        missing.extend(apt::missing(scope).into_iter().map(|package| format!("package {package}")));
    }
    missing.extend(ebpf::missing()?);
    if scope >= Scope::Vm {
        missing.extend(kernels::missing()?);
    }
    Ok(missing)
}

/// Holds the set-up's lock until dropped; waits, and says so, while another set-up has it.
fn lock() -> Result<File> {
    let path = places::cache()?.join("setup.lock");
    fs::create_dir_all(places::cache()?).context("cannot make the cache directory")?;
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if told => process::pause()?,
            Err(TryLockError::WouldBlock) => {
                progress::warn("another set-up is at work: waiting for it");
                told = true;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}
