//! An endpoint that the ledger has lost, put together again from what is still there.
//!
//! A living pod has two copies beside the ledger: the `external_ids` of its port ([`super::ports`]), and the entry that
//! the programs on its host end are judging by ([`super::bpf`]). The entry is what was enforced last, so it decides
//! what the pod may send wherever it is there; the port says the rest. Where neither says what the pod may send, there
//! is nothing to rebuild.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ebpf_abi::{Mode, PortFlags, Stage};
use ipnet::IpNet;

use super::bpf::{Tables, unmapped};
use super::ports::{OWNER, Written, key};
use crate::model::{
    ConflictPolicy, Endpoint, EndpointId, GatewayPolicy, Guard, GuardMode, Mac, PortVlan, ProbeTiming,
    Rebuilt, Slot,
};

/// What is still there of an endpoint.
#[derive(Clone, Debug)]
pub struct Remains<'a> {
    /// Whom the alias of the host end names.
    pub id: EndpointId,
    /// Of the host end, which is the pod's too.
    pub mtu: u32,
    pub is_up: bool,
    /// Where its port is.
    pub bridge: &'a str,
    pub vlan: PortVlan,
    pub ofport_request: Option<u16>,
    pub external_ids: &'a BTreeMap<String, String>,
    pub pinned: Option<Pinned>,
}

/// What the programs on a host end judge by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    pub slot: Slot,
    pub is_open: bool,
    pub mac: Mac,
    pub guard: Guard,
    pub addresses: BTreeSet<IpAddr>,
}

/// What nobody wrote down beside the ledger, and what a living endpoint has little use for.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    pub conflict: ConflictPolicy,
    pub conflict_timing: ProbeTiming,
    pub gateway: GatewayPolicy,
}

/// Why an endpoint cannot be put together again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("its port belongs to somebody else")]
    NotOurs,
    #[error("its ADD had not ended")]
    NotLiving,
    #[error("neither the port's external_ids nor the pinned programs say what it may send")]
    Unguarded,
}

/// The entry of a host end, as a former agent wrote it.
pub fn pinned(tables: &Tables, ifindex: u32) -> Option<Pinned> {
    let port = tables.ports.get(&ifindex).filter(|p| p.slot != 0)?;
    let inline = [unmapped(ebpf_abi::v4_mapped(port.ip4)), IpAddr::from(port.ip6)];
    let more = tables.sources.keys().filter(|k| k.body.slot == port.slot).map(|k| unmapped(k.body.addr));
    Some(Pinned {
        slot: Slot { index: port.slot, generation: port.generation },
        is_open: port.stage == Stage::OPEN,
        mac: Mac(port.mac),
        guard: Guard {
            mode: match port.mode {
                Mode::OFF => GuardMode::Off,
                Mode::MAC => GuardMode::Mac,
                Mode::OBSERVE => GuardMode::Observe,
                _ => GuardMode::Full,
            },
            dhcp: port.flags.contains(PortFlags::DHCP4),
            slaac: port.flags.contains(PortFlags::SLAAC),
            vm: port.flags.contains(PortFlags::VM),
        },
        addresses: inline.into_iter().chain(more).filter(|a| !a.is_unspecified()).collect(),
    })
}

/// Puts the endpoint together.
pub fn rebuild(remains: Remains<'_>, boot_id: &str, defaults: Defaults) -> Result<Rebuilt, Lost> {
    let ids = remains.external_ids;
    let says_otherwise = |key: &str, value: &str| ids.get(key).is_some_and(|said| said != value);
    if says_otherwise(key::OWNER, OWNER)
        || says_otherwise(key::BOOT_ID, boot_id)
        || says_otherwise(key::CONTAINER_ID, &remains.id.container)
        || says_otherwise(key::IFNAME, &remains.id.ifname)
    {
        return Err(Lost::NotOurs);
    }
    if !remains.pinned.as_ref().map_or(remains.is_up, |p| p.is_open) {
        return Err(Lost::NotLiving);
    }
    let written = Written::read(ids);
    let mut lacking = Vec::new();
    for (key, is_there) in [(key::MAC, written.mac.is_some()), (key::GUARD, written.guard.is_some())] {
        if !is_there {
            lacking.push(format!("the port lacks {key}: taken from the pinned programs"));
        }
    }
    if written.network.is_none() {
        lacking.push(format!("the port lacks {}: GC passes it over", key::NETWORK));
    }
    let pinned = remains.pinned.as_ref();
    let mac = pinned.map(|p| p.mac).or(written.mac).ok_or(Lost::Unguarded)?;
    let guard = pinned.map(|p| p.guard).or(written.guard).ok_or(Lost::Unguarded)?;
    let addresses = match pinned {
        Some(pinned) => addresses(pinned, written.addresses.unwrap_or_default(), &mut lacking),
        None => written.addresses.ok_or(Lost::Unguarded)?,
    };
    let endpoint = Endpoint {
        id: remains.id,
        pod: written.pod,
        ovs_cni: written.netns.is_some(),
        netns: written.netns.unwrap_or_default(),
        network: written.network.unwrap_or_default(),
        bridge: remains.bridge.to_owned(),
        vlan: remains.vlan,
        mtu: remains.mtu,
        mac,
        addresses,
        gateways: written.gateways,
        routes: Vec::new(),
        guard,
        conflict: defaults.conflict,
        conflict_timing: defaults.conflict_timing,
        gateway: defaults.gateway,
        accelerate: written.accelerate,
        ofport_request: remains.ofport_request,
    };
    Ok(Rebuilt { endpoint, slot: pinned.map(|p| p.slot), lacking })
}

/// The addresses that were enforced, with the prefixes that the port says they have.
fn addresses(pinned: &Pinned, written: Vec<IpNet>, lacking: &mut Vec<String>) -> Vec<IpNet> {
    let said: BTreeSet<IpAddr> = written.iter().map(IpNet::addr).collect();
    if said == pinned.addresses {
        return written;
    }
    let others: Vec<_> = pinned.addresses.difference(&said).map(ToString::to_string).collect();
    if !others.is_empty() {
        let others = others.join(", ");
        lacking.push(format!("{} lacks {others}: the prefix is not known, CHECK will say so", key::IPS));
    }
    let enforced = written.into_iter().filter(|net| pinned.addresses.contains(&net.addr()));
    enforced.chain(pinned.addresses.difference(&said).map(|address| IpNet::from(*address))).collect()
}

#[cfg(test)]
mod tests;
