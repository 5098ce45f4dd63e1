//! What is gone from the disk: entries, or single names of a file in conflict.
//!
//! A delete hides the places and maximal versions, at and below what was removed, that the disk showed. One
//! removed tree is one delete at its top; where that does not fit a batch it is several, each of which repeats
//! the places of every deleted folder above what it names.

use super::{Author, MassDelete, RANGES_MAX, Removals, Said, VANISHED_MAX};
use crate::{
    observed::{SyncedChange, SyncedNode},
    working_tree::{Spot, TOP},
};
use annals_events::{ContentId, Dot, DotSet, EntryId, EntryKind, Fact};
use std::collections::BTreeSet;

impl Author<'_> {
    /// Whether it was known, is not there, and its absence means something.
    pub(super) fn is_missing(&self, spot: Spot) -> bool {
        let slot = self.matching.slot(spot);
        slot.synced.is_some() && slot.met.is_none() && self.may_remove()
    }

    /// Whether it is missing, and that is said.
    fn is_gone(&self, spot: Spot) -> bool {
        let sure = || {
            if self.withholds.folders {
                self.is_replaced(spot)
            } else {
                self.matching.displaced(spot).is_some()
            }
        };
        self.is_missing(spot) && (!self.withholds.removals || sure())
    }

    /// Whether something else stands where this file, or link, stood by itself.
    pub(super) fn is_replaced(&self, spot: Spot) -> bool {
        let is_leaf = |root: Spot| {
            self.matching.slot(root).synced.as_ref().is_some_and(|node| node.kind != EntryKind::Folder)
        };
        self.matching.displaced(spot).is_some_and(is_leaf)
    }

    fn may_remove(&self) -> bool {
        self.scene.local.complete && self.scene.removals != Removals::Never
    }

    /// The tops of what is missing: nothing above them is.
    fn tops(&self) -> Vec<Spot> {
        let tree = &self.matching.tree;
        let below_one = |spot: Spot| {
            let above = std::iter::successors(tree.place(spot), |(folder, _)| tree.place(*folder));
            above.map(|(folder, _)| folder).any(|folder| folder != TOP && self.is_missing(folder))
        };
        tree.spots().filter(|spot| self.is_missing(*spot) && !below_one(*spot)).collect()
    }

    /// More than half of everything at once is more likely a lost disk than a person.
    /// Answers how many are gone.
    pub(super) fn check_mass_delete(&self) -> Result<usize, MassDelete> {
        let lately = self.scene.removed_lately;
        let known = self.scene.known + lately;
        let few = |gone: usize| gone + lately <= VANISHED_MAX || (gone + lately) * 2 <= known;
        let vanished = |spot: &Spot| self.is_missing(*spot) && !self.is_replaced(*spot);
        let gone: Vec<Spot> = self.matching.tree.spots().filter(vanished).collect();
        if gone.is_empty() || self.scene.removals == Removals::Accept || few(gone.len()) {
            return Ok(gone.len());
        }
        let shown = self.scene.remote.entries();
        let gone =
            gone.iter().filter(|spot| self.entries_of(**spot).iter().any(|e| shown.contains(e))).count();
        if few(gone) { Ok(gone) } else { Err(MassDelete { gone: gone + lately, known }) }
    }

    fn entries_of(&self, spot: Spot) -> &[EntryId] {
        self.matching.slot(spot).synced.as_ref().map_or(&[], |node| node.entries.as_slice())
    }

    pub(super) fn remove(&mut self) {
        let (tops, waits): (Vec<Spot>, Vec<Spot>) =
            self.tops().into_iter().partition(|top| self.is_gone(*top));
        let shown = if tops.is_empty() { BTreeSet::new() } else { self.scene.remote.entries() };
        let dropped_with_folders = self.forked_below(&tops);
        let mut done = BTreeSet::new();
        for &top in &tops {
            let synced = self.matching.slot(top).synced.clone().expect("what is gone was known");
            let forked = synced.kind == EntryKind::File && self.forked.contains_key(&synced.entry());
            if forked && self.survives(synced.entry()) {
                continue; // Only a name of it is gone: see below.
            }
            let walk = self.matching.tree.walk(top);
            let needed = walk.iter().any(|spot| self.entries_of(*spot).iter().any(|e| shown.contains(e)));
            let first = !forked || done.insert(synced.entry());
            if needed && first && !synced.aside && !dropped_with_folders.contains(&top) {
                self.delete(top, &synced);
            }
        }
        self.drop_names();
        for top in tops {
            let path = self.matching.path(top);
            self.out.changes.push(SyncedChange::Remove(path));
        }
        waits.into_iter().for_each(|top| self.withhold(top));
        self.forget_displaced();
    }

    /// Keeps what is missing in the synced tree. Where its name was taken meanwhile it is known beside the folder from
    /// here on.
    fn withhold(&mut self, top: Spot) {
        let mut path = self.matching.path(top);
        if self.matching.tree.place(top).is_none() {
            let synced = self.matching.slot(top).synced.as_ref().expect("what is missing was known");
            let head = synced.head.map(|head| head.to_string()).unwrap_or_default();
            let to = format!("\0{} {head}", synced.entry().0);
            self.out.changes.push(SyncedChange::Move { from: path, to: to.clone() });
            path = to;
        }
        self.out.withheld.insert(path);
    }

    /// Names of files in conflict that are gone with a folder while the last other name is gone by itself.
    fn forked_below(&self, tops: &[Spot]) -> BTreeSet<Spot> {
        let top: BTreeSet<Spot> = tops.iter().copied().collect();
        let all_names = self.forked.values();
        all_names
            .filter(|names| names.iter().any(|spot| self.is_gone(*spot) && !top.contains(spot)))
            .flatten()
            .copied()
            .collect()
    }

    /// What was put beside the tree and is neither found nor gone has no place in the synced tree any more.
    fn forget_displaced(&mut self) {
        if self.may_remove() {
            return;
        }
        for spot in self.matching.tree.spots() {
            if self.matching.slot(spot).met.is_none() && self.matching.tree.place(spot).is_none() {
                let path = self.matching.path(spot);
                self.out.changes.push(SyncedChange::Remove(path));
            }
        }
    }

    // --- entries ---------------------------------------------------------------------------------------

    fn delete(&mut self, top: Spot, synced: &SyncedNode) {
        let entries: DotSet = synced.entries.iter().map(|entry| entry.0).collect();
        let mut parts: Vec<(Vec<Spot>, DotSet)> = vec![(Vec::new(), DotSet::new())];
        let mut above: Vec<Spot> = Vec::new();
        for spot in self.matching.tree.walk(top) {
            let Some(synced) = self.matching.slot(spot).synced.as_ref().filter(|node| !node.aside) else {
                continue;
            };
            if spot != top && self.forked.contains_key(&synced.entry()) && self.survives(synced.entry()) {
                continue; // Only a name of it is gone with the folder: the file went elsewhere under another.
            }
            let folder = self.matching.tree.place(spot).map(|(folder, _)| folder);
            while above.last().is_some_and(|last| Some(*last) != folder) {
                above.pop();
            }
            if parts.last().is_some_and(|(_, hides)| hides.range_count() >= RANGES_MAX) {
                let mut hides = DotSet::new();
                for folder in &above {
                    hides.extend(self.places_of(*folder));
                }
                parts.push((above.clone(), hides));
            }
            let dots = self.alive_by(spot);
            parts.last_mut().expect("it begins with one").1.extend(dots);
            if self.matching.slot(spot).synced.as_ref().is_some_and(|node| node.kind == EntryKind::Folder) {
                above.push(spot);
            }
        }
        for (_, hides) in parts {
            let fact = Fact::EntryDeleted { entries: entries.clone(), hides };
            self.say(vec![Said { fact, body: None }]);
        }
    }

    fn places_of(&self, spot: Spot) -> Vec<Dot> {
        let (log, seen) = (self.scene.log, &self.seen);
        self.entries_of(spot).iter().flat_map(|entry| log.places_as_seen(*entry, seen)).collect()
    }

    /// Everything that keeps the entries behind a name alive, as the disk showed it.
    fn alive_by(&self, spot: Spot) -> Vec<Dot> {
        self.entries_of(spot).iter().flat_map(|entry| self.keeps_alive(*entry)).collect()
    }

    fn keeps_alive(&self, entry: EntryId) -> Vec<Dot> {
        let (log, seen) = (self.scene.log, &self.seen);
        let mut dots = log.places_as_seen(entry, seen);
        dots.extend(log.maximal_as_seen(entry, seen));
        dots
    }

    // --- names of files in conflict ------------------------------------------------------------------------

    /// Whether a name of it is still there, or nobody can say.
    fn survives(&self, entry: EntryId) -> bool {
        self.forked[&entry].iter().any(|spot| self.is_kept_name(*spot))
    }

    fn is_kept_name(&self, spot: Spot) -> bool {
        !self.is_gone(spot) && !self.parted.contains_key(&spot)
    }

    fn drop_names(&mut self) {
        if self.forked.is_empty() {
            return;
        }
        let shown: BTreeSet<Dot> = self.scene.remote.nodes.values().flat_map(|n| n.heads.clone()).collect();
        for (entry, names) in self.forked.clone() {
            let (kept, lost): (Vec<Spot>, Vec<Spot>) =
                names.iter().partition(|spot| self.is_kept_name(**spot));
            let kept_heads = self.human_heads(&kept);
            let lost_heads = self.human_heads(&lost);
            if lost.is_empty() || !lost_heads.iter().any(|head| shown.contains(&head)) {
                continue;
            }
            if kept.is_empty() {
                // All names are gone: unless each became an entry of its own, a delete above said so.
                if lost.iter().all(|spot| self.parted.contains_key(spot)) {
                    let hides = self.keeps_alive(entry).into_iter().collect();
                    let entries = DotSet::from_iter([entry.0]);
                    self.say(vec![Said { fact: Fact::EntryDeleted { entries, hides }, body: None }]);
                }
                continue;
            }
            let over: DotSet = self.scene.log.maximal_as_seen(entry, &self.seen).into_iter().collect();
            let keep: DotSet = kept_heads.iter().filter(|head| over.contains(*head)).collect();
            if keep.is_empty() {
                continue; // The disk shows nothing that would stay: leave the choice open.
            }
            let mut said = vec![Said { fact: Fact::ConflictResolved { entry, over, keep }, body: None }];
            said.extend(self.twins_uncovered(&names, &kept_heads));
            self.say(said);
        }
    }

    /// Deletes of the twins that only a dropped head kept unshown.
    fn twins_uncovered(&self, names: &[Spot], kept: &DotSet) -> Vec<Said> {
        let twins = names.iter().flat_map(|spot| self.entries_of(*spot).iter().skip(1));
        let twins: BTreeSet<EntryId> = twins.copied().collect();
        if twins.is_empty() {
            return Vec::new();
        }
        let known = self.contents_behind(kept);
        let content = |dot: Dot| self.scene.log.version(dot).and_then(|version| version.content);
        let uncovered = twins.into_iter().filter(|twin| {
            let heads = self.scene.log.human_heads(*twin);
            !heads.iter().all(|head| content(*head).is_some_and(|content| known.contains(&content)))
        });
        uncovered
            .map(|twin| {
                let hides = self.keeps_alive(twin).into_iter().collect();
                Said { fact: Fact::EntryDeleted { entries: DotSet::from_iter([twin.0]), hides }, body: None }
            })
            .collect()
    }

    fn contents_behind(&self, heads: &DotSet) -> BTreeSet<ContentId> {
        let (mut todo, mut met, mut out) =
            (heads.iter().collect::<Vec<_>>(), BTreeSet::new(), BTreeSet::new());
        while let Some(dot) = todo.pop() {
            if met.insert(dot)
                && let Some(version) = self.scene.log.version(dot)
            {
                out.extend(version.content);
                todo.extend(version.parents);
            }
        }
        out
    }
}
