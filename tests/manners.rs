//! Small things that a person meets: what is refused says what to do instead, what is answered is answered in full, and
//! nothing is left behind or written over.

use crate::place::{Place, until};
use serde_json::Value;
use std::{fs, process::Command};

fn linked() -> Place {
    let place = Place::with_server();
    place.write("one/a.txt", "first");
    place.write("one/docs/b.txt", "b");
    place.link("ada", "one");
    place
}

#[test]
fn a_link_that_is_refused_leaves_no_folder() {
    let place = Place::with_server();
    let mut wrong = place.command(&["link", &place.url, "new/deep", "--user", "ada"]);
    crate::place::said(wrong.env("ANNALS_PASSWORD", "not it")).fails(6, "password");
    assert!(!place.exists("new"));
    fs::create_dir(place.path("old")).unwrap();
    let mut wrong = place.command(&["link", &place.url, "old", "--user", "ada"]);
    crate::place::said(wrong.env("ANNALS_PASSWORD", "not it")).fails(6, "password");
    assert!(place.exists("old") && !place.exists("old/.annals"));
}

#[test]
fn what_is_typed_wrongly_is_told_with_a_hint_and_exit_code_2() {
    let place = Place::new();
    for typed in [
        &["--what"][..],
        &["sync", "--limit-rate"],
        &["link"],
        &["retention", "set", "--keep", "soon"],
        &["nonsense"],
        &["trash"],
        &["link", "http://127.0.0.1:1", "x", "--user", "ada", "--fingerprint", "12"],
        &[],
    ] {
        let said = place.annals(typed).exits(2);
        assert!(said.err.contains("hint: "), "{typed:?}: {}", said.err);
    }
}

#[test]
fn another_certificate_than_the_one_that_was_named_is_told_with_what_to_compare() {
    let place = Place::new();
    let mut server = place.start(&["serve", "--data", "server", "--listen", "127.0.0.1:0", "--tls"]);
    let url = server.says("listening on ").trim_start_matches("listening on ").to_owned();
    let wrong = "0".repeat(64);
    let said = place.annals(&["link", &url, "one", "--user", "ada", "--fingerprint", &wrong]);
    let said = said.fails(3, "another certificate");
    assert!(said.err.contains("annals serve") && !said.err.contains("annals sync"), "{}", said.err);
    assert!(!place.exists("one"));
}

#[test]
fn a_file_that_is_there_is_not_replaced_unless_it_is_named_or_that_is_meant() {
    let place = linked();
    let namespace = place.json(&["namespaces", "one", "--json"])[0]["namespace"].as_str().unwrap().to_owned();
    let files = format!("{}/v1/namespaces/{namespace}/files", place.url);
    place.write("here.txt", "mine");
    let get =
        |more: &[&str]| place.annals(&[&["get", &format!("{files}/a.txt"), "--user", "ada"], more].concat());
    // As with `cp` and `curl -o`.
    get(&["here.txt"]).ok();
    assert_eq!(place.read("here.txt"), "first");
    for folder in [".", "below"] {
        let file = format!("{folder}/a.txt");
        place.write(&file, "mine");
        get(&[folder]).fails(1, "is there already");
        assert_eq!(place.read(&file), "mine");
        get(&[folder, "--force"]).ok();
        assert_eq!(place.read(&file), "first");
    }
    place.write("a.txt", "mine");
    get(&[]).fails(1, "is there already");
    assert_eq!(place.read("a.txt"), "mine");
    // What cannot be had replaces nothing.
    let missing = ["get", &format!("{files}/missing"), "here.txt", "--user", "ada"];
    let said = place.annals(&missing).fails(1, "no \"missing\"");
    assert!(said.err.contains("hint: check the spelling"), "{}", said.err);
    assert_eq!(place.read("here.txt"), "first");
}

#[test]
fn a_folder_comes_with_all_that_is_in_it_or_is_listed() {
    let place = linked();
    place.write("one/docs/deep/b c.txt", "b");
    place.write("one/docs/100%.txt", "percent");
    std::fs::create_dir_all(place.path("one/docs/empty")).unwrap();
    place.sync("one").ok();
    let namespace = place.json(&["namespaces", "one", "--json"])[0]["namespace"].as_str().unwrap().to_owned();
    let files = format!("{}/v1/namespaces/{namespace}/files", place.url);
    let get = |path: &str, more: &[&str]| {
        place.annals(&[&["get", &format!("{files}/{path}"), "--user", "ada"], more].concat())
    };
    let listed = get("docs", &["-"]).ok().out;
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["100%.txt", "b.txt", "deep/", "empty/"]);
    let listed: Value = serde_json::from_str(&get("docs", &["-", "--json"]).ok().out).unwrap();
    assert_eq!(listed[2]["kind"], "folder");
    get("docs", &[]).ok();
    assert_eq!(place.read("docs/deep/b c.txt"), "b");
    assert_eq!(place.read("docs/100%.txt"), "percent");
    assert!(place.exists("docs/empty"));
    get("docs", &[]).fails(1, "is there already");
    get("docs/", &["elsewhere", "--json"]).ok();
    assert_eq!(place.read("elsewhere/deep/b c.txt"), "b");
    // All of it, into a folder that is there.
    std::fs::create_dir(place.path("all")).unwrap();
    get("", &["all"]).ok();
    assert_eq!(place.tree("all").len(), place.tree("one").len());
    place.write("file", "text");
    get("docs", &["file"]).fails(1, "File exists");
}

#[test]
fn what_is_never_synced_is_answered_for_as_well() {
    let place = linked();
    assert!(Command::new("mkfifo").arg(place.path("one/pipe")).status().unwrap().success());
    for (path, why) in
        [("one/.annals", "own state"), ("one/.annals/lock", "own state"), ("one/pipe", "a named pipe")]
    {
        let said = place.annals(&["ignore", "check", path]).ok();
        assert!(said.out.contains(why), "{path}: {}", said.out);
        let said = place.json(&["ignore", "check", path, "--json"]);
        assert_eq!((&said["ignored"], said["never"].is_string()), (&Value::Bool(true), true), "{said}");
    }
}

#[test]
fn history_is_in_one_order_and_shows_when_it_was_saved_and_when_the_server_took_it() {
    let mut place = linked();
    place.write("one/a.txt", "second");
    place.sync("one").ok();
    place.kill_server();
    place.write("one/a.txt", "on the train");
    // As if an hour went by before there is a server again.
    place.sync("one").exits(4);
    let waiting = place.annals(&["history", "one/a.txt"]).ok();
    assert!(waiting.out.lines().next().unwrap().contains("not sent yet"), "{}", waiting.out);
    assert_eq!(place.json(&["history", "one/a.txt", "--json"])[0]["pending"], true);
    place.serve();
    place.sync("one").ok();
    let versions = place.json(&["history", "one/a.txt", "--json"]);
    let ids: Vec<&str> =
        versions.as_array().unwrap().iter().map(|version| version["version"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    assert!(versions[0]["head"] == true && versions[0]["made_at"].is_string(), "{versions}");
    let said = place.annals(&["history", "one/a.txt"]).ok();
    // What the marks and times mean is told beside the result.
    assert!(said.err.contains("* is what the file holds now"), "{}", said.err);
    let text = said.out;
    let counters: Vec<&str> = ids.iter().map(|id| id.rsplit(':').next().unwrap()).collect();
    for (line, counter) in text.lines().zip(counters) {
        assert!(line.contains(&format!(":{counter} ")), "{line} is not {counter}");
    }
    for (line, version) in text.lines().zip(versions.as_array().unwrap()) {
        let times = [("saved", &version["made_at"]), ("taken", &version["at"])];
        for (word, time) in times {
            assert!(line.contains(&format!("{word} {}", time.as_str().unwrap())), "{line}: {version}");
        }
    }
}

#[test]
fn a_rate_is_confirmed() {
    let place = linked();
    assert!(place.annals(&["sync", "one", "--limit-rate", "2MB"]).ok().err.contains("at most 2"));
    assert!(place.annals(&["sync", "one", "--limit-rate", "off"]).ok().err.contains("no limit"));
}

#[test]
fn up_on_data_that_was_wiped_listens_where_its_devices_know_it() {
    let place = Place::new();
    place.write("folder/a.txt", "text");
    let mut up = place.start(&["up", "folder", "--data", "data", "--listen", "127.0.0.1:0"]);
    let url = up.says("listening on ");
    up.says("in sync");
    assert_eq!(up.ends("TERM"), Some(0));
    fs::remove_dir_all(place.path("data")).unwrap();
    let mut up = place.start(&["up", "folder", "--data", "data"]);
    assert_eq!(up.says("listening on "), url);
    up.says("in sync");
    assert_eq!(up.ends("TERM"), Some(0));
}

#[test]
fn what_a_folder_was_before_its_data_came_back_is_waited_for_by_nobody() {
    let place = Place::new();
    place.write("folder/a.txt", "text");
    let run = || {
        let mut up = place.start(&["up", "folder", "--data", "data"]);
        up.says("in sync");
        up
    };
    let mut first = place.start(&["up", "folder", "--data", "data", "--listen", "127.0.0.1:0"]);
    first.says("in sync");
    assert_eq!(first.ends("TERM"), Some(0));
    place.rename("data", "lost");
    assert_eq!(run().ends("TERM"), Some(0));
    place.remove("data");
    place.rename("lost", "data");
    let up = run();
    place.remove("folder/a.txt");
    until("the removal is known", || {
        place.json(&["trash", "list", "folder", "--json"]).as_array().is_some_and(|lines| lines.len() == 1)
    });
    let said = place.json(&["trash", "empty", "folder", "--yes", "--json"]);
    assert_eq!((&said["forgotten"], &said["waiting"]), (&1.into(), &0.into()), "{said}");
    assert_eq!(up.ends("TERM"), Some(0));
}
