//! Files that are read before they are asked for, and the bytes of small ones between the question what of them has to
//! be sent and the sending (docs/design/0002).
//!
//! What must always hold: bytes are kept for one group of files at a time, no more than some megabytes of them, and
//! only those of a file that was the same before and after it was read. Nothing is read any more once this is gone.

use super::host::unread_file;
use crate::{
    content::{self, ChunkSink, CutError, CutFile, KeptFile},
    disk::Folder,
};
use annals_engine::{content::SealedChunk, round::FileToRead};
use annals_events::ChunkId;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

/// Bytes of small files that are kept of a group.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// A group that has more is not read before it is its turn: what is at work then has the memory for itself.
const AHEAD_BYTES_MAX: u64 = 64 << 20;

/// What was read before it was asked for.
#[derive(Default)]
pub(super) struct Ahead {
    next: Option<Reading>,
    /// Of the group that was named last.
    kept: BTreeMap<String, (FileToRead, KeptFile)>,
}

/// A group that is being read.
struct Reading {
    files: Vec<FileToRead>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Named>>,
}

type Found = Result<CutFile, CutError>;

/// What was found, and the bytes that were kept.
type Named = (Vec<Option<Found>>, BTreeMap<usize, Vec<u8>>);

impl Ahead {
    /// Begins to read `files`, if they are not many bytes; with none, lets go of everything.
    pub(super) fn begin(&mut self, folder: &Arc<Folder>, files: &[FileToRead]) {
        self.next = None;
        if files.is_empty() {
            self.kept.clear();
        } else if files.iter().map(|file| file.size).sum::<u64>() <= AHEAD_BYTES_MAX {
            self.next = Some(Reading::begin(folder, files));
        }
    }

    /// What is found in `files`, which may have been read by now.
    pub(super) fn named(&mut self, folder: &Arc<Folder>, files: &[FileToRead]) -> Vec<Found> {
        // Of two groups that are kept one is at work, the other on its way.
        self.kept.clear();
        let begun = self.next.take().filter(|next| next.files == files);
        let reading = begun.unwrap_or_else(|| Reading::begin(folder, files));
        let (found, mut plain) = reading.finish();
        let mut all = Vec::with_capacity(files.len());
        for (place, (file, found)) in files.iter().zip(found).enumerate() {
            let found = found.unwrap_or(Err(CutError::ChangedWhileRead));
            if let (Ok(cut), Some(plain)) = (&found, plain.remove(&place)) {
                let kept = KeptFile { file: cut.clone(), plain };
                self.kept.insert(file.path.clone(), (file.clone(), kept));
            }
            all.push(found);
        }
        all
    }

    /// The file as it was named last, if its bytes were kept.
    pub(super) fn take(&mut self, file: &FileToRead) -> Option<KeptFile> {
        let (_, kept) = self.kept.remove(&file.path).filter(|(named, _)| named == file)?;
        Some(kept)
    }
}

impl Reading {
    fn begin(folder: &Arc<Folder>, files: &[FileToRead]) -> Self {
        let to_cut: Vec<_> = files.iter().map(|file| unread_file(folder, file)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let sink =
            Namer { stop: Arc::clone(&stop), room: AtomicUsize::new(KEPT_BYTES_MAX), kept: Mutex::default() };
        let mut found: Vec<Option<Found>> = files.iter().map(|_| None).collect();
        let thread = std::thread::spawn(move || {
            // If it is stopped nobody asks what was found.
            let _ = content::cut_files(to_cut, &sink, |place, result| found[place] = Some(result));
            (found, sink.kept.into_inner().unwrap_or_else(PoisonError::into_inner))
        });
        Self { files: files.to_vec(), stop, thread: Some(thread) }
    }

    fn finish(mut self) -> Named {
        let thread = self.thread.take().expect("it is waited for once");
        thread.join().expect("reading does not panic")
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Finds names, and keeps bytes while there is room.
struct Namer {
    stop: Arc<AtomicBool>,
    room: AtomicUsize,
    kept: Mutex<BTreeMap<usize, Vec<u8>>>,
}

/// It was told to stop.
struct Stopped;

impl ChunkSink for Namer {
    type Error = Stopped;

    fn wanted(&self, _: &ChunkId) -> Result<bool, Stopped> {
        if self.stop.load(Ordering::Relaxed) { Err(Stopped) } else { Ok(false) }
    }

    fn take(&self, _: SealedChunk) -> Result<(), Stopped> {
        Ok(())
    }

    fn keeps(&self, _: usize, bytes: usize) -> bool {
        let taken =
            self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(bytes));
        taken.is_ok()
    }

    fn keep(&self, place: usize, plain: Vec<u8>) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(place, plain);
    }
}
