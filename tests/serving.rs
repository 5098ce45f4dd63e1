//! A server's data: where it may lie, what is refused and leaves nothing behind, and which address is remembered.

use crate::place::{Place, Running};
use std::fs;

const PICKED: [&str; 2] = ["--listen", "127.0.0.1:0"];

fn names_in(place: &Place, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(place.path(folder)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn flip(place: &Place, file: &str, at: usize) {
    let mut bytes = fs::read(place.path(file)).unwrap();
    bytes[at] ^= 1;
    fs::write(place.path(file), bytes).unwrap();
}

#[test]
fn no_servers_data_lies_in_a_linked_folder() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    std::os::unix::fs::symlink(place.path("one"), place.path("by-another-name")).unwrap();
    for data in ["one/data", "one", "one/sub/deeper", "by-another-name/data", "new/../one/data"] {
        let arguments = [&["serve", "--data", data][..], &PICKED].concat();
        place.annals(&arguments).fails(2, "lies in the linked folder");
        let arguments = [&["up", "other", "--data", data][..], &PICKED].concat();
        place.annals(&arguments).fails(2, "lies in the linked folder");
    }
    assert_eq!(names_in(&place, "one"), [".annals", "a.txt"]);
    assert!(!place.exists("new") && !place.exists("other"));
    // A symlink is synced as what it says: what it leads to lies elsewhere.
    fs::create_dir(place.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(place.path("elsewhere"), place.path("one/link")).unwrap();
    let serving = [&["serve", "--data", "one/link"][..], &PICKED].concat();
    let mut serving = place.start(&serving);
    serving.says("listening on ");
    assert_eq!(serving.ends("TERM"), Some(0));
    // The folder that `up` is about to link counts, too, by whichever name.
    fs::create_dir(place.path("folder")).unwrap();
    std::os::unix::fs::symlink(place.path("folder"), place.path("same")).unwrap();
    let arguments = [&["up", "folder", "--data", "same/data"][..], &PICKED].concat();
    place.annals(&arguments).fails(2, "inside one another");
    assert!(names_in(&place, "folder").is_empty());
}

#[test]
fn a_folder_that_holds_something_else_is_left_as_it_was() {
    let place = Place::new();
    for (file, text) in
        [("letter.txt", "dear"), ("format", "annals data 2\nlog 00\n"), ("format", "of theirs\n")]
    {
        place.write(&format!("foreign/{file}"), text);
        for verb in [&["serve"][..], &["up", "folder"]] {
            let arguments = [verb, &["--data", "foreign"], &PICKED].concat();
            place.annals(&arguments).fails(1, "is not a data directory of this release");
            assert_eq!(names_in(&place, "foreign"), [file], "{verb:?}");
        }
        assert_eq!(place.read(&format!("foreign/{file}")), text);
        place.remove("foreign");
    }
}

#[test]
fn an_address_is_remembered_once_it_serves_and_a_picked_one_takes_no_others_place() {
    let place = Place::new();
    place.write("folder/a.txt", "text");
    let up = |data: &str, more: &[&str]| {
        let mut up = place.start(&[&["up", "folder", "--data", data], more].concat());
        let url = up.says("listening on http://").replace("listening on http://", "");
        up.says("in sync");
        assert_eq!(up.ends("TERM"), Some(0));
        url
    };
    // What a first start picked is where the devices look from then on.
    let first = up("data", &PICKED);
    assert_eq!(place.read("data/listen").trim(), first);
    assert_ne!(up("data", &PICKED), first);
    assert_eq!(place.read("data/listen").trim(), first);
    let mut serve = place.start(&[&["serve", "--data", "data"][..], &PICKED].concat());
    serve.says("listening on ");
    assert_eq!(serve.ends("TERM"), Some(0));
    assert_eq!(up("data", &[]), first);
    // Not where a folder could not be linked, be it said out loud.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for listen in [PICKED[1], &free] {
        place.annals(&["up", "folder", "--data", "elsewhere", "--listen", listen]).fails(2, "another server");
        assert!(!place.exists("elsewhere/listen"), "{listen}");
    }
    // What was said out loud is.
    assert_eq!(up("data", &["--listen", &free]), free);
    assert_eq!(place.read("data/listen").trim(), free);
}

#[test]
fn damage_and_other_formats_of_a_servers_data_are_told_from_a_full_disk() {
    let mut place = Place::with_server();
    (0..5).for_each(|file| place.write(&format!("one/{file}.txt"), &format!("text {file}")));
    place.link("ada", "one");
    place.stop_server();
    let serve = [&["serve", "--data", "server"][..], &PICKED].concat();
    let packs = "server/packs/packs/00000001.segment";
    let bytes = fs::read(place.path(packs)).unwrap().len();
    // The header, its checksum, a group in the middle, the end.
    for at in [0, 9, 40, bytes / 2, bytes - 60] {
        flip(&place, packs, at);
        let said = place.annals(&serve);
        assert!(said.err.contains("annals verify --data"), "byte {at}: {}", said.err);
        said.fails(5, "");
        flip(&place, packs, at);
    }
    for (file, text) in
        [("server/log/format", "annals log 2\n"), ("server/format", "annals data 2\nlog 00\n")]
    {
        let good = place.read(file);
        place.write(file, text);
        let said = place.annals(&serve).fails(1, text.lines().next().unwrap());
        assert!(said.err.contains("update annals") && !said.err.contains("room"), "{}", said.err);
        place.write(file, &good);
    }
    place.annals(&["verify", "--data", "server"]).ok();
}

#[test]
fn packs_of_another_server_are_damage_and_not_a_server_that_is_away() {
    let [mut here, mut there] = [Place::with_server(), Place::with_server()];
    for place in [&mut here, &mut there] {
        place.write("one/a.txt", "text");
        place.link("ada", "one");
        place.stop_server();
    }
    let packs = "server/packs/packs/00000001.segment";
    fs::copy(there.path(packs), here.path(packs)).unwrap();
    let said = here.annals(&[&["serve", "--data", "server"][..], &PICKED].concat());
    assert!(said.err.contains("annals verify --data"), "{}", said.err);
    said.fails(5, "00000001.segment");
}

#[test]
fn data_that_goes_away_under_its_server_ends_it_and_is_not_begun_anew() {
    let mut place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    place.stop_server();
    let listen = place.url.strip_prefix("http://").unwrap().to_owned();
    let serve = |data: &str| {
        let mut command = place.command(&["serve", "--data", data, "--listen", &listen]);
        let err = fs::File::create(place.path("err")).unwrap();
        let mut serving = Running::of_with(&mut command, err.into());
        serving.says("listening on ");
        serving
    };
    // Asked by a device, and told to end: either way it notices.
    for asked in [true, false] {
        let serving = serve("server");
        place.write("one/a.txt", &format!("text {asked}"));
        place.rename("server", "moved");
        let ended = if asked {
            place.sync("one").fails(4, "");
            serving.ended()
        } else {
            serving.ends("TERM")
        };
        let said = place.read("err");
        assert_eq!(ended, Some(1), "{said}");
        let place_of = place.path("server").display().to_string();
        assert!(said.contains(&format!("error: {place_of} was moved or removed")), "{said}");
        assert!(said.contains("hint: "), "{said}");
        assert!(!place.exists("server"));
        // Where it is now it goes on.
        let serving = serve("moved");
        place.sync("one").ok();
        assert_eq!(serving.ends("TERM"), Some(0));
        place.rename("moved", "server");
    }
    let serving = serve("server");
    place.remove("server");
    place.write("one/a.txt", "after");
    place.sync("one").fails(4, "");
    assert_eq!(serving.ended(), Some(1));
    assert!(!place.exists("server"));
}

#[test]
fn up_ends_with_its_server() {
    let place = Place::new();
    place.write("folder/a.txt", "text");
    let err = fs::File::create(place.path("err")).unwrap();
    let mut up = place.command(&[&["up", "folder", "--data", "data"][..], &PICKED].concat());
    let mut up = Running::of_with(&mut up, err.into());
    up.says("in sync");
    place.rename("data", "moved");
    place.write("folder/a.txt", "saved meanwhile");
    assert_eq!(up.ended(), Some(1), "{}", place.read("err"));
    assert!(place.read("err").contains("was moved or removed"), "{}", place.read("err"));
    assert!(!place.exists("data"));
    // What was saved is not lost, and goes on where the data is.
    place.rename("moved", "data");
    let mut up = place.start(&["up", "folder", "--data", "data"]);
    up.says("in sync");
    assert_eq!(up.ends("TERM"), Some(0));
    assert_eq!(place.json(&["history", "folder/a.txt", "--json"]).as_array().unwrap().len(), 2);
}

#[test]
fn data_that_is_served_already_is_said_to_be_before_anything_else() {
    let place = Place::with_server();
    let listen = place.url.strip_prefix("http://").unwrap();
    for more in [&[][..], &PICKED, &["--listen", listen]] {
        for verb in [&["serve"][..], &["up", "folder"]] {
            let arguments = [verb, &["--data", "server"], more].concat();
            let said = place.annals(&arguments).fails(1, "`annals up` or `annals serve` already runs on ");
            assert!(!said.err.contains("in use"), "{}", said.err);
        }
    }
    assert!(!place.exists("folder"));
}
