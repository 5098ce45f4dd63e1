//! Records on their way in: each goes on where the one before it ended, and is by whom it says.

use super::Replica;
use annals_events::{
    Batch, DeviceId, Dot, DotSet, EntryId, Fact, Record, Seq, epoch, log::Head, log::Logged,
};
use annals_projections::DotKind;
use std::{collections::BTreeSet, sync::Arc};

/// Why records do not belong here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strange {
    /// They do not go on from what the server said.
    Stream(String),
    /// One is by this device, which did not make it.
    Own(String),
}

pub(crate) fn not_made_here(seq: Seq) -> String {
    format!("record {seq} is by this device, which did not make it: was its state copied, or put back?")
}

impl Replica {
    /// Why records that came must not be kept: they do not go on where this device is, or one is by this device and is
    /// neither known nor what it signed. Then somebody else has its key, or its state was put back to an older one:
    /// its folder does not show what the log says it made, and going on would take that for seen (I3, I7).
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check_lineage(&self, records: &[Arc<Record>]) -> Result<(), Strange> {
        let mut cursor = self.cursor;
        for record in records {
            let (admission, batch) = (record.admission(), record.batch());
            if admission.seq.0 != cursor.seq.0 + 1 {
                let what = format!("record {} does not follow {}", admission.seq, cursor.seq);
                return Err(Strange::Stream(what));
            }
            record.check_chain(cursor.chain).map_err(|why| Strange::Stream(why.to_string()))?;
            let signed = || self.pending().any(|pending| pending.hash() == batch.hash());
            if batch.header().device == self.device() && !signed() {
                return Err(Strange::Own(not_made_here(admission.seq)));
            }
            cursor = Head { seq: record.last_seq(), chain: admission.chain, epoch: admission.epoch };
        }
        Ok(())
    }

    /// Whether `record` goes on where the cursor is, and is by whom it says.
    pub(super) fn check(&self, record: &Record, cursor: Head) -> Result<(), String> {
        let admission = record.admission();
        let epoch = epoch::after(cursor.epoch, record.batch(), admission.admitted_by);
        if admission.seq.0 != cursor.seq.0 + 1 || admission.epoch != epoch {
            return Err(format!("record {} does not follow {}", admission.seq, cursor.seq));
        }
        record.check_chain(cursor.chain).map_err(|why| why.to_string())?;
        match self.key_of(admission.admitted_by, record.batch()) {
            Some(server) => record.verify_receipt(&server).map_err(|why| why.to_string())?,
            None => {
                return Err(format!("record {} was admitted by a server that nobody knows", admission.seq));
            }
        }
        let author = record.batch().header().device;
        match self.key_of(author, record.batch()) {
            Some(key) => record.batch().verify(&key).map_err(|why| why.to_string()),
            None => Err(format!("record {} is by device {author}, which nobody linked", admission.seq)),
        }
    }

    /// The key of a device, or of the server that this very batch introduces.
    fn key_of(&self, device: DeviceId, batch: &Batch) -> Option<annals_events::PublicKey> {
        let devices = self.log.devices();
        let server = |device| devices.get(device).filter(|state| state.is_server).map(|state| state.key);
        let begins = self.cursor.seq == Seq(0);
        let introduced =
            || epoch::introduced(batch, begins, server).filter(|key| DeviceId::of_key(key) == device);
        devices.get(device).map(|state| state.key).or_else(introduced)
    }

    pub(super) fn fold(&mut self, logged: &Logged) -> Result<(), String> {
        let (record, own) = (&logged.record, logged.record.batch().header().device == self.device());
        let batch = record.batch();
        self.log
            .apply(batch, Some(record.admission()), logged.position.0)
            .map_err(|why| format!("record {}: {why}", record.seq()))?;
        self.remote = None;
        self.note_resolved(batch);
        let user = self.log.devices().get(self.device()).and_then(|state| state.user);
        for (index, event) in batch.events().iter().enumerate() {
            self.clock.observe(event.hlc);
            if matches!(&event.fact, Fact::MemberGranted { user: to, .. } if Some(*to) == user) {
                self.granted = record.last_seq();
            }
            if !own {
                let touched = self.touched(batch.dot(index), &event.fact);
                if !touched.is_empty() {
                    self.unsettled.insert(batch.dot(index), touched);
                }
            }
        }
        self.acknowledgements.logged(batch, record.seq());
        if own {
            self.acknowledgements.said(batch);
            let counts = self.log.devices().get(self.device()).map(|state| state.acknowledged);
            self.acknowledgements.at_most(counts.unwrap_or_default());
            let seen = self.log.seen_of(batch.dot(0)).map(|seen| seen.vector.clone());
            self.journal.admitted(batch, seen.unwrap_or_default());
        } else {
            self.pulled.raise(Dot::new(batch.header().device, batch.last()));
        }
        Ok(())
    }

    /// The entries whose look an event may change.
    fn touched(&self, dot: Dot, fact: &Fact) -> Vec<EntryId> {
        let of = |dots: &DotSet| -> Vec<EntryId> {
            let entries: BTreeSet<EntryId> =
                dots.iter().filter_map(|d| self.log.dot_kind(d).and_then(DotKind::entry)).collect();
            entries.into_iter().collect()
        };
        match fact {
            Fact::EntryCreated { .. } => vec![EntryId(dot)],
            Fact::VersionUploaded { entry, .. }
            | Fact::VersionsMerged { entry, .. }
            | Fact::EntryMoved { entry, .. }
            | Fact::AttributesChanged { entry }
            | Fact::ConflictResolved { entry, .. } => vec![*entry],
            Fact::EntryDeleted { hides, .. } => of(hides),
            Fact::EntryRestored { entry, shows, .. } => {
                let mut entries = of(shows);
                entries.push(*entry);
                entries
            }
            Fact::EntryPurged { entries } => entries.iter().map(EntryId).collect(),
            _ => Vec::new(),
        }
    }
}
