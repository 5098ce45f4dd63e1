//! The scanner: one look at everything in the folder.
//!
//! Two threads list folders from one stack; what they find is put in order at the end. A thing that moves
//! from a folder that is still to be listed into one that was listed already would be in neither listing and
//! look deleted. So at the end all folders are looked at again until none has changed since it was listed.
//! Then a scan shows everything that was in the folder all the time, wherever it was moved meanwhile; where
//! folders do not rest, it is not complete.
//!
//! Sockets, pipes, devices and names that are not UTF-8 are passed by and named in the result. What cannot
//! be read, or is another file system, makes the scan incomplete: absence then means nothing.

use super::{
    folder::Folder,
    ignoring::Judge,
    node::{self, identity_at, node_at},
};
use annals_engine::disk::{DiskError, Listing, Node, Scan, Skipped, SkippedBecause, TICK_NS};
use annals_events::{EntryKind, path::is_reserved};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, FileType, RawDir, RawMode, Timespec, Timestamps, UTIME_NOW},
    io::Errno,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CStr,
    mem::MaybeUninit,
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

const THREADS: usize = 2;
/// How often a folder that keeps changing is listed again.
const ROUNDS_MAX: usize = 8;
/// Of directory entries, a system call: 64 KiB hold about 1,600 of them.
const LISTING_BYTES: usize = 64 << 10;

/// Looks at everything in `folder`.
pub(super) fn scan(folder: &Folder) -> Result<Scan, DiskError> {
    list(folder, &[Listing { path: String::new(), deep: true }])
}

/// Looks at some folders in it.
pub(super) fn list(folder: &Folder, listings: &[Listing]) -> Result<Scan, DiskError> {
    let began_ns = clock_of(folder);
    let tasks = listings.iter().map(|listing| task(&listing.path, listings)).collect();
    let mut found = list_all(folder, tasks)?;
    again(folder, listings, &mut found, began_ns)?;
    let Found { nodes, mut skipped, .. } = found;
    skipped.sort();
    skipped.dedup();
    let complete = !skipped.iter().any(|skipped| skipped.why.hides_what_is_there());
    Ok(Scan { nodes: nodes.into_iter().collect(), skipped, complete, began_ns })
}

/// The file system's clock, read off the device's own folder. Where that cannot be touched, a time at which
/// nothing counts as settled.
fn clock_of(folder: &Folder) -> i64 {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let touch = |state: OwnedFd| {
        fs::futimens(&state, &Timestamps { last_access: now, last_modification: now })?;
        node::Told::open(&state)
    };
    let touched = folder.state().and_then(touch).ok().and_then(|found| found.node());
    touched.map_or(i64::MIN, |node| node.mtime_ns)
}

/// A folder that is to be listed.
pub(super) struct Task {
    pub(super) path: String,
    /// Whether its absence is an error: only the root's is.
    pub(super) must_exist: bool,
    /// Whether what is in it is to be listed as well.
    pub(super) deep: bool,
}

fn task(path: &str, listings: &[Listing]) -> Task {
    let is_below = |top: &str| {
        top.is_empty() || path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let deep = listings.iter().any(|listing| listing.deep && is_below(&listing.path));
    Task { path: path.to_owned(), must_exist: path.is_empty(), deep }
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) nodes: Vec<(String, Node)>,
    pub(super) skipped: Vec<Skipped>,
    /// When each listed folder had last changed as its listing began.
    pub(super) listed: Vec<(String, i64)>,
    /// Folders that were gone when their turn came.
    pub(super) vanished: BTreeSet<String>,
}

impl Found {
    fn take(&mut self, other: Self) {
        self.nodes.extend(other.nodes);
        self.skipped.extend(other.skipped);
        self.listed.extend(other.listed);
        self.vanished.extend(other.vanished);
    }

    fn skip(&mut self, path: String, why: SkippedBecause) {
        self.skipped.push(Skipped { path, why });
    }
}

/// The stack of folders to be listed, and how many are being listed.
struct Stack {
    tasks: Vec<Task>,
    at_work: usize,
    failed: Option<Errno>,
}

pub(super) fn list_all(folder: &Folder, tasks: Vec<Task>) -> Result<Found, DiskError> {
    let parts = in_parallel(tasks, |task, buffer, found| list_one(folder, task, buffer, found));
    let mut parts = parts.map_err(|errno| folder.failed(errno))?.into_iter();
    let mut found = parts.next().unwrap_or_default();
    parts.for_each(|part| found.take(part));
    Ok(found)
}

/// Does `each` for every task and for those that follow from it: for the folders that it answers with, where the task
/// is deep. An error that it answers with ends it.
pub(super) fn in_parallel<T: Default + Send>(
    tasks: Vec<Task>,
    each: impl Fn(&Task, &mut [MaybeUninit<u8>], &mut T) -> (Vec<String>, Option<Errno>) + Sync,
) -> Result<Vec<T>, Errno> {
    let (stack, woken) = (Mutex::new(Stack { tasks, at_work: 0, failed: None }), Condvar::new());
    let mut found = Vec::new();
    thread::scope(|scope| {
        let others: Vec<_> = (1..THREADS).map(|_| scope.spawn(|| work(&stack, &woken, &each))).collect();
        found.push(work(&stack, &woken, &each));
        let others = others.into_iter().map(|other| other.join().expect("listing folders does not panic"));
        found.extend(others);
    });
    match stack.into_inner().unwrap_or_else(PoisonError::into_inner).failed {
        Some(errno) => Err(errno),
        None => Ok(found),
    }
}

fn work<T: Default>(
    stack: &Mutex<Stack>,
    woken: &Condvar,
    each: &impl Fn(&Task, &mut [MaybeUninit<u8>], &mut T) -> (Vec<String>, Option<Errno>),
) -> T {
    let mut found = T::default();
    let mut buffer = vec![MaybeUninit::uninit(); LISTING_BYTES];
    let mut held = stack.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let Some(task) = held.tasks.pop() else {
            if held.at_work == 0 {
                woken.notify_all();
                return found;
            }
            held = woken.wait(held).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        held.at_work += 1;
        drop(held);
        let (below, failed) = each(&task, &mut buffer, &mut found);
        held = stack.lock().unwrap_or_else(PoisonError::into_inner);
        held.at_work -= 1;
        held.failed = held.failed.or(failed);
        if task.deep {
            held.tasks.extend(below.into_iter().map(|path| Task { path, must_exist: false, deep: true }));
        }
        woken.notify_all();
    }
}

/// Lists one folder; answers with the folders in it, and with the error that ends the scan.
fn list_one(
    folder: &Folder,
    task: &Task,
    buffer: &mut [MaybeUninit<u8>],
    found: &mut Found,
) -> (Vec<String>, Option<Errno>) {
    let mut below = Vec::new();
    match try_list(folder, &task.path, buffer, found, &mut below) {
        Ok(()) => {}
        Err(errno) if task.must_exist => return (below, Some(errno)),
        // Gone, or something else by now: where it went to, if anywhere, the second look tells.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => drop(found.vanished.insert(task.path.clone())),
        Err(Errno::XDEV) => found.skip(task.path.clone(), SkippedBecause::OtherFileSystem),
        Err(errno) => found.skip(task.path.clone(), SkippedBecause::Unreadable { error: errno.to_string() }),
    }
    (below, None)
}

fn try_list(
    folder: &Folder,
    path: &str,
    buffer: &mut [MaybeUninit<u8>],
    found: &mut Found,
    below: &mut Vec<String>,
) -> Result<(), Errno> {
    let opened = folder.folder(path)?;
    let stat = node::Told::open(&opened)?;
    if stat.dev != folder.dev() {
        return Err(Errno::XDEV);
    }
    found.listed.push((path.to_owned(), stat.ctime_ns));
    let judge = folder.ignoring.judge(path, &opened);
    let mut names = RawDir::new(&opened, buffer);
    while let Some(entry) = names.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let full = join(path, name);
        if path.is_empty() && name.to_str().is_ok_and(is_reserved) {
            if name.to_bytes() != super::folder::STATE.as_bytes() {
                found.skip(full, SkippedBecause::ReservedName);
            }
            continue;
        }
        if name.to_str().is_err() {
            found.skip(full, SkippedBecause::NameNotUtf8);
            continue;
        }
        look(&opened, name, full, &judge, found, below);
    }
    Ok(())
}

/// Looks at one name in a folder that is being listed. What is ignored is marked; such a folder is not looked into unless
/// something in it is synced.
fn look(
    opened: &OwnedFd,
    name: &CStr,
    path: String,
    judge: &Judge<'_>,
    found: &mut Found,
    below: &mut Vec<String>,
) {
    let stat = match node::Told::at(opened, name) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return,
        Err(errno) => return found.skip(path, SkippedBecause::Unreadable { error: errno.to_string() }),
    };
    let Some(mut node) = stat.node() else { return found.skip(path, special(stat.mode)) };
    let ignored = judge.ignored(&path, node.kind == EntryKind::Folder);
    match node.kind {
        EntryKind::Folder if ignored.is_none() || judge.looks_into(&path) => below.push(path.clone()),
        EntryKind::File | EntryKind::Folder => {}
        EntryKind::Symlink => match fs::readlinkat(opened, name, Vec::new()) {
            Ok(target) => node.target = Some(target.into_bytes()),
            Err(Errno::NOENT | Errno::INVAL) => return,
            Err(errno) => return found.skip(path, SkippedBecause::Unreadable { error: errno.to_string() }),
        },
    }
    if let Some(pattern) = ignored {
        found.skip(path.clone(), SkippedBecause::Ignored { pattern });
    }
    found.nodes.push((path, node));
}

fn special(mode: RawMode) -> SkippedBecause {
    match FileType::from_raw_mode(mode) {
        FileType::Socket => SkippedBecause::Socket,
        FileType::Fifo => SkippedBecause::Pipe,
        _ => SkippedBecause::Device,
    }
}

/// The path for display; it is exact where the name is UTF-8.
pub(super) fn join(folder: &str, name: &CStr) -> String {
    let mut path = String::with_capacity(folder.len() + 1 + name.count_bytes());
    if !folder.is_empty() {
        path.push_str(folder);
        path.push('/');
    }
    for part in name.to_bytes().utf8_chunks() {
        path.push_str(part.valid());
        part.invalid().iter().for_each(|byte| path.push_str(&format!("\\x{byte:02X}")));
    }
    path
}

/// Looks again at every folder, until none has changed since it was listed. What changed is listed again,
/// with what is new in it. This adds, and takes away only what is elsewhere now and folders that are gone: a
/// file that is gone otherwise, the next scan finds gone.
pub(super) fn again(
    folder: &Folder,
    listings: &[Listing],
    found: &mut Found,
    began_ns: i64,
) -> Result<(), DiskError> {
    let mut listed: BTreeMap<String, i64> = std::mem::take(&mut found.listed).into_iter().collect();
    let mut nodes: BTreeMap<String, Node> = std::mem::take(&mut found.nodes).into_iter().collect();
    // What changed in the tick in which it was listed may have changed again and look the same.
    let mut unsettled_ns = if began_ns == i64::MIN { i64::MAX } else { began_ns.saturating_sub(TICK_NS) };
    for round in 1.. {
        let stale: Vec<String> = listed
            .iter()
            .filter(|(path, listed_ns)| {
                **listed_ns >= unsettled_ns || changed_ns(folder, path) != Some(**listed_ns)
            })
            .map(|(path, _)| path.clone())
            .collect();
        if stale.is_empty() {
            break;
        }
        if round > ROUNDS_MAX {
            stale.into_iter().for_each(|path| found.skip(path, SkippedBecause::Restless));
            break;
        }
        unsettled_ns = i64::MAX;
        let second = list_new(folder, listings, &stale, &listed)?;
        listed.retain(|path, _| stale.binary_search(path).is_err());
        let moved = merge(folder, &mut nodes, &second.nodes);
        listed.retain(|path, _| !is_below(path, &moved));
        listed.extend(second.listed);
        found.skipped.extend(second.skipped);
        found.vanished.extend(second.vanished);
    }
    found.vanished.retain(|path| !listed.contains_key(path));
    nodes.retain(|path, _| !is_below(path, &found.vanished));
    found.nodes = nodes.into_iter().collect();
    Ok(())
}

/// Takes up what was listed again. What is found elsewhere now and no longer where it was has moved.
fn merge(folder: &Folder, nodes: &mut BTreeMap<String, Node>, second: &[(String, Node)]) -> BTreeSet<String> {
    let paths: BTreeSet<&str> = second.iter().map(|(path, _)| path.as_str()).collect();
    let numbers: BTreeSet<(u64, u64)> = second.iter().map(|(_, node)| (node.dev, node.ino)).collect();
    let moved: BTreeSet<String> = nodes
        .iter()
        .filter(|(path, node)| numbers.contains(&(node.dev, node.ino)) && !paths.contains(path.as_str()))
        .filter(|(path, _)| matches!(look_at(folder, path), Ok(None)))
        .map(|(path, _)| path.clone())
        .collect();
    nodes.retain(|path, _| !is_below(path, &moved));
    nodes.extend(second.iter().cloned());
    moved
}

/// Lists `stale` again, each for itself, and below it, where that is wanted, the folders that no listing has had.
fn list_new(
    folder: &Folder,
    listings: &[Listing],
    stale: &[String],
    listed: &BTreeMap<String, i64>,
) -> Result<Found, DiskError> {
    let mut found = Found::default();
    let mut buffer = vec![MaybeUninit::uninit(); LISTING_BYTES];
    let mut tasks: Vec<Task> = stale.iter().map(|path| task(path, listings)).collect();
    while let Some(task) = tasks.pop() {
        let (below, failed) = list_one(folder, &task, &mut buffer, &mut found);
        if let Some(errno) = failed {
            return Err(folder.failed(errno));
        }
        let new = below.into_iter().filter(|path| !listed.contains_key(path));
        if task.deep {
            tasks.extend(new.map(|path| Task { path, must_exist: false, deep: true }));
        }
    }
    Ok(found)
}

/// Whether `path` is one of `tops` or below one.
fn is_below(path: &str, tops: &BTreeSet<String>) -> bool {
    let above = || path.rmatch_indices('/').map(|(cut, _)| &path[..cut]);
    !tops.is_empty() && (tops.contains(path) || above().any(|folder| tops.contains(folder)))
}

fn changed_ns(folder: &Folder, path: &str) -> Option<i64> {
    let identity = if path.is_empty() {
        node::Told::open(folder.root()).ok()?.node()?.identity()
    } else {
        let place = folder.place(path).ok()?;
        identity_at(place.folder.as_fd(), place.name).ok()??
    };
    Some(identity.ctime_ns)
}

/// What is at `path` now.
pub(super) fn look_at(folder: &Folder, path: &str) -> Result<Option<Node>, Errno> {
    let at = |place: super::folder::Place<'_>| node_at(place.folder.as_fd(), place.name);
    match folder.place(path).and_then(at) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        answer => answer,
    }
}
