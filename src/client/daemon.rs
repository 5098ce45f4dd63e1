//! Keeping a folder in sync: a round whenever something happened, and an ear for other verbs.
//!
//! ```text
//!   the kernel's hints ─► gathered ─┐
//!   heads on the feed ──────────────┼─► round ─► sleep until the next of them
//!   trying again, a rare look ──────┘
//! ```
//!
//! One thread does rounds, another answers on the control socket; they take turns with the folder, and a round that moves
//! much ends between two pieces when a verb waits, something was saved, or something came. A server
//! that cannot be reached is tried again after a while that grows; what changes meanwhile is journaled. Nothing
//! is done while nothing happens.

use super::{
    ClientError, Folder, Progress, STATE_FOLDER, State, Status, SyncReport,
    bell::{Bell, Woken},
    control::{Answer, ControlSocket, Request},
    folder::LeftOpen,
    guarding,
    host::Doing,
    watching::Watching,
};
use crate::{clock::Stopwatch, disk::free_bytes};
use annals_engine::{
    flow::Others, ignore::RULES_FILE, retry, round::RoundError, transport::TransportError, watch::Due,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

/// When nothing happened for so long, how the folder stands is written down.
const PAUSE: Duration = Duration::from_secs(1);
/// For so long a verb waits for what follows from it.
const SOON: Duration = Duration::from_secs(2);
/// How often it is asked whether the folder is still where it was, while nothing happens.
const PLACE: Duration = Duration::from_secs(10);

/// How often it is asked whether there is room again on a disk that was full, and how much more has to be free for a round.
const ROOM: Duration = Duration::from_secs(2);
const ROOM_BYTES: u64 = 1 << 20;

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
    let listening = held(&folder).listen(&stop.0);
    let mut work = Work {
        folder: &folder,
        root: &root,
        stop,
        watching: Watching::NotYet,
        failures: 0,
        asked_wait_ms: None,
        last: None,
        short_of_room: None,
        offline: false,
        lost: None,
        left: None,
        first: true,
        came_lately: false,
        unfinished: None,
        noted: true,
        owes_look: false,
    };
    let kept = work.keep(tell, progress);
    drop(listening);
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
    /// Rounds that failed in a row.
    failures: u32,
    /// How long the server asked to be left alone.
    asked_wait_ms: Option<u64>,
    /// What the last one said.
    last: Option<String>,
    /// How many bytes were free after it, if that was that the disk is full.
    short_of_room: Option<u64>,
    /// Whether that was that the server is not there.
    offline: bool,
    /// Why the server is not there, or does not talk to this device, as the feed has it.
    lost: Option<TransportError>,
    /// Where the next round goes on, for this one gave way.
    left: Option<Due>,
    /// None did everything yet.
    first: bool,
    /// Folders came: hints from below them may have had the names that those had before.
    came_lately: bool,
    /// What has to be looked at again though nothing hints at it, and how often in a row it was that.
    unfinished: Option<(Due, u32)>,
    /// Whether how the folder stands is written down.
    noted: bool,
    /// Whether the last one may have ended before it looked at what was hinted at.
    owes_look: bool,
}

impl Work<'_> {
    fn keep(
        &mut self,
        tell: &mut dyn FnMut(News<'_>),
        progress: &mut dyn Progress,
    ) -> Result<(), ClientError> {
        let (mut look, mut came) = (Due::Whole, BTreeSet::new());
        let mut looked = Stopwatch::start();
        while !self.stop.is_set() {
            // Before the look: what comes after it is hinted at.
            let was_watched = self.watching.hindrance().is_none();
            if self.cover(&came) || self.owes_look {
                look = Due::Whole;
            }
            if let Some(why) = self.watching.hindrance().filter(|_| was_watched) {
                tell(News::Unwatched(why));
            }
            // Seen by a look that began after they were watched under the names that they have now.
            self.came_lately = !came.is_empty() || self.came_lately && look != Due::Whole;
            if look == Due::Whole {
                looked = Stopwatch::start();
            }
            if let Some(why) = self.lost.take() {
                self.lose(why, tell);
            }
            if !self.round(look, tell, progress)? {
                return Ok(());
            }
            let next_look = self.watching.next_look().saturating_sub(looked.elapsed());
            match self.wait(next_look) {
                Some((next, folders)) => (look, came) = (next, folders),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Watches what is to be watched. True: everything is to be looked at.
    fn cover(&mut self, came: &BTreeSet<String>) -> bool {
        let folder = held(self.folder);
        self.watching.cover(self.root, came, &|path| folder.passes_by_now(path), &self.stop.0)
    }

    /// Leaves out what is ignored; other rules make it necessary to look at everything. None: nothing is left.
    fn sifted(&mut self, due: Due) -> Option<Due> {
        let Due::At(mut paths) = due else { return Some(due) };
        if paths.iter().any(|path| path.rsplit('/').next() == Some(RULES_FILE)) {
            self.watching.forget();
            return Some(Due::Whole);
        }
        let folder = held(self.folder);
        paths.retain(|path| !folder.passes_by(path));
        (!paths.is_empty()).then_some(Due::At(paths))
    }

    /// The feed is gone, and nobody is there to take it up again: that is said before a round that may take long to
    /// find out as much.
    fn lose(&mut self, why: TransportError, tell: &mut dyn FnMut(News<'_>)) {
        if self.last.is_some() || !why.is_passing() {
            return;
        }
        let mut folder = held(self.folder);
        folder.lose(why.clone());
        let error = ClientError::from(RoundError::from(why));
        (self.last, self.offline) = (Some(error.to_string()), true);
        tell(News::Trouble(error, &folder.status()));
    }

    /// One round. False: it was told to end.
    fn round(
        &mut self,
        look: Due,
        tell: &mut dyn FnMut(News<'_>),
        progress: &mut dyn Progress,
    ) -> Result<bool, ClientError> {
        self.stop.0.give_way();
        let mut folder = held(self.folder);
        folder.note_watch(self.watching.hindrance());
        let mut unwatched = ();
        let watching: &mut dyn Progress = if self.first { &mut *progress } else { &mut unwatched };
        let result = folder.sync_after(look, &mut UntilStopped { watching, stop: self.stop });
        progress.rest();
        if self.stop.is_set() {
            return Ok(false);
        }
        if matches!(&result, Err(ClientError::Round(RoundError::GaveWay))) {
            (self.left, self.failures) = (folder.take_left(), 0);
            folder.note_standing();
            return Ok(true);
        }
        self.stop.0.rest();
        let result = match result {
            // Nothing is done with what somebody else put there, or left of it.
            Err(error) if error.is_replaced() => {
                guarding::mark_copy(self.root, folder.binding().device);
                return Err(error);
            }
            result => result,
        };
        let now = result.as_ref().err().map(ToString::to_string);
        // The folder itself may be gone, or another one in its place.
        if matches!(&result, Err(ClientError::Round(RoundError::Disk(_)))) {
            self.watching.forget();
        }
        if let Ok(report) = &result
            && (report.server_put_back || report.renewed)
        {
            tell(News::StateLost(*report));
        }
        let is_full = result.as_ref().is_err_and(ClientError::is_full);
        self.short_of_room = if is_full { free_bytes(self.root) } else { None };
        self.asked_wait_ms = result.as_ref().err().and_then(ClientError::asked_wait_ms);
        // A pause is waited out: whoever ends it says so.
        let paused = matches!(&result, Err(ClientError::Round(RoundError::Paused)));
        self.failures = if result.is_ok() || paused { 0 } else { self.failures + 1 };
        self.owes_look = match &result {
            // What these are about was found by the look.
            Ok(_) | Err(ClientError::Round(RoundError::InTheWay(_) | RoundError::Blocked(_))) => false,
            // Where nobody is reached, the look is done all the same; not where they are lost in the middle of it.
            Err(error) => !error.is_passing() || folder.owes_look(),
        };
        let is_offline = result.as_ref().is_err_and(ClientError::is_passing);
        match result {
            Ok(_) if self.first => tell(News::InSync(&folder.status())),
            Ok(_) if self.last.is_some() => tell(News::Recovered),
            Err(error) if now != self.last && !(error.is_passing() && self.offline) => {
                tell(News::Trouble(error, &folder.status()));
            }
            _ => {}
        }
        self.offline = is_offline;
        let times = |due: &Due| match &self.unfinished {
            Some((before, times)) if before == due => times.saturating_add(1),
            _ => 1,
        };
        self.unfinished = folder.wants_look().map(|due| (due.clone(), times(&due)));
        // While much happens it is written down when there is a pause.
        self.noted = now.is_some() || self.last.is_some();
        if self.noted {
            folder.note_standing();
        }
        drop(folder);
        self.first &= now.is_some();
        self.last = now;
        Ok(true)
    }

    /// Who closed these files may have written to them without a trace in their times.
    fn doubt(&self, closed: &BTreeSet<String>) {
        if !closed.is_empty() {
            let mut folder = held(self.folder);
            folder.replica.doubt(closed);
            folder.ahead.doubt(closed);
        }
    }

    /// Whether the disk was full and somebody made room since.
    fn has_room_again(&self) -> bool {
        let before = self.short_of_room;
        before.is_some_and(|before| free_bytes(self.root) >= Some(before.saturating_add(ROOM_BYTES)))
    }

    /// Sleeps until there is something to do: what is to be looked at, and where folders came. None: end.
    fn wait(&mut self, next_look: Duration) -> Option<(Due, BTreeSet<String>)> {
        if let Some(left) = self.left.take() {
            let Woken { stopped, asked, nudged, due, came, closed, .. } = self.stop.0.wait(Duration::ZERO);
            self.doubt(&closed);
            if asked {
                held(self.folder).owe_word();
            }
            let due = if nudged { Some(Due::Whole) } else { due.and_then(|due| self.sifted(due)) };
            return (!stopped).then(|| (with(left, due), came));
        }
        let slept = Stopwatch::start();
        let again = (self.failures > 0).then(|| wait_after(self.failures, self.asked_wait_ms));
        loop {
            let left = |time: Duration| time.saturating_sub(slept.elapsed());
            let unfinished = self.unfinished.as_ref().map(|(_, times)| PAUSE.max(wait_after(*times, None)));
            let came_lately = self.came_lately.then_some(PAUSE);
            let next = again.into_iter().chain(unfinished).chain(came_lately).fold(next_look, Duration::min);
            let next = if self.noted { next } else { next.min(PAUSE) };
            let look = if self.short_of_room.is_some() { ROOM } else { PLACE };
            let next = next.min(slept.elapsed() + look);
            let Woken { stopped, reached, lost, asked, nudged, head, due, came, closed } =
                self.stop.0.wait(left(next));
            if stopped {
                return None;
            }
            self.doubt(&closed);
            if !self.noted && left(PAUSE).is_zero() {
                let mut folder = held(self.folder);
                folder.note_standing();
                folder.keep_checkpoint();
                self.noted = true;
            }
            let is_time = again.is_some_and(|again| left(again).is_zero());
            if nudged
                || left(next_look).is_zero()
                || is_time
                || self.has_room_again()
                || self.came_lately && left(PAUSE).is_zero()
            {
                // What failed may have been a look that did not get done.
                return Some((Due::Whole, came));
            }
            if let Some((due, _)) =
                self.unfinished.as_ref().filter(|_| unfinished.is_some_and(|at| left(at).is_zero()))
            {
                return Some((due.clone(), came));
            }
            // What this device said itself comes back on the feed.
            let news = head.is_some_and(|head| !held(self.folder).is_at(head));
            let due = due.and_then(|due| self.sifted(due));
            // What keeps failing is tried again by itself; that it was refused may have another reason now.
            self.lost = lost.filter(|why| self.failures == 0 || !why.is_passing());
            if asked {
                held(self.folder).owe_word();
            }
            let is_other = reached && self.failures > 0 || self.lost.is_some() || asked;
            // A disk that goes leaves no hint behind; a round asks for itself, and says what then has to be done.
            let is_gone = || self.failures == 0 && !self.owes_look && !held(self.folder).is_in_place();
            if news || due.is_some() || is_other || is_gone() {
                return Some((due.unwrap_or(Due::At(BTreeSet::new())), came));
            }
        }
    }
}

/// Both.
fn with(one: Due, other: Option<Due>) -> Due {
    match (one, other) {
        (one, None) => one,
        (Due::At(mut paths), Some(Due::At(more))) => {
            paths.extend(more);
            Due::At(paths)
        }
        _ => Due::Whole,
    }
}

/// How long to wait after so many rounds that did not get everything done.
fn wait_after(rounds: u32, asked_ms: Option<u64>) -> Duration {
    Duration::from_millis(retry::wait_asked_ms(rounds, u64::from(std::process::id()), asked_ms))
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
