//! The folder a log lives in: its format, its id, and that one process has it open.

use crate::{
    log::LogError,
    segment::{WITNESS_NAME, file_name, make_folder},
};
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
    /// One of its small files is not what was written.
    #[error("{file} is damaged: {what}")]
    Damaged {
        /// Which.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// There is none.
    #[error("there is no log in {place}")]
    Missing {
        /// Where.
        place: String,
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
    _lock: Option<File>,
}

impl Folder {
    /// Locks the folder at `path`, made if there is none; a new one gets `new_id`.
    pub(super) fn lock(path: &Path, new_id: [u8; 16]) -> Result<Self, OpenError> {
        let failed = |error: io::Error| OpenError::Folder(format!("{}: {error}", path.display()));
        make_folder(path).map_err(failed)?;
        // An open file is no content: what is refused below is left as it was.
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = take(lock.map_err(failed)?, path)?;
        if !check_format(path)? {
            // The format comes last, so a folder without it holds nothing yet.
            write(path, "id", &format!("{}\n", hex(new_id))).map_err(failed)?;
            write(path, "format", &format!("annals log {LOG_FORMAT}\n")).map_err(failed)?;
        }
        Ok(Self { id: read_id(path)?, _lock: Some(lock) })
    }

    /// Locks the folder at `path` as it is.
    pub(super) fn look(path: &Path) -> Result<Self, OpenError> {
        let lock = match File::open(path.join("lock")) {
            Ok(lock) => Some(take(lock, path)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(OpenError::Folder(format!("{}: {error}", path.display()))),
        };
        if check_format(path)? {
            return Ok(Self { id: read_id(path)?, _lock: lock });
        }
        Err(OpenError::Missing { place: path.display().to_string() })
    }

    pub(super) fn id(&self) -> [u8; 16] {
        self.id
    }
}

fn take(lock: File, path: &Path) -> Result<File, OpenError> {
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { place: path.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(OpenError::Folder(format!("{}: {error}", path.display()))),
    }
}

/// Whether the folder says that it has the format of this release; false where a log is yet to begin.
fn check_format(path: &Path) -> Result<bool, OpenError> {
    let failed = |error: io::Error| OpenError::Folder(format!("{}: {error}", path.display()));
    let damaged = |what: &str| OpenError::Damaged { file: shown(path, "format"), what: what.into() };
    let Some(found) = read(path, "format").map_err(failed)? else {
        let begun = path.join("segments").join(file_name(1)).exists() || path.join(WITNESS_NAME).exists();
        return if begun { Err(damaged("it is missing although there are records")) } else { Ok(false) };
    };
    let number = found.strip_prefix("annals log ").and_then(|rest| rest.strip_suffix('\n'));
    match number.and_then(|number| number.parse::<u32>().ok()) {
        Some(LOG_FORMAT) => Ok(true),
        Some(_) => Err(OpenError::Format { place: path.display().to_string(), found: found.trim().into() }),
        None => Err(damaged("it does not name a format")),
    }
}

fn read_id(path: &Path) -> Result<[u8; 16], OpenError> {
    let failed = |error: io::Error| OpenError::Folder(format!("{}: {error}", path.display()));
    let id = read(path, "id").map_err(failed)?.and_then(|text| from_hex(text.trim()));
    id.ok_or_else(|| OpenError::Damaged {
        file: shown(path, "id"),
        what: "it is missing or holds no id".into(),
    })
}

fn shown(path: &Path, name: &str) -> String {
    path.join(name).display().to_string()
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
