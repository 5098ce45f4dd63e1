//! A table of cases: how the rounds before ended, when and by what it is woken, and what follows.

use super::*;

const LOOK_EVERY_MS: u64 = 600_000;
const SEED: u64 = 7;
/// When the round before it sleeps ended.
const ENDED_MS: u64 = 50_000;

fn at(path: &str) -> Look {
    Look::At([path.to_owned()].into())
}

fn done() -> Ended {
    Ended::AtRest { trouble: Trouble::Nothing, owes_look: false, unfinished: None, is_news: false }
}

/// After one that something was wrong with.
fn over() -> Ended {
    Ended::AtRest { trouble: Trouble::Nothing, owes_look: false, unfinished: None, is_news: true }
}

fn unfinished(path: &str) -> Ended {
    Ended::AtRest { trouble: Trouble::Nothing, owes_look: false, unfinished: Some(at(path)), is_news: false }
}

fn paused() -> Ended {
    Ended::AtRest { trouble: Trouble::Pause, owes_look: false, unfinished: None, is_news: true }
}

fn failed(asked_wait_ms: Option<u64>, short_of_room: Option<u64>) -> Ended {
    let trouble = Trouble::Failure { asked_wait_ms, short_of_room };
    Ended::AtRest { trouble, owes_look: false, unfinished: None, is_news: true }
}

/// When it is tried again after so many failures.
fn again_ms(failures: u32) -> u64 {
    ENDED_MS + retry::wait_ms(failures, SEED)
}

/// One that looked at everything first, and has done these rounds.
fn after(rounds: impl IntoIterator<Item = Ended>) -> Vigil {
    let mut vigil = Vigil::new(SEED);
    let covered = Covered { whole: true, came: false, look_every_ms: LOOK_EVERY_MS };
    assert_eq!(vigil.begin(ENDED_MS - 1_000, Look::Nowhere, covered), Look::Whole);
    for ended in rounds {
        vigil.step(ENDED_MS, Event::Ended(ended));
    }
    vigil
}

fn nobody() -> Woken {
    Woken::default()
}

fn next(vigil: &mut Vigil, now_ms: u64, woken: Woken) -> Next {
    vigil.step(now_ms, Event::Woken(woken)).next
}

fn sleep_until(until_ms: u64) -> Next {
    Next::Sleep { until_ms }
}

/// What the case is, the rounds before, when and by what it is woken, and what is looked at; none: it sleeps on.
type Row = (&'static str, Vec<Ended>, u64, Woken, Option<Look>);

#[test]
fn what_wakes_it_decides_what_is_looked_at() {
    use Look::{Nowhere, Whole};
    let reached = || Woken { reached: true, ..nobody() };
    let lost = || Woken { lost: true, ..nobody() };
    let refused = || Woken { refused: true, ..nobody() };
    let news = || Woken { news: true, ..nobody() };
    let asked = || Woken { asked: true, ..nobody() };
    let nudged = || Woken { nudged: true, ..nobody() };
    let hinted = |path| Woken { hinted: at(path), ..nobody() };
    let room = |free_bytes| Woken { free_bytes: Some(free_bytes), ..nobody() };
    let left = |look| Ended::GaveWay(Some(look));
    let shortly = ENDED_MS + 10;
    let look_at_ms = ENDED_MS - 1_000 + LOOK_EVERY_MS;
    let rows: Vec<Row> = vec![
        ("nothing happens", vec![done()], ENDED_MS + PLACE_MS, nobody(), None),
        ("news", vec![done()], shortly, news(), Some(Nowhere)),
        ("a save", vec![done()], shortly, hinted("a"), Some(at("a"))),
        ("a save, and news", vec![done()], shortly, Woken { news: true, ..hinted("a") }, Some(at("a"))),
        ("somebody asks how far it is", vec![done()], shortly, asked(), Some(Nowhere)),
        ("a verb left something", vec![done()], shortly, nudged(), Some(Whole)),
        (
            "a verb left something, and a save",
            vec![done()],
            shortly,
            Woken { nudged: true, ..hinted("a") },
            Some(Whole),
        ),
        ("it was not lost", vec![done()], shortly, reached(), None),
        ("the server is gone", vec![done()], shortly, lost(), Some(Nowhere)),
        ("the server talks to it no more", vec![done()], shortly, refused(), Some(Nowhere)),
        ("just before it is time to look at everything", vec![done()], look_at_ms - 1, nobody(), None),
        ("time to look at everything", vec![done()], look_at_ms, nobody(), Some(Whole)),
        // After a failure.
        ("before it is tried again", vec![failed(None, None)], again_ms(1) - 1, nobody(), None),
        ("it is tried again", vec![failed(None, None)], again_ms(1), nobody(), Some(Whole)),
        (
            "the second wait is longer",
            vec![failed(None, None), failed(None, None)],
            again_ms(2) - 1,
            nobody(),
            None,
        ),
        (
            "and comes to an end",
            vec![failed(None, None), failed(None, None)],
            again_ms(2),
            nobody(),
            Some(Whole),
        ),
        (
            "one that got everything done begins it anew",
            vec![failed(None, None), done(), failed(None, None)],
            again_ms(1),
            nobody(),
            Some(Whole),
        ),
        (
            "so does a turn for what goes first",
            vec![failed(None, None), Ended::GaveWay(None), failed(None, None)],
            again_ms(1),
            nobody(),
            Some(Whole),
        ),
        ("the server asked for more time", vec![failed(Some(9_000), None)], ENDED_MS + 8_999, nobody(), None),
        ("which is over", vec![failed(Some(9_000), None)], ENDED_MS + 9_000, nobody(), Some(Whole)),
        ("that the server is gone is known", vec![failed(None, None)], shortly, lost(), None),
        ("that it refuses may be new", vec![failed(None, None)], shortly, refused(), Some(Nowhere)),
        ("it is back", vec![failed(None, None)], shortly, reached(), Some(Nowhere)),
        ("a save while it is tried again", vec![failed(None, None)], shortly, hinted("a"), Some(at("a"))),
        // A pause is no failure, and whoever ends it nudges.
        ("paused", vec![paused()], ENDED_MS + PLACE_MS, nobody(), None),
        ("a save in a pause", vec![paused()], shortly, hinted("a"), Some(at("a"))),
        // A full disk.
        ("not enough room", vec![failed(Some(9_000), Some(5))], shortly, room(4 + ROOM_BYTES), None),
        ("room", vec![failed(Some(9_000), Some(5))], shortly, room(5 + ROOM_BYTES), Some(Whole)),
        ("nobody was short of it", vec![failed(Some(9_000), None)], shortly, room(5 + ROOM_BYTES), None),
        // What gave way goes on at once.
        ("it goes on", vec![left(at("a"))], ENDED_MS, nobody(), Some(at("a"))),
        ("with nothing to look at", vec![left(Nowhere)], ENDED_MS, nobody(), Some(Nowhere)),
        ("with what was saved", vec![left(at("a"))], ENDED_MS, hinted("a"), Some(at("a"))),
        (
            "with what was saved while it looked nowhere",
            vec![left(Nowhere)],
            ENDED_MS,
            hinted("b"),
            Some(at("b")),
        ),
        ("with what a verb left", vec![left(at("a"))], ENDED_MS, nudged(), Some(Whole)),
        ("nobody knows where", vec![Ended::GaveWay(None)], ENDED_MS, nobody(), None),
        // What was being written.
        ("too early", vec![unfinished("a")], ENDED_MS + PAUSE_MS - 1, nobody(), None),
        ("after a pause", vec![unfinished("a")], ENDED_MS + PAUSE_MS, nobody(), Some(at("a"))),
        ("a save at that moment", vec![unfinished("a")], ENDED_MS + PAUSE_MS, hinted("a"), Some(at("a"))),
        ("a save before it", vec![unfinished("a")], shortly, hinted("b"), Some(at("b"))),
        ("it rests now", vec![unfinished("a"), done()], ENDED_MS + PAUSE_MS, nobody(), None),
    ];
    for (what, rounds, now_ms, woken, look) in rows {
        let mut vigil = after(rounds);
        match (next(&mut vigil, now_ms, woken), look) {
            (Next::Look(found), Some(look)) => assert_eq!(found, look, "{what}"),
            (Next::Sleep { .. }, None) => {}
            (found, expected) => panic!("{what}: {found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn what_is_saved_in_the_moment_when_another_is_looked_at_again_is_looked_at_with_it() {
    let both = Look::At(["a", "b"].map(String::from).into());
    for ended in [unfinished("a"), Ended::GaveWay(Some(at("a")))] {
        let woken = Woken { hinted: at("b"), ..nobody() };
        assert_eq!(next(&mut after([ended]), ENDED_MS + PAUSE_MS, woken), Next::Look(both.clone()));
    }
}

#[test]
fn it_sleeps_until_the_first_thing_that_time_brings() {
    let gone_on = ENDED_MS + 500;
    let unfinished_and_failed = Ended::AtRest {
        trouble: Trouble::Failure { asked_wait_ms: Some(30_000), short_of_room: None },
        owes_look: false,
        unfinished: Some(at("a")),
        is_news: true,
    };
    for (what, rounds, until_ms) in [
        ("all is written down a pause later", vec![done()], ENDED_MS + PAUSE_MS),
        ("what went wrong is written down at once", vec![failed(Some(30_000), None)], gone_on + PLACE_MS),
        ("and that it is over", vec![over()], gone_on + PLACE_MS),
        ("what fails is tried again", vec![failed(Some(5_000), None)], ENDED_MS + 5_000),
        ("room is looked for often", vec![failed(Some(9_000), Some(0))], gone_on + ROOM_MS),
        ("what is being written is looked at again", vec![unfinished_and_failed], ENDED_MS + PAUSE_MS),
    ] {
        assert_eq!(next(&mut after(rounds), gone_on, nobody()), sleep_until(until_ms), "{what}");
    }
    // What gave way does not sleep.
    let step = after([]).step(ENDED_MS, Event::Ended(Ended::GaveWay(Some(Look::Nowhere))));
    assert_eq!(step.next, sleep_until(ENDED_MS));
}

#[test]
fn what_stays_unfinished_is_looked_at_ever_more_rarely() {
    let times = |rounds: Vec<Ended>| match next(&mut after(rounds), ENDED_MS, nobody()) {
        Next::Sleep { until_ms } => until_ms - ENDED_MS,
        look @ Next::Look(_) => panic!("{look:?}"),
    };
    let often = |count| vec![unfinished("a"); count];
    let noted = |mut rounds: Vec<Ended>| {
        // So that nothing else wakes it.
        rounds.insert(0, unfinished("a"));
        let last = rounds.pop().expect("there is one");
        let mut vigil = after(rounds);
        vigil.step(ENDED_MS, Event::Ended(last));
        vigil.step(ENDED_MS + PAUSE_MS, Event::Woken(nobody()))
    };
    assert_eq!(times(often(1)), PAUSE_MS);
    assert!(noted(often(4)).note);
    // By the fifth time its wait is longer than a pause; another file's is not.
    assert_eq!(noted(often(4)).next, sleep_until(ENDED_MS + retry::wait_ms(5, SEED)));
    assert!(retry::wait_ms(5, SEED) > PAUSE_MS);
    let mut another = often(4);
    another.push(unfinished("b"));
    assert_eq!(noted(another).next, Next::Look(at("b")));
}

#[test]
fn how_it_stands_is_written_down_when_there_is_a_pause_and_once() {
    let mut vigil = after([]);
    assert!(!vigil.step(ENDED_MS, Event::Ended(done())).note, "while much happens");
    assert!(!vigil.step(ENDED_MS + PAUSE_MS - 1, Event::Woken(nobody())).note);
    assert!(vigil.step(ENDED_MS + PAUSE_MS, Event::Woken(nobody())).note);
    assert!(!vigil.step(ENDED_MS + PAUSE_MS, Event::Woken(nobody())).note);
    // What went wrong, that it is over, and that something goes first: at once.
    assert!(vigil.step(ENDED_MS, Event::Ended(failed(None, None))).note);
    assert!(vigil.step(ENDED_MS, Event::Ended(over())).note);
    assert!(!vigil.step(ENDED_MS, Event::Ended(done())).note);
    assert!(vigil.step(ENDED_MS, Event::Ended(Ended::GaveWay(Some(Look::Nowhere)))).note);
}

#[test]
fn what_was_not_looked_at_makes_the_next_look_one_at_everything() {
    let owes = Ended::AtRest {
        trouble: Trouble::Failure { asked_wait_ms: None, short_of_room: None },
        owes_look: true,
        unfinished: None,
        is_news: true,
    };
    let covered = Covered { look_every_ms: LOOK_EVERY_MS, ..Covered::default() };
    let mut vigil = after([owes]);
    assert_eq!(vigil.begin(ENDED_MS, at("a"), covered), Look::Whole);
    // Also by the one after a turn for what goes first.
    vigil.step(ENDED_MS, Event::Ended(Ended::GaveWay(Some(at("a")))));
    assert_eq!(vigil.begin(ENDED_MS, at("a"), covered), Look::Whole);
    vigil.step(ENDED_MS, Event::Ended(done()));
    assert_eq!(vigil.begin(ENDED_MS, at("a"), covered), at("a"));
    assert_eq!(vigil.begin(ENDED_MS, at("a"), Covered { whole: true, ..covered }), Look::Whole);
}

#[test]
fn folders_that_came_are_followed_by_a_look_at_everything() {
    let covered = Covered { look_every_ms: LOOK_EVERY_MS, ..Covered::default() };
    let came = Covered { came: true, ..covered };
    let mut vigil = after([]);
    let mut round = |look, covered| {
        let look = vigil.begin(ENDED_MS, look, covered);
        let asleep = vigil.step(ENDED_MS, Event::Ended(over())).next;
        let then = next(&mut vigil, ENDED_MS + PAUSE_MS, nobody());
        (look, asleep, matches!(then, Next::Look(Look::Whole)))
    };
    let soon = sleep_until(ENDED_MS + PAUSE_MS);
    assert_eq!(round(at("new"), came), (at("new"), soon.clone(), true));
    // A round between does not take its place.
    assert_eq!(round(at("a"), covered), (at("a"), soon, true));
    assert_eq!(round(Look::Whole, covered), (Look::Whole, sleep_until(ENDED_MS + PLACE_MS), false));
}

#[test]
fn a_folder_that_cannot_be_watched_is_looked_at_often() {
    let mut vigil = after([]);
    let polled = Covered { whole: true, came: false, look_every_ms: 5_000 };
    assert_eq!(vigil.begin(ENDED_MS, Look::Nowhere, polled), Look::Whole);
    // A round that takes long does not put it off.
    vigil.step(ENDED_MS + 4_500, Event::Ended(done()));
    assert_eq!(next(&mut vigil, ENDED_MS + 4_600, nobody()), sleep_until(ENDED_MS + 5_000));
    assert_eq!(next(&mut vigil, ENDED_MS + 5_000, nobody()), Next::Look(Look::Whole));
}

#[test]
fn that_the_folder_is_gone_is_found_by_a_round_unless_one_is_to_come_anyway() {
    let owes = Ended::AtRest { trouble: Trouble::Pause, owes_look: true, unfinished: None, is_news: true };
    for (ended, minds) in [(done(), true), (paused(), true), (failed(None, None), false), (owes, false)] {
        let mut vigil = after([ended.clone()]);
        assert_eq!(vigil.minds_place(), minds, "{ended:?}");
        let step = vigil.step(ENDED_MS, Event::Gone);
        assert_eq!(step.next == Next::Look(Look::Nowhere), minds, "{ended:?}: {step:?}");
    }
}
