//! Going over a whole log, record by record.

use super::{
    Logged, damage, damaged, decode,
    index::{self, LogIndex},
};
use crate::{
    id::NamespaceId,
    log::{Head, LogError, Position, check_next, head_after},
    segment::{Frame, Frames, Place, SegmentError},
};
use std::collections::BTreeMap;

/// Every record in log order, checked as it comes. Ends after the first damage.
pub struct Verify {
    frames: Frames,
    heads: BTreeMap<NamespaceId, Head>,
    is_over: bool,
}

impl Verify {
    pub(super) fn new(frames: Frames) -> Self {
        Self { frames, heads: BTreeMap::new(), is_over: false }
    }

    /// The heads after all that has come so far.
    #[must_use]
    pub fn heads(&self) -> &BTreeMap<NamespaceId, Head> {
        &self.heads
    }

    fn check(&mut self, frame: Result<Frame, SegmentError>) -> Result<Logged, LogError> {
        let Frame { place, bytes } = frame.map_err(damage)?;
        let logged = decode(Position(place.0), bytes)?;
        let namespace = logged.record.admission().namespace;
        let head = self.heads.get(&namespace).copied().unwrap_or_default();
        check_next(&head, head.seq, &logged.record)
            .map_err(|error| damaged(Place(logged.position.0), &error.to_string()))?;
        self.heads.insert(namespace, head_after(&logged.record));
        Ok(logged)
    }
}

impl Iterator for Verify {
    type Item = Result<Logged, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let frame = self.frames.next()?;
        let checked = self.check(frame);
        self.is_over = checked.is_err();
        Some(checked)
    }
}

/// Whether `index` holds what every record puts into it, and how many records that were. Its heads are compared if
/// the records are `all`: they may be ahead of a mark before the end.
pub(super) fn compare_index(index: &dyn LogIndex, mut verify: Verify, all: bool) -> Result<u64, LogError> {
    let differs = |what: String| LogError::Unavailable { what };
    let (mut records, mut writes) = (0, Vec::new());
    for logged in verify.by_ref() {
        let logged = logged?;
        records += 1;
        writes.clear();
        index::add_record(logged.position, &logged.record, &mut writes);
        for write in writes.iter().filter(|write| write.tree != index::Tree::Head) {
            let found = index.range(write.tree, &write.key, &write.key, 1)?;
            if found.first().map(|(_, value)| value) != Some(&write.value) {
                let place = Place(logged.position.0);
                return Err(differs(format!("the index says something else of the record in {place}")));
            }
        }
    }
    if all && index::heads_of(index)? != *verify.heads() {
        return Err(differs("the index has other heads than the log".into()));
    }
    Ok(records)
}
