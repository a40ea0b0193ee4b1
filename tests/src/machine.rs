//! What the machine must offer before a lab can be drawn on it.
//!
//! Owns the environment contract (`LAB_DATAPATH`, `UNDERPASS_BIN_DIR`) and the lookup of external programs.
//! It only looks and complains: a machine that cannot run the stories fails them with the remedy in the
//! message; nothing is ever skipped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Where the programs are searched besides `PATH`; Debian keeps OVS' daemons in the second one.
const PROGRAM_DIRS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/usr/bin", "/sbin"];

/// Debian's `containernetworking-plugins`: the real `host-local` and `static`.
pub(crate) const CNI_PATH: &str = "/usr/lib/cni";

/// OVS 3.1 counts no CPU, hence starts no upcall handler, while CLOCK_MONOTONIC is below 10 s: every upcall of
/// the kernel datapath is lost then. Only a freshly booted VM is that young.
const UPTIME_FOR_UPCALLS: Duration = Duration::from_millis(10_200);

/// Which datapath the bridges of a lab use; `LAB_DATAPATH=netdev|system`, the first by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datapath {
    /// `datapath_type=netdev`: works on every kernel, OpenFlow is the wall.
    Userspace,
    /// `datapath_type=system`: needs the kernel's `openvswitch` module, eBPF decides first.
    Kernel,
}

impl Datapath {
    /// The datapath that the environment asks for.
    pub fn from_env() -> Result<Self> {
        match std::env::var("LAB_DATAPATH").as_deref() {
            Err(_) | Ok("" | "netdev") => Ok(Self::Userspace),
            Ok("system") => Ok(Self::Kernel),
            Ok(other) => bail!("LAB_DATAPATH={other:?}: expected netdev or system"),
        }
    }

    /// The value of OVSDB's `Bridge.datapath_type`.
    pub fn ovs_name(self) -> &'static str {
        match self {
            Self::Userspace => "netdev",
            Self::Kernel => "system",
        }
    }

    /// How much longer everything may take here: the kernel datapath runs in an emulated guest, about twenty
    /// times slower for user code.
    pub fn patience(self) -> u32 {
        match self {
            Self::Userspace => 1,
            Self::Kernel => 4,
        }
    }
}

/// Proves that a bare lab (namespaces and OVS) can run here.
pub(crate) fn require_lab(datapath: Datapath) -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "the lab makes network namespaces: run it as root");
    for needed in ["ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovs-appctl"] {
        program(needed).context("install Open vSwitch: apt-get install openvswitch-switch")?;
    }
    program("ip").context("install iproute2")?;
    program("ethtool").context("install ethtool")?;
    if datapath == Datapath::Kernel {
        ensure!(
            Path::new("/sys/module/openvswitch").exists(),
            "LAB_DATAPATH=system, but the kernel module openvswitch is not loaded: modprobe openvswitch, or run \
             these stories in a VM"
        );
    }
    Ok(())
}

/// Absolute path of an external program.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(PROGRAM_DIRS.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("program {name} is missing"))
}

/// Absolute path of one of our binaries, built by `cargo xtask` and found by `UNDERPASS_BIN_DIR`.
pub fn our_binary(name: &str) -> Result<PathBuf> {
    let dir = std::env::var_os("UNDERPASS_BIN_DIR").context(
        "UNDERPASS_BIN_DIR is not set: run the stories by `cargo xtask test`, which builds and names it",
    )?;
    let path = PathBuf::from(dir).join(name);
    ensure!(path.is_file(), "{} is missing: build it first (`cargo xtask test` does)", path.display());
    path.canonicalize().with_context(|| format!("resolving {}", path.display()))
}

/// Proves that the real IPAM plugins are here.
pub(crate) fn require_cni_plugins() -> Result<()> {
    for plugin in ["host-local", "static"] {
        let path = Path::new(CNI_PATH).join(plugin);
        ensure!(path.is_file(), "{} is missing: apt-get install containernetworking-plugins", path.display());
    }
    Ok(())
}

/// Waits until vswitchd counts CPUs correctly; at once everywhere but in a VM just booted.
pub(crate) fn wait_for_uptime() -> Result<()> {
    let text = std::fs::read_to_string("/proc/uptime").context("reading /proc/uptime")?;
    let seconds: f64 = text.split(' ').next().unwrap_or_default().parse().context("parsing /proc/uptime")?;
    let missing = UPTIME_FOR_UPCALLS.saturating_sub(Duration::from_secs_f64(seconds));
    std::thread::sleep(missing);
    Ok(())
}
