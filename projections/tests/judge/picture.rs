//! All that can be seen of a state, as plain data: the reference and the projections are compared by it, and
//! judged by it.

use crate::{
    history::Sight,
    reference::{State, ledger::Attributes, listing::Line},
};
use annals_events::{ContentId, Dot, EntryId, EntryKind};
use std::collections::{BTreeMap, BTreeSet};

/// What there is to know about one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portrait {
    pub kind: EntryKind,
    pub parent: EntryId,
    pub name: String,
    /// The event that put it there.
    pub place: Dot,
    pub shown: bool,
    pub alive: bool,
    pub places: BTreeSet<Dot>,
    pub maximal: BTreeSet<Dot>,
    pub human_heads: BTreeSet<Dot>,
    pub heads: Vec<Dot>,
    pub versions: Vec<Dot>,
    pub attributes: Attributes,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Picture {
    pub listing: BTreeMap<String, Line>,
    pub entries: BTreeMap<EntryId, Portrait>,
    pub hidden_by: BTreeMap<Dot, BTreeSet<Dot>>,
    pub contents: BTreeMap<Dot, ContentId>,
}

impl Picture {
    pub fn of_reference(sight: &Sight) -> Self {
        let state = State::new(sight.deeds());
        let set = |of: &BTreeMap<EntryId, BTreeSet<Dot>>, x: &EntryId| of.get(x).cloned().unwrap_or_default();
        let portrait = |x: &EntryId| {
            let edge = &state.edges[x];
            Portrait {
                kind: state.kinds[x],
                parent: edge.parent,
                name: edge.name.clone(),
                place: edge.dot,
                shown: state.shown.contains(x),
                alive: state.is_alive(*x),
                places: set(&state.places, x),
                maximal: set(&state.maximal, x),
                human_heads: state.human_heads(*x),
                heads: state.heads(*x),
                versions: state.versions.get(x).into_iter().flatten().map(|v| v.dot).collect(),
                attributes: state.attributes(*x),
            }
        };
        let versions = state.versions.values().flatten();
        Self {
            listing: state.listing(),
            entries: state.edges.keys().map(|x| (*x, portrait(x))).collect(),
            contents: versions.filter_map(|v| Some((v.dot, v.body.content.as_ref()?.id))).collect(),
            hidden_by: {
                let latest = state.places.values().chain(state.maximal.values()).flatten();
                latest.filter_map(|dot| Some((*dot, state.hidden_by.get(dot)?.clone()))).collect()
            },
        }
    }

    /// In what `other` is unlike this one, if it is.
    pub fn difference_to(&self, other: &Self) -> Option<String> {
        if self == other {
            return None;
        }
        for x in self.entries.keys().chain(other.entries.keys()) {
            let (one, two) = (self.entries.get(x), other.entries.get(x));
            if one != two {
                return Some(format!("{x:?}: {one:?}, not {two:?}"));
            }
        }
        let parts = [
            (self.listing != other.listing, format!("listing {:#?}, not {:#?}", self.listing, other.listing)),
            (
                self.hidden_by != other.hidden_by,
                format!("hidden {:?}, not {:?}", self.hidden_by, other.hidden_by),
            ),
            (
                self.contents != other.contents,
                format!("contents {:?}, not {:?}", self.contents, other.contents),
            ),
        ];
        parts.into_iter().find(|(unlike, _)| *unlike).map(|(_, how)| how)
    }

    pub fn is_shown(&self, x: EntryId) -> bool {
        x == EntryId::ROOT || self.entries.get(&x).is_some_and(|entry| entry.shown)
    }

    pub fn is_alive(&self, x: EntryId) -> bool {
        self.entries.get(&x).is_some_and(|entry| entry.alive)
    }

    pub fn is_folder(&self, x: EntryId) -> bool {
        x == EntryId::ROOT || self.entries.get(&x).is_some_and(|entry| entry.kind == EntryKind::Folder)
    }

    pub fn is_file(&self, x: EntryId) -> bool {
        self.entries.get(&x).is_some_and(|entry| entry.kind == EntryKind::File)
    }

    /// Everything shown but the root.
    pub fn shown(&self) -> BTreeSet<EntryId> {
        self.entries.iter().filter(|(_, entry)| entry.shown).map(|(x, _)| *x).collect()
    }

    /// From its folder up to the root.
    pub fn ancestors(&self, x: EntryId) -> Vec<EntryId> {
        std::iter::successors(self.entries.get(&x), |entry| self.entries.get(&entry.parent))
            .map(|entry| entry.parent)
            .collect()
    }

    pub fn is_at_or_above(&self, x: EntryId, folder: EntryId) -> bool {
        x == folder || self.ancestors(folder).contains(&x)
    }

    pub fn human_heads(&self, x: EntryId) -> BTreeSet<Dot> {
        self.entries.get(&x).map(|entry| entry.human_heads.clone()).unwrap_or_default()
    }

    pub fn maximal(&self, x: EntryId) -> BTreeSet<Dot> {
        self.entries.get(&x).map(|entry| entry.maximal.clone()).unwrap_or_default()
    }

    pub fn heads(&self, x: EntryId) -> Vec<Dot> {
        self.entries.get(&x).map(|entry| entry.heads.clone()).unwrap_or_default()
    }

    /// The contents under which a file is shown.
    pub fn head_contents(&self, x: EntryId) -> BTreeSet<ContentId> {
        self.heads(x).iter().map(|head| self.contents[head]).collect()
    }

    /// The shown entries at and under `entries`.
    pub fn below(&self, entries: &[EntryId]) -> BTreeSet<EntryId> {
        let at_or_under =
            |x: &EntryId| entries.contains(x) || self.ancestors(*x).iter().any(|f| entries.contains(f));
        self.shown().into_iter().filter(at_or_under).collect()
    }

    /// All that keeps these entries alive, shown or not.
    pub fn everything<'a>(&self, entries: impl IntoIterator<Item = &'a EntryId>) -> BTreeSet<Dot> {
        let entries = entries.into_iter().filter_map(|x| self.entries.get(x));
        entries.flat_map(|entry| entry.places.iter().chain(&entry.maximal)).copied().collect()
    }

    /// Which content each path shows.
    pub fn paths(&self) -> BTreeMap<String, (EntryKind, Vec<Dot>)> {
        self.listing.iter().map(|(path, line)| (path.clone(), (line.kind, line.heads.clone()))).collect()
    }
}
