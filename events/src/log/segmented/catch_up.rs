//! Opening: finds the end of the segments and brings the index up to it, from nothing if need be.

use super::{
    Committer, Heads, Logged, Opened, SegmentLog, Tail, WitnessFile, damage, damaged, decode,
    index::{self, Complete, IndexError, LogIndex, Tree},
};
use crate::{
    id::NamespaceId,
    log::{Head, LogError, Position, check_next, head_after},
    record::Record,
    segment::{Mark, Place, SegmentConfig, SegmentDisk, SegmentReader, Segments, Witness},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

/// Records that go into the index at a time.
const STEP: u64 = 1024;

pub(super) fn open(
    disk: Arc<dyn SegmentDisk>,
    witness: Arc<dyn SegmentDisk>,
    config: SegmentConfig,
    index: Arc<dyn LogIndex>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(SegmentLog, Opened), LogError> {
    let (complete, mut rebuilt) = believable(&*index, config.owner);
    let said = Witness::read(&*witness, config.owner).map_err(|error| damage(error.into()))?;
    let known: Vec<Mark> = said.mark().into_iter().chain(complete.map(|complete| complete.mark)).collect();
    let (segments, torn) = Segments::open(disk, config, &known).map_err(damage)?;
    let (reader, end) = (segments.reader(), segments.end());
    let mut work = CatchUp { config, reader: &reader, index: &*index, end, progress };
    let done = match complete.map(|complete| work.go_on_from(complete)) {
        Some(Ok(done)) => done,
        Some(Err(Trouble::Log(error))) => return Err(error),
        other => {
            if let Some(Err(Trouble::Index(error))) = other {
                rebuilt = Some(error.to_string());
            }
            work.begin_anew().map_err(|trouble| match trouble {
                Trouble::Log(error) => error,
                Trouble::Index(error) => error.into(),
            })?
        }
    };
    // An empty log has nothing to rebuild.
    let rebuilt = rebuilt.filter(|_| done.records > 0);
    let says = said.mark();
    let unbelieved = if let Witness::Unusable(what) = said { Some(what) } else { None };
    let opened = Opened { torn, indexed: done.indexed, rebuilt, witness: unbelieved, unindexed: None };
    let heads = Heads::default();
    heads.raise(done.heads);
    let tail = Tail { records: VecDeque::new(), bytes: 0, end, indexed: (end, done.records) };
    let log = SegmentLog {
        log: config.owner,
        reader,
        index,
        committer: Mutex::new(Committer::new(segments)),
        indexing: Mutex::new(()),
        tail: Mutex::new(tail),
        heads,
        witness: Mutex::new(WitnessFile { disk: witness, says }),
    };
    Ok((log, opened))
}

/// What the index says of itself, if it is this log's; otherwise why it is not believed.
pub(super) fn believable(index: &dyn LogIndex, log: [u8; 16]) -> (Option<Complete>, Option<String>) {
    match Complete::of(index) {
        Ok(Some(complete)) if complete.log == log => (Some(complete), None),
        Ok(Some(_)) => (None, Some("the index is another log's".into())),
        Ok(None) => (None, Some("there was no index".into())),
        Err(error) => (None, Some(error.to_string())),
    }
}

/// What stands in the way: the log itself, or only its index.
enum Trouble {
    Log(LogError),
    Index(IndexError),
}

impl From<IndexError> for Trouble {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

struct CatchUp<'a> {
    config: SegmentConfig,
    reader: &'a SegmentReader,
    index: &'a dyn LogIndex,
    end: Mark,
    progress: &'a mut dyn FnMut(u64, u64),
}

struct Done {
    heads: BTreeMap<NamespaceId, Head>,
    /// In the index, all in all.
    records: u64,
    /// Put there just now.
    indexed: u64,
}

impl CatchUp<'_> {
    fn go_on_from(&mut self, complete: Complete) -> Result<Done, Trouble> {
        let done = Done { heads: index::heads_of(self.index)?, records: complete.records, indexed: 0 };
        let done = self.go_on(Some(complete.mark), done)?;
        for tree in [Tree::Namespace, Tree::Device, Tree::Dot] {
            if self.index.count(tree)? != done.records {
                return Err(IndexError("it has lost some of what it held".into()).into());
            }
        }
        Ok(done)
    }

    fn begin_anew(&mut self) -> Result<Done, Trouble> {
        self.index.clear()?;
        self.go_on(None, Done { heads: BTreeMap::new(), records: 0, indexed: 0 })
    }

    /// Puts everything after `mark` into the index.
    fn go_on(&mut self, mark: Option<Mark>, mut done: Done) -> Result<Done, Trouble> {
        let frames = match mark.filter(|mark| mark.place.0 > 0) {
            Some(mark) => self.reader.frames_past(mark, self.end).map_err(|e| Trouble::Log(damage(e)))?,
            None => self.reader.frames(self.end),
        };
        // Heads written after the mark by a run that was cut off are ahead of it; the records say what is right.
        let ahead = done.heads.clone();
        let mut frames = frames;
        let mut step = Step::default();
        while let Some(group) = frames.next_group() {
            let (group, mark) = group.map_err(|e| Trouble::Log(damage(e)))?;
            for frame in group {
                let position = Position(frame.place.0);
                let Logged { record, .. } = decode(position, frame.bytes).map_err(Trouble::Log)?;
                follow(&mut done.heads, &ahead, position, &record).map_err(Trouble::Log)?;
                index::add_record(position, &record, &mut step.writes);
                step.records += 1;
            }
            step.mark = mark;
            if step.records >= STEP {
                self.write(&mut step, &mut done)?;
            }
        }
        if step.records > 0 {
            self.write(&mut step, &mut done)?;
        }
        Ok(done)
    }

    fn write(&mut self, step: &mut Step, done: &mut Done) -> Result<(), IndexError> {
        let Step { mut writes, records, mark } = std::mem::take(step);
        done.records += records;
        done.indexed += records;
        writes.push(Complete { log: self.config.owner, mark, records: done.records }.write());
        self.index.write(&writes)?;
        (self.progress)(bytes_up_to(mark.place, self.config), bytes_up_to(self.end.place, self.config));
        Ok(())
    }
}

/// What goes into the index next.
#[derive(Default)]
struct Step {
    writes: Vec<index::Write>,
    records: u64,
    mark: Mark,
}

/// Takes `record` as the next of its namespace, or says that the stream is broken there.
fn follow(
    heads: &mut BTreeMap<NamespaceId, Head>,
    ahead: &BTreeMap<NamespaceId, Head>,
    position: Position,
    record: &Record,
) -> Result<(), LogError> {
    let namespace = record.admission().namespace;
    let head = heads.get(&namespace).copied().unwrap_or_default();
    let is_ahead = ahead.get(&namespace).is_some_and(|ahead| ahead.seq >= record.last_seq());
    if !is_ahead {
        check_next(&head, head.seq, record)
            .map_err(|error| damaged(Place(position.0), &error.to_string()))?;
    }
    heads.insert(namespace, head_after(record));
    Ok(())
}

/// About how far a place is, in bytes.
fn bytes_up_to(place: Place, config: SegmentConfig) -> u64 {
    u64::from(place.number().saturating_sub(1)) * config.roll_bytes + place.offset()
}
