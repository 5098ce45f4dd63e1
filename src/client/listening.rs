//! The ear on the feed: a thread that is told as soon as the namespace gets further, and rings.
//!
//! By a WebSocket; by answers that wait where there is none on the way. A line that was cut is taken up again at once,
//! and whoever cannot be reached is tried again after a while that grows. What must always hold: what was heard is rung,
//! also what was missed while nobody listened: the server says that at once; and so is that nobody is there, or that the
//! server does not talk to this device, though there is nothing to be said. Left out: pulling.

use super::{bell::Bell, binding::Binding};
use crate::{
    clock::Stopwatch,
    transport::{HangUp, Http},
};
use annals_engine::{
    protocol::{Class, FeedHead, FeedQuery},
    retry,
    transport::TransportError,
};
use annals_events::NamespaceId;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How often a way that has no WebSocket is asked for one again: once in so many answers.
const POLLS: u32 = 20;
/// How long somebody who was refused waits before asking again.
const REFUSED: Duration = Duration::from_secs(60);
/// How long such an answer is waited for, in seconds: if none comes, that is noticed within the minute.
const POLL_SECONDS: u64 = 25;
/// A line that was up so long is taken up again at once. One that breaks sooner may do so each time.
const STEADY: Duration = Duration::from_secs(2);

/// Listens until it is dropped, or the bell is stopped.
pub(super) struct Listening {
    line: Arc<Mutex<Option<HangUp>>>,
    over: Arc<AtomicBool>,
}

impl Listening {
    /// Listens for what `query` does not have yet.
    pub(super) fn begin(http: Http, binding: &Binding, query: FeedQuery, bell: Bell) -> Self {
        let line = Arc::new(Mutex::new(None));
        // No two devices come back at one moment.
        let seed = u64::from_be_bytes(binding.device.0[..8].try_into().expect("an id has 16 bytes"));
        let (namespace, line_held) = (binding.namespace, Arc::clone(&line));
        let over = Arc::new(AtomicBool::new(false));
        let ear =
            Ear { http, namespace, seed, query, bell, line: line_held, over: Arc::clone(&over), up: None };
        thread::spawn(move || ear.listen());
        Self { line, over }
    }
}

impl Drop for Listening {
    // Whoever waits for an answer is not waited for: it has nothing that anybody else needs.
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(line) = &*self.line.lock().unwrap_or_else(PoisonError::into_inner) {
            line.now();
        }
    }
}

struct Ear {
    http: Http,
    namespace: NamespaceId,
    seed: u64,
    query: FeedQuery,
    bell: Bell,
    /// By which it can be told to stop reading.
    line: Arc<Mutex<Option<HangUp>>>,
    /// Whether nobody wants to hear it any more.
    over: Arc<AtomicBool>,
    /// Since when somebody answers, if anybody does.
    up: Option<Stopwatch>,
}

impl Ear {
    fn listen(mut self) {
        let mut failures = 0;
        while !self.is_over() {
            let heard_before = self.query;
            let result = match self.by_socket() {
                Err(error) if is_blocked(&error) => self.by_answers(),
                result => result,
            };
            let up = self.up.take();
            let Err(error) = result else { continue };
            if self.is_over() {
                return;
            }
            tracing::debug!(%error, "the feed ended");
            if up.as_ref().is_some_and(|since| since.elapsed() >= STEADY) {
                failures = 0;
                continue;
            }
            failures = if self.query == heard_before { failures + 1 } else { 1 };
            let wait = if error.is_passing() {
                Duration::from_millis(retry::wait_ms(failures, self.seed))
            } else {
                REFUSED
            };
            if up.is_none() {
                self.bell.lose(error);
            }
            if self.bell.pause(wait) {
                return;
            }
        }
    }

    /// Until the connection ends.
    fn by_socket(&mut self) -> Result<(), TransportError> {
        let mut feed = self.http.live(self.namespace, &self.query)?;
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = feed.hang_up().ok();
        // Told to stop before that could be hung up.
        if self.is_over() {
            return Ok(());
        }
        self.came_up();
        loop {
            let heard = feed.hear()?;
            self.take(&heard);
        }
    }

    /// For a while, after which a WebSocket may be possible again.
    fn by_answers(&mut self) -> Result<(), TransportError> {
        for _ in 0..POLLS {
            // That somebody answers at all is to be known at once.
            self.query.wait = Some(if self.up.is_none() { 0 } else { POLL_SECONDS });
            let heard = self.http.changes(self.namespace, &self.query)?;
            if self.is_over() {
                break;
            }
            if self.up.is_none() {
                self.came_up();
            }
            if heard.changed || heard.acknowledge {
                self.take(&heard);
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.bell.is_stopped()
    }

    fn came_up(&mut self) {
        self.up = Some(Stopwatch::start());
        self.bell.reach();
    }

    fn take(&mut self, heard: &FeedHead) {
        self.query.after = heard.head.seq;
        self.query.chain = Some(heard.head.chain);
        if heard.acknowledge {
            self.bell.ask();
        }
        self.bell.hear(heard.head);
    }
}

/// Whether there is no WebSocket on this way, although somebody answers.
fn is_blocked(error: &TransportError) -> bool {
    match error {
        TransportError::Refused(problem) => matches!(problem.class(), Class::Failed | Class::Misused),
        TransportError::Malformed { .. } => true,
        TransportError::Unreachable { .. }
        | TransportError::Paused
        | TransportError::OtherScheme { .. }
        | TransportError::Untrusted { .. } => false,
    }
}
