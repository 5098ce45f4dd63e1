//! The shell of one namespace: the single writer of its stream on this node.
//!
//! It is rebuilt from the log when it starts, and everybody waits until then. Messages that change it are
//! handled one after the other: the engine's [`Namespace`] is lent to the future at work and comes back with
//! the answer. A panic in there takes the actor with it, and the next ask rebuilds it: from its last checkpoint if
//! the log has that place, else from the first record. It writes one when it goes, and after a long rebuild.

mod rebuilding;
mod statements;

pub use statements::State;
pub(super) use statements::{judged, statement_of};

use super::{
    node::{Node, Summary, blocking, chunk_problem, log_problem},
    roster::{Passivated, Passivation},
};
use actix::{
    Actor, ActorContext, ActorFutureExt, AtomicResponse, Context, ContextFutureSpawner, Handler, Message,
    MessageResult, Running, WrapFuture,
};
use annals_engine::{
    admission::{Facts, Looked},
    namespace::{Effect, Input, Namespace, Outcome},
    protocol::{BatchOutcome, DeviceInfo, Problem},
    replica::is_acknowledgement,
};
use annals_events::{
    Batch, ChunkId, ChunkRef, ContentId, EntryId, EntryKind, Fact, Hash, NamespaceId, Record, UserId,
    log::LogError,
};
use rebuilding::{keep_checkpoint, rebuild};
use serde_bytes::ByteBuf;
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// One namespace at work.
pub struct NamespaceActor {
    id: NamespaceId,
    node: Arc<Node>,
    /// None while it is lent, or not rebuilt yet.
    namespace: Option<Namespace>,
    failed: Option<Problem>,
    /// Until when it stays at work: what it forgot lately is remembered nowhere else.
    pub(super) stays_until: Arc<AtomicU64>,
    passivation: Passivation,
}

impl NamespaceActor {
    /// Not rebuilt yet.
    #[must_use]
    pub fn new(id: NamespaceId, node: Arc<Node>) -> Self {
        Self {
            id,
            node,
            namespace: None,
            failed: None,
            stays_until: Arc::default(),
            passivation: Passivation::new(),
        }
    }

    /// The namespace, or why it could not be rebuilt: then the next ask tries again.
    fn here(&mut self, context: &mut Context<Self>) -> Result<&mut Namespace, Problem> {
        self.passivation.asked();
        if let Some(problem) = &self.failed {
            context.stop();
            return Err(problem.clone());
        }
        Ok(self.namespace.as_mut().expect("it is back before the next message"))
    }

    /// Lends the namespace to `work`, which brings it back with its answer.
    pub(super) fn lend<T: 'static, F>(
        &mut self,
        context: &mut Context<Self>,
        work: impl FnOnce(Namespace, Arc<Node>) -> F,
    ) -> AtomicResponse<Self, Result<T, Problem>>
    where
        F: Future<Output = (Namespace, Result<T, Problem>)> + 'static,
    {
        if let Err(problem) = self.here(context) {
            return AtomicResponse::new(Box::pin(async { Err(problem) }.into_actor(self)));
        }
        let namespace = self.namespace.take().expect("it is here");
        let work = work(namespace, Arc::clone(&self.node));
        AtomicResponse::new(Box::pin(work.into_actor(self).map(|(namespace, answer), actor, _| {
            actor.node.note(actor.id, summary_of(&namespace));
            actor.namespace = Some(namespace);
            answer
        })))
    }
}

impl Actor for NamespaceActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        rebuild(Arc::clone(&self.node), self.id)
            .into_actor(self)
            .map(|rebuilt, actor, _| match rebuilt {
                Ok(namespace) => {
                    actor.node.note(actor.id, summary_of(&namespace));
                    actor.namespace = Some(namespace);
                }
                Err(problem) => actor.failed = Some(problem),
            })
            .wait(context);
        self.passivate_when_idle(context);
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        if let Some(namespace) = self.namespace.take() {
            let kept = keep_checkpoint(namespace, Arc::clone(&self.node));
            actix::spawn(async move { drop(kept.await) });
        }
        Running::Stop
    }
}

impl Passivated for NamespaceActor {
    fn passivation(&mut self) -> &mut Passivation {
        &mut self.passivation
    }

    fn may_go(&mut self) -> bool {
        let stays = self.stays_until.load(Ordering::Relaxed) > self.node.now_ms();
        self.namespace.is_some() && !stays
    }
}

fn summary_of(namespace: &Namespace) -> Summary {
    let projections = namespace.projections();
    let members = projections.access().members().map(|(user, role, name)| (user, (role, name.to_owned())));
    let devices = projections.devices().iter();
    let retired = devices.filter(|(_, state)| state.retired_last.is_some()).map(|(device, _)| device);
    Summary {
        members: members.collect(),
        retired: retired.collect(),
        used: projections.usage().bytes,
        head: projections.head(),
    }
}

/// Batches of one device, in its order, with what was looked up about them.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<BatchOutcome>, Problem>")]
pub struct Submit(pub Arc<Submission>);

/// See [`Submit`].
#[derive(Debug)]
pub struct Submission {
    /// The batches.
    pub batches: Vec<Batch>,
    /// What was looked up about them.
    pub looked: Looked,
    /// What whoever sent them says that they belong to, to be followed in logs.
    pub trace: Option<String>,
}

impl Handler<Submit> for NamespaceActor {
    type Result = AtomicResponse<Self, Result<Vec<BatchOutcome>, Problem>>;

    fn handle(&mut self, Submit(submission): Submit, context: &mut Self::Context) -> Self::Result {
        self.lend(context, move |mut namespace, node| async move {
            let mut outcomes = Vec::new();
            if let Err(problem) = go_on(&mut namespace, &node).await {
                return (namespace, Err(problem));
            }
            for batch in &submission.batches {
                match admit(&mut namespace, &node, &submission, batch).await {
                    Ok(outcome) => outcomes.push(outcome),
                    Err(problem) if outcomes.is_empty() => return (namespace, Err(problem)),
                    // What was admitted is told; the rest is sent again.
                    Err(_) => break,
                }
                if matches!(outcomes.last(), Some(BatchOutcome::Refused(_))) {
                    break;
                }
                if batch.events().iter().any(|event| is_acknowledgement(&event.fact)) {
                    super::filing::acknowledge(&mut namespace, &node).await;
                }
            }
            (namespace, Ok(outcomes))
        })
    }
}

/// Has one batch of a submission judged, and what it adds counted.
pub(super) async fn admit(
    namespace: &mut Namespace,
    node: &Arc<Node>,
    submission: &Submission,
    batch: &Batch,
) -> Result<BatchOutcome, Problem> {
    let id = namespace.projections().namespace();
    let (projections, possession) = (namespace.projections(), namespace.possession());
    let mut facts = Facts::of(batch, projections, possession, &submission.looked);
    // What fills a quota is judged one after the other, and the next knows what this one added.
    let turn = if facts.adds > 0 { node.quota_turn(id).await } else { None };
    facts.room = turn.as_ref().and_then(|_| node.room_now(id));
    let outcome = submit(namespace, node, batch.clone(), facts).await;
    if turn.is_some() {
        node.note(id, summary_of(namespace));
    }
    drop(turn);
    match outcome {
        Outcome::Admitted(record) => {
            let (dot, last, seq) = (batch.dot(0), batch.last(), record.seq().0);
            tracing::debug!(trace = submission.trace, namespace = %id, %dot, last, seq, "admitted");
            count(namespace, node, batch);
            Ok(BatchOutcome::Admitted { record: bytes_of(&record) })
        }
        Outcome::Again(record) => Ok(BatchOutcome::AlreadyAdmitted { record: bytes_of(&record) }),
        Outcome::Refused(refusal) => Ok(BatchOutcome::Refused(refusal.to_wire())),
        Outcome::Failed(error) => Err(log_problem(&error)),
    }
}

/// What an admitted batch adds to what is counted.
fn count(namespace: &Namespace, node: &Node, batch: &Batch) {
    node.meters.appended(batch.events().len());
    for (index, event) in batch.events().iter().enumerate() {
        let entry = match &event.fact {
            Fact::VersionUploaded { entry, .. } => *entry,
            Fact::EntryCreated { entry_kind: EntryKind::File, .. } => EntryId(batch.dot(index)),
            _ => continue,
        };
        let log = namespace.projections();
        let bytes = log.version(batch.dot(index)).map_or(0, |version| version.size);
        node.meters.version(bytes, log.human_heads(entry).len() > 1);
    }
}

fn bytes_of(record: &Record) -> ByteBuf {
    ByteBuf::from(record.bytes())
}

/// Says under which key the server goes on here, if it has not: before anything else is said.
pub(super) async fn go_on(namespace: &mut Namespace, node: &Node) -> Result<(), Problem> {
    let (key, former) = (node.keys.current(), node.keys.former());
    let Some(opening) = namespace.take_key(key, &former, node.now_ms()) else { return Ok(()) };
    tracing::warn!(namespace = %namespace.projections().namespace(), "a new epoch begins: state was lost");
    judged(submit(namespace, node, opening, Facts::default()).await)
}

/// Feeds the engine with a batch until it answers.
pub(super) async fn submit(namespace: &mut Namespace, node: &Node, batch: Batch, facts: Facts) -> Outcome {
    feed(namespace, node, Input::Submit { batch, facts }).await
}

/// Feeds the engine until it answers.
pub(super) async fn feed(namespace: &mut Namespace, node: &Node, mut input: Input) -> Outcome {
    let id = namespace.projections().namespace();
    loop {
        let (mut outcome, mut next) = (None, None);
        for effect in namespace.step(node.now_ms(), input) {
            match effect {
                Effect::Find(dot) => next = Some(Input::Found(node.log.find(id, dot).await)),
                Effect::Append { expected, record } => {
                    next = Some(Input::Appended(node.log.append(expected, record).await));
                }
                Effect::CatchUp { after } => {
                    next = Some(Input::CaughtUp(node.log.read(id, after, usize::MAX).await));
                }
                Effect::KeepEvidence { batch } => {
                    if let Err(error) = keep_evidence(node, batch).await {
                        return Outcome::Failed(error);
                    }
                }
                Effect::Reply(reply) => outcome = Some(reply),
            }
        }
        match (outcome, next) {
            (Some(outcome), _) => return outcome,
            (None, Some(answer)) => input = answer,
            (None, None) => unreachable!("a namespace that wants nothing has answered"),
        }
    }
}

/// A device that signed two batches under one dot: the later one is kept beside the log, on the disk before it is
/// refused.
async fn keep_evidence(node: &Node, batch: Batch) -> Result<(), LogError> {
    let (folder, name) = (node.evidence.clone(), format!("{}.batch", batch.hash()));
    tracing::warn!(device = %batch.header().device, dot = %batch.dot(0), "equivocation");
    let kept = blocking(move || {
        let kept = super::checkpoints::replace(&folder.join(name), batch.bytes())
            .and_then(|()| std::fs::File::open(folder.parent().unwrap_or(&folder))?.sync_all())
            .map_err(|error| not_kept(&folder, &error));
        Ok(kept)
    });
    kept.await.unwrap_or_else(|problem| Err(LogError::Unavailable { what: problem.to_string() }))
}

fn not_kept(folder: &Path, error: &io::Error) -> LogError {
    let place = folder.display().to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LogError::Full { place },
        _ => LogError::Unavailable {
            what: format!("the evidence of an equivocation cannot be kept in {place}: {error}"),
        },
    }
}

/// Write down what all of this adds up to, unless that was done.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), Problem>")]
pub struct KeepCheckpoint;

impl Handler<KeepCheckpoint> for NamespaceActor {
    type Result = AtomicResponse<Self, Result<(), Problem>>;

    fn handle(&mut self, _: KeepCheckpoint, context: &mut Self::Context) -> Self::Result {
        if let Err(problem) = self.here(context) {
            return AtomicResponse::new(Box::pin(async { Err(problem) }.into_actor(self)));
        }
        let namespace = self.namespace.take().expect("it is here");
        let kept = keep_checkpoint(namespace, Arc::clone(&self.node));
        AtomicResponse::new(Box::pin(kept.into_actor(self).map(|kept, actor, context| match kept {
            Ok(namespace) => {
                actor.namespace = Some(namespace);
                Ok(())
            }
            // It went with whatever panicked; the next ask rebuilds it.
            Err(problem) => {
                context.stop();
                Err(problem)
            }
        })))
    }
}

/// Who may do what here, and how much it holds.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Summary, Problem>")]
pub struct Summarise;

impl Handler<Summarise> for NamespaceActor {
    type Result = MessageResult<Summarise>;

    fn handle(&mut self, _: Summarise, context: &mut Self::Context) -> Self::Result {
        MessageResult(self.here(context).map(|namespace| summary_of(namespace)))
    }
}

/// Every device that was linked here.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<DeviceInfo>, Problem>")]
pub struct Devices;

impl Handler<Devices> for NamespaceActor {
    type Result = MessageResult<Devices>;

    fn handle(&mut self, _: Devices, context: &mut Self::Context) -> Self::Result {
        let devices = self.here(context).map(|namespace| {
            let linked = namespace.projections().devices().iter().filter(|(_, state)| !state.is_server);
            let info = linked.filter_map(|(device, state)| {
                Some(DeviceInfo {
                    device,
                    label: state.label.clone(),
                    user: state.user?,
                    acknowledged: state.acknowledged,
                    fetched: None,
                    continues: state.continues,
                    last_counter: state.last_counter,
                    last_seen: state.last_admitted_at,
                    retired: state.retired_last.is_some(),
                })
            });
            info.collect()
        });
        MessageResult(devices)
    }
}

/// Whose this is, and what people call it; none of one that has not begun.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Option<(UserId, String)>, Problem>")]
pub struct Whose;

impl Handler<Whose> for NamespaceActor {
    type Result = MessageResult<Whose>;

    fn handle(&mut self, _: Whose, context: &mut Self::Context) -> Self::Result {
        MessageResult(self.here(context).map(|namespace| {
            let access = namespace.projections().access();
            access.owner().map(|owner| (owner, access.label().to_owned()))
        }))
    }
}

/// The digests of this namespace's projections.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<BTreeMap<&'static str, Hash>, Problem>")]
pub struct Digests;

impl Handler<Digests> for NamespaceActor {
    type Result = MessageResult<Digests>;

    fn handle(&mut self, _: Digests, context: &mut Self::Context) -> Self::Result {
        MessageResult(self.here(context).map(|namespace| namespace.projections().digests()))
    }
}

/// Which of these are here: chunks by id, contents by their manifest.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Covered, Problem>")]
pub struct Covers {
    /// Chunks.
    pub chunks: Arc<Vec<ChunkId>>,
    /// Whole contents.
    pub manifests: Arc<Vec<(ContentId, ChunkRef)>>,
}

/// The answer to [`Covers`], in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Covered {
    /// Chunks.
    pub chunks: Vec<bool>,
    /// Whole contents.
    pub manifests: Vec<bool>,
}

impl Handler<Covers> for NamespaceActor {
    type Result = AtomicResponse<Self, Result<Covered, Problem>>;

    fn handle(&mut self, question: Covers, context: &mut Self::Context) -> Self::Result {
        self.lend(context, |mut namespace, node| async move {
            let mut covered = covered(&namespace, &question);
            if covered.chunks.contains(&false) && !namespace.possession().unread().is_empty() {
                if let Err(problem) = read_manifests(&mut namespace, &node).await {
                    return (namespace, Err(problem));
                }
                covered = self::covered(&namespace, &question);
            }
            (namespace, Ok(covered))
        })
    }
}

fn covered(namespace: &Namespace, question: &Covers) -> Covered {
    let (possession, projections) = (namespace.possession(), namespace.projections());
    let chunk = |id: &ChunkId| possession.covers(projections, *id);
    let whole =
        |(id, manifest): &(ContentId, ChunkRef)| possession.covers_manifest(projections, *id, *manifest);
    Covered {
        chunks: question.chunks.iter().map(chunk).collect(),
        manifests: question.manifests.iter().map(whole).collect(),
    }
}

/// Reads the manifests of large files, once: only those who ask for single chunks of them need that.
pub(super) async fn read_manifests(namespace: &mut Namespace, node: &Arc<Node>) -> Result<(), Problem> {
    for content in namespace.possession().unread() {
        let Some(manifest) = content.manifest else { continue };
        let chunks = Arc::clone(&node.chunks);
        let bytes = blocking(move || {
            let sealed = chunks.get(&manifest.id).map_err(|error| chunk_problem(&error))?;
            Ok(sealed.and_then(|sealed| sealed.open().ok()).unwrap_or_default())
        });
        let bytes = bytes.await?;
        if namespace.possession_mut().read(&content, &bytes).is_err() {
            tracing::error!(content = %content.id, "an admitted manifest is lost or damaged");
        }
    }
    Ok(())
}
