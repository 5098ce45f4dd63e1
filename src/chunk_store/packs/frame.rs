//! A chunk as the frame of a pack.
//!
//! ```text
//! frame = id 32 bytes, codec u8, plain bytes u32 big-endian, then by codec:
//!         0 raw, 1 zstd     the chunk's bytes
//!         2 difference      depth u8, the base's id 32 bytes, a zstd frame with the base's plain bytes as prefix
//! ```
//!
//! The depth is how many differences have to be read for the chunk: one more than its base's.

use annals_engine::content::{ChunkDelta, Codec, SealedChunk, delta::Method};
use annals_events::ChunkId;
use std::borrow::Cow;

/// Bytes of a frame before the chunk's own.
pub(super) const HEADER: usize = ChunkId::BYTES + 5;
/// Bytes of a difference before the zstd frame.
const DELTA_HEADER: usize = 1 + ChunkId::BYTES;

/// A chunk in the form in which it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    Whole(Cow<'a, SealedChunk>),
    /// To one base, as a zstd frame with that as prefix.
    Delta(Cow<'a, ChunkDelta>, u8),
}

/// The form, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Whole(Codec),
    Delta { base: ChunkId, depth: u8 },
}

impl Form {
    /// How many differences have to be read for it.
    pub(super) fn depth(self) -> u8 {
        match self {
            Self::Whole(_) => 0,
            Self::Delta { depth, .. } => depth,
        }
    }

    pub(super) fn base(self) -> Option<ChunkId> {
        match self {
            Self::Whole(_) => None,
            Self::Delta { base, .. } => Some(base),
        }
    }

    pub(super) fn encode_to(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Whole(Codec::Raw) => bytes.push(0),
            Self::Whole(Codec::Zstd) => bytes.push(1),
            Self::Delta { base, depth } => {
                bytes.extend([2, depth]);
                bytes.extend_from_slice(&base.0);
            }
        }
    }

    /// From exactly these bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(Self::Whole(Codec::Raw)),
            [1] => Some(Self::Whole(Codec::Zstd)),
            [2, depth, base @ ..] if *depth > 0 => {
                Some(Self::Delta { base: ChunkId::from_slice(base)?, depth: *depth })
            }
            _ => None,
        }
    }
}

impl Stored<'_> {
    pub(super) fn id(&self) -> ChunkId {
        match self {
            Self::Whole(chunk) => chunk.id,
            Self::Delta(delta, _) => delta.id,
        }
    }

    pub(super) fn form(&self) -> Form {
        match self {
            Self::Whole(chunk) => Form::Whole(chunk.codec),
            Self::Delta(delta, depth) => Form::Delta { base: delta.bases[0], depth: *depth },
        }
    }

    pub(super) fn plain_bytes(&self) -> u32 {
        match self {
            Self::Whole(chunk) => chunk.plain_bytes,
            Self::Delta(delta, _) => delta.plain_bytes,
        }
    }

    /// How many bytes stand behind the header.
    pub(super) fn stored_bytes(&self) -> usize {
        match self {
            Self::Whole(chunk) => chunk.bytes.len(),
            Self::Delta(delta, _) => DELTA_HEADER + delta.bytes.len(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(HEADER + self.stored_bytes());
        frame.extend_from_slice(&self.id().0);
        let (codec, bytes) = match self {
            Self::Whole(chunk) => (u8::from(chunk.codec == Codec::Zstd), &chunk.bytes),
            Self::Delta(delta, _) => (2, &delta.bytes),
        };
        frame.push(codec);
        frame.extend_from_slice(&self.plain_bytes().to_be_bytes());
        if let Self::Delta(delta, depth) = self {
            frame.push(*depth);
            frame.extend_from_slice(&delta.bases[0].0);
        }
        frame.extend_from_slice(bytes);
        frame
    }
}

/// What is stored in this frame; none if it is not the frame of a chunk.
pub(super) fn decode(mut frame: Vec<u8>) -> Option<Stored<'static>> {
    let id = ChunkId::from_slice(frame.get(..ChunkId::BYTES)?)?;
    let codec = *frame.get(ChunkId::BYTES)?;
    let plain_bytes = u32::from_be_bytes(frame.get(ChunkId::BYTES + 1..HEADER)?.try_into().ok()?);
    frame.drain(..HEADER);
    let whole = |codec, bytes| Stored::Whole(Cow::Owned(SealedChunk { id, codec, plain_bytes, bytes }));
    match codec {
        0 => Some(whole(Codec::Raw, frame)),
        1 => Some(whole(Codec::Zstd, frame)),
        2 => {
            let depth = *frame.first().filter(|depth| **depth > 0)?;
            let bases = vec![ChunkId::from_slice(frame.get(1..DELTA_HEADER)?)?];
            frame.drain(..DELTA_HEADER);
            let delta = ChunkDelta { id, plain_bytes, bases, method: Method::Prefix, bytes: frame };
            Some(Stored::Delta(Cow::Owned(delta), depth))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_back_and_what_is_none_is_refused() {
        let base = vec![9; 4000];
        let plain = [&base[..], b"more"].concat();
        let delta =
            ChunkDelta::to_bases(ChunkId::of(&plain), &plain, vec![ChunkId::of(&base)], &base).unwrap();
        let forms = [
            Stored::Whole(Cow::Owned(SealedChunk::seal(vec![1]))),
            Stored::Whole(Cow::Owned(SealedChunk::seal(vec![7; 5000]))),
            Stored::Delta(Cow::Owned(delta), 3),
        ];
        for stored in forms {
            let frame = stored.encode();
            assert_eq!(frame.len(), HEADER + stored.stored_bytes());
            assert_eq!(decode(frame.clone()).as_ref(), Some(&stored));
            assert_eq!(decode(frame[..HEADER - 1].to_vec()), None);
            let mut known = Vec::new();
            stored.form().encode_to(&mut known);
            assert_eq!(Form::decode(&known), Some(stored.form()));
            if stored.form().base().is_some() {
                assert_eq!(decode(frame[..HEADER + DELTA_HEADER - 1].to_vec()), None);
                let mut no_depth = frame.clone();
                no_depth[HEADER] = 0;
                assert_eq!(decode(no_depth), None);
            }
            let mut other = frame;
            other[ChunkId::BYTES] = 3; // a codec that this release does not know
            assert_eq!(decode(other), None);
        }
    }
}
