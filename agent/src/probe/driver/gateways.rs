//! The gateways in use, each with its watch: who asks, what the maps have seen, what is worth an event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ebpf::abi::{AddrKey, GATEWAY_SLOT};

use super::mail::Letter;
use crate::clock::KernelClock;
use crate::config;
use crate::dataplane::bpf::Bpf;
use crate::events::{EventKind, Events};
use crate::model::{EndpointId, GatewayKey, GatewayView, Mac, Role, Station, Stations};
use crate::plan::bpf::mapped;
use crate::probe::gateway::{GatewayTiming, GatewayWatch, Transition};
use crate::probe::{Sighting, frames};

pub(super) struct Gateways {
    timing: GatewayTiming,
    watched: BTreeMap<GatewayKey, Watched>,
    /// When a gateway whose map entry is not there yet is looked at again.
    retry: Option<Duration>,
}

struct Watched {
    bridge_index: u16,
    watch: GatewayWatch,
    /// The lowest-slot open station that uses it, and its own address there.
    watcher: Option<EndpointId>,
    users: u32,
}

impl Gateways {
    pub(super) fn new(settings: config::Gateway) -> Self {
        let timing = GatewayTiming {
            interval: settings.interval,
            timeout: settings.timeout,
            lost_after: settings.lost_after,
            back_after: settings.back_after,
        };
        Self { timing, watched: BTreeMap::new(), retry: None }
    }

    /// A foreign MAC spoke for a gateway.
    pub(super) fn claim(&mut self, bridge: u16, vlan: u16, sighting: &Sighting) {
        for (key, watched) in &mut self.watched {
            if watched.bridge_index == bridge && key.vlan == vlan && key.address == sighting.address {
                watched.watch.claim(sighting.mac, sighting.at);
            }
        }
    }

    /// Watches exactly the gateways of open stations.
    pub(super) fn follow(&mut self, stations: &Stations, now: Duration) {
        for watched in self.watched.values_mut() {
            watched.users = 0;
            watched.watcher = None;
        }
        let mut open: Vec<_> =
            stations.by_id.iter().filter(|(_, s)| matches!(s.role, Role::Open { .. })).collect();
        open.sort_by_key(|(_, s)| s.slot.index);
        for (id, station) in open {
            for &address in &station.gateways {
                let key = GatewayKey { bridge: station.bridge.clone(), vlan: station.vlan, address };
                let watched = self.watched.entry(key).or_insert_with(|| Watched {
                    bridge_index: station.bridge_index,
                    watch: GatewayWatch::new(self.timing, now),
                    watcher: None,
                    users: 0,
                });
                watched.bridge_index = station.bridge_index;
                watched.users += 1;
                if watched.watcher.is_none() && own_address(station, address).is_some() {
                    watched.watcher = Some(id.clone());
                }
            }
        }
        self.watched.retain(|_, watched| watched.users > 0);
    }

    /// Lets time pass: questions to send; events are told.
    pub(super) fn tick(
        &mut self,
        now: Duration,
        clock: KernelClock,
        bpf: &Bpf,
        stations: &Stations,
        events: &Events,
    ) -> Vec<Letter> {
        let mut letters = Vec::new();
        self.retry = None;
        for (key, watched) in &mut self.watched {
            let entry =
                bpf.watch(&AddrKey::new(watched.bridge_index, key.vlan, mapped(key.address))).ok().flatten();
            // Without an entry in the map an answer would go unseen: the reconciler writes it in a moment.
            let Some(entry) = entry else {
                self.retry = Some(now + ENTRY_PAUSE);
                continue;
            };
            if entry.slot != GATEWAY_SLOT && entry.seen_ns > 0 {
                // A pod of this node is the gateway: its entry holds what is seen of it, and no fact tells.
                watched.watch.claim(Mac(entry.mac), clock.boottime(entry.seen_ns));
            }
            let seen = (entry.seen_ns > 0 && watched.watch.mac().is_some_and(|m| m.0 == entry.mac))
                .then(|| clock.boottime(entry.seen_ns));
            let watcher = watched.watcher.as_ref().and_then(|id| stations.by_id.get(id));
            let tick = watched.watch.tick(now, seen, watcher.is_some());
            for transition in tick.transitions {
                tell(key, transition, events);
            }
            let question = watcher.filter(|_| tick.ask).and_then(|station| {
                let own = own_address(station, key.address)?;
                Some(Letter::new(station, frames::question(station.mac, own, key.address)?))
            });
            letters.extend(question);
        }
        letters
    }

    /// What became of the questions of the last tick: out of reach are bridges that took none.
    pub(super) fn sent(&mut self, late: Duration, out_of_reach: &BTreeSet<String>) {
        for (key, watched) in &mut self.watched {
            if out_of_reach.contains(&key.bridge) {
                watched.watch.unasked();
            } else {
                watched.watch.delay(late);
            }
        }
    }

    pub(super) fn views(&self) -> BTreeMap<GatewayKey, GatewayView> {
        let views = self.watched.iter().map(|(key, watched)| {
            let view = GatewayView {
                state: watched.watch.state(),
                mac: watched.watch.mac(),
                other: watched.watch.other(),
                last_seen: watched.watch.last_seen(),
                since: watched.watch.since(),
                watcher: watched.watcher.clone(),
                users: watched.users,
            };
            (key.clone(), view)
        });
        views.collect()
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let watches = self.watched.values().filter_map(|w| w.watch.deadline());
        // While an entry is missing its watch is due at once, which would be a busy loop.
        match self.retry {
            Some(retry) => Some(retry),
            None => watches.min(),
        }
    }
}

/// The station's address of the gateway's family.
fn own_address(station: &Station, gateway: std::net::IpAddr) -> Option<std::net::IpAddr> {
    station.addresses.iter().copied().find(|a| a.is_ipv4() == gateway.is_ipv4())
}

fn tell(key: &GatewayKey, transition: Transition, events: &Events) {
    let GatewayKey { bridge, vlan, address } = key;
    let place = format!("{bridge} vlan {vlan}");
    match transition {
        Transition::Reachable { mac } => tracing::info!(%address, %place, %mac, "gateway reachable"),
        Transition::Lost { .. } => {
            events.record(EventKind::GatewayLost, key, format!("{place}: gateway {address} does not answer"));
        }
        Transition::Back { lost_for } => {
            let text =
                format!("{place}: gateway {address} answers again after {:.1} s", lost_for.as_secs_f32());
            events.record(EventKind::GatewayBack, key, text);
        }
        Transition::MacChanged { old, new } => {
            let text = format!("{place}: gateway {address} changed its MAC from {old} to {new}");
            events.record(EventKind::GatewayMacChanged, key, text);
        }
        Transition::Duplicate { known, other } => {
            let text = format!("{place}: gateway {address} is answered by {known} and by {other}");
            events.record(EventKind::GatewayDuplicate, key, text);
        }
    }
}

/// How soon to look for a map entry that is on its way.
const ENTRY_PAUSE: Duration = Duration::from_millis(10);
