//! The book of conflicts, with names and events.

use std::time::Duration;

use crate::config::ForLife;
use crate::events::{EventKind, Events};
use crate::model::{ConflictView, EndpointId, Station, Stations};
use crate::probe::Sighting;
use crate::probe::watch::{Began, ConflictBook, Holder};

pub(super) struct Book {
    book: ConflictBook,
    for_life: ForLife,
}

impl Book {
    pub(super) fn new(for_life: ForLife) -> Self {
        Self { book: ConflictBook::default(), for_life }
    }

    pub(super) fn note(&mut self, id: &EndpointId, station: &Station, sighting: &Sighting, events: &Events) {
        if self.for_life == ForLife::Notify {
            tell(self.book.note(holder(id, station), sighting), events);
        }
    }

    pub(super) fn note_at_add(
        &mut self,
        id: &EndpointId,
        station: &Station,
        sighting: &Sighting,
        events: &Events,
    ) {
        tell(self.book.note_at_add(holder(id, station), sighting), events);
    }

    pub(super) fn follow(&mut self, stations: &Stations) {
        self.book.retain_endpoints(|id| stations.by_id.contains_key(id));
    }

    /// Ends what has been silent for long enough.
    pub(super) fn tick(&mut self, now: Duration, events: &Events) {
        let before = self.book.views();
        if !self.book.expire(now) {
            return;
        }
        let after = self.book.views();
        for ended in before.iter().filter(|b| b.active) {
            let same = |a: &&ConflictView| {
                (&a.endpoint, a.address, a.mac) == (&ended.endpoint, ended.address, ended.mac)
            };
            if after.iter().find(same).is_none_or(|a| !a.active) {
                let text = format!("{} no longer claims {}", ended.mac, ended.address);
                events.record(EventKind::ConflictGone, &ended.endpoint, text);
            }
        }
    }

    pub(super) fn views(&self) -> Vec<ConflictView> {
        self.book.views()
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.book.deadline()
    }
}

fn holder<'a>(id: &'a EndpointId, station: &Station) -> Holder<'a> {
    Holder { endpoint: id, mac: station.mac, vm: station.vm }
}

fn tell(began: Option<Began>, events: &Events) {
    if let Some(Began { endpoint, address, mac, .. }) = began {
        events.record(EventKind::Conflict, &endpoint, format!("{address} is also claimed by {mac}"));
    }
}
