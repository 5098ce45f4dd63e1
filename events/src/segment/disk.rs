//! What segments need of a disk, and what they may count on.
//!
//! One flat folder of files that grow at their end. Nothing written is durable before
//! [`SegmentFile::sync`], no name before [`SegmentDisk::sync_names`]; until then a crash keeps any part of it,
//! in units of [`SECTOR_BYTES`]: a sector that was not kept reads as before the write, as zeros where the
//! file has grown. The real one is [`FolderDisk`](super::FolderDisk) (feature `embedded`), its twin
//! [`ForgetfulDisk`](super::ForgetfulDisk) (feature `contract`).

/// The unit that a disk writes whole or not at all.
pub const SECTOR_BYTES: u64 = 512;

/// A folder that holds segments.
pub trait SegmentDisk: Send + Sync {
    /// The names of its files, sorted.
    ///
    /// # Errors
    /// [`DiskError`], here and below: what the disk could not do.
    fn list(&self) -> Result<Vec<String>, DiskError>;

    /// Makes an empty file. There must be none of that name.
    fn create(&self, name: &str) -> Result<Box<dyn SegmentFile>, DiskError>;

    /// Opens a file that is there.
    fn open(&self, name: &str) -> Result<Box<dyn SegmentFile>, DiskError>;

    /// Gives a file another name, in place of any file that has it.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file. Open handles go on reading it.
    fn remove(&self, name: &str) -> Result<(), DiskError>;

    /// Makes the names durable: what was created, renamed and removed stays so.
    fn sync_names(&self) -> Result<(), DiskError>;

    /// Where it is, in words for people.
    fn place(&self) -> String;
}

/// An open file that grows at its end.
#[allow(clippy::len_without_is_empty, reason = "nobody asks whether a segment is empty: it has a header")]
pub trait SegmentFile: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// [`DiskError`], here and below: what the disk could not do.
    fn len(&self) -> Result<u64, DiskError>;

    /// Reads into `buffer` from `offset` on; answers how many bytes there were, fewer only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError>;

    /// Adds `bytes` at the end. After an error any part of them may be there.
    fn append(&self, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes contents and length durable (`fdatasync`). After an error nobody knows what is durable, and asking
    /// again proves nothing.
    fn sync(&self) -> Result<(), DiskError>;

    /// Cuts the file to `len` bytes. Only ever used on bytes that were never acknowledged.
    fn cut(&self, len: u64) -> Result<(), DiskError>;
}

/// What a disk could not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// No room, or no more of it for this user.
    #[error("no space left in {place}")]
    Full {
        /// Where.
        place: String,
    },
    /// Anything else.
    #[error("{place}: {what}")]
    Failed {
        /// Which file or folder.
        place: String,
        /// What went wrong.
        what: String,
    },
}
