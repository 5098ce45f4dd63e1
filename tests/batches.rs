//! Batches as a server takes them: once, in order, signed, and nothing else.

use crate::support::*;
use annals_engine::protocol::{BatchOutcome, Code};
use annals_events::{Batch, EntryId, Fact, Name, VersionVector};

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
