//! A folder in memory that keeps what `Disk` promises. Numbers of removed files are given to the next new one,
//! as ext4 does.

use crate::world::content;
use annals_engine::disk::{Blocked, DiskOp, Done, Expect, Identity, Node, Outcome, Scan, WRITTEN_BACK_NS};
use annals_events::{ContentId, EntryKind};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inode {
    pub(crate) kind: EntryKind,
    pub(crate) text: String,
    pub(crate) target: Option<Vec<u8>>,
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
    pub(crate) executable: bool,
    /// When it was made, where the file system says so.
    born: Option<i64>,
    /// When a store through a memory map was stamped.
    stored: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    pub(crate) names: BTreeMap<String, u64>,
    pub(crate) inodes: BTreeMap<u64, Inode>,
    freed: Vec<u64>,
    /// What is in `.annals/kept`, by where it was.
    pub(crate) kept: Vec<String>,
    /// Whether something in it cannot be looked into, a disk that is mounted there, say.
    pub(crate) passed_by: bool,
    /// Whether the file system knows when things were made.
    tells_births: bool,
    last_ino: u64,
    now: i64,
}

/// What people see.
pub(crate) type Picture = BTreeMap<String, (EntryKind, String, i64, bool)>;

impl Folder {
    /// Empty, on a disk that knows when things were made, or on one that does not.
    pub(crate) fn on_a_disk(tells_births: bool) -> Self {
        Self { tells_births, ..Self::default() }
    }

    pub(crate) fn tick(&mut self) -> i64 {
        self.now += 1_000_000_000;
        self.now
    }

    fn node(&self, path: &str) -> Option<Node> {
        let ino = *self.names.get(path)?;
        let inode = &self.inodes[&ino];
        Some(Node {
            kind: inode.kind,
            size: inode.text.len() as u64,
            mtime_ns: inode.mtime,
            ctime_ns: inode.ctime,
            dev: 1,
            ino,
            born_ns: inode.born,
            executable: inode.executable,
            target: inode.target.clone(),
        })
    }

    pub(crate) fn scan(&mut self) -> Scan {
        let began_ns = self.tick();
        let nodes = self.names.keys().map(|path| (path.clone(), self.node(path).unwrap())).collect();
        Scan { nodes, skipped: Vec::new(), complete: !self.passed_by, began_ns }
    }

    pub(crate) fn look(&self, path: &str) -> Option<Node> {
        self.node(path)
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        &self.inodes[&self.names[path]].text
    }

    pub(crate) fn picture(&self) -> Picture {
        self.names
            .iter()
            .map(|(path, ino)| {
                let inode = &self.inodes[ino];
                let (text, mtime) = match inode.kind {
                    EntryKind::File => (inode.text.clone(), inode.mtime),
                    EntryKind::Folder => (String::new(), 0),
                    EntryKind::Symlink => (String::from_utf8_lossy(inode.target.as_ref().unwrap()).into(), 0),
                };
                (path.clone(), (inode.kind, text, mtime, inode.executable))
            })
            .collect()
    }

    // --- what people do -----------------------------------------------------------------------------------

    pub(crate) fn is_folder(&self, path: &str) -> bool {
        path.is_empty() || self.names.get(path).is_some_and(|ino| self.inodes[ino].kind == EntryKind::Folder)
    }

    fn has_parent(&self, path: &str) -> bool {
        self.is_folder(path.rsplit_once('/').map_or("", |(above, _)| above))
    }

    fn new_inode(&mut self, inode: Inode) -> u64 {
        let ino = self.freed.pop().unwrap_or_else(|| {
            self.last_ino += 1;
            self.last_ino
        });
        self.inodes.insert(ino, inode);
        ino
    }

    pub(crate) fn put(&mut self, path: &str, kind: EntryKind, text: &str) {
        let now = self.tick();
        let target = (kind == EntryKind::Symlink).then(|| text.as_bytes().to_vec());
        let text = if kind == EntryKind::File { text.to_owned() } else { String::new() };
        let (mtime, ctime, executable, stored) = (now, now, false, None);
        let born = self.tells_births.then_some(now);
        let ino = self.new_inode(Inode { kind, text, target, mtime, ctime, executable, born, stored });
        self.names.insert(path.into(), ino);
    }

    pub(crate) fn mkdir(&mut self, path: &str) {
        self.put(path, EntryKind::Folder, "");
    }

    /// In place: the same file, with other content.
    pub(crate) fn write(&mut self, path: &str, text: &str) {
        let now = self.tick();
        match self.names.get(path) {
            Some(ino) => {
                let inode = self.inodes.get_mut(ino).unwrap();
                (inode.text, inode.mtime, inode.ctime) = (text.into(), now, now);
            }
            None => self.put(path, EntryKind::File, text),
        }
    }

    /// As editors do: a new file takes the name.
    pub(crate) fn save(&mut self, path: &str, text: &str) {
        let old = self.names.get(path).copied();
        self.put(path, EntryKind::File, text);
        if let Some(old) = old {
            self.inodes.remove(&old);
            self.freed.push(old);
        }
    }

    /// Through a memory map: the first store to it is stamped, and those that follow are not until it was written back.
    pub(crate) fn store(&mut self, path: &str, text: &str) {
        assert_eq!(self.text(path).len(), text.len(), "a map is as long as its file");
        let now = self.tick();
        let inode = self.inodes.get_mut(&self.names[path]).unwrap();
        inode.text = text.into();
        if inode.stored.is_none_or(|first| first < now - WRITTEN_BACK_NS) {
            (inode.mtime, inode.ctime, inode.stored) = (now, now, Some(now));
        }
    }

    pub(crate) fn chmod(&mut self, path: &str) {
        let now = self.tick();
        let inode = self.inodes.get_mut(&self.names[path]).unwrap();
        (inode.executable, inode.ctime) = (!inode.executable, now);
    }

    pub(crate) fn touch(&mut self, path: &str) {
        let now = self.tick();
        let inode = self.inodes.get_mut(&self.names[path]).unwrap();
        (inode.mtime, inode.ctime) = (now, now);
    }

    /// What was stored to through a memory map.
    pub(crate) fn mapped(&self) -> Vec<String> {
        let mapped = |ino: &u64| self.inodes[ino].stored.is_some();
        self.names.iter().filter(|(_, ino)| mapped(ino)).map(|(path, _)| path.clone()).collect()
    }

    pub(crate) fn below(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        self.names.keys().filter(|p| *p == path || p.starts_with(&prefix)).cloned().collect()
    }

    pub(crate) fn remove(&mut self, path: &str) {
        for path in self.below(path) {
            let ino = self.names.remove(&path).unwrap();
            self.inodes.remove(&ino);
            self.freed.push(ino);
        }
    }

    /// What was at `to` is removed first.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let now = self.tick();
        if from == to || to.starts_with(&format!("{from}/")) {
            return;
        }
        self.remove(to);
        let moved: Vec<(String, u64)> = self
            .below(from)
            .into_iter()
            .map(|path| (path.clone(), self.names.remove(&path).unwrap()))
            .collect();
        for (path, ino) in moved {
            self.names.insert(format!("{to}{}", &path[from.len()..]), ino);
        }
        self.inodes.get_mut(&self.names[to]).unwrap().ctime = now;
    }

    pub(crate) fn swap(&mut self, one: &str, other: &str) {
        self.rename(one, "~swap~");
        self.rename(other, one);
        self.rename("~swap~", other);
    }

    // --- what the device does -------------------------------------------------------------------------------

    pub(crate) fn apply(&mut self, ops: &[DiskOp], contents: &BTreeMap<ContentId, String>) -> Vec<Outcome> {
        let mut parked = BTreeMap::new();
        let mut outcomes: Vec<Outcome> = ops.iter().map(|op| self.one(op, contents, &mut parked)).collect();
        for (slot, path) in parked {
            if self.has_parent(&path) && !self.names.contains_key(&path) {
                self.rename(&format!("\0{slot}"), &path);
            } else {
                // `.annals/kept`: out of the folder, and what it held unobserved is found by nobody.
                self.remove(&format!("\0{slot}"));
                self.kept.push(path.clone());
            }
            let parking = |op: &DiskOp| matches!(op, DiskOp::Park { slot: it, .. } if *it == slot);
            let index = ops.iter().position(parking).unwrap();
            outcomes[index] = Err(Blocked::Kept { path, kept: slot.to_string() });
        }
        outcomes
    }

    /// What came out of the folder is read where its times do not vouch for it.
    fn proven(&self, path: &str, holds: Option<&ContentId>) -> Result<(), Blocked> {
        let found = self.node(path).map(|node| node.identity());
        let holds = holds.is_none_or(|holds| content(self.text(path)).id == *holds);
        if holds { Ok(()) } else { Err(Blocked::Changed { path: path.into(), found }) }
    }

    fn expect(&self, path: &str, expect: Expect) -> Result<(), Blocked> {
        let found = self.node(path).map(|node| node.identity());
        let fits = match (expect, found) {
            (Expect::Absent, None) => true,
            (Expect::Is(expected), Some(found)) => expected.is(&found),
            _ => false,
        };
        if !self.has_parent(path) {
            return Err(Blocked::NoFolder { path: path.into() });
        }
        if fits { Ok(()) } else { Err(Blocked::Changed { path: path.into(), found }) }
    }

    fn here(&self, path: &str, expect: Identity) -> Result<(), Blocked> {
        self.expect(path, Expect::Is(expect))
    }

    fn done(&self, path: &str) -> Outcome {
        Ok(Done { node: self.node(path), other: None })
    }

    fn one(
        &mut self,
        op: &DiskOp,
        contents: &BTreeMap<ContentId, String>,
        parked: &mut BTreeMap<u32, String>,
    ) -> Outcome {
        match op {
            DiskOp::MakeFolder { path } => {
                if !self.is_folder(path) {
                    self.expect(path, Expect::Absent)?;
                    self.mkdir(path);
                }
                self.done(path)
            }
            DiskOp::WriteFile { path, content, mtime_ns, executable, expect, holds, .. } => {
                self.expect(path, *expect)?;
                self.proven(path, holds.as_ref())?;
                self.save(path, &contents[content]);
                let inode = self.inodes.get_mut(&self.names[path]).unwrap();
                inode.mtime = mtime_ns.unwrap_or(inode.mtime);
                inode.executable = *executable;
                self.done(path)
            }
            DiskOp::WriteSymlink { path, target, expect, holds } => {
                self.expect(path, *expect)?;
                self.proven(path, holds.as_ref())?;
                self.remove(path);
                self.put(path, EntryKind::Symlink, "");
                let inode = self.inodes.get_mut(&self.names[path]).unwrap();
                inode.target = Some(target.clone());
                self.done(path)
            }
            DiskOp::SetAttributes { path, mtime_ns, executable, expect } => {
                self.here(path, *expect)?;
                let now = self.tick();
                let inode = self.inodes.get_mut(&self.names[path]).unwrap();
                inode.mtime = mtime_ns.unwrap_or(inode.mtime);
                inode.executable = executable.unwrap_or(inode.executable);
                inode.ctime = now;
                self.done(path)
            }
            DiskOp::Rename { from, to, expect } => {
                self.here(from, *expect)?;
                self.expect(to, Expect::Absent)?;
                self.rename(from, to);
                self.done(to)
            }
            DiskOp::Exchange { one, other, expect_one, expect_other } => {
                self.here(one, *expect_one)?;
                self.here(other, *expect_other)?;
                self.swap(one, other);
                Ok(Done { node: self.node(one), other: self.node(other) })
            }
            DiskOp::Park { path, slot, expect } => {
                self.here(path, *expect)?;
                self.rename(path, &format!("\0{slot}"));
                parked.insert(*slot, path.clone());
                Ok(Done { node: None, other: None })
            }
            DiskOp::Unpark { slot, path } => {
                if !parked.contains_key(slot) {
                    return Err(Blocked::Changed { path: path.clone(), found: None });
                }
                self.expect(path, Expect::Absent)?;
                parked.remove(slot);
                self.rename(&format!("\0{slot}"), path);
                self.done(path)
            }
            DiskOp::Remove { path, expect, holds } => {
                if self.names.contains_key(path) {
                    self.here(path, *expect)?;
                    self.proven(path, holds.as_ref())?;
                    if self.below(path).len() > 1 {
                        return Err(Blocked::NotEmpty { path: path.clone() });
                    }
                    self.remove(path);
                }
                Ok(Done { node: None, other: None })
            }
        }
    }
}
