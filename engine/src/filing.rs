//! Files as such, by path: what a path means in a namespace, and which events put a file there or remove it.
//!
//! For those who have no linked folder: what they do becomes the events that a device would have said, seeing all
//! there is. What must always hold: a file is replaced by naming the version that the path showed, so that nobody's
//! other version is lost; what is removed is what the path showed, and nothing in it that is in conflict. Left out:
//! contents and who may do what.

use crate::{author::RANGES_MAX, namespace::Issued, trash::keeps_alive};
use annals_events::{
    Body, Content, DeviceId, Dot, DotSet, EVENTS_PER_BATCH_MAX, EntryId, EntryKind, Fact, Name,
    path::{NameError, is_reserved},
};
use annals_projections::{Projections, Shown};

/// Why nothing can be done with a path as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilingError {
    /// Nothing is shown there.
    #[error("there is no {path:?}")]
    Missing {
        /// Which.
        path: String,
    },
    /// A folder or a symlink.
    #[error("{path:?} is {what}, not a file")]
    NotAFile {
        /// Which.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// No name.
    #[error("{path:?} cannot be a file: {why}")]
    Name {
        /// Which path.
        path: String,
        /// What is wrong with a name in it.
        why: NameError,
    },
    /// A name that is kept for devices' own state.
    #[error("nothing at the top may be called {name:?}")]
    Reserved {
        /// Which.
        name: String,
    },
    /// What would be removed has several heads, or holds a file that does.
    #[error("{path:?} is in conflict")]
    Conflict {
        /// Which.
        path: String,
    },
    /// More folders would have to be made for it than one batch can say.
    #[error("{path:?} lies too deep: at most {} folders can be made at once", EVENTS_PER_BATCH_MAX - 1)]
    TooDeep {
        /// Which.
        path: String,
    },
    /// More than one event removes.
    #[error("{path:?} holds too much to be removed at once")]
    TooMuch {
        /// Which.
        path: String,
    },
}

/// What is shown under a path: the namespace itself under the empty one.
///
/// # Errors
/// [`FilingError::Missing`].
pub fn find(log: &Projections, path: &str) -> Result<Shown, FilingError> {
    let mut at = top();
    for name in names_of(path) {
        let inside = if at.kind == EntryKind::Folder { log.list(&at.entries) } else { Vec::new() };
        let found = inside.into_iter().find(|shown| shown.name == name);
        at = found.ok_or_else(|| FilingError::Missing { path: path.into() })?;
    }
    Ok(at)
}

/// The file that is shown under a path, and its version.
///
/// # Errors
/// [`FilingError`].
pub fn find_file(log: &Projections, path: &str) -> Result<(EntryId, Dot), FilingError> {
    let shown = find(log, path)?;
    match (shown.kind, shown.heads.first()) {
        (EntryKind::File, Some(head)) => Ok((shown.entries[0], *head)),
        (kind, _) => Err(not_a_file(path, kind)),
    }
}

/// What puts `content` under `path`, said by `author`, whose next event is its `next`th: a version of the file that is
/// there, or a new file in folders that are made at need. Bodies are not salted yet. Nothing where the file holds that
/// already.
///
/// # Errors
/// [`FilingError`].
pub fn putting(
    log: &Projections,
    path: &str,
    content: Content,
    mtime: i64,
    author: DeviceId,
    next: u64,
) -> Result<Vec<Issued>, FilingError> {
    match find_file(log, path) {
        Ok((entry, head)) => {
            let same = log.version(head).is_some_and(|version| version.content == Some(content.id));
            let fact = Fact::VersionUploaded { entry, parents: DotSet::from_iter([head]) };
            let body = Body { content: Some(content), mtime: Some(mtime), ..Body::default() };
            Ok(if same { Vec::new() } else { vec![Issued { fact, body: Some(body) }] })
        }
        Err(FilingError::Missing { .. }) => creating(log, path, content, mtime, author, next),
        Err(error) => Err(error),
    }
}

fn creating(
    log: &Projections,
    path: &str,
    content: Content,
    mtime: i64,
    author: DeviceId,
    next: u64,
) -> Result<Vec<Issued>, FilingError> {
    let named = |name: &str| Name::new(name).map_err(|why| FilingError::Name { path: path.into(), why });
    let names: Vec<&str> = names_of(path).collect();
    let (file, folders) = names.split_last().ok_or_else(|| not_a_file(path, EntryKind::Folder))?;
    if is_reserved(names[0]) {
        return Err(FilingError::Reserved { name: names[0].into() });
    }
    let (mut parent, mut depth) = (EntryId::ROOT, 0);
    let mut at = top();
    for name in folders {
        let Some(found) = log.list(&at.entries).into_iter().find(|shown| shown.name == **name) else { break };
        if found.kind != EntryKind::Folder {
            return Err(not_a_file(path, found.kind));
        }
        (parent, depth) = (found.entries[0], depth + 1);
        at = found;
    }
    if folders.len() - depth >= EVENTS_PER_BATCH_MAX {
        return Err(FilingError::TooDeep { path: path.into() });
    }
    let mut issued = Vec::new();
    for name in &folders[depth..] {
        let fact = Fact::EntryCreated { parent, entry_kind: EntryKind::Folder };
        let body = Body { name: Some(named(name)?), ..Body::default() };
        parent = EntryId(Dot::new(author, next + issued.len() as u64));
        issued.push(Issued { fact, body: Some(body) });
    }
    let fact = Fact::EntryCreated { parent, entry_kind: EntryKind::File };
    let (name, content) = (Some(named(file)?), Some(content));
    let body = Body { name, content, mtime: Some(mtime), ..Body::default() };
    issued.push(Issued { fact, body: Some(body) });
    Ok(issued)
}

/// What removes the file or the folder under `path`.
///
/// # Errors
/// [`FilingError`].
pub fn removing(log: &Projections, path: &str) -> Result<Issued, FilingError> {
    let top = find(log, path)?;
    let (entries, mut hides): (DotSet, DotSet) = (
        top.entries.iter().filter(|entry| **entry != EntryId::ROOT).map(|entry| entry.0).collect(),
        DotSet::new(),
    );
    if entries.is_empty() {
        return Err(not_a_file(path, EntryKind::Folder));
    }
    let mut todo = vec![top];
    while let Some(shown) = todo.pop() {
        for &entry in &shown.entries {
            if log.human_heads(entry).len() > 1 {
                return Err(FilingError::Conflict { path: path.into() });
            }
            hides.extend(keeps_alive(log, entry));
        }
        if shown.kind == EntryKind::Folder {
            todo.extend(log.list(&shown.entries));
        }
        if hides.range_count() > RANGES_MAX {
            return Err(FilingError::TooMuch { path: path.into() });
        }
    }
    Ok(Issued { fact: Fact::EntryDeleted { entries, hides }, body: None })
}

fn top() -> Shown {
    let (name, entries) = (String::new(), vec![EntryId::ROOT]);
    Shown { name, entries, kind: EntryKind::Folder, heads: Vec::new(), copy: false }
}

fn names_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

fn not_a_file(path: &str, kind: EntryKind) -> FilingError {
    let what = match kind {
        EntryKind::Folder => "a folder",
        EntryKind::Symlink => "a symlink",
        EntryKind::File => "in the way",
    };
    FilingError::NotAFile { path: path.into(), what }
}
