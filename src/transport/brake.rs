//! What a person holds a connection back by: a rate for each direction, a pause, and the word to end.

use crate::clock::Stopwatch;
use annals_engine::rate::Bucket;
use std::{
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Bytes that go at once, so that a slow rate is an even one.
const PIECE_BYTES: usize = 8 << 10;

/// A rate for one direction.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    bucket: Arc<Mutex<Bucket>>,
    clock: Stopwatch,
}

impl Pace {
    pub(super) fn new(rate: u64) -> Self {
        Self { bucket: Arc::new(Mutex::new(Bucket::new(rate))), clock: Stopwatch::start() }
    }

    pub(super) fn rate(&self) -> u64 {
        self.bucket().rate()
    }

    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, bytes: usize) {
        let now_us = u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wait = self.bucket().take(bytes as u64, now_us);
        if wait > 0 {
            crate::clock::pause(Duration::from_micros(wait));
        }
    }
}

/// A person made a pause in the middle of it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("paused")]
struct HeldUp;

/// Whether it was that.
pub(super) fn is_held_up(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<HeldUp>())
}

/// Something that is read no faster than a rate, and not at all once a person made a pause.
pub(super) struct Slow<R> {
    inner: R,
    pace: Pace,
    paused_by: Option<PathBuf>,
}

impl<R: Read> Read for Slow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if is_there(self.paused_by.as_ref()) {
            return Err(io::Error::other(HeldUp));
        }
        let room = buffer.len().min(PIECE_BYTES);
        let got = self.inner.read(&mut buffer[..room])?;
        self.pace.wait_for(got);
        Ok(got)
    }
}

/// Waits for so long, or until whoever waits is to end. True: end.
pub type Wait = Arc<dyn Fn(Duration) -> bool + Send + Sync>;

/// Both directions, the file that holds everything up while it is there, and how to wait.
#[derive(Clone, Default)]
pub(super) struct Brake {
    pub(super) sending: Option<Pace>,
    pub(super) receiving: Option<Pace>,
    pub(super) paused_by: Option<PathBuf>,
    /// None where nobody can be told to end.
    pub(super) waits_by: Option<Wait>,
}

impl std::fmt::Debug for Brake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sending, receiving, paused_by, .. } = self;
        f.debug_struct("Brake")
            .field("sending", sending)
            .field("receiving", receiving)
            .field("paused_by", paused_by)
            .finish_non_exhaustive()
    }
}

impl Brake {
    pub(super) fn set_rate(&mut self, rate: Option<u64>) {
        if self.sending.as_ref().map(Pace::rate) != rate {
            (self.sending, self.receiving) = (rate.map(Pace::new), rate.map(Pace::new));
        }
    }

    /// Waits for so long, unless it is time to end. True: end.
    pub(super) fn wait(&self, time: Duration) -> bool {
        match &self.waits_by {
            Some(wait) => wait(time),
            None => {
                crate::clock::pause(time);
                false
            }
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        is_there(self.paused_by.as_ref())
    }

    /// The same bytes, no faster than the rate of `pace`.
    pub(super) fn slow<R: Read>(&self, pace: &Pace, inner: R) -> Slow<R> {
        Slow { inner, pace: pace.clone(), paused_by: self.paused_by.clone() }
    }
}

fn is_there(file: Option<&PathBuf>) -> bool {
    file.is_some_and(|file| file.exists())
}
