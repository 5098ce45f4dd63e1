//! What a device must not forget, in `.annals/`: the records that it pulled, and the changes of its own state.
//!
//! Both are rows of segments: `records/` holds one record a frame, `state/` one group of changes a frame, each
//! durable when an append returns. From the two the replica is made again at every start. Saves that wait for
//! a server have their chunks in `outbox/`.
//!
//! The row of changes does not grow for ever: now and then the whole state is written behind it, into segments of its
//! own, and once that is durable the segments before it go. Until its last frame is there it counts for nothing, so a
//! crash at any point leaves the old changes, or the new ones, or both.
//!
//! What both add up to lies in `checkpoint`, as far as they had got when it was made: a start goes on from there, or from
//! the beginning where that file is in any way not what was written, or not of these rows. It is a cache, and not synced.
//!
//! Both rows have a witness of their end ([`row`]): what was cut away, or put back, is not taken for all that there was.
//!
//! Records are only ever appended, but where a server was put back to an older copy: then a whole row is written beside
//! the one that is there (`records.part`), called `records.new` once it is durable, and put in its place. Opening
//! finishes what a crash cut off.

mod outbox;
mod row;
#[cfg(test)]
mod tests;

pub(super) use outbox::Outbox;

use super::{
    checkpoint::{Checkpoint, Marks},
    guarding::Written,
    layout::{LISTS, OUTBOX, RECORDS, RECORDS_NEW, RECORDS_OLD, RECORDS_PART, STATE},
    lists::ListFolder,
};
use annals_engine::{
    journal::Identity,
    names::NameRules,
    replica::{Replica, StateChange},
    round::{KeptRecords, StoreError},
};
use annals_events::{
    DeviceId, Record, Seq,
    log::{Logged, Position},
    segment::{
        DiskError, FolderDisk as SegmentFolder, Frame, Frames, Mark, Place, SegmentDisk, SegmentError,
        SegmentReader, Unfinished,
    },
};
use row::Row;
use std::{
    borrow::Borrow,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Changes that go into one frame, if they are small.
const CHANGES_PER_FRAME: usize = 4096;
/// About how large a frame gets, and a group where it does not matter which changes are durable together.
const FRAME_BYTES: usize = 4 << 20;
/// About how large a group gets. The tests want changes that are too many for one.
const GROUP_BYTES: usize = if cfg!(test) { 16 << 10 } else { 16 << 20 };

/// Of a whole state: changes in a frame, and about how large a group gets. The tests want several of each.
const WHOLE_PER_FRAME: usize = if cfg!(test) { 8 } else { CHANGES_PER_FRAME };
const WHOLE_GROUP_BYTES: usize = if cfg!(test) { 256 } else { FRAME_BYTES };
/// Changes are written anew only where that saves at least so much.
const COMPACT_BYTES_MIN: u64 = 8 << 20;
/// What a frame of a whole state begins with: no list of changes begins so. Whether it is the first or the last of
/// its frames follows.
const WHOLE: u8 = 0;
const FIRST: u8 = 1;
const LAST: u8 = 2;

/// The device's own state on disk.
pub(super) struct Store {
    folder: PathBuf,
    device: DeviceId,
    records: Row,
    kept: Kept,
    state: Row,
    /// Bytes of changes since the state was written anew, and of that.
    grown: u64,
    whole: u64,
    pub(super) checkpoint: Checkpoint,
    pub(super) outbox: Outbox,
    pub(super) lists: ListFolder,
    /// As this process left it; none where it is only looked at.
    written: Option<Written>,
    /// What a crash cut off, by row, where it was left as it is.
    unfinished: Vec<(&'static str, Unfinished)>,
}

/// Records by their position. One holds some hundred events, and who asks for one of them asks for the others next.
#[derive(Clone)]
pub(super) struct Kept {
    /// Where the row is.
    place: String,
    reader: SegmentReader,
    /// What was read last, the latest first.
    recent: Arc<Mutex<Recent>>,
}

/// Records beside their positions.
type Recent = Vec<(u64, Arc<Record>)>;

/// So many records are kept at hand: each is half a megabyte at most.
const RECENT_MAX: usize = 8;

impl Store {
    /// Opens the state in `folder` (`.annals/`), or begins it. What a crash left half written is moved aside.
    pub(super) fn open(folder: &Path, device: DeviceId) -> Result<Self, StoreError> {
        finish_replacing(folder).map_err(in_folder(folder))?;
        let disk = |name: &str| {
            Ok::<_, StoreError>(Arc::new(segments_in(&folder.join(name))?) as Arc<dyn SegmentDisk>)
        };
        let outbox = Outbox::new(folder.join(OUTBOX), device);
        let store = Self::open_on(folder, disk(RECORDS)?, disk(STATE)?, outbox, device)?;
        Ok(Self { written: Some(Written::of(folder)), ..store })
    }

    /// Whether nobody else has written to it, or removed it.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.written.as_ref().map_or(Ok(()), Written::check)
    }

    /// Does something to it that shall last, if nobody else has.
    fn write<T>(&mut self, change: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.check()?;
        let result = change(self);
        self.written.iter_mut().for_each(Written::note);
        result
    }

    fn open_on(
        folder: &Path,
        records: Arc<dyn SegmentDisk>,
        state: Arc<dyn SegmentDisk>,
        outbox: Outbox,
        device: DeviceId,
    ) -> Result<Self, StoreError> {
        let (records, state) = (Row::open(records, device, false)?, Row::open(state, device, true)?);
        Ok(Self::of(folder, device, (records, state), outbox, Checkpoint::new(folder)))
    }

    /// Nobody has written to it since, and nothing of it was cut off.
    fn of(
        folder: &Path,
        device: DeviceId,
        (records, state): (Row, Row),
        outbox: Outbox,
        checkpoint: Checkpoint,
    ) -> Self {
        Self {
            folder: folder.to_owned(),
            device,
            kept: Kept::new(&records),
            records,
            state,
            grown: 0,
            whole: 0,
            checkpoint,
            outbox,
            lists: ListFolder::new(folder.join(LISTS)),
            written: None,
            unfinished: Vec::new(),
        }
    }

    /// Whether what [`open`](Self::open) refuses in `folder` is merely older than it should be: cut, or put back.
    pub(super) fn is_older(folder: &Path, device: DeviceId) -> bool {
        let is_whole = |name: &str, gaps| {
            row::is_whole(Arc::new(SegmentFolder::to_read(folder.join(name))), device, gaps)
        };
        is_whole(RECORDS, false) && is_whole(STATE, true)
    }

    /// Opens the state in `folder` to be looked at: nothing in it is changed, nothing can be written down. `scratch` is
    /// an empty folder for what has to be copied to be read.
    pub(super) fn look(folder: &Path, device: DeviceId, scratch: &Path) -> Result<Self, StoreError> {
        let mut unfinished = Vec::new();
        let mut look = |name: &'static str, gaps| {
            let disk = Arc::new(SegmentFolder::to_read(folder.join(name)));
            let (row, cut_off) = Row::look(disk, device, gaps)?;
            unfinished.extend(cut_off.map(|cut_off| (name, cut_off)));
            Ok::<_, StoreError>(row)
        };
        // A crash came when the one was about to be put in the place of the other.
        let records = if folder.join(RECORDS_NEW).exists() { RECORDS_NEW } else { RECORDS };
        let rows = (look(records, false)?, look(STATE, true)?);
        let outbox = Outbox::to_look_at(folder.join(OUTBOX), device, scratch);
        Ok(Self { unfinished, ..Self::of(folder, device, rows, outbox, Checkpoint::none()) })
    }

    /// What a crash cut off, in which row, of a state that was opened to be looked at.
    pub(super) fn unfinished(&self) -> Vec<(&'static str, Unfinished)> {
        let of_outbox = self.outbox.packs(false).ok().and_then(|packs| packs.as_ref()?.unfinished());
        self.unfinished.iter().copied().chain(of_outbox.map(|cut_off| (OUTBOX, cut_off))).collect()
    }

    /// The changes that make the state, in order.
    fn changes(&mut self) -> Result<Vec<StateChange>, StoreError> {
        let (mut changes, mut anew) = (Vec::new(), Vec::new());
        (self.grown, self.whole) = (0, 0);
        let mut writing = 0;
        let (numbers, place) = (self.state.numbers()?, self.state.place());
        let wrong = |error| damaged(&place, error);
        let mut begins = numbers.first().is_none_or(|first| *first == 1);
        for frame in self.state.reader().frames(self.state.end()) {
            let bytes = frame.map_err(|error| store_error(&place, error))?.bytes;
            let length = bytes.len() as u64;
            let Some((part, whole)) = whole_frame(&bytes) else {
                changes.extend(StateChange::decode(&bytes).map_err(wrong)?);
                self.grown += length;
                continue;
            };
            if part & FIRST != 0 {
                anew.clear();
                writing = 0;
            }
            anew.extend(StateChange::decode(whole).map_err(wrong)?);
            writing += length;
            if part & LAST != 0 {
                changes = std::mem::take(&mut anew);
                (self.grown, self.whole) = (0, writing);
                begins = true;
            }
        }
        if !begins || numbers.windows(2).any(|pair| pair[1] != pair[0] + 1) {
            return Err(damaged(&place, "segments of the state are gone"));
        }
        Ok(changes)
    }

    /// Writes the whole state anew if its changes have become many, and how far both rows have got.
    pub(super) fn compact_if_due(&mut self, replica: &Replica) -> Result<(), StoreError> {
        self.write(|store| {
            store.records.vouch_if_due()?;
            store.state.vouch_if_due()
        })?;
        if self.grown < COMPACT_BYTES_MIN + 2 * self.whole {
            return Ok(());
        }
        // Should it fail, for want of room as it may be, not at every round.
        self.grown = 0;
        self.write(|store| store.compact(replica.state()))
    }

    /// Puts `state` in the place of every change so far.
    fn compact(&mut self, state: impl IntoIterator<Item = StateChange>) -> Result<(), StoreError> {
        let before = self.state.numbers()?;
        self.state.roll();
        let (mut frames, mut part, mut bytes) = (frames_of(state, WHOLE_PER_FRAME).peekable(), FIRST, 0);
        let whole = std::iter::from_fn(|| {
            let frame = frames.next()?;
            let end = if frames.peek().is_none() { LAST } else { 0 };
            bytes += frame.len() as u64;
            Some([&[WHOLE, std::mem::take(&mut part) | end], frame.as_slice()].concat())
        });
        self.state.append(whole, WHOLE_GROUP_BYTES)?;
        (self.grown, self.whole) = (0, bytes);
        self.checkpoint.make_due();
        self.state.remove(&before)
    }

    /// The replica that follows from all of it: from the checkpoint and what came since, if there is one.
    pub(super) fn replica(&mut self, identity: Identity) -> Result<Replica, StoreError> {
        if let Some(replica) = self.resumed(&identity) {
            return Ok(replica);
        }
        let changes = self.changes()?;
        let (mut wrong, mut count, mut bytes) = (None, 0, self.grown + self.whole);
        let records = self.records().map_while(|logged| logged.map_err(|error| wrong = Some(error)).ok());
        let records = records.inspect(|logged| {
            count += 1;
            bytes += logged.record.bytes().len() as u64;
        });
        let replica = Replica::reopen(identity, NameRules::default(), changes, records);
        let replica = replica.map_err(|error| damaged(&self.folder.display(), error));
        self.checkpoint.begins_with(count, bytes);
        match wrong {
            Some(error) => Err(error),
            None => replica,
        }
    }

    /// The replica that follows from the checkpoint and what was written down since; none where there is any doubt.
    fn resumed(&mut self, identity: &Identity) -> Option<Replica> {
        let (marks, replica) = self.checkpoint.read(identity)?;
        let (state, records) =
            (frames_since(&self.state, marks.state)?, frames_since(&self.records, marks.records)?);
        let (mut grown, mut changes) = (marks.grown, Vec::new());
        for frame in state {
            let bytes = frame.ok()?.bytes;
            // Written anew since: what is before that is about to go, or has gone.
            if whole_frame(&bytes).is_some() {
                return None;
            }
            grown += bytes.len() as u64;
            changes.extend(StateChange::decode(&bytes).ok()?);
        }
        let (mut wrong, mut since, mut bytes) = (false, 0, grown - marks.grown);
        let place = self.records.place();
        let records = records
            .map(|frame| logged(&place, frame))
            .map_while(|logged| logged.map_err(|_| wrong = true).ok());
        let records = records.inspect(|logged| {
            since += 1;
            bytes += logged.record.bytes().len() as u64;
        });
        let replica = replica.resume(changes, records).ok().filter(|_| !wrong)?;
        (self.grown, self.whole) = (grown, marks.whole);
        self.checkpoint.begins_with(since, bytes);
        Some(replica)
    }

    /// Keeps what all of it adds up to by now, if that saves the next start much; none of it is durable.
    pub(super) fn keep_checkpoint_if_due(&mut self, replica: &mut Replica) {
        if self.checkpoint.is_due() {
            let (grown, whole) = (self.grown, self.whole);
            self.checkpoint
                .write(Marks { records: self.records.end(), state: self.state.end(), grown, whole }, replica);
        }
    }

    /// Every record in order.
    pub(super) fn records(&self) -> impl Iterator<Item = Result<Logged, StoreError>> {
        let place = self.records.place();
        self.records.reader().frames(self.records.end()).map(move |frame| logged(&place, frame))
    }

    /// What is kept does not add up to anything.
    pub(super) fn damaged_records(&self, why: impl fmt::Display) -> StoreError {
        damaged(&self.records.place(), why)
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    pub(super) fn persist(&mut self, changes: &[StateChange]) -> Result<(), StoreError> {
        self.write(|store| store.append_changes(changes))
    }

    fn append_changes(&mut self, changes: &[StateChange]) -> Result<(), StoreError> {
        let weight: usize = changes.iter().map(StateChange::weight).sum();
        if weight <= GROUP_BYTES {
            return self.append_frames(frames_of(changes, CHANGES_PER_FRAME), usize::MAX);
        }
        // Too much for one group, as a first sync of many files is: a crash may come between two groups. Batches
        // first: what the synced tree then lacks, the next look at the folder finds to be in the log already.
        let is_tree = |change: &&StateChange| matches!(change, StateChange::Synced(_));
        let rest = frames_of(changes.iter().filter(|change| !is_tree(change)), CHANGES_PER_FRAME);
        self.append_frames(rest, FRAME_BYTES)?;
        let tree = frames_of(changes.iter().filter(is_tree), CHANGES_PER_FRAME);
        self.append_frames(tree, FRAME_BYTES)
    }

    fn append_frames(
        &mut self,
        frames: impl Iterator<Item = Vec<u8>>,
        group_bytes: usize,
    ) -> Result<(), StoreError> {
        let mut bytes = 0;
        let appended = self.state.append(frames.inspect(|frame| bytes += frame.len() as u64), group_bytes);
        self.grown += bytes;
        self.checkpoint.grew(0, bytes);
        appended.map(drop)
    }

    pub(super) fn keep(&mut self, records: Vec<Arc<Record>>) -> Result<Vec<Logged>, StoreError> {
        let frames = records.iter().map(|record| record.bytes().to_vec());
        let bytes: usize = records.iter().map(|record| record.bytes().len()).sum();
        let places = self.write(|store| store.records.append(frames, GROUP_BYTES))?;
        self.checkpoint.grew(records.len() as u64, bytes as u64);
        Ok(records
            .into_iter()
            .zip(places)
            .map(|(record, place)| Logged { position: Position(place.0), record })
            .collect())
    }
}

/// What a row holds that had got as far as that before; none where it is another row.
fn frames_since(row: &Row, mark: Mark) -> Option<Frames> {
    if mark == Mark::default() {
        return Some(row.reader().frames(row.end())); // There was nothing yet.
    }
    row.reader().frames_past(mark, row.end()).ok()
}

fn logged(place: &str, frame: Result<Frame, SegmentError>) -> Result<Logged, StoreError> {
    let frame = frame.map_err(|error| store_error(place, error))?;
    let at = |error| damaged(&format_args!("{place} at {}", frame.place), error);
    let record = Record::decode(frame.bytes).map_err(at)?;
    Ok(Logged { position: Position(frame.place.0), record: Arc::new(record) })
}

impl Store {
    /// Puts `records` in the place of everything that is kept after `common`.
    pub(super) fn replace_records(&mut self, common: Seq, records: &[Arc<Record>]) -> Result<(), StoreError> {
        self.write(|store| store.put_records(common, records))
    }

    fn put_records(&mut self, common: Seq, records: &[Arc<Record>]) -> Result<(), StoreError> {
        let part = self.folder.join(RECORDS_PART);
        remove_if_there(&part).map_err(in_folder(&part))?;
        let disk = segments_in(&part)?;
        let mut row = Row::open(Arc::new(disk), self.device, false)?;
        let mut failed = None;
        let before = self.records().map_while(|logged| logged.map_err(|error| failed = Some(error)).ok());
        let before = before.take_while(|logged| logged.record.last_seq() <= common);
        let frames = before.map(|logged| logged.record.bytes().to_vec());
        row.append(frames.chain(records.iter().map(|record| record.bytes().to_vec())), GROUP_BYTES)?;
        row.vouch()?;
        drop(row);
        if let Some(error) = failed {
            return Err(error);
        }
        fs::rename(&part, self.folder.join(RECORDS_NEW)).map_err(in_folder(&part))?;
        finish_replacing(&self.folder).map_err(in_folder(&self.folder))?;
        let disk = segments_in(&self.folder.join(RECORDS))?;
        self.records = Row::open(Arc::new(disk), self.device, false)?;
        self.kept = Kept::new(&self.records);
        self.checkpoint.make_due();
        Ok(())
    }
}

/// Puts a new row of records in its place, if there is one. To be done again after a crash.
fn finish_replacing(folder: &Path) -> io::Result<()> {
    let at = |name: &str| folder.join(name);
    remove_if_there(&at(RECORDS_PART))?;
    if at(RECORDS_NEW).exists() {
        fs::File::open(folder)?.sync_all()?;
        remove_if_there(&at(RECORDS_OLD))?;
        if at(RECORDS).exists() {
            fs::rename(at(RECORDS), at(RECORDS_OLD))?;
        }
        fs::rename(at(RECORDS_NEW), at(RECORDS))?;
        fs::File::open(folder)?.sync_all()?;
    }
    remove_if_there(&at(RECORDS_OLD))
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn in_folder(folder: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError::Failed { place: folder.display().to_string(), what: error.to_string() }
}

fn segments_in(folder: &Path) -> Result<SegmentFolder, StoreError> {
    let failed = |error: DiskError| store_error(&folder.display().to_string(), error.into());
    SegmentFolder::new(folder.to_owned()).map_err(failed)
}

impl Kept {
    fn new(row: &Row) -> Self {
        Self { place: row.place(), reader: row.reader(), recent: Arc::default() }
    }
}

impl KeptRecords for Kept {
    fn at(&self, position: u64) -> Result<Arc<Record>, StoreError> {
        let mut recent = self.recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = match recent.iter().position(|(at, _)| *at == position) {
            Some(known) => recent.remove(known),
            None => {
                let place = Place(position);
                let bytes = self.reader.read(place).map_err(|error| store_error(&self.place, error))?;
                let at = |error| damaged(&format_args!("{} at {place}", self.place), error);
                (position, Arc::new(Record::decode(bytes).map_err(at)?))
            }
        };
        let record = Arc::clone(&found.1);
        recent.truncate(RECENT_MAX - 1);
        recent.insert(0, found);
        Ok(record)
    }
}

/// Which part of a whole state a frame is, and its changes; none for a frame of changes.
fn whole_frame(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match bytes {
        [WHOLE, part, rest @ ..] => Some((*part, rest)),
        _ => None,
    }
}

/// Changes as frames that are well below a frame's limit, in order, each made when it is asked for.
fn frames_of<C: Borrow<StateChange>>(
    changes: impl IntoIterator<Item = C>,
    per_frame: usize,
) -> impl Iterator<Item = Vec<u8>> {
    let mut changes = changes.into_iter().peekable();
    std::iter::from_fn(move || {
        let (mut part, mut bytes) = (Vec::<C>::new(), 0);
        while let Some(change) = changes.peek() {
            bytes += change.borrow().weight();
            if part.len() == per_frame || bytes > FRAME_BYTES && !part.is_empty() {
                break;
            }
            part.extend(changes.next());
        }
        (!part.is_empty()).then(|| StateChange::encode(part.iter().map(C::borrow)))
    })
}

/// What went wrong with the row at `place`.
pub(super) fn store_error(place: &str, error: SegmentError) -> StoreError {
    match error {
        SegmentError::Full { place } => StoreError::Full { place },
        SegmentError::Damaged { place: at, what } => damaged(&format_args!("{place} at {at}"), what),
        SegmentError::Foreign { .. } => damaged(&place, error),
        other => StoreError::Failed { place: place.to_owned(), what: other.to_string() },
    }
}

fn damaged(place: &dyn fmt::Display, error: impl fmt::Display) -> StoreError {
    StoreError::Damaged { place: place.to_string(), what: error.to_string() }
}
