//! Why an endpoint's neighbours are reached through OVS and not past it.
//!
//! Going past OVS must change nothing that OVS was asked to do. Whatever might be looking at the frames on their
//! way, or shaping them, switches it off.

use crate::model::{Endpoint, GuardMode, Obstacle, PortVlan};

/// What the verdict on one endpoint depends on.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// `accel.enabled` of the configuration.
    pub enabled: bool,
    pub endpoint: &'a Endpoint,
    /// What OVSDB holds against the bridge and against the port.
    pub bridge: &'a [Obstacle],
    pub port: &'a [Obstacle],
    /// Foreign flows of table 0 may be about its frames.
    pub foreign_flow: bool,
    /// Another program than ours hangs on the host veth.
    pub foreign_program: bool,
    /// The root qdisc of the host veth.
    pub qdisc: &'a str,
}

/// The reasons; none means that frames may go past OVS.
pub fn blockers(facts: &Facts<'_>) -> Vec<Obstacle> {
    let endpoint = facts.endpoint;
    let own = [
        (!facts.enabled, Obstacle::Disabled),
        (!endpoint.accelerate, Obstacle::OptOut),
        (endpoint.guard.mode != GuardMode::Full, Obstacle::GuardMode),
        (!matches!(endpoint.vlan, PortVlan::Access(_)), Obstacle::NotAccess),
        (facts.foreign_flow, Obstacle::ForeignFlow),
        (facts.foreign_program, Obstacle::ForeignProgram),
        (!matches!(facts.qdisc, "noqueue" | "noop" | ""), Obstacle::Qdisc),
    ];
    let own = own.into_iter().filter(|(applies, _)| *applies).map(|(_, why)| why);
    own.chain(facts.bridge.iter().copied()).chain(facts.port.iter().copied()).collect()
}
