//! A server that does not have what it admitted: it was put back to an older copy of itself.
//!
//! ```text
//!   chain-mismatch ──► last record in common ──► chunks of what it lacks ──► hand back ──► pull from there on ──► switch
//! ```
//!
//! The device gives back the records that it keeps, with their receipts, and then takes the server's stream from the
//! last record in common on in place of its own. What must always hold: nothing that was kept is let go of before the
//! new stream is here as a whole, was checked, and holds every batch of the old one; so nothing looks removed meanwhile,
//! and a crash leaves the old records or the new ones. The folder is not touched.
//!
//! A device that the server forgot, be it that its link, its account or the whole namespace is younger than that copy,
//! shows its key with all that it keeps: the record of its link is there, with the server's receipt.

use super::{FileToRead, Host, Round, RoundError, look::groups_of};
use crate::{
    admission::contents_of,
    protocol::{BATCHES_BYTES_MAX, Code, HandBack, KeyProof, RecordsQuery, link_message},
    replica::{Effect, Input, Notice},
    transport::TransportError,
};
use annals_events::{
    ContentId, DeviceId, Hash, Record, Seq,
    log::{Head, Logged, Position},
};
use serde_bytes::ByteBuf;
use std::{collections::BTreeSet, sync::Arc};

/// What the server has from some place on.
struct Branch {
    records: Vec<Arc<Record>>,
    hashes: BTreeSet<Hash>,
}

impl<H: Host> Round<'_, H> {
    /// Gives the server what it lost, and goes on from what it has then.
    pub(super) fn hand_back(&mut self) -> Result<(), RoundError> {
        // What it had of what is on its way may be lost as well.
        self.host.begun().clear();
        let kept = self.host.records()?;
        let common = self.last_in_common(&kept)?;
        let place = kept.partition_point(|record| record.last_seq() <= common.seq);
        let after = &kept[place..];
        if self.replica.may_change() {
            self.send_shown(after)?;
        }
        let mut refused = None;
        for records in parts(after) {
            let namespace = self.replica.namespace();
            let answer =
                self.host.parts().transport.hand_back(namespace, &HandBack { records, proof: None })?;
            self.report.handed_back += answer.taken;
            refused = refused.or(answer.refused);
        }
        let Some(branch) = self.branch(common)? else { return Ok(()) };
        if let Some(lost) = after.iter().find(|record| !branch.hashes.contains(&record.batch().hash())) {
            // Without a refusal it was taken, and is lost once more.
            return refused.map_or(Ok(()), |refused| {
                let (seq, why) = (lost.seq(), refused.message);
                Err(self.put_back(format!("record {seq} was not taken back: {why}")))
            });
        }
        self.check_branch(&kept, place, &branch)?;
        self.host.replace_records(common.seq, branch.records)?;
        self.reopen()?;
        self.report.server_put_back = true;
        Ok(())
    }

    /// The last place that the server knows as this device does.
    fn last_in_common(&mut self, kept: &[Arc<Record>]) -> Result<Head, RoundError> {
        let (mut known, mut unknown) = (0, kept.len());
        // The first `known` records are in common, the record `unknown` and those after it are not.
        while known < unknown {
            let middle = known + (unknown - known) / 2;
            if self.knows(head_of(&kept[middle]))? {
                known = middle + 1;
            } else {
                unknown = middle;
            }
        }
        Ok(known.checked_sub(1).map_or_else(Head::default, |last| head_of(&kept[last])))
    }

    fn knows(&mut self, place: Head) -> Result<bool, RoundError> {
        let query = RecordsQuery { limit: Some(1), ..query_after(place) };
        let namespace = self.replica.namespace();
        match self.host.parts().transport.records(namespace, &query) {
            Ok(_) => Ok(true),
            Err(TransportError::Refused(problem)) if problem.code == Code::ChainMismatch => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Those of `records` that this device made, and that another one may have handed back: without their chunks.
    pub(super) fn back_again(&self, records: &[Arc<Record>]) -> Vec<Arc<Record>> {
        let device = self.replica.device();
        let own = records.iter().filter(|record| record.batch().header().device == device);
        own.filter(|record| record.admission().epoch > 0).cloned().collect()
    }

    /// Sends what the folder has of the contents that `records` name and the server does not have.
    pub(super) fn send_shown(&mut self, records: &[Arc<Record>]) -> Result<(), RoundError> {
        let named = records.iter().flat_map(|record| contents_of(record.batch()));
        self.give(named.map(|content| content.id).collect())
    }

    /// Sends what the folder has of the contents that the server lost and another device waits for, once.
    pub(super) fn give_wanted(&mut self, mut wanted: BTreeSet<ContentId>) -> Result<(), RoundError> {
        if !self.replica.may_change() {
            return Ok(());
        }
        wanted.retain(|content| self.given.insert(*content));
        self.give(wanted)
    }

    fn give(&mut self, mut wanted: BTreeSet<ContentId>) -> Result<(), RoundError> {
        let mut files = Vec::new();
        if wanted.is_empty() {
            return Ok(());
        }
        for (path, node) in self.replica.synced().iter() {
            if node.content.is_some_and(|content| wanted.remove(&content)) {
                files.push(FileToRead {
                    path: path.clone(),
                    size: node.disk.size,
                    replaced: None,
                    first: None,
                });
            }
        }
        for group in groups_of(files, self.window()) {
            self.send_files(group)?;
        }
        Ok(())
    }

    /// Everything that the server has after `common`; none where it has lost something again meanwhile.
    fn branch(&mut self, common: Head) -> Result<Option<Branch>, RoundError> {
        let mut branch = Branch { records: Vec::new(), hashes: BTreeSet::new() };
        let mut cursor = common;
        loop {
            let namespace = self.replica.namespace();
            let answer = match self.host.parts().transport.records(namespace, &query_after(cursor)) {
                Err(TransportError::Refused(problem)) if problem.code == Code::ChainMismatch => {
                    return Ok(None);
                }
                answer => answer?,
            };
            for bytes in answer.records {
                let record = Record::decode(bytes.into_vec()).map_err(|error| self.lineage(error))?;
                cursor = head_of(&record);
                branch.hashes.insert(record.batch().hash());
                branch.records.push(Arc::new(record));
            }
            if cursor.seq >= answer.head.seq {
                return Ok(Some(branch));
            }
        }
    }

    /// Whether `branch` goes on after the first `common` records that are kept, and all of it is by whom it says. Of this
    /// device it holds what it signed, and nothing else.
    fn check_branch(&self, kept: &[Arc<Record>], common: usize, branch: &Branch) -> Result<(), RoundError> {
        let mut fresh = self.replica.fresh();
        let records = kept[..common].iter().chain(&branch.records).enumerate();
        let records =
            records.map(|(at, record)| Logged { position: Position(at as u64), record: Arc::clone(record) });
        let input = Input::Pulled { records: records.collect(), caught_up: false };
        for effect in fresh.step(self.host.now_ms(), input) {
            if let Effect::Notice(Notice::Lineage(why)) = effect {
                return Err(self.lineage(why));
            }
        }
        let of_this_device = |record: &&Arc<Record>| record.batch().header().device == self.replica.device();
        let made = kept.iter().filter(of_this_device).map(|record| record.batch().hash());
        let made: BTreeSet<Hash> = made.chain(self.replica.pending().map(|batch| batch.hash())).collect();
        match branch
            .records
            .iter()
            .filter(of_this_device)
            .find(|record| !made.contains(&record.batch().hash()))
        {
            Some(record) => Err(self.put_back(crate::replica::not_made_here(record.seq()))),
            None => Ok(()),
        }
    }

    /// Shows a server that does not know this device its key, and all that is kept of what the server said. Answers
    /// whether it knows the device now; a server whose word is known here as it is has its reasons.
    pub(super) fn show_key(&mut self, code: Code) -> Result<bool, RoundError> {
        let kept = self.host.records()?;
        let mut welcome = false;
        for records in parts(&kept) {
            let asked = self.host.parts().transport.challenge()?;
            let server = DeviceId::of_key(&asked.server.server);
            let knows_server = self.replica.log().devices().get(server).is_some();
            if code == Code::UnknownNamespace && knows_server {
                return Ok(false);
            }
            let device = self.replica.public_key();
            let message = link_message(&asked.challenge, &asked.server.log, &device);
            let signature = ByteBuf::from(self.replica.sign_message(&message));
            let proof = Some(KeyProof { device, challenge: asked.challenge, signature });
            let namespace = self.replica.namespace();
            let answer = self.host.parts().transport.hand_back(namespace, &HandBack { records, proof })?;
            self.report.handed_back += answer.taken;
            welcome = answer.welcome;
        }
        self.report.server_put_back |= welcome;
        Ok(welcome)
    }
}

fn head_of(record: &Record) -> Head {
    let admission = record.admission();
    Head { seq: record.last_seq(), chain: admission.chain, epoch: admission.epoch }
}

/// The question for what comes after `place`.
pub(super) fn query_after(place: Head) -> RecordsQuery {
    let chain = (place.seq > Seq(0)).then_some(place.chain);
    RecordsQuery { after: place.seq, chain, epoch: place.epoch, log: None, limit: None }
}

/// Records in requests that are not too large.
fn parts(records: &[Arc<Record>]) -> Vec<Vec<ByteBuf>> {
    let mut parts: Vec<Vec<ByteBuf>> = Vec::new();
    let mut bytes = 0;
    for record in records {
        bytes += record.bytes().len() + 16;
        match parts.last_mut() {
            Some(part) if bytes <= BATCHES_BYTES_MAX => part.push(ByteBuf::from(record.bytes())),
            _ => {
                bytes = record.bytes().len() + 16;
                parts.push(vec![ByteBuf::from(record.bytes())]);
            }
        }
    }
    parts
}
