//! `events`: what happened lately, and with `--follow` what happens next.

use agent_api::control::v1::{Event, EventsRequest, Severity, events_reply};
use serde::Serialize;

use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid, Mood};
use crate::screen::Screen;
use crate::session::{Session, answer, next};
use crate::{names, time};

#[derive(Serialize)]
struct Printed {
    at: Option<String>,
    severity: String,
    kind: String,
    text: String,
    endpoint: Option<String>,
}

pub(super) async fn run(
    mut session: Session,
    screen: &Screen,
    endpoint: String,
    follow: bool,
) -> Result<Found, Failure> {
    let mut parts = answer(session.agent.events(EventsRequest { endpoint, follow })).await?;
    if follow {
        // No deadline: a person watches, and the next event may be an hour away.
        while let Some(part) = parts.message().await? {
            match part.item {
                Some(events_reply::Item::Event(event)) => show(screen, event)?,
                Some(events_reply::Item::Lost(lost)) => screen.line(&lost_note(screen, lost))?,
                None => {}
            }
        }
        return Ok(Found::Nothing);
    }
    let mut events = Vec::new();
    while let Some(part) = next(&mut parts).await? {
        if let Some(events_reply::Item::Event(event)) = part.item {
            events.push(event);
        }
    }
    if screen.is_json() {
        screen.json(&events.into_iter().map(Printed::from).collect::<Vec<_>>())?;
    } else {
        screen.grid(&grid(&events), "no events")?;
    }
    Ok(Found::Nothing)
}

fn grid(events: &[Event]) -> Grid {
    let mut grid = Grid::new(["AGE", "EVENT", "ENDPOINT", "WHAT"]).whole(&["AGE", "EVENT", "ENDPOINT"]);
    for event in events {
        let mood = match event.severity() {
            Severity::Error => Mood::Bad,
            Severity::Warning => Mood::Warning,
            Severity::Info | Severity::Unspecified => Mood::Plain,
        };
        grid.row([
            time::age(event.at_unix_ns).into(),
            Field::new(event.kind.as_str(), mood),
            names::endpoint(event.endpoint.as_ref()).into(),
            event.text.as_str().into(),
        ]);
    }
    grid
}

fn show(screen: &Screen, event: Event) -> Result<(), Failure> {
    if screen.is_json() {
        return Ok(screen.json_line(&Printed::from(event))?);
    }
    let (clock, endpoint) = (time::clock(event.at_unix_ns), names::endpoint(event.endpoint.as_ref()));
    Ok(screen.line(&format!("{clock}  {}  {endpoint}  {}", event.kind, event.text))?)
}

/// What is said instead of items that a slow reader has missed.
pub(super) fn lost_note(screen: &Screen, lost: u64) -> String {
    if screen.is_json() { format!("{{\"lost\":{lost}}}") } else { format!("({lost} more, too fast to show)") }
}

impl From<Event> for Printed {
    fn from(event: Event) -> Self {
        Self {
            at: time::stamp(event.at_unix_ns),
            severity: names::severity(event.severity),
            kind: event.kind,
            text: event.text,
            endpoint: event.endpoint.map(|endpoint| endpoint.id),
        }
    }
}
