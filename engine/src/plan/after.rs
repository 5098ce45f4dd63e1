//! What disk and log agree on after an operation.

use crate::{
    disk::{DiskOp, Done, Node},
    observed::{RemoteTree, SyncedChange, SyncedNode, SyncedTree, parent},
};
use annals_events::EntryKind;

/// How `synced` changes by `op`, which was planned for `remote` and is `done`.
#[must_use]
pub fn after(op: &DiskOp, done: Done, synced: &SyncedTree, remote: &RemoteTree) -> Vec<SyncedChange> {
    match op {
        DiskOp::MakeFolder { path }
        | DiskOp::WriteFile { path, .. }
        | DiskOp::WriteSymlink { path, .. }
        | DiskOp::SetAttributes { path, .. } => {
            let Some((there, node)) = remote.nodes.get(path).zip(done.node) else { return Vec::new() };
            // Its folder is another than the one that was to be made: the next look at the folder tells.
            if parent(path).is_some_and(|folder| synced.get(folder).is_none()) {
                return Vec::new();
            }
            let mut after = SyncedNode::written(there, node);
            if let DiskOp::SetAttributes { .. } = op {
                after.proven &= synced.get(path).is_some_and(|before| before.proven);
            }
            vec![SyncedChange::Put(path.clone(), Box::new(after))]
        }
        DiskOp::Rename { from, to, .. } => arrived(synced, from, to, done.node),
        DiskOp::Park { path, slot, .. } => vec![moved(path, &beside(*slot))],
        DiskOp::Unpark { slot, path } => arrived(synced, &beside(*slot), path, done.node),
        DiskOp::Exchange { one, other, .. } => {
            let aside = "\0exchange";
            vec![moved(one, aside), moved(other, one), moved(aside, other)]
        }
        DiskOp::Remove { path, .. } => vec![SyncedChange::Remove(path.clone())],
    }
}

/// Where the synced tree keeps what is parked.
fn beside(slot: u32) -> String {
    format!("\0slot {slot}")
}

fn moved(from: &str, to: &str) -> SyncedChange {
    SyncedChange::Move { from: from.to_owned(), to: to.to_owned() }
}

/// A move, after which a file has another change time.
fn arrived(synced: &SyncedTree, from: &str, to: &str, now: Option<Node>) -> Vec<SyncedChange> {
    let mut changes = vec![moved(from, to)];
    if let Some((before, node)) = synced.get(from).zip(now) {
        let settled = before.kind == EntryKind::Folder
            || before.disk.identity().is_but_moved(&node.identity()) && before.settled;
        let after = SyncedNode { disk: node, settled, ..before.clone() };
        changes.push(SyncedChange::Put(to.to_owned(), Box::new(after)));
    }
    changes
}
