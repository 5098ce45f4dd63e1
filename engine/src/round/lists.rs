//! Manifests that a device had in hand: the lists of the chunks of its large files.
//!
//! A new version's list is told as the difference to the one before, and says which chunks of that are here already. Both
//! take the old list; without it that is fetched whole, which is all that is lost with it.

use annals_events::ChunkId;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Where they are kept, as long as there is room.
pub trait Lists {
    /// The bytes of this one, if they are here and have that name.
    fn get(&self, id: &ChunkId) -> Option<Vec<u8>>;

    /// Keeps one, if that is possible.
    fn put(&self, id: &ChunkId, bytes: &[u8]);
}

/// None are kept.
impl Lists for () {
    fn get(&self, _: &ChunkId) -> Option<Vec<u8>> {
        None
    }

    fn put(&self, _: &ChunkId, _: &[u8]) {}
}

/// All of them, until it is dropped: for worlds that are simulated.
#[derive(Debug, Default)]
pub struct MemoryLists(Mutex<BTreeMap<ChunkId, Vec<u8>>>);

impl Lists for MemoryLists {
    fn get(&self, id: &ChunkId) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn put(&self, id: &ChunkId, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, bytes.to_vec());
    }
}
