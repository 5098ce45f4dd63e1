//! Entries in columns: 33 bytes for one that only its create has ever named, and a record on top for one with a
//! history.
//!
//! Row 0 is the root. A simple entry's only place is its create, and so is a file's only version; nothing
//! of that is stored twice. The first move, upload, delete, restore or resolution gives it a [`Rich`] record.

use crate::{
    batches::DotIx,
    intern::{NONE, next_index, push},
    mistakes::{Mistake, made},
};
use annals_events::{DotSet, EntryKind};

/// The index of an entry.
pub(crate) type EntryIx = u32;
/// The root folder's.
pub(crate) const ROOT: EntryIx = 0;

/// What stands in the flags of an entry.
pub(crate) mod flag {
    /// The two lowest bits are the kind.
    pub(crate) const KIND: u8 = 3;
    pub(crate) const ALIVE: u8 = 4;
    pub(crate) const SHOWN: u8 = 8;
    pub(crate) const PURGED: u8 = 16;
    /// Its edge changed while moves are undone and redone.
    pub(crate) const TOUCHED: u8 = 32;
}

/// What a folder has beside an entry.
#[derive(Clone, Debug)]
pub(crate) struct FolderRow {
    pub(crate) first_child: EntryIx,
    pub(crate) shown_children: u32,
}

/// A delete's hold on a place or version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    pub(crate) dot: DotIx,
    /// Row of deletes.
    pub(crate) delete: u32,
    /// A restore took it off.
    pub(crate) lifted: bool,
    /// A touch that did not know of the delete took it off.
    pub(crate) carried: bool,
}

impl Hold {
    pub(crate) fn holds(&self) -> bool {
        !self.lifted && (!self.carried || made(Mistake::NothingIsCarriedAway))
    }
}

/// An entry that more than its create has named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rich {
    /// The event that gives it its place now.
    pub(crate) edge: DotIx,
    /// The folder it was created in.
    pub(crate) born_parent: EntryIx,
    /// Places that no later place has seen.
    pub(crate) places: Vec<DotIx>,
    /// All creates, moves, restores and uploads.
    pub(crate) touches: Vec<DotIx>,
    /// All versions, merges too.
    pub(crate) versions: Vec<DotIx>,
    /// Versions by people that are in no other such version's history.
    pub(crate) maximal: Vec<DotIx>,
    pub(crate) holds: Vec<Hold>,
    /// Rows of resolutions that no other resolution of it has seen.
    pub(crate) resolutions: Vec<u32>,
}

/// A move or a restore.
#[derive(Clone, Debug)]
pub(crate) struct PlaceRow {
    pub(crate) dot: DotIx,
    pub(crate) entry: EntryIx,
    /// [`NONE`] for a restore that leaves the entry where it was.
    pub(crate) parent: EntryIx,
    /// Handle of its name; [`NONE`] where it is withheld.
    pub(crate) name: u32,
}

/// A delete.
#[derive(Clone, Debug)]
pub(crate) struct DeleteRow {
    pub(crate) dot: DotIx,
    pub(crate) hides: DotSet,
}

/// A resolution.
#[derive(Clone, Debug)]
pub(crate) struct ResolutionRow {
    pub(crate) dot: DotIx,
    pub(crate) entry: EntryIx,
    pub(crate) over: DotSet,
    pub(crate) keep: DotSet,
}

/// All entries of a namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries {
    /// The create.
    pub(crate) born: Vec<DotIx>,
    pub(crate) parent: Vec<EntryIx>,
    /// Handle of the name that the create gave.
    pub(crate) name: Vec<u32>,
    /// Row of `riches`, or [`NONE`].
    pub(crate) rich: Vec<u32>,
    /// A file's first version; a folder's row of `folders`; a symlink's of `targets`.
    pub(crate) inner: Vec<u32>,
    pub(crate) next: Vec<EntryIx>,
    pub(crate) prev: Vec<EntryIx>,
    pub(crate) flags: Vec<u8>,
    pub(crate) folders: Vec<FolderRow>,
    pub(crate) targets: Vec<Option<Vec<u8>>>,
    pub(crate) riches: Vec<Rich>,
}

impl Entries {
    /// The root alone.
    pub(crate) fn new() -> Self {
        let mut entries = Self::default();
        let inner = entries.new_folder();
        let root = entries.add(NONE, NONE, NONE, inner, EntryKind::Folder);
        entries.flags[root as usize] |= flag::SHOWN;
        entries
    }

    pub(crate) fn new_folder(&mut self) -> u32 {
        push(&mut self.folders, FolderRow { first_child: NONE, shown_children: 0 });
        next_index(&self.folders) - 1
    }

    pub(crate) fn new_target(&mut self, target: Option<Vec<u8>>) -> u32 {
        push(&mut self.targets, target);
        next_index(&self.targets) - 1
    }

    /// A new row, linked to nothing yet.
    pub(crate) fn add(
        &mut self,
        born: DotIx,
        parent: EntryIx,
        name: u32,
        inner: u32,
        kind: EntryKind,
    ) -> EntryIx {
        let ix = next_index(&self.born);
        push(&mut self.born, born);
        push(&mut self.parent, parent);
        push(&mut self.name, name);
        push(&mut self.rich, NONE);
        push(&mut self.inner, inner);
        push(&mut self.next, NONE);
        push(&mut self.prev, NONE);
        push(&mut self.flags, kind as u8);
        ix
    }

    /// Reads an entry's own columns, for nothing but to have them at hand.
    pub(crate) fn touch(&self, ix: EntryIx) -> u32 {
        let ix = ix as usize;
        let columns = [&self.parent, &self.rich, &self.inner, &self.next, &self.prev];
        columns.into_iter().fold(u32::from(self.flags[ix]), |sum, column| sum ^ column[ix])
    }

    /// The same for the rows that its own columns name.
    pub(crate) fn touch_beside(&self, ix: EntryIx) -> u32 {
        let rich = self.rich(ix).map_or(0, |rich| rich.edge);
        if self.kind(ix) == EntryKind::Folder {
            let first = self.folder(ix).first_child;
            return rich ^ self.prev.get(first as usize).unwrap_or(&0);
        }
        let (prev, next) = (self.prev[ix as usize], self.next[ix as usize]);
        let beside = self.next.get(prev as usize).unwrap_or(&0) ^ self.prev.get(next as usize).unwrap_or(&0);
        rich ^ beside
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.born.len()).expect("checked when added")
    }

    pub(crate) fn kind(&self, ix: EntryIx) -> EntryKind {
        match self.flags[ix as usize] & flag::KIND {
            0 => EntryKind::Folder,
            1 => EntryKind::File,
            _ => EntryKind::Symlink,
        }
    }

    pub(crate) fn has(&self, ix: EntryIx, flag: u8) -> bool {
        self.flags[ix as usize] & flag != 0
    }

    pub(crate) fn set(&mut self, ix: EntryIx, flag: u8, on: bool) {
        let flags = &mut self.flags[ix as usize];
        *flags = if on { *flags | flag } else { *flags & !flag };
    }

    pub(crate) fn folder(&self, ix: EntryIx) -> &FolderRow {
        &self.folders[self.inner[ix as usize] as usize]
    }

    pub(crate) fn folder_mut(&mut self, ix: EntryIx) -> &mut FolderRow {
        &mut self.folders[self.inner[ix as usize] as usize]
    }

    pub(crate) fn rich(&self, ix: EntryIx) -> Option<&Rich> {
        self.riches.get(self.rich[ix as usize] as usize)
    }

    /// The record of an entry that is about to have a history.
    pub(crate) fn rich_mut(&mut self, ix: EntryIx) -> &mut Rich {
        if self.rich[ix as usize] == NONE {
            let (born, file) = (self.born[ix as usize], self.kind(ix) == EntryKind::File);
            let versions = || if file { vec![born] } else { Vec::new() };
            let rich = Rich {
                edge: born,
                born_parent: self.parent[ix as usize],
                places: vec![born],
                touches: vec![born],
                versions: versions(),
                maximal: versions(),
                ..Rich::default()
            };
            self.rich[ix as usize] = next_index(&self.riches);
            push(&mut self.riches, rich);
        }
        &mut self.riches[self.rich[ix as usize] as usize]
    }

    /// The event that gives an entry its place.
    pub(crate) fn edge(&self, ix: EntryIx) -> DotIx {
        self.rich(ix).map_or(self.born[ix as usize], |rich| rich.edge)
    }

    /// The folder an entry was created in.
    pub(crate) fn born_parent(&self, ix: EntryIx) -> EntryIx {
        self.rich(ix).map_or(self.parent[ix as usize], |rich| rich.born_parent)
    }

    pub(crate) fn touches(&self, ix: EntryIx) -> &[DotIx] {
        self.rich(ix).map_or(std::slice::from_ref(&self.born[ix as usize]), |rich| &rich.touches)
    }

    pub(crate) fn places(&self, ix: EntryIx) -> &[DotIx] {
        self.rich(ix).map_or(std::slice::from_ref(&self.born[ix as usize]), |rich| &rich.places)
    }

    fn if_file<'a>(&'a self, ix: EntryIx, of_rich: impl Fn(&'a Rich) -> &'a [DotIx]) -> &'a [DotIx] {
        match self.kind(ix) {
            EntryKind::File => self.rich(ix).map_or(std::slice::from_ref(&self.born[ix as usize]), of_rich),
            _ => &[],
        }
    }

    pub(crate) fn maximal(&self, ix: EntryIx) -> &[DotIx] {
        self.if_file(ix, |rich| &rich.maximal)
    }

    pub(crate) fn versions(&self, ix: EntryIx) -> &[DotIx] {
        self.if_file(ix, |rich| &rich.versions)
    }
}
