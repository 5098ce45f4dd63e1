//! Judges appends in order and writes those that hold as one group.

use super::{Logged, SegmentLog, damage, index};
use crate::{
    causality::Dot,
    id::{DeviceId, NamespaceId, Seq},
    log::{Head, LogError, Position, check_next, head_after},
    record::Record,
    segment::{SegmentError, Segments},
};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// What a group has at most: records come in one by one, so more of them do not make a sync cheaper.
const GROUP_BYTES: usize = 16 << 20;
/// Devices whose last counters are remembered.
const DEVICES_MAX: usize = 100_000;

/// The one who appends.
pub(super) struct Committer {
    segments: Segments,
    /// The last stored counter of devices that appended lately: most batches are past it, and need no lookup.
    counters: BTreeMap<(NamespaceId, DeviceId), u64>,
}

/// What a group has made of heads and counters so far, before it is durable.
#[derive(Default)]
struct Provisional {
    heads: BTreeMap<NamespaceId, Head>,
    counters: BTreeMap<(NamespaceId, DeviceId), u64>,
    accepted: Vec<Arc<Record>>,
}

impl Committer {
    pub(super) fn new(segments: Segments) -> Self {
        Self { segments, counters: BTreeMap::new() }
    }

    /// Appends what holds of `group`, in order; an answer for each.
    pub(super) fn commit(
        &mut self,
        log: &SegmentLog,
        group: &[(Seq, Arc<Record>)],
    ) -> Vec<Result<Position, LogError>> {
        let mut answers = Vec::with_capacity(group.len());
        for range in portions(group) {
            answers.extend(self.commit_portion(log, &group[range]));
        }
        answers
    }

    fn commit_portion(
        &mut self,
        log: &SegmentLog,
        group: &[(Seq, Arc<Record>)],
    ) -> Vec<Result<Position, LogError>> {
        if let Some(stopped) = log.heads.stopped() {
            return group.iter().map(|_| Err(stopped.clone())).collect();
        }
        let mut provisional = Provisional::default();
        let judged: Vec<Result<usize, LogError>> = group
            .iter()
            .map(|(expected, record)| self.judge(log, &mut provisional, *expected, record))
            .collect();
        let positions =
            if provisional.accepted.is_empty() { Ok(Vec::new()) } else { self.write(log, provisional) };
        judged.into_iter().map(|answer| positions.clone().and_then(|p| answer.map(|i| p[i]))).collect()
    }

    /// Whether `record` may come next; its place among those accepted.
    fn judge(
        &mut self,
        log: &SegmentLog,
        provisional: &mut Provisional,
        expected: Seq,
        record: &Arc<Record>,
    ) -> Result<usize, LogError> {
        let (namespace, device) = (record.admission().namespace, record.batch().header().device);
        let stored = match provisional.counters.get(&(namespace, device)) {
            Some(counter) => *counter,
            None => self.last_counter(log, namespace, device)?,
        };
        if record.batch().header().first <= stored
            && let Some(duplicate) = self.find_duplicate(log, provisional, record)?
        {
            return Err(duplicate);
        }
        let head = provisional.heads.get(&namespace).copied().unwrap_or_else(|| log.heads.get(namespace));
        check_next(&head, expected, record)?;
        provisional.heads.insert(namespace, head_after(record));
        provisional.counters.insert((namespace, device), stored.max(record.batch().last()));
        provisional.accepted.push(record.clone());
        Ok(provisional.accepted.len() - 1)
    }

    fn write(&mut self, log: &SegmentLog, provisional: Provisional) -> Result<Vec<Position>, LogError> {
        let frames: Vec<&[u8]> = provisional.accepted.iter().map(|record| record.bytes()).collect();
        let places = self.segments.append(&frames).map_err(|error| match error {
            SegmentError::Stopped { what } => {
                log.heads.stop(&what);
                LogError::Unknown { what }
            }
            other => damage(other),
        })?;
        let positions: Vec<Position> = places.iter().map(|place| Position(place.0)).collect();
        let group = positions.iter().zip(provisional.accepted);
        let group = group.map(|(position, record)| Logged { position: *position, record }).collect();
        log.publish(group, self.segments.end());
        if self.counters.len() > DEVICES_MAX {
            self.counters.clear();
        }
        self.counters.extend(provisional.counters);
        Ok(positions)
    }

    fn last_counter(
        &mut self,
        log: &SegmentLog,
        namespace: NamespaceId,
        device: DeviceId,
    ) -> Result<u64, LogError> {
        if let Some(counter) = self.counters.get(&(namespace, device)) {
            return Ok(*counter);
        }
        let (recent, _) = log.recent(|record| {
            record.admission().namespace == namespace && record.batch().header().device == device
        });
        let indexed = index::last_dots(&*log.index, namespace, Dot::new(device, u64::MAX))?;
        let counters = recent.iter().map(|logged| logged.record.batch().last());
        let last = counters.chain(indexed.map(|(last, _)| last)).max().unwrap_or(0);
        self.counters.insert((namespace, device), last);
        Ok(last)
    }

    /// The stored dot that `record` repeats, in this group or before it.
    fn find_duplicate(
        &self,
        log: &SegmentLog,
        provisional: &Provisional,
        record: &Record,
    ) -> Result<Option<LogError>, LogError> {
        for index in 0..record.batch().events().len() {
            let (namespace, dot) = (record.admission().namespace, record.batch().dot(index));
            let of_group =
                provisional.accepted.iter().find(|other| super::holds(other, namespace, dot)).cloned();
            let stored = match of_group {
                Some(record) => Some(record),
                None => log.find_now(namespace, dot)?.map(|logged| logged.record),
            };
            if let Some(stored) = stored {
                let seq = Seq(stored.seq().0 + (dot.counter - stored.batch().header().first));
                return Ok(Some(LogError::Duplicate { dot, seq }));
            }
        }
        Ok(None)
    }
}

/// Cuts a group where its bytes reach [`GROUP_BYTES`].
fn portions(group: &[(Seq, Arc<Record>)]) -> Vec<Range<usize>> {
    let (mut portions, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (i, (_, record)) in group.iter().enumerate() {
        bytes += record.bytes().len();
        if bytes >= GROUP_BYTES || i + 1 == group.len() {
            portions.push(start..i + 1);
            (start, bytes) = (i + 1, 0);
        }
    }
    portions
}
