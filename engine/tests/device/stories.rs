//! Stories of devices around a server: what a person would see.

use crate::world::{NAMESPACE, World, content, user};
use annals_engine::{
    author::Removals,
    disk::{Blocked, DiskOp, Listing},
    journal::Identity,
    names::NameRules,
    observed::LocalTree,
    replica::{Effect, Input, Notice, Reach, ReopenError, Replica, StateChange},
};
use annals_events::{Chain, EntryKind, Record, Role, log::Logged};
use std::{collections::BTreeSet, sync::Arc};

pub(crate) fn linked(devices: usize) -> World {
    let mut world = World::new(devices);
    (0..devices).for_each(|d| world.pull(d, usize::MAX));
    world
}

/// The kinds of the events since `from`, without the server's own.
pub(crate) fn since(world: &World, from: usize) -> Vec<&'static str> {
    world.facts().split_off(from)
}

#[test]
fn records_that_do_not_follow_what_was_pulled_are_not_believed() {
    let mut world = linked(2);
    for text in ["one", "two"] {
        world.devices[0].folder.write("a", text);
        world.scan(0);
        world.push(0);
        world.pull(0, usize::MAX);
    }
    let next = world.devices[1].records.len();
    let good = world.server.log[next].clone();
    let admitted = |chain, seq, key: &ed25519_dalek::SigningKey| {
        let admission = good.record.admission();
        let batch = good.record.batch().clone();
        let record = Record::admit(batch, key, admission.epoch, seq, chain, admission.admitted_at);
        Logged { position: good.position, record: Arc::new(record) }
    };
    let before = world.devices[1].replica.cursor();
    let (seq, key) = (good.record.admission().seq, &world.server.key);
    let forger = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let cases = [
        ("another chain", admitted(Chain::default(), seq, key), false),
        ("a gap", world.server.log[next + 1].clone(), false),
        ("another server", admitted(before.chain, seq, &forger), true),
    ];
    for (what, bad, follows) in cases {
        let mut replica = world.reopened(1);
        let lineage = replica.check_lineage(std::slice::from_ref(&bad.record));
        assert_eq!(lineage.is_ok(), follows, "{what}");
        let effects = replica.step(0, Input::Pulled { records: vec![bad], caught_up: true });
        assert!(matches!(effects[..], [Effect::Notice(Notice::Lineage(_))]), "{what}: {effects:?}");
        assert_eq!(replica.cursor(), before, "{what}");
    }
    world.heal();
    world.assert_equal();
}

#[test]
fn a_folder_reaches_another_device_as_it_is() {
    let mut world = linked(2);
    let folder = &mut world.devices[0].folder;
    folder.mkdir("a");
    folder.mkdir("a/empty");
    folder.write("a/run.sh", "#!/bin/sh");
    folder.chmod("a/run.sh");
    folder.put("link", EntryKind::Symlink, "a/run.sh");
    folder.write("none", "");
    world.heal();
    world.assert_equal();
    assert_eq!(world.devices[1].folder.names.len(), 5);
}

#[test]
fn of_what_vanished_a_part_is_wanted_back_and_for_the_rest_somebody_still_has_to_answer() {
    let mut world = linked(2);
    for folder in ["a", "b"] {
        world.devices[0].folder.mkdir(folder);
        let files = if folder == "a" { 50 } else { 5 };
        for n in 0..files {
            world.devices[0].folder.write(&format!("{folder}/{n}"), &format!("{folder} {n}"));
        }
    }
    world.heal();
    world.devices[0].removals = Removals::Ask;
    ["a", "b"].iter().for_each(|folder| world.devices[0].folder.remove(folder));
    world.scan(0);
    let kept = world.devices[1].folder.below("a");
    world.step(0, Input::Swept { kept });
    for _ in 0..2 {
        world.scan(0);
        world.push(0);
        world.pull(0, usize::MAX);
        assert!(world.devices[0].folder.names.contains_key("a/49"));
        assert_eq!(world.devices[0].replica.unconfirmed().map(|mass| mass.gone), Some(6));
        world.restart(0);
    }
    world.devices[0].removals = Removals::Accept;
    world.heal();
    world.assert_equal();
    assert_eq!(world.devices[1].folder.names.len(), 51);
}

#[test]
fn a_renamed_folder_is_one_event() {
    let mut world = linked(2);
    world.devices[0].folder.mkdir("a");
    for n in 0..50 {
        world.devices[0].folder.write(&format!("a/{n}"), &format!("file {n}"));
    }
    world.heal();
    let before = world.events();
    world.devices[0].folder.rename("a", "b");
    world.heal();
    world.assert_equal();
    assert_eq!(since(&world, before), ["entry_moved"]);
}

#[test]
fn what_came_to_a_number_that_a_removal_freed_is_not_taken_for_what_was_removed() {
    let mut world = linked(2);
    for folder in ["b", "d"] {
        world.devices[0].folder.mkdir(folder);
    }
    world.devices[0].folder.write("d/A", "one");
    world.heal();
    // Both edit it; one has it elsewhere by then, the other removes it and has not been looked at since.
    world.devices[1].folder.write("d/A", "two");
    world.scan(1);
    world.push(1);
    world.devices[0].now_ms += 10_000;
    world.devices[0].folder.write("d/A", "six");
    world.devices[0].folder.rename("d/A", "b/A");
    world.scan(0);
    world.push(0);
    let freed = world.devices[1].folder.look("d/A").unwrap().ino;
    world.devices[1].folder.remove("d/A");
    world.pull(1, usize::MAX);
    let shown = |world: &World, d: usize| {
        let folder = &world.devices[d].folder;
        folder.names.iter().find(|(path, _)| folder.text(path) == "six").map(|(_, number)| *number)
    };
    assert_eq!(shown(&world, 1), Some(freed), "the other edit came, under that number");
    assert_eq!(world.devices[1].folder.text("b/A"), "six", "and under the old name");
    world.restart(1);
    world.heal();
    world.assert_equal();
    assert!(shown(&world, 0).is_some() && shown(&world, 1).is_some(), "nobody removed it");
}

#[test]
fn a_removed_tree_is_one_event_and_comes_back_nowhere() {
    let mut world = linked(2);
    world.devices[0].folder.mkdir("a");
    world.devices[0].folder.mkdir("a/b");
    world.devices[0].folder.write("a/b/c", "c");
    world.devices[0].folder.write("d", "d");
    world.heal();
    let before = world.events();
    world.devices[1].folder.remove("a");
    world.heal();
    world.assert_equal();
    assert_eq!(since(&world, before), ["entry_deleted"]);
    assert_eq!(world.devices[0].folder.names.len(), 1);
}

#[test]
fn names_are_exchanged_by_moves_and_nothing_is_sent_twice() {
    let mut world = linked(2);
    world.devices[0].folder.write("a", "one");
    world.devices[0].folder.write("b", "two");
    world.heal();
    let before = world.events();
    world.devices[0].folder.swap("a", "b");
    world.heal();
    world.assert_equal();
    assert_eq!(since(&world, before), ["entry_moved", "entry_moved"]);
    assert_eq!(world.devices[1].folder.text("a"), "two");
}

#[test]
fn a_save_by_rename_is_a_version_of_the_same_file() {
    let mut world = linked(2);
    world.devices[0].folder.write("a", "one");
    world.heal();
    let before = world.events();
    world.devices[0].folder.save("a", "two");
    world.heal();
    assert_eq!(since(&world, before), ["version_uploaded"]);
    world.assert_equal();
}

#[test]
fn a_backup_made_by_an_editor_leaves_the_file_itself_where_it_is() {
    let mut world = linked(2);
    world.devices[0].folder.write("a", "one");
    world.heal();
    let before = world.events();
    world.devices[0].folder.rename("a", "a~");
    world.devices[0].folder.write("a", "two");
    world.heal();
    assert_eq!(since(&world, before), ["version_uploaded", "entry_created"]);
    world.assert_equal();
}

#[test]
fn a_number_that_the_file_system_gives_again_is_no_rename() {
    let mut world = linked(2);
    world.devices[0].folder.write("a", "one");
    world.heal();
    let before = world.events();
    world.devices[0].folder.remove("a");
    world.devices[0].folder.write("b", "other");
    world.heal();
    assert_eq!(since(&world, before), ["entry_created", "entry_deleted"]);
    world.assert_equal();
}

#[test]
fn a_rename_in_case_alone_is_a_rename() {
    let mut world = linked(2);
    world.devices[0].folder.write("readme", "text");
    world.heal();
    let before = world.events();
    world.devices[0].folder.rename("readme", "README");
    world.heal();
    world.assert_equal();
    assert_eq!(since(&world, before), ["entry_moved"]);
}

#[test]
fn linking_a_folder_that_holds_the_same_files_makes_no_event() {
    let mut world = linked(1);
    for n in 0..30 {
        world.devices[0].folder.write(&format!("{n}"), &format!("file {n}"));
    }
    world.heal();
    world.link(1, user(0));
    let before = world.events();
    for n in 0..30 {
        world.devices[1].folder.write(&format!("{n}"), &format!("file {n}"));
    }
    world.pull(1, usize::MAX);
    world.heal();
    world.assert_equal();
    assert_eq!(since(&world, before), [""; 0]);
}

#[test]
fn the_same_files_added_apart_are_one_of_each() {
    let mut world = linked(2);
    for d in 0..2 {
        for n in 0..10 {
            world.devices[d].folder.write(&format!("{n}"), &format!("file {n}"));
        }
        world.scan(d);
    }
    world.heal();
    world.assert_equal();
    assert_eq!(world.devices[0].folder.names.len(), 10);
}

#[test]
fn most_of_a_folder_vanishing_waits_for_a_person() {
    let mut world = linked(2);
    for n in 0..60 {
        world.devices[0].folder.write(&format!("{n}"), &format!("file {n}"));
    }
    world.heal();
    for n in 0..50 {
        world.devices[0].folder.remove(&format!("{n}"));
    }
    let before = world.events();
    world.devices[0].removals = Removals::Ask;
    world.scan(0);
    assert_eq!(world.devices[0].replica.unconfirmed().map(|mass| mass.gone), Some(50));
    world.push(0);
    assert_eq!(world.events(), before);
    world.devices[0].removals = Removals::Accept;
    world.heal();
    world.assert_equal();
    assert_eq!(world.devices[1].folder.names.len(), 10);
}

#[test]
fn who_was_asked_has_to_answer_however_long_that_takes() {
    let mut world = linked(2);
    for n in 0..100 {
        world.devices[0].folder.write(&format!("{n}"), &format!("file {n}"));
    }
    world.heal();
    world.devices[0].removals = Removals::AskAtRest;
    let mut remove = |from: usize, to: usize| {
        (from..to).for_each(|n| world.devices[0].folder.remove(&format!("{n}")));
        for _ in 0..2 {
            world.scan(0);
            world.push(0);
            world.devices[0].now_ms += 2_000;
        }
        world.pull(1, usize::MAX);
        world.devices[1].folder.names.len()
    };
    assert_eq!(remove(0, 40), 60, "less than half is taken at its word");
    assert_eq!(remove(40, 60), 60, "that and this is more");
    world.devices[0].now_ms += 300_000;
    world.scan(0);
    assert_eq!(world.devices[0].replica.unconfirmed().map(|mass| mass.gone), Some(20));
    world.push(0);
    world.pull(1, usize::MAX);
    assert_eq!(world.devices[1].folder.names.len(), 60);
    world.devices[0].removals = Removals::Accept;
    world.heal();
    assert_eq!(world.devices[1].folder.names.len(), 40);
}

#[test]
fn what_turns_back_is_said_once_nothing_more_does_and_other_edits_at_once() {
    let mut world = linked(2);
    for file in ["a", "b", "c"] {
        world.devices[0].folder.write(file, "new");
    }
    world.heal();
    world.devices[0].removals = Removals::AskAtRest;
    let turn_back = |world: &mut World, path: &str| {
        let folder = &mut world.devices[0].folder;
        folder.write(path, &format!("old {path}"));
        folder.inodes.get_mut(&folder.names[path]).unwrap().mtime -= 60_000_000_000;
    };
    let said = |world: &mut World, after_ms: u64| {
        let before = world.events();
        world.devices[0].now_ms += after_ms;
        world.scan(0);
        world.push(0);
        since(world, before)
    };
    turn_back(&mut world, "a");
    world.devices[0].folder.write("c", "edited");
    assert_eq!(said(&mut world, 0), ["version_uploaded"], "the edit alone");
    assert!(
        matches!(&world.devices[0].notices[..], [.., Notice::Vanishing(paths), _] if paths.contains("a"))
    );
    turn_back(&mut world, "b");
    assert_eq!(said(&mut world, 900), [""; 0]);
    assert_eq!(said(&mut world, 900), [""; 0]);
    // What others say of it meanwhile does not take its place.
    world.pull(1, usize::MAX);
    world.devices[1].folder.write("a", "elsewhere");
    world.scan(1);
    world.push(1);
    world.pull(0, usize::MAX);
    assert_eq!(world.devices[0].folder.text("a"), "old a");
    assert_eq!(said(&mut world, 900), ["version_uploaded", "version_uploaded"]);
    world.heal();
    world.assert_equal();
}

/// What device 0 says after a look at what is directly in `folder`, and whether it wants to look at everything.
fn glanced(world: &mut World, folder: &str, searched: bool) -> (Vec<&'static str>, bool) {
    let (before, device) = (world.events(), &mut world.devices[0]);
    device.wants_scan = false;
    let whole = device.folder.scan();
    let above = whole.nodes.get_key_value(folder).map(|(path, node)| (path.clone(), node.clone()));
    let mut scan = whole.only(&[Listing { path: folder.into(), deep: false }]);
    scan.nodes.extend(above);
    let paths = BTreeSet::from([folder.to_owned()]);
    let (local, unread) = LocalTree::of(scan, &device.replica.synced_at(&paths));
    assert_eq!(unread, [""; 0]);
    let (reach, removals) = (Reach::Folders { paths, searched }, Removals::AskAtRest);
    world.step(0, Input::Looked { local, reach, removals });
    world.push(0);
    (since(world, before), world.devices[0].wants_scan)
}

#[test]
fn a_look_at_some_folders_says_removals_of_files_that_rest_and_were_searched_for_everywhere() {
    let mut world = linked(1);
    for folder in ["d", "d/e"] {
        world.devices[0].folder.mkdir(folder);
        (0..30)
            .for_each(|n| world.devices[0].folder.write(&format!("{folder}/{n}"), &format!("{folder} {n}")));
    }
    world.heal();
    // What is there was settled when it was looked at.
    (0..3).for_each(|_| world.scan(0));
    world.devices[0].folder.remove("d/7");
    assert_eq!(glanced(&mut world, "d", false), (vec![], false), "more may go");
    world.devices[0].now_ms += 1_000;
    assert_eq!(glanced(&mut world, "d", false), (vec![], true), "it may be elsewhere");
    assert_eq!(glanced(&mut world, "d", true), (vec!["entry_deleted"], false));
    // Of a folder nobody knows what left it before it went.
    world.scan(0);
    world.devices[0].folder.remove("d/e");
    assert_eq!(glanced(&mut world, "d", true), (vec![], true));
    world.heal();
    world.assert_equal();
}

#[test]
fn a_folder_that_may_be_another_deletes_nothing() {
    let mut world = linked(2);
    world.devices[0].folder.write("a", "a");
    world.heal();
    world.devices[0].folder.remove("a");
    world.devices[0].removals = Removals::Never;
    let before = world.events();
    world.scan(0);
    world.push(0);
    world.pull(1, usize::MAX);
    assert_eq!(world.events(), before);
    assert!(world.devices[1].folder.names.contains_key("a"));
}

/// A second user's device, as a viewer of the first one's namespace.
fn with_viewer() -> World {
    let mut world = linked(1);
    world.devices[0].folder.mkdir("f");
    world.devices[0].folder.write("f/a", "a");
    world.devices[0].folder.write("b", "b");
    world.heal();
    world.grant(0, user(1), Some(Role::Viewer));
    world.link(1, user(1));
    world.pull(1, usize::MAX);
    world.heal();
    world.assert_equal();
    world
}

#[test]
fn what_a_viewer_did_is_refused_and_stays_on_their_disk() {
    let mut world = with_viewer();
    let before = world.events();
    let folder = &mut world.devices[1].folder;
    folder.write("f/a", "the viewer's");
    folder.write("new", "also the viewer's");
    folder.remove("b");
    folder.rename("f", "g");
    for _ in 0..4 {
        world.scan(1);
        world.push(1);
        world.pull(1, usize::MAX);
    }
    assert_eq!(world.events(), before);
    let shown = world.devices[1].folder.picture();
    let text = |path: &str| shown.get(path).map(|(_, text, ..)| text.as_str());
    assert_eq!(text("f/a"), Some("a"), "{shown:#?}");
    assert_eq!(text("b"), Some("b"));
    assert_eq!(text("new"), Some("also the viewer's"));
    assert!(shown.values().any(|(_, text, ..)| text == "the viewer's"), "{shown:#?}");
    assert!(!world.devices[1].replica.aside().is_empty());
    assert_eq!(world.devices[1].replica.pending().count(), 0);
}

#[test]
fn what_was_set_aside_can_be_tried_again_by_an_editor() {
    let mut world = with_viewer();
    world.devices[1].folder.write("new", "the viewer's");
    world.scan(1);
    world.push(1);
    world.grant(0, user(1), Some(Role::Editor));
    world.pull(1, usize::MAX);
    world.step(1, annals_engine::replica::Input::RetryAside);
    world.heal();
    world.assert_equal();
    assert_eq!(world.devices[0].folder.text("new"), "the viewer's");
}

#[test]
fn edits_made_before_learning_of_the_loss_are_set_aside_and_the_rest_goes_on() {
    let mut world = with_viewer();
    world.grant(0, user(1), Some(Role::Editor));
    world.pull(1, usize::MAX);
    world.devices[1].folder.write("f/a", "accepted");
    world.heal();
    world.grant(0, user(1), Some(Role::Viewer));
    world.devices[1].folder.write("f/a", "too late");
    world.scan(1);
    world.push(1);
    world.pull(1, usize::MAX);
    world.scan(1);
    let texts: Vec<String> =
        world.devices[1].folder.picture().into_values().map(|(_, text, ..)| text).collect();
    assert!(texts.contains(&"too late".to_owned()) && texts.contains(&"accepted".to_owned()), "{texts:?}");
    assert_eq!(world.devices[0].folder.text("f/a"), "accepted");
}

/// How far each device said it is, and how many of these words the log has.
fn acknowledged(world: &World) -> (Vec<u64>, usize) {
    let devices = world.server.projections.devices();
    let of = |d: &crate::world::Device| devices.get(d.replica.device()).unwrap().acknowledged.0;
    let words = world.facts().iter().filter(|kind| **kind == "acknowledged").count();
    (world.devices.iter().map(of).collect(), words)
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[test]
fn a_device_says_how_far_it_is_at_rest_once_a_day_and_never_in_answer_to_another() {
    let mut world = linked(3);
    world.devices[0].folder.write("a", "a");
    let rest_all = |world: &mut World, rounds: usize| {
        for _ in 0..rounds {
            (0..3).for_each(|d| world.rest(d));
        }
    };
    rest_all(&mut world, 4);
    let (far, words) = acknowledged(&world);
    let created = world.facts().iter().position(|kind| *kind == "entry_created").unwrap() as u64 + 1;
    assert!(far.iter().all(|seq| *seq >= created), "{far:?} of {created}");
    assert_eq!(words, 3, "one each");
    // The same day: nobody says it again, whatever happens.
    world.devices[1].folder.write("b", "b");
    rest_all(&mut world, 4);
    assert_eq!(acknowledged(&world).1, 3);
    // The next day each says it once, and then there is nothing to say for ever.
    for _ in 0..5 {
        world.devices.iter_mut().for_each(|device| device.now_ms += DAY_MS + 1);
        rest_all(&mut world, 3);
        (0..3).for_each(|d| world.restart(d));
        rest_all(&mut world, 1);
        assert_eq!(acknowledged(&world).1, 6);
    }
    // Also by a clock that was set back.
    world.devices[2].folder.write("c", "c");
    world.devices.iter_mut().for_each(|device| device.now_ms -= 3 * DAY_MS);
    rest_all(&mut world, 3);
    assert_eq!(acknowledged(&world).1, 9);
}

#[test]
fn a_device_does_not_say_that_it_shows_what_it_does_not() {
    let mut world = linked(2);
    world.devices[0].folder.write("a", "a");
    world.scan(0);
    world.push(0);
    world.devices[0].folder.write("b", "b");
    world.scan(0);
    world.push(0);
    // Device 1 has pulled the first file and not written it yet.
    let known = world.devices[1].records.len();
    world.pull(1, world.server.log.len() - known - 1);
    world.step(1, Input::Rested);
    world.push(1);
    assert_eq!(acknowledged(&world), (vec![0, 0], 0));
    world.rest(1);
    assert_eq!(acknowledged(&world).1, 1);
}

#[test]
fn what_nobody_knows_to_be_done_is_looked_at_before_any_record_is_believed() {
    let mut world = linked(2);
    ["a", "b", "c"].iter().for_each(|name| world.devices[0].folder.write(name, name));
    world.scan(0);
    world.push(0);
    let mut replica = world.reopened(1);
    let records = world.server.log[world.devices[1].records.len()..].to_vec();
    let planned = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Materialise(plan) => Some(plan.clone()),
            _ => None,
        })
    };
    let plan = planned(&replica.step(1, Input::Pulled { records, caught_up: true })).unwrap();
    assert_eq!(plan.ops.len(), 3);
    // Two came about, and only the first is told.
    let mut outcomes = world.devices[1].folder.apply(&plan.ops[..2], &world.contents);
    outcomes.truncate(1);
    let effects = replica.step(2, Input::Materialised { outcomes });
    assert!(replica.is_half_done() && planned(&effects).is_none(), "{effects:?}");
    let kept = effects.iter().filter_map(|effect| match effect {
        Effect::Persist(changes) => Some(changes),
        _ => None,
    });
    assert!(!kept.flatten().any(|change| *change == StateChange::AtWork(false)), "it is not over");
    let look = |world: &mut World, replica: &Replica| {
        let (mut local, unread) = LocalTree::of(world.devices[1].folder.scan(), replica.synced());
        for path in unread {
            let folder = &world.devices[1].folder;
            let (content, node) = (content(folder.text(&path)), folder.look(&path).unwrap());
            assert!(local.read(&path, &node, content, false));
        }
        Input::Looked { local, reach: Reach::Whole, removals: Removals::Ask }
    };
    let effects = replica.step(3, look(&mut world, &replica));
    // What others said since goes first; and nothing of what the device did itself is said.
    assert!(!replica.is_half_done() && planned(&effects).is_none(), "{effects:?}");
    assert_eq!((replica.pending().count(), replica.synced().iter().count()), (0, 2));
}

#[test]
fn a_device_whose_dots_are_in_the_log_for_something_else_than_it_signed_does_not_go_on() {
    let (mut one, mut other) = (linked(1), linked(1));
    one.devices[0].folder.write("a", "what it signed");
    one.scan(0);
    other.devices[0].folder.write("a", "what is in the log");
    other.scan(0);
    other.push(0);
    let state: Vec<StateChange> = one.devices[0].replica.state().collect();
    let identity = || Identity { namespace: NAMESPACE, key: ed25519_dalek::SigningKey::from_bytes(&[1; 32]) };
    let reopen = |state: &[StateChange], log: &[Logged]| {
        Replica::reopen(identity(), NameRules::default(), state.to_vec(), log.to_vec())
    };
    assert_eq!(reopen(&state, &one.server.log).unwrap().pending().count(), 1);
    assert!(matches!(reopen(&state, &other.server.log), Err(ReopenError::Record(_))));
    one.push(0);
    assert_eq!(reopen(&state, &one.server.log).unwrap().pending().count(), 0);
}

#[test]
fn what_came_in_between_and_lies_in_kept_was_removed_by_nobody() {
    let mut world = linked(2);
    world.devices[1].folder.write("f", "one");
    world.heal();
    world.devices[1].folder.write("f", "two");
    world.scan(1);
    world.push(1);
    let before = world.events();
    let device = &mut world.devices[0];
    let records = world.server.log[device.records.len()..].to_vec();
    device.records.extend(records.iter().cloned());
    let effects = device.replica.step(device.now_ms, Input::Pulled { records, caught_up: true });
    let plan = effects.into_iter().find_map(|effect| match effect {
        Effect::Materialise(plan) => Some(plan),
        _ => None,
    });
    let kept = |op: &DiskOp| Err(Blocked::Kept { path: op.path().to_owned(), kept: "1-f".into() });
    let outcomes = plan.unwrap().ops.iter().map(kept).collect();
    device.folder.remove("f");
    world.step(0, Input::Materialised { outcomes });
    world.scan(0);
    world.push(0);
    assert_eq!(since(&world, before), [""; 0]);
    world.heal();
    world.assert_equal();
    assert_eq!(world.devices[0].folder.text("f"), "two");
}
