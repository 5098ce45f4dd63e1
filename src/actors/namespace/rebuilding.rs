//! A namespace comes back: from its last checkpoint where the log has that place, else from the first record; and what it
//! adds up to is written down for the next time.
//!
//! What must always hold: a checkpoint is believed as far as the log bears it out and no further. Left out: the file
//! (`checkpoints`).

use super::super::node::{Node, blocking, log_problem};
use super::go_on;
use annals_engine::{
    namespace::{Checkpoint, Namespace},
    protocol::{Code, Problem},
};
use annals_events::{NamespaceId, Seq, log::LogError};
use std::sync::Arc;

/// A rebuild that had to read more events than this is not to be repeated.
const EVENTS_TO_KEEP: u64 = if cfg!(test) { 2 } else { 50_000 };
/// Bytes of records folded at once; others get their turn in between.
const READ_BYTES: usize = 1 << 20;

/// From the checkpoint if there is a good one, and from nothing otherwise.
pub(super) async fn rebuild(node: Arc<Node>, id: NamespaceId) -> Result<Namespace, Problem> {
    let resumed = match resumed(&node, id).await? {
        Some(namespace) => {
            let from = namespace.projections().head().seq;
            let done = replay(namespace, &node, id).await;
            let failed = |problem: &Problem| {
                tracing::warn!(namespace = %id, %problem, "what follows the checkpoint does not fit: it is not used");
            };
            done.inspect_err(failed).ok().map(|namespace| (namespace, from))
        }
        None => None,
    };
    let (namespace, from) = match resumed {
        Some(resumed) => resumed,
        None => (replay(Namespace::new(id, node.keys.current()), &node, id).await?, Seq(0)),
    };
    let mut namespace = namespace;
    go_on(&mut namespace, &node).await?;
    if namespace.projections().head().seq.0 - from.0 > EVENTS_TO_KEEP {
        return keep_checkpoint(namespace, node).await;
    }
    Ok(namespace)
}

/// The namespace as it was at its checkpoint, if the log has that very place. A log that does not answer is no reason to
/// begin with the first record.
async fn resumed(node: &Arc<Node>, id: NamespaceId) -> Result<Option<Namespace>, Problem> {
    node.checkpoints.found_none(id);
    let reader = Arc::clone(node);
    let read = blocking(move || Ok(reader.checkpoints.read(id).map_err(|error| error.to_string()))).await;
    let checkpoint = match read.unwrap_or_else(|problem| Err(problem.to_string())) {
        Ok(Some(checkpoint)) => checkpoint,
        Ok(None) => return Ok(None),
        Err(why) => {
            tracing::warn!(namespace = %id, %why, "the checkpoint is not used");
            return Ok(None);
        }
    };
    if !is_in_log(&checkpoint, node, id).await.map_err(|error| log_problem(&error))? {
        tracing::warn!(namespace = %id, "the checkpoint is not used: the log does not have its place");
        return Ok(None);
    }
    node.checkpoints.found(id, checkpoint.head().seq);
    Ok(Some(Namespace::from_checkpoint(checkpoint, node.keys.current())))
}

async fn is_in_log(checkpoint: &Checkpoint, node: &Node, id: NamespaceId) -> Result<bool, LogError> {
    let head = checkpoint.head();
    let Some(before) = head.seq.0.checked_sub(1) else { return Ok(false) };
    let records = node.log.read(id, Seq(before), 1).await?;
    Ok(records.first().is_some_and(|logged| {
        let admission = logged.record.admission();
        (logged.record.last_seq(), admission.chain, admission.epoch) == (head.seq, head.chain, head.epoch)
    }))
}

async fn replay(mut namespace: Namespace, node: &Node, id: NamespaceId) -> Result<Namespace, Problem> {
    loop {
        let after = namespace.projections().head().seq;
        let records = node.log.read(id, after, READ_BYTES).await.map_err(|error| log_problem(&error))?;
        if records.is_empty() {
            tracing::debug!(namespace = %id, seq = after.0, "rebuilt");
            return Ok(namespace);
        }
        namespace.replay(&records).map_err(|error| Problem::new(Code::LogDamaged, error.to_string()))?;
        tokio::task::yield_now().await;
    }
}

/// Writes down what the namespace adds up to, where nobody waits for it but who has to, and gives it back.
pub(super) async fn keep_checkpoint(namespace: Namespace, node: Arc<Node>) -> Result<Namespace, Problem> {
    let (id, at) = (namespace.projections().namespace(), namespace.projections().head().seq);
    if at == Seq(0) || node.checkpoints.has(id, at) {
        return Ok(namespace);
    }
    blocking(move || {
        if let Err(error) = node.checkpoints.write(id, at, &namespace.checkpoint()) {
            tracing::warn!(namespace = %id, %error, "no checkpoint was written");
        }
        Ok(namespace)
    })
    .await
}
