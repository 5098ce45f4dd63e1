//! Bytes to chunks and back: where a file is cut, what its pieces are called, and how a piece travels.
//!
//! A file is cut by [`Chunker`] (FastCDC v2020) as it streams by, each piece is named by SHA-256 of its plain
//! bytes and [sealed](SealedChunk) once, by whoever cut it: compressed where that gains something. Sealed it is
//! sent and stored as it is. [`assemble`] makes of the pieces what an event
//! names, and the manifest where they are many. A chunk that replaces others may travel as the difference to them
//! ([`ChunkDelta`]); [`replaced_by`] guesses which those are.
//!
//! What must always hold: the same bytes cut with the same sizes give the same chunks, whatever pieces they
//! arrive in and on every machine; nobody believes a chunk whose bytes do not match its name; no file is ever
//! in memory as a whole. Left out: reading files and working on all cores, which is the shell's (`src/content.rs`).

pub mod chunker;
pub mod delta;
pub mod pairing;
pub mod sealed;

pub use chunker::{BadCut, Chunker};
pub use delta::{ChunkDelta, Signature, Sums};
pub use pairing::replaced_by;
pub use sealed::{ChunkError, Codec, SealedChunk, Sealer};

use annals_events::{ChunkId, ChunkRef, Content, ContentId, Cut};
use std::io::{self, Read};

/// Most chunks in a file: at 40 bytes each their manifest is a chunk of at most [`SealedChunk::PLAIN_BYTES_MAX`].
/// Files beyond 64 MiB have such cuts that this is more than a terabyte.
pub const CHUNKS_MAX: usize = 300_000;

/// A file with more chunks than a manifest can list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a file of {chunks} chunks is too large, the limit is {CHUNKS_MAX}")]
pub struct TooManyChunks {
    /// How many it has.
    pub chunks: usize,
}

/// The sizes with which to cut a file of `size` bytes: those of the version that it replaces, so that what did
/// not change keeps its chunks; its own where there is no such version, or where a file has grown so far beyond
/// it that a manifest could not list its chunks.
#[must_use]
pub fn cut_for(size: u64, replaced: Option<Cut>) -> Cut {
    let fits = |cut: &Cut| cut.is_known() && size / u64::from(cut.avg) <= CHUNKS_MAX as u64 / 2;
    replaced.filter(fits).unwrap_or_else(|| Cut::for_size(size))
}

/// The content made of `chunks`, in order; with the plain bytes of its manifest where it has one, which must
/// be stored like any other chunk.
///
/// # Errors
/// [`TooManyChunks`].
pub fn assemble(cut: Cut, chunks: Vec<ChunkRef>) -> Result<(Content, Option<Vec<u8>>), TooManyChunks> {
    if chunks.len() > CHUNKS_MAX {
        return Err(TooManyChunks { chunks: chunks.len() });
    }
    Ok(Content::new(cut, chunks))
}

/// Whether a file of `size` bytes holds `content`. `open` begins at its first byte: once, unless it does not or was cut
/// otherwise than a new file of this size would be.
///
/// # Errors
/// When it cannot be read.
pub fn is_content<R: Read>(
    content: &ContentId,
    size: u64,
    mut open: impl FnMut() -> io::Result<R>,
) -> io::Result<bool> {
    let likely = Cut::for_size(size);
    let others = [Cut::SMALL, Cut::MEDIUM, Cut::LARGE].into_iter().filter(|cut| *cut != likely);
    for cut in std::iter::once(likely).chain(others) {
        if content_of(cut, open()?)? == Some(*content) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How much of a file is read at once.
const BLOCK_BYTES: u64 = 4 << 20;

/// What these bytes are as a content; none where they have too many chunks for one.
fn content_of(cut: Cut, mut bytes: impl Read) -> io::Result<Option<ContentId>> {
    let mut chunker = Chunker::new(cut).map_err(io::Error::other)?;
    let (mut chunks, mut block) = (Vec::new(), Vec::new());
    let mut take = |chunk: &[u8]| {
        let bytes = u32::try_from(chunk.len()).expect("no chunk is longer than a cut allows");
        chunks.push(ChunkRef { bytes, id: ChunkId::of(chunk) });
    };
    while bytes.by_ref().take(BLOCK_BYTES).read_to_end(&mut block)? > 0 {
        chunker.feed(&block, &mut take);
        block.clear();
    }
    chunker.finish(&mut take);
    Ok(assemble(cut, chunks).ok().map(|(content, _)| content.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_events::{ChunkId, Manifest};

    #[test]
    fn a_file_keeps_the_sizes_of_its_last_version_until_that_is_unreasonable() {
        let table = [
            (0, None, Cut::SMALL),
            (64 << 20, None, Cut::SMALL),
            ((64 << 20) + 1, None, Cut::MEDIUM),
            (5 << 30, None, Cut::LARGE),
            (1 << 30, Some(Cut::SMALL), Cut::SMALL),  // it has grown
            (0, Some(Cut::LARGE), Cut::LARGE),        // it has shrunk
            (10 << 30, Some(Cut::SMALL), Cut::LARGE), // 163,840 chunks of 64 KiB
            (2 << 40, Some(Cut::LARGE), Cut::LARGE),  // nothing is larger
            (9, Some(Cut { min: 64, avg: 256, max: 1024 }), Cut::SMALL), // from a release that knows more sizes
        ];
        for (size, replaced, cut) in table {
            assert_eq!(cut_for(size, replaced), cut, "{size} after {replaced:?}");
        }
    }

    #[test]
    fn the_largest_manifest_is_a_chunk_and_beyond_it_is_an_error() {
        let chunks = vec![ChunkRef { bytes: Cut::LARGE.max, id: ChunkId([0xFF; 32]) }; CHUNKS_MAX + 1];
        let (content, manifest) = assemble(Cut::LARGE, chunks[1..].to_vec()).unwrap();
        let sealed = SealedChunk::seal(manifest.clone().unwrap());
        assert_eq!(Some(sealed.to_ref()), content.manifest);
        let manifest = Manifest::decode(&sealed.open().unwrap(), &content).unwrap();
        assert_eq!(manifest.chunks.len(), CHUNKS_MAX);
        assert_eq!(assemble(Cut::LARGE, chunks), Err(TooManyChunks { chunks: CHUNKS_MAX + 1 }));
    }
}
