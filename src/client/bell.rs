//! What wakes a daemon: hints of the folder, heads on the feed, the word to end.
//!
//! Other threads ring; the one that does rounds [waits](Bell::wait). What must always hold: nothing that was rung is lost,
//! and whoever waits sleeps until there is something to do.

use crate::clock::Stopwatch;
use annals_engine::{
    flow::Others,
    protocol::HeadInfo,
    transport::TransportError,
    watch::{Debouncer, Hint, Look},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Clones are the same bell.
#[derive(Clone, Debug)]
pub(super) struct Bell(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rung: Mutex<Rung>,
    woken: Condvar,
    since: Stopwatch,
}

#[derive(Debug, Default)]
struct Rung {
    stopped: bool,
    reached: bool,
    lost: Option<TransportError>,
    asked: bool,
    /// Somebody left something to be done.
    nudged: bool,
    /// Rounds that did not give way.
    rests: u64,
    head: Option<HeadInfo>,
    /// How many verbs wait for the folder.
    queue: usize,
    debouncer: Debouncer,
    came: BTreeSet<String>,
}

/// Why somebody was woken.
#[derive(Debug, Default)]
pub(super) struct Woken {
    /// It is to end.
    pub(super) stopped: bool,
    /// The server was reached, after it was not.
    pub(super) reached: bool,
    /// Why the server does not talk to this device, or is not there, if that is so.
    pub(super) lost: Option<TransportError>,
    /// Somebody wants to know how far this device is.
    pub(super) asked: bool,
    /// Whether somebody left something to be done.
    pub(super) nudged: bool,
    /// The newest head that was heard of.
    pub(super) head: Option<HeadInfo>,
    /// What is to be looked at.
    pub(super) due: Option<Look>,
    /// Where folders may have come that are not covered yet.
    pub(super) came: BTreeSet<String>,
    /// Files among what is to be looked at, or was, that were closed after writing.
    pub(super) closed: BTreeSet<String>,
}

/// A verb that waits for the folder, or has it.
pub(super) struct Queued<'a>(&'a Bell);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.rung().queue -= 1;
        self.0.0.woken.notify_all();
    }
}

impl Default for Bell {
    fn default() -> Self {
        let (rung, woken) = (Mutex::default(), Condvar::new());
        Self(Arc::new(Inner { rung, woken, since: Stopwatch::start() }))
    }
}

impl Bell {
    /// It is to end, from now on.
    pub(super) fn stop(&self) {
        self.rung().stopped = true;
        self.0.woken.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.rung().stopped
    }

    /// The server is there again.
    pub(super) fn reach(&self) {
        let mut rung = self.rung();
        (rung.reached, rung.lost) = (true, None);
        self.0.woken.notify_all();
    }

    /// The server is not there, or does not talk to this device.
    pub(super) fn lose(&self, why: TransportError) {
        let mut rung = self.rung();
        (rung.reached, rung.lost) = (false, Some(why));
        self.0.woken.notify_all();
    }

    /// Somebody wants to know how far this device is.
    pub(super) fn ask(&self) {
        self.rung().asked = true;
        self.0.woken.notify_all();
    }

    /// A verb left something to be done.
    pub(super) fn nudge(&self) {
        self.rung().nudged = true;
        self.0.woken.notify_all();
    }

    /// A round did what there was to do, as far as it could be done.
    pub(super) fn rest(&self) {
        self.rung().rests += 1;
        self.0.woken.notify_all();
    }

    /// How many rounds did.
    pub(super) fn rests(&self) -> u64 {
        self.rung().rests
    }

    /// Waits until there was another one since there were so many, at most for `time`. False: it is to end.
    pub(super) fn wait_for_rest(&self, rests: u64, time: Duration) -> bool {
        let until = self.0.since.elapsed().saturating_add(time);
        let mut rung = self.rung();
        while rung.rests == rests && !rung.stopped {
            let left = until.saturating_sub(self.0.since.elapsed());
            if left.is_zero() {
                break;
            }
            rung = self.sleep(rung, left);
        }
        !rung.stopped
    }

    /// A namespace got further.
    pub(super) fn hear(&self, head: HeadInfo) {
        self.rung().head = Some(head);
        self.0.woken.notify_all();
    }

    /// Something may have happened in the folder; where `came`, a folder may have come.
    pub(super) fn hint(&self, hint: Hint, came: Option<String>) {
        let mut rung = self.rung();
        rung.came.extend(came);
        if rung.debouncer.hint(self.now_ms(), hint) {
            self.0.woken.notify_all();
        }
    }

    /// A verb waits for the folder, until what this answers with is dropped.
    pub(super) fn queue(&self) -> Queued<'_> {
        self.rung().queue += 1;
        Queued(self)
    }

    /// Lets verbs that wait for the folder go first.
    pub(super) fn give_way(&self) {
        let mut rung = self.rung();
        while rung.queue > 0 && !rung.stopped {
            rung = self.0.woken.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Who waits for a round to end: a verb; what is to be looked at by now; news.
    pub(super) fn others(&self) -> Others {
        let rung = self.rung();
        let is_due = || rung.debouncer.due_at_ms().is_some_and(|due_ms| due_ms <= self.now_ms());
        match () {
            () if rung.queue > 0 => Others::Somebody,
            () if rung.nudged || rung.head.is_some() || is_due() => Others::Something,
            () => Others::Nobody,
        }
    }

    /// Waits until it is rung, or for `time`.
    pub(super) fn wait(&self, time: Duration) -> Woken {
        let until = self.0.since.elapsed() + time;
        let mut rung = self.rung();
        loop {
            let due = rung.debouncer.take(self.now_ms());
            let left = until.saturating_sub(self.0.since.elapsed());
            let is_rung = rung.stopped || rung.reached || rung.lost.is_some() || rung.asked || rung.nudged;
            let is_rung = is_rung || rung.head.is_some();
            if due.is_some() || is_rung || left.is_zero() {
                let came = if due.is_some() { std::mem::take(&mut rung.came) } else { BTreeSet::new() };
                let closed = if due.is_some() { rung.debouncer.take_closed() } else { BTreeSet::new() };
                return Woken {
                    stopped: rung.stopped,
                    reached: std::mem::take(&mut rung.reached),
                    lost: rung.lost.take(),
                    asked: std::mem::take(&mut rung.asked),
                    nudged: std::mem::take(&mut rung.nudged),
                    head: rung.head.take(),
                    due,
                    came,
                    closed,
                };
            }
            let next = rung
                .debouncer
                .due_at_ms()
                .map(|due_ms| Duration::from_millis(due_ms - self.now_ms().min(due_ms)));
            rung = self.sleep(rung, next.map_or(left, |next| next.min(left)));
        }
    }

    /// Waits for `time`, or until it is to end. True: end.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let until = self.0.since.elapsed() + time;
        let mut rung = self.rung();
        loop {
            let left = until.saturating_sub(self.0.since.elapsed());
            if rung.stopped || left.is_zero() {
                return rung.stopped;
            }
            rung = self.sleep(rung, left);
        }
    }

    fn sleep<'a>(&'a self, rung: MutexGuard<'a, Rung>, time: Duration) -> MutexGuard<'a, Rung> {
        self.0.woken.wait_timeout(rung, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.0.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
