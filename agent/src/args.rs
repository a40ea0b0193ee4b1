//! The command line of `underpass-agent`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Programs Open vSwitch and eBPF for the pods of this node.
///
/// Needs CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_BPF and CAP_PERFMON, a running Open vSwitch and a
/// mounted bpffs. Serves CNI calls and `agentctl` on `<run_dir>/agent.sock`.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Configuration file (TOML). Without this flag a missing file means all defaults.
    #[arg(long, global = true, value_name = "FILE", env = "UNDERPASS_CONFIG")]
    pub config: Option<PathBuf>,

    /// Log filter, over `log.level` of the configuration: `info`, `underpass_agent=debug`.
    #[arg(long, global = true, value_name = "FILTER", env = "UNDERPASS_LOG")]
    pub log: Option<String>,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the configuration and print nothing if it is good.
    Check,
    /// Ask the running agent whether it lives; exit status 0 if so.
    Health {
        /// Ask whether it serves CNI calls, too.
        #[arg(long)]
        ready: bool,
    },
    /// In a cluster: delete the agents' DaemonSet and wait until every agent has left its node.
    ///
    /// For the chart, before it takes the agents' rights away.
    Uninstall,
}
