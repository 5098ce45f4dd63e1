//! What a server does by itself, a minute after its start and once a day: every namespace forgets what its retention
//! says may go. What nothing needs any more is collected an hour after its start and once a day.
//!
//! Devices are only retired once the server has listened for an hour: who only listens says nothing that the log holds,
//! and after a start nobody has shown up yet.

use super::{
    collecting::{Collected, GRACE_MS, collect},
    forgetting::{Forget, Forgotten},
    node::Node,
};
use annals_engine::protocol::Problem;
use annals_events::{DeviceId, NamespaceId, Seq};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How often a server looks whether it is time.
const LOOK: Duration = Duration::from_secs(60);
/// How long a server listens before it believes that a device is silent, in milliseconds.
const LISTEN_MS: u64 = 60 * 60 * 1000;
/// A day, in milliseconds.
const DAY_MS: u64 = 24 * LISTEN_MS;

/// When each device last showed its token, and what it was given, since the server was started. What the log has is older.
#[derive(Debug, Default)]
pub struct Heard {
    last: Mutex<BTreeMap<DeviceId, u64>>,
    given: Mutex<BTreeMap<(NamespaceId, DeviceId), Seq>>,
}

impl Heard {
    /// A device is here now.
    pub fn of(&self, device: DeviceId, now_ms: u64) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(device, now_ms);
    }

    /// When it was last here, in milliseconds since 1970.
    #[must_use]
    pub fn last(&self, device: DeviceId) -> Option<u64> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get(&device).copied()
    }

    /// A device has all events of a namespace up to here.
    pub fn gives(&self, namespace: NamespaceId, device: DeviceId, seq: Seq) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).insert((namespace, device), seq);
    }

    /// Up to where it has them.
    #[must_use]
    pub fn given(&self, namespace: NamespaceId, device: DeviceId) -> Option<Seq> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).get(&(namespace, device)).copied()
    }

    fn all(&self) -> BTreeMap<DeviceId, u64> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Goes on for as long as the server does.
pub async fn keep_up(node: Arc<Node>) {
    let mut last: Option<(u64, bool)> = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = node.now_ms();
        let listened = has_listened(&node);
        let is_time = last
            .is_none_or(|(at, had_listened)| now.saturating_sub(at) >= DAY_MS || listened && !had_listened);
        if is_time {
            last = Some((now, listened));
            if let Err(problem) = forget(&node, false).await {
                tracing::warn!(%problem, "not every namespace could forget");
            }
            // One that was put back to an older copy is told so by the first that shows up.
            if !listened {
                continue;
            }
            match collect(&node, GRACE_MS, false).await {
                Ok(Collected { freed, .. }) => {
                    tracing::info!(chunks = freed.chunks, bytes = freed.stored_bytes, "collected");
                }
                Err(problem) => tracing::warn!(%problem, "nothing was collected"),
            }
        }
    }
}

fn has_listened(node: &Node) -> bool {
    node.now_ms().saturating_sub(node.started_ms) >= LISTEN_MS
}

/// Every namespace's turn to forget. Answers with what they forgot together.
///
/// # Errors
/// Of the first that could not; the others had their turn.
pub async fn forget(node: &Arc<Node>, dry_run: bool) -> Result<Forgotten, Problem> {
    let heard = has_listened(node).then(|| Arc::new(node.heard.all()));
    let namespaces: Vec<_> =
        node.directory.read(|directory| directory.namespaces().map(|(id, _)| id).collect());
    let (mut all, mut failed) = (Forgotten::default(), None);
    for id in namespaces {
        let message = Forget { heard: heard.clone(), dry_run };
        let forgotten = node.ask_namespace(id, message).await.and_then(|answer| answer);
        if !dry_run && let Err(problem) = node.cut_off_retired(id).await {
            tracing::warn!(namespace = %id, %problem, "who is retired could not be cut off");
            failed.get_or_insert(problem);
        }
        match forgotten {
            Ok(forgotten) => {
                if forgotten != Forgotten::default() && !dry_run {
                    let Forgotten { devices, versions, entries, .. } = &forgotten;
                    tracing::info!(namespace = %id, retired = devices.len(), versions, entries, "forgot");
                }
                all.add(forgotten);
            }
            Err(problem) => {
                tracing::warn!(namespace = %id, %problem, "a namespace could not forget");
                failed.get_or_insert(problem);
            }
        }
    }
    failed.map_or(Ok(all), Err)
}
