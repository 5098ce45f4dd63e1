//! Looking at a log's folder without changing a byte of it.

use super::{
    folder::{Folder, OpenError},
    sled_index::{SledIndex, wait_for_last_user},
};
use crate::{
    log::{LogError, segmented},
    segment::{FolderDisk, Mark, SegmentConfig, SegmentKind, Unfinished, Witness},
};
use std::{fs, io, path::Path, sync::Arc};

/// A log that was found whole so far. Nobody else opens it as long as this lives.
pub struct Look {
    look: segmented::Look,
    index: Result<Option<SledIndex>, String>,
    _folder: Folder,
}

/// Looks at the log in `path`, which must be the one of this `id`. sled writes when it is only to be read, so its index is copied into `scratch`, an empty
/// folder that is the caller's to remove.
///
/// # Errors
/// [`OpenError`], as for [`EmbeddedLog::open`](super::EmbeddedLog::open).
pub fn look(path: &Path, id: [u8; 16], scratch: &Path) -> Result<Look, OpenError> {
    let folder = Folder::look(path)?;
    if folder.id() != id {
        let file = path.join("id").display().to_string();
        return Err(OpenError::Damaged {
            file,
            what: "it names another log than the one that is kept here".into(),
        });
    }
    let index = copy_of(&path.join("index"), &scratch.join("index"));
    let (disk, witness) = (FolderDisk::to_read(path.join("segments")), FolderDisk::to_read(path));
    let config = SegmentConfig::new(SegmentKind::Log, folder.id());
    let opened = index.as_ref().ok().and_then(Option::as_ref);
    let opened = opened.map(|index| index as &dyn segmented::LogIndex);
    let look = segmented::look(Arc::new(disk), &witness, config, opened)?;
    Ok(Look { look, index, _folder: folder })
}

impl Look {
    /// The end of the last whole group.
    #[must_use]
    pub fn end(&self) -> Mark {
        self.look.end
    }

    /// What a crash cut off behind that: never acknowledged, and moved aside when the log is next opened.
    #[must_use]
    pub fn unfinished(&self) -> Option<Unfinished> {
        self.look.unfinished
    }

    /// What the witness of its end says.
    #[must_use]
    pub fn witness(&self) -> &Witness {
        &self.look.witness
    }

    /// Every record in log order, everything about it checked but signatures. Ends with the first damage.
    #[must_use]
    pub fn verify(&self) -> segmented::Verify {
        self.look.verify()
    }

    /// Whether the index says what it should of every record that it says it knows.
    ///
    /// # Errors
    /// [`LogError::Damaged`] where the log is, [`LogError::Unavailable`] where the index differs or could not be read.
    pub fn verify_index(&self) -> Result<(), LogError> {
        match &self.index {
            Ok(Some(index)) => self.look.verify_index(index),
            Ok(None) => Ok(()),
            Err(what) => Err(LogError::Unavailable { what: what.clone() }),
        }
    }
}

/// The index in `from`, opened where it was copied to; none where there is none.
fn copy_of(from: &Path, to: &Path) -> Result<Option<SledIndex>, String> {
    if !from.is_dir() {
        return Ok(None);
    }
    wait_for_last_user(from);
    copy(from, to).map_err(|error| format!("the index could not be copied to be read: {error}"))?;
    match SledIndex::open(to) {
        Ok((index, None)) => Ok(Some(index)),
        // It is made anew when the log is next opened, and nothing is lost by that.
        Ok((_, Some(_))) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
