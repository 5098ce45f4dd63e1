//! A record: a batch as a server admitted it, with its place in the namespace's stream.
//!
//! In bytes it is a CBOR array of three byte strings: the [`Admission`]'s CBOR, the server's signature
//! over `annals receipt\0` and those bytes (the receipt), and the batch. [`Chain`] runs over a namespace's
//! records: whoever knows one chain value knows everything before it.

use crate::{
    batch::{Batch, BatchError},
    causality::Dot,
    codec::{self, CodecError},
    id::{DeviceId, Hash, NamespaceId, PublicKey, Seq},
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

const RECEIPT: &[u8] = b"annals receipt\0";

/// The running hash over a namespace's records; zero before the first.
pub type Chain = Hash;

/// What a server states about a batch that it admitted. Its bytes are what the receipt signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The stream.
    pub namespace: NamespaceId,
    /// Raised when a server lost state; 0 at first.
    pub epoch: u64,
    /// The place of the batch's first event.
    pub seq: Seq,
    /// The running hash, this record included.
    pub chain: Chain,
    /// The batch's hash.
    pub batch: Hash,
    /// When, by the server's clock, in milliseconds since 1970.
    pub admitted_at: u64,
    /// The server's device id.
    pub admitted_by: DeviceId,
}

impl Admission {
    /// The chain value after `previous` and this record.
    #[must_use]
    pub fn chain_after(&self, previous: Chain) -> Chain {
        Hash::of(
            b"annals chain\0",
            &[
                &previous.0,
                &self.namespace.0,
                &self.epoch.to_be_bytes(),
                &self.seq.0.to_be_bytes(),
                &self.admitted_at.to_be_bytes(),
                &self.admitted_by.0,
                &self.batch.0,
            ],
        )
    }
}

/// An admitted batch with the bytes it is stored as.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    bytes: Vec<u8>,
    admission: Admission,
    admission_bytes: std::ops::Range<usize>,
    receipt: [u8; 64],
    batch: Batch,
}

/// Why bytes are not a record, or not the one that belongs here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not the canonical CBOR of a record.
    #[error("malformed record: {0}")]
    Malformed(#[from] CodecError),
    /// Its batch is wrong in itself.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Its admission names another batch.
    #[error("record {seq} of namespace {namespace} is a receipt for another batch")]
    OtherBatch {
        /// The stream.
        namespace: NamespaceId,
        /// Its place.
        seq: Seq,
    },
    /// It does not continue the chain.
    #[error("record {seq} of namespace {namespace} does not continue the chain")]
    Chain {
        /// The stream.
        namespace: NamespaceId,
        /// Its place.
        seq: Seq,
    },
    /// Its receipt is not by that server.
    #[error("the receipt of record {seq} of namespace {namespace} is not by {server}")]
    Receipt {
        /// The stream.
        namespace: NamespaceId,
        /// Its place.
        seq: Seq,
        /// The server it claims.
        server: DeviceId,
    },
}

impl Record {
    /// Puts `batch` into its place after `previous` and signs the receipt with the server's `key`.
    #[must_use]
    pub fn admit(batch: Batch, key: &SigningKey, epoch: u64, seq: Seq, previous: Chain, now_ms: u64) -> Self {
        let mut admission = Admission {
            namespace: batch.header().namespace,
            epoch,
            seq,
            chain: Chain::default(),
            batch: batch.hash(),
            admitted_at: now_ms,
            admitted_by: DeviceId::of_key(&PublicKey(key.verifying_key().to_bytes())),
        };
        admission.chain = admission.chain_after(previous);
        let admission_bytes = codec::encode_admission(&admission);
        let receipt = key.sign(&[RECEIPT, &admission_bytes].concat()).to_bytes();
        let bytes = codec::encode_record(&admission_bytes, &receipt, batch.bytes());
        Self::decode(bytes).expect("what was just encoded is a record")
    }

    /// Reads a record: form, and that admission and batch belong together. Neither signature nor chain.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: Vec<u8>) -> Result<Self, RecordError> {
        let parts = codec::decode_record(&bytes)?;
        let batch = Batch::decode_trusted(parts.batch.to_vec())?;
        let (admission, receipt, admission_bytes) = (parts.admission, parts.receipt, parts.admission_bytes);
        if admission.batch != batch.hash() || admission.namespace != batch.header().namespace {
            return Err(RecordError::OtherBatch { namespace: admission.namespace, seq: admission.seq });
        }
        Ok(Self { bytes, admission, admission_bytes, receipt, batch })
    }

    /// A record's bytes with nothing in place of the batch: for whoever has that.
    ///
    /// # Errors
    /// [`RecordError::Malformed`].
    pub fn without_batch(record: &[u8]) -> Result<Vec<u8>, RecordError> {
        Self::with_batch(record, &[])
    }

    /// A record's bytes with these of a batch in their place.
    ///
    /// # Errors
    /// [`RecordError::Malformed`]; whether the batch belongs there says [`decode`](Self::decode).
    pub fn with_batch(record: &[u8], batch: &[u8]) -> Result<Vec<u8>, RecordError> {
        let parts = codec::decode_record(record)?;
        Ok(codec::encode_record(&record[parts.admission_bytes], &parts.receipt, batch))
    }

    /// Whether it comes right after `previous`.
    ///
    /// # Errors
    /// [`RecordError::Chain`].
    pub fn check_chain(&self, previous: Chain) -> Result<(), RecordError> {
        if self.admission.chain_after(previous) == self.admission.chain {
            return Ok(());
        }
        Err(RecordError::Chain { namespace: self.admission.namespace, seq: self.admission.seq })
    }

    /// Whether the server that holds `key` signed the receipt.
    ///
    /// # Errors
    /// [`RecordError::Receipt`].
    pub fn verify_receipt(&self, key: &PublicKey) -> Result<(), RecordError> {
        let Admission { namespace, seq, admitted_by: server, .. } = self.admission;
        let wrong = RecordError::Receipt { namespace, seq, server };
        if DeviceId::of_key(key) != server {
            return Err(wrong);
        }
        let message = [RECEIPT, &self.bytes[self.admission_bytes.clone()]].concat();
        VerifyingKey::from_bytes(&key.0)
            .and_then(|key| key.verify_strict(&message, &Signature::from_bytes(&self.receipt)))
            .map_err(|_| wrong)
    }

    /// The exact bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the server stated.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// What the device signed.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The place of its first event.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.admission.seq
    }

    /// The place of its last event.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        Seq(self.admission.seq.0 + self.batch.events().len() as u64 - 1)
    }

    /// Every event with its place and its name.
    pub fn events(&self) -> impl Iterator<Item = (Seq, Dot, &crate::event::Event)> {
        self.batch
            .events()
            .iter()
            .enumerate()
            .map(|(i, event)| (Seq(self.admission.seq.0 + i as u64), self.batch.dot(i), event))
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("admission", &self.admission)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}
