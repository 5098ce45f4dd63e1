//! What the workers share: the chunks of the large file that one of them reads, and when to stop.
//!
//! One lock, one condition. Whoever waits for anything does chunks in the meantime, so nobody waits for who waits
//! for them; the bytes of chunks that were handed over and are not done are bounded.

use super::{ChunkSink, Stopped};
use annals_engine::content::Sealer;
use annals_events::{ChunkId, ChunkRef};
use std::{
    borrow::Cow,
    collections::VecDeque,
    num::NonZero,
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

/// Most bytes of chunks that wait for a worker or are being worked on.
pub(super) const WAITING_BYTES_MAX: usize = 16 << 20;

pub(super) struct Workshop<'a, S: ChunkSink> {
    sink: &'a S,
    waiting_bytes_max: usize,
    state: Mutex<State>,
    changed: Condvar,
    stopped: AtomicBool,
    error: Mutex<Option<S::Error>>,
}

#[derive(Default)]
struct State {
    /// Workers that have a file, or are about to get one.
    files: usize,
    /// Whether one of them has the large file.
    large: bool,
    waiting: VecDeque<Job>,
    waiting_bytes: usize,
    /// What chunks waited in, to be used again: memory that one thread takes and another gives back piles up.
    spare: Vec<Vec<u8>>,
    /// The large file's chunks; none where it is not done.
    chunks: Vec<Option<ChunkRef>>,
    done: usize,
}

struct Job {
    place: usize,
    plain: Vec<u8>,
}

impl<'a, S: ChunkSink> Workshop<'a, S> {
    pub(super) fn new(workers: NonZero<usize>, sink: &'a S) -> Self {
        // Alone, one would only hand over to oneself.
        let waiting_bytes_max = if workers.get() > 1 { WAITING_BYTES_MAX } else { 0 };
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self {
            sink,
            waiting_bytes_max,
            state,
            changed,
            stopped: AtomicBool::new(false),
            error: Mutex::new(None),
        }
    }

    /// Names a chunk, and seals it if it is wanted.
    pub(super) fn chunk<'p>(
        &self,
        sealer: &mut Sealer,
        plain: impl Into<Cow<'p, [u8]>>,
    ) -> Result<ChunkRef, Stopped> {
        if self.is_stopped() {
            return Err(Stopped);
        }
        let plain = plain.into();
        let bytes = u32::try_from(plain.len()).expect("chunks are at most 12 MiB");
        let id = ChunkId::of(&plain);
        self.hand_over(sealer, id, plain)?;
        Ok(ChunkRef { bytes, id })
    }

    /// Seals a chunk that has a name if it is wanted.
    pub(super) fn hand_over<'p>(
        &self,
        sealer: &mut Sealer,
        id: ChunkId,
        plain: impl Into<Cow<'p, [u8]>>,
    ) -> Result<(), Stopped> {
        if self.wants(&id)? { self.take(sealer, id, plain) } else { Ok(()) }
    }

    /// Whether a chunk is wanted.
    pub(super) fn wants(&self, id: &ChunkId) -> Result<bool, Stopped> {
        if self.is_stopped() {
            return Err(Stopped);
        }
        self.heard(self.sink.wanted(id))
    }

    /// Seals a chunk that is wanted.
    pub(super) fn take<'p>(
        &self,
        sealer: &mut Sealer,
        id: ChunkId,
        plain: impl Into<Cow<'p, [u8]>>,
    ) -> Result<(), Stopped> {
        self.heard(self.sink.take(sealer.seal(id, plain)))
    }

    /// What the sink said: an error of it ends everything.
    fn heard<T>(&self, said: Result<T, S::Error>) -> Result<T, Stopped> {
        said.map_err(|error| {
            self.error.lock().expect("nothing panics while it holds the lock").get_or_insert(error);
            self.stop();
            Stopped
        })
    }

    pub(super) fn sink(&self) -> &'a S {
        self.sink
    }

    /// The next chunk of the large file: for whoever has time, or done here and now if too many wait.
    pub(super) fn offer(&self, sealer: &mut Sealer, plain: &[u8]) {
        let mut state = self.state();
        let place = state.chunks.len();
        state.chunks.push(None);
        if state.waiting_bytes + plain.len() <= self.waiting_bytes_max {
            state.waiting_bytes += plain.len();
            let mut copy = state.spare.pop().unwrap_or_default();
            drop(state);
            copy.clear();
            copy.extend_from_slice(plain);
            self.state().waiting.push_back(Job { place, plain: copy });
            self.changed.notify_one();
        } else {
            drop(state);
            let chunk = self.chunk(sealer, plain);
            self.settle(place, chunk, Vec::new());
        }
    }

    /// Waits until no other large file is being read.
    pub(super) fn begin_large_file(&self, sealer: &mut Sealer) -> Result<(), Stopped> {
        let mut state = self.help_until(sealer, |state| !state.large)?;
        state.large = true;
        state.chunks.clear();
        state.done = 0;
        Ok(())
    }

    /// Waits until all its chunks are done, and answers with them in order.
    pub(super) fn end_large_file(&self, sealer: &mut Sealer) -> Result<Vec<ChunkRef>, Stopped> {
        let mut state = self.help_until(sealer, |state| state.done == state.chunks.len())?;
        state.large = false;
        let chunks = std::mem::take(&mut state.chunks);
        drop(state);
        self.changed.notify_all();
        Ok(chunks.into_iter().map(|chunk| chunk.expect("as many are done as there are")).collect())
    }

    pub(super) fn begin_file(&self) {
        self.state().files += 1;
    }

    pub(super) fn end_file(&self) {
        self.state().files -= 1;
        self.changed.notify_all();
    }

    /// Does the chunks that wait now.
    pub(super) fn help(&self, sealer: &mut Sealer) {
        let mut state = self.state();
        while let Some(job) = state.waiting.pop_front() {
            drop(state);
            self.work_on(sealer, job);
            state = self.state();
        }
    }

    /// Does chunks until nobody has a file.
    pub(super) fn help_to_the_end(&self, sealer: &mut Sealer) {
        drop(self.help_until(sealer, |state| state.files == 0));
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Lets everybody give up.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        // With the lock, so that nobody is between looking and waiting.
        drop(self.state.lock());
        self.changed.notify_all();
    }

    /// While the answer lives, a panic of this thread ends the work of all of them.
    pub(super) fn watch_for_panics(&self) -> impl Drop + '_ {
        struct Watch<F: Fn()>(F);
        impl<F: Fn()> Drop for Watch<F> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    (self.0)();
                }
            }
        }
        Watch(|| self.stop())
    }

    pub(super) fn into_result(self) -> Result<(), S::Error> {
        self.error.into_inner().expect("nothing panics while it holds the lock").map_or(Ok(()), Err)
    }

    /// Does chunks, or waits where there are none, until `reached`.
    fn help_until(
        &self,
        sealer: &mut Sealer,
        reached: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'_, State>, Stopped> {
        let mut state = self.state();
        loop {
            if self.is_stopped() {
                return Err(Stopped);
            }
            if reached(&state) {
                return Ok(state);
            }
            if let Some(job) = state.waiting.pop_front() {
                drop(state);
                self.work_on(sealer, job);
                state = self.state();
            } else {
                state = self.changed.wait(state).expect("nothing panics while it holds the lock");
            }
        }
    }

    fn work_on(&self, sealer: &mut Sealer, job: Job) {
        let chunk = self.chunk(sealer, &job.plain[..]);
        self.settle(job.place, chunk, job.plain);
    }

    /// Notes that a chunk is done and that the bytes that `waited` do not any more.
    fn settle(&self, place: usize, chunk: Result<ChunkRef, Stopped>, waited: Vec<u8>) {
        let mut state = self.state();
        state.waiting_bytes -= waited.len();
        let spare = state.spare.iter().map(Vec::capacity).sum::<usize>() + waited.capacity();
        // An empty one on top would be taken for the next chunk, in place of those that have room for it.
        if waited.capacity() > 0 && spare <= self.waiting_bytes_max {
            state.spare.push(waited);
        }
        if let Ok(chunk) = chunk {
            state.chunks[place] = Some(chunk);
            state.done += 1;
        }
        let all = state.done == state.chunks.len();
        drop(state);
        if all {
            self.changed.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_engine::content::SealedChunk;

    struct KnowsAll;

    impl ChunkSink for KnowsAll {
        type Error = ();
        fn wanted(&self, _: &ChunkId) -> Result<bool, ()> {
            Ok(false)
        }
        fn take(&self, _: SealedChunk) -> Result<(), ()> {
            Err(())
        }
    }

    #[test]
    fn what_a_chunk_waited_in_is_what_the_next_one_waits_in() {
        let (workshop, mut sealer) = (Workshop::new(NonZero::new(2).unwrap(), &KnowsAll), Sealer::new());
        let large = vec![7; WAITING_BYTES_MAX / 2 + 1];
        let mut waited_in = Vec::new();
        for _ in 0..3 {
            workshop.offer(&mut sealer, &large);
            waited_in.extend(workshop.state().waiting.iter().map(|job| job.plain.as_ptr()));
            // There is no room for a second one: it is done at once.
            workshop.offer(&mut sealer, &large);
            workshop.help(&mut sealer);
        }
        assert_eq!(waited_in, [waited_in[0]; 3]);
    }
}
