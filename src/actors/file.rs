//! The shell of one file at work: its version graph, rebuilt from the records about it and brought up to date
//! before each answer.

use super::{
    node::{Node, log_problem},
    roster::{Passivated, Passivation},
};
use actix::{Actor, ActorFutureExt, AtomicResponse, Context, Handler, Message, WrapFuture};
use annals_engine::{
    file_history::FileHistory,
    protocol::{Code, Problem, VersionInfo},
};
use annals_events::{Content, Dot, EntryId, NamespaceId};
use std::sync::Arc;

/// One file at work.
pub struct FileActor {
    namespace: NamespaceId,
    node: Arc<Node>,
    history: FileHistory,
    passivation: Passivation,
}

/// Records read at once.
const READ_COUNT: usize = 256;

impl FileActor {
    /// Nothing read yet.
    #[must_use]
    pub fn new(namespace: NamespaceId, entry: EntryId, node: Arc<Node>) -> Self {
        Self { namespace, node, history: FileHistory::new(entry), passivation: Passivation::new() }
    }

    /// Answers `question` once the history is up to date.
    fn up_to_date<T: 'static>(
        &mut self,
        question: impl FnOnce(&FileHistory) -> Result<T, Problem> + 'static,
    ) -> AtomicResponse<Self, Result<T, Problem>> {
        self.passivation.asked();
        let (node, namespace, history) = (Arc::clone(&self.node), self.namespace, self.history.clone());
        let work = catch_up(node, namespace, history).into_actor(self).map(move |history, actor, _| {
            actor.history = history?;
            question(&actor.history)
        });
        AtomicResponse::new(Box::pin(work))
    }
}

async fn catch_up(
    node: Arc<Node>,
    namespace: NamespaceId,
    mut history: FileHistory,
) -> Result<FileHistory, Problem> {
    let entry = history.entry();
    loop {
        let records = node.log.read_entry(namespace, entry, history.after(), READ_COUNT).await;
        let records = records.map_err(|error| log_problem(&error))?;
        records.iter().for_each(|logged| history.note(&logged.record));
        if records.len() < READ_COUNT {
            return Ok(history);
        }
    }
}

impl Actor for FileActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.passivate_when_idle(context);
    }
}

impl Passivated for FileActor {
    fn passivation(&mut self) -> &mut Passivation {
        &mut self.passivation
    }
}

/// Every version, in the order of the log.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<VersionInfo>, Problem>")]
pub struct History;

impl Handler<History> for FileActor {
    type Result = AtomicResponse<Self, Result<Vec<VersionInfo>, Problem>>;

    fn handle(&mut self, _: History, _: &mut Self::Context) -> Self::Result {
        self.up_to_date(|history| {
            let info = history.versions().into_iter().map(|(dot, version)| VersionInfo {
                version: dot,
                parents: version.parents.clone(),
                at: version.admitted_at,
                device: version.device,
                bytes: version.content.as_ref().map(|content| content.size),
                content: version.content.as_ref().map(|content| content.id),
                head: history.is_head(dot),
            });
            let info: Vec<VersionInfo> = info.collect();
            if info.is_empty() { Err(Problem::plain(Code::NotFound)) } else { Ok(info) }
        })
    }
}

/// What the file holds at a version.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Content, Problem>")]
pub struct ContentAt(pub Dot);

impl Handler<ContentAt> for FileActor {
    type Result = AtomicResponse<Self, Result<Content, Problem>>;

    fn handle(&mut self, ContentAt(version): ContentAt, _: &mut Self::Context) -> Self::Result {
        self.up_to_date(move |history| {
            let content = history.version(version).and_then(|version| version.content.clone());
            content.ok_or_else(|| {
                Problem::new(Code::NotFound, format!("there is no version {version} of this file"))
            })
        })
    }
}
