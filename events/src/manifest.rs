//! What a file holds: an ordered list of chunks, or the name of the chunk that lists them.
//!
//! A content of up to [`Content::CHUNKS_INLINE_MAX`] chunks is listed in the event's body; beyond that the
//! list is itself a chunk, a [`Manifest`] in CBOR. Its [`ContentId`] is the same function of the list either way.

use crate::id::{ChunkId, ContentId};
use serde::{Deserialize, Serialize};

/// One piece of a file. In CBOR: `[length, id]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkRef {
    /// How many plain bytes, above 0.
    pub bytes: u32,
    /// Their name.
    pub id: ChunkId,
}

impl Serialize for ChunkRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.bytes, self.id).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ChunkRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (bytes, id) = Deserialize::deserialize(deserializer)?;
        Ok(Self { bytes, id })
    }
}

/// The sizes with which a file was cut (FastCDC v2020): kept from version to version, so that a growing
/// file keeps its boundaries. In CBOR: `[min, avg, max]`, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cut {
    /// No chunk but the last is smaller.
    pub min: u32,
    /// What chunks tend to; a power of two.
    pub avg: u32,
    /// No chunk is larger.
    pub max: u32,
}

impl Serialize for Cut {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.min, self.avg, self.max).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cut {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (min, avg, max) = Deserialize::deserialize(deserializer)?;
        Ok(Self { min, avg, max })
    }
}

impl Cut {
    /// For files up to 64 MiB.
    pub const SMALL: Self = Self { min: 4 << 10, avg: 64 << 10, max: 1 << 20 };
    /// For files up to 4 GiB.
    pub const MEDIUM: Self = Self { min: 64 << 10, avg: 1 << 20, max: 4 << 20 };
    /// For larger files.
    pub const LARGE: Self = Self { min: 256 << 10, avg: 4 << 20, max: 8 << 20 };

    /// The sizes for a new file of `bytes`.
    #[must_use]
    pub fn for_size(bytes: u64) -> Self {
        match bytes {
            0..=0x400_0000 => Self::SMALL,
            0x400_0001..=0x1_0000_0000 => Self::MEDIUM,
            _ => Self::LARGE,
        }
    }

    /// Whether this is one of the three sets of sizes that format 1 knows.
    #[must_use]
    pub fn is_known(&self) -> bool {
        [Self::SMALL, Self::MEDIUM, Self::LARGE].contains(self)
    }
}

/// The content of one version of a file, as its event's body names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Name of the whole.
    pub id: ContentId,
    /// Plain bytes in all.
    pub size: u64,
    /// How it was cut.
    pub cut: Cut,
    /// Its chunks in order, where they are few; empty for an empty file or where `manifest` lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<ChunkRef>,
    /// The chunk that lists its chunks, where they are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<ChunkRef>,
}

impl Content {
    /// How many chunks an event's body lists itself.
    pub const CHUNKS_INLINE_MAX: usize = 64;

    /// The content made of `chunks`. Beyond [`Self::CHUNKS_INLINE_MAX`] of them, also the bytes of the manifest
    /// chunk, which must be stored like any other.
    #[must_use]
    pub fn new(cut: Cut, chunks: Vec<ChunkRef>) -> (Self, Option<Vec<u8>>) {
        let (id, size) = (content_id(&chunks), chunks.iter().map(|c| u64::from(c.bytes)).sum());
        if chunks.len() <= Self::CHUNKS_INLINE_MAX {
            return (Self { id, size, cut, chunks, manifest: None }, None);
        }
        let bytes = Manifest { chunks }.encode();
        let root = ChunkRef {
            bytes: u32::try_from(bytes.len()).expect("50 GB have a manifest of 1 MB"),
            id: ChunkId::of(&bytes),
        };
        (Self { id, size, cut, chunks: Vec::new(), manifest: Some(root) }, Some(bytes))
    }

    /// The chunks that the event itself names: those listed, or the manifest's. Projections count these.
    pub fn roots(&self) -> impl Iterator<Item = ChunkRef> + '_ {
        self.manifest.into_iter().chain(self.chunks.iter().copied())
    }

    /// Whether size, id and list agree, as far as the body alone can tell.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let sizes_hold = |chunks: &[ChunkRef]| chunks.iter().all(|c| 0 < c.bytes && c.bytes <= self.cut.max);
        match &self.manifest {
            Some(root) => self.chunks.is_empty() && root.bytes > 0 && self.cut.is_known(),
            None => {
                self.cut.is_known()
                    && self.chunks.len() <= Self::CHUNKS_INLINE_MAX
                    && sizes_hold(&self.chunks)
                    && self.chunks.iter().map(|c| u64::from(c.bytes)).sum::<u64>() == self.size
                    && content_id(&self.chunks) == self.id
            }
        }
    }
}

/// The list of a large file's chunks, stored as a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// In the order of the file.
    pub chunks: Vec<ChunkRef>,
}

/// Bytes that are no manifest, or the manifest of another content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not the CBOR of a manifest, or one of so few chunks that an event lists them itself.
    #[error("these bytes are no manifest")]
    Malformed,
    /// A manifest, but not of this content.
    #[error("the manifest does not add up to the size and id of the content that names it")]
    OfAnotherContent,
}

impl Manifest {
    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(self).expect("a list of integers and byte strings always encodes")
    }

    /// Reads the manifest of `content` and checks that it adds up.
    ///
    /// # Errors
    /// [`ManifestError`] where the bytes are something else.
    pub fn decode(bytes: &[u8], content: &Content) -> Result<Self, ManifestError> {
        let manifest: Self = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| ManifestError::Malformed)?;
        let chunks = &manifest.chunks;
        if chunks.len() <= Content::CHUNKS_INLINE_MAX {
            return Err(ManifestError::Malformed);
        }
        let adds_up = content_id(chunks) == content.id
            && chunks.iter().map(|c| u64::from(c.bytes)).sum::<u64>() == content.size
            && chunks.iter().all(|c| 0 < c.bytes && c.bytes <= content.cut.max);
        if adds_up { Ok(manifest) } else { Err(ManifestError::OfAnotherContent) }
    }
}

/// SHA-256 over each chunk's length (8 bytes, big-endian) and id, in order.
#[must_use]
pub fn content_id(chunks: &[ChunkRef]) -> ContentId {
    use sha2::Digest;
    let mut digest = sha2::Sha256::new();
    for chunk in chunks {
        digest.update(u64::from(chunk.bytes).to_be_bytes());
        digest.update(chunk.id.0);
    }
    ContentId(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(count: usize) -> Vec<ChunkRef> {
        (0..count).map(|i| ChunkRef { bytes: 4096, id: ChunkId::of(&i.to_be_bytes()) }).collect()
    }

    #[test]
    fn few_chunks_are_listed_and_many_are_named_by_their_manifest() {
        for count in [0, 1, Content::CHUNKS_INLINE_MAX, Content::CHUNKS_INLINE_MAX + 1, 1000] {
            let (content, manifest) = Content::new(Cut::SMALL, chunks(count));
            assert!(content.is_consistent(), "{count}");
            assert_eq!(content.size, 4096 * count as u64);
            assert_eq!(content.id, content_id(&chunks(count)));
            assert_eq!(manifest.is_some(), count > Content::CHUNKS_INLINE_MAX);
            if let Some(bytes) = manifest {
                assert_eq!(Manifest::decode(&bytes, &content).unwrap().chunks, chunks(count));
                let (other, _) = Content::new(Cut::SMALL, chunks(count + 1));
                assert_eq!(Manifest::decode(&bytes, &other), Err(ManifestError::OfAnotherContent));
            }
        }
    }

    #[test]
    fn what_an_event_lists_itself_has_no_manifest() {
        let few = Manifest { chunks: chunks(Content::CHUNKS_INLINE_MAX) };
        let (content, _) = Content::new(Cut::SMALL, few.chunks.clone());
        assert_eq!(Manifest::decode(&few.encode(), &content), Err(ManifestError::Malformed));
    }

    #[test]
    fn a_content_that_does_not_add_up_is_noticed() {
        let (good, _) = Content::new(Cut::SMALL, chunks(3));
        let bad = [
            Content { size: 1, ..good.clone() },
            Content { id: ContentId([0; 32]), ..good.clone() },
            Content { cut: Cut { avg: 1, ..Cut::SMALL }, ..good.clone() },
            Content { chunks: chunks(2), ..good },
        ];
        assert!(bad.iter().all(|content| !content.is_consistent()));
    }
}
