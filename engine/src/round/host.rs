//! What a round uses of the machine that it runs on: the real one's capabilities, or a simulation's twins.
//!
//! What must always hold is said at each call; above all that what is to be durable is so when the call returns. Left out:
//! what is done with it.

use super::{Begun, Lists, RoundError, Step};
use crate::{
    chunk_store::ChunkStore,
    content::SealedChunk,
    disk::{Disk, Node},
    replica::{Replica, StateChange},
    transport::Transport,
};
use annals_events::{ChunkId, ChunkRef, Content, Record, Seq, log::Logged};
use std::{collections::BTreeSet, sync::Arc};

/// What a round may use of the machine that it runs on.
pub trait Host {
    /// The synced folder.
    type Disk: Disk;

    /// The wall clock, in milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// The capabilities, side by side.
    fn parts(&mut self) -> Parts<'_, Self::Disk>;

    /// Appends to the device's state as one; durable when it returns.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written, or it is not known.
    fn persist(&mut self, changes: &[StateChange]) -> Result<(), StoreError>;

    /// Keeps records for good, durable when it returns; answers with where they can be found again.
    ///
    /// # Errors
    /// [`StoreError`].
    fn keep(&mut self, records: Vec<Arc<Record>>) -> Result<Vec<Logged>, StoreError>;

    /// All that is kept, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    fn records(&mut self) -> Result<Vec<Arc<Record>>, StoreError>;

    /// Keeps `records` in place of all that is kept after `common`: durable, all of it or nothing, when it returns. To be
    /// followed by [`reopen`](Self::reopen).
    ///
    /// # Errors
    /// [`StoreError`]; what was kept is kept then.
    fn replace_records(&mut self, common: Seq, records: Vec<Arc<Record>>) -> Result<(), StoreError>;

    /// The replica that follows from what was persisted and kept.
    ///
    /// # Errors
    /// [`StoreError`].
    fn reopen(&mut self) -> Result<Replica, StoreError>;

    /// Finds the names of the chunks of files; for each in order its answer. Whichever of them are [cut](Self::cut) next
    /// are those, as they were read here or once more.
    ///
    /// # Errors
    /// As [`cut`](Self::cut), of which it is the default.
    fn name(&mut self, files: &[FileToRead]) -> Result<Vec<Result<FileRead, Unreadable>>, RoundError> {
        self.cut(files, &|_| false, &mut |_, _, _| Ok(()))
    }

    /// These will be named next, in one go; none: nothing more will, and what was read may be let go. A host with hands
    /// free begins with it: which names it finds is the same.
    fn read_ahead(&mut self, files: &[FileToRead]) {
        let _ = files;
    }

    /// Cuts files; for each in order its answer. `wanted` is asked for every chunk (from any thread), and `take` gets
    /// those that are. An error of `take` ends it.
    ///
    /// # Errors
    /// That of `take`.
    fn cut(
        &mut self,
        files: &[FileToRead],
        wanted: &(dyn Fn(&ChunkId) -> bool + Sync),
        take: &mut Take<'_>,
    ) -> Result<Vec<Result<FileRead, Unreadable>>, RoundError>;

    /// Nothing in the outbox is needed any more.
    fn empty_outbox(&mut self);

    /// Which files somewhere below the folder programs have open now, as far as that can be told.
    fn open_now(&mut self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// What moves from now on goes in one direction; whether something waits to go in the other.
    fn turn_to(&mut self, other_waits: bool) {
        let _ = other_waits;
    }

    /// Whether something waits for this round to end: what was saved, what came, a person's command. Then
    /// [`cut`](Self::cut) ends with [`RoundError::GaveWay`] between two chunks, and so does it when the other direction
    /// has its turn.
    fn others_wait(&self) -> bool {
        false
    }

    /// What is half sent, or half fetched.
    fn begun(&mut self) -> &mut Begun;

    /// Tells whoever watches how far the round is.
    fn progress(&mut self, step: Step);

    /// Whether the round shall end as soon as it can, with [`RoundError::Stopped`]. What is done by then stays done.
    fn is_stopped(&self) -> bool {
        false
    }
}

/// Takes a chunk that was wanted, and may send it or put it into the outbox; waiting there is how a slow network
/// slows down the reading. Always called on the thread that cuts were asked from.
pub type Take<'a> = dyn FnMut(SealedChunk, &dyn Transport, &dyn ChunkStore) -> Result<(), RoundError> + 'a;

/// Capabilities that are used at the same time.
pub struct Parts<'a, D: Disk> {
    /// The synced folder.
    pub disk: &'a mut D,
    /// The way to the server.
    pub transport: &'a dyn Transport,
    /// Chunks of saves that the server has not got yet.
    pub outbox: &'a dyn ChunkStore,
    /// Records that were kept.
    pub records: &'a dyn KeptRecords,
    /// Lists of large files' chunks.
    pub lists: &'a dyn Lists,
    /// Whose turn it is.
    pub turns: &'a dyn Turns,
}

/// Whether what moves goes on, or it is another's turn ([`flow`](crate::flow)).
pub trait Turns {
    /// Before the next piece moves: false, it is another's turn, or the round shall end.
    fn goes_on(&self) -> bool;
}

/// Nobody waits for anything.
impl Turns for () {
    fn goes_on(&self) -> bool {
        true
    }
}

/// Records that a device kept.
pub trait KeptRecords {
    /// The one at `position`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn at(&self, position: u64) -> Result<Arc<Record>, StoreError>;
}

/// A file that has to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileToRead {
    /// Which.
    pub path: String,
    /// About how large.
    pub size: u64,
    /// What the version that it replaces holds.
    pub replaced: Option<Content>,
    /// Only so many bytes of it: all that it had when it was read before.
    pub first: Option<u64>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRead {
    /// What it was, before and after.
    pub node: Node,
    /// What it holds.
    pub content: Content,
    /// All its chunks, its manifest's own included.
    pub chunks: Vec<ChunkRef>,
    /// Whether more was written behind what was read: then `node` is what was read, and that nothing before it changed
    /// is seen by reading it once more.
    pub grew: bool,
}

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// For people.
    pub why: String,
    /// Whether it is merely being written, and will be read in a later round.
    pub passing: bool,
}

/// The device's own state could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room. Nothing was lost.
    #[error("no space left in {place}")]
    Full {
        /// Where.
        place: String,
    },
    /// Stored bytes are not what was written, or do not make sense.
    #[error("the device's own state in {place} is damaged: {what}")]
    Damaged {
        /// Where.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// Somebody else removed or replaced it while it was at work. Nothing was written.
    #[error("the device's own state in {place} was removed or replaced while it was in use")]
    Replaced {
        /// Where.
        place: String,
    },
    /// Anything else.
    #[error("the device's own state in {place} cannot be used: {what}")]
    Failed {
        /// Where.
        place: String,
        /// What the system said.
        what: String,
    },
}
