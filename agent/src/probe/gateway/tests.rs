//! A gateway played by the test: who is alive answers each question after 1 ms.

use std::time::Duration;

use proptest::prelude::{any, prop_assert, proptest};

use super::{FLAPS, GatewayTiming, GatewayWatch, SETTLE, Transition};
use crate::model::{GatewayState, Mac};

const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);
const C: Mac = Mac([2, 0, 0, 0, 0, 0xc]);
const TIMING: GatewayTiming = GatewayTiming {
    interval: Duration::from_secs(2),
    timeout: Duration::from_secs(1),
    lost_after: 3,
    back_after: 2,
};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The wire: stations that are alive answer, the kernel tells the watch as the eBPF programs do.
struct Wire {
    watch: GatewayWatch,
    now: Duration,
    alive: Vec<Mac>,
    seen: Option<(Mac, Duration)>,
    told: Vec<Transition>,
    questions: Vec<Duration>,
    can_ask: bool,
}

impl Wire {
    fn new(alive: &[Mac]) -> Self {
        Self {
            watch: GatewayWatch::new(TIMING, secs(100)),
            now: secs(100),
            alive: alive.to_vec(),
            seen: None,
            told: Vec::new(),
            questions: Vec::new(),
            can_ask: true,
        }
    }

    /// A frame of `mac` that claims the gateway's address.
    fn speak(&mut self, mac: Mac) {
        if self.watch.mac() == Some(mac) {
            self.seen = Some((mac, self.now));
        } else {
            self.watch.claim(mac, self.now);
        }
    }

    fn tick(&mut self) {
        // A question whose answer raises a question is fine; a third one would be a loop.
        for _ in 0..3 {
            let seen = self.seen.filter(|(mac, _)| self.watch.mac() == Some(*mac)).map(|(_, at)| at);
            let tick = self.watch.tick(self.now, seen, self.can_ask);
            self.told.extend(tick.transitions);
            if !tick.ask {
                return;
            }
            self.questions.push(self.now);
            self.now += ms(1);
            for mac in self.alive.clone() {
                self.speak(mac);
            }
        }
        panic!("questions raise questions at {:?}: {:?}", self.now, self.watch);
    }

    /// Follows the watch's own deadlines for `span`.
    fn run(&mut self, span: Duration) -> &mut Self {
        let end = self.now + span;
        for _ in 0..10_000 {
            match self.watch.deadline() {
                Some(due) if due <= end => {
                    self.now = self.now.max(due);
                    self.tick();
                }
                _ => {
                    self.now = end;
                    return self;
                }
            }
        }
        panic!("the watch spins at {:?}: {:?}", self.now, self.watch);
    }

    fn told(&mut self) -> Vec<Transition> {
        std::mem::take(&mut self.told)
    }
}

#[test]
fn a_living_gateway_is_reachable_after_one_question_and_asked_every_interval() {
    let mut wire = Wire::new(&[A]);
    wire.run(secs(9));
    assert_eq!(wire.told(), [Transition::Reachable { mac: A }]);
    assert_eq!((wire.watch.state(), wire.watch.mac()), (GatewayState::Reachable, Some(A)));
    assert_eq!(wire.questions[0], secs(100));
    assert_eq!(wire.questions.len(), 5, "{:?}", wire.questions);
}

#[test]
fn traffic_of_the_gateway_is_as_good_as_an_answer() {
    let mut wire = Wire::new(&[A]);
    wire.run(secs(1));
    for _ in 0..20 {
        wire.speak(A);
        wire.tick();
        wire.run(ms(900));
    }
    assert_eq!(wire.questions.len(), 1);
}

#[test]
fn it_is_lost_after_three_unanswered_questions_and_back_after_two_answers() {
    let mut wire = Wire::new(&[A]);
    wire.run(secs(1));
    wire.told();
    wire.alive.clear();
    wire.run(secs(5));
    assert_eq!((wire.told(), wire.watch.state()), (vec![], GatewayState::Reachable));
    wire.run(secs(2));
    let lost = wire.told();
    assert!(matches!(lost[..], [Transition::Lost { last_seen: Some(_) }]), "{lost:?}");
    assert_eq!(wire.watch.state(), GatewayState::Lost);

    wire.run(secs(10));
    wire.alive = vec![A];
    wire.run(secs(2));
    assert_eq!(wire.told(), []);
    wire.run(secs(2));
    let back = wire.told();
    assert!(matches!(back[..], [Transition::Back { .. }]), "{back:?}");
    assert_eq!(wire.watch.state(), GatewayState::Reachable);
}

#[test]
fn one_answer_between_silences_does_not_bring_it_back() {
    let mut wire = Wire::new(&[A]);
    wire.run(secs(1));
    wire.alive.clear();
    wire.run(secs(8));
    wire.told();
    for _ in 0..5 {
        wire.alive = vec![A];
        wire.run(secs(2));
        wire.alive.clear();
        wire.run(secs(2));
    }
    assert_eq!((wire.told(), wire.watch.state()), (vec![], GatewayState::Lost));
}

#[test]
fn a_gateway_that_never_answers_is_lost_after_three_timeouts() {
    let mut wire = Wire::new(&[]);
    wire.run(ms(2999));
    assert_eq!((wire.told(), wire.watch.state()), (vec![], GatewayState::Unknown));
    wire.run(ms(1));
    assert_eq!(wire.told(), [Transition::Lost { last_seen: None }]);
    wire.alive = vec![A];
    wire.run(secs(5));
    assert!(matches!(wire.told()[..], [Transition::Back { .. }]));
    assert_eq!(wire.watch.mac(), Some(A));
}

#[test]
fn a_failover_to_another_mac_is_one_change() {
    let mut wire = Wire::new(&[A]);
    wire.run(ms(1500));
    wire.told();
    wire.alive = vec![B];
    wire.speak(B);
    wire.tick();
    wire.run(secs(1));
    assert_eq!(wire.told(), [Transition::MacChanged { old: A, new: B }]);
    assert_eq!((wire.watch.state(), wire.watch.mac()), (GatewayState::MacChanged, Some(B)));
    wire.run(SETTLE);
    assert_eq!((wire.told(), wire.watch.state()), (vec![], GatewayState::Reachable));
}

#[test]
fn a_change_without_an_announcement_is_found_by_the_next_question() {
    let mut wire = Wire::new(&[A]);
    wire.run(ms(1500));
    wire.told();
    wire.alive = vec![B];
    wire.run(secs(4));
    assert_eq!(wire.told(), [Transition::MacChanged { old: A, new: B }]);
}

#[test]
fn two_that_answer_are_a_duplicate_told_once() {
    let mut wire = Wire::new(&[A]);
    wire.run(ms(1500));
    wire.told();
    wire.alive = vec![A, B];
    wire.speak(B);
    wire.tick();
    assert_eq!(wire.told(), [Transition::Duplicate { known: A, other: B }]);
    wire.run(secs(200));
    assert_eq!((wire.told(), wire.watch.state()), (vec![], GatewayState::Duplicate));
    assert_eq!((wire.watch.mac(), wire.watch.other()), (Some(A), Some(B)));
    wire.alive = vec![A];
    wire.run(secs(65));
    assert_eq!((wire.told(), wire.watch.state()), (vec![], GatewayState::Reachable));
    assert_eq!(wire.watch.other(), None);
}

#[test]
fn frames_of_the_old_mac_before_the_question_prove_no_duplicate() {
    let mut wire = Wire::new(&[A]);
    wire.run(ms(1500));
    wire.told();
    wire.alive = vec![B];
    wire.speak(B);
    wire.now += ms(1);
    // Was under way when the new one announced itself.
    wire.speak(A);
    wire.now += ms(1);
    wire.tick();
    wire.run(secs(2));
    assert_eq!(wire.told(), [Transition::MacChanged { old: A, new: B }]);
}

#[test]
fn when_the_known_one_of_two_dies_the_other_is_the_gateway() {
    let mut wire = Wire::new(&[A, B]);
    wire.run(secs(5));
    assert_eq!(wire.told().len(), 2, "reachable and duplicate");
    wire.alive = vec![B];
    wire.run(secs(4));
    assert_eq!(wire.told(), [Transition::MacChanged { old: A, new: B }]);
}

#[test]
fn a_flapping_gateway_becomes_one_duplicate() {
    let mut wire = Wire::new(&[A]);
    wire.run(ms(1500));
    wire.told();
    for i in 0..20 {
        wire.alive = vec![if i % 2 == 0 { B } else { A }];
        wire.run(secs(5));
    }
    let told = wire.told();
    let changes = told.iter().filter(|t| matches!(t, Transition::MacChanged { .. })).count();
    let duplicates = told.iter().filter(|t| matches!(t, Transition::Duplicate { .. })).count();
    assert_eq!((changes, duplicates, told.len()), (FLAPS, 1, FLAPS + 1), "{told:?}");
}

#[test]
fn an_attacker_with_many_macs_makes_one_event_and_one_question() {
    let mut wire = Wire::new(&[A]);
    wire.run(ms(1500));
    wire.told();
    let before = wire.questions.len();
    for i in 0..100 {
        wire.speak(Mac([6, 0, 0, 0, 0, i]));
        wire.tick();
    }
    assert_eq!((wire.told().len(), wire.questions.len() - before), (1, 1));
}

#[test]
fn a_takeover_while_lost_is_a_change_and_then_a_return() {
    let mut wire = Wire::new(&[A]);
    wire.run(secs(1));
    wire.alive.clear();
    wire.run(secs(8));
    wire.told();
    wire.alive = vec![B];
    wire.run(secs(8));
    let told = wire.told();
    assert!(
        matches!(told[..], [Transition::MacChanged { old: A, new: B }, Transition::Back { .. }]),
        "{told:?}"
    );
}

#[test]
fn without_a_watcher_nothing_is_asked_and_nothing_is_lost() {
    let mut wire = Wire::new(&[A]);
    wire.run(secs(1));
    wire.told();
    (wire.alive, wire.can_ask) = (vec![], false);
    let asked = wire.questions.len();
    wire.run(secs(100));
    assert_eq!((wire.told(), wire.questions.len()), (vec![], asked));
    assert_eq!(wire.watch.state(), GatewayState::Reachable);
}

#[test]
fn a_third_station_is_no_news_while_there_are_two() {
    let mut wire = Wire::new(&[A, B]);
    wire.run(secs(5));
    wire.told();
    wire.alive.push(C);
    wire.run(secs(20));
    assert_eq!((wire.told(), wire.watch.other()), (vec![], Some(C)));
}

proptest! {
    /// Whoever lives and dies: the watch never spins, never asks more than once a timeout plus once a claim, and
    /// losing and coming back alternate.
    #[test]
    fn any_history_keeps_the_watch_calm(history in proptest::collection::vec((any::<[bool; 3]>(), any::<bool>(), 1_u64..6), 1..60)) {
        let mut wire = Wire::new(&[]);
        for (alive, can_ask, span) in history {
            wire.alive = [A, B, C].into_iter().zip(alive).filter(|(_, lives)| *lives).map(|(mac, _)| mac).collect();
            wire.can_ask = can_ask;
            wire.run(secs(span));
        }
        let elapsed = wire.now.saturating_sub(secs(100)).as_secs();
        prop_assert!(u64::try_from(wire.questions.len()).unwrap() <= 2 * elapsed + 2);
        let lost_or_back: Vec<_> = wire.told().into_iter().filter_map(|t| match t {
            Transition::Lost { .. } => Some(true),
            Transition::Back { .. } => Some(false),
            _ => None,
        }).collect();
        prop_assert!(lost_or_back.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", lost_or_back);
        prop_assert!(lost_or_back.first().is_none_or(|lost| *lost));
    }
}
