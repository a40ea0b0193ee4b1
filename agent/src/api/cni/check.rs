//! CHECK: is everything still as ADD left it?

use agent_api::cni::v1::{Start, Verb};

use super::ipam::{Delegate, run_of};
use super::request::Asked;
use super::{Context, Outcome};
use crate::api::shim::Shim;
use crate::cni::check::Expected;
use crate::cni::ipam::succeeded;
use crate::cni::{CniError, Code};
use crate::model::{EndpointStatus, Entry, State};

pub(super) async fn run(context: &Context, pid: i32, start: &Start, shim: &mut Shim) -> Outcome {
    let asked = Asked::parse(context, pid, start)?;
    asked.conf.head.version.require_check()?;
    let expected = Expected::find(asked.conf.prev_result.as_ref(), &asked.id)?;
    let intent = context.store.intent();
    let entry = intent.endpoints.get(&asked.id).ok_or_else(|| {
        CniError::new(Code::UNKNOWN_CONTAINER, format!("the agent knows no endpoint {}", asked.id))
    })?;
    let mut found = expected.differences(&entry.endpoint);
    let status = context.reconcile.status().endpoints.get(&asked.id).cloned();
    found.extend(state_faults(status.as_ref()));
    found.extend(link_faults(context, &asked, entry, status.as_ref()).await);
    if !found.is_empty() {
        let msg = format!("endpoint {} is not as it should be", entry.endpoint.title());
        return Err(CniError::new(Code::IO_FAILURE, msg).because(found.join("; ")));
    }
    if let Some(plugin) = &asked.conf.head.ipam {
        let delegate = Delegate { plugin, path: &start.path, head: &asked.conf.head };
        let done = delegate.run(context, shim, Verb::Check, asked.conf.prev_result.as_ref()).await?;
        succeeded(run_of(plugin, &done))?;
    }
    Ok(Vec::new())
}

fn state_faults(status: Option<&EndpointStatus>) -> Option<String> {
    match status.map(|s| &s.state) {
        Some(State::Ready) => None,
        Some(State::Pending { stage, why }) => Some(format!("stage {stage} is not done: {why}")),
        Some(State::Failed { stage, error, .. }) => Some(format!("stage {stage} failed: {error}")),
        Some(State::Removing { .. }) => Some("it is being removed".to_owned()),
        None => Some("the agent has not looked at it yet".to_owned()),
    }
}

async fn link_faults(
    context: &Context,
    asked: &Asked,
    entry: &Entry,
    status: Option<&EndpointStatus>,
) -> Vec<String> {
    let ifname = &asked.id.ifname;
    let link = match context.links.inspect_pod_link(&asked.netns, ifname).await {
        Ok(Some(link)) => link,
        Ok(None) => return vec![format!("there is no interface {ifname} in {}", entry.endpoint.netns)],
        Err(error) => return vec![crate::report::chain(&error)],
    };
    let mut found = Vec::new();
    if status.and_then(|s| s.ifindex) != Some(link.peer.0) {
        found.push(format!("interface {ifname} is not the other end of {}", entry.endpoint.host_ifname()));
    }
    if link.mac != entry.endpoint.mac {
        found.push(format!("interface {ifname} has MAC {}, not {}", link.mac, entry.endpoint.mac));
    }
    if !link.is_up {
        found.push(format!("interface {ifname} is down"));
    }
    for address in entry.endpoint.addresses.iter().filter(|a| !link.addresses.contains(a)) {
        found.push(format!("interface {ifname} has no address {address}"));
    }
    let host_up = context
        .links
        .observe()
        .await
        .ok()
        .and_then(|v| v.get(&entry.endpoint.host_ifname()).map(|v| v.is_up));
    if host_up == Some(false) {
        found.push(format!("host veth {} is down", entry.endpoint.host_ifname()));
    }
    found
}
