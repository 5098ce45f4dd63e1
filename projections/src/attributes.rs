//! Time, executable bit, tags and note of an entry, as CRDTs.
//!
//! Modification time and executable bit are last-writer registers, each for itself, over every create, upload
//! and change that gave a value, marked with (hlc, device, counter): a mark is never used twice. That is what an
//! entry has. A version also keeps the time that came with it, for its history and for a conflict copy, which
//! shows its own. Tags are a set in which adding wins: a removal takes out the addings that its author had
//! seen. A note replaces those that its author had seen. Tags and notes go by what was seen rather than
//! by clocks, as an author may have pulled what the disk did not show; a vector cannot say that.
//!
//! A file that was only created stores nothing here: its create says it all.

use crate::{
    Attributes, Projections,
    batches::DotIx,
    entries::{EntryIx, ROOT},
    mistakes::{Mistake, made},
};
use annals_events::{Body, DeviceId, Dot, EntryId, EntryKind, Hlc};
use crdts::LWWReg;
use std::collections::{BTreeMap, BTreeSet};

/// Names one statement for ever.
pub(crate) type Mark = (Hlc, DeviceId, u64);

/// What was said about one entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttributeRow {
    pub(crate) mtime: LWWReg<Option<i64>, Mark>,
    pub(crate) executable: LWWReg<Option<bool>, Mark>,
    /// Each tag with the addings that no removal has seen.
    pub(crate) tags: BTreeMap<String, BTreeSet<DotIx>>,
    /// The notes that no later one has seen.
    pub(crate) notes: Vec<(DotIx, String)>,
}

impl AttributeRow {
    /// A time or bit that an event gave; `None` leaves it as it is.
    pub(crate) fn set(&mut self, mtime: Option<i64>, executable: Option<bool>, mark: Mark) {
        if mtime.is_some() {
            self.mtime.update(mtime, mark);
        }
        if executable.is_some() {
            self.executable.update(executable, mark);
        }
    }

    /// Tags and note of a change; `seen` says what its author had seen.
    pub(crate) fn change(&mut self, by: DotIx, body: &Body, seen: impl Fn(DotIx) -> bool) {
        for tag in &body.tags_removed {
            if let Some(addings) = self.tags.get_mut(tag) {
                addings.retain(|&adding| !seen(adding) && !made(Mistake::TagRemovalWins));
            }
        }
        for tag in &body.tags_added {
            self.tags.entry(tag.clone()).or_default().insert(by);
        }
        self.tags.retain(|_, addings| !addings.is_empty());
        if let Some(note) = &body.note {
            self.notes.retain(|&(earlier, _)| !seen(earlier) && !made(Mistake::LastNoteWins));
            self.notes.push((by, note.clone()));
        }
    }
}

impl Projections {
    /// What was said about an entry beside name and content.
    #[must_use]
    pub fn attributes(&self, e: EntryId) -> Attributes {
        let Some(ix) = self.entry_ix(e).filter(|&ix| ix != ROOT) else { return Attributes::default() };
        let Some(row) = self.attributes.get(&ix) else {
            let first = self.first_version(ix);
            return Attributes {
                mtime: first.and_then(|version| self.versions.mtime(version)),
                executable: first.and_then(|version| self.versions.executable(version)).unwrap_or(false),
                ..Attributes::default()
            };
        };
        let mut notes: Vec<String> =
            row.notes.iter().map(|(_, note)| note.clone()).filter(|n| !n.is_empty()).collect();
        notes.sort();
        notes.dedup();
        Attributes {
            mtime: row.mtime.val,
            executable: row.executable.val.unwrap_or(false),
            tags: row.tags.keys().cloned().collect(),
            notes,
        }
    }

    fn first_version(&self, ix: EntryIx) -> Option<u32> {
        (self.entries.kind(ix) == EntryKind::File).then(|| self.entries.inner[ix as usize])
    }

    /// The row of an entry about which more is said than by its create.
    pub(crate) fn attribute_row(&mut self, ix: EntryIx) -> &mut AttributeRow {
        if !self.attributes.contains_key(&ix) {
            let mut row = AttributeRow::default();
            if let Some(version) = self.first_version(ix) {
                let mark = self.mark(self.entries.born[ix as usize]);
                row.set(self.versions.mtime(version), self.versions.executable(version), mark);
            }
            self.attributes.insert(ix, row);
        }
        self.attributes.get_mut(&ix).expect("it was just put in")
    }

    pub(crate) fn mark(&self, dot: DotIx) -> Mark {
        let (hlc, device) = self.devices.order(dot);
        let Dot { counter, .. } = self.devices.dot(dot);
        (hlc, device, counter)
    }
}
