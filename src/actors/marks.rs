//! Which chunks were found to be garbage, and since when, as it is written down (DATA/garbage).
//!
//! What must always hold (I4): a server that lost state forgets all of it, durably, before it goes on under another key,
//! by which nobody can tell any more that something was lost; and a collection that began before neither takes anything
//! away after that nor writes back what it knew.

use super::node::blocking;
use crate::whole;
use annals_engine::{
    garbage::Garbage,
    protocol::{Code, Problem},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// What is garbage, as a file.
pub struct Marks {
    place: PathBuf,
    /// How often they were forgotten in this process.
    forgotten: Mutex<u64>,
}

/// When something began that goes by the marks: before they were forgotten, or since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since(u64);

impl Marks {
    /// Those at `place`, if any.
    #[must_use]
    pub fn new(place: PathBuf) -> Arc<Self> {
        Arc::new(Self { place, forgotten: Mutex::default() })
    }

    /// Where they are.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// What was garbage before state was lost may be named by what comes back: the grace period begins anew.
    ///
    /// # Errors
    /// What the system said: then nothing may go on as if they were forgotten.
    pub fn forget(&self) -> io::Result<()> {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        *forgotten += 1;
        whole::remove(&self.place)
    }

    /// From here on.
    pub(super) fn begin(&self) -> Since {
        Since(*self.forgotten.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether what began then may go on.
    pub(super) fn check(&self, since: Since) -> Result<(), Problem> {
        if self.begin() == since { Ok(()) } else { Err(state_was_lost()) }
    }

    /// What they say; nothing where they are not what was written.
    pub(super) fn read(&self) -> Garbage {
        Garbage::decode(&fs::read(&self.place).unwrap_or_default())
    }

    /// Puts others in their place, unless they were forgotten since.
    pub(super) async fn write(self: &Arc<Self>, garbage: Garbage, since: Since) -> Result<(), Problem> {
        let marks = Arc::clone(self);
        blocking(move || {
            // Held meanwhile: what is forgotten stays so.
            let forgotten = marks.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
            if Since(*forgotten) != since {
                return Err(state_was_lost());
            }
            whole::durable(&marks.place, &garbage.encode())
                .map_err(|error| Problem::new(Code::Internal, format!("{}: {error}", marks.place.display())))
        })
        .await
    }
}

fn state_was_lost() -> Problem {
    Problem::new(Code::Busy, "this server lost state: what is garbage is looked for anew")
}
