//! Other people in a folder: what each may do, by the log's order.

use crate::place::Place;
use std::process::Command;

#[test]
fn a_viewers_edits_and_those_after_a_loss_are_refused_set_aside_and_never_deleted() {
    let place = Place::with_server();
    place.write("adas/plan.txt", "the plan");
    place.link("ada", "adas");
    place.annals(&["share", "adas", "--with", "bob", "--role", "viewer"]).ok();
    place.link_to("bob", "bobs", Some("ada/home"));
    assert_eq!(place.read("bobs/plan.txt"), "the plan");

    place.write("bobs/plan.txt", "bob's idea");
    place.sync("bobs").fails(6, "set aside");
    assert_eq!(
        place.read("bobs/plan (refused).txt"),
        "bob's idea",
        "what was refused is kept, beside what the log says"
    );
    assert_eq!(place.read("bobs/plan.txt"), "the plan");
    let status = place.annals(&["status", "bobs"]).out;
    assert!(status.contains("set aside: plan.txt"), "{status}");
    place.sync("adas").ok();
    assert_eq!(place.read("adas/plan.txt"), "the plan");

    place.annals(&["share", "adas", "--with", "bob", "--role", "editor"]).ok();
    place.write("bobs/more.txt", "as an editor");
    place.sync("bobs").ok();
    place.sync("adas").ok();
    assert_eq!(place.read("adas/more.txt"), "as an editor");

    place.annals(&["unshare", "adas", "--with", "bob"]).ok();
    place.write("bobs/late.txt", "made before learning of it");
    place.sync("bobs").fails(6, "");
    assert_eq!(place.read("bobs/late.txt"), "made before learning of it");
    let status = place.annals(&["status", "bobs"]).out;
    assert!(status.contains("set aside: late.txt"), "{status}");
    place.sync("adas").ok();
    assert!(!place.exists("adas/late.txt"));
}

/// Ada's folder `adas` with a plan, and bob in it as a viewer with `bobs`.
fn with_viewer() -> Place {
    let place = Place::with_server();
    place.write("adas/plan.txt", "the plan");
    place.write("adas/list.txt", "the list");
    place.link("ada", "adas");
    grant(&place, "viewer");
    place.link_to("bob", "bobs", Some("ada/home"));
    place
}

fn grant(place: &Place, role: &str) {
    place.annals(&["share", "adas", "--with", "bob", "--role", role]).ok();
}

#[test]
fn only_the_round_in_which_something_is_refused_says_so_by_its_exit_code() {
    let place = with_viewer();
    place.sync("bobs").ok();
    place.write("bobs/plan.txt", "bob's idea");
    place.write("bobs/list.txt", "bob's list");
    place.write("bobs/new.txt", "bob's own");
    place.sync("bobs").fails(6, "3 changes were refused");
    for _ in 0..2 {
        let said = place.sync("bobs").ok();
        assert!(said.err.contains("plan (refused).txt"), "{}", said.err);
        let status = place.annals(&["status", "bobs"]).out;
        assert!(status.starts_with("attention"), "{status}");
        for path in ["plan (refused).txt", "list (refused).txt", "new.txt"] {
            assert!(status.contains(path), "{path}: {status}");
        }
    }
    assert_eq!(place.read("bobs/new.txt"), "bob's own");
    assert_eq!(place.read("bobs/plan.txt"), "the plan");
    // What its author removes is wanted no more.
    place.remove("bobs/list (refused).txt");
    place.remove("bobs/new.txt");
    place.sync("bobs").ok();
    let status = place.annals(&["status", "bobs"]).out;
    assert!(!status.contains("list") && !status.contains("new.txt"), "{status}");
    place.remove("bobs/plan (refused).txt");
    place.sync("bobs").ok();
    assert_eq!(place.status("bobs")["state"], "idle");
    assert_eq!(place.tree("bobs"), place.tree("adas"));
}

#[test]
fn what_was_refused_arrives_as_what_it_was_once_its_author_may() {
    let place = with_viewer();
    place.write("bobs/plan.txt", "bob's idea");
    place.write("bobs/list.txt", "bob's list");
    place.write("bobs/dir/new.txt", "bob's own");
    place.sync("bobs").fails(6, "refused");
    place.write("adas/list.txt", "ada's new list");
    place.sync("adas").ok();
    place.sync("bobs").ok();
    grant(&place, "editor");
    place.sync("bobs").ok();
    let status = place.annals(&["status", "bobs"]).out;
    assert!(status.starts_with("stopped") && !status.contains("set aside"), "{status}");
    place.sync_all(&["adas", "bobs"]);
    assert_eq!(place.tree("adas"), place.tree("bobs"));
    assert_eq!(place.read("adas/plan.txt"), "bob's idea", "an edit, not another file");
    assert_eq!(place.read("adas/dir/new.txt"), "bob's own");
    let lists: Vec<String> = place.tree("adas").into_iter().filter(|line| line.starts_with("list")).collect();
    assert_eq!(lists.len(), 2, "both were edited: a conflict like any other: {lists:?}");
    assert!(!place.tree("adas").iter().any(|line| line.contains("refused")));
}

#[test]
fn a_rename_or_removal_that_was_refused_is_undone_and_listed() {
    let place = with_viewer();
    place.rename("bobs/plan.txt", "bobs/mine.txt");
    place.remove("bobs/list.txt");
    place.sync("bobs").fails(6, "refused");
    assert_eq!(place.tree("bobs"), place.tree("adas"));
    place.sync("bobs").ok();
    let status = place.annals(&["status", "bobs"]).out;
    assert!(status.starts_with("stopped"), "{status}");
    assert!(status.contains("undone: plan.txt") && status.contains("undone: list.txt"), "{status}");
    grant(&place, "editor");
    place.sync("bobs").ok();
    assert!(!place.annals(&["status", "bobs"]).ok().out.contains("undone"));
    assert_eq!(place.tree("bobs"), place.tree("adas"));
}

#[test]
fn losing_the_right_to_read_leaves_the_folder_as_it_is() {
    let place = with_viewer();
    grant(&place, "editor");
    place.sync("bobs").ok();
    place.annals(&["unshare", "adas", "--with", "bob"]).ok();
    place.write("adas/plan.txt", "what bob may not read");
    place.sync("adas").ok();
    place.write("bobs/plan.txt", "bob's last words");
    place.write("bobs/late.txt", "made before learning of it");
    let mut before: Vec<String> = place.tree("bobs");
    before.sort();
    for _ in 0..3 {
        place.sync("bobs").fails(6, "");
        let mut after: Vec<String> = place.tree("bobs");
        after.sort();
        assert_eq!(after, before);
    }
    let status = place.annals(&["status", "bobs"]).out;
    assert!(status.starts_with("attention") && status.contains("plan.txt"), "{status}");
    // The right comes back, and with it what was said meanwhile.
    grant(&place, "editor");
    place.sync("bobs").ok();
    place.sync_all(&["adas", "bobs"]);
    assert_eq!(place.tree("adas"), place.tree("bobs"));
    let texts = place.tree("adas").join("\n");
    for text in ["bob's last words", "what bob may not read", "made before learning of it"] {
        assert!(texts.contains(text), "{texts}");
    }
    assert_eq!(place.status("bobs")["state"], "idle");
}

#[test]
fn what_would_be_refused_is_not_said_and_what_is_nobodys_is_told() {
    let place = Place::with_server();
    place.write("adas/plan.txt", "the plan");
    place.link("ada", "adas");
    place.annals(&["share", "adas", "--with", "ada", "--role", "viewer"]).fails(2, "ada owns this folder");
    place.annals(&["unshare", "adas", "--with", "ada"]).fails(2, "ada owns this folder");
    place.annals(&["unshare", "adas", "--with", "bob"]).fails(2, "bob does not use this folder");
    place.annals(&["share", "adas", "--with", "bob", "--role", "viewer"]).ok();
    place.link_to("bob", "bobs", Some("ada/home"));
    place.annals(&["tag", "bobs/plan.txt", "+mine"]).fails(6, "only editors and owners");
    place.annals(&["share", "bobs", "--with", "bob", "--role", "owner"]).fails(6, "only owners");
    for folder in ["adas", "bobs"] {
        let status = place.status(folder);
        assert_eq!((&status["state"], &status["set_aside"]), (&"idle".into(), &serde_json::json!([])));
    }
    // What the device does not know yet it asks for.
    place.annals(&["share", "adas", "--with", "bob", "--role", "editor"]).ok();
    place.annals(&["tag", "bobs/plan.txt", "+mine"]).ok();
}

#[test]
fn namespaces_are_listed_with_roles() {
    let place = Place::with_server();
    place.link("ada", "adas");
    place.annals(&["share", "adas", "--with", "bob", "--role", "editor"]).ok();
    let listed = place.json(&["namespaces", "--server", &place.url, "--user", "bob", "--json"]);
    let shared = listed.as_array().unwrap().iter().find(|line| line["owner"] == "ada").unwrap().clone();
    assert_eq!(shared["role"], "editor");
}

#[test]
fn a_bit_and_a_time_that_were_refused_arrive_once_their_author_may() {
    let place = with_viewer();
    place.chmod("bobs/plan.txt", 0o755);
    let touched =
        Command::new("touch").args(["-d", "2001-01-01 UTC"]).arg(place.path("bobs/list.txt")).status();
    assert!(touched.unwrap().success());
    place.sync("bobs").exits(6);
    grant(&place, "editor");
    place.sync_all(&["bobs", "adas"]);
    assert_eq!(place.tree("adas"), place.tree("bobs"));
    let tree = place.tree("adas").join("\n");
    assert!(tree.contains("t=978307200") && tree.contains("plan.txt x=true"), "{tree}");
    assert_eq!(place.status("bobs")["set_aside"], serde_json::json!([]));
}

#[test]
fn what_was_refused_keeps_its_text_also_where_the_folder_shows_a_later_one() {
    let mut place = with_viewer();
    place.stop_server();
    for text in ["bob's first idea", "bob's second idea"] {
        place.write("bobs/plan.txt", text);
        place.sync("bobs").exits(4);
    }
    place.serve();
    place.sync("bobs").fails(6, "refused");
    place.sync("bobs").ok();
    grant(&place, "editor");
    place.sync_all(&["bobs", "adas"]);
    assert_eq!(place.read("adas/plan.txt"), "bob's second idea");
    let history = place.json(&["history", "adas/plan.txt", "--json"]);
    let texts: Vec<String> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            place.annals(&["cat", "adas/plan.txt", "--version", line["version"].as_str().unwrap()]).ok().out
        })
        .collect();
    assert!(texts.contains(&"bob's first idea".to_owned()), "{texts:?}");
}
