//! Files that are read before they are asked for, the bytes of small ones between the question what of them has to be
//! sent and the sending (docs/design/0002), and what was found in those whose sending was interrupted. Where most of
//! what was asked about had to be sent, what is new in the next group is sealed while it is read: its bytes are at hand
//! then, and four times as many of them fit.
//!
//! What must always hold: bytes are kept for one group of files at a time, no more than some megabytes of them, and
//! only those of a file that was the same before and after it was read. What was found in a file is believed while the
//! file is what it was, as the file system's clock has it. Nothing is read any more once this is gone.

use super::host::unread_file;
use crate::{
    clock::{SystemClock, pause},
    content::{self, Benches, ChunkSink, CutError, CutFile, FileToCut, KeptFile, KnownFile},
    disk::{Folder, OpenFile},
};
use annals_engine::{
    clock::Clock as _,
    content::SealedChunk,
    disk::{Reading as _, TICK_NS},
    flow,
    round::{FileToRead, Turns},
};
use annals_events::{ChunkId, ChunkRef};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Bytes of small files, or of what was sealed, that are kept of a group.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// A group that has more is not read before it is its turn: what is at work then has the memory for itself.
const AHEAD_BYTES_MAX: u64 = 64 << 20;
/// So many chunks of files whose sending was interrupted are remembered.
const KNOWN_CHUNKS_MAX: usize = 128 << 10;

/// What was read before it was asked for.
#[derive(Default)]
pub(super) struct Ahead {
    /// What whoever cuts files works at.
    benches: Arc<Benches>,
    next: Option<Reading>,
    /// A file that takes long, whose reading goes on while others have their turn.
    long: Option<Reading>,
    /// Of the group that was named last.
    kept: BTreeMap<String, (FileToRead, KeptFile)>,
    /// What was found in that.
    last: BTreeMap<String, Known>,
    /// What was sealed of that and is not given away.
    chunks: BTreeMap<ChunkId, SealedChunk>,
    /// What was found in what was interrupted.
    known: BTreeMap<String, Known>,
    guess: Guess,
}

/// Whether most of what will be asked about has to be sent, going by the group before.
#[derive(Default)]
struct Guess {
    /// How many chunks the group has that was named last, and how many of them had to be sent.
    named: usize,
    sent: usize,
    /// Whether that was most of them, in the one before it.
    sends_most: bool,
}

/// What was found in a file.
struct Known {
    asked: FileToRead,
    file: CutFile,
    /// Whether a change since then is sure to show.
    settled: bool,
    /// Whether all of it was sealed.
    sealed: bool,
    /// Whether its sending was interrupted.
    begun: bool,
}

/// A group that is being read.
struct Reading {
    files: Vec<FileToRead>,
    began_ns: i64,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Named>>,
}

type Found = Result<CutFile, CutError>;

/// What was found, the bytes that were kept, and what was sealed of the others.
type Named = (Vec<Option<Found>>, BTreeMap<usize, Vec<u8>>, BTreeMap<ChunkId, SealedChunk>);

impl Ahead {
    /// Begins to read `files`, if they are not many bytes; with none, lets go of everything.
    pub(super) fn begin(&mut self, folder: &Arc<Folder>, files: &[FileToRead]) {
        self.next = None;
        if files.is_empty() {
            self.kept.clear();
            self.chunks.clear();
            self.benches = Arc::default();
        } else if bytes_of(files) <= AHEAD_BYTES_MAX {
            self.next = Some(self.reading(folder, files, flow::WINDOW_BYTES_MAX));
        }
    }

    /// What is found in `files`, which may have been read by now; none: it is another's turn first. A `window` goes
    /// together on the way to the server.
    pub(super) fn named(
        &mut self,
        folder: &Arc<Folder>,
        files: &[FileToRead],
        window: u64,
        turns: &dyn Turns,
    ) -> Option<Vec<Found>> {
        // Of two groups that are kept one is at work, the other on its way.
        self.kept.clear();
        self.last.clear();
        self.chunks.clear();
        self.guess.learn();
        let known: Vec<Option<CutFile>> = files.iter().map(|file| self.still_known(folder, file)).collect();
        let is_unread =
            |(file, known): (&FileToRead, &Option<CutFile>)| known.is_none().then(|| file.clone());
        let unread: Vec<FileToRead> = files.iter().zip(&known).filter_map(is_unread).collect();
        let mut read = self.read(folder, &unread, window, turns)?.into_iter();
        let found = known.into_iter().map(|known| known.map_or_else(|| read.next(), |known| Some(Ok(known))));
        Some(found.map(|found| found.unwrap_or(Err(CutError::ChangedWhileRead))).collect())
    }

    /// Reads what is not known, or was begun to be read; none: it is another's turn first.
    fn read(
        &mut self,
        folder: &Arc<Folder>,
        files: &[FileToRead],
        window: u64,
        turns: &dyn Turns,
    ) -> Option<Vec<Found>> {
        let begun = self.next.take().filter(|next| next.files == files);
        let reading = match files {
            [] => return Some(Vec::new()),
            [file] if flow::is_long(file.size, window) => {
                let again = self.long.take().filter(|long| long.files == files);
                let reading = again.or(begun).unwrap_or_else(|| {
                    wait_for_tick(folder, &file.path);
                    self.reading(folder, files, window)
                });
                if !reading.is_done(turns) {
                    self.long = Some(reading);
                    return None;
                }
                reading
            }
            files => begun.unwrap_or_else(|| self.reading(folder, files, window)),
        };
        let began_ns = reading.began_ns;
        let (found, mut plain, chunks) = reading.finish();
        self.chunks = chunks;
        let mut all = Vec::with_capacity(files.len());
        for (place, (file, found)) in files.iter().zip(found).enumerate() {
            let found = found.unwrap_or(Err(CutError::ChangedWhileRead));
            if let Ok(cut) = &found {
                self.guess.named += cut.chunks.len();
                self.remember(file, cut, plain.remove(&place), began_ns);
            }
            all.push(found);
        }
        Some(all)
    }

    fn remember(&mut self, asked: &FileToRead, cut: &CutFile, plain: Option<Vec<u8>>, began_ns: i64) {
        let (path, asked, file) = (asked.path.clone(), asked.clone(), cut.clone());
        if let Some(plain) = plain {
            self.kept.insert(path, (asked, KeptFile { file, plain }));
            return;
        }
        let settled = cut.node.is_settled(began_ns);
        let sealed = file.chunks.iter().all(|chunk| self.chunks.contains_key(&chunk.id));
        if !cut.grew && (settled || sealed) {
            self.last.insert(path, Known { asked, file, settled, sealed, begun: false });
        }
    }

    /// Begins to read `files`, of which a `window` goes together. What is in the place of a large file is mostly there
    /// already; of what has more bytes than there is room for, and where they go slowly, it would be sealed in vain.
    fn reading(&self, folder: &Arc<Folder>, files: &[FileToRead], window: u64) -> Reading {
        let fits = |file: &FileToRead| file.replaced.is_none() && file.size < KEPT_BYTES_MAX as u64;
        let seals = self.guess.sends_most
            && window >= flow::WINDOW_BYTES_MAX
            && bytes_of(files) <= AHEAD_BYTES_MAX
            && files.iter().all(fits);
        Reading::begin(&self.benches, folder, files, seals)
    }

    /// What was found in these files is not believed any more, whatever their times are.
    pub(super) fn doubt(&mut self, paths: &BTreeSet<String>) {
        self.known.retain(|path, _| !paths.contains(path));
        if self.long.as_ref().is_some_and(|long| long.files.iter().any(|file| paths.contains(&file.path))) {
            self.long = None;
        }
    }

    /// What was found in a file whose sending was interrupted, and that is what it was.
    fn still_known(&mut self, folder: &Arc<Folder>, file: &FileToRead) -> Option<CutFile> {
        let known = self.known.remove(&file.path).filter(|known| known.asked == *file)?;
        let reading = folder.open_file(&file.path).ok()?;
        let found = content::is_still(&reading, &known.file.node).then(|| known.file.clone());
        self.last.insert(file.path.clone(), known);
        found
    }

    /// The file as it was named last, as far as that is known. Where a `window` is little, what is on its way to the
    /// server takes longer than reading it once more, a chunk at a time.
    pub(super) fn take(
        &mut self,
        folder: &Arc<Folder>,
        file: &FileToRead,
        window: u64,
    ) -> Option<FileToCut<OpenFile>> {
        if let Some((_, kept)) = self.kept.remove(&file.path).filter(|(named, _)| named == file) {
            return Some(FileToCut::Kept(kept));
        }
        let is_slow = window < flow::WINDOW_BYTES_MAX;
        let known = self.last.get(&file.path).filter(|known| known.settled && known.asked == *file)?;
        if !is_slow && !known.begun {
            return None;
        }
        let (folder, path) = (Arc::clone(folder), file.path.clone());
        let open = Box::new(move || folder.open_file(&path));
        Some(FileToCut::Known(KnownFile { open, file: known.file.clone() }))
    }

    /// The file as it was named last, if all of it was sealed, and what of that is `wanted` and was not `given` before.
    pub(super) fn take_sealed(
        &mut self,
        file: &FileToRead,
        wanted: impl Fn(&ChunkId) -> bool,
        given: &mut BTreeSet<ChunkId>,
    ) -> Option<(CutFile, Vec<SealedChunk>)> {
        let known = self.last.get(&file.path).filter(|known| known.sealed && known.asked == *file)?;
        let chunks = &known.file.chunks;
        if !chunks.iter().all(|chunk| given.contains(&chunk.id) || self.chunks.contains_key(&chunk.id)) {
            return None;
        }
        let mut taken = Vec::new();
        for ChunkRef { id, .. } in chunks {
            if !given.contains(id) && wanted(id) {
                taken.extend(self.chunks.remove(id));
                given.insert(*id);
            }
        }
        Some((known.file.clone(), taken))
    }

    /// What whoever cuts files for it works at.
    pub(super) fn benches(&self) -> Arc<Benches> {
        Arc::clone(&self.benches)
    }

    /// Takes note that so many chunks of what was named last had to be sent.
    pub(super) fn sent(&mut self, chunks: usize) {
        self.guess.sent += chunks;
    }

    /// The sending of what was named last was interrupted: it will be asked for again.
    pub(super) fn interrupted(&mut self) {
        self.next = None;
        self.chunks.clear();
        self.guess.forget();
        self.last.retain(|_, known| known.settled);
        let chunks = |known: &BTreeMap<String, Known>| {
            known.values().map(|known| known.file.chunks.len()).sum::<usize>()
        };
        if chunks(&self.known) + chunks(&self.last) > KNOWN_CHUNKS_MAX {
            self.known.clear();
        }
        for known in self.last.values_mut() {
            (known.begun, known.sealed) = (true, false);
        }
        self.known.append(&mut self.last);
    }

    /// A round is at its end; whether there is something that `goes_on` in the next.
    pub(super) fn end(&mut self, goes_on: bool) {
        self.guess.learn();
        match goes_on {
            true => {
                self.interrupted();
                self.kept.clear();
                self.benches = Arc::default();
            }
            false => *self = Self { guess: std::mem::take(&mut self.guess), ..Self::default() },
        }
    }
}

impl Guess {
    /// What is known of the group that was named last holds for those that come.
    fn learn(&mut self) {
        if self.named > 0 {
            self.sends_most = 2 * self.sent > self.named;
        }
        self.forget();
    }

    /// Of a group that was not sent to its end nothing is known.
    fn forget(&mut self) {
        (self.named, self.sent) = (0, 0);
    }
}

fn bytes_of(files: &[FileToRead]) -> u64 {
    files.iter().map(|file| file.size).sum()
}

/// How often it is asked whose turn it is while a file that takes long is read.
const ASKED: Duration = Duration::from_millis(5);

fn now_ns() -> i64 {
    i64::try_from(SystemClock.now_ms()).unwrap_or(0).saturating_mul(1_000_000)
}

/// Waits until a change of a large file that was just saved would show: then it need not be read twice.
fn wait_for_tick(folder: &Folder, path: &str) {
    let node = folder.open_file(path).and_then(|file| file.node());
    if node.is_ok_and(|node| !node.is_settled(now_ns())) {
        pause(Duration::from_nanos(TICK_NS.unsigned_abs() + 1_000_000));
    }
}

impl Reading {
    fn begin(benches: &Arc<Benches>, folder: &Arc<Folder>, files: &[FileToRead], seals: bool) -> Self {
        let began_ns = now_ns();
        let to_cut: Vec<_> = files.iter().map(|file| unread_file(folder, file)).collect();
        let (benches, stop) = (Arc::clone(benches), Arc::new(AtomicBool::new(false)));
        let namer = Namer {
            stop: Arc::clone(&stop),
            seals,
            room: AtomicUsize::new(KEPT_BYTES_MAX),
            kept: Mutex::default(),
            chunks: Mutex::default(),
        };
        let mut found: Vec<Option<Found>> = files.iter().map(|_| None).collect();
        let thread = std::thread::spawn(move || {
            // If it is stopped nobody asks what was found.
            let _ = content::cut_files(&benches, to_cut, &namer, |place, result| found[place] = Some(result));
            let Namer { kept, chunks, .. } = namer;
            let kept = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
            (found, kept, chunks.into_inner().unwrap_or_else(PoisonError::into_inner))
        });
        Self { files: files.to_vec(), began_ns, stop, thread: Some(thread) }
    }

    /// Waits until it is done; false: it is another's turn before.
    fn is_done(&self, turns: &dyn Turns) -> bool {
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if !turns.goes_on() {
                return false;
            }
            pause(ASKED);
        }
        true
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

/// Finds names, and keeps bytes while there is room: plain ones, or what they are when they are sealed.
struct Namer {
    stop: Arc<AtomicBool>,
    seals: bool,
    room: AtomicUsize,
    kept: Mutex<BTreeMap<usize, Vec<u8>>>,
    chunks: Mutex<BTreeMap<ChunkId, SealedChunk>>,
}

/// It was told to stop.
struct Stopped;

impl Namer {
    /// Takes room for so many bytes, if there is any.
    fn takes_room(&self, bytes: usize) -> bool {
        let taken =
            self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(bytes));
        taken.is_ok()
    }
}

impl ChunkSink for Namer {
    type Error = Stopped;

    fn wanted(&self, id: &ChunkId) -> Result<bool, Stopped> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Stopped);
        }
        let chunks = || self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.seals && self.room.load(Ordering::Relaxed) > 0 && !chunks().contains_key(id))
    }

    fn take(&self, chunk: SealedChunk) -> Result<(), Stopped> {
        if self.takes_room(chunk.bytes.len()) {
            self.chunks.lock().unwrap_or_else(PoisonError::into_inner).insert(chunk.id, chunk);
        } else {
            // Nothing more is sealed in vain.
            self.room.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    fn keeps(&self, _: usize, bytes: usize) -> bool {
        !self.seals && self.takes_room(bytes)
    }

    fn keep(&self, place: usize, plain: Vec<u8>) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(place, plain);
    }
}

#[cfg(test)]
mod tests;
