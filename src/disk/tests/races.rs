//! Somebody else writes in the folder at the worst moment (I10), or leads us astray.

use super::*;
use std::{
    io::{Read, Write},
    os::unix::fs::symlink,
};

/// What another program may do to a file, and how it is told apart.
const EDITS: [fn(&Path); 4] = [
    // an editor that saves by renaming
    |path| {
        fs::write(path.with_extension("swp"), "edited").unwrap();
        fs::rename(path.with_extension("swp"), path).unwrap();
    },
    // one that writes in place
    |path| fs::write(path, "edited").unwrap(),
    // one that removes first
    |path| {
        fs::remove_file(path).unwrap();
        fs::write(path, "edited").unwrap();
    },
    // a folder takes the name
    |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
        fs::write(path.join("in it"), "edited").unwrap();
    },
];

fn assert_edited(folder: &Fixture, path: &str, what: usize) {
    let shown = if folder.path(path).is_dir() { format!("{path}/in it") } else { path.to_owned() };
    assert_eq!(folder.text(&shown), "edited", "after edit {what}");
    folder.assert_clean();
}

#[test]
fn an_edit_between_the_check_and_the_exchange_stays() {
    for (what, edit) in EDITS.into_iter().enumerate() {
        let mut folder = Fixture::new();
        folder.given("a", "original");
        let op = folder.over("a", "theirs");
        folder.when(Step::Checked("a".into()), move |top| edit(&top.join("a")));
        let outcome = folder.one(op);
        assert!(is_changed(&outcome), "{outcome:?}");
        assert_edited(&folder, "a", what);
    }
}

#[test]
fn so_does_an_edit_where_names_cannot_be_exchanged() {
    for (what, edit) in EDITS.into_iter().enumerate() {
        let mut folder = Fixture::new();
        folder.given("a", "original");
        let op = folder.over("a", "theirs");
        let (top, mut checks) = (folder.path(""), 0);
        folder.watch(move |step| match step {
            Step::Exchange(_) => Err(Errno::INVAL),
            Step::Checked(_) => {
                checks += 1;
                if checks == 2 {
                    edit(&top.join("a"));
                }
                Ok(())
            }
            _ => Ok(()),
        });
        let outcome = folder.one(op);
        assert!(is_changed(&outcome), "{outcome:?}");
        assert_edited(&folder, "a", what);
    }
}

#[test]
fn a_file_that_takes_the_name_where_names_cannot_be_exchanged_stays() {
    let mut folder = Fixture::new();
    folder.given("a", "original");
    let op = folder.over("a", "theirs");
    let top = folder.path("");
    folder.watch(move |step| match step {
        Step::Exchange(_) => Err(Errno::INVAL),
        Step::Out(_) => {
            fs::write(top.join("a"), "mine").unwrap();
            Ok(())
        }
        _ => Ok(()),
    });
    let outcome = folder.one(op);
    assert!(is_changed(&outcome), "{outcome:?}");
    assert_eq!(folder.text("a"), "mine");
    folder.assert_clean();
}

#[test]
fn where_names_cannot_be_exchanged_a_file_is_replaced_too() {
    let mut folder = Fixture::new();
    folder.given("a", "original");
    let op = folder.over("a", "theirs");
    folder.watch(|step| if matches!(step, Step::Exchange(_)) { Err(Errno::INVAL) } else { Ok(()) });
    assert_eq!(node(&folder.one(op)), folder.node("a"));
    assert_eq!(folder.text("a"), "theirs");
    folder.assert_clean();
}

#[test]
fn an_edit_between_the_check_and_the_removal_stays() {
    for (what, edit) in EDITS.into_iter().enumerate() {
        let mut folder = Fixture::new();
        folder.given("a", "original");
        let op = folder.remove("a");
        folder.when(Step::Checked("a".into()), move |top| edit(&top.join("a")));
        let outcome = folder.one(op);
        assert!(is_changed(&outcome), "{outcome:?}");
        assert_edited(&folder, "a", what);
    }
}

#[test]
fn an_edit_between_the_check_and_the_rename_stays_under_its_name() {
    for (what, edit) in EDITS.into_iter().enumerate() {
        let mut folder = Fixture::new();
        folder.given("a", "original");
        let op = folder.rename("a", "b");
        folder.when(Step::Checked("a".into()), move |top| edit(&top.join("a")));
        let outcome = folder.one(op);
        assert!(is_changed(&outcome), "{outcome:?}");
        assert_edited(&folder, "a", what);
        assert!(!folder.path("b").exists());
    }
}

#[test]
fn an_edit_between_the_check_and_the_change_of_places_stays() {
    for (what, edit) in EDITS.into_iter().enumerate() {
        let mut folder = Fixture::new();
        folder.given("a", "original");
        folder.given("b", "other");
        let (expect_one, expect_other) = (folder.now("a"), folder.now("b"));
        let op = DiskOp::Exchange { one: "a".into(), other: "b".into(), expect_one, expect_other };
        folder.when(Step::Checked("b".into()), move |top| edit(&top.join("a")));
        let outcome = folder.one(op);
        assert!(is_changed(&outcome), "{outcome:?}");
        assert_edited(&folder, "a", what);
        assert_eq!(folder.text("b"), "other");
    }
}

#[test]
fn a_file_that_appears_before_a_new_one_is_put_in_place_stays() {
    let mut folder = Fixture::new();
    let op = folder.write("a", "theirs", Expect::Absent);
    folder.when(Step::Checked("a".into()), |top| fs::write(top.join("a"), "mine").unwrap());
    assert!(is_changed(&folder.one(op)));
    assert_eq!(folder.text("a"), "mine");
    folder.assert_clean();
}

#[test]
fn a_second_edit_while_the_first_is_put_back_stays_and_the_first_is_kept() {
    let mut folder = Fixture::new();
    folder.given("a", "original");
    let op = folder.over("a", "theirs");
    let top = folder.path("");
    folder.watch(move |step| {
        match step {
            Step::Checked(_) => fs::write(top.join("a"), "first").unwrap(),
            // What is at the name now is theirs: a save by renaming throws that away.
            Step::Out(_) => {
                fs::write(top.join("swp"), "second").unwrap();
                fs::rename(top.join("swp"), top.join("a")).unwrap();
            }
            _ => {}
        }
        Ok(())
    });
    let outcome = folder.one(op);
    assert_eq!(outcome, Err(Blocked::Kept { path: "a".into(), kept: "1-a".into() }));
    assert_eq!(folder.text("a"), "second");
    assert_eq!(folder.text(".annals/kept/1-a"), "first");
    assert_eq!(folder.disk.kept(), Ok(vec!["1-a".to_owned()]));
    assert!(folder.state("tmp").is_empty());
}

#[test]
fn a_removed_file_whose_name_was_taken_again_is_kept() {
    let mut folder = Fixture::new();
    folder.given("d/a", "original");
    let op = folder.remove("d/a");
    let top = folder.path("d");
    folder.watch(move |step| {
        match step {
            Step::Checked(_) => fs::write(top.join("a"), "first").unwrap(),
            Step::Out(_) => fs::write(top.join("a"), "second").unwrap(),
            _ => {}
        }
        Ok(())
    });
    assert_eq!(folder.one(op), Err(Blocked::Kept { path: "d/a".into(), kept: "1-a".into() }));
    assert_eq!((folder.text("d/a"), folder.text(".annals/kept/1-a")), ("second".into(), "first".into()));
}

#[test]
fn the_user_removing_what_we_put_while_we_put_back_gets_their_edit_back() {
    let mut folder = Fixture::new();
    folder.given("a", "original");
    let op = folder.over("a", "theirs");
    let top = folder.path("");
    folder.watch(move |step| {
        match step {
            Step::Checked(_) => fs::write(top.join("a"), "edited").unwrap(),
            Step::Out(_) => fs::remove_file(top.join("a")).unwrap(),
            _ => {}
        }
        Ok(())
    });
    assert!(is_changed(&folder.one(op)));
    assert_eq!(folder.text("a"), "edited");
    folder.assert_clean();
}

#[test]
fn a_late_write_into_the_replaced_file_is_kept() {
    let mut folder = Fixture::new();
    folder.given("a", "original");
    let mut writer = fs::File::options().append(true).open(folder.path("a")).unwrap();
    let op = folder.over("a", "theirs");
    folder.when(Step::Proven("a".into()), move |_| writer.write_all(b" and more").unwrap());
    assert_eq!(folder.one(op), Err(Blocked::Kept { path: "a".into(), kept: "1-a".into() }));
    assert_eq!(
        (folder.text("a"), folder.text(".annals/kept/1-a")),
        ("theirs".into(), "original and more".into())
    );
}

#[test]
fn an_edit_right_after_the_exchange_shows_as_a_local_change() {
    let mut folder = Fixture::new();
    folder.given("a", "original");
    let op = folder.over("a", "theirs");
    folder.when(Step::Out("a".into()), |top| fs::write(top.join("a"), "edited").unwrap());
    let reported = node(&folder.one(op));
    assert_eq!(folder.text("a"), "edited");
    assert!(!reported.identity().is(&folder.now("a")), "the next scan has to see it");
    folder.assert_clean();
}

#[test]
fn a_folder_on_the_way_that_became_a_symlink_leads_nowhere() {
    for by_name in [false, true] {
        let mut folder = Fixture::new();
        if by_name {
            folder.disk.folder().walk_by_name();
        }
        folder.given("d/a", "inside");
        fs::write(folder.outside().join("a"), "secret").unwrap();
        let known = folder.now("d/a");
        fs::rename(folder.path("d"), folder.path("moved")).unwrap();
        symlink("../out", folder.path("d")).unwrap();
        let outside =
            Expect::Is(Identity { ino: fs::metadata(folder.outside().join("a")).map(ino).unwrap(), ..known });
        let ops = [
            folder.write("d/new", "x", Expect::Absent),
            folder.write("d/a", "x", Expect::Is(known)),
            folder.write("d/a", "x", outside),
            make_folder("d/sub"),
            DiskOp::WriteSymlink {
                path: "d/l".into(),
                target: "x".into(),
                expect: Expect::Absent,
                holds: None,
            },
            folder.rename("moved", "d/in"),
            DiskOp::SetAttributes {
                path: "d/a".into(),
                mtime_ns: Some(1),
                executable: Some(true),
                expect: known,
            },
        ];
        for outcome in folder.apply(&ops) {
            assert!(
                matches!(outcome, Err(Blocked::NoFolder { .. } | Blocked::Changed { .. })),
                "{outcome:?}"
            );
        }
        assert!(!matches!(
            folder.one(DiskOp::Remove { path: "d/a".into(), expect: known, holds: None }),
            Ok(Done { node: Some(_), .. })
        ));
        assert_eq!(folder.disk.look("d/a"), Ok(None));
        assert!(folder.disk.open_read("d/a").is_err());
        assert_eq!(names(&folder.outside()), ["a"]);
        assert_eq!(fs::read_to_string(folder.outside().join("a")).unwrap(), "secret");
        let scan = folder.disk.scan().unwrap();
        assert_eq!(scan.nodes.keys().collect::<Vec<_>>(), ["d", "moved", "moved/a"]);
    }
}

fn ino(meta: fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&meta)
}

#[test]
fn a_symlink_in_the_middle_of_a_path_is_not_followed_even_inside() {
    for by_name in [false, true] {
        let mut folder = Fixture::new();
        if by_name {
            folder.disk.folder().walk_by_name();
        }
        folder.given("d/sub/a", "a");
        symlink("d", folder.path("l")).unwrap();
        let known = folder.now("d/sub/a");
        let ops =
            [folder.write("l/sub/new", "x", Expect::Absent), folder.write("l/sub/a", "x", Expect::Is(known))];
        let outcomes = folder.apply(&ops);
        assert_eq!(outcomes[0], Err(Blocked::NoFolder { path: "l/sub/new".into() }));
        assert!(is_changed(&outcomes[1]));
        assert_eq!(
            (folder.disk.look("l/sub/a"), folder.disk.open_read("l/sub/a").is_err()),
            (Ok(None), true)
        );
        assert_eq!((names(&folder.path("d/sub")), folder.text("d/sub/a")), (vec!["a".into()], "a".into()));
        folder.assert_clean();
    }
}

#[test]
fn a_folder_that_becomes_a_symlink_between_two_operations_leads_nowhere() {
    let mut folder = Fixture::new();
    let ops = [
        make_folder("d"),
        folder.write("d/one", "1", Expect::Absent),
        folder.write("d/two", "2", Expect::Absent),
    ];
    folder.when(Step::Tried("d/one".into()), |top| {
        fs::rename(top.join("d"), top.join("moved")).unwrap();
        symlink("../out", top.join("d")).unwrap();
    });
    let outcomes = folder.apply(&ops);
    assert_eq!(outcomes[2], Err(Blocked::NoFolder { path: "d/two".into() }));
    assert!(names(&folder.outside()).is_empty());
    assert_eq!(folder.text("moved/one"), "1");
    folder.assert_clean();
}

#[test]
fn a_members_symlink_and_another_members_write_through_it_stay_inside() {
    let mut folder = Fixture::new();
    let link = DiskOp::WriteSymlink {
        path: "d".into(),
        target: "../out".into(),
        expect: Expect::Absent,
        holds: None,
    };
    let ops = [link, make_folder("d"), folder.write("d/x", "x", Expect::Absent)];
    let outcomes = folder.apply(&ops);
    assert!(outcomes[0].is_ok());
    assert!(is_changed(&outcomes[1]));
    assert_eq!(outcomes[2], Err(Blocked::NoFolder { path: "d/x".into() }));
    assert!(names(&folder.outside()).is_empty());
}

#[test]
fn a_symlink_in_the_place_of_the_state_folder_is_not_followed() {
    let mut folder = Fixture::new();
    symlink("../out", folder.path(".annals")).unwrap();
    let op = folder.write("a", "x", Expect::Absent);
    assert!(folder.disk.apply(&[op], &mut folder.contents).is_err());
    assert!(names(&folder.outside()).is_empty());
}

#[test]
fn reading_tells_when_the_file_changed_meanwhile() {
    let mut folder = Fixture::new();
    folder.given("a", "one");
    let mut open = folder.disk.open_read("a").unwrap();
    let before = annals_engine::disk::Reading::node(&open).unwrap();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), annals_engine::disk::Reading::node(&open)), ("one", Ok(before.clone())));
    fs::File::options().append(true).open(folder.path("a")).unwrap().write_all(b"more").unwrap();
    assert!(!before.identity().is(&annals_engine::disk::Reading::node(&open).unwrap().identity()));
}

#[test]
fn what_a_file_holds_is_looked_at_where_its_times_do_not_vouch_for_it() {
    for believed in ["stored", "before"] {
        for in_two in [false, true] {
            let mut folder = Fixture::new();
            ["replaced", "removed", "linked"].iter().for_each(|name| folder.given(name, "stored"));
            let mut ops = [folder.over("replaced", "theirs"), folder.remove("removed"), {
                let (path, expect) = ("linked".into(), Expect::Is(folder.now("linked")));
                DiskOp::WriteSymlink { path, target: "x".into(), expect, holds: None }
            }];
            for op in &mut ops {
                match op {
                    DiskOp::WriteFile { holds, .. }
                    | DiskOp::WriteSymlink { holds, .. }
                    | DiskOp::Remove { holds, .. } => *holds = Some(content_of(believed)),
                    _ => unreachable!(),
                }
            }
            folder.watch(move |step| match step {
                Step::Exchange(_) if in_two => Err(Errno::INVAL),
                _ => Ok(()),
            });
            let before: Vec<_> = ["replaced", "removed", "linked"].map(|name| folder.node(name)).into();
            let outcomes = folder.apply(&ops);
            if believed == "stored" {
                assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
                assert_eq!(
                    (folder.text("replaced").as_str(), folder.path("removed").exists()),
                    ("theirs", false)
                );
                assert!(folder.path("linked").is_symlink());
            } else {
                assert!(outcomes.iter().all(is_changed), "{outcomes:?}");
                for (name, before) in ["replaced", "removed", "linked"].into_iter().zip(before) {
                    assert_eq!((folder.text(name).as_str(), folder.node(name).ino), ("stored", before.ino));
                }
            }
            folder.assert_clean();
        }
    }
}
