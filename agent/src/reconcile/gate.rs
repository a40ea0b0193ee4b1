//! Stage 5: the host end goes up, the addresses are probed and set, the gate opens, the neighbours are told.
//!
//! Only this stage opens gates, and nothing but a removal closes one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;

use super::memory::Memory;
use super::pass::{Pass, Work};
use super::{Reconciler, database};
use crate::dataplane::links::Route as LinkRoute;
use crate::dataplane::ports::LinkState;
use crate::limits::{GATEWAY_QUESTIONS, LINK_CONCURRENCY};
use crate::model::{
    ConflictPolicy, EndpointId, Entry, GatewayKey, GatewayPolicy, GatewayState, Mac, Phase, Role, Stage,
    StageError, Station, Stations,
};

impl Reconciler {
    pub(super) async fn gate(&mut self, pass: &mut Pass) {
        self.settle_flows(pass);
        self.raise_host_ends(pass).await;
        let opened = self.open_gates(pass).await;
        if opened {
            self.write_maps(pass);
        }
        self.judge_gateways(pass);
        self.publish_stations(pass);
    }

    /// Sets the host ends up whose guard stands: by then both walls drop what the pod must not send.
    async fn raise_host_ends(&mut self, pass: &mut Pass) {
        let guarded =
            pass.works.values().filter(|w| self.memories.get(w.id()).is_some_and(|m| guarded(w, m)));
        let down = guarded.filter(|w| {
            let name = w.entry.endpoint.host_ifname();
            pass.veths.get(&name).is_none_or(|v| !v.is_up)
        });
        let names: Vec<_> = down
            .filter(|w| !self.memories.get(w.id()).is_some_and(|m| m.backs_off(Stage::Gate, pass.now)))
            .map(|w| (w.id().clone(), w.entry.endpoint.host_ifname()))
            .collect();
        for (id, _) in &names {
            self.memories.get_mut(id).raised = true;
        }
        let links = &self.parts.links;
        let done: Vec<_> = futures::stream::iter(names)
            .map(|(id, name)| async move { (id, links.set_host_up(&name, true).await) })
            .buffer_unordered(LINK_CONCURRENCY)
            .collect()
            .await;
        for (id, outcome) in done {
            if let Err(error) = outcome {
                self.fail(pass, &id, Stage::Gate, StageError::Other(crate::report::chain(&error)));
            }
        }
    }

    /// Sets the addresses of endpoints that may have them, and opens their gates. Tells whether any was opened.
    async fn open_gates(&mut self, pass: &mut Pass) -> bool {
        let ids: Vec<_> = pass.works.keys().cloned().collect();
        let mut cleared = Vec::new();
        for id in ids {
            if self.may_open(pass, &id) {
                cleared.push(id);
            }
        }
        let links = &self.parts.links;
        let memories = &self.memories;
        let jobs = cleared.into_iter().filter_map(|id| {
            let netns = memories.get(&id)?.netns.clone()?;
            Some((id.clone(), pass.works.get(&id)?.entry.endpoint.clone(), netns))
        });
        let done: Vec<_> = futures::stream::iter(jobs.collect::<Vec<_>>())
            .map(|(id, endpoint, netns)| async move {
                let routes: Vec<_> = endpoint
                    .routes
                    .iter()
                    .map(|r| LinkRoute { destination: r.destination, gateway: r.gateway })
                    .collect();
                let ifname = &endpoint.id.ifname;
                (id, links.configure_pod(&netns, ifname, &endpoint.addresses, &routes).await)
            })
            .buffer_unordered(LINK_CONCURRENCY)
            .collect()
            .await;
        let mut opened = false;
        for (id, outcome) in done {
            match outcome {
                Ok(()) => {
                    let memory = self.memories.get_mut(&id);
                    memory.succeed(Stage::Gate);
                    memory.open = true;
                    memory.opened_at = Some(pass.now);
                    opened = true;
                }
                Err(error) => {
                    self.fail(pass, &id, Stage::Gate, StageError::Other(crate::report::chain(&error)));
                }
            }
        }
        opened
    }

    /// Whether everything that has to come before the gate is done; notes what is missing.
    fn may_open(&mut self, pass: &mut Pass, id: &EndpointId) -> bool {
        let probed = pass.outcomes.probes.get(id).copied();
        let neighbour = local_conflict(pass, id);
        let Some(work) = pass.works.get_mut(id) else { return false };
        let memory = self.memories.get_mut(id);
        if memory.open || !work.flowed || work.held_up.is_some() {
            return false;
        }
        if work.entry.phase == Phase::Plumbing {
            work.wait(Stage::Gate, "IPAM has not answered yet");
            return false;
        }
        if memory.backs_off(Stage::Gate, pass.now) {
            self.recall(pass, id, Stage::Gate);
            return false;
        }
        let endpoint = &work.entry.endpoint;
        if let Some((address, mac)) = neighbour
            && endpoint.conflict == ConflictPolicy::Fail
        {
            self.fail(pass, id, Stage::Gate, StageError::Conflict { address, mac });
            return false;
        }
        if !needs_probe(work) {
            return true;
        }
        match probed.filter(|p| p.created == work.entry.created) {
            None => {
                work.wait(Stage::Gate, "the addresses are being probed");
                false
            }
            Some(probe) => match (probe.conflict, endpoint.conflict) {
                (Some((address, mac)), ConflictPolicy::Fail) => {
                    self.fail(pass, id, Stage::Gate, StageError::Conflict { address, mac });
                    false
                }
                _ => true,
            },
        }
    }

    /// An ADD that requires its gateway is ready only after the first answer.
    fn judge_gateways(&mut self, pass: &mut Pass) {
        let patience = self.parts.config.gateway.timeout.saturating_mul(GATEWAY_QUESTIONS);
        let ids: Vec<_> = pass.works.keys().cloned().collect();
        for id in ids {
            let Some(work) = pass.works.get(&id) else { continue };
            let memory = self.memories.get(&id);
            let opened_at = memory.filter(|m| m.open).and_then(|m| m.opened_at);
            let (Some(opened_at), Phase::Adding) = (opened_at, work.entry.phase) else { continue };
            let endpoint = &work.entry.endpoint;
            if endpoint.gateway != GatewayPolicy::Require {
                continue;
            }
            let silent = endpoint.gateways.iter().find(|g| !answers(pass, work, **g)).copied();
            let Some(gateway) = silent else { continue };
            if pass.now >= opened_at + patience {
                self.fail(pass, &id, Stage::Gate, StageError::GatewaySilent { gateway });
            } else if let Some(work) = pass.works.get_mut(&id) {
                work.wait(Stage::Gate, format!("gateway {gateway} has not answered yet"));
            }
        }
    }

    /// Tells the prober who is there.
    fn publish_stations(&mut self, pass: &Pass) {
        self.follow_uplinks(pass);
        let mut stations = Stations { uplink_changes: self.uplinks.changes(), ..Stations::default() };
        for (id, work) in &pass.works {
            if let Some(station) = self.station(pass, work) {
                stations.by_id.insert(id.clone(), station);
            }
        }
        self.parts.stations.send_if_modified(|current| {
            let changed = **current != stations;
            if changed {
                *current = Arc::new(stations);
            }
            changed
        });
    }

    fn follow_uplinks(&mut self, pass: &Pass) {
        let bridges: BTreeSet<_> = pass.works.values().map(|w| w.entry.endpoint.bridge.as_str()).collect();
        for bridge in bridges {
            let uplinks = database::uplinks(&pass.ovs, &self.parts.config, bridge);
            let up = uplinks.into_iter().filter(|i| i.link_state == Some(LinkState::Up));
            self.uplinks.follow(bridge, up.map(|i| i.name.clone()).collect());
        }
    }

    fn station(&mut self, pass: &Pass, work: &Work) -> Option<Station> {
        let endpoint = &work.entry.endpoint;
        let ofport = work.ofport?;
        let memory = self.memories.get(work.id())?;
        // An open station stays one while its bridge is away: what is known of its neighbours is not forgotten.
        if !memory.open && !work.flowed {
            return None;
        }
        let role = match memory.open {
            true => Role::Open { fresh: work.entry.phase != Phase::Live },
            // Who answers a probe is heard by the programs, and through a host end that is up.
            false if needs_probe(work) && guarded(work, memory) => Role::Probing(endpoint.conflict_timing),
            false => return None,
        };
        let aging = pass.ovs.bridges.get(&endpoint.bridge).map_or(DEFAULT_AGING, database::mac_aging);
        let accelerated = memory.open && work.blockers.is_empty();
        Some(Station {
            created: work.entry.created,
            slot: work.entry.slot,
            bridge: endpoint.bridge.clone(),
            bridge_index: self.maps.index(&endpoint.bridge),
            vlan: endpoint.vlan.untagged()?,
            ofport,
            mac: endpoint.mac,
            addresses: endpoint.addresses.iter().map(ipnet::IpNet::addr).collect(),
            gateways: match endpoint.gateway {
                GatewayPolicy::Off => Vec::new(),
                _ => endpoint.gateways.clone(),
            },
            vm: endpoint.guard.vm,
            role,
            self_frame_every: accelerated.then(|| aging / 3),
        })
    }
}

/// OVS' own default of `other_config:mac-aging-time` (ovs-vswitchd.conf.db(5)).
const DEFAULT_AGING: Duration = Duration::from_mins(5);

/// Whether everything stands that has to stand before the host end may be up.
fn guarded(work: &Work, memory: &Memory) -> bool {
    let is_prepared = work.entry.phase == Phase::Live || memory.prepared == Some(work.entry.revision);
    work.flowed && work.ifindex.is_some() && memory.attached.is_some() && is_prepared
}

fn needs_probe(work: &Work) -> bool {
    let endpoint = &work.entry.endpoint;
    let probes = work.entry.phase == Phase::Adding && endpoint.conflict != ConflictPolicy::Off;
    probes && !endpoint.addresses.is_empty() && endpoint.vlan.untagged().is_some()
}

/// An older endpoint of this node, bridge and VLAN that has one of the addresses: no probe has to go out for that.
fn local_conflict(pass: &Pass, id: &EndpointId) -> Option<(std::net::IpAddr, Mac)> {
    let entry = &pass.works.get(id)?.entry;
    let (endpoint, vlan) = (&entry.endpoint, entry.endpoint.vlan.untagged()?);
    let elder = pass.works.values().map(|w| &w.entry).filter(|other| {
        let same_wire =
            other.endpoint.bridge == endpoint.bridge && other.endpoint.vlan.untagged() == Some(vlan);
        other.created < entry.created && same_wire
    });
    let owns = |other: &Entry, address: std::net::IpAddr| {
        other.endpoint.addresses.iter().any(|a| a.addr() == address)
    };
    let mut claims = elder.filter_map(|other| {
        let shared = endpoint.addresses.iter().map(ipnet::IpNet::addr).find(|a| owns(other, *a));
        shared.map(|address| (address, other.endpoint.mac))
    });
    claims.next()
}

fn answers(pass: &Pass, work: &Work, gateway: std::net::IpAddr) -> bool {
    let endpoint = &work.entry.endpoint;
    let Some(vlan) = endpoint.vlan.untagged() else { return true };
    let key = GatewayKey { bridge: endpoint.bridge.clone(), vlan, address: gateway };
    let known = pass.outcomes.gateways.get(&key);
    known.is_some_and(|g| !matches!(g.state, GatewayState::Unknown | GatewayState::Lost))
}
