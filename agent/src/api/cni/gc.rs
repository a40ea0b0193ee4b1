//! GC: attachments of a network that the runtime no longer knows are removed.

use agent_api::cni::v1::{Start, Verb};

use super::del::until_gone;
use super::ipam::{Delegate, held, run_of};
use super::{Context, Outcome};
use crate::api::shim::Shim;
use crate::cni::gc::valid_attachments;
use crate::cni::ipam::succeeded;
use crate::cni::{CniError, Code, Head};
use crate::model::{EndpointId, Phase};
use crate::store::{Remove, Reservation};

pub(super) async fn run(context: &Context, start: &Start, shim: &mut Shim) -> Outcome {
    let head = Head::parse(&start.stdin)?;
    head.version.require_gc()?;
    let removed = sweep(context, start, &head).await?;
    futures::future::join_all(removed.iter().map(|id| until_gone(context, id))).await;
    if let Some(plugin) = &head.ipam {
        let delegate = Delegate { plugin, path: &start.path, head: &head };
        // Plugins older than 1.1.0 have no GC: their addresses went back one by one above.
        if delegate.version(context, shim).await?.require_gc().is_ok() {
            let done = delegate.run(context, shim, Verb::Gc, None).await?;
            succeeded(run_of(plugin, &done))?;
        }
    }
    Ok(Vec::new())
}

/// A GC that the shim left in the spool while the agent was away.
pub(in crate::api) async fn spooled(context: &Context, start: &Start) -> Result<(), CniError> {
    let head = Head::parse(&start.stdin)?;
    sweep(context, start, &head).await.map(drop)
}

/// Removes the live endpoints of the network that are not listed. An ADD under way is not garbage: the runtime made
/// its list before.
async fn sweep(context: &Context, start: &Start, head: &Head) -> Result<Vec<EndpointId>, CniError> {
    let valid = valid_attachments(head)?;
    let intent = context.store.intent();
    let garbage = intent.endpoints.values().filter(|e| {
        let endpoint = &e.endpoint;
        e.phase == Phase::Live && endpoint.network == head.name && !valid.contains(&endpoint.id)
    });
    let mut removed = Vec::new();
    for entry in garbage {
        let id = entry.endpoint.id.clone();
        tracing::info!(endpoint = %id, network = %head.name, "not among the valid attachments, removed");
        let remove = Remove {
            id: id.clone(),
            created: Some(entry.created),
            deleted_at: Some(super::asked_at(start)),
            reservation: Reservation::AgentReleases,
            plugin: head.ipam.as_deref().map(|plugin| held(plugin, start)),
        };
        context.store.remove(remove).await.map_err(|error| {
            CniError::new(Code::IO_FAILURE, "the removal could not be recorded").caused_by(&error)
        })?;
        removed.push(id);
    }
    Ok(removed)
}
