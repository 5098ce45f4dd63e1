//! What it adds up to: the state of one namespace as a pure function of its set of events.
//!
//! [`Projections`] folds signed batches and answers what they mean together: where entries are ([`move_tree`],
//! [`tree`]), what is alive ([`liveness`]), what files hold ([`heads`], [`history`]), under which names people
//! see it ([`names`]), what stands against what ([`conflicts`]), and who may do what ([`access`], [`devices`]).
//! The rules are those of the executable specification beside the design; they were found by search, and the
//! laws in `tests/` hold this crate to a naive reading of them.
//!
//! What must always hold: the same set of events gives the same answers and the same digests, byte for byte,
//! in whatever order that respects causality it arrived, once or twice, alone or in groups, through a
//! checkpoint or not (I2, I5, I6). Nothing here reads a clock, draws a random number or does I/O.
//!
//! Left out: signatures and rights (admission asks those), the texts of merges (whoever merges makes them), the
//! contents of manifests (verify expands them).

mod access;
mod attributes;
mod batches;
mod changed;
mod checkpoint;
mod chunk_refs;
mod conflicts;
mod devices;
mod digest;
mod entries;
mod fold;
mod heads;
mod heard;
mod history;
mod intern;
mod liveness;
#[cfg(feature = "mistakes")]
pub mod mistakes;
#[cfg(not(feature = "mistakes"))]
mod mistakes;
mod move_tree;
mod named;
mod names;
mod retention;
mod tree;
mod usage;
mod view;

pub use access::Access;
pub use annals_events::log::Head;
pub use checkpoint::CheckpointError;
pub use chunk_refs::ChunkRefs;
pub use devices::{DeviceState, Devices};
pub use retention::Retention;
pub use view::{Attributes, Conflict, ConflictKind, DotKind, EntryView, Scope, Shown, Usage, VersionView};

use annals_events::{ChunkId, Dot, NamespaceId, Seen, Seq};
use std::collections::{BTreeMap, BTreeSet};

/// All folds of one namespace.
#[derive(Clone, Debug)]
pub struct Projections {
    namespace: NamespaceId,
    scope: Scope,
    head: Head,
    devices: Devices,
    access: Access,
    retention: Retention,
    names: intern::Names,
    entries: entries::Entries,
    places: Vec<entries::PlaceRow>,
    deletes: Vec<entries::DeleteRow>,
    resolutions: Vec<entries::ResolutionRow>,
    versions: history::Versions,
    moves: move_tree::MoveTree,
    attributes: BTreeMap<entries::EntryIx, attributes::AttributeRow>,
    chunk_refs: ChunkRefs,
    contents: usage::Contents,
    /// Deletes whose folders somebody touched, until the group is in.
    contested: BTreeSet<u32>,
    changed: changed::Changed,
    /// Entries that no purge took.
    live_entries: u64,
    /// Events of kinds that this release does not know.
    unknown: u64,
}

/// A batch that cannot be folded. Admission would have refused it, or it came before what it builds on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// It belongs to another stream.
    #[error("the batch is for namespace {actual}, these are the projections of {expected}")]
    OtherNamespace {
        /// Whose projections these are.
        expected: NamespaceId,
        /// Whose batch it is.
        actual: NamespaceId,
    },
    /// It names an event that was not folded before.
    #[error("event {dot} names {missing}, which is not known yet")]
    Unknown {
        /// The event that names it, or the first of the batch whose `seen` does.
        dot: Dot,
        /// What is missing.
        missing: Dot,
    },
    /// It names an event that cannot be what it says.
    #[error("event {dot} names {named}, which is of another kind or of another entry")]
    WrongKind {
        /// The event that names it.
        dot: Dot,
        /// What it names.
        named: Dot,
    },
    /// Its counters are used, or lie below those of a later batch of its device.
    #[error("the dot {dot} is not above its device's last one, and belongs to no batch that is known")]
    UsedDot {
        /// The first of the batch.
        dot: Dot,
    },
}

impl Projections {
    /// The projections of a namespace without events.
    #[must_use]
    pub fn new(namespace: NamespaceId, scope: Scope) -> Self {
        Self {
            namespace,
            scope,
            head: Head::default(),
            devices: Devices::default(),
            access: Access::default(),
            retention: Retention::default(),
            names: intern::Names::default(),
            entries: entries::Entries::new(),
            places: Vec::new(),
            deletes: Vec::new(),
            resolutions: Vec::new(),
            versions: history::Versions::default(),
            moves: move_tree::MoveTree::default(),
            attributes: BTreeMap::new(),
            chunk_refs: ChunkRefs::default(),
            contents: usage::Contents::default(),
            contested: BTreeSet::new(),
            changed: changed::Changed::default(),
            live_entries: 0,
            unknown: 0,
        }
    }

    /// Whose these are.
    #[must_use]
    pub fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// Which folds are kept.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// How far the admitted batches got.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Every device and every dot.
    #[must_use]
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Members and roles.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// What is kept for how long.
    #[must_use]
    pub fn retention(&self) -> Retention {
        self.retention
    }

    /// When the event at `seq` was admitted, in milliseconds since 1970.
    #[must_use]
    pub fn admitted_at(&self, seq: Seq) -> Option<u64> {
        let rows = &self.devices.batches.rows;
        let holds = |row: &&batches::BatchRow| {
            row.seq > 0 && (row.seq..row.seq + u64::from(row.count)).contains(&seq.0)
        };
        rows.iter().find(holds).map(|row| row.admitted_at)
    }

    /// Where an event's bytes are: the position that its batch came with, and its place in the batch.
    #[must_use]
    pub fn locate(&self, dot: Dot) -> Option<(u64, usize)> {
        let ix = self.devices.index(dot)?;
        let row = self.devices.batches.row_of(ix);
        Some((row.position, (ix - row.base) as usize))
    }

    /// What the author of an event had seen: its batch's, made whole. (An event has also seen all earlier events of
    /// its own device: [`Seen::by`].)
    #[must_use]
    pub fn seen_of(&self, dot: Dot) -> Option<&Seen> {
        self.devices.index(dot).map(|ix| self.devices.seen(ix))
    }

    /// An event's place in the stream and when it was admitted, in milliseconds since 1970; none while it is
    /// pending.
    #[must_use]
    pub fn admitted(&self, dot: Dot) -> Option<(Seq, u64)> {
        let ix = self.devices.index(dot)?;
        let row = self.devices.batches.row_of(ix);
        (row.seq > 0).then(|| (Seq(row.seq + u64::from(ix - row.base)), row.admitted_at))
    }

    /// Which chunks are needed; empty for [`Scope::Device`].
    #[must_use]
    pub fn chunk_refs(&self) -> &ChunkRefs {
        &self.chunk_refs
    }

    /// Every retained version with the chunks that its event names, in order, and whether that is a manifest; in
    /// order of arrival.
    pub fn roots(&self) -> impl Iterator<Item = (Dot, Vec<ChunkId>, bool)> + '_ {
        let versions = u32::try_from(self.chunk_refs.starts.len()).expect("one for each version");
        (0..versions).filter(|&version| self.is_retained(version)).map(|version| {
            let dot = self.devices.dot(self.versions.dot[version as usize]);
            let manifest = self.versions.has(version, history::flag::MANIFEST);
            (dot, self.chunk_refs.of_version(version).collect(), manifest)
        })
    }

    /// What contents take up; nothing for [`Scope::Device`], which does not count.
    #[must_use]
    pub fn usage(&self) -> Usage {
        match self.scope {
            Scope::Server => Usage { entries: self.live_entries, ..self.contents.usage },
            Scope::Device => Usage::default(),
        }
    }
}
