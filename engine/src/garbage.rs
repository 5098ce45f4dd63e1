//! Chunks that nothing needs, and since when that is known: what is to be collected once its grace period is over.
//!
//! What must always hold: a chunk is ripe only if it was garbage at every look since it was first found to be, and that
//! is as long ago as the grace period; who was told meanwhile that it is stored was told so before it became garbage.
//! Forgetting all of this is harmless: then the grace period begins anew.
//!
//! ```text
//! garbage = "annals garbage 1\0", for each chunk its id (32 bytes) and since when (8, big-endian, milliseconds since
//!           1970), in order of the ids; the SHA-256 of all before
//! ```

use annals_events::{ChunkId, Hash};
use std::collections::BTreeMap;

const MAGIC: &[u8] = b"annals garbage 1\0";
const ROW: usize = ChunkId::BYTES + 8;

/// Chunks that nothing needs, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Garbage(BTreeMap<ChunkId, u64>);

impl Garbage {
    /// What a look at all stored chunks finds, after the one that found `self`: those that are not `needed`.
    #[must_use]
    pub fn looked(
        &self,
        stored: impl IntoIterator<Item = ChunkId>,
        needed: impl Fn(&ChunkId) -> bool,
        now_ms: u64,
    ) -> Self {
        let garbage = stored.into_iter().filter(|id| !needed(id));
        Self(garbage.map(|id| (id, self.0.get(&id).map_or(now_ms, |since| (*since).min(now_ms)))).collect())
    }

    /// Adds what another part of the same look found.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Those that have been garbage for as long as the grace period.
    #[must_use]
    pub fn ripe(&self, now_ms: u64, grace_ms: u64) -> Vec<ChunkId> {
        let ripe = self.0.iter().filter(|(_, since)| now_ms.saturating_sub(**since) >= grace_ms);
        ripe.map(|(id, _)| *id).collect()
    }

    /// All of them.
    #[must_use]
    pub fn chunks(&self) -> Vec<ChunkId> {
        self.0.keys().copied().collect()
    }

    /// These are no garbage, or not stored any more.
    pub fn forget<'a>(&mut self, chunks: impl IntoIterator<Item = &'a ChunkId>) {
        for chunk in chunks {
            self.0.remove(chunk);
        }
    }

    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (id, since) in &self.0 {
            bytes.extend_from_slice(&id.0);
            bytes.extend_from_slice(&since.to_be_bytes());
        }
        let digest = Hash::of(b"", &[&bytes]);
        bytes.extend_from_slice(&digest.0);
        bytes
    }

    /// What these bytes say; nothing where they are not what was written.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let rows =
            bytes.split_at_checked(bytes.len().saturating_sub(Hash::BYTES)).and_then(|(body, digest)| {
                (Hash::of(b"", &[body]).0 == digest).then(|| body.strip_prefix(MAGIC)).flatten()
            });
        let row = |row: &[u8]| {
            let (id, since) = row.split_at_checked(ChunkId::BYTES)?;
            Some((ChunkId::from_slice(id)?, u64::from_be_bytes(since.try_into().ok()?)))
        };
        Self(rows.unwrap_or_default().chunks(ROW).filter_map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_chunk_is_ripe_only_if_every_look_of_the_grace_period_found_it_to_be_garbage(
            looks in prop::collection::vec((1_u64..50, any::<[bool; 8]>()), 1..30),
            grace in 0_u64..120,
        ) {
            let all: Vec<ChunkId> = (0..8).map(|n| ChunkId([n; 32])).collect();
            let (mut garbage, mut now, mut past) = (Garbage::default(), 0, Vec::new());
            for (wait, needed) in looks {
                now += wait;
                let is_needed = |id: &ChunkId| needed[usize::from(id.0[0])];
                garbage = Garbage::decode(&garbage.looked(all.clone(), is_needed, now).encode());
                past.push((now, needed));
                let ripe = garbage.ripe(now, grace);
                for (n, id) in all.iter().enumerate() {
                    let since = past.iter().rev().take_while(|(_, needed)| !needed[n]).last();
                    let expected = since.is_some_and(|(since, _)| now - since >= grace);
                    prop_assert_eq!(ripe.contains(id), expected);
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_not_what_was_written_say_nothing() {
        let garbage = Garbage::default().looked([ChunkId([1; 32]), ChunkId([2; 32])], |_| false, 7);
        let bytes = garbage.encode();
        assert_eq!(Garbage::decode(&bytes), garbage);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(Garbage::decode(&other), Garbage::default());
            assert_eq!(Garbage::decode(&bytes[..at]), Garbage::default());
        }
    }
}
