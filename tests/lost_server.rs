//! A server that was put back to an older copy of itself, or that begins anew: what it lacks comes back from devices.

use crate::place::Place;
use serde_json::Value;
use std::process::Command;

fn shell(place: &Place, script: &str) {
    let done = Command::new("sh").args(["-ec", script]).current_dir(place.dir.path()).status().unwrap();
    assert!(done.success(), "{script}");
}

/// A copy of the server's data as it is now.
fn back_up(place: &mut Place) {
    place.stop_server();
    shell(place, "rm -rf yesterday && cp -a server yesterday");
    place.serve();
}

/// Yesterday's copy in place of the server's data.
fn put_back(place: &mut Place) {
    place.kill_server();
    shell(place, "rm -rf server && cp -a yesterday server");
    place.serve();
}

fn versions(place: &Place, path: &str) -> Value {
    place.json(&["history", path, "--json"])
}

fn verified(place: &mut Place, folders: &[&str]) {
    for folder in folders {
        place.annals(&["verify", folder]).ok();
    }
    place.stop_server();
    place.annals(&["verify", "--data", "server"]).ok();
    place.serve();
}

#[test]
fn todays_events_come_back_from_the_devices_with_the_same_dots() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "first");
    place.write("one/gone.txt", "removed today");
    place.link("ada", "one");
    place.link("ada", "two");
    back_up(&mut place);
    place.write("one/a.txt", "second");
    place.write("one/b.txt", "new today");
    place.remove("one/gone.txt");
    place.sync_all(&["one", "two"]);
    place.rename("two/b.txt", "two/c.txt");
    place.sync_all(&["two", "one"]);
    place.annals(&["tag", "one/c.txt", "+today"]).ok();
    let (tree, before) = (place.tree("one"), versions(&place, "one/a.txt"));
    put_back(&mut place);
    place.write("two/later.txt", "said to nobody yet");
    let said = place.sync("one").ok();
    assert!(said.err.contains("put back to an older copy"), "{}", said.err);
    assert!(place.status("one")["last_error"].is_null());
    let said = place.sync("two").ok();
    assert!(said.err.contains("put back to an older copy"), "{}", said.err);
    place.sync_all(&["one", "two"]);
    place.remove("one/later.txt");
    place.sync_all(&["one", "two"]);
    assert_eq!((place.tree("one"), place.tree("two")), (tree.clone(), tree));
    assert_eq!(versions(&place, "one/a.txt"), before);
    assert_eq!(place.annals(&["tag", "two/c.txt"]).ok().out, "today\n");
    let said = place.sync("one").ok();
    assert!(!said.err.contains("put back"), "{}", said.err);
    verified(&mut place, &["one", "two"]);
    // Whoever comes new finds all of it on the server.
    place.link("ada", "three");
    assert_eq!(place.tree("three"), place.tree("one"));
}

#[test]
fn packs_that_are_damaged_are_moved_away_and_what_folders_show_comes_back() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "first");
    place.write("one/large.bin", &"0123456789abcdef".repeat(10_000));
    place.link("ada", "one");
    place.write("one/a.txt", "second");
    place.sync("one").ok();
    place.stop_server();
    let pack = "server/packs/packs/00000001.segment";
    let mut bytes = std::fs::read(place.path(pack)).unwrap();
    // In what was stored first: other groups follow it.
    bytes[200] ^= 0xff;
    std::fs::write(place.path(pack), bytes).unwrap();
    let listen = place.url.replace("http://", "");
    let refused = place.annals(&["serve", "--data", "server", "--listen", &listen]).fails(5, "damaged");
    assert!(refused.err.contains("move `packs` in DATA away"), "{}", refused.err);
    let verified = place.annals(&["verify", "--data", "server"]).fails(5, "verification failed");
    assert!(verified.err.contains("move `packs` in DATA away"), "{}", verified.err);
    place.rename("server/packs", "packs.damaged");
    place.serve();
    place.sync("one").ok();
    // A new device asks for all of it.
    place.annals(&["link", &place.url, "two", "--user", "ada", "--device", "two"]).ok();
    place.sync_all(&["two", "one"]);
    place.sync("two").ok();
    assert_eq!(place.tree("two"), place.tree("one"));
    // What no folder shows is lost, and stands in nobody's way.
    let versions = versions(&place, "one/a.txt");
    let first = versions.as_array().unwrap().last().unwrap()["version"].as_str().unwrap().to_owned();
    place.annals(&["cat", "one/a.txt", "--version", &first]).fails(1, "lost");
    place.write("two/new.txt", "goes on");
    place.sync_all(&["two", "one"]);
    assert_eq!(place.read("one/new.txt"), "goes on");
    place.stop_server();
    let missing = place.annals(&["verify", "--data", "server"]).fails(5, "verification failed");
    assert!(missing.err.contains("comes back where a device still has it"), "{}", missing.err);
}

#[test]
fn what_one_device_made_comes_back_from_another_that_shows_it() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    place.link("ada", "two");
    back_up(&mut place);
    place.write("one/a.txt", "second");
    place.write("one/large.bin", &"0123456789abcdef".repeat(100_000));
    place.sync_all(&["one", "two"]);
    let tree = place.tree("two");
    place.remove("one");
    put_back(&mut place);
    place.sync("two").ok();
    place.link("ada", "three");
    assert_eq!((place.tree("two"), place.tree("three")), (tree.clone(), tree));
    verified(&mut place, &["two", "three"]);
}

#[test]
fn what_the_server_lost_and_its_device_had_moved_is_asked_for_as_soon_as_somebody_waits_for_it() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    place.link("ada", "two");
    back_up(&mut place);
    place.write("one/docs/new.txt", "only here");
    place.sync_all(&["one"]);
    put_back(&mut place);
    // Where it was there is nothing any more when the server is given what it lost.
    place.rename("one/docs", "one/papers");
    place.sync_all(&["one"]);
    place.sync("two");
    let shown = place.dir.path().join("two/papers/new.txt");
    assert!(!shown.exists(), "the server has it already: this shows nothing");
    place.sync_all(&["one", "two"]);
    assert_eq!(place.tree("two"), place.tree("one"));
    verified(&mut place, &["one", "two"]);
}

#[test]
fn a_device_that_the_server_forgot_shows_its_key() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "ada's");
    place.link("ada", "one");
    back_up(&mut place);
    place.annals(&["user", "add", "eve", "--server", &place.url, "--data", "server"]).ok();
    place.write("eves/b.txt", "eve's");
    place.link("eve", "eves");
    place.link("ada", "two");
    place.write("two/c.txt", "of the second");
    place.sync_all(&["two", "one"]);
    put_back(&mut place);
    // Known by its token or not, first or last: each is let in.
    let said = place.sync("two").ok();
    assert!(said.err.contains("put back to an older copy"), "{}", said.err);
    place.sync_all(&["eves", "one", "two"]);
    assert_eq!(place.tree("one"), place.tree("two"));
    assert!(place.exists("one/c.txt"));
    place.write("eves/b.txt", "eve goes on");
    place.sync("eves").ok();
    let ticket = place.json(&["invite", "eves", "--json"]);
    let code = ticket["ticket"].as_str().unwrap_or_else(|| panic!("{ticket}")).to_owned();
    place.annals(&["link", &place.url, "eves2", "--ticket", &code, "--device", "eves2"]).ok();
    place.sync("eves2").ok();
    assert_eq!(place.read("eves2/b.txt"), "eve goes on");
    verified(&mut place, &["one", "two", "eves"]);
}

#[test]
fn a_copy_put_over_the_data_in_place_is_noticed_before_anything_is_said() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    back_up(&mut place);
    place.write("one/a.txt", "second");
    place.link("ada", "two");
    place.sync_all(&["one", "two"]);
    place.kill_server();
    // As `rsync -a --delete yesterday/ server/`.
    shell(
        &place,
        "cd server && find . -type f | while read f; do [ -e ../yesterday/$f ] || rm $f; done; cp -a ../yesterday/. .",
    );
    place.serve();
    // A new device would be linked under a dot that the server had used.
    place.link("ada", "three");
    place.sync_all(&["one", "two", "three"]);
    for folder in ["one", "two", "three"] {
        assert_eq!(place.read(&format!("{folder}/a.txt")), "second");
    }
    verified(&mut place, &["one", "two", "three"]);
}

#[test]
fn nothing_is_taken_past_a_retirement_that_was_handed_back() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    place.link("ada", "two");
    back_up(&mut place);
    place.annals(&["devices", "one", "--retire", "two"]).ok();
    place.sync("one").ok();
    put_back(&mut place);
    place.sync("one").ok();
    place.write("two/b.txt", "too late");
    place.sync("two").exits(6);
    place.sync("one").ok();
    assert!(!place.exists("one/b.txt") && place.exists("two/b.txt"));
    verified(&mut place, &["one"]);
}

#[test]
fn tags_and_notes_are_said_again_to_a_server_that_begins_anew_and_only_once() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "text");
    place.write("one/in/b.txt", "another");
    place.link("ada", "one");
    place.annals(&["tag", "one/a.txt", "+draft", "+mine"]).ok();
    place.annals(&["tag", "one/a.txt", "-mine"]).ok();
    place.annals(&["note", "one/in/b.txt", "send on Monday"]).ok();
    place.annals(&["tag", "one/in", "+letters"]).ok();
    place.link("ada", "two");
    // Said to nobody, and meant all the same.
    place.kill_server();
    place.annals(&["note", "two/a.txt", "read it again"]).ok();
    place.remove("server");
    place = place.served();
    for folder in ["one", "two"] {
        let refused = place.sync(folder).fails(3, "begun anew");
        assert!(refused.err.contains("tags and notes come along"), "{}", refused.err);
        place.annals(&["link", &place.url, folder, "--user", "ada", "--device", folder]).ok();
        place.sync(folder).ok();
    }
    place.sync_all(&["one", "two"]);
    for folder in ["one", "two"] {
        let said = |verb: &str, path: &str| place.annals(&[verb, &format!("{folder}/{path}")]).ok().out;
        assert_eq!(
            (said("tag", "a.txt"), said("note", "a.txt")),
            ("draft\n".into(), "read it again\n".into())
        );
        assert_eq!(
            (said("note", "in/b.txt"), said("tag", "in")),
            ("send on Monday\n".into(), "letters\n".into())
        );
        assert!(!place.exists(&format!("{folder}/.annals/retell.json")));
    }
    let log = place.annals(&["log", "one", "--json"]).ok().out;
    assert_eq!(log.matches("attributes_changed").count(), 4, "{log}");
    verified(&mut place, &["one", "two"]);
}
