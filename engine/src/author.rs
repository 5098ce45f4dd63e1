//! What a person did to the folder, as events: the synced tree compared with what the disk shows.
//!
//! Nothing here looks at what the log says beyond what the disk showed, but for two things: what the log
//! already says needs no event (it is *adopted*), and an event names the versions, places and deletes that
//! the disk had shown or settled ([`Seen`]). After the events are folded and the changes applied, the synced
//! tree shows what the disk shows, less what was withheld; whatever the log wants otherwise is then the plan's business.
//!
//! What must always hold: a delete needs positive evidence (a complete scan) and hides only what the disk
//! showed; an edit names every version behind what was shown; nothing that could not be read is touched. A
//! [`Deed`]'s events stay in one batch.

mod matching;
mod removal;

use crate::disk::Node;
use crate::observed::{
    LocalNode, LocalTree, RemoteNode, RemoteTree, SyncedChange, SyncedNode, SyncedTree, parent,
};
use crate::working_tree::{Spot, TOP};
use annals_events::{
    Body, DeviceId, Dot, DotSet, EntryId, EntryKind, Fact, Name, Seen,
    path::{self, NameError},
};
use annals_projections::Projections;
use matching::Matching;
use std::collections::{BTreeMap, BTreeSet};

/// What an author knows.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// What the disk shows.
    pub local: &'a LocalTree,
    /// What both agreed on last.
    pub synced: &'a SyncedTree,
    /// What the log says.
    pub remote: &'a RemoteTree,
    /// All events that are known, the device's own pending ones included.
    pub log: &'a Projections,
    /// What the disk showed of them.
    pub seen: &'a Seen,
    /// Files of which a conflict was ever resolved.
    pub resolved: &'a BTreeSet<EntryId>,
    /// Who.
    pub device: DeviceId,
    /// The counter of the first event.
    pub next: u64,
    /// What absence means.
    pub removals: Removals,
    /// How many were said to be removed a moment ago: a folder that is emptied is so bit by bit.
    pub removed_lately: usize,
    /// How much there is that may be removed: in all of the folder, also where only a part of it was looked at.
    pub known: usize,
    /// Whether much is missing: then the number of something that is gone is most likely another's by now, and what bears
    /// it is taken for a move only if it holds the same.
    pub strict: bool,
    /// What is gone, and a person has to answer for or wants back: it stays so, whatever comes to stand in its place.
    pub held: &'a BTreeSet<String>,
}

/// What it means that something known is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removals {
    /// A person removed it; where most of the folder vanished at once, a person has to say so again.
    Ask,
    /// The same, once nothing more vanishes: somebody may be at it.
    AskAtRest,
    /// A person removed it.
    Accept,
    /// Nothing is said of it for now: a person wants it back.
    Withhold,
    /// Nothing: the folder may not be the one that was synced.
    Never,
}

/// One thing that a person did: events that stay in one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed(pub Vec<Said>);

/// An event without dot, stamp and salt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What happened.
    pub fact: Fact,
    /// The other half, with a salt of zeros.
    pub body: Option<Body>,
}

/// What follows from a look at the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authored {
    /// In order; the first event is the one with the counter [`Scene::next`].
    pub deeds: Vec<Deed>,
    /// How the synced tree becomes what the disk shows.
    pub changes: Vec<SyncedChange>,
    /// Files whose chunks an event has to list and which were not read in this round: they wait.
    pub unread: Vec<String>,
    /// What cannot be an entry, and why.
    pub refused: Vec<(String, NameError)>,
    /// The tops of what is gone and was not said to be removed, by where the synced tree has it.
    pub withheld: BTreeSet<String>,
}

/// Most of the folder is gone: a person has to say that this is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{gone} of {known} entries are gone from the folder")]
pub struct MassDelete {
    /// How many would be deleted.
    pub gone: usize,
    /// How many there were.
    pub known: usize,
}

/// Most ranges of dots that one event names: at most 20 bytes each, far below a batch's limit.
pub(crate) const RANGES_MAX: usize = 12_000;

/// How many may vanish at once without a question, however small the folder is.
pub const VANISHED_MAX: usize = 20;

/// What the disk shows beside what was agreed on: to be [said](Self::say_but), less what is withheld.
pub struct Compared<'a>(Author<'a>);

impl<'a> Compared<'a> {
    /// Finds out which thing on the disk is which.
    #[must_use]
    pub fn new(scene: Scene<'a>) -> Self {
        let mut author = Author::new(scene);
        author.part_copies();
        let compared = Self(author);
        if !scene.strict && compared.gone().is_err() {
            return Self::new(Scene { strict: true, ..scene });
        }
        compared
    }

    /// How many entries vanished, and would be said to be removed.
    ///
    /// # Errors
    /// [`MassDelete`] where that is more than half of the entries (and more than [`VANISHED_MAX`]) and nobody has
    /// confirmed it.
    pub fn gone(&self) -> Result<usize, MassDelete> {
        self.0.check_mass_delete()
    }

    /// How many files and links are gone in whose place something else stands: as sure as an edit, and counted as such.
    #[must_use]
    pub fn replaced(&self) -> usize {
        self.0
            .matching
            .tree
            .spots()
            .filter(|spot| self.0.is_missing(*spot) && self.0.is_replaced(*spot))
            .count()
    }

    /// What is known and was not found, by where it was; where only a part was looked at, it may be elsewhere.
    pub fn missed(&self) -> impl Iterator<Item = &SyncedNode> {
        let slots = self.0.matching.tree.spots().map(|spot| self.0.matching.slot(spot));
        slots.filter(|slot| slot.met.is_none()).filter_map(|slot| slot.synced.as_ref())
    }

    /// How many files are older than what was there before, as those of a backup are that is being put back.
    #[must_use]
    pub fn turned_back(&self) -> usize {
        self.0.matching.of.iter().filter(|(local, spot)| self.0.is_turned_back(**local, **spot)).count()
    }

    /// As events, and as the synced tree after them; nothing is said of what is withheld, and the synced tree keeps it.
    #[must_use]
    pub fn say_but(self, withheld: Withheld) -> Authored {
        self.0.said(withheld)
    }
}

/// What is not said for now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Withheld {
    /// That something vanished. Where something else stands in its place now it was replaced, which is sure: that is said.
    pub removals: bool,
    /// That a folder went with all that was in it as well where something else stands in its place.
    pub folders: bool,
    /// What [turned back](Compared::turned_back).
    pub turned_back: bool,
}

/// A file turned back if it is older by more than clocks of two devices may differ.
const TURNED_BACK_NS: i64 = 10_000_000_000;

/// What is on the disk where the log says so too, without ever having been synced: what linking a folder that
/// already holds files adopts. Needs no event and names nothing. What is in a folder that is no such thing, but
/// came from elsewhere, waits until the author has found out.
#[must_use]
pub fn adopt_new(local: &LocalTree, synced: &SyncedTree, remote: &RemoteTree) -> Vec<SyncedChange> {
    let known: BTreeSet<(u64, u64)> = synced.iter().map(|(_, node)| (node.disk.dev, node.disk.ino)).collect();
    let shown: BTreeSet<(EntryId, Option<Dot>)> =
        synced.iter().map(|(_, node)| (node.entry(), node.head)).collect();
    let (mut changes, mut adopted) = (Vec::new(), BTreeSet::new());
    for (path, node) in &local.nodes {
        let in_place = parent(path).is_none_or(|up| synced.get(up).is_some() || adopted.contains(up));
        let there = remote.nodes.get(path).filter(|there| is_equal(there, node));
        let Some(there) = there.filter(|_| in_place && synced.get(path).is_none()) else { continue };
        let new = !known.contains(&(node.node.dev, node.node.ino))
            && !there.entries.iter().any(|entry| shown.contains(&(*entry, there.head)));
        if new {
            adopted.insert(path.as_str());
            changes.push(SyncedChange::Put(path.clone(), Box::new(SyncedNode::adopted(there, node))));
        }
    }
    changes
}

/// Whether the disk holds what the log says.
fn is_equal(remote: &RemoteNode, local: &LocalNode) -> bool {
    remote.kind == local.node.kind
        && match remote.kind {
            EntryKind::Folder => true,
            EntryKind::File => local.content.is_some() && remote.content == local.content,
            EntryKind::Symlink => remote.target.is_some() && remote.target == local.node.target,
        }
}

struct Author<'a> {
    scene: Scene<'a>,
    matching: Matching<'a>,
    /// Files that are shown under several names, with all of them.
    forked: BTreeMap<EntryId, Vec<Spot>>,
    /// Copies that became entries of their own: what they were.
    parted: BTreeMap<Spot, SyncedNode>,
    /// What the disk showed, and all that this device did itself.
    seen: Seen,
    next: u64,
    withholds: Withheld,
    out: Authored,
}

impl<'a> Author<'a> {
    fn new(scene: Scene<'a>) -> Self {
        let matching = Matching::new(scene);
        // By what the disk shows, not by the suffix: a name may be on its way to another.
        let files = matching.tree.spots().filter_map(|spot| {
            let synced = matching.slot(spot).synced.as_ref()?;
            (synced.kind == EntryKind::File && !synced.aside).then(|| (synced.entry(), spot))
        });
        let mut files: Vec<(EntryId, Spot)> = files.collect();
        files.sort_unstable();
        let forked = files.chunk_by(|one, next| one.0 == next.0).filter(|names| names.len() > 1);
        let forked =
            forked.map(|names| (names[0].0, names.iter().map(|(_, spot)| *spot).collect())).collect();
        let out = Authored { changes: matching.changes.clone(), ..Authored::default() };
        let mut seen = scene.seen.clone();
        if scene.next > 1 {
            seen.vector.raise(Dot::new(scene.device, scene.next - 1));
        }
        let (next, parted) = (scene.next, BTreeMap::new());
        Self { scene, matching, forked, parted, seen, next, withholds: Withheld::default(), out }
    }

    fn said(mut self, withholds: Withheld) -> Authored {
        self.withholds = withholds;
        for local in self.matching.local.walk(TOP) {
            if local != TOP {
                self.visit(local);
            }
        }
        self.remove();
        self.out
    }

    // --- saying things ---------------------------------------------------------------------------------

    fn say(&mut self, said: Vec<Said>) {
        self.next += said.len() as u64;
        self.out.deeds.push(Deed(said));
    }

    fn dot(&self, ahead: usize) -> Dot {
        Dot::new(self.scene.device, self.next + ahead as u64)
    }

    fn saw(&self, dot: Dot) -> bool {
        self.seen.vector.covers(dot) && !self.seen.unseen.contains(dot)
    }

    fn put(&mut self, path: &str, node: SyncedNode) {
        self.out.changes.push(SyncedChange::Put(path.to_owned(), Box::new(node)));
    }

    // --- one thing on the disk ---------------------------------------------------------------------------

    fn visit(&mut self, local: Spot) {
        let Some(&spot) = self.matching.of.get(&local) else { return };
        let (path, node) = *self.matching.local.value(local).expect("all but the top have one");
        if self.matching.slot(spot).synced.is_none() {
            return self.created(spot, path, node);
        }
        if self.matching.slot(spot).synced.as_ref().is_some_and(|synced| synced.aside) {
            return self.refresh_aside(spot, path, node);
        }
        if self.is_moved(spot) {
            self.moved(spot, path);
        }
        if self.withholds.turned_back && self.is_turned_back(local, spot) {
            self.out.withheld.insert(path.to_owned());
        } else if node.node.kind == EntryKind::File {
            self.changed(spot, path, node);
        } else {
            self.refresh(spot, path, node);
        }
    }

    fn is_turned_back(&self, local: Spot, spot: Spot) -> bool {
        if local == TOP {
            return false;
        }
        let now = &self.matching.node(local).node;
        let before =
            self.matching.slot(spot).synced.as_ref().filter(|node| !node.aside).map(|node| &node.disk);
        let is_older = |before: &Node| now.mtime_ns < before.mtime_ns.saturating_sub(TURNED_BACK_NS);
        now.kind == EntryKind::File
            && before.is_some_and(|before| before.kind == now.kind && is_older(before))
    }

    fn is_moved(&self, spot: Spot) -> bool {
        let was = self.matching.slot(spot).was.as_ref().map(|(folder, name)| (*folder, name.as_str()));
        was != self.matching.tree.place(spot)
    }

    /// The folder that new things at this place go into; none below one that was refused or cannot be said.
    fn folder_of(&self, spot: Spot) -> Option<EntryId> {
        match self.matching.tree.place(spot)?.0 {
            TOP => Some(EntryId::ROOT),
            folder => self.matching.slot(folder).synced.as_ref().filter(|n| !n.aside).map(SyncedNode::entry),
        }
    }

    /// What the log says of this place: of the path, if the folder there is the one that the disk has there.
    fn said_of(&self, spot: Spot, path: &str) -> Option<&'a RemoteNode> {
        let (remote, folder) = (self.scene.remote, self.folder_of(spot)?);
        let in_it = parent(path).map_or(Some(folder == EntryId::ROOT), |above| {
            remote.nodes.get(above).map(|node| node.entries.contains(&folder))
        });
        remote.nodes.get(path).filter(|_| in_it == Some(true))
    }

    fn name_of(&mut self, spot: Spot, path: &str) -> Option<Name> {
        let (folder, name) = self.matching.tree.place(spot)?;
        let name = if folder == TOP && path::is_reserved(name) {
            Err(NameError::Dots(name.into()))
        } else {
            Name::new(name)
        };
        name.map_err(|why| self.out.refused.push((path.to_owned(), why))).ok()
    }

    fn created(&mut self, spot: Spot, path: &str, node: &LocalNode) {
        let there = self.said_of(spot, path).filter(|there| is_equal(there, node));
        if let Some(there) = there.filter(|there| self.matching.is_unclaimed(there)) {
            let synced = SyncedNode::adopted(there, node);
            self.matching.slot_mut(spot).synced = Some(synced.clone());
            return self.put(path, synced);
        }
        let (Some(parent), Some(name)) = (self.folder_of(spot), self.name_of(spot, path)) else { return };
        let Some(body) = self.first_body(path, node, name) else { return };
        let dot = self.dot(0);
        let entry_kind = node.node.kind;
        self.say(vec![Said { fact: Fact::EntryCreated { parent, entry_kind }, body: Some(body) }]);
        let version = (entry_kind == EntryKind::File).then_some(dot);
        let synced = SyncedNode {
            entries: vec![EntryId(dot)],
            kind: entry_kind,
            head: version,
            heads: version.into_iter().collect(),
            content: node.content,
            mtime: version.map(|_| node.node.mtime_ns),
            executable: node.node.executable,
            copy: false,
            disk: node.node.clone(),
            settled: node.settled,
            proven: node.proven,
            aside: false,
        };
        self.matching.slot_mut(spot).synced = Some(synced.clone());
        self.put(path, synced);
    }

    fn first_body(&mut self, path: &str, node: &LocalNode, name: Name) -> Option<Body> {
        let mut body = Body { name: Some(name), ..Body::default() };
        match node.node.kind {
            EntryKind::Folder => {}
            EntryKind::Symlink => body.target = node.node.target.clone(),
            EntryKind::File => {
                let read = node.content.and_then(|id| self.scene.local.contents.get(&id)).cloned();
                let Some(content) = read else {
                    self.out.unread.push(path.to_owned());
                    return None;
                };
                body.content = Some(content);
                body.mtime = Some(node.node.mtime_ns);
                body.executable = node.node.executable.then_some(true);
            }
        }
        Some(body)
    }

    fn moved(&mut self, spot: Spot, path: &str) {
        let synced = self.matching.slot(spot).synced.clone().expect("what is new does not move");
        let said_already =
            self.said_of(spot, path).is_some_and(|there| there.entries.contains(&synced.entry()));
        let place = self.matching.tree.place(spot).filter(|_| !synced.copy && synced.entries.len() == 1);
        let is_placed =
            place.is_some_and(|(folder, name)| self.matching.is_placed(synced.entry(), folder, name));
        if said_already || is_placed || self.is_view_of_what_stays(spot, &synced) {
            return;
        }
        let (Some(parent), Some(name)) = (self.folder_of(spot), self.name_of(spot, path)) else { return };
        let said = synced.entries.iter().map(|&entry| Said {
            fact: Fact::EntryMoved { entry, parent },
            body: Some(Body { name: Some(name.clone()), ..Body::default() }),
        });
        let said = said.collect();
        self.say(said);
    }

    /// Whether another name of the same file says all there is to say: the one that it was moved over, or the
    /// plain one that went to the same folder.
    fn is_view_of_what_stays(&self, spot: Spot, synced: &SyncedNode) -> bool {
        let Some(names) = self.forked.get(&synced.entry()) else { return false };
        let over = self.matching.slot(spot).displaced.is_some_and(|other| names.contains(&other));
        over || synced.copy && self.follows_plain(spot, names)
    }

    fn follows_plain(&self, spot: Spot, names: &[Spot]) -> bool {
        let place = |spot: Spot| self.matching.tree.place(spot);
        let keeps_name = |spot: Spot| {
            let was = self.matching.slot(spot).was.as_ref().map(|(_, name)| name.as_str());
            was == place(spot).map(|(_, name)| name)
        };
        let plain = names.iter().copied().find(|other| {
            let slot = self.matching.slot(*other);
            slot.met.is_some() && slot.synced.as_ref().is_some_and(|node| !node.copy)
        });
        plain.is_some_and(|plain| {
            keeps_name(spot) && keeps_name(plain) && place(spot).map(|p| p.0) == place(plain).map(|p| p.0)
        })
    }

    /// A conflict copy that was moved elsewhere is an entry of its own from here on.
    fn part_copies(&mut self) {
        let names: Vec<Spot> = self.forked.values().flatten().copied().collect();
        for spot in names {
            let slot = self.matching.slot(spot);
            let Some(synced) = slot.synced.clone().filter(|n| n.copy && slot.met.is_some()) else { continue };
            if !self.is_moved(spot) || self.is_view_of_what_stays(spot, &synced) {
                continue;
            }
            let readable = slot.met.and_then(|local| self.matching.node(local).content);
            if readable.is_none_or(|id| !self.scene.local.contents.contains_key(&id)) {
                // Without its chunks it cannot be said; as a name of the file it just moves for now.
                self.out.unread.push(self.matching.path(spot));
                continue;
            }
            self.matching.slot_mut(spot).synced = None;
            self.parted.insert(spot, synced);
        }
    }

    fn refresh(&mut self, spot: Spot, path: &str, node: &LocalNode) {
        let synced = self.matching.slot(spot).synced.as_ref().expect("what is new was created");
        if synced.disk.identity().is(&node.node.identity()) && synced.settled {
            return;
        }
        let synced = SyncedNode { disk: node.node.clone(), settled: true, ..synced.clone() };
        self.put(path, synced);
    }

    /// What was refused says nothing; it is only known again.
    fn refresh_aside(&mut self, spot: Spot, path: &str, node: &LocalNode) {
        let synced = self.matching.slot(spot).synced.as_ref().expect("what is new was created");
        if node.node.kind == EntryKind::File && node.content != synced.content {
            return;
        }
        let (settled, proven) = (node.settled, node.proven);
        let after = SyncedNode { disk: node.node.clone(), settled, proven, ..synced.clone() };
        if after != *synced {
            self.put(path, after);
        }
    }

    // --- a file that may have changed ----------------------------------------------------------------------

    fn changed(&mut self, spot: Spot, path: &str, node: &LocalNode) {
        let synced = self.matching.slot(spot).synced.clone().expect("what is new was created");
        if node.content.is_none() {
            return; // It is being written: left alone.
        }
        if node.content != synced.content {
            return self.edited(spot, path, node, &synced);
        }
        let mtime = (node.node.mtime_ns != synced.disk.mtime_ns).then_some(node.node.mtime_ns);
        let executable = (node.node.executable != synced.disk.executable).then_some(node.node.executable);
        let (settled, proven) = (node.settled, node.proven);
        let mut after = SyncedNode { disk: node.node.clone(), settled, proven, ..synced.clone() };
        // A version's time cannot be changed alone: the plan puts that of a copy back.
        let sayable = !self.forked.contains_key(&synced.entry());
        if mtime.is_some() || executable.is_some() {
            let there = self.scene.remote.nodes.get(path).filter(|there| there.entries == synced.entries);
            let said_already = there.is_some_and(|there| {
                there.mtime == Some(node.node.mtime_ns) && there.executable == node.node.executable
            });
            if sayable && !said_already {
                let body = Body { mtime, executable, ..Body::default() };
                let fact = Fact::AttributesChanged { entry: synced.entry() };
                self.say(vec![Said { fact, body: Some(body) }]);
            }
            after.mtime = mtime.or(synced.mtime);
            after.executable = executable.unwrap_or(synced.executable);
        }
        if after != synced {
            self.put(path, after);
        }
    }

    fn edited(&mut self, spot: Spot, path: &str, node: &LocalNode, synced: &SyncedNode) {
        let entry = synced.entry();
        let shows_it = |there: &&RemoteNode| there.entries.first() == Some(&entry) && is_equal(there, node);
        // A copy that holds what the file does was made to: it is what is left of that once the file itself goes on.
        let elsewhere = || self.scene.remote.nodes.get(&self.scene.log.path(entry)?).filter(|_| !synced.copy);
        let there = self.scene.remote.nodes.get(path).filter(shows_it);
        if let Some(there) = there.or_else(|| elsewhere().filter(shows_it)) {
            return self.put(path, SyncedNode::adopted(there, node));
        }
        let Some(content) = node.content.and_then(|id| self.scene.local.contents.get(&id)).cloned() else {
            self.out.unread.push(path.to_owned());
            return;
        };
        let mut said = self.settle(spot, synced);
        let dot = self.dot(said.len());
        let body = Body {
            content: Some(content),
            mtime: Some(node.node.mtime_ns),
            executable: (node.node.executable != synced.disk.executable).then_some(node.node.executable),
            ..Body::default()
        };
        let parents = synced.heads.iter().copied().collect();
        said.push(Said { fact: Fact::VersionUploaded { entry, parents }, body: Some(body) });
        self.say(said);
        let after = SyncedNode {
            head: Some(dot),
            heads: vec![dot],
            content: node.content,
            mtime: Some(node.node.mtime_ns),
            executable: node.node.executable,
            disk: node.node.clone(),
            settled: node.settled,
            proven: node.proven,
            ..synced.clone()
        };
        self.put(path, after);
    }

    /// Heads that are shown only because nothing else is left are made to stay before one of them is edited.
    fn settle(&self, spot: Spot, synced: &SyncedNode) -> Vec<Said> {
        let (entry, log, mut said) = (synced.entry(), self.scene.log, Vec::new());
        let human = self.human_heads(self.forked.get(&entry).map_or(&[spot][..], Vec::as_slice));
        let held: Vec<(Dot, Vec<Dot>)> = human
            .iter()
            .map(|head| (head, log.hidden_by(head).into_iter().filter(|d| self.saw(*d)).collect()))
            .filter(|(_, by): &(Dot, Vec<Dot>)| !by.is_empty())
            .collect();
        if !held.is_empty() {
            let lifts = held.iter().flat_map(|(_, by)| by.iter().copied()).collect();
            let shows = held.iter().map(|(head, _)| *head).collect();
            said.push(Said { fact: Fact::EntryRestored { entry, place: None, lifts, shows }, body: None });
        }
        let over: DotSet = log.maximal_as_seen(entry, &self.seen).into_iter().collect();
        if self.scene.resolved.contains(&entry) && (human.len() > 1 || human != over) {
            let keep: DotSet = human.iter().filter(|head| over.contains(*head)).collect();
            if !keep.is_empty() {
                said.push(Said { fact: Fact::ConflictResolved { entry, over, keep }, body: None });
            }
        }
        said
    }

    /// The versions by people behind these names of one file.
    fn human_heads(&self, names: &[Spot]) -> DotSet {
        let synced = |spot: &Spot| {
            let known = self.parted.get(spot).or_else(|| self.matching.slot(*spot).synced.as_ref());
            known.map(|node| node.heads.clone())
        };
        let heads = names.iter().filter_map(synced).flatten();
        heads.filter(|head| self.scene.log.version(*head).is_none_or(|version| !version.merge)).collect()
    }
}
