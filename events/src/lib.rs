//! What happened: the words everyone shares, and the log that keeps them.
//!
//! Reading order: [`id`] and [`path`] name things, [`hlc`] and [`causality`] say what came before what,
//! [`manifest`] says what a file holds, [`event`] lists every fact there is, [`batch`] signs a run of
//! them, [`record`] is a batch once a server admitted it, [`codec`] turns all of it into bytes and back,
//! [`segment`] keeps bytes on disk, and [`log`] is the place where records live.
//!
//! What must always hold: hashes and signatures are of the exact bytes that were received, never of
//! values encoded again; a decoded value keeps those bytes, so kinds and fields that this release does
//! not know survive. Nothing in here reads a clock or draws a random number.

pub mod batch;
pub mod causality;
pub mod codec;
pub mod epoch;
pub mod event;
pub mod hlc;
pub mod id;
pub mod log;
pub mod manifest;
pub mod path;
pub mod record;
pub mod segment;

pub use batch::{BATCH_BYTES_MAX, Batch, BatchError, BatchHeader, Draft, EVENTS_PER_BATCH_MAX};
pub use causality::{Dot, DotSet, Seen, VersionVector};
pub use event::{Body, EntryKind, Event, Fact, Policy, Role};
pub use hlc::{Hlc, HlcClock};
pub use id::{ChunkId, ContentId, DeviceId, EntryId, Hash, NamespaceId, PublicKey, Seq, UserId, hex};
pub use manifest::{ChunkRef, Content, Cut, Manifest};
pub use path::{Name, NameError};
pub use record::{Admission, Chain, Record};
