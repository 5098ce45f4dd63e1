//! Programs that write through a memory map: the file system stamps a file when a page of it is stored to for the first
//! time, and not again until that page was written back.

use crate::place::{Place, until};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::MetadataExt as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A program that has a file mapped, and nothing else of it open.
struct Mapping {
    program: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
}

const PROGRAM: &str = "
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
shared = mmap.mmap(file, 0)
os.close(file)
for line in sys.stdin:
    text = line.rstrip('\\n').encode()
    if text:
        shared[0:len(text)] = text
    else:
        shared.close()
    print('done', flush=True)
";

impl Mapping {
    fn of(place: &Place, path: &str) -> Self {
        let mut program = Command::new("python3");
        program.args(["-c", PROGRAM]).arg(place.path(path)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = program.spawn().expect("Python 3.8 or newer is needed");
        let (tell, hear) = (program.stdin.take().unwrap(), BufReader::new(program.stdout.take().unwrap()));
        Self { program, tell, hear }
    }

    fn store(&mut self, text: &str) {
        writeln!(self.tell, "{text}").unwrap();
        let mut line = String::new();
        self.hear.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }

    fn close(mut self) {
        self.store("");
        drop(self.tell);
        assert!(self.program.wait().unwrap().success());
    }
}

/// A folder on two devices with a file of two pages.
fn linked() -> Place {
    let place = Place::with_server();
    place.write("one/db", &"0".repeat(8192));
    place.link("ada", "one");
    place.link("ada", "two");
    place
}

fn begins(place: &Place, path: &str) -> String {
    place.read(path).chars().take(9).collect()
}

fn stamps(place: &Place, path: &str) -> (u64, i64, i64, i64, i64) {
    let meta = fs::metadata(place.path(path)).unwrap();
    (meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())
}

#[test]
fn what_was_stored_without_a_stamp_is_a_version_once_the_file_is_closed() {
    let place = linked();
    let mut daemons = ["one", "two"].map(|folder| place.start(&["sync", folder]));
    daemons.iter_mut().for_each(|daemon| drop(daemon.says("in sync")));
    let mut mapping = Mapping::of(&place, "one/db");
    mapping.store("version-1");
    place.write("one/beside", "a save");
    until("what is stamped arrives", || begins(&place, "two/db") == "version-1");
    place.write("one/beside too", "a save after which nothing of it is in doubt");
    until("that arrives", || place.exists("two/beside too"));
    let before = stamps(&place, "one/db");
    mapping.store("version-2");
    assert_eq!(stamps(&place, "one/db"), before, "a file system that stamps every store");
    mapping.close();
    until("the rest arrives", || begins(&place, "two/db") == "version-2");
    assert_eq!(begins(&place, "one/db"), "version-2");
}

#[test]
fn what_was_stored_without_a_stamp_and_seen_by_nobody_is_not_replaced() {
    let place = linked();
    let mut mapping = Mapping::of(&place, "one/db");
    mapping.store("version-1");
    // Read when its time may tell of every store since by the file system's clock.
    place.sync_all(&["one", "two", "one"]);
    let before = stamps(&place, "one/db");
    mapping.store("version-2");
    assert_eq!(stamps(&place, "one/db"), before, "a file system that stamps every store");
    mapping.close();
    place.sync("one").ok();
    place.write("two/db", "edited on two");
    place.sync_all(&["two", "one", "two"]);
    let tree = place.tree("one");
    assert_eq!(place.tree("two"), tree);
    for text in ["version-2", "edited on two"] {
        assert!(tree.iter().any(|line| line.contains(text)), "{text} is in none of {tree:?}");
    }
}
