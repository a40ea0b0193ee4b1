//! What happened, as Kubernetes Events on the pods concerned: `kubectl describe pod` and `kubectl get events` show it.
//!
//! Equal Events are aggregated into one with a count (kube's recorder does that for six minutes), and what is left is
//! rationed, so that a broken network costs the API server a bounded number of writes. What exceeds the ration is
//! counted and only stands in the log and in `agentctl events`. Nothing is queued while the API server is away.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event as Note, EventType, Recorder};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::bucket::Bucket;
use crate::events::{Event, EventKind, Events, Subject};
use crate::kube::Cluster;
use crate::model::{GatewayKey, Intent, Pod};
use crate::report::chain;
use crate::store::StoreHandle;

/// Writes that may come at once, and how often one more is allowed: a gateway that dies concerns every pod of a VLAN.
const BURST: u32 = 100;
const REFILL: Duration = Duration::from_secs(1);

/// The same for one pod.
const POD_BURST: u32 = 10;
const POD_REFILL: Duration = Duration::from_secs(30);

/// One write; the API server is asked again only for the next Event.
const DEADLINE: Duration = Duration::from_secs(5);

/// The longest text that the API server takes.
const NOTE_BYTES: usize = 1_024;

/// Reads the events until `stop` and writes those that concern pods.
pub async fn run(cluster: Cluster, events: Events, store: StoreHandle, stop: CancellationToken) {
    // What happened before the agent's start was told by its predecessor.
    let (_, mut live) = events.subscribe();
    let recorder = cluster.recorder();
    let mut ration = Ration::default();
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            received = live.recv() => received,
        };
        match received {
            Ok(event) => write(&recorder, &mut ration, &store.intent(), &event).await,
            Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "events were not told to the cluster"),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn write(recorder: &Recorder, ration: &mut Ration, intent: &Intent, event: &Event) {
    let Some(note) = note(event) else { return };
    for pod in concerned(intent, &event.subject) {
        if !ration.allows(&pod.uid, crate::clock::boottime()) {
            tracing::debug!(pod = %pod.name, event = event.kind.name(), "too many Events: not written");
            continue;
        }
        let pod_reference = reference(&pod);
        let written = recorder.publish(&note, &pod_reference);
        match tokio::time::timeout(DEADLINE, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(pod = %pod.name, error = chain(&error), "an Event was not written");
            }
            // The others would fare no better.
            Err(_) => return tracing::debug!("the API server does not answer: Events are not written"),
        }
    }
}

/// `None` for what every pod goes through.
fn note(event: &Event) -> Option<Note> {
    if matches!(event.kind, EventKind::EndpointAdded | EventKind::EndpointRemoved) {
        return None;
    }
    let mut text = event.text.clone();
    text.truncate(text.floor_char_boundary(NOTE_BYTES));
    Some(Note {
        type_: if event.kind.is_trouble() { EventType::Warning } else { EventType::Normal },
        reason: event.kind.name().to_owned(),
        note: Some(text),
        action: action(event.kind).to_owned(),
        secondary: None,
    })
}

/// What the agent was doing.
fn action(kind: EventKind) -> &'static str {
    match kind {
        EventKind::EndpointAdded | EventKind::EndpointFailed => "Add",
        EventKind::EndpointRemoved => "Remove",
        EventKind::GuardDrops | EventKind::FlowsMended => "Guard",
        EventKind::Conflict
        | EventKind::ConflictGone
        | EventKind::GatewayLost
        | EventKind::GatewayBack
        | EventKind::GatewayMacChanged
        | EventKind::GatewayDuplicate
        | EventKind::OvsdbLost
        | EventKind::OvsdbBack
        | EventKind::SwitchLost
        | EventKind::SwitchBack
        | EventKind::BridgeGone
        | EventKind::BridgeBack
        | EventKind::PortGone
        | EventKind::PortBack => "Watch",
    }
}

/// The pods that an event is about: one, or all that use a gateway.
fn concerned(intent: &Intent, subject: &Subject) -> Vec<Pod> {
    match subject {
        Subject::Endpoint(_, Some(pod)) => vec![pod.clone()],
        Subject::Endpoint(id, None) => {
            intent.endpoints.get(id).and_then(|entry| entry.endpoint.pod.clone()).into_iter().collect()
        }
        Subject::Gateway(GatewayKey { bridge, vlan, address }) => {
            let endpoints = intent.endpoints.values().map(|entry| &entry.endpoint);
            let users = endpoints.filter(|e| {
                e.bridge == *bridge && e.vlan.untagged() == Some(*vlan) && e.gateways.contains(address)
            });
            users.filter_map(|endpoint| endpoint.pod.clone()).collect()
        }
        // Every pod of the node would be told the same; its log and `agentctl events` tell it once.
        Subject::Node => Vec::new(),
    }
}

fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.namespace.clone()),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.clone()).filter(|uid| !uid.is_empty()),
        ..ObjectReference::default()
    }
}

/// How many Events may still be written: for all pods together, and for each.
#[derive(Debug, Default)]
struct Ration {
    all: Option<Bucket>,
    by_pod: BTreeMap<String, Bucket>,
}

impl Ration {
    fn allows(&mut self, uid: &str, now: Duration) -> bool {
        // A full bucket is as good as none.
        self.by_pod.retain(|_, bucket| !bucket.is_full(POD_BURST, POD_REFILL, now));
        let pod = self.by_pod.entry(uid.to_owned()).or_insert_with(|| Bucket::full(POD_BURST, now));
        let all = self.all.get_or_insert_with(|| Bucket::full(BURST, now));
        pod.has(POD_BURST, POD_REFILL, now) && all.has(BURST, REFILL, now) && pod.take() && all.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn one_pod_cannot_use_up_the_ration_of_all() {
        let mut ration = Ration::default();
        let written = (0..1_000).filter(|_| ration.allows("a", second(1))).count();
        assert_eq!(written, 10);
        assert!(ration.allows("b", second(1)));
    }

    #[test]
    fn all_pods_together_have_a_ration_too() {
        let mut ration = Ration::default();
        let written = (0..1_000).filter(|n| ration.allows(&n.to_string(), second(1))).count();
        assert_eq!(written, 100);
        let later = (0..1_000).filter(|n| ration.allows(&format!("later {n}"), second(11))).count();
        assert_eq!(later, 10);
    }

    #[test]
    fn a_pod_that_was_quiet_is_forgotten() {
        let mut ration = Ration::default();
        assert!(ration.allows("a", second(0)));
        assert!(ration.allows("b", second(100)));
        assert_eq!(ration.by_pod.keys().collect::<Vec<_>>(), ["b"]);
    }
}
