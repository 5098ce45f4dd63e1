//! What follows from a look at the folder: at all of it, or at some folders where a change was hinted at.
//!
//! What must always hold: a look at some folders says what a look at everything would say, or asks for one. What is gone
//! is withheld until it is sure that somebody removed it: while more may go, while it is so much that a person has to
//! say so, and while it may be in a folder that was not looked at. So is what turned back, while more does: the state of
//! this device may be next. Whatever else people do meanwhile is said. What is
//! withheld stays in the synced tree, nothing is planned there, and so it neither comes again nor goes elsewhere.

use super::{Effect, Notice, Question, Replica, Sight, StateChange, UNSEEN_RANGES_MAX};
use crate::{
    author::{self, Authored, Compared, MassDelete, Removals, Scene, Withheld},
    observed::{LocalTree, Part, SyncedChange, SyncedNode, SyncedTree, Went, parent},
};
use annals_events::{Dot, DotSet, EntryId, EntryKind};
use annals_projections::Projections;
use std::collections::BTreeSet;

/// How much of the folder was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything.
    Whole,
    /// Some folders.
    Folders {
        /// Which, wherever they are or were.
        paths: BTreeSet<String>,
        /// Whether what is missing in them was searched for everywhere, by its number, and is nowhere.
        searched: bool,
    },
}

impl Reach {
    /// Whether what is at `path` was looked at.
    fn covers(&self, path: &str) -> bool {
        match self {
            Self::Whole => true,
            Self::Folders { paths, .. } => paths.contains(parent(path).unwrap_or("")),
        }
    }
}

/// What is to be said of what is gone, or turned back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// That so many things were removed, and what turned back.
    Say(usize),
    /// Nothing, for now.
    Wait,
    /// Nothing of what is gone: a person wants it back.
    Keep,
    /// Nothing of what is gone until a person has said so; of what turned back, if it rests.
    Ask(MassDelete, bool),
    /// It may be where nobody looked.
    LookEverywhere,
}

/// What a look found gone or turned back.
struct Found<'a> {
    reach: &'a Reach,
    removals: Removals,
    gone: Result<usize, MassDelete>,
    replaced: usize,
    back: usize,
    /// Whether a look at some folders can tell what became of it.
    clear: bool,
}

impl Found<'_> {
    /// `rests` says whether nothing more goes, and is told how much did.
    fn verdict(&self, mut rests: impl FnMut(usize) -> bool) -> Verdict {
        let waits = self.removals == Removals::AskAtRest;
        match (self.reach, self.gone) {
            (Reach::Folders { searched, .. }, _) if !self.clear || self.replaced > 0 && !searched => {
                Verdict::LookEverywhere
            }
            (_, Err(mass)) => Verdict::Ask(mass, !waits || rests(self.back)),
            (_, Ok(1..)) if self.removals == Removals::Withhold => Verdict::Keep,
            (_, Ok(gone)) if waits && !rests(gone + self.back) => Verdict::Wait,
            (Reach::Folders { searched: false, .. }, Ok(1..)) => Verdict::LookEverywhere,
            (_, Ok(gone)) => Verdict::Say(gone),
        }
    }
}

impl Verdict {
    /// What is not said; none where nothing is, before there was another look.
    fn withholds(self) -> Option<Withheld> {
        let (removals, folders, turned_back) = match self {
            Self::Say(_) => (false, false, false),
            Self::Wait => (true, false, true),
            Self::Keep => (true, true, false),
            Self::Ask(_, rests) => (true, true, !rests),
            Self::LookEverywhere => return None,
        };
        Some(Withheld { removals, folders, turned_back })
    }
}

impl Replica {
    /// Whether a look at some folders would do.
    #[must_use]
    pub fn may_glance(&self) -> bool {
        self.unsure.is_some()
            && !self.half_done
            && self.rules.hold_all()
            && !self.merge_only
            && self.question.is_none()
            && self.aside.is_empty()
            && self.working.is_none()
    }

    /// Somebody closed these files who may have written to them, or one of them is not what its times say: those whose
    /// times do not vouch for their content are read by the next look, whatever the times are.
    pub fn doubt<'a>(&mut self, paths: impl IntoIterator<Item = &'a String>) {
        for path in
            paths.into_iter().flat_map(|path| std::iter::once(path.clone()).chain(self.went.from(path)))
        {
            let node = self.synced.get(&path).filter(|node| node.settled && node.to_be_proven().is_some());
            let Some(node) = node else { continue };
            // Agreed on is what it was: no folder is unsure for this.
            let node = SyncedNode { settled: false, ..node };
            self.synced.apply(SyncedChange::Put(path, Box::new(node)));
        }
    }

    /// Where folders went since everything was looked at: who hints at something may not know of it.
    #[must_use]
    pub fn went(&self) -> &Went {
        &self.went
    }

    /// This goes on in the process in which `before` was, with the same watcher.
    pub fn goes_on_from(&mut self, before: &mut Self) {
        self.went = std::mem::take(&mut before.went);
    }

    /// What disk and log agreed on last about what is in these folders, and about the folders above.
    #[must_use]
    pub fn synced_at(&self, folders: &BTreeSet<String>) -> SyncedTree {
        Part::at(&self.log, &self.synced, folders).synced
    }

    /// The folders in which something was in the way, or could not be done. Everything is about to be looked at, these
    /// among the rest: it may be gone by now.
    pub fn take_hindered(&mut self) -> BTreeSet<String> {
        let (obstacles, blocked) = (std::mem::take(&mut self.obstacles), std::mem::take(&mut self.blocked));
        let paths = obstacles.into_keys().chain(blocked);
        paths.map(|path| parent(&path).unwrap_or("").to_owned()).collect()
    }

    pub(super) fn looked(
        &mut self,
        now_ms: u64,
        local: LocalTree,
        reach: &Reach,
        removals: Removals,
        effects: &mut Vec<Effect>,
    ) {
        // What is being done to the folder is not a person's doing.
        let sight = if self.working.is_some() { None } else { self.sight_of(reach, removals) };
        let Some(mut sight) = sight else { return effects.push(Effect::Scan) };
        self.blocked.retain(|path| !reach.covers(path));
        self.blocked.extend(local.untouchable());
        self.obstacles.retain(|path, _| !reach.covers(path));
        self.obstacles.extend(local.obstacles.clone());
        let aside = self.texts_aside();
        let mut changes = Vec::new();
        for change in author::adopt_new(&local, sight.synced(&self.synced), sight.remote()) {
            self.take_step(change.clone());
            sight.apply(&change);
            changes.push(StateChange::Synced(change));
        }
        if *reach == Reach::Whole {
            self.settle(&sight);
        }
        self.not_sure_of(reach);
        let behind: DotSet = self.unsettled.keys().copied().collect();
        if behind.range_count() > UNSEEN_RANGES_MAX && self.synced.is_empty() | !changes.is_empty() {
            // A first link to a full folder: the disk catches up, then its own changes are looked at.
            self.put_back(sight);
            self.persist(changes, effects);
            self.make_plan(true, 0, effects);
            return effects.push(Effect::Scan);
        }
        let (seen, device, next) = (self.seen(), self.device(), self.journal.next());
        let (removed_lately, nothing) = (self.vanishing.removed_lately(now_ms), BTreeSet::new());
        let compared = Compared::new(Scene {
            local: &local,
            synced: sight.synced(&self.synced),
            remote: sight.remote(),
            log: &self.log,
            seen: &seen,
            resolved: &self.resolved,
            device,
            next,
            removals,
            removed_lately,
            known: self.synced.len(),
            strict: self.question.is_some(),
            held: if self.question.is_some() || removals == Removals::Withhold {
                &self.withheld
            } else {
                &nothing
            },
        });
        let gone = compared.gone().and_then(|gone| self.still_asked(gone, removals));
        let clear = *reach == Reach::Whole || is_clear(&compared, gone, removals, &self.log);
        let (replaced, back) = (compared.replaced(), compared.turned_back());
        let found = Found { reach, removals, gone, replaced, back, clear };
        let verdict = found.verdict(|left| self.vanishing.observe(now_ms, left));
        let Some(withheld) = verdict.withholds() else {
            self.persist(changes, effects);
            return effects.push(Effect::Scan);
        };
        let authored = compared.say_but(withheld);
        drop(local); // Of a large folder there is enough to be held without it.
        self.put_back(sight);
        let was_half_done = self.half_done && *reach == Reach::Whole;
        self.half_done &= !was_half_done;
        let withheld = authored.withheld.clone();
        // Written down with what is said, for it has to be asked as long as nobody answers.
        self.question = match verdict {
            Verdict::Ask(mass, _) => {
                // Who is asked for the first time is told of what was removed lately as well.
                let first = self.question.map_or_else(|| mass.gone - removed_lately, |asked| asked.first);
                Some(Question { mass, first })
            }
            _ => None,
        };
        self.take_authored(now_ms, authored, &aside, changes, effects);
        self.not_sure_of(reach);
        self.withheld.retain(|path| !reach.covers(path));
        self.withheld.extend(withheld);
        self.blocked.extend(self.withheld.iter().cloned());
        // What stands where a withheld one would is somebody's: it is not made room for that.
        let beside = self.withheld.iter().filter(|path| path.starts_with('\0'));
        let beside = beside.filter_map(|path| Some(self.synced.get(path)?.entry()));
        let places: Vec<String> = beside.filter_map(|entry| self.log.path(entry)).collect();
        self.blocked.extend(places);
        match verdict {
            Verdict::Say(gone) => self.vanishing.said(now_ms, gone, removals),
            Verdict::Wait => effects.push(Effect::Notice(Notice::Vanishing(self.withheld.clone()))),
            Verdict::Keep | Verdict::Ask(..) | Verdict::LookEverywhere => {}
        }
        // What others said meanwhile goes first.
        if !was_half_done {
            self.make_plan(true, 0, effects);
        }
    }

    /// Whoever was asked has to answer, or most of what was gone has to come back: that some time went by since is no
    /// answer.
    fn still_asked(&self, gone: usize, removals: Removals) -> Result<usize, MassDelete> {
        match self.question {
            Some(asked) if gone > 0 && gone * 2 >= asked.first && removals != Removals::Accept => {
                Err(MassDelete { gone, ..asked.mass })
            }
            _ => Ok(gone),
        }
    }

    /// The trees that what was looked at is compared with; none where everything has to be looked at instead.
    fn sight_of(&mut self, reach: &Reach, removals: Removals) -> Option<Sight> {
        let Reach::Folders { paths, .. } = reach else {
            self.merge_only = removals == Removals::Never;
            // Anything may be different from what it was.
            self.unsure = None;
            self.went.clear();
            return Some(self.sight());
        };
        let sight = self.sight();
        if !self.may_glance() || !matches!(sight, Sight::Part(_)) {
            self.put_back(sight);
            return None;
        }
        self.settle(&sight);
        Some(Sight::Part(Part::at(&self.log, &self.synced, paths)))
    }

    /// Disk and log may differ where somebody looked.
    fn not_sure_of(&mut self, reach: &Reach) {
        let (Reach::Folders { paths, .. }, Some(unsure)) = (reach, &mut self.unsure) else { return };
        let known = paths.iter().filter_map(|path| self.synced.get(path));
        unsure.extend(known.flat_map(|node| node.entries));
        unsure.extend(paths.contains("").then_some(EntryId::ROOT));
    }

    fn take_authored(
        &mut self,
        now_ms: u64,
        authored: Authored,
        aside: &BTreeSet<Dot>,
        mut changes: Vec<StateChange>,
        effects: &mut Vec<Effect>,
    ) {
        let Authored { deeds, changes: synced, unread, refused, withheld: _ } = authored;
        for change in synced {
            self.take_step(change.clone());
            changes.push(StateChange::Synced(change));
        }
        changes.extend(self.discarded(aside));
        self.sign(now_ms, deeds, changes, effects);
        if !unread.is_empty() {
            effects.push(Effect::Notice(Notice::Unread(unread)));
        }
        if !refused.is_empty() {
            effects.push(Effect::Notice(Notice::Unsyncable(refused)));
        }
    }

    /// Takes out of the synced tree what is not in the folder without anybody having removed it.
    pub(super) fn forget(&mut self, paths: impl Iterator<Item = String>) -> Vec<StateChange> {
        let known = paths.filter(|path| self.synced.get(path).is_some()).collect::<Vec<_>>();
        let changes = known.into_iter().map(SyncedChange::Remove);
        changes
            .map(|change| {
                self.take_step(change.clone());
                StateChange::Synced(change)
            })
            .collect()
    }

    /// The tops of what a look at everything found missing, and whether a person would have to say that it was removed.
    /// Nothing follows from asking.
    pub fn missing_in(&mut self, local: &LocalTree) -> (BTreeSet<String>, Option<MassDelete>) {
        self.remote();
        let remote = self.remote.take().expect("it was just made");
        let (seen, device, next) = (self.seen(), self.device(), self.journal.next());
        let compared = Compared::new(Scene {
            local,
            synced: &self.synced,
            remote: &remote,
            log: &self.log,
            seen: &seen,
            resolved: &self.resolved,
            device,
            next,
            removals: Removals::Ask,
            removed_lately: 0,
            known: self.synced.len(),
            strict: self.question.is_some(),
            held: &self.withheld,
        });
        let mass = compared.gone().and_then(|gone| self.still_asked(gone, Removals::Ask)).err();
        let authored = compared.say_but(Withheld { removals: true, folders: true, turned_back: false });
        self.remote = Some(remote);
        let missing = authored.withheld.into_iter().map(|top| was_at(&authored.changes, top));
        (missing.collect(), mass)
    }

    /// What is missing now would be said to be removed, were it searched for everywhere and nowhere.
    #[must_use]
    pub fn is_search_due(&self, now_ms: u64) -> bool {
        !self.withheld.is_empty() && self.vanishing.is_due(now_ms)
    }
}

/// Where something was that is at `path` after these changes.
fn was_at(changes: &[SyncedChange], path: String) -> String {
    changes.iter().rev().fold(path, |path, change| {
        let SyncedChange::Move { from, to } = change else { return path };
        let below = path.strip_prefix(to.as_str()).filter(|below| below.is_empty() || below.starts_with('/'));
        below.map_or_else(|| path.clone(), |below| format!("{from}{below}"))
    })
}

/// Whether what is missing in some folders can be judged there: files of one name and one version each, that are waited
/// for. Of everything else there may be more elsewhere.
fn is_clear(
    compared: &Compared<'_>,
    gone: Result<usize, MassDelete>,
    removals: Removals,
    log: &Projections,
) -> bool {
    let is_alone = |node: &SyncedNode| {
        let one = node.entries.len() == 1 && log.heads(node.entry()).len() <= 1;
        one && node.kind != EntryKind::Folder && !node.copy && !node.aside
    };
    let missed = compared.missed().count();
    let waited_for = removals == Removals::AskAtRest && gone == Ok(missed - compared.replaced());
    missed == 0 || waited_for && compared.missed().all(is_alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_said_once_it_is_sure_that_somebody_removed_it() {
        use Removals::{Accept, AskAtRest, Withhold};
        let folders = |searched| Reach::Folders { paths: BTreeSet::new(), searched };
        let most = MassDelete { gone: 9, known: 10 };
        for (reach, removals, gone, clear, rests, verdict) in [
            (Reach::Whole, AskAtRest, Ok(0), true, true, Verdict::Say(0)),
            (Reach::Whole, AskAtRest, Ok(2), true, true, Verdict::Say(2)),
            (Reach::Whole, AskAtRest, Ok(2), true, false, Verdict::Wait),
            (Reach::Whole, Accept, Ok(2), true, false, Verdict::Say(2)),
            (Reach::Whole, Withhold, Ok(2), true, true, Verdict::Keep),
            (Reach::Whole, Withhold, Ok(0), true, true, Verdict::Say(0)),
            (Reach::Whole, AskAtRest, Err(most), true, true, Verdict::Ask(most, true)),
            (Reach::Whole, AskAtRest, Err(most), true, false, Verdict::Ask(most, false)),
            (Reach::Whole, Removals::Ask, Err(most), true, false, Verdict::Ask(most, true)),
            (folders(false), AskAtRest, Ok(0), true, true, Verdict::Say(0)),
            (folders(false), AskAtRest, Ok(1), true, true, Verdict::LookEverywhere),
            (folders(false), AskAtRest, Ok(1), true, false, Verdict::Wait),
            (folders(true), AskAtRest, Ok(1), true, true, Verdict::Say(1)),
            (folders(true), AskAtRest, Ok(1), false, true, Verdict::LookEverywhere),
            (folders(true), AskAtRest, Err(most), false, true, Verdict::LookEverywhere),
        ] {
            let found = Found { reach: &reach, removals, gone, replaced: 0, back: 0, clear };
            let case = format!("{reach:?} {removals:?} {gone:?} clear {clear} rests {rests}");
            assert_eq!(found.verdict(|_| rests), verdict, "{case}");
        }
    }
}
