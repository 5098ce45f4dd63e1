//! What the shells of one server share: its log, its chunks, its key, its clock, and who is at work.

use super::{
    FileActor, NamespaceActor, SessionActor, UserActor, checkpoints::Checkpoints, directory::LiveDirectory,
    issuers::Issuers, keys::Keys, listeners::Listeners, marks::Marks, meters::Meters, roster::Roster,
    sent::SentLists, upkeep::Heard, wanted::WantedContents,
};
use actix::{
    ArbiterHandle, Context, Handler, Message,
    dev::{MessageResponse, ToEnvelope},
};
use annals_engine::{
    chunk_store::{ChunkStore, ChunkStoreError},
    clock::Clock,
    protocol::{Code, Problem},
};
use annals_events::{
    DeviceId, EntryId, NamespaceId, Role, UserId,
    log::{EventLog, LogError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
};

/// One server process.
pub struct Node {
    /// Its records.
    pub log: Arc<dyn EventLog>,
    /// Its chunks.
    pub chunks: Arc<dyn ChunkStore>,
    /// What it signs with.
    pub keys: Arc<Keys>,
    /// What time it is.
    pub clock: Arc<dyn Clock + Send + Sync>,
    /// Accounts, tickets, tokens.
    pub directory: LiveDirectory,
    /// Where evidence of equivocation is kept.
    pub evidence: PathBuf,
    /// What rebuilds begin with.
    pub checkpoints: Checkpoints,
    /// What devices sent and no event names yet.
    pub sent: SentLists,
    /// What accounts may store unless said otherwise.
    pub quota_default: Option<u64>,
    /// Which chunks are garbage, and since when.
    pub marks: Arc<Marks>,
    /// Held by whoever takes chunks in or has a batch judged that names some, and alone by whoever removes some.
    pub uploads: tokio::sync::RwLock<()>,
    /// One collection at a time.
    pub collecting: tokio::sync::Mutex<()>,
    /// When it was started, in milliseconds since 1970.
    pub started_ms: u64,
    /// Which device was last here when.
    pub heard: Heard,
    /// What is counted of all this.
    pub meters: Meters,
    /// Who waits on the feed.
    pub(crate) listeners: Listeners,
    /// Who made which ticket.
    pub(crate) issuers: Issuers,
    /// What was lost and is waited for.
    pub(crate) wanted: WantedContents,
    board: Mutex<BTreeMap<NamespaceId, Summary>>,
    /// Whose quota is being filled: one batch at a time for each account.
    quota_turns: Mutex<BTreeMap<UserId, Arc<tokio::sync::Mutex<()>>>>,
    namespaces: Roster<NamespaceId, NamespaceActor>,
    users: Roster<UserId, UserActor>,
    files: Roster<(NamespaceId, EntryId), FileActor>,
    sessions: Roster<DeviceId, SessionActor>,
}

/// What others ask about a namespace all the time, so that they need not ask it. Its single writer keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Who may do what, with the names they had.
    pub members: BTreeMap<UserId, (Role, String)>,
    /// The devices that are cut off.
    pub retired: BTreeSet<DeviceId>,
    /// Bytes that count against its owner's quota.
    pub used: u64,
    /// How far it is.
    pub head: annals_events::log::Head,
}

impl Node {
    /// A node with nobody at work yet.
    #[must_use]
    #[allow(clippy::too_many_arguments, reason = "each is one thing that a server has")]
    pub fn new(
        log: Arc<dyn EventLog>,
        chunks: Arc<dyn ChunkStore>,
        keys: Arc<Keys>,
        clock: Arc<dyn Clock + Send + Sync>,
        directory: LiveDirectory,
        evidence: PathBuf,
        marks: Arc<Marks>,
        checkpoints: Checkpoints,
        sent: SentLists,
        quota_default: Option<u64>,
        arbiters: &[ArbiterHandle],
    ) -> Arc<Self> {
        Arc::new(Self {
            log,
            chunks,
            keys,
            started_ms: clock.now_ms(),
            heard: Heard::default(),
            clock,
            directory,
            evidence,
            marks,
            uploads: tokio::sync::RwLock::default(),
            collecting: tokio::sync::Mutex::default(),
            checkpoints,
            sent,
            quota_default,
            meters: Meters::default(),
            listeners: Listeners::default(),
            issuers: Issuers::default(),
            wanted: WantedContents::default(),
            board: Mutex::default(),
            quota_turns: Mutex::default(),
            namespaces: Roster::new(arbiters.to_vec()),
            users: Roster::new(arbiters.to_vec()),
            files: Roster::new(arbiters.to_vec()),
            sessions: Roster::new(arbiters.to_vec()),
        })
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Asks a namespace.
    ///
    /// # Errors
    /// As for [`Roster::ask`].
    pub async fn ask_namespace<M>(self: &Arc<Self>, id: NamespaceId, message: M) -> Result<M::Result, Problem>
    where
        M: Message + Clone + Send + 'static,
        M::Result: Send + MessageResponse<NamespaceActor, M>,
        NamespaceActor: Handler<M>,
        Context<NamespaceActor>: ToEnvelope<NamespaceActor, M>,
    {
        self.namespaces.ask(&id, || NamespaceActor::new(id, Arc::clone(self)), message).await
    }

    /// Asks a user.
    ///
    /// # Errors
    /// As for [`Roster::ask`].
    pub async fn ask_user<M>(self: &Arc<Self>, id: UserId, message: M) -> Result<M::Result, Problem>
    where
        M: Message + Clone + Send + 'static,
        M::Result: Send + MessageResponse<UserActor, M>,
        UserActor: Handler<M>,
        Context<UserActor>: ToEnvelope<UserActor, M>,
    {
        self.users.ask(&id, || UserActor::new(id, Arc::clone(self)), message).await
    }

    /// Asks a file.
    ///
    /// # Errors
    /// As for [`Roster::ask`].
    pub async fn ask_file<M>(
        self: &Arc<Self>,
        namespace: NamespaceId,
        entry: EntryId,
        message: M,
    ) -> Result<M::Result, Problem>
    where
        M: Message + Clone + Send + 'static,
        M::Result: Send + MessageResponse<FileActor, M>,
        FileActor: Handler<M>,
        Context<FileActor>: ToEnvelope<FileActor, M>,
    {
        let key = (namespace, entry);
        self.files.ask(&key, || FileActor::new(namespace, entry, Arc::clone(self)), message).await
    }

    /// Asks the session of a device.
    ///
    /// # Errors
    /// As for [`Roster::ask`].
    pub async fn ask_session<M>(
        self: &Arc<Self>,
        device: DeviceId,
        user: UserId,
        message: M,
    ) -> Result<M::Result, Problem>
    where
        M: Message + Clone + Send + 'static,
        M::Result: Send + MessageResponse<SessionActor, M>,
        SessionActor: Handler<M>,
        Context<SessionActor>: ToEnvelope<SessionActor, M>,
    {
        self.sessions.ask(&device, || SessionActor::new(device, user, Arc::clone(self)), message).await
    }

    /// What is known of a namespace; asks it if nothing is known yet.
    ///
    /// # Errors
    /// When it cannot be rebuilt.
    pub async fn summary(self: &Arc<Self>, id: NamespaceId) -> Result<Summary, Problem> {
        let known = self.board.lock().expect("nothing panics while it holds the lock").get(&id).cloned();
        match known {
            Some(summary) => Ok(summary),
            None => self.ask_namespace(id, super::namespace::Summarise).await?,
        }
    }

    /// Notes what a namespace says of itself.
    pub fn note(&self, id: NamespaceId, summary: Summary) {
        self.board.lock().expect("nothing panics while it holds the lock").insert(id, summary);
    }

    /// The turn to fill the quota of the one who owns namespace `id`, over all that they own: held from asking for
    /// [`room_now`](Self::room_now) until what was added is [noted](Self::note). Whoever holds it asks no actor.
    pub async fn quota_turn(&self, id: NamespaceId) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        let owner = self.directory.read(|directory| directory.namespace(id).map(|state| state.owner))?;
        let turn = {
            let mut turns = self.quota_turns.lock().expect("nothing panics while it holds the lock");
            Arc::clone(turns.entry(owner).or_default())
        };
        Some(turn.lock_owned().await)
    }

    /// What namespace `id` may come to by its owner's quota and what their others hold by now; none for no limit. One
    /// that nothing was noted of holds nothing: whoever submits has them all asked for before.
    pub fn room_now(&self, id: NamespaceId) -> Option<u64> {
        let (quota, others) = self.directory.read(|directory| {
            let owner = directory.namespace(id).map(|state| state.owner);
            let others =
                directory.namespaces().filter(|(other, state)| *other != id && Some(state.owner) == owner);
            let others: Vec<NamespaceId> = others.map(|(other, _)| other).collect();
            (owner.and_then(|owner| directory.account(owner)).and_then(|account| account.quota), others)
        });
        let board = self.board.lock().expect("nothing panics while it holds the lock");
        let elsewhere: u64 = others.iter().filter_map(|other| board.get(other)).map(|known| known.used).sum();
        quota.map(|quota| quota.saturating_sub(elsewhere))
    }

    /// How many actors are at work: namespaces, users, files, sessions.
    #[must_use]
    pub fn at_work(&self) -> [usize; 4] {
        [self.namespaces.at_work(), self.users.at_work(), self.files.at_work(), self.sessions.at_work()]
    }

    /// Has every namespace that is at work write down what it adds up to.
    pub async fn keep_checkpoints(self: &Arc<Self>) {
        for id in self.namespaces.connected() {
            if let Err(problem) = self.ask_namespace(id, super::namespace::KeepCheckpoint).await {
                tracing::warn!(namespace = %id, %problem, "no checkpoint");
            }
        }
    }

    /// Lets everybody go, so that the log can be closed.
    pub fn close(&self) {
        self.sessions.clear();
        self.files.clear();
        self.users.clear();
        self.namespaces.clear();
    }
}

/// Works that wait for a disk or a processor at once; more wait for their turn.
static TURNS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(8);

/// Runs what waits for a disk or a processor where nobody else waits for it.
///
/// # Errors
/// [`Code::Internal`] if it panicked, and its own.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let _turn = TURNS.acquire().await.map_err(|_| Problem::plain(Code::Busy))?;
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Problem::plain(Code::Internal)))
}

/// What a failing log is to those who asked.
#[must_use]
pub fn log_problem(error: &LogError) -> Problem {
    let code = match error {
        LogError::Full { .. } => Code::LogFull,
        LogError::Damaged { .. } => Code::LogDamaged,
        LogError::Conflict { .. } | LogError::Duplicate { .. } | LogError::Unknown { .. } => Code::Busy,
        LogError::NotNext { .. } => Code::Internal,
        LogError::TooLarge { .. } => Code::BatchTooLarge,
        LogError::Unavailable { .. } => Code::LogUnavailable,
    };
    tracing::error!(%error, "the log failed");
    told(code, error)
}

/// What a failing chunk store is to those who asked.
#[must_use]
pub fn chunk_problem(error: &ChunkStoreError) -> Problem {
    let code = match error {
        ChunkStoreError::Full { .. } => Code::LogFull,
        ChunkStoreError::Damaged { .. } => Code::LogDamaged,
        ChunkStoreError::Unavailable { .. } => Code::LogUnavailable,
    };
    tracing::error!(%error, "the chunk store failed");
    told(code, error)
}

/// A failure in the words of the code alone, where the place it names is nobody's business but the server's.
fn told(code: Code, error: &impl std::fmt::Display) -> Problem {
    match code {
        Code::LogFull | Code::LogUnavailable => Problem::plain(code),
        _ => Problem::new(code, error.to_string()),
    }
}
