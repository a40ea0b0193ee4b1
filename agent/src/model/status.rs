//! The status: what is there. The reconciler is its only writer; waiters, `agentctl` and health read it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{EndpointId, Generation, Obstacle};

/// The stages of a pass, in the order in which an endpoint comes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Links,
    Bpf,
    Ports,
    Flows,
    Gate,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Links => "links",
            Self::Bpf => "bpf",
            Self::Ports => "ports",
            Self::Flows => "flows",
            Self::Gate => "gate",
        })
    }
}

/// How one endpoint stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Ready,
    /// Waiting for an input (a port number, a probe) or for the next pass.
    Pending {
        stage: Stage,
        why: String,
    },
    /// The stage failed; tried again at `retry_at`, a time on the boot clock.
    Failed {
        stage: Stage,
        error: StageError,
        retry_at: Duration,
    },
    /// Being taken away; what that waits for, empty while it is under way.
    Removing {
        why: String,
    },
}

/// Why a stage failed, sorted by what the caller of an ADD is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageError {
    /// Another station has this address.
    Conflict { address: std::net::IpAddr, mac: openflow::Mac },
    /// The gateway is required and did not answer.
    GatewaySilent { gateway: std::net::IpAddr },
    /// OVS refused the port, with its own words.
    PortRefused(String),
    /// The guard could not be installed.
    Guard(String),
    /// Everything else, as text with its causes.
    Other(String),
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { address, mac } => write!(f, "address {address} is already in use by {mac}"),
            Self::GatewaySilent { gateway } => write!(f, "gateway {gateway} does not answer"),
            Self::PortRefused(text) | Self::Guard(text) | Self::Other(text) => f.write_str(text),
        }
    }
}

/// One endpoint's state and the numbers that the kernel and the switch gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// The entry's revision that this state is about.
    pub revision: Generation,
    pub state: State,
    /// When the state began, on the boot clock.
    pub since: Duration,
    pub ifindex: Option<u32>,
    pub ofport: Option<u32>,
    /// Its flows are on the switch.
    pub flowed: bool,
    /// `tcx` or `clsact`.
    pub attached: Option<&'static str>,
    /// A program of somebody else runs before ours, where it can change what we judge.
    pub foreign_before: bool,
    /// Why neighbours are not reached past OVS; empty where they are.
    pub not_accelerated: Vec<Obstacle>,
}

/// A snapshot of the data plane after a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Everything up to this generation of the intent was looked at.
    pub generation: Generation,
    pub endpoints: BTreeMap<EndpointId, EndpointStatus>,
    /// What is wrong beside single endpoints.
    pub faults: BTreeMap<Site, Disorder>,
    /// The flows of each bridge.
    pub flows: BTreeMap<String, TableStatus>,
}

/// Where something is wrong that no endpoint has for itself. Shown as the name of a check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// Programs and maps.
    Bpf,
    /// The bridge of this name.
    Bridge(String),
    /// Flows of no bridge in particular.
    Flows,
    /// The host's end of a veth pair, by name.
    HostVeth(String),
    /// The lease under which neighbours talk past the bridge.
    Lease,
    /// Listing the links.
    Links,
    Ovsdb,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bpf => f.write_str("bpf"),
            Self::Bridge(name) => write!(f, "bridge {name}"),
            Self::Flows => f.write_str("flows"),
            Self::HostVeth(name) => write!(f, "host veth {name}"),
            Self::Lease => f.write_str("lease"),
            Self::Links => f.write_str("links"),
            Self::Ovsdb => f.write_str("OVSDB"),
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disorder {
    pub why: String,
    /// When it began, under whatever words, on the boot clock.
    pub since: Duration,
}

/// The flows of one bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStatus {
    /// How many there should be.
    pub wanted: u32,
    /// How many there were at the last look.
    pub present: u32,
    /// How many were not as this agent had left them, and were mended, since it started.
    pub mended: u64,
}
