//! `annals verify`: what it finds, and that it leaves what it looks at as it was.

use crate::place::Place;
use annals_events::Hash;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Every file and folder below, with what it holds.
fn bytes_of(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(bytes_of(&path));
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap_or_default();
            found.insert(path, Some(bytes));
        }
    }
    found
}

/// A server that was asked to end, with a few files of ada's, and a log that is closed.
fn stopped() -> Place {
    let mut place = Place::with_server();
    (0..5).for_each(|file| place.write(&format!("one/{file}.txt"), &format!("text {file}")));
    place.link("ada", "one");
    place.stop_server();
    place
}

fn add_to(file: &Path, bytes: &[u8]) {
    let mut all = fs::read(file).unwrap();
    all.extend(bytes);
    fs::write(file, all).unwrap();
}

#[test]
fn verify_lists_what_a_crash_cut_off_and_leaves_every_byte_as_it_was() {
    let place = stopped();
    let whole = place.json(&["verify", "--data", "server", "--json"]);
    assert_eq!(whole["torn"].as_array().unwrap().len(), 0);
    let (log, packs) = ("server/log/segments/00000001.segment", "server/packs/packs/00000001.segment");
    let ends = [log, packs].map(|file| fs::metadata(place.path(file)).unwrap().len());
    add_to(&place.path(log), &[0; 700]);
    add_to(&place.path(packs), &[0; 900]);
    for without in ["", "server/log/index", "server/packs/index", "server/log/end"] {
        if !without.is_empty() {
            place.remove(without);
        }
        let before = bytes_of(&place.path("server"));
        for deep in [&[][..], &["--deep"]] {
            let arguments = [&["verify", "--data", "server", "--json"], deep].concat();
            let report = place.json(&arguments);
            assert_eq!((&report["ok"], &report["digests"]), (&whole["ok"], &whole["digests"]), "{report}");
            let torn = report["torn"].as_array().unwrap();
            for (torn, (end, bytes)) in torn.iter().zip(ends.iter().zip([700, 900])) {
                assert_eq!(torn["bytes"], bytes, "{report}");
                let at = format!("00000001.segment at byte {end}");
                assert!(torn["where"].as_str().unwrap().contains(&at), "{report}");
            }
            assert_eq!(torn.len(), 2, "{report}");
        }
        let said = place.annals(&["verify", "--data", "server"]).ok();
        assert!(said.out.contains("torn: 700 bytes") && said.out.contains("whole: "), "{}", said.out);
        assert_eq!(bytes_of(&place.path("server")), before, "without {without:?}");
    }
}

#[test]
fn a_log_that_was_cut_at_the_end_of_a_group_is_damaged_with_its_index_and_without() {
    let place = stopped();
    let whole = place.json(&["verify", "--data", "server", "--json"]);
    let segment = place.path("server/log/segments/00000001.segment");
    let bytes = fs::read(&segment).unwrap();
    let last = (0..bytes.len()).step_by(64).rfind(|at| bytes[*at..].starts_with(b"ANGB")).unwrap();
    fs::write(&segment, &bytes[..last]).unwrap();
    for without in ["", "server/log/index"] {
        if !without.is_empty() {
            place.remove(without);
        }
        let said = place.annals(&["verify", "--data", "server", "--json"]).exits(5);
        let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let problem = &report["problems"][0];
        assert!(problem["where"].as_str().unwrap().contains(&format!("at byte {last}")), "{report}");
        place
            .annals(&["serve", "--data", "server", "--listen", "127.0.0.1:0"])
            .fails(5, "known to have gone on");
    }
    // Put back, with the index still gone, it is what it was.
    fs::write(&segment, &bytes).unwrap();
    let again = place.json(&["verify", "--data", "server", "--json"]);
    assert_eq!((&again["digests"], &again["chain"]), (&whole["digests"], &whole["chain"]));
}

#[test]
fn small_files_of_a_servers_data_that_were_damaged_are_named() {
    let place = stopped();
    for (file, bytes) in [
        ("log/format", &b"annals\n"[..]),
        ("log/format", b""),
        ("log/id", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("log/id", b"ffffffffffffffffffffffffffffffff\n"),
        ("log/end", b"short"),
        ("format", b"annals data 1\nlog nothing\n"),
        ("format", b"\0\0\0"),
        ("server.key", b"0123\n"),
        ("admin.token", b""),
    ] {
        let path = place.path("server").join(file);
        let good = fs::read(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let before = bytes_of(&place.path("server"));
        let said = place.annals(&["verify", "--data", "server", "--json"]).exits(5);
        let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert!(report["problems"][0]["where"].as_str().unwrap().ends_with(file), "{file}: {report}");
        assert_eq!(bytes_of(&place.path("server")), before, "{file}");
        fs::write(&path, good).unwrap();
    }
    place.annals(&["verify", "--data", "server"]).ok();
    place.remove("server/log");
    place.annals(&["verify", "--data", "server"]).exits(5);
    place.annals(&["serve", "--data", "server", "--listen", "127.0.0.1:0"]).fails(5, "the log is gone");
    assert!(!place.exists("server/log"), "nothing begins in its place");
}

#[test]
fn a_save_that_waits_and_was_damaged_is_named() {
    let place = stopped();
    place.write("one/new.txt", "this waits for the server");
    place.sync("one").exits(4);
    place.annals(&["verify", "one"]).ok();
    let pack = place.path("one/.annals/outbox/packs/00000001.segment");
    let mut bytes = fs::read(&pack).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 1;
    fs::write(&pack, bytes).unwrap();
    for deep in [&[][..], &["--deep"]] {
        let said = place.annals(&[&["verify", "one", "--json"], deep].concat()).exits(5);
        let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let at = report["problems"][0]["where"].as_str().unwrap();
        assert!(at.contains("one/.annals/outbox") && at.contains("00000001.segment"), "{report}");
    }
}

/// The one checkpoint of ada's home, and its bytes.
fn checkpoint(place: &Place) -> (PathBuf, Vec<u8>) {
    let folders = fs::read_dir(place.path("server/checkpoints")).unwrap();
    let files: Vec<PathBuf> = folders.map(|folder| folder.unwrap().path().join("latest")).collect();
    let home = files.into_iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let bytes = fs::read(&home).unwrap();
    (home, bytes)
}

/// The checkpoint with another name of a file in it, and with digests that are right.
fn forged(bytes: &[u8]) -> Vec<u8> {
    const INNER: &[u8] = b"annals projections 2\0";
    let find = |what: &[u8]| bytes.windows(what.len()).position(|window| window == what).unwrap();
    let (inner, name) = (find(INNER), find(b"0.txt"));
    let mut forged = bytes[..bytes.len() - 64].to_vec();
    forged[name] = b'7';
    let digest = Hash::of(b"", &[&forged[inner..]]);
    forged.extend_from_slice(&digest.0);
    let digest = Hash::of(b"", &[&forged]);
    forged.extend_from_slice(&digest.0);
    forged
}

#[test]
fn a_checkpoint_that_is_not_what_the_log_gives_is_named_and_without_it_all_is_the_same() {
    let mut place = stopped();
    let whole = place.json(&["verify", "--data", "server", "--json"]);
    let (file, good) = checkpoint(&place);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (bytes, what) in [(forged(&good), "names"), (flipped, "damaged")] {
        fs::write(&file, bytes).unwrap();
        let said = place.annals(&["verify", "--data", "server", "--json"]).exits(5);
        let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(report["digests"], whole["digests"]);
        let problem = &report["problems"][0];
        assert!(problem["what"].as_str().unwrap().contains(what), "{report}");
        assert_eq!(problem["where"], file.display().to_string());
    }
    // The server passes over what is damaged, and puts another in its place.
    place.serve();
    place.sync("one").ok();
    place.annals(&["verify", "--data", "server"]).exits(5);
    place.write("one/more.txt", "more");
    place.sync("one").ok();
    place.stop_server();
    let after = place.json(&["verify", "--data", "server", "--json"]);
    place.remove("server/checkpoints");
    let without = place.json(&["verify", "--data", "server", "--json"]);
    assert_eq!((&without["digests"], &without["chain"]), (&after["digests"], &after["chain"]));
    place.serve();
    place.sync("one").ok();
    assert!(place.annals(&["verify", "--data", "server"]).ok().out.contains("whole: "));
}

#[test]
fn verify_of_a_folder_leaves_every_byte_and_lists_what_a_crash_cut_off() {
    let mut place = stopped();
    place.write("one/new.txt", "this waits for the server");
    place.sync("one").exits(4);
    let rows = ["records", "state", "outbox/packs"];
    for (row, bytes) in rows.iter().zip([100, 200, 300]) {
        let folder = fs::read_dir(place.path("one/.annals").join(row)).unwrap();
        let files = folder.map(|entry| entry.unwrap().path());
        let last = files.filter(|path| path.extension().is_some_and(|is| is == "segment")).max().unwrap();
        add_to(&last, &vec![0; bytes]);
    }
    let before = bytes_of(&place.path("one"));
    let whole = place.json(&["verify", "one", "--json"]);
    for deep in [&[][..], &["--deep"]] {
        let report = place.json(&[&["verify", "one", "--json"], deep].concat());
        assert_eq!((&report["ok"], &report["digests"]), (&true.into(), &whole["digests"]), "{report}");
        let torn: Vec<_> = report["torn"].as_array().unwrap().iter().map(|torn| &torn["bytes"]).collect();
        assert_eq!(torn, [100, 200, 300]);
        assert_eq!(bytes_of(&place.path("one")), before);
    }
    place.serve();
    place.sync("one").ok();
    let after = place.json(&["verify", "one", "--json"]);
    assert_eq!(after["torn"].as_array().unwrap().len(), 0, "work moved it aside");
}
