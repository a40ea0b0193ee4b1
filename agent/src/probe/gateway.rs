//! The watch on one gateway: does it answer, and with one MAC?
//!
//! One watch per (bridge, VLAN, gateway), not per pod. It is fed with the time at which the kernel last saw the
//! gateway's known MAC speak, and with claims of other MACs; it says when a question is to be sent.
//!
//! ```text
//!              first sight                 lost_after questions unanswered
//!   Unknown ───────────────> Reachable ────────────────────────────────────> Lost
//!                              ^   ^  └──── another MAC claims it ──┐         │
//!                              │   └── back_after questions answered│─────────┘
//!                        SETTLE│                                    v
//!                              └──────────── the old MAC silent: MacChanged
//!                              └──────────── both answer, or it flaps: Duplicate
//! ```
//!
//! - A question goes out after `interval` of silence, never per frame, and while the first answer is awaited or the
//!   gateway is lost. Traffic of the gateway is as good as an answer.
//! - A claim of another MAC makes it ask at once: both alive means both answer (a question is multicast). The old MAC
//!   seen after the question: a duplicate. Silent for `timeout`: the gateway has a new MAC, as after a failover.
//! - Damping: losing and coming back take several questions; more than [`FLAPS`] changes of MAC within [`FLAP_WINDOW`]
//!   are one duplicate, not a row of changes.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{GatewayState, Mac};

/// How a gateway is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayTiming {
    /// Silence after which it is asked.
    pub interval: Duration,
    /// How long one question may stay unanswered.
    pub timeout: Duration,
    /// Unanswered questions in a row until it counts as lost.
    pub lost_after: u32,
    /// Answered questions in a row until it counts as back.
    pub back_after: u32,
}

/// What happened to a gateway: each is one event and one count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// It was seen for the first time.
    Reachable { mac: Mac },
    /// It stopped to answer; `last_seen` is `None` if it never did.
    Lost { last_seen: Option<Duration> },
    /// It answers again.
    Back { lost_for: Duration },
    /// It answers with another MAC, and the old one is silent.
    MacChanged { old: Mac, new: Mac },
    /// Two MACs answer for it.
    Duplicate { known: Mac, other: Mac },
}

/// What the driver is to do after a tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// Send one question now, from the lowest-slot ready pod.
    pub ask: bool,
    pub transitions: Vec<Transition>,
}

/// The watch on one gateway.
#[derive(Clone, Debug)]
pub struct GatewayWatch {
    timing: GatewayTiming,
    state: GatewayState,
    since: Duration,
    mac: Option<Mac>,
    last_seen: Option<Duration>,
    question: Question,
    /// How much later than asked for the question left.
    late: Duration,
    /// Unanswered questions in a row; while lost, answered ones.
    streak: u32,
    rival: Option<Rival>,
    /// The last other MAC that turned out to be a second station.
    other: Option<(Mac, Duration)>,
    changes: VecDeque<Duration>,
    /// What the last tick said. Until then the first question is due.
    can_ask: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Never,
    Pending { asked: Duration },
    Settled { asked: Duration },
}

/// Another MAC that claimed the gateway's address, until it is known what that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rival {
    mac: Mac,
    claimed: Duration,
    last_seen: Duration,
    /// When the question was sent that decides; `None` until it is.
    asked: Option<Duration>,
}

impl GatewayWatch {
    pub fn new(timing: GatewayTiming, now: Duration) -> Self {
        Self {
            timing,
            state: GatewayState::Unknown,
            since: now,
            mac: None,
            last_seen: None,
            question: Question::Never,
            late: Duration::ZERO,
            streak: 0,
            rival: None,
            other: None,
            changes: VecDeque::new(),
            can_ask: true,
        }
    }

    pub fn state(&self) -> GatewayState {
        self.state
    }

    /// When the state began.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// The MAC by which the kernel is to recognise the gateway; `None` before the first answer.
    pub fn mac(&self) -> Option<Mac> {
        self.mac
    }

    /// The second station, while it is fresh.
    pub fn other(&self) -> Option<Mac> {
        self.other.map(|(mac, _)| mac)
    }

    pub fn last_seen(&self) -> Option<Duration> {
        self.last_seen
    }

    /// Takes notice that `mac` claimed the gateway's address at `at`. The first one ever is the gateway. Let a
    /// [`tick`](Self::tick) follow: it tells what came of it and may ask at once.
    pub fn claim(&mut self, mac: Mac, at: Duration) {
        let Some(known) = self.mac else {
            self.mac = Some(mac);
            return self.see(at);
        };
        if known == mac {
            return self.see(at);
        }
        if let Some((other, seen)) = &mut self.other {
            // There is a second station already. Whoever it is now, that is no news: it only stays fresh.
            *other = mac;
            *seen = (*seen).max(at);
            return;
        }
        // A question that the known one has not answered yet divides as well as a new one.
        let asked = match self.question {
            Question::Pending { asked } if self.last_seen.is_none_or(|seen| seen < asked) => Some(asked),
            _ => None,
        };
        match &mut self.rival {
            Some(rival) if rival.mac == mac => rival.last_seen = rival.last_seen.max(at),
            // One at a time: the first one is judged within a timeout, and whoever is still there will speak again.
            Some(_) => {}
            none => *none = Some(Rival { mac, claimed: at, last_seen: at, asked }),
        }
    }

    /// Lets time pass. `seen` is when the kernel last saw [`mac`](Self::mac), and no other, speak for the gateway;
    /// `can_ask` is whether there is a pod in whose name a question can be sent.
    pub fn tick(&mut self, now: Duration, seen: Option<Duration>, can_ask: bool) -> Tick {
        self.can_ask = can_ask;
        if let Some(at) = seen {
            self.see(at);
        }
        let mut tick = Tick::default();
        self.greet(now, &mut tick);
        self.judge_rival(now, &mut tick);
        self.judge_question(now, &mut tick);
        self.settle(now);
        if can_ask && self.next_question().is_some_and(|due| now >= due) {
            self.question = Question::Pending { asked: now };
            self.late = Duration::ZERO;
            if let Some(rival) = &mut self.rival {
                rival.asked = rival.asked.or(Some(now));
            }
            tick.ask = true;
        }
        tick
    }

    /// The switch took the question so much later than it was asked for: the answer may take so much longer.
    pub fn delay(&mut self, by: Duration) {
        self.late = self.late.max(by);
    }

    /// The question never left: its silence proves nothing.
    pub fn unasked(&mut self) {
        if let Question::Pending { asked } = self.question {
            self.question = Question::Settled { asked };
        }
    }

    /// When [`tick`](Self::tick) has something to do, if nothing is seen before. A past time means at once.
    pub fn deadline(&self) -> Option<Duration> {
        let verdict = match self.question {
            Question::Pending { asked } => Some(self.verdict_due(asked)),
            _ => None,
        };
        let rival = self.rival.map(|rival| self.rival_deadline(rival));
        let settles = match (self.state, self.other) {
            (GatewayState::MacChanged, _) => Some(self.since.saturating_add(SETTLE)),
            (_, Some((_, seen))) => Some(seen.saturating_add(SETTLE)),
            _ => None,
        };
        let question = if self.can_ask { self.next_question() } else { None };
        [verdict, rival, settles, question].into_iter().flatten().min()
    }

    fn verdict_due(&self, asked: Duration) -> Duration {
        asked.saturating_add(self.late).saturating_add(self.timing.timeout)
    }

    fn see(&mut self, at: Duration) {
        self.last_seen = self.last_seen.max(Some(at));
    }

    fn enter(&mut self, state: GatewayState, now: Duration) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
    }

    /// The first sight of the gateway.
    fn greet(&mut self, now: Duration, tick: &mut Tick) {
        if let (GatewayState::Unknown, Some(mac), Some(_)) = (self.state, self.mac, self.last_seen) {
            self.streak = 0;
            self.enter(GatewayState::Reachable, now);
            tick.transitions.push(Transition::Reachable { mac });
        }
    }

    /// Decides what another MAC means: a second station if the known one speaks after the question, a new MAC if it
    /// keeps silent until the deadline.
    fn judge_rival(&mut self, now: Duration, tick: &mut Tick) {
        let (Some(rival), Some(known)) = (self.rival, self.mac) else { return };
        // Frames of the old MAC that were under way when the new one spoke prove nothing: the question divides them.
        // Without anybody who could ask, the claim itself has to.
        let divide = if self.can_ask { rival.asked } else { Some(rival.asked.unwrap_or(rival.claimed)) };
        let known_lives = divide.is_some_and(|divide| self.last_seen.is_some_and(|seen| seen > divide));
        if known_lives {
            self.rival = None;
            self.report_duplicate(known, rival.mac, now, tick);
        } else if divide.is_some() && now >= self.rival_deadline(rival) {
            self.rival = None;
            self.adopt(known, rival.mac, rival.last_seen, now, tick);
        }
    }

    fn rival_deadline(&self, rival: Rival) -> Duration {
        rival.asked.unwrap_or(rival.claimed).saturating_add(self.timing.timeout)
    }

    fn report_duplicate(&mut self, known: Mac, other: Mac, now: Duration, tick: &mut Tick) {
        self.other = Some((other, now));
        if self.state != GatewayState::Lost {
            self.enter(GatewayState::Duplicate, now);
        }
        tick.transitions.push(Transition::Duplicate { known, other });
    }

    /// The gateway has a new MAC, or swings to and fro between two.
    fn adopt(&mut self, old: Mac, new: Mac, last_seen: Duration, now: Duration, tick: &mut Tick) {
        self.mac = Some(new);
        self.last_seen = Some(last_seen);
        self.changes.push_back(now);
        let is_stale = |at: &Duration| now.saturating_sub(*at) > FLAP_WINDOW;
        while self.changes.len() > FLAPS + 1 || self.changes.front().is_some_and(is_stale) {
            self.changes.pop_front();
        }
        match self.state {
            GatewayState::Duplicate if self.changes.len() > FLAPS => self.other = Some((old, now)),
            _ if self.changes.len() > FLAPS => self.report_duplicate(new, old, now, tick),
            state => {
                self.other = None;
                if state != GatewayState::Lost {
                    self.enter(GatewayState::MacChanged, now);
                }
                tick.transitions.push(Transition::MacChanged { old, new });
            }
        }
    }

    /// Counts the outcome of the last question.
    fn judge_question(&mut self, now: Duration, tick: &mut Tick) {
        let Question::Pending { asked } = self.question else { return };
        let answered = self.last_seen.is_some_and(|seen| seen >= asked);
        let overdue = now >= self.verdict_due(asked);
        if answered || overdue {
            self.question = Question::Settled { asked };
        }
        if !answered
            && overdue
            && let (Some(known), Some((other, seen))) = (self.mac, self.other)
            && seen >= asked
        {
            // Of two stations, the one that was known has gone.
            return self.adopt(known, other, seen, now, tick);
        }
        let is_lost = self.state == GatewayState::Lost;
        if answered {
            self.streak = if is_lost { self.streak.saturating_add(1) } else { 0 };
            if is_lost && self.streak >= self.timing.back_after {
                let lost_for = now.saturating_sub(self.since);
                self.streak = 0;
                self.enter(GatewayState::Reachable, now);
                tick.transitions.push(Transition::Back { lost_for });
            }
        } else if overdue && self.can_ask {
            // Without a pod to ask from, the question was never on the wire, or its sender is gone: it proves nothing.
            self.streak = if is_lost { 0 } else { self.streak.saturating_add(1) };
            if !is_lost && self.streak >= self.timing.lost_after {
                self.streak = 0;
                self.enter(GatewayState::Lost, now);
                tick.transitions.push(Transition::Lost { last_seen: self.last_seen });
            }
        }
    }

    /// Ends what is over without an event: a change that is old, a second station that keeps silent.
    fn settle(&mut self, now: Duration) {
        if self.other.is_some_and(|(_, seen)| now.saturating_sub(seen) >= SETTLE) {
            self.other = None;
            if self.state == GatewayState::Duplicate {
                self.enter(GatewayState::Reachable, now);
            }
        }
        if self.state == GatewayState::MacChanged && now.saturating_sub(self.since) >= SETTLE {
            self.enter(GatewayState::Reachable, now);
        }
    }

    /// When the next question is due; `None` while one is pending.
    fn next_question(&self) -> Option<Duration> {
        if let Some(Rival { claimed, asked: None, .. }) = self.rival {
            return Some(claimed);
        }
        let asked = match self.question {
            Question::Pending { .. } => return None,
            Question::Never => self.since.saturating_sub(self.timing.interval.max(self.timing.timeout)),
            Question::Settled { asked } => asked,
        };
        Some(match self.state {
            // An ADD may be waiting: the next question follows the unanswered one at once.
            GatewayState::Unknown => asked.saturating_add(self.timing.timeout),
            // Coming back is counted in answers, so traffic does not put a question off.
            GatewayState::Lost => asked.saturating_add(self.timing.interval),
            _ => self.last_seen.unwrap_or_default().max(asked).saturating_add(self.timing.interval),
        })
    }
}

/// How long a change of MAC or a second station is worth showing after it was last seen.
pub const SETTLE: Duration = Duration::from_mins(1);

/// Changes of MAC within [`FLAP_WINDOW`] that are still believed to be failovers: there, back, and there again.
pub const FLAPS: usize = 3;

/// See [`FLAPS`].
pub const FLAP_WINDOW: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests;
