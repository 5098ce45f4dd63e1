//! What was removed is listed, comes back as it was, and is forgotten when everybody knows.

use crate::place::Place;
use serde_json::Value;

/// The paths in the trash, and what the lines say.
fn trash(place: &Place, folder: &str) -> Vec<Value> {
    place.json(&["trash", "list", folder, "--json"]).as_array().unwrap().clone()
}

fn paths(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["path"].as_str().unwrap()).collect()
}

fn with_a_folder() -> Place {
    let place = Place::with_server();
    place.write("one/docs/a.txt", "a");
    place.write("one/docs/deep/b.txt", "bb");
    place.write("one/c.txt", "ccc");
    place.link("ada", "one");
    place
}

#[test]
fn a_folder_comes_back_with_all_that_went_with_it_and_nothing_beside() {
    let place = with_a_folder();
    place.remove("one/docs/a.txt");
    place.sync("one").ok();
    let before = place.tree("one");
    place.remove("one/docs");
    place.remove("one/c.txt");
    place.sync("one").ok();
    let lines = trash(&place, "one");
    assert_eq!(paths(&lines), ["c.txt", "docs", "docs/a.txt"]);
    assert_eq!((&lines[1]["files"], &lines[1]["bytes"]), (&1.into(), &2.into()));
    assert_eq!(
        (&lines[1]["device"], &lines[1]["user"], &lines[1]["kind"]),
        (&"one".into(), &"ada".into(), &"folder".into())
    );
    assert!(lines[1]["removed_at"].as_str() > lines[2]["removed_at"].as_str());
    assert_eq!(place.json(&["trash", "list", "one", "docs", "--json"]).as_array().unwrap().len(), 2);
    place.annals(&["trash", "restore", "one", "docs"]).ok();
    place.annals(&["trash", "restore", "one", "c.txt"]).ok();
    assert_eq!(place.tree("one"), before);
    assert_eq!(paths(&trash(&place, "one")), ["docs/a.txt"]);
    // One out of what went as a whole.
    place.remove("one/docs");
    place.sync("one").ok();
    place.annals(&["trash", "restore", "one", "docs/deep/b.txt"]).ok();
    assert_eq!(place.read("one/docs/deep/b.txt"), "bb");
    place.annals(&["trash", "restore", "one/docs/a.txt"]).ok();
    assert_eq!(place.read("one/docs/a.txt"), "a");
    place.annals(&["trash", "restore", "one", "docs/a.txt"]).fails(2, "not in the trash");
    place.annals(&["trash", "restore", "one"]).fails(2, "say what");
}

#[test]
fn what_has_its_name_by_now_keeps_it() {
    let place = with_a_folder();
    place.remove("one/c.txt");
    place.remove("one/docs");
    place.sync("one").ok();
    place.write("one/c.txt", "new");
    place.write("one/docs/a.txt", "new too");
    place.sync("one").ok();
    let said = place.annals(&["trash", "restore", "one", "c.txt"]).ok();
    assert!(said.out.contains("as c (restored).txt"), "{}", said.out);
    assert_eq!((place.read("one/c.txt"), place.read("one/c (restored).txt")), ("new".into(), "ccc".into()));
    // A file of a folder that was made anew goes into that one, a folder beside it.
    place.annals(&["trash", "restore", "one", "docs/a.txt"]).ok();
    assert_eq!(place.read("one/docs/a.txt"), "new too");
    assert_eq!(place.read("one/docs/a (restored).txt"), "a");
    place.annals(&["trash", "restore", "one", "docs"]).ok();
    assert_eq!(place.read("one/docs (restored)/deep/b.txt"), "bb");
    place.link("ada", "two");
    assert_eq!(place.tree("one"), place.tree("two"));
}

#[test]
fn what_is_forgotten_waits_for_every_device_and_says_for_which() {
    let place = with_a_folder();
    place.link("ada", "two");
    place.remove("one/docs");
    place.sync("one").ok();
    place.annals(&["trash", "empty", "one"]).fails(3, "cannot be brought back");
    let said = place.json(&["trash", "empty", "one", "--yes", "--json"]);
    assert_eq!((&said["forgotten"], &said["waiting"]), (&0.into(), &4.into()), "{said}");
    assert_eq!(said["waits_for"], serde_json::json!(["two"]));
    let text = place.annals(&["trash", "empty", "one", "--yes"]).ok().out;
    assert!(text.contains("/one --retire LABEL"), "{text}");
    let lines = trash(&place, "one");
    assert_eq!(lines[0]["waits_for"], serde_json::json!(["two"]));
    assert!(place.annals(&["trash", "list", "one"]).ok().out.contains("forgotten once two knows"));
    // A device that is gone for good is retired, and the next round forgets.
    place.annals(&["devices", "one", "--retire", "two"]).ok();
    place.sync("one").ok();
    assert_eq!(trash(&place, "one").len(), 0);
    place.annals(&["trash", "restore", "one", "docs"]).fails(2, "not in the trash");
    place.annals(&["cat", "one/docs/a.txt"]).fails(1, "not kept any more");
    assert!(place.annals(&["log", "one"]).ok().out.contains("entry_purged"));
    assert_eq!(place.read("one/c.txt"), "ccc");
    // Nobody else to wait for: at once.
    place.remove("one/c.txt");
    place.sync("one").ok();
    let said = place.json(&["trash", "empty", "one", "c.txt", "--yes", "--json"]);
    assert_eq!(
        (&said["forgotten"], &said["bytes"], &said["waiting"]),
        (&1.into(), &3.into(), &0.into()),
        "{said}"
    );
    assert_eq!(trash(&place, "one").len(), 0);
    place.annals(&["verify", "--data", "server"]).ok();
}

#[test]
fn devices_that_are_here_are_asked_and_of_those_that_are_not_it_is_said_until_when() {
    let place = with_a_folder();
    place.link("ada", "two");
    place.link("ada", "gone");
    let mut daemon = place.start(&["sync", "two"]);
    daemon.says("in sync");
    place.remove("one/docs");
    place.sync("one").ok();
    let said = place.annals(&["trash", "empty", "one", "--yes"]).ok().out;
    assert!(said.contains("once gone was here and said so") && !said.contains("two"), "{said}");
    assert!(said.contains("gone was last here ") && said.contains("it is waited for until "), "{said}");
    place.annals(&["devices", "one", "--retire", "gone"]).ok();
    place.remove("one/c.txt");
    place.sync("one").ok();
    let said = place.json(&["trash", "empty", "one", "--yes", "--json"]);
    assert_eq!((&said["waiting"], &said["waits_for"]), (&0.into(), &serde_json::json!([])), "{said}");
    assert_eq!(trash(&place, "one").len(), 0);
    // Beside a daemon of one's own as well, and by whoever may only read.
    place.annals(&["share", "one", "--with", "bob", "--role", "viewer"]).ok();
    place.link_to("bob", "bobs", Some("ada/home"));
    let mut bobs = place.start(&["sync", "bobs"]);
    bobs.says("in sync");
    let mut own = place.start(&["sync", "one"]);
    own.says("in sync");
    place.write("one/late.txt", "late");
    crate::place::until("it is there", || place.exists("two/late.txt") && place.exists("bobs/late.txt"));
    place.remove("one/late.txt");
    crate::place::until("it is gone", || !place.exists("two/late.txt") && !place.exists("bobs/late.txt"));
    let said = place.json(&["trash", "empty", "one", "--yes", "--json"]);
    assert_eq!((&said["forgotten"], &said["waiting"]), (&1.into(), &0.into()), "{said}");
    for daemon in [daemon, bobs, own] {
        assert_eq!(daemon.ends("INT"), Some(0));
    }
}

#[test]
fn a_device_that_comes_now_and_then_is_asked_when_it_does() {
    let mut place = with_a_folder();
    for folder in ["two", "three"] {
        place.link("ada", folder);
        place.write(&format!("{folder}/of {folder}.txt"), "said, and its word for the day");
        place.sync_all(&["one", folder]);
    }
    place.remove("one/docs");
    let said = place.annals(&["trash", "empty", "one", "--yes"]).ok().out;
    assert!(said.contains("once three and two were here and said so"), "{said}");
    assert!(place.annals(&["trash", "list", "one"]).ok().out.contains("once three and two know"));
    place.sync("two").ok();
    let known: Vec<Value> = trash(&place, "one").iter().map(|line| line["waits_for"].clone()).collect();
    // What `one` knows is as old as its last round.
    assert_eq!(known[0], serde_json::json!(["three", "two"]));
    place.sync("one").ok();
    assert_eq!(trash(&place, "one")[0]["waits_for"], serde_json::json!(["three"]));
    // Whoever waits has the others asked again by a server that forgot the question.
    place.kill_server();
    place.serve();
    place.sync("one").ok();
    place.sync("three").ok();
    place.sync("one").ok();
    assert_eq!(trash(&place, "one").len(), 0);
    // Nobody is asked for ever.
    place.sync_all(&["three", "two", "one"]);
    let seq = || place.status("one")["seq"].clone();
    let before = seq();
    place.sync_all(&["three", "two", "one"]);
    assert_eq!(seq(), before);
}

#[test]
fn what_was_removed_from_a_folder_that_is_there_comes_back_as_a_whole() {
    let place = with_a_folder();
    place.write("one/docs/c.txt", "c");
    place.sync("one").ok();
    let before = place.tree("one");
    place.remove("one/docs");
    place.sync("one").ok();
    place.annals(&["trash", "restore", "one", "docs/a.txt"]).ok();
    assert_eq!(paths(&trash(&place, "one")), ["docs/c.txt", "docs/deep"]);
    let said = place.annals(&["trash", "restore", "one", "docs"]).ok().out;
    assert_eq!(said, "restored docs/c.txt\nrestored docs/deep\n");
    assert_eq!(place.tree("one"), before);
    place.annals(&["trash", "restore", "one", "docs"]).fails(2, "not in the trash");
}

#[test]
fn what_was_brought_back_meanwhile_is_not_forgotten() {
    let place = with_a_folder();
    place.link("ada", "two");
    place.remove("one/c.txt");
    place.sync("one").ok();
    place.annals(&["trash", "empty", "one", "--yes"]).ok();
    place.sync("two").ok();
    place.annals(&["trash", "restore", "two", "c.txt"]).ok();
    place.remove("two/c.txt");
    place.sync("two").ok();
    place.annals(&["devices", "one", "--retire", "two"]).ok();
    place.sync("one").ok();
    let lines = trash(&place, "one");
    assert_eq!((paths(&lines), &lines[0]["waits_for"]), (vec!["c.txt"], &Value::Null));
}

#[test]
fn an_editor_restores_and_only_an_owner_forgets() {
    let place = with_a_folder();
    place.annals(&["share", "one", "--with", "bob", "--role", "editor"]).ok();
    place.link_to("bob", "bobs", Some("ada/home"));
    place.remove("bobs/c.txt");
    place.sync("bobs").ok();
    place.annals(&["trash", "empty", "bobs", "--yes"]).fails(6, "owners");
    place.annals(&["trash", "restore", "bobs", "c.txt"]).ok();
    assert_eq!(place.read("bobs/c.txt"), "ccc");
}

#[test]
fn a_retention_that_would_forget_something_at_once_is_said_twice() {
    let place = with_a_folder();
    place.write("one/c.txt", "another");
    place.remove("one/docs");
    place.sync("one").ok();
    let kept = || place.json(&["retention", "show", "one", "--json"])["keep_ms"].clone();
    let before = kept();
    place.annals(&["retention", "set", "one", "--keep", "30d"]).ok();
    place.annals(&["retention", "set", "one", "--keep", "forever"]).ok();
    let said = place.annals(&["retention", "set", "one", "--keep", "0d"]).fails(3, "1 version and 4 files");
    assert!(said.err.contains("--yes"), "{}", said.err);
    assert_eq!(kept(), Value::Null);
    assert_ne!(before, Value::Null);
    place.annals(&["retention", "set", "one", "--keep", "0d", "--yes"]).ok();
    assert_eq!(kept(), 0);
}
