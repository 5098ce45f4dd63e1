//! The twin of a chunk store: in memory, with puts that fail half way.
//!
//! What was acknowledged stays; of a put that failed any part may be there, as the trait says. Left out: damaged
//! bytes (the real store's own tests have those).

use annals_engine::{
    chunk_store::{ChunkDamage, ChunkStats, ChunkStore, ChunkStoreError, Compacted, MemoryChunks},
    content::SealedChunk,
};
use annals_events::ChunkId;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Chunks that survive their machine's crashes. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct TwinChunks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stored: MemoryChunks,
    /// One more than how many chunks of the next put are stored before it fails; 0 for none of this.
    fail_after: AtomicUsize,
}

impl TwinChunks {
    /// The next put stores so many chunks and fails.
    pub fn fail_next_put_after(&self, chunks: usize) {
        self.0.fail_after.store(chunks + 1, Ordering::Relaxed);
    }
}

impl ChunkStore for TwinChunks {
    fn missing(&self, ids: &[ChunkId]) -> Result<Vec<ChunkId>, ChunkStoreError> {
        self.0.stored.missing(ids)
    }

    fn put_all(&self, chunks: &[SealedChunk]) -> Result<(), ChunkStoreError> {
        match self.0.fail_after.swap(0, Ordering::Relaxed) {
            0 => self.0.stored.put_all(chunks),
            some => {
                self.0.stored.put_all(&chunks[..chunks.len().min(some - 1)])?;
                Err(ChunkStoreError::Unavailable { what: "it failed half way".into() })
            }
        }
    }

    fn get(&self, id: &ChunkId) -> Result<Option<SealedChunk>, ChunkStoreError> {
        self.0.stored.get(id)
    }

    fn ids(&self, after: Option<&ChunkId>, count_max: usize) -> Result<Vec<ChunkId>, ChunkStoreError> {
        self.0.stored.ids(after, count_max)
    }

    fn stats(&self) -> Result<ChunkStats, ChunkStoreError> {
        self.0.stored.stats()
    }

    fn measure(&self, ids: &[ChunkId]) -> Result<ChunkStats, ChunkStoreError> {
        self.0.stored.measure(ids)
    }

    fn remove(&self, ids: &[ChunkId]) -> Result<ChunkStats, ChunkStoreError> {
        self.0.stored.remove(ids)
    }

    fn compact(&self) -> Result<Compacted, ChunkStoreError> {
        self.0.stored.compact()
    }

    fn verify(&self, found: &mut dyn FnMut(ChunkDamage)) -> Result<ChunkStats, ChunkStoreError> {
        self.0.stored.verify(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_engine::chunk_store::contract;

    #[test]
    fn the_twin_keeps_the_contract() {
        contract::check(&mut || Box::new(TwinChunks::default()));
    }

    #[test]
    fn a_put_that_failed_half_way_is_repeated() {
        let chunks: Vec<SealedChunk> = (1..4).map(|n| SealedChunk::seal(vec![n; 9])).collect();
        let ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
        let store = TwinChunks::default();
        store.fail_next_put_after(1);
        assert!(store.put_all(&chunks).is_err());
        assert_eq!(store.missing(&ids).unwrap(), ids[1..]);
        store.put_all(&chunks).unwrap();
        assert!(store.missing(&ids).unwrap().is_empty());
    }
}
