//! Stories of what numbers and times do not tell: stores without a stamp, numbers that were given away again.

use crate::{
    folder::Folder,
    stories::{linked, since},
    world::World,
};
use annals_engine::observed::LocalTree;
use std::collections::BTreeSet;

#[test]
fn what_was_stored_through_a_map_without_a_stamp_is_kept_whatever_comes_from_elsewhere() {
    for removed in [false, true] {
        for heard in [false, true] {
            let mut world = linked(2);
            world.devices[0].folder.write("db", "as it began");
            world.heal();
            world.devices[0].folder.store("db", "one  stored");
            world.heal();
            let before = world.devices[0].folder.look("db");
            world.devices[0].folder.store("db", "two  stored");
            assert_eq!(world.devices[0].folder.look("db"), before, "nothing tells of it");
            if heard {
                world.close_maps(0);
            }
            match removed {
                true => world.devices[1].folder.remove("db"),
                false => world.devices[1].folder.write("db", "from elsewhere"),
            }
            world.scan(1);
            world.push(1);
            world.pull(0, usize::MAX);
            world.heal();
            world.assert_equal();
            let texts: BTreeSet<String> =
                world.devices[1].folder.picture().into_values().map(|(_, text, ..)| text).collect();
            let mut expected = BTreeSet::from(["two  stored".to_owned()]);
            expected.extend((!removed).then(|| "from elsewhere".to_owned()));
            assert_eq!(texts, expected, "removed: {removed}, heard: {heard}");
        }
    }
}

#[test]
fn what_was_closed_is_read_again_only_while_its_times_do_not_vouch_for_it() {
    let mut world = linked(1);
    world.devices[0].folder.write("db", "text");
    world.heal();
    let unread = |world: &mut World| {
        let device = &mut world.devices[0];
        device.replica.doubt([&"db".to_owned()]);
        LocalTree::of(device.folder.scan(), device.replica.synced()).1
    };
    assert_eq!(unread(&mut world), ["db"]);
    for _ in 0..1_000 {
        world.devices[0].folder.tick();
    }
    assert_eq!(unread(&mut world), ["db"], "what is known of it was read before");
    world.scan(0);
    assert!(unread(&mut world).is_empty());
}

#[test]
fn a_number_that_was_given_away_again_is_not_taken_for_a_move() {
    // Device 0's disk knows when things were made, device 1's does not.
    for (here, there) in [(0, 1), (1, 0)] {
        let mut world = linked(2);
        let folder = &mut world.devices[here].folder;
        ["X", "X/e", "X/e/f", "D1", "D2"].iter().for_each(|path| folder.mkdir(path));
        folder.write("X/e/f/deep", "old");
        folder.write("D1/README", "old readme of D1");
        world.heal();
        // Elsewhere both are moved, and here removed; what is new gets the numbers.
        world.devices[there].folder.rename("X/e", "Z");
        world.devices[there].folder.rename("D1/README", "Z.txt");
        let folder = &mut world.devices[here].folder;
        let number = |folder: &Folder, path: &str| folder.names[path];
        let was = ["X", "X/e", "X/e/f", "X/e/f/deep"].map(|path| number(folder, path));
        let readme = number(folder, "D1/README");
        folder.remove("D1/README");
        folder.write("D2/README", "mine, new, of D2");
        assert_eq!(number(folder, "D2/README"), readme);
        folder.remove("X");
        // The last that was freed comes first.
        folder.write("new", "new precious");
        ["Y", "Y/e"].iter().for_each(|path| folder.mkdir(path));
        folder.mkdir("Y/e/f");
        folder.rename("new", "Y/e/f/deep");
        let is = ["Y", "Y/e", "Y/e/f", "Y/e/f/deep"].map(|path| number(folder, path));
        assert!(is.iter().all(|number| was.contains(number)), "{is:?} of {was:?}");
        for d in [there, here] {
            world.scan(d);
            world.push(d);
            world.pull(d, usize::MAX);
        }
        world.heal();
        world.assert_equal();
        let folder = &world.devices[here].folder;
        assert_eq!(folder.text("Y/e/f/deep"), "new precious", "device {here}");
        assert_eq!(folder.text("D2/README"), "mine, new, of D2", "device {here}");
    }
}

#[test]
fn a_folder_that_lost_all_that_was_in_it_is_known_by_its_birth() {
    let mut world = linked(2);
    world.devices[0].folder.mkdir("a");
    world.devices[0].folder.write("a/file", "text");
    world.heal();
    let before = world.events();
    let folder = &mut world.devices[0].folder;
    folder.rename("a", "b");
    folder.remove("b/file");
    folder.write("b/other", "other");
    world.heal();
    world.assert_equal();
    let said = since(&world, before);
    assert!(said.contains(&"entry_moved"), "{said:?}");
}
