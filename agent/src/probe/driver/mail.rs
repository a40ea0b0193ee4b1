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

    /// Tells the neighbours where all pods of a bridge are, one after the other: the way outside has changed.
    pub(super) fn announce_all(&mut self, bridge: &str, stations: &Stations, now: Duration) {
        let living = Role::Open { fresh: false };
        let mut at = now;
        for (id, station) in stations.by_id.iter().filter(|(_, s)| s.bridge == bridge && s.role == living) {
            self.announce(id, station, at);
            at += PACE;
        }
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

/// Between the pods of a bridge that are announced again: what many of them say at once, the network outside may drop.
const PACE: Duration = Duration::from_millis(20);

/// Self-frames sent in one go: the rest follows in the next round, a moment later.
const SELF_FRAMES_AT_ONCE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Mac, Slot};

    const T0: Duration = Duration::from_secs(1_000);

    fn station(number: u8, bridge: &str, role: Role) -> (EndpointId, Station) {
        let station = Station {
            created: Generation(u64::from(number)),
            slot: Slot { index: u32::from(number), generation: 1 },
            bridge: bridge.to_owned(),
            bridge_index: 0,
            vlan: 0,
            ofport: OfPort(u32::from(number)),
            mac: Mac([2, 0, 0, 0, 0, number]),
            addresses: vec![[10, 0, 0, number].into()],
            gateways: Vec::new(),
            vm: false,
            role,
            self_frame_every: None,
        };
        (EndpointId::new(format!("c{number}"), "eth0"), station)
    }

    /// Who speaks when, in milliseconds from `T0`.
    fn spoken(mail: &mut Mail) -> Vec<(u128, u32)> {
        let mut spoken = Vec::new();
        while let Some(at) = mail.deadline() {
            let letters = mail.due(at);
            spoken.extend(letters.iter().map(|l| ((at.saturating_sub(T0)).as_millis(), l.port.0)));
        }
        spoken
    }

    #[test]
    fn all_pods_of_a_bridge_speak_one_after_the_other_and_once_more() {
        let live = Role::Open { fresh: false };
        let stations = [station(1, "br1", live), station(2, "br2", live), station(3, "br1", live)];
        let stations = Stations { by_id: stations.into_iter().collect(), ..Stations::default() };
        let mut mail = Mail::default();
        mail.announce_all("br1", &stations, T0);
        assert_eq!(spoken(&mut mail), [(0, 1), (20, 3), (2_000, 1), (2_020, 3)]);
    }

    #[test]
    fn who_is_new_speaks_for_itself_and_who_is_probing_not_yet() {
        let timing = crate::model::ProbeTiming { count: 3, interval: T0, wait: T0 };
        let stations =
            [station(1, "br1", Role::Open { fresh: true }), station(2, "br1", Role::Probing(timing))];
        let stations = Stations { by_id: stations.into_iter().collect(), ..Stations::default() };
        let mut mail = Mail::default();
        mail.announce_all("br1", &stations, T0);
        assert_eq!(spoken(&mut mail), []);
    }
}
