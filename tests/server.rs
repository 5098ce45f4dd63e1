//! A real server, asked over HTTP: who gets in, what is refused and why, what is there after a restart.

use crate::support::*;
use annals::server::{Config, ServeError, serve};
use annals_engine::{
    content::{ChunkDelta, SealedChunk, Signature, Sums},
    protocol::{
        BATCHES_BYTES_MAX, BatchOutcome, ChunksStored, ChunksWanted, Class, Code, Credential, DeviceInfo,
        JSON_BYTES_MAX, Linked, Member, NamespaceInfo, NewAccount, NewNamespace, OwnAccount, Quota, Records,
        Signatures, SignaturesWanted, TicketRequest, VersionInfo,
        frame::{self, Framed},
        to_cbor,
    },
};
use annals_events::{
    Batch, Body, ChunkId, Content, Cut, Dot, EntryId, Fact, Hash, Name, Role, Seq, UserId, VersionVector,
};
use reqwest::Method;

fn code<T: std::fmt::Debug>(answer: Answer<T>) -> Code {
    answer.expect_err("it should have been refused").code
}

// Getting in.

#[test]
fn a_wrong_password_and_a_wrong_name_are_one_answer() {
    let server = TestServer::new();
    server.add_user("ana");
    let wrong = |user: &str, password: &str| {
        let credential = Credential::Password { user: user.into(), password: password.into() };
        code(server.link(credential).map(|device| device.id()))
    };
    assert_eq!(wrong("ana", "incorrect horse"), Code::WrongPassword);
    assert_eq!(wrong("bob", PASSWORD), Code::WrongPassword);
    assert_eq!(server.link_as("ana").linked.account.name, "ana");
}

#[test]
fn only_the_admin_adds_accounts_and_their_names_and_passwords_are_checked() {
    let server = TestServer::new();
    let new = |name: &str, password: &str| NewAccount {
        name: name.into(),
        password: Some(password.into()),
        quota: Quota::Default,
    };
    assert_eq!(code(server.post::<()>("accounts", &new("ana", PASSWORD))), Code::AdminToken);
    assert_eq!(code(server.admin::<()>("accounts", &new("Ana Banana", PASSWORD))), Code::BadName);
    assert_eq!(code(server.admin::<()>("accounts", &new("ana", "short"))), Code::BadPassword);
    server.add_user("ana");
    assert_eq!(code(server.admin::<()>("accounts", &new("ana", PASSWORD))), Code::AccountExists);
}

#[test]
fn a_ticket_links_one_device_and_any_other_code_none() {
    let server = TestServer::new();
    server.add_user("ana");
    let laptop = server.link_as("ana");
    let ticket = laptop.ticket(&server).unwrap();
    let phone = server.link(Credential::Ticket(ticket.code.to_lowercase().replace('-', " "))).unwrap();
    assert_eq!(phone.namespace, laptop.namespace);
    assert_eq!(phone.linked.account, laptop.linked.account);
    let again = server.link(Credential::Ticket(ticket.code));
    assert_eq!(code(again.map(|device| device.id())), Code::TicketUsed);
    for unknown in ["", "hello", "00000-00000-00000-00000-000000"] {
        let refused = server.link(Credential::Ticket(unknown.into()));
        assert_eq!(code(refused.map(|device| device.id())), Code::TicketUnknown, "{unknown}");
    }
}

#[test]
fn tickets_last_fifteen_minutes_and_challenges_five() {
    let clock = StillClock::default();
    clock.set(NOW_MS);
    let server = TestServer::by(&clock);
    server.add_user("ana");
    let laptop = server.link_as("ana");
    let (one, two) = (laptop.ticket(&server).unwrap(), laptop.ticket(&server).unwrap());
    assert_eq!(one.expires, NOW_MS + 15 * 60 * 1000);
    clock.set(one.expires - 1);
    server.link(Credential::Ticket(one.code)).unwrap();
    clock.set(two.expires);
    let late = server.link(Credential::Ticket(two.code));
    assert_eq!(code(late.map(|device| device.id())), Code::TicketExpired);
    let (_, request) = server.link_request(password("ana"));
    clock.set(two.expires + 5 * 60 * 1000);
    assert_eq!(code(server.post::<Linked>("link", &request)), Code::Challenge);
}

#[test]
fn the_admin_hands_out_a_first_ticket_for_an_account_without_a_password() {
    let server = TestServer::new();
    let new = NewAccount { name: "me".into(), password: None, quota: Quota::Unlimited };
    server.admin::<serde_json::Value>("accounts", &new).unwrap();
    let request = TicketRequest { user: Some("me".into()), ..TicketRequest::default() };
    assert_eq!(code(server.post::<()>("tickets", &request)), Code::AdminToken);
    let ticket: annals_engine::protocol::Ticket = server.admin("tickets", &request).unwrap();
    let device = server.link(Credential::Ticket(ticket.code)).unwrap();
    assert_eq!(device.linked.namespace.label, "home");
    let login = Credential::Password { user: "me".into(), password: String::new() };
    assert_eq!(code(server.link(login).map(|device| device.id())), Code::WrongPassword);
}

#[test]
fn a_device_proves_its_key_over_a_fresh_challenge() {
    let server = TestServer::new();
    server.add_user("ana");
    let (_, mut request) = server.link_request(password("ana"));
    request.proof = "00".repeat(64);
    assert_eq!(code(server.post::<Linked>("link", &request)), Code::Proof);
    let (_, request) = server.link_request(password("ana"));
    server.post::<Linked>("link", &request).unwrap();
    assert_eq!(code(server.post::<Linked>("link", &request)), Code::Challenge);
    let (_, mut other) = server.link_request(password("ana"));
    other.device = request.device;
    assert_eq!(code(server.post::<Linked>("link", &other)), Code::Proof);
}

#[test]
fn no_unknown_or_revoked_token_opens_anything() {
    let server = TestServer::new();
    server.add_user("ana");
    let (laptop, mut phone) = (server.link_as("ana"), server.link_as("ana"));
    let url = server.url("namespaces");
    let with = |token: &str| code(server.web.json::<()>(|client| client.get(&url).bearer_auth(token)));
    assert_eq!(with(&"0".repeat(64)), Code::TokenUnknown);
    assert_eq!(code(server.web.json::<()>(|client| client.get(&url))), Code::TokenMissing);

    let before = phone.sign(vec![folder("kept on the phone")]);
    let route = format!("devices/{}/retire", phone.id());
    server.web.bytes(|client| laptop.request(client, &server, Method::POST, &route)).unwrap();
    assert_eq!(with(&phone.linked.token), Code::TokenRevoked);
    assert_eq!(code(phone.submit(&server, &before)), Code::TokenRevoked);
    let devices: Vec<DeviceInfo> = laptop.get_json(&server, "devices").unwrap();
    let retired: Vec<_> = devices.iter().filter(|info| info.retired).map(|info| info.device).collect();
    assert_eq!(retired, [phone.id()]);
    // Somebody else's token does not help either: the log has the retirement.
    phone.linked.token = laptop.linked.token.clone();
    assert_eq!(phone.refused(&server, before.bytes().to_vec()).code, Code::BatchSignature);
}

#[test]
fn nobody_learns_of_a_namespace_that_they_may_not_read() {
    let server = TestServer::new();
    server.add_user("ana");
    server.add_user("bob");
    let (ana, mut bob) = (server.link_as("ana"), server.link_as("bob"));
    assert_eq!(code(server.link_to(password("bob"), Some("photos")).map(|d| d.id())), Code::UnknownNamespace);
    let hers = ana.namespace.to_hex();
    assert_eq!(code(server.link_to(password("bob"), Some(&hers)).map(|d| d.id())), Code::UnknownNamespace);
    bob.namespace = ana.namespace;
    assert_eq!(code(bob.get_cbor::<Records>(&server, "records?after=0")), Code::UnknownNamespace);
    assert_eq!(code(bob.get_json::<Vec<Member>>(&server, "members")), Code::UnknownNamespace);
    assert_eq!(bob.refused(&server, bob.sign(vec![folder("a")]).bytes().to_vec()).code, Code::DeviceUnlinked);
    bob.namespace = annals_events::NamespaceId([7; 16]);
    assert_eq!(code(bob.get_cbor::<Records>(&server, "records?after=0")), Code::UnknownNamespace);
    assert_eq!(code(bob.submit(&server, &bob.sign(vec![folder("a")]))), Code::UnknownNamespace);
}

#[test]
fn a_second_namespace_is_made_by_name_and_linked_by_name() {
    let server = TestServer::new();
    server.add_user("ana");
    let laptop = server.link_as("ana");
    let token = &laptop.linked.token;
    let make = |label: &str| {
        let new = NewNamespace { label: label.into() };
        server.web.json::<NamespaceInfo>(|client| {
            client.post(server.url("namespaces")).bearer_auth(token).json(&new)
        })
    };
    let photos = make("photos").unwrap();
    assert_eq!(photos.role, Role::Owner);
    assert_eq!(code(make("photos")), Code::NamespaceExists);
    assert_eq!(code(make("")), Code::BadName);
    let linked = server.link_to(password("ana"), Some("photos")).unwrap();
    assert_eq!(linked.namespace, photos.id);
    let (_, mut request) = server.link_request(password("ana"));
    (request.namespace, request.create) = (Some("music".into()), true);
    let music: Linked = server.post("link", &request).unwrap();
    assert_eq!(music.namespace.label, "music");
    let labels: Vec<String> =
        laptop.namespaces(&server).unwrap().into_iter().map(|info| info.label).collect();
    assert_eq!(labels.len(), 3);
    let by_password = server.web.json::<Vec<NamespaceInfo>>(|client| {
        client.get(server.url("namespaces")).basic_auth("ana", Some(PASSWORD))
    });
    assert_eq!(by_password.unwrap().len(), 3);
}

// Batches and chunks.

#[test]
fn a_file_reaches_another_device_with_its_content() {
    let server = TestServer::new();
    server.add_user("ana");
    let (mut laptop, mut phone) = (server.link_as("ana"), server.link_as("ana"));
    let (fact, body, chunk) = file("notes", b"hello");
    assert_eq!(laptop.missing(&server, &[chunk.to_ref()], 5).unwrap(), [0]);
    laptop.send_chunks(&server, std::slice::from_ref(&chunk)).unwrap();
    assert_eq!(laptop.missing(&server, &[chunk.to_ref()], 5).unwrap(), [] as [u32; 0]);
    laptop.issue(&server, vec![(fact, body)]);

    let records = phone.pull(&server);
    let names: Vec<String> = records
        .iter()
        .flat_map(|record| (0..record.batch().events().len()).map(|i| record.batch().body(i).unwrap()))
        .filter_map(|body| body?.name.map(|name| name.as_str().to_owned()))
        .collect();
    assert_eq!(names, ["notes"]);
    let got = phone.get_chunks(&server, &[chunk.to_ref()]).unwrap();
    assert_eq!(got, [chunk]);
    for record in &records {
        record.verify_receipt(&phone.linked.server.server).unwrap();
    }
}

#[test]
fn the_same_batch_again_is_success_and_another_under_its_dots_is_kept_as_evidence() {
    let server = TestServer::new();
    server.add_user("ana");
    let mut laptop = server.link_as("ana");
    let other = laptop.sign(vec![folder("b")]);
    let batch = laptop.sign(vec![folder("a")]);
    let BatchOutcome::Admitted { record } = laptop.submit(&server, &batch).unwrap() else { panic!() };
    let again = laptop.submit_bytes(&server, batch.bytes().to_vec()).unwrap();
    assert_eq!(again, BatchOutcome::AlreadyAdmitted { record });
    assert_eq!(laptop.refused(&server, other.bytes().to_vec()).code, Code::Equivocation);
    let evidence = server.data.path().join("data/equivocations").join(format!("{}.batch", other.hash()));
    assert_eq!(std::fs::read(evidence).unwrap(), other.bytes());
}

#[test]
fn what_is_no_batch_or_not_signed_is_refused_and_the_next_one_is_taken() {
    let server = TestServer::new();
    server.add_user("ana");
    let mut laptop = server.link_as("ana");
    let good = laptop.sign(vec![folder("a")]);
    assert_eq!(laptop.refused(&server, b"hello".to_vec()).code, Code::BatchMalformed);
    let unsigned =
        Batch::assemble(good.header(), &[0; 64], &[good.body_bytes(0).map(<[u8]>::to_vec)]).unwrap();
    assert_eq!(laptop.refused(&server, unsigned.bytes().to_vec()).code, Code::BatchSignature);
    let mut body = good.body(0).unwrap().unwrap();
    body.name = Some(Name::new("b").unwrap());
    let mut swapped = good.bytes().to_vec();
    let at = swapped
        .windows(2)
        .rposition(|pair| pair == b"aa")
        .or(swapped.iter().rposition(|b| *b == b'a'))
        .unwrap();
    swapped[at] = b'b';
    let refused = laptop.refused(&server, swapped).code;
    assert!(matches!(refused, Code::BatchBody | Code::BatchMalformed), "{refused:?}");
    assert!(matches!(laptop.submit(&server, &good).unwrap(), BatchOutcome::Admitted { .. }));
}

#[test]
fn a_list_of_batches_is_taken_up_to_the_first_that_is_refused() {
    let server = TestServer::new();
    server.add_user("ana");
    let mut laptop = server.link_as("ana");
    let one = laptop.sign(vec![folder("a")]);
    (laptop.last, laptop.prev) = (1, Some(one.hash()));
    laptop.clock.observe(one.events()[0].hlc);
    let two = laptop.sign(vec![folder(".annals")]);
    let three = laptop.sign(vec![folder("c")]);
    let batches = annals_engine::protocol::Batches {
        batches: [&one, &two, &three].map(|batch| batch.bytes().to_vec().into()).to_vec(),
        brief: false,
    };
    let outcomes: annals_engine::protocol::Outcomes = laptop.cbor(&server, "batches", &batches).unwrap();
    let [BatchOutcome::Admitted { .. }, BatchOutcome::Refused(refused)] = &outcomes.outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!((refused.code, &refused.dots[..]), (Code::ReservedName, &[two.dot(0)][..]));
}

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
        let wanted = ChunksWanted { chunks: vec![new_chunk.id], bases: vec![(0, vec![old_chunk.id])] };
        let body = to_cbor(&wanted);
        let asked = |client: &_| device.request(client, &server, Method::POST, "chunks/get").body(body);
        frame::decode_all(&server.web.bytes(asked).unwrap()).unwrap().remove(0)
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
        let mut body = Vec::new();
        delta.encode_to(&mut body);
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

#[test]
fn a_quota_is_refused_before_content_is_sent_and_again_at_admission() {
    let server = TestServer::new();
    server.add_user_with("ana", Quota::Bytes(10));
    let mut laptop = server.link_as("ana");
    let (_, _, chunk) = file("large", b"eleven byte");
    let refused = laptop.missing(&server, &[chunk.to_ref()], 11).unwrap_err();
    assert_eq!((refused.code, refused.class(), refused.status), (Code::Quota, Class::Forbidden, 413));
    assert_eq!(code(laptop.send_chunks(&server, &[chunk])), Code::Quota);

    let (fact, body, six) = file("a", b"six by");
    let (fact2, body2, five) = file("b", b"five ");
    laptop.send_chunks(&server, &[six]).unwrap();
    laptop.send_chunks(&server, &[five]).unwrap();
    laptop.issue(&server, vec![(fact, body)]);
    let over = laptop.sign(vec![(fact2, body2)]);
    assert_eq!(laptop.refused(&server, over.bytes().to_vec()).code, Code::Quota);
    laptop.issue(&server, vec![folder("takes nothing")]);
    let account: OwnAccount = server
        .web
        .json(|client| client.get(server.url("account")).bearer_auth(&laptop.linked.token))
        .unwrap();
    assert_eq!((account.quota, account.used), (Some(10), 6));
}

#[test]
fn a_quota_spans_all_of_a_users_namespaces() {
    let server = TestServer::new();
    server.add_user_with("ana", Quota::Bytes(10));
    let mut home = server.link_as("ana");
    let (_, mut request) = server.link_request(password("ana"));
    (request.namespace, request.create) = (Some("photos".into()), true);
    let photos: Linked = server.post("link", &request).unwrap();
    let (fact, body, six) = file("a", b"six by");
    home.send_chunks(&server, &[six]).unwrap();
    home.issue(&server, vec![(fact, body)]);
    home.namespace = photos.namespace.id;
    assert_eq!(home.missing(&server, &[], 4).unwrap(), [] as [u32; 0]);
    assert_eq!(code(home.missing(&server, &[], 5)), Code::Quota);
}

#[test]
fn oversized_requests_are_refused_with_a_problem() {
    let server = TestServer::new();
    server.add_user("ana");
    let laptop = server.link_as("ana");
    let post =
        |route: &str, bytes: usize| {
            code(server.web.json::<()>(|client| {
                laptop.request(client, &server, Method::POST, route).body(vec![0; bytes])
            }))
        };
    assert_eq!(post("batches", BATCHES_BYTES_MAX * 2), Code::TooLarge);
    assert_eq!(post("chunks", 10 << 20), Code::TooLarge);
    assert_eq!(post("chunks/missing", 4 << 20), Code::TooLarge);
    let link =
        server.web.json::<()>(|client| client.post(server.url("link")).body(vec![b' '; JSON_BYTES_MAX + 1]));
    assert_eq!(code(link), Code::TooLarge);
    assert_eq!(laptop.refused(&server, vec![0; 600 * 1024]).code, Code::BatchTooLarge);
    let refused = server.web.json::<()>(|client| client.get(server.url("nothing/here")));
    assert_eq!(code(refused), Code::NotFound);
}

// Roles.

#[test]
fn roles_are_judged_in_the_order_of_the_log() {
    let server = TestServer::new();
    server.add_user("ana");
    let bob = server.add_user("bob");
    let mut ana = server.link_as("ana");
    let grant = |user: UserId, role: Role| {
        (Fact::MemberGranted { user, role }, Some(Body { user_name: Some("bob".into()), ..Body::default() }))
    };
    ana.issue(&server, vec![grant(bob.user, Role::Viewer)]);
    let home = ana.namespace.to_hex();
    let mut guest = server.link_to(password("bob"), Some("ana/home")).unwrap();
    assert_eq!((guest.namespace.to_hex(), guest.linked.namespace.role), (home, Role::Viewer));
    guest.pull(&server);
    let edit = guest.sign(vec![folder("by bob")]);
    assert_eq!(guest.refused(&server, edit.bytes().to_vec()).code, Code::Forbidden);
    assert_eq!(code(guest.missing(&server, &[], 1)), Code::Forbidden);
    let seen = guest.sign(vec![(Fact::Acknowledged { seq: Seq(1) }, None)]);
    assert!(matches!(guest.submit(&server, &seen).unwrap(), BatchOutcome::Admitted { .. }));

    ana.issue(&server, vec![grant(bob.user, Role::Editor)]);
    guest.issue(&server, vec![folder("by bob")]);
    let greedy = guest.sign(vec![grant(bob.user, Role::Owner)]);
    assert_eq!(guest.refused(&server, greedy.bytes().to_vec()).code, Code::Forbidden);

    ana.issue(&server, vec![(Fact::MemberRevoked { user: bob.user }, None)]);
    let late = guest.sign(vec![folder("before he knew")]);
    assert_eq!(guest.refused(&server, late.bytes().to_vec()).code, Code::Forbidden);
    assert_eq!(code(guest.get_cbor::<Records>(&server, "records?after=0")), Code::UnknownNamespace);
    let members: Vec<Member> = ana.get_json(&server, "members").unwrap();
    assert_eq!(members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["ana"]);
}

#[test]
fn one_retires_ones_own_devices_and_an_owner_everybodys() {
    let server = TestServer::new();
    server.add_user("ana");
    let bob = server.add_user("bob");
    let mut ana = server.link_as("ana");
    let body = Body { user_name: Some("bob".into()), ..Body::default() };
    ana.issue(&server, vec![(Fact::MemberGranted { user: bob.user, role: Role::Editor }, Some(body))]);
    let guest = server.link_to(password("bob"), Some("ana/home")).unwrap();
    let retire = |by: &Device, which: annals_events::DeviceId| {
        let route = format!("devices/{which}/retire");
        server.web.bytes(|client| by.request(client, &server, Method::POST, &route)).map(drop)
    };
    assert_eq!(code(retire(&guest, ana.id())), Code::Forbidden);
    assert_eq!(code(retire(&ana, annals_events::DeviceId([9; 16]))), Code::UnknownDevice);
    let theirs: Vec<DeviceInfo> = guest.get_json(&server, "devices").unwrap();
    assert_eq!(theirs.iter().map(|info| info.device).collect::<Vec<_>>(), [guest.id()]);
    retire(&ana, guest.id()).unwrap();
    retire(&ana, guest.id()).unwrap();
    assert_eq!(code(guest.namespaces(&server)), Code::TokenRevoked);
}

// Cursors, restarts, history.

#[test]
fn a_cursor_of_another_history_is_noticed() {
    let server = TestServer::new();
    server.add_user("ana");
    let mut laptop = server.link_as("ana");
    laptop.issue(&server, vec![folder("a")]);
    let records = laptop.pull(&server);
    let last = records.last().unwrap();
    let (seq, chain, log) = (last.last_seq(), last.admission().chain, laptop.linked.server.log);
    let get = |query: String| laptop.get_cbor::<Records>(&server, &format!("records?{query}"));
    assert_eq!(get(format!("after={seq}&chain={chain}&epoch=0&log={log}")).unwrap().records.len(), 0);
    let first = records[0].last_seq();
    let first_chain = records[0].admission().chain;
    let rest = get(format!("after={first}&chain={first_chain}")).unwrap();
    assert_eq!(rest.records.len(), records.len() - 1);
    let one = get(format!("after={first}&chain={first_chain}&limit=1")).unwrap();
    assert_eq!(one.records.len(), 1);
    assert_eq!(code(get(format!("after={seq}&chain={}", Hash([1; 32])))), Code::ChainMismatch);
    assert_eq!(code(get(format!("after={seq}&chain={chain}&epoch=1"))), Code::ChainMismatch);
    assert_eq!(code(get(format!("after={}&chain={chain}", seq.0 + 5))), Code::ChainMismatch);
    assert_eq!(code(get(format!("after=0&log={}", "7".repeat(32)))), Code::OtherLog);
    assert_eq!(code(get("after=minus".into())), Code::BadRequest);
}

#[test]
fn a_restart_keeps_everything() {
    let mut server = TestServer::new();
    server.add_user("ana");
    let mut laptop = server.link_as("ana");
    let (fact, body, chunk) = file("notes", b"hello");
    laptop.send_chunks(&server, std::slice::from_ref(&chunk)).unwrap();
    let batch = laptop.sign(vec![(fact, body)]);
    laptop.submit(&server, &batch).unwrap();
    let ticket = laptop.ticket(&server).unwrap();
    let before = laptop.pull(&server);

    server.restart();
    assert_eq!(laptop.pull(&server), before);
    assert_eq!(laptop.get_chunks(&server, &[chunk.to_ref()]).unwrap().len(), 1);
    let again = laptop.submit_bytes(&server, batch.bytes().to_vec()).unwrap();
    assert!(matches!(again, BatchOutcome::AlreadyAdmitted { .. }));
    laptop.issue(&server, vec![folder("more")]);
    server.link(Credential::Ticket(ticket.code)).unwrap();
    assert_eq!(server.link_as("ana").namespace, laptop.namespace);
}

#[test]
fn what_a_kind_has_no_use_for_counts_for_nobody() {
    let mut server = TestServer::new();
    server.add_user("ana");
    let mut laptop = server.link_as("ana");
    let entry = EntryId(laptop.issue(&server, vec![folder("a")]));
    let (_, stray, _) = file("b", b"a content of which no chunk is anywhere");
    laptop.issue(&server, vec![(Fact::EntryMoved { entry, parent: EntryId::ROOT }, stray)]);
    server.serving.take().unwrap().stop().unwrap();
    let mut verify = std::process::Command::new(env!("CARGO_BIN_EXE_annals"));
    crate::place::said(verify.args(["verify", "--deep", "--data"]).arg(server.data.path().join("data"))).ok();
}

#[test]
fn a_file_tells_its_versions_and_what_it_held() {
    let server = TestServer::new();
    server.add_user("ana");
    let mut laptop = server.link_as("ana");
    let (fact, body, one) = file("notes", b"one");
    let (_, body2, two) = file("notes", b"two");
    laptop.send_chunks(&server, &[one, two.clone()]).unwrap();
    let entry = laptop.issue(&server, vec![(fact, body)]);
    let parents = [entry].into_iter().collect();
    let edit = Fact::VersionUploaded { entry: EntryId(entry), parents };
    let content = body2.as_ref().unwrap().content.clone();
    let second = laptop.issue(&server, vec![(edit, body2.map(|body| Body { name: None, ..body }))]);
    let versions: Vec<VersionInfo> = laptop.get_json(&server, &format!("entries/{entry}/versions")).unwrap();
    let heads: Vec<(Dot, bool)> = versions.iter().map(|version| (version.version, version.head)).collect();
    assert_eq!(heads, [(entry, false), (second, true)]);
    let at: Content =
        laptop.get_json(&server, &format!("entries/{entry}/versions/{second}/content")).unwrap();
    assert_eq!(Some(at), content);
    let nobody = Dot::new(laptop.id(), 99);
    let unknown = laptop.get_json::<Vec<VersionInfo>>(&server, &format!("entries/{nobody}/versions"));
    assert_eq!(code(unknown), Code::NotFound);
}

#[test]
fn a_clock_in_9999_leaves_room_for_everybody_else_and_one_in_10500_is_refused() {
    let server = TestServer::new();
    server.add_user("ana");
    let (mut laptop, mut phone) = (server.link_as("ana"), server.link_as("ana"));
    let far = |device: &Device, ms: u64| {
        let (fact, body) = folder("far");
        let hlc = annals_events::Hlc::at_ms(ms);
        let drafts = vec![annals_events::Draft { hlc, at: ms, fact, body }];
        let none = VersionVector::new();
        let unseen = annals_events::DotSet::new();
        Batch::sign(&device.key, device.namespace, 1, None, &none, &none, unseen, drafts).unwrap()
    };
    let year_10500 = 269_180_000_000_000;
    assert_eq!(laptop.refused(&server, far(&laptop, year_10500).bytes().to_vec()).code, Code::Clock);
    let last = far(&laptop, annals_events::Hlc::LAST_MS);
    assert!(matches!(laptop.submit(&server, &last).unwrap(), BatchOutcome::Admitted { .. }));
    phone.pull(&server);
    phone.issue(&server, vec![folder("after it")]);
    phone.issue(&server, vec![folder("and again")]);
    // The server itself goes on, too.
    server.link_as("ana");
}

// Starting.

#[test]
fn a_server_starts_only_where_it_should() {
    let server = TestServer::new();
    let (address, data) = (server.serving().address(), server.data.path().join("data"));
    let other = tempfile::tempdir().unwrap();
    let in_use = serve(Config { listen: address, ..Config::new(other.path().join("data")) });
    assert!(matches!(in_use, Err(ServeError::AddressInUse { .. })));
    assert!(matches!(serve(Config::new(&data)), Err(ServeError::Locked { .. })));

    let foreign = tempfile::tempdir().unwrap();
    std::fs::write(foreign.path().join("letter.txt"), "dear").unwrap();
    assert!(matches!(serve(Config::new(foreign.path())), Err(ServeError::Format { .. })));
    assert_eq!(std::fs::read_to_string(foreign.path().join("letter.txt")).unwrap(), "dear");
    let newer = tempfile::tempdir().unwrap();
    std::fs::write(newer.path().join("format"), "annals data 2\nlog 00\n").unwrap();
    match serve(Config::new(newer.path())) {
        Err(error @ ServeError::Format { .. }) => {
            assert!(error.to_string().contains("annals data 2"), "{error}")
        }
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn secrets_are_for_the_owner_alone_and_the_log_holds_none() {
    use std::os::unix::fs::PermissionsExt;
    let mut server = TestServer::new();
    server.add_user("ana");
    let laptop = server.link_as("ana");
    let ticket = laptop.ticket(&server).unwrap();
    server.serving.take().unwrap().stop().unwrap();
    let data = server.data.path().join("data");
    for name in ["server.key", "admin.token", "format"] {
        let mode = std::fs::metadata(data.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let mut log = Vec::new();
    for entry in std::fs::read_dir(data.join("log/segments")).unwrap() {
        log.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let secret = annals_engine::protocol::normal_ticket(&ticket.code).unwrap();
    let token = laptop.linked.token;
    for secret in [PASSWORD.as_bytes(), token.as_bytes(), ticket.code.as_bytes(), &secret] {
        assert!(!log.windows(secret.len()).any(|window| window == secret));
    }
    assert!(log.windows(9).any(|window| window == b"$argon2id"));
}

#[test]
fn the_interface_is_described_and_healthy() {
    let server = TestServer::new();
    let healthz = format!("{}/healthz", server.serving().url());
    assert_eq!(server.web.bytes(|client| client.get(healthz)).unwrap(), b"ok\n");
    let described: serde_json::Value =
        server.web.json(|client| client.get(server.url("openapi.json"))).unwrap();
    let paths = described["paths"].as_object().unwrap();
    for path in ["/v1/link", "/v1/namespaces/{namespace}/records", "/v1/namespaces/{namespace}/chunks/get"] {
        assert!(paths.contains_key(path), "{path}");
    }
}
