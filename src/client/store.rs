//! What a device must not forget, in `.annals/`: the records that it pulled, and the changes of its own state.
//!
//! Both are rows of segments: `records/` holds one record a frame, `state/` one group of changes a frame, each
//! durable when an append returns. From the two the replica is made again at every start. Saves that wait for
//! a server have their chunks in `outbox/`.

use crate::chunk_store::Packs;
use annals_engine::{
    chunk_store::{ChunkDamage, ChunkStats, ChunkStore, ChunkStoreError},
    content::SealedChunk,
    journal::Identity,
    names::NameRules,
    replica::{Replica, StateChange},
    round::{KeptRecords, StoreError},
};
use annals_events::{
    ChunkId, DeviceId, Record,
    log::{Logged, Position},
    segment::{
        FolderDisk as SegmentFolder, Place, SegmentConfig, SegmentDisk, SegmentError, SegmentKind,
        SegmentReader, Segments,
    },
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

/// Changes that go into one frame, if they are small.
const CHANGES_PER_FRAME: usize = 4096;
/// About how large a frame gets.
const FRAME_BYTES: usize = 4 << 20;
/// About how large a group gets.
const GROUP_BYTES: usize = 32 << 20;

/// The device's own state on disk.
pub(super) struct Store {
    records: Segments,
    kept: Kept,
    state: Segments,
    pub(super) outbox: Outbox,
}

/// Records by their position.
#[derive(Clone)]
pub(super) struct Kept(SegmentReader);

impl Store {
    /// Opens the state in `folder` (`.annals/`), or begins it. What a crash left half written is moved aside.
    pub(super) fn open(folder: &Path, device: DeviceId) -> Result<Self, StoreError> {
        let disk = |name: &str| {
            let disk = SegmentFolder::new(folder.join(name)).map_err(|error| store_error(error.into()))?;
            Ok::<_, StoreError>(Arc::new(disk) as Arc<dyn SegmentDisk>)
        };
        Self::open_on(disk("records")?, disk("state")?, Outbox::new(folder.join("outbox"), device), device)
    }

    fn open_on(
        records: Arc<dyn SegmentDisk>,
        state: Arc<dyn SegmentDisk>,
        outbox: Outbox,
        device: DeviceId,
    ) -> Result<Self, StoreError> {
        let (records, state) = (open_row(records, device)?, open_row(state, device)?);
        let kept = Kept(records.reader());
        Ok(Self { records, kept, state, outbox })
    }

    /// Every change that was persisted, in order.
    fn changes(&self) -> Result<Vec<StateChange>, StoreError> {
        let mut changes = Vec::new();
        for frame in self.state.reader().frames(self.state.end()) {
            changes.extend(StateChange::decode(&frame.map_err(store_error)?.bytes).map_err(damaged)?);
        }
        Ok(changes)
    }

    /// The replica that follows from all of it.
    pub(super) fn replica(&self, identity: Identity) -> Result<Replica, StoreError> {
        let changes = self.changes()?;
        let mut wrong = None;
        let records = self.records().map_while(|logged| logged.map_err(|error| wrong = Some(error)).ok());
        let replica = Replica::restore(identity, NameRules::default(), changes, records).map_err(damaged);
        match wrong {
            Some(error) => Err(error),
            None => replica,
        }
    }

    /// Every record in order.
    pub(super) fn records(&self) -> impl Iterator<Item = Result<Logged, StoreError>> {
        self.records.reader().frames(self.records.end()).map(|frame| {
            let frame = frame.map_err(store_error)?;
            let record = Record::decode(frame.bytes).map_err(damaged)?;
            Ok(Logged { position: Position(frame.place.0), record: Arc::new(record) })
        })
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    pub(super) fn persist(&mut self, changes: &[StateChange]) -> Result<(), StoreError> {
        let frames = frames_of(changes);
        if frames.iter().map(Vec::len).sum::<usize>() <= GROUP_BYTES {
            return append(&mut self.state, &frames).map(drop);
        }
        // Too much for one group, as a first sync of many files is: a crash may come between two groups. Batches
        // first: what the synced tree then lacks, the next look at the folder finds to be in the log already.
        let (tree, rest): (Vec<_>, Vec<_>) =
            changes.iter().cloned().partition(|change| matches!(change, StateChange::Synced(_)));
        append(&mut self.state, &frames_of(&rest))?;
        append(&mut self.state, &frames_of(&tree)).map(drop)
    }

    pub(super) fn keep(&mut self, records: Vec<Arc<Record>>) -> Result<Vec<Logged>, StoreError> {
        let frames: Vec<Vec<u8>> = records.iter().map(|record| record.bytes().to_vec()).collect();
        let places = append(&mut self.records, &frames)?;
        Ok(records
            .into_iter()
            .zip(places)
            .map(|(record, place)| Logged { position: Position(place.0), record })
            .collect())
    }
}

impl KeptRecords for Kept {
    fn at(&self, position: u64) -> Result<Arc<Record>, StoreError> {
        let bytes = self.0.read(Place(position)).map_err(store_error)?;
        Record::decode(bytes).map(Arc::new).map_err(damaged)
    }
}

fn open_row(disk: Arc<dyn SegmentDisk>, device: DeviceId) -> Result<Segments, StoreError> {
    let config = SegmentConfig::new(SegmentKind::Journal, device.0);
    let (segments, torn) = Segments::open(disk, config, &[]).map_err(store_error)?;
    if let Some(torn) = torn {
        tracing::info!(place = %torn.place, bytes = torn.bytes, file = torn.file, "a write that a crash cut off was moved aside");
    }
    Ok(segments)
}

/// Changes as frames that are well below a frame's limit, in order.
fn frames_of(changes: &[StateChange]) -> Vec<Vec<u8>> {
    let encoded = changes.chunks(CHANGES_PER_FRAME).map(StateChange::encode);
    encoded
        .zip(changes.chunks(CHANGES_PER_FRAME))
        .flat_map(|(frame, changes)| split(frame, changes))
        .collect()
}

/// A frame that is too large as several.
fn split(frame: Vec<u8>, changes: &[StateChange]) -> Vec<Vec<u8>> {
    if frame.len() <= FRAME_BYTES || changes.len() == 1 {
        return vec![frame];
    }
    let (front, back) = changes.split_at(changes.len() / 2);
    [front, back].into_iter().flat_map(|half| split(StateChange::encode(half), half)).collect()
}

/// Appends frames in groups that fit; each group is durable as one.
fn append(row: &mut Segments, frames: &[Vec<u8>]) -> Result<Vec<Place>, StoreError> {
    let mut places = Vec::with_capacity(frames.len());
    let (mut group, mut bytes): (Vec<&[u8]>, usize) = (Vec::new(), 0);
    for frame in frames {
        if bytes + frame.len() > GROUP_BYTES && !group.is_empty() {
            places.extend(row.append(&group).map_err(store_error)?);
            group.clear();
            bytes = 0;
        }
        bytes += frame.len() + 64;
        group.push(frame);
    }
    if !group.is_empty() {
        places.extend(row.append(&group).map_err(store_error)?);
    }
    Ok(places)
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

/// Chunks of saves that the server has not got yet. Made at need: most folders never have one.
pub(super) struct Outbox {
    folder: PathBuf,
    device: DeviceId,
    packs: Mutex<Option<Packs>>,
}

impl Outbox {
    fn new(folder: PathBuf, device: DeviceId) -> Self {
        Self { folder, device, packs: Mutex::new(None) }
    }

    /// The packs, if there are any or `make` is set.
    fn packs(&self, make: bool) -> Result<MutexGuard<'_, Option<Packs>>, ChunkStoreError> {
        let mut packs = self.packs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if packs.is_none() && (make || self.folder.exists()) {
            *packs = Some(Packs::open(&self.folder, self.device)?);
        }
        Ok(packs)
    }

    /// Nothing in it is needed any more.
    pub(super) fn clear(&self) -> io::Result<()> {
        *self.packs.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl ChunkStore for Outbox {
    fn missing(&self, ids: &[ChunkId]) -> Result<Vec<ChunkId>, ChunkStoreError> {
        match &*self.packs(false)? {
            Some(packs) => packs.missing(ids),
            None => Ok(ids.to_vec()),
        }
    }

    fn put_all(&self, chunks: &[SealedChunk]) -> Result<(), ChunkStoreError> {
        self.packs(true)?.as_ref().expect("it was just made").put_all(chunks)
    }

    fn get(&self, id: &ChunkId) -> Result<Option<SealedChunk>, ChunkStoreError> {
        self.packs(false)?.as_ref().map_or(Ok(None), |packs| packs.get(id))
    }

    fn ids(&self, after: Option<&ChunkId>, count_max: usize) -> Result<Vec<ChunkId>, ChunkStoreError> {
        self.packs(false)?.as_ref().map_or(Ok(Vec::new()), |packs| packs.ids(after, count_max))
    }

    fn stats(&self) -> Result<ChunkStats, ChunkStoreError> {
        self.packs(false)?.as_ref().map_or(Ok(ChunkStats::default()), Packs::stats)
    }

    fn verify(&self, found: &mut dyn FnMut(ChunkDamage)) -> Result<ChunkStats, ChunkStoreError> {
        self.packs(false)?.as_ref().map_or(Ok(ChunkStats::default()), |packs| packs.verify(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_events::{
        Seq,
        log::{Head, author::Author},
        segment::ForgetfulDisk,
    };
    use proptest::prelude::*;

    const DEVICE: DeviceId = DeviceId([9; 16]);

    fn open(records: &ForgetfulDisk, state: &ForgetfulDisk) -> Result<Store, StoreError> {
        let outbox = Outbox::new(std::env::temp_dir().join("annals-no-such-outbox"), DEVICE);
        Store::open_on(Arc::new(records.clone()), Arc::new(state.clone()), outbox, DEVICE)
    }

    /// The `nth` thing that a device writes down: some changes that can be told apart.
    fn changes(nth: u64, count: u64) -> Vec<StateChange> {
        (0..count).map(|i| StateChange::JournalCleared { next: nth * 1000 + i }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        #[test]
        fn what_a_device_wrote_down_is_there_after_a_power_cut_at_any_step_and_nothing_by_halves(
            sizes in prop::collection::vec(1..40_u64, 1..8), steps in 0..60_u64, mut dice: u64,
        ) {
            let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
            let mut store = open(&records, &state).unwrap();
            let mut author = Author::new(1, 1, Head::default());
            let (mut written, mut kept) = (Vec::new(), 0);
            state.cut_power_after(steps);
            records.cut_power_after(steps);
            for (nth, count) in sizes.iter().enumerate() {
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
            }
            let mut choose = |below: u64| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (dice >> 33) % below
            };
            state.crash(&mut choose);
            records.crash(&mut choose);
            let after = open(&records, &state).unwrap();
            let found = after.changes().unwrap();
            prop_assert_eq!(&found[..written.len()], &written[..]);
            // What was on its way when the power went is there as a whole, or not at all.
            let more = sizes.iter().scan(0, |sum, count| { *sum += count; Some(*sum) }).collect::<Vec<u64>>();
            prop_assert!(found.is_empty() || more.contains(&(found.len() as u64)));
            let seqs: Vec<Seq> = after.records().map(|logged| logged.unwrap().record.seq()).collect();
            prop_assert!(seqs.len() == kept || seqs.len() == kept + 1);
            prop_assert!(seqs.iter().enumerate().all(|(nth, seq)| seq.0 == 2 * nth as u64 + 1));
        }
    }
}
