//! What admission refuses, as a table: a world with a few events in it, and one bad batch a row.

use super::*;
use crate::{
    namespace::{Issued, first_batch, issue},
    protocol::Code,
};
use annals_events::{
    Body, ChunkRef, Cut, DotSet, Draft, EntryId, EntryKind, HlcClock, Name, NamespaceId, Policy, Record,
    UserId,
};
use annals_projections::Scope;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

const NAMESPACE: NamespaceId = NamespaceId([9; 16]);
const OWNER: UserId = UserId([1; 16]);
const EDITOR: UserId = UserId([2; 16]);
const VIEWER: UserId = UserId([3; 16]);
const NOW_MS: u64 = 1_700_000_000_000;

/// A namespace with a server, an owner's laptop and phone, an editor's and a viewer's device.
struct World {
    projections: Projections,
    server: SigningKey,
    batches: u64,
}

/// A device and what it would say next.
struct Device {
    key: SigningKey,
    first: u64,
    prev: Option<Hash>,
    seen_before: VersionVector,
    seen: VersionVector,
    clock: HlcClock,
}

fn signing_key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

fn id(key: &SigningKey) -> DeviceId {
    DeviceId::of_key(&public(key))
}

fn named(name: &str) -> Body {
    Body { name: Some(Name::new(name).unwrap()), ..Body::default() }
}

fn content(n: u8) -> Content {
    Content::new(Cut::SMALL, vec![ChunkRef { bytes: 10, id: ChunkId([n; 32]) }]).0
}

fn with_content(name: &str, n: u8) -> Body {
    Body { content: Some(content(n)), ..named(name) }
}

fn dots(list: &[Dot]) -> DotSet {
    list.iter().copied().collect()
}

fn create(parent: EntryId, entry_kind: EntryKind) -> Fact {
    Fact::EntryCreated { parent, entry_kind }
}

fn folder(name: &str) -> (Fact, Option<Body>) {
    (create(EntryId::ROOT, EntryKind::Folder), Some(named(name)))
}

fn file(name: &str) -> (Fact, Option<Body>) {
    (create(EntryId::ROOT, EntryKind::File), Some(with_content(name, 1)))
}

impl World {
    fn new() -> Self {
        let server = signing_key(100);
        let mut world = Self { projections: Projections::new(NAMESPACE, Scope::Server), server, batches: 0 };
        let link = |n: u8, user: UserId| Issued {
            fact: Fact::DeviceLinked { key: public(&signing_key(n)), user, continues: None },
            body: Some(Body { label: Some("l".into()), user_name: Some("n".into()), ..Body::default() }),
        };
        let begun = Fact::NamespaceCreated { owner: OWNER, server: public(&world.server) };
        let begun =
            Issued { fact: begun, body: Some(Body { label: Some("home".into()), ..Body::default() }) };
        let links = [link(1, OWNER), link(2, OWNER), link(3, EDITOR), link(4, VIEWER)];
        let first = [vec![begun], links.to_vec()].concat();
        world.admit(&first_batch(NAMESPACE, &world.server.clone(), NOW_MS, first));
        let mut laptop = world.device(1);
        let grant = |user, role| {
            (
                Fact::MemberGranted { user, role },
                Some(Body { user_name: Some("n".into()), ..Body::default() }),
            )
        };
        let grants = vec![grant(EDITOR, Role::Editor), grant(VIEWER, Role::Viewer)];
        let batch = laptop.sign(grants);
        world.admit(&batch);
        world
    }

    /// A device that knows all there is.
    fn device(&self, n: u8) -> Device {
        let key = signing_key(n);
        let state = self.projections.devices().get(id(&key)).cloned();
        let (last, prev) = state.as_ref().map_or((0, None), |state| (state.last_counter, state.last_batch));
        let seen_before = state.map_or_else(VersionVector::new, |state| state.seen);
        let others = self.projections.devices().iter().filter(|(device, _)| *device != id(&key));
        let seen =
            others.filter(|(_, s)| s.last_counter > 0).map(|(d, s)| Dot::new(d, s.last_counter)).collect();
        let latest = self.projections.devices().iter().map(|(_, state)| state.last_hlc).max().unwrap();
        Device { key, first: last + 1, prev, seen_before, seen, clock: HlcClock::above(latest) }
    }

    fn judge(&self, batch: &Batch) -> Result<Verdict, Refusal> {
        judge(batch, &self.projections, &Facts::default())
    }

    /// Judged and folded.
    fn admit(&mut self, batch: &Batch) {
        assert_eq!(self.judge(batch), Ok(Verdict::Admit));
        let head = self.projections.head();
        let record = Record::admit(batch.clone(), &self.server, 0, Seq(head.seq.0 + 1), head.chain, NOW_MS);
        self.batches += 1;
        self.projections.apply(batch, Some(record.admission()), self.batches).unwrap();
    }

    /// The first event's dot.
    fn does(&mut self, n: u8, facts: Vec<(Fact, Option<Body>)>) -> Dot {
        let batch = self.device(n).sign(facts);
        self.admit(&batch);
        batch.dot(0)
    }

    fn says(&mut self, fact: Fact) {
        let batch = issue(&self.projections, &self.server, NOW_MS, vec![Issued { fact, body: None }]);
        self.admit(&batch);
    }

    #[track_caller]
    fn refuses(&self, batch: &Batch, code: Code) {
        match self.judge(batch) {
            Err(refusal) => assert_eq!(refusal.code(), code, "{refusal}"),
            Ok(verdict) => panic!("{verdict:?} instead of {code:?}"),
        }
    }
}

impl Device {
    fn sign(&mut self, facts: Vec<(Fact, Option<Body>)>) -> Batch {
        let clock = &mut self.clock;
        let drafts = facts
            .into_iter()
            .map(|(fact, body)| Draft { hlc: clock.tick(NOW_MS), at: NOW_MS, fact, body })
            .collect();
        self.sign_drafts(drafts)
    }

    fn sign_drafts(&self, drafts: Vec<Draft>) -> Batch {
        let (seen, unseen) = (&self.seen, DotSet::new());
        Batch::sign(&self.key, NAMESPACE, self.first, self.prev, &self.seen_before, seen, unseen, drafts)
            .unwrap()
    }

    fn at(&self, hlc: Hlc) -> Batch {
        let (fact, body) = folder("a");
        self.sign_drafts(vec![Draft { hlc, at: 0, fact, body }])
    }
}

// Who signed it, and does it follow?

#[test]
fn only_a_linked_device_that_signed_it_is_heard() {
    let world = World::new();
    world.refuses(&world.device(50).sign(vec![folder("a")]), Code::DeviceUnlinked);
    let good = world.device(1).sign(vec![folder("a")]);
    let bodies = [good.body_bytes(0).map(<[u8]>::to_vec)];
    let unsigned = Batch::assemble(good.header(), &[0; 64], &bodies).unwrap();
    world.refuses(&unsigned, Code::BatchSignature);
    let mut header = good.header().clone();
    header.device = id(&signing_key(2));
    let by_another = world.device(1).key;
    let forged = Batch::assemble(&header, &signature_of(&good, &by_another), &bodies).unwrap();
    world.refuses(&forged, Code::BatchSignature);
    assert_eq!(world.judge(&good), Ok(Verdict::Admit));
}

/// The signature of a batch's author over another header is none.
fn signature_of(batch: &Batch, key: &SigningKey) -> [u8; 64] {
    use ed25519_dalek::Signer;
    key.sign(batch.bytes()).to_bytes()
}

#[test]
fn a_batch_for_another_namespace_is_refused() {
    let world = World::new();
    let device = world.device(1);
    let (none, (fact, body)) = (VersionVector::new(), folder("a"));
    let draft = Draft { hlc: Hlc::at_ms(NOW_MS * 2), at: 0, fact, body };
    let elsewhere = NamespaceId([8; 16]);
    let batch =
        Batch::sign(&device.key, elsewhere, 3, None, &none, &none, DotSet::new(), vec![draft]).unwrap();
    world.refuses(&batch, Code::BatchNamespace);
}

#[test]
fn a_body_that_was_not_signed_is_no_batch_at_all() {
    let world = World::new();
    let good = world.device(1).sign(vec![folder("a")]);
    let bytes = Batch::assemble(good.header(), &[0; 64], &[Some(named("b").encode())]);
    assert!(matches!(bytes, Err(annals_events::BatchError::BodyHash { .. })));
    assert_eq!(Refusal::Batch(bytes.unwrap_err()).code(), Code::BatchBody);
    // Withheld bodies are for readers, not for admission.
    let withheld = Batch::assemble(good.header(), &signature_in(&good), &[None]).unwrap();
    world.refuses(&withheld, Code::BodyMissing);
}

/// The signature as the batch's bytes have it: the byte string of 64 after the signed one.
fn signature_in(batch: &Batch) -> [u8; 64] {
    let marker = [0x58, 0x40];
    let mut at = batch.bytes().windows(2).enumerate().filter(|(_, pair)| *pair == marker).map(|(at, _)| at);
    let found = at.find_map(|at| {
        let signature: [u8; 64] = batch.bytes().get(at + 2..at + 66)?.try_into().ok()?;
        let bodies: Vec<_> =
            (0..batch.events().len()).map(|i| batch.body_bytes(i).map(<[u8]>::to_vec)).collect();
        (Batch::assemble(batch.header(), &signature, &bodies).ok()?.bytes() == batch.bytes())
            .then_some(signature)
    });
    found.unwrap()
}

#[test]
fn a_retired_device_says_nothing_more_and_its_old_batches_stay_admitted() {
    let mut world = World::new();
    let old = world.device(2).sign(vec![folder("old")]);
    world.admit(&old);
    let late = world.device(2).sign(vec![folder("late")]);
    world.says(Fact::DeviceRetired { device: id(&signing_key(2)), last: 1 });
    world.refuses(&late, Code::DeviceRetired);
    let facts = Facts { stored: Some(old.hash()), ..Facts::default() };
    assert_eq!(judge(&old, &world.projections, &facts), Ok(Verdict::Again));
}

#[test]
fn gaps_in_prev_and_used_counters_are_refused_and_counters_may_be_left_out() {
    let mut world = World::new();
    let one = world.device(2).sign(vec![folder("one"), folder("two")]);
    world.admit(&one);
    let mut device = world.device(2);
    for prev in [None, Some(Hash([7; 32]))] {
        device.prev = prev;
        world.refuses(&device.sign(vec![folder("three")]), Code::PrevMismatch);
    }
    device.prev = Some(one.hash());
    for first in [1, 2] {
        device.first = first;
        world.refuses(&device.sign(vec![folder("three")]), Code::CounterUsed);
    }
    device.first = 9;
    let later = device.sign(vec![folder("three")]);
    world.admit(&later);
    // Those left out are void for ever.
    let mut device = world.device(2);
    device.first = 5;
    world.refuses(&device.sign(vec![folder("four")]), Code::CounterUsed);
}

#[test]
fn a_used_dot_is_the_same_batch_or_equivocation() {
    let mut world = World::new();
    let (mut device, mut twin) = (world.device(2), world.device(2));
    let (one, other) = (device.sign(vec![folder("one")]), twin.sign(vec![folder("other")]));
    world.admit(&one);
    assert_eq!(Needs::of(&other, &world.projections).stored_under, Some(other.dot(0)));
    let facts = Facts { stored: Some(one.hash()), ..Facts::default() };
    assert_eq!(judge(&one, &world.projections, &facts), Ok(Verdict::Again));
    let refused = judge(&other, &world.projections, &facts).unwrap_err();
    assert_eq!(refused, Refusal::Equivocation { dot: other.dot(0), stored: one.hash() });
}

// Had its author seen what it names?

#[test]
fn nothing_is_seen_that_was_never_admitted() {
    let mut world = World::new();
    let entry = world.does(1, vec![folder("a")]);
    for (device, counter) in [(entry.device, entry.counter + 1), (DeviceId([7; 16]), 1)] {
        let mut phone = world.device(2);
        phone.seen.raise(Dot::new(device, counter));
        world.refuses(&phone.sign(vec![folder("b")]), Code::SeenUnknown);
    }
    let mut phone = world.device(2);
    phone.first = 5;
    phone.seen.raise(Dot::new(id(&phone.key), 4));
    assert_eq!(world.judge(&phone.sign(vec![folder("b")])), Ok(Verdict::Admit));
    for (counter, good) in [(entry.counter, true), (entry.counter + 1, false), ((1 << 62) - 1, false)] {
        let mut header = world.device(2).sign(vec![folder("b")]).header().clone();
        header.unseen = dots(&[Dot::new(entry.device, counter)]);
        let batch = resigned(&world.device(2).key, &header, named("b").encode());
        let verdict = world.judge(&batch).map_err(|refusal| refusal.code());
        assert_eq!(verdict, if good { Ok(Verdict::Admit) } else { Err(Code::SeenUnknown) }, "{counter}");
    }
    let acknowledged = Fact::Acknowledged { seq: Seq(world.projections.head().seq.0 + 1) };
    world.refuses(&world.device(2).sign(vec![(acknowledged, None)]), Code::SeenUnknown);
}

/// Every structure with a dot that its author had not seen, that is nobody's, or of the wrong kind.
#[test]
fn what_an_event_names_was_seen_and_is_of_the_right_kind() {
    let mut world = World::new();
    let a_folder = world.does(1, vec![folder("folder")]);
    let a_file = world.does(1, vec![file("file")]);
    let other_file = world.does(1, vec![file("other")]);
    let link =
        (create(EntryId::ROOT, EntryKind::Symlink), Some(Body { target: Some(b"x".to_vec()), ..named("l") }));
    let a_link = world.does(1, vec![link]);
    let a_move = world.does(
        1,
        vec![(Fact::EntryMoved { entry: EntryId(a_file), parent: EntryId::ROOT }, Some(named("m")))],
    );
    let a_delete = world.does(
        1,
        vec![(Fact::EntryDeleted { entries: dots(&[other_file]), hides: dots(&[other_file]) }, None)],
    );
    let nobodys = Dot::new(a_file.device, a_file.counter + 1000);
    let strangers = Dot::new(DeviceId([7; 16]), 1);
    let unseen = world.device(2).sign(vec![folder("unseen")]);
    world.admit(&unseen);
    let unseen = unseen.dot(0);

    let (root, text) = (EntryId::ROOT, || Some(with_content("x", 5)));
    let upload =
        |entry: Dot, parents: &[Dot]| Fact::VersionUploaded { entry: EntryId(entry), parents: dots(parents) };
    let moved = |entry: Dot, parent: EntryId| Fact::EntryMoved { entry: EntryId(entry), parent };
    let restored = |entry: Dot, place: Option<EntryId>, lifts: &[Dot], shows: &[Dot]| Fact::EntryRestored {
        entry: EntryId(entry),
        place,
        lifts: dots(lifts),
        shows: dots(shows),
    };
    let resolved = |entry: Dot, over: &[Dot], keep: &[Dot]| Fact::ConflictResolved {
        entry: EntryId(entry),
        over: dots(over),
        keep: dots(keep),
    };
    let deleted =
        |entries: &[Dot], hides: &[Dot]| Fact::EntryDeleted { entries: dots(entries), hides: dots(hides) };
    let (seen, kind) = (Code::NamedUnseen, Code::WrongKind);
    let table = [
        // a parent that is nobody's, unseen, a file, a move, a symlink
        (create(EntryId(nobodys), EntryKind::Folder), seen),
        (create(EntryId(strangers), EntryKind::Folder), seen),
        (create(EntryId(unseen), EntryKind::Folder), seen),
        (create(EntryId(a_file), EntryKind::Folder), kind),
        (create(EntryId(a_move), EntryKind::Folder), kind),
        (create(EntryId(a_link), EntryKind::File), kind),
        // moves of nobody, of a move, into a file
        (moved(nobodys, root), seen),
        (moved(a_move, root), kind),
        (moved(EntryId::ROOT.0, root), seen),
        (moved(a_folder, EntryId(a_file)), kind),
        // versions of a folder; from versions of another file, from a place, from nobody's
        (upload(a_folder, &[]), kind),
        (upload(a_file, &[other_file]), kind),
        (upload(a_file, &[a_move]), kind),
        (upload(a_file, &[nobodys]), seen),
        (upload(nobodys, &[]), seen),
        (Fact::AttributesChanged { entry: EntryId(nobodys) }, seen),
        (Fact::AttributesChanged { entry: EntryId(a_move) }, kind),
        // deletes of what is no entry, hiding what is no place and no version
        (deleted(&[a_move], &[]), kind),
        (deleted(&[nobodys], &[]), seen),
        (deleted(&[a_file], &[a_delete]), kind),
        (deleted(&[a_file], &[unseen]), seen),
        (deleted(&[a_file], &[nobodys]), seen),
        // restores that lift what is no delete, show what is no place, into what is no folder
        (restored(a_file, None, &[a_move], &[]), kind),
        (restored(a_file, None, &[nobodys], &[]), seen),
        (restored(a_file, None, &[a_delete], &[a_delete]), kind),
        (restored(a_file, None, &[a_delete], &[nobodys]), seen),
        (restored(a_file, Some(EntryId(a_link)), &[a_delete], &[]), kind),
        (restored(a_delete, None, &[], &[]), kind),
        // resolutions over, or for, what is no version of that file
        (resolved(a_file, &[other_file], &[]), kind),
        (resolved(a_file, &[a_file], &[other_file]), kind),
        (resolved(a_file, &[nobodys], &[]), seen),
        (resolved(a_folder, &[], &[]), kind),
    ];
    for (fact, code) in table {
        let mut laptop = world.device(1);
        laptop.seen = laptop.seen.iter().filter(|dot| dot.device != unseen.device).collect();
        let batch = laptop.sign(vec![(fact.clone(), text())]);
        match world.judge(&batch) {
            Err(refusal) => {
                assert_eq!(refusal.code(), code, "{fact:?}: {refusal}");
                assert_eq!(refusal.dots(), [batch.dot(0)]);
            }
            Ok(_) => panic!("{fact:?} was let in"),
        }
    }
    let whole = restored(other_file, Some(EntryId(a_folder)), &[a_delete], &[other_file]);
    assert_eq!(world.judge(&world.device(1).sign(vec![(whole, text())])), Ok(Verdict::Admit));
}

#[test]
fn an_event_may_name_one_before_it_in_its_batch_and_none_after_it() {
    let world = World::new();
    let mut laptop = world.device(1);
    let dot = |counter| EntryId(Dot::new(id(&signing_key(1)), counter));
    let first = laptop.first;
    let child = (create(dot(first), EntryKind::Folder), Some(named("child")));
    assert_eq!(world.judge(&laptop.sign(vec![folder("a"), child])), Ok(Verdict::Admit));
    for later in [first, first + 1] {
        let early = (create(dot(later), EntryKind::Folder), Some(named("child")));
        let batch = world.device(1).sign(vec![early, folder("a")]);
        world.refuses(&batch, Code::NamedUnseen);
    }
}

#[test]
fn nothing_shows_what_was_purged() {
    let mut world = World::new();
    let a_file = world.does(1, vec![file("file")]);
    let delete = Fact::EntryDeleted { entries: dots(&[a_file]), hides: dots(&[a_file]) };
    let a_delete = world.does(1, vec![(delete, None)]);
    let purge = || vec![(Fact::EntryPurged { entries: dots(&[a_file]) }, None)];
    // Not before every device has said that it knows of the delete.
    world.refuses(&world.device(1).sign(purge()), Code::NotYet);
    let seq = world.projections.head().seq;
    for n in 1..=4 {
        world.does(n, vec![(Fact::Acknowledged { seq }, None)]);
    }
    world.does(1, purge());
    let restore = Fact::EntryRestored {
        entry: EntryId(a_file),
        place: None,
        lifts: dots(&[a_delete]),
        shows: dots(&[a_file]),
    };
    world.refuses(&world.device(1).sign(vec![(restore, None)]), Code::Gone);
    let resolve =
        Fact::ConflictResolved { entry: EntryId(a_file), over: dots(&[a_file]), keep: dots(&[a_file]) };
    world.refuses(&world.device(1).sign(vec![(resolve, None)]), Code::Gone);
}

#[test]
fn what_is_shown_is_not_purged_and_a_head_does_not_expire() {
    let mut world = World::new();
    let a_file = world.does(1, vec![file("file")]);
    let upload = Fact::VersionUploaded { entry: EntryId(a_file), parents: dots(&[a_file]) };
    let edit = world.does(1, vec![(upload, Some(with_content("x", 2)))]);
    let seq = world.projections.head().seq;
    for n in 1..=4 {
        world.does(n, vec![(Fact::Acknowledged { seq }, None)]);
    }
    let purge = (Fact::EntryPurged { entries: dots(&[a_file]) }, None);
    world.refuses(&world.device(1).sign(vec![purge]), Code::NotYet);
    let expire = |dot| vec![(Fact::VersionsExpired { versions: dots(&[dot]) }, None)];
    world.refuses(&world.device(1).sign(expire(edit)), Code::NotYet);
    assert_eq!(world.judge(&world.device(1).sign(expire(a_file))), Ok(Verdict::Admit));
}

// Clocks.

#[test]
fn stamps_rise_above_all_that_was_seen_and_end_with_the_year_9999() {
    let mut world = World::new();
    let latest = world.device(1).clock.latest();
    for (hlc, good) in [
        (Hlc(0), false),
        (latest, false),
        (latest.next(), true),
        (Hlc::at_ms(Hlc::LAST_MS), true),
        (Hlc(Hlc::AFTER_LAST.0 - 1), true),
        (Hlc::AFTER_LAST, false),
        (Hlc::at_ms(269_180_000_000_000), false), // the year 10500
        (Hlc(u64::MAX), false),
    ] {
        assert_eq!(world.judge(&world.device(1).at(hlc)).is_ok(), good, "{hlc:?}");
    }
    let (fact, body) = folder("a");
    let draft = |hlc: Hlc| Draft { hlc, at: 0, fact: fact.clone(), body: body.clone() };
    let falling = world.device(1).sign_drafts(vec![draft(latest.next().next()), draft(latest.next())]);
    world.refuses(&falling, Code::Clock);

    // One at the very end of 9999: everybody else counts on from it, a millisecond at a time.
    let last = Hlc(Hlc::AFTER_LAST.0 - 1);
    world.admit(&world.device(1).at(last));
    for n in [2, 3] {
        world.does(n, vec![folder("after it"), folder("and on")]);
    }
    let jump = Hlc(world.device(2).clock.latest().0 + (1 << 16) + 1);
    world.refuses(&world.device(2).at(jump), Code::Clock);
    // Who has not seen it has no reason to be past 9999.
    let mut blind = world.device(4);
    blind.seen = VersionVector::new();
    world.refuses(&blind.at(Hlc::AFTER_LAST), Code::Clock);
}

// Rights.

#[test]
fn each_role_may_what_the_ones_before_it_may_and_its_own() {
    let mut world = World::new();
    let entry = world.does(1, vec![file("file")]);
    let user = UserId([77; 16]);
    let grant = || {
        (
            Fact::MemberGranted { user, role: Role::Viewer },
            Some(Body { user_name: Some("x".into()), ..Body::default() }),
        )
    };
    let policy = || {
        (
            Fact::PolicySet { policy: Policy::Both },
            Some(Body { pattern: Some("*.txt".into()), ..Body::default() }),
        )
    };
    let tag = || {
        (
            Fact::AttributesChanged { entry: EntryId(entry) },
            Some(Body { tags_added: vec!["t".into()], ..Body::default() }),
        )
    };
    type Event<'a> = Box<dyn Fn() -> (Fact, Option<Body>) + 'a>;
    let table: [(Event<'_>, Role); 7] = [
        (Box::new(|| (Fact::Acknowledged { seq: Seq(1) }, None)), Role::Viewer),
        (Box::new(|| folder("a")), Role::Editor),
        (Box::new(tag), Role::Editor),
        (
            Box::new(move || (Fact::EntryDeleted { entries: dots(&[entry]), hides: dots(&[entry]) }, None)),
            Role::Editor,
        ),
        (Box::new(grant), Role::Owner),
        (Box::new(move || (Fact::MemberRevoked { user }, None)), Role::Owner),
        (Box::new(policy), Role::Owner),
    ];
    for (event, needed) in table {
        for (n, role) in [(4, Role::Viewer), (3, Role::Editor), (2, Role::Owner)] {
            let batch = world.device(n).sign(vec![event()]);
            let verdict = world.judge(&batch).map_err(|refusal| refusal.code());
            let expected = if role >= needed { Ok(Verdict::Admit) } else { Err(Code::Forbidden) };
            assert_eq!(verdict, expected, "{:?} by {role:?}", batch.events()[0].fact);
        }
    }
    // By log order: what was true when it was written does not matter.
    let late = world.device(3).sign(vec![folder("late")]);
    world.does(1, vec![(Fact::MemberRevoked { user: EDITOR }, None)]);
    world.refuses(&late, Code::Forbidden);
    let (revoke, lower) =
        (Fact::MemberRevoked { user: OWNER }, Fact::MemberGranted { user: OWNER, role: Role::Viewer });
    let name = Some(Body { user_name: Some("x".into()), ..Body::default() });
    world.refuses(&world.device(1).sign(vec![(revoke, None)]), Code::Forbidden);
    world.refuses(&world.device(1).sign(vec![(lower, name)]), Code::Forbidden);
}

#[test]
fn servers_and_devices_issue_kinds_of_their_own_and_the_directorys_belong_elsewhere() {
    let mut world = World::new();
    let a_file = world.does(1, vec![file("file")]);
    let body = || Some(Body { label: Some("l".into()), user_name: Some("n".into()), ..with_content("x", 3) });
    let (user, key, device) = (OWNER, PublicKey([5; 32]), id(&signing_key(2)));
    let servers = [
        Fact::NamespaceCreated { owner: user, server: key },
        Fact::DeviceLinked { key, user, continues: None },
        Fact::DeviceRetired { device, last: 0 },
        Fact::VersionsMerged { entry: EntryId(a_file), inputs: dots(&[a_file]), algorithm: "x".into() },
    ];
    for fact in servers {
        world.refuses(&world.device(1).sign(vec![(fact, body())]), Code::ServerOnly);
    }
    let elsewhere = [
        Fact::AccountCreated { user },
        Fact::TokenRevoked { token: Hash([0; 32]) },
        Fact::NamespaceOpened { namespace: NAMESPACE, owner: user },
    ];
    for fact in elsewhere {
        world.refuses(&world.device(1).sign(vec![(fact, body())]), Code::NotHere);
    }
    let issued =
        |fact: Fact| issue(&world.projections, &world.server, NOW_MS, vec![Issued { fact, body: body() }]);
    world.refuses(&issued(create(EntryId::ROOT, EntryKind::Folder)), Code::ServerOnly);
    world.refuses(&issued(Fact::NamespaceCreated { owner: user, server: key }), Code::NotHere);
    // A server does not contradict its own log.
    world.refuses(&issued(Fact::DeviceRetired { device, last: 7 }), Code::Internal);
    world.refuses(
        &issued(Fact::DeviceLinked { key: public(&signing_key(1)), user, continues: None }),
        Code::Internal,
    );
}

#[test]
fn a_kind_of_a_later_release_is_refused() {
    let world = World::new();
    let good = world.device(1).sign(vec![(Fact::Acknowledged { seq: Seq(1) }, None)]);
    // A word of the same length, signed as such.
    let signed = {
        let text = b"acknowledged";
        let mut bytes = good.bytes().to_vec();
        let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
        bytes[at..at + text.len()].copy_from_slice(b"acknowledgee");
        Batch::decode(bytes).unwrap()
    };
    assert!(matches!(&signed.events()[0].fact, Fact::Unknown { kind } if kind == "acknowledgee"));
    // Its signature does not hold any more: what the check of kinds says is asked of it directly.
    let author = Author::of(&signed, &world.projections).unwrap();
    let refused = event::check_all(&signed, &author, &Seen::default(), &world.projections).unwrap_err();
    assert_eq!(refused.code(), Code::KindUnknown);
}

#[test]
fn a_namespace_begins_with_its_server_and_nothing_else() {
    let empty = Projections::new(NAMESPACE, Scope::Server);
    let key = signing_key(100);
    let begun = |server: PublicKey| Issued {
        fact: Fact::NamespaceCreated { owner: OWNER, server },
        body: Some(Body { label: Some("home".into()), ..Body::default() }),
    };
    let good = first_batch(NAMESPACE, &key, NOW_MS, vec![begun(public(&key))]);
    assert_eq!(judge(&good, &empty, &Facts::default()), Ok(Verdict::Admit));
    let stolen = first_batch(NAMESPACE, &key, NOW_MS, vec![begun(public(&signing_key(1)))]);
    assert_eq!(judge(&stolen, &empty, &Facts::default()).unwrap_err().code(), Code::DeviceUnlinked);
    let link = Fact::DeviceLinked { key: public(&signing_key(1)), user: OWNER, continues: None };
    let other = first_batch(NAMESPACE, &key, NOW_MS, vec![Issued { fact: link, body: None }]);
    assert_eq!(judge(&other, &empty, &Facts::default()).unwrap_err().code(), Code::DeviceUnlinked);
}

// Names and bodies.

#[test]
fn nothing_at_the_top_is_called_annals_in_any_spelling() {
    let mut world = World::new();
    let a_folder = world.does(1, vec![folder("folder")]);
    let delete = Fact::EntryDeleted { entries: dots(&[a_folder]), hides: dots(&[a_folder]) };
    for name in [".annals", ".ANNALS", ".Annals. ", "．annals", ".ann\u{ad}als", "\u{200b}.annals"] {
        let places = |parent: EntryId| {
            [
                create(parent, EntryKind::Folder),
                Fact::EntryMoved { entry: EntryId(a_folder), parent },
                Fact::EntryRestored {
                    entry: EntryId(a_folder),
                    place: Some(parent),
                    lifts: DotSet::new(),
                    shows: DotSet::new(),
                },
            ]
        };
        for fact in places(EntryId::ROOT) {
            world.refuses(&world.device(1).sign(vec![(fact, Some(named(name)))]), Code::ReservedName);
        }
        let below = create(EntryId(a_folder), EntryKind::Folder);
        assert_eq!(world.judge(&world.device(1).sign(vec![(below, Some(named(name)))])), Ok(Verdict::Admit));
    }
    assert_eq!(world.judge(&world.device(1).sign(vec![(delete, None)])), Ok(Verdict::Admit));
}

#[test]
fn names_that_no_file_system_holds_are_no_bodies() {
    let world = World::new();
    let (fact, _) = folder("a");
    for (name, good) in [
        ("a/b", false),
        ("..", false),
        (".", false),
        ("", false),
        ("a\0b", false),
        (&"x".repeat(256), false),
        (&"x".repeat(255), true),
        ("a\nb", true),
        ("...", true),
    ] {
        // Written past the type that would refuse it.
        let mut body = named("PLACEHOLDER");
        body.name = None;
        let bytes = body_with_name(&body, name);
        let batch = assembled(&mut world.device(1), fact.clone(), bytes);
        match world.judge(&batch) {
            Ok(_) => assert!(good, "{name:?}"),
            Err(refusal) => {
                assert!(!good, "{name:?}: {refusal}");
                assert_eq!(refusal.code(), Code::BatchMalformed, "{name:?}");
            }
        }
    }
}

/// A body's CBOR with any text as its name.
fn body_with_name(body: &Body, name: &str) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Raw<'a> {
        name: &'a str,
        #[serde(with = "serde_bytes")]
        salt: [u8; 16],
    }
    serde_ipld_dagcbor::to_vec(&Raw { name, salt: body.salt }).unwrap()
}

/// A signed batch of one event with these bytes as its body.
fn assembled(device: &mut Device, fact: Fact, body: Vec<u8>) -> Batch {
    let template = device.sign(vec![(fact, Some(named("a")))]);
    let mut header = template.header().clone();
    header.events[0].body_hash = Some(Body::hash_of(&body));
    resigned(&device.key, &header, body)
}

/// A batch of one event with this header, signed.
fn resigned(key: &SigningKey, header: &annals_events::BatchHeader, body: Vec<u8>) -> Batch {
    use ed25519_dalek::Signer;
    // The signed bytes are the first byte string of the batch: taken from an unsigned one.
    let unsigned = Batch::assemble(header, &[0; 64], &[Some(body.clone())]).unwrap();
    let signed = signed_part(unsigned.bytes());
    let signature = key.sign(&[b"annals batch\0".as_slice(), signed].concat()).to_bytes();
    Batch::assemble(header, &signature, &[Some(body)]).unwrap()
}

/// The byte string after the head of the outer array.
fn signed_part(batch: &[u8]) -> &[u8] {
    match batch[1] {
        0x58 => &batch[3..3 + usize::from(batch[2])],
        0x59 => &batch[4..4 + usize::from(u16::from_be_bytes([batch[2], batch[3]]))],
        other => panic!("{other:#x} begins no byte string of that size"),
    }
}

#[test]
fn each_kind_has_what_it_needs_and_nothing_is_too_long() {
    let mut world = World::new();
    let a_file = EntryId(world.does(1, vec![file("file")]));
    let long = "x".repeat(Body::TEXT_BYTES_MAX + 1);
    let bad_content = |change: fn(&mut Content)| {
        let mut content = content(3);
        change(&mut content);
        Some(Body { content: Some(content), ..named("x") })
    };
    let upload = || Fact::VersionUploaded { entry: a_file, parents: dots(&[a_file.0]) };
    let change = || Fact::AttributesChanged { entry: a_file };
    let (file, link) =
        (|| create(EntryId::ROOT, EntryKind::File), || create(EntryId::ROOT, EntryKind::Symlink));
    let text = |body: Body| Some(body);
    let none = Body::default;
    let table = [
        (create(EntryId::ROOT, EntryKind::Folder), None, Code::BodyMissing),
        (create(EntryId::ROOT, EntryKind::Folder), text(none()), Code::BodyMissing),
        (file(), text(named("x")), Code::BodyMissing),
        (link(), text(named("x")), Code::BodyMissing),
        (link(), text(Body { target: Some(vec![]), ..named("x") }), Code::BodyMissing),
        (link(), text(Body { target: Some(b"a\0b".to_vec()), ..named("x") }), Code::BodyMissing),
        (link(), text(Body { target: Some(long.clone().into()), ..named("x") }), Code::FieldTooLong),
        (Fact::EntryMoved { entry: a_file, parent: EntryId::ROOT }, None, Code::BodyMissing),
        (upload(), None, Code::BodyMissing),
        (upload(), text(none()), Code::BodyMissing),
        (upload(), bad_content(|c| c.size = 11), Code::ContentInvalid),
        (upload(), bad_content(|c| c.id = ContentId([0; 32])), Code::ContentInvalid),
        (upload(), bad_content(|c| c.cut.avg = 5), Code::ContentInvalid),
        (upload(), bad_content(|c| c.chunks.clear()), Code::ContentInvalid),
        (change(), None, Code::BodyMissing),
        (change(), text(none()), Code::BodyMissing),
        (change(), text(Body { tags_added: vec![String::new()], ..none() }), Code::BodyMissing),
        (change(), text(Body { tags_added: vec![long.clone()], ..none() }), Code::FieldTooLong),
        (change(), text(Body { tags_removed: vec![long.clone()], ..none() }), Code::FieldTooLong),
        (change(), text(Body { note: Some(long.clone()), ..none() }), Code::FieldTooLong),
        (Fact::PolicySet { policy: Policy::Both }, text(none()), Code::BodyMissing),
        (
            Fact::PolicySet { policy: Policy::Both },
            text(Body { pattern: Some(long), ..none() }),
            Code::FieldTooLong,
        ),
        (Fact::MemberGranted { user: EDITOR, role: Role::Viewer }, None, Code::BodyMissing),
        (Fact::EntryDeleted { entries: DotSet::new(), hides: DotSet::new() }, None, Code::BodyMissing),
    ];
    for (fact, body, code) in table {
        let batch = world.device(1).sign(vec![(fact.clone(), body)]);
        match world.judge(&batch) {
            Err(refusal) => assert_eq!(refusal.code(), code, "{fact:?}: {refusal}"),
            Ok(_) => panic!("{fact:?} was let in"),
        }
    }
}

// What was looked up.

#[test]
fn chunks_are_there_manifests_add_up_and_the_quota_has_room() {
    let mut world = World::new();
    let batch = world.device(1).sign(vec![file("file")]);
    let judged = |world: &World, facts: Facts| {
        judge(&batch, &world.projections, &facts).map_err(|refusal| refusal.code())
    };
    let missing = [ChunkId([1; 32])].into();
    assert_eq!(judged(&world, Facts { missing, ..Facts::default() }), Err(Code::ChunksMissing));
    let broken = [content(1).id].into();
    assert_eq!(judged(&world, Facts { broken, ..Facts::default() }), Err(Code::ContentInvalid));
    for (room, verdict) in [(9, Err(Code::Quota)), (10, Ok(Verdict::Admit))] {
        assert_eq!(judged(&world, Facts { room: Some(room), adds: 10, ..Facts::default() }), verdict);
    }
    world.admit(&batch);
    // Over the limit one may still move and remove.
    let tidy = world.device(1).sign(vec![folder("a")]);
    let facts = Facts { room: Some(0), ..Facts::default() };
    assert_eq!(judge(&tidy, &world.projections, &facts), Ok(Verdict::Admit));
}

proptest! {
    /// Whatever bytes arrive, the answer is a value.
    #[test]
    fn no_bytes_make_admission_panic(at in 0usize..2000, to in any::<u8>()) {
        let mut world = World::new();
        world.does(1, vec![file("file"), folder("folder")]);
        let mut bytes = world.device(1).sign(vec![file("x"), folder("y")]).bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(batch) = Batch::decode(bytes) {
            let needs = Needs::of(&batch, &world.projections);
            prop_assert!(needs.stored_under.is_none() || needs.contents.len() < 3);
            drop(world.judge(&batch));
            if let Ok(author) = Author::of(&batch, &world.projections) {
                drop(event::check_all(&batch, &author, &Seen::default(), &world.projections));
            }
        }
    }
}
