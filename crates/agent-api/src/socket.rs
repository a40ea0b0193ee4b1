//! Where the agent listens, and the clock that orders calls. No IO but the reading of one variable and one clock.

use std::env;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Where the agent listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/underpass/agent.sock";

/// The variable that names another socket.
pub const SOCKET_VARIABLE: &str = "UNDERPASS_SOCKET";

/// Where the agent listens: `$UNDERPASS_SOCKET` if it is set and not empty, else [`DEFAULT_SOCKET`].
pub fn socket_path() -> PathBuf {
    match env::var_os(SOCKET_VARIABLE) {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => PathBuf::from(DEFAULT_SOCKET),
    }
}

/// From the start of a call's connection to `Accepted`. An agent that is well answers in a millisecond; one that does
/// not within this time is treated as away.
pub const ACCEPT_TIMEOUT: Duration = Duration::from_millis(500);

/// The variable that sets another time, in milliseconds: for machines that are slow as a whole, such as emulated ones.
pub const ACCEPT_TIMEOUT_VARIABLE: &str = "UNDERPASS_ACCEPT_TIMEOUT_MS";

/// What it may be. Nobody can answer in no time, and past a minute the runtime's own patience is at stake.
pub const ACCEPT_TIMEOUT_MS: RangeInclusive<u64> = 1..=60_000;

/// How long a call waits to be taken: `$UNDERPASS_ACCEPT_TIMEOUT_MS` if it is set and not empty, else [`ACCEPT_TIMEOUT`].
/// The error is a value that is no number of milliseconds within [`ACCEPT_TIMEOUT_MS`].
pub fn accept_timeout() -> Result<Duration, String> {
    match env::var_os(ACCEPT_TIMEOUT_VARIABLE) {
        Some(value) if !value.is_empty() => {
            let value = value.to_string_lossy().into_owned();
            let ms = value.parse().ok().filter(|ms| ACCEPT_TIMEOUT_MS.contains(ms));
            ms.map(Duration::from_millis).ok_or(value)
        }
        _ => Ok(ACCEPT_TIMEOUT),
    }
}

/// `CLOCK_BOOTTIME` in nanoseconds: the same for every process and namespace of the machine (time namespaces aside),
/// goes on during suspend and never jumps. Shim and agent compare only values of one boot.
pub fn boottime_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boottime_moves_forward() {
        let first = boottime_ns();
        assert!(first > 0);
        assert!(boottime_ns() >= first);
    }
}
