//! DEL: the address back first, then everything else; what is gone already is a success.

use agent_api::cni::v1::Start;
use tokio::time::timeout;

use super::ipam::{Delegate, Returned, held};
use super::{Context, Outcome, asked_at};
use crate::api::shim::Shim;
use crate::cni::{CniError, Code, Head, args};
use crate::events::EventKind;
use crate::limits::{DEL_PATIENCE, OVSDB_PATIENCE};
use crate::model::EndpointId;
use crate::store::{Remove, Reservation};

pub(super) async fn run(context: &Context, start: &Start, shim: &mut Shim) -> Outcome {
    let id = args::endpoint_id(&start.container_id, &start.ifname)?;
    let reservation = release(context, &id, start, shim).await;
    let known = context.store.intent().endpoints.get(&id).cloned();
    remove(context, start, id.clone(), reservation).await?;
    until_gone(context, &id).await;
    if let Some(entry) = known {
        let text = format!("{} is removed", entry.endpoint.title());
        context.events.record(EventKind::EndpointRemoved, &id, text);
    }
    Ok(Vec::new())
}

/// Has the IPAM plugin take the address back in the runtime's own context. A broken IPAM must not keep the port, nor must a
/// configuration that was broken since the ADD: what can be removed is, and the agent tries the rest again with what the
/// ledger knows.
async fn release(context: &Context, id: &EndpointId, start: &Start, shim: &mut Shim) -> Reservation {
    let (reservation, error) = match Head::parse(&start.stdin) {
        Err(error) => (Reservation::AgentReleases, error),
        Ok(head) => {
            // The ledger may know a plugin that this configuration no longer names.
            let Some(plugin) = &head.ipam else { return Reservation::AgentReleases };
            match (Delegate { plugin, path: &start.path, head: &head }).give_back(context, shim).await {
                Returned::Yes => return Reservation::CallerReleases,
                Returned::Refused(error) => (Reservation::PluginRefused, error),
                Returned::Unclear(error) => (Reservation::AgentReleases, error),
            }
        }
    };
    tracing::warn!(endpoint = %id, ?reservation, msg = %error.msg, details = %error.details, "IPAM took no address back");
    reservation
}

/// A DEL that the shim left in the spool while the agent was away.
pub(in crate::api) async fn spooled(context: &Context, start: &Start) -> Result<(), CniError> {
    let id = args::endpoint_id(&start.container_id, &start.ifname)?;
    remove(context, start, id, Reservation::AgentReleases).await
}

async fn remove(
    context: &Context,
    start: &Start,
    id: EndpointId,
    reservation: Reservation,
) -> Result<(), CniError> {
    // A removal needs nothing but the id: without a readable configuration only IPAM cannot be told.
    let plugin = Head::parse(&start.stdin).ok().and_then(|head| head.ipam).map(|plugin| held(&plugin, start));
    let remove =
        Remove { id: id.clone(), created: None, deleted_at: Some(asked_at(start)), reservation, plugin };
    context.store.remove(remove).await.map_err(|error| {
        CniError::new(Code::IO_FAILURE, "the removal could not be recorded").caused_by(&error)
    })?;
    Ok(())
}

/// Waits until the reconciler has seen that nothing is left, or nothing but flows on a switch that does not answer.
/// Past the deadline the removal goes on by itself: it is in the ledger, and a runtime that is told "failed" would only
/// ask again. That the port goes has to wait for a database that is away; its interface goes all the same.
pub(super) async fn until_gone(context: &Context, id: &EndpointId) {
    let mut intent = context.store.watch();
    let gone = intent.wait_for(|i| i.removals.get(id).is_none_or(|removal| removal.is_unplugged));
    let is_away = context.ports.watch().borrow().outage().is_some();
    let patience = if is_away { OVSDB_PATIENCE } else { DEL_PATIENCE };
    if timeout(patience, gone).await.is_err() {
        tracing::warn!(endpoint = %id, "the removal takes long and goes on");
    }
}
