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

/// A body of these chunks.
#[must_use]
pub fn encode_all(chunks: &[Framed]) -> Vec<u8> {
    let mut body = Vec::with_capacity(chunks.iter().map(Framed::wire_bytes).sum());
    chunks.iter().for_each(|chunk| chunk.encode_to(&mut body));
    body
}

/// Every chunk of a body, unchecked. A large one comes alone mostly, and keeps the memory that it came in.
///
/// # Errors
/// [`FrameError`] with the first that is wrong.
pub fn decode_all(mut body: Vec<u8>) -> Result<Vec<Framed>, FrameError> {
    let alone = Header::of(&body).filter(|header| header.bytes == body.len() - HEADER_BYTES);
    if let Some((header, codec)) = alone.and_then(|header| Some((header, header.whole()?))) {
        body.drain(..HEADER_BYTES);
        return Ok(vec![header.chunk(codec, body)]);
    }
    let (mut chunks, mut rest) = (Vec::new(), &body[..]);
    while !rest.is_empty() {
        let nth = chunks.len();
        let header = Header::of(rest).ok_or(FrameError::CutOff { nth })?;
        let framed = rest[HEADER_BYTES..].split_at_checked(header.bytes);
        let (bytes, after) = framed.ok_or(FrameError::CutOff { nth })?;
        let delta = |method| delta(nth, header.id, header.plain_bytes, method, bytes).map(Framed::Delta);
        chunks.push(match (header.whole(), header.codec) {
            (Some(codec), _) => header.chunk(codec, bytes.to_vec()),
            (None, 2) => delta(Method::Prefix)?,
            (None, 3) => delta(Method::Copies)?,
            (None, 4) => delta(Method::Patch)?,
            (None, codec) => return Err(FrameError::Codec { nth, codec }),
        });
        rest = after;
    }
    Ok(chunks)
}

/// What stands before a chunk.
#[derive(Clone, Copy)]
struct Header {
    id: ChunkId,
    codec: u8,
    plain_bytes: u32,
    /// How many follow.
    bytes: usize,
}

impl Header {
    fn of(frame: &[u8]) -> Option<Self> {
        let (header, _) = frame.split_at_checked(HEADER_BYTES)?;
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let id = ChunkId::from_slice(&header[..32]).expect("32 bytes");
        Some(Self { id, codec: header[32], plain_bytes: number(33), bytes: number(37) as usize })
    }

    /// How a chunk is packed that is no difference.
    fn whole(&self) -> Option<Codec> {
        match self.codec {
            0 => Some(Codec::Raw),
            1 => Some(Codec::Zstd),
            _ => None,
        }
    }

    fn chunk(&self, codec: Codec, bytes: Vec<u8>) -> Framed {
        Framed::Whole(SealedChunk { id: self.id, codec, plain_bytes: self.plain_bytes, bytes })
    }
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
        assert_eq!(decode_all(body.clone()).unwrap(), framed);
        let mut from = 0;
        for (one, end) in framed.iter().zip(&ends) {
            assert_eq!(decode_all(body[from..*end].to_vec()).unwrap(), std::slice::from_ref(one));
            from = *end;
        }
        (body, ends)
    }

    #[test]
    fn frames_are_read_back_and_no_cut_goes_unnoticed() {
        let (whole, ends) = body();
        for cut in 1..whole.len() {
            assert_eq!(decode_all(whole[..cut].to_vec()).is_ok(), ends.contains(&cut), "{cut}");
        }
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        let (mut other, ends) = body();
        other[32] = 9;
        assert_eq!(decode_all(other), Err(FrameError::Codec { nth: 0, codec: 9 }));
        for bases in [0, 5] {
            let (mut other, _) = body();
            other[ends[1] + HEADER_BYTES] = bases;
            assert_eq!(decode_all(other), Err(FrameError::Bases { nth: 2, bases }));
        }
    }
}
