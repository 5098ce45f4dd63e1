//! The law: whatever way the events came, the projections are what the reference makes of their set.

use super::{Picture, folded::folded};
use crate::{
    history::{Device, NAMESPACE, Random, Sealed, Sight, acts},
    reference::State,
};
use annals_events::{Hash, VersionVector};
use annals_projections::{Projections, Scope};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// What broke the law, if anything: first for what each device has, in the order in which it came; then for
/// the whole of it, in batches, from a checkpoint, and in another order.
pub fn broken_by(devices: &[Device], random: &mut Random) -> Option<String> {
    let mut forgetful = devices[0].clone();
    acts::forget(&mut forgetful, random);
    let one = random.below(devices.len());
    devices.iter().chain([&forgetful]).enumerate().find_map(|(at, device)| {
        let sight = device.whole();
        let lived = folded(&sight.batches);
        differs_from_reference(&lived, &sight)
            .or_else(|| {
                // They all hold the same by now, in orders of their own.
                let ways = (at == one || at == devices.len()).then(|| other_ways(&sight.batches, random))?;
                other_way_differs(&lived, &ways, &sight)
            })
            .map(|broken| format!("device {}: {broken}", device.name))
    })
}

fn other_way_differs(
    lived: &Projections,
    ways: &[(&'static str, Projections)],
    sight: &Sight,
) -> Option<String> {
    let digests = lived.digests();
    let (picture, restored) = (Picture::of_folds(lived), Picture::of_folds(&ways.last()?.1));
    let unlike = ways.iter().find(|(_, other)| other.digests() != digests);
    unlike
        .map(|(way, other)| format!("{way}: {}", difference(&digests, &other.digests())))
        .or_else(|| picture.difference_to(&restored))
        .or_else(|| differs_from_reference(&ways[3].1, sight))
}

/// The folds of the same batches on other ways.
fn other_ways(batches: &[Rc<Sealed>], random: &mut Random) -> Vec<(&'static str, Projections)> {
    let cut = random.below(batches.len() + 1);
    let shuffled = shuffled(batches, random);
    let again: Vec<Rc<Sealed>> = shuffled[..random.below(shuffled.len() + 1)].to_vec();
    let with_duplicates: Vec<Rc<Sealed>> = shuffled.iter().chain(&again).cloned().collect();
    vec![
        ("at once", in_groups(batches, batches.len())),
        ("in groups", in_groups(batches, 1 + random.below(8))),
        ("from a checkpoint", from_checkpoint(batches, cut)),
        ("in another order", folded(&with_duplicates)),
        ("in another order and groups", in_groups(&with_duplicates, 1 + random.below(8))),
        ("in another order, from a checkpoint", from_checkpoint(&shuffled, cut)),
    ]
}

fn in_groups(batches: &[Rc<Sealed>], size: usize) -> Projections {
    let mut folds = Projections::new(NAMESPACE, Scope::Server);
    fold_groups(&mut folds, batches, size);
    folds
}

fn fold_groups(folds: &mut Projections, batches: &[Rc<Sealed>], size: usize) {
    for group in batches.chunks(size.max(1)) {
        let group = group.iter().map(|sealed| (&sealed.batch, None, 0));
        folds.apply_all(group).expect("the batches belong here");
    }
}

fn from_checkpoint(batches: &[Rc<Sealed>], cut: usize) -> Projections {
    let bytes = folded(&batches[..cut]).checkpoint();
    let mut folds = Projections::from_checkpoint(&bytes).expect("it was just written");
    assert_eq!(folds.checkpoint(), bytes, "a checkpoint is read as it was written");
    fold_groups(&mut folds, &batches[cut..], 3);
    folds
}

/// In some other order that respects causality.
fn shuffled(batches: &[Rc<Sealed>], random: &mut Random) -> Vec<Rc<Sealed>> {
    let (mut placed, mut left, mut order) = (VersionVector::new(), batches.to_vec(), Vec::new());
    while !left.is_empty() {
        let ready: Vec<usize> = (0..left.len()).filter(|at| is_ready(&left[*at], &left, &placed)).collect();
        let next = left.remove(*random.pick(&ready));
        placed.raise(annals_events::Dot::new(next.batch.header().device, next.batch.last()));
        order.push(next);
    }
    order
}

fn is_ready(sealed: &Sealed, left: &[Rc<Sealed>], placed: &VersionVector) -> bool {
    let header = sealed.batch.header();
    let earlier = |other: &Rc<Sealed>| {
        other.batch.header().device == header.device && other.batch.header().first < header.first
    };
    sealed.deeds[0].seen.vector.iter().all(|dot| placed.covers(dot)) && !left.iter().any(earlier)
}

fn differs_from_reference(folds: &Projections, sight: &Sight) -> Option<String> {
    let (expected, actual) = (Picture::of_reference(sight), Picture::of_folds(folds));
    expected.difference_to(&actual).or_else(|| {
        let state = State::new(sight.deeds());
        let members: BTreeMap<_, _> = folds.access().members().map(|(user, role, _)| (user, role)).collect();
        let trash =
            folds.entries().filter(|x| folds.entry(*x).is_some_and(|entry| !entry.shown && !entry.purged));
        let chunks = folds.chunk_refs().chunks();
        let unlike = [
            ("members", members == state.members()),
            ("retention", (folds.retention().versions(), folds.retention().silence()) == state.retention()),
            ("trash", trash.collect::<BTreeSet<_>>() == state.trash()),
            ("bytes used", folds.usage().bytes == state.bytes_used()),
            ("chunks", chunks.collect::<BTreeSet<_>>().into_iter().eq(state.chunk_roots().into_keys())),
        ];
        unlike.iter().find(|(_, alike)| !alike).map(|(what, _)| format!("other {what}"))
    })
}

fn difference(one: &BTreeMap<&'static str, Hash>, other: &BTreeMap<&'static str, Hash>) -> String {
    let unlike: Vec<_> = one.keys().filter(|name| one.get(*name) != other.get(*name)).collect();
    format!("other digests of {unlike:?}")
}
