//! The projections, as the judge and the law look at them.

use super::picture::{Picture, Portrait};
use crate::{
    history::{NAMESPACE, Sealed, Sight},
    reference::{ledger::Attributes, listing::Line},
};
use annals_events::{Batch, DeviceId, Dot, EntryId, VersionVector};
use annals_projections::{Projections, Scope};
use std::{collections::BTreeMap, rc::Rc};

/// The projections of these batches, one after the other.
pub fn folded(batches: &[Rc<Sealed>]) -> Projections {
    let mut projections = Projections::new(NAMESPACE, Scope::Server);
    for (position, sealed) in batches.iter().enumerate() {
        projections.apply(&sealed.batch, None, position as u64).expect("the batch belongs here");
    }
    projections
}

/// The same events, none of which claims to have pulled what is not here. What a disk shows lacks what its device
/// has pulled; but a fold takes nothing that builds on what it does not know.
fn closed(batches: &[Rc<Sealed>]) -> Vec<Batch> {
    let (mut here, mut before) = (VersionVector::new(), BTreeMap::<DeviceId, VersionVector>::new());
    let claim = |sealed: &Rc<Sealed>| {
        let mut header = sealed.batch.header().clone();
        let seen = &sealed.deeds[0].seen;
        let known =
            seen.vector.iter().map(|dot| Dot { counter: dot.counter.min(here.get(dot.device)), ..dot });
        let known: VersionVector = known.filter(|dot| dot.counter > 0).collect();
        header.unseen = seen.unseen.iter().filter(|dot| known.covers(*dot)).collect();
        let vector = before.entry(header.device).or_default();
        header.seen = known.difference_to(vector);
        *vector = known;
        here.raise(Dot::new(header.device, sealed.batch.last()));
        let count = sealed.batch.events().len();
        let bodies: Vec<_> =
            (0..count).map(|index| sealed.batch.body_bytes(index).map(<[u8]>::to_vec)).collect();
        Batch::assemble(&header, &[0; 64], &bodies).expect("it was a batch before")
    };
    batches.iter().map(claim).collect()
}

impl Picture {
    pub fn of_projections(sight: &Sight) -> Self {
        if sight.is_closed() {
            return Self::of_folds(&folded(&sight.batches));
        }
        let mut projections = Projections::new(NAMESPACE, Scope::Server);
        for batch in closed(&sight.batches) {
            projections.apply(&batch, None, 0).expect("the batch belongs here");
        }
        Self::of_folds(&projections)
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
