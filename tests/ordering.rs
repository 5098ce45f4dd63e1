//! Who waits for little does not wait for much: what somebody needs goes first, also while something large is on its way.

use crate::place::{Place, until};
use std::fs;

const MB: usize = 1 << 20;

/// A file of so many bytes that do not compress, not touched lately.
fn write_large(place: &Place, path: &str, bytes: usize) {
    let mut state = path.bytes().fold(1_u64, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let path = place.path(path);
    fs::write(&path, (0..bytes).map(|_| next()).collect::<Vec<u8>>()).unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::options().append(true).open(path).unwrap().set_modified(long_ago).unwrap();
}

/// Two linked folders; what `one` sends goes slowly.
fn slowly() -> Place {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    place.link("ada", "two");
    place.annals(&["sync", "one", "--limit-rate", "4MB"]).ok();
    place
}

fn has(place: &Place, path: &str) -> bool {
    place.sync("two").ok();
    place.exists(&format!("two/{path}"))
}

#[test]
fn a_small_save_does_not_wait_for_a_large_file_that_is_on_its_way() {
    let place = slowly();
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    write_large(&place, "one/film.iso", 48 * MB);
    until("the large one is on its way", || {
        let said = place.status("one");
        said["moving"]["path"] == "film.iso" && said["moving"]["bytes_per_second"].as_u64() > Some(0)
    });
    for name in ["note.txt", "another.txt"] {
        place.write(&format!("one/{name}"), "needed now");
        until("the small one is there", || has(&place, name));
        assert!(!place.exists("two/film.iso"), "{name} went after the large one");
    }
    let text = place.annals(&["status", "one"]).ok().out;
    assert!(!text.contains("being written"), "{text}");
    until("the large one follows", || has(&place, "film.iso"));
    assert_eq!(place.tree("one"), place.tree("two"));
    assert_eq!(daemon.ends("INT"), Some(0));
}

#[test]
fn what_is_asked_for_beside_a_daemon_is_handed_to_it_and_goes_next() {
    let place = slowly();
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    write_large(&place, "one/a.iso", 40 * MB);
    until("the first one is on its way", || place.status("one")["moving"]["path"] == "a.iso");
    for name in ["b.iso", "c.iso"] {
        write_large(&place, &format!("one/{name}"), 20 * MB);
    }
    place.annals(&["sync", "one"]).fails(1, "in use");
    let said = place.annals(&["sync", "one", "--first", "one/c.iso"]).ok();
    assert!(said.err.contains("takes this first"), "{}", said.err);
    until("one of them is there", || has(&place, "c.iso") || has(&place, "b.iso"));
    assert!(place.exists("two/c.iso") && !place.exists("two/b.iso"), "{:?}", fs::read_dir(place.path("two")));
    assert!(!place.exists("two/a.iso"), "what was begun gave way");
}

#[test]
fn what_is_meant_beside_a_daemon_is_done_by_it() {
    let place = Place::with_server();
    (0..60).for_each(|n| place.write(&format!("one/{n}.txt"), "text"));
    place.link("ada", "one");
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    (0..60).for_each(|n| place.remove(&format!("one/{n}.txt")));
    until("a person has to look", || place.status("one")["state"] == "attention");
    place.annals(&["sync", "one", "--accept-deletes"]).ok();
    until("everything is well", || place.status("one")["state"] == "idle");
    assert_eq!(daemon.ends("INT"), Some(0));
}

#[test]
fn what_is_small_is_written_before_what_is_large() {
    let place = slowly();
    write_large(&place, "one/a.iso", 24 * MB);
    place.annals(&["sync", "one", "--limit-rate", "off"]).ok();
    place.write("one/z.txt", "small");
    place.sync("one").ok();
    place.annals(&["sync", "two", "--limit-rate", "4MB"]).ok();
    let syncing = place.start(&["sync", "two", "--once"]);
    until("the small one is there", || place.exists("two/z.txt"));
    assert!(!place.exists("two/a.iso"));
    drop(syncing);
}
