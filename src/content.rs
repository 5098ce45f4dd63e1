//! Cutting files on all cores: which chunks they have, and the bytes of those chunks that somebody wants.
//!
//! Small files are spread over the workers, one file at a time each. A large file is read by one worker, one
//! large file at a time, and its chunks are hashed and sealed by all of them; when they cannot keep up the
//! reader lends a hand instead of reading on. So memory is bounded (about 64 MiB where files are beyond 4 GiB,
//! half of that otherwise, and what the sink holds) and all cores have work whatever the tree looks like.
//!
//! What must always hold: a content that is reported is one state of the file, as far as its size and times can
//! tell: what changed while it was read is [`CutError::ChangedWhileRead`]. A chunk nobody
//! [wants](ChunkSink::wanted) is not compressed. The bytes of small files stay where somebody
//! [keeps](ChunkSink::keeps) them, so that chunks which are wanted only later are not read and named twice. Left out:
//! what becomes of the chunks.

mod workshop;

use annals_engine::{
    content::{self, BadCut, Chunker, SealedChunk, Sealer, TooManyChunks},
    disk::{DiskError, Node, Reading},
};
use annals_events::{ChunkId, ChunkRef, Content, Cut, EntryKind};
use std::{
    io::{self, Read as _},
    num::NonZero,
    sync::{Mutex, PoisonError, mpsc},
};
use workshop::Workshop;

/// A file to be cut.
pub enum FileToCut<R> {
    /// It has to be read.
    Unread(UnreadFile<R>),
    /// It was cut, and its bytes were kept.
    Kept(KeptFile),
    /// It was cut: only the chunks that are wanted are read.
    Known(KnownFile<R>),
}

/// A file to be read.
pub struct UnreadFile<R> {
    /// Opens it, on the thread that will read it.
    pub open: Box<dyn FnOnce() -> Result<R, DiskError> + Send>,
    /// How the version that it replaces was cut.
    pub replaced: Option<Cut>,
    /// Only so many bytes of it: all that it had when it was read before.
    pub first: Option<u64>,
}

impl<R> std::fmt::Debug for FileToCut<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unread(file) => {
                f.debug_struct("FileToCut").field("replaced", &file.replaced).finish_non_exhaustive()
            }
            Self::Kept(kept) => kept.fmt(f),
            Self::Known(known) => known.file.fmt(f),
        }
    }
}

/// A file that was cut, and is what it was then if nobody changed it.
pub struct KnownFile<R> {
    /// Opens it, on the thread that will read it.
    pub open: Box<dyn FnOnce() -> Result<R, DiskError> + Send>,
    /// What was found.
    pub file: CutFile,
}

/// A file whose bytes were kept when it was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFile {
    /// What was found.
    pub file: CutFile,
    /// Its bytes.
    pub plain: Vec<u8>,
}

/// A file that has been cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutFile {
    /// What it holds.
    pub content: Content,
    /// All its chunks in order, and its manifest's own if it has one.
    pub chunks: Vec<ChunkRef>,
    /// What it was before and after it was read; of one that grew, what was read of it.
    pub node: Node,
    /// Whether more was written behind what was read, meanwhile or since it was read before. That nothing before it
    /// changed is seen by reading it [once more](FileToCut::first).
    pub grew: bool,
}

/// Why a file could not be cut. The others go on.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// It was written to, replaced or renamed in the meantime. Some of its chunks may have been taken.
    #[error("the file changed while it was read")]
    ChangedWhileRead,
    /// A folder or symlink, which has no content.
    #[error("this is not a file")]
    NotAFile,
    /// It could not be opened.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It could not be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is too large.
    #[error(transparent)]
    TooManyChunks(#[from] TooManyChunks),
    /// The sizes to cut it with are none.
    #[error(transparent)]
    BadCut(#[from] BadCut),
}

/// Who takes the chunks. Asked from several threads at once.
pub trait ChunkSink: Sync {
    /// What stops the cutting when it happens.
    type Error: Send;

    /// Whether the bytes of this chunk are needed: not if they are known to be where they should go. May be
    /// asked twice about a chunk.
    ///
    /// # Errors
    /// One ends all cutting.
    fn wanted(&self, id: &ChunkId) -> Result<bool, Self::Error>;

    /// Takes a chunk that was wanted. All chunks of a file have been taken when the file is reported.
    /// Waiting here is how a slow network or disk slows down the reading.
    ///
    /// # Errors
    /// One ends all cutting.
    fn take(&self, chunk: SealedChunk) -> Result<(), Self::Error>;

    /// Whether the plain bytes of the file at this place, so many, are to be handed in once it is cut. Asked about small
    /// files only.
    fn keeps(&self, place: usize, bytes: usize) -> bool {
        let _ = (place, bytes);
        false
    }

    /// Takes the bytes of a file that it keeps.
    fn keep(&self, place: usize, plain: Vec<u8>) {
        let _ = (place, plain);
    }
}

/// What workers use over and over, kept for those that come after them: some megabytes for each core.
#[derive(Default)]
pub struct Benches(Mutex<Vec<Bench>>);

/// What one worker uses.
#[derive(Default)]
struct Bench {
    sealer: Sealer,
    /// As long as it ever was.
    buffer: Vec<u8>,
}

impl Benches {
    fn take(&self) -> Bench {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put_back(&self, mut bench: Bench) {
        bench.sealer.rest();
        if bench.buffer.len() as u64 > SMALL_FILE_BYTES_MAX + 1 {
            bench.buffer = Vec::new();
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(bench);
    }
}

impl std::fmt::Debug for Benches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Benches")
    }
}

/// Cuts `files` on all cores, at these benches. `each` is called on this thread as they are done, some at a time, with the
/// place of the file among `files`; which is done first is left to chance.
///
/// # Errors
/// The sink's first. What could not be read is reported to `each`.
pub fn cut_files<R: Reading, S: ChunkSink>(
    benches: &Benches,
    files: impl IntoIterator<Item = FileToCut<R>, IntoIter: Send>,
    sink: &S,
    each: impl FnMut(usize, Result<CutFile, CutError>),
) -> Result<(), S::Error> {
    let cores = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    cut_files_on(cores, benches, files, sink, each)
}

/// As [`cut_files`], with this many workers.
///
/// # Errors
/// As `cut_files`.
pub fn cut_files_on<R: Reading, S: ChunkSink>(
    workers: NonZero<usize>,
    benches: &Benches,
    files: impl IntoIterator<Item = FileToCut<R>, IntoIter: Send>,
    sink: &S,
    mut each: impl FnMut(usize, Result<CutFile, CutError>),
) -> Result<(), S::Error> {
    let workshop = Workshop::new(workers, sink);
    let files = Mutex::new(files.into_iter().fuse().enumerate());
    std::thread::scope(|scope| {
        let (done, reports) = mpsc::sync_channel(HANDFULS_WAITING_MAX);
        for _ in 0..workers.get() {
            let (workshop, files, done) = (&workshop, &files, done.clone());
            scope.spawn(move || {
                let mut bench = benches.take();
                Worker { workshop, bench: &mut bench, reports: Vec::new() }.work(files, &done);
                benches.put_back(bench);
            });
        }
        drop(done);
        reports.into_iter().flatten().for_each(|(place, result)| each(place, result));
    });
    workshop.into_result()
}

/// A file of up to this size is read in one go and cut by one worker.
const SMALL_FILE_BYTES_MAX: u64 = 1 << 20;
/// How much of a large file is read at once, at most.
const BLOCK_BYTES_MAX: u64 = 8 << 20;
/// Files that are reported together: waking somebody for each costs more than a small file does.
const HANDFUL: usize = 32;
/// How many handfuls may be done before somebody looks at them.
const HANDFULS_WAITING_MAX: usize = 8;

/// One thread at its bench.
struct Worker<'a, S: ChunkSink> {
    workshop: &'a Workshop<'a, S>,
    bench: &'a mut Bench,
    /// What nobody was told of yet.
    reports: Vec<Report>,
}

/// Nobody wants to know how a file ends, because the sink has given up.
struct Stopped;

/// The chunks of what was read, and whether the file ends there if that was seen.
type Read = (Vec<ChunkRef>, Option<bool>);

type Report = (usize, Result<CutFile, CutError>);

impl<'a, S: ChunkSink> Worker<'a, S> {
    /// Cuts files as long as there are any, and lends a hand to who is still at one.
    fn work<R: Reading>(
        mut self,
        files: &Mutex<impl Iterator<Item = (usize, FileToCut<R>)>>,
        done: &mpsc::SyncSender<Vec<Report>>,
    ) {
        let _watch = self.workshop.watch_for_panics();
        loop {
            self.workshop.help(&mut self.bench.sealer);
            self.workshop.begin_file();
            let Some((place, file)) = files.lock().expect("a panic ends all cutting").next() else { break };
            let result = self.cut(place, file);
            self.workshop.end_file();
            let Ok(result) = result else { return self.workshop.stop() };
            self.reports.push((place, result));
            if self.reports.len() == HANDFUL && done.send(std::mem::take(&mut self.reports)).is_err() {
                return self.workshop.stop();
            }
        }
        self.workshop.end_file();
        self.workshop.help_to_the_end(&mut self.bench.sealer);
        // Nobody is there only where somebody panicked.
        drop(done.send(self.reports));
    }

    /// Cuts one file. The outer error is the sink's, which the workshop keeps.
    fn cut<R: Reading>(
        &mut self,
        place: usize,
        file: FileToCut<R>,
    ) -> Result<Result<CutFile, CutError>, Stopped> {
        match file {
            FileToCut::Unread(file) => self.read(place, file),
            FileToCut::Kept(kept) => self.seal(kept).map(Ok),
            FileToCut::Known(known) => self.read_wanted(known),
        }
    }

    /// Reads those chunks of a file that are wanted, and nothing else.
    fn read_wanted<R: Reading>(&mut self, known: KnownFile<R>) -> Result<Result<CutFile, CutError>, Stopped> {
        let file = known.file;
        let mut reading = match (known.open)() {
            Ok(reading) => reading,
            Err(error) => return Ok(Err(error.into())),
        };
        if !is_still(&reading, &file.node) {
            return Ok(Err(CutError::ChangedWhileRead));
        }
        let data = file.chunks.len() - usize::from(file.content.manifest.is_some());
        let mut passed = 0;
        for chunk in &file.chunks[..data] {
            if !self.workshop.wants(&chunk.id)? {
                passed += u64::from(chunk.bytes);
                continue;
            }
            let mut plain = vec![0; chunk.bytes as usize];
            let read =
                reading.pass_by(std::mem::take(&mut passed)).and_then(|()| reading.read_exact(&mut plain));
            if read.is_err() || ChunkId::of(&plain) != chunk.id {
                return Ok(Err(CutError::ChangedWhileRead));
            }
            self.workshop.take(&mut self.bench.sealer, chunk.id, plain)?;
        }
        let whole = content::assemble(file.content.cut, file.chunks[..data].to_vec());
        if let (Ok((_, Some(manifest))), Some(root)) = (whole, file.content.manifest)
            && self.workshop.wants(&root.id)?
        {
            self.workshop.take(&mut self.bench.sealer, root.id, manifest)?;
        }
        Ok(if is_still(&reading, &file.node) { Ok(file) } else { Err(CutError::ChangedWhileRead) })
    }

    /// Hands over the chunks of a file that was kept.
    fn seal(&mut self, kept: KeptFile) -> Result<CutFile, Stopped> {
        let mut rest = &kept.plain[..];
        for chunk in &kept.file.chunks {
            let (plain, after) = rest.split_at(chunk.bytes as usize);
            self.workshop.hand_over(&mut self.bench.sealer, chunk.id, plain)?;
            rest = after;
        }
        Ok(kept.file)
    }

    fn read<R: Reading>(
        &mut self,
        place: usize,
        file: UnreadFile<R>,
    ) -> Result<Result<CutFile, CutError>, Stopped> {
        let opened = (file.open)().and_then(|reading| Ok((reading.node()?, reading)));
        let (before, mut reading) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error.into())),
        };
        if before.kind != EntryKind::File {
            return Ok(Err(CutError::NotAFile));
        }
        let node = Node { size: file.first.unwrap_or(before.size), ..before.clone() };
        if node.size > before.size {
            return Ok(Err(CutError::ChangedWhileRead));
        }
        let cut = content::cut_for(node.size, file.replaced);
        let is_small = node.size <= SMALL_FILE_BYTES_MAX;
        let chunks = if is_small {
            self.cut_small(&mut reading, &node, cut)?
        } else {
            self.cut_large(&mut reading, &node, cut)?.map(|chunks| (chunks, None))
        };
        let whole = chunks.and_then(|(chunks, ends)| {
            let after = reading.node()?;
            let grew = grew(&node, &after);
            let mut ends = || ends.map_or_else(|| Ok(reading.read(&mut [0])? == 0), Ok::<_, io::Error>);
            if !grew && (after.identity() != node.identity() || !ends()?) {
                return Err(CutError::ChangedWhileRead);
            }
            let all = chunks.clone();
            let (content, manifest) = content::assemble(cut, chunks)?;
            Ok((content, manifest, all, grew))
        });
        let (content, manifest, mut chunks, grew) = match whole {
            Ok(whole) => whole,
            Err(error) => return Ok(Err(error)),
        };
        let sink = self.workshop.sink();
        let bytes = node.size as usize;
        if is_small && manifest.is_none() && !grew && sink.keeps(place, bytes) {
            sink.keep(place, self.bench.buffer[..bytes].to_vec());
        }
        if let Some(manifest) = manifest {
            self.workshop.chunk(&mut self.bench.sealer, manifest)?;
        }
        chunks.extend(content.manifest);
        Ok(Ok(CutFile { content, chunks, node, grew }))
    }

    fn cut_small(
        &mut self,
        reading: &mut impl io::Read,
        node: &Node,
        cut: Cut,
    ) -> Result<Result<Read, CutError>, Stopped> {
        let Bench { sealer, buffer } = &mut *self.bench;
        let bytes = node.size as usize;
        if buffer.len() <= bytes {
            buffer.resize(bytes + 1, 0);
        }
        let ends = match read_small(reading, &mut buffer[..=bytes]) {
            Ok(ends) => ends,
            Err(error) => return Ok(Err(error)),
        };
        let chunks = match Chunker::new(cut) {
            Ok(chunker) => chunker.cut_whole(&buffer[..bytes]),
            Err(error) => return Ok(Err(error.into())),
        };
        let chunks = chunks.map(|chunk| self.workshop.chunk(sealer, chunk)).collect::<Result<_, _>>()?;
        Ok(Ok((chunks, ends)))
    }

    fn cut_large(
        &mut self,
        reading: &mut impl io::Read,
        node: &Node,
        cut: Cut,
    ) -> Result<Result<Vec<ChunkRef>, CutError>, Stopped> {
        self.workshop.begin_large_file(&mut self.bench.sealer)?;
        let read = self.read_large(reading, node, cut);
        let chunks = self.workshop.end_large_file(&mut self.bench.sealer)?;
        Ok(read.map(|()| chunks))
    }

    fn read_large(&mut self, reading: &mut impl io::Read, node: &Node, cut: Cut) -> Result<(), CutError> {
        let Self { workshop, bench, .. } = self;
        let Bench { sealer, buffer } = &mut **bench;
        let mut chunker = Chunker::new(cut)?;
        let mut left = node.size;
        while left > 0 && !workshop.is_stopped() {
            buffer.clear();
            let block = (4 * u64::from(cut.max)).min(BLOCK_BYTES_MAX).min(left);
            // At once: what grows by doubling leaves its smaller selves behind.
            buffer.reserve_exact(usize::try_from(block).expect("a block is some megabytes"));
            let got = io::Read::take(&mut *reading, block).read_to_end(buffer)? as u64;
            if got < block {
                return Err(CutError::ChangedWhileRead);
            }
            left -= got;
            chunker.feed(buffer, |chunk| workshop.offer(sealer, chunk));
        }
        chunker.finish(|chunk| workshop.offer(sealer, chunk));
        Ok(())
    }
}

/// Whether an open file is what it was.
pub fn is_still(reading: &impl Reading, before: &Node) -> bool {
    reading.node().is_ok_and(|now| now.identity() == before.identity())
}

/// Reads a small file of a byte less than there is room for, and answers whether it ends there, where that was seen: mostly
/// one call tells both.
fn read_small(reading: &mut impl io::Read, buffer: &mut [u8]) -> Result<Option<bool>, CutError> {
    let bytes = buffer.len() - 1;
    let mut got = 0;
    while got < bytes {
        match reading.read(&mut buffer[got..]) {
            Ok(0) => return Err(CutError::ChangedWhileRead),
            // Who reads short may have more, and is asked once more.
            Ok(all) if got == 0 && all == bytes => return Ok(Some(true)),
            Ok(some) => got += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((got > bytes).then_some(false))
}

/// What a file that is always open may have got while it was read, however small it is.
const GROWN_BYTES: u64 = 64 << 10;

/// Whether a file, as far as it can be told, only got longer while it was read, and not by much: a log that never rests. One
/// that is being copied here grows about as fast as it is read, and waits until it is whole.
fn grew(read: &Node, after: &Node) -> bool {
    let same = (read.kind, read.dev, read.ino) == (after.kind, after.dev, after.ino);
    let more = after.size.saturating_sub(read.size);
    same && more > 0 && (more <= GROWN_BYTES || more <= read.size / 16)
}

#[cfg(test)]
mod tests;
