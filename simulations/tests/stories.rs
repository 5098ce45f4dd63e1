//! Stories too rare for chance: what happens at one moment of a round, told for every such moment.

use annals_engine::{
    chunk_store::ChunkStore,
    journal::Identity,
    round::{Look, RoundError, Wish},
};
use annals_events::{ChunkId, EntryKind, NamespaceId, Record, UserId};
use annals_simulations::{
    Seed,
    clock::{MachineClock, WorldTime},
    device::{Device, Machine},
    point::{Moment, Point},
    trace::Trace,
    transport::{TwinServer, TwinTransport, public},
};
use ed25519_dalek::SigningKey;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    sync::Arc,
};

const NAMESPACE: NamespaceId = NamespaceId([7; 16]);
const OWNER: UserId = UserId([1; 16]);

/// A server and a device that is linked to it.
fn linked() -> (WorldTime, Rc<RefCell<TwinServer>>, Device) {
    let time = WorldTime::default();
    let key = SigningKey::from_bytes(&[200; 32]);
    let server = Rc::new(RefCell::new(TwinServer::new(NAMESPACE, key, time.machine(0), OWNER)));
    let device = another(&server, 1, time.machine(0));
    (time, server, device)
}

/// Another device that is linked to it.
fn another(server: &Rc<RefCell<TwinServer>>, nth: u8, clock: MachineClock) -> Device {
    let identity = Identity { namespace: NAMESPACE, key: SigningKey::from_bytes(&[nth; 32]) };
    server.borrow_mut().link(public(&identity.key), OWNER, &format!("device {nth}"));
    let (link, point) = (Seed(u64::from(nth)).of("link"), Point::default());
    let transport =
        TwinTransport::new(server.clone(), identity.device(), link, point.clone(), Trace::default());
    Device::new(Machine::new(identity, clock, transport, point))
}

#[test]
fn what_was_saved_before_its_server_went_away_arrives_though_both_forgot_it_since() {
    let (first, second) = (b"what was saved first".as_slice(), b"and what in its place".as_slice());
    let mut kept = 0;
    for request in 0.. {
        let (time, server, mut device) = linked();
        device.round(Wish::default()).unwrap();
        let (link, mut left) = (device.machine.transport.clone(), request);
        device.machine.point.visit(move |moment| {
            if moment == Moment::Request {
                link.set_cut(left == 0);
                left = (left - 1).max(-1);
            }
        });
        time.pass(1000);
        assert!(device.machine.volume.borrow_mut().write("a", first));
        let cut = device.round(Wish::default()).is_err();
        // The folder shows something else now, and the server forgets what no event names.
        time.pass(1000);
        assert!(device.machine.volume.borrow_mut().save("a", second));
        server.borrow_mut().restart(&mut Seed(1).of("server").stream());
        let signed = device.replica().is_some_and(|replica| replica.pending().next().is_some());
        device.machine.point.visit(|_| ());
        device.machine.transport.set_cut(false);
        time.pass(1000);
        device.round(Wish::default()).unwrap_or_else(|error| panic!("cut at request {request}: {error}"));
        let ids = [ChunkId::of(first), ChunkId::of(second)];
        let lacking = server.borrow().chunks().missing(&ids).unwrap();
        let aside = device.replica().is_none_or(|replica| !replica.aside().is_empty());
        assert!(!aside, "cut at request {request}: something was set aside");
        assert!(!lacking.contains(&ids[1]), "cut at request {request}");
        if signed {
            kept += 1;
            assert!(!lacking.contains(&ids[0]), "cut at request {request}: it was signed, and nobody has it");
        }
        if !cut {
            break;
        }
    }
    assert!(kept >= 2, "before the first question, and between chunks and events");
}

/// What is to happen at the `nth` moment at which `at` says so; and whether it did.
fn once(device: &Device, nth: u32, at: fn(Moment) -> bool, deed: impl Fn() + 'static) -> Rc<Cell<bool>> {
    let (passed, happened) = (Cell::new(0), Rc::new(Cell::new(false)));
    let happens = happened.clone();
    device.machine.point.visit(move |moment| {
        if at(moment) {
            if passed.get() == nth {
                deed();
                happens.set(true);
            }
            passed.set(passed.get() + 1);
        }
    });
    happened
}

#[test]
fn a_save_while_a_file_is_read_and_sent_is_said_in_the_same_round_or_told_to_wait() {
    let texts = [b"as it was".as_slice(), b"what was saved", b"and what came while that was sent"];
    let mut said = 0;
    for nth in 0.. {
        let (time, server, mut device) = linked();
        assert!(device.machine.volume.borrow_mut().write("a", texts[0]));
        device.round(Wish::default()).unwrap();
        time.pass(1000);
        assert!(device.machine.volume.borrow_mut().write("a", texts[1]));
        let volume = device.machine.volume.clone();
        let came = once(
            &device,
            nth,
            |moment| moment == Moment::Read,
            move || {
                assert!(volume.borrow_mut().write("a", texts[2]));
            },
        );
        let report = device.round(Wish::default()).unwrap();
        if !came.get() {
            break;
        }
        let is_said = server.borrow().chunks().missing(&[ChunkId::of(texts[2])]).unwrap().is_empty();
        assert!(is_said || report.waiting == ["a"], "at read {nth} of it: {:?}", report.waiting);
        said += u32::from(is_said);
    }
    // While it is named, and while it is sent: it is looked at once more, and at once.
    assert!(said >= 4, "{said}");
}

#[test]
fn who_has_the_key_of_a_device_and_not_its_state_keeps_nothing_of_what_that_said() {
    let (time, server, mut device) = linked();
    assert!(device.machine.volume.borrow_mut().write("a", b"what it said"));
    device.round(Wish::default()).unwrap();
    let before = server.borrow().records_all().len();
    let identity = Identity { namespace: NAMESPACE, key: SigningKey::from_bytes(&[1; 32]) };
    let point = Point::default();
    let transport =
        TwinTransport::new(server, identity.device(), Seed(1).of("copy"), point.clone(), Trace::default());
    let mut copy = Device::new(Machine::new(identity, time.machine(0), transport, point));
    let id = copy.id();
    for _ in 0..2 {
        assert!(matches!(copy.round(Wish::default()), Err(RoundError::PutBack { .. })));
        let own = |record: &&Arc<Record>| record.batch().header().device == id;
        assert_eq!(copy.machine.records().iter().filter(own).count(), 0);
        assert!(copy.machine.records().len() < before);
    }
}

#[test]
fn what_is_handed_back_to_a_server_that_is_put_back_once_more_is_not_let_go_of() {
    for nth in 0.. {
        let (time, server, mut device) = linked();
        device.round(Wish::default()).unwrap();
        let backup = server.borrow().backup();
        time.pass(1000);
        assert!(device.machine.volume.borrow_mut().write("a", b"of today"));
        device.round(Wish::default()).unwrap();
        let said = device.machine.records().to_vec();
        // Nothing but the records tells what was said.
        device.compact();
        server.borrow_mut().put_back(&backup, true);
        let again = server.clone();
        let happened = once(
            &device,
            nth,
            |moment| moment == Moment::Request,
            move || {
                again.borrow_mut().put_back(&backup, true);
            },
        );
        let mut rounds = 0;
        loop {
            time.pass(1000);
            rounds += 1;
            if device.round(Wish::default()).is_ok() || rounds > 5 {
                break;
            }
        }
        device.machine.point.visit(|_| ());
        device.round(Wish::default()).unwrap();
        let log = server.borrow().records_all();
        let there: BTreeSet<_> = log.iter().map(|logged| logged.record.batch().hash()).collect();
        for record in said {
            let (seq, hash) = (record.seq(), record.batch().hash());
            assert!(there.contains(&hash), "record {seq}, where it was put back again at request {nth}");
        }
        if !happened.get() {
            assert!(nth > 3);
            break;
        }
    }
}

/// Two files that a laptop saved, and a desktop that shows them, whose clock is two days behind. Each of them takes long
/// there: it has a look of its own.
fn saved_under_a_clock_that_is_ahead() -> (WorldTime, Device, Device) {
    let (time, server, mut laptop) = linked();
    let mut desktop = another(&server, 2, time.machine(-2 * 24 * 3_600_000));
    desktop.machine.transport.set_window(64);
    for (name, text) in [("a", [b'a'; 300]), ("b", [b'b'; 300])] {
        assert!(laptop.machine.volume.borrow_mut().write(name, &text));
    }
    laptop.round(Wish::default()).expect("nothing is in the way");
    desktop.round(Wish::default()).expect("nothing is in the way");
    time.pass(1000);
    (time, laptop, desktop)
}

#[test]
fn what_was_saved_under_a_clock_that_is_ahead_gives_its_name_to_another() {
    let (time, mut laptop, mut desktop) = saved_under_a_clock_that_is_ahead();
    assert!(laptop.machine.volume.borrow_mut().swap("a", "b"));
    laptop.round(Wish::default()).unwrap();
    for _ in 0..3 {
        time.pass(1000);
        desktop.round(Wish::default()).unwrap();
    }
    assert_eq!(desktop.machine.volume.borrow().visible(), laptop.machine.volume.borrow().visible());
}

#[test]
fn what_was_saved_under_a_clock_that_is_ahead_is_not_read_at_each_look() {
    let (time, _, mut desktop) = saved_under_a_clock_that_is_ahead();
    let bytes_read = |desktop: &mut Device| {
        time.pass(1000);
        desktop.round(Wish::default()).unwrap().plain_bytes
    };
    assert_eq!(bytes_read(&mut desktop), 0, "it is what was written");
    assert!(desktop.machine.volume.borrow_mut().rename("a", "c"));
    assert!(bytes_read(&mut desktop) > 0);
    assert_eq!(bytes_read(&mut desktop), 0, "it was read");
}

#[test]
fn what_a_server_lost_is_waited_for_where_no_epoch_tells_that_it_did() {
    let (time, server, mut laptop) = linked();
    let mut desktop = another(&server, 2, time.machine(0));
    let mut phone = another(&server, 3, time.machine(0));
    for device in [&mut laptop, &mut desktop, &mut phone] {
        device.round(Wish::default()).unwrap();
    }
    let backup = server.borrow().backup();
    time.pass(1000);
    assert!(laptop.machine.volume.borrow_mut().write("a", b"what the server lost"));
    laptop.round(Wish::default()).unwrap();
    // The desktop hears of it, and is cut off before it has the content.
    let link = desktop.machine.transport.clone();
    let cut = once(&desktop, 1, |moment| moment == Moment::Request, move || link.set_cut(true));
    assert!(desktop.round(Wish::default()).is_err() && cut.get());
    desktop.machine.transport.set_cut(false);
    // It hands back the record, twice: the second time none is lost that the server admitted under the key it has then.
    for _ in 0..2 {
        server.borrow_mut().put_back(&backup, false);
        time.pass(1000);
        assert!(desktop.round(Wish::default()).unwrap().handed_back > 0);
    }
    assert_eq!(server.borrow().projections().head().epoch, 0);
    let report = phone.round(Wish::default()).unwrap();
    assert!(report.skipped.iter().any(|(path, why)| path == "a" && why.contains("lost its content")));
    laptop.round(Wish::default()).unwrap();
    for device in [&mut phone, &mut desktop] {
        device.round(Wish::default()).unwrap();
        assert_eq!(device.machine.volume.borrow().visible(), laptop.machine.volume.borrow().visible());
    }
}

#[test]
fn a_folder_that_went_into_a_new_one_takes_along_what_is_known_of_a_file_that_was_saved_in_it() {
    // Some file systems tell when something was made.
    for nth in 2..8 {
        let (time, server, _) = linked();
        let mut device = another(&server, nth, time.machine(0));
        let volume = device.machine.volume.clone();
        assert!(volume.borrow_mut().make_folder("old"));
        assert!(volume.borrow_mut().write("old/file", b"as it was"));
        device.round(Wish::default()).unwrap();
        time.pass(1000);
        assert!(volume.borrow_mut().make_folder("new"));
        assert!(volume.borrow_mut().rename("old", "new/name"));
        assert!(volume.borrow_mut().save("new/name/file", b"saved in it"));
        time.pass(1000);
        let look = Look::At(["new/name/file".to_owned()].into());
        device.round(Wish { look, ..Wish::default() }).unwrap();
        assert_eq!(volume.borrow().paths(EntryKind::File), ["new/name/file"], "nothing came beside it");
        assert_eq!(server.borrow().projections().listing().len(), 3);
    }
}

#[test]
fn what_was_read_by_a_look_that_had_to_be_one_at_everything_is_read_by_that_one_too() {
    let (time, server, mut laptop) = linked();
    // What takes long is read once in a round.
    laptop.machine.transport.set_window(64);
    let volume = laptop.machine.volume.clone();
    for folder in ["one", "other", "other/folder"] {
        assert!(volume.borrow_mut().make_folder(folder));
    }
    assert!(volume.borrow_mut().write("one/file", b"as it was"));
    laptop.round(Wish::default()).unwrap();
    time.pass(1000);
    // Where the file was there is a folder, and what it holds says nothing: perhaps it is somewhere else.
    assert!(volume.borrow_mut().swap("one/file", "other/folder"));
    assert!(volume.borrow_mut().write("other/folder", &[b'x'; 300]));
    time.pass(1000);
    let look = Look::At(["one/file", "other/folder"].map(String::from).into());
    let report = laptop.round(Wish { look, ..Wish::default() }).unwrap();
    assert!(report.waiting.is_empty(), "{:?} waits, and nobody is at it", report.waiting);
    let said = server.borrow().projections().listing();
    assert!(said.iter().any(|(path, shown)| path == "other/folder" && shown.kind == EntryKind::File));
}
