//! What every [`ChunkStore`] must pass. Durability, damage, a full disk and putting from many
//! threads are tested where there are such things.

#![allow(clippy::unwrap_used, reason = "a test fails where it says unwrap")]

use super::{CHAIN_MAX, ChunkStats, ChunkStore, Incoming};
use crate::content::{ChunkDelta, SealedChunk};
use annals_events::ChunkId;

/// Runs the whole suite, each claim on an empty store of its own.
pub fn check(fresh: &mut dyn FnMut() -> Box<dyn ChunkStore>) {
    what_is_put_is_found_as_it_was(&*fresh());
    what_is_missing_is_told_once_and_in_the_order_asked(&*fresh());
    the_same_chunk_is_stored_once(&*fresh());
    the_first_form_of_a_chunk_stays(&*fresh());
    names_come_in_order_and_in_pages(&*fresh());
    stores_verify_what_they_hold(&*fresh());
    nothing_is_put_and_nothing_happens(&*fresh());
    what_is_removed_is_gone_and_can_be_put_again(&*fresh());
    what_is_taken_as_a_difference_is_found_as_it_was(&*fresh());
    what_a_difference_needs_stays_as_long_as_it_does(&*fresh());
}

/// Versions of a chunk, each an edit of the one before and told as the difference to it.
#[must_use]
pub fn versions(count: usize, seed: usize) -> Vec<Incoming> {
    let noise = |n: usize| ChunkId::of(&[seed.to_be_bytes(), n.to_be_bytes()].concat()).0;
    let mut plain: Vec<u8> = (0..12).flat_map(noise).collect();
    let mut versions = vec![SealedChunk::seal(plain.clone()).into()];
    for version in 1..count {
        let (base, at) = (plain.clone(), version * 37 % plain.len());
        plain.splice(at..at, [version as u8, (version >> 8) as u8]);
        let whole = SealedChunk::seal(plain.clone());
        let delta = ChunkDelta::to_bases(whole.id, &plain, vec![ChunkId::of(&base)], &base);
        versions.push(Incoming { whole, delta });
    }
    versions
}

/// Chunks to test with, of every codec and of sizes from 1 byte on.
#[must_use]
pub fn samples(count: usize) -> Vec<SealedChunk> {
    let plain = |i: usize| {
        let seed = ChunkId::of(&i.to_be_bytes()).0;
        if i.is_multiple_of(2) { seed.to_vec() } else { seed.repeat(1 + i % 40) }
    };
    (0..count).map(|i| SealedChunk::seal(plain(i))).collect()
}

fn what_is_put_is_found_as_it_was(store: &dyn ChunkStore) {
    let chunks = samples(50);
    let (put, not) = chunks.split_at(40);
    store.put_all(put).unwrap();
    for chunk in put {
        assert_eq!(store.get(&chunk.id).unwrap().as_ref(), Some(chunk));
        assert!(store.contains(&chunk.id).unwrap());
    }
    for chunk in not {
        assert_eq!(store.get(&chunk.id).unwrap(), None);
        assert!(!store.contains(&chunk.id).unwrap());
    }
}

fn what_is_missing_is_told_once_and_in_the_order_asked(store: &dyn ChunkStore) {
    let chunks = samples(6);
    store.put_all(&chunks[2..4]).unwrap();
    let asked = [5, 3, 0, 5, 2, 1, 0].map(|i: usize| chunks[i].id);
    assert_eq!(store.missing(&asked).unwrap(), [5, 0, 1].map(|i: usize| chunks[i].id));
    assert_eq!(store.missing(&[]).unwrap(), []);
}

fn the_same_chunk_is_stored_once(store: &dyn ChunkStore) {
    let chunks = samples(30);
    store.put_all(&[&chunks[..], &chunks[..10]].concat()).unwrap();
    let once = store.stats().unwrap();
    store.put_all(&samples(60)).unwrap();
    let all = stats_of(&samples(60));
    assert_eq!((once, store.stats().unwrap()), (stats_of(&chunks), all));
    assert_eq!(store.verify(&mut |damage| panic!("{damage:?}")).unwrap(), all);
}

fn the_first_form_of_a_chunk_stays(store: &dyn ChunkStore) {
    let plain = b"the same plain bytes ".repeat(20);
    let first = SealedChunk::seal(plain.clone());
    let second = SealedChunk { codec: crate::content::Codec::Raw, bytes: plain, ..first.clone() };
    assert_ne!(first, second);
    store.put_all(std::slice::from_ref(&first)).unwrap();
    store.put_all(std::slice::from_ref(&second)).unwrap();
    assert_eq!(store.get(&first.id).unwrap(), Some(first));
}

fn names_come_in_order_and_in_pages(store: &dyn ChunkStore) {
    let chunks = samples(25);
    store.put_all(&chunks).unwrap();
    let mut sorted: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
    sorted.sort();
    assert_eq!(store.ids(None, 1000).unwrap(), sorted);
    let mut paged: Vec<ChunkId> = Vec::new();
    loop {
        let page = store.ids(paged.last(), 10).unwrap();
        paged.extend(&page);
        if page.len() < 10 {
            break;
        }
    }
    assert_eq!(paged, sorted);
}

fn stores_verify_what_they_hold(store: &dyn ChunkStore) {
    store.put_all(&samples(20)).unwrap();
    let whole = store.verify(&mut |damage| panic!("{damage:?}")).unwrap();
    assert_eq!(whole, stats_of(&samples(20)));
    assert_eq!(whole, store.stats().unwrap());
}

fn nothing_is_put_and_nothing_happens(store: &dyn ChunkStore) {
    store.put_all(&[]).unwrap();
    assert_eq!(store.stats().unwrap(), ChunkStats::default());
    assert_eq!(store.ids(None, 10).unwrap(), []);
}

fn what_is_removed_is_gone_and_can_be_put_again(store: &dyn ChunkStore) {
    let chunks = samples(40);
    store.put_all(&chunks).unwrap();
    let (gone, kept) = chunks.split_at(30);
    let ids: Vec<ChunkId> = gone.iter().chain(&gone[..3]).map(|chunk| chunk.id).collect();
    assert_eq!(store.measure(&ids).unwrap(), stats_of(gone));
    assert_eq!(store.remove(&ids).unwrap(), stats_of(gone));
    assert_eq!(store.remove(&ids).unwrap(), ChunkStats::default());
    for compacted in [false, true] {
        if compacted {
            store.compact().unwrap();
        }
        assert_eq!(store.missing(&ids).unwrap().len(), gone.len());
        assert_eq!(store.stats().unwrap(), stats_of(kept));
        assert_eq!(store.verify(&mut |damage| panic!("{damage:?}")).unwrap(), stats_of(kept));
        kept.iter().for_each(|chunk| assert_eq!(store.get(&chunk.id).unwrap().as_ref(), Some(chunk)));
        gone.iter().for_each(|chunk| assert_eq!(store.get(&chunk.id).unwrap(), None));
    }
    store.put_all(&chunks).unwrap();
    assert_eq!(store.verify(&mut |damage| panic!("{damage:?}")).unwrap(), stats_of(&chunks));
}

fn what_is_taken_as_a_difference_is_found_as_it_was(store: &dyn ChunkStore) {
    let versions = versions(3 * CHAIN_MAX, 1);
    for part in versions.chunks(1).chain([&versions[..]]) {
        let before = store.stats().unwrap();
        let mut new = store.take(part).unwrap();
        assert_eq!(new.chunks, if part.len() > 1 { 0 } else { 1 });
        assert_eq!(store.take(part).unwrap(), ChunkStats::default(), "they are there");
        new.add_all(before);
        assert_eq!(new, store.stats().unwrap());
    }
    for version in &versions {
        let id = version.whole.id;
        assert_eq!(store.get(&id).unwrap().as_ref(), Some(&version.whole));
        assert_eq!(store.plain(&id).unwrap(), version.whole.clone().open().ok());
        assert!(store.bases(&id).unwrap().len() <= CHAIN_MAX);
    }
    let whole = store.verify(&mut |damage| panic!("{damage:?}")).unwrap();
    assert_eq!(whole, store.stats().unwrap());
    assert_eq!((whole.chunks, whole.plain_bytes), {
        let plain = versions.iter().map(|version| u64::from(version.whole.plain_bytes)).sum();
        (versions.len() as u64, plain)
    });
    // To something that is not there, and to several: whole.
    let base = vec![5; 3000];
    let plain = [&base[..], b"!"].concat();
    let whole = SealedChunk::seal(plain.clone());
    let delta = ChunkDelta::to_bases(whole.id, &plain, vec![ChunkId::of(&base)], &base);
    store.take(&[Incoming { whole: whole.clone(), delta }]).unwrap();
    assert_eq!(store.get(&whole.id).unwrap(), Some(whole));
}

fn what_a_difference_needs_stays_as_long_as_it_does(store: &dyn ChunkStore) {
    let versions = versions(6, 2);
    versions.chunks(1).for_each(|one| assert_eq!(store.take(one).unwrap().chunks, 1));
    let ids: Vec<ChunkId> = versions.iter().map(|version| version.whole.id).collect();
    for gone in 1..ids.len() {
        store.remove(&ids[..gone]).unwrap();
        store.compact().unwrap();
        for version in &versions[gone..] {
            assert_eq!(store.get(&version.whole.id).unwrap().as_ref(), Some(&version.whole), "{gone} gone");
        }
        let whole = store.verify(&mut |damage| panic!("{damage:?}")).unwrap();
        assert_eq!(whole, store.stats().unwrap());
    }
    store.remove(&ids).unwrap();
    assert_eq!(store.missing(&ids).unwrap(), ids);
    assert_eq!(store.stats().unwrap(), ChunkStats::default());
    store.take(&versions).unwrap();
    assert_eq!(store.missing(&ids).unwrap(), []);
}

fn stats_of(chunks: &[SealedChunk]) -> ChunkStats {
    let mut stats = ChunkStats::default();
    chunks.iter().for_each(|chunk| stats.add(chunk));
    stats
}
