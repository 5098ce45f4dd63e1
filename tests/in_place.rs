//! Files that are written in place while they are synced, and names as long as they can be.

use crate::place::{Place, Running, until};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    sync::mpsc::{RecvTimeoutError, channel},
    time::Duration,
};

const PAGE: usize = 4096;
const PAGES: u64 = 48;

/// Which writes a database shows: one number a page, the same all over the page.
fn writes(bytes: &[u8]) -> Vec<u64> {
    let pages = bytes.chunks(PAGE).map(|page| {
        let numbers: Vec<&[u8]> = page.chunks(8).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] == pair[1]), "a page is whole");
        u64::from_be_bytes(numbers[0].try_into().unwrap())
    });
    pages.collect()
}

#[test]
fn a_database_that_is_rewritten_in_place_arrives_as_it_was_at_some_moment_and_whole_in_the_end() {
    let place = Place::with_server();
    fs::create_dir(place.path("one")).unwrap();
    let path = place.path("one/database");
    let page = |number: u64| number.to_be_bytes().repeat(PAGE / 8);
    // Write `n` goes to page `n` modulo their number: at any moment the pages show the last so many writes.
    fs::write(&path, (0..PAGES).flat_map(page).collect::<Vec<u8>>()).unwrap();
    place.link("ada", "one");
    place.link("ada", "two");
    let daemons = ["one", "two"].map(|folder| {
        let mut daemon: Running = place.start(&["sync", folder]);
        daemon.says("in sync");
        daemon
    });
    let (stop, stopped) = channel::<()>();
    let writer = std::thread::spawn(move || {
        let file = File::options().write(true).open(path).unwrap();
        let mut number = PAGES;
        loop {
            // A transaction, and a rest that is sometimes too short to read the whole of it.
            for _ in 0..20 {
                file.write_all_at(&page(number), number % PAGES * PAGE as u64).unwrap();
                number += 1;
            }
            let rest = Duration::from_millis(number * 7 % 160);
            if !matches!(stopped.recv_timeout(rest), Err(RecvTimeoutError::Timeout)) {
                return number;
            }
        }
    });
    let mut seen = Vec::new();
    until("several states of it arrived", || {
        let mut now = writes(&fs::read(place.path("two/database")).unwrap());
        now.sort_unstable();
        assert!(now.windows(2).all(|pair| pair[1] == pair[0] + 1), "never so at one moment: {now:?}");
        if seen.last() != now.last() {
            seen.extend(now.last());
        }
        seen.len() > 5
    });
    stop.send(()).unwrap();
    let last = writer.join().unwrap() - 1;
    until("it is whole in the end", || {
        writes(&fs::read(place.path("two/database")).unwrap()).contains(&last)
    });
    assert!(fs::read(place.path("one/database")).unwrap() == fs::read(place.path("two/database")).unwrap());
    drop(daemons);
}

#[test]
fn a_path_of_four_thousand_bytes_is_synced_read_edited_and_renamed_on_both_sides() {
    let place = Place::with_server();
    let folder = ["n".repeat(199).as_str(); 19].join("/");
    let path = format!("{folder}/{}", "f".repeat(200));
    assert_eq!(path.len(), 4000);
    place.write(&format!("one/{path}"), "deep");
    place.link("ada", "one");
    place.link("ada", "two");
    assert_eq!(place.read(&format!("two/{path}")), "deep");
    place.write(&format!("two/{path}"), "edited");
    place.sync_all(&["two", "one"]);
    assert_eq!(place.read(&format!("one/{path}")), "edited");
    assert_eq!(place.json(&["history", &format!("one/{path}"), "--json"]).as_array().unwrap().len(), 2);
    // Longer names above it, as long as the system takes them.
    let longer = path.replacen(&"n".repeat(199), &"m".repeat(220), 1);
    place.rename(&format!("one/{}", "n".repeat(199)), &format!("one/{}", "m".repeat(220)));
    place.sync_all(&["one", "two"]);
    assert_eq!(place.read(&format!("two/{longer}")), "edited");
    assert!(place.tree("one") == place.tree("two"));
    place.remove(&format!("two/{longer}"));
    place.sync_all(&["two", "one"]);
    assert!(!place.exists(&format!("one/{longer}")));
    place.annals(&["verify", "one"]).ok();
}
