//! What happens to the things that the agent stands on: OVSDB, ovs-vswitchd, bridges, ports of pods, flows that somebody
//! else changed. One event for each change, however many ports it takes, and a ration of them: what flaps is told as
//! often as the ration allows, and then by what came of it.
//!
//! Level-triggered: a change only says "look again", and what is told is the difference to what was told before. What
//! came and went between two looks is told where it left a trace: another row, another connection, a count.

mod sight;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::bucket::Bucket;
use crate::events::{EventKind, Events, Subject};
use crate::limits::HEARTBEAT;
use crate::model::EndpointId;

pub use sight::Sources;
use sight::{Sight, Station};

/// A change is given this long to be whole: a bridge and its ports go in one moment, their connection in the next.
const SETTLE: Duration = Duration::from_millis(200);

/// Events of one topic that may come at once, and how often one more is allowed: `agentctl events` keeps 1,024 of all.
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(10);

/// Ports that are told of one by one; more are one event.
const FEW: usize = 3;

/// Looks until `stop`.
pub async fn run(mut sources: Sources, events: Events, stop: CancellationToken) {
    let mut node = Node::default();
    loop {
        for news in node.look(&sources.sight(), crate::clock::boottime()) {
            events.record(news.kind, news.subject, news.text);
        }
        let is_alive = tokio::select! {
            () = stop.cancelled() => false,
            changed = sources.changed() => changed,
            // What the ration held back is due some time.
            () = sleep(HEARTBEAT) => true,
        };
        if !is_alive {
            return;
        }
        sleep(SETTLE).await;
    }
}

/// What was told.
#[derive(Debug, Default)]
struct Node {
    /// `None` until it was in reach once: a start is no news.
    database: Option<bool>,
    /// The connection to each bridge: its number, or none.
    switches: BTreeMap<String, Option<u64>>,
    bridges: BTreeMap<String, bool>,
    /// The port of each endpoint: its row, or none.
    ports: BTreeMap<EndpointId, Option<ovsdb::Uuid>>,
    mended: BTreeMap<String, u64>,
    rations: BTreeMap<Topic, Bucket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Database,
    Switches,
    Bridges,
    Ports,
    Flows,
}

#[derive(Debug, PartialEq, Eq)]
struct News {
    kind: EventKind,
    subject: Subject,
    text: String,
}

impl News {
    fn of_node(kind: EventKind, text: String) -> Self {
        Self { kind, subject: Subject::Node, text }
    }
}

/// Compares one topic with what was told, and tells.
type Look = fn(&mut Node, &Sight, &mut Vec<News>);

impl Node {
    fn look(&mut self, sight: &Sight, now: Duration) -> Vec<News> {
        let mut news = Vec::new();
        let looks: [(Topic, Look); 5] = [
            (Topic::Database, Self::database),
            (Topic::Switches, Self::switches),
            (Topic::Bridges, Self::bridges),
            (Topic::Ports, Self::ports),
            (Topic::Flows, Self::flows),
        ];
        for (topic, look) in looks {
            if self.allows(topic, now) {
                let before = news.len();
                look(self, sight, &mut news);
                self.spend(topic, news.len() - before);
            }
        }
        news
    }

    fn allows(&mut self, topic: Topic, now: Duration) -> bool {
        self.rations.entry(topic).or_insert_with(|| Bucket::full(BURST, now)).has(BURST, REFILL, now)
    }

    fn spend(&mut self, topic: Topic, events: usize) {
        let Some(ration) = self.rations.get_mut(&topic) else { return };
        for _ in 0..events {
            ration.take();
        }
    }

    fn database(&mut self, sight: &Sight, news: &mut Vec<News>) {
        match (&sight.database, self.database) {
            (Err(why), Some(true)) => {
                let text = format!("OVSDB is out of reach: {why}");
                news.push(News::of_node(EventKind::OvsdbLost, text));
                self.database = Some(false);
            }
            (Ok(()), Some(false)) => {
                news.push(News::of_node(EventKind::OvsdbBack, "OVSDB is in reach again".to_owned()));
                self.database = Some(true);
            }
            (Ok(()), None) => self.database = Some(true),
            _ => {}
        }
    }

    fn switches(&mut self, sight: &Sight, news: &mut Vec<News>) {
        let (mut lost, mut back, mut anew) = (Vec::new(), Vec::new(), Vec::new());
        let mut cause = String::new();
        for (bridge, connection) in &sight.switches {
            match (self.switches.get(bridge).copied(), connection) {
                (None | Some(None), Err(_)) => {}
                (None, Ok(epoch)) => {
                    self.switches.insert(bridge.clone(), Some(*epoch));
                }
                (Some(Some(_)), Err(why)) => {
                    self.switches.insert(bridge.clone(), None);
                    cause.clone_from(why);
                    lost.push(bridge.as_str());
                }
                (Some(known), Ok(epoch)) => {
                    self.switches.insert(bridge.clone(), Some(*epoch));
                    match known {
                        None => back.push(bridge.as_str()),
                        Some(known) if known != *epoch => anew.push(bridge.as_str()),
                        Some(_) => {}
                    }
                }
            }
        }
        self.switches.retain(|bridge, _| sight.switches.contains_key(bridge));
        if !lost.is_empty() {
            let text = format!("ovs-vswitchd does not answer for {}: {cause}", bridges(&lost));
            news.push(News::of_node(EventKind::SwitchLost, text));
        }
        if !back.is_empty() {
            let text = format!("ovs-vswitchd answers again for {}", bridges(&back));
            news.push(News::of_node(EventKind::SwitchBack, text));
        }
        if !anew.is_empty() {
            let text = format!("the connection to ovs-vswitchd was made anew for {}", bridges(&anew));
            news.push(News::of_node(EventKind::SwitchBack, text));
        }
    }

    fn bridges(&mut self, sight: &Sight, news: &mut Vec<News>) {
        for (bridge, is_there) in &sight.bridges {
            match self.bridges.insert(bridge.clone(), *is_there) {
                Some(true) if !is_there => {
                    let pods = sight.ports.values().filter(|station| station.bridge == *bridge).count();
                    let text = format!("bridge {bridge} is gone, and {pods} endpoints live on it");
                    news.push(News::of_node(EventKind::BridgeGone, text));
                }
                Some(false) if *is_there => {
                    news.push(News::of_node(
                        EventKind::BridgeBack,
                        format!("bridge {bridge} is there again"),
                    ));
                }
                _ => {}
            }
        }
        self.bridges.retain(|bridge, _| sight.bridges.contains_key(bridge));
    }

    fn ports(&mut self, sight: &Sight, news: &mut Vec<News>) {
        let (mut gone, mut back) = (Vec::new(), Vec::new());
        for (id, station) in &sight.ports {
            let has_bridge = sight.bridges.get(&station.bridge).copied().unwrap_or_default();
            match (self.ports.insert(id.clone(), station.row), station.row) {
                // That its bridge is gone was told.
                (Some(Some(_)), None) if has_bridge => gone.push((id, station)),
                (Some(before), Some(row)) if before != Some(row) => back.push((id, station)),
                _ => {}
            }
        }
        self.ports.retain(|id, _| sight.ports.contains_key(id));
        tell_ports(EventKind::PortGone, "gone from", &gone, news);
        tell_ports(EventKind::PortBack, "there again on", &back, news);
    }

    fn flows(&mut self, sight: &Sight, news: &mut Vec<News>) {
        for (bridge, mended) in &sight.mended {
            let told = self.mended.insert(bridge.clone(), *mended).unwrap_or_default();
            let more = mended.saturating_sub(told);
            if more > 0 {
                let text = format!(
                    "{more} flows in the agent's tables of bridge {bridge} were not as it had left them, and were mended"
                );
                news.push(News::of_node(EventKind::FlowsMended, text));
            }
        }
        self.mended.retain(|bridge, _| sight.mended.contains_key(bridge));
    }
}

/// `bridge br1`, `bridges br1, br2`.
fn bridges(names: &[&str]) -> String {
    let noun = if names.len() == 1 { "bridge" } else { "bridges" };
    format!("{noun} {}", names.join(", "))
}

/// A few ports have an event each, on their endpoints; many have one together.
fn tell_ports(kind: EventKind, how: &str, ports: &[(&EndpointId, &Station)], news: &mut Vec<News>) {
    let describe = |station: &Station| format!("{} ({})", station.port, station.title);
    if ports.len() <= FEW {
        for (id, station) in ports {
            let text = format!("port {} is {how} bridge {}", describe(station), station.bridge);
            news.push(News { kind, subject: Subject::from(*id), text });
        }
        return;
    }
    let first: Vec<_> = ports.iter().take(FEW).map(|(_, station)| describe(station)).collect();
    let (all, more) = (ports.len(), ports.len() - FEW);
    let text = format!("{all} ports are {how} their bridges: {} and {more} more", first.join(", "));
    news.push(News::of_node(kind, text));
}

#[cfg(test)]
mod tests;
