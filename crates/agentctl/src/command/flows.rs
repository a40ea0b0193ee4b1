//! `flows dump`: the switch's rules with the names of the pods they belong to, beside what should be there.
//!
//! A flow is one line, however long: it is made to be searched. The match and the actions are in `ovs-ofctl` syntax.

mod switch;

use std::path::Path;
use std::time::Duration;

use agent_api::control::v1::{BridgeDump, Flow, FlowStatus, FlowsRequest};
use serde::Serialize;

use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid, Mood};
use crate::screen::Screen;
use crate::session::{Session, answer, next};
use crate::{names, time};

#[derive(Serialize)]
struct Printed {
    bridge: String,
    table: u32,
    table_name: String,
    priority: u32,
    cookie: String,
    kind: Option<String>,
    slot: Option<u32>,
    endpoint: Option<String>,
    r#match: String,
    actions: String,
    packets: u64,
    bytes: u64,
    duration_ms: u64,
    status: String,
}

pub(super) async fn run(
    mut session: Session,
    screen: &Screen,
    endpoint: String,
    table: String,
    bridge: String,
    diff: bool,
) -> Result<Found, Failure> {
    let request = FlowsRequest { endpoint, table, bridge, diff };
    let mut parts = answer(session.agent.flows(request)).await?;
    let (mut flows, mut bridges) = (Vec::new(), Vec::new());
    while let Some(part) = next(&mut parts).await? {
        flows.extend(part.flows);
        bridges.extend(part.end);
    }
    let found = Found::if_any(diff && !flows.is_empty());
    let unread = bridges.iter().filter(|bridge| !bridge.error.is_empty());
    let unread: Vec<_> = unread.map(|bridge| format!("bridge {}: {}", bridge.bridge, bridge.error)).collect();
    if screen.is_json() {
        screen.json(&flows.into_iter().map(Printed::from).collect::<Vec<_>>())?;
    } else if flows.is_empty() && diff {
        screen.line(no_difference(&bridges, unread.len()))?;
    } else {
        show(screen, &flows)?;
        for line in silent(&flows, &bridges) {
            screen.line(&line)?;
        }
    }
    // What could be had was shown; the exit status says that it is not all.
    if unread.is_empty() { Ok(found) } else { Err(Failure::Partial(unread.join("; "))) }
}

/// What no difference means: nothing of bridges that could not be read.
fn no_difference(bridges: &[BridgeDump], unread: usize) -> &'static str {
    match (bridges.len(), unread) {
        (0, _) => "no bridge in use",
        (_, 0) => "no difference",
        (all, unread) if all == unread => "nothing is known: no bridge could be read",
        _ => "no difference on the bridges that could be read",
    }
}

/// What is to be said of bridges that were read and of which no flow is shown.
fn silent(flows: &[Flow], bridges: &[BridgeDump]) -> Vec<String> {
    if bridges.is_empty() {
        return vec!["no bridge in use".to_owned()];
    }
    let read = bridges.iter().filter(|bridge| bridge.error.is_empty());
    let silent = read.filter(|one| one.ours == 0 || flows.iter().all(|flow| flow.bridge != one.bridge));
    let describe = |one: &BridgeDump| match one.ours {
        0 => format!("bridge {}: no flows of ours", one.bridge),
        ours => format!("bridge {}: none of its {ours} flows of ours is what was asked for", one.bridge),
    };
    silent.map(describe).collect()
}

/// The flows of a bridge from its own socket; a table has a number there, names are the agent's.
pub(super) fn from_switch(socket: &Path, table: Option<&str>, has_names: bool) -> Result<Found, Failure> {
    let table = table.map(|number| number.parse().map_err(|_| Failure::NoTable(number.to_owned())));
    switch::run(socket, table.transpose()?, has_names)
}

/// One table for each table of each bridge.
fn show(screen: &Screen, flows: &[Flow]) -> Result<(), Failure> {
    let same_table = |left: &Flow, right: &Flow| left.bridge == right.bridge && left.table == right.table;
    for (index, group) in flows.chunk_by(same_table).enumerate() {
        let Some(Flow { bridge, table, table_name, .. }) = group.first() else { continue };
        let gap = if index == 0 { "" } else { "\n" };
        screen.line(format!("{gap}bridge {bridge}, table {table} {table_name}").trim_end_matches(' '))?;
        screen.wide_grid(&grid(group))?;
    }
    Ok(())
}

fn grid(flows: &[Flow]) -> Grid {
    let mut grid = Grid::new(["STATUS", "ENDPOINT", "KIND", "PACKETS", "BYTES", "AGE", "FLOW"]);
    for flow in flows {
        let (word, mood) = match flow.status() {
            FlowStatus::Present => ("ok", Mood::Good),
            FlowStatus::Missing => ("missing", Mood::Bad),
            FlowStatus::Drift => ("drift", Mood::Bad),
            FlowStatus::NotOurs => ("foreign", Mood::Plain),
            FlowStatus::Unspecified => ("?", Mood::Plain),
        };
        grid.row([
            Field::new(word, mood),
            names::endpoint(flow.endpoint.as_ref()).into(),
            kind(flow).unwrap_or_else(|| "-".to_owned()).into(),
            Field::number(flow.packets),
            Field::number(flow.bytes),
            time::span(Duration::from_millis(flow.duration_ms)).into(),
            text(flow).into(),
        ]);
    }
    grid
}

/// `priority=200,arp,in_port=1 actions=goto_table:221`
fn text(flow: &Flow) -> String {
    let comma = if flow.r#match.is_empty() { "" } else { "," };
    format!("priority={}{comma}{} actions={}", flow.priority, flow.r#match, flow.actions)
}

/// What the cookie says the flow is for; `None` for somebody else's.
fn kind(flow: &Flow) -> Option<String> {
    let cookie = flow.decoded.as_ref()?;
    Some(if cookie.kind == 0 { "shared".to_owned() } else { names::reason(cookie.reason) })
}

impl From<Flow> for Printed {
    fn from(flow: Flow) -> Self {
        Self {
            kind: kind(&flow),
            cookie: format!("{:#018x}", flow.cookie),
            slot: flow.decoded.map(|cookie| cookie.slot),
            endpoint: flow.endpoint.map(|endpoint| endpoint.id),
            status: names::flow_status(flow.status),
            bridge: flow.bridge,
            table: flow.table,
            table_name: flow.table_name,
            priority: flow.priority,
            r#match: flow.r#match,
            actions: flow.actions,
            packets: flow.packets,
            bytes: flow.bytes,
            duration_ms: flow.duration_ms,
        }
    }
}
