//! A part of the folder as it was at an earlier moment: what the log added up to then, and bringing that back.

use super::{ClientError, Folder};
use crate::clock::SystemClock;
use annals_engine::{
    author::{Deed, Said},
    clock::Clock as _,
    observed::RemoteTree,
    replica::{Effect, Input},
    rewind::{self, Rewind, Sight, Step},
};
use annals_projections::{Projections, Scope};

/// Records that are folded as one group.
const RECORDS_PER_GROUP: usize = 1024;

impl Folder {
    /// What brings what was at `path` back to how it was at `at_ms`, by when the server took the events; nothing is done
    /// yet.
    ///
    /// # Errors
    /// [`ClientError::NotYet`] where nothing was there then.
    pub fn rewind(&mut self, path: &str, at_ms: u64) -> Result<Rewind, ClientError> {
        let log = self.log_at(at_ms)?;
        let shown = RemoteTree::of(&log);
        let then = Sight { log: &log, shown: &shown };
        self.replica.remote();
        let shown = self.replica.remote().clone();
        let now = Sight { log: self.replica.log(), shown: &shown };
        rewind::rewind(path, then, now).ok_or_else(|| ClientError::NotYet { path: path.into() })
    }

    /// Says what a rewind found.
    ///
    /// # Errors
    /// [`ClientError::NotAllowed`], [`ClientError::Withheld`].
    pub fn say_rewind(&mut self, rewind: &Rewind) -> Result<(), ClientError> {
        let deeds = rewind.steps.iter().map(|step| Ok(Deed(vec![self.said(step)?])));
        let deeds: Vec<Deed> = deeds.collect::<Result<_, ClientError>>()?;
        if deeds.is_empty() { Ok(()) } else { self.say_deeds(deeds) }
    }

    fn said(&self, step: &Step) -> Result<Said, ClientError> {
        let (entry, version, over, mtime, executable) = match step {
            Step::Say(said) => return Ok((**said).clone()),
            Step::Again { entry, version, over, mtime, executable } => {
                (*entry, *version, over.clone(), *mtime, *executable)
            }
        };
        let mut said = self.again(entry, version, over)?;
        // Both may have been said apart from the content, before and since.
        if let Some(body) = &mut said.body {
            (body.mtime, body.executable) = (mtime.or(body.mtime), Some(executable));
        }
        Ok(said)
    }

    /// The log as far as the server had it at `at_ms`.
    pub(super) fn log_at(&self, at_ms: u64) -> Result<Projections, ClientError> {
        let mut last = None;
        for logged in self.store.records() {
            let record = logged?.record;
            if record.admission().admitted_at <= at_ms {
                last = Some(record.last_seq());
            }
        }
        let mut log = Projections::new(self.binding().namespace, Scope::Device);
        let mut group = Vec::new();
        let mut fold = |group: &mut Vec<annals_events::log::Logged>| {
            let batches = group
                .iter()
                .map(|logged| (logged.record.batch(), Some(logged.record.admission()), logged.position.0));
            let folded = log.apply_all(batches);
            group.clear();
            folded.map_err(|error| annals_engine::round::StoreError::Damaged { what: error.to_string() })
        };
        for logged in self.store.records() {
            let logged = logged?;
            if Some(logged.record.last_seq()) > last {
                break;
            }
            group.push(logged);
            if group.len() == RECORDS_PER_GROUP {
                fold(&mut group)?;
            }
        }
        fold(&mut group)?;
        Ok(log)
    }

    /// What vanished from the folder at `path` and below was not removed: it comes again with the next round. Answers
    /// with how much that is.
    ///
    /// # Errors
    /// [`ClientError::Store`] where that cannot be written down.
    pub fn put_back(&mut self, path: &str) -> Result<usize, ClientError> {
        let below = format!("{path}/");
        let is_meant = |known: &&String| path.is_empty() || *known == path || known.starts_with(&below);
        let known = self.replica.synced().iter().map(|(known, _)| known);
        let is_gone = |known: &&String| self.root.join(known).symlink_metadata().is_err();
        let kept: Vec<String> = known.filter(is_meant).filter(is_gone).cloned().collect();
        let count = kept.len();
        for effect in self.replica.step(SystemClock.now_ms(), Input::Swept { kept }) {
            if let Effect::Persist(changes) = effect {
                self.store.persist(&changes)?;
            }
        }
        Ok(count)
    }
}
