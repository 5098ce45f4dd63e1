//! What nothing needs any more is collected, and nothing else, whoever is in the middle of what.

use crate::{
    place::Place,
    support::{Device, NOW_MS, StillClock, TestServer, file},
};
use annals::actors::collecting::{Collected, collect};
use annals_engine::{content::SealedChunk, protocol::BatchOutcome};
use annals_events::{Body, Content, Cut, Dot, DotSet, EntryId, Fact};
use std::sync::atomic::{AtomicBool, Ordering};

const HOUR_MS: u64 = 60 * 60 * 1000;

fn collected(server: &TestServer, grace_ms: u64) -> Collected {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(collect(server.serving().node(), grace_ms, false)).unwrap()
}

fn is_stored(server: &TestServer, chunk: &SealedChunk) -> bool {
    server.serving().chunks().contains(&chunk.id).unwrap()
}

/// A server whose clock is moved by hand, and a device.
fn with_a_device() -> (StillClock, TestServer, Device) {
    let clock = StillClock::default();
    clock.set(NOW_MS);
    let server = TestServer::by(&clock);
    server.add_user("ada");
    let mut device = server.link_as("ada");
    device.pull(&server);
    (clock, server, device)
}

/// The version that replaces `parent`, with this chunk.
fn version(entry: Dot, parent: Dot, chunk: &SealedChunk) -> (Fact, Option<Body>) {
    let (content, _) = Content::new(Cut::SMALL, vec![chunk.to_ref()]);
    let fact = Fact::VersionUploaded { entry: EntryId(entry), parents: DotSet::from_iter([parent]) };
    (fact, Some(Body { content: Some(content), ..Body::default() }))
}

/// A file whose first version has expired by the owner's own word: its dot, that of the second, and both chunks.
fn with_an_expired_version(server: &TestServer, device: &mut Device) -> (Dot, Dot, SealedChunk, SealedChunk) {
    let (create, body, first) = file("a", b"the first text");
    let (_, _, second) = file("a", b"the second text");
    device.send_chunks(server, &[first.clone(), second.clone()]).unwrap();
    let created = device.issue(server, vec![(create, body)]);
    let edit = device.issue(server, vec![version(created, created, &second)]);
    let seq = device.pull(server).last().unwrap().last_seq();
    device.issue(server, vec![(Fact::Acknowledged { seq }, None)]);
    let versions = DotSet::from_iter([created]);
    device.issue(server, vec![(Fact::VersionsExpired { versions }, None)]);
    (created, edit, first, second)
}

#[test]
fn nothing_goes_while_somebody_is_in_the_middle_of_an_upload() {
    let (clock, server, mut device) = with_a_device();
    let (_, _, first, _) = with_an_expired_version(&server, &mut device);
    assert_eq!(collected(&server, HOUR_MS).freed.chunks, 0);
    clock.set(NOW_MS + HOUR_MS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = server.serving().node();
    let (collected, ()) = runtime.block_on(async {
        let upload = node.uploads.read().await;
        let uploading = async {
            // Who comes after one that waits to be alone waits as well.
            while node.uploads.try_read().is_ok() {
                assert!(is_stored(&server, &first));
                tokio::task::yield_now().await;
            }
            assert!(is_stored(&server, &first));
            drop(upload);
        };
        tokio::join!(collect(node, HOUR_MS, false), uploading)
    });
    assert_eq!(collected.unwrap().freed.chunks, 1);
    assert!(!is_stored(&server, &first));
}

#[test]
fn a_chunk_goes_when_nothing_needed_it_for_the_grace_period_and_not_before() {
    let (clock, mut server, mut device) = with_a_device();
    let (_, _, first, second) = with_an_expired_version(&server, &mut device);
    assert_eq!(collected(&server, HOUR_MS).freed.chunks, 0);
    clock.set(NOW_MS + HOUR_MS - 1);
    let waiting = collected(&server, HOUR_MS);
    assert_eq!((waiting.freed.chunks, waiting.waiting.chunks), (0, 1));
    assert!(is_stored(&server, &first));
    // Since when it is garbage outlives the server.
    server.restart_by(&clock);
    clock.set(NOW_MS + HOUR_MS);
    let gone = collected(&server, HOUR_MS);
    assert_eq!((gone.freed.chunks, gone.waiting.chunks), (1, 0));
    assert_eq!(gone.freed.plain_bytes, 14);
    assert!(!is_stored(&server, &first) && is_stored(&server, &second));
    assert_eq!(device.get_chunks(&server, &[second.to_ref()]).unwrap(), [second]);
}

#[test]
fn what_was_sent_and_no_event_names_yet_stays_whatever_the_grace() {
    let (_, server, mut device) = with_a_device();
    let (create, body, chunk) = file("a", b"sent, and named after the collection");
    device.send_chunks(&server, std::slice::from_ref(&chunk)).unwrap();
    let kept = collected(&server, 0);
    assert_eq!((kept.freed.chunks, kept.waiting.chunks, kept.sent.chunks), (0, 0, 1), "and that is said");
    device.issue(&server, vec![(create, body)]);
    let kept = collected(&server, 0);
    assert_eq!((kept.freed.chunks, kept.sent.chunks), (0, 0));
    assert!(is_stored(&server, &chunk));
}

#[test]
fn who_was_told_that_a_chunk_need_not_be_sent_may_rely_on_it() {
    let (clock, server, mut device) = with_a_device();
    let (create, body, old) = file("a", b"an old text that comes again");
    let (_, _, new) = file("a", b"what replaced it");
    device.send_chunks(&server, &[old.clone(), new.clone()]).unwrap();
    let created = device.issue(&server, vec![(create, body)]);
    let edit = device.issue(&server, vec![version(created, created, &new)]);
    let seq = device.pull(&server).last().unwrap().last_seq();
    device.issue(&server, vec![(Fact::Acknowledged { seq }, None)]);
    // Asked while it is needed, expired in between, looked at by a collection: it is there when it is named.
    assert!(device.missing(&server, &[old.to_ref()], 0).unwrap().is_empty());
    let versions = DotSet::from_iter([created]);
    device.issue(&server, vec![(Fact::VersionsExpired { versions }, None)]);
    assert_eq!(collected(&server, HOUR_MS).waiting.chunks, 1);
    clock.set(NOW_MS + HOUR_MS - 1);
    collected(&server, HOUR_MS);
    let again = device.sign(vec![version(created, edit, &old)]);
    assert!(matches!(device.submit(&server, &again).unwrap(), BatchOutcome::Admitted { .. }));
    clock.set(NOW_MS + 9 * HOUR_MS);
    assert_eq!(collected(&server, HOUR_MS).freed.chunks, 0);
    assert!(is_stored(&server, &old));
}

#[test]
fn who_asks_when_it_is_garbage_sends_it_again_and_it_stays() {
    let (_, server, mut device) = with_a_device();
    let (created, edit, first, _) = with_an_expired_version(&server, &mut device);
    for collect_before in [false, true] {
        if collect_before {
            collected(&server, 0);
        }
        assert_eq!(device.missing(&server, &[first.to_ref()], 0).unwrap(), [0]);
    }
    // A batch that names it all the same is told what to send.
    let again = device.sign(vec![version(created, edit, &first)]);
    let refused = device.refused(&server, again.bytes().to_vec());
    assert_eq!(refused.chunks, [first.id]);
    device.send_chunks(&server, std::slice::from_ref(&first)).unwrap();
    assert_eq!(collected(&server, 0).freed.chunks, 0);
    assert!(matches!(device.submit(&server, &again).unwrap(), BatchOutcome::Admitted { .. }));
    assert_eq!(collected(&server, 0).freed.chunks, 0);
    assert!(is_stored(&server, &first));
}

#[test]
fn uploads_and_collections_at_once_never_leave_an_event_without_its_chunks() {
    let (_, server, mut device) = with_a_device();
    let (mut created, mut last) = (None, None);
    let (server, done) = (&server, &AtomicBool::new(false));
    std::thread::scope(|scope| {
        let collecting = scope.spawn(move || {
            let mut freed = 0;
            while !done.load(Ordering::SeqCst) {
                freed += collected(server, 0).freed.chunks;
            }
            freed + collected(server, 0).freed.chunks
        });
        // The same two texts in turn, each expired as soon as it was replaced.
        for round in 0..30_u8 {
            let (create, body, chunk) = file("a", &[round % 2; 50]);
            let facts = match (created, last) {
                (Some(entry), Some(parent)) => vec![version(entry, parent, &chunk)],
                _ => vec![(create, body)],
            };
            let batch = device.sign(facts);
            while !matches!(device.submit(server, &batch).unwrap(), BatchOutcome::Admitted { .. }) {
                device.send_chunks(server, std::slice::from_ref(&chunk)).unwrap();
            }
            assert!(is_stored(server, &chunk), "round {round}");
            let seq = device.pull(server).last().unwrap().last_seq();
            device.issue(server, vec![(Fact::Acknowledged { seq }, None)]);
            if let Some(replaced) = last {
                let versions = DotSet::from_iter([replaced]);
                device.issue(server, vec![(Fact::VersionsExpired { versions }, None)]);
            }
            assert!(is_stored(server, &chunk), "round {round}");
            created = created.or(Some(batch.dot(0)));
            last = Some(batch.dot(0));
        }
        done.store(true, Ordering::SeqCst);
        assert!(collecting.join().unwrap() > 0);
    });
}

#[test]
fn a_large_file_is_collected_with_its_manifest_and_what_another_one_lists_stays() {
    let (_, server, mut device) = with_a_device();
    let chunk = |n: u8| SealedChunk::seal(vec![n; 40]);
    let large = |chunks: Vec<SealedChunk>| {
        let (content, manifest) = Content::new(Cut::SMALL, chunks.iter().map(SealedChunk::to_ref).collect());
        let manifest = SealedChunk::seal(manifest.unwrap());
        (content, [chunks, vec![manifest]].concat())
    };
    let (one, all_of_one) = large((0..100).map(chunk).collect());
    let (two, all_of_two) = large((50..150).map(chunk).collect());
    device.send_chunks(&server, &all_of_one).unwrap();
    device.send_chunks(&server, &all_of_two).unwrap();
    let (create, body, _) = file("a", b"x");
    let created = device.issue(&server, vec![(create, body.map(|body| Body { content: Some(one), ..body }))]);
    let parents = DotSet::from_iter([created]);
    let upload = Fact::VersionUploaded { entry: EntryId(created), parents };
    device.issue(&server, vec![(upload, Some(Body { content: Some(two), ..Body::default() }))]);
    assert_eq!(collected(&server, 0).freed.chunks, 0);
    let seq = device.pull(&server).last().unwrap().last_seq();
    device.issue(&server, vec![(Fact::Acknowledged { seq }, None)]);
    let versions = DotSet::from_iter([created]);
    device.issue(&server, vec![(Fact::VersionsExpired { versions }, None)]);
    assert_eq!(collected(&server, 0).freed.chunks, 51);
    all_of_two.iter().for_each(|chunk| assert!(is_stored(&server, chunk)));
    let listed: Vec<_> = all_of_one.iter().map(SealedChunk::to_ref).collect();
    assert_eq!(device.missing(&server, &listed[..50], 0).unwrap().len(), 50, "what went has to be sent");
}

#[test]
fn emptied_trash_gives_its_room_back_on_a_running_and_on_a_stopped_server() {
    let mut place = Place::with_server();
    let text = |n: usize| (0..150).map(|line| format!("{n} {line} {}\n", line * line)).collect::<String>();
    (0..20).for_each(|n| place.write(&format!("one/{n}.txt"), &text(n)));
    place.link("ada", "one");
    (0..15).for_each(|n| place.remove(&format!("one/{n}.txt")));
    place.annals(&["sync", "one", "--once", "--accept-deletes"]).ok();
    place.annals(&["trash", "empty", "one", "--yes"]).ok();
    let gc = |place: &Place, more: &[&str]| {
        place.json(&[&["gc", "--data", "server", "--json", "--grace", "0s"], more].concat())
    };
    let would = gc(&place, &["--dry-run"]);
    assert_eq!((&would["chunks"], &would["dry_run"]), (&15.into(), &true.into()), "{would}");
    let done = gc(&place, &[]);
    assert_eq!((&done["chunks"], &done["bytes"]), (&15.into(), &would["bytes"]), "{done}");
    assert!(
        done["pack_bytes_after"].as_u64().unwrap() * 2 < done["pack_bytes_before"].as_u64().unwrap(),
        "{done}"
    );
    for deep in [&[][..], &["--deep"]] {
        place.annals(&[&["verify", "--data", "server"], deep].concat()).ok();
    }
    // Stopped: nothing is served meanwhile, and what is left is whole.
    (15..19).for_each(|n| place.remove(&format!("one/{n}.txt")));
    place.annals(&["sync", "one", "--once", "--accept-deletes"]).ok();
    place.annals(&["trash", "empty", "one", "--yes"]).ok();
    place.stop_server();
    assert_eq!(gc(&place, &[])["chunks"], 4);
    assert!(place.annals(&["gc", "--data", "server"]).ok().out.contains("collected: 0 chunks"));
    for deep in [&[][..], &["--deep"]] {
        place.annals(&[&["verify", "--data", "server"], deep].concat()).ok();
    }
    place.serve();
    place.link("ada", "two");
    assert_eq!(place.tree("one"), place.tree("two"));
    place.annals(&["gc", "--data", "one"]).fails(2, "no server's data");
}
