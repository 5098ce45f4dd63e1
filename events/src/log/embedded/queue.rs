//! Appends on their way to the committer, and answers on their way back, between futures and a thread.

use super::lock;
use crate::{
    id::Seq,
    log::{LogError, Position},
    record::Record,
};
use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// A bounded queue of appends.
pub(super) struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
    jobs_max: usize,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    /// Who waits for room, by turn: nobody overtakes, or appends that were made one after the other would be refused.
    waiting: BTreeMap<u64, Waker>,
    turns: u64,
    closed: bool,
}

/// One append.
pub(super) struct Job {
    pub(super) expected: Seq,
    pub(super) record: Arc<Record>,
    pub(super) answer: Arc<Answer>,
}

/// What becomes of an append.
#[derive(Default)]
pub(super) struct Answer(Mutex<AnswerState>);

#[derive(Default)]
struct AnswerState {
    answer: Option<Result<Position, LogError>>,
    waker: Option<Waker>,
}

impl QueueState {
    /// Whose turn it is looks again; it calls the one after it.
    fn wake_next(&self) {
        self.waiting.values().take(1).for_each(Waker::wake_by_ref);
    }
}

impl Queue {
    pub(super) fn new(jobs_max: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), jobs_max }
    }

    /// An append that takes its place in the queue when it is first polled.
    pub(super) fn append(self: &Arc<Self>, expected: Seq, record: Arc<Record>) -> Append {
        let answer = Arc::<Answer>::default();
        let job = Job { expected, record, answer: answer.clone() };
        Append { queue: self.clone(), job: Some(job), turn: None, answer }
    }

    /// All that waits, as soon as anything does; none once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Job>> {
        let mut state = lock(&self.state);
        while state.jobs.is_empty() {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let jobs = state.jobs.drain(..).collect();
        state.wake_next();
        Some(jobs)
    }

    /// Nothing more is accepted; what waits is still taken.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.filled.notify_all();
        waiting.into_values().for_each(Waker::wake);
    }

    /// Closes the queue and gives up what waits in it when this is dropped.
    pub(super) fn closes_on_drop(&self) -> impl Drop + '_ {
        struct Closes<'a>(&'a Queue);
        impl Drop for Closes<'_> {
            fn drop(&mut self) {
                self.0.close();
                let jobs = std::mem::take(&mut lock(&self.0.state).jobs);
                jobs.into_iter().for_each(drop);
            }
        }
        Closes(self)
    }
}

impl Answer {
    pub(super) fn give(&self, answer: Result<Position, LogError>) {
        let mut state = lock(&self.0);
        state.answer.get_or_insert(answer);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Job {
    /// Whoever takes a job answers it; a job that is lost on the way may or may not have been written.
    fn drop(&mut self) {
        self.answer.give(Err(LogError::Unknown { what: "the committer is gone".into() }));
    }
}

/// An append as a future. Dropped before its answer, it may happen all the same.
pub(super) struct Append {
    queue: Arc<Queue>,
    job: Option<Job>,
    /// While it waits for room.
    turn: Option<u64>,
    answer: Arc<Answer>,
}

impl Drop for Append {
    fn drop(&mut self) {
        if let Some(turn) = self.turn {
            let mut state = lock(&self.queue.state);
            state.waiting.remove(&turn);
            state.wake_next();
        }
    }
}

impl Future for Append {
    type Output = Result<Position, LogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(job) = self.job.take() {
            let queue = self.queue.clone();
            let mut state = lock(&queue.state);
            if state.closed {
                drop(state);
                return Poll::Ready(Err(LogError::Unavailable { what: "the log is closed".into() }));
            }
            let first = state.waiting.keys().next().copied();
            if state.jobs.len() >= queue.jobs_max || first.is_some_and(|first| Some(first) != self.turn) {
                let turn = self.turn.unwrap_or(state.turns);
                state.turns = state.turns.max(turn + 1);
                state.waiting.insert(turn, context.waker().clone());
                (self.turn, self.job) = (Some(turn), Some(job));
                return Poll::Pending;
            }
            if let Some(turn) = self.turn.take() {
                state.waiting.remove(&turn);
            }
            state.jobs.push_back(job);
            if state.jobs.len() < queue.jobs_max {
                state.wake_next();
            }
            drop(state);
            queue.filled.notify_one();
        }
        let mut state = lock(&self.answer.0);
        if let Some(answer) = state.answer.take() {
            return Poll::Ready(answer);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Tells a thread that there is something to do.
#[derive(Default)]
pub(super) struct Signal {
    state: Mutex<SignalState>,
    raised: Condvar,
}

#[derive(Default)]
struct SignalState {
    raised: bool,
    closed: bool,
}

impl Signal {
    pub(super) fn raise(&self) {
        lock(&self.state).raised = true;
        self.raised.notify_one();
    }

    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.raised.notify_one();
    }

    /// Waits this long, less if it is closed meanwhile.
    pub(super) fn rest(&self, time: Duration) {
        let state = lock(&self.state);
        drop(self.raised.wait_timeout_while(state, time, |state| !state.closed));
    }

    /// Waits until it is raised, and lowers it; false once it is closed.
    pub(super) fn wait(&self) -> bool {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return false;
            }
            if std::mem::take(&mut state.raised) {
                return true;
            }
            state = self.raised.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
