//! Where entries are: the replicated move of Kleppmann et al. (2022), undone and redone in batches.
//!
//! Moves and restores with a place take effect in (hlc, device) order, each unless it closes a cycle. The log
//! keeps them in that order with the edge that each replaced. A group that arrives is sorted, the log undone
//! once down to its smallest key, merged and redone.
//!
//! Creates are in no log. A create never closes a cycle: what names its entry has seen it and has a greater key,
//! so nothing lies below the entry yet. For the same reason it changes no other operation, wherever its key
//! falls among them: the walk upwards from any folder that an earlier or concurrent operation names cannot
//! meet an entry that its author did not know of, as only operations that know it can put anything below it.
//! So it takes effect once, when it arrives.

use crate::{
    Projections,
    batches::{DotIx, What},
    entries::{EntryIx, ROOT, flag},
    intern::NONE,
    mistakes::{Mistake, made},
};
use annals_events::{DeviceId, Dot, Seen};
use std::{cmp::Ordering, collections::BTreeMap};

/// A move in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) hlc: u64,
    pub(crate) device: u32,
    /// Row of places.
    pub(crate) place: u32,
    /// The edge it replaced; [`NONE`] for one that is void.
    pub(crate) before: DotIx,
}

/// The log of moves.
#[derive(Clone, Debug, Default)]
pub(crate) struct MoveTree {
    /// In (hlc, device) order.
    pub(crate) log: Vec<Op>,
    /// For each device its moves, as (counter, hlc); both rise.
    pub(crate) by_device: Vec<Vec<(u64, u64)>>,
    /// Arrived and not in the log yet.
    pending: Vec<Op>,
}

impl MoveTree {
    /// Takes note of a move; [`Projections::settle_moves`] makes it take effect.
    pub(crate) fn arrive(&mut self, hlc: u64, device: u32, counter: u64, place: u32) {
        self.by_device.resize(self.by_device.len().max(device as usize + 1), Vec::new());
        self.by_device[device as usize].push((counter, hlc));
        self.pending.push(Op { hlc, device, place, before: NONE });
    }
}

/// An entry whose edge changed while the log was worked on, with the folder it is still linked in.
struct Touched {
    entry: EntryIx,
    linked_in: EntryIx,
}

impl Projections {
    /// Undoes the log to the smallest key that arrived, merges, redoes, and links what came out elsewhere.
    pub(crate) fn settle_moves(&mut self) {
        let mut arrived = std::mem::take(&mut self.moves.pending);
        if arrived.is_empty() {
            return;
        }
        arrived.sort_by(|a, b| self.compare_ops(a, b));
        let cut = self.moves.log.partition_point(|op| self.compare_ops(op, &arrived[0]).is_lt());
        let cut = if made(Mistake::LastArrivalWins) { self.moves.log.len() } else { cut };
        let mut touched = Vec::new();
        let tail = self.moves.log.split_off(cut);
        for op in tail.iter().rev().filter(|op| op.before != NONE) {
            let entry = self.places[op.place as usize].entry;
            self.set_edge(entry, op.before, &mut touched);
        }
        let mut redo = Vec::with_capacity(tail.len() + arrived.len());
        let (mut old, mut new) = (tail.into_iter().peekable(), arrived.into_iter().peekable());
        while let (Some(a), Some(b)) = (old.peek(), new.peek()) {
            redo.extend(if self.compare_ops(a, b).is_lt() { old.next() } else { new.next() });
        }
        redo.extend(old.chain(new));
        for mut op in redo {
            let place = &self.places[op.place as usize];
            let (entry, dot) = (place.entry, place.dot);
            op.before =
                if self.is_at_or_above(entry, place.parent) { NONE } else { self.entries.edge(entry) };
            if op.before != NONE {
                self.set_edge(entry, dot, &mut touched);
            }
            self.moves.log.push(op);
        }
        self.relink(touched);
    }

    pub(crate) fn compare_ops(&self, a: &Op, b: &Op) -> Ordering {
        let device = |op: &Op| self.devices.rows[op.device as usize].id;
        a.hlc.cmp(&b.hlc).then_with(|| device(a).cmp(&device(b)))
    }

    fn set_edge(&mut self, entry: EntryIx, edge: DotIx, touched: &mut Vec<Touched>) {
        if !self.entries.has(entry, flag::TOUCHED) {
            self.entries.set(entry, flag::TOUCHED, true);
            touched.push(Touched { entry, linked_in: self.entries.parent[entry as usize] });
        }
        self.entries.parent[entry as usize] = self.parent_by(edge);
        self.entries.rich_mut(entry).edge = edge;
    }

    /// The folder that a create, move or restore puts its entry into.
    pub(crate) fn parent_by(&self, edge: DotIx) -> EntryIx {
        match self.devices.batches.what(edge) {
            What::Create(entry) => self.entries.born_parent(entry),
            What::Move(place) | What::Restore(place) => self.places[place as usize].parent,
            _ => unreachable!("an edge is a create, a move or a restore"),
        }
    }

    /// Whether `entry` is `folder` or lies above it.
    fn is_at_or_above(&self, entry: EntryIx, folder: EntryIx) -> bool {
        std::iter::successors(Some(folder), |&at| {
            Some(self.entries.parent[at as usize]).filter(|&up| up != NONE)
        })
        .any(|at| at == entry)
    }

    /// Takes what moved out of the folders it was linked in, all of it, and then puts it where it is now. One at
    /// a time, an exchange of two folders would pass through a cycle.
    fn relink(&mut self, touched: Vec<Touched>) {
        let mut moved = Vec::new();
        for Touched { entry, linked_in } in touched {
            self.entries.set(entry, flag::TOUCHED, false);
            let now = std::mem::replace(&mut self.entries.parent[entry as usize], linked_in);
            // Its name may be another one where its folder is not.
            self.changed.folder(now);
            if now != linked_in {
                moved.push((entry, now));
            }
        }
        moved.iter().for_each(|&(entry, _)| self.unlink(entry));
        moved.into_iter().for_each(|(entry, folder)| self.link(entry, folder));
    }

    /// The tree as a disk had it.
    pub(crate) fn tree_as_seen<'a>(&'a self, seen: &'a Seen, author: Option<Dot>) -> TreeAsSeen<'a> {
        let mut view = TreeAsSeen { whole: self, seen, author, edges: BTreeMap::new() };
        let from = view.first_unseen();
        let log = &self.moves.log;
        for op in log[from..].iter().rev().filter(|op| op.before != NONE) {
            view.edges.insert(self.places[op.place as usize].entry, op.before);
        }
        for op in &log[from..] {
            let place = &self.places[op.place as usize];
            if view.saw(place.dot) && !view.is_at_or_above(place.entry, place.parent) {
                view.edges.insert(place.entry, place.dot);
            }
        }
        view
    }
}

/// The tree of only those events that somebody had seen: the whole one, walked back to the first move that he
/// had not, and forward again over those that he had. Costs what was concurrent, not what there is.
pub(crate) struct TreeAsSeen<'a> {
    whole: &'a Projections,
    seen: &'a Seen,
    author: Option<Dot>,
    /// Edges that differ, or may.
    edges: BTreeMap<EntryIx, DotIx>,
}

impl TreeAsSeen<'_> {
    pub(crate) fn saw(&self, dot: DotIx) -> bool {
        let dot = self.whole.devices.dot(dot);
        match self.author {
            Some(author) => self.seen.by(author, dot),
            None => self.seen.vector.covers(dot) && !self.seen.unseen.contains(dot),
        }
    }

    /// The event that gives `entry` its place here, and the folder.
    pub(crate) fn edge(&self, entry: EntryIx) -> Option<(DotIx, EntryIx)> {
        let entries = &self.whole.entries;
        if entry == ROOT || !self.saw(entries.born[entry as usize]) {
            return None;
        }
        let edge = self.edges.get(&entry).copied().unwrap_or_else(|| entries.edge(entry));
        Some((edge, self.whole.parent_by(edge)))
    }

    fn is_at_or_above(&self, entry: EntryIx, folder: EntryIx) -> bool {
        std::iter::successors(Some(folder), |&at| self.edge(at).map(|(_, up)| up)).any(|at| at == entry)
    }

    /// Where in the log the first move stands that was not seen.
    fn first_unseen(&self) -> usize {
        let devices = &self.whole.devices;
        let mut first: Option<(u64, DeviceId)> = None;
        let mut note = |moves: &[(u64, u64)], from: u64, to: u64, id: DeviceId| {
            let at = moves.partition_point(|(counter, _)| *counter < from);
            if let Some(&(_, hlc)) = moves.get(at).filter(|(counter, _)| *counter <= to) {
                first = Some(first.map_or((hlc, id), |known| known.min((hlc, id))));
            }
        };
        for (row, moves) in devices.rows.iter().zip(&self.whole.moves.by_device) {
            let own = self.author.filter(|author| author.device == row.id).map(|author| author.counter);
            let covered = own.unwrap_or_else(|| self.seen.vector.get(row.id));
            note(moves, covered + 1, u64::MAX, row.id);
        }
        for (id, from, to) in self.seen.unseen.ranges() {
            if let Some(moves) = devices.find(id).and_then(|ix| self.whole.moves.by_device.get(ix as usize)) {
                note(moves, from, to, id);
            }
        }
        let log = &self.whole.moves.log;
        first.map_or(log.len(), |first| {
            log.partition_point(|op| (op.hlc, devices.rows[op.device as usize].id) < first)
        })
    }
}
