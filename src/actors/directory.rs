//! The directory's stream at work: one writer at a time, readers that never wait for a disk.

use super::{keys::Keys, node::log_problem};
use annals_engine::{
    directory::Directory,
    namespace::Issued,
    protocol::{Code, Problem},
};
use annals_events::{
    PublicKey,
    log::{EventLog, LogError},
};
use std::sync::{Arc, RwLock};

/// The fold of the directory's stream, kept up to date by whoever appends.
pub struct LiveDirectory {
    log: Arc<dyn EventLog>,
    keys: Arc<Keys>,
    state: RwLock<Directory>,
    writing: tokio::sync::Mutex<()>,
}

/// Bytes of records read at once.
const READ_BYTES: usize = 4 << 20;

impl LiveDirectory {
    /// Rebuilds it from the log; begins the stream if there is none.
    ///
    /// # Errors
    /// When the log cannot be read, or holds something else.
    pub async fn open(
        log: Arc<dyn EventLog>,
        keys: Arc<Keys>,
        empty: Directory,
        now_ms: u64,
    ) -> Result<Self, Problem> {
        let live = Self { log, keys, state: RwLock::new(empty), writing: tokio::sync::Mutex::default() };
        live.catch_up().await?;
        if live.read(|directory| directory.head().seq.0 == 0) {
            let opening = Directory::opening(&live.keys.current(), crate::random::random());
            live.append(now_ms, |_| Ok(opening)).await?;
        }
        live.go_on(now_ms).await?;
        Ok(live)
    }

    /// Looks something up.
    ///
    /// # Panics
    /// Never: nothing panics while it holds the lock.
    pub fn read<T>(&self, question: impl FnOnce(&Directory) -> T) -> T {
        question(&self.state.read().expect("nothing panics while it holds the lock"))
    }

    /// Appends what `decide` decides, which nobody else's decision comes between; answers when it is durable.
    ///
    /// # Errors
    /// What `decide` refuses with, and what the log fails with.
    pub async fn append(
        &self,
        now_ms: u64,
        decide: impl FnOnce(&Directory) -> Result<Vec<Issued>, Code>,
    ) -> Result<(), Problem> {
        let _writing = self.writing.lock().await;
        self.open_epoch(now_ms).await?;
        let events = self.read(decide)?;
        if events.is_empty() {
            return Ok(());
        }
        self.put(now_ms, events).await
    }

    /// Says under which key the server goes on, if it has not: before anything else is said.
    ///
    /// # Errors
    /// What the log fails with.
    pub async fn go_on(&self, now_ms: u64) -> Result<(), Problem> {
        let _writing = self.writing.lock().await;
        self.open_epoch(now_ms).await
    }

    async fn open_epoch(&self, now_ms: u64) -> Result<(), Problem> {
        let server = self.keys.public();
        let Some(before) = self.read(Directory::server).filter(|before| *before != server) else {
            return Ok(());
        };
        let former = self.keys.former().into_iter();
        let former = former.into_iter().rev().find(|key| PublicKey(key.verifying_key().to_bytes()) == before);
        let former = former.ok_or_else(|| {
            Problem::new(
                Code::LogDamaged,
                "the key that the directory's last records are signed with is gone",
            )
        })?;
        let events = self.read(|directory| directory.epoch(&former, server));
        self.put(now_ms, events).await
    }

    async fn put(&self, now_ms: u64, events: Vec<Issued>) -> Result<(), Problem> {
        let key = self.keys.current();
        let expected = self.read(|directory| directory.head().seq);
        let record = Arc::new(self.read(|directory| directory.record(&key, now_ms, events)));
        match self.log.append(expected, Arc::clone(&record)).await {
            Ok(_) => self.fold(&record),
            Err(
                error @ (LogError::Conflict { .. } | LogError::Duplicate { .. } | LogError::Unknown { .. }),
            ) => {
                self.catch_up().await?;
                Err(log_problem(&error))
            }
            Err(error) => Err(log_problem(&error)),
        }
    }

    async fn catch_up(&self) -> Result<(), Problem> {
        loop {
            let (id, head) = self.read(|directory| (directory.id(), directory.head()));
            let records =
                self.log.read(id, head.seq, READ_BYTES).await.map_err(|error| log_problem(&error))?;
            if records.is_empty() {
                return Ok(());
            }
            records.iter().try_for_each(|logged| self.fold(&logged.record))?;
        }
    }

    fn fold(&self, record: &annals_events::Record) -> Result<(), Problem> {
        let mut state = self.state.write().expect("nothing panics while it holds the lock");
        state.fold(record).map_err(|error| Problem::new(Code::LogDamaged, error.to_string()))
    }
}
