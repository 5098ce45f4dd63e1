//! Chunks on the wire: one after the other, each sealed as it was made and will be stored.
//!
//! A frame is the chunk's id (32 bytes), its codec (1 byte: 0 raw, 1 zstd), the length of its plain bytes
//! and of its sealed bytes (4 bytes each, big-endian), and the sealed bytes. A body is frames and nothing
//! else; where it is cut off, [`decode_all`] says so. Whether bytes match their id is for the receiver to
//! [check](SealedChunk::check).

use crate::content::{Codec, SealedChunk};
use annals_events::ChunkId;

/// Bytes before the sealed ones.
pub const HEADER_BYTES: usize = 32 + 1 + 4 + 4;

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
}

/// How many bytes `chunk` takes on the wire.
#[must_use]
pub fn wire_bytes(chunk: &SealedChunk) -> usize {
    HEADER_BYTES + chunk.bytes.len()
}

/// Appends `chunk` to a body.
pub fn encode_to(chunk: &SealedChunk, body: &mut Vec<u8>) {
    body.extend(chunk.id.0);
    body.push(match chunk.codec {
        Codec::Raw => 0,
        Codec::Zstd => 1,
    });
    body.extend(chunk.plain_bytes.to_be_bytes());
    let sealed = u32::try_from(chunk.bytes.len()).expect("a chunk is some megabytes at most");
    body.extend(sealed.to_be_bytes());
    body.extend(&chunk.bytes);
}

/// Every chunk of a body, unchecked.
///
/// # Errors
/// [`FrameError`] with the first that is wrong.
pub fn decode_all(mut body: &[u8]) -> Result<Vec<SealedChunk>, FrameError> {
    let mut chunks = Vec::new();
    while !body.is_empty() {
        let nth = chunks.len();
        let (header, rest) = body.split_at_checked(HEADER_BYTES).ok_or(FrameError::CutOff { nth })?;
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let codec = match header[32] {
            0 => Codec::Raw,
            1 => Codec::Zstd,
            codec => return Err(FrameError::Codec { nth, codec }),
        };
        let (sealed, rest) = rest.split_at_checked(number(37) as usize).ok_or(FrameError::CutOff { nth })?;
        let id = ChunkId::from_slice(&header[..32]).expect("32 bytes");
        chunks.push(SealedChunk { id, codec, plain_bytes: number(33), bytes: sealed.to_vec() });
        body = rest;
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> (Vec<u8>, usize) {
        let (mut body, mut first) = (Vec::new(), 0);
        for plain in [b"abc".to_vec(), vec![7; 5000]] {
            let chunk = SealedChunk::seal(plain);
            encode_to(&chunk, &mut body);
            first = if first == 0 { wire_bytes(&chunk) } else { first };
        }
        (body, first)
    }

    #[test]
    fn frames_are_read_back_and_no_cut_goes_unnoticed() {
        let (whole, first) = body();
        let chunks = decode_all(&whole).unwrap();
        assert!(chunks.len() == 2 && chunks.iter().all(|chunk| chunk.check().is_ok()));
        for cut in 1..whole.len() {
            assert_eq!(decode_all(&whole[..cut]).is_ok(), cut == first, "{cut}");
        }
    }

    #[test]
    fn an_unknown_codec_is_refused() {
        let (mut other, _) = body();
        other[32] = 9;
        assert_eq!(decode_all(&other), Err(FrameError::Codec { nth: 0, codec: 9 }));
    }
}
