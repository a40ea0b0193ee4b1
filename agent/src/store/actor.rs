//! The actor behind [`StoreHandle`]: one task, one state, one request after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::ledger::{Ledger, LedgerError, Record};
use super::slots::Slots;
use super::{NewEntry, Remove, Request, Reservation, StoreError, StoreHandle};
use crate::limits::{STORE_QUEUE, TOMBSTONE_LIFE};
use crate::model::{
    Endpoint, EndpointId, Entry, Generation, Intent, Ipam, IpamState, Phase, Rebuilt, Removal,
};

/// The state of the actor.
pub struct Store {
    ledger: Ledger,
    slots: Slots,
    intent: Intent,
    tombstones: BTreeMap<String, Duration>,
    publish: watch::Sender<Arc<Intent>>,
    requests: mpsc::Receiver<Request>,
    clock: fn() -> Duration,
}

impl Store {
    /// Reads the ledger and makes the actor with its door. `clock` is CLOCK_BOOTTIME.
    ///
    /// An endpoint whose ADD never ended (its shim died with the former agent) is withdrawn here.
    pub fn open(
        ledger: Ledger,
        max_endpoints: u32,
        clock: fn() -> Duration,
    ) -> Result<(Self, StoreHandle), LedgerError> {
        let contents = ledger.load()?;
        let used: Vec<_> = contents.records.iter().filter_map(|r| r.slot).collect();
        let tombstones = ledger.tombstones()?;
        let (sender, requests) = mpsc::channel(STORE_QUEUE);
        let (publish, intent) = watch::channel(Arc::default());
        let mut store = Self {
            slots: Slots::new(max_endpoints, &used),
            intent: Intent { unreadable: contents.unreadable, ..Intent::default() },
            tombstones,
            publish,
            requests,
            clock,
            ledger,
        };
        for record in contents.records {
            store.restore(record)?;
        }
        store.expire_tombstones();
        store.publish();
        Ok((store, StoreHandle { requests: sender, intent }))
    }

    fn restore(&mut self, record: Record) -> Result<(), LedgerError> {
        self.intent.generation = self.intent.generation.max(record.generation);
        let id = record.id.clone();
        let live = record.phase == Some(Phase::Live) && !record.removing;
        // Whoever could have given it back died with the former agent.
        if let Some(ipam) = record.ipam.clone().filter(|_| !live) {
            self.intent.debts.insert(id.clone(), Ipam { state: IpamState::Owed, ..ipam });
        }
        match (record.endpoint, record.slot) {
            (Some(endpoint), Some(slot)) if live => {
                let entry = Entry {
                    endpoint,
                    slot,
                    phase: Phase::Live,
                    created: record.generation,
                    revision: record.generation,
                    ipam: record.ipam,
                    request: record.request,
                    asked_at: record.asked_at,
                    rebuilt: record.rebuilt,
                };
                self.intent.endpoints.insert(id, Arc::new(entry));
            }
            (endpoint, slot) if record.removing || record.phase.is_some() => {
                let revision = self.intent.generation;
                let bridge = endpoint.map(|e| e.bridge).or(record.bridge);
                let removal = Removal { id: id.clone(), bridge, slot, revision, is_unplugged: false };
                self.intent.removals.insert(id.clone(), removal);
                self.write(&id)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn put(&mut self, new: NewEntry) -> Result<Arc<Entry>, StoreError> {
        let id = new.endpoint.id.clone();
        if self.tombstones.get(&id.digest()).is_some_and(|deleted| *deleted >= new.asked_at) {
            return Err(StoreError::LateAdd);
        }
        if self.is_taken(&id) {
            return Err(StoreError::Exists(id));
        }
        let slot = self.slots.take().ok_or(StoreError::Full(self.slots.capacity()))?;
        let revision = self.intent.generation.next();
        let debt = self.write_off(&id);
        let entry = Entry {
            endpoint: new.endpoint,
            slot,
            phase: Phase::Plumbing,
            created: revision,
            revision,
            ipam: new.ipam,
            request: new.request,
            asked_at: new.asked_at,
            rebuilt: None,
        };
        let written = self.install(entry);
        if written.is_err() {
            self.intent.endpoints.remove(&id);
            self.slots.give_back(slot);
            self.intent.debts.extend(debt.map(|debt| (id, debt)));
        }
        written
    }

    /// Ends a debt that could not be paid, since it would be paid with the address of the attachment that takes its
    /// place. What the plugin keeps of the former one it says itself, or the runtime's GC finds.
    fn write_off(&mut self, id: &EndpointId) -> Option<Ipam> {
        let why = self.intent.unpaid.remove(id)?;
        let debt = self.intent.debts.remove(id)?;
        tracing::warn!(endpoint = %id, plugin = %debt.plugin, %why, "debt ended unpaid by a new ADD");
        Some(debt)
    }

    /// Takes in living endpoints that the ledger has lost; tells which. Those that came or went meanwhile are left.
    fn adopt(&mut self, found: Vec<Rebuilt>) -> Result<Vec<EndpointId>, StoreError> {
        let mut adopted = Vec::new();
        for Rebuilt { endpoint, slot, lacking } in found {
            let id = endpoint.id.clone();
            if self.is_taken(&id) {
                continue;
            }
            let slot = slot.filter(|slot| self.slots.claim(*slot)).or_else(|| self.slots.take());
            let slot = slot.ok_or(StoreError::Full(self.slots.capacity()))?;
            let created = self.intent.generation.next();
            self.write_off(&id);
            let entry = Entry {
                endpoint,
                slot,
                phase: Phase::Live,
                created,
                revision: created,
                // Which plugin gave its addresses nobody knows: the next DEL or GC says it.
                ipam: None,
                request: 0,
                asked_at: Duration::ZERO,
                rebuilt: Some(lacking),
            };
            if let Err(error) = self.install(entry) {
                self.slots.give_back(slot);
                return Err(error);
            }
            adopted.push(id);
        }
        Ok(adopted)
    }

    /// Whether an id stands for something. A debt that may be paid now counts too: that would give back the new
    /// attachment's address.
    fn is_taken(&self, id: &EndpointId) -> bool {
        let intent = &self.intent;
        intent.endpoints.contains_key(id) || !intent.is_free(id)
    }

    fn set_ipam(&mut self, id: &EndpointId, created: Generation, ipam: Ipam) -> Result<(), StoreError> {
        let mut entry = self.entry(id, created)?;
        entry.ipam = Some(ipam);
        self.install(entry).map(drop)
    }

    fn set_endpoint(&mut self, created: Generation, endpoint: Endpoint) -> Result<Arc<Entry>, StoreError> {
        let mut entry = self.entry(&endpoint.id, created)?;
        entry.endpoint = endpoint;
        entry.phase = Phase::Adding;
        self.install(entry)
    }

    fn commit(&mut self, id: &EndpointId, created: Generation) -> Result<(), StoreError> {
        let mut entry = self.entry(id, created)?;
        entry.phase = Phase::Live;
        self.install(entry).map(drop)
    }

    /// A copy of an entry, if it still is the one that the caller created.
    fn entry(&self, id: &EndpointId, created: Generation) -> Result<Entry, StoreError> {
        let entry = self.intent.endpoints.get(id).filter(|e| e.created == created);
        entry.map(|e| Entry::clone(e)).ok_or_else(|| StoreError::Missing(id.clone()))
    }

    fn install(&mut self, mut entry: Entry) -> Result<Arc<Entry>, StoreError> {
        let generation = self.intent.generation.next();
        entry.revision = generation;
        let id = entry.endpoint.id.clone();
        let entry = Arc::new(entry);
        let before = self.intent.endpoints.insert(id.clone(), Arc::clone(&entry));
        if let Err(error) = self.write(&id) {
            match before {
                Some(before) => self.intent.endpoints.insert(id, before),
                None => self.intent.endpoints.remove(&id),
            };
            return Err(error.into());
        }
        self.intent.generation = generation;
        self.publish();
        Ok(entry)
    }

    fn remove(&mut self, remove: &Remove) -> Result<Generation, StoreError> {
        if let Some(stamp) = remove.deleted_at {
            self.bury(&remove.id, stamp)?;
        }
        let entry = self.intent.endpoints.get(&remove.id).cloned();
        if entry.as_ref().is_some_and(|entry| !remove.means(entry)) {
            return Ok(self.intent.generation);
        }
        if remove.created.is_some() && entry.is_none() {
            return self.settle_overtaken(remove);
        }
        let generation = self.intent.generation.next();
        self.intent.generation = generation;
        self.intent.endpoints.remove(&remove.id);
        self.settle_reservation(remove, entry.as_deref());
        // A second DEL must not forget what the first one knew.
        let known = self.intent.removals.remove(&remove.id);
        let (bridge, slot) = known.map_or((None, None), |k| (k.bridge, k.slot));
        let removal = Removal {
            id: remove.id.clone(),
            bridge: entry.as_ref().map(|e| e.endpoint.bridge.clone()).or(bridge),
            slot: entry.as_ref().map(|e| e.slot).or(slot),
            revision: generation,
            is_unplugged: false,
        };
        self.intent.removals.insert(remove.id.clone(), removal);
        let written = self.write(&remove.id);
        self.publish();
        written?;
        Ok(generation)
    }

    /// Books the address of a removed endpoint as owed, or as none of ours any more.
    fn settle_reservation(&mut self, remove: &Remove, entry: Option<&Entry>) {
        let before = self.intent.debts.get(&remove.id).cloned();
        self.settle_debt(remove, entry);
        // Another debt than before was not tried yet.
        if self.intent.debts.get(&remove.id) != before.as_ref() {
            self.intent.unpaid.remove(&remove.id);
        }
    }

    fn settle_debt(&mut self, remove: &Remove, entry: Option<&Entry>) {
        let debts = &mut self.intent.debts;
        let ipam = entry.and_then(|e| e.ipam.clone());
        // A DEL that overtakes an ADD may have told the plugin before the ADD did: only the ADD knows how that ends.
        let overtakes = remove.created.is_none() && entry.is_some_and(|e| e.phase != Phase::Live);
        match (ipam, remove.reservation) {
            (Some(ipam), _) if overtakes => drop(debts.insert(remove.id.clone(), ipam)),
            _ if debts.get(&remove.id).is_some_and(|debt| debt.state == IpamState::Held) => {}
            (_, Reservation::CallerReleases) => drop(debts.remove(&remove.id)),
            // Of an endpoint that was put together again nobody knows which plugin gave its addresses.
            (None, Reservation::PluginRefused) if entry.is_none_or(|e| e.rebuilt.is_none()) => {
                if debts.get(&remove.id).is_some_and(|debt| debt.result.is_none()) {
                    debts.remove(&remove.id);
                }
            }
            (ipam, Reservation::AgentReleases | Reservation::PluginRefused) => {
                if let Some(ipam) = ipam.or_else(|| remove.plugin.clone()) {
                    debts.insert(remove.id.clone(), Ipam { state: IpamState::Owed, ..ipam });
                }
            }
        }
    }

    /// An ADD ends whose endpoint a DEL has taken away before: what its plugin did in the meantime is settled now.
    fn settle_overtaken(&mut self, remove: &Remove) -> Result<Generation, StoreError> {
        let debts = &mut self.intent.debts;
        match remove.reservation {
            // One that is owed was booked by somebody who knows better.
            Reservation::CallerReleases => {
                if debts.get(&remove.id).is_none_or(|debt| debt.state == IpamState::Owed) {
                    return Ok(self.intent.generation);
                }
                debts.remove(&remove.id);
            }
            Reservation::AgentReleases | Reservation::PluginRefused => {
                let held = debts.remove(&remove.id).or_else(|| remove.plugin.clone());
                let Some(held) = held else { return Ok(self.intent.generation) };
                debts.insert(remove.id.clone(), Ipam { state: IpamState::Owed, ..held });
            }
        }
        self.intent.generation = self.intent.generation.next();
        let written = self.write(&remove.id);
        self.publish();
        written?;
        Ok(self.intent.generation)
    }

    fn unplugged(&mut self, id: &EndpointId, revision: Generation) {
        if let Some(removal) = self.intent.removals.get_mut(id).filter(|r| r.revision == revision) {
            removal.is_unplugged = true;
            self.publish();
        }
    }

    fn gone(&mut self, id: &EndpointId, revision: Generation) {
        // A removal that was asked for again meanwhile is looked at again.
        let Some(removal) = self.intent.removals.get(id).filter(|r| r.revision == revision).cloned() else {
            return;
        };
        self.intent.removals.remove(id);
        if let Some(slot) = removal.slot {
            self.slots.give_back(slot);
        }
        self.intent.generation = self.intent.generation.next();
        self.settle(id);
    }

    /// Whether this debt is to be paid; from now on it stands in the way of an ADD.
    fn pay(&mut self, id: &EndpointId, ipam: &Ipam) -> bool {
        if self.intent.debts.get(id) != Some(ipam) {
            return false;
        }
        if self.intent.unpaid.remove(id).is_some() {
            self.publish();
        }
        true
    }

    fn unpaid(&mut self, id: EndpointId, ipam: &Ipam, why: String) {
        if self.intent.debts.get(&id) == Some(ipam) {
            self.intent.unpaid.insert(id, why);
            self.publish();
        }
    }

    fn paid(&mut self, id: &EndpointId, ipam: &Ipam) {
        // Another one that was booked meanwhile is still to be paid.
        if self.intent.debts.get(id) == Some(ipam) {
            self.intent.debts.remove(id);
            self.intent.generation = self.intent.generation.next();
            self.settle(id);
        }
    }

    fn settle(&mut self, id: &EndpointId) {
        if let Err(error) = self.write(id) {
            tracing::error!(endpoint = %id, %error, "the ledger keeps a record that is done with");
        }
        self.publish();
    }

    fn bury(&mut self, id: &EndpointId, stamp: Duration) -> Result<(), LedgerError> {
        self.expire_tombstones();
        let digest = id.digest();
        let newest = self.tombstones.get(&digest).copied().unwrap_or_default().max(stamp);
        self.ledger.bury(&digest, newest)?;
        self.tombstones.insert(digest, newest);
        Ok(())
    }

    fn expire_tombstones(&mut self) {
        let now = (self.clock)();
        let ledger = &self.ledger;
        self.tombstones.retain(|digest, stamp| {
            let keep = now.saturating_sub(*stamp) < TOMBSTONE_LIFE;
            if !keep && let Err(error) = ledger.exhume(digest) {
                tracing::warn!(%error, "an old tombstone stays");
            }
            keep
        });
    }

    /// Makes the ledger's file of one endpoint say what the intent says.
    fn write(&mut self, id: &EndpointId) -> Result<(), LedgerError> {
        self.intent.unreadable.remove(&id.digest());
        let entry = self.intent.endpoints.get(id);
        let removal = self.intent.removals.get(id);
        let debt = self.intent.debts.get(id);
        if entry.is_none() && removal.is_none() && debt.is_none() {
            return self.ledger.erase(id);
        }
        let mut record = self.ledger.record(id, self.intent.generation);
        record.removing = removal.is_some();
        record.bridge = removal.and_then(|r| r.bridge.clone());
        record.slot = removal.and_then(|r| r.slot);
        record.ipam = debt.cloned();
        if let Some(entry) = entry {
            record.generation = entry.created;
            record.slot = Some(entry.slot);
            record.phase = Some(entry.phase);
            record.endpoint = Some(entry.endpoint.clone());
            record.request = entry.request;
            record.asked_at = entry.asked_at;
            record.ipam = entry.ipam.clone().or(record.ipam);
            record.rebuilt.clone_from(&entry.rebuilt);
        }
        self.ledger.write(&record)
    }

    fn publish(&self) {
        self.publish.send_replace(Arc::new(self.intent.clone()));
    }

    fn handle(&mut self, request: Request) {
        // A caller that has gone away needs no answer.
        match request {
            Request::Put(new, reply) => drop(reply.send(self.put(*new))),
            Request::Adopt(found, reply) => drop(reply.send(self.adopt(found))),
            Request::SetIpam(id, created, ipam, reply) => drop(reply.send(self.set_ipam(&id, created, ipam))),
            Request::SetEndpoint(created, endpoint, reply) => {
                drop(reply.send(self.set_endpoint(created, *endpoint)));
            }
            Request::Commit(id, created, reply) => drop(reply.send(self.commit(&id, created))),
            Request::Remove(remove, reply) => drop(reply.send(self.remove(&remove))),
            Request::Gone(id, revision) => self.gone(&id, revision),
            Request::Unplugged(id, revision) => self.unplugged(&id, revision),
            Request::Pay(id, ipam, reply) => drop(reply.send(self.pay(&id, &ipam))),
            Request::Paid(id, ipam) => self.paid(&id, &ipam),
            Request::Unpaid(id, ipam, why) => self.unpaid(id, &ipam, why),
        }
    }
}

impl Remove {
    /// Whether this removal is about this very entry, and not about one before it.
    fn means(&self, entry: &Entry) -> bool {
        let created = self.created.is_none_or(|created| created == entry.created);
        created && self.deleted_at.is_none_or(|deleted| deleted >= entry.asked_at)
    }
}

/// Serves requests until every handle is gone.
pub async fn run(mut store: Store) {
    while let Some(request) = store.requests.recv().await {
        store.handle(request);
    }
}
