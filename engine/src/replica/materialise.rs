//! What the disk did, and what it now agrees on.

use super::{Effect, Notice, Replica, StateChange, Working};
use crate::{
    disk::{Blocked, DiskOp, Done, Node, Outcome},
    observed::{SyncedChange, SyncedNode},
};
use annals_events::EntryKind;

impl Replica {
    pub(super) fn materialised(&mut self, outcomes: Vec<Outcome>, effects: &mut Vec<Effect>) {
        let Some(working) = self.working.take() else { return };
        let (mut changes, mut blocked) = (Vec::new(), Vec::new());
        let unanswered = working.plan.ops.len().saturating_sub(outcomes.len());
        for (op, outcome) in working.plan.ops.iter().zip(outcomes) {
            match outcome {
                Ok(done) => {
                    for change in self.done(op, done, &working) {
                        self.synced.apply(change.clone());
                        changes.push(StateChange::Synced(change));
                    }
                }
                Err(why) => {
                    self.block(op);
                    blocked.push(why);
                }
            }
        }
        for op in working.plan.ops.iter().rev().take(unanswered) {
            self.block(op); // Unknown: the next scan tells.
        }
        let remote = self.remote.take();
        if let Some(remote) = &remote {
            self.settle(remote);
        }
        self.remote = remote;
        self.persist(changes, effects);
        self.make_plan(working.removals, working.plans, effects);
        if !blocked.is_empty() {
            let changed = blocked.iter().any(is_local_change);
            effects.push(Effect::Notice(Notice::Blocked(blocked)));
            if changed && self.working.is_none() {
                effects.push(Effect::Scan);
            }
        }
    }

    fn block(&mut self, op: &DiskOp) {
        self.blocked.insert(op.path().to_owned());
        match op {
            DiskOp::Rename { from, .. } => drop(self.blocked.insert(from.clone())),
            DiskOp::Exchange { other, .. } => drop(self.blocked.insert(other.clone())),
            _ => {}
        }
    }

    /// How the synced tree changes by an operation.
    fn done(&self, op: &DiskOp, done: Done, working: &Working) -> Vec<SyncedChange> {
        let slot_path = |slot: &u32| format!("\0slot {slot}");
        let moved = |from: &str, to: String| SyncedChange::Move { from: from.to_owned(), to };
        match op {
            DiskOp::MakeFolder { path }
            | DiskOp::WriteFile { path, .. }
            | DiskOp::WriteSymlink { path, .. }
            | DiskOp::SetAttributes { path, .. } => {
                let Some((there, node)) = working.remote.get(path).zip(done.node) else { return Vec::new() };
                let synced = SyncedNode::written(there, node);
                vec![SyncedChange::Put(path.clone(), Box::new(synced))]
            }
            DiskOp::Rename { from, to, .. } => self.arrived(from, to, done.node),
            DiskOp::Park { path, slot, .. } => vec![moved(path, slot_path(slot))],
            DiskOp::Unpark { slot, path } => self.arrived(&slot_path(slot), path, done.node),
            DiskOp::Exchange { one, other, .. } => {
                let aside = "\0exchange".to_owned();
                let steps =
                    vec![moved(one, aside), moved(other, one.clone()), moved("\0exchange", other.clone())];
                steps
            }
            DiskOp::Remove { path, .. } => vec![SyncedChange::Remove(path.clone())],
        }
    }

    /// A move, after which a file has another change time.
    fn arrived(&self, from: &str, to: &str, now: Option<Node>) -> Vec<SyncedChange> {
        let mut changes = vec![SyncedChange::Move { from: from.to_owned(), to: to.to_owned() }];
        if let Some((before, node)) = self.synced.get(from).zip(now) {
            let kept = before.kind == EntryKind::Folder
                || before.disk.identity().is_but_moved(&node.identity()) && before.settled;
            let after = SyncedNode { disk: node, settled: kept, ..before.clone() };
            changes.push(SyncedChange::Put(to.to_owned(), Box::new(after)));
        }
        changes
    }
}

/// Whether the folder is not what it was when it was scanned.
pub(crate) fn is_local_change(why: &Blocked) -> bool {
    matches!(
        why,
        Blocked::Changed { .. } | Blocked::Kept { .. } | Blocked::NoFolder { .. } | Blocked::NotEmpty { .. }
    )
}
