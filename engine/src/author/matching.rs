//! Which thing on the disk is which thing of the synced tree: by where it is, and by its number in the file
//! system where it was moved.
//!
//! Folders first, from the top down, so that whatever moved along with its folder has not moved itself. What
//! stands in the way of something that came from elsewhere is put beside the tree: it may be found again, and
//! otherwise it is gone. A file system gives a freed number to the next file at once, so a number alone does
//! not make a move: content, size and time, or the name have to say the same, or the log that it went there.

use super::{Scene, is_equal};
use crate::{
    observed::{LocalNode, RemoteNode, SyncedChange, SyncedNode, ancestors},
    working_tree::{Spot, TOP, WorkingTree},
};
use annals_events::{Dot, EntryId, EntryKind};
use std::collections::{BTreeMap, BTreeSet};

/// One thing of the synced tree, or one that is new on the disk.
pub(super) struct Slot {
    /// What was agreed; none for what is new.
    pub(super) synced: Option<SyncedNode>,
    /// Where it stood: folder and name.
    pub(super) was: Option<(Spot, String)>,
    /// What it is on the disk now; none where it was not found.
    pub(super) met: Option<Spot>,
    /// Whether it came to where something stood that is gone or elsewhere now.
    pub(super) displaced: Option<Spot>,
}

/// Both trees, and which node is which.
pub(super) struct Matching<'a> {
    /// The synced tree, turned into the shape of the disk.
    pub(super) tree: WorkingTree<Slot>,
    /// The disk.
    pub(super) local: WorkingTree<(&'a str, &'a LocalNode)>,
    /// Local node -> synced node.
    pub(super) of: BTreeMap<Spot, Spot>,
    /// The moves that the synced tree went through.
    pub(super) changes: Vec<SyncedChange>,
    /// The (entry, head) pairs that the synced tree shows.
    shown: BTreeSet<(EntryId, Option<Dot>)>,
    /// What was put beside the tree, for something else stands in its place.
    displaced: BTreeSet<Spot>,
    scene: Scene<'a>,
}

impl<'a> Matching<'a> {
    pub(super) fn new(scene: Scene<'a>) -> Self {
        let (paths, slots): (Vec<String>, Vec<Slot>) =
            scene.synced.iter().map(|(path, node)| (path, Slot::known(node))).unzip();
        let (mut tree, _) = WorkingTree::of(paths.iter().map(String::as_str).zip(slots));
        for spot in tree.spots() {
            let was = tree.place(spot).map(|(folder, name)| (folder, name.to_owned()));
            tree.value_mut(spot).expect("all but the top have one").was = was;
        }
        let nodes = scene.local.nodes.iter().map(|(path, node)| (path.as_str(), (path.as_str(), node)));
        let (local, _) = WorkingTree::of(nodes);
        let (of, changes) = (BTreeMap::from([(TOP, TOP)]), Vec::new());
        let shown = scene.synced.iter().map(|(_, node)| (node.entry(), node.head)).collect();
        let displaced = BTreeSet::new();
        let mut matching = Self { tree, local, of, changes, shown, displaced, scene };
        matching.match_folders();
        matching.match_files();
        matching
    }

    pub(super) fn node(&self, local: Spot) -> &'a LocalNode {
        self.local.value(local).expect("all but the top have one").1
    }

    pub(super) fn slot(&self, spot: Spot) -> &Slot {
        self.tree.value(spot).expect("all but the top have one")
    }

    pub(super) fn slot_mut(&mut self, spot: Spot) -> &mut Slot {
        self.tree.value_mut(spot).expect("all but the top have one")
    }

    fn synced(&self, spot: Spot) -> Option<&SyncedNode> {
        self.tree.value(spot).and_then(|slot| slot.synced.as_ref())
    }

    /// The path of a synced node, as the changes so far have it.
    pub(super) fn path(&self, spot: Spot) -> String {
        match self.tree.path(spot) {
            (TOP, path) => path,
            (root, path) if path.is_empty() => format!("\0{root}"),
            (root, path) => format!("\0{root}/{path}"),
        }
    }

    /// Where a local node would stand in the synced tree; none below what is not matched.
    fn place_of(&self, local: Spot) -> Option<(Spot, &str)> {
        let (folder, name) = self.local.place(local)?;
        Some((*self.of.get(&folder)?, name))
    }

    // --- folders ------------------------------------------------------------------------------------

    fn match_folders(&mut self) {
        let known = self.numbers(EntryKind::Folder);
        let mut found: BTreeMap<(u64, u64), Spot> = BTreeMap::new();
        for local in self.local.spots().filter(|l| self.node(*l).node.kind == EntryKind::Folder) {
            found.entry(number(self.node(local))).or_insert(local);
        }
        for local in self.local.walk(TOP) {
            if local == TOP || self.node(local).node.kind != EntryKind::Folder {
                continue;
            }
            let Some((folder, name)) = self.place_of(local).map(|(f, n)| (f, n.to_owned())) else { continue };
            let here = self.tree.child(folder, &name);
            let here_is_folder = here.filter(|spot| {
                self.slot(*spot).met.is_none()
                    && self.synced(*spot).is_some_and(|node| node.kind == EntryKind::Folder)
            });
            let number = number(self.node(local));
            if let Some(here) =
                here_is_folder.filter(|spot| self.synced(*spot).is_some_and(|n| disk_number(n) == number))
            {
                self.meet(local, here);
                continue;
            }
            let came = known.get(&number).copied().filter(|spot| self.slot(*spot).met.is_none());
            if let Some(came) = came.filter(|spot| self.is_same_folder(*spot, local)) {
                self.come(local, came, folder, &name);
                continue;
            }
            // Another number under the old name: made anew, unless the old one is found elsewhere or this is another's.
            let went = here_is_folder.and_then(|spot| self.synced(spot).map(|node| (spot, node)));
            let went = went.filter(|(spot, node)| {
                let elsewhere = found.get(&disk_number(node));
                elsewhere.is_some_and(|other| *other != local && self.is_same_folder(*spot, *other))
                    || self.is_said_of_another(node, local)
            });
            match here_is_folder {
                Some(here) if went.is_none() => self.meet(local, here),
                _ => self.appear(local, folder, &name),
            }
        }
    }

    /// Whether a folder is the known one, and not another that got its number: both were made at one time, or, where
    /// that is not known, they have a child in common, or both are empty. Or it is where the log has it by now: this
    /// device was ended while it moved it.
    fn is_same_folder(&self, known: Spot, local: Spot) -> bool {
        if self.is_said(known, local) {
            return true;
        }
        if let Some(same) = self.is_born_with(known, local) {
            return same;
        }
        let mut before = self.tree.children(known).peekable();
        if before.peek().is_none() {
            let empty = !self.scene.strict && self.local.children(local).next().is_none();
            return empty && self.synced(known).is_some_and(|before| !self.is_said_of_another(before, local));
        }
        before.any(|(name, child)| {
            let now = self.local.child(local, name).filter(|now| self.has_number(child, *now));
            now.is_some_and(|now| match self.node(now).node.kind {
                EntryKind::Folder => self.is_same_folder(child, now),
                EntryKind::File | EntryKind::Symlink => self.is_equal(child, now),
            })
        })
    }

    /// Whether both were made at one time, as far as the file system says.
    fn is_born_with(&self, known: Spot, local: Spot) -> Option<bool> {
        self.synced(known).and_then(|before| before.disk.is_born_with(&self.node(local).node))
    }

    /// Whether it is of the same kind and bears the same number.
    fn has_number(&self, known: Spot, local: Spot) -> bool {
        let (before, now) = (self.synced(known), self.node(local));
        before.is_some_and(|before| before.kind == now.node.kind && disk_number(before) == number(now))
    }

    /// Whether it holds what the known one held, as far as that was read; otherwise whether size and time are the same.
    fn is_equal(&self, known: Spot, local: Spot) -> bool {
        let (Some(before), now) = (self.synced(known), self.node(local)) else { return false };
        match (before.kind, before.content, now.content) {
            (EntryKind::Symlink, ..) => before.disk.target == now.node.target,
            (_, Some(before), Some(now)) => before == now,
            _ => (before.disk.size, before.disk.mtime_ns) == (now.node.size, now.node.mtime_ns),
        }
    }

    /// Whether the log has the known one there: at that path, or in that folder wherever it went meanwhile.
    fn is_said(&self, known: Spot, local: Spot) -> bool {
        let Some(entry) = self.synced(known).filter(|node| !node.aside).map(SyncedNode::entry) else {
            return false;
        };
        let path = self.local.value(local).map_or("", |(path, _)| path);
        let there = self.scene.remote.nodes.get(path);
        there.is_some_and(|there| there.entries.contains(&entry))
            || self.place_of(local).is_some_and(|(folder, name)| self.is_placed(entry, folder, name))
    }

    /// Whether what is there is what the log has there of another entry: this device made it, and was ended.
    fn is_said_of_another(&self, known: &SyncedNode, local: Spot) -> bool {
        let Some((path, now)) = self.local.value(local) else { return false };
        let there = self.scene.remote.nodes.get(*path).filter(|there| is_equal(there, now));
        there.is_some_and(|there| !there.entries.contains(&known.entry()) && self.is_unclaimed(there))
    }

    /// Whether nothing was agreed to be it.
    pub(super) fn is_unclaimed(&self, there: &RemoteNode) -> bool {
        !there.entries.iter().any(|entry| self.shown.contains(&(*entry, there.head)))
    }

    /// Whether the log has `entry` under that name in the folder that is at `folder`.
    pub(super) fn is_placed(&self, entry: EntryId, folder: Spot, name: &str) -> bool {
        let above = match folder {
            TOP => Some(EntryId::ROOT),
            folder => self.synced(folder).filter(|node| !node.aside).map(SyncedNode::entry),
        };
        let place = self.scene.log.entry(entry).filter(|place| place.shown);
        place.is_some_and(|place| Some(place.parent) == above && place.name == name)
    }

    // --- files and symlinks ---------------------------------------------------------------------------

    fn match_files(&mut self) {
        let leaves: Vec<Spot> = self
            .local
            .walk(TOP)
            .into_iter()
            .filter(|l| {
                *l != TOP && self.node(*l).node.kind != EntryKind::Folder && self.place_of(*l).is_some()
            })
            .collect();
        let mut moved = self.movers(&leaves);
        self.keep_vacated(&leaves, &mut moved);
        for &local in &leaves {
            if let Some(&came) = moved.get(&local) {
                let (folder, name) =
                    self.place_of(local).map(|(f, n)| (f, n.to_owned())).expect("leaves have one");
                self.come(local, came, folder, &name);
            }
        }
        for &local in leaves.iter().filter(|l| !moved.contains_key(l)) {
            let (folder, name) =
                self.place_of(local).map(|(f, n)| (f, n.to_owned())).expect("leaves have one");
            match self.tree.child(folder, &name).filter(|here| self.goes_on_as(*here, local)) {
                Some(here) => self.meet(local, here),
                None => self.appear(local, folder, &name),
            }
        }
    }

    /// Local nodes that bear the number of something that stood elsewhere, and are like it.
    fn movers(&self, leaves: &[Spot]) -> BTreeMap<Spot, Spot> {
        let known = [self.numbers(EntryKind::File), self.numbers(EntryKind::Symlink)];
        let (mut moved, mut taken) = (BTreeMap::new(), BTreeSet::new());
        for &local in leaves {
            let node = self.node(local);
            let known = &known[usize::from(node.node.kind == EntryKind::Symlink)];
            let (folder, name) = self.place_of(local).expect("leaves have one");
            // Two may be known by one number: what stands here under it did not come from where another had it before.
            let here = self.tree.child(folder, name).and_then(|here| self.synced(here));
            let stays = here.is_some_and(|here| disk_number(here) == number(node));
            let came = known.get(&number(node)).copied().filter(|_| !stays);
            let came = came.filter(|came| self.is_like(*came, local) && taken.insert(*came));
            moved.extend(came.map(|came| (local, came)));
        }
        moved
    }

    /// What still stands at the old place was not moved away: a hard link, or an editor that put a new file
    /// there and kept the old one as a backup. Unless the log has it where it came to.
    fn keep_vacated(&self, leaves: &[Spot], moved: &mut BTreeMap<Spot, Spot>) {
        let at: BTreeMap<(Spot, &str), Spot> =
            leaves.iter().filter_map(|l| self.place_of(*l).map(|place| (place, *l))).collect();
        loop {
            let stays: Vec<Spot> = moved
                .iter()
                .filter(|(local, came)| {
                    if self.is_said(**came, **local) {
                        return false;
                    }
                    let there = self.tree.place(**came).and_then(|place| at.get(&place));
                    there.is_some_and(|there| {
                        !moved.contains_key(there)
                            && self.node(*there).node.kind == self.synced(**came).expect("it is known").kind
                    })
                })
                .map(|(local, _)| *local)
                .collect();
            if stays.is_empty() {
                return;
            }
            for local in stays {
                moved.remove(&local);
            }
        }
    }

    fn is_like(&self, known: Spot, local: Spot) -> bool {
        let Some(before) = self.synced(known) else { return false };
        let same_name = self.slot(known).was.as_ref().map(|(_, name)| name.as_str())
            == self.local.place(local).map(|(_, name)| name);
        match self.is_born_with(known, local) {
            Some(false) => false,
            // Edited on its way.
            Some(true) if same_name && before.kind == EntryKind::File && !self.scene.strict => {
                self.is_equal(known, local) || !self.is_said_of_another(before, local)
            }
            // What bears a number that was given away again has another content.
            _ => self.is_equal(known, local),
        }
    }

    /// Whether what is at a path is what was there, perhaps changed.
    fn goes_on_as(&self, here: Spot, local: Spot) -> bool {
        let (slot, now) = (self.slot(here), self.node(local));
        let Some(before) = slot.synced.as_ref().filter(|_| slot.met.is_none()) else { return false };
        let changed = now.content.is_some() && now.content != before.content;
        before.kind == now.node.kind
            && (before.kind != EntryKind::Symlink || before.disk.target == now.node.target)
            && !(before.aside && changed)
            && !(changed && self.is_said_of_another(before, local))
    }

    // --- steps ------------------------------------------------------------------------------------------

    fn meet(&mut self, local: Spot, spot: Spot) {
        self.of.insert(local, spot);
        self.slot_mut(spot).met = Some(local);
    }

    fn come(&mut self, local: Spot, spot: Spot, folder: Spot, name: &str) {
        let displaced = self.displace(folder, name);
        let from = self.path(spot);
        self.tree.detach(spot);
        self.tree.attach(spot, folder, name);
        let to = self.path(spot);
        self.changes.push(SyncedChange::Move { from, to });
        self.slot_mut(spot).displaced = displaced;
        self.meet(local, spot);
    }

    fn appear(&mut self, local: Spot, folder: Spot, name: &str) {
        let displaced = self.displace(folder, name);
        let slot = Slot { synced: None, was: None, met: None, displaced };
        let spot = self.tree.add(folder, name, slot);
        self.meet(local, spot);
    }

    fn displace(&mut self, folder: Spot, name: &str) -> Option<Spot> {
        let here = self.tree.child(folder, name)?;
        let from = self.path(here);
        self.tree.detach(here);
        if !std::iter::once(from.as_str()).chain(ancestors(&from)).any(|path| self.scene.held.contains(path))
        {
            self.displaced.insert(here);
        }
        self.changes.push(SyncedChange::Move { from, to: self.path(here) });
        Some(here)
    }

    /// What stood, with `spot` in it or being it, where something else stands now.
    pub(super) fn displaced(&self, spot: Spot) -> Option<Spot> {
        let (root, _) = self.tree.path(spot);
        self.displaced.contains(&root).then_some(root)
    }

    fn numbers(&self, kind: EntryKind) -> BTreeMap<(u64, u64), Spot> {
        let of_kind = self.tree.spots().filter_map(|spot| Some((spot, self.synced(spot)?)));
        of_kind
            .filter(|(_, node)| node.kind == kind && !node.aside)
            .map(|(s, n)| (disk_number(n), s))
            .collect()
    }
}

impl Slot {
    fn known(node: SyncedNode) -> Self {
        Self { synced: Some(node), was: None, met: None, displaced: None }
    }
}

fn number(local: &LocalNode) -> (u64, u64) {
    (local.node.dev, local.node.ino)
}

fn disk_number(node: &SyncedNode) -> (u64, u64) {
    (node.disk.dev, node.disk.ino)
}
