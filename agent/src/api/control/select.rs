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

/// [`endpoints`], and those that the runtime deleted and that are not gone yet: they have no pod any more.
pub(super) fn endpoints_and_removals(context: &Context, text: &str) -> Result<Chosen, Status> {
    let of_living = endpoints(context, text);
    if text.is_empty() {
        return of_living;
    }
    let intent = context.store.intent();
    let leaving: Vec<_> = intent.removals.keys().filter(|id| has_id(id, text)).cloned().collect();
    match of_living {
        Ok(Chosen::Some(living)) => Ok(Chosen::Some(living.into_iter().chain(leaving).collect())),
        Err(_) if !leaving.is_empty() => Ok(Chosen::Some(leaving)),
        other => other,
    }
}

/// NOT_FOUND unless a bridge of that name exists, is configured, or is one that endpoints live on; an empty name is any.
pub(super) fn bridge(context: &Context, name: &str) -> Result<(), Status> {
    let exists = || context.ports.watch().borrow().bridges.contains_key(name);
    let is_configured = || context.config.bridges.iter().any(|bridge| bridge.name == name);
    let intent = context.store.intent();
    let is_used = || intent.endpoints.values().any(|entry| entry.endpoint.bridge == name);
    if name.is_empty() || exists() || is_configured() || is_used() {
        return Ok(());
    }
    Err(Status::not_found(format!("no bridge `{name}`")))
}

fn has_id(id: &EndpointId, text: &str) -> bool {
    let prefix = text.len() >= SHORTEST_PREFIX && id.container.starts_with(text);
    prefix || id.container == text || id.to_string() == text
}

fn is_named(entry: &Arc<Entry>, text: &str) -> bool {
    let endpoint = &entry.endpoint;
    let pod = endpoint.pod.as_ref().map(|p| format!("{}/{}", p.namespace, p.name));
    endpoint.title() == text || pod.as_deref() == Some(text) || has_id(&endpoint.id, text)
}
