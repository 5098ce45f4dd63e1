//! Which packs compaction took away: so that one which is gone otherwise is damage, and not a pack nobody misses.
//!
//! ```text
//! removed = "annals removed packs 1\n", a line `FIRST-LAST` for each run of numbers, "end COUNT\n"
//! ```
//!
//! Written by replace, and durable before the first of them goes. What is listed and still there (a crash came between)
//! is taken away when the store is next opened.

use annals_events::segment::{DiskError, SegmentDisk};
use std::collections::BTreeSet;

/// The file, beside the packs.
const NAME: &str = "removed";
const NEW: &str = "removed.new";
const FIRST_LINE: &str = "annals removed packs 1";

/// Why the list cannot be gone by.
#[derive(Debug)]
pub(super) enum RemovedError {
    Disk(DiskError),
    /// It is not what was written.
    Damaged,
}

impl From<DiskError> for RemovedError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// The numbers of the packs that were taken away.
pub(super) fn read(disk: &dyn SegmentDisk) -> Result<BTreeSet<u32>, RemovedError> {
    if !disk.list()?.iter().any(|name| name == NAME) {
        return Ok(BTreeSet::new());
    }
    let file = disk.open(NAME)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(|_| RemovedError::Damaged)?];
    let got = file.read_at(0, &mut bytes)?;
    bytes.truncate(got);
    decode(&String::from_utf8_lossy(&bytes)).ok_or(RemovedError::Damaged)
}

/// Puts the list in place of the one that is there, durably.
pub(super) fn write(disk: &dyn SegmentDisk, removed: &BTreeSet<u32>) -> Result<(), DiskError> {
    if disk.list()?.iter().any(|name| name == NEW) {
        disk.remove(NEW)?;
    }
    let file = disk.create(NEW)?;
    file.append(encode(removed).as_bytes())?;
    file.sync()?;
    disk.rename(NEW, NAME)?;
    disk.sync_names()
}

fn encode(removed: &BTreeSet<u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in removed {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let lines: String = runs.iter().map(|(first, last)| format!("{first}-{last}\n")).collect();
    format!("{FIRST_LINE}\n{lines}end {}\n", removed.len())
}

fn decode(text: &str) -> Option<BTreeSet<u32>> {
    let rest = text.strip_prefix(FIRST_LINE)?.strip_prefix('\n')?;
    let (lines, end) = rest.rsplit_once("end ")?;
    let mut removed = BTreeSet::new();
    for line in lines.lines() {
        let (first, last) = line.split_once('-')?;
        removed.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    (end.strip_suffix('\n')?.parse() == Ok(removed.len())).then_some(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_back_and_one_that_was_cut_is_none() {
        for removed in [vec![], vec![1], vec![1, 2, 3, 7, 9, 10], (1..40).collect()] {
            let removed: BTreeSet<u32> = removed.into_iter().collect();
            let text = encode(&removed);
            assert_eq!(decode(&text), Some(removed));
            for cut in 0..text.len() {
                assert_eq!(decode(&text[..cut]), None, "{:?}", &text[..cut]);
            }
        }
    }
}
