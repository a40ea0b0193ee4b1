//! `drops`: what the guard stopped, by endpoint and reason, and with `--watch` frame by frame.

use agent_api::control::v1::{DropEvent, DropsRequest, EndpointDrops, ReasonCount, drops_reply};
use serde::Serialize;

use super::events::lost_note;
use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid};
use crate::screen::Screen;
use crate::session::{Session, answer, next};
use crate::{frame, names, time};

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
    /// Each frame once, whichever walls counted it.
    pub(super) frames: u64,
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
    let in_full = !endpoint.is_empty();
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
    } else if in_full {
        screen.grid(&full(&drops), "no drops")?;
    } else {
        screen.grid(&grid(&drops), "no drops")?;
    }
    Ok(Found::Nothing)
}

fn grid(drops: &[EndpointDrops]) -> Grid {
    let mut grid =
        Grid::new(["ENDPOINT", "REASON", "FRAMES", "LAST OFFENDER"]).whole(&["REASON", "FRAMES", "ENDPOINT"]);
    for counters in drops {
        let endpoint = names::endpoint(counters.endpoint.as_ref());
        for count in &counters.reasons {
            grid.row([
                endpoint.as_str().into(),
                names::reason(count.reason).into(),
                Field::number(count.frames),
                last(counters, count).unwrap_or_default().into(),
            ]);
        }
    }
    grid
}

/// By wall, with what the reasons mean.
fn full(drops: &[EndpointDrops]) -> Grid {
    let mut grid = Grid::new(["REASON", "FRAMES", "EBPF", "OPENFLOW", "MEANING"])
        .whole(&["REASON", "FRAMES", "EBPF", "OPENFLOW"]);
    for counters in drops {
        for count in &counters.reasons {
            let meaning = names::meaning(count.reason);
            let last = last(counters, count).map(|last| format!("\nlast {last}")).unwrap_or_default();
            grid.row([
                names::reason(count.reason).into(),
                Field::number(count.frames),
                Field::number(count.ebpf),
                Field::number(count.openflow),
                format!("{meaning}{last}").into(),
            ]);
        }
    }
    grid
}

/// The last offender, if it was for this reason.
fn last(counters: &EndpointDrops, count: &ReasonCount) -> Option<String> {
    let last = counters.last.as_ref().filter(|last| last.reason == count.reason)?;
    Some(format!("{} ago: {}", time::age(last.at_unix_ns), frame::describe(&last.head)))
}

fn show(screen: &Screen, event: DropEvent) -> Result<(), Failure> {
    if screen.is_json() {
        return Ok(screen.json_line(&PrintedDrop::from(event))?);
    }
    let clock = time::clock(event.at_unix_ns);
    let endpoint = names::endpoint(event.endpoint.as_ref());
    let vlan = event.vlan.map(|tci| format!(" vlan {}", tci & VLAN_ID)).unwrap_or_default();
    let (reason, said) = (names::reason(event.reason), frame::describe(&event.head));
    Ok(screen.line(&format!("{clock}  {endpoint}  {reason}{vlan}  {} bytes  {said}", event.length))?)
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
        let ReasonCount { frames, ebpf, openflow, .. } = count;
        Self { reason: names::reason(count.reason), frames, ebpf, openflow }
    }
}

impl From<DropEvent> for PrintedDrop {
    fn from(event: DropEvent) -> Self {
        Self {
            reason: names::reason(event.reason),
            at: time::stamp(event.at_unix_ns),
            vlan_tci: event.vlan,
            length: event.length,
            head: frame::hex(&event.head, ""),
            endpoint: event.endpoint.map(|endpoint| endpoint.id),
        }
    }
}

/// The VLAN id's bits of a TCI (IEEE 802.1Q).
const VLAN_ID: u32 = 0xfff;
