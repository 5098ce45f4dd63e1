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
    journal::Identity,
    observed::SyncedChange,
    replica::{Replica, StateChange},
    round::{FileRead, FileToRead, Files, Host, Parts, RoundError, Step, StoreError, Take, Unreadable},
};
use annals_events::{ChunkId, DeviceId, Record, Seq, log::Logged};
use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

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

    /// Whether something came up that goes before the rest of what takes long.
    fn others_wait(&self) -> bool {
        false
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
    pub(super) progress: &'a mut dyn Progress,
    /// The folder, as programs name it.
    pub(super) root: &'a Path,
    /// Whether what is cut may give way to others.
    pub(super) gives_way: bool,
    pub(super) ahead: Ahead,
}

impl Host for Machine<'_> {
    type Disk = FolderDisk;

    fn now_ms(&self) -> u64 {
        SystemClock.now_ms()
    }

    fn parts(&mut self) -> Parts<'_, FolderDisk> {
        let kept: &Kept = self.store.kept();
        let (outbox, lists) = (&self.store.outbox, &self.store.lists);
        Parts { disk: self.disk, transport: self.http, outbox, records: kept, lists }
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
        let to_cut: Vec<FileToCut<_>> = files.iter().map(|file| self.cut_of(file)).collect();
        let chute = Chute::default();
        let sink = Sink { wanted, chute: &chute };
        let mut read = vec![Err(unread()); files.len()];
        let (http, outbox) = (self.http, &self.store.outbox);
        std::thread::scope(|scope| {
            let cutting = scope.spawn(|| {
                // However this ends, nobody waits for more.
                let _end = chute.ends();
                content::cut_files(to_cut, &sink, |place, result| {
                    read[place] = result.map(to_read).map_err(unreadable);
                })
            });
            // What is not taken any more ends the cutting.
            let mut turn = Turn::begin(self.gives_way);
            let sent = chute.take_all(|chunk| {
                turn.go_on(self.progress)?;
                take(chunk, http, outbox)
            });
            match cutting.join().expect("cutting does not panic") {
                Ok(()) | Err(Gone) => sent,
            }
        })?;
        Ok(read)
    }

    fn open_now(&mut self) -> BTreeSet<String> {
        opened::below(self.root)
    }

    fn may_give_way(&mut self, may: bool) {
        self.gives_way = may;
    }

    fn name(&mut self, files: &[FileToRead]) -> Result<Vec<Result<FileRead, Unreadable>>, RoundError> {
        let named = self.ahead.named(self.opener, files).into_iter();
        Ok(named.map(|found| found.map(to_read).map_err(unreadable)).collect())
    }

    fn read_ahead(&mut self, files: &[FileToRead]) {
        self.ahead.begin(self.opener, files);
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
            Step::Writing(files) => ("writing files", files),
        };
        self.progress.step(&Doing { what, files });
    }

    fn is_stopped(&self) -> bool {
        self.progress.is_stopped()
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

    fn cut_of(&mut self, file: &FileToRead) -> FileToCut<OpenFile> {
        self.ahead.take(file).map_or_else(|| unread_file(self.opener, file), FileToCut::Kept)
    }
}

/// How long whoever gives way is at it before. What is begun anew has to get to where it was, and gets on by as much.
const TURN: Duration = Duration::from_secs(1);

/// The time that a file has before it gives way.
struct Turn {
    gives_way: bool,
    began: Stopwatch,
    /// How long it took to get to the first chunk that is to be sent.
    back: Option<Duration>,
}

impl Turn {
    fn begin(gives_way: bool) -> Self {
        Self { gives_way, began: Stopwatch::start(), back: None }
    }

    /// Between two chunks: whether to go on.
    fn go_on(&mut self, progress: &dyn Progress) -> Result<(), RoundError> {
        if progress.is_stopped() {
            return Err(RoundError::Stopped);
        }
        let elapsed = self.began.elapsed();
        let back = *self.back.get_or_insert(elapsed);
        let is_over = elapsed - back >= TURN.max(back * 2);
        if self.gives_way && is_over && progress.others_wait() { Err(RoundError::GaveWay) } else { Ok(()) }
    }
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
