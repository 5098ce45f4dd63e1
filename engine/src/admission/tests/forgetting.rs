//! What may be purged or expire, and what may not be shown again.

use super::*;

#[test]
fn nothing_shows_what_was_purged() {
    let mut world = World::new();
    let a_file = world.does(1, vec![file("file")]);
    let delete = Fact::EntryDeleted { entries: dots(&[a_file]), hides: dots(&[a_file]) };
    let a_delete = world.does(1, vec![(delete, None)]);
    let purge = || vec![(Fact::EntryPurged { entries: dots(&[a_file]) }, None)];
    // Not before every device has said that it knows of the delete.
    world.refuses(&world.device(1).sign(purge()), Code::NotYet);
    world.all_acknowledge();
    world.does(1, purge());
    let restore = Fact::EntryRestored {
        entry: EntryId(a_file),
        place: None,
        lifts: dots(&[a_delete]),
        shows: dots(&[a_file]),
    };
    world.refuses(&world.device(1).sign(vec![(restore, None)]), Code::Gone);
    let resolve =
        Fact::ConflictResolved { entry: EntryId(a_file), over: dots(&[a_file]), keep: dots(&[a_file]) };
    world.refuses(&world.device(1).sign(vec![(resolve, None)]), Code::Gone);
}

#[test]
fn a_file_whose_first_version_expired_comes_back_from_the_trash() {
    let mut world = World::new();
    let a_file = world.does(1, vec![file("file")]);
    let upload = Fact::VersionUploaded { entry: EntryId(a_file), parents: dots(&[a_file]) };
    let edit = world.does(1, vec![(upload, Some(with_content("x", 2)))]);
    world.all_acknowledge();
    world.does(1, vec![(Fact::VersionsExpired { versions: dots(&[a_file]) }, None)]);
    let delete = Fact::EntryDeleted { entries: dots(&[a_file]), hides: dots(&[a_file, edit]) };
    let a_delete = world.does(1, vec![(delete, None)]);
    // Its first place came with that version.
    let restore = Fact::EntryRestored {
        entry: EntryId(a_file),
        place: None,
        lifts: dots(&[a_delete]),
        shows: dots(&[a_file, edit]),
    };
    assert_eq!(world.judge(&world.device(1).sign(vec![(restore, None)])), Ok(Verdict::Admit));
}

#[test]
fn what_is_shown_is_not_purged_and_a_head_does_not_expire() {
    let mut world = World::new();
    let a_file = world.does(1, vec![file("file")]);
    let upload = Fact::VersionUploaded { entry: EntryId(a_file), parents: dots(&[a_file]) };
    let edit = world.does(1, vec![(upload, Some(with_content("x", 2)))]);
    world.all_acknowledge();
    let purge = (Fact::EntryPurged { entries: dots(&[a_file]) }, None);
    world.refuses(&world.device(1).sign(vec![purge]), Code::NotYet);
    let expire = |dot| vec![(Fact::VersionsExpired { versions: dots(&[dot]) }, None)];
    world.refuses(&world.device(1).sign(expire(edit)), Code::NotYet);
    assert_eq!(world.judge(&world.device(1).sign(expire(a_file))), Ok(Verdict::Admit));
}

#[test]
fn a_version_that_a_person_dropped_expires_once_everybody_knows() {
    let mut world = World::new();
    let a_file = world.does(1, vec![file("file")]);
    let edit = |n| {
        let upload = Fact::VersionUploaded { entry: EntryId(a_file), parents: dots(&[a_file]) };
        vec![(upload, Some(with_content("x", n)))]
    };
    // Two who did not know of each other.
    let [one, other] = [(1, 2), (2, 3)].map(|(n, content)| world.device(n).sign(edit(content)));
    let [one, other] = [one, other].map(|batch| {
        world.admit(&batch);
        batch.dot(0)
    });
    let choose = |over: &[Dot], keep: Dot| {
        let (over, keep) = (dots(over), dots(&[keep]));
        vec![(Fact::ConflictResolved { entry: EntryId(a_file), over, keep }, None)]
    };
    let expire = |dot| vec![(Fact::VersionsExpired { versions: dots(&[dot]) }, None)];
    world.all_acknowledge();
    world.refuses(&world.device(1).sign(expire(other)), Code::NotYet);
    world.does(1, choose(&[one, other], one));
    world.refuses(&world.device(1).sign(expire(other)), Code::NotYet);
    world.all_acknowledge();
    world.refuses(&world.device(1).sign(expire(one)), Code::NotYet);
    assert_eq!(world.judge(&world.device(1).sign(expire(other))), Ok(Verdict::Admit));
    // Whoever took it back in time keeps it.
    world.does(2, choose(&[one, other], other));
    world.all_acknowledge();
    world.refuses(&world.device(1).sign(expire(other)), Code::NotYet);
    assert_eq!(world.judge(&world.device(1).sign(expire(one))), Ok(Verdict::Admit));
}

#[test]
fn a_merge_expires_with_the_heads_it_was_made_of() {
    let mut world = World::new();
    let a_file = world.does(1, vec![file("file")]);
    let entry = EntryId(a_file);
    let edit = |content, parents: &[Dot]| {
        vec![(Fact::VersionUploaded { entry, parents: dots(parents) }, Some(with_content("x", content)))]
    };
    let batches = [(1, 2), (2, 3)].map(|(n, content)| world.device(n).sign(edit(content, &[a_file])));
    let [one, other] = batches.map(|batch| {
        world.admit(&batch);
        batch.dot(0)
    });
    let fact = Fact::VersionsMerged { entry, inputs: dots(&[one, other]), algorithm: "text".into() };
    let body = Some(Body { content: Some(content(4)), ..Body::default() });
    let batch = issue(&world.projections, &world.server, NOW_MS, vec![Issued { fact, body }]);
    world.admit(&batch);
    let merge = batch.dot(0);
    let expire = |dot| vec![(Fact::VersionsExpired { versions: dots(&[dot]) }, None)];
    world.all_acknowledge();
    for dot in [one, other, merge] {
        world.refuses(&world.device(1).sign(expire(dot)), Code::NotYet);
    }
    // Somebody who edits the merge has the heads behind it on their disk too, and need not say so.
    world.does(1, edit(5, &[merge]));
    world.refuses(&world.device(1).sign(expire(merge)), Code::NotYet);
    world.all_acknowledge();
    for dot in [one, other, merge] {
        assert_eq!(world.judge(&world.device(1).sign(expire(dot))), Ok(Verdict::Admit));
    }
}
