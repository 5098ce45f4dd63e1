//! The projections, as the judge and the law look at them.

use super::picture::{Picture, Portrait};
use crate::{
    history::{NAMESPACE, Sealed, Sight},
    reference::{ledger::Attributes, listing::Line},
};
use annals_events::EntryId;
use annals_projections::{Projections, Scope};
use std::rc::Rc;

/// The projections of these batches, one after the other.
pub fn folded(batches: &[Rc<Sealed>]) -> Projections {
    let mut projections = Projections::new(NAMESPACE, Scope::Server);
    for (position, sealed) in batches.iter().enumerate() {
        projections.apply(&sealed.batch, None, position as u64).expect("the batch belongs here");
    }
    projections
}

impl Picture {
    pub fn of_projections(sight: &Sight) -> Self {
        Self::of_folds(&folded(&sight.batches))
    }

    pub fn of_folds(folds: &Projections) -> Self {
        let entries: Vec<EntryId> = folds.entries().filter(|x| *x != EntryId::ROOT).collect();
        let mut picture = Self::default();
        for (path, line) in folds.listing() {
            let name = path.rsplit('/').next();
            assert_eq!(name, Some(line.name.as_str()), "a line's name is the last part of its path");
            let line = Line { entries: line.entries, kind: line.kind, heads: line.heads, copy: line.copy };
            picture.listing.insert(path, line);
        }
        for x in entries {
            let portrait = portrait(folds, x);
            for dot in portrait.places.iter().chain(&portrait.maximal) {
                let deletes = folds.hidden_by(*dot);
                if !deletes.is_empty() {
                    picture.hidden_by.insert(*dot, deletes.into_iter().collect());
                }
            }
            for version in &portrait.versions {
                let content = folds.version(*version).and_then(|version| version.content);
                picture.contents.extend(content.map(|content| (*version, content)));
            }
            picture.entries.insert(x, portrait);
        }
        picture
    }
}

fn portrait(folds: &Projections, x: EntryId) -> Portrait {
    let view = folds.entry(x).expect("it was just listed");
    let said = folds.attributes(x);
    assert_eq!((view.mtime, view.executable), (said.mtime, said.executable), "one answer, whoever asks");
    Portrait {
        kind: view.kind,
        parent: view.parent,
        name: view.name,
        place: view.place,
        shown: view.shown,
        alive: view.alive,
        places: view.places.into_iter().collect(),
        maximal: view.maximal.into_iter().collect(),
        human_heads: folds.human_heads(x).into_iter().collect(),
        heads: folds.heads(x),
        versions: folds.versions(x),
        attributes: Attributes {
            mtime: said.mtime,
            executable: said.executable,
            tags: said.tags,
            notes: said.notes.into_iter().collect(),
        },
    }
}
