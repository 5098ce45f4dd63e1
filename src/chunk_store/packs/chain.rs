//! Chunks that are stored as the difference to another, read down to the one that is whole.
//!
//! What must always hold: a chunk and what it is the difference to are read while both are there; one that is removed
//! meanwhile is gone, not damaged. Along a chain the depths fall, so it ends. In memory are the chunk and one base at a
//! time, and the differences, each of which is less than half of its chunk. What is damaged is said with both names.

use super::{
    Packs,
    frame::{Form, Stored},
};
use annals_engine::{
    chunk_store::{CHAIN_MAX, ChunkDamage, ChunkStoreError},
    content::{ChunkDelta, SealedChunk},
};
use annals_events::ChunkId;
use std::borrow::Cow;

impl Packs {
    /// The form in which a chunk that came in is to be stored.
    pub(super) fn form_for<'a>(
        &self,
        chunk: &'a SealedChunk,
        delta: Option<&'a ChunkDelta>,
    ) -> Result<Stored<'a>, ChunkStoreError> {
        if let Some(delta) = delta
            && let [base] = delta.bases[..]
            && let Some(base) = self.with_index(|index| index.get(&base))?
            && usize::from(base.form.depth()) < CHAIN_MAX
        {
            return Ok(Stored::Delta(Cow::Borrowed(delta), base.form.depth() + 1));
        }
        Ok(Stored::Whole(Cow::Borrowed(chunk)))
    }

    /// The chunk as it is stored.
    pub(super) fn stored(&self, id: &ChunkId) -> Result<Option<Stored<'static>>, ChunkStoreError> {
        let mut entry = self.with_index(|index| index.get(id))?;
        while let Some(known) = entry {
            let read = self.read(*id, known.place);
            if read.is_ok() {
                return read.map(Some);
            }
            // Its pack may have been taken away in this moment: then it stands elsewhere.
            entry = self.with_index(|index| index.get(id))?;
            if entry == Some(known) {
                return read.map(Some);
            }
        }
        Ok(None)
    }

    /// The plain bytes of a chunk.
    pub(super) fn plain_of(&self, id: &ChunkId) -> Result<Option<Vec<u8>>, ChunkStoreError> {
        let mut entry = self.with_index(|index| index.get(id))?;
        while let Some(known) = entry {
            let read = self.read_down(id);
            if read.is_ok() {
                return read.map(Some);
            }
            // It may have been removed in this moment, with what it is the difference to.
            entry = self.with_index(|index| index.get(id))?;
            if entry.is_some_and(|entry| entry.form == known.form) {
                return read.map(Some);
            }
        }
        Ok(None)
    }

    fn read_down(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkStoreError> {
        let (mut deltas, mut at) = (Vec::<ChunkDelta>::new(), *id);
        let mut deepest = usize::MAX;
        let whole = loop {
            match self.stored(&at).map_err(|error| of(id, &at, error))? {
                Some(Stored::Whole(chunk)) => break chunk.into_owned(),
                Some(Stored::Delta(delta, depth)) if usize::from(depth) < deepest => {
                    deepest = depth.into();
                    at = delta.bases[0];
                    deltas.push(delta.into_owned());
                }
                Some(Stored::Delta(..)) => return Err(of(id, &at, self.damage(at, "it leads in a circle"))),
                None => return Err(of(id, &at, self.damage(at, "it is not there"))),
            }
        };
        let mut plain = whole.open().map_err(|error| of(id, &at, self.damage(at, &error.to_string())))?;
        for delta in deltas.iter().rev() {
            let next = delta.apply(&plain);
            plain = next.map_err(|error| of(id, &delta.id, self.damage(delta.id, &error.to_string())))?;
        }
        Ok(plain)
    }

    /// What a chunk is the difference to, down to the whole one.
    pub(super) fn bases_of(&self, id: &ChunkId) -> Result<Vec<ChunkId>, ChunkStoreError> {
        self.with_index(|index| {
            let (mut bases, mut entry) = (Vec::new(), index.get(id)?);
            while let Some(Form::Delta { base, depth }) = entry.map(|entry| entry.form) {
                bases.push(base);
                entry = index.get(&base)?.filter(|below| below.form.depth() < depth);
            }
            Ok(bases)
        })
    }

    fn damage(&self, id: ChunkId, what: &str) -> ChunkStoreError {
        let place = self.with_index(|index| index.get(&id)).ok().flatten();
        let place = place.map_or_else(|| "nowhere".to_owned(), |entry| entry.place.to_string());
        ChunkStoreError::Damaged(ChunkDamage { id: Some(id), place, what: what.to_owned() })
    }
}

/// What is wrong with `base`, as it is wrong with the chunk that was asked for.
fn of(asked: &ChunkId, base: &ChunkId, error: ChunkStoreError) -> ChunkStoreError {
    match error {
        ChunkStoreError::Damaged(damage) if asked != base => ChunkStoreError::Damaged(ChunkDamage {
            id: Some(*asked),
            what: format!("it is stored as the difference to chunk {base}: {}", damage.what),
            ..damage
        }),
        other => other,
    }
}
