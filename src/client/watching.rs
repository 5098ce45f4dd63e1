//! The eye on the folder: a watch that rings, or a look every now and then where the system has no watch to give.
//!
//! What must always hold: after [`Watching::cover`] nothing that happens goes unnoticed for longer than a poll. Left out:
//! looking.

use super::bell::Bell;
use crate::watch::{LIMIT_SYSCTL, Told, Watch, WatchError};
use std::{collections::BTreeSet, path::Path, time::Duration};

/// How often everything is looked at where it cannot be watched.
const POLL: Duration = Duration::from_secs(5);
/// How often everything is looked at although it is watched: whatever a watch does not see is seen then.
const RARELY: Duration = Duration::from_secs(600);

/// How a folder is watched.
pub(super) enum Watching {
    /// Nobody began yet.
    NotYet,
    /// By the kernel's hints.
    Watched(Watch),
    /// Not at all: why, and how many looks are left until a watch is tried again.
    Polled {
        /// For people.
        why: String,
        /// It may be possible again: because a person raised the limit, because the folder is back.
        tries_in: u32,
    },
}

impl Watching {
    /// Sees to it that `root` is watched, and what came since, but for what `passed_by` says. True: everything is to be
    /// looked at.
    pub(super) fn cover(
        &mut self,
        root: &Path,
        came: &BTreeSet<String>,
        passed_by: &dyn Fn(&str) -> bool,
        bell: &Bell,
    ) -> bool {
        let (result, whole) = match self {
            Self::Polled { tries_in: looks @ 1.., .. } => {
                *looks -= 1;
                return true;
            }
            Self::Watched(watch) => (came.iter().try_for_each(|path| watch.cover(path, passed_by)), false),
            Self::NotYet | Self::Polled { .. } => (self.begin(root, passed_by, bell), true),
        };
        match result {
            Ok(()) => whole,
            Err(error) => {
                *self = Self::Polled { why: said(&error), tries_in: tries_in(&error) };
                true
            }
        }
    }

    fn begin(
        &mut self,
        root: &Path,
        passed_by: &dyn Fn(&str) -> bool,
        bell: &Bell,
    ) -> Result<(), WatchError> {
        let bell = bell.clone();
        let mut watch = Watch::new(root, move |Told { hint, came }| bell.hint(hint, came))?;
        watch.cover("", passed_by)?;
        *self = Self::Watched(watch);
        Ok(())
    }

    /// The folder may be another one by now, or what is passed by may be: the next time it is watched anew.
    pub(super) fn forget(&mut self) {
        if matches!(self, Self::Watched(_)) {
            *self = Self::NotYet;
        }
    }

    /// When everything is to be looked at again.
    pub(super) fn next_look(&self) -> Duration {
        if matches!(self, Self::Polled { .. }) { POLL } else { RARELY }
    }

    /// Why it is not watched.
    pub(super) fn hindrance(&self) -> Option<&str> {
        if let Self::Polled { why, .. } = self { Some(why) } else { None }
    }
}

/// To find that there are too many folders takes as long as to watch them all.
fn tries_in(error: &WatchError) -> u32 {
    match error {
        WatchError::Limit => (RARELY.as_secs() / POLL.as_secs()) as u32,
        WatchError::Failed(_) => 0,
    }
}

fn said(error: &WatchError) -> String {
    let every = POLL.as_secs();
    match error {
        WatchError::Limit => format!(
            "changes are looked for every {every} seconds: there are more folders than may be watched; as root: sysctl {LIMIT_SYSCTL}=1048576"
        ),
        WatchError::Failed(_) => format!("changes are looked for every {every} seconds: {error}"),
    }
}
