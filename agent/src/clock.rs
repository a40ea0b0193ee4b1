//! The boot clock: nanoseconds since boot, suspend included. What the shim stamps its calls with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// CLOCK_BOOTTIME. Zero if the kernel had none, which it has since 2.6.39.
pub fn boottime() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// From the clock of the kernel's records (`bpf_ktime_get_ns`, CLOCK_MONOTONIC) to the boot clock, which also counts
/// the time in which the machine was suspended.
#[derive(Clone, Copy, Debug)]
pub struct KernelClock {
    /// How far the boot clock is ahead.
    ahead: Duration,
}

impl KernelClock {
    /// Compares the clocks.
    pub fn new() -> Self {
        Self { ahead: boottime().saturating_sub(Duration::from_nanos(ebpf::ktime_ns())) }
    }

    /// Compares the clocks again. The difference grows by suspends alone: what two readings differ by otherwise is the
    /// time between them, and would make every look at an old record a new one.
    pub fn compare(&mut self) {
        let now = Self::new();
        if now.ahead.abs_diff(self.ahead) > BETWEEN_TWO_READINGS {
            *self = now;
        }
    }

    /// A time of the kernel's records, which is taken to be since the last suspend.
    pub fn boottime(self, ktime_ns: u64) -> Duration {
        Duration::from_nanos(ktime_ns) + self.ahead
    }
}

impl Default for KernelClock {
    fn default() -> Self {
        Self::new()
    }
}

/// More than passes between two readings of a clock on a busy machine, less than any suspend.
const BETWEEN_TWO_READINGS: Duration = Duration::from_millis(100);

/// A time on the boot clock, as Unix time in nanoseconds: for people and for the control API.
pub fn unix_ns(at: Duration) -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is what the wall clock is for")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ago = boottime().saturating_sub(at);
    i64::try_from(now.saturating_sub(ago).as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_now_is_now() {
        let mut clock = KernelClock::new();
        let (before, record) = (boottime(), ebpf::ktime_ns());
        let apart = clock.boottime(record).abs_diff(before);
        assert!(apart < Duration::from_millis(50), "{apart:?}");
        let told = clock.boottime(record);
        clock.compare();
        assert_eq!(clock.boottime(record), told, "a second look tells the same");
    }

    #[test]
    fn a_suspend_moves_what_comes_after_it() {
        let hour = Duration::from_hours(1);
        let real = KernelClock::new();
        let mut slept = KernelClock { ahead: real.ahead + hour };
        slept.compare();
        assert!(slept.ahead.abs_diff(real.ahead) < BETWEEN_TWO_READINGS);
    }
}
