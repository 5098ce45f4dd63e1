//! From one common state: what two people expect when they act apart.

use super::{Expectation, Failure, Judge, Picture, lost};
use crate::history::{Device, Random, acts, content};
use annals_events::{Body, Dot, EntryId};
use std::collections::{BTreeMap, BTreeSet};

/// Two devices that hold the same, and what that is.
struct Apart<'j, 'a> {
    judge: &'j mut Judge<'a>,
    /// What they act on, as the reference shows it.
    common: &'j Picture,
    /// The same as the judged fold shows it.
    judged: Picture,
    a: &'j Device,
    b: &'j Device,
    random: Random,
}

impl Judge<'_> {
    /// Judges pairs of acts by `a` and `b`, whose disks both show `common`.
    pub fn apart(&mut self, a: &Device, b: &Device, common: &Picture, random: Random) {
        let judged = self.look(&a.disk());
        let mut apart = Apart { judge: self, common, judged, a, b, random };
        apart.moves_and_deletes();
        apart.resolutions();
        apart.edits_and_deletes();
        apart.words();
    }
}

impl Apart<'_, '_> {
    /// What both know once `one` did his deed, the other perhaps pulled it (not yet onto the disk), and did hers.
    fn after<A, B>(
        &mut self,
        one: impl FnOnce(&mut Device) -> A,
        pulled: bool,
        two: impl FnOnce(&mut Device, &Picture) -> B,
    ) -> Picture {
        let (mut a, mut b) = (self.a.clone(), self.b.clone());
        a.random = self.random.split();
        b.random = self.random.split();
        one(&mut a);
        if pulled {
            b.pull(&mut a, |all| all);
        }
        two(&mut b, self.common);
        self.judge.look(&a.together(&mut b))
    }

    fn expect(
        &mut self,
        holds: bool,
        expectation: Expectation,
        claim: &str,
        detail: impl FnOnce() -> String,
    ) {
        if !holds {
            self.judge.failures.push(Failure { expectation, claim: claim.into(), detail: detail() });
        }
    }

    fn moves_and_deletes(&mut self) {
        let common = self.common;
        let folders = common
            .listing
            .values()
            .filter(|line| common.is_folder(line.entries[0]) && line.entries.len() == 1);
        for m in folders.map(|line| line.entries[0]) {
            let contents = common.below(&[m]);
            for f in common.ancestors(m).into_iter().filter(|f| *f != EntryId::ROOT) {
                self.move_out_of_a_deleted_folder(m, f, &contents, false);
                self.move_out_of_a_deleted_folder(m, f, &contents, true);
                self.put_into_what_moved_out(m, f);
            }
            for x in contents.iter().copied().filter(|x| *x != m) {
                self.delete_below_a_renamed_folder(m, x);
            }
        }
    }

    /// One moves m out of f, the other deletes f, perhaps with the move in the log and not on the disk.
    fn move_out_of_a_deleted_folder(
        &mut self,
        m: EntryId,
        f: EntryId,
        contents: &BTreeSet<EntryId>,
        pulled: bool,
    ) {
        use Expectation::{DeleteHidesWhatWasSeen, MovedFolderKeepsContents as E};
        let heads: BTreeMap<EntryId, Vec<Dot>> =
            contents.iter().map(|x| (*x, self.judged.heads(*x))).collect();
        let after = self.after(
            |a| acts::move_to(a, m, EntryId::ROOT, "moved"),
            pulled,
            |b, disk| acts::delete(b, disk, &[f]),
        );
        let shown = after.shown();
        self.expect(contents.is_subset(&shown), E, "a moved folder keeps its contents", || {
            format!("{m:?} out of {f:?}: {contents:?}, {shown:?}")
        });
        let versions = heads.iter().all(|(x, heads)| after.heads(*x) == *heads);
        self.expect(versions, E, "and their versions", || format!("{m:?} out of {f:?}"));
        let rest = &self.common.below(&[f]) - contents;
        let stayed: Vec<_> = rest.iter().filter(|x| after.is_shown(**x) && !after.is_folder(**x)).collect();
        self.expect(stayed.is_empty(), DeleteHidesWhatWasSeen, "the rest is deleted", || {
            format!("{stayed:?}")
        });
    }

    /// One moves m out of f, the other puts a file of elsewhere into m and then deletes f.
    fn put_into_what_moved_out(&mut self, m: EntryId, f: EntryId) {
        let common = self.common;
        let files = common
            .listing
            .values()
            .filter(|line| line.entries.len() == 1 && !common.is_folder(line.entries[0]));
        let elsewhere: BTreeSet<EntryId> =
            files.map(|line| line.entries[0]).filter(|x| !common.ancestors(*x).contains(&f)).collect();
        for x in elsewhere {
            let after = self.after(
                |a| acts::move_to(a, m, EntryId::ROOT, "moved"),
                false,
                |b, _| {
                    acts::move_to(b, x, m, "put in");
                    let here = Picture::of_reference(&b.disk());
                    acts::delete(b, &here, &[f]);
                },
            );
            let gone = !after.is_shown(x);
            let claim = "what the mover had not seen in it stays deleted";
            self.expect(gone, Expectation::DeleteHidesWhatWasSeen, claim, || {
                format!("{x:?} in {m:?} of {f:?}")
            });
        }
    }

    /// One renames m, the other deletes one thing in it.
    fn delete_below_a_renamed_folder(&mut self, m: EntryId, x: EntryId) {
        use Expectation::DeleteSurvivesRenameAbove as E;
        let (gone, parent) = (self.common.below(&[x]), self.common.entries[&m].parent);
        let after = self.after(
            |a| acts::move_to(a, m, parent, "renamed"),
            false,
            |b, disk| acts::delete(b, disk, &[x]),
        );
        let stands = gone.is_disjoint(&after.shown());
        self.expect(stands, E, "a delete below a renamed folder stands", || format!("{x:?} in {m:?}"));
        let more = &lost(&self.judged, &after) - &gone;
        self.expect(more.is_empty(), E, "and only that is gone", || format!("{x:?} in {m:?}: {more:?}"));
    }

    /// Each keeps another head.
    fn resolutions(&mut self) {
        let common = self.common;
        let files: BTreeSet<EntryId> = common.listing.values().map(|line| line.entries[0]).collect();
        for x in files.into_iter().filter(|x| common.human_heads(*x).len() > 1) {
            let heads: Vec<Dot> = common.human_heads(x).into_iter().take(2).collect();
            let over = common.maximal(x);
            let after = self.after(
                |a| acts::resolve(a, x, &over, &[heads[0]].into()),
                false,
                |b, _| acts::resolve(b, x, &over, &[heads[1]].into()),
            );
            let kept = after.human_heads(x) == heads.iter().copied().collect();
            let claim = "what either kept stays";
            self.expect(kept, Expectation::ResolutionCanBeUndone, claim, || format!("{x:?}: {heads:?}"));
        }
    }

    /// One edits, the other deletes it, or any folder above it, or her own edit of it.
    fn edits_and_deletes(&mut self) {
        let common = self.common;
        let files: BTreeSet<EntryId> = common
            .listing
            .values()
            .filter(|line| line.entries.len() == 1 && common.is_file(line.entries[0]))
            .map(|line| line.entries[0])
            .collect();
        for x in files {
            let mut deleted = common.ancestors(x);
            deleted.retain(|f| *f != EntryId::ROOT);
            deleted.push(x);
            for f in deleted {
                self.edit_and_delete(x, f);
            }
            self.edit_beside_a_deleted_edit(x);
        }
    }

    fn edit_and_delete(&mut self, x: EntryId, f: EntryId) {
        let heads = self.common.human_heads(x);
        let mut edit = None;
        let after = self.after(
            |a| edit = Some(acts::upload(a, x, &heads, content("edited"))),
            false,
            |b, disk| acts::delete(b, disk, &[f]),
        );
        let lives = after.is_shown(x) && after.heads(x) == Vec::from_iter(edit);
        let claim = "an edit survives a delete that did not see it";
        self.expect(lives, Expectation::UnseenContentStays, claim, || format!("{x:?} in {f:?}"));
        let below = self.common.below(&[f]);
        let alone: Vec<_> =
            below.iter().filter(|y| **y != x && after.is_shown(**y) && !after.is_folder(**y)).collect();
        let claim = "and brings back nothing else";
        self.expect(alone.is_empty(), Expectation::NothingElseChanges, claim, || {
            format!("{x:?} in {f:?}: {alone:?}")
        });
    }

    fn edit_beside_a_deleted_edit(&mut self, x: EntryId) {
        let heads = self.common.human_heads(x);
        let mut edit = None;
        let after = self.after(
            |a| edit = Some(acts::upload(a, x, &heads, content("edited"))),
            false,
            |b, _| {
                acts::upload(b, x, &heads, content("edited, then deleted"));
                let here = Picture::of_reference(&b.disk());
                acts::delete(b, &here, &[x]);
            },
        );
        let alone = after.heads(x) == Vec::from_iter(edit);
        let claim = "a deleted version does not come back beside an edit";
        self.expect(alone, Expectation::DeleteHidesWhatWasSeen, claim, || {
            format!("{x:?}: {:?}", after.heads(x))
        });
    }

    /// One says something about an entry, the other something else.
    fn words(&mut self) {
        use Expectation::AttributesOfOneEntry as E;
        let common = self.common;
        let Some((x, entry)) = common.entries.iter().find(|(_, entry)| entry.shown) else { return };
        let one = Body {
            tags_added: vec!["kept".into()],
            note: Some("one".into()),
            mtime: Some(1),
            ..Body::default()
        };
        let two = Body {
            tags_removed: vec!["kept".into()],
            note: Some("two".into()),
            executable: Some(!entry.attributes.executable),
            ..Body::default()
        };
        let after = self.after(|a| acts::describe(a, *x, one), false, |b, _| acts::describe(b, *x, two));
        let now = after.entries.get(x).map(|entry| entry.attributes.clone()).unwrap_or_default();
        self.expect(now.tags.contains("kept"), E, "adding a tag wins", || format!("{now:?}"));
        self.expect(now.notes.iter().eq(["one", "two"]), E, "both notes are shown", || format!("{now:?}"));
        let both = now.mtime == Some(1) && now.executable != entry.attributes.executable;
        self.expect(both, E, "time and executable bit are told apart", || format!("{now:?}"));
    }
}
