//! The log in segment files, with an index beside them.
//!
//! The segments are the truth; the index is derived. A group is appended and synced, then published to readers
//! (heads and tail), then acknowledged, and only then indexed ([`SegmentLog::index_some`]). What must always
//! hold: readers see what is acknowledged at once, from the tail in memory until the index has it; an index that
//! is missing, behind, damaged or of another log is made anew from the segments and gives the same answers; an
//! index that knows more than the segments hold, or a witness of the log's end that does
//! ([`SegmentLog::write_witness`]), means that segments were lost, which is damage.
//!
//! There are no threads in here: [`SegmentLog`] appends when its future is polled, which is what a simulation
//! needs. [`super::embedded`] puts a committer and an indexer thread around it.

mod catch_up;
mod committer;
mod index;
mod look;
mod verify;

pub use index::{IndexError, LogIndex, MemoryIndex, Pair, Pairs, Tree, Write};
pub use look::{Look, look};
pub use verify::Verify;

use super::{EventLog, Head, Later, LogError, Logged, Position, head_after, heads::Heads};
use crate::{
    causality::Dot,
    id::{DeviceId, EntryId, NamespaceId, Seq},
    record::Record,
    segment::{
        DiskError, Mark, Place, SegmentConfig, SegmentDisk, SegmentError, SegmentReader, Torn, Witness,
    },
};
use committer::Committer;
use std::{
    collections::VecDeque,
    future::ready,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Pairs fetched from the index at a time.
const PAGE: usize = 256;

/// A log in segments on any disk, with any index.
pub struct SegmentLog {
    log: [u8; 16],
    reader: SegmentReader,
    index: Arc<dyn LogIndex>,
    committer: Mutex<Committer>,
    /// Held while the index is written.
    indexing: Mutex<()>,
    tail: Mutex<Tail>,
    heads: Heads,
    witness: Mutex<WitnessFile>,
}

/// Where the log's witness lies, and what it says.
struct WitnessFile {
    disk: Arc<dyn SegmentDisk>,
    says: Option<Mark>,
}

/// What is acknowledged and not yet indexed, in order.
struct Tail {
    records: VecDeque<Recent>,
    bytes: usize,
    /// The end of what is published.
    end: Mark,
    /// Up to where the index is complete, and how many records that are.
    indexed: (Mark, u64),
}

struct Recent {
    logged: Logged,
    /// The end of its group, on the last of the group.
    ends: Option<Mark>,
}

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// An unacknowledged write that was cut off and has been moved aside.
    pub torn: Option<Torn>,
    /// How many records were put into the index.
    pub indexed: u64,
    /// Why the index was made anew, if it was.
    pub rebuilt: Option<String>,
    /// Why the witness of the log's end was not believed, if it was not: then nobody but the index can have noticed
    /// that groups are missing.
    pub witness: Option<String>,
    /// Why the index is in memory alone until the log is opened again, if it is: its disk takes nothing.
    pub unindexed: Option<String>,
}

impl SegmentLog {
    /// Opens the log in `disk` whose owner stands in `config`, and brings `index` up to it. The witness of its end lies
    /// in `witness`, which may be the same disk. `progress` hears how many bytes of how many have been gone over.
    ///
    /// # Errors
    /// [`LogError::Damaged`] with the position; nothing has been changed then. [`LogError::Unavailable`] where
    /// disk or index cannot be used, or the segments are another log's.
    pub fn open(
        disk: Arc<dyn SegmentDisk>,
        witness: Arc<dyn SegmentDisk>,
        config: SegmentConfig,
        index: Arc<dyn LogIndex>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, Opened), LogError> {
        let (log, opened) = catch_up::open(disk, witness, config, index, progress)?;
        // Without it the log is what it is; the next writing tries again.
        drop(log.write_witness());
        Ok((log, opened))
    }

    /// Appends `group` in order, one sync for all: an answer for each.
    pub fn commit(&self, group: &[(Seq, Arc<Record>)]) -> Vec<Result<Position, LogError>> {
        self.committer.lock().unwrap_or_else(PoisonError::into_inner).commit(self, group)
    }

    /// Puts some of what is acknowledged into the index, whole groups only. Answers whether there is more.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]: the index can't be written. The log takes nothing more; opening it again makes
    /// the index anew.
    pub fn index_some(&self) -> Result<bool, LogError> {
        let _writing = self.indexing.lock().unwrap_or_else(PoisonError::into_inner);
        let (group, complete) = {
            let tail = self.tail();
            let Some(count) = tail.some_groups() else { return Ok(false) };
            let group: Vec<Logged> =
                tail.records.iter().take(count).map(|recent| recent.logged.clone()).collect();
            let mark = tail.records[count - 1].ends.expect("some_groups ends with a group");
            (group, index::Complete { log: self.log, mark, records: tail.indexed.1 + count as u64 })
        };
        let mut writes = Vec::new();
        group.iter().for_each(|logged| index::add_record(logged.position, &logged.record, &mut writes));
        writes.push(complete.write());
        self.index.write(&writes).map_err(|error| {
            self.heads.stop(&error.to_string());
            LogError::from(error)
        })?;
        let mut tail = self.tail();
        for recent in group {
            tail.bytes -= recent.record.bytes().len();
            tail.records.pop_front();
        }
        tail.indexed = (complete.mark, complete.records);
        Ok(!tail.records.is_empty())
    }

    /// Writes down, durably and beside the log, how far it has got. Nothing happens where that is written. Not done by
    /// an append: it costs syncs of its own.
    ///
    /// # Errors
    /// [`DiskError`]; the log goes on, and what was written down before stays true.
    pub fn write_witness(&self) -> Result<(), DiskError> {
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        let end = self.end();
        if end.place.0 == 0 || witness.says == Some(end) {
            return Ok(());
        }
        Witness::write(&*witness.disk, self.log, end)?;
        witness.says = Some(end);
        Ok(())
    }

    /// How many bytes of records are acknowledged and not yet indexed.
    #[must_use]
    pub fn bytes_to_index(&self) -> usize {
        self.tail().bytes
    }

    /// Whose segments these are.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.log
    }

    /// The end of the last durable group.
    #[must_use]
    pub fn end(&self) -> Mark {
        self.tail().end
    }

    /// Every record in log order, everything about it checked but signatures: checksums, chains, gapless seqs. Ends
    /// with the first damage.
    #[must_use]
    pub fn verify(&self) -> Verify {
        Verify::new(self.reader.frames(self.end()))
    }

    /// Whether the index says of every record what it should. Answers with how many records that were.
    ///
    /// # Errors
    /// [`LogError::Damaged`] where the log is, [`LogError::Unavailable`] where the index differs.
    pub fn verify_index(&self) -> Result<u64, LogError> {
        while self.index_some()? {}
        verify::compare_index(&*self.index, self.verify(), true)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a durable group visible.
    fn publish(&self, group: Vec<Logged>, end: Mark) {
        let heads: Vec<_> =
            group.iter().map(|l| (l.record.admission().namespace, head_after(&l.record))).collect();
        let mut tail = self.tail();
        let last = group.len() - 1;
        for (i, logged) in group.into_iter().enumerate() {
            tail.bytes += logged.record.bytes().len();
            tail.records.push_back(Recent { logged, ends: (i == last).then_some(end) });
        }
        tail.end = end;
        drop(tail);
        self.heads.raise(heads);
    }

    /// The tail's records for which `fits`, and where the tail begins: what stands before is in the index.
    fn recent(&self, fits: impl Fn(&Record) -> bool) -> (Vec<Logged>, Position) {
        let tail = self.tail();
        let begins = tail.records.front().map_or(Position(u64::MAX), |recent| recent.logged.position);
        let logged = tail.records.iter().map(|recent| &recent.logged);
        (logged.filter(|logged| fits(&logged.record)).cloned().collect(), begins)
    }

    fn read_at(&self, position: Position) -> Result<Logged, LogError> {
        let bytes = self.reader.read(Place(position.0)).map_err(damage)?;
        decode(position, bytes)
    }

    /// The records of a stream that end after `after`, index first, then `recent`, while `wanted` says so.
    fn read_stream(
        &self,
        (tree, key): (Tree, impl Fn(Seq) -> Vec<u8>),
        mut after: Seq,
        (recent, begins): (Vec<Logged>, Position),
        mut wanted: impl FnMut(&Logged) -> bool,
    ) -> Result<Vec<Logged>, LogError> {
        let mut found = Vec::new();
        loop {
            let page = index::stream(&*self.index, tree, &key, after, PAGE)?;
            let is_last = page.len() < PAGE;
            for (seq, position) in page.into_iter().filter(|(_, position)| *position < begins) {
                let logged = self.read_at(position)?;
                let goes_on = wanted(&logged);
                found.push(logged);
                if !goes_on {
                    return Ok(found);
                }
                after = seq;
            }
            if is_last {
                break;
            }
        }
        for logged in recent {
            let goes_on = wanted(&logged);
            found.push(logged);
            if !goes_on {
                break;
            }
        }
        Ok(found)
    }

    fn read_now(
        &self,
        namespace: NamespaceId,
        after: Seq,
        bytes_max: usize,
    ) -> Result<Vec<Logged>, LogError> {
        let recent = self.recent(|r| r.admission().namespace == namespace && r.last_seq() > after);
        let key = |seq| index::namespace_key(namespace, seq);
        self.read_stream((Tree::Namespace, key), after, recent, until_bytes(bytes_max))
    }

    fn read_all_now(&self, after: Position, bytes_max: usize) -> Result<Vec<Logged>, LogError> {
        let frames = self.reader.frames_after(Place(after.0), self.end()).map_err(damage)?;
        let (mut found, mut wanted) = (Vec::new(), until_bytes(bytes_max));
        for frame in frames {
            let frame = frame.map_err(damage)?;
            let logged = decode(Position(frame.place.0), frame.bytes)?;
            let goes_on = wanted(&logged);
            found.push(logged);
            if !goes_on {
                break;
            }
        }
        Ok(found)
    }

    fn find_now(&self, namespace: NamespaceId, dot: Dot) -> Result<Option<Logged>, LogError> {
        let (mut recent, _) = self.recent(|record| holds(record, namespace, dot));
        if let Some(found) = recent.pop() {
            return Ok(Some(found));
        }
        match index::last_dots(&*self.index, namespace, dot)? {
            Some((last, position)) if last >= dot.counter => Ok(Some(self.read_at(position)?)),
            _ => Ok(None),
        }
    }

    fn read_entry_now(
        &self,
        namespace: NamespaceId,
        entry: EntryId,
        after: Seq,
        count_max: usize,
    ) -> Result<Vec<Logged>, LogError> {
        if count_max == 0 {
            return Ok(Vec::new());
        }
        let recent = self.recent(|record| {
            record.admission().namespace == namespace
                && record.last_seq() > after
                && super::entries_touched(record).contains(&entry)
        });
        let key = |seq| index::entry_key(namespace, entry, seq);
        let mut found = self.read_stream((Tree::Entry, key), after, recent, until_count(count_max))?;
        let created = self.find_now(namespace, entry.0)?.filter(|logged| logged.record.last_seq() > after);
        // Nothing about an entry stands before its creation; it may stand beside it.
        if let Some(created) = created
            && found.first().is_none_or(|first| first.position != created.position)
        {
            found.insert(0, created);
            found.truncate(count_max);
        }
        Ok(found)
    }

    fn read_device_now(
        &self,
        namespace: NamespaceId,
        device: DeviceId,
        after: Seq,
        count_max: usize,
    ) -> Result<Vec<Logged>, LogError> {
        if count_max == 0 {
            return Ok(Vec::new());
        }
        let recent = self.recent(|record| {
            record.admission().namespace == namespace
                && record.last_seq() > after
                && record.batch().header().device == device
        });
        let key = |seq| index::device_key(namespace, device, seq);
        self.read_stream((Tree::Device, key), after, recent, until_count(count_max))
    }
}

impl Tail {
    /// How many records make up some whole groups; none if there are none.
    fn some_groups(&self) -> Option<usize> {
        const SOME: usize = 1024;
        let ends = |(i, recent): (usize, &Recent)| recent.ends.map(|_| i + 1);
        let within = self.records.iter().take(SOME).enumerate().rev().find_map(ends);
        within.or_else(|| self.records.iter().enumerate().find_map(ends))
    }
}

impl EventLog for SegmentLog {
    fn append(&self, expected: Seq, record: Arc<Record>) -> Later<'_, Position> {
        Box::pin(async move {
            let answer = self.commit(&[(expected, record)]).pop().expect("one answer for each");
            if answer.is_ok() {
                while self.index_some().unwrap_or(false) {}
            }
            answer
        })
    }

    fn head(&self, namespace: NamespaceId) -> Later<'_, Head> {
        Box::pin(ready(Ok(self.heads.get(namespace))))
    }

    fn read(&self, namespace: NamespaceId, after: Seq, bytes_max: usize) -> Later<'_, Vec<Logged>> {
        Box::pin(async move { self.read_now(namespace, after, bytes_max) })
    }

    fn read_all(&self, after: Position, bytes_max: usize) -> Later<'_, Vec<Logged>> {
        Box::pin(async move { self.read_all_now(after, bytes_max) })
    }

    fn find(&self, namespace: NamespaceId, dot: Dot) -> Later<'_, Option<Logged>> {
        Box::pin(async move { self.find_now(namespace, dot) })
    }

    fn read_entry(
        &self,
        namespace: NamespaceId,
        entry: EntryId,
        after: Seq,
        count_max: usize,
    ) -> Later<'_, Vec<Logged>> {
        Box::pin(async move { self.read_entry_now(namespace, entry, after, count_max) })
    }

    fn read_device(
        &self,
        namespace: NamespaceId,
        device: DeviceId,
        after: Seq,
        count_max: usize,
    ) -> Later<'_, Vec<Logged>> {
        Box::pin(async move { self.read_device_now(namespace, device, after, count_max) })
    }

    fn namespaces(&self) -> Later<'_, Vec<NamespaceId>> {
        Box::pin(ready(Ok(self.heads.namespaces())))
    }

    fn wait_past(&self, namespace: NamespaceId, after: Seq) -> Later<'_, Head> {
        self.heads.wait_past(namespace, after)
    }
}

fn holds(record: &Record, namespace: NamespaceId, dot: Dot) -> bool {
    let batch = record.batch();
    record.admission().namespace == namespace
        && batch.header().device == dot.device
        && (batch.header().first..=batch.last()).contains(&dot.counter)
}

/// Goes on until the bytes reach `bytes_max`.
fn until_bytes(bytes_max: usize) -> impl FnMut(&Logged) -> bool {
    let mut bytes = 0;
    move |logged| {
        bytes += logged.record.bytes().len();
        bytes < bytes_max
    }
}

fn until_count(count_max: usize) -> impl FnMut(&Logged) -> bool {
    let mut count = 0;
    move |_| {
        count += 1;
        count < count_max
    }
}

fn decode(position: Position, bytes: Vec<u8>) -> Result<Logged, LogError> {
    match Record::decode(bytes) {
        Ok(record) => Ok(Logged { position, record: Arc::new(record) }),
        Err(error) => Err(damaged(Place(position.0), &error.to_string())),
    }
}

fn damaged(place: Place, what: &str) -> LogError {
    LogError::Damaged { position: Position(place.0), place: place.to_string(), what: what.into() }
}

/// What a segment's error means to a log's caller.
fn damage(error: SegmentError) -> LogError {
    match error {
        SegmentError::Damaged { place, what } => damaged(place, &what),
        SegmentError::Full { place } => LogError::Full { place },
        other => LogError::Unavailable { what: other.to_string() },
    }
}

impl From<IndexError> for LogError {
    fn from(error: IndexError) -> Self {
        Self::Unavailable { what: error.to_string() }
    }
}

#[cfg(all(test, feature = "contract"))]
mod tests;
