//! A part of the folder as it was at an earlier moment is brought back.

use super::{ClientError, Folder, Progress, past::Then};
use crate::clock::SystemClock;
use annals_engine::{
    author::{Deed, MassDelete, Said},
    clock::Clock as _,
    observed::{LocalTree, SyncedNode, ancestors},
    replica::{Effect, Input},
    rewind::{self, Rewind, Sight, Step},
    round::{self, RoundError},
};
use annals_events::Dot;
use std::{collections::BTreeSet, io};

/// Something that is missing from the folder.
struct Gone {
    /// Where it was, by what was agreed on.
    known: String,
    /// Where the log has it.
    shown: String,
    /// Whether the log shows it: nobody else removed it meanwhile.
    comes: bool,
}

impl Folder {
    /// What brings what was at `path` back to how it was at `at_ms`, by when the server took the events; nothing is done
    /// yet.
    ///
    /// # Errors
    /// [`ClientError::NotYet`] where nothing was there then.
    pub fn rewind(&mut self, path: &str, at_ms: u64) -> Result<Rewind, ClientError> {
        let then = self.then(at_ms)?;
        let found = self.rewind_without(path, &then, &BTreeSet::new())?;
        let needs: Vec<Dot> = found.needs.iter().copied().collect();
        match self.lost_among(&needs)?.unwrap_or_default() {
            lost if lost.is_empty() => Ok(found),
            lost => self.rewind_without(path, &then, &lost),
        }
    }

    fn rewind_without(
        &mut self,
        path: &str,
        then: &Then,
        lost: &BTreeSet<Dot>,
    ) -> Result<Rewind, ClientError> {
        let then = Sight { log: &then.log, shown: &then.shown };
        self.replica.remote();
        let shown = self.replica.remote().clone();
        let now = Sight { log: self.replica.log(), shown: &shown };
        rewind::rewind_without(path, then, now, lost).ok_or_else(|| ClientError::NotYet { path: path.into() })
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

    /// What is missing from the folder at `path` and below, and comes again with what was there at `at_ms`: all of it
    /// where so much vanished that nobody removed it, and else what was there then. By what the log calls it.
    ///
    /// # Errors
    /// [`ClientError::Disk`].
    pub fn would_come_again(&mut self, path: &str, at_ms: u64) -> Result<Vec<String>, ClientError> {
        let (mut paths, mass) = self.look_for_missing(path)?;
        if mass.is_none() && !paths.is_empty() {
            let then = self.then(at_ms)?;
            paths.retain(|path| then.shown.nodes.contains_key(path));
        }
        Ok(paths)
    }

    /// What is missing from the folder at `path` and below, by what the log calls it. Nothing is done.
    ///
    /// # Errors
    /// [`ClientError::Disk`].
    pub fn missing(&mut self, path: &str) -> Result<Vec<String>, ClientError> {
        Ok(self.look_for_missing(path)?.0)
    }

    fn look_for_missing(&mut self, path: &str) -> Result<(Vec<String>, Option<MassDelete>), ClientError> {
        let scan = round::scan(&mut self.disk, &mut self.replica)?;
        let (local, _) = LocalTree::of(scan, self.replica.synced());
        let (tops, mass) = self.replica.missing_in(&local);
        let gone = self.below(path, &tops);
        Ok((gone.into_iter().filter(|gone| gone.comes).map(|gone| gone.shown).collect(), mass))
    }

    /// What is missing from the folder at `path` and below comes again with the next round, whether or not a person was
    /// asked about it; whatever else changed in the folder is said. Answers with what the log calls it.
    ///
    /// # Errors
    /// As for [`put_back`](Self::put_back); [`ClientError::Round`] where nobody could look.
    pub fn bring_back(
        &mut self,
        path: &str,
        progress: &mut dyn Progress,
    ) -> Result<Vec<String>, ClientError> {
        self.keep_missing(true);
        let looked = self.sync_once(progress);
        self.keep_missing(false);
        match looked {
            // What these are about, the look found.
            Err(ClientError::Round(
                RoundError::MassDelete(_) | RoundError::InTheWay(_) | RoundError::SetAside { .. },
            )) => {}
            Err(error) if !error.is_passing() => return Err(error),
            _ => {}
        }
        self.put_back(path)
    }

    /// What vanished from the folder at `path` and below, and of which nothing was said, was not removed: it comes again
    /// with the next round. Answers with what the log calls it.
    ///
    /// # Errors
    /// [`ClientError::Store`] where that cannot be written down; [`ClientError::Folder`].
    pub fn put_back(&mut self, path: &str) -> Result<Vec<String>, ClientError> {
        let gone = self.below(path, self.replica.withheld());
        // What is missing above, and is not meant, is a folder again with nothing in it.
        let here = gone.iter().filter(|gone| !gone.known.starts_with('\0'));
        let above = here.flat_map(|gone| ancestors(&gone.known));
        let mut above: Vec<&str> =
            above.filter(|above| !gone.iter().any(|gone| gone.known == *above)).collect();
        above.sort_unstable();
        above.dedup();
        for folder in above {
            match std::fs::create_dir(self.root.join(folder)) {
                Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(ClientError::Folder { folder: self.root.join(folder), source });
                }
                _ => {}
            }
        }
        let shown = gone.iter().filter(|gone| gone.comes).map(|gone| gone.shown.clone()).collect();
        let kept = gone.into_iter().map(|gone| gone.known).collect();
        for effect in self.replica.step(SystemClock.now_ms(), Input::Swept { kept }) {
            if let Effect::Persist(changes) = effect {
                self.store.persist(&changes)?;
            }
        }
        Ok(shown)
    }

    /// What is missing below these tops, as far as the log has it at `path` and below.
    fn below(&self, path: &str, tops: &BTreeSet<String>) -> Vec<Gone> {
        let below = format!("{path}/");
        let is_meant = |shown: &str| path.is_empty() || shown == path || shown.starts_with(&below);
        let (mut gone, log, synced) = (Vec::new(), self.replica.log(), self.replica.synced());
        for top in tops {
            let Some(node) = synced.get(top) else { continue };
            // Another thing has its name by now.
            let Some(shown) =
                (if top.starts_with('\0') { self.path_of_entry(node.entry()) } else { Some(top.clone()) })
            else {
                continue;
            };
            let comes = |node: &SyncedNode| log.entry(node.entry()).is_some_and(|entry| entry.shown);
            let all = std::iter::once((top.clone(), node)).chain(synced.below(top));
            let all = all.map(|(known, node)| {
                let shown = format!("{shown}{}", &known[top.len()..]);
                Gone { known, shown, comes: comes(&node) }
            });
            gone.extend(all.filter(|gone| is_meant(&gone.shown)));
        }
        gone
    }
}
