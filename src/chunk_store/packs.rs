//! Chunks in packs: appended to segment files, with a sled tree that says where each of them stands.
//!
//! The packs are the truth and the index can be thrown away. Putting thousands of small chunks is one group of
//! frames and one sync; it is acknowledged when the group is durable, and the index is written after that. When
//! the store is opened the index catches up with the packs from the mark that it knows, or from the beginning; a
//! mark that is in the index and not in the packs is damage: somebody took away what was stored.
//!
//! One store has its folder for itself. After a sync that failed nothing more is put until the store is
//! opened again; an index that fails is opened again at once. What is removed is taken out of the index; where packs
//! are mostly dead, [`compaction`] gives their room back. A chunk may be stored as the difference to another
//! ([`chain`]), which is not removed before it. Left out: what may be removed.

mod chain;
mod compaction;
mod frame;
mod index;
mod removed;
#[cfg(test)]
mod tests;

use annals_engine::{
    chunk_store::{ChunkDamage, ChunkStats, ChunkStore, ChunkStoreError, Compacted, Incoming},
    content::{ChunkDelta, SealedChunk, Sealer},
};
use annals_events::{
    ChunkId, DeviceId,
    segment::{
        FolderDisk, Frame, Mark, Place, SegmentConfig, SegmentDisk, SegmentError, SegmentKind, SegmentReader,
        Segments, Torn, Unfinished,
    },
};
use frame::Stored;
use index::{Entry, Index, IndexError};
use removed::RemovedError;
use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

/// A pack that has this many bytes is followed by another. Opening a store reads the last of them.
const PACK_BYTES: u64 = 128 << 20;
/// A group is written when it has this many bytes: enough that a sync costs little beside them.
const GROUP_BYTES: usize = 16 << 20;
/// How many chunks the index takes note of at once while it catches up.
const CATCH_UP_CHUNKS: usize = if cfg!(test) { 7 } else { 10_000 };

/// The chunks in one folder.
pub struct Packs {
    disk: Arc<dyn SegmentDisk>,
    writer: Mutex<Segments>,
    reader: SegmentReader,
    /// The end of the packs, written down before the index hears of it.
    end: Mutex<Mark>,
    /// None while it cannot be opened.
    index: RwLock<Option<Index>>,
    index_folder: PathBuf,
    /// The packs that compaction took away.
    removed: Mutex<BTreeSet<u32>>,
    /// Held by whoever walks through the packs, and alone by whoever takes some away.
    moving: RwLock<()>,
    torn: Option<Torn>,
    unfinished: Option<Unfinished>,
    _lock: Option<File>,
    /// Where the index lies while the disk takes nothing.
    memory: Option<index::InMemory>,
}

impl std::fmt::Debug for Packs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packs").field("index", &self.index_folder).finish_non_exhaustive()
    }
}

impl Packs {
    /// Opens the store in `folder`, or begins one there: `packs/` with the chunks, `index/` with where they are.
    /// Packs of another `owner` are refused.
    ///
    /// # Errors
    /// [`ChunkStoreError::Damaged`] with the place; nothing has been changed then. [`ChunkStoreError::Unavailable`]
    /// where another process has it.
    pub fn open(folder: &Path, owner: DeviceId) -> Result<Self, ChunkStoreError> {
        let disk = FolderDisk::new(folder.join("packs")).map_err(|error| from_segments(error.into()))?;
        let lock = lock(&folder.join("lock"))?;
        Ok(Self {
            _lock: Some(lock),
            ..Self::open_on(Arc::new(disk), config_of(owner), &folder.join("index"))?
        })
    }

    /// As [`open`](Self::open), also on a disk that takes nothing: what is stored can be read, and more can be put once there
    /// is room. Until it is opened again the index is a copy in memory ([`is_in_memory`](Self::is_in_memory)).
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_even_if_full(folder: &Path, owner: DeviceId) -> Result<Self, ChunkStoreError> {
        match Self::open(folder, owner) {
            Err(ChunkStoreError::Full { place }) => {
                let disk =
                    FolderDisk::new(folder.join("packs")).map_err(|error| from_segments(error.into()))?;
                let lock = lock(&folder.join("lock"))?;
                // Where there is no memory to be had either, the disk is what stands in the way.
                let memory = index::InMemory::copy_of(&folder.join("index"))
                    .map_err(|_| ChunkStoreError::Full { place })?;
                let opened = Self::open_on(Arc::new(disk), config_of(owner), memory.place())?;
                Ok(Self { _lock: Some(lock), memory: Some(memory), ..opened })
            }
            opened => {
                let opened = opened?;
                if let Err(error) = index::InMemory::forget(&folder.join("index")) {
                    tracing::debug!(%error, "a copy of the index of chunks");
                }
                Ok(opened)
            }
        }
    }

    /// Whether the index is in memory alone, because its disk took nothing when the store was opened.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Opens the store in `folder` to be looked at: nothing in it is changed, nothing can be put. sled writes when it is
    /// only to be read, so the index is copied into `scratch`, an empty folder that is the caller's to remove.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn look(folder: &Path, owner: DeviceId, scratch: &Path) -> Result<Self, ChunkStoreError> {
        let lock = lock_to_look(&folder.join("lock"))?;
        let copied = index::copy(&folder.join("index"), &scratch.join("index"));
        copied.map_err(|error| ChunkStoreError::Unavailable {
            what: format!("the index of chunks could not be copied to be read: {error}"),
        })?;
        let disk: Arc<dyn SegmentDisk> = Arc::new(FolderDisk::to_read(folder.join("packs")));
        let (index, removed) = index_of(&scratch.join("index"), &*disk)?;
        let (segments, unfinished) =
            Segments::look(disk.clone(), config_of(owner), &[index.mark()]).map_err(from_segments)?;
        check_row(&segments, &removed)?;
        let (reader, end) = (segments.reader(), segments.end());
        catch_up(&index, &reader, end)?;
        Ok(Self {
            writer: Mutex::new(segments),
            reader,
            end: Mutex::new(end),
            index: RwLock::new(Some(index)),
            index_folder: scratch.join("index"),
            removed: Mutex::new(removed),
            moving: RwLock::new(()),
            disk,
            torn: None,
            unfinished,
            _lock: lock,
            memory: None,
        })
    }

    /// What a crash had left half written, where it left it: known to a store that was opened to be looked at.
    #[must_use]
    pub fn unfinished(&self) -> Option<Unfinished> {
        self.unfinished
    }

    /// What a crash had left half written, moved aside when the store was opened.
    #[must_use]
    pub fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    fn open_on(
        disk: Arc<dyn SegmentDisk>,
        config: SegmentConfig,
        index_folder: &Path,
    ) -> Result<Self, ChunkStoreError> {
        let (index, removed) = index_of(index_folder, &*disk)?;
        let (mut writer, torn) =
            Segments::open(disk.clone(), config, &[index.mark()]).map_err(from_segments)?;
        check_row(&writer, &removed)?;
        if removed.contains(&writer.end().place.number()) {
            let (place, what) =
                (writer.end().place.to_string(), "what was written after this pack is gone".into());
            return Err(ChunkStoreError::Damaged(ChunkDamage { id: None, place, what }));
        }
        // A crash came before they were gone.
        for number in writer.numbers().map_err(from_segments)?.into_iter().filter(|n| removed.contains(n)) {
            writer.remove(number).map_err(from_segments)?;
        }
        let (reader, end) = (writer.reader(), writer.end());
        catch_up(&index, &reader, end)?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader,
            end: Mutex::new(end),
            index: RwLock::new(Some(index)),
            index_folder: index_folder.to_owned(),
            removed: Mutex::new(removed),
            moving: RwLock::new(()),
            disk,
            torn,
            unfinished: None,
            _lock: None,
            memory: None,
        })
    }

    /// Puts one group. The lock of the writer is held from looking what is stored to having stored it.
    fn put_group(&self, writer: &mut Segments, chunks: &[Stored<'_>]) -> Result<ChunkStats, ChunkStoreError> {
        let frames: Vec<Vec<u8>> = chunks.iter().map(Stored::encode).collect();
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let places = writer.append(&frames).map_err(from_segments)?;
        let end = writer.end();
        *self.end() = end;
        let entries: Vec<(ChunkId, Entry)> =
            chunks.iter().zip(places).map(|(chunk, place)| (chunk.id(), entry_of(chunk, place))).collect();
        self.with_index(|index| index.add(&entries, end))?;
        let mut stats = ChunkStats::default();
        entries.iter().for_each(|(_, entry)| entry.count(&mut stats));
        Ok(stats)
    }

    /// Stores what is not stored yet, in as few groups as possible; answers with what that was.
    fn put(&self, chunks: &[(&SealedChunk, Option<&ChunkDelta>)]) -> Result<ChunkStats, ChunkStoreError> {
        let mut writer = self.writer();
        let ids: Vec<ChunkId> = chunks.iter().map(|(chunk, _)| chunk.id).collect();
        let mut missing: BTreeSet<ChunkId> = self.missing(&ids)?.into_iter().collect();
        let (mut group, mut bytes, mut new) = (Vec::new(), 0, ChunkStats::default());
        for (chunk, delta) in chunks.iter().filter(|(chunk, _)| missing.remove(&chunk.id)) {
            let stored = self.form_for(chunk, *delta)?;
            if bytes > 0 && bytes + stored.stored_bytes() > GROUP_BYTES {
                new.add_all(self.put_group(&mut writer, &std::mem::take(&mut group))?);
                bytes = 0;
            }
            bytes += frame::HEADER + stored.stored_bytes();
            group.push(stored);
        }
        if !group.is_empty() {
            new.add_all(self.put_group(&mut writer, &group)?);
        }
        Ok(new)
    }

    /// Asks the index, and once more after opening it again if it failed.
    fn with_index<T>(&self, ask: impl Fn(&Index) -> Result<T, IndexError>) -> Result<T, ChunkStoreError> {
        if let Some(index) = &*self.index.read().unwrap_or_else(PoisonError::into_inner) {
            match ask(index) {
                Ok(answer) => return Ok(answer),
                Err(error) => tracing::warn!(%error, "the index of chunks failed and is opened again"),
            }
        }
        let mut slot = self.index.write().unwrap_or_else(PoisonError::into_inner);
        // The old one lets go of its files before the new one opens them.
        *slot = None;
        let index = Index::open(&self.index_folder).map_err(from_index)?;
        let index = match compaction::is_of_these_packs(&index, &self.removed()) {
            true => index,
            false => anew(index, &self.index_folder, self.removed().len())?,
        };
        catch_up(&index, &self.reader, *self.end())?;
        let answer = ask(&index).map_err(from_index)?;
        *slot = Some(index);
        Ok(answer)
    }

    /// What is stored at `place`, which is a form of the chunk `id`.
    fn read(&self, id: ChunkId, place: Place) -> Result<Stored<'static>, ChunkStoreError> {
        let damaged =
            |what: &str| ChunkDamage { id: Some(id), place: place.to_string(), what: what.to_owned() };
        let bytes = self.reader.read(place).map_err(|error| match error {
            SegmentError::Damaged { what, .. } => ChunkStoreError::Damaged(damaged(&what)),
            other => from_segments(other),
        })?;
        match frame::decode(bytes) {
            Some(chunk) if chunk.id() == id => Ok(chunk),
            Some(_) => Err(ChunkStoreError::Damaged(damaged("another chunk stands here"))),
            None => Err(ChunkStoreError::Damaged(damaged("this is not a chunk"))),
        }
    }

    /// Reads the packs from the first frame on, as far as they are whole. Answers with the last good place.
    fn verify_packs(&self, findings: &mut Findings<'_>) -> Result<Option<Place>, ChunkStoreError> {
        let mut last = Place::default();
        for frame in self.reader.frames(*self.end()) {
            match frame {
                Ok(Frame { place, bytes }) => {
                    last = place;
                    let Some(chunk) = frame::decode(bytes) else {
                        findings.damage(None, place, "this is not a chunk");
                        continue;
                    };
                    let id = chunk.id();
                    match self.with_index(|index| index.get(&id))? {
                        Some(entry) if entry == entry_of(&chunk, place) => {
                            self.judge(&chunk, entry, findings)?;
                        }
                        // The same chunk again, from a time when the index had been lost.
                        Some(entry) if entry.place != place => {}
                        Some(_) => findings.damage(Some(id), place, "the index has other sizes for it"),
                        // It was removed. (One that is needed and not in the index is missing, which others notice.)
                        None => {}
                    }
                }
                Err(SegmentError::Damaged { place, what }) => {
                    findings.damage(None, place, &what);
                    return Ok(Some(last));
                }
                Err(other) => return Err(from_segments(other)),
            }
        }
        Ok(None)
    }

    /// Reads every chunk behind `last` by the index, for there the packs cannot be walked any more.
    fn verify_behind(&self, last: Place, findings: &mut Findings<'_>) -> Result<(), ChunkStoreError> {
        let mut behind = self.with_index(|index| {
            let entries = index.after(None);
            entries
                .filter(|entry| entry.as_ref().map_or(true, |(_, entry)| entry.place > last))
                .collect::<Result<Vec<_>, _>>()
        })?;
        behind.sort_by_key(|(_, entry)| entry.place);
        for (id, entry) in behind {
            match self.read(id, entry.place) {
                Ok(chunk) => self.judge(&chunk, entry, findings)?,
                Err(ChunkStoreError::Damaged(damage)) => (findings.found)(damage),
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Opens what stands where `entry` says.
    fn judge(
        &self,
        stored: &Stored<'_>,
        entry: Entry,
        findings: &mut Findings<'_>,
    ) -> Result<(), ChunkStoreError> {
        let Stored::Whole(chunk) = stored else {
            match self.plain_of(&stored.id()) {
                Ok(plain) => plain.iter().for_each(|_| entry.count(&mut findings.whole)),
                Err(ChunkStoreError::Damaged(damage)) => (findings.found)(damage),
                Err(other) => return Err(other),
            }
            return Ok(());
        };
        match chunk.check() {
            Ok(()) => entry.count(&mut findings.whole),
            Err(error) => findings.damage(Some(chunk.id), entry.place, &error.to_string()),
        }
        Ok(())
    }

    fn writer(&self) -> MutexGuard<'_, Segments> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) -> MutexGuard<'_, Mark> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChunkStore for Packs {
    fn missing(&self, ids: &[ChunkId]) -> Result<Vec<ChunkId>, ChunkStoreError> {
        self.with_index(|index| {
            let mut missing = Vec::new();
            let mut asked = BTreeSet::new();
            for id in ids {
                if asked.insert(id) && !index.contains(id)? {
                    missing.push(*id);
                }
            }
            Ok(missing)
        })
    }

    fn put_all(&self, chunks: &[SealedChunk]) -> Result<(), ChunkStoreError> {
        self.put(&chunks.iter().map(|chunk| (chunk, None)).collect::<Vec<_>>()).map(drop)
    }

    fn take(&self, incoming: &[Incoming]) -> Result<ChunkStats, ChunkStoreError> {
        let chunks = incoming.iter().map(|chunk| (&chunk.whole, chunk.delta.as_ref()));
        self.put(&chunks.collect::<Vec<_>>())
    }

    fn get(&self, id: &ChunkId) -> Result<Option<SealedChunk>, ChunkStoreError> {
        match self.stored(id)? {
            None => Ok(None),
            Some(Stored::Whole(chunk)) => Ok(Some(chunk.into_owned())),
            Some(Stored::Delta(..)) => Ok(self.plain_of(id)?.map(|plain| Sealer::new().seal(*id, plain))),
        }
    }

    fn plain(&self, id: &ChunkId) -> Result<Option<Vec<u8>>, ChunkStoreError> {
        self.plain_of(id)
    }

    fn bases(&self, id: &ChunkId) -> Result<Vec<ChunkId>, ChunkStoreError> {
        self.bases_of(id)
    }

    fn measure(&self, ids: &[ChunkId]) -> Result<ChunkStats, ChunkStoreError> {
        let asked: BTreeSet<&ChunkId> = ids.iter().collect();
        self.with_index(|index| {
            let mut stats = ChunkStats::default();
            for id in &asked {
                index.get(id)?.iter().for_each(|entry| entry.count(&mut stats));
            }
            Ok(stats)
        })
    }

    fn remove(&self, ids: &[ChunkId]) -> Result<ChunkStats, ChunkStoreError> {
        // Nobody is told meanwhile that what goes is stored.
        let _writer = self.writer();
        self.with_index(|index| index.remove(ids))
    }

    fn compact(&self) -> Result<Compacted, ChunkStoreError> {
        self.compact_packs()
    }

    fn ids(&self, after: Option<&ChunkId>, count_max: usize) -> Result<Vec<ChunkId>, ChunkStoreError> {
        self.with_index(|index| index.after(after).take(count_max).map(|entry| Ok(entry?.0)).collect())
    }

    fn stats(&self) -> Result<ChunkStats, ChunkStoreError> {
        self.with_index(|index| Ok(index.stats()))
    }

    fn verify(&self, found: &mut dyn FnMut(ChunkDamage)) -> Result<ChunkStats, ChunkStoreError> {
        let _whole_row = self.moving.read().unwrap_or_else(PoisonError::into_inner);
        let mut findings = Findings { whole: ChunkStats::default(), found };
        if let Some(last) = self.verify_packs(&mut findings)? {
            self.verify_behind(last, &mut findings)?;
        }
        Ok(findings.whole)
    }
}

/// What a look at everything has found so far.
struct Findings<'a> {
    whole: ChunkStats,
    found: &'a mut dyn FnMut(ChunkDamage),
}

impl Findings<'_> {
    fn damage(&mut self, id: Option<ChunkId>, place: Place, what: &str) {
        (self.found)(ChunkDamage { id, place: place.to_string(), what: what.to_owned() });
    }
}

fn entry_of(chunk: &Stored<'_>, place: Place) -> Entry {
    Entry {
        place,
        form: chunk.form(),
        stored_bytes: u32::try_from(chunk.stored_bytes()).expect("frames are below 16 MiB"),
        plain_bytes: chunk.plain_bytes(),
    }
}

/// Takes note of what the packs hold past the mark that the index knows, up to `end`.
fn catch_up(index: &Index, reader: &SegmentReader, end: Mark) -> Result<(), ChunkStoreError> {
    take_note(index, reader, end)?;
    if !index.is_whole().map_err(from_index)? {
        index.make_whole().map_err(from_index)?;
    }
    Ok(())
}

fn take_note(index: &Index, reader: &SegmentReader, end: Mark) -> Result<(), ChunkStoreError> {
    let mark = index.mark();
    if mark == end {
        return Ok(());
    }
    let mut frames = match mark.place.0 {
        0 => reader.frames(end),
        _ => reader.frames_past(mark, end).map_err(from_segments)?,
    };
    let mut entries = Vec::new();
    while let Some(group) = frames.next_group() {
        let (group, mark) = group.map_err(from_segments)?;
        for Frame { place, bytes } in group {
            let damaged =
                || ChunkDamage { id: None, place: place.to_string(), what: "this is not a chunk".into() };
            let chunk = frame::decode(bytes).ok_or_else(|| ChunkStoreError::Damaged(damaged()))?;
            entries.push((chunk.id(), entry_of(&chunk, place)));
        }
        if entries.len() >= CATCH_UP_CHUNKS {
            index.add(&std::mem::take(&mut entries), mark).map_err(from_index)?;
        }
    }
    index.add(&entries, end).map_err(from_index)
}

/// The index, if it is one of the packs that are there; else an empty one. And which packs were taken away.
fn index_of(folder: &Path, disk: &dyn SegmentDisk) -> Result<(Index, BTreeSet<u32>), ChunkStoreError> {
    let removed = removed::read(disk).map_err(|error| match error {
        RemovedError::Disk(error) => from_segments(error.into()),
        RemovedError::Damaged => {
            let (place, what) = (format!("{}/removed", disk.place()), "it is not what was written".into());
            ChunkStoreError::Damaged(ChunkDamage { id: None, place, what })
        }
    })?;
    let index = Index::open(folder).map_err(from_index)?;
    if compaction::is_of_these_packs(&index, &removed) {
        return Ok((index, removed));
    }
    Ok((anew(index, folder, removed.len())?, removed))
}

/// An empty index in place of one that is of other packs.
fn anew(index: Index, folder: &Path, removed: usize) -> Result<Index, ChunkStoreError> {
    drop(index);
    let index = Index::begin(folder).map_err(from_index)?;
    index.set_removed(removed as u64).map_err(from_index)?;
    Ok(index)
}

/// Every pack is there, but for those that were taken away.
fn check_row(segments: &Segments, removed: &BTreeSet<u32>) -> Result<(), ChunkStoreError> {
    let numbers: BTreeSet<u32> = segments.numbers().map_err(from_segments)?.into_iter().collect();
    let gone = (1..numbers.last().copied().unwrap_or_default())
        .find(|number| !numbers.contains(number) && !removed.contains(number));
    match gone {
        None => Ok(()),
        Some(number) => {
            let place = Place::new(number, 0).to_string();
            Err(ChunkStoreError::Damaged(ChunkDamage { id: None, place, what: "this pack is gone".into() }))
        }
    }
}

fn config_of(owner: DeviceId) -> SegmentConfig {
    SegmentConfig { roll_bytes: PACK_BYTES, gaps: true, ..SegmentConfig::new(SegmentKind::Chunks, owner.0) }
}

/// Takes the lock file, or says that another process has it. It is let go when the file is closed.
fn lock(path: &Path) -> Result<File, ChunkStoreError> {
    let file = File::options().create(true).append(true).open(path);
    take(file.map_err(|error| unavailable(path, &error.to_string()))?, path)
}

/// The same where there is a lock file; none is made.
fn lock_to_look(path: &Path) -> Result<Option<File>, ChunkStoreError> {
    match File::open(path) {
        Ok(file) => take(file, path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unavailable(path, &error.to_string())),
    }
}

fn take(file: File, path: &Path) -> Result<File, ChunkStoreError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(unavailable(path, "another process has this store")),
        Err(TryLockError::Error(error)) => Err(unavailable(path, &error.to_string())),
    }
}

fn unavailable(path: &Path, what: &str) -> ChunkStoreError {
    ChunkStoreError::Unavailable { what: format!("{}: {what}", path.display()) }
}

fn from_segments(error: SegmentError) -> ChunkStoreError {
    match error {
        SegmentError::Full { place } => ChunkStoreError::Full { place },
        SegmentError::Damaged { place, what } => {
            ChunkStoreError::Damaged(ChunkDamage { id: None, place: place.to_string(), what })
        }
        // What belongs elsewhere is not what was written here.
        SegmentError::Foreign { file, what } => {
            ChunkStoreError::Damaged(ChunkDamage { id: None, place: file, what })
        }
        other => ChunkStoreError::Unavailable { what: other.to_string() },
    }
}

fn from_index(error: IndexError) -> ChunkStoreError {
    match error {
        IndexError::Full => ChunkStoreError::Full { place: "the index".to_owned() },
        IndexError::Failed(_) => ChunkStoreError::Unavailable { what: error.to_string() },
    }
}
