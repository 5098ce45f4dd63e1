//! Many changes at the price of a few syncs.
//!
//! A group goes through: stage every new file beside; note what may come into our hands; make both durable;
//! then the names, one operation after the other; make the folders durable; look once more at what came out
//! and remove it, durably; and only then report. So a name never shows what is not on the disk whole (I9), and
//! what is reported is durable.

use super::{
    FolderDisk, Step, Steps,
    calls::{self as fs, AtFlags},
    folder::{Folder, TMP},
    held::{self, Intent},
    node::identity_at,
    place, scan,
    stage::{self, Staged},
};
use annals_engine::disk::{Blocked, Contents, DiskError, DiskOp, Done, Expect, Identity, Outcome};
use annals_events::EntryKind;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
};
use std::collections::BTreeMap;

/// Operations that share their syncs. A crash costs at most this much work, and a group's new files take
/// room beside the old ones.
const GROUP_OPS_MAX: usize = 2048;
const GROUP_BYTES_MAX: u64 = 64 << 20;
/// Up to here files and folders are synced one by one: cheaper than a sync of the whole file system, and it
/// does not wait for what other programs write there.
const SYNC_EACH_MAX: usize = 8;

/// Does `ops`, group by group.
pub(super) fn apply(
    disk: &mut FolderDisk,
    ops: &[DiskOp],
    contents: &mut dyn Contents,
) -> Result<Vec<Outcome>, DiskError> {
    if ops.is_empty() {
        return Ok(Vec::new());
    }
    let FolderDisk { folder, next, outstanding, steps } = disk;
    let tmp = folder.state_folder(TMP).map_err(|errno| folder.failed(errno))?;
    let mut group = Group {
        folder,
        tmp: tmp.as_fd(),
        steps,
        next,
        outstanding,
        sync_each: true,
        full: false,
        touched: BTreeMap::new(),
        sync_all: false,
        changed: BTreeMap::new(),
        parked: BTreeMap::new(),
        out: Vec::new(),
    };
    let (mut outcomes, mut rest) = (Vec::with_capacity(ops.len()), ops);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(group_len(rest));
        outcomes.extend(group.run(now, rest, contents)?);
        rest = later;
    }
    group.finish(ops, &mut outcomes)?;
    Ok(outcomes)
}

fn group_len(ops: &[DiskOp]) -> usize {
    let mut bytes = 0_u64;
    let fits = |op: &&DiskOp| {
        if let DiskOp::WriteFile { size, .. } = op {
            bytes = bytes.saturating_add(*size);
        }
        bytes <= GROUP_BYTES_MAX
    };
    ops.iter().take(GROUP_OPS_MAX).take_while(fits).count().max(1)
}

/// A call at work on one of its groups.
pub(super) struct Group<'a> {
    pub(super) folder: &'a Folder,
    /// `.annals/tmp`.
    pub(super) tmp: BorrowedFd<'a>,
    pub(super) steps: &'a mut Steps,
    next: &'a mut u64,
    outstanding: &'a mut Vec<Intent>,
    /// Whether files are synced as they are staged.
    pub(super) sync_each: bool,
    /// The disk is full: what is written from here on would take its last bytes.
    pub(super) full: bool,
    /// Folders whose names changed, to be synced.
    touched: BTreeMap<(u64, u64), OwnedFd>,
    sync_all: bool,
    /// What we ourselves changed about files in this call, by number: as the caller knew it, as it is now.
    changed: BTreeMap<(u64, u64), (Identity, Identity)>,
    parked: BTreeMap<u32, Parked>,
    /// What came out and is as expected: its operation, its name in `.annals/tmp`, and what it was then.
    out: Vec<(usize, String, Identity)>,
}

/// Something that was taken out of the way.
#[derive(Clone, Debug)]
pub(super) struct Parked {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) expect: Identity,
}

impl Group<'_> {
    fn run(
        &mut self,
        ops: &[DiskOp],
        all: &[DiskOp],
        contents: &mut dyn Contents,
    ) -> Result<Vec<Outcome>, DiskError> {
        let names: Vec<String> = ops.iter().map(|_| self.name()).collect();
        self.sync_each = ops.iter().filter(|op| stage::is_write(op)).count() <= SYNC_EACH_MAX;
        let mut staged = Vec::with_capacity(ops.len());
        for (op, name) in ops.iter().zip(&names) {
            let one = stage::stage(self, op, name, contents);
            self.full |= matches!(one, Some(Err(Blocked::Full { .. })));
            staged.push(one);
        }
        let outcomes = self.name_them(ops, all, &names, &mut staged);
        // What was staged and got no name is ours and of no use any more.
        for one in staged.into_iter().flatten().flatten() {
            if matches!(identity_at(self.tmp, &one.name), Ok(Some(it)) if (it.dev, it.ino) == one.number()) {
                let _ = fs::unlinkat(self.tmp, &one.name, AtFlags::empty());
            }
        }
        outcomes
    }

    /// From staged files to names; takes out of `staged` what got one.
    fn name_them(
        &mut self,
        ops: &[DiskOp],
        all: &[DiskOp],
        names: &[String],
        staged: &mut [Option<Result<Staged, Blocked>>],
    ) -> Result<Vec<Outcome>, DiskError> {
        self.reach(|| Step::Staged)?;
        let noted = self.note(ops, all, names, staged)?;
        self.make_durable(ops, staged, noted)?;
        self.reach(|| Step::Durable)?;
        let mut outcomes = Vec::with_capacity(ops.len());
        for (index, (op, name)) in ops.iter().zip(names).enumerate() {
            let outcome = match &staged[index] {
                Some(Err(blocked)) => Err(blocked.clone()),
                Some(Ok(one)) => place::perform(self, index, op, name, Some(one)),
                None => place::perform(self, index, op, name, None),
            };
            outcomes.push(outcome);
            self.reach(|| Step::Tried(op.path().to_owned()))?;
        }
        self.settle()?;
        self.reach(|| Step::Settled)?;
        self.let_go(ops, &mut outcomes)?;
        Ok(outcomes)
    }

    fn reach(&mut self, step: impl FnOnce() -> Step) -> Result<(), DiskError> {
        self.steps.reach(step).map_err(|errno| self.folder.failed(errno))
    }

    fn name(&mut self) -> String {
        *self.next += 1;
        self.next.to_string()
    }

    /// Notes what this group may take into its hands; answers whether there is a note whose name is to be synced.
    fn note(
        &mut self,
        ops: &[DiskOp],
        all: &[DiskOp],
        names: &[String],
        staged: &[Option<Result<Staged, Blocked>>],
    ) -> Result<bool, DiskError> {
        let intents = ops.iter().zip(names).zip(staged).filter_map(|((op, name), staged)| {
            let ours = staged.as_ref().and_then(|one| one.as_ref().ok()).map(Staged::number);
            let (expect, onward) = takes_out(op, all)?;
            let (name, path, holds) = (name.clone(), op.path().to_owned(), place::holds_of(op).copied());
            Some(Intent { name, path, onward, ours, expect, holds })
        });
        let intents: Vec<Intent> = self.outstanding.iter().cloned().chain(intents).collect();
        if intents.is_empty() {
            return Ok(false);
        }
        held::write_note(self.tmp, &intents).map_err(|errno| self.folder.failed(errno))?;
        self.reach(|| Step::Noted)?;
        Ok(true)
    }

    fn make_durable(
        &mut self,
        ops: &[DiskOp],
        staged: &mut [Option<Result<Staged, Blocked>>],
        noted: bool,
    ) -> Result<(), DiskError> {
        let done = match (self.sync_each, noted) {
            (true, false) => Ok(()),
            (true, true) => fs::fsync(self.tmp),
            (false, _) => fs::syncfs(self.tmp),
        };
        match done {
            Ok(()) => Ok(()),
            // Some file systems find out only now. Nothing has a name yet, so nothing happened.
            Err(Errno::NOSPC | Errno::DQUOT) if !noted => {
                self.full = true;
                for (op, one) in ops.iter().zip(staged) {
                    if let Some(Ok(staged)) = one {
                        let _ = fs::unlinkat(self.tmp, &staged.name, AtFlags::empty());
                        *one = Some(Err(Blocked::Full { path: op.path().to_owned() }));
                    }
                }
                Ok(())
            }
            Err(errno) => Err(self.folder.not_durable(errno)),
        }
    }

    /// Makes the names durable.
    fn settle(&mut self) -> Result<(), DiskError> {
        let (touched, sync_all) = (std::mem::take(&mut self.touched), std::mem::take(&mut self.sync_all));
        let done = if sync_all {
            fs::syncfs(self.tmp)
        } else if touched.is_empty() {
            Ok(())
        } else {
            let from = if self.out.is_empty() { Ok(()) } else { fs::fsync(self.tmp) };
            touched.values().try_fold((), |(), folder| fs::fsync(folder)).and(from)
        };
        done.map_err(|errno| self.folder.not_durable(errno))
    }

    /// Removes what came out, if nobody wrote to it since, and tears up the note: durably, for a sweep would put back
    /// what it still found.
    fn let_go(&mut self, ops: &[DiskOp], outcomes: &mut [Outcome]) -> Result<(), DiskError> {
        let out = std::mem::take(&mut self.out);
        let came_out = !out.is_empty();
        for (index, name, then) in out {
            let path = ops[index].path();
            self.reach(|| Step::Proven(path.to_owned()))?;
            match identity_at(self.tmp, &name) {
                Ok(Some(now)) if then.is(&now) => drop(fs::unlinkat(self.tmp, &name, AtFlags::empty())),
                _ => outcomes[index] = Err(self.keep(&name, path, then)),
            }
        }
        if self.outstanding.is_empty() {
            held::drop_note(self.tmp).map_err(|errno| self.folder.failed(errno))?;
        }
        if came_out {
            fs::fsync(self.tmp).map_err(|errno| self.folder.not_durable(errno))?;
        }
        Ok(())
    }

    /// What was parked and never taken up goes back to where it was, and its parking was not done.
    fn finish(&mut self, ops: &[DiskOp], outcomes: &mut [Outcome]) -> Result<(), DiskError> {
        for (slot, parked) in std::mem::take(&mut self.parked) {
            let blocked = place::put_back(self, &parked.name, &parked.path, parked.expect);
            let parking =
                ops.iter().rposition(|op| matches!(op, DiskOp::Park { slot: it, .. } if *it == slot));
            if let Some(index) = parking {
                let found =
                    || scan::look_at(self.folder, &parked.path).ok().flatten().map(|node| node.identity());
                let back = || Blocked::Changed { path: parked.path.clone(), found: found() };
                outcomes[index] = Err(blocked.unwrap_or_else(back));
            }
            self.outstanding.retain(|intent| {
                intent.name != parked.name || !matches!(identity_at(self.tmp, &parked.name), Ok(None))
            });
        }
        self.settle()?;
        if self.outstanding.is_empty() {
            held::drop_note(self.tmp).map_err(|errno| self.folder.failed(errno))?;
        }
        Ok(())
    }

    /// Keeps what lies in `.annals/tmp` as `name` and cannot go back to `path`.
    pub(super) fn keep(&mut self, name: &str, path: &str, expect: Identity) -> Blocked {
        match held::keep_aside(self.folder, self.tmp, name, path) {
            Ok(kept) => Blocked::Kept { path: path.into(), kept },
            Err(errno) => {
                self.stay_noted(name, path, expect);
                Blocked::Other {
                    path: path.into(),
                    why: format!("what it held lies in .annals/tmp/{name}: {errno}"),
                }
            }
        }
    }

    /// Keeps the note until the next sweep: what is in `.annals/tmp` as `name` is not ours.
    pub(super) fn stay_noted(&mut self, name: &str, path: &str, expect: Identity) {
        let (name, path) = (name.to_owned(), path.to_owned());
        self.outstanding.push(Intent { name, path, onward: None, ours: None, expect, holds: None });
    }

    /// `name` in `.annals/tmp` is what operation `index` expected.
    pub(super) fn came_out(&mut self, index: usize, name: &str, now: Identity) {
        self.out.push((index, name.to_owned(), now));
    }

    /// What operation `index` took out after all is still needed: under which name it lies.
    pub(super) fn take_back(&mut self, index: usize) -> Option<String> {
        let at = self.out.iter().position(|(taken, ..)| *taken == index)?;
        Some(self.out.remove(at).1)
    }

    /// A name in `folder` changed.
    pub(super) fn touch(&mut self, folder: OwnedFd) {
        if self.sync_all {
            return;
        }
        match fs::fstat(&folder) {
            Ok(stat) => drop(self.touched.insert((stat.st_dev, stat.st_ino), folder)),
            Err(_) => self.sync_all = true,
        }
        if self.touched.len() > SYNC_EACH_MAX {
            self.touched.clear();
            self.sync_all = true;
        }
    }

    /// Something that is not a folder was changed in place and needs more than its folder's sync.
    pub(super) fn touch_file(&mut self, file: &OwnedFd) -> Result<(), Errno> {
        if self.sync_each && !self.sync_all {
            return fs::fsync(file);
        }
        self.sync_all = true;
        Ok(())
    }

    /// Whether `now` is what the caller expects, our own changes in this call allowed for.
    pub(super) fn is_expected(&self, expect: &Identity, now: &Identity) -> bool {
        let ours = self.changed.get(&(now.dev, now.ino));
        expect.is(now) || ours.is_some_and(|(before, after)| before.is(expect) && after.is(now))
    }

    /// Remembers what our own change made of it.
    pub(super) fn we_changed(&mut self, expect: Identity, now: Identity) {
        self.changed.insert((now.dev, now.ino), (expect, now));
    }

    pub(super) fn park(&mut self, slot: u32, parked: Parked) {
        let Parked { name, path, expect } = parked.clone();
        self.outstanding.push(Intent { name, path, onward: None, ours: None, expect, holds: None });
        self.parked.insert(slot, parked);
    }

    pub(super) fn parked(&self, slot: u32) -> Option<Parked> {
        self.parked.get(&slot).cloned()
    }

    pub(super) fn unpark(&mut self, slot: u32) {
        if let Some(parked) = self.parked.remove(&slot) {
            self.outstanding.retain(|intent| intent.name != parked.name);
        }
    }
}

/// What `op` may take into `.annals/tmp`, and where it may go on to.
fn takes_out(op: &DiskOp, all: &[DiskOp]) -> Option<(Identity, Option<String>)> {
    match op {
        DiskOp::WriteFile { expect: Expect::Is(expect), .. }
        | DiskOp::WriteSymlink { expect: Expect::Is(expect), .. } => Some((*expect, None)),
        DiskOp::Remove { expect, .. } if expect.kind != EntryKind::Folder => Some((*expect, None)),
        DiskOp::Park { slot, expect, .. } => {
            let onward = all.iter().find_map(|later| match later {
                DiskOp::Unpark { slot: taken, path } if taken == slot => Some(path.clone()),
                _ => None,
            });
            Some((*expect, onward))
        }
        _ => None,
    }
}

/// Done, with `node` at its path.
pub(super) fn done(node: Option<annals_engine::disk::Node>) -> Outcome {
    Ok(Done { node, other: None })
}
