//! This machine, as a sync round uses it.

use super::{
    ahead::Ahead,
    binding::Binding,
    chute::{Chute, Gone},
    opened,
    store::{Kept, Store},
};
use crate::{
    clock::{Stopwatch, SystemClock},
    content::{self, ChunkSink, CutError, FileToCut, UnreadFile},
    disk::{Folder, FolderDisk, OpenFile},
    transport::{Http, Pin},
};
use annals_engine::{
    clock::Clock,
    content::SealedChunk,
    flow::{Others, Turn, WINDOW_BYTES_MAX},
    journal::Identity,
    observed::SyncedChange,
    replica::{Replica, StateChange},
    round::{
        Begun, FileRead, FileToRead, Files, Host, Parts, RoundError, Step, StoreError, Take, Turns,
        Unreadable,
    },
    transport::Transport as _,
};
use annals_events::{ChunkId, DeviceId, Record, Seq, log::Logged};
use std::{cell::RefCell, collections::BTreeSet, path::Path, sync::Arc};

/// Who is told how far a round is.
pub trait Progress {
    /// What is being done now.
    fn step(&mut self, doing: &Doing);

    /// There is nothing to watch for a while: what is shown of it goes, so that something can be said.
    fn rest(&mut self) {}

    /// Whether it shall end as soon as it can.
    fn is_stopped(&self) -> bool {
        false
    }

    /// What tells it to end, for those who wait on its behalf; none where nobody does.
    fn stop(&self) -> Option<super::daemon::Stop> {
        None
    }

    /// Who waits for it to end.
    fn others(&self) -> Others {
        Others::Nobody
    }
}

/// What a round is at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doing {
    /// In a few words.
    pub what: &'static str,
    /// How much of it is done; of nothing where nobody knows.
    pub files: Files,
}

/// Nobody is watching.
impl Progress for () {
    fn step(&mut self, _: &Doing) {}
}

/// The capabilities of this machine, for one folder.
pub(super) struct Machine<'a> {
    pub(super) disk: &'a mut FolderDisk,
    /// Opens files beside the disk, on the threads that read them.
    pub(super) opener: &'a Arc<Folder>,
    pub(super) store: &'a mut Store,
    pub(super) http: &'a Http,
    pub(super) identity: &'a Identity,
    pub(super) flow: Flow<'a>,
    /// The folder, as programs name it.
    pub(super) root: &'a Path,
    pub(super) ahead: &'a mut Ahead,
    pub(super) begun: &'a mut Begun,
}

/// Who watches, and whose turn it is.
pub(super) struct Flow<'a> {
    progress: &'a mut dyn Progress,
    turn: RefCell<Turn>,
    clock: Stopwatch,
}

impl<'a> Flow<'a> {
    pub(super) fn begin(progress: &'a mut dyn Progress, window: u64) -> Self {
        Self { progress, turn: RefCell::new(Turn::begin(0, window)), clock: Stopwatch::start() }
    }
}

impl Turns for Flow<'_> {
    fn goes_on(&self) -> bool {
        let now_us = u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.turn.borrow_mut().goes_on(now_us, self.progress.others()) && !self.progress.is_stopped()
    }
}

impl Host for Machine<'_> {
    type Disk = FolderDisk;

    fn now_ms(&self) -> u64 {
        SystemClock.now_ms()
    }

    fn parts(&mut self) -> Parts<'_, FolderDisk> {
        let kept: &Kept = self.store.kept();
        let (outbox, lists) = (&self.store.outbox, &self.store.lists);
        Parts { disk: self.disk, transport: self.http, outbox, records: kept, lists, turns: &self.flow }
    }

    fn persist(&mut self, changes: &[StateChange]) -> Result<(), StoreError> {
        self.store.persist(changes)?;
        if tracing::enabled!(tracing::Level::DEBUG) {
            let own = self.identity.device();
            changes.iter().for_each(|change| self.trace(change, own));
        }
        Ok(())
    }

    fn keep(&mut self, records: Vec<Arc<Record>>) -> Result<Vec<Logged>, StoreError> {
        let kept = self.store.keep(records)?;
        if tracing::enabled!(tracing::Level::DEBUG) {
            let (trace, own) = (self.http.trace(), self.identity.device());
            let others = kept.iter().map(|logged| logged.record.batch());
            for batch in others.filter(|batch| batch.header().device != own) {
                let (dot, last) = (batch.dot(0), batch.last());
                tracing::debug!(trace, %dot, last, "pulled");
            }
        }
        Ok(kept)
    }

    fn records(&mut self) -> Result<Vec<Arc<Record>>, StoreError> {
        self.store.records().map(|logged| Ok(logged?.record)).collect()
    }

    fn replace_records(&mut self, common: Seq, records: Vec<Arc<Record>>) -> Result<(), StoreError> {
        self.store.replace_records(common, &records)
    }

    fn reopen(&mut self) -> Result<Replica, StoreError> {
        self.store.replica(self.identity.clone())
    }

    fn cut(
        &mut self,
        files: &[FileToRead],
        wanted: &(dyn Fn(&ChunkId) -> bool + Sync),
        take: &mut Take<'_>,
    ) -> Result<Vec<Result<FileRead, Unreadable>>, RoundError> {
        let cut = self.cut_all(files, wanted, take);
        match &cut {
            Ok((_, sent)) => self.ahead.sent(*sent),
            Err(_) => self.ahead.interrupted(),
        }
        cut.map(|(read, _)| read)
    }

    fn open_now(&mut self) -> BTreeSet<String> {
        opened::below(self.root)
    }

    fn turn_to(&mut self, other_waits: bool) {
        self.flow.turn.get_mut().turn_to(other_waits);
    }

    fn others_wait(&self) -> bool {
        self.flow.progress.others() != Others::Nobody
    }

    fn begun(&mut self) -> &mut Begun {
        self.begun
    }

    fn name(&mut self, files: &[FileToRead]) -> Result<Vec<Result<FileRead, Unreadable>>, RoundError> {
        let named = self.ahead.named(self.opener, files, self.http.window(), &self.flow);
        let named = named.ok_or(RoundError::GaveWay)?.into_iter();
        Ok(named.map(|found| found.map(to_read).map_err(unreadable)).collect())
    }

    fn read_ahead(&mut self, files: &[FileToRead]) {
        // What goes slowly is read in time.
        let next = if self.http.window() < WINDOW_BYTES_MAX { &[] } else { files };
        self.ahead.begin(self.opener, next);
    }

    fn empty_outbox(&mut self) {
        if let Err(error) = self.store.outbox.clear() {
            tracing::warn!(%error, "the outbox could not be emptied");
        }
    }

    fn progress(&mut self, step: Step) {
        let (what, files) = match step {
            Step::Pulling { done, of } => ("pulling events", Files { done, of, ..Files::default() }),
            Step::Scanning => ("looking at the folder", Files::default()),
            Step::Reading(files) => ("reading and sending files", files),
            Step::Sending(files) => ("sending what was saved before", files),
            Step::Writing(files) => ("writing files", files),
        };
        self.flow.progress.step(&Doing { what, files });
    }

    fn is_stopped(&self) -> bool {
        self.flow.progress.is_stopped()
    }
}

impl Machine<'_> {
    /// What can be followed from here to the other devices, by its dot (docs/tracing.md).
    fn trace(&self, change: &StateChange, own: DeviceId) {
        let trace = self.http.trace();
        match change {
            StateChange::Journaled(pending) => {
                let (dot, last) = (pending.batch.dot(0), pending.batch.last());
                tracing::debug!(trace, %dot, last, "signed");
            }
            StateChange::Synced(SyncedChange::Put(path, node)) => match node.head {
                Some(dot) if dot.device == own => tracing::debug!(trace, %dot, path, "saved"),
                Some(dot) => tracing::debug!(trace, %dot, path, "shown"),
                None => {}
            },
            _ => {}
        }
    }

    /// Cuts files for the chunks that are wanted, and answers with how many those are.
    fn cut_all(
        &mut self,
        files: &[FileToRead],
        wanted: &(dyn Fn(&ChunkId) -> bool + Sync),
        take: &mut Take<'_>,
    ) -> Result<(Vec<Result<FileRead, Unreadable>>, usize), RoundError> {
        let (http, outbox, flow) = (self.http, &self.store.outbox, &self.flow);
        let mut sent = 0;
        let mut take_one = |chunk| {
            if !flow.goes_on() {
                return Err(RoundError::GaveWay);
            }
            sent += 1;
            take(chunk, http, outbox)
        };
        let mut read = vec![Err(unread()); files.len()];
        let (mut given, mut to_cut, mut places) = (BTreeSet::new(), Vec::new(), Vec::new());
        for (place, file) in files.iter().enumerate() {
            let Some((found, chunks)) = self.ahead.take_sealed(file, wanted, &mut given) else {
                to_cut.push(cut_of(self.ahead, self.opener, file, http.window()));
                places.push(place);
                continue;
            };
            chunks.into_iter().try_for_each(&mut take_one)?;
            read[place] = Ok(to_read(found));
        }
        if to_cut.is_empty() {
            return Ok((read, sent));
        }
        let chute = Chute::for_window(http.window());
        let (sink, benches) = (Sink { wanted, chute: &chute }, self.ahead.benches());
        std::thread::scope(|scope| {
            let cutting = scope.spawn(|| {
                // However this ends, nobody waits for more.
                let _end = chute.ends();
                content::cut_files(&benches, to_cut, &sink, |place, result| {
                    read[places[place]] = result.map(to_read).map_err(unreadable);
                })
            });
            // What is not taken any more ends the cutting.
            let taken = chute.take_all(take_one);
            match cutting.join().expect("cutting does not panic") {
                Ok(()) | Err(Gone) => taken,
            }
        })?;
        Ok((read, sent))
    }
}

fn cut_of(ahead: &mut Ahead, folder: &Arc<Folder>, file: &FileToRead, window: u64) -> FileToCut<OpenFile> {
    ahead.take(folder, file, window).unwrap_or_else(|| unread_file(folder, file))
}

/// A file of the folder, to be read.
pub(super) fn unread_file(folder: &Arc<Folder>, file: &FileToRead) -> FileToCut<OpenFile> {
    let (folder, path) = (Arc::clone(folder), file.path.clone());
    let replaced = file.replaced.as_ref().map(|content| content.cut);
    FileToCut::Unread(UnreadFile {
        open: Box::new(move || folder.open_file(&path)),
        replaced,
        first: file.first,
    })
}

/// What is said of a file while nobody has read it.
fn unread() -> Unreadable {
    Unreadable { why: "it was not read".into(), passing: true }
}

struct Sink<'a> {
    wanted: &'a (dyn Fn(&ChunkId) -> bool + Sync),
    chute: &'a Chute,
}

impl ChunkSink for Sink<'_> {
    type Error = Gone;

    fn wanted(&self, id: &ChunkId) -> Result<bool, Gone> {
        Ok((self.wanted)(id))
    }

    fn take(&self, chunk: SealedChunk) -> Result<(), Gone> {
        self.chute.put(chunk)
    }
}

fn to_read(file: content::CutFile) -> FileRead {
    FileRead { node: file.node, content: file.content, chunks: file.chunks, grew: file.grew }
}

fn unreadable(error: CutError) -> Unreadable {
    let passing = matches!(
        error,
        CutError::ChangedWhileRead | CutError::Disk(annals_engine::disk::DiskError::Missing { .. })
    );
    Unreadable { why: error.to_string(), passing }
}

/// The way to the server of a link.
pub(super) fn http_of(binding: &Binding) -> Result<Http, annals_engine::transport::TransportError> {
    let pin = binding.certificate.map(Pin::Whole);
    Http::pinned(&binding.server, pin, Some(binding.token.clone()))
}
