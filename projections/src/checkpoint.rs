//! A checkpoint: the tables as they are, in one run of bytes, closed by their SHA-256.
//!
//! It is a cache: whoever reads it gets exactly the state that wrote it, or [`CheckpointError`] and folds from
//! the beginning. Its bytes are in order of arrival, so two replicas' checkpoints differ although their digests
//! agree. References of dropped versions are left out; indexes over ids are made anew. It is no format for
//! other releases: the first bytes name this one's tables.

mod table;

use crate::{
    Projections, Scope, attributes::AttributeRow, chunk_refs::ChunkRefs, entries::EntryIx, history,
    usage::Contents,
};
use annals_events::{ChunkId, Hash};
use std::collections::BTreeMap;
use table::{Reader, Stored};

/// Names the tables and their layout.
const MAGIC: &[u8] = b"annals projections 2\0";

/// Bytes that are not a whole checkpoint of this release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Another release wrote it, or something else did.
    #[error("not a checkpoint of this release")]
    OtherFormat,
    /// Its digest is not that of its bytes, or they end early.
    #[error("the checkpoint is damaged")]
    Damaged,
}

impl Projections {
    /// All tables as bytes.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        self.namespace.put(&mut out);
        (self.scope == Scope::Server).put(&mut out);
        self.head.put(&mut out);
        self.devices.put(&mut out);
        self.access.put(&mut out);
        self.retention.put(&mut out);
        self.names.bytes.put(&mut out);
        self.entries.put(&mut out);
        self.places.put(&mut out);
        self.deletes.put(&mut out);
        self.resolutions.put(&mut out);
        self.versions.put(&mut out);
        self.moves.log.put(&mut out);
        self.moves.by_device.put(&mut out);
        (self.attributes.len() as u64).put(&mut out);
        for (entry, row) in &self.attributes {
            entry.put(&mut out);
            row.put(&mut out);
        }
        self.live_entries.put(&mut out);
        self.unknown.put(&mut out);
        self.put_chunk_refs(&mut out);
        let digest = Hash::of(b"", &[&out]);
        out.extend_from_slice(&digest.0);
        out
    }

    /// The state that wrote these bytes.
    ///
    /// # Errors
    /// [`CheckpointError`] where they are not exactly what [`checkpoint`](Self::checkpoint) gave.
    pub fn from_checkpoint(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(CheckpointError::OtherFormat)?;
        let split = body.len().checked_sub(Hash::BYTES).ok_or(CheckpointError::Damaged)?;
        let (body, digest) = body.split_at(split);
        if Hash::of(MAGIC, &[body]).0 != digest {
            return Err(CheckpointError::Damaged);
        }
        Self::take_tables(&mut Reader(body)).ok_or(CheckpointError::Damaged)
    }

    fn take_tables(from: &mut Reader<'_>) -> Option<Self> {
        let namespace = Stored::take(from)?;
        let scope = if bool::take(from)? { Scope::Server } else { Scope::Device };
        let mut whole = Self::new(namespace, scope);
        whole.head = Stored::take(from)?;
        whole.devices = Stored::take(from)?;
        whole.access = Stored::take(from)?;
        whole.retention = Stored::take(from)?;
        whole.names.bytes = Stored::take(from)?;
        whole.entries = Stored::take(from)?;
        whole.places = Stored::take(from)?;
        whole.deletes = Stored::take(from)?;
        whole.resolutions = Stored::take(from)?;
        whole.versions = Stored::take(from)?;
        whole.moves.log = Stored::take(from)?;
        whole.moves.by_device = Stored::take(from)?;
        let rows = u64::take(from)?;
        whole.attributes = (0..rows)
            .map(|_| Some((EntryIx::take(from)?, AttributeRow::take(from)?)))
            .collect::<Option<BTreeMap<_, _>>>()?;
        whole.live_entries = Stored::take(from)?;
        whole.unknown = Stored::take(from)?;
        whole.take_chunk_refs(from)?;
        from.0.is_empty().then_some(whole)
    }

    /// The chunks that retained versions name, each id once, and for each version which.
    fn put_chunk_refs(&self, out: &mut Vec<u8>) {
        if self.scope == Scope::Device {
            return;
        }
        let mut rows: Vec<u32> = vec![u32::MAX; self.chunk_refs.ids.len()];
        let mut ids: Vec<[u8; 32]> = Vec::new();
        let mut lists: Vec<u32> = Vec::new();
        for version in 0..self.version_count() {
            let starts = &self.chunk_refs.starts;
            let start = starts[version as usize] as usize;
            let end =
                starts.get(version as usize + 1).map_or(self.chunk_refs.chunk.len(), |&end| end as usize);
            let kept: &[u32] =
                if self.is_retained(version) { &self.chunk_refs.chunk[start..end] } else { &[] };
            lists.push(u32::try_from(kept.len()).expect("a batch names fewer"));
            for &chunk in kept {
                if rows[chunk as usize] == u32::MAX {
                    rows[chunk as usize] = u32::try_from(ids.len()).expect("fewer than before");
                    ids.push(self.chunk_refs.ids[chunk as usize]);
                }
                lists.push(rows[chunk as usize]);
            }
        }
        ids.put(out);
        lists.put(out);
    }

    fn take_chunk_refs(&mut self, from: &mut Reader<'_>) -> Option<()> {
        if self.scope == Scope::Device {
            return Some(());
        }
        let ids: Vec<[u8; 32]> = Stored::take(from)?;
        let lists: Vec<u32> = Stored::take(from)?;
        let (mut refs, mut contents, mut rest) =
            (ChunkRefs::default(), Contents::default(), lists.as_slice());
        for version in 0..self.version_count() {
            let (&count, after) = rest.split_first()?;
            let (chunks, after) = after.split_at_checked(count as usize)?;
            rest = after;
            let chunks: Option<Vec<ChunkId>> =
                chunks.iter().map(|&row| ids.get(row as usize).map(|id| ChunkId(*id))).collect();
            refs.add(chunks?);
            if self.versions.has(version, history::flag::RETAINED) {
                contents.retain(&self.versions, version);
            } else {
                refs.drop_version(version);
            }
        }
        (self.chunk_refs, self.contents) = (refs, contents);
        Some(())
    }

    fn version_count(&self) -> u32 {
        u32::try_from(self.versions.dot.len()).expect("checked when added")
    }
}
