//! What disk and log agreed on last, and how it changes: one small change at a time, so that a device can
//! append the changes to a file and read the tree back from them.

mod row;
mod rows;
mod tree;

use super::{LocalNode, RemoteNode};
use crate::disk::{Node, TICK_NS};
use annals_events::{ContentId, Dot, EntryId, EntryKind};
pub use row::Glimpse;
use serde::{Deserialize, Serialize};
pub use tree::SyncedTree;

/// How much there is in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files and symlinks.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl Totals {
    fn count(&mut self, node: &SyncedNode, more: bool) {
        let add = |sum: &mut u64, n: u64| *sum = if more { *sum + n } else { *sum - n };
        match node.kind {
            EntryKind::Folder => add(&mut self.folders, 1),
            EntryKind::File | EntryKind::Symlink => add(&mut self.files, 1),
        }
        add(&mut self.bytes, node.disk.size);
    }
}

/// One thing that the disk showed when the log said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncedNode {
    /// What is behind it, what new things go into first.
    pub entries: Vec<EntryId>,
    /// What it is.
    pub kind: EntryKind,
    /// The version shown.
    pub head: Option<Dot>,
    /// The versions behind what is shown: parents of the next edit.
    pub heads: Vec<Dot>,
    /// What a file holds.
    pub content: Option<ContentId>,
    /// The modification time that the log has for it.
    pub mtime: Option<i64>,
    /// The executable bit that the log has for it.
    pub executable: bool,
    /// Whether its name has a suffix that nobody gave it.
    pub copy: bool,
    /// What the disk showed when both agreed.
    pub disk: Node,
    /// Whether a change since then is sure to show in what a scan sees.
    pub settled: bool,
    /// Whether a file's times vouch for its content. While they do not it is read before it is let go of, and once more
    /// when somebody closes it who may have written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proven: bool,
    /// Holds something that was refused: it stays as it is and is not synced until it changes.
    pub aside: bool,
}

impl SyncedNode {
    /// What is agreed after `disk` was made to show `remote`.
    #[must_use]
    pub fn written(remote: &RemoteNode, disk: Node) -> Self {
        // A file that got another time than that of the writing shows any later change by its time.
        let is_other = disk.mtime_ns.abs_diff(disk.ctime_ns) > TICK_NS.unsigned_abs();
        let settled = disk.kind != EntryKind::File || is_other;
        // What was synced here has no page that waits: the first store to it stamps it.
        Self { settled, proven: settled, ..Self::shown(remote, disk) }
    }

    /// What is agreed after the scan found `local` to be what `remote` says. Times and bits are those of the
    /// disk, so that the plan brings them to what the log has.
    #[must_use]
    pub fn adopted(remote: &RemoteNode, local: &LocalNode) -> Self {
        let file = remote.kind == EntryKind::File;
        Self {
            settled: local.settled,
            proven: local.proven,
            mtime: file.then_some(local.node.mtime_ns),
            executable: local.node.executable,
            ..Self::shown(remote, local.node.clone())
        }
    }

    fn shown(remote: &RemoteNode, disk: Node) -> Self {
        Self {
            entries: remote.entries.clone(),
            kind: remote.kind,
            head: remote.head,
            heads: remote.heads.clone(),
            content: remote.content,
            mtime: remote.mtime,
            executable: remote.executable,
            copy: remote.copy,
            disk,
            settled: false,
            proven: false,
            aside: false,
        }
    }

    /// What a file holds that is to be read before it is let go of.
    #[must_use]
    pub fn to_be_proven(&self) -> Option<ContentId> {
        self.content.filter(|_| !self.proven && self.kind == EntryKind::File)
    }

    /// The entry that edits and new things go to.
    #[must_use]
    pub fn entry(&self) -> EntryId {
        self.entries.first().copied().unwrap_or(EntryId::ROOT)
    }

    /// Whether it shows what `remote` says, and stands for the same entries and versions.
    #[must_use]
    pub fn agrees(&self, remote: &RemoteNode) -> bool {
        self.is_labelled(remote) && self.holds(remote) && self.has_attributes(remote)
    }

    /// Whether it stands for the same entries and versions.
    #[must_use]
    pub fn is_labelled(&self, remote: &RemoteNode) -> bool {
        (&self.entries, self.head, &self.heads, self.copy)
            == (&remote.entries, remote.head, &remote.heads, remote.copy)
    }

    /// Whether the disk holds the same.
    #[must_use]
    pub fn holds(&self, remote: &RemoteNode) -> bool {
        self.kind == remote.kind
            && match self.kind {
                EntryKind::Folder => true,
                EntryKind::File => self.content == remote.content,
                EntryKind::Symlink => self.disk.target == remote.target,
            }
    }

    /// Whether the disk has the same times and bits. What the log does not say is not compared.
    #[must_use]
    pub fn has_attributes(&self, remote: &RemoteNode) -> bool {
        self.kind != EntryKind::File
            || (remote.mtime.is_none() || self.mtime == remote.mtime) && self.executable == remote.executable
    }
}

/// One step of a synced tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncedChange {
    /// This is there now.
    Put(String, Box<SyncedNode>),
    /// This and what is below it are not there any more.
    Remove(String),
    /// This and what is below it are there now; nothing was. Paths that begin with NUL are places beside the
    /// folder, for an exchange of names.
    Move {
        /// Where it was.
        from: String,
        /// Where it is.
        to: String,
    },
}
