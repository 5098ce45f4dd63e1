//! One namespace on its server: the only writer of its stream, and what the stream adds up to.
//!
//! ```text
//!          Submit ┌──────────┐ Find   ┌─────────┐ Found: the same batch ──► Again
//!   Idle ────────►│ (judged) │───────►│ Looking │ Found: another ─────────► Refused, evidence kept
//!    ▲            └────┬─────┘        └─────────┘ Found: nothing ─────────► judged
//!    │           Append│  ▲ judged anew, at most 3 times
//!    │            ┌────▼──┴───┐ Conflict ┌────────────┐
//!    │            │ Appending │─────────►│ CatchingUp │◄── Found: it was stored after all
//!    │            └────┬───┬──┘ Unknown  └────────────┘
//!    └── Reply ────────┘   └──────► Looking
//! ```
//!
//! What must always hold: the projections reflect what is durable and nothing else; nothing is answered
//! [`Outcome::Admitted`] before the log said that it has it (I1); one submission at a time.
//!
//! Left out: looking things up and appending, which are effects; who asks (the server knows tokens).

mod checkpoint;
mod handback;
mod issue;
mod possession;
#[cfg(test)]
mod tests;
mod wanted;

pub use checkpoint::Checkpoint;
pub use issue::{Issued, first_batch, issue};
pub use possession::{Possession, bytes_added};
pub use wanted::Wanted;

use crate::admission::{self, Facts, Refusal, Verdict};
use annals_events::{
    Batch, DeviceId, Dot, NamespaceId, PublicKey, Record, Role, UserId, epoch,
    log::{LogError, Logged, Position},
};
use annals_projections::{FoldError, Projections, Scope};
use ed25519_dalek::SigningKey;
use std::sync::Arc;

/// How often a batch is judged anew because somebody else appended first.
const TRIES_MAX: u32 = 3;

/// A namespace at work.
pub struct Namespace {
    projections: Projections,
    possession: Possession,
    key: SigningKey,
    server: DeviceId,
    phase: Phase,
}

enum Phase {
    Idle,
    Looking { pending: Pending, why: Why },
    Appending { pending: Pending, record: Arc<Record> },
    CatchingUp { pending: Pending },
}

struct Pending {
    batch: Batch,
    facts: Facts,
    tries: u32,
    /// As it was admitted before it was lost, for one that was handed back.
    before: Option<Arc<Record>>,
}

/// Why the log is asked for a dot.
enum Why {
    /// It is used: by the same batch?
    Used,
    /// The log does not know whether it took the append.
    Unsure(String),
}

/// What reaches a namespace.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time")]
pub enum Input {
    /// Judge this and put it into the log. `facts` are complete but for [`Facts::stored`], which the
    /// namespace finds out itself.
    Submit {
        /// The batch, read and checked for form.
        batch: Batch,
        /// What was looked up about its contents and its room.
        facts: Facts,
    },
    /// Put this into the log again, which a server admitted and lost. Its receipt was
    /// [believed](Namespace::believes).
    HandedBack {
        /// As it was admitted then.
        record: Arc<Record>,
    },
    /// The answer to [`Effect::Find`].
    Found(Result<Option<Logged>, LogError>),
    /// The answer to [`Effect::Append`].
    Appended(Result<Position, LogError>),
    /// The answer to [`Effect::CatchUp`]: all records after the head.
    CaughtUp(Result<Vec<Logged>, LogError>),
}

/// What a namespace wants done.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time")]
pub enum Effect {
    /// Ask the log for the record that holds this dot.
    Find(Dot),
    /// Append.
    Append {
        /// The place before it.
        expected: annals_events::Seq,
        /// What.
        record: Arc<Record>,
    },
    /// Read everything after the head.
    CatchUp {
        /// The head.
        after: annals_events::Seq,
    },
    /// Keep these bytes, durably, before what comes after this: a device signed two batches under one dot. Where they
    /// cannot be kept, whoever submitted is answered [`Outcome::Failed`] in place of that.
    KeepEvidence {
        /// The later one.
        batch: Batch,
    },
    /// Answer whoever submitted.
    Reply(Outcome),
}

/// What became of a submitted batch.
#[derive(Debug)]
pub enum Outcome {
    /// It is durable, as this record.
    Admitted(Arc<Record>),
    /// It was durable already.
    Again(Arc<Record>),
    /// It broke a rule.
    Refused(Refusal),
    /// The log failed; trying again is safe.
    Failed(LogError),
}

impl Namespace {
    /// A namespace that nothing is known of yet; `key` is the server's.
    #[must_use]
    pub fn new(id: NamespaceId, key: SigningKey) -> Self {
        let server = DeviceId::of_key(&PublicKey(key.verifying_key().to_bytes()));
        Self {
            projections: Projections::new(id, Scope::Server),
            possession: Possession::default(),
            key,
            server,
            phase: Phase::Idle,
        }
    }

    /// Folds records that the log holds, in its order.
    ///
    /// # Errors
    /// [`FoldError`] where they do not fit: the log is damaged.
    pub fn replay(&mut self, records: &[Logged]) -> Result<(), FoldError> {
        self.projections.apply_all(
            records
                .iter()
                .map(|logged| (logged.record.batch(), Some(logged.record.admission()), logged.position.0)),
        )?;
        let Self { possession, projections, .. } = self;
        records.iter().for_each(|logged| possession.note(logged.record.batch(), projections));
        Ok(())
    }

    /// What the stream adds up to.
    #[must_use]
    pub fn projections(&self) -> &Projections {
        &self.projections
    }

    /// Which chunks may be read here.
    #[must_use]
    pub fn possession(&self) -> &Possession {
        &self.possession
    }

    /// As [`possession`](Self::possession), to be told what manifests list.
    pub fn possession_mut(&mut self) -> &mut Possession {
        &mut self.possession
    }

    /// What `user` may do here.
    #[must_use]
    pub fn role(&self, user: UserId) -> Option<Role> {
        self.projections.access().role(user)
    }

    /// Signs `events` as the next batch of the server itself, seeing all there is. To be submitted like any other.
    #[must_use]
    pub fn issue(&self, now_ms: u64, events: Vec<Issued>) -> Batch {
        issue(&self.projections, &self.key, now_ms, events)
    }

    /// The server that is the writer here.
    #[must_use]
    pub fn server(&self) -> DeviceId {
        self.server
    }

    /// The key of a server of this stream.
    #[must_use]
    pub fn server_key(&self, server: DeviceId) -> Option<PublicKey> {
        let state = self.projections.devices().get(server).filter(|state| state.is_server);
        state.map(|state| state.key)
    }

    /// Takes note of `input` and says what to do about it. `now_ms` becomes the time of admission.
    ///
    /// # Panics
    /// When an answer comes that nothing waits for, or a second submission before the first was answered:
    /// mistakes of the shell.
    pub fn step(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        match (phase, input) {
            (Phase::Idle, Input::Submit { batch, facts }) => {
                let needs = admission::Needs::of(&batch, &self.projections);
                let pending = Pending { batch, facts, tries: 0, before: None };
                match needs.stored_under {
                    Some(dot) => self.look(pending, Why::Used, dot),
                    None => self.judge(now_ms, pending),
                }
            }
            (Phase::Idle, Input::HandedBack { record }) => {
                let batch = record.batch().clone();
                let pending = Pending { batch, facts: Facts::default(), tries: 0, before: Some(record) };
                match admission::Needs::of(&pending.batch, &self.projections).stored_under {
                    Some(dot) => self.look(pending, Why::Used, dot),
                    None => self.judge(now_ms, pending),
                }
            }
            (Phase::Looking { pending, why }, Input::Found(found)) => self.found(now_ms, pending, why, found),
            (Phase::Appending { pending, record }, Input::Appended(done)) => {
                self.appended(pending, record, done)
            }
            (Phase::CatchingUp { pending }, Input::CaughtUp(read)) => self.caught_up(now_ms, pending, read),
            (_, input) => panic!("{input:?} came when nothing waited for it"),
        }
    }

    fn look(&mut self, pending: Pending, why: Why, dot: Dot) -> Vec<Effect> {
        self.phase = Phase::Looking { pending, why };
        vec![Effect::Find(dot)]
    }

    fn judge(&mut self, now_ms: u64, pending: Pending) -> Vec<Effect> {
        match self.verdict(&pending) {
            Ok(Verdict::Admit) => {
                let expected = self.projections.head().seq;
                let record = match &pending.before {
                    // A stream begins with the key that it names.
                    Some(record) if expected.0 == 0 => Arc::clone(record),
                    before => {
                        let at = before.as_ref().map_or(now_ms, |record| record.admission().admitted_at);
                        Arc::new(self.admitted(pending.batch.clone(), at))
                    }
                };
                self.phase = Phase::Appending { pending, record: Arc::clone(&record) };
                vec![Effect::Append { expected, record }]
            }
            Ok(Verdict::Again) => unreachable!("only what was found in the log is there again"),
            Err(refusal) => vec![Effect::Reply(Outcome::Refused(refusal))],
        }
    }

    fn admitted(&self, batch: Batch, at: u64) -> Record {
        let head = self.projections.head();
        let epoch = epoch::after(head.epoch, &batch, self.server);
        Record::admit(batch, &self.key, epoch, annals_events::Seq(head.seq.0 + 1), head.chain, at)
    }

    fn verdict(&self, pending: &Pending) -> Result<Verdict, Refusal> {
        let Pending { batch, facts, before, .. } = pending;
        match before {
            None => admission::judge(batch, &self.projections, facts),
            Some(_) => admission::judge_again(batch, &self.projections, facts.stored),
        }
    }

    /// The log's answer to what is stored under a dot of the pending batch.
    fn found(
        &mut self,
        now_ms: u64,
        mut pending: Pending,
        why: Why,
        found: Result<Option<Logged>, LogError>,
    ) -> Vec<Effect> {
        let logged = match found {
            Err(error) => return vec![Effect::Reply(Outcome::Failed(error))],
            Ok(None) => {
                let what = match why {
                    // The projections say that the dot is used and the log has no such dot.
                    Why::Used => "the index of the log lacks an event".to_owned(),
                    Why::Unsure(what) => what,
                };
                return vec![Effect::Reply(Outcome::Failed(LogError::Unavailable { what }))];
            }
            Ok(Some(logged)) => logged,
        };
        if logged.record.seq() > self.projections.head().seq {
            return self.catch_up(pending);
        }
        pending.facts.stored = Some(logged.record.batch().hash());
        match self.verdict(&pending) {
            Ok(Verdict::Again) => vec![Effect::Reply(Outcome::Again(logged.record))],
            Err(refusal @ Refusal::Equivocation { .. }) => {
                vec![Effect::KeepEvidence { batch: pending.batch }, Effect::Reply(Outcome::Refused(refusal))]
            }
            Err(refusal) => vec![Effect::Reply(Outcome::Refused(refusal))],
            Ok(Verdict::Admit) => {
                pending.facts.stored = None;
                self.judge(now_ms, pending)
            }
        }
    }

    fn appended(
        &mut self,
        pending: Pending,
        record: Arc<Record>,
        done: Result<Position, LogError>,
    ) -> Vec<Effect> {
        match done {
            Ok(position) => {
                self.replay(&[Logged { position, record: Arc::clone(&record) }])
                    .expect("what admission let pass can be folded");
                vec![Effect::Reply(Outcome::Admitted(record))]
            }
            Err(LogError::Conflict { .. } | LogError::Duplicate { .. }) => self.catch_up(pending),
            Err(LogError::Unknown { what }) => {
                let dot = pending.batch.dot(0);
                self.look(pending, Why::Unsure(what), dot)
            }
            Err(error) => vec![Effect::Reply(Outcome::Failed(error))],
        }
    }

    fn catch_up(&mut self, mut pending: Pending) -> Vec<Effect> {
        pending.tries += 1;
        if pending.tries > TRIES_MAX {
            let what = "others write to this namespace all the time".to_owned();
            return vec![Effect::Reply(Outcome::Failed(LogError::Unavailable { what }))];
        }
        let after = self.projections.head().seq;
        self.phase = Phase::CatchingUp { pending };
        vec![Effect::CatchUp { after }]
    }

    fn caught_up(
        &mut self,
        now_ms: u64,
        pending: Pending,
        read: Result<Vec<Logged>, LogError>,
    ) -> Vec<Effect> {
        let records = match read {
            Ok(records) => records,
            Err(error) => return vec![Effect::Reply(Outcome::Failed(error))],
        };
        if let Err(error) = self.replay(&records) {
            let (position, what) = (records[0].position, error.to_string());
            let place = format!("namespace {}", self.projections.namespace());
            return vec![Effect::Reply(Outcome::Failed(LogError::Damaged { position, place, what }))];
        }
        let needs = admission::Needs::of(&pending.batch, &self.projections);
        match needs.stored_under {
            Some(dot) => self.look(pending, Why::Used, dot),
            None => self.judge(now_ms, pending),
        }
    }
}
