//! The words on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::trips::SIZES;

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
    /// The agent, its bridges and its stages at a glance, and what is out of order
    ///
    /// Exit status 1 if one of doctor's checks fails.
    Status,
    /// The endpoints of this node; one of them in full
    ///
    /// Also those that the runtime deleted and that are not gone yet. Exit status 1 if one failed or waits to be gone.
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
    ///
    /// FRAMES counts each frame once. Two walls look at a frame: the eBPF program on the pod's veth, and OpenFlow on the
    /// bridge. On the kernel datapath OpenFlow sees what eBPF let pass; on the userspace datapath and in mode observe
    /// both see, and count, every frame.
    #[command(after_long_help = crate::names::reasons())]
    Drops {
        /// Only those of this one, by wall and with what the reasons mean
        endpoint: Option<String>,
        /// Go on with drops as they happen
        #[arg(short, long)]
        watch: bool,
    },
    /// Foreign claims on addresses of this node's endpoints
    ///
    /// Exit status 1 if one goes on; those of failed ADDs and those that ended are history.
    Conflicts {
        /// Only those of this one
        endpoint: Option<String>,
    },
    /// The gateways that are watched
    ///
    /// Exit status 1 if one is lost or claimed by two MACs.
    Gateways {
        /// Only those of this bridge
        #[arg(long)]
        bridge: Option<String>,
    },
    /// Which endpoints talk past the bridge, and why not
    ///
    /// On the kernel datapath, frames between two accelerated endpoints of one node go from veth to veth without Open
    /// vSwitch. WHY NOT names what would be missed that way, or what forbids it; such frames go through the bridge.
    #[command(args_conflicts_with_subcommands = true)]
    Accel {
        #[command(subcommand)]
        verb: Option<AccelVerb>,
    },
    /// Measure between endpoints of this node
    #[command(subcommand)]
    Bench(BenchVerb),
    /// Check everything the agent stands on
    ///
    /// Exit status 1 if a check fails.
    Doctor,
    /// What happened lately: endpoints, conflicts, gateways, drops, daemons, bridges, ports, mended flows
    Events {
        /// Only those of this one
        endpoint: Option<String>,
        /// Go on with events as they happen
        #[arg(short, long)]
        follow: bool,
    },
    /// OpenFlow between bytes and text, without a switch and without the agent
    ///
    /// Reads arguments, or lines of standard input where there are none. Exit status 1 if some line was wrong.
    #[command(name = "openflow")]
    OpenFlow {
        #[command(flatten)]
        options: OpenFlowOptions,
        #[command(subcommand)]
        verb: OpenFlowVerb,
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
        /// Only what differs from what should be; exit status 1 if anything does, 3 if a bridge cannot be read
        #[arg(long)]
        diff: bool,
        /// Read the bridge's own socket (its .mgmt file) and do without the agent: one line a flow, as ovs-ofctl prints it
        #[arg(long, value_name = "SOCKET", conflicts_with_all = ["pod", "bridge", "diff"], value_hint = ValueHint::FilePath)]
        switch: Option<PathBuf>,
        /// Ports by name
        #[arg(long, requires = "switch")]
        names: bool,
    },
}

#[derive(Args, Clone, Copy)]
pub(crate) struct OpenFlowOptions {
    /// For each line one object: text, reencoded (hexadecimal or null), error (name or null)
    #[arg(long, global = true)]
    pub(crate) json_lines: bool,
    /// The version of bytes that do not say it themselves
    #[arg(long, global = true, value_enum, default_value_t = OfVersion::V15)]
    pub(crate) of: OfVersion,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum OfVersion {
    /// OpenFlow 1.3
    #[value(name = "1.3")]
    V13,
    /// OpenFlow 1.4
    #[value(name = "1.4")]
    V14,
    /// OpenFlow 1.5
    #[value(name = "1.5")]
    V15,
}

#[derive(Subcommand)]
pub(crate) enum OpenFlowVerb {
    /// Print messages that are given in hexadecimal, as ovs-ofctl ofp-print does
    Print {
        /// Messages
        hex: Vec<String>,
        /// The messages of a captured control channel instead: its TCP streams are put together
        #[arg(long, value_name = "FILE", conflicts_with = "hex", value_hint = ValueHint::FilePath)]
        pcap: Option<PathBuf>,
    },
    /// Actions: hexadecimal into text, text into hexadecimal
    Actions { input: Vec<String> },
    /// Instructions: hexadecimal into text, text into hexadecimal
    Instructions { input: Vec<String> },
    /// Matches: OXM in hexadecimal into text, text into hexadecimal
    Match { input: Vec<String> },
    /// Flows in ovs-ofctl's syntax into flow-mods in hexadecimal
    FlowMod {
        text: Vec<String>,
        #[arg(long, value_enum, default_value_t = FlowCommand::Add)]
        command: FlowCommand,
    },
    /// Groups in ovs-ofctl's syntax into group-mods in hexadecimal
    GroupMod {
        text: Vec<String>,
        #[arg(long, value_enum, default_value_t = GroupCommand::Add)]
        command: GroupCommand,
    },
    /// Meters in ovs-ofctl's syntax into meter-mods in hexadecimal
    MeterMod {
        text: Vec<String>,
        #[arg(long, value_enum, default_value_t = MeterCommand::Add)]
        command: MeterCommand,
    },
}

/// What a flow-mod does.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum FlowCommand {
    Add,
    Modify,
    ModifyStrict,
    Delete,
    DeleteStrict,
}

/// What a group-mod does.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum GroupCommand {
    Add,
    Modify,
    AddOrModify,
    Delete,
    InsertBucket,
    RemoveBucket,
}

/// What a meter-mod does.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum MeterCommand {
    Add,
    Modify,
    Delete,
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

#[derive(Subcommand)]
pub(crate) enum BenchVerb {
    /// Round trips over UDP and over one TCP connection, in µs, and by which path they went
    ///
    /// Opens sockets inside both pods, one request under way at a time. Needs root and the pods' network namespaces: on
    /// the node itself, or by `kubectl exec` in the agent's pod of the node.
    Latency {
        /// Who asks
        from: String,
        /// Who answers
        to: String,
        /// Bytes of a request, and of its answer
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(SIZES))]
        size: u16,
        /// How long each of the two goes on
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=600))]
        seconds: u16,
    },
}

const EXIT_STATUS: &str = "Exit status: 0 fine, 1 it found something that is out of order now (status, doctor, endpoints, \
                           conflicts, gateways, flows dump --diff), 2 usage, 3 agent or switch out of reach, 4 no such \
                           pod, bridge, port";
