//! `conflicts`: who else uses our endpoints' addresses; exit status 1 if that goes on.

use agent_api::control::v1::{Conflict, ConflictsRequest};
use serde::Serialize;

use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid, Mood};
use crate::screen::Screen;
use crate::session::{Session, answer};
use crate::{names, time};

#[derive(Serialize)]
struct Printed {
    endpoint: String,
    address: String,
    foreign_mac: String,
    bridge: String,
    vlan: u32,
    seen_on: String,
    first_seen: Option<String>,
    last_seen: Option<String>,
    count: u64,
    at_add: bool,
    active: bool,
}

pub(super) async fn run(mut session: Session, screen: &Screen, endpoint: String) -> Result<Found, Failure> {
    let conflicts = answer(session.agent.conflicts(ConflictsRequest { endpoint })).await?.conflicts;
    let found = Found::if_any(conflicts.iter().any(|conflict| conflict.active));
    if screen.is_json() {
        screen.json(&conflicts.into_iter().map(Printed::from).collect::<Vec<_>>())?;
    } else {
        screen.grid(&grid(&conflicts), "no conflicts")?;
    }
    Ok(found)
}

fn grid(conflicts: &[Conflict]) -> Grid {
    let mut grid = Grid::new(["ADDRESS", "ENDPOINT", "FOREIGN MAC", "SEEN ON", "COUNT", "LAST", "STATE"])
        .whole(&["ADDRESS", "FOREIGN MAC", "ENDPOINT"]);
    for conflict in conflicts {
        let (state, mood) = match (conflict.active, conflict.at_add) {
            (true, _) => ("active", Mood::Bad),
            (false, true) => ("at ADD", Mood::Warning),
            (false, false) => ("over", Mood::Plain),
        };
        grid.row([
            conflict.address.as_str().into(),
            names::endpoint(conflict.endpoint.as_ref()).into(),
            conflict.foreign_mac.as_str().into(),
            names::or_dash(&conflict.seen_on).into(),
            Field::number(conflict.count),
            time::age(conflict.last_seen_unix_ns).into(),
            Field::new(state, mood),
        ]);
    }
    grid
}

impl From<Conflict> for Printed {
    fn from(conflict: Conflict) -> Self {
        Self {
            endpoint: names::endpoint(conflict.endpoint.as_ref()),
            first_seen: time::stamp(conflict.first_seen_unix_ns),
            last_seen: time::stamp(conflict.last_seen_unix_ns),
            address: conflict.address,
            foreign_mac: conflict.foreign_mac,
            bridge: conflict.bridge,
            vlan: conflict.vlan,
            seen_on: conflict.seen_on,
            count: conflict.count,
            at_add: conflict.at_add,
            active: conflict.active,
        }
    }
}
