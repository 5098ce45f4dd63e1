//! Keeping a folder in sync: a round whenever something happened, and an ear for other verbs.
//!
//! ```text
//!   the kernel's hints ─► gathered ─┐
//!   heads on the feed ──────────────┼─► round ─► sleep until the next of them
//!   trying again, a rare look ──────┘
//! ```
//!
//! When the next round is, and what it looks at, the engine's [`Vigil`] says; here that is done. One thread does rounds,
//! another answers on the control socket; they take turns with the folder, and a round that moves much ends between two
//! pieces when a verb waits, something was saved, or something came. A server that cannot be reached is tried again
//! after a while that grows; what changes meanwhile is journaled. Nothing is done while nothing happens.

use super::{
    Address, ClientError, Folder, Progress, STATE_FOLDER, State, Status, SyncReport,
    bell::{Bell, Woken},
    control::{Answer, ControlSocket, Request},
    folder::LeftOpen,
    guarding,
    host::Doing,
    listening::Listening,
    watching::Watching,
};
use crate::{clock::Stopwatch, disk::free_bytes};
use annals_engine::{
    flow::Others,
    ignore::RULES_FILE,
    round::RoundError,
    transport::TransportError,
    vigil::{self, Covered, Ended, Event, Next, Trouble, Vigil},
    watch::Look,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

/// For so long a verb waits for what follows from it.
const SOON: Duration = Duration::from_secs(2);

/// Tells a daemon to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Bell);

impl Stop {
    /// From now on.
    pub fn now(&self) {
        self.0.stop();
    }

    fn is_set(&self) -> bool {
        self.0.is_stopped()
    }

    /// Waits for `time`, or until it is to end. True: end.
    pub(super) fn pause(&self, time: Duration) -> bool {
        self.0.pause(time)
    }
}

/// What a daemon says to those who ask.
#[derive(Clone, Copy)]
pub struct Answers {
    /// Runs a verb on the folder.
    pub verb: fn(&Request, &mut Folder) -> Answer,
    /// The answer while the folder, which is there, is at a round; `None`: who asks waits for its end.
    pub meanwhile: fn(&Request, &Path) -> Option<Answer>,
}

/// Something worth telling about a daemon's work.
#[derive(Debug)]
pub enum News<'a> {
    /// Everything was exchanged for the first time.
    InSync(&'a Status),
    /// The folder cannot be watched: why, and what is done instead.
    Unwatched(&'a str),
    /// A round did not get everything done: why, where that is new, and how the folder stands for it.
    Trouble(ClientError, &'a Status),
    /// Somebody had lost state, and it is there again.
    StateLost(SyncReport),
    /// And now one did.
    Recovered,
}

/// Keeps `folder` in sync until `stop`; answers with how it stood then. `tell` takes what is worth telling.
///
/// # Errors
/// [`ClientError::Folder`] where the control socket cannot be opened; what [`is_replaced`](ClientError::is_replaced)
/// where the folder or its state was removed or replaced.
pub fn run(
    folder: Folder,
    answers: Answers,
    tell: &mut dyn FnMut(News<'_>),
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<State, ClientError> {
    let root = folder.root().to_owned();
    let state = root.join(STATE_FOLDER);
    let failed = |source| ClientError::Folder { folder: root.clone(), source };
    let socket = Arc::new(ControlSocket::open(&state).map_err(failed)?);
    // Whoever linked it may have had another list, or none.
    super::linked::note(&root);
    let mut folder = folder;
    folder.kept = true;
    let folder = Arc::new(Mutex::new(folder));
    let ear = listen(socket.clone(), folder.clone(), answers, root.clone(), stop.0.clone());
    let mut work = Work {
        folder: &folder,
        root: &root,
        stop,
        watching: Watching::NotYet,
        listening: None,
        since: Stopwatch::start(),
        vigil: Vigil::new(u64::from(std::process::id())),
        told: Told { nothing: true, trouble: None, is_offline: false },
    };
    let kept = work.keep(tell, progress);
    drop(work);
    // The folder is free, and nobody finds a socket, once this returns.
    socket.close();
    drop(ear.join());
    kept?;
    let state = held(&folder).state();
    Ok(state)
}

fn held(folder: &Mutex<Folder>) -> MutexGuard<'_, Folder> {
    folder.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that does rounds.
struct Work<'a> {
    folder: &'a Mutex<Folder>,
    root: &'a Path,
    stop: &'a Stop,
    watching: Watching,
    /// Where the feed is listened to, and who does.
    listening: Option<(Address, Option<Listening>)>,
    /// The clock that [`Vigil`] goes by.
    since: Stopwatch,
    vigil: Vigil,
    told: Told,
}

/// What was told of the work so far.
struct Told {
    /// Nothing: no round got everything done yet.
    nothing: bool,
    /// What went wrong, if that was the last thing.
    trouble: Option<String>,
    /// Whether that was that the server is not there.
    is_offline: bool,
}

/// What a round looks at, and what is known before it.
struct Wake {
    look: Look,
    /// Where folders came.
    came: BTreeSet<String>,
    /// Why the server is not there, or does not talk to this device, as the feed has it.
    lost: Option<TransportError>,
}

impl Work<'_> {
    fn keep(
        &mut self,
        tell: &mut dyn FnMut(News<'_>),
        progress: &mut dyn Progress,
    ) -> Result<(), ClientError> {
        let mut wake = Wake { look: Look::Whole, came: BTreeSet::new(), lost: None };
        while !self.stop.is_set() {
            self.listen();
            // Before the look: what comes after it is hinted at.
            let was_watched = self.watching.hindrance().is_none();
            let whole = self.cover(&wake.came);
            if let Some(why) = self.watching.hindrance().filter(|_| was_watched) {
                tell(News::Unwatched(why));
            }
            let look_every_ms = in_ms(self.watching.next_look());
            let covered = Covered { whole, came: !wake.came.is_empty(), look_every_ms };
            let look = self.vigil.begin(self.now_ms(), wake.look, covered);
            if let Some(why) = wake.lost {
                self.lose(why, tell);
            }
            let Some(next) = self.round(look, tell, progress)? else { return Ok(()) };
            match self.wait(next) {
                Some(next) => wake = next,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Listens where the server is by now.
    fn listen(&mut self) {
        let folder = held(self.folder);
        let address = folder.binding().address();
        if !self.listening.as_ref().is_some_and(|(at, _)| *at == address) {
            self.listening = Some((address, folder.listen(&self.stop.0)));
        }
    }

    fn now_ms(&self) -> u64 {
        in_ms(self.since.elapsed())
    }

    /// Watches what is to be watched. True: everything is to be looked at.
    fn cover(&mut self, came: &BTreeSet<String>) -> bool {
        let folder = held(self.folder);
        self.watching.cover(self.root, came, &|path| folder.passes_by_now(path), &self.stop.0)
    }

    /// Leaves out what is ignored; other rules make it necessary to look at everything.
    fn sifted(&mut self, due: Look) -> Look {
        let Look::At(mut paths) = due else { return due };
        if paths.iter().any(|path| path.rsplit('/').next() == Some(RULES_FILE)) {
            self.watching.forget();
            return Look::Whole;
        }
        let folder = held(self.folder);
        paths.retain(|path| !folder.passes_by(path));
        if paths.is_empty() { Look::Nowhere } else { Look::At(paths) }
    }

    /// The feed is gone, and nobody is there to take it up again: that is said before a round that may take long to
    /// find out as much.
    fn lose(&mut self, why: TransportError, tell: &mut dyn FnMut(News<'_>)) {
        if self.told.trouble.is_some() || !why.is_passing() {
            return;
        }
        let mut folder = held(self.folder);
        folder.lose(why.clone());
        let error = ClientError::from(RoundError::from(why));
        (self.told.trouble, self.told.is_offline) = (Some(error.to_string()), true);
        tell(News::Trouble(error, &folder.status()));
    }

    /// One round; what follows. None: it was told to end.
    fn round(
        &mut self,
        look: Look,
        tell: &mut dyn FnMut(News<'_>),
        progress: &mut dyn Progress,
    ) -> Result<Option<Next>, ClientError> {
        self.stop.0.give_way();
        let mut folder = held(self.folder);
        folder.note_watch(self.watching.hindrance());
        let mut unwatched = ();
        let watching: &mut dyn Progress = if self.told.nothing { &mut *progress } else { &mut unwatched };
        let result = folder.sync_after(look, &mut UntilStopped { watching, stop: self.stop });
        progress.rest();
        if self.stop.is_set() {
            return Ok(None);
        }
        let ended = if matches!(&result, Err(ClientError::Round(RoundError::GaveWay))) {
            Ended::GaveWay(folder.take_left())
        } else {
            self.stop.0.rest();
            // Nothing is done with what somebody else put there, or left of it.
            if let Err(error) = &result
                && error.is_replaced()
            {
                guarding::mark_copy(self.root, folder.binding().device);
                return result.map(|_| None);
            }
            self.take_result(result, &mut folder, tell)
        };
        let step = self.vigil.step(self.now_ms(), Event::Ended(ended));
        if step.note {
            folder.note_standing();
        }
        Ok(Some(step.next))
    }

    /// Takes what a round came to that did not give way; what is worth telling of it is told.
    fn take_result(
        &mut self,
        result: Result<SyncReport, ClientError>,
        folder: &mut Folder,
        tell: &mut dyn FnMut(News<'_>),
    ) -> Ended {
        let (trouble, owes_look) = match &result {
            Ok(report) => {
                if report.server_put_back || report.renewed {
                    tell(News::StateLost(*report));
                }
                (Trouble::Nothing, false)
            }
            Err(error) => (trouble(error, self.root), owes_look(error, folder)),
        };
        // The folder itself may be gone, or another one in its place.
        if matches!(&result, Err(ClientError::Round(RoundError::Disk(_)))) {
            self.watching.forget();
        }
        let is_news = self.told.tell(result.map(drop), folder, tell);
        Ended::AtRest { trouble, owes_look, unfinished: folder.wants_look(), is_news }
    }

    /// Sleeps until there is something to do. None: end.
    fn wait(&mut self, mut next: Next) -> Option<Wake> {
        let (mut came, mut lost) = (BTreeSet::new(), None);
        loop {
            let until_ms = match next {
                Next::Look(look) => return Some(Wake { look, came, lost }),
                Next::Sleep { until_ms } => until_ms,
            };
            let time = Duration::from_millis(until_ms.saturating_sub(self.now_ms()));
            let mut woken = self.stop.0.wait(time);
            if woken.stopped {
                return None;
            }
            (came, lost) = (std::mem::take(&mut woken.came), woken.lost.clone());
            let seen = self.see(woken);
            let step = self.vigil.step(self.now_ms(), Event::Woken(seen));
            if step.note {
                let mut folder = held(self.folder);
                folder.note_standing();
                folder.keep_checkpoint();
            }
            next = step.next;
            let sleeps_on = matches!(next, Next::Sleep { .. });
            if sleeps_on && self.vigil.minds_place() && !held(self.folder).is_in_place() {
                next = self.vigil.step(self.now_ms(), Event::Gone).next;
            }
        }
    }

    /// What there is to be seen when it is woken; what others want to be kept in mind is.
    fn see(&mut self, woken: Woken) -> vigil::Woken {
        let mut folder = held(self.folder);
        if !woken.closed.is_empty() {
            // Who closed these files may have written to them without a trace in their times.
            folder.replica.doubt(&woken.closed);
            folder.ahead.doubt(&woken.closed);
        }
        if woken.asked {
            folder.owe_word();
        }
        // What this device said itself comes back on the feed.
        let news = woken.head.is_some_and(|head| !folder.is_at(head));
        drop(folder);
        let is_passing = woken.lost.as_ref().map(TransportError::is_passing);
        let is_short = self.vigil.is_short_of_room();
        vigil::Woken {
            reached: woken.reached,
            lost: is_passing == Some(true),
            refused: is_passing == Some(false),
            asked: woken.asked,
            nudged: woken.nudged,
            news,
            hinted: woken.due.map_or(Look::Nowhere, |due| self.sifted(due)),
            free_bytes: if is_short { free_bytes(self.root) } else { None },
        }
    }
}

impl Told {
    /// Tells how a round went, if that is worth it. True: something is wrong, or is no more.
    fn tell(
        &mut self,
        result: Result<(), ClientError>,
        folder: &mut Folder,
        tell: &mut dyn FnMut(News<'_>),
    ) -> bool {
        let trouble = result.as_ref().err().map(ToString::to_string);
        let is_offline = result.as_ref().is_err_and(ClientError::is_passing);
        match result {
            Ok(()) if self.nothing => tell(News::InSync(&folder.status())),
            Ok(()) if self.trouble.is_some() => tell(News::Recovered),
            Err(error) if trouble != self.trouble && !(is_offline && self.is_offline) => {
                tell(News::Trouble(error, &folder.status()));
            }
            _ => {}
        }
        let is_news = trouble.is_some() || self.trouble.is_some();
        self.nothing &= trouble.is_some();
        (self.trouble, self.is_offline) = (trouble, is_offline);
        is_news
    }
}

/// What that means for the next round.
fn trouble(error: &ClientError, root: &Path) -> Trouble {
    match error {
        ClientError::Round(RoundError::Paused) => Trouble::Pause,
        error => Trouble::Failure {
            asked_wait_ms: error.asked_wait_ms(),
            short_of_room: if error.is_full() { free_bytes(root) } else { None },
        },
    }
}

/// Whether what was hinted at may not have been looked at.
fn owes_look(error: &ClientError, folder: &Folder) -> bool {
    match error {
        // What these are about was found by the look.
        ClientError::Round(RoundError::InTheWay(_) | RoundError::Blocked(_)) => false,
        // Where nobody is reached, the look is done all the same; not where they are lost in the middle of it.
        error => !error.is_passing() || folder.owes_look(),
    }
}

fn in_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Ends a round that is at work when the daemon is told to end.
struct UntilStopped<'a> {
    watching: &'a mut dyn Progress,
    stop: &'a Stop,
}

impl Progress for UntilStopped<'_> {
    fn step(&mut self, doing: &Doing) {
        self.watching.step(doing);
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    fn stop(&self) -> Option<Stop> {
        Some(self.stop.clone())
    }

    fn others(&self) -> Others {
        self.stop.0.others()
    }
}

/// Runs a verb between two rounds, or two pieces of what moves. What takes long of it is the daemon's: who waits for that
/// is answered when a round did it.
fn ask(request: &Request, folder: &Mutex<Folder>, answers: Answers, bell: &Bell) -> Answer {
    loop {
        let rests = bell.rests();
        let (answer, left_open) = {
            let _queued = bell.queue();
            let mut folder = held(folder);
            let answer = (answers.verb)(request, &mut folder);
            (answer, folder.take_left_open())
        };
        if left_open.is_some() {
            bell.nudge();
        }
        match left_open {
            None | Some(LeftOpen::Follows) => return answer,
            Some(LeftOpen::Soon) => {
                bell.wait_for_rest(rests, SOON);
                return answer;
            }
            Some(LeftOpen::Awaited) if bell.wait_for_rest(rests, Duration::MAX) => {}
            Some(LeftOpen::Awaited) => return answer,
        }
    }
}

/// Answers on the socket until it is closed.
fn listen(
    socket: Arc<ControlSocket>,
    folder: Arc<Mutex<Folder>>,
    answers: Answers,
    root: PathBuf,
    bell: Bell,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        socket.serve(|request| {
            let answer = match folder.try_lock() {
                Err(TryLockError::WouldBlock) => (answers.meanwhile)(&request, &root),
                _ => None,
            };
            answer.unwrap_or_else(|| ask(&request, &folder, answers, &bell))
        });
    })
}
