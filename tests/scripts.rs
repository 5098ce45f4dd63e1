//! What a script relies on: JSON from every verb, exit codes, help with an example.

use crate::place::{Place, said};
use serde_json::Value;
use std::collections::BTreeSet;

/// The verbs that the program itself lists.
fn verbs(place: &Place) -> BTreeSet<String> {
    let help = place.annals(&["--help"]).ok().out;
    let list = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    // What is further in goes on with the line above it.
    let verbs = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let verbs = verbs.filter_map(|line| line.split_whitespace().next());
    verbs.filter(|verb| *verb != "help").map(str::to_owned).collect()
}

fn documents(text: &str) -> Vec<Value> {
    let parsed = text.lines().map(serde_json::from_str);
    parsed.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

#[test]
fn every_verb_speaks_json_where_it_is_asked_to() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    place.write("one/a.txt", "second");
    place.sync("one").ok();
    let history = place.json(&["history", "one/a.txt", "--json"]);
    let namespace = place.json(&["namespaces", "one", "--json"])[0]["namespace"].as_str().unwrap().to_owned();
    let files = format!("{}/v1/namespaces/{namespace}/files/", place.url);
    let first = history[1]["version"].as_str().unwrap().to_owned();
    let url = place.url.clone();
    // Each with a field that a script would ask for.
    let rows: &[(&[&str], &str)] = &[
        (&["user", "add", "eve", "--server", &url, "--data", "server"], "/user"),
        (&["link", &url, "two", "--user", "ada", "--device", "two"], "/device"),
        (&["sync", "two", "--once"], "/events_received"),
        (&["invite", "one"], "/link"),
        (&["devices", "one"], "/0/device"),
        (&["devices", "one", "--retire", "two"], "/1/retired"),
        (&["status", "one"], "/state"),
        (&["log", "one"], "/seq"),
        (&["history", "one/a.txt"], "/0/version"),
        (&["cat", "one/a.txt"], "/text"),
        (&["restore", "one/a.txt", "--version", &first], "/now"),
        (&["diff", "one/a.txt", "--from", &first], "/path"),
        (&["doctor", "one"], "/0/level"),
        (&["completions", "bash"], "/script"),
        (&["man", "--to", "pages"], "/pages/0"),
        (&["hook", "show", "one"], ""),
        (&["service", "install", "one", "--print"], "/text"),
        (&["tag", "one/a.txt", "+draft"], "/tags/0"),
        (&["note", "one/a.txt", "for Bob"], "/notes/0"),
        (&["trash", "list", "one"], ""),
        (&["trash", "empty", "one", "--yes"], "/forgotten"),
        (&["retention", "show", "one"], "/keep_ms"),
        (&["retention", "set", "one", "--keep", "30d"], "/silence_ms"),
        (&["share", "one", "--with", "bob", "--role", "viewer"], "/link"),
        (&["ignore", "check", "one/film.part"], "/ignored"),
        (&["unshare", "one", "--with", "bob"], "/namespace"),
        (&["namespaces", "one"], "/0/namespace"),
        (&["namespaces", "--server", &url, "--user", "ada"], "/0/role"),
        (&["user", "set", "eve", "--server", &url, "--data", "server", "--quota", "unlimited"], "/used"),
        (&["put", "one/a.txt", &format!("{files}b.txt"), "--user", "ada"], "/version"),
        (&["get", &format!("{files}a.txt"), "got.txt", "--user", "ada"], "/bytes"),
        (&["verify", "one"], "/ok"),
        (&["verify", "--data", "server"], "/digests"),
        (&["gc", "--data", "server", "--dry-run"], "/chunks"),
        (&["unlink", "two"], "/retired"),
    ];
    for (arguments, field) in rows {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let out = place.annals(&arguments).ok().out;
        let found = documents(&out);
        assert!(
            found[0].pointer(field).is_some_and(|value| !value.is_null()),
            "{field} of {arguments:?}: {out}"
        );
    }
    // Those that go on say it in their first lines.
    place.kill_server();
    let serving = place.start(&["serve", "--data", "server", "--listen", "127.0.0.1:0", "--json"]).says("{");
    assert!(documents(&serving)[0]["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let mut up = place.start(&["up", "folder", "--data", "data", "--listen", "127.0.0.1:0", "--json"]);
    let first = documents(&up.says("{")).remove(0);
    assert!(["url", "folder", "ticket", "link", "namespace"].iter().all(|field| first[field].is_string()));
    assert_eq!(documents(&up.says("{\"in_sync\""))[0]["in_sync"]["files"], 0);

    let mut tried: BTreeSet<String> = rows.iter().map(|(arguments, _)| arguments[0].to_owned()).collect();
    tried.extend(["serve".to_owned(), "up".to_owned()]);
    // Measurements are for people.
    tried.insert("bench".to_owned());
    assert_eq!(tried, verbs(&place));
}

#[test]
fn every_verb_has_help_with_an_example_and_no_verb_takes_nothing_for_an_answer() {
    let place = Place::new();
    for verb in verbs(&place) {
        for words in [vec![verb.as_str()], vec!["user", "add"]] {
            let arguments: Vec<&str> = words.iter().copied().chain(["--help"]).collect();
            let help = place.annals(&arguments).ok().out;
            let has_example = help.contains("Example") && help.contains(&format!("annals {verb}"));
            assert!(has_example || verb == "user" || words.len() > 1, "{help}");
        }
        place.annals(&[&verb, "--frobnicate"]).exits(2);
    }
    assert!(place.annals(&["user", "add", "--help"]).ok().out.contains("Example"));
}

#[test]
fn verify_speaks_json_also_where_the_folder_cannot_be_opened() {
    let place = Place::with_server();
    place.write("one/f", "text");
    place.link("ada", "one");
    let records = std::fs::read_dir(place.path("one/.annals/records")).unwrap();
    let segment = records.map(|entry| entry.unwrap().path()).min().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let said = place.annals(&["verify", "one", "--json"]).exits(5);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["ok"], false);
    assert!(report["problems"][0]["what"].as_str().unwrap().contains("damaged"), "{report}");
    assert!(place.annals(&["verify", "one"]).exits(5).out.contains("DAMAGED: 1 problem"));
}

/// The table of the interface, a row for each code.
#[test]
fn exit_codes_are_those_of_the_interface() {
    let mut place = Place::with_server();
    (0..30).for_each(|file| place.write(&format!("one/{file}.txt"), "text"));
    place.link("ada", "one");
    place.link("ada", "two");
    // 0: conflicts are state.
    place.write("one/0.txt", "one's");
    place.write("two/0.txt", "two's");
    place.sync_all(&["one", "two"]);
    assert_eq!(place.status("one")["conflicts"], 1);
    place.annals(&["serve", "--data", "server", "--listen", "127.0.0.1:0"]).exits(1);
    place.annals(&["status", "nowhere"]).exits(2);
    (0..30).for_each(|file| place.remove(&format!("two/{file}.txt")));
    place.sync("two").exits(3);
    let mut wrong = place.command(&["link", &place.url, "three", "--user", "ada"]);
    said(wrong.env("ANNALS_PASSWORD", "wrong password")).exits(6);
    place.kill_server();
    place.sync("one").exits(4);
    let segments = std::fs::read_dir(place.path("server/log/segments")).unwrap();
    let segment = segments.map(|entry| entry.unwrap().path()).min().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    place.annals(&["verify", "--data", "server"]).exits(5);
}
