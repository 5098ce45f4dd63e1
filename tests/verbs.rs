//! What each verb says, and what it says to a mistake.

use crate::place::Place;
use std::fs;

#[test]
fn one_version_of_a_file_is_shown_read_and_brought_back() {
    let place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    place.write("one/a.txt", "second");
    place.sync("one").ok();
    let history = place.json(&["history", "one/a.txt", "--json"]);
    let first = history[1]["version"].as_str().unwrap();
    assert_eq!(history[0]["parents"][0], first);
    assert_eq!(history[0]["head"], true);
    assert_eq!(history[0]["device"], "one");
    assert_eq!(history[0]["user"], "ada");
    assert_eq!(place.annals(&["cat", "one/a.txt", "--version", first]).ok().out, "first");
    place.annals(&["restore", "one/a.txt", "--version", first]).ok();
    assert_eq!(place.read("one/a.txt"), "first");
    assert_eq!(place.json(&["history", "one/a.txt", "--json"]).as_array().unwrap().len(), 3);
    // A deleted file comes back too.
    place.remove("one/a.txt");
    place.sync("one").ok();
    place.annals(&["restore", "one/a.txt", "--version", first]).ok();
    assert_eq!(place.read("one/a.txt"), "first");
}

#[test]
fn a_restore_takes_the_place_of_what_is_in_the_folder_and_keeps_that_as_a_version() {
    let place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    let first = place.json(&["history", "one/a.txt", "--json"])[0]["version"].as_str().unwrap().to_owned();
    place.write("one/a.txt", "not synced yet");
    place.annals(&["restore", "one/a.txt", "--version", &first]).ok();
    assert_eq!(place.read("one/a.txt"), "first");
    let history = place.json(&["history", "one/a.txt", "--json"]);
    assert_eq!(history.as_array().unwrap().len(), 3, "{history}");
    assert_eq!(place.tree("one").len(), 1);
}

#[test]
fn tags_and_notes_travel() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    place.link("ada", "two");
    place.annals(&["tag", "one/a.txt", "+draft", "+2026"]).ok();
    place.annals(&["note", "one/a.txt", "for Bob"]).ok();
    place.sync("two").ok();
    assert_eq!(place.annals(&["tag", "two/a.txt"]).ok().out, "2026\ndraft\n");
    assert_eq!(place.annals(&["note", "two/a.txt"]).ok().out, "for Bob\n");
    place.annals(&["tag", "two/a.txt", "-draft"]).ok();
    place.sync("one").ok();
    assert_eq!(place.annals(&["tag", "one/a.txt"]).ok().out, "2026\n");
    let many: Vec<String> = (0..3000).map(|n| format!("+{n:0>250}")).collect();
    let typed: Vec<&str> = ["tag", "one/a.txt"].into_iter().chain(many.iter().map(String::as_str)).collect();
    assert!(place.annals(&typed).exits(2).err.contains("at most 256"));
}

#[test]
fn the_log_tells_what_happened() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    place.rename("one/a.txt", "one/b.txt");
    place.sync("one").ok();
    let lines = place.annals(&["log", "one", "--json"]).ok().out;
    let kinds: Vec<String> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds.first().map(String::as_str), Some("namespace_created"));
    assert!(
        kinds.ends_with(&["entry_created".into(), "acknowledged".into(), "entry_moved".into()]),
        "{kinds:?}"
    );
    assert!(place.annals(&["log", "one", "b.txt"]).ok().out.contains("entry_moved"));
    let about = place.annals(&["log", "one", "one/b.txt", "--limit", "1"]).ok().out;
    assert!(about.contains("entry_moved") && about.contains("b.txt"), "{about}");
}

#[test]
fn devices_are_listed_and_one_is_cut_off() {
    let place = Place::with_server();
    place.link("ada", "one");
    place.link("ada", "two");
    place.annals(&["devices", "one", "--retire", "two"]).ok();
    place.write("two/late.txt", "text");
    place.sync("two").exits(6);
    assert!(place.exists("two/late.txt"));
    place.annals(&["devices", "one", "--retire", "nobody"]).fails(2, "no device `nobody`");
    place.annals(&["devices", "one", "--retire", "two"]).fails(2, "retired already");
    place.annals(&["devices", "one", "--retire", "one"]).fails(2, "this very device");
    // Two of one name: the id tells them apart.
    for folder in ["three", "four"] {
        place.annals(&["link", &place.url, folder, "--user", "ada", "--device", "phone"]).ok();
    }
    let said =
        place.annals(&["devices", "one", "--retire", "phone"]).fails(2, "2 devices are called `phone`");
    let id = said.err.split("--retire ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    place.annals(&["devices", "one", "--retire", &id]).ok();
    place.annals(&["devices", "one", "--retire", "phone"]).ok();
    let retired = place.json(&["devices", "one", "--json"]);
    let retired = retired.as_array().unwrap().iter().filter(|line| line["retired"] == true).count();
    assert_eq!(retired, 3);
}

#[test]
fn a_device_that_only_pulls_was_here_and_says_how_far_it_is() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    place.annals(&["share", "one", "--with", "bob", "--role", "viewer"]).ok();
    place.link_to("bob", "bobs", Some("ada/home"));
    let listed = place.json(&["devices", "one", "--json"]);
    let of =
        |label: &str| listed.as_array().unwrap().iter().find(|line| line["label"] == label).unwrap().clone();
    assert_eq!((of("bobs")["user"].as_str(), of("one")["user"].as_str()), (Some("bob"), Some("ada")));
    assert!(of("bobs")["last_seen"].is_string(), "{listed}");
    let created = place.annals(&["log", "one", "a.txt", "--json"]).ok().out;
    let created: serde_json::Value = serde_json::from_str(created.lines().next().unwrap()).unwrap();
    for label in ["bobs", "one"] {
        assert!(of(label)["acknowledged"].as_u64() >= created["seq"].as_u64(), "{listed}");
    }
    // It is no change that anybody made: nothing is said of it, and nobody answers.
    place.sync("one").ok();
    let before = place.status("one")["cursor"].as_u64();
    let report = place.json(&["sync", "bobs", "--once", "--json"]);
    assert_eq!((&report["events_sent"], &report["events_received"]), (&0.into(), &0.into()), "{report}");
    place.sync("one").ok();
    let after = place.status("one")["cursor"].as_u64();
    assert_eq!(after, before);
    let text = place.annals(&["devices", "one"]).ok().out;
    assert!(text.contains("was at event") && text.contains("(this device)"), "{text}");
}

#[test]
fn a_ticket_links_the_next_device_once() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    let line = place.annals(&["invite", "one"]).ok().out;
    let code = line.trim().rsplit(' ').next().unwrap().to_owned();
    let elsewhere = ["link", &place.url, "two", "--ticket", &code, "--namespace", "bob/home"];
    place.annals(&elsewhere).fails(2, "one namespace");
    place.annals(&["link", &place.url, "two", "--ticket", &code.to_lowercase()]).ok();
    place.sync("two").ok();
    assert_eq!(place.read("two/a.txt"), "text");
    place.annals(&["link", &place.url, "three", "--ticket", &code]).fails(6, "ticket");
    place.annals(&["link", &place.url, "three", "--ticket", "nonsense"]).fails(6, "ticket");
}

#[test]
fn mistakes_get_a_clear_error_a_hint_and_an_exit_code() {
    let place = Place::with_server();
    place.link("ada", "one");
    place.write("one/a.txt", "text");
    place.write("file", "text");
    fs::create_dir(place.path("one/inside")).unwrap();
    place.sync("one").ok();
    fs::create_dir(place.path("plain")).unwrap();
    place.write("one/unsaid.txt", "not synced yet");
    let url = place.url.clone();
    let rows: &[(&[&str], i32, &str)] = &[
        (&["status", "plain"], 2, "not in a linked folder"),
        (&["history", "one/nothing.txt"], 2, "not known here"),
        (&["history", "one/unsaid.txt"], 1, "has no version yet"),
        (&["trash", "empty", "one"], 3, "annals trash empty "),
        (&["trash", "empty", "one", "a b"], 3, "/one 'a b' --yes"),
        (&["history", "one/inside"], 2, "not"),
        (&["link", &url, "one", "--user", "ada"], 2, "already linked"),
        (&["link", &url, "one/inside", "--user", "ada"], 2, "lies inside the linked folder"),
        (&["link", &url, ".", "--user", "ada"], 2, "contains the linked folder"),
        (&["link", "http://127.0.0.1:1", "new", "--user", "ada"], 4, "cannot be reached"),
        (&["link", "ftp://x", "new", "--user", "ada"], 2, "no address of a server"),
        (&["link", "127.0.0.1:8417", "new", "--user", "ada"], 2, "no address of a server"),
        (&["cat", "one"], 2, "the linked folder itself"),
        (&["cat", "one/a.txt", "--version", "zz"], 2, "no version called `zz`"),
        (&["cat"], 2, "required arguments"),
        (&["status", "one", "--what"], 2, "unexpected argument"),
        (&["nonsense"], 2, "unrecognized"),
        (&["trash", "list", "one", "--nonsense"], 2, "unexpected argument"),
        (&["share", "one", "--with", "bob", "--role", "king"], 2, "invalid value"),
        (&["link", &url, "file", "--user", "ada"], 2, "a file, not a folder"),
        (&["up", "file", "--data", "other"], 2, "a file, not a folder"),
        (&["cat", "one/inside"], 2, "a folder, not a file"),
        (&["share", "one/a.txt", "--with", "bob", "--role", "viewer"], 2, "lies in the linked folder"),
        (&["status", "nowhere"], 2, "there is no"),
        (&["link", &url, "new", "--user", "nobody"], 6, "wrong"),
        (&["link", &url, "new", "--user", "ada", "--namespace", "nowhere"], 6, "namespace"),
        (&["restore", "one/inside"], 2, "which version"),
        (&["tag", "one/inside", "draft"], 2, "neither +TAG nor -TAG"),
        (&["log", "one", "--since", "yesterday"], 2, "no moment"),
        (&["user", "add", "ada", "--server", &url, "--data", "server"], 1, "account of that name"),
        (&["user", "add", "eve", "--server", &url, "--data", "plain"], 6, "admin's token"),
        (&["user", "add", "eve", "--server", &url, "--data", "server", "--quota", "much"], 2, "no size"),
        (&["share", "one", "--with", "nobody", "--role", "viewer"], 6, "no account"),
        (&["serve", "--data", "server", "--listen", "127.0.0.1:0"], 1, "already runs on"),
        (&["serve", "--data", "other", "--listen", url.strip_prefix("http://").unwrap()], 1, "in use"),
        (&["serve", "--data", "other", "--listen", "nowhere"], 2, ""),
        (&["verify", "--data", "plain"], 2, "no server's data"),
    ];
    for (arguments, code, why) in rows {
        place.annals(arguments).fails(*code, why);
    }
    let first = ["sync", "one", "--once", "--first", "one/nothing.txt"];
    place.annals(&first).fails(2, "nothing.txt is not known here");
    assert!(place.annals(&["frobnicate"]).exits(2).err.contains("unrecognized subcommand"));
    assert!(place.annals(&["sync", "--once", "--help"]).ok().out.contains("Example"));
}

#[test]
fn a_wrong_password_is_refused() {
    let place = Place::with_server();
    let mut command = place.command(&["link", &place.url, "one", "--user", "ada"]);
    crate::place::said(command.env("ANNALS_PASSWORD", "wrong password")).fails(6, "wrong");
    assert!(!place.exists("one/.annals/link.json"));
}

#[test]
fn verify_is_quiet_about_a_whole_log_and_names_the_place_of_one_flipped_byte() {
    let mut place = Place::with_server();
    (0..30).for_each(|file| place.write(&format!("one/{file}.txt"), &format!("text {file}")));
    place.link("ada", "one");
    place.annals(&["verify", "one"]).ok();
    place.kill_server();
    let before = place.json(&["verify", "--data", "server", "--json", "--deep"]);
    assert_eq!(before["ok"], true, "{before}");
    // Whatever can be rebuilt is rebuilt, with the same digests.
    fs::remove_dir_all(place.path("server/log/index")).unwrap();
    let after = place.json(&["verify", "--data", "server", "--json"]);
    assert_eq!((&after["digests"], &after["chain"]), (&before["digests"], &before["chain"]));
    let segment = fs::read_dir(place.path("server/log/segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .min()
        .unwrap();
    let good = fs::read(&segment).unwrap();
    for at in [good.len() / 4, good.len() / 2, good.len() - 60] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&segment, &bad).unwrap();
        let said = place.annals(&["verify", "--data", "server", "--json"]).exits(5);
        let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(report["ok"], false);
        assert!(report["problems"][0]["where"].as_str().unwrap().contains("position"), "byte {at}: {report}");
    }
    fs::write(&segment, &good).unwrap();
    place.annals(&["verify", "--data", "server"]).ok();
}

#[test]
fn a_file_that_lies_in_the_folder_unchanged_is_shown_without_a_server() {
    let mut place = Place::with_server();
    place.write("one/small.txt", "first");
    // More than a handful of chunks, which only a manifest lists.
    let large: String = (0..1_600_000).map(|n| format!("{n}\n")).collect();
    place.write("one/large.txt", &large);
    place.link("ada", "one");
    place.write("one/small.txt", "second");
    place.sync("one").ok();
    let history = place.json(&["history", "one/small.txt", "--json"]);
    let first = history[1]["version"].as_str().unwrap().to_owned();
    place.kill_server();
    assert_eq!(place.annals(&["cat", "one/small.txt"]).ok().out, "second");
    assert!(place.annals(&["cat", "one/large.txt"]).ok().out == large, "another text");
    place.annals(&["cat", "one/small.txt", "--version", &first]).fails(4, "cannot be reached");
    // What is in the folder is believed by its bytes alone: same size, same time, another text.
    let meta = fs::metadata(place.path("one/small.txt")).unwrap();
    place.write("one/small.txt", "SECOND");
    let file = fs::File::options().write(true).open(place.path("one/small.txt")).unwrap();
    file.set_modified(meta.modified().unwrap()).unwrap();
    let said = place.annals(&["cat", "one/small.txt"]).fails(4, "cannot be reached");
    assert_eq!(said.out, "");
}

#[test]
fn the_log_says_what_changed_and_both_names_of_a_move() {
    let place = Place::with_server();
    place.write("one/docs/a.txt", "text");
    place.link("ada", "one");
    place.rename("one/docs/a.txt", "one/b.txt");
    place.sync("one").ok();
    place.annals(&["tag", "one/b.txt", "+draft"]).ok();
    place.annals(&["share", "one", "--with", "bob", "--role", "viewer"]).ok();
    let text = place.annals(&["log", "one"]).ok().out;
    for what in
        ["docs/a.txt (4 bytes)", "docs/a.txt → b.txt", "b.txt (+draft)", "bob as viewer", "one, of ada"]
    {
        assert!(text.contains(what), "no {what:?} in {text}");
    }
    let moved = place.annals(&["log", "one", "b.txt", "--json"]).ok().out;
    let moved = moved.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let moved = moved.into_iter().find(|line| line["kind"] == "entry_moved").unwrap();
    assert_eq!((moved["from"].as_str(), moved["path"].as_str()), (Some("docs/a.txt"), Some("b.txt")));
    // Columns stand below each other.
    let starts: std::collections::BTreeSet<usize> =
        text.lines().map(|line| line.find("T").unwrap()).collect();
    assert_eq!(starts.len(), 1, "{text}");
}

#[test]
fn what_comes_is_followed() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    let mut following = place.start(&["log", "one", "--follow", "--limit", "1"]);
    following.says(" ");
    place.rename("one/a.txt", "one/b.txt");
    place.sync("one").ok();
    assert!(following.says(" ").contains("a.txt → b.txt"));
}
