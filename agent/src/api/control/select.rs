//! Which endpoints a request means: a pod, an interface of a pod, a printed id, or the start of a container id.

use std::sync::Arc;

use tonic::Status;

use super::Context;
use crate::model::{EndpointId, Entry};

/// The fewest characters of a container id that may stand for it.
const SHORTEST_PREFIX: usize = 6;

/// What was chosen.
#[derive(Clone, Debug)]
pub(super) enum Chosen {
    All,
    Some(Vec<EndpointId>),
}

impl Chosen {
    pub(super) fn contains(&self, id: &EndpointId) -> bool {
        match self {
            Self::All => true,
            Self::Some(ids) => ids.contains(id),
        }
    }

    pub(super) fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

/// The endpoints that `text` names; NOT_FOUND if there is none.
pub(super) fn endpoints(context: &Context, text: &str) -> Result<Chosen, Status> {
    if text.is_empty() {
        return Ok(Chosen::All);
    }
    let intent = context.store.intent();
    let found =
        intent.endpoints.values().filter(|entry| is_named(entry, text)).map(|e| e.endpoint.id.clone());
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(Status::not_found(format!("no endpoint or pod `{text}` on this node")));
    }
    Ok(Chosen::Some(found))
}

fn is_named(entry: &Arc<Entry>, text: &str) -> bool {
    let endpoint = &entry.endpoint;
    let pod = endpoint.pod.as_ref().map(|p| format!("{}/{}", p.namespace, p.name));
    let prefix = text.len() >= SHORTEST_PREFIX && endpoint.id.container.starts_with(text);
    endpoint.title() == text
        || endpoint.id.to_string() == text
        || pod.as_deref() == Some(text)
        || prefix
        || endpoint.id.container == text
}
