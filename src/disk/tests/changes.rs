//! What operations do when nobody comes in between.

use super::*;
use annals_engine::disk::DiskError;
use annals_events::EntryKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[test]
fn a_new_file_has_its_bytes_its_time_and_its_mode() {
    let mut folder = Fixture::new();
    let plain = folder.write("a/plain", "hello", Expect::Absent);
    let DiskOp::WriteFile { content, size, .. } = folder.write("", "#!run", Expect::Absent) else {
        unreachable!()
    };
    let run = DiskOp::WriteFile {
        path: "a/run".into(),
        content,
        size,
        mtime_ns: None,
        executable: true,
        expect: Expect::Absent,
        holds: None,
    };
    let outcomes = folder.apply(&[make_folder("a"), plain, run]);
    assert_eq!(folder.text("a/plain"), "hello");
    let meta = fs::metadata(folder.path("a/plain")).unwrap();
    assert_eq!(meta.mtime() * 1_000_000_000 + meta.mtime_nsec(), MTIME_NS);
    assert_eq!(meta.mode() & 0o111, 0);
    assert_eq!(fs::metadata(folder.path("a/run")).unwrap().mode() & 0o700, 0o700);
    assert_eq!(node(&outcomes[1]), folder.node("a/plain"), "what is reported is what is there");
    assert_eq!(node(&outcomes[0]).identity().ino, folder.now("a").ino);
    folder.assert_clean();
}

#[test]
fn times_before_1970_and_empty_files_are_kept() {
    let mut folder = Fixture::new();
    let content = folder.content(b"");
    let op = DiskOp::WriteFile {
        path: "old".into(),
        content,
        size: 0,
        mtime_ns: Some(-1_500_000_001),
        executable: false,
        expect: Expect::Absent,
        holds: None,
    };
    assert_eq!(node(&folder.one(op)).mtime_ns, -1_500_000_001);
    assert_eq!(folder.node("old").mtime_ns, -1_500_000_001);
}

#[test]
fn a_replaced_file_keeps_its_mode_but_for_the_executable_bit() {
    let mut folder = Fixture::new();
    folder.given("a", "old");
    fs::set_permissions(folder.path("a"), fs::Permissions::from_mode(0o6750)).unwrap();
    let op = folder.over("a", "new");
    let outcome = folder.one(op);
    assert_eq!(node(&outcome), folder.node("a"));
    assert_eq!(folder.text("a"), "new");
    assert_eq!(fs::metadata(folder.path("a")).unwrap().mode() & 0o7777, 0o640);
    folder.assert_clean();
}

#[test]
fn what_may_be_run_may_be_run_by_whoever_may_read_it_and_what_may_not_by_nobody() {
    for (before, executable, after) in [
        (0o755, false, 0o644),
        (0o644, true, 0o755),
        (0o640, true, 0o750),
        (0o604, true, 0o705),
        (0o600, true, 0o700),
        (0o711, false, 0o600),
        // No change is no reason to change anything.
        (0o744, true, 0o744),
        (0o654, false, 0o654),
    ] {
        let mut folder = Fixture::new();
        for name in ["set", "replaced"] {
            folder.given(name, "old");
            fs::set_permissions(folder.path(name), fs::Permissions::from_mode(before)).unwrap();
        }
        let expect = folder.now("set");
        let set = DiskOp::SetAttributes {
            path: "set".into(),
            mtime_ns: None,
            executable: Some(executable),
            expect,
        };
        let DiskOp::WriteFile { path, content, size, mtime_ns, expect, .. } = folder.over("replaced", "new")
        else {
            unreachable!()
        };
        let replaced = DiskOp::WriteFile { path, content, size, mtime_ns, executable, expect, holds: None };
        assert!(folder.apply(&[set, replaced]).iter().all(Result::is_ok));
        for name in ["set", "replaced"] {
            let mode = fs::metadata(folder.path(name)).unwrap().mode() & 0o7777;
            assert_eq!(mode, after, "{name}: {before:o} becomes {mode:o}");
        }
    }
}

#[test]
fn a_replaced_file_that_was_renamed_in_the_same_call_keeps_its_mode_too() {
    let mut folder = Fixture::new();
    folder.given("a", "old");
    fs::set_permissions(folder.path("a"), fs::Permissions::from_mode(0o640)).unwrap();
    let expect = Expect::Is(folder.now("a"));
    let ops = [folder.rename("a", "b"), folder.write("b", "new", expect)];
    assert!(folder.apply(&ops).iter().all(Result::is_ok));
    assert_eq!((folder.text("b").as_str(), folder.disk.look("a")), ("new", Ok(None)));
    assert_eq!(fs::metadata(folder.path("b")).unwrap().mode() & 0o7777, 0o640);
    folder.assert_clean();
}

#[test]
fn symlinks_say_what_they_are_told_and_replace_files_and_are_replaced() {
    let mut folder = Fixture::new();
    let link = |target: &str, expect| DiskOp::WriteSymlink {
        path: "l".into(),
        target: target.into(),
        expect,
        holds: None,
    };
    let made = folder.one(link("../../out/secret", Expect::Absent));
    assert_eq!(node(&made).target.as_deref(), Some(&b"../../out/secret"[..]));
    assert_eq!(node(&made), folder.node("l"));
    let expect = Expect::Is(folder.now("l"));
    assert_eq!(node(&folder.one(link("new", expect))).target.as_deref(), Some(&b"new"[..]));
    let op = folder.over("l", "a file");
    assert_eq!(node(&folder.one(op)).kind, EntryKind::File);
    assert_eq!(folder.text("l"), "a file");
    let expect = Expect::Is(folder.now("l"));
    assert_eq!(node(&folder.one(link("again", expect))).kind, EntryKind::Symlink);
    assert!(names(&folder.outside()).is_empty());
    folder.assert_clean();
}

#[test]
fn removing_takes_files_symlinks_and_empty_folders_alone() {
    let mut folder = Fixture::new();
    folder.given("d/a", "a");
    symlink("d", folder.path("l")).unwrap();
    let full = folder.remove("d");
    let outcomes = folder.apply(std::slice::from_ref(&full));
    assert_eq!(outcomes, [Err(Blocked::NotEmpty { path: "d".into() })]);
    let ops = [folder.remove("d/a"), folder.remove("l"), full.clone(), full];
    let outcomes = folder.apply(&ops);
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(Done { node: None, other: None })), "{outcomes:?}");
    assert_eq!(names(&folder.path("")), [".annals"]);
    folder.assert_clean();
}

#[test]
fn a_tree_moves_as_one_and_what_is_in_it_stays_what_it_was() {
    let mut folder = Fixture::new();
    folder.given("old/sub/a", "a");
    let before = folder.now("old/sub/a");
    let op = folder.rename("old", "new");
    assert_eq!(node(&folder.one(op)).kind, EntryKind::Folder);
    assert_eq!(folder.now("new/sub/a"), before);
    folder.assert_clean();
}

#[test]
fn two_files_change_places() {
    let mut folder = Fixture::new();
    folder.given("a", "from a");
    folder.given("d/b", "from b");
    let (expect_one, expect_other) = (folder.now("a"), folder.now("d/b"));
    let op = DiskOp::Exchange { one: "a".into(), other: "d/b".into(), expect_one, expect_other };
    let done = folder.one(op).unwrap();
    assert_eq!((done.node.unwrap(), done.other.unwrap()), (folder.node("a"), folder.node("d/b")));
    assert_eq!((folder.text("a"), folder.text("d/b")), ("from b".into(), "from a".into()));
}

#[test]
fn a_child_takes_the_place_of_its_folder_by_parking() {
    let mut folder = Fixture::new();
    folder.given("x/y/deep", "deep");
    folder.given("x/beside", "beside");
    let (x, y) = (folder.now("x"), folder.now("x/y"));
    let ops = [
        DiskOp::Park { path: "x/y".into(), slot: 1, expect: y },
        DiskOp::Park { path: "x".into(), slot: 2, expect: x },
        DiskOp::Unpark { slot: 1, path: "x".into() },
        DiskOp::Unpark { slot: 2, path: "x/old".into() },
    ];
    let outcomes = folder.apply(&ops);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!((folder.text("x/deep"), folder.text("x/old/beside")), ("deep".into(), "beside".into()));
    folder.assert_clean();
}

#[test]
fn what_is_parked_and_not_taken_up_returns() {
    let mut folder = Fixture::new();
    folder.given("a", "a");
    let expect = folder.now("a");
    let park = DiskOp::Park { path: "a".into(), slot: 7, expect };
    assert!(is_changed(&folder.one(park)), "it was not parked, in the end");
    folder.given("b", "b");
    let expect = folder.now("a");
    let park = DiskOp::Park { path: "a".into(), slot: 7, expect };
    let outcomes = folder.apply(&[park, DiskOp::Unpark { slot: 7, path: "b".into() }]);
    assert!(outcomes.iter().all(is_changed), "{outcomes:?}");
    assert_eq!((folder.text("a"), folder.text("b")), ("a".into(), "b".into()));
    folder.assert_clean();
}

#[test]
fn attributes_change_in_place_and_a_set_time_asks_for_another_look() {
    let mut folder = Fixture::new();
    folder.given("a", "a");
    let set = |mtime_ns, executable, expect| DiskOp::SetAttributes {
        path: "a".into(),
        mtime_ns,
        executable,
        expect,
    };
    let before = folder.now("a");
    let run = node(&folder.one(set(None, Some(true), before)));
    assert!(run.executable && run == folder.node("a"));
    let expect = folder.now("a");
    let timed = node(&folder.one(set(Some(MTIME_NS), None, expect)));
    assert_eq!((timed.mtime_ns, timed.ctime_ns, timed.ino), (MTIME_NS, i64::MIN, before.ino));
    assert!(is_changed(&folder.one(set(None, Some(false), before))), "an old look is no base");
    assert!(folder.node("a").executable);
}

#[test]
fn nothing_is_replaced_that_is_not_what_was_expected() {
    let mut folder = Fixture::new();
    folder.given("a", "mine");
    folder.given("b", "b");
    let old = folder.now("a");
    folder.given("a", "mine, longer");
    let ops = [
        folder.write("a", "theirs", Expect::Absent),
        folder.write("a", "theirs", Expect::Is(old)),
        folder.write("gone", "theirs", Expect::Is(old)),
        folder.write("no/way", "theirs", Expect::Is(old)),
        DiskOp::Remove { path: "a".into(), expect: old, holds: None },
        DiskOp::Rename { from: "a".into(), to: "c".into(), expect: old },
        folder.rename("b", "a"),
        make_folder("a"),
        DiskOp::Park { path: "a".into(), slot: 1, expect: old },
        DiskOp::WriteSymlink { path: "a".into(), target: "b".into(), expect: Expect::Absent, holds: None },
    ];
    let outcomes = folder.apply(&ops);
    assert!(outcomes.iter().all(is_changed), "{outcomes:#?}");
    assert_eq!((folder.text("a"), folder.text("b")), ("mine, longer".into(), "b".into()));
    folder.assert_clean();
}

#[test]
fn a_change_within_the_tick_is_seen_by_the_change_time() {
    let mut folder = Fixture::new();
    folder.given("a", "one");
    let old = folder.now("a");
    folder.given("a", "two");
    let file = fs::File::options().write(true).open(folder.path("a")).unwrap();
    rustix::fs::futimens(&file, &super::super::stage::modified_at(old.mtime_ns)).unwrap();
    assert_eq!((folder.now("a").size, folder.now("a").mtime_ns), (old.size, old.mtime_ns));
    let op = folder.write("a", "theirs", Expect::Is(old));
    assert!(is_changed(&folder.one(op)));
    assert_eq!(folder.text("a"), "two");
}

#[test]
fn odd_names_are_names() {
    let mut folder = Fixture::new();
    let longest = "x".repeat(255);
    let odd = [
        "a\nb",
        " ",
        "...",
        "-rf",
        "ä",
        "a\u{308}",
        "A",
        "a",
        "\u{1b}[31m",
        "\\x41",
        &longest,
        "note",
        "tmp",
    ];
    let ops: Vec<_> = odd.iter().map(|name| folder.write(name, name, Expect::Absent)).collect();
    let outcomes = folder.apply(&ops);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:#?}");
    let scan = folder.disk.scan().unwrap();
    let mut sorted: Vec<_> = odd.iter().map(|name| (*name).to_owned()).collect();
    sorted.sort();
    assert_eq!(scan.nodes.into_keys().collect::<Vec<_>>(), sorted);
    for name in odd {
        assert_eq!(folder.text(name), name);
        let op = folder.over(name, "again");
        assert!(folder.one(op).is_ok(), "{name:?}");
    }
    folder.assert_clean();
}

#[test]
fn names_that_are_none_are_refused() {
    let mut folder = Fixture::new();
    folder.given("a", "a");
    let too_long = "x".repeat(256);
    for bad in [
        "",
        ".",
        "..",
        "../out/x",
        "a/../../out/x",
        "/etc/x",
        "d//x",
        "a\0b",
        ".annals",
        ".ANNALS/x",
        &too_long,
    ] {
        let ops = [
            folder.write(bad, "x", Expect::Absent),
            make_folder(bad),
            DiskOp::WriteSymlink {
                path: bad.into(),
                target: "x".into(),
                expect: Expect::Absent,
                holds: None,
            },
            folder.rename("a", bad),
        ];
        for outcome in folder.apply(&ops) {
            assert!(matches!(outcome, Err(Blocked::Name { .. })), "{bad:?}: {outcome:?}");
        }
        assert!(folder.disk.look(bad).is_err(), "{bad:?}");
        assert!(folder.disk.open_read(bad).is_err(), "{bad:?}");
    }
    let ops = [make_folder("d"), make_folder("d/.annals")];
    assert!(folder.apply(&ops).iter().all(Result::is_ok), "only the top is the device's own");
    assert!(names(&folder.outside()).is_empty());
    assert_eq!(names(&folder.path("")), [".annals", "a", "d"]);
}

#[test]
fn paths_longer_than_the_system_takes_at_once_are_reached() {
    let mut folder = Fixture::new();
    let mut path = String::new();
    let mut ops = Vec::new();
    for _ in 0..30 {
        path = if path.is_empty() { "n".repeat(200) } else { format!("{path}/{}", "n".repeat(200)) };
        ops.push(make_folder(&path));
    }
    path.push_str("/file");
    ops.push(folder.write(&path, "deep", Expect::Absent));
    for outcome in folder.apply(&ops) {
        assert!(
            outcome.is_ok(),
            "{:?}",
            outcome.map_err(|error| error.to_string().replace("nnnnnnnnnn", ""))
        );
    }
    let scan = folder.disk.scan().unwrap();
    assert_eq!((scan.nodes.len(), scan.complete), (31, true));
    assert_eq!(scan.nodes[&path].size, 4);
    let mut text = String::new();
    io::Read::read_to_string(&mut folder.disk.open_read(&path).unwrap(), &mut text).unwrap();
    assert_eq!(text, "deep");
}

#[test]
fn content_that_fails_or_has_another_size_gets_no_name_and_stops_nothing_else() {
    let mut folder = Fixture::new();
    let with_size = |op: DiskOp, wrong: u64| match op {
        DiskOp::WriteFile { path, content, mtime_ns, executable, expect, .. } => {
            DiskOp::WriteFile { path, content, size: wrong, mtime_ns, executable, expect, holds: None }
        }
        other => other,
    };
    let (long, short) =
        (folder.write("long", "12345", Expect::Absent), folder.write("short", "1234", Expect::Absent));
    let mut missing = folder.write("missing", "x", Expect::Absent);
    if let DiskOp::WriteFile { content, .. } = &mut missing {
        content.0[0] = 0xff;
    }
    let ops =
        [with_size(long, 4), with_size(short, 5), missing, folder.write("good", "good", Expect::Absent)];
    let outcomes = folder.apply(&ops);
    for outcome in &outcomes[..3] {
        assert!(matches!(outcome, Err(Blocked::Content { .. })), "{outcome:?}");
    }
    assert!(outcomes[3].is_ok());
    assert_eq!(names(&folder.path("")), [".annals", "good"]);
    folder.assert_clean();
}

#[test]
fn a_full_disk_is_told_and_leaves_everything_as_it_was() {
    let mut folder = Fixture::new();
    folder.given("a", "old");
    let full = |step: &Step| if *step == Step::Stage("b".into()) { Err(Errno::NOSPC) } else { Ok(()) };
    folder.watch(full);
    let ops = [
        folder.write("first", "1", Expect::Absent),
        folder.write("b", "2", Expect::Absent),
        folder.over("a", "new"),
        make_folder("d"),
    ];
    let outcomes = folder.apply(&ops);
    assert!(outcomes[0].is_ok() && outcomes[3].is_ok());
    assert_eq!(outcomes[1], Err(Blocked::Full { path: "b".into() }));
    assert_eq!(outcomes[2], Err(Blocked::Full { path: "a".into() }), "not the last bytes of the disk either");
    assert_eq!((folder.text("first"), folder.text("a")), ("1".into(), "old".into()));
    folder.assert_clean();
}

#[test]
fn a_folder_in_the_way_or_missing_is_told() {
    let mut folder = Fixture::new();
    folder.given("d/a", "a");
    let expect = Expect::Is(folder.now("d"));
    let ops = [
        folder.write("no/x", "x", Expect::Absent),
        folder.write("d/a/x", "x", Expect::Absent),
        folder.write("d", "x", Expect::Absent),
        folder.write("d", "x", expect),
        folder.rename("d", "d/e"),
    ];
    let outcomes = folder.apply(&ops);
    assert_eq!(outcomes[0], Err(Blocked::NoFolder { path: "no/x".into() }));
    assert_eq!(outcomes[1], Err(Blocked::NoFolder { path: "d/a/x".into() }));
    assert!(is_changed(&outcomes[2]));
    assert!(matches!(outcomes[3], Err(Blocked::Other { .. })));
    assert!(matches!(outcomes[4], Err(Blocked::Other { .. })), "{:?}", outcomes[4]);
    assert_eq!(folder.text("d/a"), "a");
    folder.assert_clean();
}

#[test]
fn a_folder_that_is_none_is_not_opened() {
    let top = tempfile::tempdir().unwrap();
    fs::write(top.path().join("file"), "").unwrap();
    for bad in ["file", "missing"] {
        let opened = FolderDisk::open(&top.path().join(bad));
        assert!(matches!(opened, Err(DiskError::NoFolder { .. })), "{bad}");
    }
}

#[test]
fn many_changes_at_once_go_in_groups_and_all_arrive() {
    let mut folder = Fixture::new();
    let mut ops = vec![make_folder("d"), make_folder("e")];
    for number in 0..1500 {
        let path = format!("{}/{number}", if number % 2 == 0 { "d" } else { "e" });
        ops.push(folder.write(&path, &path, Expect::Absent));
    }
    assert!(folder.apply(&ops).iter().all(Result::is_ok));
    assert_eq!(folder.disk.scan().unwrap().nodes.len(), 1502);
    assert_eq!(folder.text("e/1499"), "e/1499");
    folder.assert_clean();
}

#[test]
fn the_guard_tells_a_copy_from_the_original() {
    let folder = Fixture::new();
    let guard = folder.disk.folder().plant_guard("guard").unwrap();
    assert_eq!(folder.reopened().disk.folder().guard_of("guard"), Ok(Some(guard)));
    let folder = Fixture::new();
    let guard = folder.disk.folder().plant_guard("guard").unwrap();
    let (original, copy) = (folder.path(".annals/guard"), folder.path(".annals/copy"));
    fs::create_dir(&copy).unwrap();
    fs::remove_dir(&original).unwrap();
    fs::rename(&copy, &original).unwrap();
    assert_ne!(folder.disk.folder().guard_of("guard"), Ok(Some(guard)));
    assert_eq!(folder.disk.folder().guard_of("none"), Ok(None));
}

#[test]
fn the_state_folder_is_its_owners_alone() {
    let mut folder = Fixture::new();
    folder.one(make_folder("d")).unwrap();
    assert_eq!(fs::metadata(folder.path(".annals")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn what_follows_from_a_parking_that_a_local_change_prevented_is_a_local_change_too() {
    let mut folder = Fixture::new();
    folder.given("a", "a");
    let old = folder.now("a");
    folder.given("a", "a, edited");
    let outcomes = folder.apply(&[
        DiskOp::Park { path: "a".into(), slot: 0, expect: old },
        DiskOp::Unpark { slot: 0, path: "b".into() },
    ]);
    assert!(outcomes.iter().all(is_changed), "{outcomes:?}");
    assert_eq!(folder.text("a"), "a, edited");
}

/// Gives the bytes of a content, and fails before the one that is said; says how many were there.
struct Failing {
    bytes: Vec<u8>,
    fails_at: usize,
    left: usize,
}

impl Contents for Failing {
    fn write_to(&mut self, _: &ContentId, _: &mut dyn OldFiles, sink: &mut dyn NewFile) -> io::Result<()> {
        let mut goes_on = true;
        for (place, piece) in self.bytes.chunks(100_000).enumerate() {
            goes_on = goes_on && sink.left_before(piece.len())?.is_some_and(|left| left == piece);
            if goes_on {
                sink.keep(piece)?;
                self.left += piece.len();
            } else if place * 100_000 >= self.fails_at {
                return Err(io::Error::other("cut"));
            } else {
                sink.write_all(piece)?;
            }
        }
        Ok(())
    }
}

#[test]
fn a_large_file_whose_source_failed_is_gone_on_with_even_by_the_next_process() {
    let mut folder = Fixture::new();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n >> 3) as u8).collect();
    let mut contents = Failing { bytes: bytes.clone(), fails_at: 1_000_000, left: 0 };
    let op = DiskOp::WriteFile {
        path: "large".into(),
        content: ContentId([3; 32]),
        size: bytes.len() as u64,
        mtime_ns: None,
        executable: true,
        expect: Expect::Absent,
        holds: None,
    };
    for (left, fails_at) in [(0, 1_000_000), (1_000_000, 2_000_000), (2_000_000, usize::MAX)] {
        (contents.left, contents.fails_at) = (0, fails_at);
        let mut disk = FolderDisk::open(&folder.path("")).unwrap();
        assert_eq!(disk.sweep().unwrap().removed, 0);
        let outcome = disk.apply(std::slice::from_ref(&op), &mut contents).unwrap().pop().unwrap();
        assert_eq!((contents.left, outcome.is_ok()), (left, fails_at == usize::MAX));
        assert_eq!(folder.path("large").exists(), outcome.is_ok());
    }
    assert!(fs::read(folder.path("large")).unwrap() == bytes);
    assert!(folder.node("large").executable);
    folder.assert_clean();
}

#[test]
fn what_was_begun_goes_when_nothing_is_left_to_be_written() {
    let mut folder = Fixture::new();
    let mut contents = Failing { bytes: vec![5; 2_000_000], fails_at: 1_000_000, left: 0 };
    let expect = Expect::Absent;
    let (content, size) = (ContentId([3; 32]), 2_000_000);
    let path = "large".to_owned();
    let op =
        DiskOp::WriteFile { path, content, size, mtime_ns: None, executable: false, expect, holds: None };
    assert!(folder.disk.apply(&[op], &mut contents).unwrap()[0].is_err());
    assert_eq!(names(&folder.path(".annals/tmp")).len(), 1);
    folder.disk.rest();
    folder.assert_clean();
}
