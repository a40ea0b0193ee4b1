//! `status`: the agent, its bridges and its stages at a glance, and what is out of order; exit status 1 if a check fails or the
//! agent is not ready.

mod printed;

use agent_api::control::v1::{Bridge, Check, Connection, Outcome, StageStatus, StatusReply, StatusRequest};

use super::accel;
use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid, Mood};
use crate::screen::Screen;
use crate::session::{Session, answer};
use crate::{names, time};
use printed::Printed;

pub(super) async fn run(mut session: Session, screen: &Screen) -> Result<Found, Failure> {
    let status = answer(session.agent.status(StatusRequest {})).await?;
    let has_failed = status.out_of_order.iter().any(|check| check.outcome() == Outcome::Fail);
    let found = Found::if_any(has_failed || !status.ready);
    if screen.is_json() {
        screen.json(&Printed::from(status))?;
        return Ok(found);
    }
    screen.grid(&glance(&status), "")?;
    screen.line("")?;
    if !status.out_of_order.is_empty() {
        screen.grid(&out_of_order(&status.out_of_order), "")?;
        screen.line("")?;
    }
    screen.grid(&bridges(&status.bridges), "no bridges")?;
    screen.line("")?;
    screen.grid(&stages(&status.stages), "no stages")?;
    Ok(found)
}

fn glance(status: &StatusReply) -> Grid {
    let mut grid = Grid::new([]);
    let mut say = |name: &str, value: Field| grid.row([name.into(), value]);
    let up = time::age(status.started_unix_ns);
    let node = if status.node.is_empty() { String::new() } else { format!(" on {}", status.node) };
    say("agent", format!("{}{node}, pid {}, up {up}", status.version, status.pid).into());
    say("state", state(&status.out_of_order));
    say(
        "ready",
        if status.ready {
            Field::new("yes: CNI calls are served", Mood::Good)
        } else {
            Field::new(format!("no: {}", status.not_ready.join("; ")), Mood::Bad)
        },
    );
    let tally = status.endpoints.unwrap_or_default();
    let more = if tally.removing > 0 { format!(", {} being removed", tally.removing) } else { String::new() };
    let text = format!("{} ready, {} pending, {} failed{more}", tally.ready, tally.pending, tally.failed);
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

/// `in order`, or how many checks say what else.
fn state(out_of_order: &[Check]) -> Field {
    let count = |outcome| out_of_order.iter().filter(|check| check.outcome() == outcome).count();
    match (count(Outcome::Fail), count(Outcome::Warn)) {
        (0, 0) => Field::new("in order", Mood::Good),
        (0, warn) => Field::new(format!("works ({warn} warn)"), Mood::Warning),
        (fail, warn) => Field::new(format!("out of order ({fail} fail, {warn} warn)"), Mood::Bad),
    }
}

/// What is not as it should be, since when; `doctor` says how to mend it.
fn out_of_order(checks: &[Check]) -> Grid {
    let mut grid = Grid::new(["OUT OF ORDER", "SINCE", "WHAT"]).whole(&["OUT OF ORDER", "SINCE"]);
    for check in checks {
        let mood = if check.outcome() == Outcome::Fail { Mood::Bad } else { Mood::Warning };
        let since = time::age(check.since_unix_ns);
        grid.row([Field::new(check.name.as_str(), mood), since.into(), check.what.as_str().into()]);
    }
    grid
}

fn bridges(bridges: &[Bridge]) -> Grid {
    let mut grid =
        Grid::new(["BRIDGE", "DATAPATH", "UPLINKS", "ENDPOINTS", "FLOWS", "MENDED", "TABLES", "OPENFLOW"]);
    for bridge in bridges {
        // What is wrong stands above, with room for it.
        let openflow = match &bridge.openflow {
            Some(connection) if connection.up && !bridge.trouble.is_empty() => {
                Field::new("up, see above", Mood::Bad)
            }
            Some(connection) if !connection.up => {
                Field::new(format!("down {}", time::age(connection.since_unix_ns)), Mood::Bad)
            }
            other => connection(other.as_ref()),
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
    let mut grid = Grid::new(["STAGE", "WAITING", "FAILED", "STATE"]);
    for stage in stages {
        let state = match (stage.failed, stage.waiting) {
            (0, 0) => Field::new("ok", Mood::Good),
            (0, _) => Field::new("waiting", Mood::Warning),
            (_, _) => Field::new(stage.error.as_str(), Mood::Bad),
        };
        let (waiting, failed) = (stage.waiting.into(), stage.failed.into());
        grid.row([names::stage(stage.stage).into(), Field::number(waiting), Field::number(failed), state]);
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
