//! Stories too rare for chance: what happens at one moment of a round, told for every such moment.

use annals_engine::{chunk_store::ChunkStore, journal::Identity, round::Wish};
use annals_events::{ChunkId, NamespaceId, UserId};
use annals_simulations::{
    Seed,
    clock::WorldTime,
    device::{Device, Machine},
    point::{Moment, Point},
    trace::Trace,
    transport::{TwinServer, TwinTransport, public},
};
use ed25519_dalek::SigningKey;
use std::{cell::RefCell, rc::Rc};

/// A server and a device that is linked to it.
fn linked() -> (WorldTime, Rc<RefCell<TwinServer>>, Device) {
    let (time, owner, namespace) = (WorldTime::default(), UserId([1; 16]), NamespaceId([7; 16]));
    let mut server = TwinServer::new(namespace, SigningKey::from_bytes(&[200; 32]), time.machine(0), owner);
    let identity = Identity { namespace, key: SigningKey::from_bytes(&[1; 32]) };
    server.link(public(&identity.key), owner, "laptop");
    let (server, point) = (Rc::new(RefCell::new(server)), Point::default());
    let link = Seed(1).of("link");
    let transport =
        TwinTransport::new(server.clone(), identity.device(), link, point.clone(), Trace::default());
    (time.clone(), server, Device::new(Machine::new(identity, time.machine(0), transport, point)))
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
