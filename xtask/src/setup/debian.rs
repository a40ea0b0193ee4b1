//! Debian's archive without touching the system: a private apt with its own suites, indexes and
//! cache, on the mirror that the system's apt already uses.
//!
//! Kernels, core's source and (where the system's QEMU is held) backports come through it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use xshell::{Shell, cmd};

use crate::process;

/// Signs every suite we read; package debian-archive-keyring.
pub(super) const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One suite's index is at most 15 MB.
const UPDATE_DEADLINE: Duration = Duration::from_mins(5);
/// The largest package is a kernel of 110 MB.
const DOWNLOAD_DEADLINE: Duration = Duration::from_mins(15);
/// Reading a local index.
const QUERY_DEADLINE: Duration = Duration::from_mins(1);

/// A suite of the archive.
#[derive(Debug, Clone)]
pub(super) struct Suite {
    name: String,
    archive: Archive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Archive {
    Main,
    Security,
}

impl Suite {
    /// A suite by its name; those that end in `-security` lie in an archive of their own.
    pub(super) fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        let archive = if name.ends_with("-security") { Archive::Security } else { Archive::Main };
        Self { name, archive }
    }
}

/// An apt of our own in a temporary directory.
pub(super) struct SuiteApt {
    dir: TempDir,
    shell: Shell,
}

impl SuiteApt {
    /// Fetches the indexes of `suites`. A suite that the mirror lacks is passed over: what is looked
    /// for there is then not found.
    pub(super) fn open(suites: &[Suite]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("underpass-apt.").tempdir()?;
        let this = Self { dir, shell: Shell::new()? };
        this.write_configuration(suites)?;
        if let Err(error) = process::output(this.command("apt-get", &["-q", "update"]), UPDATE_DEADLINE) {
            if process::interrupted() {
                return Err(error);
            }
            let names: Vec<_> = suites.iter().map(|suite| suite.name.as_str()).collect();
            let text = error.to_string();
            let reason = text.lines().map(str::trim).find(|line| line.starts_with("E: ")).unwrap_or(&text);
            eprintln!("not all indexes of {} could be read: {reason}", names.join(", "));
        }
        Ok(this)
    }

    /// A program of apt that sees only our suites.
    pub(super) fn command(&self, program: &str, args: &[&str]) -> Command {
        let configuration = self.dir.path().join("apt.conf");
        cmd!(self.shell, "{program} {args...}")
            .env("APT_CONFIG", configuration)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C")
            .into()
    }

    /// The output of `apt-cache ARGS`.
    pub(super) fn query(&self, args: &[&str]) -> Result<String> {
        process::output(self.command("apt-cache", args), QUERY_DEADLINE)
    }

    /// Downloads a package (`name` or `name=version`) and unpacks all of it into `into`.
    pub(super) fn unpack(&self, package: &str, into: &Path, on_line: impl FnMut(&str)) -> Result<()> {
        let debs = tempfile::tempdir_in(self.dir.path())?;
        let mut download = self.command("apt-get", &["-q", "download", package]);
        download.current_dir(debs.path());
        process::output_seen(download, DOWNLOAD_DEADLINE, on_line)?;
        let deb = fs::read_dir(debs.path())?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("apt-get download {package} left no file"))?;
        process::output(cmd!(self.shell, "dpkg-deb -x {deb} {into}"), DOWNLOAD_DEADLINE)?;
        Ok(())
    }

    fn write_configuration(&self, suites: &[Suite]) -> Result<()> {
        let dir = self.dir.path();
        for sub in ["lists/partial", "archives/partial", "preferences.d"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        let (main, security) = mirrors()?;
        let sources = suites.iter().map(|Suite { name, archive }| {
            let mirror = if *archive == Archive::Security { &security } else { &main };
            format!("deb [signed-by={DEBIAN_KEYRING}] {mirror} {name} main\n")
        });
        fs::write(dir.join("sources.list"), sources.collect::<String>())?;
        fs::write(dir.join("apt.conf"), configuration(dir))?;
        Ok(())
    }
}

/// apt's configuration. The system's dpkg status stays in force, so that an install through it fits
/// the system. Old suites are no longer signed anew: their dates are not looked at.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "Dir::Etc::sourcelist \"{dir}/sources.list\";\n\
         Dir::Etc::sourceparts \"-\";\n\
         Dir::Etc::preferences \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"{dir}/preferences.d\";\n\
         Dir::State::lists \"{dir}/lists\";\n\
         Dir::Cache \"{dir}\";\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"2\";\n\
         Acquire::Check-Valid-Until \"false\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\n\
         DPkg::Lock::Timeout \"300\";\n"
    )
}

/// The mirrors of Debian and of its security archive.
fn mirrors() -> Result<(String, String)> {
    if !Path::new(DEBIAN_KEYRING).exists() {
        bail!("{DEBIAN_KEYRING} is missing: install the package debian-archive-keyring");
    }
    let words = source_words();
    let known = |ending: &str| words.iter().find(|word| word.ends_with(ending)).cloned();
    let main = env::var("DEBIAN_MIRROR")
        .ok()
        .map(|mirror| mirror.trim_end_matches('/').to_owned())
        .or_else(|| known("/debian"))
        .context("apt knows no mirror of Debian: set DEBIAN_MIRROR to one (http://HOST/debian)")?;
    let security = known("/debian-security").unwrap_or_else(|| format!("{main}-security"));
    Ok((main, security))
}

/// The addresses in apt's source files, old style and new, in their order.
fn source_words() -> Vec<String> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let mut files: Vec<PathBuf> = parts.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files.insert(0, PathBuf::from("/etc/apt/sources.list"));
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    texts.flat_map(|text| addresses(&text)).collect()
}

fn addresses(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .filter(|word| word.contains("://"))
        .map(|word| word.trim_end_matches('/').to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_read_from_both_styles_of_source_files() {
        let old = "# deb http://old.example/debian x main\ndeb [arch=amd64] http://a.example/debian/ bookworm main\n";
        assert_eq!(addresses(old), ["http://a.example/debian"]);
        let new = "Types: deb\nURIs: http://b.example/debian-security\nSigned-By: /x.gpg\n";
        assert_eq!(addresses(new), ["http://b.example/debian-security"]);
    }

    #[test]
    fn security_suites_lie_in_their_own_archive() {
        assert_eq!(Suite::named("bullseye-security").archive, Archive::Security);
        assert_eq!(Suite::named("bullseye").archive, Archive::Main);
    }
}
