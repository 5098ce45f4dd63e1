//! The handle on the synced folder: every access starts here.
//!
//! A path is taken apart into names and walked from the open root without following a symlink, a magic
//! link or a mount point, in the kernel (`openat2`) where it can, name by name where it cannot. So no
//! member's symlink and no name leads outside, whatever changes between two calls. `.annals` at the top is
//! reached through its own methods and by no path.

use super::{
    calls::{self as fs, AtFlags, Mode, OFlags, ResolveFlags},
    ignoring::Ignoring,
};
use annals_engine::disk::{Blocked, DiskError};
use annals_events::path;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// The device's own folder at the top.
pub(super) const STATE: &str = ".annals";
/// In it: files on their way into the folder or out of it.
pub const TMP: &str = "tmp";
/// In it: what came between us and a replacement and could not be put back.
pub const KEPT: &str = "kept";

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Less than PATH_MAX (4,096): longer paths are walked in several steps.
const STEP_BYTES_MAX: usize = 4000;

/// The root of the synced folder, held open.
#[derive(Debug)]
pub struct Folder {
    root: OwnedFd,
    dev: u64,
    path: PathBuf,
    /// Whether the kernel walks paths for us; a sandbox may forbid it.
    beneath: AtomicBool,
    /// What in it is ignored.
    pub(super) ignoring: Ignoring,
}

/// A folder on the way, opened, and the last name of a path in it.
pub(super) struct Place<'a> {
    pub(super) folder: OwnedFd,
    pub(super) name: &'a str,
}

impl Folder {
    /// Opens the folder at `path`, which may be reached through symlinks; nothing below is.
    ///
    /// # Errors
    /// [`DiskError::NoFolder`] if there is none.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let failed = |errno: Errno| DiskError::NoFolder { folder: display(path), why: errno.to_string() };
        let root = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed)?;
        let dev = fs::fstat(&root).map_err(failed)?.st_dev;
        Ok(Self {
            root,
            dev,
            path: path.to_owned(),
            beneath: AtomicBool::new(true),
            ignoring: Ignoring::default(),
        })
    }

    /// Where it was when it was opened, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file system that it is on.
    pub(super) fn dev(&self) -> u64 {
        self.dev
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Walks without asking the kernel for help, as on systems that have none.
    #[cfg(test)]
    pub(super) fn walk_by_name(&self) {
        self.beneath.store(false, Ordering::Relaxed);
    }

    /// Opens the folder at `path` (`""` for the root).
    pub(super) fn folder(&self, path: &str) -> Result<OwnedFd, Errno> {
        if path.is_empty() {
            return self.open_below(self.root(), ".");
        }
        let (mut at, mut rest): (Option<OwnedFd>, &str) = (None, path);
        while rest.len() > STEP_BYTES_MAX {
            let cut = rest[..STEP_BYTES_MAX.min(rest.len())].rfind('/').ok_or(Errno::NAMETOOLONG)?;
            at = Some(self.open_below(at.as_ref().map_or(self.root(), AsFd::as_fd), &rest[..cut])?);
            rest = &rest[cut + 1..];
        }
        self.open_below(at.as_ref().map_or(self.root(), AsFd::as_fd), rest)
    }

    /// The folder that holds `path`, and the last name. `path` has been checked.
    pub(super) fn place<'a>(&self, path: &'a str) -> Result<Place<'a>, Errno> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok(Place { folder: self.folder(folder)?, name })
    }

    fn open_below(&self, from: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
        if self.beneath.load(Ordering::Relaxed) {
            let resolve = ResolveFlags::BENEATH
                | ResolveFlags::NO_SYMLINKS
                | ResolveFlags::NO_MAGICLINKS
                | ResolveFlags::NO_XDEV;
            match fs::openat2(from, path, FOLDER, Mode::empty(), resolve) {
                // A renamed folder on the way made the kernel unsure: name by name is sure.
                Err(Errno::AGAIN) => {}
                Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
                    self.beneath.store(false, Ordering::Relaxed)
                }
                answer => return answer,
            }
        }
        let mut at: Option<OwnedFd> = None;
        for name in path.split('/') {
            let next = fs::openat(at.as_ref().map_or(from, AsFd::as_fd), name, FOLDER, Mode::empty())?;
            if fs::fstat(&next)?.st_dev != self.dev {
                return Err(Errno::XDEV);
            }
            at = Some(next);
        }
        at.ok_or(Errno::NOENT)
    }

    /// The device's own folder, if there is one.
    pub(super) fn state(&self) -> Result<OwnedFd, Errno> {
        self.open_below(self.root(), STATE)
    }

    /// A folder in the device's own, made if need be, for its owner alone.
    pub(super) fn state_folder(&self, name: &str) -> Result<OwnedFd, Errno> {
        make_private(self.root(), STATE)?;
        let state = self.state()?;
        make_private(state.as_fd(), name)?;
        self.open_below(state.as_fd(), name)
    }

    /// What went wrong with the folder as a whole.
    pub(super) fn failed(&self, errno: Errno) -> DiskError {
        let (folder, why) = (display(&self.path), errno.to_string());
        match errno {
            Errno::NOSPC | Errno::DQUOT => DiskError::Full { folder },
            Errno::ROFS | Errno::ACCESS | Errno::PERM => DiskError::ReadOnly { folder, why },
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => DiskError::NoFolder { folder, why },
            _ => DiskError::Io { path: folder, why },
        }
    }

    /// What of the last changes is on the disk is unknown.
    pub(super) fn not_durable(&self, errno: Errno) -> DiskError {
        DiskError::NotDurable { folder: display(&self.path), why: errno.to_string() }
    }
}

fn make_private(at: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match fs::mkdirat(at, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Whether `path` may be touched at all: names that a name can be, and not the device's own.
pub(super) fn check(path: &str) -> Result<(), Blocked> {
    let not_a_name = |why: String| Blocked::Name { path: path.to_owned(), why };
    for name in path.split('/') {
        path::check(name).map_err(|error| not_a_name(error.to_string()))?;
    }
    let top = path.split('/').next().unwrap_or_default();
    if path::is_reserved(top) {
        return Err(not_a_name("the name is reserved for the device's own state".into()));
    }
    Ok(())
}

/// What an operation on `path` met, in the engine's words.
pub(super) fn blocked(path: &str, errno: Errno) -> Blocked {
    let (path, why) = (path.to_owned(), errno.to_string());
    match errno {
        Errno::NOSPC | Errno::DQUOT => Blocked::Full { path },
        Errno::ROFS | Errno::ACCESS | Errno::PERM => Blocked::ReadOnly { path, why },
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Blocked::NoFolder { path },
        Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL => Blocked::Name { path, why },
        Errno::NOTEMPTY => Blocked::NotEmpty { path },
        Errno::XDEV => Blocked::Other { path, why: "another file system is mounted here".into() },
        _ => Blocked::Other { path, why },
    }
}

/// Puts `from` where nothing is. Where the file system cannot promise that, by a second link, and a folder
/// by a rename, which replaces nothing but an empty folder.
pub(super) fn rename_into_free(
    from: (BorrowedFd<'_>, &str),
    to: (BorrowedFd<'_>, &str),
    is_folder: bool,
) -> Result<(), Errno> {
    match fs::renameat_with(from.0, from.1, to.0, to.1, fs::RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) if is_folder => fs::renameat(from.0, from.1, to.0, to.1),
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty())?;
            fs::unlinkat(from.0, from.1, AtFlags::empty())
        }
        answer => answer,
    }
}

fn display(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
