//! Keeping a folder in sync: a round every few seconds, and an ear for other verbs.
//!
//! One thread does rounds, another answers on the control socket; they take turns with the folder. A server
//! that cannot be reached is tried again after a while that grows; what changes meanwhile is journaled.

use super::{
    ClientError, Folder, Progress, STATE_FOLDER, Status,
    control::{Answer, ControlSocket, Request},
};
use annals_engine::retry;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError, TryLockError},
    time::Duration,
};

/// How long a folder that is at rest is left alone.
const REST: Duration = Duration::from_secs(2);

/// Tells a daemon to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// From now on.
    pub fn now(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits for `time`, or until it is told to end. True: end.
    fn wait(&self, time: Duration) -> bool {
        let stopped = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) = self
            .0
            .1
            .wait_timeout_while(stopped, time, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        *stopped
    }

    fn is_set(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// A round did not get everything done: why, where that is new.
    Trouble(ClientError),
    /// And now one did.
    Recovered,
}

/// Keeps `folder` in sync until `stop`. `tell` takes what is worth telling.
///
/// # Errors
/// [`ClientError::Folder`] where the control socket cannot be opened.
pub fn run(
    folder: Folder,
    answers: Answers,
    tell: &mut dyn FnMut(News<'_>),
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<(), ClientError> {
    let root = folder.root().to_owned();
    let state = root.join(STATE_FOLDER);
    let failed = |source| ClientError::Folder { folder: root.clone(), source };
    let socket = Arc::new(ControlSocket::open(&state).map_err(failed)?);
    let folder = Arc::new(Mutex::new(folder));
    let ear = listen(socket.clone(), folder.clone(), answers, root.clone());
    let (mut failures, mut last, mut first) = (0, None, true);
    while !stop.is_set() {
        let mut folder = folder.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unwatched = ();
        let watching: &mut dyn Progress = if first { &mut *progress } else { &mut unwatched };
        let result = folder.sync_once(&mut UntilStopped { watching, stop });
        progress.rest();
        if stop.is_set() {
            break;
        }
        let now = result.as_ref().err().map(ToString::to_string);
        // What a person may put right in the folder at any moment is looked at again soon.
        let soon = matches!(&result, Err(ClientError::Round(error)) if error.is_local());
        failures = if result.is_ok() { 0 } else { failures + 1 };
        match result {
            Ok(_) if first => tell(News::InSync(&folder.status())),
            Ok(_) if last.is_some() => tell(News::Recovered),
            Err(error) if now != last => tell(News::Trouble(error)),
            _ => {}
        }
        drop(folder);
        first &= failures > 0;
        last = now;
        let wait = match failures {
            0 => REST,
            _ if soon => REST,
            _ => REST.max(Duration::from_millis(retry::wait_ms(failures, u64::from(std::process::id())))),
        };
        if stop.wait(wait) {
            break;
        }
    }
    // The folder is free, and nobody finds a socket, once this returns.
    socket.close();
    drop(ear.join());
    Ok(())
}

/// Ends a round that is at work when the daemon is told to end.
struct UntilStopped<'a> {
    watching: &'a mut dyn Progress,
    stop: &'a Stop,
}

impl Progress for UntilStopped<'_> {
    fn step(&mut self, what: &'static str, done: u64, of: u64, bytes: u64) {
        self.watching.step(what, done, of, bytes);
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }
}

/// Answers on the socket until it is closed.
fn listen(
    socket: Arc<ControlSocket>,
    folder: Arc<Mutex<Folder>>,
    answers: Answers,
    root: PathBuf,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        socket.serve(|request| {
            let answer = match folder.try_lock() {
                Err(TryLockError::WouldBlock) => (answers.meanwhile)(&request, &root),
                _ => None,
            };
            answer.unwrap_or_else(|| {
                (answers.verb)(&request, &mut folder.lock().unwrap_or_else(PoisonError::into_inner))
            })
        });
    })
}
