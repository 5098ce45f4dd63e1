//! How fast bytes may go: a token bucket. The clock is the caller's.
//!
//! What must always hold: in any stretch of time no more go than the rate allows, and what a moment's burst holds;
//! who asks for as much as possible gets the rate.

/// Bytes a second, with a burst of a quarter of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    rate: u64,
    /// When, in microseconds, what was taken so far has gone at the rate.
    paid_us: u64,
}

/// What may go at once.
const BURST_US: u64 = 250_000;

impl Bucket {
    /// Full, for this many bytes a second; at least one.
    #[must_use]
    pub fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), paid_us: 0 }
    }

    /// How many bytes a second.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Takes `bytes`; answers how long to wait, in microseconds, until they may go.
    pub fn take(&mut self, bytes: u64, now_us: u64) -> u64 {
        let from = self.paid_us.max(now_us.saturating_sub(BURST_US));
        let cost = u128::from(bytes) * 1_000_000 / u128::from(self.rate);
        self.paid_us = from.saturating_add(u64::try_from(cost).unwrap_or(u64::MAX));
        self.paid_us.saturating_sub(now_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_more_goes_than_the_rate_allows_and_no_less(
            rate in 1_000_u64..10_000_000,
            asked in prop::collection::vec((1_u64..50_000, 0_u64..400_000), 1..60),
        ) {
            let (mut bucket, mut now, mut gone, mut idle) = (Bucket::new(rate), 5_000_000_u64, 0_u64, 0_u64);
            let began = now;
            for (bytes, pause) in asked {
                let wait = bucket.take(bytes, now);
                now += wait;
                gone += bytes;
                let allowed = u128::from(now - began + BURST_US) * u128::from(rate) / 1_000_000;
                prop_assert!(u128::from(gone) <= allowed + 1_000, "{gone} of {allowed}");
                // Whoever waited for the bucket only was not held up for longer than all of it takes.
                let needed = u128::from(gone) * 1_000_000 / u128::from(rate);
                prop_assert!(u128::from(now - began) <= needed + u128::from(idle));
                now += pause;
                idle += pause;
            }
        }
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let mut bucket = Bucket::new(1_000_000);
        assert_eq!(bucket.take(1_000_000, 0), 1_000_000);
        assert_eq!(bucket.take(1_000_000, 3_600_000_000), 750_000);
    }
}
