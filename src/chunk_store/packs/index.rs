//! Which chunk stands where in the packs: a sled tree that can be thrown away.
//!
//! It is written behind the acknowledgement and never synced on purpose, so after a crash it may lag: it says
//! up to which mark of the packs it knows ([`Index::mark`]), entries and mark being written together. What was added
//! last is in memory alone, and written in lots: sled writes about a kilobyte for each entry that comes by itself, and a
//! hundred bytes for one of many. One
//! that cannot be read is moved aside and begun anew. What had been removed is in it again then, as far as it still can be
//! read: a difference whose base is gone is nothing ([`Index::make_whole`]).

use super::frame::Form;
use annals_engine::chunk_store::ChunkStats;
use annals_events::{
    ChunkId, Hash,
    segment::{Mark, Place},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::DirBuilder,
    io,
    ops::Bound,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

/// sled takes two to three times of what it is told here.
const CACHE_BYTES: u64 = 32 << 20;
/// How often sled writes out what it has: what it loses with the power is read again from the segments, and a server at rest
/// shall rest.
const FLUSH_MS: u64 = 30_000;
/// So many entries are a lot.
const LOT_ENTRIES: usize = if cfg!(test) { 20 } else { 16_384 };
/// What stands behind so many bytes of packs is written, however little it is: whoever opens the store reads them again.
const LOT_BYTES: u64 = 32 << 20;
/// The key of what the index says about itself. Shorter than any chunk's id.
const STATE: &[u8] = b"state 1";
/// The key of how many packs had been taken away when it was written.
const REMOVED: &[u8] = b"removed";

/// The key that says that it knew all packs once, from the first on.
const WHOLE: &[u8] = b"whole";

/// Where a chunk stands and in which form, and its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) form: Form,
    pub(super) stored_bytes: u32,
    pub(super) plain_bytes: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    mark: Mark,
    stats: ChunkStats,
    /// The mark that is in the file.
    written: Place,
}

pub(super) struct Index {
    db: sled::Db,
    state: Mutex<State>,
    /// What is not in the file yet.
    added: RwLock<BTreeMap<ChunkId, Entry>>,
}

/// Why the index did not answer. It can be opened again.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    #[error("no space left for the index of chunks")]
    Full,
    #[error("the index of chunks failed: {0}")]
    Failed(String),
}

impl From<sled::Error> for IndexError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                Self::Full
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

impl Index {
    /// Opens the index in `folder`, or begins an empty one where there is none that can be read. Nobody else has
    /// it: the caller holds the lock of the store.
    pub(super) fn open(folder: &Path) -> Result<Self, IndexError> {
        match Self::try_open(folder) {
            Err(IndexError::Failed(_)) => {
                move_aside(folder).map_err(|error| IndexError::from(sled::Error::Io(error)))?;
                Self::try_open(folder)
            }
            opened => opened,
        }
    }

    fn try_open(folder: &Path) -> Result<Self, IndexError> {
        let config =
            sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_MS));
        // A damaged one makes it panic at times, where it should say so.
        let db = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open()))
            .map_err(|_| IndexError::Failed("it could not be opened".to_owned()))??;
        let state = match db.get(STATE)? {
            Some(bytes) => State::decode(&bytes)
                .ok_or_else(|| IndexError::Failed("its state is malformed".to_owned()))?,
            None => State::default(),
        };
        Ok(Self { db, state: Mutex::new(state), added: RwLock::default() })
    }

    /// Up to where it knows the packs.
    pub(super) fn mark(&self) -> Mark {
        self.state().mark
    }

    pub(super) fn stats(&self) -> ChunkStats {
        self.state().stats
    }

    pub(super) fn get(&self, id: &ChunkId) -> Result<Option<Entry>, IndexError> {
        if let Some(added) = self.added().get(id) {
            return Ok(Some(*added));
        }
        self.db.get(id.0)?.map(|bytes| Entry::decode(&bytes).ok_or_else(|| malformed(id))).transpose()
    }

    pub(super) fn contains(&self, id: &ChunkId) -> Result<bool, IndexError> {
        Ok(self.added().contains_key(id) || self.db.contains_key(id.0)?)
    }

    /// Takes note of chunks, and that up to `mark` there are no others. Nothing happens where it is known.
    pub(super) fn add(&self, entries: &[(ChunkId, Entry)], mark: Mark) -> Result<(), IndexError> {
        let mut state = self.state();
        if mark.place <= state.mark.place {
            return Ok(());
        }
        let mut next = State { mark, ..*state };
        let mut added = Vec::new();
        // Of a chunk that stands there twice the later one counts: the pack of the earlier may be taken away.
        let latest: BTreeMap<&ChunkId, &Entry> = entries.iter().map(|(id, entry)| (id, entry)).collect();
        for (id, entry) in latest {
            let before = self.get(id)?;
            if before.is_some_and(|before| before.place >= entry.place) {
                continue;
            }
            added.push((*id, *entry));
            before.iter().for_each(|before| before.uncount(&mut next.stats));
            entry.count(&mut next.stats);
        }
        let mut all = self.added.write().unwrap_or_else(PoisonError::into_inner);
        all.extend(added);
        let is_lot = all.len() >= LOT_ENTRIES || distance(next.written, mark.place) >= LOT_BYTES;
        drop(all);
        *state = next;
        if is_lot { self.write(&mut state) } else { Ok(()) }
    }

    /// Writes what is in memory alone.
    fn write(&self, state: &mut State) -> Result<(), IndexError> {
        if state.written == state.mark.place {
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        self.added().iter().for_each(|(id, entry)| batch.insert(&id.0, entry.encode()));
        batch.insert(STATE, state.encode());
        self.db.apply_batch(batch)?;
        state.written = state.mark.place;
        // Whoever did not find it here from now on finds it there.
        self.added.write().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// Takes chunks out, but for the bases of those that stay; answers with how much they took.
    pub(super) fn remove(&self, ids: &[ChunkId]) -> Result<ChunkStats, IndexError> {
        self.take_out(self.without_bases(ids.iter().copied().collect())?)
    }

    /// Those of `ids` that nothing which stays is stored as the difference to.
    fn without_bases(&self, mut ids: BTreeSet<ChunkId>) -> Result<BTreeSet<ChunkId>, IndexError> {
        for entry in self.after(None) {
            let (id, entry) = entry?;
            let mut base = entry.form.base().filter(|_| !ids.contains(&id));
            // What stays for its sake has a base that has to stay as well.
            while let Some(stays) = base.filter(|base| ids.remove(base)) {
                base = self.get(&stays)?.and_then(|entry| entry.form.base());
            }
        }
        Ok(ids)
    }

    fn take_out(&self, ids: BTreeSet<ChunkId>) -> Result<ChunkStats, IndexError> {
        let mut state = self.state();
        self.write(&mut state)?;
        let (mut next, mut removed) = (*state, ChunkStats::default());
        let mut batch = sled::Batch::default();
        for id in ids {
            if let Some(entry) = self.get(&id)? {
                batch.remove(&id.0);
                entry.uncount(&mut next.stats);
                entry.count(&mut removed);
            }
        }
        batch.insert(STATE, next.encode());
        self.db.apply_batch(batch)?;
        *state = next;
        Ok(removed)
    }

    /// Whether it was made from all packs, and what cannot be read taken out since.
    pub(super) fn is_whole(&self) -> Result<bool, IndexError> {
        Ok(self.db.contains_key(WHOLE)?)
    }

    /// It knows all packs. Differences that had been removed before it was begun, and whose bases are gone or were put in
    /// another form since, are taken out again.
    pub(super) fn make_whole(&self) -> Result<(), IndexError> {
        let mut unreadable = BTreeSet::new();
        for entry in self.after(None) {
            let (id, entry) = entry?;
            if !self.is_readable(entry)? {
                unreadable.insert(id);
            }
        }
        if !unreadable.is_empty() {
            self.take_out(unreadable)?;
        }
        self.write(&mut self.state())?;
        self.db.insert(WHOLE, &[])?;
        Ok(())
    }

    /// Whether what it is the difference to is there, down to a chunk that is whole.
    fn is_readable(&self, mut entry: Entry) -> Result<bool, IndexError> {
        while let Some(base) = entry.form.base() {
            match self.get(&base)? {
                Some(below) if below.form.depth() < entry.form.depth() => entry = below,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// How many packs had been taken away when it was written.
    pub(super) fn removed(&self) -> u64 {
        let stored = self.db.get(REMOVED).ok().flatten();
        stored.and_then(|bytes| u64_at(&bytes, 0)).unwrap_or_default()
    }

    /// Takes note of how many packs were taken away. What was written before is in the file by then.
    pub(super) fn set_removed(&self, count: u64) -> Result<(), IndexError> {
        self.write(&mut self.state())?;
        self.db.insert(REMOVED, &count.to_be_bytes())?;
        self.db.flush()?;
        Ok(())
    }

    /// An empty one, in place of any that is there.
    pub(super) fn begin(folder: &Path) -> Result<Self, IndexError> {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(sled::Error::Io(error).into()),
            _ => Self::try_open(folder),
        }
    }

    /// Entries in the order of ids.
    pub(super) fn after(
        &self,
        id: Option<&ChunkId>,
    ) -> impl Iterator<Item = Result<(ChunkId, Entry), IndexError>> + use<> {
        let failed = self.write(&mut self.state()).err();
        let start = id.map_or(Bound::Unbounded, |id| Bound::Excluded(id.0));
        let entries = self.db.range::<[u8; 32], _>((start, Bound::Unbounded));
        let entries = entries.filter_map(|entry| match entry {
            Ok((key, value)) => {
                let id = ChunkId::from_slice(&key)?;
                Some(Entry::decode(&value).map(|entry| (id, entry)).ok_or_else(|| malformed(&id)))
            }
            Err(error) => Some(Err(error.into())),
        });
        failed.map(Err).into_iter().chain(entries)
    }

    /// Brings everything to the file, so that a test can copy it.
    #[cfg(test)]
    pub(super) fn flush(&self) {
        self.write(&mut self.state()).expect("the disk of a test works");
        self.db.flush().expect("the disk of a test works");
    }

    fn added(&self) -> RwLockReadGuard<'_, BTreeMap<ChunkId, Entry>> {
        self.added.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if let Err(error) = self.write(&mut self.state()) {
            tracing::debug!(%error, "the end of the packs is read again when they are opened next");
        }
    }
}

/// How many bytes of packs lie between two places at least.
fn distance(from: Place, to: Place) -> u64 {
    if from.number() == to.number() { to.0.saturating_sub(from.0) } else { LOT_BYTES }
}

impl Entry {
    pub(super) fn count(&self, stats: &mut ChunkStats) {
        stats.chunks += 1;
        stats.stored_bytes += u64::from(self.stored_bytes);
        stats.plain_bytes += u64::from(self.plain_bytes);
    }

    fn uncount(&self, stats: &mut ChunkStats) {
        stats.chunks -= 1;
        stats.stored_bytes -= u64::from(self.stored_bytes);
        stats.plain_bytes -= u64::from(self.plain_bytes);
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(50);
        bytes.extend(self.place.0.to_be_bytes());
        bytes.extend(self.stored_bytes.to_be_bytes());
        bytes.extend(self.plain_bytes.to_be_bytes());
        self.form.encode_to(&mut bytes);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            place: Place(u64_at(bytes, 0)?),
            stored_bytes: u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?),
            plain_bytes: u32::from_be_bytes(bytes.get(12..16)?.try_into().ok()?),
            form: Form::decode(&bytes[16..])?,
        })
    }
}

impl State {
    fn encode(&self) -> Vec<u8> {
        let Self { mark, stats, .. } = self;
        let numbers = [mark.place.0, stats.chunks, stats.stored_bytes, stats.plain_bytes];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        bytes.extend_from_slice(&mark.chain.0);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let stats = ChunkStats {
            chunks: u64_at(bytes, 8)?,
            stored_bytes: u64_at(bytes, 16)?,
            plain_bytes: u64_at(bytes, 24)?,
        };
        let mark = Mark { place: Place(u64_at(bytes, 0)?), chain: Hash::from_slice(bytes.get(32..)?)? };
        Some(Self { mark, stats, written: mark.place })
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn malformed(id: &ChunkId) -> IndexError {
    IndexError::Failed(format!("its entry for {id} is malformed"))
}

/// Copies an index to where it can be opened without changing the one that is there. None is copied as none.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    wait_for_last_user(from);
    copy_folder(from, to)
}

/// sled's threads keep the file locked for a moment after it was closed.
fn wait_for_last_user(folder: &Path) {
    if let Ok(db) = std::fs::File::open(folder.join("db")) {
        drop(db.lock());
    }
}

/// A copy of an index in memory, as far as this system has such folders; gone with this, or, where the process ends
/// before, at its next start. Whoever makes one holds the lock of the store.
#[derive(Debug)]
pub(super) struct InMemory(PathBuf);

impl InMemory {
    /// The folders where what is written takes no disk.
    const PLACES: [&str; 2] = ["/dev/shm", "/run/shm"];

    pub(super) fn copy_of(folder: &Path) -> io::Result<Self> {
        Self::forget(folder)?;
        let place = Self::place_for(folder)?;
        DirBuilder::new().mode(0o700).create(&place)?;
        let copied = Self(place);
        copy(folder, copied.place())?;
        Ok(copied)
    }

    /// Takes away the copy that a process which was killed left.
    pub(super) fn forget(folder: &Path) -> io::Result<()> {
        Self::remove(&Self::place_for(folder)?)
    }

    /// Takes away what is at `place`, and what was [moved aside](move_aside) there because it could not be opened.
    fn remove(place: &Path) -> io::Result<()> {
        remove_if_there(place)?;
        remove_if_there(&aside(place))
    }

    fn place_for(folder: &Path) -> io::Result<PathBuf> {
        let places = Self::PLACES.iter().map(PathBuf::from).find(|place| place.is_dir());
        // No other folder of this machine has that number.
        let meta = std::fs::metadata(folder)?;
        let name = format!("annals-index-{:x}-{:x}", meta.dev(), meta.ino());
        Ok(places.unwrap_or_else(std::env::temp_dir).join(name))
    }

    /// Where it is.
    pub(super) fn place(&self) -> &Path {
        &self.0
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        wait_for_last_user(&self.0);
        if let Err(error) = Self::remove(&self.0) {
            tracing::warn!(place = %self.0.display(), %error, "a copy of the index of chunks is left");
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Keeps one unreadable index for whoever wants to look at it.
fn move_aside(folder: &Path) -> io::Result<()> {
    let aside = aside(folder);
    remove_if_there(&aside)?;
    std::fs::rename(folder, aside)
}

fn aside(folder: &Path) -> PathBuf {
    PathBuf::from(format!("{}.damaged", folder.display()))
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy in memory of an index that cannot be opened, and of which there is therefore another beside it.
    fn copied() -> (tempfile::TempDir, InMemory, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("conf"), "not what sled writes").unwrap();
        std::fs::write(folder.path().join("db"), "nor this").unwrap();
        let memory = InMemory::copy_of(folder.path()).unwrap();
        drop(Index::open(memory.place()).unwrap());
        let beside = aside(memory.place());
        assert!(beside.is_dir());
        (folder, memory, beside)
    }

    #[test]
    fn nothing_is_left_in_memory_of_a_copy_that_could_not_be_opened() {
        let (_folder, memory, beside) = copied();
        drop(memory);
        assert!(!beside.exists());
        // Nor by the next start where the process was killed.
        let (folder, memory, beside) = copied();
        std::mem::forget(memory);
        InMemory::forget(folder.path()).unwrap();
        assert!(!beside.exists() && !InMemory::place_for(folder.path()).unwrap().exists());
    }
}
