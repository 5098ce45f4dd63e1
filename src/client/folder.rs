//! A linked folder at work: one process has it at a time.

use super::{
    ClientError,
    binding::{Binding, STATE_FOLDER},
    host::{Machine, Progress, http_of},
    store::Store,
};
use crate::{clock::SystemClock, disk::FolderDisk, transport::Http};
use annals_engine::{
    chunk_store::ChunkStore as _,
    clock::Clock as _,
    disk::Disk as _,
    journal::Identity,
    observed::RemoteTree,
    replica::{Effect, Input, Replica},
    round::{self, Report, RoundError, Wish},
};
use annals_events::{EntryKind, Fact};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// This device's half of a namespace.
pub struct Folder {
    root: PathBuf,
    binding: Binding,
    identity: Identity,
    pub(super) replica: Replica,
    pub(super) store: Store,
    disk: FolderDisk,
    opener: Arc<Mutex<FolderDisk>>,
    http: Option<Http>,
    wish: Wish,
    last: Report,
    last_error: Option<String>,
    offline: bool,
    /// Held as long as this is.
    _lock: File,
}

/// In which state a folder is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Everything is exchanged.
    Idle,
    /// Something waits to be sent or written.
    Syncing,
    /// The server was not reached the last time.
    Offline,
    /// A person has to look.
    Attention,
}

impl State {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Syncing => "syncing",
            Self::Offline => "offline",
            Self::Attention => "attention",
        }
    }
}

/// `annals status --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// In one word.
    pub state: State,
    /// The namespace's id.
    pub namespace: String,
    /// The device's label.
    pub device: String,
    /// The server's address.
    pub server: String,
    /// The last event that is known, pending ones included.
    pub seq: u64,
    /// The last event that was pulled.
    pub cursor: u64,
    /// Events that wait to be sent.
    pub pending_events: u64,
    /// Bytes of chunks that wait to be sent.
    pub pending_bytes: u64,
    /// Open conflicts.
    pub conflicts: u64,
    /// Files that the folder shows.
    pub files: u64,
    /// Folders that the folder shows.
    pub folders: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What went wrong the last time.
    pub last_error: Option<String>,
}

/// `annals sync --once --json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SyncReport {
    /// Events that the server took.
    pub events_sent: u64,
    /// Events that came.
    pub events_received: u64,
    /// Chunks of the changed files.
    pub chunks: u64,
    /// Those of them that were sent.
    pub new_chunks: u64,
    /// Bytes of requests.
    pub sent_bytes: u64,
    /// Bytes of answers.
    pub received_bytes: u64,
    /// Plain bytes of changed files that did not have to go over the wire.
    pub saved_bytes: u64,
}

/// A change that was refused, for the person who made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetAsideLine {
    /// What it was about, as far as the events say.
    pub path: String,
    /// What the server said.
    pub why: String,
}

impl Folder {
    /// Opens a linked folder; what a crash left is cleared up.
    ///
    /// # Errors
    /// [`ClientError::Held`] where another process has it; [`ClientError::Binding`] where it is not linked.
    pub fn open(root: &Path) -> Result<Self, ClientError> {
        let (binding, key) = Binding::read(root)?;
        let state = root.join(STATE_FOLDER);
        let lock = lock(&state, root)?;
        let identity = Identity { namespace: binding.namespace, key };
        let mut store = Store::open(&state, binding.device)?;
        let mut replica = store.replica(identity.clone())?;
        let mut disk = FolderDisk::open(root)?;
        let swept = disk.sweep()?;
        if !swept.kept.is_empty() {
            tracing::warn!(?swept.kept, "files that a crash caught between two names lie in .annals/kept");
            let kept = swept.kept.into_iter().map(|(path, _)| path).collect();
            for effect in replica.step(SystemClock.now_ms(), Input::Swept { kept }) {
                if let Effect::Persist(changes) = effect {
                    store.persist(&changes)?;
                }
            }
        }
        let last: Option<Last> =
            fs::read(state.join(LAST)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let opener = Arc::new(Mutex::new(FolderDisk::open(root)?));
        Ok(Self {
            root: root.to_owned(),
            binding,
            identity,
            replica,
            store,
            disk,
            opener,
            http: None,
            wish: Wish::default(),
            last: Report::default(),
            offline: last.as_ref().is_some_and(|last| last.offline),
            last_error: last.and_then(|last| last.error),
            _lock: lock,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its link.
    #[must_use]
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The way to its server.
    ///
    /// # Errors
    /// Where the address is none.
    pub fn http(&mut self) -> Result<&Http, ClientError> {
        if self.http.is_none() {
            self.http = Some(http_of(&self.binding)?);
        }
        Ok(self.http.as_ref().expect("it was just made"))
    }

    /// The way to the server, to be used beside the rest; to be [put back](Self::put_http).
    pub(super) fn take_http(&mut self) -> Http {
        self.http.take().expect("http() was called before")
    }

    pub(super) fn put_http(&mut self, http: Http) {
        self.http = Some(http);
    }

    /// The server's address is another one from now on.
    ///
    /// # Errors
    /// [`ClientError::Binding`] where that cannot be written down.
    pub fn move_to(&mut self, server: &str) -> Result<(), ClientError> {
        if self.binding.server != server {
            self.binding.server = server.to_owned();
            self.binding.rewrite(&self.root)?;
            self.http = None;
        }
        Ok(())
    }

    /// Whether the next round takes many vanished entries for deleted on purpose.
    pub fn accept_deletes(&mut self, accept: bool) {
        self.wish.accept_deletes = accept;
    }

    /// Exchanges everything that can be exchanged.
    ///
    /// # Errors
    /// [`ClientError::Round`]; what could be done was done.
    pub fn sync_once(&mut self, progress: &mut dyn Progress) -> Result<SyncReport, ClientError> {
        self.http()?;
        let http = self.http.take().expect("it was just made");
        let before = (http.traffic().sent(), http.traffic().received());
        let mut machine = Machine {
            disk: &mut self.disk,
            opener: &self.opener,
            store: &mut self.store,
            http: &http,
            identity: &self.identity,
            progress,
        };
        let result = round::exchange(&mut self.replica, &mut machine, self.wish);
        let traffic = (http.traffic().sent() - before.0, http.traffic().received() - before.1);
        self.http = Some(http);
        self.remember(result.as_ref());
        let report = result?;
        let answer = SyncReport {
            events_sent: report.events_sent,
            events_received: report.events_received,
            chunks: report.chunks,
            new_chunks: report.new_chunks,
            sent_bytes: traffic.0,
            received_bytes: traffic.1,
            saved_bytes: report.plain_bytes.saturating_sub(report.chunk_bytes_sent),
        };
        self.last = report;
        Ok(answer)
    }

    /// Remembers how the round went, for `status` in another process.
    fn remember(&mut self, result: Result<&Report, &RoundError>) {
        self.offline = matches!(result, Err(error) if error.is_passing());
        self.last_error = result.err().map(ToString::to_string);
        let last = Last { offline: self.offline, error: self.last_error.clone() };
        let text = serde_json::to_vec(&last).expect("plain data with text keys");
        if let Err(error) = fs::write(self.root.join(STATE_FOLDER).join(LAST), text) {
            tracing::debug!(%error, "how the round went could not be noted");
        }
    }

    /// What was not synced in the last round, and why.
    pub fn skipped(&self) -> impl Iterator<Item = (&str, &str)> {
        let waiting = self.last.waiting.iter().map(|path| (path.as_str(), "it is being written"));
        self.last.skipped.iter().map(|(path, why)| (path.as_str(), why.as_str())).chain(waiting)
    }

    /// Changes that were refused; what they changed is still in the folder.
    #[must_use]
    pub fn set_aside(&self) -> Vec<SetAsideLine> {
        let mut lines = Vec::new();
        for aside in self.replica.aside() {
            for (index, event) in aside.batch.events().iter().enumerate() {
                if aside.events.contains(aside.batch.dot(index)) {
                    let name = aside.batch.body(index).ok().flatten().and_then(|body| body.name);
                    let path = match (self.path_of(&event.fact), name) {
                        (Some(path), _) => path,
                        (None, Some(name)) => name.to_string(),
                        (None, None) => event.fact.kind().to_owned(),
                    };
                    lines.push(SetAsideLine { path, why: aside.why.clone() });
                }
            }
        }
        lines
    }

    fn path_of(&self, fact: &Fact) -> Option<String> {
        match fact {
            Fact::VersionUploaded { entry, .. }
            | Fact::EntryMoved { entry, .. }
            | Fact::AttributesChanged { entry } => self.path_of_entry(*entry),
            _ => None,
        }
    }

    /// How the folder stands, by what is known here.
    pub fn status(&mut self) -> Status {
        let settled = self.replica.is_settled();
        let conflicts = self.replica.log().conflicts().iter().filter(|conflict| conflict.open).count() as u64;
        let pending_events: u64 = self.replica.pending().map(|batch| batch.events().len() as u64).sum();
        let cursor = self.replica.cursor().seq.0;
        let remote: &RemoteTree = self.replica.remote();
        let (mut files, mut folders, mut bytes) = (0, 0, 0);
        for node in remote.nodes.values() {
            match node.kind {
                EntryKind::Folder => folders += 1,
                EntryKind::File | EntryKind::Symlink => files += 1,
            }
            bytes += node.size;
        }
        let attention = self.last_error.is_some() && !self.offline || !self.replica.aside().is_empty();
        Status {
            state: match (self.offline, attention, settled) {
                (true, ..) => State::Offline,
                (_, true, _) => State::Attention,
                (_, _, true) => State::Idle,
                _ => State::Syncing,
            },
            namespace: self.binding.namespace.to_hex(),
            device: self.binding.device_label.clone(),
            server: self.binding.server.clone(),
            seq: cursor + pending_events,
            cursor,
            pending_events,
            pending_bytes: self.store.outbox.stats().map_or(0, |stats| stats.stored_bytes),
            conflicts,
            files,
            folders,
            bytes,
            last_error: self.last_error.clone(),
        }
    }
}

/// How the last round went: worth a word in `status`, and nothing more.
const LAST: &str = "last.json";

#[derive(Default, Serialize, Deserialize)]
struct Last {
    offline: bool,
    error: Option<String>,
}

/// The lock of a folder: free again as soon as the process is gone, however it went.
pub(super) fn lock(state: &Path, root: &Path) -> Result<File, ClientError> {
    let failed = |source| ClientError::Folder { folder: root.to_owned(), source };
    let lock =
        File::options().create(true).truncate(false).write(true).open(state.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(ClientError::Held { folder: root.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
