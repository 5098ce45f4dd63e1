//! Stories of one namespace and its log, which may say anything.

use super::*;
use crate::protocol::Code;
use annals_events::{
    Body, DotSet, Draft, EntryId, EntryKind, Fact, HlcClock, Name, NamespaceId, PublicKey, Seq, UserId,
    VersionVector,
};

const OWNER: UserId = UserId([1; 16]);
const NOW_MS: u64 = 1_700_000_000_000;

/// A namespace with a log in a vector.
struct Node {
    namespace: Namespace,
    log: Vec<Logged>,
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn public(n: u8) -> PublicKey {
    PublicKey(key(n).verifying_key().to_bytes())
}

impl Node {
    /// Begun, and linked with the device 1.
    fn new() -> Self {
        let mut node = Self { namespace: Namespace::new(NamespaceId([9; 16]), key(100)), log: Vec::new() };
        let begun = Fact::NamespaceCreated { owner: OWNER, server: public(100) };
        let link = Fact::DeviceLinked { key: public(1), user: OWNER, continues: None };
        let body = Body { label: Some("l".into()), user_name: Some("n".into()), ..Body::default() };
        for fact in [begun, link] {
            let batch = node.namespace.issue(NOW_MS, vec![Issued { fact, body: Some(body.clone()) }]);
            assert!(matches!(node.submit(batch), Outcome::Admitted(_)));
        }
        node
    }

    /// Another one that has replayed the same log.
    fn twin(&self) -> Self {
        let mut namespace = Namespace::new(NamespaceId([9; 16]), key(100));
        namespace.replay(&self.log).unwrap();
        Self { namespace, log: self.log.clone() }
    }

    /// The next batch of device 1: folders of these names.
    fn sign(&self, names: &[&str]) -> Batch {
        let devices = self.namespace.projections().devices();
        let state = devices.get(DeviceId::of_key(&public(1))).unwrap();
        let latest = devices.iter().map(|(_, state)| state.last_hlc).max().unwrap();
        let mut clock = HlcClock::above(latest);
        let drafts = names
            .iter()
            .map(|name| Draft {
                hlc: clock.tick(NOW_MS),
                at: NOW_MS,
                fact: Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::Folder },
                body: Some(Body { name: Some(Name::new(*name).unwrap()), ..Body::default() }),
            })
            .collect();
        let none = VersionVector::new();
        let (first, prev) = (state.last_counter + 1, state.last_batch);
        let id = self.namespace.projections().namespace();
        Batch::sign(&key(1), id, first, prev, &none, &none, DotSet::new(), drafts).unwrap()
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        self.namespace.step(NOW_MS, input)
    }

    fn start(&mut self, batch: Batch) -> Vec<Effect> {
        self.step(Input::Submit { batch, facts: Facts::default() })
    }

    /// Carries out every effect with the log as it is.
    fn submit(&mut self, batch: Batch) -> Outcome {
        let effects = self.start(batch);
        self.carry_out(effects)
    }

    fn carry_out(&mut self, mut effects: Vec<Effect>) -> Outcome {
        loop {
            let mut next = None;
            for effect in effects {
                match effect {
                    Effect::Find(dot) => next = Some(Input::Found(Ok(self.find(dot)))),
                    Effect::Append { expected, record } => {
                        next = Some(Input::Appended(self.append(expected, record)))
                    }
                    Effect::CatchUp { after } => next = Some(Input::CaughtUp(Ok(self.after(after)))),
                    Effect::Reply(outcome) => return outcome,
                    Effect::KeepEvidence { .. } => {}
                }
            }
            effects = self.step(next.expect("it wants something or has answered"));
        }
    }

    fn find(&self, dot: Dot) -> Option<Logged> {
        self.log.iter().find(|logged| logged.record.events().any(|(_, known, _)| known == dot)).cloned()
    }

    fn after(&self, seq: Seq) -> Vec<Logged> {
        self.log.iter().filter(|logged| logged.record.last_seq() > seq).cloned().collect()
    }

    fn append(&mut self, expected: Seq, record: Arc<Record>) -> Result<Position, LogError> {
        let actual = self.log.last().map_or(Seq(0), |logged| logged.record.last_seq());
        if actual != expected {
            let namespace = record.admission().namespace;
            return Err(LogError::Conflict { namespace, expected, actual });
        }
        let position = Position(self.log.len() as u64);
        self.log.push(Logged { position, record });
        Ok(position)
    }
}

impl Node {
    /// As it was at `seq`, put back; it goes on under the key 101.
    fn put_back(&self, seq: u64) -> Self {
        let log: Vec<Logged> =
            self.log.iter().filter(|logged| logged.record.last_seq().0 <= seq).cloned().collect();
        let mut namespace = Namespace::new(NamespaceId([9; 16]), key(100));
        namespace.replay(&log).unwrap();
        let mut node = Self { namespace, log };
        let opening = node.namespace.take_key(key(101), &[key(100)], NOW_MS).expect("it has another key");
        assert!(matches!(node.submit(opening), Outcome::Admitted(_)));
        node
    }

    fn hand_back(&mut self, record: &Arc<Record>) -> Outcome {
        assert!(self.namespace.believes(record, &[public(100)]));
        let effects = self.step(Input::HandedBack { record: Arc::clone(record) });
        self.carry_out(effects)
    }
}

#[test]
fn what_was_lost_comes_back_under_its_dots_and_when_it_was_admitted() {
    let mut node = Node::new();
    let common = node.log.len() as u64;
    for name in ["a", "b"] {
        let batch = node.sign(&[name]);
        assert!(matches!(node.submit(batch), Outcome::Admitted(_)));
    }
    let lost: Vec<Arc<Record>> =
        node.log[common as usize..].iter().map(|logged| Arc::clone(&logged.record)).collect();
    let mut back = node.put_back(common);
    assert_eq!(back.namespace.projections().head().epoch, 1);
    assert!(!back.namespace.has_lost(&lost[0]), "it was lost before the key of now");
    // Not before what it was made on.
    assert!(matches!(back.hand_back(&lost[1]), Outcome::Refused(_)));
    for record in &lost {
        let Outcome::Admitted(again) = back.hand_back(record) else { panic!("it was not taken back") };
        assert_eq!(again.batch().hash(), record.batch().hash());
        assert_eq!(again.admission().admitted_at, record.admission().admitted_at);
        assert_eq!((again.admission().epoch, again.admission().admitted_by), (1, back.namespace.server()));
        assert!(matches!(back.hand_back(record), Outcome::Again(_)));
    }
    // It goes on from there, and nothing of the old server's dots is used again.
    let next = back.sign(&["c"]);
    assert!(matches!(back.submit(next), Outcome::Admitted(_)));
    let mut fresh = Namespace::new(NamespaceId([9; 16]), key(101));
    fresh.replay(&back.log).unwrap();
    assert_eq!(fresh.projections().digests(), back.namespace.projections().digests());
}

#[test]
fn a_record_that_no_server_of_the_stream_signed_is_not_believed() {
    let node = Node::new();
    let batch = node.sign(&["a"]);
    let head = node.namespace.projections().head();
    let admit =
        |n| Record::admit(batch.clone(), &key(n), head.epoch, Seq(head.seq.0 + 1), head.chain, NOW_MS);
    assert!(node.namespace.believes(&admit(100), &[]));
    assert!(!node.namespace.believes(&admit(102), &[public(102)]), "its own other keys are of other streams");
    // A key that a server here vouches for, and one that nobody does.
    for (former, believed) in [(100, true), (102, false)] {
        let fact = annals_events::epoch::open(&key(former), NamespaceId([9; 16]), public(103));
        let draft =
            Draft { hlc: HlcClock::above(head_hlc(&node)).tick(NOW_MS), at: NOW_MS, fact, body: None };
        let none = VersionVector::new();
        let id = NamespaceId([9; 16]);
        let opening = Batch::sign(&key(103), id, 1, None, &none, &none, DotSet::new(), vec![draft]).unwrap();
        let record = Record::admit(opening, &key(103), 1, Seq(head.seq.0 + 1), head.chain, NOW_MS);
        assert_eq!(node.namespace.believes(&record, &[]), believed, "{former}");
    }
}

fn head_hlc(node: &Node) -> annals_events::Hlc {
    node.namespace.projections().devices().iter().map(|(_, state)| state.last_hlc).max().unwrap()
}

#[test]
fn nothing_is_handed_back_past_a_retirement_and_nothing_over_what_is_there() {
    let mut node = Node::new();
    let common = node.log.len() as u64;
    let batch = node.sign(&["a"]);
    assert!(matches!(node.submit(batch), Outcome::Admitted(_)));
    let lost = Arc::clone(&node.log[common as usize].record);
    let mut back = node.put_back(common);
    let device = DeviceId::of_key(&public(1));
    let fact = Fact::DeviceRetired { device, last: 0 };
    let retired = back.namespace.issue(NOW_MS, vec![Issued { fact, body: None }]);
    assert!(matches!(back.submit(retired), Outcome::Admitted(_)));
    let refused = back.hand_back(&lost);
    assert!(matches!(&refused, Outcome::Refused(why) if why.code() == Code::DeviceRetired), "{refused:?}");
    let mut other = node.put_back(common);
    let instead = other.sign(&["something else"]);
    assert!(matches!(other.submit(instead), Outcome::Admitted(_)));
    let refused = other.hand_back(&lost);
    assert!(matches!(&refused, Outcome::Refused(why) if why.code() == Code::Equivocation), "{refused:?}");
}

fn record_in(effects: &[Effect]) -> Arc<Record> {
    match effects {
        [Effect::Append { record, .. }] => Arc::clone(record),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_answered_or_shown_before_the_log_has_it() {
    let mut node = Node::new();
    let before = node.namespace.projections().digests();
    let batch = node.sign(&["a"]);
    let effects = node.start(batch);
    let record = record_in(&effects);
    assert_eq!(node.namespace.projections().digests(), before);
    let expected = Seq(record.seq().0 - 1);
    let appended = node.append(expected, record);
    let effects = node.step(Input::Appended(appended));
    assert!(matches!(effects[..], [Effect::Reply(Outcome::Admitted(_))]), "{effects:?}");
    assert_ne!(node.namespace.projections().digests(), before);
    assert_eq!(node.twin().namespace.projections().digests(), node.namespace.projections().digests());
}

#[test]
fn the_same_batch_again_answers_with_its_record_and_changes_nothing() {
    let mut node = Node::new();
    let (one, two) = (node.sign(&["a"]), node.sign(&["b"]));
    let Outcome::Admitted(record) = node.submit(one.clone()) else { panic!() };
    let head = node.namespace.projections().head();
    assert!(matches!(node.submit(one), Outcome::Again(again) if again == record));
    let effects = node.start(two);
    let [Effect::Find(dot)] = effects[..] else { panic!("{effects:?}") };
    let found = node.find(dot);
    let effects = node.step(Input::Found(Ok(found)));
    let [Effect::KeepEvidence { .. }, Effect::Reply(Outcome::Refused(refusal))] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(refusal.code(), Code::Equivocation);
    assert_eq!(node.namespace.projections().head(), head);
}

#[test]
fn who_lost_the_race_catches_up_and_is_judged_anew() {
    let mut node = Node::new();
    let mut other = node.twin();
    // Another writer of the same stream retires the device meanwhile.
    let device = DeviceId::of_key(&public(1));
    let retire = other
        .namespace
        .issue(NOW_MS, vec![Issued { fact: Fact::DeviceRetired { device, last: 0 }, body: None }]);
    assert!(matches!(other.submit(retire), Outcome::Admitted(_)));
    node.log = other.log;
    let batch = node.sign(&["a"]);
    let Outcome::Refused(refusal) = node.submit(batch) else { panic!() };
    assert_eq!(refusal.code(), Code::DeviceRetired);

    // Or it only added something: then the batch comes after it.
    let mut node = Node::new();
    let mut other = node.twin();
    let link = Fact::DeviceLinked { key: public(2), user: OWNER, continues: None };
    let body = Body { label: Some("l".into()), user_name: Some("n".into()), ..Body::default() };
    let link = other.namespace.issue(NOW_MS, vec![Issued { fact: link, body: Some(body) }]);
    other.submit(link);
    node.log = other.log;
    let batch = node.sign(&["a"]);
    let Outcome::Admitted(record) = node.submit(batch) else { panic!() };
    assert_eq!(record.seq(), Seq(4));
    assert_eq!(node.twin().namespace.projections().digests(), node.namespace.projections().digests());
}

#[test]
fn an_append_that_nobody_knows_of_is_settled_by_its_dot() {
    for stored in [true, false] {
        let mut node = Node::new();
        let batch = node.sign(&["a"]);
        let effects = node.start(batch.clone());
        let record = record_in(&effects);
        if stored {
            let expected = Seq(record.seq().0 - 1);
            node.append(expected, Arc::clone(&record)).unwrap();
        }
        let effects = node.step(Input::Appended(Err(LogError::Unknown { what: "timeout".into() })));
        match (node.carry_out(effects), stored) {
            (Outcome::Again(again), true) => {
                assert_eq!((again.seq(), &again), (node.namespace.projections().head().seq, &record));
            }
            (Outcome::Failed(LogError::Unavailable { .. }), false) => {
                assert!(matches!(node.submit(batch), Outcome::Admitted(_)), "trying again is safe");
            }
            (outcome, _) => panic!("{outcome:?}"),
        }
    }
}

#[test]
fn a_full_log_refuses_and_goes_on_when_there_is_room() {
    let mut node = Node::new();
    let batch = node.sign(&["a"]);
    let before = node.namespace.projections().digests();
    node.start(batch.clone());
    let effects = node.step(Input::Appended(Err(LogError::Full { place: "/".into() })));
    assert!(matches!(effects[..], [Effect::Reply(Outcome::Failed(LogError::Full { .. }))]), "{effects:?}");
    assert_eq!(node.namespace.projections().digests(), before);
    assert!(matches!(node.submit(batch), Outcome::Admitted(_)));
}

#[test]
fn what_manifests_list_is_covered_once_they_were_read() {
    use annals_events::{ChunkId, ChunkRef, Content, Cut};
    let mut node = Node::new();
    let chunks: Vec<ChunkRef> = (0..100u8).map(|n| ChunkRef { bytes: 9, id: ChunkId([n; 32]) }).collect();
    let (content, manifest) = Content::new(Cut::SMALL, chunks);
    let folder = node.sign(&["a"]);
    let devices = node.namespace.projections().devices();
    let latest = devices.iter().map(|(_, state)| state.last_hlc).max().unwrap();
    let draft = Draft {
        hlc: latest.next(),
        at: 0,
        fact: Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File },
        body: Some(Body {
            content: Some(content.clone()),
            name: Some(Name::new("f").unwrap()),
            ..Body::default()
        }),
    };
    let none = VersionVector::new();
    let id = folder.header().namespace;
    let batch = Batch::sign(&key(1), id, 1, None, &none, &none, DotSet::new(), vec![draft]).unwrap();
    assert_eq!(bytes_added(node.namespace.projections(), [&content]), 900);
    node.submit(batch);
    assert_eq!(bytes_added(node.namespace.projections(), [&content]), 0);

    let covers = |node: &Node, n: u8| {
        node.namespace.possession().covers(node.namespace.projections(), ChunkId([n; 32]))
    };
    let root = content.manifest.unwrap();
    assert!(node.namespace.possession().covers_manifest(node.namespace.projections(), content.id, root));
    assert!(!covers(&node, 7));
    let unread = node.namespace.possession().unread();
    assert_eq!(unread, std::slice::from_ref(&content));

    // One that cannot be read is known to be lost until it is there again: nobody knows what it lists.
    let lost = |node: &Node| node.namespace.possession().lost(node.namespace.projections());
    assert_eq!(lost(&node), []);
    node.namespace.possession_mut().read(&content, b"no manifest").unwrap_err();
    assert_eq!((lost(&node), covers(&node, 7)), (vec![content.id], false));
    let kept = Checkpoint::decode(&node.namespace.checkpoint()).unwrap();
    let resumed = Namespace::from_checkpoint(kept, key(100));
    assert_eq!(resumed.possession().unread(), std::slice::from_ref(&content), "it is tried again");
    node.namespace.possession_mut().read(&content, &manifest.unwrap()).unwrap();
    assert!(covers(&node, 7) && !covers(&node, 200));
    assert_eq!((node.namespace.possession().unread(), lost(&node)), (vec![], vec![]));
}

#[test]
fn replaying_from_a_checkpoint_at_any_place_equals_replaying_everything() {
    use annals_events::{ChunkId, ChunkRef, Content, Cut};
    let mut node = Node::new();
    for n in 0..6u8 {
        let chunks: Vec<ChunkRef> =
            (0..100).map(|m| ChunkRef { bytes: 9, id: ChunkId([m + n; 32]) }).collect();
        let (content, _) = Content::new(Cut::SMALL, chunks);
        let folders = node.sign(&[&format!("d{n}"), &format!("e{n}")]);
        assert!(matches!(node.submit(folders), Outcome::Admitted(_)));
        let devices = node.namespace.projections().devices();
        let state = devices.get(DeviceId::of_key(&public(1))).unwrap();
        let body = Body {
            content: Some(content),
            name: Some(Name::new(format!("f{n}")).unwrap()),
            ..Body::default()
        };
        let fact = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File };
        let draft = Draft { hlc: state.last_hlc.next(), at: 0, fact, body: Some(body) };
        let (first, prev, none) = (state.last_counter + 1, state.last_batch, VersionVector::new());
        let id = node.namespace.projections().namespace();
        let batch = Batch::sign(&key(1), id, first, prev, &none, &none, DotSet::new(), vec![draft]).unwrap();
        assert!(matches!(node.submit(batch), Outcome::Admitted(_)));
    }
    let whole = node.twin().namespace;
    for at in 0..=node.log.len() {
        let mut before = Namespace::new(NamespaceId([9; 16]), key(100));
        before.replay(&node.log[..at]).unwrap();
        let checkpoint = Checkpoint::decode(&before.checkpoint()).unwrap();
        assert_eq!(checkpoint.head(), before.projections().head());
        let mut resumed = Namespace::from_checkpoint(checkpoint, key(100));
        resumed.replay(&node.log[at..]).unwrap();
        assert_eq!(resumed.projections().digests(), whole.projections().digests(), "from record {at}");
        assert_eq!(resumed.possession().unread(), whole.possession().unread(), "from record {at}");
        assert_eq!(resumed.server(), whole.server());
    }
}

#[test]
fn a_checkpoint_that_was_altered_or_cut_is_refused() {
    let bytes = Node::new().namespace.checkpoint();
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1;
        assert!(Checkpoint::decode(&other).is_err(), "byte {at}");
        assert!(Checkpoint::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert!(Checkpoint::decode(&bytes).is_ok());
}

#[test]
fn what_one_manifest_lists_is_needed_still_when_another_was_forgotten() {
    use annals_events::{ChunkId, ChunkRef, Content, Cut, Dot};
    let mut node = Node::new();
    let list = |from: u8| (from..from + 100).map(|n| ChunkRef { bytes: 9, id: ChunkId([n; 32]) }).collect();
    let [(gone, gone_list), (kept, kept_list)] = [0, 100].map(|from| Content::new(Cut::SMALL, list(from)));
    let id = node.namespace.projections().namespace();
    let none = VersionVector::new();
    let mut prev = node.sign(&["a"]).header().prev;
    let mut clock = HlcClock::above(node.sign(&["a"]).events()[0].hlc);
    for (counter, content) in (1..).zip([&gone, &kept]) {
        let draft = Draft {
            hlc: clock.tick(NOW_MS),
            at: 0,
            fact: Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File },
            body: Some(Body {
                content: Some(content.clone()),
                name: Some(Name::new(format!("f{counter}")).unwrap()),
                ..Body::default()
            }),
        };
        let batch =
            Batch::sign(&key(1), id, counter, prev, &none, &none, DotSet::new(), vec![draft]).unwrap();
        prev = Some(batch.hash());
        assert!(matches!(node.submit(batch), Outcome::Admitted(_)));
    }
    for (content, list) in [(&gone, gone_list), (&kept, kept_list)] {
        node.namespace.possession_mut().read(content, &list.unwrap()).unwrap();
    }
    let versions = DotSet::from_iter([Dot::new(DeviceId::of_key(&public(1)), 1)]);
    let fact = Fact::VersionsExpired { versions };
    let batch = node.namespace.issue(NOW_MS, vec![Issued { fact, body: None }]);
    let head = node.namespace.projections().head();
    let record =
        Arc::new(Record::admit(batch, &key(100), head.epoch, Seq(head.seq.0 + 1), head.chain, NOW_MS));
    node.namespace.replay(&[Logged { position: Position(9), record }]).unwrap();

    // What the others list is asked for again: some of it may have been in both.
    assert_eq!(node.namespace.possession().unread(), std::slice::from_ref(&kept));
    let again = Content::new(Cut::SMALL, list(100)).1.unwrap();
    node.namespace.possession_mut().read(&kept, &again).unwrap();
    let (possession, log) = (node.namespace.possession(), node.namespace.projections());
    let lists =
        |n: u8| (possession.covers(log, ChunkId([n; 32])), possession.covers_lately(log, ChunkId([n; 32])));
    assert_eq!((lists(150), lists(50), lists(250)), ((true, true), (false, true), (false, false)));
    assert!(possession.needed(log).contains(&ChunkId([150; 32])));
    assert!(!possession.needed(log).contains(&ChunkId([50; 32])));
}
