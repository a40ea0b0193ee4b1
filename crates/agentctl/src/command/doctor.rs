//! `doctor`: what the agent stands on, checked; exit status 1 if a check fails.

use agent_api::control::v1::{Check, DoctorRequest, Outcome};
use serde::Serialize;

use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid, Mood};
use crate::names;
use crate::screen::Screen;
use crate::session::{Session, answer};

#[derive(Serialize)]
struct Printed {
    name: String,
    outcome: String,
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
    Ok(if failed > 0 { Found::Something } else { Found::Nothing })
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
        let found = if check.mend.is_empty() {
            check.what.clone()
        } else {
            format!("{}\n{}", check.what, check.mend)
        };
        grid.row([Field::new(names::outcome(check.outcome), mood), check.name.as_str().into(), found.into()]);
    }
    grid
}

impl From<Check> for Printed {
    fn from(check: Check) -> Self {
        let outcome = names::outcome(check.outcome);
        Self { name: check.name, outcome, what: check.what, mend: check.mend }
    }
}
