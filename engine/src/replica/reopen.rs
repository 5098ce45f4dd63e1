//! What a device writes down of itself, and how it is itself again after a restart.
//!
//! There are two files' worth: the records as they were pulled, and the [`StateChange`]s of every
//! [`Effect::Persist`](super::Effect::Persist), in order. Whoever has both has the replica. The changes may be
//! replaced by [`Replica::state`] at any time between two inputs.

use super::{Question, Replica, SetAside, refusals::take_off};
use crate::{
    author::MassDelete,
    journal::{Identity, Pending},
    names::NameRules,
    observed::SyncedChange,
};
use annals_events::{
    Batch, Dot, DotSet, Seen, Seq, VersionVector,
    batch::BatchError,
    log::{Head, Logged},
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// One thing that a device must not forget.
#[derive(Clone, Debug, PartialEq)]
pub enum StateChange {
    /// A step of the synced tree.
    Synced(SyncedChange),
    /// What of the pulled events the disk shows.
    Seen(Seen),
    /// A batch was signed.
    Journaled(Pending),
    /// All batches signed before are not on their way any more. No counter below `next` is given again.
    JournalCleared {
        /// The next counter.
        next: u64,
    },
    /// A batch was refused.
    SetAside(SetAside),
    /// Of what was refused, this was said again, or is wanted no more.
    AsideDone(DotSet),
    /// Operations on the folder are begun, and until this is over nobody knows which of them are done.
    AtWork(bool),
    /// A person was asked whether it is meant that most of the folder is gone; none: that is over.
    Asked(Option<Question>),
}

/// Why what was written down does not make a replica.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReopenError {
    /// A change that this release cannot read.
    #[error("malformed state: {0}")]
    Malformed(String),
    /// A batch in it that is none.
    #[error("malformed batch in the journal: {0}")]
    Batch(#[from] BatchError),
    /// A record that does not go on from the one before, or does not fold.
    #[error("the device's records are damaged: {0}")]
    Record(String),
}

/// The same, as it is written.
#[derive(Serialize, Deserialize)]
enum Written {
    Synced(SyncedChange),
    Seen(VersionVector, DotSet),
    Journaled(ByteBuf, VersionVector, DotSet),
    JournalCleared(u64),
    /// As before 0.1: without a place in the log.
    SetAside(ByteBuf, DotSet, String),
    SetAsideAt(ByteBuf, DotSet, String, Seq),
    AsideDone(DotSet),
    AtWork(bool),
    /// How much is gone, of how much, and how much was when it was asked first.
    Asked(Option<(u64, u64, u64)>),
}

impl StateChange {
    /// Bytes to write down, for one [`Effect::Persist`](super::Effect::Persist).
    #[must_use]
    pub fn encode<'a>(changes: impl IntoIterator<Item = &'a Self>) -> Vec<u8> {
        let written: Vec<Written> = changes.into_iter().map(Self::to_written).collect();
        serde_ipld_dagcbor::to_vec(&written).expect("changes hold integers, text, bytes and lists of them")
    }

    /// About how many bytes it takes, rather too many.
    #[must_use]
    pub fn weight(&self) -> usize {
        let dots = |set: &DotSet| set.range_count() * 48;
        let seen = |seen: &Seen| dots(&seen.unseen) + seen.vector.iter().count() * 48;
        128 + match self {
            Self::Synced(SyncedChange::Put(path, node)) => {
                let target = node.disk.target.as_ref().map_or(0, Vec::len);
                path.len() + target + 512 + (node.entries.len() + node.heads.len()) * 48
            }
            Self::Synced(SyncedChange::Remove(path)) => path.len(),
            Self::Synced(SyncedChange::Move { from, to }) => from.len() + to.len(),
            Self::Seen(all) => seen(all),
            Self::Journaled(pending) => pending.batch.bytes().len() + seen(&pending.seen),
            Self::SetAside(aside) => aside.batch.bytes().len() + dots(&aside.events) + aside.why.len(),
            Self::AsideDone(done) => dots(done),
            Self::JournalCleared { .. } | Self::AtWork(_) | Self::Asked(_) => 0,
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`ReopenError::Malformed`], [`ReopenError::Batch`].
    pub fn decode(bytes: &[u8]) -> Result<Vec<Self>, ReopenError> {
        let written: Vec<Written> =
            serde_ipld_dagcbor::from_slice(bytes).map_err(|why| ReopenError::Malformed(why.to_string()))?;
        written.into_iter().map(Self::of_written).collect()
    }

    fn to_written(&self) -> Written {
        match self.clone() {
            Self::Synced(change) => Written::Synced(change),
            Self::Seen(seen) => Written::Seen(seen.vector, seen.unseen),
            Self::Journaled(Pending { batch, seen }) => {
                Written::Journaled(ByteBuf::from(batch.bytes()), seen.vector, seen.unseen)
            }
            Self::JournalCleared { next } => Written::JournalCleared(next),
            Self::SetAside(SetAside { batch, events, why, at }) => {
                Written::SetAsideAt(ByteBuf::from(batch.bytes()), events, why, at)
            }
            Self::AsideDone(dots) => Written::AsideDone(dots),
            Self::AtWork(begun) => Written::AtWork(begun),
            Self::Asked(question) => Written::Asked(
                question.map(|Question { mass, first }| (mass.gone as u64, mass.known as u64, first as u64)),
            ),
        }
    }

    fn of_written(written: Written) -> Result<Self, ReopenError> {
        let batch = |bytes: ByteBuf| Batch::decode(bytes.into_vec()).map(Arc::new);
        Ok(match written {
            Written::Synced(change) => Self::Synced(change),
            Written::Seen(vector, unseen) => Self::Seen(Seen { vector, unseen }),
            Written::Journaled(bytes, vector, unseen) => {
                Self::Journaled(Pending { batch: batch(bytes)?, seen: Seen { vector, unseen } })
            }
            Written::JournalCleared(next) => Self::JournalCleared { next },
            Written::SetAside(bytes, events, why) => {
                Self::SetAside(SetAside { batch: batch(bytes)?, events, why, at: Seq(0) })
            }
            Written::SetAsideAt(bytes, events, why, at) => {
                Self::SetAside(SetAside { batch: batch(bytes)?, events, why, at })
            }
            Written::AsideDone(dots) => Self::AsideDone(dots),
            Written::AtWork(begun) => Self::AtWork(begun),
            Written::Asked(asked) => {
                let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
                Self::Asked(asked.map(|(gone, known, first)| Question {
                    mass: MassDelete { gone: count(gone), known: count(known) },
                    first: count(first),
                }))
            }
        })
    }
}

impl Replica {
    /// The replica that wrote these changes down after it was handed these records. Records are checked again,
    /// against each other and their signatures.
    ///
    /// # Errors
    /// [`ReopenError::Record`]: the device has to be linked anew.
    pub fn reopen(
        identity: Identity,
        rules: NameRules,
        changes: impl IntoIterator<Item = StateChange>,
        records: impl IntoIterator<Item = Logged>,
    ) -> Result<Self, ReopenError> {
        Self::new(identity, rules).resume(changes, records)
    }

    /// This replica, to which only happened what its [checkpoint](Self::from_checkpoint) holds, after all that was
    /// written down since.
    ///
    /// # Errors
    /// As for [`reopen`](Self::reopen).
    pub fn resume(
        self,
        changes: impl IntoIterator<Item = StateChange>,
        records: impl IntoIterator<Item = Logged>,
    ) -> Result<Self, ReopenError> {
        let mut replica = self;
        let mut queue: VecDeque<Pending> = VecDeque::new();
        for change in changes {
            match change {
                StateChange::Synced(change) => replica.take_step(change),
                StateChange::Seen(seen) => replica.persisted_seen = seen,
                StateChange::Journaled(pending) => {
                    replica.journal.reserve(pending.batch.last() + 1);
                    queue.push_back(pending);
                }
                StateChange::JournalCleared { next } => {
                    queue.clear();
                    replica.journal.reserve(next);
                }
                StateChange::SetAside(aside) => {
                    replica.acknowledgements.said(&aside.batch);
                    replica.aside.push(aside);
                }
                StateChange::AsideDone(dots) => take_off(&mut replica.aside, &dots),
                StateChange::AtWork(begun) => {
                    (replica.half_done, replica.persisted_at_work) = (begun, begun);
                }
                StateChange::Asked(question) => {
                    replica.persisted_question = question.map(|question| question.first);
                    replica.question = question;
                }
            }
        }
        let mut own = BTreeMap::new();
        for logged in records {
            replica.check(&logged.record, replica.cursor).map_err(ReopenError::Record)?;
            replica.fold(&logged).map_err(ReopenError::Record)?;
            let (admission, batch) = (logged.record.admission(), logged.record.batch());
            if batch.header().device == replica.device() {
                own.insert(batch.header().first, batch.hash());
            }
            replica.cursor =
                Head { seq: logged.record.last_seq(), chain: admission.chain, epoch: admission.epoch };
        }
        let seen = replica.persisted_seen.clone();
        replica.unsettled.retain(|dot, _| !seen.vector.covers(*dot) || seen.unseen.contains(*dot));
        let device = replica.device();
        let last = replica.log.devices().get(device).map_or(0, |state| state.last_counter);
        let other = |pending: &&Pending| {
            let admitted = own.get(&pending.batch.header().first);
            admitted.is_some_and(|hash| *hash != pending.batch.hash())
        };
        if let Some(pending) = queue.iter().find(other) {
            let first = pending.batch.header().first;
            return Err(ReopenError::Record(format!(
                "event {first} of this device is not the one that it signed"
            )));
        }
        for pending in queue.into_iter().filter(|pending| pending.batch.last() > last) {
            for event in pending.batch.events() {
                replica.clock.observe(event.hlc);
            }
            replica.fold_pending(&pending).map_err(|why| ReopenError::Record(why.to_string()))?;
            replica.journal.resume(pending);
        }
        // It is not in the folder: nothing can be done to it before somebody looked.
        replica.blocked = replica.synced.beside().collect();
        Ok(replica)
    }

    /// Everything that has to be written down, as if it had been from the beginning.
    pub fn state(&self) -> impl Iterator<Item = StateChange> {
        let tree = self.synced.iter();
        let tree = tree.map(|(path, node)| StateChange::Synced(SyncedChange::Put(path, Box::new(node))));
        let mut changes = Vec::new();
        let unseen = self.unsettled.keys().copied().collect::<Vec<Dot>>();
        changes.push(StateChange::Seen(Seen {
            vector: self.pulled.clone(),
            unseen: unseen.into_iter().collect(),
        }));
        changes.push(StateChange::JournalCleared { next: self.journal.next() });
        changes.extend(self.is_at_work().then_some(StateChange::AtWork(true)));
        changes.extend(self.question.is_some().then_some(StateChange::Asked(self.question)));
        changes.extend(self.aside.iter().cloned().map(StateChange::SetAside));
        changes.extend(self.journal.pending().cloned().map(StateChange::Journaled));
        tree.chain(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a device wrote them that knew neither of births nor of what its times vouch for.
    const BEFORE_BIRTHS: &str = include_str!("../../golden/synced_rows_1.hex");

    #[test]
    fn what_was_written_before_births_were_known_is_read_and_written_as_it_was() {
        let digits: Vec<u8> = BEFORE_BIRTHS.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
        let changes = StateChange::decode(&bytes).unwrap();
        let [file, link] = &changes[..] else { panic!("{changes:?}") };
        let node = |change: &StateChange, path: &str| match change {
            StateChange::Synced(SyncedChange::Put(at, node)) if at == path => (**node).clone(),
            other => panic!("{other:?}"),
        };
        let (file, link) = (node(file, "a.txt"), node(link, "link"));
        assert_eq!((file.disk.size, file.disk.born_ns, file.settled, file.proven), (6, None, true, false));
        assert!(file.to_be_proven().is_some(), "it is read before it is let go of");
        assert_eq!((link.disk.target.as_deref(), link.disk.born_ns), (Some(&b"target"[..]), None));
        assert_eq!(StateChange::encode(&changes), bytes);
    }
}
