//! The synced folder as the engine sees it: what a look at it found, and what is to be done to it.
//!
//! What must always hold, for the real folder (`src/disk`) and for its twin in a simulation:
//! - a name in the folder shows the old file or the new one, whole, also after a crash (I9);
//! - nothing is replaced or removed that is not what the operation expected, and what a race put in its
//!   place is put back or kept aside, never dropped (I10);
//! - what is reported as [`Done`] is durable;
//! - no path and no symlink on the way leads outside of the folder, and `.annals` at its top is not
//!   touched: it belongs to the device;
//! - a thing that a scan did not look at is not missing: [`Scan::complete`] says whether absence means
//!   that it is gone.
//!
//! Paths are names joined by `/`, relative to the folder, never empty. Deciding which operations are
//! needed is the plan's business; cutting files into chunks and putting them together the content's.

mod target;

use crate::observed::{SyncedTree, ancestors, differing, parent};
use annals_events::{ContentId, EntryKind};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
};

/// The synced folder of a device.
pub trait Disk {
    /// A file being read.
    type Reading: Reading;

    /// Looks at everything in the folder. Follows no symlink, enters no other file system.
    ///
    /// # Errors
    /// When the folder itself cannot be read; what lies below and cannot be is in [`Scan::skipped`].
    fn scan(&mut self) -> Result<Scan, DiskError>;

    /// These folders are to be looked into although they are ignored: something in them is synced. True: that is new.
    fn descend(&mut self, folders: &BTreeSet<String>) -> bool {
        let _ = folders;
        false
    }

    /// Looks at what is in some folders, and at nothing else: [`Scan::complete`] then speaks of those. One that is not
    /// there has nothing in it.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    fn list(&mut self, folders: &[Listing]) -> Result<Scan, DiskError>;

    /// Looks at everything in the folder for where it is not what is `known` of it: answers with those folders. None
    /// where one of them moved, or where only a whole [`scan`](Self::scan) tells. What is ignored and not known is
    /// passed by.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    fn survey(&mut self, known: &SyncedTree) -> Result<Option<BTreeSet<String>>, DiskError> {
        Ok(differing(&self.scan()?, known))
    }

    /// Looks at one path; none if nothing is there.
    ///
    /// # Errors
    /// When that cannot be told.
    fn look(&mut self, path: &str) -> Result<Option<Node>, DiskError>;

    /// Opens a file to read what it holds.
    ///
    /// # Errors
    /// [`DiskError::Missing`] if there is no file at `path`.
    fn open_read(&mut self, path: &str) -> Result<Self::Reading, DiskError>;

    /// Does `ops` one after the other and answers for each in the same order, once all that is
    /// [`Done`] is durable. One that is [`Blocked`] leaves the folder as it was and does not stop the
    /// others. Paths are meant as they are when their turn comes. Costs per call are high (several
    /// fsyncs) and per operation low: hand over hundreds at once.
    ///
    /// # Errors
    /// When it is unknown what is durable. The operations are then done or not done, each of them
    /// whole; a scan tells.
    fn apply(&mut self, ops: &[DiskOp], contents: &mut dyn Contents) -> Result<Vec<Outcome>, DiskError>;

    /// Clears up after a crash: removes what [`Disk::apply`] left half done and puts back what it had in
    /// its hands. To be called before the first scan, by the one process that has the folder.
    ///
    /// # Errors
    /// When `.annals` cannot be read or written.
    fn sweep(&mut self) -> Result<Swept, DiskError>;

    /// Nothing is left to be written: files that were begun, and that [`Disk::apply`] would have gone on with, may go.
    fn rest(&mut self) {}
}

/// A file open for reading.
pub trait Reading: io::Read {
    /// What the open file is now. Whoever read it to the end and finds [`Node::identity`] unchanged has
    /// read one state of it, as far as the file system's clock can tell.
    ///
    /// # Errors
    /// When the file system no longer answers.
    fn node(&self) -> Result<Node, DiskError>;
}

/// Where the contents of new files come from.
pub trait Contents {
    /// Writes all bytes of `content` into `sink`, in order. An error of the sink is to be handed on. `files` is what
    /// the folder has at that time.
    ///
    /// # Errors
    /// When the content cannot be had, or not whole.
    fn write_to(
        &mut self,
        content: &ContentId,
        files: &mut dyn OldFiles,
        sink: &mut dyn NewFile,
    ) -> io::Result<()>;
}

/// Files of the folder, for who makes new ones of them.
pub trait OldFiles {
    /// Fills `bytes` with what the file at `path` has from `at` on; false where there is no such file or it ends
    /// before. Nobody says that it still is what it was.
    fn read_at(&mut self, path: &str, at: u64, bytes: &mut [u8]) -> bool;
}

/// No files at all.
impl OldFiles for () {
    fn read_at(&mut self, _: &str, _: u64, _: &mut [u8]) -> bool {
        false
    }
}

/// A file that is being made.
pub trait NewFile: io::Write {
    /// The next `length` bytes, where an earlier try at the same content left as many. Nobody says that they are
    /// right.
    ///
    /// # Errors
    /// When they cannot be read.
    fn left_before(&mut self, length: usize) -> io::Result<Option<Vec<u8>>> {
        let _ = length;
        Ok(None)
    }

    /// The next bytes are these, as they were [left before](Self::left_before): goes on behind them.
    ///
    /// # Errors
    /// As [`io::Write::write_all`].
    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }
}

impl NewFile for Vec<u8> {}

/// Something that is written to and nothing more.
#[derive(Debug)]
pub struct PlainSink<'a, W: io::Write + ?Sized>(pub &'a mut W);

impl<W: io::Write + ?Sized> io::Write for PlainSink<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: io::Write + ?Sized> NewFile for PlainSink<'_, W> {}

/// One thing in the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of a file; 0 for the others.
    pub size: u64,
    /// When its content last changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When anything about it last changed, by the file system's clock.
    pub ctime_ns: i64,
    /// The file system that it is on.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// Whether its owner may execute it; false for all but files.
    pub executable: bool,
    /// What a symlink says, byte for byte.
    #[serde(with = "target", default)]
    pub target: Option<Vec<u8>>,
}

impl Node {
    /// What an operation expects to find if nothing happens in between.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let Self { kind, dev, ino, size, mtime_ns, ctime_ns, .. } = *self;
        Identity { kind, dev, ino, size, mtime_ns, ctime_ns }
    }

    /// Whether a later change is sure to show: file systems count time in ticks, so a file that was
    /// changed in the very tick in which a scan looked at it may change again and look the same.
    #[must_use]
    pub fn is_settled(&self, scan: &Scan) -> bool {
        self.mtime_ns.max(self.ctime_ns) < scan.began_ns.saturating_sub(TICK_NS)
    }
}

/// Longer than the clock tick of any kernel that is in use (10 ms at 100 Hz), twice.
pub const TICK_NS: i64 = 20_000_000;

/// By what a thing in the folder is known to be the one that was seen, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What it is.
    pub kind: EntryKind,
    /// The file system that it is on.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// Bytes of a file.
    pub size: u64,
    /// When its content last changed.
    pub mtime_ns: i64,
    /// When anything about it last changed.
    pub ctime_ns: i64,
}

impl Identity {
    /// The same thing, unchanged where it stands. The times of a folder are those of what is in it and
    /// say nothing about the folder.
    #[must_use]
    pub fn is(&self, now: &Self) -> bool {
        self.is_but_moved(now) && (self.kind == EntryKind::Folder || self.ctime_ns == now.ctime_ns)
    }

    /// The same thing after its name was changed, which sets `ctime_ns` on most file systems.
    #[must_use]
    pub fn is_but_moved(&self, now: &Self) -> bool {
        let same = (self.kind, self.dev, self.ino) == (now.kind, now.dev, now.ino);
        same && (self.kind == EntryKind::Folder || (self.size, self.mtime_ns) == (now.size, now.mtime_ns))
    }
}

/// What a look at the whole folder found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Everything that can be synced, by path.
    pub nodes: BTreeMap<String, Node>,
    /// What was not looked at, and why.
    pub skipped: Vec<Skipped>,
    /// Whether what is not in `nodes` and not in `skipped` is not there. While false nothing may be taken for
    /// deleted.
    pub complete: bool,
    /// The file system's clock when the scan began.
    pub began_ns: i64,
}

/// A folder that is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listing {
    /// Which; the top is the empty path.
    pub path: String,
    /// Whether with all that is below, or only with what is directly in it.
    pub deep: bool,
}

impl Scan {
    /// Leaves out what is ignored and not synced: what is stays, whatever the rules say by now. Answers with the ignored
    /// folders that hold something synced, to be [looked into](Disk::descend).
    pub fn sift(&mut self, is_synced: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let mut folders = BTreeSet::new();
        let nodes = &mut self.nodes;
        self.skipped.retain(|skipped| {
            let SkippedBecause::Ignored { .. } = skipped.why else { return true };
            if !is_synced(&skipped.path) {
                return nodes.remove(&skipped.path).is_some();
            }
            if nodes.get(&skipped.path).is_some_and(|node| node.kind == EntryKind::Folder) {
                folders.insert(skipped.path.clone());
            }
            false
        });
        folders
    }

    /// What of it a look at some folders alone would have found.
    #[must_use]
    pub fn only(mut self, folders: &[Listing]) -> Self {
        let folders: BTreeMap<&str, bool> = folders.iter().map(|f| (f.path.as_str(), f.deep)).collect();
        let is_in = |path: &str| {
            let direct = parent(path).unwrap_or("");
            let mut above = ancestors(path).chain([""]);
            folders.contains_key(direct) || above.any(|above| folders.get(above) == Some(&true))
        };
        self.nodes.retain(|path, _| is_in(path));
        self.skipped.retain(|skipped| folders.contains_key(skipped.path.as_str()) || is_in(&skipped.path));
        self.complete = !self.skipped.iter().any(|skipped| skipped.why.hides_what_is_there());
        self
    }
}

/// Something that a scan passed by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    /// Where, fit for display: bytes that are not UTF-8 are shown as `\xNN`.
    pub path: String,
    /// Why.
    pub why: SkippedBecause,
}

/// Why something in the folder is not synced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkippedBecause {
    /// A socket.
    Socket,
    /// A named pipe.
    Pipe,
    /// A character or block device.
    Device,
    /// Its name is not UTF-8.
    NameNotUtf8,
    /// Another spelling of `.annals` at the top.
    ReservedName,
    /// Another file system is mounted here. What it hides is unknown: the scan is not complete.
    OtherFileSystem,
    /// It is ignored by this rule. It is among the nodes of the scan all the same, unless it was left out because it is
    /// not synced; what is below it is only where [`Disk::descend`] said so.
    Ignored {
        /// As it is written.
        pattern: String,
    },
    /// It kept changing while the folder was scanned: what was moved meanwhile may have been missed.
    Restless,
    /// It could not be read. The scan is not complete.
    Unreadable {
        /// What the system said.
        error: String,
    },
}

impl SkippedBecause {
    /// Whether entries that were known to be here or below may still be there.
    #[must_use]
    pub fn hides_what_is_there(&self) -> bool {
        matches!(self, Self::OtherFileSystem | Self::Restless | Self::Unreadable { .. })
    }
}

impl fmt::Display for SkippedBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket => f.write_str("a socket"),
            Self::Pipe => f.write_str("a named pipe"),
            Self::Device => f.write_str("a device"),
            Self::NameNotUtf8 => f.write_str("its name is not UTF-8"),
            Self::ReservedName => f.write_str("the name is reserved for the device's own state"),
            Self::OtherFileSystem => f.write_str("another file system is mounted here"),
            Self::Ignored { pattern } => write!(f, "ignored by the rule {pattern}"),
            Self::Restless => f.write_str("it kept changing while the folder was scanned"),
            Self::Unreadable { error } => write!(f, "cannot be read: {error}"),
        }
    }
}

/// What an operation finds if the folder still is what was planned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Nothing is there.
    Absent,
    /// This is there, unchanged.
    Is(Identity),
}

/// One change to the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// A folder, in a folder that is there. Content with one that is there already.
    MakeFolder {
        /// Where.
        path: String,
    },
    /// A new file, or new content for one (or for a symlink). Mode bits other than the owner's executable
    /// bit stay as they were.
    WriteFile {
        /// Where.
        path: String,
        /// What to ask [`Contents`] for.
        content: ContentId,
        /// How many bytes that is.
        size: u64,
        /// The modification time it gets; none: the time of writing.
        mtime_ns: Option<i64>,
        /// Whether it can be executed.
        executable: bool,
        /// What is there now.
        expect: Expect,
    },
    /// A new symlink, or another target for one. What it says is kept as it is and never followed.
    WriteSymlink {
        /// Where.
        path: String,
        /// What it says.
        target: Vec<u8>,
        /// What is there now.
        expect: Expect,
    },
    /// Modification time and executable bit of a file, in place.
    SetAttributes {
        /// Which.
        path: String,
        /// The new modification time, if it changes.
        mtime_ns: Option<i64>,
        /// The new executable bit, if it changes.
        executable: Option<bool>,
        /// What is there now.
        expect: Identity,
    },
    /// Another name, in the same folder or another; nothing is at `to`.
    Rename {
        /// Where it is.
        from: String,
        /// Where it goes.
        to: String,
        /// What is at `from` now.
        expect: Identity,
    },
    /// Two things change places, neither of which is inside the other: a ring of n names is n - 1 exchanges.
    Exchange {
        /// One of them.
        one: String,
        /// The other.
        other: String,
        /// What is at `one` now.
        expect_one: Identity,
        /// What is at `other` now.
        expect_other: Identity,
    },
    /// Takes something out of the way, for an [`DiskOp::Unpark`] later in the same call. Without one, or if that
    /// is blocked, it returns to its place and this is blocked too.
    Park {
        /// Where it is.
        path: String,
        /// A number of the caller's choice, unused at this time.
        slot: u32,
        /// What is there now.
        expect: Identity,
    },
    /// Puts what was parked to its place; nothing is there.
    Unpark {
        /// What [`DiskOp::Park`] called it.
        slot: u32,
        /// Where it goes.
        path: String,
    },
    /// A file or symlink that goes, or a folder that goes if it is empty. Content with nothing being there.
    Remove {
        /// Which.
        path: String,
        /// What is there now.
        expect: Identity,
    },
}

impl DiskOp {
    /// The path that shows the result; what is parked or removed is named by where it was.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::MakeFolder { path }
            | Self::WriteFile { path, .. }
            | Self::WriteSymlink { path, .. }
            | Self::SetAttributes { path, .. }
            | Self::Park { path, .. }
            | Self::Unpark { path, .. }
            | Self::Remove { path, .. } => path,
            Self::Rename { to, .. } => to,
            Self::Exchange { one, .. } => one,
        }
    }
}

/// How an operation went.
pub type Outcome = Result<Done, Blocked>;

/// The operation is done, and durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What is at [`DiskOp::path`] now; none after [`DiskOp::Remove`] and [`DiskOp::Park`].
    ///
    /// Where the content was not proven after the last change ([`DiskOp::SetAttributes`] works in place and
    /// cannot win every race), `ctime_ns` is `i64::MIN`, so that the next scan takes the file for touched
    /// and reads it.
    pub node: Option<Node>,
    /// After [`DiskOp::Exchange`]: what is at `other`.
    pub other: Option<Node>,
}

/// The operation was not done, and nothing was lost by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// Not what was expected: a local change first.
    #[error("{path:?} changed in the meantime")]
    Changed {
        /// Where.
        path: String,
        /// What is there.
        found: Option<Identity>,
    },
    /// A race that could not be undone: the file that came in between lies in `.annals/kept`.
    #[error("{path:?} changed while it was replaced; what it held is kept as {kept:?}")]
    Kept {
        /// Where it was.
        path: String,
        /// Its name in `.annals/kept`.
        kept: String,
    },
    /// A folder on the way is missing, or is a file or a symlink.
    #[error("the folder of {path:?} is not there")]
    NoFolder {
        /// What it was the way to.
        path: String,
    },
    /// The folder to be removed holds something, or a folder is where a file should go.
    #[error("{path:?} is a folder that is not empty")]
    NotEmpty {
        /// Which.
        path: String,
    },
    /// This file system cannot hold the name, or it is the device's own.
    #[error("{path:?} cannot be a name here: {why}")]
    Name {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The folder, or one in it, may not be written.
    #[error("{path:?} cannot be written: {why}")]
    ReadOnly {
        /// Where.
        path: String,
        /// What the system said.
        why: String,
    },
    /// No room left on the disk (or in a quota of the file system).
    #[error("no space left on the disk for {path:?}")]
    Full {
        /// Where.
        path: String,
    },
    /// The content could not be had.
    #[error("the content of {path:?} could not be had: {why}")]
    Content {
        /// Where.
        path: String,
        /// What [`Contents`] said, or how its size was wrong.
        why: String,
    },
    /// Anything else.
    #[error("{path:?}: {why}")]
    Other {
        /// Where.
        path: String,
        /// What the system said.
        why: String,
    },
}

impl Blocked {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Changed { path, .. }
            | Self::Kept { path, .. }
            | Self::NoFolder { path }
            | Self::NotEmpty { path }
            | Self::Name { path, .. }
            | Self::ReadOnly { path, .. }
            | Self::Full { path }
            | Self::Content { path, .. }
            | Self::Other { path, .. } => path,
        }
    }
}

/// What [`Disk::sweep`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many files of our own were left half written, or were done with.
    pub removed: usize,
    /// What a crash caught in our hands and is back in the folder.
    pub put_back: Vec<String>,
    /// What could not be put back, and under which name it lies in `.annals/kept`: (path, name).
    pub kept: Vec<(String, String)>,
}

/// What the folder as a whole can fail with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The folder is not there any more, or was never a folder.
    #[error("{folder:?} is not a folder that can be opened: {why}")]
    NoFolder {
        /// Which.
        folder: String,
        /// What the system said.
        why: String,
    },
    /// There is no such file.
    #[error("there is no file {path:?}")]
    Missing {
        /// Which.
        path: String,
    },
    /// The disk has no room for what the device itself has to write down.
    #[error("no space left on the disk of {folder:?}")]
    Full {
        /// The folder.
        folder: String,
    },
    /// Nothing can be written here.
    #[error("{folder:?} cannot be written: {why}")]
    ReadOnly {
        /// The folder.
        folder: String,
        /// What the system said.
        why: String,
    },
    /// It is unknown what of the last changes is on the disk.
    #[error("{folder:?} could not be made durable: {why}")]
    NotDurable {
        /// The folder.
        folder: String,
        /// What the system said.
        why: String,
    },
    /// Anything else.
    #[error("{path:?}: {why}")]
    Io {
        /// Where.
        path: String,
        /// What the system said.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Identity =
        Identity { kind: EntryKind::File, dev: 1, ino: 2, size: 3, mtime_ns: 4, ctime_ns: 5 };

    #[test]
    fn a_file_is_the_one_that_was_seen_while_nothing_about_it_changed() {
        assert!(SEEN.is(&SEEN));
        for changed in [
            Identity { kind: EntryKind::Symlink, ..SEEN },
            Identity { dev: 9, ..SEEN },
            Identity { ino: 9, ..SEEN },
            Identity { size: 9, ..SEEN },
            Identity { mtime_ns: 9, ..SEEN },
            Identity { ctime_ns: 9, ..SEEN },
        ] {
            assert!(!SEEN.is(&changed), "{changed:?}");
            assert_eq!(SEEN.is_but_moved(&changed), changed.ctime_ns == 9, "{changed:?}");
        }
    }

    #[test]
    fn a_folder_is_itself_whatever_happens_in_it() {
        let folder = Identity { kind: EntryKind::Folder, ..SEEN };
        assert!(folder.is(&Identity { mtime_ns: 9, ctime_ns: 9, ..folder }));
        assert!(!folder.is(&Identity { ino: 9, ..folder }));
    }
}
