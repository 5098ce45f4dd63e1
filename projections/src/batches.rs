//! Which dots there are: every batch with its author, place and resolved [`Seen`], every event with its stamp
//! and what it is.
//!
//! An event's index is its batch's base plus its place in the batch, so that where its bytes are, what its
//! author had seen and who that was cost nothing an event. Twelve bytes an event, about 100 a batch.

use crate::intern::{NONE, push};
use annals_events::{Hash, Seen};

/// The index of an event, in order of arrival.
pub(crate) type DotIx = u32;

/// What an event is: a kind and the row of its table, in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Row of entries.
    Create(u32),
    /// Row of places.
    Move(u32),
    /// Row of places.
    Restore(u32),
    /// Row of versions.
    Upload(u32),
    /// Row of versions.
    Merge(u32),
    /// Row of deletes.
    Delete(u32),
    /// Row of resolutions.
    Resolve(u32),
    /// Row of entries.
    Attributes(u32),
    /// Anything that nothing names.
    Other,
}

impl What {
    pub(crate) fn pack(self) -> u32 {
        let (kind, row) = match self {
            Self::Create(row) => (0, row),
            Self::Move(row) => (1, row),
            Self::Restore(row) => (2, row),
            Self::Upload(row) => (3, row),
            Self::Merge(row) => (4, row),
            Self::Delete(row) => (5, row),
            Self::Resolve(row) => (6, row),
            Self::Attributes(row) => (7, row),
            Self::Other => (8, 0),
        };
        kind << 28 | row
    }

    pub(crate) fn unpack(packed: u32) -> Self {
        let row = packed & 0x0fff_ffff;
        match packed >> 28 {
            0 => Self::Create(row),
            1 => Self::Move(row),
            2 => Self::Restore(row),
            3 => Self::Upload(row),
            4 => Self::Merge(row),
            5 => Self::Delete(row),
            6 => Self::Resolve(row),
            7 => Self::Attributes(row),
            _ => Self::Other,
        }
    }
}

/// One folded batch.
#[derive(Clone, Debug)]
pub(crate) struct BatchRow {
    /// Index of its author.
    pub(crate) device: u32,
    /// How many events.
    pub(crate) count: u32,
    /// Counter of the first.
    pub(crate) first: u64,
    /// Event index of the first.
    pub(crate) base: DotIx,
    /// Row of `seens`.
    pub(crate) seen: u32,
    /// Where its bytes are.
    pub(crate) position: u64,
    /// Its first seq; 0 while it is pending.
    pub(crate) seq: u64,
    /// When it was admitted.
    pub(crate) admitted_at: u64,
    /// Its name.
    pub(crate) hash: Hash,
}

/// All folded batches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batches {
    pub(crate) rows: Vec<BatchRow>,
    /// For each device its batches as (first counter, row), rising.
    pub(crate) by_device: Vec<Vec<(u64, u32)>>,
    pub(crate) hlc: Vec<u64>,
    pub(crate) what: Vec<u32>,
    pub(crate) seens: Vec<Seen>,
}

impl Batches {
    /// Notes a batch whose events follow by [`push_event`](Self::push_event).
    pub(crate) fn begin(&mut self, row: BatchRow) {
        let at = u32::try_from(self.rows.len()).expect("fewer batches than events");
        self.by_device[row.device as usize].push((row.first, at));
        push(&mut self.rows, row);
    }

    /// The index that the next event will have.
    pub(crate) fn next(&self) -> DotIx {
        u32::try_from(self.what.len()).ok().filter(|&ix| ix != NONE).expect("fewer than 2^32 events")
    }

    pub(crate) fn push_event(&mut self, hlc: u64, what: What) {
        push(&mut self.hlc, hlc);
        push(&mut self.what, what.pack());
    }

    /// The row of an event's batch.
    pub(crate) fn row_of(&self, dot: DotIx) -> &BatchRow {
        &self.rows[self.rows.partition_point(|row| row.base <= dot) - 1]
    }

    /// The batch of `device` that holds `counter`.
    pub(crate) fn row_at(&self, device: u32, counter: u64) -> Option<u32> {
        let batches = &self.by_device[device as usize];
        let row = match batches.last() {
            Some(&(first, row)) if first <= counter => row,
            _ => batches[batches.partition_point(|(first, _)| *first <= counter).checked_sub(1)?].1,
        };
        let found = &self.rows[row as usize];
        (counter < found.first + u64::from(found.count)).then_some(row)
    }

    /// The index of an event.
    pub(crate) fn index(&self, device: u32, counter: u64) -> Option<DotIx> {
        let row = &self.rows[self.row_at(device, counter)? as usize];
        Some(row.base + u32::try_from(counter - row.first).expect("it lies in the batch"))
    }

    pub(crate) fn what(&self, dot: DotIx) -> What {
        What::unpack(self.what[dot as usize])
    }

    /// The last batch of `device` that begins at or below `counter`.
    pub(crate) fn last_at(&self, device: u32, counter: u64) -> Option<&BatchRow> {
        let batches = &self.by_device[device as usize];
        let at = batches.partition_point(|(first, _)| *first <= counter).checked_sub(1)?;
        Some(&self.rows[batches[at].1 as usize])
    }
}
