//! Files with conflicts, as `status` names them: which, and what the folder shows beside it.
//!
//! What must always hold: the names are those by which both sides can be found in the folder now. Left out: what to type
//! for either side.

use super::Folder;
use annals_engine::observed::parent;
use annals_events::EntryId;
use annals_projections::{Conflict, ConflictKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A file with a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictLine {
    /// Which.
    pub path: String,
    /// The kind of conflict.
    pub why: ConflictKind,
    /// What the folder shows beside it: the other sides.
    #[serde(default)]
    pub copies: Vec<String>,
}

impl Folder {
    pub(super) fn in_lines(&self, conflicts: &[Conflict]) -> Vec<ConflictLine> {
        let mut copies: BTreeMap<EntryId, Vec<String>> = BTreeMap::new();
        if !conflicts.is_empty() {
            let folders: BTreeSet<Option<&str>> =
                conflicts.iter().map(|conflict| parent(&conflict.path)).collect();
            let beside = self.replica.synced().select(|path, _| folders.contains(&parent(path)));
            for (path, node) in beside.filter(|(_, node)| node.copy) {
                copies.entry(node.entry()).or_default().push(path);
            }
        }
        let line = |conflict: &Conflict| {
            let (path, copies) = match conflict.kind {
                // What has the name and what wanted it are two files: the one that got another name is shown beside.
                ConflictKind::Name => (self.wanted_path(conflict), vec![conflict.path.clone()]),
                _ => (conflict.path.clone(), copies.get(&conflict.entry).cloned().unwrap_or_default()),
            };
            ConflictLine { path, why: conflict.kind, copies }
        };
        conflicts.iter().map(line).collect()
    }

    /// Where an entry would be that is shown under another name, because its own is taken.
    fn wanted_path(&self, conflict: &Conflict) -> String {
        let name = self.replica.log().entry(conflict.entry).map(|view| view.name);
        match (name, parent(&conflict.path)) {
            (Some(name), None) => name,
            (Some(name), Some(folder)) => format!("{folder}/{name}"),
            (None, _) => conflict.path.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_is_noted_by_the_word_that_is_said() {
        for kind in [
            ConflictKind::BothModified,
            ConflictKind::ModifiedDeleted,
            ConflictKind::Name,
            ConflictKind::Cycle,
            ConflictKind::MovedMoved,
        ] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
    }
}
