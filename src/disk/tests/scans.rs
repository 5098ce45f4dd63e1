//! What a look at the whole folder finds, and what it admits not to know.

use super::{
    super::scan::{Task, again, list_all},
    *,
};
use annals_engine::{
    disk::{Listing, Reading, Scan, SkippedBecause, TICK_NS},
    observed::{SyncedChange, SyncedNode, SyncedTree, differing},
};
use annals_events::{DeviceId, Dot, EntryId, EntryKind};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
    sync::atomic::{AtomicBool, Ordering},
};

fn paths(scan: &Scan) -> Vec<&str> {
    scan.nodes.keys().map(String::as_str).collect()
}

fn skipped(scan: &Scan) -> Vec<(&str, &SkippedBecause)> {
    scan.skipped.iter().map(|skipped| (skipped.path.as_str(), &skipped.why)).collect()
}

fn everything() -> Listing {
    Listing { path: String::new(), deep: true }
}

#[test]
fn a_scan_finds_files_folders_and_symlinks_and_not_the_devices_own() {
    let mut folder = Fixture::new();
    folder.given("d/e/file", "12345");
    folder.given("D/file", "");
    folder.given(".annals/journal", "mine");
    folder.given("d/.annals/file", "a name like any other here");
    fs::create_dir(folder.path("empty")).unwrap();
    symlink("../out", folder.path("l")).unwrap();
    fs::set_permissions(folder.path("D/file"), std::os::unix::fs::PermissionsExt::from_mode(0o744)).unwrap();
    let scan = folder.disk.scan().unwrap();
    assert_eq!(
        paths(&scan),
        ["D", "D/file", "d", "d/.annals", "d/.annals/file", "d/e", "d/e/file", "empty", "l"]
    );
    assert!(scan.complete && scan.skipped.is_empty());
    assert_eq!(scan.nodes["d/e/file"], folder.node("d/e/file"));
    assert_eq!(scan.nodes["l"].target.as_deref(), Some(&b"../out"[..]));
    assert_eq!((scan.nodes["empty"].kind, scan.nodes["d/e/file"].size), (EntryKind::Folder, 5));
    assert!(scan.nodes["D/file"].executable && !scan.nodes["d/e/file"].executable);
}

#[test]
fn what_cannot_be_synced_is_passed_by_and_told() {
    let mut folder = Fixture::new();
    folder.given("good", "");
    let _socket = UnixListener::bind(folder.path("socket")).unwrap();
    mknodat(CWD, folder.path("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::write(folder.path("").join(OsStr::from_bytes(b"bad\xffname")), "").unwrap();
    fs::create_dir(folder.path("").join(OsStr::from_bytes(b"bad\xfffolder"))).unwrap();
    fs::write(folder.path(".ANNALS"), "").unwrap();
    let scan = folder.disk.scan().unwrap();
    assert_eq!(paths(&scan), ["good"]);
    assert!(scan.complete, "they were looked at, and are not for us");
    assert_eq!(
        skipped(&scan),
        [
            (".ANNALS", &SkippedBecause::ReservedName),
            ("bad\\xFFfolder", &SkippedBecause::NameNotUtf8),
            ("bad\\xFFname", &SkippedBecause::NameNotUtf8),
            ("pipe", &SkippedBecause::Pipe),
            ("socket", &SkippedBecause::Socket),
        ]
    );
}

#[test]
fn a_pipe_is_not_waited_for_and_not_replaced() {
    let mut folder = Fixture::new();
    mknodat(CWD, folder.path("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert!(folder.disk.open_read("pipe").is_err());
    let op = folder.write("pipe", "x", Expect::Absent);
    assert!(is_changed(&folder.one(op)));
    folder.assert_clean();
}

#[test]
fn a_folder_that_is_gone_altogether_is_an_error_and_not_an_empty_one() {
    let mut folder = Fixture::new();
    fs::remove_dir(folder.path("")).unwrap();
    // The handle still opens, on a folder without a name: nothing in it is what is left of it.
    let scan = folder.disk.scan();
    assert!(scan.is_err() || !scan.as_ref().unwrap().complete, "{scan:?}");
}

#[test]
fn unreadable_below_is_incomplete() {
    let mut folder = Fixture::new();
    folder.given("closed/a", "a");
    folder.given("open/a", "a");
    fs::set_permissions(folder.path("closed"), std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
    let scan = folder.disk.scan().unwrap();
    fs::set_permissions(folder.path("closed"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // Permissions do not bind root: then there is nothing to be seen here.
    if rustix::process::geteuid().is_root() {
        return assert!(scan.complete && scan.nodes.contains_key("closed/a"));
    }
    assert_eq!(paths(&scan), ["closed", "open", "open/a"]);
    assert!(!scan.complete);
    assert!(matches!(scan.skipped[0].why, SkippedBecause::Unreadable { .. }));
}

#[test]
fn what_was_changed_just_now_is_not_settled() {
    let mut folder = Fixture::new();
    folder.disk.folder().plant_guard("guard").unwrap();
    folder.given("new", "");
    let mut scan = folder.disk.scan().unwrap();
    assert!(!scan.nodes["new"].is_settled(scan.began_ns));
    scan.began_ns += 2 * TICK_NS + scan.nodes["new"].ctime_ns - scan.began_ns;
    assert!(scan.nodes["new"].is_settled(scan.began_ns));
    scan.began_ns = i64::MIN;
    assert!(!scan.nodes["new"].is_settled(scan.began_ns), "nothing is where the clock cannot be read");
}

#[test]
fn what_moves_into_a_folder_that_was_listed_already_is_found() {
    let mut folder = Fixture::new();
    folder.given("from/moving/deep/inside", "x");
    folder.given("from/stays", "");
    folder.given("to/filler", "");
    let number = folder.now("from/moving").ino;
    // As if `to` had been listed before the move and `from` after it.
    fs::rename(folder.path("from/moving"), folder.path("moving")).unwrap();
    let mut found =
        list_all(folder.disk.folder(), vec![Task { path: String::new(), must_exist: true, deep: true }])
            .unwrap();
    found.nodes.retain(|(path, _)| !path.starts_with("moving"));
    found.listed.retain(|(path, _)| !path.starts_with("moving"));
    fs::rename(folder.path("moving"), folder.path("to/moving")).unwrap();
    again(folder.disk.folder(), &[everything()], &mut found, i64::MIN).unwrap();
    let scan: Vec<_> = found.nodes.iter().map(|(path, _)| path.as_str()).collect();
    let moved = ["to/moving", "to/moving/deep", "to/moving/deep/inside"];
    assert_eq!(scan, [&["from", "from/stays", "to", "to/filler"], &moved[..]].concat());
    // And what was listed where it was before is not there twice.
    let mut found =
        list_all(folder.disk.folder(), vec![Task { path: String::new(), must_exist: true, deep: true }])
            .unwrap();
    fs::rename(folder.path("to/moving"), folder.path("from/moving")).unwrap();
    again(folder.disk.folder(), &[everything()], &mut found, i64::MIN).unwrap();
    let moved: Vec<_> =
        found.nodes.iter().filter(|(_, node)| node.ino == number).map(|(path, _)| path).collect();
    assert_eq!(moved, ["from/moving"]);
    assert_eq!(found.nodes.len(), 7);
}

#[test]
fn a_folder_that_was_removed_before_it_was_listed_is_not_there_and_no_error() {
    let folder = Fixture::new();
    folder.given("d/file", "");
    folder.given("e/file", "");
    let mut found =
        list_all(folder.disk.folder(), vec![Task { path: String::new(), must_exist: true, deep: true }])
            .unwrap();
    found.nodes.retain(|(path, _)| path != "d/file");
    found.listed.retain(|(path, _)| path != "d");
    found.vanished.insert("d".into());
    fs::remove_dir_all(folder.path("d")).unwrap();
    again(folder.disk.folder(), &[everything()], &mut found, i64::MIN).unwrap();
    assert_eq!(found.nodes.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["e", "e/file"]);
    assert!(found.skipped.is_empty());
}

#[test]
fn what_never_rests_while_the_folder_is_scanned_is_found_or_the_scan_is_not_complete() {
    let mut folder = Fixture::new();
    for number in 0..200 {
        folder.given(&format!("{number:03}/filler"), "");
    }
    folder.given("000/moving/inside", "x");
    let (from, to) = (folder.path("000/moving"), folder.path("199/moving"));
    let stop = AtomicBool::new(false);
    let scans = std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fs::rename(&from, &to).and_then(|()| fs::rename(&to, &from)).unwrap();
            }
        });
        let scans: Vec<_> = (0..50).map(|_| folder.disk.scan().unwrap()).collect();
        stop.store(true, Ordering::Relaxed);
        mover.join().unwrap();
        scans
    });
    for scan in scans {
        let there =
            ["000/moving/inside", "199/moving/inside"].iter().any(|path| scan.nodes.contains_key(*path));
        assert!(there || !scan.complete, "{:?}", scan.skipped);
    }
    assert!(folder.disk.scan().unwrap().complete, "at rest again");
}

#[test]
fn a_birth_is_told_alike_by_every_look_and_stays_through_a_move() {
    let mut folder = Fixture::new();
    let write = folder.write("a", "text", Expect::Absent);
    let made = node(&folder.one(write));
    assert_eq!(folder.node("a"), made);
    fs::create_dir(folder.path("d")).unwrap();
    fs::rename(folder.path("a"), folder.path("d/b")).unwrap();
    fs::write(folder.path("d/b"), "edited").unwrap();
    let now = folder.node("d/b");
    assert_eq!((now.ino, now.born_ns), (made.ino, made.born_ns));
    assert_eq!(folder.disk.scan().unwrap().nodes["d/b"], now);
    assert_eq!(Reading::node(&folder.disk.open_read("d/b").unwrap()).unwrap(), now);
    let born = fs::metadata(folder.path("d/b")).unwrap().created().ok();
    let since_1970 = born.map(|born| born.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos());
    assert_eq!(now.born_ns.map(i128::from), since_1970.map(|ns| i128::try_from(ns).unwrap()));
}

#[test]
fn without_the_kernels_help_the_same_is_found() {
    let mut folder = Fixture::new();
    folder.given("d/e/f/file", "1");
    symlink("d", folder.path("l")).unwrap();
    let by_kernel = folder.disk.scan().unwrap().nodes;
    folder.disk.folder().walk_by_name();
    assert_eq!(folder.disk.scan().unwrap().nodes, by_kernel);
    let op = folder.over("d/e/f/file", "2");
    assert!(folder.one(op).is_ok());
    assert_eq!(folder.disk.look("l/e"), Ok(None));
}

/// What a device agreed on that found just this in its folder.
pub(super) fn known_of(scan: &Scan) -> SyncedTree {
    let known = |(path, node): (&String, &Node)| {
        let synced = SyncedNode {
            entries: vec![EntryId(Dot::new(DeviceId([1; 16]), node.ino))],
            kind: node.kind,
            head: None,
            heads: Vec::new(),
            content: None,
            mtime: None,
            executable: node.executable,
            copy: false,
            disk: node.clone(),
            settled: true,
            proven: true,
            aside: false,
        };
        SyncedChange::Put(path.clone(), Box::new(synced))
    };
    scan.nodes.iter().map(known).collect()
}

#[test]
fn a_survey_says_of_the_folder_what_a_scan_says_and_names_where_something_is_different() {
    type Act = fn(&Fixture);
    let acts: [(Act, Option<&[&str]>); 12] = [
        (|_| {}, Some(&[])),
        (|folder| folder.given("a/b/file", "other"), Some(&["a/b"])),
        (|folder| folder.given("a/new", ""), Some(&["a"])),
        (|folder| fs::remove_file(folder.path("top")).unwrap(), Some(&[""])),
        (|folder| fs::rename(folder.path("a/b/file"), folder.path("c/file")).unwrap(), Some(&["a/b", "c"])),
        (|folder| symlink("other", folder.path("c/link")).unwrap(), Some(&["c"])),
        (|folder| drop(UnixListener::bind(folder.path("c/socket")).unwrap()), Some(&["c"])),
        // What is in it may be different as well, and is elsewhere.
        (|folder| fs::rename(folder.path("a/b"), folder.path("d")).unwrap(), None),
        (|folder| fs::remove_dir_all(folder.path("a")).unwrap(), None),
        // A folder that is new is for who looks at where it is.
        (|folder| folder.given("c/new/file", ""), Some(&["c"])),
        (|folder| folder.given("c/passed by", ""), Some(&[])),
        // Ignored, but known: it is synced.
        (|folder| folder.given("c/synced by", "other"), Some(&["c"])),
    ];
    for (n, (act, expected)) in acts.into_iter().enumerate() {
        let mut folder = Fixture::new();
        for path in ["top", "a/b/file", "a.b", "a/other", "c/d/file", "c/synced by", "c/z"] {
            folder.given(path, "text");
        }
        let mut known = known_of(&folder.disk.scan().unwrap());
        folder.given(".annalsignore", "* by\n");
        let rules = folder.node(".annalsignore");
        let scan = Scan { nodes: [(".annalsignore".to_owned(), rules)].into(), ..Scan::default() };
        known_of(&scan).iter().for_each(|(path, node)| known.apply(SyncedChange::Put(path, Box::new(node))));
        act(&folder);
        let expected = expected.map(|paths| paths.iter().map(|path| (*path).to_owned()).collect());
        assert_eq!(folder.disk.survey(&known).unwrap(), expected, "{n}: survey");
        assert_eq!(differing(&folder.disk.scan().unwrap(), &known), expected, "{n}: scan");
    }
}

#[test]
fn a_survey_takes_for_different_what_may_have_changed_and_look_the_same() {
    let mut folder = Fixture::new();
    folder.given("a/file", "text");
    let mut known = known_of(&folder.disk.scan().unwrap());
    let node = known.get("a/file").unwrap();
    known.apply(SyncedChange::Put("a/file".into(), Box::new(SyncedNode { settled: false, ..node })));
    assert_eq!(folder.disk.survey(&known).unwrap(), Some(["a".to_owned()].into()));
}
