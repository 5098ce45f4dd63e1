//! Chunks on the wire: one after the other, each with its name and how its bytes are packed.
//!
//! A frame is the chunk's id (32 bytes), its codec (1 byte: 0 raw, 1 zstd), the length of its plain bytes
//! and of its packed bytes (4 bytes each, big-endian), and the packed bytes. A body is frames and nothing
//! else; where it is cut off, [`decode_all`] says so. Whether bytes match their id is for the receiver to
//! check.

use annals_events::ChunkId;

/// Bytes before the packed ones.
pub const HEADER_BYTES: usize = 32 + 1 + 4 + 4;
/// Most plain bytes of a chunk: the largest that any cut makes.
pub const PLAIN_BYTES_MAX: u32 = 8 << 20;

/// How a chunk's bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As they are.
    Raw,
    /// A zstd frame.
    Zstd,
}

/// A chunk on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its name.
    pub id: ChunkId,
    /// How it is packed.
    pub packing: Packing,
    /// How many bytes it has when unpacked.
    pub plain_bytes: u32,
    /// Its packed bytes.
    pub packed: &'a [u8],
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
    /// A packing that nobody knows.
    #[error("chunk {nth} is packed in an unknown way ({codec})")]
    Codec {
        /// Which, from 0.
        nth: usize,
        /// What it says.
        codec: u8,
    },
    /// No chunk is that large, or that empty.
    #[error("chunk {nth} claims {bytes} bytes, a chunk has 1 to {max}", max = PLAIN_BYTES_MAX)]
    Size {
        /// Which, from 0.
        nth: usize,
        /// What it claims.
        bytes: u32,
    },
}

impl Frame<'_> {
    /// How many bytes it takes on the wire.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        HEADER_BYTES + self.packed.len()
    }

    /// Appends it to a body.
    pub fn encode_to(&self, body: &mut Vec<u8>) {
        body.extend(self.id.0);
        body.push(match self.packing {
            Packing::Raw => 0,
            Packing::Zstd => 1,
        });
        body.extend(self.plain_bytes.to_be_bytes());
        let packed = u32::try_from(self.packed.len()).expect("a packed chunk is some megabytes at most");
        body.extend(packed.to_be_bytes());
        body.extend(self.packed);
    }
}

/// Every frame of a body.
///
/// # Errors
/// [`FrameError`] with the first that is wrong.
pub fn decode_all(mut body: &[u8]) -> Result<Vec<Frame<'_>>, FrameError> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let nth = frames.len();
        let (header, rest) = body.split_at_checked(HEADER_BYTES).ok_or(FrameError::CutOff { nth })?;
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let packing = match header[32] {
            0 => Packing::Raw,
            1 => Packing::Zstd,
            codec => return Err(FrameError::Codec { nth, codec }),
        };
        let plain_bytes = number(33);
        if plain_bytes == 0 || plain_bytes > PLAIN_BYTES_MAX {
            return Err(FrameError::Size { nth, bytes: plain_bytes });
        }
        let (packed, rest) = rest.split_at_checked(number(37) as usize).ok_or(FrameError::CutOff { nth })?;
        let id = ChunkId::from_slice(&header[..32]).expect("32 bytes");
        frames.push(Frame { id, packing, plain_bytes, packed });
        body = rest;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Vec<u8> {
        let mut body = Vec::new();
        for (n, packing) in [(1u8, Packing::Raw), (2, Packing::Zstd)] {
            let packed = vec![n; usize::from(n) * 3];
            Frame { id: ChunkId([n; 32]), packing, plain_bytes: 7, packed: &packed }.encode_to(&mut body);
        }
        body
    }

    #[test]
    fn frames_are_read_back_and_no_cut_goes_unnoticed() {
        let whole = body();
        let frames = decode_all(&whole).unwrap();
        assert_eq!(frames.iter().map(|f| f.packed.len()).collect::<Vec<_>>(), [3, 6]);
        let first = frames[0].wire_bytes();
        for cut in 1..whole.len() {
            assert_eq!(decode_all(&whole[..cut]).is_ok(), cut == first, "{cut}");
        }
    }

    #[test]
    fn unknown_packings_and_impossible_sizes_are_refused() {
        let mut other = body();
        other[32] = 9;
        assert_eq!(decode_all(&other), Err(FrameError::Codec { nth: 0, codec: 9 }));
        for bytes in [0, PLAIN_BYTES_MAX + 1] {
            let mut other = body();
            other[33..37].copy_from_slice(&bytes.to_be_bytes());
            assert_eq!(decode_all(&other), Err(FrameError::Size { nth: 0, bytes }));
        }
    }
}
