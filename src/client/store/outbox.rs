//! Chunks of saves that wait for a server, in packs of the device's own.

use crate::chunk_store::Packs;
use annals_engine::{
    chunk_store::{ChunkDamage, ChunkStats, ChunkStore, ChunkStoreError, Compacted},
    content::SealedChunk,
};
use annals_events::{ChunkId, DeviceId};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

/// Chunks of saves that the server has not got yet. Made at need: most folders never have one.
pub(in super::super) struct Outbox {
    folder: PathBuf,
    device: DeviceId,
    packs: Mutex<Option<Packs>>,
    /// Where its index is copied to, if it is only to be looked at.
    scratch: Option<PathBuf>,
}

impl Outbox {
    pub(super) fn new(folder: PathBuf, device: DeviceId) -> Self {
        Self { folder, device, packs: Mutex::new(None), scratch: None }
    }

    /// The same, only to be looked at: `scratch` is an empty folder.
    pub(super) fn to_look_at(folder: PathBuf, device: DeviceId, scratch: &Path) -> Self {
        Self { scratch: Some(scratch.to_owned()), ..Self::new(folder, device) }
    }

    /// The packs, if there are any or `make` is set.
    pub(super) fn packs(&self, make: bool) -> Result<MutexGuard<'_, Option<Packs>>, ChunkStoreError> {
        let mut packs = self.packs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if packs.is_none() && (make || self.folder.exists()) {
            *packs = Some(match &self.scratch {
                None => Packs::open(&self.folder, self.device)?,
                Some(scratch) => Packs::look(&self.folder, self.device, scratch)?,
            });
        }
        Ok(packs)
    }

    /// Nothing in it is needed any more.
    pub(in super::super) fn clear(&self) -> io::Result<()> {
        *self.packs.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl ChunkStore for Outbox {
    fn missing(&self, ids: &[ChunkId]) -> Result<Vec<ChunkId>, ChunkStoreError> {
        match &*self.packs(false)? {
            Some(packs) => packs.missing(ids),
            None => Ok(ids.to_vec()),
        }
    }

    fn put_all(&self, chunks: &[SealedChunk]) -> Result<(), ChunkStoreError> {
        self.packs(true)?.as_ref().expect("it was just made").put_all(chunks)
    }

    fn get(&self, id: &ChunkId) -> Result<Option<SealedChunk>, ChunkStoreError> {
        self.packs(false)?.as_ref().map_or(Ok(None), |packs| packs.get(id))
    }

    fn ids(&self, after: Option<&ChunkId>, count_max: usize) -> Result<Vec<ChunkId>, ChunkStoreError> {
        self.packs(false)?.as_ref().map_or(Ok(Vec::new()), |packs| packs.ids(after, count_max))
    }

    fn stats(&self) -> Result<ChunkStats, ChunkStoreError> {
        self.packs(false)?.as_ref().map_or(Ok(ChunkStats::default()), Packs::stats)
    }

    fn measure(&self, ids: &[ChunkId]) -> Result<ChunkStats, ChunkStoreError> {
        self.packs(false)?.as_ref().map_or(Ok(ChunkStats::default()), |packs| packs.measure(ids))
    }

    fn remove(&self, ids: &[ChunkId]) -> Result<ChunkStats, ChunkStoreError> {
        self.packs(false)?.as_ref().map_or(Ok(ChunkStats::default()), |packs| packs.remove(ids))
    }

    fn compact(&self) -> Result<Compacted, ChunkStoreError> {
        self.packs(false)?.as_ref().map_or(Ok(Compacted::default()), Packs::compact)
    }

    fn verify(&self, found: &mut dyn FnMut(ChunkDamage)) -> Result<ChunkStats, ChunkStoreError> {
        self.packs(false)?.as_ref().map_or(Ok(ChunkStats::default()), |packs| packs.verify(found))
    }
}
