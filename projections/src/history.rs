//! Versions: what each file has held, and which version was made from which.
//!
//! One row a version, in order of arrival; those made by a create need no entry in the graph. Rows are never
//! taken out: expiry and purge take chunks, not the graph nor content ids, because twins and equal heads are
//! compared by them.

use crate::{
    Projections, VersionView,
    batches::{DotIx, What},
    entries::EntryIx,
    intern::{next_index, push},
};
use annals_events::{ContentId, DeviceId, Dot, EntryId, EntryKind, Hlc};
use std::collections::BTreeSet;

/// What stands in the flags of a version.
pub(crate) mod flag {
    /// Its body is withheld: its content equals no other's.
    pub(crate) const WITHHELD: u8 = 1;
    pub(crate) const MERGE: u8 = 2;
    /// Neither expired nor purged.
    pub(crate) const RETAINED: u8 = 4;
    pub(crate) const HAS_MTIME: u8 = 8;
    pub(crate) const HAS_EXECUTABLE: u8 = 16;
    pub(crate) const EXECUTABLE: u8 = 32;
    /// Its one root is a manifest.
    pub(crate) const MANIFEST: u8 = 64;
}

/// A version on its way into the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewVersion {
    pub(crate) dot: DotIx,
    pub(crate) entry: EntryIx,
    pub(crate) content: Option<ContentId>,
    pub(crate) size: u64,
    pub(crate) manifest: bool,
    pub(crate) mtime: Option<i64>,
    pub(crate) executable: Option<bool>,
    pub(crate) merge: bool,
}

/// All versions of a namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Versions {
    pub(crate) dot: Vec<DotIx>,
    pub(crate) entry: Vec<EntryIx>,
    pub(crate) content: Vec<[u8; 32]>,
    pub(crate) size: Vec<u64>,
    pub(crate) mtime: Vec<i64>,
    pub(crate) flags: Vec<u8>,
    /// (version, where its parents begin), rising; only versions that have parents.
    pub(crate) lineage: Vec<(u32, u32)>,
    pub(crate) parents: Vec<DotIx>,
}

impl Versions {
    pub(crate) fn add(&mut self, new: &NewVersion, parents: impl IntoIterator<Item = DotIx>) -> u32 {
        let ix = next_index(&self.dot);
        let bit = |on: bool, flag: u8| if on { flag } else { 0 };
        push(&mut self.dot, new.dot);
        push(&mut self.entry, new.entry);
        push(&mut self.content, new.content.map_or([0; 32], |id| id.0));
        push(&mut self.size, new.size);
        push(&mut self.mtime, new.mtime.unwrap_or(0));
        push(
            &mut self.flags,
            bit(new.content.is_none(), flag::WITHHELD)
                | bit(new.merge, flag::MERGE)
                | flag::RETAINED
                | bit(new.mtime.is_some(), flag::HAS_MTIME)
                | bit(new.executable.is_some(), flag::HAS_EXECUTABLE)
                | bit(new.executable == Some(true), flag::EXECUTABLE)
                | bit(new.manifest, flag::MANIFEST),
        );
        let start = u32::try_from(self.parents.len()).expect("fewer than 2^32 parents");
        parents.into_iter().for_each(|parent| push(&mut self.parents, parent));
        if self.parents.len() > start as usize {
            push(&mut self.lineage, (ix, start));
        }
        ix
    }

    pub(crate) fn has(&self, ix: u32, flag: u8) -> bool {
        self.flags[ix as usize] & flag != 0
    }

    /// The versions that this one was made from.
    pub(crate) fn parents(&self, ix: u32) -> &[DotIx] {
        let Ok(at) = self.lineage.binary_search_by_key(&ix, |(version, _)| *version) else { return &[] };
        let end = self.lineage.get(at + 1).map_or(self.parents.len(), |(_, start)| *start as usize);
        &self.parents[self.lineage[at].1 as usize..end]
    }

    pub(crate) fn mtime(&self, ix: u32) -> Option<i64> {
        self.has(ix, flag::HAS_MTIME).then(|| self.mtime[ix as usize])
    }

    pub(crate) fn executable(&self, ix: u32) -> Option<bool> {
        self.has(ix, flag::HAS_EXECUTABLE).then(|| self.has(ix, flag::EXECUTABLE))
    }

    /// Whether two versions hold the same. A withheld one equals only itself.
    pub(crate) fn same_content(&self, one: u32, other: u32) -> bool {
        one == other
            || !self.has(one, flag::WITHHELD)
                && !self.has(other, flag::WITHHELD)
                && self.content[one as usize] == self.content[other as usize]
    }
}

impl Projections {
    /// A version, by the dot of the create, upload or merge that made it.
    #[must_use]
    pub fn version(&self, dot: Dot) -> Option<VersionView> {
        let ix = self.version_ix(self.devices.index(dot)?)?;
        let versions = &self.versions;
        Some(VersionView {
            entry: self.entry_id(versions.entry[ix as usize]),
            order: self.devices.order(versions.dot[ix as usize]),
            content: (!versions.has(ix, flag::WITHHELD)).then(|| ContentId(versions.content[ix as usize])),
            size: versions.size[ix as usize],
            parents: self.sorted_dots(versions.parents(ix).iter().copied()),
            merge: versions.has(ix, flag::MERGE),
            mtime: versions.mtime(ix),
            retained: versions.has(ix, flag::RETAINED),
        })
    }

    /// All versions of a file, merges too, in (hlc, device) order.
    #[must_use]
    pub fn versions(&self, e: EntryId) -> Vec<Dot> {
        let Some(entry) = self.entry_ix(e) else { return Vec::new() };
        let mut versions: Vec<((Hlc, DeviceId), DotIx)> =
            self.entries.versions(entry).iter().map(|&v| (self.devices.order(v), v)).collect();
        versions.sort_unstable();
        versions.into_iter().map(|(_, v)| self.devices.dot(v)).collect()
    }

    /// Every file that has had more than one version, in order of arrival.
    pub fn edited(&self) -> impl Iterator<Item = EntryId> + '_ {
        let several = |&ix: &EntryIx| self.entries.versions(ix).len() > 1;
        (1..self.entries.len()).filter(several).map(|ix| self.entry_id(ix))
    }

    /// The row of the version that an event made.
    pub(crate) fn version_ix(&self, dot: DotIx) -> Option<u32> {
        match self.devices.batches.what(dot) {
            What::Create(entry) if self.entries.kind(entry) == EntryKind::File => {
                Some(self.entries.inner[entry as usize])
            }
            What::Upload(version) | What::Merge(version) => Some(version),
            _ => None,
        }
    }

    pub(crate) fn parents_of(&self, dot: DotIx) -> &[DotIx] {
        self.version_ix(dot).map_or(&[], |ix| self.versions.parents(ix))
    }

    pub(crate) fn same_content(&self, one: DotIx, other: DotIx) -> bool {
        match (self.version_ix(one), self.version_ix(other)) {
            (Some(one), Some(other)) => self.versions.same_content(one, other),
            _ => false,
        }
    }

    /// `starts` and all their ancestors.
    pub(crate) fn history_with(&self, starts: impl IntoIterator<Item = DotIx>) -> BTreeSet<DotIx> {
        let mut found = BTreeSet::new();
        let mut todo: Vec<DotIx> = starts.into_iter().collect();
        while let Some(version) = todo.pop() {
            if found.insert(version) {
                todo.extend_from_slice(self.parents_of(version));
            }
        }
        found
    }
}
