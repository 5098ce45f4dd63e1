//! What admission refuses, as a table: a world with a few events in it, and one bad batch a row.

mod author;
mod bodies;
mod clocks;
mod facts;
mod forgetting;
mod retention;
mod rights;
mod seen;

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
    /// When what is admitted next is admitted.
    now: u64,
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
        let mut world =
            Self { projections: Projections::new(NAMESPACE, Scope::Server), server, batches: 0, now: NOW_MS };
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
        let record = Record::admit(batch.clone(), &self.server, 0, Seq(head.seq.0 + 1), head.chain, self.now);
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

    /// Every device says that its folder shows all there is.
    fn all_acknowledge(&mut self) {
        let seq = self.projections.head().seq;
        for n in 1..=4 {
            self.does(n, vec![(Fact::Acknowledged { seq }, None)]);
        }
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
