//! The part of the trees that something new is about: some folders with what is directly in them, and the folders
//! above those. In a tree of a million files a save is found, said and written by looking at a few.
//!
//! What must always hold: outside of the folders in which disk and log may differ, they agree; so whatever a plan
//! of both whole trees would do, a plan of their [`Part::of`] does. A folder that came, went, or stands for other
//! entries than before is there with all that is in it; one that only moved is not.

use super::{RemoteTree, SyncedChange, SyncedTree, ancestors, name, parent, remote};
use annals_events::{EntryId, EntryKind};
use annals_projections::{Projections, Shown};
use std::collections::{BTreeMap, BTreeSet};

/// Some folders of the synced tree and of the remote one.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// What disk and log agreed on last.
    pub synced: SyncedTree,
    /// What the log says.
    pub remote: RemoteTree,
}

impl Part {
    /// What is directly in the folders at these paths, on either side; the top is the empty path.
    #[must_use]
    pub fn at(log: &Projections, synced: &SyncedTree, folders: &BTreeSet<String>) -> Self {
        let mut builder = Builder::new(log, synced);
        folders.iter().for_each(|path| builder.add(path));
        builder.part
    }

    /// All that may have to be done about these folders, wherever they are on either side.
    #[must_use]
    pub fn of(log: &Projections, synced: &SyncedTree, folders: &BTreeSet<EntryId>) -> Self {
        let mut builder = Builder::new(log, synced);
        paths_of(log, synced, folders).iter().for_each(|path| builder.add(path));
        loop {
            let unlike = builder.unlike();
            if unlike.is_empty() {
                return builder.part;
            }
            unlike.iter().for_each(|path| builder.add(path));
        }
    }
}

/// Where these folders are: by the log, and in the synced tree.
#[must_use]
pub fn paths_of(log: &Projections, synced: &SyncedTree, folders: &BTreeSet<EntryId>) -> BTreeSet<String> {
    let (mut paths, mut elsewhere) = (BTreeSet::new(), BTreeSet::new());
    for &folder in folders {
        let said = said_path(log, folder);
        let here = said.as_ref().is_some_and(|path| {
            path.is_empty() || synced.get(path).is_some_and(|node| node.entries.contains(&folder))
        });
        if !here {
            elsewhere.insert(folder);
        }
        paths.extend(said);
    }
    if !elsewhere.is_empty() {
        let found = synced.iter().filter(|(_, node)| node.entries.iter().any(|e| elsewhere.contains(e)));
        paths.extend(found.map(|(path, _)| path.clone()));
    }
    paths
}

/// Under which path the log shows a folder, where the disk can hold every name; none where it shows none.
fn said_path(log: &Projections, folder: EntryId) -> Option<String> {
    if folder == EntryId::ROOT {
        return Some(String::new());
    }
    let view = log.entry(folder).filter(|view| view.shown)?;
    let mut names = vec![view.name];
    names.extend(log.ancestors(folder).filter_map(|above| log.entry(above)).map(|view| view.name));
    names.reverse();
    Some(names.join("/"))
}

struct Builder<'a> {
    log: &'a Projections,
    synced: &'a SyncedTree,
    part: Part,
    added: BTreeSet<String>,
    /// What the log shows in folders that were asked about.
    lines: BTreeMap<String, Vec<Shown>>,
}

impl<'a> Builder<'a> {
    fn new(log: &'a Projections, synced: &'a SyncedTree) -> Self {
        Self { log, synced, part: Part::default(), added: BTreeSet::new(), lines: BTreeMap::new() }
    }

    /// Takes in the folder at `path`, what is directly in it, and the folders above.
    fn add(&mut self, path: &str) {
        if !self.added.insert(path.to_owned()) {
            return;
        }
        for above in std::iter::once(path).chain(ancestors(path)).filter(|above| !above.is_empty()) {
            if let Some(node) = self.synced.get(above) {
                self.part.synced.apply(SyncedChange::Put(above.to_owned(), Box::new(node)));
            }
            let line = self.lines(parent(above).unwrap_or("")).iter().find(|line| line.name == name(above));
            if let Some(line) = line.cloned() {
                self.show(above, line);
            }
        }
        for (path, node) in self.synced.children(path) {
            self.part.synced.apply(SyncedChange::Put(path, Box::new(node)));
        }
        for line in self.lines(path).to_vec() {
            let path = if path.is_empty() { line.name.clone() } else { format!("{path}/{}", line.name) };
            self.show(&path, line);
        }
    }

    fn show(&mut self, path: &str, line: Shown) {
        if let Some(node) = remote(self.log, line) {
            self.part.remote.nodes.insert(path.to_owned(), node);
        }
    }

    /// What the log shows in the folder at `path`; nothing where it shows no folder there.
    fn lines(&mut self, path: &str) -> &[Shown] {
        if !self.lines.contains_key(path) {
            let lines = if path.is_empty() {
                self.log.list(&[EntryId::ROOT])
            } else {
                let above = self.lines(parent(path).unwrap_or(""));
                let folder = above.iter().find(|l| l.kind == EntryKind::Folder && l.name == name(path));
                let entries = folder.map(|line| line.entries.clone());
                entries.map(|entries| self.log.list(&entries)).unwrap_or_default()
            };
            self.lines.insert(path.to_owned(), lines);
        }
        &self.lines[path]
    }

    /// Folders that have to be taken in as well: those that are not the same ones on both sides, and those of which one
    /// side was taken in where it is, and the other is elsewhere.
    fn unlike(&self) -> Vec<String> {
        let (mut here, mut unlike) = (BTreeMap::new(), Vec::new());
        for (path, node) in self.part.synced.iter().filter(|(_, node)| node.kind == EntryKind::Folder) {
            if node.aside {
                unlike.push(path);
            } else {
                unlike.extend(here.insert(node.entries, path));
            }
        }
        for (path, node) in self.part.remote.nodes.iter().filter(|(_, node)| node.kind == EntryKind::Folder) {
            match here.remove(node.entries.as_slice()) {
                Some(was) if self.added.contains(&was) == self.added.contains(path) => {}
                was => unlike.extend(was.into_iter().chain([path.clone()])),
            }
        }
        unlike.extend(here.into_values());
        unlike.retain(|path| !self.added.contains(path));
        unlike
    }
}
