//! `status`: the agent, its bridges and its stages at a glance.

mod printed;

use agent_api::control::v1::{Bridge, Connection, StageStatus, StatusReply, StatusRequest};

use super::accel;
use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid, Mood};
use crate::screen::Screen;
use crate::session::{Session, answer};
use crate::{names, time};
use printed::Printed;

pub(super) async fn run(mut session: Session, screen: &Screen) -> Result<Found, Failure> {
    let status = answer(session.agent.status(StatusRequest {})).await?;
    if screen.is_json() {
        screen.json(&Printed::from(status))?;
        return Ok(Found::Nothing);
    }
    screen.grid(&glance(&status), "")?;
    screen.line("")?;
    screen.grid(&bridges(&status.bridges), "no bridges")?;
    screen.line("")?;
    screen.grid(&stages(&status.stages), "no stages")?;
    Ok(Found::Nothing)
}

fn glance(status: &StatusReply) -> Grid {
    let mut grid = Grid::new([]);
    let mut say = |name: &str, value: Field| grid.row([name.into(), value]);
    let up = time::age(status.started_unix_ns);
    let node = if status.node.is_empty() { String::new() } else { format!(" on {}", status.node) };
    say("agent", format!("{}{node}, pid {}, up {up}", status.version, status.pid).into());
    say(
        "ready",
        if status.ready {
            Field::new("yes", Mood::Good)
        } else {
            Field::new(format!("no: {}", status.not_ready.join("; ")), Mood::Bad)
        },
    );
    let tally = status.endpoints.unwrap_or_default();
    let text = format!("{} ready, {} pending, {} failed", tally.ready, tally.pending, tally.failed);
    let mood = if tally.failed > 0 { Mood::Bad } else { Mood::Plain };
    say("endpoints", Field::new(format!("{text} (room for {})", status.max_endpoints), mood));
    say("intent", format!("generation {}, applied {}", status.generation, status.applied_generation).into());
    say("ovsdb", connection(status.ovsdb.as_ref()));
    say("versions", format!("kernel {}, OVS {}", status.kernel, names::or_dash(&status.ovs_version)).into());
    let bpf = status.bpf.clone().unwrap_or_default();
    say(
        "ebpf",
        if bpf.error.is_empty() {
            format!("{}, maps {} in {}", names::hook(bpf.hook), bpf.layout, bpf.pin_dir).into()
        } else {
            Field::new(bpf.error, Mood::Bad)
        },
    );
    say("accel", accel::in_words(&status.accel.unwrap_or_default()).into());
    if status.ipam_debts > 0 {
        say("ipam debts", Field::new(status.ipam_debts.to_string(), Mood::Warning));
    }
    if status.spooled > 0 {
        say("spooled", Field::new(status.spooled.to_string(), Mood::Warning));
    }
    grid
}

fn bridges(bridges: &[Bridge]) -> Grid {
    let mut grid =
        Grid::new(["BRIDGE", "DATAPATH", "UPLINKS", "ENDPOINTS", "FLOWS", "MENDED", "TABLES", "OPENFLOW"]);
    for bridge in bridges {
        let openflow = if bridge.refused.is_empty() {
            connection(bridge.openflow.as_ref())
        } else {
            Field::new(format!("refused: {}", bridge.refused), Mood::Bad)
        };
        let first = bridge.table_base;
        grid.row([
            bridge.name.as_str().into(),
            bridge.datapath_type.as_str().into(),
            names::or_dash(&bridge.uplinks.join("\n")).into(),
            Field::number(bridge.endpoints.into()),
            format!("{}/{}", bridge.flows_present, bridge.flows_expected).into(),
            Field::number(bridge.drift_mended),
            format!("{first}-{}", first.saturating_add(TABLES - 1)).into(),
            openflow,
        ]);
    }
    grid
}

fn stages(stages: &[StageStatus]) -> Grid {
    let mut grid = Grid::new(["STAGE", "CHANGES", "LAST OK", "STATE"]);
    for stage in stages {
        let state = match (stage.error.is_empty(), stage.known) {
            (true, true) => Field::new("ok", Mood::Good),
            (true, false) => Field::new("to be read back", Mood::Warning),
            (false, _) => Field::new(stage.error.as_str(), Mood::Bad),
        };
        grid.row([
            names::stage(stage.stage).into(),
            Field::number(stage.changes),
            time::age(stage.last_ok_unix_ns).into(),
            state,
        ]);
    }
    grid
}

fn connection(connection: Option<&Connection>) -> Field {
    let Some(connection) = connection else { return "-".into() };
    let age = time::age(connection.since_unix_ns);
    if connection.up {
        Field::new(format!("up {age}"), Mood::Good)
    } else {
        let cause = names::or_dash(&connection.error);
        Field::new(format!("down {age}: {} ({cause})", connection.target), Mood::Bad)
    }
}

/// The agent's tables of a bridge, from its table base on.
const TABLES: u32 = 10;
