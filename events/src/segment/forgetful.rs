//! A disk in memory that forgets what was not synced: the twin under the log, the packs and the journal.
//!
//! It keeps for every file what is durable and what is visible, and for the folder which names are. A crash lets
//! the caller choose, sector by sector, length by length, name by name, how much of the difference is kept.
//! It can also be full, fail a sync, lose power at a given step, and flip bits. Everything is decided by its
//! calls and by the caller's choices: the same run twice is the same run.

use super::disk::{DiskError, SECTOR_BYTES, SegmentDisk, SegmentFile};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const SECTOR: usize = SECTOR_BYTES as usize;

/// A disk that forgets what was not synced. Clones are the same disk.
#[derive(Clone, Default)]
pub struct ForgetfulDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    /// What was done to the durable names, not yet synced.
    names_unsynced: Vec<NameChange>,
    names_durable: BTreeMap<String, usize>,
    /// Raised by a crash: handles from before are dead.
    lives: u64,
    steps: u64,
    steps_left: Option<u64>,
    /// The power is gone: nothing has an effect until the crash.
    off: bool,
    room: Option<u64>,
    syncs_until_failure: Option<u64>,
    eager: bool,
}

#[derive(Clone, Default)]
struct File {
    durable: Vec<u8>,
    visible: Vec<u8>,
    /// A sync failed: what was written so far never becomes durable, though later syncs say so.
    deceives: bool,
}

enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

struct Handle {
    disk: ForgetfulDisk,
    file: usize,
    life: u64,
}

impl ForgetfulDisk {
    /// An empty disk that works.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Power is lost after so many more steps (create, append, sync, cut, rename, remove): the one after does what
    /// it does to memory and fails, and so does everything until [`crash`](Self::crash).
    pub fn cut_power_after(&self, steps: u64) {
        self.state().steps_left = Some(steps);
    }

    /// How many steps were made so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// From now on there is room for so many more bytes; none lifts the limit.
    pub fn limit_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// After so many more syncs one fails, and what was to be synced is never durable.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.state().syncs_until_failure = Some(syncs);
    }

    /// While this is on, what is appended is durable at once, though nobody asked and nobody is told: a system may
    /// write back whatever it likes whenever it likes.
    pub fn write_back(&self, eager: bool) {
        self.state().eager = eager;
    }

    /// Flips bits of a durable byte. Answers whether there is one.
    pub fn flip(&self, name: &str, offset: u64, mask: u8) -> bool {
        let mut state = self.state();
        let Some(file) = state.names.get(name).copied() else { return false };
        let file = &mut state.files[file];
        let at = usize::try_from(offset).expect("files are in memory");
        if at >= file.durable.len() {
            return false;
        }
        file.durable[at] ^= mask;
        file.visible[at] ^= mask;
        true
    }

    /// Another disk that holds what this one shows, durably.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state();
        let files = state.files.iter().map(|file| File {
            durable: file.visible.clone(),
            visible: file.visible.clone(),
            deceives: false,
        });
        let names = state.names.clone();
        let copy =
            State { files: files.collect(), names: names.clone(), names_durable: names, ..State::default() };
        Self(Arc::new(Mutex::new(copy)))
    }

    /// Cuts a file, durably: what no crash does to synced bytes.
    pub fn shorten(&self, name: &str, len: usize) {
        let mut state = self.state();
        let file = state.names[name];
        state.files[file].durable.truncate(len);
        state.files[file].visible.truncate(len);
    }

    /// What a file holds, if there is one.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|file| state.files[*file].visible.clone())
    }

    /// The machine goes down and comes up again. `choose(n)` picks a number below `n` whenever something unsynced may
    /// be kept, lost or torn. Room and faults are as new; open handles are dead.
    pub fn crash(&self, mut choose: impl FnMut(u64) -> u64) {
        let mut state = self.state();
        let kept = choose(state.names_unsynced.len() as u64 + 1) as usize;
        let changes: Vec<NameChange> = state.names_unsynced.drain(..).take(kept).collect();
        for change in changes {
            change.apply(&mut state.names_durable);
        }
        state.names = state.names_durable.clone();
        for file in &mut state.files {
            file.crash(&mut choose);
        }
        state.lives += 1;
        state.off = false;
        (state.steps_left, state.room, state.syncs_until_failure) = (None, None, None);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, file: usize, life: u64) -> Box<dyn SegmentFile> {
        Box::new(Handle { disk: self.clone(), file, life })
    }
}

impl State {
    /// Counts a step. Answers whether the power is lost in it: it still reaches memory, but nobody is told.
    fn step(&mut self) -> Result<bool, DiskError> {
        if self.off {
            return Err(no_power());
        }
        self.steps += 1;
        match &mut self.steps_left {
            Some(0) => self.off = true,
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(self.off)
    }

    fn change_names(&mut self, change: NameChange) -> Result<(), DiskError> {
        let last = self.step()?;
        change.apply(&mut self.names);
        self.names_unsynced.push(change);
        if last { Err(no_power()) } else { Ok(()) }
    }
}

impl File {
    fn crash(&mut self, choose: &mut impl FnMut(u64) -> u64) {
        self.deceives = false;
        if self.visible != self.durable {
            self.durable = match choose(3) {
                0 => std::mem::take(&mut self.durable),
                1 => std::mem::take(&mut self.visible),
                _ => self.torn(choose),
            };
        }
        self.visible = self.durable.clone();
    }

    /// Some length between the two, and each changed sector as it was or as it should have become.
    fn torn(&self, choose: &mut impl FnMut(u64) -> u64) -> Vec<u8> {
        let (short, long) =
            (self.durable.len().min(self.visible.len()), self.durable.len().max(self.visible.len()));
        // Sectors go missing from files of full length more often than lengths do.
        let length = if choose(2) == 0 { long } else { long - choose((long - short) as u64 + 1) as usize };
        let mut bytes = self.durable.clone();
        bytes.resize(length, 0);
        let both = length.min(self.visible.len());
        for start in (0..both).step_by(SECTOR) {
            let sector = start..(start + SECTOR).min(both);
            if bytes[sector.clone()] != self.visible[sector.clone()] && choose(2) == 1 {
                bytes[sector.clone()].copy_from_slice(&self.visible[sector]);
            }
        }
        bytes
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl SegmentDisk for ForgetfulDisk {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        let state = self.state();
        if state.off { Err(no_power()) } else { Ok(state.names.keys().cloned().collect()) }
    }

    fn create(&self, name: &str) -> Result<Box<dyn SegmentFile>, DiskError> {
        let mut state = self.state();
        if state.names.contains_key(name) {
            return Err(failed(name, "there is a file of this name"));
        }
        if state.room == Some(0) {
            return Err(DiskError::Full { place: self.place() });
        }
        state.files.push(File::default());
        let file = state.files.len() - 1;
        state.change_names(NameChange::Create(name.into(), file))?;
        Ok(self.handle(file, state.lives))
    }

    fn open(&self, name: &str) -> Result<Box<dyn SegmentFile>, DiskError> {
        let state = self.state();
        if state.off {
            return Err(no_power());
        }
        let file = *state.names.get(name).ok_or_else(|| failed(name, "there is no such file"))?;
        Ok(self.handle(file, state.lives))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut state = self.state();
        if !state.names.contains_key(from) {
            return Err(failed(from, "there is no such file"));
        }
        state.change_names(NameChange::Rename(from.into(), to.into()))
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        let mut state = self.state();
        if !state.names.contains_key(name) {
            return Err(failed(name, "there is no such file"));
        }
        state.change_names(NameChange::Remove(name.into()))
    }

    fn sync_names(&self) -> Result<(), DiskError> {
        let mut state = self.state();
        if state.step()? {
            return Err(no_power());
        }
        state.names_unsynced.clear();
        state.names_durable = state.names.clone();
        Ok(())
    }

    fn place(&self) -> String {
        "the disk that forgets".into()
    }
}

impl Handle {
    fn state(&self) -> Result<MutexGuard<'_, State>, DiskError> {
        let state = self.disk.state();
        if state.lives != self.life {
            return Err(failed("a handle", "the machine went down after it was opened"));
        }
        Ok(state)
    }
}

impl SegmentFile for Handle {
    fn len(&self) -> Result<u64, DiskError> {
        Ok(self.state()?.files[self.file].visible.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let state = self.state()?;
        let bytes = &state.files[self.file].visible;
        let from = usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
        let got = buffer.len().min(bytes.len() - from);
        buffer[..got].copy_from_slice(&bytes[from..from + got]);
        Ok(got)
    }

    fn append(&self, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.state()?;
        let last = state.step()?;
        let fits = state
            .room
            .map_or(bytes.len(), |room| bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        if let Some(room) = &mut state.room {
            *room -= fits as u64;
        }
        let eager = state.eager;
        let file = &mut state.files[self.file];
        file.visible.extend_from_slice(&bytes[..fits]);
        if eager {
            file.durable = file.visible.clone();
        }
        match (last, fits == bytes.len()) {
            (true, _) => Err(no_power()),
            (false, false) => Err(DiskError::Full { place: self.disk.place() }),
            (false, true) => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), DiskError> {
        let mut state = self.state()?;
        if state.step()? {
            return Err(no_power());
        }
        let fails = match &mut state.syncs_until_failure {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if fails {
            state.syncs_until_failure = None;
            state.files[self.file].deceives = true;
            return Err(failed("a file", "the disk reports an input/output error"));
        }
        let file = &mut state.files[self.file];
        if !file.deceives {
            file.durable = file.visible.clone();
        }
        Ok(())
    }

    fn cut(&self, len: u64) -> Result<(), DiskError> {
        let mut state = self.state()?;
        let last = state.step()?;
        let len = usize::try_from(len).expect("files are in memory");
        let freed = state.files[self.file].visible.len().saturating_sub(len) as u64;
        state.files[self.file].visible.truncate(len);
        if let Some(room) = &mut state.room {
            *room += freed;
        }
        if last { Err(no_power()) } else { Ok(()) }
    }
}

fn failed(place: &str, what: &str) -> DiskError {
    DiskError::Failed { place: place.into(), what: what.into() }
}

fn no_power() -> DiskError {
    failed("the disk that forgets", "the power is gone")
}
