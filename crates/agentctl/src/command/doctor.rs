//! `doctor`: what the agent stands on, checked; exit status 1 if a check fails.

use agent_api::control::v1::{Check, DoctorRequest, Outcome};
use serde::Serialize;

use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid, Mood};
use crate::screen::Screen;
use crate::session::{Session, answer};
use crate::{names, time};

/// One check; also a part of `status`.
#[derive(Serialize)]
pub(super) struct Printed {
    name: String,
    outcome: String,
    since: Option<String>,
    what: String,
    mend: String,
}

pub(super) async fn run(mut session: Session, screen: &Screen) -> Result<Found, Failure> {
    let checks = answer(session.agent.doctor(DoctorRequest {})).await?.checks;
    let failed = checks.iter().filter(|check| check.outcome() == Outcome::Fail).count();
    if screen.is_json() {
        screen.json(&checks.into_iter().map(Printed::from).collect::<Vec<_>>())?;
    } else {
        screen.grid(&grid(&checks), "nothing to check")?;
        let count = |outcome| checks.iter().filter(|check| check.outcome() == outcome).count();
        let (ok, warn) = (count(Outcome::Ok), count(Outcome::Warn));
        screen.line(&format!("{} checks: {ok} ok, {warn} warn, {failed} fail", checks.len()))?;
    }
    Ok(Found::if_any(failed > 0))
}

fn grid(checks: &[Check]) -> Grid {
    let mut grid = Grid::new(["", "CHECK", "FOUND"]).whole(&["", "CHECK"]);
    for check in checks {
        let mood = match check.outcome() {
            Outcome::Ok => Mood::Good,
            Outcome::Warn => Mood::Warning,
            Outcome::Fail => Mood::Bad,
            Outcome::Unspecified => Mood::Plain,
        };
        let mut found = check.what.clone();
        if check.since_unix_ns != 0 {
            found = format!("{found} (for {})", time::age(check.since_unix_ns));
        }
        if !check.mend.is_empty() {
            found.push('\n');
            found.push_str(&check.mend);
        }
        grid.row([Field::new(names::outcome(check.outcome), mood), check.name.as_str().into(), found.into()]);
    }
    grid
}

impl From<Check> for Printed {
    fn from(check: Check) -> Self {
        let outcome = names::outcome(check.outcome);
        let since = time::stamp(check.since_unix_ns);
        Self { name: check.name, outcome, since, what: check.what, mend: check.mend }
    }
}
