//! Where chunks live: put once, found by name, kept until they are removed.
//!
//! What every implementation keeps: what [`ChunkStore::put_all`] acknowledged is durable and is there afterwards,
//! with the bytes it had; a chunk is stored once, however often and from how many threads it is put; bytes that are
//! not what was stored are never handed out, they are [`ChunkStoreError::Damaged`] and say where. The store keeps
//! sealed chunks as they are and does not open what it is given: whoever puts a chunk that came from elsewhere
//! has [checked](crate::content::SealedChunk::check) it. A chunk that [replaces](Incoming) another may be stored as
//! the difference to that one, its base, which then stays as long as the difference is stored.
//!
//! Calls are plain and may wait for a disk: whoever must not block runs them elsewhere. Left out: which chunks may be
//! removed; who may read which of them.

#[cfg(feature = "contract")]
pub mod contract;
pub mod memory;
pub mod service;

use crate::content::{ChunkDelta, SealedChunk};
use annals_events::ChunkId;

pub use memory::MemoryChunks;

/// Most differences that have to be read one after the other for a chunk: its own, that of its base, and so on.
pub const CHAIN_MAX: usize = 8;

/// A chunk to be stored: whole, or as the difference to one that is stored already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The chunk.
    pub whole: SealedChunk,
    /// The same as the difference to a single base, made with the base's bytes; there only where that is clearly
    /// smaller.
    pub delta: Option<ChunkDelta>,
}

impl From<SealedChunk> for Incoming {
    fn from(whole: SealedChunk) -> Self {
        Self { whole, delta: None }
    }
}

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

    /// Stores what is not stored yet, as the difference where there is one and the store has its base and keeps
    /// differences; all of it is durable when it returns. Answers with what was new, as it is stored.
    ///
    /// # Errors
    /// As for [`put_all`](Self::put_all).
    fn take(&self, incoming: &[Incoming]) -> Result<ChunkStats, ChunkStoreError> {
        let ids: Vec<ChunkId> = incoming.iter().map(|chunk| chunk.whole.id).collect();
        let missing = self.missing(&ids)?;
        let whole: Vec<SealedChunk> = incoming.iter().map(|chunk| chunk.whole.clone()).collect();
        self.put_all(&whole)?;
        self.measure(&missing)
    }

    /// The chunk of this name, as it was put; sealed again where it is stored as a difference.
    ///
    /// # Errors
    /// [`ChunkStoreError::Damaged`] where its stored bytes, or those of a base, are not those that were put.
    fn get(&self, id: &ChunkId) -> Result<Option<SealedChunk>, ChunkStoreError>;

    /// The plain bytes of the chunk of this name.
    ///
    /// # Errors
    /// As for [`get`](Self::get); also where it does not open.
    fn plain(&self, id: &ChunkId) -> Result<Option<Vec<u8>>, ChunkStoreError> {
        let Some(chunk) = self.get(id)? else { return Ok(None) };
        chunk.open().map(Some).map_err(|error| {
            ChunkStoreError::Damaged(ChunkDamage {
                id: Some(*id),
                place: "as it was put".to_owned(),
                what: error.to_string(),
            })
        })
    }

    /// The chunks that have to be read beside this one: its base, the base of that, and so on; [`CHAIN_MAX`] at most.
    /// None where it is stored whole, or not at all.
    ///
    /// # Errors
    /// [`ChunkStoreError::Unavailable`].
    fn bases(&self, _id: &ChunkId) -> Result<Vec<ChunkId>, ChunkStoreError> {
        Ok(Vec::new())
    }

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

    /// How much those of `ids` take that are stored: at most what removing them gives back.
    ///
    /// # Errors
    /// [`ChunkStoreError::Unavailable`].
    fn measure(&self, ids: &[ChunkId]) -> Result<ChunkStats, ChunkStoreError>;

    /// Removes those of `ids` that are stored, which nothing needs any more; answers with how much that was. A base of
    /// something that stays is left where it is, and goes once it is named when nothing is stored as the difference to
    /// it. Their room is free after [`compact`](Self::compact) at the latest. After a crash any of them may be there
    /// again.
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

    /// Counts all of these, too.
    pub fn add_all(&mut self, others: Self) {
        self.chunks += others.chunks;
        self.stored_bytes += others.stored_bytes;
        self.plain_bytes += others.plain_bytes;
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
