//! How a folder stands is told by whoever can read it: with a daemon, beside a command, where nothing can be written.

use crate::place::Place;
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    os::unix::net::UnixListener,
    process::{Command, Stdio},
};

fn status(place: &Place, folder: &str) -> Value {
    place.status(folder)
}

#[test]
fn what_is_not_synced_is_told_once_also_by_the_next_process() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    let _socket = UnixListener::bind(place.path("one/socket")).unwrap();
    place.link("ada", "one");
    let said = status(&place, "one");
    assert_eq!(said["skipped"], json!([{"path": "socket", "why": "a socket"}]), "{said}");
    assert_eq!((&said["in_the_way"], &said["set_aside"]), (&json!([]), &json!([])), "{said}");
    let text = place.annals(&["status", "one"]).ok().out;
    assert_eq!(text.matches("not synced: socket (a socket)").count(), 1, "{text}");
}

#[test]
fn what_cannot_be_read_is_told_once() {
    let place = Place::of_a_person();
    place.write("one/secret.txt", "text");
    place.chmod("one/secret.txt", 0o000);
    place.hand_over("one");
    place.link("ada", "one");
    place.sync("one").ok();
    let said = status(&place, "one");
    assert_eq!(said["skipped"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(said["skipped"][0]["path"], "secret.txt");
}

#[test]
fn what_was_refused_is_told_with_the_place_where_it_is_and_whose_folder_it_is() {
    let place = Place::with_server();
    place.write("adas/plan.txt", "the plan");
    place.link("ada", "adas");
    place.annals(&["share", "adas", "--with", "bob", "--role", "viewer"]).ok();
    place.link_to("bob", "bobs", Some("ada/home"));
    place.write("bobs/plan.txt", "bob's idea");
    place.write("bobs/new.txt", "another");
    place.sync("bobs").exits(6);
    let said = status(&place, "bobs");
    assert_eq!(said["state"], "attention");
    assert_eq!((&said["owner"], &said["user"]), (&json!("ada"), &json!("bob")), "{said}");
    let aside = said["set_aside"].as_array().unwrap();
    let of = |path: &str| aside.iter().find(|line| line["path"] == path).unwrap_or_else(|| panic!("{said}"));
    assert_eq!(of("plan.txt")["where"], "plan (refused).txt", "{said}");
    assert_eq!(of("new.txt")["where"], "new.txt", "{said}");
    assert!(of("plan.txt")["why"].as_str().unwrap().starts_with("your role does not allow this"), "{said}");
    let text = place.annals(&["status", "bobs"]).exits(3).out;
    assert!(text.contains("home of ada, here as bob's device"), "{text}");
    assert!(text.contains("it is here as `plan (refused).txt`"), "{text}");
}

#[test]
fn a_folder_that_another_command_holds_still_says_how_it_stands() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    // As `sync --once` has it: locked, and nobody to ask.
    let lock = File::options().write(true).open(place.path("one/.annals/lock")).unwrap();
    lock.lock().unwrap();
    let said = status(&place, "one");
    assert_eq!((&said["state"], &said["files"]), (&json!("syncing"), &json!(1)), "{said}");
    assert!(place.annals(&["status", "one"]).ok().out.contains("another command is at work"));
    place.annals(&["devices", "one"]).fails(1, "in use");
    // Also before the first round has come to an end.
    fs::remove_file(place.path("one/.annals/standing.json")).unwrap();
    assert_eq!(status(&place, "one")["namespace_name"], "home");
}

#[test]
fn a_daemon_says_how_the_folder_stands_also_while_its_server_hangs() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    let mut daemon = place.start(&["sync", "one"]);
    assert_eq!(daemon.says("in sync"), "in sync: 1 file, 4 B");
    assert_eq!(status(&place, "one")["files"], 1);
    place.signal_server("STOP");
    // Whether a round has begun by now or not: it is answered, and no verb that waits keeps it waiting.
    let mut waiting = place.command(&["history", "one/a.txt"]).stdout(Stdio::null()).spawn().unwrap();
    for _ in 0..3 {
        assert_eq!(status(&place, "one")["namespace_name"], "home");
    }
    place.signal_server("CONT");
    assert!(waiting.wait().unwrap().success());
    place.annals(&["log", "one/nothing", "--follow"]).exits(2);
}

#[test]
fn a_daemon_that_is_told_to_end_does_so_and_leaves_nothing_behind() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    for signal in ["INT", "TERM"] {
        let mut daemon = place.start(&["sync", "one"]);
        daemon.says("in sync");
        assert!(place.exists("one/.annals/control.sock"));
        assert_eq!(daemon.ends(signal), Some(0), "{signal}");
        assert!(!place.exists("one/.annals/control.sock"), "{signal}");
        place.sync("one").ok();
    }
}

#[test]
fn up_says_when_the_first_copy_is_done_and_ends_cleanly() {
    let place = Place::new();
    (0..3).for_each(|n| place.write(&format!("folder/{n}.txt"), "text"));
    for signal in ["INT", "TERM"] {
        let mut up = place.start(&["up", "folder", "--data", "data", "--listen", "127.0.0.1:0"]);
        up.says("listening on http://127.0.0.1:");
        assert!(up.says("  annals link ").contains("--ticket"));
        assert_eq!(up.says("in sync"), "in sync: 3 files, 12 B");
        let second = place.annals(&["up", "other", "--data", "data", "--listen", "127.0.0.1:0"]);
        assert!(second.fails(1, "already runs on").err.contains("up FOLDER --data DIR"));
        assert_eq!(up.ends(signal), Some(0), "{signal}");
        assert!(!place.exists("folder/.annals/control.sock") && !place.exists("data/control.sock"));
    }
    place.annals(&["verify", "--data", "data"]).ok();
}

#[test]
fn a_folder_that_cannot_be_written_still_says_how_it_stands() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    let program = env!("CARGO_BIN_EXE_annals");
    let script = format!(
        "mount --bind one one && mount -o remount,ro,bind one && {program} status one --json || [ $? = 3 ]; {program} status one"
    );
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).current_dir(place.dir.path());
    let said = crate::place::said(&mut shell).exits(3);
    let document: Value = serde_json::from_str(said.out.lines().next().unwrap()).unwrap();
    assert_eq!((&document["state"], &document["files"]), (&json!("attention"), &json!(1)), "{document}");
    assert!(said.out.contains("Read-only file system"), "{}", said.out);
}

#[test]
fn what_waits_says_for_what_and_when_everything_was_exchanged() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    let well = status(&place, "one");
    let exchanged = well["last_exchange"].as_str().unwrap().to_owned();
    assert_eq!((&well["waits_for"], &well["moving"]), (&json!(null), &json!(null)));
    place.kill_server();
    place.write("one/b.txt", "more");
    place.sync("one").exits(4);
    let said = status(&place, "one");
    assert_eq!((&said["waits_for"], &said["last_exchange"]), (&json!("server"), &json!(exchanged)));
    let text = place.annals(&["status", "one"]).exits(4).out;
    assert!(text.contains("once the server is reached") && text.contains(&exchanged), "{text}");
    place.annals(&["sync", "one", "--pause"]).ok();
    assert_eq!(status(&place, "one")["waits_for"], "resume");
}

#[test]
fn while_a_large_file_is_on_its_way_its_name_its_speed_and_the_time_left_are_said() {
    let place = Place::with_server();
    place.link("ada", "one");
    let random: Vec<u8> =
        (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    std::fs::write(place.path("one/large.bin"), random).unwrap();
    place.annals(&["sync", "one", "--limit-rate", "500kB"]).ok();
    let sending = place.start(&["sync", "one", "--once"]);
    crate::place::until("it is said how fast it goes", || {
        let said = status(&place, "one");
        let moving = &said["moving"];
        moving["path"] == "large.bin"
            && moving["bytes_per_second"].as_u64() > Some(0)
            && moving["seconds_left"].as_u64() > Some(0)
    });
    let text = place.annals(&["status", "one"]).ok().out;
    assert!(text.contains("large.bin") && text.contains("a second on the wire"), "{text}");
    drop(sending);
}

#[test]
fn each_conflict_is_told_with_both_names_and_the_lines_that_resolve_it() {
    let place = Place::with_server();
    for name in ["a b.txt", "in/c.txt"] {
        place.write(&format!("one/{name}"), "first");
    }
    place.link("ada", "one");
    place.link("ada", "two");
    for name in ["a b.txt", "in/c.txt"] {
        place.write(&format!("one/{name}"), "one's");
        place.write(&format!("two/{name}"), "two's");
    }
    place.sync_all(&["one", "two"]);
    let said = status(&place, "one");
    let lines = said["conflicting"].as_array().unwrap();
    assert_eq!((lines[0]["path"].as_str(), lines[1]["path"].as_str()), (Some("a b.txt"), Some("in/c.txt")));
    let copy = lines[0]["copies"][0].as_str().unwrap();
    assert!(place.exists(&format!("one/{copy}")), "{said}");
    let other = place.read(&format!("one/{copy}"));
    // One is kept as it is, of the other what stands beside it.
    let text = place.annals(&["status", "one"]).ok().out;
    let typed = |begins: &str| {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix(begins));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    place.types(&typed("to keep this: ")[0]).ok();
    place.types(&typed("to keep the first: ")[1]).ok();
    place.sync_all(&["one", "two"]);
    assert_eq!(place.read("one/a b.txt"), other);
    for folder in ["one", "two"] {
        assert_eq!(status(&place, folder)["conflicts"], 0);
        assert_eq!(place.tree(folder).len(), 3, "{:?}", place.tree(folder));
    }
}

#[test]
fn two_files_that_want_one_name_are_told_apart_and_what_is_to_be_typed_keeps_both() {
    let place = Place::with_server();
    for folder in ["one", "two"] {
        place.link("ada", folder);
    }
    for folder in ["one", "two"] {
        place.write(&format!("{folder}/in/a b.txt"), &format!("{folder}'s"));
    }
    place.sync_all(&["one", "two", "one"]);
    let said = status(&place, "one");
    let lines = said["conflicting"].as_array().unwrap();
    assert_eq!((&lines[0]["why"], &lines[0]["path"]), (&"name".into(), &"in/a b.txt".into()), "{said}");
    let copy = lines[0]["copies"][0].as_str().unwrap();
    assert_ne!(place.read(&format!("one/{copy}")), place.read("one/in/a b.txt"));
    let text = place.annals(&["status", "one"]).ok().out;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("to keep both: ")).unwrap();
    place.types(&line.replace("ANOTHER-NAME", "'one/in/c d.txt'")).ok();
    place.sync_all(&["one", "two"]);
    assert_eq!(status(&place, "one")["conflicts"], 0);
    assert_eq!(place.tree("one").len(), 3, "{:?}", place.tree("one"));
}

#[test]
fn what_is_to_be_typed_about_a_folder_can_be_typed_whatever_it_is_called() {
    let place = Place::with_server();
    let linked = place.annals(&["link", &place.url, "my files", "--user", "ada"]).ok().err;
    let line =
        linked.lines().find_map(|line| line.strip_prefix("next: ")).unwrap_or_else(|| panic!("{linked}"));
    place.types(line).ok();
    let text = place.annals(&["status", "my files"]).ok().out;
    let keeps = text.lines().find(|line| line.contains("no daemon keeps it")).unwrap();
    assert!(crate::place::commands_in(keeps).iter().all(|line| line.ends_with("/my files'")), "{keeps}");
    let doctor = place.annals(&["doctor", "my files"]).out;
    assert!(!doctor.contains("sync /"), "{doctor}");
}
