//! Packages of the system: which are needed, which are missing, and how apt brings them.
//!
//! A package is judged by what it gives (a program, a file), so that other distributions work where
//! a person installed the same things. Only missing packages are installed; nothing is removed.

mod policy;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;
use xshell::{Shell, cmd};

use super::Scope;
use super::debian::{DEBIAN_KEYRING, Suite, SuiteApt};
use crate::places;
use crate::process;
use crate::progress::{self, Work};
use policy::NoDaemons;

/// `apt-get update` and `install` over a slow line; the largest set is about 60 MB.
const APT_DEADLINE: Duration = Duration::from_mins(15);

/// What shows that a package is there.
enum Proof {
    Program(&'static str),
    /// Any of these files.
    File(&'static [&'static str]),
}

struct Package {
    name: &'static str,
    scope: Scope,
    proof: Proof,
}

const fn program(name: &'static str, scope: Scope, program: &'static str) -> Package {
    Package { name, scope, proof: Proof::Program(program) }
}

const fn file(name: &'static str, scope: Scope, files: &'static [&'static str]) -> Package {
    Package { name, scope, proof: Proof::File(files) }
}

const QEMU: &str = "qemu-system-x86";

const PACKAGES: &[Package] = &[
    program("openvswitch-switch", Scope::Lab, "ovs-vswitchd"),
    program("openvswitch-common", Scope::Lab, "ovs-ofctl"),
    file(
        "containernetworking-plugins",
        Scope::Lab,
        &["/usr/lib/cni/host-local", "/opt/cni/bin/host-local", "/usr/libexec/cni/host-local"],
    ),
    program("iproute2", Scope::Lab, "tc"),
    program("iputils-ping", Scope::Lab, "ping"),
    program("ethtool", Scope::Lab, "ethtool"),
    program("tcpdump", Scope::Lab, "tcpdump"),
    program("arping", Scope::Lab, "arping"),
    program(QEMU, Scope::Vm, "qemu-system-x86_64"),
    // Its plain sister gives the same program, but linked to libraries that an initramfs lacks.
    file("busybox-static", Scope::Vm, &["/var/lib/dpkg/info/busybox-static.list"]),
    program("kmod", Scope::Vm, "modprobe"),
    program("xz-utils", Scope::Vm, "xz"),
    program("zstd", Scope::Vm, "zstd"),
    file("debian-archive-keyring", Scope::Vm, &[DEBIAN_KEYRING]),
];

/// Brought when others are, and no fault where the distribution lacks it (Ubuntu): only people use it.
const OPTIONAL: &str = "bpftool";

/// The packages of `scope` that are missing.
pub(super) fn missing(scope: Scope) -> Vec<&'static str> {
    PACKAGES.iter().filter(|package| package.scope <= scope && !package.is_there()).map(|p| p.name).collect()
}

/// Installs what is missing of `scope`.
pub(super) fn ensure(scope: Scope) -> Result<()> {
    let missing = missing(scope);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if places::program("apt-get").is_none() {
        bail!("this is not Debian or Ubuntu (no apt-get): install by hand what these packages hold: {list}");
    }
    if !geteuid().is_root() {
        bail!("not root, and packages are missing: sudo apt-get install --no-install-recommends {list}");
    }
    let work = Work::begin(format!("set-up: packages {list}"));
    let _no_daemons = NoDaemons::begin()?;
    // An install that was interrupted (Ctrl-C above all) is finished first; else dpkg refuses a new one.
    let shell = Shell::new()?;
    process::output(
        cmd!(shell, "dpkg --configure -a").env("DEBIAN_FRONTEND", "noninteractive"),
        APT_DEADLINE,
    )?;
    // A failed update (one broken third-party source is enough) matters only if the install fails.
    let updated = apt(&work, &["update"], &[]);
    let (qemu, plain): (Vec<_>, Vec<_>) = missing.into_iter().partition(|name| *name == QEMU);
    if !plain.is_empty()
        && let Err(error) = apt(&work, &["install", "--no-remove"], &plain)
    {
        updated.context("apt-get update failed, and then the install")?;
        return Err(error);
    }
    if !qemu.is_empty() {
        install_qemu(&work)?;
    }
    if places::program(OPTIONAL).is_none() && apt(&work, &["install", "--no-remove"], &[OPTIONAL]).is_err() {
        progress::warn(&format!("no package {OPTIONAL} here; only people looking at BPF by hand miss it"));
    }
    work.done();
    Ok(())
}

impl Package {
    fn is_there(&self) -> bool {
        match self.proof {
            Proof::Program(name) => places::program(name).is_some(),
            Proof::File(files) => files.iter().any(|file| Path::new(file).exists()),
        }
    }
}

fn apt(work: &Work, verb: &[&str], packages: &[&str]) -> Result<()> {
    let shell = Shell::new()?;
    let command = cmd!(
        shell,
        "apt-get -q -y -o DPkg::Lock::Timeout=300 {verb...} --no-install-recommends {packages...}"
    )
    .env("DEBIAN_FRONTEND", "noninteractive");
    process::output_seen(command, APT_DEADLINE, |line| work.note(line))?;
    Ok(())
}

/// QEMU plainly, else from backports: where qemu-utils came from there, it breaks the release's
/// qemu-system-x86 ("held broken packages", seen on Debian 12).
fn install_qemu(work: &Work) -> Result<()> {
    let Err(plain) = apt(work, &["install", "--no-remove"], &[QEMU]) else { return Ok(()) };
    let Some(codename) = debian_codename() else { return Err(plain) };
    work.note("from backports");
    let backports = format!("{codename}-backports");
    let suites = [codename.clone(), format!("{codename}-updates"), backports.clone()].map(Suite::named);
    let suite_apt = SuiteApt::open(&suites)?;
    let release = format!("APT::Default-Release={backports}");
    let command = suite_apt.command(
        "apt-get",
        &["-q", "-y", "-o", &release, "install", "--no-install-recommends", "--no-remove", QEMU],
    );
    process::output_seen(command, APT_DEADLINE, |line| work.note(line))
        .with_context(|| format!("{QEMU} from {backports}; before that, plainly: {plain:#}"))?;
    Ok(())
}

/// The release's code name where this is Debian itself.
fn debian_codename() -> Option<String> {
    let text = std::fs::read_to_string("/etc/os-release").ok()?;
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(|v| v.trim_matches('"')))
    };
    (value("ID") == Some("debian")).then(|| value("VERSION_CODENAME").map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_no_machine_has_is_missing() {
        assert!(!program("x", Scope::Lab, "no-such-program-anywhere").is_there());
        assert!(program("x", Scope::Lab, "sh").is_there());
    }

    #[test]
    fn the_lab_needs_no_package_of_the_machines() {
        assert!(PACKAGES.iter().filter(|p| p.scope <= Scope::Lab).all(|p| p.name != QEMU));
        assert!(PACKAGES.iter().any(|p| p.scope == Scope::Vm && p.name == QEMU));
    }
}
