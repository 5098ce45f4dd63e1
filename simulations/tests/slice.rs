//! A slice of the seeds, for every change: small enough for the gate, large enough to notice that a fault was let
//! in. Many more are one command (see README.md here).

use annals_simulations::{Options, Seed, run};

/// Seeds that must pass.
fn check(seeds: impl IntoIterator<Item = u64>, options: impl Fn(Options) -> Options) {
    let failed: Vec<String> = seeds
        .into_iter()
        .map(Seed)
        .filter_map(|seed| {
            let outcome = run(seed, options(Options::of(seed)));
            let finding = outcome.findings.first()?;
            Some(format!("{}: {}: {}", seed.0, finding.checker, finding.what))
        })
        .collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn people_who_sync_now_and_then_agree_and_lose_nothing() {
    check(0..40, Options::calm);
}

#[test]
fn whatever_happens_nothing_is_lost_and_all_agree_in_the_end() {
    check(0..60, |options| options);
}

#[test]
fn seeds_that_failed_once_pass() {
    let (mut known, mut open) = (0, 0);
    let is_entry = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
    for line in include_str!("../seeds.txt").lines().filter(is_entry) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let seeds: Vec<u64> = words.iter().map_while(|word| word.parse().ok()).collect();
        let rest = &words[seeds.len()..];
        let changes = rest.iter().take_while(|word| Options::of(Seed(0)).changed(word).is_some()).count();
        if rest[changes].starts_with("open") {
            open += seeds.len();
            continue;
        }
        known += seeds.len();
        let change = |options: Options, word: &&str| options.changed(word).expect("it is an option");
        check(seeds, |options| rest[..changes].iter().fold(options, change));
    }
    assert!(known > 70 && open < 5, "{known} known and {open} open: is the list read?");
}

#[test]
fn a_server_that_is_put_back_again_and_again_gets_everything_back() {
    check(0..25, |options| Options { put_backs: 4, overlapping: 10, ..options.calm() });
}

#[test]
fn losses_delays_and_doubles_on_the_way_change_nothing() {
    check(100..130, |options| Options { crashes: 0, server_crashes: 0, meddling: 0, ..options });
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in (0..6).map(Seed) {
        let options = Options { lines: true, ..Options::of(seed) };
        let (one, other) = (run(seed, options), run(seed, options));
        let differs = one.lines.iter().zip(&other.lines).position(|(a, b)| a != b);
        assert_eq!(differs.map(|line| &one.lines[line]), None, "seed {}", seed.0);
        assert_eq!((one.trace, one.steps), (other.trace, other.steps), "seed {}", seed.0);
    }
    assert_ne!(run(Seed(0), Options::of(Seed(0))).trace, run(Seed(1), Options::of(Seed(1))).trace);
}
