//! One file with two heads, shown under two names, and what people do to these.

use crate::{
    stories::{linked, since},
    world::World,
};
use std::collections::BTreeSet;

/// Two devices that edited `f` apart and know of each other's, and the name of the copy.
fn conflicted() -> (World, String) {
    let mut world = linked(2);
    world.devices[0].folder.write("f", "base");
    world.heal();
    world.devices[0].folder.write("f", "left");
    world.devices[1].folder.write("f", "right");
    world.heal();
    world.assert_equal();
    let names: Vec<String> = world.devices[0].folder.names.keys().cloned().collect();
    assert_eq!(names.len(), 2, "{names:?}");
    (world, names.into_iter().find(|name| name != "f").unwrap())
}

#[test]
fn edits_apart_are_two_heads_and_removing_one_name_resolves_them() {
    let (mut world, copy) = conflicted();
    let before = world.events();
    world.devices[1].folder.remove(&copy);
    world.heal();
    world.assert_equal();
    assert_eq!(since(&world, before), ["conflict_resolved"]);
    assert_eq!(world.devices[0].folder.names.len(), 1);
}

#[test]
fn a_copy_moved_over_the_file_is_what_stays() {
    let (mut world, copy) = conflicted();
    let kept = world.devices[0].folder.text(&copy).to_owned();
    let before = world.events();
    world.devices[0].folder.rename(&copy, "f");
    world.heal();
    world.assert_equal();
    assert_eq!(since(&world, before), ["conflict_resolved"]);
    assert_eq!(world.devices[1].folder.text("f"), kept);
}

#[test]
fn a_copy_moved_elsewhere_is_a_file_of_its_own() {
    let (mut world, copy) = conflicted();
    let before = world.events();
    world.devices[0].folder.rename(&copy, "mine");
    world.heal();
    world.assert_equal();
    assert_eq!(since(&world, before), ["entry_created", "conflict_resolved"]);
    assert_eq!(world.devices[1].folder.names.keys().collect::<Vec<_>>(), ["f", "mine"]);
}

#[test]
fn what_a_copy_was_made_to_hold_stays_when_the_file_itself_goes_on() {
    type Act = fn(&mut World, &str);
    let acts: [Act; 2] = [
        |world, copy| {
            world.devices[0].folder.swap("f", copy);
            world.devices[0].folder.save("f", "third");
        },
        |world, copy| {
            let own = world.devices[0].folder.text("f").to_owned();
            world.devices[0].folder.write(copy, &own);
            world.devices[0].folder.write("f", "third");
        },
    ];
    for act in acts {
        let (mut world, copy) = conflicted();
        let own = world.devices[0].folder.text("f").to_owned();
        act(&mut world, &copy);
        world.heal();
        world.assert_equal();
        let shown =
            world.devices[1].folder.names.keys().map(|name| world.devices[1].folder.text(name).to_owned());
        assert_eq!(shown.collect::<BTreeSet<_>>(), [own, "third".to_owned()].into());
    }
}
