//! What a person and their programs do to the folder, as the file system sees it: each answers whether it could
//! be done.

use super::{TOP, Volume};
use annals_events::EntryKind;

impl Volume {
    /// Writes a file, in place where there is one.
    pub fn write(&mut self, path: &str, bytes: &[u8]) -> bool {
        let Some((folder, name)) = self.place(path) else { return false };
        let ino = match self.find(path) {
            Some(ino) if self.inodes[&ino].kind == EntryKind::File => ino,
            Some(_) => return false,
            None => {
                let ino = self.make(EntryKind::File);
                self.attach(folder, name, ino);
                ino
            }
        };
        let old = std::mem::replace(&mut self.inode(ino).bytes, bytes.to_vec());
        if old != bytes {
            self.let_go.insert(old);
        }
        self.modified(ino);
        self.hint(path);
        true
    }

    /// Writes a file as editors do: beside, then renamed over what is there.
    pub fn save(&mut self, path: &str, bytes: &[u8]) -> bool {
        let Some((folder, name)) = self.place(path) else { return false };
        let old = self.find(path);
        if old.is_some_and(|old| self.inodes[&old].kind != EntryKind::File) {
            return false;
        }
        let ino = self.make(EntryKind::File);
        self.inode(ino).bytes = bytes.to_vec();
        if let Some(old) = old {
            self.inode(ino).executable = self.inodes[&old].executable;
            self.unlink(path);
        }
        self.attach(folder, name, ino);
        self.hint(path);
        true
    }

    /// Makes a folder.
    pub fn make_folder(&mut self, path: &str) -> bool {
        let Some((folder, name)) = self.place(path) else { return false };
        if self.find(path).is_some() {
            return false;
        }
        let ino = self.make(EntryKind::Folder);
        self.attach(folder, name, ino);
        self.hint(path);
        true
    }

    /// Makes a symlink.
    pub fn make_symlink(&mut self, path: &str, target: &[u8]) -> bool {
        let Some((folder, name)) = self.place(path) else { return false };
        if self.find(path).is_some() {
            return false;
        }
        let ino = self.make(EntryKind::Symlink);
        self.inode(ino).target = Some(target.to_vec());
        self.attach(folder, name, ino);
        self.hint(path);
        true
    }

    /// Gives something another name. A file takes the place of a file or symlink, a folder that of an empty folder.
    pub fn rename(&mut self, from: &str, to: &str) -> bool {
        let (Some(ino), Some((here, old)), Some((there, new))) =
            (self.find(from), self.place(from), self.place(to))
        else {
            return false;
        };
        if from == to || self.is_below(there, ino) {
            return false;
        }
        if let Some(other) = self.find(to) {
            let is_folder = |ino: u64| self.inodes[&ino].kind == EntryKind::Folder;
            let empty = self.inodes[&other].children.is_empty();
            if is_folder(ino) != is_folder(other) || !empty {
                return false;
            }
            self.unlink(to);
        }
        self.detach(here, old);
        self.attach(there, new, ino);
        self.hint(from);
        self.hint(to);
        true
    }

    /// Two things change names.
    pub fn swap(&mut self, one: &str, to: &str) -> bool {
        let (Some(a), Some(b), Some((here, name)), Some((there, other))) =
            (self.find(one), self.find(to), self.place(one), self.place(to))
        else {
            return false;
        };
        if a == b || self.is_below(a, b) || self.is_below(b, a) {
            return false;
        }
        self.detach(here, name);
        self.detach(there, other);
        self.attach(here, name, b);
        self.attach(there, other, a);
        self.hint(one);
        self.hint(to);
        true
    }

    /// Removes something and all that is in it.
    pub fn remove(&mut self, path: &str) -> bool {
        self.find(path).is_some_and(|ino| ino != TOP) && self.unlink(path)
    }

    /// Sets or clears a file's executable bit.
    pub fn set_executable(&mut self, path: &str, executable: bool) -> bool {
        let Some(ino) = self.find(path).filter(|ino| self.inodes[ino].kind == EntryKind::File) else {
            return false;
        };
        self.inode(ino).executable = executable;
        self.touched(ino);
        self.hint(path);
        true
    }

    fn hint(&mut self, path: &str) {
        self.hints.insert(path.to_owned());
    }

    fn unlink(&mut self, path: &str) -> bool {
        let Some((folder, name)) = self.place(path) else { return false };
        let Some(ino) = self.detach(folder, name) else { return false };
        let mut gone = vec![self.inodes[&ino].bytes.clone()];
        self.walk_from(ino, "", &mut |_, _, inode| {
            gone.push(inode.bytes.clone());
            true
        });
        self.let_go.extend(gone);
        self.release(ino);
        self.hint(path);
        true
    }
}
