//! Who waits for little does not wait for much: what somebody needs goes first, also while something large is on its way.

use crate::{
    place::{Place, Running, until},
    wire::Wire,
};
use annals::clock::SystemClock;
use annals_engine::clock::Clock as _;
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

const MB: usize = 1 << 20;

/// A file of so many bytes that do not compress, not touched lately.
fn write_large(place: &Place, path: &str, bytes: usize) {
    let mut state = path.bytes().fold(1_u64, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    // It comes whole: what changes while it is read is said to be written.
    let made = place.path("made");
    fs::write(&made, (0..bytes).map(|_| next()).collect::<Vec<u8>>()).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().append(true).open(&made).unwrap().set_modified(long_ago).unwrap();
    fs::rename(made, place.path(path)).unwrap();
}

/// Two linked folders; what `one` sends goes slowly, at that rate.
fn slowly(rate: &str) -> Place {
    let place = linked();
    place.annals(&["sync", "one", "--limit-rate", rate]).ok();
    place
}

/// Two linked folders.
fn linked() -> Place {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    place.link("ada", "two");
    place.sync_all(&["one", "two"]);
    place
}

/// Two linked folders, and a third one, `far`, that a daemon keeps over a slow wire, which is counted from here on.
fn with_one_far() -> (Place, Wire, Running) {
    let mut place = linked();
    let wire = Wire::to(&place.url);
    place.url = wire.url.clone();
    place.link("ada", "far");
    place.sync("far").ok();
    place.annals(&["sync", "far", "--limit-rate", "1MB"]).ok();
    let mut daemon = place.start(&["sync", "far"]);
    daemon.says("in sync");
    wire.bytes();
    (place, wire, daemon)
}

/// How long ago a file was changed or moved.
fn changed_ago(path: &Path) -> Duration {
    let changed = fs::metadata(path).unwrap();
    Duration::from_millis(SystemClock.now_ms())
        .saturating_sub(Duration::new(changed.ctime() as u64, changed.ctime_nsec() as u32))
}

/// Whether it is on its way in a folder.
fn moves(place: &Place, folder: &str, path: &str) -> bool {
    let said = place.status(folder);
    said["moving"]["path"] == path && said["moving"]["bytes_per_second"].as_u64() > Some(0)
}

fn has(place: &Place, path: &str) -> bool {
    place.sync("two").ok();
    place.exists(&format!("two/{path}"))
}

#[test]
fn a_small_save_does_not_wait_for_a_large_file_that_is_on_its_way() {
    // On a busy machine, too, what is small is there before the large one can be.
    let place = slowly("500kB");
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
    // What was written down in the middle of a save holds until the next round.
    until("nothing is said to be written", || {
        !place.annals(&["status", "one"]).ok().out.contains("being written")
    });
    assert!(!has(&place, "film.iso"));
    place.annals(&["sync", "one", "--limit-rate", "off"]).ok();
    until("the large one follows", || has(&place, "film.iso"));
    assert_eq!(place.tree("one"), place.tree("two"));
    assert_eq!(daemon.ends("INT"), Some(0));
}

#[test]
fn what_is_asked_for_beside_a_daemon_is_handed_to_it_and_goes_next() {
    let place = slowly("4MB");
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
    place.annals(&["sync", "one", "--first", "one/d.iso"]).fails(2, "d.iso is not known here");
    place.annals(&["sync", "one", "--first", "one/c.iso"]).ok();
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
    let place = slowly("4MB");
    write_large(&place, "one/a.iso", 24 * MB);
    place.annals(&["sync", "one", "--limit-rate", "off"]).ok();
    place.write("one/z.txt", "small");
    place.sync("one").ok();
    place.annals(&["sync", "two", "--limit-rate", "1MB"]).ok();
    let syncing = place.start(&["sync", "two", "--once"]);
    until("the small one is there", || place.exists("two/z.txt"));
    assert!(!place.exists("two/a.iso"));
    drop(syncing);
}

#[test]
fn whatever_its_size_what_is_on_its_way_gives_way_to_what_is_small_and_goes_only_once() {
    let (place, wire, daemon) = with_one_far();
    write_large(&place, "far/plan.odt", 12 * MB);
    until("the large one is on its way", || moves(&place, "far", "plan.odt"));
    let read = daemon.read_bytes();
    for nth in 0..5 {
        let name = format!("{nth}.txt");
        place.write(&format!("far/{name}"), "needed now");
        until("the small one is there", || has(&place, &name));
        assert!(!place.exists("two/plan.odt"), "{name} went after the large one");
    }
    place.annals(&["sync", "far", "--limit-rate", "off"]).ok();
    until("the large one follows", || has(&place, "plan.odt"));
    let (sent, _) = wire.bytes();
    assert!(sent < 13 * MB as u64, "{sent} bytes of 12 MiB were sent");
    let read = daemon.read_bytes() - read;
    assert!(read < 20 * MB as u64, "{read} bytes were read of 12 MiB that are known");
    assert_eq!(daemon.ends("INT"), Some(0));
}

#[test]
fn what_is_saved_is_read_once_between_its_naming_and_its_sending() {
    let place = linked();
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    for name in ["a.odt", "b.odt", "c.odt"] {
        write_large(&place, name, 1_000_000);
        until("nothing is left to do", || place.status("one")["state"] == "idle");
        let read = daemon.read_bytes();
        // What is looked at while it is saved is looked at once more.
        daemon.signal("STOP");
        let path = place.path(&format!("one/{name}"));
        fs::rename(place.path(name), &path).unwrap();
        until("a change would show", || changed_ago(&path) > Duration::from_millis(50));
        daemon.signal("CONT");
        until("it is sent", || has(&place, name));
        let read = daemon.read_bytes() - read;
        assert!((1_000_000..1_500_000).contains(&read), "{name}: {read} bytes were read of 1,000,000");
    }
    assert_eq!(daemon.ends("INT"), Some(0));
}

#[test]
fn what_is_fetched_gives_way_in_both_directions_and_comes_only_once() {
    let (place, wire, daemon) = with_one_far();
    write_large(&place, "one/film.iso", 40 * MB);
    place.sync("one").ok();
    until("the large one is on its way", || moves(&place, "far", "film.iso"));
    place.write("one/note.txt", "needed there");
    place.sync("one").ok();
    until("what is small comes first", || place.exists("far/note.txt"));
    place.write("far/answer.txt", "needed here");
    until("what is saved meanwhile is sent", || has(&place, "answer.txt"));
    assert!(!place.exists("far/film.iso"));
    place.annals(&["sync", "far", "--limit-rate", "off"]).ok();
    until("the large one is whole", || place.exists("far/film.iso"));
    let (_, received) = wire.bytes();
    assert!(received < 42 * MB as u64, "{received} bytes of 40 MiB came");
    let held = |folder: &str| fs::read(place.path(&format!("{folder}/film.iso"))).unwrap();
    assert!(held("one") == held("far"));
    assert_eq!(daemon.ends("INT"), Some(0));
}

#[test]
fn each_file_is_seen_when_it_is_whole_and_not_when_all_are() {
    let place = linked();
    place.annals(&["sync", "one", "--limit-rate", "2MB"]).ok();
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    let mut far = place.start(&["sync", "two"]);
    far.says("in sync");
    let names = ["a", "b", "c", "d"];
    names.iter().for_each(|name| write_large(&place, &format!("one/{name}.odt"), 3 * MB));
    let there = || names.iter().filter(|name| place.exists(&format!("two/{name}.odt"))).count();
    let mut seen = 0;
    until("one is there", || {
        seen = there();
        seen > 0
    });
    assert!(seen < names.len(), "they did not come all at once");
    assert_eq!((far.ends("INT"), daemon.ends("INT")), (Some(0), Some(0)));
}

#[test]
fn who_asks_a_daemon_is_answered_while_something_large_moves() {
    let place = linked();
    place.write("one/a.txt", "another text");
    place.sync_all(&["one", "two"]);
    place.annals(&["sync", "one", "--limit-rate", "500kB"]).ok();
    place.annals(&["sync", "two", "--limit-rate", "500kB"]).ok();
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    write_large(&place, "one/film.iso", 24 * MB);
    until("something large is on its way", || moves(&place, "one", "film.iso"));
    let versions = place.json(&["history", "one/a.txt", "--json"]);
    let first = versions[1]["version"].as_str().unwrap().to_owned();
    assert_eq!(place.annals(&["cat", "one/a.txt", "--version", &first]).ok().out, "text");
    place.annals(&["restore", "one/a.txt", "--version", &first]).ok();
    until("it is restored", || place.read("one/a.txt") == "text");
    place.annals(&["tag", "one/a.txt", "+draft"]).ok();
    place.annals(&["sync", "one", "--first", "one/a.txt"]).ok();
    place.annals(&["sync", "one", "--pause"]).ok();
    until("nothing moves", || place.status("one")["moving"].is_null());
    let status = place.annals(&["status", "one"]).ok().out;
    assert!(status.contains("paused") && !status.contains("in the way"), "{status}");
    place.annals(&["sync", "one", "--resume"]).ok();
    until("it goes on", || moves(&place, "one", "film.iso"));
    assert!(!has(&place, "film.iso"), "nobody waited for all of it");
    assert_eq!(daemon.ends("INT"), Some(0));
    daemon = place.start(&["sync", "two"]);
    daemon.says("in sync");
    place.annals(&["sync", "one", "--limit-rate", "off"]).ok();
    place.sync("one").ok();
    until("something large comes", || moves(&place, "two", "film.iso"));
    place.annals(&["sync", "two", "--pause"]).ok();
    until("nothing moves", || place.status("two")["moving"].is_null());
    let status = place.annals(&["status", "two"]).ok().out;
    assert!(status.contains("paused") && !status.contains("in the way"), "{status}");
    assert_eq!(daemon.ends("INT"), Some(0));
}

#[test]
fn what_was_saved_offline_goes_in_turns_and_says_how_far_it_is() {
    let (mut place, wire, daemon) = with_one_far();
    place.url = place.status("one")["server"].as_str().unwrap().to_owned();
    place.stop_server();
    place.write("far/plan.txt", "the first plan");
    until("it is kept", || place.status("far")["pending_events"] == 1);
    write_large(&place, "far/film.iso", 12 * MB);
    until("it is kept as well", || place.status("far")["pending_events"] == 2);
    place.write("far/plan.txt", "the second plan, which is longer");
    until("all of it is kept", || place.status("far")["pending_events"] == 3);
    let status = place.status("far");
    assert_eq!((&status["state"], &status["waits_for"]), (&"offline".into(), &"server".into()), "{status}");
    assert!(status["pending_bytes"].as_u64() > Some(11 * MB as u64), "{status}");
    place.serve();
    until("what is large is on its way", || moves(&place, "far", "film.iso"));
    let status = place.status("far");
    assert_eq!(status["last_error"], serde_json::Value::Null, "{status}");
    assert!(status["state"] == "syncing" && status["offline_since"].is_null(), "{status}");
    assert!(status["moving"]["seconds_left"].as_u64() > Some(0), "{status}");
    assert!(
        has(&place, "plan.txt") && place.read("two/plan.txt").starts_with("the second"),
        "small things were first"
    );
    for name in ["note.txt", "another.txt"] {
        place.write(&format!("far/{name}"), "needed now");
        until("the small one is there", || has(&place, name));
        assert!(!place.exists("two/film.iso"), "{name} went after what was saved before");
    }
    place.annals(&["tag", "far/a.txt", "+draft"]).ok();
    let tagged = || place.annals(&["log", "one", "--json"]).out.contains("attributes_changed");
    until("the tag is there", || {
        place.sync("one").ok();
        tagged()
    });
    assert!(!has(&place, "film.iso"), "a command waited for what was saved before");
    place.annals(&["sync", "far", "--pause"]).ok();
    until("nothing moves", || place.status("far")["moving"].is_null());
    let status = place.status("far");
    let left = status["pending_bytes"].as_u64().unwrap();
    assert!((1..12 * MB as u64).contains(&left), "{left} bytes of 12 MiB are left: {status}");
    place.annals(&["sync", "far", "--limit-rate", "off"]).ok();
    place.annals(&["sync", "far", "--resume"]).ok();
    until("the large one follows", || has(&place, "film.iso"));
    let (sent, _) = wire.bytes();
    assert!(sent < 13 * MB as u64, "{sent} bytes of 12 MiB were sent");
    let versions = place.json(&["history", "two/plan.txt", "--json"]);
    let sizes: Vec<u64> =
        versions.as_array().unwrap().iter().filter_map(|line| line["bytes"].as_u64()).collect();
    assert_eq!(sizes, [32, 14], "{versions}");
    until("everything is there", || place.status("far")["state"] == "idle");
    assert_eq!(place.tree("far"), place.tree("two"));
    assert_eq!(daemon.ends("INT"), Some(0));
}

#[test]
fn what_is_not_read_or_fetched_yet_is_counted_while_nothing_moves() {
    let (place, _wire, daemon) = with_one_far();
    write_large(&place, "far/film.iso", 12 * MB);
    until("it is on its way", || moves(&place, "far", "film.iso"));
    place.annals(&["sync", "far", "--pause"]).ok();
    until("nothing moves", || place.status("far")["moving"].is_null());
    let status = place.status("far");
    assert!(status["pending_bytes"].as_u64() > Some(0), "{status}");
    let said = place.annals(&["status", "far"]).ok().out;
    assert!(said.contains("waiting to be sent: 1 "), "{said}");
    place.annals(&["sync", "far", "--limit-rate", "off"]).ok();
    place.annals(&["sync", "far", "--resume"]).ok();
    until("it is there", || has(&place, "film.iso"));
    until("all is well", || place.status("far")["state"] == "idle");
    assert_eq!(place.status("far")["pending_bytes"], 0);
    place.annals(&["sync", "far", "--limit-rate", "1MB"]).ok();
    write_large(&place, "one/other.iso", 12 * MB);
    place.sync("one").ok();
    until("it comes", || moves(&place, "far", "other.iso"));
    assert!(place.status("far")["moving"]["seconds_left"].as_u64() > Some(0));
    place.annals(&["sync", "far", "--pause"]).ok();
    until("nothing moves", || place.status("far")["moving"].is_null());
    let status = place.status("far");
    assert_eq!(
        (&status["incoming_files"], &status["incoming_bytes"]),
        (&1.into(), &(12 * MB).into()),
        "{status}"
    );
    let said = place.annals(&["status", "far"]).ok().out;
    assert!(said.contains("waiting to be fetched: 1 file, ") && said.contains("--resume"), "{said}");
    assert_eq!(daemon.ends("INT"), Some(0));
}
