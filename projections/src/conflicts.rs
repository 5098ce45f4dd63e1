//! What stands against what, as state: every answer follows from the same set of events that the tree follows
//! from, and goes away when that does.
//!
//! Open ones wait for a choice: several heads, several siblings of one name. The others were settled by a rule
//! and are told for those who want to know: an edit that outlived a delete, moves of one entry that did not know
//! of each other, a move that is void because it would have closed a cycle. What both sides deleted leaves
//! nothing to show and is told from the log, not from here.

use crate::{
    Conflict, ConflictKind, Projections,
    batches::{DotIx, What},
    entries::{EntryIx, ROOT, flag},
    intern::NONE,
    names::Why,
};
use annals_events::EntryKind;
use std::collections::BTreeMap;

impl Projections {
    /// Everything that stands against something, open ones first, by path.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut found = self.shown_conflicts();
        for ix in (1..self.entries.len()).filter(|&ix| self.entries.rich(ix).is_some()) {
            found.extend(self.outlived_delete(ix));
            found.extend(self.moved_twice(ix));
        }
        found.extend(self.void_moves());
        found.sort_by(|a, b| {
            let key = |c: &Conflict| (!c.open, c.path.clone(), c.kind, c.entry);
            key(a).cmp(&key(b))
        });
        found
    }

    /// Several heads, and several siblings of one name.
    fn shown_conflicts(&self) -> Vec<Conflict> {
        let (mut found, mut siblings) = (Vec::new(), Vec::new());
        self.walk_disputed(|prefix, line| {
            let entry = line.entries[0];
            let path = || format!("{prefix}{}", line.name);
            if line.why == Why::Sibling {
                siblings.push((path(), entry, format!("{prefix}{}", line.given)));
            }
            if line.why != Why::Head && self.entries.kind(entry) == EntryKind::File {
                let heads = self.heads_of(entry);
                if heads.len() > 1 {
                    let named = heads.iter().map(|&head| self.devices.dot(head)).collect();
                    let base = self.base_of(&heads).map(|base| self.devices.dot(base));
                    let conflict = self.conflict(ConflictKind::BothModified, entry, path(), named, true);
                    found.push(Conflict { base, ..conflict });
                }
            }
        });
        let mut plain: BTreeMap<String, EntryIx> = BTreeMap::new();
        if !siblings.is_empty() {
            self.walk(|prefix, line| {
                if line.why == Why::Plain {
                    plain.insert(format!("{prefix}{}", line.name), line.entries[0]);
                }
            });
        }
        for (path, entry, given) in siblings {
            let first = plain.get(&given).copied();
            let heads = first.into_iter().chain([entry]).map(|ix| self.devices.dot(self.entries.edge(ix)));
            found.push(self.conflict(ConflictKind::Name, entry, path, heads.collect(), true));
        }
        found
    }

    /// The latest version by a person that all these versions come from.
    fn base_of(&self, heads: &[DotIx]) -> Option<DotIx> {
        let mut common = self.history_with(heads.first().copied());
        for &head in &heads[1..] {
            let other = self.history_with([head]);
            common.retain(|version| other.contains(version));
        }
        common.into_iter().filter(|&v| !self.is_merge(v)).max_by_key(|&v| self.devices.order(v))
    }

    /// A version that lives although a delete that did not know of it removed what it was made from.
    fn outlived_delete(&self, ix: EntryIx) -> Option<Conflict> {
        let rich = self.entries.rich(ix)?;
        if self.entries.kind(ix) != EntryKind::File || !self.entries.has(ix, flag::SHOWN) {
            return None;
        }
        let live = |&v: &DotIx| !self.is_hidden(ix, v) && self.entries.born[ix as usize] != v;
        let outlived = rich.maximal.iter().copied().filter(live).find_map(|version| {
            let unknown =
                |delete: DotIx| !self.devices.saw(delete, version) && !self.devices.saw(version, delete);
            let standing = rich.holds.iter().filter(|hold| !hold.lifted);
            let delete = standing.map(|hold| self.deletes[hold.delete as usize].dot).find(|&d| unknown(d))?;
            Some(vec![self.devices.dot(version), self.devices.dot(delete)])
        })?;
        Some(self.conflict(ConflictKind::ModifiedDeleted, ix, self.path_of(ix), outlived, false))
    }

    fn moved_twice(&self, ix: EntryIx) -> Option<Conflict> {
        let placed: Vec<DotIx> =
            self.entries.places(ix).iter().copied().filter(|&p| self.gives_place(p)).collect();
        if placed.len() < 2 || !self.entries.has(ix, flag::SHOWN) {
            return None;
        }
        let moves = self.sorted_dots(placed);
        Some(self.conflict(ConflictKind::MovedMoved, ix, self.path_of(ix), moves, false))
    }

    fn gives_place(&self, dot: DotIx) -> bool {
        match self.devices.batches.what(dot) {
            What::Move(place) | What::Restore(place) => self.places[place as usize].parent != NONE,
            _ => false,
        }
    }

    /// Void moves that no later place of their entry supersedes.
    fn void_moves(&self) -> impl Iterator<Item = Conflict> + '_ {
        self.moves.log.iter().filter(|op| op.before == NONE).filter_map(|op| {
            let place = &self.places[op.place as usize];
            let current = self.entries.places(place.entry).contains(&place.dot);
            let shown = current && self.entries.has(place.entry, flag::SHOWN);
            shown.then(|| {
                let moves = vec![self.devices.dot(place.dot)];
                self.conflict(ConflictKind::Cycle, place.entry, self.path_of(place.entry), moves, false)
            })
        })
    }

    fn conflict(
        &self,
        kind: ConflictKind,
        ix: EntryIx,
        path: String,
        heads: Vec<annals_events::Dot>,
        open: bool,
    ) -> Conflict {
        Conflict { kind, entry: self.entry_id(ix), path, heads, base: None, open }
    }

    /// The names from the root down, as they were given.
    fn path_of(&self, ix: EntryIx) -> String {
        let mut names: Vec<String> = vec![self.name_of(ix)];
        names.extend(self.ancestors_of(ix).filter(|&up| up != ROOT).map(|up| self.name_of(up)));
        names.reverse();
        names.join("/")
    }
}
