//! The guard: by what a device notices that its state was copied or put back from a backup.
//!
//! A copy of a folder has another inode or, where inodes are handed out again, another time of birth, which nobody
//! can set; and no copy made of hard links shares it, as it would a file. The guard of a folder that is made once
//! is written down elsewhere in the state; if the two differ, the state is not where it was made. Where folders
//! have no time of birth, that of their last change has
//! to do: then giving the folder to somebody else looks like a copy as well.

use super::{
    calls::{self as fs, AtFlags, Mode, StatxFlags},
    folder::{Folder, STATE},
};
use annals_engine::disk::DiskError;
use annals_events::EntryKind;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Which folder in `.annals` it was, as the file system numbers it. The number of the file system is left
/// out: it changes when disks are plugged in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The folder's number.
    pub ino: u64,
    /// When anything about it last changed.
    pub ctime_ns: i64,
    /// When it was made, where the file system says so.
    #[serde(default)]
    pub born_ns: Option<i64>,
}

impl Guard {
    /// Whether `now` is that very file.
    #[must_use]
    pub fn is(&self, now: &Self) -> bool {
        let same = match (self.born_ns, now.born_ns) {
            (Some(then), Some(now)) => then == now,
            _ => self.ctime_ns == now.ctime_ns,
        };
        self.ino == now.ino && same
    }
}

/// File systems on which a file's number, or its time of change, does not last: FAT, exFAT, what a program serves (FUSE),
/// shares of other machines that number files as they are asked for (9P, SMB).
pub(crate) const NUMBERS_DO_NOT_LAST: [u32; 6] =
    [0x4d44, 0x2011_bab0, 0x6573_5546, 0x0102_1997, 0xfe53_4d42, 0xff53_4d42];

impl Folder {
    /// The guard that `name` in `.annals` is now; none if there is no such folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn guard_of(&self, name: &str) -> Result<Option<Guard>, DiskError> {
        let state = match self.state() {
            Err(Errno::NOENT) => return Ok(None),
            answer => answer.map_err(|errno| self.failed(errno))?,
        };
        let node = super::node::node_at(rustix::fd::AsFd::as_fd(&state), name)
            .map_err(|errno| self.failed(errno))?;
        let born = fs::statx(&state, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME).ok();
        let born =
            born.filter(|found| found.stx_mask & StatxFlags::BTIME.bits() != 0).map(|found| found.stx_btime);
        let born_ns =
            born.map(|time| time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec.into()));
        let node = node.filter(|node| node.kind == EntryKind::Folder);
        Ok(node.map(|node| Guard { ino: node.ino, ctime_ns: node.ctime_ns, born_ns }))
    }

    /// Whether files keep their numbers here: without that, no guard says anything.
    #[must_use]
    pub fn numbers_last(&self) -> bool {
        let kind = fs::fstatfs(self.root()).ok().and_then(|found| u32::try_from(found.f_type).ok());
        !kind.is_some_and(|kind| NUMBERS_DO_NOT_LAST.contains(&kind))
    }

    /// Makes the empty folder `name` in `.annals` anew, durably, and tells its guard.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn plant_guard(&self, name: &str) -> Result<Guard, DiskError> {
        let planted = || -> Result<(), Errno> {
            match fs::mkdirat(self.root(), STATE, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            let state = self.state()?;
            match fs::unlinkat(&state, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
            fs::mkdirat(&state, name, Mode::RWXU)?;
            fs::fsync(&state)?;
            fs::fsync(self.root())
        };
        planted().map_err(|errno| self.failed(errno))?;
        let gone = || DiskError::Missing { path: format!("{STATE}/{name}") };
        self.guard_of(name)?.ok_or_else(gone)
    }
}
