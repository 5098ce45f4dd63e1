//! The reference fold: what a set of events means, too simple to be wrong.
//!
//! Every answer is computed from the whole set of [`Deed`]s, and no answer depends on the order in which
//! they arrived. It shares no code with the projections and keeps nothing between two questions; being
//! slow is allowed. The parts: this file says where entries are, what keeps them alive and which versions
//! are heads; [`listing`] under which names they are shown; [`ledger`] attributes, members and storage.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod ledger;
pub mod listing;

use annals_events::{
    Batch, Body, ContentId, DeviceId, Dot, EntryId, EntryKind, Fact, Hlc, Seen, VersionVector,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// An event with all that is needed to judge it alone.
#[derive(Clone, Debug)]
pub struct Deed {
    pub dot: Dot,
    pub hlc: Hlc,
    pub seen: Rc<Seen>,
    pub fact: Fact,
    pub body: Body,
}

/// The deeds of one batch, given the vector of its author's batch before it; and its own vector.
pub fn deeds_of(batch: &Batch, before: &VersionVector) -> (Vec<Rc<Deed>>, VersionVector) {
    let header = batch.header();
    let vector = before.changed_by(&header.seen);
    let seen = Rc::new(Seen { vector: vector.clone(), unseen: header.unseen.clone() });
    let deeds = (0..batch.events().len()).map(|index| {
        let event = &batch.events()[index];
        Rc::new(Deed {
            dot: batch.dot(index),
            hlc: event.hlc,
            seen: seen.clone(),
            fact: event.fact.clone(),
            body: batch.body(index).unwrap().unwrap_or_default(),
        })
    });
    (deeds.collect(), vector)
}

/// The deeds of a set of batches, in whatever order it is given.
pub fn deeds_of_all<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Vec<Rc<Deed>> {
    let mut batches: Vec<&Batch> = batches.into_iter().collect();
    batches.sort_by_key(|batch| (batch.header().device, batch.header().first));
    batches.dedup_by_key(|batch| batch.hash());
    let (mut deeds, mut vectors) = (Vec::new(), BTreeMap::<DeviceId, VersionVector>::new());
    for batch in batches {
        let vector = vectors.entry(batch.header().device).or_default();
        let (of_batch, now) = deeds_of(batch, vector);
        *vector = now;
        deeds.extend(of_batch);
    }
    deeds
}

/// A total order that respects causality.
pub type Order = (Hlc, DeviceId);

impl Deed {
    pub fn order(&self) -> Order {
        (self.hlc, self.dot.device)
    }

    /// Whether its author's disk showed the event `dot`.
    pub fn saw(&self, dot: Dot) -> bool {
        self.seen.by(self.dot, dot)
    }

    /// The entry that it is about, for the kinds that are about one.
    pub fn entry(&self) -> Option<EntryId> {
        match &self.fact {
            Fact::EntryCreated { .. } => Some(EntryId(self.dot)),
            Fact::EntryMoved { entry, .. }
            | Fact::EntryRestored { entry, .. }
            | Fact::VersionUploaded { entry, .. }
            | Fact::VersionsMerged { entry, .. }
            | Fact::ConflictResolved { entry, .. }
            | Fact::AttributesChanged { entry } => Some(*entry),
            _ => None,
        }
    }

    /// The folder into which it puts its entry.
    fn parent(&self) -> Option<EntryId> {
        match &self.fact {
            Fact::EntryCreated { parent, .. } | Fact::EntryMoved { parent, .. } => Some(*parent),
            Fact::EntryRestored { place, .. } => *place,
            _ => None,
        }
    }

    /// Whether it is a place of its entry.
    fn is_place(&self) -> bool {
        matches!(self.fact, Fact::EntryCreated { .. } | Fact::EntryMoved { .. } | Fact::EntryRestored { .. })
    }

    /// Whether it is a version of its entry.
    fn is_version(&self) -> bool {
        matches!(
            self.fact,
            Fact::EntryCreated { entry_kind: EntryKind::File, .. }
                | Fact::VersionUploaded { .. }
                | Fact::VersionsMerged { .. }
        )
    }

    fn is_merge(&self) -> bool {
        matches!(self.fact, Fact::VersionsMerged { .. })
    }

    /// The versions on which it was made.
    fn parents(&self) -> BTreeSet<Dot> {
        match &self.fact {
            Fact::VersionUploaded { parents, .. } => parents.iter().collect(),
            Fact::VersionsMerged { inputs, .. } => inputs.iter().collect(),
            _ => BTreeSet::new(),
        }
    }

    fn content(&self) -> Option<ContentId> {
        self.body.content.as_ref().map(|content| content.id)
    }
}

/// Where an entry is: the event that says so, the folder and the name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub dot: Dot,
    pub order: Order,
    pub parent: EntryId,
    pub name: String,
}

/// Everything that follows from one set of events.
pub struct State {
    /// In order.
    pub deeds: Vec<Rc<Deed>>,
    pub by_dot: BTreeMap<Dot, Rc<Deed>>,
    pub kinds: BTreeMap<EntryId, EntryKind>,
    pub edges: BTreeMap<EntryId, Edge>,
    pub children: BTreeMap<EntryId, Vec<EntryId>>,
    /// What people did to an entry, but for deletes and resolutions.
    touches: BTreeMap<EntryId, Vec<Rc<Deed>>>,
    resolutions: BTreeMap<EntryId, Vec<Rc<Deed>>>,
    /// Those that no later place of the entry had seen.
    pub places: BTreeMap<EntryId, BTreeSet<Dot>>,
    pub versions: BTreeMap<EntryId, Vec<Rc<Deed>>>,
    /// A version's ancestors.
    pub history: BTreeMap<Dot, BTreeSet<Dot>>,
    pub maximal: BTreeMap<EntryId, BTreeSet<Dot>>,
    /// A place or version, and the deletes that hold it.
    pub hidden_by: BTreeMap<Dot, BTreeSet<Dot>>,
    pub shown: BTreeSet<EntryId>,
}

/// In order, each placing event unless it closes a cycle (Kleppmann et al. 2022).
fn placed<'a>(deeds: impl Iterator<Item = &'a Rc<Deed>>) -> BTreeMap<EntryId, Edge> {
    let mut edges = BTreeMap::new();
    for deed in deeds {
        if let (Some(entry), Some(parent)) = (deed.entry(), deed.parent())
            && !is_at_or_above(&edges, entry, parent)
        {
            let name = deed.body.name.as_ref().map_or_else(String::new, |name| name.as_str().to_owned());
            edges.insert(entry, Edge { dot: deed.dot, order: deed.order(), parent, name });
        }
    }
    edges
}

/// Whether `entry` is `folder` or above it.
pub fn is_at_or_above(edges: &BTreeMap<EntryId, Edge>, entry: EntryId, folder: EntryId) -> bool {
    let mut at = Some(folder);
    while let Some(folder) = at {
        if folder == entry {
            return true;
        }
        at = edges.get(&folder).map(|edge| edge.parent);
    }
    false
}

impl State {
    pub fn new(deeds: impl IntoIterator<Item = Rc<Deed>>) -> Self {
        let by_dot: BTreeMap<Dot, Rc<Deed>> = deeds.into_iter().map(|deed| (deed.dot, deed)).collect();
        let mut deeds: Vec<Rc<Deed>> = by_dot.values().cloned().collect();
        deeds.sort_by_key(|deed| (deed.order(), deed.dot));
        let edges = placed(deeds.iter());
        let mut state = Self {
            deeds,
            by_dot,
            edges,
            kinds: BTreeMap::from([(EntryId::ROOT, EntryKind::Folder)]),
            children: BTreeMap::new(),
            touches: BTreeMap::new(),
            resolutions: BTreeMap::new(),
            places: BTreeMap::new(),
            versions: BTreeMap::new(),
            history: BTreeMap::new(),
            maximal: BTreeMap::new(),
            hidden_by: BTreeMap::new(),
            shown: BTreeSet::from([EntryId::ROOT]),
        };
        state.collect();
        state.relate_versions();
        state.hide();
        state.show();
        state
    }

    pub fn of_batches<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Self {
        Self::new(deeds_of_all(batches))
    }

    fn collect(&mut self) {
        for (entry, edge) in &self.edges {
            self.children.entry(edge.parent).or_default().push(*entry);
        }
        for deed in &self.deeds {
            let Some(entry) = deed.entry() else { continue };
            if let Fact::EntryCreated { entry_kind, .. } = deed.fact {
                self.kinds.insert(entry, entry_kind);
            }
            if deed.is_place() || matches!(deed.fact, Fact::VersionUploaded { .. }) {
                self.touches.entry(entry).or_default().push(deed.clone());
            }
            if deed.is_version() {
                self.versions.entry(entry).or_default().push(deed.clone());
            }
            if matches!(deed.fact, Fact::ConflictResolved { .. }) {
                self.resolutions.entry(entry).or_default().push(deed.clone());
            }
        }
        for (entry, touches) in &self.touches {
            let places: Vec<_> = touches.iter().filter(|touch| touch.is_place()).cloned().collect();
            let latest = not_seen_by_another(&places).map(|place| place.dot).collect();
            self.places.insert(*entry, latest);
        }
    }

    fn relate_versions(&mut self) {
        for (entry, versions) in &self.versions {
            for version in versions {
                let mut above = version.parents();
                for parent in version.parents() {
                    above.extend(self.history.get(&parent).into_iter().flatten());
                }
                self.history.insert(version.dot, above);
            }
            let human: BTreeSet<Dot> = versions.iter().filter(|v| !v.is_merge()).map(|v| v.dot).collect();
            let below: BTreeSet<Dot> = human.iter().flat_map(|v| &self.history[v]).copied().collect();
            self.maximal.insert(*entry, &human - &below);
        }
    }

    /// Delete is observed-remove over places and versions.
    fn hide(&mut self) {
        let mut lifted = BTreeSet::new();
        for deed in &self.deeds {
            if let Fact::EntryRestored { lifts, shows, .. } = &deed.fact {
                lifted.extend(lifts.iter().flat_map(|delete| shows.iter().map(move |dot| (delete, dot))));
            }
        }
        let mut hidden_by = BTreeMap::<Dot, BTreeSet<Dot>>::new();
        for delete in &self.deeds {
            let Fact::EntryDeleted { hides, .. } = &delete.fact else { continue };
            let known = placed(self.deeds.iter().filter(|deed| delete.saw(deed.dot)));
            for dot in hides.iter() {
                if !lifted.contains(&(delete.dot, dot)) && !self.is_carried_away(delete, &known, dot) {
                    hidden_by.entry(dot).or_default().insert(delete.dot);
                }
            }
        }
        self.hidden_by = hidden_by;
    }

    /// Who touched an entry that the delete hid, neither having seen the other, keeps what he had seen of
    /// it: its own dots and, when a folder was moved or restored, what lay in it for both.
    fn is_carried_away(&self, delete: &Deed, known: &BTreeMap<EntryId, Edge>, dot: Dot) -> bool {
        let Fact::EntryDeleted { hides, .. } = &delete.fact else { return false };
        let Some(mut entry) = self.by_dot.get(&dot).and_then(|deed| deed.entry()) else { return false };
        let (mut own, mut way) = (true, vec![dot]);
        while let Some(touches) = self.touches.get(&entry) {
            if touches.iter().any(|touch| hides.contains(touch.dot)) {
                let carries = |touch: &&Rc<Deed>| {
                    !delete.saw(touch.dot)
                        && !touch.saw(delete.dot)
                        && way.iter().all(|step| touch.saw(*step))
                        && (own || !touch.is_version())
                };
                if touches.iter().any(|touch| carries(&touch)) {
                    return true;
                }
            }
            let Some(edge) = known.get(&entry) else { return false };
            way.push(edge.dot);
            own = false;
            entry = edge.parent;
        }
        false
    }

    fn is_hidden(&self, dot: Dot) -> bool {
        self.hidden_by.contains_key(&dot)
    }

    pub fn is_alive(&self, entry: EntryId) -> bool {
        let dots = self.places.get(&entry).into_iter().chain(self.maximal.get(&entry)).flatten();
        dots.into_iter().any(|dot| !self.is_hidden(*dot))
    }

    fn show(&mut self) {
        for entry in self.edges.keys().copied() {
            if self.is_alive(entry) {
                self.shown.insert(entry);
                let above = self.ancestors(entry);
                self.shown.extend(above);
            }
        }
    }

    /// From its folder up to the root.
    pub fn ancestors(&self, entry: EntryId) -> Vec<EntryId> {
        let mut above = Vec::new();
        let mut at = self.edges.get(&entry);
        while let Some(edge) = at {
            above.push(edge.parent);
            at = self.edges.get(&edge.parent);
        }
        above
    }

    /// Versions by people that nothing superseded, no delete removed, no resolution dropped and none kept.
    pub fn human_heads(&self, file: EntryId) -> BTreeSet<Dot> {
        let Some(candidates) = self.maximal.get(&file) else { return BTreeSet::new() };
        let left: BTreeSet<Dot> = candidates.iter().copied().filter(|v| !self.is_hidden(*v)).collect();
        let heads = if left.is_empty() { candidates.clone() } else { left };
        let (mut dropped, mut kept) = (BTreeSet::new(), BTreeSet::new());
        for resolution in not_seen_by_another(self.resolutions.get(&file).map_or(&[], Vec::as_slice)) {
            if let Fact::ConflictResolved { over, keep, .. } = &resolution.fact {
                dropped.extend(over.iter().filter(|v| !keep.contains(*v)));
                kept.extend(keep.iter());
            }
        }
        let left: BTreeSet<Dot> =
            heads.iter().copied().filter(|v| !dropped.contains(v) || kept.contains(v)).collect();
        if left.is_empty() { heads } else { left }
    }

    /// What the folder shows, the one with the plain name first: the merge of exactly the heads by people if
    /// there is one, else those heads, one for each content.
    pub fn heads(&self, file: EntryId) -> Vec<Dot> {
        let human = self.human_heads(file);
        let merges = self.versions.get(&file).into_iter().flatten();
        let merge = merges.filter(|v| v.is_merge() && v.parents() == human).map(|v| v.dot).min();
        if let Some(merge) = merge.filter(|_| human.len() > 1) {
            return vec![merge];
        }
        let mut groups = self.groups(&human);
        groups.sort_by_key(|group| std::cmp::Reverse(self.order_of(self.branch_root(&human, group))));
        groups
            .iter()
            .map(|group| *group.iter().max_by_key(|v| self.order_of(**v)).expect("a group has a head"))
            .collect()
    }

    /// Heads of equal content count once.
    fn groups(&self, human: &BTreeSet<Dot>) -> Vec<BTreeSet<Dot>> {
        let mut groups = BTreeMap::<Option<ContentId>, BTreeSet<Dot>>::new();
        for head in human {
            groups.entry(self.by_dot[head].content()).or_default().insert(*head);
        }
        groups.into_values().collect()
    }

    /// The first version that only this head (or its equals) has: a name stays where it is while a file is
    /// edited.
    fn branch_root(&self, human: &BTreeSet<Dot>, group: &BTreeSet<Dot>) -> Dot {
        let with_histories = |heads: &BTreeSet<Dot>| -> BTreeSet<Dot> {
            heads.iter().flat_map(|h| self.history[h].iter().copied().chain([*h])).collect()
        };
        let others = with_histories(&(human - group));
        let own = &with_histories(group) - &others;
        own.into_iter().min_by_key(|v| self.order_of(*v)).expect("a head is in no other head's history")
    }

    pub fn order_of(&self, dot: Dot) -> Order {
        self.by_dot[&dot].order()
    }
}

/// Those that no other of them had seen.
fn not_seen_by_another(deeds: &[Rc<Deed>]) -> impl Iterator<Item = &Rc<Deed>> {
    deeds.iter().filter(|one| !deeds.iter().any(|other| other.dot != one.dot && other.saw(one.dot)))
}
