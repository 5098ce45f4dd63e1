//! The streams' index: which record stands where. Derived from the segments, behind the acknowledgement.
//!
//! Keys are fixed-width and big-endian, so that their order is the order of what they name; values are positions
//! and small heads. Every key is written by one record and says the same whenever it is written again, so
//! going over a stretch of the log twice changes nothing.

use crate::{
    causality::Dot,
    id::{DeviceId, EntryId, Hash, NamespaceId, Seq},
    log::{Head, Position, entries_touched, head_after},
    record::Record,
    segment::{Mark, Place},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// An ordered map for each of the streams. Need not be durable and may fall behind; what it holds it must hold
/// unchanged, or fail.
pub trait LogIndex: Send + Sync {
    /// The pairs with `from <= key <= to`, rising, at most `count_max`.
    ///
    /// # Errors
    /// [`IndexError`], here and below: it can't be used, and is made anew from the segments.
    fn range(&self, tree: Tree, from: &[u8], to: &[u8], count_max: usize) -> Result<Pairs, IndexError>;

    /// The last pair with `from <= key <= to`.
    fn last(&self, tree: Tree, from: &[u8], to: &[u8]) -> Result<Option<Pair>, IndexError>;

    /// How many pairs a tree has.
    fn count(&self, tree: Tree) -> Result<u64, IndexError>;

    /// Writes pairs, all of [`Tree::Mark`] after all others.
    fn write(&self, writes: &[Write]) -> Result<(), IndexError>;

    /// Forgets everything.
    fn clear(&self) -> Result<(), IndexError>;
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);
/// Keys and values.
pub type Pairs = Vec<Pair>;

/// The streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    /// namespace, last seq of a record -> position.
    Namespace,
    /// namespace, entry, last seq -> position.
    Entry,
    /// namespace, device, last seq -> position.
    Device,
    /// namespace, device, first counter -> last counter, position.
    Dot,
    /// namespace -> its head.
    Head,
    /// One pair: up to where all of this is complete.
    Mark,
}

impl Tree {
    /// All of them, the mark last.
    pub const ALL: [Self; 6] =
        [Self::Namespace, Self::Entry, Self::Device, Self::Dot, Self::Head, Self::Mark];
}

/// One pair to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub tree: Tree,
    /// Under what.
    pub key: Vec<u8>,
    /// What.
    pub value: Vec<u8>,
}

/// An index that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log's index cannot be used: {0}")]
pub struct IndexError(pub String);

type Trees = BTreeMap<Tree, BTreeMap<Vec<u8>, Vec<u8>>>;

/// An index in memory.
#[derive(Default)]
pub struct MemoryIndex(Mutex<Trees>);

impl MemoryIndex {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn trees(&self) -> MutexGuard<'_, Trees> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogIndex for MemoryIndex {
    fn range(&self, tree: Tree, from: &[u8], to: &[u8], count_max: usize) -> Result<Pairs, IndexError> {
        let mut trees = self.trees();
        let pairs = trees.entry(tree).or_default().range(from.to_vec()..=to.to_vec());
        Ok(pairs.take(count_max).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn last(&self, tree: Tree, from: &[u8], to: &[u8]) -> Result<Option<Pair>, IndexError> {
        let mut trees = self.trees();
        let pair = trees.entry(tree).or_default().range(from.to_vec()..=to.to_vec()).next_back();
        Ok(pair.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn count(&self, tree: Tree) -> Result<u64, IndexError> {
        Ok(self.trees().entry(tree).or_default().len() as u64)
    }

    fn write(&self, writes: &[Write]) -> Result<(), IndexError> {
        let mut trees = self.trees();
        for write in writes {
            trees.entry(write.tree).or_default().insert(write.key.clone(), write.value.clone());
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), IndexError> {
        self.trees().clear();
        Ok(())
    }
}

/// Up to where an index is complete, and of which log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Complete {
    pub(super) log: [u8; 16],
    pub(super) mark: Mark,
    /// How many records it holds: three trees have a pair for each.
    pub(super) records: u64,
}

const COMPLETE: &[u8] = b"complete/1";
const COMPLETE_BYTES: usize = 16 + 8 + 32 + 8;

impl Complete {
    pub(super) fn write(&self) -> Write {
        let parts: [&[u8]; 4] =
            [&self.log, &self.mark.place.0.to_be_bytes(), &self.mark.chain.0, &self.records.to_be_bytes()];
        let mut value = parts.concat();
        value.extend(crc32c::crc32c(&value).to_be_bytes());
        Write { tree: Tree::Mark, key: COMPLETE.to_vec(), value }
    }

    /// What `index` says of itself; none where it says nothing that can be believed.
    pub(super) fn of(index: &dyn LogIndex) -> Result<Option<Self>, IndexError> {
        let found = index.range(Tree::Mark, COMPLETE, COMPLETE, 1)?;
        let Some((_, value)) = found.into_iter().next() else { return Ok(None) };
        if value.len() != COMPLETE_BYTES + 4
            || crc32c::crc32c(&value[..COMPLETE_BYTES]).to_be_bytes() != value[COMPLETE_BYTES..]
        {
            return Ok(None);
        }
        Ok(Some(Self {
            log: value[..16].try_into().expect("16 bytes"),
            mark: Mark {
                place: Place(number(&value[16..24])),
                chain: Hash(value[24..56].try_into().expect("32 bytes")),
            },
            records: number(&value[56..64]),
        }))
    }
}

/// Adds what `record` at `position` puts into the streams.
pub(super) fn add_record(position: Position, record: &Record, writes: &mut Vec<Write>) {
    let (namespace, device) = (record.admission().namespace, record.batch().header().device);
    let (last_seq, at) = (record.last_seq(), position.0.to_be_bytes());
    let mut put = |tree, key, value: &[u8]| writes.push(Write { tree, key, value: value.to_vec() });
    put(Tree::Namespace, namespace_key(namespace, last_seq), &at);
    put(Tree::Device, device_key(namespace, device, last_seq), &at);
    let first = Dot::new(device, record.batch().header().first);
    put(Tree::Dot, dot_key(namespace, first), &[record.batch().last().to_be_bytes(), at].concat());
    for entry in entries_touched(record) {
        put(Tree::Entry, entry_key(namespace, entry, last_seq), &at);
    }
    let head = head_after(record);
    let value = [&head.seq.0.to_be_bytes()[..], &head.epoch.to_be_bytes(), &head.chain.0].concat();
    put(Tree::Head, namespace.0.to_vec(), &value);
}

/// All heads in `index`.
pub(super) fn heads_of(index: &dyn LogIndex) -> Result<BTreeMap<NamespaceId, Head>, IndexError> {
    let pairs = index.range(Tree::Head, &[0; 16], &[255; 16], usize::MAX)?;
    let head = |(key, value): Pair| {
        let namespace = NamespaceId::from_slice(&key).filter(|_| value.len() == 48)?;
        let (seq, epoch) = (Seq(number(&value[..8])), number(&value[8..16]));
        Some((namespace, Head { seq, epoch, chain: Hash::from_slice(&value[16..])? }))
    };
    pairs
        .into_iter()
        .map(|pair| head(pair).ok_or_else(|| IndexError("a head has another shape".into())))
        .collect()
}

/// The records of a stream that end after `after`: their last seqs and positions.
pub(super) fn stream(
    index: &dyn LogIndex,
    tree: Tree,
    key: impl Fn(Seq) -> Vec<u8>,
    after: Seq,
    count_max: usize,
) -> Result<Vec<(Seq, Position)>, IndexError> {
    let pairs = index.range(tree, &key(Seq(after.0.saturating_add(1))), &key(Seq(u64::MAX)), count_max)?;
    let place = |(key, value): Pair| {
        let seq = key.get(key.len().checked_sub(8)?..)?;
        Some((Seq(number(seq)), Position(number(value.get(..8)?))))
    };
    pairs
        .into_iter()
        .map(|pair| place(pair).ok_or_else(|| IndexError("a stream has pairs of another shape".into())))
        .collect()
}

/// The record that holds the last dot of `device` at or below `counter`: its last counter and its position.
pub(super) fn last_dots(
    index: &dyn LogIndex,
    namespace: NamespaceId,
    at_most: Dot,
) -> Result<Option<(u64, Position)>, IndexError> {
    let (from, to) = (dot_key(namespace, Dot::new(at_most.device, 0)), dot_key(namespace, at_most));
    let Some((_, value)) = index.last(Tree::Dot, &from, &to)? else { return Ok(None) };
    if value.len() != 16 {
        return Err(IndexError("a dot has a pair of another shape".into()));
    }
    Ok(Some((number(&value[..8]), Position(number(&value[8..])))))
}

pub(super) fn namespace_key(namespace: NamespaceId, seq: Seq) -> Vec<u8> {
    [&namespace.0[..], &seq.0.to_be_bytes()].concat()
}

pub(super) fn device_key(namespace: NamespaceId, device: DeviceId, seq: Seq) -> Vec<u8> {
    [&namespace.0[..], &device.0, &seq.0.to_be_bytes()].concat()
}

pub(super) fn entry_key(namespace: NamespaceId, entry: EntryId, seq: Seq) -> Vec<u8> {
    [&namespace.0[..], &entry.0.device.0, &entry.0.counter.to_be_bytes(), &seq.0.to_be_bytes()].concat()
}

fn dot_key(namespace: NamespaceId, dot: Dot) -> Vec<u8> {
    [&namespace.0[..], &dot.device.0, &dot.counter.to_be_bytes()].concat()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("8 bytes"))
}
