//! Large files that were begun: what was written of one when its source failed, or the process was killed, is there for
//! the next try.
//!
//! What must always hold: nobody believes a part; whoever goes on with it checks what it holds. It lies in
//! `.annals/tmp` under the name of what it will be, and only one file is made of it at a time. It goes as soon as
//! nothing is left to be written, or the disk is full.

use super::{
    calls::{self as fs, AtFlags, FileType, Mode, OFlags},
    folder::{Folder, TMP},
    held,
    node::stat_at,
    stage,
};
use annals_events::ContentId;
use rustix::{
    fd::{AsFd, BorrowedFd},
    io::Errno,
};
use std::fs::File;

/// From this size on a file that was begun is gone on with.
pub(super) const PART_BYTES_MIN: u64 = 1 << 20;

const PREFIX: &str = "part-";

/// What a part of `content` is called in `.annals/tmp`.
pub(super) fn name_of(content: &ContentId) -> String {
    format!("{PREFIX}{content}")
}

/// Whether a name in `.annals/tmp` is that of a part.
pub(super) fn is_part(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Opens the part of that name, or begins it; answers with how many bytes were there.
pub(super) fn open(tmp: BorrowedFd<'_>, name: &str, executable: bool) -> Result<(File, u64), Errno> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(if executable { 0o777 } else { 0o666 });
    let begun = stat_at(tmp, name)?.is_some();
    let file = File::from(fs::openat(tmp, name, flags, mode)?);
    let stat = fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        return Err(Errno::EXIST);
    }
    if begun {
        fs::fchmod(&file, stage::mode_like(&stat, executable))?;
    }
    Ok((file, u64::try_from(stat.st_size).unwrap_or(0)))
}

/// Removes all parts.
pub(super) fn forget_all(folder: &Folder) -> Result<(), Errno> {
    let names = held::names_in_state(folder, TMP)?;
    let parts: Vec<&String> = names.iter().filter(|name| is_part(name)).collect();
    if parts.is_empty() {
        return Ok(());
    }
    let tmp = folder.state_folder(TMP)?;
    parts.into_iter().try_for_each(|name| fs::unlinkat(tmp.as_fd(), name, AtFlags::empty()))
}
