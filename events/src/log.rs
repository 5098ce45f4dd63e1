//! Where records live: one stream a namespace, appended at an expected place, read from any place.
//!
//! What every implementation keeps: an acknowledged record is never lost (I1) and never changed; a
//! namespace's seqs have no gaps; of appends that expect the same place one succeeds; a dot that is stored is
//! never stored again (I6); readers see a prefix of what is durable. Callers never learn which
//! implementation they have: everything answers by a future, one record is one message, and
//! [`LogError::Unknown`] says that an append may or may not have happened, as any log behind a network must.
//!
//! Left out: judging a batch (the engine does that before it appends) and merging streams.

#[cfg(any(feature = "contract", feature = "embedded"))]
pub mod author;
#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "embedded")]
pub mod embedded;
mod heads;
pub mod memory;
pub mod segmented;

use crate::{
    batch::BATCH_BYTES_MAX,
    causality::Dot,
    event::Fact,
    id::{DeviceId, EntryId, NamespaceId, Seq},
    record::{Chain, Record},
};
use std::{future::Future, pin::Pin, sync::Arc};

/// Most bytes in a record: a batch, its admission and receipt.
pub const RECORD_BYTES_MAX: usize = BATCH_BYTES_MAX + 1024;

/// The place of a record in the whole log of one server, over all namespaces. Rises; gaps are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

/// How far a namespace's stream has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Head {
    /// The place of its last event; 0 when it has none.
    pub seq: Seq,
    /// The running hash there.
    pub chain: Chain,
    /// The epoch there.
    pub epoch: u64,
}

/// A record and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its place in the whole log.
    pub position: Position,
    /// Itself.
    pub record: Arc<Record>,
}

/// An answer that comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send + 'a>>;

/// Why the log did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Somebody else appended first.
    #[error("namespace {namespace} is at {actual}, the append expected {expected}")]
    Conflict {
        /// The stream.
        namespace: NamespaceId,
        /// Where the caller thought it was.
        expected: Seq,
        /// Where it is.
        actual: Seq,
    },
    /// One of the record's dots is stored already. Whether with the same content, the caller compares.
    #[error("event {dot} is already stored at {seq}")]
    Duplicate {
        /// Which.
        dot: Dot,
        /// Where.
        seq: Seq,
    },
    /// The record does not continue the stream: wrong seq, chain or epoch. A mistake of the caller.
    #[error("record {seq} does not continue namespace {namespace}: {what}")]
    NotNext {
        /// The stream.
        namespace: NamespaceId,
        /// The record's place.
        seq: Seq,
        /// What does not fit.
        what: &'static str,
    },
    /// A record over [`RECORD_BYTES_MAX`].
    #[error("a record has at most {max} bytes, this one has {bytes}", max = RECORD_BYTES_MAX)]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// Stored bytes are not what was written.
    #[error("the log is damaged at position {} ({place}): {what}", position.0)]
    Damaged {
        /// Where in the log.
        position: Position,
        /// File and offset, or subject and sequence.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// No room. Nothing was stored; what was acknowledged stays, and appending goes on once there is room.
    #[error("no space left for the log in {place}")]
    Full {
        /// Where.
        place: String,
    },
    /// It is not known whether the record was stored: look for its dot before trying again.
    #[error("it is not known whether the append happened: {what}")]
    Unknown {
        /// What stood in the way of knowing.
        what: String,
    },
    /// The log can't be used any more, or not now.
    #[error("the log is unavailable: {what}")]
    Unavailable {
        /// Why.
        what: String,
    },
}

/// One server's records.
pub trait EventLog: Send + Sync {
    /// Appends `record` if its namespace's last event is at `expected`; the answer comes when it is durable.
    ///
    /// The record's own seq is `expected + 1` and its chain continues the head's.
    ///
    /// # Errors
    /// [`LogError::Duplicate`] before [`LogError::Conflict`], so that whoever repeats an append learns that it had
    /// happened; [`LogError::NotNext`], [`LogError::TooLarge`] and [`LogError::Full`]: all of them store nothing.
    /// After [`LogError::Unknown`], and when the future was dropped, the caller looks for the dot.
    fn append(&self, expected: Seq, record: Arc<Record>) -> Later<'_, Position>;

    /// How far `namespace` has got; the zero head for one that nothing was appended to.
    fn head(&self, namespace: NamespaceId) -> Later<'_, Head>;

    /// The records of `namespace` that end after `after`, in order, until their bytes reach `bytes_max` (at least one
    /// if there is any; the first may begin at or before `after`).
    fn read(&self, namespace: NamespaceId, after: Seq, bytes_max: usize) -> Later<'_, Vec<Logged>>;

    /// All records after a position, in log order, over all namespaces, until their bytes reach `bytes_max`.
    fn read_all(&self, after: Position, bytes_max: usize) -> Later<'_, Vec<Logged>>;

    /// The record that holds `dot` of `namespace`.
    fn find(&self, namespace: NamespaceId, dot: Dot) -> Later<'_, Option<Logged>>;

    /// The records that hold an event about `entry`, in order: its creation, and every version, move, attribute, delete
    /// or purge that lists it in `entries`, restore, resolution. At most `count_max` of those that end after `after`.
    fn read_entry(
        &self,
        namespace: NamespaceId,
        entry: EntryId,
        after: Seq,
        count_max: usize,
    ) -> Later<'_, Vec<Logged>>;

    /// The records of one device, in order. At most `count_max` of those that end after `after`.
    fn read_device(
        &self,
        namespace: NamespaceId,
        device: DeviceId,
        after: Seq,
        count_max: usize,
    ) -> Later<'_, Vec<Logged>>;

    /// Every namespace that has records, sorted.
    fn namespaces(&self) -> Later<'_, Vec<NamespaceId>>;

    /// Answers with the head as soon as `namespace` has got past `after`; at once if it has. Together with
    /// [`read`](Self::read) this is a subscription without gap or repeat.
    fn wait_past(&self, namespace: NamespaceId, after: Seq) -> Later<'_, Head>;
}

/// Whether `record` may follow `head`.
fn check_next(head: &Head, expected: Seq, record: &Record) -> Result<(), LogError> {
    let (namespace, seq) = (record.admission().namespace, record.seq());
    let not_next = |what| Err(LogError::NotNext { namespace, seq, what });
    if head.seq != expected {
        return Err(LogError::Conflict { namespace, expected, actual: head.seq });
    }
    if record.bytes().len() > RECORD_BYTES_MAX {
        return Err(LogError::TooLarge { bytes: record.bytes().len() });
    }
    if record.batch().events().is_empty() {
        return not_next("it has no events");
    }
    if seq.0 != expected.0 + 1 {
        return not_next("its seq is not the next");
    }
    if record.admission().epoch < head.epoch {
        return not_next("its epoch is over");
    }
    if record.check_chain(head.chain).is_err() {
        return not_next("its chain is another");
    }
    Ok(())
}

/// The head that `record` makes.
fn head_after(record: &Record) -> Head {
    let admission = record.admission();
    Head { seq: record.last_seq(), chain: admission.chain, epoch: admission.epoch }
}

/// The entries that `record` is about, created ones left out: those are found by their dot.
fn entries_touched(record: &Record) -> std::collections::BTreeSet<EntryId> {
    let mut entries = std::collections::BTreeSet::new();
    for event in record.batch().events() {
        match &event.fact {
            Fact::VersionUploaded { entry, .. }
            | Fact::VersionsMerged { entry, .. }
            | Fact::EntryMoved { entry, .. }
            | Fact::AttributesChanged { entry }
            | Fact::EntryRestored { entry, .. }
            | Fact::ConflictResolved { entry, .. } => {
                entries.insert(*entry);
            }
            Fact::EntryDeleted { entries: listed, .. } | Fact::EntryPurged { entries: listed } => {
                entries.extend(listed.iter().map(EntryId));
            }
            _ => {}
        }
    }
    entries
}
