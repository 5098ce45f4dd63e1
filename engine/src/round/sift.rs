//! What of a scan is synced, or may be: ignored is what is new, never what the log shows.

use super::{Host, Round};
use crate::disk::{Disk, DiskError, Scan, SkippedBecause};
use std::collections::BTreeSet;

impl<H: Host> Round<'_, H> {
    /// Scans, and again where an ignored folder has to be looked into.
    pub(super) fn scan(&mut self) -> Result<Scan, DiskError> {
        loop {
            let mut scan = self.host.parts().disk.scan()?;
            let folders = self.sift(&mut scan);
            if folders.is_empty() || !self.host.parts().disk.descend(&folders) {
                return Ok(scan);
            }
        }
    }

    /// Leaves out what is ignored, unless it is synced, here or by the log. Answers with the ignored folders that are.
    fn sift(&mut self, scan: &mut Scan) -> BTreeSet<String> {
        let is_ignored = |why: &SkippedBecause| matches!(why, SkippedBecause::Ignored { .. });
        let ignored = scan.skipped.iter().filter(|skipped| is_ignored(&skipped.why));
        let mut ignored: BTreeSet<String> = ignored.map(|skipped| skipped.path.clone()).collect();
        if ignored.is_empty() {
            return BTreeSet::new();
        }
        let synced = self.replica.synced();
        let mut known: BTreeSet<String> =
            ignored.iter().filter(|path| synced.get(path).is_some()).cloned().collect();
        ignored.retain(|path| !known.contains(path));
        let remote = self.replica.remote();
        known.extend(ignored.into_iter().filter(|path| remote.nodes.contains_key(path)));
        scan.sift(|path| known.contains(path))
    }
}
