//! What a server does with its chunks for devices: hands them out, whole or as the difference to what a device
//! holds; takes them in, whole or as the difference to what it holds itself; says what a device needs to tell such
//! a difference. What came as a difference is stored as one where that is clearly smaller.
//!
//! What must always hold: no byte of a chunk that the asker may not read goes into an answer, and none helps to
//! make one; what is taken in has the bytes of its name; a difference that cannot be had is no error, the chunk
//! travels whole. Work and memory are bounded by [`CHUNKS_BYTES_MAX`] and [`DELTA_BYTES_MAX`]. Left out: who may
//! read what, which the caller knows.

use super::{CHAIN_MAX, ChunkStore, ChunkStoreError, Incoming};
use crate::{
    content::{ChunkDelta, ChunkError, SealedChunk, Sealer, Signature, Sums, delta::BASES_MAX},
    protocol::{
        CHUNKS_BYTES_MAX, ChunksWanted, DELTA_BYTES_MAX, SIGNATURES_COUNT_MAX, Signatures, SignaturesWanted,
        frame::Framed,
    },
};
use annals_events::ChunkId;
use std::collections::BTreeMap;

/// As many of the chunks that are wanted as an answer holds, at least one; fewer if the next is not stored.
/// `readable` are the bases that the asker may read.
///
/// # Errors
/// The store's.
pub fn hand_out(
    store: &dyn ChunkStore,
    wanted: &ChunksWanted,
    readable: &dyn Fn(&ChunkId) -> bool,
) -> Result<Vec<Framed>, ChunkStoreError> {
    let bases: BTreeMap<u32, &Vec<ChunkId>> = wanted.bases.iter().map(|(at, bases)| (*at, bases)).collect();
    let (mut frames, mut bytes, mut compared) = (Vec::new(), 0, 0);
    for (place, id) in (0..).zip(&wanted.chunks) {
        let Some(chunk) = store.get(id)? else { break };
        let known = bases.get(&place).filter(|bases| bases.iter().all(readable));
        let framed = match known {
            Some(bases) => {
                compared += chunk.plain_bytes as usize;
                difference(store, &chunk, bases)?.map_or_else(|| Framed::Whole(chunk), Framed::Delta)
            }
            None => Framed::Whole(chunk),
        };
        bytes += framed.wire_bytes();
        if !frames.is_empty() && (bytes > CHUNKS_BYTES_MAX || compared > DELTA_BYTES_MAX) {
            break;
        }
        frames.push(framed);
    }
    Ok(frames)
}

/// The difference of a chunk to what the asker holds, where that is worth it.
fn difference(
    store: &dyn ChunkStore,
    chunk: &SealedChunk,
    bases: &[ChunkId],
) -> Result<Option<ChunkDelta>, ChunkStoreError> {
    let Some(base) = opened(store, bases)? else { return Ok(None) };
    let Ok(plain) = chunk.clone().open() else { return Ok(None) };
    let delta = ChunkDelta::to_bases(chunk.id, &plain, bases.to_vec(), &base.concat());
    Ok(delta.filter(|delta| is_worth_it(delta, chunk)))
}

/// Whether a difference is so much smaller that it pays to put it together again.
#[must_use]
pub fn is_worth_it(delta: &ChunkDelta, whole: &SealedChunk) -> bool {
    delta.bytes.len() + 32 * delta.bases.len() < whole.bytes.len() - whole.bytes.len() / 8
}

/// The plain bytes of chunks; none where one is not there or too many were named.
fn opened(store: &dyn ChunkStore, ids: &[ChunkId]) -> Result<Option<Vec<Vec<u8>>>, ChunkStoreError> {
    if ids.is_empty() || ids.len() > BASES_MAX {
        return Ok(None);
    }
    ids.iter().map(|id| store.plain(id)).collect()
}

/// Chunks that came in.
#[derive(Debug, Default)]
pub struct TakenIn {
    /// They have the bytes of their names, and can be stored.
    pub chunks: Vec<Incoming>,
    /// They have to be sent whole.
    pub again: Vec<ChunkId>,
}

/// Checks chunks that were sent, and makes those that are differences whole. `readable` are the bases that the sender
/// may read.
///
/// # Errors
/// What is wrong with a chunk that was sent whole, or the store's.
pub fn take_in(
    store: &dyn ChunkStore,
    sent: Vec<Framed>,
    readable: &dyn Fn(&ChunkId) -> bool,
) -> Result<TakenIn, TakeInError> {
    let (mut taken, mut made, mut sealer) = (TakenIn::default(), 0, Sealer::new());
    for framed in sent {
        match framed {
            Framed::Whole(chunk) => {
                chunk.check()?;
                taken.chunks.push(chunk.into());
            }
            Framed::Delta(delta) => {
                made += delta.plain_bytes as usize;
                let fits = made <= DELTA_BYTES_MAX && delta.bases.iter().all(readable);
                let bases = if fits { opened(store, &delta.bases)? } else { None };
                let made_of = |bases: Vec<Vec<u8>>| Some((delta.apply(&bases.concat()).ok()?, bases));
                match bases.and_then(made_of) {
                    Some((plain, bases)) => {
                        let whole = sealer.seal(delta.id, &plain[..]);
                        let delta = to_be_stored(store, &delta.bases, bases, &plain, &whole)?;
                        taken.chunks.push(Incoming { whole, delta });
                    }
                    None => taken.again.push(delta.id),
                }
            }
        }
    }
    Ok(taken)
}

/// A chunk as the difference to the one of its bases that is most like it, where that is clearly smaller. At the end of
/// a chain it is the difference to what the chain begins with.
fn to_be_stored(
    store: &dyn ChunkStore,
    ids: &[ChunkId],
    bases: Vec<Vec<u8>>,
    plain: &[u8],
    whole: &SealedChunk,
) -> Result<Option<ChunkDelta>, ChunkStoreError> {
    let mut best: Option<ChunkDelta> = None;
    for (id, base) in ids.iter().zip(bases) {
        let chain = store.bases(id)?;
        let (id, base) = match chain.last() {
            Some(first) if chain.len() >= CHAIN_MAX => (first, store.plain(first)?),
            _ => (id, Some(base)),
        };
        let delta = base.and_then(|base| ChunkDelta::to_bases(whole.id, plain, vec![*id], &base));
        let least = best.as_ref().map_or(whole.bytes.len() / 2, |best| best.bytes.len() + ChunkId::BYTES);
        best = delta.filter(|delta| delta.bytes.len() + ChunkId::BYTES < least).or(best);
    }
    Ok(best)
}

/// Why chunks were not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeInError {
    /// One is not what it says.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] ChunkStoreError),
}

/// The signatures of the bases that are there and that the asker may read.
///
/// # Errors
/// The store's.
pub fn signatures(
    store: &dyn ChunkStore,
    wanted: &SignaturesWanted,
    readable: &dyn Fn(&ChunkId) -> bool,
) -> Result<Signatures, ChunkStoreError> {
    let kind = if wanted.short { Sums::Short } else { Sums::Long };
    let mut signatures = Signatures::default();
    for (place, bases) in (0..).zip(wanted.bases.iter().take(SIGNATURES_COUNT_MAX)) {
        if bases.iter().all(readable)
            && let Some(base) = opened(store, bases)?
        {
            signatures.add(place, Signature::of(kind, bases.clone(), &base.concat()));
        }
    }
    Ok(signatures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk_store::MemoryChunks;

    fn noise(bytes: usize) -> Vec<u8> {
        (0..bytes as u32).map(|n| (n.wrapping_mul(0x9E37_79B1) >> 13) as u8 ^ (n >> 5) as u8).collect()
    }

    struct Case {
        store: MemoryChunks,
        base: ChunkId,
        plain: Vec<u8>,
    }

    /// A store with a chunk, and a chunk that differs by a byte at its head.
    fn case() -> Case {
        let base = noise(40_000);
        let plain = [b"!", &base[..]].concat();
        let store = MemoryChunks::default();
        store.put_all(&[SealedChunk::seal(base.clone())]).unwrap();
        Case { store, base: ChunkId::of(&base), plain }
    }

    #[test]
    fn who_holds_what_a_chunk_replaces_gets_the_difference_and_who_may_not_read_that_the_whole() {
        let Case { store, base, plain } = case();
        let id = ChunkId::of(&plain);
        store.put_all(&[SealedChunk::seal(plain.clone())]).unwrap();
        let absent = ChunkId([9; 32]);
        let table = [
            (vec![], true, false),
            (vec![base], true, true),
            (vec![base], false, false),
            (vec![absent], true, false),
            (vec![base, absent], true, false),
            (vec![base; BASES_MAX + 1], true, false),
            (vec![], true, false),
        ];
        for (bases, readable, is_delta) in table {
            let wanted = ChunksWanted { chunks: vec![id], bases: vec![(0, bases.clone())], content: None };
            let frames = hand_out(&store, &wanted, &|_| readable).unwrap();
            match &frames[..] {
                [Framed::Delta(delta)] if is_delta => {
                    assert!(delta.bytes.len() < 2000);
                    assert_eq!(delta.apply(&noise(40_000)), Ok(plain.clone()));
                }
                [Framed::Whole(chunk)] if !is_delta => assert_eq!(chunk.id, id),
                other => panic!("{bases:?} {readable}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_has_nothing_in_common_goes_whole() {
        let Case { store, base, .. } = case();
        let other =
            SealedChunk::seal((0..40_000_u32).flat_map(|n| ChunkId::of(&n.to_be_bytes()).0).collect());
        store.put_all(std::slice::from_ref(&other)).unwrap();
        let wanted = ChunksWanted { chunks: vec![other.id], bases: vec![(0, vec![base])], content: None };
        assert_eq!(hand_out(&store, &wanted, &|_| true).unwrap(), [Framed::Whole(other)]);
    }

    #[test]
    fn a_difference_to_what_the_sender_may_read_becomes_a_chunk_and_any_other_is_asked_for_again() {
        let Case { store, base, plain } = case();
        let id = ChunkId::of(&plain);
        let told = |short: bool| {
            let wanted = SignaturesWanted { bases: vec![vec![ChunkId([9; 32])], vec![base]], short };
            assert_eq!(signatures(&store, &wanted, &|_| false).unwrap(), Signatures::default());
            let signatures = signatures(&store, &wanted, &|_| true).unwrap().answering(&wanted);
            assert_eq!(signatures.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [1]);
            ChunkDelta::to_signature(id, &plain, &signatures[0].1).unwrap()
        };
        let (good, short) = (told(false), told(true));
        let table = [
            (short, true, true),
            (good.clone(), true, true),
            (good.clone(), false, false),
            (ChunkDelta { bases: vec![ChunkId([9; 32])], ..good.clone() }, true, false),
            (ChunkDelta { bytes: vec![1, 2, 3], ..good.clone() }, true, false),
            (ChunkDelta { plain_bytes: u32::MAX, ..good.clone() }, true, false),
            (ChunkDelta { id: ChunkId([7; 32]), ..good }, true, false),
        ];
        for (delta, readable, fine) in table {
            let said = format!("{delta:?}");
            let id = delta.id;
            let taken = take_in(&store, vec![Framed::Delta(delta)], &|_| readable).unwrap();
            assert_eq!(taken.again, if fine { vec![] } else { vec![id] }, "{said}");
            let whole: Vec<_> = taken.chunks.iter().map(|chunk| &chunk.whole).collect();
            let fine = fine.then(|| SealedChunk::seal(plain.clone()));
            assert_eq!(whole, fine.iter().collect::<Vec<_>>(), "{said}");
            let delta = taken.chunks.first().map(|chunk| chunk.delta.as_ref().expect("it is smaller"));
            assert!(delta.is_none_or(|delta| delta.apply(&noise(40_000)).as_ref() == Ok(&plain)), "{said}");
        }
    }

    #[test]
    fn a_chunk_is_stored_as_the_difference_to_the_base_that_is_most_like_it_if_that_is_clearly_smaller() {
        let Case { store, base, plain } = case();
        let other: Vec<u8> = noise(40_000).into_iter().rev().map(|byte| byte ^ 0x5A).collect();
        store.put_all(&[SealedChunk::seal(other.clone())]).unwrap();
        let other_id = ChunkId::of(&other);
        let unlike: Vec<u8> = (0..1250_u32).flat_map(|n| ChunkId::of(&n.to_be_bytes()).0).collect();
        let table = [
            (plain.clone(), vec![base], Some(base)),
            (plain.clone(), vec![other_id, base], Some(base)),
            (plain.clone(), vec![base, other_id], Some(base)),
            (unlike, vec![base], None),
        ];
        for (plain, bases, stored) in table {
            let together: Vec<u8> = bases.iter().flat_map(|id| store.plain(id).unwrap().unwrap()).collect();
            let delta = ChunkDelta::to_bases(ChunkId::of(&plain), &plain, bases.clone(), &together).unwrap();
            let taken = take_in(&store, vec![Framed::Delta(delta)], &|_| true).unwrap();
            let delta = taken.chunks[0].delta.clone();
            assert_eq!(
                delta.as_ref().map(|delta| delta.bases.clone()),
                stored.map(|id| vec![id]),
                "{bases:?}"
            );
            assert!(delta.is_none_or(|delta| delta.apply(&noise(40_000)) == Ok(plain)), "{bases:?}");
        }
    }

    #[test]
    fn differences_that_would_fill_the_memory_are_asked_for_again() {
        let (mebi, store) = (1 << 20, MemoryChunks::default());
        let base = vec![1; 10 * mebi];
        store.put_all(&[SealedChunk::seal(base.clone())]).unwrap();
        let delta = |last: u8| {
            let mut plain = base.clone();
            plain.push(last);
            let bases = vec![ChunkId::of(&base)];
            Framed::Delta(ChunkDelta::to_bases(ChunkId::of(&plain), &plain, bases, &base).unwrap())
        };
        let taken = take_in(&store, (0..5).map(delta).collect(), &|_| true).unwrap();
        assert_eq!((taken.chunks.len(), taken.again.len()), (3, 2));
    }
}
