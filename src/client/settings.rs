//! How a person wants a linked folder to be synced: how fast, and whether at all for now.
//!
//! Both are files of their own in `.annals/`, so that they can be set whoever has the folder, hold for all that come
//! after, and take effect in the middle of a transfer. What must always hold: what cannot be read is as if it were not
//! set; a paused folder is looked at and its saves are journaled, and nothing else happens.

use super::{
    ClientError,
    layout::{self, PAUSED, RATE},
};
use crate::whole;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Slower than this nothing that is asked for would arrive in time.
pub const RATE_MIN: u64 = 8_000;

/// How a folder is to be synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Not for now.
    pub paused: bool,
    /// At most so many bytes a second in each direction.
    pub limit_rate: Option<u64>,
}

impl Settings {
    /// Those of the folder `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let rate = fs::read_to_string(layout::at(root, RATE)).ok().and_then(|text| text.trim().parse().ok());
        Self { paused: paused_by(root).exists(), limit_rate: rate.filter(|rate| *rate >= RATE_MIN) }
    }

    /// From now on these are those of the linked folder `root`.
    ///
    /// # Errors
    /// [`ClientError::Folder`] where they cannot be written down.
    pub fn write(self, root: &Path) -> Result<(), ClientError> {
        let rate = self.limit_rate.map(|rate| format!("{rate}\n"));
        let written = put(&layout::at(root, RATE), rate.as_deref())
            .and_then(|()| put(&paused_by(root), self.paused.then_some("")));
        written.map_err(|source| ClientError::Folder { folder: root.to_owned(), source })
    }
}

/// The file whose being there is a pause.
pub(super) fn paused_by(root: &Path) -> PathBuf {
    layout::at(root, PAUSED)
}

pub(super) fn put(path: &Path, text: Option<&str>) -> io::Result<()> {
    match text {
        Some(text) => whole::durable(path, text.as_bytes()),
        None => whole::remove(path),
    }
}
