//! What the folds answer: plain values, in the words of the design.
//!
//! Lists of dots and entries are sorted by dot unless a field says otherwise, so that two replicas that hold
//! the same events give equal answers, byte for byte (I2).

use annals_events::{ContentId, DeviceId, Dot, EntryId, EntryKind, Hlc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which folds are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Server,
    /// All but chunk references and usage.
    Device,
}

/// What an event is to those that name its dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DotKind {
    /// Made an entry; for a file it is also its first version.
    Create {
        /// The entry, named by this very dot.
        entry: EntryId,
        /// What it is.
        kind: EntryKind,
    },
    /// A place of an entry.
    Move {
        /// Which.
        entry: EntryId,
    },
    /// A restore; a place of an entry, too.
    Restore {
        /// Which.
        entry: EntryId,
        /// Whether it named a folder and a name.
        placed: bool,
    },
    /// A version by a person.
    Upload {
        /// The file.
        entry: EntryId,
    },
    /// A version by a server.
    Merge {
        /// The file.
        entry: EntryId,
    },
    /// Removed entries.
    Delete,
    /// Chose among heads.
    Resolve {
        /// The file.
        entry: EntryId,
    },
    /// Changed attributes.
    Attributes {
        /// Of which entry.
        entry: EntryId,
    },
    /// Nothing that a later event may name.
    Other,
}

impl DotKind {
    /// Whether a delete may hide it: a place or a version.
    #[must_use]
    pub fn is_place_or_version(self) -> bool {
        self.is_place() || self.is_version()
    }

    /// Whether it gave its entry a place.
    #[must_use]
    pub fn is_place(self) -> bool {
        matches!(self, Self::Create { .. } | Self::Move { .. } | Self::Restore { .. })
    }

    /// Whether it is a version of a file.
    #[must_use]
    pub fn is_version(self) -> bool {
        matches!(self, Self::Create { kind: EntryKind::File, .. } | Self::Upload { .. } | Self::Merge { .. })
    }

    /// The one entry that it is about.
    #[must_use]
    pub fn entry(self) -> Option<EntryId> {
        match self {
            Self::Create { entry, .. }
            | Self::Move { entry }
            | Self::Restore { entry, .. }
            | Self::Upload { entry }
            | Self::Merge { entry }
            | Self::Resolve { entry }
            | Self::Attributes { entry } => Some(entry),
            Self::Delete | Self::Other => None,
        }
    }
}

/// An entry as all events together have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryView {
    /// What it is.
    pub kind: EntryKind,
    /// The folder it is in, shown or not.
    pub parent: EntryId,
    /// The name it was given; `withheld 8HEX` where that is withheld.
    pub name: String,
    /// The event that gave it folder and name.
    pub place: Dot,
    /// Whether people see it: it is alive, or something below it is.
    pub shown: bool,
    /// Whether a place or maximal version of it is held by no delete.
    pub alive: bool,
    /// Whether a purge forgot it.
    pub purged: bool,
    /// Its places: creates, moves and restores that no later one has seen.
    pub places: Vec<Dot>,
    /// A file's maximal versions by people.
    pub maximal: Vec<Dot>,
    /// Modification time in nanoseconds since 1970, as for [`Attributes::mtime`].
    pub mtime: Option<i64>,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Where a symlink points.
    pub target: Option<Vec<u8>>,
}

/// A version of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionView {
    /// The file.
    pub entry: EntryId,
    /// Its place in the total order.
    pub order: (Hlc, DeviceId),
    /// What it holds; none where that is withheld.
    pub content: Option<ContentId>,
    /// How many bytes.
    pub size: u64,
    /// The versions it was made from; a merge's inputs.
    pub parents: Vec<Dot>,
    /// Whether a server merged it.
    pub merge: bool,
    /// The modification time that came with it.
    pub mtime: Option<i64>,
    /// Whether no purge or expiry took it.
    pub retained: bool,
}

/// One line of what is shown in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The name people see: unique among its siblings.
    pub name: String,
    /// The entries behind it, the one that new things go to first: several for folders shown as one and for twins.
    pub entries: Vec<EntryId>,
    /// What it is.
    pub kind: EntryKind,
    /// The version that is shown: one for a file, none else.
    pub heads: Vec<Dot>,
    /// Whether its name got a suffix: a further head, or a later sibling of the same name.
    pub copy: bool,
}

/// What people said about an entry beside name and content.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Nanoseconds since 1970: the latest by (hlc, device) among the create, the uploads and the changes that
    /// gave one.
    pub mtime: Option<i64>,
    /// Whether its owner may execute it: by the same rule, for itself.
    pub executable: bool,
    /// Tags that were added and not removed by somebody who had seen the adding.
    pub tags: BTreeSet<String>,
    /// The note; several where people wrote without knowing of each other, sorted. An emptied one is left out.
    pub notes: Vec<String>,
}

/// What contents take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Sizes of the different contents of all retained versions.
    pub bytes: u64,
    /// Entries that were created and not purged.
    pub entries: u64,
}

/// Something that waits for a choice, or that a rule settled and people may want to know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What happened.
    pub kind: ConflictKind,
    /// Whose.
    pub entry: EntryId,
    /// Where it is shown; the names given for what is not.
    pub path: String,
    /// The versions that stand against each other, the plain one first. Names and cycles: the moves.
    pub heads: Vec<Dot>,
    /// The latest version that all heads have in common.
    pub base: Option<Dot>,
    /// Whether it still waits for a choice.
    pub open: bool,
}

/// The kinds that follow from state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictKind {
    /// Several heads with different contents.
    BothModified,
    /// An edit and a delete that did not see each other: the edit lives.
    ModifiedDeleted,
    /// Siblings of one name: all but one are shown with a suffix.
    Name,
    /// A move that would have closed a cycle and is void.
    Cycle,
    /// Two places of one entry that did not see each other: the later holds.
    MovedMoved,
}

impl ConflictKind {
    /// The word for it in every output.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::BothModified => "both_modified",
            Self::ModifiedDeleted => "modified_deleted",
            Self::Name => "name",
            Self::Cycle => "cycle",
            Self::MovedMoved => "moved_moved",
        }
    }
}
