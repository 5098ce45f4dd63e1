//! What holds of every set of events, whatever it means: the way by which it came leaves no trace.
//!
//! The worlds here are wilder than people are (anybody may do anything that can be folded, and disks lag at
//! random); what they mean is judged in `histories.rs`, against a reference.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use annals_events::{
    Admission, Batch, BatchHeader, Body, ChunkId, ChunkRef, Content, Cut, DeviceId, Dot, DotSet, EntryId,
    EntryKind, Event, Fact, Hash, Hlc, Name, NamespaceId, PublicKey, Role, Seq, UserId, VersionVector,
    record::Chain,
};
use annals_projections::{DotKind, FoldError, Projections, Scope};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const NAMESPACE: NamespaceId = NamespaceId([7; 16]);

/// A device with all it has pulled.
struct Author {
    id: DeviceId,
    folds: Projections,
    pulled: Vec<usize>,
    last: u64,
    prev: Option<Hash>,
    seen: VersionVector,
    hlc: u64,
}

/// What one step does: who, what, and some numbers to choose with.
type Step = (usize, u8, usize, usize, usize);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..3usize, 0..17u8, any::<usize>(), any::<usize>(), any::<usize>()), 1..60)
}

/// Every batch that these steps make, each after all that it has seen.
fn world(steps: &[Step]) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut authors: Vec<Author> = (1..=3)
        .map(|n| Author {
            id: DeviceId::of_key(&PublicKey([n; 32])),
            folds: Projections::new(NAMESPACE, Scope::Server),
            pulled: Vec::new(),
            last: 0,
            prev: None,
            seen: VersionVector::new(),
            hlc: 0,
        })
        .collect();
    for &(who, kind, a, b, c) in steps {
        let author = &mut authors[who];
        if kind < 4 {
            author.pull(&batches, kind > 1, a);
        } else if let Some(batch) = author.act(kind, [a, b, c], batches.len()) {
            author.folds.apply(&batch, None, batches.len() as u64).unwrap();
            author.pulled.push(batches.len());
            batches.push(batch);
        }
    }
    batches
}

impl Author {
    /// Everything there is, or a part of it that is closed under what was seen.
    fn pull(&mut self, batches: &[Batch], all: bool, some: usize) {
        let most = if all { batches.len() } else { some % (batches.len() + 1) };
        for (at, batch) in batches[..most].iter().enumerate() {
            if !self.pulled.contains(&at) {
                self.folds.apply(batch, None, at as u64).unwrap();
                self.pulled.push(at);
                self.hlc = self.hlc.max(batch.events().iter().map(|event| event.hlc.0).max().unwrap());
            }
        }
    }

    fn act(&mut self, kind: u8, choice: [usize; 3], salt: usize) -> Option<Batch> {
        let pick = |dots: &[Dot], at: usize| dots.get(at % dots.len().max(1)).copied();
        let entries: Vec<Dot> = self.folds.entries().map(|e| e.0).collect();
        let of_kind = |wanted: EntryKind| -> Vec<Dot> {
            let is = |e: &&Dot| self.folds.entry(EntryId(**e)).unwrap().kind == wanted;
            entries.iter().filter(is).copied().collect()
        };
        let [a, b, c] = choice;
        let folder =
            pick(&of_kind(EntryKind::Folder), b).filter(|_| b % 3 > 0).map_or(EntryId::ROOT, EntryId);
        let body = Body {
            name: Some(Name::new(["a", "b", "c.txt"][c % 3]).unwrap()),
            content: Some(content(c % 4)),
            target: Some(vec![b'x'; c % 2]),
            mtime: (c % 3 > 0).then_some(c as i64 % 100),
            executable: (c % 4 > 1).then_some(c % 8 > 3),
            ..Body::default()
        };
        let everything = |at: usize| -> DotSet {
            let below = |e: &&Dot| {
                entries.get(at % entries.len()) == Some(e)
                    || self.folds.ancestors(EntryId(**e)).any(|up| up.0 == entries[at % entries.len()])
            };
            let gone = entries.iter().filter(below).map(|e| self.folds.entry(EntryId(*e)).unwrap());
            gone.flat_map(|view| [view.places, view.maximal].concat()).collect()
        };
        let (fact, body) = match kind {
            4..=6 => {
                let entry_kind = [EntryKind::File, EntryKind::Folder, EntryKind::Symlink][a % 3];
                (Fact::EntryCreated { parent: folder, entry_kind }, Some(body))
            }
            7 | 8 => (Fact::EntryMoved { entry: EntryId(pick(&entries, a)?), parent: folder }, Some(body)),
            9 => {
                let entries = DotSet::from_iter([pick(&entries, a)?]);
                (Fact::EntryDeleted { entries, hides: everything(a) }, None)
            }
            10 => {
                let entry = pick(&entries, a)?;
                let shows = everything(a);
                let lifts = shows.iter().flat_map(|dot| self.folds.hidden_by(dot)).collect();
                let place = (b % 2 == 0).then_some(folder);
                (Fact::EntryRestored { entry: EntryId(entry), place, lifts, shows }, Some(body))
            }
            11 => {
                let file = EntryId(pick(&of_kind(EntryKind::File), a)?);
                let parents = self
                    .folds
                    .versions(file)
                    .into_iter()
                    .filter(|v| (v.counter as usize + b).is_multiple_of(2));
                (Fact::VersionUploaded { entry: file, parents: parents.collect() }, Some(body))
            }
            12 => {
                let file = EntryId(pick(&of_kind(EntryKind::File), a)?);
                let heads: DotSet = self.folds.human_heads(file).into_iter().collect();
                if b % 2 == 0 {
                    let fact = Fact::VersionsMerged { entry: file, inputs: heads, algorithm: "test".into() };
                    (fact, Some(body))
                } else {
                    let keep = heads.iter().take(c % 3).collect();
                    (Fact::ConflictResolved { entry: file, over: heads, keep }, None)
                }
            }
            13 => {
                let tags = |at: usize| {
                    if at.is_multiple_of(2) { vec![["red", "blue"][at / 2 % 2].to_owned()] } else { vec![] }
                };
                let body = Body {
                    tags_added: tags(b),
                    tags_removed: tags(c),
                    note: (a % 3 == 0).then(|| format!("note {}", b % 3)),
                    ..body
                };
                (Fact::AttributesChanged { entry: EntryId(pick(&entries, a)?) }, Some(body))
            }
            14 => {
                let user = UserId([(a % 2) as u8; 16]);
                let role = [Role::Viewer, Role::Editor, Role::Owner][b % 3];
                let granted = Fact::MemberGranted { user, role };
                (if c % 2 == 0 { granted } else { Fact::MemberRevoked { user } }, Some(Body::default()))
            }
            15 => {
                let key = PublicKey([(a % 3) as u8 + 1; 32]);
                let label = Some(["laptop", "desktop"][b % 2].to_owned());
                let linked = Fact::DeviceLinked { key, user: UserId([0; 16]), continues: None };
                (linked, Some(Body { label, ..Body::default() }))
            }
            _ => {
                let versions: Vec<Dot> =
                    entries.iter().flat_map(|e| self.folds.versions(EntryId(*e))).collect();
                let some = |dots: Vec<Dot>| {
                    dots.into_iter().filter(|d| (d.counter as usize + c).is_multiple_of(2)).collect()
                };
                if a % 2 == 0 {
                    (Fact::EntryPurged { entries: some(entries.clone()) }, None)
                } else {
                    (Fact::VersionsExpired { versions: some(versions) }, None)
                }
            }
        };
        Some(self.sign(fact, body.map(|body| Body { salt: [salt as u8; 16], ..body }), a))
    }

    fn sign(&mut self, fact: Fact, body: Option<Body>, lag: usize) -> Batch {
        let last =
            |(id, state): (DeviceId, &annals_projections::DeviceState)| Dot::new(id, state.last_counter);
        let seen: VersionVector =
            self.folds.devices().iter().map(last).filter(|d| d.device != self.id).collect();
        // The disk lacks the latest events of one other device, but for those that the fact names.
        let mut named = Vec::new();
        fact.each_named(|dot| named.push(dot));
        let unseen = seen.iter().filter(|_| lag.is_multiple_of(4)).take(1).flat_map(|d| {
            (d.counter.saturating_sub(2).max(1)..=d.counter).map(move |counter| Dot { counter, ..d })
        });
        let unseen: DotSet = unseen.filter(|dot| !named.contains(dot)).collect();
        self.hlc += 1;
        let bytes = body.as_ref().map(Body::encode);
        let body_hash = bytes.as_deref().map(Body::hash_of);
        let header = BatchHeader {
            namespace: NAMESPACE,
            device: self.id,
            first: self.last + 1,
            prev: self.prev,
            seen: seen.difference_to(&self.seen),
            unseen,
            events: vec![Event { hlc: Hlc(self.hlc), at: 0, fact, body_hash }],
        };
        let batch = Batch::assemble(&header, &[0; 64], &[bytes]).unwrap();
        (self.last, self.prev, self.seen) = (self.last + 1, Some(batch.hash()), seen);
        batch
    }
}

fn content(n: usize) -> Content {
    let chunks = (0..=n).map(|i| ChunkRef { bytes: 1, id: ChunkId::of(&[i as u8]) }).collect();
    Content::new(Cut::SMALL, chunks).0
}

fn folded(batches: &[Batch]) -> Projections {
    let mut folds = Projections::new(NAMESPACE, Scope::Server);
    batches.iter().for_each(|batch| folds.apply(batch, None, 0).unwrap());
    folds
}

/// Some other order that respects causality, by `choices`.
fn reordered(batches: &[Batch], choices: &[usize]) -> Vec<Batch> {
    let mut vectors = BTreeMap::<DeviceId, VersionVector>::new();
    let mut needs = Vec::new();
    for batch in batches {
        let header = batch.header();
        let vector = vectors.entry(header.device).or_default();
        *vector = vector.changed_by(&header.seen);
        let own = Dot::new(header.device, header.first - 1);
        needs.push(vector.iter().chain([own]).filter(|dot| dot.counter > 0).collect::<VersionVector>());
    }
    let (mut placed, mut left, mut order) =
        (VersionVector::new(), (0..batches.len()).collect::<Vec<_>>(), Vec::new());
    for turn in 0.. {
        let ready: Vec<usize> =
            left.iter().copied().filter(|&at| needs[at].iter().all(|dot| placed.covers(dot))).collect();
        let Some(&at) =
            ready.get(choices.get(turn % choices.len().max(1)).unwrap_or(&0) % ready.len().max(1))
        else {
            return order;
        };
        left.retain(|&other| other != at);
        placed.raise(Dot::new(batches[at].header().device, batches[at].last()));
        order.push(batches[at].clone());
    }
    order
}

/// What each folder shows, to the last attribute.
fn pictures(folds: &Projections) -> BTreeMap<EntryId, Vec<String>> {
    let folders =
        folds.entries().filter(|e| folds.entry(*e).is_some_and(|view| view.kind == EntryKind::Folder));
    let line = |shown: annals_projections::Shown| {
        let view = folds.entry(shown.entries[0]).unwrap();
        let heads = folds.human_heads(shown.entries[0]);
        format!("{shown:?} {view:?} {heads:?} {:?}", folds.heads(shown.entries[0]))
    };
    let picture = |folder| (folder, folds.list(&[folder]).into_iter().map(line).collect());
    folders.chain([EntryId::ROOT]).map(picture).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_folder_that_shows_something_else_than_before_is_named_as_changed(
        steps in steps(),
        choices in prop::collection::vec(any::<usize>(), 1..8),
    ) {
        let mut folds = Projections::new(NAMESPACE, Scope::Device);
        prop_assert!(folds.take_changed().is_none(), "nobody knows what was before the beginning");
        let mut before = pictures(&folds);
        for (at, batch) in reordered(&world(&steps), &choices).iter().enumerate() {
            folds.apply(batch, None, at as u64).unwrap();
            let (changed, after) = (folds.take_changed(), pictures(&folds));
            let folders: BTreeSet<EntryId> = before.keys().chain(after.keys()).copied().collect();
            for folder in folders {
                let named = changed.as_ref().is_none_or(|changed| changed.contains(&folder));
                let new = !before.contains_key(&folder) && after[&folder].is_empty();
                prop_assert!(named || new || before.get(&folder) == after.get(&folder), "{folder:?}");
            }
            before = after;
        }
    }

    #[test]
    fn no_way_of_arrival_leaves_a_trace(
        steps in steps(),
        choices in prop::collection::vec(any::<usize>(), 1..8),
        group in 1..9usize,
        cut in any::<usize>(),
    ) {
        let batches = world(&steps);
        let digests = folded(&batches).digests();
        let other = reordered(&batches, &choices);
        prop_assert_eq!(other.len(), batches.len());
        let mut folds = Projections::new(NAMESPACE, Scope::Server);
        for (at, group) in other.chunks(group).enumerate() {
            folds.apply_all(group.iter().map(|batch| (batch, None, 0))).unwrap();
            // Again, all that came so far or only some of it: nothing changes.
            let again = other.iter().take(if at % 2 == 0 { group.len() } else { 1 });
            folds.apply_all(again.map(|batch| (batch, None, 0))).unwrap();
            if at == cut % (other.len() / group.len() + 1) {
                folds = Projections::from_checkpoint(&folds.checkpoint()).unwrap();
            }
        }
        prop_assert_eq!(folds.digests(), digests);
        let mut device = Projections::new(NAMESPACE, Scope::Device);
        device.apply_all(other.iter().map(|batch| (batch, None, 0))).unwrap();
        let digests = folds.digests();
        for (what, digest) in device.digests() {
            prop_assert_eq!(&digest, &digests[what], "{}", what);
        }
    }

    #[test]
    fn a_checkpoint_is_the_state_at_every_cut(steps in steps()) {
        let batches = world(&steps);
        let whole = folded(&batches);
        for cut in 0..=batches.len() {
            let bytes = folded(&batches[..cut]).checkpoint();
            let mut folds = Projections::from_checkpoint(&bytes).unwrap();
            batches[cut..].iter().for_each(|batch| folds.apply(batch, None, 0).unwrap());
            prop_assert_eq!(folds.digests(), whole.digests());
            prop_assert_eq!(folds.listing(), whole.listing());
        }
    }

    #[test]
    fn withheld_bodies_take_names_and_contents_and_nothing_else(
        steps in steps(),
        withheld in prop::collection::vec(any::<bool>(), 1..20),
        choices in prop::collection::vec(any::<usize>(), 1..8),
    ) {
        let batches = world(&steps);
        let bare: Vec<Batch> = batches.iter().enumerate().map(|(at, batch)| {
            let keep = !withheld[at % withheld.len()];
            let body = batch.body_bytes(0).filter(|_| keep).map(<[u8]>::to_vec);
            Batch::assemble(batch.header(), &[0; 64], &[body]).unwrap()
        }).collect();
        let (whole, less) = (folded(&batches), folded(&bare));
        prop_assert_eq!(folded(&reordered(&bare, &choices)).digests(), less.digests());
        prop_assert_eq!(&less.digests()["liveness"], &whole.digests()["liveness"]);
        for entry in whole.entries() {
            let (full, bare) = (whole.entry(entry).unwrap(), less.entry(entry).unwrap());
            prop_assert_eq!((full.parent, full.place, full.maximal), (bare.parent, bare.place, bare.maximal));
            prop_assert_eq!(whole.human_heads(entry), less.human_heads(entry));
        }
        let shown = |folds: &Projections| -> BTreeSet<EntryId> {
            folds.entries().filter(|e| folds.entry(*e).unwrap().shown).collect()
        };
        let listed = |folds: &Projections| -> BTreeSet<EntryId> {
            folds.listing().into_values().flat_map(|line| line.entries).collect()
        };
        prop_assert_eq!(listed(&less), shown(&less));
    }

    #[test]
    fn what_builds_on_a_missing_batch_changes_nothing(steps in steps(), missing in any::<usize>()) {
        let mut batches = world(&steps);
        prop_assume!(!batches.is_empty());
        batches.remove(missing % batches.len());
        let mut folds = Projections::new(NAMESPACE, Scope::Server);
        for batch in &batches {
            let before = folds.clone();
            if folds.apply(batch, None, 0).is_err() {
                prop_assert_eq!(folds.digests(), before.digests());
                prop_assert_eq!(folds.checkpoint(), before.checkpoint());
            }
        }
    }

    #[test]
    fn chunk_references_equal_a_recount_of_retained_versions(steps in steps()) {
        let batches = world(&steps);
        let folds = folded(&batches);
        let mut naive = BTreeMap::<ChunkId, BTreeSet<Dot>>::new();
        for batch in &batches {
            let dot = batch.dot(0);
            let version = folds.version(dot).filter(|version| version.retained);
            let body = batch.body(0).unwrap().filter(|_| version.is_some());
            for chunk in body.iter().filter_map(|body| body.content.as_ref()).flat_map(Content::roots) {
                naive.entry(chunk.id).or_default().insert(dot);
            }
        }
        prop_assert_eq!(folds.chunk_refs().chunks().collect::<BTreeSet<_>>(), naive.keys().copied().collect());
        let mut named = BTreeMap::<ChunkId, BTreeSet<Dot>>::new();
        for (version, chunks, _) in folds.roots() {
            chunks.into_iter().for_each(|chunk| named.entry(chunk).or_default().extend([version]));
        }
        prop_assert_eq!(&named, &naive);
        for (chunk, versions) in naive {
            prop_assert!(folds.chunk_refs().contains(chunk));
            prop_assert_eq!(folds.chunk_refs().count(chunk), versions.len() as u64);
        }
    }

    #[test]
    fn what_a_disk_showed_is_the_state_of_what_it_had_seen(steps in steps()) {
        let batches = world(&steps);
        let folds = folded(&batches);
        for (at, batch) in batches.iter().enumerate() {
            let seen = folds.seen_of(batch.dot(0)).unwrap().clone();
            let shown: Vec<&Batch> = batches[..at].iter().filter(|b| {
                seen.vector.covers(b.dot(0)) && !seen.unseen.contains(b.dot(0))
            }).collect();
            let placing = |entry: EntryId, b: &&&Batch| folds.dot_kind(b.dot(0)).is_some_and(|kind| {
                kind.is_place() && kind.entry() == Some(entry)
            });
            for entry in folds.entries() {
                let places: Vec<Dot> = shown.iter().filter(|b| placing(entry, b)).map(|b| b.dot(0)).collect();
                let mut latest: Vec<Dot> = places.iter().copied().filter(|p| {
                    !places.iter().any(|q| q != p && folds.seen_of(*q).unwrap().by(*q, *p))
                }).collect();
                latest.sort();
                prop_assert_eq!(folds.places_as_seen(entry, &seen), latest);
                let human: Vec<Dot> = shown.iter().map(|b| b.dot(0)).filter(|dot| folds.dot_kind(*dot)
                    .is_some_and(|k| k.is_version() && !matches!(k, DotKind::Merge { .. }) && k.entry() == Some(entry)))
                    .collect();
                let above = |v: Dot| -> BTreeSet<Dot> {
                    let (mut found, mut todo) = (BTreeSet::new(), folds.version(v).unwrap().parents);
                    while let Some(p) = todo.pop() {
                        if found.insert(p) { todo.extend(folds.version(p).unwrap().parents); }
                    }
                    found
                };
                let mut maximal: Vec<Dot> =
                    human.iter().copied().filter(|v| !human.iter().any(|h| above(*h).contains(v))).collect();
                maximal.sort();
                prop_assert_eq!(folds.maximal_as_seen(entry, &seen), maximal);
            }
        }
    }
}

fn batch_of(device: u8, first: u64, seen: &[Dot], facts: Vec<Fact>) -> Batch {
    let events = facts.into_iter().enumerate();
    let header = BatchHeader {
        namespace: NAMESPACE,
        device: DeviceId([device; 16]),
        first,
        prev: None,
        seen: seen.to_vec(),
        unseen: DotSet::new(),
        events: events
            .map(|(i, fact)| Event { hlc: Hlc(first + i as u64), at: 0, fact, body_hash: None })
            .collect(),
    };
    let bodies = vec![None; header.events.len()];
    Batch::assemble(&header, &[0; 64], &bodies).unwrap()
}

#[test]
fn a_batch_that_cannot_be_is_refused_with_the_reason() {
    let (dot, file) = (|n| Dot::new(DeviceId([1; 16]), n), EntryKind::File);
    let create = |parent, entry_kind| Fact::EntryCreated { parent, entry_kind };
    let first = batch_of(1, 1, &[], vec![create(EntryId::ROOT, file)]);
    let mut folds = Projections::new(NAMESPACE, Scope::Server);
    folds.apply(&first, None, 0).unwrap();
    let table = [
        // A folder that nobody made.
        (
            batch_of(1, 2, &[], vec![create(EntryId(dot(9)), file)]),
            FoldError::Unknown { dot: dot(2), missing: dot(9) },
        ),
        // A file as a folder.
        (
            batch_of(1, 2, &[], vec![create(EntryId(dot(1)), file)]),
            FoldError::WrongKind { dot: dot(2), named: dot(1) },
        ),
        // Itself, or what comes later in the batch.
        (
            batch_of(1, 2, &[], vec![create(EntryId(dot(2)), file)]),
            FoldError::Unknown { dot: dot(2), missing: dot(2) },
        ),
        // A `seen` that covers what is not here.
        (
            batch_of(2, 1, &[dot(2)], vec![create(EntryId::ROOT, file)]),
            FoldError::Unknown { dot: Dot::new(DeviceId([2; 16]), 1), missing: dot(2) },
        ),
        // Another batch under a used dot.
        (
            batch_of(1, 1, &[], vec![create(EntryId::ROOT, EntryKind::Folder)]),
            FoldError::UsedDot { dot: dot(1) },
        ),
        // The root is no entry that could move.
        (
            batch_of(1, 2, &[], vec![Fact::EntryMoved { entry: EntryId::ROOT, parent: EntryId::ROOT }]),
            FoldError::Unknown { dot: dot(2), missing: EntryId::ROOT.0 },
        ),
    ];
    for (batch, error) in table {
        assert_eq!(folds.apply(&batch, None, 0), Err(error));
    }
}

#[test]
fn a_version_of_another_file_is_no_parent() {
    let dot = |n| Dot::new(DeviceId([1; 16]), n);
    let create = || Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File };
    let edit =
        |parent| Fact::VersionUploaded { entry: EntryId(dot(1)), parents: DotSet::from_iter([dot(parent)]) };
    let mut folds = folded(&[batch_of(1, 1, &[], vec![create(), create()])]);
    let wrong = |dot, named| Err(FoldError::WrongKind { dot, named });
    assert_eq!(folds.apply(&batch_of(1, 3, &[], vec![edit(2)]), None, 0), wrong(dot(3), dot(2)));
    // The same where it stands in one batch with what it names.
    let batch = batch_of(1, 3, &[], vec![create(), edit(1), edit(3)]);
    assert_eq!(folds.apply(&batch, None, 0), wrong(dot(5), dot(3)));
    assert_eq!(folds.apply(&batch_of(1, 3, &[], vec![create(), edit(1), edit(4)]), None, 0), Ok(()));
}

#[test]
fn an_admission_may_come_later_and_changes_no_digest() {
    let batch =
        batch_of(1, 1, &[], vec![Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File }]);
    let mut folds = Projections::new(NAMESPACE, Scope::Server);
    folds.apply(&batch, None, 5).unwrap();
    let (digests, dot) = (folds.digests(), batch.dot(0));
    assert_eq!((folds.head().seq, folds.admitted(dot), folds.locate(dot)), (Seq(0), None, Some((5, 0))));
    let admission = Admission {
        namespace: NAMESPACE,
        epoch: 0,
        seq: Seq(8),
        chain: Chain::default(),
        batch: batch.hash(),
        admitted_at: 77,
        admitted_by: DeviceId([9; 16]),
    };
    folds.apply(&batch, Some(&admission), 6).unwrap();
    assert_eq!(
        (folds.head().seq, folds.admitted(dot), folds.locate(dot)),
        (Seq(8), Some((Seq(8), 77)), Some((6, 0)))
    );
    assert_eq!(folds.digests(), digests);
}

#[test]
fn a_damaged_checkpoint_is_refused_at_every_byte() {
    let batch =
        batch_of(1, 1, &[], vec![Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File }]);
    let bytes = folded(&[batch]).checkpoint();
    assert!(Projections::from_checkpoint(&bytes).is_ok());
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(Projections::from_checkpoint(&flipped).is_err(), "byte {at}");
        assert!(Projections::from_checkpoint(&bytes[..at]).is_err(), "cut at {at}");
    }
}
