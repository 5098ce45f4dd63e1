//! A device at rest as bytes: what follows from all its records and changes so far, so that the next start need not
//! fold them.
//!
//! A cache and nothing else: the records and the changes are still there, and whoever reads one goes on from it with
//! what was written down since ([`Replica::resume`]). Whether it is of these very rows, the shell knows by their marks.
//! What must always hold: a replica that goes on from one is what it would be had it begun with the first record.
//!
//! ```text
//! "annals replica 2\0"
//! length of what the device alone knows u64 big-endian, that as CBOR, SHA-256 of all before
//! the projections' own checkpoint
//! ```

use super::{Acknowledgements, Replica};
use crate::{
    journal::Identity,
    names::NameRules,
    observed::{SyncedTree, Totals},
    protocol::{from_cbor, to_cbor},
};
use annals_events::{DeviceId, Dot, DotSet, EntryId, Hash, Hlc, HlcClock, Seen, Seq, VersionVector};
use annals_projections::{CheckpointError, Projections, Scope};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeSet;

const MAGIC: &[u8] = b"annals replica 2\0";

/// What the projections do not hold.
#[derive(Serialize, Deserialize)]
struct Written {
    device: DeviceId,
    clock: Hlc,
    next: u64,
    pulled: VersionVector,
    seen: (VersionVector, DotSet),
    resolved: BTreeSet<EntryId>,
    acknowledged: Option<(Seq, u64)>,
    news: Seq,
    granted: Seq,
    unsure: Option<BTreeSet<EntryId>>,
    devices: Vec<DeviceId>,
    totals: (u64, u64, u64),
    tree: Vec<(String, u64, ByteBuf)>,
}

impl Replica {
    /// All of it, for [`from_checkpoint`](Self::from_checkpoint); none while something is on its way, or stands aside.
    pub fn checkpoint(&mut self) -> Option<Vec<u8>> {
        self.note_changed();
        let at_rest = self.journal.is_empty()
            && self.unsettled.is_empty()
            && self.aside.is_empty()
            && !self.is_at_work()
            && !self.persisted_at_work
            && self.withheld.is_empty()
            && self.question.is_none()
            && self.persisted_question.is_none()
            && self.synced.beside().next().is_none()
            && !self.broken
            && !self.merge_only
            && self.cursor == self.log.head();
        if !at_rest {
            return None;
        }
        let (devices, blocks) = self.synced.parts();
        let tree =
            blocks.map(|(key, count, bytes)| (key.to_owned(), count as u64, ByteBuf::from(bytes))).collect();
        let Totals { files, folders, bytes } = self.synced.totals();
        let Seen { vector, unseen } = self.persisted_seen.clone();
        let written = to_cbor(&Written {
            device: self.device(),
            clock: self.clock.latest(),
            next: self.journal.next(),
            pulled: self.pulled.clone(),
            seen: (vector, unseen),
            resolved: self.resolved.clone(),
            acknowledged: self.acknowledgements.last,
            news: self.acknowledgements.news,
            granted: self.granted,
            unsure: self.unsure.clone(),
            devices: devices.to_vec(),
            totals: (files, folders, bytes),
            tree,
        });
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(written.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&written);
        drop(written);
        let digest = Hash::of(b"", &[&bytes]);
        bytes.extend_from_slice(&digest.0);
        bytes.extend_from_slice(&self.log.checkpoint());
        Some(bytes)
    }

    /// The replica that wrote these bytes.
    ///
    /// # Errors
    /// [`CheckpointError`] where they are not exactly what [`checkpoint`](Self::checkpoint) of this device gave.
    pub fn from_checkpoint(
        identity: Identity,
        rules: NameRules,
        bytes: &[u8],
    ) -> Result<Self, CheckpointError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(CheckpointError::OtherFormat)?;
        let (length, rest) = rest.split_first_chunk().ok_or(CheckpointError::Damaged)?;
        let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| CheckpointError::Damaged)?;
        let (written, rest) = rest.split_at_checked(length).ok_or(CheckpointError::Damaged)?;
        let (digest, log) = rest.split_at_checked(Hash::BYTES).ok_or(CheckpointError::Damaged)?;
        let before = &bytes[..bytes.len() - rest.len()];
        if Hash::of(b"", &[before]).0 != digest {
            return Err(CheckpointError::Damaged);
        }
        let written: Written = from_cbor(written).map_err(|_| CheckpointError::Damaged)?;
        let mut log = Projections::from_checkpoint(log)?;
        let is_own = written.device == identity.device() && log.namespace() == identity.namespace;
        if !is_own || log.scope() != Scope::Device {
            return Err(CheckpointError::OtherFormat);
        }
        // From here on somebody asks what changes.
        log.take_changed();
        let mut replica = Self::new(identity, rules);
        let own = log.devices().get(replica.device());
        let last = own.and_then(|own| Some((own.last_batch?, own.last_counter)));
        if let Some((hash, counter)) = last {
            let seen = log.seen_of(Dot::new(replica.device(), counter));
            replica.journal.went_on(hash, seen.map(|seen| seen.vector.clone()).unwrap_or_default());
        }
        replica.journal.reserve(written.next);
        replica.cursor = log.head();
        replica.log = log;
        replica.clock = HlcClock::above(written.clock);
        replica.pulled = written.pulled;
        replica.persisted_seen = Seen { vector: written.seen.0, unseen: written.seen.1 };
        replica.resolved = written.resolved;
        replica.acknowledgements = Acknowledgements { last: written.acknowledged, news: written.news };
        replica.granted = written.granted;
        replica.unsure = written.unsure;
        let (files, folders, bytes) = written.totals;
        let tree = written.tree.into_iter().map(|(key, count, bytes)| {
            (key, usize::try_from(count).expect("it was one before"), bytes.into_vec())
        });
        replica.synced = SyncedTree::of_parts(written.devices, Totals { files, folders, bytes }, tree);
        Ok(replica)
    }
}
