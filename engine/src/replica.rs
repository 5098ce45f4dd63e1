//! One device's half of a namespace: what it knows, what its disk shows, and what follows from news of either.
//!
//! ```text
//!   Looked ───► adopt, author ──► Persist, Submit ─┐
//!   Pulled ───► check, fold ──────────────────────►├─► plan ──► Materialise ──► Materialised ─┐
//!   Refused ──► set aside, sign again ► Reopen     │      ▲                                   │
//!                                                  └──────┴───────────── Persist ◄────────────┘
//! ```
//!
//! What must always hold: effects are performed in order, and a [`Effect::Persist`] is durable before the next
//! one; records are durable before they are handed in ([`Input::Pulled`]), so that the cursor never passes
//! what a crash would lose. From the records and the persisted changes, [`Replica::reopen`] makes a replica
//! that goes on as this one would have. Nothing is deleted because something was forgotten or does not fit:
//! then [`Notice::Lineage`] stops it.
//!
//! Left out: chunks (the [round](crate::round) sends them, or puts them in the outbox, before it hands in what a look
//! found), retries, and when to look.

pub use acknowledge::is_acknowledgement;
pub use looked::Reach;
pub(crate) use materialise::is_local_change;

mod acknowledge;
mod checkpoint;
mod looked;
mod materialise;
mod records;
mod refusals;
mod reopen;
mod sight;
mod vanishing;

use crate::{
    author::{Deed, MassDelete, Removals},
    disk::Outcome,
    journal::{Identity, Journal, Pending},
    names::{NameRules, held},
    observed::{LocalTree, RemoteTree, SyncedTree, Went},
    plan::{Plan, in_the_way, plan},
};
use acknowledge::Acknowledgements;
use annals_events::{
    Batch, DeviceId, Dot, DotSet, EntryId, Fact, Hash, HlcClock, NameError, NamespaceId, PublicKey, Seen,
    Seq, VersionVector, log::Head, log::Logged,
};
use annals_projections::{FoldError, Projections, Scope};
use ed25519_dalek::Signer;
pub use records::Strange;
pub(crate) use records::not_made_here;
pub use refusals::SetAside;
pub use reopen::{ReopenError, StateChange};
use sight::Sight;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use vanishing::Vanishing;

/// The position of a pending batch, which no log has yet: [`Replica::pending_batch`] has it.
pub const PENDING: u64 = u64::MAX;

/// How many ranges of dots not yet shown a batch names at most; with more, the disk catches up first.
const UNSEEN_RANGES_MAX: usize = 2_000;

/// How often one piece of news is followed by another plan; more would be a mistake in here.
const PLANS_MAX: u32 = 64;

/// Something that reached the device.
#[derive(Debug)]
pub enum Input {
    /// A look at the folder is done, and the changed files are read.
    Looked {
        /// What it found; of a look at some folders what is directly in those, and the folders above them.
        local: LocalTree,
        /// How much was looked at.
        reach: Reach,
        /// What absence means.
        removals: Removals,
    },
    /// Records came, and are durable on this device.
    Pulled {
        /// In order, each with the place where the shell can find it again.
        records: Vec<Logged>,
        /// Whether there are no more for now.
        caught_up: bool,
    },
    /// What became of [`Effect::Materialise`].
    Materialised {
        /// One for each operation, in order; fewer if the disk gave up.
        outcomes: Vec<Outcome>,
    },
    /// Clearing up after a crash could not put these back where they were ([`Swept::kept`](crate::disk::Swept)), or a
    /// person wants them back: nobody removed them. After a crash to be handed in before the first scan.
    Swept {
        /// Where they were.
        kept: Vec<String>,
    },
    /// The server refused a batch, and trying again would not help.
    Refused {
        /// Which.
        batch: Hash,
        /// Its events that broke a rule; none: all of them.
        dots: Vec<Dot>,
        /// What the server said.
        why: String,
        /// Whether it is only that the chunks of these events are nowhere any more.
        lost: bool,
    },
    /// What was signed shall go out in this [order](Replica::order_of_pending), of places in the queue.
    Ordered {
        /// All of them.
        order: Vec<usize>,
    },
    /// A person asked for something that is no change of the folder: tags, notes, restores, members.
    Asked {
        /// As events, the first with the counter [`Replica::next`].
        deeds: Vec<Deed>,
    },
    /// What was set aside shall be tried again: it may be taken by now.
    RetryAside,
    /// What was set aside in the folder is to be looked at as if it were new.
    ForgetAside,
    /// Everything is exchanged, and nothing was left to do.
    Rested,
}

/// Something to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Append to the device's state, as one; durable before the next effect.
    Persist(Vec<StateChange>),
    /// Send to the server after what was submitted before, once its chunks are there.
    Submit(Arc<Batch>),
    /// Do to the folder what this plan says, and answer with [`Input::Materialised`] before anything else.
    Materialise(Plan),
    /// Look at the folder again, at all of it: something changed in it meanwhile.
    Scan,
    /// Look again at where disk and log may differ: what is there makes room for something else.
    Glance,
    /// Start again from what is persisted: [`Replica::reopen`].
    Reopen,
    /// Tell a person.
    Notice(Notice),
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// These vanished, and somebody may be at it: nothing was said of that, to be looked at again in a moment.
    Vanishing(BTreeSet<String>),
    /// Files wait: they are being written, or their chunks were not read.
    Unread(Vec<String>),
    /// What cannot be synced, and why.
    Unsyncable(Vec<(String, NameError)>),
    /// Operations that could not be done.
    Blocked(Vec<crate::disk::Blocked>),
    /// What stands where the log wants something else, and why it stays; none: nothing does any more.
    InTheWay(Vec<(String, String)>),
    /// What the server hands out is not what it handed out before: the device has to be linked anew.
    Lineage(String),
    /// Events were refused; they and what builds on them are set aside.
    SetAside {
        /// Which.
        events: DotSet,
        /// What the server said.
        why: String,
    },
    /// The disk does not come to rest, which is a mistake in this program.
    Restless,
}

/// What a person was asked: whether it is meant that most of the folder is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// How much is gone by now.
    pub mass: MassDelete,
    /// How much was gone when it was asked first, without what was removed before that.
    pub first: usize,
}

/// The operations that the shell is at, and what each realises.
#[derive(Clone, Debug)]
struct Working {
    plan: Plan,
    remote: RemoteTree,
    /// Whether the folder was looked at right before.
    fresh: bool,
    plans: u32,
}

/// What a device knows of one namespace.
pub struct Replica {
    journal: Journal,
    log: Projections,
    clock: HlcClock,
    rules: NameRules,
    synced: SyncedTree,
    remote: Option<RemoteTree>,
    /// Others' events: how far they were pulled.
    pulled: VersionVector,
    /// Those that the disk does not show yet, with the entries that they are about.
    unsettled: BTreeMap<Dot, Vec<EntryId>>,
    persisted_seen: Seen,
    resolved: BTreeSet<EntryId>,
    aside: Vec<SetAside>,
    acknowledgements: Acknowledgements,
    /// The last event that gave this device's user a right.
    granted: Seq,
    blocked: BTreeSet<String>,
    /// Paths whose turn did not come: the plans that follow do without them, up to the next news.
    later: BTreeSet<String>,
    /// What the last look at the folder found standing where something may be wanted, and why.
    obstacles: BTreeMap<String, String>,
    /// Whether the last look at the folder was of one that may not be the one that was synced.
    merge_only: bool,
    /// The folders in which disk and log may differ; none: any.
    unsure: Option<BTreeSet<EntryId>>,
    /// Folders that were moved since everything was looked at.
    went: Went,
    vanishing: Vanishing,
    /// The tops of what is gone from the folder and was not said to be removed: nothing is done there.
    withheld: BTreeSet<String>,
    /// That it is so much that a person has to say so.
    question: Option<Question>,
    /// About how much the question is that was written down last.
    persisted_question: Option<usize>,
    working: Option<Working>,
    /// Operations of a process that ended meanwhile may be done, or not: a look at the folder tells, as long as the log
    /// is the one that they were planned for.
    half_done: bool,
    persisted_at_work: bool,
    cursor: Head,
    broken: bool,
}

impl Replica {
    /// A device that has just been linked: it knows nothing.
    #[must_use]
    pub fn new(identity: Identity, rules: NameRules) -> Self {
        Self {
            log: Projections::new(identity.namespace, Scope::Device),
            journal: Journal::new(identity),
            clock: HlcClock::default(),
            rules,
            synced: SyncedTree::default(),
            remote: None,
            pulled: VersionVector::new(),
            unsettled: BTreeMap::new(),
            persisted_seen: Seen::default(),
            resolved: BTreeSet::new(),
            aside: Vec::new(),
            acknowledgements: Acknowledgements::default(),
            granted: Seq(0),
            blocked: BTreeSet::new(),
            later: BTreeSet::new(),
            obstacles: BTreeMap::new(),
            merge_only: false,
            unsure: None,
            went: Went::default(),
            vanishing: Vanishing::default(),
            withheld: BTreeSet::new(),
            question: None,
            persisted_question: None,
            working: None,
            half_done: false,
            persisted_at_work: false,
            cursor: Head::default(),
            broken: false,
        }
    }

    /// What follows from `input`.
    pub fn step(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.broken {
            return effects;
        }
        match input {
            Input::Looked { local, reach, removals } => {
                self.looked(now_ms, local, &reach, removals, &mut effects);
            }
            Input::Pulled { records, caught_up } => self.pulled(&records, caught_up, &mut effects),
            Input::Materialised { outcomes } => self.materialised(outcomes, &mut effects),
            Input::Swept { kept } => {
                let changes = self.forget(kept.into_iter());
                // Of the rest it is still asked.
                if let Some(question) = &mut self.question {
                    question.first = question.first.saturating_sub(changes.len());
                }
                self.persist(changes, &mut effects);
            }
            Input::Refused { batch, dots, why, lost } => {
                self.refused(now_ms, batch, &dots, why, lost, &mut effects);
            }
            Input::Ordered { order } => self.ordered(now_ms, &order, &mut effects),
            Input::Asked { deeds } => {
                self.sign(now_ms, deeds, Vec::new(), &mut effects);
                self.make_plan(false, 0, &mut effects);
            }
            Input::RetryAside => self.retry_aside(now_ms, &mut effects),
            Input::ForgetAside => self.forget_aside(&mut effects),
            Input::Rested => self.rested(now_ms, &mut effects),
        }
        effects
    }

    // --- reading ------------------------------------------------------------------------------------------

    /// The stream.
    #[must_use]
    pub fn namespace(&self) -> NamespaceId {
        self.journal.identity().namespace
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.journal.identity().device()
    }

    /// Everything that follows from the known events, pending ones included.
    #[must_use]
    pub fn log(&self) -> &Projections {
        &self.log
    }

    /// What disk and log agreed on last: what [`LocalTree::of`] needs to know which files to read.
    #[must_use]
    pub fn synced(&self) -> &SyncedTree {
        &self.synced
    }

    /// The same device, knowing nothing.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self::new(self.journal.identity().clone(), self.rules)
    }

    /// The public half of the device's key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.journal.identity().key.verifying_key().to_bytes())
    }

    /// The device's signature over `message`.
    #[must_use]
    pub fn sign_message(&self, message: &[u8]) -> [u8; 64] {
        self.journal.identity().key.sign(message).to_bytes()
    }

    /// What the folder shall show, under the names that this disk can hold.
    pub fn remote(&mut self) -> &RemoteTree {
        let (log, rules) = (&self.log, self.rules);
        self.remote.get_or_insert_with(|| held(RemoteTree::of(log), rules))
    }

    /// How far the log was pulled.
    #[must_use]
    pub fn cursor(&self) -> Head {
        self.cursor
    }

    /// What was signed and is not in the log yet, in the order in which it must be sent.
    pub fn pending(&self) -> impl Iterator<Item = &Arc<Batch>> {
        self.journal.pending().map(|pending| &pending.batch)
    }

    /// The order in which what is pending is to go, by the bytes that each batch has to send, of which a `window` goes
    /// together; none where it goes well as it is, or something builds on what is pending that would keep its old name.
    #[must_use]
    pub fn order_of_pending(&self, costs: &[u64], window: u64) -> Option<Vec<usize>> {
        let is_free = self.aside.is_empty() && !self.is_at_work();
        if is_free { self.journal.order(costs, window) } else { None }
    }

    /// The pending batch that holds `dot`: what the projections locate at [`PENDING`].
    #[must_use]
    pub fn pending_batch(&self, dot: Dot) -> Option<(&Arc<Batch>, usize)> {
        let holds = |batch: &Batch| {
            dot.device == batch.header().device
                && (batch.header().first..=batch.last()).contains(&dot.counter)
        };
        let batch = self.pending().find(|batch| holds(batch))?;
        Some((batch, (dot.counter - batch.header().first) as usize))
    }

    /// The counter of the next event.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.journal.next()
    }

    /// Paths where the last operations could not be done.
    #[must_use]
    pub fn blocked(&self) -> &BTreeSet<String> {
        &self.blocked
    }

    /// That most of the folder is gone, where a person has to say that this is meant: nothing is said to be removed until
    /// then.
    #[must_use]
    pub fn unconfirmed(&self) -> Option<MassDelete> {
        self.question.map(|question| question.mass)
    }

    /// The tops of what is gone from the folder and was not said to be removed yet.
    #[must_use]
    pub fn withheld(&self) -> &BTreeSet<String> {
        &self.withheld
    }

    /// Whether the shell owes an [`Input::Materialised`].
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.working.is_some()
    }

    /// Whether the folder has to be looked at before any record is handed in: what this device did to it last, and
    /// could not take down any more, is told from what a person did by what the log said then.
    #[must_use]
    pub fn is_half_done(&self) -> bool {
        self.half_done
    }

    fn is_at_work(&self) -> bool {
        self.half_done || self.working.is_some()
    }

    /// Whether the disk shows what the known events say, and the log has all of ours.
    pub fn is_settled(&mut self) -> bool {
        self.journal.is_empty() && self.working.is_none() && self.sight().pending(&self.synced).is_empty()
    }

    /// What the disk shows of the known events.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let mut unseen: DotSet = self.unsettled.keys().copied().collect();
        if !unseen.is_empty() {
            for (_, node) in self.synced.iter() {
                node.heads.iter().chain(&node.head).for_each(|dot| unseen.remove(*dot));
            }
        }
        Seen { vector: self.pulled.clone(), unseen: in_few_ranges(unseen, UNSEEN_RANGES_MAX) }
    }

    // --- saying things ----------------------------------------------------------------------------------------

    /// Signs and folds deeds. They and what else changed are persisted as one.
    fn sign(&mut self, now_ms: u64, deeds: Vec<Deed>, changes: Vec<StateChange>, effects: &mut Vec<Effect>) {
        let (seen, mut changes) = (self.seen(), changes);
        let signed = self.journal.sign(deeds, &seen, &mut self.clock, now_ms);
        changes.extend(signed.iter().map(|pending| StateChange::Journaled(pending.clone())));
        self.persist(changes, effects);
        for pending in signed {
            if let Err(why) = self.fold_pending(&pending) {
                self.broken = true;
                return effects.push(Effect::Notice(Notice::Lineage(why.to_string())));
            }
            effects.push(Effect::Submit(pending.batch));
        }
    }

    fn fold_pending(&mut self, pending: &Pending) -> Result<(), FoldError> {
        self.remote = None;
        self.log.apply(&pending.batch, None, PENDING)?;
        self.acknowledgements.said(&pending.batch);
        self.note_resolved(&pending.batch);
        Ok(())
    }

    fn persist(&mut self, mut changes: Vec<StateChange>, effects: &mut Vec<Effect>) {
        let seen = Seen { vector: self.pulled.clone(), unseen: self.unsettled.keys().copied().collect() };
        if seen != self.persisted_seen {
            self.persisted_seen = seen.clone();
            changes.push(StateChange::Seen(seen));
        }
        let at_work = self.is_at_work();
        if at_work != self.persisted_at_work {
            self.persisted_at_work = at_work;
            changes.push(StateChange::AtWork(at_work));
        }
        let question = self.question.map(|question| question.first);
        if question != self.persisted_question {
            self.persisted_question = question;
            changes.push(StateChange::Asked(self.question));
        }
        if !changes.is_empty() {
            effects.push(Effect::Persist(changes));
        }
    }

    // --- others' events --------------------------------------------------------------------------------------

    fn pulled(&mut self, records: &[Logged], caught_up: bool, effects: &mut Vec<Effect>) {
        let mut cursor = self.cursor;
        for logged in records {
            if let Err(why) = self.check(&logged.record, cursor).and_then(|()| self.fold(logged)) {
                self.broken = true;
                return effects.push(Effect::Notice(Notice::Lineage(why)));
            }
            let admission = logged.record.admission();
            cursor = Head { seq: logged.record.last_seq(), chain: admission.chain, epoch: admission.epoch };
            self.cursor = cursor;
        }
        if caught_up && self.working.is_none() {
            self.make_plan(false, 0, effects);
        }
    }

    fn note_resolved(&mut self, batch: &Batch) {
        for event in batch.events() {
            if let Fact::ConflictResolved { entry, .. } = &event.fact {
                self.resolved.insert(*entry);
            }
        }
    }

    // --- plans -------------------------------------------------------------------------------------------------

    /// Plans until there is something to do, or nothing left; `fresh`: the folder was just looked at.
    fn make_plan(&mut self, fresh: bool, plans: u32, effects: &mut Vec<Effect>) {
        if self.working.is_some() || self.broken {
            return;
        }
        let mut sight = self.sight();
        debug_assert_eq!(
            self.unlike_elsewhere(&sight),
            BTreeSet::new(),
            "outside of this part disk and log agree"
        );
        if plans == 0 {
            self.later.clear();
        }
        let blocked: BTreeSet<String>;
        let passed_by = match self.later.is_empty() {
            true => &self.blocked,
            false => {
                blocked = self.blocked.union(&self.later).cloned().collect();
                &blocked
            }
        };
        let plan = plan(sight.synced(&self.synced), sight.remote(), passed_by, !self.merge_only);
        let mut changes = Vec::new();
        for change in &plan.labels {
            self.take_step(change.clone());
            sight.apply(change);
            changes.push(StateChange::Synced(change.clone()));
        }
        self.settle(&sight);
        if plan.ops.is_empty() {
            self.persist(changes, effects);
            self.unsure = Some(sight.unlike(&self.synced));
            let in_the_way = in_the_way(sight.synced(&self.synced), sight.remote(), &self.obstacles);
            effects.push(Effect::Notice(Notice::InTheWay(in_the_way)));
        } else if plans >= PLANS_MAX {
            self.persist(changes, effects);
            effects.push(Effect::Notice(Notice::Restless));
        } else if plan.makes_room() && !fresh {
            self.persist(changes, effects);
            effects.push(Effect::Glance);
        } else {
            let realised = plan.ops.iter().filter_map(|op| {
                sight.remote().nodes.get_key_value(op.path()).map(|(path, node)| (path.clone(), node.clone()))
            });
            let realised = RemoteTree { nodes: realised.collect() };
            self.working = Some(Working { plan: plan.clone(), remote: realised, fresh, plans: plans + 1 });
            self.persist(changes, effects);
            effects.push(Effect::Materialise(plan));
        }
        // The next comparison is of a part; of a large folder it is much to be held for nothing.
        if self.working.is_some() {
            self.put_back(sight);
        }
    }
}

/// What was not seen, and more than that where it has more than `most` ranges: rather too much than a batch that cannot
/// be sent, for what counts as seen is given up by whoever replaces it (I3).
fn in_few_ranges(unseen: DotSet, most: usize) -> DotSet {
    if unseen.range_count() <= most {
        return unseen;
    }
    let mut spans: BTreeMap<DeviceId, (u64, u64)> = BTreeMap::new();
    for (device, first, last) in unseen.ranges() {
        let span = spans.entry(device).or_insert((first, last));
        *span = (span.0.min(first), span.1.max(last));
    }
    let all = spans
        .into_iter()
        .flat_map(|(device, (first, last))| (first..=last).map(move |n| Dot::new(device, n)));
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_stays_so_however_it_is_written_down() {
        let dots = [2, 4, 9, 13, 20].map(|n| Dot::new(DeviceId([u8::from(n % 2 == 0); 16]), n));
        let unseen = DotSet::from_iter(dots);
        assert_eq!(in_few_ranges(unseen.clone(), 5), unseen);
        let fewer = in_few_ranges(unseen.clone(), 4);
        assert!(unseen.iter().all(|dot| fewer.contains(dot)));
        assert_eq!(fewer.range_count(), 2, "{fewer:?}");
    }
}
