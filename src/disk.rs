//! The synced folder for real, on Linux: `engine::disk` kept with system calls.
//!
//! [`Folder`] is the handle that every access starts from; `scan` looks at everything, `apply` changes
//! things in groups with the help of `stage` (files written beside, before they get their names), `place`
//! (the exchange of names and what it proves) and `held` (what is in our hands meanwhile, written down so
//! that [`Disk::sweep`] can put it back after a crash), and [`Guard`] recognises a copied state.
//!
//! What must always hold is said by [`annals_engine::disk`]. Left out: extended attributes, ACLs and hard
//! links (a replaced file is a new one with the old one's mode bits and owner), and times of folders. A
//! program that keeps writing into an open file after that was replaced writes into the replaced file, as
//! with every program that saves by renaming.

mod apply;
mod calls;
mod folder;
mod guard;
mod held;
mod ignoring;
mod node;
mod part;
mod place;
mod proof;
mod scan;
mod sink;
mod stage;
mod survey;
mod sweep;
#[cfg(test)]
mod tests;

pub use folder::{Folder, KEPT, TMP};
pub use guard::Guard;
pub(crate) use guard::NUMBERS_DO_NOT_LAST;
pub use ignoring::rules_about;

use annals_engine::{
    disk::{Contents, Disk, DiskError, DiskOp, Listing, Node, Outcome, Reading, Scan, Swept},
    observed::SyncedTree,
};
use annals_events::EntryKind;
use held::Intent;
use rustix::{
    fd::AsFd as _,
    fs::{self, Mode, OFlags},
    io::Errno,
};
use std::{collections::BTreeSet, fs::File, io, path::Path};

/// The synced folder of this device. One process has it at a time; who it is, its caller sees to.
#[derive(Debug)]
pub struct FolderDisk {
    folder: Folder,
    /// The number of the next name in `.annals/tmp`.
    next: u64,
    /// What is in our hands beyond a group: parked, or stuck there.
    outstanding: Vec<Intent>,
    steps: Steps,
}

impl FolderDisk {
    /// Opens the folder at `path`. Writes nothing.
    ///
    /// # Errors
    /// [`DiskError::NoFolder`] if there is none.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        Ok(Self { folder: Folder::open(path)?, next: 0, outstanding: Vec::new(), steps: Steps::default() })
    }

    /// Whether it is still what is found at `path`: not moved away, nor hidden or gone with the disk that it is on.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        let there = fs::stat(path).map(|found| (found.st_dev, found.st_ino));
        let here = fs::fstat(self.folder.root()).map(|found| (found.st_dev, found.st_ino));
        there.is_ok() && there == here
    }

    /// Whether it was removed, wherever it was.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        fs::fstat(self.folder.root()).is_ok_and(|found| found.st_nlink == 0)
    }

    /// The handle on the folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Whether what is at `path` is ignored, by the rules that the last looks found.
    #[must_use]
    pub fn ignores(&self, path: &str) -> bool {
        // A name that has gone may have been either.
        let is_folder =
            scan::look_at(&self.folder, path).ok().flatten().map(|node| node.kind == EntryKind::Folder);
        let rules = self.folder.ignoring.rules();
        is_folder.map_or(rules.ignore(path, false) && rules.ignore(path, true), |is| rules.ignore(path, is))
    }

    /// As [`ignores`](Self::ignores), by the rules that lie in the folder around it now.
    #[must_use]
    pub fn ignores_now(&self, path: &str) -> bool {
        if let Ok(place) = self.folder.place(path) {
            let around = path.rsplit_once('/').map_or("", |(around, _)| around);
            self.folder.ignoring.learn(around, &place.folder);
        }
        self.ignores(path)
    }

    /// The names of what lies in `.annals/kept`: what came between us and a replacement and could not be put
    /// back. Nothing but a person removes it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kept(&self) -> Result<Vec<String>, DiskError> {
        held::names_in_state(&self.folder, folder::KEPT).map_err(|errno| self.folder.failed(errno))
    }
}

impl Disk for FolderDisk {
    type Reading = OpenFile;

    fn scan(&mut self) -> Result<Scan, DiskError> {
        scan::scan(&self.folder)
    }

    fn descend(&mut self, folders: &BTreeSet<String>) -> bool {
        self.folder.ignoring.descend(folders)
    }

    fn list(&mut self, folders: &[Listing]) -> Result<Scan, DiskError> {
        scan::list(&self.folder, folders)
    }

    fn survey(&mut self, known: &SyncedTree) -> Result<Option<BTreeSet<String>>, DiskError> {
        survey::survey(&self.folder, known)
    }

    fn look(&mut self, path: &str) -> Result<Option<Node>, DiskError> {
        folder::check(path)
            .map_err(|blocked| DiskError::Io { path: path.into(), why: blocked.to_string() })?;
        scan::look_at(&self.folder, path).map_err(|errno| io_error(path, errno))
    }

    fn open_read(&mut self, path: &str) -> Result<OpenFile, DiskError> {
        self.folder.open_file(path)
    }

    fn apply(&mut self, ops: &[DiskOp], contents: &mut dyn Contents) -> Result<Vec<Outcome>, DiskError> {
        apply::apply(self, ops, contents)
    }

    fn sweep(&mut self) -> Result<Swept, DiskError> {
        sweep::sweep(&self.folder)
    }

    fn rest(&mut self) {
        if let Err(error) = part::forget_all(&self.folder) {
            tracing::warn!(%error, "files that were begun could not be removed");
        }
    }
}

fn io_error(path: &str, errno: Errno) -> DiskError {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => DiskError::Missing { path: path.into() },
        _ => DiskError::Io { path: path.into(), why: errno.to_string() },
    }
}

impl Folder {
    /// As [`Disk::open_read`], from any thread.
    ///
    /// # Errors
    /// [`DiskError::Missing`] where no file is.
    pub fn open_file(&self, path: &str) -> Result<OpenFile, DiskError> {
        let missing = || DiskError::Missing { path: path.into() };
        folder::check(path).map_err(|_| missing())?;
        let place = self.place(path).map_err(|errno| io_error(path, errno))?;
        // Not even opened: some devices do something when they are.
        let stat = node::stat_at(place.folder.as_fd(), place.name).map_err(|errno| io_error(path, errno))?;
        if stat.and_then(|stat| node::kind_of(stat.st_mode)) != Some(EntryKind::File) {
            return Err(missing());
        }
        // NONBLOCK: should a pipe have taken the name since, opening it must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = fs::openat(&place.folder, place.name, flags, Mode::empty())
            .map_err(|errno| io_error(path, errno))?;
        let file = OpenFile { file: File::from(file), path: path.into() };
        if file.node()?.kind == EntryKind::File { Ok(file) } else { Err(missing()) }
    }
}

/// A file of the folder, open for reading.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    path: String,
}

impl io::Read for OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Reading for OpenFile {
    fn node(&self) -> Result<Node, DiskError> {
        let found = node::Told::open(&self.file).map_err(|errno| io_error(&self.path, errno))?;
        found.node().ok_or_else(|| DiskError::Missing { path: self.path.clone() })
    }

    fn pass_by(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = i64::try_from(bytes).map_err(io::Error::other)?;
        io::Seek::seek_relative(&mut self.file, bytes)
    }
}

/// A point in [`Disk::apply`] at which a crash or somebody else may come in between. The tests do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "only the tests ask where we are"))]
enum Step {
    /// A file is about to be written beside.
    Stage(String),
    /// All new files are written beside.
    Staged,
    /// What will be in our hands is written down.
    Noted,
    /// All of that is on the disk.
    Durable,
    /// What is at the path is what was expected.
    Checked(String),
    /// Its name and the new file's are about to be exchanged.
    Exchange(String),
    /// It was exchanged, or taken out.
    Out(String),
    /// The operation on the path was tried.
    Tried(String),
    /// The folders are on the disk.
    Settled,
    /// What came out is about to be removed.
    Proven(String),
}

/// Who is told of each [`Step`]: nobody, outside of tests.
#[derive(Default)]
struct Steps {
    #[cfg(test)]
    watch: Option<Watch>,
}

#[cfg(test)]
type Watch = Box<dyn FnMut(&Step) -> Result<(), Errno> + Send>;

impl Steps {
    #[cfg_attr(
        not(test),
        allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "a test may fail here")
    )]
    fn reach(&mut self, step: impl FnOnce() -> Step) -> Result<(), Errno> {
        #[cfg(test)]
        if let Some(watch) = &mut self.watch {
            return watch(&step());
        }
        #[cfg(not(test))]
        drop(step);
        Ok(())
    }
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Steps")
    }
}

/// What is free on the disk of `folder`, for whoever runs this; none where that cannot be told.
pub(crate) fn free_bytes(folder: &std::path::Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
