//! What the reconciler asks of the prober, and what the prober found out. Both are whole pictures, not events.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{EndpointId, Generation, Mac, OfPort, ProbeTiming, Slot};

/// Every endpoint that has a port and its flows: a station in the prober's eyes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stations {
    pub by_id: BTreeMap<EndpointId, Station>,
    /// For each bridge how often its uplinks came back or took over: a raised number says "announce everybody there".
    pub uplink_changes: BTreeMap<String, u64>,
}

/// One endpoint, as far as its neighbours are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// Names this very attachment.
    pub created: Generation,
    pub slot: Slot,
    pub bridge: String,
    /// The number of the bridge in the eBPF maps.
    pub bridge_index: u16,
    /// The VLAN of untagged frames.
    pub vlan: u16,
    pub ofport: OfPort,
    pub mac: Mac,
    pub addresses: Vec<IpAddr>,
    pub gateways: Vec<IpAddr>,
    pub vm: bool,
    pub role: Role,
    /// A frame of its own this often keeps the bridge's table fresh while its traffic goes past OVS.
    pub self_frame_every: Option<Duration>,
}

/// How far a station has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its addresses are to be probed before they are set.
    Probing(ProbeTiming),
    /// Its gate is open; `fresh` ones have never been announced.
    Open { fresh: bool },
}

/// A gateway that some endpoint uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GatewayKey {
    pub bridge: String,
    pub vlan: u16,
    pub address: IpAddr,
}

/// What the prober knows. Times are on the boot clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    pub probes: BTreeMap<EndpointId, Probed>,
    pub gateways: BTreeMap<GatewayKey, GatewayView>,
    pub conflicts: Vec<ConflictView>,
}

/// The end of a conflict probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The attachment that was probed for.
    pub created: Generation,
    pub conflict: Option<(IpAddr, Mac)>,
}

/// How a gateway stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayView {
    pub state: GatewayState,
    /// The MAC that answers; `None` before the first answer.
    pub mac: Option<Mac>,
    /// Another MAC that answered for it, while that is fresh.
    pub other: Option<Mac>,
    pub last_seen: Option<Duration>,
    /// When the state began.
    pub since: Duration,
    pub watcher: Option<EndpointId>,
    /// How many endpoints use it.
    pub users: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayState {
    /// Asked, no verdict yet.
    Unknown,
    Reachable,
    Lost,
    /// It answers, but not with the MAC it had.
    MacChanged,
    /// Two stations answer for it.
    Duplicate,
}

/// A foreign claim on an endpoint's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictView {
    pub endpoint: EndpointId,
    pub address: IpAddr,
    pub mac: Mac,
    /// The interface that saw the claim.
    pub ifindex: u32,
    pub first_seen: Duration,
    pub last_seen: Duration,
    pub count: u64,
    pub at_add: bool,
    pub active: bool,
}
