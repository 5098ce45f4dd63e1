//! New files, written beside under `.annals/tmp` before they get their names.
//!
//! What is staged has all its bytes, its modification time and its mode; only durability and the name are
//! missing. What could not be staged whole is removed again, but for what was written of a large file (`part`).

use super::{
    Step,
    apply::Group,
    calls::{self as fs, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid},
    folder::{Folder, blocked, check},
    node::{Told, plain_node_at, stat_at},
    part::{self, PART_BYTES_MIN},
    sink::Sink,
};
use annals_engine::disk::{Blocked, Contents, DiskOp, Expect, Node, OldFiles};
use annals_events::{ContentId, EntryKind};
use rustix::{
    fd::{AsFd, BorrowedFd},
    io::Errno,
};
use std::{fs::File, os::unix::fs::FileExt as _};

/// A file or symlink without its name.
#[derive(Debug)]
pub(super) struct Staged {
    /// Its name in `.annals/tmp`.
    pub(super) name: String,
    /// What it is.
    pub(super) node: Node,
    /// Its permissions.
    pub(super) mode: Mode,
}

impl Staged {
    /// By what it is recognised wherever it is.
    pub(super) fn number(&self) -> (u64, u64) {
        (self.node.dev, self.node.ino)
    }
}

/// Stages what `op` writes, under `name`; none for operations that write nothing.
pub(super) fn stage(
    group: &mut Group<'_>,
    op: &DiskOp,
    name: &str,
    contents: &mut dyn Contents,
) -> Option<Result<Staged, Blocked>> {
    let path = op.path();
    let staged = match op {
        DiskOp::WriteFile { content, size, mtime_ns, executable, expect, .. } => {
            let (size, mtime_ns, executable) = (*size, *mtime_ns, *executable);
            let replaces = matches!(expect, Expect::Is(_));
            let wanted = Wanted { content, size, mtime_ns, executable, replaces };
            stage_file(group, path, name, &wanted, contents)
        }
        DiskOp::WriteSymlink { target, .. } => stage_symlink(group, path, name, target),
        _ => return None,
    };
    if staged.is_err() {
        // Ours alone, and incomplete. If this fails too, the next sweep removes it.
        let _ = fs::unlinkat(group.tmp, name, AtFlags::empty());
    }
    Some(staged)
}

/// What a new file is to be.
struct Wanted<'a> {
    content: &'a ContentId,
    size: u64,
    mtime_ns: Option<i64>,
    executable: bool,
    /// Whether it takes the place of something.
    replaces: bool,
}

fn stage_file(
    group: &mut Group<'_>,
    path: &str,
    name: &str,
    wanted: &Wanted<'_>,
    contents: &mut dyn Contents,
) -> Result<Staged, Blocked> {
    check(path)?;
    if group.full {
        return Err(Blocked::Full { path: path.into() });
    }
    let met = |errno: Errno| blocked_beside(path, errno);
    group.steps.reach(|| Step::Stage(path.into())).map_err(met)?;
    let file = if wanted.size < PART_BYTES_MIN {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if wanted.executable { 0o777 } else { 0o666 });
        let file = File::from(fs::openat(group.tmp, name, flags, mode).map_err(met)?);
        fill(group.folder, Sink::new(&file, wanted.size, 0), path, wanted, contents)?;
        file
    } else {
        from_part(group, path, name, wanted, contents)?
    };
    if wanted.replaces
        && let Some(old) = old_file(group.folder, path)
    {
        fit(file.as_fd(), &old, wanted.executable).map_err(met)?;
    }
    if let Some(mtime_ns) = wanted.mtime_ns {
        fs::futimens(&file, &modified_at(mtime_ns)).map_err(met)?;
    }
    let found = Told::open(&file).map_err(met)?;
    if group.sync_each {
        fs::fsync(&file).map_err(met)?;
    }
    let node = found.node().ok_or_else(|| met(Errno::IO))?;
    Ok(Staged { name: name.into(), node, mode: Mode::from_raw_mode(found.mode) })
}

/// Makes a large file of what there is of it, and gives it its name in `.annals/tmp` once it is whole. Where its source
/// fails, what was written stays for the next try.
fn from_part(
    group: &mut Group<'_>,
    path: &str,
    name: &str,
    wanted: &Wanted<'_>,
    contents: &mut dyn Contents,
) -> Result<File, Blocked> {
    let met = |errno: Errno| blocked_beside(path, errno);
    let part = part::name_of(wanted.content);
    let (file, begun) = part::open(group.tmp, &part, wanted.executable).map_err(met)?;
    let filled = fill(group.folder, Sink::new(&file, wanted.size, begun), path, wanted, contents);
    match filled {
        Ok(()) => fs::renameat(group.tmp, &part, group.tmp, name).map_err(met).map(|()| file),
        Err(why @ Blocked::Content { .. }) => Err(why),
        Err(why) => {
            // The disk needs its room. If this fails too, the part goes when all is done.
            let _ = fs::unlinkat(group.tmp, &part, AtFlags::empty());
            Err(why)
        }
    }
}

fn fill(
    folder: &Folder,
    mut sink: Sink<'_>,
    path: &str,
    wanted: &Wanted<'_>,
    contents: &mut dyn Contents,
) -> Result<(), Blocked> {
    sink.reserve().map_err(|errno| blocked_beside(path, errno))?;
    let given = contents.write_to(wanted.content, &mut Files { folder, open: None }, &mut sink);
    let ended = sink.end();
    let not_had = |why: String| Blocked::Content { path: path.into(), why };
    match (ended, given) {
        (Err(errno), _) => Err(blocked_beside(path, errno)),
        (Ok(_), Err(error)) => Err(not_had(error.to_string())),
        (Ok(left), Ok(())) if left > 0 => Err(not_had(format!("{left} bytes are missing at its end"))),
        (Ok(_), Ok(())) => Ok(()),
    }
}

fn stage_symlink(group: &mut Group<'_>, path: &str, name: &str, target: &[u8]) -> Result<Staged, Blocked> {
    check(path)?;
    fs::symlinkat(target, group.tmp, name).map_err(|errno| match errno {
        Errno::NAMETOOLONG | Errno::NOENT | Errno::INVAL => {
            Blocked::Other { path: path.into(), why: format!("a symlink cannot say that: {errno}") }
        }
        _ => blocked_beside(path, errno),
    })?;
    let found = plain_node_at(group.tmp, name).ok().flatten();
    let mut node = found.ok_or_else(|| blocked_beside(path, Errno::IO))?;
    node.target = Some(target.into());
    Ok(Staged { name: name.into(), node, mode: Mode::empty() })
}

/// An error met beside the folder says nothing about the path's own folder or name.
fn blocked_beside(path: &str, errno: Errno) -> Blocked {
    match blocked(path, errno) {
        it @ (Blocked::Full { .. } | Blocked::ReadOnly { .. }) => it,
        _ => Blocked::Other { path: path.into(), why: errno.to_string() },
    }
}

/// The folder's files, the last one kept open.
struct Files<'a> {
    folder: &'a Folder,
    open: Option<(String, File)>,
}

impl OldFiles for Files<'_> {
    fn read_at(&mut self, path: &str, at: u64, bytes: &mut [u8]) -> bool {
        if self.open.as_ref().is_none_or(|(open, _)| open != path) {
            self.open = open_old(self.folder, path).map(|file| (path.to_owned(), file));
        }
        self.open.as_ref().is_some_and(|(_, file)| file.read_exact_at(bytes, at).is_ok())
    }
}

fn open_old(folder: &Folder, path: &str) -> Option<File> {
    let place = folder.place(path).ok()?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    fs::openat(&place.folder, place.name, flags, Mode::empty()).ok().map(File::from)
}

/// The file that is to be replaced, if there is one.
pub(super) fn old_file(folder: &Folder, path: &str) -> Option<Stat> {
    let place = folder.place(path).ok()?;
    let stat = stat_at(place.folder.as_fd(), place.name).ok()??;
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(stat)
}

/// The permissions of a file that takes the place of `old`. Where the executable bit changes it does so for everybody,
/// as `chmod +x` and `chmod -x` have it: may be run by whoever may read, or by nobody.
pub(super) fn mode_like(old: &Stat, executable: bool) -> Mode {
    let kept = Mode::from_raw_mode(old.st_mode) & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
    match (kept.contains(Mode::XUSR), executable) {
        (true, false) => kept - (Mode::XUSR | Mode::XGRP | Mode::XOTH),
        (false, true) => {
            let readers = [(Mode::RGRP, Mode::XGRP), (Mode::ROTH, Mode::XOTH)];
            let runs = readers.into_iter().filter(|(reads, _)| kept.contains(*reads));
            runs.fold(kept | Mode::XUSR, |mode, (_, runs)| mode | runs)
        }
        _ => kept,
    }
}

/// Gives a new file the owner, as far as we may, and the permissions of the one that it replaces.
pub(super) fn fit(file: BorrowedFd<'_>, old: &Stat, executable: bool) -> Result<(), Errno> {
    let new = fs::fstat(file)?;
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) {
        let owner = (Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid)));
        match fs::fchown(file, owner.0, owner.1) {
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    fs::fchmod(file, mode_like(old, executable))
}

/// The modification time alone.
pub(super) fn modified_at(mtime_ns: i64) -> Timestamps {
    let last_modification =
        Timespec { tv_sec: mtime_ns.div_euclid(1_000_000_000), tv_nsec: mtime_ns.rem_euclid(1_000_000_000) };
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification }
}

/// Whether `op` writes a file or symlink.
pub(super) fn is_write(op: &DiskOp) -> bool {
    matches!(op, DiskOp::WriteFile { .. } | DiskOp::WriteSymlink { .. })
}

/// Whether a file is what it can replace.
pub(super) fn is_replaceable(kind: EntryKind) -> bool {
    kind != EntryKind::Folder
}
