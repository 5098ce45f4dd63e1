//! Stamps.

use super::*;

#[test]
fn stamps_rise_above_all_that_was_seen_and_end_with_the_year_9999() {
    let mut world = World::new();
    let latest = world.device(1).clock.latest();
    for (hlc, good) in [
        (Hlc(0), false),
        (latest, false),
        (latest.next(), true),
        (Hlc::at_ms(Hlc::LAST_MS), true),
        (Hlc(Hlc::AFTER_LAST.0 - 1), true),
        (Hlc::AFTER_LAST, false),
        (Hlc::at_ms(269_180_000_000_000), false), // the year 10500
        (Hlc(u64::MAX), false),
    ] {
        assert_eq!(world.judge(&world.device(1).at(hlc)).is_ok(), good, "{hlc:?}");
    }
    let (fact, body) = folder("a");
    let draft = |hlc: Hlc| Draft { hlc, at: 0, fact: fact.clone(), body: body.clone() };
    let falling = world.device(1).sign_drafts(vec![draft(latest.next().next()), draft(latest.next())]);
    world.refuses(&falling, Code::Clock);

    // One at the very end of 9999: everybody else counts on from it, a millisecond at a time.
    let last = Hlc(Hlc::AFTER_LAST.0 - 1);
    world.admit(&world.device(1).at(last));
    for n in [2, 3] {
        world.does(n, vec![folder("after it"), folder("and on")]);
    }
    let jump = Hlc(world.device(2).clock.latest().0 + (1 << 16) + 1);
    world.refuses(&world.device(2).at(jump), Code::Clock);
    // Who has not seen it has no reason to be past 9999.
    let mut blind = world.device(4);
    blind.seen = VersionVector::new();
    world.refuses(&blind.at(Hlc::AFTER_LAST), Code::Clock);
}
