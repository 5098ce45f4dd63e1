//! Content on its way: only what is not there yet travels, and an edit costs about as much as it changed. Everything
//! that goes over the wire is counted, headers and all.

use crate::{
    place::{Place, Running, until},
    wire::Wire,
};
use std::{fs, thread};

/// Bytes that do not compress.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ seed.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(bytes).collect()
}

/// Two folders, `one` and `two`, of one account behind a wire; `file` is in both.
fn two_with(file: &[u8]) -> (Place, Wire) {
    let mut place = Place::with_server();
    let wire = Wire::to(&place.url);
    place.url.clone_from(&wire.url);
    fs::create_dir(place.path("one")).unwrap();
    fs::write(place.path("one/file"), file).unwrap();
    place.link("ada", "one");
    place.link("ada", "two");
    assert!(fs::read(place.path("two/file")).unwrap() == file);
    (place, wire)
}

/// Makes it the content of `file` in `one`, and brings it to `two`: how many bytes went over the wire for each.
fn brought(place: &Place, wire: &Wire, file: &[u8]) -> (u64, u64) {
    fs::write(place.path("one/file"), file).unwrap();
    wire.bytes();
    place.sync("one").ok();
    let sent = wire.bytes();
    place.sync("two").ok();
    let received = wire.bytes();
    assert!(fs::read(place.path("two/file")).unwrap() == file);
    (sent.0 + sent.1, received.0 + received.1)
}

#[test]
fn a_small_edit_of_a_file_costs_little_in_both_directions() {
    for size in [100_000, 1_000_000, 10_000_000] {
        let base = noise(size, 1);
        let (place, wire) = two_with(&base);
        let mut middle = base.clone();
        middle[size / 2..size / 2 + 100].fill(7);
        let mut cut_out = base.clone();
        cut_out.drain(size / 3..size / 3 + 1000);
        let edits = [
            ("a byte at the head", [b"!", &base[..]].concat()),
            ("a hundred in the middle", middle),
            ("a thousand cut out", cut_out),
            ("some more at the end", [&base[..], &noise(500, 9)].concat()),
        ];
        for (what, edited) in edits {
            // One edit at a time: the one before is taken back first.
            brought(&place, &wire, &base);
            let (sent, received) = brought(&place, &wire, &edited);
            let most = size as u64 / 10;
            assert!(sent <= most && received <= most, "{size}, {what}: {sent} sent, {received} received");
        }
    }
}

#[test]
fn a_byte_at_the_head_of_a_large_file_costs_next_to_nothing() {
    let base = noise(100 << 20, 2);
    let (place, wire) = two_with(&base);
    let (sent, received) = brought(&place, &wire, &[b"!", &base[..]].concat());
    assert!(sent <= 64 << 10 && received <= 64 << 10, "{sent} sent, {received} received");
}

/// A file, `one/file`, and two folders that are linked behind this wire and have not got it yet.
fn behind(place: &mut Place, wire: &Wire, file: &[u8]) {
    for folder in ["one", "two"] {
        fs::create_dir(place.path(folder)).unwrap();
        place.annals(&["link", &place.url, folder, "--user", "ada", "--device", folder]).ok();
        // Its server is behind the wire from now on.
        let binding = place.path(folder).join(".annals/link.json");
        let text = fs::read_to_string(&binding).unwrap();
        assert!(text.contains(&place.url), "{text}");
        fs::write(binding, text.replace(&place.url, &wire.url)).unwrap();
    }
    fs::write(place.path("one/file"), file).unwrap();
}

#[test]
fn a_daemon_whose_wire_is_cut_in_the_middle_of_a_file_goes_on_with_it_by_itself() {
    let file = noise(24 << 20, 9);
    let mut place = Place::with_server();
    // The server is there again at once each time.
    let wire = Wire::cut_after(&place.url, std::iter::repeat_n(3 << 20, 6));
    behind(&mut place, &wire, b"");
    let mut daemon = Running::of(&mut place.command(&["sync", "one"]));
    daemon.says("in sync");
    fs::write(place.path("large"), &file).unwrap();
    fs::rename(place.path("large"), place.path("one/file")).unwrap();
    until("all of it was sent", || {
        place.sync("two").code == 0 && fs::read(place.path("two/file")).unwrap() == file
    });
    assert_eq!(daemon.ends("INT"), Some(0));
}

/// A number that a person may set for a longer run.
fn asked(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn a_transfer_that_is_cut_and_held_up_at_random_goes_on_where_it_was() {
    /// What one request or answer holds at most.
    const IN_FLIGHT: u64 = 9 << 20;
    let (file_bytes, seed) = (asked("ANNALS_TEST_MIB", 96) << 20, asked("ANNALS_TEST_SEED", 42));
    let file = noise(usize::try_from(file_bytes).unwrap(), 5);
    let mut place = Place::with_server();
    // Cut after an eighth to three eighths of it, again and again.
    let mut state = seed;
    let cuts = std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        file_bytes / 8 + (state >> 20) % (file_bytes / 4)
    });
    let wire = Wire::rough(&place.url, cuts, seed);
    behind(&mut place, &wire, &file);
    for folder in ["one", "two"] {
        let mut cut = 0;
        while place.sync(folder).code != 0 {
            cut += 1;
            assert!(cut < 20, "it does not get on");
            if cut == 2 {
                place.stop_server();
                place.serve();
            }
        }
        let (to, from) = wire.bytes();
        println!("{folder}: {to} bytes to the server, {from} from it, of {file_bytes}; cut {cut} times");
        let most = file_bytes + file_bytes / 50 + cut * IN_FLIGHT;
        assert!(cut >= 2 && to + from <= most, "{folder}: {to} and {from} bytes, cut {cut} times");
    }
    assert!(fs::read(place.path("two/file")).unwrap() == file);
    assert_eq!(fs::read_dir(place.path("two/.annals/tmp")).unwrap().count(), 0, "what was begun is gone");
}

#[test]
fn what_a_killed_program_had_fetched_is_not_fetched_again() {
    let file = noise(64 << 20, 6);
    let mut place = Place::with_server();
    let wire = Wire::to(&place.url);
    behind(&mut place, &wire, &file);
    place.sync("one").ok();
    wire.bytes();
    let running = place.start(&["sync", "two", "--once"]);
    while wire.to_device() < 40 << 20 {
        thread::yield_now();
    }
    assert_eq!(running.ends("KILL"), None);
    place.sync("two").ok();
    let (_, received) = wire.bytes();
    assert!(received < 84 << 20, "{received}");
    assert!(fs::read(place.path("two/file")).unwrap() == file);
}

#[test]
fn what_lies_in_the_folder_is_not_fetched() {
    let (base, other) = (noise(3_000_000, 3), noise(3_000_000, 4));
    let (place, wire) = two_with(&base);
    // Put together of what is there: a copy, and the old version again.
    fs::copy(place.path("one/file"), place.path("one/copy")).unwrap();
    place.sync("one").ok();
    wire.bytes();
    place.sync("two").ok();
    let (to, from) = wire.bytes();
    assert!(to + from < 20_000, "{to} and {from} for a copy");
    let (sent, _) = brought(&place, &wire, &other);
    assert!(sent > 3_000_000);
    let (sent, received) = brought(&place, &wire, &base);
    assert!(sent < 20_000 && received < 20_000, "{sent} sent, {received} received");
}

#[test]
fn a_pause_lets_nothing_through_and_ends_where_it_began() {
    let (place, wire) = two_with(b"before");
    let mut daemon = place.start(&["sync", "two"]);
    daemon.says("in sync");
    place.annals(&["sync", "two", "--pause"]).ok();
    wire.bytes();
    fs::write(place.path("two/file"), b"saved in a pause").unwrap();
    let paused = place.annals(&["sync", "two", "--once"]).fails(3, "paused");
    assert!(paused.err.contains("--resume"), "{}", paused.err);
    let status = place.status("two");
    assert_eq!((&status["paused"], &status["pending_events"]), (&true.into(), &1.into()), "{status}");
    assert_eq!(daemon.ends("TERM"), Some(0));
    // It holds for whoever comes next.
    place.sync("two").fails(3, "paused");
    let mut daemon = place.start(&["sync", "two"]);
    place.annals(&["sync", "two", "--resume"]).ok();
    daemon.says("in sync");
    assert_eq!(daemon.ends("TERM"), Some(0));
    place.sync("one").ok();
    assert_eq!(place.read("one/file"), "saved in a pause");
}

#[test]
fn a_limited_connection_keeps_to_its_rate() {
    let (place, _wire) = two_with(b"before");
    place.annals(&["sync", "one", "--limit-rate", "7kB"]).fails(2, "too slow");
    place.annals(&["sync", "one", "--limit-rate", "500kB"]).ok();
    assert_eq!(place.status("one")["limit_rate"], 500_000);
    fs::write(place.path("one/file"), noise(1_000_000, 7)).unwrap();
    let began = annals::clock::Stopwatch::start();
    place.sync("one").ok();
    assert!(began.elapsed().as_millis() >= 1_700, "{:?}", began.elapsed());
    place.annals(&["sync", "one", "--limit-rate", "off"]).ok();
    assert!(place.status("one")["limit_rate"].is_null());
}

#[test]
fn what_was_asked_for_is_there_before_what_is_large() {
    let mut place = Place::with_server();
    // The wire is cut in the middle of the film.
    let wire = Wire::cut_after(&place.url, std::iter::once(30 << 20));
    behind(&mut place, &wire, &noise(80 << 20, 8));
    place.rename("one/file", "one/a film.mp4");
    place.write("one/letters/z.txt", "asked for");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for path in ["one/a film.mp4", "one/letters/z.txt"] {
        fs::File::options().write(true).open(place.path(path)).unwrap().set_modified(old).unwrap();
    }
    place.annals(&["sync", "one", "--once", "--first", "letters"]).exits(4);
    place.sync("two").ok();
    assert_eq!(place.tree("two").len(), 2, "{:?}", place.tree("two"));
    assert_eq!(place.read("two/letters/z.txt"), "asked for");
    place.sync("one").ok();
    place.sync("two").ok();
    assert!(place.exists("two/a film.mp4"));
}

#[test]
fn a_folder_of_thousands_renamed_on_one_device_and_edited_on_another_sends_no_content_twice() {
    const FILE_BYTES: usize = 1500;
    let many = usize::try_from(asked("ANNALS_TEST_FILES", 2000)).unwrap();
    let (mut place, path) = (Place::with_server(), |n: usize| format!("tree/{}/{n}", n % 40));
    let wire = Wire::to(&place.url);
    place.url.clone_from(&wire.url);
    for n in 0..many {
        fs::create_dir_all(place.path(&format!("one/tree/{}", n % 40))).unwrap();
        fs::write(place.path("one").join(path(n)), noise(FILE_BYTES, n as u64)).unwrap();
    }
    place.link("ada", "one");
    place.link("ada", "two");
    assert_eq!(place.tree("two").len(), many + 41);
    wire.bytes();
    // Neither knows of the other.
    place.rename("one/tree", "one/renamed");
    let edited: Vec<usize> = (0..many).step_by(many / 10).collect();
    for n in &edited {
        fs::write(place.path("two").join(path(*n)), noise(FILE_BYTES, 1_000_000 + *n as u64)).unwrap();
    }
    place.sync("one").ok();
    place.sync("two").ok();
    place.sync("one").ok();
    let (to, from) = wire.bytes();
    println!(
        "{many} files of {FILE_BYTES} bytes, {} edited: {to} to the server, {from} from it",
        edited.len()
    );
    assert!(place.tree("one") == place.tree("two"), "they differ");
    assert_eq!(place.tree("one").len(), many + 41);
    assert!(place.tree("one").iter().all(|line| line.starts_with("renamed/")));
    for n in &edited {
        let found = fs::read(place.path("one").join(path(*n).replacen("tree", "renamed", 1))).unwrap();
        assert!(found == noise(FILE_BYTES, 1_000_000 + *n as u64), "the edit of {n}");
    }
    // What was edited goes there and comes back; of the rest nothing.
    let edits = (edited.len() * FILE_BYTES) as u64;
    assert!(to + from <= 2 * edits + (100 << 10), "{to} and {from} bytes for {edits} of edits");
}

/// Bytes of the packs of a server.
fn packs(place: &Place) -> u64 {
    let files = fs::read_dir(place.path("server/packs/packs")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn versions_take_the_room_of_their_edits_and_each_of_them_can_be_had() {
    let mut place = Place::with_server();
    fs::create_dir(place.path("one")).unwrap();
    let mut file = noise(100_000, 11);
    fs::write(place.path("one/file"), &file).unwrap();
    place.link("ada", "one");
    place.sync("one").ok();
    let (before, mut versions) = (packs(&place), vec![file.clone()]);
    for version in 0..12_u8 {
        file.splice(50_000..50_000, [version; 20]);
        fs::write(place.path("one/file"), &file).unwrap();
        place.sync("one").ok();
        versions.push(file.clone());
    }
    let grown = packs(&place) - before;
    assert!(grown < 12 * 1000, "{grown} bytes for twelve edits");
    let history = place.json(&["history", "one/file", "--json"]);
    let mut left = versions.clone();
    for version in history.as_array().unwrap() {
        let id = version["version"].as_str().unwrap();
        let had = place.command(&["cat", "one/file", "--version", id]).output().unwrap().stdout;
        let at = left.iter().position(|version| *version == had).expect("it is one of the versions");
        left.remove(at);
    }
    assert!(left.is_empty(), "{} versions are not told of", left.len());
    // Whoever comes later gets it, too, and the packs are whole with and without their index.
    place.link("ada", "two");
    assert!(fs::read(place.path("two/file")).unwrap() == file);
    place.stop_server();
    for _ in 0..2 {
        place.annals(&["verify", "--data", "server", "--deep"]).ok();
        let _ = fs::remove_dir_all(place.path("server/packs/index"));
    }
}

#[test]
fn the_list_of_a_large_files_chunks_travels_as_a_difference() {
    // A file that has grown keeps its small chunks, and so has a long list of them.
    let (place, wire) = two_with(&noise(100_000, 5));
    let mut file = noise(24 << 20, 6);
    brought(&place, &wire, &file);
    for lists_are_lost in [false, true] {
        if lists_are_lost {
            for folder in ["one", "two"] {
                fs::remove_dir_all(place.path(folder).join(".annals/lists")).unwrap();
            }
        }
        file.insert(0, b'!');
        let (sent, received) = brought(&place, &wire, &file);
        let most = if lists_are_lost { 40_000 } else { 10_000 };
        assert!(sent <= most && received <= most, "{sent} sent, {received} received");
    }
}
