//! The prober's task: it drives the machines of this room with real time, real facts and real frames.
//!
//! Owns the ring of facts and every machine. Reads who is there ([`Stations`]), publishes what it found out
//! ([`Outcomes`]), and sends frames as packet-out through the bridges, with `in_port` = the pod's port and
//! `actions=NORMAL`, so that VLAN and path are the pod's own.
//!
//! It must not touch maps, ports or flows: what follows from an outcome is the reconciler's business.

mod book;
mod gateways;
mod mail;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use ebpf::FactRing;
use ebpf::abi::{Fact, FactKind, GATEWAY_SLOT};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::conflict::{ConflictProbe, Verdict};
use super::{Said, Sighting};
use crate::clock::{KernelClock, boottime};
use crate::config::Config;
use crate::dataplane::bpf::Bpf;
use crate::dataplane::flows::Switches;
use crate::events::Events;
use crate::model::{EndpointId, Mac, Outcomes, Probed, Role, Station, Stations};
use crate::plan::bpf::unmapped;

use book::Book;
use gateways::Gateways;
use mail::{Letter, Mail};

/// What the prober works with.
pub struct Parts {
    pub config: Arc<Config>,
    pub bpf: Arc<Bpf>,
    pub switches: Switches,
    pub stations: watch::Receiver<Arc<Stations>>,
    pub outcomes: watch::Sender<Arc<Outcomes>>,
    pub events: Events,
}

/// The task's state.
pub struct Driver {
    parts: Parts,
    ring: AsyncFd<Facts>,
    /// The machines run on the boot clock, the kernel's records do not.
    clock: KernelClock,
    stations: Arc<Stations>,
    probes: BTreeMap<EndpointId, Running>,
    gateways: Gateways,
    book: Book,
    mail: Mail,
}

/// A probe under way or done, for one attachment.
struct Running {
    station: Station,
    probe: ConflictProbe,
    /// The tick that asked last.
    asked_at: Option<Duration>,
}

/// The ring, readable as a descriptor.
struct Facts(FactRing);

impl AsRawFd for Facts {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Driver {
    /// Opens the ring of facts. Must be called inside the runtime.
    #[expect(
        deprecated,
        reason = "the successor is unsafe, and the ring owns its descriptor as long as this does"
    )]
    pub fn new(parts: Parts) -> anyhow::Result<Self> {
        let ring = AsyncFd::with_interest(Facts(parts.bpf.facts()?), Interest::READABLE)?;
        Ok(Self {
            ring,
            clock: KernelClock::new(),
            stations: Arc::default(),
            probes: BTreeMap::new(),
            gateways: Gateways::new(parts.config.gateway),
            book: Book::new(parts.config.conflict.for_life),
            mail: Mail::default(),
            parts,
        })
    }

    /// Drives until `stop`. Facts are taken before time passes, so that a verdict counts all that the kernel saw.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.clock.compare();
            self.take_facts();
            self.follow_stations();
            let now = boottime();
            let mut letters = self.tick(now);
            letters.extend(self.mail.due(now));
            self.publish();
            self.send(letters, now).await;
            let pause = self.deadline().saturating_sub(boottime());
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.parts.stations.changed() => if changed.is_err() { return },
                ready = self.ring.readable() => if let Ok(mut guard) = ready { guard.clear_ready() },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Sends, and waits until the switches have taken it all: a vswitchd that is busy for a second must not be taken
    /// for a silent network.
    async fn send(&mut self, letters: Vec<Letter>, now: Duration) {
        if letters.is_empty() {
            return;
        }
        let (mut reached, mut out_of_reach) = (BTreeSet::new(), BTreeSet::new());
        for Letter { bridge, port, frame } in letters {
            match self.parts.switches.packet_out(&bridge, port, frame.into()).await {
                Ok(()) => drop(reached.insert(bridge)),
                Err(error) => {
                    tracing::debug!(%bridge, %error, "frame not sent");
                    out_of_reach.insert(bridge);
                }
            }
        }
        for bridge in reached {
            if let Err(error) = self.parts.switches.barrier(&bridge).await {
                tracing::debug!(%bridge, %error, "frames not taken");
                out_of_reach.insert(bridge);
            }
        }
        let done = boottime();
        let late = done.saturating_sub(now);
        for Running { station, probe, asked_at } in self.probes.values_mut() {
            match out_of_reach.contains(&station.bridge) {
                true if *asked_at == Some(now) => probe.unsent(done),
                true => {}
                false => probe.delay(late),
            }
        }
        self.gateways.sent(late, &out_of_reach);
    }

    fn take_facts(&mut self) {
        // Bounded by the ring's size, so that a flood of claims cannot hold the prober here.
        for _ in 0..FACTS_AT_ONCE {
            let Some(fact) = self.ring.get_mut().0.next() else { return };
            self.take(&fact);
        }
    }

    fn take(&mut self, fact: &Fact) {
        let said = match fact.kind {
            FactKind::ARP_PROBE | FactKind::DAD_PROBE => Said::Probes,
            _ => Said::Claims,
        };
        let sighting = Sighting {
            address: unmapped(fact.addr),
            mac: Mac(fact.mac),
            said,
            at: self.clock.boottime(fact.at_ns),
            ifindex: fact.ifindex,
        };
        if fact.slot == GATEWAY_SLOT {
            if said == Said::Claims {
                self.gateways.claim(fact.bridge, fact.vlan, &sighting);
            }
            return;
        }
        let holder = self
            .stations
            .by_id
            .iter()
            .find(|(_, s)| s.slot.index == fact.slot && s.slot.generation == fact.generation);
        let Some((id, station)) = holder else { return };
        match self.probes.get_mut(id).filter(|r| r.probe.verdict().is_none()) {
            Some(running) => {
                // Traces from before the probe prove nothing: only what decides it is a conflict.
                if running.probe.see(&sighting) {
                    self.book.note_at_add(id, station, &sighting, &self.parts.events);
                }
            }
            None => self.book.note(id, station, &sighting, &self.parts.events),
        }
    }

    /// Starts and forgets machines as endpoints come and go.
    fn follow_stations(&mut self) {
        let stations = Arc::clone(&self.parts.stations.borrow_and_update());
        let now = boottime();
        for (id, station) in &stations.by_id {
            let known = self.stations.by_id.get(id).filter(|s| s.created == station.created);
            match station.role {
                Role::Probing(timing)
                    if self.probes.get(id).is_none_or(|r| r.station.created != station.created) =>
                {
                    let probe = ConflictProbe::start(station.mac, station.addresses.clone(), timing, now);
                    self.probes
                        .insert(id.clone(), Running { station: station.clone(), probe, asked_at: None });
                }
                Role::Open { fresh: true } if known.is_none_or(|s| matches!(s.role, Role::Probing(_))) => {
                    self.mail.announce(id, station, now);
                }
                _ => {}
            }
        }
        self.probes.retain(|id, running| {
            stations.by_id.get(id).is_some_and(|s| s.created == running.station.created)
        });
        for (bridge, count) in &stations.uplink_changes {
            if self.stations.uplink_changes.get(bridge).copied().unwrap_or_default() < *count {
                self.mail.announce_all(bridge, &stations, now);
            }
        }
        self.mail.follow(&stations, now);
        self.gateways.follow(&stations, now);
        self.book.follow(&stations);
        self.stations = stations;
    }

    fn tick(&mut self, now: Duration) -> Vec<Letter> {
        let mut letters = Vec::new();
        for running in self.probes.values_mut() {
            let frames = running.probe.tick(now);
            if !frames.is_empty() {
                running.asked_at = Some(now);
            }
            letters.extend(frames.into_iter().map(|frame| Letter::new(&running.station, frame)));
        }
        letters.extend(self.gateways.tick(
            now,
            self.clock,
            &self.parts.bpf,
            &self.stations,
            &self.parts.events,
        ));
        self.book.tick(now, &self.parts.events);
        letters
    }

    fn publish(&self) {
        let probes = self.probes.iter().filter_map(|(id, running)| {
            let conflict = match running.probe.verdict()? {
                Verdict::Clear => None,
                Verdict::Conflict { address, mac } => Some((address, mac)),
            };
            Some((id.clone(), Probed { created: running.station.created, conflict }))
        });
        let outcomes = Outcomes {
            probes: probes.collect(),
            gateways: self.gateways.views(),
            conflicts: self.book.views(),
        };
        self.parts.outcomes.send_if_modified(|current| {
            let changed = **current != outcomes;
            if changed {
                *current = Arc::new(outcomes);
            }
            changed
        });
    }

    fn deadline(&self) -> Duration {
        let probes = self.probes.values().filter_map(|r| r.probe.deadline()).min();
        let parts = [probes, self.gateways.deadline(), self.book.deadline(), self.mail.deadline()];
        parts.into_iter().flatten().min().unwrap_or_else(|| boottime() + IDLE)
    }
}

/// Facts taken before time is looked at again: what the ring holds.
const FACTS_AT_ONCE: usize = 1_024;

/// A look round although nothing is due.
const IDLE: Duration = Duration::from_mins(1);
