//! Stories of actors that come and go: what they knew is in the log.

use super::{
    namespace::{Devices, Digests, NamespaceActor, State, Submission, Submit, Summarise},
    node::{Node, random},
    roster::MAILBOX,
    user::{Holds, Mounted, RoomFor, Sent, Waiting},
};
use crate::clock::SystemClock;
use actix::{Context, Handler, Message};
use annals_engine::{
    chunk_store::MemoryChunks,
    directory::Directory,
    protocol::{BatchOutcome, Code, Problem},
};
use annals_events::{
    Batch, Body, ChunkId, Draft, EntryId, EntryKind, Fact, Hlc, Name, NamespaceId, PublicKey, UserId,
    VersionVector, log::memory::MemoryLog,
};
use ed25519_dalek::SigningKey;
use std::{collections::BTreeMap, sync::Arc};

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

/// Runs a story on a node with one account and one namespace, to which the device 1 is linked.
fn story<F: Future<Output = ()>>(story: impl FnOnce(Arc<Node>) -> F) {
    actix::System::new().block_on(async move {
        let arbiter = actix::Arbiter::new();
        let log = Arc::new(MemoryLog::new());
        let empty = Directory::new(NamespaceId([8; 16]));
        let directory = super::directory::LiveDirectory::open(log.clone(), key(100), empty, 1).await.unwrap();
        let account = directory
            .append(1, |directory| directory.create_account(random(), OWNER, "ana", None, Some(100)));
        account.await.unwrap();
        let opened = directory.append(1, |directory| directory.open_namespace(random(), HOME, OWNER, "home"));
        opened.await.unwrap();
        let (chunks, clock) = (Arc::new(MemoryChunks::default()), Arc::new(SystemClock));
        let evidence = std::env::temp_dir();
        let node = Node::new(log, chunks, key(100), clock, directory, evidence, None, &[arbiter.handle()]);
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
        arbiter.stop();
    });
}

/// The first batch of device 1.
fn batch() -> Batch {
    let draft = Draft {
        hlc: Hlc::at_ms(1),
        at: 0,
        fact: Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::Folder },
        body: Some(Body { name: Some(Name::new("a").unwrap()), ..Body::default() }),
    };
    let none = VersionVector::new();
    Batch::sign(&key(1), HOME, 1, None, &none, &none, Default::default(), vec![draft]).unwrap()
}

fn submit() -> Submit {
    Submit(Arc::new(Submission {
        batches: vec![batch()],
        held: Default::default(),
        listed: BTreeMap::new(),
        broken: Default::default(),
        room: None,
    }))
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
        assert_eq!(node.at_work(), [1, 0, 0, 0]);
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
        assert_eq!(node.ask_user(OWNER, Waiting).await.unwrap(), 1);
        let room = node.ask_user(OWNER, RoomFor(Some(HOME))).await.unwrap().unwrap();
        assert_eq!((room.quota, room.used, room.here), (Some(100), 0, Some(100)));
        let nobody = node.ask_user(UserId([5; 16]), RoomFor(None)).await.unwrap();
        assert_eq!(nobody.unwrap_err().code, Code::UnknownUser);
    });
}
