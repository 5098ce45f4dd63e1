//! What a device has signed and the log does not have yet: a queue of batches, each made on top of the one
//! before it.
//!
//! What must always hold: no counter is given twice, refused or not (I7); stamps rise (I8); a batch is made
//! once and kept until the log has it, so that the same bytes go out after a crash; of a refusal nothing is
//! lost: what was refused, and what builds on it, is set aside, and the rest goes out again under fresh
//! counters with the `seen` and `unseen` it was made with.
//!
//! Left out: where it is kept, and when it is sent.

mod order;
mod reissue;

use crate::author::Deed;
use annals_events::{
    BATCH_BYTES_MAX, Batch, DeviceId, Dot, Draft, EVENTS_PER_BATCH_MAX, Fact, Hash, HlcClock, NamespaceId,
    PublicKey, Seen, VersionVector,
};
use ed25519_dalek::SigningKey;
pub use reissue::{Reissue, renamed};
use std::{collections::VecDeque, sync::Arc};

/// Room for what a batch holds beside its events.
const MARGIN_BYTES: usize = 64 * 1024;
/// A deed with as much content as this is said in a batch of its own.
const ALONE_BYTES: u64 = 1 << 20;

/// Who signs.
#[derive(Clone)]
pub struct Identity {
    /// The stream.
    pub namespace: NamespaceId,
    /// The secret half of the device's key.
    pub key: SigningKey,
}

impl Identity {
    /// The device's name.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId::of_key(&PublicKey(self.key.verifying_key().to_bytes()))
    }

    /// The salt of an event's body: nobody else can know it, and it is the same after a crash.
    #[must_use]
    pub fn salt(&self, dot: Dot) -> [u8; 16] {
        let parts: [&[u8]; 4] =
            [self.key.as_bytes(), &self.namespace.0, &dot.device.0, &dot.counter.to_be_bytes()];
        Hash::of(b"annals salt\0", &parts).0[..16].try_into().expect("a digest has 32 bytes")
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("namespace", &self.namespace)
            .field("device", &self.device())
            .finish_non_exhaustive()
    }
}

/// A batch on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The signed bytes.
    pub batch: Arc<Batch>,
    /// What the disk showed when it was made.
    pub seen: Seen,
}

/// The queue, and what the next batch is made on.
#[derive(Clone, Debug)]
pub struct Journal {
    identity: Identity,
    pending: VecDeque<Pending>,
    next: u64,
    /// The last batch that the log has, and what it had seen.
    admitted: (Option<Hash>, VersionVector),
}

impl Journal {
    /// The journal of a device that has signed nothing here.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity, pending: VecDeque::new(), next: 1, admitted: (None, VersionVector::new()) }
    }

    /// Who signs.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The counter of the next event.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Gives no counter below `next` any more.
    pub fn reserve(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// What is on its way, in the order in which it must go.
    pub fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter()
    }

    /// Whether the log has everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many events are on their way.
    #[must_use]
    pub fn pending_events(&self) -> usize {
        self.pending.iter().map(|pending| pending.batch.events().len()).sum()
    }

    /// Puts back a batch that was signed before a restart.
    pub fn resume(&mut self, pending: Pending) {
        self.reserve(pending.batch.last() + 1);
        self.pending.push_back(pending);
    }

    /// Forgets what is on its way; its counters stay used.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    /// Takes note that the log has this batch of ours, which had seen `seen`.
    pub fn admitted(&mut self, batch: &Batch, seen: VersionVector) {
        self.reserve(batch.last() + 1);
        self.admitted = (Some(batch.hash()), seen);
        while self.pending.front().is_some_and(|pending| pending.batch.last() <= batch.last()) {
            self.pending.pop_front();
        }
    }

    /// The last batch of ours that the log has, and what it had seen.
    pub(crate) fn went_on(&mut self, last: Hash, seen: VersionVector) {
        self.admitted = (Some(last), seen);
    }

    /// Signs deeds as the next events: as few batches as the limits allow, no deed in two of them; what has much content
    /// is in one of its own, so that nothing else has to wait for that.
    pub fn sign(&mut self, deeds: Vec<Deed>, seen: &Seen, clock: &mut HlcClock, now_ms: u64) -> Vec<Pending> {
        let (mut signed, mut drafts, mut bytes) = (Vec::new(), Vec::new(), MARGIN_BYTES);
        let mut counter = self.next;
        for Deed(said) in deeds {
            let device = self.identity.device();
            let deed: Vec<Draft> = said
                .into_iter()
                .map(|said| {
                    let mut body = said.body;
                    if let Some(body) = &mut body {
                        body.salt = self.identity.salt(Dot::new(device, counter));
                    }
                    counter += 1;
                    Draft { hlc: clock.tick(now_ms), at: now_ms, fact: said.fact, body }
                })
                .collect();
            let more: usize = deed.iter().map(draft_bytes).sum();
            let alone = deed.iter().map(content_bytes).sum::<u64>() >= ALONE_BYTES;
            let full = drafts.len() + deed.len() > EVENTS_PER_BATCH_MAX || bytes + more > BATCH_BYTES_MAX;
            if (full || alone) && !drafts.is_empty() {
                signed.extend(self.seal(std::mem::take(&mut drafts), seen));
                bytes = MARGIN_BYTES;
            }
            drafts.extend(deed);
            bytes += more;
            if alone {
                signed.extend(self.seal(std::mem::take(&mut drafts), seen));
                bytes = MARGIN_BYTES;
            }
        }
        signed.extend(self.seal(drafts, seen));
        signed
    }

    /// Signs drafts as one batch, or as several where they are too many for one.
    fn seal(&mut self, drafts: Vec<Draft>, seen: &Seen) -> Vec<Pending> {
        if drafts.is_empty() {
            return Vec::new();
        }
        let (prev, seen_before) = match self.pending.back() {
            Some(last) => (Some(last.batch.hash()), last.seen.vector.clone()),
            None => self.admitted.clone(),
        };
        let Identity { namespace, key } = &self.identity;
        let unseen = seen.unseen.clone();
        let signed =
            Batch::sign(key, *namespace, self.next, prev, &seen_before, &seen.vector, unseen, drafts.clone());
        match signed {
            Ok(batch) => {
                let pending = Pending { batch: Arc::new(batch), seen: seen.clone() };
                self.resume(pending.clone());
                vec![pending]
            }
            Err(_) if drafts.len() > 1 => {
                let mut front = drafts;
                let back = front.split_off(front.len() / 2);
                let mut signed = self.seal(front, seen);
                signed.extend(self.seal(back, seen));
                signed
            }
            Err(why) => unreachable!("one event is below every limit by its making: {why}"),
        }
    }
}

/// What an event's content has, in bytes.
fn content_bytes(draft: &Draft) -> u64 {
    draft.body.as_ref().and_then(|body| body.content.as_ref()).map_or(0, |content| content.size)
}

/// Roughly what an event takes in a batch, never less.
fn draft_bytes(draft: &Draft) -> usize {
    let body = draft.body.as_ref().map_or(0, |body| body.encode().len());
    let sets = match &draft.fact {
        Fact::VersionUploaded { parents, .. } => parents.range_count(),
        Fact::EntryDeleted { entries, hides } => entries.range_count() + hides.range_count(),
        Fact::EntryRestored { lifts, shows, .. } => lifts.range_count() + shows.range_count(),
        Fact::ConflictResolved { over, keep, .. } => over.range_count() + keep.range_count(),
        Fact::EntryPurged { entries } => entries.range_count(),
        Fact::VersionsExpired { versions } => versions.range_count(),
        _ => 0,
    };
    256 + body + sets * 40
}
