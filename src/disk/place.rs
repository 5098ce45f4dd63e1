//! One change of names, and what it proves.
//!
//! No check beats a race: between a look and the change that follows anybody may write. So nothing is
//! replaced or removed by name. It is exchanged or taken out, whole, and looked at when it is in our hands;
//! what is not what was expected goes back, and what cannot go back is kept aside (I10).

use super::{
    Step,
    apply::{Group, Parked, done},
    calls::{self as fs, AtFlags, Mode, OFlags, RenameFlags},
    folder::{Place, blocked, check, rename_into_free},
    node::{Told, identity_at, node_at, plain_node_at, stat_at},
    proof::still_holds,
    stage::{Staged, fit, is_replaceable, mode_like, modified_at, old_file},
};
use annals_engine::disk::{Blocked, DiskOp, Done, Expect, Identity, Node, Outcome};
use annals_events::{ContentId, EntryKind};
use rustix::{fd::AsFd, io::Errno};

/// Does `op`, the `index`-th of its group, whose name in `.annals/tmp` is `name`.
pub(super) fn perform(
    group: &mut Group<'_>,
    index: usize,
    op: &DiskOp,
    name: &str,
    staged: Option<&Staged>,
) -> Outcome {
    let path = op.path();
    check(path)?;
    let met = |errno| blocked(path, errno);
    match op {
        DiskOp::MakeFolder { .. } => make_folder(group, path),
        DiskOp::WriteFile { expect, .. } | DiskOp::WriteSymlink { expect, .. } => {
            let staged = staged
                .ok_or_else(|| Blocked::Other { path: path.into(), why: "it was not staged".into() })?;
            match expect {
                Expect::Absent => put(group, path, staged),
                Expect::Is(expect) => replace(group, index, path, staged, (expect, holds_of(op))),
            }
        }
        DiskOp::SetAttributes { mtime_ns, executable, expect, .. } => {
            set_attributes(group, path, *mtime_ns, *executable, expect)
        }
        DiskOp::Rename { from, to, expect } => {
            check(from)?;
            rename(group, from, to, expect)
        }
        DiskOp::Exchange { one, other, expect_one, expect_other } => {
            check(other)?;
            exchange(group, (one, expect_one), (other, expect_other))
        }
        DiskOp::Park { slot, expect, .. } => park(group, path, *slot, name, expect),
        DiskOp::Unpark { slot, .. } => unpark(group, *slot, path),
        DiskOp::Remove { expect, .. } if expect.kind == EntryKind::Folder => {
            let place = match group.folder.place(path) {
                Err(Errno::NOENT) => return done(None),
                answer => answer.map_err(met)?,
            };
            remove_folder(group, path, place, expect)
        }
        DiskOp::Remove { expect, .. } => remove(group, index, path, name, (expect, holds_of(op))),
    }
}

/// What has to come out: by what it is known, and what it holds where that does not vouch for it.
type Known<'a> = (&'a Identity, Option<&'a ContentId>);

/// What a file is to hold that `op` takes out of the folder for good.
pub(super) fn holds_of(op: &DiskOp) -> Option<&ContentId> {
    match op {
        DiskOp::WriteFile { holds, .. }
        | DiskOp::WriteSymlink { holds, .. }
        | DiskOp::Remove { holds, .. } => holds.as_ref(),
        _ => None,
    }
}

fn make_folder(group: &mut Group<'_>, path: &str) -> Outcome {
    let met = |errno| blocked(path, errno);
    let place = group.folder.place(path).map_err(met)?;
    match fs::mkdirat(&place.folder, place.name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(met(errno)),
    }
    let node = node_at(place.folder.as_fd(), place.name).map_err(met)?;
    if node.as_ref().is_none_or(|node| node.kind != EntryKind::Folder) {
        return Err(Blocked::Changed { path: path.into(), found: node.map(|node| node.identity()) });
    }
    group.touch(place.folder);
    done(node)
}

/// A new file or symlink, where nothing is.
fn put(group: &mut Group<'_>, path: &str, staged: &Staged) -> Outcome {
    let met = |errno| blocked(path, errno);
    let place = group.folder.place(path).map_err(met)?;
    group.steps.reach(|| Step::Checked(path.into())).map_err(met)?;
    match rename_into_free((group.tmp, &staged.name), (place.folder.as_fd(), place.name), false) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(changed(path, &place)),
        Err(errno) => return Err(met(errno)),
    }
    let node = node_of_ours(&place, staged);
    group.touch(place.folder);
    done(Some(node))
}

/// What we put at `place`. If somebody replaced it already, it is told as it was: the next scan sees theirs.
fn node_of_ours(place: &Place<'_>, staged: &Staged) -> Node {
    let found = plain_node_at(place.folder.as_fd(), place.name).ok().flatten();
    let ours = found.filter(|node| (node.dev, node.ino) == staged.number());
    // Not what is there, but what we wrote, the change time aside: a write since then must show as a change.
    let ctime_ns = ours.as_ref().filter(|node| staged.node.identity().is_but_moved(&node.identity()));
    Node { ctime_ns: ctime_ns.map_or(staged.node.ctime_ns, |node| node.ctime_ns), ..staged.node.clone() }
}

fn changed(path: &str, place: &Place<'_>) -> Blocked {
    Blocked::Changed {
        path: path.into(),
        found: identity_at(place.folder.as_fd(), place.name).ok().flatten(),
    }
}

/// A place at which `expect` still is.
fn expected<'p>(group: &mut Group<'_>, path: &'p str, expect: &Identity) -> Result<Place<'p>, Blocked> {
    let met = |errno| blocked(path, errno);
    let place = match group.folder.place(path) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
            return Err(Blocked::Changed { path: path.into(), found: None });
        }
        answer => answer.map_err(met)?,
    };
    let found = identity_at(place.folder.as_fd(), place.name).map_err(met)?;
    if !found.is_some_and(|now| group.is_expected(expect, &now)) {
        return Err(Blocked::Changed { path: path.into(), found });
    }
    group.steps.reach(|| Step::Checked(path.into())).map_err(met)?;
    Ok(place)
}

/// A new file or symlink in the place of an old one.
fn replace(group: &mut Group<'_>, index: usize, path: &str, staged: &Staged, known: Known<'_>) -> Outcome {
    let (expect, holds) = known;
    let met = |errno| blocked(path, errno);
    if !is_replaceable(expect.kind) {
        return Err(Blocked::Other { path: path.into(), why: "a file does not replace a folder".into() });
    }
    fit_late(group, path, staged).map_err(met)?;
    let place = expected(group, path, expect)?;
    let (inside, here) = ((group.tmp, staged.name.as_str()), (place.folder.as_fd(), place.name));
    let reached = group.steps.reach(|| Step::Exchange(path.into()));
    match reached.and_then(|()| fs::renameat_with(inside.0, inside.1, here.0, here.1, RenameFlags::EXCHANGE))
    {
        Ok(()) => {}
        Err(Errno::NOENT) => return Err(changed(path, &place)),
        Err(Errno::INVAL | Errno::NOSYS) => return replace_in_two(group, index, path, staged, known),
        Err(errno) => return Err(met(errno)),
    }
    let reached = group.steps.reach(|| Step::Out(path.into()));
    let out = reached.and_then(|()| identity_at(group.tmp, &staged.name));
    if let Ok(Some(out)) = out
        && is_still(group, expect, &out)
        && still_holds(group.tmp, &staged.name, holds)
    {
        group.came_out(index, &staged.name, out);
        let node = node_of_ours(&place, staged);
        group.touch(place.folder);
        return done(Some(node));
    }
    let blocked = exchange_back(group, path, &place, staged, *expect);
    group.touch(place.folder);
    Err(blocked)
}

/// Whether what came out is what was expected; that its name changed set its change time.
fn is_still(group: &Group<'_>, expect: &Identity, out: &Identity) -> bool {
    expect.is_but_moved(out) || group.is_expected(expect, out)
}

/// Something else came out: it goes back to `path`, and our file comes out again.
fn exchange_back(
    group: &mut Group<'_>,
    path: &str,
    place: &Place<'_>,
    staged: &Staged,
    expect: Identity,
) -> Blocked {
    let (inside, here) = ((group.tmp, staged.name.as_str()), (place.folder.as_fd(), place.name));
    // Twice: should yet another file have come to the path meanwhile, it is the newer one and returns there.
    for _ in 0..2 {
        match fs::renameat_with(inside.0, inside.1, here.0, here.1, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::NOENT) => {
                put_back(group, &staged.name, path, expect);
                return changed(path, place);
            }
            Err(_) => break,
        }
        match identity_at(group.tmp, &staged.name) {
            Ok(Some(out)) if (out.dev, out.ino) == staged.number() => return changed(path, place),
            _ => {}
        }
    }
    group.keep(&staged.name, path, expect)
}

/// Where the file system cannot exchange: the old file is taken out, proven, and only then the new one put in.
fn replace_in_two(
    group: &mut Group<'_>,
    index: usize,
    path: &str,
    staged: &Staged,
    known: Known<'_>,
) -> Outcome {
    // Its name in `.annals/tmp` is noted for what comes out, so our own file makes room.
    let aside = format!("{}.new", staged.name);
    let met = |errno| blocked(path, errno);
    fs::renameat(group.tmp, &staged.name, group.tmp, &aside).map_err(met)?;
    let moved = Staged { name: aside, node: staged.node.clone(), mode: staged.mode };
    let outcome = remove(group, index, path, &staged.name, known).and_then(|_| put(group, path, &moved));
    if outcome.is_err() {
        let _ = fs::unlinkat(group.tmp, &moved.name, AtFlags::empty());
        // Should the name be taken by now, it is done with: it was proven, and somebody replaced it.
        if is_missing(group, path)
            && let Some(out) = group.take_back(index)
        {
            put_back(group, &out, path, *known.0);
        }
    }
    outcome
}

/// The file to be replaced has other permissions than when the new one was staged.
fn fit_late(group: &Group<'_>, path: &str, staged: &Staged) -> Result<(), Errno> {
    if staged.node.kind != EntryKind::File {
        return Ok(());
    }
    let Some(old) = old_file(group.folder, path) else { return Ok(()) };
    if mode_like(&old, staged.node.executable) == staged.mode & (Mode::RWXU | Mode::RWXG | Mode::RWXO) {
        return Ok(());
    }
    let file = fs::openat(
        group.tmp,
        &staged.name,
        OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    fit(file.as_fd(), &old, staged.node.executable)?;
    fs::fsync(&file)
}

fn remove(group: &mut Group<'_>, index: usize, path: &str, name: &str, known: Known<'_>) -> Outcome {
    let place = match expected(group, path, known.0) {
        Err(Blocked::Changed { found: None, .. }) if is_missing(group, path) => return done(None),
        answer => answer?,
    };
    match take_out(group, path, &place, name, known)? {
        None => return done(None),
        Some(out) => group.came_out(index, name, out),
    }
    group.touch(place.folder);
    done(None)
}

fn is_missing(group: &Group<'_>, path: &str) -> bool {
    match group.folder.place(path).and_then(|place| stat_at(place.folder.as_fd(), place.name)) {
        Ok(found) => found.is_none(),
        Err(errno) => errno == Errno::NOENT,
    }
}

/// Takes what is at `place` into `.annals/tmp`, if it is what was expected; none if it is gone.
fn take_out(
    group: &mut Group<'_>,
    path: &str,
    place: &Place<'_>,
    name: &str,
    (expect, holds): Known<'_>,
) -> Result<Option<Identity>, Blocked> {
    let is_folder = expect.kind == EntryKind::Folder;
    match rename_into_free((place.folder.as_fd(), place.name), (group.tmp, name), is_folder) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(blocked(path, errno)),
    }
    let reached = group.steps.reach(|| Step::Out(path.into()));
    match reached.and_then(|()| identity_at(group.tmp, name)) {
        Ok(Some(out)) if is_still(group, expect, &out) && still_holds(group.tmp, name, holds) => {
            Ok(Some(out))
        }
        _ => Err(put_back(group, name, path, *expect).unwrap_or_else(|| changed(path, place))),
    }
}

/// Puts what lies in `.annals/tmp` as `name` back to `path`; answers if it had to be kept elsewhere.
pub(super) fn put_back(group: &mut Group<'_>, name: &str, path: &str, expect: Identity) -> Option<Blocked> {
    let is_folder =
        identity_at(group.tmp, name).ok().flatten().is_some_and(|it| it.kind == EntryKind::Folder);
    let back = group.folder.place(path).and_then(|place| {
        rename_into_free((group.tmp, name), (place.folder.as_fd(), place.name), is_folder)?;
        group.touch(place.folder);
        Ok(())
    });
    back.is_err().then(|| group.keep(name, path, expect))
}

/// A folder goes if it is empty. Should another empty one have taken its name, nothing is lost with it.
fn remove_folder(group: &mut Group<'_>, path: &str, place: Place<'_>, expect: &Identity) -> Outcome {
    let met = |errno| blocked(path, errno);
    match identity_at(place.folder.as_fd(), place.name).map_err(met)? {
        None if is_missing(group, path) => return done(None),
        Some(now) if expect.is(&now) => {}
        found => return Err(Blocked::Changed { path: path.into(), found }),
    }
    match fs::unlinkat(&place.folder, place.name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(Errno::EXIST | Errno::NOTEMPTY) => return Err(Blocked::NotEmpty { path: path.into() }),
        Err(Errno::NOTDIR) => return Err(changed(path, &place)),
        Err(errno) => return Err(met(errno)),
    }
    group.touch(place.folder);
    done(None)
}

fn rename(group: &mut Group<'_>, from: &str, to: &str, expect: &Identity) -> Outcome {
    let there = group.folder.place(to).map_err(|errno| blocked(to, errno))?;
    let here = expected(group, from, expect)?;
    let is_folder = expect.kind == EntryKind::Folder;
    let (source, target) = ((here.folder.as_fd(), here.name), (there.folder.as_fd(), there.name));
    match rename_into_free(source, target, is_folder) {
        Ok(()) => {}
        Err(Errno::EXIST | Errno::NOTEMPTY) => return Err(changed(to, &there)),
        Err(Errno::NOENT) => return Err(changed(from, &here)),
        Err(Errno::INVAL) if to.starts_with(&format!("{from}/")) => {
            return Err(Blocked::Other { path: to.into(), why: "a folder cannot go into itself".into() });
        }
        Err(errno) => return Err(blocked(to, errno)),
    }
    let reached = group.steps.reach(|| Step::Out(from.into()));
    let node = reached.and_then(|()| node_at(there.folder.as_fd(), there.name));
    let outcome = match node {
        Ok(Some(node)) if is_still(group, expect, &node.identity()) => {
            group.we_changed(*expect, node.identity());
            done(Some(node))
        }
        // A local change is in it: it goes back under the name that its author knows, or stays if that is taken.
        _ => {
            let _ = rename_into_free(target, source, is_folder);
            Err(changed(from, &here))
        }
    };
    group.touch(here.folder);
    group.touch(there.folder);
    outcome
}

fn exchange(group: &mut Group<'_>, one: (&str, &Identity), other: (&str, &Identity)) -> Outcome {
    let here = expected(group, one.0, one.1)?;
    let there = expected(group, other.0, other.1)?;
    let swap =
        || fs::renameat_with(&here.folder, here.name, &there.folder, there.name, RenameFlags::EXCHANGE);
    swap().map_err(|errno| match errno {
        Errno::INVAL | Errno::NOSYS => {
            Blocked::Other { path: one.0.into(), why: "the two cannot change places here".into() }
        }
        errno => blocked(one.0, errno),
    })?;
    let reached = group.steps.reach(|| Step::Out(one.0.into()));
    let nodes = reached.and_then(|()| {
        Ok((node_at(here.folder.as_fd(), here.name)?, node_at(there.folder.as_fd(), there.name)?))
    });
    let outcome = match nodes {
        Ok((Some(at_one), Some(at_other)))
            if is_still(group, other.1, &at_one.identity())
                && is_still(group, one.1, &at_other.identity()) =>
        {
            group.we_changed(*other.1, at_one.identity());
            group.we_changed(*one.1, at_other.identity());
            Ok(Done { node: Some(at_one), other: Some(at_other) })
        }
        _ => {
            let _ = swap();
            Err(changed(one.0, &here))
        }
    };
    group.touch(here.folder);
    group.touch(there.folder);
    outcome
}

fn park(group: &mut Group<'_>, path: &str, slot: u32, name: &str, expect: &Identity) -> Outcome {
    if group.parked(slot).is_some() {
        return Err(Blocked::Other {
            path: path.into(),
            why: format!("something is parked as {slot} already"),
        });
    }
    let place = expected(group, path, expect)?;
    let Some(out) = take_out(group, path, &place, name, (expect, None))? else {
        return Err(changed(path, &place));
    };
    group.we_changed(*expect, out);
    group.park(slot, Parked { name: name.to_owned(), path: path.to_owned(), expect: *expect });
    group.touch(place.folder);
    done(None)
}

fn unpark(group: &mut Group<'_>, slot: u32, path: &str) -> Outcome {
    let met = |errno| blocked(path, errno);
    let Some(parked) = group.parked(slot) else {
        // What was to be parked changed, and stayed: this follows from it, and is no fault of its own.
        return Err(Blocked::Changed { path: path.into(), found: None });
    };
    let place = group.folder.place(path).map_err(met)?;
    let is_folder = parked.expect.kind == EntryKind::Folder;
    match rename_into_free((group.tmp, &parked.name), (place.folder.as_fd(), place.name), is_folder) {
        Ok(()) => {}
        Err(Errno::EXIST | Errno::NOTEMPTY) => return Err(changed(path, &place)),
        Err(errno) => return Err(met(errno)),
    }
    group.unpark(slot);
    let node = node_at(place.folder.as_fd(), place.name).map_err(met)?;
    if let Some(node) = &node {
        group.we_changed(parked.expect, node.identity());
    }
    group.touch(place.folder);
    done(node)
}

fn set_attributes(
    group: &mut Group<'_>,
    path: &str,
    mtime_ns: Option<i64>,
    executable: Option<bool>,
    expect: &Identity,
) -> Outcome {
    let met = |errno| blocked(path, errno);
    if expect.kind != EntryKind::File {
        return Err(Blocked::Other {
            path: path.into(),
            why: "only files have attributes that are synced".into(),
        });
    }
    let place = expected(group, path, expect)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = fs::openat(&place.folder, place.name, flags, Mode::empty()).map_err(met)?;
    let stat = fs::fstat(&file).map_err(met)?;
    let now = || Told::open(&file).map(|found| found.node()).ok().flatten();
    if !now().is_some_and(|now| group.is_expected(expect, &now.identity())) {
        return Err(changed(path, &place));
    }
    if let Some(executable) = executable {
        fs::fchmod(&file, mode_like(&stat, executable)).map_err(met)?;
    }
    if let Some(mtime_ns) = mtime_ns {
        fs::futimens(&file, &modified_at(mtime_ns)).map_err(met)?;
    }
    group.touch_file(&file).map_err(met)?;
    let mut node = now().ok_or_else(|| met(Errno::IO))?;
    let written = node.size != expect.size || mtime_ns.is_none() && node.mtime_ns != expect.mtime_ns;
    if written {
        return Err(Blocked::Changed { path: path.into(), found: Some(node.identity()) });
    }
    group.we_changed(*expect, node.identity());
    if mtime_ns.is_some() {
        // A write between our look and our setting the time left no trace: let the next scan read the file.
        node.ctime_ns = i64::MIN;
    }
    done(Some(node))
}
