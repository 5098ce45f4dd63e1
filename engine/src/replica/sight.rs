//! How much of the trees is compared: the part in which disk and log may differ, or everything.
//!
//! What must always hold: outside of the folders that are not sure, the synced tree agrees with the log. They are not
//! sure from when an event or a look at the disk may have changed them until a comparison found them equal.

use super::Replica;
use crate::{
    observed::{Part, RemoteNode, RemoteTree, SyncedChange, SyncedTree, name, parent, paths_of},
    plan,
};
use annals_events::{Dot, EntryId, EntryKind};
use std::collections::{BTreeMap, BTreeSet};

/// Both trees, as far as they are compared.
pub(super) enum Sight {
    /// The synced tree is the replica's own.
    Whole(RemoteTree),
    Part(Part),
}

impl Sight {
    pub(super) fn synced<'a>(&'a self, whole: &'a SyncedTree) -> &'a SyncedTree {
        match self {
            Self::Whole(_) => whole,
            Self::Part(part) => &part.synced,
        }
    }

    pub(super) fn remote(&self) -> &RemoteTree {
        match self {
            Self::Whole(remote) => remote,
            Self::Part(part) => &part.remote,
        }
    }

    /// Takes a step that the synced tree took.
    pub(super) fn apply(&mut self, change: &SyncedChange) {
        if let Self::Part(part) = self {
            part.synced.apply(change.clone());
        }
    }

    pub(super) fn pending(&self, whole: &SyncedTree) -> BTreeSet<EntryId> {
        plan::pending(self.synced(whole), self.remote())
    }

    pub(super) fn unlike(&self, whole: &SyncedTree) -> BTreeSet<EntryId> {
        plan::unlike(self.synced(whole), self.remote())
    }
}

impl Replica {
    /// What has to be compared. To be [put back](Self::put_back), for the next one may need it.
    pub(super) fn sight(&mut self) -> Sight {
        self.note_changed();
        if self.synced.beside().next().is_some() {
            // Where the log shows that is in no folder that was looked at.
            self.unsure = None;
        }
        match &self.unsure {
            Some(folders) => Sight::Part(Part::of(&self.log, &self.synced, folders)),
            None => {
                self.remote();
                Sight::Whole(self.remote.take().expect("it was just made"))
            }
        }
    }

    pub(super) fn put_back(&mut self, sight: Sight) {
        if let Sight::Whole(remote) = sight {
            self.remote = Some(remote);
        }
    }

    /// A step of the synced tree: the folders in which it happens are not sure, nor is a folder that is new, or stands for
    /// other entries by it.
    pub(super) fn take_step(&mut self, change: SyncedChange) {
        if let SyncedChange::Move { from, to } = &change
            && self.synced.get(from).is_some_and(|node| node.kind == EntryKind::Folder)
            && !self.went.note(from, to)
        {
            self.unsure = None;
        }
        if let Some(mut unsure) = self.unsure.take() {
            let entries_of = |path: &str| self.synced.get(path).map(|node| node.entries);
            let mut happens_at = |path: &str| match parent(path) {
                None => drop(unsure.insert(EntryId::ROOT)),
                Some(folder) => unsure.extend(entries_of(folder).into_iter().flatten()),
            };
            match &change {
                SyncedChange::Put(path, after) => {
                    happens_at(path);
                    if after.kind == EntryKind::Folder && entries_of(path).as_ref() != Some(&after.entries) {
                        unsure.extend(after.entries.iter().copied());
                    }
                }
                SyncedChange::Remove(path) => happens_at(path),
                SyncedChange::Move { from, to } => {
                    happens_at(from);
                    happens_at(to);
                }
            }
            self.unsure = Some(unsure);
        }
        self.synced.apply(change);
    }

    /// Takes note of what events changed since the last time.
    pub(super) fn note_changed(&mut self) {
        let changed = self.log.take_changed();
        self.unsure = match (self.unsure.take(), changed) {
            // A disk that cannot hold every name shows some of them otherwise, whichever folder they are in.
            (Some(mut unsure), Some(changed)) if self.rules.hold_all() => {
                unsure.extend(changed);
                Some(unsure)
            }
            _ => None,
        };
    }

    /// Entries that disk and log show differently and that this does not show; by their folder and name there, for what
    /// is below a folder that moved is not looked at.
    pub(super) fn unlike_elsewhere(&self, sight: &Sight) -> BTreeSet<EntryId> {
        let Sight::Part(part) = sight else { return BTreeSet::new() };
        let mut known = part.remote.entries();
        known.extend(part.synced.iter().flat_map(|(_, node)| node.entries));
        let all = RemoteTree::of(&self.log);
        let above_here =
            |path: &str| parent(path).map(|above| self.synced.get(above).map(|node| node.entries));
        let above_there =
            |path: &str| parent(path).map(|above| all.nodes.get(above).map(|node| node.entries.clone()));
        let mut here = BTreeMap::new();
        for (path, node) in self.synced.iter().filter(|(_, node)| !node.aside) {
            here.insert((node.entries.clone(), node.head), (name(&path).to_owned(), above_here(&path), node));
        }
        let is_one =
            |here: &Option<Option<Vec<EntryId>>>, there: &Option<Option<Vec<EntryId>>>| match (here, there) {
                (Some(Some(here)), Some(Some(there))) => here.iter().any(|entry| there.contains(entry)),
                (here, there) => here == there,
            };
        let mut unlike = BTreeSet::new();
        for (path, there) in &all.nodes {
            let (entries, head) = (there.entries.clone(), there.head);
            let same = here.remove(&(entries, head)).is_some_and(|(name_here, above, node)| {
                node.agrees(there) && name_here == name(path) && is_one(&above, &above_there(path))
            });
            if !same {
                unlike.extend(there.entries.iter().copied());
            }
        }
        unlike.extend(here.into_values().flat_map(|(_, _, node)| node.entries));
        unlike.difference(&known).copied().collect()
    }

    /// Files whose content has to come before the folder can show what the log says, and their bytes.
    pub fn incoming(&mut self) -> (u64, u64) {
        let sight = self.sight();
        let here = |path: &str| self.synced.get(path).and_then(|node| node.content);
        let files = sight.remote().nodes.iter().filter(|(_, node)| node.kind == EntryKind::File);
        let lacking: BTreeMap<_, u64> = files
            .filter_map(|(path, node)| Some((path, node.content?, node.size)))
            .filter(|(path, content, _)| here(path) != Some(*content))
            .map(|(_, content, size)| (content, size))
            .collect();
        let known: BTreeSet<_> = match lacking.is_empty() {
            true => BTreeSet::new(),
            false => self.synced.iter().filter_map(|(_, node)| node.content).collect(),
        };
        let coming = lacking.iter().filter(|(content, _)| !known.contains(content));
        let sizes: Vec<u64> = coming.map(|(_, size)| *size).collect();
        self.put_back(sight);
        (sizes.len() as u64, sizes.iter().sum())
    }

    /// What the disk shows by now is seen.
    pub(super) fn settle(&mut self, sight: &Sight) {
        if self.unsettled.is_empty() {
            return;
        }
        let pending = sight.pending(&self.synced);
        self.unsettled.retain(|_, entries| entries.iter().any(|entry| pending.contains(entry)));
    }

    /// The folders in which disk and log may differ, by where they are on either side; none where that may be anywhere.
    pub fn folders_unsure(&mut self) -> Option<BTreeSet<String>> {
        self.note_changed();
        self.unsure.as_ref().map(|folders| paths_of(&self.log, &self.synced, folders))
    }

    /// The versions that the log shows at these paths, where it shows files.
    pub fn heads_said<'a>(&mut self, paths: impl Iterator<Item = &'a str>) -> BTreeMap<String, Dot> {
        let paths: BTreeSet<&str> = paths.collect();
        let part;
        let said = if self.unsure.is_some() {
            let folders = paths.iter().map(|path| parent(path).unwrap_or("").to_owned()).collect();
            part = Part::at(&self.log, &SyncedTree::default(), &folders).remote;
            &part
        } else {
            self.remote()
        };
        let head = |path: &&str| Some(((*path).to_owned(), said.nodes.get(*path)?.head?));
        paths.iter().filter_map(head).collect()
    }

    /// What the operation at work on `path` is to show.
    #[must_use]
    pub fn at_work_on(&self, path: &str) -> Option<&RemoteNode> {
        self.working.as_ref()?.remote.nodes.get(path)
    }
}
