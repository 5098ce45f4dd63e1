//! Chunks in a map: for tests, and for worlds that are simulated.

use super::{ChunkDamage, ChunkStats, ChunkStore, ChunkStoreError, Compacted};
use crate::content::SealedChunk;
use annals_events::ChunkId;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Mutex, MutexGuard},
};

/// A store that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryChunks {
    chunks: Mutex<BTreeMap<ChunkId, SealedChunk>>,
}

impl MemoryChunks {
    fn chunks(&self) -> MutexGuard<'_, BTreeMap<ChunkId, SealedChunk>> {
        self.chunks.lock().expect("nothing panics while it holds the lock")
    }
}

impl ChunkStore for MemoryChunks {
    fn missing(&self, ids: &[ChunkId]) -> Result<Vec<ChunkId>, ChunkStoreError> {
        let chunks = self.chunks();
        let mut asked = BTreeSet::new();
        Ok(ids.iter().filter(|id| !chunks.contains_key(id) && asked.insert(**id)).copied().collect())
    }

    fn put_all(&self, chunks: &[SealedChunk]) -> Result<(), ChunkStoreError> {
        let mut stored = self.chunks();
        for chunk in chunks {
            stored.entry(chunk.id).or_insert_with(|| chunk.clone());
        }
        Ok(())
    }

    fn get(&self, id: &ChunkId) -> Result<Option<SealedChunk>, ChunkStoreError> {
        Ok(self.chunks().get(id).cloned())
    }

    fn ids(&self, after: Option<&ChunkId>, count_max: usize) -> Result<Vec<ChunkId>, ChunkStoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let chunks = self.chunks();
        Ok(chunks.range((start, Bound::Unbounded)).map(|(id, _)| *id).take(count_max).collect())
    }

    fn stats(&self) -> Result<ChunkStats, ChunkStoreError> {
        let mut stats = ChunkStats::default();
        self.chunks().values().for_each(|chunk| stats.add(chunk));
        Ok(stats)
    }

    fn measure(&self, ids: &[ChunkId]) -> Result<ChunkStats, ChunkStoreError> {
        let (chunks, mut stats) = (self.chunks(), ChunkStats::default());
        let asked: BTreeSet<&ChunkId> = ids.iter().collect();
        asked.into_iter().filter_map(|id| chunks.get(id)).for_each(|chunk| stats.add(chunk));
        Ok(stats)
    }

    fn remove(&self, ids: &[ChunkId]) -> Result<ChunkStats, ChunkStoreError> {
        let (mut chunks, mut stats) = (self.chunks(), ChunkStats::default());
        ids.iter().filter_map(|id| chunks.remove(id)).for_each(|chunk| stats.add(&chunk));
        Ok(stats)
    }

    fn compact(&self) -> Result<Compacted, ChunkStoreError> {
        Ok(Compacted::default())
    }

    fn verify(&self, found: &mut dyn FnMut(ChunkDamage)) -> Result<ChunkStats, ChunkStoreError> {
        let mut whole = ChunkStats::default();
        for chunk in self.chunks().values() {
            match chunk.check() {
                Ok(()) => whole.add(chunk),
                Err(error) => found(ChunkDamage {
                    id: Some(chunk.id),
                    place: "memory".to_owned(),
                    what: error.to_string(),
                }),
            }
        }
        Ok(whole)
    }
}

#[cfg(all(test, feature = "contract"))]
mod tests {
    use super::*;
    use crate::chunk_store::contract;

    #[test]
    fn memory_keeps_the_contract() {
        contract::check(&mut || Box::new(MemoryChunks::default()));
    }
}
