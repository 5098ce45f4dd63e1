//! A server that is found at another address, and a device that its server has retired: each is one command.

use crate::place::{Place, said, until};
use std::mem;

/// The same server at another address; its old one.
fn move_server(place: &mut Place) -> String {
    place.stop_server();
    let before = mem::take(&mut place.url);
    place.serve();
    assert_ne!(place.url, before);
    before
}

#[test]
fn a_server_that_moved_is_told_in_one_command_and_what_was_saved_meanwhile_arrives_as_it_was() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    place.link("ada", "two");
    let device = place.status("one")["device"].clone();
    place.stop_server();
    for text in ["second", "third"] {
        place.write("one/a.txt", text);
        let offline = place.sync("one").fails(4, "cannot be reached");
        assert!(
            offline.err.contains(&format!("annals link URL {}", place.path("one").display())),
            "{}",
            offline.err
        );
    }
    let refused = place.annals(&["unlink", "one"]).fails(3, "not sent yet");
    assert!(refused.err.contains("annals link URL"), "{}", refused.err);
    place.url.clear();
    place.serve();
    // Nobody is asked who that is.
    let mut command = place.command(&["link", &place.url, "one"]);
    let told = said(command.env_remove("ANNALS_PASSWORD")).ok();
    assert!(told.out.contains(&place.url) && told.out.contains("nothing else changed"), "{}", told.out);
    assert_eq!(place.status("one")["server"], place.url);
    place.sync("one").ok();
    assert_eq!(place.status("one")["device"], device);
    assert_eq!(place.json(&["history", "one/a.txt", "--json"]).as_array().unwrap().len(), 3);
    // With a name and a password it is no new device either.
    let json = place.json(&["link", &place.url, "two", "--user", "ada", "--json"]);
    assert_eq!((&json["server"], &json["device_name"]), (&place.url.clone().into(), &"two".into()), "{json}");
    place.sync("two").ok();
    assert_eq!(place.read("two/a.txt"), "third");
    assert_eq!(place.json(&["devices", "one", "--json"]).as_array().unwrap().len(), 2);
}

#[test]
fn nothing_but_the_server_that_it_was_linked_to_is_taken_for_it() {
    let place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    let (before, other) = (place.status("one"), Place::with_server());
    let refused = place.annals(&["link", &other.url, "one"]).fails(3, "is not the one that");
    assert!(refused.err.contains("another log") && refused.err.contains("--user NAME"), "{}", refused.err);
    place.annals(&["link", "http://127.0.0.1:1", "one"]).fails(4, "cannot be reached");
    // The same address says nothing new.
    for more in [&[][..], &["--user", "ada"][..]] {
        place.annals(&[&["link", &place.url, "one"], more].concat()).fails(2, "already linked");
    }
    assert_eq!(place.status("one"), before);
    place.annals(&["link", &place.url, "new"]).fails(2, "nobody said who");
    assert!(!place.exists("new"));
    // Who says who they are means a new beginning there.
    place.annals(&["link", &other.url, "one", "--user", "ada"]).ok();
    place.sync("one").ok();
    assert_eq!(
        (place.status("one")["server"].clone(), place.read("one/a.txt")),
        (other.url.clone().into(), "first".into())
    );
}

#[test]
fn a_daemon_goes_on_at_the_new_address() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    place.link("ada", "two");
    let mut daemon = place.start(&["sync", "two"]);
    daemon.says("in sync");
    move_server(&mut place);
    let told = place.annals(&["link", &place.url, "two"]).ok();
    assert!(told.err.contains("daemon"), "{}", told.err);
    place.annals(&["link", &place.url, "one"]).ok();
    // It hears there, too: nothing wakes it but the feed.
    for text in ["second", "third"] {
        place.write("one/a.txt", text);
        place.sync("one").ok();
        until("the daemon hears of it", || place.read("two/a.txt") == text);
    }
    until("it is at rest", || place.status("two")["state"] == "idle");
    assert_eq!(daemon.ends("TERM"), Some(0));
}

#[test]
fn a_retired_device_is_linked_again_in_one_command_and_what_lies_in_its_folder_is_kept() {
    let place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    place.link("ada", "two");
    place.annals(&["tag", "two/a.txt", "+mine"]).ok();
    place.annals(&["devices", "one", "--retire", "two"]).ok();
    for text in ["second", "third", "fourth"] {
        place.write("two/a.txt", text);
        place.write("two/new.txt", text);
        let refused = place.sync("two").fails(6, "was retired");
        let hint = refused.err.split("hint: ").nth(1).unwrap().to_owned();
        assert!(hint.contains(&format!("annals link {} ", place.url)), "{hint}");
    }
    let status = place.annals(&["status", "two"]);
    assert!(status.out.contains("was retired") || status.err.contains("was retired"), "{status:?}");
    place.annals(&["devices", "two"]).fails(6, "revoked");
    // Who it is has to be said again, and nothing else.
    place.annals(&["link", &place.url, "two"]).fails(2, "already linked");
    let hint = place.sync("two").err;
    let line = crate::place::commands_in(&hint).into_iter().find(|line| line.contains(" link ")).unwrap();
    place.types(&line).ok();
    place.sync("two").ok();
    place.sync("one").ok();
    assert_eq!(place.read("one/new.txt"), "fourth");
    assert_eq!(place.tree("one"), place.tree("two"));
    let texts: Vec<String> = place.tree("one").into_iter().filter(|line| line.starts_with('a')).collect();
    assert!(texts.iter().any(|line| line.contains("fourth")), "{texts:?}");
    assert_eq!(place.status("two")["pending_events"], 0);
}

#[test]
fn how_far_a_device_came_is_known_as_soon_as_it_did_and_of_a_copy_which_one_is_the_old() {
    let place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    place.link("ada", "two");
    for text in ["second", "third"] {
        place.write("one/a.txt", text);
        place.sync_all(&["one", "two"]);
    }
    let listed = place.json(&["devices", "one", "--json"]);
    let two = listed.as_array().unwrap().iter().find(|device| device["label"] == "two").unwrap().clone();
    assert_eq!(two["fetched"], place.status("two")["cursor"], "{listed}");
    let far = format!("was at event {}", two["fetched"]);
    assert!(place.annals(&["devices", "one"]).ok().out.contains(&far), "{far}");
    // A copy of its folder goes on as another device of that name.
    let mut copy = std::process::Command::new("cp");
    assert!(copy.args(["-a", "two", "three"]).current_dir(place.dir.path()).status().unwrap().success());
    place.sync("three").ok();
    let listed = place.json(&["devices", "three", "--json"]);
    let three = listed.as_array().unwrap().iter().find(|device| device["this"] == true).unwrap();
    let three = three["device"].as_str().unwrap()[..8].to_owned();
    let lines = place.annals(&["devices", "one"]).ok().out;
    let line =
        |id: &str| lines.lines().find(|line| line.split_whitespace().nth(1) == Some(id)).unwrap().to_owned();
    let id = &two["device"].as_str().unwrap()[..8];
    assert!(line(&three).contains(&format!("copied or put back from {id}")), "{lines}");
    assert!(line(id).contains(&format!("its copy goes on as {three}")), "{lines}");
}
