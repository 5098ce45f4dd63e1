//! The shell of one account at work: which namespaces it may read, what its devices sent and no event names
//! yet, and how much room its quota leaves over all of its namespaces.
//!
//! All of it is derived but one thing: which chunks were sent and wait for their events (`sent`).

use super::{
    namespace::Covers,
    node::{Node, Summary, blocking, chunk_problem},
    roster::{Passivated, Passivation},
    sent::SentList,
};
use actix::{
    Actor, ActorFutureExt, Context, ContextFutureSpawner, Handler, Message, MessageResult, ResponseFuture,
    WrapFuture,
};
use annals_engine::protocol::{Code, Problem};
use annals_events::{ChunkId, NamespaceId, Role, UserId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One account at work.
pub struct UserActor {
    user: UserId,
    node: Arc<Node>,
    /// Sent by its devices, not named by an event yet.
    sent: SentList,
    /// How often it could have gone but for what was sent.
    stayed: u32,
    passivation: Passivation,
}

/// How often it stays for what was sent, once a minute: as long as the list is kept.
const STAYS: u32 = (super::sent::KEPT.as_secs() / 60) as u32;

impl UserActor {
    /// What was sent is what the node's list says.
    #[must_use]
    pub fn new(user: UserId, node: Arc<Node>) -> Self {
        let sent = node.sent.open(user);
        Self { user, node, sent, stayed: 0, passivation: Passivation::new() }
    }
}

impl Actor for UserActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.passivate_when_idle(context);
        let (store, sent) = (Arc::clone(&self.node.chunks), self.sent.iter().copied().collect::<Vec<_>>());
        if sent.is_empty() {
            return;
        }
        // What is not stored was not sent, whatever the list says.
        let gone = blocking(move || store.missing(&sent).map_err(|error| chunk_problem(&error)));
        gone.into_actor(self)
            .map(|gone, actor, _| match gone {
                Ok(gone) => actor.sent.remove(&gone),
                Err(_) => actor.sent.remove(&actor.sent.iter().copied().collect::<Vec<_>>()),
            })
            .wait(context);
    }
}

impl Passivated for UserActor {
    fn passivation(&mut self) -> &mut Passivation {
        &mut self.passivation
    }

    fn may_go(&mut self) -> bool {
        self.stayed += 1;
        self.sent.is_empty() || self.stayed > STAYS
    }
}

/// The namespaces that the user may read, with what is known of them.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Mounts, Problem>")]
pub struct Mounted;

/// The answer to [`Mounted`].
pub type Mounts = BTreeMap<NamespaceId, (Role, Summary)>;

impl Handler<Mounted> for UserActor {
    type Result = ResponseFuture<Result<Mounts, Problem>>;

    fn handle(&mut self, _: Mounted, _: &mut Self::Context) -> Self::Result {
        self.passivation.asked();
        Box::pin(mounts(self.user, Arc::clone(&self.node)))
    }
}

async fn mounts(user: UserId, node: Arc<Node>) -> Result<Mounts, Problem> {
    let all: Vec<NamespaceId> =
        node.directory.read(|directory| directory.namespaces().map(|(id, _)| id).collect());
    let mut mounts = BTreeMap::new();
    for id in all {
        let summary = node.summary(id).await?;
        if let Some(role) = summary.role_of(user) {
            mounts.insert(id, (role, summary));
        }
    }
    Ok(mounts)
}

/// What the user's namespaces hold, and what one of them may come to.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Room, Problem>")]
pub struct RoomFor(pub Option<NamespaceId>);

/// The answer to [`RoomFor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The quota; none for no limit.
    pub quota: Option<u64>,
    /// What all of the user's namespaces hold.
    pub used: u64,
    /// What that one namespace holds.
    pub used_here: u64,
    /// What that one namespace may come to; none for no limit.
    pub here: Option<u64>,
}

impl Handler<RoomFor> for UserActor {
    type Result = ResponseFuture<Result<Room, Problem>>;

    fn handle(&mut self, RoomFor(here): RoomFor, _: &mut Self::Context) -> Self::Result {
        self.passivation.asked();
        let (user, node) = (self.user, Arc::clone(&self.node));
        Box::pin(async move {
            let (quota, owned) = node.directory.read(|directory| {
                let owned = directory.namespaces().filter(|(_, state)| state.owner == user).map(|(id, _)| id);
                (directory.account(user).map(|account| account.quota), owned.collect::<Vec<_>>())
            });
            let quota = quota.ok_or(Code::UnknownUser)?;
            let (mut used, mut used_here) = (0, 0);
            for id in owned {
                let summary = node.summary(id).await?;
                used += summary.used;
                used_here += if Some(id) == here { summary.used } else { 0 };
            }
            let elsewhere = used - used_here;
            Ok(Room { quota, used, used_here, here: quota.map(|quota| quota.saturating_sub(elsewhere)) })
        })
    }
}

/// Chunks that a device of the user sent and that are stored.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Sent(pub Arc<Vec<ChunkId>>);

impl Handler<Sent> for UserActor {
    type Result = ();

    fn handle(&mut self, Sent(chunks): Sent, _: &mut Self::Context) {
        self.passivation.asked();
        self.stayed = 0;
        self.sent.add(&chunks);
    }
}

/// Chunks that admitted events name: they are counted there from now on.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Named(pub Arc<BTreeSet<ChunkId>>);

impl Handler<Named> for UserActor {
    type Result = ();

    fn handle(&mut self, Named(chunks): Named, _: &mut Self::Context) {
        self.passivation.asked();
        self.sent.remove(chunks.iter());
    }
}

/// Which of these the user sent, or may read in a namespace other than `beside`.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<BTreeSet<ChunkId>, Problem>")]
pub struct Holds {
    /// Which.
    pub chunks: Arc<Vec<ChunkId>>,
    /// The namespace that was asked already.
    pub beside: NamespaceId,
}

impl Handler<Holds> for UserActor {
    type Result = ResponseFuture<Result<BTreeSet<ChunkId>, Problem>>;

    fn handle(&mut self, Holds { chunks, beside }: Holds, _: &mut Self::Context) -> Self::Result {
        self.passivation.asked();
        let mut held: BTreeSet<ChunkId> =
            chunks.iter().filter(|id| self.sent.contains(id)).copied().collect();
        let (user, node) = (self.user, Arc::clone(&self.node));
        Box::pin(async move {
            if held.len() == chunks.len() {
                return Ok(held);
            }
            for id in mounts(user, Arc::clone(&node)).await?.into_keys().filter(|id| *id != beside) {
                let rest: Vec<ChunkId> = chunks.iter().filter(|id| !held.contains(id)).copied().collect();
                if rest.is_empty() {
                    break;
                }
                let question = Covers { chunks: Arc::new(rest), manifests: Arc::default() };
                let covered = node.ask_namespace(id, question.clone()).await??;
                held.extend(
                    question.chunks.iter().zip(covered.chunks).filter(|(_, here)| *here).map(|(id, _)| id),
                );
            }
            Ok(held)
        })
    }
}

/// The chunks that were sent and wait for their events: nothing else needs them yet.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<ChunkId>")]
pub struct InFlight;

impl Handler<InFlight> for UserActor {
    type Result = MessageResult<InFlight>;

    fn handle(&mut self, _: InFlight, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.sent.iter().copied().collect::<Vec<_>>())
    }
}
