//! The boot clock: nanoseconds since boot, suspend included. What the shim stamps its calls with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// CLOCK_BOOTTIME. Zero if the kernel had none, which it has since 2.6.39.
pub fn boottime() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// A time on the boot clock, as Unix time in nanoseconds: for people and for the control API.
pub fn unix_ns(at: Duration) -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is what the wall clock is for")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ago = boottime().saturating_sub(at);
    i64::try_from(now.saturating_sub(ago).as_nanos()).unwrap_or(i64::MAX)
}
