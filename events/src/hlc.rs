//! Hybrid logical clocks (Kulkarni et al. 2014): near to people's time, never against causality.
//!
//! An [`Hlc`] only breaks ties; which edits are concurrent is decided by dots. A device's stamps rise
//! strictly and are above everything it has pulled (I8), however wrong its clock is: a clock that runs
//! back, stands still or is years ahead is a reason to report, never a reason to refuse.

use serde::{Deserialize, Serialize};
use std::fmt;

/// 48 bits of milliseconds since 1970 and 16 bits of counter, in one integer that sorts by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The last millisecond of the year 9999. A stamp past it is malformed unless its author had seen one
    /// within a millisecond of it.
    pub const LAST_MS: u64 = 253_402_300_799_999;
    /// The first stamp past the year 9999.
    pub const AFTER_LAST: Self = Self((Self::LAST_MS + 1) << 16);

    /// The earliest stamp of a millisecond. Past 48 bits it is the latest millisecond there is.
    #[must_use]
    pub fn at_ms(ms: u64) -> Self {
        Self(ms.min((1 << 48) - 1) << 16)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next stamp: one more on the counter, which runs over into the milliseconds.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("48 bits of milliseconds last until the year 10889"))
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms(), self.0 & 0xffff)
    }
}

/// The clock of one device: the greatest stamp it has given or met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HlcClock {
    latest: Hlc,
}

impl HlcClock {
    /// A clock that goes on above `latest`.
    #[must_use]
    pub fn above(latest: Hlc) -> Self {
        Self { latest }
    }

    /// A stamp for an event made at `now_ms`: above every earlier one. A wall clock past the year 9999 is
    /// not believed; such a device counts on from what it has met.
    pub fn tick(&mut self, now_ms: u64) -> Hlc {
        let wall = if now_ms > Hlc::LAST_MS { Hlc::default() } else { Hlc::at_ms(now_ms) };
        self.latest = wall.max(self.latest.next());
        self.latest
    }

    /// Takes note of a stamp that was pulled.
    pub fn observe(&mut self, met: Hlc) {
        self.latest = self.latest.max(met);
    }

    /// The greatest stamp so far.
    #[must_use]
    pub fn latest(&self) -> Hlc {
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stamps_rise_whatever_the_wall_clock_does(steps in prop::collection::vec((any::<bool>(), 0..u64::MAX >> 17), 1..200)) {
            let mut clock = HlcClock::default();
            for (pulled, ms) in steps {
                let before = clock.latest();
                if pulled {
                    clock.observe(Hlc::at_ms(ms));
                    prop_assert!(clock.latest() >= before && clock.latest() >= Hlc::at_ms(ms));
                } else {
                    prop_assert!(clock.tick(ms) > before);
                }
            }
        }
    }

    #[test]
    fn a_clock_past_the_year_9999_counts_on_from_what_was_met() {
        let mut clock = HlcClock::above(Hlc::at_ms(1_000));
        assert_eq!(clock.tick(Hlc::LAST_MS + 1), Hlc::at_ms(1_000).next());
        assert_eq!(clock.tick(Hlc::LAST_MS), Hlc::at_ms(Hlc::LAST_MS));
    }
}
