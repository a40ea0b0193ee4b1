//! `accel`: who talks past the bridge, and why not.

use agent_api::control::v1::accel_request::Pair;
use agent_api::control::v1::{
    AccelEndpoint, AccelPair, AccelReason, AccelRequest, AccelSummary, EndpointAccel,
};
use serde::Serialize;

use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid, Mood};
use crate::names;
use crate::screen::Screen;
use crate::session::{Session, answer};

#[derive(Serialize)]
struct Printed {
    enabled: bool,
    leased: bool,
    lease_left_ms: u64,
    endpoints: Vec<PrintedEndpoint>,
}

#[derive(Serialize)]
struct PrintedEndpoint {
    endpoint: String,
    bridge: String,
    #[serde(flatten)]
    accel: PrintedAccel,
}

/// Acceleration of one endpoint; also a part of `endpoints`.
#[derive(Serialize)]
pub(super) struct PrintedAccel {
    pub(super) on: bool,
    pub(super) reasons: Vec<PrintedReason>,
    pub(super) tx_packets: u64,
    pub(super) tx_bytes: u64,
    pub(super) rx_packets: u64,
    pub(super) rx_bytes: u64,
}

#[derive(Serialize)]
pub(super) struct PrintedReason {
    pub(super) code: String,
    pub(super) text: String,
}

#[derive(Serialize)]
struct PrintedPair {
    from: String,
    to: String,
    on: bool,
    conditions: Vec<PrintedCondition>,
}

#[derive(Serialize)]
struct PrintedCondition {
    met: bool,
    #[serde(flatten)]
    reason: PrintedReason,
}

pub(super) async fn list(mut session: Session, screen: &Screen) -> Result<Found, Failure> {
    let reply = answer(session.agent.accel(AccelRequest { explain: None })).await?;
    let summary = reply.summary.unwrap_or_default();
    if screen.is_json() {
        let endpoints = reply.endpoints.into_iter().map(PrintedEndpoint::from).collect();
        let AccelSummary { enabled, leased, lease_left_ms, .. } = summary;
        screen.json(&Printed { enabled, leased, lease_left_ms, endpoints })?;
    } else {
        screen.line(&format!("acceleration past OVS is {}", in_words(&summary)))?;
        screen.grid(&grid(&reply.endpoints), "no endpoints")?;
        if reply.endpoints.iter().any(|endpoint| endpoint.accel.as_ref().is_some_and(|accel| !accel.on)) {
            screen.line("off: guarded all the same, frames go through the bridge")?;
        }
    }
    Ok(Found::Nothing)
}

pub(super) async fn explain(
    mut session: Session,
    screen: &Screen,
    from: String,
    to: String,
) -> Result<Found, Failure> {
    let request = AccelRequest { explain: Some(Pair { from, to }) };
    let pairs = answer(session.agent.accel(request)).await?.pairs;
    if screen.is_json() {
        screen.json(&pairs.into_iter().map(PrintedPair::from).collect::<Vec<_>>())?;
        return Ok(Found::Nothing);
    }
    for pair in &pairs {
        let (from, to) = (names::endpoint(pair.from.as_ref()), names::endpoint(pair.to.as_ref()));
        let way = if pair.on { "past the bridge" } else { "through the bridge" };
        screen.line(&format!("{from} to {to}: frames go {way}"))?;
        let mut grid = Grid::new([]);
        for condition in &pair.conditions {
            let reason = condition.reason.clone().unwrap_or_default();
            let (word, mood) = if condition.met { ("ok", Mood::Good) } else { ("no", Mood::Bad) };
            grid.row([Field::new(word, mood), reason.code.into(), reason.text.into()]);
        }
        screen.grid(&grid, "no conditions")?;
    }
    Ok(Found::Nothing)
}

/// The node-wide state as a phrase.
pub(super) fn in_words(summary: &AccelSummary) -> String {
    let AccelSummary { enabled, leased, lease_left_ms, on, off } = summary;
    let all = on.saturating_add(*off);
    match (enabled, leased) {
        (false, _) => "off by configuration".to_owned(),
        (true, false) => format!("off: the agent holds no lease; possible for {on} of {all} endpoints"),
        (true, true) => format!("on for {on} of {all} endpoints (lease for {} s more)", lease_left_ms / 1000),
    }
}

fn grid(endpoints: &[AccelEndpoint]) -> Grid {
    let mut grid =
        Grid::new(["ENDPOINT", "BRIDGE", "ACCEL", "TX", "RX", "WHY NOT"]).whole(&["ENDPOINT", "TX", "RX"]);
    for endpoint in endpoints {
        let accel = endpoint.accel.clone().unwrap_or_default();
        let (word, mood) = if accel.on { ("on", Mood::Good) } else { ("off", Mood::Plain) };
        let reasons: Vec<_> = accel.reasons.iter().map(|reason| reason.text.as_str()).collect();
        grid.row([
            names::endpoint(endpoint.endpoint.as_ref()).into(),
            endpoint.bridge.as_str().into(),
            Field::new(word, mood),
            Field::number(accel.tx_packets),
            Field::number(accel.rx_packets),
            reasons.join("\n").into(),
        ]);
    }
    grid
}

impl From<AccelEndpoint> for PrintedEndpoint {
    fn from(endpoint: AccelEndpoint) -> Self {
        Self {
            endpoint: names::endpoint(endpoint.endpoint.as_ref()),
            bridge: endpoint.bridge,
            accel: endpoint.accel.unwrap_or_default().into(),
        }
    }
}

impl From<EndpointAccel> for PrintedAccel {
    fn from(accel: EndpointAccel) -> Self {
        Self {
            on: accel.on,
            reasons: accel.reasons.into_iter().map(PrintedReason::from).collect(),
            tx_packets: accel.tx_packets,
            tx_bytes: accel.tx_bytes,
            rx_packets: accel.rx_packets,
            rx_bytes: accel.rx_bytes,
        }
    }
}

impl From<AccelReason> for PrintedReason {
    fn from(reason: AccelReason) -> Self {
        Self { code: reason.code, text: reason.text }
    }
}

impl From<AccelPair> for PrintedPair {
    fn from(pair: AccelPair) -> Self {
        let conditions = pair.conditions.into_iter().map(|condition| PrintedCondition {
            met: condition.met,
            reason: condition.reason.unwrap_or_default().into(),
        });
        Self {
            from: names::endpoint(pair.from.as_ref()),
            to: names::endpoint(pair.to.as_ref()),
            on: pair.on,
            conditions: conditions.collect(),
        }
    }
}
