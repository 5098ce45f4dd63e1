//! The real clock: the only place that reads one.

use annals_engine::clock::Clock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the real clock")]
    fn now_ms(&self) -> u64 {
        // A clock before 1970 is not believed; stamps count on from what was seen.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Waits, where there is nothing to wait for but time itself.
#[expect(clippy::disallowed_methods, reason = "the real clock: polling at an interval that people chose")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A moment of the monotonic clock, to measure how long something took.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the real clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long ago it was started.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
