//! The agent's configuration: a TOML file and flags become one validated [`Config`].
//!
//! All faults are reported together, each with the path of its key and its value. No file at all means all
//! defaults. The keys are listed in `docs/configuration.md`.

mod raw;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::{ConflictPolicy, GatewayPolicy, GuardMode, ProbeTiming};

/// Everything that can be set, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub run_dir: PathBuf,
    pub bpf_dir: PathBuf,
    pub ovs: Ovs,
    pub bridges: Vec<Bridge>,
    pub cni: Cni,
    pub guard_mode: GuardMode,
    pub conflict: Conflict,
    pub gateway: Gateway,
    pub accel: Accel,
    pub max_endpoints: u32,
    /// Where metrics are served; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    pub log: Log,
    pub kubernetes: Kubernetes,
    pub install: Install,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ovs {
    /// Path of the database's Unix socket.
    pub db: PathBuf,
    /// Where the bridges' `<name>.mgmt` sockets lie.
    pub run_dir: PathBuf,
    /// The first of ten OpenFlow tables that are ours.
    pub table_base: u8,
}

/// A bridge that needs more than its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    pub name: String,
    /// Physical members; empty: found in OVSDB.
    pub uplinks: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cni {
    /// A call that has no result by then fails with code 11.
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub policy: ConflictPolicy,
    pub timing: ProbeTiming,
    pub for_life: ForLife,
}

/// What a conflict that appears after the ADD leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForLife {
    /// It is reported.
    Notify,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gateway {
    pub policy: GatewayPolicy,
    /// Silence after which the gateway is asked.
    pub interval: Duration,
    /// How long one question may stay unanswered.
    pub timeout: Duration,
    /// Unanswered questions until it counts as lost, and answers until it counts as back.
    pub lost_after: u32,
    pub back_after: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accel {
    pub enabled: bool,
    /// How long the programs go on past OVS without hearing from the agent.
    pub lease: Duration,
    pub renew: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A `tracing` filter: `info`, `underpass_agent=debug`.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The agent's part in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    pub enabled: InCluster,
    /// Name of this node; else `$NODE_NAME`.
    pub node: Option<String>,
    /// Namespace and name of the DaemonSet that runs the agent: when it is gone, so is the agent for good.
    pub daemonset: Option<(String, String)>,
    /// Key of a taint that is taken off the node once the agent is ready.
    pub startup_taint: Option<String>,
    /// Whether bridges become resources of the node, under ovs-cni's names.
    pub resources: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InCluster {
    /// In a pod that has a service account.
    Auto,
    Yes,
    No,
}

/// What the agent puts on its node, and takes away when it leaves for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// Where the plugin goes; `None`: nowhere, somebody else installs it.
    pub bin_dir: Option<PathBuf>,
    /// The names under which it goes there.
    pub names: Vec<String>,
    /// The CNI configuration that is put into `conf_dir` under its own name; `None`: none.
    pub conf: Option<PathBuf>,
    pub conf_dir: PathBuf,
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, as it is written in TOML: `conflict.interval`.
    pub path: String,
    pub what: String,
}

/// Why there is no configuration: the file cannot be read, or these are its faults.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("reading {path} failed")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: {}", list(faults))]
    Invalid { path: String, faults: Vec<Fault> },
}

impl Config {
    /// Reads and checks the file at `path`. A missing file is an error only if `required`.
    pub fn load(path: &Path, required: bool) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => String::new(),
            Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
        };
        Self::parse(&text).map_err(|faults| ConfigError::Invalid { path: path.display().to_string(), faults })
    }

    /// Checks a configuration given as text, reporting every fault.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        raw::parse(text)
    }

    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("agent.sock")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.what) } else { write!(f, "{}: {}", self.path, self.what) }
    }
}

fn list(faults: &[Fault]) -> String {
    let lines: Vec<_> = faults.iter().map(|f| format!("\n  {f}")).collect();
    format!("{} fault{}{}", faults.len(), if faults.len() == 1 { "" } else { "s" }, lines.concat())
}
