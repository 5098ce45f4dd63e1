//! What in a folder cannot be synced, replaced or read: it is said once, and everything else goes on.

use crate::place::Place;
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, process::Command};

fn pipe(place: &Place, path: &str) {
    fs::create_dir_all(place.path(path).parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(place.path(path)).status().unwrap().success());
}

#[test]
fn a_pipe_where_a_file_is_to_come_is_named_and_stops_nothing_else() {
    let place = Place::with_server();
    place.write("one/goes/file", "is removed on one");
    place.link("ada", "one");
    place.link("ada", "two");
    pipe(&place, "two/report");
    pipe(&place, "two/goes/pipe");
    place.write("one/report", "from one");
    place.write("one/sub/more", "more");
    place.remove("one/goes");
    place.sync("one").ok();
    for _ in 0..2 {
        let said = place.sync("two").fails(3, "is in the way");
        assert!(said.err.contains("goes/pipe") || said.err.contains("report"), "{}", said.err);
        assert_eq!(place.read("two/sub/more"), "more");
        assert!(!place.exists("two/goes/file"), "what can go goes");
        let status = place.annals(&["status", "two"]).exits(3).out;
        assert!(status.starts_with("attention"), "{status}");
        assert!(status.contains("goes/pipe") && status.contains("report"), "{status}");
    }
    fs::remove_file(place.path("two/goes/pipe")).unwrap();
    fs::remove_file(place.path("two/report")).unwrap();
    place.sync("two").ok();
    assert_eq!(place.tree("two"), place.tree("one"));
    assert_eq!(place.status("two")["state"], "idle");
}

#[test]
fn a_symlink_says_bytes_and_they_travel_as_they_are() {
    let place = Place::with_server();
    let target = OsStr::from_bytes(b"no\xff/text");
    fs::create_dir_all(place.path("one")).unwrap();
    std::os::unix::fs::symlink(target, place.path("one/link")).unwrap();
    place.link("ada", "one");
    place.link("ada", "two");
    assert_eq!(fs::read_link(place.path("two/link")).unwrap(), target);
    let other = OsStr::from_bytes(b"\xfe");
    fs::remove_file(place.path("two/link")).unwrap();
    std::os::unix::fs::symlink(other, place.path("two/link")).unwrap();
    place.sync_all(&["two", "one"]);
    assert_eq!(fs::read_link(place.path("one/link")).unwrap(), other);
    assert_eq!(place.json(&["sync", "one", "--once", "--json"])["events_sent"], 0);
}

#[test]
fn what_cannot_be_read_is_listed_once_and_not_taken_for_deleted() {
    let place = Place::of_a_person();
    for path in ["secret", "closed/a", "closed/b", "open"] {
        place.write(&format!("one/{path}"), "text");
    }
    place.hand_over("one");
    place.link("ada", "one");
    place.link("ada", "two");
    place.chmod("one/secret", 0);
    place.chmod("one/closed", 0);
    place.write("one/new and closed", "");
    place.hand_over("one/new and closed");
    place.chmod("one/new and closed", 0);
    place.write("one/open", "edited");
    for _ in 0..2 {
        let said = place.sync("one").ok();
        for path in ["secret", "closed", "new and closed"] {
            let named = |line: &&str| line.contains(&format!("not synced: {path} ("));
            assert_eq!(said.err.lines().filter(named).count(), 1, "{path}: {}", said.err);
        }
    }
    let before = place.tree("two");
    place.sync("two").ok();
    assert_eq!(place.tree("two").len(), before.len(), "nothing was taken for deleted");
    assert_eq!(place.read("two/open"), "edited");
    // What the log wants of it has to wait, and that is said.
    place.write("two/secret", "edited on two");
    place.write("two/closed/a", "edited on two");
    place.write("two/last", "");
    place.sync("two").ok();
    place.sync("one").fails(3, "is in the way");
    assert!(place.exists("one/last"));
    place.chmod("one/secret", 0o644);
    place.chmod("one/closed", 0o755);
    place.chmod("one/new and closed", 0o644);
    place.sync_all(&["one", "two"]);
    assert_eq!(place.read("one/closed/a"), "edited on two");
    assert_eq!(place.tree("one"), place.tree("two"));
}

#[test]
fn a_folder_that_may_not_be_written_is_named_and_the_rest_arrives() {
    let place = Place::of_a_person();
    place.write("one/shut/a", "text");
    place.hand_over("one");
    place.link("ada", "one");
    place.link("ada", "two");
    place.chmod("two/shut", 0o555);
    place.write("one/shut/a", "edited");
    place.write("one/shut/b", "new");
    place.write("one/z", "new");
    place.hand_over("one/shut");
    place.hand_over("one/z");
    place.sync("one").ok();
    let said = place.sync("two").fails(1, "cannot be written");
    assert!(said.err.contains("shut"), "{}", said.err);
    assert_eq!((place.read("two/z"), place.read("two/shut/a")), ("new".into(), "text".into()));
    place.chmod("two/shut", 0o755);
    place.sync("two").ok();
    assert_eq!(place.tree("two"), place.tree("one"));
}
