//! What can go wrong with a linked folder.

use super::binding::BindingError;
use annals_engine::{
    chunk_store::ChunkStoreError,
    disk::{Blocked, DiskError},
    protocol::Problem,
    round::{RoundError, StoreError},
    transport::TransportError,
};
use annals_events::Role;
use std::{io, path::PathBuf};

/// Why a linked folder did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Its link.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// Its state is a copy of that of a device elsewhere, or was put back from an older copy.
    #[error("{} is a copy of another folder, or was put back from one", folder.display())]
    Copied {
        /// Which.
        folder: PathBuf,
        /// The server's address.
        server: String,
        /// For whom it acts.
        user: String,
        /// What people call the device.
        device: String,
    },
    /// Its server is another one than before, or has forgotten all about it.
    #[error("{}", if *.other_log { format!("the server at {server} is another one than that which {} was linked to, or has begun anew", folder.display()) } else { format!("the server at {server} does not know {} any more", folder.display()) })]
    Stranger {
        /// The folder.
        folder: PathBuf,
        /// The server's address.
        server: String,
        /// For whom it acts.
        user: String,
        /// What people call the device.
        device: String,
        /// Whether the server has another log.
        other_log: bool,
    },
    /// Its server takes nothing from this device any more: it was retired there.
    #[error("the device of {} was retired: the server at {server} takes nothing from it any more", folder.display())]
    Retired {
        /// The folder.
        folder: PathBuf,
        /// The server's address.
        server: String,
        /// For whom it acts.
        user: String,
        /// What people call the device.
        device: String,
    },
    /// Events of it were not sent, and would be forgotten.
    #[error("{events} {} of {} {} not sent yet", if *events == 1 { "change" } else { "changes" }, folder.display(), if *events == 1 { "was" } else { "were" })]
    Unsent {
        /// Which.
        folder: PathBuf,
        /// How many.
        events: u64,
    },
    /// Another process has it.
    #[error("{} is in use by another process", folder.display())]
    Held {
        /// Which.
        folder: PathBuf,
    },
    /// The server, or the way to it.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A sync round.
    #[error(transparent)]
    Round(#[from] RoundError),
    /// The device's own state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The synced folder.
    #[error("{0}")]
    Disk(DiskError),
    /// The folder could not be made or opened.
    #[error("{}: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing of that path was ever here.
    #[error("{path} is not known here")]
    NoSuchPath {
        /// Which.
        path: String,
    },
    /// It is in the folder, and nothing was said of it yet.
    #[error("{path} has no version yet")]
    Unsaid {
        /// Which.
        path: String,
    },
    /// Nothing of that path was removed, or it was forgotten.
    #[error("{path} is not in the trash")]
    NotInTrash {
        /// Which.
        path: String,
    },
    /// A folder or symlink, where a file is needed.
    #[error("{} is {what}, not a file", if path.is_empty() { "this" } else { path })]
    NotAFile {
        /// Which; empty for the linked folder itself.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// A file changed in the middle of being read.
    #[error("{path} changed while it was read")]
    Changed {
        /// Which.
        path: String,
    },
    /// No version of that name, or several.
    #[error("{path} has {} `{version}`", if *.found == 0 { "no version called".into() } else { format!("{found} versions whose names begin with") })]
    NoSuchVersion {
        /// Of which file.
        path: String,
        /// What was asked for.
        version: String,
        /// How many there are.
        found: usize,
    },
    /// There was no version yet.
    #[error("{path} did not exist at that time")]
    NotYet {
        /// Which.
        path: String,
    },
    /// What was there is elsewhere by now, and nothing is in its place.
    #[error("{path} is not there any more: what it was is {now}")]
    Elsewhere {
        /// Which.
        path: String,
        /// Where it is, or was when it was removed.
        now: String,
    },
    /// Its content is withheld.
    #[error("the content of version {version} is withheld")]
    Withheld {
        /// Which.
        version: String,
    },
    /// It was purged, or expired: its content is not kept any more.
    #[error("version {version} is not kept any more: it was replaced or removed too long ago, or forgotten")]
    Forgotten {
        /// Which.
        version: String,
    },
    /// The log has it, and nobody who could be asked has its content.
    #[error("the content of version {version} is lost: neither the server nor this folder has it")]
    Lost {
        /// Which.
        version: String,
    },
    /// The person's role does not allow it, as far as this device knows.
    #[error("only {} of this folder may do that", if *.needed == Role::Owner { "owners" } else { "editors and owners" })]
    NotAllowed {
        /// What would be needed.
        needed: Role,
    },
    /// The folder belongs to them for good.
    #[error("{user} owns this folder")]
    Owner {
        /// Who.
        user: String,
    },
    /// They may do nothing here anyway.
    #[error("{user} does not use this folder")]
    NoMember {
        /// Who.
        user: String,
    },
    /// What was said is too long, or empty.
    #[error("{what}")]
    BadText {
        /// What is wrong with it.
        what: String,
    },
    /// The result could not be written.
    #[error("cannot write the result: {0}")]
    Output(io::Error),
}

impl ClientError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Transport(error) => error.is_passing(),
            Self::Round(error) => error.is_passing(),
            _ => false,
        }
    }

    /// How long the server asked to be left alone, in milliseconds.
    #[must_use]
    pub fn asked_wait_ms(&self) -> Option<u64> {
        match self {
            Self::Transport(error) | Self::Round(RoundError::Transport(error)) => error.asked_wait_ms(),
            _ => None,
        }
    }

    /// Whether what the device wrote down of itself is not what it was.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Damaged { .. })
                | Self::Round(RoundError::Store(StoreError::Damaged { .. }))
                | Self::Binding(BindingError::Damaged { .. })
        )
    }

    /// Whether the device is not the one any more that was opened: its state, or its folder, was removed or replaced.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        matches!(
            self,
            Self::Copied { .. }
                | Self::Store(StoreError::Replaced { .. })
                | Self::Round(RoundError::Store(StoreError::Replaced { .. }))
        )
    }

    /// Whether the server takes nothing from this device any more.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        matches!(self, Self::Retired { .. })
            || self.problem().is_some_and(|problem| problem.code.is_of_retired())
    }

    /// Whether nothing can be written there.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Folder { source, .. } => {
                matches!(source.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
            }
            Self::Disk(DiskError::ReadOnly { .. }) => true,
            _ => false,
        }
    }

    /// Whether this disk has no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(
            self,
            Self::Disk(DiskError::Full { .. })
                | Self::Store(StoreError::Full { .. })
                | Self::Round(
                    RoundError::Disk(DiskError::Full { .. })
                        | RoundError::Store(StoreError::Full { .. })
                        | RoundError::Outbox(ChunkStoreError::Full { .. })
                        | RoundError::Blocked(Blocked::Full { .. })
                )
        )
    }

    /// What the server said, where that is it.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Transport(TransportError::Refused(problem))
            | Self::Round(RoundError::Transport(TransportError::Refused(problem))) => Some(problem),
            _ => None,
        }
    }
}

impl From<DiskError> for ClientError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}
