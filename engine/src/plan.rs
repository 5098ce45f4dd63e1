//! What is to be done to the folder so that it shows what the log says: a pure, total function of the synced
//! tree (which is what the disk shows, once local changes are authored) and the remote one.
//!
//! First the shape, from the top down: what moved is renamed, what stands in its way is parked until its own
//! turn comes, what is not shown any more makes room. Then the filling: files in place, then removals, contents
//! before their folder. Each operation says what it expects to find, so that a local change not yet observed
//! is never overwritten (I10): it is blocked, and the next scan sees a local change. What was renamed in this
//! plan gets new content in the next one, when its new stat is known.
//!
//! What must always hold: every parked thing is unparked; nothing is removed that the log still shows; plans
//! made one after another, each after the last was done, come to an end.

mod after;

use crate::{
    disk::{DiskOp, Expect, Identity},
    observed::{RemoteNode, RemoteTree, SyncedChange, SyncedNode, SyncedTree, ancestors, parent},
    working_tree::{Spot, TOP, WorkingTree},
};
pub use after::after;
use annals_events::{ContentId, EntryId, EntryKind, path};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

/// What is to be done, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The operations. Paths are meant as they are when their turn comes.
    pub ops: Vec<DiskOp>,
    /// How many of them, from the front, belong into one call: they park and unpark.
    pub together: usize,
    /// What needs no operation: the disk shows it already, the log calls it something else.
    pub labels: Vec<SyncedChange>,
}

impl Plan {
    /// Whether things make room for others. Where somebody is at work among them, this may leave what is caught in
    /// between nowhere to return to, so it is done right after a look at the folder.
    #[must_use]
    pub fn makes_room(&self) -> bool {
        let shape = &self.ops[..self.together];
        shape.iter().any(|op| matches!(op, DiskOp::Park { .. } | DiskOp::Remove { .. }))
    }

    /// Whether the disk shows what the log says, as far as it can.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.labels.is_empty()
    }
}

/// Compares what disk and log agreed on with what the log says now. Nothing is planned at, below, or for
/// what stands at a `blocked` path. Without `removals` nothing is removed.
#[must_use]
pub fn plan(synced: &SyncedTree, remote: &RemoteTree, blocked: &BTreeSet<String>, removals: bool) -> Plan {
    if pending(synced, remote).is_empty() {
        return Plan::default(); // As it mostly is: with nothing to compare there is nothing to be held for that.
    }
    let synced: Vec<(String, SyncedNode)> = synced.iter().collect();
    let mut planner = Planner::new(&synced, remote, blocked, removals);
    for target in planner.targets.walk(TOP) {
        if target != TOP {
            planner.shape(target);
        }
    }
    planner.unpark_leftovers();
    planner.finish()
}

/// Which of `obstacles` are in the way of what the log says: something is to stand there or below, or to go from
/// there, or is a folder that is to go and holds one.
#[must_use]
pub fn in_the_way(
    synced: &SyncedTree,
    remote: &RemoteTree,
    obstacles: &BTreeMap<String, String>,
) -> Vec<(String, String)> {
    if obstacles.is_empty() {
        return Vec::new();
    }
    let differs = |(path, there): &(&String, &RemoteNode)| {
        !synced.get(path).is_some_and(|here| here.agrees(there) && !here.aside)
    };
    let wanted: BTreeSet<&str> = remote.nodes.iter().filter(differs).map(|(path, _)| path.as_str()).collect();
    let unwanted = synced.select(|path, node| !node.aside && !remote.nodes.contains_key(path));
    let unwanted: Vec<String> = unwanted.map(|(path, _)| path).collect();
    let unwanted: BTreeSet<&str> = unwanted.iter().map(String::as_str).collect();
    let at_or_below = |paths: &BTreeSet<&str>, top: &str| {
        // '0' is the character after '/'.
        let (first, end) = (format!("{top}/"), format!("{top}0"));
        paths.contains(top) || paths.range(first.as_str()..end.as_str()).next().is_some()
    };
    let in_the_way = obstacles.iter().filter(|(path, _)| {
        at_or_below(&wanted, path)
            || at_or_below(&unwanted, path)
            || ancestors(path).any(|above| unwanted.contains(above))
    });
    in_the_way.map(|(path, why)| (path.replace('\0', ""), why.clone())).collect()
}

/// Everything that the disk does not show as the log has it, by the entries concerned: what of them arrived
/// last, the disk has not shown yet.
#[must_use]
pub fn pending(synced: &SyncedTree, remote: &RemoteTree) -> BTreeSet<EntryId> {
    let mut entries = BTreeSet::new();
    for (_, here, there) in differences(synced, remote) {
        entries.extend(there.iter().flat_map(|node| node.entries.iter().copied()));
        entries.extend(here.iter().flat_map(|node| node.entries.iter().copied()));
    }
    entries
}

/// The folders in which the disk does not show what the log has. One that stands where the log has another is among them,
/// and the other too: what is alike in both by its path is not in the same folder.
#[must_use]
pub fn unlike(synced: &SyncedTree, remote: &RemoteTree) -> BTreeSet<EntryId> {
    let mut folders = BTreeSet::new();
    for (path, here, there) in differences(synced, remote) {
        if let (Some(here), Some(there)) = (here, there)
            && (here.kind, there.kind) == (EntryKind::Folder, EntryKind::Folder)
            && here.entries != there.entries
        {
            folders.extend(here.entries.into_iter().chain(there.entries.iter().copied()));
        }
        let Some(above) = parent(&path) else {
            folders.insert(EntryId::ROOT);
            continue;
        };
        folders.extend(synced.get(above).iter().flat_map(|node| node.entries.iter().copied()));
        folders.extend(remote.nodes.get(above).iter().flat_map(|node| node.entries.iter().copied()));
    }
    folders
}

/// Where the disk does not show what the log has, with both, by path.
fn differences<'a>(
    synced: &'a SyncedTree,
    remote: &'a RemoteTree,
) -> impl Iterator<Item = (String, Option<SyncedNode>, Option<&'a RemoteNode>)> {
    let (mut here, mut there) = (synced.iter().peekable(), remote.nodes.iter().peekable());
    let both = std::iter::from_fn(move || {
        let order = match (here.peek(), there.peek()) {
            (Some((one, _)), Some((other, _))) => one.cmp(other),
            (None, None) => return None,
            (one, _) => {
                if one.is_some() {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        };
        let is_here = here.next_if(|_| order != Ordering::Greater);
        let is_there = there.next_if(|_| order != Ordering::Less);
        Some((is_here, is_there))
    });
    both.filter_map(|both| match both {
        (Some((_, here)), Some((_, there))) if here.agrees(there) && !here.aside => None,
        (here, Some((path, there))) => Some((path.clone(), here.map(|(_, here)| here), Some(there))),
        (here, None) => here.filter(|(_, here)| !here.aside).map(|(path, here)| (path, Some(here), None)),
    })
}

struct Standing<'a> {
    synced: Option<&'a SyncedNode>,
    path: &'a str,
    /// The target it is to become.
    claimed: Option<Spot>,
    /// Whether it was renamed in this plan: its times are not known.
    renamed: bool,
}

struct Planner<'a> {
    tree: WorkingTree<Standing<'a>>,
    targets: WorkingTree<(&'a str, &'a RemoteNode)>,
    /// Target -> where it is made, once it is.
    made: BTreeMap<Spot, Spot>,
    /// Target -> what becomes it.
    sources: BTreeMap<Spot, Spot>,
    skipped: BTreeSet<Spot>,
    blocked: &'a BTreeSet<String>,
    /// The folders above what is blocked: they stay where it stays.
    above_blocked: BTreeSet<&'a str>,
    removals: bool,
    parked: BTreeMap<Spot, u32>,
    slots: u32,
    shape: Vec<DiskOp>,
    fill: Vec<DiskOp>,
    labels: Vec<SyncedChange>,
}

impl<'a> Planner<'a> {
    fn new(
        synced: &'a [(String, SyncedNode)],
        remote: &'a RemoteTree,
        blocked: &'a BTreeSet<String>,
        removals: bool,
    ) -> Self {
        let standing = synced.iter().map(|(path, node)| {
            (path.as_str(), Standing { synced: Some(node), path, claimed: None, renamed: false })
        });
        let (tree, _) = WorkingTree::of(standing);
        let (targets, _) =
            WorkingTree::of(remote.nodes.iter().map(|(path, n)| (path.as_str(), (path.as_str(), n))));
        let mut planner = Self {
            tree,
            targets,
            made: BTreeMap::from([(TOP, TOP)]),
            sources: BTreeMap::new(),
            skipped: BTreeSet::new(),
            blocked,
            above_blocked: blocked.iter().flat_map(|path| ancestors(path)).collect(),
            removals,
            parked: BTreeMap::new(),
            slots: 0,
            shape: Vec::new(),
            fill: Vec::new(),
            labels: Vec::new(),
        };
        planner.claim();
        planner.skip();
        planner
    }

    fn remote(&self, target: Spot) -> (&'a str, &'a RemoteNode) {
        *self.targets.value(target).expect("all but the top have one")
    }

    fn standing(&self, spot: Spot) -> &Standing<'a> {
        self.tree.value(spot).expect("all but the top have one")
    }

    fn synced(&self, spot: Spot) -> Option<&'a SyncedNode> {
        self.tree.value(spot).and_then(|standing| standing.synced)
    }

    // --- what becomes what ------------------------------------------------------------------------------

    /// The same version of the same entry, the same entry at the same path, the same entry anywhere: in this
    /// order, each thing once.
    fn claim(&mut self) {
        let mut at = BTreeMap::new();
        let (mut by_head, mut by_entry) = (BTreeMap::new(), BTreeMap::<_, Vec<Spot>>::new());
        for spot in self.tree.spots() {
            let standing = self.standing(spot);
            let Some(node) = standing.synced.filter(|node| !node.aside) else { continue };
            at.insert(standing.path, spot);
            by_head.entry((node.kind, node.entry(), node.head)).or_insert(spot);
            for entry in &node.entries {
                by_entry.entry((node.kind, *entry)).or_default().push(spot);
            }
        }
        type Claim<'c> = &'c dyn Fn(&str, &RemoteNode) -> Vec<Spot>;
        let same = |spot: Spot, path: &str| self.standing(spot).path == path;
        let shares = |spot: &Spot, there: &RemoteNode| {
            self.synced(*spot).is_some_and(|here| {
                here.kind == there.kind && here.entries.iter().any(|entry| there.entries.contains(entry))
            })
        };
        let exact = |there: &RemoteNode| by_head.get(&(there.kind, there.entries[0], there.head)).copied();
        let rules: [Claim<'_>; 4] = [
            &|path, there| {
                let here = at.get(path).copied().filter(|spot| shares(spot, there));
                here.filter(|spot| self.synced(*spot).is_some_and(|n| n.head == there.head))
                    .into_iter()
                    .collect()
            },
            &|path, there| exact(there).filter(|spot| !same(*spot, path)).into_iter().collect(),
            &|path, there| at.get(path).copied().filter(|spot| shares(spot, there)).into_iter().collect(),
            &|_, there| {
                let spots = there.entries.iter().filter_map(|entry| by_entry.get(&(there.kind, *entry)));
                spots.flatten().copied().collect()
            },
        ];
        let (mut sources, mut taken) = (BTreeMap::new(), BTreeSet::new());
        for rule in rules {
            for target in self.targets.walk(TOP).into_iter().skip(1) {
                let (path, there) = self.remote(target);
                if sources.contains_key(&target) || there.entries.is_empty() {
                    continue;
                }
                let free = rule(path, there).into_iter().find(|spot| !taken.contains(spot));
                if let Some(spot) = free {
                    taken.insert(spot);
                    sources.insert(target, spot);
                }
            }
        }
        for (target, spot) in &sources {
            self.tree.value_mut(*spot).expect("it has one").claimed = Some(*target);
        }
        self.sources = sources;
    }

    /// Leaves out what is blocked, and with it what would need its place.
    fn skip(&mut self) {
        for target in self.targets.walk(TOP).into_iter().skip(1) {
            let source = self.sources.get(&target).map(|spot| self.standing(*spot).path);
            let path = self.remote(target).0;
            let folder = self.targets.place(target).map(|(folder, _)| folder);
            let folder_skipped = folder.is_some_and(|folder| self.skipped.contains(&folder));
            if folder_skipped || self.is_blocked(path) || source.is_some_and(|path| self.is_blocked(path)) {
                self.skipped.insert(target);
            }
        }
    }

    fn is_blocked(&self, path: &str) -> bool {
        let blocked = self.blocked;
        !blocked.is_empty()
            && (blocked.contains(path) || ancestors(path).any(|above| blocked.contains(above)))
    }

    /// Whether what stands there becomes nothing else, and may be touched.
    fn is_free(&self, spot: Spot) -> bool {
        let standing = self.standing(spot);
        standing.claimed.is_none() && !self.is_blocked(standing.path)
    }

    // --- the shape -------------------------------------------------------------------------------------

    fn shape(&mut self, target: Spot) {
        let (path, there) = self.remote(target);
        let Some((above, name)) = self.targets.place(target) else { return };
        let name = name.to_owned();
        let Some(&folder) = self.made.get(&above).filter(|_| !self.skipped.contains(&target)) else { return };
        let source = self.sources.get(&target).copied();
        if let Some(source) = source.filter(|source| self.tree.child(folder, &name) == Some(*source)) {
            self.made.insert(target, source);
            return self.refill(source, path, there);
        }
        if let Some(source) = source {
            if self.vacate(folder, &name, Some(source)) {
                self.bring(source, folder, &name, path);
                self.made.insert(target, source);
            }
            return;
        }
        match there.kind {
            EntryKind::Folder => self.make_folder(target, folder, &name),
            _ => self.write(target, folder, &name),
        }
    }

    fn bring(&mut self, source: Spot, folder: Spot, name: &str, path: &str) {
        let expect = self.identity(source);
        if let Some(slot) = self.parked.remove(&source) {
            self.shape.push(DiskOp::Unpark { slot, path: path.to_owned() });
        } else {
            let (_, from) = self.tree.path(source);
            self.shape.push(DiskOp::Rename { from, to: path.to_owned(), expect });
            self.tree.detach(source);
        }
        self.tree.attach(source, folder, name);
        self.tree.value_mut(source).expect("it has one").renamed = true;
    }

    fn make_folder(&mut self, target: Spot, folder: Spot, name: &str) {
        let (path, there) = self.remote(target);
        if let Some(here) = self.tree.child(folder, name) {
            let free = self.synced(here).filter(|n| n.kind == EntryKind::Folder && !n.aside);
            if let Some(node) = free.filter(|_| self.is_free(here)) {
                // A folder that nothing else becomes: what is in it goes by itself.
                self.tree.value_mut(here).expect("it has one").claimed = Some(target);
                self.made.insert(target, here);
                let disk = node.disk.clone();
                return self.label(path, SyncedNode::written(there, disk));
            }
            if !self.vacate(folder, name, None) {
                return;
            }
        }
        self.shape.push(DiskOp::MakeFolder { path: path.to_owned() });
        self.add(target, folder, name, path);
    }

    fn write(&mut self, target: Spot, folder: Spot, name: &str) {
        let (path, there) = self.remote(target);
        let (mut expect, mut holds) = (Expect::Absent, None);
        if let Some(here) = self.tree.child(folder, name) {
            let free = self.synced(here).filter(|n| n.kind != EntryKind::Folder && !n.aside);
            let in_place = free.is_some() && self.is_free(here);
            if in_place {
                self.tree.value_mut(here).expect("it has one").claimed = Some(target);
                self.made.insert(target, here);
                let node = free.expect("just seen");
                if self.standing(here).renamed {
                    return; // Its stat is known in the next plan.
                }
                if node.holds(there) {
                    let node = node.clone();
                    return self.relabel(path, there, &node);
                }
                (expect, holds) = (Expect::Is(self.identity(here)), node.to_be_proven());
            } else if !self.vacate(folder, name, None) {
                return;
            }
        }
        if let Some(op) = write(path, there, expect, holds) {
            self.fill.push(op);
        }
        if expect == Expect::Absent {
            self.add(target, folder, name, path);
        }
    }

    fn add(&mut self, target: Spot, folder: Spot, name: &str, path: &'a str) {
        let standing = Standing { synced: None, path, claimed: Some(target), renamed: false };
        let spot = self.tree.add(folder, name, standing);
        self.made.insert(target, spot);
    }

    // --- making room --------------------------------------------------------------------------------------

    /// Frees a name for something else (`coming`, which may lie below it). False if what has it must stay.
    fn vacate(&mut self, folder: Spot, name: &str, coming: Option<Spot>) -> bool {
        let Some(here) = self.tree.child(folder, name) else { return true };
        let aside = self.synced(here).is_some_and(|node| node.aside);
        let can_go =
            if aside { !self.is_blocked(self.standing(here).path) } else { self.can_go(here, coming) };
        if !can_go {
            return false;
        }
        self.go(here);
        true
    }

    fn can_go(&self, spot: Spot, coming: Option<Spot>) -> bool {
        let standing = self.standing(spot);
        if Some(spot) == coming {
            return true;
        }
        if self.is_blocked(standing.path) || standing.synced.is_none_or(|node| node.aside) {
            return false;
        }
        match standing.claimed {
            Some(target) => !self.skipped.contains(&target) && !self.made.contains_key(&target),
            None => {
                self.removals
                    && !self.above_blocked.contains(standing.path)
                    && self.tree.children(spot).all(|(_, child)| self.can_go(child, coming))
            }
        }
    }

    fn go(&mut self, spot: Spot) {
        let aside = self.synced(spot).is_some_and(|node| node.aside);
        if aside {
            return self.step_aside(spot);
        }
        if self.standing(spot).claimed.is_some() {
            return self.park(spot);
        }
        let children: Vec<Spot> = self.tree.children(spot).map(|(_, child)| child).collect();
        children.into_iter().for_each(|child| self.go(child));
        let (_, path) = self.tree.path(spot);
        let expect = self.identity(spot);
        let holds = self.synced(spot).and_then(SyncedNode::to_be_proven);
        self.shape.push(DiskOp::Remove { path, expect, holds });
        self.tree.detach(spot);
    }

    /// Parks a thing with all that stays in it. What goes elsewhere from below it is parked by itself: nothing
    /// is taken out of a parked folder.
    fn park(&mut self, spot: Spot) {
        let children: Vec<Spot> = self.tree.children(spot).map(|(_, child)| child).collect();
        for child in children {
            self.park_what_leaves(child);
        }
        let (_, path) = self.tree.path(spot);
        let (slot, expect) = (self.slots, self.identity(spot));
        self.slots += 1;
        self.shape.push(DiskOp::Park { path, slot, expect });
        self.tree.detach(spot);
        self.parked.insert(spot, slot);
    }

    fn park_what_leaves(&mut self, spot: Spot) {
        if self.leaves(spot) {
            return self.park(spot);
        }
        let children: Vec<Spot> = self.tree.children(spot).map(|(_, child)| child).collect();
        children.into_iter().for_each(|child| self.park_what_leaves(child));
    }

    /// Whether it is to stand in another folder or under another name.
    fn leaves(&self, spot: Spot) -> bool {
        let target = self.standing(spot).claimed.filter(|target| !self.skipped.contains(target));
        let Some((folder, name)) = target.and_then(|target| self.targets.place(target)) else { return false };
        let folder = if folder == TOP { Some(TOP) } else { self.sources.get(&folder).copied() };
        folder.is_none_or(|folder| self.tree.place(spot) != Some((folder, name)))
    }

    /// What was refused stays in the folder, under another name where its own is needed.
    fn step_aside(&mut self, spot: Spot) {
        let (folder, name) =
            self.tree.place(spot).map(|(f, n)| (f, n.to_owned())).expect("it is in the tree");
        let free = self.free_name(folder, &name, "refused");
        let (_, from) = self.tree.path(spot);
        self.tree.detach(spot);
        self.tree.attach(spot, folder, &free);
        let (_, to) = self.tree.path(spot);
        let expect = self.identity(spot);
        self.shape.push(DiskOp::Rename { from, to, expect });
        self.tree.value_mut(spot).expect("it has one").renamed = true;
    }

    fn free_name(&self, folder: Spot, name: &str, word: &str) -> String {
        let wanted = self.made.iter().find(|(_, made)| **made == folder).map(|(target, _)| *target);
        let is_taken = |name: &str| {
            self.tree.child(folder, name).is_some()
                || wanted.is_some_and(|target| self.targets.child(target, name).is_some())
        };
        let numbered = (1u64..).map(|n| match n {
            1 => path::suffixed(name, &format!(" ({word})"), ""),
            n => path::suffixed(name, &format!(" ({word} {n})"), ""),
        });
        numbered.into_iter().find(|name| !is_taken(name)).expect("only so many names are taken")
    }

    /// What was parked for a place that it did not get: it goes back, next to where it was.
    fn unpark_leftovers(&mut self) {
        for (spot, slot) in std::mem::take(&mut self.parked) {
            let was = self.standing(spot).path;
            let folder = parent(was);
            let folder = folder.map_or(Some(TOP), |above| {
                above.split('/').try_fold(TOP, |at, name| self.tree.child(at, name))
            });
            let folder = folder.unwrap_or(TOP);
            let mut name = crate::observed::name(was).to_owned();
            if self.tree.child(folder, &name).is_some() {
                name = self.free_name(folder, &name, "moved");
            }
            self.tree.attach(spot, folder, &name);
            let (_, path) = self.tree.path(spot);
            self.shape.push(DiskOp::Unpark { slot, path });
        }
    }

    // --- filling ---------------------------------------------------------------------------------------

    fn identity(&self, spot: Spot) -> Identity {
        self.synced(spot).expect("what is not made yet does not move").disk.identity()
    }

    fn refill(&mut self, spot: Spot, path: &str, there: &RemoteNode) {
        let Some(here) = self.synced(spot).filter(|_| !self.standing(spot).renamed) else { return };
        if !here.holds(there) {
            let (expect, holds) = (Expect::Is(here.disk.identity()), here.to_be_proven());
            if let Some(op) = write(path, there, expect, holds) {
                self.fill.push(op);
            }
        } else {
            self.relabel(path, there, here);
        }
    }

    fn relabel(&mut self, path: &str, there: &RemoteNode, here: &SyncedNode) {
        if !here.has_attributes(there) {
            let mtime_ns = there.mtime.filter(|mtime| here.mtime != Some(*mtime));
            let executable = (there.executable != here.executable).then_some(there.executable);
            let expect = here.disk.identity();
            self.fill.push(DiskOp::SetAttributes { path: path.to_owned(), mtime_ns, executable, expect });
        } else if !here.is_labelled(there) {
            let SyncedNode { settled, proven, .. } = *here;
            let node = SyncedNode { settled, proven, ..SyncedNode::written(there, here.disk.clone()) };
            self.label(path, SyncedNode { mtime: here.mtime, ..node });
        }
    }

    fn label(&mut self, path: &str, node: SyncedNode) {
        self.labels.push(SyncedChange::Put(path.to_owned(), Box::new(node)));
    }

    fn finish(mut self) -> Plan {
        let together = self.shape.len();
        if together > 0 {
            self.labels.clear(); // They stand under paths that are not there yet: the next plan says them.
        }
        let mut ops = std::mem::take(&mut self.shape);
        ops.append(&mut self.fill);
        if self.removals {
            let (mut leftovers, mut holding) = (self.tree.walk(TOP), BTreeSet::new());
            leftovers.reverse(); // What is in a folder goes before it.
            for spot in leftovers.into_iter().filter(|spot| *spot != TOP) {
                let standing = self.tree.value(spot).expect("all but the top have one");
                let goes = standing.claimed.is_none()
                    && !holding.contains(&spot)
                    && !self.is_blocked(standing.path)
                    && !self.above_blocked.contains(standing.path);
                match standing.synced.filter(|node| goes && !node.aside) {
                    Some(node) => {
                        let (_, path) = self.tree.path(spot);
                        let (expect, holds) = (node.disk.identity(), node.to_be_proven());
                        ops.push(DiskOp::Remove { path, expect, holds });
                    }
                    // A folder stays with what stays in it.
                    None => holding.extend(self.tree.place(spot).map(|(folder, _)| folder)),
                }
            }
        }
        Plan { ops, together, labels: self.labels }
    }
}

fn write(path: &str, there: &RemoteNode, expect: Expect, holds: Option<ContentId>) -> Option<DiskOp> {
    let path = path.to_owned();
    match there.kind {
        EntryKind::File => Some(DiskOp::WriteFile {
            path,
            content: there.content?,
            size: there.size,
            mtime_ns: there.mtime,
            executable: there.executable,
            expect,
            holds,
        }),
        EntryKind::Symlink => {
            Some(DiskOp::WriteSymlink { path, target: there.target.clone()?, expect, holds })
        }
        EntryKind::Folder => None,
    }
}
