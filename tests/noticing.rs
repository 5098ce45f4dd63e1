//! A daemon that has nothing to say notices all the same that its server is gone, another one, or does not know it any
//! more, and goes on by itself once that is over.

use crate::place::{Place, Running, until};
use std::{
    fs::{self, File},
    process::Stdio,
};

/// Starts a daemon on `folder`, whose remarks go into a file beside it, and waits until everything is exchanged.
fn daemon(place: &Place, folder: &str) -> Running {
    let remarks = File::create(place.path(&format!("{folder}.err"))).unwrap();
    let mut daemon = Running::of_with(&mut place.command(&["sync", folder]), Stdio::from(remarks));
    daemon.says("in sync");
    daemon
}

fn remarks(place: &Place, folder: &str) -> String {
    place.read(&format!("{folder}.err"))
}

fn linked() -> Place {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    place
}

#[test]
fn an_idle_daemon_notices_that_its_server_is_gone_and_that_it_is_back() {
    let mut place = linked();
    let daemon = daemon(&place, "one");
    assert_eq!(place.status("one")["daemon"], true);
    place.kill_server();
    until("it is offline", || place.status("one")["state"] == "offline");
    let said = place.status("one");
    assert!(said["offline_since"].is_string() && said["waits_for"] == "server", "{said}");
    until("it says so", || remarks(&place, "one").contains("offline: server not reached since "));
    assert!(remarks(&place, "one").contains("nothing waits"), "{}", remarks(&place, "one"));
    place.write("one/b.txt", "saved meanwhile");
    until("the save is journaled", || place.status("one")["pending_events"] == 1);
    let text = place.annals(&["status", "one"]).exits(4).out;
    assert!(text.contains("1 change waits") && text.contains("hint: is the server running"), "{text}");
    assert_eq!(place.status("one")["offline_since"], said["offline_since"], "since it was lost first");
    place.serve();
    until("it is in sync again", || place.status("one")["state"] == "idle");
    assert_eq!(daemon.ends("INT"), Some(0));
    let remarks = remarks(&place, "one");
    assert_eq!(remarks.matches("offline: ").count(), 1, "{remarks}");
    assert!(remarks.contains("in sync again"), "{remarks}");
    let text = place.annals(&["status", "one"]).ok().out;
    assert!(text.starts_with("stopped ") && text.contains("no daemon keeps it in sync"), "{text}");
}

#[test]
fn a_daemon_that_ends_without_its_server_says_so_by_its_exit_code() {
    let mut place = linked();
    let daemon = daemon(&place, "one");
    place.stop_server();
    until("it is offline", || place.status("one")["state"] == "offline");
    assert_eq!(daemon.ends("TERM"), Some(4));
}

#[test]
fn an_idle_daemon_notices_that_its_server_was_wiped() {
    let mut place = linked();
    let daemon = daemon(&place, "one");
    place.kill_server();
    fs::remove_dir_all(place.path("server")).unwrap();
    place.serve();
    until("a person has to look", || place.status("one")["state"] == "attention");
    let text = place.annals(&["status", "one"]).exits(3).out;
    assert!(
        text.contains("attention: the server at ") && text.contains("hint: nothing was deleted"),
        "{text}"
    );
    assert_eq!(daemon.ends("INT"), Some(3));
    let remarks = remarks(&place, "one");
    assert!(remarks.contains("attention: ") && remarks.contains("hint: nothing was deleted"), "{remarks}");
    assert_eq!(place.read("one/a.txt"), "text");
}

#[test]
fn an_idle_daemon_gives_a_server_back_what_that_lost() {
    let mut place = linked();
    place.stop_server();
    let copied = std::process::Command::new("cp")
        .args(["-a", "server", "yesterday"])
        .current_dir(place.dir.path())
        .status();
    assert!(copied.unwrap().success());
    place.serve();
    let daemon = daemon(&place, "one");
    place.write("one/today.txt", "of today");
    until("it is sent", || place.status("one")["pending_events"] == 0 && place.status("one")["files"] == 2);
    place.kill_server();
    fs::remove_dir_all(place.path("server")).unwrap();
    place.rename("yesterday", "server");
    place.serve();
    until("the server has it again", || {
        place.link("ada", "two");
        let has = place.exists("two/today.txt");
        place.annals(&["unlink", "two"]).ok();
        has
    });
    until("nothing is left to do", || place.status("one")["state"] == "idle");
    assert_eq!(daemon.ends("INT"), Some(0));
}

#[test]
fn an_idle_daemon_notices_that_its_device_is_retired() {
    let place = linked();
    place.link("ada", "two");
    let daemon = daemon(&place, "one");
    place.annals(&["devices", "two", "--retire", "one"]).ok();
    until("a person has to look", || place.status("one")["state"] == "attention");
    let text = place.annals(&["status", "one"]).exits(3).out;
    assert!(text.contains("hint: ") && text.contains("retired"), "{text}");
    assert_eq!(daemon.ends("INT"), Some(3));
}
