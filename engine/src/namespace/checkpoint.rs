//! What a namespace adds up to at one place of its stream, as bytes: whoever reads them need not fold what stands
//! before that place.
//!
//! A cache and nothing else. It is good for a log only if that has, at the seq of [`Checkpoint::head`], the same
//! chain and epoch; whoever reads one compares that first. Bytes that are not exactly what was written are refused.
//!
//! ```text
//! "annals checkpoint 1\0"
//! length of the manifests u64 big-endian, CBOR of the contents that have manifests
//! the projections' own checkpoint
//! SHA-256 of all before
//! ```

use super::{Namespace, Possession};
use crate::protocol::{from_cbor, to_cbor};
use annals_events::{Content, DeviceId, Hash, PublicKey};
use annals_projections::{CheckpointError, Head, Projections, Scope};
use ed25519_dalek::SigningKey;

const MAGIC: &[u8] = b"annals checkpoint 1\0";

/// A checkpoint that was read, and not yet compared with the log.
#[derive(Debug)]
pub struct Checkpoint {
    /// What the stream added up to.
    pub projections: Projections,
    manifests: Vec<Content>,
}

impl Checkpoint {
    /// What [`Namespace::checkpoint`] gave.
    ///
    /// # Errors
    /// [`CheckpointError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(CheckpointError::OtherFormat)?;
        let split = body.len().checked_sub(Hash::BYTES).ok_or(CheckpointError::Damaged)?;
        let (body, digest) = body.split_at(split);
        if Hash::of(MAGIC, &[body]).0 != digest {
            return Err(CheckpointError::Damaged);
        }
        let (length, rest) = body.split_at_checked(8).ok_or(CheckpointError::Damaged)?;
        let length = u64::from_be_bytes(length.try_into().expect("8 bytes"));
        let length = usize::try_from(length).map_err(|_| CheckpointError::Damaged)?;
        let (manifests, projections) = rest.split_at_checked(length).ok_or(CheckpointError::Damaged)?;
        let projections = Projections::from_checkpoint(projections)?;
        if projections.scope() != Scope::Server {
            return Err(CheckpointError::OtherFormat);
        }
        let manifests = from_cbor(manifests).map_err(|_| CheckpointError::Damaged)?;
        Ok(Self { projections, manifests })
    }

    /// The place in the stream.
    #[must_use]
    pub fn head(&self) -> Head {
        self.projections.head()
    }
}

impl Namespace {
    /// What it adds up to, for [`Checkpoint::decode`].
    #[must_use]
    pub fn checkpoint(&self) -> Vec<u8> {
        let manifests = to_cbor(&self.possession.manifests());
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(manifests.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&manifests);
        bytes.extend_from_slice(&self.projections.checkpoint());
        let digest = Hash::of(MAGIC, &[&bytes[MAGIC.len()..]]);
        bytes.extend_from_slice(&digest.0);
        bytes
    }

    /// The namespace as it was at `checkpoint`; what follows in the log is to be [replayed](Self::replay). `key` is the
    /// server's.
    #[must_use]
    pub fn from_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> Self {
        let server = DeviceId::of_key(&PublicKey(key.verifying_key().to_bytes()));
        let Checkpoint { projections, manifests } = checkpoint;
        let possession = Possession::of(manifests);
        Self { projections, possession, key, server, phase: super::Phase::Idle }
    }
}
