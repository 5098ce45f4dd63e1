//! The shell of one connected device: what it may ask of a server, in the order in which others are asked
//! for it. Whoever speaks for a device has shown its token before.

use super::{
    file::{ContentAt, History},
    namespace::{Covered, Covers, Submission, Submit, Summarise},
    node::{Node, Summary, blocking, chunk_problem, log_problem},
    rights::Asker,
    roster::{Passivated, Passivation},
    user::{Holds, Named, RoomFor, Sent},
};
use actix::{Actor, Context, Handler, Message, ResponseFuture};
use annals_engine::{
    admission::{Looked, Refusal, contents_of},
    chunk_store::{
        ChunkStore, Incoming,
        service::{self, TakeInError, TakenIn},
    },
    protocol::{
        BatchOutcome, ChunksStored, ChunksWanted, Code, HeadInfo, MissingAnswer, MissingQuestion, Problem,
        RECORDS_BYTES_MAX, Records, RecordsQuery, Signatures, SignaturesWanted, VersionInfo,
        frame::{self, Framed},
    },
};
use annals_events::{
    Batch, ChunkId, ChunkRef, Content, ContentId, DeviceId, Dot, EntryId, Manifest, NamespaceId, Role, Seq,
    UserId,
    log::{Head, Logged},
};
use serde_bytes::ByteBuf;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One device that is connected.
pub struct SessionActor {
    who: Who,
    passivation: Passivation,
}

/// For whom everything here is asked.
#[derive(Clone)]
struct Who {
    device: DeviceId,
    user: UserId,
    node: Arc<Node>,
}

impl SessionActor {
    /// A session of `device`, which acts for `user`.
    #[must_use]
    pub fn new(device: DeviceId, user: UserId, node: Arc<Node>) -> Self {
        Self { who: Who { device, user, node }, passivation: Passivation::new() }
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.passivate_when_idle(context);
    }
}

impl Passivated for SessionActor {
    fn passivation(&mut self) -> &mut Passivation {
        &mut self.passivation
    }
}

/// Has a message answered by a method of [`Who`]; others are answered meanwhile.
macro_rules! answered {
    ($($message:ident => $method:ident -> $answer:ty;)*) => { $(
        impl Message for $message {
            type Result = Result<$answer, Problem>;
        }

        impl Handler<$message> for SessionActor {
            type Result = ResponseFuture<Result<$answer, Problem>>;

            fn handle(&mut self, message: $message, _: &mut Self::Context) -> Self::Result {
                self.passivation.asked();
                let who = self.who.clone();
                Box::pin(async move { who.$method(message).await })
            }
        }
    )* };
}

answered! {
    FetchRecords => records -> Records;
    FetchHead => head -> Head;
    SubmitBatches => submit -> Vec<BatchOutcome>;
    AskMissing => missing -> MissingAnswer;
    StoreChunks => store -> ChunksStored;
    FetchChunks => fetch -> Vec<u8>;
    FetchSignatures => signatures -> Signatures;
    FetchHistory => history -> Vec<VersionInfo>;
    FetchContent => content -> Content;
}

/// Records after a cursor.
#[derive(Clone, Debug)]
pub struct FetchRecords {
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// The cursor.
    pub query: RecordsQuery,
}

/// How far a namespace is, once all that was admitted there is known here.
#[derive(Clone, Copy, Debug)]
pub struct FetchHead {
    /// Which.
    pub namespace: NamespaceId,
    /// The log that the asker knows.
    pub log: Option<NamespaceId>,
}

/// Batches of this device, as they came.
#[derive(Clone, Debug)]
pub struct SubmitBatches {
    /// For which namespace.
    pub namespace: NamespaceId,
    /// In the device's order.
    pub batches: Arc<Vec<ByteBuf>>,
    /// What the device says that they belong to.
    pub trace: Option<String>,
}

/// What has to be sent.
#[derive(Clone, Debug)]
pub struct AskMissing {
    /// For which namespace.
    pub namespace: NamespaceId,
    /// What the device has.
    pub question: Arc<MissingQuestion>,
}

/// Chunks as they came, unchecked.
#[derive(Clone, Debug)]
pub struct StoreChunks {
    /// For which namespace.
    pub namespace: NamespaceId,
    /// Framed.
    pub body: Vec<u8>,
}

/// Chunks by name.
#[derive(Clone, Debug)]
pub struct FetchChunks {
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// Which, and what the device holds of what they replace.
    pub wanted: Arc<ChunksWanted>,
}

/// Signatures of chunks.
#[derive(Clone, Debug)]
pub struct FetchSignatures {
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// Of which.
    pub wanted: Arc<SignaturesWanted>,
}

/// The versions of a file.
#[derive(Clone, Copy, Debug)]
pub struct FetchHistory {
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// Which.
    pub entry: EntryId,
}

/// What a file holds at a version.
#[derive(Clone, Copy, Debug)]
pub struct FetchContent {
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// Which.
    pub entry: EntryId,
    /// When.
    pub version: Dot,
}

/// What of some chunks and contents may be known to whoever asks.
struct Readable {
    /// Which are named in the namespace, in the order in which they were asked for.
    here: Covered,
    /// Those of the other chunks that the user sent, or may read elsewhere.
    held: BTreeSet<ChunkId>,
}

impl Who {
    /// What is known of a namespace where the user may do what is needed.
    async fn role(&self, namespace: NamespaceId, needed: Role) -> Result<Summary, Problem> {
        let asker = Asker { user: self.user, device: Some(self.device) };
        self.node.allowed(asker, namespace, needed).await.map(|(_, summary)| summary)
    }

    /// The log that is served, unless the asker knows another.
    fn log(&self, known: Option<NamespaceId>) -> Result<NamespaceId, Problem> {
        let log = self.node.directory.read(annals_engine::directory::Directory::id);
        if known.is_none_or(|known| known == log) { Ok(log) } else { Err(Problem::plain(Code::OtherLog)) }
    }

    async fn head(&self, FetchHead { namespace, log }: FetchHead) -> Result<Head, Problem> {
        self.role(namespace, Role::Viewer).await?;
        self.log(log)?;
        // The log knows of an append before the namespace does: its own word is from after that.
        self.node.ask_namespace(namespace, Summarise).await??;
        Ok(self.role(namespace, Role::Viewer).await?.head)
    }

    async fn records(&self, FetchRecords { namespace, query }: FetchRecords) -> Result<Records, Problem> {
        let head = self.role(namespace, Role::Viewer).await?.head;
        let log = self.log(query.log)?;
        if query.after > head.seq {
            let detail =
                format!("the device knows event {}, the server has {} events", query.after, head.seq);
            return Err(Problem::new(Code::ChainMismatch, detail));
        }
        let limit =
            query.limit.map_or(RECORDS_BYTES_MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let limit = limit.min(RECORDS_BYTES_MAX);
        let records = if query.after == Seq(0) {
            self.read(namespace, Seq(0), limit).await?
        } else {
            // The record that ends at the cursor comes along, to be compared with it.
            let mut records = self.read(namespace, Seq(query.after.0 - 1), limit).await?;
            if records.is_empty() || !continues(&records.remove(0), &query) {
                return Err(Problem::plain(Code::ChainMismatch));
            }
            if records.is_empty() && query.after < head.seq {
                records = self.read(namespace, query.after, limit).await?;
            }
            records
        };
        let now = self.node.now_ms();
        for logged in records.iter().filter(|logged| logged.record.batch().header().device != self.device) {
            self.node.meters.handed(now.saturating_sub(logged.record.admission().admitted_at));
        }
        let given = records.last().map_or(query.after, |logged| logged.record.last_seq());
        self.node.heard.gives(namespace, self.device, given);
        let records = records.iter().map(|logged| ByteBuf::from(logged.record.bytes())).collect();
        let wanted = self.node.wanted_of(namespace).await?;
        Ok(Records { log, head: HeadInfo::from(head), records, wanted })
    }

    async fn read(&self, namespace: NamespaceId, after: Seq, limit: usize) -> Result<Vec<Logged>, Problem> {
        self.node.log.read(namespace, after, limit).await.map_err(|error| log_problem(&error))
    }

    async fn submit(&self, message: SubmitBatches) -> Result<Vec<BatchOutcome>, Problem> {
        let SubmitBatches { namespace, batches: sent, trace } = message;
        self.node.known(namespace).await?;
        let mut batches = Vec::new();
        let mut refused = None;
        for bytes in sent.iter() {
            match self.decode(bytes) {
                Ok(batch) => batches.push(batch),
                Err(refusal) => {
                    refused = Some(BatchOutcome::Refused(refusal.to_wire()));
                    break;
                }
            }
        }
        let mut outcomes = Vec::new();
        let whole = batches.len();
        if whole > 0 {
            // What is stored now is stored when the batches are judged.
            let _upload = self.node.uploads.read().await;
            let submission = Submission { trace, ..self.look_up(namespace, batches).await? };
            let named = Arc::new(submission.looked.held.clone());
            outcomes = self.node.ask_namespace(namespace, Submit(Arc::new(submission))).await??;
            let all = outcomes.len() == whole && !matches!(outcomes.last(), Some(BatchOutcome::Refused(_)));
            if all && !named.is_empty() {
                self.node.ask_user(self.user, Named(named)).await?;
            }
            if !all {
                return Ok(outcomes);
            }
        }
        outcomes.extend(refused);
        Ok(outcomes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Batch, Refusal> {
        let batch = Batch::decode(bytes.to_vec())?;
        let author = batch.header().device;
        if author == self.device {
            Ok(batch)
        } else {
            Err(Refusal::OtherDevice { author, sender: self.device })
        }
    }

    /// What has to be known about batches before they can be judged.
    async fn look_up(&self, namespace: NamespaceId, batches: Vec<Batch>) -> Result<Submission, Problem> {
        let contents: BTreeMap<ContentId, Content> =
            batches.iter().flat_map(contents_of).map(|content| (content.id, content)).collect();
        let owner =
            self.node.directory.read(|directory| directory.namespace(namespace).map(|state| state.owner));
        let owner = owner.ok_or(Code::UnknownNamespace)?;
        // From here on it is known what all of the owner's namespaces hold; how much room that leaves is judged when
        // it is each batch's turn.
        self.node.ask_user(owner, RoomFor(Some(namespace))).await??;
        let mut submission = Submission { batches, looked: Looked::default(), trace: None };
        if contents.is_empty() {
            return Ok(submission);
        }
        self.read_manifests(&contents, &mut submission.looked).await?;
        let roots =
            contents.values().flat_map(|content| content.roots().map(|chunk| chunk.id).collect::<Vec<_>>());
        let named: BTreeSet<ChunkId> =
            roots.chain(submission.looked.listed.values().flatten().copied()).collect();
        let chunks = Arc::new(named.into_iter().collect::<Vec<_>>());
        submission.looked.held = self.readable(namespace, &chunks, Vec::new()).await?.held;
        // Whatever anybody remembers: a chunk that is not stored is sent (again) before an event names it (I4).
        let store = Arc::clone(&self.node.chunks);
        let absent = blocking(move || store.missing(&chunks).map_err(|error| chunk_problem(&error)));
        submission.looked.absent = absent.await?.into_iter().collect();
        Ok(submission)
    }

    async fn read_manifests(
        &self,
        contents: &BTreeMap<ContentId, Content>,
        looked: &mut Looked,
    ) -> Result<(), Problem> {
        let with_manifest: Vec<Content> =
            contents.values().filter(|content| content.manifest.is_some()).cloned().collect();
        if with_manifest.is_empty() {
            return Ok(());
        }
        let store = Arc::clone(&self.node.chunks);
        let read = blocking(move || {
            with_manifest
                .into_iter()
                .map(|content| Ok((content.id, manifest_of(&*store, &content)?)))
                .collect()
        });
        let read: Vec<(ContentId, ManifestRead)> = read.await?;
        for (id, manifest) in read {
            match manifest {
                ManifestRead::Absent => {}
                ManifestRead::Lists(listed) => drop(looked.listed.insert(id, listed)),
                ManifestRead::OfAnother => drop(looked.broken.insert(id)),
            }
        }
        Ok(())
    }

    async fn missing(&self, message: AskMissing) -> Result<MissingAnswer, Problem> {
        let AskMissing { namespace, question } = message;
        let summary = self.role(namespace, Role::Editor).await?;
        room_for(&self.node, namespace, &summary, question.adds).await?;
        let chunks: Arc<Vec<ChunkId>> = Arc::new(question.chunks.iter().map(|chunk| chunk.id).collect());
        let Readable { here, held } = self.readable(namespace, &chunks, question.manifests.clone()).await?;
        let absent = |here: &[bool]| -> Vec<u32> {
            (0u32..).zip(here).filter(|(_, here)| !**here).map(|(i, _)| i).collect()
        };
        let lost = self.lost(&chunks, &here.chunks).await?;
        let known: Vec<bool> = chunks
            .iter()
            .zip(&here.chunks)
            .map(|(id, here)| *here && !lost.contains(id) || held.contains(id))
            .collect();
        Ok(MissingAnswer { chunks: absent(&known), manifests: absent(&here.manifests) })
    }

    /// Those of the chunks that events here name and that are not stored: a server that was put back to an older copy
    /// lost them.
    async fn lost(&self, chunks: &[ChunkId], here: &[bool]) -> Result<BTreeSet<ChunkId>, Problem> {
        let named: Vec<ChunkId> =
            chunks.iter().zip(here).filter(|(_, here)| **here).map(|(id, _)| *id).collect();
        if named.is_empty() {
            return Ok(BTreeSet::new());
        }
        let store = Arc::clone(&self.node.chunks);
        let missing = move || store.missing(&named).map_err(|error| chunk_problem(&error));
        Ok(blocking(missing).await?.into_iter().collect())
    }

    async fn store(&self, StoreChunks { namespace, body }: StoreChunks) -> Result<ChunksStored, Problem> {
        let summary = self.role(namespace, Role::Editor).await?;
        self.node.meters.received(body.len());
        let framed = blocking(move || {
            frame::decode_all(body).map_err(|error| Problem::new(Code::BadRequest, error.to_string()))
        });
        let framed = framed.await?;
        let plain = framed.iter().map(|framed| u64::from(framed.plain_bytes())).sum();
        let bases = framed.iter().flat_map(|framed| match framed {
            Framed::Whole(_) => &[][..],
            Framed::Delta(delta) => &delta.bases,
        });
        let readable = self.known_of(namespace, bases.copied().collect()).await?;
        let store = Arc::clone(&self.node.chunks);
        let taken = blocking(move || {
            service::take_in(&*store, framed, &|id| readable.contains(id)).map_err(|error| match error {
                TakeInError::Chunk(error) => Problem::new(Code::ChunkMismatch, error.to_string()),
                TakeInError::Store(error) => chunk_problem(&error),
            })
        });
        let TakenIn { chunks, again } = taken.await?;
        room_for(&self.node, namespace, &summary, plain).await?;
        let ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.whole.id).collect();
        let stored = keep(&self.node, self.user, chunks).await?;
        self.node.arrived(namespace, &ids);
        Ok(ChunksStored { again, ..stored })
    }

    /// What the user may know of these: because it is named in this namespace or in another, or because they sent it.
    async fn readable(
        &self,
        namespace: NamespaceId,
        chunks: &Arc<Vec<ChunkId>>,
        manifests: Vec<(ContentId, ChunkRef)>,
    ) -> Result<Readable, Problem> {
        let question = Covers { chunks: Arc::clone(chunks), manifests: Arc::new(manifests) };
        let here = self.node.ask_namespace(namespace, question).await??;
        let elsewhere = chunks.iter().zip(&here.chunks).filter(|(_, here)| !**here);
        let elsewhere: Vec<ChunkId> = elsewhere.map(|(id, _)| *id).collect();
        let held = if elsewhere.is_empty() {
            BTreeSet::new()
        } else {
            let question = Holds { chunks: Arc::new(elsewhere), beside: namespace };
            self.node.ask_user(self.user, question).await??
        };
        Ok(Readable { here, held })
    }

    /// Those of `chunks` that are [readable](Self::readable).
    async fn known_of(
        &self,
        namespace: NamespaceId,
        chunks: BTreeSet<ChunkId>,
    ) -> Result<BTreeSet<ChunkId>, Problem> {
        if chunks.is_empty() {
            return Ok(chunks);
        }
        let asked = Arc::new(chunks.into_iter().collect::<Vec<_>>());
        let Readable { here, mut held } = self.readable(namespace, &asked, Vec::new()).await?;
        held.extend(asked.iter().zip(here.chunks).filter(|(_, here)| *here).map(|(id, _)| id));
        Ok(held)
    }

    async fn fetch(&self, FetchChunks { namespace, wanted }: FetchChunks) -> Result<Vec<u8>, Problem> {
        self.role(namespace, Role::Viewer).await?;
        let chunks = Arc::new(wanted.chunks.clone());
        let here = Covers { chunks: Arc::clone(&chunks), manifests: Arc::default() };
        let covered = self.node.ask_namespace(namespace, here).await??.chunks;
        if let Some(at) = covered.iter().position(|here| !here) {
            return Err(Problem::new(Code::ChunkUnknown, format!("chunk {} is not known here", chunks[at])));
        }
        let bases = wanted.bases.iter().flat_map(|(_, bases)| bases).copied().collect();
        let readable = self.known_of(namespace, bases).await?;
        let store = Arc::clone(&self.node.chunks);
        let first = chunks.first().copied().zip(wanted.content);
        let framed =
            blocking(move || frames_of(&*store, &wanted, &readable)).await.inspect_err(|problem| {
                if let (Code::ChunkUnknown, Some((chunk, content))) = (problem.code, first) {
                    self.node.is_wanted(namespace, chunk, content);
                }
            })?;
        self.node.meters.sent(framed.len());
        Ok(framed)
    }

    async fn signatures(
        &self,
        FetchSignatures { namespace, wanted }: FetchSignatures,
    ) -> Result<Signatures, Problem> {
        self.role(namespace, Role::Editor).await?;
        let readable = self.known_of(namespace, wanted.bases.iter().flatten().copied().collect()).await?;
        let store = Arc::clone(&self.node.chunks);
        let made = blocking(move || {
            service::signatures(&*store, &wanted, &|id| readable.contains(id))
                .map_err(|error| chunk_problem(&error))
        });
        made.await
    }

    async fn history(
        &self,
        FetchHistory { namespace, entry }: FetchHistory,
    ) -> Result<Vec<VersionInfo>, Problem> {
        self.role(namespace, Role::Viewer).await?;
        self.node.ask_file(namespace, entry, History).await?
    }

    async fn content(&self, message: FetchContent) -> Result<Content, Problem> {
        let FetchContent { namespace, entry, version } = message;
        self.role(namespace, Role::Viewer).await?;
        self.node.ask_file(namespace, entry, ContentAt(version)).await?
    }
}

/// Whether the owner's quota has room for `adds` more bytes.
///
/// # Errors
/// [`Code::Quota`].
pub async fn room_for(
    node: &Arc<Node>,
    namespace: NamespaceId,
    summary: &Summary,
    adds: u64,
) -> Result<(), Problem> {
    if adds == 0 {
        return Ok(());
    }
    let owner = node.directory.read(|directory| directory.namespace(namespace).map(|state| state.owner));
    let owner = owner.ok_or(Code::UnknownNamespace)?;
    let room = node.ask_user(owner, RoomFor(Some(namespace))).await??;
    let used = summary.used.max(room.used_here);
    match room.here {
        Some(here) if used.saturating_add(adds) > here => {
            let left = here.saturating_sub(used);
            let detail = format!("{adds} bytes would be added, the owner's quota leaves {left}");
            Err(Problem::new(Code::Quota, detail))
        }
        _ => Ok(()),
    }
}

/// Whether the cursor's record is the one that the log has there.
fn continues(logged: &Logged, query: &RecordsQuery) -> bool {
    let admission = logged.record.admission();
    let chain = query.chain.unwrap_or_default();
    logged.record.last_seq() == query.after && admission.chain == chain && admission.epoch == query.epoch
}

/// What became of reading a manifest.
enum ManifestRead {
    /// It is not stored.
    Absent,
    /// It lists these.
    Lists(Vec<ChunkId>),
    /// It is the manifest of something else, or none.
    OfAnother,
}

fn manifest_of(store: &dyn ChunkStore, content: &Content) -> Result<ManifestRead, Problem> {
    let Some(root) = content.manifest else { return Ok(ManifestRead::Absent) };
    let Some(sealed) = store.get(&root.id).map_err(|error| chunk_problem(&error))? else {
        return Ok(ManifestRead::Absent);
    };
    let manifest = sealed.open().ok().and_then(|bytes| Manifest::decode(&bytes, content).ok());
    Ok(manifest.map_or(ManifestRead::OfAnother, |manifest| {
        ManifestRead::Lists(manifest.chunks.iter().map(|chunk| chunk.id).collect())
    }))
}

/// Stores chunks that `user` sent, and sees to it that nobody takes them away before an event names them.
///
/// # Errors
/// When the store fails.
pub async fn keep(node: &Arc<Node>, user: UserId, chunks: Vec<Incoming>) -> Result<ChunksStored, Problem> {
    let ids = Arc::new(chunks.iter().map(|chunk| chunk.whole.id).collect::<Vec<_>>());
    let keeper = Arc::clone(node);
    // Until it is noted as sent, nothing of it may be collected.
    let _upload = node.uploads.read().await;
    let put = move || keeper.chunks.take(&chunks).map_err(|error| chunk_problem(&error));
    let new = blocking(put).await?;
    node.meters.stored(new.plain_bytes, new.stored_bytes);
    node.ask_user(user, Sent(ids)).await?;
    Ok(ChunksStored { new: new.chunks, new_bytes: new.stored_bytes, again: Vec::new() })
}

/// As many of the chunks as an answer holds, at least one.
fn frames_of(
    store: &dyn ChunkStore,
    wanted: &ChunksWanted,
    readable: &BTreeSet<ChunkId>,
) -> Result<Vec<u8>, Problem> {
    let frames = service::hand_out(store, wanted, &|id| readable.contains(id))
        .map_err(|error| chunk_problem(&error))?;
    if let (true, Some(id)) = (frames.is_empty(), wanted.chunks.first()) {
        return Err(Problem::new(Code::ChunkUnknown, format!("chunk {id} is lost")));
    }
    Ok(frame::encode_all(&frames))
}
