//! The clock of the programs.

use nix::time::{ClockId, clock_gettime};

/// Now, as `bpf_ktime_get_ns` tells it: nanoseconds of `CLOCK_MONOTONIC`. Deadlines and expiries in the
/// maps are made from it.
pub fn ktime_ns() -> u64 {
    // The clock exists on every Linux and its value is never negative; zero reads as "never" everywhere.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
        u64::try_from(t.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec()).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::ktime_ns;

    #[test]
    fn time_does_not_run_backwards() {
        let before = ktime_ns();
        assert!(before > 0 && ktime_ns() >= before);
    }
}
