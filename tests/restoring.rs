//! A folder comes back as it was at a time: emptied, edited, moved about, and gone from the disk.

use crate::place::Place;

/// When the last thing was exchanged: everything that comes later is later by at least a command's run.
fn now(place: &Place, folder: &str) -> String {
    place.json(&["log", folder, "--limit", "1", "--json"])["at"].as_str().unwrap().to_owned()
}

fn with_letters() -> Place {
    let place = Place::with_server();
    place.write("one/letters/bob.txt", "Dear Bob");
    place.write("one/letters/old/ada.txt", "Dear Ada");
    place.write("one/letters/draft.txt", "a draft");
    place.write("one/other.txt", "beside");
    place.link("ada", "one");
    place
}

#[test]
fn a_folder_that_was_emptied_comes_back_as_it_was() {
    let place = with_letters();
    let (before, then) = (place.tree("one"), now(&place, "one"));
    place.remove("one/letters");
    place.sync("one").ok();
    place.remove("one/other.txt");
    place.sync("one").ok();
    assert!(place.tree("one").is_empty());
    let dry = place.json(&["restore", "one", "--at", &then, "--dry-run", "--json"]);
    assert_eq!(dry["changes"].as_array().unwrap().len(), 6, "{dry}");
    assert!(place.tree("one").is_empty());
    place.annals(&["restore", "one", "--at", &then]).ok();
    assert_eq!(place.tree("one"), before);
    place.link("ada", "two");
    assert_eq!(place.tree("two"), before);
    // Nothing more to do, and nothing said again.
    let again = place.json(&["restore", "one", "--at", &then, "--json"]);
    assert_eq!(again["changes"], serde_json::json!([]));
}

#[test]
fn what_was_edited_moved_renamed_and_removed_since_is_as_it_was_and_what_was_made_since_stays() {
    let place = with_letters();
    let (before, then) = (place.tree("one"), now(&place, "one"));
    place.write("one/letters/bob.txt", "Dear Bob, later");
    place.rename("one/letters/draft.txt", "one/draft moved.txt");
    place.sync("one").ok();
    place.rename("one/letters/old", "one/attic");
    place.sync("one").ok();
    place.remove("one/attic/ada.txt");
    place.write("one/letters/since.txt", "made since");
    place.write("one/letters/draft.txt", "another draft");
    place.sync("one").ok();
    // Only what was at that path then.
    place.annals(&["restore", "one/letters", "--at", &then]).ok();
    let mut after = place.tree("one");
    let newer = ["letters/draft (newer).txt", "letters/since.txt"];
    after.retain(|line| !newer.iter().any(|name| line.starts_with(name)));
    assert_eq!(after, before);
    assert_eq!(place.read("one/letters/draft (newer).txt"), "another draft");
    assert_eq!(place.read("one/letters/since.txt"), "made since");
    assert_eq!(place.json(&["history", "one/letters/bob.txt", "--json"]).as_array().unwrap().len(), 3);
}

#[test]
fn a_swap_of_names_and_a_folder_made_anew_are_told_apart_by_identity() {
    let place = with_letters();
    let (before, then) = (place.tree("one"), now(&place, "one"));
    place.rename("one/letters/bob.txt", "one/x");
    place.rename("one/letters/draft.txt", "one/letters/bob.txt");
    place.rename("one/x", "one/letters/draft.txt");
    place.sync("one").ok();
    place.annals(&["restore", "one", "--at", &then]).ok();
    assert_eq!(place.tree("one"), before);
    place.remove("one/letters");
    place.sync("one").ok();
    place.write("one/letters/new.txt", "new");
    place.write("one/letters/bob.txt", "Dear Bob");
    place.sync("one").ok();
    place.annals(&["restore", "one/letters", "--at", &then]).ok();
    assert_eq!(place.read("one/letters/new.txt"), "new");
    assert_eq!(place.read("one/letters/old/ada.txt"), "Dear Ada");
    // The same text was put there again: it is not there twice.
    assert!(!place.exists("one/letters/bob (newer).txt"));
    assert_eq!(place.read("one/letters/bob.txt"), "Dear Bob");
}

#[test]
fn what_vanished_by_the_hundred_and_waits_for_a_person_comes_back_by_the_same_word() {
    let place = with_letters();
    (0..300).for_each(|file| place.write(&format!("one/many/{file}.txt"), "text"));
    place.sync("one").ok();
    let (before, then) = (place.tree("one"), now(&place, "one"));
    place.remove("one/many");
    place.remove("one/letters");
    place.sync("one").exits(3);
    place.annals(&["restore", "one", "--at", &then]).ok();
    assert_eq!(place.tree("one"), before);
    // And after somebody said that it was meant.
    place.remove("one/many");
    place.remove("one/letters");
    place.annals(&["sync", "one", "--once", "--accept-deletes"]).ok();
    place.annals(&["restore", "one/many", "--at", &then]).ok();
    place.annals(&["restore", "one/letters", "--at", &then]).ok();
    assert_eq!(place.tree("one"), before);
}

#[test]
fn a_time_before_it_was_there_is_said() {
    let place = with_letters();
    place.annals(&["restore", "one/letters", "--at", "2001-01-01"]).fails(2, "did not exist");
    place.annals(&["restore", "one/letters"]).fails(2, "--at T");
}

#[test]
fn what_came_later_than_that_and_vanished_comes_again_and_that_is_no_error() {
    let place = with_letters();
    (0..300).for_each(|file| place.write(&format!("one/many/{file}.txt"), "text"));
    place.sync("one").ok();
    let before = place.tree("one");
    place.remove("one/many");
    place.remove("one/letters");
    place.sync("one").exits(3);
    let said = place.json(&["restore", "one/many", "--at", "2001-01-01", "--json"]);
    assert_eq!(said["changes"].as_array().unwrap().len(), 301, "{said}");
    place.annals(&["restore", "one/letters", "--missing"]).ok();
    assert_eq!(place.tree("one"), before);
}

#[test]
fn what_is_missing_comes_again_before_anything_is_said_of_it_and_everything_else_stays() {
    let place = with_letters();
    let before = place.tree("one");
    place.remove("one/letters/old");
    place.remove("one/letters/bob.txt");
    place.remove("one/other.txt");
    place.write("one/letters/draft.txt", "a better draft");
    // Another thing has a name of what is missing.
    place.write("one/letters/old", "a file");
    let dry = place.annals(&["restore", "one/letters", "--missing", "--dry-run"]).ok();
    let lines: Vec<&str> =
        dry.out.lines().map(|line| line.trim_start_matches("brought back").trim()).collect();
    assert_eq!(lines, ["letters/bob.txt", "letters/old", "letters/old/ada.txt"]);
    assert!(!place.exists("one/letters/bob.txt"));
    place.annals(&["restore", "one/letters", "--missing"]).ok();
    assert_eq!(place.read("one/letters/bob.txt"), "Dear Bob");
    assert_eq!(place.read("one/letters/draft.txt"), "a better draft");
    assert!(place.tree("one").iter().any(|line| line.contains("old") && line.ends_with("\"Dear Ada\"")));
    assert!(place.tree("one").iter().any(|line| line.ends_with("\"a file\"")));
    // Beside it, it was a removal.
    assert!(!place.exists("one/other.txt"));
    assert!(before.iter().any(|line| line.starts_with("other.txt")));
    let again = place.json(&["restore", "one", "--missing", "--json"]);
    assert_eq!((&again["changes"], &again["at"]), (&serde_json::json!([]), &serde_json::Value::Null));
    place.annals(&["restore", "one", "--missing", "--at", "1h"]).exits(2);
}
