//! A chunk as it travels and as it is stored: its name, its plain length, and its bytes, compressed or not.
//!
//! A name says nothing about compression: it is of the plain bytes, so that a later release may compress
//! differently without a new name for anything. What came from elsewhere is believed after [`SealedChunk::open`]
//! only, which never makes more bytes than the chunk claims to have.

use annals_events::{ChunkId, ChunkRef};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, cell::RefCell, ops::RangeInclusive};
use zstd::zstd_safe::CParameter;

/// Level 3 is where zstd still keeps up with a disk on one core.
const ZSTD_LEVEL: i32 = 3;
/// Chunks of these sizes get smaller tables than the level gives them: those are cleared for each chunk, and more than the
/// nearest cache holds. How much that saves: docs/design/0002.
const WITH_SMALL_TABLES: RangeInclusive<usize> = (16 << 10) + 1..=128 << 10;
/// Those tables, as powers of two: of long matches, and of short ones.
const SMALL_TABLES: [CParameter; 2] = [CParameter::HashLog(13), CParameter::ChainLog(12)];
/// What the level gives.
const OWN_TABLES: [CParameter; 2] = [CParameter::HashLog(0), CParameter::ChainLog(0)];
/// Working memory that is kept from one chunk to the next by who [rests](Sealer::rest).
const KEPT_BYTES_MAX: usize = 1 << 20;

/// How a chunk's stored bytes give its plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// They are the plain bytes.
    Raw,
    /// One zstd frame.
    Zstd,
}

/// A chunk ready to be sent or stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedChunk {
    /// SHA-256 of the plain bytes.
    pub id: ChunkId,
    /// How to get at them.
    pub codec: Codec,
    /// How many they are.
    pub plain_bytes: u32,
    /// The chunk as sent and stored.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// A chunk that is not what it says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// No chunk has as few or as many bytes as this one claims.
    #[error("chunk {id} claims {plain_bytes} bytes, chunks have 1 to {}", SealedChunk::PLAIN_BYTES_MAX)]
    BadSize {
        /// Which.
        id: ChunkId,
        /// What it claims.
        plain_bytes: u32,
    },
    /// Its bytes do not decode to as many as it claims.
    #[error("chunk {id} does not decode to the {plain_bytes} bytes that it claims")]
    BadEncoding {
        /// Which.
        id: ChunkId,
        /// What it claims.
        plain_bytes: u32,
    },
    /// It decodes, to something else than its name says.
    #[error("chunk {id} holds the bytes of {actual}")]
    OtherBytes {
        /// Which.
        id: ChunkId,
        /// What its bytes are called.
        actual: ChunkId,
    },
}

impl SealedChunk {
    /// Most plain bytes in a chunk, a manifest included: 12 MiB, one and a half times the largest piece that a file
    /// is cut into.
    pub const PLAIN_BYTES_MAX: u32 = 12 << 20;

    /// Names and seals `plain`, 1 to [`Self::PLAIN_BYTES_MAX`] bytes. Whoever has many uses a [`Sealer`].
    #[must_use]
    pub fn seal(plain: Vec<u8>) -> Self {
        Sealer::new().seal(ChunkId::of(&plain), plain)
    }

    /// What a manifest says about it.
    #[must_use]
    pub fn to_ref(&self) -> ChunkRef {
        ChunkRef { bytes: self.plain_bytes, id: self.id }
    }

    /// The plain bytes, checked against length and name.
    ///
    /// # Errors
    /// [`ChunkError`] where they are something else.
    pub fn open(self) -> Result<Vec<u8>, ChunkError> {
        let decoded = match self.plain()? {
            Cow::Borrowed(_) => None,
            Cow::Owned(plain) => Some(plain),
        };
        Ok(decoded.unwrap_or(self.bytes))
    }

    /// Whether [`open`](Self::open) would succeed, for who passes the chunk on as it is.
    ///
    /// # Errors
    /// As `open`.
    pub fn check(&self) -> Result<(), ChunkError> {
        self.check_size()?;
        match self.codec {
            Codec::Raw => self.judge(&self.bytes),
            Codec::Zstd => OPENER.with_borrow_mut(|opener| {
                let judged = self.judge(opener.open(&self.bytes, self.plain_bytes).unwrap_or_default());
                opener.rest();
                judged
            }),
        }
    }

    fn plain(&self) -> Result<Cow<'_, [u8]>, ChunkError> {
        self.check_size()?;
        let plain = match self.codec {
            Codec::Raw => Cow::Borrowed(&self.bytes[..]),
            Codec::Zstd => Cow::Owned(decompress(&self.bytes, self.plain_bytes).unwrap_or_default()),
        };
        self.judge(&plain)?;
        Ok(plain)
    }

    fn check_size(&self) -> Result<(), ChunkError> {
        let Self { id, plain_bytes, .. } = *self;
        if plain_bytes == 0 || plain_bytes > Self::PLAIN_BYTES_MAX {
            return Err(ChunkError::BadSize { id, plain_bytes });
        }
        Ok(())
    }

    /// Whether these are the plain bytes that it says it has.
    fn judge(&self, plain: &[u8]) -> Result<(), ChunkError> {
        let Self { id, plain_bytes, .. } = *self;
        if plain.len() != plain_bytes as usize {
            return Err(ChunkError::BadEncoding { id, plain_bytes });
        }
        let actual = ChunkId::of(plain);
        if actual == id { Ok(()) } else { Err(ChunkError::OtherBytes { id, actual }) }
    }
}

impl std::fmt::Debug for SealedChunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} ({:?}, {} of {} bytes)", self.id, self.codec, self.bytes.len(), self.plain_bytes)
    }
}

/// Seals one chunk after the other with the same working memory, of which zstd needs a megabyte.
pub struct Sealer {
    zstd: zstd::bulk::Compressor<'static>,
    has_small_tables: bool,
    /// Where frames are made.
    frame: Vec<u8>,
}

impl Sealer {
    /// One that has sealed nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("zstd knows level 3");
        Self { zstd, has_small_tables: false, frame: Vec::new() }
    }

    /// Lets go of memory that only large chunks need.
    pub fn rest(&mut self) {
        if self.frame.len() > KEPT_BYTES_MAX {
            *self = Self::new();
        }
    }

    /// Seals the chunk `id` of these bytes, 1 to [`SealedChunk::PLAIN_BYTES_MAX`] of them.
    #[must_use]
    pub fn seal<'a>(&mut self, id: ChunkId, plain: impl Into<Cow<'a, [u8]>>) -> SealedChunk {
        let plain = plain.into();
        let plain_bytes = u32::try_from(plain.len()).expect("chunks are at most 12 MiB");
        assert!(
            0 < plain_bytes && plain_bytes <= SealedChunk::PLAIN_BYTES_MAX,
            "a chunk of {plain_bytes} bytes"
        );
        let (codec, bytes) = match self.compress(&plain) {
            Some(bytes) => (Codec::Zstd, bytes),
            None => (Codec::Raw, plain.into_owned()),
        };
        SealedChunk { id, codec, plain_bytes, bytes }
    }

    /// The zstd frame of `plain`, where it is at least a twentieth smaller. There is no room to write a frame
    /// that is not, so that bytes that do not compress cost little.
    fn compress(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let room = plain.len() - plain.len() / 20 - 1;
        if self.frame.len() < room {
            self.frame.resize(room, 0);
        }
        self.fit_tables(plain.len());
        let length = self.zstd.compress_to_buffer(plain, &mut self.frame[..room]).ok()?;
        Some(self.frame[..length].to_vec())
    }

    fn fit_tables(&mut self, plain_bytes: usize) {
        let small = WITH_SMALL_TABLES.contains(&plain_bytes);
        if small != self.has_small_tables {
            let tables = if small { SMALL_TABLES } else { OWN_TABLES };
            for size in tables {
                self.zstd.set_parameter(size).expect("zstd knows tables of these sizes");
            }
            self.has_small_tables = small;
        }
    }
}

impl Default for Sealer {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

/// Opens one frame after the other with the same working memory, which costs more to get than most chunks to open.
struct Opener {
    zstd: zstd::bulk::Decompressor<'static>,
    /// Where it puts what somebody only wants to look at; what is left there of one frame is not looked at for the next.
    plain: Vec<u8>,
}

thread_local! {
    static OPENER: RefCell<Opener> = RefCell::new(Opener {
        zstd: zstd::bulk::Decompressor::new().expect("without a dictionary there is nothing to go wrong"),
        plain: Vec::new(),
    });
}

impl Opener {
    /// What the zstd frame holds, if that is at most `plain_bytes`.
    fn open(&mut self, frame: &[u8], plain_bytes: u32) -> Option<&[u8]> {
        let room = plain_bytes as usize;
        if self.plain.len() < room {
            self.plain.resize(room, 0);
        }
        let length = self.zstd.decompress_to_buffer(frame, &mut self.plain[..room]).ok()?;
        Some(&self.plain[..length])
    }

    /// Lets go of memory that only large chunks need: there may be many threads.
    fn rest(&mut self) {
        if self.plain.len() > KEPT_BYTES_MAX {
            self.plain = Vec::new();
        }
    }
}

/// What the zstd frame holds, if that is at most `plain_bytes`.
fn decompress(frame: &[u8], plain_bytes: u32) -> Option<Vec<u8>> {
    OPENER.with_borrow_mut(|opener| opener.zstd.decompress(frame, plain_bytes as usize).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that do not compress.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        std::iter::repeat_with(&mut next).take(bytes).collect()
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_to_the_same_bytes(plain in prop::collection::vec(0_u8..9, 1..5000), noisy in any::<bool>()) {
            let plain = if noisy { noise(plain.len()) } else { plain };
            let sealed = SealedChunk::seal(plain.clone());
            prop_assert!(sealed.bytes.len() <= plain.len());
            prop_assert_eq!(sealed.check(), Ok(()));
            prop_assert_eq!(sealed.open(), Ok(plain));
        }

        #[test]
        fn any_flipped_bit_is_noticed(size in 1_usize..3000, at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            for plain in [noise(size), vec![7; size]] {
                let mut sealed = SealedChunk::seal(plain.clone());
                let at = at.index(sealed.bytes.len());
                sealed.bytes[at] ^= 1 << bit;
                // Some bits of a zstd frame's header mean nothing; then the plain bytes are right all the same.
                if sealed.clone().open() != Ok(plain) {
                    prop_assert!(sealed.check().is_err());
                    prop_assert!(sealed.open().is_err());
                }
            }
        }
    }

    #[test]
    fn one_sealer_and_one_opener_do_chunks_of_all_sizes_one_after_the_other() {
        let sizes =
            [3 << 20, 100, 40_000, 16 << 10, (16 << 10) + 1, 2 << 20, 128 << 10, (128 << 10) + 1, 5, 70_000];
        let mut sealer = Sealer::new();
        for (nth, size) in (0_u32..).zip(sizes) {
            let plain: Vec<u8> =
                (0..).flat_map(|n: u32| (n / 9 * 31 + nth).to_le_bytes()).take(size).collect();
            let sealed = sealer.seal(ChunkId::of(&plain), &plain[..]);
            assert_eq!(sealed.codec, if size < 100 { Codec::Raw } else { Codec::Zstd }, "{size}");
            assert_eq!(sealed.check(), Ok(()), "{size}");
            assert!(sealed.open() == Ok(plain), "{size}");
            if nth % 3 == 0 {
                sealer.rest();
            }
        }
    }

    #[test]
    fn what_does_not_compress_stays_as_it_is() {
        let table = [
            (noise(1 << 20), Codec::Raw),
            (vec![0], Codec::Raw), // a frame would be longer
            (vec![0; 1 << 20], Codec::Zstd),
            (b"all work and no play ".repeat(100), Codec::Zstd),
        ];
        for (plain, codec) in table {
            assert_eq!(SealedChunk::seal(plain.clone()).codec, codec, "{} bytes", plain.len());
        }
    }

    #[test]
    fn a_chunk_that_lies_about_itself_is_refused() {
        let good = SealedChunk::seal(vec![5; 1000]);
        assert_eq!(good.codec, Codec::Zstd);
        let id = good.id;
        let table = [
            // another name
            (
                SealedChunk { id: ChunkId([0; 32]), ..good.clone() },
                ChunkError::OtherBytes { id: ChunkId([0; 32]), actual: id },
            ),
            // fewer bytes than it has: nothing beyond them is ever made
            (
                SealedChunk { plain_bytes: 999, ..good.clone() },
                ChunkError::BadEncoding { id, plain_bytes: 999 },
            ),
            (
                SealedChunk { plain_bytes: 1001, ..good.clone() },
                ChunkError::BadEncoding { id, plain_bytes: 1001 },
            ),
            (SealedChunk { plain_bytes: 0, ..good.clone() }, ChunkError::BadSize { id, plain_bytes: 0 }),
            (
                SealedChunk { plain_bytes: u32::MAX, ..good.clone() },
                ChunkError::BadSize { id, plain_bytes: u32::MAX },
            ),
            // another codec
            (
                SealedChunk { codec: Codec::Raw, ..good.clone() },
                ChunkError::BadEncoding { id, plain_bytes: 1000 },
            ),
            (
                SealedChunk { codec: Codec::Zstd, bytes: vec![5; 1000], ..good.clone() },
                ChunkError::BadEncoding { id, plain_bytes: 1000 },
            ),
            (
                SealedChunk { bytes: Vec::new(), ..good.clone() },
                ChunkError::BadEncoding { id, plain_bytes: 1000 },
            ),
        ];
        for (bad, error) in table {
            assert_eq!(bad.check(), Err(error), "{bad:?}");
            assert_eq!(bad.open(), Err(error));
        }
    }
}
