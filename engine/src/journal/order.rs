//! In which order what was signed goes out: what has little to send does not wait for what has much, and nothing to do
//! with it.
//!
//! What must always hold: what builds on something, is about the same entry, or takes its name, stays behind it, so that
//! the versions of one file go in their order and whoever follows meets nothing that the folder never showed; what goes
//! out under another name had seen no more than before. What only says what files hold gives way, moves and removals
//! keep their places among each other. Left out: how much there is to send.

use super::{Journal, Pending, reissue::Reissue};
use crate::flow;
use annals_events::{Batch, Dot, DotSet, EntryId, Fact, HlcClock, Seen, VersionVector};
use std::collections::{BTreeMap, BTreeSet};

/// What has less than this to send is in nobody's way.
const PIECE_BYTES_MAX: u64 = 1 << 20;
/// Each class of what waits has so many times as much to send as the one before.
const CLASS: u64 = 4;

/// What a batch does, as far as its place in the queue goes by it.
#[derive(Default)]
struct Doings {
    made: BTreeSet<Dot>,
    named: BTreeSet<Dot>,
    /// Entries that it is about, not those that it only puts something into.
    about: BTreeSet<EntryId>,
    names: BTreeSet<(EntryId, String)>,
    /// Whether it says more than what entries there are and what they hold.
    shapes: bool,
    /// Whether it keeps its place among all others.
    stays: bool,
}

impl Doings {
    fn of(batch: &Batch) -> Self {
        let mut doings = Self::default();
        for (index, event) in batch.events().iter().enumerate() {
            let dot = batch.dot(index);
            doings.made.insert(dot);
            event.fact.each_named(|named| doings.named.extend([named]));
            let name = || batch.body(index).ok().flatten().and_then(|body| body.name);
            let place = |parent: &EntryId| name().map(|name| (*parent, name.to_string().to_lowercase()));
            match &event.fact {
                Fact::EntryCreated { parent, .. } => {
                    doings.about.insert(EntryId(dot));
                    doings.names.extend(place(parent));
                }
                Fact::VersionUploaded { entry, .. } | Fact::AttributesChanged { entry } => {
                    doings.about.insert(*entry);
                }
                Fact::EntryMoved { entry, parent } => {
                    doings.about.insert(*entry);
                    doings.names.extend(place(parent));
                    doings.shapes = true;
                }
                Fact::EntryDeleted { entries, .. } => {
                    doings.about.extend(entries.iter().map(EntryId));
                    doings.shapes = true;
                }
                _ => (doings.shapes, doings.stays) = (true, true),
            }
        }
        doings
    }

    /// Whether this, which was signed later, has to stay behind it.
    fn follows(&self, put_off: &Self) -> bool {
        let is_empty = put_off.made.is_empty();
        !is_empty
            && (self.stays
                || self.shapes && put_off.shapes
                || self.named.intersection(&put_off.made).next().is_some()
                || self.about.intersection(&put_off.about).next().is_some()
                || self.names.intersection(&put_off.names).next().is_some())
    }

    fn add(&mut self, more: &Self) {
        self.made.extend(&more.made);
        self.about.extend(&more.about);
        self.names.extend(more.names.iter().cloned());
        self.shapes |= more.shapes;
    }
}

impl Journal {
    /// The order in which the queue is to go out, by the bytes that each batch has to send, of which a `window` goes
    /// together; none where nothing would wait much less than in the order that it has.
    #[must_use]
    pub fn order(&self, costs: &[u64], window: u64) -> Option<Vec<usize>> {
        let piece = window.min(PIECE_BYTES_MAX);
        let is_known = |pending: &Pending| {
            !pending.batch.events().iter().any(|event| matches!(event.fact, Fact::Unknown { .. }))
        };
        let all: u64 = costs.iter().sum();
        if costs.len() < 2 || !flow::is_long(all, piece) || !self.pending.iter().all(is_known) {
            return None;
        }
        let doings: Vec<Doings> = self.pending.iter().map(|pending| Doings::of(&pending.batch)).collect();
        let most = costs.iter().copied().max().unwrap_or(0);
        let classes = std::iter::successors(Some(piece), |least| least.checked_mul(CLASS));
        let mut classes: Vec<u64> = classes.take_while(|least| *least <= most).collect();
        let mut order: Vec<usize> = (0..costs.len()).collect();
        while let Some(least) = classes.pop() {
            order = put_off(order, &doings, |place| costs[place] >= least);
        }
        let (before, after) = (waits(0..costs.len(), costs), waits(order.iter().copied(), costs));
        let is_less = |place: usize| flow::is_long(before[place].saturating_sub(after[place]), piece);
        (0..costs.len()).any(is_less).then_some(order)
    }

    /// Puts the queue into another order: what has to be signed again for that has the new names that this answers with.
    /// What stands before the first change stays as it is.
    pub fn reorder(&mut self, order: &[usize], clock: &mut HlcClock, now_ms: u64) -> BTreeMap<Dot, Dot> {
        let kept = order.iter().enumerate().take_while(|(place, from)| place == *from).count();
        let mut queue: Vec<Option<Pending>> = self.pending.drain(kept..).map(Some).collect();
        let mut last = self.pending.back().and_then(|pending| pending.batch.events().last()).map(|e| e.hlc);
        let mut out = Reissue::default();
        for from in &order[kept..] {
            let Some(Pending { batch, seen }) = queue[from - kept].take() else { continue };
            let now_seen = self.not_less_than_before(&seen);
            // What it was when it was said, where it can be: others' changes of that time are compared with it.
            let stays = now_seen.vector == seen.vector;
            let drafts = self.rest_of(&batch, &mut out, |was| {
                let stamp =
                    if stays && last.is_none_or(|last| was > last) { was } else { clock.tick(now_ms) };
                last = Some(stamp);
                stamp
            });
            self.seal(drafts, &now_seen);
        }
        out.names
    }

    /// The same that was seen, told on top of what the batch before had seen.
    fn not_less_than_before(&self, seen: &Seen) -> Seen {
        let before = self.pending.back().map_or(&self.admitted.1, |pending| &pending.seen.vector);
        let mut out = seen.clone();
        out.vector.join(before);
        out.unseen = more_than(&out.vector, &seen.vector, seen.unseen.clone());
        out
    }
}

/// `unseen`, and what `vector` covers beyond `seen`.
fn more_than(vector: &VersionVector, seen: &VersionVector, unseen: DotSet) -> DotSet {
    let mut unseen = unseen;
    for last in vector.iter() {
        for counter in seen.get(last.device) + 1..=last.counter {
            unseen.insert(Dot::new(last.device, counter));
        }
    }
    unseen
}

/// The same, with what `is_much` at the end, and what has to stay behind that.
fn put_off(order: Vec<usize>, doings: &[Doings], is_much: impl Fn(usize) -> bool) -> Vec<usize> {
    let (mut first, mut later, mut behind) = (Vec::new(), Vec::new(), Doings::default());
    for place in order {
        let doing = &doings[place];
        let gives_way = is_much(place) && !doing.shapes;
        match gives_way || doing.follows(&behind) {
            true => {
                behind.add(doing);
                later.push(place);
            }
            false => first.push(place),
        }
    }
    first.extend(later);
    first
}

/// How many bytes go before each, in this order.
fn waits(order: impl Iterator<Item = usize>, costs: &[u64]) -> Vec<u64> {
    let (mut waits, mut sum) = (vec![0; costs.len()], 0);
    for place in order {
        waits[place] = sum;
        sum += costs[place];
    }
    waits
}

#[cfg(test)]
mod tests;
