//! The log of one machine: segments in a folder, sled as their index, one thread that commits.
//!
//! ```text
//! DIR/format        "annals log 1": a folder of another format is refused
//! DIR/id            the log's id in hex
//! DIR/lock          locked while a process has the log open
//! DIR/end           how far the log has surely got, so that one that was cut is noticed
//! DIR/segments/     the truth (docs/format.md)
//! DIR/index/        sled; may be deleted at any time while nobody has the log open
//! ```
//!
//! Appends wait in a bounded queue. The committer takes all that wait, writes them as one group, syncs once,
//! and answers all of them: the slower the disk, the larger the groups. The indexer follows behind, and beside it
//! a thread that writes down how far the log has got, once a second at most. Everything that could be got wrong
//! is in [`super::segmented`], which has no threads. [`look()`] changes nothing. Where the disk takes no index, as when it
//! is full, there is one in memory until the log is opened again.

mod folder;
mod look;
mod queue;
mod sled_index;

pub use folder::{LOG_FORMAT, OpenError};
pub use look::{Look, look};
pub use sled_index::SledIndex;

use super::{
    EventLog, Head, Later, LogError, Logged, Position,
    segmented::{LogIndex, MemoryIndex, Opened, SegmentLog, Verify},
};
use crate::{
    causality::Dot,
    id::{DeviceId, EntryId, NamespaceId, Seq},
    record::Record,
    segment::{FolderDisk, Mark, SegmentConfig, SegmentKind},
};
use folder::Folder;
use queue::{Queue, Signal};
use std::{
    path::Path,
    sync::{Arc, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Appends that wait at most; whoever comes later waits to wait.
const QUEUE_MAX: usize = 1024;
/// So many bytes of records are a lot: the index is written when there are as many, and when the log is closed. sled writes
/// several times as much for each pair that comes by itself. Until then readers have them from memory, and whoever opens the
/// log after a crash goes over them again.
const LOT_BYTES: usize = if cfg!(test) { 3000 } else { 1 << 20 };
/// What may be acknowledged and not yet indexed before the committer helps with indexing.
const BYTES_TO_INDEX_MAX: usize = 64 << 20;
/// How long a witness of the log's end stays the last: its syncs are not to be felt by appends.
const WITNESS_EVERY: Duration = Duration::from_secs(1);

/// How to open a log.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The id of a log that begins here, drawn at random by the caller. One that is there keeps its own.
    pub new_id: [u8; 16],
    /// When a segment is followed by another.
    pub roll_bytes: u64,
}

impl Options {
    /// Segments of 64 MiB.
    #[must_use]
    pub fn new(new_id: [u8; 16]) -> Self {
        Self { new_id, roll_bytes: SegmentConfig::new(SegmentKind::Log, new_id).roll_bytes }
    }
}

/// A log in a folder. Dropping it commits what waits and closes it.
pub struct EmbeddedLog {
    log: Arc<SegmentLog>,
    /// None where it is in memory.
    index: Option<Arc<SledIndex>>,
    queue: Arc<Queue>,
    to_index: Arc<Signal>,
    to_witness: Arc<Signal>,
    threads: Vec<JoinHandle<()>>,
    _folder: Folder,
}

impl EmbeddedLog {
    /// Opens the log in `path`, or begins one there. `progress` hears how many bytes of how many have been gone
    /// over when the index is behind.
    ///
    /// # Errors
    /// [`OpenError`]; nothing has been changed then.
    pub fn open(
        path: &Path,
        options: &Options,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, Opened), OpenError> {
        let folder = Folder::lock(path, options.new_id)?;
        let disk = |path| FolderDisk::new(path).map_err(|error| OpenError::Folder(error.to_string()));
        let (disk, witness) = (Arc::new(disk(path.join("segments"))?), Arc::new(disk(path.to_owned())?));
        let config = SegmentConfig {
            roll_bytes: options.roll_bytes,
            ..SegmentConfig::new(SegmentKind::Log, folder.id())
        };
        let mut open = |index: Arc<dyn LogIndex>| {
            SegmentLog::open(disk.clone(), witness.clone(), config, index, progress)
        };
        let on_disk = SledIndex::open(&path.join("index")).and_then(|(index, damaged)| {
            let index = Arc::new(index);
            let (log, mut opened) = open(index.clone())?;
            if opened.rebuilt.is_some() && damaged.is_some() {
                opened.rebuilt = damaged;
            }
            Ok((log, opened, Some(index)))
        });
        let (log, opened, index) = match on_disk {
            Err(why @ (OpenError::Folder(_) | OpenError::Log(LogError::Unavailable { .. }))) => {
                // What is wrong with the segments is wrong again.
                let (log, opened) = open(Arc::new(MemoryIndex::new()))?;
                (log, Opened { unindexed: Some(why.to_string()), ..opened }, None)
            }
            opened => opened?,
        };
        let (log, queue) = (Arc::new(log), Arc::new(Queue::new(QUEUE_MAX)));
        let (to_index, to_witness) = (Arc::<Signal>::default(), Arc::<Signal>::default());
        let threads = vec![
            spawn("annals-committer", {
                let (log, queue) = (log.clone(), queue.clone());
                let followers = [to_index.clone(), to_witness.clone()];
                move || commit_all(&log, &queue, &followers)
            })?,
            spawn("annals-indexer", {
                let (log, to_index) = (log.clone(), to_index.clone());
                move || index_all(&log, &to_index)
            })?,
            spawn("annals-witness", {
                let (log, to_witness) = (log.clone(), to_witness.clone());
                move || witness_all(&log, &to_witness)
            })?,
        ];
        Ok((Self { log, index, queue, to_index, to_witness, threads, _folder: folder }, opened))
    }

    /// The log's id.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.log.id()
    }

    /// The end of the last durable group.
    #[must_use]
    pub fn end(&self) -> Mark {
        self.log.end()
    }

    /// Every record in log order, everything about it checked but signatures. Ends with the first damage.
    #[must_use]
    pub fn verify(&self) -> Verify {
        self.log.verify()
    }

    /// Whether the index says of every record what it should. Answers with how many records that were.
    ///
    /// # Errors
    /// As for [`SegmentLog::verify_index`].
    pub fn verify_index(&self) -> Result<u64, LogError> {
        self.log.verify_index()
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.queue.close();
        let mut threads = std::mem::take(&mut self.threads).into_iter();
        // The committer first: what it still commits is to be indexed. A panic of a thread has been reported by it.
        drop(threads.next().map(JoinHandle::join));
        self.to_index.close();
        self.to_witness.close();
        threads.for_each(|thread| drop(thread.join()));
        // Where it cannot be written, the one that is there vouches for less.
        drop(self.log.write_witness());
        // What is not flushed is made up for on opening.
        drop(self.index.as_ref().map(|index| index.flush()));
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new().name(name.into()).spawn(run).map_err(|error| OpenError::Folder(error.to_string()))
}

/// The committer: as long as somebody appends.
fn commit_all(log: &SegmentLog, queue: &Queue, followers: &[Arc<Signal>]) {
    // If this thread should ever panic, nobody waits in vain.
    let _closes = queue.closes_on_drop();
    while let Some(jobs) = queue.take() {
        let group: Vec<(Seq, Arc<Record>)> =
            jobs.iter().map(|job| (job.expected, job.record.clone())).collect();
        let answers = log.commit(&group);
        jobs.into_iter().zip(answers).for_each(|(job, answer)| job.answer.give(answer));
        followers.iter().for_each(|follower| follower.raise());
        while log.bytes_to_index() > BYTES_TO_INDEX_MAX && matches!(log.index_some(), Ok(true)) {}
    }
}

/// The indexer: whenever enough was committed, and in the end.
fn index_all(log: &SegmentLog, to_index: &Signal) {
    // An error has stopped the log; the index is made anew on opening.
    let index = || while log.index_some().unwrap_or(false) {};
    while to_index.wait() {
        if log.bytes_to_index() >= LOT_BYTES {
            index();
        }
    }
    index();
}

/// The witness: whenever something was committed, and then not for a while.
fn witness_all(log: &SegmentLog, to_witness: &Signal) {
    while to_witness.wait() {
        // One that could not be written is tried again after the next group, and on closing.
        drop(log.write_witness());
        to_witness.rest(WITNESS_EVERY);
    }
}

impl EventLog for EmbeddedLog {
    fn append(&self, expected: Seq, record: Arc<Record>) -> Later<'_, Position> {
        Box::pin(self.queue.append(expected, record))
    }

    fn head(&self, namespace: NamespaceId) -> Later<'_, Head> {
        self.log.head(namespace)
    }

    fn read(&self, namespace: NamespaceId, after: Seq, bytes_max: usize) -> Later<'_, Vec<Logged>> {
        self.log.read(namespace, after, bytes_max)
    }

    fn read_all(&self, after: Position, bytes_max: usize) -> Later<'_, Vec<Logged>> {
        self.log.read_all(after, bytes_max)
    }

    fn find(&self, namespace: NamespaceId, dot: Dot) -> Later<'_, Option<Logged>> {
        self.log.find(namespace, dot)
    }

    fn read_entry(
        &self,
        namespace: NamespaceId,
        entry: EntryId,
        after: Seq,
        count_max: usize,
    ) -> Later<'_, Vec<Logged>> {
        self.log.read_entry(namespace, entry, after, count_max)
    }

    fn read_device(
        &self,
        namespace: NamespaceId,
        device: DeviceId,
        after: Seq,
        count_max: usize,
    ) -> Later<'_, Vec<Logged>> {
        self.log.read_device(namespace, device, after, count_max)
    }

    fn namespaces(&self) -> Later<'_, Vec<NamespaceId>> {
        self.log.namespaces()
    }

    fn wait_past(&self, namespace: NamespaceId, after: Seq) -> Later<'_, Head> {
        self.log.wait_past(namespace, after)
    }
}

/// A lock whose holder panicked guards data that is still whole: every change under it is one assignment.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, feature = "contract"))]
mod tests;
