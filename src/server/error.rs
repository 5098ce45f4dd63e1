//! Why a server does not run, and what to do about it.

use annals_engine::chunk_store::ChunkStoreError;
use annals_events::log::{LogError, embedded::OpenError};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A certificate or its key is none, or one does not belong to the other.
    #[error("{place} cannot be used for TLS: {what}")]
    Certificate {
        /// Which file.
        place: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Somebody listens there.
    #[error("{address} is in use")]
    AddressInUse {
        /// Where it should listen.
        address: SocketAddr,
    },
    /// It cannot listen there.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// Where it should listen.
        address: SocketAddr,
        /// What stands in the way.
        why: std::io::Error,
    },
    /// Another server has the data directory.
    #[error("`annals up` or `annals serve` already runs on {place}")]
    Locked {
        /// The data directory.
        place: PathBuf,
    },
    /// A directory with something else in it, or of another release.
    #[error("{place} is not a data directory of this release: {found}")]
    Format {
        /// The data directory.
        place: PathBuf,
        /// What it says.
        found: String,
    },
    /// A small file in it is not what was written.
    #[error("{place} is damaged: {what}")]
    Damaged {
        /// Which.
        place: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The data directory can't be used.
    #[error("{place}: {why}")]
    Folder {
        /// Which file or folder.
        place: PathBuf,
        /// What stands in the way.
        why: std::io::Error,
    },
    /// Its data directory is no more where it was.
    #[error("{place} was moved or removed while the server ran on it")]
    Moved {
        /// Where it was.
        place: PathBuf,
    },
    /// The log or the chunks in the data directory can't be used.
    #[error("{place}: {what}")]
    Store {
        /// The data directory, or what in it.
        place: PathBuf,
        /// Why.
        what: String,
        /// Whether stored bytes are not what was written.
        damaged: bool,
    },
    /// Packs are not what was written.
    #[error("{place}: {what}")]
    Chunks {
        /// Where they lie.
        place: PathBuf,
        /// Why.
        what: String,
    },
    /// It stopped for a reason of its own.
    #[error("the server failed at {place}: {what}")]
    Failed {
        /// The address, or the file, that it was at.
        place: String,
        /// Why.
        what: String,
    },
}

/// What to do about packs that are not what they were.
pub const CHUNKS_HINT: &str = "nothing was changed. Put the data back from a backup, however old: what came after it, the devices hand back. Without one, move `packs` in DATA away, keep it, and start the server: what lies in the folders of devices comes back when they sync, each file once somebody asks for it, as a new device does for all of them. Versions that no folder shows are lost then; `annals verify --data DATA` names what is missing";

impl ServeError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Certificate { .. } => {
                "certificate and key are two PEM files that belong together; without --tls-cert and --tls-key the server makes its own"
            }
            Self::AddressInUse { .. } => "choose another port with --listen, or 0 to have one picked",
            Self::Listen { .. } => "choose another address with --listen",
            Self::Locked { .. } => "stop the other one first; every verb can ask it meanwhile",
            Self::Format { .. } => {
                "update annals if a newer release wrote it, or choose an empty directory with --data"
            }
            Self::Folder { .. } => "check that the directory exists, is yours and can be written",
            Self::Damaged { .. } => "put it back from a backup; nothing was changed",
            Self::Moved { .. } => {
                "what was acknowledged is in it, wherever it is now: start the server there, with --data DIR"
            }
            Self::Store { damaged: true, .. } => {
                "run `annals verify --data DATA`, which says where; nothing was changed. Put the data back from a backup, however old: what came after it, the devices hand back"
            }
            Self::Chunks { .. } => CHUNKS_HINT,
            Self::Store { .. } => "check that the disk has room and the directory can be written",
            Self::Failed { .. } => "its log says more (ANNALS_LOG=debug)",
        }
    }
}

impl ServeError {
    /// What the log at `place` could not be opened for.
    pub(super) fn of_log(place: &Path, error: OpenError) -> Self {
        if let OpenError::Format { place, found } = error {
            return Self::Format { place: place.into(), found };
        }
        let damaged = matches!(error, OpenError::Log(LogError::Damaged { .. }) | OpenError::Damaged { .. });
        Self::Store { place: place.to_owned(), what: error.to_string(), damaged }
    }

    /// What the chunks at `place` could not be opened for.
    pub(super) fn of_chunks(place: &Path, error: &ChunkStoreError) -> Self {
        let (place, what) = (place.to_owned(), error.to_string());
        match error {
            ChunkStoreError::Damaged(_) => Self::Chunks { place, what },
            _ => Self::Store { place, what, damaged: false },
        }
    }
}
