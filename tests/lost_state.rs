//! Somebody lost state, or has it twice. Nothing is ever deleted because of that.

use crate::place::Place;
use std::process::Command;

fn copy(place: &Place, from: &str, to: &str) {
    let copied = Command::new("cp").args(["-a", from, to]).current_dir(place.dir.path()).status().unwrap();
    assert!(copied.success());
}

#[test]
fn a_copied_folder_with_saves_of_its_own_stops_and_keeps_them() {
    let mut place = Place::with_server();
    place.write("one/f", "f");
    place.write("one/g", "g");
    place.link("ada", "one");
    place.kill_server();
    copy(&place, "one", "clone");
    place.write("one/f", "edited on one");
    place.write("clone/g", "precious");
    place.sync("one").exits(4);
    place.sync("clone").exits(4);
    place.serve();
    place.sync("one").ok();
    for _ in 0..3 {
        place.sync("clone").fails(3, "copied");
        assert_eq!(place.read("clone/g"), "precious");
    }
    // The way out that the hint names.
    place.annals(&["unlink", "clone"]).ok();
    place.link("ada", "clone");
    let kept = place.tree("clone");
    assert!(kept.iter().any(|line| line.contains("precious")), "{kept:?}");
    assert!(kept.iter().any(|line| line.contains("edited on one")), "{kept:?}");
}

#[test]
fn a_folder_put_back_to_an_older_copy_does_not_take_what_it_forgot_for_seen() {
    let place = Place::with_server();
    place.write("one/f", "first");
    place.link("ada", "one");
    copy(&place, "one", "backup");
    place.write("one/f", "second");
    place.sync("one").ok();
    place.remove("one");
    place.rename("backup", "one");
    place.write("one/f", "third, without the second");
    place.sync("one").fails(3, "put back");
    place.annals(&["unlink", "one"]).ok();
    place.link("ada", "one");
    let kept = place.tree("one");
    assert!(kept.iter().any(|line| line.contains("third")), "{kept:?}");
    assert!(kept.iter().any(|line| line.contains("second\"")), "{kept:?}");
}

#[test]
fn a_damaged_device_can_be_unlinked_and_linked_anew() {
    let place = Place::with_server();
    place.write("one/f", "text");
    place.link("ada", "one");
    let segment =
        std::fs::read_dir(place.path("one/.annals/records")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    place.sync("one").fails(5, "damaged");
    place.annals(&["unlink", "one"]).ok();
    place.link("ada", "one");
    assert_eq!(place.read("one/f"), "text");
}

#[test]
fn the_servers_own_data_is_never_taken_for_files_to_sync() {
    let place = Place::new();
    place
        .annals(&["up", "folder", "--data", "folder/data", "--listen", "127.0.0.1:0"])
        .fails(2, "inside one another");
    assert!(!place.exists("folder"));
}
