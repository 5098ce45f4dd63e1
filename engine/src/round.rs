//! A sync round: everything is exchanged, in one go, and the folder shows what the log says.
//!
//! ```text
//!   pull ──► look (scan, read what changed, send its chunks) ──► author, plan, materialise ──► submit ──┐
//!    ▲                                                                                                  │
//!    └───────────────────────────── until nothing is left ◄─────────────────────────────────────────────┘
//! ```
//!
//! What follows from what is the [`Replica`]'s business; here effects are performed in their order, over the
//! capabilities of a [`Host`]: the real machine's, or a simulation's twins. What must always hold: chunks are on
//! the server, or in the outbox, before a batch that names them is journaled (I4); records are durable before
//! they are folded; whatever call fails, or does not return, the next round goes on from what is persisted.
//!
//! Left out: when to begin a round, and how often to try again.

mod delivery;
mod fetch;
mod glance;
mod handback;
mod lists;
mod look;
mod report;
mod send;
mod sending;
mod sift;
mod sources;
mod submit;

pub use fetch::Fetcher;
pub use lists::{Lists, MemoryLists};
pub use look::Look;
pub use report::{Files, Report, RoundError, Step};
pub use sift::scan;
pub use sources::{OldFile, Sources};

use crate::{
    chunk_store::ChunkStore,
    content::SealedChunk,
    disk::{Blocked, Disk, DiskError, DiskOp, Node},
    priority::{Rank, Waiting, is_long},
    protocol::{Class, Code, Problem},
    replica::{Effect, Input, Notice, Replica, StateChange, Strange, is_acknowledgement},
    transport::{Transport, TransportError},
};
use annals_events::{ChunkId, ChunkRef, Content, Dot, Record, Seq, log::Logged};
use sending::Sending;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a round may use of the machine that it runs on.
pub trait Host {
    /// The synced folder.
    type Disk: Disk;

    /// The wall clock, in milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// The capabilities, side by side.
    fn parts(&mut self) -> Parts<'_, Self::Disk>;

    /// Appends to the device's state as one; durable when it returns.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written, or it is not known.
    fn persist(&mut self, changes: &[StateChange]) -> Result<(), StoreError>;

    /// Keeps records for good, durable when it returns; answers with where they can be found again.
    ///
    /// # Errors
    /// [`StoreError`].
    fn keep(&mut self, records: Vec<Arc<Record>>) -> Result<Vec<Logged>, StoreError>;

    /// All that is kept, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    fn records(&mut self) -> Result<Vec<Arc<Record>>, StoreError>;

    /// Keeps `records` in place of all that is kept after `common`: durable, all of it or nothing, when it returns. To be
    /// followed by [`reopen`](Self::reopen).
    ///
    /// # Errors
    /// [`StoreError`]; what was kept is kept then.
    fn replace_records(&mut self, common: Seq, records: Vec<Arc<Record>>) -> Result<(), StoreError>;

    /// The replica that follows from what was persisted and kept.
    ///
    /// # Errors
    /// [`StoreError`].
    fn reopen(&mut self) -> Result<Replica, StoreError>;

    /// Finds the names of the chunks of files; for each in order its answer. Whichever of them are [cut](Self::cut) next
    /// are those, as they were read here or once more.
    ///
    /// # Errors
    /// As [`cut`](Self::cut), of which it is the default.
    fn name(&mut self, files: &[FileToRead]) -> Result<Vec<Result<FileRead, Unreadable>>, RoundError> {
        self.cut(files, &|_| false, &mut |_, _, _| Ok(()))
    }

    /// These will be named next, in one go; none: nothing more will, and what was read may be let go. A host with hands
    /// free begins with it: which names it finds is the same.
    fn read_ahead(&mut self, files: &[FileToRead]) {
        let _ = files;
    }

    /// Cuts files; for each in order its answer. `wanted` is asked for every chunk (from any thread), and `take` gets
    /// those that are. An error of `take` ends it.
    ///
    /// # Errors
    /// That of `take`.
    fn cut(
        &mut self,
        files: &[FileToRead],
        wanted: &(dyn Fn(&ChunkId) -> bool + Sync),
        take: &mut Take<'_>,
    ) -> Result<Vec<Result<FileRead, Unreadable>>, RoundError>;

    /// Nothing in the outbox is needed any more.
    fn empty_outbox(&mut self);

    /// Which files somewhere below the folder programs have open now, as far as that can be told.
    fn open_now(&mut self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Whether [`cut`](Self::cut) may end with [`RoundError::GaveWay`] from now on, once something came up that goes before
    /// the rest of what is cut.
    fn may_give_way(&mut self, may: bool) {
        let _ = may;
    }

    /// Tells whoever watches how far the round is.
    fn progress(&mut self, step: Step);

    /// Whether the round shall end as soon as it can, with [`RoundError::Stopped`]. What is done by then stays done.
    fn is_stopped(&self) -> bool {
        false
    }
}

/// Takes a chunk that was wanted, and may send it or put it into the outbox; waiting there is how a slow network
/// slows down the reading. Always called on the thread that cuts were asked from.
pub type Take<'a> = dyn FnMut(SealedChunk, &dyn Transport, &dyn ChunkStore) -> Result<(), RoundError> + 'a;

/// Capabilities that are used at the same time.
pub struct Parts<'a, D: Disk> {
    /// The synced folder.
    pub disk: &'a mut D,
    /// The way to the server.
    pub transport: &'a dyn Transport,
    /// Chunks of saves that the server has not got yet.
    pub outbox: &'a dyn ChunkStore,
    /// Records that were kept.
    pub records: &'a dyn KeptRecords,
    /// Lists of large files' chunks.
    pub lists: &'a dyn Lists,
}

/// Records that a device kept.
pub trait KeptRecords {
    /// The one at `position`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn at(&self, position: u64) -> Result<Arc<Record>, StoreError>;
}

/// A file that has to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileToRead {
    /// Which.
    pub path: String,
    /// About how large.
    pub size: u64,
    /// What the version that it replaces holds.
    pub replaced: Option<Content>,
    /// Only so many bytes of it: all that it had when it was read before.
    pub first: Option<u64>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRead {
    /// What it was, before and after.
    pub node: Node,
    /// What it holds.
    pub content: Content,
    /// All its chunks, its manifest's own included.
    pub chunks: Vec<ChunkRef>,
    /// Whether more was written behind what was read: then `node` is what was read, and that nothing before it changed
    /// is seen by reading it once more.
    pub grew: bool,
}

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// For people.
    pub why: String,
    /// Whether it is merely being written, and will be read in a later round.
    pub passing: bool,
}

/// The device's own state could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room. Nothing was lost.
    #[error("no space left in {place}")]
    Full {
        /// Where.
        place: String,
    },
    /// Stored bytes are not what was written, or do not make sense.
    #[error("the device's own state is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// Somebody else removed or replaced it while it was at work. Nothing was written.
    #[error("the device's own state in {place} was removed or replaced while it was in use")]
    Replaced {
        /// Where.
        place: String,
    },
    /// Anything else.
    #[error("the device's own state cannot be used: {what}")]
    Failed {
        /// What the system said.
        what: String,
    },
}

/// What the caller decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// How much of the folder to look at.
    pub look: Look,
    /// Things that vanish are waited for: somebody may be at it, and there will be another round.
    pub patient: bool,
    /// A person said that many entries vanished on purpose.
    pub accept_deletes: bool,
    /// Paths that somebody asked for by name: they go first.
    pub first: Vec<String>,
}

/// How often a round goes around at most: each time something came up that was not there before.
const TURNS_MAX: usize = 32;
/// Why a file is not written whose content a server lost with its state.
const CONTENT_LOST: &str = "the server was put back to an older copy and lacks its content: it comes once a device that has it syncs";
/// How often a server may lose state while a round is at work.
const HAND_BACKS_MAX: usize = 8;
/// So few files are done before anybody finds out which of them are open.
const FEW: usize = 8;
/// Operations handed to the disk together, which makes them durable together.
const OPS_PER_GROUP: usize = 2048;
/// The bytes that they write, unless one alone writes more: what is done before the next word of how far it is.
const OPS_BYTES: u64 = 32 << 20;

/// Exchanges everything that can be exchanged; answers with what it did, and whether that is all.
///
/// # Errors
/// [`RoundError`], beside the report. What could be done was done: with no server in reach, what changed in the folder
/// is in the journal.
pub fn exchange<H: Host>(
    replica: &mut Replica,
    host: &mut H,
    wish: Wish,
) -> (Report, Result<(), RoundError>) {
    let mut round = Round {
        replica,
        host,
        report: Report::default(),
        trouble: None,
        shut_out: false,
        rescan: Some(wish.look.clone()).filter(|look| *look != Look::Nowhere),
        wish,
        surveyed: false,
        looked_for: None,
        resends: 0,
        content_lost: false,
        stale_refusals: 0,
        hand_backs: 0,
        changed: None,
        put_off: false,
        later: BTreeSet::new(),
        tried: BTreeSet::new(),
        reading: Files::default(),
        sending: Sending::default(),
    };
    let result = round.run();
    // After an error nobody wants to know; but nothing goes on behind a round.
    round.sending.abandon();
    let in_the_way = Some(&round.report.in_the_way).filter(|paths| !paths.is_empty());
    let unconfirmed = round.replica.unconfirmed().map(RoundError::MassDelete);
    let left = round.trouble.take().or(unconfirmed);
    let left = left.or_else(|| in_the_way.cloned().map(RoundError::InTheWay));
    let result = result.and_then(|()| left.map_or(Ok(()), Err));
    (round.report, result)
}

struct Round<'a, H: Host> {
    replica: &'a mut Replica,
    host: &'a mut H,
    wish: Wish,
    report: Report,
    /// What went wrong and did not have to end the round.
    trouble: Option<RoundError>,
    /// The server lets this device in no more: what is on the disk is left as it is.
    shut_out: bool,
    /// What has to be looked at next.
    rescan: Option<Look>,
    /// Whether everything was looked at once, as far as to see where something is different.
    surveyed: bool,
    /// The batch for whose missing chunks the folder was looked at once more.
    looked_for: Option<annals_events::Hash>,
    /// How often missing chunks were sent once more.
    resends: usize,
    /// Some content is not on a server that was put back.
    content_lost: bool,
    /// How often something was sent again that was refused for what the server had lost.
    stale_refusals: usize,
    /// How often a server was given what it lost.
    hand_backs: usize,
    /// What was not what the last look at the folder had found.
    changed: Option<Blocked>,
    /// Whether some files had to wait once until those were sent that somebody waits for.
    put_off: bool,
    /// Files that wait for one that takes long, or for what goes before it.
    later: BTreeSet<String>,
    /// Those that take long and were read in this round.
    tried: BTreeSet<String>,
    /// How far the reading of files is.
    reading: Files,
    /// Chunks that are on their way to the server.
    sending: Sending,
}

impl<H: Host> Round<'_, H> {
    fn run(&mut self) -> Result<(), RoundError> {
        let online = self.pull_at_first()?;
        if online && self.replica.has_lost_texts() {
            let effects = self.replica.step(self.host.now_ms(), Input::ForgetAside);
            self.perform(effects)?;
        }
        let mut turns = 0;
        while turns < TURNS_MAX {
            // Files that wait for their turn are no sign that it does not come to an end.
            turns += usize::from(self.later.is_empty());
            if let Some(look) = self.rescan.take() {
                self.look(&look, online)?;
            }
            if !online {
                return Ok(());
            }
            if !self.shut_out && self.replica.is_retry_due() {
                // Right after a look at the folder: what became of it meanwhile is known. And right before another: what
                // changed since it was refused is said before anything takes its place.
                let effects = self.replica.step(self.host.now_ms(), Input::RetryAside);
                self.perform(effects)?;
                self.rescan = None;
                self.look(&Look::Whole, online)?;
            }
            let sent = match self.submit() {
                Err(error) if error.is_passing() => {
                    self.keep_pending_chunks()?;
                    return Err(error);
                }
                answer => answer?,
            };
            if self.replica.is_settled() && self.replica.aside().is_empty() {
                self.host.empty_outbox();
            }
            let pulled = self.pull(true)?;
            if sent > 0 || pulled > 0 || self.rescan.is_some() {
                continue;
            }
            if self.report.looks == 0 && !self.replica.is_settled() {
                // What hinders may be gone by now.
                self.rescan = Some(Look::Whole);
                continue;
            }
            let waits = !self.report.in_the_way.is_empty() || self.replica.unconfirmed().is_some();
            if self.trouble.is_some() || waits {
                return Ok(());
            }
            self.host.parts().disk.rest();
            let effects = self.replica.step(self.host.now_ms(), Input::Rested);
            if effects.is_empty() {
                return Ok(());
            }
            self.perform(effects)?;
        }
        // It never came to rest: what was in the way to the end is worth a word.
        if let Some(why) = self.changed.take() {
            self.trouble(RoundError::Blocked(why));
        }
        Ok(())
    }

    /// Tells how far it is, and ends here if it was told to.
    fn go_on(&mut self, step: Step) -> Result<(), RoundError> {
        self.host.progress(step);
        if self.host.is_stopped() { Err(RoundError::Stopped) } else { Ok(()) }
    }

    fn trouble(&mut self, trouble: impl Into<RoundError>) {
        let trouble = trouble.into();
        self.trouble.get_or_insert(trouble);
    }

    // --- records ----------------------------------------------------------------------------------------

    /// Pulls before the first look, so that what the log says already is not said again. False: nobody there.
    fn pull_at_first(&mut self) -> Result<bool, RoundError> {
        let forgotten =
            |problem: &Problem| matches!(problem.code, Code::TokenUnknown | Code::UnknownNamespace);
        let pulled = match self.pull(false) {
            Err(RoundError::Transport(TransportError::Refused(problem))) if forgotten(&problem) => {
                match self.show_key(problem.code) {
                    Ok(true) => self.pull(false),
                    Ok(false) => Err(TransportError::Refused(problem).into()),
                    Err(error) => Err(error),
                }
            }
            pulled => pulled,
        };
        match pulled {
            Ok(_) => Ok(true),
            Err(RoundError::Transport(error)) if error.is_passing() => {
                self.trouble(error);
                Ok(false)
            }
            // It is another server, or knows nothing of this device: what changed waits until a person has looked.
            Err(RoundError::Transport(TransportError::Refused(problem)))
                if matches!(problem.code, Code::TokenUnknown | Code::OtherLog) =>
            {
                self.trouble(RoundError::Stranger(problem.detail));
                Ok(false)
            }
            // Shut out: what changed here is still taken down, and refused one by one.
            Err(RoundError::Transport(TransportError::Refused(problem)))
                if problem.class() == Class::Forbidden =>
            {
                self.trouble(TransportError::Refused(problem));
                self.shut_out = true;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Fetches and folds records until there are no more; plans then if `plan`. Answers how many events came.
    fn pull(&mut self, plan: bool) -> Result<u64, RoundError> {
        if plan && self.shut_out {
            return Ok(0);
        }
        let before = self.replica.cursor().seq.0;
        let hand_backs = self.hand_backs;
        loop {
            let query = handback::query_after(self.replica.cursor());
            let namespace = self.replica.namespace();
            let answer = match self.host.parts().transport.records(namespace, &query) {
                Err(TransportError::Refused(problem))
                    if problem.code == Code::ChainMismatch && self.hand_backs < HAND_BACKS_MAX =>
                {
                    self.hand_backs += 1;
                    self.hand_back()?;
                    continue;
                }
                answer => answer?,
            };
            let mut records = Vec::with_capacity(answer.records.len());
            for bytes in answer.records {
                let record = Record::decode(bytes.into_vec())
                    .map_err(|error| RoundError::Lineage(error.to_string()))?;
                self.report.events_received += said_in(&record);
                records.push(Arc::new(record));
            }
            let nothing = records.is_empty();
            let back = self.back_again(&records);
            self.take_records(records)?;
            self.send_shown(&back)?;
            let seq = self.replica.cursor().seq;
            self.go_on(Step::Pulling { done: seq.0, of: answer.head.seq.0 })?;
            if nothing || seq >= answer.head.seq {
                break;
            }
        }
        if plan {
            let effects =
                self.replica.step(self.host.now_ms(), Input::Pulled { records: Vec::new(), caught_up: true });
            self.perform(effects)?;
        }
        // Places of a server that was put back are not those of before: something came, whatever they say.
        let came = self.replica.cursor().seq.0.saturating_sub(before);
        Ok(if self.hand_backs == hand_backs { came } else { came.max(1) })
    }

    fn take_records(&mut self, records: Vec<Arc<Record>>) -> Result<(), RoundError> {
        if records.is_empty() {
            return Ok(());
        }
        // Before they are durable: what was kept is folded at every start from then on.
        self.replica.check_lineage(&records).map_err(|why| match why {
            Strange::Stream(why) => RoundError::Lineage(why),
            Strange::Own(why) => RoundError::PutBack(why),
        })?;
        let records = self.host.keep(records)?;
        let effects = self.replica.step(self.host.now_ms(), Input::Pulled { records, caught_up: false });
        self.perform(effects)
    }

    // --- the folder ---------------------------------------------------------------------------------------

    /// What the version `dot` holds; none where that is withheld.
    fn content_of(&mut self, dot: Dot) -> Result<Option<Content>, StoreError> {
        content_of(self.replica, self.host.parts().records, dot)
    }

    // --- effects ------------------------------------------------------------------------------------------

    fn perform(&mut self, effects: Vec<Effect>) -> Result<(), RoundError> {
        for effect in effects {
            match effect {
                Effect::Persist(changes) => self.host.persist(&changes)?,
                // The queue is the replica's; it goes out when the round gets there.
                Effect::Submit(_) => {}
                Effect::Materialise(plan) => {
                    let ops = self.arranged(plan.ops);
                    self.materialise(&ops, plan.together)?;
                }
                Effect::Scan => self.rescan = Some(Look::Whole),
                // What an earlier effect wants more is not forgotten for this.
                Effect::Glance => drop(self.rescan.get_or_insert(Look::At(BTreeSet::new()))),
                Effect::Reopen => *self.replica = self.host.reopen()?,
                Effect::Notice(notice) => self.notice(notice)?,
            }
        }
        Ok(())
    }

    fn notice(&mut self, notice: Notice) -> Result<(), RoundError> {
        match notice {
            Notice::Vanishing(paths) => self.report.vanishing = paths,
            Notice::Unread(paths) => {
                let known: BTreeSet<&String> =
                    self.report.skipped.iter().map(|(path, _)| path).chain(&self.report.waiting).collect();
                let known = |path: &String| known.contains(path) || self.later.contains(path);
                let new: Vec<String> = paths.into_iter().filter(|path| !known(path)).collect();
                self.report.waiting.extend(new);
            }
            Notice::InTheWay(paths) => self.report.in_the_way = paths,
            Notice::Unsyncable(paths) => {
                self.report.skipped.extend(paths.into_iter().map(|(path, why)| (path, why.to_string())));
            }
            Notice::Blocked(blocked) => {
                // What waits for its event to be in the log is looked at again in this round.
                let waits = |why: &Blocked| {
                    (self.rescan.is_some() || self.content_lost) && matches!(why, Blocked::Content { .. })
                };
                if self.content_lost {
                    let paths = blocked.iter().filter(|why| waits(why)).map(|why| why.path().to_owned());
                    self.report.skipped.extend(paths.map(|path| (path, CONTENT_LOST.to_owned())));
                }
                self.changed = blocked.iter().find(|why| crate::replica::is_local_change(why)).cloned();
                let hard = blocked.into_iter().filter(|why| !crate::replica::is_local_change(why));
                let hard: Vec<Blocked> = hard.filter(|why| !waits(why)).collect();
                let words = hard.iter().map(|why| (why.path().to_owned(), why.to_string()));
                self.report.blocked.extend(words);
                if let Some(why) = hard.into_iter().next() {
                    self.trouble(RoundError::Blocked(why));
                }
            }
            Notice::Lineage(why) => return Err(RoundError::Lineage(why)),
            Notice::SetAside { events, why } => {
                self.report.set_aside += events.len();
                // More to the point than what led to it.
                let events = self.report.set_aside;
                self.trouble = Some(RoundError::SetAside { events, why });
            }
            Notice::Restless => return Err(RoundError::Restless),
        }
        Ok(())
    }

    /// The operations of a plan, those that write in the order in which somebody waits for them.
    fn arranged(&mut self, ops: Vec<DiskOp>) -> Vec<DiskOp> {
        let files = ops.iter().filter(|op| matches!(op, DiskOp::WriteFile { .. })).count();
        if files < 2 {
            return ops;
        }
        let ranking = self.ranking(files);
        let rank = |op: &DiskOp| match op {
            DiskOp::WriteFile { path, size, mtime_ns, .. } => ranking.of(path, *size, mtime_ns.unwrap_or(0)),
            // Nothing has to be fetched for it.
            op => ranking.of(op.path(), 0, 0),
        };
        self.replica.arrange(rank).map_or(ops, <[DiskOp]>::to_vec)
    }

    /// By what files are put in order, `files` of them.
    fn ranking(&mut self, files: usize) -> Ranking {
        let open = if files > FEW { self.host.open_now() } else { BTreeSet::new() };
        Ranking { now_ms: self.host.now_ms(), open, asked: self.wish.first.clone() }
    }

    /// Does what a plan says, some hundred operations at a time, and hands in how it went.
    fn materialise(&mut self, ops: &[DiskOp], together: usize) -> Result<(), RoundError> {
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut failed = None;
        let ops = if self.shut_out { &[] } else { ops };
        let (first, rest) = ops.split_at(together.min(ops.len()));
        // What takes long keeps nothing waiting that stands before it.
        let in_parts = rest.chunk_by(|one, next| !takes_long(one) && !takes_long(next));
        let in_groups = in_parts.flat_map(groups_of);
        let groups = std::iter::once(first).chain(in_groups).filter(|group| !group.is_empty());
        let mut files = Files { of: ops.len() as u64, of_bytes: written_by(ops), ..Files::default() };
        for group in groups {
            let path = group.iter().find(|op| matches!(op, DiskOp::WriteFile { .. })).or(group.first());
            files.path = path.map(|op| op.path().to_owned());
            self.host.progress(Step::Writing(files.clone()));
            match self.apply(group) {
                Ok(done) => outcomes.extend(done),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            (files.done, files.path) = (outcomes.len() as u64, None);
            files.bytes += written_by(group);
            if let Err(stopped) = self.go_on(Step::Writing(files.clone()))
                && outcomes.len() < ops.len()
            {
                failed = Some(stopped);
                break;
            }
        }
        self.report.ops += outcomes.len() as u64;
        let effects = self.replica.step(self.host.now_ms(), Input::Materialised { outcomes });
        if let Some(error) = failed {
            // What was done is taken down first; plans that follow would meet the same disk.
            let persisted: Vec<Effect> =
                effects.into_iter().take_while(|e| !matches!(e, Effect::Materialise(_))).collect();
            self.perform(persisted)?;
            return Err(error);
        }
        self.perform(effects)
    }

    fn apply(&mut self, ops: &[DiskOp]) -> Result<Vec<crate::disk::Outcome>, RoundError> {
        let mut contents = BTreeMap::new();
        let mut order = Vec::new();
        let sources = self.sources_of(ops);
        for op in ops {
            let DiskOp::WriteFile { path, content, .. } = op else { continue };
            if !contents.contains_key(content) {
                let head = self.replica.at_work_on(path).and_then(|node| node.head);
                let whole = head.map(|head| self.content_of(head)).transpose()?.flatten();
                contents.extend(whole.filter(|whole| whole.id == *content).map(|whole| (*content, whole)));
            }
            order.push(*content);
        }
        let namespace = self.replica.namespace();
        let parts = self.host.parts();
        let ways = (parts.transport, parts.outbox, parts.lists);
        let mut fetcher = Fetcher::new(namespace, ways, contents, &order, sources);
        let outcomes = parts.disk.apply(ops, &mut fetcher);
        let (chunks, trouble) = fetcher.finish();
        self.report.chunks_received += chunks;
        match (outcomes, trouble) {
            // Without its content a file is blocked; the reason is the round's.
            (Ok(outcomes), None) => Ok(outcomes),
            (Ok(outcomes), Some(trouble)) => {
                // What was just saved here can be fetched once its event is in the log.
                if trouble.is_unknown_chunk() && self.replica.pending().next().is_some() {
                    self.rescan = Some(Look::Whole);
                // No epoch tells of a server that lost no record of its own.
                } else if trouble.is_unknown_chunk()
                    && (self.replica.cursor().epoch > 0 || self.report.server_put_back)
                {
                    self.content_lost = true;
                } else {
                    self.trouble(trouble);
                }
                Ok(outcomes)
            }
            (Err(error), _) => Err(RoundError::Disk(error)),
        }
    }
}

/// What the version `dot` holds, by the record or the pending batch that made it; none where that is withheld.
///
/// # Errors
/// [`StoreError`] where the record cannot be read.
pub fn content_of(
    replica: &Replica,
    records: &dyn KeptRecords,
    dot: Dot,
) -> Result<Option<Content>, StoreError> {
    Ok(body_of(replica, records, dot)?.and_then(|body| body.content))
}

/// The body of the event `dot`.
///
/// # Errors
/// [`StoreError`] where the record cannot be read.
pub fn body_of(
    replica: &Replica,
    records: &dyn KeptRecords,
    dot: Dot,
) -> Result<Option<annals_events::Body>, StoreError> {
    let damaged = |what: String| StoreError::Damaged { what };
    if let Some((batch, index)) = replica.pending_batch(dot) {
        return batch.body(index).map_err(|error| damaged(error.to_string()));
    }
    let Some((position, index)) = replica.log().locate(dot) else { return Ok(None) };
    records.at(position)?.batch().body(index).map_err(|error| damaged(error.to_string()))
}

/// By what files are put in order.
struct Ranking {
    now_ms: u64,
    open: BTreeSet<String>,
    asked: Vec<String>,
}

impl Ranking {
    fn of(&self, path: &str, size: u64, touched_ns: i64) -> Rank {
        let touched_ms = u64::try_from(touched_ns / 1_000_000).unwrap_or(0);
        let file = Waiting { path, size, touched_ms, open: self.open.contains(path) };
        Rank::of(file, self.now_ms, &self.asked)
    }
}

fn takes_long(op: &DiskOp) -> bool {
    matches!(op, DiskOp::WriteFile { size, .. } if is_long(*size))
}

/// Operations in groups.
fn groups_of(ops: &[DiskOp]) -> impl Iterator<Item = &[DiskOp]> {
    let (mut count, mut bytes) = (0, written_by(&ops[..ops.len().min(1)]));
    ops.chunk_by(move |_, next| {
        (count, bytes) = (count + 1, bytes + written_by(std::slice::from_ref(next)));
        let goes_on = count < OPS_PER_GROUP && bytes <= OPS_BYTES;
        if !goes_on {
            (count, bytes) = (0, written_by(std::slice::from_ref(next)));
        }
        goes_on
    })
}

/// What operations write, in bytes.
fn written_by(ops: &[DiskOp]) -> u64 {
    ops.iter().map(|op| if let DiskOp::WriteFile { size, .. } = op { *size } else { 0 }).sum()
}

/// How many events of a record say more than how far a device is.
fn said_in(record: &Record) -> u64 {
    record.batch().events().iter().filter(|event| !is_acknowledgement(&event.fact)).count() as u64
}

impl From<DiskError> for RoundError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}
