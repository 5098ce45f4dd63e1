//! What it adds up to: the state of one namespace as a pure function of its set of events.
#![allow(
    unused_variables,
    missing_docs,
    clippy::unused_self,
    clippy::missing_errors_doc,
    reason = "the shape before the folds"
)]

pub mod view;
pub use annals_events::log::Head;
use annals_events::{
    Admission, Batch, ChunkId, DeviceId, Dot, EntryId, Hash, Hlc, NamespaceId, PublicKey, Role, Seen, Seq,
    UserId, VersionVector,
};
use std::collections::BTreeMap;
pub use view::{Attributes, Conflict, ConflictKind, DotKind, EntryView, Scope, Shown, Usage, VersionView};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    #[error("the batch is for namespace {actual}, this is {expected}")]
    OtherNamespace { expected: NamespaceId, actual: NamespaceId },
    #[error("event {dot} names {missing}, which is not known")]
    Unknown { dot: Dot, missing: Dot },
    #[error("event {dot} names {named}, which is of the wrong kind")]
    WrongKind { dot: Dot, named: Dot },
    #[error("the dot {dot} is used by another event")]
    UsedDot { dot: Dot },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a whole checkpoint of this release")]
pub struct CheckpointError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceState {
    pub key: PublicKey,
    pub user: Option<UserId>,
    pub label: String,
    pub linked: bool,
    pub linked_at: Option<Seq>,
    pub retired_last: Option<u64>,
    pub last_counter: u64,
    pub last_batch: Option<Hash>,
    pub seen: VersionVector,
    pub last_hlc: Hlc,
    pub acknowledged: Seq,
    pub continues: Option<DeviceId>,
    pub is_server: bool,
    pub last_admitted_at: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct Devices(BTreeMap<DeviceId, DeviceState>);
impl Devices {
    pub fn get(&self, device: DeviceId) -> Option<&DeviceState> {
        self.0.get(&device)
    }
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, &DeviceState)> {
        self.0.iter().map(|(d, s)| (*d, s))
    }
    pub fn contains(&self, dot: Dot) -> bool {
        false
    }
    pub fn hlc_at(&self, device: DeviceId, counter: u64) -> Hlc {
        Hlc(0)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Access;
impl Access {
    pub fn owner(&self) -> Option<UserId> {
        None
    }
    pub fn role(&self, user: UserId) -> Option<Role> {
        None
    }
    pub fn members(&self) -> impl Iterator<Item = (UserId, Role, &str)> {
        std::iter::empty()
    }
    pub fn label(&self) -> &str {
        ""
    }
}

#[derive(Clone, Debug, Default)]
pub struct ChunkRefs;
impl ChunkRefs {
    pub fn contains(&self, chunk: ChunkId) -> bool {
        false
    }
    pub fn chunks(&self) -> impl Iterator<Item = ChunkId> + '_ {
        std::iter::empty()
    }
}

pub struct Projections {
    namespace: NamespaceId,
    scope: Scope,
    devices: Devices,
    access: Access,
    chunk_refs: ChunkRefs,
}
impl Projections {
    pub fn new(namespace: NamespaceId, scope: Scope) -> Self {
        Self { namespace, scope, devices: Devices::default(), access: Access, chunk_refs: ChunkRefs }
    }
    pub fn namespace(&self) -> NamespaceId {
        self.namespace
    }
    pub fn apply(
        &mut self,
        batch: &Batch,
        admission: Option<&Admission>,
        position: u64,
    ) -> Result<(), FoldError> {
        Ok(())
    }
    pub fn apply_all<'a>(
        &mut self,
        batches: impl IntoIterator<Item = (&'a Batch, Option<&'a Admission>, u64)>,
    ) -> Result<(), FoldError> {
        Ok(())
    }
    pub fn head(&self) -> Head {
        Head::default()
    }
    pub fn digests(&self) -> BTreeMap<&'static str, Hash> {
        BTreeMap::new()
    }
    pub fn checkpoint(&self) -> Vec<u8> {
        Vec::new()
    }
    pub fn from_checkpoint(bytes: &[u8]) -> Result<Self, CheckpointError> {
        Err(CheckpointError)
    }
    pub fn devices(&self) -> &Devices {
        &self.devices
    }
    pub fn access(&self) -> &Access {
        &self.access
    }
    pub fn dot_kind(&self, dot: Dot) -> Option<DotKind> {
        None
    }
    pub fn locate(&self, dot: Dot) -> Option<(u64, usize)> {
        None
    }
    pub fn seen_of(&self, dot: Dot) -> Option<&Seen> {
        None
    }
    pub fn admitted(&self, dot: Dot) -> Option<(Seq, u64)> {
        None
    }
    pub fn entry(&self, e: EntryId) -> Option<EntryView> {
        None
    }
    pub fn entries(&self) -> impl Iterator<Item = EntryId> + '_ {
        std::iter::empty()
    }
    pub fn children(&self, folder: EntryId) -> Vec<EntryId> {
        Vec::new()
    }
    pub fn ancestors(&self, e: EntryId) -> impl Iterator<Item = EntryId> + '_ {
        std::iter::empty()
    }
    pub fn human_heads(&self, e: EntryId) -> Vec<Dot> {
        Vec::new()
    }
    pub fn heads(&self, e: EntryId) -> Vec<Dot> {
        Vec::new()
    }
    pub fn hidden_by(&self, dot: Dot) -> Vec<Dot> {
        Vec::new()
    }
    pub fn version(&self, dot: Dot) -> Option<VersionView> {
        None
    }
    pub fn versions(&self, e: EntryId) -> Vec<Dot> {
        Vec::new()
    }
    pub fn list(&self, folder: &[EntryId]) -> Vec<Shown> {
        Vec::new()
    }
    pub fn listing(&self) -> BTreeMap<String, Shown> {
        BTreeMap::new()
    }
    pub fn conflicts(&self) -> Vec<Conflict> {
        Vec::new()
    }
    pub fn attributes(&self, e: EntryId) -> Attributes {
        Attributes::default()
    }
    pub fn chunk_refs(&self) -> &ChunkRefs {
        &self.chunk_refs
    }
    pub fn usage(&self) -> Usage {
        let _ = self.scope;
        Usage::default()
    }
    pub fn places_as_seen(&self, e: EntryId, seen: &Seen) -> Vec<Dot> {
        Vec::new()
    }
    pub fn maximal_as_seen(&self, e: EntryId, seen: &Seen) -> Vec<Dot> {
        Vec::new()
    }
}
