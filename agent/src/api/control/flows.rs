//! `agentctl flows dump`: what is on the switch, beside what should be there, with names.

use std::collections::{BTreeMap, BTreeSet};

use agent_api::control::v1 as pb;
use openflow::{FlowKey, TableId};
use tonic::Status;

use super::convert::{millis, of_endpoint, reason};
use super::select::{self, Chosen};
use super::{Context, Outlet};
use crate::dataplane::flows::FlowEntry;
use crate::model::{Entry, Intent, OfPort};
use crate::plan::flows::{Block, Bound, Cookie, FlowSet, desired};
use crate::report::chain;

/// Flows in one message.
const BATCH: usize = 200;

/// A request, understood.
pub(super) struct Wanted {
    chosen: Chosen,
    table: Option<TableId>,
    bridge: String,
    only_differences: bool,
}

impl Wanted {
    pub(super) fn new(context: &Context, request: pb::FlowsRequest) -> Result<Self, Status> {
        let block = Block::new(context.config.ovs.table_base);
        let table = match request.table.as_str() {
            "" => None,
            text => Some(table(block, text)?),
        };
        select::bridge(context, &request.bridge)?;
        let chosen = select::endpoints(context, &request.endpoint)?;
        Ok(Self { chosen, table, bridge: request.bridge, only_differences: request.diff })
    }

    fn takes(&self, flow: &pb::Flow, intent: &Intent) -> bool {
        use pb::FlowStatus::{NotOurs, Present};
        let differs = !matches!(flow.status(), NotOurs | Present);
        let slot = flow.decoded.as_ref().map(|c| c.slot);
        let owned = intent.endpoints.values().find(|e| Some(e.slot.index) == slot);
        let chosen = self.chosen.is_all() || owned.is_some_and(|e| self.chosen.contains(&e.endpoint.id));
        let table = self.table.is_none_or(|t| u32::from(t.0) == flow.table);
        chosen && table && (differs || !self.only_differences)
    }
}

fn table(block: Block, text: &str) -> Result<TableId, Status> {
    if let Some((table, _)) = block.names().iter().find(|(_, name)| *name == text) {
        return Ok(*table);
    }
    let names: Vec<_> = block.names().iter().map(|(_, name)| *name).collect();
    let unknown = || {
        Status::invalid_argument(format!("`{text}` is no table: a number, or one of {}", names.join(", ")))
    };
    text.parse().map(TableId).map_err(|_| unknown())
}

pub(super) async fn produce(
    context: Context,
    wanted: Wanted,
    out: Outlet<pb::FlowsReply>,
) -> Result<(), Status> {
    let intent = context.store.intent();
    // One that is named is looked at although nobody lives there. One that is gone is one that cannot be read.
    let bridges: BTreeSet<String> = match wanted.bridge.as_str() {
        "" => {
            let lived_on = intent.endpoints.values().map(|entry| entry.endpoint.bridge.clone());
            context.switches.watch().borrow().keys().cloned().chain(lived_on).collect()
        }
        named => [named.to_owned()].into(),
    };
    for bridge in bridges {
        let dump = Dump::new(&context, &intent, bridge);
        let end = one_bridge(&context, &wanted, &dump, &intent, &out).await?;
        out.send(pb::FlowsReply { flows: Vec::new(), end: Some(end) }).await?;
    }
    Ok(())
}

/// Sends the flows of one bridge. That it cannot be read is no reason to say nothing of the others.
async fn one_bridge(
    context: &Context,
    wanted: &Wanted,
    dump: &Dump<'_>,
    intent: &Intent,
    out: &Outlet<pb::FlowsReply>,
) -> Result<pb::BridgeDump, Status> {
    let mut end = pb::BridgeDump { bridge: dump.bridge.clone(), ..pb::BridgeDump::default() };
    let mut stream = match context.switches.dump_all(&dump.bridge).await {
        Ok(stream) => stream,
        Err(error) => return Ok(pb::BridgeDump { error: chain(&error), ..end }),
    };
    let mut missing = dump.expected.clone();
    while let Some(part) = stream.next().await {
        let part = match part {
            Ok(part) => part,
            Err(error) => return Ok(pb::BridgeDump { error: chain(&error), ..end }),
        };
        let mut flows = Vec::new();
        for entry in part {
            missing.remove(&entry.flow.key());
            end.ours += u64::from(Cookie::parse(entry.flow.cookie).is_some());
            flows.push(dump.describe(&entry));
        }
        send(out, flows, wanted, intent).await?;
    }
    let flows = missing.into_values().map(|flow| dump.missing(&flow)).collect();
    send(out, flows, wanted, intent).await?;
    Ok(end)
}

async fn send(
    out: &Outlet<pb::FlowsReply>,
    flows: Vec<pb::Flow>,
    wanted: &Wanted,
    intent: &Intent,
) -> Result<(), Status> {
    let mut flows: Vec<_> = flows.into_iter().filter(|f| wanted.takes(f, intent)).collect();
    while !flows.is_empty() {
        let rest = flows.split_off(flows.len().min(BATCH));
        out.send(pb::FlowsReply { flows, end: None }).await?;
        flows = rest;
    }
    Ok(())
}

/// One bridge's dump.
struct Dump<'a> {
    bridge: String,
    block: Block,
    expected: FlowSet,
    by_slot: BTreeMap<u32, &'a Entry>,
}

impl<'a> Dump<'a> {
    fn new(context: &Context, intent: &'a Intent, bridge: String) -> Self {
        let block = Block::new(context.config.ovs.table_base);
        let status = context.reconcile.status();
        let entries = || intent.endpoints.values().filter(|e| e.endpoint.bridge == bridge).map(AsRef::as_ref);
        let bound: Vec<_> = entries()
            .filter_map(|entry: &Entry| {
                let ofport = status.endpoints.get(&entry.endpoint.id)?.ofport?;
                Some(Bound {
                    slot: entry.slot,
                    ofport: OfPort(ofport),
                    vlan: entry.endpoint.vlan.clone(),
                    guard: entry.endpoint.guard,
                    sources: entry.endpoint.sources(),
                })
            })
            .collect();
        let by_slot = entries().map(|e| (e.slot.index, e)).collect();
        Self { expected: desired(block, &bound), block, by_slot, bridge }
    }

    fn describe(&self, entry: &FlowEntry) -> pb::Flow {
        let key = entry.flow.key();
        let status = match self.expected.get(&key) {
            Some(expected) if *expected == entry.flow => pb::FlowStatus::Present,
            Some(_) => pb::FlowStatus::Drift,
            None if self.block.owns(&key, entry.flow.cookie) => pb::FlowStatus::Drift,
            None => pb::FlowStatus::NotOurs,
        };
        pb::Flow {
            packets: entry.packet_count.unwrap_or_default(),
            bytes: entry.byte_count.unwrap_or_default(),
            duration_ms: millis(entry.duration),
            ..self.flow(&key, &entry.flow, status)
        }
    }

    fn missing(&self, flow: &openflow::Flow) -> pb::Flow {
        self.flow(&flow.key(), flow, pb::FlowStatus::Missing)
    }

    fn flow(&self, key: &FlowKey, flow: &openflow::Flow, status: pb::FlowStatus) -> pb::Flow {
        let cookie = Cookie::parse(flow.cookie);
        let owner = cookie.and_then(|c| self.by_slot.get(&c.slot));
        let name = self.block.names().iter().find(|(table, _)| *table == key.table).map(|(_, name)| *name);
        pb::Flow {
            bridge: self.bridge.clone(),
            table: u32::from(key.table.0),
            table_name: name.unwrap_or_default().to_owned(),
            priority: u32::from(key.priority),
            cookie: flow.cookie,
            decoded: cookie.map(|c| pb::Cookie {
                abi: 1,
                kind: u32::from(c.kind),
                reason: reason(c.kind).into(),
                slot: c.slot,
            }),
            endpoint: owner.map(|e| of_endpoint(&e.endpoint)),
            r#match: flow.matching.to_string(),
            actions: flow.instructions.to_string(),
            status: status.into(),
            ..pb::Flow::default()
        }
    }
}
