//! A process that dies at any step (I9). What these cannot show is what the kernel forgets when the power
//! fails: for that, the order of the syncs is asserted below.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A folder, and changes of every kind to it.
fn everything() -> (Fixture, Vec<DiskOp>) {
    let mut folder = Fixture::new();
    for path in ["replaced", "removed", "moved", "one", "other", "x/y/deep"] {
        folder.given(path, "old");
    }
    folder.given("edited", "old");
    let edited = folder.over("edited", "new");
    folder.given("edited", "mine");
    let (one, other) = (folder.now("one"), folder.now("other"));
    let (x, y) = (folder.now("x"), folder.now("x/y"));
    let ops = vec![
        make_folder("d"),
        folder.write("d/new", "new", Expect::Absent),
        folder.over("replaced", "new"),
        edited,
        folder.remove("removed"),
        folder.rename("moved", "d/moved"),
        DiskOp::Exchange { one: "one".into(), other: "other".into(), expect_one: one, expect_other: other },
        DiskOp::Park { path: "x/y".into(), slot: 1, expect: y },
        DiskOp::Park { path: "x".into(), slot: 2, expect: x },
        DiskOp::Unpark { slot: 1, path: "x".into() },
        DiskOp::Unpark { slot: 2, path: "x/old".into() },
    ];
    (folder, ops)
}

/// Dies at the `at`-th step; answers whether there was one.
fn crash_at(folder: &mut Fixture, ops: &[DiskOp], at: usize, exchange: bool) -> bool {
    let mut left = at;
    folder.watch(move |step| {
        if left == 0 {
            resume_unwind(Box::new("crash"));
        }
        left -= 1;
        if matches!(step, Step::Exchange(_)) && !exchange { Err(Errno::INVAL) } else { Ok(()) }
    });
    catch_unwind(AssertUnwindSafe(|| folder.disk.apply(ops, &mut folder.contents))).is_err()
}

#[test]
fn whenever_it_dies_every_name_shows_old_or_new_and_nothing_is_lost() {
    die_at_every_step(true);
}

#[test]
fn so_it_is_where_names_cannot_be_exchanged() {
    die_at_every_step(false);
}

fn die_at_every_step(exchange: bool) {
    let mut at = 0;
    loop {
        let (mut folder, ops) = everything();
        let crashed = crash_at(&mut folder, &ops, at, exchange);
        for path in ["d/new", "replaced"] {
            let now = folder.text(path);
            assert!(
                ["old", "new"].contains(&now.as_str()) || !folder.path(path).exists(),
                "step {at}: {path} is {now}"
            );
        }
        let mut folder = folder.reopened();
        let swept = folder.disk.sweep().unwrap();
        assert!(folder.state("tmp").is_empty(), "step {at}: {:?}", folder.state("tmp"));
        assert_eq!(swept.kept, [], "step {at}");
        assert!(["old", "new"].contains(&folder.text("replaced").as_str()), "step {at}");
        assert_eq!(folder.text("edited"), "mine", "step {at}");
        assert!(folder.path("moved").exists() != folder.path("d/moved").exists(), "step {at}");
        assert_eq!((folder.text("one"), folder.text("other")), ("old".into(), "old".into()), "step {at}");
        let deep =
            ["x/y/deep", "x/deep", "x/old/y/deep"].iter().filter(|path| folder.path(path).exists()).count();
        assert_eq!(deep, 1, "step {at}: {:?}", folder.disk.scan().unwrap().nodes.keys());
        assert_eq!(folder.disk.sweep().unwrap(), Default::default(), "step {at}: once is enough");
        if !crashed {
            break;
        }
        at += 1;
    }
    assert!(at > 20, "only {at} steps");
}

#[test]
fn an_edit_caught_in_our_hands_returns_to_its_name() {
    let steps = |op: &str| [Step::Out(op.into()), Step::Checked(op.into())];
    for replace in [true, false] {
        let mut folder = Fixture::new();
        folder.given("a", "original");
        let op = if replace { folder.over("a", "theirs") } else { folder.remove("a") };
        let [out, checked] = steps("a");
        let top = folder.path("");
        folder.watch(move |step| {
            if *step == checked {
                fs::write(top.join("a"), "edited").unwrap();
            }
            if *step == out {
                resume_unwind(Box::new("crash"));
            }
            Ok(())
        });
        catch_unwind(AssertUnwindSafe(|| folder.disk.apply(&[op], &mut folder.contents))).unwrap_err();
        assert_ne!(folder.text("a"), "edited", "it is in our hands");
        let mut folder = folder.reopened();
        assert_eq!(folder.disk.sweep().unwrap().put_back, ["a"]);
        assert_eq!(folder.text("a"), "edited");
        folder.assert_clean();
    }
}

#[test]
fn what_was_stored_without_a_trace_and_is_caught_in_our_hands_returns_as_well() {
    for stored in [true, false] {
        let mut folder = Fixture::new();
        folder.given("a", "original");
        let mut op = folder.over("a", "theirs");
        if let DiskOp::WriteFile { holds, .. } = &mut op {
            *holds = Some(content_of(if stored { "as known" } else { "original" }));
        }
        let out = Step::Out("a".into());
        folder.watch(move |step| if *step == out { resume_unwind(Box::new("crash")) } else { Ok(()) });
        catch_unwind(AssertUnwindSafe(|| folder.disk.apply(&[op], &mut folder.contents))).unwrap_err();
        let mut folder = folder.reopened();
        assert_eq!(folder.disk.sweep().unwrap().put_back.is_empty(), !stored);
        assert_eq!(folder.text("a"), if stored { "original" } else { "theirs" });
        folder.assert_clean();
    }
}

#[test]
fn with_a_note_that_cannot_be_read_nothing_is_thrown_away() {
    let mut folder = Fixture::new();
    folder.given("a", "original");
    let op = folder.over("a", "theirs");
    folder.watch(|step| if matches!(step, Step::Out(_)) { resume_unwind(Box::new("crash")) } else { Ok(()) });
    catch_unwind(AssertUnwindSafe(|| folder.disk.apply(&[op], &mut folder.contents))).unwrap_err();
    fs::write(folder.path(".annals/tmp/note"), "damaged").unwrap();
    let mut folder = folder.reopened();
    let kept = folder.disk.sweep().unwrap().kept;
    assert_eq!(kept.len(), 1);
    assert_eq!(folder.text(&format!(".annals/kept/{}", kept[0].1)), "original");
}

#[test]
fn bytes_are_durable_before_names_and_names_before_the_report() {
    let mut folder = Fixture::new();
    folder.given("a", "original");
    let trace = folder.trace();
    let ops = [folder.over("a", "theirs"), folder.write("b", "b", Expect::Absent)];
    folder.apply(&ops);
    let (a, b) = (String::from("a"), String::from("b"));
    assert_eq!(
        *trace.lock().unwrap(),
        [
            Step::Stage(a.clone()),
            Step::Stage(b.clone()),
            Step::Staged,
            Step::Noted,
            Step::Durable,
            Step::Checked(a.clone()),
            Step::Exchange(a.clone()),
            Step::Out(a.clone()),
            Step::Tried(a.clone()),
            Step::Checked(b.clone()),
            Step::Tried(b),
            Step::Settled,
            Step::Proven(a),
        ]
    );
}

#[test]
fn a_sync_that_fails_is_no_success_and_names_nothing() {
    let mut folder = Fixture::new();
    folder.given("a", "original");
    let op = folder.over("a", "theirs");
    folder.watch(|step| if *step == Step::Durable { Err(Errno::IO) } else { Ok(()) });
    assert!(folder.disk.apply(&[op], &mut folder.contents).is_err());
    assert_eq!(folder.text("a"), "original");
    let mut folder = folder.reopened();
    folder.disk.sweep().unwrap();
    folder.assert_clean();
}
