//! Keeping a folder in sync: a round every few seconds, and an ear for other verbs.
//!
//! One thread does rounds, another answers on the control socket; they take turns with the folder. A server
//! that cannot be reached is tried again after a while that grows; what changes meanwhile is journaled.

use super::{
    ClientError, Folder, STATE_FOLDER,
    control::{Answer, ControlSocket, Request},
};
use annals_engine::retry;
use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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

/// Keeps `folder` in sync until the process is told to end. `answer` runs verbs that others ask for; `say` takes
/// what is worth telling.
///
/// # Errors
/// [`ClientError::Folder`] where the control socket cannot be opened.
pub fn run(
    folder: Folder,
    answer: fn(&Request, &mut Folder) -> Answer,
    say: &mut dyn FnMut(&str),
) -> Result<(), ClientError> {
    run_until(folder, answer, say, &Stop::default())
}

/// As [`run`], until `stop`.
///
/// # Errors
/// As `run`.
pub fn run_until(
    folder: Folder,
    answer: fn(&Request, &mut Folder) -> Answer,
    say: &mut dyn FnMut(&str),
    stop: &Stop,
) -> Result<(), ClientError> {
    let root = folder.root().to_owned();
    let state = root.join(STATE_FOLDER);
    let socket =
        ControlSocket::open(&state).map_err(|source| ClientError::Folder { folder: root, source })?;
    let folder = Arc::new(Mutex::new(folder));
    let asked = Arc::new(AtomicBool::new(false));
    let (theirs, woken) = (folder.clone(), asked.clone());
    std::thread::spawn(move || {
        socket.serve(|request| {
            let mut folder = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = answer(&request, &mut folder);
            woken.store(true, Ordering::Relaxed);
            answer
        });
    });
    let mut failures = 0;
    let mut last = String::new();
    while !stop.is_set() {
        let result = folder.lock().unwrap_or_else(PoisonError::into_inner).sync_once(&mut ());
        let now = match &result {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        if now != last {
            say(if now.is_empty() { "in sync again" } else { &now });
            last = now;
        }
        failures = if result.is_ok() { 0 } else { failures + 1 };
        let wait = if failures == 0 {
            REST
        } else {
            REST.max(Duration::from_millis(retry::wait_ms(failures, u64::from(std::process::id()))))
        };
        if stop.wait(wait) {
            break;
        }
    }
    Ok(())
}
