//! Stories of actors that come and go: what they knew is in the log.

use super::{
    checkpoints::Checkpoints,
    collecting::{collect, sweep},
    keys::Keys,
    namespace::{Devices, Digests, KeepCheckpoint, NamespaceActor, State, Submission, Submit, Summarise},
    node::Node,
    roster::MAILBOX,
    session::SubmitBatches,
    user::{Holds, InFlight, Mounted, RoomFor, Sent},
};
use crate::{clock::SystemClock, random::random};
use actix::{Context, Handler, Message};
use annals_engine::{
    chunk_store::MemoryChunks,
    content::SealedChunk,
    directory::Directory,
    garbage::Garbage,
    protocol::{BatchOutcome, Code, Problem},
};
use annals_events::{
    Batch, Body, ChunkId, ChunkRef, Content, Cut, DeviceId, Dot, Draft, EntryId, EntryKind, Fact, Hlc, Name,
    NamespaceId, PublicKey, Record, Seq, UserId, VersionVector,
    log::{EventLog, Head, Later, LogError, Logged, Position, memory::MemoryLog},
};
use ed25519_dalek::SigningKey;
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

const OWNER: UserId = UserId([1; 16]);
const HOME: NamespaceId = NamespaceId([9; 16]);

/// A message that nobody survives.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Poison;

impl Handler<Poison> for NamespaceActor {
    type Result = ();

    fn handle(&mut self, _: Poison, _: &mut Context<Self>) {
        panic!("poison");
    }
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

/// A log whose appends take their time, so that others get their turn before they are done.
#[derive(Default)]
struct SlowLog {
    log: MemoryLog,
    /// Reads of a stream from its first record on.
    reads_from_nothing: AtomicUsize,
    /// So many reads from now on fail.
    failing: AtomicUsize,
}

impl EventLog for SlowLog {
    fn append(&self, expected: Seq, record: Arc<Record>) -> Later<'_, Position> {
        Box::pin(async move {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            self.log.append(expected, record).await
        })
    }

    fn head(&self, namespace: NamespaceId) -> Later<'_, Head> {
        self.log.head(namespace)
    }

    fn read(&self, namespace: NamespaceId, after: Seq, bytes_max: usize) -> Later<'_, Vec<Logged>> {
        if after == Seq(0) {
            self.reads_from_nothing.fetch_add(1, Ordering::Relaxed);
        }
        let fails = |left: usize| left.checked_sub(1);
        if self.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails).is_ok() {
            return Box::pin(async { Err(LogError::Unavailable { what: "the disk is gone".into() }) });
        }
        self.log.read(namespace, after, bytes_max)
    }

    fn read_all(&self, after: Position, bytes_max: usize) -> Later<'_, Vec<Logged>> {
        self.log.read_all(after, bytes_max)
    }

    fn find(&self, namespace: NamespaceId, dot: Dot) -> Later<'_, Option<Logged>> {
        self.log.find(namespace, dot)
    }

    fn read_entry(&self, id: NamespaceId, entry: EntryId, after: Seq, max: usize) -> Later<'_, Vec<Logged>> {
        self.log.read_entry(id, entry, after, max)
    }

    fn read_device(&self, id: NamespaceId, of: DeviceId, after: Seq, max: usize) -> Later<'_, Vec<Logged>> {
        self.log.read_device(id, of, after, max)
    }

    fn namespaces(&self) -> Later<'_, Vec<NamespaceId>> {
        self.log.namespaces()
    }

    fn wait_past(&self, namespace: NamespaceId, after: Seq) -> Later<'_, Head> {
        self.log.wait_past(namespace, after)
    }
}

/// As [`story_on`], with a log that nobody asks about.
fn story<F: Future<Output = ()>>(story: impl FnOnce(Arc<Node>) -> F) {
    story_on(Arc::default(), story);
}

/// Runs a story on a node with one account and one namespace, to which the device 1 is linked.
fn story_on<F: Future<Output = ()>>(log: Arc<SlowLog>, story: impl FnOnce(Arc<Node>) -> F) {
    actix::System::new().block_on(async move {
        let arbiters = [actix::Arbiter::new(), actix::Arbiter::new()];
        let folder = tempfile::tempdir().unwrap();
        let empty = Directory::new(NamespaceId([8; 16]));
        let marks = folder.path().join("garbage");
        // Power that is lost once the new key is there would leave them, and nothing would be noticed then.
        let keep = move |_: &_, _: &_| match marks.is_file() {
            true => Err(std::io::Error::other("what was garbage is not forgotten yet")),
            false => Ok(()),
        };
        let keys = Arc::new(Keys::new(key(100), Vec::new(), Box::new(keep)));
        let directory =
            super::directory::LiveDirectory::open(log.clone(), keys.clone(), empty, 1).await.unwrap();
        let account = directory
            .append(1, |directory| directory.create_account(random(), OWNER, "ana", None, Some(100)));
        account.await.unwrap();
        let opened = directory.append(1, |directory| directory.open_namespace(random(), HOME, OWNER, "home"));
        opened.await.unwrap();
        let (chunks, clock) = (Arc::new(MemoryChunks::default()), Arc::new(SystemClock));
        let (evidence, checkpoints) =
            (folder.path().join("evidence"), Checkpoints::new(folder.path().into()));
        let sent = super::sent::SentLists::new(folder.path().join("sent"));
        let node = Node::new(
            log,
            chunks,
            keys,
            clock,
            directory,
            evidence,
            super::marks::Marks::new(folder.path().join("garbage")),
            checkpoints,
            sent,
            None,
            &arbiters.each_ref().map(actix::Arbiter::handle),
        );
        let begun = State::Begun { owner: OWNER, label: "home".into() };
        node.ask_namespace(HOME, begun).await.unwrap().unwrap();
        let linked = State::Linked {
            key: PublicKey(key(1).verifying_key().to_bytes()),
            user: OWNER,
            user_name: "ana".into(),
            label: "laptop".into(),
            continues: None,
        };
        node.ask_namespace(HOME, linked).await.unwrap().unwrap();
        story(Arc::clone(&node)).await;
        node.close();
        for arbiter in arbiters {
            arbiter.stop();
        }
    });
}

/// The first batch of device 1.
fn batch() -> Batch {
    batch_of("a")
}

/// The same, with a folder of that name.
fn batch_of(name: &str) -> Batch {
    let draft = Draft {
        hlc: Hlc::at_ms(1),
        at: 0,
        fact: Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::Folder },
        body: Some(Body { name: Some(Name::new(name).unwrap()), ..Body::default() }),
    };
    let none = VersionVector::new();
    Batch::sign(&key(1), HOME, 1, None, &none, &none, Default::default(), vec![draft]).unwrap()
}

fn submit() -> Submit {
    submit_batch(batch())
}

fn submit_batch(batch: Batch) -> Submit {
    Submit(Arc::new(Submission { batches: vec![batch], looked: Default::default(), trace: None }))
}

#[test]
fn what_was_said_twice_is_refused_once_the_evidence_is_kept_and_not_before() {
    story(|node| async move {
        node.ask_namespace(HOME, submit()).await.unwrap().unwrap();
        let (again, evidence) = (batch_of("b"), node.evidence.clone());
        let submit = || node.ask_namespace(HOME, submit_batch(again.clone()));
        fs::write(&evidence, "in the way").unwrap();
        assert_eq!(submit().await.unwrap().unwrap_err().code, Code::LogUnavailable);
        fs::remove_file(&evidence).unwrap();
        let refused = submit().await.unwrap().unwrap();
        assert!(matches!(&refused[..], [BatchOutcome::Refused(why)] if why.code == Code::Equivocation));
        let kept = fs::read(evidence.join(format!("{}.batch", again.hash()))).unwrap();
        assert_eq!(kept, again.bytes());
    });
}

#[test]
fn an_actor_that_panicked_is_rebuilt_from_the_log() {
    story(|node| async move {
        let admitted = node.ask_namespace(HOME, submit()).await.unwrap().unwrap();
        assert!(matches!(admitted[..], [BatchOutcome::Admitted { .. }]));
        let before = node.ask_namespace(HOME, Digests).await.unwrap().unwrap();
        let poisoned: Problem = node.ask_namespace(HOME, Poison).await.unwrap_err();
        assert_eq!(poisoned.code, Code::Internal);
        assert_eq!(node.ask_namespace(HOME, Digests).await.unwrap().unwrap(), before);
        let again = node.ask_namespace(HOME, submit()).await.unwrap().unwrap();
        assert!(matches!(again[..], [BatchOutcome::AlreadyAdmitted { .. }]));
    });
}

#[test]
fn actors_that_nobody_asks_go_and_come_back_with_what_they_knew() {
    story(|node| async move {
        node.ask_namespace(HOME, submit()).await.unwrap().unwrap();
        let before = node.ask_namespace(HOME, Digests).await.unwrap().unwrap();
        node.ask_user(OWNER, Mounted).await.unwrap().unwrap();
        while node.at_work() != [0; 4] {
            tokio::task::yield_now().await;
        }
        assert_eq!(node.ask_namespace(HOME, Digests).await.unwrap().unwrap(), before);
    });
}

/// Until nobody is at work and what they write when they go is written.
async fn all_gone(node: &Arc<Node>) {
    let place = node.checkpoints.place(HOME);
    while node.at_work() != [0; 4] || !place.exists() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_rebuild_begins_with_the_checkpoint_and_one_that_is_no_good_is_as_good_as_none() {
    let log = Arc::<SlowLog>::default();
    story_on(Arc::clone(&log), |node| async move {
        let reads = || log.reads_from_nothing.load(Ordering::Relaxed);
        let digests = || async { node.ask_namespace(HOME, Digests).await.unwrap().unwrap() };
        node.ask_namespace(HOME, submit()).await.unwrap().unwrap();
        let (before, place) = (digests().await, node.checkpoints.place(HOME));
        all_gone(&node).await;
        let read = reads();
        assert_eq!(digests().await, before);
        assert_eq!(reads(), read, "the checkpoint was begun with");
        // A log that does not answer says nothing about its place.
        all_gone(&node).await;
        log.failing.store(1, Ordering::Relaxed);
        let asked = node.ask_namespace(HOME, Digests).await.unwrap();
        assert_eq!(asked.unwrap_err().code, Code::LogUnavailable);
        assert_eq!(digests().await, before);
        assert_eq!(reads(), read, "the checkpoint was begun with once the log answered");
        let good = fs::read(&place).unwrap();
        let elsewhere = {
            let mut other = annals_engine::namespace::Namespace::new(HOME, key(100));
            other_history(&mut other);
            other.checkpoint()
        };
        let damaged =
            [&good[..good.len() / 2], &[good[good.len() / 2] ^ 1], &good[good.len() / 2 + 1..]].concat();
        for (what, bytes) in [("damaged", damaged), ("of another log", elsewhere), ("nothing", vec![])] {
            all_gone(&node).await;
            fs::write(&place, bytes).unwrap();
            let read = reads();
            assert_eq!(digests().await, before, "{what}");
            assert!(reads() > read, "{what}: everything was read");
        }
    });
}

/// A namespace of the same id that lived otherwise.
fn other_history(other: &mut annals_engine::namespace::Namespace) {
    let server = PublicKey(key(100).verifying_key().to_bytes());
    let fact = Fact::NamespaceCreated { owner: OWNER, server };
    let body = Some(Body { label: Some("elsewhere".into()), ..Body::default() });
    let batch = other.issue(77, vec![annals_engine::namespace::Issued { fact, body }]);
    let record = Record::admit(batch, &key(100), 0, Seq(1), Default::default(), 77);
    other.replay(&[Logged { position: Position(1), record: Arc::new(record) }]).unwrap();
}

#[test]
fn a_checkpoint_is_written_when_asked_for_and_after_a_long_rebuild() {
    story(|node| async move {
        let place = node.checkpoints.place(HOME);
        node.ask_namespace(HOME, KeepCheckpoint).await.unwrap().unwrap();
        let asked_for = fs::read(&place).unwrap();
        node.ask_namespace(HOME, submit()).await.unwrap().unwrap();
        node.ask_namespace(HOME, KeepCheckpoint).await.unwrap().unwrap();
        assert_ne!(fs::read(&place).unwrap(), asked_for);
        // Who panics writes nothing; whoever comes after it has much to read, and finds that the file is gone.
        fs::remove_file(&place).unwrap();
        node.ask_namespace(HOME, Poison).await.unwrap_err();
        node.ask_namespace(HOME, Summarise).await.unwrap().unwrap();
        assert!(place.exists());
    });
}

#[test]
fn more_asks_than_a_mailbox_holds_wait_and_are_all_answered() {
    story(|node| async move {
        let asks: Vec<_> = (0..MAILBOX * 5)
            .map(|_| {
                let node = Arc::clone(&node);
                actix::spawn(async move { node.ask_namespace(HOME, Summarise).await.unwrap().unwrap() })
            })
            .collect();
        for ask in asks {
            assert!(ask.await.unwrap().members.contains_key(&OWNER));
        }
    });
}

#[test]
fn two_who_submit_the_same_at_once_share_one_record() {
    story(|node| async move {
        let (one, two) = tokio::join!(node.ask_namespace(HOME, submit()), node.ask_namespace(HOME, submit()));
        let records: Vec<_> = [one, two]
            .into_iter()
            .map(|answer| match answer.unwrap().unwrap().remove(0) {
                BatchOutcome::Admitted { record } | BatchOutcome::AlreadyAdmitted { record } => record,
                refused => panic!("{refused:?}"),
            })
            .collect();
        assert_eq!(records[0], records[1]);
    });
}

/// Begins a namespace of the account, to which the device `n` is linked.
async fn another_namespace(node: &Arc<Node>, id: NamespaceId, n: u8) {
    let opened = node.directory.append(1, |directory| directory.open_namespace(random(), id, OWNER, "other"));
    opened.await.unwrap();
    let begun = State::Begun { owner: OWNER, label: "other".into() };
    node.ask_namespace(id, begun).await.unwrap().unwrap();
    let key = PublicKey(key(n).verifying_key().to_bytes());
    let (user_name, label) = ("ana".into(), "laptop".into());
    let linked = State::Linked { key, user: OWNER, user_name, label, continues: None };
    node.ask_namespace(id, linked).await.unwrap().unwrap();
}

/// The first batch of device `n`: a file of 60 bytes.
fn submit_file(namespace: NamespaceId, n: u8) -> SubmitBatches {
    let plain = vec![n; 60];
    let (content, _) = Content::new(Cut::SMALL, vec![ChunkRef { id: ChunkId::of(&plain), bytes: 60 }]);
    let draft = Draft {
        hlc: Hlc::at_ms(1),
        at: 0,
        fact: Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File },
        body: Some(Body { name: Some(Name::new("a").unwrap()), content: Some(content), ..Body::default() }),
    };
    let none = VersionVector::new();
    let batch =
        Batch::sign(&key(n), namespace, 1, None, &none, &none, Default::default(), vec![draft]).unwrap();
    SubmitBatches { namespace, batches: Arc::new(vec![batch.bytes().to_vec().into()]), trace: None }
}

#[test]
fn two_sessions_that_fill_one_quota_at_once_never_overfill_it() {
    const OTHER: NamespaceId = NamespaceId([10; 16]);
    story(|node| async move {
        another_namespace(&node, OTHER, 2).await;
        let sent = [1, 2].map(|n| SealedChunk::seal(vec![n; 60]));
        node.chunks.put_all(&sent).unwrap();
        node.ask_user(OWNER, Sent(Arc::new(sent.iter().map(|chunk| chunk.id).collect()))).await.unwrap();
        let submit = |namespace, n| {
            let device = DeviceId::of_key(&PublicKey(key(n).verifying_key().to_bytes()));
            let (node, question) = (Arc::clone(&node), submit_file(namespace, n));
            async move { node.ask_session(device, OWNER, question).await.unwrap().unwrap().remove(0) }
        };
        let (one, two) = tokio::join!(submit(HOME, 1), submit(OTHER, 2));
        let refused = [&one, &two].map(|outcome| match outcome {
            BatchOutcome::Admitted { .. } | BatchOutcome::AlreadyAdmitted { .. } => false,
            BatchOutcome::Refused(why) => {
                assert_eq!(why.code, Code::Quota);
                true
            }
        });
        assert_eq!(refused.iter().filter(|refused| **refused).count(), 1, "{one:?} {two:?}");
        let room = node.ask_user(OWNER, RoomFor(None)).await.unwrap().unwrap();
        assert_eq!((room.used, room.quota), (60, Some(100)));
    });
}

#[test]
fn what_a_server_said_before_is_not_said_again() {
    story(|node| async move {
        let head = node.summary(HOME).await.unwrap().head;
        node.ask_namespace(HOME, State::Begun { owner: OWNER, label: "x".into() }).await.unwrap().unwrap();
        assert_eq!(node.summary(HOME).await.unwrap().head, head);
        let device = node.ask_namespace(HOME, Devices).await.unwrap().unwrap()[0].device;
        node.ask_namespace(HOME, State::Retired(device)).await.unwrap().unwrap();
        let retired = node.summary(HOME).await.unwrap().head;
        assert!(retired.seq > head.seq);
        node.ask_namespace(HOME, State::Retired(device)).await.unwrap().unwrap();
        assert_eq!(node.summary(HOME).await.unwrap().head, retired);
        let refused = node.ask_namespace(HOME, submit()).await.unwrap().unwrap();
        assert!(matches!(&refused[..], [BatchOutcome::Refused(why)] if why.code == Code::DeviceRetired));
    });
}

#[test]
fn a_user_holds_what_was_sent_and_has_the_room_that_is_left() {
    story(|node| async move {
        let chunks = Arc::new(vec![ChunkId([1; 32]), ChunkId([2; 32])]);
        node.ask_user(OWNER, Sent(Arc::new(vec![chunks[0]]))).await.unwrap();
        let holds = Holds { chunks: Arc::clone(&chunks), beside: HOME };
        assert_eq!(node.ask_user(OWNER, holds).await.unwrap().unwrap(), [chunks[0]].into());
        assert_eq!(node.ask_user(OWNER, InFlight).await.unwrap().len(), 1);
        let room = node.ask_user(OWNER, RoomFor(Some(HOME))).await.unwrap().unwrap();
        assert_eq!((room.quota, room.used, room.here), (Some(100), 0, Some(100)));
        let nobody = node.ask_user(UserId([5; 16]), RoomFor(None)).await.unwrap();
        assert_eq!(nobody.unwrap_err().code, Code::UnknownUser);
    });
}

#[test]
fn what_came_to_be_needed_since_it_was_marked_is_not_swept() {
    story(|node| async move {
        let [named, sent, garbage] = [1, 2, 3].map(|n| SealedChunk::seal(vec![n; 60]));
        let all = [named.id, sent.id, garbage.id];
        node.chunks.put_all(&[named, sent, garbage]).unwrap();
        node.ask_user(OWNER, Sent(Arc::new(all[..2].to_vec()))).await.unwrap();
        let device = DeviceId::of_key(&PublicKey(key(1).verifying_key().to_bytes()));
        let admitted = node.ask_session(device, OWNER, submit_file(HOME, 1)).await.unwrap().unwrap();
        assert!(matches!(admitted[..], [BatchOutcome::Admitted { .. }]));
        assert_eq!(node.ask_user(OWNER, InFlight).await.unwrap().len(), 1);
        // All of them were garbage when it was looked.
        let (freed, gone) = sweep(&node, all.to_vec(), node.marks.begin()).await.unwrap();
        assert_eq!((freed.chunks, gone), (1, all[2..].to_vec()));
        assert_eq!(node.chunks.missing(&all).unwrap(), all[2..]);
    });
}

/// What was admitted, and the log does not have it.
async fn lost(node: &Arc<Node>) -> Arc<Vec<Arc<Record>>> {
    let head = node.summary(HOME).await.unwrap().head;
    let lost = Record::admit(batch(), &key(100), head.epoch, Seq(head.seq.0 + 1), head.chain, 5);
    Arc::new(vec![Arc::new(lost)])
}

#[test]
fn a_collection_that_began_before_something_was_lost_takes_nothing_and_writes_nothing_back() {
    story(|node| async move {
        let chunk = SealedChunk::seal(vec![7; 60]);
        let ids = vec![chunk.id];
        node.chunks.put_all(&[chunk]).unwrap();
        let garbage = Garbage::default().looked(ids.clone(), |_| false, 1);
        let since = node.marks.begin();
        node.take_back(HOME, lost(&node).await).await.unwrap();
        assert_eq!(sweep(&node, ids.clone(), since).await.unwrap_err().code, Code::Busy);
        assert_eq!(node.marks.write(garbage.clone(), since).await.unwrap_err().code, Code::Busy);
        assert_eq!((node.chunks.missing(&ids).unwrap(), node.marks.read()), (vec![], Garbage::default()));
        // The next one begins anew.
        node.marks.write(garbage.clone(), node.marks.begin()).await.unwrap();
        assert_eq!(node.marks.read(), garbage);
    });
}

#[test]
fn a_server_that_cannot_forget_what_was_garbage_keeps_its_key_until_it_can() {
    story(|node| async move {
        let (lost, key) = (lost(&node).await, node.keys.public());
        fs::create_dir(node.marks.place()).unwrap();
        let refused = node.take_back(HOME, Arc::clone(&lost)).await.unwrap_err();
        assert_eq!((refused.code, node.keys.public()), (Code::LogUnavailable, key));
        fs::remove_dir(node.marks.place()).unwrap();
        assert_eq!(node.take_back(HOME, lost).await.unwrap().taken, 1);
        assert_ne!(node.keys.public(), key);
    });
}

#[test]
fn what_was_garbage_before_something_was_lost_gets_its_grace_anew() {
    story(|node| async move {
        let garbage = Garbage::default().looked([ChunkId([7; 32])], |_| false, 1);
        fs::write(node.marks.place(), garbage.encode()).unwrap();
        let answer = node.take_back(HOME, lost(&node).await).await.unwrap();
        assert_eq!((answer.taken, answer.refused), (1, None));
        assert_ne!(node.keys.public(), PublicKey(key(100).verifying_key().to_bytes()));
        assert!(!node.marks.place().exists(), "what comes back may name it");
    });
}

/// The first batch of device 1, and what is to be stored for it: a file whose chunks a manifest lists.
fn large_file() -> (SubmitBatches, Vec<SealedChunk>) {
    let chunks: Vec<SealedChunk> = (0..100).map(|n| SealedChunk::seal(vec![n])).collect();
    let list = chunks.iter().map(|chunk| ChunkRef { id: chunk.id, bytes: 1 }).collect();
    let (content, manifest) = Content::new(Cut::SMALL, list);
    let body = Body { name: Some(Name::new("a").unwrap()), content: Some(content), ..Body::default() };
    let fact = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File };
    let draft = Draft { hlc: Hlc::at_ms(1), at: 0, fact, body: Some(body) };
    let none = VersionVector::new();
    let batch = Batch::sign(&key(1), HOME, 1, None, &none, &none, Default::default(), vec![draft]).unwrap();
    let batches = Arc::new(vec![batch.bytes().to_vec().into()]);
    let manifest = SealedChunk::seal(manifest.unwrap());
    let stored = std::iter::once(manifest).chain(chunks).collect();
    (SubmitBatches { namespace: HOME, batches, trace: None }, stored)
}

#[test]
fn nothing_is_collected_while_nobody_knows_what_a_lost_manifest_lists() {
    story(|node| async move {
        let (submit, stored) = large_file();
        let ids: Vec<ChunkId> = stored.iter().map(|chunk| chunk.id).collect();
        node.chunks.put_all(&stored).unwrap();
        node.ask_user(OWNER, Sent(Arc::new(ids.clone()))).await.unwrap();
        let device = DeviceId::of_key(&PublicKey(key(1).verifying_key().to_bytes()));
        let admitted = node.ask_session(device, OWNER, submit).await.unwrap().unwrap();
        assert!(matches!(admitted[..], [BatchOutcome::Admitted { .. }]), "{admitted:?}");
        node.chunks.remove(&ids[..1]).unwrap();
        for _ in 0..2 {
            assert_eq!(collect(&node, 0, false).await.unwrap_err().code, Code::LogDamaged);
            assert_eq!(node.chunks.missing(&ids).unwrap(), ids[..1]);
        }
        // Once it is there again, so is what it lists.
        node.chunks.put_all(&stored[..1]).unwrap();
        node.ask_namespace(HOME, Poison).await.unwrap_err();
        assert_eq!(collect(&node, 0, false).await.unwrap().freed.chunks, 0);
        assert_eq!(node.chunks.missing(&ids).unwrap(), []);
    });
}

#[test]
fn what_is_not_stored_was_not_sent_whatever_a_list_says() {
    story(|node| async move {
        let stored = SealedChunk::seal(vec![1; 60]);
        let asked = Arc::new(vec![stored.id, ChunkId([2; 32])]);
        node.chunks.put_all(&[stored]).unwrap();
        node.sent.open(OWNER).add(&asked);
        let holds = Holds { chunks: Arc::clone(&asked), beside: HOME };
        assert_eq!(node.ask_user(OWNER, holds).await.unwrap().unwrap(), [asked[0]].into());
    });
}
