//! What events name and the server lost, as far as somebody asked for it: a device that shows it is asked to give it.
//!
//! It is not written down: who waits for a content asks again. What must always hold: what was given is not asked for
//! any more. Left out: whether a chunk is stored, which the store knows, and whether the asker may read it.

use annals_events::{ChunkId, ContentId};
use std::collections::{BTreeMap, BTreeSet};

/// As many are remembered; more are asked for once some of these came.
const WANTED_MAX: usize = 1024;

/// Chunks that are lost, with a content that holds each.
#[derive(Clone, Debug, Default)]
pub struct Wanted(BTreeMap<ChunkId, ContentId>);

impl Wanted {
    /// Takes note that somebody waits for `chunk` of `content`; whether that is new.
    pub fn note(&mut self, chunk: ChunkId, content: ContentId) -> bool {
        let has_room = self.0.len() < WANTED_MAX || self.0.contains_key(&chunk);
        has_room && self.0.insert(chunk, content) != Some(content)
    }

    /// The chunks that somebody waits for.
    #[must_use]
    pub fn chunks(&self) -> Vec<ChunkId> {
        self.0.keys().copied().collect()
    }

    /// Whether somebody waits for one of these.
    pub fn waits_for<'a>(&self, mut chunks: impl Iterator<Item = &'a ChunkId>) -> bool {
        !self.0.is_empty() && chunks.any(|chunk| self.0.contains_key(chunk))
    }

    /// The contents that are waited for still, now that of `asked` only those are lost that are `missing`.
    pub fn left(&mut self, asked: &[ChunkId], missing: &[ChunkId]) -> Vec<ContentId> {
        let missing: BTreeSet<&ChunkId> = missing.iter().collect();
        let there: BTreeSet<&ChunkId> = asked.iter().filter(|chunk| !missing.contains(chunk)).collect();
        self.0.retain(|chunk, _| !there.contains(chunk));
        let contents: BTreeSet<ContentId> = self.0.values().copied().collect();
        contents.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_waits_for_is_asked_for_until_it_is_there() {
        let (a, b) = (ChunkId([1; 32]), ChunkId([2; 32]));
        let (one, other) = (ContentId([8; 32]), ContentId([9; 32]));
        let mut wanted = Wanted::default();
        assert!(!wanted.waits_for([a].iter()));
        assert!(wanted.note(a, one) && wanted.note(b, other) && !wanted.note(a, one));
        assert!(wanted.waits_for([b].iter()));
        assert_eq!(wanted.left(&[a, b], &[a, b]), [one, other]);
        assert_eq!(wanted.left(&[a, b], &[b]), [other]);
        assert_eq!(wanted.chunks(), [b]);
        assert_eq!(wanted.left(&[a], &[]), [other], "what was not looked for is not known to be there");
        assert_eq!(wanted.left(&[b], &[]), []);
    }

    #[test]
    fn nobody_fills_the_memory_by_waiting() {
        let mut wanted = Wanted::default();
        let chunk = |n: usize| ChunkId::of(&n.to_be_bytes());
        for n in 0..2 * WANTED_MAX {
            wanted.note(chunk(n), ContentId([0; 32]));
        }
        assert_eq!(wanted.chunks().len(), WANTED_MAX);
        assert!(wanted.note(chunk(0), ContentId([1; 32])), "what is known may change");
    }
}
