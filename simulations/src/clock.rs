//! The twin of the clock: one time that passes for all, and what each machine takes it for.
//!
//! A machine's clock may be days off and stays so; it does not run back. File systems count in ticks, so two
//! changes within one tick bear the same time: [`MachineClock::tick_ns`] is what a file gets.

use annals_engine::clock::Clock;
use std::{cell::Cell, rc::Rc};

/// When simulations begin: some time in 2025, in milliseconds since 1970.
pub const BEGIN_MS: u64 = 1_750_000_000_000;

/// How long a file system's clock stands still (100 Hz).
pub const TICK_MS: u64 = 10;

/// The time that passes. Clones are the same time.
#[derive(Clone, Debug, Default)]
pub struct WorldTime(Rc<Cell<u64>>);

impl WorldTime {
    /// Milliseconds since the simulation began.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        self.0.get()
    }

    /// Lets time pass.
    pub fn pass(&self, ms: u64) {
        self.0.set(self.0.get() + ms);
    }

    /// The clock of a machine that is `skew_ms` off.
    #[must_use]
    pub fn machine(&self, skew_ms: i64) -> MachineClock {
        MachineClock { time: self.clone(), skew_ms }
    }
}

/// What one machine takes the time for.
#[derive(Clone, Debug)]
pub struct MachineClock {
    time: WorldTime,
    skew_ms: i64,
}

impl MachineClock {
    /// What its file system writes down now, in nanoseconds since 1970.
    #[must_use]
    pub fn tick_ns(&self) -> i64 {
        let ms = self.now_ms() / TICK_MS * TICK_MS;
        i64::try_from(ms).expect("some time in this century") * 1_000_000
    }
}

impl Clock for MachineClock {
    fn now_ms(&self) -> u64 {
        (BEGIN_MS + self.time.elapsed_ms()).saturating_add_signed(self.skew_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_differ_and_a_file_system_stands_still_for_a_tick() {
        let time = WorldTime::default();
        let (right, wrong) = (time.machine(0), time.machine(-3_600_000));
        time.pass(1);
        let tick = right.tick_ns();
        time.pass(TICK_MS - 2);
        assert_eq!(right.tick_ns(), tick);
        time.pass(1);
        assert_eq!(right.tick_ns(), tick + 10_000_000);
        assert_eq!(right.now_ms() - wrong.now_ms(), 3_600_000);
    }
}
