//! The server at the other end: the production [`Namespace`] over the twins of log and chunk store, and the
//! few lines of shell that the real one has in actors.
//!
//! It can be put back to an older copy of itself, noticing that by itself or not. A crash takes its memory: what the log adds up to is folded again, chunks that were sent and are named by no
//! event yet are asked for again. Left out: accounts, tokens, quotas and other namespaces.

use crate::{chunk_store::TwinChunks, clock::MachineClock, log::TwinLog, log::now, random::Random};
use annals_engine::{
    admission::{Facts, contents_of},
    chunk_store::{
        ChunkStore, ChunkStoreError,
        service::{self, TakeInError, TakenIn},
    },
    clock::Clock,
    content::SealedChunk,
    namespace::{Effect, Input, Issued, Namespace, Outcome, Wanted, first_batch},
    protocol::{
        BatchOutcome, Batches, ChunksStored, ChunksWanted, Code, HandBack, HandedBack, HeadInfo,
        MissingAnswer, MissingQuestion, Outcomes, Problem, RECORDS_BYTES_MAX, Records, RecordsQuery,
        Signatures, SignaturesWanted, frame::Framed,
    },
};
use annals_events::{
    Batch, Body, ChunkId, ContentId, DeviceId, Fact, Hash, Manifest, NamespaceId, PublicKey, Record, Seq,
    UserId,
    log::{EventLog, LogError, Logged},
};
use annals_projections::Projections;
use ed25519_dalek::SigningKey;
use serde_bytes::ByteBuf;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a server was at some moment.
pub struct Backup {
    records: Vec<Logged>,
    chunks: Vec<SealedChunk>,
    keys: Vec<SigningKey>,
}

/// A server with one namespace.
pub struct TwinServer {
    id: NamespaceId,
    /// What it signs with.
    key: SigningKey,
    /// What it signed with before.
    former: Vec<SigningKey>,
    /// How many keys it ever had, in this copy and others.
    keys: u64,
    /// How often it was put back to an older copy.
    put_back: u64,
    clock: MachineClock,
    log: TwinLog,
    chunks: TwinChunks,
    namespace: Namespace,
    /// Sent, and not named by an event yet.
    sent: BTreeSet<ChunkId>,
    /// Lost, and waited for.
    wanted: RefCell<Wanted>,
    /// Whether the log's disk lost its power: nothing works until the restart.
    down: bool,
    evidence: u64,
}

impl TwinServer {
    /// A server whose namespace begins here, owned by `owner`.
    #[must_use]
    pub fn new(id: NamespaceId, key: SigningKey, clock: MachineClock, owner: UserId) -> Self {
        let mut server = Self {
            id,
            clock,
            log: TwinLog::new(id.0),
            chunks: TwinChunks::default(),
            namespace: Namespace::new(id, key.clone()),
            key,
            former: Vec::new(),
            keys: 1,
            put_back: 0,
            sent: BTreeSet::new(),
            wanted: RefCell::default(),
            down: false,
            evidence: 0,
        };
        let body = Body { label: Some("home".into()), ..Body::default() };
        let fact = Fact::NamespaceCreated { owner, server: public(&server.key) };
        let first = vec![Issued { fact, body: Some(body) }];
        let batch = first_batch(id, &server.key, server.clock.now_ms(), first);
        server.say(batch);
        server
    }

    /// Links a device of `user`.
    pub fn link(&mut self, key: PublicKey, user: UserId, label: &str) {
        let body = Body { label: Some(label.into()), user_name: Some("person".into()), ..Body::default() };
        let fact = Fact::DeviceLinked { key, user, continues: None };
        let batch = self.namespace.issue(self.clock.now_ms(), vec![Issued { fact, body: Some(body) }]);
        self.say(batch);
    }

    fn say(&mut self, batch: Batch) {
        let outcome = self.admit(batch, Facts::default());
        assert!(matches!(outcome, Outcome::Admitted(_)), "a server's own batch: {outcome:?}");
    }

    /// The namespace.
    #[must_use]
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// What the log adds up to.
    #[must_use]
    pub fn projections(&self) -> &Projections {
        self.namespace.projections()
    }

    /// Every record, in order.
    #[must_use]
    pub fn records_all(&self) -> Vec<Logged> {
        self.read(Seq(0), usize::MAX).expect("its disk works")
    }

    /// The stored chunks.
    #[must_use]
    pub fn chunks(&self) -> &TwinChunks {
        &self.chunks
    }

    /// How many batches came under a dot that was used for another.
    #[must_use]
    pub fn evidence(&self) -> u64 {
        self.evidence
    }

    /// The power goes within the next few writes.
    pub fn cut_power_soon(&mut self, random: &mut Random) {
        self.log.cut_power_soon(random);
    }

    /// The machine goes down and comes up.
    pub fn restart(&mut self, random: &mut Random) {
        self.log.crash(random);
        self.down = false;
        self.sent.clear();
        self.wanted.take();
        self.namespace = Namespace::new(self.id, self.key.clone());
        let records = self.records_all();
        self.namespace.replay(&records).expect("what was admitted folds again");
        // Its power may have gone before it could say so.
        self.go_on();
    }

    /// A copy of all that is on its disks.
    #[must_use]
    pub fn backup(&self) -> Backup {
        let ids = self.chunks.ids(None, usize::MAX).expect("it is in memory");
        let chunks = ids.iter().filter_map(|id| self.chunks.get(id).expect("it is in memory")).collect();
        let keys = self.former.iter().chain([&self.key]).cloned().collect();
        Backup { records: self.records_all(), chunks, keys }
    }

    /// Puts it back to what it was; `notices`: its guard tells it so.
    ///
    /// # Panics
    /// Where the copy is none.
    pub fn put_back(&mut self, backup: &Backup, notices: bool) {
        self.log = TwinLog::new(self.id.0);
        for logged in &backup.records {
            let expected = Seq(logged.record.seq().0 - 1);
            now(self.log.log().append(expected, Arc::clone(&logged.record))).expect("it was in a log");
        }
        self.chunks = TwinChunks::default();
        self.chunks.put_all(&backup.chunks).expect("it is in memory");
        self.former = backup.keys.clone();
        self.key = self.former.pop().expect("it has a key");
        self.sent.clear();
        self.wanted.take();
        self.down = false;
        self.put_back += 1;
        self.namespace = Namespace::new(self.id, self.key.clone());
        self.namespace.replay(&self.records_all()).expect("what was admitted folds again");
        if notices {
            self.take_new_key();
        }
    }

    /// How often it was put back to an older copy.
    #[must_use]
    pub fn times_put_back(&self) -> u64 {
        self.put_back
    }

    fn take_new_key(&mut self) {
        let secret = Hash::of(b"key\0", &[&self.id.0, &self.keys.to_be_bytes()]);
        self.keys += 1;
        let key = SigningKey::from_bytes(&secret.0);
        self.former.push(std::mem::replace(&mut self.key, key));
        self.go_on();
    }

    /// Opens the epoch of its key, if it has not.
    fn go_on(&mut self) {
        let now_ms = self.clock.now_ms();
        if let Some(opening) = self.namespace.take_key(self.key.clone(), &self.former, now_ms) {
            self.admit(opening, Facts::default());
        }
    }

    /// Whether it waits to be started again.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.down
    }

    fn read(&self, after: Seq, bytes_max: usize) -> Result<Vec<Logged>, LogError> {
        now(self.log.log().read(self.id, after, bytes_max))
    }

    fn admit(&mut self, batch: Batch, facts: Facts) -> Outcome {
        self.feed(Input::Submit { batch, facts })
    }

    fn feed(&mut self, mut input: Input) -> Outcome {
        loop {
            let (mut outcome, mut next) = (None, None);
            for effect in self.namespace.step(self.clock.now_ms(), input) {
                match effect {
                    Effect::Find(dot) => next = Some(Input::Found(now(self.log.log().find(self.id, dot)))),
                    Effect::Append { expected, record } => {
                        let done = now(self.log.log().append(expected, record));
                        self.down |= done.is_err();
                        next = Some(Input::Appended(done));
                    }
                    Effect::CatchUp { after } => next = Some(Input::CaughtUp(self.read(after, usize::MAX))),
                    Effect::KeepEvidence { .. } => self.evidence += 1,
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

    // --- what devices ask ----------------------------------------------------------------------------------

    /// See [`annals_engine::transport::Transport::records`].
    ///
    /// # Errors
    /// [`Problem`].
    pub fn records(&self, query: &RecordsQuery) -> Result<Records, Problem> {
        let head = self.projections().head();
        if query.log.is_some_and(|log| log != self.id) {
            return Err(Problem::plain(Code::OtherLog));
        }
        let limit = query.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let limit = limit.min(RECORDS_BYTES_MAX);
        let read = |after: Seq| self.read(after, limit).map_err(|error| unavailable(&error));
        let mut records = if query.after > Seq(0) { read(Seq(query.after.0 - 1))? } else { Vec::new() };
        if query.after > Seq(0) {
            let continues = records.first().is_some_and(|logged| {
                let admission = logged.record.admission();
                logged.record.last_seq() == query.after
                    && query.chain == Some(admission.chain)
                    && query.epoch == admission.epoch
            });
            if !continues {
                return Err(Problem::plain(Code::ChainMismatch));
            }
            records.remove(0);
        }
        if records.is_empty() && query.after < head.seq {
            records = read(query.after)?;
        }
        let records = records.iter().map(|logged| ByteBuf::from(logged.record.bytes())).collect();
        let mut wanted = self.wanted.borrow_mut();
        let asked = wanted.chunks();
        let missing = self.chunks.missing(&asked).expect("it is in memory");
        let wanted = wanted.left(&asked, &missing);
        Ok(Records { log: self.id, head: HeadInfo::from(head), records, wanted })
    }

    /// See [`annals_engine::transport::Transport::submit`]; `sender` is whose token was shown.
    ///
    /// # Errors
    /// [`Problem`].
    pub fn submit(&mut self, sender: DeviceId, batches: &Batches) -> Result<Outcomes, Problem> {
        let mut outcomes = Vec::new();
        for bytes in &batches.batches {
            let batch = Batch::decode(bytes.to_vec())
                .map_err(|error| Problem::new(Code::BatchMalformed, error.to_string()))?;
            assert_eq!(batch.header().device, sender, "devices send their own batches");
            let facts = self.facts(&batch)?;
            let outcome = match self.admit(batch, facts) {
                Outcome::Admitted(record) => BatchOutcome::Admitted { record: ByteBuf::from(record.bytes()) },
                Outcome::Again(record) => {
                    BatchOutcome::AlreadyAdmitted { record: ByteBuf::from(record.bytes()) }
                }
                Outcome::Refused(refusal) => BatchOutcome::Refused(refusal.to_wire()),
                Outcome::Failed(error) if outcomes.is_empty() => return Err(unavailable(&error)),
                Outcome::Failed(_) => break,
            };
            let stop = matches!(outcome, BatchOutcome::Refused(_));
            outcomes.push(outcome);
            if stop {
                break;
            }
        }
        Ok(Outcomes { outcomes })
    }

    /// See [`annals_engine::transport::Transport::hand_back`].
    ///
    /// # Errors
    /// [`Problem`].
    pub fn hand_back(&mut self, lost: &HandBack) -> Result<HandedBack, Problem> {
        let mut answer = HandedBack { welcome: true, ..HandedBack::default() };
        for bytes in &lost.records {
            let record = Record::decode(bytes.to_vec())
                .map_err(|error| Problem::new(Code::BatchMalformed, error.to_string()))?;
            let own: Vec<PublicKey> = self.former.iter().chain([&self.key]).map(public).collect();
            if !self.namespace.believes(&record, &own) {
                return Err(Problem::plain(Code::OtherLog));
            }
            if self.namespace.has_lost(&record) {
                self.take_new_key();
            }
            let events = record.batch().events().len() as u64;
            match self.feed(Input::HandedBack { record: Arc::new(record) }) {
                Outcome::Admitted(_) => answer.taken += events,
                Outcome::Again(_) => answer.known += events,
                Outcome::Refused(refusal) => drop(answer.refused.get_or_insert(refusal.to_wire())),
                Outcome::Failed(error) => return Err(unavailable(&error)),
            }
        }
        Ok(answer)
    }

    fn facts(&mut self, batch: &Batch) -> Result<Facts, Problem> {
        let (mut missing, mut broken) = (BTreeSet::new(), BTreeSet::new());
        for content in contents_of(batch) {
            let listed = match content.manifest {
                None => Vec::new(),
                Some(root) => match self.opened(root.id)?.map(|bytes| Manifest::decode(&bytes, &content)) {
                    None => Vec::new(),
                    Some(Ok(manifest)) => manifest.chunks.iter().map(|chunk| chunk.id).collect(),
                    Some(Err(_)) => {
                        broken.insert(content.id);
                        Vec::new()
                    }
                },
            };
            self.read_manifests()?;
            let named = content.roots().map(|chunk| chunk.id).chain(listed);
            missing.extend(named.filter(|chunk| !self.has(*chunk)));
        }
        Ok(Facts { missing, broken, ..Facts::default() })
    }

    /// Whether the user may name this chunk.
    fn has(&self, chunk: ChunkId) -> bool {
        let stored = || self.chunks.missing(&[chunk]).expect("it is in memory").is_empty();
        let covered = || self.namespace.possession().covers(self.projections(), chunk);
        self.sent.contains(&chunk) || covered() && stored()
    }

    fn opened(&self, chunk: ChunkId) -> Result<Option<Vec<u8>>, Problem> {
        let sealed = self.chunks.get(&chunk).map_err(|error| failed(&error))?;
        Ok(sealed.and_then(|sealed| sealed.open().ok()))
    }

    fn read_manifests(&mut self) -> Result<(), Problem> {
        for content in self.namespace.possession().unread() {
            let root = content.manifest.expect("only contents with a manifest are unread");
            let bytes = self.opened(root.id)?.unwrap_or_default();
            let read = self.namespace.possession_mut().read(&content, &bytes);
            assert!(
                read.is_ok() || self.put_back > 0,
                "a manifest is stored before an event that names it is admitted (I4)"
            );
        }
        Ok(())
    }

    /// See [`annals_engine::transport::Transport::missing`].
    ///
    /// # Errors
    /// [`Problem`].
    pub fn missing(&mut self, question: &MissingQuestion) -> Result<MissingAnswer, Problem> {
        self.read_manifests()?;
        let (possession, projections) = (self.namespace.possession(), self.projections());
        let whole = |(id, root): &(ContentId, annals_events::ChunkRef)| {
            possession.covers_manifest(projections, *id, *root)
        };
        let places = |known: Vec<bool>| -> Vec<u32> {
            (0u32..).zip(known).filter(|(_, known)| !known).map(|(at, _)| at).collect()
        };
        Ok(MissingAnswer {
            chunks: places(question.chunks.iter().map(|chunk| self.has(chunk.id)).collect()),
            manifests: places(question.manifests.iter().map(whole).collect()),
        })
    }

    /// See [`annals_engine::transport::Transport::send_chunks`].
    ///
    /// # Errors
    /// [`Problem`].
    pub fn store(&mut self, sent: &[Framed]) -> Result<ChunksStored, Problem> {
        self.read_manifests()?;
        let TakenIn { chunks, again } = service::take_in(&self.chunks, sent.to_vec(), &|id| self.has(*id))
            .map_err(|error| match error {
                TakeInError::Chunk(error) => Problem::new(Code::ChunkMismatch, error.to_string()),
                TakeInError::Store(error) => failed(&error),
            })?;
        let new = self.chunks.take(&chunks).map_err(|error| failed(&error))?;
        self.sent.extend(chunks.iter().map(|chunk| chunk.whole.id));
        Ok(ChunksStored { new: new.chunks, new_bytes: new.stored_bytes, again })
    }

    /// See [`annals_engine::transport::Transport::fetch_chunks`]; at most `count_max` of them.
    ///
    /// # Errors
    /// [`Problem`].
    pub fn fetch(&mut self, wanted: &ChunksWanted, count_max: usize) -> Result<Vec<Framed>, Problem> {
        self.read_manifests()?;
        let readable = |id: &ChunkId| self.namespace.possession().covers(self.projections(), *id);
        let prefix = wanted.chunks.iter().take(count_max.max(1)).copied().take_while(readable);
        let wanted = ChunksWanted { chunks: prefix.collect(), ..wanted.clone() };
        let found = service::hand_out(&self.chunks, &wanted, &readable).map_err(|error| failed(&error))?;
        if found.is_empty() {
            if let (Some(chunk), Some(content)) = (wanted.chunks.first(), wanted.content) {
                self.wanted.borrow_mut().note(*chunk, content);
            }
            return Err(Problem::new(Code::ChunkUnknown, "a chunk is not known here"));
        }
        Ok(found)
    }

    /// See [`annals_engine::transport::Transport::signatures`].
    ///
    /// # Errors
    /// [`Problem`].
    pub fn signatures(&mut self, wanted: &SignaturesWanted) -> Result<Signatures, Problem> {
        self.read_manifests()?;
        service::signatures(&self.chunks, wanted, &|id| self.has(*id)).map_err(|error| failed(&error))
    }

    /// The digests of its projections.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<&'static str, Hash> {
        self.projections().digests()
    }
}

/// The public half of a key.
#[must_use]
pub fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

fn unavailable(error: &LogError) -> Problem {
    let code = if matches!(error, LogError::Unknown { .. }) { Code::Busy } else { Code::LogUnavailable };
    Problem::new(code, error.to_string())
}

fn failed(error: &ChunkStoreError) -> Problem {
    Problem::new(Code::LogUnavailable, error.to_string())
}
