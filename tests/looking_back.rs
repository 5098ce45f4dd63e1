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
    // The side that was beside it, by its name of then.
    place.annals(&["restore", &format!("one/{copy}"), "--at", &apart]).ok();
    assert_eq!(place.read("one/a.txt"), beside);
    assert!(!place.exists(&format!("one/{copy}")));
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
    place.rename("one/p", "one/r");
    place.sync("one").ok();
    let gone = place.annals(&["cat", "one/p"]).fails(2, "what it was is r");
    assert!(gone.err.contains("name r; `annals history p`"), "{}", gone.err);
    let version = place.json(&["history", "one/p", "--json"])[0]["version"].as_str().unwrap().to_owned();
    place.annals(&["restore", "one/p", "--version", &version]).fails(2, "what it was is r");
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

/// A device whose server was put back to a copy from before two saves of `a.txt`: what the first of them held is lost.
fn with_a_lost_version() -> (Place, String, String) {
    let mut place = Place::with_server();
    place.write("one/a.txt", "first\n");
    place.write("one/b.txt", "beside\n");
    place.link("ada", "one");
    let shell = |place: &Place, script: &str| assert_eq!(place.types(script).code, 0, "{script}");
    place.stop_server();
    shell(&place, "cp -a server yesterday");
    place.serve();
    place.write("one/a.txt", "second, which nobody will have\n");
    place.sync("one").ok();
    let between = now(&place, "one");
    place.write("one/a.txt", "third\n");
    place.write("one/c.txt", "also there for a while\n");
    place.sync("one").ok();
    place.remove("one/c.txt");
    place.sync("one").ok();
    let second = place.json(&["history", "one/a.txt", "--json"])[1]["version"].as_str().unwrap().to_owned();
    place.kill_server();
    shell(&place, "rm -rf server && mv yesterday server");
    place.serve();
    (place, second, between)
}

#[test]
fn what_a_server_lost_for_good_is_said_to_be_lost_and_nothing_is_done_with_it() {
    let (place, second, between) = with_a_lost_version();
    let said = place.sync("one").ok();
    assert!(said.err.contains("the contents of 2 versions are neither there nor here"), "{}", said.err);
    assert!(!said.err.contains("nothing is lost"), "{}", said.err);
    let history = place.json(&["history", "one/a.txt", "--json"]);
    let words: Vec<&str> =
        history.as_array().unwrap().iter().map(|line| line["content"].as_str().unwrap()).collect();
    assert_eq!(words, ["kept", "lost", "kept"]);
    let said = place.annals(&["history", "one/a.txt"]).ok();
    assert_eq!(said.out.matches("(lost)").count(), 1, "{}", said.out);
    assert!(said.err.contains("neither the server nor this folder has that content"), "{}", said.err);
    for verb in [
        &["cat", "one/a.txt", "--version", &second][..],
        &["cat", "one/a.txt", "--at", &between],
        &["diff", "one/a.txt", "--from", &second],
        &["restore", "one/a.txt", "--version", &second],
        &["restore", "one/a.txt", "--version", &second, "--dry-run"],
    ] {
        let said = place.annals(verb).fails(1, "is lost");
        assert!(!said.err.contains("sync again") && said.err.contains("gone for good"), "{}", said.err);
    }
    let said = place.annals(&["restore", "one/a.txt", "--at", &between]).fails(1, "what a.txt held is lost");
    assert_eq!(said.out, "lost: a.txt\n");
    assert_eq!(place.read("one/a.txt"), "third\n");
    // What is to be had comes, and the rest is named.
    place.write("one/b.txt", "edited\n");
    place.sync("one").ok();
    let said = place.annals(&["restore", "one", "--at", &between]).ok();
    assert_eq!((place.read("one/a.txt"), place.read("one/b.txt")), ("third\n".into(), "beside\n".into()));
    assert!(said.err.contains("but for this: what a.txt held is lost: 1 change"), "{}", said.err);
    let status = place.status("one");
    assert_eq!(
        (&status["state"], &status["set_aside"]),
        (&"idle".into(), &serde_json::json!([])),
        "{status}"
    );
}

#[test]
fn where_nothing_was_lost_that_is_said() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "first\n");
    place.link("ada", "one");
    place.stop_server();
    assert_eq!(place.types("cp -a server yesterday").code, 0);
    place.serve();
    place.write("one/a.txt", "second\n");
    place.sync("one").ok();
    place.kill_server();
    assert_eq!(place.types("rm -rf server && mv yesterday server").code, 0);
    place.serve();
    let said = place.sync("one").ok();
    assert!(said.err.contains("came back from here, nothing is lost"), "{}", said.err);
}

#[test]
fn a_removed_file_whose_content_is_lost_is_not_brought_back_as_an_empty_promise() {
    let (place, _, _) = with_a_lost_version();
    place.sync("one").ok();
    let log = place.annals(&["log", "one", "--json"]).ok().out;
    let made = log.lines().find(|line| line.contains("\"c.txt\"") && line.contains("entry_created")).unwrap();
    let made: serde_json::Value = serde_json::from_str(made).unwrap();
    let said = place.annals(&["restore", "one/c.txt", "--at", made["at"].as_str().unwrap()]);
    let said = said.fails(1, "what c.txt held is lost");
    assert_eq!(said.out, "lost: c.txt\n");
    assert!(!place.exists("one/c.txt"));
    assert_eq!(place.status("one")["pending_events"], 0);
}

#[test]
fn what_is_not_kept_any_more_is_no_success() {
    let place = Place::with_server();
    place.write("one/l/f", "to be forgotten\n");
    place.write("one/l/g", "kept\n");
    place.link("ada", "one");
    let then = now(&place, "one");
    place.remove("one/l/f");
    place.sync("one").ok();
    place.annals(&["trash", "empty", "one", "--yes"]).ok();
    let history = place.json(&["history", "one/l/f", "--json"]);
    assert_eq!(history[0]["content"], "forgotten");
    assert!(place.annals(&["history", "one/l/f"]).ok().out.contains("(not kept any more)"));
    for (path, dry) in [("one/l/f", false), ("one/l", false), ("one", false), ("one/l/f", true)] {
        let mut typed = vec!["restore", path, "--at", &then];
        typed.extend(dry.then_some("--dry-run"));
        let said = place.annals(&typed).fails(1, "what l/f held is not kept any more");
        assert!(!said.err.contains("is as it was then\n"), "{}", said.err);
    }
    // With something else to be done it is a part of it.
    place.write("one/l/g", "edited\n");
    place.write("one/l/new", "made since\n");
    place.sync("one").ok();
    let said = place.annals(&["restore", "one/l", "--at", &then]).ok();
    assert_eq!(place.read("one/l/g"), "kept\n");
    assert!(
        said.err.contains(
            "l is as it was then, but for this: what l/f held is not kept any more: 1 change; 1 path that came since stays"
        ),
        "{}",
        said.err
    );
    let again = place.json(&["restore", "one/l/g", "--at", &then, "--json"]);
    assert_eq!((&again["lost"], &again["stays"]), (&serde_json::json!([]), &0.into()));
}

#[test]
fn a_restore_tells_each_file_unless_it_is_to_be_quiet() {
    let place = Place::with_server();
    for file in 0..20 {
        place.write(&format!("one/l/{file}"), "text\n");
    }
    place.link("ada", "one");
    let then = now(&place, "one");
    place.remove("one/l");
    place.annals(&["sync", "one", "--once", "--accept-deletes"]).ok();
    let dry = place.annals(&["-q", "restore", "one/l", "--at", &then, "--dry-run"]).ok();
    assert_eq!(dry.out.lines().count(), 21);
    let said = place.annals(&["-q", "restore", "one/l", "--at", &then]).ok();
    assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""));
    assert_eq!(place.read("one/l/7"), "text\n");
}

#[test]
fn what_a_lowered_retention_waits_for_is_said() {
    let place = Place::with_server();
    place.write("one/a", "text\n");
    place.link("ada", "one");
    place.write("one/a", "edited\n");
    place.sync("one").ok();
    let said = place.annals(&["retention", "set", "one", "--keep", "1s", "--yes"]).ok();
    assert!(said.out.contains("is kept for 1 second\n"), "{}", said.out);
    place.annals(&["retention", "set", "one", "--keep", "0s", "--yes"]).ok();
    let said = place.annals(&["gc", "--data", "server", "--dry-run"]).ok();
    assert!(said.out.contains("forgotten: 0 versions"), "{}", said.out);
    let waits = "not known to every device: 1 version, 0 lines of the trash; waited for: one";
    assert!(said.out.contains(waits), "{}", said.out);
    assert!(said.err.contains("once every device of the folder has said that it knows"), "{}", said.err);
    let said = place.json(&["gc", "--data", "server", "--dry-run", "--json"]);
    assert_eq!((&said["waiting_versions"], &said["waits_for"]), (&1.into(), &serde_json::json!(["one"])));
}
