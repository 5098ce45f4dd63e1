//! Cutting a stream of bytes into chunks: FastCDC v2020, whatever pieces the stream arrives in.
//!
//! The algorithm looks at no more than [`Cut::max`] bytes from the start of a chunk and at nothing before it.
//! So a boundary found by looking at `max` bytes, or at all that are left, is the one that a look at the whole
//! file would find, and every byte is looked at once. Bytes are held only until there are `max` of them: a few
//! times `max` at most, whatever the size of the file.
//!
//! Where a chunk ends is part of the format: other boundaries would lose nothing, but every file would be
//! sent and stored again. The crate is pinned, and golden cuts stand beside the tests.

use annals_events::Cut;
use fastcdc::v2020::{self, Normalization};

/// Cuts one file. Feed it, finish it; each chunk is handed over as soon as its end is known.
#[derive(Clone, Debug)]
pub struct Chunker {
    sizes: Sizes,
    /// Bytes whose chunk is not complete; those before `begin` are gone.
    held: Vec<u8>,
    begin: usize,
}

/// Sizes with which nothing can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a file cannot be cut into {min}/{avg}/{max} bytes")]
pub struct BadCut {
    /// Smallest.
    pub min: u32,
    /// Usual.
    pub avg: u32,
    /// Largest.
    pub max: u32,
}

impl Chunker {
    /// A chunker with these sizes: powers of two that rise, within what FastCDC v2020 can do.
    ///
    /// # Errors
    /// [`BadCut`] for any others. The crate itself would go on and cut wrongly.
    pub fn new(cut: Cut) -> Result<Self, BadCut> {
        Ok(Self { sizes: Sizes::new(cut)?, held: Vec::new(), begin: 0 })
    }

    /// Takes the next bytes of the file and hands over every chunk that is complete. Least is copied when
    /// `bytes` are several times [`Cut::max`].
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        let mut bytes = self.complete_held(bytes, &mut each);
        if self.held.is_empty() {
            while bytes.len() >= self.sizes.max {
                let (chunk, rest) = bytes.split_at(self.sizes.cut(bytes));
                each(chunk);
                bytes = rest;
            }
        }
        self.held.extend_from_slice(bytes);
    }

    /// Hands over what is left, now that the file has ended, and is ready for the next file.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        let mut rest = &self.held[self.begin..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(self.sizes.cut(rest));
            each(chunk);
            rest = after;
        }
        self.held.clear();
        self.begin = 0;
    }

    /// Cuts a file that is in memory, without holding any of it.
    pub fn cut_whole<'a>(&self, file: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (sizes, mut rest) = (self.sizes, file);
        std::iter::from_fn(move || {
            let (chunk, after) = rest.split_at(sizes.cut(rest));
            rest = after;
            (!chunk.is_empty()).then_some(chunk)
        })
    }

    /// Completes the chunks that begin in held bytes with new ones. Answers with the new bytes that belong to
    /// none of them: unless those are all, nothing is held afterwards.
    fn complete_held<'a>(&mut self, bytes: &'a [u8], each: &mut impl FnMut(&[u8])) -> &'a [u8] {
        if self.begin >= self.sizes.max {
            self.held.drain(..self.begin);
            self.begin = 0;
        }
        let old = self.held.len();
        let mut taken = 0;
        while self.begin < old {
            let lacking = self.sizes.max.saturating_sub(self.held.len() - self.begin);
            let next = lacking.min(bytes.len() - taken);
            self.held.extend_from_slice(&bytes[taken..taken + next]);
            taken += next;
            if next < lacking {
                return &[];
            }
            let chunk = self.sizes.cut(&self.held[self.begin..]);
            each(&self.held[self.begin..self.begin + chunk]);
            self.begin += chunk;
        }
        let rest = &bytes[self.begin - old..];
        self.held.clear();
        self.begin = 0;
        rest
    }
}

/// Sizes that were checked, and the masks that go with them.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    min: usize,
    avg: usize,
    max: usize,
    mask_small: u64,
    mask_large: u64,
}

impl Sizes {
    fn new(cut: Cut) -> Result<Self, BadCut> {
        let Cut { min, avg, max } = cut;
        let within = |size: u32, least: usize, most: usize| {
            size.is_power_of_two() && (least..=most).contains(&(size as usize))
        };
        let good = within(min, v2020::MINIMUM_MIN, v2020::MINIMUM_MAX)
            && within(avg, v2020::AVERAGE_MIN, v2020::AVERAGE_MAX)
            && within(max, v2020::MAXIMUM_MIN, v2020::MAXIMUM_MAX)
            && min < avg
            && avg < max;
        if !good {
            return Err(BadCut { min, avg, max });
        }
        let (mask_small, mask_large) = v2020::select_masks(avg as usize, Normalization::Level1);
        Ok(Self { min: min as usize, avg: avg as usize, max: max as usize, mask_small, mask_large })
    }

    /// How long the chunk is that begins where `bytes` begin. They are at least `max`, or all that is left.
    fn cut(&self, bytes: &[u8]) -> usize {
        let (small, large) = (self.mask_small, self.mask_large);
        v2020::cut(bytes, self.min, self.avg, self.max, small, large, small << 1, large << 1).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_events::ChunkId;
    use fastcdc::v2020::FastCDC;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Sizes small enough for thousands of cases; nothing in the code depends on which they are.
    const TINY: Cut = Cut { min: 64, avg: 256, max: 1024 };

    /// Where things change, in units of a cut.
    fn interesting_sizes(cut: Cut) -> Vec<usize> {
        let around = |size: u32| [size as usize - 1, size as usize, size as usize + 1];
        let table = [
            around(1), // no chunk and one
            around(cut.min),
            around(cut.avg),
            around(cut.max),
            around(cut.max + cut.min),
            around(2 * cut.max),
            around(5 * cut.max + cut.avg),
        ];
        table.concat()
    }

    /// `count` bytes that are the same on every machine, in this year and the next.
    fn generated(seed: u64, count: usize) -> Vec<u8> {
        let mut state = seed;
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            // splitmix64
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            bytes.extend((z ^ (z >> 31)).to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    fn fed(cut: Cut, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Vec<u8>> {
        let mut chunker = Chunker::new(cut).unwrap();
        let mut chunks = Vec::new();
        pieces
            .into_iter()
            .for_each(|piece| chunker.feed(piece.as_ref(), |chunk| chunks.push(chunk.to_vec())));
        assert!(chunker.held.capacity() <= 6 * cut.max as usize, "{} held", chunker.held.capacity());
        chunker.finish(|chunk| chunks.push(chunk.to_vec()));
        chunks
    }

    /// What the crate says about the whole file at once.
    fn expected(cut: Cut, file: &[u8]) -> Vec<Vec<u8>> {
        let (min, avg, max) = (cut.min as usize, cut.avg as usize, cut.max as usize);
        let chunks = FastCDC::new(file, min, avg, max);
        chunks.map(|chunk| file[chunk.offset..chunk.offset + chunk.length].to_vec()).collect()
    }

    /// Pieces of the given sizes, over and over, until the file ends.
    fn pieces<'a>(file: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = file;
        let mut sizes = sizes.iter().copied().cycle();
        std::iter::from_fn(move || {
            let size = sizes.next()?.min(rest.len());
            let (piece, after) = rest.split_at(size);
            let more = !rest.is_empty();
            rest = after;
            more.then_some(piece)
        })
    }

    /// Noise, runs of one byte (no boundary but `max`) and a short period, mixed.
    fn files() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            3 => (any::<u64>(), 0_usize..6000).prop_map(|(seed, count)| generated(seed, count)),
            1 => (any::<u8>(), 0_usize..5000).prop_map(|(byte, count)| vec![byte; count]),
            1 => (1_usize..90, 0_usize..80).prop_map(|(period, times)| generated(7, period).repeat(times)),
        ];
        prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn chunks_are_those_of_the_whole_file_whatever_pieces_it_arrives_in(
            file in files(),
            sizes in prop::collection::vec(prop_oneof![1_usize..5, 50..300_usize, 900..9000_usize], 1..6),
        ) {
            let chunks = fed(TINY, pieces(&file, &sizes));
            prop_assert_eq!(&chunks, &expected(TINY, &file));
            prop_assert_eq!(chunks.concat(), &file[..]);
            let whole: Vec<&[u8]> = Chunker::new(TINY).unwrap().cut_whole(&file).collect();
            prop_assert_eq!(whole, chunks);
        }

        #[test]
        fn no_chunk_is_too_large_and_only_the_last_too_small(file in files()) {
            let chunks = fed(TINY, [&file]);
            prop_assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= TINY.max as usize));
            let all_but_last = chunks.len().saturating_sub(1);
            prop_assert!(chunks[..all_but_last].iter().all(|chunk| chunk.len() >= TINY.min as usize));
        }

        #[test]
        fn a_growing_file_keeps_every_chunk_but_its_last(before in files(), added in files()) {
            let old = fed(TINY, [&before]);
            let new = fed(TINY, [&before, &added]);
            let kept = old.len().saturating_sub(1);
            prop_assert_eq!(&new[..kept], &old[..kept]);
        }
    }

    #[test]
    fn sizes_where_things_change_are_cut_as_the_whole_file_is() {
        for (cut, feeds) in [(TINY, vec![1, 63, 64, 1024, 5000]), (Cut::SMALL, vec![1000, 1 << 20])] {
            let data = generated(3, 6 * cut.max as usize);
            for size in interesting_sizes(cut) {
                for feed in &feeds {
                    let chunks = fed(cut, data[..size].chunks(*feed));
                    assert_eq!(chunks, expected(cut, &data[..size]), "{size} in {feed}");
                    assert!(size > cut.min as usize || chunks.len() == usize::from(size > 0), "{size}");
                }
            }
        }
    }

    #[test]
    fn one_inserted_byte_changes_few_chunks() {
        let file = generated(11, 4 << 20);
        let old: BTreeSet<ChunkId> = fed(Cut::SMALL, [&file]).iter().map(|c| ChunkId::of(c)).collect();
        assert!(old.len() > 30, "{}", old.len());
        for at in [0, 1, 1_000_000, 2_222_222, file.len()] {
            let edited = [&file[..at], &[0], &file[at..]].concat();
            let new = fed(Cut::SMALL, [&edited]);
            let changed = new.iter().filter(|chunk| !old.contains(&ChunkId::of(chunk))).count();
            assert!((1..=3).contains(&changed), "a byte at {at} changed {changed} of {}", new.len());
        }
    }

    #[test]
    fn a_chunker_that_has_finished_starts_afresh() {
        let (first, second) = (generated(1, 5000), generated(2, 5000));
        let mut chunker = Chunker::new(TINY).unwrap();
        for file in [&first, &second, &first] {
            let mut chunks = Vec::new();
            chunker.feed(file, |chunk| chunks.push(chunk.to_vec()));
            chunker.finish(|chunk| chunks.push(chunk.to_vec()));
            assert_eq!(chunks, expected(TINY, file));
        }
    }

    /// Cut by release 0.1.0. Rows are added, never edited.
    #[test]
    fn golden_cuts() {
        let table = [
            (
                Cut::SMALL,
                16 << 20,
                213,
                [106_594, 75_208, 19_070, 12_771],
                "f6feb9ef61cca43549d71363284314a21dcd947122a847dcd3064ad31108cf01",
            ),
            (
                Cut::MEDIUM,
                48 << 20,
                36,
                [82_550, 118_322, 1_488_248, 1_600_023],
                "5618135d4b3830461e869527b82b27a2f462dd9e7205766ef39d577376ca4bb7",
            ),
            (
                Cut::LARGE,
                96 << 20,
                21,
                [6_209_221, 1_740_905, 2_206_961, 4_368_258],
                "7863747cce96174d1899dbb4dcc9e51506e7ffa794c7bd4e4022c1e518077c93",
            ),
        ];
        for (cut, bytes, count, first, lengths) in table {
            let chunks = fed(cut, generated(42, bytes).chunks(3_000_001));
            let all: Vec<u8> = chunks.iter().flat_map(|chunk| (chunk.len() as u32).to_be_bytes()).collect();
            assert_eq!(chunks.len(), count, "{cut:?}");
            assert_eq!([0, 1, 2, 3].map(|i: usize| chunks[i].len()), first, "{cut:?}");
            assert_eq!(ChunkId::of(&all).to_hex(), lengths, "{cut:?}");
        }
    }

    #[test]
    fn sizes_that_cannot_be_cut_are_refused() {
        let good = Cut::SMALL;
        let table = [
            Cut { min: 5000, ..good }, // even, but no power of two
            Cut { min: 4097, ..good }, // odd: the crate would miss boundaries
            Cut { avg: 65_535, ..good },
            Cut { max: (1 << 20) + 1, ..good },
            Cut { min: 0, ..good },
            Cut { min: 32, ..good },       // below what the algorithm knows
            Cut { max: 32 << 20, ..good }, // above
            Cut { min: good.avg, ..good }, // they must rise
            Cut { max: good.avg, ..good },
        ];
        for bad in table {
            assert_eq!(Chunker::new(bad).err(), Some(BadCut { min: bad.min, avg: bad.avg, max: bad.max }));
        }
        for known in [Cut::SMALL, Cut::MEDIUM, Cut::LARGE] {
            assert!(Chunker::new(known).is_ok());
        }
    }
}
