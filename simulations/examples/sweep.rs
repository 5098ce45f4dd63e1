//! Runs seeds: `sweep -- 17` tells the story of one, `sweep -- 0..1000` tries a thousand of them. After that,
//! `calm` takes all faults away and `steps=5` (or any other of the options) changes one: to make a failure small.

use annals_simulations::{Options, Seed, run};
use std::{panic::catch_unwind, process::ExitCode};

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let (seeds, changes) =
        asked.split_first().map_or(("0..100", &[][..]), |(first, rest)| (first.as_str(), rest));
    let number = |text: &str| text.parse::<u64>().ok();
    let range = match seeds.split_once("..") {
        Some((first, end)) => number(first).zip(number(end)),
        None => number(seeds).map(|one| (one, one + 1)),
    };
    let Some((first, end)) = range else {
        eprintln!("error: {seeds:?} is no seed and no range of seeds\nhint: `17`, or `0..1000`");
        return ExitCode::from(2);
    };
    let story = !seeds.contains("..");
    let (mut failed, mut steps, mut events) = (0, 0, 0);
    for seed in (first..end).map(Seed) {
        let Some(options) =
            changes.iter().try_fold(Options { lines: story, ..Options::of(seed) }, |options, change| {
                options.changed(change)
            })
        else {
            eprintln!(
                "error: one of {changes:?} is no option\nhint: `calm`, or a name and a number as in `steps=5`"
            );
            return ExitCode::from(2);
        };
        let Ok(outcome) = catch_unwind(|| run(seed, options)) else {
            failed += 1;
            println!("{}: panic: what it says stands on stderr", seed.0);
            continue;
        };
        steps += outcome.steps;
        events += outcome.events;
        outcome.lines.iter().for_each(|line| println!("{line}"));
        if story {
            println!("{options:?}\ntrace {}", outcome.trace);
        }
        if let Some(finding) = outcome.findings.first() {
            failed += 1;
            println!("{}: {}: {}", seed.0, finding.checker, finding.what);
        }
    }
    println!("{} seeds, {failed} failed, {steps} steps, {events} events", end.saturating_sub(first));
    ExitCode::from(u8::from(failed > 0))
}
