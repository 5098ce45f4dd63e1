//! The guard of a data directory: by what a server notices that it was put back to an older copy of itself.
//!
//! ```text
//! DATA/guard        random bytes, written anew at every start
//! DATA/guard.json   which file that was: its number, and when anything about it last changed
//! ```
//!
//! Whoever copies a directory makes other files. Whoever copies over the files of one finds a guard of another text and
//! writes that: its time of change, which nobody can set, is not the noted one. What must always hold: a directory that
//! is as this server left it is not taken for a copy; one that is taken for a copy loses nothing by it. A disk that was
//! put back as a whole cannot be told by its files: devices tell then.

use super::ServeError;
use super::data::write;
use crate::{disk::NUMBERS_DO_NOT_LAST, random::random};
use annals_events::Hash;
use serde::{Deserialize, Serialize};
use std::{fs, os::unix::fs::MetadataExt, path::Path};

const GUARD: &str = "guard";
const NOTE: &str = "guard.json";

/// Which file it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Guard {
    ino: u64,
    ctime: i64,
    ctime_nsec: i64,
}

fn guard_of(place: &Path) -> Option<Guard> {
    let meta = fs::symlink_metadata(place.join(GUARD)).ok().filter(fs::Metadata::is_file)?;
    Some(Guard { ino: meta.ino(), ctime: meta.ctime(), ctime_nsec: meta.ctime_nsec() })
}

/// Whether the data directory at `place` is not the one that a server last left there: it was copied, or put back from a
/// copy. One from before there were guards is taken for what it is.
pub(super) fn is_broken(place: &Path) -> bool {
    let Ok(text) = fs::read(place.join(NOTE)) else { return place.join(GUARD).exists() };
    let kind = rustix::fs::statfs(place).ok().and_then(|found| u32::try_from(found.f_type).ok());
    if kind.is_some_and(|kind| NUMBERS_DO_NOT_LAST.contains(&kind)) {
        return false;
    }
    serde_json::from_slice::<Guard>(&text).ok() != guard_of(place)
}

/// Room that a disk has to have for a guard to be planted, in bytes.
const ROOM: u64 = 64 << 10;

/// Plants a guard, unless the disk is full: then the one that is there goes on. A crash in the middle makes the next start go on under another key, which is no loss.
pub(super) fn plant(place: &Path) -> Result<(), ServeError> {
    let full =
        rustix::fs::statvfs(place).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM);
    if full && !is_broken(place) {
        tracing::warn!("the disk is full: nothing new is taken until there is room");
        return Ok(());
    }
    write(&place.join(GUARD), &format!("{}\n", Hash(random())))?;
    let guard = guard_of(place).ok_or_else(|| ServeError::Damaged {
        place: place.join(GUARD),
        what: "it was just written and is not there".into(),
    })?;
    let text = serde_json::to_string(&guard).expect("plain data with text keys");
    write(&place.join(NOTE), &text)
}
