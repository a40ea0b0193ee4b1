//! Finds the source of core for exactly this rustc: core of another version does not compile
//! (tried: 1.94.1, 1.96.0 and 1.97.1 all fail on 1.95.0).
//!
//! In this order: EBPF_CORE_SRC, because whoever sets it means it; rustup's rust-src, if it is there
//! or can be added; Debian's package, unpacked privately.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::places;
use crate::process;
use crate::progress::Work;
use crate::setup::debian::{Suite, SuiteApt};

/// rust-src is 4 MB; where rustup may not download it says so at once.
const RUSTUP_DEADLINE: Duration = Duration::from_mins(5);
const UNPACK_DEADLINE: Duration = Duration::from_mins(2);

/// Debian's packages with the source of Rust's library.
const DEBIAN_PACKAGES: [&str; 2] = ["rust-src", "rust-web-src"];
/// Where they may be of our version, cheap indexes first. Backports keep old versions for a while.
const DEBIAN_SUITES: [&[&str]; 3] =
    [&["trixie-backports", "bookworm-backports"], &["trixie"], &["forky", "sid"]];

/// The `library` directory of Rust `release`; unpacked under `work` where it has to be.
pub(super) fn find(release: &str, rust_sysroot: &Path, work: &Path, progress: &Work) -> Result<PathBuf> {
    if let Some(given) = env::var_os("EBPF_CORE_SRC").filter(|path| !path.is_empty()) {
        progress.note("EBPF_CORE_SRC");
        return given_source(&given, work);
    }
    let installed = rust_sysroot.join("lib/rustlib/src/rust/library");
    if is_library(&installed) {
        return Ok(installed);
    }
    if add_rust_src(progress)? && is_library(&installed) {
        return Ok(installed);
    }
    if let Some(library) = from_debian(release, work, progress)? {
        return Ok(library);
    }
    bail!(
        "no source of core for Rust {release}: rustup could not add rust-src, and no suite of Debian has it.\n\
         Set EBPF_CORE_SRC to the `library` directory of that Rust's source, or to a tarball of one"
    )
}

/// Whether a directory holds what core and compiler_builtins are made of.
fn is_library(dir: &Path) -> bool {
    ["core/src/lib.rs", "compiler-builtins/compiler-builtins/src/lib.rs"]
        .iter()
        .all(|file| dir.join(file).is_file())
}

/// What EBPF_CORE_SRC names: a directory, or a tarball that is unpacked. An explicit wish that
/// cannot be met is an error, never passed over.
fn given_source(given: &OsStr, work: &Path) -> Result<PathBuf> {
    let given = Path::new(given);
    let shown = given.display();
    if given.is_dir() {
        return library_in(given)
            .with_context(|| format!("EBPF_CORE_SRC={shown} holds no library directory"));
    }
    if !given.is_file() {
        bail!("EBPF_CORE_SRC={shown}: no such file or directory");
    }
    let unpacked = work.join("given");
    fs::create_dir_all(&unpacked)?;
    let shell = Shell::new()?;
    process::output(cmd!(shell, "tar -xf {given} -C {unpacked}"), UNPACK_DEADLINE)
        .with_context(|| format!("EBPF_CORE_SRC={shown} cannot be unpacked"))?;
    library_in(&unpacked).with_context(|| format!("EBPF_CORE_SRC={shown} holds no library directory"))
}

fn library_in(dir: &Path) -> Option<PathBuf> {
    [dir.to_owned(), dir.join("library")].into_iter().find(|dir| is_library(dir))
}

/// Lets rustup add rust-src. False where there is no rustup or it may not download.
fn add_rust_src(progress: &Work) -> Result<bool> {
    let set_to = |name: &str, value: &str| env::var_os(name).is_some_and(|set| set == value);
    let forbidden = set_to("EBPF_NO_RUSTUP", "1") || set_to("RUSTUP_AUTO_INSTALL", "0");
    if forbidden || places::program("rustup").is_none() {
        return Ok(false);
    }
    progress.note("rustup component add rust-src");
    let shell = Shell::new()?;
    shell.change_dir(places::root());
    match process::output(cmd!(shell, "rustup component add rust-src"), RUSTUP_DEADLINE) {
        Ok(_) => Ok(true),
        Err(error) if process::interrupted() => Err(error),
        Err(error) => {
            eprintln!("rustup could not add rust-src: {error}");
            Ok(false)
        }
    }
}

fn from_debian(release: &str, work: &Path, progress: &Work) -> Result<Option<PathBuf>> {
    if places::program("apt-get").is_none() {
        return Ok(None);
    }
    for suites in DEBIAN_SUITES {
        progress.note(&format!("Debian {}", suites.join(", ")));
        let apt = SuiteApt::open(&suites.iter().copied().map(Suite::named).collect::<Vec<_>>())?;
        let Some(package) = madison_pick(&apt.query(&["madison", "rust-src", "rust-web-src"])?, release)
        else {
            continue;
        };
        progress.note(&package);
        let unpacked = work.join("debian");
        apt.unpack(&package, &unpacked, |line| progress.note(line))?;
        let mut sources = fs::read_dir(unpacked.join("usr/src")).into_iter().flatten();
        let library = sources.find_map(|entry| library_in(&entry.ok()?.path()));
        if library.is_some() {
            return Ok(library);
        }
    }
    Ok(None)
}

/// `package=version` of exactly `release` out of the table that `apt-cache madison` prints.
fn madison_pick(table: &str, release: &str) -> Option<String> {
    table.lines().find_map(|line| {
        let mut cells = line.split('|').map(str::trim);
        let (package, version) = (cells.next()?, cells.next()?);
        let rest = version.strip_prefix(release)?;
        (DEBIAN_PACKAGES.contains(&package) && rest.starts_with(['+', '-', '~']))
            .then(|| format!("{package}={version}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exactly_this_release_is_picked() {
        let table = "rust-src | 1.95.1+dfsg1-1 | http://x sid/main amd64\n\
                     rust-web-src | 1.95.0+dfsg2-1~bpo | http://x trixie-backports/main amd64\n";
        assert_eq!(madison_pick(table, "1.95.0").as_deref(), Some("rust-web-src=1.95.0+dfsg2-1~bpo"));
        assert_eq!(madison_pick(table, "1.95"), None);
    }

    #[test]
    fn a_given_source_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = given_source(OsStr::new("/no/such/tarball"), dir.path()).unwrap_err();
        assert!(error.to_string().contains("EBPF_CORE_SRC=/no/such/tarball"));
        let error = given_source(dir.path().as_os_str(), dir.path()).unwrap_err();
        assert!(error.to_string().contains("holds no library directory"));
    }
}
