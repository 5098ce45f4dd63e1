//! Chunks on their way from the threads that cut to the one that sends.
//!
//! What must always hold: no more than some megabytes wait; whoever cuts is told when nobody takes any more, and whoever
//! takes when nothing more comes. They come in handfuls: waking somebody for each costs more than a small chunk does.

use annals_engine::{content::SealedChunk, flow::WINDOW_BYTES_MAX};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that wait at most, but for one chunk.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// From so many bytes on somebody is woken for them.
const HANDFUL_BYTES: usize = 256 << 10;

/// Nobody takes chunks any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// Where they go slowly: what waits when it is another's turn is read once more.
const WAITING_BYTES_SLOW: usize = 2 * HANDFUL_BYTES;

/// Chunks from several threads for one.
pub(super) struct Chute {
    waiting_bytes_max: usize,
    state: Mutex<State>,
    /// There is a handful, or nothing more comes.
    handful: Condvar,
    /// There is room again, or nobody takes any more.
    room: Condvar,
}

#[derive(Default)]
struct State {
    chunks: Vec<SealedChunk>,
    bytes: usize,
    ended: bool,
    gone: bool,
}

impl Chute {
    /// For a way on which so many bytes go together.
    pub(super) fn for_window(window: u64) -> Self {
        let is_slow = window < WINDOW_BYTES_MAX;
        let waiting_bytes_max = if is_slow { WAITING_BYTES_SLOW } else { WAITING_BYTES_MAX };
        let (state, handful, room) = (Mutex::default(), Condvar::new(), Condvar::new());
        Self { waiting_bytes_max, state, handful, room }
    }

    /// Puts a chunk in, once there is room.
    pub(super) fn put(&self, chunk: SealedChunk) -> Result<(), Gone> {
        let full = |state: &mut State| state.bytes >= self.waiting_bytes_max && !state.gone;
        let mut state = self.room.wait_while(self.state(), full).unwrap_or_else(PoisonError::into_inner);
        if state.gone {
            return Err(Gone);
        }
        let before = state.bytes;
        state.bytes += chunk.bytes.len();
        state.chunks.push(chunk);
        if before < HANDFUL_BYTES && state.bytes >= HANDFUL_BYTES {
            self.handful.notify_one();
        }
        Ok(())
    }

    /// While the answer lives, more may come.
    pub(super) fn ends(&self) -> impl Drop + '_ {
        struct End<'a>(&'a Chute);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.state().ended = true;
                self.0.handful.notify_one();
            }
        }
        End(self)
    }

    /// Takes everything that comes, to the end. After an error nothing more is taken.
    pub(super) fn take_all<E>(&self, mut take: impl FnMut(SealedChunk) -> Result<(), E>) -> Result<(), E> {
        loop {
            let few = |state: &mut State| state.bytes < HANDFUL_BYTES && !state.ended;
            let mut state =
                self.handful.wait_while(self.state(), few).unwrap_or_else(PoisonError::into_inner);
            let (chunks, ended) = (std::mem::take(&mut state.chunks), state.ended);
            state.bytes = 0;
            drop(state);
            self.room.notify_all();
            if chunks.is_empty() && ended {
                return Ok(());
            }
            if let Err(error) = chunks.into_iter().try_for_each(&mut take) {
                self.state().gone = true;
                self.room.notify_all();
                return Err(error);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(bytes: usize) -> SealedChunk {
        SealedChunk::seal((0..bytes as u32).flat_map(|n| n.wrapping_mul(0x9E37_79B1).to_be_bytes()).collect())
    }

    #[test]
    fn everything_arrives_and_no_more_than_some_megabytes_wait() {
        let chute = Chute::for_window(WINDOW_BYTES_MAX);
        let one = chunk(50_000);
        let mut taken = 0;
        std::thread::scope(|scope| {
            let cutting = scope.spawn(|| {
                let _end = chute.ends();
                std::thread::scope(|scope| {
                    for _ in 0..3 {
                        scope.spawn(|| (0..200).for_each(|_| chute.put(one.clone()).unwrap()));
                    }
                });
            });
            chute
                .take_all(|chunk| {
                    assert!(chute.state().bytes <= WAITING_BYTES_MAX + one.bytes.len());
                    assert_eq!(chunk, one);
                    taken += 1;
                    Ok::<_, ()>(())
                })
                .unwrap();
            cutting.join().unwrap();
        });
        assert_eq!(taken, 600);
    }

    #[test]
    fn whoever_cuts_is_told_that_nobody_takes_any_more() {
        let chute = Chute::for_window(WINDOW_BYTES_MAX);
        let one = chunk(50_000);
        std::thread::scope(|scope| {
            let cutting = scope.spawn(|| {
                let _end = chute.ends();
                loop {
                    if let Err(gone) = chute.put(one.clone()) {
                        return gone;
                    }
                }
            });
            assert_eq!(chute.take_all(|_| Err("no network")), Err("no network"));
            assert_eq!(cutting.join().unwrap(), Gone);
        });
    }
}
