//! What the file system says about one thing, in the engine's words.

use annals_engine::disk::{Identity, Node};
use annals_events::EntryKind;
use rustix::{
    fd::BorrowedFd,
    fs::{self, AtFlags, FileType, Mode, Stat},
    io::Errno,
};

/// What kind of entry this is; none for sockets, pipes and devices.
pub(super) fn kind_of(stat: &Stat) -> Option<EntryKind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Some(EntryKind::File),
        FileType::Directory => Some(EntryKind::Folder),
        FileType::Symlink => Some(EntryKind::Symlink),
        _ => None,
    }
}

/// The node that `stat` describes, a symlink's target left out.
pub(super) fn node_of(stat: &Stat) -> Option<Node> {
    let kind = kind_of(stat)?;
    let is_file = kind == EntryKind::File;
    Some(Node {
        kind,
        size: if is_file { stat.st_size.cast_unsigned() } else { 0 },
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        dev: stat.st_dev,
        ino: stat.st_ino,
        executable: is_file && Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR),
        target: None,
    })
}

/// Times before 1677 and after 2262 are taken for the ends of what 64 bits hold.
fn nanoseconds(seconds: i64, nanoseconds: u64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.cast_signed())
}

/// What is called `name` in `folder`; symlinks are not followed.
pub(super) fn stat_at(folder: BorrowedFd<'_>, name: &str) -> Result<Option<Stat>, Errno> {
    match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Its identity; none where nothing is, or nothing that can be synced.
pub(super) fn identity_at(folder: BorrowedFd<'_>, name: &str) -> Result<Option<Identity>, Errno> {
    Ok(stat_at(folder, name)?.and_then(|stat| node_of(&stat)).map(|node| node.identity()))
}

/// Everything about it, a symlink's target too.
pub(super) fn node_at(folder: BorrowedFd<'_>, name: &str) -> Result<Option<Node>, Errno> {
    let Some(mut node) = stat_at(folder, name)?.and_then(|stat| node_of(&stat)) else { return Ok(None) };
    if node.kind == EntryKind::Symlink {
        node.target = Some(fs::readlinkat(folder, name, Vec::new())?.into_bytes());
    }
    Ok(Some(node))
}
