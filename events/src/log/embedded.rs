//! The log of one machine: segments in a folder, sled as their index, one thread that commits.
//!
//! ```text
//! DIR/format        "annals log 1": a folder of another format is refused
//! DIR/id            the log's id in hex
//! DIR/lock          locked while a process has the log open
//! DIR/segments/     the truth (docs/format.md)
//! DIR/index/        sled; may be deleted at any time while nobody has the log open
//! ```
//!
//! Appends wait in a bounded queue. The committer takes all that wait, writes them as one group, syncs once,
//! and answers all of them: the slower the disk, the larger the groups. The indexer follows behind. Everything
//! that could be got wrong is in [`super::segmented`], which has no threads.

mod folder;
mod queue;
mod sled_index;

pub use folder::{LOG_FORMAT, OpenError};
pub use sled_index::SledIndex;

use super::{
    EventLog, Head, Later, LogError, Logged, Position,
    segmented::{Opened, SegmentLog, Verify},
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
};

/// Appends that wait at most; whoever comes later waits to wait.
const QUEUE_MAX: usize = 1024;
/// What may be acknowledged and not yet indexed before the committer helps with indexing.
const BYTES_TO_INDEX_MAX: usize = 64 << 20;

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
    index: Arc<SledIndex>,
    queue: Arc<Queue>,
    to_index: Arc<Signal>,
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
        let disk =
            FolderDisk::new(path.join("segments")).map_err(|error| OpenError::Folder(error.to_string()))?;
        let config = SegmentConfig {
            roll_bytes: options.roll_bytes,
            ..SegmentConfig::new(SegmentKind::Log, folder.id())
        };
        let (index, damaged) = SledIndex::open(&path.join("index"))?;
        let index = Arc::new(index);
        let (log, mut opened) = SegmentLog::open(Arc::new(disk), config, index.clone(), progress)?;
        if opened.rebuilt.is_some() && damaged.is_some() {
            opened.rebuilt = damaged;
        }
        let (log, queue, to_index) =
            (Arc::new(log), Arc::new(Queue::new(QUEUE_MAX)), Arc::new(Signal::default()));
        let threads = vec![
            spawn("annals-committer", {
                let (log, queue, to_index) = (log.clone(), queue.clone(), to_index.clone());
                move || commit_all(&log, &queue, &to_index)
            })?,
            spawn("annals-indexer", {
                let (log, to_index) = (log.clone(), to_index.clone());
                move || index_all(&log, &to_index)
            })?,
        ];
        Ok((Self { log, index, queue, to_index, threads, _folder: folder }, opened))
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
        drop(threads.next().map(JoinHandle::join));
        // What is not flushed is made up for on opening.
        drop(self.index.flush());
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new().name(name.into()).spawn(run).map_err(|error| OpenError::Folder(error.to_string()))
}

/// The committer: as long as somebody appends.
fn commit_all(log: &SegmentLog, queue: &Queue, to_index: &Signal) {
    // If this thread should ever panic, nobody waits in vain.
    let _closes = queue.closes_on_drop();
    while let Some(jobs) = queue.take() {
        let group: Vec<(Seq, Arc<Record>)> =
            jobs.iter().map(|job| (job.expected, job.record.clone())).collect();
        let answers = log.commit(&group);
        jobs.into_iter().zip(answers).for_each(|(job, answer)| job.answer.give(answer));
        to_index.raise();
        while log.bytes_to_index() > BYTES_TO_INDEX_MAX && matches!(log.index_some(), Ok(true)) {}
    }
}

/// The indexer: whenever something was committed.
fn index_all(log: &SegmentLog, to_index: &Signal) {
    while to_index.wait() {
        // An error has stopped the log; the index is made anew on opening.
        while log.index_some().unwrap_or(false) {}
    }
    while log.index_some().unwrap_or(false) {}
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
