//! The entries of the eBPF maps: the same policy as [`super::flows`], in the programs' own words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ebpf_abi::{
    AddrKey, BridgeFlags, GATEWAY_SLOT, L2Key, Local, LocalFlags, Mode, Port, PortFlags, SrcKey, SrcVal,
    Stage, TRUNK, Uplink, VlanKey, maps, v4_mapped,
};

use crate::model::{Endpoint, GuardMode, Mac, PortVlan, Slot, eui64_link_local};

/// An endpoint with a host veth, as far as its map entries depend on it.
#[derive(Clone, Debug)]
pub struct Attached<'a> {
    pub endpoint: &'a Endpoint,
    pub slot: Slot,
    pub ifindex: u32,
    pub bridge: u16,
    pub userspace_datapath: bool,
    /// The endpoint may send: probe done, address set.
    pub open: bool,
    /// Nothing forbids reaching its neighbours past OVS.
    pub accelerated: bool,
}

/// A bridge, by the number that stands for it in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bridge {
    pub index: u16,
    pub accel_ok: bool,
}

/// Who rightfully holds a watched address; what the programs write beside it is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub slot: u32,
    pub generation: u32,
    pub mac: [u8; 6],
}

/// A gateway to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gateway {
    pub bridge: u16,
    pub vlan: u16,
    pub address: IpAddr,
}

/// Every map that the agent writes, as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub ports: BTreeMap<u32, Port>,
    pub sources: BTreeMap<SrcKey, SrcVal>,
    pub vlans: BTreeSet<VlanKey>,
    pub locals: BTreeMap<L2Key, Local>,
    pub watches: BTreeMap<AddrKey, Holder>,
    pub uplinks: BTreeMap<u32, Uplink>,
    pub bridges: BTreeMap<u32, BridgeFlags>,
}

/// Builds every entry, for endpoints in the order in which they were made. `gateways` carries the MAC that each was last seen with.
pub fn desired(
    endpoints: &[Attached<'_>],
    bridges: &[Bridge],
    uplinks: &BTreeMap<u32, u16>,
    gateways: &BTreeMap<Gateway, Option<Mac>>,
) -> Tables {
    let mut tables = Tables::default();
    for (gateway, mac) in gateways {
        let key = AddrKey::new(gateway.bridge, gateway.vlan, mapped(gateway.address));
        let mac = mac.map_or([0; 6], |m| m.0);
        tables.watches.insert(key, Holder { slot: GATEWAY_SLOT, generation: 0, mac });
    }
    for attached in endpoints {
        endpoint(&mut tables, attached);
    }
    for (&ifindex, &bridge) in uplinks {
        tables.uplinks.insert(ifindex, Uplink::new(bridge));
    }
    // One beyond the bits that there are is not accelerated: as an error it would be everybody's.
    for bridge in bridges.iter().filter(|b| u32::from(b.index) < maps::BRIDGES) {
        let flags = if bridge.accel_ok { BridgeFlags::ACCEL_OK } else { BridgeFlags::default() };
        tables.bridges.insert(u32::from(bridge.index), flags);
    }
    tables
}

fn endpoint(tables: &mut Tables, attached: &Attached<'_>) {
    let Attached { endpoint, slot, ifindex, bridge, .. } = *attached;
    let port = port(attached);
    tables.ports.insert(ifindex, port);
    for address in more_sources(endpoint) {
        tables.sources.insert(source_key(slot.index, address), SrcVal::FOREVER);
    }
    if let PortVlan::Trunk { vlans, native } = &endpoint.vlan {
        for vid in vlans.iter().copied().chain(native.map(|_| 0)) {
            tables.vlans.insert(VlanKey::new(slot.index, vid));
        }
    }
    let Some(vlan) = endpoint.vlan.untagged() else { return };
    for address in &endpoint.addresses {
        let holder = Holder { slot: slot.index, generation: slot.generation, mac: endpoint.mac.0 };
        // The first one that had an address holds it; a second one is a conflict and never opens its gate.
        let key = AddrKey::new(bridge, vlan, mapped(address.addr()));
        match tables.watches.get(&key) {
            Some(first) if first.slot != GATEWAY_SLOT => {}
            _ => drop(tables.watches.insert(key, holder)),
        }
    }
    if attached.open && attached.accelerated {
        let local = Local { ifindex, slot: slot.index, mtu: endpoint.mtu, flags: LocalFlags::default() };
        // The first one that had a MAC keeps its frames.
        tables.locals.entry(L2Key::new(bridge, vlan, endpoint.mac.0)).or_insert(local);
    }
}

fn port(attached: &Attached<'_>) -> Port {
    let Attached { endpoint, slot, bridge, .. } = *attached;
    let sources = endpoint.sources();
    let guard = endpoint.guard;
    let flags = [
        (guard.dhcp, PortFlags::DHCP4),
        (guard.slaac, PortFlags::SLAAC),
        (guard.vm, PortFlags::VM),
        (attached.accelerated, PortFlags::ACCEL),
        (attached.userspace_datapath, PortFlags::USERSPACE_DP),
        (!more_sources(endpoint).is_empty(), PortFlags::MORE_SRC),
        (sources.ipv6.is_empty() && guard.mode != GuardMode::Mac, PortFlags::IP4_ONLY),
        (endpoint.vlan == PortVlan::Unset && guard.mode == GuardMode::Mac, PortFlags::VLAN_ANY),
    ];
    let flags =
        flags.into_iter().filter(|(set, _)| *set).fold(PortFlags::default(), |all, (_, flag)| all | flag);
    Port {
        slot: slot.index,
        generation: slot.generation,
        bridge,
        vlan: match &endpoint.vlan {
            PortVlan::Access(vlan) => *vlan,
            PortVlan::Unset if guard.mode != GuardMode::Mac => 0,
            PortVlan::Trunk { .. } | PortVlan::Unset => TRUNK,
        },
        mac: endpoint.mac.0,
        mode: match guard.mode {
            GuardMode::Full => Mode::FULL,
            GuardMode::Mac => Mode::MAC,
            GuardMode::Observe => Mode::OBSERVE,
            GuardMode::Off => Mode::OFF,
        },
        stage: if attached.open { Stage::OPEN } else { Stage::CLOSED },
        flags,
        mtu: endpoint.mtu,
        ip4: inline_v4(endpoint).map_or([0; 4], |a| a.octets()),
        ip6: inline_v6(endpoint).map_or([0; 16], |a| a.octets()),
        ll6: if endpoint.has_ipv6() { eui64_link_local(endpoint.mac).octets() } else { [0; 16] },
    }
}

/// The first address of each family stands in the port's own cache line.
fn inline_v4(endpoint: &Endpoint) -> Option<std::net::Ipv4Addr> {
    endpoint.addresses.iter().find_map(|a| match a.addr() {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    })
}

fn inline_v6(endpoint: &Endpoint) -> Option<Ipv6Addr> {
    endpoint.addresses.iter().find_map(|a| match a.addr() {
        IpAddr::V6(v6) => Some(v6),
        IpAddr::V4(_) => None,
    })
}

/// The addresses that do not fit there.
fn more_sources(endpoint: &Endpoint) -> Vec<IpAddr> {
    let inline = [inline_v4(endpoint).map(IpAddr::V4), inline_v6(endpoint).map(IpAddr::V6)];
    endpoint.addresses.iter().map(ipnet::IpNet::addr).filter(|a| !inline.contains(&Some(*a))).collect()
}

fn source_key(slot: u32, address: IpAddr) -> SrcKey {
    match address {
        IpAddr::V4(v4) => SrcKey::v4(slot, v4.octets(), 32),
        IpAddr::V6(v6) => SrcKey::v6(slot, v6.octets(), 128),
    }
}

/// An address as the maps hold it: IPv4 in `::ffff:0:0/96`.
pub fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4_mapped(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The other way round.
pub fn unmapped(bytes: [u8; 16]) -> IpAddr {
    let v6 = Ipv6Addr::from(bytes);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_beyond_those_that_the_maps_can_tell_apart_is_left_out() {
        let bridges = [0, 63, 64].map(|index| Bridge { index, accel_ok: true });
        let tables = desired(&[], &bridges, &BTreeMap::new(), &BTreeMap::new());
        assert_eq!(tables.bridges.into_keys().collect::<Vec<_>>(), [0, 63]);
    }

    #[test]
    fn addresses_survive_the_maps() {
        for text in ["10.0.0.5", "fd00::5", "::"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(unmapped(mapped(address)), address);
        }
    }
}
