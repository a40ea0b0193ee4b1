//! `gateways`: how the gateways fare; exit status 1 if one is lost or doubled.

use agent_api::control::v1::{Gateway, GatewayState, GatewaysRequest};
use serde::Serialize;

use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid, Mood};
use crate::screen::Screen;
use crate::session::{Session, answer};
use crate::{names, time};

#[derive(Serialize)]
struct Printed {
    bridge: String,
    vlan: u32,
    address: String,
    state: String,
    macs: Vec<String>,
    last_seen: Option<String>,
    since: Option<String>,
    watcher: Option<String>,
    used_by: u32,
}

pub(super) async fn run(mut session: Session, screen: &Screen, bridge: String) -> Result<Found, Failure> {
    let gateways = answer(session.agent.gateways(GatewaysRequest { bridge })).await?.gateways;
    let is_sick = |gateway: &Gateway| matches!(gateway.state(), GatewayState::Lost | GatewayState::Duplicate);
    let found = Found::if_any(gateways.iter().any(is_sick));
    if screen.is_json() {
        screen.json(&gateways.into_iter().map(Printed::from).collect::<Vec<_>>())?;
    } else {
        screen.grid(&grid(&gateways), "no gateways")?;
    }
    Ok(found)
}

fn grid(gateways: &[Gateway]) -> Grid {
    let mut grid = Grid::new(["BRIDGE", "VLAN", "GATEWAY", "STATE", "SINCE", "MAC", "SEEN", "USED BY"])
        .whole(&["GATEWAY", "MAC", "STATE"]);
    for gateway in gateways {
        let mood = match gateway.state() {
            GatewayState::Unknown => Mood::Plain,
            GatewayState::Reachable => Mood::Good,
            GatewayState::MacChanged => Mood::Warning,
            GatewayState::Lost | GatewayState::Duplicate => Mood::Bad,
        };
        grid.row([
            gateway.bridge.as_str().into(),
            Field::number(gateway.vlan.into()),
            gateway.address.as_str().into(),
            Field::new(names::gateway_state(gateway.state), mood),
            time::age(gateway.since_unix_ns).into(),
            names::or_dash(&gateway.macs.join("\n")).into(),
            time::age(gateway.last_seen_unix_ns).into(),
            Field::number(gateway.used_by.into()),
        ]);
    }
    grid
}

impl From<Gateway> for Printed {
    fn from(gateway: Gateway) -> Self {
        Self {
            state: names::gateway_state(gateway.state),
            last_seen: time::stamp(gateway.last_seen_unix_ns),
            since: time::stamp(gateway.since_unix_ns),
            watcher: gateway.watcher.map(|watcher| watcher.id),
            bridge: gateway.bridge,
            vlan: gateway.vlan,
            address: gateway.address,
            macs: gateway.macs,
            used_by: gateway.used_by,
        }
    }
}
