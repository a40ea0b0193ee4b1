//! Waiting without sleeping blindly: look again until a fact holds or its deadline has passed.

use std::thread;
use std::time::{Duration, Instant};

/// Pause between two looks: short beside every bound that a story states.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Looks until `check` gives a value and hands it back with the time it took; the error is the last refusal.
pub fn wait_for<T, E: std::fmt::Display>(
    deadline: Duration,
    mut check: impl FnMut() -> Result<T, E>,
) -> Result<(T, Duration), String> {
    let began = Instant::now();
    loop {
        match check() {
            Ok(value) => return Ok((value, began.elapsed())),
            Err(why) if began.elapsed() >= deadline => return Err(format!("{why:#}")),
            Err(_) => thread::sleep(LOOK_AGAIN),
        }
    }
}

/// [`wait_for`] that fails the story: `what` is the fact awaited, as a clause ("the port has an ofport").
#[track_caller]
pub fn eventually<T, E: std::fmt::Display>(
    deadline: Duration,
    what: &str,
    check: impl FnMut() -> Result<T, E>,
) -> T {
    match wait_for(deadline, check) {
        Ok((value, _took)) => value,
        Err(why) => panic!("not within {deadline:?}: {what}\nat the last look: {why}"),
    }
}
