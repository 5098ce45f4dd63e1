//! When to try again: a function of how often it failed and of a seed, so that a fleet of devices does not
//! come back at one moment and a simulation can say when each does.

use annals_events::Hash;

/// The shortest wait.
pub const WAIT_MS_MIN: u64 = 250;
/// The longest wait.
pub const WAIT_MS_MAX: u64 = 60_000;

/// How long to wait after the `attempt`th failure in a row (1 for the first): doubling up to a minute, of
/// which the upper half is spread by `seed`.
#[must_use]
pub fn wait_ms(attempt: u32, seed: u64) -> u64 {
    let doublings = attempt.saturating_sub(1).min(16);
    let full = (WAIT_MS_MIN << doublings).min(WAIT_MS_MAX);
    let draw = Hash::of(b"annals retry\0", &[&seed.to_be_bytes(), &attempt.to_be_bytes()]);
    let draw = u64::from_be_bytes(draw.0[..8].try_into().expect("a digest has 32 bytes"));
    full / 2 + draw % (full / 2 + 1)
}

/// As [`wait_ms`], and no shorter than the server asked for, up to the longest wait.
#[must_use]
pub fn wait_asked_ms(attempt: u32, seed: u64, asked_ms: Option<u64>) -> u64 {
    wait_ms(attempt, seed).max(asked_ms.unwrap_or(0).min(WAIT_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wait_is_bounded_and_the_same_for_the_same_seed(attempt in 0u32.., seed: u64) {
            let wait = wait_ms(attempt, seed);
            prop_assert!((WAIT_MS_MIN / 2..=WAIT_MS_MAX).contains(&wait));
            prop_assert_eq!(wait, wait_ms(attempt, seed));
        }
    }

    #[test]
    fn who_is_asked_to_wait_waits_but_not_for_ever() {
        assert_eq!(wait_asked_ms(1, 7, Some(9_000)), 9_000);
        assert_eq!(wait_asked_ms(1, 7, Some(u64::MAX)), WAIT_MS_MAX);
        assert_eq!(wait_asked_ms(20, 7, Some(1)), wait_ms(20, 7));
        assert_eq!(wait_asked_ms(20, 7, None), wait_ms(20, 7));
    }

    #[test]
    fn waits_grow_until_a_minute_and_differ_from_device_to_device() {
        assert!(wait_ms(1, 7) <= WAIT_MS_MIN);
        assert!(wait_ms(20, 7) >= WAIT_MS_MAX / 2);
        assert_ne!(wait_ms(20, 7), wait_ms(20, 8));
    }
}
