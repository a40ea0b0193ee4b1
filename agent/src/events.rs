//! What happened lately: a bounded ring that `agentctl events` reads, and the log line that goes with each entry.
//!
//! One call records the event and logs it, so that the two cannot disagree.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::limits::EVENTS;
use crate::model::EndpointId;

/// One thing that an operator would want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// On the boot clock.
    pub at: Duration,
    pub kind: EventKind,
    /// The endpoint it is about; none for gateways and bridges.
    pub endpoint: Option<EndpointId>,
    /// One sentence.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    EndpointAdded,
    EndpointFailed,
    EndpointRemoved,
    Conflict,
    ConflictGone,
    GatewayLost,
    GatewayBack,
    GatewayMacChanged,
    GatewayDuplicate,
}

impl EventKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::EndpointAdded => "EndpointAdded",
            Self::EndpointFailed => "EndpointFailed",
            Self::EndpointRemoved => "EndpointRemoved",
            Self::Conflict => "AddressConflict",
            Self::ConflictGone => "AddressConflictGone",
            Self::GatewayLost => "GatewayLost",
            Self::GatewayBack => "GatewayBack",
            Self::GatewayMacChanged => "GatewayMacChanged",
            Self::GatewayDuplicate => "GatewayDuplicate",
        }
    }

    pub fn is_trouble(self) -> bool {
        !matches!(self, Self::EndpointAdded | Self::EndpointRemoved | Self::ConflictGone | Self::GatewayBack)
    }
}

/// The ring and its subscribers; clones share it.
#[derive(Clone, Debug)]
pub struct Events {
    // A lock, not a task: writers only push to a bounded ring and never wait.
    recent: Arc<Mutex<VecDeque<Event>>>,
    live: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self { recent: Arc::default(), live: broadcast::channel(EVENTS).0 }
    }
}

impl Events {
    /// Records and logs.
    pub fn record(&self, kind: EventKind, endpoint: Option<&EndpointId>, text: impl Into<String>) {
        let event =
            Event { at: crate::clock::boottime(), kind, endpoint: endpoint.cloned(), text: text.into() };
        let about = endpoint.map(ToString::to_string);
        if kind.is_trouble() {
            tracing::warn!(event = kind.name(), about, "{}", event.text);
        } else {
            tracing::info!(event = kind.name(), about, "{}", event.text);
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == EVENTS {
            recent.pop_front();
        }
        recent.push_back(event.clone());
        // Nobody may be listening.
        self.live.send(event).ok();
    }

    /// The past, oldest first, and what comes next without a gap between.
    pub fn subscribe(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        (recent.iter().cloned().collect(), self.live.subscribe())
    }
}
