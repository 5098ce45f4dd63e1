//! The merge base as a table: all paths in order, in blocks of some dozen rows.
//!
//! A device holds one as long as it runs, with a node for each file, so what counts is bytes a file: a node is written
//! out ([`row`](super::row)), its path takes what is its own ([`rows`](super::rows)), and what is read is made anew each
//! time. What must always hold: whatever was done to it, it is what a plain map of paths would be.

use super::{
    Glimpse, SyncedChange, SyncedNode, Totals,
    row::{Devices, decode, encode},
    rows::{Rows, Walk},
};
use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    ops::Bound,
};

/// Rows of a block. Finding one takes a walk over half of them, and each block has a path as a whole.
const ROWS_MAX: usize = if cfg!(test) { 5 } else { 64 };
/// Fewer than this are put together with their neighbours.
const ROWS_MIN: usize = ROWS_MAX / 4;

/// Paths of places beside the folder begin with NUL, and come before this.
const BESIDE_END: &str = "\u{1}";

/// The merge base.
#[derive(Clone, Default)]
pub struct SyncedTree {
    /// By a path that is no greater than the first in the block, and greater than all in the block before.
    blocks: BTreeMap<String, Rows>,
    devices: Devices,
    length: usize,
    totals: Totals,
}

impl SyncedTree {
    /// Everything, by path.
    pub fn iter(&self) -> impl Iterator<Item = (String, SyncedNode)> {
        let mut cursor = Cursor::at(self, "");
        std::iter::from_fn(move || cursor.step().then(|| cursor.item()))
    }

    /// What `is_meant` says, by path. Costs less than to look at whole nodes.
    pub fn select(
        &self,
        mut is_meant: impl FnMut(&str, &Glimpse) -> bool,
    ) -> impl Iterator<Item = (String, SyncedNode)> {
        let mut cursor = Cursor::at(self, "");
        std::iter::from_fn(move || {
            while cursor.step() {
                if is_meant(cursor.path(), &Glimpse::of(cursor.node())) {
                    return Some(cursor.item());
                }
            }
            None
        })
    }

    /// What is at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<SyncedNode> {
        self.row(path).map(|row| decode(row, &self.devices))
    }

    /// Whether anything is at `path`.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.row(path).is_some()
    }

    fn row(&self, path: &str) -> Option<&[u8]> {
        self.block_of(path)?.1.get(path)
    }

    fn block_of(&self, path: &str) -> Option<(&String, &Rows)> {
        self.blocks.range::<str, _>((Bound::Unbounded, Bound::Included(path))).next_back()
    }

    /// How many things.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was ever agreed on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// What is directly in the folder at `path`; the top is the empty path. Costs what there is of that, and not what
    /// lies deeper.
    pub fn children(&self, path: &str) -> impl Iterator<Item = (String, SyncedNode)> + use<'_> {
        let mut children = Children::of(self, path);
        std::iter::from_fn(move || children.step().then(|| children.cursor.item()))
    }

    /// The names of what is directly in the folder at `path`, with what a look at the disk is compared with, in order.
    pub fn glimpses(&self, path: &str, mut each: impl FnMut(&str, Glimpse)) {
        let mut children = Children::of(self, path);
        while children.step() {
            let name = &children.cursor.path()[children.prefix.len()..];
            each(name, Glimpse::of(children.cursor.node()));
        }
    }

    /// Everything below `path`.
    pub fn below(&self, path: &str) -> impl Iterator<Item = (String, SyncedNode)> + use<'_> {
        let prefix = format!("{path}/");
        let mut cursor = Cursor::at(self, &prefix);
        std::iter::from_fn(move || {
            (cursor.step() && cursor.path().starts_with(&prefix)).then(|| cursor.item())
        })
    }

    /// What stands beside the folder: it is missing from it, and another thing has its name.
    pub fn beside(&self) -> impl Iterator<Item = String> + use<'_> {
        let mut cursor = Cursor::at(self, "");
        let paths = std::iter::from_fn(move || {
            (cursor.step() && cursor.path() < BESIDE_END).then(|| cursor.path().to_owned())
        });
        paths.filter(|path| !path.contains('/'))
    }

    /// How much there is.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    // --- steps ------------------------------------------------------------------------------------------

    /// Takes one step.
    pub fn apply(&mut self, change: SyncedChange) {
        match change {
            SyncedChange::Put(path, node) => self.put(&path, &node),
            SyncedChange::Remove(path) => drop(self.take(&path)),
            SyncedChange::Move { from, to } => {
                for (path, row) in self.take(&from) {
                    self.put_row(&format!("{to}{}", &path[from.len()..]), &row);
                }
            }
        }
    }

    fn put(&mut self, path: &str, node: &SyncedNode) {
        let row = encode(node, &mut self.devices);
        self.put_row(path, &row);
    }

    fn put_row(&mut self, path: &str, row: &[u8]) {
        self.take_row(path, Some(row));
        self.totals.count(&decode(row, &self.devices), true);
        self.length += 1;
        let Some(key) = self.block_of(path).map(|(key, _)| key.clone()) else {
            let mut rows = Rows::default();
            rows.put(path, row);
            self.blocks.insert(String::new(), rows);
            return;
        };
        let rows = self.blocks.get_mut(&key).expect("it was just found");
        if rows.count >= ROWS_MAX && rows.ends_before(path) {
            // In order, as most come: blocks stay full.
            rows.bytes.shrink_to_fit();
            let mut next = Rows::default();
            next.put(path, row);
            self.blocks.insert(path.to_owned(), next);
            return;
        }
        rows.put(path, row);
        if rows.count > ROWS_MAX {
            let (key, second) = rows.split();
            self.blocks.insert(key, second);
        }
    }

    /// Takes out what is at `path` and below.
    fn take(&mut self, path: &str) -> Vec<(String, Vec<u8>)> {
        let prefix = format!("{path}/");
        let mut cursor = Cursor::at(self, &prefix);
        let mut paths = vec![path.to_owned()];
        while cursor.step() && cursor.path().starts_with(&prefix) {
            paths.push(cursor.path().to_owned());
        }
        paths.into_iter().filter_map(|path| Some((self.take_row(&path, None)?, path))).map(swap).collect()
    }

    /// Takes out one node, unless another one is about to come to its place.
    fn take_row(&mut self, path: &str, instead: Option<&[u8]>) -> Option<Vec<u8>> {
        let (key, rows) = self.block_of(path)?;
        let (row, key) = (rows.get(path)?.to_vec(), key.clone());
        self.totals.count(&decode(&row, &self.devices), false);
        self.length -= 1;
        if instead.is_none() {
            let rows = self.blocks.get_mut(&key).expect("it was just found");
            rows.take(path);
            if rows.count < ROWS_MIN {
                self.join(&key);
            }
        }
        Some(row)
    }

    /// Puts a block that has become small together with the one before it, if that has room.
    fn join(&mut self, key: &str) {
        let Some(rows) = self.blocks.remove(key) else { return };
        if rows.count == 0 {
            return;
        }
        let before = self.blocks.range_mut::<str, _>((Bound::Unbounded, Bound::Excluded(key))).next_back();
        match before.filter(|(_, before)| before.count + rows.count <= ROWS_MAX) {
            Some((_, before)) => before.append(&rows),
            None => drop(self.blocks.insert(key.to_owned(), rows)),
        }
    }

    // --- as bytes ---------------------------------------------------------------------------------------

    /// All of it as parts that [`of_parts`](Self::of_parts) takes: the devices that are named, and runs of rows.
    pub(crate) fn parts(&self) -> (&[annals_events::DeviceId], impl Iterator<Item = (&str, usize, &[u8])>) {
        let blocks = self.blocks.iter().map(|(key, rows)| (key.as_str(), rows.count, rows.bytes.as_slice()));
        (self.devices.all(), blocks)
    }

    /// The tree with these parts, which are just as they were given out.
    pub(crate) fn of_parts(
        devices: impl IntoIterator<Item = annals_events::DeviceId>,
        totals: Totals,
        blocks: impl IntoIterator<Item = (String, usize, Vec<u8>)>,
    ) -> Self {
        let blocks: BTreeMap<String, Rows> =
            blocks.into_iter().map(|(key, count, bytes)| (key, Rows { bytes, count })).collect();
        let length = blocks.values().map(|rows| rows.count).sum();
        Self { blocks, devices: devices.into_iter().collect(), length, totals }
    }
}

fn swap<A, B>((one, other): (A, B)) -> (B, A) {
    (other, one)
}

impl PartialEq for SyncedTree {
    fn eq(&self, other: &Self) -> bool {
        self.totals == other.totals && self.iter().eq(other.iter())
    }
}

impl Eq for SyncedTree {}

impl fmt::Debug for SyncedTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl FromIterator<SyncedChange> for SyncedTree {
    fn from_iter<I: IntoIterator<Item = SyncedChange>>(changes: I) -> Self {
        let mut tree = Self::default();
        changes.into_iter().for_each(|change| tree.apply(change));
        tree
    }
}

/// Goes from node to node.
struct Cursor<'a> {
    tree: &'a SyncedTree,
    blocks: btree_map::Range<'a, String, Rows>,
    walk: Option<Walk<'a>>,
    /// Where the next step leads: to the first that is no less.
    from: Option<String>,
}

impl<'a> Cursor<'a> {
    fn at(tree: &'a SyncedTree, from: &str) -> Self {
        let mut cursor = Self { tree, blocks: tree.blocks.range::<str, _>(..), walk: None, from: None };
        cursor.seek(from);
        cursor
    }

    fn seek(&mut self, from: &str) {
        let first = self.tree.block_of(from).map_or("", |(key, _)| key);
        self.blocks = self.tree.blocks.range::<str, _>((Bound::Included(first), Bound::Unbounded));
        self.walk = None;
        self.from = Some(from.to_owned());
    }

    fn step(&mut self) -> bool {
        loop {
            while let Some(walk) = &mut self.walk {
                if !walk.step() {
                    self.walk = None;
                } else if self.from.as_ref().is_none_or(|from| walk.path.as_str() >= from.as_str()) {
                    self.from = None;
                    return true;
                }
            }
            let Some((_, rows)) = self.blocks.next() else { return false };
            self.walk = Some(rows.walk());
        }
    }

    /// Steps on to the first that is no less than `from`, which lies ahead.
    fn skip_to(&mut self, from: &str) -> bool {
        while let Some(walk) = &mut self.walk {
            if !walk.step() {
                self.seek(from);
                return self.step();
            }
            if walk.path.as_str() >= from {
                return true;
            }
        }
        false
    }

    fn path(&self) -> &str {
        self.walk.as_ref().map_or("", |walk| &walk.path)
    }

    fn node(&self) -> &'a [u8] {
        self.walk.as_ref().map_or(&[], |walk| walk.node)
    }

    fn item(&self) -> (String, SyncedNode) {
        (self.path().to_owned(), decode(self.node(), &self.tree.devices))
    }
}

/// Goes from child to child of one folder.
struct Children<'a> {
    cursor: Cursor<'a>,
    /// What their paths begin with.
    prefix: String,
}

impl<'a> Children<'a> {
    fn of(tree: &'a SyncedTree, path: &str) -> Self {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let cursor = Cursor::at(tree, if path.is_empty() { BESIDE_END } else { &prefix });
        Self { cursor, prefix }
    }

    fn step(&mut self) -> bool {
        let mut found = self.cursor.step();
        while found {
            let Some(name) = self.cursor.path().strip_prefix(&self.prefix) else { return false };
            let Some((folder, _)) = name.split_once('/') else { return true };
            // '0' is the character after '/'.
            let past = format!("{}{folder}0", self.prefix);
            found = self.cursor.skip_to(&past);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{disk::Node, observed::name};
    use annals_events::{ContentId, DeviceId, Dot, EntryId, EntryKind};
    use proptest::prelude::*;

    /// What a tree is to be.
    type Model = BTreeMap<String, SyncedNode>;

    fn paths() -> impl Strategy<Value = String> {
        // Names that are beginnings of each other, sort around '/', share halves of characters, or are long.
        let name = prop_oneof![
            prop::sample::select(vec!["a", "a ", "a.", "a0", "ab", "ä", "ö", "ße", "b", "\u{10ffff}"]),
            Just(
                "a-name-that-is-longer-than-one-byte-can-say-a-name-that-is-longer-than-one-byte-can-say-a-name-that-is-longer-than-one-byte-can-say"
            ),
        ];
        let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
        (prop::bool::weighted(0.05), path)
            .prop_map(|(aside, path)| if aside { format!("\0{path}") } else { path })
    }

    fn nodes() -> impl Strategy<Value = SyncedNode> {
        let dot = (0..3_u8, prop_oneof![1..4_u64, any::<u64>()]);
        let dot = dot.prop_map(|(device, counter)| Dot::new(DeviceId([device; 16]), counter));
        let dots = || prop::collection::vec(dot.clone(), 0..3);
        let kind = prop::sample::select(vec![EntryKind::File, EntryKind::Folder, EntryKind::Symlink]);
        let time = || prop_oneof![any::<i64>(), 5..8_i64];
        let size = prop_oneof![0..300_u64, 0..u64::from(u32::MAX)];
        let disk = (
            kind.clone(),
            size,
            time(),
            time(),
            any::<u32>(),
            any::<u64>(),
            (prop::option::of(time()), any::<bool>()),
        );
        let target = prop::option::weighted(0.2, prop::collection::vec(any::<u8>(), 0..4));
        let said = (dots(), prop::option::of(dot.clone()), dots(), prop::option::of(time()), 0..4_u8);
        let bits = (kind, any::<[bool; 6]>(), prop::option::of(any::<[u8; 32]>()));
        (disk, target, said, bits).prop_map(|(disk, target, (entries, head, heads, mtime, alike), bits)| {
            let (disk_kind, size, mtime_ns, ctime_ns, dev, ino, (born_ns, disk_executable)) = disk;
            let (kind, [executable, copy, settled, proven, aside, same], content) = bits;
            let disk = Node {
                kind: disk_kind,
                size,
                mtime_ns,
                ctime_ns,
                dev: u64::from(dev),
                ino,
                born_ns,
                executable: disk_executable,
                target,
            };
            // As most are: what is shown came with the entry.
            let head = if alike > 0 { entries.first().copied() } else { head };
            let heads = if alike > 1 { head.into_iter().collect() } else { heads };
            SyncedNode {
                entries: entries.into_iter().map(EntryId).collect(),
                kind,
                head,
                heads,
                content: content.map(ContentId),
                mtime: if same { mtime.map(|_| mtime_ns) } else { mtime },
                executable,
                copy,
                disk,
                settled,
                proven,
                aside,
            }
        })
    }

    fn changes() -> impl Strategy<Value = SyncedChange> {
        prop_oneof![
            6 => (paths(), nodes()).prop_map(|(path, node)| SyncedChange::Put(path, Box::new(node))),
            1 => paths().prop_map(SyncedChange::Remove),
            1 => (paths(), paths()).prop_map(|(from, to)| SyncedChange::Move { from, to }),
        ]
    }

    fn is_below(path: &str, top: &str) -> bool {
        path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
    }

    fn apply(model: &mut Model, change: SyncedChange) {
        let mut take = |top: &str| {
            let is_taken = |path: &str| path == top || is_below(path, top);
            let paths: Vec<String> = model.keys().filter(|path| is_taken(path)).cloned().collect();
            paths.into_iter().filter_map(|path| model.remove_entry(&path)).collect::<Vec<_>>()
        };
        match change {
            SyncedChange::Put(path, node) => drop(model.insert(path, *node)),
            SyncedChange::Remove(path) => drop(take(&path)),
            SyncedChange::Move { from, to } => {
                let taken = take(&from);
                model.extend(taken.into_iter().map(|(p, n)| (format!("{to}{}", &p[from.len()..]), n)));
            }
        }
    }

    fn totals(model: &Model) -> Totals {
        let mut totals = Totals::default();
        model.values().for_each(|node| totals.count(node, true));
        totals
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn a_tree_is_what_a_plain_map_would_be_whatever_is_done_to_it(
            steps in prop::collection::vec(changes(), 1..120),
            asked in prop::collection::vec(paths(), 1..12),
        ) {
            let (mut tree, mut model) = (SyncedTree::default(), Model::new());
            for step in steps {
                tree.apply(step.clone());
                apply(&mut model, step);
            }
            let owned = |(path, node): (&String, &SyncedNode)| (path.clone(), node.clone());
            prop_assert_eq!(tree.iter().collect::<Vec<_>>(), model.iter().map(owned).collect::<Vec<_>>());
            prop_assert_eq!((tree.len(), tree.is_empty()), (model.len(), model.is_empty()));
            prop_assert_eq!(tree.totals(), totals(&model));
            let known = model.keys().cloned().chain([String::new()]);
            for path in asked.into_iter().chain(known) {
                prop_assert_eq!(tree.get(&path), model.get(&path).cloned());
                prop_assert_eq!(tree.contains(&path), model.contains_key(&path));
                let below = model.iter().filter(|(below, _)| is_below(below, &path)).map(owned);
                prop_assert_eq!(tree.below(&path).collect::<Vec<_>>(), below.collect::<Vec<_>>());
                let is_child = |child: &str| match path.as_str() {
                    "" => !child.starts_with('\0') && !child.contains('/'),
                    path => crate::observed::parent(child) == Some(path),
                };
                let children = model.iter().filter(|(child, _)| is_child(child)).map(owned).collect::<Vec<_>>();
                prop_assert_eq!(&tree.children(&path).collect::<Vec<_>>(), &children);
                let mut seen = Vec::new();
                tree.glimpses(&path, |name, glimpse| seen.push((name.to_owned(), glimpse)));
                let expected = children.iter().map(|(path, node)| {
                    let identity = node.disk.identity();
                    (name(path).to_owned(), Glimpse { identity, settled: node.settled, aside: node.aside })
                });
                prop_assert_eq!(seen, expected.collect::<Vec<_>>());
            }
            let aside = model.iter().filter(|(_, node)| node.aside).map(owned);
            prop_assert_eq!(tree.select(|_, glimpse| glimpse.aside).collect::<Vec<_>>(), aside.collect::<Vec<_>>());
            let is_beside = |path: &&String| path.starts_with('\0') && !path.contains('/');
            prop_assert_eq!(tree.beside().collect::<Vec<_>>(), model.keys().filter(is_beside).cloned().collect::<Vec<_>>());
            // And as bytes.
            let (devices, blocks) = tree.parts();
            let blocks = blocks.map(|(key, count, bytes)| (key.to_owned(), count, bytes.to_vec()));
            prop_assert_eq!(SyncedTree::of_parts(devices.to_vec(), tree.totals(), blocks), tree.clone());
        }
    }

    #[test]
    fn a_file_takes_less_than_a_hundred_bytes() {
        let mut tree = SyncedTree::default();
        let device = DeviceId([7; 16]);
        for i in 0..10_000_u64 {
            let dot = Dot::new(device, i + 1);
            let (mtime_ns, ino) = (1_700_000_000_000_000_000 + i.cast_signed(), 9_000_000 + i);
            let node = SyncedNode {
                entries: vec![EntryId(dot)],
                kind: EntryKind::File,
                head: Some(dot),
                heads: vec![dot],
                content: Some(ContentId([3; 32])),
                mtime: Some(mtime_ns),
                executable: false,
                copy: false,
                disk: Node {
                    kind: EntryKind::File,
                    size: 5_000,
                    mtime_ns,
                    ctime_ns: mtime_ns + 90_000_000_000_000,
                    dev: 0xfe00,
                    ino,
                    born_ns: None,
                    executable: false,
                    target: None,
                },
                settled: true,
                proven: true,
                aside: false,
            };
            let path = format!("area-{:03}/folder-{:05}/file-{i:07}.txt", i / 5000, i / 100);
            tree.apply(SyncedChange::Put(path, Box::new(node)));
        }
        let bytes: usize = tree.blocks.values().map(|rows| rows.bytes.capacity()).sum();
        assert!(bytes < 100 * tree.len(), "{} bytes a file", bytes / tree.len());
    }
}
