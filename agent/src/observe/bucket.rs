//! A token bucket: so many at once, then one more every so often.

use std::time::Duration;

/// A token bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: u32,
    filled_at: Duration,
}

impl Bucket {
    pub(super) fn full(burst: u32, now: Duration) -> Self {
        Self { tokens: burst, filled_at: now }
    }

    pub(super) fn has(&mut self, burst: u32, refill: Duration, now: Duration) -> bool {
        let earned = now.saturating_sub(self.filled_at).as_millis() / refill.as_millis().max(1);
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.filled_at += refill.saturating_mul(earned);
        self.tokens = self.tokens.saturating_add(earned).min(burst);
        self.tokens > 0
    }

    pub(super) fn is_full(&mut self, burst: u32, refill: Duration, now: Duration) -> bool {
        self.has(burst, refill, now) && self.tokens == burst
    }

    pub(super) fn take(&mut self) -> bool {
        let had = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        had
    }
}
