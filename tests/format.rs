//! The document about formats is enough: a program written from `docs/format.md` alone, in another language and
//! with none of this code, links a device and writes batches that a real server admits.

use crate::place::{PASSWORD, Place, said};
use std::process::Command;

#[test]
fn a_program_written_from_the_document_alone_writes_every_kind_of_event() {
    let place = Place::with_server();
    let mut program = Command::new("python3");
    program
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/format.py"))
        .args([&place.url, "ada", PASSWORD, "bob"]);
    if let Err(error) = Command::new("python3").arg("--version").output() {
        panic!("python3 does not run ({error}): install Python 3.8 or newer, e.g. `apt-get install python3`");
    }
    said(&mut program).ok();

    place.link("ada", "ada");
    let many: String = (0..70).map(|number| format!("{number:04}")).collect();
    assert_eq!(
        place.tree("ada"),
        [
            "again/".to_owned(),
            format!("again/many x=false t=0 {many:?}"),
            "docs/".to_owned(),
            "docs/empty x=false t=0 \"\"".to_owned(),
            "docs/link -> note.txt".to_owned(),
            "docs/note.txt x=true t=2 \"hellohello again\"".to_owned(),
        ]
    );
}
