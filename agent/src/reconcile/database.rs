//! What the reconciler wants to know of OVSDB, read from the monitored picture. Pure functions.

use std::time::Duration;

use crate::config::Config;
use crate::dataplane::ports::{Bridge, Interface, NewPort, Ovs, Port, PortVlan as OvsVlan, VlanMode};
use crate::model::{Endpoint, Obstacle, OfPort, PortVlan};
use crate::plan::ports::{OWNER, external_ids, key};

/// The port as it should be, in the database's words.
pub(super) fn wanted(endpoint: &Endpoint, boot_id: &str) -> NewPort {
    NewPort {
        bridge: endpoint.bridge.clone(),
        name: endpoint.host_ifname(),
        vlan: match &endpoint.vlan {
            PortVlan::Access(vlan) => OvsVlan::Access(*vlan),
            PortVlan::Trunk { vlans, native } => {
                OvsVlan::Trunk { ids: vlans.iter().copied().collect(), native: *native }
            }
            PortVlan::Unset => OvsVlan::Unset,
        },
        external_ids: external_ids(endpoint, boot_id),
        ofport_request: endpoint.ofport_request,
    }
}

/// The VLANs of a port, read back. What we never ask for counts as what OVS makes of it: a port that carries them all.
pub(super) fn vlan(port: &Port) -> PortVlan {
    if let Some(tag) = port.access_vlan() {
        return PortVlan::Access(tag);
    }
    match port.vlan_mode {
        Some(VlanMode::Trunk | VlanMode::NativeTagged | VlanMode::NativeUntagged) => {
            PortVlan::Trunk { vlans: port.trunks.iter().copied().collect(), native: port.tag }
        }
        _ => PortVlan::Unset,
    }
}

/// The switch's verdict on a port's device: its number, none yet, or why there is none.
pub(super) fn number(ovs: &Ovs, port: &str) -> Result<Option<OfPort>, String> {
    let Some(interface) = ovs.ports.get(port).and_then(Port::interface) else { return Ok(None) };
    match (&interface.error, interface.openflow_port()) {
        (_, Some(number)) => Ok(Some(OfPort(number))),
        (Some(error), None) => Err(error.clone()),
        (None, None) => Ok(None),
    }
}

/// Ports that we made before the machine was booted.
pub(super) fn of_other_boots(ovs: &Ovs, boot_id: &str) -> Vec<String> {
    let stale = ovs.ports.values().filter(|port| {
        let ids = &port.external_ids;
        ids.get(key::OWNER).map(String::as_str) == Some(OWNER)
            && ids.get(key::BOOT_ID).is_some_and(|id| id != boot_id)
    });
    stale.map(|port| port.name.clone()).collect()
}

/// Ports that say they belong to an attachment, whatever their name.
pub(super) fn of_attachment(ovs: &Ovs, container: &str, ifname: &str) -> Vec<String> {
    let says = |port: &&Port, name: &str, value: &str| {
        port.external_ids.get(name).map(String::as_str) == Some(value)
    };
    let ports =
        ovs.ports.values().filter(|p| says(p, key::CONTAINER_ID, container) && says(p, key::IFNAME, ifname));
    ports.map(|port| port.name.clone()).collect()
}

/// What speaks against going past OVS on a port.
pub(super) fn port_blockers(ovs: &Ovs, port: &str) -> Vec<Obstacle> {
    ovs.ports.get(port).map(Port::accel_blockers).unwrap_or_default()
}

/// The physical members of a bridge: those listed, or every system interface that nobody claims and that is no veth.
pub(crate) fn uplinks<'a>(ovs: &'a Ovs, config: &Config, bridge: &str) -> Vec<&'a Interface> {
    let listed = config.bridges.iter().find(|b| b.name == bridge).map_or(&[][..], |b| &b.uplinks);
    let ports = ovs.ports.values().filter(|p| p.bridge == bridge);
    let interfaces = ports.flat_map(|port| port.interfaces.iter().map(move |interface| (port, interface)));
    let chosen = interfaces.filter(|(port, interface)| {
        if listed.is_empty() {
            let is_system = matches!(interface.type_.as_str(), "" | "system");
            let claimed = port.external_ids.contains_key(key::OWNER);
            is_system && !claimed && interface.driver() != Some("veth")
        } else {
            listed.contains(&interface.name)
        }
    });
    chosen.map(|(_, interface)| interface).filter(|i| i.ifindex.is_some_and(|index| index > 0)).collect()
}

/// Who else programs a bridge, if anybody does.
pub(super) fn foreign_owner(bridge: &Bridge) -> Option<String> {
    if bridge.controllers > 0 {
        return Some(format!("{} OpenFlow controller(s)", bridge.controllers));
    }
    let marks = [
        ("ovn-bridge-mappings", "OVN"),
        ("ct-zone", "OVN"),
        ("antrea-of-round", "Antrea"),
        ("roundNum", "Antrea"),
        ("bridge-id", "Neutron"),
    ];
    let found = marks.iter().find(|(mark, owner)| {
        let marked = bridge.external_ids.keys().any(|k| k.starts_with(mark));
        // Every OVS has a `bridge-id` if it was made by XenServer's scripts; Neutron's integration bridge has its name.
        marked && (*owner != "Neutron" || bridge.name == "br-int")
    });
    found.map(|(_, owner)| (*owner).to_owned())
}

/// After how long without a frame OVS forgets where a MAC is.
pub(super) fn mac_aging(bridge: &Bridge) -> Duration {
    Duration::from_secs(u64::from(bridge.mac_aging_secs()))
}
