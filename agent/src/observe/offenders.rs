//! Pods that keep sending what the guard stops: one event for each, not one for each frame.
//!
//! The ring is a sample (ten a second for each endpoint), so the counts here say "at least". A stray frame is nobody's
//! business; somebody who sends a few in ten seconds is misconfigured or hostile.

use std::collections::BTreeMap;
use std::time::Duration;

use ebpf::abi::Reason;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::drops::Drops;
use crate::events::{EventKind, Events};
use crate::store::StoreHandle;

/// Frames within [`WINDOW`] that make an offender.
const MANY: u32 = 5;
const WINDOW: Duration = Duration::from_secs(10);

/// An offender that goes on is told of again after this long.
const AGAIN: Duration = Duration::from_mins(1);

/// Reads the drops until `stop` and records an event for each offender.
pub async fn run(drops: Drops, store: StoreHandle, events: Events, stop: CancellationToken) {
    let mut live = drops.subscribe();
    let mut windows = Windows::default();
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            received = live.recv() => received,
        };
        let offence = match received {
            Ok(offence) => offence,
            // What was lost were more of the same.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        if !is_offence(offence.reason) {
            continue;
        }
        let Some(seen) = windows.count(offence.slot, crate::clock::boottime()) else { continue };
        let intent = store.intent();
        let Some(entry) = intent.endpoints.values().find(|entry| entry.slot.index == offence.slot) else {
            continue;
        };
        let reason = Reason::from_u8(offence.reason).map_or("?", Reason::name);
        let text = format!(
            "the guard stopped at least {seen} frame{} of {} within {} s, the last one for {reason}",
            if seen == 1 { "" } else { "s" },
            entry.endpoint.title(),
            WINDOW.as_secs(),
        );
        events.record(EventKind::GuardDrops, &entry.endpoint.id, text);
    }
}

/// A port that is not open yet stops what its pod's kernel says too early, such as router solicitations: our doing.
fn is_offence(reason: u8) -> bool {
    Reason::from_u8(reason) != Some(Reason::Closed)
}

/// One window for each slot that offends.
#[derive(Debug, Default)]
struct Windows(BTreeMap<u32, Window>);

#[derive(Debug)]
struct Window {
    began: Duration,
    seen: u32,
    told: Option<Duration>,
}

impl Windows {
    /// Counts a frame; gives the number of frames of this window where that is to be told now.
    fn count(&mut self, slot: u32, now: Duration) -> Option<u32> {
        // Quiet slots are forgotten, so that there are never more than there are endpoints.
        self.0.retain(|_, window| now.saturating_sub(window.began) < AGAIN + WINDOW);
        let window = self.0.entry(slot).or_insert(Window { began: now, seen: 0, told: None });
        if now.saturating_sub(window.began) >= WINDOW {
            (window.began, window.seen) = (now, 0);
        }
        window.seen += 1;
        let due = window.told.is_none_or(|told| now.saturating_sub(told) >= AGAIN);
        if window.seen < MANY || !due {
            return None;
        }
        window.told = Some(now);
        Some(window.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_stray_frames_are_nobodys_business() {
        let mut windows = Windows::default();
        let told = (0..100).filter_map(|n| windows.count(7, WINDOW * n / 4)).count();
        assert_eq!(told, 0);
    }

    #[test]
    fn what_a_pod_says_before_its_port_is_open_is_no_offence() {
        assert!(!is_offence(Reason::Closed as u8));
        assert!(is_offence(Reason::Arp as u8));
    }

    #[test]
    fn an_offender_is_told_of_once_a_minute() {
        let mut windows = Windows::default();
        let second = Duration::from_secs(1);
        let told: Vec<_> = (0..120).filter(|n| windows.count(7, second * *n).is_some()).collect();
        assert_eq!(told, [4, 64]);
    }

    #[test]
    fn a_slot_that_fell_silent_is_forgotten() {
        let mut windows = Windows::default();
        windows.count(7, Duration::ZERO);
        windows.count(8, AGAIN * 2);
        assert_eq!(windows.0.keys().collect::<Vec<_>>(), [&8]);
    }
}
