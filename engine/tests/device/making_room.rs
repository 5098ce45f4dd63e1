//! What could not make room, as a person was at it between the look and the operation.

use crate::{folder::Folder, world::World};
use annals_engine::{author::Removals, observed::parent};
use annals_events::EntryKind;

/// A folder that elsewhere became another's place, and here was removed when it was about to go.
fn removed_when_it_was_to_go(elsewhere: fn(&mut Folder), here: fn(&mut Folder)) -> World {
    let mut world = World::new(2);
    let folder = &mut world.devices[0].folder;
    folder.mkdir("p");
    folder.write("p/x", "in it");
    folder.write("g", "another");
    world.heal();
    elsewhere(&mut world.devices[1].folder);
    world.scan(1);
    world.push(1);
    world.devices[0].meanwhile = Some(here);
    world.pull(0, usize::MAX);
    world.scan(0);
    assert!(world.devices[0].meanwhile.is_none(), "nothing was done");
    assert_in_folders(&world);
    world.heal();
    world.assert_equal();
    world
}

/// What is known is in a folder that is known.
fn assert_in_folders(world: &World) {
    let synced = world.devices[0].replica.synced();
    for (path, _) in synced.iter() {
        let above = parent(&path).map(|above| synced.get(above).map(|node| node.kind));
        assert!(above.is_none_or(|kind| kind == Some(EntryKind::Folder)), "{path:?} is in no folder");
    }
}

#[test]
fn what_stands_where_something_could_not_make_room_is_looked_at_again() {
    let file = |folder: &mut Folder| {
        folder.rename("p", "q");
        folder.write("p", "in its place");
    };
    let moved = |folder: &mut Folder| {
        folder.rename("p", "q");
        folder.rename("g", "p");
    };
    let made = |folder: &mut Folder| {
        folder.rename("p", "q");
        folder.mkdir("p");
        folder.write("p/y", "in its place");
    };
    for elsewhere in [file, moved, made] {
        // Who moved it kept what is in it (model.md, "carried away").
        let world = removed_when_it_was_to_go(elsewhere, |folder| folder.remove("p"));
        let folder = &world.devices[0].folder;
        assert_eq!(folder.text("q/x"), "in it");
        let place = if folder.is_folder("p") { "p/y" } else { "p" };
        assert!(["in its place", "another"].contains(&folder.text(place)));
        // Moved by both: the later wins, and everything is there once.
        let world = removed_when_it_was_to_go(elsewhere, |folder| folder.rename("p", "r"));
        let folder = &world.devices[0].folder;
        assert_eq!(folder.names.keys().filter(|path| path.ends_with("/x")).count(), 1);
    }
}

#[test]
fn folders_that_exchange_their_names_are_compared_though_what_is_in_them_is_alike_by_its_path() {
    let mut world = World::new(2);
    // By their births they are told apart.
    world.devices[1].folder = Folder::on_a_disk(true);
    for path in ["a", "a/in", "b"] {
        world.devices[0].folder.mkdir(path);
    }
    world.heal();
    let folder = &mut world.devices[1].folder;
    for (from, to) in [("a", "beside"), ("b", "a"), ("beside/in", "a/in"), ("beside", "b")] {
        folder.rename(from, to);
    }
    world.scan(1);
    world.push(1);
    // Nothing can be done here for now: somebody may be at it.
    let folder = &mut world.devices[0].folder;
    ["a", "b"].into_iter().for_each(|path| folder.remove(path));
    world.devices[0].removals = Removals::AskAtRest;
    world.pull(0, usize::MAX);
    world.scan(0);
    assert!(!world.devices[0].replica.withheld().is_empty());
    let unsure = world.devices[0].replica.folders_unsure();
    let compared = |path: &str| unsure.as_ref().is_none_or(|folders| folders.contains(path));
    assert!(compared("a") && compared("b"), "{unsure:?}");
}

#[test]
fn what_went_into_another_folder_than_was_meant_is_looked_at_again() {
    let mut world = World::new(2);
    let folder = &mut world.devices[0].folder;
    ["c", "c/in", "d"].into_iter().for_each(|path| folder.mkdir(path));
    folder.write("file", "a person's");
    world.heal();
    let folder = &mut world.devices[1].folder;
    folder.rename("c", "d/c");
    folder.rename("file", "d/c/file");
    world.scan(1);
    world.push(1);
    world.devices[0].meanwhile = Some(|folder| folder.rename("c/in", "d/c"));
    world.pull(0, usize::MAX);
    assert!(world.devices[0].meanwhile.is_none(), "nothing was done");
    assert_in_folders(&world);
    world.heal();
    world.assert_equal();
    let folder = &world.devices[0].folder;
    assert_eq!(folder.names.keys().filter(|path| path.ends_with("file")).count(), 1);
}
