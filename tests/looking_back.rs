//! What is known of the past: a path with a time means what stood there then, and every verb says the same of it.

use crate::place::Place;

/// When the last thing was exchanged: everything that comes later is later by at least a command's run.
fn now(place: &Place, folder: &str) -> String {
    place.json(&["log", folder, "--limit", "1", "--json"])["at"].as_str().unwrap().to_owned()
}

fn cat(place: &Place, path: &str, at: &str) -> String {
    place.annals(&["cat", path, "--at", at]).ok().out
}

/// The text of `folder/path` at that time, by each verb that can tell it; all have to agree.
fn agreed(place: &Place, folder: &str, path: &str, at: &str) -> String {
    let file = format!("{folder}/{path}");
    let text = cat(place, &file, at);
    place.remove(&file);
    place.write(&file, &text);
    let differs = place.json(&["diff", &file, "--from", at, "--json"]);
    assert_eq!(differs["same"], true, "diff FILE: {differs}");
    let all = place.json(&["diff", folder, "--from", at, "--json"]);
    let is_it = |line: &&serde_json::Value| line["path"] == path;
    let changed = all.as_array().unwrap().iter().filter(is_it).any(|line| line["what"] == "changed");
    assert!(!changed, "diff FOLDER: {all}");
    place.write(&file, "something else");
    place.annals(&["restore", &file, "--at", at]).ok();
    assert_eq!(place.read(&file), text, "restore");
    text
}

/// A file that two devices edited apart, and the conflict copy that was moved over it.
fn resolved() -> (Place, String, String) {
    let place = Place::with_server();
    place.write("one/a.txt", "base\n");
    place.link("ada", "one");
    place.link("ada", "two");
    place.write("one/a.txt", "mine\n");
    place.write("two/a.txt", "theirs\n");
    place.sync_all(&["one", "two"]);
    place.sync_all(&["one", "two"]);
    let apart = now(&place, "one");
    let copy = place.json(&["status", "one", "--json"])["conflicting"][0]["copies"][0].clone();
    let copy = copy["path"].as_str().or_else(|| copy.as_str()).unwrap_or_else(|| panic!("{copy}")).to_owned();
    (place, copy, apart)
}

#[test]
fn after_a_conflict_every_verb_says_the_same_of_what_was_there() {
    let (place, copy, apart) = resolved();
    let (shown, beside) = (place.read("one/a.txt"), place.read(&format!("one/{copy}")));
    assert_ne!(shown, beside);
    place.rename(&format!("one/{copy}"), "one/a.txt");
    place.sync_all(&["one", "two"]);
    let later = now(&place, "one");
    assert_eq!((place.read("one/a.txt"), place.read("two/a.txt")), (beside.clone(), beside.clone()));
    for at in [later.as_str(), "2100-01-01"] {
        assert_eq!(cat(&place, "one/a.txt", at), beside);
        assert_eq!(place.json(&["diff", "one/a.txt", "--from", at, "--json"])["same"], true);
    }
    // While there were two, each had its name.
    assert_eq!(cat(&place, "one/a.txt", &apart), shown);
    assert_eq!(cat(&place, &format!("one/{copy}"), &apart), beside);
    assert_eq!(agreed(&place, "one", "a.txt", &later), beside);
    assert_eq!(agreed(&place, "two", "a.txt", &apart), shown);
}

#[test]
fn a_path_that_was_removed_and_made_again_has_both_pasts() {
    let place = Place::with_server();
    place.write("one/rm2.txt", "the first\n");
    place.link("ada", "one");
    let between = now(&place, "one");
    place.remove("one/rm2.txt");
    place.sync("one").ok();
    let gone = now(&place, "one");
    place.write("one/rm2.txt", "another\n");
    place.sync("one").ok();
    let later = now(&place, "one");
    place.annals(&["cat", "one/rm2.txt", "--at", &gone]).fails(2, "did not exist at that time");
    assert_eq!(agreed(&place, "one", "rm2.txt", &between), "the first\n");
    assert_eq!(cat(&place, "one/rm2.txt", &later), "another\n");
    let diff = place.annals(&["diff", "one/rm2.txt", "--from", &between, "--to", &later]).ok().out;
    assert!(diff.contains("-the first\n+another\n"), "{diff}");
    let from_nothing = place.annals(&["diff", "one/rm2.txt", "--from", &gone, "--to", &later]).ok().out;
    assert!(from_nothing.contains("--- /dev/null") && from_nothing.contains("+another"), "{from_nothing}");
}

#[test]
fn a_path_whose_file_was_moved_away_means_the_one_of_then() {
    let place = Place::with_server();
    place.write("one/p", "the old p\n");
    place.write("one/docs/b/deep/t.txt", "deep\n");
    place.link("ada", "one");
    let then = now(&place, "one");
    place.rename("one/p", "one/q");
    place.rename("one/docs/b", "one/elsewhere");
    place.sync("one").ok();
    place.write("one/p", "the new p\n");
    place.sync("one").ok();
    let later = now(&place, "one");
    assert_eq!(cat(&place, "one/p", &then), "the old p\n");
    assert_eq!(cat(&place, "one/p", &later), "the new p\n");
    assert_eq!(cat(&place, "one/q", &later), "the old p\n");
    place.annals(&["cat", "one/q", "--at", &then]).fails(2, "did not exist at that time");
    assert_eq!(cat(&place, "one/docs/b/deep/t.txt", &then), "deep\n");
    let gone = place.annals(&["cat", "one/docs/b/deep/t.txt", "--at", &later]);
    gone.fails(2, "did not exist at that time");
    place.annals(&["cat", "one/docs/b/nowhere.txt", "--at", &later]).fails(2, "is not known here");
    let diff = place.annals(&["diff", "one/docs/b/deep/t.txt", "--from", &then]).ok().out;
    assert!(diff.contains("-deep\n"), "{diff}");
    // A folder that is none any more.
    let diff = place.annals(&["diff", "one/docs/b", "--from", &then]).ok().out;
    assert!(diff.contains("removed") && diff.contains("docs/b/deep/t.txt"), "{diff}");
}

#[test]
fn history_shows_older_files_of_that_name_below_the_one_that_has_it() {
    let place = Place::with_server();
    place.write("one/p", "first\n");
    place.link("ada", "one");
    place.write("one/p", "first, edited\n");
    place.sync("one").ok();
    place.rename("one/p", "one/in-between");
    place.sync("one").ok();
    place.write("one/p", "second\n");
    place.sync("one").ok();
    place.remove("one/p");
    place.sync("one").ok();
    place.write("one/p", "third\n");
    place.sync("one").ok();
    let said = place.annals(&["history", "one/p"]).ok().out;
    let lines: Vec<&str> = said.lines().collect();
    let at =
        |text: &str| lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{said}"));
    assert!(lines[0].starts_with('*') && at("is in-between now") > 0 && at("was removed") > 0, "{said}");
    assert_eq!(lines.iter().filter(|line| line.starts_with('*')).count(), 1, "{said}");
    let all = place.json(&["history", "one/p", "--json"]);
    let all = all.as_array().unwrap();
    let earlier: Vec<bool> = all.iter().map(|line| line["earlier"].as_bool().unwrap()).collect();
    assert_eq!(earlier, [false, true, true, true]);
    assert!(all.iter().all(|line| line["head"] == !line["earlier"].as_bool().unwrap()), "{all:?}");
    assert_eq!(all[1]["path"], "p");
    assert_eq!(all[2]["path"], "in-between");
    // Each of them can be read, and brought back, by its name.
    let version = |nth: usize| all[nth]["version"].as_str().unwrap();
    for (nth, text) in [(0, "third\n"), (1, "second\n"), (2, "first, edited\n"), (3, "first\n")] {
        assert_eq!(place.annals(&["cat", "one/p", "--version", version(nth)]).ok().out, text);
    }
    place.annals(&["restore", "one/p", "--version", version(2)]).ok();
    assert_eq!(
        (place.read("one/p"), place.read("one/in-between")),
        ("first, edited\n".into(), "first, edited\n".into())
    );
    // One that only was there.
    place.rename("one/p", "one/away");
    place.sync("one").ok();
    let said = place.annals(&["history", "one/p"]).ok().out;
    assert!(said.contains("is away now"), "{said}");
    place.annals(&["history", "one/nowhere"]).fails(2, "is not known here");
}
