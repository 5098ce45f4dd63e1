//! `.annalsignore`: what it keeps here, what it leaves alone, and why.

use crate::place::{Place, Running, until};
use std::fs;

/// Two linked folders that are in sync.
fn two() -> Place {
    let place = Place::with_server();
    place.link("ada", "one");
    place.link("ada", "two");
    place
}

fn names(place: &Place, folder: &str) -> Vec<String> {
    let name = |line: &String| line.split(' ').next().unwrap().to_owned();
    place.tree(folder).iter().map(name).collect()
}

#[test]
fn what_is_ignored_stays_here_and_the_rules_travel() {
    let place = two();
    place.write("one/.annalsignore", "*.o\nbuild/\n!keep.o\n");
    place.write("one/deep/.annalsignore", "/only\n");
    for path in
        ["a.o", "keep.o", "build/x", "deep/b.o", "deep/build/y", "deep/only", "deep/er/only", "film.part"]
    {
        place.write(&format!("one/{path}"), "text");
    }
    place.sync_all(&["one", "two"]);
    let synced = [".annalsignore", "deep/", "deep/.annalsignore", "deep/er/", "deep/er/only", "keep.o"];
    assert_eq!(names(&place, "two"), synced);
    // They hold on the other device, and nobody is bothered with what they keep.
    place.write("two/b.o", "of two");
    place.write("two/build/z", "of two");
    let said = place.sync("two").ok();
    assert!(!said.err.contains("build"), "{}", said.err);
    place.sync("one").ok();
    assert!(!place.exists("one/b.o") && !place.exists("one/build/z"));
    assert_eq!(place.status("two")["state"], "idle");
    // What rules no longer keep is synced.
    place.write("two/.annalsignore", "build/\n!*.part\n");
    place.sync_all(&["two", "one"]);
    place.sync("two").ok();
    assert_eq!((place.read("one/b.o"), place.read("two/film.part")), ("of two".into(), "text".into()));
}

#[test]
fn what_is_synced_and_becomes_ignored_stays_synced_as_in_git() {
    let place = two();
    for path in ["a.o", "build/in/x", "build/y"] {
        place.write(&format!("one/{path}"), "synced before");
    }
    place.sync_all(&["one", "two"]);
    place.write("one/.annalsignore", "*.o\nbuild/\n");
    place.sync_all(&["one", "two"]);
    // Neither deleted nor forgotten, in either direction, by whoever starts anew.
    place.write("one/a.o", "edited on one");
    place.write("two/build/in/x", "edited on two");
    place.write("one/build/in/new", "new in there");
    place.sync_all(&["one", "two"]);
    assert_eq!(place.read("two/a.o"), "edited on one");
    assert_eq!(place.read("one/build/in/x"), "edited on two");
    assert!(!place.exists("two/build/in/new"), "what is new in there is ignored");
    assert_eq!(place.read("two/build/y"), "synced before");
    place.remove("two/build/y");
    place.sync_all(&["two", "one"]);
    assert!(!place.exists("one/build/y"), "a removal is one");
    // A third device gets what the log says, and what it has of that already is the same.
    place.write("three/.annalsignore", "*.o\nbuild/\n");
    place.write("three/a.o", "edited on one");
    place.write("three/b.o", "its own");
    place.link("ada", "three");
    assert_eq!(place.read("three/build/in/x"), "edited on two");
    place.sync_all(&["three", "one"]);
    assert!(!place.exists("one/b.o") && !names(&place, "one").iter().any(|name| name.contains("conflict")));
}

#[test]
fn a_daemon_takes_up_other_rules_and_leaves_alone_what_they_keep() {
    let place = two();
    place.write("one/.annalsignore", "build/\n");
    let mut daemons: Vec<Running> = ["one", "two"].map(|folder| place.start(&["sync", folder])).into();
    daemons.iter_mut().for_each(|daemon| drop(daemon.says("in sync")));
    place.write("one/build/deep/x", "not yet");
    place.write("one/other", "there");
    until("the other is there", || place.exists("two/other"));
    assert!(!place.exists("two/build"));
    fs::write(place.path("one/.annalsignore"), "# nothing\n").unwrap();
    until("it is synced", || place.exists("two/build/deep/x"));
    place.write("one/build/deep/x", "now");
    until("edits are, too", || {
        fs::read_to_string(place.path("two/build/deep/x")).is_ok_and(|text| text == "now")
    });
}

#[test]
fn the_rule_that_decides_is_named() {
    let place = Place::with_server();
    place.write("one/.annalsignore", "*.o\n# why\nbuild/\n[z-a]\n");
    place.write("one/sub/.annalsignore", "!keep.o\n");
    place.write("one/build/x", "text");
    let check = |path: &str| place.annals(&["ignore", "check", path]);
    check("one/a.o").fails(2, "not in a linked folder");
    place.link("ada", "one");
    let said = check("one/a.o").ok();
    assert_eq!(said.out, ".annalsignore:1:*.o  a.o\n");
    assert!(said.err.contains(".annalsignore:4 is no rule"), "{}", said.err);
    assert_eq!(check("one/sub/deep/a.o").ok().out, ".annalsignore:1:*.o  sub/deep/a.o\n");
    assert_eq!(check("one/build/x").ok().out, ".annalsignore:3:build/  build/x\n");
    assert_eq!(check("one/sub/keep.o").exits(1).out, "sub/.annalsignore:1:!keep.o  sub/keep.o\n");
    assert_eq!(check("one/letter.txt").exits(1).out, "");
    assert!(check("one/film.part").ok().out.starts_with("(default):8:*.part  film.part  ("));
    let json = place.json(&["ignore", "check", "one/build/x", "--json"]);
    assert_eq!((&json["ignored"], &json["rule"]["fits"]), (&true.into(), &"build".into()), "{json}");
    check("one").fails(2, "never ignored");
}
