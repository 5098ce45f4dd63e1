//! Other people in a folder: what each may do, by the log's order.

use crate::place::Place;

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
    let status = place.annals(&["status", "bobs"]).ok().out;
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
    let status = place.annals(&["status", "bobs"]).ok().out;
    assert!(status.contains("set aside: late.txt"), "{status}");
    place.sync("adas").ok();
    assert!(!place.exists("adas/late.txt"));
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
