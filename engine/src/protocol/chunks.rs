//! Questions about chunks, and their answers; how chunks themselves travel says [`frame`](super::frame).

use crate::content::{Signature, Sums};
use annals_events::{ChunkId, ChunkRef, ContentId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// `POST /v1/namespaces/{ns}/chunks/missing` in CBOR: what has to be sent before events name it. Asks for
/// room, too: more than the quota leaves is refused here, before content is sent.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MissingQuestion {
    /// Single chunks.
    pub chunks: Vec<ChunkRef>,
    /// Contents whose manifest is one question: their manifest chunk and their id.
    #[serde(default)]
    pub manifests: Vec<(ContentId, ChunkRef)>,
    /// Plain bytes of the contents that are new here and will follow, as the quota counts them.
    #[serde(default)]
    pub adds: u64,
}

/// The answer to [`MissingQuestion`], within what the asker may read.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MissingAnswer {
    /// Which of `chunks`, by their place in the question.
    pub chunks: Vec<u32>,
    /// Which of `manifests` are not known as a whole.
    pub manifests: Vec<u32>,
}

/// `POST /v1/namespaces/{ns}/chunks`, with [`frame`](super::frame)s as body.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChunksStored {
    /// How many of them were new to the server.
    pub new: u64,
    /// Stored bytes of those.
    pub new_bytes: u64,
    /// Chunks that could not be made of the difference that was sent: they have to be sent whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<ChunkId>,
}

/// `POST /v1/namespaces/{ns}/chunks/get` in CBOR. Answered by [`frame`](super::frame)s: a prefix of what was asked for, at
/// least one; the rest is asked again.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChunksWanted {
    /// Which, in this order.
    pub chunks: Vec<ChunkId>,
    /// For places in `chunks`: chunks that the asker holds and that this one replaces. It may be answered as the
    /// difference to these, taken one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<(u32, Vec<ChunkId>)>,
    /// The content that the first of them is fetched for. A server that lost that chunk asks for this content
    /// whoever shows it ([`Records::wanted`](super::Records::wanted)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentId>,
}

impl ChunksWanted {
    /// These, each whole.
    #[must_use]
    pub fn whole(chunks: Vec<ChunkId>) -> Self {
        Self { chunks, bases: Vec::new(), content: None }
    }
}

/// `POST /v1/namespaces/{ns}/chunks/signatures` in CBOR: for whoever has a chunk to send that replaces others, and
/// has not got those any more.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SignaturesWanted {
    /// Of which, each a few chunks one after the other; [`SIGNATURES_COUNT_MAX`](super::SIGNATURES_COUNT_MAX) at most.
    pub bases: Vec<Vec<ChunkId>>,
    /// Whether the asker knows [`Sums::Short`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub short: bool,
}

/// The answer to [`SignaturesWanted`]: those that the asker may have, in the order asked.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Signatures {
    /// With [`Sums::Long`].
    pub signatures: Vec<Signature>,
    /// With [`Sums::Short`], for an asker who knows them: the place in the question, plain bytes in all, the sums.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub short: Vec<(u32, u32, ByteBuf)>,
}

impl Signatures {
    /// Takes in the signature of what stands at `place` in the question.
    pub fn add(&mut self, place: u32, signature: Signature) {
        match signature.kind {
            Sums::Long => self.signatures.push(signature),
            Sums::Short => self.short.push((place, signature.bytes, ByteBuf::from(signature.sums))),
        }
    }

    /// All of them, each with its place in the question.
    pub fn answering(self, wanted: &SignaturesWanted) -> Vec<(usize, Signature)> {
        let mut long = self.signatures.into_iter().peekable();
        let mut found: Vec<(usize, Signature)> = Vec::new();
        for (place, bases) in wanted.bases.iter().enumerate() {
            found.extend(long.next_if(|signature| signature.bases == *bases).map(|found| (place, found)));
        }
        for (place, bytes, sums) in self.short {
            let bases = wanted.bases.get(place as usize).cloned();
            found.extend(bases.map(|bases| {
                let signature = Signature { bases, bytes, sums: sums.into_vec(), kind: Sums::Short };
                (place as usize, signature)
            }));
        }
        found
    }
}
