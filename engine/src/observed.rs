//! Three observations of one folder, keyed by path: what the disk shows, what the log says, and what both
//! agreed on last.
//!
//! Paths are names joined by `/`, relative to the folder, never empty. A [`LocalTree`] comes from a scan, a
//! [`RemoteTree`] from the projections, and the [`SyncedTree`] is the merge base: it changes only when an
//! event was authored from the disk or an operation was done to it, and it is what a device must not forget
//! (but may: then nothing is taken for deleted). None of them is a list of things to do; that follows from
//! comparing them, in [`author`](crate::author) and [`plan`](crate::plan).

mod part;
mod survey;
mod synced;
mod went;

use crate::disk::{Node, Scan, Skipped, SkippedBecause};
use annals_events::{Content, ContentId, DeviceId, Dot, EntryId, EntryKind, Hlc};
use annals_projections::{Projections, Shown};
pub use part::{Part, paths_of};
use std::collections::{BTreeMap, BTreeSet};
pub use survey::differing;
pub use synced::{Glimpse, SyncedChange, SyncedNode, SyncedTree, Totals};
pub use went::{Went, along};

/// What a scan found, with the contents that were read.
#[derive(Clone, Debug, Default)]
pub struct LocalTree {
    /// Everything that can be synced, by path.
    pub nodes: BTreeMap<String, LocalNode>,
    /// The contents that were read in this round, by name: an event lists their chunks.
    pub contents: BTreeMap<ContentId, Content>,
    /// Paths at and below which nothing is known: they could not be read, or something is mounted there.
    pub unknown: BTreeSet<String>,
    /// What stands where something synced may be wanted and is not touched, and why: by path, which begins with NUL
    /// where it is no path that can be synced.
    pub obstacles: BTreeMap<String, String>,
    /// Whether absence means that something is gone. While false, as where anything is unknown, nothing is taken for
    /// deleted.
    pub complete: bool,
}

/// One thing in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// What the scan saw.
    pub node: Node,
    /// What a file holds: read now, or known since before; none while it is neither (it is left alone).
    pub content: Option<ContentId>,
    /// Whether a later change is sure to show in what the scan sees.
    pub settled: bool,
    /// As in [`SyncedNode`].
    pub proven: bool,
}

impl LocalTree {
    /// What `scan` saw, with the contents of files that are unchanged since the tree last agreed (also those of
    /// files that moved along with a folder), and the paths of the files that must be read.
    #[must_use]
    pub fn of(scan: Scan, synced: &SyncedTree) -> (Self, Vec<String>) {
        let mut by_inode = BTreeMap::new();
        for (path, node) in synced.iter().filter(|(_, node)| node.kind == EntryKind::File && node.settled) {
            let known = node.content.map(|content| (content, node.proven));
            by_inode.insert((node.disk.dev, node.disk.ino), (path, node.disk.identity(), known));
        }
        let (mut tree, mut unread) = (Self { complete: scan.complete, ..Self::default() }, Vec::new());
        let known = |(path, node): (&String, &Node)| {
            let known = by_inode.get(&(node.dev, node.ino)).filter(|_| node.kind == EntryKind::File);
            let known = known.filter(|(_, identity, _)| identity.is(&node.identity()));
            let known = known.filter(|(old, ..)| old == path || !scan.nodes.contains_key(old));
            known.and_then(|(.., known)| *known)
        };
        let known: Vec<Option<(ContentId, bool)>> = scan.nodes.iter().map(known).collect();
        let Scan { nodes, skipped, complete, began_ns } = scan;
        let scan = Scan { nodes: BTreeMap::new(), skipped, complete, began_ns };
        for ((path, node), known) in nodes.into_iter().zip(known) {
            if node.kind == EntryKind::File && known.is_none() {
                unread.push(path.clone());
            }
            let settled = known.is_some() || node.is_settled(began_ns);
            let proven = known.map_or_else(|| node.is_proven(began_ns), |(_, proven)| proven);
            let content = known.map(|(content, _)| content);
            tree.nodes.insert(path, LocalNode { node, content, settled, proven });
        }
        let hiding = scan.skipped.iter().filter(|skipped| skipped.why.hides_what_is_there());
        tree.unknown = hiding.map(|skipped| skipped.path.clone()).collect();
        tree.obstacles = scan.skipped.iter().filter_map(obstacle).collect();
        (tree, unread)
    }

    /// Takes note that the file at `path` cannot be read: it is left alone, whatever the log wants of it.
    pub fn unreadable(&mut self, path: &str, why: &str) {
        if self.nodes.get(path).is_some_and(|local| local.content.is_none()) {
            self.obstacles.insert(path.to_owned(), why.to_owned());
        }
    }

    /// Where nothing can be changed in the folder now: at what is not synced, and at files of which nobody knows what
    /// they hold.
    #[must_use]
    pub fn untouchable(&self) -> BTreeSet<String> {
        let unread = self
            .nodes
            .iter()
            .filter(|(_, local)| local.node.kind == EntryKind::File && local.content.is_none());
        self.obstacles.keys().chain(unread.map(|(path, _)| path)).chain(&self.unknown).cloned().collect()
    }

    /// Takes note of what the file at `path` holds. `node` is the file as it was after reading: where it is
    /// not what the scan saw, the file is being written and waits for a later scan: false. One that only `grew` meanwhile
    /// is what was read of it, and is read again by the next scan.
    pub fn read(&mut self, path: &str, node: &Node, content: Content, grew: bool) -> bool {
        let Some(local) = self.nodes.get_mut(path) else { return false };
        let number = |node: &Node| (node.kind, node.dev, node.ino);
        if grew && number(&local.node) == number(node) && local.node.size <= node.size {
            (local.node, local.settled, local.proven) = (node.clone(), false, false);
        }
        let is_seen = local.node.identity().is(&node.identity());
        if is_seen {
            local.content = Some(content.id);
            self.contents.insert(content.id, content);
        }
        is_seen
    }
}

/// What a scan passed by, if that is where it stays.
fn obstacle(skipped: &Skipped) -> Option<(String, String)> {
    let path = match skipped.why {
        SkippedBecause::Restless => return None,
        // Its own path is one for display, and perhaps that of something else; the folder is right.
        SkippedBecause::NameNotUtf8 => match parent(&skipped.path) {
            Some(folder) => format!("{folder}/\0{}", name(&skipped.path)),
            None => format!("\0{}", skipped.path),
        },
        _ => skipped.path.clone(),
    };
    Some((path, skipped.why.to_string()))
}

/// What the log says the folder shall show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteTree {
    /// By path.
    pub nodes: BTreeMap<String, RemoteNode>,
}

/// One thing that shall be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteNode {
    /// What is behind it, what new things go into first: several where they are shown as one.
    pub entries: Vec<EntryId>,
    /// What it is.
    pub kind: EntryKind,
    /// The version shown.
    pub head: Option<Dot>,
    /// The versions behind what is shown: an edit of it names them as parents.
    pub heads: Vec<Dot>,
    /// What a file holds.
    pub content: Option<ContentId>,
    /// How many bytes that is.
    pub size: u64,
    /// When it was changed, in nanoseconds since 1970.
    pub mtime: Option<i64>,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// What a symlink says.
    pub target: Option<Vec<u8>>,
    /// Whether its name got a suffix.
    pub copy: bool,
    /// When and by whom it was named: decides who keeps a name that two have.
    pub named: (Hlc, DeviceId),
}

impl RemoteTree {
    /// What all events together show.
    #[must_use]
    pub fn of(log: &Projections) -> Self {
        let nodes = log.listing().into_iter().filter_map(|(path, shown)| Some((path, remote(log, shown)?)));
        Self { nodes: nodes.collect() }
    }

    /// Every entry behind something that is shown.
    #[must_use]
    pub fn entries(&self) -> BTreeSet<EntryId> {
        self.nodes.values().flat_map(|node| node.entries.iter().copied()).collect()
    }
}

/// One line of a listing with all that is to be known about it.
fn remote(log: &Projections, shown: Shown) -> Option<RemoteNode> {
    let entry = *shown.entries.first()?;
    let view = log.entry(entry)?;
    let head = shown.heads.first().copied();
    let version = head.and_then(|dot| log.version(dot));
    let heads = head.map(|head| behind(log, entry, head)).unwrap_or_default();
    let alone = head.is_none() || log.heads(entry).len() <= 1;
    let file = shown.kind == EntryKind::File;
    let mtime = if alone { view.mtime } else { version.as_ref().and_then(|version| version.mtime) };
    Some(RemoteNode {
        kind: shown.kind,
        head,
        heads,
        content: version.as_ref().and_then(|version| version.content),
        size: version.as_ref().map_or(0, |version| version.size),
        mtime: mtime.filter(|_| file),
        executable: file && view.executable,
        target: view.target.clone().filter(|_| shown.kind == EntryKind::Symlink),
        copy: shown.copy,
        named: (log.devices().hlc_at(view.place.device, view.place.counter), view.place.device),
        entries: shown.entries,
    })
}

/// The versions that an edit of the shown `head` supersedes: all heads by people where only one is shown (with a
/// merge, that too), else those with the same content.
fn behind(log: &Projections, entry: EntryId, head: Dot) -> Vec<Dot> {
    let human = log.human_heads(entry);
    let mut heads: Vec<Dot> = if log.heads(entry).len() <= 1 {
        human
    } else {
        let content = |dot: &Dot| log.version(*dot).and_then(|version| version.content);
        human.into_iter().filter(|dot| content(dot) == content(&head)).collect()
    };
    if !heads.contains(&head) {
        heads.push(head);
    }
    heads.sort();
    heads
}

/// The folders above `path`, the nearest first, without the top.
pub fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(parent(path), |above| parent(above))
}

/// The folder that `path` is in; none at the top.
#[must_use]
pub fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(above, _)| above)
}

/// The last name of `path`.
#[must_use]
pub fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_events::Cut;

    #[test]
    fn what_was_read_of_a_file_counts_only_if_the_file_is_what_the_scan_saw() {
        let seen = Node {
            kind: EntryKind::File,
            size: 5,
            mtime_ns: 10,
            ctime_ns: 10,
            dev: 1,
            ino: 2,
            born_ns: None,
            executable: false,
            target: None,
        };
        let rewritten = Node { mtime_ns: 20, ctime_ns: 20, ..seen.clone() };
        let longer = Node { size: 9, ..rewritten.clone() };
        let shorter = Node { size: 4, ..rewritten.clone() };
        let another = Node { ino: 3, ..longer.clone() };
        let content = Content::new(Cut::SMALL, Vec::new()).0;
        for (what, after, grew, counts) in [
            ("as it was", &seen, false, true),
            ("rewritten", &rewritten, false, false),
            ("longer, and nobody knows how", &longer, false, false),
            ("only longer", &longer, true, true),
            ("another one that is longer", &another, true, false),
            ("shorter", &shorter, true, false),
        ] {
            let mut nodes = BTreeMap::new();
            nodes.insert("f".to_owned(), seen.clone());
            let scan = Scan { nodes, skipped: Vec::new(), complete: true, began_ns: 1_000_000_000 };
            let (mut tree, unread) = LocalTree::of(scan, &SyncedTree::default());
            assert_eq!(unread, ["f"]);
            assert_eq!(tree.read("f", after, content.clone(), grew), counts, "{what}");
            assert_eq!(tree.nodes["f"].content.is_some(), counts, "{what}");
            assert_eq!(tree.contents.contains_key(&content.id), counts, "{what}");
            // What grew is read again by the next scan, and planned with as it was then.
            assert_eq!(tree.nodes["f"].node == *after && !tree.nodes["f"].settled, grew && counts, "{what}");
        }
    }
}
