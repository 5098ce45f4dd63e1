//! What a power cut would leave of a folder: a recorder under the real disk, and the file system that it imagines.
//!
//! While a [`Tape`] runs, every call that changes names below its folder or syncs anything is looked at before and
//! after: what differs becomes a [`Fact`]. From the facts up to any of them, [`Tape::cut_at`] tells what may be left
//! when the power goes there:
//!
//! - A change of names is whole: a rename or an exchange happens to both names or to neither. What happens to one name
//!   survives in its order, and nothing in a folder without what made that folder or brought it where it is. Beside
//!   that, any change may be lost and any kept, until the folder is synced, or everything.
//! - What a file holds, its mode and its time are lost, kept or torn until the file is synced, or everything. To sync a
//!   file says nothing about its name, to sync a folder nothing about what its files hold.
//! - What the person did between our calls is theirs, and durable at once.
//!
//! That forgets more than ext4, XFS and btrfs do. Left out: disks that lie about a sync.

use crate::disk::held::Intent;
use annals_engine::disk::Identity;
use annals_events::EntryKind;
use rustix::{
    fd::{AsFd, AsRawFd as _, OwnedFd},
    fs::{self as real, Mode, OFlags},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

type Number = u64;
type Names = BTreeMap<Number, BTreeMap<String, Number>>;

/// What something is, its name aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thing {
    pub(super) kind: EntryKind,
    /// Of a file what it holds, of a symlink where it leads.
    pub(super) bytes: Vec<u8>,
    pub(super) mtime_ns: i64,
    pub(super) mode: u32,
}

/// One step of what happened.
#[derive(Clone, Debug)]
enum Fact {
    Names {
        changes: Vec<Change>,
        durable: bool,
    },
    /// A thing that is new, or other than it was.
    Thing {
        number: Number,
        thing: Thing,
        durable: bool,
    },
    Synced(Number),
    SyncedAll,
}

/// A name that is another thing's now, or nobody's.
#[derive(Clone, Debug)]
struct Change {
    folder: Number,
    name: String,
    was: Option<Number>,
    is: Option<Number>,
}

/// The recorder of one folder. It runs until it is dropped.
pub(super) struct Tape(Arc<Recorder>);

struct Recorder {
    root: PathBuf,
    roll: Mutex<Roll>,
}

struct Roll {
    top: Number,
    names: Names,
    things: BTreeMap<Number, Thing>,
    first: (Names, BTreeMap<Number, Thing>),
    facts: Vec<Fact>,
    /// Held open, so that no number is given away a second time.
    held: BTreeMap<Number, OwnedFd>,
}

static RUNNING: Mutex<Vec<Arc<Recorder>>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Tape {
    fn drop(&mut self) {
        lock(&RUNNING).retain(|other| !Arc::ptr_eq(other, &self.0));
    }
}

impl Tape {
    /// Records what happens below `root` from here on. What is there is durable.
    pub(super) fn start(root: &Path) -> Self {
        let root = root.canonicalize().unwrap();
        let mut roll = Roll {
            top: fs::metadata(&root).unwrap().ino(),
            names: Names::new(),
            things: BTreeMap::new(),
            first: Default::default(),
            facts: Vec::new(),
            held: BTreeMap::new(),
        };
        roll.look(&root, None);
        roll.first = (roll.names.clone(), roll.things.clone());
        roll.facts.clear();
        let recorder = Arc::new(Recorder { root, roll: Mutex::new(roll) });
        lock(&RUNNING).push(Arc::clone(&recorder));
        Self(recorder)
    }

    /// How many facts there are, what the person just did among them.
    pub(super) fn now(&self) -> usize {
        let mut roll = lock(&self.0.roll);
        roll.look(&self.0.root, Some(false));
        roll.facts.len()
    }

    /// At how many points the power may go: before each fact, and after the last.
    pub(super) fn len(&self) -> usize {
        lock(&self.0.roll).facts.len()
    }

    /// What is left if the power goes when `facts` of them have happened. `choose(n)` gives a number below `n`.
    pub(super) fn cut_at(&self, facts: usize, choose: &mut dyn FnMut(u64) -> u64) -> Left {
        lock(&self.0.roll).cut_at(facts, choose)
    }
}

/// Runs `call`, which changes something at `fd`, and takes note of what it did.
fn noted<T>(
    fd: impl AsFd,
    sync: Option<bool>,
    call: impl FnOnce() -> Result<T, rustix::io::Errno>,
) -> Result<T, rustix::io::Errno> {
    if lock(&RUNNING).is_empty() {
        return call();
    }
    let Ok(path) = fs::read_link(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())) else { return call() };
    let Some(recorder) = lock(&RUNNING).iter().find(|it| path.starts_with(&it.root)).cloned() else {
        return call();
    };
    let number = real::fstat(&fd).map(|stat| stat.st_ino).unwrap_or_default();
    let mut roll = lock(&recorder.roll);
    roll.look(&recorder.root, Some(false));
    let answer = call();
    roll.look(&recorder.root, Some(true));
    match sync.filter(|_| answer.is_ok()) {
        Some(true) => roll.facts.push(Fact::SyncedAll),
        Some(false) => roll.facts.push(Fact::Synced(number)),
        None => {}
    }
    answer
}

impl Roll {
    /// Takes note of what is other than at the last look. `ours` says whether a call of ours lies between.
    fn look(&mut self, root: &Path, ours: Option<bool>) {
        let (mut names, mut things) = (Names::new(), BTreeMap::new());
        let mut in_state = BTreeSet::new();
        self.walk(root, self.top, false, &mut names, &mut things, &mut in_state);
        let ours = ours != Some(false);
        let mut changes = Vec::new();
        let folders: BTreeSet<&Number> = self.names.keys().chain(names.keys()).collect();
        for folder in folders {
            let none = BTreeMap::new();
            let (was, is) = (self.names.get(folder).unwrap_or(&none), names.get(folder).unwrap_or(&none));
            let all: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
            let differs = all.into_iter().filter(|name| was.get(*name) != is.get(*name));
            changes.extend(differs.map(|name| Change {
                folder: *folder,
                name: name.clone(),
                was: was.get(name).copied(),
                is: is.get(name).copied(),
            }));
        }
        // First what is new, so that a name always leads to something.
        let differs = things.iter().filter(|(number, thing)| self.things.get(number) != Some(thing));
        for (number, thing) in differs.map(|(number, thing)| (*number, thing.clone())) {
            // Beside the folder everything is ours.
            let durable = !ours && !in_state.contains(&number);
            self.facts.push(Fact::Thing { number, thing, durable });
        }
        if !changes.is_empty() {
            self.facts.push(Fact::Names { changes, durable: !ours });
        }
        self.names = names;
        self.things.extend(things);
    }

    fn walk(
        &mut self,
        at: &Path,
        folder: Number,
        state: bool,
        names: &mut Names,
        things: &mut BTreeMap<Number, Thing>,
        in_state: &mut BTreeSet<Number>,
    ) {
        let here = names.entry(folder).or_default();
        let mut below = Vec::new();
        for entry in fs::read_dir(at).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            let (number, kind) = (found.ino(), found.file_type());
            self.held.entry(number).or_insert_with(|| {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                real::open(&path, flags, Mode::empty()).unwrap()
            });
            here.insert(name.clone(), number);
            let (kind, bytes) = if kind.is_dir() {
                below.push((path.clone(), number, state || name == ".annals"));
                (EntryKind::Folder, Vec::new())
            } else if kind.is_symlink() {
                (EntryKind::Symlink, fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
            } else {
                (EntryKind::File, fs::read(&path).unwrap())
            };
            let is_file = kind == EntryKind::File;
            let mtime_ns = if is_file { found.mtime() * 1_000_000_000 + found.mtime_nsec() } else { 0 };
            let mode = if kind == EntryKind::Symlink { 0 } else { found.mode() & 0o777 };
            things.insert(number, Thing { kind, bytes, mtime_ns, mode });
            if state {
                in_state.insert(number);
            }
        }
        for (path, number, state) in below {
            self.walk(&path, number, state, names, things, in_state);
        }
    }

    fn cut_at(&self, facts: usize, choose: &mut dyn FnMut(u64) -> u64) -> Left {
        let facts = &self.facts[..facts];
        let kept = kept_names(facts, choose);
        let (mut names, mut things) = (self.first.0.clone(), self.first.1.clone());
        for (at, fact) in facts.iter().enumerate() {
            if let Fact::Names { changes, .. } = fact
                && kept.contains(&at)
            {
                for change in changes {
                    let folder = names.entry(change.folder).or_default();
                    match change.is {
                        Some(number) => drop(folder.insert(change.name.clone(), number)),
                        None => drop(folder.remove(&change.name)),
                    }
                }
            }
        }
        let mut versions: BTreeMap<Number, Vec<&Thing>> = BTreeMap::new();
        for fact in facts {
            match fact {
                Fact::Thing { number, thing, durable: false } if thing.kind == EntryKind::File => {
                    versions.entry(*number).or_default().push(thing);
                }
                Fact::Thing { number, thing, .. } => {
                    versions.remove(number);
                    things.insert(*number, thing.clone());
                }
                Fact::Synced(number) => {
                    if let Some(last) = versions.remove(number).and_then(|all| all.last().copied()) {
                        things.insert(*number, last.clone());
                    }
                }
                Fact::SyncedAll => {
                    for (number, all) in std::mem::take(&mut versions) {
                        all.last().into_iter().for_each(|last| drop(things.insert(number, (*last).clone())));
                    }
                }
                Fact::Names { .. } => {}
            }
        }
        for (number, all) in versions {
            let one = survivor(things.get(&number), &all, choose);
            things.insert(number, one);
        }
        Left { top: self.top, names, things }
    }
}

/// Which changes of names survive, by their places in `facts`.
fn kept_names(facts: &[Fact], choose: &mut dyn FnMut(u64) -> u64) -> BTreeSet<usize> {
    let mut last_of: BTreeMap<(Number, &str), usize> = BTreeMap::new();
    let mut all_in: BTreeMap<Number, Vec<usize>> = BTreeMap::new();
    // Of a file as well: a link and an unlink are two changes, and come in this order.
    let mut brought_by: BTreeMap<Number, usize> = BTreeMap::new();
    let mut needs: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut forced = BTreeSet::new();
    for (at, fact) in facts.iter().enumerate() {
        match fact {
            Fact::Names { changes, durable } => {
                let mut before = BTreeSet::new();
                for Change { folder, name, was, is } in changes {
                    before.extend(last_of.get(&(*folder, name.as_str())));
                    before.extend(brought_by.get(folder));
                    // A folder goes when what was in it has gone.
                    before.extend(was.and_then(|number| all_in.get(&number)).into_iter().flatten());
                    before.extend(is.and_then(|number| brought_by.get(&number)));
                }
                for Change { folder, name, is, .. } in changes {
                    last_of.insert((*folder, name), at);
                    all_in.entry(*folder).or_default().push(at);
                    brought_by.extend(is.map(|number| (number, at)));
                }
                needs.insert(at, before);
                if *durable {
                    forced.insert(at);
                }
            }
            Fact::Synced(number) => forced.extend(all_in.get(number).into_iter().flatten()),
            Fact::SyncedAll => forced.extend(needs.keys()),
            Fact::Thing { .. } => {}
        }
    }
    let mut todo: Vec<usize> = forced.iter().copied().collect();
    while let Some(at) = todo.pop() {
        todo.extend(needs[&at].iter().filter(|need| forced.insert(**need)));
    }
    let mut kept = BTreeSet::new();
    // All of the rest, none of it, or each as it comes.
    let mood = choose(4);
    for (at, needs) in &needs {
        let kept_anyway = forced.contains(at);
        let chosen = match mood {
            0 => false,
            1 => true,
            _ => choose(2) == 1,
        };
        if kept_anyway || chosen && needs.is_subset(&kept) {
            kept.insert(*at);
        }
    }
    kept
}

/// What is left of a file that became `all`, one after the other, since it durably was `old`.
fn survivor(old: Option<&Thing>, all: &[&Thing], choose: &mut dyn FnMut(u64) -> u64) -> Thing {
    let last = *all.last().expect("it changed");
    let empty = Thing { bytes: Vec::new(), ..last.clone() };
    let old = old.unwrap_or(&empty);
    if old.bytes == last.bytes && all.iter().all(|one| one.bytes == last.bytes) {
        let pick = choose(all.len() as u64 + 1) as usize;
        return if pick == 0 { old.clone() } else { all[pick - 1].clone() };
    }
    let torn = |bytes: Vec<u8>| Thing { bytes, ..last.clone() };
    match choose(5) {
        0 => old.clone(),
        1 => last.clone(),
        2 => torn(Vec::new()),
        3 => torn(vec![0; last.bytes.len()]),
        _ => torn(last.bytes[..last.bytes.len() / 2].to_vec()),
    }
}

/// A folder as a power cut left it.
pub(super) struct Left {
    top: Number,
    names: Names,
    things: BTreeMap<Number, Thing>,
}

impl Left {
    /// Makes it, in an empty folder: as after the machine came up again, the numbers in the note being those of the files.
    pub(super) fn make(&self, root: &Path) {
        let mut numbers = BTreeMap::new();
        self.make_folder(self.top, root, &mut numbers);
        let note = root.join(".annals/tmp/note");
        let intents = fs::read(&note).ok().and_then(|bytes| serde_ipld_dagcbor::from_slice(&bytes).ok());
        let Some(intents): Option<Vec<Intent>> = intents else { return };
        let dev = fs::metadata(root).unwrap().dev();
        let now = |number: Number| numbers.get(&number).copied().unwrap_or(u64::MAX - number);
        let intents: Vec<Intent> = intents
            .into_iter()
            .map(|intent| Intent {
                ours: intent.ours.map(|(_, number)| (dev, now(number))),
                expect: Identity { dev, ino: now(intent.expect.ino), born_ns: None, ..intent.expect },
                ..intent
            })
            .collect();
        fs::write(&note, serde_ipld_dagcbor::to_vec(&intents).unwrap()).unwrap();
    }

    fn make_folder(&self, folder: Number, at: &Path, numbers: &mut BTreeMap<Number, Number>) {
        for (name, number) in self.names.get(&folder).into_iter().flatten() {
            let (path, thing) = (at.join(name), &self.things[number]);
            match thing.kind {
                EntryKind::Folder => {
                    fs::create_dir(&path).unwrap();
                    self.make_folder(*number, &path, numbers);
                    fs::set_permissions(&path, fs::Permissions::from_mode(thing.mode)).unwrap();
                }
                EntryKind::Symlink => {
                    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&thing.bytes), &path).unwrap();
                }
                EntryKind::File => {
                    fs::write(&path, &thing.bytes).unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(thing.mode)).unwrap();
                    let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(thing.mtime_ns.cast_unsigned());
                    fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
                }
            }
            numbers.insert(*number, fs::symlink_metadata(&path).unwrap().ino());
        }
    }
}

/// What the folder's code calls while it is tested.
pub(in crate::disk) mod calls {
    use super::noted;
    pub(in crate::disk) use rustix::fs::*;
    use rustix::{
        fd::{AsFd, OwnedFd},
        fs as real,
        io::Errno,
        path::Arg,
    };

    type Answer = Result<(), Errno>;

    pub(in crate::disk) fn openat(
        at: impl AsFd,
        path: impl Arg,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        if !flags.intersects(OFlags::CREATE | OFlags::TRUNC) {
            return real::openat(at, path, flags, mode);
        }
        noted(at.as_fd(), None, || real::openat(&at, path, flags, mode))
    }

    pub(in crate::disk) fn mkdirat(at: impl AsFd, path: impl Arg, mode: Mode) -> Answer {
        noted(at.as_fd(), None, || real::mkdirat(&at, path, mode))
    }

    pub(in crate::disk) fn unlinkat(at: impl AsFd, path: impl Arg, flags: AtFlags) -> Answer {
        noted(at.as_fd(), None, || real::unlinkat(&at, path, flags))
    }

    pub(in crate::disk) fn symlinkat(target: impl Arg, at: impl AsFd, path: impl Arg) -> Answer {
        noted(at.as_fd(), None, || real::symlinkat(target, &at, path))
    }

    pub(in crate::disk) fn linkat(
        from: impl AsFd,
        path: impl Arg,
        to: impl AsFd,
        new: impl Arg,
        flags: AtFlags,
    ) -> Answer {
        noted(from.as_fd(), None, || real::linkat(&from, path, to, new, flags))
    }

    pub(in crate::disk) fn renameat(from: impl AsFd, path: impl Arg, to: impl AsFd, new: impl Arg) -> Answer {
        noted(from.as_fd(), None, || real::renameat(&from, path, to, new))
    }

    pub(in crate::disk) fn renameat_with(
        from: impl AsFd,
        path: impl Arg,
        to: impl AsFd,
        new: impl Arg,
        flags: RenameFlags,
    ) -> Answer {
        noted(from.as_fd(), None, || real::renameat_with(&from, path, to, new, flags))
    }

    pub(in crate::disk) fn fchmod(file: impl AsFd, mode: Mode) -> Answer {
        noted(file.as_fd(), None, || real::fchmod(&file, mode))
    }

    pub(in crate::disk) fn futimens(file: impl AsFd, times: &Timestamps) -> Answer {
        noted(file.as_fd(), None, || real::futimens(&file, times))
    }

    pub(in crate::disk) fn fsync(file: impl AsFd) -> Answer {
        noted(file.as_fd(), Some(false), || real::fsync(&file))
    }

    pub(in crate::disk) fn syncfs(file: impl AsFd) -> Answer {
        noted(file.as_fd(), Some(true), || real::syncfs(&file))
    }
}
