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
    /// For each run of 64 events the row of the first: from there to any event's own row it is a step or two.
    pub(crate) row_by_run: Vec<u32>,
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
        if self.what.len().is_multiple_of(64) {
            push(
                &mut self.row_by_run,
                u32::try_from(self.rows.len() - 1).expect("fewer batches than events"),
            );
        }
        push(&mut self.hlc, hlc);
        push(&mut self.what, what.pack());
    }

    /// The row of an event's batch.
    pub(crate) fn row_of(&self, dot: DotIx) -> &BatchRow {
        let mut at = self.row_by_run[dot as usize / 64] as usize;
        while self.rows.get(at + 1).is_some_and(|next| next.base <= dot) {
            at += 1;
        }
        &self.rows[at]
    }

    /// The batch of `device` that holds `counter`.
    pub(crate) fn row_at(&self, device: u32, counter: u64) -> Option<u32> {
        let batches = &self.by_device[device as usize];
        let row = batches[last_at_or_below(batches, counter)?].1;
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
        Some(&self.rows[batches[last_at_or_below(batches, counter)?].1 as usize])
    }
}

/// The last batch that begins at or below `counter`. Batches of one device are of much the same size, so the first
/// guess is by proportion, and what is left of the way is found by doubling steps.
fn last_at_or_below(batches: &[(u64, u32)], counter: u64) -> Option<usize> {
    let (&(lowest, _), &(highest, _)) = (batches.first()?, batches.last()?);
    if counter >= highest {
        return Some(batches.len() - 1);
    }
    if counter < lowest {
        return None;
    }
    let (way, all, steps) = (counter - lowest, highest - lowest, batches.len() as u64 - 1);
    let share = match way.checked_mul(steps) {
        Some(product) => product / all,
        None => u64::try_from(u128::from(way) * u128::from(steps) / u128::from(all)).expect("at most steps"),
    };
    let guess = usize::try_from(share).expect("below the number of batches");
    let (mut low, mut high, mut step) = (guess, guess + 1, 1);
    while batches[low].0 > counter {
        high = low;
        low = low.saturating_sub(step);
        step *= 2;
    }
    while high < batches.len() && batches[high].0 <= counter {
        low = high;
        high = (high + step).min(batches.len());
        step *= 2;
    }
    Some(low + batches[low..high].partition_point(|(first, _)| *first <= counter) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_by_proportion_finds_what_a_plain_search_finds() {
        for firsts in
            [vec![1], vec![1, 2, 1000], vec![1, 900, 950, 1000, 1001], (0..300).map(|i| i * i + 1).collect()]
        {
            let batches: Vec<(u64, u32)> = firsts.iter().map(|&first| (first, 0)).collect();
            for counter in 0..1100 {
                let plain = firsts.iter().rposition(|&first| first <= counter);
                assert_eq!(last_at_or_below(&batches, counter), plain, "{counter} in {firsts:?}");
            }
        }
    }

    #[test]
    fn what_an_event_is_fits_four_bytes() {
        for what in [What::Create(0), What::Restore(0x0fff_ffff), What::Attributes(7), What::Other] {
            assert_eq!(What::unpack(what.pack()), what);
        }
    }
}
