//! What a look at the folder found: things, what identifies each, and what was passed by.
//!
//! What must always hold: a thing that was not looked at is not missing, [`Scan::complete`] says whether absence means
//! anything; what may have changed since without showing is not [settled](Node::is_settled).

use crate::observed::{ancestors, parent};
use annals_events::EntryKind;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// One thing in the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of a file; 0 for the others.
    pub size: u64,
    /// When its content last changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When anything about it last changed, by the file system's clock.
    pub ctime_ns: i64,
    /// The file system that it is on.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// When it was made, where the file system knows: numbers are given away again, this is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born_ns: Option<i64>,
    /// Whether its owner may execute it; false for all but files.
    pub executable: bool,
    /// What a symlink says, byte for byte.
    #[serde(with = "super::target", default)]
    pub target: Option<Vec<u8>>,
}

impl Node {
    /// What an operation expects to find if nothing happens in between.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let Self { kind, dev, ino, born_ns, size, mtime_ns, ctime_ns, .. } = *self;
        Identity { kind, dev, ino, born_ns, size, mtime_ns, ctime_ns }
    }

    /// Whether `now` bears the same number and is not known to be another thing by its birth.
    #[must_use]
    pub fn may_be(&self, now: &Self) -> bool {
        (self.dev, self.ino) == (now.dev, now.ino) && self.is_born_with(now) != Some(false)
    }

    /// Whether both were made at one time: then, with one number, they are one thing. None where the file system does not
    /// say, or did not when this was looked at.
    #[must_use]
    pub fn is_born_with(&self, now: &Self) -> Option<bool> {
        self.born_ns.zip(now.born_ns).map(|(before, now)| before == now)
    }

    /// Whether a later change is sure to show in what a look sees that began then: file systems count time in ticks, so a
    /// file that was changed in the very tick in which a scan looked at it may change again and look the same. Each change
    /// is stamped in `ctime_ns`; `mtime_ns` is what somebody says, and may lie ahead for good.
    #[must_use]
    pub fn is_settled(&self, began_ns: i64) -> bool {
        self.ctime_ns < began_ns.saturating_sub(TICK_NS)
    }

    /// Whether what is read after a look began is all that its times stand for: a store through a memory map leaves them as
    /// they are while its page waits to be written back.
    #[must_use]
    pub fn is_proven(&self, began_ns: i64) -> bool {
        self.ctime_ns < began_ns.saturating_sub(WRITTEN_BACK_NS)
    }
}

/// Longer than the clock tick of any kernel that is in use (10 ms at 100 Hz), twice.
pub const TICK_NS: i64 = 20_000_000;

/// Longer than a page that was stored to waits to be written back: half a minute as kernels come, ten minutes where they
/// are told to let a disk sleep.
pub const WRITTEN_BACK_NS: i64 = 15 * 60 * 1_000_000_000;

/// By what a thing in the folder is known to be the one that was seen, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What it is.
    pub kind: EntryKind,
    /// The file system that it is on.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// When it was made, where the file system knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born_ns: Option<i64>,
    /// Bytes of a file.
    pub size: u64,
    /// When its content last changed.
    pub mtime_ns: i64,
    /// When anything about it last changed.
    pub ctime_ns: i64,
}

impl Identity {
    /// The same thing, unchanged where it stands. The times of a folder are those of what is in it and
    /// say nothing about the folder.
    #[must_use]
    pub fn is(&self, now: &Self) -> bool {
        self.is_but_moved(now) && (self.kind == EntryKind::Folder || self.ctime_ns == now.ctime_ns)
    }

    /// The same thing after its name was changed, which sets `ctime_ns` on most file systems.
    #[must_use]
    pub fn is_but_moved(&self, now: &Self) -> bool {
        let same = (self.kind, self.dev, self.ino) == (now.kind, now.dev, now.ino)
            && self.born_ns.zip(now.born_ns).is_none_or(|(before, now)| before == now);
        same && (self.kind == EntryKind::Folder || (self.size, self.mtime_ns) == (now.size, now.mtime_ns))
    }
}

/// What a look at the whole folder found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Everything that can be synced, by path.
    pub nodes: BTreeMap<String, Node>,
    /// What was not looked at, and why.
    pub skipped: Vec<Skipped>,
    /// Whether what is not in `nodes` and not in `skipped` is not there. While false nothing may be taken for
    /// deleted.
    pub complete: bool,
    /// The file system's clock when the scan began.
    pub began_ns: i64,
}

/// A folder that is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listing {
    /// Which; the top is the empty path.
    pub path: String,
    /// Whether with all that is below, or only with what is directly in it.
    pub deep: bool,
}

impl Scan {
    /// Leaves out what is ignored and not synced: what is stays, whatever the rules say by now. Answers with the ignored
    /// folders that hold something synced, to be [looked into](Disk::descend).
    pub fn sift(&mut self, is_synced: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let mut folders = BTreeSet::new();
        let nodes = &mut self.nodes;
        self.skipped.retain(|skipped| {
            let SkippedBecause::Ignored { .. } = skipped.why else { return true };
            if !is_synced(&skipped.path) {
                return nodes.remove(&skipped.path).is_some();
            }
            if nodes.get(&skipped.path).is_some_and(|node| node.kind == EntryKind::Folder) {
                folders.insert(skipped.path.clone());
            }
            false
        });
        folders
    }

    /// What of it a look at some folders alone would have found.
    #[must_use]
    pub fn only(mut self, folders: &[Listing]) -> Self {
        let folders: BTreeMap<&str, bool> = folders.iter().map(|f| (f.path.as_str(), f.deep)).collect();
        let is_in = |path: &str| {
            let direct = parent(path).unwrap_or("");
            let mut above = ancestors(path).chain([""]);
            folders.contains_key(direct) || above.any(|above| folders.get(above) == Some(&true))
        };
        self.nodes.retain(|path, _| is_in(path));
        self.skipped.retain(|skipped| folders.contains_key(skipped.path.as_str()) || is_in(&skipped.path));
        self.complete = !self.skipped.iter().any(|skipped| skipped.why.hides_what_is_there());
        self
    }
}

/// Something that a scan passed by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    /// Where, fit for display: bytes that are not UTF-8 are shown as `\xNN`.
    pub path: String,
    /// Why.
    pub why: SkippedBecause,
}

/// Why something in the folder is not synced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkippedBecause {
    /// A socket.
    Socket,
    /// A named pipe.
    Pipe,
    /// A character or block device.
    Device,
    /// Its name is not UTF-8.
    NameNotUtf8,
    /// Another spelling of `.annals` at the top.
    ReservedName,
    /// Another file system is mounted here. What it hides is unknown: the scan is not complete.
    OtherFileSystem,
    /// It is ignored by this rule. It is among the nodes of the scan all the same, unless it was left out because it is
    /// not synced; what is below it is only where [`Disk::descend`] said so.
    Ignored {
        /// As it is written.
        pattern: String,
    },
    /// It kept changing while the folder was scanned: what was moved meanwhile may have been missed.
    Restless,
    /// It could not be read. The scan is not complete.
    Unreadable {
        /// What the system said.
        error: String,
    },
}

impl SkippedBecause {
    /// Whether entries that were known to be here or below may still be there.
    #[must_use]
    pub fn hides_what_is_there(&self) -> bool {
        matches!(self, Self::OtherFileSystem | Self::Restless | Self::Unreadable { .. })
    }
}

impl fmt::Display for SkippedBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket => f.write_str("a socket"),
            Self::Pipe => f.write_str("a named pipe"),
            Self::Device => f.write_str("a device"),
            Self::NameNotUtf8 => f.write_str("its name is not UTF-8"),
            Self::ReservedName => f.write_str("the name is reserved for the device's own state"),
            Self::OtherFileSystem => f.write_str("another file system is mounted here"),
            Self::Ignored { pattern } => write!(f, "ignored by the rule {pattern}"),
            Self::Restless => f.write_str("it kept changing while the folder was scanned"),
            Self::Unreadable { error } => write!(f, "cannot be read: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Identity = Identity {
        kind: EntryKind::File,
        dev: 1,
        ino: 2,
        born_ns: Some(0),
        size: 3,
        mtime_ns: 4,
        ctime_ns: 5,
    };

    #[test]
    fn a_file_is_the_one_that_was_seen_while_nothing_about_it_changed() {
        assert!(SEEN.is(&SEEN));
        for changed in [
            Identity { kind: EntryKind::Symlink, ..SEEN },
            Identity { dev: 9, ..SEEN },
            Identity { ino: 9, ..SEEN },
            Identity { born_ns: Some(9), ..SEEN },
            Identity { size: 9, ..SEEN },
            Identity { mtime_ns: 9, ..SEEN },
            Identity { ctime_ns: 9, ..SEEN },
        ] {
            assert!(!SEEN.is(&changed), "{changed:?}");
            assert_eq!(SEEN.is_but_moved(&changed), changed.ctime_ns == 9, "{changed:?}");
        }
    }

    #[test]
    fn a_folder_is_itself_whatever_happens_in_it() {
        let folder = Identity { kind: EntryKind::Folder, ..SEEN };
        assert!(folder.is(&Identity { mtime_ns: 9, ctime_ns: 9, ..folder }));
        assert!(!folder.is(&Identity { ino: 9, ..folder }));
        assert!(!folder.is(&Identity { born_ns: Some(9), ..folder }));
    }

    #[test]
    fn where_a_birth_is_not_known_the_number_has_to_do() {
        let unknown = Identity { born_ns: None, ..SEEN };
        assert!(SEEN.is(&unknown) && unknown.is(&SEEN) && unknown.is(&unknown));
    }
}
