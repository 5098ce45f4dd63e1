//! Where chunks live: put once, found by name, kept until they are removed.
//!
//! What every implementation keeps: what [`ChunkStore::put_all`] acknowledged is durable and is there afterwards,
//! with the bytes it had; a chunk is stored once, however often and from how many threads it is put; bytes that are
//! not what was stored are never handed out, they are [`ChunkStoreError::Damaged`] and say where. The store keeps
//! sealed chunks as they are and does not open what it is given: whoever puts a chunk that came from elsewhere
//! has [checked](crate::content::SealedChunk::check) it.
//!
//! Calls are plain and may wait for a disk: whoever must not block runs them elsewhere. Left out: which chunks may be
//! removed; who may read which of them.

#[cfg(feature = "contract")]
pub mod contract;
pub mod memory;
pub mod service;

use crate::content::SealedChunk;
use annals_events::ChunkId;

pub use memory::MemoryChunks;

/// One server's chunks, or one device's.
pub trait ChunkStore: Send + Sync {
    /// Those of `ids` that are not stored, each once, in the order asked.
    ///
    /// # Errors
    /// [`ChunkStoreError::Unavailable`].
    fn missing(&self, ids: &[ChunkId]) -> Result<Vec<ChunkId>, ChunkStoreError>;

    /// Stores those of `chunks` that are not stored yet; all of them are durable when it returns.
    ///
    /// # Errors
    /// After an error any of them may be stored; putting them again is always right.
    fn put_all(&self, chunks: &[SealedChunk]) -> Result<(), ChunkStoreError>;

    /// The chunk of this name, as it was put.
    ///
    /// # Errors
    /// [`ChunkStoreError::Damaged`] where its stored bytes are not those that were put.
    fn get(&self, id: &ChunkId) -> Result<Option<SealedChunk>, ChunkStoreError>;

    /// Whether a chunk is stored. Its bytes are not looked at.
    ///
    /// # Errors
    /// [`ChunkStoreError::Unavailable`].
    fn contains(&self, id: &ChunkId) -> Result<bool, ChunkStoreError> {
        Ok(self.missing(std::slice::from_ref(id))?.is_empty())
    }

    /// The names of all chunks in order, `count_max` at a time: those after `after`. Fewer mean that there are no more.
    ///
    /// # Errors
    /// [`ChunkStoreError::Unavailable`].
    fn ids(&self, after: Option<&ChunkId>, count_max: usize) -> Result<Vec<ChunkId>, ChunkStoreError>;

    /// How much there is.
    ///
    /// # Errors
    /// [`ChunkStoreError::Unavailable`].
    fn stats(&self) -> Result<ChunkStats, ChunkStoreError>;

    /// How much those of `ids` take that are stored.
    ///
    /// # Errors
    /// [`ChunkStoreError::Unavailable`].
    fn measure(&self, ids: &[ChunkId]) -> Result<ChunkStats, ChunkStoreError>;

    /// Removes those of `ids` that are stored, which nothing needs any more; answers with how much that was. Their room
    /// is free after [`compact`](Self::compact) at the latest. After a crash any of them may be there again.
    ///
    /// # Errors
    /// After an error any of them may be removed; removing them again is always right.
    fn remove(&self, ids: &[ChunkId]) -> Result<ChunkStats, ChunkStoreError>;

    /// Gives back the room of what was removed, where that is worth it.
    ///
    /// # Errors
    /// After an error some of it may be given back; nothing that is stored is lost.
    fn compact(&self) -> Result<Compacted, ChunkStoreError>;

    /// Reads and opens everything that is stored, and hands every damage to `found`. Answers with what is whole.
    ///
    /// # Errors
    /// [`ChunkStoreError::Unavailable`]; damage is a finding and no error.
    fn verify(&self, found: &mut dyn FnMut(ChunkDamage)) -> Result<ChunkStats, ChunkStoreError>;
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ChunkStats {
    /// How many chunks.
    pub chunks: u64,
    /// Their bytes as stored.
    pub stored_bytes: u64,
    /// Their plain bytes.
    pub plain_bytes: u64,
}

impl ChunkStats {
    /// Counts one more.
    pub fn add(&mut self, chunk: &SealedChunk) {
        self.chunks += 1;
        self.stored_bytes += chunk.bytes.len() as u64;
        self.plain_bytes += u64::from(chunk.plain_bytes);
    }
}

/// What compaction found and left: files, and their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Packs before.
    pub packs_before: u64,
    /// Their bytes.
    pub bytes_before: u64,
    /// Packs after.
    pub packs_after: u64,
    /// Their bytes.
    pub bytes_after: u64,
}

/// Something in the store that is not what was put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkDamage {
    /// Which chunk, where that is known.
    pub id: Option<ChunkId>,
    /// File and offset, or the name of an object.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for ChunkDamage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.id {
            Some(id) => write!(f, "chunk {id} is damaged ({}): {}", self.place, self.what),
            None => write!(f, "the chunk store is damaged ({}): {}", self.place, self.what),
        }
    }
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkStoreError {
    /// No room. What was acknowledged stays, and putting goes on once there is room.
    #[error("no space left for chunks in {place}")]
    Full {
        /// Where.
        place: String,
    },
    /// Stored bytes are not what was put.
    #[error("{0}")]
    Damaged(ChunkDamage),
    /// The store can't be used any more, or not now.
    #[error("the chunk store is unavailable: {what}")]
    Unavailable {
        /// Why.
        what: String,
    },
}
