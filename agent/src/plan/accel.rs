//! Why an endpoint's neighbours are reached through OVS and not past it.
//!
//! Going past OVS must change nothing that OVS was asked to do. Whatever might be looking at the frames on their
//! way, or shaping them, switches it off; each reason is one phrase for `agentctl accel`.

use crate::model::{Endpoint, GuardMode, PortVlan};

/// What the verdict on one endpoint depends on.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// `accel.enabled` of the configuration.
    pub enabled: bool,
    pub endpoint: &'a Endpoint,
    /// What OVSDB holds against the bridge and against the port.
    pub bridge: &'a [String],
    pub port: &'a [String],
    /// Another program than ours hangs on the host veth.
    pub foreign_program: bool,
    /// The root qdisc of the host veth.
    pub qdisc: &'a str,
}

/// The reasons; none means that frames may go past OVS.
pub fn blockers(facts: &Facts<'_>) -> Vec<String> {
    let endpoint = facts.endpoint;
    let own = [
        (!facts.enabled, "switched off in the agent's configuration"),
        (!endpoint.accelerate, "switched off for this attachment"),
        (endpoint.guard.mode != GuardMode::Full, "the guard is not in mode full"),
        (!matches!(endpoint.vlan, PortVlan::Access(_)), "not an access port"),
        (facts.foreign_program, "a foreign program hangs on the host veth"),
        (!matches!(facts.qdisc, "noqueue" | "noop" | ""), "the host veth has a queueing discipline"),
    ];
    let own = own.into_iter().filter(|(applies, _)| *applies).map(|(_, why)| why.to_owned());
    own.chain(facts.bridge.iter().cloned()).chain(facts.port.iter().cloned()).collect()
}
