//! A command runs when something needs a person: once for each thing, and nothing waits for it.

use crate::place::{Place, until};
use serde_json::Value;

/// A folder in conflict with another, and a command that writes down what it is told.
fn with_a_command(on: &str) -> Place {
    let place = Place::with_server();
    place.write("note", "#!/bin/sh\necho \"$ANNALS_EVENT|$ANNALS_PATH|$(cat)\" >> \"$1\"\n");
    place.chmod("note", 0o755);
    place.write("one/a.txt", "first");
    place.write("one/b.txt", "first");
    place.link("ada", "one");
    place.link("ada", "two");
    let (note, told) = (place.path("note"), place.path("told"));
    let (note, told) = (note.to_str().unwrap(), told.to_str().unwrap());
    place.annals(&["hook", "set", "one", "--on", on, "--", note, told]).ok();
    place
}

fn told(place: &Place) -> Vec<String> {
    if place.exists("told") { place.read("told").lines().map(str::to_owned).collect() } else { vec![] }
}

fn make_conflict(place: &Place, name: &str) {
    place.write(&format!("one/{name}"), "mine");
    place.write(&format!("two/{name}"), "theirs");
    place.sync("two").ok();
}

#[test]
fn a_conflict_is_told_once_with_its_path_and_what_it_is() {
    let place = with_a_command("conflict");
    make_conflict(&place, "a.txt");
    (0..3).for_each(|_| drop(place.sync("one").ok()));
    let lines = told(&place);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let words: Vec<&str> = lines[0].splitn(3, '|').collect();
    assert_eq!(words[..2], ["conflict", "a.txt"]);
    let document: Value = serde_json::from_str(words[2]).unwrap();
    assert_eq!((&document["what"], &document["path"]), (&"both_modified".into(), &"a.txt".into()));
    make_conflict(&place, "b.txt");
    place.sync("one").ok();
    assert_eq!(told(&place).len(), 2);
    let shown = place.json(&["hook", "show", "one", "--json"]);
    assert!(shown["conflict"][0].as_str().unwrap().ends_with("/note"), "{shown}");
    place.annals(&["hook", "remove", "one"]).ok();
    place.annals(&["hook", "remove", "one"]).fails(2, "no such command");
    assert_eq!(place.json(&["hook", "show", "one", "--json"]), serde_json::json!({}));
}

#[test]
fn a_folder_that_needs_a_person_says_so_again_only_after_it_was_well() {
    let place = with_a_command("attention");
    for round in 1..=2 {
        (0..60).for_each(|file| place.write(&format!("one/many/{file}.txt"), "text"));
        place.sync("one").ok();
        place.remove("one/many");
        place.sync("one").exits(3);
        place.sync("one").exits(3);
        let lines = told(&place);
        assert_eq!(lines.len(), round, "{lines:?}");
        assert!(lines[round - 1].starts_with("attention||{"), "{lines:?}");
        place.annals(&["sync", "one", "--once", "--accept-deletes"]).ok();
    }
}

#[test]
fn a_command_sees_no_secret_of_ours() {
    let place = with_a_command("conflict");
    place.write("note", "#!/bin/sh\nenv > \"$1\"\n");
    make_conflict(&place, "a.txt");
    let mut sync = place.command(&["sync", "one", "--once"]);
    sync.env("ANNALS_ADMIN_TOKEN", "a secret").env("ANNALS_LOG", "warn").env("OTHERS", "stay");
    crate::place::said(&mut sync).ok();
    let seen = place.read("told");
    let ours: Vec<&str> = seen.lines().filter(|line| line.starts_with("ANNALS_")).collect();
    assert_eq!(ours.len(), 3, "{ours:?}");
    assert!(seen.contains("ANNALS_PATH=a.txt\n") && seen.contains("OTHERS=stay\n"), "{seen}");
}

#[test]
fn a_command_that_fails_is_a_warning() {
    let place = with_a_command("conflict");
    place.annals(&["hook", "set", "one", "--on", "conflict", "--", "/nowhere/to/be/found"]).ok();
    make_conflict(&place, "a.txt");
    let said = place.sync("one").ok();
    assert!(said.err.contains("could not be run"), "{}", said.err);
    place.annals(&["hook", "set", "one", "--on", "conflict"]).exits(2);
}

#[test]
fn a_daemon_tells_and_does_not_wait() {
    let place = with_a_command("conflict");
    // It ends only when it is told to: reading what nobody writes yet.
    place.write("slow", "#!/bin/sh\ntouch \"$1.began\"\nread line < \"$1.end\"\ntouch \"$1\"\n");
    place.chmod("slow", 0o755);
    let made = std::process::Command::new("mkfifo").arg(place.path("slow.end")).status().unwrap();
    assert!(made.success());
    let (slow, done) = (place.path("slow"), place.path("slow.done"));
    std::fs::rename(place.path("slow.end"), place.path("slow.done.end")).unwrap();
    let typed =
        ["hook", "set", "one", "--on", "conflict", "--", slow.to_str().unwrap(), done.to_str().unwrap()];
    place.annals(&typed).ok();
    make_conflict(&place, "a.txt");
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    until("the command began", || place.exists("slow.done.began"));
    place.write("two/c.txt", "while it runs");
    place.sync("two").ok();
    until("a round was done meanwhile", || place.exists("one/c.txt"));
    assert!(!place.exists("slow.done"));
    std::fs::write(place.path("slow.done.end"), "go on\n").unwrap();
    until("the command ended", || place.exists("slow.done"));
    assert_eq!(daemon.ends("TERM"), Some(0));
}
