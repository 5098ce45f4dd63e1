//! When to look at what the kernel hints at: a [`Debouncer`] gathers hints and says when which paths are due.
//!
//! ```text
//!             Changed                          gathered for some milliseconds
//!   hint ────────────────► changed ──────────────────────────────────────────────► due
//!    │  Writing             ▲                                                        ▲
//!    └────────────────► being written ── closed, or quiet for a while, or too long ──┘
//! ```
//!
//! What must always hold: every hint is due within [`WRITING_MS_MAX`] of it, one of a thing that is at rest within
//! [`GATHER_MS_MAX`]; nothing is due that was not hinted at since it was due last; more paths than [`PATHS_MAX`] are
//! everything. A file that changes without end, as a log does, would become a version at every line: after
//! [`LOOKS_AT_ONCE`] looks in a row it is due as one that is written to. A hint is no truth: whoever is told to look finds out what is there. Left out: where hints come from, and
//! the clock; times are milliseconds of one that never runs back.

use std::collections::{BTreeMap, BTreeSet};

/// How long a change waits for others to come with it: a burst is one look.
pub const GATHER_MS: u64 = 4;
/// How long it waits at most, however many come.
pub const GATHER_MS_MAX: u64 = 40;
/// How long a file that is open for writing has to be left alone to be looked at.
pub const QUIET_MS: u64 = 500;
/// How long a file that is written to all the time waits at most.
pub const WRITING_MS_MAX: u64 = 5_000;
/// How often a path is due at once before it has to wait; it regains one look each [`WRITING_MS_MAX`].
pub const LOOKS_AT_ONCE: u64 = 256;
/// Paths that are remembered one by one.
pub const PATHS_MAX: usize = 4_096;

/// Something may have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// To what is at this path, and it is at rest: a file was closed, a name came, went or got another, a bit changed.
    /// What is below a folder that came is meant, too.
    Changed(String),
    /// As [`Changed`](Self::Changed), to a file that was open for writing: its times may tell nothing of it.
    Closed(String),
    /// A file was written to, and will be again.
    Writing(String),
    /// Anywhere: hints were lost.
    Anywhere,
}

/// How much of the folder is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Look {
    /// Everything.
    #[default]
    Whole,
    /// Folders around these paths, and those in which disk and log may differ, as far as that is enough.
    At(BTreeSet<String>),
    /// Nothing, unless what comes from elsewhere needs it.
    Nowhere,
}

impl Look {
    /// As much as both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole, _) | (_, Self::Whole) => Self::Whole,
            (Self::Nowhere, look) | (look, Self::Nowhere) => look,
            (Self::At(mut paths), Self::At(more)) => {
                paths.extend(more);
                Self::At(paths)
            }
        }
    }
}

/// Since when something waits.
#[derive(Clone, Copy, Debug)]
struct Since {
    first_ms: u64,
    last_ms: u64,
}

impl Since {
    fn at(now_ms: u64) -> Self {
        Self { first_ms: now_ms, last_ms: now_ms }
    }

    fn due_ms(self, rest_ms: u64, max_ms: u64) -> u64 {
        (self.last_ms + rest_ms).min(self.first_ms + max_ms)
    }
}

/// How often something was looked at, less what it regained since.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    count: u64,
    at_ms: u64,
}

impl Looks {
    fn by(self, now_ms: u64) -> u64 {
        self.count.saturating_sub(now_ms.saturating_sub(self.at_ms) / WRITING_MS_MAX)
    }
}

/// Hints that are not due yet.
#[derive(Clone, Debug, Default)]
pub struct Debouncer {
    changed: BTreeSet<String>,
    anywhere: bool,
    /// Since when there is anything in `changed` or `anywhere`.
    gathering: Option<Since>,
    writing: BTreeMap<String, Since>,
    /// Files that were closed after writing, and may be due already.
    closed: BTreeSet<String>,
    /// What was looked at lately.
    looks: BTreeMap<String, Looks>,
}

impl Debouncer {
    /// Takes a hint. True: something may be due sooner than before.
    pub fn hint(&mut self, now_ms: u64, hint: Hint) -> bool {
        if let Hint::Closed(path) = &hint
            && self.closed.len() < PATHS_MAX
        {
            self.closed.insert(path.clone());
        }
        let sooner = match hint {
            Hint::Writing(path) => return self.write(now_ms, path),
            Hint::Changed(path) | Hint::Closed(path) if self.is_restless(&path, now_ms) => {
                return self.write(now_ms, path);
            }
            Hint::Changed(path) | Hint::Closed(path) => {
                let was_written = self.writing.remove(&path).is_some();
                if !self.anywhere {
                    self.changed.insert(path);
                }
                was_written || self.gathering.is_none()
            }
            Hint::Anywhere => {
                self.everywhere();
                self.gathering.is_none()
            }
        };
        self.gathering.get_or_insert(Since::at(now_ms)).last_ms = now_ms;
        self.bound();
        sooner
    }

    fn is_restless(&self, path: &str, now_ms: u64) -> bool {
        self.looks.get(path).is_some_and(|looks| looks.by(now_ms) >= LOOKS_AT_ONCE)
    }

    fn write(&mut self, now_ms: u64, path: String) -> bool {
        // What was closed and is due waits no longer because it is written to again.
        if self.anywhere || self.changed.contains(&path) {
            return false;
        }
        let known = self.writing.len();
        self.writing.entry(path).or_insert(Since::at(now_ms)).last_ms = now_ms;
        if self.writing.len() + self.changed.len() > PATHS_MAX {
            self.gathering.get_or_insert(Since::at(now_ms));
            self.bound();
        }
        self.writing.len() != known
    }

    fn bound(&mut self) {
        if self.changed.len() + self.writing.len() > PATHS_MAX {
            self.everywhere();
        }
    }

    fn everywhere(&mut self) {
        self.anywhere = true;
        self.changed.clear();
        self.writing.clear();
    }

    /// When the next look is due.
    #[must_use]
    pub fn due_at_ms(&self) -> Option<u64> {
        let gathered = self.gathering.map(|since| since.due_ms(GATHER_MS, GATHER_MS_MAX));
        let written = self.writing.values().map(|since| since.due_ms(QUIET_MS, WRITING_MS_MAX)).min();
        gathered.into_iter().chain(written).min()
    }

    /// What is to be looked at now; it is not due any more.
    pub fn take(&mut self, now_ms: u64) -> Option<Look> {
        if self.due_at_ms().is_none_or(|due_ms| due_ms > now_ms) {
            return None;
        }
        // What was gathered goes along with whatever is due: the look is the same.
        self.gathering = None;
        if std::mem::take(&mut self.anywhere) {
            return Some(Look::Whole);
        }
        let mut paths = std::mem::take(&mut self.changed);
        self.writing.retain(|path, since| {
            let stays = since.due_ms(QUIET_MS, WRITING_MS_MAX) > now_ms;
            if !stays {
                paths.insert(path.clone());
            }
            stays
        });
        self.remember(&paths, now_ms);
        Some(Look::At(paths))
    }

    /// Files that were closed after writing since this was last asked, as far as they were remembered. To be asked when
    /// something was due.
    pub fn take_closed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.closed)
    }

    fn remember(&mut self, paths: &BTreeSet<String>, now_ms: u64) {
        self.looks.retain(|_, looks| looks.by(now_ms) > 0);
        for path in paths {
            let looks = self.looks.entry(path.clone()).or_default();
            *looks = Looks { count: looks.by(now_ms) + 1, at_ms: now_ms };
        }
        if self.looks.len() > PATHS_MAX {
            self.looks.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn hints() -> impl Strategy<Value = Vec<(u64, Hint)>> {
        let path = || (0u8..6).prop_map(|n| format!("{n}"));
        let hint = prop_oneof![
            3 => path().prop_map(Hint::Changed),
            2 => path().prop_map(Hint::Closed),
            6 => path().prop_map(Hint::Writing),
            1 => Just(Hint::Anywhere),
        ];
        // Bursts, and pauses of every length that matters.
        let pause = prop_oneof![5 => 0u64..3, 3 => 0u64..60, 2 => 0u64..700, 1 => 0u64..8_000];
        vec((pause, hint), 1..200).prop_map(|hints| {
            let mut now = 0;
            let at = |(pause, hint)| {
                now += pause;
                (now, hint)
            };
            hints.into_iter().map(at).collect()
        })
    }

    /// Plays hints to a debouncer whose owner looks whenever something is due: when it looked at what.
    fn played(hints: &[(u64, Hint)]) -> Vec<(u64, Look)> {
        let (mut debouncer, mut looks) = (Debouncer::default(), Vec::new());
        let mut woken_at = None;
        let mut look_until = |debouncer: &mut Debouncer, until: u64, woken_at: &mut Option<u64>| {
            while let Some(due) = woken_at.filter(|due| *due <= until) {
                looks.extend(debouncer.take(due).map(|what| (due, what)));
                *woken_at = debouncer.due_at_ms();
            }
        };
        for (now, hint) in hints {
            // At the very moment of a look, hints come first.
            look_until(&mut debouncer, now.saturating_sub(1), &mut woken_at);
            if debouncer.hint(*now, hint.clone()) {
                woken_at = debouncer.due_at_ms();
            }
        }
        look_until(&mut debouncer, u64::MAX, &mut woken_at);
        assert_eq!(debouncer.due_at_ms(), None);
        looks
    }

    fn covers(due: &Look, hint: &Hint) -> bool {
        match (due, hint) {
            (Look::Whole, _) => true,
            (Look::At(paths), Hint::Changed(path) | Hint::Closed(path) | Hint::Writing(path)) => {
                paths.contains(path)
            }
            (Look::At(_), Hint::Anywhere) | (Look::Nowhere, _) => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn every_hint_is_looked_at_within_its_bound(hints in hints()) {
            let looks = played(&hints);
            for (at, hint) in &hints {
                let bound = if matches!(hint, Hint::Writing(_)) { WRITING_MS_MAX } else { GATHER_MS_MAX };
                let in_time = looks
                    .iter()
                    .any(|(when, due)| (*at..=at + bound).contains(when) && covers(due, hint));
                prop_assert!(in_time, "{hint:?} at {at}: {looks:?}");
            }
        }

        #[test]
        fn nothing_is_looked_at_that_was_not_hinted_at_since_the_last_look(hints in hints()) {
            let looks = played(&hints);
            for (i, (when, due)) in looks.iter().enumerate() {
                let hinted = |covered: &dyn Fn(&Hint) -> bool, since: u64| {
                    hints.iter().any(|(at, hint)| (since..=*when).contains(at) && covered(hint))
                };
                match due {
                    Look::Nowhere => prop_assert!(false, "nothing is never due"),
                    Look::Whole => {
                        let before = looks[..i].iter().rev().find(|(_, due)| *due == Look::Whole);
                        prop_assert!(hinted(&|hint| *hint == Hint::Anywhere, before.map_or(0, |(at, _)| *at)));
                    }
                    Look::At(paths) => for path in paths {
                        let of = |hint: &Hint| matches!(hint, Hint::Changed(p) | Hint::Closed(p) | Hint::Writing(p) if p == path);
                        let before =
                            looks[..i].iter().rev().find(|(_, due)| covers(due, &Hint::Changed(path.clone())));
                        prop_assert!(hinted(&of, before.map_or(0, |(at, _)| *at)), "{path} at {when}: {looks:?}");
                    },
                }
            }
        }

        #[test]
        fn what_changes_without_end_is_not_looked_at_without_end(pauses in vec(0u64..200, 2_000..4_000)) {
            let mut now = 0;
            let mut save = |pause: &u64| { now += pause; (now, Hint::Changed("log".into())) };
            let hints: Vec<_> = pauses.iter().map(&mut save).collect();
            let looks = played(&hints);
            let most = LOOKS_AT_ONCE + 2 * now / WRITING_MS_MAX + 2;
            prop_assert!(looks.len() as u64 <= most, "{} looks in {now} ms", looks.len());
        }

        #[test]
        fn a_file_that_is_only_written_to_is_left_alone_until_it_is_quiet(pauses in vec(0u64..QUIET_MS, 1..100)) {
            let mut now = 0;
            let mut write = |pause: &u64| { now += pause; (now, Hint::Writing("log".into())) };
            let hints: Vec<_> = pauses.iter().map(&mut write).collect();
            let (first, last) = (hints[0].0, hints.last().expect("one at least").0);
            for (when, _) in played(&hints) {
                let in_the_middle = when < last + QUIET_MS;
                prop_assert!(!in_the_middle || (when - first) >= WRITING_MS_MAX, "{when}, {first} to {last}");
            }
        }
    }

    #[test]
    fn two_looks_are_one_that_sees_as_much() {
        let at = |paths: &[&str]| Look::At(paths.iter().map(ToString::to_string).collect());
        for (one, other, both) in [
            (at(&["a"]), at(&["b"]), at(&["a", "b"])),
            (at(&["a"]), Look::Nowhere, at(&["a"])),
            (at(&["a"]), Look::Whole, Look::Whole),
            (Look::Nowhere, Look::Whole, Look::Whole),
            // A look at what disk and log may differ in is one.
            (Look::Nowhere, at(&[]), at(&[])),
            (Look::Nowhere, Look::Nowhere, Look::Nowhere),
        ] {
            assert_eq!((one.clone().and(other.clone()), other.and(one)), (both.clone(), both));
        }
    }

    #[test]
    fn a_burst_is_one_look_and_a_save_waits_for_nobody_who_writes() {
        let mut debouncer = Debouncer::default();
        assert!(debouncer.hint(0, Hint::Writing("film".into())));
        assert_eq!(debouncer.due_at_ms(), Some(QUIET_MS));
        assert!(debouncer.hint(10, Hint::Changed("a".into())));
        assert!(!debouncer.hint(12, Hint::Changed("b".into())));
        assert_eq!((debouncer.take(12), debouncer.due_at_ms()), (None, Some(12 + GATHER_MS)));
        let both = Look::At(["a", "b"].map(String::from).into());
        assert_eq!(debouncer.take(12 + GATHER_MS), Some(both));
        assert_eq!(debouncer.due_at_ms(), Some(QUIET_MS));
        // Closed: at once.
        assert!(debouncer.hint(20, Hint::Changed("film".into())));
        assert_eq!(debouncer.take(20 + GATHER_MS), Some(Look::At(["film".to_owned()].into())));
        assert_eq!(debouncer.due_at_ms(), None);
    }

    #[test]
    fn what_was_closed_after_writing_is_told_apart_until_somebody_asked() {
        let mut debouncer = Debouncer::default();
        debouncer.hint(0, Hint::Closed("map".into()));
        debouncer.hint(0, Hint::Changed("other".into()));
        assert_eq!(debouncer.take(GATHER_MS), Some(Look::At(["map", "other"].map(String::from).into())));
        assert_eq!(debouncer.take_closed(), ["map".to_owned()].into());
        assert_eq!(debouncer.take_closed(), BTreeSet::new());
    }

    #[test]
    fn more_paths_than_are_remembered_are_everything() {
        for of in [Hint::Changed as fn(String) -> Hint, Hint::Writing] {
            let mut debouncer = Debouncer::default();
            for n in 0..=PATHS_MAX {
                debouncer.hint(0, of(format!("{n}")));
            }
            assert_eq!(debouncer.take(GATHER_MS), Some(Look::Whole));
            assert_eq!(debouncer.due_at_ms(), None);
        }
    }
}
