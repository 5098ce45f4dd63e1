//! What of a scan is synced, or may be: ignored is what is new, never what the log shows.

use super::{Host, Round};
use crate::{
    disk::{Disk, DiskError, Scan, SkippedBecause},
    replica::Replica,
};
use std::collections::BTreeSet;

impl<H: Host> Round<'_, H> {
    pub(super) fn scan(&mut self) -> Result<Scan, DiskError> {
        scan(self.host.parts().disk, self.replica)
    }
}

/// Scans, and again where an ignored folder has to be looked into.
///
/// # Errors
/// As [`Disk::scan`].
pub fn scan<D: Disk>(disk: &mut D, replica: &mut Replica) -> Result<Scan, DiskError> {
    loop {
        let mut scan = disk.scan()?;
        let folders = sift(&mut scan, replica);
        if folders.is_empty() || !disk.descend(&folders) {
            return Ok(scan);
        }
    }
}

/// Leaves out what is ignored, unless it is synced, here or by the log. Answers with the ignored folders that are.
fn sift(scan: &mut Scan, replica: &mut Replica) -> BTreeSet<String> {
    let is_ignored = |why: &SkippedBecause| matches!(why, SkippedBecause::Ignored { .. });
    let ignored = scan.skipped.iter().filter(|skipped| is_ignored(&skipped.why));
    let mut ignored: BTreeSet<String> = ignored.map(|skipped| skipped.path.clone()).collect();
    if ignored.is_empty() {
        return BTreeSet::new();
    }
    let synced = replica.synced();
    let mut known: BTreeSet<String> =
        ignored.iter().filter(|path| synced.get(path).is_some()).cloned().collect();
    ignored.retain(|path| !known.contains(path));
    let remote = replica.remote();
    known.extend(ignored.into_iter().filter(|path| remote.nodes.contains_key(path)));
    scan.sift(|path| known.contains(path))
}
