//! A namespace asked by path: for those who have an account and no linked folder.
//!
//! What they do is said by a device that the server keeps for each of them, linked like any other when it is first
//! needed: its key follows from the server's, so it needs no place of its own. Admission judges it as it judges every
//! device: by the person's role, their quota, the chunks that are there. It has seen all there is, and says so as
//! often as the others do, so that nothing waits for it to be forgotten.

use super::{
    namespace::{NamespaceActor, State, Submission, go_on, judged, statement_of, submit},
    node::{Node, blocking, chunk_problem},
};
use crate::random::random;
use actix::{AtomicResponse, Handler, Message};
use annals_engine::{
    admission::{Facts, Looked},
    filing::{self, FilingError},
    namespace::{Issued, Namespace, issue},
    protocol::{BatchOutcome, Code, FileInfo, Problem},
};
use annals_events::{
    ChunkId, Content, DeviceId, Dot, EntryId, EntryKind, Fact, Hash, NamespaceId, PublicKey, UserId,
};
use ed25519_dalek::SigningKey;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What people see such a device called.
const LABEL: &str = "HTTP";

/// Which version has to be there for something to be done.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Condition {
    /// One of these is shown; empty: any.
    pub is: Option<Vec<String>>,
    /// None of these is shown; empty: nothing at all is.
    pub is_not: Option<Vec<String>>,
}

impl Condition {
    /// Whether `shown` is what was asked for.
    #[must_use]
    pub fn holds(&self, shown: Option<Dot>) -> bool {
        let among = |wanted: &[String]| match shown {
            Some(version) => wanted.is_empty() || wanted.contains(&version.to_string()),
            None => false,
        };
        self.is.as_deref().is_none_or(among) && !self.is_not.as_deref().is_some_and(among)
    }

    fn check(&self, shown: Option<Dot>) -> Result<(), Problem> {
        if self.holds(shown) { Ok(()) } else { Err(Problem::plain(Code::Precondition)) }
    }
}

/// What is under a path.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Filed, Problem>")]
pub struct Look(pub Arc<str>);

/// The answer to [`Look`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filed {
    /// A file.
    File {
        /// Which.
        entry: EntryId,
        /// Which version of it is shown.
        version: Dot,
        /// Its modification time, in nanoseconds since 1970.
        mtime: Option<i64>,
    },
    /// What is in a folder.
    Folder(Vec<FileInfo>),
}

impl Handler<Look> for NamespaceActor {
    type Result = AtomicResponse<Self, Result<Filed, Problem>>;

    fn handle(&mut self, Look(path): Look, context: &mut Self::Context) -> Self::Result {
        self.lend(context, |namespace, _| async move {
            let filed = look(&namespace, &path);
            (namespace, filed)
        })
    }
}

fn look(namespace: &Namespace, path: &str) -> Result<Filed, Problem> {
    let log = namespace.projections();
    let shown = filing::find(log, path).map_err(problem)?;
    if shown.kind == EntryKind::Folder {
        let lines = log.list(&shown.entries).into_iter().map(|line| {
            let version = line.heads.first().copied();
            let entry = log.entry(line.entries[0]);
            FileInfo {
                name: line.name,
                kind: line.kind,
                version,
                bytes: version.and_then(|version| log.version(version)).map(|version| version.size),
                mtime: entry.and_then(|entry| entry.mtime),
            }
        });
        return Ok(Filed::Folder(lines.collect()));
    }
    let (entry, version) = filing::find_file(log, path).map_err(problem)?;
    Ok(Filed::File { entry, version, mtime: log.entry(entry).and_then(|entry| entry.mtime) })
}

/// Puts a content, whose chunks are stored, under a path.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Put, Problem>")]
pub struct PutFile {
    /// For whom.
    pub user: UserId,
    /// What they are called.
    pub user_name: String,
    /// Where.
    pub path: Arc<str>,
    /// Unless something else is there.
    pub condition: Condition,
    /// What.
    pub content: Content,
    /// Its chunks, all of them.
    pub chunks: Arc<Vec<ChunkId>>,
}

/// The answer to [`PutFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put {
    /// The version that is shown now.
    pub version: Dot,
    /// Whether there was nothing before.
    pub created: bool,
}

impl Handler<PutFile> for NamespaceActor {
    type Result = AtomicResponse<Self, Result<Put, Problem>>;

    fn handle(&mut self, wish: PutFile, context: &mut Self::Context) -> Self::Result {
        self.lend(context, |mut namespace, node| async move {
            let put = put(&mut namespace, &node, wish).await;
            (namespace, put)
        })
    }
}

async fn put(namespace: &mut Namespace, node: &Arc<Node>, wish: PutFile) -> Result<Put, Problem> {
    let before = shown(namespace, &wish.path);
    wish.condition.check(before)?;
    go_on(namespace, node).await?;
    let person = Person { user: wish.user, name: wish.user_name };
    let key = linked(namespace, node, &person).await?;
    let (device, next) = next_of(namespace, &key);
    let mtime = i64::try_from(node.now_ms() * 1_000_000).unwrap_or(i64::MAX);
    let (id, manifest) = (wish.content.id, wish.content.manifest);
    let held = wish.chunks.iter().copied().chain(manifest.map(|chunk| chunk.id)).collect();
    let issued = filing::putting(namespace.projections(), &wish.path, wish.content, mtime, device, next);
    let issued = issued.map_err(problem)?;
    let Some(last) = issued.len().checked_sub(1) else {
        return Ok(Put { version: before.expect("what is there already is shown"), created: false });
    };
    let listed = manifest.map(|_| (id, wish.chunks.to_vec()));
    say(namespace, node, &key, issued, held, listed.into_iter().collect()).await?;
    Ok(Put { version: Dot::new(device, next + last as u64), created: before.is_none() })
}

/// Removes the file or the folder under a path.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), Problem>")]
pub struct RemoveFile {
    /// For whom.
    pub user: UserId,
    /// What they are called.
    pub user_name: String,
    /// Where.
    pub path: Arc<str>,
    /// Unless something else is there.
    pub condition: Condition,
}

impl Handler<RemoveFile> for NamespaceActor {
    type Result = AtomicResponse<Self, Result<(), Problem>>;

    fn handle(&mut self, wish: RemoveFile, context: &mut Self::Context) -> Self::Result {
        self.lend(context, |mut namespace, node| async move {
            let removed = remove(&mut namespace, &node, wish).await;
            (namespace, removed)
        })
    }
}

async fn remove(namespace: &mut Namespace, node: &Arc<Node>, wish: RemoveFile) -> Result<(), Problem> {
    let issued = filing::removing(namespace.projections(), &wish.path).map_err(problem)?;
    wish.condition.check(shown(namespace, &wish.path))?;
    go_on(namespace, node).await?;
    let person = Person { user: wish.user, name: wish.user_name };
    let key = linked(namespace, node, &person).await?;
    say(namespace, node, &key, vec![issued], BTreeSet::new(), BTreeMap::new()).await
}

fn shown(namespace: &Namespace, path: &str) -> Option<Dot> {
    filing::find_file(namespace.projections(), path).ok().map(|(_, version)| version)
}

/// What stands in the way, as it is said to those who asked.
fn problem(error: FilingError) -> Problem {
    let code = match error {
        FilingError::Missing { .. } => Code::NotFound,
        FilingError::NotAFile { .. } => Code::NotAFile,
        FilingError::Name { .. } => Code::BadName,
        FilingError::Reserved { .. } => Code::ReservedName,
        FilingError::Conflict { .. } => Code::InConflict,
        FilingError::TooMuch { .. } | FilingError::TooDeep { .. } => Code::TooLarge,
    };
    let problem = Problem::new(code, error.to_string());
    match code {
        Code::NotFound => Problem { hint: NOT_FOUND.into(), ..problem },
        _ => problem,
    }
}

/// What to do where nothing is.
const NOT_FOUND: &str = "check the spelling; a GET of its folder lists what is there: annals get URL/v1/namespaces/NS/files/FOLDER/ - --user NAME";

// --- the device that says it ---------------------------------------------------------------------------------------

/// For whom something is done.
struct Person {
    user: UserId,
    name: String,
}

/// The key of the `nth` device that the server keeps for `user` in a namespace.
fn key_of(node: &Node, namespace: NamespaceId, user: UserId, nth: u64) -> SigningKey {
    let parts: [&[u8]; 4] = [&node.keys.current().to_bytes(), &namespace.0, &user.0, &nth.to_be_bytes()];
    SigningKey::from_bytes(&Hash::of(b"annals files device\0", &parts).0)
}

fn device_of(key: &SigningKey) -> (PublicKey, DeviceId) {
    let public = PublicKey(key.verifying_key().to_bytes());
    (public, DeviceId::of_key(&public))
}

/// The device that says what `user` does: the first one that nobody has retired.
fn current(namespace: &Namespace, node: &Node, user: UserId) -> (SigningKey, bool) {
    let log = namespace.projections();
    for nth in 0.. {
        let key = key_of(node, log.namespace(), user, nth);
        match log.devices().get(device_of(&key).1) {
            Some(state) if state.retired_last.is_some() => {}
            state => return (key, state.is_some_and(|state| state.linked)),
        }
    }
    unreachable!("devices are retired one by one")
}

/// The same, linked at need.
async fn linked(namespace: &mut Namespace, node: &Arc<Node>, person: &Person) -> Result<SigningKey, Problem> {
    let (key, is_linked) = current(namespace, node, person.user);
    if !is_linked {
        let linked = State::Linked {
            key: device_of(&key).0,
            user: person.user,
            user_name: person.name.clone(),
            label: LABEL.into(),
            continues: None,
        };
        if let Some(issued) = statement_of(namespace, node, linked)? {
            let batch = namespace.issue(node.now_ms(), vec![issued]);
            judged(submit(namespace, node, batch, Facts::default()).await)?;
        }
    }
    Ok(key)
}

fn next_of(namespace: &Namespace, key: &SigningKey) -> (DeviceId, u64) {
    let device = device_of(key).1;
    let last = namespace.projections().devices().get(device).map_or(0, |state| state.last_counter);
    (device, last + 1)
}

/// Says `issued` as the device of that key, with salt, and has it judged as any device is.
async fn say(
    namespace: &mut Namespace,
    node: &Arc<Node>,
    key: &SigningKey,
    mut issued: Vec<Issued>,
    held: BTreeSet<ChunkId>,
    listed: BTreeMap<annals_events::ContentId, Vec<ChunkId>>,
) -> Result<(), Problem> {
    issued.iter_mut().filter_map(|issued| issued.body.as_mut()).for_each(|body| body.salt = random());
    let batch = issue(namespace.projections(), key, node.now_ms(), issued);
    let (store, asked) = (Arc::clone(&node.chunks), held.iter().copied().collect::<Vec<_>>());
    let absent = blocking(move || store.missing(&asked).map_err(|error| chunk_problem(&error))).await?;
    let absent = absent.into_iter().collect();
    let submission = Submission {
        batches: vec![batch],
        looked: Looked { held, absent, listed, ..Looked::default() },
        trace: None,
    };
    match super::namespace::admit(namespace, node, &submission, &submission.batches[0]).await? {
        BatchOutcome::Refused(refused) => Err(Problem::new(refused.code, refused.message)),
        BatchOutcome::Admitted { .. } | BatchOutcome::AlreadyAdmitted { .. } => Ok(()),
    }
}

/// After a device said how far it is: so are those that the server keeps.
pub(super) async fn acknowledge(namespace: &mut Namespace, node: &Arc<Node>) {
    let users: BTreeSet<UserId> = namespace.projections().access().members().map(|(user, ..)| user).collect();
    for user in users {
        let (key, is_linked) = current(namespace, node, user);
        if !is_linked {
            continue;
        }
        let fact = Fact::Acknowledged { seq: namespace.projections().head().seq };
        let issued = vec![Issued { fact, body: None }];
        if let Err(problem) = say(namespace, node, &key, issued, BTreeSet::new(), BTreeMap::new()).await {
            tracing::warn!(%problem, "a device of the server's did not say how far it is");
        }
    }
}
