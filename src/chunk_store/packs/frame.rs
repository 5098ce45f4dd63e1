//! A chunk as the frame of a pack.
//!
//! ```text
//! frame = id 32 bytes, codec u8 (0 raw, 1 zstd), plain bytes u32 big-endian, the chunk's bytes
//! ```

use annals_engine::content::{Codec, SealedChunk};
use annals_events::ChunkId;

/// Bytes of a frame before the chunk's own.
pub(super) const HEADER: usize = ChunkId::BYTES + 5;

/// What a frame holds beside the bytes, and so what the index knows of a chunk.
pub(super) fn codec_to_byte(codec: Codec) -> u8 {
    match codec {
        Codec::Raw => 0,
        Codec::Zstd => 1,
    }
}

pub(super) fn codec_from_byte(byte: u8) -> Option<Codec> {
    match byte {
        0 => Some(Codec::Raw),
        1 => Some(Codec::Zstd),
        _ => None,
    }
}

pub(super) fn encode(chunk: &SealedChunk) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + chunk.bytes.len());
    frame.extend_from_slice(&chunk.id.0);
    frame.push(codec_to_byte(chunk.codec));
    frame.extend_from_slice(&chunk.plain_bytes.to_be_bytes());
    frame.extend_from_slice(&chunk.bytes);
    frame
}

/// The chunk in this frame; none if it is not the frame of one.
pub(super) fn decode(mut frame: Vec<u8>) -> Option<SealedChunk> {
    let id = ChunkId::from_slice(frame.get(..ChunkId::BYTES)?)?;
    let codec = codec_from_byte(*frame.get(ChunkId::BYTES)?)?;
    let plain_bytes = u32::from_be_bytes(frame.get(ChunkId::BYTES + 1..HEADER)?.try_into().ok()?);
    frame.drain(..HEADER);
    Some(SealedChunk { id, codec, plain_bytes, bytes: frame })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_back_and_what_is_none_is_refused() {
        for plain in [vec![1], vec![7; 5000]] {
            let chunk = SealedChunk::seal(plain);
            let frame = encode(&chunk);
            assert_eq!(decode(frame.clone()), Some(chunk));
            assert_eq!(decode(frame[..HEADER - 1].to_vec()), None);
            let mut other = frame;
            other[ChunkId::BYTES] = 2; // a codec that this release does not know
            assert_eq!(decode(other), None);
        }
    }
}
