//! Folders on several devices hold the same files.

use crate::place::{Place, until};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
};

#[test]
fn everything_in_a_folder_reaches_the_other_device() {
    let place = Place::with_server();
    place.write("one/notes.txt", "hello");
    place.write("one/deep/er/file.bin", &"x".repeat(300_000));
    place.write("one/empty", "");
    place.write("one/run.sh", "#!/bin/sh\n");
    fs::set_permissions(place.path("one/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(place.path("one/empty folder")).unwrap();
    std::os::unix::fs::symlink("../outside/nowhere", place.path("one/link")).unwrap();
    place.write("one/a\nname with a newline", "odd");
    place.write("one/Case", "upper");
    place.write("one/case", "lower");
    place.link("ada", "one");
    place.link("ada", "two");
    assert_eq!(place.tree("two"), place.tree("one"));
}

#[test]
fn the_executable_bit_travels_as_chmod_means_it() {
    let place = Place::with_server();
    let mode = |path: &str| fs::metadata(place.path(path)).unwrap().permissions().mode() & 0o777;
    let set = |path: &str, mode| {
        fs::set_permissions(place.path(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    place.write("one/run.sh", "#!/bin/sh\n");
    set("one/run.sh", 0o755);
    place.link("ada", "one");
    place.link("ada", "two");
    set("two/run.sh", 0o755);
    set("one/run.sh", 0o644);
    place.sync_all(&["one", "two"]);
    assert_eq!(mode("two/run.sh"), 0o644);
    set("two/run.sh", 0o755);
    place.sync_all(&["two", "one"]);
    assert_eq!(mode("one/run.sh"), 0o755);
}

#[test]
fn edits_renames_and_deletes_travel_in_every_direction() {
    let place = Place::with_server();
    let all = ["one", "two", "three"];
    place.write("one/dir/a.txt", "a");
    place.write("one/dir/b.txt", "b");
    place.write("one/c.txt", "c");
    all.iter().for_each(|folder| place.link("ada", folder));
    place.write("two/dir/a.txt", "a, edited on two");
    place.sync_all(&all);
    assert_eq!(place.read("three/dir/a.txt"), "a, edited on two");
    place.rename("three/dir", "three/renamed");
    let before = place.status("three")["cursor"].as_u64().unwrap();
    place.sync_all(&all);
    let after = place.status("three")["cursor"].as_u64().unwrap();
    assert_eq!(after - before, 1, "the rename of a folder is one event");
    assert_eq!(place.read("one/renamed/a.txt"), "a, edited on two");
    assert!(!place.exists("one/dir"));
    place.remove("one/renamed/b.txt");
    place.remove("one/c.txt");
    place.sync_all(&all);
    assert!(!place.exists("two/renamed/b.txt") && !place.exists("three/c.txt"));
    for folder in all {
        assert_eq!(place.tree(folder), place.tree("one"), "{folder}");
        assert_eq!(place.status(folder)["state"], "idle");
    }
}

#[test]
fn concurrent_edits_of_one_file_are_both_kept_on_all_devices() {
    let place = Place::with_server();
    place.write("one/a.txt", "base");
    place.link("ada", "one");
    place.link("ada", "two");
    place.write("one/a.txt", "edited on one");
    place.write("two/a.txt", "edited on two");
    place.sync_all(&["one", "two"]);
    assert_eq!(place.tree("one"), place.tree("two"));
    let texts: Vec<String> = place.tree("one");
    assert!(texts.iter().any(|line| line.contains("edited on one")), "{texts:?}");
    assert!(texts.iter().any(|line| line.contains("edited on two")), "{texts:?}");
    assert!(texts.iter().any(|line| line.contains("(conflict ")), "{texts:?}");
    assert_eq!(place.status("one")["conflicts"], 1);
}

#[test]
fn what_many_files_hold_comes_once() {
    let place = Place::with_server();
    for n in 0..60u64 {
        let noise: String = (0..2_500u64)
            .map(|i| format!("{:x}", (i + 7_919 * n).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        place.write(&format!("one/{n} own"), &noise);
        place.write(&format!("one/{n} same"), "the same licence in every folder");
    }
    // Nothing but zeros, the same chunk over and over.
    std::fs::File::create(place.path("one/zeros")).unwrap().set_len(96 << 20).unwrap();
    let link = |folder: &str| {
        place.annals(&["link", &place.url, folder, "--user", "ada", "--device", folder]).ok();
        place.json(&["sync", folder, "--once", "--json"])
    };
    let sent = link("one")["sent_bytes"].as_u64().unwrap();
    let received = link("two")["received_bytes"].as_u64().unwrap();
    assert!(received < sent + sent / 2, "{received} came of {sent} that went");
    assert_eq!(place.tree("one"), place.tree("two"));
}

#[test]
fn linking_a_device_that_holds_the_same_tree_sends_nothing_and_makes_no_events() {
    let place = Place::with_server();
    for folder in ["one", "two"] {
        for file in 0..40 {
            place.write(&format!("{folder}/dir{}/{file}.txt", file % 3), &format!("the same {file}"));
        }
    }
    place.link("ada", "one");
    place.annals(&["link", &place.url, "two", "--user", "ada", "--device", "two"]).ok();
    let report = place.json(&["sync", "two", "--once", "--json"]);
    assert_eq!(report["events_sent"], 0, "{report}");
    assert_eq!(report["new_chunks"], 0, "{report}");
    // Where only times differ, the log's win.
    assert_eq!(place.tree("two"), place.tree("one"));
}

#[test]
fn two_devices_that_add_the_same_files_end_with_one_of_each() {
    let place = Place::with_server();
    place.link("ada", "one");
    place.link("ada", "two");
    for folder in ["one", "two"] {
        place.write(&format!("{folder}/new/a.txt"), "same a");
        place.write(&format!("{folder}/new/b.txt"), "same b");
    }
    place.sync_all(&["one", "two"]);
    let names: Vec<String> =
        place.tree("one").iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["new/", "new/a.txt", "new/b.txt"]);
    assert_eq!(place.tree("two"), place.tree("one"));
}

#[test]
fn saves_made_without_a_server_wait_in_the_journal_and_arrive_as_versions() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "first");
    place.link("ada", "one");
    place.kill_server();
    place.write("one/a.txt", "second, on the train");
    place.sync("one").fails(4, "cannot be reached");
    place.write("one/a.txt", "third, still on the train");
    place.sync("one").fails(4, "cannot be reached");
    let status = place.status("one");
    assert_eq!(
        (status["state"].as_str(), status["pending_events"].as_u64()),
        (Some("offline"), Some(2)),
        "{status}"
    );
    place.serve();
    place.sync("one").ok();
    let history = place.json(&["history", "one/a.txt", "--json"]);
    assert_eq!(history.as_array().unwrap().len(), 3, "{history}");
    let second = history[1]["version"].as_str().unwrap();
    assert_eq!(place.annals(&["cat", "one/a.txt", "--version", second]).ok().out, "second, on the train");
    place.link("ada", "two");
    assert_eq!(place.read("two/a.txt"), "third, still on the train");
}

#[test]
fn many_vanished_files_have_to_be_confirmed() {
    let place = Place::with_server();
    (0..30).for_each(|file| place.write(&format!("one/{file}.txt"), "text"));
    place.link("ada", "one");
    place.link("ada", "two");
    (0..25).for_each(|file| place.remove(&format!("one/{file}.txt")));
    place.sync("one").fails(3, "gone from the folder");
    place.sync("two").ok();
    assert_eq!(place.tree("two").len(), 30);
    place.annals(&["sync", "one", "--once", "--accept-deletes"]).ok();
    place.sync("two").ok();
    assert_eq!(place.tree("two").len(), 5);
}

#[test]
fn whoever_answers_at_the_servers_address_what_is_saved_is_a_version_each() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "before");
    place.link("ada", "one");
    place.kill_server();
    let portal = TcpListener::bind(place.url.strip_prefix("http://").unwrap()).unwrap();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| {
            for stream in portal.incoming() {
                let mut stream = stream.unwrap();
                let mut asked = [0; 4096];
                if stream.read(&mut asked).unwrap() == 3 {
                    return; // Enough.
                }
                let page = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nlog in!";
                drop(stream.write_all(page.as_bytes()));
            }
        });
        for text in ["first", "second"] {
            place.write("one/a.txt", text);
            let said = place.sync("one");
            assert!(said.err.contains("makes no sense") || said.err.contains("error"), "{}", said.err);
        }
        TcpStream::connect(portal.local_addr().unwrap()).unwrap().write_all(b"end").unwrap();
        served.join().unwrap();
    });
    drop(portal);
    place.serve();
    place.sync("one").ok();
    let versions = place.json(&["history", "one/a.txt", "--json"]);
    assert_eq!(versions.as_array().unwrap().len(), 3, "{versions}");
}

#[test]
fn what_is_moved_over_a_synced_file_stays_there_whether_the_server_knows_or_not() {
    let mut place = Place::with_server();
    for name in ["thesis.txt", "thesis.bak", "log", "log.1", "log.2"] {
        place.write(&format!("one/{name}"), if name.starts_with("log") { name } else { "my only copy" });
    }
    place.link("ada", "one");
    place.link("ada", "two");
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    for online in [true, false] {
        if !online {
            place.kill_server();
        }
        place.write("one/log.0", &format!("online {online}"));
        for (from, to) in [("log.1", "log.2"), ("log", "log.1"), ("log.0", "log")] {
            place.rename(&format!("one/{from}"), &format!("one/{to}"));
        }
        place.rename("one/thesis.bak", "one/thesis.txt");
        for files in [4, 5] {
            let left = place.tree("one");
            until("it is taken down", || {
                assert_eq!(place.tree("one"), left);
                place.status("one")["files"] == files
            });
            place.write("one/thesis.bak", "my only copy");
        }
    }
    place.serve();
    until("it arrives", || place.status("one")["pending_events"] == 0);
    place.sync("two").ok();
    assert_eq!(place.tree("two"), place.tree("one"));
    assert_eq!(place.tree("two").len(), 5);
    assert_eq!(daemon.ends("TERM"), Some(0));
}
