//! The folder a log lives in: its format, its id, and that one process has it open.

use crate::{log::LogError, segment::make_folder};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::Path,
};

/// The format of log folders that this release writes and reads.
pub const LOG_FORMAT: u32 = 1;

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by a release with another format.
    #[error("{place} has log format {found:?}, this release reads format {LOG_FORMAT}")]
    Format {
        /// The folder.
        place: String,
        /// What stands in its format file.
        found: String,
    },
    /// Another process has it open.
    #[error("another process has the log in {place} open")]
    Locked {
        /// The folder.
        place: String,
    },
    /// The folder can't be used.
    #[error("{0}")]
    Folder(String),
    /// What is in it can't be used.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A log's folder, locked as long as this lives.
pub(super) struct Folder {
    id: [u8; 16],
    _lock: File,
}

impl Folder {
    /// Locks the folder at `path`, made if there is none; a new one gets `new_id`.
    pub(super) fn lock(path: &Path, new_id: [u8; 16]) -> Result<Self, OpenError> {
        let failed = |error: io::Error| OpenError::Folder(format!("{}: {error}", path.display()));
        make_folder(path).map_err(failed)?;
        // An open file is no content: what is refused below is left as it was.
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = lock.map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::Locked { place: path.display().to_string() },
            TryLockError::Error(error) => failed(error),
        })?;
        let format = format!("annals log {LOG_FORMAT}\n");
        match read(path, "format").map_err(failed)? {
            Some(found) if found == format => {}
            Some(found) => {
                let place = path.display().to_string();
                return Err(OpenError::Format { place, found: found.trim().into() });
            }
            // The format comes last, so a folder without it holds nothing yet.
            None => {
                write(path, "id", &format!("{}\n", hex(new_id))).map_err(failed)?;
                write(path, "format", &format).map_err(failed)?;
            }
        }
        let id = read(path, "id").map_err(failed)?.and_then(|text| from_hex(text.trim()));
        let id = id.ok_or_else(|| failed(io::Error::other("the file `id` is missing or holds no id")))?;
        Ok(Self { id, _lock: lock })
    }

    pub(super) fn id(&self) -> [u8; 16] {
        self.id
    }
}

fn read(path: &Path, name: &str) -> io::Result<Option<String>> {
    match fs::read(path.join(name)) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a small file whole or not at all.
fn write(path: &Path, name: &str, text: &str) -> io::Result<()> {
    let new = path.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path.join(name))?;
    File::open(path)?.sync_all()
}

fn hex(id: [u8; 16]) -> String {
    crate::id::NamespaceId(id).to_hex()
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    crate::id::NamespaceId::from_hex(text).map(|id| id.0)
}
