//! Chunks on the wire: one after the other, each sealed as it was made and will be stored, or as the difference to
//! chunks that the receiver holds.
//!
//! A frame is the chunk's id (32 bytes), its codec (1 byte: 0 raw, 1 zstd, 2 the difference to a prefix, 3 and 4 the
//! difference to a signature, with long and with short sums), the length of its plain bytes and of what follows (4 bytes each, big-endian), and
//! that: the sealed bytes, or for a difference how many bases it has (1 byte), their ids and the difference. A body
//! is frames and nothing else; where it is cut off, [`decode_all`] says so. Whether bytes match their id is for
//! the receiver to check ([`SealedChunk::check`], [`ChunkDelta::apply`]).

use crate::content::{
    ChunkDelta, Codec, SealedChunk,
    delta::{BASES_MAX, Method},
};
use annals_events::ChunkId;

/// Bytes before those of the chunk.
pub const HEADER_BYTES: usize = 32 + 1 + 4 + 4;

/// A chunk as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// As it is stored.
    Whole(SealedChunk),
    /// As the difference to others.
    Delta(ChunkDelta),
}

impl Framed {
    /// Which chunk.
    #[must_use]
    pub fn id(&self) -> ChunkId {
        match self {
            Self::Whole(chunk) => chunk.id,
            Self::Delta(delta) => delta.id,
        }
    }

    /// How many plain bytes it claims to have.
    #[must_use]
    pub fn plain_bytes(&self) -> u32 {
        match self {
            Self::Whole(chunk) => chunk.plain_bytes,
            Self::Delta(delta) => delta.plain_bytes,
        }
    }

    /// How many bytes it takes on the wire.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        HEADER_BYTES
            + match self {
                Self::Whole(chunk) => chunk.bytes.len(),
                Self::Delta(delta) => 1 + delta.bases.len() * 32 + delta.bytes.len(),
            }
    }

    /// Appends it to a body.
    pub fn encode_to(&self, body: &mut Vec<u8>) {
        let codec = match self {
            Self::Whole(chunk) if chunk.codec == Codec::Raw => 0,
            Self::Whole(_) => 1,
            Self::Delta(delta) => match delta.method {
                Method::Prefix => 2,
                Method::Copies => 3,
                Method::Patch => 4,
            },
        };
        body.extend(self.id().0);
        body.push(codec);
        body.extend(self.plain_bytes().to_be_bytes());
        let bytes =
            u32::try_from(self.wire_bytes() - HEADER_BYTES).expect("a chunk is some megabytes at most");
        body.extend(bytes.to_be_bytes());
        match self {
            Self::Whole(chunk) => body.extend(&chunk.bytes),
            Self::Delta(delta) => {
                body.push(u8::try_from(delta.bases.len()).expect("a chunk has a few bases"));
                delta.bases.iter().for_each(|base| body.extend(base.0));
                body.extend(&delta.bytes);
            }
        }
    }
}

impl From<SealedChunk> for Framed {
    fn from(chunk: SealedChunk) -> Self {
        Self::Whole(chunk)
    }
}

/// Bytes that are not whole frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// They end inside a frame.
    #[error("chunk {nth} is cut off")]
    CutOff {
        /// Which, from 0.
        nth: usize,
    },
    /// A codec that nobody knows.
    #[error("chunk {nth} is packed in an unknown way ({codec})")]
    Codec {
        /// Which, from 0.
        nth: usize,
        /// What it says.
        codec: u8,
    },
    /// A difference to nothing, or to more than there may be.
    #[error("chunk {nth} is the difference to {bases} others, 1 to {BASES_MAX} are allowed")]
    Bases {
        /// Which, from 0.
        nth: usize,
        /// To how many.
        bases: u8,
    },
}

/// Appends a whole chunk to a body.
pub fn encode_to(chunk: &SealedChunk, body: &mut Vec<u8>) {
    Framed::from(chunk.clone()).encode_to(body);
}

/// Every chunk of a body, unchecked.
///
/// # Errors
/// [`FrameError`] with the first that is wrong.
pub fn decode_all(mut body: &[u8]) -> Result<Vec<Framed>, FrameError> {
    let mut chunks = Vec::new();
    while !body.is_empty() {
        let nth = chunks.len();
        let (header, rest) = body.split_at_checked(HEADER_BYTES).ok_or(FrameError::CutOff { nth })?;
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let (bytes, rest) = rest.split_at_checked(number(37) as usize).ok_or(FrameError::CutOff { nth })?;
        let id = ChunkId::from_slice(&header[..32]).expect("32 bytes");
        let whole =
            |codec| Framed::Whole(SealedChunk { id, codec, plain_bytes: number(33), bytes: bytes.to_vec() });
        chunks.push(match header[32] {
            0 => whole(Codec::Raw),
            1 => whole(Codec::Zstd),
            2 => Framed::Delta(delta(nth, id, number(33), Method::Prefix, bytes)?),
            3 => Framed::Delta(delta(nth, id, number(33), Method::Copies, bytes)?),
            4 => Framed::Delta(delta(nth, id, number(33), Method::Patch, bytes)?),
            codec => return Err(FrameError::Codec { nth, codec }),
        });
        body = rest;
    }
    Ok(chunks)
}

fn delta(
    nth: usize,
    id: ChunkId,
    plain_bytes: u32,
    method: Method,
    bytes: &[u8],
) -> Result<ChunkDelta, FrameError> {
    let (count, rest) = bytes.split_first().ok_or(FrameError::CutOff { nth })?;
    if *count == 0 || usize::from(*count) > BASES_MAX {
        return Err(FrameError::Bases { nth, bases: *count });
    }
    let (ids, bytes) = rest.split_at_checked(usize::from(*count) * 32).ok_or(FrameError::CutOff { nth })?;
    let bases = ids.chunks(32).map(|id| ChunkId::from_slice(id).expect("32 bytes")).collect();
    Ok(ChunkDelta { id, plain_bytes, bases, method, bytes: bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Signature, Sums};

    /// A body of one frame of each kind, and where they end.
    fn body() -> (Vec<u8>, Vec<usize>) {
        let (base, plain) = (vec![6; 5000], vec![7; 5000]);
        let (id, bases) = (ChunkId::of(&plain), vec![ChunkId::of(&base)]);
        let to_sums = |kind| {
            let signature = Signature::of(kind, bases.clone(), &base);
            Framed::Delta(ChunkDelta::to_signature(id, &plain, &signature).unwrap())
        };
        let framed = [
            SealedChunk::seal(b"abc".to_vec()).into(),
            SealedChunk::seal(plain.clone()).into(),
            Framed::Delta(ChunkDelta::to_bases(id, &plain, bases.clone(), &base).unwrap()),
            to_sums(Sums::Long),
            to_sums(Sums::Short),
        ];
        let (mut body, mut ends) = (Vec::new(), Vec::new());
        for one in &framed {
            one.encode_to(&mut body);
            ends.push(body.len());
        }
        assert_eq!(decode_all(&body).unwrap(), framed);
        (body, ends)
    }

    #[test]
    fn frames_are_read_back_and_no_cut_goes_unnoticed() {
        let (whole, ends) = body();
        for cut in 1..whole.len() {
            assert_eq!(decode_all(&whole[..cut]).is_ok(), ends.contains(&cut), "{cut}");
        }
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        let (mut other, ends) = body();
        other[32] = 9;
        assert_eq!(decode_all(&other), Err(FrameError::Codec { nth: 0, codec: 9 }));
        for bases in [0, 5] {
            let (mut other, _) = body();
            other[ends[1] + HEADER_BYTES] = bases;
            assert_eq!(decode_all(&other), Err(FrameError::Bases { nth: 2, bases }));
        }
    }
}
