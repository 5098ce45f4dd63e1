//! A slice of the seeds, for every change: small enough for the gate, large enough to notice that a fault was let
//! in. Many more are one command (see the README).

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
    let all = [
        238, 75, 155, 308, 498, 499, 591, 854, 963, 987, 1136, 1167, 1612, 2269, 4350, 4448, 5478, 6604,
        7129, 7199, 7501, 10927, 10970, 12026, 22403, 28081, 200045, 300297, 302372, 303597, 308953,
    ];
    check(all, |options| options);
    check([16, 35, 137, 409], Options::calm);
    check([96], |options| Options { meddling: 30, ..options.calm() });
    check([299], |options| Options { crashes: 10, ..options.calm() });
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
