//! Frames that are due at a time of their own: announcements of new pods, and self-frames of accelerated ones.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{EndpointId, Generation, OfPort, Role, Station, Stations};
use crate::probe::frames;

/// A frame, and where it goes in.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) bridge: String,
    pub(super) port: OfPort,
    pub(super) frame: Vec<u8>,
}

impl Letter {
    pub(super) fn new(station: &Station, frame: Vec<u8>) -> Self {
        Self { bridge: station.bridge.clone(), port: station.ofport, frame }
    }
}

/// What is waiting to be sent.
#[derive(Debug, Default)]
pub(super) struct Mail {
    announcements: BTreeMap<EndpointId, Announcement>,
    self_frames: BTreeMap<EndpointId, SelfFrame>,
}

#[derive(Debug)]
struct Announcement {
    station: Station,
    left: u32,
    next: Duration,
}

#[derive(Debug)]
struct SelfFrame {
    station: Station,
    every: Duration,
    next: Duration,
}

impl Mail {
    /// Tells the neighbours where a new pod's addresses are.
    pub(super) fn announce(&mut self, id: &EndpointId, station: &Station, now: Duration) {
        let announcement = Announcement { station: station.clone(), left: ANNOUNCEMENTS, next: now };
        self.announcements.insert(id.clone(), announcement);
    }

    pub(super) fn follow(&mut self, stations: &Stations, now: Duration) {
        let alive = |id: &EndpointId, created: Generation| {
            stations
                .by_id
                .get(id)
                .is_some_and(|s| s.created == created && matches!(s.role, Role::Open { .. }))
        };
        self.announcements.retain(|id, a| alive(id, a.station.created));
        self.self_frames.retain(|id, f| {
            stations
                .by_id
                .get(id)
                .is_some_and(|s| s.self_frame_every.is_some() && s.created == f.station.created)
        });
        for (id, station) in &stations.by_id {
            let Some(every) = station.self_frame_every else { continue };
            let frame = SelfFrame { station: station.clone(), every, next: now };
            let known = self.self_frames.entry(id.clone()).or_insert(frame);
            known.station = station.clone();
            known.every = every;
            known.next = known.next.min(now + every);
        }
    }

    /// What is to be sent now.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Letter> {
        let mut letters = Vec::new();
        for announcement in self.announcements.values_mut().filter(|a| a.next <= now) {
            let station = &announcement.station;
            let frames = station.addresses.iter().map(|address| frames::announcement(station.mac, *address));
            letters.extend(frames.map(|frame| Letter::new(station, frame)));
            announcement.left = announcement.left.saturating_sub(1);
            announcement.next = now + ANNOUNCEMENT_INTERVAL;
        }
        self.announcements.retain(|_, a| a.left > 0);
        for due in self.self_frames.values_mut().filter(|f| f.next <= now).take(SELF_FRAMES_AT_ONCE) {
            letters.push(Letter::new(&due.station, frames::self_frame(due.station.mac)));
            due.next = now + due.every;
        }
        letters
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let announcements = self.announcements.values().map(|a| a.next);
        announcements.chain(self.self_frames.values().map(|f| f.next)).min()
    }
}

/// RFC 5227, section 2.3: two announcements, two seconds apart.
const ANNOUNCEMENTS: u32 = 2;
const ANNOUNCEMENT_INTERVAL: Duration = Duration::from_secs(2);

/// Self-frames sent in one go: the rest follows in the next round, a moment later.
const SELF_FRAMES_AT_ONCE: usize = 32;
