//! Chance from one number: streams that do not know of each other, and draws that depend on nothing but what
//! they are for.
//!
//! What must always hold: the same seed and label give the same stream; taking one thing out of a run moves
//! no draw of another. So every purpose has a [`Random`] of its own, and what befalls a message is drawn from
//! the message's number ([`Seed::draw`]) and not from a stream.

use annals_events::Hash;

/// The number a run is made from, or one derived from it for a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed for one purpose.
    #[must_use]
    pub fn of(self, label: &str) -> Self {
        let digest = Hash::of(b"annals simulation\0", &[&self.0.to_be_bytes(), label.as_bytes()]);
        Self(u64::from_be_bytes(digest.0[..8].try_into().expect("a digest has 32 bytes")))
    }

    /// The seed for the `n`th of something.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        Self(self.draw(n))
    }

    /// A number for `n`, whatever was drawn before.
    #[must_use]
    pub fn draw(self, n: u64) -> u64 {
        mix(self.0 ^ mix(n.wrapping_add(GOLDEN)))
    }

    /// 32 bytes of it, for a key.
    #[must_use]
    pub fn bytes(self) -> [u8; 32] {
        Hash::of(b"annals simulated key\0", &[&self.0.to_be_bytes()]).0
    }

    /// A stream.
    #[must_use]
    pub fn stream(self) -> Random {
        Random { state: self.0 }
    }
}

/// An odd number close to 2^64 divided by the golden ratio: steps of it visit every number.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's finish: every bit of the input moves every bit of the output.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A stream of draws (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number below `n`, which is not 0. The bias of one in 2^64 / n is of no interest here.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "nothing is below 0");
        self.bits() % n
    }

    /// A place in a list of `n`.
    pub fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).expect("it is below a usize")
    }

    /// True `of_100` times of a hundred.
    pub fn percent(&mut self, of_100: u64) -> bool {
        self.below(100) < of_100
    }

    /// One of `items`; none of none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { Some(&items[self.index(items.len())]) }
    }

    /// One of `items`, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, items: &[(u64, T)]) -> T {
        let total = items.iter().map(|(weight, _)| weight).sum();
        let mut left = self.below(total);
        for (weight, item) in items {
            if left < *weight {
                return *item;
            }
            left -= weight;
        }
        unreachable!("the weights add up")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn labels_give_streams_of_their_own(seed: u64) {
            let (a, b) = (Seed(seed).of("disk"), Seed(seed).of("link"));
            prop_assert_ne!(a, b);
            prop_assert_eq!(a, Seed(seed).of("disk"));
            prop_assert_ne!(a.stream().bits(), b.stream().bits());
        }

        #[test]
        fn draws_are_within_bounds(seed: u64, n in 1u64..1000) {
            let mut random = Seed(seed).stream();
            prop_assert!((0..100).all(|_| random.below(n) < n));
            prop_assert!(!random.percent(0) && random.percent(100));
            prop_assert_eq!(random.weighted(&[(0, 'a'), (n, 'b'), (0, 'c')]), 'b');
        }
    }

    #[test]
    fn what_is_drawn_for_a_message_does_not_depend_on_the_others() {
        let link = Seed(7).of("link");
        let all: Vec<u64> = (0..10).map(|n| link.draw(n)).collect();
        assert_eq!(link.draw(8), all[8]);
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 10);
    }
}
