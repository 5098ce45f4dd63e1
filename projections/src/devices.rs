//! Who acts here: every device with its key, its person, how far it is, and every dot it made.
//!
//! A device is linked by a server's event and retired by another; both are facts of the stream, not of the
//! directory. What does not follow from the set of events alone (seqs, times of admission) is kept for those
//! who ask and stays out of digests.

use crate::{
    batches::{Batches, DotIx},
    intern::NONE,
    mistakes::{Mistake, made},
};
use annals_events::{DeviceId, Dot, Hash, Hlc, PublicKey, Seen, Seq, UserId, VersionVector};

/// What is known of a device.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeviceState {
    /// Its public key; zeros while it is not linked.
    pub key: PublicKey,
    /// For whom it acts; none for a server.
    pub user: Option<UserId>,
    /// What people call it; empty where that is withheld.
    pub label: String,
    /// Whether an event made it a device of this namespace.
    pub linked: bool,
    /// Where that event stands; none while it is pending.
    pub linked_at: Option<Seq>,
    /// Its last admitted counter, once it is retired.
    pub retired_last: Option<u64>,
    /// The counter of its last event.
    pub last_counter: u64,
    /// Its last batch.
    pub last_batch: Option<Hash>,
    /// What that batch had pulled, made whole.
    pub seen: VersionVector,
    /// The stamp of its last event.
    pub last_hlc: Hlc,
    /// How far it said its folder is.
    pub acknowledged: Seq,
    /// The device that it goes on as.
    pub continues: Option<DeviceId>,
    /// Whether it is the server that made the namespace.
    pub is_server: bool,
    /// When its last batch was admitted, in milliseconds since 1970.
    pub last_admitted_at: Option<u64>,
}

/// A row: the state, and the order of the link event it was taken from.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeviceRow {
    pub(crate) id: DeviceId,
    pub(crate) state: DeviceState,
    pub(crate) link_order: (Hlc, DeviceId),
}

/// All devices, and which dots are known.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    /// By index.
    pub(crate) rows: Vec<DeviceRow>,
    /// Indexes sorted by id.
    pub(crate) sorted: Vec<u32>,
    pub(crate) batches: Batches,
}

impl Devices {
    /// A device that is linked, or that acted.
    #[must_use]
    pub fn get(&self, device: DeviceId) -> Option<&DeviceState> {
        self.find(device).map(|ix| &self.rows[ix as usize].state)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, &DeviceState)> {
        self.sorted.iter().map(|&ix| (self.rows[ix as usize].id, &self.rows[ix as usize].state))
    }

    /// Whether an event of this name was folded.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        self.index(dot).is_some()
    }

    /// The stamp of the last event of `device` at or below `counter`; 0 where there is none.
    #[must_use]
    pub fn hlc_at(&self, device: DeviceId, counter: u64) -> Hlc {
        let row = self.find(device).and_then(|ix| self.batches.last_at(ix, counter));
        row.map_or(Hlc(0), |row| {
            let offset = (counter - row.first).min(u64::from(row.count) - 1);
            Hlc(self.batches.hlc[row.base as usize + usize::try_from(offset).expect("below 256")])
        })
    }

    pub(crate) fn find(&self, device: DeviceId) -> Option<u32> {
        let at = self.sorted.binary_search_by(|&ix| self.rows[ix as usize].id.cmp(&device)).ok()?;
        Some(self.sorted[at])
    }

    /// The index of `device`, which gets one if it is new.
    pub(crate) fn intern(&mut self, device: DeviceId) -> u32 {
        match self.sorted.binary_search_by(|&ix| self.rows[ix as usize].id.cmp(&device)) {
            Ok(at) => self.sorted[at],
            Err(at) => {
                let ix = u32::try_from(self.rows.len()).ok().filter(|&ix| ix != NONE).expect("few devices");
                self.rows.push(DeviceRow { id: device, ..DeviceRow::default() });
                self.batches.by_device.push(Vec::new());
                self.sorted.insert(at, ix);
                ix
            }
        }
    }

    /// The index of an event.
    pub(crate) fn index(&self, dot: Dot) -> Option<DotIx> {
        self.batches.index(self.find(dot.device)?, dot.counter)
    }

    /// The name of an event.
    pub(crate) fn dot(&self, ix: DotIx) -> Dot {
        let row = self.batches.row_of(ix);
        Dot::new(self.rows[row.device as usize].id, row.first + u64::from(ix - row.base))
    }

    /// Where an event stands in the total order.
    pub(crate) fn order(&self, ix: DotIx) -> (Hlc, DeviceId) {
        let device = self.batches.row_of(ix).device;
        (Hlc(self.batches.hlc[ix as usize]), self.rows[device as usize].id)
    }

    /// What an event's author had seen.
    pub(crate) fn seen(&self, ix: DotIx) -> &Seen {
        &self.batches.seens[self.batches.row_of(ix).seen as usize]
    }

    /// Whether the event `by` had seen `what`. An event has seen itself.
    pub(crate) fn saw(&self, by: DotIx, what: DotIx) -> bool {
        let row = self.batches.row_of(by);
        let author = Dot::new(self.rows[row.device as usize].id, row.first + u64::from(by - row.base));
        let (seen, what) = (&self.batches.seens[row.seen as usize], self.dot(what));
        seen.by(author, what) || made(Mistake::PulledIsSeen) && seen.vector.covers(what)
    }

    /// Every event, by device and counter: the order of every canonical walk.
    pub(crate) fn all_dots(&self) -> impl Iterator<Item = DotIx> + '_ {
        self.sorted.iter().flat_map(move |&device| {
            self.batches.by_device[device as usize].iter().flat_map(move |&(_, row)| {
                let row = &self.batches.rows[row as usize];
                row.base..row.base + row.count
            })
        })
    }
}
