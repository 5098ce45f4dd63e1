//! What keeps a folder in sync is set up, and looked at: the service, the doctor, what shells and `man` read.

use crate::place::{Place, said};
use serde_json::Value;
use std::{fs, process::Command};

fn examined(place: &Place, folder: &str, code: i32) -> Vec<Value> {
    let said = place.annals(&["doctor", folder, "--json"]).exits(code);
    serde_json::from_str::<Value>(&said.out).unwrap().as_array().unwrap().clone()
}

fn of<'a>(lines: &'a [Value], what: &str) -> &'a Value {
    lines.iter().find(|line| line["what"] == what).unwrap_or_else(|| panic!("no {what} in {lines:?}"))
}

#[test]
fn the_doctor_finds_nothing_wrong_with_what_is_in_sync() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    let lines = examined(&place, "one", 0);
    for what in ["folder", "state", "room", "watching", "server", "certificate", "clocks", "quota"] {
        assert_eq!(of(&lines, what)["level"], "ok", "{what}: {lines:?}");
    }
    assert_eq!(of(&lines, "daemon")["level"], "warn");
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    assert_eq!(of(&examined(&place, "one", 0), "daemon")["level"], "ok");
    assert!(place.annals(&["doctor", "one"]).ok().out.contains("ok    daemon"));
    // How far this device is it knows best.
    place.write("one/b.txt", "more");
    crate::place::until("it is sent", || {
        place.status("one")["cursor"].as_u64() == place.status("one")["seq"].as_u64()
            && place.status("one")["files"] == 2
    });
    let status = place.status("one");
    let devices = place.json(&["devices", "one", "--json"]);
    assert_eq!(devices[0]["acknowledged"], status["cursor"], "{devices} {status}");
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let mut place = Place::with_server();
    (0..60).for_each(|file| place.write(&format!("one/{file}.txt"), "text"));
    place.link("ada", "one");
    place.annals(&["doctor", "nowhere"]).exits(1);
    place.annals(&["doctor", "."]).fails(2, "not in a linked folder");
    (0..60).for_each(|file| place.remove(&format!("one/{file}.txt")));
    place.sync("one").exits(3);
    let round = of(&examined(&place, "one", 3), "last round").clone();
    assert!(round["level"] == "bad" && round["hint"].is_string(), "{round}");
    place.annals(&["restore", "one", "--at", "0s"]).ok();
    examined(&place, "one", 0);
    place.kill_server();
    assert_eq!(of(&examined(&place, "one", 4), "server")["level"], "bad");
}

#[test]
fn a_unit_is_written_for_one_folder_started_where_systemd_is_and_removed_again() {
    let place = Place::with_server();
    place.write("My Docs/a.txt", "text");
    place.link("ada", "My Docs");
    place.write("other/My Docs/b.txt", "text");
    place.link("ada", "other/My Docs");
    // A systemd that writes down what it is asked.
    place.write("bin/systemctl", "#!/bin/sh\necho \"$@\" >> \"$ASKED\"\n");
    place.chmod("bin/systemctl", 0o755);
    let typed = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("PATH", place.path("bin")).env("ASKED", place.path("asked"));
        said(command.env("XDG_CONFIG_HOME", place.path("config")))
    };
    let unit = typed(&["service", "install", "My Docs", "--print"]).ok().out;
    let folder = place.path("My Docs").canonicalize().unwrap();
    assert!(unit.contains(&format!("\"sync\" \"--\" \"{}\"\n", folder.display())), "{unit}");
    assert!(!place.exists("config"));
    typed(&["service", "install", "My Docs"]).ok();
    assert_eq!(place.read("config/systemd/user/annals-My-Docs.service"), unit);
    let asked = place.read("asked");
    assert_eq!(asked, "--user daemon-reload\n--user enable --now annals-My-Docs.service\n");
    typed(&["service", "install", "other/My Docs"]).ok();
    assert!(place.exists("config/systemd/user/annals-My-Docs-2.service"));
    let known = typed(&["service", "status", "My Docs", "--json"]).ok().out;
    let known: Value = serde_json::from_str(&known).unwrap();
    assert_eq!((&known["installed"], &known["active"]), (&true.into(), &true.into()));
    typed(&["service", "uninstall", "My Docs"]).ok();
    typed(&["service", "uninstall", "My Docs"]).fails(2, "no service");
    assert!(place.exists("config/systemd/user/annals-My-Docs-2.service"));
    // Nothing is left for it to do once its folder is linked no more: that is said, and how it goes.
    let left = typed(&["unlink", "other/My Docs"]).ok().err;
    let unit = place.path("config/systemd/user/annals-My-Docs-2.service");
    assert!(
        left.contains(&format!("disable --now annals-My-Docs-2.service; rm {}", unit.display())),
        "{left}"
    );
    assert!(!typed(&["unlink", "My Docs"]).ok().err.contains("service"));
    place.annals(&["link", &place.url, "My Docs", "--user", "ada"]).ok();
    // Where there is none, it says what to type.
    let mut command = place.command(&["service", "install", "My Docs"]);
    command.env("PATH", place.path("nothing")).env("XDG_CONFIG_HOME", place.path("config"));
    assert!(said(&mut command).ok().err.contains("systemctl --user enable --now annals-My-Docs.service"));
}

#[test]
fn shells_take_the_completions_and_every_verb_has_a_page() {
    let place = Place::new();
    place.annals(&["man", "--to", "pages"]).ok();
    assert!(place.read("pages/annals-trash-list.1").contains("annals trash list"));
    assert!(fs::read_dir(place.path("pages")).unwrap().count() > 30);
    for shell in ["bash", "zsh", "fish"] {
        let script = place.annals(&["completions", shell]).ok().out;
        place.write(shell, &script);
        let checked = Command::new(shell).arg("-n").arg(place.path(shell)).output();
        // Only bash has to be there.
        match checked {
            Ok(checked) => assert!(checked.status.success(), "{shell}: {checked:?}"),
            Err(error) => assert_ne!(shell, "bash", "{error}"),
        }
    }
}
