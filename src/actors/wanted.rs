//! What a server that was put back to an older copy lost, and which of its devices wait for it: as soon as somebody
//! does, all who listen are asked to come by, and who comes is told; once it is there, all are asked again.
//!
//! What must always hold: only what is lost is asked for. Left out: what is remembered of it
//! ([`Wanted`]).

use super::node::{Node, blocking, chunk_problem};
use annals_engine::{namespace::Wanted, protocol::Problem};
use annals_events::{ChunkId, ContentId, NamespaceId};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// By namespace.
#[derive(Debug, Default)]
pub(crate) struct WantedContents(Mutex<BTreeMap<NamespaceId, Wanted>>);

impl WantedContents {
    fn all(&self) -> MutexGuard<'_, BTreeMap<NamespaceId, Wanted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Somebody who may read it waits for `chunk`, which is lost.
    pub(super) fn is_wanted(&self, namespace: NamespaceId, chunk: ChunkId, content: ContentId) {
        if self.wanted.all().entry(namespace).or_default().note(chunk, content) {
            tracing::warn!(%namespace, %chunk, "a chunk is lost: whoever has it is asked to send it");
            self.listeners.ask(namespace);
        }
    }

    /// These are stored by now: who waits for one is told.
    pub(super) fn arrived(&self, namespace: NamespaceId, chunks: &[ChunkId]) {
        let waited_for = self.wanted.all().get(&namespace).is_some_and(|held| held.waits_for(chunks.iter()));
        if waited_for {
            self.listeners.ask(namespace);
        }
    }

    /// The contents that somebody waits for, and that are lost still.
    pub(super) async fn wanted_of(
        self: &Arc<Self>,
        namespace: NamespaceId,
    ) -> Result<Vec<ContentId>, Problem> {
        let chunks = self.wanted.all().get(&namespace).map(Wanted::chunks).unwrap_or_default();
        if chunks.is_empty() {
            return Ok(Vec::new());
        }
        let store = Arc::clone(&self.chunks);
        let look = move || {
            let missing = store.missing(&chunks).map_err(|error| chunk_problem(&error))?;
            Ok((chunks, missing))
        };
        let (asked, missing) = blocking(look).await?;
        Ok(self.wanted.all().get_mut(&namespace).map(|held| held.left(&asked, &missing)).unwrap_or_default())
    }
}
