//! What is missing in a folder was not always removed: its disk may be gone, its state old, its server new.

use crate::place::{Place, commands_in, until};
use std::process::Command;

fn shell(place: &Place, script: &str) {
    let done = Command::new("sh").args(["-ec", script]).current_dir(place.dir.path()).status().unwrap();
    assert!(done.success(), "{script}");
}

/// Types the lines of the hint that begin so, as they stand there.
fn follow(place: &Place, hint: &str, lines: &[&str]) {
    let commands = commands_in(hint);
    for begins in lines {
        let line = commands.iter().find(|line| line.starts_with(begins));
        place.types(line.unwrap_or_else(|| panic!("no `{begins}` in {hint}"))).ok();
    }
}

#[test]
fn a_wiped_server_is_refilled_by_the_devices_after_a_person_said_so() {
    let mut place = Place::with_server();
    place.write("one/shared/a.txt", "on both");
    place.write("one/b.txt", "too");
    place.link("ada", "one");
    place.link("ada", "two");
    place.sync_all(&["one", "two"]);
    place.write("two/only.txt", "of the second");
    place.kill_server();
    place.remove("server");
    place.serve();
    place.write("one/new.txt", "meanwhile");
    for (folder, lines) in [("one", &["annals user add", "annals link"][..]), ("two", &["annals link"])] {
        let before = place.tree(folder);
        let said = place.sync(folder).fails(3, "has begun anew");
        assert_eq!(place.status(folder)["state"], "attention");
        assert_eq!(place.tree(folder), before);
        follow(&place, said.err.split("hint: ").nth(1).unwrap(), lines);
        assert_eq!(place.status(folder)["device"], folder);
        place.sync(folder).ok();
    }
    place.sync_all(&["one", "two"]);
    assert_eq!(place.tree("one"), place.tree("two"));
    let names: Vec<String> =
        place.tree("one").iter().map(|line| line.split(' ').next().unwrap().into()).collect();
    assert_eq!(names, ["b.txt", "new.txt", "only.txt", "shared/", "shared/a.txt"]);
    place.link("ada", "three");
    assert_eq!(place.tree("three"), place.tree("one"));
}

#[test]
fn under_a_daemon_a_wiped_server_is_told_of_with_all_that_has_to_be_typed() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    place.kill_server();
    place.remove("server");
    place.serve();
    place.write("one/b.txt", "saved meanwhile");
    until("it says so", || place.status("one")["state"] == "attention");
    let hint = place.status("one")["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("stop the daemon"), "{hint}");
    assert_eq!(daemon.ends("TERM"), Some(3));
    follow(&place, &hint, &["annals user add", "annals link"]);
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    place.link("ada", "two");
    assert_eq!(place.tree("two"), place.tree("one"));
    assert_eq!(place.tree("two").len(), 2);
}

#[test]
fn a_folder_of_hundreds_emptied_beside_edits_comes_back_by_the_line_of_the_hint_and_the_edits_stay() {
    let place = Place::with_server();
    let folder = "my folder's";
    (0..300).for_each(|file| place.write(&format!("{folder}/all/{file}.txt"), &format!("text {file}")));
    place.write(&format!("{folder}/edited.txt"), "before");
    place.link("ada", folder);
    place.link("ada", "two");
    let mut daemon = place.start(&["sync", folder]);
    daemon.says("in sync");
    place.write(&format!("{folder}/edited.txt"), "edited meanwhile");
    place.write(&format!("{folder}/all/7.txt"), "edited before the rest went");
    (0..300).filter(|file| *file != 7).for_each(|file| place.remove(&format!("{folder}/all/{file}.txt")));
    until("a person has to look", || place.status(folder)["state"] == "attention");
    let status = place.status(folder);
    let hint = status["hint"].as_str().unwrap();
    place.sync("two").ok();
    assert_eq!(place.tree("two").len(), 302, "nothing was removed elsewhere");
    let dry = place.json(&["restore", folder, "--missing", "--dry-run", "--json"]);
    assert_eq!((dry["changes"].as_array().unwrap().len(), place.tree(folder).len()), (299, 3), "{dry}");
    follow(&place, hint, &["annals restore"]);
    until("nobody has to look any more", || place.status(folder)["state"] == "idle");
    assert_eq!(daemon.ends("TERM"), Some(0));
    assert_eq!(place.read(&format!("{folder}/edited.txt")), "edited meanwhile");
    assert_eq!(place.read(&format!("{folder}/all/7.txt")), "edited before the rest went");
    assert_eq!(place.read(&format!("{folder}/all/299.txt")), "text 299");
    place.sync("two").ok();
    assert_eq!(place.tree("two"), place.tree(folder));
    assert_eq!(place.tree("two").len(), 302);
}

#[test]
fn a_password_that_is_wrong_sets_no_link_aside() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    place.kill_server();
    place.remove("server");
    place.serve();
    let link = place.read("one/.annals/link.json");
    place.annals(&["link", &place.url, "one", "--user", "ada", "--device", "one"]).exits(6);
    assert_eq!(place.read("one/.annals/link.json"), link);
}

#[test]
fn a_backup_copied_over_the_folder_in_place_goes_on_as_another_device_by_itself() {
    let place = Place::with_server();
    place.write("one/f.txt", "first");
    place.write("one/g.txt", "stays");
    place.link("ada", "one");
    place.link("ada", "two");
    shell(&place, "cp -a one backup");
    place.write("one/f.txt", "second");
    place.write("one/later.txt", "after the backup");
    place.sync_all(&["one", "two"]);
    // As `rsync -a --delete backup/ one/`.
    shell(
        &place,
        "cd one && find . -type f | while read f; do [ -e \"../backup/$f\" ] || rm \"$f\"; done; cp -a ../backup/. .",
    );
    assert!(!place.exists("one/later.txt"));
    let said = place.sync("one").ok();
    assert!(said.err.contains("a device of its own"), "{}", said.err);
    place.sync_all(&["one", "two"]);
    assert_eq!(place.tree("one"), place.tree("two"));
    // Neither deleted nor overwritten, and what the log knows is not said again.
    assert_eq!(
        (place.read("two/f.txt"), place.read("two/later.txt")),
        ("second".into(), "after the backup".into())
    );
    assert_eq!(place.tree("two").len(), 3);
}

#[test]
fn a_folder_emptied_by_accident_under_a_daemon_is_emptied_nowhere_else() {
    let place = Place::with_server();
    (0..200).for_each(|file| place.write(&format!("one/all/{file}.txt"), "text"));
    place.link("ada", "one");
    place.link("ada", "two");
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    // Bit by bit, while the daemon looks.
    (0..200).for_each(|file| place.remove(&format!("one/all/{file}.txt")));
    place.remove("one/all");
    until("a person has to look", || place.status("one")["state"] == "attention");
    place.sync("two").ok();
    assert_eq!(place.tree("two").len(), 201);
    // Whoever asks is asked back.
    place.sync("one").fails(3, "gone from the folder");
    place.annals(&["sync", "one", "--once", "--accept-deletes"]).ok();
    assert_eq!(daemon.ends("TERM"), Some(0));
    place.sync("two").ok();
    assert_eq!(place.tree("two").len(), 0);
}

#[test]
fn who_was_asked_whether_much_was_removed_on_purpose_is_asked_after_a_restart_as_well() {
    let place = Place::with_server();
    (0..60).for_each(|file| place.write(&format!("one/all/{file}.txt"), "text"));
    place.link("ada", "one");
    place.link("ada", "two");
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    place.remove("one/all");
    until("a person has to look", || place.status("one")["state"] == "attention");
    // So much comes that what is gone is not most of the folder any more.
    (0..100).for_each(|file| place.write(&format!("two/new/{file}.txt"), "text"));
    place.sync("two").ok();
    until("it came", || place.tree("one").len() == 101);
    assert_eq!(daemon.ends("TERM"), Some(3));
    place.sync("one").fails(3, "gone from the folder");
    let daemon = place.start(&["sync", "one"]);
    until("it is asked again", || place.status("one")["state"] == "attention");
    place.write("one/last.txt", "saved under the second daemon");
    until("that is on the other device", || {
        place.sync("two").ok();
        place.exists("two/last.txt")
    });
    assert_eq!(place.tree("two").len(), 163);
    assert_eq!(daemon.ends("TERM"), Some(3));
    place.annals(&["sync", "one", "--once", "--accept-deletes"]).ok();
    place.sync("two").ok();
    assert_eq!(place.tree("two").len(), 102);
}

#[test]
fn while_a_person_has_to_confirm_what_vanished_saves_and_moves_go_on_and_restore_says_what_it_does() {
    let place = Place::with_server();
    (0..300).for_each(|file| place.write(&format!("one/all/{file}.txt"), &format!("text {file}")));
    for file in ["edited.txt", "moved.txt", "kind"] {
        place.write(&format!("one/{file}"), file);
    }
    place.link("ada", "one");
    place.link("ada", "two");
    let before = place.tree("two");
    let now = place.json(&["log", "one", "--json", "--limit", "1"])["at"].as_str().unwrap().to_owned();
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    let attention = || place.status("one")["state"] == "attention";
    place.remove("one/all");
    until("a person has to look", attention);
    place.write("one/new.txt", "saved meanwhile");
    place.write("one/edited.txt", "edited meanwhile");
    place.rename("one/moved.txt", "one/elsewhere.txt");
    // Where the folder was there is a file now.
    place.write("one/all", "in its place");
    place.write("two/from two.txt", "from two");
    until("all of it is on the other device, and nothing is gone there", || {
        assert_ne!(place.status("one")["state"], "idle", "nobody decided yet");
        place.sync("two").ok();
        let there = place.tree("two");
        let holds = |text: &str| there.iter().any(|line| line.ends_with(&format!("{text:?}")));
        ["saved meanwhile", "edited meanwhile", "in its place", "text 299"].iter().all(|text| holds(text))
            && place.exists("two/elsewhere.txt")
            && !place.exists("two/moved.txt")
    });
    until("what others say comes", || place.exists("one/from two.txt"));
    assert_eq!(place.tree("one").len(), 6, "nothing came again: {:?}", place.tree("one"));
    until("a person still has to look", attention);
    // What would happen is what happens.
    let lines = |said: crate::place::Said| {
        let mut lines: Vec<String> = said.out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let dry = place.annals(&["restore", "one", "--at", &now, "--dry-run"]).ok();
    assert!(dry.out.contains("brought back  all"), "{}", dry.out);
    assert_eq!(place.tree("one").len(), 6);
    let done = place.annals(&["restore", "one", "--at", &now]).ok();
    assert_eq!(lines(dry), lines(done));
    until("nobody has to look any more", || !attention());
    place.sync_all(&["two"]);
    let after = place.tree("one");
    assert_eq!(place.tree("two"), after);
    let texts: Vec<&str> = after.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    for line in before.iter().filter(|line| line.contains("all/") && !line.ends_with('/')) {
        assert!(texts.contains(&line.rsplit(' ').next().unwrap()), "{line} is lost");
    }
    assert_eq!(daemon.ends("TERM"), Some(0));
}

#[test]
fn a_disk_that_goes_under_a_daemon_deletes_nothing_and_is_taken_up_when_it_is_back() {
    let place = Place::with_server();
    place.write("two/a.txt", "text");
    place.link("ada", "two");
    let script = r#"
        mkdir disk one && mount --bind disk one
        $ANNALS link $URL one --user ada --device one && $ANNALS sync one --once
        $ANNALS sync one > said 2> troubles &
        daemon=$!
        until grep -q 'in sync' said; do :; done
        umount -l one
        [ -z "$(ls -A one)" ]
        until grep -q 'is the disk mounted' troubles; do :; done
        for verb in "status one" "sync one --once" "sync one" "history one/a.txt" "up one"; do
            code=0 && $ANNALS $verb 2> told || code=$?
            [ $code = 3 ] && grep -q 'is its disk mounted' told
        done
        echo meanwhile > two/b.txt && $ANNALS sync two --once
        [ -z "$(ls -A one)" ]
        $ANNALS sync two --once && [ -e two/a.txt ]
        mount --bind disk one
        until $ANNALS status one | grep -q ^idle; do :; done
        kill $daemon && wait $daemon
        $ANNALS sync one --once && [ -e one/a.txt ]
    "#;
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script]).current_dir(place.dir.path());
    shell.env("ANNALS", env!("CARGO_BIN_EXE_annals")).env("URL", &place.url);
    shell.env("ANNALS_PASSWORD", crate::place::PASSWORD).env("HOME", place.dir.path());
    crate::place::said(&mut shell).ok();
    place.sync("two").ok();
    assert_eq!(place.tree("two").len(), 2);
}
