//! Which folders to look at when a change was hinted at, and what is in them.
//!
//! It begins with the folders of the hinted paths. What stands there and was elsewhere before leads to the folder that it
//! came from, and a folder that nobody knows to all that is in it; so both ends of a move are looked at though only one
//! was hinted at. A folder that moved is known by what is directly in it: what lies deeper moved along. A hint may be older
//! than a move of ours: it is followed to where the folder went.
//!
//! What must always hold: what cannot be seen as a whole this way is for a look at everything.

use crate::{
    disk::{Disk, DiskError, Listing, Node, Scan},
    ignore::RULES_FILE,
    observed::{Glimpse, SyncedNode, SyncedTree, Went, along, ancestors, name, parent},
};
use annals_events::EntryKind;
use std::collections::{BTreeMap, BTreeSet};

/// With more folders than this, a look at everything costs no more.
pub(super) const FOLDERS_MAX: usize = 512;

/// What a look at some folders found.
#[derive(Default)]
pub(super) struct Glance {
    /// The folders, by where they are and where they were.
    pub(super) folders: BTreeSet<String>,
    /// What is directly in them, and the folders above.
    pub(super) scan: Scan,
}

/// Looks at the folders of these paths, and at what they lead to; none where that is not enough.
pub(super) fn glance<D: Disk>(
    disk: &mut D,
    synced: &SyncedTree,
    went: &Went,
    hints: &BTreeSet<&str>,
) -> Result<Option<Glance>, DiskError> {
    if hints.iter().any(|hint| name(hint) == RULES_FILE) {
        return Ok(None); // Other rules are about everything below.
    }
    let mut search = Search {
        disk,
        synced,
        went,
        above: BTreeMap::new(),
        moved: BTreeMap::new(),
        listed: BTreeSet::new(),
        todo: BTreeMap::new(),
        found: Scan { complete: true, began_ns: i64::MAX, ..Scan::default() },
    };
    loop {
        // A folder that moved makes hints of what is in it mean something.
        let mut lost = false;
        for hint in hints {
            let mut found = search.want_folder_of(hint)?;
            for moved in search.is_now(hint) {
                found |= search.want_folder_of(&moved)?;
            }
            lost |= !found;
        }
        if search.todo.is_empty() && lost {
            return Ok(None); // It happened in a folder that is elsewhere by now, or gone.
        }
        if search.todo.is_empty() {
            return search.finish().map(Some);
        }
        if !search.list()? || search.listed.len() > FOLDERS_MAX {
            return Ok(None);
        }
    }
}

struct Search<'a, D: Disk> {
    disk: &'a mut D,
    synced: &'a SyncedTree,
    went: &'a Went,
    /// Folders above what was looked at, as they are; none where that is not the one that is known there.
    above: BTreeMap<String, Option<Node>>,
    /// Where folders are that moved, and where they were.
    moved: BTreeMap<String, String>,
    listed: BTreeSet<String>,
    /// What has to be listed, and whether with all that is below.
    todo: BTreeMap<String, bool>,
    found: Scan,
}

impl<D: Disk> Search<'_, D> {
    /// Wants the folder that is nearest to what was hinted at. False: one on the way there is not there.
    fn want_folder_of(&mut self, hint: &str) -> Result<bool, DiskError> {
        let mut folders: Vec<&str> = ancestors(hint).collect();
        folders.reverse();
        folders.push(hint);
        let mut folder = "";
        for path in folders.into_iter().filter(|path| !path.is_empty()) {
            if !self.is_known_folder(path)? {
                self.want(folder, false);
                let is_folder = |node: Node| node.kind == EntryKind::Folder;
                return Ok(path == hint || self.disk.look(path)?.is_some_and(is_folder));
            }
            if path == hint {
                // What is hinted at is its name as well.
                self.want(folder, false);
            }
            folder = path;
        }
        self.want(folder, false);
        Ok(true)
    }

    fn want(&mut self, folder: &str, deep: bool) {
        if !self.listed.contains(folder) {
            *self.todo.entry(folder.to_owned()).or_default() |= deep;
        }
    }

    /// Whether the folder at `path` is there, and is one that is known, here or from where it was.
    fn is_known_folder(&mut self, path: &str) -> Result<bool, DiskError> {
        if let Some(known) = self.above.get(path) {
            return Ok(known.is_some());
        }
        let Some(before) = self.synced.get(&self.was(path)).filter(|node| node.kind == EntryKind::Folder)
        else {
            return Ok(false);
        };
        let now = self.disk.look(path)?.filter(|now| is_number(&before, now));
        let known = now.is_some();
        self.above.insert(path.to_owned(), now);
        Ok(known)
    }

    /// Where something was that is at `path`, if it moved along with a folder.
    fn was(&self, path: &str) -> String {
        let above = std::iter::once(path).chain(ancestors(path));
        let moved = above.into_iter().find_map(|above| Some((above, self.moved.get(above)?)));
        moved.map_or_else(|| path.to_owned(), |(above, was)| format!("{was}{}", &path[above.len()..]))
    }

    /// Where what was hinted at may be since a folder above it moved.
    fn is_now(&self, hint: &str) -> BTreeSet<String> {
        let mut places = self.went.from(hint);
        let hints = std::iter::once(hint).chain(places.iter().map(String::as_str));
        let moved =
            |hint: &str| self.moved.iter().filter_map(|(now, was)| along(hint, was, now)).collect::<Vec<_>>();
        let moved: Vec<String> = hints.flat_map(moved).collect();
        places.extend(moved);
        places
    }

    /// Lists what has to be. False: it could not be seen as a whole.
    fn list(&mut self) -> Result<bool, DiskError> {
        let todo: Vec<Listing> =
            std::mem::take(&mut self.todo).into_iter().map(|(path, deep)| Listing { path, deep }).collect();
        let mut scan = self.disk.list(&todo)?;
        // What is ignored is so unless it is synced.
        let inside = scan.sift(|path| self.synced.contains(path));
        if !scan.complete || !inside.is_empty() && self.disk.descend(&inside) {
            return Ok(false);
        }
        for listing in todo {
            if listing.deep {
                let (first, end) = (format!("{}/", listing.path), format!("{}0", listing.path));
                let below = scan.nodes.range(first..end).filter(|(_, node)| node.kind == EntryKind::Folder);
                self.listed.extend(below.map(|(path, _)| path.clone()));
            }
            self.listed.insert(listing.path);
        }
        self.follow(&scan);
        self.found.began_ns = self.found.began_ns.min(scan.began_ns);
        self.found.nodes.extend(scan.nodes);
        self.found.skipped.extend(scan.skipped);
        Ok(true)
    }

    /// Wants the folders that things came from, and all that is in those that are new.
    fn follow(&mut self, scan: &Scan) {
        let strange = scan.nodes.iter().filter(|(path, now)| {
            !self.synced.get(&self.was(path)).is_some_and(|before| is_number(&before, now))
        });
        let mut strange: BTreeMap<(u64, u64), &String> =
            strange.map(|(path, now)| ((now.dev, now.ino), path)).collect();
        if strange.is_empty() {
            return;
        }
        let mut came = Vec::new();
        let number = |node: &Glimpse| (node.identity.dev, node.identity.ino);
        let before = self.synced.select(|_, node| !node.aside && strange.contains_key(&number(node)));
        for (was, before) in before.collect::<Vec<_>>() {
            let number = (before.disk.dev, before.disk.ino);
            let Some(path) = strange.get(&number).filter(|path| is_number(&before, &scan.nodes[**path]))
            else {
                continue;
            };
            came.push(((*path).clone(), was.clone(), before.kind));
            strange.remove(&number);
        }
        for (path, was, kind) in came {
            self.want(parent(&was).unwrap_or(""), false);
            if kind == EntryKind::Folder {
                // Where it was, too, if it was listed with all that is in a new folder.
                self.want(&path, false);
                self.moved.insert(path, was);
                // What was not known under its name may be by where it was.
                self.above.retain(|_, known| known.is_some());
            }
        }
        for path in strange.into_values() {
            if scan.nodes[path].kind == EntryKind::Folder {
                self.want(path, true);
            }
        }
    }

    fn finish(mut self) -> Result<Glance, DiskError> {
        let mut folders = BTreeSet::new();
        for path in &self.listed {
            for above in std::iter::once(path.as_str()).chain(ancestors(path)) {
                if let Some(Some(node)) = self.above.get(above) {
                    self.found.nodes.entry(above.to_owned()).or_insert_with(|| node.clone());
                }
            }
            folders.insert(self.was(path));
        }
        folders.append(&mut self.listed);
        self.found.skipped.sort();
        self.found.skipped.dedup();
        Ok(Glance { folders, scan: self.found })
    }
}

fn is_number(before: &SyncedNode, now: &Node) -> bool {
    before.kind == now.kind && before.disk.may_be(now)
}
