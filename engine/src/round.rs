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

mod begun;
mod delivery;
mod fetch;
mod glance;
mod handback;
mod host;
mod lists;
mod look;
mod materialise;
mod outbox;
mod report;
mod send;
mod sending;
mod sift;
mod sources;
mod submit;

pub use crate::watch::Look;
pub use begun::Begun;
pub use fetch::Fetcher;
pub use host::{FileRead, FileToRead, Host, KeptRecords, Parts, StoreError, Take, Turns, Unreadable};
pub use lists::{Lists, MemoryLists};
pub use outbox::left_to_send;
pub use report::{Files, Report, RoundError, Step};
pub use send::missing;
pub use sift::scan;
pub use sources::{OldFile, Sources};

use crate::{
    disk::{Blocked, Disk as _, DiskError},
    protocol::{Class, Code, Problem},
    replica::{Effect, Input, Notice, Replica, Strange, is_acknowledgement},
    transport::TransportError,
};
use annals_events::{Content, ContentId, Dot, Record};
use sending::Sending;

use std::{collections::BTreeSet, sync::Arc};

/// What the caller decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// How much of the folder to look at.
    pub look: Look,
    /// Things that vanish are waited for: somebody may be at it, and there will be another round.
    pub patient: bool,
    /// A person said that many entries vanished on purpose.
    pub accept_deletes: bool,
    /// A person wants back what vanished: nothing is said of that.
    pub keep_missing: bool,
    /// Paths that somebody asked for by name: they go first.
    pub first: Vec<String>,
}

/// How often a round goes around at most: each time something came up that was not there before.
const TURNS_MAX: usize = 32;
/// Why a file is not written whose content a server lost.
const CONTENT_LOST: &str = "the server lost its content: it comes once a device that has it syncs";
/// How often a server may lose state while a round is at work.
const HAND_BACKS_MAX: usize = 8;

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
        given: BTreeSet::new(),
        stale_refusals: 0,
        hand_backs: 0,
        changed: None,
        put_off: false,
        owes_look: false,
        later: BTreeSet::new(),
        little_waits: false,
        tried: BTreeSet::new(),
        gave_way: false,
        is_first_look: true,
        is_looking: false,
        receives_later: false,
        sends_later: false,
        sent_before: 0,
        other_waits: false,
        reading: Files::default(),
        read_before: (0, 0),
        read_later: (0, 0),
        sending: Sending::default(),
    };
    let result = round.run();
    round.report.owes_look = round.owes_look || round.rescan.is_some();
    if matches!(result, Err(RoundError::GaveWay)) && round.report.put_off.is_none() {
        round.report.put_off = Some(Look::Whole);
    }
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
    /// Some content that was on the server is not there any more.
    content_lost: bool,
    /// What was given to a server that lost it.
    given: BTreeSet<ContentId>,
    /// How often something was sent again that was refused for what the server had lost.
    stale_refusals: usize,
    /// How often a server was given what it lost.
    hand_backs: usize,
    /// What was not what the last look at the folder had found.
    changed: Option<Blocked>,
    /// Whether some files had to wait once until those were sent that somebody waits for.
    put_off: bool,
    /// Whether a look was begun and not handed in.
    owes_look: bool,
    /// Files that wait for one that takes long, or for what goes before it.
    later: BTreeSet<String>,
    /// Whether some of them do not take long.
    little_waits: bool,
    /// Those that were read as a whole in this round, and did not rest.
    tried: BTreeSet<String>,
    /// Something waits for this round to end.
    gave_way: bool,
    /// Whether nothing was looked at yet: what takes long comes after what is to be received.
    is_first_look: bool,
    /// Whether what is found is not said yet.
    is_looking: bool,
    /// Whether something that is to be received waits for what is sent.
    receives_later: bool,
    /// Whether something that was signed waits for its turn to be sent.
    sends_later: bool,
    /// How many bytes of it were sent in this round before.
    sent_before: u64,
    /// Whether what moves may be interrupted for the other direction.
    other_waits: bool,
    /// How far the reading of files is.
    reading: Files,
    /// How many files were read in this round before, and their bytes.
    read_before: (u64, u64),
    /// How many wait for their turn, and their bytes.
    read_later: (u64, u64),
    /// Chunks that are on their way to the server.
    sending: Sending,
}

impl<H: Host> Round<'_, H> {
    fn run(&mut self) -> Result<(), RoundError> {
        self.tell_own_doing()?;
        let online = self.pull_at_first()?;
        if online && self.replica.has_lost_texts() {
            let effects = self.replica.step(self.host.now_ms(), Input::ForgetAside);
            self.perform(effects)?;
        }
        self.sends_later = online && self.has_outgoing()?;
        let mut turns = 0;
        while turns < TURNS_MAX {
            // Files that wait for their turn are no sign that it does not come to an end.
            turns += usize::from(self.later.is_empty() && !self.sends_later);
            self.is_looking = online;
            if let Some(look) = self.rescan.take() {
                self.owes_look = true;
                self.look_or_keep(&look, online)?;
                self.owes_look = false;
            }
            if !online {
                if self.gave_way {
                    return self.leave_rest();
                }
                if self.rescan.is_some() && turns == 1 {
                    continue; // To look at some of the folder was not enough.
                }
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
            self.is_looking = false;
            let pulled = self.pull(true)?;
            if self.gave_way {
                return self.leave_rest();
            }
            if sent > 0 || pulled > 0 || self.rescan.is_some() || self.sends_later {
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

    /// Looks at the folder. Where a server is there and has no room, what changed is taken down here, as without one.
    fn look_or_keep(&mut self, look: &Look, online: bool) -> Result<(), RoundError> {
        let is_full = |problem: &Problem| matches!(problem.code, Code::LogFull | Code::LogUnavailable);
        match self.look(look, online) {
            Err(RoundError::Transport(TransportError::Refused(problem))) if online && is_full(&problem) => {
                self.sending.abandon();
                (self.surveyed, self.read_before, self.read_later) = (false, (0, 0), (0, 0));
                self.look(look, false)?;
                self.owes_look = false;
                Err(TransportError::Refused(problem).into())
            }
            looked => looked,
        }
    }

    /// Tells how far it is, and ends here if it was told to.
    fn go_on(&mut self, step: Step) -> Result<(), RoundError> {
        self.host.progress(step);
        if self.host.is_stopped() { Err(RoundError::Stopped) } else { Ok(()) }
    }

    /// Something goes before the rest: the next round goes on with that.
    fn leave_rest(&mut self) -> Result<(), RoundError> {
        let later = std::mem::take(&mut self.later);
        self.report.put_off = Some(Look::At(later).and(self.rescan.take().unwrap_or(Look::Nowhere)));
        Err(RoundError::GaveWay)
    }

    /// What moved was interrupted: for good, for another round, or for the other direction.
    fn give_way(&mut self) -> Result<(), RoundError> {
        if self.host.is_stopped() {
            return Err(RoundError::Stopped);
        }
        self.gave_way |= self.host.others_wait() || !self.other_waits;
        Ok(())
    }

    /// What moves from now on goes in one direction; whether something waits to go in the other.
    fn turn_to(&mut self, other_waits: bool) {
        self.other_waits = other_waits;
        self.host.turn_to(other_waits);
    }

    /// How many bytes go together.
    fn window(&mut self) -> u64 {
        self.host.parts().transport.window()
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
            // Nobody that the device would listen to is there.
            Err(RoundError::Transport(error))
                if error.is_passing() || !matches!(error, TransportError::Refused(_)) =>
            {
                self.trouble(error);
                Ok(false)
            }
            // It is another server, or knows nothing of this device: what changed waits until a person has looked.
            Err(RoundError::Transport(TransportError::Refused(problem)))
                if matches!(problem.code, Code::TokenUnknown | Code::OtherLog) =>
            {
                self.trouble(RoundError::Stranger {
                    namespace: self.replica.namespace(),
                    why: problem.detail,
                });
                Ok(false)
            }
            // A device no more: what changed is kept until the folder is another one's.
            Err(RoundError::Transport(TransportError::Refused(problem))) if problem.code.is_of_retired() => {
                self.trouble(TransportError::Refused(problem));
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
        let wanted = loop {
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
                let record = Record::decode(bytes.into_vec()).map_err(|error| self.lineage(error))?;
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
                break answer.wanted;
            }
        };
        if plan {
            // After a look at the folder: it may have been moved.
            self.give_wanted(wanted.into_iter().collect())?;
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
            Strange::Stream(why) => self.lineage(why),
            Strange::Own(why) => self.put_back(why),
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
                Effect::Reopen => self.reopen()?,
                Effect::Notice(notice) => self.notice(notice)?,
            }
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), RoundError> {
        let mut reopened = self.host.reopen()?;
        reopened.goes_on_from(self.replica);
        *self.replica = reopened;
        Ok(())
    }

    /// What the server says is not what it said before.
    fn lineage(&self, why: impl ToString) -> RoundError {
        RoundError::Lineage { namespace: self.replica.namespace(), why: why.to_string() }
    }

    /// This device is not where it was.
    fn put_back(&self, why: String) -> RoundError {
        RoundError::PutBack { namespace: self.replica.namespace(), device: self.replica.device(), why }
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
                self.report.blocked.extend(hard.iter().cloned());
                if let Some(why) = hard.into_iter().next() {
                    self.trouble(RoundError::Blocked(why));
                }
            }
            Notice::Lineage(why) => return Err(self.lineage(why)),
            Notice::SetAside { events, why } => {
                self.report.set_aside += events.len();
                // More to the point than what led to it.
                let events = self.report.set_aside;
                let namespace = self.replica.namespace();
                self.trouble = Some(RoundError::SetAside { namespace, events, why });
            }
            Notice::Restless => return Err(RoundError::Restless),
        }
        Ok(())
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
    let damaged = |what: String| StoreError::Damaged { place: format!("the event {dot}"), what };
    if let Some((batch, index)) = replica.pending_batch(dot) {
        return batch.body(index).map_err(|error| damaged(error.to_string()));
    }
    let Some((position, index)) = replica.log().locate(dot) else { return Ok(None) };
    records.at(position)?.batch().body(index).map_err(|error| damaged(error.to_string()))
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
