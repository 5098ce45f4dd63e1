//! What a round says of itself: how far it is, what it did, why it could not go on.

use super::{Look, StoreError};
use crate::{
    author::MassDelete,
    chunk_store::ChunkStoreError,
    disk::{Blocked, DiskError},
    protocol::{Class, Code},
    transport::TransportError,
};
use annals_events::{DeviceId, NamespaceId};
use std::collections::BTreeSet;

/// What a round did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events that the server took, but for those that only say how far a device is.
    pub events_sent: u64,
    /// Events that came from the server, one's own again and acknowledgements not counted.
    pub events_received: u64,
    /// Chunks that the changed files have.
    pub chunks: u64,
    /// Those of them that the server did not have.
    pub new_chunks: u64,
    /// Chunks that were fetched.
    pub chunks_received: u64,
    /// Plain bytes of the changed files.
    pub plain_bytes: u64,
    /// Bytes of chunks as they were sent.
    pub chunk_bytes_sent: u64,
    /// Operations on the folder.
    pub ops: u64,
    /// Events that were refused and set aside.
    pub set_aside: u64,
    /// Whether the server had been put back to an older copy of itself, and has everything again that this device knew.
    pub server_put_back: bool,
    /// Events that it got from this device for that.
    pub handed_back: u64,
    /// How often it looked at the whole folder; what follows is of the last time.
    pub looks: u64,
    /// Whether something could not be looked at that time: it has to be looked at again.
    pub incomplete: bool,
    /// What vanished, and nothing was said of yet: it has to be looked at again.
    pub vanishing: BTreeSet<String>,
    /// The folders that were looked at since: what follows is of the whole folder, or else of these.
    pub glanced: BTreeSet<String>,
    /// Whether it ended before it had looked at all that it was to look at: after an error everything has to be.
    pub owes_look: bool,
    /// Where the next one has to look, because this one gave way to what goes first.
    pub put_off: Option<Look>,
    /// Files that were found changed and wait for their turn to be read, and their bytes; none where it read none.
    pub unread: Option<(u64, u64)>,
    /// Files that are being written, and wait.
    pub waiting: Vec<String>,
    /// What is not synced, and why.
    pub skipped: Vec<(String, String)>,
    /// What could not be brought up to date, and why.
    pub blocked: Vec<Blocked>,
    /// What stands where the log wants something else and stays, and why.
    pub in_the_way: Vec<(String, String)>,
}

/// How far a round is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Records are coming.
    Pulling {
        /// The last one's place.
        done: u64,
        /// The head's.
        of: u64,
    },
    /// The folder is being looked at.
    Scanning,
    /// Changed files are read, and sent.
    Reading(Files),
    /// What was saved while no server was in reach is sent.
    Sending(Files),
    /// The folder is brought up to date.
    Writing(Files),
}

/// How far a round is with files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Done, of files or operations.
    pub done: u64,
    /// How many there are.
    pub of: u64,
    /// What those that are done hold, in bytes.
    pub bytes: u64,
    /// What all of them hold.
    pub of_bytes: u64,
    /// The next one; several are at work at once.
    pub path: Option<String>,
}

/// Why a round did not get everything done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoundError {
    /// The server, or the way to it.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The device's own state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder.
    #[error("{0}")]
    Disk(DiskError),
    /// Something in the folder could not be brought up to date.
    #[error("{0}")]
    Blocked(Blocked),
    /// Something stands where the log wants something else.
    #[error("{}", say_in_the_way(.0))]
    InTheWay(Vec<(String, String)>),
    /// The chunks of saves that wait.
    #[error(transparent)]
    Outbox(#[from] ChunkStoreError),
    /// Most of the folder is gone.
    #[error(transparent)]
    MassDelete(#[from] MassDelete),
    /// What the server says does not go on from what it said.
    #[error("the server's history of {namespace} is not the one this device knows: {why}")]
    Lineage {
        /// Of what.
        namespace: NamespaceId,
        /// What is wrong with it.
        why: String,
    },
    /// The server is another one than that which the folder was linked to, or knows nothing of this device.
    #[error("the server does not know this folder, {namespace}: {why}")]
    Stranger {
        /// What it does not know.
        namespace: NamespaceId,
        /// What it said.
        why: String,
    },
    /// This device is not where it was: its state was copied, or put back to an older copy; or what it knows cannot be
    /// brought together with what a server has that was put back.
    #[error("the state of this device, {device}, is not what it last was: {why}")]
    PutBack {
        /// Where.
        namespace: NamespaceId,
        /// Which.
        device: DeviceId,
        /// What shows that.
        why: String,
    },
    /// Events were refused.
    #[error("{events} {} refused and set aside: {why}", if *.events == 1 { "change was" } else { "changes were" })]
    SetAside {
        /// Of what.
        namespace: NamespaceId,
        /// How many.
        events: u64,
        /// What the server said.
        why: String,
    },
    /// A person does not want anything to be sent or fetched for now.
    #[error("paused: nothing is sent or fetched")]
    Paused,
    /// A file that takes long is on its way, and something came up that goes before the rest of it.
    #[error("something else goes first")]
    GaveWay,
    /// It was told to end.
    #[error("stopped before everything was exchanged")]
    Stopped,
    /// The plan never comes to an end, which is a mistake in this program.
    #[error("the folder does not come to rest")]
    Restless,
}

/// The first of what is in the way, and how many more.
fn say_in_the_way(paths: &[(String, String)]) -> String {
    let Some((path, why)) = paths.first() else { return "nothing is in the way".into() };
    match paths.len() - 1 {
        0 => format!("{path:?} is in the way ({why})"),
        more => format!("{path:?} is in the way ({why}), and {more} more"),
    }
}

impl RoundError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Transport(error) if error.is_passing())
    }

    /// Whether the server does not know a chunk that was asked for.
    #[must_use]
    pub fn is_unknown_chunk(&self) -> bool {
        matches!(self, Self::Transport(TransportError::Refused(problem)) if problem.code == Code::ChunkUnknown)
    }

    /// Whether the server lets this device in no more.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Transport(TransportError::Refused(problem)) if problem.class() == Class::Forbidden && problem.code != Code::Quota)
    }
}
