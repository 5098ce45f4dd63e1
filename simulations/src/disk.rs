//! The twin of the synced folder: a file system in memory with two users, the engine (through
//! [`annals_engine::disk::Disk`]) and a person.
//!
//! It keeps what the trait promises, and what makes it hard to live with: time in ticks, numbers of removed
//! files given to the next file at once, changes of the person between any two operations of the engine, a
//! folder that cannot be read for a while, power lost in the middle of a call. An operation is whole and durable
//! when it returns; what a call had in its hands when the power went is there for the next sweep.
//!
//! Left out: other file systems below, names that are not UTF-8, no room, permissions, torn writes (the real
//! disk's own tests have those).

mod apply;
mod person;
#[cfg(test)]
mod tests;

pub use apply::TwinDisk;

use crate::clock::MachineClock;
use annals_engine::disk::{Identity, Node, Scan, Skipped, SkippedBecause};
use annals_events::{EntryKind, path::is_reserved};
use std::collections::{BTreeMap, BTreeSet};

/// The device number of every folder: nothing is mounted in it.
const DEV: u64 = 1;
/// The number of the folder itself.
const TOP: u64 = 1;
/// The name that belongs to the device.
const STATE: &str = ".annals";

/// A file system that holds one synced folder.
#[derive(Debug)]
pub struct Volume {
    clock: MachineClock,
    /// Whether it knows when things were made.
    tells_births: bool,
    inodes: BTreeMap<u64, Inode>,
    free: Vec<u64>,
    last: u64,
    hands: Vec<InHand>,
    kept: Vec<(String, u64)>,
    /// Folders that cannot be read now.
    blind: BTreeSet<u64>,
    /// What the person overwrote or removed, wherever it came from.
    let_go: BTreeSet<Vec<u8>>,
    /// Where the person changed something since somebody asked.
    hints: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Inode {
    kind: EntryKind,
    bytes: Vec<u8>,
    target: Option<Vec<u8>>,
    mtime_ns: i64,
    ctime_ns: i64,
    born_ns: i64,
    executable: bool,
    children: BTreeMap<String, u64>,
}

/// Something in `.annals/tmp` that is not the engine's own.
#[derive(Debug)]
struct InHand {
    ino: u64,
    path: String,
    onward: Option<String>,
    expect: Identity,
    slot: Option<u32>,
}

/// Everything that a folder shows, in a form that does not differ between devices that agree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Visible {
    /// A folder.
    Folder,
    /// A symlink with what it says.
    Symlink(Vec<u8>),
    /// A file.
    File {
        /// What it holds.
        bytes: Vec<u8>,
        /// When it was changed.
        mtime_ns: i64,
        /// Whether it can be executed.
        executable: bool,
    },
}

impl Volume {
    /// An empty folder on a machine with this clock. Some file systems tell when a thing was made, others do not.
    #[must_use]
    pub fn new(clock: MachineClock, tells_births: bool) -> Self {
        let mut volume = Self {
            clock,
            tells_births,
            inodes: BTreeMap::new(),
            free: Vec::new(),
            last: 0,
            hands: Vec::new(),
            kept: Vec::new(),
            blind: BTreeSet::new(),
            let_go: BTreeSet::new(),
            hints: BTreeSet::new(),
        };
        assert_eq!(volume.make(EntryKind::Folder), TOP, "the folder is the first thing on its disk");
        volume
    }

    // --- what is there -----------------------------------------------------------------------------------

    /// Everything but the times of folders and symlinks, by path.
    #[must_use]
    pub fn visible(&self) -> BTreeMap<String, Visible> {
        let mut out = BTreeMap::new();
        self.walk(|path, _, inode| {
            let shown = match inode.kind {
                EntryKind::Folder => Visible::Folder,
                EntryKind::Symlink => Visible::Symlink(inode.target.clone().unwrap_or_default()),
                EntryKind::File => Visible::File {
                    bytes: inode.bytes.clone(),
                    mtime_ns: inode.mtime_ns,
                    executable: inode.executable,
                },
            };
            out.insert(path.to_owned(), shown);
            true
        });
        out
    }

    /// What the person removed or overwrote.
    #[must_use]
    pub fn let_go(&self) -> &BTreeSet<Vec<u8>> {
        &self.let_go
    }

    /// Where the person changed something since this was last asked, as a watcher would tell.
    pub fn take_hints(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.hints)
    }

    /// The contents of files that the engine keeps beside the folder.
    pub fn kept(&self) -> impl Iterator<Item = &[u8]> {
        let hands = self.hands.iter().map(|held| held.ino);
        let inos: Vec<u64> = self.kept.iter().map(|(_, ino)| *ino).chain(hands).collect();
        let mut all = Vec::new();
        for ino in inos {
            self.walk_from(ino, "", &mut |_, _, inode: &Inode| {
                all.push(&*inode.bytes);
                true
            });
            all.push(&self.inodes[&ino].bytes);
        }
        all.into_iter()
    }

    /// Paths, by kind.
    #[must_use]
    pub fn paths(&self, kind: EntryKind) -> Vec<String> {
        let mut paths = Vec::new();
        self.walk(|path, _, inode| {
            if inode.kind == kind {
                paths.push(path.to_owned());
            }
            true
        });
        paths
    }

    /// What is at `path`.
    #[must_use]
    pub fn look(&self, path: &str) -> Option<Node> {
        self.find(path).map(|ino| self.node(ino))
    }

    /// Makes the folder at `path` unreadable, or all of them readable again.
    pub fn blind(&mut self, path: Option<&str>) {
        self.blind = path.and_then(|path| self.find(path)).into_iter().collect();
    }

    fn scan(&self) -> Scan {
        let mut scan = Scan { began_ns: self.clock.tick_ns(), complete: true, ..Scan::default() };
        let mut skipped = Vec::new();
        self.walk(|path, ino, inode| {
            if !path.contains('/') && is_reserved(path) {
                if path != STATE {
                    skipped.push((path.to_owned(), SkippedBecause::ReservedName));
                }
                return false;
            }
            scan.nodes.insert(path.to_owned(), self.node(ino));
            if inode.kind == EntryKind::Folder && self.blind.contains(&ino) {
                skipped.push((
                    path.to_owned(),
                    SkippedBecause::Unreadable { error: "input/output error".into() },
                ));
                return false;
            }
            true
        });
        scan.skipped = skipped.into_iter().map(|(path, why)| Skipped { path, why }).collect();
        scan.complete = !scan.skipped.iter().any(|skipped| skipped.why.hides_what_is_there());
        scan
    }

    /// Hands over everything, folders before what is in them; `each` says whether to go into a folder.
    fn walk<'a>(&'a self, mut each: impl FnMut(&str, u64, &'a Inode) -> bool) {
        self.walk_from(TOP, "", &mut each);
    }

    fn walk_from<'a>(&'a self, ino: u64, path: &str, each: &mut dyn FnMut(&str, u64, &'a Inode) -> bool) {
        for (name, child) in &self.inodes[&ino].children {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let inode = &self.inodes[child];
            if each(&path, *child, inode) {
                self.walk_from(*child, &path, each);
            }
        }
    }

    fn find(&self, path: &str) -> Option<u64> {
        path.split('/').try_fold(TOP, |at, name| self.inodes[&at].children.get(name).copied())
    }

    /// The folder that `path` is in, if that is there, and its last name.
    fn place<'p>(&self, path: &'p str) -> Option<(u64, &'p str)> {
        let (folder, name) = match path.rsplit_once('/') {
            None => (TOP, path),
            Some((above, name)) => (self.find(above)?, name),
        };
        (self.inodes[&folder].kind == EntryKind::Folder).then_some((folder, name))
    }

    fn node(&self, ino: u64) -> Node {
        let inode = &self.inodes[&ino];
        Node {
            kind: inode.kind,
            size: inode.bytes.len() as u64,
            mtime_ns: inode.mtime_ns,
            ctime_ns: inode.ctime_ns,
            dev: DEV,
            ino,
            born_ns: self.tells_births.then_some(inode.born_ns),
            executable: inode.executable,
            target: inode.target.clone(),
        }
    }

    /// Whether `ino` is `above` or somewhere in it.
    fn is_below(&self, ino: u64, above: u64) -> bool {
        let mut found = ino == above;
        self.walk_from(above, "", &mut |_, child, _| {
            found |= child == ino;
            !found
        });
        found
    }

    // --- changing it ---------------------------------------------------------------------------------------

    fn make(&mut self, kind: EntryKind) -> u64 {
        // As file systems do: a freed number goes to the next file.
        let ino = self.free.pop().unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        let now = self.clock.tick_ns();
        let inode = Inode {
            kind,
            bytes: Vec::new(),
            target: None,
            mtime_ns: now,
            ctime_ns: now,
            born_ns: now,
            executable: false,
            children: BTreeMap::new(),
        };
        self.inodes.insert(ino, inode);
        ino
    }

    fn inode(&mut self, ino: u64) -> &mut Inode {
        self.inodes.get_mut(&ino).expect("names lead to what is there")
    }

    /// Its content changed.
    fn modified(&mut self, ino: u64) {
        let now = self.clock.tick_ns();
        let inode = self.inode(ino);
        (inode.mtime_ns, inode.ctime_ns) = (now, now);
    }

    /// Something else about it changed, its name for one.
    fn touched(&mut self, ino: u64) {
        let now = self.clock.tick_ns();
        self.inode(ino).ctime_ns = now;
    }

    fn attach(&mut self, folder: u64, name: &str, ino: u64) {
        let before = self.inode(folder).children.insert(name.to_owned(), ino);
        assert!(before.is_none(), "{name} is taken");
        self.modified(folder);
        self.touched(ino);
    }

    fn detach(&mut self, folder: u64, name: &str) -> Option<u64> {
        let ino = self.inode(folder).children.remove(name)?;
        self.modified(folder);
        self.touched(ino);
        Some(ino)
    }

    /// Frees what has no name any more, and what is in it.
    fn release(&mut self, ino: u64) {
        let inode = self.inodes.remove(&ino).expect("it was there");
        self.blind.remove(&ino);
        inode.children.into_values().for_each(|child| self.release(child));
        self.free.push(ino);
    }
}
