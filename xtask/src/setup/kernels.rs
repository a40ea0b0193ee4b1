//! Debian kernels for the virtual machines, unpacked into the cache and never installed.
//!
//! One directory per series, complete once it is there (it is renamed into place):
//! ```text
//! ${XDG_CACHE_HOME:-~/.cache}/underpass/kernels/6.12/
//!   version           6.12.95+deb12-amd64
//!   config            the kernel's configuration
//!   vmlinux           uncompressed: QEMU enters it through its PVH note and saves seconds of emulated xz
//!   lib/modules/VER/  the modules a network test needs, uncompressed
//! ```
//! Generic kernels only: the cloud flavour has no 9p.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use xshell::{Shell, cmd};

use super::debian::{Suite, SuiteApt};
use crate::places;
use crate::process;
use crate::progress::{self, Work};
use crate::vm::image;

/// Decompressing and indexing a thousand modules.
const MODULES_DEADLINE: Duration = Duration::from_mins(5);
/// Modules handed to one xz: enough to keep it busy, few enough for a command line.
const MODULES_PER_RUN: usize = 100;

/// A kernel series and where Debian has it. A later suite is asked when an earlier one lost it.
pub(crate) struct Series {
    pub name: &'static str,
    suites: &'static [&'static [&'static str]],
    /// What stands in where Debian's mirror has this one no more.
    stand_in: Option<&'static str>,
}

/// The floor with TCX links is 6.6; Debian's nearest long-lived kernel is this.
pub(crate) const TCX: &str = "6.12";
/// The floor of all: clsact filters, no TCX.
pub(crate) const CLSACT: &str = "5.10";

const SERIES: &[Series] = &[
    Series { name: TCX, suites: &[&["bookworm-backports"], &["trixie"]], stand_in: None },
    Series { name: CLSACT, suites: &[&["bullseye-security"], &["bullseye"]], stand_in: Some("6.1") },
    Series { name: "6.1", suites: &[&["bookworm"], &["bookworm-security"]], stand_in: None },
];

/// The series that every set-up brings.
const WANTED: [&str; 2] = [TCX, CLSACT];

/// A kernel in the cache.
pub(crate) struct Kernel {
    pub version: String,
    dir: PathBuf,
}

impl Kernel {
    /// The kernel of a series, or its stand-in.
    pub(crate) fn of(series: &str) -> Result<Self> {
        let name = effective(known(series)?);
        if name != series {
            progress::warn(&format!("Debian's mirror had no kernel {series} any more: {name} stands in"));
        }
        let dir = directory(name)?;
        let version = fs::read_to_string(dir.join("version")).with_context(|| {
            format!("no kernel {name} in {}: run `cargo xtask setup --vm`", dir.display())
        })?;
        Ok(Self { version: version.trim().to_owned(), dir })
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.dir.join("vmlinux")
    }

    /// The directory under which `lib/modules` lies.
    pub(crate) fn base(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn modules(&self) -> PathBuf {
        self.dir.join("lib/modules").join(&self.version)
    }
}

/// Brings one series, whichever of the known ones.
pub(crate) fn ensure_series(series: &str) -> Result<()> {
    let entry = known(effective(known(series)?))?;
    if is_there(entry.name)? || fetch(entry)? {
        return Ok(());
    }
    let suites = entry.suites.concat().join(", ");
    let Some(stand_in) = entry.stand_in else { bail!("Debian's mirror has no kernel {series} in {suites}") };
    let mark = gone_mark(series)?;
    progress::warn(&format!(
        "Debian's mirror has no kernel {series} in {suites} any more: taking {stand_in} (remove {} to try again)",
        mark.display()
    ));
    ensure_series(stand_in)?;
    fs::write(&mark, "").with_context(|| format!("cannot write {}", mark.display()))
}

pub(super) fn missing() -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for name in WANTED {
        let name = effective(known(name)?);
        if !is_there(name)? {
            missing.push(format!("kernel {name}"));
        }
    }
    Ok(missing)
}

pub(super) fn ensure() -> Result<()> {
    WANTED.into_iter().try_for_each(ensure_series)
}

fn known(series: &str) -> Result<&'static Series> {
    let names: Vec<_> = SERIES.iter().map(|entry| entry.name).collect();
    SERIES
        .iter()
        .find(|entry| entry.name == series)
        .with_context(|| format!("kernel {series:?} is none of {}", names.join(", ")))
}

/// The series that is used in place of this one: itself, unless its stand-in was taken.
fn effective(series: &Series) -> &'static str {
    series.stand_in.filter(|_| gone_mark(series.name).is_ok_and(|mark| mark.exists())).unwrap_or(series.name)
}

/// Says that the mirror had no kernel of the series, so that a warm set-up asks no more.
fn gone_mark(series: &str) -> Result<PathBuf> {
    Ok(places::cache()?.join("kernels").join(format!("{series}.gone")))
}

fn directory(series: &str) -> Result<PathBuf> {
    Ok(places::cache()?.join("kernels").join(series))
}

fn is_there(series: &str) -> Result<bool> {
    Ok(directory(series)?.join("version").exists())
}

/// Downloads and unpacks the newest kernel of a series; false where no suite has one.
fn fetch(series: &Series) -> Result<bool> {
    if cfg!(not(target_arch = "x86_64")) {
        bail!(
            "the virtual machines are x86_64 and share this machine's programs: they need an x86_64 machine"
        );
    }
    let work = Work::begin(format!("set-up: kernel {} from Debian", series.name));
    for suites in series.suites {
        work.note(&suites.join(", "));
        let apt = SuiteApt::open(&suites.iter().copied().map(Suite::named).collect::<Vec<_>>())?;
        let names = apt.query(&["pkgnames", "linux-image-"])?;
        if let Some(version) = newest(names.lines(), series.name) {
            install(&apt, &version, &directory(series.name)?, &work)?;
            work.done();
            return Ok(true);
        }
    }
    Ok(false)
}

/// The version of the newest generic image of a series among package names.
fn newest<'a>(names: impl Iterator<Item = &'a str>, series: &str) -> Option<String> {
    let prefix = format!("linux-image-{series}.");
    names
        .filter(|name| name.starts_with(&prefix) && name.ends_with("-amd64"))
        .filter(|name| !name.contains("-cloud-") && !name.contains("-rt-"))
        .max_by_key(|name| numbers(name))
        .map(|name| name.trim_start_matches("linux-image-").to_owned())
}

/// The numbers in a text, in order: what kernels' names are sorted by.
fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn install(apt: &SuiteApt, version: &str, dir: &Path, work: &Work) -> Result<()> {
    let kernels = dir.parent().context("the kernels' directory has a parent")?;
    fs::create_dir_all(kernels)?;
    let fresh = TempDir::with_prefix_in(".fetch.", kernels)?;
    let package = fresh.path().join("package");
    work.note(version);
    apt.unpack(&format!("linux-image-{version}"), &package, |line| work.note(line))?;
    let kernel = fresh.path().join("kernel");
    let modules = kernel.join("lib/modules").join(version);
    fs::create_dir_all(kernel.join("lib/modules"))?;
    // Debian 13 moved the modules below /usr.
    let unpacked = ["lib/modules", "usr/lib/modules"].map(|sub| package.join(sub).join(version));
    let unpacked = unpacked.iter().find(|dir| dir.is_dir()).context("the package has no modules")?;
    fs::rename(unpacked, &modules)?;
    fs::rename(package.join(format!("boot/config-{version}")), kernel.join("config"))?;
    work.note("unpacking the kernel and its modules");
    let vmlinuz = fs::read(package.join(format!("boot/vmlinuz-{version}")))?;
    fs::write(kernel.join("vmlinux"), image::uncompressed(&vmlinuz)?)?;
    keep_network_modules(&modules)?;
    decompress_modules(&modules)?;
    let shell = Shell::new()?;
    process::output(cmd!(shell, "depmod -b {kernel} {version}"), MODULES_DEADLINE)?;
    fs::write(kernel.join("version"), version)?;
    fs::rename(&kernel, dir).with_context(|| format!("cannot put the kernel into {}", dir.display()))
}

/// What a network test may load; the rest (80 % of the bytes) is removed.
const KEPT_MODULES: &[&str] = &[
    "net/",
    "lib/",
    "crypto/",
    "arch/",
    "fs/",
    "kernel/",
    "mm/",
    "block/",
    "drivers/virtio/",
    "drivers/block/",
    "drivers/char/hw_random/",
    "drivers/ptp/",
    "drivers/net/vxlan/",
    "drivers/net/bonding/",
    "drivers/net/team/",
];
/// Drivers of virtual devices lie here as files, those of hardware in directories.
const KEPT_DRIVERS: &str = "drivers/net/";

fn is_kept(module: &str) -> bool {
    KEPT_MODULES.iter().any(|prefix| module.starts_with(prefix))
        || module.strip_prefix(KEPT_DRIVERS).is_some_and(|rest| !rest.contains('/'))
}

fn keep_network_modules(modules: &Path) -> Result<()> {
    let base = modules.join("kernel");
    for module in files_below(&base)? {
        let name = module.strip_prefix(&base).ok().and_then(Path::to_str).unwrap_or_default();
        if !is_kept(name) {
            fs::remove_file(&module)?;
        }
    }
    Ok(())
}

/// Once here, not in an emulated guest each time. busybox' insmod reads plain modules only.
fn decompress_modules(modules: &Path) -> Result<()> {
    let files = files_below(modules)?;
    let shell = Shell::new()?;
    for (ending, program, flags) in [("xz", "xz", &["-d"][..]), ("zst", "zstd", &["-d", "-q", "--rm"])] {
        let compressed: Vec<_> =
            files.iter().filter(|file| file.extension().is_some_and(|found| found == ending)).collect();
        for chunk in compressed.chunks(MODULES_PER_RUN) {
            process::output(cmd!(shell, "{program} {flags...} {chunk...}"), MODULES_DEADLINE)?;
        }
    }
    Ok(())
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_generic_kernel_of_the_series_is_taken() {
        let names = [
            "linux-image-5.10.0-9-amd64",
            "linux-image-5.10.0-32-amd64",
            "linux-image-5.10.0-33-cloud-amd64",
            "linux-image-5.10.0-34-rt-amd64",
            "linux-image-5.10.0-35-amd64-unsigned",
            "linux-image-5.100.0-1-amd64",
        ];
        assert_eq!(newest(names.into_iter(), "5.10").as_deref(), Some("5.10.0-32-amd64"));
        assert_eq!(newest(names.into_iter(), "6.1"), None);
    }

    #[test]
    fn virtual_devices_are_kept_and_hardware_is_not() {
        assert!(is_kept("net/openvswitch/openvswitch.ko.xz") && is_kept("drivers/net/veth.ko"));
        assert!(!is_kept("drivers/net/ethernet/intel/e1000/e1000.ko") && !is_kept("drivers/gpu/drm/drm.ko"));
    }

    #[test]
    fn every_stand_in_is_a_series() {
        assert!(SERIES.iter().filter_map(|series| series.stand_in).all(|name| known(name).is_ok()));
    }
}
