//! Values to bytes and back: canonical DAG-CBOR, strict on the way in.
//!
//! What must always hold: equal values are equal bytes, and whatever is not canonical is refused
//! (non-minimal integers, unsorted or repeated keys, indefinite lengths, trailing bytes, floats). Every
//! format that this project has ever written is still read: older kinds are lifted in [`upcast`].

mod strict;
pub mod upcast;

pub(crate) use strict::check_no_null;

use crate::{
    batch::BatchHeader,
    causality::{Dot, DotSet},
    event::{Event, Fact, Structure, StructureOf},
    id::{DeviceId, Hash, NamespaceId},
    record::Admission,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use std::{borrow::Cow, ops::Range};

/// The format of batches that this release writes.
pub const FORMAT: u64 = 1;

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(String);

/// A batch taken apart; ranges are into the bytes it was read from.
pub(crate) struct BatchParts {
    pub(crate) signed: Range<usize>,
    pub(crate) signature: [u8; 64],
    pub(crate) header: BatchHeader,
    pub(crate) bodies: Vec<Option<Range<usize>>>,
}

/// A record taken apart.
pub(crate) struct RecordParts<'a> {
    pub(crate) admission: Admission,
    pub(crate) admission_bytes: Range<usize>,
    pub(crate) receipt: [u8; 64],
    pub(crate) batch: &'a [u8],
}

pub(crate) fn encode_header(header: &BatchHeader) -> Vec<u8> {
    let wire = HeaderToWire {
        format: FORMAT,
        namespace: header.namespace,
        device: header.device,
        first: header.first,
        prev: header.prev,
        seen: &header.seen,
        unseen: &header.unseen,
        events: header.events.iter().map(EventToWire).collect(),
    };
    to_vec(&wire)
}

pub(crate) fn encode_batch(signed: &[u8], signature: &[u8; 64], bodies: &[Option<Vec<u8>>]) -> Vec<u8> {
    let bodies: Vec<Option<&serde_bytes::Bytes>> =
        bodies.iter().map(|b| b.as_deref().map(serde_bytes::Bytes::new)).collect();
    to_vec(&(serde_bytes::Bytes::new(signed), serde_bytes::Bytes::new(signature), bodies))
}

pub(crate) fn encode_admission(admission: &Admission) -> Vec<u8> {
    to_vec(admission)
}

pub(crate) fn encode_record(admission: &[u8], receipt: &[u8; 64], batch: &[u8]) -> Vec<u8> {
    to_vec(&(
        serde_bytes::Bytes::new(admission),
        serde_bytes::Bytes::new(receipt),
        serde_bytes::Bytes::new(batch),
    ))
}

pub(crate) fn decode_batch(bytes: &[u8]) -> Result<BatchParts, CodecError> {
    let (signed, signature, bodies): (
        &serde_bytes::Bytes,
        &serde_bytes::Bytes,
        Vec<Option<&serde_bytes::Bytes>>,
    ) = from_slice(bytes)?;
    let header: HeaderFromWire = from_slice(signed)?;
    if header.format != FORMAT {
        return Err(CodecError(format!("batch format {} is not known here, {FORMAT} is", header.format)));
    }
    if bodies.len() != header.events.len() {
        return Err(CodecError(format!("{} events and {} bodies", header.events.len(), bodies.len())));
    }
    Ok(BatchParts {
        signed: range_within(bytes, signed),
        signature: signature_of(signature)?,
        bodies: bodies.into_iter().map(|body| body.map(|body| range_within(bytes, body))).collect(),
        header: BatchHeader {
            namespace: header.namespace,
            device: header.device,
            first: header.first,
            prev: header.prev,
            seen: header.seen,
            unseen: header.unseen,
            events: header.events.into_iter().map(|event| event.0).collect(),
        },
    })
}

pub(crate) fn decode_record(bytes: &[u8]) -> Result<RecordParts<'_>, CodecError> {
    let (admission, receipt, batch): (&serde_bytes::Bytes, &serde_bytes::Bytes, &serde_bytes::Bytes) =
        from_slice(bytes)?;
    Ok(RecordParts {
        admission: from_slice(admission)?,
        admission_bytes: range_within(bytes, admission),
        receipt: signature_of(receipt)?,
        batch,
    })
}

fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut bytes =
        serde_ipld_dagcbor::to_vec(value).expect("integers, text, bytes and lists of them always encode");
    // What is encoded is kept: batches that wait are many.
    bytes.shrink_to_fit();
    bytes
}

fn from_slice<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    serde_ipld_dagcbor::from_slice(bytes).map_err(|error| CodecError(error.to_string()))
}

fn signature_of(bytes: &[u8]) -> Result<[u8; 64], CodecError> {
    bytes.try_into().map_err(|_| CodecError(format!("a signature has 64 bytes, not {}", bytes.len())))
}

/// Where `part`, which was borrowed from `whole`, lies in it.
fn range_within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

#[derive(Serialize)]
struct HeaderToWire<'a> {
    format: u64,
    namespace: NamespaceId,
    device: DeviceId,
    first: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev: Option<Hash>,
    seen: &'a [Dot],
    unseen: &'a DotSet,
    events: Vec<EventToWire<'a>>,
}

#[derive(Deserialize)]
struct HeaderFromWire {
    format: u64,
    namespace: NamespaceId,
    device: DeviceId,
    first: u64,
    #[serde(default)]
    prev: Option<Hash>,
    #[serde(deserialize_with = "rising_devices")]
    seen: Vec<Dot>,
    unseen: DotSet,
    events: Vec<EventFromWire>,
}

fn rising_devices<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Dot>, D::Error> {
    let dots: Vec<Dot> = Vec::deserialize(deserializer)?;
    if dots.windows(2).all(|pair| pair[0].device < pair[1].device) {
        return Ok(dots);
    }
    Err(de::Error::custom("seen lists each device once, sorted"))
}

struct EventToWire<'a>(&'a Event);

impl Serialize for EventToWire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Event { hlc, at, fact, body_hash } = self.0;
        // Canonical order: shorter keys first.
        let mut map = serializer.serialize_map(Some(if body_hash.is_some() { 5 } else { 4 }))?;
        map.serialize_entry("at", at)?;
        map.serialize_entry("hlc", hlc)?;
        if let Some(hash) = body_hash {
            map.serialize_entry("body", hash)?;
        }
        map.serialize_entry("kind", fact.kind())?;
        map.serialize_entry("structure", &Structure(fact))?;
        map.end()
    }
}

struct EventFromWire(Event);

impl<'de> Deserialize<'de> for EventFromWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> de::Visitor<'de> for EventVisitor {
    type Value = EventFromWire;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<EventFromWire, A::Error> {
        let (mut at, mut hlc, mut body_hash, mut kind, mut fact) = (None, None, None, None::<KindWord>, None);
        while let Some(key) = map.next_key()? {
            match key {
                EventKey::At => at = Some(map.next_value()?),
                EventKey::Hlc => hlc = Some(map.next_value()?),
                EventKey::Body => body_hash = Some(map.next_value()?),
                EventKey::Kind => kind = Some(map.next_value()?),
                EventKey::Structure => {
                    // Canonical order puts the kind first.
                    let kind = kind.as_ref().ok_or_else(|| de::Error::missing_field("kind"))?;
                    fact = Some(map.next_value_seed(StructureOf(&kind.0))?);
                }
                EventKey::Later => drop(map.next_value::<de::IgnoredAny>()?),
            }
        }
        let missing = |field| move || de::Error::missing_field(field);
        Ok(EventFromWire(upcast::to_current(Event {
            hlc: hlc.ok_or_else(missing("hlc"))?,
            at: at.ok_or_else(missing("at"))?,
            fact: fact.ok_or_else(missing("structure"))?,
            body_hash,
        })))
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum EventKey {
    At,
    Hlc,
    Body,
    Kind,
    Structure,
    /// A field of a later release.
    #[serde(other)]
    Later,
}

/// The word of a kind; those known here cost no allocation.
struct KindWord(Cow<'static, str>);

impl<'de> Deserialize<'de> for KindWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindVisitor;
        impl de::Visitor<'_> for KindVisitor {
            type Value = KindWord;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the word of a kind")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<KindWord, E> {
                let known = Fact::KINDS.iter().find(|known| **known == word);
                Ok(KindWord(known.map_or_else(|| Cow::Owned(word.into()), |known| Cow::Borrowed(*known))))
            }
        }
        deserializer.deserialize_str(KindVisitor)
    }
}
