//! Collecting the chunks that nothing needs any more: mark, grace, sweep, and the room given back.
//!
//! ```text
//! mark      every namespace says what it needs, manifests expanded; every account what was sent and is not named yet
//! grace     what is stored and not marked is garbage, since when is written down (DATA/garbage)
//! sweep     what has been garbage for the grace period is asked for once more while no batch that names chunks is
//!           judged and no chunk is taken in, and goes
//! compact   packs that are mostly dead are taken away
//! ```
//!
//! What must always hold (I4): no chunk goes that an event names or that a device may rely on. One that was told that a
//! chunk need not be sent was told so while something needed it; so it was no garbage yet, and stays for the grace
//! period from then on at least. Nor does one that is named by what a server lost and is handed back: with the loss all
//! marks go (`marks`), and what began before ends. Where a namespace cannot be rebuilt or a manifest not be read,
//! nothing is collected.

use super::{
    marks::Since,
    namespace::{NamespaceActor, read_manifests},
    node::{Node, blocking, chunk_problem, log_problem},
    user::InFlight,
};
use actix::{AtomicResponse, Context, Handler, Message};
use annals_engine::{
    chunk_store::{ChunkStats, Compacted},
    garbage::Garbage,
    protocol::{Code, Problem},
};
use annals_events::{ChunkId, UserId};
use std::{collections::BTreeSet, sync::Arc};

/// How long what nothing needs is kept at least, unless one says otherwise: a day.
pub const GRACE_MS: u64 = 24 * 60 * 60 * 1000;
/// Names of chunks that are looked at together.
const PAGE: usize = 10_000;

/// What was collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// What went, or would go.
    pub freed: ChunkStats,
    /// Garbage that is still within its grace period.
    pub waiting: ChunkStats,
    /// What no namespace needs, and an account sent lately: it may be about to be named.
    pub sent: ChunkStats,
    /// Files, before and after.
    pub packs: Compacted,
}

/// Which chunks a namespace needs: of these, or all of them.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<ChunkId>, Problem>")]
pub struct Needed(pub Option<Arc<Vec<ChunkId>>>);

impl Handler<Needed> for NamespaceActor {
    type Result = AtomicResponse<Self, Result<Vec<ChunkId>, Problem>>;

    fn handle(&mut self, Needed(of): Needed, context: &mut Context<Self>) -> Self::Result {
        self.lend(context, |mut namespace, node| async move {
            if let Err(problem) = read_manifests(&mut namespace, &node).await {
                return (namespace, Err(problem));
            }
            let (possession, projections) = (namespace.possession(), namespace.projections());
            let lost = possession.lost(projections);
            if !lost.is_empty() {
                let detail = format!(
                    "{} manifests are lost or damaged: nothing is collected, for nobody knows what they list",
                    lost.len()
                );
                return (namespace, Err(Problem::new(Code::LogDamaged, detail)));
            }
            let needed = match of {
                None => possession.needed(projections),
                Some(of) => {
                    of.iter().filter(|chunk| possession.covers(projections, **chunk)).copied().collect()
                }
            };
            (namespace, Ok(needed))
        })
    }
}

/// Collects what nothing needs and what has been so for `grace_ms`; a dry run only says what that would be.
///
/// # Errors
/// Where something cannot be asked or read; nothing that is needed is gone then.
pub async fn collect(node: &Arc<Node>, grace_ms: u64, dry_run: bool) -> Result<Collected, Problem> {
    let _alone = node.collecting.lock().await;
    let (now, since) = (node.now_ms(), node.marks.begin());
    let named = named(node, None).await?;
    let mut sent = sent(node).await?;
    sent.retain(|chunk| named.binary_search(chunk).is_err());
    let needed = merged(named, sent.clone());
    let looking = Arc::clone(node);
    let garbage = blocking(move || look(&looking, &needed, now)).await?;
    let ripe = garbage.ripe(now, grace_ms);
    let mut collected = Collected::default();
    let measuring = (Arc::clone(node), garbage.chunks(), ripe.clone());
    let (all, due, sent) = blocking(move || {
        let (node, all, ripe) = measuring;
        let measure = |ids: &[ChunkId]| node.chunks.measure(ids).map_err(|error| chunk_problem(&error));
        Ok((measure(&all)?, measure(&ripe)?, measure(&sent)?))
    })
    .await?;
    collected.waiting = without(all, due);
    collected.sent = sent;
    if dry_run {
        collected.freed = due;
        return Ok(collected);
    }
    node.marks.write(garbage.clone(), since).await?;
    let mut left = garbage;
    if !ripe.is_empty() {
        let (freed, gone) = sweep(node, ripe, since).await?;
        collected.freed = freed;
        left.forget(&gone);
        node.marks.write(left, since).await?;
    }
    let chunks = Arc::clone(&node.chunks);
    collected.packs = blocking(move || chunks.compact().map_err(|error| chunk_problem(&error))).await?;
    Ok(collected)
}

/// Everything that is needed, or those of `of` that are, in order.
async fn needed(node: &Arc<Node>, of: Option<Arc<Vec<ChunkId>>>) -> Result<Vec<ChunkId>, Problem> {
    Ok(merged(named(node, of).await?, sent(node).await?))
}

fn merged(one: Vec<ChunkId>, other: Vec<ChunkId>) -> Vec<ChunkId> {
    let mut all = one;
    all.extend(other);
    all.sort_unstable();
    all.dedup();
    all
}

/// What namespaces need, in order.
async fn named(node: &Arc<Node>, of: Option<Arc<Vec<ChunkId>>>) -> Result<Vec<ChunkId>, Problem> {
    let directory = node.directory.read(annals_engine::directory::Directory::id);
    let namespaces = node.log.namespaces().await.map_err(|error| log_problem(&error))?;
    let mut needed = Vec::new();
    for id in namespaces.into_iter().filter(|id| *id != directory) {
        needed.extend(node.ask_namespace(id, Needed(of.clone())).await??);
    }
    needed.sort_unstable();
    needed.dedup();
    Ok(needed)
}

/// What was sent and is not named yet.
async fn sent(node: &Arc<Node>) -> Result<Vec<ChunkId>, Problem> {
    let users: Vec<UserId> = node.directory.read(|directory| directory.users().collect());
    let mut sent = Vec::new();
    for user in users {
        sent.extend(node.ask_user(user, InFlight).await?);
    }
    Ok(sent)
}

fn look(node: &Node, needed: &[ChunkId], now_ms: u64) -> Result<Garbage, Problem> {
    let before = node.marks.read();
    let (mut garbage, mut last) = (Garbage::default(), None);
    loop {
        let page = node.chunks.ids(last.as_ref(), PAGE).map_err(|error| chunk_problem(&error))?;
        let ended = page.len() < PAGE;
        last = page.last().copied();
        garbage.extend(before.looked(page, |id| needed.binary_search(id).is_ok(), now_ms));
        if ended {
            return Ok(garbage);
        }
    }
}

/// Removes those of `ripe` that nothing needs at a moment at which nobody can begin to need them; none where what is
/// handed back may name them.
pub(super) async fn sweep(
    node: &Arc<Node>,
    ripe: Vec<ChunkId>,
    since: Since,
) -> Result<(ChunkStats, Vec<ChunkId>), Problem> {
    let ripe = Arc::new(ripe);
    let _nobody_else = node.uploads.write().await;
    node.marks.check(since)?;
    let still: BTreeSet<ChunkId> = needed(node, Some(Arc::clone(&ripe))).await?.into_iter().collect();
    let gone: Vec<ChunkId> = ripe.iter().filter(|id| !still.contains(id)).copied().collect();
    let chunks = Arc::clone(&node.chunks);
    blocking(move || {
        let freed = chunks.remove(&gone).map_err(|error| chunk_problem(&error))?;
        // Bases of what is stored as the difference to them stay garbage, until that goes.
        let gone = chunks.missing(&gone).map_err(|error| chunk_problem(&error))?;
        Ok((freed, gone))
    })
    .await
}

fn without(all: ChunkStats, some: ChunkStats) -> ChunkStats {
    ChunkStats {
        chunks: all.chunks.saturating_sub(some.chunks),
        stored_bytes: all.stored_bytes.saturating_sub(some.stored_bytes),
        plain_bytes: all.plain_bytes.saturating_sub(some.plain_bytes),
    }
}
