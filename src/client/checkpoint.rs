//! What a device's rows add up to, in one file beside them: the next start goes on from there.
//!
//! ```text
//! "annals device checkpoint 1\0"
//! where the row of records ends, and that of changes: place u64, running hash | bytes of changes, and of the state before
//! the replica's own checkpoint
//! ```
//!
//! What must always hold: what is read is exactly what was written, of this very device, and is used only where both
//! rows still have their marks; everything else is as good as no file. It is not synced: what a crash leaves of it has
//! not the digest that it says.

use super::layout::CHECKPOINT;
use crate::whole;
use annals_engine::{journal::Identity, names::NameRules, replica::Replica};
use annals_events::{
    Hash,
    segment::{Mark, Place},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

const MAGIC: &[u8] = b"annals device checkpoint 1\0";
/// Each mark, and both numbers.
const HEADER: usize = 2 * (8 + Hash::BYTES) + 2 * 8;

/// Records since the last one that are worth another: their signatures are checked again at each start.
const RECORDS_MAX: u64 = 2000;
/// Bytes in both rows since the last one that are worth another; and that share of it.
const BYTES_MIN: u64 = 4 << 10;
const SHARE: u64 = 8;

/// How far the rows were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    pub(super) records: Mark,
    pub(super) state: Mark,
    /// Bytes of changes since the state was written anew, and of that.
    pub(super) grown: u64,
    pub(super) whole: u64,
}

/// The file, and how far behind it is.
pub(super) struct Checkpoint {
    /// None: there is to be none.
    place: Option<PathBuf>,
    /// Bytes of the one that is there.
    length: u64,
    /// Records, and bytes of both rows, since.
    records: u64,
    bytes: u64,
}

impl Checkpoint {
    /// That of the state in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self { place: Some(folder.join(CHECKPOINT)), length: 0, records: 0, bytes: 0 }
    }

    /// None is read, and none written.
    pub(super) fn none() -> Self {
        Self { place: None, length: 0, records: 0, bytes: 0 }
    }

    /// Takes note of what was written into the rows.
    pub(super) fn grew(&mut self, records: u64, bytes: u64) {
        self.records += records;
        self.bytes += bytes;
    }

    /// Takes note of what is in the rows that is not in the one that is there.
    pub(super) fn begins_with(&mut self, records: u64, bytes: u64) {
        (self.records, self.bytes) = (records, bytes);
    }

    /// The rows are others by now: the next chance is taken to write another one.
    pub(super) fn make_due(&mut self) {
        self.records = RECORDS_MAX;
    }

    /// Whether another one would save the next start much.
    pub(super) fn is_due(&self) -> bool {
        self.place.is_some()
            && (self.records >= RECORDS_MAX || self.bytes >= BYTES_MIN.max(self.length / SHARE))
    }

    /// What lies there, if it is what this device wrote.
    pub(super) fn read(&mut self, identity: &Identity) -> Option<(Marks, Replica)> {
        let bytes = fs::read(self.place.as_ref()?).ok()?;
        let (header, replica) = bytes.strip_prefix(MAGIC)?.split_at_checked(HEADER)?;
        let (records, rest) = mark_of(header)?;
        let (state, rest) = mark_of(rest)?;
        let (grown, rest) = number_of(rest)?;
        let (whole, _) = number_of(rest)?;
        let read = Replica::from_checkpoint(identity.clone(), NameRules::default(), replica);
        if let Err(why) = &read {
            tracing::info!(%why, "the device's checkpoint is not used");
        }
        self.length = bytes.len() as u64;
        Some((Marks { records, state, grown, whole }, read.ok()?))
    }

    /// Writes one in place of the one that is there, if the replica is at rest. Should it fail, the next start takes
    /// longer, and that is all.
    pub(super) fn write(&mut self, marks: Marks, replica: &mut Replica) {
        let (Some(place), Some(bytes)) = (&self.place, replica.checkpoint()) else { return };
        let mut header = MAGIC.to_vec();
        for mark in [marks.records, marks.state] {
            header.extend_from_slice(&mark.place.0.to_le_bytes());
            header.extend_from_slice(&mark.chain.0);
        }
        header.extend_from_slice(&marks.grown.to_le_bytes());
        header.extend_from_slice(&marks.whole.to_le_bytes());
        if let Err(error) = whole::cache(place, &[&header, &bytes]) {
            tracing::debug!(%error, "the device's checkpoint could not be written");
        }
        self.length = (header.len() + bytes.len()) as u64;
        (self.records, self.bytes) = (0, 0);
    }
}

fn mark_of(bytes: &[u8]) -> Option<(Mark, &[u8])> {
    let (place, rest) = number_of(bytes)?;
    let (chain, rest) = rest.split_first_chunk()?;
    Some((Mark { place: Place(place), chain: Hash(*chain) }, rest))
}

fn number_of(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}
