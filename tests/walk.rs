//! The walk of the README, line by line as it stands there.

use crate::place::Place;
use std::{fs, path::Path, process::Command};

#[test]
fn the_walk_of_the_readme_works_as_it_stands_there() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let walk =
        readme.split("<!-- walk: begin -->").nth(1).unwrap().split("<!-- walk: end -->").next().unwrap();
    let lines = walk.trim().trim_start_matches("```sh").trim_end_matches("```");
    let place = Place::new();
    let program = Path::new(env!("CARGO_BIN_EXE_annals"));
    let script = format!("set -e\nPATH={}:$PATH\n{lines}\nkill %1\n", program.parent().unwrap().display());
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(place.dir.path()).env("HOME", place.dir.path());
    let said = crate::place::said(&mut bash).ok();
    let shown: Vec<&str> = said.out.lines().filter(|line| line.starts_with("Dear Bob")).collect();
    let (first, edited) = ("Dear Bob", "Dear Bob, how are you?");
    // As seen on the desktop, after edit and rename on both, in the first version, restored, and by Bob.
    assert_eq!(shown, [first, edited, edited, first, first, first], "{}", said.out);
    assert!(said.out.contains("whole: "), "{}", said.out);
}
