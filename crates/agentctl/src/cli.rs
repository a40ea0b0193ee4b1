//! The words on the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

/// Ask the Underpass agent of this node
///
/// ENDPOINT is namespace/pod, namespace/pod:ifname, a printed endpoint id, or at least six characters of a container id.
#[derive(Parser)]
#[command(name = "agentctl", version, max_term_width = 100, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    /// How to print the answer
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Socket of the agent
    #[arg(long, global = true, env = agent_api::SOCKET_VARIABLE, value_hint = ValueHint::FilePath,
          default_value = agent_api::DEFAULT_SOCKET, hide_env_values = true)]
    pub(crate) socket: PathBuf,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs; one document, or one a line where the answer goes on
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// The agent, its bridges and its stages at a glance
    Status,
    /// The endpoints of this node; one of them in full
    Endpoints {
        /// Only this one, in full
        endpoint: Option<String>,
        /// Only those on this bridge
        #[arg(long)]
        bridge: Option<String>,
    },
    /// OpenFlow rules, with the pods they belong to
    #[command(subcommand)]
    Flows(FlowsVerb),
    /// Frames the guard dropped, by reason
    Drops {
        /// Only those of this one
        endpoint: Option<String>,
        /// Go on with drops as they happen
        #[arg(short, long)]
        watch: bool,
    },
    /// Foreign claims on addresses of this node's endpoints
    Conflicts {
        /// Only those of this one
        endpoint: Option<String>,
    },
    /// The gateways that are watched
    Gateways {
        /// Only those of this bridge
        #[arg(long)]
        bridge: Option<String>,
    },
    /// Which endpoints talk past the bridge, and why not
    #[command(args_conflicts_with_subcommands = true)]
    Accel {
        #[command(subcommand)]
        verb: Option<AccelVerb>,
    },
    /// Check everything the agent stands on
    Doctor,
    /// What happened lately
    Events {
        /// Only those of this one
        endpoint: Option<String>,
        /// Go on with events as they happen
        #[arg(short, long)]
        follow: bool,
    },
    /// Print a completion script for a shell
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Subcommand)]
pub(crate) enum FlowsVerb {
    /// Print flows as the switch has them, beside what should be there
    Dump {
        /// Only those of this endpoint
        #[arg(long, value_name = "ENDPOINT")]
        pod: Option<String>,
        /// Only this table, by number or name
        #[arg(long)]
        table: Option<String>,
        /// Only this bridge
        #[arg(long)]
        bridge: Option<String>,
        /// Only what differs from what should be; exit status 1 if anything does
        #[arg(long)]
        diff: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum AccelVerb {
    /// Say for a pair why its frames go through the bridge or past it
    Explain {
        /// The sender
        from: String,
        /// The receiver
        to: String,
    },
}

const EXIT_STATUS: &str = "Exit status: 0 fine, 1 it found something, 2 usage, 3 agent or switch out of reach, \
                           4 no such pod, bridge, port";
