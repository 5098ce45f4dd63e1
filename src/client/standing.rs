//! How a linked folder stands: in one word, in numbers, and what in it needs a person.
//!
//! What must always hold: it can be read whoever has the folder. The last round's word lies in
//! `.annals/standing.json`, in place of what was there as a whole, so that `status` works beside a command that is at
//! work, and where nothing can be written. It is a word for people and programs, and the next process goes on from it
//! in what it says itself; nothing is done to files by it, and it is not durable on purpose.

use super::{
    ClientError, ConflictLine, Folder,
    binding::Binding,
    layout::{self, STANDING},
    settings::Settings,
};
use crate::{clock::SystemClock, whole};
use annals_engine::{
    chunk_store::ChunkStore as _,
    clock::Clock as _,
    observed::Totals,
    replica::is_acknowledgement,
    round::{self, Report, RoundError},
    transport::TransportError,
    watch::Look,
};
use annals_events::{EntryId, Fact};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

/// So many of the files with conflicts are named.
const CONFLICTS_NAMED: usize = 20;

/// In which state a folder is, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Everything is exchanged.
    Idle,
    /// Something waits to be sent or written, or somebody is at it.
    #[default]
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

/// What has to happen for what waits to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitsFor {
    /// A pause ends.
    Resume,
    /// The server is reached.
    Server,
    /// A person decides.
    Person,
    /// A round is done.
    Round,
}

/// What is the matter, where more than words depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matter {
    /// This disk has no room.
    Room,
    /// Anything else.
    #[default]
    #[serde(other)]
    Other,
}

impl Matter {
    fn is_other(&self) -> bool {
        *self == Self::Other
    }
}

/// Who is at work with a folder whose state cannot be asked.
#[derive(Clone, Copy, Debug)]
pub enum AtWork<'a> {
    /// The daemon that keeps it, at a round.
    Daemon,
    /// A command that is no daemon.
    Command,
    /// Nobody: why it cannot be opened.
    Nobody(&'a ClientError),
}

/// `annals status --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// In one word.
    pub state: State,
    /// The namespace's id.
    pub namespace: String,
    /// What people call it.
    pub namespace_name: String,
    /// Whose it is.
    pub owner: String,
    /// For whom this device acts.
    pub user: String,
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
    /// Bytes that wait to be sent, those of files that are not read yet included.
    pub pending_bytes: u64,
    /// Files that were found changed, and of which nothing is said yet.
    pub unread_files: u64,
    /// Files whose content waits to be fetched.
    pub incoming_files: u64,
    /// Their bytes.
    pub incoming_bytes: u64,
    /// Open conflicts.
    pub conflicts: u64,
    /// Whether nothing is sent or fetched for now.
    pub paused: bool,
    /// At most so many bytes a second go in each direction.
    pub limit_rate: Option<u64>,
    /// Files that the folder shows.
    pub files: u64,
    /// Folders that the folder shows.
    pub folders: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// What kind of thing that is.
    #[serde(skip_serializing_if = "Matter::is_other")]
    pub matter: Matter,
    /// What somebody is doing there right now.
    pub doing: Option<String>,
    /// How far that is, and how fast it goes.
    pub moving: Option<Moving>,
    /// What has to happen for what waits to go on.
    pub waits_for: Option<WaitsFor>,
    /// When everything had been exchanged the last time, in RFC 3339.
    pub last_exchange: Option<String>,
    /// Since when the server has not been reached, in RFC 3339.
    pub offline_since: Option<String>,
    /// What to do about what went wrong.
    pub hint: Option<String>,
    /// Whether a daemon keeps the folder in sync.
    pub daemon: bool,
    /// The first of the files with conflicts, by name.
    pub conflicting: Vec<ConflictLine>,
    /// Why changes are noticed late: the folder cannot be watched.
    pub unwatched: Option<String>,
    /// Changes that were refused.
    pub set_aside: Vec<SetAsideLine>,
    /// What is in the folder and not synced.
    pub skipped: Vec<PathLine>,
    /// What the log says and the folder does not show, because something is in the way.
    pub in_the_way: Vec<PathLine>,
}

/// What a round moves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// One of the files that are at work.
    pub path: Option<String>,
    /// Files, or events, that are done.
    pub done: u64,
    /// How many there are; nothing where nobody knows.
    pub of: u64,
    /// Bytes of files that are done, about.
    pub bytes: u64,
    /// How many there are.
    pub of_bytes: u64,
    /// Bytes that go over the wire each second, both ways.
    pub bytes_per_second: u64,
    /// How long it takes from now on at that speed, about.
    pub seconds_left: Option<u64>,
}

/// A change that was refused, for the person who made it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAsideLine {
    /// What it was about, as far as the events say.
    pub path: String,
    /// What was refused: the kind of the event.
    pub kind: String,
    /// What the server said.
    pub why: String,
    /// Where in the folder what it held is; none where it held nothing, or that was removed since.
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// Whether it was undone in the folder, as a rename is that was refused: nothing of it is left to look after.
    #[serde(default)]
    pub undone: bool,
}

/// Whether what a refused event did to the folder is undone there; what somebody wrote stays.
fn is_undone(fact: &Fact) -> bool {
    match fact {
        Fact::EntryCreated { .. } | Fact::VersionUploaded { .. } | Fact::AttributesChanged { .. } => false,
        Fact::VersionsMerged { .. }
        | Fact::EntryMoved { .. }
        | Fact::EntryDeleted { .. }
        | Fact::EntryRestored { .. }
        | Fact::ConflictResolved { .. }
        | Fact::EntryPurged { .. }
        | Fact::VersionsExpired { .. }
        | Fact::PolicySet { .. }
        | Fact::RetentionSet { .. }
        | Fact::MemberGranted { .. }
        | Fact::MemberRevoked { .. }
        | Fact::Acknowledged { .. }
        | Fact::NamespaceCreated { .. }
        | Fact::EpochOpened { .. }
        | Fact::DeviceLinked { .. }
        | Fact::DeviceRetired { .. }
        | Fact::AccountCreated { .. }
        | Fact::AccountChanged { .. }
        | Fact::NamespaceOpened { .. }
        | Fact::TicketIssued { .. }
        | Fact::TicketRedeemed { .. }
        | Fact::TicketEnded { .. }
        | Fact::TokenIssued { .. }
        | Fact::TokenRevoked { .. }
        | Fact::Unknown { .. } => true,
    }
}

/// A path, and what about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathLine {
    /// Which.
    pub path: String,
    /// What about it.
    pub why: String,
    /// What kind of thing that is.
    #[serde(default, skip_serializing_if = "Matter::is_other")]
    pub matter: Matter,
}

impl PathLine {
    /// Nothing depends on what is the matter.
    pub(crate) fn new(path: &str, why: &str) -> Self {
        Self { path: path.to_owned(), why: why.to_owned(), matter: Matter::Other }
    }
}

/// What to do about something that went wrong with the folder that is there, in a line.
pub type Advice = fn(&ClientError, &Path) -> Option<String>;

impl Folder {
    /// Remembers how a round went.
    pub(super) fn remember(&mut self, report: &Report, result: &Result<(), RoundError>) {
        let kept = self.disk.kept().unwrap_or_default();
        self.last.take(SystemClock.now_ms(), &kept, report, result);
    }

    /// What has to be looked at again though nothing hints at it: it is being written, vanishes, or could not be read.
    pub(super) fn wants_look(&self) -> Option<Look> {
        self.last.wants_look()
    }

    /// Where the last round left off to give way: once.
    pub(super) fn take_left(&mut self) -> Option<Look> {
        self.last.take_left()
    }

    /// Notes how the folder stands, for `status` in any process. Costs a look at everything that the log says.
    pub fn note_standing(&mut self) {
        let status = self.status();
        write(&self.root, &status);
        self.call_hooks(&status);
    }

    /// The server was not reached, though nobody asked for a round.
    pub(super) fn lose(&mut self, why: TransportError) {
        let (error, result) = (RoundError::Transport(why.clone()), Err(why.into()));
        self.remember(&Report::default(), &result);
        let error = error.into();
        self.last.explain(&error, (self.advice)(&error, &self.root));
        self.note_standing();
    }

    /// What was not synced in the last round, and why.
    #[must_use]
    pub fn skipped(&self) -> &[PathLine] {
        &self.last.skipped
    }

    /// Changes that were refused; what they wrote is still in the folder.
    #[must_use]
    pub fn set_aside(&self) -> Vec<SetAsideLine> {
        let mut lines = Vec::new();
        for aside in self.replica.aside() {
            for (dot, fact, body) in aside.facts().filter(|(_, fact, _)| !is_acknowledgement(fact)) {
                let name = body.and_then(|body| body.name);
                let place = self.replica.lies_at(dot, fact);
                let path = self.path_of(fact).or_else(|| name.map(|name| name.to_string()));
                lines.push(SetAsideLine {
                    path: path.or_else(|| place.clone()).unwrap_or_default(),
                    kind: fact.kind().to_owned(),
                    why: aside.why.clone(),
                    place,
                    undone: is_undone(fact),
                });
            }
        }
        lines
    }

    fn path_of(&self, fact: &Fact) -> Option<String> {
        match fact {
            Fact::VersionUploaded { entry, .. }
            | Fact::EntryMoved { entry, .. }
            | Fact::AttributesChanged { entry }
            | Fact::ConflictResolved { entry, .. }
            | Fact::EntryRestored { entry, .. } => self.path_of_entry(*entry),
            Fact::EntryDeleted { entries, .. } => {
                entries.iter().next().and_then(|dot| self.path_of_entry(EntryId(dot)))
            }
            _ => None,
        }
    }

    /// In which state it is.
    pub(super) fn state(&mut self) -> State {
        let set_aside = self.set_aside();
        self.state_with(&set_aside)
    }

    fn state_with(&mut self, set_aside: &[SetAsideLine]) -> State {
        // What was undone in the folder needs nobody any more.
        let attention = self.last.error.is_some() || set_aside.iter().any(|line| line.place.is_some());
        let is_settled = self.replica.is_settled() && self.last.unread.0 == 0;
        match (self.last.offline, attention, is_settled) {
            (true, ..) => State::Offline,
            (_, true, _) => State::Attention,
            (_, _, true) => State::Idle,
            _ => State::Syncing,
        }
    }

    /// What has to be sent of what was said.
    fn pending_bytes(&self) -> u64 {
        let kept = self.store.outbox.stats().map_or(0, |stats| stats.stored_bytes);
        round::left_to_send(&self.replica, &self.begun).map_or(kept, |left| left.min(kept))
    }

    /// How the folder stands, by what is known here.
    pub fn status(&mut self) -> Status {
        let conflicts: Vec<_> =
            self.replica.log().conflicts().into_iter().filter(|conflict| conflict.open).collect();
        let conflicting = self.in_lines(&conflicts[..conflicts.len().min(CONFLICTS_NAMED)]);
        let pending_events: u64 = self.replica.pending().map(|batch| batch.events().len() as u64).sum();
        let cursor = self.replica.cursor().seq.0;
        let Totals { files, folders, bytes } = self.replica.synced().totals();
        let set_aside = self.set_aside();
        let settings = Settings::read(&self.root);
        let (incoming_files, incoming_bytes) = self.replica.incoming();
        let state = self.state_with(&set_aside);
        let waits_for = match state {
            _ if settings.paused => Some(WaitsFor::Resume),
            State::Offline => Some(WaitsFor::Server),
            State::Attention => Some(WaitsFor::Person),
            State::Syncing => Some(WaitsFor::Round),
            State::Idle => None,
        };
        Status {
            state,
            waits_for,
            last_exchange: self.last.exchanged.clone(),
            seq: cursor + pending_events,
            cursor,
            pending_events,
            pending_bytes: self.pending_bytes() + self.last.unread.1,
            unread_files: self.last.unread.0,
            incoming_files,
            incoming_bytes,
            conflicts: conflicts.len() as u64,
            conflicting,
            files,
            folders,
            bytes,
            owner: self.replica.log().access().owner().map_or_else(String::new, |owner| self.name_of(owner)),
            last_error: self.last.error.clone(),
            matter: self.last.matter,
            hint: self.last.hint.clone(),
            offline_since: self.last.offline_since.clone(),
            daemon: self.kept,
            doing: None,
            moving: None,
            paused: settings.paused,
            limit_rate: settings.limit_rate,
            unwatched: self.last.unwatched.clone(),
            set_aside,
            skipped: self.last.skipped.clone(),
            in_the_way: self.last.in_the_way.clone(),
            ..Status::of(&self.binding)
        }
    }
}

impl Status {
    /// The server answers again: what was said of it while it did not is no longer so.
    pub(super) fn is_reached(&mut self) {
        if self.state == State::Offline {
            (self.state, self.offline_since) = (State::Syncing, None);
            (self.last_error, self.hint, self.matter) = (None, None, Matter::Other);
            self.waits_for = Some(WaitsFor::Round);
        }
    }

    /// What the link alone says.
    fn of(binding: &Binding) -> Self {
        Self {
            namespace: binding.namespace.to_hex(),
            namespace_name: binding.namespace_label.clone(),
            user: binding.user_name.clone(),
            device: binding.device_label.clone(),
            server: binding.server.clone(),
            ..Self::default()
        }
    }

    /// How a folder stood after its last round: without its state, which somebody is at work with, or which cannot be
    /// opened.
    ///
    /// # Errors
    /// [`ClientError::Binding`] where it is not linked.
    pub fn as_noted(root: &Path, at_work: AtWork<'_>) -> Result<Self, ClientError> {
        let (binding, _) = Binding::read(root)?;
        let noted = read(root).filter(|noted| noted.namespace == binding.namespace.to_hex());
        let mut status = noted.unwrap_or_else(|| Self::of(&binding));
        let settings = Settings::read(root);
        (status.paused, status.limit_rate) = (settings.paused, settings.limit_rate);
        status.daemon = matches!(at_work, AtWork::Daemon);
        match at_work {
            AtWork::Daemon => {
                // Until something moves, what was wrong may be so still.
                let moves = status.moving.as_ref().is_some_and(|moving| moving.bytes_per_second > 0);
                if moves || !matches!(status.state, State::Offline | State::Attention) {
                    status.state = State::Syncing;
                }
                status.doing.get_or_insert_with(|| "looking what there is to exchange".to_owned());
            }
            AtWork::Command => {
                status.state = State::Syncing;
                status.doing.get_or_insert_with(|| "another command is at work in it".to_owned());
            }
            AtWork::Nobody(hindrance) => {
                status.state = State::Attention;
                (status.doing, status.moving) = (None, None);
                (status.last_error, status.hint) = (Some(hindrance.to_string()), None);
                status.matter = if hindrance.is_full() { Matter::Room } else { Matter::Other };
            }
        }
        Ok(status)
    }
}

pub(super) fn rfc3339(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    moment.map_or_else(String::new, |moment| format!("{moment:.3}"))
}

pub(super) fn read(root: &Path) -> Option<Status> {
    serde_json::from_slice(&fs::read(layout::at(root, STANDING)).ok()?).ok()
}

pub(super) fn write(root: &Path, status: &Status) {
    let path = layout::at(root, STANDING);
    let text = serde_json::to_vec(status).expect("plain data with text keys");
    if fs::read(&path).is_ok_and(|before| before == text) {
        return;
    }
    if let Err(error) = whole::cache(&path, &[&text]) {
        tracing::debug!(%error, "how the folder stands could not be noted");
    }
}
