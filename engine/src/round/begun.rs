//! What is half sent, or half fetched: so that what gave way is gone on with where it was, at no cost.
//!
//! What must always hold: what is not in here is only slower. A server that forgot what it was sent says so when a batch
//! names it; what lies on this disk is believed because this process wrote it, and nobody else touches it there. Left
//! out: what was sent or fetched before this process began, which is asked for and read.

use annals_events::{ChunkId, ChunkRef, ContentId};
use std::collections::{BTreeMap, BTreeSet};

/// So many chunks are remembered in all.
const CHUNKS_MAX: usize = 64 << 10;

/// Contents on their way.
#[derive(Debug, Default)]
pub struct Begun {
    lacking: BTreeMap<ContentId, BTreeSet<ChunkId>>,
    written: BTreeMap<ContentId, u64>,
    /// What is left to be sent of what was signed, in order.
    left: BTreeMap<ContentId, Vec<ChunkRef>>,
    /// About how many bytes that is.
    costs: BTreeMap<ContentId, u64>,
}

impl Begun {
    /// Nothing is on its way any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Of these contents the server lacks these chunks, and no others.
    pub(super) fn lacks(&mut self, contents: &[ContentId], chunks: &BTreeSet<ChunkId>) {
        let known: usize = self.lacking.values().map(BTreeSet::len).sum();
        if let [content] = contents
            && known + chunks.len() <= CHUNKS_MAX
        {
            self.lacking.insert(*content, chunks.clone());
        }
    }

    /// What the server lacks of these contents, if that is known; from now on it is not any more.
    pub(super) fn take_lacking(&mut self, contents: &[ContentId]) -> Option<BTreeSet<ChunkId>> {
        let [content] = contents else { return None };
        self.lacking.remove(content)
    }

    /// Of this content, which was signed, about so many bytes have to be sent.
    pub(super) fn costs(&mut self, content: ContentId, bytes: u64) {
        self.costs.insert(content, bytes);
    }

    /// How much has to be sent of it, if that is known.
    pub(super) fn cost_of(&self, content: &ContentId) -> Option<u64> {
        self.costs.get(content).copied()
    }

    /// Of this content, which was signed, these chunks have to be sent, in this order, and no others.
    pub(super) fn leaves(&mut self, content: ContentId, chunks: Vec<ChunkRef>) {
        self.costs(content, chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum());
        let known: usize = self.left.values().map(Vec::len).sum();
        if known + chunks.len() <= CHUNKS_MAX {
            self.left.insert(content, chunks);
        }
    }

    /// What has to be sent of it, if that is known; from now on it is not any more.
    pub(super) fn take_left(&mut self, content: &ContentId) -> Option<Vec<ChunkRef>> {
        self.left.remove(content)
    }

    /// How much of new files was written.
    pub(super) fn written(&mut self) -> &mut BTreeMap<ContentId, u64> {
        &mut self.written
    }
}
