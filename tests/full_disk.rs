//! Full disks, the real thing: a small disk of its own for a folder, filled to the last byte. It is said, nothing
//! that was there is lost, and it goes on when there is room.

use crate::place::{Place, until};
use std::{
    env, fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Runs `story` where it may mount disks: as this very test again, with a view of the mounts that is its own.
fn with_own_mounts(test: &str, story: fn()) {
    const INSIDE: &str = "ANNALS_TEST_OWN_MOUNTS";
    if env::var_os(INSIDE).is_some() {
        return story();
    }
    let mut again = Command::new("unshare");
    again.args(["--mount", "--map-root-user"]).arg(env::current_exe().unwrap());
    again.args(["--exact", &format!("full_disk::{test}"), "--nocapture"]).env(INSIDE, "1");
    let said = again.stdin(Stdio::null()).output();
    let said = said.expect("`unshare` of util-linux is needed: install util-linux");
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

/// A disk of so many MiB at `folder`.
fn small_disk(place: &Place, folder: &str, mebibytes: u32) {
    fs::create_dir_all(place.path(folder)).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "none"]).arg(place.path(folder));
    assert!(mount.status().unwrap().success());
}

/// Takes all room that is left on a disk, but for so many KiB.
fn fill(place: &Place, ballast: &str, kibibytes_left: u64) {
    let mut file = fs::File::create(place.path(ballast)).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let length = file.metadata().unwrap().len();
    file.set_len(length - kibibytes_left * 1024).unwrap();
}

/// Text that does not get smaller, another one for every seed.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn a_server_without_room_says_so_and_goes_on_when_there_is_some() {
    with_own_mounts("a_server_without_room_says_so_and_goes_on_when_there_is_some", || {
        let mut place = Place::new();
        small_disk(&place, "server", 64);
        place = place.served();
        place.write("one/before", "before");
        place.link("ada", "one");
        for left in [0, 4, 64, 1024] {
            fill(&place, "server/ballast", left);
            place.write(&format!("one/large {left}"), &noise(left, 3 << 20));
            place.sync("one").fails(4, "the server has no space left");
            if left == 0 {
                let doctor = place.annals(&["doctor", "one"]).exits(4).out;
                assert!(doctor.contains("bad   server       the server's disk takes nothing"), "{doctor}");
            }
            // Nor does anything break where it is started then.
            place.kill_server();
            place.remove("server/ballast");
            place.serve();
            place.sync("one").ok();
        }
        place.link("ada", "two");
        assert_eq!(place.tree("two"), place.tree("one"));
        assert_eq!(place.tree("two").len(), 5);
        place.annals(&["verify", "--data", "server", "--deep"]).ok();
    });
}

/// Where the index of chunks lies while its disk takes nothing.
fn index_in_memory(place: &Place) -> PathBuf {
    let meta = fs::metadata(place.path("server/packs/index")).unwrap();
    PathBuf::from(format!("/dev/shm/annals-index-{:x}-{:x}", meta.dev(), meta.ino()))
}

#[test]
fn a_server_starts_on_a_disk_without_room_and_takes_more_as_soon_as_there_is_some() {
    with_own_mounts("a_server_starts_on_a_disk_without_room_and_takes_more_as_soon_as_there_is_some", || {
        let mut place = Place::new();
        small_disk(&place, "server", 64);
        place = place.served();
        (0..50).for_each(|file| place.write(&format!("one/{file}"), &format!("before {file}")));
        place.link("ada", "one");
        place.link("ada", "two");
        for (left, killed) in [(0, true), (0, false), (4, true), (64, false)] {
            place.write("one/0", &format!("before {left} {killed}"));
            place.sync("one").ok();
            fill(&place, "server/ballast", left);
            if killed {
                place.kill_server()
            } else {
                place.stop_server()
            }
            place.serve();
            // What is there is handed out.
            place.sync("two").ok();
            assert_eq!(place.tree("two"), place.tree("one"));
            place.write(&format!("one/large {left} {killed}"), &noise(left, 3 << 20));
            place.sync("one").fails(4, "the server has no space left");
            place.remove("server/ballast");
            place.sync("one").ok();
            place.sync("two").ok();
            assert_eq!(place.tree("two"), place.tree("one"));
        }
        // What lies in memory meanwhile goes with the next start that needs none at the latest.
        fill(&place, "server/ballast", 0);
        let in_memory = index_in_memory(&place);
        place.stop_server();
        place.serve();
        assert!(in_memory.exists());
        place.kill_server();
        // Nor does it outlive a server that is told to end before it listens.
        place.remove("server/ballast");
        place.serve();
        assert!(!in_memory.exists());
        place.stop_server();
        fill(&place, "server/ballast", 0);
        let starting = place.start(&["serve", "--data", "server"]);
        until("it is being started", || in_memory.exists());
        assert_eq!(starting.ends("TERM"), Some(0));
        assert!(!in_memory.exists());
        place.remove("server/ballast");
        place.serve();
        place.stop_server();
        place.annals(&["verify", "--data", "server", "--deep"]).ok();
        // The next start finds nothing amiss.
        place.serve();
        place.sync("one").ok();
    });
}

/// What a crash leaves of a write that it cut off: the file is longer, and nothing of it is there.
fn cut_off(place: &Place, row: &str) -> (PathBuf, u64) {
    let segments = fs::read_dir(place.path(row)).unwrap().map(|entry| entry.unwrap().path());
    let last = segments.filter(|path| path.extension().is_some_and(|it| it == "segment")).max().unwrap();
    let file = fs::File::options().write(true).open(&last).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length + 700).unwrap();
    (last, length)
}

#[test]
fn a_server_starts_on_a_disk_without_room_also_where_a_crash_cut_off_a_write() {
    with_own_mounts("a_server_starts_on_a_disk_without_room_also_where_a_crash_cut_off_a_write", || {
        let mut place = Place::new();
        small_disk(&place, "server", 64);
        place = place.served();
        (0..50).for_each(|file| place.write(&format!("one/{file}"), &format!("before {file}")));
        place.link("ada", "one");
        place.link("ada", "two");
        place.write("one/0", "what the other is to get");
        place.sync("one").ok();
        place.kill_server();
        let torn = ["server/log/segments", "server/packs/packs"].map(|row| cut_off(&place, row));
        fill(&place, "server/ballast", 0);
        for _ in 0..2 {
            place.serve();
            place.sync("two").ok();
            assert_eq!(place.tree("two"), place.tree("one"));
            place.kill_server();
        }
        place.serve();
        place.write("one/more", "more");
        place.sync("one").fails(4, "the server has no space left");
        place.remove("server/ballast");
        place.sync("one").ok();
        for (file, length) in torn {
            let aside =
                file.with_file_name(format!("{}.{length}.torn", file.file_name().unwrap().to_str().unwrap()));
            assert_eq!(fs::read(aside).unwrap(), [0; 700]);
        }
        place.stop_server();
        place.annals(&["verify", "--data", "server", "--deep"]).ok();
    });
}

#[test]
fn a_device_without_room_takes_what_fits_later_and_keeps_every_save() {
    with_own_mounts("a_device_without_room_takes_what_fits_later_and_keeps_every_save", || {
        let place = Place::with_server();
        small_disk(&place, "two", 32);
        place.write("one/before", "before");
        place.link("ada", "one");
        place.link("ada", "two");
        for left in [0, 4, 64, 1024] {
            fill(&place, "two/.annals/ballast", left);
            // What is to come does not fit, nor does the journal of what is saved here.
            place.write(&format!("one/large {left}"), &noise(left, 3 << 20));
            place.sync("one").ok();
            drop(fs::write(place.path("two/before"), format!("saved with {left}")));
            let saved = place.read("two/before");
            place.sync("two").fails(1, "no space left");
            if left < 1024 {
                let doctor = place.annals(&["doctor", "two"]);
                assert!([1, 3].contains(&doctor.code), "{doctor:?}");
                assert!(doctor.out.contains("bad   room"), "{doctor:?}");
                assert!(
                    doctor.out.contains("then a daemon goes on by itself, or `annals sync"),
                    "{doctor:?}"
                );
                assert!(!doctor.out.contains("ok    exchange"), "{doctor:?}");
            }
            assert_eq!(place.read("two/before"), saved);
            place.remove("two/.annals/ballast");
            place.sync("two").ok();
            place.sync("one").ok();
            assert_eq!(place.read("one/before"), saved);
            assert_eq!(place.tree("one"), place.tree("two"));
        }
        place.annals(&["verify", "two"]).ok();
    });
}

#[test]
fn a_daemon_without_room_says_so_once_and_goes_on_when_there_is_some() {
    with_own_mounts("a_daemon_without_room_says_so_once_and_goes_on_when_there_is_some", || {
        let place = Place::with_server();
        small_disk(&place, "two", 32);
        place.write("one/before", "before");
        place.link("ada", "one");
        place.link("ada", "two");
        let mut daemon = place.start(&["sync", "two"]);
        daemon.says("in sync");
        fill(&place, "two/.annals/ballast", 64);
        (0..8).for_each(|nth| place.write(&format!("one/large {nth}"), &noise(nth, 1 << 20)));
        place.sync("one").ok();
        until("it says so", || {
            let status = place.status("two");
            status["last_error"].as_str().is_some_and(|why| why.starts_with("no space left"))
        });
        let said = place.annals(&["status", "two"]).exits(3).out;
        assert!(said.matches("no space left").count() <= 2, "{said}");
        assert!(!said.contains("in the way"), "{said}");
        let doctor = place.annals(&["doctor", "two"]).exits(3).out;
        assert_eq!(doctor.matches("make room").count(), 1, "{doctor}");
        assert!(!doctor.contains("in the way") && !doctor.contains("make it readable"), "{doctor}");
        place.remove("two/.annals/ballast");
        until("it goes on", || place.tree("two") == place.tree("one"));
        until("nothing is wrong", || place.status("two")["state"] == "idle");
        assert_eq!(daemon.ends("INT"), Some(0));
    });
}

#[test]
fn what_is_saved_while_the_server_has_no_room_is_a_version_each() {
    with_own_mounts("what_is_saved_while_the_server_has_no_room_is_a_version_each", || {
        let mut place = Place::new();
        small_disk(&place, "server", 64);
        place = place.served();
        place.write("one/before", "before");
        place.link("ada", "one");
        let mut daemon = place.start(&["sync", "one"]);
        daemon.says("in sync");
        fill(&place, "server/ballast", 0);
        let pending = || place.status("one")["pending_events"].as_u64().unwrap();
        let saves = ["first", "second", "third"];
        let large = noise(1, 3 << 20);
        for (path, text) in [("large", large.as_str())].into_iter().chain(saves.map(|text| ("journal", text)))
        {
            let before = pending();
            place.write(&format!("one/{path}"), text);
            until("it is taken down", || pending() > before);
        }
        place.remove("server/ballast");
        until("it arrives", || pending() == 0);
        let versions = place.json(&["history", "one/journal", "--json"]);
        let texts = versions.as_array().unwrap().iter().rev().map(|version| {
            place.annals(&["cat", "one/journal", "--version", version["version"].as_str().unwrap()]).ok().out
        });
        assert_eq!(texts.collect::<Vec<_>>(), saves);
        assert_eq!(daemon.ends("TERM"), Some(0));
    });
}
