//! What the disk did, and what it now agrees on.

use super::{Effect, Notice, Replica, StateChange};
use crate::{
    disk::{Blocked, DiskOp, Expect, Outcome},
    observed::{SyncedChange, ancestors, parent},
    plan::after,
};
use std::collections::BTreeSet;

impl Replica {
    pub(super) fn materialised(&mut self, outcomes: Vec<Outcome>, effects: &mut Vec<Effect>) {
        let Some(working) = self.working.take() else { return };
        let (mut changes, mut blocked) = (Vec::new(), Vec::new());
        let unanswered = working.plan.ops.len().saturating_sub(outcomes.len());
        let mut unclear = BTreeSet::new();
        for (op, outcome) in working.plan.ops.iter().zip(outcomes) {
            match outcome {
                Ok(_) if self.is_unclear(op, &unclear) => {
                    unclear.insert(op.path().to_owned());
                    self.block(op);
                }
                Ok(done) => {
                    for change in after(op, done, &self.synced, &working.remote) {
                        if let SyncedChange::Move { from, to } = &change {
                            go_along(&mut self.blocked, from, to);
                            go_along(&mut self.withheld, from, to);
                        }
                        self.take_step(change.clone());
                        changes.push(StateChange::Synced(change));
                    }
                }
                Err(Blocked::Later { path }) => drop(self.later.insert(path)),
                Err(why) => {
                    self.block(op);
                    if let Blocked::Changed { path, .. } = &why {
                        self.doubt([path]);
                    }
                    if let Blocked::Kept { path, .. } = &why {
                        changes.extend(self.forget(std::iter::once(path.clone())));
                    }
                    blocked.push(why);
                }
            }
        }
        for op in working.plan.ops.iter().rev().take(unanswered) {
            self.block(op); // Unknown: the next scan tells.
        }
        self.half_done |= unanswered > 0 || !unclear.is_empty();
        let sight = self.sight();
        self.settle(&sight);
        self.put_back(sight);
        self.persist(changes, effects);
        self.make_plan(working.fresh, working.plans, effects);
        if !blocked.is_empty() {
            let changed = blocked.iter().any(is_local_change);
            effects.push(Effect::Notice(Notice::Blocked(blocked)));
            if changed && self.working.is_none() || !unclear.is_empty() {
                effects.push(Effect::Scan);
            }
        }
    }

    /// Puts what the plan at work writes in the order of `rank`, and answers with all its operations; none: nothing is at
    /// work. What makes room for it, and what is removed after it, stays where it is.
    pub fn arrange<R: Ord>(&mut self, rank: impl Fn(&DiskOp) -> R) -> Option<&[DiskOp]> {
        let plan = &mut self.working.as_mut()?.plan;
        let writes = plan.ops[plan.together..].iter().take_while(|op| !matches!(op, DiskOp::Remove { .. }));
        let end = plan.together + writes.count();
        plan.ops[plan.together..end].sort_by_cached_key(rank);
        Some(&plan.ops)
    }

    /// Whether what is known at its place, or above, could not make room for it, or its folder did not come and another is
    /// there: somebody was at that. Which is which the next look tells, as after an end in mid-plan.
    fn is_unclear(&self, op: &DiskOp, unclear: &BTreeSet<String>) -> bool {
        let is_there =
            |path: &str| unclear.contains(path) || ancestors(path).any(|above| unclear.contains(above));
        let (comes, from) = match op {
            DiskOp::MakeFolder { .. } | DiskOp::Unpark { .. } => (true, None),
            DiskOp::WriteFile { expect, .. } | DiskOp::WriteSymlink { expect, .. } => {
                (*expect == Expect::Absent, None)
            }
            DiskOp::Rename { from, .. } => (true, Some(from)),
            DiskOp::Exchange { other, .. } => (false, Some(other)),
            DiskOp::SetAttributes { .. } | DiskOp::Park { .. } | DiskOp::Remove { .. } => (false, None),
        };
        let has_folder = parent(op.path()).is_none_or(|folder| self.synced.contains(folder));
        comes && (self.synced.contains(op.path()) || !has_folder)
            || is_there(op.path())
            || from.is_some_and(|from| is_there(from))
    }

    fn block(&mut self, op: &DiskOp) {
        self.blocked.insert(op.path().to_owned());
        match op {
            DiskOp::Rename { from, .. } => drop(self.blocked.insert(from.clone())),
            DiskOp::Exchange { other, .. } => drop(self.blocked.insert(other.clone())),
            _ => {}
        }
    }
}

/// What is at `from` and below is at `to` from now on: what nobody may touch there, the next plan is not to touch either.
fn go_along(paths: &mut BTreeSet<String>, from: &str, to: &str) {
    let is_it = |path: &&String| path.len() == from.len() || path[from.len()..].starts_with('/');
    let began = paths.range(from.to_owned()..).take_while(|path| path.starts_with(from));
    let went: Vec<String> = began.filter(is_it).cloned().collect();
    for path in went {
        paths.remove(&path);
        paths.insert(format!("{to}{}", &path[from.len()..]));
    }
}

/// Whether the folder is not what it was when it was scanned.
pub(crate) fn is_local_change(why: &Blocked) -> bool {
    matches!(
        why,
        Blocked::Changed { .. } | Blocked::Kept { .. } | Blocked::NoFolder { .. } | Blocked::NotEmpty { .. }
    )
}
