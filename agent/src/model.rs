//! Values that every part of the agent speaks of. No IO, no clock, no tokio; plain data that can be compared.

mod endpoint;
mod intent;
mod obstacle;
mod probing;
mod status;

pub use endpoint::{
    AcceptedSources, ConflictPolicy, Endpoint, EndpointId, GatewayPolicy, Guard, GuardMode, Pod, PortVlan,
    ProbeTiming, Route, eui64_link_local,
};
pub use intent::{Entry, Generation, Intent, Ipam, IpamState, Phase, Rebuilt, Removal, Slot};
pub use obstacle::Obstacle;
pub use openflow::{Mac, OfPort};
pub use probing::{
    ConflictView, GatewayKey, GatewayState, GatewayView, Outcomes, Probed, Role, Station, Stations,
};
pub use status::{Disorder, EndpointStatus, Site, Stage, StageError, State, Status, TableStatus};
