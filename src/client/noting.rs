//! Notes how far a round is once it takes a while, for `status` in any process: what moves, how fast, how long still.
//!
//! What must always hold: it goes on being noted while one large file is at work and the round says nothing; nothing is
//! noted after the round. How fast it goes is measured where bytes leave and enter, so what is already there, or
//! compressed, takes less time than is said.

use super::{
    host::{Doing, Progress},
    standing::{self, Moving, Status},
};
use crate::{clock::Stopwatch, transport::Traffic};
use annals_engine::flow::Others;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How often it is noted.
const EVERY: Duration = Duration::from_secs(1);

/// Notes how far a round is, beside whoever watches.
pub(super) struct Noting<'a> {
    watching: &'a mut dyn Progress,
    shared: Arc<Mutex<Meter>>,
    /// Tells the thread that notes to end, by going.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// What was said of a server that was not reached, until it answers.
    offline: Option<PathBuf>,
}

impl<'a> Noting<'a> {
    /// `offline`: the server was not reached the last time.
    pub(super) fn new(
        root: &Path,
        watching: &'a mut dyn Progress,
        traffic: &Arc<Traffic>,
        offline: bool,
    ) -> Self {
        let offline = offline.then(|| root.to_owned());
        let meter = Meter::new(Arc::clone(traffic));
        let (shared, root) = (Arc::new(Mutex::new(meter)), root.to_owned());
        let (end, ended) = channel::<()>();
        let noted = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let mut status = None;
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(EVERY) {
                note(&root, &mut status, &mut held(&noted));
            }
        });
        Self { watching, shared, end: Some(end), thread: Some(thread), offline }
    }
}

impl Progress for Noting<'_> {
    fn step(&mut self, doing: &Doing) {
        self.watching.step(doing);
        let mut meter = held(&self.shared);
        meter.step(doing);
        if meter.is_answered()
            && let Some(root) = self.offline.take()
            && let Some(mut status) = standing::read(&root)
        {
            status.is_reached();
            standing::write(&root, &status);
        }
    }

    fn is_stopped(&self) -> bool {
        self.watching.is_stopped()
    }

    fn stop(&self) -> Option<super::daemon::Stop> {
        self.watching.stop()
    }

    fn others(&self) -> Others {
        self.watching.others()
    }
}

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        drop(self.end.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn held(meter: &Mutex<Meter>) -> MutexGuard<'_, Meter> {
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(root: &Path, status: &mut Option<Status>, meter: &mut Meter) {
    let Some(doing) = meter.doing.clone() else { return };
    let status = status.get_or_insert_with(|| standing::read(root).unwrap_or_default());
    if meter.is_answered() {
        status.is_reached();
    }
    let (done, of) = (doing.files.done, doing.files.of);
    let what = doing.what;
    status.doing = Some(if of == 0 { what.to_owned() } else { format!("{what}, {done} of {of}") });
    status.moving = Some(meter.measured());
    standing::write(root, status);
}

/// How fast it goes.
struct Meter {
    traffic: Arc<Traffic>,
    doing: Option<Doing>,
    /// Bytes that had come before the round.
    received_before: u64,
    /// Bytes on the wire when the last step was said.
    at_step: u64,
    last: (Stopwatch, u64),
    bytes_per_second: Option<u64>,
}

impl Meter {
    fn new(traffic: Arc<Traffic>) -> Self {
        let wire = traffic.sent() + traffic.received();
        let (received_before, last) = (traffic.received(), (Stopwatch::start(), wire));
        Self { traffic, doing: None, received_before, at_step: wire, last, bytes_per_second: None }
    }

    fn wire(&self) -> u64 {
        self.traffic.sent() + self.traffic.received()
    }

    /// Whether the server said anything in this round.
    fn is_answered(&self) -> bool {
        self.traffic.received() > self.received_before
    }

    fn step(&mut self, doing: &Doing) {
        self.at_step = self.wire();
        self.doing = Some(doing.clone());
    }

    fn measured(&mut self) -> Moving {
        let wire = self.wire();
        let (since, before) = std::mem::replace(&mut self.last, (Stopwatch::start(), wire));
        let speed = per_second(wire - before, since.elapsed());
        // What it was counts for as much as what it is: it neither jumps nor lags.
        let speed = self.bytes_per_second.map_or(speed, |before| before.midpoint(speed));
        self.bytes_per_second = Some(speed);
        let files = self.doing.as_ref().map(|doing| doing.files.clone()).unwrap_or_default();
        let bytes = (files.bytes + (wire - self.at_step)).min(files.of_bytes);
        Moving {
            path: files.path,
            done: files.done,
            of: files.of,
            bytes,
            of_bytes: files.of_bytes,
            bytes_per_second: speed,
            seconds_left: (files.of_bytes > bytes && speed > 0)
                .then(|| (files.of_bytes - bytes).div_ceil(speed)),
        }
    }
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_engine::round::Files;

    #[test]
    fn what_moves_is_measured_where_bytes_leave() {
        assert_eq!(per_second(3_000, Duration::from_millis(1_500)), 2_000);
        assert_eq!(per_second(1, Duration::ZERO), 1_000);
        let traffic = Arc::new(Traffic::default());
        let mut meter = Meter::new(Arc::clone(&traffic));
        let files = Files { done: 1, of: 3, bytes: 100, of_bytes: 1_000, path: Some("a".into()) };
        meter.step(&Doing { what: "writing files", files });
        let moving = meter.measured();
        assert_eq!((moving.bytes, moving.of_bytes, moving.path.as_deref()), (100, 1_000, Some("a")));
        // Nothing went yet: nobody can tell how long it takes.
        assert_eq!((moving.bytes_per_second, moving.seconds_left), (0, None));
        traffic.count(5_000, 0);
        let moving = meter.measured();
        assert_eq!(moving.bytes, 1_000, "never more than there is");
        assert!(moving.bytes_per_second > 0);
    }
}
