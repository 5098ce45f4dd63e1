//! What the file system says about one thing, in the engine's words.

use annals_engine::disk::{Identity, Node};
use annals_events::EntryKind;
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{self, AtFlags, FileType, Mode, RawMode, Stat, Statx, StatxFlags},
    io::Errno,
    path::Arg,
};

/// What the file system says.
pub(super) struct Told {
    pub(super) mode: RawMode,
    /// When anything about it last changed.
    pub(super) ctime_ns: i64,
    size: u64,
    mtime_ns: i64,
    pub(super) dev: u64,
    ino: u64,
    born_ns: Option<i64>,
}

impl From<Statx> for Told {
    fn from(stat: Statx) -> Self {
        let time = |time: fs::StatxTimestamp| nanoseconds(time.tv_sec, time.tv_nsec.into());
        let tells_birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        Self {
            mode: stat.stx_mode.into(),
            ctime_ns: time(stat.stx_ctime),
            size: stat.stx_size,
            mtime_ns: time(stat.stx_mtime),
            dev: fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            ino: stat.stx_ino,
            born_ns: tells_birth.then(|| time(stat.stx_btime)),
        }
    }
}

impl From<Stat> for Told {
    fn from(stat: Stat) -> Self {
        Self {
            mode: stat.st_mode,
            ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            size: stat.st_size.cast_unsigned(),
            mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            dev: stat.st_dev,
            ino: stat.st_ino,
            born_ns: None,
        }
    }
}

impl Told {
    /// What has `name` in `folder`; symlinks are not followed.
    pub(super) fn at(folder: impl AsFd, name: impl Arg + Copy) -> Result<Self, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        match fs::statx(&folder, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME) {
            Ok(found) => Ok(found.into()),
            // Some sandboxes do not know the call.
            Err(Errno::NOSYS | Errno::PERM) => fs::statat(&folder, name, flags).map(Self::from),
            Err(errno) => Err(errno),
        }
    }

    /// What is open.
    pub(super) fn open(file: impl AsFd) -> Result<Self, Errno> {
        match fs::statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME) {
            Ok(found) => Ok(found.into()),
            Err(Errno::NOSYS | Errno::PERM) => fs::fstat(&file).map(Self::from),
            Err(errno) => Err(errno),
        }
    }

    /// In the engine's words, a symlink's target left out; none for sockets, pipes and devices.
    pub(super) fn node(&self) -> Option<Node> {
        let kind = kind_of(self.mode)?;
        let is_file = kind == EntryKind::File;
        Some(Node {
            kind,
            size: if is_file { self.size } else { 0 },
            mtime_ns: self.mtime_ns,
            ctime_ns: self.ctime_ns,
            dev: self.dev,
            ino: self.ino,
            born_ns: self.born_ns,
            executable: is_file && Mode::from_raw_mode(self.mode).contains(Mode::XUSR),
            target: None,
        })
    }
}

/// What kind of entry this is; none for sockets, pipes and devices.
pub(super) fn kind_of(mode: RawMode) -> Option<EntryKind> {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Some(EntryKind::File),
        FileType::Directory => Some(EntryKind::Folder),
        FileType::Symlink => Some(EntryKind::Symlink),
        _ => None,
    }
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
    Ok(plain_node_at(folder, name)?.map(|node| node.identity()))
}

/// Everything about it but a symlink's target.
pub(super) fn plain_node_at(folder: BorrowedFd<'_>, name: &str) -> Result<Option<Node>, Errno> {
    match Told::at(folder, name) {
        Ok(found) => Ok(found.node()),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Everything about it, a symlink's target too.
pub(super) fn node_at(folder: BorrowedFd<'_>, name: &str) -> Result<Option<Node>, Errno> {
    let Some(mut node) = plain_node_at(folder, name)? else { return Ok(None) };
    if node.kind == EntryKind::Symlink {
        node.target = Some(fs::readlinkat(folder, name, Vec::new())?.into_bytes());
    }
    Ok(Some(node))
}
