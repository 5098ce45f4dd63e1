//! How far every namespace has got, and who waits for one to get further.

use super::{Head, Later, LogError};
use crate::id::{NamespaceId, Seq};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// The heads of a log's namespaces. Clones are the same heads.
#[derive(Clone, Default)]
pub(super) struct Heads(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    heads: BTreeMap<NamespaceId, Head>,
    waiting: BTreeMap<(NamespaceId, u64), Waker>,
    next_waiter: u64,
    stopped: Option<String>,
}

impl Heads {
    pub(super) fn get(&self, namespace: NamespaceId) -> Head {
        self.state().heads.get(&namespace).copied().unwrap_or_default()
    }

    pub(super) fn namespaces(&self) -> Vec<NamespaceId> {
        self.state().heads.keys().copied().collect()
    }

    /// Takes over new heads and wakes whoever waits for them.
    pub(super) fn raise(&self, heads: impl IntoIterator<Item = (NamespaceId, Head)>) {
        let mut wakers = Vec::new();
        let mut state = self.state();
        for (namespace, head) in heads {
            state.heads.insert(namespace, head);
            let ids: Vec<_> =
                state.waiting.range((namespace, 0)..=(namespace, u64::MAX)).map(|(id, _)| *id).collect();
            wakers.extend(ids.into_iter().filter_map(|id| state.waiting.remove(&id)));
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Nothing will be appended any more: whoever waits is told.
    pub(super) fn stop(&self, what: &str) {
        let mut state = self.state();
        state.stopped.get_or_insert_with(|| what.into());
        let wakers = std::mem::take(&mut state.waiting);
        drop(state);
        wakers.into_values().for_each(Waker::wake);
    }

    /// Why nothing is appended any more, if that is so.
    pub(super) fn stopped(&self) -> Option<LogError> {
        self.state().stopped.clone().map(|what| LogError::Unavailable { what })
    }

    pub(super) fn wait_past(&self, namespace: NamespaceId, after: Seq) -> Later<'static, Head> {
        Box::pin(WaitPast { heads: self.clone(), namespace, after, id: None })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct WaitPast {
    heads: Heads,
    namespace: NamespaceId,
    after: Seq,
    id: Option<u64>,
}

impl Future for WaitPast {
    type Output = Result<Head, LogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let heads = self.heads.clone();
        let mut state = heads.state();
        let head = state.heads.get(&self.namespace).copied().unwrap_or_default();
        if head.seq > self.after {
            return Poll::Ready(Ok(head));
        }
        if let Some(what) = state.stopped.clone() {
            return Poll::Ready(Err(LogError::Unavailable { what }));
        }
        let id = self.id.unwrap_or(state.next_waiter);
        state.next_waiter = state.next_waiter.max(id + 1);
        self.id = Some(id);
        state.waiting.insert((self.namespace, id), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for WaitPast {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.heads.state().waiting.remove(&(self.namespace, id));
        }
    }
}
