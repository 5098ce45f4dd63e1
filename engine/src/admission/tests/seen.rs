//! Had its author seen what it names, and is that what it must be?

use super::*;

#[test]
fn nothing_is_seen_that_was_never_admitted() {
    let mut world = World::new();
    let entry = world.does(1, vec![folder("a")]);
    for (device, counter) in [(entry.device, entry.counter + 1), (DeviceId([7; 16]), 1)] {
        let mut phone = world.device(2);
        phone.seen.raise(Dot::new(device, counter));
        world.refuses(&phone.sign(vec![folder("b")]), Code::SeenUnknown);
    }
    let mut phone = world.device(2);
    phone.first = 5;
    phone.seen.raise(Dot::new(id(&phone.key), 4));
    assert_eq!(world.judge(&phone.sign(vec![folder("b")])), Ok(Verdict::Admit));
    for (counter, good) in [(entry.counter, true), (entry.counter + 1, false), ((1 << 62) - 1, false)] {
        let mut header = world.device(2).sign(vec![folder("b")]).header().clone();
        header.unseen = dots(&[Dot::new(entry.device, counter)]);
        let batch = resigned(&world.device(2).key, &header, named("b").encode());
        let verdict = world.judge(&batch).map_err(|refusal| refusal.code());
        assert_eq!(verdict, if good { Ok(Verdict::Admit) } else { Err(Code::SeenUnknown) }, "{counter}");
    }
    let acknowledged = Fact::Acknowledged { seq: Seq(world.projections.head().seq.0 + 1) };
    world.refuses(&world.device(2).sign(vec![(acknowledged, None)]), Code::SeenUnknown);
}

/// Every structure with a dot that its author had not seen, that is nobody's, or of the wrong kind.
#[test]
fn what_an_event_names_was_seen_and_is_of_the_right_kind() {
    let mut world = World::new();
    let a_folder = world.does(1, vec![folder("folder")]);
    let a_file = world.does(1, vec![file("file")]);
    let other_file = world.does(1, vec![file("other")]);
    let link =
        (create(EntryId::ROOT, EntryKind::Symlink), Some(Body { target: Some(b"x".to_vec()), ..named("l") }));
    let a_link = world.does(1, vec![link]);
    let a_move = world.does(
        1,
        vec![(Fact::EntryMoved { entry: EntryId(a_file), parent: EntryId::ROOT }, Some(named("m")))],
    );
    let a_delete = world.does(
        1,
        vec![(Fact::EntryDeleted { entries: dots(&[other_file]), hides: dots(&[other_file]) }, None)],
    );
    let nobodys = Dot::new(a_file.device, a_file.counter + 1000);
    let strangers = Dot::new(DeviceId([7; 16]), 1);
    let unseen = world.device(2).sign(vec![folder("unseen")]);
    world.admit(&unseen);
    let unseen = unseen.dot(0);

    let (root, text) = (EntryId::ROOT, || Some(with_content("x", 5)));
    let upload =
        |entry: Dot, parents: &[Dot]| Fact::VersionUploaded { entry: EntryId(entry), parents: dots(parents) };
    let moved = |entry: Dot, parent: EntryId| Fact::EntryMoved { entry: EntryId(entry), parent };
    let restored = |entry: Dot, place: Option<EntryId>, lifts: &[Dot], shows: &[Dot]| Fact::EntryRestored {
        entry: EntryId(entry),
        place,
        lifts: dots(lifts),
        shows: dots(shows),
    };
    let resolved = |entry: Dot, over: &[Dot], keep: &[Dot]| Fact::ConflictResolved {
        entry: EntryId(entry),
        over: dots(over),
        keep: dots(keep),
    };
    let deleted =
        |entries: &[Dot], hides: &[Dot]| Fact::EntryDeleted { entries: dots(entries), hides: dots(hides) };
    let (seen, kind) = (Code::NamedUnseen, Code::WrongKind);
    let table = [
        // a parent that is nobody's, unseen, a file, a move, a symlink
        (create(EntryId(nobodys), EntryKind::Folder), seen),
        (create(EntryId(strangers), EntryKind::Folder), seen),
        (create(EntryId(unseen), EntryKind::Folder), seen),
        (create(EntryId(a_file), EntryKind::Folder), kind),
        (create(EntryId(a_move), EntryKind::Folder), kind),
        (create(EntryId(a_link), EntryKind::File), kind),
        // moves of nobody, of a move, into a file
        (moved(nobodys, root), seen),
        (moved(a_move, root), kind),
        (moved(EntryId::ROOT.0, root), seen),
        (moved(a_folder, EntryId(a_file)), kind),
        // versions of a folder; from versions of another file, from a place, from nobody's
        (upload(a_folder, &[]), kind),
        (upload(a_file, &[other_file]), kind),
        (upload(a_file, &[a_move]), kind),
        (upload(a_file, &[nobodys]), seen),
        (upload(nobodys, &[]), seen),
        (Fact::AttributesChanged { entry: EntryId(nobodys) }, seen),
        (Fact::AttributesChanged { entry: EntryId(a_move) }, kind),
        // deletes of what is no entry, hiding what is no place and no version
        (deleted(&[a_move], &[]), kind),
        (deleted(&[nobodys], &[]), seen),
        (deleted(&[a_file], &[a_delete]), kind),
        (deleted(&[a_file], &[unseen]), seen),
        (deleted(&[a_file], &[nobodys]), seen),
        // restores that lift what is no delete, show what is no place, into what is no folder
        (restored(a_file, None, &[a_move], &[]), kind),
        (restored(a_file, None, &[nobodys], &[]), seen),
        (restored(a_file, None, &[a_delete], &[a_delete]), kind),
        (restored(a_file, None, &[a_delete], &[nobodys]), seen),
        (restored(a_file, Some(EntryId(a_link)), &[a_delete], &[]), kind),
        (restored(a_delete, None, &[], &[]), kind),
        // resolutions over, or for, what is no version of that file
        (resolved(a_file, &[other_file], &[]), kind),
        (resolved(a_file, &[a_file], &[other_file]), kind),
        (resolved(a_file, &[], &[a_file]), kind),
        (resolved(a_file, &[nobodys], &[]), seen),
        (resolved(a_folder, &[], &[]), kind),
    ];
    for (fact, code) in table {
        let mut laptop = world.device(1);
        laptop.seen = laptop.seen.iter().filter(|dot| dot.device != unseen.device).collect();
        let body = text().filter(|_| event::has_body(&fact));
        let batch = laptop.sign(vec![(fact.clone(), body)]);
        match world.judge(&batch) {
            Err(refusal) => {
                assert_eq!(refusal.code(), code, "{fact:?}: {refusal}");
                assert_eq!(refusal.dots(), [batch.dot(0)]);
            }
            Ok(_) => panic!("{fact:?} was let in"),
        }
    }
    let whole = restored(other_file, Some(EntryId(a_folder)), &[a_delete], &[other_file]);
    assert_eq!(world.judge(&world.device(1).sign(vec![(whole, text())])), Ok(Verdict::Admit));
}

#[test]
fn an_event_may_name_one_before_it_in_its_batch_and_none_after_it() {
    let world = World::new();
    let mut laptop = world.device(1);
    let dot = |counter| EntryId(Dot::new(id(&signing_key(1)), counter));
    let first = laptop.first;
    let child = (create(dot(first), EntryKind::Folder), Some(named("child")));
    assert_eq!(world.judge(&laptop.sign(vec![folder("a"), child])), Ok(Verdict::Admit));
    for later in [first, first + 1] {
        let early = (create(dot(later), EntryKind::Folder), Some(named("child")));
        let batch = world.device(1).sign(vec![early, folder("a")]);
        world.refuses(&batch, Code::NamedUnseen);
    }
}
