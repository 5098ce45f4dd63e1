//! What a server says itself: it is a device of every namespace, with counters and clock like any other.

use annals_events::{
    Batch, Body, DeviceId, Dot, DotSet, Draft, Fact, HlcClock, NamespaceId, PublicKey, VersionVector,
};
use annals_projections::Projections;
use ed25519_dalek::SigningKey;

/// An event for a server to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// What happened.
    pub fact: Fact,
    /// Its body, salted by the shell.
    pub body: Option<Body>,
}

/// The batch that a namespace begins with: `events` begin with its NamespaceCreated.
#[must_use]
pub fn first_batch(namespace: NamespaceId, key: &SigningKey, now_ms: u64, events: Vec<Issued>) -> Batch {
    let none = VersionVector::new();
    let drafts = drafts(HlcClock::default(), now_ms, events);
    Batch::sign(key, namespace, 1, None, &none, &none, DotSet::new(), drafts)
        .expect("a server issues a few small events at a time")
}

/// The next batch of the server that holds `key`, which has seen all there is.
#[must_use]
pub fn issue(projections: &Projections, key: &SigningKey, now_ms: u64, events: Vec<Issued>) -> Batch {
    let server = DeviceId::of_key(&PublicKey(key.verifying_key().to_bytes()));
    let devices = projections.devices();
    let state = devices.get(server);
    let (last, prev) = state.map_or((0, None), |state| (state.last_counter, state.last_batch));
    let before = state.map_or_else(VersionVector::new, |state| state.seen.clone());
    let others = devices.iter().filter(|(device, state)| *device != server && state.last_counter > 0);
    let seen = others.map(|(device, state)| Dot::new(device, state.last_counter)).collect();
    let latest = devices.iter().map(|(_, state)| state.last_hlc).max().unwrap_or_default();
    let drafts = drafts(HlcClock::above(latest), now_ms, events);
    Batch::sign(key, projections.namespace(), last + 1, prev, &before, &seen, DotSet::new(), drafts)
        .expect("a server issues a few small events at a time")
}

fn drafts(mut clock: HlcClock, now_ms: u64, events: Vec<Issued>) -> Vec<Draft> {
    let draft = |Issued { fact, body }| Draft { hlc: clock.tick(now_ms), at: now_ms, fact, body };
    events.into_iter().map(draft).collect()
}
