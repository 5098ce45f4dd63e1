//! Chunks on their way: sent before they are named, and read by those alone who may.

use crate::support::*;
use annals_engine::{
    content::{ChunkDelta, SealedChunk, Signature, Sums},
    protocol::{
        BatchOutcome, ChunksStored, ChunksWanted, Code, Linked, Signatures, SignaturesWanted,
        frame::{self, Framed},
        to_cbor,
    },
};
use annals_events::{Body, ChunkId, Content, Cut, Name};
use reqwest::Method;

#[test]
fn events_wait_for_their_chunks_and_chunks_for_their_bytes() {
    let server = TestServer::new();
    server.add_user("ana");
    let mut laptop = server.link_as("ana");
    let (fact, body, chunk) = file("notes", b"hello");
    let batch = laptop.sign(vec![(fact, body)]);
    let refused = laptop.refused(&server, batch.bytes().to_vec());
    assert_eq!((refused.code, refused.chunks), (Code::ChunksMissing, vec![chunk.id]));

    let wrong = SealedChunk { id: chunk.id, ..SealedChunk::seal(b"something else".to_vec()) };
    assert_eq!(code(laptop.send_chunks(&server, &[wrong])), Code::ChunkMismatch);
    assert_eq!(laptop.missing(&server, &[chunk.to_ref()], 0).unwrap(), [0]);
    let cut = server
        .web
        .json::<()>(|client| laptop.request(client, &server, Method::POST, "chunks").body(vec![1, 2, 3]));
    assert_eq!(code(cut), Code::BadRequest);

    laptop.send_chunks(&server, &[chunk]).unwrap();
    assert!(matches!(laptop.submit(&server, &batch).unwrap(), BatchOutcome::Admitted { .. }));
}

#[test]
fn a_manifest_counts_only_with_all_of_its_chunks() {
    let server = TestServer::new();
    server.add_user("ana");
    let mut laptop = server.link_as("ana");
    let chunks: Vec<SealedChunk> = (0..80u32).map(|n| SealedChunk::seal(n.to_be_bytes().to_vec())).collect();
    let (content, manifest) = Content::new(Cut::SMALL, chunks.iter().map(SealedChunk::to_ref).collect());
    let root = SealedChunk::seal(manifest.unwrap());
    let (fact, body, _) = file("large", b"replaced below");
    let body = body.map(|body| Body { content: Some(content.clone()), ..body });
    let batch = laptop.sign(vec![(fact.clone(), body.clone())]);
    laptop.send_chunks(&server, &[vec![root.clone()], chunks[1..].to_vec()].concat()).unwrap();
    assert_eq!(laptop.refused(&server, batch.bytes().to_vec()).chunks, [chunks[0].id]);
    laptop.send_chunks(&server, &chunks[..1]).unwrap();
    laptop.submit(&server, &batch).unwrap();

    // Whoever may read the file may read its chunks, and name them in another one.
    let phone = server.link_as("ana");
    assert_eq!(phone.get_chunks(&server, &[root.to_ref(), chunks[7].to_ref()]).unwrap().len(), 2);
    assert_eq!(phone.missing(&server, &[chunks[7].to_ref()], 0).unwrap(), [] as [u32; 0]);

    // A manifest that is the one of another content is no manifest.
    let (other, _) = Content::new(Cut::SMALL, chunks[..70].iter().map(SealedChunk::to_ref).collect());
    let lying = Content { manifest: Some(root.to_ref()), ..other };
    let body = body.map(|body| Body { content: Some(lying), name: Some(Name::new("b").unwrap()), ..body });
    let batch = laptop.sign(vec![(fact, body)]);
    assert_eq!(laptop.refused(&server, batch.bytes().to_vec()).code, Code::ContentInvalid);
}

#[test]
fn naming_a_chunk_of_somebody_else_is_not_owning_it() {
    let server = TestServer::new();
    server.add_user("ana");
    server.add_user("bob");
    let (mut ana, bob) = (server.link_as("ana"), server.link_as("bob"));
    let (fact, body, chunk) = file("secret", b"the secret");
    ana.send_chunks(&server, std::slice::from_ref(&chunk)).unwrap();
    ana.issue(&server, vec![(fact.clone(), body.clone())]);
    assert_eq!(bob.missing(&server, &[chunk.to_ref()], 0).unwrap(), [0]);
    assert_eq!(code(bob.get_chunks(&server, &[chunk.to_ref()])), Code::ChunkUnknown);
    let refused = bob.refused(&server, bob.sign(vec![(fact, body)]).bytes().to_vec());
    assert_eq!(refused.code, Code::ChunksMissing);
    // Within one's own namespaces it need not be sent twice.
    let mut photos = server.link_request(password("ana")).1;
    (photos.namespace, photos.create) = (Some("photos".into()), true);
    let photos: Linked = server.post("link", &photos).unwrap();
    ana.namespace = photos.namespace.id;
    assert_eq!(ana.missing(&server, &[chunk.to_ref()], 0).unwrap(), [] as [u32; 0]);
}

#[test]
fn what_was_sent_is_not_asked_for_again_after_a_restart() {
    let mut server = TestServer::new();
    server.add_user("ana");
    server.add_user("bob");
    let (mut ana, bob) = (server.link_as("ana"), server.link_as("bob"));
    let (fact, body, chunk) = file("half", b"the first half of an upload");
    ana.send_chunks(&server, std::slice::from_ref(&chunk)).unwrap();
    server.restart();
    assert_eq!(ana.missing(&server, &[chunk.to_ref()], 0).unwrap(), [] as [u32; 0]);
    assert_eq!(bob.missing(&server, &[chunk.to_ref()], 0).unwrap(), [0], "it is nobody else's");
    ana.issue(&server, vec![(fact, body)]);
}

#[test]
fn a_difference_is_told_only_between_chunks_that_one_may_read() {
    let server = TestServer::new();
    server.add_user("ana");
    server.add_user("bob");
    let (mut ana, mut bob) = (server.link_as("ana"), server.link_as("bob"));
    // Ana's old and new version, which differ by a byte; Bob has the new one, too.
    let old: Vec<u8> = (0..9000_u32).flat_map(|n| ChunkId::of(&n.to_be_bytes()).0).take(30_000).collect();
    let new = [b"!", &old[..]].concat();
    let (fact, body, old_chunk) = file("old", &old);
    let (fact_new, body_new, new_chunk) = file("new", &new);
    ana.send_chunks(&server, &[old_chunk.clone(), new_chunk.clone()]).unwrap();
    ana.issue(&server, vec![(fact, body), (fact_new.clone(), body_new.clone())]);
    bob.send_chunks(&server, std::slice::from_ref(&new_chunk)).unwrap();
    bob.issue(&server, vec![(fact_new, body_new)]);

    let wanted = SignaturesWanted { bases: vec![vec![old_chunk.id]], short: false };
    let signatures_of = |device: &Device| -> Vec<Signature> {
        device.cbor::<Signatures>(&server, "chunks/signatures", &wanted).unwrap().signatures
    };
    assert_eq!(signatures_of(&ana), [Signature::of(Sums::Long, vec![old_chunk.id], &old)]);
    assert_eq!(signatures_of(&bob), []);

    let fetched = |device: &Device| {
        let wanted =
            ChunksWanted { chunks: vec![new_chunk.id], bases: vec![(0, vec![old_chunk.id])], content: None };
        let body = to_cbor(&wanted);
        let asked = |client: &_| device.request(client, &server, Method::POST, "chunks/get").body(body);
        frame::decode_all(server.web.bytes(asked).unwrap()).unwrap().remove(0)
    };
    match fetched(&ana) {
        Framed::Delta(delta) => assert_eq!(delta.apply(&old), Ok(new.clone())),
        Framed::Whole(_) => panic!("it is many times larger"),
    }
    assert_eq!(fetched(&bob), Framed::Whole(new_chunk));

    let newer = [b"?", &old[..]].concat();
    let id = ChunkId::of(&newer);
    let signature = Signature::of(Sums::Long, vec![old_chunk.id], &old);
    let delta = Framed::Delta(ChunkDelta::to_signature(id, &newer, &signature).unwrap());
    let sent = |device: &Device| -> ChunksStored {
        let body = frame::encode_all(std::slice::from_ref(&delta));
        let asked = |client: &_| device.request(client, &server, Method::POST, "chunks").body(body);
        server.web.json(asked).unwrap()
    };
    assert_eq!(sent(&bob).again, [id]);
    let newer = SealedChunk::seal(newer).to_ref();
    assert_eq!(bob.missing(&server, &[newer], 0).unwrap(), [0]);
    let stored = sent(&ana);
    assert_eq!((stored.new, stored.again), (1, vec![]));
    assert_eq!(ana.missing(&server, &[newer], 0).unwrap(), [] as [u32; 0]);
}
