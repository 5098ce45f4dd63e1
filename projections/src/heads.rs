//! What a file holds: its heads, by the graph of versions and never by a clock.
//!
//! Versions by people that nothing superseded, less those that a delete holds (unless that leaves none), less
//! those that a resolution dropped and none kept (unless that leaves none). More than one content among them is
//! a conflict: state, not an accident. All of this is computed when somebody asks; a file that was only ever
//! created answers at once.

use crate::{
    Projections,
    batches::{DotIx, What},
    entries::{EntryIx, Rich},
    history,
    mistakes::{Mistake, made},
};
use annals_events::{Dot, EntryId, Seen};
use std::collections::{BTreeMap, BTreeSet};

impl Projections {
    /// A file's versions by people that count now, sorted by dot.
    #[must_use]
    pub fn human_heads(&self, e: EntryId) -> Vec<Dot> {
        self.entry_ix(e).map_or_else(Vec::new, |ix| self.sorted_dots(self.human_heads_of(ix)))
    }

    /// What the folder shows of a file, the one with the plain name first: the merge of exactly the human heads if
    /// there is one, else those heads, one for each content.
    #[must_use]
    pub fn heads(&self, e: EntryId) -> Vec<Dot> {
        let Some(ix) = self.entry_ix(e) else { return Vec::new() };
        self.heads_of(ix).into_iter().map(|head| self.devices.dot(head)).collect()
    }

    /// The versions by people that were made from this one, itself or through merges; unsorted.
    #[must_use]
    pub fn superseded_by(&self, version: Dot) -> Vec<Dot> {
        let Some(ix) = self.devices.index(version) else { return Vec::new() };
        let Some(entry) = self.entry_of(ix) else { return Vec::new() };
        let later = self.entries.versions(entry).iter().copied().filter(|&later| !self.is_merge(later));
        let later = later.filter(|&later| self.supersedes(later).contains(&ix));
        later.map(|later| self.devices.dot(later)).collect()
    }

    /// For each version of a file that people superseded, itself or through merges: by which.
    #[must_use]
    pub fn superseded(&self, e: EntryId) -> BTreeMap<Dot, Vec<Dot>> {
        let Some(ix) = self.entry_ix(e) else { return BTreeMap::new() };
        let mut superseded: BTreeMap<Dot, Vec<Dot>> = BTreeMap::new();
        for &later in self.entries.versions(ix).iter().filter(|&&later| !self.is_merge(later)) {
            for earlier in self.supersedes(later) {
                superseded.entry(self.devices.dot(earlier)).or_default().push(self.devices.dot(later));
            }
        }
        superseded
    }

    /// The latest resolutions that dropped a version, unless one of them kept it; unsorted.
    #[must_use]
    pub fn dropped_by(&self, version: Dot) -> Vec<Dot> {
        let entry = self.devices.index(version).and_then(|ix| self.entry_of(ix));
        let Some(rich) = entry.and_then(|entry| self.entries.rich(entry)) else { return Vec::new() };
        let latest = || rich.resolutions.iter().map(|&row| &self.resolutions[row as usize]);
        if latest().any(|r| r.keep.contains(version)) {
            return Vec::new();
        }
        latest().filter(|r| r.over.contains(version)).map(|r| self.devices.dot(r.dot)).collect()
    }

    /// The places of an entry that no later one supersedes, as a disk had them that showed `seen`. The disk's
    /// own events must be covered like all others.
    #[must_use]
    pub fn places_as_seen(&self, e: EntryId, seen: &Seen) -> Vec<Dot> {
        let Some(ix) = self.entry_ix(e) else { return Vec::new() };
        let places: Vec<DotIx> =
            self.entries.touches(ix).iter().copied().filter(|&t| self.is_seen(t, seen)).collect();
        let places: Vec<DotIx> = places.into_iter().filter(|&t| self.is_place(t)).collect();
        let superseded = |place: DotIx| places.iter().any(|&q| q != place && self.devices.saw(q, place));
        self.sorted_dots(places.iter().copied().filter(|&place| !superseded(place)))
    }

    /// The maximal versions of a file, as a disk had them that showed `seen`.
    #[must_use]
    pub fn maximal_as_seen(&self, e: EntryId, seen: &Seen) -> Vec<Dot> {
        let Some(ix) = self.entry_ix(e) else { return Vec::new() };
        let human: Vec<DotIx> =
            self.entries.versions(ix).iter().copied().filter(|&v| self.is_seen(v, seen)).collect();
        let human: Vec<DotIx> = human.into_iter().filter(|&v| !self.is_merge(v)).collect();
        let below = self.history_with(human.iter().flat_map(|&v| self.parents_of(v).iter().copied()));
        self.sorted_dots(human.into_iter().filter(|v| !below.contains(v)))
    }

    fn is_seen(&self, dot: DotIx, seen: &Seen) -> bool {
        let dot = self.devices.dot(dot);
        seen.vector.covers(dot) && !seen.unseen.contains(dot)
    }

    pub(crate) fn is_place(&self, dot: DotIx) -> bool {
        matches!(self.devices.batches.what(dot), What::Create(_) | What::Move(_) | What::Restore(_))
    }

    pub(crate) fn is_merge(&self, dot: DotIx) -> bool {
        matches!(self.devices.batches.what(dot), What::Merge(_))
    }

    /// Whether a file has one version and nobody ever chose: its head is its create.
    fn only_version(&self, ix: EntryIx) -> Option<DotIx> {
        match self.entries.versions(ix) {
            [only] => Some(*only),
            _ => None,
        }
    }

    pub(crate) fn human_heads_of(&self, ix: EntryIx) -> Vec<DotIx> {
        if let Some(only) = self.only_version(ix) {
            return vec![only];
        }
        let Some(rich) = self.entries.rich(ix) else { return Vec::new() };
        let held: Vec<DotIx> = rich.maximal.iter().copied().filter(|&v| !self.is_hidden(ix, v)).collect();
        let heads = if held.is_empty() { rich.maximal.clone() } else { held };
        if made(Mistake::LatestHeadWins) {
            return heads.into_iter().max_by_key(|&v| self.devices.order(v)).into_iter().collect();
        }
        if rich.resolutions.is_empty() {
            return heads;
        }
        let left: Vec<DotIx> = heads.iter().copied().filter(|&v| !self.is_dropped(rich, v)).collect();
        if left.is_empty() { heads } else { left }
    }

    /// Whether one of the latest resolutions dropped `version` and none kept it.
    fn is_dropped(&self, rich: &Rich, version: DotIx) -> bool {
        let dot = self.devices.dot(version);
        let latest = || rich.resolutions.iter().map(|&row| &self.resolutions[row as usize]);
        latest().any(|r| r.over.contains(dot) && !r.keep.contains(dot))
            && (made(Mistake::DropBeatsKeep) || !latest().any(|r| r.keep.contains(dot)))
    }

    pub(crate) fn heads_of(&self, ix: EntryIx) -> Vec<DotIx> {
        if let Some(only) = self.only_version(ix) {
            return vec![only];
        }
        let human = self.human_heads_of(ix);
        if human.len() < 2 {
            return human;
        }
        if let Some(merge) = self.merge_of(ix, &human) {
            return vec![merge];
        }
        let mut groups = self.groups(&human);
        groups.sort_by_cached_key(|group| {
            let latest_edit = group.iter().map(|&v| self.devices.order(v)).max();
            let root = Some(self.devices.order(self.branch_root(&human, group)));
            std::cmp::Reverse(if made(Mistake::NamesFollowTheLatestEdit) { latest_edit } else { root })
        });
        let latest = |group: Vec<DotIx>| group.into_iter().max_by_key(|&v| self.devices.order(v));
        groups.into_iter().filter_map(latest).collect()
    }

    /// The merge of exactly these heads; the one with the least dot, if there are several.
    fn merge_of(&self, ix: EntryIx, human: &[DotIx]) -> Option<DotIx> {
        let human: BTreeSet<DotIx> = human.iter().copied().collect();
        let merges = self.entries.versions(ix).iter().copied().filter(|&v| self.is_merge(v));
        let exact = merges.filter(|&merge| {
            let inputs = self.parents_of(merge);
            inputs.len() == human.len() && inputs.iter().all(|input| human.contains(input))
        });
        exact.min_by_key(|&merge| self.devices.dot(merge))
    }

    /// Heads put together by content.
    pub(crate) fn groups(&self, human: &[DotIx]) -> Vec<Vec<DotIx>> {
        let mut groups: Vec<Vec<DotIx>> = Vec::new();
        for &head in human {
            match groups.iter_mut().find(|group| self.same_content(group[0], head)) {
                Some(group) => group.push(head),
                None => groups.push(vec![head]),
            }
        }
        groups
    }

    /// The first version that only this head (or its equals) has: a name stays where it is while a file is edited.
    pub(crate) fn branch_root(&self, human: &[DotIx], group: &[DotIx]) -> DotIx {
        let others = self.history_with(human.iter().copied().filter(|head| !group.contains(head)));
        let own = self.history_with(group.iter().copied()).into_iter().filter(|v| !others.contains(v));
        own.min_by_key(|&v| self.devices.order(v)).expect("a head is in no other head's history")
    }

    /// What a version by a person takes the place of: its parents, and what a merge among them was made of.
    fn supersedes(&self, version: DotIx) -> BTreeSet<DotIx> {
        let mut gone = BTreeSet::new();
        let mut todo: Vec<DotIx> = self.parents_of(version).to_vec();
        while let Some(parent) = todo.pop() {
            if gone.insert(parent) && self.is_merge(parent) {
                todo.extend_from_slice(self.parents_of(parent));
            }
        }
        gone
    }

    /// A new version by a person.
    pub(crate) fn supersede(&mut self, ix: EntryIx, version: DotIx) {
        let gone = self.supersedes(version);
        let rich = self.entries.rich_mut(ix);
        rich.maximal.retain(|v| !gone.contains(v));
        rich.maximal.push(version);
        rich.versions.push(version);
    }

    /// Whether a version's chunks are kept.
    pub(crate) fn is_retained(&self, version: u32) -> bool {
        self.versions.has(version, history::flag::RETAINED)
    }
}
