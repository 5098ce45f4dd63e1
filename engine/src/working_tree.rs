//! A tree that is being turned into another: nodes keep their number while they are moved, and may stand
//! beside the tree for a while.
//!
//! What must always hold: a node is a child of at most one other, and never below itself. Both directions of
//! sync use it: the synced tree is turned into what the disk shows, and into what the log says.

use crate::observed::parent;
use std::collections::BTreeMap;

/// The number of a node.
pub(crate) type Spot = usize;

/// The folder itself.
pub(crate) const TOP: Spot = 0;

/// Nodes with values, the top without one.
pub(crate) struct WorkingTree<T> {
    nodes: Vec<Grown<T>>,
}

struct Grown<T> {
    value: Option<T>,
    /// Where it stands; none for the top and what stands beside the tree.
    place: Option<(Spot, String)>,
    children: BTreeMap<String, Spot>,
}

impl<T> WorkingTree<T> {
    /// The tree of these paths. What comes without the folder it is in is left out.
    pub(crate) fn of<'a>(nodes: impl IntoIterator<Item = (&'a str, T)>) -> (Self, BTreeMap<&'a str, Spot>) {
        let mut tree = Self { nodes: vec![Grown { value: None, place: None, children: BTreeMap::new() }] };
        let mut spots = BTreeMap::new();
        // In the order of strings a folder comes before what is in it.
        for (path, value) in nodes {
            let folder = parent(path).map_or(Some(TOP), |above| spots.get(above).copied());
            if let Some(folder) = folder {
                let spot = tree.add(folder, crate::observed::name(path), value);
                spots.insert(path, spot);
            }
        }
        (tree, spots)
    }

    /// A new node.
    pub(crate) fn add(&mut self, folder: Spot, name: &str, value: T) -> Spot {
        let spot = self.nodes.len();
        self.nodes.push(Grown { value: Some(value), place: None, children: BTreeMap::new() });
        self.attach(spot, folder, name);
        spot
    }

    /// Puts a node that stands beside the tree into it; nothing has its name there.
    pub(crate) fn attach(&mut self, spot: Spot, folder: Spot, name: &str) {
        let before = self.nodes[folder].children.insert(name.to_owned(), spot);
        debug_assert!(before.is_none(), "a name is given once in a folder");
        self.nodes[spot].place = Some((folder, name.to_owned()));
    }

    /// Takes a node and all below it out of the tree.
    pub(crate) fn detach(&mut self, spot: Spot) {
        if let Some((folder, name)) = self.nodes[spot].place.take() {
            self.nodes[folder].children.remove(&name);
        }
    }

    pub(crate) fn value(&self, spot: Spot) -> Option<&T> {
        self.nodes[spot].value.as_ref()
    }

    pub(crate) fn value_mut(&mut self, spot: Spot) -> Option<&mut T> {
        self.nodes[spot].value.as_mut()
    }

    pub(crate) fn place(&self, spot: Spot) -> Option<(Spot, &str)> {
        self.nodes[spot].place.as_ref().map(|(folder, name)| (*folder, name.as_str()))
    }

    pub(crate) fn child(&self, folder: Spot, name: &str) -> Option<Spot> {
        self.nodes[folder].children.get(name).copied()
    }

    pub(crate) fn children(&self, folder: Spot) -> impl Iterator<Item = (&str, Spot)> {
        self.nodes[folder].children.iter().map(|(name, spot)| (name.as_str(), *spot))
    }

    /// Where it stands; for what stands beside the tree, or below something that does, the path from there.
    pub(crate) fn path(&self, spot: Spot) -> (Spot, String) {
        let (mut names, mut at) = (Vec::new(), spot);
        while let Some((folder, name)) = self.place(at) {
            names.push(name);
            at = folder;
        }
        names.reverse();
        (at, names.join("/"))
    }

    /// A node and all below it, folders before what is in them, each folder's contents together.
    pub(crate) fn walk(&self, from: Spot) -> Vec<Spot> {
        let (mut todo, mut out) = (vec![from], Vec::new());
        while let Some(spot) = todo.pop() {
            out.push(spot);
            todo.extend(self.nodes[spot].children.values().rev());
        }
        out
    }

    /// Every node there is, in the tree or beside it.
    pub(crate) fn spots(&self) -> std::ops::Range<Spot> {
        1..self.nodes.len()
    }
}
