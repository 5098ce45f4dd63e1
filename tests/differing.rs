//! What is different is told: of texts line by line, of folders path by path.

use crate::place::Place;
use serde_json::{Value, json};

fn lines(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let said = place.json(&[&["diff"], arguments, &["--json"]].concat());
    said.as_array().unwrap().clone()
}

fn what(lines: &[Value]) -> Vec<(&str, &str)> {
    lines.iter().map(|line| (line["what"].as_str().unwrap(), line["path"].as_str().unwrap())).collect()
}

#[test]
fn a_text_is_told_apart_line_by_line_and_applies_as_a_patch() {
    let place = Place::with_server();
    place.write("one/a.txt", "first\nsecond\nthird\n");
    place.link("ada", "one");
    assert_eq!(place.annals(&["diff", "one/a.txt"]).ok().out, "");
    place.write("one/a.txt", "first\n2nd\nthird\n");
    let said = place.annals(&["diff", "one/a.txt"]).ok().out;
    assert!(said.contains("\n-second\n+2nd\n") && said.starts_with("--- a/a.txt\t"), "{said}");
    place.sync("one").ok();
    let history = place.json(&["history", "one/a.txt", "--json"]);
    let (one, two) = (history[1]["version"].as_str().unwrap(), history[0]["version"].as_str().unwrap());
    let said = place.json(&["diff", "one/a.txt", "--from", two, "--to", one, "--json"]);
    assert_eq!((&said["from"], &said["to"], &said["binary"]), (&json!(two), &json!(one), &json!(false)));
    assert!(said["diff"].as_str().unwrap().contains("\n-2nd\n+second\n"), "{said}");
    let since_ever = place.annals(&["diff", "one/a.txt", "--from", "2001-01-01"]).ok().out;
    assert!(since_ever.contains("--- /dev/null") && since_ever.contains("+2nd"), "{since_ever}");
    place.annals(&["diff", "one/a.txt", "--from", "zz"]).fails(2, "no version called `zz`");
}

#[test]
fn what_is_no_text_is_told_with_its_sizes() {
    let place = Place::with_server();
    place.write("one/a.bin", "\0first");
    place.link("ada", "one");
    place.write("one/a.bin", "\0second");
    let said = place.annals(&["diff", "one/a.bin"]).ok().out;
    assert_eq!(said, "binary files differ: a.bin (6 B, then 7 B)\n");
}

#[test]
fn a_folder_is_told_apart_by_what_came_went_moved_and_changed() {
    let place = Place::with_server();
    place.write("one/docs/a.txt", "a");
    place.write("one/docs/b.txt", "b");
    place.write("one/docs/deep/c.txt", "c");
    place.write("one/docs/same.txt", "same");
    place.link("ada", "one");
    let history = place.json(&["log", "one", "--limit", "1", "--json"]);
    let then = history["at"].as_str().unwrap().to_owned();
    assert!(lines(&place, &["one"]).is_empty());
    let change = || {
        place.remove("one/docs/a.txt");
        place.rename("one/docs/b.txt", "one/docs/b2.txt");
        place.rename("one/docs/deep", "one/deep");
        place.write("one/deep/c.txt", "C");
        place.write("one/docs/new.txt", "new");
    };
    change();
    let expected = [
        ("moved", "deep"),
        ("changed", "deep/c.txt"),
        ("removed", "docs/a.txt"),
        ("moved", "docs/b2.txt"),
        ("added", "docs/new.txt"),
    ];
    // On the disk, before the log knows.
    assert_eq!(what(&lines(&place, &["one"])), expected);
    place.sync("one").ok();
    assert!(lines(&place, &["one"]).is_empty());
    // And in the log.
    let since = lines(&place, &["one", "--from", &then]);
    assert_eq!(what(&since), expected);
    assert_eq!(since[3]["from"], "docs/b.txt");
    let text = place.annals(&["diff", "one", "--from", &then]).ok().out;
    assert!(text.contains("moved    deep/  (was docs/deep)"), "{text}");
    place.annals(&["diff", "one", "--from", "6f3c:1"]).fails(2, "not a file");
}
