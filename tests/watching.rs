//! Daemons that run: what happens in one folder is in the other soon, and becomes what it was, whoever saves and however.

use crate::place::{Place, Running, until};
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

/// Two devices of one person, both kept in sync from here on.
struct Pair {
    /// Gone before their folders are.
    _daemons: Vec<Running>,
    place: Place,
}

impl Pair {
    fn of(place: Place) -> Self {
        place.link("ada", "one");
        place.link("ada", "two");
        let daemons = ["one", "two"].map(|folder| Self::keep(&place, folder));
        Self { place, _daemons: daemons.into() }
    }

    fn keep(place: &Place, folder: &str) -> Running {
        let mut daemon = place.start(&["sync", folder]);
        daemon.says("in sync");
        daemon
    }

    fn has(&self, path: &str, text: &str) {
        until(&format!("{path} holds {text:?}"), || {
            fs::read_to_string(self.place.path(path)).is_ok_and(|found| found == text)
        });
    }

    fn same(&self) {
        until("both folders are the same", || self.place.tree("one") == self.place.tree("two"));
    }

    /// The kinds of events after `seq`, in order.
    fn kinds_after(&self, seq: u64) -> Vec<String> {
        let log = self.place.annals(&["log", "one", "--json"]).ok().out;
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let after = lines.filter(|line| line["seq"].as_u64().unwrap() > seq);
        let mut kinds: Vec<(u64, String)> = after
            .map(|line| (line["seq"].as_u64().unwrap(), line["kind"].as_str().unwrap().to_owned()))
            .filter(|(_, kind)| kind != "acknowledged")
            .collect();
        kinds.sort();
        kinds.into_iter().map(|(_, kind)| kind).collect()
    }

    fn seq(&self) -> u64 {
        self.place.status("one")["cursor"].as_u64().unwrap()
    }
}

#[test]
fn a_save_appears_on_the_other_device_in_either_direction() {
    let place = Place::with_server();
    place.write("one/a.txt", "first");
    let pair = Pair::of(place);
    pair.place.write("one/a.txt", "saved on one");
    pair.has("two/a.txt", "saved on one");
    pair.place.write("two/sub/b.txt", "new on two");
    pair.has("one/sub/b.txt", "new on two");
    pair.place.remove("one/a.txt");
    until("it is gone on two", || !pair.place.exists("two/a.txt"));
    pair.same();
}

#[test]
fn an_editor_that_saves_through_a_rename_makes_a_version_and_deletes_nothing() {
    let place = Place::with_server();
    place.write("one/a.txt", "first");
    let pair = Pair::of(place);
    let before = pair.seq();
    pair.place.write("one/.a.txt.new", "second");
    pair.place.rename("one/.a.txt.new", "one/a.txt");
    pair.has("two/a.txt", "second");
    // With a backup under another name that goes again, as some do.
    pair.place.rename("one/a.txt", "one/a.txt~");
    pair.place.write("one/a.txt", "third");
    pair.place.remove("one/a.txt~");
    pair.has("two/a.txt", "third");
    pair.same();
    let history = pair.place.json(&["history", "one/a.txt", "--json"]);
    assert_eq!(history.as_array().unwrap().len(), 3, "{history}");
    let kinds = pair.kinds_after(before);
    assert!(!kinds.iter().any(|kind| kind == "entry_deleted"), "{kinds:?}");
}

#[test]
fn a_tree_that_is_renamed_while_a_daemon_runs_is_one_event() {
    let place = Place::with_server();
    for n in 0..300 {
        place.write(&format!("one/tree/{}/{}/{n}.txt", n % 7, n % 11), &format!("text {n}"));
    }
    let pair = Pair::of(place);
    let before = pair.seq();
    pair.place.rename("one/tree", "one/renamed");
    pair.has("two/renamed/6/2/13.txt", "text 13");
    pair.same();
    assert_eq!(pair.kinds_after(before), ["entry_moved"]);
    // What happens in it under its new name is noticed, however deep.
    pair.place.write("one/renamed/6/2/13.txt", "edited");
    pair.has("two/renamed/6/2/13.txt", "edited");
}

#[test]
fn folders_made_at_once_with_files_deep_in_them_are_all_synced() {
    let pair = Pair::of(Place::with_server());
    for n in 0..20 {
        for file in 0..5 {
            pair.place.write(&format!("one/{n}/a/b/c/{file}"), "made with its folders");
        }
    }
    pair.same();
    // Who moves a tree in from elsewhere, and writes into it then.
    pair.place.write("elsewhere/x/y/file", "from elsewhere");
    pair.place.rename("elsewhere", "one/came");
    pair.has("two/came/x/y/file", "from elsewhere");
    pair.place.write("one/came/x/y/file", "edited here");
    pair.has("two/came/x/y/file", "edited here");
    pair.place.write("one/19/a/b/c/late", "late");
    pair.has("two/19/a/b/c/late", "late");
}

#[test]
fn a_log_file_that_stays_open_is_synced_whenever_it_rests() {
    let pair = Pair::of(Place::with_server());
    let mut log = File::create(pair.place.path("one/log")).unwrap();
    let mut text = String::new();
    for n in 0..5 {
        for line in 0..20 {
            let line = format!("line {line} of burst {n}\n");
            log.write_all(line.as_bytes()).unwrap();
            text.push_str(&line);
        }
        pair.has("two/log", &text);
    }
    drop(log);
    pair.same();
}

#[test]
fn what_was_made_or_emptied_and_is_not_written_yet_is_no_version() {
    let place = Place::with_server();
    place.write("one/plan.txt", "the first plan");
    let pair = Pair::of(place);
    let versions = |path: &str| {
        let said = pair.place.annals(&["history", path, "--json"]);
        let lines: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
        lines.as_array().map_or(0, Vec::len)
    };
    for (path, before) in [("one/film.iso", 0), ("one/new/deep/film.iso", 0), ("one/plan.txt", 1)] {
        fs::create_dir_all(pair.place.path(path).parent().unwrap()).unwrap();
        let mut file = File::create(pair.place.path(path)).unwrap();
        // Whatever is saved beside it.
        pair.place.write("one/note.txt", path);
        pair.has("two/note.txt", path);
        let name = path.strip_prefix("one/").unwrap();
        until("it was looked at", || {
            let status = pair.place.status("one");
            let waits = |line: &serde_json::Value| line["path"] == name;
            status["skipped"].as_array().unwrap().iter().any(waits) || versions(path) > before
        });
        file.write_all(b"written at last").unwrap();
        drop(file);
        pair.has(&path.replace("one/", "two/"), "written at last");
        assert_eq!(versions(path), before + 1, "{path}");
    }
    pair.same();
}

#[test]
fn a_log_that_never_rests_is_synced_as_far_as_it_is_and_whole_in_the_end() {
    let pair = Pair::of(Place::with_server());
    let path = pair.place.path("one/log");
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let mut log = File::create(path).unwrap();
        let mut lines = 0;
        // A line every two milliseconds: never as quiet as a file that is done.
        while stopped.recv_timeout(std::time::Duration::from_millis(2)).is_err() {
            writeln!(log, "line {lines}").unwrap();
            lines += 1;
        }
        lines
    });
    let known = || fs::read_to_string(pair.place.path("two/log")).unwrap_or_default();
    until("some of it is there", || known().lines().count() > 10);
    let some = known().lines().count();
    until("more of it is there", || known().lines().count() > some);
    assert!(
        known()
            .lines()
            .enumerate()
            .all(|(n, line)| line == format!("line {n}") || n + 1 == known().lines().count())
    );
    stop.send(()).unwrap();
    let all: String = (0..writer.join().unwrap()).map(|n| format!("line {n}\n")).collect();
    pair.has("two/log", &all);
    pair.same();
}

#[test]
fn ten_thousand_files_in_one_folder_are_synced() {
    let pair = Pair::of(Place::with_server());
    for n in 0..10_000 {
        fs::create_dir_all(pair.place.path("one/many")).unwrap();
        fs::write(pair.place.path(&format!("one/many/{n}")), format!("{n}")).unwrap();
    }
    let count = |folder: &str| fs::read_dir(pair.place.path(folder)).map_or(0, Iterator::count);
    until("all of them are there", || count("two/many") == 10_000);
    pair.has("two/many/9999", "9999");
}

#[test]
fn saves_while_the_server_is_away_become_versions_in_order_and_arrive_when_it_is_back() {
    let place = Place::with_server();
    place.write("one/a.txt", "0");
    let mut pair = Pair::of(place);
    pair.place.kill_server();
    for n in 1..=4u64 {
        pair.place.write("one/a.txt", &n.to_string());
        until("it is in the journal", || pair.place.status("one")["pending_events"].as_u64() == Some(n));
    }
    pair.place.serve();
    pair.has("two/a.txt", "4");
    until("everything is sent", || pair.place.status("one")["state"] == "idle");
    let history = pair.place.json(&["history", "one/a.txt", "--json"]);
    let text = |version: &serde_json::Value| {
        let version = version["version"].as_str().unwrap().to_owned();
        pair.place.annals(&["cat", "one/a.txt", "--version", &version]).ok().out
    };
    let texts: Vec<String> = history.as_array().unwrap().iter().map(text).collect();
    assert_eq!(texts, ["4", "3", "2", "1", "0"]);
}

#[test]
fn where_no_more_folders_may_be_watched_that_is_said_once_and_changes_are_found_all_the_same() {
    let place = Place::with_server();
    (0..20).for_each(|n| place.write(&format!("one/{n}/file"), "text"));
    place.link("ada", "one");
    place.link("ada", "two");
    // In a user namespace of its own the limit can be set without touching anybody else's.
    let mut alone = std::process::Command::new("unshare");
    let line = "echo 5 > /proc/sys/user/max_inotify_watches && exec \"$0\" sync one";
    alone.args(["--user", "--map-root-user", "sh", "-c", line, env!("CARGO_BIN_EXE_annals")]);
    alone.current_dir(place.dir.path()).env("HOME", place.dir.path());
    let mut daemon = Running::of(&mut alone);
    daemon.says("in sync");
    let status = place.status("one");
    let why = status["unwatched"].as_str().unwrap_or_else(|| panic!("{status}"));
    assert!(why.contains("sysctl fs.inotify.max_user_watches="), "{why}");
    place.write("one/19/file", "edited");
    until("it was found", || {
        place.sync("two").ok();
        place.read("two/19/file") == "edited"
    });
}

/// A way to the server on which no WebSocket gets through, as behind some proxies: its address.
fn way_without_sockets(server: &str) -> String {
    let server = server.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming().map(Result::unwrap) {
            let server = server.clone();
            std::thread::spawn(move || pass_on(client, &server));
        }
    });
    url
}

fn pass_on(mut client: TcpStream, server: &str) {
    let mut head = [0; 4096];
    let read = client.read(&mut head).unwrap_or(0);
    if String::from_utf8_lossy(&head[..read]).contains("/live?") {
        drop(client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"));
        return;
    }
    let Ok(mut server) = TcpStream::connect(server) else { return };
    server.write_all(&head[..read]).unwrap();
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(std::net::Shutdown::Both));
    });
    drop(std::io::copy(&mut client, &mut server));
    drop(server.shutdown(std::net::Shutdown::Both));
}

#[test]
fn where_sockets_are_blocked_saves_appear_all_the_same() {
    let mut place = Place::with_server();
    place.url = way_without_sockets(&place.url);
    let pair = Pair::of(place);
    for n in 0..3 {
        pair.place.write("one/a.txt", &format!("save {n}"));
        pair.has("two/a.txt", &format!("save {n}"));
    }
}

#[test]
fn a_removal_beside_news_from_elsewhere_and_an_edit_below_a_folder_that_just_moved_arrive_without_another_hint()
 {
    let place = Place::with_server();
    for n in 0..10 {
        place.write(&format!("one/d/{n}"), "old");
        place.write(&format!("one/sw1/sub/{n}"), "old");
        place.write(&format!("one/sw2/sub/{n}"), "old too");
    }
    let pair = Pair::of(place);
    pair.has("two/sw2/sub/9", "old too");
    for round in 0..3 {
        pair.place.write("one/d/0", &format!("edited {round}"));
        pair.place.remove(&format!("one/d/{}", 9 - round));
        pair.place.write("two/f", &format!("{round}"));
        pair.has("two/d/0", &format!("edited {round}"));
        pair.has("one/f", &format!("{round}"));
        until("it is gone", || !pair.place.exists(&format!("two/d/{}", 9 - round)));
        // Two folders change names, and what is below one of them is written at once.
        pair.place.rename("one/sw1", "one/swap");
        pair.place.rename("one/sw2", "one/sw1");
        pair.place.rename("one/swap", "one/sw2");
        pair.place.write("one/sw1/sub/3", &format!("after {round}"));
        pair.has("two/sw1/sub/3", &format!("after {round}"));
    }
    pair.same();
}
