//! The projections equal the reference fold on random histories of several devices with partial exchange and
//! lagging disks, and both are what people expect.
//!
//! A slice runs by default; `ANNALS_HISTORIES=100000` runs as many, from seed `ANNALS_FIRST` on.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "a test")]

mod history;
mod judge;
mod reference;

use annals_projections::mistakes::Mistake;
use history::{History, Random, Sight};
use judge::{Expectation, Picture, law, planted};
use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering},
};

#[test]
fn the_reference_is_what_people_expect() {
    for_each_history(300, &|history| {
        let played = history.play(&Picture::of_reference);
        played.failures.first().map(|failure| format!("{failure}\n{}", played.transcript.join("\n")))
    });
}

#[test]
fn the_projections_equal_the_reference_and_are_what_people_expect() {
    for_each_history(2000, &|history| {
        let difference = RefCell::new(None);
        let look = |sight: &Sight| {
            let (reference, projections) = (Picture::of_reference(sight), Picture::of_projections(sight));
            if difference.borrow().is_none() {
                *difference.borrow_mut() = reference.difference_to(&projections);
            }
            projections
        };
        let mut played = history.play(&look);
        let broken = difference.take();
        let mut random = Random::new(history.steps.iter().fold(1, |all, step| all ^ step));
        played.devices.iter_mut().for_each(history::Device::seal);
        broken
            .or_else(|| law::broken_by(&played.devices, &mut random))
            .or_else(|| played.failures.first().map(|failure| failure.to_string()))
            .map(|broken| format!("{broken}\n{}", played.transcript.join("\n")))
    });
}

#[test]
fn every_planted_mistake_is_caught_and_every_expectation_catches_one() {
    let uncaught: Vec<_> = std::thread::scope(|scope| {
        let search = |(mistake, expectation)| scope.spawn(move || planted::caught(mistake, expectation));
        let searches: Vec<_> = planted::CAUGHT_BY.into_iter().map(|row| (row, search(row))).collect();
        let found = searches.into_iter().map(|(row, search)| (row, search.join().unwrap()));
        found.inspect(|found| println!("{found:?}")).filter(|(_, caught)| caught.is_none()).collect()
    });
    assert!(uncaught.is_empty(), "not caught: {uncaught:?}");
    let planted: Vec<Mistake> = planted::CAUGHT_BY.iter().map(|(mistake, _)| *mistake).collect();
    assert_eq!(planted, Mistake::ALL, "every mistake is tried");
    let idle = Expectation::ALL.iter().find(|all| planted::CAUGHT_BY.iter().all(|(_, by)| by != *all));
    assert_eq!(idle, None, "an expectation that catches nothing proves nothing");
}

/// Plays as many histories as the environment says, on all cores, and cuts the first that fails down to the
/// steps that matter.
fn for_each_history(slice: u64, broken_by: &(dyn Fn(&History) -> Option<String> + Sync)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let first: u64 = number("ANNALS_FIRST").unwrap_or(0);
    let (next, end) = (AtomicU64::new(first), first + number("ANNALS_HISTORIES").unwrap_or(slice));
    let bad = AtomicU64::new(u64::MAX);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.min(bad.load(Ordering::Relaxed)) {
                return;
            }
            if fails(&History::of_seed(seed), broken_by).is_some() {
                bad.fetch_min(seed, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (1..cores).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let bad = bad.into_inner();
    if bad < u64::MAX {
        let history = History::of_seed(bad).minimised(&|history| fails(history, broken_by).is_some());
        let broken = fails(&history, broken_by).unwrap();
        panic!("seed {bad}, cut down to {} devices and {:x?}:\n{broken}", history.devices, history.steps);
    }
}

/// What is wrong with a history; a panic counts.
fn fails(history: &History, broken_by: &(dyn Fn(&History) -> Option<String> + Sync)) -> Option<String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| broken_by(history))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Some(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
    })
}
