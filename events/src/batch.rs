//! A batch: a run of events of one device, signed once. The unit of signing, of admission (all or
//! nothing) and of one message.
//!
//! In bytes it is a CBOR array of three: the signed bytes (a byte string that holds the [`BatchHeader`]'s
//! CBOR), the ed25519 signature, and one body (or null) an event. The signature is over `annals batch\0`
//! and the signed bytes; the batch's hash is SHA-256 over the same. A [`Batch`] keeps the bytes it was
//! read from and gives them out again; nothing is ever encoded twice.

use crate::{
    causality::{Dot, DotSet, VersionVector},
    codec::{self, CodecError},
    event::{Body, BodyError, Event, Fact},
    hlc::Hlc,
    id::{DeviceId, Hash, NamespaceId, PublicKey},
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use std::ops::Range;

/// Most events in a batch.
pub const EVENTS_PER_BATCH_MAX: usize = 256;
/// Most bytes in a batch, bodies included.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;

const SIGNED: &[u8] = b"annals batch\0";

/// What a device signs once for all events of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The stream it is for.
    pub namespace: NamespaceId,
    /// The author.
    pub device: DeviceId,
    /// The counter of its first event; the others follow without gaps.
    pub first: u64,
    /// The author's last admitted batch here.
    pub prev: Option<Hash>,
    /// In what the author's `seen` differs from that of its last admitted batch here; a counter of 0 takes
    /// a device out. The author's own events need not be listed.
    pub seen: Vec<Dot>,
    /// Pulled, but not shown by the author's disk. In full.
    pub unseen: DotSet,
    /// What happened.
    pub events: Vec<Event>,
}

/// A signed run of events, with the bytes it came in.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    signed: Range<usize>,
    signature: [u8; 64],
    header: BatchHeader,
    bodies: Vec<Option<Range<usize>>>,
    hash: Hash,
}

/// An event that has no dot yet: what an author puts together before signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Its stamp.
    pub hlc: Hlc,
    /// The author's wall clock, milliseconds since 1970.
    pub at: u64,
    /// What happened.
    pub fact: Fact,
    /// The half that may be withheld, where the kind has one.
    pub body: Option<Body>,
}

/// Why bytes are not a batch that this device signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Not the canonical CBOR of a batch.
    #[error("malformed batch: {0}")]
    Malformed(#[from] CodecError),
    /// Too many bytes.
    #[error("a batch has at most {max} bytes, this one has {bytes}", max = BATCH_BYTES_MAX)]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// No events, or too many.
    #[error("a batch has 1 to {max} events, this one has {events}", max = EVENTS_PER_BATCH_MAX)]
    EventCount {
        /// How many it has.
        events: usize,
    },
    /// A counter of 0, or one that runs over.
    #[error("counters begin at 1 and stay below 2^62, this batch begins at {first}")]
    Counter {
        /// The first counter it claims.
        first: u64,
    },
    /// Not signed by the key that it was checked with.
    #[error("the signature is not that of device {device}")]
    Signature {
        /// The author it claims.
        device: DeviceId,
    },
    /// A body that is not the one that was signed.
    #[error("the body of event {dot} does not match its hash")]
    BodyHash {
        /// Whose.
        dot: Dot,
    },
}

impl Batch {
    /// Signs `drafts` as the events `first`, `first + 1`, … of the device that holds `key`.
    ///
    /// `seen_before` is the `seen` of the device's last admitted batch here.
    ///
    /// # Errors
    /// [`BatchError::EventCount`], [`BatchError::TooLarge`] where the limits do not hold.
    #[allow(clippy::too_many_arguments, reason = "each is one field of the signed header")]
    pub fn sign(
        key: &SigningKey,
        namespace: NamespaceId,
        first: u64,
        prev: Option<Hash>,
        seen_before: &VersionVector,
        seen: &VersionVector,
        unseen: DotSet,
        drafts: Vec<Draft>,
    ) -> Result<Self, BatchError> {
        let device = DeviceId::of_key(&PublicKey(key.verifying_key().to_bytes()));
        let bodies: Vec<Option<Vec<u8>>> = drafts.iter().map(|d| d.body.as_ref().map(Body::encode)).collect();
        let events = drafts
            .into_iter()
            .zip(&bodies)
            .map(|(d, body)| Event {
                hlc: d.hlc,
                at: d.at,
                fact: d.fact,
                body_hash: body.as_deref().map(Body::hash_of),
            })
            .collect();
        let header = BatchHeader {
            namespace,
            device,
            first,
            prev,
            seen: seen.difference_to(seen_before),
            unseen,
            events,
        };
        let signed = codec::encode_header(&header);
        let signature = key.sign(&[SIGNED, &signed].concat()).to_bytes();
        Self::decode(codec::encode_batch(&signed, &signature, &bodies))
    }

    /// The batch with this header, these encoded bodies and a signature made elsewhere, which is not checked.
    /// For folds that are fed without keys, as in laws and simulations.
    ///
    /// # Errors
    /// As for [`decode`](Self::decode).
    pub fn assemble(
        header: &BatchHeader,
        signature: &[u8; 64],
        bodies: &[Option<Vec<u8>>],
    ) -> Result<Self, BatchError> {
        Self::decode(codec::encode_batch(&codec::encode_header(header), signature, bodies))
    }

    /// Reads a batch and checks its form, its limits and its bodies' hashes; not its signature.
    ///
    /// # Errors
    /// [`BatchError`] says what is wrong with it.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, BatchError> {
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(BatchError::TooLarge { bytes: bytes.len() });
        }
        let batch = Self::decode_trusted(bytes)?;
        let header = &batch.header;
        if header.events.is_empty() || header.events.len() > EVENTS_PER_BATCH_MAX {
            return Err(BatchError::EventCount { events: header.events.len() });
        }
        if header.first == 0 || header.first >= 1 << 62 {
            return Err(BatchError::Counter { first: header.first });
        }
        codec::check_no_null(&batch.bytes[batch.signed.clone()])?;
        (0..header.events.len())
            .filter_map(|index| batch.body_bytes(index))
            .try_for_each(codec::check_no_null)?;
        batch.check_bodies()?;
        Ok(batch)
    }

    /// Reads a batch that was checked when it was admitted: form only. For replay, where the chain vouches
    /// for the signed bytes.
    ///
    /// # Errors
    /// [`BatchError::Malformed`].
    pub fn decode_trusted(bytes: Vec<u8>) -> Result<Self, BatchError> {
        let parts = codec::decode_batch(&bytes)?;
        let hash = Hash::of(SIGNED, &[&bytes[parts.signed.clone()]]);
        let codec::BatchParts { signed, signature, header, bodies } = parts;
        Ok(Self { bytes, signed, signature, header, bodies, hash })
    }

    /// Whether every body is present that was signed, or withheld, and has the signed hash.
    ///
    /// # Errors
    /// [`BatchError::BodyHash`] with the first that does not.
    pub fn check_bodies(&self) -> Result<(), BatchError> {
        for (index, event) in self.header.events.iter().enumerate() {
            let hash = self.body_bytes(index).map(Body::hash_of);
            if hash.is_some() && hash != event.body_hash {
                return Err(BatchError::BodyHash { dot: self.dot(index) });
            }
        }
        Ok(())
    }

    /// Whether `key` is its author's and signed exactly these bytes (strict: RFC 8032 without malleability).
    ///
    /// # Errors
    /// [`BatchError::Signature`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), BatchError> {
        let wrong = BatchError::Signature { device: self.header.device };
        if DeviceId::of_key(key) != self.header.device {
            return Err(wrong);
        }
        let key = VerifyingKey::from_bytes(&key.0).map_err(|_| wrong.clone())?;
        let message = [SIGNED, &self.bytes[self.signed.clone()]].concat();
        key.verify_strict(&message, &Signature::from_bytes(&self.signature)).map_err(|_| wrong)
    }

    /// The exact bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was signed.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// SHA-256 over what was signed: the batch's name in `prev`, chains and receipts.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Its events in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.header.events
    }

    /// The name of event `index`.
    #[must_use]
    pub fn dot(&self, index: usize) -> Dot {
        Dot::new(self.header.device, self.header.first + index as u64)
    }

    /// The counter of its last event.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.header.first + (self.header.events.len() as u64).saturating_sub(1)
    }

    /// The bytes of the body of event `index`, unless it has none or they are withheld.
    #[must_use]
    pub fn body_bytes(&self, index: usize) -> Option<&[u8]> {
        self.bodies[index].clone().map(|range| &self.bytes[range])
    }

    /// The body of event `index`, unless it has none or it is withheld.
    ///
    /// # Errors
    /// [`BodyError`] where its bytes are no body.
    pub fn body(&self, index: usize) -> Result<Option<Body>, BodyError> {
        self.body_bytes(index).map(Body::decode).transpose()
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("hash", &self.hash)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{EntryKind, Fact},
        id::EntryId,
        record::{Chain, Record},
    };

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn folder(name: &str, hlc: u64) -> Draft {
        let fact = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::Folder };
        let body = Body { name: Some(crate::Name::new(name).unwrap()), ..Body::default() };
        Draft { hlc: Hlc(hlc), at: 5, fact, body: Some(body) }
    }

    fn batch() -> Batch {
        let drafts = vec![folder("a", 1), folder("b", 2)];
        let none = VersionVector::new();
        Batch::sign(&key(1), NamespaceId([9; 16]), 1, None, &none, &none, DotSet::new(), drafts).unwrap()
    }

    #[test]
    fn a_batch_is_read_back_as_it_was_signed() {
        let batch = batch();
        assert_eq!(Batch::decode(batch.bytes().to_vec()).unwrap(), batch);
        assert_eq!(batch.verify(&PublicKey(key(1).verifying_key().to_bytes())), Ok(()));
        assert_eq!(batch.body(1).unwrap().unwrap().name.unwrap().as_str(), "b");
        let other = PublicKey(key(2).verifying_key().to_bytes());
        assert_eq!(batch.verify(&other), Err(BatchError::Signature { device: batch.header().device }));
    }

    #[test]
    fn what_there_is_nothing_to_say_about_is_left_out_and_never_null() {
        let batch = batch();
        // The first batch of a device has no `prev`: said as null, in its place by canonical order.
        let signed = &batch.bytes()[batch.signed.clone()];
        let after_hlc =
            |bytes: &[u8], word: &[u8]| bytes.windows(word.len()).position(|w| w == word).unwrap();
        let at = after_hlc(signed, b"\x64seen");
        let mut nulled = [&signed[..at], b"\x64prev\xf6", &signed[at..]].concat();
        nulled[0] += 1;
        let bodies: Vec<_> = (0..2).map(|index| batch.body_bytes(index).map(<[u8]>::to_vec)).collect();
        let with = |signed: &[u8], bodies: &[Option<Vec<u8>>]| {
            Batch::decode(codec::encode_batch(signed, &[0; 64], bodies))
        };
        assert!(with(signed, &bodies).is_ok());
        let refused = with(&nulled, &bodies).unwrap_err();
        assert!(refused.to_string().contains("never null"), "{refused}");
        assert!(Batch::decode_trusted(codec::encode_batch(&nulled, &[0; 64], &bodies)).is_ok(), "only nulls");
        // {"name": "x", "note": null, "salt": h'00…'}, and the hash that would be signed for it.
        let body = [b"\xa3\x64name\x61x\x64note\xf6\x64salt\x50".as_slice(), &[0; 16]].concat();
        let mut header = batch.header().clone();
        header.events[0].body_hash = Some(Body::hash_of(&body));
        let refused = with(&codec::encode_header(&header), &[Some(body), bodies[1].clone()]).unwrap_err();
        assert!(refused.to_string().contains("never null"), "{refused}");
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let good = batch();
        let public = PublicKey(key(1).verifying_key().to_bytes());
        for at in 0..good.bytes().len() * 8 {
            let mut bytes = good.bytes().to_vec();
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(Batch::decode(bytes).and_then(|batch| batch.verify(&public)).is_err(), "bit {at}");
        }
    }

    #[test]
    fn a_record_keeps_the_batch_and_continues_the_chain() {
        let server = key(3);
        let one = Record::admit(batch(), &server, 0, crate::Seq(1), Chain::default(), 77);
        assert_eq!(Record::decode(one.bytes().to_vec()).unwrap(), one);
        assert_eq!(one.last_seq(), crate::Seq(2));
        assert_eq!(one.check_chain(Chain::default()), Ok(()));
        assert!(one.check_chain(one.admission().chain).is_err());
        assert_eq!(one.verify_receipt(&PublicKey(server.verifying_key().to_bytes())), Ok(()));
        assert!(one.verify_receipt(&PublicKey(key(1).verifying_key().to_bytes())).is_err());
    }
}
