//! A chunk as the difference to chunks that the receiver holds, its bases.
//!
//! Whoever has the bases' bytes writes a zstd frame with them as prefix. Whoever only has their [`Signature`] (a
//! weak and a strong sum of every block) says which blocks to copy and what stands between them: the algorithm of
//! Tridgell and Mackerras ("The rsync algorithm", 1996).
//!
//! What must always hold: what [`ChunkDelta::apply`] gives has the chunk's name, or is an error, and is never
//! longer than the chunk claims to be. The sums only have to be good enough to be right nearly always: where they
//! are wrong the name does not match, and the chunk travels whole. Left out: who may read a base, and when a
//! difference is worth it.

mod patch;

use super::{ChunkError, SealedChunk};
use annals_events::ChunkId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zstd::zstd_safe::{CCtx, CParameter, DCtx};

/// Most bases of one chunk: a chunk that was put together from more is new.
pub const BASES_MAX: usize = 4;
/// Chunks below this many plain bytes travel whole: a question about them costs as much as they do.
pub const DELTA_BYTES_MIN: u32 = 1 << 10;

const ZSTD_LEVEL: i32 = 3;
/// Bytes of an instruction: so many literals, then so many blocks from that one on.
const STEP_BYTES: usize = 12;

/// How a difference gives the plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A zstd frame with the bases' bytes as prefix.
    Prefix,
    /// Blocks to copy and literals, as a zstd frame; of a signature with [`Sums::Long`].
    Copies,
    /// Blocks to copy, and literals as a zstd frame with those as prefix; of a signature with [`Sums::Short`].
    Patch,
}

/// A chunk as the difference to its bases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkDelta {
    /// SHA-256 of the plain bytes.
    pub id: ChunkId,
    /// How many they are.
    pub plain_bytes: u32,
    /// The chunks that it is the difference to, one after the other: 1 to [`BASES_MAX`].
    pub bases: Vec<ChunkId>,
    /// How it was made.
    pub method: Method,
    /// The difference.
    pub bytes: Vec<u8>,
}

impl ChunkDelta {
    /// The difference of the chunk `id`, whose bytes are `plain`, to `bases`, whose bytes are `base`.
    #[must_use]
    pub fn to_bases(id: ChunkId, plain: &[u8], bases: Vec<ChunkId>, base: &[u8]) -> Option<Self> {
        let bytes = compress_after(base, plain)?;
        Some(Self { id, plain_bytes: u32::try_from(plain.len()).ok()?, bases, method: Method::Prefix, bytes })
    }

    /// The difference of the chunk `id`, whose bytes are `plain`, to what has this signature.
    #[must_use]
    pub fn to_signature(id: ChunkId, plain: &[u8], signature: &Signature) -> Option<Self> {
        let steps = Search::of(signature)?.steps(plain);
        let (method, bytes) = match signature.kind {
            Sums::Long => (Method::Copies, encode_copies(signature, &steps, plain)?),
            Sums::Short => (Method::Patch, patch::encode(signature, &steps, plain)?),
        };
        let plain_bytes = u32::try_from(plain.len()).ok()?;
        Some(Self { id, plain_bytes, bases: signature.bases.clone(), method, bytes })
    }

    /// The chunk's plain bytes, checked against length and name. `base` holds those of all bases.
    ///
    /// # Errors
    /// [`ChunkError`] where they are something else.
    pub fn apply(&self, base: &[u8]) -> Result<Vec<u8>, ChunkError> {
        let Self { id, plain_bytes, .. } = *self;
        if plain_bytes == 0 || plain_bytes > SealedChunk::PLAIN_BYTES_MAX {
            return Err(ChunkError::BadSize { id, plain_bytes });
        }
        let plain = match self.method {
            Method::Prefix => decompress_after(base, &self.bytes, plain_bytes),
            Method::Copies => copy(base, &self.bytes, plain_bytes),
            Method::Patch => patch::apply(base, &self.bytes, plain_bytes),
        };
        let plain = plain.filter(|plain| plain.len() == plain_bytes as usize);
        let plain = plain.ok_or(ChunkError::BadEncoding { id, plain_bytes })?;
        let actual = ChunkId::of(&plain);
        if actual == id { Ok(plain) } else { Err(ChunkError::OtherBytes { id, actual }) }
    }
}

fn encode_copies(signature: &Signature, steps: &[Step], plain: &[u8]) -> Option<Vec<u8>> {
    let (mut list, mut literals) = (Vec::<u8>::new(), Vec::<u8>::new());
    list.extend(u32::try_from(steps.len()).ok()?.to_be_bytes());
    let mut at = 0;
    for step in steps {
        [step.literals, step.block, step.blocks].iter().for_each(|n| list.extend(n.to_be_bytes()));
        literals.extend(&plain[at..at + step.literals as usize]);
        at += step.literals as usize + signature.bytes_of(step.block, step.blocks)?.len();
    }
    list.extend(literals);
    zstd::bulk::compress(&list, ZSTD_LEVEL).ok()
}

/// The zstd frame of `plain` for whoever has `base`.
fn compress_after(base: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let mut context = CCtx::try_create()?;
    // The whole of both is one window, or nothing at the beginning of the base would be found from the end.
    let window = u32::BITS - u32::try_from(base.len() + plain.len()).ok()?.leading_zeros();
    context.set_parameter(CParameter::CompressionLevel(ZSTD_LEVEL)).ok()?;
    context.set_parameter(CParameter::WindowLog(window.clamp(10, 27))).ok()?;
    context.set_parameter(CParameter::EnableLongDistanceMatching(true)).ok()?;
    context.ref_prefix(base).ok()?;
    let mut frame = Vec::with_capacity(zstd::zstd_safe::compress_bound(plain.len()));
    context.compress2(&mut frame, plain).ok()?;
    frame.shrink_to_fit();
    Some(frame)
}

fn decompress_after(base: &[u8], frame: &[u8], plain_bytes: u32) -> Option<Vec<u8>> {
    let mut context = DCtx::try_create()?;
    context.ref_prefix(base).ok()?;
    let mut plain = Vec::with_capacity(plain_bytes as usize);
    context.decompress(&mut plain, frame).ok()?;
    Some(plain)
}

/// What a signature has of each block: a weak sum, and the beginning of its SHA-256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sums {
    /// 4 bytes and 8 bytes.
    #[default]
    Long,
    /// 3 bytes, and 2 of chunks that have at most 64 KiB together, else 4. Of blocks that look alike and are not, one
    /// in some billion is taken for another; then the chunk is sent whole.
    Short,
}

impl Sums {
    /// Where blocks stop to become smaller.
    const BLOCK_BYTES_MIN: u32 = 64;

    /// How many bytes of a weak sum there are, of a base of so many bytes.
    fn weak_bytes(self) -> usize {
        match self {
            Self::Long => 4,
            Self::Short => 3,
        }
    }

    fn strong_bytes(self, bytes: u32) -> usize {
        match self {
            Self::Long => 8,
            Self::Short if bytes <= 64 << 10 => 2,
            Self::Short => 4,
        }
    }

    /// Bytes of one block.
    fn sum_bytes(self, bytes: u32) -> usize {
        self.weak_bytes() + self.strong_bytes(bytes)
    }

    /// Such that a signature, and one block that is sent because a byte of it changed, are about as large.
    fn block_bytes(self, bytes: u32) -> u32 {
        let root = (u64::from(bytes) * self.sum_bytes(bytes) as u64).isqrt();
        let root = u32::try_from(root).unwrap_or(u32::MAX);
        match self {
            Self::Long => root.next_power_of_two().max(2 * Self::BLOCK_BYTES_MIN),
            Self::Short => root.next_multiple_of(Self::BLOCK_BYTES_MIN).max(Self::BLOCK_BYTES_MIN),
        }
    }
}

/// The sums of every block of some chunks that stand one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Which.
    pub bases: Vec<ChunkId>,
    /// Their plain bytes in all.
    pub bytes: u32,
    /// The sums of every block; the last block may be shorter.
    #[serde(with = "serde_bytes")]
    pub sums: Vec<u8>,
    /// What these are.
    #[serde(skip)]
    pub kind: Sums,
}

impl Signature {
    /// Of `bases`, whose bytes are `base`.
    #[must_use]
    pub fn of(kind: Sums, bases: Vec<ChunkId>, base: &[u8]) -> Self {
        let bytes = u32::try_from(base.len()).expect("bases are some chunks");
        let blocks = base.chunks(kind.block_bytes(bytes) as usize);
        let mut sums = Vec::with_capacity(blocks.len() * kind.sum_bytes(bytes));
        for block in blocks {
            sums.extend(&Weak::of(block).value().to_be_bytes()[4 - kind.weak_bytes()..]);
            sums.extend(&strong(block)[..kind.strong_bytes(bytes)]);
        }
        Self { bases, bytes, sums, kind }
    }

    fn block_bytes(&self) -> u32 {
        self.kind.block_bytes(self.bytes)
    }

    /// Where so many blocks from this one on lie in the bases.
    fn bytes_of(&self, block: u32, blocks: u32) -> Option<std::ops::Range<usize>> {
        range_of(self.bytes, self.block_bytes(), block, blocks)
    }
}

/// Where so many blocks of `size` bytes from this one on lie in so many bytes.
fn range_of(bytes: u32, size: u32, block: u32, blocks: u32) -> Option<std::ops::Range<usize>> {
    let size = u64::from(size);
    let from = u64::from(block) * size;
    let to = (from + u64::from(blocks) * size).min(u64::from(bytes));
    let one_too_many = blocks > 0 && from + u64::from(blocks - 1) * size >= u64::from(bytes);
    let inside = blocks == 0 || !one_too_many;
    inside.then_some(if blocks == 0 { 0..0 } else { from as usize..to as usize })
}

/// A sum of which signatures have the beginning.
fn strong(block: &[u8]) -> [u8; 32] {
    Sha256::digest(block).into()
}

/// The sum of a window that can be moved on by a byte.
#[derive(Clone, Copy)]
struct Weak {
    plain: u32,
    weighted: u32,
    bytes: u32,
}

impl Weak {
    fn of(block: &[u8]) -> Self {
        let bytes = u32::try_from(block.len()).expect("a block is some kilobytes");
        let (mut plain, mut weighted) = (0_u32, 0_u32);
        for byte in block {
            plain = plain.wrapping_add(u32::from(*byte));
            weighted = weighted.wrapping_add(plain);
        }
        Self { plain, weighted, bytes }
    }

    fn roll(&mut self, out: u8, into: u8) {
        self.plain = self.plain.wrapping_sub(u32::from(out)).wrapping_add(u32::from(into));
        self.weighted =
            self.weighted.wrapping_sub(self.bytes.wrapping_mul(u32::from(out))).wrapping_add(self.plain);
    }

    fn value(self) -> u32 {
        (self.plain & 0xFFFF) | (self.weighted << 16)
    }
}

/// So many bytes as they are, then so many blocks of the base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    literals: u32,
    block: u32,
    blocks: u32,
}

/// Blocks of a base by their sums.
struct Search<'a> {
    signature: &'a Signature,
    block: usize,
    /// As many bits of weak sums as the signature has.
    mask: u32,
    /// Weak sums of whole blocks and which have them, in order.
    by_weak: Vec<(u32, u32)>,
    /// A bit for each hash of a weak sum that any block has: most positions match none.
    known: Vec<u64>,
}

/// Which bit of which word says that a weak sum is known.
fn bit_of(weak: u32) -> (usize, u64) {
    let hash = weak.wrapping_mul(0x9E37_79B1) >> 16;
    ((hash >> 6) as usize, 1 << (hash & 63))
}

impl<'a> Search<'a> {
    fn of(signature: &'a Signature) -> Option<Self> {
        let (kind, block) = (signature.kind, signature.block_bytes());
        let blocks = signature.bytes.div_ceil(block);
        let sum_bytes = kind.sum_bytes(signature.bytes);
        let limit = SealedChunk::PLAIN_BYTES_MAX as usize * BASES_MAX;
        if signature.sums.len() != blocks as usize * sum_bytes || signature.bytes as usize > limit {
            return None;
        }
        let weak = |nth: u32| {
            let sum = &signature.sums[nth as usize * sum_bytes..][..kind.weak_bytes()];
            sum.iter().fold(0, |weak, byte| weak << 8 | u32::from(*byte))
        };
        let mut by_weak: Vec<(u32, u32)> = (0..signature.bytes / block).map(|nth| (weak(nth), nth)).collect();
        by_weak.sort_unstable();
        let mut known = vec![0; 1 << 10];
        for (weak, _) in &by_weak {
            let (word, bit) = bit_of(*weak);
            known[word] |= bit;
        }
        let mask = u32::MAX >> (32 - 8 * kind.weak_bytes());
        Some(Self { signature, block: block as usize, mask, by_weak, known })
    }

    /// The block that these bytes are; `next` if it is one of several.
    fn find(&self, weak: u32, bytes: &[u8], next: u32) -> Option<u32> {
        let weak = weak & self.mask;
        let (word, bit) = bit_of(weak);
        if self.known[word] & bit == 0 {
            return None;
        }
        let first = self.by_weak.partition_point(|(other, _)| *other < weak);
        let alike = self.by_weak[first..].iter().take_while(|(other, _)| *other == weak);
        let mut strong_sum = None;
        let mut found = None;
        // Many equal blocks (of zeros) are all right, and need not all be looked at.
        for (_, nth) in alike.take(64) {
            let sum = strong_sum.get_or_insert_with(|| strong(bytes));
            if sum.starts_with(self.strong(*nth)) {
                found.get_or_insert(*nth);
                break;
            }
        }
        let follows = next < self.signature.bytes / self.block as u32
            && found.is_some_and(|found| self.strong(found) == self.strong(next));
        if follows { Some(next) } else { found }
    }

    fn strong(&self, nth: u32) -> &[u8] {
        let Signature { kind, bytes, sums, .. } = self.signature;
        let end = (nth as usize + 1) * kind.sum_bytes(*bytes);
        &sums[end - kind.strong_bytes(*bytes)..end]
    }

    /// How to make `plain`.
    fn steps(&self, plain: &[u8]) -> Vec<Step> {
        let (mut steps, mut step) = (Vec::new(), Step::default());
        let mut at = 0;
        let mut weak = plain.get(..self.block).map(Weak::of);
        while let Some(sum) = &mut weak {
            let window = &plain[at..at + self.block];
            match self.find(sum.value(), window, step.block + step.blocks) {
                Some(nth) => {
                    if step.blocks == 0 {
                        (step.block, step.blocks) = (nth, 1);
                    } else if step.block + step.blocks == nth {
                        step.blocks += 1;
                    } else {
                        steps.push(std::mem::replace(&mut step, Step { literals: 0, block: nth, blocks: 1 }));
                    }
                    at += self.block;
                    weak = plain.get(at..at + self.block).map(Weak::of);
                }
                None => {
                    if step.blocks > 0 {
                        steps.push(std::mem::take(&mut step));
                    }
                    step.literals += 1;
                    match plain.get(at + self.block) {
                        Some(into) => sum.roll(window[0], *into),
                        None => weak = None,
                    }
                    at += 1;
                }
            }
        }
        steps.push(step);
        self.finish(&mut steps, &plain[at..]);
        steps
    }

    /// What is left is shorter than a block: perhaps it ends with the last block, which is shorter too.
    fn finish(&self, steps: &mut Vec<Step>, rest: &[u8]) {
        let last = self.signature.bytes / self.block as u32;
        let tail = self.signature.bytes as usize % self.block;
        let split = rest.len().checked_sub(tail).filter(|_| tail > 0);
        let split = split.filter(|split| strong(&rest[*split..]).starts_with(self.strong(last)));
        let step = steps.last_mut().expect("there is one");
        match split {
            Some(0) if step.blocks > 0 && step.block + step.blocks == last => step.blocks += 1,
            _ => {
                let literals = split.unwrap_or(rest.len()) as u32;
                if step.blocks > 0 {
                    steps.push(Step::default());
                }
                let step = steps.last_mut().expect("there is one");
                step.literals += literals;
                if split.is_some() {
                    (step.block, step.blocks) = (last, 1);
                }
            }
        }
    }
}

/// Does what a list of steps says; none where it makes no sense.
fn copy(base: &[u8], frame: &[u8], plain_bytes: u32) -> Option<Vec<u8>> {
    let steps_max = 2 + plain_bytes as usize / Sums::BLOCK_BYTES_MIN as usize;
    let room = 4 + steps_max * STEP_BYTES + plain_bytes as usize;
    let list = zstd::bulk::decompress(frame, room).ok()?;
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    let (count, list) = list.split_at_checked(4)?;
    let (steps, mut literals) = list.split_at_checked((number(count) as usize).checked_mul(STEP_BYTES)?)?;
    let base_bytes = u32::try_from(base.len()).ok()?;
    let block = Sums::Long.block_bytes(base_bytes);
    let mut plain = Vec::with_capacity(plain_bytes as usize);
    for step in steps.chunks(STEP_BYTES) {
        let (own, rest) = literals.split_at_checked(number(&step[..4]) as usize)?;
        literals = rest;
        let copied = base.get(range_of(base_bytes, block, number(&step[4..8]), number(&step[8..]))?)?;
        if plain.len() + own.len() + copied.len() > plain_bytes as usize {
            return None;
        }
        plain.extend(own);
        plain.extend(copied);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(bytes: usize, seed: u64) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ seed;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        std::iter::repeat_with(&mut next).take(bytes).collect()
    }

    fn each(base: &[u8], plain: &[u8]) -> [ChunkDelta; 3] {
        let (id, bases) = (ChunkId::of(plain), vec![ChunkId::of(base)]);
        let to_sums =
            |kind| ChunkDelta::to_signature(id, plain, &Signature::of(kind, bases.clone(), base)).unwrap();
        let to_bases = ChunkDelta::to_bases(id, plain, bases.clone(), base).unwrap();
        [to_bases, to_sums(Sums::Long), to_sums(Sums::Short)]
    }

    /// Bytes of few values, so that blocks repeat, changed here and there.
    fn edited() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let edits = prop::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..400, prop::collection::vec(any::<u8>(), 0..300)),
            0..5,
        );
        (0_usize..6000, 1_u8..255, edits).prop_map(|(bytes, values, edits)| {
            let base: Vec<u8> = noise(bytes, 5).into_iter().map(|byte| byte % values).collect();
            let mut plain = base.clone();
            for (at, gone, new) in edits {
                let at = at.index(plain.len() + 1);
                let to = (at + gone).min(plain.len());
                plain.splice(at..to, new);
            }
            plain.push(1);
            (base, plain)
        })
    }

    proptest! {
        #[test]
        fn what_is_told_as_a_difference_arrives((base, plain) in edited()) {
            for delta in each(&base, &plain) {
                prop_assert_eq!(delta.apply(&base), Ok(plain.clone()), "{:?}", delta.method);
            }
        }

        #[test]
        fn nothing_but_the_chunk_comes_of_a_damaged_difference(
            (base, plain) in edited(), at in any::<prop::sample::Index>(), bit in 0_u8..8,
        ) {
            for mut delta in each(&base, &plain) {
                let at = at.index(delta.bytes.len());
                delta.bytes[at] ^= 1 << bit;
                prop_assert!(delta.apply(&base).map_or(true, |same| same == plain));
                prop_assert!(delta.apply(&plain).map_or(true, |same| same == plain));
            }
        }

        #[test]
        fn instructions_that_nobody_wrote_are_refused_in_peace(
            steps in prop::collection::vec(any::<[u32; 3]>(), 0..4), base in prop::collection::vec(any::<u8>(), 0..999),
        ) {
            let mut list = (steps.len() as u32).to_be_bytes().to_vec();
            steps.iter().flatten().for_each(|n| list.extend(n.to_be_bytes()));
            let bytes = zstd::bulk::compress(&list, 1).unwrap();
            let delta = ChunkDelta {
                id: ChunkId([1; 32]), plain_bytes: 1000, bases: vec![], method: Method::Copies, bytes,
            };
            prop_assert!(delta.apply(&base).is_err());
            let bytes = steps.iter().flatten().flat_map(|n| n.to_le_bytes()).collect();
            let patch = ChunkDelta { method: Method::Patch, bytes, ..delta };
            prop_assert!(patch.apply(&base).is_err());
        }
    }

    #[test]
    fn a_byte_more_at_the_head_costs_next_to_nothing() {
        let table = [(64 << 10, 2048), (1 << 20, 6144), (4 << 20, 12 << 10), (8 << 20, 24 << 10)];
        for (bytes, most) in table {
            let base = noise(bytes, 1);
            let plain = [&[7], &base[..]].concat();
            for delta in each(&base, &plain) {
                assert!(delta.bytes.len() < most, "{bytes}: {} by {:?}", delta.bytes.len(), delta.method);
                assert_eq!(delta.apply(&base).as_ref(), Ok(&plain));
            }
            for kind in [Sums::Long, Sums::Short] {
                let signature = Signature::of(kind, vec![ChunkId::of(&base)], &base);
                assert!(signature.sums.len() < most, "{bytes}: a signature of {}", signature.sums.len());
            }
        }
    }

    #[test]
    fn a_line_more_in_a_source_file_costs_less_than_a_tenth_of_it() {
        let line = |n: u64| format!("    let value_{} = other_{}({});\n", n * 7919 % 100, n % 13, n % 29);
        for lines in [60, 250, 1000] {
            let base: String = (0..lines).map(line).collect();
            let plain = base.replacen('\n', "\n// what this version added\n", 3);
            let signature = Signature::of(Sums::Short, vec![ChunkId::of(base.as_bytes())], base.as_bytes());
            let delta = ChunkDelta::to_signature(ChunkId::of(plain.as_bytes()), plain.as_bytes(), &signature);
            let delta = delta.unwrap();
            assert_eq!(delta.apply(base.as_bytes()).as_deref(), Ok(plain.as_bytes()));
            let cost = delta.bytes.len() + signature.sums.len();
            assert!(cost * 10 < plain.len().max(3000), "{cost} for {}", plain.len());
        }
    }

    #[test]
    fn a_chunk_made_of_two_costs_next_to_nothing() {
        let (one, two) = (noise(60_000, 1), noise(80_000, 2));
        let base = [&one[..], &two].concat();
        let plain = [&one[30_000..], b"between", &two[..30_000]].concat();
        for delta in each(&base, &plain) {
            assert!(delta.bytes.len() < 5000, "{} by {:?}", delta.bytes.len(), delta.method);
        }
    }

    #[test]
    fn the_base_of_another_is_noticed() {
        let (base, other) = (noise(50_000, 1), noise(50_000, 2));
        let plain = [&base[..25_000], b"x", &base[25_000..]].concat();
        for delta in each(&base, &plain) {
            assert!(delta.apply(&other).is_err() && delta.apply(&[]).is_err(), "{:?}", delta.method);
        }
    }

    #[test]
    fn a_signature_that_does_not_add_up_is_none() {
        let good = Signature::of(Sums::Short, vec![ChunkId([0; 32])], &noise(5000, 1));
        let short = Signature { sums: good.sums[1..].to_vec(), ..good.clone() };
        let huge = Signature { bytes: u32::MAX, ..good };
        assert_eq!(ChunkDelta::to_signature(ChunkId([0; 32]), b"plain", &short), None);
        assert_eq!(ChunkDelta::to_signature(ChunkId([0; 32]), b"plain", &huge), None);
    }
}
