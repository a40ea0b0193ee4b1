//! What happened lately: a bounded ring that `agentctl events` reads, and the log line that goes with each entry.
//!
//! One call records the event and logs it, so that the two cannot disagree.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::limits::EVENTS;
use crate::model::{EndpointId, GatewayKey, Pod};

/// One thing that an operator would want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// On the boot clock.
    pub at: Duration,
    pub kind: EventKind,
    pub subject: Subject,
    /// One sentence.
    pub text: String,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Its pod where the intent may not tell it (any more).
    Endpoint(EndpointId, Option<Pod>),
    Gateway(GatewayKey),
    Node,
}

impl Subject {
    pub fn endpoint(&self) -> Option<&EndpointId> {
        match self {
            Self::Endpoint(id, _) => Some(id),
            Self::Gateway(_) | Self::Node => None,
        }
    }
}

impl From<&EndpointId> for Subject {
    fn from(id: &EndpointId) -> Self {
        Self::Endpoint(id.clone(), None)
    }
}

impl From<&GatewayKey> for Subject {
    fn from(key: &GatewayKey) -> Self {
        Self::Gateway(key.clone())
    }
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
    GuardDrops,
    OvsdbLost,
    OvsdbBack,
    SwitchLost,
    SwitchBack,
    BridgeGone,
    BridgeBack,
    PortGone,
    PortBack,
    FlowsMended,
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
            Self::GuardDrops => "GuardDrops",
            Self::OvsdbLost => "OvsdbLost",
            Self::OvsdbBack => "OvsdbBack",
            Self::SwitchLost => "SwitchLost",
            Self::SwitchBack => "SwitchBack",
            Self::BridgeGone => "BridgeGone",
            Self::BridgeBack => "BridgeBack",
            Self::PortGone => "PortGone",
            Self::PortBack => "PortBack",
            Self::FlowsMended => "FlowsMended",
        }
    }

    pub fn is_trouble(self) -> bool {
        !matches!(
            self,
            Self::EndpointAdded
                | Self::EndpointRemoved
                | Self::ConflictGone
                | Self::GatewayBack
                | Self::OvsdbBack
                | Self::SwitchBack
                | Self::BridgeBack
                | Self::PortBack
        )
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
    pub fn record(&self, kind: EventKind, subject: impl Into<Subject>, text: impl Into<String>) {
        let event = Event { at: crate::clock::boottime(), kind, subject: subject.into(), text: text.into() };
        let about = event.subject.endpoint().map(ToString::to_string);
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
