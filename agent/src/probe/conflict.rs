//! The conflict probe of an ADD: is somebody else using the addresses that the pod is about to get?
//!
//! Frames and rules of RFC 5227 and of duplicate address detection (RFC 4862), not their timers: a few probes at a
//! short interval, then a short wait. IPv4 and IPv6 go together, all pods in parallel.
//!
//! Any claim of a foreign MAC, and any probe of a foreign MAC for the same address (two hosts starting at once,
//! RFC 5227 section 2.1.1, RFC 4862 section 5.4.3), is a conflict and ends the probe at once. What was seen before the
//! probe began does not count: a pod with a fixed address that moves from node to node has left traces there.

use std::net::IpAddr;
use std::time::Duration;

use super::{Sighting, frames};
use crate::model::{Mac, ProbeTiming};

/// One endpoint's probe, from its start to its verdict.
#[derive(Clone, Debug)]
pub struct ConflictProbe {
    mac: Mac,
    addresses: Vec<IpAddr>,
    timing: ProbeTiming,
    started: Duration,
    state: State,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody spoke for any of the addresses.
    Clear,
    /// Somebody did.
    Conflict { address: IpAddr, mac: Mac },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// `sent` rounds are out, the next is due at `next`.
    Probing {
        sent: u32,
        next: Duration,
    },
    /// All rounds are out; clear if nobody speaks before `until`.
    Listening {
        until: Duration,
    },
    Done(Verdict),
}

impl ConflictProbe {
    /// A probe for `addresses`, whose first round is due at once. Without addresses, or with a count of 0, it is over
    /// before it begins.
    pub fn start(mac: Mac, addresses: Vec<IpAddr>, timing: ProbeTiming, now: Duration) -> Self {
        let nothing_to_do = addresses.is_empty() || timing.count == 0;
        let state =
            if nothing_to_do { State::Done(Verdict::Clear) } else { State::Probing { sent: 0, next: now } };
        Self { mac, addresses, timing, started: now, state }
    }

    /// Takes notice of a frame; `true` if it decided the probe. Hand in everything the kernel told before the
    /// [`tick`](Self::tick) that may end it: the verdict counts what the kernel had seen by then.
    pub fn see(&mut self, sighting: &Sighting) -> bool {
        let decides = sighting.mac != self.mac
            && sighting.at >= self.started
            && self.addresses.contains(&sighting.address)
            && !matches!(self.state, State::Done(_));
        if decides {
            self.state = State::Done(Verdict::Conflict { address: sighting.address, mac: sighting.mac });
        }
        decides
    }

    /// Lets time pass and returns the frames that are to be sent now.
    ///
    /// A late tick sends one round, not the ones it missed: a burst would be one probe in effect, and the wait counts
    /// from the last round that was really sent.
    pub fn tick(&mut self, now: Duration) -> Vec<Vec<u8>> {
        match self.state {
            State::Probing { sent, next } if now >= next => {
                let sent = sent.saturating_add(1);
                self.state = if sent < self.timing.count {
                    State::Probing { sent, next: now.saturating_add(self.timing.interval) }
                } else {
                    State::Listening { until: now.saturating_add(self.timing.wait) }
                };
                self.addresses.iter().map(|address| frames::probe(self.mac, *address)).collect()
            }
            State::Listening { until } if now >= until => {
                self.state = State::Done(Verdict::Clear);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// The switch took what was sent so much later: pauses count from then.
    pub fn delay(&mut self, by: Duration) {
        match &mut self.state {
            State::Probing { next: at, .. } | State::Listening { until: at } => *at = at.saturating_add(by),
            State::Done(_) => {}
        }
    }

    /// The round of the last tick never left: it is due again after the usual pause.
    pub fn unsent(&mut self, now: Duration) {
        let sent = match self.state {
            State::Probing { sent, .. } => sent.saturating_sub(1),
            State::Listening { .. } => self.timing.count.saturating_sub(1),
            State::Done(_) => return,
        };
        self.state = State::Probing { sent, next: now.saturating_add(self.timing.interval) };
    }

    /// When [`tick`](Self::tick) has something to do; `None` once there is a verdict.
    pub fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Probing { next, .. } => Some(next),
            State::Listening { until } => Some(until),
            State::Done(_) => None,
        }
    }

    /// The verdict, once there is one. It never changes.
    pub fn verdict(&self) -> Option<Verdict> {
        match self.state {
            State::Done(verdict) => Some(verdict),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
