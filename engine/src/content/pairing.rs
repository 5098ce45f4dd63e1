//! Which chunks of a file's old version those of the new one replace.
//!
//! Chunks that both have are fixed points. What stands between two of them in the new version replaces what stood
//! between them in the old one: a chunk those that cover the same stretch, counted from the front or from the back,
//! so that what moved on because of an insertion meets its like again. A guess is good enough: a chunk that is told
//! as the difference to another that it has nothing in common with costs what it costs anyway.

use super::delta::BASES_MAX;
use annals_events::{ChunkId, ChunkRef};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// For chunks of `new` that are not in `old`: those of `old` that they replace, in their order there, at most
/// [`BASES_MAX`]. Chunks that replace nothing are not mentioned.
#[must_use]
pub fn replaced_by(old: &[ChunkRef], new: &[ChunkRef]) -> BTreeMap<ChunkId, Vec<ChunkRef>> {
    let mut places: BTreeMap<ChunkId, usize> = BTreeMap::new();
    for (place, chunk) in old.iter().enumerate().rev() {
        places.insert(chunk.id, place);
    }
    let mut bases = BTreeMap::new();
    let (mut old_from, mut new_from) = (0, 0);
    for (place, chunk) in new.iter().enumerate() {
        let Some(&there) = places.get(&chunk.id) else { continue };
        // What was moved backwards is a fixed point, but what stands before it replaces nothing that is behind it.
        let gap = if there >= old_from { &old[old_from..there] } else { &[][..] };
        pair(gap, &new[new_from..place], &mut bases);
        (old_from, new_from) = (there + 1, place + 1);
    }
    pair(&old[old_from..], &new[new_from..], &mut bases);
    bases
}

/// Pairs the chunks between two fixed points.
fn pair(old: &[ChunkRef], new: &[ChunkRef], bases: &mut BTreeMap<ChunkId, Vec<ChunkRef>>) {
    let (old_ends, new_ends) = (ends_of(old), ends_of(new));
    let (old_bytes, new_bytes) = (end_of(&old_ends), end_of(&new_ends));
    if old_bytes == 0 {
        return;
    }
    for (place, chunk) in new.iter().enumerate() {
        let from = if place == 0 { 0 } else { new_ends[place - 1] };
        let from_back = new_bytes - new_ends[place];
        let bytes = u64::from(chunk.bytes);
        let front = covering(&old_ends, from..from + bytes);
        let back_end = old_bytes.saturating_sub(from_back);
        let back = covering(&old_ends, back_end.saturating_sub(bytes)..back_end);
        let both: BTreeSet<usize> = front.take(BASES_MAX / 2).chain(back.rev().take(BASES_MAX / 2)).collect();
        if !both.is_empty() {
            bases.entry(chunk.id).or_insert_with(|| both.into_iter().map(|at| old[at]).collect());
        }
    }
}

fn ends_of(chunks: &[ChunkRef]) -> Vec<u64> {
    let add = |end: &mut u64, chunk: &ChunkRef| {
        *end += u64::from(chunk.bytes);
        Some(*end)
    };
    chunks.iter().scan(0, add).collect()
}

fn end_of(ends: &[u64]) -> u64 {
    ends.last().copied().unwrap_or(0)
}

/// The chunks, by their ends, that cover some of a stretch.
fn covering(ends: &[u64], stretch: Range<u64>) -> Range<usize> {
    let first = ends.partition_point(|end| *end <= stretch.start);
    let last = ends.partition_point(|end| *end < stretch.end);
    first..(last + 1).min(ends.len()).max(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Chunker;
    use annals_events::Cut;
    use proptest::prelude::*;

    fn chunk(name: char, bytes: u32) -> ChunkRef {
        ChunkRef { bytes, id: ChunkId([name as u8; 32]) }
    }

    /// Chunks by letters, 10 bytes each; 20 bytes the capital ones.
    fn chunks(names: &str) -> Vec<ChunkRef> {
        names.chars().map(|name| chunk(name, if name.is_uppercase() { 20 } else { 10 })).collect()
    }

    fn said(old: &str, new: &str) -> String {
        let bases = replaced_by(&chunks(old), &chunks(new));
        let line = |chunk: &ChunkRef| {
            let names = bases.get(&chunk.id)?.iter().map(|base| base.id.0[0] as char);
            Some(format!("{}={}", chunk.id.0[0] as char, names.collect::<String>()))
        };
        chunks(new).iter().filter_map(line).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_chunk_replaces_what_stood_in_its_place() {
        let table = [
            ("abc", "abc", ""),
            ("abc", "xbc", "x=a"),
            ("abc", "axc", "x=b"),
            ("abc", "abx", "x=c"),
            ("abc", "abcx", ""),           // appended
            ("abc", "axbc", ""),           // inserted between two
            ("abc", "", ""),               // emptied
            ("", "abc", ""),               // filled
            ("abc", "xyz", "x=a y=b z=c"), // rewritten
            ("aBc", "axyc", "x=B y=B"),    // one became two
            ("abcd", "aXd", "X=bc"),       // two became one
            ("abcd", "axXd", "x=b X=bc"),  // grown in the middle: from the front and from the back
            ("abc", "cab", ""),            // the last came first
            ("abc", "bxa", ""),            // what moved backwards divides nothing
            ("aaa", "xaa", ""),            // equal chunks are found where they first stood
        ];
        for (old, new, bases) in table {
            assert_eq!(said(old, new), bases, "{old} to {new}");
        }
    }

    #[test]
    fn a_byte_more_at_the_head_replaces_the_first_chunk() {
        let bytes: Vec<u8> =
            (0..1_000_000_u32).flat_map(|n| n.wrapping_mul(0x9E37_79B1).to_be_bytes()).collect();
        let cut = |bytes: &[u8]| -> Vec<ChunkRef> {
            let pieces = Chunker::new(Cut::SMALL).unwrap().cut_whole(bytes);
            pieces.map(|piece| ChunkRef { bytes: piece.len() as u32, id: ChunkId::of(piece) }).collect()
        };
        let (old, new) = (cut(&bytes), cut(&[&[1], &bytes[..]].concat()));
        let bases = replaced_by(&old, &new);
        assert!(bases.len() <= 2 && bases[&new[0].id].contains(&old[0]), "{} bases", bases.len());
    }

    proptest! {
        #[test]
        fn new_chunks_alone_have_bases_and_all_of_them_are_old(
            old in prop::collection::vec((0_u8..20, 1_u32..9), 0..30), new in prop::collection::vec((0_u8..40, 1_u32..9), 0..30),
        ) {
            let of = |list: &[(u8, u32)]| -> Vec<ChunkRef> {
                list.iter().map(|(name, bytes)| ChunkRef { bytes: *bytes, id: ChunkId([*name; 32]) }).collect()
            };
            let (old, new) = (of(&old), of(&new));
            for (id, bases) in replaced_by(&old, &new) {
                prop_assert!(new.iter().any(|chunk| chunk.id == id) && old.iter().all(|chunk| chunk.id != id));
                prop_assert!(!bases.is_empty() && bases.len() <= BASES_MAX);
                prop_assert!(bases.iter().all(|base| old.contains(base)));
            }
        }
    }
}
