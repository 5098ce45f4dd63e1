//! Delete is observed-remove: what a delete hides, what a restore lifts, and what is carried away.
//!
//! An entry is kept alive by its places and its maximal versions. A delete holds the dots that it names; a
//! restore lifts named deletes from named dots; and whoever touched an entry that the delete hid, neither
//! having seen the other, keeps what he had seen of it ("carried away", model.md). Once a dot is carried away
//! from a delete it stays so: whether it is depends on events that are all older than the later of the two
//! that did not see each other. So only two arrivals ask the question: a touch of an entry that a delete
//! holds, and a delete of an entry that has a touch its author had not seen.
//!
//! For a file's own dots the answer is at hand. For a touched folder it is a literal transcription of the
//! rule, over the tree as the delete's author saw it: rare, and allowed to be slow.

use crate::{
    Projections,
    batches::{DotIx, What},
    entries::{DeleteRow, EntryIx, Hold, ROOT},
    mistakes::{Mistake, made},
    move_tree::TreeAsSeen,
};
use annals_events::{Dot, EntryKind};

impl Projections {
    /// The deletes that hold a place or version, sorted.
    #[must_use]
    pub fn hidden_by(&self, dot: Dot) -> Vec<Dot> {
        let Some(ix) = self.devices.index(dot) else { return Vec::new() };
        let holds =
            self.entry_of(ix).and_then(|entry| self.entries.rich(entry)).map_or(&[][..], |rich| &rich.holds);
        let deletes = holds.iter().filter(|hold| hold.dot == ix && hold.holds());
        self.sorted_dots(deletes.map(|hold| self.deletes[hold.delete as usize].dot))
    }

    /// The entry that a place or version belongs to.
    pub(crate) fn entry_of(&self, dot: DotIx) -> Option<EntryIx> {
        match self.devices.batches.what(dot) {
            What::Create(entry) | What::Attributes(entry) => Some(entry),
            What::Move(place) | What::Restore(place) => Some(self.places[place as usize].entry),
            What::Upload(version) | What::Merge(version) => Some(self.versions.entry[version as usize]),
            What::Resolve(resolution) => Some(self.resolutions[resolution as usize].entry),
            What::Delete(_) | What::Other => None,
        }
    }

    /// Whether no delete holds `dot`, which belongs to `entry`.
    pub(crate) fn is_hidden(&self, entry: EntryIx, dot: DotIx) -> bool {
        self.entries.rich(entry).is_some_and(|rich| {
            rich.holds.iter().any(|hold| hold.dot == dot && hold.holds())
                || made(Mistake::DeletedForGood) && rich.holds.iter().any(|hold| !hold.lifted)
        })
    }

    /// Looks again whether anything keeps `entry` alive.
    pub(crate) fn review(&mut self, entry: EntryIx) {
        self.note_changed(entry);
        let Some(rich) = self.entries.rich(entry) else { return };
        let alive = rich.places.iter().chain(&rich.maximal).any(|&dot| !self.is_hidden(entry, dot));
        self.set_alive(entry, alive);
    }

    /// A delete arrived: it holds what it names, but for what earlier touches carried away.
    pub(crate) fn hold(&mut self, delete: u32) {
        let DeleteRow { dot, hides } = &self.deletes[delete as usize];
        let dot = *dot;
        let (mut folders_touched, mut any_carried) = (made(Mistake::RenameRevives), false);
        let hidden: Vec<DotIx> = hides.iter().filter_map(|dot| self.devices.index(dot)).collect();
        for hidden in hidden {
            let Some(entry) = self.entry_of(hidden) else { continue };
            let carried = self.touched_unseen(entry, dot).any(|touch| self.devices.saw(touch, hidden))
                && self.is_touch_hidden(entry, delete);
            any_carried |= carried;
            folders_touched |= self.entries.kind(entry) == EntryKind::Folder
                && self.touched_unseen(entry, dot).next().is_some();
            self.entries.rich_mut(entry).holds.push(Hold { dot: hidden, delete, lifted: false, carried });
            self.review(entry);
        }
        if folders_touched {
            self.contested.insert(delete);
        }
        if made(Mistake::DeleteIsVoidAsAWhole) && any_carried {
            self.void_delete(delete);
        }
    }

    /// The touches of an entry that the event `by` had not seen; none of them has seen `by`, which just arrived.
    fn touched_unseen(&self, entry: EntryIx, by: DotIx) -> impl Iterator<Item = DotIx> + '_ {
        self.entries.touches(entry).iter().copied().filter(move |&touch| !self.devices.saw(by, touch))
    }

    /// Whether a delete names a create, move, restore or upload of an entry.
    fn is_touch_hidden(&self, entry: EntryIx, delete: u32) -> bool {
        let hides = &self.deletes[delete as usize].hides;
        self.entries.touches(entry).iter().any(|&touch| hides.contains(self.devices.dot(touch)))
    }

    /// A touch arrived: what deletes that it does not know of hold of its entry is carried away.
    pub(crate) fn carry(&mut self, entry: EntryIx, touch: DotIx) {
        if made(Mistake::RenameRevives) {
            self.contested.extend(0..u32::try_from(self.deletes.len()).unwrap_or(u32::MAX));
        }
        let Some(rich) = self.entries.rich(entry).filter(|rich| !rich.holds.is_empty()) else { return };
        let mut unknown: Vec<u32> = rich.holds.iter().map(|hold| hold.delete).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown.retain(|&delete| {
            !self.devices.saw(touch, self.deletes[delete as usize].dot) && self.is_touch_hidden(entry, delete)
        });
        if self.entries.kind(entry) == EntryKind::Folder {
            self.contested.extend(unknown);
            return;
        }
        for at in 0..rich.holds.len() {
            let hold = self.entries.rich_mut(entry).holds[at];
            if unknown.contains(&hold.delete) && self.devices.saw(touch, hold.dot) {
                self.entries.rich_mut(entry).holds[at].carried = true;
            }
        }
    }

    /// Lifts `deletes` from `shows`.
    pub(crate) fn lift(&mut self, deletes: &[u32], shows: &[DotIx]) {
        if made(Mistake::RestoreLiftsNothing) {
            return;
        }
        if made(Mistake::RestoreLiftsAll) {
            deletes.iter().for_each(|&delete| self.void_delete(delete));
        }
        for &shown in shows {
            let Some(entry) = self.entry_of(shown) else { continue };
            let holds = match self.entries.rich(entry) {
                Some(rich) if !rich.holds.is_empty() => &mut self.entries.rich_mut(entry).holds,
                _ => continue,
            };
            let named = holds.iter_mut().filter(|hold| hold.dot == shown && deletes.contains(&hold.delete));
            named.for_each(|hold| hold.lifted = true);
            self.review(entry);
        }
    }

    /// Asks the question in full for the deletes whose folders somebody touched. The moves must be settled.
    pub(crate) fn settle_contested(&mut self) {
        for delete in std::mem::take(&mut self.contested) {
            let row = &self.deletes[delete as usize];
            let author = self.devices.dot(row.dot);
            let tree = self.tree_as_seen(self.devices.seen(row.dot), Some(author));
            let hidden = row.hides.iter().filter_map(|dot| self.devices.index(dot));
            let carried: Vec<DotIx> =
                hidden.filter(|&hidden| self.is_carried_away(delete, hidden, &tree)).collect();
            for dot in carried {
                let Some(entry) = self.entry_of(dot) else { continue };
                let holds = &mut self.entries.rich_mut(entry).holds;
                let held = holds.iter_mut().filter(|hold| hold.dot == dot && hold.delete == delete);
                held.for_each(|hold| hold.carried = true);
                self.review(entry);
            }
        }
    }

    /// The rule as it is written. (What is touched above the entry itself is a folder, which has no content, so
    /// that only places count there by themselves.)
    fn is_carried_away(&self, delete: u32, dot: DotIx, tree: &TreeAsSeen<'_>) -> bool {
        let by = self.deletes[delete as usize].dot;
        let (mut at, mut way) = (self.entry_of(dot), vec![dot]);
        while let Some(entry) = at.filter(|&entry| entry != ROOT) {
            let by_chance = |&touch: &DotIx| {
                !tree.saw(touch)
                    && !self.devices.saw(touch, by)
                    && (made(Mistake::UnseenIsCarriedAway)
                        || way.iter().all(|&seen| self.devices.saw(touch, seen)))
            };
            let hidden = self.is_touch_hidden(entry, delete) || made(Mistake::RenameRevives);
            if hidden && self.entries.touches(entry).iter().any(by_chance) {
                return true;
            }
            at = tree.edge(entry).map(|(edge, parent)| {
                way.push(edge);
                parent
            });
        }
        false
    }
}
