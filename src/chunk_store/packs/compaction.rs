//! Packs that are mostly dead, taken away: what lives in them is put again at the end, then they go.
//!
//! ```text
//! for each chunk that lives there   appended to the last pack, durable; the index points to the copy
//! `removed` names the packs         durable
//! the index knows how many          one that does not (a crash) is begun anew from the packs
//! the packs go
//! ```
//!
//! What must always hold: before a pack is named in `removed`, everything that lived in it is durable elsewhere; power
//! may be lost at any step. A chunk is read beside this: who finds its pack gone asks the index again. A pack in which
//! something that lives cannot be read stays, for whoever wants to look at it.

use super::{
    CATCH_UP_CHUNKS, GROUP_BYTES, Packs,
    frame::{self, Stored},
    from_segments,
    index::Index,
    removed,
};
use annals_engine::chunk_store::{ChunkStoreError, Compacted};
use annals_events::{
    ChunkId,
    segment::{Place, Segments, file_name},
};
use std::collections::{BTreeMap, BTreeSet};

/// What stands in a pack beside its chunks' bytes: a frame's header, and its share of its group's.
const FRAME_BYTES: u64 = 9 + frame::HEADER as u64;

impl Packs {
    pub(super) fn compact_packs(&self) -> Result<Compacted, ChunkStoreError> {
        let before = self.sizes()?;
        let mut compacted = Compacted::default();
        (compacted.packs_before, compacted.bytes_before) = sum(&before);
        let mut doomed = self.mostly_dead(&before)?;
        let last = self.end().place.number();
        if doomed.contains(&last) {
            let mut writer = self.writer();
            // Somebody may have begun another meanwhile.
            if writer.end().place.number() == last {
                writer.begin_next().map_err(from_segments)?;
                let end = writer.end();
                *self.end() = end;
                self.with_index(|index| index.add(&[], end))?;
            }
        }
        self.move_out_of(&mut doomed)?;
        self.take_away(&doomed)?;
        (compacted.packs_after, compacted.bytes_after) = sum(&self.sizes()?);
        Ok(compacted)
    }

    /// The bytes of each pack's file.
    fn sizes(&self) -> Result<BTreeMap<u32, u64>, ChunkStoreError> {
        let numbers = self.writer().numbers().map_err(from_segments)?;
        let size = |number: u32| {
            let bytes = self.disk.open(&file_name(number)).and_then(|file| file.len());
            Ok((number, bytes.map_err(|error| from_segments(error.into()))?))
        };
        numbers.into_iter().map(size).collect()
    }

    /// The packs of which less than half lives.
    fn mostly_dead(&self, sizes: &BTreeMap<u32, u64>) -> Result<BTreeSet<u32>, ChunkStoreError> {
        let living = self.with_index(|index| {
            let mut living: BTreeMap<u32, u64> = BTreeMap::new();
            for entry in index.after(None) {
                let (_, entry) = entry?;
                *living.entry(entry.place.number()).or_default() +=
                    FRAME_BYTES + u64::from(entry.stored_bytes);
            }
            Ok(living)
        })?;
        let lives = |number: &u32| living.get(number).copied().unwrap_or_default();
        let dead = sizes.iter().filter(|(number, bytes)| lives(number) * 2 < **bytes && **bytes > 128);
        Ok(dead.map(|(number, _)| *number).collect())
    }

    /// Puts again what lives in these packs. Those with something that cannot be read are spared.
    fn move_out_of(&self, doomed: &mut BTreeSet<u32>) -> Result<(), ChunkStoreError> {
        let mut living: Vec<(Place, ChunkId)> = self.with_index(|index| {
            let entries = index.after(None).map(|entry| entry.map(|(id, entry)| (entry.place, id)));
            let there = |entry: &Result<(Place, ChunkId), _>| {
                entry.as_ref().map_or(true, |(place, _)| doomed.contains(&place.number()))
            };
            entries.filter(there).collect()
        })?;
        living.sort_unstable();
        let mut rest = living.as_slice();
        while !rest.is_empty() {
            let mut writer = self.writer();
            let (mut group, mut bytes, mut taken) = (Vec::new(), 0, 0);
            for (place, id) in rest {
                if bytes > GROUP_BYTES || taken >= CATCH_UP_CHUNKS {
                    break;
                }
                taken += 1;
                // What was removed meanwhile is not put again.
                let still =
                    self.with_index(|index| index.get(id))?.is_some_and(|entry| entry.place == *place);
                match self.read(*id, *place) {
                    _ if !still => {}
                    Ok(chunk) => {
                        bytes += chunk.stored_bytes();
                        group.push(chunk);
                    }
                    Err(ChunkStoreError::Damaged(damage)) => {
                        tracing::error!(%damage, "its pack is left as it is");
                        doomed.remove(&place.number());
                    }
                    Err(other) => return Err(other),
                }
            }
            rest = &rest[taken..];
            self.put_again(&mut writer, &group)?;
        }
        Ok(())
    }

    /// In the form that they have: what they are the difference to is there.
    fn put_again(&self, writer: &mut Segments, group: &[Stored<'_>]) -> Result<(), ChunkStoreError> {
        if group.is_empty() { Ok(()) } else { self.put_group(writer, group).map(drop) }
    }

    /// Takes the packs away, whose chunks all live elsewhere.
    fn take_away(&self, doomed: &BTreeSet<u32>) -> Result<(), ChunkStoreError> {
        if doomed.is_empty() {
            return Ok(());
        }
        let _alone = self.moving.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut writer = self.writer();
        let mut all = self.removed();
        all.extend(doomed);
        removed::write(&*self.disk, &all).map_err(|error| from_segments(error.into()))?;
        let count = all.len() as u64;
        *self.removed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = all;
        self.with_index(|index| index.set_removed(count))?;
        doomed.iter().try_for_each(|number| writer.remove(*number)).map_err(from_segments)
    }

    pub(super) fn removed(&self) -> BTreeSet<u32> {
        self.removed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

fn sum(sizes: &BTreeMap<u32, u64>) -> (u64, u64) {
    (sizes.len() as u64, sizes.values().sum())
}

/// An index that was made when other packs were gone may point into those: it is begun anew.
pub(super) fn is_of_these_packs(index: &Index, removed: &BTreeSet<u32>) -> bool {
    index.removed() == removed.len() as u64
}
