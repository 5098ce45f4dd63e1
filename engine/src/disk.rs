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

mod found;
mod operation;
mod target;

pub use found::{Identity, Listing, Node, Scan, Skipped, SkippedBecause, TICK_NS, WRITTEN_BACK_NS};
pub use operation::{Blocked, DiskOp, Done, Expect, Outcome, Swept};

use crate::observed::{SyncedTree, differing};
use annals_events::ContentId;
use std::{collections::BTreeSet, io};

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

    /// Passes by the next `bytes`.
    ///
    /// # Errors
    /// As [`io::Read::read`].
    fn pass_by(&mut self, bytes: u64) -> io::Result<()>
    where
        Self: Sized,
    {
        io::copy(&mut io::Read::take(self, bytes), &mut io::sink()).map(drop)
    }
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

    /// The next `length` bytes are known to be right, for this process wrote them in an earlier try: goes on behind them.
    /// False where they are not there any more.
    ///
    /// # Errors
    /// As [`io::Write::write_all`].
    fn skip(&mut self, length: usize) -> io::Result<bool> {
        let _ = length;
        Ok(false)
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
