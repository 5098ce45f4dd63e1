//! What was removed and can still be brought back, as people removed it: one line for each removal, with all that went
//! with it.
//!
//! What must always hold: restoring a line brings back what its deletes hid, there and below, and nothing else; where
//! its name or its folder is somebody else's by now, it comes back beside that. What stands in the way of forgetting is
//! told as admission would judge it ([`forget_floor`]).
//!
//! Left out: who may do it, and saying it (the shell signs what [`restoring`] and [`forgetting`] answer with).

use crate::{
    author::{RANGES_MAX, Said},
    observed::RemoteTree,
};
use annals_events::{Body, DeviceId, Dot, DotSet, EntryId, EntryKind, Fact, Name, Seq, path};
use annals_projections::Projections;
use std::collections::{BTreeMap, BTreeSet};

/// One removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The entry at its top.
    pub entry: EntryId,
    /// What that is.
    pub kind: EntryKind,
    /// Where it was, by the names that the log has.
    pub path: String,
    /// The deletes that hide it.
    pub deletes: DotSet,
    /// Everything that went with it, itself first.
    pub entries: Vec<EntryId>,
    /// How many of those are files or symlinks.
    pub files: u64,
    /// What the files held last, in bytes.
    pub bytes: u64,
}

/// Everything that was removed and not purged, by path.
#[must_use]
pub fn trash(log: &Projections) -> Vec<Removed> {
    let removed: Vec<EntryId> = log.removed().collect();
    let deletes: BTreeMap<EntryId, DotSet> = removed.iter().map(|e| (*e, deletes_of(log, *e))).collect();
    let mut lines: BTreeMap<EntryId, Removed> = BTreeMap::new();
    for entry in removed {
        let top = top_of(log, entry, &deletes);
        let line = lines.entry(top).or_insert_with(|| Removed {
            entry: top,
            kind: log.entry(top).map_or(EntryKind::Folder, |view| view.kind),
            path: log.path(top).unwrap_or_default(),
            deletes: deletes[&top].clone(),
            entries: vec![top],
            files: 0,
            bytes: 0,
        });
        if entry != top {
            line.entries.push(entry);
        }
        if log.entry(entry).is_some_and(|view| view.kind != EntryKind::Folder) {
            line.files += 1;
            line.bytes += held_last(log, entry);
        }
    }
    let mut lines: Vec<Removed> = lines.into_values().collect();
    lines.sort_by(|a, b| (&a.path, a.entry).cmp(&(&b.path, b.entry)));
    lines
}

fn held_last(log: &Projections, file: EntryId) -> u64 {
    log.heads(file).into_iter().filter_map(|head| log.version(head)).map(|version| version.size).sum()
}

/// The dots that keep an entry alive once nothing hides them: its places, and its maximal versions.
pub(crate) fn keeps_alive(log: &Projections, entry: EntryId) -> Vec<Dot> {
    log.entry(entry).map_or_else(Vec::new, |view| [view.places, view.maximal].concat())
}

/// The deletes that hide an entry.
#[must_use]
pub fn deletes_of(log: &Projections, entry: EntryId) -> DotSet {
    keeps_alive(log, entry).into_iter().flat_map(|dot| log.hidden_by(dot)).collect()
}

/// The entry at the top of the removal that took `entry`: as long as whoever removed it removed the folder, too.
fn top_of(log: &Projections, entry: EntryId, deletes: &BTreeMap<EntryId, DotSet>) -> EntryId {
    let mut top = entry;
    for folder in log.ancestors(entry) {
        let went_along =
            deletes.get(&folder).is_some_and(|all| deletes[&top].iter().all(|d| all.contains(d)));
        if !went_along {
            break;
        }
        top = folder;
    }
    top
}

// --- bringing back -------------------------------------------------------------------------------------------------

/// What brings a removal back, in order, and where it will be. It comes back to where it was; into the folder that has
/// the path of its own by now, if there is one; and under a name with ` (restored)` in it where its own is taken.
#[must_use]
pub fn restoring(log: &Projections, shown: &RemoteTree, removed: &Removed) -> (Vec<Said>, String) {
    let (place, path) = place_for(log, shown, removed);
    (lifting(log, removed.entry, &removed.entries, &removed.deletes, place), path)
}

/// What lifts `deletes` from `entries`, at `top` and below it, which goes to `place` if that is another than it had.
pub(crate) fn lifting(
    log: &Projections,
    top: EntryId,
    entries: &[EntryId],
    deletes: &DotSet,
    place: Option<(EntryId, Name)>,
) -> Vec<Said> {
    let mut parts = vec![DotSet::new()];
    for entry in entries {
        if parts.last().is_some_and(|part| part.range_count() >= RANGES_MAX) {
            parts.push(DotSet::new());
        }
        let held = |dot: &Dot| log.hidden_by(*dot).into_iter().any(|delete| deletes.contains(delete));
        let dots = keeps_alive(log, *entry).into_iter().filter(held);
        parts.last_mut().expect("it begins with one").extend(dots);
    }
    let mut place = place;
    let said = parts.into_iter().map(|shows| {
        let lifts = deletes.clone();
        let (place, body) = match place.take() {
            Some((folder, name)) => (Some(folder), Some(Body { name: Some(name), ..Body::default() })),
            None => (None, None),
        };
        Said { fact: Fact::EntryRestored { entry: top, place, lifts, shows }, body }
    });
    said.collect()
}

/// Where to put it, if that is another place than it had, and the path there.
fn place_for(log: &Projections, shown: &RemoteTree, removed: &Removed) -> (Option<(EntryId, Name)>, String) {
    let was = log.entry(removed.entry).map_or(EntryId::ROOT, |view| view.parent);
    let (above, name) = match removed.path.rsplit_once('/') {
        Some((above, name)) => (Some(above), name),
        None => (None, removed.path.as_str()),
    };
    let is_folder = |node: &&crate::observed::RemoteNode| node.kind == EntryKind::Folder;
    // The folder it was in may be shown under another name, or another one may have its path.
    let still = shown.nodes.iter().find(|(_, node)| node.entries.contains(&was));
    let (folder, above) = match (above, still) {
        (_, Some((path, _))) => (was, Some(path.as_str())),
        (None, None) => (was, None),
        (Some(above), None) => (
            shown
                .nodes
                .get(above)
                .filter(is_folder)
                .and_then(|node| node.entries.first().copied())
                .unwrap_or(was),
            Some(above),
        ),
    };
    let at = |name: &str| above.map_or_else(|| name.to_owned(), |above| format!("{above}/{name}"));
    let free = |name: &String| !shown.nodes.contains_key(&at(name));
    if free(&name.to_owned()) && folder == was {
        return (None, at(name));
    }
    let others = (0..).map(|n| path::suffixed(name, " (restored)", &"~".repeat(n)));
    let found = std::iter::once(name.to_owned()).chain(others).find(free);
    let found = found.expect("there are more marks than siblings");
    let path = at(&found);
    // A name that a log holds is one; without it the entry returns to where it was.
    (Name::new(found).ok().map(|name| (folder, name)), path)
}

// --- forgetting ----------------------------------------------------------------------------------------------------

/// How far every device has got that is linked and not retired, as they said themselves: what is forgotten has to be
/// known there.
#[must_use]
pub fn forget_floor(log: &Projections) -> Seq {
    counting(log).map(|(_, acknowledged)| acknowledged).min().unwrap_or_default()
}

fn counting(log: &Projections) -> impl Iterator<Item = (DeviceId, Seq)> + '_ {
    let here = log.devices().iter();
    let here = here.filter(|(_, state)| state.linked && !state.is_server && state.retired_last.is_none());
    here.map(|(device, state)| (device, state.acknowledged))
}

/// The last event that every device has to know before an entry may be purged: what gave it its places and versions,
/// and what removed it. None while one of them is not in the log.
#[must_use]
pub fn known_from(log: &Projections, entry: EntryId) -> Option<Seq> {
    let touched = keeps_alive(log, entry).into_iter().flat_map(|dot| {
        let hidden_by = log.hidden_by(dot);
        hidden_by.into_iter().chain([dot])
    });
    touched
        .map(|dot| log.admitted(dot).map(|(seq, _)| seq))
        .try_fold(Seq(0), |last, seq| Some(last.max(seq?)))
}

/// The devices that have not said yet that they know of `seq`.
#[must_use]
pub fn behind(log: &Projections, seq: Seq) -> BTreeSet<DeviceId> {
    counting(log).filter(|(_, acknowledged)| *acknowledged < seq).map(|(device, _)| device).collect()
}

/// What purges these entries.
#[must_use]
pub fn forgetting(entries: impl IntoIterator<Item = EntryId>) -> Vec<Fact> {
    in_parts(entries.into_iter().map(|entry| entry.0))
        .into_iter()
        .map(|entries| Fact::EntryPurged { entries })
        .collect()
}

/// Dots as sets that fit a batch each.
pub(crate) fn in_parts(dots: impl IntoIterator<Item = Dot>) -> Vec<DotSet> {
    let all: DotSet = dots.into_iter().collect();
    let mut parts: Vec<DotSet> = Vec::new();
    for dot in all.iter() {
        match parts.last_mut() {
            Some(part) if part.range_count() < RANGES_MAX => part.insert(dot),
            _ => parts.push(DotSet::from_iter([dot])),
        }
    }
    parts
}
