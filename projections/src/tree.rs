//! Folders with their children, and what of it is shown.
//!
//! Children hang in a doubly linked list, so that a folder of a million entries loses one in no time; whoever
//! reads them sorts. A folder counts its shown children: it is shown while it is alive or something below it
//! is, and a change climbs only as far as it changes anything.

use crate::{
    EntryView, Projections,
    batches::{DotIx, What},
    entries::{EntryIx, ROOT, flag},
    intern::NONE,
    mistakes::{Mistake, made},
};
use annals_events::{Dot, EntryId, EntryKind, Hash, hex};

impl Projections {
    /// An entry that was created, shown or not. The root is none: no event created it.
    #[must_use]
    pub fn entry(&self, e: EntryId) -> Option<EntryView> {
        let ix = self.entry_ix(e).filter(|&ix| ix != ROOT)?;
        let entries = &self.entries;
        let attributes = self.attributes(e);
        Some(EntryView {
            kind: entries.kind(ix),
            parent: self.entry_id(entries.parent[ix as usize]),
            name: self.name_of(ix),
            place: self.devices.dot(entries.edge(ix)),
            shown: entries.has(ix, flag::SHOWN),
            alive: entries.has(ix, flag::ALIVE),
            purged: entries.has(ix, flag::PURGED),
            places: self.sorted_dots(entries.places(ix).iter().copied()),
            maximal: self.sorted_dots(entries.maximal(ix).iter().copied()),
            mtime: attributes.mtime,
            executable: attributes.executable,
            target: self.target(ix).map(<[u8]>::to_vec),
        })
    }

    /// Every entry that was created, in order of arrival.
    pub fn entries(&self) -> impl Iterator<Item = EntryId> + '_ {
        (1..self.entries.len()).map(|ix| self.entry_id(ix))
    }

    /// Every entry that is not shown and that no purge took, in order of arrival.
    pub fn removed(&self) -> impl Iterator<Item = EntryId> + '_ {
        let gone = |&ix: &EntryIx| !self.entries.has(ix, flag::SHOWN) && !self.entries.has(ix, flag::PURGED);
        (1..self.entries.len()).filter(gone).map(|ix| self.entry_id(ix))
    }

    /// Where an entry is, or was last, by the names that the log has, shown or not.
    #[must_use]
    pub fn path(&self, e: EntryId) -> Option<String> {
        let ix = self.entry_ix(e).filter(|&ix| ix != ROOT)?;
        let above = self.ancestors_of(ix).filter(|&above| above != ROOT);
        let mut names: Vec<String> = [ix].into_iter().chain(above).map(|ix| self.name_of(ix)).collect();
        names.reverse();
        Some(names.join("/"))
    }

    /// What is in a folder by edge, shown or not, sorted by id.
    #[must_use]
    pub fn children(&self, folder: EntryId) -> Vec<EntryId> {
        let Some(ix) = self.folder_ix(folder) else { return Vec::new() };
        let mut children: Vec<EntryId> = self.children_of(ix).map(|child| self.entry_id(child)).collect();
        children.sort_unstable();
        children
    }

    /// The folders above an entry, the nearest first, the root last.
    pub fn ancestors(&self, e: EntryId) -> impl Iterator<Item = EntryId> + '_ {
        self.entry_ix(e).into_iter().flat_map(|ix| self.ancestors_of(ix)).map(|ix| self.entry_id(ix))
    }

    pub(crate) fn entry_id(&self, ix: EntryIx) -> EntryId {
        if ix == ROOT { EntryId::ROOT } else { EntryId(self.devices.dot(self.entries.born[ix as usize])) }
    }

    pub(crate) fn entry_ix(&self, e: EntryId) -> Option<EntryIx> {
        if e == EntryId::ROOT {
            return Some(ROOT);
        }
        match self.devices.batches.what(self.devices.index(e.0)?) {
            What::Create(ix) => Some(ix),
            _ => None,
        }
    }

    pub(crate) fn folder_ix(&self, e: EntryId) -> Option<EntryIx> {
        self.entry_ix(e).filter(|&ix| self.entries.kind(ix) == EntryKind::Folder)
    }

    pub(crate) fn ancestors_of(&self, ix: EntryIx) -> impl Iterator<Item = EntryIx> + '_ {
        let up = |&at: &EntryIx| Some(self.entries.parent[at as usize]).filter(|&up| up != NONE);
        std::iter::successors(up(&ix), up)
    }

    pub(crate) fn children_of(&self, folder: EntryIx) -> impl Iterator<Item = EntryIx> + '_ {
        let some = |ix: EntryIx| Some(ix).filter(|&ix| ix != NONE);
        std::iter::successors(some(self.entries.folder(folder).first_child), move |&at| {
            some(self.entries.next[at as usize])
        })
    }

    /// The name that an edge gave; a placeholder where that is withheld.
    pub(crate) fn name_of(&self, ix: EntryIx) -> String {
        let edge = self.entries.edge(ix);
        match self.name_by(edge) {
            Some(name) => name.to_owned(),
            None => format!("withheld {}", short_of(self.devices.dot(edge))),
        }
    }

    fn name_by(&self, edge: DotIx) -> Option<&str> {
        self.names.get(match self.devices.batches.what(edge) {
            What::Create(entry) => self.entries.name[entry as usize],
            What::Move(place) | What::Restore(place) => self.places[place as usize].name,
            _ => NONE,
        })
    }

    pub(crate) fn target(&self, ix: EntryIx) -> Option<&[u8]> {
        if self.entries.kind(ix) != EntryKind::Symlink {
            return None;
        }
        self.entries.targets[self.entries.inner[ix as usize] as usize].as_deref()
    }

    pub(crate) fn sorted_dots(&self, dots: impl IntoIterator<Item = DotIx>) -> Vec<Dot> {
        let mut dots: Vec<Dot> = dots.into_iter().map(|dot| self.devices.dot(dot)).collect();
        dots.sort_unstable();
        dots
    }

    /// Puts an entry that is linked nowhere into `folder`.
    pub(crate) fn link(&mut self, ix: EntryIx, folder: EntryIx) {
        self.changed.folder(folder);
        let entries = &mut self.entries;
        entries.parent[ix as usize] = folder;
        let first = std::mem::replace(&mut entries.folder_mut(folder).first_child, ix);
        entries.next[ix as usize] = first;
        entries.prev[ix as usize] = NONE;
        if first != NONE {
            entries.prev[first as usize] = ix;
        }
        if entries.has(ix, flag::SHOWN) {
            self.count_shown(folder, true);
        }
    }

    /// Takes an entry out of the folder it is linked in.
    pub(crate) fn unlink(&mut self, ix: EntryIx) {
        let entries = &mut self.entries;
        let folder = std::mem::replace(&mut entries.parent[ix as usize], NONE);
        self.changed.folder(folder);
        let (prev, next) = (entries.prev[ix as usize], entries.next[ix as usize]);
        if prev == NONE {
            entries.folder_mut(folder).first_child = next;
        } else {
            entries.next[prev as usize] = next;
        }
        if next != NONE {
            entries.prev[next as usize] = prev;
        }
        if entries.has(ix, flag::SHOWN) {
            self.count_shown(folder, false);
        }
    }

    /// One more or one less of a folder's children is shown; climbs while that changes what is.
    fn count_shown(&mut self, folder: EntryIx, more: bool) {
        let mut at = folder;
        while at != NONE {
            let count = &mut self.entries.folder_mut(at).shown_children;
            *count = if more { *count + 1 } else { *count - 1 };
            let shown = at == ROOT
                || *count > 0 && !made(Mistake::DeadFoldersVanish)
                || self.entries.has(at, flag::ALIVE);
            if shown == self.entries.has(at, flag::SHOWN) {
                return;
            }
            self.entries.set(at, flag::SHOWN, shown);
            self.note_changed(at);
            at = self.entries.parent[at as usize];
        }
    }

    /// An entry came to life or died.
    pub(crate) fn set_alive(&mut self, ix: EntryIx, alive: bool) {
        if self.entries.has(ix, flag::ALIVE) == alive {
            return;
        }
        self.entries.set(ix, flag::ALIVE, alive);
        self.note_changed(ix);
        let below = !made(Mistake::DeadFoldersVanish)
            && self.entries.kind(ix) == EntryKind::Folder
            && self.entries.folder(ix).shown_children > 0;
        let shown = alive || below;
        if shown != self.entries.has(ix, flag::SHOWN) {
            self.entries.set(ix, flag::SHOWN, shown);
            self.count_shown(self.entries.parent[ix as usize], shown);
        }
    }
}

/// The first 4 bytes of SHA-256 of a dot (its device's bytes, then the counter in 8 bytes, big-endian), in hex.
pub(crate) fn short_of(dot: Dot) -> String {
    let digest = Hash::of(b"", &[&dot.device.0, &dot.counter.to_be_bytes()]);
    hex(&digest.0[..4])
}
