//! The twin of the folder against what the trait promises: the same claims that the real one is tested for.

use super::*;
use crate::{clock::WorldTime, point::Point};
use annals_engine::disk::{Blocked, Contents, Disk, DiskOp, Expect, NewFile, OldFiles};
use annals_events::ContentId;
use std::{cell::RefCell, io, rc::Rc};

struct Text(&'static str);

impl Contents for Text {
    fn write_to(&mut self, _: &ContentId, _: &mut dyn OldFiles, sink: &mut dyn NewFile) -> io::Result<()> {
        sink.write_all(self.0.as_bytes())
    }
}

struct Fixture {
    time: WorldTime,
    volume: Rc<RefCell<Volume>>,
    point: Point,
    disk: TwinDisk,
}

impl Fixture {
    /// A folder with the files `a` and `b` and the folder `d` with `d/f`.
    fn new() -> Self {
        let time = WorldTime::default();
        let volume = Rc::new(RefCell::new(Volume::new(time.machine(0), true)));
        let point = Point::default();
        let disk = TwinDisk::new(volume.clone(), point.clone());
        {
            let mut volume = volume.borrow_mut();
            assert!(volume.write("a", b"a") && volume.write("b", b"b"));
            assert!(volume.make_folder("d") && volume.write("d/f", b"f"));
        }
        time.pass(1_000);
        Self { time, volume, point, disk }
    }

    fn now(&self, path: &str) -> Identity {
        self.volume.borrow().look(path).unwrap().identity()
    }

    fn text(&self, path: &str) -> Option<String> {
        match self.volume.borrow().visible().get(path) {
            Some(Visible::File { bytes, .. }) => Some(String::from_utf8(bytes.clone()).unwrap()),
            _ => None,
        }
    }

    fn write(&self, path: &str, expect: Expect) -> DiskOp {
        let (content, mtime_ns) = (ContentId::default(), Some(7));
        DiskOp::WriteFile {
            path: path.into(),
            content,
            size: 3,
            mtime_ns,
            executable: true,
            expect,
            holds: None,
        }
    }
}

#[test]
fn a_file_is_replaced_only_if_it_is_what_was_expected() {
    let mut folder = Fixture::new();
    let expect = folder.now("a");
    folder.volume.borrow_mut().write("a", b"x");
    let write = folder.write("a", Expect::Is(expect));
    let outcomes = folder.disk.apply(&[write], &mut Text("new")).unwrap();
    assert!(matches!(outcomes[..], [Err(Blocked::Changed { .. })]), "{outcomes:?}");
    assert_eq!(folder.text("a").as_deref(), Some("x"));
    let write = folder.write("a", Expect::Is(folder.now("a")));
    let done = folder.disk.apply(&[write], &mut Text("new")).unwrap().remove(0).unwrap().node.unwrap();
    assert_eq!((done.mtime_ns, done.executable), (7, true));
    assert_eq!(folder.text("a").as_deref(), Some("new"));
    assert!(folder.volume.borrow().let_go().contains(&b"a".to_vec()), "the person replaced it");
    assert!(!folder.volume.borrow().let_go().contains(&b"x".to_vec()), "the engine did");
}

#[test]
fn what_is_not_expected_stays_as_it_is() {
    let mut folder = Fixture::new();
    let (a, b, d) = (folder.now("a"), folder.now("b"), folder.now("d"));
    let table = [
        folder.write("b", Expect::Absent),             // something is there
        folder.write("b", Expect::Is(a)),              // something else is there
        folder.write("nowhere/x", Expect::Absent),     // no folder
        folder.write("x", Expect::Absent),             // as many bytes as it says?
        DiskOp::MakeFolder { path: "a".into() },       // a file is there
        DiskOp::MakeFolder { path: ".Annals".into() }, // the device's own
        DiskOp::Rename { from: "a".into(), to: "b".into(), expect: a }, // the goal is taken
        DiskOp::Rename { from: "d".into(), to: "d/d".into(), expect: d }, // into itself
        DiskOp::Rename { from: "a".into(), to: "c".into(), expect: b }, // another file
        DiskOp::Remove { path: "d".into(), expect: d, holds: None }, // not empty
        DiskOp::Remove { path: "a".into(), expect: b, holds: None }, // another file
        DiskOp::Unpark { slot: 1, path: "c".into() },  // nothing is parked
        DiskOp::Exchange { one: "a".into(), other: "b".into(), expect_one: b, expect_other: a },
        DiskOp::SetAttributes { path: "a".into(), mtime_ns: Some(1), executable: None, expect: b },
    ];
    let before = folder.volume.borrow().visible();
    for op in table {
        let outcome = folder.disk.apply(std::slice::from_ref(&op), &mut Text("four")).unwrap().remove(0);
        assert!(outcome.is_err(), "{op:?}");
        assert_eq!(folder.volume.borrow().visible(), before, "{op:?}");
    }
}

#[test]
fn what_is_parked_goes_on_or_back() {
    let mut folder = Fixture::new();
    let (a, b) = (folder.now("a"), folder.now("b"));
    let ring = [
        DiskOp::Park { path: "a".into(), slot: 1, expect: a },
        DiskOp::Rename { from: "b".into(), to: "a".into(), expect: b },
        DiskOp::Unpark { slot: 1, path: "b".into() },
    ];
    assert!(folder.disk.apply(&ring, &mut Text("")).unwrap().iter().all(Result::is_ok));
    assert_eq!((folder.text("a").as_deref(), folder.text("b").as_deref()), (Some("b"), Some("a")));
    let park = DiskOp::Park { path: "a".into(), slot: 1, expect: folder.now("a") };
    let outcomes = folder.disk.apply(&[park], &mut Text("")).unwrap();
    assert!(outcomes[0].is_err(), "it was not parked, in the end");
    assert_eq!(folder.text("a").as_deref(), Some("b"));
}

#[test]
fn without_power_nothing_is_done_and_the_sweep_puts_back_what_was_in_our_hands() {
    let mut folder = Fixture::new();
    let (a, d) = (folder.now("a"), folder.now("d"));
    let (point, mut left) = (folder.point.clone(), 2);
    folder.point.visit(move |_| {
        if left == 0 {
            point.lose_power();
        }
        left -= i32::from(left > 0);
    });
    let ops = [
        DiskOp::Park { path: "d".into(), slot: 1, expect: d },
        DiskOp::Remove { path: "a".into(), expect: a, holds: None },
        DiskOp::Unpark { slot: 1, path: "e".into() },
    ];
    assert!(folder.disk.apply(&ops, &mut Text("")).is_err());
    assert!(folder.disk.scan().is_err());
    assert_eq!(folder.volume.borrow().paths(EntryKind::File), ["b"]);
    folder.point.visit(|_| ());
    folder.point.start();
    let swept = folder.disk.sweep().unwrap();
    assert_eq!(swept.put_back, ["d", "a"]);
    assert_eq!(folder.volume.borrow().paths(EntryKind::File), ["a", "b", "d/f"]);
}

#[test]
fn within_a_tick_a_change_of_the_same_size_does_not_show_and_is_not_settled() {
    let mut folder = Fixture::new();
    folder.volume.borrow_mut().write("a", b"x");
    let seen = folder.now("a");
    let scan = folder.disk.scan().unwrap();
    assert!(!scan.nodes["a"].is_settled(scan.began_ns) && scan.nodes["b"].is_settled(scan.began_ns));
    folder.volume.borrow_mut().write("a", b"y");
    assert!(seen.is(&folder.now("a")));
    folder.time.pass(crate::clock::TICK_MS);
    folder.volume.borrow_mut().write("a", b"z");
    assert!(!seen.is(&folder.now("a")));
}

#[test]
fn a_folder_that_cannot_be_read_makes_a_scan_incomplete() {
    let mut folder = Fixture::new();
    folder.volume.borrow_mut().blind(Some("d"));
    let scan = folder.disk.scan().unwrap();
    assert!(!scan.complete && !scan.nodes.contains_key("d/f"));
    folder.volume.borrow_mut().blind(None);
    assert!(folder.disk.scan().unwrap().complete);
}

#[test]
fn a_freed_number_goes_to_the_next_file() {
    let folder = Fixture::new();
    let mut volume = folder.volume.borrow_mut();
    let freed = volume.look("a").unwrap().ino;
    assert!(volume.remove("a") && volume.write("c", b"c"));
    assert_eq!(volume.look("c").unwrap().ino, freed);
}
