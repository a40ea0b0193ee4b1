//! Doing two things at once, with an end to both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Runs `work` again and again, with this pause behind each turn, while `body` runs. Both end with `body`, whether it
/// returns or panics.
pub fn meanwhile<T>(work: impl Fn() + Sync, pause: Duration, body: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                work();
                thread::sleep(pause);
            }
        });
        let _over = Over(&over);
        body()
    })
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_body_that_panics_ends_the_work() {
        let died =
            catch_unwind(AssertUnwindSafe(|| meanwhile(|| (), Duration::ZERO, || panic!("on purpose"))));
        assert!(died.is_err());
    }
}
