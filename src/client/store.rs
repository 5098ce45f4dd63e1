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

pub(super) use outbox::Outbox;

use super::{
    checkpoint::{Checkpoint, Marks},
    guarding::Written,
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
        FolderDisk as SegmentFolder, Frame, Frames, Mark, Place, SegmentDisk, SegmentError, SegmentReader,
        Unfinished,
    },
};
use row::Row;
use std::{
    borrow::Borrow,
    fs, io,
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
        finish_replacing(folder).map_err(in_folder)?;
        let disk = |name: &str| {
            let disk = SegmentFolder::new(folder.join(name)).map_err(|error| store_error(error.into()))?;
            Ok::<_, StoreError>(Arc::new(disk) as Arc<dyn SegmentDisk>)
        };
        let outbox = Outbox::new(folder.join("outbox"), device);
        let store = Self::open_on(folder, disk("records")?, disk("state")?, outbox, device)?;
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
        let kept = Kept::new(records.reader());
        let (folder, unfinished) = (folder.to_owned(), Vec::new());
        let (lists, checkpoint) = (ListFolder::new(folder.join("lists")), Checkpoint::new(&folder));
        Ok(Self {
            folder,
            device,
            records,
            kept,
            state,
            grown: 0,
            whole: 0,
            checkpoint,
            outbox,
            lists,
            written: None,
            unfinished,
        })
    }

    /// Whether what [`open`](Self::open) refuses in `folder` is merely older than it should be: cut, or put back.
    pub(super) fn is_older(folder: &Path, device: DeviceId) -> bool {
        let is_whole = |name: &str, gaps| {
            row::is_whole(Arc::new(SegmentFolder::to_read(folder.join(name))), device, gaps)
        };
        is_whole(RECORDS, false) && is_whole("state", true)
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
        let (records, state) = (look(records, false)?, look("state", true)?);
        let kept = Kept::new(records.reader());
        let outbox = Outbox::to_look_at(folder.join("outbox"), device, scratch);
        let (folder, lists) = (folder.to_owned(), ListFolder::new(folder.join("lists")));
        let checkpoint = Checkpoint::none();
        Ok(Self {
            folder,
            device,
            records,
            kept,
            state,
            grown: 0,
            whole: 0,
            checkpoint,
            outbox,
            lists,
            written: None,
            unfinished,
        })
    }

    /// What a crash cut off, in which row, of a state that was opened to be looked at.
    pub(super) fn unfinished(&self) -> Vec<(&'static str, Unfinished)> {
        let of_outbox = self.outbox.packs(false).ok().and_then(|packs| packs.as_ref()?.unfinished());
        self.unfinished.iter().copied().chain(of_outbox.map(|cut_off| ("outbox", cut_off))).collect()
    }

    /// The changes that make the state, in order.
    fn changes(&mut self) -> Result<Vec<StateChange>, StoreError> {
        let (mut changes, mut anew) = (Vec::new(), Vec::new());
        (self.grown, self.whole) = (0, 0);
        let mut writing = 0;
        let numbers = self.state.numbers()?;
        let mut begins = numbers.first().is_none_or(|first| *first == 1);
        for frame in self.state.reader().frames(self.state.end()) {
            let bytes = frame.map_err(store_error)?.bytes;
            let length = bytes.len() as u64;
            let Some((part, whole)) = whole_frame(&bytes) else {
                anew.clear(); // Its end was never written.
                changes.extend(StateChange::decode(&bytes).map_err(damaged)?);
                self.grown += length;
                continue;
            };
            if part & FIRST != 0 {
                anew.clear();
                writing = 0;
            }
            anew.extend(StateChange::decode(whole).map_err(damaged)?);
            writing += length;
            if part & LAST != 0 {
                changes = std::mem::take(&mut anew);
                (self.grown, self.whole) = (0, writing);
                begins = true;
            }
        }
        if !begins || numbers.windows(2).any(|pair| pair[1] != pair[0] + 1) {
            return Err(damaged("segments of the state are gone"));
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
        self.checkpoint.is_void();
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
        let replica = Replica::reopen(identity, NameRules::default(), changes, records).map_err(damaged);
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
        let records = records.map(logged).map_while(|logged| logged.map_err(|_| wrong = true).ok());
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
        self.records.reader().frames(self.records.end()).map(logged)
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    pub(super) fn persist(&mut self, changes: &[StateChange]) -> Result<(), StoreError> {
        self.write(|store| store.append_changes(changes))
    }

    fn append_changes(&mut self, changes: &[StateChange]) -> Result<(), StoreError> {
        let weight: usize = changes.iter().map(StateChange::weight).sum();
        self.grown += weight as u64 / 2;
        self.checkpoint.grew(0, weight as u64 / 2);
        if weight <= GROUP_BYTES {
            return self.state.append(frames_of(changes, CHANGES_PER_FRAME), usize::MAX).map(drop);
        }
        // Too much for one group, as a first sync of many files is: a crash may come between two groups. Batches
        // first: what the synced tree then lacks, the next look at the folder finds to be in the log already.
        let is_tree = |change: &&StateChange| matches!(change, StateChange::Synced(_));
        let rest = frames_of(changes.iter().filter(|change| !is_tree(change)), CHANGES_PER_FRAME);
        self.state.append(rest, FRAME_BYTES)?;
        let tree = frames_of(changes.iter().filter(is_tree), CHANGES_PER_FRAME);
        self.state.append(tree, FRAME_BYTES).map(drop)
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

fn logged(frame: Result<Frame, SegmentError>) -> Result<Logged, StoreError> {
    let frame = frame.map_err(store_error)?;
    let record = Record::decode(frame.bytes).map_err(damaged)?;
    Ok(Logged { position: Position(frame.place.0), record: Arc::new(record) })
}

impl Store {
    /// Puts `records` in the place of everything that is kept after `common`.
    pub(super) fn replace_records(&mut self, common: Seq, records: &[Arc<Record>]) -> Result<(), StoreError> {
        self.write(|store| store.put_records(common, records))
    }

    fn put_records(&mut self, common: Seq, records: &[Arc<Record>]) -> Result<(), StoreError> {
        let part = self.folder.join(RECORDS_PART);
        remove_if_there(&part).map_err(in_folder)?;
        let disk = SegmentFolder::new(part.clone()).map_err(|error| store_error(error.into()))?;
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
        fs::rename(&part, self.folder.join(RECORDS_NEW)).map_err(in_folder)?;
        finish_replacing(&self.folder).map_err(in_folder)?;
        let disk =
            SegmentFolder::new(self.folder.join(RECORDS)).map_err(|error| store_error(error.into()))?;
        self.records = Row::open(Arc::new(disk), self.device, false)?;
        self.kept = Kept::new(self.records.reader());
        self.checkpoint.is_void();
        Ok(())
    }
}

const RECORDS: &str = "records";
/// Being written; counts for nothing.
const RECORDS_PART: &str = "records.part";
/// Whole and durable; counts in place of the other.
const RECORDS_NEW: &str = "records.new";
/// What was replaced, on its way out.
const RECORDS_OLD: &str = "records.old";

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

fn in_folder(error: io::Error) -> StoreError {
    StoreError::Failed { what: error.to_string() }
}

impl Kept {
    fn new(reader: SegmentReader) -> Self {
        Self { reader, recent: Arc::default() }
    }
}

impl KeptRecords for Kept {
    fn at(&self, position: u64) -> Result<Arc<Record>, StoreError> {
        let mut recent = self.recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = match recent.iter().position(|(at, _)| *at == position) {
            Some(known) => recent.remove(known),
            None => {
                let bytes = self.reader.read(Place(position)).map_err(store_error)?;
                (position, Arc::new(Record::decode(bytes).map_err(damaged)?))
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

pub(super) fn store_error(error: SegmentError) -> StoreError {
    match error {
        SegmentError::Full { place } => StoreError::Full { place },
        SegmentError::Damaged { .. } | SegmentError::Foreign { .. } => {
            StoreError::Damaged { what: error.to_string() }
        }
        other => StoreError::Failed { what: other.to_string() },
    }
}

fn damaged(error: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged { what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_engine::{
        disk::Node,
        observed::{SyncedChange, SyncedNode},
    };
    use annals_events::{
        Dot, EntryId, EntryKind, NamespaceId,
        log::{Head, author::Author},
        segment::{ForgetfulDisk, Witness},
    };
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    const DEVICE: DeviceId = DeviceId([9; 16]);

    fn open(records: &ForgetfulDisk, state: &ForgetfulDisk) -> Result<Store, StoreError> {
        let outbox = Outbox::new(std::env::temp_dir().join("annals-no-such-outbox"), DEVICE);
        Store::open_on(
            Path::new("nowhere"),
            Arc::new(records.clone()),
            Arc::new(state.clone()),
            outbox,
            DEVICE,
        )
    }

    /// The `nth` thing that a device writes down: some changes that can be told apart.
    fn changes(nth: u64, count: u64) -> Vec<StateChange> {
        (0..count).map(|i| StateChange::JournalCleared { next: nth * 1000 + i }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        #[test]
        fn what_a_device_wrote_down_is_there_after_a_power_cut_at_any_step_and_nothing_by_halves(
            sizes in prop::collection::vec((1..40_u64, prop::bool::weighted(0.3)), 1..8),
            steps in 0..140_u64,
            mut dice: u64,
        ) {
            let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
            let mut store = open(&records, &state).unwrap();
            let mut author = Author::new(1, 1, Head::default());
            let (mut written, mut kept) = (Vec::new(), 0);
            state.cut_power_after(steps);
            records.cut_power_after(steps);
            for (nth, (count, compact)) in sizes.iter().enumerate() {
                let (next, record) = (changes(nth as u64, *count), author.record(2, 100));
                if store.keep(vec![record]).is_err() {
                    break;
                }
                kept += 1;
                let before = written.len();
                written.extend(next.clone());
                if store.persist(&next).is_err() {
                    written.truncate(before);
                    break;
                }
                if count % 3 == 0 && (store.state.vouch().is_err() || store.records.vouch().is_err()) {
                    break;
                }
                // As it is, in place of how it came to be.
                if *compact && store.compact(written.clone()).is_err() {
                    break;
                }
            }
            let mut choose = |below: u64| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (dice >> 33) % below
            };
            state.crash(&mut choose);
            records.crash(&mut choose);
            let mut after = open(&records, &state).unwrap();
            let found = after.changes().unwrap();
            prop_assert_eq!(&found[..written.len()], &written[..]);
            // What was on its way when the power went is there as a whole, or not at all.
            let more = sizes.iter().scan(0, |sum, (count, _)| { *sum += count; Some(*sum) }).collect::<Vec<u64>>();
            prop_assert!(found.is_empty() || more.contains(&(found.len() as u64)));
            let seqs: Vec<Seq> = after.records().map(|logged| logged.unwrap().record.seq()).collect();
            prop_assert!(seqs.len() == kept || seqs.len() == kept + 1);
            prop_assert!(seqs.iter().enumerate().all(|(nth, seq)| seq.0 == 2 * nth as u64 + 1));
            // And it goes on from there, also with another whole state behind one that was cut off.
            after.compact(found.clone()).unwrap();
            after.persist(&changes(99, 1)).unwrap();
            let again = open(&records, &state).unwrap().changes().unwrap();
            prop_assert_eq!(again.len(), found.len() + 1);
            prop_assert_eq!(&again[..found.len()], &found[..]);
        }
    }

    /// A step of a device, for the law below.
    fn step() -> impl Strategy<Value = Option<StateChange>> {
        let path = || prop::sample::select(vec!["a", "a/b", "a/b/c", "d", "d/e"]).prop_map(str::to_owned);
        let node = (any::<bool>(), 1..9_u64).prop_map(|(is_folder, number)| {
            let kind = if is_folder { EntryKind::Folder } else { EntryKind::File };
            let dot = Dot::new(DEVICE, number);
            let disk = Node {
                kind,
                size: 1,
                mtime_ns: 2,
                ctime_ns: 3,
                dev: 4,
                ino: number,
                executable: false,
                target: None,
            };
            Box::new(SyncedNode {
                entries: vec![EntryId(dot)],
                kind,
                head: None,
                heads: Vec::new(),
                content: None,
                mtime: None,
                executable: false,
                copy: false,
                disk,
                settled: true,
                aside: false,
            })
        });
        prop_oneof![
            6 => (path(), node).prop_map(|(path, node)| Some(StateChange::Synced(SyncedChange::Put(path, node)))),
            1 => path().prop_map(|path| Some(StateChange::Synced(SyncedChange::Remove(path)))),
            1 => (path(), path()).prop_map(|(from, to)| Some(StateChange::Synced(SyncedChange::Move { from, to }))),
            1 => (1..99_u64).prop_map(|next| Some(StateChange::JournalCleared { next })),
            1 => Just(None),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn what_follows_from_a_checkpoint_is_what_follows_from_everything_wherever_the_power_went(
            acts in prop::collection::vec((step(), prop::bool::weighted(0.15)), 1..60),
            steps in 0..120_u64,
            spoiled in prop::option::weighted(0.1, any::<prop::sample::Index>()),
            mut dice: u64,
        ) {
            let identity = Identity { namespace: NamespaceId([1; 16]), key: SigningKey::from_bytes(&[2; 32]) };
            let folder = tempfile::tempdir().unwrap();
            let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
            let open = || open(&records, &state).map(|mut store| {
                store.checkpoint = Checkpoint::new(folder.path());
                store
            });
            let mut store = open().unwrap();
            let mut written = Vec::new();
            state.cut_power_after(steps);
            for (change, compact) in acts {
                let done = match change {
                    Some(change) => {
                        written.push(change);
                        store.persist(&written[written.len() - 1..])
                    }
                    None => {
                        let changes = written.clone();
                        let replica = Replica::reopen(identity.clone(), NameRules::default(), changes, []);
                        store.checkpoint.is_void();
                        store.keep_checkpoint_if_due(&mut replica.unwrap());
                        Ok(())
                    }
                };
                if done.is_err() || compact && store.compact(written.clone()).is_err() {
                    break;
                }
            }
            let mut choose = |below: u64| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (dice >> 33) % below
            };
            state.crash(&mut choose);
            records.crash(&mut choose);
            let place = folder.path().join("checkpoint");
            if let (Some(at), Ok(mut bytes)) = (spoiled, fs::read(&place)) {
                let at = at.index(bytes.len());
                bytes[at] ^= 1;
                fs::write(&place, bytes).unwrap();
            }
            let from_checkpoint = open().unwrap().replica(identity.clone()).unwrap();
            let mut store = open().unwrap();
            store.checkpoint = Checkpoint::none();
            let from_all = store.replica(identity).unwrap();
            prop_assert_eq!(from_checkpoint.synced(), from_all.synced());
            prop_assert_eq!(from_checkpoint.next(), from_all.next());
        }
    }

    #[test]
    fn records_that_are_put_in_the_place_of_others_are_there_as_a_whole_wherever_it_was_cut_off() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[(RECORDS, "old")], "old"),
            (&[(RECORDS, "old"), (RECORDS_PART, "half")], "old"),
            (&[(RECORDS, "old"), (RECORDS_NEW, "new"), (RECORDS_OLD, "before that")], "new"),
            (&[(RECORDS_OLD, "old"), (RECORDS_NEW, "new")], "new"),
            (&[(RECORDS_OLD, "old"), (RECORDS, "new")], "new"),
        ];
        for (there, wanted) in cases {
            let folder = tempfile::tempdir().unwrap();
            for (row, text) in there {
                fs::create_dir(folder.path().join(row)).unwrap();
                fs::write(folder.path().join(row).join("segment"), text).unwrap();
            }
            finish_replacing(folder.path()).unwrap();
            let left = fs::read_to_string(folder.path().join(RECORDS).join("segment")).unwrap();
            assert_eq!(
                (left.as_str(), fs::read_dir(folder.path()).unwrap().count()),
                (wanted, 1),
                "{there:?}"
            );
        }
    }

    #[test]
    fn a_state_that_was_written_anew_takes_the_place_of_what_was_before() {
        let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
        let mut store = open(&records, &state).unwrap();
        for nth in 0..50 {
            store.persist(&changes(nth, 1000)).unwrap();
        }
        let before = store.grown;
        store.compact(changes(50, 2)).unwrap();
        assert!(store.whole < before / 100 && store.grown == 0);
        assert_eq!(store.state.numbers().unwrap(), [2]);
        store.persist(&changes(51, 1)).unwrap();
        let mut after = open(&records, &state).unwrap();
        assert_eq!(after.changes().unwrap(), [changes(50, 2), changes(51, 1)].concat());
        assert!(after.whole > 0 && after.grown > 0);
    }

    /// Something of a synced tree.
    fn tree(path: u64) -> StateChange {
        StateChange::Synced(SyncedChange::Remove(format!("{path}")))
    }

    #[test]
    fn a_synced_tree_is_never_written_down_before_the_batches_that_say_what_became_of_it() {
        // More than a group takes, the tree first.
        let all: Vec<StateChange> = (0..200).map(tree).chain(changes(1, 200)).collect();
        assert!(all.iter().map(StateChange::weight).sum::<usize>() > 2 * GROUP_BYTES);
        for steps in 0.. {
            let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
            let mut store = open(&records, &state).unwrap();
            state.cut_power_after(steps);
            let done = store.persist(&all).is_ok();
            state.crash(|below| below - 1);
            let found = open(&records, &state).unwrap().changes().unwrap();
            let of_tree = found.iter().filter(|change| matches!(change, StateChange::Synced(_))).count();
            assert!(
                of_tree == 0 || found.len() - of_tree == 200,
                "step {steps}: {of_tree} of {}",
                found.len()
            );
            if done {
                assert_eq!(found.len(), all.len());
                return assert!(steps >= 4, "batches and tree, each with its sync");
            }
        }
    }

    #[test]
    fn a_state_whose_first_segments_are_gone_is_damaged_unless_it_was_written_anew_behind_them() {
        let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
        let mut store = open(&records, &state).unwrap();
        for nth in 0..3 {
            store.persist(&changes(nth, 5)).unwrap();
            store.state.roll();
        }
        drop(store);
        for gone in ["00000001.segment", "00000002.segment"] {
            let copy = state.copy();
            SegmentDisk::remove(&copy, gone).unwrap();
            let found = open(&records, &copy).and_then(|mut store| store.changes());
            assert!(matches!(found, Err(StoreError::Damaged { .. })), "{gone}: {found:?}");
        }
        let mut store = open(&records, &state).unwrap();
        store.compact(changes(7, 3)).unwrap();
        assert!(store.state.numbers().unwrap()[0] > 1);
        assert_eq!(open(&records, &state).unwrap().changes().unwrap(), changes(7, 3));
    }

    #[test]
    fn a_row_that_was_cut_anywhere_before_what_its_witness_says_is_damaged() {
        let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
        let mut store = open(&records, &state).unwrap();
        let (mut author, mut vouched) = (Author::new(1, 1, Head::default()), (0, 0));
        let ends = |store: &Store| (store.state.end().place.offset(), store.records.end().place.offset());
        for nth in 0..6 {
            store.persist(&changes(nth, 3)).unwrap();
            store.keep(vec![author.record(2, 100)]).unwrap();
            if nth == 3 {
                store.state.vouch().unwrap();
                store.records.vouch().unwrap();
                vouched = ends(&store);
            }
        }
        let end = ends(&store);
        let name = "00000001.segment";
        for (of_state, vouched, end) in [(true, vouched.0, end.0), (false, vouched.1, end.1)] {
            let with = |spoil: &dyn Fn(&ForgetfulDisk)| {
                let (records, state) = (records.copy(), state.copy());
                spoil(if of_state { &state } else { &records });
                open(&records, &state).map(drop)
            };
            for length in 0..=end {
                let found = with(&|row| row.shorten(name, usize::try_from(length).unwrap()));
                let damaged = matches!(found, Err(StoreError::Damaged { .. }));
                assert_eq!(damaged, length < vouched, "{length} of {end}, vouched for {vouched}: {found:?}");
                assert_eq!(damaged, found.is_err(), "nothing else is wrong with it");
            }
            // All of it gone, the witness left behind.
            let found = with(&|row| SegmentDisk::remove(row, name).unwrap());
            assert!(matches!(found, Err(StoreError::Damaged { .. })), "{found:?}");
        }
    }

    #[test]
    fn a_row_is_vouched_for_whenever_it_is_opened_and_after_some_groups() {
        let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
        let mut store = open(&records, &state).unwrap();
        let said = || Witness::read(&state, DEVICE.0).unwrap().mark();
        for nth in 0..31 {
            store.persist(&changes(nth, 1)).unwrap();
            store.state.vouch_if_due().unwrap();
        }
        assert_eq!(said(), None);
        store.persist(&changes(31, 1)).unwrap();
        store.state.vouch_if_due().unwrap();
        assert_eq!(said(), Some(store.state.end()));
        store.persist(&changes(32, 1)).unwrap();
        let end = store.state.end();
        assert_ne!(said(), Some(end));
        drop(store);
        open(&records, &state).unwrap();
        assert_eq!(said(), Some(end));
        // One that was put into the place of another by hand is not believed, and nothing is refused for it.
        state.flip("end", 20, 1);
        open(&records, &state).unwrap();
        assert_eq!(said(), Some(end), "it was written anew");
    }
}
