//! Where the disk is not what was agreed on.
//!
//! What must always hold: in a folder that is not named everything is as it was agreed on, and what is new is ignored.

use super::{SyncedTree, parent};
use crate::disk::{Scan, SkippedBecause};
use annals_events::EntryKind;
use std::collections::BTreeSet;

/// The folders in which something else was found than what is `known`; none where a known folder is not where it was:
/// what is in it may have changed as well, and has another path by now.
#[must_use]
pub fn differing(scan: &Scan, known: &SyncedTree) -> Option<BTreeSet<String>> {
    let is_ignored = |why: &SkippedBecause| matches!(why, SkippedBecause::Ignored { .. });
    let (ignored, hidden): (Vec<_>, Vec<_>) =
        scan.skipped.iter().partition(|skipped| is_ignored(&skipped.why));
    let ignored: BTreeSet<&str> = ignored.iter().map(|skipped| skipped.path.as_str()).collect();
    // What is in a folder that is new is for who looks at where that is.
    let above = |path: &str| {
        let folder = parent(path).unwrap_or("");
        (folder.is_empty() || known.contains(folder)).then(|| folder.to_owned())
    };
    let mut folders: BTreeSet<String> = hidden.iter().filter_map(|skipped| above(&skipped.path)).collect();
    let mut as_known = BTreeSet::new();
    for (path, _) in known.select(|path, before| scan.nodes.get(path).is_some_and(|now| before.is_still(now)))
    {
        as_known.insert(path);
    }
    let beside = |path: &str| path.starts_with('\0');
    for (path, before) in known.select(|path, _| !beside(path) && !as_known.contains(path)) {
        if before.kind == EntryKind::Folder {
            return None;
        }
        folders.extend(above(&path));
    }
    let new = scan.nodes.keys().filter(|path| !known.contains(path) && !ignored.contains(path.as_str()));
    folders.extend(new.filter_map(|path| above(path)));
    Some(folders)
}
