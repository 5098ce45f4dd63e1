//! Signed batches on their way to the log, and what becomes of them: taken, or refused and set aside.
//!
//! What must always hold: a refusal of some events costs no others; chunks that a server forgot are sent once more
//! before anything is given up for them.

use super::{HAND_BACKS_MAX, Host, Look, Round, RoundError, TURNS_MAX, outbox::Outgoing, said_in};
use crate::{
    protocol::{BATCHES_BYTES_MAX, BatchOutcome, Batches, Class, Code, Refused},
    replica::Input,
    transport::TransportError,
};
use annals_events::{ChunkId, Dot, Record};
use serde_bytes::ByteBuf;
use std::{collections::BTreeSet, sync::Arc};

/// Whether a refusal says that the log lacks something that was in it, by all that this device knows.
fn is_about_the_past(code: Code) -> bool {
    code.class() == Class::Lineage
        || matches!(code, Code::SeenUnknown | Code::NamedUnseen | Code::DeviceUnlinked | Code::Forbidden)
}

impl<H: Host> Round<'_, H> {
    /// Sends what was signed, and takes what became of it. Answers how many events were taken or set aside. Where it is
    /// another's turn, the rest waits.
    pub(super) fn submit(&mut self) -> Result<u64, RoundError> {
        let mut settled = 0;
        self.sends_later = false;
        self.put_pending_in_order()?;
        while self.replica.pending().next().is_some() {
            let Outgoing::There(count) = self.send_outgoing()? else { break };
            let Some((batches, hashes)) = self.next_batches(count) else { break };
            let namespace = self.replica.namespace();
            let answer = self.host.parts().transport.submit(namespace, &batches);
            let outcomes = match answer {
                Ok(outcomes) => outcomes.outcomes,
                Err(TransportError::Refused(problem))
                    if problem.class() == Class::Forbidden && !problem.code.is_of_retired() =>
                {
                    let refused = Refused {
                        code: problem.code,
                        message: problem.detail,
                        hint: problem.hint,
                        dots: Vec::new(),
                        chunks: Vec::new(),
                    };
                    vec![BatchOutcome::Refused(refused)]
                }
                Err(error) => return Err(error.into()),
            };
            if outcomes.is_empty() {
                return Err(TransportError::Malformed {
                    server: String::new(),
                    what: "no outcome for a batch".into(),
                }
                .into());
            }
            settled += self.take_outcomes(outcomes, &hashes)?;
        }
        Ok(settled)
    }

    /// Of the first `count`, as many as go together.
    fn next_batches(&self, count: usize) -> Option<(Batches, Vec<(annals_events::Hash, u64)>)> {
        let (mut batches, mut hashes, mut bytes) = (Vec::new(), Vec::new(), 0);
        for batch in self.replica.pending().take(count) {
            bytes += batch.bytes().len() + 16;
            if bytes > BATCHES_BYTES_MAX && !batches.is_empty() {
                break;
            }
            batches.push(ByteBuf::from(batch.bytes()));
            hashes.push((batch.hash(), batch.events().len() as u64));
        }
        (!batches.is_empty()).then_some((Batches { batches, brief: true }, hashes))
    }

    fn take_outcomes(
        &mut self,
        outcomes: Vec<BatchOutcome>,
        hashes: &[(annals_events::Hash, u64)],
    ) -> Result<u64, RoundError> {
        let (mut records, mut settled, mut said, mut refused) = (Vec::new(), 0, 0, None);
        let mut known = Vec::new();
        let mut next = self.replica.cursor().seq.0 + 1;
        for (outcome, (hash, events)) in outcomes.into_iter().zip(hashes) {
            let again = matches!(outcome, BatchOutcome::AlreadyAdmitted { .. });
            match outcome {
                BatchOutcome::Admitted { record } | BatchOutcome::AlreadyAdmitted { record } => {
                    settled += events;
                    let record = Record::decode(record.into_vec()).map_err(|error| self.lineage(error))?;
                    said += said_in(&record);
                    let record = Arc::new(record);
                    known.extend(again.then(|| Arc::clone(&record)));
                    // Others' records in between are pulled together with these.
                    if record.seq().0 == next {
                        next = record.last_seq().0 + 1;
                        records.push(record);
                    }
                }
                BatchOutcome::Refused(why) => refused = Some((*hash, *events, why)),
            }
        }
        self.report.events_sent += said;
        let back = self.back_again(&known);
        self.send_shown(&back)?;
        match self.take_records(records) {
            // Perhaps it is a server that was put back since this device last asked for records.
            Err(RoundError::Lineage { .. }) => drop(self.pull(false)?),
            taken => taken?,
        }
        let all = settled;
        match refused {
            None if settled > 0 && self.is_still_pending(hashes) => {
                // Admitted beside records that are not here yet.
                self.pull(false)?;
                Ok(all)
            }
            None => Ok(all),
            Some((hash, events, why)) => Ok(all + self.take_refusal(hash, events, why)?),
        }
    }

    fn is_still_pending(&self, hashes: &[(annals_events::Hash, u64)]) -> bool {
        self.replica.pending().any(|batch| hashes.iter().any(|(hash, _)| *hash == batch.hash()))
    }

    fn take_refusal(
        &mut self,
        batch: annals_events::Hash,
        events: u64,
        refused: Refused,
    ) -> Result<u64, RoundError> {
        // What was admitted before it may still have to be pulled: only then is this batch the first.
        if self.replica.pending().next().is_some_and(|first| first.hash() != batch) {
            self.pull(false)?;
        }
        if is_about_the_past(refused.code) && !self.shut_out {
            // Perhaps it is the server that does not have what it had.
            let before = self.hand_backs;
            match self.pull(false) {
                Err(error) if error.is_refusal() => {}
                pulled => drop(pulled?),
            }
            // Or did not when it refused this, and has it again from another device.
            let again = refused.code != Code::Forbidden && self.stale_refusals < HAND_BACKS_MAX;
            self.stale_refusals += usize::from(again);
            if again || self.hand_backs > before {
                return Ok(0);
            }
        }
        let mut refused = refused;
        let problem = crate::protocol::Problem {
            hint: refused.hint.clone(),
            ..crate::protocol::Problem::new(refused.code, refused.message.clone())
        };
        if refused.code == Code::ChunksMissing {
            let lost = self.send_missing(batch, &refused.chunks)?;
            self.resends += 1;
            match lost.is_empty() {
                true if self.resends <= TURNS_MAX => return Ok(0),
                true => return Err(TransportError::Refused(problem).into()),
                false => refused.dots = self.naming(batch, &lost),
            }
        }
        match refused.code.class() {
            Class::Passing => return Err(TransportError::Refused(problem).into()),
            Class::Lineage => return Err(self.put_back(refused.message)),
            _ => {}
        }
        let lost = refused.code == Code::ChunksMissing;
        let why = refused.in_words();
        let input = Input::Refused { batch, dots: refused.dots, why, lost };
        let effects = self.replica.step(self.host.now_ms(), input);
        self.perform(effects)?;
        if lost {
            // What is in the folder now was not refused: it is looked at as if it were new.
            let effects = self.replica.step(self.host.now_ms(), Input::ForgetAside);
            self.perform(effects)?;
        }
        Ok(events)
    }

    /// Sends chunks that the server had and does not know any more. Answers with those that are nowhere to be found: not
    /// in the outbox, and no file in the folder has them, wherever it was moved.
    fn send_missing(
        &mut self,
        batch: annals_events::Hash,
        chunks: &[ChunkId],
    ) -> Result<BTreeSet<ChunkId>, RoundError> {
        let lost = self.send_again(chunks)?;
        if lost.is_empty() || self.looked_for == Some(batch) {
            return Ok(lost);
        }
        self.looked_for = Some(batch);
        self.look(&Look::Whole, true)?;
        self.send_again(chunks)
    }

    /// The events of a pending batch that name any of `chunks`: they can never be admitted, the others can.
    fn naming(&self, batch: annals_events::Hash, chunks: &BTreeSet<ChunkId>) -> Vec<Dot> {
        let batch = self.replica.pending().find(|pending| pending.hash() == batch);
        let events =
            batch.iter().flat_map(|batch| (0..batch.events().len()).map(move |index| (batch, index)));
        let naming = events.filter(|(batch, index)| {
            let content = batch.body(*index).ok().flatten().and_then(|body| body.content);
            // Which file a chunk belongs to that only a manifest lists cannot be told without that manifest.
            content.is_some_and(|content| {
                content.manifest.is_some() || content.roots().any(|chunk| chunks.contains(&chunk.id))
            })
        });
        naming.map(|(batch, index)| batch.dot(index)).collect()
    }
}
