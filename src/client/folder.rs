//! A linked folder at work: one process has it at a time.

use super::{
    ClientError,
    ahead::Ahead,
    bell::Bell,
    binding::{Address, Binding},
    hooks::Hooks,
    host::{Doing, Flow, Machine, Progress, http_of},
    last_round::LastRound,
    layout::{LOCK, STATE_FOLDER},
    listening::Listening,
    noting::Noting,
    settings::{Settings, paused_by},
    standing::{self, Advice},
    store::Store,
};
use crate::{
    clock::SystemClock,
    disk::{self, FolderDisk},
    transport::{Http, Wait},
};
use annals_engine::{
    clock::Clock as _,
    disk::{Disk as _, DiskError},
    flow::Others,
    journal::Identity,
    protocol::{FeedQuery, HeadInfo},
    replica::{Effect, Input, Replica},
    round::{self, Begun, Look, Report, RoundError, StoreError, Wish},
    transport::{Transport as _, TransportError},
};
use serde::Serialize;
use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};

/// This device's half of a namespace.
pub struct Folder {
    pub(super) root: PathBuf,
    pub(super) binding: Binding,
    identity: Identity,
    pub(super) replica: Replica,
    pub(super) store: Store,
    pub(super) disk: FolderDisk,
    /// Opens files beside what is at work on the folder.
    pub(super) opener: Arc<disk::Folder>,
    http: Option<Http>,
    /// What was found in files, and what is half sent or fetched, since something else went first.
    pub(super) ahead: Ahead,
    pub(super) begun: Begun,
    /// What a verb left to the daemon, and whether it is done without that.
    left_open: Option<LeftOpen>,
    /// Whether the last round did not get to all that it was to look at.
    owes_look: bool,
    wish: Wish,
    pub(super) last: LastRound,
    /// What a person is told to do about what went wrong.
    pub(super) advice: Advice,
    /// Whether a daemon keeps it in sync.
    pub(super) kept: bool,
    /// Whether somebody wants to know how far this device is.
    pub(super) owes_word: bool,
    pub(super) hooks: Hooks,
    /// Held as long as this is.
    lock: File,
}

/// A verb that a daemon runs waits for nothing that takes long: the daemon goes on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOpen {
    /// Whoever asked waits for all of it.
    Awaited,
    /// It is waited for a moment.
    Soon,
    /// It follows.
    Follows,
}

/// Lets others have their turn as soon as something moved.
struct Briefly<'a>(&'a mut dyn Progress);

impl Progress for Briefly<'_> {
    fn step(&mut self, doing: &Doing) {
        self.0.step(doing);
    }

    fn is_stopped(&self) -> bool {
        self.0.is_stopped()
    }

    fn stop(&self) -> Option<super::daemon::Stop> {
        self.0.stop()
    }

    fn others(&self) -> Others {
        Others::Somebody
    }
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
    /// Whether the server had been put back to an older copy of itself.
    #[serde(skip)]
    pub server_put_back: bool,
    /// Events that it got from this device for that.
    #[serde(skip)]
    pub handed_back: u64,
    /// Versions whose contents neither the server nor this device has since then; none where that is not known.
    #[serde(skip)]
    pub lost: Option<u64>,
    /// Whether this device's state had been copied or put back, and it is a device of its own now.
    #[serde(skip)]
    pub renewed: bool,
}

impl SyncReport {
    fn add(&mut self, more: Self) {
        self.events_sent += more.events_sent;
        self.events_received += more.events_received;
        self.chunks += more.chunks;
        self.new_chunks += more.new_chunks;
        self.sent_bytes += more.sent_bytes;
        self.received_bytes += more.received_bytes;
        self.saved_bytes += more.saved_bytes;
        self.server_put_back |= more.server_put_back;
        self.handed_back += more.handed_back;
        self.lost = self.lost.or(more.lost);
        self.renewed |= more.renewed;
    }
}

impl Folder {
    /// Opens a linked folder; what a crash left is cleared up.
    ///
    /// # Errors
    /// [`ClientError::Held`] where another process has it; [`ClientError::Binding`] where it is not linked;
    /// [`ClientError::Copied`] where it is not the device that it says it is: see [`open_or_renew`](super::open_or_renew).
    pub fn open(root: &Path) -> Result<Self, ClientError> {
        Binding::read(root)?;
        let state = root.join(STATE_FOLDER);
        Self::open_held(root, lock(&state, root)?)
    }

    /// As [`open`](Self::open), by whoever has locked it.
    fn open_held(root: &Path, lock: File) -> Result<Self, ClientError> {
        let (binding, key) = Binding::read(root)?;
        let state = root.join(STATE_FOLDER);
        if super::guarding::is_copy(root)? {
            return Err(binding.copied(root));
        }
        let identity = Identity { namespace: binding.namespace, key };
        let mut store = match Store::open(&state, binding.device) {
            Err(StoreError::Damaged { .. }) if Store::is_older(&state, binding.device) => {
                return Err(binding.copied(root));
            }
            opened => opened?,
        };
        let replica = store.replica(identity.clone())?;
        let mut folder = Self::of(root, (binding, identity), store, replica, lock)?;
        folder.sweep()?;
        Ok(folder)
    }

    /// Clears up what a crash left on the disk.
    fn sweep(&mut self) -> Result<(), ClientError> {
        let swept = self.disk.sweep()?;
        if swept.kept.is_empty() {
            return Ok(());
        }
        tracing::warn!(?swept.kept, "files that a crash caught between two names lie in .annals/kept");
        let kept = swept.kept.into_iter().map(|(path, _)| path).collect();
        for effect in self.replica.step(SystemClock.now_ms(), Input::Swept { kept }) {
            if let Effect::Persist(changes) = effect {
                self.store.persist(&changes)?;
            }
        }
        Ok(())
    }

    /// Opens a linked folder to be looked at: nothing in it or in its state is changed. `scratch` is an empty folder for
    /// what has to be copied to be read, and outlives this.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn look(root: &Path, scratch: &Path) -> Result<Self, ClientError> {
        let (binding, key) = Binding::read(root)?;
        let state = root.join(STATE_FOLDER);
        let lock = lock(&state, root)?;
        if super::guarding::is_known_copy(root)? {
            return Err(binding.copied(root));
        }
        let identity = Identity { namespace: binding.namespace, key };
        let mut store = Store::look(&state, binding.device, scratch)?;
        let replica = store.replica(identity.clone())?;
        Self::of(root, (binding, identity), store, replica, lock)
    }

    /// One that has done nothing yet.
    fn of(
        root: &Path,
        (binding, identity): (Binding, Identity),
        store: Store,
        replica: Replica,
        lock: File,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            root: root.to_owned(),
            binding,
            identity,
            replica,
            store,
            disk: FolderDisk::open(root)?,
            opener: Arc::new(disk::Folder::open(root)?),
            http: None,
            ahead: Ahead::default(),
            begun: Begun::default(),
            left_open: None,
            owes_look: false,
            wish: Wish::default(),
            last: standing::read(root).map_or_else(LastRound::default, LastRound::of),
            advice: |_, _| None,
            kept: false,
            owes_word: false,
            hooks: Hooks::default(),
            lock,
        })
    }

    /// What a person is told to do about what goes wrong, from now on.
    pub fn advise(&mut self, advice: Advice) {
        self.advice = advice;
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a daemon keeps it in sync.
    #[must_use]
    pub fn has_daemon(&self) -> bool {
        self.kept
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

    /// The server is found there, and known by that certificate, from now on.
    ///
    /// # Errors
    /// [`ClientError::Binding`] where that cannot be written down.
    pub fn move_to(&mut self, address: &Address) -> Result<(), ClientError> {
        if self.binding.address() != *address {
            let Address { url, certificate } = address.clone();
            (self.binding.server, self.binding.certificate) = (url, certificate);
            self.binding.rewrite(&self.root)?;
            self.http = None;
        }
        Ok(())
    }

    /// The server that this machine runs on `data` is the one that the folder is linked to.
    ///
    /// # Errors
    /// [`ClientError::Binding`] where that cannot be written down.
    pub fn served_from(&mut self, data: &str) -> Result<(), ClientError> {
        if self.binding.data.as_deref() != Some(data) {
            self.binding.data = Some(data.to_owned());
            self.binding.rewrite(&self.root)?;
        }
        Ok(())
    }

    /// Whether the next round takes many vanished entries for deleted on purpose.
    pub fn accept_deletes(&mut self, accept: bool) {
        self.wish.accept_deletes = accept;
    }

    /// Whether nothing is said of what vanished, for a person wants it back.
    pub(super) fn keep_missing(&mut self, keep: bool) {
        self.wish.keep_missing = keep;
    }

    /// What is sent first from now on: these paths, and what is below them.
    pub fn send_first(&mut self, paths: Vec<String>) {
        self.wish.first = paths;
    }

    /// Listens for what this device does not have yet, and rings `bell`. None where the address is none: a round says so.
    pub(super) fn listen(&self, bell: &Bell) -> Option<Listening> {
        let cursor = self.replica.cursor();
        let query = FeedQuery { log: Some(self.binding.log), ..FeedQuery::default() }.having(&cursor);
        let http = http_of(&self.binding).ok()?;
        Some(Listening::begin(http, &self.binding, query, bell.clone()))
    }

    /// Whether everything up to `head` was pulled, and nothing else.
    pub(super) fn is_at(&self, head: HeadInfo) -> bool {
        HeadInfo::from(self.replica.cursor()) == head
    }

    /// Whether what is at `path` is ignored, and not synced: nothing that happens there is of interest.
    pub(super) fn passes_by(&self, path: &str) -> bool {
        !self.replica.synced().contains(path) && self.disk.ignores(path)
    }

    /// As [`passes_by`](Self::passes_by), by the rules as they are now.
    pub(super) fn passes_by_now(&self, path: &str) -> bool {
        !self.replica.synced().contains(path) && self.disk.ignores_now(path)
    }

    /// Why it is not watched, for `status`.
    pub(super) fn note_watch(&mut self, hindrance: Option<&str>) {
        self.last.unwatched = hindrance.map(str::to_owned);
    }

    /// Exchanges everything that can be exchanged, after a look at what was hinted at. How the folder then stands is not
    /// [noted](Self::note_standing) yet.
    ///
    /// # Errors
    /// As for [`sync_once`](Self::sync_once).
    pub(super) fn sync_after(
        &mut self,
        look: Look,
        progress: &mut dyn Progress,
    ) -> Result<SyncReport, ClientError> {
        self.sync(look, true, progress)
    }

    /// Exchanges everything that can be exchanged, after a look at all of the folder.
    ///
    /// # Errors
    /// [`ClientError::Round`]; what could be done was done.
    pub fn sync_once(&mut self, progress: &mut dyn Progress) -> Result<SyncReport, ClientError> {
        let result = match self.kept {
            true => self.sync(Look::Whole, false, &mut Briefly(progress)),
            false => self.sync(Look::Whole, false, progress),
        };
        if matches!(result, Err(ClientError::Round(RoundError::GaveWay))) {
            self.left_open = Some(LeftOpen::Awaited);
        }
        self.note_standing();
        self.keep_checkpoint();
        result
    }

    /// The daemon that keeps the folder goes on by itself.
    pub fn leave_to_daemon(&mut self) {
        self.left_open = Some(LeftOpen::Follows);
    }

    /// What was left open is the daemon's to go on with; whoever asked waits for it no longer than a moment.
    pub fn leave_rest_to_daemon(&mut self) {
        self.left_open = Some(LeftOpen::Soon);
    }

    /// Whether the last round ended before it had looked at all that was hinted at.
    pub(super) fn owes_look(&self) -> bool {
        self.owes_look
    }

    /// What the last verb left open.
    pub(super) fn take_left_open(&mut self) -> Option<LeftOpen> {
        self.left_open.take()
    }

    /// Exchanges what there is to exchange without a look at the folder.
    pub(super) fn sync_nowhere(&mut self, progress: &mut dyn Progress) -> Result<SyncReport, ClientError> {
        self.sync(Look::Nowhere, false, progress)
    }

    /// Keeps what the next start goes on from, if much happened since the last time.
    pub(super) fn keep_checkpoint(&mut self) {
        self.store.keep_checkpoint_if_due(&mut self.replica);
    }

    /// `patient`: things that vanish are waited for, there will be another round.
    fn sync(
        &mut self,
        look: Look,
        patient: bool,
        progress: &mut dyn Progress,
    ) -> Result<SyncReport, ClientError> {
        let result = self.rounds(look, patient, progress);
        if let Err(error) = &result {
            self.last.explain(error, (self.advice)(error, &self.root));
        }
        result
    }

    fn rounds(
        &mut self,
        look: Look,
        patient: bool,
        progress: &mut dyn Progress,
    ) -> Result<SyncReport, ClientError> {
        let mut report = match self.round(look, patient, progress) {
            Err(ClientError::Round(RoundError::PutBack { why, .. })) => {
                tracing::warn!(%why, "this device is not what it was");
                self.become_another()?;
                SyncReport { renewed: true, ..self.round(Look::Whole, patient, progress)? }
            }
            Err(ClientError::Round(RoundError::Stranger { .. })) => return Err(self.stranger()),
            Err(error) if error.is_retired() => return Err(self.binding.retired(&self.root)),
            done => done?,
        };
        // This device's own word may be what its wish waits for.
        for _ in 0..2 {
            if !self.is_forgetting_due() {
                break;
            }
            self.forget_what_may_go()?;
            report.add(self.round(Look::Nowhere, patient, progress)?);
        }
        if self.tell_again()? {
            report.add(self.round(Look::Nowhere, patient, progress)?);
        }
        self.hear_questions();
        if self.say_how_far()? {
            report.add(self.round(Look::Nowhere, patient, progress)?);
        }
        if report.server_put_back {
            report.lost = self.lost_versions()?;
        }
        Ok(report)
    }

    /// Whether the folder, and what the device knows, are where they were.
    pub(super) fn is_in_place(&self) -> bool {
        self.disk.is_at(&self.root) && self.store.check().is_ok()
    }

    /// Whether the folder is where it was: what is elsewhere is not what people see. One whose disk is there again is
    /// taken up again.
    fn check_place(&mut self) -> Result<(), ClientError> {
        if self.disk.is_at(&self.root) {
            return Ok(self.store.check()?);
        }
        let root = self.root.clone();
        let is_this = Binding::read(&root).is_ok_and(|(binding, _)| binding.device == self.binding.device);
        match is_this.then(|| Self::open(&root)) {
            Some(Ok(again)) => {
                self.go_on_as(again);
                return Ok(());
            }
            Some(Err(error)) if error.is_replaced() => return Err(error),
            // No disk takes the folder along so: somebody removed it.
            _ if self.disk.is_removed() => {
                return Err(StoreError::Replaced { place: self.root.display().to_string() }.into());
            }
            _ => {}
        }
        let why = "it is not where it was".to_owned();
        let gone = Err(RoundError::Disk(DiskError::NoFolder { folder: root.display().to_string(), why }));
        self.last.take(SystemClock.now_ms(), &[], &Report::default(), &gone);
        Ok(gone?)
    }

    fn round(
        &mut self,
        look: Look,
        patient: bool,
        progress: &mut dyn Progress,
    ) -> Result<SyncReport, ClientError> {
        self.check_place()?;
        self.http()?;
        let mut http = self.http.take().expect("it was just made");
        http.begin_trace();
        http.limit_rate(Settings::read(&self.root).limit_rate);
        http.pause_by(paused_by(&self.root));
        http.wait_by(progress.stop().map(|stop| -> Wait { Arc::new(move |time| stop.pause(time)) }));
        let before = (http.traffic().sent(), http.traffic().received());
        let mut noting = Noting::new(&self.root, progress, http.traffic(), self.last.offline);
        let mut machine = Machine {
            disk: &mut self.disk,
            opener: &self.opener,
            store: &mut self.store,
            http: &http,
            identity: &self.identity,
            flow: Flow::begin(&mut noting, http.window()),
            root: &self.root,
            ahead: &mut self.ahead,
            begun: &mut self.begun,
        };
        let wish = Wish { look, patient, ..self.wish.clone() };
        let (report, result) = round::exchange(&mut self.replica, &mut machine, wish);
        // Whoever ends may have ended the server as well, as `up` does.
        let result = if noting.is_stopped() { result.map_err(|_| RoundError::Stopped) } else { result };
        let traffic = (http.traffic().sent() - before.0, http.traffic().received() - before.1);
        self.http = Some(http);
        let is_held_up = |error: &RoundError| {
            matches!(error, RoundError::Transport(TransportError::Paused))
                || error.is_passing() && Settings::read(&self.root).paused
        };
        let paused = result.as_ref().is_err_and(is_held_up);
        let goes_on = result.as_ref().is_err_and(|error| error.is_passing() || *error == RoundError::GaveWay);
        self.ahead.end(goes_on);
        if !goes_on {
            self.begun.clear();
        }
        let result = if paused { Err(RoundError::Paused) } else { result };
        self.owes_look = report.owes_look;
        self.remember(&report, &result);
        if !self.replica.is_working()
            && let Err(error) = self.store.compact_if_due(&self.replica)
        {
            tracing::warn!(%error, "the device's state could not be written anew");
        }
        result?;
        Ok(SyncReport {
            events_sent: report.events_sent,
            events_received: report.events_received,
            chunks: report.chunks,
            new_chunks: report.new_chunks,
            sent_bytes: traffic.0,
            received_bytes: traffic.1,
            saved_bytes: report.plain_bytes.saturating_sub(report.chunk_bytes_sent),
            server_put_back: report.server_put_back,
            handed_back: report.handed_back,
            lost: None,
            renewed: false,
        })
    }

    /// Goes on as a device of its own: what it knows of itself was copied, or put back.
    fn become_another(&mut self) -> Result<(), ClientError> {
        let failed = |source| ClientError::Folder { folder: self.root.clone(), source };
        let lock = self.lock.try_clone().map_err(failed)?;
        let root = self.root.clone();
        super::guarding::renew_held(&root, None)?;
        self.go_on_as(Self::open_held(&root, lock)?);
        Ok(())
    }

    /// What was opened anew takes the place of this, and what was said to this holds for it.
    fn go_on_as(&mut self, again: Self) {
        let (wish, advice, kept) = (self.wish.clone(), self.advice, self.kept);
        *self = Self { wish, advice, kept, ..again };
    }

    /// Why the server knows nothing of this folder, and what to do.
    fn stranger(&mut self) -> ClientError {
        let other_log = match self.http().map(Http::server) {
            Ok(Ok(info)) => info.log != self.binding.log,
            _ => false,
        };
        ClientError::Stranger {
            folder: self.root.clone(),
            server: self.binding.server.clone(),
            user: self.binding.user_name.clone(),
            device: self.binding.device_label.clone(),
            other_log,
        }
    }
}

/// The lock of a folder: free again as soon as the process is gone, however it went.
pub(super) fn lock(state: &Path, root: &Path) -> Result<File, ClientError> {
    let failed = |source| ClientError::Folder { folder: root.to_owned(), source };
    let lock =
        File::options().create(true).truncate(false).write(true).open(state.join(LOCK)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(ClientError::Held { folder: root.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
