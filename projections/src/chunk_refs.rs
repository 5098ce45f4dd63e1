//! Which chunks are needed: for every retained version the chunks that its event names (I12).
//!
//! These are sets, never counters: a chunk is needed while one of the versions that name it is retained, and a
//! version is dropped by a mark of its own. Manifests are named here like any chunk; what they list is
//! expanded outside the fold, by verify and collection. References of dropped versions stay in the table until
//! a checkpoint leaves them out.

use crate::intern::{IdIndex, NONE, next_index, push};
use annals_events::ChunkId;

/// The chunks of all retained versions.
#[derive(Clone, Debug, Default)]
pub struct ChunkRefs {
    pub(crate) ids: Vec<[u8; 32]>,
    index: IdIndex,
    /// For each chunk its latest reference.
    latest: Vec<u32>,
    /// For each reference: the chunk, and the reference to the same chunk before it.
    pub(crate) chunk: Vec<u32>,
    before: Vec<u32>,
    /// For each version where its references begin.
    pub(crate) starts: Vec<u32>,
    /// For each version, whether it was dropped; in words of 64.
    dropped: Vec<u64>,
}

impl ChunkRefs {
    /// Whether a retained version names this chunk.
    #[must_use]
    pub fn contains(&self, chunk: ChunkId) -> bool {
        self.versions_of(chunk).next().is_some()
    }

    /// Whether any version ever named this chunk, as far as this table goes back: those that were dropped stay in it
    /// until a checkpoint leaves them out.
    #[must_use]
    pub fn was_named(&self, chunk: ChunkId) -> bool {
        self.index.find(&chunk.0, |row| self.ids[row as usize] == chunk.0).is_some()
    }

    /// How many retained versions name this chunk.
    #[must_use]
    pub fn count(&self, chunk: ChunkId) -> u64 {
        self.versions_of(chunk).count() as u64
    }

    /// Every chunk that a retained version names, in no meaningful order.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.ids.iter().map(|id| ChunkId(*id)).filter(|&id| self.contains(id))
    }

    /// The retained versions that name a chunk, each once, as rows of versions.
    pub(crate) fn versions_of(&self, chunk: ChunkId) -> impl Iterator<Item = u32> + '_ {
        let row = self.index.find(&chunk.0, |row| self.ids[row as usize] == chunk.0);
        let some = |at: u32| Some(at).filter(|&at| at != NONE);
        let references =
            std::iter::successors(row.and_then(|row| some(self.latest[row as usize])), move |&at| {
                some(self.before[at as usize])
            });
        let mut last = NONE;
        references.map(|reference| self.version_of(reference)).filter(move |&version| {
            std::mem::replace(&mut last, version) != version && !self.is_dropped(version)
        })
    }

    fn version_of(&self, reference: u32) -> u32 {
        u32::try_from(self.starts.partition_point(|&start| start <= reference) - 1)
            .expect("one of the versions")
    }

    pub(crate) fn is_dropped(&self, version: u32) -> bool {
        self.dropped.get(version as usize / 64).is_some_and(|word| word >> (version % 64) & 1 == 1)
    }

    /// The chunks that a version names, in the order of its event.
    pub(crate) fn of_version(&self, version: u32) -> impl Iterator<Item = ChunkId> + '_ {
        let start = self.starts[version as usize] as usize;
        let end = self.starts.get(version as usize + 1).map_or(self.chunk.len(), |&end| end as usize);
        self.chunk[start..end].iter().map(|&row| ChunkId(self.ids[row as usize]))
    }

    /// The next version, with what its event names.
    pub(crate) fn add(&mut self, chunks: impl IntoIterator<Item = ChunkId>) {
        push(&mut self.starts, u32::try_from(self.chunk.len()).expect("fewer than 2^32 references"));
        for chunk in chunks {
            let row = self.intern(&chunk.0);
            let reference = u32::try_from(self.chunk.len()).ok().filter(|&at| at != NONE);
            let reference = reference.expect("fewer than 2^32 references");
            push(&mut self.chunk, row);
            push(&mut self.before, std::mem::replace(&mut self.latest[row as usize], reference));
        }
    }

    /// See [`IdIndex::warm`].
    pub(crate) fn warm(&self, chunks: impl Iterator<Item = ChunkId>) {
        self.index.warm(chunks.map(|chunk| chunk.0));
    }

    fn intern(&mut self, id: &[u8; 32]) -> u32 {
        let Self { ids, index, latest, .. } = self;
        index.find(id, |row| ids[row as usize] == *id).unwrap_or_else(|| {
            let row = next_index(ids);
            index.insert(id, |row| &ids[row as usize]);
            push(ids, *id);
            push(latest, NONE);
            row
        })
    }

    /// A version expired or was purged.
    pub(crate) fn drop_version(&mut self, version: u32) {
        let word = version as usize / 64;
        self.dropped.resize(self.dropped.len().max(word + 1), 0);
        self.dropped[word] |= 1 << (version % 64);
    }
}
