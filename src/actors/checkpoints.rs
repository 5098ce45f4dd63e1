//! Checkpoints of namespaces, each in a file of its own: what a rebuild begins with instead of the first record.
//!
//! ```text
//! FOLDER/NAMESPACE/latest      written by replace, synced
//! ```
//!
//! Nothing depends on them but time. Whoever reads one compares it with the log first; one that cannot be used is
//! as good as none.

use crate::whole;
use annals_engine::namespace::Checkpoint;
use annals_events::{NamespaceId, Seq};
use annals_projections::CheckpointError;
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

const FILE: &str = "latest";

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("the checkpoint cannot be read: {0}")]
    File(#[from] io::Error),
    /// It is not what was written, or by another release.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It lies under another name than its own.
    #[error("the checkpoint is that of namespace {found}")]
    OtherNamespace {
        /// Whose it is.
        found: NamespaceId,
    },
}

/// The checkpoints in one folder.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    /// How far those are that were read or written here.
    known: Mutex<BTreeMap<NamespaceId, Seq>>,
}

impl Checkpoints {
    /// Those in `folder`, which is made with the first of them.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, known: Mutex::default() }
    }

    /// Where that of a namespace lies, or would.
    #[must_use]
    pub fn place(&self, id: NamespaceId) -> PathBuf {
        self.folder.join(id.to_hex()).join(FILE)
    }

    /// Every namespace that has one.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn all(&self) -> io::Result<Vec<NamespaceId>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let id = entry?.file_name().to_str().and_then(NamespaceId::from_hex);
            found.extend(id.filter(|id| self.place(*id).is_file()));
        }
        found.sort();
        Ok(found)
    }

    /// That of a namespace; none where there is none.
    ///
    /// # Errors
    /// [`ReadError`]: why the one that is there cannot be used.
    pub fn read(&self, id: NamespaceId) -> Result<Option<Checkpoint>, ReadError> {
        let bytes = match fs::read(self.place(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let checkpoint = Checkpoint::decode(&bytes)?;
        let found = checkpoint.projections.namespace();
        if found != id {
            return Err(ReadError::OtherNamespace { found });
        }
        Ok(Some(checkpoint))
    }

    /// Takes note that the one that is there was found to be good, and how far it is.
    pub fn found(&self, id: NamespaceId, at: Seq) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id, at);
    }

    /// Takes note that there is none, or none that is any good.
    pub fn found_none(&self, id: NamespaceId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Whether the one that is there is that far.
    #[must_use]
    pub fn has(&self, id: NamespaceId, at: Seq) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id) == Some(&at)
    }

    /// Puts one in place of the one that is there, durably, unless that is further.
    ///
    /// # Errors
    /// Where it could not be written; the one before is still there then.
    pub fn write(&self, id: NamespaceId, at: Seq, bytes: &[u8]) -> io::Result<()> {
        // Held meanwhile: of two that are written at once the later one stays.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&id).is_some_and(|known| *known >= at) {
            return Ok(());
        }
        make_folder(&self.folder)?;
        replace(&self.place(id), bytes)?;
        known.insert(id, at);
        Ok(())
    }
}

/// Whole or not at all, and on the disk once this is done.
pub(super) fn replace(place: &Path, bytes: &[u8]) -> io::Result<()> {
    make_folder(place.parent().expect("it lies in a folder"))?;
    whole::durable(place, bytes)
}

/// A folder at `place`, in one that is there: what a server is served from is not made anew where it was taken away.
pub(super) fn make_folder(place: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && place.is_dir() => Ok(()),
        made => made,
    }
}
