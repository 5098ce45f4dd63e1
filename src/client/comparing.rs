//! What is different between two states of a file or folder: of the log, then or now, and of what lies on the disk.
//!
//! What must always hold: nothing is changed by asking, and files are told apart by what they hold. What moved is told
//! by identity: the entry's in the log, the inode's on the disk.

use super::{ClientError, Folder, When, past::Then};
use annals_engine::{
    disk::Disk as _,
    observed::{LocalTree, RemoteTree, name, parent},
    round,
};
use annals_events::{Content, ContentId, Dot, EntryId, EntryKind};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

/// Largest file of which the text is compared.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// One of two states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// What lies on the disk.
    Folder,
    /// What the log says, now, then, or of one version.
    Log(When),
}

/// What is different at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// It is there only afterwards.
    Added,
    /// It was there only before.
    Removed,
    /// It was elsewhere before.
    Moved,
    /// It holds something else, or is something else.
    Changed,
    /// It may be executed, or may not any more.
    Mode,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Where it is afterwards; where it was, of what is gone.
    pub path: String,
    /// What.
    pub kind: DifferenceKind,
    /// Where it was, of what moved.
    pub from: Option<String>,
    /// Whether it is a folder.
    pub folder: bool,
    /// How many bytes a file held.
    pub bytes_before: Option<u64>,
    /// How many it holds.
    pub bytes_after: Option<u64>,
}

/// What stands at a path.
#[derive(Clone, Debug)]
struct Thing {
    kind: EntryKind,
    entry: Option<EntryId>,
    head: Option<Dot>,
    content: Option<ContentId>,
    bytes: u64,
    executable: bool,
    target: Option<Vec<u8>>,
}

type Things = BTreeMap<String, Thing>;

/// One state of a file.
#[derive(Clone, Debug)]
pub struct FileState {
    /// What it is called: a version, or the folder.
    pub label: String,
    /// How many bytes.
    pub bytes: u64,
    /// What it holds, if that is text and not too much.
    pub text: Option<String>,
    /// Everything that it holds, as far as that is known without reading it.
    content: Option<Content>,
    is_nothing: bool,
}

impl FileState {
    fn nothing() -> Self {
        Self {
            label: "/dev/null".into(),
            bytes: 0,
            text: Some(String::new()),
            content: None,
            is_nothing: true,
        }
    }
}

/// A side, as it is looked at.
enum Seen {
    Folder,
    Now,
    Then(Box<Then>),
    Version(String),
}

/// What a comparison found.
#[derive(Clone, Debug)]
pub enum Compared {
    /// Of a folder: each difference in it.
    Folder(Vec<Difference>),
    /// Of a file: both states.
    File {
        /// Before and after.
        states: Box<[FileState; 2]>,
        /// Whether both hold the same.
        same: bool,
    },
}

impl Folder {
    /// What is different at `path`, and below if it is a folder on either side.
    ///
    /// # Errors
    /// [`ClientError::NotAFile`] where a version of a folder is asked for; [`ClientError::NoSuchVersion`],
    /// [`ClientError::NotYet`] where nothing was there on either side; [`ClientError::Forgotten`],
    /// [`ClientError::Transport`] where a content has to be fetched and cannot be; [`ClientError::Disk`].
    pub fn compare(&mut self, path: &str, from: &Side, to: &Side) -> Result<Compared, ClientError> {
        let (from, to) = (self.seen(from)?, self.seen(to)?);
        if self.is_folder(path, &from) || self.is_folder(path, &to) {
            return Ok(Compared::Folder(self.differences_between(path, &from, &to)?));
        }
        let (before, after) = (self.file_state(path, &from)?, self.file_state(path, &to)?);
        if before.is_nothing && after.is_nothing {
            return Err(ClientError::NotYet { path: path.into() });
        }
        let same = self.is_same(path, &before, &after);
        Ok(Compared::File { states: Box::new([before, after]), same })
    }

    fn seen(&self, side: &Side) -> Result<Seen, ClientError> {
        Ok(match side {
            Side::Folder => Seen::Folder,
            Side::Log(When::Now) => Seen::Now,
            Side::Log(When::At(ms)) => Seen::Then(Box::new(self.then(*ms)?)),
            Side::Log(When::Version(named)) => Seen::Version(named.clone()),
        })
    }

    /// Whether `path` is a folder on that side.
    fn is_folder(&mut self, path: &str, seen: &Seen) -> bool {
        let kind = match seen {
            _ if path.is_empty() => Some(EntryKind::Folder),
            Seen::Folder => self.disk.look(path).ok().flatten().map(|node| node.kind),
            Seen::Now | Seen::Version(_) => self.replica.remote().nodes.get(path).map(|node| node.kind),
            Seen::Then(then) => then.shown.nodes.get(path).map(|node| node.kind),
        };
        kind == Some(EntryKind::Folder)
    }

    fn differences_between(
        &mut self,
        path: &str,
        from: &Seen,
        to: &Seen,
    ) -> Result<Vec<Difference>, ClientError> {
        let mut before = self.things(path, from)?;
        let mut after = self.things(path, to)?;
        if matches!(from, Seen::Folder) {
            self.read_what_differs(&mut before, &after)?;
        }
        if matches!(to, Seen::Folder) {
            self.read_what_differs(&mut after, &before)?;
        }
        Ok(differences(&before, &after))
    }

    fn things(&mut self, at: &str, seen: &Seen) -> Result<Things, ClientError> {
        let below = format!("{at}/");
        let is_meant = |path: &str| at.is_empty() || path == at || path.starts_with(&below);
        let mut things = match seen {
            Seen::Folder => self.things_on_disk()?,
            Seen::Now => things_in(self.replica.remote()),
            Seen::Then(then) => things_in(&then.shown),
            Seen::Version(_) => {
                return Err(ClientError::NotAFile { path: at.into(), what: "a folder" });
            }
        };
        things.retain(|path, _| is_meant(path));
        Ok(things)
    }

    fn things_on_disk(&mut self) -> Result<Things, ClientError> {
        let scan = round::scan(&mut self.disk, &mut self.replica)?;
        let synced = self.replica.synced();
        let (local, _) = LocalTree::of(scan, synced);
        let by_inode: BTreeMap<(u64, u64), EntryId> =
            synced.iter().map(|(_, node)| ((node.disk.dev, node.disk.ino), node.entry())).collect();
        let thing = |(path, local): (String, annals_engine::observed::LocalNode)| {
            let node = local.node;
            let thing = Thing {
                kind: node.kind,
                entry: by_inode.get(&(node.dev, node.ino)).copied(),
                head: None,
                content: local.content,
                bytes: node.size,
                executable: node.kind == EntryKind::File && node.executable,
                target: node.target,
            };
            (path, thing)
        };
        Ok(local.nodes.into_iter().map(thing).collect())
    }

    /// Reads the files of the disk of which only reading tells whether they hold what the other side has. An inode
    /// that has another name and holds something else is another file: numbers are given away again.
    fn read_what_differs(&mut self, disk: &mut Things, other: &Things) -> Result<(), ClientError> {
        let by_entry: BTreeMap<EntryId, (&str, &Thing)> =
            other.iter().filter_map(|(path, thing)| Some((thing.entry?, (path.as_str(), thing)))).collect();
        for (path, thing) in disk.iter_mut() {
            if thing.kind != EntryKind::File || thing.content.is_some() {
                continue;
            }
            let here = || other.get(path).map(|there| (path.as_str(), there));
            let counterpart = thing.entry.and_then(|entry| by_entry.get(&entry).copied()).or_else(here);
            let Some((was, counterpart)) = counterpart else { continue };
            if let Some(head) = counterpart.head.filter(|_| counterpart.bytes == thing.bytes) {
                let content = round::content_of(&self.replica, self.store.kept(), head)?;
                let holds = content.is_some_and(|content| self.holds(path, &content));
                thing.content = holds.then_some(counterpart.content).flatten();
            }
            if thing.content.is_none() && name(was) != name(path) {
                thing.entry = None;
            }
        }
        Ok(())
    }

    /// Whether the file at `path` holds this, by reading it.
    fn holds(&self, path: &str, content: &Content) -> bool {
        self.cut_again(path, content.cut).is_some_and(|found| found.content.id == content.id)
    }

    /// A file as it is on that side; nothing where it is not there.
    fn file_state(&mut self, path: &str, seen: &Seen) -> Result<FileState, ClientError> {
        let version = match seen {
            Seen::Folder => return Ok(self.file_on_disk(path)),
            Seen::Now => self.version_at(path, &When::Now),
            Seen::Version(named) => self.version_at(path, &When::Version(named.clone())),
            Seen::Then(then) => self.version_then(path, then),
        };
        let version = match version {
            Err(ClientError::NotYet { .. }) => return Ok(FileState::nothing()),
            version => version?,
        };
        let content = self.content_of(version)?;
        let mut bytes = Vec::new();
        if content.size <= TEXT_BYTES_MAX {
            self.write_content(version, &content, &mut bytes)?;
        }
        let text = text_of(bytes).filter(|_| content.size <= TEXT_BYTES_MAX);
        let (label, bytes, content) = (version.to_string(), content.size, Some(content));
        Ok(FileState { label, bytes, text, content, is_nothing: false })
    }

    fn file_on_disk(&mut self, path: &str) -> FileState {
        let Ok(file) = self.opener.open_file(path) else { return FileState::nothing() };
        let mut bytes = Vec::new();
        let read = file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes);
        let size = self.disk.look(path).ok().flatten().map_or(bytes.len() as u64, |node| node.size);
        let whole = read.is_ok() && bytes.len() as u64 <= TEXT_BYTES_MAX;
        FileState {
            label: "folder".into(),
            bytes: size,
            text: whole.then(|| text_of(bytes)).flatten(),
            content: None,
            is_nothing: false,
        }
    }

    /// Whether both hold the same.
    fn is_same(&self, path: &str, one: &FileState, other: &FileState) -> bool {
        match (&one.content, &other.content) {
            _ if one.bytes != other.bytes => false,
            (Some(one), Some(other)) => one.id == other.id,
            _ if one.text.is_some() || other.text.is_some() => one.text == other.text,
            (Some(content), None) | (None, Some(content)) => self.holds(path, content),
            (None, None) => true,
        }
    }
}

/// As model.md has text: UTF-8 without NUL.
fn text_of(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn things_in(tree: &RemoteTree) -> Things {
    let thing = |(path, node): (&String, &annals_engine::observed::RemoteNode)| {
        let thing = Thing {
            kind: node.kind,
            entry: node.entries.first().copied().filter(|_| !node.copy || node.head.is_none()),
            head: node.head,
            content: node.content,
            bytes: node.size,
            executable: node.executable,
            target: node.target.clone(),
        };
        (path.clone(), thing)
    };
    tree.nodes.iter().map(thing).collect()
}

fn differences(before: &Things, after: &Things) -> Vec<Difference> {
    let places = |things: &Things| -> BTreeMap<EntryId, String> {
        things.iter().filter_map(|(path, thing)| Some((thing.entry?, path.clone()))).collect()
    };
    let (was_at, is_at) = (places(before), places(after));
    let mut lines = BTreeSet::new();
    for (path, thing) in after {
        let from = thing.entry.and_then(|entry| was_at.get(&entry));
        let was = from.map_or_else(
            || before.get(path).filter(|was| is_at_home(was, &is_at, path)),
            |from| before.get(from),
        );
        let Some(was) = was else {
            lines.insert(line(path, DifferenceKind::Added, None, None, Some(thing)));
            continue;
        };
        if let Some(from) = from.filter(|from| *from != path && !moved_along(path, from, before, after)) {
            lines.insert(line(path, DifferenceKind::Moved, Some(from), Some(was), Some(thing)));
        }
        if (was.kind, &was.target) != (thing.kind, &thing.target) || !holds_same(was, thing) {
            lines.insert(line(path, DifferenceKind::Changed, None, Some(was), Some(thing)));
        } else if was.executable != thing.executable {
            lines.insert(line(path, DifferenceKind::Mode, None, Some(was), Some(thing)));
        }
    }
    for (path, was) in before {
        let elsewhere = was.entry.is_some_and(|entry| is_at.contains_key(&entry));
        let replaced = after.get(path).is_some_and(|now| {
            now.entry.is_none_or(|entry| !was_at.contains_key(&entry)) && is_at_home(was, &is_at, path)
        });
        if !elsewhere && !replaced {
            lines.insert(line(path, DifferenceKind::Removed, None, Some(was), None));
        }
    }
    lines.into_iter().collect()
}

/// Whether what was at `path` is not somewhere else by now.
fn is_at_home(was: &Thing, is_at: &BTreeMap<EntryId, String>, path: &str) -> bool {
    was.entry.and_then(|entry| is_at.get(&entry)).is_none_or(|now| now == path)
}

/// Whether it moved only because the folder that it is in did.
fn moved_along(path: &str, from: &str, before: &Things, after: &Things) -> bool {
    let folder = |things: &Things, path: &str| things.get(parent(path)?)?.entry;
    name(path) == name(from) && folder(after, path).is_some() && folder(after, path) == folder(before, from)
}

fn holds_same(one: &Thing, other: &Thing) -> bool {
    one.kind != EntryKind::File
        || one.bytes == other.bytes && one.content.is_some() && one.content == other.content
}

fn line(
    path: &str,
    kind: DifferenceKind,
    from: Option<&String>,
    was: Option<&Thing>,
    is: Option<&Thing>,
) -> Difference {
    let bytes = |thing: &Thing| (thing.kind == EntryKind::File).then_some(thing.bytes);
    Difference {
        path: path.to_owned(),
        kind,
        from: from.cloned(),
        folder: is.or(was).is_some_and(|thing| thing.kind == EntryKind::Folder),
        bytes_before: was.and_then(bytes),
        bytes_after: is.and_then(bytes),
    }
}
