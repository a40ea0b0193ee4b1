//! `drops`: what the guard stopped, by endpoint and reason, and with `--watch` frame by frame.

use agent_api::control::v1::{DropEvent, DropsRequest, EndpointDrops, ReasonCount, drops_reply};
use serde::Serialize;

use super::events::lost_note;
use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid};
use crate::screen::Screen;
use crate::session::{Session, answer, next};
use crate::{names, time};

#[derive(Serialize)]
struct Printed {
    endpoint: Option<String>,
    slot: u32,
    reasons: Vec<PrintedCount>,
    last: Option<PrintedDrop>,
}

/// Counters of one reason; also a part of `endpoints`.
#[derive(Serialize)]
pub(super) struct PrintedCount {
    pub(super) reason: String,
    pub(super) ebpf: u64,
    pub(super) openflow: u64,
}

#[derive(Serialize)]
struct PrintedDrop {
    endpoint: Option<String>,
    reason: String,
    at: Option<String>,
    vlan_tci: Option<u32>,
    length: u32,
    /// The first bytes of the frame in hex.
    head: String,
}

pub(super) async fn run(
    mut session: Session,
    screen: &Screen,
    endpoint: String,
    watch: bool,
) -> Result<Found, Failure> {
    let mut parts = answer(session.agent.drops(DropsRequest { endpoint, watch })).await?;
    if watch {
        // No deadline: a person watches, and the next drop may be an hour away.
        while let Some(part) = parts.message().await? {
            match part.item {
                Some(drops_reply::Item::Event(event)) => show(screen, event)?,
                Some(drops_reply::Item::Lost(lost)) => screen.line(&lost_note(screen, lost))?,
                Some(drops_reply::Item::Counters(_)) | None => {}
            }
        }
        return Ok(Found::Nothing);
    }
    let mut drops = Vec::new();
    while let Some(part) = next(&mut parts).await? {
        if let Some(drops_reply::Item::Counters(counters)) = part.item {
            drops.push(counters);
        }
    }
    if screen.is_json() {
        screen.json(&drops.into_iter().map(Printed::from).collect::<Vec<_>>())?;
    } else {
        screen.grid(&grid(&drops), "no drops")?;
    }
    Ok(Found::Nothing)
}

fn grid(drops: &[EndpointDrops]) -> Grid {
    let mut grid =
        Grid::new(["ENDPOINT", "REASON", "EBPF", "OPENFLOW", "LAST OFFENDER"]).whole(&["REASON", "ENDPOINT"]);
    for counters in drops {
        let endpoint = names::endpoint(counters.endpoint.as_ref());
        for count in &counters.reasons {
            let last = counters.last.as_ref().filter(|last| last.reason == count.reason);
            let last =
                last.map(|last| format!("{} ago: {}", time::age(last.at_unix_ns), addresses(&last.head)));
            grid.row([
                endpoint.as_str().into(),
                names::reason(count.reason).into(),
                Field::number(count.ebpf),
                Field::number(count.openflow),
                last.unwrap_or_default().into(),
            ]);
        }
    }
    grid
}

fn show(screen: &Screen, event: DropEvent) -> Result<(), Failure> {
    if screen.is_json() {
        return Ok(screen.json_line(&PrintedDrop::from(event))?);
    }
    let clock = time::clock(event.at_unix_ns);
    let endpoint = names::endpoint(event.endpoint.as_ref());
    let vlan = event.vlan.map(|tci| format!(" vlan {}", tci & VLAN_ID)).unwrap_or_default();
    let (reason, addresses) = (names::reason(event.reason), addresses(&event.head));
    Ok(screen.line(&format!("{clock}  {endpoint}  {reason}{vlan}  {} bytes  {addresses}", event.length))?)
}

/// `from > to 0x0800` of an Ethernet header, or what there is of it in hex.
fn addresses(head: &[u8]) -> String {
    match (head.get(..6), head.get(6..12), head.get(12..14)) {
        (Some(to), Some(from), Some(ethertype)) => {
            format!("{} > {} 0x{}", hex(from, ":"), hex(to, ":"), hex(ethertype, ""))
        }
        _ => hex(head, ""),
    }
}

fn hex(bytes: &[u8], separator: &str) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(separator)
}

impl From<EndpointDrops> for Printed {
    fn from(drops: EndpointDrops) -> Self {
        Self {
            endpoint: drops.endpoint.map(|endpoint| endpoint.id),
            slot: drops.slot,
            reasons: drops.reasons.into_iter().map(PrintedCount::from).collect(),
            last: drops.last.map(PrintedDrop::from),
        }
    }
}

impl From<ReasonCount> for PrintedCount {
    fn from(count: ReasonCount) -> Self {
        Self { reason: names::reason(count.reason), ebpf: count.ebpf, openflow: count.openflow }
    }
}

impl From<DropEvent> for PrintedDrop {
    fn from(event: DropEvent) -> Self {
        Self {
            reason: names::reason(event.reason),
            at: time::stamp(event.at_unix_ns),
            vlan_tci: event.vlan,
            length: event.length,
            head: hex(&event.head, ""),
            endpoint: event.endpoint.map(|endpoint| endpoint.id),
        }
    }
}

/// The VLAN id's bits of a TCI (IEEE 802.1Q).
const VLAN_ID: u32 = 0xfff;
