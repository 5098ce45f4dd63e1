//! The tree as it will be: what is where once some entries are in other places.
//!
//! What must always hold: a folder is in it only as long as something is in it, or it is one of those that are `there`.
//! Names are those that the log has: what is shown under another, as a sibling has its own, is here under the one it was
//! given.

use annals_events::{EntryId, EntryKind};
use annals_projections::Projections;
use std::collections::{BTreeMap, BTreeSet};

/// What is where.
#[derive(Debug, Default)]
pub(super) struct After {
    of: BTreeMap<String, Vec<EntryId>>,
    paths: BTreeMap<EntryId, String>,
    folders: BTreeSet<EntryId>,
}

impl After {
    /// What is `there`, some of it `placed` elsewhere, with all folders above.
    pub(super) fn new(
        log: &Projections,
        there: BTreeSet<EntryId>,
        placed: &BTreeMap<EntryId, (EntryId, String)>,
    ) -> Self {
        let (mut tree, mut todo) = (Self::default(), Vec::from_iter(there));
        let mut children: BTreeMap<EntryId, Vec<(String, EntryId)>> = BTreeMap::new();
        let mut met = BTreeSet::from([EntryId::ROOT]);
        while let Some(entry) = todo.pop() {
            if !met.insert(entry) {
                continue;
            }
            let Some(view) = log.entry(entry) else { continue };
            let (folder, name) = placed.get(&entry).cloned().unwrap_or((view.parent, view.name));
            if view.kind == EntryKind::Folder {
                tree.folders.insert(entry);
            }
            children.entry(folder).or_default().push((name, entry));
            todo.push(folder);
        }
        let mut todo = vec![(EntryId::ROOT, String::new())];
        while let Some((folder, at)) = todo.pop() {
            for (name, entry) in children.remove(&folder).unwrap_or_default() {
                let path = joined(&at, &name);
                tree.of.entry(path.clone()).or_default().push(entry);
                todo.push((entry, path));
            }
            tree.paths.insert(folder, at);
        }
        tree
    }

    /// Every path with what is there.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[EntryId])> {
        self.of.iter().map(|(path, entries)| (path.as_str(), entries.as_slice()))
    }

    /// Whether something is there.
    pub(super) fn contains(&self, path: &str) -> bool {
        self.of.contains_key(path)
    }

    /// Where it is.
    pub(super) fn path(&self, entry: EntryId) -> Option<&str> {
        self.paths.get(&entry).map(String::as_str)
    }

    /// What has this name in a folder, or in one that is shown as one with it.
    pub(super) fn beside(&self, folder: EntryId, name: &str) -> &[EntryId] {
        let path = self.path(folder).map(|folder| joined(folder, name));
        path.and_then(|path| self.of.get(&path)).map_or(&[], Vec::as_slice)
    }

    /// Whether it is a folder.
    pub(super) fn is_folder(&self, entry: EntryId) -> bool {
        self.folders.contains(&entry)
    }
}

/// `name` in a folder; the top is the empty path.
pub(super) fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
