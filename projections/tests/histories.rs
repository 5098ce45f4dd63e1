//! The projections equal the reference fold on random histories, and both are what people expect.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "a test")]

mod history;
mod judge;
mod reference;

use history::{History, Sight};
use judge::Picture;

/// How many histories: a slice, unless ANNALS_HISTORIES says otherwise.
fn how_many(slice: u64) -> u64 {
    std::env::var("ANNALS_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(slice)
}

#[test]
fn the_reference_is_what_people_expect() {
    let look = |sight: &Sight| Picture::of_reference(sight);
    let first = std::env::var("ANNALS_FIRST").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in first..first + how_many(200) {
        let played = History::of_seed(seed).play(&look);
        if let Some(failure) = played.failures.first() {
            panic!("seed {seed}: {failure:?}\n{}", played.transcript.join("\n"));
        }
    }
}
