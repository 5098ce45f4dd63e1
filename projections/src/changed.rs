//! Which folders may show something else than when somebody last asked.
//!
//! What must always hold: a line of a listing that is not what it was then (its name, its entries, its head, its
//! attributes, or that it is there at all) is one of a folder that is named. Too many named is no mistake; nobody
//! knows, neither: so it is in the beginning, and when very much changed. Nothing here is part of the state.

use crate::{
    Projections,
    entries::{EntryIx, ROOT},
    intern::NONE,
};
use annals_events::EntryId;
use std::collections::BTreeSet;

/// With more than this, looking at everything costs no more.
const FOLDERS_MAX: usize = 4096;

/// The folders since somebody asked, again and again where they changed again; none: nobody knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changed(Option<Vec<EntryIx>>);

impl Changed {
    /// Anything may have changed.
    pub(crate) fn everywhere(&mut self) {
        self.0 = None;
    }

    pub(crate) fn folder(&mut self, folder: EntryIx) {
        let Some(folders) = &mut self.0 else { return };
        if folder == NONE || folders.last() == Some(&folder) {
            return;
        }
        folders.push(folder);
        if folders.len() > FOLDERS_MAX {
            folders.sort_unstable();
            folders.dedup();
        }
        if folders.len() > FOLDERS_MAX {
            self.0 = None;
        }
    }
}

impl Projections {
    /// The folders that may show something else than when this was last asked, shown or not; none where that is not
    /// known.
    pub fn take_changed(&mut self) -> Option<BTreeSet<EntryId>> {
        let folders = self.changed.0.replace(Vec::new())?;
        Some(folders.into_iter().map(|folder| self.entry_id(folder)).collect())
    }

    /// An entry looks different from before.
    pub(crate) fn note_changed(&mut self, entry: EntryIx) {
        if entry != ROOT {
            self.changed.folder(self.entries.parent[entry as usize]);
        }
    }
}
