//! ADD: intent first, then the address, then wait for the reconciler, then the result; all of it withdrawn if the
//! runtime does not get to know.

use std::sync::Arc;

use agent_api::cni::v1::{Start, Verb};
use tokio::time::{Instant, timeout_at};

use super::ipam::{Delegate, Returned, gone_error, held, run_of};
use super::request::{Asked, check_mtu, with_addresses};
use super::{Context, asked_at, finish, outage};
use crate::api::shim::{Gone, Shim};
use crate::cni::ipam::{self, allocated};
use crate::cni::result::{Interface, Ip, Route};
use crate::cni::{CniError, CniResult, Code, Version};
use crate::events::{EventKind, Subject};
use crate::limits::DEL_PATIENCE;
use crate::model::{EndpointId, Entry, Generation, Ipam, Phase, StageError, State};
use crate::store::{NewEntry, Remove, Reservation, StoreError};

/// Serves an ADD to its `Ack`.
pub(super) async fn run(context: &Context, pid: i32, start: &Start, mut shim: Shim, version: Version) {
    let deadline = Instant::now() + context.config.cni.timeout;
    let asked = match Asked::parse(context, pid, start) {
        Ok(asked) => asked,
        Err(error) => {
            finish(&mut shim, Err(error), version).await;
            return;
        }
    };
    let created = match begin(context, &asked, start, &mut shim, deadline).await {
        Ok(Begun::New(created)) => created,
        Ok(Begun::Same(stdout)) => {
            finish(&mut shim, Ok(stdout), version).await;
            return;
        }
        Err(error) => {
            finish(&mut shim, Err(error), version).await;
            return;
        }
    };
    let title = title(context, &asked.id);
    let built = build(context, &asked, start, &mut shim, created, deadline).await;
    match built {
        Ok(stdout) => {
            // Before the runtime hears of it: whatever it was told outlives this process.
            if let Err(error) = context.store.commit(&asked.id, created).await {
                tracing::info!(endpoint = %asked.id, %error, "not committed");
                withdraw(context, &asked, start, created, Reservation::AgentReleases).await;
                finish(&mut shim, Err(store_error(&error)), version).await;
            } else if finish(&mut shim, Ok(stdout), version).await {
                let text = format!("{title} is ready");
                context.events.record(EventKind::EndpointAdded, &asked.id, text);
            } else {
                tracing::info!(endpoint = %asked.id, "the runtime did not take the result, withdrawing");
                withdraw(context, &asked, start, created, Reservation::AgentReleases).await;
            }
        }
        Err(Failed { error, ipam_refused }) => {
            let text = format!("ADD of {title} failed: {} {}", error.msg, error.details);
            // Its pod is told along: the intent is about to forget it.
            let subject = Subject::Endpoint(asked.id.clone(), asked.args.pod.clone());
            context.events.record(EventKind::EndpointFailed, subject, text.trim_end());
            let reservation = release(context, &asked, start, &mut shim, created, ipam_refused).await;
            withdraw(context, &asked, start, created, reservation).await;
            finish(&mut shim, Err(error), version).await;
        }
    }
}

enum Begun {
    New(Generation),
    /// The endpoint is there already, just as asked for: its result.
    Same(Vec<u8>),
}

/// Makes the intent, after whatever had this id before is out of the way.
async fn begin(
    context: &Context,
    asked: &Asked,
    start: &Start,
    shim: &mut Shim,
    deadline: Instant,
) -> Result<Begun, CniError> {
    if let Some(entry) = context.store.intent().endpoints.get(&asked.id).cloned() {
        if entry.request == asked.digest
            && entry.phase == Phase::Live
            && still_there(context, asked, &entry).await
        {
            return Ok(Begun::Same(result(&entry)?.to_json(asked.conf.head.version)));
        }
        withdraw(context, asked, start, entry.created, Reservation::AgentReleases).await;
    }
    // Before waiting for a former attachment to go: its removal may wait for the very switch that is away.
    let ovs = outage::database(context).await;
    let bridge = asked.bridge(&ovs)?;
    if let Some(error) = outage::known(context, &bridge) {
        return Err(error);
    }
    wait_until_free(context, &asked.id, deadline).await?;
    let ovs = outage::database(context).await;
    let endpoint = asked.endpoint(&context.config, &ovs, &start.netns)?;
    let ipam = match &asked.conf.head.ipam {
        None => None,
        Some(plugin) => {
            let delegate = Delegate { plugin, path: &start.path, head: &asked.conf.head };
            // A plugin that is missing is found out before anything is made.
            delegate.version(context, shim).await?;
            Some(held(plugin, start))
        }
    };
    let new = NewEntry { endpoint, ipam, request: asked.digest, asked_at: asked_at(start) };
    let entry = context.store.put(new).await.map_err(|error| store_error(&error))?;
    context.reconcile.hold(asked.id.clone(), entry.created, asked.netns.clone()).await;
    Ok(Begun::New(entry.created))
}

/// Why an ADD that had begun came to nothing.
struct Failed {
    error: CniError,
    /// The IPAM plugin said no in its own words, and so gave nothing.
    ipam_refused: bool,
}

impl From<CniError> for Failed {
    fn from(error: CniError) -> Self {
        Self { error, ipam_refused: false }
    }
}

/// Addresses, then the data plane; the result as the runtime gets it.
async fn build(
    context: &Context,
    asked: &Asked,
    start: &Start,
    shim: &mut Shim,
    created: Generation,
    deadline: Instant,
) -> Result<Vec<u8>, Failed> {
    let entry = current(context, &asked.id, created)?;
    let mut endpoint = entry.endpoint.clone();
    if let Some(plugin) = &asked.conf.head.ipam {
        let delegate = Delegate { plugin, path: &start.path, head: &asked.conf.head };
        let done = timeout_at(deadline, delegate.run(context, shim, Verb::Add, None)).await;
        let done = done.map_err(|_| late("the IPAM plugin"))??;
        let run = run_of(plugin, &done);
        let allocation =
            allocated(run).map_err(|error| Failed { error, ipam_refused: ipam::refused(run) })?;
        if let Some(ipam) = entry.ipam.clone() {
            let text = String::from_utf8_lossy(&allocation.to_json(Version::NEWEST)).into_owned();
            let held = Ipam { result: Some(text), ..ipam };
            context.store.set_ipam(&asked.id, created, held).await.map_err(|e| store_error(&e))?;
        }
        endpoint = with_addresses(endpoint, &allocation);
    }
    check_mtu(&endpoint)?;
    let entry = context.store.set_endpoint(created, endpoint).await.map_err(|e| store_error(&e))?;
    tokio::select! {
        ready = until_ready(context, &entry, deadline) => ready?,
        () = shim.gone() => return Err(gone_error(Gone).into()),
        error = outage::lasting(context, &entry.endpoint.bridge) => return Err(error.into()),
    }
    // Once more, for what IPAM said is in the ledger since.
    let entry = current(context, &asked.id, created)?;
    Ok(result(&entry)?.to_json(asked.conf.head.version))
}

/// Waits for the reconciler's verdict on this revision of the endpoint.
async fn until_ready(context: &Context, entry: &Entry, deadline: Instant) -> Result<(), CniError> {
    let id = &entry.endpoint.id;
    let mut status = context.reconcile.watch();
    let mut last = "nothing has happened yet".to_owned();
    loop {
        current(context, id, entry.created)?;
        if let Some(seen) =
            status.borrow_and_update().endpoints.get(id).filter(|s| s.revision >= entry.revision)
        {
            match &seen.state {
                State::Ready => return Ok(()),
                State::Failed { stage, error, .. } => return Err(stage_error(*stage, error)),
                State::Pending { stage, why } => last = format!("stage {stage}: {why}"),
                State::Removing { .. } => return Err(withdrawn()),
            }
        }
        match timeout_at(deadline, status.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(CniError::new(Code::TRY_AGAIN, "the agent is stopping")),
            Err(_) => return Err(late("the data plane").because(last)),
        }
    }
}

/// Waits until nothing is left of a former attachment of this id, and nobody is about to give its address back.
async fn wait_until_free(context: &Context, id: &EndpointId, deadline: Instant) -> Result<(), CniError> {
    let mut intent = context.store.watch();
    let free = intent.wait_for(|i| i.is_free(id));
    match timeout_at(deadline.min(Instant::now() + DEL_PATIENCE), free).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(CniError::new(Code::TRY_AGAIN, "the agent is stopping")),
        Err(_) => {
            let debt = context.store.intent().debts.get(id).map(|ipam| ipam.plugin.clone());
            let why = debt.map(|plugin| format!("IPAM plugin {plugin} has not taken its address back yet"));
            let msg = "a former attachment of this interface is still being removed";
            Err(CniError::new(Code::TRY_AGAIN, msg).because(why.unwrap_or_default()))
        }
    }
}

/// Whether the pod's end of a live endpoint is in the namespace that this call names.
async fn still_there(context: &Context, asked: &Asked, entry: &Entry) -> bool {
    let link = context.links.inspect_pod_link(&asked.netns, &asked.id.ifname).await.ok().flatten();
    let ifindex = context.reconcile.status().endpoints.get(&entry.endpoint.id).and_then(|s| s.ifindex);
    link.is_some_and(|link| Some(link.peer.0) == ifindex)
}

/// Has the IPAM plugin take the address back while the runtime is still there to do it in its own context. One that has
/// refused the ADD is asked all the same: it may have got half way.
async fn release(
    context: &Context,
    asked: &Asked,
    start: &Start,
    shim: &mut Shim,
    created: Generation,
    ipam_refused: bool,
) -> Reservation {
    let Some(plugin) = &asked.conf.head.ipam else { return Reservation::CallerReleases };
    let newer = context.store.intent().endpoints.get(&asked.id).is_some_and(|e| e.created != created);
    if newer {
        // The address is a successor's now.
        return Reservation::CallerReleases;
    }
    let delegate = Delegate { plugin, path: &start.path, head: &asked.conf.head };
    match delegate.give_back(context, shim).await {
        Returned::Yes => Reservation::CallerReleases,
        // It has given nothing, and takes nothing back.
        Returned::Refused(_) if ipam_refused => Reservation::CallerReleases,
        Returned::Refused(error) | Returned::Unclear(error) => {
            tracing::warn!(endpoint = %asked.id, msg = %error.msg, "the address is given back later");
            Reservation::AgentReleases
        }
    }
}

async fn withdraw(
    context: &Context,
    asked: &Asked,
    start: &Start,
    created: Generation,
    reservation: Reservation,
) {
    let id = &asked.id;
    let plugin = asked.conf.head.ipam.as_deref().map(|plugin| held(plugin, start));
    let remove = Remove { id: id.clone(), created: Some(created), deleted_at: None, reservation, plugin };
    if let Err(error) = context.store.remove(remove).await {
        tracing::error!(endpoint = %id, error = crate::report::chain(&error), "endpoint not withdrawn");
        return;
    }
    super::del::until_gone(context, id).await;
}

/// The entry that this call made, or the news that a DEL took it.
fn current(context: &Context, id: &EndpointId, created: Generation) -> Result<Arc<Entry>, CniError> {
    let intent = context.store.intent();
    intent.endpoints.get(id).filter(|e| e.created == created).cloned().ok_or_else(withdrawn)
}

/// The result: the bridge, the host veth, the pod's end, and what IPAM gave.
fn result(entry: &Entry) -> Result<CniResult, CniError> {
    let endpoint = &entry.endpoint;
    let ipam = entry.ipam.as_ref().and_then(|i| i.result.as_ref());
    let mut result = match ipam {
        Some(text) => CniResult::from_json(text.as_bytes())?,
        None => CniResult {
            ips: endpoint
                .addresses
                .iter()
                .map(|a| Ip { address: *a, gateway: None, interface: None })
                .collect(),
            routes: endpoint.routes.iter().map(|r| Route::new(r.destination, r.gateway)).collect(),
            ..CniResult::default()
        },
    };
    let host = |name: String| Interface { name, ..Interface::default() };
    let pod = Interface {
        name: endpoint.id.ifname.clone(),
        mac: Some(endpoint.mac.to_string()),
        mtu: Some(endpoint.mtu),
        sandbox: Some(endpoint.netns.clone()),
    };
    result.interfaces = vec![host(endpoint.bridge.clone()), host(endpoint.host_ifname()), pod];
    for ip in &mut result.ips {
        ip.interface = Some(result.interfaces.len() - 1);
    }
    Ok(result)
}

fn stage_error(stage: crate::model::Stage, error: &StageError) -> CniError {
    match error {
        StageError::Conflict { mac, .. } => {
            CniError::new(Code::ADDRESS_CONFLICT, error.to_string()).because(mac.to_string())
        }
        StageError::GatewaySilent { .. } => CniError::new(Code::GATEWAY_SILENT, error.to_string()),
        StageError::PortRefused(text) => {
            CniError::new(Code::PORT_REFUSED, "Open vSwitch refused the port").because(text.clone())
        }
        StageError::Guard(text) => {
            CniError::new(Code::GUARD_FAILED, "the guard could not be installed").because(text.clone())
        }
        StageError::Other(text) => {
            CniError::new(Code::IO_FAILURE, format!("setting up the interface failed at stage {stage}"))
                .because(text.clone())
        }
    }
}

fn store_error(error: &StoreError) -> CniError {
    match error {
        StoreError::Missing(_) => withdrawn(),
        StoreError::LateAdd | StoreError::Exists(_) | StoreError::Full(_) | StoreError::Ended => {
            CniError::new(Code::TRY_AGAIN, error.to_string())
        }
        StoreError::Ledger(_) => CniError::new(Code::IO_FAILURE, error.to_string()).caused_by(error),
    }
}

fn late(what: &str) -> CniError {
    CniError::new(Code::TRY_AGAIN, format!("{what} did not get ready in time"))
}

fn withdrawn() -> CniError {
    CniError::new(Code::TRY_AGAIN, "withdrawn by a DEL")
}

fn title(context: &Context, id: &EndpointId) -> String {
    context.store.intent().endpoints.get(id).map_or_else(|| id.to_string(), |e| e.endpoint.title())
}
