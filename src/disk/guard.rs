//! The guard: by what a device notices that its state was copied or put back from a backup.
//!
//! A copy of a file has another inode or, where inodes are handed out again, another change time, which
//! nobody can set. The guard of a file that is never touched after it was made is written down elsewhere
//! in the state; if the two differ, the state is not where it was made.

use super::folder::{Folder, STATE};
use annals_engine::disk::DiskError;
use rustix::{
    fs::{self, AtFlags, Mode, OFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};

/// Which file in `.annals` it was, as the file system numbers it. The number of the file system is left
/// out: it changes when disks are plugged in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The file's number.
    pub ino: u64,
    /// When anything about it last changed.
    pub ctime_ns: i64,
}

impl Folder {
    /// The guard that `name` in `.annals` is now; none if there is no such file.
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
        Ok(node.map(|node| Guard { ino: node.ino, ctime_ns: node.ctime_ns }))
    }

    /// Makes the empty file `name` in `.annals` if it is missing, durably, and tells its guard.
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
            if fs::statat(&state, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Ok(());
            }
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            fs::fsync(fs::openat(&state, name, flags, Mode::RUSR | Mode::WUSR)?)?;
            fs::fsync(&state)?;
            fs::fsync(self.root())
        };
        planted().map_err(|errno| self.failed(errno))?;
        let gone = || DiskError::Missing { path: format!("{STATE}/{name}") };
        self.guard_of(name)?.ok_or_else(gone)
    }
}
