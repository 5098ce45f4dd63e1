//! Somebody lost state, or has it twice. Nothing is ever deleted because of that.

use crate::place::{Place, Running, commands_in, until};
use std::{fs, process::Command};

fn copy(place: &Place, from: &str, to: &str) {
    let copied = Command::new("cp").args(["-a", from, to]).current_dir(place.dir.path()).status().unwrap();
    assert!(copied.success());
}

#[test]
fn a_copied_folder_with_saves_of_its_own_stops_and_keeps_them() {
    let mut place = Place::with_server();
    place.write("one/f", "f");
    place.write("one/g", "g");
    place.link("ada", "one");
    place.kill_server();
    copy(&place, "one", "clone");
    place.write("one/f", "edited on one");
    place.write("clone/g", "precious");
    place.sync("one").exits(4);
    place.sync("clone").exits(4);
    for verb in ["status", "log", "history"] {
        let said = place.annals(&[verb, if verb == "history" { "clone/f" } else { "clone" }]);
        let said = said.fails(3, "is a copy");
        assert!(said.err.contains("annals sync") && said.err.contains("annals unlink"), "{}", said.err);
    }
    place.serve();
    place.sync("one").ok();
    let said = place.sync("clone").ok();
    assert!(said.err.contains("a device of its own"), "{}", said.err);
    place.sync_all(&["clone", "one"]);
    for folder in ["one", "clone"] {
        let kept = place.tree(folder);
        assert!(kept.iter().any(|line| line.contains("precious")), "{kept:?}");
        assert!(kept.iter().any(|line| line.contains("edited on one")), "{kept:?}");
    }
    assert_eq!(place.tree("one"), place.tree("clone"));
    let devices = place.json(&["devices", "one", "--json"]);
    assert_eq!(devices.as_array().unwrap().len(), 2, "{devices}");
}

#[test]
fn a_copy_made_of_hard_links_undoes_nothing() {
    let place = Place::with_server();
    place.write("one/f", "v1");
    place.link("ada", "one");
    place.link("ada", "two");
    let linked = Command::new("cp").args(["-al", "two", "snap"]).current_dir(place.dir.path()).status();
    assert!(linked.unwrap().success());
    place.remove("one/f");
    place.write("one/f", "v4");
    place.write("one/later", "later");
    place.sync_all(&["one", "two"]);
    place.remove("two");
    place.rename("snap", "two");
    let said = place.sync("two").ok();
    assert!(said.err.contains("a device of its own"), "{}", said.err);
    place.sync_all(&["two", "one"]);
    assert_eq!(place.tree("one"), place.tree("two"));
    let texts = place.tree("one").join("\n");
    assert!(texts.contains("v4") && texts.contains("later"), "{texts}");
}

#[test]
fn what_a_crash_had_in_its_hands_and_nobody_can_put_back_is_not_said_to_be_removed() {
    let place = Place::with_server();
    place.write("one/d/f", "f");
    place.write("one/other", "other");
    place.link("ada", "one");
    place.link("ada", "two");
    fs::create_dir_all(place.path("one/.annals/tmp")).unwrap();
    // Nothing tells whose it is: it stays, beside the folder.
    place.rename("one/d", "one/.annals/tmp/d");
    place.annals(&["status", "one"]).exits(0);
    // Who asked is gone before a round.
    place.sync_all(&["one", "two"]);
    assert!(place.exists("two/d/f"), "{:?}", place.tree("two"));
    assert_eq!(place.tree("one"), place.tree("two"));
}

#[test]
fn unlinking_forgets_nothing_that_nobody_else_has() {
    let mut place = Place::with_server();
    place.write("one/f", "f");
    place.link("ada", "one");
    place.write("one/.annals/kept/1-f", "precious");
    let said = place.sync("one").ok();
    assert!(said.err.contains(".annals/kept/1-f"), "{}", said.err);
    assert!(place.annals(&["status", "one"]).ok().out.contains(".annals/kept/1-f"));
    place.kill_server();
    place.annals(&["tag", "one/f", "+offline"]).ok();
    place.annals(&["unlink", "one"]).fails(3, "1 change of");
    assert_eq!(place.annals(&["tag", "one/f"]).ok().out, "offline\n");
    place.serve();
    place.sync("one").ok();
    place.annals(&["unlink", "one"]).ok();
    assert_eq!(place.read("one/.annals/kept/1-f"), "precious");
    place.link("ada", "one");
    assert_eq!(place.annals(&["tag", "one/f"]).ok().out, "offline\n");
    assert_eq!(place.read("one/.annals/kept/1-f"), "precious");
}

#[test]
fn a_copy_that_is_unlinked_leaves_the_device_that_it_was_made_from_alone() {
    let place = Place::with_server();
    place.write("one/f", "f");
    place.link("ada", "one");
    copy(&place, "one", "clone");
    let said = place.annals(&["unlink", "clone"]).ok();
    assert!(said.err.contains("copy"), "{}", said.err);
    assert!(!place.exists("clone/.annals") && place.exists("clone/f"));
    place.write("one/f", "edited");
    place.sync("one").ok();
    place.link("ada", "clone");
    assert_eq!(place.read("one/f"), "edited");
}

#[test]
fn a_device_that_was_unlinked_without_its_server_is_retired_once_that_is_there() {
    let mut place = Place::with_server();
    place.write("one/f", "f");
    place.link("ada", "one");
    place.kill_server();
    let said = place.annals(&["unlink", "one"]).ok();
    assert!(said.err.contains("could not be told"), "{}", said.err);
    place.sync("one").fails(2, "not in a linked folder");
    place.serve();
    place.link("ada", "one");
    let devices = place.json(&["devices", "one", "--json"]);
    let at_work = devices.as_array().unwrap().iter().filter(|device| device["retired"] == false);
    assert_eq!(at_work.count(), 1, "{devices}");
    assert!(
        !std::fs::read_dir(place.path("one/.annals"))
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_string_lossy().starts_with("left-") })
    );
}

#[test]
fn a_folder_that_was_moved_or_given_to_somebody_is_the_one_that_it_was() {
    let place = Place::with_server();
    place.write("one/f", "f");
    place.link("ada", "one");
    place.rename("one", "two");
    place.chmod("two/.annals/guard", 0o400);
    place.write("two/f", "edited");
    let said = place.sync("two").ok();
    assert!(!said.err.contains("copy"), "{}", said.err);
    assert_eq!(place.json(&["devices", "two", "--json"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_folder_put_back_to_an_older_copy_does_not_take_what_it_forgot_for_seen() {
    let place = Place::with_server();
    place.write("one/f", "first");
    place.link("ada", "one");
    copy(&place, "one", "backup");
    place.write("one/f", "second");
    place.sync("one").ok();
    place.remove("one");
    place.rename("backup", "one");
    place.write("one/f", "third, without the second");
    let said = place.sync("one").ok();
    assert!(said.err.contains("put back"), "{}", said.err);
    let kept = place.tree("one");
    assert!(kept.iter().any(|line| line.contains("third")), "{kept:?}");
    assert!(kept.iter().any(|line| line.contains("second\"")), "{kept:?}");
    assert!(
        !kept.iter().any(|line| line.contains("first\"")),
        "what the log knows is not said again: {kept:?}"
    );
}

#[test]
fn a_state_that_was_cut_where_it_leaves_no_trace_makes_a_device_of_its_own_and_deletes_nothing() {
    for row in ["records", "state"] {
        let place = Place::with_server();
        place.write("one/kept.txt", "kept");
        place.link("ada", "one");
        place.link("ada", "two");
        let segment = place.path(&format!("one/.annals/{row}/00000001.segment"));
        let length = fs::metadata(&segment).unwrap().len();
        place.write("two/news.txt", "of today");
        place.write("one/mine.txt", "of today as well");
        place.sync_all(&["two", "one", "two", "one"]);
        assert!(fs::metadata(&segment).unwrap().len() > length, "{row} has got further");
        fs::File::options().write(true).open(&segment).unwrap().set_len(length).unwrap();
        place.write("one/mine.txt", "edited since");
        place.annals(&["log", "one"]).fails(3, "copy");
        place.sync_all(&["one", "two"]);
        for folder in ["one", "two"] {
            assert_eq!(place.read(&format!("{folder}/kept.txt")), "kept");
            assert_eq!(place.read(&format!("{folder}/news.txt")), "of today");
        }
        assert!(
            place.tree("one") == place.tree("two"),
            "{:?} and {:?}",
            place.tree("one"),
            place.tree("two")
        );
        assert!(place.tree("two").iter().any(|line| line.contains("edited since")));
        assert_eq!(place.json(&["devices", "one", "--json"]).as_array().unwrap().len(), 3, "{row}");
        place.annals(&["verify", "one"]).ok();
    }
}

#[test]
fn what_is_out_of_date_in_an_old_copy_makes_no_duplicates() {
    let place = Place::with_server();
    for name in ["a", "b", "c"] {
        place.write(&format!("one/{name}"), "first");
    }
    place.link("ada", "one");
    copy(&place, "one", "backup");
    place.write("one/a", "second");
    place.remove("one/b");
    place.sync("one").ok();
    place.remove("one");
    place.rename("backup", "one");
    place.sync("one").ok();
    assert_eq!(place.read("one/a"), "second");
    assert_eq!(place.read("one/b"), "first", "nothing is deleted because somebody forgot");
    assert_eq!(place.tree("one").len(), 3);
}

#[test]
fn a_damaged_device_can_be_unlinked_and_linked_anew() {
    let place = Place::with_server();
    place.write("one/f", "text");
    place.link("ada", "one");
    let segment =
        std::fs::read_dir(place.path("one/.annals/records")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    place.sync("one").fails(5, "damaged");
    place.annals(&["unlink", "one"]).ok();
    place.link("ada", "one");
    assert_eq!(place.read("one/f"), "text");
}

#[test]
fn the_servers_own_data_is_never_taken_for_files_to_sync() {
    let place = Place::new();
    place
        .annals(&["up", "folder", "--data", "folder/data", "--listen", "127.0.0.1:0"])
        .fails(2, "inside one another");
    assert!(!place.exists("folder"));
    let place = Place::with_server();
    place.write("around/file", "text");
    shell(&place, "cp -a server around/server");
    for folder in ["around", "around/server"] {
        let link = ["link", &place.url, folder, "--user", "ada", "--device", "d"];
        place.annals(&link).fails(2, "holds the data of a server");
        assert!(!place.exists(&format!("{folder}/.annals")));
    }
}

/// Keeps `folder` with the data in `data` until everything is in sync, and ends; where it listened.
fn up(place: &Place, more: &[&str]) -> String {
    let mut up = place.start(&[&["up", "folder", "--data", "data"], more].concat());
    let url = up.says("listening on ").trim_start_matches("listening on ").to_owned();
    up.says("in sync");
    assert_eq!(up.ends("TERM"), Some(0));
    url
}

#[test]
fn up_on_data_that_was_lost_or_replaced_links_anew_merges_and_deletes_nothing() {
    let place = Place::new();
    place.write("folder/old.txt", "old");
    place.write("folder/sub/edited.txt", "first");
    up(&place, &["--listen", "127.0.0.1:0"]);
    // Saved while nobody serves: it waits in the outbox.
    place.write("folder/sub/edited.txt", "second");
    place.write("folder/new.txt", "new");
    place.sync("folder").exits(4);
    let before = place.tree("folder");
    place.rename("data", "data.before");
    for step in ["lost", "replaced by what it was before"] {
        if step != "lost" {
            place.remove("data");
            place.rename("data.before", "data");
        }
        up(&place, &["--listen", "127.0.0.1:0"]);
        let after = place.tree("folder");
        if step == "lost" {
            assert_eq!(after, before);
        }
        // The log of before knows the edited file as it was then, and nobody knows which of the two is wanted.
        for text in ["old", "second", "new"] {
            assert!(after.iter().any(|line| line.ends_with(&format!("{text:?}"))), "{step}: {after:?}");
        }
        place.annals(&["verify", "folder"]).ok();
        place.annals(&["verify", "--data", "data"]).ok();
    }
    // What was not sent is kept as it was.
    let state = std::fs::read_dir(place.path("folder/.annals")).unwrap().map(|entry| entry.unwrap().path());
    let was: Vec<_> = state.filter(|path| path.extension().is_some_and(|end| end == "lost")).collect();
    assert_eq!(was.len(), 2);
    let kept = |name: &str| was.iter().any(|was| was.join(name).exists());
    assert!(
        kept("outbox/packs/00000001.segment") && kept("state") && kept("link.json") && kept("device.key")
    );
}

#[test]
fn up_with_other_data_than_the_folders_changes_nothing_and_says_what_to_type() {
    let place = Place::new();
    place.write("folder/a.txt", "a");
    up(&place, &["--listen", "127.0.0.1:0"]);
    let link = place.read("folder/.annals/link.json");
    let elsewhere = ["up", "folder", "--data", "elsewhere", "--listen", "127.0.0.1:0"];
    let said = place.annals(&elsewhere).fails(2, "another server");
    assert!(said.err.contains("annals unlink ") && said.err.contains("annals up "), "{}", said.err);
    assert_eq!(place.read("folder/.annals/link.json"), link);
}

#[test]
fn a_server_listens_where_it_did_before_and_says_so_where_it_cannot() {
    let place = Place::new();
    let url = up(&place, &["--listen", "127.0.0.1:0"]);
    assert_eq!(up(&place, &[]), url);
    let taken = std::net::TcpListener::bind(url.strip_prefix("http://").unwrap()).unwrap();
    let said = place.annals(&["up", "folder", "--data", "data"]).fails(1, "is in use");
    assert!(said.err.contains("devices") && said.err.contains("--listen"), "{}", said.err);
    let other = up(&place, &["--listen", "127.0.0.1:0"]);
    assert_ne!(other, url);
    drop(taken);
    let mut serve = place.start(&["serve", "--data", "data"]);
    assert!(serve.says("listening on ").contains(&url));
    assert_eq!(serve.ends("TERM"), Some(0));
}

fn shell(place: &Place, script: &str) {
    let done = Command::new("sh").args(["-ec", script]).current_dir(place.dir.path()).status().unwrap();
    assert!(done.success(), "{script}");
}

/// A daemon that keeps `one` and says into `troubles` what troubles it.
fn keeper(place: &Place) -> Running {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" sync one 2> troubles", env!("CARGO_BIN_EXE_annals")]);
    shell.current_dir(place.dir.path()).env("HOME", place.dir.path());
    let mut daemon = Running::of(&mut shell);
    daemon.says("in sync");
    daemon
}

#[test]
fn a_daemon_whose_state_or_folder_is_taken_away_ends_and_says_so() {
    // The daemon may take its socket away under whoever copies.
    let copied = "mv one was && { cp -a was one || [ -e one/.annals/link.json ]; }";
    for taken in ["rm -rf one/.annals", "mv one/.annals elsewhere", "rm -rf one", copied] {
        let place = Place::with_server();
        (0..30).for_each(|file| place.write(&format!("one/{file}"), "text"));
        place.link("ada", "one");
        place.link("ada", "two");
        let daemon = keeper(&place);
        shell(&place, taken);
        assert_eq!(daemon.ended(), Some(3), "{taken}: {}", place.read("troubles"));
        let troubles = place.read("troubles");
        let said = troubles.contains("removed or replaced") || troubles.contains("is a copy");
        assert!(said && troubles.contains("hint: "), "{taken}: {troubles}");
        place.sync("two").ok();
        assert_eq!(place.tree("two").len(), 30, "{taken}");
    }
}

#[test]
fn the_first_signal_ends_a_daemon_whose_folder_is_elsewhere() {
    let place = Place::with_server();
    place.write("one/a", "text");
    place.link("ada", "one");
    let daemon = keeper(&place);
    place.rename("one", "moved");
    until("it was noticed", || place.read("troubles").contains("is the disk mounted"));
    assert_eq!(daemon.ends("TERM"), Some(3));
}

/// Two devices, `one` kept by a daemon, and a backup of it that is older than what both have by now.
fn with_backup() -> (Place, Running) {
    let place = Place::with_server();
    place.write("one/f.txt", "first");
    place.write("one/g.txt", "stays");
    shell(&place, "touch -d '2 hours ago' one/f.txt one/g.txt");
    place.link("ada", "one");
    place.link("ada", "two");
    shell(&place, "cp -a one backup");
    let daemon = keeper(&place);
    place.write("one/f.txt", "second");
    place.write("one/later.txt", "after the backup");
    until("both are on the other device", || {
        place.sync("two").ok();
        place.exists("two/later.txt") && place.read("two/f.txt") == "second"
    });
    (place, daemon)
}

#[test]
fn a_backup_copied_over_the_folder_under_a_daemon_is_no_edit_and_goes_on_as_another_device() {
    for copied in [
        "cp -a backup/.annals one/ && cp -a backup/f.txt one/",
        "cp -a backup/f.txt one/ && cp -a backup/.annals one/",
        "cp -a backup/. one/",
        "rm one/later.txt && cp -a backup/. one/",
    ] {
        let (place, daemon) = with_backup();
        shell(&place, copied);
        assert_eq!(daemon.ended(), Some(3), "{copied}: {}", place.read("troubles"));
        place.sync("two").ok();
        assert_eq!(place.read("two/f.txt"), "second", "{copied}");
        assert!(place.exists("two/later.txt"), "{copied}");
        let said = place.sync("one").ok();
        assert!(said.err.contains("a device of its own"), "{copied}: {}", said.err);
        place.sync_all(&["one", "two"]);
        assert_eq!(place.tree("one"), place.tree("two"), "{copied}");
        assert_eq!((place.read("one/f.txt"), place.tree("one").len()), ("second".into(), 3), "{copied}");
    }
}

#[test]
fn what_a_backup_without_state_puts_back_is_a_version_on_top_of_the_newer_one() {
    let (place, daemon) = with_backup();
    shell(&place, "cp -a backup/f.txt one/");
    until("it is on the other device", || {
        place.sync("two").ok();
        place.read("two/f.txt") == "first"
    });
    let history = place.json(&["history", "two/f.txt", "--json"]);
    let text = |version: &serde_json::Value| {
        let version = version["version"].as_str().unwrap();
        place.annals(&["cat", "two/f.txt", "--version", version]).ok().out
    };
    let texts: Vec<String> = history.as_array().unwrap().iter().map(text).collect();
    assert_eq!(texts, ["first", "second", "first"]);
    assert_eq!(daemon.ends("TERM"), Some(0));
}

#[test]
fn of_a_damaged_state_nothing_is_thrown_away_and_what_was_saved_offline_arrives() {
    let mut place = Place::with_server();
    (0..20).for_each(|file| place.write(&format!("one/{file}.txt"), "text"));
    place.link("ada", "one");
    place.link("ada", "two");
    place.kill_server();
    place.write("one/0.txt", "saved offline");
    place.sync("one").exits(4);
    place.serve();
    let rows = fs::read_dir(place.path("one/.annals/state")).unwrap().map(|entry| entry.unwrap().path());
    let segment = rows.filter(|path| path.extension().is_some_and(|end| end == "segment")).min().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let said = place.sync("one").exits(5);
    let line = commands_in(&said.err).into_iter().find(|line| line.starts_with("annals unlink"));
    place.types(&line.unwrap_or_else(|| panic!("{}", said.err))).ok();
    let aside = fs::read_dir(place.path("one/.annals")).unwrap().map(|entry| entry.unwrap().path());
    let aside =
        aside.into_iter().find(|path| path.to_string_lossy().contains("was-")).expect("it is set aside");
    assert!(
        aside.join("state").exists() && aside.join("outbox").exists() && aside.join("device.key").exists()
    );
    place.link("ada", "one");
    place.sync("two").ok();
    // Nobody knows any more what it was made from: it stands beside what the log had.
    let holds = |text: &str| place.tree("two").iter().any(|line| line.ends_with(&format!("{text:?}")));
    assert!(holds("saved offline") && holds("text"));
    place.sync("one").ok();
    assert_eq!((place.tree("one"), place.tree("one").len()), (place.tree("two"), 21));
}
