//! A look at everything for where it is not what is known: each folder is compared as it is listed, and nothing of what
//! was found is held.
//!
//! What must always hold: as for [`differing`](annals_engine::observed::differing), which says the same of a scan. What
//! changes while it is being looked at may be seen at one of its ends only: nothing is taken for gone that is not seen
//! here. Left out: what became of what is different.

use super::{
    folder::{Folder, STATE},
    ignoring::Judge,
    node::Told,
    scan::{Task, in_parallel, join},
};
use annals_engine::{
    disk::{DiskError, Node},
    observed::{Glimpse, SyncedTree},
};
use annals_events::{EntryKind, path::is_reserved};
use rustix::{
    fd::OwnedFd,
    fs::{self, RawDir},
    io::Errno,
};
use std::{collections::BTreeSet, ffi::CStr, mem::MaybeUninit};

/// What was found so far.
#[derive(Default)]
struct Found {
    /// Folders in which something is different.
    folders: BTreeSet<String>,
    /// A known folder is not where it was.
    moved: bool,
}

/// In which folders something is different from what is `known`; none where only a scan tells.
pub(super) fn survey(folder: &Folder, known: &SyncedTree) -> Result<Option<BTreeSet<String>>, DiskError> {
    let top = Task { path: String::new(), must_exist: true, deep: true };
    let found = in_parallel(vec![top], |task, buffer, found: &mut Found| {
        let mut below = Vec::new();
        match compare(folder, known, &task.path, buffer, found, &mut below) {
            Err(errno) if task.must_exist => (below, Some(errno)),
            done => {
                found.moved |= done.is_err();
                (below, None)
            }
        }
    });
    let found = found.map_err(|errno| folder.failed(errno))?;
    if found.iter().any(|part| part.moved) {
        return Ok(None);
    }
    Ok(Some(found.into_iter().flat_map(|part| part.folders).collect()))
}

/// One thing that is known to be in a folder.
struct Expected {
    name: String,
    glimpse: Glimpse,
    met: bool,
}

fn compare(
    folder: &Folder,
    known: &SyncedTree,
    path: &str,
    buffer: &mut [MaybeUninit<u8>],
    found: &mut Found,
    below: &mut Vec<String>,
) -> Result<(), Errno> {
    let opened = folder.folder(path)?;
    if fs::fstat(&opened)?.st_dev != folder.dev() {
        return Err(Errno::XDEV);
    }
    let mut expected = Vec::new();
    known.glimpses(path, |name, glimpse| {
        expected.push(Expected { name: name.to_owned(), glimpse, met: false });
    });
    let judge = folder.ignoring.judge(path, &opened);
    let (mut names, mut same) = (RawDir::new(&opened, buffer), true);
    while let Some(entry) = names.next() {
        let entry = entry?;
        let name = entry.file_name();
        let is_own = path.is_empty() && name.to_bytes() == STATE.as_bytes();
        if !is_own && !matches!(name.to_bytes(), b"." | b"..") {
            same &= is_as_known(&opened, path, name, &mut expected, &judge, below);
        }
    }
    let missing = || expected.iter().filter(|expected| !expected.met);
    found.moved |= missing().any(|expected| expected.glimpse.identity.kind == EntryKind::Folder);
    if !same || missing().next().is_some() {
        found.folders.insert(path.to_owned());
    }
    Ok(())
}

/// Whether what has this name is what is known to, or is new and ignored. A known folder is to be compared as well.
fn is_as_known(
    opened: &OwnedFd,
    path: &str,
    name: &CStr,
    expected: &mut [Expected],
    judge: &Judge<'_>,
    below: &mut Vec<String>,
) -> bool {
    let Ok(text) = name.to_str() else { return false };
    if path.is_empty() && is_reserved(text) {
        return false;
    }
    let node: Node = match Told::at(opened, name) {
        Err(Errno::NOENT) => return true,
        Err(_) => return false,
        Ok(found) => match found.node() {
            Some(node) => node,
            None => return false,
        },
    };
    match expected.binary_search_by(|expected| expected.name.as_str().cmp(text)) {
        Ok(at) if expected[at].glimpse.is_still(&node) => {
            expected[at].met = true;
            if node.kind == EntryKind::Folder {
                below.push(join(path, name));
            }
            true
        }
        // Another thing under that name is met as well, unless a folder went from here.
        Ok(at) => {
            expected[at].met = expected[at].glimpse.identity.kind != EntryKind::Folder;
            false
        }
        Err(_) => judge.ignored(&join(path, name), node.kind == EntryKind::Folder).is_some(),
    }
}
