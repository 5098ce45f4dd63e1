//! The engine's side of the folder: every operation with the checks that it promises, and the sweep after the
//! power was lost in the middle of some.

use super::{InHand, TOP, Volume};
use crate::point::{Moment, Point};
use annals_engine::{
    content::is_content,
    disk::{
        Blocked, Contents, Disk, DiskError, DiskOp, Done, Expect, Identity, Listing, Node, OldFiles, Outcome,
        Reading, Scan, Swept,
    },
};
use annals_events::{ContentId, EntryKind, path};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Read},
    rc::Rc,
};

/// The folder as the engine of one device holds it. While its machine is without power, nothing works.
#[derive(Clone)]
pub struct TwinDisk {
    volume: Rc<RefCell<Volume>>,
    point: Point,
}

impl TwinDisk {
    /// The engine's handle on a volume; the world is told before anything is done.
    #[must_use]
    pub fn new(volume: Rc<RefCell<Volume>>, point: Point) -> Self {
        Self { volume, point }
    }

    fn pass(&self, moment: Moment) -> Result<(), DiskError> {
        self.point.pass(moment);
        if self.point.has_power() { Ok(()) } else { Err(no_power()) }
    }
}

fn no_power() -> DiskError {
    DiskError::NotDurable { folder: "/".into(), why: "the power is gone".into() }
}

impl Disk for TwinDisk {
    type Reading = TwinReading;

    fn scan(&mut self) -> Result<Scan, DiskError> {
        self.pass(Moment::Scan)?;
        Ok(self.volume.borrow().scan())
    }

    fn list(&mut self, folders: &[Listing]) -> Result<Scan, DiskError> {
        Ok(self.scan()?.only(folders))
    }

    fn look(&mut self, path: &str) -> Result<Option<Node>, DiskError> {
        self.pass(Moment::Read)?;
        Ok(self.volume.borrow().look(path))
    }

    fn open_read(&mut self, path: &str) -> Result<TwinReading, DiskError> {
        self.pass(Moment::Read)?;
        let volume = self.volume.borrow();
        let missing = DiskError::Missing { path: path.to_owned() };
        let ino =
            volume.find(path).filter(|ino| volume.inodes[ino].kind == EntryKind::File).ok_or(missing)?;
        let bytes = io::Cursor::new(volume.inodes[&ino].bytes.clone());
        let opened = volume.node(ino);
        Ok(TwinReading { bytes, ino, opened, disk: self.clone() })
    }

    fn apply(&mut self, ops: &[DiskOp], contents: &mut dyn Contents) -> Result<Vec<Outcome>, DiskError> {
        let mut files = TwinFiles(Rc::clone(&self.volume));
        let staged: Vec<_> = ops.iter().map(|op| stage(op, contents, &mut files)).collect();
        let mut call = Call { disk: self.clone(), changed: BTreeMap::new(), out: Vec::new() };
        let mut outcomes = Vec::with_capacity(ops.len());
        for (op, staged) in ops.iter().zip(staged) {
            if let Err(lost) = self.pass(Moment::Apply) {
                call.lose();
                return Err(lost);
            }
            outcomes.push(check_names(op).and(staged).and_then(|bytes| call.perform(op, ops, bytes)));
        }
        if let Err(lost) = self.pass(Moment::Applied) {
            call.lose();
            return Err(lost);
        }
        call.finish(ops, &mut outcomes);
        Ok(outcomes)
    }

    fn sweep(&mut self) -> Result<Swept, DiskError> {
        self.pass(Moment::Sweep)?;
        let mut volume = self.volume.borrow_mut();
        let mut swept = Swept::default();
        for held in std::mem::take(&mut volume.hands) {
            volume.sweep_one(held, &mut swept);
        }
        Ok(swept)
    }
}

/// What a file held when it was opened, with a look at what it is now.
pub struct TwinReading {
    bytes: io::Cursor<Vec<u8>>,
    ino: u64,
    opened: Node,
    disk: TwinDisk,
}

impl Read for TwinReading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer)
    }
}

impl Reading for TwinReading {
    fn node(&self) -> Result<Node, DiskError> {
        self.disk.pass(Moment::Read)?;
        let volume = self.disk.volume.borrow();
        if volume.inodes.contains_key(&self.ino) {
            return Ok(volume.node(self.ino));
        }
        // Removed while it was open: that is a change, too.
        Ok(Node { ctime_ns: volume.clock.tick_ns(), ..self.opened.clone() })
    }
}

/// What the folder has, for who makes new files of it.
struct TwinFiles(Rc<RefCell<Volume>>);

impl OldFiles for TwinFiles {
    fn read_at(&mut self, path: &str, at: u64, bytes: &mut [u8]) -> bool {
        let volume = self.0.borrow();
        let Some(inode) = volume.find(path).map(|ino| &volume.inodes[&ino]) else { return false };
        let from = usize::try_from(at).unwrap_or(usize::MAX);
        let held = inode.bytes.get(from..).and_then(|rest| rest.get(..bytes.len()));
        held.map(|held| bytes.copy_from_slice(held)).is_some()
    }
}

/// The bytes that `op` writes.
fn stage(op: &DiskOp, contents: &mut dyn Contents, files: &mut TwinFiles) -> Result<Vec<u8>, Blocked> {
    let DiskOp::WriteFile { path, content, size, .. } = op else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    let not_had = |why: String| Blocked::Content { path: path.clone(), why };
    contents.write_to(content, files, &mut bytes).map_err(|error| not_had(error.to_string()))?;
    if bytes.len() as u64 == *size { Ok(bytes) } else { Err(not_had(format!("{} bytes", bytes.len()))) }
}

fn check_names(op: &DiskOp) -> Result<(), Blocked> {
    let second = match op {
        DiskOp::Rename { from, .. } => Some(from.as_str()),
        DiskOp::Exchange { other, .. } => Some(other.as_str()),
        _ => None,
    };
    std::iter::once(op.path()).chain(second).try_for_each(|path| {
        let blocked = |why: String| Blocked::Name { path: path.to_owned(), why };
        path.split('/').try_for_each(path::check).map_err(|error| blocked(error.to_string()))?;
        let top = path.split('/').next().unwrap_or_default();
        if path::is_reserved(top) { Err(blocked("it is the device's own".into())) } else { Ok(()) }
    })
}

/// A call at work.
struct Call {
    disk: TwinDisk,
    /// What the call itself changed about things: as the caller knew them, as they are now.
    changed: BTreeMap<u64, (Identity, Identity)>,
    /// What came out and is as expected.
    out: Vec<InHand>,
}

impl Call {
    fn perform(&mut self, op: &DiskOp, all: &[DiskOp], bytes: Vec<u8>) -> Outcome {
        let disk = self.disk.clone();
        let mut volume = disk.volume.borrow_mut();
        let volume = &mut *volume;
        match op {
            DiskOp::MakeFolder { path } => make_folder(volume, path),
            DiskOp::WriteFile { path, mtime_ns, executable, expect, holds, .. } => {
                proven(volume, path, holds.as_ref())?;
                let ino = self.free_place(volume, path, expect, EntryKind::File)?;
                let inode = volume.inode(ino);
                (inode.bytes, inode.executable) = (bytes, *executable);
                inode.mtime_ns = mtime_ns.unwrap_or(inode.mtime_ns);
                done(Some(volume.node(ino)))
            }
            DiskOp::WriteSymlink { path, target, expect, holds } => {
                proven(volume, path, holds.as_ref())?;
                let ino = self.free_place(volume, path, expect, EntryKind::Symlink)?;
                volume.inode(ino).target = Some(target.clone());
                done(Some(volume.node(ino)))
            }
            DiskOp::SetAttributes { path, mtime_ns, executable, expect } => {
                self.set_attributes(volume, path, (*mtime_ns, *executable), expect)
            }
            DiskOp::Rename { from, to, expect } => self.rename(volume, from, to, expect),
            DiskOp::Exchange { one, other, expect_one, expect_other } => {
                let (a, b) =
                    (self.expected(volume, one, expect_one)?, self.expected(volume, other, expect_other)?);
                if !volume.swap(one, other) {
                    let why = "the two cannot change places here".into();
                    return Err(Blocked::Other { path: one.clone(), why });
                }
                self.we_changed(*expect_one, volume.node(a).identity());
                self.we_changed(*expect_other, volume.node(b).identity());
                Ok(Done { node: Some(volume.node(b)), other: Some(volume.node(a)) })
            }
            DiskOp::Park { path, slot, expect } => self.park(volume, path, *slot, expect, all),
            DiskOp::Unpark { slot, path } => self.unpark(volume, *slot, path),
            DiskOp::Remove { path, expect, holds } => {
                proven(volume, path, holds.as_ref())?;
                self.remove(volume, path, expect)
            }
        }
    }

    fn is_expected(&self, expect: &Identity, now: &Identity) -> bool {
        let ours = self.changed.get(&now.ino);
        expect.is(now) || ours.is_some_and(|(before, after)| before.is(expect) && after.is(now))
    }

    fn we_changed(&mut self, expect: Identity, now: Identity) {
        self.changed.insert(now.ino, (expect, now));
    }

    fn expected(&self, volume: &Volume, path: &str, expect: &Identity) -> Result<u64, Blocked> {
        let found = volume.find(path);
        let now = found.map(|ino| volume.node(ino).identity());
        match (found, now) {
            (Some(ino), Some(now)) if self.is_expected(expect, &now) => Ok(ino),
            _ => Err(Blocked::Changed { path: path.to_owned(), found: now }),
        }
    }

    /// A new thing at `path`, in place of what is expected there.
    fn free_place(
        &mut self,
        volume: &mut Volume,
        path: &str,
        expect: &Expect,
        kind: EntryKind,
    ) -> Result<u64, Blocked> {
        let old = match expect {
            Expect::Absent => None,
            Expect::Is(expect) if expect.kind == EntryKind::Folder => {
                let why = "a file does not replace a folder".into();
                return Err(Blocked::Other { path: path.to_owned(), why });
            }
            Expect::Is(expect) => Some((self.expected(volume, path, expect)?, *expect)),
        };
        let (folder, name) = place(volume, path)?;
        if old.is_none() && volume.find(path).is_some() {
            return Err(changed(volume, path));
        }
        let ino = volume.make(kind);
        if let Some((old, expect)) = old {
            volume.detach(folder, name);
            self.out.push(InHand { ino: old, path: path.to_owned(), onward: None, expect, slot: None });
        }
        volume.attach(folder, name, ino);
        Ok(ino)
    }

    fn set_attributes(
        &mut self,
        volume: &mut Volume,
        path: &str,
        (mtime_ns, executable): (Option<i64>, Option<bool>),
        expect: &Identity,
    ) -> Outcome {
        if expect.kind != EntryKind::File {
            let why = "only files have attributes that are synced".into();
            return Err(Blocked::Other { path: path.to_owned(), why });
        }
        let ino = self.expected(volume, path, expect)?;
        let inode = volume.inode(ino);
        inode.executable = executable.unwrap_or(inode.executable);
        inode.mtime_ns = mtime_ns.unwrap_or(inode.mtime_ns);
        volume.touched(ino);
        let mut node = volume.node(ino);
        self.we_changed(*expect, node.identity());
        if mtime_ns.is_some() {
            node.ctime_ns = i64::MIN;
        }
        done(Some(node))
    }

    fn rename(&mut self, volume: &mut Volume, from: &str, to: &str, expect: &Identity) -> Outcome {
        let (there, new) = place(volume, to)?;
        let ino = self.expected(volume, from, expect)?;
        if volume.find(to).is_some() {
            return Err(changed(volume, to));
        }
        if volume.is_below(there, ino) {
            let why = "a folder cannot go into itself".into();
            return Err(Blocked::Other { path: to.to_owned(), why });
        }
        let (here, old) = place(volume, from)?;
        volume.detach(here, old);
        volume.attach(there, new, ino);
        self.we_changed(*expect, volume.node(ino).identity());
        done(Some(volume.node(ino)))
    }

    fn park(
        &mut self,
        volume: &mut Volume,
        path: &str,
        slot: u32,
        expect: &Identity,
        all: &[DiskOp],
    ) -> Outcome {
        if volume.hands.iter().any(|held| held.slot == Some(slot)) {
            let why = format!("something is parked as {slot} already");
            return Err(Blocked::Other { path: path.to_owned(), why });
        }
        let ino = self.expected(volume, path, expect)?;
        let (folder, name) = place(volume, path)?;
        volume.detach(folder, name);
        self.we_changed(*expect, volume.node(ino).identity());
        let onward = all.iter().find_map(|later| match later {
            DiskOp::Unpark { slot: taken, path } if *taken == slot => Some(path.clone()),
            _ => None,
        });
        volume.hands.push(InHand { ino, path: path.to_owned(), onward, expect: *expect, slot: Some(slot) });
        done(None)
    }

    fn unpark(&mut self, volume: &mut Volume, slot: u32, path: &str) -> Outcome {
        let Some(at) = volume.hands.iter().position(|held| held.slot == Some(slot)) else {
            // What was to be parked changed, and stayed: this follows from it.
            return Err(Blocked::Changed { path: path.to_owned(), found: None });
        };
        let (folder, name) = place(volume, path)?;
        if volume.find(path).is_some() {
            return Err(changed(volume, path));
        }
        let held = volume.hands.remove(at);
        volume.attach(folder, name, held.ino);
        self.we_changed(held.expect, volume.node(held.ino).identity());
        done(Some(volume.node(held.ino)))
    }

    fn remove(&mut self, volume: &mut Volume, path: &str, expect: &Identity) -> Outcome {
        let Some(found) = volume.find(path) else { return done(None) };
        let (folder, name) = place(volume, path)?;
        let ino = self.expected(volume, path, expect)?;
        if !volume.inodes[&found].children.is_empty() {
            return Err(Blocked::NotEmpty { path: path.to_owned() });
        }
        volume.detach(folder, name);
        if expect.kind == EntryKind::Folder {
            volume.release(ino);
        } else {
            let path = path.to_owned();
            self.out.push(InHand { ino, path, onward: None, expect: *expect, slot: None });
        }
        done(None)
    }

    /// All is durable: what came out goes. What was parked and never taken up goes back, and its parking was not done.
    fn finish(self, ops: &[DiskOp], outcomes: &mut [Outcome]) {
        let mut volume = self.disk.volume.borrow_mut();
        self.out.into_iter().for_each(|out| volume.release(out.ino));
        for held in std::mem::take(&mut volume.hands) {
            let (path, slot) = (held.path.clone(), held.slot);
            let blocked = match volume.put_back(held, false) {
                Ok(_) => changed(&volume, &path),
                Err(held) => Blocked::Kept { path, kept: volume.keep(&held) },
            };
            let parking = |op: &DiskOp| matches!(op, DiskOp::Park { slot: it, .. } if Some(*it) == slot);
            if let Some(index) = ops.iter().rposition(parking) {
                outcomes[index] = Err(blocked);
            }
        }
    }

    /// The power is gone: what is in our hands waits for the sweep.
    fn lose(self) {
        self.disk.volume.borrow_mut().hands.extend(self.out);
    }
}

impl Volume {
    /// Puts what was in our hands back to where it was (or `onward` to where it was going); answers where that is.
    fn put_back(&mut self, held: InHand, onward: bool) -> Result<String, Box<InHand>> {
        let onward = held.onward.as_ref().filter(|_| onward);
        for path in [Some(&held.path), onward].into_iter().flatten() {
            if self.find(path).is_none()
                && let Some((folder, name)) = self.place(path)
            {
                self.attach(folder, name, held.ino);
                return Ok(path.clone());
            }
        }
        Err(Box::new(held))
    }

    fn keep(&mut self, held: &InHand) -> String {
        let kept = format!("{}-{}", self.kept.len() + 1, held.path.rsplit('/').next().unwrap_or_default());
        self.kept.push((kept.clone(), held.ino));
        kept
    }

    fn sweep_one(&mut self, held: InHand, swept: &mut Swept) {
        match self.put_back(held, true) {
            Ok(path) => swept.put_back.push(path),
            Err(held) => {
                let now = self.node(held.ino).identity();
                // What was parked is somebody's; what was replaced or removed is done with.
                if held.slot.is_none() && held.expect.is_but_moved(&now) {
                    self.release(held.ino);
                    swept.removed += 1;
                } else {
                    let kept = self.keep(&held);
                    swept.kept.push((held.path, kept));
                }
            }
        }
    }
}

/// Whether a file holds what it is to hold, where its times do not vouch for that.
fn proven(volume: &Volume, path: &str, holds: Option<&ContentId>) -> Result<(), Blocked> {
    let Some((holds, ino)) = holds.zip(volume.find(path)) else { return Ok(()) };
    let bytes = &volume.inodes[&ino].bytes[..];
    let is = is_content(holds, bytes.len() as u64, || Ok(bytes)).expect("memory can be read");
    if is { Ok(()) } else { Err(changed(volume, path)) }
}

fn make_folder(volume: &mut Volume, path: &str) -> Outcome {
    let (folder, name) = place(volume, path)?;
    let ino = match volume.find(path) {
        Some(ino) if volume.inodes[&ino].kind == EntryKind::Folder => ino,
        Some(_) => return Err(changed(volume, path)),
        None => {
            let ino = volume.make(EntryKind::Folder);
            volume.attach(folder, name, ino);
            ino
        }
    };
    done(Some(volume.node(ino)))
}

fn place<'p>(volume: &Volume, path: &'p str) -> Result<(u64, &'p str), Blocked> {
    debug_assert!(volume.inodes.contains_key(&TOP), "the folder is always there");
    volume.place(path).ok_or_else(|| Blocked::NoFolder { path: path.to_owned() })
}

fn changed(volume: &Volume, path: &str) -> Blocked {
    Blocked::Changed { path: path.to_owned(), found: volume.look(path).map(|node| node.identity()) }
}

fn done(node: Option<Node>) -> Outcome {
    Ok(Done { node, other: None })
}
