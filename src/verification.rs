//! Proof that nothing was altered: records read in log order, checked one by one, and folded from nothing.
//!
//! Each record must continue its namespace's stream (seq and running hash), its batch must be signed by a
//! device that was linked at that place, its bodies must match their hashes, its receipt must be a known
//! server's, and the folds must take it. What comes out beside the problems are the projections' digests:
//! whoever else holds the same log finds the same. [`Recount`] says which chunks are needed. Left out: where records
//! come from.

use annals_engine::{
    chunk_store::{ChunkStore, ChunkStoreError},
    namespace::Checkpoint,
};
use annals_events::{
    Admission, Chain, ChunkId, ChunkRef, Content, DeviceId, Dot, EntryId, EntryKind, Fact, Hash, Manifest,
    NamespaceId, PublicKey, Record, Seq, epoch, log::Position,
};
use annals_projections::{Head, Projections, Scope};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What was found, in the words of `annals verify --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether there is no problem.
    pub ok: bool,
    /// How many events there are.
    pub seq: u64,
    /// The highest epoch.
    pub epoch: u64,
    /// The running hash; over several namespaces, the hash of theirs in order of their ids.
    pub chain: String,
    /// Digests of the projections, by namespace and projection.
    pub digests: BTreeMap<String, BTreeMap<String, String>>,
    /// What a crash cut off: never acknowledged, and no damage.
    pub torn: Vec<TornTail>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Bytes of a write that was never acknowledged. They are moved aside when the log is next opened for work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TornTail {
    /// Where: a position, a file and offset.
    #[serde(rename = "where")]
    pub place: String,
    /// How many.
    pub bytes: u64,
}

/// What is said of a chunk that is needed and not there.
pub const MISSING: &str = "a chunk is missing";

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// Where: a position, a file and offset, a chunk.
    #[serde(rename = "where")]
    pub place: String,
    /// What suffers from it.
    pub affects: String,
}

/// Reads records and keeps what is needed to check the next one.
#[derive(Debug)]
pub struct Verifier {
    scope: Scope,
    streams: BTreeMap<NamespaceId, Stream>,
    torn: Vec<TornTail>,
    problems: Vec<Problem>,
}

#[derive(Debug)]
struct Stream {
    projections: Projections,
    last: Seq,
    chain: Chain,
    epoch: u64,
    /// After the first problem of a stream what follows cannot be judged.
    broken: bool,
}

impl Verifier {
    /// Nothing read yet. `scope` is that of the projections whose digests are wanted.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self { scope, streams: BTreeMap::new(), torn: Vec::new(), problems: Vec::new() }
    }

    /// Checks the next record of the log.
    pub fn read(&mut self, position: Position, record: &Record) {
        let Admission { namespace, .. } = *record.admission();
        let scope = self.scope;
        let stream = self.streams.entry(namespace).or_insert_with(|| Stream {
            projections: Projections::new(namespace, scope),
            last: Seq(0),
            chain: Chain::default(),
            epoch: 0,
            broken: false,
        });
        if stream.broken {
            return;
        }
        if let Err(what) = stream.check(record).and_then(|()| stream.fold(position, record)) {
            stream.broken = true;
            self.problems.push(Problem {
                what,
                place: format!("position {}, seq {} of namespace {namespace}", position.0, record.seq()),
                affects: format!("namespace {namespace} from there on"),
            });
        }
    }

    /// Adds what was found elsewhere.
    pub fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Adds what a crash cut off.
    pub fn torn(&mut self, tail: TornTail) {
        self.torn.push(tail);
    }

    /// The projections of one namespace, as far as they could be folded.
    #[must_use]
    pub fn of(&self, namespace: NamespaceId) -> Option<&Projections> {
        self.streams.get(&namespace).map(|stream| &stream.projections)
    }

    /// The projections of every namespace, as far as they could be folded.
    pub fn projections(&self) -> impl Iterator<Item = (NamespaceId, &Projections)> {
        self.streams.iter().map(|(id, stream)| (*id, &stream.projections))
    }

    /// What came of it.
    #[must_use]
    pub fn report(self) -> Report {
        let digests = self.streams.iter().map(|(id, stream)| {
            let of_one =
                stream.projections.digests().into_iter().map(|(name, hash)| (name.to_owned(), hash.to_hex()));
            (id.to_hex(), of_one.collect())
        });
        let chains: Vec<&[u8]> = self.streams.values().map(|stream| stream.chain.0.as_slice()).collect();
        let chain = match chains.as_slice() {
            [one] => Hash::from_slice(one).expect("a chain is a hash"),
            several => Hash::of(b"annals chains\0", several),
        };
        Report {
            ok: self.problems.is_empty(),
            seq: self.streams.values().map(|stream| stream.last.0).sum(),
            epoch: self.streams.values().map(|stream| stream.epoch).max().unwrap_or_default(),
            chain: chain.to_hex(),
            digests: digests.collect(),
            torn: self.torn,
            problems: self.problems,
        }
    }
}

impl Stream {
    fn check(&self, record: &Record) -> Result<(), String> {
        let admission = record.admission();
        let epoch = epoch::after(self.epoch, record.batch(), admission.admitted_by);
        if admission.epoch != epoch {
            return Err(format!("it is of epoch {} where epoch {epoch} is", admission.epoch));
        }
        if admission.seq.0 != self.last.0 + 1 {
            return Err(format!("seq {} comes after {}", admission.seq, self.last));
        }
        record.check_chain(self.chain).map_err(|error| error.to_string())?;
        let batch = record.batch();
        batch.check_bodies().map_err(|error| error.to_string())?;
        let author = self.key_of(batch.header().device, record)?;
        batch.verify(&author).map_err(|error| error.to_string())?;
        let server = self.key_of(admission.admitted_by, record)?;
        record.verify_receipt(&server).map_err(|error| error.to_string())
    }

    /// The key of a device that is linked, or of the server that makes the namespace with this very record.
    fn key_of(&self, device: DeviceId, record: &Record) -> Result<PublicKey, String> {
        if let Some(state) = self.projections.devices().get(device) {
            return Ok(state.key);
        }
        let devices = self.projections.devices();
        let server = |device| devices.get(device).filter(|state| state.is_server).map(|state| state.key);
        let introduced = epoch::introduced(record.batch(), self.last == Seq(0), server);
        introduced
            .filter(|key| DeviceId::of_key(key) == device)
            .ok_or_else(|| format!("device {device} is not linked at that place"))
    }

    fn fold(&mut self, position: Position, record: &Record) -> Result<(), String> {
        let (batch, admission) = (record.batch(), record.admission());
        self.projections.apply(batch, Some(admission), position.0).map_err(|error| error.to_string())?;
        (self.last, self.chain, self.epoch) = (record.last_seq(), admission.chain, admission.epoch);
        Ok(())
    }
}

/// Checkpoints, each taken on by the records that follow it: what they give is compared with what the whole log gives
/// (I5).
#[derive(Debug, Default)]
pub struct Resumed(BTreeMap<NamespaceId, Resuming>);

#[derive(Debug)]
struct Resuming {
    place: String,
    checkpoint: Checkpoint,
    begins: Head,
    /// Whether the log has the place where it begins.
    joined: bool,
    failed: Option<String>,
}

impl Resumed {
    /// Adds the checkpoint of a namespace, which lies in `place`.
    pub fn add(&mut self, place: String, checkpoint: Checkpoint) {
        let (id, begins) = (checkpoint.projections.namespace(), checkpoint.head());
        self.0.insert(id, Resuming { place, checkpoint, begins, joined: false, failed: None });
    }

    /// Takes the next record of the log.
    pub fn read(&mut self, position: Position, record: &Record) {
        let admission = record.admission();
        let Some(resuming) = self.0.get_mut(&admission.namespace) else { return };
        let begins = resuming.begins;
        if record.last_seq() == begins.seq {
            resuming.joined = (admission.chain, admission.epoch) == (begins.chain, begins.epoch);
        }
        if record.seq() > begins.seq && resuming.joined && resuming.failed.is_none() {
            let done = resuming.checkpoint.projections.apply(record.batch(), Some(admission), position.0);
            resuming.failed = done.err().map(|error| error.to_string());
        }
    }

    /// Every difference to what the whole log gives.
    pub fn compare(&self, verifier: &Verifier) -> Vec<Problem> {
        let differences = self.0.iter().filter_map(|(id, resuming)| {
            let what = resuming.difference(verifier.of(*id)?)?;
            Some(of_checkpoint(what, resuming.place.clone()))
        });
        differences.collect()
    }
}

impl Resuming {
    fn difference(&self, whole: &Projections) -> Option<String> {
        if !self.joined {
            return Some("the checkpoint begins at a place that the log does not have".into());
        }
        if let Some(error) = &self.failed {
            return Some(format!("what follows the checkpoint does not fit it: {error}"));
        }
        let (here, whole) = (self.checkpoint.projections.digests(), whole.digests());
        let differing: Vec<&str> = whole
            .iter()
            .filter(|(name, hash)| here.get(*name) != Some(hash))
            .map(|(name, _)| *name)
            .collect();
        (!differing.is_empty())
            .then(|| format!("the checkpoint gives another state than the log: {}", differing.join(", ")))
    }
}

/// Something that is wrong with a checkpoint: nothing that matters, but nothing that should be.
#[must_use]
pub fn of_checkpoint(what: String, place: String) -> Problem {
    let affects = "nothing in the log: delete the checkpoint, it is made again".into();
    Problem { what, place, affects }
}

/// Every chunk that retained versions need, counted from the records themselves, manifests expanded: for each how
/// many versions need it. It shares nothing with the references that it is compared with; which versions a purged
/// entry had, the history says.
#[derive(Debug, Default)]
pub struct Recount {
    contents: BTreeMap<(NamespaceId, Dot), Content>,
}

impl Recount {
    /// Takes note of what a record's events hold, and of what they expire or purge.
    pub fn read(&mut self, record: &Record, projections: Option<&Projections>) {
        let (namespace, batch) = (record.admission().namespace, record.batch());
        for (index, event) in batch.events().iter().enumerate() {
            match &event.fact {
                Fact::VersionsExpired { versions } => {
                    versions.iter().for_each(|dot| drop(self.contents.remove(&(namespace, dot))))
                }
                Fact::EntryPurged { entries } => {
                    for entry in entries.iter().map(EntryId) {
                        let versions = projections.map(|log| log.versions(entry)).unwrap_or_default();
                        versions.into_iter().for_each(|dot| drop(self.contents.remove(&(namespace, dot))));
                    }
                }
                // What other kinds have no use for counts for nobody.
                Fact::EntryCreated { entry_kind: EntryKind::File, .. }
                | Fact::VersionUploaded { .. }
                | Fact::VersionsMerged { .. } => {
                    if let Some(content) = batch.body(index).ok().flatten().and_then(|body| body.content) {
                        self.contents.insert((namespace, batch.dot(index)), content);
                    }
                }
                _ => {}
            }
        }
    }

    /// Compares with the projections' references and the stored chunks; every difference goes to `found`. Answers
    /// with how many chunks are needed.
    ///
    /// # Errors
    /// Where the store cannot be asked.
    pub fn compare(
        &self,
        verifier: &Verifier,
        store: &dyn ChunkStore,
        found: &mut Vec<Problem>,
    ) -> Result<u64, ChunkStoreError> {
        let mut needed: BTreeMap<ChunkId, u64> = BTreeMap::new();
        let mut roots: BTreeMap<NamespaceId, BTreeMap<ChunkId, BTreeSet<Dot>>> = BTreeMap::new();
        for ((namespace, dot), content) in &self.contents {
            let of_namespace = roots.entry(*namespace).or_default();
            for root in content.roots() {
                of_namespace.entry(root.id).or_default().insert(*dot);
            }
            content.roots().for_each(|root| *needed.entry(root.id).or_default() += 1);
            match expanded(content, store) {
                Ok(chunks) => chunks.iter().for_each(|chunk| *needed.entry(chunk.id).or_default() += 1),
                Err(what) => found.push(Problem {
                    what,
                    place: format!("manifest of version {dot}"),
                    affects: format!("version {dot} in namespace {namespace}"),
                }),
            }
        }
        for (namespace, projections) in verifier.projections() {
            let counted = roots.remove(&namespace).unwrap_or_default();
            compare_references(namespace, projections, &counted, found);
        }
        let ids: Vec<ChunkId> = needed.keys().copied().collect();
        for missing in store.missing(&ids)? {
            found.push(Problem {
                what: MISSING.into(),
                place: format!("chunk {missing}"),
                affects: format!("{} versions", needed[&missing]),
            });
        }
        Ok(needed.len() as u64)
    }
}

/// The chunks behind a manifest; none for a content that lists them itself.
fn expanded(content: &Content, store: &dyn ChunkStore) -> Result<Vec<ChunkRef>, String> {
    let Some(root) = content.manifest else { return Ok(Vec::new()) };
    // A manifest that is missing is reported as the chunk that it is.
    let Some(sealed) = store.get(&root.id).map_err(|error| error.to_string())? else { return Ok(Vec::new()) };
    let plain = sealed.open().map_err(|error| error.to_string())?;
    Manifest::decode(&plain, content).map(|manifest| manifest.chunks).map_err(|error| error.to_string())
}

fn compare_references(
    namespace: NamespaceId,
    projections: &Projections,
    counted: &BTreeMap<ChunkId, BTreeSet<Dot>>,
    found: &mut Vec<Problem>,
) {
    let refs = projections.chunk_refs();
    let mut differ = |chunk: ChunkId| {
        found.push(Problem {
            what: "the references of a chunk are not those of the retained versions".into(),
            place: format!("chunk {chunk}"),
            affects: format!("namespace {namespace}"),
        });
    };
    for (chunk, versions) in counted {
        if refs.count(*chunk) != versions.len() as u64 {
            differ(*chunk);
        }
    }
    refs.chunks().filter(|chunk| !counted.contains_key(chunk)).for_each(&mut differ);
}
